
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_request.h"


ngx_int_t ngx_snorky_sockjs_request_init(ngx_snorky_sockjs_request_t *sr,
    ngx_http_request_t *r, ngx_snorky_worker_t *worker, ngx_str_t *session,
    ngx_snorky_sockjs_request_ops_t *ops, const char *transport)
{
    return NGX_ERROR;
}


void ngx_snorky_sockjs_request_enter(ngx_snorky_sockjs_request_t *sr)
{
}


void ngx_snorky_sockjs_request_leave(ngx_snorky_sockjs_request_t *sr)
{
}


ngx_int_t ngx_snorky_sockjs_request_say(ngx_snorky_sockjs_request_t *sr,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    return NGX_ERROR;
}


void ngx_snorky_sockjs_request_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
}


void ngx_snorky_sockjs_request_lost(ngx_snorky_worker_t *worker)
{
}


ngx_uint_t ngx_snorky_sockjs_request_watch(ngx_snorky_worker_t *worker)
{
    return 0;
}
