
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The broker makes the workers one server: what one publishes, all deliver,
 * in one order.  This is its interface to the core; ngx_snorky_broker_shm.c
 * keeps it over the zone's log and the bells.
 */


#ifndef _NGX_SNORKY_BROKER_H_INCLUDED_
#define _NGX_SNORKY_BROKER_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_journal.h"
#include "ngx_snorky_msg.h"
#include "ngx_snorky_tally.h"
#include "ngx_snorky_zone.h"


typedef struct ngx_snorky_broker_s  ngx_snorky_broker_t;


/* What the broker tells the core; none of them is called inside another. */

typedef struct {

    /* whether anybody here is in a topic with this name, and the topic */
    void                   *(*find)(void *data, uint64_t hash,
                                    ngx_str_t *name);

    /*
     * A text for the topic that find() gave; in the log's order.  Not for the
     * session of the number "except"; if "only" has a length, for clients of
     * that identity alone.  NGX_OK, or NGX_ERROR: it is lost here.
     */
    ngx_int_t               (*deliver)(void *data, void *topic,
                                       ngx_snorky_msg_t *msg,
                                       uint64_t except, ngx_str_t *only);

    /* the log may have room again */
    void                    (*room)(void *data);

    /*
     * The other workers have given this one up, and went on without it:
     * between what was delivered here and what comes now, there is a gap.
     */
    void                    (*lost)(void *data);

    /*
     * nginx asks this worker to quit; at_once: its zone is retired, which may
     * be told in a second call.
     */
    void                    (*quit)(void *data, ngx_uint_t at_once);

    /*
     * A channel that was occupied has no listener on any worker any more; its
     * topic's name.  The last one may have been in a worker that is dead.
     */
    void                    (*vacated)(void *data, ngx_str_t *name,
                                       uint64_t sequence);

    /*
     * The worker with this generation has died, or was given up.  It is told
     * in one worker only.
     */
    void                    (*died)(void *data, uint64_t generation);

    /* so is this: no channel is occupied, whatever was told before */
    void                    (*reset)(void *data, uint64_t sequence);

} ngx_snorky_broker_handlers_t;


typedef struct {
    ngx_shm_zone_t                *shm_zone;
    ngx_msec_t                     worker_timeout;  /* stands still so long */
#if (NGX_SNORKY_FAULTS)
    ngx_uint_t                     fault;           /* where it strikes ... */
    ngx_uint_t                     fault_after;     /* ... at which append */
    int                            fault_signal;
#endif
} ngx_snorky_broker_conf_t;

#if (NGX_SNORKY_FAULTS)

#define NGX_SNORKY_FAULT_RESERVED   1   /* the record has no text yet */
#define NGX_SNORKY_FAULT_WRITTEN    2   /* it has, but does not exist yet */
#define NGX_SNORKY_FAULT_COMMITTED  3   /* it exists; the mutex is held */
#define NGX_SNORKY_FAULT_ALLOCATED  4   /* a change has its memory */
#define NGX_SNORKY_FAULT_APPLIED    5   /* it is done, but not committed */
#define NGX_SNORKY_FAULT_COUNTED    6   /* a client is, amidst the change */

#endif


/* in init_process and exit_process; NULL: no memory */
ngx_snorky_broker_t *ngx_snorky_broker_open(ngx_cycle_t *cycle,
    ngx_snorky_broker_conf_t *conf, ngx_snorky_broker_handlers_t *handlers,
    void *data);
void ngx_snorky_broker_close(ngx_snorky_broker_t *broker);

/* whether this worker has a seat in the zone; without one it can't serve */
ngx_uint_t ngx_snorky_broker_ready(ngx_snorky_broker_t *broker);

/* What is published: the concatenation of n parts. */

typedef struct {
    uint64_t                       hash;
    ngx_str_t                      name;        /* of the topic */
    ngx_str_t                      only;        /* identity; empty: all */
    uint64_t                       except;      /* session; 0: nobody */
    ngx_str_t                     *parts;
    ngx_uint_t                     n;
    size_t                         len;         /* of all parts */
} ngx_snorky_broker_text_t;

