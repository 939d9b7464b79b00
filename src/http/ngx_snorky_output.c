
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the queues to the sockets and the round's end.  Called by transports
 * to queue, and by the event loop to flush.
 */


#include "ngx_snorky_output.h"


#define NGX_SNORKY_OUTPUT_MIN_SIZE  4

/* places of an empty ring that are kept; above, it is given back */
#define NGX_SNORKY_OUTPUT_KEEP      16


static void ngx_snorky_flusher_handler(ngx_event_t *ev);
static ngx_int_t ngx_snorky_output_grow(ngx_snorky_output_t *o);
static void ngx_snorky_output_shrink(ngx_snorky_output_t *o);
static ngx_chain_t *ngx_snorky_output_chain(ngx_snorky_output_t *o);
static void ngx_snorky_output_advance(ngx_snorky_output_t *o, ngx_chain_t *cl,
    ngx_chain_t *rest);
static void ngx_snorky_output_shift(ngx_snorky_output_t *o);


#define ngx_snorky_output_at(o, n)                                            \
    (o)->msgs[((o)->first + (n)) & ((o)->size - 1)]

#define ngx_snorky_output_len(msg)  ((msg)->len + (msg)->framed)


void
ngx_snorky_flusher_init(ngx_snorky_flusher_t *flusher, ngx_log_t *log)
{
    ngx_uint_t  i;

    ngx_queue_init(&flusher->dirty);

    flusher->dummy.data = flusher;
    flusher->dummy.fd = (ngx_socket_t) -1;

    flusher->event.handler = ngx_snorky_flusher_handler;
    flusher->event.data = &flusher->dummy;
    flusher->event.log = log;

    for (i = 0; i < NGX_SNORKY_OUTPUT_BATCH; i++) {
        flusher->bufs[i].memory = 1;
        flusher->chain[i].buf = &flusher->bufs[i];
    }
}


static void
ngx_snorky_flusher_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_snorky_flusher_run(c->data);
}


void
ngx_snorky_flusher_run(ngx_snorky_flusher_t *flusher)
{
    ngx_int_t             rc;
    ngx_queue_t          *q;
    ngx_snorky_output_t  *o;

    while (!ngx_queue_empty(&flusher->dirty)) {

        q = ngx_queue_head(&flusher->dirty);
        ngx_queue_remove(q);

        o = ngx_queue_data(q, ngx_snorky_output_t, queue);
        o->dirty = 0;

        rc = ngx_snorky_output_flush(o);

        o->flushed(o, rc);
    }
}


