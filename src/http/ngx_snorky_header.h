
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Request headers that nginx keeps no place for, and response headers.
 */


#ifndef _NGX_SNORKY_HEADER_H_INCLUDED_
#define _NGX_SNORKY_HEADER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The next one of that name: goes on from *i in *part, NULL at first.  NULL:
 * no more.
 */

ngx_table_elt_t *ngx_snorky_header_next(ngx_http_request_t *r,
    const char *name, ngx_list_part_t **part, ngx_uint_t *i);

/* the first of that name, and how many there are; NULL: none */
ngx_table_elt_t *ngx_snorky_header_find(ngx_http_request_t *r,
    const char *name, ngx_uint_t *n);

/*
 * Whether a comma-separated header (all its lines) has this token, compared
 * without case where the header's own rules say so.
 */

ngx_uint_t ngx_snorky_header_has(ngx_http_request_t *r, const char *name,
    const char *token, ngx_uint_t caseless);

/* whether it may stand unquoted in a list (RFC 9110, 5.6.2) */
ngx_uint_t ngx_snorky_header_is_token(ngx_str_t *text);

/* NGX_OK, or NGX_ERROR: no memory; "value" must live as long as r */
ngx_int_t ngx_snorky_header_add(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);

/* the same, for nginx to find it where it looks for it; NULL: no memory */
ngx_table_elt_t *ngx_snorky_header_push(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);

/*
 * Walks the tokens of a comma-separated value: cuts the next one off "rest".
 * NGX_OK, or NGX_DONE when there is none.
 */

ngx_int_t ngx_snorky_header_token(ngx_str_t *rest, ngx_str_t *token);


#endif /* _NGX_SNORKY_HEADER_H_INCLUDED_ */
