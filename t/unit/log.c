
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Tests of the shared log: one process, then writers and readers in several
 * over shared memory, as workers are.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "ngx_snorky_log.h"
#include "tap.h"


#define LOG_SIZE  4096


typedef struct {
    ngx_snorky_log_t   log;
    uint64_t           lock;
    uint64_t           cursor[4];       /* of the readers */
    uint64_t           faults;          /* seen by them */
    uint64_t           done;            /* writers that have ended */
    u_char             ring[LOG_SIZE] __attribute__((aligned(64)));
} shared_t;


static u_char  log_ring[LOG_SIZE] __attribute__((aligned(64)));


static ngx_int_t
append(ngx_snorky_log_t *log, const char *name, const char *text)
{
    u_char                   *p;
    uint64_t                  place;
    ngx_snorky_log_record_t  *record;

    place = log->head;

    record = ngx_snorky_log_reserve_locked(log, &place,
                                           strlen(name) + strlen(text));

    if (record == NULL) {
        return NGX_AGAIN;
    }

    record->hash = 42;
    record->except = 0;
    record->name = (uint32_t) strlen(name);
    record->text = (uint32_t) strlen(text);
    record->only = 0;

    p = ngx_cpymem(ngx_snorky_log_data(record), name, strlen(name));
    ngx_memcpy(p, text, strlen(text));

    ngx_snorky_log_commit_locked(log, place);

    return NGX_OK;
}


static void
test_order(void)
{
    u_char                   *data;
    uint64_t                  cursor;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t   record;

    ngx_snorky_log_init(&log, log_ring, LOG_SIZE + 63);

    tap_is_int(log.size, LOG_SIZE, "a size is cut to whole lines");

    cursor = 0;

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_DONE,
               "there is nothing to read in an empty log");

    append(&log, "one", "first");
    append(&log, "two", "");

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_OK,
               "a record is read");
    tap_is_mem(data, record.name, "one", 3, "it has its name");
    tap_is_mem(data + record.name, record.text, "first", 5, "and its text");
    tap_is_int(record.hash, 42, "and its hash");
    tap_is_int(record.position, 0, "its position is its number");
    tap_is_int(record.size, 64, "it takes whole lines");

    cursor += record.size;

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_OK,
               "then the next");
    tap_is_mem(data, record.name, "two", 3, "which has its own name");
    tap_is_int(record.text, 0, "and may have no text");

    cursor += record.size;

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_DONE,
               "then nothing");
}


static void
test_uncommitted(void)
{
    u_char                   *data;
    uint64_t                  cursor;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t   record;

    ngx_snorky_log_init(&log, log_ring, LOG_SIZE);

    cursor = 0;
    (void) ngx_snorky_log_reserve_locked(&log, &cursor, 1010);

    cursor = 0;

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_DONE,
               "a record that was not committed does not exist");

    append(&log, "name", "other");

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data), NGX_OK,
               "and the next one takes its place");
    tap_is_mem(data + record.name, record.text, "other", 5, "whole");
}


static void
test_full(void)
{
    u_char                   *data;
    uint64_t                  cursor;
    ngx_uint_t                n, read;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t   record;

    ngx_snorky_log_init(&log, log_ring, LOG_SIZE);

    for (n = 0; append(&log, "name", "text") == NGX_OK; n++) { /* void */ }

    tap_is_int(n, LOG_SIZE / 64, "a log takes records until it is full");
    tap_is_int(log.head, LOG_SIZE, "to its last byte");

    cursor = 0;

    for (read = 0;
         ngx_snorky_log_read(&log, &cursor, &record, &data) == NGX_OK;
         read++)
    {
        cursor += record.size;
    }

    tap_is_int(read, n, "they are all there");

    tap_is_int(append(&log, "name", "text"), NGX_AGAIN,
               "it stays full until its tail moves");

    log.tail = 64;

    tap_is_int(append(&log, "name", "text"), NGX_OK, "then it takes one");
    tap_is_int(append(&log, "name", "text"), NGX_AGAIN, "and no more");

    cursor = 0;

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &record, &data),
               NGX_DECLINED, "a reader that was overtaken is told so");
}


/* what is reserved one behind the other is committed at once, or not at all */

