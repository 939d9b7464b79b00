
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A peer that is silent is pinged; one that does not answer is closed.
 */


#ifndef _NGX_SNORKY_WS_SILENCE_H_INCLUDED_
#define _NGX_SNORKY_WS_SILENCE_H_INCLUDED_


#include "ngx_snorky_ws.h"


/* the connection is open */
void ngx_snorky_ws_silence_begin(ngx_snorky_ws_t *ws);

/* the peer has been heard: its silence begins anew */
void ngx_snorky_ws_silence_break(ngx_snorky_ws_t *ws);

/* of all timeouts of a connection, those of its closing too; may free it */
void ngx_snorky_ws_silence_handler(ngx_snorky_timeout_t *timeout);


#endif /* _NGX_SNORKY_WS_SILENCE_H_INCLUDED_ */
