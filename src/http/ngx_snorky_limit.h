
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * "snorky_max_connections": how many sessions there may be at a time for one
 * value of a key, on all workers.
 */


#ifndef _NGX_SNORKY_LIMIT_H_INCLUDED_
#define _NGX_SNORKY_LIMIT_H_INCLUDED_


#include "ngx_snorky_conf.h"


typedef struct {
    ngx_http_complex_value_t    key;
    ngx_uint_t                  most;
} ngx_snorky_limit_t;


/*
 * Counts a session that is about to begin.  There is a tally for each of the
 * limits (NULL: there are none), all NULL before.  NGX_OK, or the status to
 * answer with: then it is not counted.
 */

ngx_int_t ngx_snorky_limit_enter(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_array_t *limits,
    ngx_snorky_store_tally_t **tallies);

/*
 * Counts a session that has a name of its own, of which there may be one, and
 * "most" in the group.  The tallies, all NULL before, are those of name and
 * group, and then those of the limits.
 *
 *   NGX_OK
 *   NGX_DECLINED  there is one of that name: *owner is its worker's generation
 *   a status      to answer with; it is not counted
 */

#define NGX_SNORKY_LIMIT_NAMED  2

ngx_int_t ngx_snorky_limit_enter_named(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_array_t *limits, ngx_str_t *name,
    ngx_str_t *group, ngx_uint_t most, ngx_snorky_store_tally_t **tallies,
    uint64_t *owner);

/* who has that name: NGX_OK, NGX_DECLINED: nobody, or a status as above */
ngx_int_t ngx_snorky_limit_find_named(ngx_snorky_worker_t *worker,
    ngx_str_t *name, uint64_t *owner);

/* n tallies of a session, or of what it was counted by first, are given back */
void ngx_snorky_limit_forget(ngx_snorky_worker_t *worker,
    ngx_snorky_store_tally_t **tallies, ngx_uint_t n);

/* the session has left; may be called again */
void ngx_snorky_limit_leave(ngx_snorky_worker_t *worker, ngx_array_t *limits,
    ngx_snorky_store_tally_t **tallies);


#endif /* _NGX_SNORKY_LIMIT_H_INCLUDED_ */
