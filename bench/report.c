
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The members that the reports of all scenarios have in common.  A report is
 * one JSON object on the standard output; the scenarios call these in turn.
 */


#include "load.h"


void
bench_report_sample(bench_load_t *load, bench_proc_t *proc, bench_sample_t *s)
{
    uint32_t  i;

    load->count->self = bench_proc_self(&load->count->user);

    s->time = bench_load_now();
    s->acks = load->acks;
    s->requests = load->requests;
    s->completed = 0;

    for (i = 0; i < load->publishers; i++) {
        s->completed += __atomic_load_n(&load->shared->boards[i].completed,
                                        __ATOMIC_ACQUIRE);
    }

    bench_process_total(load, &s->count);

    s->known = load->pid && bench_proc_cpu(proc, &s->server) == BENCH_OK;
}


void
bench_report_begin(bench_load_t *load)
{
    (void) printf("{\"scenario\":\"%s\",\"dialect\":\"%s\",\"transport\":\"%s\""
                  ",\"subscribers\":%u,\"channels\":%u,\"publishers\":%u"
                  ",\"size\":%u,\"window\":%u,\"rate\":%u,\"batch\":%u"
                  ",\"processes\":%u,\"deflate\":%u,\"text\":\"%s\"",
                  load->scenario, load->dialect->name,
                  load->post ? "post" : "websocket",
                  load->n, load->channels, load->publishers,
                  load->size, load->rate ? 0 : load->window, load->rate,
                  load->batch, load->processes, load->deflate, load->text);
}


void
bench_report_latency(const char *name, const bench_hist_t *h)
{
    if (bench_hist_count(h) == 0) {
        (void) printf(",\"%s\":null", name);
        return;
    }

    (void) printf(",\"%s\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f"
                  ",\"max\":%.1f}", name,
                  bench_hist_quantile(h, 0.5) / 1e3,
                  bench_hist_quantile(h, 0.99) / 1e3,
                  bench_hist_quantile(h, 0.999) / 1e3, h->max / 1e3);
}


/* microseconds of CPU for each of n, or null */

static void
bench_report_cost(const char *name, int known, uint64_t cpu, uint64_t n)
{
    if (known && n) {
        (void) printf(",\"%s\":%.4f", name, (double) cpu / 1e3 / n);
    } else {
        (void) printf(",\"%s\":null", name);
    }
}


static void
bench_report_requests(int known, uint64_t server, uint64_t n, double seconds)
{
    (void) printf(",\"requests\":%llu,\"requests_per_s\":%.1f",
                  (unsigned long long) n, n / seconds);

    bench_report_cost("server_us_per_request", known, server, n);
}


/* the bytes on the wire, and what they had been without compression */

static void
bench_report_deflate(bench_sample_t *from, bench_sample_t *to)
{
    uint64_t  bytes;

    bytes = to->count.bytes - from->count.bytes;

    (void) printf(",\"compressed\":%llu,\"bytes\":%llu"
                  ",\"bytes_inflated\":%llu",
                  (unsigned long long) (to->count.compressed
                                        - from->count.compressed),
                  (unsigned long long) bytes,
                  (unsigned long long) (bytes + to->count.inflated
                                        - from->count.inflated));
}


static void
bench_report_changes(int known, uint64_t server, uint64_t n, double seconds)
{
    (void) printf(",\"changes\":%llu,\"changes_per_s\":%.1f",
                  (unsigned long long) n, n / seconds);

    bench_report_cost("server_us_per_change", known, server, n);
}


