
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a connection keeps behind its upgrade.  A WebSocket lies in a pool of
 * its own.  With "snorky_lean" its request ends when the 101 has been sent,
 * as a request ends that is kept alive, and that pool becomes the
 * connection's: nothing else is left.
 */


#ifndef _NGX_SNORKY_LEAN_H_INCLUDED_
#define _NGX_SNORKY_LEAN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * A pool with room for so many bytes and, if it is to take the connection
 * over, for what that needs.  Otherwise it ends after the request has been
 * logged.  NULL: no memory.
 */

ngx_pool_t *ngx_snorky_lean_create_pool(ngx_http_request_t *r, size_t size,
    ngx_uint_t lean);

/* whether this module can end the connection without its request */
ngx_uint_t ngx_snorky_lean_possible(ngx_connection_t *c);

/*
 * Ends and logs the request, whose answer is with the kernel.  The connection
 * lives on in the pool; its data and handlers are the caller's to set.
 */

void ngx_snorky_lean_part(ngx_http_request_t *r, ngx_pool_t *pool);

/*
 * Sends no more, so that the peer can read the last frame: a socket that is
 * closed with input unread is reset.  "ready" goes on when that is done, which
 * for TLS may be later.  NGX_OK, NGX_AGAIN (later) or NGX_ERROR.
 */

ngx_int_t ngx_snorky_lean_shutdown(ngx_connection_t *c,
    ngx_connection_handler_pt ready);

/* closes the connection and destroys the pool */
void ngx_snorky_lean_close(ngx_connection_t *c, ngx_pool_t *pool);


#endif /* _NGX_SNORKY_LEAN_H_INCLUDED_ */
