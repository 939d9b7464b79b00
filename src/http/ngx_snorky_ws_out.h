
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What goes over a WebSocket: messages into frames, frames into the queue.
 */


#ifndef _NGX_SNORKY_WS_OUT_H_INCLUDED_
#define _NGX_SNORKY_WS_OUT_H_INCLUDED_


#include "ngx_snorky_ws.h"


/*
 * What this connection gets of a message: the message itself or a form of it
 * (ngx_snorky_msg.h), with a reference for the caller.  NULL: no memory.
 */

ngx_snorky_msg_t *ngx_snorky_ws_out_form(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t opcode);

/*
 * A frame with a copy of data, that does not wait for a batching window.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_ws_out_push(ngx_snorky_ws_t *ws, ngx_uint_t opcode,
    u_char *data, size_t len);

/* a frame that shares the message's bytes; likewise */
ngx_int_t ngx_snorky_ws_out_msg(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode, ngx_uint_t urgent);

/*
 * The last frame that we send; reason may be NULL.  Counts why, and gives the
 * peer its time to answer.
 */

void ngx_snorky_ws_out_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason);

/*
 * What follows from a flush with this result: NGX_OK, or how to end, NGX_DONE
 * (all has been said) or NGX_ERROR (the peer is gone).
 */

ngx_int_t ngx_snorky_ws_out_flushed(ngx_snorky_ws_t *ws, ngx_int_t rc);


#endif /* _NGX_SNORKY_WS_OUT_H_INCLUDED_ */
