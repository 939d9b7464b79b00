
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the pool of records, their tables and whose they are.  Called by the
 * zone when it is made, and by the broker under the zone's mutex.
 */


#include "ngx_snorky_store.h"


/* a bucket for so many bytes of the zone */
#define NGX_SNORKY_STORE_BUCKET     1024

/* of these, as many as there are buckets of tallies */
#define NGX_SNORKY_STORE_TALLIES    4

/* with less, the pool's own tables would leave nothing */
#define NGX_SNORKY_STORE_MIN_PAGES  2


#define ngx_snorky_store_mix(set, hash)                                       \
    (((set)->hash << 32 | (set)->hash >> 32) ^ (hash))


static size_t ngx_snorky_store_listed(ngx_snorky_store_record_t *record);
static void ngx_snorky_store_move(ngx_queue_t *to, ngx_queue_t *from);


ngx_int_t
ngx_snorky_store_init(ngx_snorky_store_t *store, ngx_slab_pool_t *pool,
    size_t zone_size, ngx_uint_t nslots)
{
    u_char      *p;
    ngx_uint_t   n, pages;

    for (n = 64; n * 2 <= zone_size / NGX_SNORKY_STORE_BUCKET; n *= 2) {
        /* void */
    }

    store->mask = n - 1;
    store->tally_mask = n / NGX_SNORKY_STORE_TALLIES - 1;
    store->nowners = nslots;

    store->sets = ngx_slab_alloc(pool, n * sizeof(void *));
    store->records = ngx_slab_alloc(pool, n * sizeof(void *));
    store->owners = ngx_slab_alloc(pool, nslots * sizeof(ngx_queue_t));
    store->tallies = ngx_slab_alloc(pool,
                                (store->tally_mask + 1) * sizeof(void *));
    store->tally_owners = ngx_slab_alloc(pool, nslots * sizeof(ngx_queue_t));

    if (store->sets == NULL
        || store->records == NULL
        || store->owners == NULL
        || store->tallies == NULL
        || store->tally_owners == NULL)
    {
        return NGX_ERROR;
    }

    /* the rest may lie in pieces: the largest one is taken */

    p = NULL;

    for (pages = pool->pfree; pages >= NGX_SNORKY_STORE_MIN_PAGES; pages--) {

        p = ngx_slab_alloc(pool, pages * ngx_pagesize);

        if (p) {
            break;
        }
    }

    if (p) {
        store->pool = (ngx_slab_pool_t *) p;
        store->size = pages * ngx_pagesize;
    }

    ngx_snorky_store_reset_locked(store);

    return NGX_OK;
}


void
ngx_snorky_store_reset_locked(ngx_snorky_store_t *store)
{
    ngx_uint_t        i;
    ngx_slab_pool_t  *pool;

    pool = store->pool;

    /* the epoch first: who dies in here leaves it all to be done again */

    store->epoch++;
    store->count = 0;
    store->waiting = 0;

    ngx_memzero(store->sets, (store->mask + 1) * sizeof(void *));
    ngx_memzero(store->records, (store->mask + 1) * sizeof(void *));
    ngx_memzero(store->tallies, (store->tally_mask + 1) * sizeof(void *));

    ngx_queue_init(&store->orphans);
    ngx_queue_init(&store->journals);
    ngx_queue_init(&store->tally_orphans);

    for (i = 0; i < store->nowners; i++) {
        ngx_queue_init(&store->owners[i]);
        ngx_queue_init(&store->tally_owners[i]);
    }

    if (pool) {
        ngx_memzero(pool, sizeof(ngx_slab_pool_t));

        pool->end = (u_char *) pool + store->size;
        pool->min_shift = 3;
        pool->addr = pool;

        ngx_slab_init(pool);

        /* a full store is an answer to a client, not an error */

        pool->log_nomem = 0;
    }

    ngx_snorky_store_end_locked(store);
}


u_char *
ngx_snorky_store_copy(u_char *p, ngx_str_t *text)
{
    if (text->len == 0) {
        return p;
    }

    return ngx_cpymem(p, text->data, text->len);
}


size_t
ngx_snorky_store_room(ngx_snorky_store_t *store)
{
    return store->pool ? store->pool->pfree * ngx_pagesize : 0;
}


ngx_snorky_store_set_t *
ngx_snorky_store_find_set_locked(ngx_snorky_store_t *store, uint64_t hash,
    ngx_str_t *name)
{
    ngx_snorky_store_set_t  *set;

    for (set = store->sets[hash & store->mask]; set; set = set->next) {

        if (set->hash == hash
            && set->name == name->len
            && ngx_memcmp(ngx_snorky_store_name(set), name->data, name->len)
               == 0)
        {
            return set;
        }
    }

    return NULL;
}


ngx_snorky_store_record_t *
ngx_snorky_store_find_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set, uint64_t hash, ngx_str_t *key)
{
    ngx_snorky_store_record_t  *record;

    if (set == NULL) {
        return NULL;
    }

    hash = ngx_snorky_store_mix(set, hash);

    for (record = store->records[hash & store->mask];
         record;
         record = record->next)
    {
        if (record->hash == hash
            && record->set == set
            && record->key == key->len
            && ngx_memcmp(ngx_snorky_store_key(record), key->data, key->len)
               == 0)
        {
            return record;
        }
    }

    return NULL;
}


ngx_snorky_store_set_t *
ngx_snorky_store_create_set_locked(ngx_snorky_store_t *store, uint64_t hash,
    ngx_str_t *name)
{
    ngx_snorky_store_set_t  *set;

    set = ngx_snorky_store_alloc_locked(store,
                                 sizeof(ngx_snorky_store_set_t) + name->len);
    if (set == NULL) {
        return NULL;
    }

    ngx_memzero(set, sizeof(ngx_snorky_store_set_t));

    set->hash = hash;
    set->name = name->len;

    ngx_memcpy(ngx_snorky_store_name(set), name->data, name->len);
    ngx_queue_init(&set->records);

    return set;
}


