
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_send.h"


ngx_int_t ngx_snorky_sockjs_send(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session, ngx_uint_t jsonp)
{
    return NGX_ERROR;
}