/*
 * Appends a text.  When it returns NGX_OK, the topic's listeners in this
 * worker have it, after all that came before.
 *
 *   NGX_OK
 *   NGX_AGAIN     the log is full, or its mutex is held by a worker that
 *                 stands still: room() will tell
 *   NGX_DECLINED  larger than the log can take
 *   NGX_ERROR     no seat
 */

ngx_int_t ngx_snorky_broker_publish(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_text_t *text);

/*
 * This worker begins (ceases) to have listeners of some topic with this hash.
 * What is appended after the call wakes it; what was appended before it has
 * been delivered when the call returns.
 */

void ngx_snorky_broker_listen(ngx_snorky_broker_t *broker, uint64_t hash);
void ngx_snorky_broker_unlisten(ngx_snorky_broker_t *broker, uint64_t hash);

/* delivers all that has been appended, or what lies before a place */
void ngx_snorky_broker_drain(ngx_snorky_broker_t *broker);
void ngx_snorky_broker_drain_to(ngx_snorky_broker_t *broker, uint64_t place);

/* a number that no other session has in the zone's life; not 0 */
uint64_t ngx_snorky_broker_session(ngx_snorky_broker_t *broker);

/* the worker's, which differs from that of any other in the zone's life */
uint64_t ngx_snorky_broker_generation(ngx_snorky_broker_t *broker);

/* whether such a worker has its seat, as far as it is known */
ngx_uint_t ngx_snorky_broker_seated(ngx_snorky_broker_t *broker,
    uint64_t generation);

/* another value, almost certainly, when a worker has taken or lost its seat */
uint64_t ngx_snorky_broker_population(ngx_snorky_broker_t *broker);

/* the generation of the worker that gave a session its number */
#define ngx_snorky_broker_session_worker(session)  ((session) >> 40)

/* before it is closed: it is to look as if this worker had died */
void ngx_snorky_broker_abandon(ngx_snorky_broker_t *broker);

/* the zone's, which differs from that of a zone before or after it */
uint32_t ngx_snorky_broker_name(ngx_snorky_broker_t *broker);


/* A change of the store and what is published of it (ngx_snorky.h). */

typedef enum {
    NGX_SNORKY_STEP_PUBLISH = 0,
    NGX_SNORKY_STEP_HOLD,
    NGX_SNORKY_STEP_RELEASE,
    NGX_SNORKY_STEP_SET,
    NGX_SNORKY_STEP_NEED,
    NGX_SNORKY_STEP_LIST,
    NGX_SNORKY_STEP_READ,
    NGX_SNORKY_STEP_AWAIT,
    NGX_SNORKY_STEP_KEEP,
    NGX_SNORKY_STEP_PEEK,
    NGX_SNORKY_STEP_CLAIM
} ngx_snorky_broker_step_e;


typedef struct {
    ngx_snorky_broker_step_e       type;

    ngx_snorky_broker_text_t       text;        /* hash and name: of the set */
    ngx_snorky_store_spec_t        spec;
    uint64_t                       key_hash;
    uint64_t                       session;     /* HOLD, CLAIM: whose */
    ngx_snorky_store_hold_t       *hold;        /* ... the answer; or which */
    uint64_t                       mask;        /* AWAIT */
    ngx_msec_t                     timeout;
    ngx_uint_t                     bit;         /* KEEP */
    size_t                         most;

    /* what is found and taken while the change is made */
    ngx_snorky_store_set_t        *set;
    ngx_snorky_store_record_t     *record;
    ngx_snorky_store_set_t        *new_set;
    ngx_snorky_store_record_t     *new_record;
    ngx_snorky_store_journal_t    *new_journal;
    void                          *memory;      /* a wait, value or text */

    unsigned                       shared:1;    /* HOLD */
    unsigned                       first:1;     /* PUBLISH: if it is that */
    unsigned                       last:1;
    unsigned                       skipped:1;
} ngx_snorky_broker_step_t;


typedef struct {
    ngx_snorky_broker_step_t      *steps;
    ngx_uint_t                     n;
    ngx_pool_t                    *pool;        /* for the list */

    /* the answer */
    ngx_snorky_reason_e            reason;
    uint64_t                       begin;       /* the log's head before ... */
    uint64_t                       end;         /* ... and after */
    u_char                        *list;
    size_t                         list_size;
    size_t                         list_len;
    ngx_uint_t                     revoked;
} ngx_snorky_broker_change_t;


