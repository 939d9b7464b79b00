
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Verdicts that are kept for a time, in one worker: at most so many; the one
 * that was not asked for longest makes room.
 */


#ifndef _NGX_SNORKY_POLICY_CACHE_H_INCLUDED_
#define _NGX_SNORKY_POLICY_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_snorky_map.h"


typedef struct {
    ngx_snorky_map_t          map;
    ngx_queue_t               entries;  /* the last one asked for in front */
    ngx_uint_t                most;
    ngx_log_t                *log;
} ngx_snorky_policy_cache_t;


/* NULL: no memory */
ngx_snorky_policy_cache_t *ngx_snorky_policy_cache_create(ngx_uint_t most,
    ngx_log_t *log);
void ngx_snorky_policy_cache_destroy(ngx_snorky_policy_cache_t *cache);

/* 1, 0, or NGX_DECLINED: not known, or not any more */
ngx_int_t ngx_snorky_policy_cache_find(ngx_snorky_policy_cache_t *cache,
    uint64_t hash, ngx_str_t *key);

/* without memory, it is not kept */
void ngx_snorky_policy_cache_keep(ngx_snorky_policy_cache_t *cache,
    uint64_t hash, ngx_str_t *key, ngx_uint_t allowed, ngx_msec_t time);


#endif /* _NGX_SNORKY_POLICY_CACHE_H_INCLUDED_ */
