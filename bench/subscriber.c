
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The subscribers.  Each knows the number it expects next of every publisher
 * and the numbers that were passed over, so what is lost, duplicated and out
 * of order is counted exactly.  Owns the array of subscribers of a process
 * and their tallies; conn.c hands it the bytes, process.c adds up.
 */


#include "load.h"


static void
bench_subscriber_ready(bench_load_t *load, bench_subscriber_t *sub)
{
    if (!sub->ready) {
        sub->ready = 1;
        load->count->ready++;
    }
}


static int
bench_subscriber_opened(bench_load_t *load, bench_conn_t *c)
{
    u_char              *p, text[BENCH_DIALECT_ROOM];
    char                 channel[BENCH_CHANNEL_LEN];
    bench_subscriber_t  *sub;

    sub = (bench_subscriber_t *) c;

    load->count->handshakes++;

    if (load->dialect->subscribe == NULL) {
        bench_subscriber_ready(load, sub);
        return BENCH_OK;
    }

    bench_load_channel(load, c->channel, channel);
    p = load->dialect->subscribe(text, channel);

    bench_conn_put_text(c, text, p - text);
    bench_conn_flush(load, c);

    return BENCH_OK;
}


static void
bench_subscriber_closed(bench_load_t *load, bench_conn_t *c)
{
    load->count->closed++;
}


/* the numbers [first, last) of a publisher have been passed over */

static void
bench_subscriber_skip(bench_subscriber_t *sub, uint32_t id, uint64_t first,
    uint64_t last)
{
    uint32_t       n;
    bench_hole_t  *holes;

    n = sub->sizes[id];
    holes = realloc(sub->holes[id], (n + 1) * sizeof(*holes));

    if (holes == NULL) {
        perror("load: realloc()");
        exit(1);
    }

    holes[n].first = first;
    holes[n].last = last;

    sub->holes[id] = holes;
    sub->sizes[id]++;
}


/* BENCH_OK: the number was missing, and is not any more */

static int
bench_subscriber_fill(bench_subscriber_t *sub, uint32_t id, uint64_t seq)
{
    uint32_t       i;
    uint64_t       last;
    bench_hole_t  *hole;

    for (i = 0; i < sub->sizes[id]; i++) {
        hole = &sub->holes[id][i];

        if (seq < hole->first || seq >= hole->last) {
            continue;
        }

        last = hole->last;
        hole->last = seq;

        if (seq + 1 < last) {
            bench_subscriber_skip(sub, id, seq + 1, last);
        }

        return BENCH_OK;
    }

    return BENCH_ERROR;
}


/* not the number that was expected; BENCH_ERROR: it had come before */

static int
bench_subscriber_unexpected(bench_load_t *load, bench_subscriber_t *sub,
    uint32_t id, uint64_t seq)
{
    if (seq > sub->next[id]) {
        bench_subscriber_skip(sub, id, sub->next[id], seq);
        sub->next[id] = seq + 1;
        return BENCH_OK;
    }

    if (bench_subscriber_fill(sub, id, seq) == BENCH_OK) {
        load->count->reordered++;
        return BENCH_OK;
    }

    load->count->duplicated++;

    return BENCH_ERROR;
}


static void
bench_subscriber_stamp(bench_load_t *load, bench_subscriber_t *sub,
    const u_char *p)
{
    uint32_t            id;
    uint64_t            seq, publication;
    bench_stamp_t       s;
    bench_board_t      *board;

    bench_stamp_read(p, &s);

    id = s.key >> BENCH_STAMP_SEQ_BITS;
    seq = s.key & ((1ULL << BENCH_STAMP_SEQ_BITS) - 1);
    publication = seq * load->channels + sub->conn.channel;

    board = &load->shared->boards[id];

    if (id >= load->publishers
        || publication >= __atomic_load_n(&board->sent, __ATOMIC_ACQUIRE)
        || p[load->size - 1] != 'z')
    {
        load->count->foreign++;
        return;
    }

    if (seq == sub->next[id]) {
        sub->next[id]++;

    } else if (bench_subscriber_unexpected(load, sub, id, seq) != BENCH_OK) {
        return;
    }

    sub->order = (sub->order ^ s.key) * 0x9e3779b97f4a7c15ULL;

    load->count->deliveries++;
    bench_hist_add(load->latency, load->now > s.time ? load->now - s.time : 0);

    bench_publisher_delivered(load, board, publication);
}


/* neither is a stamp: the answer to the subscription, or nothing of ours */

