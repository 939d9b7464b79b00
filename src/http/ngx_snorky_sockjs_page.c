
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the location's iframe page.  Called by the way to the endpoints, and
 * by the transports for their errors.
 */


#include "ngx_snorky_sockjs_page.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_origin.h"
#include "ngx_snorky_sockjs_header.h"

#include <ngx_md5.h>


#define NGX_SNORKY_SOCKJS_INFO                                                \
    "{\"websocket\":%s,\"origins\":[\"*:*\"],\"cookie_needed\":%s,"           \
    "\"entropy\":%uD}"

#define NGX_SNORKY_SOCKJS_TEXT  "text/plain; charset=UTF-8"


static ngx_int_t ngx_snorky_sockjs_page_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *body);


/* as the protocol has it, but for the script's URL */

static ngx_str_t  ngx_snorky_sockjs_page_head = ngx_string(
    "<!DOCTYPE html>\n"
    "<html>\n"
    "<head>\n"
    "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
    "  <meta http-equiv=\"Content-Type\" "
          "content=\"text/html; charset=UTF-8\" />\n"
    "  <script src=\""
);

static ngx_str_t  ngx_snorky_sockjs_page_tail = ngx_string(
    "\"></script>\n"
    "  <script>\n"
    "    document.domain = document.domain;\n"
    "    SockJS.bootstrap_iframe();\n"
    "  </script>\n"
    "</head>\n"
    "<body>\n"
    "  <h2>Don't panic!</h2>\n"
    "  <p>This is a SockJS hidden iframe. "
          "It's used for cross domain magic.</p>\n"
    "</body>\n"
    "</html>\n"
);


ngx_int_t
ngx_snorky_sockjs_page_init(ngx_conf_t *cf, ngx_snorky_loc_conf_t *conf)
{
    u_char     *p, digest[16];
    size_t      len;
    ngx_md5_t   md5;
    ngx_str_t  *page, *etag, *url;

    url = &conf->sockjs.url;
    page = &conf->sockjs.iframe;
    etag = &conf->sockjs.etag;

    len = url->len + ngx_escape_html(NULL, url->data, url->len);

    page->len = ngx_snorky_sockjs_page_head.len + len
                + ngx_snorky_sockjs_page_tail.len;

    page->data = ngx_pnalloc(cf->pool, page->len);
    if (page->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(page->data, ngx_snorky_sockjs_page_head.data,
                   ngx_snorky_sockjs_page_head.len);
    p = (u_char *) ngx_escape_html(p, url->data, url->len);
    ngx_memcpy(p, ngx_snorky_sockjs_page_tail.data,
               ngx_snorky_sockjs_page_tail.len);

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, page->data, page->len);
    ngx_md5_final(digest, &md5);

    etag->len = 1 + 2 * sizeof(digest) + 1;

    etag->data = ngx_pnalloc(cf->pool, etag->len);
    if (etag->data == NULL) {
        return NGX_ERROR;
    }

    etag->data[0] = '"';
    p = ngx_hex_dump(etag->data + 1, digest, sizeof(digest));
    *p = '"';

    return NGX_OK;
}


ngx_int_t
ngx_snorky_sockjs_page_greeting(ngx_http_request_t *r)
{
    ngx_str_t  body;

    ngx_str_set(&body, "Welcome to SockJS!\n");

    ngx_snorky_sockjs_header_type(r, "text/plain", 1);

    return ngx_snorky_sockjs_page_send(r, NGX_HTTP_OK, &body);
}