/* before each entry of the list: key and value follow */

typedef struct {
    uint32_t                       key;
    uint32_t                       value;
} ngx_snorky_broker_listed_t;


/*
 * Makes the change, all of it or nothing.  Nothing is delivered here yet.
 *
 *   NGX_OK
 *   NGX_AGAIN     the log is full, or the mutex can't be had; so far nobody has
 *                 been asked for room
 *   NGX_DECLINED  the reason tells why
 *   NGX_BUSY      the store is full
 *   NGX_ABORT     larger than the log can take
 *   NGX_ERROR     no seat, or no memory
 */

ngx_int_t ngx_snorky_broker_change(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change);

/* asks those who hold up the log; room() will tell, but try once more first */
void ngx_snorky_broker_want_room(ngx_snorky_broker_t *broker);


/*
 * A hold in the store, as this worker knows it.  When its session has gone,
 * it is given back here, with a queue of such; each begins a piece of memory
 * that the broker frees.  Farewells are said now or, if that can't be, soon.
 */

typedef struct {
    ngx_queue_t                    queue;
    ngx_snorky_store_hold_t       *hold;
} ngx_snorky_broker_hold_t;

void ngx_snorky_broker_part(ngx_snorky_broker_t *broker, ngx_queue_t *holds);


/* What a client is counted by, with all workers' clients. */

typedef struct {
    uint64_t                       hash;
    ngx_str_t                      key;         /* empty: not by this one */
    uint64_t                       most;

    /* the answer */
    ngx_snorky_store_tally_t      *tally;       /* to be given back, or NULL */
    ngx_uint_t                     full;        /* this is why, if DECLINED */
} ngx_snorky_broker_count_t;


/*
 * Counts a client under all n keys, which differ and have 255 bytes at most,
 * or under none.
 *
 *   NGX_OK
 *   NGX_DECLINED  there are as many already as there may be
 *   NGX_BUSY      the store is full
 *   NGX_AGAIN     no seat, or the mutex can't be had
 */

ngx_int_t ngx_snorky_broker_count(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n);

/*
 * The worker that has counted a client under a key for which there may be one
 * at most: its generation; it may be dead.
 *
 *   NGX_OK
 *   NGX_DECLINED  there is none
 *   NGX_AGAIN     no seat, or the mutex can't be had
 */

ngx_int_t ngx_snorky_broker_counter(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *count, uint64_t *generation);

/*
 * This worker begins to have listeners in a channel: a topic's name and hash.
 * The sequence is that of the event, 0 if others are there already.  When they
 * have gone, the tally is given back to uncount(), and vacated() may be called.
 *
 *   NGX_OK
 *   NGX_BUSY      the store is full
 *   NGX_AGAIN     no seat, or the mutex can't be had
 */

ngx_int_t ngx_snorky_broker_occupy(ngx_snorky_broker_t *broker, uint64_t hash,
    ngx_str_t *name, ngx_snorky_store_tally_t **tally, uint64_t *sequence);

/*
 * The client has gone; NULL may stand among its n tallies.  Before lost()
 * returns, all have been given back.
 */

void ngx_snorky_broker_uncount(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t **tallies, ngx_uint_t n);

uint64_t ngx_snorky_broker_hash(ngx_snorky_broker_t *broker, ngx_str_t *name);

/*
 * ... of a name of very many, each for few sessions: a worker that listens to
 * one of its group is woken for all of them, and for no others.
 */
uint64_t ngx_snorky_broker_group_hash(ngx_snorky_broker_t *broker,
    ngx_str_t *name, uint64_t group);

/* the counters of this worker; valid as long as the broker */
ngx_snorky_stats_t *ngx_snorky_broker_stats(ngx_snorky_broker_t *broker);

ngx_snorky_zone_t *ngx_snorky_broker_zone(ngx_snorky_broker_t *broker);


#endif /* _NGX_SNORKY_BROKER_H_INCLUDED_ */
