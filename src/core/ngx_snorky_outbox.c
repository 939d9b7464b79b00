
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the events that the application has not taken yet, and the way to it.
 * Called by what makes them, by the answers, and by the hub when the worker
 * is to end.
 */


#include "ngx_snorky_outbox.h"


/* of a batch; a single event may have more bytes */
#define NGX_SNORKY_OUTBOX_BATCH       64
#define NGX_SNORKY_OUTBOX_BATCH_SIZE  (64 * 1024)

/* ms, before a batch is sent again: doubled each time */
#define NGX_SNORKY_OUTBOX_DELAY       100
#define NGX_SNORKY_OUTBOX_MAX_DELAY   5000

/* bytes of an answer, of which only the status counts */
#define NGX_SNORKY_OUTBOX_ANSWER      (64 * 1024)

#define NGX_SNORKY_OUTBOX_DROPPED                                             \
    "{\"event\":\"dropped\",\"count\":%uL,\"worker\":%uL}"

#define NGX_SNORKY_OUTBOX_DROPPED_LEN                                         \
    (sizeof(NGX_SNORKY_OUTBOX_DROPPED) + 2 * NGX_INT64_LEN)


typedef struct {
    ngx_queue_t                  queue;
    size_t                       len;
    ngx_uint_t                   marker;    /* that tells of dropped ones */
    u_char                       text[1];
} ngx_snorky_outbox_event_t;

#define ngx_snorky_outbox_event_size(len)                                     \
    (offsetof(ngx_snorky_outbox_event_t, text) + (len))

#define NGX_SNORKY_OUTBOX_MARKER                                              \
    ngx_snorky_outbox_event_size(NGX_SNORKY_OUTBOX_DROPPED_LEN)


static void ngx_snorky_outbox_quit_handler(ngx_event_t *ev);
static ngx_snorky_outbox_event_t *ngx_snorky_outbox_create(
    ngx_snorky_outbox_t *outbox, ngx_str_t *parts, ngx_uint_t n, size_t len);
