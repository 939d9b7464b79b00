
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Connect: keeps some handshakes under way and closes each connection as
 * soon as it is open, so as to tell what a handshake costs.  The dialect
 * "http" does the same with a plain request, for comparison.
 */


#include "load.h"


static int
bench_connect_opened(bench_load_t *load, bench_conn_t *c)
{
    bench_subscriber_t  *sub;

    sub = (bench_subscriber_t *) c;

    sub->ready = 1;
    load->count->handshakes++;
    bench_hist_add(load->latency, load->now - sub->opened);

    return BENCH_ERROR;
}


static u_char *
bench_connect_read(bench_load_t *load, bench_conn_t *c, u_char *pos,
    u_char *last)
{
    return last;
}


static void
bench_connect_again(bench_load_t *load, bench_conn_t *c)
{
    bench_subscriber_t  *sub;

    sub = (bench_subscriber_t *) c;

    if (!sub->ready) {
        load->count->closed++;
        return;
    }

    sub->ready = 0;
    sub->opened = load->now;

    if (load->publishing && bench_conn_open(load, c) != BENCH_OK) {
        load->count->errors++;
    }
}


static const bench_conn_ops_t  bench_connect_ops = {
    bench_connect_opened,
    bench_connect_read,
    bench_connect_again
};


static const char *
bench_connect_run(bench_load_t *load, uint64_t until)
{
    while (load->now < until) {

        if (bench_load_turn(load, until) != BENCH_OK) {
            return "time limit";
        }

        if (load->count->closed || load->count->errors) {
            return "handshake failed";
        }
    }

    return NULL;
}


static void
bench_connect_report(bench_load_t *load, bench_sample_t *from,
    bench_sample_t *to)
{
    double    seconds;
    uint64_t  n;

    n = to->count.handshakes - from->count.handshakes;
    seconds = (double) (to->time - from->time) / BENCH_SECOND;

    (void) printf(",\"seconds\":%.3f,\"handshakes\":%llu"
                  ",\"handshakes_per_s\":%.0f,\"server_us_per_handshake\":",
                  seconds, (unsigned long long) n, n / seconds);

    if (from->known && to->known && n) {
        (void) printf("%.2f", (to->server - from->server) / 1e3 / n);
    } else {
        (void) printf("null");
    }

    bench_report_busy(from, to);
    bench_report_latency("latency_us", load->shared->latencies);
}


int
bench_scenario_connect(bench_load_t *load)
{
    uint32_t             i;
    const char          *failure;
    bench_proc_t         proc;
    bench_sample_t       from, to;
    bench_subscriber_t  *sub;

    if (load->pid && bench_proc_find(&proc, load->pid) != BENCH_OK) {
        (void) fprintf(stderr, "load: no process %u\n", load->pid);
        return 2;
    }

    load->n = load->inflight;
    load->share = load->n;
    load->publishing = 1;
    load->publishers = 0;

    bench_process_share(load);
    bench_process_start(load);

    for (i = 0; i < load->n; i++) {
        sub = &load->subscribers[i];
        sub->ready = 1;
        sub->conn.ops = &bench_connect_ops;
        bench_connect_again(load, &sub->conn);
    }

    failure = bench_connect_run(load, load->now
                                      + load->warmup * BENCH_SECOND);

    bench_report_sample(load, &proc, &from);
    bench_process_record(load, 1);

    if (failure == NULL) {
        failure = bench_connect_run(load, load->now
                                          + load->seconds * BENCH_SECOND);
    }

    bench_report_sample(load, &proc, &to);

    bench_report_begin(load);
    bench_connect_report(load, &from, &to);

    return bench_report_faults(load, failure);
}
