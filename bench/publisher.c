
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The publishers.  Each goes round the channels, and has at most a window of
 * publications that have not reached all their subscribers, or publishes at
 * a fixed rate.  Over WebSocket what may be sent leaves in one write; over
 * HTTP one request is under way at a time.  The window does not wait for
 * subscribers that come and go.  Owns the array of publishers; the event loop
 * calls bench_publisher_turn() before each wait.
 */


#include "load.h"

#include <strings.h>


static uint32_t
bench_publisher_receivers(bench_load_t *load, uint32_t channel)
{
    uint32_t  n;

    n = load->n / load->channels + (channel < load->n % load->channels);

    /* bench_subscriber_mover() takes every second one */

    return load->churn ? (n + !(channel & 1)) / 2 : n;
}


static int
bench_publisher_opened(bench_load_t *load, bench_conn_t *c)
{
    bench_publisher_t  *pub;

    pub = (bench_publisher_t *) c;

    if (load->mark && !load->post) {
        pub->board->worker = c->worker;
    }

    return BENCH_OK;
}


static void
bench_publisher_closed(bench_load_t *load, bench_conn_t *c)
{
    load->count->closed++;
}


/* publications are answered in the order in which they were sent */

static void
bench_publisher_acked(bench_load_t *load, bench_publisher_t *pub)
{
    uint64_t  time, publication;

    publication = pub->board->acked;
    __atomic_store_n(&pub->board->acked, publication + 1, __ATOMIC_RELEASE);

    time = pub->times[publication & load->ring_mask];

    load->acks++;
    bench_hist_add(load->latency_ack, load->now > time ? load->now - time : 0);

    if (bench_publisher_receivers(load, publication % load->channels) == 0) {
        bench_publisher_delivered(load, pub->board, publication);
    }
}


static void
bench_publisher_reply(bench_load_t *load, bench_publisher_t *pub,
    bench_ws_frame_t *f)
{
    uint64_t  call;

    call = pub->board->acked;

    if (pub->board->acked == pub->board->sent
        || load->dialect->reply(f->data, f->len, &call) != BENCH_OK
        || call != pub->board->acked)
    {
        load->count->errors++;
        return;
    }

    bench_publisher_acked(load, pub);
}


static u_char *
bench_publisher_read(bench_load_t *load, bench_conn_t *c, u_char *pos,
    u_char *last)
{
    int                rc;
    bench_ws_frame_t   f;

    for ( ;; ) {
        rc = bench_inflate_parse(load, c, &pos, last, &f);

        if (rc == BENCH_AGAIN) {
            return pos;
        }

        if (rc != BENCH_OK) {
            load->count->errors++;
            return NULL;
        }

        if (f.opcode == BENCH_WS_TEXT && f.fin) {
            bench_publisher_reply(load, (bench_publisher_t *) c, &f);
            continue;
        }

        if (bench_conn_control(load, c, &f) != BENCH_OK) {
            return NULL;
        }
    }
}


/*
 * The body of the answer that begins at pos and whose header ends at body.
 * BENCH_AGAIN: it is not whole.
 */

static int
bench_publisher_body(u_char *pos, u_char *body, u_char *last, size_t *len)
{
    u_char  *p;

    for (p = pos; p < body; p = (u_char *) memchr(p, '\n', body - p) + 1) {

        if (strncasecmp((char *) p, "Content-Length:", 15) == 0) {
            *len = strtoull((char *) p + 15, NULL, 10);
            return (size_t) (last - body) < *len ? BENCH_AGAIN : BENCH_OK;
        }

        if (strncasecmp((char *) p, "Transfer-Encoding:", 18) == 0) {
            p = memmem(body, last - body, "0\r\n\r\n", 5);
            *len = p ? p + 5 - body : 0;
            return p ? BENCH_OK : BENCH_AGAIN;
        }
    }

    *len = 0;

    return BENCH_OK;
}


