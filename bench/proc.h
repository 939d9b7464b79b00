
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a server costs, read from outside: CPU time and memory of a master
 * process and its children, and the kernel's memory for sockets.
 */


#ifndef _BENCH_PROC_H_INCLUDED_
#define _BENCH_PROC_H_INCLUDED_


#include <stdint.h>
#include <sys/types.h>


#define BENCH_PROC_MAX   256


typedef struct {
    pid_t       pids[BENCH_PROC_MAX];
    int         n;
} bench_proc_t;

typedef struct {
    uint64_t    pss;            /* bytes, all from smaps_rollup */
    uint64_t    private_bytes;
    uint64_t    rss;
    uint64_t    kernel;         /* slab and socket buffers of the machine */
} bench_proc_memory_t;


/* the master and its children; BENCH_ERROR when there is no such process */
int bench_proc_find(bench_proc_t *proc, pid_t master);

/*
 * CPU time of them all, in nanoseconds.  BENCH_ERROR when one is gone:
 * then no difference of two readings means anything.
 */
int bench_proc_cpu(const bench_proc_t *proc, uint64_t *cpu);

int bench_proc_memory(const bench_proc_t *proc, bench_proc_memory_t *m);

/* user, and system time too, of this process, in nanoseconds */
uint64_t bench_proc_self(uint64_t *user);


#endif /* _BENCH_PROC_H_INCLUDED_ */
