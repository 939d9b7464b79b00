
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The broker makes the workers one server: what one publishes, all deliver,
 * in one order.  This is its interface to the core; ngx_snorky_broker_shm.c
 * keeps it over the zone's log and the bells.
 */


#ifndef _NGX_SNORKY_BROKER_H_INCLUDED_
#define _NGX_SNORKY_BROKER_H_INCLUDED_


#include "ngx_snorky_zone.h"
#include "ngx_snorky_msg.h"


typedef struct ngx_snorky_broker_s  ngx_snorky_broker_t;


/* What the broker tells the core; none of them is called inside another. */

typedef struct {

    /* whether anybody here is in a topic with this name, and the topic */
    void                   *(*find)(void *data, uint64_t hash,
                                    ngx_str_t *name);

    /* a text for the topic that find() gave; in the log's order */
    void                    (*deliver)(void *data, void *topic,
                                       ngx_snorky_msg_t *msg);

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

#endif


/* in init_process and exit_process; NULL: no memory */
ngx_snorky_broker_t *ngx_snorky_broker_open(ngx_cycle_t *cycle,
    ngx_snorky_broker_conf_t *conf, ngx_snorky_broker_handlers_t *handlers,
    void *data);
void ngx_snorky_broker_close(ngx_snorky_broker_t *broker);

/* whether this worker has a seat in the zone; without one it can't serve */
ngx_uint_t ngx_snorky_broker_ready(ngx_snorky_broker_t *broker);

/*
 * Appends a text for the topic of this name; the text is the concatenation
 * of n parts.  When it returns NGX_OK, the topic's listeners in this worker
 * have it, after all that came before.
 *
 *   NGX_OK
 *   NGX_AGAIN     the log is full, or its mutex is held by a worker that
 *                 stands still: room() will tell
 *   NGX_DECLINED  larger than the log can take
 *   NGX_ERROR     no seat
 */

ngx_int_t ngx_snorky_broker_publish(ngx_snorky_broker_t *broker,
    uint64_t hash, ngx_str_t *name, ngx_str_t *parts, ngx_uint_t n);

/*
 * This worker begins (ceases) to have listeners of some topic with this hash.
 * What is appended after the call wakes it; what was appended before it has
 * been delivered when the call returns.
 */

void ngx_snorky_broker_listen(ngx_snorky_broker_t *broker, uint64_t hash);
void ngx_snorky_broker_unlisten(ngx_snorky_broker_t *broker, uint64_t hash);

/* delivers all that has been appended */
void ngx_snorky_broker_drain(ngx_snorky_broker_t *broker);

uint64_t ngx_snorky_broker_hash(ngx_snorky_broker_t *broker, ngx_str_t *name);

/* the counters of this worker; valid as long as the broker */
ngx_snorky_stats_t *ngx_snorky_broker_stats(ngx_snorky_broker_t *broker);

ngx_snorky_zone_t *ngx_snorky_broker_zone(ngx_snorky_broker_t *broker);


#endif /* _NGX_SNORKY_BROKER_H_INCLUDED_ */