ngx_int_t
ngx_snorky_sockjs_page_info(ngx_http_request_t *r)
{
    uint32_t                entropy;
    ngx_int_t               rc;
    ngx_str_t               body;
    ngx_snorky_loc_conf_t  *conf;

    rc = ngx_snorky_sockjs_page_origin(r);
    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    body.data = ngx_pnalloc(r->pool, sizeof(NGX_SNORKY_SOCKJS_INFO)
                                     + 2 * sizeof("false") + NGX_INT32_LEN);

    if (body.data == NULL
        || ngx_snorky_random(&entropy, sizeof(uint32_t)) != NGX_OK
        || ngx_snorky_sockjs_header_no_cache(r) != NGX_OK
        || ngx_snorky_sockjs_header_cors(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.len = ngx_sprintf(body.data, NGX_SNORKY_SOCKJS_INFO,
                           conf->sockjs.websocket ? "true" : "false",
                           conf->sockjs.cookie ? "true" : "false", entropy)
               - body.data;

    ngx_snorky_sockjs_header_type(r, "application/json", 1);

    return ngx_snorky_sockjs_page_send(r, NGX_HTTP_OK, &body);
}


/* that the client has it already, nginx finds by the ETag */

ngx_int_t
ngx_snorky_sockjs_page_iframe(ngx_http_request_t *r)
{
    ngx_table_elt_t        *etag;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    etag = ngx_snorky_header_push(r, "ETag", &conf->sockjs.etag);

    if (etag == NULL || ngx_snorky_sockjs_header_cache(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.etag = etag;

    ngx_snorky_sockjs_header_type(r, "text/html", 1);

    return ngx_snorky_sockjs_page_send(r, NGX_HTTP_OK, &conf->sockjs.iframe);
}


ngx_int_t
ngx_snorky_sockjs_page_options(ngx_http_request_t *r, const char *methods)
{
    ngx_int_t  rc;
    ngx_str_t  allow, age, none;

    rc = ngx_snorky_sockjs_page_origin(r);
    if (rc != NGX_OK) {
        return rc;
    }

    allow.data = (u_char *) methods;
    allow.len = ngx_strlen(methods);

    ngx_str_set(&age, ngx_value(NGX_SNORKY_SOCKJS_YEAR));
    ngx_str_null(&none);

    if (ngx_snorky_sockjs_header_cache(r) != NGX_OK
        || ngx_snorky_sockjs_header_cors(r) != NGX_OK
        || ngx_snorky_header_add(r, "Access-Control-Allow-Methods", &allow)
           != NGX_OK
        || ngx_snorky_header_add(r, "Access-Control-Max-Age", &age) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_snorky_sockjs_page_send(r, NGX_HTTP_NO_CONTENT, &none);
}


/* without the page that nginx has for it: the protocol wants no body */

ngx_int_t
ngx_snorky_sockjs_page_not_allowed(ngx_http_request_t *r, const char *methods)
{
    ngx_str_t  allow, none;

    allow.data = (u_char *) methods;
    allow.len = ngx_strlen(methods);

    ngx_str_null(&none);

    if (ngx_snorky_header_add(r, "Allow", &allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_snorky_sockjs_page_send(r, NGX_HTTP_NOT_ALLOWED, &none);
}


ngx_int_t
ngx_snorky_sockjs_page_text(ngx_http_request_t *r, ngx_uint_t status,
    const char *text)
{
    ngx_str_t  body, type;

    body.data = (u_char *) text;
    body.len = ngx_strlen(text);

    if (ngx_snorky_sockjs_header_no_cache(r) != NGX_OK
        || ngx_snorky_sockjs_header_cors(r) != NGX_OK
        || ngx_snorky_sockjs_header_cookie(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status != NGX_HTTP_NO_CONTENT) {
        ngx_snorky_sockjs_header_type(r, "text/plain", 1);
        return ngx_snorky_sockjs_page_send(r, status, &body);
    }

    /* nginx sends no type with it, but Firefox would take it for XML */

    ngx_str_set(&type, NGX_SNORKY_SOCKJS_TEXT);

    if (ngx_snorky_header_add(r, "Content-Type", &type) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_snorky_sockjs_page_send(r, status, &body);
}


ngx_int_t
ngx_snorky_sockjs_page_origin(ngx_http_request_t *r)
{
    ngx_snorky_worker_t    *worker;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (ngx_snorky_origin_check_page(r, conf->origins) == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "origin is not allowed by \"snorky_origins\"");

    worker = ngx_snorky_conf_worker(r);

    if (worker) {
        worker->hub->stats->rejected_origin++;
    }

    return NGX_HTTP_FORBIDDEN;
}


static ngx_int_t
ngx_snorky_sockjs_page_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    if (body->len) {
        b->pos = body->data;
        b->last = body->data + body->len;
        b->memory = 1;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
