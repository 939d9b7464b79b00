
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The zone: the memory that all workers share.  It is made with the first
 * configuration and adopted, as it is, by each that follows, so that workers
 * of old and new generations meet in it.  A zone of another size or layout
 * is another zone; the one whose place it takes is retired.
 */


#ifndef _NGX_SNORKY_ZONE_H_INCLUDED_
#define _NGX_SNORKY_ZONE_H_INCLUDED_


#include "ngx_snorky_log.h"
#include "ngx_snorky_store.h"


/* grows with every change of what lies in the zone */
#define NGX_SNORKY_ZONE_LAYOUT    7

/* bytes; below, not even a small log has room */
#define NGX_SNORKY_ZONE_MIN_SIZE  (64 * 1024)


typedef struct {
    uint64_t                  retired;      /* first, in every layout */

    uint64_t                  size;         /* bytes, of the whole zone */
    uint64_t                  secret[2];    /* of the hash of topics */
    uint32_t                  name;         /* in the names of its clients */

    ngx_slab_pool_t          *pool;         /* its mutex guards all of this */

    ngx_snorky_log_t          log;
    ngx_snorky_store_t        store;

    ngx_snorky_stats_t        ended;        /* of workers that are no more */
    uint64_t                  rooms_wanted; /* some slot wants room */

    uint64_t                  sequence;     /* of events, that grows */
    uint64_t                  generation;   /* the last one of any slot */
    ngx_uint_t                nslots;
    ngx_uint_t                top;          /* slots from here on never used */
    ngx_snorky_slot_t        *slots;

#if (NGX_SNORKY_FAULTS)
    uint64_t                  faults;       /* already struck */
#endif
} ngx_snorky_zone_t;


/*
 * Declares the zone to nginx, with a log of log_size bytes (0: half of it).
 * The shm_zone's data is the ngx_snorky_zone_t once nginx has made it.
 * NULL: the configuration is refused, and the error has been logged.
 */

ngx_shm_zone_t *ngx_snorky_zone_add(ngx_conf_t *cf, size_t size,
    size_t log_size, void *tag);

/* marks the zones of the cycle before this one that it has not adopted */
void ngx_snorky_zone_retire_old(ngx_cycle_t *cycle);

/*
 * Takes the mutex, if it can be had within some 10 ms, or with "at_once" if
 * it is free; a worker must not wait for one that stands still.  1: taken.
 */

ngx_uint_t ngx_snorky_zone_lock(ngx_snorky_zone_t *zone, ngx_uint_t at_once);

#define ngx_snorky_zone_unlock(zone)  ngx_shmtx_unlock(&(zone)->pool->mutex)

/* the process that has the mutex, 0: none */
#define ngx_snorky_zone_holder(zone)                                          \
    (ngx_pid_t) ngx_snorky_load((zone)->pool->mutex.lock)


#endif /* _NGX_SNORKY_ZONE_H_INCLUDED_ */
