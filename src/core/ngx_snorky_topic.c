
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns topics and subscriptions.  Called by services through the public
 * header, by the broker to deliver, and by a session that leaves.
 */


#include "ngx_snorky_topic.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_session.h"


typedef struct {
    ngx_snorky_map_node_t      node;            /* first: found by the map */
    ngx_queue_t                subscriptions;
    ngx_uint_t                 count;
    unsigned                   walked:1;        /* must not be freed */
} ngx_snorky_topic_t;


typedef struct {
    ngx_queue_t                of_topic;
    ngx_queue_t                of_session;
    ngx_snorky_topic_t        *topic;
    ngx_snorky_session_t      *session;
} ngx_snorky_subscription_t;


/* enough for any service's content and its envelope */
#define NGX_SNORKY_TOPIC_PARTS  16


static ngx_int_t ngx_snorky_topic_name(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service, ngx_snorky_value_t *key);
static ngx_int_t ngx_snorky_topic_locate(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key, uint64_t *hash, ngx_snorky_topic_t **topic);
static ngx_snorky_topic_t *ngx_snorky_topic_create(ngx_snorky_hub_t *hub,
    uint64_t hash);
static void ngx_snorky_topic_free(ngx_snorky_hub_t *hub,
    ngx_snorky_topic_t *topic);
static ngx_snorky_subscription_t *ngx_snorky_topic_subscription(
    ngx_snorky_topic_t *topic, ngx_snorky_session_t *s);
static void ngx_snorky_topic_unlink(ngx_snorky_hub_t *hub,
    ngx_snorky_subscription_t *subscription);


/*
 * Writes the topic's name into the hub's scratch: the service's prefix and
 * the canonical key.  NGX_OK, NGX_DONE (answered), NGX_ERROR.
 */

static ngx_int_t
ngx_snorky_topic_name(ngx_snorky_call_t *call, ngx_snorky_service_t *service,
    ngx_snorky_value_t *key)
{
    u_char                *p;
    size_t                 len;
    ngx_str_t              canonical;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_session_t  *s;

    s = call->session;
    hub = s->hub;

    if (key->text.len > s->limits->max_channel_size) {
        return ngx_snorky_call_error(call, "Channel too long");
    }

    if (ngx_snorky_json_key(hub->json, &key->text, s->limits->max_depth,
                            &canonical)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = service->prefix.len + canonical.len;

    if (len > hub->name_size) {
        p = ngx_alloc(len, hub->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (hub->name.data) {
            ngx_free(hub->name.data);
        }

        hub->name.data = p;
        hub->name_size = len;
    }

    p = ngx_cpymem(hub->name.data, service->prefix.data, service->prefix.len);
    ngx_memcpy(p, canonical.data, canonical.len);

    hub->name.len = len;

    return NGX_OK;
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
    uint64_t                    hash;
    ngx_int_t                   rc;
    ngx_snorky_hub_t           *hub;
    ngx_snorky_topic_t         *topic;
    ngx_snorky_session_t       *s;
    ngx_snorky_subscription_t  *subscription;

    s = call->session;
    hub = s->hub;

    rc = ngx_snorky_topic_locate(call, key, &hash, &topic);
    if (rc != NGX_OK) {
        return rc;
    }

    if (topic && ngx_snorky_topic_subscription(topic, s)) {
        return NGX_DECLINED;
    }

    if (s->nsubscriptions >= s->limits->max_subscriptions) {
        return ngx_snorky_call_error(call, "Too many subscriptions");
    }

    subscription = ngx_alloc(sizeof(ngx_snorky_subscription_t), s->log);
    if (subscription == NULL) {
        return NGX_ERROR;
    }

    if (topic == NULL) {
        topic = ngx_snorky_topic_create(hub, hash);

        if (topic == NULL || s->left) {
            ngx_free(subscription);

            if (topic) {
                ngx_snorky_topic_free(hub, topic);
            }

            return s->left ? NGX_DONE : NGX_ERROR;
        }
    }

    subscription->topic = topic;
    subscription->session = s;

    ngx_queue_insert_tail(&topic->subscriptions, &subscription->of_topic);
    ngx_queue_insert_tail(&s->subscriptions, &subscription->of_session);

    topic->count++;
    s->nsubscriptions++;
    hub->stats->subscriptions++;

    return NGX_OK;
}


ngx_int_t
ngx_snorky_topic_leave(ngx_snorky_call_t *call, ngx_snorky_value_t *key)
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

    subscription = topic ? ngx_snorky_topic_subscription(topic, s) : NULL;

    if (subscription == NULL) {
        return NGX_DECLINED;
    }

    ngx_snorky_topic_unlink(s->hub, subscription);

    return NGX_OK;
}


void
ngx_snorky_topic_leave_all(ngx_snorky_session_t *s)
{
    ngx_queue_t                *q;
    ngx_snorky_subscription_t  *subscription;

    while (!ngx_queue_empty(&s->subscriptions)) {
        q = ngx_queue_head(&s->subscriptions);
        subscription = ngx_queue_data(q, ngx_snorky_subscription_t,
                                      of_session);

        ngx_snorky_topic_unlink(s->hub, subscription);
    }
}


ngx_int_t
ngx_snorky_topic_publish(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service, ngx_snorky_value_t *key, ngx_str_t *parts,
    ngx_uint_t n)
{
    uint64_t               hash;
    ngx_int_t              rc;
    ngx_str_t              all[NGX_SNORKY_TOPIC_PARTS];
    ngx_snorky_hub_t      *hub;
    ngx_snorky_session_t  *s;

    s = call->session;
    hub = s->hub;

    if (n > NGX_SNORKY_TOPIC_PARTS - 2) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_topic_name(call, service, key);
    if (rc != NGX_OK) {
        return rc;
    }

    all[0] = service->head;
    ngx_memcpy(&all[1], parts, n * sizeof(ngx_str_t));
    ngx_str_set(&all[n + 1], NGX_SNORKY_ENVELOPE_TAIL);

    hash = ngx_snorky_broker_hash(hub->broker, &hub->name);

    rc = ngx_snorky_broker_publish(hub->broker, hash, &hub->name, all, n + 2);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Message too large");
    }

    if (rc == NGX_AGAIN && s->overdue) {
        s->overloaded = 1;
        hub->stats->overloaded++;

        return ngx_snorky_call_error(call, "Overloaded");
    }

    return rc;
}


