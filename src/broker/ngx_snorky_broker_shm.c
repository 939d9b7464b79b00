
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The broker over shared memory.  Owns this worker's slot and its cursor in
 * the log.  Called by the core from above, by the bell and a slow timer from
 * below.
 */


#include "ngx_snorky_broker_shm.h"
#include "ngx_snorky_map.h"


/*
 * The timer is the net under lost bells, the sign of life to the others, and
 * the time at which they are judged.  It is cancelable: it must not keep a
 * quitting worker alive.
 */

#define NGX_SNORKY_BROKER_TICK  1000    /* ms, at most */

/*
 * Bytes of the log that are delivered in one round of the event loop: what
 * has piled up must not fill the receivers' queues before they are written.
 */

#define NGX_SNORKY_BROKER_ROUND  (256 * 1024)

/* ... and no record after so many deliveries */
#define NGX_SNORKY_BROKER_DELIVERIES  16384


static void ngx_snorky_broker_take_slot(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_come_back(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_drain_some(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_read(ngx_snorky_broker_t *broker,
    uint64_t place, uint64_t deliveries);
static ngx_int_t ngx_snorky_broker_deliver(ngx_snorky_broker_t *broker,
    ngx_snorky_log_record_t *record, u_char *data);
static void ngx_snorky_broker_tick_handler(ngx_event_t *ev);
static void ngx_snorky_broker_room_tick_handler(ngx_event_t *ev);
static void ngx_snorky_broker_ring_handler(ngx_event_t *ev);
static void ngx_snorky_broker_more_handler(ngx_event_t *ev);
static void ngx_snorky_broker_rung(void *data);
static void ngx_snorky_broker_quit(void *data);


static ngx_snorky_bell_handlers_t  ngx_snorky_broker_bell_handlers = {
    ngx_snorky_broker_rung,
    ngx_snorky_broker_quit
};


#if (NGX_SNORKY_FAULTS)

/* each place strikes once in a zone's life, or no worker would get by */

void
ngx_snorky_broker_fault(ngx_snorky_broker_t *broker, ngx_uint_t place)
{
    uint64_t  bit;

    bit = (uint64_t) 1 << place;

    if (broker->fault != place
        || broker->appends < broker->fault_after
        || (broker->zone->faults & bit))
    {
        return;
    }

    broker->zone->faults |= bit;

    (void) raise(broker->fault_signal);
}

#endif


ngx_snorky_broker_t *
ngx_snorky_broker_open(ngx_cycle_t *cycle, ngx_snorky_broker_conf_t *conf,
    ngx_snorky_broker_handlers_t *handlers, void *data)
{
    ngx_snorky_broker_t  *broker;

    broker = ngx_pcalloc(cycle->pool, sizeof(ngx_snorky_broker_t));
    if (broker == NULL) {
        return NULL;
    }

    broker->zone = conf->shm_zone->data;
    broker->worker_timeout = conf->worker_timeout;
    broker->handlers = handlers;
    broker->data = data;
    broker->cycle = cycle;
    broker->log = cycle->log;
    broker->stats = &broker->spare;

#if (NGX_SNORKY_FAULTS)
    broker->fault = conf->fault;
    broker->fault_after = conf->fault_after;
    broker->fault_signal = conf->fault_signal;
#endif

    broker->bell.handlers = &ngx_snorky_broker_bell_handlers;
    broker->bell.data = broker;

    broker->dummy.fd = (ngx_socket_t) -1;

    broker->tick.handler = ngx_snorky_broker_tick_handler;
    broker->tick.data = &broker->dummy;
    broker->tick.log = cycle->log;
    broker->tick.cancelable = 1;

    broker->room_tick.handler = ngx_snorky_broker_room_tick_handler;
    broker->room_tick.data = &broker->dummy;
    broker->room_tick.log = cycle->log;
    broker->room_tick.cancelable = 1;

    broker->ring.handler = ngx_snorky_broker_ring_handler;
    broker->ring.data = &broker->dummy;
    broker->ring.log = cycle->log;

    broker->more.handler = ngx_snorky_broker_more_handler;
    broker->more.data = &broker->dummy;
    broker->more.log = cycle->log;

    broker->dummy.data = broker;

    ngx_queue_init(&broker->parted);

    broker->period = ngx_min(NGX_SNORKY_BROKER_TICK, conf->worker_timeout / 4);
    broker->ticked = ngx_current_msec;
    broker->judges_from = ngx_current_msec;

    if ((ngx_uint_t) ngx_process_slot < broker->zone->nslots) {
        broker->seated = 1;
        broker->stats = &broker->zone->slots[ngx_process_slot].stats;

        ngx_snorky_broker_take_slot(broker);

    } else {
        ngx_log_error(NGX_LOG_CRIT, broker->log, 0,
                      "\"snorky_zone\" has places for %ui processes only, "
                      "process %i can't serve", broker->zone->nslots,
                      ngx_process_slot);
    }

    /* the first tick comes at once: the channel is open by then */

    ngx_add_timer(&broker->tick, 1);

    return broker;
}


void
ngx_snorky_broker_close(ngx_snorky_broker_t *broker)
{
    if (broker->tick.timer_set) {
        ngx_del_timer(&broker->tick);
    }

    if (broker->room_tick.timer_set) {
        ngx_del_timer(&broker->room_tick);
    }

    if (broker->more.posted) {
        ngx_delete_posted_event(&broker->more);
    }

    if (broker->ring.posted) {
        ngx_delete_posted_event(&broker->ring);
        ngx_snorky_broker_wake_ring(broker);
    }

    ngx_snorky_bell_close(&broker->bell);

    if (broker->slot == NULL) {
        return;
    }

    /* otherwise the others find out that we are dead */

    if (!broker->abandoned && ngx_snorky_broker_lock(broker)) {

        if (ngx_snorky_broker_live(broker)) {
            ngx_snorky_store_orphan_locked(&broker->zone->store,
                                           ngx_process_slot);
            ngx_snorky_slot_free_locked(broker->slot, &broker->zone->ended);
        }

        ngx_snorky_zone_unlock(broker->zone);
    }

    ngx_snorky_broker_wake_give_room(broker);
    ngx_snorky_broker_forget_parted(broker);

    if (broker->vacated) {
        ngx_free(broker->vacated);
        broker->vacated = NULL;
    }

    broker->slot = NULL;
}


/*
 * Having failed once, it does not wait again before it has succeeded.  A store
 * that is being changed is one whose changer is dead.
 */

ngx_uint_t
ngx_snorky_broker_lock(ngx_snorky_broker_t *broker)
{
    ngx_snorky_zone_t  *zone;

    zone = broker->zone;

    broker->blocked = !ngx_snorky_zone_lock(zone, broker->blocked);

    if (broker->blocked) {
        return 0;
    }

    if (ngx_snorky_load(&zone->store.busy)) {
        ngx_snorky_store_reset_locked(&zone->store);

        broker->reset = ++zone->sequence;
        ngx_snorky_broker_drain_later(broker);
    }

    return 1;
}


/*
 * The slot's number is this process's place in nginx's table.  If the slot is
 * taken, its owner has been here before and died, or is this very worker,
 * given up by the others, which counts on what it still has.  When the mutex
 * can't be had, the worker has no seat, and the tick tries again.
 */

static void
ngx_snorky_broker_take_slot(ngx_snorky_broker_t *broker)
{
    ngx_uint_t           i, again;
    ngx_snorky_zone_t   *zone;
    ngx_snorky_slot_t   *slot;
    ngx_snorky_stats_t   stats;

    zone = broker->zone;
    slot = &zone->slots[ngx_process_slot];
    stats = slot->stats;

    broker->slot = NULL;

    ngx_snorky_broker_forget_parted(broker);

    if (!ngx_snorky_broker_lock(broker)) {
        return;
    }

    again = (broker->generation != 0);

    if (!again && slot->state == NGX_SNORKY_SLOT_LIVE) {
        broker->predecessor = slot->generation;
    }

    ngx_snorky_store_orphan_locked(&zone->store, ngx_process_slot);
    ngx_snorky_slot_free_locked(slot, &zone->ended);

    zone->top = ngx_max(zone->top, (ngx_uint_t) ngx_process_slot + 1);
    zone->generation++;

    if (zone->generation == 1) {
        broker->reset = ++zone->sequence;
    }

    ngx_snorky_slot_take_locked(slot, zone->generation, zone->log.head);

    if (again) {
        ngx_memcpy(&slot->stats, &stats,
                   NGX_SNORKY_STATS_GAUGES * sizeof(uint64_t));
    }

    broker->generation = zone->generation;
    broker->epoch = zone->store.epoch;
    broker->sessions = 0;

    ngx_snorky_zone_unlock(zone);

    broker->slot = slot;

    for (i = 0; i < NGX_SNORKY_INTEREST_BITS; i++) {
        if (broker->interest[i]) {
            ngx_snorky_slot_set_interest(slot, i);
        }
    }

    ngx_snorky_broker_wake_give_room(broker);
}


ngx_uint_t
ngx_snorky_broker_ready(ngx_snorky_broker_t *broker)
{
    return broker->slot != NULL;
}


uint64_t
ngx_snorky_broker_hash(ngx_snorky_broker_t *broker, ngx_str_t *name)
{
    return ngx_snorky_map_hash(broker->zone->secret, name->data, name->len);
}


/* the filter of interest knows no more of a hash than these bits */

uint64_t
ngx_snorky_broker_group_hash(ngx_snorky_broker_t *broker, ngx_str_t *name,
    uint64_t group)
{
    uint64_t  hash, mask;

    hash = ngx_snorky_broker_hash(broker, name);
    mask = NGX_SNORKY_INTEREST_BITS - 1;

    return (hash & ~mask) | (group & mask);
}


ngx_snorky_stats_t *
ngx_snorky_broker_stats(ngx_snorky_broker_t *broker)
{
    return broker->stats;
}


ngx_snorky_zone_t *
ngx_snorky_broker_zone(ngx_snorky_broker_t *broker)
{
    return broker->zone;
}


ngx_uint_t
ngx_snorky_broker_live(ngx_snorky_broker_t *broker)
{
    return broker->slot
           && ngx_snorky_load(&broker->slot->state) == NGX_SNORKY_SLOT_LIVE
           && broker->slot->generation == broker->generation
           && ngx_snorky_load(&broker->zone->store.epoch) == broker->epoch;
}


/* a worker may have 2^40 of them, a zone 2^24 workers */

uint64_t
ngx_snorky_broker_session(ngx_snorky_broker_t *broker)
{
    return broker->generation << 40 | ++broker->sessions;
}


uint64_t
ngx_snorky_broker_generation(ngx_snorky_broker_t *broker)
{
    return broker->generation;
}


void
ngx_snorky_broker_abandon(ngx_snorky_broker_t *broker)
{
    broker->abandoned = 1;
}


void
ngx_snorky_broker_tell(ngx_snorky_broker_t *broker)
{
    uint64_t  generation, sequence;

    generation = broker->predecessor;
    sequence = broker->reset;

    broker->predecessor = 0;
    broker->reset = 0;

    if (sequence) {
        broker->handlers->reset(broker->data, sequence);
    }

    if (generation) {
        broker->handlers->died(broker->data, generation);
    }
}


uint32_t
ngx_snorky_broker_name(ngx_snorky_broker_t *broker)
{
    return broker->zone->name;
}


/*
 * The listeners have gone when lost() returns, and with them the interest.
 * Calls that waited for room try again, from an event of their own: this may
 * run inside of another call.
 */

static void
ngx_snorky_broker_come_back(ngx_snorky_broker_t *broker)
{
    if (ngx_snorky_load(&broker->zone->store.epoch) != broker->epoch) {
        ngx_log_error(NGX_LOG_ERR, broker->log, 0,
                      "a worker died while it changed the shared records, "
                      "they begin anew and all sessions are closed");
    } else {
        ngx_log_error(NGX_LOG_ERR, broker->log, 0,
                      "this worker stood still for too long and was given up "
                      "by the others, its sessions are closed");
    }

    broker->handlers->lost(broker->data);

    ngx_snorky_broker_take_slot(broker);
    ngx_snorky_broker_tell(broker);

    if (broker->slot) {
        ngx_snorky_broker_wake_want_room(broker);
    }
}


void
ngx_snorky_broker_listen(ngx_snorky_broker_t *broker, uint64_t hash)
{
    if (broker->interest[hash & (NGX_SNORKY_INTEREST_BITS - 1)]++ == 0
        && broker->slot)
    {
        ngx_snorky_slot_set_interest(broker->slot, hash);
    }

    ngx_snorky_broker_drain(broker);
}


void
ngx_snorky_broker_unlisten(ngx_snorky_broker_t *broker, uint64_t hash)
{
    if (--broker->interest[hash & (NGX_SNORKY_INTEREST_BITS - 1)] == 0
        && broker->slot)
    {
        ngx_snorky_slot_clear_interest(broker->slot, hash);
    }
}


void
ngx_snorky_broker_drain(ngx_snorky_broker_t *broker)
{
    ngx_snorky_broker_drain_to(broker, (uint64_t) -1);
}


static void
ngx_snorky_broker_drain_some(ngx_snorky_broker_t *broker)
{
    if (broker->slot) {
        ngx_snorky_broker_read(broker, broker->slot->cursor
                                       + NGX_SNORKY_BROKER_ROUND,
                               NGX_SNORKY_BROKER_DELIVERIES);
    }
}


void
ngx_snorky_broker_drain_to(ngx_snorky_broker_t *broker, uint64_t place)
{
    ngx_snorky_broker_read(broker, place, (uint64_t) -1);
}


/* what lies beyond the place, or behind the last delivery, is left for later */

static void
ngx_snorky_broker_read(ngx_snorky_broker_t *broker, uint64_t place,
    uint64_t deliveries)
{
    u_char                  *data;
    uint64_t                 cursor, start, before;
    ngx_int_t                rc;
    ngx_snorky_slot_t       *slot;
    ngx_snorky_log_record_t  record;

    slot = broker->slot;

    if (slot == NULL || broker->draining) {
        return;
    }

    if (!ngx_snorky_broker_live(broker)) {
        ngx_snorky_broker_come_back(broker);
        return;
    }

    broker->draining = 1;

    start = slot->cursor;
    cursor = start;
    before = broker->stats->deliveries;

    for ( ;; ) {

        rc = ngx_snorky_log_read(&broker->zone->log, &cursor, &record, &data);

        if (rc != NGX_OK) {
            break;
        }

        if (cursor >= place
            || broker->stats->deliveries - before >= deliveries)
        {
            ngx_snorky_broker_drain_later(broker);
            rc = NGX_DONE;
            break;
        }

        rc = ngx_snorky_broker_deliver(broker, &record, data);

        if (rc != NGX_OK) {
            break;
        }

        cursor += record.size;

        ngx_snorky_store(&slot->cursor, cursor);
    }

    broker->draining = 0;

    if (rc == NGX_DECLINED) {
        ngx_snorky_broker_come_back(broker);
        return;
    }

    if (cursor != start) {
        ngx_snorky_store(&slot->cursor, cursor);
        ngx_snorky_store(&slot->beat, (uint64_t) ngx_current_msec);
        ngx_snorky_broker_wake_give_room(broker);
    }
}


/*
 * The record lies in the ring as long as this worker is live.  What is copied
 * from it counts only if the worker still is live after the copy.
 */

static ngx_int_t
ngx_snorky_broker_deliver(ngx_snorky_broker_t *broker,
    ngx_snorky_log_record_t *record, u_char *data)
{
    size_t             len;
    void              *topic;
    ngx_int_t          rc;
    ngx_str_t          name, only;
    ngx_snorky_msg_t  *msg;

    if (broker->interest[record->hash & (NGX_SNORKY_INTEREST_BITS - 1)] == 0) {
        return NGX_OK;
    }

    name.data = data;
    name.len = record->name;

    topic = broker->handlers->find(broker->data, record->hash, &name);

    if (topic == NULL) {
        return NGX_OK;
    }

    /* the identity lies behind the text, where no receiver sees it */

    len = (size_t) record->text + record->only;
    msg = ngx_snorky_msg_create(len, broker->log);

    if (msg == NULL) {
        /* a gap would be silent otherwise */
        return NGX_DECLINED;
    }

    ngx_memcpy(msg->text, data + record->name, len);

    msg->len = record->text;

    only.data = msg->text + record->text;
    only.len = record->only;

    ngx_snorky_fence();

    if (!ngx_snorky_broker_live(broker)) {
        ngx_snorky_msg_unref(msg);
        return NGX_DECLINED;
    }

    rc = broker->handlers->deliver(broker->data, topic, msg, record->except,
                                   &only);

    ngx_snorky_msg_unref(msg);

    return (rc == NGX_OK) ? NGX_OK : NGX_DECLINED;
}


static void
ngx_snorky_broker_tick_handler(ngx_event_t *ev)
{
    ngx_msec_t            late;
    ngx_connection_t     *c;
    ngx_snorky_broker_t  *broker;

    c = ev->data;
    broker = c->data;

    if (broker->bell.connection == NULL) {
        (void) ngx_snorky_bell_open(&broker->bell, broker->cycle);
    }

    late = ngx_current_msec - broker->ticked;
    broker->ticked = ngx_current_msec;

    ngx_snorky_broker_tell(broker);
    ngx_snorky_broker_drain_some(broker);

    if (broker->seated && broker->slot == NULL) {
        ngx_snorky_broker_take_slot(broker);
    }

    if (broker->slot) {
        ngx_snorky_store(&broker->slot->beat, (uint64_t) ngx_current_msec);
    }

    if (broker->seated) {
        ngx_snorky_broker_judge_others(broker, late > broker->period * 2);
    }

    ngx_snorky_broker_reap(broker);

    if (ngx_exiting) {
        ngx_snorky_broker_quit(broker);
    }

    ngx_add_timer(&broker->tick, broker->period);
}


static void
ngx_snorky_broker_ring_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_snorky_broker_wake_ring(c->data);
}


static void
ngx_snorky_broker_more_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_snorky_broker_tell(c->data);
    ngx_snorky_broker_drain_some(c->data);
    ngx_snorky_broker_reap(c->data);
}


/* waiting publishers try again now and then, whatever becomes of the bells */

static void
ngx_snorky_broker_room_tick_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_snorky_broker_t  *broker;

    c = ev->data;
    broker = c->data;

    ngx_snorky_broker_rung(broker);
}


static void
ngx_snorky_broker_rung(void *data)
{
    ngx_snorky_broker_t *broker = data;

    if (broker->slot == NULL) {
        return;
    }

    if (ngx_snorky_swap(&broker->slot->bell, 0)) {
        broker->stats->bells_received++;
    }

    ngx_snorky_broker_drain_some(broker);

    if (broker->slot && ngx_snorky_swap(&broker->slot->wants_room, 0)) {
        ngx_snorky_broker_reap(broker);
        broker->handlers->room(broker->data);
    }
}


static void
ngx_snorky_broker_quit(void *data)
{
    ngx_snorky_broker_t *broker = data;

    ngx_uint_t  at_once;

    /* the zone may be retired while the worker drains already */

    at_once = ngx_snorky_load(&broker->zone->retired) != 0;

    if (broker->asked_to_quit && (!at_once || broker->asked_at_once)) {
        return;
    }

    broker->asked_to_quit = 1;
    broker->asked_at_once = at_once;

    if (broker->slot) {
        ngx_snorky_store(&broker->slot->quitting, 1);
    }

    broker->handlers->quit(broker->data, at_once);
}
