
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The WebSocket transport: a session over the frames of an upgraded request.
 */


#ifndef _NGX_SNORKY_WEBSOCKET_H_INCLUDED_
#define _NGX_SNORKY_WEBSOCKET_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* the content handler of a location with snorky_websocket(_echo) */
ngx_int_t ngx_snorky_websocket_handler(ngx_http_request_t *r);

/* the same, for messages in the frames of SockJS */
ngx_int_t ngx_snorky_websocket_handler_sockjs(ngx_http_request_t *r);

/*
 * While the configuration is read: the queues of a location, from its times.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_websocket_init(ngx_conf_t *cf,
    ngx_snorky_main_conf_t *smcf, ngx_snorky_loc_conf_t *conf);

/* in init_process; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_websocket_open_worker(ngx_snorky_worker_t *worker,
    ngx_log_t *log);

/*
 * In exit_process: says 1001, or 1012 where the worker quits, to all that are
 * still connected, as far as their sockets take it, and ends them.
 */

void ngx_snorky_websocket_close_worker(ngx_snorky_worker_t *worker);


#endif /* _NGX_SNORKY_WEBSOCKET_H_INCLUDED_ */
