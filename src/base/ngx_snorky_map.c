
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The keyed set and its hash.  Owns the table of buckets; the elements are
 * their owner's.  Called by whatever keeps things by the name that a client
 * gave them: topics, a session's subscriptions, services.
 */


#include "ngx_snorky_map.h"


#define NGX_SNORKY_MAP_MIN_BUCKETS  16


static ngx_snorky_map_node_t **ngx_snorky_map_alloc(ngx_uint_t n);
static void ngx_snorky_map_resize(ngx_snorky_map_t *map, ngx_uint_t n);


#define ngx_snorky_map_rotate(x, n)  ((x) << (n) | (x) >> (64 - (n)))


static ngx_inline void
ngx_snorky_map_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = ngx_snorky_map_rotate(v[1], 13) ^ v[0];
    v[3] = ngx_snorky_map_rotate(v[3], 16) ^ v[2];
    v[0] = ngx_snorky_map_rotate(v[0], 32);

    v[2] += v[1];
    v[0] += v[3];
    v[1] = ngx_snorky_map_rotate(v[1], 17) ^ v[2];
    v[3] = ngx_snorky_map_rotate(v[3], 21) ^ v[0];
    v[2] = ngx_snorky_map_rotate(v[2], 32);
}


/* 8 bytes as a little-endian number; compilers make one load of it */

static ngx_inline uint64_t
ngx_snorky_map_word(u_char *p)
{
    return (uint64_t) p[0] | (uint64_t) p[1] << 8
           | (uint64_t) p[2] << 16 | (uint64_t) p[3] << 24
           | (uint64_t) p[4] << 32 | (uint64_t) p[5] << 40
           | (uint64_t) p[6] << 48 | (uint64_t) p[7] << 56;
}


uint64_t
ngx_snorky_map_hash(const uint64_t secret[2], u_char *data, size_t len)
{
    size_t       left;
    uint64_t     v[4], word;
    ngx_uint_t   i;

    v[0] = secret[0] ^ UINT64_C(0x736f6d6570736575);
    v[1] = secret[1] ^ UINT64_C(0x646f72616e646f6d);
    v[2] = secret[0] ^ UINT64_C(0x6c7967656e657261);
    v[3] = secret[1] ^ UINT64_C(0x7465646279746573);

    for (left = len; left >= 8; left -= 8) {
        word = ngx_snorky_map_word(data);
        data += 8;

        v[3] ^= word;
        ngx_snorky_map_round(v);
        ngx_snorky_map_round(v);
        v[0] ^= word;
    }

    word = (uint64_t) len << 56;

    for (i = 0; i < left; i++) {
        word |= (uint64_t) data[i] << (8 * i);
    }

    v[3] ^= word;
    ngx_snorky_map_round(v);
    ngx_snorky_map_round(v);
    v[0] ^= word;

    v[2] ^= 0xff;

    for (i = 0; i < 4; i++) {
        ngx_snorky_map_round(v);
    }

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


ngx_int_t
ngx_snorky_map_init(ngx_snorky_map_t *map)
{
    map->buckets = ngx_snorky_map_alloc(NGX_SNORKY_MAP_MIN_BUCKETS);
    if (map->buckets == NULL) {
        return NGX_ERROR;
    }

    map->mask = NGX_SNORKY_MAP_MIN_BUCKETS - 1;
    map->count = 0;

    return NGX_OK;
}


void
ngx_snorky_map_finish(ngx_snorky_map_t *map)
{
    ngx_free(map->buckets);

    map->buckets = NULL;
    map->mask = 0;
    map->count = 0;
}


ngx_snorky_map_node_t *
ngx_snorky_map_find(ngx_snorky_map_t *map, uint64_t hash, ngx_str_t *key)
{
    ngx_snorky_map_node_t  *node;

    for (node = map->buckets[hash & map->mask]; node; node = node->next) {

        if (node->hash != hash || node->key.len != key->len) {
            continue;
        }

        /* an empty key may come without data */

        if (key->len == 0
            || ngx_memcmp(node->key.data, key->data, key->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


void
ngx_snorky_map_insert(ngx_snorky_map_t *map, ngx_snorky_map_node_t *node)
{
    ngx_snorky_map_node_t  **bucket;

    bucket = &map->buckets[node->hash & map->mask];

    node->next = *bucket;
    *bucket = node;

    map->count++;

    if (map->count > map->mask + 1) {
        ngx_snorky_map_resize(map, (map->mask + 1) * 2);
    }
}


void
ngx_snorky_map_remove(ngx_snorky_map_t *map, ngx_snorky_map_node_t *node)
{
    ngx_snorky_map_node_t  **link;

    link = &map->buckets[node->hash & map->mask];

    while (*link != node) {
        link = &(*link)->next;
    }

    *link = node->next;
    node->next = NULL;

    map->count--;

    /*
     * Far from the point where the table grows, lest a count that goes up
     * and down moves all nodes each time.
     */

    if (map->mask >= NGX_SNORKY_MAP_MIN_BUCKETS
        && map->count < (map->mask + 1) / 8)
    {
        ngx_snorky_map_resize(map, (map->mask + 1) / 2);
    }
}


static ngx_snorky_map_node_t **
ngx_snorky_map_alloc(ngx_uint_t n)
{
    ngx_log_t                log;
    ngx_snorky_map_node_t  **buckets;

    /* a log of level 0 is silent: the caller knows what could not be done */

    log.log_level = 0;

    buckets = ngx_alloc(n * sizeof(ngx_snorky_map_node_t *), &log);

    if (buckets) {
        ngx_memzero(buckets, n * sizeof(ngx_snorky_map_node_t *));
    }

    return buckets;
}


/* to n buckets, a power of two; without memory the table stays as it is */

static void
ngx_snorky_map_resize(ngx_snorky_map_t *map, ngx_uint_t n)
{
    ngx_uint_t               i;
    ngx_snorky_map_node_t   *node, *next, **buckets, **bucket;

    buckets = ngx_snorky_map_alloc(n);
    if (buckets == NULL) {
        return;
    }

    for (i = 0; i <= map->mask; i++) {

        for (node = map->buckets[i]; node; node = next) {
            next = node->next;

            bucket = &buckets[node->hash & (n - 1)];

            node->next = *bucket;
            *bucket = node;
        }
    }

    ngx_free(map->buckets);

    map->buckets = buckets;
    map->mask = n - 1;
}
