
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * SockJS's frames over a WebSocket, in a location with snorky_sockjs.
 */


#ifndef _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_
#define _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_


#include "ngx_snorky_ws.h"


/* whether its messages are SockJS frames */
#define ngx_snorky_ws_is_sockjs(ws)  (ws)->sockjs

/* says "o"; in a location with snorky_sockjs_close, the close frame as well */
void ngx_snorky_ws_sockjs_open(ngx_snorky_ws_t *ws);

/*
 * a["..."] of a message, a form of it (ngx_snorky_msg.h), with a reference for
 * the caller; NULL: no memory.
 */

ngx_snorky_msg_t *ngx_snorky_ws_sockjs_form(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg);

/* c[code,"reason"], before the WebSocket's own close frame */
void ngx_snorky_ws_sockjs_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason);


#endif /* _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_ */
