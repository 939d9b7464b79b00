
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A module of its own that brings a service type to ngx_snorky_module:
 *
 *     snorky_service counter NAME [most=NUMBER] [longest=TIME];
 *
 * Clients add to counters, which have any JSON value as their names.  What a
 * client has added counts as long as it is connected.  Others watch a counter,
 * or wait until it reaches a value.
 *
 * It is explained in docs/service-types.md, and tested by t/module.t.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <ngx_snorky.h>


/* places of the parameters in the tables below */

#define NGX_HTTP_COUNTER_COUNTER  0

#define NGX_HTTP_COUNTER_AMOUNT   1

#define NGX_HTTP_COUNTER_VALUE    1
#define NGX_HTTP_COUNTER_TIMEOUT  2

/* amounts and values have at most so many digits: their sums are no problem */
#define NGX_HTTP_COUNTER_DIGITS   9


typedef struct {
    ngx_uint_t                 most;        /* additions of one client */
    ngx_msec_t                 longest;     /* that a call may wait */
} ngx_http_counter_conf_t;


/* what a service has in a worker */

typedef struct {
    ngx_uint_t                 clients;
    ngx_queue_t                waiters;     /* of ngx_http_counter_waiter_t */
    ngx_queue_t                due;         /* ... that are to be checked */
    ngx_event_t                event;       /* in which that is done */
    ngx_snorky_feed_t         *feed;        /* tells what has been added to */
} ngx_http_counter_state_t;


/* a call of "wait" that has no answer yet */

typedef struct {
    ngx_queue_t                queue;
    ngx_snorky_call_t         *call;
    ngx_snorky_value_t         counter;
    ngx_str_t                  key;         /* of the counter */
    ngx_uint_t                 value;       /* that it is to reach */
} ngx_http_counter_waiter_t;


static ngx_int_t ngx_http_counter_add(ngx_snorky_call_t *call);
static ngx_int_t ngx_http_counter_get(ngx_snorky_call_t *call);
static ngx_int_t ngx_http_counter_watch(ngx_snorky_call_t *call);
static ngx_int_t ngx_http_counter_unwatch(ngx_snorky_call_t *call);
static ngx_int_t ngx_http_counter_wait(ngx_snorky_call_t *call);
static ngx_int_t ngx_http_counter_info(ngx_snorky_call_t *call);

static ngx_int_t ngx_http_counter_number(ngx_snorky_value_t *param,
    ngx_int_t none);
static ngx_int_t ngx_http_counter_changed(ngx_snorky_call_t *call,
    ngx_int_t amount, ngx_str_t *content);
static void ngx_http_counter_tell(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change, ngx_str_t *content);
static ngx_int_t ngx_http_counter_commit(ngx_snorky_change_t *change,
    ngx_uint_t *total);
static ngx_int_t ngx_http_counter_reply(ngx_snorky_call_t *call,
    ngx_uint_t total);

static ngx_int_t ngx_http_counter_heard(ngx_snorky_service_t *service,
    void *data, ngx_str_t *text);
static void ngx_http_counter_event_handler(ngx_event_t *ev);
static void ngx_http_counter_check(ngx_http_counter_state_t *state,
    ngx_http_counter_waiter_t *waiter);
static void ngx_http_counter_cancelled(ngx_snorky_call_t *later);
static void ngx_http_counter_connected(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s);
static void ngx_http_counter_disconnected(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s);

static char *ngx_http_counter_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);
static ngx_int_t ngx_http_counter_open(ngx_snorky_service_t *service);
static void ngx_http_counter_close(ngx_snorky_service_t *service);
static ngx_int_t ngx_http_counter_preconfiguration(ngx_conf_t *cf);


static ngx_str_t  ngx_http_counter_add_params[] = {
    ngx_string("counter"),
    ngx_string("?amount"),
    ngx_null_string
};


static ngx_str_t  ngx_http_counter_counter_params[] = {
    ngx_string("counter"),
    ngx_null_string
};