static u_char *
bench_publisher_read_post(bench_load_t *load, bench_conn_t *c, u_char *pos,
    u_char *last)
{
    size_t              len;
    u_char             *body;
    uint64_t            n;
    bench_publisher_t  *pub;

    pub = (bench_publisher_t *) c;
    body = memmem(pos, last - pos, "\r\n\r\n", 4);

    if (body == NULL) {
        return pos;
    }

    body += 4;

    if (bench_publisher_body(pos, body, last, &len) != BENCH_OK) {
        return pos;
    }

    n = pub->board->sent - pub->board->acked;

    if (!pub->waiting
        || memcmp(pos, "HTTP/1.1 20", 11) != 0
        || (load->dialect->confirmed
            && load->dialect->confirmed(body, len) != n))
    {
        load->count->errors++;
    }

    if (load->mark) {
        pub->board->worker = bench_conn_worker(load, pos, body);
    }

    load->requests++;

    for ( /* void */ ; n; n--) {
        bench_publisher_acked(load, pub);
    }

    pub->waiting = 0;

    return body + len;
}


static const bench_conn_ops_t  bench_publisher_ops = {
    bench_publisher_opened,
    bench_publisher_read,
    bench_publisher_closed
};


static const bench_conn_ops_t  bench_publisher_post_ops = {
    bench_publisher_opened,
    bench_publisher_read_post,
    bench_publisher_closed
};


static void
bench_publisher_init(bench_load_t *load, bench_publisher_t *pub, uint32_t id)
{
    pub->id = id;

    pub->board = &load->shared->boards[id];
    pub->board->worker = BENCH_WORKERS;
    pub->times = bench_load_alloc(load->ring * sizeof(*pub->times));

    pub->conn.fd = -1;
    pub->conn.raw = load->post;
    pub->conn.upgrade = 1;
    pub->conn.path = load->dialect->publish_path;
    pub->conn.ops = load->post ? &bench_publisher_post_ops
                               : &bench_publisher_ops;
}


