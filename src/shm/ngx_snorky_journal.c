
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns who waits and what is kept.  Called by the broker, under the zone's
 * mutex and between the store's begin and end.
 */


#include "ngx_snorky_journal.h"


static void ngx_snorky_journal_trim(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal);
static void ngx_snorky_journal_count(ngx_snorky_store_journal_t *journal,
    uint64_t mask, int n);
static void ngx_snorky_journal_drop(ngx_snorky_store_t *store,
    ngx_snorky_store_wait_t *wait);


ngx_snorky_store_journal_t *
ngx_snorky_journal_create_locked(ngx_snorky_store_t *store)
{
    ngx_snorky_store_journal_t  *journal;

    journal = ngx_snorky_store_alloc_locked(store,
                                          sizeof(ngx_snorky_store_journal_t));
    if (journal == NULL) {
        return NULL;
    }

    ngx_memzero(journal, sizeof(ngx_snorky_store_journal_t));

    ngx_queue_init(&journal->waiting);
    ngx_queue_init(&journal->kept);

    return journal;
}


void
ngx_snorky_journal_insert_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set, ngx_snorky_store_journal_t *journal)
{
    journal->set = set;
    set->journal = journal;

    ngx_queue_insert_tail(&store->journals, &journal->of_store);
}


void
ngx_snorky_journal_await_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record, ngx_snorky_store_wait_t *wait,
    uint64_t mask, uint64_t expires)
{
    ngx_snorky_store_journal_t  *journal;

    journal = record->set->journal;

    wait->record = record;
    wait->since = journal->next;
    wait->expires = expires;
    wait->mask = mask;

    record->wait = wait;

    ngx_queue_insert_tail(&journal->waiting, &wait->of_journal);
    ngx_snorky_journal_count(journal, mask, 1);

    store->waiting++;
}


static void
ngx_snorky_journal_count(ngx_snorky_store_journal_t *journal, uint64_t mask,
    int n)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SNORKY_JOURNAL_BITS; i++) {
        if (mask >> i & 1) {
            journal->counts[i] += n;
        }
    }
}


void
ngx_snorky_journal_keep_locked(ngx_snorky_store_journal_t *journal,
    ngx_snorky_journal_kept_t *kept)
{
    kept->number = journal->next++;

    ngx_queue_insert_tail(&journal->kept, &kept->of_journal);

    journal->bytes += kept->len;
}


void
ngx_snorky_journal_claim_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record)
{
    ngx_snorky_store_wait_t     *wait;
    ngx_snorky_store_journal_t  *journal;

    wait = record->wait;
    journal = record->set->journal;

    record->wait = NULL;

    ngx_queue_remove(&wait->of_journal);
    ngx_snorky_journal_count(journal, wait->mask, -1);

    store->waiting--;

    ngx_snorky_store_free_locked(store, wait);
    ngx_snorky_journal_trim(store, journal);
}


/* the first of the queue began to wait before all others */

static void
ngx_snorky_journal_trim(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal)
{
    uint64_t                    since;
    ngx_queue_t                *q;
    ngx_snorky_store_wait_t    *wait;
    ngx_snorky_journal_kept_t  *kept;

    since = journal->next;

    if (!ngx_queue_empty(&journal->waiting)) {
        q = ngx_queue_head(&journal->waiting);
        wait = ngx_queue_data(q, ngx_snorky_store_wait_t, of_journal);
        since = wait->since;
    }

    while (!ngx_queue_empty(&journal->kept)) {
        q = ngx_queue_head(&journal->kept);
        kept = ngx_queue_data(q, ngx_snorky_journal_kept_t, of_journal);

        if (kept->number >= since) {
            break;
        }

        ngx_queue_remove(q);
        journal->bytes -= kept->len;

        ngx_snorky_store_free_locked(store, kept);
    }
}


static void
ngx_snorky_journal_drop(ngx_snorky_store_t *store,
    ngx_snorky_store_wait_t *wait)
{
    ngx_snorky_store_record_t  *record;

    record = wait->record;

    ngx_snorky_journal_claim_locked(store, record);
    ngx_snorky_store_remove_locked(store, record);
}


ngx_uint_t
ngx_snorky_journal_revoke_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal, uint64_t most)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    for (n = 0; journal->bytes > most; n++) {

        if (ngx_queue_empty(&journal->waiting)) {
            break;
        }

        q = ngx_queue_head(&journal->waiting);

        ngx_snorky_journal_drop(store,
                      ngx_queue_data(q, ngx_snorky_store_wait_t, of_journal));
    }

    return n;
}


/* who waits longest is the first whose time is over, or nearly so */

ngx_uint_t
ngx_snorky_journal_expire_locked(ngx_snorky_store_t *store, uint64_t now,
    ngx_uint_t most)
{
    ngx_uint_t                   n;
    ngx_queue_t                 *q, *next, *first;
    ngx_snorky_store_wait_t     *wait;
    ngx_snorky_store_journal_t  *journal;

    n = 0;

    for (q = ngx_queue_head(&store->journals);
         q != ngx_queue_sentinel(&store->journals);
         q = next)
    {
        next = ngx_queue_next(q);
        journal = ngx_queue_data(q, ngx_snorky_store_journal_t, of_store);

        while (!ngx_queue_empty(&journal->waiting) && n < most) {
            first = ngx_queue_head(&journal->waiting);
            wait = ngx_queue_data(first, ngx_snorky_store_wait_t, of_journal);

            if ((int64_t) (wait->expires - now) > 0) {
                break;
            }

            ngx_snorky_journal_drop(store, wait);
            n++;
        }

        ngx_snorky_journal_settle_locked(store, journal);
    }

    return n;
}


void
ngx_snorky_journal_settle_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal)
{
    ngx_snorky_store_set_t  *set;

    if (!ngx_queue_empty(&journal->waiting)) {
        return;
    }

    set = journal->set;
    set->journal = NULL;

    ngx_queue_remove(&journal->of_store);
    ngx_snorky_store_free_locked(store, journal);

    ngx_snorky_store_remove_set_locked(store, set);
}
