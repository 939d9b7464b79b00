
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * How the groups of the matcher are found: what the matcher shares with its
 * index, and nobody else.
 *
 *     path "room"   -> term 5 -> group ["==","room",5]       -> items
 *                   -> term 6 -> group ["==","room",6]       -> items
 *     no term                 -> group ["<","price",10]      -> items
 *                             -> group of all without filter -> items
 */


#ifndef _NGX_SNORKY_MATCHER_INDEX_H_INCLUDED_
#define _NGX_SNORKY_MATCHER_INDEX_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_filter.h"
#include "ngx_snorky_matcher.h"
#include "ngx_snorky_matcher_table.h"


/* a path that comparisons of groups name, with its text behind it */

typedef struct {
    ngx_snorky_matcher_node_t     node;
    ngx_queue_t                   queue;    /* among the indexed, if terms */
    ngx_uint_t                    refs;
    ngx_uint_t                    terms;

    uint64_t                      document; /* of which the rest is known */
    ngx_int_t                     rc;
    ngx_str_t                     value;
} ngx_snorky_matcher_path_t;


/* path == value, with the value behind it, which is the key */

typedef struct {
    ngx_snorky_matcher_node_t     node;     /* the path is the scope */
    ngx_queue_t                   groups;
    ngx_uint_t                    count;
} ngx_snorky_matcher_term_t;


struct ngx_snorky_matcher_group_s {
    ngx_snorky_matcher_node_t     node;     /* the key: the filter's text */
    ngx_queue_t                   queue;    /* of the term, or the scanned */
    ngx_queue_t                   items;
    ngx_snorky_filter_t          *filter;   /* NULL: everything matches */
    ngx_snorky_matcher_term_t    *term;     /* or NULL */
    ngx_uint_t                    matched;  /* in this run: bits of a kind */
    ngx_uint_t                    n;
    ngx_snorky_matcher_path_t    *paths[1]; /* of the filter's comparisons */
};


typedef struct {
    ngx_log_t                    *log;
    ngx_snorky_json_t            *json;     /* both the matcher's */
    ngx_snorky_json_t            *keys;
    uint64_t                      secret;
    ngx_uint_t                    depth;    /* of the deepest path so far */

    ngx_snorky_matcher_table_t    groups;
    ngx_snorky_matcher_table_t    paths;
    ngx_snorky_matcher_table_t    terms;
    ngx_queue_t                   indexed;  /* paths with terms */
    ngx_queue_t                   scanned;  /* groups without */
} ngx_snorky_matcher_index_t;


/* the group of the items with this filter, which may be new and empty */
ngx_int_t ngx_snorky_matcher_index_group(ngx_snorky_matcher_index_t *index,
    ngx_str_t *filter, ngx_snorky_matcher_group_t **group);

/* a group that has no items any more */
void ngx_snorky_matcher_index_remove(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group);

/* the term path == value; NULL: there is none */
ngx_snorky_matcher_term_t *ngx_snorky_matcher_index_term(
    ngx_snorky_matcher_index_t *index, ngx_snorky_matcher_path_t *path,
    ngx_str_t *value);

/* frees what is as large as the index once was; there are no groups */
void ngx_snorky_matcher_index_finish(ngx_snorky_matcher_index_t *index);


#endif /* _NGX_SNORKY_MATCHER_INDEX_H_INCLUDED_ */
