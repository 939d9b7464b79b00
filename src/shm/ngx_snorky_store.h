
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The store: records in shared memory, the facts on which all workers agree.
 * A record belongs to a set and has a key that is unique there.  It lives as
 * long as somebody holds it, or as it waits for the one who will.
 *
 * A hold is known by its owner's slot and by the number of its session, never
 * by a worker's pointer.  When a slot changes hands, its holds are orphans,
 * and whoever comes first releases them.  So it is with tallies
 * (ngx_snorky_tally.h).
 *
 * The store is a slab pool of its own inside of the zone.  All is done under
 * the zone's mutex.  What changes it does so between begin and end: who finds
 * it begun, with the mutex in his hands, knows that a worker died amidst a
 * change, and makes the store anew, empty, in another epoch.
 */


#ifndef _NGX_SNORKY_STORE_H_INCLUDED_
#define _NGX_SNORKY_STORE_H_INCLUDED_


#include "ngx_snorky_slot.h"


typedef struct ngx_snorky_store_set_s      ngx_snorky_store_set_t;
typedef struct ngx_snorky_store_record_s   ngx_snorky_store_record_t;
typedef struct ngx_snorky_store_wait_s     ngx_snorky_store_wait_t;
typedef struct ngx_snorky_store_journal_s  ngx_snorky_store_journal_t;
typedef struct ngx_snorky_store_tally_s    ngx_snorky_store_tally_t;


struct ngx_snorky_store_set_s {
    ngx_snorky_store_set_t       *next;         /* in its bucket */
    uint64_t                      hash;         /* of its name */
    ngx_queue_t                   records;      /* in the order of making */
    uint64_t                      count;
    uint64_t                      bytes;        /* of keys and values */
    ngx_snorky_store_journal_t   *journal;      /* if any has waited here */
    size_t                        name;         /* its bytes follow */
};


struct ngx_snorky_store_record_s {
    ngx_snorky_store_record_t    *next;         /* in its bucket */
    uint64_t                      hash;         /* of set and key */
    ngx_snorky_store_set_t       *set;
    ngx_queue_t                   of_set;
    ngx_snorky_store_wait_t      *wait;         /* NULL: it is held */
    u_char                       *value;        /* its own, or the key */
    uint32_t                      key;          /* bytes, that follow ... */
    uint32_t                      farewell[2];  /* ... and behind them these */
    uint32_t                      value_len;
    uint32_t                      holds;
};

#define ngx_snorky_store_key(record)   ((u_char *) ((record) + 1))

#define ngx_snorky_store_farewell(record)                                     \
    (ngx_snorky_store_key(record) + (record)->key)

#define ngx_snorky_store_name(set)     ((u_char *) ((set) + 1))


typedef struct {
    ngx_queue_t                   of_owner;
    ngx_snorky_store_record_t    *record;
    uint64_t                      session;
} ngx_snorky_store_hold_t;


typedef struct {
    ngx_slab_pool_t              *pool;         /* NULL: there is no room */
    size_t                        size;         /* bytes of the pool */
    uint64_t                      epoch;
    uint64_t                      busy;

    uint64_t                      count;        /* records */
    uint64_t                      waiting;      /* of these, not held */
    uint64_t                      mask;         /* number of buckets - 1 */
    ngx_snorky_store_set_t      **sets;
    ngx_snorky_store_record_t   **records;

    ngx_queue_t                  *owners;       /* holds, by slot */
    ngx_uint_t                    nowners;
    ngx_queue_t                   orphans;      /* holds of dead workers */
    ngx_queue_t                   journals;

    ngx_uint_t                    tally_mask;   /* number of buckets - 1 */
    ngx_snorky_store_tally_t    **tallies;
    ngx_queue_t                  *tally_owners; /* tallies, by slot */
    ngx_queue_t                   tally_orphans;
} ngx_snorky_store_t;


/* what a record is made of */

typedef struct {
    ngx_str_t                     key;
    ngx_str_t                     value;
    ngx_str_t                     farewell[2];
} ngx_snorky_store_spec_t;


/*
 * Takes what is left of the zone's pool; for the master.  NGX_OK, or NGX_ERROR:
 * not even the tables have room.
 */

ngx_int_t ngx_snorky_store_init(ngx_snorky_store_t *store,
    ngx_slab_pool_t *pool, size_t zone_size, ngx_uint_t nslots);

/* a text at p, which may be empty and then lie nowhere; returns its end */
u_char *ngx_snorky_store_copy(u_char *p, ngx_str_t *text);

/* bytes, in whole pages, that nothing lies in */
size_t ngx_snorky_store_room(ngx_snorky_store_t *store);

/* empty, in another epoch */
void ngx_snorky_store_reset_locked(ngx_snorky_store_t *store);

#define ngx_snorky_store_begin_locked(store)                                  \
    ngx_snorky_store(&(store)->busy, 1)
#define ngx_snorky_store_end_locked(store)                                    \
    ngx_snorky_store(&(store)->busy, 0)

#define ngx_snorky_store_alloc_locked(store, n)                               \
    ((store)->pool ? ngx_slab_alloc_locked((store)->pool, n) : NULL)
#define ngx_snorky_store_free_locked(store, p)                                \
    ngx_slab_free_locked((store)->pool, p)

/*
 * NULL: none.  Hashes are those of the name and of the key, under the zone's
 * secret.
 */

ngx_snorky_store_set_t *ngx_snorky_store_find_set_locked(
    ngx_snorky_store_t *store, uint64_t hash, ngx_str_t *name);
ngx_snorky_store_record_t *ngx_snorky_store_find_locked(
    ngx_snorky_store_t *store, ngx_snorky_store_set_t *set, uint64_t hash,
    ngx_str_t *key);

/*
 * Memory is taken first, so that the change itself can't fail; what was made
 * and is not inserted is discarded.  NULL: the store is full.
 */

ngx_snorky_store_set_t *ngx_snorky_store_create_set_locked(
    ngx_snorky_store_t *store, uint64_t hash, ngx_str_t *name);
ngx_snorky_store_record_t *ngx_snorky_store_create_locked(
    ngx_snorky_store_t *store, ngx_snorky_store_spec_t *spec);
void ngx_snorky_store_discard_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record);

void ngx_snorky_store_insert_set_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set);
void ngx_snorky_store_insert_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set, uint64_t hash,
    ngx_snorky_store_record_t *record);

/* the record, which nobody holds; and its set, if it was the last there */
void ngx_snorky_store_remove_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record);
void ngx_snorky_store_remove_set_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_set_t *set);

/* value: memory of the store, which becomes the record's */
void ngx_snorky_store_value_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_record_t *record, u_char *value, size_t len);

/* hold: memory of the store */
void ngx_snorky_store_hold_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_hold_t *hold, ngx_snorky_store_record_t *record,
    ngx_uint_t slot, uint64_t session);

/* frees the hold, and with the last one the record */
void ngx_snorky_store_release_locked(ngx_snorky_store_t *store,
    ngx_snorky_store_hold_t *hold);

/* nobody answers for what this slot has any more; short, however much it is */
void ngx_snorky_store_orphan_locked(ngx_snorky_store_t *store,
    ngx_uint_t slot);


#endif /* _NGX_SNORKY_STORE_H_INCLUDED_ */
