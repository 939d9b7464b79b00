
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the counting of clients, who are taken off again when they go, or when
 * their worker is dead or lost.  Called by transports, and with the end of
 * holds (_reap.c).
 *
 * Only the making and the end of a tally change the store's lists, and are
 * marked.  A count itself is one word, which goes with its worker.
 */


#include "ngx_snorky_broker_shm.h"


/* tallies in one critical section, and such sections in one round */
#define NGX_SNORKY_BROKER_SETTLE         64
#define NGX_SNORKY_BROKER_SETTLE_ROUNDS  16

#define NGX_SNORKY_BROKER_DEPARTED       64


static ngx_uint_t ngx_snorky_broker_tally_lock(ngx_snorky_broker_t *broker);
static ngx_int_t ngx_snorky_broker_count_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n);
static ngx_int_t ngx_snorky_broker_count_add(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n);
static void ngx_snorky_broker_uncount_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally);
static void ngx_snorky_broker_uncount_later(ngx_snorky_broker_t *broker,
    ngx_snorky_store_tally_t *tally);
static ngx_uint_t ngx_snorky_broker_settle_locked(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_bury_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally);


ngx_int_t
ngx_snorky_broker_count(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *counts, ngx_uint_t n)
{
    ngx_int_t  rc;

    ngx_snorky_broker_settle(broker);

    /* who was given up, or finds another epoch, comes back by draining */

    if (!ngx_snorky_broker_tally_lock(broker)) {

        ngx_snorky_broker_drain(broker);

        if (!ngx_snorky_broker_tally_lock(broker)) {
            return NGX_AGAIN;
        }
    }

#if (NGX_SNORKY_FAULTS)
    broker->appends++;
#endif

    rc = ngx_snorky_broker_count_locked(broker, counts, n);

    ngx_snorky_zone_unlock(broker->zone);

    return rc;
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
                                       counts[i].hash, &counts[i].key,
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
                                       &counts[i].key, broker->generation,
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

        if (locked) {
            ngx_snorky_broker_uncount_locked(&broker->zone->store, tallies[i]);

        } else {
            ngx_snorky_broker_uncount_later(broker, tallies[i]);
        }
    }

    if (locked) {
        ngx_snorky_zone_unlock(broker->zone);
    }
}


static void
ngx_snorky_broker_uncount_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally)
{
    if (--tally->count == 0) {
        ngx_snorky_broker_bury_locked(store, tally);
    }
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

        if (!more) {
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
    ngx_snorky_store_t  *store;

    store = &broker->zone->store;
    orphans = &store->tally_orphans;

    for (n = 0; n < NGX_SNORKY_BROKER_SETTLE; n++) {

        if (broker->ndeparted) {
            ngx_snorky_broker_uncount_locked(store,
                                    broker->departed[--broker->ndeparted]);

        } else if (!ngx_queue_empty(orphans)) {
            ngx_snorky_broker_bury_locked(store,
                              ngx_queue_data(ngx_queue_head(orphans),
                                             ngx_snorky_store_tally_t,
                                             of_owner));
        } else {
            return 0;
        }
    }

    return 1;
}


static void
ngx_snorky_broker_bury_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally)
{
    ngx_snorky_store_begin_locked(store);

    ngx_snorky_tally_remove_locked(store, tally);

    ngx_snorky_store_end_locked(store);
}
