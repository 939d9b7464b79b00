
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the judgement over workers that do not stir: the dead are buried, those
 * who stand still are given up.  Called by the shm broker's timer.
 */


#include "ngx_snorky_broker_shm.h"


static void ngx_snorky_broker_judge_holder(ngx_snorky_broker_t *broker);
static void ngx_snorky_broker_judge_slot(ngx_snorky_broker_t *broker,
    ngx_snorky_slot_t *slot);


/*
 * Who was late itself may not judge before the others have had their time to
 * wake, too: when all stood still (a suspended machine), the first to wake
 * would give up all the others.
 */

void
ngx_snorky_broker_judge_others(ngx_snorky_broker_t *broker, ngx_uint_t late)
{
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;

    zone = broker->zone;

    if (late) {
        broker->judges_from = ngx_current_msec + broker->worker_timeout;
        broker->holder = 0;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - broker->judges_from) < 0) {
        return;
    }

    ngx_snorky_broker_judge_holder(broker);

    for (i = 0; i < zone->top; i++) {
        if (&zone->slots[i] != broker->slot) {
            ngx_snorky_broker_judge_slot(broker, &zone->slots[i]);
        }
    }
}


/*
 * A worker that stands still inside the critical section can't be passed by:
 * when it woke, it would write where others have written.  So it is killed,
 * and the master frees its mutex.  That of a retired zone is nobody's but
 * ours to free.
 */

static void
ngx_snorky_broker_judge_holder(ngx_snorky_broker_t *broker)
{
    ngx_pid_t  holder;

    if (!broker->blocked) {
        return;
    }

    if (ngx_snorky_broker_lock(broker)) {
        ngx_snorky_zone_unlock(broker->zone);
        return;
    }

    holder = ngx_snorky_zone_holder(broker->zone);

    if (holder == 0 || holder != broker->holder) {
        broker->holder = holder;
        broker->holder_since = ngx_current_msec;
        return;
    }

    if (kill(holder, 0) == -1 && ngx_errno == NGX_ESRCH) {
        (void) ngx_shmtx_force_unlock(&broker->zone->pool->mutex, holder);
        return;
    }

    if (ngx_current_msec - broker->holder_since > broker->worker_timeout) {

        ngx_log_error(NGX_LOG_CRIT, broker->log, 0,
                      "worker %P stands still inside of the zone's critical "
                      "section and is killed", holder);

        if (kill(holder, SIGKILL) == -1) {
            ngx_log_error(NGX_LOG_CRIT, broker->log, ngx_errno,
                          "kill(%P) failed", holder);
        }

        broker->holder = 0;
    }
}


static void
ngx_snorky_broker_judge_slot(ngx_snorky_broker_t *broker,
    ngx_snorky_slot_t *slot)
{
    uint64_t            pid, silent, died;
    ngx_uint_t          dead, lost;
    ngx_snorky_zone_t  *zone;

    silent = (uint64_t) ngx_current_msec - ngx_snorky_load(&slot->beat);

    /* a beat from the future is a clock that was read a moment later */

    if (ngx_snorky_load(&slot->state) == NGX_SNORKY_SLOT_FREE
        || (int64_t) silent <= (int64_t) broker->period)
    {
        return;
    }

    zone = broker->zone;

    if (!ngx_snorky_broker_lock(broker)) {
        return;
    }

    pid = slot->pid;
    silent = (uint64_t) ngx_current_msec - ngx_snorky_load(&slot->beat);
    dead = 0;
    lost = 0;
    died = (slot->state == NGX_SNORKY_SLOT_LIVE) ? slot->generation : 0;

    if (slot->state != NGX_SNORKY_SLOT_FREE
        && ngx_snorky_slot_dead(slot))
    {
        ngx_snorky_store_orphan_locked(&zone->store, slot - zone->slots);
        ngx_snorky_slot_free_locked(slot, &zone->ended);
        dead = 1;

    } else if (slot->state == NGX_SNORKY_SLOT_LIVE
               && (int64_t) silent > (int64_t) broker->worker_timeout)
    {
        ngx_snorky_store(&slot->state, NGX_SNORKY_SLOT_LOST);
        ngx_snorky_store_orphan_locked(&zone->store, slot - zone->slots);
        lost = 1;
    }

    ngx_snorky_zone_unlock(zone);

    if (dead) {
        ngx_log_error(NGX_LOG_NOTICE, broker->log, 0,
                      "worker %uL is dead, its place is free", pid);

    } else if (lost) {
        ngx_log_error(NGX_LOG_ERR, broker->log, 0,
                      "worker %uL stood still for %uL ms and is given up",
                      pid, silent);
    }

    if (dead || lost) {
        ngx_snorky_broker_wake_give_room(broker);

        if (died) {
            broker->handlers->died(broker->data, died);
        }

        broker->handlers->room(broker->data);
    }
}


ngx_uint_t
ngx_snorky_broker_seated(ngx_snorky_broker_t *broker, uint64_t generation)
{
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;
    ngx_snorky_slot_t  *slot;

    zone = broker->zone;

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (ngx_snorky_load(&slot->generation) == generation) {
            return ngx_snorky_load(&slot->state) == NGX_SNORKY_SLOT_LIVE;
        }
    }

    return 0;
}


/* generations only grow, so those of the living have another sum */

uint64_t
ngx_snorky_broker_population(ngx_snorky_broker_t *broker)
{
    uint64_t            sum;
    ngx_uint_t          i;
    ngx_snorky_zone_t  *zone;
    ngx_snorky_slot_t  *slot;

    sum = 0;
    zone = broker->zone;

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (ngx_snorky_load(&slot->state) == NGX_SNORKY_SLOT_LIVE) {
            sum += ngx_snorky_load(&slot->generation) * (2 * i + 1);
        }
    }

    return sum;
}
