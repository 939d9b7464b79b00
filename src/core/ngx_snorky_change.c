
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the gathering of a change, and what it means for this worker's topics
 * and holds when it has been made.  Called by services, through the public
 * header.
 */


#include "ngx_snorky_change.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_feed.h"
#include "ngx_snorky_hold.h"


static ngx_snorky_broker_step_t *ngx_snorky_change_step(
    ngx_snorky_change_t *change, ngx_snorky_broker_step_e type);
static ngx_int_t ngx_snorky_change_in_set(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_snorky_service_t *service,
    ngx_snorky_value_t *set);
static ngx_int_t ngx_snorky_change_key(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_str_t *key);
static ngx_int_t ngx_snorky_change_keep_name(ngx_snorky_change_t *change,
    ngx_str_t *name);
static void ngx_snorky_change_holder(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record, ngx_uint_t claimed);
static ngx_int_t ngx_snorky_change_farewell(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_snorky_record_t *record);
static void ngx_snorky_change_fail(ngx_snorky_change_t *change, ngx_int_t rc);
static ngx_int_t ngx_snorky_change_attempt(ngx_snorky_change_t *change);
static void ngx_snorky_change_drop(ngx_snorky_change_t *change);
static ngx_int_t ngx_snorky_change_answer(ngx_snorky_change_t *change,
    ngx_int_t rc);
static void ngx_snorky_change_done(ngx_snorky_change_t *change);


ngx_snorky_change_t *
ngx_snorky_change_begin(ngx_snorky_call_t *call)
{
    ngx_snorky_hub_t     *hub;
    ngx_snorky_change_t  *change;

    hub = call->session->hub;
    change = hub->change;

    if (call->later) {
        ngx_snorky_hub_clean(hub);
    }

    ngx_memzero(change, sizeof(ngx_snorky_change_t));

    change->call = call;
    change->broker.pool = hub->pool;

    if (ngx_array_init(&change->steps, hub->pool, 4,
                       sizeof(ngx_snorky_broker_step_t))
        != NGX_OK
        || ngx_array_init(&change->releases, hub->pool, 4,
                          sizeof(ngx_snorky_hold_t *))
           != NGX_OK)
    {
        change->rc = NGX_ERROR;
    }

    return change;
}


/* the first thing that is wrong counts */

static void
ngx_snorky_change_fail(ngx_snorky_change_t *change, ngx_int_t rc)
{
    if (change->rc == NGX_OK) {
        change->rc = rc;
    }
}


static ngx_snorky_broker_step_t *
ngx_snorky_change_step(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_e type)
{
    ngx_snorky_broker_step_t  *step;

    if (change->rc != NGX_OK) {
        return NULL;
    }

    step = ngx_array_push(&change->steps);

    if (step == NULL) {
        change->rc = NGX_ERROR;
        return NULL;
    }

    ngx_memzero(step, sizeof(ngx_snorky_broker_step_t));

    step->type = type;
    step->session = change->call->session->id;

    return step;
}


/* names are written into one scratch: the change has copies */

