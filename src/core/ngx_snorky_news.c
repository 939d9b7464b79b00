
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the texts of events, and to whom each is told.  Called by sessions,
 * topics and the broker.
 */


#include "ngx_snorky_news.h"
#include "ngx_snorky_envelope.h"


/* the most parts that an event has */
#define NGX_SNORKY_NEWS_PARTS  20


/* an event's text, as it is put together; its parts lie with the caller */

typedef struct {
    ngx_str_t                  parts[NGX_SNORKY_NEWS_PARTS];
    ngx_uint_t                 n;
    u_char                     time[NGX_SNORKY_TIME_LEN];
    u_char                     client[NGX_SNORKY_CLIENT_LEN];
    u_char                     number[NGX_INT64_LEN];
} ngx_snorky_news_text_t;


#define ngx_snorky_news_literal(text, literal)                                \
    ngx_snorky_news_part(text, (u_char *) literal, sizeof(literal) - 1)


static void ngx_snorky_news_begin(ngx_snorky_news_text_t *text,
    ngx_uint_t event);
static void ngx_snorky_news_part(ngx_snorky_news_text_t *text, u_char *data,
    size_t len);
static void ngx_snorky_news_of_client(ngx_snorky_news_text_t *text,
    ngx_snorky_session_t *s);
static void ngx_snorky_news_channel(ngx_snorky_news_text_t *text,
    ngx_snorky_service_t *service, ngx_str_t *name);
static void ngx_snorky_news_worker(ngx_snorky_news_text_t *text,
    uint64_t generation);
static void ngx_snorky_news_number(ngx_snorky_news_text_t *text,
    uint64_t number);
static void ngx_snorky_news_end(ngx_snorky_news_text_t *text);
static void ngx_snorky_news_occupancy(ngx_snorky_hub_t *hub,
    ngx_snorky_service_t *service, ngx_str_t *name, ngx_uint_t event,
    uint64_t sequence);
static ngx_snorky_service_t *ngx_snorky_news_service(ngx_snorky_hub_t *hub,
    ngx_str_t *name);
static void ngx_snorky_news_tell_all(ngx_snorky_hub_t *hub, ngx_uint_t events,
    ngx_snorky_news_text_t *text);
static void ngx_snorky_news_tell(ngx_snorky_hub_t *hub,
    ngx_snorky_registry_t *registry, void *server, ngx_uint_t events,
    ngx_snorky_news_text_t *text);
static ngx_snorky_outbox_t *ngx_snorky_news_outbox(ngx_snorky_hub_t *hub,
    ngx_snorky_news_target_t *target, void *server);


ngx_int_t
ngx_snorky_news_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_str_t *uri, ngx_uint_t events)
{
    ngx_uint_t                 i;
    ngx_snorky_news_target_t  *target;

    if (registry->targets == NULL) {
        registry->targets = ngx_array_create(cf->pool, 2,
                                             sizeof(ngx_snorky_news_target_t));
        if (registry->targets == NULL) {
            return NGX_ERROR;
        }
    }

    registry->events |= events;

    target = registry->targets->elts;

    for (i = 0; i < registry->targets->nelts; i++) {

        if (target[i].uri.len == uri->len
            && ngx_strncmp(target[i].uri.data, uri->data, uri->len) == 0)
        {
            target[i].events |= events;
            return NGX_OK;
        }
    }

    target = ngx_array_push(registry->targets);
    if (target == NULL) {
        return NGX_ERROR;
    }

    target->uri = *uri;
    target->events = events;
    target->outboxes = NULL;

    return NGX_OK;
}


void
ngx_snorky_news_client(ngx_snorky_session_t *s, ngx_uint_t event)
{
    ngx_snorky_news_text_t  text;

    ngx_snorky_news_begin(&text, event);
    ngx_snorky_news_of_client(&text, s);
    ngx_snorky_news_end(&text);

    ngx_snorky_news_tell(s->hub, s->registry, s->limits->server, event, &text);
}


void
ngx_snorky_news_subscription(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *name, ngx_uint_t event)
{
    ngx_snorky_news_text_t  text;

    ngx_snorky_news_begin(&text, event);
    ngx_snorky_news_channel(&text, service, name);
    ngx_snorky_news_of_client(&text, s);
    ngx_snorky_news_end(&text);

    ngx_snorky_news_tell(s->hub, s->registry, s->limits->server, event, &text);
}


