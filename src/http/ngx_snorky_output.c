
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

/* sockets that are written to in one round, before others have their turn */
#define NGX_SNORKY_OUTPUT_ROUND     256


static void ngx_snorky_flusher_handler(ngx_event_t *ev);
static void ngx_snorky_output_window_handler(ngx_event_t *ev);
static void ngx_snorky_output_gather(ngx_snorky_output_t *o);
static void ngx_snorky_output_unqueue(ngx_snorky_output_t *o);
static ngx_int_t ngx_snorky_output_grow(ngx_snorky_output_t *o);
static void ngx_snorky_output_shrink(ngx_snorky_output_t *o);
static ngx_int_t ngx_snorky_output_send(ngx_snorky_output_t *o);
static ssize_t ngx_snorky_output_writev(ngx_snorky_output_t *o);
static ngx_int_t ngx_snorky_output_send_chain(ngx_snorky_output_t *o);
static ngx_chain_t *ngx_snorky_output_chain(ngx_snorky_output_t *o);
static ngx_int_t ngx_snorky_output_advance(ngx_snorky_output_t *o,
    size_t sent);


/* the n-th of those that wait; without a ring, mask and first are 0 */
#define ngx_snorky_output_at(o, n)                                            \
    ((o)->mask ? (o)->u.ring : &(o)->u.msg)[((o)->first + (n)) & (o)->mask]

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


/*
 * Many sockets take long: what has come meanwhile is dealt with before the
 * rest of them.
 */

static void
ngx_snorky_flusher_handler(ngx_event_t *ev)
{
    ngx_int_t              rc;
    ngx_uint_t             n;
    ngx_queue_t           *q;
    ngx_connection_t      *c;
    ngx_snorky_output_t   *o;
    ngx_snorky_flusher_t  *flusher;

    c = ev->data;
    flusher = c->data;

    for (n = 0; !ngx_queue_empty(&flusher->dirty); n++) {

        if (n == NGX_SNORKY_OUTPUT_ROUND) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        q = ngx_queue_head(&flusher->dirty);
        o = ngx_queue_data(q, ngx_snorky_output_t, queue);

        ngx_snorky_output_unqueue(o);

        rc = ngx_snorky_output_flush(o);

        o->flushed(o, rc);
    }
}


ngx_snorky_window_t *
ngx_snorky_output_window(ngx_conf_t *cf, ngx_array_t *windows,
    ngx_msec_t length)
{
    ngx_uint_t             i;
    ngx_snorky_window_t   *window, **known;

    known = windows->elts;

    for (i = 0; i < windows->nelts; i++) {
        if (known[i]->length == length) {
            return known[i];
        }
    }

    window = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_window_t));
    if (window == NULL) {
        return NULL;
    }

    known = ngx_array_push(windows);
    if (known == NULL) {
        return NULL;
    }

    *known = window;

    ngx_queue_init(&window->gathering);

    window->length = length;

    window->dummy.data = window;
    window->dummy.fd = (ngx_socket_t) -1;

    window->event.handler = ngx_snorky_output_window_handler;
    window->event.data = &window->dummy;
    window->event.log = &cf->cycle->new_log;

    return window;
}


static void
ngx_snorky_output_window_handler(ngx_event_t *ev)
{
    ngx_queue_t          *q;
    ngx_connection_t     *c;
    ngx_snorky_output_t  *o;
    ngx_snorky_window_t  *window;

    c = ev->data;
    window = c->data;

    while (!ngx_queue_empty(&window->gathering)) {

        q = ngx_queue_head(&window->gathering);
        o = ngx_queue_data(q, ngx_snorky_output_t, queue);

        ngx_snorky_output_post(o);
    }
}


