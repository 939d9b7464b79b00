
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the question whom to wake: listeners after an append, publishers that
 * wait for room, readers that hold it up.  Called by the shm broker.
 */


#include "ngx_snorky_broker_shm.h"


/* ms; publishers that wait try again, whatever becomes of the bells */
#define NGX_SNORKY_BROKER_ROOM_TICK  20


static ngx_uint_t ngx_snorky_broker_wake_interested(
    ngx_snorky_broker_t *broker, ngx_snorky_slot_t *slot);
static void ngx_snorky_broker_wake_slot(ngx_snorky_broker_t *broker,
    ngx_uint_t n);


/*
 * First the wish, then one more look at the log, by the caller: a reader that
 * moves its cursor after that look sees the wish.
 */

void
ngx_snorky_broker_wake_want_room(ngx_snorky_broker_t *broker)
{
    uint64_t            head;
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;
    ngx_snorky_slot_t  *slot;

    zone = broker->zone;

    ngx_snorky_store(&broker->slot->wants_room, 1);
    ngx_snorky_store(&zone->rooms_wanted, 1);

    head = ngx_snorky_load(&zone->log.head);

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (slot != broker->slot
            && ngx_snorky_load(&slot->state) == NGX_SNORKY_SLOT_LIVE
            && ngx_snorky_load(&slot->cursor) != head)
        {
            ngx_snorky_broker_wake_slot(broker, i);
        }
    }

    if (!broker->room_tick.timer_set) {
        ngx_add_timer(&broker->room_tick, NGX_SNORKY_BROKER_ROOM_TICK);
    }
}


/* this worker has read on, or has left: those who wait may try */

void
ngx_snorky_broker_wake_give_room(ngx_snorky_broker_t *broker)
{
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;
    ngx_snorky_slot_t  *slot;

    zone = broker->zone;

    if (!ngx_snorky_load(&zone->rooms_wanted)) {
        return;
    }

    (void) ngx_snorky_swap(&zone->rooms_wanted, 0);

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (slot != broker->slot && ngx_snorky_load(&slot->wants_room)) {
            ngx_snorky_broker_wake_slot(broker, i);
        }
    }
}


void
ngx_snorky_broker_wake_listeners(ngx_snorky_broker_t *broker, uint64_t hash)
{
    ngx_event_t  *ev;

    if (broker->nnews && broker->news[broker->nnews - 1] == hash) {
        return;
    }

    if (broker->nnews == NGX_SNORKY_BROKER_NEWS) {
        ngx_snorky_broker_wake_ring(broker);
    }

    broker->news[broker->nnews++] = hash;

    /* in front of the flusher, which may be posted already */

    ev = &broker->ring;

    if (!ev->posted) {
        ev->posted = 1;
        ngx_queue_insert_head(&ngx_posted_events, &ev->queue);
    }
}


/*
 * Those who listen, and those who do not but have so much to skip that they
 * would soon stop the log.
 */

void
ngx_snorky_broker_wake_ring(ngx_snorky_broker_t *broker)
{
    uint64_t            head, half;
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;
    ngx_snorky_slot_t  *slot;

    zone = broker->zone;
    head = ngx_snorky_load(&zone->log.head);
    half = zone->log.size / 2;

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (slot == broker->slot
            || ngx_snorky_load(&slot->state) != NGX_SNORKY_SLOT_LIVE)
        {
            continue;
        }

        if (ngx_snorky_broker_wake_interested(broker, slot)
            || head - ngx_snorky_load(&slot->cursor) > half)
        {
            ngx_snorky_broker_wake_slot(broker, i);
        }
    }

    broker->nnews = 0;
}


static ngx_uint_t
ngx_snorky_broker_wake_interested(ngx_snorky_broker_t *broker,
    ngx_snorky_slot_t *slot)
{
    ngx_uint_t  i;

    for (i = 0; i < broker->nnews; i++) {
        if (ngx_snorky_slot_interested(slot, broker->news[i])) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_snorky_broker_wake_slot(ngx_snorky_broker_t *broker, ngx_uint_t n)
{
    uint64_t  *bell;

    bell = &broker->zone->slots[n].bell;

    if (ngx_snorky_load(bell) || ngx_snorky_swap(bell, 1)) {
        return;
    }

    if (ngx_snorky_bell_ring(n) != NGX_OK) {
        ngx_snorky_store(bell, 0);
        return;
    }

    broker->stats->bells_sent++;
}
