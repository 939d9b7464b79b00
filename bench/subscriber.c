
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The subscribers.  Each knows the number it expects next of every publisher
 * and the numbers that were passed over, so what is lost, duplicated and out
 * of order is counted exactly.  A publication must come if it was sent after
 * the subscription had been answered; to one who leaves, if it was answered
 * before that.  Owns the array of subscribers of a process and their tallies;
 * conn.c hands it the bytes, process.c adds up, churn.c has them leave.
 */


#include "load.h"


/* publications of one publisher to a channel: they go round the channels */

static uint64_t
bench_subscriber_due(bench_load_t *load, uint64_t sent, uint32_t channel)
{
    return sent / load->channels + (channel < sent % load->channels);
}


/* all that is sent from now on must come */

static void
bench_subscriber_begin(bench_load_t *load, bench_subscriber_t *sub)
{
    uint32_t  id;
    uint64_t  sent;

    for (id = 0; id < load->publishers; id++) {
        sent = __atomic_load_n(&load->shared->boards[id].sent,
                               __ATOMIC_ACQUIRE);

        sub->tallies[id].must = bench_subscriber_due(load, sent,
                                                     sub->conn.channel);
    }
}


static void
bench_subscriber_ready(bench_load_t *load, bench_subscriber_t *sub)
{
    sub->ready = 1;

    bench_conn_trim(&sub->conn);

    if (sub->changing) {
        bench_subscriber_begin(load, sub);
        bench_churn_done(load, sub);
        return;
    }

    load->count->ready++;
}


void
bench_subscriber_ask(bench_load_t *load, bench_subscriber_t *sub)
{
    u_char  *p, text[BENCH_DIALECT_ROOM];
    char     channel[BENCH_CHANNEL_LEN];

    if (load->dialect->subscribe == NULL) {
        bench_subscriber_ready(load, sub);
        return;
    }

    bench_load_channel(load, sub->conn.channel, channel);
    p = load->dialect->subscribe(text, channel, sub->leaving);

    bench_conn_put_text(&sub->conn, text, p - text);
    bench_conn_flush(load, &sub->conn);
}


static void
bench_subscriber_on_worker(bench_load_t *load, bench_conn_t *c, int n)
{
    if (load->mark) {
        (void) __atomic_add_fetch(&load->shared->workers[c->worker], n,
                                  __ATOMIC_ACQ_REL);
    }
}


static int
bench_subscriber_opened(bench_load_t *load, bench_conn_t *c)
{
    load->count->handshakes++;

    bench_subscriber_on_worker(load, c, 1);
    bench_subscriber_ask(load, (bench_subscriber_t *) c);

    return BENCH_OK;
}


static void
bench_subscriber_closed(bench_load_t *load, bench_conn_t *c)
{
    bench_subscriber_t  *sub;

    sub = (bench_subscriber_t *) c;

    if (sub->closing) {
        bench_subscriber_on_worker(load, c, -1);
        bench_churn_closed(load, sub);
        return;
    }

    bench_conn_tell(load, c, "closed", 0);

    load->count->closed++;
}


/* the numbers [first, last) of a publisher have been passed over */

static void
bench_subscriber_skip(bench_tally_t *t, uint64_t first, uint64_t last)
{
    uint32_t       n;
    bench_hole_t  *holes;

    n = t->nholes;
    holes = realloc(t->holes, (n + 1) * sizeof(*holes));

    if (holes == NULL) {
        perror("load: realloc()");
        exit(1);
    }

    holes[n].first = first;
    holes[n].last = last;

    t->holes = holes;
    t->nholes++;
}


/* BENCH_OK: the number was missing, and is not any more */

static int
bench_subscriber_fill(bench_tally_t *t, uint64_t seq)
{
    uint32_t       i;
    uint64_t       last;
    bench_hole_t  *hole;

    for (i = 0; i < t->nholes; i++) {
        hole = &t->holes[i];

        if (seq < hole->first || seq >= hole->last) {
            continue;
        }

        last = hole->last;
        hole->last = seq;

        if (seq + 1 < last) {
            bench_subscriber_skip(t, seq + 1, last);
        }

        return BENCH_OK;
    }

    return BENCH_ERROR;
}


/* not the number that was expected; BENCH_ERROR: it had come before */

