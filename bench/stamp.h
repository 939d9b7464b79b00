
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The stamp at the head of every payload: who published it, its number among
 * that publisher's publications to that channel, and when.  '!' and then 32
 * characters '@' to 'O' with four bits each: of one width, so that it is read
 * in place with a few shifts, and free of what JSON would escape.
 */


#ifndef _BENCH_STAMP_H_INCLUDED_
#define _BENCH_STAMP_H_INCLUDED_


#include <stdint.h>
#include <string.h>
#include <sys/types.h>


#define BENCH_STAMP_LEN        33
#define BENCH_STAMP_SEQ_BITS   48


typedef struct {
    uint64_t    key;            /* publisher << 48 | number */
    uint64_t    time;           /* CLOCK_MONOTONIC, nanoseconds */
} bench_stamp_t;


/* eight characters, most significant first, to 32 bits */

static inline uint64_t
bench_stamp_half(const u_char *p)
{
    uint64_t  x;

    memcpy(&x, p, 8);

    x = __builtin_bswap64(x) & 0x0f0f0f0f0f0f0f0fULL;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffULL;
    x = (x | x >> 8) & 0x0000ffff0000ffffULL;

    return (x | x >> 16) & 0xffffffff;
}


static inline void
bench_stamp_read(const u_char *p, bench_stamp_t *s)
{
    s->key = bench_stamp_half(p + 1) << 32 | bench_stamp_half(p + 9);
    s->time = bench_stamp_half(p + 17) << 32 | bench_stamp_half(p + 25);
}


static inline void
bench_stamp_write(u_char *p, const bench_stamp_t *s)
{
    int  i;

    p[0] = '!';

    for (i = 0; i < 16; i++) {
        p[1 + i] = '@' | (s->key >> (60 - 4 * i) & 0x0f);
        p[17 + i] = '@' | (s->time >> (60 - 4 * i) & 0x0f);
    }
}


#endif /* _BENCH_STAMP_H_INCLUDED_ */
