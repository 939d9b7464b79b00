
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Compression of a WebSocket's messages: what a connection has agreed on, and
 * what a worker's connections share for it.
 */


#ifndef _NGX_SNORKY_WS_DEFLATE_H_INCLUDED_
#define _NGX_SNORKY_WS_DEFLATE_H_INCLUDED_


#include "ngx_snorky_ws.h"
#include "ngx_snorky_deflate.h"


/* the states are made when they are needed first */

struct ngx_snorky_ws_deflate_s {
    ngx_snorky_deflate_params_t   params;
    ngx_snorky_deflater_t        *deflater;     /* its own: with takeover */
    ngx_snorky_inflater_t        *inflater;
};


/*
 * Looks at what the client offers, where the location has "snorky_deflate".
 * NGX_OK: params can be agreed on; NGX_DECLINED: nothing can; or the status to
 * answer with, 400.
 */

ngx_int_t ngx_snorky_ws_deflate_negotiate(ngx_http_request_t *r,
    ngx_snorky_loc_conf_t *conf, ngx_snorky_deflate_params_t *params);

/* adds it to the response; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_ws_deflate_answer(ngx_http_request_t *r,
    ngx_snorky_deflate_params_t *params);

/* from here on RSV1 is understood; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_ws_deflate_init(ngx_snorky_ws_t *ws,
    ngx_snorky_deflate_params_t *params);
void ngx_snorky_ws_deflate_finish(ngx_snorky_ws_t *ws);

/*
 * The form in which a connection that has agreed gets the message, with a
 * reference for the caller: the message itself, or a compressed one that has
 * its frame's header, made once for all who have agreed on the same.  NULL:
 * no memory.
 */

ngx_snorky_msg_t *ngx_snorky_ws_deflate_form(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t opcode);

/*
 * Decompresses a whole message.  The result lies in the worker's memory until
 * the next call, or ngx_snorky_ws_deflate_forget().
 *
 *   NGX_OK        text is the decompressed one
 *   NGX_DECLINED  it is larger than "snorky_max_message_size"
 *   NGX_ABORT     it is no compressed message
 *   NGX_ERROR     no memory
 */

ngx_int_t ngx_snorky_ws_deflate_read(ngx_snorky_ws_t *ws, ngx_str_t *text);
void ngx_snorky_ws_deflate_forget(ngx_snorky_worker_t *worker);

/* what a worker has; NULL: no memory */
ngx_snorky_ws_deflates_t *ngx_snorky_ws_deflate_open_worker(ngx_log_t *log);
void ngx_snorky_ws_deflate_close_worker(ngx_snorky_ws_deflates_t *all);


#endif /* _NGX_SNORKY_WS_DEFLATE_H_INCLUDED_ */
