
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * SockJS's frames over a WebSocket, in a location with snorky_sockjs.
 */


#ifndef _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_
#define _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_


#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_sockjs_frame.h"
#include "ngx_snorky_ws.h"


/* what snorky_sockjs_close says */
#define NGX_SNORKY_WS_SOCKJS_GO_AWAY  3000


struct ngx_snorky_ws_sockjs_s {
    ngx_snorky_timeout_t        beat;       /* first */
    ngx_snorky_ws_t            *ws;
    ngx_str_t                   rest;       /* of ws->message, packed */
};


/* whether there are messages that have been unpacked in part */
#define ngx_snorky_ws_sockjs_unpacks(ws)                                      \
    ((ws)->sockjs && (ws)->sockjs->rest.len)


/* while the configuration is merged; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_ws_sockjs_init_location(ngx_conf_t *cf,
    ngx_snorky_main_conf_t *smcf, ngx_snorky_loc_conf_t *conf);

/* in init_process and exit_process; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_ws_sockjs_open_worker(ngx_snorky_worker_t *worker,
    ngx_log_t *log);
void ngx_snorky_ws_sockjs_close_worker(ngx_snorky_worker_t *worker);

/* its messages are SockJS frames; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_ws_sockjs_init(ngx_snorky_ws_t *ws);
void ngx_snorky_ws_sockjs_finish(ngx_snorky_ws_t *ws);

/* says "o", as the first that it says */
void ngx_snorky_ws_sockjs_open(ngx_snorky_ws_t *ws);

/*
 * a["..."] of a message, made once for all connections, with a reference for
 * the caller; NULL: no memory.
 */

ngx_snorky_msg_t *ngx_snorky_ws_sockjs_form(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg);

/* c[code,"reason"], before the WebSocket's own close frame */
void ngx_snorky_ws_sockjs_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason);

/* something has been said: the time to the next heartbeat begins anew */
void ngx_snorky_ws_sockjs_beat(ngx_snorky_ws_t *ws);

/*
 * Packs what a client's frame has; ws->sockjs->rest is all of it then, and
 * lies in *packed.
 *
 *   NGX_OK        it may be no message at all: the rest is empty
 *   NGX_DECLINED  neither an array of strings nor a string
 *   NGX_ABORT     a message is larger than "snorky_max_message_size"
 *   NGX_ERROR     no memory
 */

ngx_int_t ngx_snorky_ws_sockjs_pack(ngx_snorky_ws_t *ws, ngx_str_t *text,
    ngx_snorky_ws_bytes_t **packed);


#endif /* _NGX_SNORKY_WS_SOCKJS_H_INCLUDED_ */