static int
bench_subscriber_unexpected(bench_load_t *load, bench_tally_t *t, uint64_t seq)
{
    if (seq > t->next) {
        bench_subscriber_skip(t, t->next, seq);
        t->next = seq + 1;
        return BENCH_OK;
    }

    if (bench_subscriber_fill(t, seq) == BENCH_OK) {
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
    bench_hist_t       *latency;
    bench_stamp_t       s;
    bench_board_t      *board;
    bench_tally_t      *t;

    bench_stamp_read(p, &s);

    id = s.key >> BENCH_STAMP_SEQ_BITS;
    seq = s.key & ((1ULL << BENCH_STAMP_SEQ_BITS) - 1);
    publication = seq * load->channels + sub->conn.channel;

    board = &load->shared->boards[id];

    if (id >= load->publishers
        || publication >= __atomic_load_n(&board->sent, __ATOMIC_ACQUIRE)
        || p[load->size - load->head - 1] != load->tail)
    {
        load->count->foreign++;
        return;
    }

    t = &sub->tallies[id];

    if (seq == t->next) {
        t->next++;

    } else if (bench_subscriber_unexpected(load, t, seq) != BENCH_OK) {
        return;
    }

    sub->order = (sub->order ^ s.key) * 0x9e3779b97f4a7c15ULL;

    load->count->deliveries++;

    latency = (load->mark && sub->conn.worker != board->worker)
              ? load->latency_other : load->latency;
    bench_hist_add(latency, load->now > s.time ? load->now - s.time : 0);

    if (!sub->mover) {
        bench_publisher_delivered(load, board, publication);
    }
}


/* neither is a stamp: the answer to the subscription, or nothing of ours */

static void
bench_subscriber_answer(bench_load_t *load, bench_subscriber_t *sub,
    bench_ws_frame_t *f)
{
    uint64_t  call;

    call = BENCH_DIALECT_JOIN;

    if (load->dialect->subscribe == NULL || (sub->ready && !sub->leaving)) {
        load->count->foreign++;
        return;
    }

    if (load->dialect->reply(f->data, f->len, &call) != BENCH_OK
        || call != (sub->leaving ? BENCH_DIALECT_LEAVE : BENCH_DIALECT_JOIN))
    {
        load->count->errors++;
        return;
    }

    if (sub->leaving) {
        bench_churn_unsubscribed(load, sub);
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

    if (f->len - load->offset < load->size - load->head) {
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
        rc = bench_inflate_parse(load, c, &pos, last, &f);

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

        bench_conn_trim(c);
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
    bench_tally_t       *tallies;
    bench_subscriber_t  *sub;

    p = load->publishers;
    n = load->share;

    load->subscribers = bench_load_alloc(n * sizeof(*sub));
    tallies = bench_load_alloc((size_t) n * p * sizeof(*tallies));

    for (i = 0; i < n; i++) {
        sub = &load->subscribers[i];

        sub->conn.fd = -1;
        sub->conn.ops = &bench_subscriber_ops;
        sub->conn.path = load->dialect->subscribe_path;
        sub->conn.upgrade = load->dialect->upgrade;
        sub->conn.index = load->first + i;
        sub->conn.channel = sub->conn.index % load->channels;

        sub->mover = bench_subscriber_mover(load, sub->conn.index);
        sub->order = 1;
        sub->tallies = tallies + (size_t) i * p;
    }

    return BENCH_OK;
}


int
bench_subscriber_mover(bench_load_t *load, uint32_t index)
{
    return load->churn && (index / load->channels + index % load->channels) & 1;
}


void
bench_subscriber_leave(bench_load_t *load, bench_subscriber_t *sub,
    int answered)
{
    uint32_t        id;
    bench_tally_t  *t;

    for (id = 0; id < load->publishers; id++) {
        t = &sub->tallies[id];

        t->end = !answered ? t->next
               : bench_subscriber_due(load, __atomic_load_n(
                                          &load->shared->boards[id].acked,
                                          __ATOMIC_ACQUIRE),
                                      sub->conn.channel);
    }
}


/* how many of [first, last) had to come */

static uint64_t
bench_subscriber_part(bench_tally_t *t, uint64_t first, uint64_t last)
{
    first = first > t->must ? first : t->must;
    last = last < t->end ? last : t->end;

    return first < last ? last - first : 0;
}


/* how many had to come of a publisher, and did not */

static uint64_t
bench_subscriber_missed(bench_tally_t *t)
{
    uint32_t  i;
    uint64_t  n;

    n = bench_subscriber_part(t, t->next, t->end);

    for (i = 0; i < t->nholes; i++) {
        n += bench_subscriber_part(t, t->holes[i].first, t->holes[i].last);
    }

    return n;
}


void
bench_subscriber_left(bench_load_t *load, bench_subscriber_t *sub)
{
    uint32_t        id;
    bench_tally_t  *t;

    for (id = 0; id < load->publishers; id++) {
        t = &sub->tallies[id];

        load->count->lost += bench_subscriber_missed(t);

        free(t->holes);
        t->holes = NULL;
        t->nholes = 0;
    }

    sub->ready = 0;
}


uint64_t
bench_subscriber_lost(bench_load_t *load)
{
    uint32_t             i, id;
    uint64_t             lost;
    bench_tally_t       *t;
    bench_subscriber_t  *sub;

    lost = 0;

    for (i = 0; i < load->share; i++) {
        sub = &load->subscribers[i];

        for (id = 0; id < load->publishers; id++) {
            t = &sub->tallies[id];

            t->end = bench_subscriber_due(load, load->shared->boards[id].sent,
                                          sub->conn.channel);
            lost += bench_subscriber_missed(t);
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

        /* what came while it was away is not known, nor asked */

        if (sub->mover) {
            continue;
        }

        if (!__atomic_compare_exchange_n(
                 &load->shared->orders[sub->conn.channel], &order, sub->order,
                 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        {
            n += (order != sub->order);
        }
    }

    return n;
}
