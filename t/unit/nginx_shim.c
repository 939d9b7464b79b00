
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Stands in for what the lower floors use of nginx's object code: memory,
 * and the escaping of JSON strings.  Fresh memory is filled with a pattern, so
 * that a test sees when something relies on zeroes.
 */


#include "nginx_shim.h"


static ngx_uint_t  ngx_snorky_shim_count;
static ngx_uint_t  ngx_snorky_shim_failing;
static ngx_uint_t  ngx_snorky_shim_exhausted;


void
ngx_snorky_shim_fail(ngx_uint_t n)
{
    ngx_snorky_shim_count = 0;
    ngx_snorky_shim_failing = n;
    ngx_snorky_shim_exhausted = 0;
}


void
ngx_snorky_shim_fail_all(void)
{
    ngx_snorky_shim_exhausted = 1;
}


ngx_uint_t
ngx_snorky_shim_allocations(void)
{
    return ngx_snorky_shim_count;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    void  *p;

    ngx_snorky_shim_count++;

    if (ngx_snorky_shim_exhausted
        || ngx_snorky_shim_count == ngx_snorky_shim_failing)
    {
        return NULL;
    }

    p = malloc(size);

    if (p) {
        memset(p, 0xa5, size);
    }

    return p;
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    void  *p;

    p = ngx_alloc(size, log);

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_alloc(size, NULL);
}


/* as nginx does: without dst, how many bytes more than size it would take */

uintptr_t
ngx_escape_json(u_char *dst, u_char *src, size_t size)
{
    u_char      *last, *start, room[8];
    uintptr_t    more;

    more = 0;

    for (last = src + size; src < last; src++) {
        start = dst ? dst : room;

        if (*src == '"' || *src == '\\') {
            more += 1;
            start[0] = '\\';
            start[1] = *src;
            dst = dst ? dst + 2 : NULL;

        } else if (*src < 0x20) {
            more += 5;
            snprintf((char *) room, sizeof(room), "\\u%04x", *src);
            ngx_memmove(start, room, 6);
            dst = dst ? dst + 6 : NULL;

        } else {
            start[0] = *src;
            dst = dst ? dst + 1 : NULL;
        }
    }

    return dst ? (uintptr_t) dst : more;
}
