
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_page.h"


ngx_int_t ngx_snorky_sockjs_page_init(ngx_conf_t *cf,
    ngx_snorky_loc_conf_t *conf)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_greeting(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_info(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_iframe(ngx_http_request_t *r)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_options(ngx_http_request_t *r,
    const char *methods)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_not_allowed(ngx_http_request_t *r,
    const char *methods)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_page_text(ngx_http_request_t *r,
    ngx_uint_t status, const char *text)
{
    return NGX_ERROR;
}
