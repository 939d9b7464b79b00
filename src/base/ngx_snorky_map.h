
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A keyed set: a hash table whose nodes lie in the elements, which their
 * owner allocates and frees.  Keys come from clients, so the hash is keyed
 * with a secret (SipHash-2-4).
 */


#ifndef _NGX_SNORKY_MAP_H_INCLUDED_
#define _NGX_SNORKY_MAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_snorky_map_node_s  ngx_snorky_map_node_t;

struct ngx_snorky_map_node_s {
    ngx_snorky_map_node_t    *next;
    uint64_t                  hash;
    ngx_str_t                 key;      /* bytes owned by the element */
};

typedef struct {
    ngx_snorky_map_node_t   **buckets;
    ngx_uint_t                mask;     /* number of buckets - 1 */
    ngx_uint_t                count;
} ngx_snorky_map_t;


/* SipHash-2-4 (Aumasson and Bernstein, 2012) of data under a 128-bit secret */
uint64_t ngx_snorky_map_hash(const uint64_t secret[2], u_char *data,
    size_t len);

/* NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_map_init(ngx_snorky_map_t *map);

/* frees the table, not the elements */
void ngx_snorky_map_finish(ngx_snorky_map_t *map);

ngx_snorky_map_node_t *ngx_snorky_map_find(ngx_snorky_map_t *map,
    uint64_t hash, ngx_str_t *key);

/*
 * The node's hash and key are set, and the key is not in the map.  Never
 * fails: when the table cannot grow, its chains do.
 */

void ngx_snorky_map_insert(ngx_snorky_map_t *map, ngx_snorky_map_node_t *node);

/* the node is in the map; the table gives memory back as it empties */
void ngx_snorky_map_remove(ngx_snorky_map_t *map, ngx_snorky_map_node_t *node);


#endif /* _NGX_SNORKY_MAP_H_INCLUDED_ */