static ngx_int_t
ngx_snorky_change_keep_name(ngx_snorky_change_t *change, ngx_str_t *name)
{
    ngx_snorky_hub_t  *hub;

    hub = change->call->session->hub;

    name->data = ngx_pnalloc(hub->pool, hub->name.len);

    if (name->data == NULL) {
        change->rc = NGX_ERROR;
        return NGX_ERROR;
    }

    name->len = hub->name.len;
    ngx_memcpy(name->data, hub->name.data, hub->name.len);

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_change_in_set(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_snorky_service_t *service,
    ngx_snorky_value_t *set)
{
    ngx_int_t          rc;
    ngx_snorky_hub_t  *hub;

    hub = change->call->session->hub;

    rc = ngx_snorky_topic_name(change->call, service, set);

    if (rc != NGX_OK) {
        ngx_snorky_change_fail(change, rc);
        return rc;
    }

    step->text.hash = ngx_snorky_broker_hash(hub->broker, &hub->name);

    return ngx_snorky_change_keep_name(change, &step->text.name);
}


static ngx_int_t
ngx_snorky_change_key(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_str_t *key)
{
    ngx_snorky_hub_t  *hub;

    hub = change->call->session->hub;

    step->spec.key.data = ngx_pnalloc(hub->pool, ngx_max(key->len, 1));

    if (step->spec.key.data == NULL) {
        change->rc = NGX_ERROR;
        return NGX_ERROR;
    }

    step->spec.key.len = key->len;
    ngx_memcpy(step->spec.key.data, key->data, key->len);

    step->key_hash = ngx_snorky_broker_hash(hub->broker, key);

    return NGX_OK;
}


void
ngx_snorky_change_join(ngx_snorky_change_t *change, ngx_snorky_value_t *key)
{
    ngx_int_t  rc;

    if (change->rc != NGX_OK) {
        return;
    }

    rc = ngx_snorky_topic_prepare(change->call, key, &change->join);

    if (rc == NGX_DECLINED) {
        change->broker.reason = NGX_SNORKY_JOINED;
    }

    ngx_snorky_change_fail(change, rc);
}


void
ngx_snorky_change_leave(ngx_snorky_change_t *change, ngx_snorky_value_t *key)
{
    ngx_int_t  rc;

    if (change->rc != NGX_OK) {
        return;
    }

    rc = ngx_snorky_topic_lookup(change->call, key, &change->leave);

    if (rc == NGX_DECLINED) {
        change->broker.reason = NGX_SNORKY_NOT_JOINED;
    }

    ngx_snorky_change_fail(change, rc);
}


void
ngx_snorky_change_publish(ngx_snorky_change_t *change,
    ngx_snorky_publication_t *publication)
{
    ngx_int_t                  rc;
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_PUBLISH);
    if (step == NULL) {
        return;
    }

    rc = ngx_snorky_topic_text(change->call, publication, &step->text);

    if (rc != NGX_OK) {
        ngx_snorky_change_fail(change, rc);
        return;
    }

    step->first = publication->first;
    step->last = publication->last;

    (void) ngx_snorky_change_keep_name(change, &step->text.name);
}


void
ngx_snorky_change_feed(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_str_t *name, ngx_str_t *parts,
    ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_snorky_hub_t          *hub;
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_PUBLISH);
    if (step == NULL) {
        return;
    }

    if (ngx_snorky_feed_name(service, name) != NGX_OK) {
        change->rc = NGX_ERROR;
        return;
    }

    hub = change->call->session->hub;

    step->text.hash = ngx_snorky_broker_hash(hub->broker, &hub->name);
    step->text.parts = parts;
    step->text.n = n;

    for (i = 0; i < n; i++) {
        step->text.len += parts[i].len;
    }

    (void) ngx_snorky_change_keep_name(change, &step->text.name);
}


void
ngx_snorky_change_hold(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_HOLD);
    if (step == NULL) {
        return;
    }

    step->shared = record->shared;
    step->spec.value = record->value;

    if (ngx_snorky_change_in_set(change, step, change->call->service,
                                 record->set)
        != NGX_OK
        || ngx_snorky_change_key(change, step, &record->key) != NGX_OK
        || ngx_snorky_change_farewell(change, step, record) != NGX_OK)
    {
        return;
    }

    ngx_snorky_change_holder(change, record, 0);
}


/* who says it does not know the service: it is in its envelope already */

static ngx_int_t
ngx_snorky_change_farewell(ngx_snorky_change_t *change,
    ngx_snorky_broker_step_t *step, ngx_snorky_record_t *record)
{
    u_char      *p;
    ngx_str_t   *head, *tail, *first, *last;

    if (record->farewell[0].len == 0) {
        return NGX_OK;
    }

    head = &change->call->service->head;
    first = &step->spec.farewell[0];
    tail = &record->farewell[1];
    last = &step->spec.farewell[tail->len ? 1 : 0];

    p = ngx_pnalloc(change->call->session->hub->pool,
                    head->len + record->farewell[0].len + tail->len
                    + sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1);
    if (p == NULL) {
        change->rc = NGX_ERROR;
        return NGX_ERROR;
    }

    first->data = p;
    p = ngx_cpymem(p, head->data, head->len);
    p = ngx_cpymem(p, record->farewell[0].data, record->farewell[0].len);
    first->len = p - first->data;

    if (tail->len) {
        last->data = p;
        p = ngx_cpymem(p, tail->data, tail->len);
    }

    p = ngx_cpymem(p, NGX_SNORKY_ENVELOPE_TAIL,
                   sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1);
    last->len = p - last->data;

    return NGX_OK;
}


/* what is had of the record in this worker, if the change is made */

static void
ngx_snorky_change_holder(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record, ngx_uint_t claimed)
{
    change->hold = ngx_snorky_hold_create(change->call->session,
                                          change->call->service,
                                          &record->label, record->data_size);
    if (change->hold == NULL) {
        change->rc = NGX_ERROR;
        return;
    }

    change->hold->claimed = claimed;
    change->holder = change->steps.nelts - 1;
}


