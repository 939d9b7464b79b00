
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_receive.h"


ngx_int_t ngx_snorky_sockjs_receive(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session,
    ngx_snorky_sockjs_kind_e kind)
{
    return NGX_ERROR;
}
