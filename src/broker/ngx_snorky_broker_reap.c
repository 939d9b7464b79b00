
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the end of holds whose clients have gone: those of this worker that
 * have parted, and those of dead or lost workers.  A farewell is published in
 * the same critical section in which the record vanishes, so once, whoever
 * does it.  Called when sessions leave, by the tick, and when there is room.
 */


#include "ngx_snorky_broker_shm.h"


/* in one critical section, at most */
#define NGX_SNORKY_BROKER_REAP         32

/* critical sections in one round of the event loop */
#define NGX_SNORKY_BROKER_REAP_ROUNDS  32


typedef struct {
    u_char                    time[NGX_SNORKY_TIME_LEN];
    ngx_uint_t                n;
    uint64_t                  hashes[NGX_SNORKY_BROKER_REAP];
} ngx_snorky_broker_reap_t;


static ngx_int_t ngx_snorky_broker_reap_round(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap);
static ngx_int_t ngx_snorky_broker_reap_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap);
static ngx_int_t ngx_snorky_broker_reap_hold(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap, ngx_snorky_store_hold_t *hold);


void
ngx_snorky_broker_part(ngx_snorky_broker_t *broker, ngx_queue_t *holds)
{
    if (ngx_queue_empty(holds)) {
        return;
    }

    ngx_queue_add(&broker->parted, holds);
    ngx_queue_init(holds);

    ngx_snorky_broker_reap(broker);
}


void
ngx_snorky_broker_forget_parted(ngx_snorky_broker_t *broker)
{
    ngx_queue_t  *q;

    if (broker->departed) {
        ngx_free(broker->departed);
        broker->departed = NULL;
    }

    broker->ndeparted = 0;
    broker->departed_size = 0;

    while (!ngx_queue_empty(&broker->parted)) {
        q = ngx_queue_head(&broker->parted);

        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_snorky_broker_hold_t, queue));
    }
}


/*
 * Whether there is anything to do is seen without the mutex, by chance too
 * late: then the next tick sees it.  A dead worker may have had very many
 * clients: they are not all reaped at once.
 */

void
ngx_snorky_broker_reap(ngx_snorky_broker_t *broker)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, round;
    ngx_snorky_store_t       *store;
    ngx_snorky_broker_reap_t  reap;

    store = &broker->zone->store;

    ngx_snorky_broker_settle(broker);

    for (round = 0; round < NGX_SNORKY_BROKER_REAP_ROUNDS; round++) {

        if (broker->slot == NULL
            || (ngx_queue_empty(&broker->parted)
                && ngx_queue_empty(&store->orphans)
                && ngx_queue_empty(&store->journals)))
        {
            return;
        }

        reap.n = 0;
        (void) ngx_snorky_time(reap.time);

        rc = ngx_snorky_broker_reap_round(broker, &reap);

        for (i = 0; i < reap.n; i++) {
            broker->stats->publications++;
            ngx_snorky_broker_wake_listeners(broker, reap.hashes[i]);
        }

        /* not from here: this may run inside of a delivery */

        if (reap.n || rc == NGX_OK) {
            ngx_snorky_broker_drain_later(broker);
        }

        if (rc == NGX_AGAIN) {
            ngx_snorky_broker_wake_want_room(broker);
            return;
        }

        if (rc == NGX_DONE) {
            return;
        }
    }
}


/* NGX_OK: there may be more to do; NGX_DONE; NGX_AGAIN: the log is full */

static ngx_int_t
ngx_snorky_broker_reap_round(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap)
{
    ngx_int_t            rc;
    ngx_uint_t           n;
    ngx_snorky_store_t  *store;

    store = &broker->zone->store;

    if (!ngx_snorky_broker_lock(broker)) {
        return NGX_AGAIN;
    }

    if (!ngx_snorky_broker_live(broker)) {
        ngx_snorky_zone_unlock(broker->zone);
        return NGX_DONE;
    }

    rc = ngx_snorky_broker_reap_locked(broker, reap);

    if (rc == NGX_DONE && !ngx_queue_empty(&store->journals)) {

        ngx_snorky_store_begin_locked(store);

        n = ngx_snorky_journal_expire_locked(store, ngx_current_msec,
                                             NGX_SNORKY_BROKER_REAP);

        ngx_snorky_store_end_locked(store);

        if (n == NGX_SNORKY_BROKER_REAP) {
            rc = NGX_OK;
        }
    }

    ngx_snorky_zone_unlock(broker->zone);

    return rc;
}


static ngx_int_t
ngx_snorky_broker_reap_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_snorky_store_t        *store;
    ngx_snorky_broker_hold_t  *parted;

    store = &broker->zone->store;

    for (n = 0; n < NGX_SNORKY_BROKER_REAP; n++) {

        if (!ngx_queue_empty(&broker->parted)) {
            q = ngx_queue_head(&broker->parted);
            parted = ngx_queue_data(q, ngx_snorky_broker_hold_t, queue);

            rc = ngx_snorky_broker_reap_hold(broker, reap, parted->hold);
            if (rc != NGX_OK) {
                return rc;
            }

            ngx_queue_remove(q);
            ngx_free(parted);

            continue;
        }

        if (ngx_queue_empty(&store->orphans)) {
            return NGX_DONE;
        }

        q = ngx_queue_head(&store->orphans);

        rc = ngx_snorky_broker_reap_hold(broker, reap,
                        ngx_queue_data(q, ngx_snorky_store_hold_t, of_owner));
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_broker_reap_hold(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_reap_t *reap, ngx_snorky_store_hold_t *hold)
{
    uint64_t                    place;
    ngx_str_t                   parts[3];
    ngx_snorky_store_t         *store;
    ngx_snorky_broker_text_t    text;
    ngx_snorky_store_record_t  *record;

    store = &broker->zone->store;
    record = hold->record;
    place = broker->zone->log.head;

    if (record->holds == 1 && record->farewell[0]) {

        parts[0].data = ngx_snorky_store_farewell(record);
        parts[0].len = record->farewell[0];
        parts[1].data = reap->time;
        parts[1].len = record->farewell[1] ? NGX_SNORKY_TIME_LEN : 0;
        parts[2].data = parts[0].data + parts[0].len;
        parts[2].len = record->farewell[1];

        ngx_memzero(&text, sizeof(ngx_snorky_broker_text_t));

        text.hash = record->set->hash;
        text.name.data = ngx_snorky_store_name(record->set);
        text.name.len = record->set->name;
        text.parts = parts;
        text.n = 3;
        text.len = parts[0].len + parts[1].len + parts[2].len;

        if (ngx_snorky_broker_put_locked(broker, &place, &text) != NGX_OK) {
            return NGX_AGAIN;
        }

        reap->hashes[reap->n++] = text.hash;
    }

    ngx_snorky_store_begin_locked(store);

    ngx_snorky_store_release_locked(store, hold);

    ngx_snorky_log_commit_locked(&broker->zone->log, place);

    ngx_snorky_store_end_locked(store);

    return NGX_OK;
}
