
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the way of a message from its transport to its service.
 */


#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_policy.h"


static ngx_int_t ngx_snorky_dispatch_find(ngx_snorky_session_t *s,
    ngx_snorky_envelope_t *envelope, ngx_snorky_route_t *route);
static ngx_int_t ngx_snorky_dispatch_run(ngx_snorky_session_t *s,
    ngx_snorky_route_t *route);
static ngx_int_t ngx_snorky_dispatch_done(ngx_snorky_session_t *s,
    ngx_str_t *text, ngx_int_t rc);
static void ngx_snorky_dispatch_malformed(ngx_snorky_session_t *s,
    ngx_int_t rc);


ngx_int_t
ngx_snorky_dispatch(ngx_snorky_session_t *s, ngx_str_t *text)
{
    ngx_int_t              rc;
    ngx_snorky_route_t     route;
    ngx_snorky_envelope_t  envelope;

    s->hub->parsed++;

    rc = ngx_snorky_envelope_parse(s->hub->json, text, s->limits->max_depth,
                                   &envelope);
    if (rc == NGX_OK) {
        rc = ngx_snorky_dispatch_find(s, &envelope, &route);
    }

    if (rc == NGX_OK) {
        rc = ngx_snorky_dispatch_run(s, &route);
    }

    return ngx_snorky_dispatch_done(s, text, rc);
}


ngx_int_t
ngx_snorky_dispatch_parse(ngx_snorky_session_t *s, ngx_str_t *text,
    ngx_uint_t depth, ngx_snorky_json_node_t **root)
{
    ngx_int_t  rc;

    s->hub->parsed++;

    rc = ngx_snorky_json_parse(s->hub->json, text,
                               s->limits->max_depth + depth,
                               NGX_SNORKY_ENVELOPE_KEEP + depth, root);

    if (rc == NGX_DECLINED) {
        ngx_snorky_dispatch_malformed(s, rc);
    }

    return rc;
}


ngx_int_t
ngx_snorky_dispatch_route(ngx_snorky_session_t *s,
    ngx_snorky_json_node_t *node, ngx_snorky_route_t *route)
{
    ngx_int_t              rc;
    ngx_snorky_rpc_t       rpc;
    ngx_snorky_envelope_t  envelope;

    route->text = node->value.text;

    rc = ngx_snorky_envelope_read(s->hub->json, node, &envelope);

    if (rc == NGX_OK) {
        rc = ngx_snorky_dispatch_find(s, &envelope, route);
    }

    if (rc == NGX_OK && ngx_snorky_service_rpc(route->service)) {
        rc = ngx_snorky_envelope_parse_rpc(s->hub->json, route->message, &rpc);
    }

    if (rc == NGX_DECLINED || rc == NGX_ABORT) {
        ngx_snorky_dispatch_malformed(s, rc);
    }

    return rc;
}


ngx_int_t
ngx_snorky_dispatch_routed(ngx_snorky_session_t *s, ngx_snorky_route_t *route)
{
    ngx_int_t  rc;

    rc = ngx_snorky_dispatch_run(s, route);

    return ngx_snorky_dispatch_done(s, &route->text, rc);
}


static ngx_int_t
ngx_snorky_dispatch_find(ngx_snorky_session_t *s,
    ngx_snorky_envelope_t *envelope, ngx_snorky_route_t *route)
{
    route->service = ngx_snorky_service_find(s->registry, &envelope->service);
    route->message = envelope->message;

    return route->service ? NGX_OK : NGX_ABORT;
}


static ngx_int_t
ngx_snorky_dispatch_run(ngx_snorky_session_t *s, ngx_snorky_route_t *route)
{
    ngx_int_t              rc;
    ngx_snorky_service_t  *service;

    service = route->service;

    if (ngx_snorky_service_rpc(service)) {
        rc = ngx_snorky_call_run(s, service, route->message);

    } else {
        rc = service->type->message(service, s, &route->message->value);
    }

    ngx_reset_pool(s->hub->pool);

    return rc;
}


static ngx_int_t
ngx_snorky_dispatch_done(ngx_snorky_session_t *s, ngx_str_t *text,
    ngx_int_t rc)
{
    if (rc == NGX_AGAIN && !s->left) {

        if (!ngx_snorky_policy_asks(s)) {
            ngx_snorky_hub_wait(s->hub, s);
        }

        s->retries = 0;
        return NGX_AGAIN;
    }

    s->retries = 0;
    s->overdue = 0;

    s->messages_in++;
    s->hub->stats->messages_in++;
    s->hub->stats->bytes_in += text->len;

    if (rc == NGX_DECLINED || rc == NGX_ABORT) {
        ngx_snorky_dispatch_malformed(s, rc);
    }

    if (s->verdict || s->allowed) {
        ngx_snorky_policy_forget(s);
        ngx_snorky_session_answered(s);
    }

    return rc;
}


static void
ngx_snorky_dispatch_malformed(ngx_snorky_session_t *s, ngx_int_t rc)
{
    s->hub->stats->malformed++;

    ngx_log_error(NGX_LOG_INFO, s->log, 0, "message discarded: %s",
                  (rc == NGX_ABORT) ? "unknown service" : "malformed");
}
