
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
#include "ngx_snorky_acquired.h"


#define NGX_SNORKY_DATASYNC_TOKEN  0    /* place of the parameter */


static ngx_int_t ngx_snorky_datasync_acquire(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_claim(ngx_snorky_call_t *call,
    ngx_str_t *key, ngx_snorky_acquired_t *subscription);
static ngx_int_t ngx_snorky_datasync_reason(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change);
static ngx_int_t ngx_snorky_datasync_cancel(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_key(ngx_snorky_call_t *call,
    ngx_str_t *key);
static ngx_int_t ngx_snorky_datasync_create(ngx_snorky_call_t *call,
    ngx_str_t *items, ngx_snorky_acquired_t **created);
static ngx_snorky_value_t *ngx_snorky_datasync_pairs(ngx_snorky_call_t *call,
    ngx_str_t *items, ngx_uint_t *n);
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
    .version    = NGX_SNORKY_API_VERSION,
    .name       = ngx_string("datasync"),
    .commands   = ngx_snorky_datasync_commands,
    .options    = ngx_snorky_datasync_options,
    .conf_size  = sizeof(ngx_snorky_datasync_conf_t),
    .init       = ngx_snorky_datasync_init,
    .dealer     = ngx_snorky_datasync_dealer,
    .state_size = sizeof(ngx_snorky_datasync_state_t),
    .open       = ngx_snorky_datasync_open,
    .close      = ngx_snorky_datasync_close,
    .heard      = ngx_snorky_acquired_heard,
    .released   = ngx_snorky_datasync_released
};


/*
 * The worker listens before the hand-over, and what is delivered then is not
 * for this client yet: it gets what has been kept up to the hand-over, and
 * from there on what comes by the log.
 */

static ngx_int_t
ngx_snorky_datasync_acquire(ngx_snorky_call_t *call)
{
    ngx_int_t               rc;
    ngx_str_t               key;
    ngx_uint_t              n;
    ngx_snorky_change_t    *change;
    ngx_snorky_listed_t    *listed;
    ngx_snorky_acquired_t  *subscription;

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
        ngx_snorky_acquired_end(subscription);
    }

    return rc;
}


static ngx_int_t
ngx_snorky_datasync_claim(ngx_snorky_call_t *call, ngx_str_t *key,
    ngx_snorky_acquired_t *subscription)
{
    ngx_int_t                rc;
    ngx_uint_t               n;
    ngx_snorky_record_t      record;
    ngx_snorky_hold_t       *hold;
    ngx_snorky_change_t     *change;
    ngx_snorky_listed_t     *kept;
    ngx_snorky_acquired_t  **data;

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.key = *key;
    record.label = *key;
    record.data_size = sizeof(ngx_snorky_acquired_t *);

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

    rc = kept ? ngx_snorky_acquired_catch_up(call, subscription, kept, n)
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
    ngx_snorky_acquired_t **created)
{
    ngx_int_t                      rc;
    ngx_log_t                     *log;
    ngx_uint_t                     i, n;
    ngx_pool_t                    *pool;
    ngx_snorky_value_t            *pair;
    ngx_snorky_service_t          *service;
    ngx_snorky_datasync_conf_t    *conf;
    ngx_snorky_datasync_state_t   *state;
    ngx_snorky_datasync_dealer_t  *dealer;
    ngx_snorky_acquired_t         *subscription;

    pool = ngx_snorky_call_pool(call);
    service = ngx_snorky_call_service(call);
    log = ngx_snorky_service_log(service);
    conf = ngx_snorky_service_conf(service);
    state = ngx_snorky_service_state(service);

    pair = ngx_snorky_datasync_pairs(call, items, &n);
    if (pair == NULL) {
        return NGX_ERROR;
    }

    subscription = ngx_calloc(sizeof(ngx_snorky_acquired_t)
                              + n * sizeof(ngx_snorky_acquired_item_t), log);
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
        rc = ngx_snorky_acquired_place(subscription, log);
    }

    if (rc != NGX_OK) {
        ngx_snorky_acquired_end(subscription);
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


static void
ngx_snorky_datasync_released(ngx_snorky_service_t *service,
    ngx_snorky_hold_t *hold)
{
    ngx_snorky_datasync_state_t  *state;
    ngx_snorky_acquired_t       **data, *subscription;

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

    ngx_snorky_acquired_end(subscription);
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
                              * sizeof(ngx_snorky_acquired_room_t),
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
