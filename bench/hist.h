
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A histogram of nanoseconds with logarithmic buckets: 64 to each power of
 * two, so a quantile is at most 1/64 above the truth.
 */


#ifndef _BENCH_HIST_H_INCLUDED_
#define _BENCH_HIST_H_INCLUDED_


#include <stdint.h>


#define BENCH_HIST_BITS   6
#define BENCH_HIST_SIZE   ((64 - BENCH_HIST_BITS + 1) << BENCH_HIST_BITS)


typedef struct {
    uint64_t    buckets[BENCH_HIST_SIZE];
    uint64_t    max;
} bench_hist_t;


/* the upper bound of the bucket in which the quantile lies; 0 when empty */
uint64_t bench_hist_quantile(const bench_hist_t *h, double q);

uint64_t bench_hist_count(const bench_hist_t *h);

void bench_hist_merge(bench_hist_t *h, const bench_hist_t *other);


static inline void
bench_hist_add(bench_hist_t *h, uint64_t value)
{
    int  shift;

    if (value > h->max) {
        h->max = value;
    }

    if (value < 1 << BENCH_HIST_BITS) {
        h->buckets[value]++;
        return;
    }

    shift = 63 - __builtin_clzll(value) - BENCH_HIST_BITS;

    h->buckets[((uint64_t) shift << BENCH_HIST_BITS) + (value >> shift)]++;
}


#endif /* _BENCH_HIST_H_INCLUDED_ */