static void
bench_subscriber_answer(bench_load_t *load, bench_subscriber_t *sub,
    bench_ws_frame_t *f)
{
    uint64_t  call;

    call = 0;

    if (load->dialect->subscribe == NULL || sub->ready) {
        load->count->foreign++;
        return;
    }

    if (load->dialect->reply(f->data, f->len, &call) != BENCH_OK) {
        load->count->errors++;
        return;
    }

    bench_subscriber_ready(load, sub);
}


static void
bench_subscriber_text(bench_load_t *load, bench_subscriber_t *sub,
    bench_ws_frame_t *f)
{
    u_char  *p;

    /* in all messages of a run the stamp has one place */

    if (load->offset < f->len && f->data[load->offset] == '!') {
        p = f->data + load->offset;

    } else {
        p = memchr(f->data, '!', f->len);

        if (p == NULL) {
            bench_subscriber_answer(load, sub, f);
            return;
        }

        load->offset = p - f->data;
    }

    if (f->len - load->offset < load->size) {
        load->count->foreign++;
        return;
    }

    bench_subscriber_stamp(load, sub, p);
}


static u_char *
bench_subscriber_read(bench_load_t *load, bench_conn_t *c, u_char *pos,
    u_char *last)
{
    int                  rc;
    bench_ws_frame_t     f;
    bench_subscriber_t  *sub;

    sub = (bench_subscriber_t *) c;

    load->count->bytes += last - pos;

    for ( ;; ) {
        rc = bench_ws_parse(&pos, last, &f);

        if (rc == BENCH_AGAIN) {
            return pos;
        }

        if (rc != BENCH_OK) {
            load->count->errors++;
            return NULL;
        }

        if (f.opcode == BENCH_WS_TEXT && f.fin) {
            bench_subscriber_text(load, sub, &f);
            continue;
        }

        if (bench_conn_control(load, c, &f) != BENCH_OK) {
            return NULL;
        }
    }
}


static const bench_conn_ops_t  bench_subscriber_ops = {
    bench_subscriber_opened,
    bench_subscriber_read,
    bench_subscriber_closed
};


int
bench_subscriber_create(bench_load_t *load)
{
    uint32_t             i, p, n;
    uint32_t            *sizes;
    uint64_t            *next;
    bench_hole_t       **holes;
    bench_subscriber_t  *sub;

    p = load->publishers;
    n = load->share;

    load->subscribers = bench_load_alloc(n * sizeof(*sub));
    next = bench_load_alloc((size_t) n * p * sizeof(*next));
    holes = bench_load_alloc((size_t) n * p * sizeof(*holes));
    sizes = bench_load_alloc((size_t) n * p * sizeof(*sizes));

    for (i = 0; i < n; i++) {
        sub = &load->subscribers[i];

        sub->conn.fd = -1;
        sub->conn.ops = &bench_subscriber_ops;
        sub->conn.path = load->dialect->subscribe_path;
        sub->conn.upgrade = load->dialect->upgrade;
        sub->conn.index = load->first + i;
        sub->conn.channel = sub->conn.index % load->channels;

        sub->order = 1;
        sub->next = next + (size_t) i * p;
        sub->holes = holes + (size_t) i * p;
        sub->sizes = sizes + (size_t) i * p;
    }

    return BENCH_OK;
}


/* publications of one publisher to a channel: they go round the channels */

static uint64_t
bench_subscriber_due(bench_load_t *load, uint32_t id, uint32_t channel)
{
    uint64_t  sent;

    sent = load->shared->boards[id].sent;

    return sent / load->channels + (channel < sent % load->channels);
}


uint64_t
bench_subscriber_lost(bench_load_t *load)
{
    uint32_t             i, id, h;
    uint64_t             lost;
    bench_subscriber_t  *sub;

    lost = 0;

    for (i = 0; i < load->share; i++) {
        sub = &load->subscribers[i];

        for (id = 0; id < load->publishers; id++) {
            lost += bench_subscriber_due(load, id, sub->conn.channel)
                    - sub->next[id];

            for (h = 0; h < sub->sizes[id]; h++) {
                lost += sub->holes[id][h].last - sub->holes[id][h].first;
            }
        }
    }

    return lost;
}


/* the first of all processes to come here for a channel sets the standard */

uint64_t
bench_subscriber_disorder(bench_load_t *load)
{
    uint32_t             i;
    uint64_t             n, order;
    bench_subscriber_t  *sub;

    n = 0;

    for (i = 0; i < load->share; i++) {
        sub = &load->subscribers[i];
        order = 0;

        if (!__atomic_compare_exchange_n(
                 &load->shared->orders[sub->conn.channel], &order, sub->order,
                 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        {
            n += (order != sub->order);
        }
    }

    return n;
}
