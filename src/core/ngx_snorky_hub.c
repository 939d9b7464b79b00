
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the worker's sessions and topics, and answers the broker.  Opened and
 * closed with the worker, called by sessions and topics.
 */


#include "ngx_snorky_hub.h"
#include "ngx_snorky_change.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_news.h"
#include "ngx_snorky_occupancy.h"
#include "ngx_snorky_session.h"
#include "ngx_snorky_topic.h"


/* ms; sessions that are due in less than this are closed together */
#define NGX_SNORKY_HUB_DRAIN_TICK  10

/* bytes; what one message needs, for most messages */
#define NGX_SNORKY_HUB_POOL        4096


static void ngx_snorky_hub_close_queue(ngx_queue_t *sessions, ngx_uint_t code,
    const char *reason);
static void *ngx_snorky_hub_find(void *data, uint64_t hash, ngx_str_t *name);
static ngx_int_t ngx_snorky_hub_deliver(void *data, void *found,
    ngx_snorky_msg_t *msg, uint64_t except, ngx_str_t *only);
static void ngx_snorky_hub_room(void *data);
static void ngx_snorky_hub_lost(void *data);
static void ngx_snorky_hub_quit(void *data, ngx_uint_t at_once);
static void ngx_snorky_hub_resume(ngx_snorky_hub_t *hub,
    ngx_snorky_session_t *s, ngx_uint_t overdue);
static void ngx_snorky_hub_set_wait_timer(ngx_snorky_hub_t *hub);
static void ngx_snorky_hub_wait_handler(ngx_event_t *ev);
static ngx_snorky_session_t *ngx_snorky_hub_overdue(ngx_snorky_hub_t *hub);
static void ngx_snorky_hub_set_reason(ngx_snorky_hub_t *hub);
static void ngx_snorky_hub_drain_handler(ngx_event_t *ev);
static void ngx_snorky_hub_clean_handler(ngx_event_t *ev);


static ngx_snorky_broker_handlers_t  ngx_snorky_hub_broker_handlers = {
    ngx_snorky_hub_find,
    ngx_snorky_hub_deliver,
    ngx_snorky_hub_room,
    ngx_snorky_hub_lost,
    ngx_snorky_hub_quit,
    ngx_snorky_news_vacated,
    ngx_snorky_news_died,
    ngx_snorky_news_reset
};


ngx_snorky_hub_t *
ngx_snorky_hub_open(ngx_cycle_t *cycle, ngx_snorky_hub_conf_t *conf)
{
    ngx_snorky_hub_t  *hub;

    hub = ngx_pcalloc(cycle->pool, sizeof(ngx_snorky_hub_t));
    if (hub == NULL) {
        return NULL;
    }

    hub->log = cycle->log;
    hub->drain = conf->drain;
    ngx_snorky_hub_set_reason(hub);

    hub->asker = conf->asker;
    hub->registries = conf->registries;

    ngx_queue_init(&hub->sessions);
    ngx_queue_init(&hub->ending);
    ngx_queue_init(&hub->waiting);

    hub->dummy.data = hub;
    hub->dummy.fd = (ngx_socket_t) -1;

    hub->wait_timer.handler = ngx_snorky_hub_wait_handler;
    hub->wait_timer.data = &hub->dummy;
    hub->wait_timer.log = cycle->log;

    hub->drain_timer.handler = ngx_snorky_hub_drain_handler;
    hub->drain_timer.data = &hub->dummy;
    hub->drain_timer.log = cycle->log;

    hub->clean.handler = ngx_snorky_hub_clean_handler;
    hub->clean.data = hub;
    hub->clean.log = cycle->log;

    ngx_snorky_outbox_init(hub, conf);
    ngx_snorky_occupancy_init(hub);

    hub->change = ngx_pcalloc(cycle->pool, sizeof(ngx_snorky_change_t));
    if (hub->change == NULL) {
        return NULL;
    }

    hub->pool = ngx_create_pool(NGX_SNORKY_HUB_POOL, cycle->log);
    if (hub->pool == NULL) {
        return NULL;
    }

    if (ngx_snorky_map_init(&hub->topics) != NGX_OK) {
        ngx_destroy_pool(hub->pool);
        return NULL;
    }

    if (ngx_snorky_map_init(&hub->reached) != NGX_OK) {
        ngx_snorky_map_finish(&hub->topics);
        ngx_destroy_pool(hub->pool);
        return NULL;
    }

    hub->json = ngx_snorky_json_create();
    if (hub->json == NULL) {
        ngx_snorky_map_finish(&hub->reached);
        ngx_snorky_map_finish(&hub->topics);
        ngx_destroy_pool(hub->pool);
        return NULL;
    }

    hub->broker = ngx_snorky_broker_open(cycle, &conf->broker,
                                         &ngx_snorky_hub_broker_handlers, hub);
    if (hub->broker == NULL) {
        ngx_snorky_json_destroy(hub->json);
        ngx_snorky_map_finish(&hub->reached);
        ngx_snorky_map_finish(&hub->topics);
        ngx_destroy_pool(hub->pool);
        return NULL;
    }

    hub->stats = ngx_snorky_broker_stats(hub->broker);

    return hub;
}


