
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the life of a slot: free, live, lost, free.  Called by the broker.
 */


#include "ngx_snorky_slot.h"


static uint64_t *ngx_snorky_slot_word(ngx_snorky_slot_t *slot, uint64_t hash,
    uint64_t *bit);


void
ngx_snorky_slot_take_locked(ngx_snorky_slot_t *slot, uint64_t generation,
    uint64_t position)
{
    ngx_memzero(slot->interest, sizeof(slot->interest));
    ngx_memzero(&slot->stats, sizeof(ngx_snorky_stats_t));

    slot->pid = ngx_pid;
    slot->cursor = position;
    slot->beat = ngx_current_msec;
    slot->bell = 0;
    slot->wants_room = 0;
    slot->quitting = 0;
    slot->generation = generation;

    /* whoever dies before this line has left a free slot */

    ngx_snorky_store(&slot->state, NGX_SNORKY_SLOT_LIVE);
}


void
ngx_snorky_slot_free_locked(ngx_snorky_slot_t *slot, ngx_snorky_stats_t *ended)
{
    if (slot->state == NGX_SNORKY_SLOT_FREE) {
        return;
    }

    ngx_snorky_store(&slot->state, NGX_SNORKY_SLOT_FREE);

    ngx_snorky_stats_add(ended, &slot->stats, 0);
}


void
ngx_snorky_stats_add(ngx_snorky_stats_t *sum, ngx_snorky_stats_t *stats,
    ngx_uint_t gauges)
{
    uint64_t    *to, *from;
    ngx_uint_t   i;

    to = (uint64_t *) sum;
    from = (uint64_t *) stats;

    for (i = gauges ? 0 : NGX_SNORKY_STATS_GAUGES;
         i < NGX_SNORKY_STATS_WORDS;
         i++)
    {
        to[i] += from[i];
    }
}


static uint64_t *
ngx_snorky_slot_word(ngx_snorky_slot_t *slot, uint64_t hash, uint64_t *bit)
{
    hash &= NGX_SNORKY_INTEREST_BITS - 1;

    *bit = (uint64_t) 1 << (hash & 63);

    return &slot->interest[hash >> 6];
}


void
ngx_snorky_slot_set_interest(ngx_snorky_slot_t *slot, uint64_t hash)
{
    uint64_t  *word, bit;

    word = ngx_snorky_slot_word(slot, hash, &bit);

    ngx_snorky_store(word, *word | bit);
}


void
ngx_snorky_slot_clear_interest(ngx_snorky_slot_t *slot, uint64_t hash)
{
    uint64_t  *word, bit;

    word = ngx_snorky_slot_word(slot, hash, &bit);

    ngx_snorky_store(word, *word & ~bit);
}


ngx_uint_t
ngx_snorky_slot_interested(ngx_snorky_slot_t *slot, uint64_t hash)
{
    uint64_t  *word, bit;

    word = ngx_snorky_slot_word(slot, hash, &bit);

    return (ngx_snorky_load(word) & bit) ? 1 : 0;
}


ngx_uint_t
ngx_snorky_slot_dead(ngx_snorky_slot_t *slot)
{
    return kill((ngx_pid_t) slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH;
}
