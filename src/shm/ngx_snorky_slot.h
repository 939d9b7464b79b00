
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A slot is a worker's seat in the zone.  Its number is the worker's place in
 * nginx's table of processes (ngx_process_slot), so that two living workers
 * never share one, whatever their generation, and so that whoever finds its
 * seat taken knows that the one who sat there is dead.
 *
 * The owner writes its slot without a lock, field by field; others read it so.
 * State, pid and generation change under the zone's mutex only.
 */


#ifndef _NGX_SNORKY_SLOT_H_INCLUDED_
#define _NGX_SNORKY_SLOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Loads and stores between processes.  The sequentially consistent order is
 * needed where two workers each write one word and then read the other's:
 * interest and log head, bell and log head, want of room and cursor.
 */

#define ngx_snorky_load(p)        __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define ngx_snorky_store(p, v)    __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define ngx_snorky_swap(p, v)     __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define ngx_snorky_fence()        __atomic_thread_fence(__ATOMIC_SEQ_CST)


/* What a worker counts; only its owner writes it.  Bytes are of payloads. */

typedef struct {
    /* gauges: what is there now */
    uint64_t                  sessions;
    uint64_t                  sessions_websocket;
    uint64_t                  sessions_echo;
    uint64_t                  sessions_sockjs;
    uint64_t                  subscriptions;
    uint64_t                  channels;
    uint64_t                  waiting;
    uint64_t                  calls;
    uint64_t                  events;

    /* counters: what has been since the worker's start */
    uint64_t                  connections;
    uint64_t                  messages_in;
    uint64_t                  messages_out;
    uint64_t                  bytes_in;
    uint64_t                  bytes_out;
    uint64_t                  compressions;
    uint64_t                  bytes_saved;
    uint64_t                  publications;
    uint64_t                  deliveries;
    uint64_t                  backend_requests;
    uint64_t                  malformed;
    uint64_t                  errors;
    uint64_t                  waits;
    uint64_t                  overloaded;
    uint64_t                  asks;
    uint64_t                  asks_failed;
    uint64_t                  calls_deferred;
    uint64_t                  calls_rejected;
    uint64_t                  calls_cancelled;
    uint64_t                  calls_timed_out;
    uint64_t                  authorized;
    uint64_t                  authorized_cached;
    uint64_t                  unauthorized;
    uint64_t                  events_sent;
    uint64_t                  events_retried;
    uint64_t                  events_dropped;
    uint64_t                  letters;
    uint64_t                  bells_sent;
    uint64_t                  bells_received;
    uint64_t                  revoked;
    uint64_t                  drops;
    uint64_t                  rejected_origin;
    uint64_t                  rejected_handshake;
    uint64_t                  rejected_limit;
    uint64_t                  closed_normal;
    uint64_t                  closed_lost;
    uint64_t                  closed_protocol;
    uint64_t                  closed_invalid;
    uint64_t                  closed_too_big;
    uint64_t                  closed_slow;
    uint64_t                  closed_timeout;
    uint64_t                  closed_restart;
    uint64_t                  closed_other;
} ngx_snorky_stats_t;

#define NGX_SNORKY_STATS_WORDS                                                \
    (sizeof(ngx_snorky_stats_t) / sizeof(uint64_t))

#define NGX_SNORKY_STATS_GAUGES                                               \
    (offsetof(ngx_snorky_stats_t, connections) / sizeof(uint64_t))


/* the interest filter: one bit for many topics, never a false "no" */
#define NGX_SNORKY_INTEREST_BITS   2048


typedef enum {
    NGX_SNORKY_SLOT_FREE = 0,
    NGX_SNORKY_SLOT_LIVE,
    NGX_SNORKY_SLOT_LOST        /* given up by the others, may come back */
} ngx_snorky_slot_e;


typedef struct {
    uint64_t                  state;
    uint64_t                  generation;   /* another for every owner */
    uint64_t                  pid;

    uint64_t                  cursor;       /* read the log up to here */
    uint64_t                  beat;         /* ngx_current_msec, last alive */
    uint64_t                  bell;         /* one has been rung, not heard */
    uint64_t                  wants_room;   /* its publishers wait */
    uint64_t                  quitting;

    uint64_t                  interest[NGX_SNORKY_INTEREST_BITS / 64];

    ngx_snorky_stats_t        stats;
} ngx_snorky_slot_t;


/* takes a free slot for this process, with its cursor at "position" */
void ngx_snorky_slot_take_locked(ngx_snorky_slot_t *slot,
    uint64_t generation, uint64_t position);

/* gives it back; what it counted is added to "ended", the gauges are not */
void ngx_snorky_slot_free_locked(ngx_snorky_slot_t *slot,
    ngx_snorky_stats_t *ended);

void ngx_snorky_stats_add(ngx_snorky_stats_t *sum, ngx_snorky_stats_t *stats,
    ngx_uint_t gauges);

/* for the owner; of a hash, only the place in the filter counts */
void ngx_snorky_slot_set_interest(ngx_snorky_slot_t *slot, uint64_t hash);
void ngx_snorky_slot_clear_interest(ngx_snorky_slot_t *slot, uint64_t hash);

/* for the others */
ngx_uint_t ngx_snorky_slot_interested(ngx_snorky_slot_t *slot, uint64_t hash);

/* whether the process that took the slot certainly is no more */
ngx_uint_t ngx_snorky_slot_dead(ngx_snorky_slot_t *slot);


#endif /* _NGX_SNORKY_SLOT_H_INCLUDED_ */
