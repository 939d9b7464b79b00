
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the making of a change: the facts in the store and what is published
 * of them, in one critical section, all of it or nothing.  Called by the core.
 *
 * Four passes over the steps.  What can refuse the change comes first: the
 * facts are looked at, the texts are written behind the log's head, where they
 * do not exist yet, and memory is taken.  Then nothing can fail any more: the
 * facts are changed, and the head is moved.
 */


#include "ngx_snorky_broker_shm.h"


/* bytes of a list more than were needed when it was looked at */
#define NGX_SNORKY_BROKER_CHANGE_SPARE  256


static ngx_int_t ngx_snorky_broker_change_fits(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change);
static ngx_int_t ngx_snorky_broker_change_attempt(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change);
static ngx_int_t ngx_snorky_broker_change_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change);
static ngx_int_t ngx_snorky_broker_change_look(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change);
static ngx_snorky_reason_e ngx_snorky_broker_change_refuse(
    ngx_snorky_store_t *store, ngx_snorky_broker_step_t *step);
static size_t ngx_snorky_broker_change_listed(
    ngx_snorky_broker_change_t *change, ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_condition(
    ngx_snorky_broker_change_t *change);
static ngx_int_t ngx_snorky_broker_change_put(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change);
static ngx_int_t ngx_snorky_broker_change_take(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step);
static ngx_int_t ngx_snorky_broker_change_take_record(
    ngx_snorky_store_t *store, ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_drop(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_apply(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change, ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_insert(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_claim(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change, ngx_snorky_broker_step_t *step);
static void ngx_snorky_broker_change_list_set(
    ngx_snorky_broker_change_t *change, ngx_snorky_store_set_t *set);
static void ngx_snorky_broker_change_list_record(
    ngx_snorky_broker_change_t *change, ngx_snorky_store_record_t *record);
static void ngx_snorky_broker_change_list(ngx_snorky_broker_change_t *change,
    u_char *key, size_t key_len, u_char *value, size_t value_len);


ngx_int_t
ngx_snorky_broker_change(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    if (broker->slot == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_broker_change_fits(broker, change);
    if (rc != NGX_OK) {
        return rc;
    }

#if (NGX_SNORKY_FAULTS)
    broker->appends++;
#endif

    rc = ngx_snorky_broker_change_attempt(broker, change);

    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; i < change->n; i++) {

        if (change->steps[i].type == NGX_SNORKY_STEP_PUBLISH
            && !change->steps[i].skipped)
        {
            broker->stats->publications++;

            ngx_snorky_broker_wake_listeners(broker,
                                             change->steps[i].text.hash);
        }
    }

    return NGX_OK;
}


/* what would not fit into an empty log would wait for ever */

static ngx_int_t
ngx_snorky_broker_change_fits(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change)
{
    size_t                     size;
    uint64_t                   sum;
    ngx_uint_t                 i;
    ngx_snorky_log_t          *log;
    ngx_snorky_broker_step_t  *step;

    sum = 0;
    log = &broker->zone->log;

    for (i = 0; i < change->n; i++) {
        step = &change->steps[i];

        switch (step->type) {

        case NGX_SNORKY_STEP_PUBLISH:
            size = ngx_snorky_broker_text_size(&step->text);
            sum += ngx_snorky_log_record_size(size);
            break;

        case NGX_SNORKY_STEP_HOLD:
            size = step->text.name.len + step->spec.farewell[0].len
                   + step->spec.farewell[1].len + NGX_SNORKY_TIME_LEN;
            break;

        default:
            continue;
        }

        if (!ngx_snorky_log_fits(log, size)) {
            return NGX_ABORT;
        }
    }

    return (sum > log->size / 2) ? NGX_ABORT : NGX_OK;
}


static ngx_int_t
ngx_snorky_broker_change_attempt(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change)
{
    ngx_int_t           rc;
    ngx_snorky_zone_t  *zone;

    zone = broker->zone;

    for ( ;; ) {

        if (!ngx_snorky_broker_lock(broker)) {
            return NGX_AGAIN;
        }

        if (!ngx_snorky_broker_live(broker)) {
            ngx_snorky_zone_unlock(zone);

            /*
             * The drain finds it out, too, and closes the sessions; who is
             * none of them (a backend) may try again.
             */

            ngx_snorky_broker_drain(broker);
            return broker->slot ? NGX_AGAIN : NGX_ERROR;
        }

        rc = ngx_snorky_broker_change_locked(broker, change);

        ngx_snorky_zone_unlock(zone);

        if (rc != NGX_DONE) {
            return rc;
        }

        /* nothing was done; the list has grown a little when we come back */

        change->list_size += NGX_SNORKY_BROKER_CHANGE_SPARE;

        change->list = ngx_pnalloc(change->pool, change->list_size);
        if (change->list == NULL) {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_snorky_broker_change_locked(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_snorky_zone_t   *zone;
    ngx_snorky_store_t  *store;

    zone = broker->zone;
    store = &zone->store;

    rc = ngx_snorky_broker_change_look(store, change);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_broker_change_put(broker, change);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_snorky_store_begin_locked(store);

    for (i = 0; i < change->n; i++) {

        if (ngx_snorky_broker_change_take(store, &change->steps[i])
            != NGX_OK)
        {
            do {
                ngx_snorky_broker_change_drop(store, &change->steps[i]);
            } while (i--);

            ngx_snorky_store_end_locked(store);
            return NGX_BUSY;
        }
    }

    ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_ALLOCATED);

    for (i = 0; i < change->n; i++) {
        ngx_snorky_broker_change_apply(store, change, &change->steps[i]);
    }

    ngx_snorky_broker_fault(broker, NGX_SNORKY_FAULT_APPLIED);

    if (change->end != change->begin) {
        ngx_snorky_log_commit_locked(&zone->log, change->end);
    }

    ngx_snorky_store_end_locked(store);

    return NGX_OK;
}


/*
 * Finds what the steps name.  NGX_DONE: the list has no room, list_size is what
 * it needs.
 */

static ngx_int_t
ngx_snorky_broker_change_look(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change)
{
    size_t                     need;
    ngx_uint_t                 i;
    ngx_snorky_reason_e        reason;
    ngx_snorky_broker_step_t  *step;

    need = 0;
    change->list_len = 0;
    change->revoked = 0;

    for (i = 0; i < change->n; i++) {
        step = &change->steps[i];

        step->new_set = NULL;
        step->new_record = NULL;
        step->new_journal = NULL;
        step->memory = NULL;

        switch (step->type) {

        case NGX_SNORKY_STEP_PUBLISH:
            break;

        case NGX_SNORKY_STEP_RELEASE:
        case NGX_SNORKY_STEP_SET:
        case NGX_SNORKY_STEP_READ:
            step->record = step->hold->record;
            step->set = step->record->set;
            break;

        default:
            step->set = ngx_snorky_store_find_set_locked(store,
                                        step->text.hash, &step->text.name);
            step->record = ngx_snorky_store_find_locked(store, step->set,
                                           step->key_hash, &step->spec.key);
            break;
        }

        reason = ngx_snorky_broker_change_refuse(store, step);

        if (reason) {
            change->reason = reason;
            return NGX_DECLINED;
        }

        need += ngx_snorky_broker_change_listed(change, step);
    }

    if (need > change->list_size) {
        change->list_size = need;
        return NGX_DONE;
    }

    ngx_snorky_broker_change_condition(change);

    return NGX_OK;
}


/* 0: the step can be done */

static ngx_snorky_reason_e
ngx_snorky_broker_change_refuse(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step)
{
    switch (step->type) {

    case NGX_SNORKY_STEP_HOLD:
        return (step->record && !step->shared) ? NGX_SNORKY_TAKEN : 0;

    case NGX_SNORKY_STEP_AWAIT:
        return step->record ? NGX_SNORKY_TAKEN : 0;

    case NGX_SNORKY_STEP_NEED:
        return step->record ? 0 : NGX_SNORKY_MISSING;

    case NGX_SNORKY_STEP_PEEK:
    case NGX_SNORKY_STEP_CLAIM:

        if (step->record == NULL) {
            return NGX_SNORKY_MISSING;
        }

        if (step->record->wait == NULL) {
            return NGX_SNORKY_TAKEN;
        }

        return ((int64_t) (step->record->wait->expires - ngx_current_msec)
                <= 0) ? NGX_SNORKY_MISSING : 0;

    default:
        return 0;
    }
}


/* bytes that the step will list, at most */

static size_t
ngx_snorky_broker_change_listed(ngx_snorky_broker_change_t *change,
    ngx_snorky_broker_step_t *step)
{
    size_t                       head, size;
    ngx_uint_t                   i;
    ngx_snorky_store_journal_t  *journal;

    head = sizeof(ngx_snorky_broker_listed_t);

    switch (step->type) {

    case NGX_SNORKY_STEP_READ:
    case NGX_SNORKY_STEP_PEEK:
        return head + step->record->key + step->record->value_len;

    case NGX_SNORKY_STEP_CLAIM:
        journal = step->set->journal;
        return journal->bytes
               + (journal->next - step->record->wait->since) * head;

    case NGX_SNORKY_STEP_LIST:
        size = step->set ? step->set->bytes + step->set->count * head : 0;

        /* and what the change itself adds */

        for (i = 0; i < change->n; i++) {
            size += head + change->steps[i].spec.key.len
                    + change->steps[i].spec.value.len;
        }

        return size;

    default:
        return 0;
    }
}


/* whether the hold is the record's first, or last, and what depends on it */

static void
ngx_snorky_broker_change_condition(ngx_snorky_broker_change_t *change)
{
    ngx_uint_t                 i, first, last;
    ngx_snorky_broker_step_t  *step;

    first = 0;
    last = 0;

    for (i = 0; i < change->n; i++) {
        step = &change->steps[i];

        switch (step->type) {

        case NGX_SNORKY_STEP_HOLD:
            first = (step->record == NULL);
            break;

        case NGX_SNORKY_STEP_RELEASE:
            last = (step->record->holds == 1);
            break;

        case NGX_SNORKY_STEP_PUBLISH:
            step->skipped = (step->first && !first) || (step->last && !last);
            break;

        default:
            break;
        }
    }
}


static ngx_int_t
ngx_snorky_broker_change_put(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_change_t *change)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_snorky_broker_step_t  *step;

    change->begin = broker->zone->log.head;
    change->end = change->begin;

    for (i = 0; i < change->n; i++) {
        step = &change->steps[i];

        if (step->type != NGX_SNORKY_STEP_PUBLISH || step->skipped) {
            continue;
        }

        rc = ngx_snorky_broker_put_locked(broker, &change->end, &step->text);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_broker_change_take(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step)
{
    size_t  size;

    switch (step->type) {

    case NGX_SNORKY_STEP_HOLD:
    case NGX_SNORKY_STEP_CLAIM:
        size = sizeof(ngx_snorky_store_hold_t);
        break;

    case NGX_SNORKY_STEP_AWAIT:
        size = sizeof(ngx_snorky_store_wait_t);
        break;

    case NGX_SNORKY_STEP_SET:
        size = ngx_max(step->spec.value.len, 1);
        break;

    case NGX_SNORKY_STEP_KEEP:

        if (step->set == NULL
            || !ngx_snorky_journal_awaited(step->set->journal, step->bit))
        {
            return NGX_OK;
        }

        size = sizeof(ngx_snorky_journal_kept_t) + step->text.len;
        break;

    default:
        return NGX_OK;
    }

    step->memory = ngx_snorky_store_alloc_locked(store, size);
    if (step->memory == NULL) {
        return NGX_ERROR;
    }

    return ngx_snorky_broker_change_take_record(store, step);
}


static ngx_int_t
ngx_snorky_broker_change_take_record(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step)
{
    if (step->type != NGX_SNORKY_STEP_HOLD
        && step->type != NGX_SNORKY_STEP_AWAIT)
    {
        return NGX_OK;
    }

    if (step->set == NULL) {
        step->new_set = ngx_snorky_store_create_set_locked(store,
                                        step->text.hash, &step->text.name);
        if (step->new_set == NULL) {
            return NGX_ERROR;
        }
    }

    if (step->record == NULL) {
        step->new_record = ngx_snorky_store_create_locked(store, &step->spec);
        if (step->new_record == NULL) {
            return NGX_ERROR;
        }
    }

    if (step->type == NGX_SNORKY_STEP_AWAIT
        && (step->set == NULL || step->set->journal == NULL))
    {
        step->new_journal = ngx_snorky_journal_create_locked(store);
        if (step->new_journal == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_snorky_broker_change_drop(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step)
{
    if (step->memory) {
        ngx_snorky_store_free_locked(store, step->memory);
    }

    if (step->new_set) {
        ngx_snorky_store_free_locked(store, step->new_set);
    }

    if (step->new_record) {
        ngx_snorky_store_discard_locked(store, step->new_record);
    }

    if (step->new_journal) {
        ngx_snorky_store_free_locked(store, step->new_journal);
    }
}


static void
ngx_snorky_broker_change_apply(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change, ngx_snorky_broker_step_t *step)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_snorky_journal_kept_t  *kept;

    switch (step->type) {

    case NGX_SNORKY_STEP_HOLD:
        ngx_snorky_broker_change_insert(store, step);

        step->hold = step->memory;

        ngx_snorky_store_hold_locked(store, step->hold, step->record,
                                     ngx_process_slot, step->session);
        break;

    case NGX_SNORKY_STEP_AWAIT:
        ngx_snorky_broker_change_insert(store, step);

        ngx_snorky_journal_await_locked(store, step->record, step->memory,
                                        step->mask,
                                        ngx_current_msec + step->timeout);
        break;

    case NGX_SNORKY_STEP_RELEASE:
        ngx_snorky_store_release_locked(store, step->hold);
        break;

    case NGX_SNORKY_STEP_SET:
        ngx_memcpy(step->memory, step->spec.value.data, step->spec.value.len);

        ngx_snorky_store_value_locked(store, step->record, step->memory,
                                      step->spec.value.len);
        break;

    case NGX_SNORKY_STEP_KEEP:

        kept = step->memory;

        if (kept == NULL) {
            break;
        }

        /* a text before it may have been too much for all who waited */

        if (!ngx_snorky_journal_awaited(step->set->journal, step->bit)) {
            ngx_snorky_store_free_locked(store, kept);
            break;
        }

        kept->bit = (uint32_t) step->bit;
        kept->len = (uint32_t) step->text.len;

        p = ngx_snorky_journal_text(kept);

        for (i = 0; i < step->text.n; i++) {
            p = ngx_snorky_store_copy(p, &step->text.parts[i]);
        }

        ngx_snorky_journal_keep_locked(step->set->journal, kept);

        change->revoked += ngx_snorky_journal_revoke_locked(store,
                                           step->set->journal, step->most);
        break;

    case NGX_SNORKY_STEP_CLAIM:
        ngx_snorky_broker_change_claim(store, change, step);
        break;

    case NGX_SNORKY_STEP_READ:
    case NGX_SNORKY_STEP_PEEK:
        ngx_snorky_broker_change_list_record(change, step->record);
        break;

    case NGX_SNORKY_STEP_LIST:
        ngx_snorky_broker_change_list_set(change,
                        ngx_snorky_store_find_set_locked(store,
                                       step->text.hash, &step->text.name));
        break;

    default: /* NGX_SNORKY_STEP_PUBLISH, NGX_SNORKY_STEP_NEED */
        break;
    }
}


static void
ngx_snorky_broker_change_insert(ngx_snorky_store_t *store,
    ngx_snorky_broker_step_t *step)
{
    if (step->new_set) {
        step->set = step->new_set;
        ngx_snorky_store_insert_set_locked(store, step->set);
    }

    if (step->new_record) {
        step->record = step->new_record;
        ngx_snorky_store_insert_locked(store, step->set, step->key_hash,
                                       step->record);
    }

    if (step->new_journal) {
        ngx_snorky_journal_insert_locked(store, step->set, step->new_journal);
    }
}


static void
ngx_snorky_broker_change_claim(ngx_snorky_store_t *store,
    ngx_snorky_broker_change_t *change, ngx_snorky_broker_step_t *step)
{
    uint64_t                     since;
    ngx_queue_t                 *q;
    ngx_snorky_journal_kept_t   *kept;
    ngx_snorky_store_journal_t  *journal;

    journal = step->set->journal;
    since = step->record->wait->since;

    /* the new ones are at the end: the walk is as long as what is listed */

    for (q = ngx_queue_last(&journal->kept);
         q != ngx_queue_sentinel(&journal->kept);
         q = ngx_queue_prev(q))
    {
        kept = ngx_queue_data(q, ngx_snorky_journal_kept_t, of_journal);

        if (kept->number < since) {
            break;
        }
    }

    for (q = ngx_queue_next(q);
         q != ngx_queue_sentinel(&journal->kept);
         q = ngx_queue_next(q))
    {
        kept = ngx_queue_data(q, ngx_snorky_journal_kept_t, of_journal);

        if (step->record->wait->mask >> kept->bit & 1) {
            ngx_snorky_broker_change_list(change, NULL, 0,
                                    ngx_snorky_journal_text(kept), kept->len);
        }
    }

    step->hold = step->memory;

    ngx_snorky_store_hold_locked(store, step->hold, step->record,
                                 ngx_process_slot, step->session);
    ngx_snorky_journal_claim_locked(store, step->record);
    ngx_snorky_journal_settle_locked(store, journal);
}


static void
ngx_snorky_broker_change_list_set(ngx_snorky_broker_change_t *change,
    ngx_snorky_store_set_t *set)
{
    ngx_queue_t  *q;

    if (set == NULL) {
        return;
    }

    for (q = ngx_queue_head(&set->records);
         q != ngx_queue_sentinel(&set->records);
         q = ngx_queue_next(q))
    {
        ngx_snorky_broker_change_list_record(change,
                       ngx_queue_data(q, ngx_snorky_store_record_t, of_set));
    }
}


static void
ngx_snorky_broker_change_list_record(ngx_snorky_broker_change_t *change,
    ngx_snorky_store_record_t *record)
{
    ngx_snorky_broker_change_list(change, ngx_snorky_store_key(record),
                                  record->key, record->value,
                                  record->value_len);
}


static void
ngx_snorky_broker_change_list(ngx_snorky_broker_change_t *change, u_char *key,
    size_t key_len, u_char *value, size_t value_len)
{
    u_char                      *p;
    ngx_snorky_broker_listed_t   listed;

    listed.key = (uint32_t) key_len;
    listed.value = (uint32_t) value_len;

    p = change->list + change->list_len;
    p = ngx_cpymem(p, &listed, sizeof(ngx_snorky_broker_listed_t));

    if (key_len) {
        p = ngx_cpymem(p, key, key_len);
    }

    p = ngx_cpymem(p, value, value_len);

    change->list_len = p - change->list;
}
