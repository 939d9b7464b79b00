
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The way to a socket: a queue of messages that is written once in a round
 * of the event loop, or once in a batching window, with one writev for all
 * that has come together.
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
    struct iovec               iovs[NGX_SNORKY_OUTPUT_BATCH];
    ngx_buf_t                  bufs[NGX_SNORKY_OUTPUT_BATCH];
    ngx_chain_t                chain[NGX_SNORKY_OUTPUT_BATCH];
} ngx_snorky_flusher_t;


/*
 * A batching window: who has something to send waits here, until the window
 * that the first of them has opened is over.  Then all are the flusher's.
 */

typedef struct {
    ngx_queue_t                gathering;
    ngx_msec_t                 length;
    ngx_event_t                event;
    ngx_connection_t           dummy;
} ngx_snorky_window_t;


typedef struct ngx_snorky_output_s  ngx_snorky_output_t;

struct ngx_snorky_output_s {
    ngx_queue_t                queue;       /* of the dirty, or of a window */
    ngx_snorky_flusher_t      *flusher;
    ngx_snorky_window_t       *window;      /* NULL: none */
    ngx_connection_t          *connection;

    union {
        ngx_snorky_msg_t      *msg;         /* the only one, without a ring */
        ngx_snorky_msg_t     **ring;
    } u;

    uint32_t                   mask;        /* the ring's size - 1 */
    uint32_t                   first;
    uint32_t                   count;

    unsigned                   dirty:1;
    unsigned                   gathers:1;
    unsigned                   held:1;      /* not to be written yet */

    size_t                     sent;        /* bytes of the first message */
    size_t                     bytes;       /* of all that are to be sent */

    /* after each flush, with its result; may free the output */
    void                     (*flushed)(ngx_snorky_output_t *o, ngx_int_t rc);
};


void ngx_snorky_flusher_init(ngx_snorky_flusher_t *flusher, ngx_log_t *log);

/*
 * The window of so many milliseconds, made if there is none in "windows", an
 * array of pointers.  While the configuration is read; every worker then has
 * its own.  NULL: no memory.
 */

ngx_snorky_window_t *ngx_snorky_output_window(ngx_conf_t *cf,
    ngx_array_t *windows, ngx_msec_t length);

/*
 * Queues the message's frame: its text and the msg->framed bytes before it.
 * It is written at the end of the round or, unless it is urgent, of the
 * window.  NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_output_push(ngx_snorky_output_t *o,
    ngx_snorky_msg_t *msg, ngx_uint_t urgent);

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
