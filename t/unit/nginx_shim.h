
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the unit tests and the fuzzers link with in the place of nginx:
 * ngx_alloc(), ngx_calloc(), ngx_pnalloc(), which a test can make fail, and
 * ngx_escape_json().  There are no pools: what ngx_pnalloc() returns is to be
 * freed by the test.
 */


#ifndef _NGX_SNORKY_NGINX_SHIM_H_INCLUDED_
#define _NGX_SNORKY_NGINX_SHIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the n-th allocation from here on fails, once; 0: none does */
void ngx_snorky_shim_fail(ngx_uint_t n);

/* from here on no allocation succeeds, until the next call of either */
void ngx_snorky_shim_fail_all(void);

/* allocations tried since the last call of ngx_snorky_shim_fail() */
ngx_uint_t ngx_snorky_shim_allocations(void);


#endif /* _NGX_SNORKY_NGINX_SHIM_H_INCLUDED_ */