static ngx_str_t  ngx_http_counter_wait_params[] = {
    ngx_string("counter"),
    ngx_string("value"),
    ngx_string("?timeout"),
    ngx_null_string
};


static ngx_str_t  ngx_http_counter_no_params[] = {
    ngx_null_string
};


static ngx_snorky_command_t  ngx_http_counter_commands[] = {

    { ngx_string("add"),
      ngx_http_counter_add_params,
      ngx_http_counter_add },

    { ngx_string("get"),
      ngx_http_counter_counter_params,
      ngx_http_counter_get },

    { ngx_string("watch"),
      ngx_http_counter_counter_params,
      ngx_http_counter_watch },

    { ngx_string("unwatch"),
      ngx_http_counter_counter_params,
      ngx_http_counter_unwatch },

    { ngx_string("wait"),
      ngx_http_counter_wait_params,
      ngx_http_counter_wait },

    { ngx_string("info"),
      ngx_http_counter_no_params,
      ngx_http_counter_info },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_http_counter_options[] = {

    { ngx_string("most"),
      ngx_snorky_option_number,
      offsetof(ngx_http_counter_conf_t, most),
      NULL },

    { ngx_string("longest"),
      ngx_snorky_option_msec,
      offsetof(ngx_http_counter_conf_t, longest),
      NULL },

      ngx_snorky_null_option
};


static ngx_snorky_service_type_t  ngx_http_counter = {
    .version      = NGX_SNORKY_API_VERSION,
    .name         = ngx_string("counter"),
    .commands     = ngx_http_counter_commands,
    .options      = ngx_http_counter_options,
    .conf_size    = sizeof(ngx_http_counter_conf_t),
    .init         = ngx_http_counter_init,
    .state_size   = sizeof(ngx_http_counter_state_t),
    .open         = ngx_http_counter_open,
    .close        = ngx_http_counter_close,
    .connected    = ngx_http_counter_connected,
    .disconnected = ngx_http_counter_disconnected,
    .heard        = ngx_http_counter_heard,
    .cancelled    = ngx_http_counter_cancelled,
};


static ngx_http_module_t  ngx_http_counter_module_ctx = {
    ngx_http_counter_preconfiguration, /* preconfiguration */
    NULL,                              /* postconfiguration */

    NULL,                              /* create main configuration */
    NULL,                              /* init main configuration */

    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */

    NULL,                              /* create location configuration */
    NULL                               /* merge location configuration */
};


ngx_module_t  ngx_http_counter_module = {
    NGX_MODULE_V1,
    &ngx_http_counter_module_ctx,      /* module context */
    NULL,                              /* module directives */
    NGX_HTTP_MODULE,                   /* module type */
    NULL,                              /* init master */
    NULL,                              /* init module */
    NULL,                              /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    NULL,                              /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ngx_http_counter_feed = ngx_string("added");


static ngx_int_t
ngx_http_counter_preconfiguration(ngx_conf_t *cf)
{
    return ngx_snorky_service_type_add(cf, &ngx_http_counter);
}


static char *
ngx_http_counter_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_http_counter_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->most == 0) {
        conf->most = 16;
    }

    if (conf->longest == 0) {
        conf->longest = 60000;
    }

    if (conf->longest > 86400000) {
        return "\"longest=\" is more than a day";
    }

    return NGX_CONF_OK;
}


/* from here on the worker hears of what is added, also by itself */

