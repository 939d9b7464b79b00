
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a client has acquired, as its worker knows it: items in the matchers
 * of the models that they are for.  A model that some item here is for has a
 * room, with a matcher and the feed by which its deltas come.
 */


#ifndef _NGX_SNORKY_ACQUIRED_H_INCLUDED_
#define _NGX_SNORKY_ACQUIRED_H_INCLUDED_


#include "ngx_snorky_datasync.h"


typedef struct {
    ngx_snorky_service_t       *service;
    ngx_uint_t                  index;
    ngx_snorky_matcher_t       *matcher;    /* NULL: nobody here needs it */
    ngx_snorky_feed_t          *feed;
    ngx_uint_t                  items;
} ngx_snorky_acquired_room_t;


typedef struct {
    ngx_snorky_acquired_room_t *rooms;      /* by the model's index */
    ngx_queue_t                 ended;      /* to be freed after the run */
    unsigned                    running:1;
} ngx_snorky_datasync_state_t;


typedef struct {
    ngx_snorky_matcher_item_t   item;       /* its data is the subscription */
    ngx_snorky_acquired_room_t *room;
} ngx_snorky_acquired_item_t;


typedef struct {
    ngx_queue_t                 queue;      /* of the ended */
    ngx_snorky_session_t       *session;
    ngx_str_t                  *filters;    /* of items, while it is acquired */
    ngx_uint_t                  n;
    ngx_uint_t                  placed;     /* items that are in matchers */
    unsigned                    active:1;
    ngx_snorky_acquired_item_t  items[1];
} ngx_snorky_acquired_t;


/*
 * Puts the items, whose filters and rooms are set, into their matchers, where
 * they are passed over until the subscription is active.  NGX_OK; NGX_DECLINED:
 * a filter is malformed; NGX_ERROR: no memory.  In any case it is to be ended.
 */

ngx_int_t ngx_snorky_acquired_place(ngx_snorky_acquired_t *subscription,
    ngx_log_t *log);

/* takes its items out, and frees it */
void ngx_snorky_acquired_end(ngx_snorky_acquired_t *subscription);

/* sends what of n kept deltas is for it; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_acquired_catch_up(ngx_snorky_call_t *call,
    ngx_snorky_acquired_t *subscription,
    ngx_snorky_listed_t *kept, ngx_uint_t n);

/* for the type; data is a room */
ngx_int_t ngx_snorky_acquired_heard(ngx_snorky_service_t *service,
    void *data, ngx_str_t *text);


#endif /* _NGX_SNORKY_ACQUIRED_H_INCLUDED_ */