void
ngx_snorky_change_release(ngx_snorky_change_t *change, ngx_snorky_hold_t *hold)
{
    ngx_snorky_hold_t         **release;
    ngx_snorky_broker_step_t   *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_RELEASE);
    if (step == NULL) {
        return;
    }

    step->hold = hold->shared.hold;

    release = ngx_array_push(&change->releases);

    if (release == NULL) {
        change->rc = NGX_ERROR;
        return;
    }

    *release = hold;
}


void
ngx_snorky_change_set(ngx_snorky_change_t *change, ngx_snorky_hold_t *hold,
    ngx_str_t *value)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_SET);

    if (step) {
        step->hold = hold->shared.hold;
        step->spec.value = *value;
    }
}


void
ngx_snorky_change_read(ngx_snorky_change_t *change, ngx_snorky_hold_t *hold)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_READ);

    if (step) {
        step->hold = hold->shared.hold;
    }
}


void
ngx_snorky_change_need(ngx_snorky_change_t *change, ngx_snorky_value_t *set,
    ngx_str_t *key)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_NEED);
    if (step == NULL) {
        return;
    }

    if (ngx_snorky_change_key(change, step, key) == NGX_OK) {
        (void) ngx_snorky_change_in_set(change, step, change->call->service,
                                        set);
    }
}


void
ngx_snorky_change_list(ngx_snorky_change_t *change, ngx_snorky_value_t *set)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_LIST);

    if (step) {
        (void) ngx_snorky_change_in_set(change, step, change->call->service,
                                        set);
    }
}


void
ngx_snorky_change_await(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_snorky_record_t *record, uint64_t mask,
    ngx_msec_t timeout)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_AWAIT);
    if (step == NULL) {
        return;
    }

    step->spec.value = record->value;
    step->mask = mask;
    step->timeout = timeout;

    if (ngx_snorky_change_in_set(change, step, service, record->set)
        == NGX_OK)
    {
        (void) ngx_snorky_change_key(change, step, &record->key);
    }
}


void
ngx_snorky_change_keep(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_uint_t bit, ngx_str_t *parts,
    ngx_uint_t n, size_t most)
{
    ngx_uint_t                 i;
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_KEEP);
    if (step == NULL) {
        return;
    }

    step->bit = bit;
    step->most = most;
    step->text.parts = parts;
    step->text.n = n;

    for (i = 0; i < n; i++) {
        step->text.len += parts[i].len;
    }

    (void) ngx_snorky_change_in_set(change, step, service, NULL);
}


void
ngx_snorky_change_peek(ngx_snorky_change_t *change, ngx_str_t *key)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_PEEK);
    if (step == NULL) {
        return;
    }

    if (ngx_snorky_change_key(change, step, key) == NGX_OK) {
        (void) ngx_snorky_change_in_set(change, step, change->call->service,
                                        NULL);
    }
}


void
ngx_snorky_change_claim(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record)
{
    ngx_snorky_broker_step_t  *step;

    step = ngx_snorky_change_step(change, NGX_SNORKY_STEP_CLAIM);
    if (step == NULL) {
        return;
    }

    if (ngx_snorky_session_full(change->call->session)) {
        change->rc = ngx_snorky_call_error(change->call,
                                           "Too many subscriptions");
        return;
    }

    if (ngx_snorky_change_key(change, step, &record->key) == NGX_OK
        && ngx_snorky_change_in_set(change, step, change->call->service,
                                    record->set)
           == NGX_OK)
    {
        ngx_snorky_change_holder(change, record, 1);
    }
}


ngx_int_t
ngx_snorky_change_commit(ngx_snorky_change_t *change)
{
    ngx_int_t  rc;

    rc = change->rc;

    if (rc == NGX_OK && change->call->session->left) {
        /* while the steps were gathered */
        rc = NGX_DONE;
    }

    if (rc == NGX_OK) {
        change->broker.steps = change->steps.elts;
        change->broker.n = change->steps.nelts;

        rc = ngx_snorky_change_attempt(change);
    }

    if (rc != NGX_OK) {
        ngx_snorky_change_drop(change);
        return ngx_snorky_change_answer(change, rc);
    }

    ngx_snorky_change_done(change);

    /* a client that did not read may have been closed by what it was sent */

    return change->call->session->left ? NGX_DONE : NGX_OK;
}


/*
 * When the log is full, it may be this very worker that has not read it.  The
 * session, and with it what the change speaks of, may go while it does so.
 */

