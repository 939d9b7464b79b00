
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Header fields of SockJS responses.
 */


#ifndef _NGX_SNORKY_SOCKJS_HEADER_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_HEADER_H_INCLUDED_


#include "ngx_snorky_sockjs.h"


/* seconds */
#define NGX_SNORKY_SOCKJS_YEAR  31536000


/* all return NGX_OK, or NGX_ERROR: no memory */

/* Access-Control-Allow-...: for the request's Origin, or for all */
ngx_int_t ngx_snorky_sockjs_header_cors(ngx_http_request_t *r);

ngx_int_t ngx_snorky_sockjs_header_no_cache(ngx_http_request_t *r);

/* for a year, by all */
ngx_int_t ngx_snorky_sockjs_header_cache(ngx_http_request_t *r);

/* JSESSIONID, if the location asks for it: the client's own, or "dummy" */
ngx_int_t ngx_snorky_sockjs_header_cookie(ngx_http_request_t *r);

/* type/subtype, with charset=UTF-8 where "charset" is set */
void ngx_snorky_sockjs_header_type(ngx_http_request_t *r, const char *type,
    ngx_uint_t charset);


#endif /* _NGX_SNORKY_SOCKJS_HEADER_H_INCLUDED_ */