ngx_int_t
ngx_snorky_output_push(ngx_snorky_output_t *o, ngx_snorky_msg_t *msg,
    ngx_uint_t urgent)
{
    if (o->count > o->mask && ngx_snorky_output_grow(o) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_msg_ref(msg);

    ngx_snorky_output_at(o, o->count) = msg;

    o->count++;
    o->bytes += ngx_snorky_output_len(msg);

    if (o->window && !urgent) {
        ngx_snorky_output_gather(o);

    } else {
        ngx_snorky_output_post(o);
    }

    return NGX_OK;
}


static void
ngx_snorky_output_gather(ngx_snorky_output_t *o)
{
    ngx_snorky_window_t  *window;

    if (o->gathers || o->dirty) {
        return;
    }

    window = o->window;

    o->gathers = 1;
    ngx_queue_insert_tail(&window->gathering, &o->queue);

    if (!window->event.timer_set) {
        ngx_add_timer(&window->event, window->length);
    }
}


void
ngx_snorky_output_post(ngx_snorky_output_t *o)
{
    ngx_event_t  *ev;

    if (o->dirty) {
        return;
    }

    ngx_snorky_output_unqueue(o);

    o->dirty = 1;
    ngx_queue_insert_tail(&o->flusher->dirty, &o->queue);

    ev = &o->flusher->event;

    ngx_post_event(ev, &ngx_posted_events);
}


static void
ngx_snorky_output_unqueue(ngx_snorky_output_t *o)
{
    if (o->dirty || o->gathers) {
        ngx_queue_remove(&o->queue);
    }

    o->dirty = 0;
    o->gathers = 0;
}


static ngx_int_t
ngx_snorky_output_grow(ngx_snorky_output_t *o)
{
    uint32_t            i, size;
    ngx_snorky_msg_t  **ring;

    size = o->mask ? (o->mask + 1) * 2 : NGX_SNORKY_OUTPUT_MIN_SIZE;

    ring = ngx_alloc(size * sizeof(ngx_snorky_msg_t *), o->connection->log);
    if (ring == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < o->count; i++) {
        ring[i] = ngx_snorky_output_at(o, i);
    }

    if (o->mask) {
        ngx_free(o->u.ring);
    }

    o->u.ring = ring;
    o->mask = size - 1;
    o->first = 0;

    return NGX_OK;
}


static void
ngx_snorky_output_shrink(ngx_snorky_output_t *o)
{
    if (o->mask >= NGX_SNORKY_OUTPUT_KEEP) {
        ngx_free(o->u.ring);

        o->mask = 0;
    }

    o->first = 0;
}


ngx_uint_t
ngx_snorky_output_drop(ngx_snorky_output_t *o)
{
    size_t             bytes;
    ngx_uint_t         keep, i;
    ngx_snorky_msg_t  *msg;

    keep = (o->count && o->sent) ? 1 : 0;
    bytes = 0;

    if (keep) {
        msg = ngx_snorky_output_at(o, 0);
        bytes = ngx_snorky_output_len(msg) - o->sent;
    }

    for (i = keep; i < o->count; i++) {
        msg = ngx_snorky_output_at(o, i);
        ngx_snorky_msg_unref(msg);
    }

    i = o->count - keep;

    o->count = keep;
    o->bytes = bytes;

    return i;
}


ngx_int_t
ngx_snorky_output_flush(ngx_snorky_output_t *o)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = o->connection;

    if (c->error) {
        return NGX_ERROR;
    }

    if (o->held) {
        return NGX_AGAIN;
    }

    while ((o->count || c->buffered) && c->write->ready) {

        if (!c->buffered && c->send == ngx_send) {
            rc = ngx_snorky_output_send(o);

        } else {
            rc = ngx_snorky_output_send_chain(o);
        }

        if (rc == NGX_ERROR) {
            c->error = 1;
            return NGX_ERROR;
        }

        if (rc == NGX_AGAIN) {
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


/*
 * A plain socket needs no chain: one message is sent, several are written.
 * NGX_AGAIN: the socket took less than it was given.
 */

static ngx_int_t
ngx_snorky_output_send(ngx_snorky_output_t *o)
{
    ssize_t            n;
    ngx_connection_t  *c;
    ngx_snorky_msg_t  *msg;

    c = o->connection;

    if (o->count == 1) {
        msg = ngx_snorky_output_at(o, 0);
        n = c->send(c, msg->text - msg->framed + o->sent, o->bytes);

    } else {
        n = ngx_snorky_output_writev(o);
    }

    if (n == NGX_ERROR || n == NGX_AGAIN) {
        return n;
    }

    return ngx_snorky_output_advance(o, n);
}


static ssize_t
ngx_snorky_output_writev(ngx_snorky_output_t *o)
{
    size_t                 skip;
    ssize_t                n;
    ngx_uint_t             i;
    ngx_iovec_t            vec;
    ngx_connection_t      *c;
    ngx_snorky_msg_t      *msg;
    ngx_snorky_flusher_t  *flusher;

    c = o->connection;
    flusher = o->flusher;

    vec.iovs = flusher->iovs;
    vec.count = ngx_min(o->count, NGX_SNORKY_OUTPUT_BATCH);
    vec.nalloc = NGX_SNORKY_OUTPUT_BATCH;
    vec.size = 0;

    skip = o->sent;

    for (i = 0; i < vec.count; i++) {
        msg = ngx_snorky_output_at(o, i);

        vec.iovs[i].iov_base = msg->text - msg->framed + skip;
        vec.iovs[i].iov_len = ngx_snorky_output_len(msg) - skip;
        vec.size += vec.iovs[i].iov_len;

        skip = 0;
    }

    n = ngx_writev(c, &vec);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n == NGX_AGAIN || (size_t) n < vec.size) {
        c->write->ready = 0;
    }

    if (n > 0) {
        c->sent += n;
    }

    return n;
}


/* with TLS, or with what nginx itself has kept; likewise */

static ngx_int_t
ngx_snorky_output_send_chain(ngx_snorky_output_t *o)
{
    size_t             sent;
    ngx_chain_t       *cl, *rest;
    ngx_connection_t  *c;

    c = o->connection;

    cl = o->count ? ngx_snorky_output_chain(o) : NULL;

    rest = c->send_chain(c, cl, 0);

    if (rest == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    for (sent = 0; cl != rest; cl = cl->next) {
        sent += cl->buf->end - cl->buf->start;
    }

    if (rest) {
        sent += rest->buf->pos - rest->buf->start;
    }

    sent -= o->count ? o->sent : 0;

    return (ngx_snorky_output_advance(o, sent) == NGX_OK && rest == NULL
            && !c->buffered)
           ? NGX_OK : NGX_AGAIN;
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


/* so many bytes have been sent; NGX_OK: that was a whole number of messages */

static ngx_int_t
ngx_snorky_output_advance(ngx_snorky_output_t *o, size_t sent)
{
    size_t             left;
    ngx_uint_t         i;
    ngx_snorky_msg_t  *msg;

    if (sent == o->bytes) {

        for (i = 0; i < o->count; i++) {
            msg = ngx_snorky_output_at(o, i);
            ngx_snorky_msg_unref(msg);
        }

        o->count = 0;
        o->first = 0;
        o->sent = 0;
        o->bytes = 0;

        return NGX_OK;
    }

    o->bytes -= sent;

    while (o->count) {
        msg = ngx_snorky_output_at(o, 0);
        left = ngx_snorky_output_len(msg) - o->sent;

        if (sent < left) {
            o->sent += sent;
            break;
        }

        sent -= left;

        ngx_snorky_msg_unref(msg);

        o->first = (o->first + 1) & o->mask;
        o->count--;
        o->sent = 0;
    }

    return sent ? NGX_AGAIN : NGX_OK;
}


ngx_uint_t
ngx_snorky_output_finish(ngx_snorky_output_t *o)
{
    ngx_uint_t         i, count;
    ngx_snorky_msg_t  *msg;

    count = o->count;

    for (i = 0; i < count; i++) {
        msg = ngx_snorky_output_at(o, i);
        ngx_snorky_msg_unref(msg);
    }

    if (o->mask) {
        ngx_free(o->u.ring);
    }

    o->mask = 0;
    o->first = 0;
    o->count = 0;
    o->sent = 0;
    o->bytes = 0;

    ngx_snorky_output_unqueue(o);

    return count;
}