int
bench_publisher_create(bench_load_t *load)
{
    uint32_t  i;

    if (load->rate) {
        load->interval = BENCH_SECOND * load->publishers / load->rate;
    }

    load->body = bench_load_alloc((size_t) load->batch
                                  * (BENCH_DIALECT_ROOM + load->size));

    load->publisher = bench_load_alloc(load->publishers
                                       * sizeof(*load->publisher));

    for (i = 0; i < load->publishers; i++) {
        bench_publisher_init(load, &load->publisher[i], i);

        if (bench_conn_open(load, &load->publisher[i].conn) != BENCH_OK) {
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}


int
bench_publisher_ready(bench_load_t *load)
{
    uint32_t  i;

    for (i = 0; i < load->publishers; i++) {
        if (load->publisher[i].conn.state != BENCH_CONN_OPEN) {
            return BENCH_AGAIN;
        }
    }

    return BENCH_OK;
}


uint64_t
bench_publisher_outstanding(bench_load_t *load)
{
    uint32_t            i;
    uint64_t            n;
    bench_publisher_t  *pub;

    n = 0;

    for (i = 0; i < load->publishers; i++) {
        pub = &load->publisher[i];
        n += pub->board->sent
             - __atomic_load_n(&pub->board->completed, __ATOMIC_ACQUIRE);

        if (load->ack) {
            n += pub->board->sent - pub->board->acked;
        }
    }

    return n;
}


static int
bench_publisher_may(bench_load_t *load, bench_publisher_t *pub)
{
    uint64_t  sent;

    sent = pub->board->sent;

    if (!load->publishing
        || pub->conn.state != BENCH_CONN_OPEN
        || (load->stop_after && load->publications == load->stop_after))
    {
        return 0;
    }

    while (pub->oldest < sent
           && __atomic_load_n(&pub->board->missing[pub->oldest
                                                   & load->ring_mask],
                              __ATOMIC_ACQUIRE)
              == 0)
    {
        pub->oldest++;
    }

    return sent - pub->oldest < load->ring
           && (!load->ack || sent - pub->board->acked < load->ring);
}


/* appends a publication to the text at p, stamped with its time */

static u_char *
bench_publisher_build(bench_load_t *load, bench_publisher_t *pub, u_char *p,
    uint64_t time)
{
    char            name[BENCH_CHANNEL_LEN];
    uint32_t        channel, receivers;
    uint64_t        publication;
    unsigned        flags;
    bench_stamp_t   s;

    publication = pub->board->sent;
    channel = publication % load->channels;
    receivers = bench_publisher_receivers(load, channel);

    s.key = (uint64_t) pub->id << BENCH_STAMP_SEQ_BITS
            | publication / load->channels;
    s.time = time;
    bench_stamp_write(load->payload + load->head, &s);

    /* what nobody receives is complete when it is answered */

    pub->board->missing[publication & load->ring_mask]
                                                  = receivers ? receivers : 1;
    pub->times[publication & load->ring_mask] = time;
    load->publications++;

    __atomic_store_n(&pub->board->sent, publication + 1, __ATOMIC_RELEASE);

    bench_load_channel(load, channel, name);

    flags = load->post ? BENCH_DIALECT_POST : 0;
    flags |= load->json ? BENCH_DIALECT_JSON : 0;

    return load->dialect->publish(p, name, flags, publication,
                                  load->payload, load->size);
}


/* how many publications, of POST with a fixed rate requests, are due */

static uint32_t
bench_publisher_quota(bench_load_t *load, bench_publisher_t *pub)
{
    uint64_t  n;

    if (load->rate == 0) {
        n = pub->board->sent
            - __atomic_load_n(&pub->board->completed, __ATOMIC_ACQUIRE);

        return n < load->window ? load->window - n : 0;
    }

    if (pub->due == 0) {
        pub->due = load->now + load->interval * pub->id / load->publishers;
    }

    if (load->now < pub->due) {
        return 0;
    }

    n = (load->now - pub->due) / load->interval + 1;

    return n < load->ring ? n : load->ring;
}


static uint64_t
bench_publisher_time(bench_load_t *load, bench_publisher_t *pub)
{
    uint64_t  time;

    if (load->rate == 0) {
        return load->now;
    }

    /* when it was due, so that a late server is not excused */

    time = pub->due;
    pub->due += load->interval;

    return time;
}


static void
bench_publisher_send(bench_load_t *load, bench_publisher_t *pub)
{
    u_char    *p;
    uint32_t   n;

    n = bench_publisher_quota(load, pub);

    for ( /* void */ ; n && bench_publisher_may(load, pub); n--) {
        p = bench_publisher_build(load, pub, load->body,
                                  bench_publisher_time(load, pub));

        bench_conn_put_text(&pub->conn, load->body, p - load->body);
    }

    if (pub->conn.out_len && !pub->conn.blocked) {
        bench_conn_flush(load, &pub->conn);
    }
}


static void
bench_publisher_post(bench_load_t *load, bench_publisher_t *pub)
{
    int        len;
    char       path[128], name[BENCH_CHANNEL_LEN], header[512];
    u_char    *p;
    uint32_t   i, n;
    uint64_t   time;

    if (pub->waiting) {
        return;
    }

    n = bench_publisher_quota(load, pub);

    if (n == 0 || !bench_publisher_may(load, pub)) {
        return;
    }

    n = (load->rate || n > load->batch) ? load->batch : n;
    time = bench_publisher_time(load, pub);

    bench_load_channel(load, pub->board->sent % load->channels, name);
    (void) snprintf(path, sizeof(path), load->post_path, name);

    p = load->body;

    for (i = 0; i < n && bench_publisher_may(load, pub); i++) {

        if (load->batch > 1) {
            *p++ = i ? ',' : '[';
        }

        p = bench_publisher_build(load, pub, p, time);
    }

    if (load->batch > 1) {
        *p++ = ']';
    }

    len = snprintf(header, sizeof(header),
                   "POST %s HTTP/1.1\r\nHost: %s:%u\r\n"
                   "X-Backend-Key: %s\r\n"
                   "Content-Type: application/json\r\n"
                   "Content-Length: %u\r\n\r\n",
                   path, load->host, load->port, load->key,
                   (unsigned) (p - load->body));

    bench_conn_put(&pub->conn, (u_char *) header, len);
    bench_conn_put(&pub->conn, load->body, p - load->body);
    bench_conn_flush(load, &pub->conn);

    pub->waiting = 1;
}


uint64_t
bench_publisher_turn(bench_load_t *load)
{
    uint32_t            i;
    uint64_t            next;
    bench_publisher_t  *pub;

    next = UINT64_MAX;

    if (!load->publishing) {
        return next;
    }

    load->now = bench_load_now();

    for (i = 0; i < load->publishers; i++) {
        pub = &load->publisher[i];

        if (load->post) {
            bench_publisher_post(load, pub);
        } else {
            bench_publisher_send(load, pub);
        }

        if (load->rate
            && !pub->waiting
            && pub->due < next
            && bench_publisher_may(load, pub))
        {
            next = pub->due;
        }
    }

    return next;
}
