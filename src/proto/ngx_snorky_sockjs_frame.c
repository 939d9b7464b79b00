
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_frame.h"


size_t ngx_snorky_sockjs_string_size(ngx_str_t *text)
{
    return 0;
}


u_char *ngx_snorky_sockjs_string(u_char *p, ngx_str_t *text)
{
    return NULL;
}


size_t ngx_snorky_sockjs_close_size(ngx_str_t *reason)
{
    return 0;
}


u_char *ngx_snorky_sockjs_close(u_char *p, ngx_uint_t code, ngx_str_t *reason)
{
    return NULL;
}


size_t ngx_snorky_sockjs_wrap_size(ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame)
{
    return 0;
}


u_char *ngx_snorky_sockjs_wrap(u_char *p, ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame)
{
    return NULL;
}


ngx_uint_t ngx_snorky_sockjs_is_callback(ngx_str_t *text)
{
    return 0;
}


ngx_int_t ngx_snorky_sockjs_pack(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t single, u_char *packed, size_t *len, ngx_uint_t *n,
    size_t *largest)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_unpack(ngx_str_t *rest, ngx_str_t *message)
{
    return NGX_ERROR;
}