static void
test_together(void)
{
    u_char                   *data;
    uint64_t                  cursor, place;
    ngx_uint_t                i;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t  *record, copy;

    ngx_snorky_log_init(&log, log_ring, LOG_SIZE);

    cursor = 0;
    place = 0;

    for (i = 1; i <= 3; i++) {
        record = ngx_snorky_log_reserve_locked(&log, &place, i);

        record->name = (uint32_t) i;
        record->text = 0;
        record->only = 0;
    }

    tap_is_int(ngx_snorky_log_read(&log, &cursor, &copy, &data), NGX_DONE,
               "of several records none exists before they are committed");

    ngx_snorky_log_commit_locked(&log, place);

    for (i = 1; i <= 3; i++) {
        tap_is_int(ngx_snorky_log_read(&log, &cursor, &copy, &data), NGX_OK,
                   "then they all do");
        tap_is_int(copy.name, (int) i, "in their order");

        cursor += copy.size;
    }

    while (ngx_snorky_log_reserve_locked(&log, &place, 1000)) {
        /* void */
    }

    tap_is_int(log.head, cursor, "what has no room any more is no harm");
}


static void
test_fits(void)
{
    size_t             largest;
    ngx_snorky_log_t   log;

    ngx_snorky_log_init(&log, log_ring, LOG_SIZE);

    largest = LOG_SIZE / NGX_SNORKY_LOG_SHARE
              - sizeof(ngx_snorky_log_record_t);

    tap_ok(ngx_snorky_log_fits(&log, largest),
           "a record may be a quarter of the log");
    tap_ok(!ngx_snorky_log_fits(&log, largest + 1), "but not larger");
}


/* whatever fits finds room in an empty log, wherever its head stands */

static void
test_wrap(void)
{
    u_char                   *data;
    uint64_t                  start, cursor, end;
    ngx_uint_t                failed;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t  *place, record;

    failed = 0;

    for (start = 0; start < 3 * LOG_SIZE; start += 64) {

        ngx_snorky_log_init(&log, log_ring, LOG_SIZE);
        log.head = start;
        log.tail = start;

        end = start;
        place = ngx_snorky_log_reserve_locked(&log, &end, 908);

        if (place == NULL) {
            failed++;
            continue;
        }

        place->name = 4;
        place->text = 900;
        place->only = 4;

        ngx_memset(ngx_snorky_log_data(place), 'x', 908);
        ngx_snorky_log_commit_locked(&log, end);

        cursor = start;

        if (ngx_snorky_log_read(&log, &cursor, &record, &data) != NGX_OK
            || record.text != 900
            || data + 908 > log_ring + LOG_SIZE
            || cursor + record.size != log.head)
        {
            failed++;
        }
    }

    tap_is_int(failed, 0, "a record is in one piece wherever the head stands");
}


/* heads that are torn or nonsense never lead out of the ring */

static void
test_nonsense(void)
{
    u_char                   *data;
    uint64_t                  cursor;
    ngx_int_t                 rc;
    ngx_uint_t                n, outside;
    ngx_snorky_log_t          log;
    ngx_snorky_log_record_t  *place, record;

    outside = 0;

    for (n = 0; n < 100000; n++) {

        ngx_snorky_log_init(&log, log_ring, LOG_SIZE);
        log.head = LOG_SIZE;

        place = (ngx_snorky_log_record_t *) log_ring;

        place->position = 0;
        place->type = tap_random() % 3;
        place->size = (uint32_t) (tap_random() >> (tap_random() % 64));
        place->name = (uint32_t) (tap_random() >> (tap_random() % 64));
        place->text = (uint32_t) (tap_random() >> (tap_random() % 64));
        place->only = (uint32_t) (tap_random() >> (tap_random() % 64));

        if (tap_random() % 2) {
            place->size = (uint32_t) ngx_snorky_log_record_size(
                               (size_t) place->name + place->text
                               + place->only);
        }

        cursor = 0;
        rc = ngx_snorky_log_read(&log, &cursor, &record, &data);

        if (rc == NGX_OK
            && (uint64_t) (data - log_ring) + record.name + record.text
               + record.only > LOG_SIZE)
        {
            outside++;
        }
    }

    tap_is_int(outside, 0, "lengths in a record never leave the ring");
}


static void
shared_lock(shared_t *shared)
{
    while (ngx_snorky_swap(&shared->lock, 1)) {
        sched_yield();
    }
}


