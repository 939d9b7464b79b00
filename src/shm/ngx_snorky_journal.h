
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Journals: records that wait for a client to claim them, and the texts that
 * are kept for it meanwhile.  A set of records has one journal, in which each
 * text is kept once, however many wait for it.
 *
 * Texts have numbers that grow.  Who begins to wait gets all that are kept
 * from the journal's next number on.  A text goes when nobody waits who began
 * before it.
 */


#ifndef _NGX_SNORKY_JOURNAL_H_INCLUDED_
#define _NGX_SNORKY_JOURNAL_H_INCLUDED_


#include "ngx_snorky_store.h"


/* texts are kept only if somebody waits for their bit */
#define NGX_SNORKY_JOURNAL_BITS  64


struct ngx_snorky_store_journal_s {
    ngx_queue_t                   of_store;
    ngx_snorky_store_set_t       *set;
    ngx_queue_t                   waiting;      /* the longest first */
    ngx_queue_t                   kept;         /* the oldest first */
    uint64_t                      bytes;        /* of all kept texts */
    uint64_t                      next;         /* number of the next text */
    uint32_t                      counts[NGX_SNORKY_JOURNAL_BITS];
};


struct ngx_snorky_store_wait_s {
    ngx_queue_t                   of_journal;
    ngx_snorky_store_record_t    *record;
    uint64_t                      since;        /* number of the first text */
    uint64_t                      expires;      /* ngx_current_msec */
    uint64_t                      mask;
};


typedef struct {
    ngx_queue_t                   of_journal;
    uint64_t                      number;
    uint32_t                      bit;
    uint32_t                      len;          /* the text follows */
} ngx_snorky_journal_kept_t;

#define ngx_snorky_journal_text(kept)  ((u_char *) ((kept) + 1))


/* NULL: the store is full */
ngx_snorky_store_journal_t *ngx_snorky_journal_create_locked(
    ngx_snorky_store_t *store);

/* journal: memory of the store, which becomes the set's */
void ngx_snorky_journal_insert_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set, ngx_snorky_store_journal_t *journal);

/* the record, which is in the set, waits; wait: memory of the store */
void ngx_snorky_journal_await_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record, ngx_snorky_store_wait_t *wait,
    uint64_t mask, uint64_t expires);

/* whether somebody waits for texts with this bit */
#define ngx_snorky_journal_awaited(journal, bit)                              \
    ((journal) && (journal)->counts[bit])

/* kept: memory of the store, with bit, len and text */
void ngx_snorky_journal_keep_locked(ngx_snorky_store_journal_t *journal,
    ngx_snorky_journal_kept_t *kept);

/*
 * The record waits no longer, and somebody is to hold it; what only it has
 * waited for goes.  It has a hold before, or is removed after.
 */

void ngx_snorky_journal_claim_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record);

/*
 * Removes those who have waited longest, until not more than "most" bytes are
 * kept.  Returns how many.
 */

ngx_uint_t ngx_snorky_journal_revoke_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal, uint64_t most);

/* removes those whose time is over, at most "most" of them, in all journals */
ngx_uint_t ngx_snorky_journal_expire_locked(ngx_snorky_store_t *store,
    uint64_t now, ngx_uint_t most);

/* nobody waits: the journal goes, and its set if that is empty */
void ngx_snorky_journal_settle_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_journal_t *journal);


#endif /* _NGX_SNORKY_JOURNAL_H_INCLUDED_ */
