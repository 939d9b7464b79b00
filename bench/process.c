
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The processes of a run.  One process may have too few descriptors for all
 * subscribers, so others take a share of them; the first one publishes,
 * measures and reports.  Owns the memory that they share; the scenarios
 * start and finish it.
 */


#include "load.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>


#define BENCH_PROCESS_STEP   (BENCH_SECOND / 20)
#define BENCH_PROCESS_LATE   (5 * BENCH_SECOND)


static void *
bench_process_map(size_t size)
{
    void  *p;

    p = mmap(NULL, size ? size : 1, PROT_READ|PROT_WRITE,
             MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("load: mmap()");
        exit(1);
    }

    return p;
}


void
bench_process_share(bench_load_t *load)
{
    uint32_t         i;
    bench_shared_t  *sh;

    sh = bench_process_map(sizeof(*sh));

    sh->orders = bench_process_map(load->channels * sizeof(*sh->orders));
    sh->counts = bench_process_map(load->processes * sizeof(*sh->counts));
    sh->latencies = bench_process_map(load->processes
                                      * sizeof(*sh->latencies));
    sh->others = bench_process_map(load->processes * sizeof(*sh->others));
    sh->workers = bench_process_map(BENCH_WORKERS * sizeof(*sh->workers));
    sh->boards = bench_process_map(load->publishers * sizeof(*sh->boards));

    for (i = 0; i < load->publishers; i++) {
        sh->boards[i].missing = bench_process_map(load->ring
                                               * sizeof(*sh->boards->missing));
    }

    if (load->bystander) {
        sh->bystander = bench_process_map(sizeof(*sh->bystander));
    }

    load->shared = sh;
    load->count = sh->counts;

    load->bell = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (load->bell == -1) {
        perror("load: eventfd()");
        exit(1);
    }
}


static void
bench_process_init(bench_load_t *load, uint32_t process)
{
    uint64_t            n;
    struct epoll_event  ee;

    n = load->n;

    load->process = process;
    load->count = &load->shared->counts[process];
    load->first = n * process / load->processes;
    load->share = n * (process + 1) / load->processes - load->first;

    load->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (load->epoll == -1) {
        perror("load: epoll_create1()");
        exit(1);
    }

    if (process == 0) {
        ee.events = EPOLLIN;
        ee.data.ptr = NULL;

        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->bell, &ee) == -1) {
            perror("load: epoll_ctl()");
            exit(1);
        }
    }

    (void) bench_subscriber_create(load);
}


/*
 * Publishers have not waited for those who come and go: what they still miss
 * may be on its way.
 */

static void
bench_process_tally(bench_load_t *load)
{
    uint64_t  until;

    until = load->now + BENCH_PROCESS_LATE;

    while (load->churn
           && load->now < until
           && (load->count->changing || bench_subscriber_lost(load)))
    {
        if (bench_load_turn(load, load->now + BENCH_PROCESS_STEP)
            != BENCH_OK)
        {
            break;
        }
    }

    load->count->lost += bench_subscriber_lost(load);
    load->count->disorder = bench_subscriber_disorder(load);
}


static void
bench_process_choose(bench_load_t *load, uint32_t measuring)
{
    bench_shared_t  *sh;

    sh = load->shared;

    load->latency = measuring ? &sh->latencies[load->process]
                              : &load->discarded;
    load->latency_other = measuring ? &sh->others[load->process]
                                    : &load->discarded;
}


static void
bench_process_run(bench_load_t *load)
{
    uint32_t  measuring;

    if (bench_load_subscribe(load) != BENCH_OK) {
        load->count->failed = 1;
        return;
    }

    while (!__atomic_load_n(&load->shared->stop, __ATOMIC_ACQUIRE)) {

        measuring = __atomic_load_n(&load->shared->measuring,
                                    __ATOMIC_ACQUIRE);

        bench_process_choose(load, measuring);

        if (bench_load_turn(load, load->now + BENCH_PROCESS_STEP)
            != BENCH_OK)
        {
            load->count->failed = 1;
            return;
        }

        load->count->self = bench_proc_self(&load->count->user);
    }

    bench_process_tally(load);
}


/* returns zero in the new process */

static pid_t
bench_process_fork(bench_load_t *load)
{
    pid_t  pid;

    pid = fork();

    if (pid == -1) {
        perror("load: fork()");
        exit(1);
    }

    if (pid == 0) {

        /* alarms are not inherited; neither is the end of the parent */

        (void) alarm(load->limit + 10);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    }

    return pid;
}


void
bench_process_start(bench_load_t *load)
{
    uint32_t  i;

    (void) fflush(stdout);

    if (load->bystander && bench_process_fork(load) == 0) {
        bench_bystander_run(load);
        _exit(0);
    }

    for (i = 1; i < load->processes; i++) {

        if (bench_process_fork(load)) {
            continue;
        }

        bench_process_init(load, i);
        bench_process_run(load);

        _exit(0);
    }

    bench_process_init(load, 0);
}


int
bench_process_ready(bench_load_t *load)
{
    bench_count_t  total;

    if (bench_load_subscribe(load) != BENCH_OK) {
        return BENCH_ERROR;
    }

    for ( ;; ) {
        bench_process_total(load, &total);

        if (total.failed || total.closed || total.errors) {
            return BENCH_ERROR;
        }

        if (total.ready == load->n) {
            return BENCH_OK;
        }

        if (bench_load_turn(load, load->now + BENCH_PROCESS_STEP)
            != BENCH_OK)
        {
            return BENCH_ERROR;
        }
    }
}


void
bench_process_total(bench_load_t *load, bench_count_t *total)
{
    uint32_t         i;
    bench_count_t   *c;

    memset(total, 0, sizeof(*total));

    for (i = 0; i < load->processes; i++) {
        c = &load->shared->counts[i];

        total->deliveries += c->deliveries;
        total->bytes += c->bytes;
        total->compressed += c->compressed;
        total->inflated += c->inflated;
        total->pings += c->pings;
        total->changes += c->changes;
        total->changing += c->changing;
        total->duplicated += c->duplicated;
        total->reordered += c->reordered;
        total->foreign += c->foreign;
        total->errors += c->errors;
        total->closed += c->closed;
        total->handshakes += c->handshakes;
        total->ready += c->ready;
        total->failed += c->failed;
        total->lost += c->lost;
        total->disorder += c->disorder;
        total->self += c->self;
        total->user += c->user;
    }

    if (load->bystander) {
        total->failed += __atomic_load_n(&load->shared->bystander->failed,
                                         __ATOMIC_ACQUIRE);
    }
}


void
bench_process_latency(bench_load_t *load, bench_hist_t *hists,
    bench_hist_t *total)
{
    uint32_t  i;

    for (i = 0; i < load->processes; i++) {
        bench_hist_merge(total, &hists[i]);
    }
}


void
bench_process_record(bench_load_t *load, uint32_t measuring)
{
    __atomic_store_n(&load->shared->measuring, measuring, __ATOMIC_RELEASE);
    (void) __atomic_add_fetch(&load->shared->measured, measuring,
                              __ATOMIC_ACQ_REL);

    bench_process_choose(load, measuring);

    load->latency_ack = measuring ? &load->measured_ack : &load->discarded;
}


/* the others look at least once in a step, and have a limit of their own */

void
bench_process_finish(bench_load_t *load)
{
    __atomic_store_n(&load->shared->stop, 1, __ATOMIC_RELEASE);

    bench_process_tally(load);

    while (wait(NULL) > 0) {
        /* void */
    }
}
