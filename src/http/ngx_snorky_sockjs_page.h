
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What needs no session: the greeting, /info, /iframe*.html, OPTIONS, and the
 * texts of errors.
 */


#ifndef _NGX_SNORKY_SOCKJS_PAGE_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_PAGE_H_INCLUDED_


#include "ngx_snorky_sockjs.h"


/* NGX_OK, or NGX_ERROR: no memory; the iframe of the location, and its ETag */
ngx_int_t ngx_snorky_sockjs_page_init(ngx_conf_t *cf,
    ngx_snorky_loc_conf_t *conf);

/* these return as a content handler does */

ngx_int_t ngx_snorky_sockjs_page_greeting(ngx_http_request_t *r);
ngx_int_t ngx_snorky_sockjs_page_info(ngx_http_request_t *r);
ngx_int_t ngx_snorky_sockjs_page_iframe(ngx_http_request_t *r);

/* methods: "OPTIONS, GET" */
ngx_int_t ngx_snorky_sockjs_page_options(ngx_http_request_t *r,
    const char *methods);

/* the request's origin: NGX_OK, or 403, logged and counted */
ngx_int_t ngx_snorky_sockjs_page_origin(ngx_http_request_t *r);

/* 405, with Allow */
ngx_int_t ngx_snorky_sockjs_page_not_allowed(ngx_http_request_t *r,
    const char *methods);

/*
 * Answers with a status and a short text, or with none (""), as text/plain,
 * not to be cached, with CORS and the cookie.  Also after the body was read.
 */

ngx_int_t ngx_snorky_sockjs_page_text(ngx_http_request_t *r,
    ngx_uint_t status, const char *text);


#endif /* _NGX_SNORKY_SOCKJS_PAGE_H_INCLUDED_ */