static ngx_int_t
ngx_snorky_change_attempt(ngx_snorky_change_t *change)
{
    ngx_int_t             rc;
    ngx_snorky_broker_t  *broker;

    broker = change->call->session->hub->broker;

    rc = ngx_snorky_broker_change(broker, &change->broker);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_snorky_broker_drain(broker);

    if (change->call->session->left) {
        return NGX_DONE;
    }

    ngx_snorky_broker_want_room(broker);

    return ngx_snorky_broker_change(broker, &change->broker);
}


static void
ngx_snorky_change_drop(ngx_snorky_change_t *change)
{
    if (change->join) {
        ngx_snorky_topic_cancel(change->join);
        change->join = NULL;
    }

    if (change->hold) {
        ngx_free(change->hold);
        change->hold = NULL;
    }
}


static ngx_int_t
ngx_snorky_change_answer(ngx_snorky_change_t *change, ngx_int_t rc)
{
    switch (rc) {

    case NGX_AGAIN:
        return ngx_snorky_call_again(change->call);

    case NGX_BUSY:
        return ngx_snorky_call_overloaded(change->call);

    case NGX_ABORT:
        return ngx_snorky_call_error(change->call, "Message too large");

    default:
        return rc;
    }
}


/*
 * Who joins gets what comes after the change, who leaves what came before it:
 * the log is read up to there, and not further, before the topic's list is
 * changed.  A session may leave while it is sent something.
 */

static void
ngx_snorky_change_done(ngx_snorky_change_t *change)
{
    ngx_uint_t                  i;
    ngx_snorky_hub_t           *hub;
    ngx_snorky_hold_t         **release;
    ngx_snorky_session_t       *s;
    ngx_snorky_broker_step_t   *step;

    s = change->call->session;
    hub = s->hub;
    release = change->releases.elts;

    for (i = 0; i < change->releases.nelts; i++) {
        ngx_snorky_hold_unlink(release[i]);
    }

    if (change->hold) {
        step = change->broker.steps;

        change->hold->shared.hold = step[change->holder].hold;
        ngx_snorky_hold_link(change->hold);
    }

    if (change->leave || change->releases.nelts) {
        ngx_snorky_broker_drain_to(hub->broker, change->broker.begin);

        if (change->leave && !s->left) {
            ngx_snorky_topic_unlink(change->leave);
        }

        for (i = 0; i < change->releases.nelts; i++) {
            ngx_snorky_hold_end(release[i]);
        }
    }

    ngx_snorky_broker_drain_to(hub->broker, change->broker.end);

    if (change->join) {

        if (s->left) {
            ngx_snorky_topic_cancel(change->join);

        } else {
            ngx_snorky_topic_link(change->join);
        }
    }

    if (change->broker.revoked) {
        hub->stats->revoked += change->broker.revoked;

        ngx_log_error(NGX_LOG_WARN, s->log, 0,
                      "%ui subscriptions that waited to be acquired are "
                      "revoked, too much is kept for them",
                      change->broker.revoked);
    }
}


ngx_snorky_reason_e
ngx_snorky_change_reason(ngx_snorky_change_t *change)
{
    return change->broker.reason;
}


/* NULL: none, or it has gone with its session already */

ngx_snorky_hold_t *
ngx_snorky_change_held(ngx_snorky_change_t *change)
{
    return change->call->session->left ? NULL : change->hold;
}


ngx_snorky_listed_t *
ngx_snorky_change_listed(ngx_snorky_change_t *change, ngx_uint_t *n)
{
    u_char                      *p, *last;
    ngx_array_t                  all;
    ngx_snorky_listed_t         *listed;
    ngx_snorky_broker_listed_t   head;

    *n = 0;

    if (ngx_array_init(&all, change->broker.pool, 16,
                       sizeof(ngx_snorky_listed_t))
        != NGX_OK)
    {
        return NULL;
    }

    if (change->broker.list_len == 0) {
        return all.elts;
    }

    p = change->broker.list;
    last = p + change->broker.list_len;

    while (p < last) {

        listed = ngx_array_push(&all);
        if (listed == NULL) {
            return NULL;
        }

        ngx_memcpy(&head, p, sizeof(ngx_snorky_broker_listed_t));
        p += sizeof(ngx_snorky_broker_listed_t);

        listed->key.data = p;
        listed->key.len = head.key;
        p += head.key;

        listed->value.data = p;
        listed->value.len = head.value;
        p += head.value;
    }

    *n = all.nelts;

    return all.elts;
}
