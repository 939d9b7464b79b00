
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the writing into the log, and the search for room in it.  Called by
 * the core to publish, and by the broker's other files under the mutex.
 */


#include "ngx_snorky_broker_shm.h"


static ngx_int_t ngx_snorky_broker_append(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_text_t *text);
static ngx_snorky_log_record_t *ngx_snorky_broker_reserve_locked(
    ngx_snorky_broker_t *broker, uint64_t *place, size_t data);
static uint64_t ngx_snorky_broker_tail_locked(ngx_snorky_zone_t *zone);


ngx_int_t
ngx_snorky_broker_publish(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_text_t *text)
{
    ngx_int_t  rc;

    if (broker->slot == NULL) {
        return NGX_ERROR;
    }

    if (!ngx_snorky_log_fits(&broker->zone->log,
                             ngx_snorky_broker_text_size(text)))
    {
        return NGX_DECLINED;
    }

    rc = ngx_snorky_broker_append(broker, text);

    if (rc == NGX_AGAIN) {

        /* it may be this very worker that has not read */

        ngx_snorky_broker_drain(broker);

        if (broker->slot == NULL) {
            return NGX_ERROR;
        }

        ngx_snorky_broker_wake_want_room(broker);

        rc = ngx_snorky_broker_append(broker, text);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_snorky_broker_wake_listeners(broker, text->hash);
    ngx_snorky_broker_drain(broker);

    return NGX_OK;
}


void
ngx_snorky_broker_want_room(ngx_snorky_broker_t *broker)
{
    if (broker->slot) {
        ngx_snorky_broker_wake_want_room(broker);
    }
}


static ngx_int_t
ngx_snorky_broker_append(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_text_t *text)
{
    uint64_t            place;
    ngx_int_t           rc;
    ngx_snorky_zone_t  *zone;

    zone = broker->zone;

#if (NGX_SNORKY_FAULTS)
    broker->appends++;
#endif

    if (!ngx_snorky_broker_lock(broker)) {
        return NGX_AGAIN;
    }

    place = zone->log.head;

    rc = ngx_snorky_broker_put_locked(broker, &place, text);

    if (rc == NGX_OK) {
        ngx_snorky_log_commit_locked(&zone->log, place);

        ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_COMMITTED);
    }

    ngx_snorky_zone_unlock(zone);

    return rc;
}


ngx_int_t
ngx_snorky_broker_put_locked(ngx_snorky_broker_t *broker, uint64_t *place,
    ngx_snorky_broker_text_t *text)
{
    u_char                   *p;
    ngx_uint_t                i;
    ngx_snorky_log_record_t  *record;

    record = ngx_snorky_broker_reserve_locked(broker, place,
                                          ngx_snorky_broker_text_size(text));
    if (record == NULL) {
        return NGX_AGAIN;
    }

    ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_RESERVED);

    record->hash = text->hash;
    record->except = text->except;
    record->name = (uint32_t) text->name.len;
    record->text = (uint32_t) text->len;
    record->only = (uint32_t) text->only.len;

    p = ngx_snorky_store_copy(ngx_snorky_log_data(record), &text->name);

    for (i = 0; i < text->n; i++) {
        p = ngx_snorky_store_copy(p, &text->parts[i]);
    }

    (void) ngx_snorky_store_copy(p, &text->only);

    ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_WRITTEN);

    return NGX_OK;
}


static ngx_snorky_log_record_t *
ngx_snorky_broker_reserve_locked(ngx_snorky_broker_t *broker, uint64_t *place,
    size_t data)
{
    ngx_snorky_zone_t        *zone;
    ngx_snorky_log_record_t  *record;

    zone = broker->zone;

    record = ngx_snorky_log_reserve_locked(&zone->log, place, data);

    if (record == NULL) {

        /* the tail is looked for only when the last one found is used up */

        zone->log.tail = ngx_snorky_broker_tail_locked(zone);

        record = ngx_snorky_log_reserve_locked(&zone->log, place, data);
    }

    return record;
}


static uint64_t
ngx_snorky_broker_tail_locked(ngx_snorky_zone_t *zone)
{
    uint64_t            tail, cursor;
    ngx_uint_t          i;
    ngx_snorky_slot_t  *slot;

    tail = zone->log.head;

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (ngx_snorky_load(&slot->state) != NGX_SNORKY_SLOT_LIVE) {
            continue;
        }

        cursor = ngx_snorky_load(&slot->cursor);

        if (cursor < tail) {
            tail = cursor;
        }
    }

    return tail;
}
