
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Subscribers that leave and come back while the publishers go on, so many
 * times per second, in each of these ways in turn: they unsubscribe, they
 * close the connection with a close frame and wait for the server's, they
 * reset it.  Owns nothing; the event loop calls bench_churn_turn() before
 * each wait, subscriber.c tells how a change goes on.
 */


#include "load.h"


typedef void (*bench_churn_pt)(bench_load_t *load, bench_subscriber_t *sub);


static void
bench_churn_close(bench_load_t *load, bench_subscriber_t *sub)
{
    bench_subscriber_leave(load, sub, 1);

    sub->closing = 1;

    bench_conn_put_close(&sub->conn, 1000);
    bench_conn_flush(load, &sub->conn);
}


/* what has not been read is given up */

static void
bench_churn_reset(bench_load_t *load, bench_subscriber_t *sub)
{
    bench_subscriber_leave(load, sub, 0);

    sub->closing = 1;

    bench_conn_close(load, &sub->conn);
    sub->conn.ops->closed(load, &sub->conn);
}


static void
bench_churn_unsubscribe(bench_load_t *load, bench_subscriber_t *sub)
{
    bench_subscriber_leave(load, sub, 1);

    sub->leaving = 1;

    bench_subscriber_ask(load, sub);
}


/* the last needs a dialect in which a text subscribes */

static const bench_churn_pt  bench_churn_ways[] = {
    bench_churn_close,
    bench_churn_reset,
    bench_churn_unsubscribe
};


void
bench_churn_unsubscribed(bench_load_t *load, bench_subscriber_t *sub)
{
    sub->leaving = 0;

    bench_subscriber_left(load, sub);
    bench_subscriber_ask(load, sub);
}


void
bench_churn_closed(bench_load_t *load, bench_subscriber_t *sub)
{
    sub->closing = 0;

    bench_subscriber_left(load, sub);

    if (bench_conn_open(load, &sub->conn) != BENCH_OK) {
        load->count->errors++;
    }
}


void
bench_churn_done(bench_load_t *load, bench_subscriber_t *sub)
{
    sub->changing = 0;

    load->count->changes++;
    load->count->changing--;
}


/* the next one in turn that is not changing already, or NULL */

static bench_subscriber_t *
bench_churn_next(bench_load_t *load)
{
    uint32_t             n;
    bench_subscriber_t  *sub;

    for (n = 0; n < load->share; n++) {

        if (load->mover == load->share) {
            load->mover = 0;

            /* another way than in the round before */
            load->change++;
        }

        sub = &load->subscribers[load->mover++];

        if (sub->mover && !sub->changing) {
            return sub;
        }
    }

    return NULL;
}


uint64_t
bench_churn_turn(bench_load_t *load)
{
    unsigned             ways;
    bench_subscriber_t  *sub;

    if (!__atomic_load_n(&load->shared->churning, __ATOMIC_ACQUIRE)) {
        return UINT64_MAX;
    }

    load->now = bench_load_now();

    if (load->change_due == 0) {
        load->change_interval = BENCH_SECOND * load->processes / load->churn;
        load->change_due = load->now + load->change_interval * load->process
                                       / load->processes;
    }

    ways = load->dialect->subscribe ? 3 : 2;

    while (load->change_due <= load->now) {
        sub = bench_churn_next(load);

        if (sub == NULL) {
            return UINT64_MAX;
        }

        load->change_due += load->change_interval;

        sub->changing = 1;
        load->count->changing++;

        bench_churn_ways[load->change++ % ways](load, sub);
    }

    return load->change_due;
}
