
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the counting of clients, who are taken off again when they go, or when
 * their worker is dead or lost, and in the same way that of the workers where
 * a channel has listeners.  Called by transports and topics, and with the end
 * of holds (_reap.c).
 *
 * Only the making and the end of a tally change the store's lists, and are
 * marked.  A count itself is one word, which goes with its worker.
 */


#include "ngx_snorky_broker_shm.h"


/* tallies in one critical section, and such sections in one round */
#define NGX_SNORKY_BROKER_SETTLE         64
#define NGX_SNORKY_BROKER_SETTLE_ROUNDS  16

#define NGX_SNORKY_BROKER_DEPARTED       64

/* bytes, for the names of channels that one critical section vacates */
#define NGX_SNORKY_BROKER_VACATED        4096


/* the topic's name follows */

typedef struct {
    uint64_t                  sequence;
    size_t                    len;
} ngx_snorky_broker_vacated_t;


static ngx_uint_t ngx_snorky_broker_tally_lock_anew(
    ngx_snorky_broker_t *broker);
static ngx_uint_t ngx_snorky_broker_tally_lock(ngx_snorky_broker_t *broker);
static ngx_int_t ngx_snorky_broker_count_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n);
static ngx_int_t ngx_snorky_broker_count_add(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n);
static ngx_int_t ngx_snorky_broker_occupy_locked(ngx_snorky_broker_t *broker,
    uint64_t hash, ngx_str_t *name, ngx_snorky_store_tally_t **tally,
    uint64_t *sequence);
