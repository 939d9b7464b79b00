
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * datasync: a client acquires, by a token, what the application has
 * authorized, and gets the deltas that match from then on (protocol, 9).
 *
 * A token is a record that waits, with the deltas that are kept meanwhile.
 * Whoever acquires it holds the record.  What it subscribes to is known in
 * its worker only: for each model a matcher, and a feed by which the deltas
 * come from all workers.
 */


#include "ngx_snorky_datasync.h"


#define NGX_SNORKY_DATASYNC_TOKEN  0    /* place of the parameter */


typedef struct {
    ngx_snorky_service_t       *service;
    ngx_uint_t                  index;
    ngx_snorky_matcher_t       *matcher;    /* NULL: nobody here needs it */
    ngx_snorky_feed_t          *feed;
    ngx_uint_t                  items;
} ngx_snorky_datasync_room_t;


typedef struct {
    ngx_snorky_datasync_room_t *rooms;      /* by the model's index */
    ngx_queue_t                 ended;      /* to be freed after the run */
    unsigned                    running:1;
} ngx_snorky_datasync_state_t;


typedef struct {
    ngx_snorky_matcher_item_t   item;       /* its data is the subscription */
    ngx_snorky_datasync_room_t *room;
} ngx_snorky_datasync_item_t;


typedef struct {
    ngx_queue_t                 queue;      /* of the ended */
    ngx_snorky_session_t       *session;
    ngx_str_t                  *filters;    /* of items, while it is acquired */
    ngx_uint_t                  n;
    ngx_uint_t                  placed;     /* items that are in matchers */
    unsigned                    active:1;
    ngx_snorky_datasync_item_t  items[1];
} ngx_snorky_datasync_subscription_t;


/* one delta on its way to those whom it is for; each text is built once */

typedef struct {
    ngx_snorky_service_t       *service;
    ngx_snorky_datasync_delta_t delta;
    ngx_str_t                   model;
    ngx_str_t                   new_data;
    ngx_str_t                   old_data;
    ngx_snorky_notice_t        *notices[NGX_SNORKY_MATCHER_UPDATE + 1];
    unsigned                    failed:1;
} ngx_snorky_datasync_run_t;


