
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns feeds: topics that a service listens to itself.  Called by services
 * through the public header, and by changes.
 */


#include "ngx_snorky_feed.h"
#include "ngx_snorky_topic.h"


/* a feed's name can't be a topic's: no JSON begins with this byte */

ngx_snorky_feed_t *
ngx_snorky_feed_open(ngx_snorky_service_t *service, ngx_str_t *name,
    void *data)
{
    uint64_t             hash;
    ngx_snorky_hub_t    *hub;
    ngx_snorky_topic_t  *topic;

    hub = service->hub;

    if (ngx_snorky_feed_name(service, name) != NGX_OK) {
        return NULL;
    }

    hash = ngx_snorky_broker_hash(hub->broker, &hub->name);

    topic = ngx_snorky_topic_create(service, hub, hash, 0);
    if (topic == NULL) {
        return NULL;
    }

    topic->pins = 1;
    topic->feed = 1;
    topic->data = data;

    return (ngx_snorky_feed_t *) topic;
}


void
ngx_snorky_feed_close(ngx_snorky_feed_t *feed)
{
    ngx_snorky_topic_t  *topic;

    topic = (ngx_snorky_topic_t *) feed;

    ngx_snorky_topic_unpin(topic->service->hub, topic);
}


ngx_int_t
ngx_snorky_feed_name(ngx_snorky_service_t *service, ngx_str_t *name)
{
    u_char  *p;

    p = ngx_snorky_topic_scratch(service->hub,
                                 service->prefix.len + 1 + name->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(p, service->prefix.data, service->prefix.len);
    *p++ = '\1';
    ngx_memcpy(p, name->data, name->len);

    return NGX_OK;
}
