
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The state of a WebSocket connection, for the files that drive it: its life
 * (ngx_snorky_websocket.c), what is read (ngx_snorky_ws_in.c) and written
 * (ngx_snorky_ws_out.c), its silence (ngx_snorky_ws_silence.c) and its end
 * (ngx_snorky_ws_end.c).
 */


#ifndef _NGX_SNORKY_WS_H_INCLUDED_
#define _NGX_SNORKY_WS_H_INCLUDED_


#include "ngx_snorky_conf.h"
#include "ngx_snorky_peer.h"
#include "ngx_snorky_timeout.h"
#include "ngx_snorky_ws_frame.h"


typedef enum {
    NGX_SNORKY_WS_OPEN = 0,
    NGX_SNORKY_WS_CLOSING,      /* our close frame waits for its answer */
    NGX_SNORKY_WS_ENDING,       /* nothing more is read, the rest is sent */
    NGX_SNORKY_WS_LINGERING     /* lean: what comes is read and forgotten */
} ngx_snorky_ws_e;


/* bytes that are kept; they follow */

typedef struct {
    size_t                      len;
    size_t                      size;
} ngx_snorky_ws_bytes_t;

#define ngx_snorky_ws_bytes(bytes)  ((u_char *) ((bytes) + 1))


typedef struct ngx_snorky_ws_deflate_s  ngx_snorky_ws_deflate_t;
typedef struct ngx_snorky_ws_sockjs_s   ngx_snorky_ws_sockjs_t;


typedef struct {
    ngx_snorky_peer_t           peer;       /* first */
    ngx_queue_t                 queue;      /* of the worker's websockets */
    ngx_snorky_worker_t        *worker;
    ngx_snorky_loc_conf_t      *conf;
    ngx_pool_t                 *pool;       /* it lies in: the request's, ... */
                                            /* ... or one of its own, lean */
    ngx_snorky_output_t         output;
    ngx_snorky_ws_parser_t      parser;
    ngx_snorky_ws_deflate_t    *deflate;    /* NULL: not agreed on */
    ngx_snorky_ws_sockjs_t     *sockjs;     /* NULL: messages as they are */

    /* a message that came in pieces, or waits for room in the log */
    ngx_snorky_ws_bytes_t      *message;

    /* what was read behind a message that must be dealt with first */
    ngx_snorky_ws_bytes_t      *unread;

    ngx_snorky_timeout_t        timeout;    /* for pings and the closing */
    ngx_msec_t                  seen;       /* last sign of the peer */

    unsigned                    opcode:4;   /* of "message" */
    unsigned                    state:2;
    unsigned                    pinged:1;
    unsigned                    finished:1;
    unsigned                    waits:1;    /* "message" does, for room */
    unsigned                    full:1;     /* our answers are not read */
    unsigned                    accepting:1;
    unsigned                    counted:1;  /* why it ends */
} ngx_snorky_ws_t;


/* behind it: a tally for each of the location's limits, if there are any */
#define ngx_snorky_ws_tallies(ws)                                             \
    ((ngx_snorky_store_tally_t **) ((ws) + 1))

#define ngx_snorky_ws_connection(ws)  (ws)->output.connection
#define ngx_snorky_ws_stats(ws)       (ws)->worker->hub->stats


/* counts why the connection ends, once; the counter for one of our codes */
void ngx_snorky_ws_count(ngx_snorky_ws_t *ws, uint64_t *counter);
uint64_t *ngx_snorky_ws_counter(ngx_snorky_stats_t *stats, ngx_uint_t code);


#endif /* _NGX_SNORKY_WS_H_INCLUDED_ */
