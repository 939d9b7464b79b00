
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The load generator: options and the event loop.  One run, one JSON object
 * on the standard output.
 */


#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>


typedef struct {
    const char    *name;
    int          (*run)(bench_load_t *load);
} bench_scenario_t;

typedef struct {
    const char    *name;
    size_t         offset;
    unsigned       text:1;
    uint32_t       value;       /* default */
    uint32_t       min;
    const char    *help;
} bench_option_t;


/* the limit of a run that was told none: besides measuring, and connecting */
#define BENCH_LIMIT            60
#define BENCH_LIMIT_CONNECTS   1000


#define bench_number(name, value, min, help)                                  \
    { #name, offsetof(bench_load_t, name), 0, value, min, help }

#define bench_text(name, help)                                                \
    { #name, offsetof(bench_load_t, name), 1, 0, 0, help }


static const bench_scenario_t  bench_scenarios[] = {
    { "fanout", bench_scenario_fanout },
    { "idle", bench_scenario_idle },
    { "connect", bench_scenario_connect },
    { "churn", bench_scenario_fanout },
    { NULL, NULL }
};


static const bench_option_t  bench_options[] = {
    bench_text(scenario, "fanout, idle, connect, churn"),
    bench_text(host, "address of the server, an IPv4 one (127.0.0.1)"),
    bench_text(key, "of the backend"),
    bench_text(post_path, "path of POST publishers"),
    bench_text(mark, "header of the handshake that tells the worker"),
    bench_text(text, "plain, json: what a payload looks like (plain)"),
    bench_number(port, 0, 1, "port of the server"),
    bench_number(n, 1000, 0, "subscribers"),
    bench_number(channels, 1, 1, "channels that the subscribers share"),
    bench_number(publishers, 1, 1, "publishers"),
    bench_number(post, 0, 0, "1: publish with POST, not over WebSocket"),
    bench_number(ack, 1, 0, "0: publications are not answered"),
    bench_number(size, 128, BENCH_STAMP_LEN + 1, "bytes of a payload"),
    bench_number(window, 16, 1, "publications under way, of a publisher"),
    bench_number(rate, 0, 0, "publications per second in all, or requests"),
    bench_number(batch, 1, 1, "publications in a POST"),
    bench_number(deflate, 0, 0, "1: offer permessage-deflate"),
    bench_number(churn, 0, 0, "changes per second of half the subscribers"),
    bench_number(seconds, 3, 1, "to measure"),
    bench_number(warmup, 1, 0, "seconds before that"),
    bench_number(inflight, 128, 1, "handshakes at a time, of a process"),
    bench_number(processes, 1, 1, "that share the subscribers"),
    bench_number(bystander, 0, 0, "1: another client asks for a page"),
    bench_number(settle, 200, 0, "milliseconds after the last handshake"),
    bench_number(limit, 0, 0, "seconds of the whole run; 0: as it needs"),
    bench_number(pid, 0, 0, "the server's (master) process"),
    bench_number(cpu, UINT32_MAX, 0, "processor to run on"),
    { NULL, 0, 0, 0, 0, NULL }
};


uint64_t
bench_load_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * BENCH_SECOND + ts.tv_nsec;
}


void *
bench_load_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size ? size : 1);

    if (p == NULL) {
        perror("load: calloc()");
        exit(1);
    }

    return p;
}


void
bench_load_channel(bench_load_t *load, uint32_t channel, char *name)
{
    int  i;

    memcpy(name, "bench000000", 12);

    for (i = 10; i > 4; i--) {
        name[i] = '0' + channel % 10;
        channel /= 10;
    }
}


int
bench_load_turn(bench_load_t *load, uint64_t until)
{
    int                  i, n;
    uint64_t             due, next, rings;
    struct timespec      ts;
    struct epoll_event   events[BENCH_EVENTS];

    next = bench_publisher_turn(load);

    if (next > until) {
        next = until;
    }

    if (load->churn) {
        due = bench_churn_turn(load);
        next = due < next ? due : next;
    }

    load->now = bench_load_now();

    if (load->now > load->deadline) {
        return BENCH_ERROR;
    }

    next = next > load->now ? next - load->now : 0;
    ts.tv_sec = next / BENCH_SECOND;
    ts.tv_nsec = next % BENCH_SECOND;

    n = epoll_pwait2(load->epoll, events, BENCH_EVENTS, &ts, NULL);

    if (n == -1 && errno != EINTR) {
        perror("load: epoll_pwait2()");
        exit(1);
    }

    load->now = bench_load_now();

    for (i = 0; i < n; i++) {

        if (events[i].data.ptr == NULL) {
            (void) !read(load->bell, &rings, sizeof(rings));
            continue;
        }

        bench_conn_event(load, events[i].data.ptr, events[i].events);
    }

    if (load->ring_bell && load->process) {
        rings = 1;
        (void) !write(load->bell, &rings, sizeof(rings));
    }

    load->ring_bell = 0;

    return BENCH_OK;
}


