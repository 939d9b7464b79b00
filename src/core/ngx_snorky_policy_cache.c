
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the verdicts that one worker keeps for one policy.  Called by the
 * policies.
 */


#include "ngx_snorky_policy_cache.h"


typedef struct {
    ngx_snorky_map_node_t     node;     /* first: found by the map */
    ngx_queue_t               queue;
    ngx_msec_t                until;
    ngx_uint_t                allowed;
} ngx_snorky_policy_cache_entry_t;  /* its key follows */


static void ngx_snorky_policy_cache_free(ngx_snorky_policy_cache_t *cache,
    ngx_snorky_policy_cache_entry_t *entry);


ngx_snorky_policy_cache_t *
ngx_snorky_policy_cache_create(ngx_uint_t most, ngx_log_t *log)
{
    ngx_snorky_policy_cache_t  *cache;

    cache = ngx_alloc(sizeof(ngx_snorky_policy_cache_t), log);
    if (cache == NULL) {
        return NULL;
    }

    if (ngx_snorky_map_init(&cache->map) != NGX_OK) {
        ngx_free(cache);
        return NULL;
    }

    ngx_queue_init(&cache->entries);

    cache->most = most;
    cache->log = log;

    return cache;
}


void
ngx_snorky_policy_cache_destroy(ngx_snorky_policy_cache_t *cache)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&cache->entries)) {
        q = ngx_queue_head(&cache->entries);

        ngx_snorky_policy_cache_free(cache,
                ngx_queue_data(q, ngx_snorky_policy_cache_entry_t, queue));
    }

    ngx_snorky_map_finish(&cache->map);
    ngx_free(cache);
}


ngx_int_t
ngx_snorky_policy_cache_find(ngx_snorky_policy_cache_t *cache, uint64_t hash,
    ngx_str_t *key)
{
    ngx_snorky_policy_cache_entry_t  *entry;

    entry = (ngx_snorky_policy_cache_entry_t *)
                ngx_snorky_map_find(&cache->map, hash, key);

    if (entry == NULL) {
        return NGX_DECLINED;
    }

    if ((ngx_msec_int_t) (entry->until - ngx_current_msec) <= 0) {
        ngx_snorky_policy_cache_free(cache, entry);
        return NGX_DECLINED;
    }

    ngx_queue_remove(&entry->queue);
    ngx_queue_insert_head(&cache->entries, &entry->queue);

    return entry->allowed;
}


void
ngx_snorky_policy_cache_keep(ngx_snorky_policy_cache_t *cache, uint64_t hash,
    ngx_str_t *key, ngx_uint_t allowed, ngx_msec_t time)
{
    ngx_queue_t                      *q;
    ngx_snorky_policy_cache_entry_t  *entry;

    /* others may have asked the same meanwhile: the last answer counts */

    entry = (ngx_snorky_policy_cache_entry_t *)
                ngx_snorky_map_find(&cache->map, hash, key);

    if (entry) {
        ngx_snorky_policy_cache_free(cache, entry);
    }

    if (cache->map.count >= cache->most) {
        q = ngx_queue_last(&cache->entries);

        ngx_snorky_policy_cache_free(cache,
                ngx_queue_data(q, ngx_snorky_policy_cache_entry_t, queue));
    }

    entry = ngx_alloc(sizeof(ngx_snorky_policy_cache_entry_t) + key->len,
                      cache->log);
    if (entry == NULL) {
        return;
    }

    entry->node.hash = hash;
    entry->node.key.data = (u_char *) (entry + 1);
    entry->node.key.len = key->len;

    ngx_memcpy(entry->node.key.data, key->data, key->len);

    entry->until = ngx_current_msec + time;
    entry->allowed = allowed;

    ngx_snorky_map_insert(&cache->map, &entry->node);
    ngx_queue_insert_head(&cache->entries, &entry->queue);
}


static void
ngx_snorky_policy_cache_free(ngx_snorky_policy_cache_t *cache,
    ngx_snorky_policy_cache_entry_t *entry)
{
    ngx_snorky_map_remove(&cache->map, &entry->node);
    ngx_queue_remove(&entry->queue);
    ngx_free(entry);
}
