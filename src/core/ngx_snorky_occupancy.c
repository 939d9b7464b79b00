
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what becomes known of a channel's listeners: to the other workers, and
 * by events to the application.  Called by topics, and by a timer when the
 * zone could not be changed.
 */


#include "ngx_snorky_occupancy.h"
#include "ngx_snorky_news.h"


/* ms; until listeners are counted that could not be */
#define NGX_SNORKY_OCCUPANCY_RETRY  200


static ngx_int_t ngx_snorky_occupancy_occupy(ngx_snorky_hub_t *hub,
    ngx_snorky_topic_t *topic);
static void ngx_snorky_occupancy_retry_handler(ngx_event_t *ev);


void
ngx_snorky_occupancy_init(ngx_snorky_hub_t *hub)
{
    hub->uncounted_timer.handler = ngx_snorky_occupancy_retry_handler;
    hub->uncounted_timer.data = &hub->dummy;
    hub->uncounted_timer.log = hub->log;
    hub->uncounted_timer.cancelable = 1;
}


void
ngx_snorky_occupancy_finish(ngx_snorky_hub_t *hub)
{
    if (hub->uncounted_timer.timer_set) {
        ngx_del_timer(&hub->uncounted_timer);
    }
}


void
ngx_snorky_occupancy_came(ngx_snorky_topic_t *topic, ngx_snorky_session_t *s)
{
    if (topic->count == 1
        && ngx_snorky_news_of_channels(topic->service,
                                       NGX_SNORKY_NEWS_OCCUPANCY)
        && ngx_snorky_occupancy_occupy(s->hub, topic) != NGX_OK
        && !s->hub->uncounted_timer.timer_set)
    {
        ngx_add_timer(&s->hub->uncounted_timer, NGX_SNORKY_OCCUPANCY_RETRY);
    }

    if (ngx_snorky_news_wanted(s, topic->service->events
                                  & NGX_SNORKY_NEWS_SUBSCRIBED))
    {
        ngx_snorky_news_subscription(s, topic->service, &topic->node.key,
                                     NGX_SNORKY_NEWS_SUBSCRIBED);
    }
}


/*
 * When the worker ends at once, it is for the others to tell what has become
 * of the channel.
 */

void
ngx_snorky_occupancy_went(ngx_snorky_topic_t *topic, ngx_snorky_session_t *s)
{
    ngx_snorky_store_tally_t  *tally;

    if (ngx_snorky_news_wanted(s, topic->service->events
                                  & NGX_SNORKY_NEWS_UNSUBSCRIBED))
    {
        ngx_snorky_news_subscription(s, topic->service, &topic->node.key,
                                     NGX_SNORKY_NEWS_UNSUBSCRIBED);
    }

    if (topic->count > 1 || topic->data == NULL) {
        return;
    }

    tally = topic->data;
    topic->data = NULL;

    if (!s->hub->exiting) {
        ngx_snorky_broker_uncount(s->hub->broker, &tally, 1);
    }
}


static ngx_int_t
ngx_snorky_occupancy_occupy(ngx_snorky_hub_t *hub, ngx_snorky_topic_t *topic)
{
    uint64_t                   sequence;
    ngx_int_t                  rc;
    ngx_snorky_store_tally_t  *tally;

    rc = ngx_snorky_broker_occupy(hub->broker, topic->node.hash,
                                  &topic->node.key, &tally, &sequence);

    if (rc == NGX_BUSY && !hub->crowded) {
        hub->crowded = 1;

        ngx_log_error(NGX_LOG_CRIT, hub->log, 0,
                      "\"snorky_zone\" has no room to tell of a channel, "
                      "it will be told later");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    topic->data = tally;

    if (sequence) {
        ngx_snorky_news_occupied(hub, topic->service, &topic->node.key,
                                 sequence);
    }

    return NGX_OK;
}


static void
ngx_snorky_occupancy_retry_handler(ngx_event_t *ev)
{
    ngx_uint_t              i;
    ngx_connection_t       *c;
    ngx_snorky_hub_t       *hub;
    ngx_snorky_topic_t     *topic;
    ngx_snorky_map_node_t  *node;

    c = ev->data;
    hub = c->data;

    for (i = 0; i <= hub->topics.mask; i++) {

        for (node = hub->topics.buckets[i]; node; node = node->next) {

            topic = (ngx_snorky_topic_t *) node;

            if (topic->feed
                || topic->data
                || topic->count == 0
                || !ngx_snorky_news_of_channels(topic->service,
                                                NGX_SNORKY_NEWS_OCCUPANCY))
            {
                continue;
            }

            if (ngx_snorky_occupancy_occupy(hub, topic) != NGX_OK) {
                ngx_add_timer(&hub->uncounted_timer,
                              NGX_SNORKY_OCCUPANCY_RETRY);
                return;
            }
        }
    }

    hub->crowded = 0;
}


/* only a backend's request, which waits, may be in a topic still */

void
ngx_snorky_occupancy_lost(ngx_snorky_hub_t *hub)
{
    ngx_uint_t              i;
    ngx_snorky_topic_t     *topic;
    ngx_snorky_map_node_t  *node;

    for (i = 0; i <= hub->topics.mask; i++) {

        for (node = hub->topics.buckets[i]; node; node = node->next) {

            topic = (ngx_snorky_topic_t *) node;

            if (topic->feed || topic->data == NULL) {
                continue;
            }

            topic->data = NULL;

            if (!hub->uncounted_timer.timer_set) {
                ngx_add_timer(&hub->uncounted_timer,
                              NGX_SNORKY_OCCUPANCY_RETRY);
            }
        }
    }
}