static uint64_t
shared_tail(shared_t *shared)
{
    uint64_t    tail, cursor;
    ngx_uint_t  i;

    tail = ngx_snorky_load(&shared->log.head);

    for (i = 0; i < 4; i++) {
        cursor = ngx_snorky_load(&shared->cursor[i]);
        tail = ngx_min(tail, cursor);
    }

    return tail;
}


static void
write_many(shared_t *shared, ngx_uint_t writer, ngx_uint_t n)
{
    char        text[512];
    size_t      len, filler;
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < n; /* void */ ) {

        len = snprintf(text, 64, "%lu %lu ", (unsigned long) writer,
                       (unsigned long) i);
        filler = tap_random_below(400);

        ngx_memset(text + len, 'a' + i % 26, filler);
        text[len + filler] = '\0';

        shared_lock(shared);
        shared->log.tail = shared_tail(shared);
        rc = append(&shared->log, "topic", text);
        ngx_snorky_store(&shared->lock, 0);

        if (rc == NGX_OK) {
            i++;

        } else {
            sched_yield();
        }
    }

    (void) __atomic_add_fetch(&shared->done, 1, __ATOMIC_SEQ_CST);
}


/* every reader gets every writer's records, each in its order; returns a sum */

static uint64_t
read_all(shared_t *shared, ngx_uint_t reader, ngx_uint_t writers, ngx_uint_t n)
{
    char                      text[512], *end;
    u_char                   *data;
    uint64_t                  cursor, sum;
    ngx_int_t                 rc;
    ngx_uint_t                next[4], left, writer, i;
    ngx_snorky_log_record_t   record;

    ngx_memzero(next, sizeof(next));

    left = writers * n;
    cursor = 0;
    sum = 0;

    while (left) {

        rc = ngx_snorky_log_read(&shared->log, &cursor, &record, &data);

        if (rc == NGX_DONE) {
            sched_yield();
            continue;
        }

        if (rc != NGX_OK || record.text >= sizeof(text)) {
            (void) __atomic_add_fetch(&shared->faults, 1, __ATOMIC_SEQ_CST);
            return 0;
        }

        ngx_memcpy(text, data + record.name, record.text);
        text[record.text] = '\0';

        writer = strtoul(text, &end, 10);
        i = strtoul(end, &end, 10);

        if (writer >= writers || next[writer] != i) {
            (void) __atomic_add_fetch(&shared->faults, 1, __ATOMIC_SEQ_CST);
            return 0;
        }

        for (end++; *end; end++) {
            if (*end != (char) ('a' + i % 26)) {
                (void) __atomic_add_fetch(&shared->faults, 1,
                                          __ATOMIC_SEQ_CST);
                return 0;
            }
        }

        next[writer]++;
        left--;

        sum = sum * 31 + writer;

        cursor += record.size;
        ngx_snorky_store(&shared->cursor[reader], cursor);
    }

    return sum;
}


static void
test_processes(void)
{
    pid_t        pid[7];
    int          status;
    uint64_t    *sums;
    shared_t    *shared;
    ngx_uint_t   i, n, failed;

    n = 20000;

    shared = mmap(NULL, sizeof(shared_t) + 4 * sizeof(uint64_t),
                  PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED) {
        tap_ok(0, "mmap");
        return;
    }

    sums = (uint64_t *) (shared + 1);

    ngx_snorky_log_init(&shared->log, shared->ring, LOG_SIZE);

    for (i = 0; i < 7; i++) {
        pid[i] = fork();

        if (pid[i] == 0) {
            tap.random += i;

            if (i < 3) {
                write_many(shared, i, n);

            } else {
                sums[i - 3] = read_all(shared, i - 3, 3, n);
            }

            _exit(0);
        }
    }

    failed = 0;

    for (i = 0; i < 7; i++) {
        if (waitpid(pid[i], &status, 0) == -1 || status != 0) {
            failed++;
        }
    }

    tap_is_int(failed, 0, "three writers and four readers come to their end");
    tap_is_int(shared->faults, 0, "nothing is lost, torn or out of order");
    tap_ok(sums[0] == sums[1] && sums[0] == sums[2] && sums[0] == sums[3],
           "and all readers have seen one order");

    (void) munmap(shared, sizeof(shared_t) + 4 * sizeof(uint64_t));
}


int
main(void)
{
    (void) tap_seed();

    test_order();
    test_uncommitted();
    test_full();
    test_together();
    test_fits();
    test_wrap();
    test_nonsense();
    test_processes();

    return tap_done();
}
