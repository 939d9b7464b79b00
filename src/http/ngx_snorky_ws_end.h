
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The end of a WebSocket: what the session had is given back first, then its
 * request is finalized or, if that has ended before, its connection closed.
 */


#ifndef _NGX_SNORKY_WS_END_H_INCLUDED_
#define _NGX_SNORKY_WS_END_H_INCLUDED_


#include "ngx_snorky_ws.h"


/*
 * NGX_ERROR: the peer is gone.  With NGX_DONE, it is let read our last frame:
 * a socket that is closed with input unread is reset.  In an event of the
 * connection, as the last that is done there.
 */

void ngx_snorky_ws_end(ngx_snorky_ws_t *ws, ngx_int_t rc);

/* from outside of the connection's own events */
void ngx_snorky_ws_end_outside(ngx_snorky_ws_t *ws, ngx_int_t rc);

/*
 * The server stops it: says so, as far as the socket takes it at once, and
 * gives back what the session had.  The connection stays open.
 */

void ngx_snorky_ws_end_stop(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason);

/* lean: closes the connection, and frees all that it had */
void ngx_snorky_ws_end_free(ngx_snorky_ws_t *ws);


#endif /* _NGX_SNORKY_WS_END_H_INCLUDED_ */