ngx_int_t
ngx_snorky_output_push(ngx_snorky_output_t *o, ngx_snorky_msg_t *msg)
{
    if (o->count == o->size && ngx_snorky_output_grow(o) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_msg_ref(msg);

    ngx_snorky_output_at(o, o->count) = msg;

    o->count++;
    o->bytes += ngx_snorky_output_len(msg);

    ngx_snorky_output_post(o);

    return NGX_OK;
}


void
ngx_snorky_output_post(ngx_snorky_output_t *o)
{
    ngx_event_t  *ev;

    if (o->dirty) {
        return;
    }

    o->dirty = 1;
    ngx_queue_insert_tail(&o->flusher->dirty, &o->queue);

    ev = &o->flusher->event;

    ngx_post_event(ev, &ngx_posted_events);
}


static ngx_int_t
ngx_snorky_output_grow(ngx_snorky_output_t *o)
{
    ngx_uint_t          i, size;
    ngx_snorky_msg_t  **msgs;

    size = o->size ? o->size * 2 : NGX_SNORKY_OUTPUT_MIN_SIZE;

    msgs = ngx_alloc(size * sizeof(ngx_snorky_msg_t *), o->connection->log);
    if (msgs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < o->count; i++) {
        msgs[i] = ngx_snorky_output_at(o, i);
    }

    if (o->msgs) {
        ngx_free(o->msgs);
    }

    o->msgs = msgs;
    o->size = size;
    o->first = 0;

    return NGX_OK;
}


static void
ngx_snorky_output_shrink(ngx_snorky_output_t *o)
{
    if (o->msgs && o->size > NGX_SNORKY_OUTPUT_KEEP) {
        ngx_free(o->msgs);

        o->msgs = NULL;
        o->size = 0;
    }

    o->first = 0;
}


ngx_uint_t
ngx_snorky_output_drop(ngx_snorky_output_t *o)
{
    size_t      bytes;
    ngx_uint_t  keep, i;

    keep = (o->count && o->sent) ? 1 : 0;
    bytes = keep ? ngx_snorky_output_len(ngx_snorky_output_at(o, 0)) - o->sent
                 : 0;

    for (i = keep; i < o->count; i++) {
        ngx_snorky_msg_unref(ngx_snorky_output_at(o, i));
    }

    i = o->count - keep;

    o->count = keep;
    o->bytes = bytes;

    return i;
}


ngx_int_t
ngx_snorky_output_flush(ngx_snorky_output_t *o)
{
    ngx_chain_t       *cl, *rest;
    ngx_connection_t  *c;

    c = o->connection;

    if (c->error) {
        return NGX_ERROR;
    }

    if (o->held) {
        return NGX_AGAIN;
    }

    while (o->count || c->buffered) {

        if (!c->write->ready) {
            break;
        }

        cl = o->count ? ngx_snorky_output_chain(o) : NULL;

        rest = c->send_chain(c, cl, 0);

        if (rest == NGX_CHAIN_ERROR) {
            c->error = 1;
            return NGX_ERROR;
        }

        ngx_snorky_output_advance(o, cl, rest);

        if (rest || c->buffered) {
            break;
        }
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (o->count || c->buffered) {
        return NGX_AGAIN;
    }

    ngx_snorky_output_shrink(o);

    return NGX_OK;
}


/* the flusher's buffers, filled with as many messages as they take */

static ngx_chain_t *
ngx_snorky_output_chain(ngx_snorky_output_t *o)
{
    ngx_buf_t             *b;
    ngx_uint_t             i, n;
    ngx_snorky_msg_t      *msg;
    ngx_snorky_flusher_t  *flusher;

    flusher = o->flusher;
    n = ngx_min(o->count, NGX_SNORKY_OUTPUT_BATCH);

    for (i = 0; i < n; i++) {
        msg = ngx_snorky_output_at(o, i);
        b = &flusher->bufs[i];

        b->start = msg->text - msg->framed;
        b->end = msg->text + msg->len;
        b->pos = b->start;
        b->last = b->end;
        b->flush = 0;

        flusher->chain[i].next = &flusher->chain[i + 1];
    }

    flusher->bufs[0].pos += o->sent;

    /* TLS gathers records, and is told here where to stop gathering */

    flusher->bufs[n - 1].flush = 1;
    flusher->chain[n - 1].next = NULL;

    return &flusher->chain[0];
}


/* what comes before "rest" in the chain has been sent */

static void
ngx_snorky_output_advance(ngx_snorky_output_t *o, ngx_chain_t *cl,
    ngx_chain_t *rest)
{
    size_t  sent;

    for ( /* void */ ; cl != rest; cl = cl->next) {
        o->bytes -= ngx_snorky_output_len(ngx_snorky_output_at(o, 0))
                    - o->sent;

        ngx_snorky_output_shift(o);
    }

    if (rest) {
        sent = rest->buf->pos - rest->buf->start;

        o->bytes -= sent - o->sent;
        o->sent = sent;
    }
}


static void
ngx_snorky_output_shift(ngx_snorky_output_t *o)
{
    ngx_snorky_msg_unref(ngx_snorky_output_at(o, 0));

    o->first = (o->first + 1) & (o->size - 1);
    o->count--;
    o->sent = 0;
}


ngx_uint_t
ngx_snorky_output_finish(ngx_snorky_output_t *o)
{
    ngx_uint_t  i, count;

    count = o->count;

    for (i = 0; i < count; i++) {
        ngx_snorky_msg_unref(ngx_snorky_output_at(o, i));
    }

    if (o->msgs) {
        ngx_free(o->msgs);
    }

    o->msgs = NULL;
    o->size = 0;
    o->count = 0;
    o->sent = 0;
    o->bytes = 0;

    if (o->dirty) {
        o->dirty = 0;
        ngx_queue_remove(&o->queue);
    }

    return count;
}
