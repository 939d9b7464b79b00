
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The state of a WebSocket connection, for the files that drive it: its life
 * (ngx_snorky_websocket.c), what is read (ngx_snorky_ws_in.c) and what is
 * written (ngx_snorky_ws_out.c).
 */


#ifndef _NGX_SNORKY_WS_H_INCLUDED_
#define _NGX_SNORKY_WS_H_INCLUDED_


#include "ngx_snorky_conf.h"
#include "ngx_snorky_peer.h"
#include "ngx_snorky_ws_frame.h"


typedef enum {
    NGX_SNORKY_WS_OPEN = 0,
    NGX_SNORKY_WS_CLOSING,      /* our close frame waits for its answer */
    NGX_SNORKY_WS_ENDING        /* nothing more is read, the rest is sent */
} ngx_snorky_ws_e;


typedef struct {
    u_char                     *data;
    size_t                      len;
    size_t                      size;
} ngx_snorky_ws_bytes_t;


typedef struct {
    ngx_snorky_peer_t           peer;       /* first */
    ngx_queue_t                 queue;      /* of the worker's websockets */
    ngx_snorky_worker_t        *worker;
    ngx_snorky_loc_conf_t      *conf;

    ngx_snorky_output_t         output;
    ngx_snorky_ws_parser_t      parser;

    /* a message that came in pieces, or waits for room in the log */
    ngx_snorky_ws_bytes_t       message;
    ngx_uint_t                  opcode;

    /* what was read behind a message that must be dealt with first */
    ngx_snorky_ws_bytes_t       unread;

    ngx_msec_t                  seen;       /* last sign of the peer */

    unsigned                    state:2;
    unsigned                    pinged:1;
    unsigned                    finished:1;
    unsigned                    waits:1;    /* "message" does, for room */
    unsigned                    full:1;     /* our answers are not read */
    unsigned                    accepting:1;
    unsigned                    counted:1;  /* why it ends */
} ngx_snorky_ws_t;


#define ngx_snorky_ws_connection(ws)  (ws)->peer.request->connection
#define ngx_snorky_ws_stats(ws)       (ws)->worker->hub->stats


/* the connection's one timer, for pings and the closing; 0: none */
void ngx_snorky_ws_set_timer(ngx_snorky_ws_t *ws, ngx_msec_t wait);

/* counts why the connection ends, once; the counter for one of our codes */
void ngx_snorky_ws_count(ngx_snorky_ws_t *ws, uint64_t *counter);
uint64_t *ngx_snorky_ws_counter(ngx_snorky_ws_t *ws, ngx_uint_t code);


#endif /* _NGX_SNORKY_WS_H_INCLUDED_ */
