
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
#include "ngx_snorky_hub.h"
#include "ngx_snorky_map.h"
#include "ngx_snorky_msg.h"


typedef struct ngx_snorky_topic_s         ngx_snorky_topic_t;
typedef struct ngx_snorky_subscription_s  ngx_snorky_subscription_t;

struct ngx_snorky_topic_s {
    ngx_snorky_map_node_t      node;            /* first: found by the map */
    ngx_queue_t                subscriptions;
    ngx_uint_t                 count;
    uint32_t                   pins;            /* must not be freed */
    unsigned                   feed:1;          /* the service hears it */
    unsigned                   reached:1;       /* of single clients */

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
 * A new one, of the name in the hub's scratch, which is known to the broker
 * from here on; it is freed when it has neither pins nor listeners.  Without a
 * service it is "reached", see below.  NULL: no memory.
 */

ngx_snorky_topic_t *ngx_snorky_topic_create(ngx_snorky_service_t *service,
    ngx_snorky_hub_t *hub, uint64_t hash, ngx_uint_t reached);
void ngx_snorky_topic_unpin(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic);

/* room in the hub's scratch for a name of so many bytes; NULL: no memory */
u_char *ngx_snorky_topic_scratch(ngx_snorky_hub_t *hub, size_t len);

/*
 * The name of a topic is written into the hub's scratch: the
 * service's prefix and the canonical key, if there is a key.  NGX_OK, NGX_DONE
 * (answered), NGX_ERROR.
 */

ngx_int_t ngx_snorky_topic_name(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service, ngx_snorky_value_t *key);

/*
 * What the broker needs to publish it.  The name lies in the hub's scratch,
 * the parts' array in its pool.  Returns as ngx_snorky_topic_name().
 */

ngx_int_t ngx_snorky_topic_text(ngx_snorky_call_t *call,
    ngx_snorky_publication_t *publication, ngx_snorky_broker_text_t *text);

/* of this, the service's message: n parts between its head and tail */
ngx_int_t ngx_snorky_topic_content(ngx_snorky_hub_t *hub,
    ngx_snorky_service_t *service, ngx_str_t *parts, ngx_uint_t n,
    ngx_snorky_broker_text_t *text);

/* publishes it; returns as ngx_snorky_topic_publish() */
ngx_int_t ngx_snorky_topic_append(ngx_snorky_call_t *call,
    ngx_snorky_broker_text_t *text);


/*
 * Topics by which single clients are reached.  They are nobody's channels, and
 * count for no limit.  The name is in the hub's scratch, its hash is that of a
 * group.  NGX_OK, NGX_DONE: the session has left, NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_topic_enter(ngx_snorky_session_t *s, uint64_t hash);

/*
 * What is published there is a message for them; or it closes them, if it is
 * this byte, the code, and a reason of at most so many bytes.
 */

#define NGX_SNORKY_TOPIC_CLOSE   '\3'
#define NGX_SNORKY_TOPIC_CODE    4
#define NGX_SNORKY_TOPIC_REASON  123


#endif /* _NGX_SNORKY_TOPIC_H_INCLUDED_ */
