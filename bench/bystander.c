
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The bystander: a client that is no part of the fan-out asks the same
 * server for an empty page, a pause after each answer.  What it waits for is
 * the rest of a round of the server's event loop, so the longest wait is about
 * the longest round.  A process of its own, so that the load's work is not
 * taken for the server's; it shares the load's processor and goes before it,
 * if that is allowed.  How late it wakes from its pauses tells whether it did.
 */


#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


#define BENCH_BYSTANDER_PAUSE     2000000ULL
#define BENCH_BYSTANDER_PATIENCE  10            /* seconds */
#define BENCH_BYSTANDER_ANSWER    1024


static int
bench_bystander_connect(bench_load_t *load)
{
    int             fd, on;
    struct timeval  tv;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        perror("load: socket()");
        return -1;
    }

    on = 1;
    tv.tv_sec = BENCH_BYSTANDER_PATIENCE;
    tv.tv_usec = 0;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == -1
        || connect(fd, (struct sockaddr *) &load->server, sizeof(load->server))
           == -1)
    {
        perror("load: bystander's connect()");
        close(fd);
        return -1;
    }

    return fd;
}


int
bench_bystander_ask(bench_load_t *load, int fd)
{
    int      n;
    char    *end, text[BENCH_BYSTANDER_ANSWER];
    size_t   len;
    ssize_t  got;

    n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n\r\n",
                 bench_dialect_find("http")->subscribe_path, load->host,
                 load->port);

    if (send(fd, text, n, MSG_NOSIGNAL) != n) {
        return BENCH_ERROR;
    }

    len = 0;

    do {
        got = recv(fd, text + len, sizeof(text) - len, 0);

        if (got <= 0) {
            return BENCH_ERROR;
        }

        len += got;
        end = memmem(text, len, "\r\n\r\n", 4);

    } while (end == NULL);

    return end + 4 == text + len && memcmp(text, "HTTP/1.1 200", 12) == 0
           ? BENCH_OK : BENCH_ERROR;
}


/* until the time, which is over when it returns */

static void
bench_bystander_pause(uint64_t until)
{
    struct timespec  ts;

    ts.tv_sec = until / BENCH_SECOND;
    ts.tv_nsec = until % BENCH_SECOND;

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)
           == EINTR)
    {
        /* void */
    }
}


static int
bench_bystander_turn(bench_load_t *load, int fd)
{
    uint32_t         measured, measuring;
    uint64_t         due, asked, answered;
    bench_shared_t  *sh;

    sh = load->shared;

    due = bench_load_now() + BENCH_BYSTANDER_PAUSE;
    bench_bystander_pause(due);

    measured = __atomic_load_n(&sh->measured, __ATOMIC_ACQUIRE);
    measuring = __atomic_load_n(&sh->measuring, __ATOMIC_ACQUIRE);

    asked = bench_load_now();

    if (bench_bystander_ask(load, fd) != BENCH_OK) {
        (void) fprintf(stderr, "load: the bystander got no answer\n");
        return BENCH_ERROR;
    }

    answered = bench_load_now();

    /* a wait may be longer than what is measured */

    if (measuring
        || __atomic_load_n(&sh->measured, __ATOMIC_ACQUIRE) != measured)
    {
        bench_hist_add(&sh->bystander->latency, answered - asked);
        bench_hist_add(&sh->bystander->late, asked - due);
    }

    return BENCH_OK;
}


void
bench_bystander_run(bench_load_t *load)
{
    int                  fd;
    bench_bystander_t   *by;
    struct sched_param   param;

    by = load->shared->bystander;

    param.sched_priority = sched_get_priority_min(SCHED_FIFO);
    by->first = (sched_setscheduler(0, SCHED_FIFO, &param) == 0);

    fd = bench_bystander_connect(load);

    while (!__atomic_load_n(&load->shared->stop, __ATOMIC_ACQUIRE)) {

        if (fd == -1 || bench_bystander_turn(load, fd) != BENCH_OK) {
            __atomic_store_n(&by->failed, 1, __ATOMIC_RELEASE);
            return;
        }
    }
}
