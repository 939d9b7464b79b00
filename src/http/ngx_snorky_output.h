
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The way to a socket: a queue of messages that is written once in a round
 * of the event loop, with one writev for all that has come together.
 */


#ifndef _NGX_SNORKY_OUTPUT_H_INCLUDED_
#define _NGX_SNORKY_OUTPUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_snorky_msg.h"


/* messages in one call of send_chain; as many as nginx puts in one writev */
#define NGX_SNORKY_OUTPUT_BATCH  64


/* One per worker: writes, at the end of the round, what has been queued. */

typedef struct {
    ngx_queue_t                dirty;
    ngx_event_t                event;
    ngx_connection_t           dummy;
    ngx_buf_t                  bufs[NGX_SNORKY_OUTPUT_BATCH];
    ngx_chain_t                chain[NGX_SNORKY_OUTPUT_BATCH];
} ngx_snorky_flusher_t;


typedef struct ngx_snorky_output_s  ngx_snorky_output_t;

struct ngx_snorky_output_s {
    ngx_queue_t                queue;       /* of the flusher's dirty ones */
    ngx_snorky_flusher_t      *flusher;
    ngx_connection_t          *connection;

    ngx_snorky_msg_t         **msgs;        /* a ring */
    ngx_uint_t                 size;        /* its places, a power of two */
    ngx_uint_t                 first;
    ngx_uint_t                 count;

    size_t                     sent;        /* bytes of the first message */
    size_t                     bytes;       /* of all that are to be sent */

    /* after each flush, with its result; may free the output */
    void                     (*flushed)(ngx_snorky_output_t *o, ngx_int_t rc);

    unsigned                   dirty:1;
    unsigned                   held:1;      /* not to be written yet */
};


void ngx_snorky_flusher_init(ngx_snorky_flusher_t *flusher, ngx_log_t *log);

/* writes for all, now */
void ngx_snorky_flusher_run(ngx_snorky_flusher_t *flusher);

/*
 * Queues the message's frame: its text and the msg->framed bytes before it.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_output_push(ngx_snorky_output_t *o,
    ngx_snorky_msg_t *msg);

/* forgets all but the message that has been sent in part; returns how many */
ngx_uint_t ngx_snorky_output_drop(ngx_snorky_output_t *o);

/* have it flushed at the end of the round */
void ngx_snorky_output_post(ngx_snorky_output_t *o);

/*
 * NGX_OK: all is with the kernel.  NGX_AGAIN: the socket is full, its write
 * event will tell.  NGX_ERROR: the connection is gone.
 */

ngx_int_t ngx_snorky_output_flush(ngx_snorky_output_t *o);

/* forgets everything; returns how many messages were not sent whole */
ngx_uint_t ngx_snorky_output_finish(ngx_snorky_output_t *o);


#endif /* _NGX_SNORKY_OUTPUT_H_INCLUDED_ */
