
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the zone's birth, adoption and retirement; all of it runs in the
 * master, while nginx reads a configuration.  What lies in the zone belongs
 * to the slots, the log and the broker.
 */


#include "ngx_snorky_zone.h"
#include "ngx_snorky.h"


#define NGX_SNORKY_ZONE_NAME       "snorky/"

/* a slot for every so many bytes of the zone, within these bounds */
#define NGX_SNORKY_ZONE_SLOT_SHARE  (16 * 1024)
#define NGX_SNORKY_ZONE_MIN_SLOTS   16


/* tries of the mutex: first spinning, then asleep in between */
#define NGX_SNORKY_ZONE_SPINS       1000
#define NGX_SNORKY_ZONE_SLEEPS      100
#define NGX_SNORKY_ZONE_SLEEP       100     /* us */


static ngx_int_t ngx_snorky_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ngx_snorky_zone_create(ngx_shm_zone_t *shm_zone,
    ngx_snorky_zone_t **zone);
static ngx_uint_t ngx_snorky_zone_slots(size_t size);
static ngx_uint_t ngx_snorky_zone_adopted(ngx_cycle_t *cycle, void *addr);


/* all that the name tells must be equal for a zone to be adopted */

ngx_shm_zone_t *
ngx_snorky_zone_add(ngx_conf_t *cf, size_t size, size_t log_size, void *tag)
{
    u_char          *p;
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    if (log_size == 0) {
        log_size = size / 2;
    }

    p = ngx_pnalloc(cf->pool,
                    sizeof(NGX_SNORKY_ZONE_NAME) + 2 * NGX_SIZE_T_LEN);
    if (p == NULL) {
        return NULL;
    }

    name.data = p;
    name.len = ngx_sprintf(p, NGX_SNORKY_ZONE_NAME "%d/%uz",
                           NGX_SNORKY_ZONE_LAYOUT, log_size)
               - p;

    shm_zone = ngx_shared_memory_add(cf, &name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    shm_zone->init = ngx_snorky_zone_init;
    shm_zone->data = (void *) log_size;

    return shm_zone;
}


static ngx_int_t
ngx_snorky_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t    *pool;
    ngx_snorky_zone_t  *zone;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = pool->data;
        return NGX_OK;
    }

    if (ngx_snorky_zone_create(shm_zone, &zone) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"snorky_zone\" of %uz bytes is too small "
                      "for its log of %uz bytes",
                      shm_zone->shm.size, (size_t) shm_zone->data);
        return NGX_ERROR;
    }

    pool->data = zone;

    shm_zone->data = zone;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_zone_create(ngx_shm_zone_t *shm_zone, ngx_snorky_zone_t **created)
{
    size_t              log_size;
    u_char             *ring;
    ngx_slab_pool_t    *pool;
    ngx_snorky_zone_t  *zone;

    log_size = (size_t) shm_zone->data;
    pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    /* what does not fit is told by us, with the directive's name */

    pool->log_nomem = 0;

    zone = ngx_slab_calloc(pool, sizeof(ngx_snorky_zone_t));
    if (zone == NULL) {
        return NGX_ERROR;
    }

    zone->size = shm_zone->shm.size;
    zone->pool = pool;
    zone->nslots = ngx_snorky_zone_slots(shm_zone->shm.size);

    /* greater than any of a zone before, with less than a million a second */

    zone->sequence = (uint64_t) ngx_time() * 1000000;

    zone->slots = ngx_slab_calloc(pool,
                                  zone->nslots * sizeof(ngx_snorky_slot_t));
    ring = ngx_slab_alloc(pool, log_size);

    if (zone->slots == NULL || ring == NULL) {
        return NGX_ERROR;
    }

    ngx_snorky_log_init(&zone->log, ring, log_size);

    *created = zone;

    /* clients choose channel names: they must not be able to choose hashes */

    if (ngx_snorky_random(zone->secret, sizeof(zone->secret)) != NGX_OK
        || ngx_snorky_random(&zone->name, sizeof(zone->name)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_snorky_store_init(&zone->store, pool, zone->size,
                                 zone->nslots);
}


static ngx_uint_t
ngx_snorky_zone_slots(size_t size)
{
    ngx_uint_t  n;

    n = size / NGX_SNORKY_ZONE_SLOT_SHARE;

    return ngx_max(NGX_SNORKY_ZONE_MIN_SLOTS, ngx_min(n, NGX_MAX_PROCESSES));
}


ngx_uint_t
ngx_snorky_zone_lock(ngx_snorky_zone_t *zone, ngx_uint_t at_once)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SNORKY_ZONE_SPINS; i++) {

        if (ngx_shmtx_trylock(&zone->pool->mutex)) {
            return 1;
        }

        if (at_once) {
            return 0;
        }

        ngx_cpu_pause();
    }

    /* its holder may wait for the processor that we spin on */

    for (i = 0; i < NGX_SNORKY_ZONE_SLEEPS; i++) {

        if (ngx_shmtx_trylock(&zone->pool->mutex)) {
            return 1;
        }

        (void) usleep(NGX_SNORKY_ZONE_SLEEP);
    }

    return 0;
}


void
ngx_snorky_zone_retire_old(ngx_cycle_t *cycle)
{
    uint64_t         *retired;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *shm_zone;

    if (cycle->old_cycle == NULL || ngx_is_init_cycle(cycle->old_cycle)) {
        return;
    }

    part = &cycle->old_cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        if (shm_zone[i].shm.name.len <= sizeof(NGX_SNORKY_ZONE_NAME) - 1
            || ngx_strncmp(shm_zone[i].shm.name.data, NGX_SNORKY_ZONE_NAME,
                           sizeof(NGX_SNORKY_ZONE_NAME) - 1)
               != 0)
        {
            continue;
        }

        if (!ngx_snorky_zone_adopted(cycle, shm_zone[i].shm.addr)) {
            retired = ((ngx_slab_pool_t *) shm_zone[i].shm.addr)->data;
            ngx_snorky_store(retired, 1);
        }
    }
}


static ngx_uint_t
ngx_snorky_zone_adopted(ngx_cycle_t *cycle, void *addr)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *shm_zone;

    part = &cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        if (shm_zone[i].shm.addr == addr) {
            return 1;
        }
    }
}
