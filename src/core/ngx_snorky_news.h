
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The news of a registry: what the application is told of its clients and of
 * its channels, where the configuration asks for it (snorky_event).  An
 * event's text is made when it happens, and goes to the outbox of the
 * directive and the server{}.
 *
 * What a client does is told to a location of its own server{}.  What is of
 * all clients together goes to the first server{} that has the registry.
 */


#ifndef _NGX_SNORKY_NEWS_H_INCLUDED_
#define _NGX_SNORKY_NEWS_H_INCLUDED_


#include "ngx_snorky_outbox.h"
#include "ngx_snorky_service.h"
#include "ngx_snorky_session.h"


#define NGX_SNORKY_NEWS_CONNECTED     0x01
#define NGX_SNORKY_NEWS_DISCONNECTED  0x02
#define NGX_SNORKY_NEWS_SUBSCRIBED    0x04
#define NGX_SNORKY_NEWS_UNSUBSCRIBED  0x08
#define NGX_SNORKY_NEWS_OCCUPIED      0x10
#define NGX_SNORKY_NEWS_VACATED       0x20

/* a channel has listeners, on all workers, or none */
#define NGX_SNORKY_NEWS_OCCUPANCY                                             \
    (NGX_SNORKY_NEWS_OCCUPIED|NGX_SNORKY_NEWS_VACATED)

/* of services whose topics are channels */
#define NGX_SNORKY_NEWS_CHANNELS                                              \
    (NGX_SNORKY_NEWS_SUBSCRIBED|NGX_SNORKY_NEWS_UNSUBSCRIBED                  \
     |NGX_SNORKY_NEWS_OCCUPANCY)


/* who is told of what */

typedef struct {
    ngx_str_t                    uri;
    ngx_uint_t                   events;
    ngx_snorky_outbox_t         *outboxes;  /* of this worker */
} ngx_snorky_news_target_t;


/* these events to this uri, which may have some already; NGX_OK, NGX_ERROR */
ngx_int_t ngx_snorky_news_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_str_t *uri, ngx_uint_t events);

/*
 * Whether there is somebody to tell, so that nothing is done where there is
 * not.  A client that is no client of services has no server.
 */

#define ngx_snorky_news_wanted(s, mask)                                       \
    (((s)->registry->events & (mask)) && (s)->listed && (s)->limits->server)

#define ngx_snorky_news_of_channels(service, mask)                            \
    ((service)->events & (mask))

/* CONNECTED, DISCONNECTED */
void ngx_snorky_news_client(ngx_snorky_session_t *s, ngx_uint_t event);

/* SUBSCRIBED, UNSUBSCRIBED; the topic's name */
void ngx_snorky_news_subscription(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *name, ngx_uint_t event);

void ngx_snorky_news_occupied(ngx_snorky_hub_t *hub,
    ngx_snorky_service_t *service, ngx_str_t *name, uint64_t sequence);

/* the broker's */
void ngx_snorky_news_vacated(void *data, ngx_str_t *name, uint64_t sequence);
void ngx_snorky_news_died(void *data, uint64_t generation);
void ngx_snorky_news_reset(void *data, uint64_t sequence);


#endif /* _NGX_SNORKY_NEWS_H_INCLUDED_ */
