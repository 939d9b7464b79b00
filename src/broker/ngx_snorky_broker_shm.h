
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The state of the broker over shared memory, for its files: the log and this
 * worker's slot (_shm.c), changes of the store (_change.c), the holds of those
 * who have gone (_reap.c), who is counted (_tally.c), whom to wake (_wake.c),
 * who is lost (_judge.c).
 */


#ifndef _NGX_SNORKY_BROKER_SHM_H_INCLUDED_
#define _NGX_SNORKY_BROKER_SHM_H_INCLUDED_


#include "ngx_snorky_bell.h"
#include "ngx_snorky_broker.h"


/* topics of one round, before the bells are rung in its midst */
#define NGX_SNORKY_BROKER_NEWS  16


struct ngx_snorky_broker_s {
    ngx_snorky_zone_t             *zone;
    ngx_snorky_slot_t             *slot;        /* NULL: no seat */
    uint64_t                       generation;
    uint64_t                       epoch;       /* of the store */
    uint64_t                       sessions;    /* so many have had a number */
    ngx_queue_t                    parted;      /* holds, to be released */

    /* of clients that have gone while the mutex could not be had */
    ngx_snorky_store_tally_t     **departed;
    ngx_uint_t                     ndeparted;
    ngx_uint_t                     departed_size;

    /* channels that were vacated, until the mutex is free */
    u_char                        *vacated;
    size_t                         vacated_len;
    size_t                         vacated_size;
    size_t                         vacated_need;

    /* what is to be told when it can be */
    uint64_t                       predecessor; /* dead; 0: none */
    uint64_t                       reset;       /* sequence; 0: none */

    ngx_snorky_stats_t            *stats;       /* the slot's, if it has one */
    ngx_snorky_stats_t             spare;

    ngx_snorky_bell_t              bell;
    ngx_event_t                    tick;
    ngx_event_t                    room_tick;
    ngx_event_t                    more;        /* of the log, next round */
    ngx_event_t                    ring;        /* the others' bells */
    ngx_connection_t               dummy;       /* what a timer's log needs */

    ngx_msec_t                     worker_timeout;
    ngx_msec_t                     ticked;
    ngx_msec_t                     judges_from;
    ngx_msec_t                     period;

    ngx_snorky_broker_handlers_t  *handlers;
    void                          *data;
    ngx_cycle_t                   *cycle;
    ngx_log_t                     *log;

    /* topics of what was appended since the bells were rung */
    uint64_t                       news[NGX_SNORKY_BROKER_NEWS];
    ngx_uint_t                     nnews;

    /* listeners by bit of the interest filter */
    uint32_t                       interest[NGX_SNORKY_INTEREST_BITS];

#if (NGX_SNORKY_FAULTS)
    ngx_uint_t                     fault;
    ngx_uint_t                     fault_after;
    int                            fault_signal;
    ngx_uint_t                     appends;
#endif

    /* who has the zone's mutex, while it can't be had, and since when */
    ngx_pid_t                      holder;
    ngx_msec_t                     holder_since;

    unsigned                       seated:1;    /* the zone has its place */
    unsigned                       blocked:1;   /* it could not be had */
    unsigned                       draining:1;
    unsigned                       asked_to_quit:1;
    unsigned                       asked_at_once:1;
    unsigned                       abandoned:1;
};


/* the zone's mutex; 0: it can't be had now */
ngx_uint_t ngx_snorky_broker_lock(ngx_snorky_broker_t *broker);

/* whether the slot and the store still are those that this worker knows */
ngx_uint_t ngx_snorky_broker_live(ngx_snorky_broker_t *broker);

/* writes a text into the log at *place, which moves on; NGX_AGAIN: full */
ngx_int_t ngx_snorky_broker_put_locked(ngx_snorky_broker_t *broker,
    uint64_t *place, ngx_snorky_broker_text_t *text);

#define ngx_snorky_broker_text_size(text)                                     \
    ((text)->name.len + (text)->only.len + (text)->len)

/* the slot changes hands: what has parted is not this worker's any more */
void ngx_snorky_broker_forget_parted(ngx_snorky_broker_t *broker);

/* releases what can be: the parted, the orphans, those who wait too long */
void ngx_snorky_broker_reap(ngx_snorky_broker_t *broker);

/* tells what was found under the mutex, or before there was a hub */
void ngx_snorky_broker_tell(ngx_snorky_broker_t *broker);

/* takes off the tallies what is to be: the departed, the orphans */
void ngx_snorky_broker_settle(ngx_snorky_broker_t *broker);

/* the rest of the log is delivered in the next round */
#define ngx_snorky_broker_drain_later(broker)                                 \
    ngx_post_event(&(broker)->more, &ngx_posted_next_events)

#if (NGX_SNORKY_FAULTS)
void ngx_snorky_broker_fault(ngx_snorky_broker_t *broker, ngx_uint_t place);
#else
#define ngx_snorky_broker_fault(broker, place)
#endif

/*
 * This worker's publishers want room: wakes those who hold it up.  The caller
 * looks at the log once more afterwards.
 */

void ngx_snorky_broker_wake_want_room(ngx_snorky_broker_t *broker);

/* this worker has read on, or has gone: wakes those who want room */
void ngx_snorky_broker_wake_give_room(ngx_snorky_broker_t *broker);

/*
 * There is a new record: wakes those who listen, when the events of this round
 * have been dealt with and before any socket is written to.  So what is
 * published together is heard together.
 */

void ngx_snorky_broker_wake_listeners(ngx_snorky_broker_t *broker,
    uint64_t hash);

/* does so now */
void ngx_snorky_broker_wake_ring(ngx_snorky_broker_t *broker);

/* finds the dead and the lost among the other workers, unless "late" itself */
void ngx_snorky_broker_judge_others(ngx_snorky_broker_t *broker,
    ngx_uint_t late);


#endif /* _NGX_SNORKY_BROKER_SHM_H_INCLUDED_ */
