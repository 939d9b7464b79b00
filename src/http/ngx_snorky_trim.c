
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the move of a request's headers.  Called by the websocket's life, once
 * the 101 is with the kernel.
 *
 * Whatever other modules keep for a request lies in its pool, or is known
 * there by a context or a cleanup.  So the words of the first block are looked
 * through, as a conservative garbage collector would: a word that is the
 * address of a header is changed with it, and any other that points into the
 * second block is a reason to leave everything as it is.
 */


#include "ngx_snorky_trim.h"


/* words that may point to headers; nginx itself has a dozen */
#define NGX_SNORKY_TRIM_WORDS  64


typedef struct {
    ngx_pool_t        *block;       /* the second */
    ngx_table_elt_t   *headers;     /* that lie there ... */
    ngx_uint_t         n;
    ngx_table_elt_t   *moved;       /* ... and are to lie here */

    uintptr_t         *words[NGX_SNORKY_TRIM_WORDS];
    ngx_uint_t         nwords;      /* that point to them */
} ngx_snorky_trim_t;


static ngx_int_t ngx_snorky_trim_prepare(ngx_http_request_t *r,
    ngx_snorky_trim_t *trim);
static ngx_int_t ngx_snorky_trim_look(ngx_snorky_trim_t *trim, void *from,
    void *to);


void
ngx_snorky_trim_request(ngx_http_request_t *r)
{
    ngx_pool_t         *pool, *cp;
    ngx_uint_t          i;
    ngx_snorky_trim_t   trim;

    if (ngx_snorky_trim_prepare(r, &trim) != NGX_OK) {
        return;
    }

    pool = r->pool;
    cp = r->connection->pool;

    /* links of chains that wait for their next use */

    pool->chain = NULL;

    if (ngx_snorky_trim_look(&trim, &pool->chain, pool->d.last) != NGX_OK
        || ngx_snorky_trim_look(&trim, &cp->chain, cp->d.last) != NGX_OK
        || ngx_snorky_trim_look(&trim, trim.headers, trim.headers + trim.n)
           != NGX_OK)
    {
        return;
    }

    /* since nginx 1.23 there are some in the headers themselves */

    for (i = 0; i < trim.nwords; i++) {
        *trim.words[i] += (uintptr_t) trim.moved - (uintptr_t) trim.headers;
    }

    ngx_memcpy(trim.moved, trim.headers, trim.n * sizeof(ngx_table_elt_t));

    /* neither list has room where it is now */

    r->headers_in.headers.nalloc = r->headers_in.headers.part.nelts;
    r->headers_out.headers.nalloc = r->headers_out.headers.part.nelts;

    pool->d.next = NULL;
    pool->current = pool;

    ngx_free(trim.block);
}


/* the answer's headers are few, and their list has room for the request's */

static ngx_int_t
ngx_snorky_trim_prepare(ngx_http_request_t *r, ngx_snorky_trim_t *trim)
{
    ngx_list_t       *in, *out;
    ngx_pool_t       *pool;
    ngx_table_elt_t  *header;

    pool = r->pool;
    in = &r->headers_in.headers;
    out = &r->headers_out.headers;

    trim->block = pool->d.next;

    if (trim->block == NULL || trim->block->d.next || pool->large) {
        return NGX_DECLINED;
    }

    /* a mirror's request may be known to its upstream connection alone */

    if (r->count != 1) {
        return NGX_DECLINED;
    }

    trim->headers = in->part.elts;
    trim->n = in->part.nelts;
    trim->nwords = 0;

    if ((u_char *) trim->headers < (u_char *) trim->block
        || (u_char *) trim->headers >= trim->block->d.end)
    {
        trim->n = 0;
    }

    if (out->part.next || out->part.nelts == 0
        || out->nalloc - out->part.nelts < trim->n)
    {
        return NGX_DECLINED;
    }

    header = out->part.elts;
    trim->moved = header + out->part.nelts;

    if ((u_char *) header < (u_char *) pool
        || (u_char *) header >= pool->d.end)
    {
        return NGX_DECLINED;
    }

    /* what lies there from before must not be taken for an address */

    ngx_memzero(trim->moved,
                (out->nalloc - out->part.nelts) * sizeof(ngx_table_elt_t));

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_trim_look(ngx_snorky_trim_t *trim, void *from, void *to)
{
    size_t      offset, size;
    uintptr_t  *word, *last, start;

    last = (uintptr_t *) to;

    start = (uintptr_t) trim->block;
    size = trim->block->d.end - (u_char *) trim->block;

    for (word = from; word + 1 <= last; word++) {

        /* nearly all are not, so they are passed by fours */

        while (word + 4 <= last
               && word[0] - start >= size && word[1] - start >= size
               && word[2] - start >= size && word[3] - start >= size)
        {
            word += 4;
        }

        if (word + 1 > last) {
            break;
        }

        if (*word - start >= size) {
            continue;
        }

        offset = *word - (uintptr_t) trim->headers;

        if (*word < (uintptr_t) trim->headers
            || offset >= trim->n * sizeof(ngx_table_elt_t)
            || offset % sizeof(ngx_table_elt_t)
            || trim->nwords == NGX_SNORKY_TRIM_WORDS)
        {
            return NGX_DECLINED;
        }

        trim->words[trim->nwords++] = word;
    }

    return NGX_OK;
}
