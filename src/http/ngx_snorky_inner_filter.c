
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the answers to requests of our own.  Called by nginx behind its copy
 * filter, so that all is in memory, and before gunzip, sub_filter and others,
 * which have no part in it.
 */


#include "ngx_snorky_inner_filter.h"


/* bytes; an answer of unknown length begins with so much room */
#define NGX_SNORKY_INNER_FILTER_SIZE  1024


static ngx_int_t ngx_snorky_inner_filter_header(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_inner_filter_body(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_snorky_inner_filter_append(ngx_snorky_inner_t *inner,
    ngx_buf_t *b);


static ngx_http_output_header_filter_pt  ngx_snorky_inner_filter_next_header;
static ngx_http_output_body_filter_pt    ngx_snorky_inner_filter_next_body;


void
ngx_snorky_inner_filter_add(void)
{
    ngx_snorky_inner_filter_next_header = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_snorky_inner_filter_header;

    ngx_snorky_inner_filter_next_body = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_snorky_inner_filter_body;
}


/* no client's request is without a socket */

ngx_snorky_inner_t *
ngx_snorky_inner_filter_find(ngx_http_request_t *r)
{
    if (r->connection->fd != (ngx_socket_t) -1) {
        return NULL;
    }

    return ngx_http_get_module_ctx(r->main, ngx_snorky_module);
}


static ngx_int_t
ngx_snorky_inner_filter_header(ngx_http_request_t *r)
{
    ngx_snorky_inner_t  *inner;

    inner = ngx_snorky_inner_filter_find(r);

    if (inner == NULL || r != inner->sub) {
        return ngx_snorky_inner_filter_next_header(r);
    }

    r->header_sent = 1;
    inner->header = 1;

    if (r->headers_out.status == NGX_HTTP_NO_CONTENT
        || r->headers_out.status == NGX_HTTP_NOT_MODIFIED)
    {
        r->header_only = 1;
        return NGX_OK;
    }

    /* "return 200" sends no body at all, not even an empty one */

    if (r->headers_out.content_length_n == 0) {
        inner->whole = 1;
    }

    if (r->headers_out.content_length_n > (off_t) inner->max_answer) {
        inner->too_large = 1;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* of nested subrequests, nothing is sent either */

static ngx_int_t
ngx_snorky_inner_filter_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_snorky_inner_t  *inner;

    inner = ngx_snorky_inner_filter_find(r);

    if (inner == NULL || r->subrequest_in_memory) {
        return ngx_snorky_inner_filter_next_body(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;

        if (r == inner->sub) {

            if (b->last_buf || b->last_in_chain) {
                inner->whole = 1;
            }

            if (ngx_snorky_inner_filter_append(inner, b) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        b->pos = b->last;
        b->file_pos = b->file_last;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_inner_filter_append(ngx_snorky_inner_t *inner, ngx_buf_t *b)
{
    off_t    length;
    size_t   len, size;
    u_char  *p;

    if (!ngx_buf_in_memory(b) || b->pos == b->last) {
        return NGX_OK;
    }

    len = b->last - b->pos;

    if (inner->answer.len + len > inner->max_answer) {
        inner->too_large = 1;
        return NGX_ERROR;
    }

    if (inner->answer.len + len > inner->size) {

        length = inner->sub->headers_out.content_length_n;

        size = (length > 0) ? (size_t) length : NGX_SNORKY_INNER_FILTER_SIZE;
        size = ngx_max(size, inner->answer.len + len);
        size = ngx_max(size, 2 * inner->size);

        p = ngx_pnalloc(inner->main->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (inner->size) {
            ngx_memcpy(p, inner->answer.data, inner->answer.len);
            (void) ngx_pfree(inner->main->pool, inner->answer.data);
        }

        inner->answer.data = p;
        inner->size = size;
    }

    ngx_memcpy(inner->answer.data + inner->answer.len, b->pos, len);
    inner->answer.len += len;

    return NGX_OK;
}
