
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the patterns of "snorky_origins"; called by the directive, and by the
 * handshake before the upgrade, and for SockJS's requests.
 */


#include "ngx_snorky_origin.h"
#include "ngx_snorky_header.h"


static char *ngx_snorky_origin_parse_regex(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_snorky_origin_t *origin);
static void ngx_snorky_origin_split(ngx_str_t *text, ngx_str_t *scheme,
    ngx_str_t *host);
static ngx_int_t ngx_snorky_origin_check_site(ngx_http_request_t *r,
    ngx_array_t *patterns);
static ngx_int_t ngx_snorky_origin_match_any(ngx_http_request_t *r,
    ngx_array_t *patterns, ngx_str_t *text);
static ngx_int_t ngx_snorky_origin_match(ngx_http_request_t *r,
    ngx_snorky_origin_t *origin, ngx_str_t *text);
static ngx_int_t ngx_snorky_origin_match_same(ngx_http_request_t *r,
    ngx_str_t *scheme, ngx_str_t *host);
static void ngx_snorky_origin_strip_port(ngx_str_t *host, ngx_uint_t secure);
static ngx_int_t ngx_snorky_origin_equal(ngx_str_t *one, ngx_str_t *two);


char *
ngx_snorky_origin_parse(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_snorky_origin_t *origin)
{
    ngx_memzero(origin, sizeof(ngx_snorky_origin_t));

    if (ngx_strcmp(arg->data, "any") == 0) {
        origin->type = NGX_SNORKY_ORIGIN_ANY;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(arg->data, "same") == 0) {
        origin->type = NGX_SNORKY_ORIGIN_SAME;
        return NGX_CONF_OK;
    }

    if (arg->len && arg->data[0] == '~') {
        return ngx_snorky_origin_parse_regex(cf, arg, origin);
    }

    ngx_strlow(arg->data, arg->data, arg->len);

    origin->type = NGX_SNORKY_ORIGIN_EXACT;

    ngx_snorky_origin_split(arg, &origin->scheme, &origin->host);

    if (origin->host.len > 2
        && origin->host.data[0] == '*'
        && origin->host.data[1] == '.')
    {
        origin->type = NGX_SNORKY_ORIGIN_SUFFIX;
        origin->host.data++;
        origin->host.len--;
    }

    if (origin->host.len == 0
        || ngx_strlchr(origin->host.data,
                       origin->host.data + origin->host.len, '*')
        || ngx_strlchr(origin->host.data,
                       origin->host.data + origin->host.len, '/'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid origin \"%V\" in \"snorky_origins\"", arg);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* "~" for a regular expression, "~*" for one that ignores case */

static char *
ngx_snorky_origin_parse_regex(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_snorky_origin_t *origin)
{
#if (NGX_PCRE)

    u_char               errstr[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t  rc;

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = arg->data + 1;
    rc.pattern.len = arg->len - 1;
    rc.pool = cf->pool;
    rc.err.data = errstr;
    rc.err.len = NGX_MAX_CONF_ERRSTR;

    if (rc.pattern.len && rc.pattern.data[0] == '*') {
        rc.pattern.data++;
        rc.pattern.len--;
        rc.options = NGX_REGEX_CASELESS;
    }

    if (rc.pattern.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "empty regex in \"snorky_origins\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return NGX_CONF_ERROR;
    }

    origin->type = NGX_SNORKY_ORIGIN_REGEX;
    origin->regex = rc.regex;

    return NGX_CONF_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "using regex \"%V\" requires PCRE library", arg);
    return NGX_CONF_ERROR;

#endif
}


/* "scheme://host:port", where the scheme may be left out of a pattern */

static void
ngx_snorky_origin_split(ngx_str_t *text, ngx_str_t *scheme, ngx_str_t *host)
{
    u_char  *p;

    p = ngx_strnstr(text->data, "://", text->len);

    if (p == NULL) {
        ngx_str_null(scheme);
        *host = *text;
        return;
    }

    scheme->data = text->data;
    scheme->len = p - text->data;

    host->data = p + 3;
    host->len = text->data + text->len - host->data;
}


ngx_int_t
ngx_snorky_origin_check(ngx_http_request_t *r, ngx_array_t *patterns)
{
    ngx_uint_t        n;
    ngx_table_elt_t  *header;

    header = ngx_snorky_header_find(r, "Origin", &n);

    if (header == NULL) {
        return NGX_OK;
    }

    return (n > 1) ? NGX_DECLINED
                   : ngx_snorky_origin_match_any(r, patterns, &header->value);
}


ngx_int_t
ngx_snorky_origin_check_page(ngx_http_request_t *r, ngx_array_t *patterns)
{
    u_char           *p, *last;
    ngx_str_t         text, scheme, host;
    ngx_uint_t        n;
    ngx_table_elt_t  *header;

    if (ngx_snorky_header_find(r, "Origin", &n)) {
        return ngx_snorky_origin_check(r, patterns);
    }

    header = ngx_snorky_header_find(r, "Referer", &n);

    if (header == NULL) {
        return ngx_snorky_origin_check_site(r, patterns);
    }

    if (n > 1) {
        return NGX_DECLINED;
    }

    /* its origin ends where the path begins, or what may follow a path */

    text = header->value;
    last = text.data + text.len;

    ngx_snorky_origin_split(&text, &scheme, &host);

    for (p = host.data; p < last; p++) {
        if (*p == '/' || *p == '?' || *p == '#') {
            break;
        }
    }

    text.len = p - text.data;

    return ngx_snorky_origin_match_any(r, patterns, &text);
}


/*
 * The page says nothing of itself, but its browser does.  One of the same site
 * has another host or port.
 */

static ngx_int_t
ngx_snorky_origin_check_site(ngx_http_request_t *r, ngx_array_t *patterns)
{
    ngx_uint_t            i, same_site;
    ngx_snorky_origin_t  *origin;

    same_site = ngx_snorky_header_has(r, "Sec-Fetch-Site", "same-site", 1);

    if (!same_site
        && !ngx_snorky_header_has(r, "Sec-Fetch-Site", "cross-site", 1))
    {
        return NGX_OK;
    }

    if (patterns == NULL) {
        return NGX_DECLINED;
    }

    origin = patterns->elts;

    for (i = 0; i < patterns->nelts; i++) {
        if (origin[i].type == NGX_SNORKY_ORIGIN_ANY
            || (same_site && origin[i].type != NGX_SNORKY_ORIGIN_SAME))
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_snorky_origin_match_any(ngx_http_request_t *r, ngx_array_t *patterns,
    ngx_str_t *text)
{
    ngx_uint_t            i;
    ngx_snorky_origin_t  *origin, same;

    if (patterns == NULL) {
        same.type = NGX_SNORKY_ORIGIN_SAME;
        return ngx_snorky_origin_match(r, &same, text);
    }

    origin = patterns->elts;

    for (i = 0; i < patterns->nelts; i++) {
        if (ngx_snorky_origin_match(r, &origin[i], text) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_snorky_origin_match(ngx_http_request_t *r, ngx_snorky_origin_t *origin,
    ngx_str_t *text)
{
    size_t     len;
    ngx_str_t  scheme, host, tail;

    if (origin->type == NGX_SNORKY_ORIGIN_ANY) {
        return NGX_OK;
    }

#if (NGX_PCRE)
    if (origin->type == NGX_SNORKY_ORIGIN_REGEX) {
        return (ngx_regex_exec(origin->regex, text, NULL, 0) >= 0)
               ? NGX_OK : NGX_DECLINED;
    }
#endif

    ngx_snorky_origin_split(text, &scheme, &host);

    /* "null": a sandboxed page or a local file */

    if (scheme.len == 0) {
        return NGX_DECLINED;
    }

    if (origin->type == NGX_SNORKY_ORIGIN_SAME) {
        return ngx_snorky_origin_match_same(r, &scheme, &host);
    }

    if (origin->scheme.len
        && ngx_snorky_origin_equal(&origin->scheme, &scheme) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (origin->type == NGX_SNORKY_ORIGIN_EXACT) {
        return ngx_snorky_origin_equal(&origin->host, &host);
    }

    len = origin->host.len;

    if (host.len <= len) {
        return NGX_DECLINED;
    }

    tail.data = host.data + host.len - len;
    tail.len = len;

    return ngx_snorky_origin_equal(&origin->host, &tail);
}


/* ports 80 and 443 are the same written and left out */

static ngx_int_t
ngx_snorky_origin_match_same(ngx_http_request_t *r, ngx_str_t *scheme,
    ngx_str_t *host)
{
    ngx_str_t   own;
    ngx_uint_t  secure;

    if (r->headers_in.host == NULL) {
        return NGX_DECLINED;
    }

    secure = (scheme->len == 5) && ngx_strncasecmp(scheme->data,
                                                   (u_char *) "https", 5) == 0;
    own = r->headers_in.host->value;

    ngx_snorky_origin_strip_port(&own, secure);
    ngx_snorky_origin_strip_port(host, secure);

    return ngx_snorky_origin_equal(&own, host);
}


static void
ngx_snorky_origin_strip_port(ngx_str_t *host, ngx_uint_t secure)
{
    ngx_str_t  port;

    if (secure) {
        ngx_str_set(&port, ":443");

    } else {
        ngx_str_set(&port, ":80");
    }

    if (host->len > port.len
        && ngx_strncmp(host->data + host->len - port.len, port.data, port.len)
           == 0)
    {
        host->len -= port.len;
    }
}


static ngx_int_t
ngx_snorky_origin_equal(ngx_str_t *one, ngx_str_t *two)
{
    return (one->len == two->len
            && ngx_strncasecmp(one->data, two->data, one->len) == 0)
           ? NGX_OK : NGX_DECLINED;
}
