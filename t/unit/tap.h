
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * TAP (Test Anything Protocol) output for the unit tests, so that "prove"
 * can run them as they are.  Every test is one program that includes this
 * file once, after the nginx headers:
 *
 *     int
 *     main(void)
 *     {
 *         tap_ok(1 + 1 == 2, "one and one is %d", 2);
 *         return tap_done();
 *     }
 */


#ifndef _NGX_SNORKY_TAP_H_INCLUDED_
#define _NGX_SNORKY_TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define tap_ok(cond, ...)                                                    \
    tap_ok_at(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

/* both values are printed when they differ */

#define tap_is_int(got, expected, ...)                                       \
    tap_is_int_at((long long) (got), (long long) (expected),                 \
                  __FILE__, __LINE__, __VA_ARGS__)

/* bytes with a length against a C string or, _mem, bytes with a length */

#define tap_is_str(got, len, expected, ...)                                  \
    tap_is_mem_at(got, len, expected, strlen(expected),                      \
                  __FILE__, __LINE__, __VA_ARGS__)

#define tap_is_mem(got, len, expected, expected_len, ...)                    \
    tap_is_mem_at(got, len, expected, expected_len,                          \
                  __FILE__, __LINE__, __VA_ARGS__)


typedef struct {
    unsigned   run;
    unsigned   failed;
    uint64_t   random;
} tap_t;


static tap_t  tap;


__attribute__((format(printf, 1, 2)))
static inline void
tap_diag(const char *fmt, ...)
{
    va_list  args;

    printf("# ");

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);
}


static inline int
tap_report(int cond, const char *file, int line, const char *fmt, va_list args)
{
    tap.run++;

    printf("%sok %u - ", cond ? "" : "not ", tap.run);
    vprintf(fmt, args);
    printf("\n");
    fflush(stdout);

    if (!cond) {
        tap.failed++;
        tap_diag("failed at %s line %d", file, line);
    }

    return cond;
}


__attribute__((format(printf, 4, 5)))
static inline int
tap_ok_at(int cond, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    tap_report(cond, file, line, fmt, args);
    va_end(args);

    return cond;
}


__attribute__((format(printf, 5, 6)))
static inline int
tap_is_int_at(long long got, long long expected, const char *file, int line,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    tap_report(got == expected, file, line, fmt, args);
    va_end(args);

    if (got != expected) {
        tap_diag("     got: %lld", got);
        tap_diag("expected: %lld", expected);
    }

    return got == expected;
}


static inline void
tap_dump(const char *label, const void *data, size_t len)
{
    size_t                i;
    const unsigned char  *p;

    p = data;

    printf("# %s: (%zu bytes) ", label, len);

    for (i = 0; i < len && i < 400; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
            putchar(p[i]);

        } else {
            printf("\\x%02x", p[i]);
        }
    }

    printf("%s\n", i < len ? "..." : "");
    fflush(stdout);
}


__attribute__((format(printf, 7, 8)))
static inline int
tap_is_mem_at(const void *got, size_t len, const void *expected,
    size_t expected_len, const char *file, int line, const char *fmt, ...)
{
    int      same;
    va_list  args;

    same = len == expected_len
           && (len == 0 || memcmp(got, expected, len) == 0);

    va_start(args, fmt);
    tap_report(same, file, line, fmt, args);
    va_end(args);

    if (!same) {
        tap_dump("     got", got, len);
        tap_dump("expected", expected, expected_len);
    }

    return same;
}


/*
 * Starts the random numbers with the seed in the environment variable
 * TAP_SEED, or else with one of the moment; prints it either way.
 */

static inline uint64_t
tap_seed(void)
{
    char      *env;
    uint64_t   seed;

    env = getenv("TAP_SEED");

    if (env != NULL) {
        seed = strtoull(env, NULL, 10);

    } else {
        seed = (uint64_t) time(NULL) * 100003 + (uint64_t) getpid();
    }

    tap_diag("TAP_SEED=%llu", (unsigned long long) seed);

    tap.random = seed;

    return seed;
}


/* 64 random bits: a counter through a mixing function, so any seed will do */

static inline uint64_t
tap_random(void)
{
    uint64_t  x;

    tap.random += UINT64_C(0xd1342543de82ef95);

    x = tap.random;
    x ^= x >> 32;
    x *= UINT64_C(0xdaba0b6eb09322e3);
    x ^= x >> 32;
    x *= UINT64_C(0xdaba0b6eb09322e3);
    x ^= x >> 32;

    return x;
}


/* a random number below n, n > 0 */

static inline uint64_t
tap_random_below(uint64_t n)
{
    return tap_random() % n;
}


/* prints the plan; its value is for main() to return */

static inline int
tap_done(void)
{
    printf("1..%u\n", tap.run);

    if (tap.failed) {
        tap_diag("%u of %u failed", tap.failed, tap.run);
    }

    fflush(stdout);

    return tap.failed != 0 || tap.run == 0;
}


#endif /* _NGX_SNORKY_TAP_H_INCLUDED_ */