static ngx_int_t ngx_snorky_datasync_acquire(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_claim(ngx_snorky_call_t *call,
    ngx_str_t *key, ngx_snorky_datasync_subscription_t *subscription);
static ngx_int_t ngx_snorky_datasync_reason(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change);
static ngx_int_t ngx_snorky_datasync_cancel(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_key(ngx_snorky_call_t *call,
    ngx_str_t *key);

static ngx_int_t ngx_snorky_datasync_create(ngx_snorky_call_t *call,
    ngx_str_t *items, ngx_snorky_datasync_subscription_t **created);
static ngx_snorky_value_t *ngx_snorky_datasync_pairs(ngx_snorky_call_t *call,
    ngx_str_t *items, ngx_uint_t *n);
static ngx_int_t ngx_snorky_datasync_place(
    ngx_snorky_datasync_subscription_t *subscription, ngx_log_t *log);
static void ngx_snorky_datasync_end(
    ngx_snorky_datasync_subscription_t *subscription);
static ngx_int_t ngx_snorky_datasync_open_room(
    ngx_snorky_datasync_room_t *room, ngx_log_t *log);
static void ngx_snorky_datasync_close_room(ngx_snorky_datasync_room_t *room);

static ngx_int_t ngx_snorky_datasync_catch_up(ngx_snorky_call_t *call,
    ngx_snorky_datasync_subscription_t *subscription,
    ngx_snorky_listed_t *kept, ngx_uint_t n);
static ngx_snorky_datasync_room_t *ngx_snorky_datasync_room_of(
    ngx_snorky_datasync_conf_t *conf, ngx_snorky_datasync_room_t *rooms,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_datasync_heard(ngx_snorky_service_t *service,
    void *data, ngx_str_t *text);
static ngx_int_t ngx_snorky_datasync_run(ngx_snorky_service_t *service,
    ngx_snorky_matcher_t *matcher, ngx_str_t *text);
static void ngx_snorky_datasync_deliver(void *ctx,
    ngx_snorky_matcher_item_t *item, ngx_snorky_matcher_kind_e kind);
static ngx_snorky_notice_t *ngx_snorky_datasync_notice(
    ngx_snorky_datasync_run_t *run, ngx_snorky_matcher_kind_e kind);

static void ngx_snorky_datasync_released(ngx_snorky_service_t *service,
    ngx_snorky_hold_t *hold);
static ngx_int_t ngx_snorky_datasync_open(ngx_snorky_service_t *service);
static void ngx_snorky_datasync_close(ngx_snorky_service_t *service);


static ngx_str_t  ngx_snorky_datasync_params[] = {
    ngx_string("token"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_datasync_commands[] = {

    { ngx_string("acquireSubscription"),
      ngx_snorky_datasync_params,
      ngx_snorky_datasync_acquire },

    { ngx_string("cancelSubscription"),
      ngx_snorky_datasync_params,
      ngx_snorky_datasync_cancel },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_datasync_options[] = {

    { ngx_string("timeout"),
      ngx_snorky_option_msec,
      offsetof(ngx_snorky_datasync_conf_t, timeout),
      NULL },

    { ngx_string("pending_max"),
      ngx_snorky_option_size,
      offsetof(ngx_snorky_datasync_conf_t, pending_max),
      NULL },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_datasync = {
    NGX_SNORKY_API_VERSION,
    ngx_string("datasync"),
    ngx_snorky_datasync_commands,
    NULL,
    ngx_snorky_datasync_options,
    sizeof(ngx_snorky_datasync_conf_t),
    ngx_snorky_datasync_init,
    ngx_snorky_datasync_dealer,
    sizeof(ngx_snorky_datasync_state_t),
    ngx_snorky_datasync_open,
    ngx_snorky_datasync_close,
    ngx_snorky_datasync_heard,
    ngx_snorky_datasync_released
};


/*
 * The worker listens before the hand-over, and what is delivered then is not
 * for this client yet: it gets what has been kept up to the hand-over, and
 * from there on what comes by the log.
 */

static ngx_int_t
ngx_snorky_datasync_acquire(ngx_snorky_call_t *call)
{
    ngx_int_t                            rc;
    ngx_str_t                            key;
    ngx_uint_t                           n;
    ngx_snorky_change_t                 *change;
    ngx_snorky_listed_t                 *listed;
    ngx_snorky_datasync_subscription_t  *subscription;

    rc = ngx_snorky_datasync_key(call, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_peek(change, &key);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_datasync_reason(call, change);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    if (listed == NULL || n == 0) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_datasync_create(call, &listed[0].value, &subscription);

    if (rc == NGX_DECLINED) {
        /* authorized under a configuration that is no more */
        return ngx_snorky_call_error(call, "No such subscription");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_datasync_claim(call, &key, subscription);

    if (rc != NGX_OK) {
        ngx_snorky_datasync_end(subscription);
    }

    return rc;
}


static ngx_int_t
ngx_snorky_datasync_claim(ngx_snorky_call_t *call, ngx_str_t *key,
    ngx_snorky_datasync_subscription_t *subscription)
{
    ngx_int_t                             rc;
    ngx_uint_t                            n;
    ngx_snorky_record_t                   record;
    ngx_snorky_hold_t                    *hold;
    ngx_snorky_change_t                  *change;
    ngx_snorky_listed_t                  *kept;
    ngx_snorky_datasync_subscription_t  **data;

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.key = *key;
    record.label = *key;
    record.data_size = sizeof(ngx_snorky_datasync_subscription_t *);

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_claim(change, &record);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_datasync_reason(call, change);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    subscription->active = 1;

    kept = ngx_snorky_change_listed(change, &n);

    rc = kept ? ngx_snorky_datasync_catch_up(call, subscription, kept, n)
              : NGX_ERROR;

    hold = ngx_snorky_change_held(change);

    if (hold == NULL) {
        /* too slow for what was kept: its session has been closed */
        return NGX_DONE;
    }

    if (rc == NGX_OK) {
        data = ngx_snorky_hold_data(hold);
        *data = subscription;
        subscription->filters = NULL;

        return NGX_OK;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_release(change, hold);

    (void) ngx_snorky_change_commit(change);

    return NGX_ERROR;
}


static ngx_int_t
ngx_snorky_datasync_reason(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change)
{
    if (ngx_snorky_change_reason(change) == NGX_SNORKY_TAKEN) {
        return ngx_snorky_call_error(call, "Subscription already acquired");
    }

    return ngx_snorky_call_error(call, "No such subscription");
}


static ngx_int_t
ngx_snorky_datasync_cancel(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             key;
    ngx_snorky_hold_t    *hold;
    ngx_snorky_change_t  *change;

    rc = ngx_snorky_datasync_key(call, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    hold = ngx_snorky_hold_find(ngx_snorky_call_session(call),
                                ngx_snorky_call_service(call), &key);
    if (hold == NULL) {
        return ngx_snorky_call_error(call, "No such subscription");
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_release(change, hold);

    return ngx_snorky_change_commit(change);
}


/* NGX_DONE: the caller is told that it is no token */

static ngx_int_t
ngx_snorky_datasync_key(ngx_snorky_call_t *call, ngx_str_t *key)
{
    ngx_snorky_value_t  *token;

    token = ngx_snorky_call_param(call, NGX_SNORKY_DATASYNC_TOKEN);

    if (token->type != NGX_SNORKY_JSON_STRING) {
        return ngx_snorky_call_error(call, "token must be string");
    }

    return ngx_snorky_call_key(call, token, key);
}


/*
 * A subscription with its items in their matchers, where it is passed over as
 * long as it is not active.  NGX_DECLINED: a dealer is not known any more.
 */

static ngx_int_t
ngx_snorky_datasync_create(ngx_snorky_call_t *call, ngx_str_t *items,
    ngx_snorky_datasync_subscription_t **created)
{
    ngx_int_t                            rc;
    ngx_log_t                           *log;
    ngx_uint_t                           i, n;
    ngx_pool_t                          *pool;
    ngx_snorky_value_t                  *pair;
    ngx_snorky_service_t                *service;
    ngx_snorky_datasync_conf_t          *conf;
    ngx_snorky_datasync_state_t         *state;
    ngx_snorky_datasync_dealer_t        *dealer;
    ngx_snorky_datasync_subscription_t  *subscription;

    pool = ngx_snorky_call_pool(call);
    service = ngx_snorky_call_service(call);
    log = ngx_snorky_service_log(service);
    conf = ngx_snorky_service_conf(service);
    state = ngx_snorky_service_state(service);

    pair = ngx_snorky_datasync_pairs(call, items, &n);
    if (pair == NULL) {
        return NGX_ERROR;
    }

    subscription = ngx_calloc(sizeof(ngx_snorky_datasync_subscription_t)
                              + n * sizeof(ngx_snorky_datasync_item_t), log);
    if (subscription == NULL) {
        return NGX_ERROR;
    }

    subscription->session = ngx_snorky_call_session(call);
    subscription->n = n;
    subscription->filters = ngx_pcalloc(pool, ngx_max(n, 1)
                                              * sizeof(ngx_str_t));
    rc = subscription->filters ? NGX_OK : NGX_ERROR;

    for (i = 0; rc == NGX_OK && i < n; i++) {

        dealer = ngx_snorky_datasync_find_dealer(conf, &pair[2 * i]);

        if (dealer == NULL) {
            rc = NGX_DECLINED;
            break;
        }

        subscription->items[i].item.data = subscription;
        subscription->items[i].room = &state->rooms[dealer->model];

        rc = ngx_snorky_datasync_filter(dealer, &pair[2 * i + 1].text, pool,
                                        &subscription->filters[i]);
    }

    if (rc == NGX_OK) {
        rc = ngx_snorky_datasync_place(subscription, log);
    }

    if (rc != NGX_OK) {
        ngx_snorky_datasync_end(subscription);
        return rc;
    }

    *created = subscription;

    return NGX_OK;
}


/* [[dealer,query],...] as the backend has written it, in one array */

static ngx_snorky_value_t *
ngx_snorky_datasync_pairs(ngx_snorky_call_t *call, ngx_str_t *items,
    ngx_uint_t *n)
{
    ngx_array_t              all;
    ngx_snorky_json_t       *json;
    ngx_snorky_value_t      *pair;
    ngx_snorky_json_node_t  *root, *item, *member;

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));

    if (ngx_snorky_json_parse(json, items, NGX_SNORKY_JSON_ANY_DEPTH, 2, &root)
        != NGX_OK
        || ngx_array_init(&all, ngx_snorky_call_pool(call), 4,
                          2 * sizeof(ngx_snorky_value_t))
           != NGX_OK)
    {
        return NULL;
    }

    for (item = ngx_snorky_json_child(json, root);
         item;
         item = ngx_snorky_json_next(json, item))
    {
        pair = ngx_array_push(&all);
        if (pair == NULL) {
            return NULL;
        }

        member = ngx_snorky_json_child(json, item);

        pair[0] = member->value;
        pair[1] = ngx_snorky_json_next(json, member)->value;
    }

    *n = all.nelts;

    return all.elts;
}


static ngx_int_t
ngx_snorky_datasync_place(ngx_snorky_datasync_subscription_t *subscription,
    ngx_log_t *log)
{
    ngx_int_t                    rc;
    ngx_str_t                   *filter;
    ngx_uint_t                   i;
    ngx_snorky_datasync_item_t  *item;

    for (i = 0; i < subscription->n; i++) {
        item = &subscription->items[i];
        filter = &subscription->filters[i];

        if (ngx_snorky_datasync_open_room(item->room, log) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_snorky_matcher_add(item->room->matcher, &item->item,
                                    filter->len ? filter : NULL);
        if (rc != NGX_OK) {
            ngx_snorky_datasync_close_room(item->room);
            return rc;
        }

        subscription->placed++;
    }

    return NGX_OK;
}


static void
ngx_snorky_datasync_end(ngx_snorky_datasync_subscription_t *subscription)
{
    ngx_snorky_datasync_item_t  *item;

    while (subscription->placed) {
        item = &subscription->items[--subscription->placed];

        ngx_snorky_matcher_remove(item->room->matcher, &item->item);
        ngx_snorky_datasync_close_room(item->room);
    }

    ngx_free(subscription);
}


static ngx_int_t
ngx_snorky_datasync_open_room(ngx_snorky_datasync_room_t *room, ngx_log_t *log)
{
    ngx_snorky_datasync_conf_t   *conf;
    ngx_snorky_datasync_model_t  *model;

    if (room->items++) {
        return NGX_OK;
    }

    conf = ngx_snorky_service_conf(room->service);
    model = conf->models->elts;

    room->matcher = ngx_snorky_matcher_create(log);

    if (room->matcher) {
        room->feed = ngx_snorky_feed_open(room->service,
                                          &model[room->index].name, room);
        if (room->feed) {
            return NGX_OK;
        }

        ngx_snorky_matcher_destroy(room->matcher);
        room->matcher = NULL;
    }

    room->items = 0;

    return NGX_ERROR;
}


static void
ngx_snorky_datasync_close_room(ngx_snorky_datasync_room_t *room)
{
    if (--room->items) {
        return;
    }

    ngx_snorky_feed_close(room->feed);
    ngx_snorky_matcher_destroy(room->matcher);

    room->feed = NULL;
    room->matcher = NULL;
}


/* what was kept is for this subscription alone: with matchers of its own */

static ngx_int_t
ngx_snorky_datasync_catch_up(ngx_snorky_call_t *call,
    ngx_snorky_datasync_subscription_t *subscription,
    ngx_snorky_listed_t *kept, ngx_uint_t n)
{
    ngx_int_t                      rc;
    ngx_str_t                     *filter;
    ngx_uint_t                     i, placed;
    ngx_snorky_service_t          *service;
    ngx_snorky_datasync_room_t    *rooms, *room;
    ngx_snorky_datasync_conf_t    *conf;
    ngx_snorky_matcher_item_t     *items;

    if (n == 0) {
        return NGX_OK;
    }

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);

    rooms = ngx_pcalloc(ngx_snorky_call_pool(call),
                conf->models->nelts * sizeof(ngx_snorky_datasync_room_t));
    items = ngx_pcalloc(ngx_snorky_call_pool(call),
                        subscription->n * sizeof(ngx_snorky_matcher_item_t));

    if (rooms == NULL || items == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (placed = 0; placed < subscription->n; placed++) {
        room = &rooms[subscription->items[placed].room->index];
        filter = &subscription->filters[placed];

        if (room->matcher == NULL) {
            room->matcher = ngx_snorky_matcher_create(
                                             ngx_snorky_service_log(service));
        }

        items[placed].data = subscription;

        rc = room->matcher ? ngx_snorky_matcher_add(room->matcher,
                                                    &items[placed],
                                                    filter->len ? filter
                                                                : NULL)
                           : NGX_ERROR;
        if (rc != NGX_OK) {
            break;
        }
    }

    for (i = 0; rc == NGX_OK && i < n; i++) {

        room = ngx_snorky_datasync_room_of(conf, rooms, &kept[i].value);

        if (room && room->matcher) {
            rc = ngx_snorky_datasync_run(service, room->matcher,
                                         &kept[i].value);
        }
    }

    while (placed--) {
        room = &rooms[subscription->items[placed].room->index];
        ngx_snorky_matcher_remove(room->matcher, &items[placed]);
    }

    for (i = 0; i < conf->models->nelts; i++) {
        if (rooms[i].matcher) {
            ngx_snorky_matcher_destroy(rooms[i].matcher);
        }
    }

    return rc;
}


/* a delta that is kept names its model; NULL: it is not known any more */

static ngx_snorky_datasync_room_t *
ngx_snorky_datasync_room_of(ngx_snorky_datasync_conf_t *conf,
    ngx_snorky_datasync_room_t *rooms, ngx_str_t *text)
{
    ngx_int_t                    index;
    ngx_str_t                    name;
    ngx_snorky_datasync_delta_t  delta;

    ngx_memcpy(&delta, text->data, sizeof(ngx_snorky_datasync_delta_t));

    name.data = text->data + sizeof(ngx_snorky_datasync_delta_t);
    name.len = delta.name;

    index = ngx_snorky_datasync_find_model(conf, &name);

    return (index == NGX_DECLINED) ? NULL : &rooms[index];
}


/* a client that is too slow leaves during the run, and is taken out after */

static ngx_int_t
ngx_snorky_datasync_heard(ngx_snorky_service_t *service, void *data,
    ngx_str_t *text)
{
    ngx_int_t                     rc;
    ngx_queue_t                  *q;
    ngx_snorky_datasync_room_t   *room;
    ngx_snorky_datasync_state_t  *state;

    room = data;
    state = ngx_snorky_service_state(service);

    state->running = 1;

    rc = ngx_snorky_datasync_run(service, room->matcher, text);

    state->running = 0;

    while (!ngx_queue_empty(&state->ended)) {
        q = ngx_queue_head(&state->ended);

        ngx_queue_remove(q);
        ngx_snorky_datasync_end(
               ngx_queue_data(q, ngx_snorky_datasync_subscription_t, queue));
    }

    return rc;
}


static ngx_int_t
ngx_snorky_datasync_run(ngx_snorky_service_t *service,
    ngx_snorky_matcher_t *matcher, ngx_str_t *text)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_snorky_datasync_run_t   run;

    ngx_memzero(&run, sizeof(ngx_snorky_datasync_run_t));

    run.service = service;

    p = text->data;

    ngx_memcpy(&run.delta, p, sizeof(ngx_snorky_datasync_delta_t));
    p += sizeof(ngx_snorky_datasync_delta_t) + run.delta.name;

    run.model.data = p;
    run.model.len = run.delta.model;
    p += run.delta.model;

    run.new_data.data = p;
    run.new_data.len = run.delta.new_data;
    p += run.delta.new_data;

    run.old_data.data = p;
    run.old_data.len = run.delta.old_data;

    rc = ngx_snorky_matcher_run(matcher, run.delta.kind, &run.new_data,
                                &run.old_data, ngx_snorky_datasync_deliver,
                                &run);

    for (i = 0; i <= NGX_SNORKY_MATCHER_UPDATE; i++) {
        if (run.notices[i]) {
            ngx_snorky_notice_free(run.notices[i]);
        }
    }

    return (rc == NGX_OK && !run.failed) ? NGX_OK : NGX_ERROR;
}


static void
ngx_snorky_datasync_deliver(void *ctx, ngx_snorky_matcher_item_t *item,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_snorky_datasync_run_t           *run;
    ngx_snorky_datasync_subscription_t  *subscription;

    run = ctx;
    subscription = item->data;

    if (!subscription->active) {
        return;
    }

    if (run->notices[kind] == NULL) {
        run->notices[kind] = ngx_snorky_datasync_notice(run, kind);

        if (run->notices[kind] == NULL) {
            run->failed = 1;
            return;
        }
    }

    ngx_snorky_notice_send(run->notices[kind], subscription->session);
}


static ngx_snorky_notice_t *
ngx_snorky_datasync_notice(ngx_snorky_datasync_run_t *run,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_str_t   parts[8];
    ngx_uint_t  n;

    ngx_str_set(&parts[0], "{\"type\":\"delta\",\"delta\":{\"type\":");

    n = 4;
    parts[2] = run->model;

    switch (kind) {

    case NGX_SNORKY_MATCHER_INSERT:
        ngx_str_set(&parts[1], "\"insert\",\"model\":");
        ngx_str_set(&parts[3], ",\"data\":");
        parts[n++] = run->new_data;
        break;

    case NGX_SNORKY_MATCHER_DELETE:
        ngx_str_set(&parts[1], "\"delete\",\"model\":");
        ngx_str_set(&parts[3], ",\"data\":");
        parts[n++] = run->old_data;
        break;

    default: /* NGX_SNORKY_MATCHER_UPDATE */
        ngx_str_set(&parts[1], "\"update\",\"model\":");
        ngx_str_set(&parts[3], ",\"newData\":");
        parts[n++] = run->new_data;
        ngx_str_set(&parts[n], ",\"oldData\":");
        n++;
        parts[n++] = run->old_data;
        break;
    }

    ngx_str_set(&parts[n], "}}");

    return ngx_snorky_notice_create(run->service, parts, n + 1);
}


static void
ngx_snorky_datasync_released(ngx_snorky_service_t *service,
    ngx_snorky_hold_t *hold)
{
    ngx_snorky_datasync_state_t          *state;
    ngx_snorky_datasync_subscription_t  **data, *subscription;

    data = ngx_snorky_hold_data(hold);
    subscription = *data;

    if (subscription == NULL) {
        return;
    }

    *data = NULL;
    state = ngx_snorky_service_state(service);

    if (state->running) {
        subscription->active = 0;
        ngx_queue_insert_tail(&state->ended, &subscription->queue);
        return;
    }

    ngx_snorky_datasync_end(subscription);
}


static ngx_int_t
ngx_snorky_datasync_open(ngx_snorky_service_t *service)
{
    ngx_uint_t                    i;
    ngx_snorky_datasync_conf_t   *conf;
    ngx_snorky_datasync_state_t  *state;

    conf = ngx_snorky_service_conf(service);
    state = ngx_snorky_service_state(service);

    ngx_queue_init(&state->ended);

    state->rooms = ngx_calloc((conf->models->nelts + 1)
                              * sizeof(ngx_snorky_datasync_room_t),
                              ngx_snorky_service_log(service));
    if (state->rooms == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < conf->models->nelts; i++) {
        state->rooms[i].service = service;
        state->rooms[i].index = i;
    }

    return NGX_OK;
}


/* all sessions have ended, and with them what they had subscribed to */

static void
ngx_snorky_datasync_close(ngx_snorky_service_t *service)
{
    ngx_snorky_datasync_state_t  *state;

    state = ngx_snorky_service_state(service);

    if (state->rooms) {
        ngx_free(state->rooms);
    }
}
