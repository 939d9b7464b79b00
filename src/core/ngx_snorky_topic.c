
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns topics and subscriptions.  Called by services through the public
 * header, by the broker to deliver, and by a session that leaves.
 */


#include "ngx_snorky_topic.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_news.h"
#include "ngx_snorky_occupancy.h"
#include "ngx_snorky_session.h"


struct ngx_snorky_subscription_s {
    ngx_queue_t                of_topic;
    ngx_queue_t                of_session;
    ngx_snorky_topic_t        *topic;
    ngx_snorky_session_t      *session;
};


#define ngx_snorky_topic_turn(hash)       ((hash) >> 16 | (hash) << 48)
#define ngx_snorky_topic_turn_back(hash)  ((hash) << 16 | (hash) >> 48)


static ngx_int_t ngx_snorky_topic_locate(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key, uint64_t *hash, ngx_snorky_topic_t **topic);
static void ngx_snorky_topic_close(ngx_snorky_hub_t *hub,
    ngx_snorky_topic_t *topic, ngx_snorky_msg_t *msg);
static void ngx_snorky_topic_free(ngx_snorky_hub_t *hub,
    ngx_snorky_topic_t *topic);
static ngx_snorky_subscription_t *ngx_snorky_topic_subscription(
    ngx_snorky_topic_t *topic, ngx_snorky_session_t *s);


ngx_int_t
ngx_snorky_topic_name(ngx_snorky_call_t *call, ngx_snorky_service_t *service,
    ngx_snorky_value_t *key)
{
    u_char                *p;
    ngx_str_t              canonical;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_session_t  *s;

    s = call->session;
    hub = s->hub;

    ngx_str_null(&canonical);

    if (key) {

        if (key->text.len > s->limits->max_channel_size) {
            return ngx_snorky_call_too_long(call, key);
        }

        if (ngx_snorky_json_key(hub->json, &key->text,
                                NGX_SNORKY_JSON_ANY_DEPTH, &canonical)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    p = ngx_snorky_topic_scratch(hub, service->prefix.len + canonical.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(p, service->prefix.data, service->prefix.len);

    if (canonical.len) {
        ngx_memcpy(p, canonical.data, canonical.len);
    }

    return NGX_OK;
}


u_char *
ngx_snorky_topic_scratch(ngx_snorky_hub_t *hub, size_t len)
{
    u_char  *p;

    if (len > hub->name_size) {
        p = ngx_alloc(len, hub->log);
        if (p == NULL) {
            return NULL;
        }

        if (hub->name.data) {
            ngx_free(hub->name.data);
        }

        hub->name.data = p;
        hub->name_size = len;
    }

    hub->name.len = len;

    return hub->name.data;
}


/*
 * The topic that a call names, NULL if nobody here is in it.  Joining and
 * leaving have their place in the log's order: what was published before is
 * delivered first, to those who were in the topic then.
 */

static ngx_int_t
ngx_snorky_topic_locate(ngx_snorky_call_t *call, ngx_snorky_value_t *key,
    uint64_t *hash, ngx_snorky_topic_t **topic)
{
    ngx_int_t          rc;
    ngx_snorky_hub_t  *hub;

    rc = ngx_snorky_topic_name(call, call->service, key);
    if (rc != NGX_OK) {
        return rc;
    }

    hub = call->session->hub;

    ngx_snorky_broker_drain(hub->broker);

    if (call->session->left) {
        return NGX_DONE;
    }

    *hash = ngx_snorky_broker_hash(hub->broker, &hub->name);
    *topic = ngx_snorky_topic_find(hub, *hash, &hub->name);

    return NGX_OK;
}


ngx_int_t
ngx_snorky_topic_join(ngx_snorky_call_t *call, ngx_snorky_value_t *key)
{
    ngx_int_t                   rc;
    ngx_snorky_subscription_t  *subscription;

    rc = ngx_snorky_topic_prepare(call, key, &subscription);

    if (rc == NGX_OK) {
        ngx_snorky_topic_link(subscription);
    }

    return rc;
}


ngx_int_t
ngx_snorky_topic_leave(ngx_snorky_call_t *call, ngx_snorky_value_t *key)
{
    ngx_int_t                   rc;
    ngx_snorky_subscription_t  *subscription;

    rc = ngx_snorky_topic_lookup(call, key, &subscription);

    if (rc == NGX_OK) {
        ngx_snorky_topic_unlink(subscription);
    }

    return rc;
}


ngx_int_t
ngx_snorky_topic_joined(ngx_snorky_call_t *call, ngx_snorky_value_t *key)
{
    ngx_snorky_subscription_t  *subscription;

    return ngx_snorky_topic_lookup(call, key, &subscription);
}


ngx_int_t
ngx_snorky_topic_prepare(ngx_snorky_call_t *call, ngx_snorky_value_t *key,
    ngx_snorky_subscription_t **prepared)
{
    uint64_t                    hash;
    ngx_int_t                   rc;
    ngx_snorky_topic_t         *topic;
    ngx_snorky_session_t       *s;
    ngx_snorky_subscription_t  *subscription;

    s = call->session;

    rc = ngx_snorky_topic_locate(call, key, &hash, &topic);
    if (rc != NGX_OK) {
        return rc;
    }

    if (topic && ngx_snorky_topic_subscription(topic, s)) {
        return NGX_DECLINED;
    }

    if (ngx_snorky_session_full(s)) {
        return ngx_snorky_call_error(call, "Too many subscriptions");
    }

    subscription = ngx_alloc(sizeof(ngx_snorky_subscription_t), s->log);
    if (subscription == NULL) {
        return NGX_ERROR;
    }

    if (topic == NULL) {
        topic = ngx_snorky_topic_create(call->service, s->hub, hash, 0);

        if (topic == NULL) {
            ngx_free(subscription);
            return NGX_ERROR;
        }
    }

    topic->pins++;

    subscription->topic = topic;
    subscription->session = s;

    if (s->left) {
        ngx_snorky_topic_cancel(subscription);
        return NGX_DONE;
    }

    *prepared = subscription;

    return NGX_OK;
}


void
ngx_snorky_topic_link(ngx_snorky_subscription_t *subscription)
{
    ngx_snorky_topic_t    *topic;
    ngx_snorky_session_t  *s;

    topic = subscription->topic;
    s = subscription->session;

    ngx_queue_insert_tail(&topic->subscriptions, &subscription->of_topic);
    ngx_queue_insert_tail(&s->subscriptions, &subscription->of_session);

    topic->pins--;
    topic->count++;

    if (topic->reached) {
        return;
    }

    s->nsubscriptions++;
    s->hub->stats->subscriptions++;

    if (ngx_snorky_news_of_channels(topic->service, NGX_SNORKY_NEWS_CHANNELS)) {
        ngx_snorky_occupancy_came(topic, s);
    }
}


void
ngx_snorky_topic_cancel(ngx_snorky_subscription_t *subscription)
{
    ngx_snorky_topic_unpin(subscription->session->hub, subscription->topic);

    ngx_free(subscription);
}


ngx_int_t
ngx_snorky_topic_lookup(ngx_snorky_call_t *call, ngx_snorky_value_t *key,
    ngx_snorky_subscription_t **found)
{
    uint64_t             hash;
    ngx_int_t            rc;
    ngx_snorky_topic_t  *topic;

    rc = ngx_snorky_topic_locate(call, key, &hash, &topic);
    if (rc != NGX_OK) {
        return rc;
    }

    *found = topic ? ngx_snorky_topic_subscription(topic, call->session)
                   : NULL;

    return *found ? NGX_OK : NGX_DECLINED;
}


void
ngx_snorky_topic_leave_all(ngx_snorky_session_t *s)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&s->subscriptions)) {
        q = ngx_queue_head(&s->subscriptions);

        ngx_snorky_topic_unlink(ngx_queue_data(q, ngx_snorky_subscription_t,
                                               of_session));
    }
}