void
bench_report_rates(bench_load_t *load, bench_sample_t *from,
    bench_sample_t *to)
{
    int            known;
    double         seconds;
    uint64_t       server, deliveries, publishes;
    bench_hist_t  *latency;

    known = from->known && to->known;
    seconds = (double) (to->time - from->time) / BENCH_SECOND;
    server = known ? to->server - from->server : 0;
    deliveries = to->count.deliveries - from->count.deliveries;
    publishes = to->completed - from->completed;

    (void) printf(",\"seconds\":%.3f,\"deliveries\":%llu,\"publishes\":%llu"
                  ",\"acks\":%llu,\"deliveries_per_s\":%.0f"
                  ",\"publishes_per_s\":%.1f,\"bytes_per_s\":%.0f",
                  seconds, (unsigned long long) deliveries,
                  (unsigned long long) publishes,
                  (unsigned long long) (to->acks - from->acks),
                  deliveries / seconds, publishes / seconds,
                  (to->count.bytes - from->count.bytes) / seconds);

    bench_report_cost("server_us_per_delivery", known, server,
                           deliveries);
    bench_report_cost("server_us_per_publish", known, server, publishes);
    bench_report_cost("client_us_per_delivery", 1,
                           to->count.self - from->count.self, deliveries);
    bench_report_cost("client_user_us_per_delivery", 1,
                           to->count.user - from->count.user, deliveries);

    if (load->post) {
        bench_report_requests(known, server, to->requests - from->requests,
                              seconds);
    }

    if (load->deflate) {
        bench_report_deflate(from, to);
    }

    if (load->churn) {
        bench_report_changes(known, server,
                             to->count.changes - from->count.changes, seconds);
    }

    latency = bench_load_alloc(sizeof(*latency));
    bench_process_latency(load, load->shared->latencies, latency);
    bench_process_latency(load, load->shared->others, latency);

    bench_report_busy(from, to);
    bench_report_latency("latency_us", latency);
    bench_report_latency("ack_us", &load->measured_ack);

    if (load->mark) {
        bench_report_workers(load);
    }

    if (load->bystander) {
        bench_report_bystander(load);
    }

    free(latency);
}


void
bench_report_workers(bench_load_t *load)
{
    int            i, first;
    uint32_t       n;
    bench_hist_t  *latency;

    latency = bench_load_alloc(2 * sizeof(*latency));

    bench_process_latency(load, load->shared->latencies, &latency[0]);
    bench_process_latency(load, load->shared->others, &latency[1]);

    bench_report_latency("latency_us_same", &latency[0]);
    bench_report_latency("latency_us_other", &latency[1]);

    free(latency);

    (void) printf(",\"workers\":{");

    first = 1;

    for (i = 0; i < BENCH_WORKERS; i++) {
        n = __atomic_load_n(&load->shared->workers[i], __ATOMIC_ACQUIRE);

        if (n) {
            (void) printf("%s\"%d\":%u", first ? "" : ",", i, n);
            first = 0;
        }
    }

    (void) printf("}");
}


void
bench_report_bystander(bench_load_t *load)
{
    bench_bystander_t  *by;

    by = load->shared->bystander;

    bench_report_latency("bystander_us", &by->latency);
    bench_report_latency("bystander_late_us", &by->late);

    (void) printf(",\"bystander_first\":%u", by->first);
}


void
bench_report_busy(bench_sample_t *from, bench_sample_t *to)
{
    double  wall;

    wall = to->time - from->time;

    if (from->known && to->known) {
        (void) printf(",\"server_busy\":%.4f",
                      (to->server - from->server) / wall);
    } else {
        (void) printf(",\"server_busy\":null");
    }

    (void) printf(",\"client_busy\":%.4f",
                  (to->count.self - from->count.self) / wall);
}


int
bench_report_faults(bench_load_t *load, const char *failure)
{
    bench_count_t  t;

    bench_process_total(load, &t);

    if (failure == NULL
        && (t.lost || t.disorder || t.duplicated || t.reordered
            || t.foreign || t.errors || t.closed || t.failed))
    {
        failure = "faults";
    }

    (void) printf(",\"lost\":%llu,\"duplicated\":%llu,\"reordered\":%llu"
                  ",\"other_order\":%llu,\"foreign\":%llu,\"errors\":%llu"
                  ",\"closed\":%llu,\"failure\":",
                  (unsigned long long) t.lost,
                  (unsigned long long) t.duplicated,
                  (unsigned long long) t.reordered,
                  (unsigned long long) t.disorder,
                  (unsigned long long) t.foreign,
                  (unsigned long long) t.errors,
                  (unsigned long long) t.closed);

    if (failure) {
        (void) printf("\"%s\"}\n", failure);
        return 1;
    }

    (void) printf("null}\n");

    return 0;
}
