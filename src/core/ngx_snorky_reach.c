
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the names by which single clients are reached.  Called by sessions that
 * begin, and by services through the public header.
 */


#include "ngx_snorky_reach.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_session.h"
#include "ngx_snorky_topic.h"


/* what follows the registry in a name */

#define NGX_SNORKY_REACH_CLIENT    'c'
#define NGX_SNORKY_REACH_IDENTITY  'i'

/* a session's number begins with that of its worker */
#define ngx_snorky_reach_worker(number)  ((number) >> 40)


static ngx_int_t ngx_snorky_reach_join(ngx_snorky_session_t *s, u_char kind,
    ngx_str_t *text, uint64_t worker);
static ngx_int_t ngx_snorky_reach_name(ngx_snorky_hub_t *hub,
    ngx_snorky_registry_t *registry, u_char kind, ngx_str_t *text,
    uint64_t worker, uint64_t *hash);
static ngx_int_t ngx_snorky_reach_text(ngx_snorky_hub_t *hub,
    ngx_snorky_letter_t *letter, ngx_snorky_broker_text_t *text);
static ngx_uint_t ngx_snorky_reach_worker_of(ngx_snorky_hub_t *hub,
    ngx_str_t *client, uint64_t *worker);


void
ngx_snorky_reach_want(ngx_snorky_service_t *service)
{
    service->registry->reached = 1;
}


void
ngx_snorky_reach_before(ngx_snorky_session_t *s)
{
    if (s->registry->reached) {
        ngx_snorky_broker_drain(s->hub->broker);
    }
}


void
ngx_snorky_reach_enter(ngx_snorky_session_t *s)
{
    u_char      text[NGX_SNORKY_CLIENT_LEN];
    ngx_int_t   rc;
    ngx_str_t   client;

    if (!s->registry->reached) {
        return;
    }

    client.data = text;
    client.len = ngx_snorky_session_client(s, text) - text;

    rc = ngx_snorky_reach_join(s, NGX_SNORKY_REACH_CLIENT, &client,
                               ngx_snorky_reach_worker(s->id));

    if (rc == NGX_OK && s->identity.len) {
        rc = ngx_snorky_reach_join(s, NGX_SNORKY_REACH_IDENTITY, &s->identity,
                                   0);
    }

    if (rc == NGX_ERROR) {
        ngx_snorky_session_close(s, 1011, "out of memory");
    }
}


static ngx_int_t
ngx_snorky_reach_join(ngx_snorky_session_t *s, u_char kind, ngx_str_t *text,
    uint64_t worker)
{
    uint64_t  hash;

    if (ngx_snorky_reach_name(s->hub, s->registry, kind, text, worker, &hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_snorky_topic_enter(s, hash);
}


/*
 * No service has an empty name, so it is no topic's.  All of a worker's
 * clients make one group, and all with an identity another one.
 */

static ngx_int_t
ngx_snorky_reach_name(ngx_snorky_hub_t *hub, ngx_snorky_registry_t *registry,
    u_char kind, ngx_str_t *text, uint64_t worker, uint64_t *hash)
{
    u_char     *p;
    uint64_t    group;
    ngx_str_t   before;

    p = ngx_snorky_topic_scratch(hub, registry->name.len + 3 + text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    before.data = p;

    p = ngx_cpymem(p, registry->name.data, registry->name.len);
    *p++ = '\0';
    *p++ = '\0';
    *p++ = kind;

    before.len = p - before.data;

    ngx_memcpy(p, text->data, text->len);

    group = ngx_snorky_broker_hash(hub->broker, &before) + worker;

    *hash = ngx_snorky_broker_group_hash(hub->broker, &hub->name, group);

    return NGX_OK;
}


ngx_int_t
ngx_snorky_reach_send(ngx_snorky_call_t *call, ngx_snorky_letter_t *letter)
{
    u_char                     kind;
    uint64_t                   worker, hash;
    ngx_str_t                 *to;
    ngx_snorky_hub_t          *hub;
    ngx_snorky_broker_text_t   text;

    hub = call->session->hub;
    worker = 0;

    if (letter->client) {
        kind = NGX_SNORKY_REACH_CLIENT;
        to = letter->client;

        if (!ngx_snorky_reach_worker_of(hub, to, &worker)) {
            return NGX_OK;
        }

    } else {
        kind = NGX_SNORKY_REACH_IDENTITY;
        to = letter->identity;
    }

    if (ngx_snorky_reach_text(hub, letter, &text) != NGX_OK
        || ngx_snorky_reach_name(hub, letter->service->registry, kind, to,
                                 worker, &hash)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    text.hash = hash;
    text.name = hub->name;

    return ngx_snorky_topic_append(call, &text);
}


static ngx_int_t
ngx_snorky_reach_text(ngx_snorky_hub_t *hub, ngx_snorky_letter_t *letter,
    ngx_snorky_broker_text_t *text)
{
    u_char     *p;
    ngx_str_t  *part;

    if (letter->n) {
        return ngx_snorky_topic_content(hub, letter->service, letter->parts,
                                        letter->n, text);
    }

    ngx_memzero(text, sizeof(ngx_snorky_broker_text_t));

    part = ngx_palloc(hub->pool, sizeof(ngx_str_t));
    p = ngx_pnalloc(hub->pool, 1 + NGX_SNORKY_TOPIC_CODE + letter->reason.len);

    if (part == NULL || p == NULL) {
        return NGX_ERROR;
    }

    part->data = p;
    part->len = ngx_sprintf(p, "%c%04ui%V", NGX_SNORKY_TOPIC_CLOSE,
                            letter->code, &letter->reason)
                - p;

    text->parts = part;
    text->n = 1;
    text->len = part->len;

    return NGX_OK;
}


/* whether it may be a client's name, written as we do */

static ngx_uint_t
ngx_snorky_reach_worker_of(ngx_snorky_hub_t *hub, ngx_str_t *client,
    uint64_t *worker)
{
    u_char      again[NGX_SNORKY_CLIENT_LEN], *hyphen, *last;
    ngx_int_t   name, number;

    last = client->data + client->len;
    hyphen = ngx_strlchr(client->data, last, '-');

    if (hyphen == NULL || client->len > NGX_SNORKY_CLIENT_LEN) {
        return 0;
    }

    name = ngx_hextoi(client->data, hyphen - client->data);
    number = ngx_hextoi(hyphen + 1, last - hyphen - 1);

    if (name == NGX_ERROR || number == NGX_ERROR) {
        return 0;
    }

    last = ngx_sprintf(again, "%xD-%xL",
                       ngx_snorky_broker_name(hub->broker),
                       (int64_t) number);

    if ((size_t) (last - again) != client->len
        || ngx_memcmp(again, client->data, client->len) != 0)
    {
        return 0;
    }

    *worker = ngx_snorky_reach_worker((uint64_t) number);

    return 1;
}
