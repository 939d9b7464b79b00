
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fan-out: subscribers share channels, publishers publish in a closed loop
 * or at a fixed rate.  Connect, warm up, measure, then wait until all that
 * was published has come, so that what is lost is lost.  With as many
 * channels as subscribers each publication has one receiver.  "Churn" is the
 * same with subscribers that leave and come back all the time.
 */


#include "load.h"


#define BENCH_FANOUT_STALL   (3 * BENCH_SECOND)
#define BENCH_FANOUT_DRAIN   (20 * BENCH_SECOND)
#define BENCH_FANOUT_STEP    (BENCH_SECOND / 20)
#define BENCH_FANOUT_AFTER   (BENCH_SECOND / 10)


/* runs until the time; the reason why it ended earlier, or NULL */

static const char *
bench_fanout_run(bench_load_t *load, uint64_t until)
{
    uint64_t       seen, at;
    bench_count_t  total;

    at = load->now;
    seen = 0;

    while (load->now < until) {

        if (bench_load_turn(load, until) != BENCH_OK) {
            return "time limit";
        }

        bench_process_total(load, &total);

        if (total.closed || total.failed) {
            return "connection closed";
        }

        if (seen != total.deliveries + load->acks) {
            seen = total.deliveries + load->acks;
            at = load->now;

        } else if (load->publishing && load->now - at > BENCH_FANOUT_STALL) {
            return "stalled";
        }
    }

    return NULL;
}


/* lets what is under way arrive, and what should not come at all */

static const char *
bench_fanout_drain(bench_load_t *load)
{
    uint64_t       until;
    bench_count_t  total;

    load->publishing = 0;
    until = load->now + BENCH_FANOUT_DRAIN;

    __atomic_store_n(&load->shared->churning, 0, __ATOMIC_RELEASE);

    for ( ;; ) {
        bench_process_total(load, &total);

        if (total.changing == 0 && bench_publisher_outstanding(load) == 0) {
            break;
        }

        if (load->now >= until) {
            return "not all delivered or answered in time";
        }

        if (bench_load_turn(load, load->now + BENCH_FANOUT_STEP) != BENCH_OK) {
            return "time limit";
        }
    }

    return bench_fanout_run(load, load->now + BENCH_FANOUT_AFTER);
}


static const char *
bench_fanout_start(bench_load_t *load)
{
    if (bench_process_ready(load) != BENCH_OK
        || bench_publisher_create(load) != BENCH_OK)
    {
        return "not connected";
    }

    while (bench_publisher_ready(load) != BENCH_OK) {
        if (bench_load_turn(load, load->now + BENCH_SECOND) != BENCH_OK
            || load->count->closed)
        {
            return "not connected";
        }
    }

    return bench_fanout_run(load, load->now + load->settle * 1000000ULL);
}


static const char *
bench_fanout_measure(bench_load_t *load, bench_proc_t *proc,
    bench_sample_t *from, bench_sample_t *to)
{
    const char  *failure;

    load->publishing = 1;

    __atomic_store_n(&load->shared->churning, load->churn != 0,
                     __ATOMIC_RELEASE);

    failure = bench_fanout_run(load, load->now + load->warmup * BENCH_SECOND);

    bench_report_sample(load, proc, from);
    bench_process_record(load, 1);

    if (failure == NULL) {
        failure = bench_fanout_run(load, from->time
                                         + load->seconds * BENCH_SECOND);
    }

    bench_report_sample(load, proc, to);
    bench_process_record(load, 0);

    return failure;
}


int
bench_scenario_fanout(bench_load_t *load)
{
    const char      *failure, *drained;
    bench_proc_t     proc;
    bench_sample_t   from, to;

    if (load->pid && bench_proc_find(&proc, load->pid) != BENCH_OK) {
        (void) fprintf(stderr, "load: no process %u\n", load->pid);
        return 2;
    }

    bench_process_share(load);
    bench_process_start(load);

    failure = bench_fanout_start(load);

    bench_report_begin(load);

    if (failure == NULL) {
        failure = bench_fanout_measure(load, &proc, &from, &to);
        drained = bench_fanout_drain(load);

        failure = failure ? failure : drained;

        bench_process_finish(load);

        bench_report_rates(load, &from, &to);
    }

    return bench_report_faults(load, failure);
}