void
ngx_snorky_news_occupied(ngx_snorky_hub_t *hub, ngx_snorky_service_t *service,
    ngx_str_t *name, uint64_t sequence)
{
    ngx_snorky_news_occupancy(hub, service, name, NGX_SNORKY_NEWS_OCCUPIED,
                              sequence);
}


/* of any worker's channel, also of one whose configuration was another */

void
ngx_snorky_news_vacated(void *data, ngx_str_t *name, uint64_t sequence)
{
    ngx_snorky_hub_t *hub = data;

    ngx_snorky_service_t  *service;

    service = ngx_snorky_news_service(hub, name);

    if (service) {
        ngx_snorky_news_occupancy(hub, service, name, NGX_SNORKY_NEWS_VACATED,
                                  sequence);
    }
}


static void
ngx_snorky_news_occupancy(ngx_snorky_hub_t *hub, ngx_snorky_service_t *service,
    ngx_str_t *name, ngx_uint_t event, uint64_t sequence)
{
    ngx_snorky_news_text_t  text;

    ngx_snorky_news_begin(&text, event);
    ngx_snorky_news_channel(&text, service, name);
    ngx_snorky_news_literal(&text, ",\"sequence\":");
    ngx_snorky_news_number(&text, sequence);
    ngx_snorky_news_end(&text);

    ngx_snorky_news_tell(hub, service->registry, service->registry->server,
                         event, &text);
}


/* a topic's name begins with registry and service, and a zero behind each */

static ngx_snorky_service_t *
ngx_snorky_news_service(ngx_snorky_hub_t *hub, ngx_str_t *name)
{
    u_char                  *p, *last;
    ngx_str_t                part[2];
    ngx_uint_t               i;
    ngx_snorky_service_t   **service;
    ngx_snorky_registry_t   *registry;

    p = name->data;
    last = p + name->len;

    for (i = 0; i < 2; i++) {
        part[i].data = p;

        p = ngx_strlchr(p, last, '\0');
        if (p == NULL) {
            return NULL;
        }

        part[i].len = p++ - part[i].data;
    }

    registry = ngx_snorky_registry_find(hub->registries, &part[0]);
    if (registry == NULL) {
        return NULL;
    }

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {

        if (ngx_snorky_news_of_channels(service[i], NGX_SNORKY_NEWS_VACATED)
            && service[i]->name.len == part[1].len
            && ngx_memcmp(service[i]->name.data, part[1].data, part[1].len)
               == 0)
        {
            return service[i];
        }
    }

    return NULL;
}


void
ngx_snorky_news_died(void *data, uint64_t generation)
{
    ngx_snorky_news_text_t  text;

    text.n = 0;

    ngx_snorky_news_literal(&text, "{\"event\":\"lost\"");
    ngx_snorky_news_worker(&text, generation);
    ngx_snorky_news_end(&text);

    ngx_snorky_news_tell_all(data, (ngx_uint_t) -1, &text);
}


void
ngx_snorky_news_reset(void *data, uint64_t sequence)
{
    ngx_snorky_news_text_t  text;

    text.n = 0;

    ngx_snorky_news_literal(&text, "{\"event\":\"reset\",\"sequence\":");
    ngx_snorky_news_number(&text, sequence);
    ngx_snorky_news_end(&text);

    ngx_snorky_news_tell_all(data, NGX_SNORKY_NEWS_OCCUPANCY, &text);
}


static void
ngx_snorky_news_begin(ngx_snorky_news_text_t *text, ngx_uint_t event)
{
    text->n = 0;

    switch (event) {

    case NGX_SNORKY_NEWS_CONNECTED:
        ngx_snorky_news_literal(text, "{\"event\":\"connected\"");
        break;

    case NGX_SNORKY_NEWS_DISCONNECTED:
        ngx_snorky_news_literal(text, "{\"event\":\"disconnected\"");
        break;

    case NGX_SNORKY_NEWS_SUBSCRIBED:
        ngx_snorky_news_literal(text, "{\"event\":\"subscribed\"");
        break;

    case NGX_SNORKY_NEWS_UNSUBSCRIBED:
        ngx_snorky_news_literal(text, "{\"event\":\"unsubscribed\"");
        break;

    case NGX_SNORKY_NEWS_OCCUPIED:
        ngx_snorky_news_literal(text, "{\"event\":\"occupied\"");
        break;

    default: /* NGX_SNORKY_NEWS_VACATED */
        ngx_snorky_news_literal(text, "{\"event\":\"vacated\"");
        break;
    }
}


static void
ngx_snorky_news_part(ngx_snorky_news_text_t *text, u_char *data, size_t len)
{
    text->parts[text->n].data = data;
    text->parts[text->n].len = len;

    text->n++;
}