/* all sessions have ended */

void
ngx_snorky_hub_close(ngx_snorky_hub_t *hub)
{
    if (hub->wait_timer.timer_set) {
        ngx_del_timer(&hub->wait_timer);
    }

    if (hub->drain_timer.timer_set) {
        ngx_del_timer(&hub->drain_timer);
    }

    if (hub->clean.posted) {
        ngx_delete_posted_event(&hub->clean);
    }

    ngx_snorky_mailbox_close(hub);
    ngx_snorky_occupancy_finish(hub);
    ngx_snorky_outbox_finish(hub);

    /* the others are to tell the application that this worker is no more */

    if (hub->outboxes_lost) {
        ngx_snorky_broker_abandon(hub->broker);
    }

    ngx_snorky_broker_close(hub->broker);
    ngx_snorky_json_destroy(hub->json);
    ngx_snorky_map_finish(&hub->reached);
    ngx_snorky_map_finish(&hub->topics);
    ngx_destroy_pool(hub->pool);

    if (hub->name.data) {
        ngx_free(hub->name.data);
    }
}


void
ngx_snorky_hub_close_sessions(ngx_snorky_hub_t *hub, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_hub_close_queue(&hub->sessions, code, reason);
    ngx_snorky_hub_close_queue(&hub->ending, code, reason);
}


static void
ngx_snorky_hub_close_queue(ngx_queue_t *sessions, ngx_uint_t code,
    const char *reason)
{
    ngx_queue_t           *q;
    ngx_snorky_session_t  *s;

    while (!ngx_queue_empty(sessions)) {
        q = ngx_queue_head(sessions);
        s = ngx_queue_data(q, ngx_snorky_session_t, queue);

        ngx_snorky_session_close(s, code, reason);
    }
}


void
ngx_snorky_hub_add(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s)
{
    ngx_queue_insert_tail(&hub->sessions, &s->queue);

    hub->stats->sessions++;
    hub->stats->connections++;

    if (hub->draining && !hub->drain_timer.timer_set) {
        ngx_add_timer(&hub->drain_timer, NGX_SNORKY_HUB_DRAIN_TICK);
    }
}


void
ngx_snorky_hub_remove(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s)
{
    ngx_queue_remove(&s->queue);

    hub->stats->sessions--;

    /* the timer would keep a worker that has nothing left to drain */

    if (hub->drain_timer.timer_set && ngx_queue_empty(&hub->sessions)) {
        ngx_del_timer(&hub->drain_timer);
    }

    if (hub->draining && ngx_snorky_hub_deserted(hub)) {
        ngx_snorky_outbox_quit(hub);
    }
}


/* its calls' timers keep the worker */