void
ngx_snorky_store_insert_set_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set)
{
    ngx_snorky_store_set_t  **bucket;

    bucket = &store->sets[set->hash & store->mask];

    set->next = *bucket;
    *bucket = set;
}


void
ngx_snorky_store_remove_set_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set)
{
    ngx_snorky_store_set_t  **link;

    if (set->count || set->journal) {
        return;
    }

    link = &store->sets[set->hash & store->mask];

    while (*link != set) {
        link = &(*link)->next;
    }

    *link = set->next;

    ngx_snorky_store_free_locked(store, set);
}


/* the value of a record is often its key, and takes no memory then */

ngx_snorky_store_record_t *
ngx_snorky_store_create_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_spec_t *spec)
{
    u_char                     *p;
    ngx_snorky_store_record_t  *record;

    record = ngx_snorky_store_alloc_locked(store,
                         sizeof(ngx_snorky_store_record_t) + spec->key.len
                         + spec->farewell[0].len + spec->farewell[1].len);
    if (record == NULL) {
        return NULL;
    }

    ngx_memzero(record, sizeof(ngx_snorky_store_record_t));

    record->key = (uint32_t) spec->key.len;
    record->farewell[0] = (uint32_t) spec->farewell[0].len;
    record->farewell[1] = (uint32_t) spec->farewell[1].len;

    p = ngx_snorky_store_key(record);
    record->value = p;
    record->value_len = (uint32_t) spec->value.len;

    p = ngx_snorky_store_copy(p, &spec->key);
    p = ngx_snorky_store_copy(p, &spec->farewell[0]);
    (void) ngx_snorky_store_copy(p, &spec->farewell[1]);

    if (spec->value.len == spec->key.len
        && ngx_memcmp(spec->value.data, spec->key.data, spec->key.len) == 0)
    {
        return record;
    }

    record->value = ngx_snorky_store_alloc_locked(store,
                                               ngx_max(spec->value.len, 1));
    if (record->value == NULL) {
        ngx_snorky_store_free_locked(store, record);
        return NULL;
    }

    ngx_memcpy(record->value, spec->value.data, spec->value.len);

    return record;
}


void
ngx_snorky_store_discard_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record)
{
    if (record->value != ngx_snorky_store_key(record)) {
        ngx_snorky_store_free_locked(store, record->value);
    }

    ngx_snorky_store_free_locked(store, record);
}


static size_t
ngx_snorky_store_listed(ngx_snorky_store_record_t *record)
{
    return record->key + record->value_len;
}


void
ngx_snorky_store_insert_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set, uint64_t hash,
    ngx_snorky_store_record_t *record)
{
    ngx_snorky_store_record_t  **bucket;

    record->set = set;
    record->hash = ngx_snorky_store_mix(set, hash);

    bucket = &store->records[record->hash & store->mask];

    record->next = *bucket;
    *bucket = record;

    ngx_queue_insert_tail(&set->records, &record->of_set);

    set->count++;
    set->bytes += ngx_snorky_store_listed(record);
    store->count++;
}


void
ngx_snorky_store_remove_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record)
{
    ngx_snorky_store_set_t      *set;
    ngx_snorky_store_record_t  **link;

    set = record->set;
    link = &store->records[record->hash & store->mask];

    while (*link != record) {
        link = &(*link)->next;
    }

    *link = record->next;

    ngx_queue_remove(&record->of_set);

    set->count--;
    set->bytes -= ngx_snorky_store_listed(record);
    store->count--;

    ngx_snorky_store_discard_locked(store, record);
    ngx_snorky_store_remove_set_locked(store, set);
}


void
ngx_snorky_store_value_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record, u_char *value, size_t len)
{
    if (record->value != ngx_snorky_store_key(record)) {
        ngx_snorky_store_free_locked(store, record->value);
    }

    record->set->bytes -= ngx_snorky_store_listed(record);

    record->value = value;
    record->value_len = (uint32_t) len;

    record->set->bytes += ngx_snorky_store_listed(record);
}


void
ngx_snorky_store_hold_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_hold_t *hold, ngx_snorky_store_record_t *record,
    ngx_uint_t slot, uint64_t session)
{
    hold->record = record;
    hold->session = session;

    record->holds++;

    ngx_queue_insert_tail(&store->owners[slot], &hold->of_owner);
}


void
ngx_snorky_store_release_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_hold_t *hold)
{
    ngx_snorky_store_record_t  *record;

    record = hold->record;

    ngx_queue_remove(&hold->of_owner);
    ngx_snorky_store_free_locked(store, hold);

    if (--record->holds == 0) {
        ngx_snorky_store_remove_locked(store, record);
    }
}


void
ngx_snorky_store_orphan_locked(ngx_snorky_store_t *store, ngx_uint_t slot)
{
    if (ngx_queue_empty(&store->owners[slot])
        && ngx_queue_empty(&store->tally_owners[slot]))
    {
        return;
    }

    ngx_snorky_store_begin_locked(store);

    ngx_snorky_store_move(&store->orphans, &store->owners[slot]);
    ngx_snorky_store_move(&store->tally_orphans, &store->tally_owners[slot]);

    ngx_snorky_store_end_locked(store);
}


static void
ngx_snorky_store_move(ngx_queue_t *to, ngx_queue_t *from)
{
    if (ngx_queue_empty(from)) {
        return;
    }

    ngx_queue_add(to, from);
    ngx_queue_init(from);
}
