
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_session.h"


ngx_int_t ngx_snorky_sockjs_session_begin(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, u_char *key, ngx_str_t *identity,
    uint64_t *owner)
{
    return NGX_ERROR;
}


ngx_int_t ngx_snorky_sockjs_session_find(ngx_snorky_worker_t *worker,
    u_char *key, uint64_t *owner)
{
    return NGX_ERROR;
}


void ngx_snorky_sockjs_session_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
}


void ngx_snorky_sockjs_session_lost(ngx_snorky_worker_t *worker)
{
}


void ngx_snorky_sockjs_session_unblocked(ngx_snorky_worker_t *worker)
{
}


ngx_uint_t ngx_snorky_sockjs_session_watch(ngx_snorky_worker_t *worker)
{
    return 0;
}


void ngx_snorky_sockjs_session_timeout(ngx_snorky_timeout_t *timeout)
{
}


void ngx_snorky_sockjs_session_flush_handler(ngx_event_t *ev)
{
}


void ngx_snorky_sockjs_session_close_all(ngx_snorky_worker_t *worker)
{
}