static ngx_uint_t ngx_snorky_broker_uncount_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally);
static void ngx_snorky_broker_uncount_later(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally);
static ngx_uint_t ngx_snorky_broker_settle_locked(ngx_snorky_broker_t *broker);
static ngx_uint_t ngx_snorky_broker_bury_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally);
static void ngx_snorky_broker_tell_vacated(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_grow_vacated(ngx_snorky_broker_t *broker);


ngx_int_t
ngx_snorky_broker_count(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n)
{
    ngx_int_t  rc;

    ngx_snorky_broker_settle(broker);

    if (!ngx_snorky_broker_tally_lock_anew(broker)) {
        return NGX_AGAIN;
    }

#if (NGX_SNORKY_FAULTS)
    broker->appends++;
#endif

    rc = ngx_snorky_broker_count_locked(broker, counts, n);

    ngx_snorky_zone_unlock(broker->zone);

    return rc;
}


/* who was given up, or finds another epoch, comes back by draining */

static ngx_uint_t
ngx_snorky_broker_tally_lock_anew(ngx_snorky_broker_t *broker)
{
    if (ngx_snorky_broker_tally_lock(broker)) {
        return 1;
    }

    ngx_snorky_broker_drain(broker);

    return ngx_snorky_broker_tally_lock(broker);
}


/* 0: not had, or this worker has nothing in the store */

static ngx_uint_t
ngx_snorky_broker_tally_lock(ngx_snorky_broker_t *broker)
{
    if (broker->slot == NULL || !ngx_snorky_broker_lock(broker)) {
        return 0;
    }

    if (ngx_snorky_broker_live(broker)) {
        return 1;
    }

    ngx_snorky_zone_unlock(broker->zone);

    return 0;
}


static ngx_int_t
ngx_snorky_broker_count_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n)
{
    uint64_t    sum;
    ngx_uint_t  i, missing;

    missing = 0;

    for (i = 0; i < n; i++) {

        counts[i].tally = NULL;
        counts[i].full = 0;

        if (counts[i].key.len == 0) {
            continue;
        }

        counts[i].tally = ngx_snorky_tally_find_locked(&broker->zone->store,
                                       counts[i].hash, &counts[i].key, 0,
                                       broker->generation, &sum);

        if (sum >= counts[i].most) {
            counts[i].full = 1;
            return NGX_DECLINED;
        }

        missing += (counts[i].tally == NULL);
    }

    if (missing && ngx_snorky_broker_count_add(broker, counts, n) != NGX_OK) {
        return NGX_BUSY;
    }

    for (i = 0; i < n; i++) {
        if (counts[i].tally) {
            counts[i].tally->count++;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_broker_count_add(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_snorky_store_t  *store;

    rc = NGX_OK;
    store = &broker->zone->store;

    ngx_snorky_store_begin_locked(store);

    for (i = 0; i < n; i++) {

        if (counts[i].tally || counts[i].key.len == 0) {
            continue;
        }

        counts[i].tally = ngx_snorky_tally_add_locked(store, counts[i].hash,
                                       &counts[i].key, 0, broker->generation,
                                       ngx_process_slot);
        if (counts[i].tally == NULL) {
            rc = NGX_ERROR;
            break;
        }
    }

    ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_COUNTED);

    while (rc == NGX_ERROR && i--) {
        if (counts[i].tally && counts[i].tally->count == 0) {
            ngx_snorky_tally_remove_locked(store, counts[i].tally);
        }
    }

    ngx_snorky_store_end_locked(store);

    return rc;
}


ngx_int_t
ngx_snorky_broker_counter(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *count, uint64_t *generation)
{
    if (!ngx_snorky_broker_tally_lock_anew(broker)) {
        return NGX_AGAIN;
    }

    *generation = ngx_snorky_tally_owner_locked(&broker->zone->store,
                                                count->hash, &count->key);

    ngx_snorky_zone_unlock(broker->zone);

    return *generation ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_snorky_broker_occupy(ngx_snorky_broker_t *broker, uint64_t hash,
    ngx_str_t *name, ngx_snorky_store_tally_t **tally, uint64_t *sequence)
{
    ngx_int_t  rc;

    ngx_snorky_broker_settle(broker);

    if (!ngx_snorky_broker_tally_lock(broker)) {
        return NGX_AGAIN;
    }

#if (NGX_SNORKY_FAULTS)
    broker->appends++;
#endif

    rc = ngx_snorky_broker_occupy_locked(broker, hash, name, tally, sequence);

    ngx_snorky_zone_unlock(broker->zone);

    return rc;
}


/*
 * Without a change of the store, the worker has a tally already: one that is
 * to be given back, as soon as it can be.
 */

static ngx_int_t
ngx_snorky_broker_occupy_locked(ngx_snorky_broker_t *broker, uint64_t hash,
    ngx_str_t *name, ngx_snorky_store_tally_t **tally, uint64_t *sequence)
{
    uint64_t             sum;
    ngx_snorky_store_t  *store;

    store = &broker->zone->store;

    *tally = ngx_snorky_tally_find_locked(store, hash, name, 1,
                                          broker->generation, &sum);

    if (*tally == NULL) {

        ngx_snorky_store_begin_locked(store);

        *tally = ngx_snorky_tally_add_locked(store, hash, name, 1,
                                             broker->generation,
                                             ngx_process_slot);

        ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_COUNTED);

        ngx_snorky_store_end_locked(store);

        if (*tally == NULL) {
            return NGX_BUSY;
        }
    }

    (*tally)->count++;

    *sequence = sum ? 0 : ++broker->zone->sequence;

    return NGX_OK;
}


void
ngx_snorky_broker_uncount(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t **tallies, ngx_uint_t n)
{
    ngx_uint_t  i, locked;

    /* they are not this worker's any more, and were taken off with it */

    if (!ngx_snorky_broker_live(broker)) {
        return;
    }

    locked = ngx_snorky_broker_tally_lock(broker);

    for (i = 0; i < n; i++) {

        if (tallies[i] == NULL) {
            continue;
        }

        if (!locked
            || !ngx_snorky_broker_uncount_locked(broker, tallies[i]))
        {
            ngx_snorky_broker_uncount_later(broker, tallies[i]);
        }
    }

    if (locked) {
        ngx_snorky_zone_unlock(broker->zone);
        ngx_snorky_broker_tell_vacated(broker);

        if (broker->ndeparted) {
            ngx_snorky_broker_settle(broker);
        }
    }
}


/* 0: nothing has been done, see below */

static ngx_uint_t
ngx_snorky_broker_uncount_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally)
{
    if (tally->count == 1) {
        return ngx_snorky_broker_bury_locked(broker, tally);
    }

    tally->count--;

    return 1;
}


/* without memory it stays counted, as long as this worker lives */

static void
ngx_snorky_broker_uncount_later(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally)
{
    ngx_uint_t                  size;
    ngx_snorky_store_tally_t  **departed;

    if (broker->ndeparted == broker->departed_size) {

        size = ngx_max(broker->departed_size * 2, NGX_SNORKY_BROKER_DEPARTED);

        departed = ngx_alloc(size * sizeof(void *), broker->log);
        if (departed == NULL) {
            return;
        }

        if (broker->departed) {
            ngx_memcpy(departed, broker->departed,
                       broker->ndeparted * sizeof(void *));
            ngx_free(broker->departed);
        }

        broker->departed = departed;
        broker->departed_size = size;
    }

    broker->departed[broker->ndeparted++] = tally;
}


/* what is not seen here is seen by the next tick, as with holds */

void
ngx_snorky_broker_settle(ngx_snorky_broker_t *broker)
{
    ngx_uint_t  more, round;

    more = 1;

    for (round = 0; round < NGX_SNORKY_BROKER_SETTLE_ROUNDS; round++) {

        if (broker->ndeparted == 0
            && ngx_queue_empty(&broker->zone->store.tally_orphans))
        {
            return;
        }

        if (!ngx_snorky_broker_tally_lock(broker)) {
            return;
        }

        more = ngx_snorky_broker_settle_locked(broker);

        ngx_snorky_zone_unlock(broker->zone);

        ngx_snorky_broker_tell_vacated(broker);

        if (!more || broker->vacated_need > broker->vacated_size) {
            return;
        }
    }

    ngx_snorky_broker_drain_later(broker);
}


static ngx_uint_t
ngx_snorky_broker_settle_locked(ngx_snorky_broker_t *broker)
{
    ngx_uint_t           n;
    ngx_queue_t         *orphans;

    orphans = &broker->zone->store.tally_orphans;

    for (n = 0; n < NGX_SNORKY_BROKER_SETTLE; n++) {

        if (broker->ndeparted) {

            if (!ngx_snorky_broker_uncount_locked(broker,
                                     broker->departed[broker->ndeparted - 1]))
            {
                return 1;
            }

            broker->ndeparted--;

        } else if (!ngx_queue_empty(orphans)) {

            if (!ngx_snorky_broker_bury_locked(broker,
                              ngx_queue_data(ngx_queue_head(orphans),
                                             ngx_snorky_store_tally_t,
                                             of_owner)))
            {
                return 1;
            }

        } else {
            return 0;
        }
    }

    return 1;
}


/*
 * A channel that is vacated by it is noted, to be told when the mutex is free.
 * 0: there is no room for its name, and nothing has been done.
 */

static ngx_uint_t
ngx_snorky_broker_bury_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally)
{
    u_char                       *p;
    uint64_t                      hash, sum;
    ngx_str_t                     name;
    ngx_uint_t                    channel;
    ngx_snorky_store_t           *store;
    ngx_snorky_broker_vacated_t   vacated;

    store = &broker->zone->store;
    channel = tally->channel;
    hash = tally->hash;

    p = NULL;
    ngx_str_null(&name);

    if (channel) {
        name.len = tally->len;

        broker->vacated_need = broker->vacated_len + name.len
                               + sizeof(ngx_snorky_broker_vacated_t);

        if (broker->vacated_need > broker->vacated_size) {
            return 0;
        }

        p = broker->vacated + broker->vacated_len;
        name.data = p + sizeof(ngx_snorky_broker_vacated_t);

        ngx_memcpy(name.data, tally->key, name.len);
    }

    ngx_snorky_store_begin_locked(store);

    ngx_snorky_tally_remove_locked(store, tally);

    ngx_snorky_store_end_locked(store);

    if (!channel) {
        return 1;
    }

    (void) ngx_snorky_tally_find_locked(store, hash, &name, 1, 0, &sum);

    if (sum == 0) {
        vacated.sequence = ++broker->zone->sequence;
        vacated.len = name.len;

        ngx_memcpy(p, &vacated, sizeof(ngx_snorky_broker_vacated_t));

        broker->vacated_len = broker->vacated_need;
    }

    return 1;
}