void
ngx_snorky_hub_postpone(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s)
{
    ngx_queue_remove(&s->queue);
    ngx_queue_insert_tail(&hub->ending, &s->queue);
}


/* what waits once more keeps its place in the queue and its deadline */

void
ngx_snorky_hub_wait(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s)
{
    s->waits = 1;

    if (s->retries) {
        ngx_queue_insert_head(&hub->waiting, &s->waiting);

    } else {
        ngx_queue_insert_tail(&hub->waiting, &s->waiting);

        s->wait_until = ngx_current_msec + s->limits->publish_timeout;
        hub->stats->waits++;
    }

    hub->stats->waiting++;

    ngx_snorky_hub_set_wait_timer(hub);
}


void
ngx_snorky_hub_stop_waiting(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s)
{
    if (!s->waits) {
        return;
    }

    s->waits = 0;

    ngx_queue_remove(&s->waiting);

    hub->stats->waiting--;

    if (ngx_queue_empty(&hub->waiting) && hub->wait_timer.timer_set) {
        ngx_del_timer(&hub->wait_timer);
    }
}


static void
ngx_snorky_hub_resume(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s,
    ngx_uint_t overdue)
{
    ngx_snorky_hub_stop_waiting(hub, s);

    s->retries = 1;
    s->overdue = overdue;

    s->ops->resume(s);
}


static void *
ngx_snorky_hub_find(void *data, uint64_t hash, ngx_str_t *name)
{
    ngx_snorky_hub_t *hub = data;

    if (ngx_snorky_mailbox_is(hub->mailbox, name)) {
        return hub->mailbox;
    }

    return ngx_snorky_topic_find(hub, hash, name);
}


static ngx_int_t
ngx_snorky_hub_deliver(void *data, void *found, ngx_snorky_msg_t *msg,
    uint64_t except, ngx_str_t *only)
{
    ngx_snorky_hub_t *hub = data;

    if (found == hub->mailbox) {
        return ngx_snorky_mailbox_put(hub->mailbox, msg);
    }

    return ngx_snorky_topic_deliver(hub, found, msg, except, only);
}


/* those who have waited longest come first; one that must wait on ends it */

static void
ngx_snorky_hub_room(void *data)
{
    ngx_snorky_hub_t *hub = data;

    ngx_queue_t           *q;
    ngx_snorky_session_t  *s;

    ngx_snorky_mailbox_room(hub->mailbox);

    while (!ngx_queue_empty(&hub->waiting)) {
        q = ngx_queue_head(&hub->waiting);
        s = ngx_queue_data(q, ngx_snorky_session_t, waiting);

        ngx_snorky_hub_resume(hub, s, 0);

        if (!ngx_queue_empty(&hub->waiting)
            && ngx_queue_head(&hub->waiting) == q)
        {
            break;
        }
    }
}


/* locations may differ in their timeout: the timer looks at all who wait */

static void
ngx_snorky_hub_set_wait_timer(ngx_snorky_hub_t *hub)
{
    ngx_msec_int_t         left, least;
    ngx_queue_t           *q;
    ngx_snorky_session_t  *s;

    if (ngx_queue_empty(&hub->waiting)) {
        return;
    }

    least = NGX_MAX_INT32_VALUE;

    for (q = ngx_queue_head(&hub->waiting);
         q != ngx_queue_sentinel(&hub->waiting);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_snorky_session_t, waiting);

        left = (ngx_msec_int_t) (s->wait_until - ngx_current_msec);
        least = ngx_min(least, left);
    }

    ngx_add_timer(&hub->wait_timer, (ngx_msec_t) ngx_max(least, 1));
}


/*
 * A resumed session may take others with it, so the search begins anew.  It
 * is short: but for differing timeouts, who is overdue stands in front.
 */