/* the worker's number is the one that the session began with */

static void
ngx_snorky_news_of_client(ngx_snorky_news_text_t *text,
    ngx_snorky_session_t *s)
{
    ngx_str_t  *identity, *address;

    identity = ngx_snorky_session_identity(s);
    address = &s->ops->connection(s)->addr_text;

    ngx_snorky_news_literal(text, ",\"client\":\"");
    ngx_snorky_news_part(text, text->client,
                         ngx_snorky_session_client(s, text->client)
                         - text->client);

    ngx_snorky_news_literal(text, "\",\"identity\":");

    if (identity) {
        ngx_snorky_news_part(text, identity->data, identity->len);

    } else {
        ngx_snorky_news_literal(text, "null");
    }

    ngx_snorky_news_literal(text, ",\"address\":\"");
    ngx_snorky_news_part(text, address->data, address->len);
    ngx_snorky_news_literal(text, "\"");

    ngx_snorky_news_worker(text, ngx_snorky_broker_session_worker(s->id));
}


/* the rest of the name is the channel, as canonical JSON */

static void
ngx_snorky_news_channel(ngx_snorky_news_text_t *text,
    ngx_snorky_service_t *service, ngx_str_t *name)
{
    ngx_str_t  quoted;

    /* in the head of its messages, which it is a part of, it has quotes */

    quoted.data = service->escaped.data - 1;
    quoted.len = service->escaped.len + 2;

    ngx_snorky_news_literal(text, ",\"service\":");
    ngx_snorky_news_part(text, quoted.data, quoted.len);

    ngx_snorky_news_literal(text, ",\"channel\":");
    ngx_snorky_news_part(text, name->data + service->prefix.len,
                         name->len - service->prefix.len);
}


static void
ngx_snorky_news_worker(ngx_snorky_news_text_t *text, uint64_t generation)
{
    ngx_snorky_news_literal(text, ",\"worker\":");
    ngx_snorky_news_number(text, generation);
}


/* an event has one */

static void
ngx_snorky_news_number(ngx_snorky_news_text_t *text, uint64_t number)
{
    ngx_snorky_news_part(text, text->number,
                         ngx_sprintf(text->number, "%uL", number)
                         - text->number);
}


static void
ngx_snorky_news_end(ngx_snorky_news_text_t *text)
{
    ngx_snorky_news_literal(text, ",\"time\":");
    ngx_snorky_news_part(text, text->time,
                         ngx_snorky_time(text->time) - text->time);
    ngx_snorky_news_literal(text, "}");
}


static void
ngx_snorky_news_tell_all(ngx_snorky_hub_t *hub, ngx_uint_t events,
    ngx_snorky_news_text_t *text)
{
    ngx_uint_t               i;
    ngx_snorky_registry_t  **registry;

    registry = hub->registries->elts;

    for (i = 0; i < hub->registries->nelts; i++) {
        ngx_snorky_news_tell(hub, registry[i], registry[i]->server, events,
                             text);
    }
}


/* without a server{} that has the registry, it has no clients */

static void
ngx_snorky_news_tell(ngx_snorky_hub_t *hub, ngx_snorky_registry_t *registry,
    void *server, ngx_uint_t events, ngx_snorky_news_text_t *text)
{
    ngx_uint_t                 i;
    ngx_snorky_outbox_t       *outbox;
    ngx_snorky_news_target_t  *target;

    if (server == NULL || !(registry->events & events)) {
        return;
    }

    target = registry->targets->elts;

    for (i = 0; i < registry->targets->nelts; i++) {

        if (!(target[i].events & events)) {
            continue;
        }

        outbox = ngx_snorky_news_outbox(hub, &target[i], server);

        if (outbox == NULL) {
            hub->stats->events_dropped++;
            continue;
        }

        ngx_snorky_outbox_put(outbox, text->parts, text->n);
    }
}


static ngx_snorky_outbox_t *
ngx_snorky_news_outbox(ngx_snorky_hub_t *hub, ngx_snorky_news_target_t *target,
    void *server)
{
    ngx_snorky_outbox_t  *outbox;

    for (outbox = target->outboxes; outbox; outbox = outbox->next) {

        if (outbox->server == server) {
            return outbox;
        }
    }

    outbox = ngx_snorky_outbox_open(hub, &target->uri, server);
    if (outbox == NULL) {
        return NULL;
    }

    outbox->next = target->outboxes;
    target->outboxes = outbox;

    return outbox;
}