/* ... and makes room for a name that had none */

static void
ngx_snorky_broker_tell_vacated(ngx_snorky_broker_t *broker)
{
    u_char                       *p;
    size_t                        done;
    ngx_str_t                     name;
    ngx_snorky_broker_vacated_t   vacated;

    done = 0;

    while (done < broker->vacated_len) {

        p = broker->vacated + done;

        ngx_memcpy(&vacated, p, sizeof(ngx_snorky_broker_vacated_t));

        name.data = p + sizeof(ngx_snorky_broker_vacated_t);
        name.len = vacated.len;

        done += sizeof(ngx_snorky_broker_vacated_t) + vacated.len;

        broker->handlers->vacated(broker->data, &name, vacated.sequence);
    }

    broker->vacated_len = 0;

    if (broker->vacated_need > broker->vacated_size) {
        ngx_snorky_broker_grow_vacated(broker);
    }
}


static void
ngx_snorky_broker_grow_vacated(ngx_snorky_broker_t *broker)
{
    u_char  *p;
    size_t   size;

    size = ngx_max(broker->vacated_need, NGX_SNORKY_BROKER_VACATED);

    p = ngx_alloc(size, broker->log);
    if (p == NULL) {
        return;
    }

    if (broker->vacated) {
        ngx_free(broker->vacated);
    }

    broker->vacated = p;
    broker->vacated_size = size;
}
