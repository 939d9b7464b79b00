
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_header.h"


ngx_int_t ngx_snorky_sockjs_header_cors(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_header_no_cache(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_header_cache(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_header_cookie(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


void ngx_snorky_sockjs_header_type(ngx_http_request_t *r, const char *type,
    ngx_uint_t charset)
{
}
