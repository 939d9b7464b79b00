
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the way of a message from its transport to its service.
 */


#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_envelope.h"


static ngx_int_t ngx_snorky_dispatch_route(ngx_snorky_session_t *s,
    ngx_str_t *text, ngx_snorky_service_t **service,
    ngx_snorky_json_node_t **message);
static ngx_int_t ngx_snorky_dispatch_run(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_snorky_json_node_t *message);
static void ngx_snorky_dispatch_malformed(ngx_snorky_session_t *s,
    ngx_int_t rc);


ngx_int_t
ngx_snorky_dispatch(ngx_snorky_session_t *s, ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_snorky_service_t    *service;
    ngx_snorky_json_node_t  *message;

    rc = ngx_snorky_dispatch_route(s, text, &service, &message);

    if (rc == NGX_OK) {
        rc = ngx_snorky_dispatch_run(s, service, message);
        ngx_reset_pool(s->hub->pool);
    }

    if (rc == NGX_AGAIN && !s->left) {
        ngx_snorky_hub_wait(s->hub, s);
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

    return rc;
}


ngx_int_t
ngx_snorky_dispatch_check(ngx_snorky_session_t *s, ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_snorky_rpc_t         rpc;
    ngx_snorky_service_t    *service;
    ngx_snorky_json_node_t  *message;

    rc = ngx_snorky_dispatch_route(s, text, &service, &message);

    if (rc == NGX_OK && service->type->commands) {
        rc = ngx_snorky_envelope_parse_rpc(s->hub->json, message, &rpc);
    }

    if (rc == NGX_DECLINED || rc == NGX_ABORT) {
        ngx_snorky_dispatch_malformed(s, rc);
    }

    return rc;
}


static ngx_int_t
ngx_snorky_dispatch_route(ngx_snorky_session_t *s, ngx_str_t *text,
    ngx_snorky_service_t **service, ngx_snorky_json_node_t **message)
{
    ngx_int_t              rc;
    ngx_snorky_envelope_t  envelope;

    rc = ngx_snorky_envelope_parse(s->hub->json, text, s->limits->max_depth,
                                   &envelope);
    if (rc != NGX_OK) {
        return rc;
    }

    *service = ngx_snorky_service_find(s->registry, &envelope.service);
    *message = envelope.message;

    return *service ? NGX_OK : NGX_ABORT;
}


static ngx_int_t
ngx_snorky_dispatch_run(ngx_snorky_session_t *s, ngx_snorky_service_t *service,
    ngx_snorky_json_node_t *message)
{
    if (service->type->commands) {
        return ngx_snorky_call_run(s, service, message);
    }

    return service->type->message(service, s, &message->value);
}


static void
ngx_snorky_dispatch_malformed(ngx_snorky_session_t *s, ngx_int_t rc)
{
    s->hub->stats->malformed++;

    ngx_log_error(NGX_LOG_INFO, s->log, 0, "message discarded: %s",
                  (rc == NGX_ABORT) ? "unknown service" : "malformed");
}
