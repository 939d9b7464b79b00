
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Filters of datasync (protocol, 9): which data a subscription is for.
 *
 *     ["==", PATH, V]   ["<", PATH, V]   and so on with <= > >=
 *     ["and", F, ...]   ["or", F, ...]   ["not", F]
 */


#ifndef _NGX_SNORKY_FILTER_H_INCLUDED_
#define _NGX_SNORKY_FILTER_H_INCLUDED_


#include "ngx_snorky.h"


/* ["==","a",1] nests to 1, ["not",["==","a",1]] to 2 */
#define NGX_SNORKY_FILTER_DEPTH  32


typedef struct ngx_snorky_filter_s  ngx_snorky_filter_t;


/*
 * A comparison in a filter.  The path is dotted, without escapes, and has no
 * empty name in it; the value is its canonical key.  A term is an equality
 * that must hold for the filter to match: it is the filter, or an argument
 * of an "and" that is.  A filter of one comparison that is a term is nothing
 * but that.
 */

typedef struct {
    ngx_str_t                 path;
    ngx_str_t                 value;
    unsigned                  term:1;
} ngx_snorky_filter_comparison_t;


/*
 * Reads a filter; the parser's nodes and keys do not survive that.
 *
 *   NGX_OK        *filter is to be destroyed when it is not needed any more
 *   NGX_DECLINED  malformed
 *   NGX_ERROR     no memory
 */

ngx_int_t ngx_snorky_filter_create(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_log_t *log, ngx_snorky_filter_t **filter);
void ngx_snorky_filter_destroy(ngx_snorky_filter_t *filter);

/* the canonical key of its text: that of equal filters is the same */
ngx_str_t *ngx_snorky_filter_text(ngx_snorky_filter_t *filter);

/* all of them, in the filter's order */
ngx_snorky_filter_comparison_t *ngx_snorky_filter_comparisons(
    ngx_snorky_filter_t *filter, ngx_uint_t *n);


/*
 * Whether a document matches: NGX_OK, or NGX_DECLINED.  The function is asked
 * for the value at the path of the n-th comparison, when it matters; it sets
 * the value's canonical key, which must live until it is asked again, and
 * returns NGX_OK, or NGX_DECLINED when there is no such value, or NGX_ERROR,
 * which is returned.
 */

typedef ngx_int_t (*ngx_snorky_filter_value_pt)(void *ctx, ngx_uint_t n,
    ngx_str_t *value);

ngx_int_t ngx_snorky_filter_match(ngx_snorky_filter_t *filter,
    ngx_snorky_filter_value_pt value, void *ctx);

/*
 * The value at a path: a member of the root, its member, and so on, of
 * duplicates the last.  NULL when there is none.  The nodes must have been
 * kept as deep as the path has names.
 */

ngx_snorky_json_node_t *ngx_snorky_filter_find(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *root, ngx_str_t *path);

/* how many names a path has */
ngx_uint_t ngx_snorky_filter_path_depth(ngx_str_t *path);


#endif /* _NGX_SNORKY_FILTER_H_INCLUDED_ */
