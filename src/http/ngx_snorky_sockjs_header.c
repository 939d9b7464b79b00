
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns nothing: says the same about origins, caches and cookies in whatever
 * SockJS answers.  Called by its pages and its transports.
 */


#include "ngx_snorky_sockjs_header.h"
#include "ngx_snorky_header.h"


static ngx_int_t ngx_snorky_sockjs_header_add(ngx_http_request_t *r,
    const char *name, const char *text);
static ngx_int_t ngx_snorky_sockjs_header_control(ngx_http_request_t *r,
    const char *text);


/*
 * Credentials are allowed for an origin that is named; which ones may be here
 * at all, "snorky_origins" has decided.
 */

ngx_int_t
ngx_snorky_sockjs_header_cors(ngx_http_request_t *r)
{
    ngx_str_t         origin;
    ngx_uint_t        n;
    ngx_table_elt_t  *h;

    h = ngx_snorky_header_find(r, "Origin", &n);

    if (h && h->value.len) {
        origin = h->value;

        if (ngx_snorky_sockjs_header_add(r, "Access-Control-Allow-Credentials",
                                         "true")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else {
        ngx_str_set(&origin, "*");
    }

    if (ngx_snorky_header_add(r, "Access-Control-Allow-Origin", &origin)
        != NGX_OK
        || ngx_snorky_sockjs_header_add(r, "Vary", "Origin") != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_snorky_header_find(r, "Access-Control-Request-Headers", &n);

    if (h == NULL || h->value.len == 0) {
        return NGX_OK;
    }

    return ngx_snorky_header_add(r, "Access-Control-Allow-Headers", &h->value);
}


static ngx_int_t
ngx_snorky_sockjs_header_add(ngx_http_request_t *r, const char *name,
    const char *text)
{
    ngx_str_t  value;

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    return ngx_snorky_header_add(r, name, &value);
}


ngx_int_t
ngx_snorky_sockjs_header_no_cache(ngx_http_request_t *r)
{
    /* nor can it be what a client has already: nginx is not to look */

    r->disable_not_modified = 1;

    return ngx_snorky_sockjs_header_control(r, "no-store, no-cache, "
                               "no-transform, must-revalidate, max-age=0");
}


ngx_int_t
ngx_snorky_sockjs_header_cache(ngx_http_request_t *r)
{
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    value.len = sizeof("Mon, 28 Sep 1970 06:00:00 GMT") - 1;

    value.data = ngx_pnalloc(r->pool, value.len + 1);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_http_time(value.data, ngx_time() + NGX_SNORKY_SOCKJS_YEAR);

    h = ngx_snorky_header_push(r, "Expires", &value);
    if (h == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.expires = h;

    return ngx_snorky_sockjs_header_control(r, "public, max-age="
                                ngx_value(NGX_SNORKY_SOCKJS_YEAR));
}


/* where nginx finds it, so that its "expires" takes its place */

static ngx_int_t
ngx_snorky_sockjs_header_control(ngx_http_request_t *r, const char *text)
{
    ngx_str_t          value;
    ngx_table_elt_t   *h;
#if (nginx_version < 1023000)
    ngx_table_elt_t  **control;
#endif

    value.data = (u_char *) text;
    value.len = ngx_strlen(text);

    h = ngx_snorky_header_push(r, "Cache-Control", &value);
    if (h == NULL) {
        return NGX_ERROR;
    }

#if (nginx_version >= 1023000)

    r->headers_out.cache_control = h;

#else

    if (ngx_array_init(&r->headers_out.cache_control, r->pool, 1,
                       sizeof(ngx_table_elt_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    control = ngx_array_push(&r->headers_out.cache_control);
    if (control == NULL) {
        return NGX_ERROR;
    }

    *control = h;

#endif

    return NGX_OK;
}


/* set in each response: a balancer may add to it what it needs */

ngx_int_t
ngx_snorky_sockjs_header_cookie(ngx_http_request_t *r)
{
    u_char                     *p;
    ngx_str_t                   name, cookie, value;
    ngx_uint_t                  key;
    ngx_snorky_loc_conf_t      *conf;
    ngx_http_variable_value_t  *v;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (!conf->sockjs.cookie) {
        return NGX_OK;
    }

    /* the function that parses cookies is not the same in all versions */

    ngx_str_set(&name, "cookie_jsessionid");
    ngx_str_set(&value, "dummy");

    key = ngx_hash_key(name.data, name.len);

    v = ngx_http_get_variable(r, &name, key);
    if (v == NULL) {
        return NGX_ERROR;
    }

    if (!v->not_found && v->len) {
        value.data = v->data;
        value.len = v->len;
    }

    p = ngx_pnalloc(r->pool, value.len + sizeof("JSESSIONID=; path=/") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    cookie.data = p;
    cookie.len = ngx_sprintf(p, "JSESSIONID=%V; path=/", &value) - p;

    return ngx_snorky_header_add(r, "Set-Cookie", &cookie);
}


/* nginx writes the charset itself; one that stands there, it does not change */

void
ngx_snorky_sockjs_header_type(ngx_http_request_t *r, const char *type,
    ngx_uint_t charset)
{
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (charset) {
        ngx_str_set(&r->headers_out.charset, "UTF-8");
    }
}
