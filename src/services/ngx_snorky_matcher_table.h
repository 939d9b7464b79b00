
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A set of elements with keys, found by a hash that nobody can foresee.  The
 * elements are their owner's; the room of the matcher's index.
 */


#ifndef _NGX_SNORKY_MATCHER_TABLE_H_INCLUDED_
#define _NGX_SNORKY_MATCHER_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* an element: its key is unique in its scope; "next" is the table's */

typedef struct ngx_snorky_matcher_node_s  ngx_snorky_matcher_node_t;

struct ngx_snorky_matcher_node_s {
    ngx_snorky_matcher_node_t   *next;
    uint64_t                     hash;
    void                        *scope;
    ngx_str_t                    key;
};


/* zeroes at first */

typedef struct {
    ngx_snorky_matcher_node_t  **buckets;
    ngx_uint_t                   mask;
    ngx_uint_t                   count;
} ngx_snorky_matcher_table_t;


/* 60 random bits; anything else is none */
#define ngx_snorky_matcher_secret(random)  ((random) >> 4)

/* the hash of a key, and of what has the hash "start" together with a key */
uint64_t ngx_snorky_matcher_hash(uint64_t secret, uint64_t start,
    ngx_str_t *key);


/* makes room: from here on insert() cannot fail.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_snorky_matcher_table_init(ngx_snorky_matcher_table_t *table,
    ngx_log_t *log);

/* the elements are forgotten, the table's memory is freed */
void ngx_snorky_matcher_table_finish(ngx_snorky_matcher_table_t *table);

/* NULL: there is none */
ngx_snorky_matcher_node_t *ngx_snorky_matcher_table_find(
    ngx_snorky_matcher_table_t *table, uint64_t hash, void *scope,
    ngx_str_t *key);

/* without memory a table that is full gets slower */
void ngx_snorky_matcher_table_insert(ngx_snorky_matcher_table_t *table,
    ngx_snorky_matcher_node_t *node, ngx_log_t *log);
void ngx_snorky_matcher_table_remove(ngx_snorky_matcher_table_t *table,
    ngx_snorky_matcher_node_t *node);


#endif /* _NGX_SNORKY_MATCHER_TABLE_H_INCLUDED_ */
