
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_ws_sockjs.h"


void ngx_snorky_ws_sockjs_open(ngx_snorky_ws_t *ws)
{
}


ngx_snorky_msg_t *ngx_snorky_ws_sockjs_form(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg)
{
    return NULL;
}


void ngx_snorky_ws_sockjs_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason)
{
}
