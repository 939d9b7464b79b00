
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The tables of the matcher and their hash.  Owns the buckets; the elements
 * are those of the index, its only caller.
 */


#include "ngx_snorky_matcher_table.h"


#define NGX_SNORKY_MATCHER_TABLE_MIN    16

#define NGX_SNORKY_MATCHER_TABLE_PRIME  ((UINT64_C(1) << 61) - 1)


static uint64_t ngx_snorky_matcher_table_product(uint64_t a, uint64_t b);
static void ngx_snorky_matcher_table_grow(ngx_snorky_matcher_table_t *table,
    ngx_log_t *log);


/*
 * Clients have a say in the keys, so the hash is one of a family: the key,
 * cut into words, gives the coefficients of a polynomial over a prime field,
 * and its value at a secret place is taken.  Two polynomials agree at no more
 * places than their degree, so no keys collide for more than a few secrets.
 */

uint64_t
ngx_snorky_matcher_hash(uint64_t secret, uint64_t start, ngx_str_t *key)
{
    size_t     left;
    u_char    *p;
    uint32_t   word;
    uint64_t   hash;

    p = key->data;
    hash = ngx_snorky_matcher_table_product(start + key->len + 1, secret);

    for (left = key->len; left >= 4; left -= 4) {
        ngx_memcpy(&word, p, 4);
        p += 4;

        hash = ngx_snorky_matcher_table_product(hash + word, secret);
    }

    if (left == 0) {
        return hash;
    }

    for (word = 0; left; left--) {
        word = word << 8 | *p++;
    }

    return ngx_snorky_matcher_table_product(hash + word, secret);
}


/*
 * The product in the field of 2^61 - 1, where 2^61 is 1: in halves of 31
 * bits.  The factors are below 2^62, the second one below 2^60.
 */

static uint64_t
ngx_snorky_matcher_table_product(uint64_t a, uint64_t b)
{
    uint64_t  high, low, middle, product;

    high = (a >> 31) * (b >> 31);
    low = (a & 0x7fffffff) * (b & 0x7fffffff);
    middle = (a >> 31) * (b & 0x7fffffff) + (a & 0x7fffffff) * (b >> 31);

    product = 2 * high + low + (middle >> 30)
              + ((middle & 0x3fffffff) << 31);

    product = (product & NGX_SNORKY_MATCHER_TABLE_PRIME) + (product >> 61);

    return (product < NGX_SNORKY_MATCHER_TABLE_PRIME)
           ? product : product - NGX_SNORKY_MATCHER_TABLE_PRIME;
}


ngx_int_t
ngx_snorky_matcher_table_init(ngx_snorky_matcher_table_t *table,
    ngx_log_t *log)
{
    if (table->buckets) {
        return NGX_OK;
    }

    table->buckets = ngx_calloc(NGX_SNORKY_MATCHER_TABLE_MIN
                                * sizeof(ngx_snorky_matcher_node_t *), log);
    if (table->buckets == NULL) {
        return NGX_ERROR;
    }

    table->mask = NGX_SNORKY_MATCHER_TABLE_MIN - 1;
    table->count = 0;

    return NGX_OK;
}


void
ngx_snorky_matcher_table_finish(ngx_snorky_matcher_table_t *table)
{
    ngx_free(table->buckets);

    ngx_memzero(table, sizeof(ngx_snorky_matcher_table_t));
}


ngx_snorky_matcher_node_t *
ngx_snorky_matcher_table_find(ngx_snorky_matcher_table_t *table,
    uint64_t hash, void *scope, ngx_str_t *key)
{
    ngx_snorky_matcher_node_t  *node;

    if (table->buckets == NULL) {
        return NULL;
    }

    for (node = table->buckets[hash & table->mask]; node; node = node->next) {

        if (node->hash != hash
            || node->scope != scope
            || node->key.len != key->len)
        {
            continue;
        }

        /* the key of no filter has no data */

        if (key->len == 0
            || ngx_memcmp(node->key.data, key->data, key->len) == 0)
        {
            return node;
        }
    }

    return NULL;
}


void
ngx_snorky_matcher_table_insert(ngx_snorky_matcher_table_t *table,
    ngx_snorky_matcher_node_t *node, ngx_log_t *log)
{
    ngx_snorky_matcher_node_t  **bucket;

    bucket = &table->buckets[node->hash & table->mask];

    node->next = *bucket;
    *bucket = node;

    table->count++;

    if (table->count > table->mask + 1) {
        ngx_snorky_matcher_table_grow(table, log);
    }
}


void
ngx_snorky_matcher_table_remove(ngx_snorky_matcher_table_t *table,
    ngx_snorky_matcher_node_t *node)
{
    ngx_snorky_matcher_node_t  **link;

    link = &table->buckets[node->hash & table->mask];

    while (*link != node) {
        link = &(*link)->next;
    }

    *link = node->next;

    table->count--;
}


/* without memory it stays as it is */

static void
ngx_snorky_matcher_table_grow(ngx_snorky_matcher_table_t *table,
    ngx_log_t *log)
{
    ngx_uint_t                   i, n;
    ngx_snorky_matcher_node_t   *node, *next, **buckets, **bucket;

    n = (table->mask + 1) * 2;

    buckets = ngx_calloc(n * sizeof(ngx_snorky_matcher_node_t *), log);
    if (buckets == NULL) {
        return;
    }

    for (i = 0; i <= table->mask; i++) {

        for (node = table->buckets[i]; node; node = next) {
            next = node->next;

            bucket = &buckets[node->hash & (n - 1)];

            node->next = *bucket;
            *bucket = node;
        }
    }

    ngx_free(table->buckets);

    table->buckets = buckets;
    table->mask = n - 1;
}
