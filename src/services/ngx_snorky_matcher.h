
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Which of many subscriptions a change of data is for: the items of one
 * worker for one model of datasync, each with a filter.
 *
 * Items with equal filters share a group, which is asked once.  A group whose
 * filter demands that some field equals some value is looked up by that value
 * and never seen otherwise.  A run costs what the distinct paths, the groups
 * that may match, and the matches cost.
 */


#ifndef _NGX_SNORKY_MATCHER_H_INCLUDED_
#define _NGX_SNORKY_MATCHER_H_INCLUDED_


#include "ngx_snorky.h"


typedef struct ngx_snorky_matcher_s        ngx_snorky_matcher_t;
typedef struct ngx_snorky_matcher_group_s  ngx_snorky_matcher_group_t;


/* lies in its owner's memory; "data" is the owner's, the rest is not */

typedef struct {
    ngx_queue_t                  queue;
    ngx_snorky_matcher_group_t  *group;
    uint64_t                     order;
    void                        *data;
} ngx_snorky_matcher_item_t;


typedef enum {
    NGX_SNORKY_MATCHER_INSERT = 1,
    NGX_SNORKY_MATCHER_DELETE,
    NGX_SNORKY_MATCHER_UPDATE
} ngx_snorky_matcher_kind_e;


/* NULL: no memory, or no randomness */
ngx_snorky_matcher_t *ngx_snorky_matcher_create(ngx_log_t *log);

/* no item may be left */
void ngx_snorky_matcher_destroy(ngx_snorky_matcher_t *matcher);

/* the items that are in it */
ngx_uint_t ngx_snorky_matcher_count(ngx_snorky_matcher_t *matcher);


/*
 * Adds an item, with a copy of the filter's text; NULL matches everything.
 *
 *   NGX_OK        the item must stay where it is until it is removed
 *   NGX_DECLINED  the filter is malformed
 *   NGX_ERROR     no memory
 */

ngx_int_t ngx_snorky_matcher_add(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_item_t *item, ngx_str_t *filter);

/* takes no longer the more items there are */
void ngx_snorky_matcher_remove(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_item_t *item);


/*
 * Calls the function for each item that matches, once, in the order in which
 * they were added, with what the change is to the item: to one that matches
 * only the new data of an update it is an insert, only the old, a delete.
 *
 * "type" is what the change is: an insert has only new_data, a delete only
 * old_data, an update both.  The other may be NULL.
 *
 * The function may not add or remove items, nor run the matcher: what is to
 * go is removed by its owner afterwards.
 *
 *   NGX_OK        done
 *   NGX_DECLINED  data is no JSON; it is looked at only if a filter asks
 *   NGX_ERROR     no memory
 *
 * When it does not return NGX_OK the function was not called.
 */

typedef void (*ngx_snorky_matcher_pt)(void *ctx,
    ngx_snorky_matcher_item_t *item, ngx_snorky_matcher_kind_e kind);

ngx_int_t ngx_snorky_matcher_run(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_kind_e type, ngx_str_t *new_data, ngx_str_t *old_data,
    ngx_snorky_matcher_pt call, void *ctx);


#endif /* _NGX_SNORKY_MATCHER_H_INCLUDED_ */
