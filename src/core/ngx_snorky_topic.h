
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A topic: the sessions in this worker that listen to one service under one
 * key.  It exists as long as there are any; the broker is told of the first
 * and of the last.
 */


#ifndef _NGX_SNORKY_TOPIC_H_INCLUDED_
#define _NGX_SNORKY_TOPIC_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_broker.h"
#include "ngx_snorky_map.h"
#include "ngx_snorky_msg.h"


typedef struct ngx_snorky_topic_s         ngx_snorky_topic_t;
typedef struct ngx_snorky_subscription_s  ngx_snorky_subscription_t;

struct ngx_snorky_topic_s {
    ngx_snorky_map_node_t      node;            /* first: found by the map */
    ngx_queue_t                subscriptions;
    ngx_uint_t                 count;
    uint32_t                   pins;            /* must not be freed */
    uint32_t                   feed;            /* the service hears it */

    ngx_snorky_service_t      *service;
    void                      *data;            /* the feed's; or the tally */
                                                /* of listeners here, or NULL */
};


/* the broker's find and deliver */
void *ngx_snorky_topic_find(void *data, uint64_t hash, ngx_str_t *name);
ngx_int_t ngx_snorky_topic_deliver(void *data, void *topic,
    ngx_snorky_msg_t *msg, uint64_t except, ngx_str_t *only);

/* the session ends */
void ngx_snorky_topic_leave_all(ngx_snorky_session_t *s);

/*
 * A change joins in two steps: what can fail comes before it, and the worker
 * listens from then on.  Then the caller is linked to the topic, or the
 * subscription is cancelled.  Returns as ngx_snorky_topic_join().
 */

ngx_int_t ngx_snorky_topic_prepare(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key, ngx_snorky_subscription_t **subscription);
void ngx_snorky_topic_link(ngx_snorky_subscription_t *subscription);
void ngx_snorky_topic_cancel(ngx_snorky_subscription_t *subscription);

/* the caller's subscription, as ngx_snorky_topic_leave() finds it */
ngx_int_t ngx_snorky_topic_lookup(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key, ngx_snorky_subscription_t **subscription);
void ngx_snorky_topic_unlink(ngx_snorky_subscription_t *subscription);

/*
 * The name of a topic, or of a feed, is written into the hub's scratch: the
 * service's prefix and the canonical key, if there is a key.  NGX_OK, NGX_DONE
 * (answered), NGX_ERROR.
 */

ngx_int_t ngx_snorky_topic_name(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service, ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_feed_name(ngx_snorky_service_t *service,
    ngx_str_t *name);

/*
 * What the broker needs to publish it.  The name lies in the hub's scratch,
 * the parts' array in its pool.  Returns as ngx_snorky_topic_name().
 */

ngx_int_t ngx_snorky_topic_text(ngx_snorky_call_t *call,
    ngx_snorky_publication_t *publication, ngx_snorky_broker_text_t *text);


#endif /* _NGX_SNORKY_TOPIC_H_INCLUDED_ */