static ngx_snorky_outbox_event_t *ngx_snorky_outbox_marker(
    ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_insert(ngx_snorky_outbox_t *outbox,
    ngx_snorky_outbox_event_t *event);
static void ngx_snorky_outbox_drop(ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_remove(ngx_snorky_outbox_t *outbox,
    ngx_queue_t *q, ngx_uint_t taken);
static ngx_uint_t ngx_snorky_outbox_empty(ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_wake(ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_send_handler(ngx_event_t *ev);
static ngx_uint_t ngx_snorky_outbox_fit(ngx_snorky_outbox_t *outbox);
static ngx_int_t ngx_snorky_outbox_post(ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_done(ngx_snorky_ask_t *ask);
static void ngx_snorky_outbox_taken(ngx_snorky_outbox_t *outbox);
static void ngx_snorky_outbox_failed(ngx_snorky_outbox_t *outbox,
    ngx_uint_t status);
static ngx_uint_t ngx_snorky_outbox_idle(ngx_snorky_hub_t *hub);
static void ngx_snorky_outbox_give_up(ngx_snorky_outbox_t *outbox);
static uint64_t ngx_snorky_outbox_clear(ngx_snorky_outbox_t *outbox);


void
ngx_snorky_outbox_init(ngx_snorky_hub_t *hub, ngx_snorky_hub_conf_t *conf)
{
    ngx_queue_init(&hub->outboxes);

    hub->outbox_size = conf->event_queue;
    hub->outbox_timeout = conf->event_timeout;

    hub->outbox_timer.handler = ngx_snorky_outbox_quit_handler;
    hub->outbox_timer.data = &hub->dummy;
    hub->outbox_timer.log = hub->log;
}


ngx_snorky_outbox_t *
ngx_snorky_outbox_open(ngx_snorky_hub_t *hub, ngx_str_t *uri, void *server)
{
    ngx_snorky_outbox_t  *outbox;

    outbox = ngx_calloc(sizeof(ngx_snorky_outbox_t), hub->log);
    if (outbox == NULL) {
        return NULL;
    }

    outbox->hub = hub;
    outbox->uri = *uri;
    outbox->server = server;

    outbox->send.handler = ngx_snorky_outbox_send_handler;
    outbox->send.data = &hub->dummy;
    outbox->send.log = hub->log;

    ngx_queue_init(&outbox->events);
    ngx_queue_insert_tail(&hub->outboxes, &outbox->queue);

    return outbox;
}


/* those that were dropped are told of first, if there is room for both */

void
ngx_snorky_outbox_put(ngx_snorky_outbox_t *outbox, ngx_str_t *parts,
    ngx_uint_t n)
{
    size_t                      len;
    ngx_uint_t                  i;
    ngx_snorky_hub_t           *hub;
    ngx_snorky_outbox_event_t  *event, *marker;

    hub = outbox->hub;
    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    if (hub->outboxes_closed
        || outbox->size + ngx_snorky_outbox_event_size(len)
           + (outbox->dropped ? NGX_SNORKY_OUTBOX_MARKER : 0)
           > hub->outbox_size)
    {
        ngx_snorky_outbox_drop(outbox);
        return;
    }

    event = ngx_snorky_outbox_create(outbox, parts, n, len);
    marker = NULL;

    if (event && outbox->dropped) {
        marker = ngx_snorky_outbox_marker(outbox);

        if (marker == NULL) {
            ngx_free(event);
            event = NULL;
        }
    }

    if (event == NULL) {
        ngx_snorky_outbox_drop(outbox);
        return;
    }

    if (marker) {
        ngx_snorky_outbox_insert(outbox, marker);
        outbox->dropped = 0;
    }

    ngx_snorky_outbox_insert(outbox, event);

    hub->stats->events++;

    ngx_snorky_outbox_wake(outbox);
}


static ngx_snorky_outbox_event_t *
ngx_snorky_outbox_create(ngx_snorky_outbox_t *outbox, ngx_str_t *parts,
    ngx_uint_t n, size_t len)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_snorky_outbox_event_t  *event;

    event = ngx_alloc(ngx_snorky_outbox_event_size(len), outbox->hub->log);
    if (event == NULL) {
        return NULL;
    }

    event->len = len;
    event->marker = 0;

    p = event->text;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    return event;
}


static ngx_snorky_outbox_event_t *
ngx_snorky_outbox_marker(ngx_snorky_outbox_t *outbox)
{
    u_char                      text[NGX_SNORKY_OUTBOX_DROPPED_LEN];
    ngx_str_t                   part;
    ngx_snorky_outbox_event_t  *event;

    part.data = text;
    part.len = ngx_sprintf(text, NGX_SNORKY_OUTBOX_DROPPED, outbox->dropped,
                           ngx_snorky_broker_generation(outbox->hub->broker))
               - text;

    event = ngx_snorky_outbox_create(outbox, &part, 1, part.len);

    if (event) {
        event->marker = 1;
    }

    return event;
}


static void
ngx_snorky_outbox_insert(ngx_snorky_outbox_t *outbox,
    ngx_snorky_outbox_event_t *event)
{
    ngx_queue_insert_tail(&outbox->events, &event->queue);

    outbox->size += ngx_snorky_outbox_event_size(event->len);
}


static void
ngx_snorky_outbox_drop(ngx_snorky_outbox_t *outbox)
{
    ngx_snorky_hub_t  *hub;

    hub = outbox->hub;

    outbox->dropped++;
    hub->stats->events_dropped++;

    if (hub->outboxes_closed) {
        hub->outboxes_lost++;
        return;
    }

    if (!outbox->full) {
        outbox->full = 1;

        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "events for \"%V\" are dropped, too many wait to be "
                      "taken", &outbox->uri);
    }

    ngx_snorky_outbox_wake(outbox);
}


static void
ngx_snorky_outbox_remove(ngx_snorky_outbox_t *outbox, ngx_queue_t *q,
    ngx_uint_t taken)
{
    ngx_snorky_stats_t         *stats;
    ngx_snorky_outbox_event_t  *event;

    event = ngx_queue_data(q, ngx_snorky_outbox_event_t, queue);
    stats = outbox->hub->stats;

    if (!event->marker) {
        stats->events--;

        if (taken) {
            stats->events_sent++;

        } else {
            stats->events_dropped++;
        }
    }

    ngx_queue_remove(q);

    outbox->size -= ngx_snorky_outbox_event_size(event->len);

    ngx_free(event);
}


static ngx_uint_t
ngx_snorky_outbox_empty(ngx_snorky_outbox_t *outbox)
{
    return ngx_queue_empty(&outbox->events) && outbox->dropped == 0;
}


/* what comes together, in one round of the event loop, is sent together */

static void
ngx_snorky_outbox_wake(ngx_snorky_outbox_t *outbox)
{
    ngx_snorky_hub_t  *hub;

    hub = outbox->hub;

    if (hub->outboxes_quit && !hub->outbox_timer.timer_set) {
        ngx_add_timer(&hub->outbox_timer, hub->outbox_timeout);
    }

    if (outbox->ask.inner || outbox->send.timer_set) {
        return;
    }

    ngx_post_event(&outbox->send, &ngx_posted_events);
}


static void
ngx_snorky_outbox_send_handler(ngx_event_t *ev)
{
    ngx_snorky_outbox_t        *outbox;
    ngx_snorky_outbox_event_t  *marker;

    outbox = (ngx_snorky_outbox_t *) ((u_char *) ev
                                      - offsetof(ngx_snorky_outbox_t, send));

    if (ngx_queue_empty(&outbox->events)) {

        if (outbox->dropped == 0) {
            return;
        }

        marker = ngx_snorky_outbox_marker(outbox);
        if (marker == NULL) {
            ngx_snorky_outbox_failed(outbox, 0);
            return;
        }

        ngx_snorky_outbox_insert(outbox, marker);
        outbox->dropped = 0;
    }

    if (outbox->batch == 0) {
        outbox->batch = ngx_snorky_outbox_fit(outbox);
    }

    if (ngx_snorky_outbox_post(outbox) != NGX_OK) {
        ngx_snorky_outbox_failed(outbox, 0);
    }
}


static ngx_uint_t
ngx_snorky_outbox_fit(ngx_snorky_outbox_t *outbox)
{
    size_t                      size;
    ngx_uint_t                  n;
    ngx_queue_t                *q;
    ngx_snorky_outbox_event_t  *event;

    n = 0;
    size = 0;

    for (q = ngx_queue_head(&outbox->events);
         q != ngx_queue_sentinel(&outbox->events);
         q = ngx_queue_next(q))
    {
        event = ngx_queue_data(q, ngx_snorky_outbox_event_t, queue);
        size += event->len;

        if (n == NGX_SNORKY_OUTBOX_BATCH
            || (n && size > NGX_SNORKY_OUTBOX_BATCH_SIZE))
        {
            break;
        }

        n++;
    }

    return n;
}


/* the texts are copied by the request */

static ngx_int_t
ngx_snorky_outbox_post(ngx_snorky_outbox_t *outbox)
{
    ngx_str_t                   parts[2 * NGX_SNORKY_OUTBOX_BATCH + 1], *part;
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_snorky_ask_t           *ask;
    ngx_snorky_outbox_event_t  *event;

    q = ngx_queue_head(&outbox->events);
    part = parts;

    for (i = 0; i < outbox->batch; i++) {

        event = ngx_queue_data(q, ngx_snorky_outbox_event_t, queue);
        q = ngx_queue_next(q);

        ngx_str_set(part, ",");
        part++;

        part->data = event->text;
        part->len = event->len;
        part++;
    }

    ngx_str_set(&parts[0], "[");
    ngx_str_set(part, "]");

    ask = &outbox->ask;

    ask->server = outbox->server;
    ask->uri = outbox->uri;
    ask->parts = parts;
    ask->n = 2 * outbox->batch + 1;
    ask->timeout = outbox->hub->outbox_timeout;
    ask->max_answer = NGX_SNORKY_OUTBOX_ANSWER;
    ask->done = ngx_snorky_outbox_done;
    ask->data = outbox;

    if (outbox->repeats) {
        outbox->hub->stats->events_retried++;
    }

    return outbox->hub->asker->send(ask);
}


static void
ngx_snorky_outbox_done(ngx_snorky_ask_t *ask)
{
    ngx_snorky_outbox_t  *outbox;

    outbox = ask->data;
    ask->inner = NULL;

    if (ask->answer.status >= 200 && ask->answer.status < 300) {
        ngx_snorky_outbox_taken(outbox);
        return;
    }

    ngx_snorky_outbox_failed(outbox, ask->answer.status);
}


static void
ngx_snorky_outbox_taken(ngx_snorky_outbox_t *outbox)
{
    ngx_snorky_hub_t  *hub;

    hub = outbox->hub;

    for ( /* void */ ; outbox->batch; outbox->batch--) {
        ngx_snorky_outbox_remove(outbox, ngx_queue_head(&outbox->events), 1);
    }

    outbox->delay = 0;
    outbox->repeats = 0;

    if (outbox->failing) {
        outbox->failing = 0;

        ngx_log_error(NGX_LOG_NOTICE, hub->log, 0,
                      "events for \"%V\" are taken again", &outbox->uri);
    }

    if (outbox->size <= hub->outbox_size / 2) {
        outbox->full = 0;
    }

    if (!ngx_snorky_outbox_empty(outbox)) {
        ngx_snorky_outbox_wake(outbox);
        return;
    }

    /* the timer would keep a worker that has nothing left to send */

    if (hub->outbox_timer.timer_set && ngx_snorky_outbox_idle(hub)) {
        ngx_del_timer(&hub->outbox_timer);
    }
}


/* nginx itself tells of each attempt; a status of 0: no memory */

static void
ngx_snorky_outbox_failed(ngx_snorky_outbox_t *outbox, ngx_uint_t status)
{
    outbox->delay = outbox->delay ? ngx_min(outbox->delay * 2,
                                            NGX_SNORKY_OUTBOX_MAX_DELAY)
                                  : NGX_SNORKY_OUTBOX_DELAY;
    outbox->repeats = 1;

    ngx_add_timer(&outbox->send, outbox->delay);

    if (outbox->failing) {
        return;
    }

    outbox->failing = 1;

    if (status) {
        ngx_log_error(NGX_LOG_ERR, outbox->hub->log, 0,
                      "events for \"%V\" are not taken, the answer is %ui, "
                      "they wait", &outbox->uri, status);
    } else {
        ngx_log_error(NGX_LOG_ERR, outbox->hub->log, 0,
                      "events for \"%V\" can't be sent, there is no memory, "
                      "they wait", &outbox->uri);
    }
}


static ngx_uint_t
ngx_snorky_outbox_idle(ngx_snorky_hub_t *hub)
{
    ngx_queue_t  *q;

    for (q = ngx_queue_head(&hub->outboxes);
         q != ngx_queue_sentinel(&hub->outboxes);
         q = ngx_queue_next(q))
    {
        if (!ngx_snorky_outbox_empty(ngx_queue_data(q, ngx_snorky_outbox_t,
                                                    queue)))
        {
            return 0;
        }
    }

    return 1;
}


/*
 * What is under way keeps the worker by its own timers.  This one tells when
 * that must end.
 */

void
ngx_snorky_outbox_quit(ngx_snorky_hub_t *hub)
{
    hub->outboxes_quit = 1;

    if (ngx_snorky_outbox_idle(hub)) {
        return;
    }

    ngx_add_timer(&hub->outbox_timer, hub->outbox_timeout);
}


static void
ngx_snorky_outbox_quit_handler(ngx_event_t *ev)
{
    uint64_t           before;
    ngx_queue_t       *q;
    ngx_connection_t  *c;
    ngx_snorky_hub_t  *hub;

    c = ev->data;
    hub = c->data;

    /* one has come since, and will leave */

    if (!ngx_snorky_hub_deserted(hub)) {
        hub->outboxes_quit = 0;
        return;
    }

    hub->outboxes_closed = 1;
    before = hub->outboxes_lost;

    for (q = ngx_queue_head(&hub->outboxes);
         q != ngx_queue_sentinel(&hub->outboxes);
         q = ngx_queue_next(q))
    {
        ngx_snorky_outbox_give_up(ngx_queue_data(q, ngx_snorky_outbox_t,
                                                 queue));
    }

    if (hub->outboxes_lost != before) {
        ngx_log_error(NGX_LOG_ERR, hub->log, 0,
                      "%uL events are lost, they were not taken in time "
                      "before this worker ends", hub->outboxes_lost - before);
    }
}


static void
ngx_snorky_outbox_give_up(ngx_snorky_outbox_t *outbox)
{
    if (outbox->ask.inner) {
        outbox->hub->asker->cancel(&outbox->ask);
    }

    if (outbox->send.timer_set) {
        ngx_del_timer(&outbox->send);
    }

    if (outbox->send.posted) {
        ngx_delete_posted_event(&outbox->send);
    }

    outbox->hub->outboxes_lost += ngx_snorky_outbox_clear(outbox);
}


/* how many events it had, those not counted that were dropped before */

static uint64_t
ngx_snorky_outbox_clear(ngx_snorky_outbox_t *outbox)
{
    uint64_t  dropped;

    dropped = outbox->hub->stats->events_dropped;

    while (!ngx_queue_empty(&outbox->events)) {
        ngx_snorky_outbox_remove(outbox, ngx_queue_head(&outbox->events), 0);
    }

    outbox->batch = 0;
    outbox->dropped = 0;

    return outbox->hub->stats->events_dropped - dropped;
}


void
ngx_snorky_outbox_finish(ngx_snorky_hub_t *hub)
{
    uint64_t              lost;
    ngx_queue_t          *q;
    ngx_snorky_outbox_t  *outbox;

    lost = 0;

    while (!ngx_queue_empty(&hub->outboxes)) {
        q = ngx_queue_head(&hub->outboxes);
        outbox = ngx_queue_data(q, ngx_snorky_outbox_t, queue);

        if (outbox->send.timer_set) {
            ngx_del_timer(&outbox->send);
        }

        if (outbox->send.posted) {
            ngx_delete_posted_event(&outbox->send);
        }

        lost += ngx_snorky_outbox_clear(outbox);

        ngx_queue_remove(q);
        ngx_free(outbox);
    }

    if (hub->outbox_timer.timer_set) {
        ngx_del_timer(&hub->outbox_timer);
    }

    if (lost) {
        hub->outboxes_lost += lost;

        ngx_log_error(NGX_LOG_WARN, hub->log, 0,
                      "%uL events are lost, this worker ends at once", lost);
    }
}