static void
ngx_snorky_hub_wait_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_session_t  *s;

    c = ev->data;
    hub = c->data;

    for ( ;; ) {
        s = ngx_snorky_hub_overdue(hub);

        if (s == NULL) {
            break;
        }

        ngx_snorky_hub_resume(hub, s, 1);
    }

    ngx_snorky_hub_set_wait_timer(hub);
}


static ngx_snorky_session_t *
ngx_snorky_hub_overdue(ngx_snorky_hub_t *hub)
{
    ngx_queue_t           *q;
    ngx_snorky_session_t  *s;

    for (q = ngx_queue_head(&hub->waiting);
         q != ngx_queue_sentinel(&hub->waiting);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_snorky_session_t, waiting);

        if ((ngx_msec_int_t) (s->wait_until - ngx_current_msec) <= 0) {
            return s;
        }
    }

    return NULL;
}


static void
ngx_snorky_hub_set_reason(ngx_snorky_hub_t *hub)
{
    u_char  *p;

    if (hub->drain) {
        p = ngx_sprintf(hub->at_once, NGX_SNORKY_HUB_AT_ONCE, hub->drain);

    } else {
        p = ngx_sprintf(hub->at_once, NGX_SNORKY_HUB_TURN);
    }

    *p = '\0';
}


static void
ngx_snorky_hub_lost(void *data)
{
    ngx_snorky_hub_t *hub = data;

    ngx_snorky_hub_close_sessions(hub, NGX_SNORKY_HUB_RESTART,
                                  ngx_snorky_hub_reason(hub));

    ngx_snorky_mailbox_lost(hub->mailbox);
    ngx_snorky_occupancy_lost(hub);
}


static void
ngx_snorky_hub_quit(void *data, ngx_uint_t at_once)
{
    ngx_snorky_hub_t *hub = data;

    hub->draining = 1;
    hub->drain_until = ngx_current_msec + (at_once ? 0 : hub->drain);

    /* not from here: no round of the event loop would write what is queued */

    if (!ngx_queue_empty(&hub->sessions)) {
        ngx_add_timer(&hub->drain_timer, 1);

    } else if (ngx_snorky_hub_deserted(hub)) {
        ngx_snorky_outbox_quit(hub);
    }
}


/*
 * Sessions are closed evenly over the time that is left, and have been given
 * what was published before.  The timer is not cancelable: nginx keeps a
 * quitting worker as long as it runs.
 */

static void
ngx_snorky_hub_drain_handler(ngx_event_t *ev)
{
    ngx_uint_t             n, due;
    ngx_queue_t           *q;
    ngx_msec_int_t         left, wait;
    ngx_connection_t      *c;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_session_t  *s;

    c = ev->data;
    hub = c->data;

    ngx_snorky_broker_drain(hub->broker);

    n = (ngx_uint_t) hub->stats->sessions;
    left = (ngx_msec_int_t) (hub->drain_until - ngx_current_msec);

    if (n == 0) {
        return;
    }

    if (left <= 0) {
        due = n;
        wait = 0;

    } else {
        wait = ngx_max(left / (ngx_msec_int_t) n, NGX_SNORKY_HUB_DRAIN_TICK);
        due = ngx_max(n * wait / left, 1);
    }

    while (due-- && !ngx_queue_empty(&hub->sessions)) {
        q = ngx_queue_head(&hub->sessions);
        s = ngx_queue_data(q, ngx_snorky_session_t, queue);

        ngx_snorky_session_end(s);
    }

    if (!ngx_queue_empty(&hub->sessions)) {
        ngx_add_timer(&hub->drain_timer, (ngx_msec_t) wait);
    }
}


void
ngx_snorky_hub_clean(ngx_snorky_hub_t *hub)
{
    ngx_event_t  *ev;

    ev = &hub->clean;

    ngx_post_event(ev, &ngx_posted_events);
}


static void
ngx_snorky_hub_clean_handler(ngx_event_t *ev)
{
    ngx_snorky_hub_t  *hub;

    hub = ev->data;

    ngx_reset_pool(hub->pool);
}
