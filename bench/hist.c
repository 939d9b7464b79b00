
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Quantiles of a histogram, for the reports.
 */


#include "hist.h"


uint64_t
bench_hist_count(const bench_hist_t *h)
{
    int       i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        n += h->buckets[i];
    }

    return n;
}


void
bench_hist_merge(bench_hist_t *h, const bench_hist_t *other)
{
    int  i;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        h->buckets[i] += other->buckets[i];
    }

    if (other->max > h->max) {
        h->max = other->max;
    }
}


/* the largest value that falls into a bucket */

static uint64_t
bench_hist_bound(int i)
{
    int  shift;

    if (i < 1 << (BENCH_HIST_BITS + 1)) {
        return i;
    }

    shift = (i >> BENCH_HIST_BITS) - 1;

    return ((uint64_t) (i - (shift << BENCH_HIST_BITS) + 1) << shift) - 1;
}


uint64_t
bench_hist_quantile(const bench_hist_t *h, double q)
{
    int       i;
    uint64_t  n, rank, bound;

    n = bench_hist_count(h);

    if (n == 0) {
        return 0;
    }

    rank = (uint64_t) (q * (double) n);

    if (rank >= n) {
        rank = n - 1;
    }

    for (i = 0; i < BENCH_HIST_SIZE; i++) {

        if (rank < h->buckets[i]) {
            bound = bench_hist_bound(i);
            return bound < h->max ? bound : h->max;
        }

        rank -= h->buckets[i];
    }

    return h->max;
}