int
bench_load_subscribe(bench_load_t *load)
{
    bench_subscriber_t  *sub;

    while (load->count->ready < load->share) {

        while (load->nopened < load->share
               && load->nopened - load->count->ready < load->inflight)
        {
            sub = &load->subscribers[load->nopened++];

            if (bench_conn_open(load, &sub->conn) != BENCH_OK) {
                return BENCH_ERROR;
            }
        }

        if (bench_load_turn(load, load->now + BENCH_SECOND) != BENCH_OK
            || load->shared->stop || load->count->closed || load->count->errors)
        {
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}


static void
bench_load_usage(void)
{
    const bench_option_t  *opt;

    (void) fprintf(stderr, "usage: load scenario=NAME port=PORT [NAME=VALUE"
                   " ...]\n\n  %-10s %s\n", "dialect",
                   "snorky, nchan, raw, http (snorky)");

    for (opt = bench_options; opt->name; opt++) {
        (void) fprintf(stderr, "  %-10s %s", opt->name, opt->help);

        if (!opt->text && opt->value && opt->value != UINT32_MAX) {
            (void) fprintf(stderr, " (%u)", opt->value);
        }

        (void) fprintf(stderr, "\n");
    }
}


static int
bench_load_option(bench_load_t *load, const char *arg)
{
    char                  *end;
    size_t                 len;
    const char            *value;
    unsigned long          n;
    const bench_option_t  *opt;

    value = strchr(arg, '=');

    if (value == NULL) {
        return BENCH_ERROR;
    }

    len = value++ - arg;

    if (len == 7 && memcmp(arg, "dialect", 7) == 0) {
        load->dialect = bench_dialect_find(value);
        return load->dialect ? BENCH_OK : BENCH_ERROR;
    }

    for (opt = bench_options; opt->name; opt++) {
        if (strlen(opt->name) == len && memcmp(opt->name, arg, len) == 0) {
            break;
        }
    }

    if (opt->name == NULL) {
        return BENCH_ERROR;
    }

    if (opt->text) {
        *(const char **) ((char *) load + opt->offset) = value;
        return BENCH_OK;
    }

    errno = 0;
    n = strtoul(value, &end, 10);

    if (end == value || *end || errno || n < opt->min || n > UINT32_MAX) {
        return BENCH_ERROR;
    }

    *(uint32_t *) ((char *) load + opt->offset) = (uint32_t) n;

    return BENCH_OK;
}


/* what single options cannot tell; NULL: they fit together */

static const char *
bench_load_conflict(bench_load_t *load)
{
    if (load->port == 0 || load->port > 65535) {
        return "no port";
    }

    if (load->window > BENCH_RING / 2 || load->batch > BENCH_RING / 2) {
        return "the window or the batch is too large";
    }

    if (load->n == 0 && load->ack == 0) {
        return "nothing tells that a publication is complete";
    }

    if (load->size > BENCH_READ - 2 * BENCH_DIALECT_ROOM) {
        return "a publication must fit into one read";
    }

    if (load->bystander && strcmp(load->scenario, "fanout") != 0) {
        return "only scenario=fanout has a bystander";
    }

    if (load->channels == 0 || load->channels > 1000000) {
        return "1 to 1000000 channels: their names have six digits";
    }

    return NULL;
}


static const char *
bench_load_conflict_dialect(bench_load_t *load)
{
    if (strcmp(load->scenario, "connect") == 0) {
        return load->processes > 1 ? "handshakes are made by one process"
                                   : NULL;
    }

    if (load->post ? load->post_path == NULL
                   : load->dialect->publish_path == NULL)
    {
        return "nothing is published this way in this dialect";
    }

    if (load->n && !load->dialect->upgrade) {
        return "there are no subscribers in this dialect, n=0";
    }

    if (load->batch > 1 && !(load->post && load->dialect->batch)) {
        return "no batches over this transport";
    }

    if (load->channels > 1 && !load->post && !load->dialect->subscribe) {
        return "a WebSocket publishes to one channel in this dialect";
    }

    if ((load->churn == 0) != (strcmp(load->scenario, "churn") != 0)) {
        return "scenario=churn needs churn=, and no other has it";
    }

    if (load->churn && load->ack == 0) {
        return "only answers tell what a subscriber must have";
    }

    return NULL;
}


static int
bench_load_parse(bench_load_t *load, int argc, char **argv)
{
    int                    i;
    const char            *conflict;
    const bench_option_t  *opt;

    for (opt = bench_options; opt->name; opt++) {
        if (!opt->text) {
            *(uint32_t *) ((char *) load + opt->offset) = opt->value;
        }
    }

    load->host = "127.0.0.1";
    load->key = "bench";
    load->scenario = "fanout";
    load->text = "plain";
    load->dialect = bench_dialect_find("snorky");

    for (i = 1; i < argc; i++) {
        if (bench_load_option(load, argv[i]) != BENCH_OK) {
            (void) fprintf(stderr, "load: invalid \"%s\"\n", argv[i]);
            return BENCH_ERROR;
        }
    }

    if (load->post_path == NULL) {
        load->post_path = load->dialect->post_path;
    }

    conflict = bench_load_conflict(load);

    if (conflict == NULL) {
        conflict = bench_load_conflict_dialect(load);
    }

    if (conflict) {
        (void) fprintf(stderr, "load: %s\n", conflict);
        return BENCH_ERROR;
    }

    /* a batch is one request */

    if (load->post && load->window < load->batch) {
        load->window = load->batch;
    }

    if (load->limit == 0) {
        load->limit = BENCH_LIMIT + load->n / BENCH_LIMIT_CONNECTS
                      + load->warmup + load->seconds;
    }

    return BENCH_OK;
}


/* the process: descriptors, processor, timers */

static int
bench_load_init_process(bench_load_t *load)
{
    cpu_set_t      cpus;
    struct rlimit  rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }

    if (load->cpu != UINT32_MAX) {
        CPU_ZERO(&cpus);
        CPU_SET(load->cpu, &cpus);

        if (sched_setaffinity(0, sizeof(cpus), &cpus) == -1) {
            perror("load: sched_setaffinity()");
            return BENCH_ERROR;
        }
    }

    /* without it a wait lasts up to 50 us longer than it was told to */

    (void) prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

    /* the net below the deadline of the event loop */

    (void) alarm(load->limit + 10);

    return BENCH_OK;
}


static int
bench_load_init(bench_load_t *load)
{
    load->server.sin_family = AF_INET;
    load->server.sin_port = htons(load->port);

    if (inet_pton(AF_INET, load->host, &load->server.sin_addr) != 1) {
        (void) fprintf(stderr, "load: invalid address \"%s\"\n", load->host);
        return BENCH_ERROR;
    }

    load->buffer = bench_load_alloc(2 * BENCH_READ);
    load->latency = &load->discarded;
    load->latency_other = &load->discarded;
    load->latency_ack = &load->discarded;
    load->share = load->n;

    if (bench_payload_create(load) != BENCH_OK) {
        return BENCH_ERROR;
    }

    if (load->deflate) {
        bench_inflate_create(load);
    }

    load->ring = BENCH_RING;

    while (load->rate == 0 && load->ring / 4 >= load->window
           && load->ring / 4 >= load->batch
           && load->ring > 1024)
    {
        load->ring /= 2;
    }

    load->ring_mask = load->ring - 1;

    load->now = bench_load_now();
    load->deadline = load->now + load->limit * BENCH_SECOND;

    return BENCH_OK;
}


int
main(int argc, char **argv)
{
    bench_load_t            *load;
    const bench_scenario_t  *scenario;

    load = bench_load_alloc(sizeof(*load));

    if (bench_load_parse(load, argc, argv) != BENCH_OK) {
        bench_load_usage();
        return 2;
    }

    for (scenario = bench_scenarios; scenario->name; scenario++) {
        if (strcmp(scenario->name, load->scenario) == 0) {
            break;
        }
    }

    if (scenario->name == NULL) {
        bench_load_usage();
        return 2;
    }

    if (bench_load_init_process(load) != BENCH_OK
        || bench_load_init(load) != BENCH_OK)
    {
        return 2;
    }

    return scenario->run(load);
}
