
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the directives say, and what one worker makes of it.
 */


#ifndef _NGX_SNORKY_CONF_H_INCLUDED_
#define _NGX_SNORKY_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_snorky_hub.h"
#include "ngx_snorky_output.h"
#include "ngx_snorky_service.h"
#include "ngx_snorky_session.h"
#include "ngx_snorky_timeout.h"


#define NGX_SNORKY_VERSION  "0.1.0"


/* what connections share for permessage-deflate */
typedef struct ngx_snorky_ws_deflates_s  ngx_snorky_ws_deflates_t;

typedef struct ngx_snorky_sockjs_worker_s  ngx_snorky_sockjs_worker_t;


/* Made in init_process, in workers only. */

typedef struct {
    ngx_snorky_hub_t            *hub;
    ngx_snorky_flusher_t         flusher;
    ngx_queue_t                  websockets;
    ngx_snorky_msg_t            *ping;      /* the same for all ... */
    ngx_snorky_msg_t            *sockjs_open;       /* ... as is "o" ... */
    ngx_snorky_msg_t            *sockjs_beat;       /* ... and "h" */
    ngx_queue_t                  inners;    /* requests of our own */
    uint64_t                     delivered; /* before the connection's turn */
    ngx_snorky_ws_deflates_t    *deflates;
    ngx_snorky_sockjs_worker_t  *sockjs;
    u_char                      *buffer;    /* all sockets are read into it */
    size_t                       buffer_size;
} ngx_snorky_worker_t;


typedef struct {
    ngx_array_t                  types;      /* ngx_snorky_service_type_t * */
    ngx_array_t                  registries; /* of ngx_snorky_registry_t * */
    ngx_array_t                  timeouts;   /* of their queues, pointers */
    ngx_array_t                  windows;    /* of ngx_snorky_window_t * */
    ngx_shm_zone_t              *shm_zone;   /* NULL: nothing here uses it */
    size_t                       zone_size;
    size_t                       log_size;
    ngx_snorky_hub_conf_t        hub;
    ngx_snorky_worker_t         *worker;
    ngx_uint_t                   used;
} ngx_snorky_main_conf_t;


typedef struct {
    ngx_uint_t                   level;         /* 1 to 9 */
    ngx_uint_t                   bits;          /* of the window, 9 to 15 */
    size_t                       min_size;
    ngx_uint_t                   takeover;
} ngx_snorky_deflate_conf_t;


typedef struct {
    ngx_flag_t                   websocket;
    ngx_flag_t                   cookie;
    size_t                       response_limit;    /* bytes */
    ngx_msec_t                   heartbeat;
    ngx_msec_t                   disconnect_delay;
    ngx_uint_t                   sessions;      /* on all workers */
    ngx_str_t                    url;           /* of the client's script */

    ngx_str_t                    prefix;        /* without a slash behind */
    ngx_str_t                    scope;         /* of sessions' ids */
    ngx_str_t                    iframe;        /* the page ... */
    ngx_str_t                    etag;          /* ... in quotes */

    /* who waits for these times */
    ngx_snorky_timeout_queue_t  *beats;
    ngx_snorky_timeout_queue_t  *absences;
    ngx_snorky_timeout_queue_t  *ws_beats;
} ngx_snorky_sockjs_conf_t;


typedef struct {
    ngx_snorky_limits_t          limits;
    size_t                       max_message_size;
    size_t                       send_buffer;
    ngx_msec_t                   ping_interval;
    ngx_msec_t                   ping_timeout;
    ngx_msec_t                   close_timeout;
    ngx_msec_t                   batch_window;
    ngx_flag_t                   lean;

    /* of websockets: who waits for these times, or in the window */
    ngx_snorky_timeout_queue_t  *silence;
    ngx_snorky_timeout_queue_t  *pong;
    ngx_snorky_timeout_queue_t  *closing;
    ngx_snorky_window_t         *window;

    ngx_http_complex_value_t    *identity;
    ngx_array_t                 *origins;       /* of ngx_snorky_origin_t */
    ngx_array_t                 *protocols;     /* of ngx_str_t */
    ngx_snorky_deflate_conf_t   *deflate;       /* NULL: off */
    ngx_array_t                 *max_connections; /* of ngx_snorky_limit_t */
    ngx_array_t                 *backend_keys;  /* ngx_http_complex_value_t */

    ngx_snorky_sockjs_conf_t     sockjs;

    ngx_str_t                    registry_name;
    ngx_snorky_registry_t       *registry;
    ngx_http_handler_pt          handler;       /* NULL: none of ours */

    unsigned                     websocket:1;
    unsigned                     sockjs_used:1; /* and websocket, too */
    unsigned                     echo:1;        /* a raw one */
    unsigned                     go_away:1;     /* SockJS: closed at once */
    unsigned                     backend:1;
} ngx_snorky_loc_conf_t;


extern ngx_module_t  ngx_snorky_module;


/* NULL where nothing can be served: no zone, or no place in it */
ngx_snorky_worker_t *ngx_snorky_conf_worker(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_CONF_H_INCLUDED_ */