static ngx_int_t
ngx_http_counter_open(ngx_snorky_service_t *service)
{
    ngx_http_counter_state_t  *state;

    state = ngx_snorky_service_state(service);

    ngx_queue_init(&state->waiters);
    ngx_queue_init(&state->due);

    state->event.handler = ngx_http_counter_event_handler;
    state->event.data = state;
    state->event.log = ngx_snorky_service_log(service);

    state->feed = ngx_snorky_feed_open(service, &ngx_http_counter_feed, state);

    return state->feed ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_counter_close(ngx_snorky_service_t *service)
{
    ngx_http_counter_state_t  *state;

    state = ngx_snorky_service_state(service);

    if (state->event.posted) {
        ngx_delete_posted_event(&state->event);
    }

    ngx_snorky_feed_close(state->feed);
}


/*
 * An addition is a record of the counter's set, which its client holds: it
 * goes with the client, and says farewell to the watchers.  That it is held,
 * what they are told now, and the total in the answer are of one moment, on
 * all workers.
 */

static ngx_int_t
ngx_http_counter_add(ngx_snorky_call_t *call)
{
    u_char                    random[16], digits[NGX_INT_T_LEN];
    ngx_int_t                 rc, amount;
    ngx_str_t                 key, content;
    ngx_uint_t                n, total;
    ngx_snorky_hold_t        *hold;
    ngx_snorky_change_t      *change;
    ngx_snorky_record_t       record;
    ngx_snorky_service_t     *service;
    ngx_http_counter_conf_t  *conf;

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);

    amount = ngx_http_counter_number(
                 ngx_snorky_call_param(call, NGX_HTTP_COUNTER_AMOUNT), 1);

    if (amount == NGX_ERROR) {
        return ngx_snorky_call_error(call, "Invalid amount");
    }

    n = 0;

    for (hold = ngx_snorky_hold_first(ngx_snorky_call_session(call), service);
         hold;
         hold = ngx_snorky_hold_next(hold))
    {
        n++;
    }

    if (n >= conf->most) {
        return ngx_snorky_call_error(call, "Too many additions");
    }

    if (ngx_snorky_random(random, sizeof(random)) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.set = ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER);
    record.key.data = random;
    record.key.len = sizeof(random);
    record.value.data = digits;
    record.value.len = ngx_sprintf(digits, "%i", amount) - digits;

    rc = ngx_snorky_call_key(call, record.set, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_counter_changed(call, -amount, &record.farewell[0]) != NGX_OK
        || ngx_http_counter_changed(call, amount, &content) != NGX_OK)
    {
        return NGX_ERROR;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_hold(change, &record);
    ngx_http_counter_tell(call, change, &content);
    ngx_snorky_change_feed(change, service, &ngx_http_counter_feed,
                           &key, 1);
    ngx_snorky_change_list(change, record.set);

    rc = ngx_http_counter_commit(change, &total);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_counter_reply(call, total);
}


static ngx_int_t
ngx_http_counter_get(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_uint_t            total;
    ngx_snorky_change_t  *change;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_list(change,
                      ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER));

    rc = ngx_http_counter_commit(change, &total);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_counter_reply(call, total);
}


/* what is told from now on continues the total of the answer */

static ngx_int_t
ngx_http_counter_watch(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_uint_t            total;
    ngx_snorky_value_t   *counter;
    ngx_snorky_change_t  *change;

    counter = ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER);

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_join(change, counter);
    ngx_snorky_change_list(change, counter);

    rc = ngx_http_counter_commit(change, &total);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Already watched");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_counter_reply(call, total);
}


static ngx_int_t
ngx_http_counter_unwatch(ngx_snorky_call_t *call)
{
    ngx_int_t  rc;

    rc = ngx_snorky_topic_leave(call,
                      ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER));

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Not watched");
    }

    return rc;
}


