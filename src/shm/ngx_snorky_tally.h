
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Tallies: how many clients there are, by a key, or in how many workers a
 * channel has listeners, by its topic's name.  Each worker has a tally of
 * its own for a key, so that what a dead one has counted goes with it; the sum
 * over all workers is what is asked for.  All of a key lie in one bucket.
 *
 * A tally is its owner's as long as the store has this epoch and the owner has
 * its slot; the generation tells owners of one slot apart.
 */


#ifndef _NGX_SNORKY_TALLY_H_INCLUDED_
#define _NGX_SNORKY_TALLY_H_INCLUDED_


#include "ngx_snorky_store.h"


/* of clients; a topic's name is as long as it is */
#define NGX_SNORKY_TALLY_MAX_KEY  255


struct ngx_snorky_store_tally_s {
    ngx_snorky_store_tally_t     *next;         /* in its bucket */
    uint64_t                      hash;
    ngx_queue_t                   of_owner;
    uint32_t                      owner;        /* generation of its slot */
    uint32_t                      count;
    unsigned                      len:31;
    unsigned                      channel:1;
    u_char                        key[1];
};


/*
 * The owner's tally, NULL: it has none; and the sum of all owners.  The hash,
 * under the zone's secret, is of the key and of what it is a key of.
 */

ngx_snorky_store_tally_t *ngx_snorky_tally_find_locked(
    ngx_snorky_store_t *store, uint64_t hash, ngx_str_t *key,
    ngx_uint_t channel, uint64_t owner, uint64_t *sum);

/* who has counted a client under a key, or one of them; 0: nobody */
uint32_t ngx_snorky_tally_owner_locked(ngx_snorky_store_t *store,
    uint64_t hash, ngx_str_t *key);

/* a new one, that has counted nobody; NULL: the store is full */
ngx_snorky_store_tally_t *ngx_snorky_tally_add_locked(
    ngx_snorky_store_t *store, uint64_t hash, ngx_str_t *key,
    ngx_uint_t channel, uint64_t owner, ngx_uint_t slot);

void ngx_snorky_tally_remove_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_tally_t *tally);


#endif /* _NGX_SNORKY_TALLY_H_INCLUDED_ */