void *
ngx_snorky_topic_find(void *data, uint64_t hash, ngx_str_t *name)
{
    ngx_snorky_hub_t *hub = data;

    return ngx_snorky_map_find(&hub->topics, hash, name);
}


/*
 * A receiver that is too slow leaves during the walk; it takes only its own
 * subscriptions with it, of which one is here.
 */

void
ngx_snorky_topic_deliver(void *data, void *found, ngx_snorky_msg_t *msg)
{
    ngx_snorky_hub_t   *hub = data;
    ngx_snorky_topic_t *topic = found;

    ngx_queue_t                *q, *next;
    ngx_snorky_subscription_t  *subscription;

    hub->stats->deliveries += topic->count;

    topic->walked = 1;

    for (q = ngx_queue_head(&topic->subscriptions);
         q != ngx_queue_sentinel(&topic->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        subscription = ngx_queue_data(q, ngx_snorky_subscription_t, of_topic);

        ngx_snorky_session_send(subscription->session, msg, 0);
    }

    topic->walked = 0;

    if (topic->count == 0) {
        ngx_snorky_topic_free(hub, topic);
    }
}


/* the name is in the hub's scratch */

static ngx_snorky_topic_t *
ngx_snorky_topic_create(ngx_snorky_hub_t *hub, uint64_t hash)
{
    ngx_snorky_topic_t  *topic;

    topic = ngx_alloc(sizeof(ngx_snorky_topic_t) + hub->name.len, hub->log);
    if (topic == NULL) {
        return NULL;
    }

    topic->node.hash = hash;
    topic->node.key.data = (u_char *) (topic + 1);
    topic->node.key.len = hub->name.len;

    ngx_memcpy(topic->node.key.data, hub->name.data, hub->name.len);

    ngx_queue_init(&topic->subscriptions);

    topic->count = 0;
    topic->walked = 0;

    /* the interest is made known first: what is appended from now on counts */

    ngx_snorky_broker_listen(hub->broker, hash);

    ngx_snorky_map_insert(&hub->topics, &topic->node);

    hub->stats->channels++;

    return topic;
}


static void
ngx_snorky_topic_free(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic)
{
    ngx_snorky_map_remove(&hub->topics, &topic->node);
    ngx_snorky_broker_unlisten(hub->broker, topic->node.hash);

    hub->stats->channels--;

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


static void
ngx_snorky_topic_unlink(ngx_snorky_hub_t *hub,
    ngx_snorky_subscription_t *subscription)
{
    ngx_snorky_topic_t  *topic;

    topic = subscription->topic;

    ngx_queue_remove(&subscription->of_topic);
    ngx_queue_remove(&subscription->of_session);

    topic->count--;
    subscription->session->nsubscriptions--;
    hub->stats->subscriptions--;

    ngx_free(subscription);

    if (topic->count == 0 && !topic->walked) {
        ngx_snorky_topic_free(hub, topic);
    }
}