static ngx_int_t
ngx_http_counter_wait(ngx_snorky_call_t *call)
{
    ngx_int_t                   rc, value, timeout;
    ngx_str_t                   key;
    ngx_uint_t                  total;
    ngx_snorky_call_t          *later;
    ngx_snorky_value_t         *counter;
    ngx_snorky_change_t        *change;
    ngx_http_counter_conf_t    *conf;
    ngx_http_counter_state_t   *state;
    ngx_http_counter_waiter_t  *waiter;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));
    state = ngx_snorky_service_state(ngx_snorky_call_service(call));

    counter = ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER);

    value = ngx_http_counter_number(
                 ngx_snorky_call_param(call, NGX_HTTP_COUNTER_VALUE), 0);

    if (value == NGX_ERROR) {
        return ngx_snorky_call_error(call, "Invalid value");
    }

    timeout = ngx_http_counter_number(
                  ngx_snorky_call_param(call, NGX_HTTP_COUNTER_TIMEOUT),
                  conf->longest);

    if (timeout == NGX_ERROR) {
        return ngx_snorky_call_error(call, "Invalid timeout");
    }

    rc = ngx_snorky_call_key(call, counter, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_list(change, counter);

    rc = ngx_http_counter_commit(change, &total);
    if (rc != NGX_OK) {
        return rc;
    }

    if (total >= (ngx_uint_t) value) {
        return ngx_http_counter_reply(call, total);
    }

    rc = ngx_snorky_call_defer(call,
                               ngx_min((ngx_msec_t) timeout, conf->longest),
                               sizeof(ngx_http_counter_waiter_t) + key.len
                               + counter->text.len, &later);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the call that goes on has no parameters: what is needed is copied */

    waiter = ngx_snorky_call_data(later);

    waiter->call = later;
    waiter->value = value;

    waiter->key.len = key.len;
    waiter->key.data = (u_char *) (waiter + 1);
    ngx_memcpy(waiter->key.data, key.data, key.len);

    waiter->counter = *counter;
    waiter->counter.text.data = waiter->key.data + key.len;
    ngx_memcpy(waiter->counter.text.data, counter->text.data,
               counter->text.len);

    ngx_queue_insert_tail(&state->waiters, &waiter->queue);

    return NGX_DONE;
}


/*
 * Something has been added, by whichever worker.  We are called while the log
 * is read: the shared facts are looked at in an event of our own.
 */

static ngx_int_t
ngx_http_counter_heard(ngx_snorky_service_t *service, void *data,
    ngx_str_t *text)
{
    ngx_http_counter_state_t *state = data;

    ngx_queue_t                *q, *next;
    ngx_http_counter_waiter_t  *waiter;

    for (q = ngx_queue_head(&state->waiters);
         q != ngx_queue_sentinel(&state->waiters);
         q = next)
    {
        next = ngx_queue_next(q);
        waiter = ngx_queue_data(q, ngx_http_counter_waiter_t, queue);

        if (waiter->key.len == text->len
            && ngx_memcmp(waiter->key.data, text->data, text->len) == 0)
        {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&state->due, q);
        }
    }

    if (!ngx_queue_empty(&state->due)) {
        ngx_post_event(&state->event, &ngx_posted_events);
    }

    return NGX_OK;
}


/* whoever is checked may go, and others with it: it is always the head */

static void
ngx_http_counter_event_handler(ngx_event_t *ev)
{
    ngx_queue_t               *q;
    ngx_http_counter_state_t  *state;

    state = ev->data;

    while (!ngx_queue_empty(&state->due)) {
        q = ngx_queue_head(&state->due);

        ngx_http_counter_check(state, ngx_queue_data(q,
                                          ngx_http_counter_waiter_t, queue));
    }
}


/*
 * A waiter is in no queue while the core is at work for its call, which may
 * end there: then the waiter has gone with it.
 */

static void
ngx_http_counter_check(ngx_http_counter_state_t *state,
    ngx_http_counter_waiter_t *waiter)
{
    ngx_int_t             rc;
    ngx_uint_t            total;
    ngx_snorky_call_t    *call;
    ngx_snorky_change_t  *change;

    ngx_queue_remove(&waiter->queue);
    ngx_queue_init(&waiter->queue);

    call = waiter->call;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_list(change, &waiter->counter);

    rc = ngx_http_counter_commit(change, &total);

    switch (rc) {

    case NGX_OK:

        if (total < waiter->value) {
            ngx_queue_insert_tail(&state->waiters, &waiter->queue);
            return;
        }

        (void) ngx_http_counter_reply(call, total);
        return;

    case NGX_DONE:
        return;

    case NGX_AGAIN:
        (void) ngx_snorky_call_error(call, "Overloaded");
        return;

    default: /* NGX_ERROR */
        (void) ngx_snorky_call_error(call, "Internal error");
        return;
    }
}


