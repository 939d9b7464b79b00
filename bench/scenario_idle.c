
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Idle: opens subscribed connections, and tells what the server holds for
 * each while nothing happens; then one publication to each channel proves
 * that they are subscribed.
 */


#include "load.h"

#include <unistd.h>


#define BENCH_IDLE_REACH   (60 * BENCH_SECOND)
#define BENCH_IDLE_STEP    (BENCH_SECOND / 20)


static const char *
bench_idle_run(bench_load_t *load, uint64_t until)
{
    bench_count_t  total;

    while (load->now < until) {

        if (bench_load_turn(load, until) != BENCH_OK) {
            return "time limit";
        }

        bench_process_total(load, &total);

        if (total.closed || total.failed) {
            return "connection closed";
        }
    }

    return NULL;
}


/* each channel gets one publication; NULL when all of them have come */

static const char *
bench_idle_reach(bench_load_t *load)
{
    uint64_t       until;
    const char    *failure;
    bench_count_t  total;

    if (bench_publisher_create(load) != BENCH_OK) {
        return "not connected";
    }

    /* the other processes learn of it within a step */

    bench_process_record(load, 1);
    failure = bench_idle_run(load, load->now + 4 * BENCH_IDLE_STEP);

    if (failure) {
        return failure;
    }

    until = load->now + BENCH_IDLE_REACH;
    load->publishing = 1;
    load->stop_after = load->channels;

    do {
        if (load->now >= until) {
            return "not all reached";
        }

        if (bench_load_turn(load, load->now + BENCH_IDLE_STEP) != BENCH_OK) {
            return "time limit";
        }

        bench_process_total(load, &total);

        if (total.closed || total.failed) {
            return "connection closed";
        }

    } while (total.deliveries < load->n);

    return NULL;
}


static void
bench_idle_report(bench_load_t *load, const char *name,
    bench_proc_memory_t *before, bench_proc_memory_t *after)
{
    double  n;

    n = load->n;

    (void) printf(",\"%s\":{\"pss\":%.1f,\"private\":%.1f,\"rss\":%.1f"
                  ",\"kernel\":%.1f}", name,
                  ((double) after->pss - before->pss) / n,
                  ((double) after->private_bytes - before->private_bytes) / n,
                  ((double) after->rss - before->rss) / n,
                  ((double) after->kernel - before->kernel) / n);
}


/* what the load itself holds for each */

static void
bench_idle_report_load(bench_load_t *load)
{
    bench_proc_t         proc;
    bench_proc_memory_t  m;

    if (bench_proc_find(&proc, getpid()) == BENCH_OK
        && bench_proc_memory(&proc, &m) == BENCH_OK)
    {
        (void) printf(",\"client_bytes_per_connection\":%.1f",
                      (double) m.private_bytes / load->n);
    }
}


/* the maximum is how long it took to reach all */

static void
bench_idle_report_latency(bench_load_t *load)
{
    bench_hist_t  *latency;

    latency = bench_load_alloc(sizeof(*latency));

    bench_process_latency(load, load->shared->latencies, latency);
    bench_process_latency(load, load->shared->others, latency);

    bench_report_latency("latency_us", latency);

    if (load->mark) {
        bench_report_workers(load);
    }

    free(latency);
}


static const char *
bench_idle_measure(bench_load_t *load, bench_proc_t *proc)
{
    const char           *failure;
    bench_sample_t        from, to;
    bench_proc_memory_t   before, after;

    if (bench_proc_memory(proc, &before) != BENCH_OK) {
        return "no smaps_rollup";
    }

    (void) printf(",\"pss_before\":%llu", (unsigned long long) before.pss);

    bench_process_start(load);

    if (bench_process_ready(load) != BENCH_OK) {
        return "not connected";
    }

    failure = bench_idle_run(load, load->now + load->settle * 1000000ULL);

    bench_report_sample(load, proc, &from);

    if (failure == NULL) {
        failure = bench_idle_run(load, load->now
                                       + load->seconds * BENCH_SECOND);
    }

    bench_report_sample(load, proc, &to);

    if (failure || bench_proc_memory(proc, &after) != BENCH_OK) {
        return failure ? failure : "no smaps_rollup";
    }

    (void) printf(",\"pss_after\":%llu", (unsigned long long) after.pss);

    bench_idle_report(load, "bytes_per_connection", &before, &after);
    bench_idle_report_load(load);

    (void) printf(",\"seconds\":%.3f,\"server_processes\":%d,\"pings\":%llu",
                  (double) (to.time - from.time) / BENCH_SECOND, proc->n,
                  (unsigned long long) (to.count.pings - from.count.pings));

    bench_report_busy(&from, &to);

    failure = bench_idle_reach(load);

    if (failure == NULL && bench_proc_memory(proc, &after) == BENCH_OK) {
        bench_idle_report(load, "bytes_after_publication", &before, &after);
        bench_idle_report_latency(load);
    }

    return failure;
}


int
bench_scenario_idle(bench_load_t *load)
{
    const char    *failure;
    bench_proc_t   proc;

    if (load->n == 0) {
        (void) fprintf(stderr, "load: nobody to subscribe\n");
        return 2;
    }

    if (load->pid == 0 || bench_proc_find(&proc, load->pid) != BENCH_OK) {
        (void) fprintf(stderr, "load: no process %u\n", load->pid);
        return 2;
    }

    bench_process_share(load);

    bench_report_begin(load);
    failure = bench_idle_measure(load, &proc);

    bench_process_finish(load);

    return bench_report_faults(load, failure);
}