ngx_int_t
ngx_snorky_topic_text(ngx_snorky_call_t *call,
    ngx_snorky_publication_t *publication, ngx_snorky_broker_text_t *text)
{
    ngx_int_t              rc;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_service_t  *service;

    hub = call->session->hub;

    if (call->later) {
        ngx_snorky_hub_clean(hub);
    }

    service = publication->service ? publication->service : call->service;

    rc = ngx_snorky_topic_name(call, service, publication->key);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_topic_content(hub, service, publication->parts,
                                 publication->n, text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    text->name = hub->name;
    text->hash = ngx_snorky_broker_hash(hub->broker, &hub->name);

    if (publication->others) {
        text->except = call->session->id;
    }

    if (publication->identity) {
        text->only = *publication->identity;
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_topic_content(ngx_snorky_hub_t *hub, ngx_snorky_service_t *service,
    ngx_str_t *parts, ngx_uint_t n, ngx_snorky_broker_text_t *text)
{
    ngx_str_t   *part;
    ngx_uint_t   i;

    ngx_memzero(text, sizeof(ngx_snorky_broker_text_t));

    part = ngx_palloc(hub->pool, (n + 2) * sizeof(ngx_str_t));
    if (part == NULL) {
        return NGX_ERROR;
    }

    text->parts = part;
    text->n = n + 2;

    *part++ = service->head;

    for (i = 0; i < n; i++) {
        *part++ = parts[i];
    }

    ngx_str_set(part, NGX_SNORKY_ENVELOPE_TAIL);

    for (i = 0; i < text->n; i++) {
        text->len += text->parts[i].len;
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_topic_publish(ngx_snorky_call_t *call,
    ngx_snorky_publication_t *publication)
{
    ngx_int_t                 rc;
    ngx_snorky_broker_text_t  text;

    rc = ngx_snorky_topic_text(call, publication, &text);

    return (rc == NGX_OK) ? ngx_snorky_topic_append(call, &text) : rc;
}


ngx_int_t
ngx_snorky_topic_append(ngx_snorky_call_t *call,
    ngx_snorky_broker_text_t *text)
{
    ngx_int_t  rc;

    rc = ngx_snorky_broker_publish(call->session->hub->broker, text);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Message too large");
    }

    if (rc == NGX_AGAIN) {
        return ngx_snorky_call_again(call);
    }

    if (rc == NGX_OK) {
        call->session->hub->stats->publications++;
    }

    return rc;
}


void *
ngx_snorky_topic_find(void *data, uint64_t hash, ngx_str_t *name)
{
    ngx_snorky_hub_t *hub = data;

    void  *topic;

    topic = ngx_snorky_map_find(&hub->topics, hash, name);

    if (topic == NULL && hub->reached.count) {
        topic = ngx_snorky_map_find(&hub->reached,
                                    ngx_snorky_topic_turn(hash), name);
    }

    return topic;
}


/*
 * A single client's: the bits by which the map finds its bucket must not be
 * those that a whole group has in common.
 */

ngx_int_t
ngx_snorky_topic_enter(ngx_snorky_session_t *s, uint64_t hash)
{
    ngx_snorky_topic_t         *topic;
    ngx_snorky_subscription_t  *subscription;

    subscription = ngx_alloc(sizeof(ngx_snorky_subscription_t), s->log);
    if (subscription == NULL) {
        return NGX_ERROR;
    }

    topic = (ngx_snorky_topic_t *) ngx_snorky_map_find(&s->hub->reached,
                                                  ngx_snorky_topic_turn(hash),
                                                  &s->hub->name);
    if (topic == NULL) {
        topic = ngx_snorky_topic_create(NULL, s->hub, hash, 1);

        if (topic == NULL) {
            ngx_free(subscription);
            return NGX_ERROR;
        }
    }

    topic->pins++;

    subscription->topic = topic;
    subscription->session = s;

    if (s->left) {
        ngx_snorky_topic_cancel(subscription);
        return NGX_DONE;
    }

    ngx_snorky_topic_link(subscription);

    return NGX_OK;
}


/*
 * A receiver that is too slow leaves during the walk; it takes only its own
 * subscriptions with it, of which one is here.
 */

ngx_int_t
ngx_snorky_topic_deliver(void *data, void *found, ngx_snorky_msg_t *msg,
    uint64_t except, ngx_str_t *only)
{
    ngx_snorky_hub_t   *hub = data;
    ngx_snorky_topic_t *topic = found;

    ngx_str_t                   text;
    ngx_queue_t                *q, *next;
    ngx_snorky_session_t       *s;
    ngx_snorky_subscription_t  *subscription;

    if (topic->feed) {
        text.data = msg->text;
        text.len = msg->len;

        return topic->service->type->heard(topic->service, topic->data,
                                           &text);
    }

    topic->pins++;

    if (topic->reached && msg->text[0] == NGX_SNORKY_TOPIC_CLOSE) {
        ngx_snorky_topic_close(hub, topic, msg);
        ngx_snorky_topic_unpin(hub, topic);

        return NGX_OK;
    }

    for (q = ngx_queue_head(&topic->subscriptions);
         q != ngx_queue_sentinel(&topic->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        subscription = ngx_queue_data(q, ngx_snorky_subscription_t, of_topic);
        s = subscription->session;

        if (s->id == except) {
            continue;
        }

        if (only->len
            && (only->len != s->identity.len
                || ngx_memcmp(only->data, s->identity.data, only->len) != 0))
        {
            continue;
        }

        hub->stats->deliveries++;

        ngx_snorky_session_send(s, msg, 0);
    }

    ngx_snorky_topic_unpin(hub, topic);

    return NGX_OK;
}


/* who is closed leaves the topic */

static void
ngx_snorky_topic_close(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic,
    ngx_snorky_msg_t *msg)
{
    u_char                     *p, *last;
    char                        reason[NGX_SNORKY_TOPIC_REASON + 1];
    size_t                      len;
    ngx_int_t                   code;
    ngx_queue_t                *q;
    ngx_snorky_subscription_t  *subscription;

    p = msg->text + 1;
    last = msg->text + msg->len;

    code = ngx_atoi(p, NGX_SNORKY_TOPIC_CODE);
    p += NGX_SNORKY_TOPIC_CODE;

    len = ngx_min(last - p, NGX_SNORKY_TOPIC_REASON);

    ngx_memcpy(reason, p, len);
    reason[len] = '\0';

    while (!ngx_queue_empty(&topic->subscriptions)) {
        q = ngx_queue_head(&topic->subscriptions);
        subscription = ngx_queue_data(q, ngx_snorky_subscription_t, of_topic);

        hub->stats->deliveries++;

        ngx_snorky_session_close(subscription->session, code, reason);
    }
}


ngx_snorky_topic_t *
ngx_snorky_topic_create(ngx_snorky_service_t *service, ngx_snorky_hub_t *hub,
    uint64_t hash, ngx_uint_t reached)
{
    ngx_snorky_topic_t  *topic;

    topic = ngx_alloc(sizeof(ngx_snorky_topic_t) + hub->name.len, hub->log);
    if (topic == NULL) {
        return NULL;
    }

    topic->node.hash = reached ? ngx_snorky_topic_turn(hash) : hash;
    topic->node.key.data = (u_char *) (topic + 1);
    topic->node.key.len = hub->name.len;

    ngx_memcpy(topic->node.key.data, hub->name.data, hub->name.len);

    ngx_queue_init(&topic->subscriptions);

    topic->count = 0;
    topic->pins = 0;
    topic->feed = 0;
    topic->reached = reached;
    topic->service = service;
    topic->data = NULL;

    /* the interest is made known first: what is appended from now on counts */

    ngx_snorky_broker_listen(hub->broker, hash);

    if (reached) {
        ngx_snorky_map_insert(&hub->reached, &topic->node);

    } else {
        ngx_snorky_map_insert(&hub->topics, &topic->node);
        hub->stats->channels++;
    }

    return topic;
}


void
ngx_snorky_topic_unpin(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic)
{
    if (--topic->pins == 0 && topic->count == 0) {
        ngx_snorky_topic_free(hub, topic);
    }
}


static void
ngx_snorky_topic_free(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic)
{
    if (topic->reached) {
        ngx_snorky_map_remove(&hub->reached, &topic->node);
        ngx_snorky_broker_unlisten(hub->broker,
                                ngx_snorky_topic_turn_back(topic->node.hash));

    } else {
        ngx_snorky_map_remove(&hub->topics, &topic->node);
        ngx_snorky_broker_unlisten(hub->broker, topic->node.hash);

        hub->stats->channels--;
    }

    ngx_free(topic);
}


/* looks through the shorter of the two lists */

static ngx_snorky_subscription_t *
ngx_snorky_topic_subscription(ngx_snorky_topic_t *topic,
    ngx_snorky_session_t *s)
{
    ngx_queue_t                *q;
    ngx_snorky_subscription_t  *subscription;

    if (topic->count < s->nsubscriptions) {

        for (q = ngx_queue_head(&topic->subscriptions);
             q != ngx_queue_sentinel(&topic->subscriptions);
             q = ngx_queue_next(q))
        {
            subscription = ngx_queue_data(q, ngx_snorky_subscription_t,
                                          of_topic);

            if (subscription->session == s) {
                return subscription;
            }
        }

        return NULL;
    }

    for (q = ngx_queue_head(&s->subscriptions);
         q != ngx_queue_sentinel(&s->subscriptions);
         q = ngx_queue_next(q))
    {
        subscription = ngx_queue_data(q, ngx_snorky_subscription_t,
                                      of_session);

        if (subscription->topic == topic) {
            return subscription;
        }
    }

    return NULL;
}


void
ngx_snorky_topic_unlink(ngx_snorky_subscription_t *subscription)
{
    ngx_snorky_hub_t    *hub;
    ngx_snorky_topic_t  *topic;

    topic = subscription->topic;
    hub = subscription->session->hub;

    if (!topic->reached
        && ngx_snorky_news_of_channels(topic->service,
                                       NGX_SNORKY_NEWS_CHANNELS))
    {
        ngx_snorky_occupancy_went(topic, subscription->session);
    }

    ngx_queue_remove(&subscription->of_topic);
    ngx_queue_remove(&subscription->of_session);

    topic->count--;

    if (!topic->reached) {
        subscription->session->nsubscriptions--;
        hub->stats->subscriptions--;
    }

    ngx_free(subscription);

    if (topic->count == 0 && topic->pins == 0) {
        ngx_snorky_topic_free(hub, topic);
    }
}
