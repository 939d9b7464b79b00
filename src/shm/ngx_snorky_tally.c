
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the tallies in the store.  Called by the broker under the zone's mutex.
 */


#include "ngx_snorky_tally.h"


static ngx_uint_t ngx_snorky_tally_is(ngx_snorky_store_tally_t *tally,
    uint64_t hash, ngx_str_t *key, ngx_uint_t channel);


ngx_snorky_store_tally_t *
ngx_snorky_tally_find_locked(ngx_snorky_store_t *store, uint64_t hash,
    ngx_str_t *key, ngx_uint_t channel, uint64_t owner, uint64_t *sum)
{
    ngx_snorky_store_tally_t  *tally, *own;

    own = NULL;
    *sum = 0;

    for (tally = store->tallies[hash & store->tally_mask];
         tally;
         tally = tally->next)
    {
        if (!ngx_snorky_tally_is(tally, hash, key, channel)) {
            continue;
        }

        *sum += tally->count;

        if (tally->owner == (uint32_t) owner) {
            own = tally;
        }
    }

    return own;
}


static ngx_uint_t
ngx_snorky_tally_is(ngx_snorky_store_tally_t *tally, uint64_t hash,
    ngx_str_t *key, ngx_uint_t channel)
{
    return tally->hash == hash
           && tally->channel == channel
           && tally->len == key->len
           && ngx_memcmp(tally->key, key->data, key->len) == 0;
}


uint32_t
ngx_snorky_tally_owner_locked(ngx_snorky_store_t *store, uint64_t hash,
    ngx_str_t *key)
{
    ngx_snorky_store_tally_t  *tally;

    for (tally = store->tallies[hash & store->tally_mask];
         tally;
         tally = tally->next)
    {
        if (ngx_snorky_tally_is(tally, hash, key, 0) && tally->count) {
            return tally->owner;
        }
    }

    return 0;
}


ngx_snorky_store_tally_t *
ngx_snorky_tally_add_locked(ngx_snorky_store_t *store, uint64_t hash,
    ngx_str_t *key, ngx_uint_t channel, uint64_t owner, ngx_uint_t slot)
{
    ngx_snorky_store_tally_t  *tally, **bucket;

    tally = ngx_snorky_store_alloc_locked(store,
                      offsetof(ngx_snorky_store_tally_t, key) + key->len);
    if (tally == NULL) {
        return NULL;
    }

    tally->hash = hash;
    tally->owner = (uint32_t) owner;
    tally->count = 0;
    tally->len = key->len;
    tally->channel = channel;

    ngx_memcpy(tally->key, key->data, key->len);

    bucket = &store->tallies[hash & store->tally_mask];

    tally->next = *bucket;
    *bucket = tally;

    ngx_queue_insert_tail(&store->tally_owners[slot], &tally->of_owner);

    return tally;
}


void
ngx_snorky_tally_remove_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally)
{
    ngx_snorky_store_tally_t  **link;

    link = &store->tallies[tally->hash & store->tally_mask];

    while (*link != tally) {
        link = &(*link)->next;
    }

    *link = tally->next;

    ngx_queue_remove(&tally->of_owner);
    ngx_snorky_store_free_locked(store, tally);
}
