
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

/* the session has left; may be called again */
void ngx_snorky_limit_leave(ngx_snorky_worker_t *worker, ngx_array_t *limits,
    ngx_snorky_store_tally_t **tallies);


#endif /* _NGX_SNORKY_LIMIT_H_INCLUDED_ */
