
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What comes over a WebSocket: from the socket through the parser to the
 * dispatch.
 */


#ifndef _NGX_SNORKY_WS_IN_H_INCLUDED_
#define _NGX_SNORKY_WS_IN_H_INCLUDED_


#include "ngx_snorky_ws.h"


/*
 * Keeps the bytes that came behind the request's head, to be read first.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_ws_in_early(ngx_snorky_ws_t *ws);

/*
 * Reads and dispatches what there is.  NGX_OK, or NGX_ERROR: the peer is
 * gone, or no memory.
 */

ngx_int_t ngx_snorky_ws_in_read(ngx_snorky_ws_t *ws);

/* the message that waited, once more; NGX_AGAIN: it waits still */
ngx_int_t ngx_snorky_ws_in_retry(ngx_snorky_ws_t *ws);

/* whether nothing is to be read now */
ngx_uint_t ngx_snorky_ws_in_paused(ngx_snorky_ws_t *ws);

void ngx_snorky_ws_in_finish(ngx_snorky_ws_t *ws);


#endif /* _NGX_SNORKY_WS_IN_H_INCLUDED_ */
