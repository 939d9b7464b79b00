
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Reads /proc for the scenarios.  Owns nothing.
 */


#include "proc.h"
#include "ws.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>


/* the file as a string; BENCH_ERROR when it cannot be read */

static int
bench_proc_read(const char *name, char *buf, size_t size)
{
    int      fd;
    size_t   len;
    ssize_t  n;

    fd = open(name, O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return BENCH_ERROR;
    }

    len = 0;

    do {
        n = read(fd, buf + len, size - 1 - len);

        if (n > 0) {
            len += n;
        }

    } while (n > 0 && len < size - 1);

    close(fd);

    buf[len] = '\0';

    return n < 0 ? BENCH_ERROR : BENCH_OK;
}


int
bench_proc_find(bench_proc_t *proc, pid_t master)
{
    long   pid;
    char  *p, *end, name[64], buf[4096];

    proc->pids[0] = master;
    proc->n = 1;

    (void) snprintf(name, sizeof(name), "/proc/%d/task/%d/children",
                    (int) master, (int) master);

    if (bench_proc_read(name, buf, sizeof(buf)) != BENCH_OK) {
        return BENCH_ERROR;
    }

    for (p = buf; proc->n < BENCH_PROC_MAX; p = end) {
        pid = strtol(p, &end, 10);

        if (end == p) {
            break;
        }

        proc->pids[proc->n++] = (pid_t) pid;
    }

    return BENCH_OK;
}


/* the clocks are exact, where the fields of /proc count ticks */

int
bench_proc_cpu(const bench_proc_t *proc, uint64_t *cpu)
{
    int              i;
    clockid_t        clock;
    struct timespec  ts;

    *cpu = 0;

    for (i = 0; i < proc->n; i++) {

        if (clock_getcpuclockid(proc->pids[i], &clock) != 0
            || clock_gettime(clock, &ts) == -1)
        {
            return BENCH_ERROR;
        }

        *cpu += (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
    }

    return BENCH_OK;
}


/* the number behind a word at the start of a line, or 0 */

static uint64_t
bench_proc_field(const char *buf, const char *word)
{
    size_t       len;
    const char  *p;

    len = strlen(word);

    for (p = buf; p; p = strchr(p, '\n')) {

        if (*p == '\n') {
            p++;
        }

        if (strncmp(p, word, len) == 0) {
            return strtoull(p + len, NULL, 10);
        }
    }

    return 0;
}


static uint64_t
bench_proc_kernel(void)
{
    char      *p, buf[8192];
    uint64_t   n;

    n = 0;

    if (bench_proc_read("/proc/meminfo", buf, sizeof(buf)) == BENCH_OK) {
        n += bench_proc_field(buf, "Slab:") * 1024;
    }

    if (bench_proc_read("/proc/net/sockstat", buf, sizeof(buf)) == BENCH_OK) {
        p = strstr(buf, "TCP:");
        p = p ? strstr(p, " mem ") : NULL;
        n += p ? strtoull(p + 5, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
    }

    return n;
}


int
bench_proc_memory(const bench_proc_t *proc, bench_proc_memory_t *m)
{
    int   i;
    char  name[64], buf[4096];

    memset(m, 0, sizeof(*m));

    for (i = 0; i < proc->n; i++) {
        (void) snprintf(name, sizeof(name), "/proc/%d/smaps_rollup",
                        (int) proc->pids[i]);

        if (bench_proc_read(name, buf, sizeof(buf)) != BENCH_OK) {
            return BENCH_ERROR;
        }

        m->pss += bench_proc_field(buf, "Pss:") * 1024;
        m->rss += bench_proc_field(buf, "Rss:") * 1024;
        m->private_bytes += bench_proc_field(buf, "Private_Clean:") * 1024;
        m->private_bytes += bench_proc_field(buf, "Private_Dirty:") * 1024;
    }

    m->kernel = bench_proc_kernel();

    return BENCH_OK;
}


uint64_t
bench_proc_self(uint64_t *user)
{
    struct rusage  ru;

    (void) getrusage(RUSAGE_SELF, &ru);

    *user = (uint64_t) ru.ru_utime.tv_sec * 1000000000
            + (uint64_t) ru.ru_utime.tv_usec * 1000;

    return *user + (uint64_t) ru.ru_stime.tv_sec * 1000000000
           + (uint64_t) ru.ru_stime.tv_usec * 1000;
}