/* the client has left, or the time has passed; the waiter is freed next */

static void
ngx_http_counter_cancelled(ngx_snorky_call_t *later)
{
    ngx_http_counter_waiter_t  *waiter;

    waiter = ngx_snorky_call_data(later);

    ngx_queue_remove(&waiter->queue);
}


static void
ngx_http_counter_connected(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s)
{
    ngx_http_counter_state_t  *state;

    state = ngx_snorky_service_state(service);
    state->clients++;
}


static void
ngx_http_counter_disconnected(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s)
{
    ngx_http_counter_state_t  *state;

    state = ngx_snorky_service_state(service);
    state->clients--;
}


/* of the worker that the caller is connected to */

static ngx_int_t
ngx_http_counter_info(ngx_snorky_call_t *call)
{
    u_char                     text[64 + 2 * NGX_INT_T_LEN];
    ngx_str_t                  data;
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    ngx_http_counter_state_t  *state;

    state = ngx_snorky_service_state(ngx_snorky_call_service(call));
    n = 0;

    for (q = ngx_queue_head(&state->waiters);
         q != ngx_queue_sentinel(&state->waiters);
         q = ngx_queue_next(q))
    {
        n++;
    }

    data.data = text;
    data.len = ngx_sprintf(text, "{\"clients\":%ui,\"waiting\":%ui}",
                           state->clients, n)
               - text;

    return ngx_snorky_call_reply(call, &data);
}


/* a positive integer; "none" if the parameter is not there; or NGX_ERROR */

static ngx_int_t
ngx_http_counter_number(ngx_snorky_value_t *param, ngx_int_t none)
{
    ngx_int_t  n;

    if (param->text.len == 0) {
        return none;
    }

    if (param->text.len > NGX_HTTP_COUNTER_DIGITS) {
        return NGX_ERROR;
    }

    n = ngx_atoi(param->text.data, param->text.len);

    return n > 0 ? n : NGX_ERROR;
}


/* what the watchers of the call's counter are told */

static ngx_int_t
ngx_http_counter_changed(ngx_snorky_call_t *call, ngx_int_t amount,
    ngx_str_t *content)
{
    u_char     digits[NGX_INT_T_LEN];
    ngx_str_t  parts[5];

    ngx_str_set(&parts[0], "{\"type\":\"changed\",\"counter\":");
    parts[1] = ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER)->text;
    ngx_str_set(&parts[2], ",\"by\":");
    parts[3].data = digits;
    parts[3].len = ngx_sprintf(digits, "%i", amount) - digits;
    ngx_str_set(&parts[4], "}");

    return ngx_snorky_call_concat(call, parts, 5, content);
}


static void
ngx_http_counter_tell(ngx_snorky_call_t *call, ngx_snorky_change_t *change,
    ngx_str_t *content)
{
    ngx_snorky_publication_t  publication;

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.key = ngx_snorky_call_param(call, NGX_HTTP_COUNTER_COUNTER);
    publication.parts = content;
    publication.n = 1;

    ngx_snorky_change_publish(change, &publication);
}


/* the change lists all additions to a counter: as commit, and their sum */

static ngx_int_t
ngx_http_counter_commit(ngx_snorky_change_t *change, ngx_uint_t *total)
{
    ngx_int_t             rc;
    ngx_uint_t            i, n;
    ngx_snorky_listed_t  *listed;

    rc = ngx_snorky_change_commit(change);
    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    if (listed == NULL) {
        return NGX_ERROR;
    }

    *total = 0;

    for (i = 0; i < n; i++) {
        *total += ngx_atoi(listed[i].value.data, listed[i].value.len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_counter_reply(ngx_snorky_call_t *call, ngx_uint_t total)
{
    u_char     digits[NGX_INT_T_LEN];
    ngx_str_t  data;

    data.data = digits;
    data.len = ngx_sprintf(digits, "%ui", total) - digits;

    return ngx_snorky_call_reply(call, &data);
}
