
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the RPC rules: which command, whether its parameters are right, and
 * that every call gets one answer.  Called by the dispatch.
 */


#include "ngx_snorky_call.h"
#include "ngx_snorky_session.h"


static ngx_snorky_command_t *ngx_snorky_call_command(
    ngx_snorky_service_t *service, ngx_snorky_value_t *name);
static ngx_int_t ngx_snorky_call_params(ngx_snorky_json_t *json,
    ngx_snorky_call_t *call, ngx_snorky_command_t *command,
    ngx_snorky_json_node_t *params);


ngx_int_t
ngx_snorky_call_run(ngx_snorky_session_t *s, ngx_snorky_service_t *service,
    ngx_snorky_json_node_t *message)
{
    ngx_int_t              rc;
    ngx_str_t              null;
    ngx_snorky_rpc_t       rpc;
    ngx_snorky_call_t      call;
    ngx_snorky_command_t  *command;

    if (ngx_snorky_envelope_parse_rpc(s->hub->json, message, &rpc)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    call.session = s;
    call.service = service;
    call.id = rpc.call_id;

    command = ngx_snorky_call_command(service, &rpc.command);

    if (command == NULL) {
        (void) ngx_snorky_call_error(&call, "Unknown command");
        return NGX_OK;
    }

    if (ngx_snorky_call_params(s->hub->json, &call, command, rpc.params)
        != NGX_OK)
    {
        (void) ngx_snorky_call_error(&call, "Invalid params");
        return NGX_OK;
    }

    call.command = command;

    rc = command->handler(&call);

    switch (rc) {

    case NGX_OK:
        ngx_str_set(&null, "null");
        (void) ngx_snorky_call_reply(&call, &null);
        return NGX_OK;

    case NGX_DONE:
        return NGX_OK;

    case NGX_AGAIN:
        return NGX_AGAIN;

    default:
        ngx_log_error(NGX_LOG_ERR, s->log, 0,
                      "a command of service \"%V\" failed", &service->name);

        (void) ngx_snorky_call_error(&call, "Internal error");
        return NGX_OK;
    }
}


static ngx_snorky_command_t *
ngx_snorky_call_command(ngx_snorky_service_t *service,
    ngx_snorky_value_t *name)
{
    ngx_snorky_command_t  *command;

    if (name->type != NGX_SNORKY_JSON_STRING) {
        return NULL;
    }

    for (command = service->type->commands; command->name.len; command++) {
        if (ngx_snorky_json_string_is(name, &command->name)) {
            return command;
        }
    }

    return NULL;
}


/* every parameter is there, and there is no other; of duplicates the last */

static ngx_int_t
ngx_snorky_call_params(ngx_snorky_json_t *json, ngx_snorky_call_t *call,
    ngx_snorky_command_t *command, ngx_snorky_json_node_t *params)
{
    ngx_uint_t               i, found;
    ngx_snorky_json_node_t  *name, *value;

    if (params->value.type != NGX_SNORKY_JSON_OBJECT) {
        return NGX_DECLINED;
    }

    found = 0;

    for (name = ngx_snorky_json_child(json, params);
         name;
         name = ngx_snorky_json_next(json, value))
    {
        value = ngx_snorky_json_next(json, name);

        for (i = 0; command->params[i].len; i++) {
            if (ngx_snorky_json_string_is(&name->value, &command->params[i])) {
                break;
            }
        }

        if (command->params[i].len == 0) {
            return NGX_DECLINED;
        }

        call->params[i] = value->value;
        found |= (ngx_uint_t) 1 << i;
    }

    for (i = 0; command->params[i].len; i++) {
        if (!(found & ((ngx_uint_t) 1 << i))) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_snorky_service_t *
ngx_snorky_call_service(ngx_snorky_call_t *call)
{
    return call->service;
}


ngx_snorky_session_t *
ngx_snorky_call_session(ngx_snorky_call_t *call)
{
    return call->session;
}


ngx_snorky_value_t *
ngx_snorky_call_param(ngx_snorky_call_t *call, ngx_uint_t n)
{
    return &call->params[n];
}


ngx_pool_t *
ngx_snorky_call_pool(ngx_snorky_call_t *call)
{
    return call->session->hub->pool;
}


ngx_int_t
ngx_snorky_call_again(ngx_snorky_call_t *call)
{
    if (!call->session->overdue) {
        return NGX_AGAIN;
    }

    return ngx_snorky_call_overloaded(call);
}


ngx_int_t
ngx_snorky_call_overloaded(ngx_snorky_call_t *call)
{
    call->session->overloaded = 1;
    call->session->hub->stats->overloaded++;

    return ngx_snorky_call_error(call, "Overloaded");
}


ngx_int_t
ngx_snorky_call_reply(ngx_snorky_call_t *call, ngx_str_t *data)
{
    ngx_str_t   parts[NGX_SNORKY_ENVELOPE_PARTS];
    ngx_uint_t  n;

    n = ngx_snorky_envelope_response(parts, &call->id, data);

    if (ngx_snorky_session_send_parts(call->session, call->service, parts, n,
                                      1)
        != NGX_OK)
    {
        ngx_snorky_session_close(call->session, 1011, "out of memory");
    }

    return NGX_DONE;
}


ngx_int_t
ngx_snorky_call_error(ngx_snorky_call_t *call, const char *text)
{
    ngx_str_t              message, parts[NGX_SNORKY_ENVELOPE_PARTS];
    ngx_uint_t             n;
    ngx_snorky_session_t  *s;

    s = call->session;

    message.data = (u_char *) text;
    message.len = ngx_strlen(text);

    s->hub->stats->errors++;

    ngx_log_error(NGX_LOG_INFO, s->log, 0,
                  "call of service \"%V\" failed: %V",
                  &call->service->name, &message);

    n = ngx_snorky_envelope_error(parts, &call->id, &message);

    if (ngx_snorky_session_send_parts(s, call->service, parts, n, 1)
        != NGX_OK)
    {
        ngx_snorky_session_close(s, 1011, "out of memory");
    }

    return NGX_DONE;
}


/* "Channel too long": the parameter is told by its name */

ngx_int_t
ngx_snorky_call_too_long(ngx_snorky_call_t *call, ngx_snorky_value_t *key)
{
    u_char     *p, text[sizeof(" too long") + 64];
    ngx_str_t  *name;

    if (key < call->params || key >= call->params + NGX_SNORKY_CALL_PARAMS) {
        return ngx_snorky_call_error(call, "Key too long");
    }

    name = &call->command->params[key - call->params];

    p = ngx_snprintf(text, sizeof(text) - 1, "%*s too long",
                     ngx_min(name->len, 64), name->data);
    *p = '\0';

    text[0] = ngx_toupper(text[0]);

    return ngx_snorky_call_error(call, (char *) text);
}


ngx_int_t
ngx_snorky_call_key(ngx_snorky_call_t *call, ngx_snorky_value_t *param,
    ngx_str_t *key)
{
    u_char                *p;
    ngx_snorky_session_t  *s;

    s = call->session;

    if (param->text.len > s->limits->max_channel_size) {
        return ngx_snorky_call_too_long(call, param);
    }

    if (ngx_snorky_json_key(s->hub->json, &param->text,
                            NGX_SNORKY_JSON_ANY_DEPTH, key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* it may lie in the parser's scratch */

    p = ngx_pnalloc(s->hub->pool, key->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, key->data, key->len);
    key->data = p;

    return NGX_OK;
}


ngx_int_t
ngx_snorky_call_concat(ngx_snorky_call_t *call, ngx_str_t *parts,
    ngx_uint_t n, ngx_str_t *text)
{
    u_char      *p;
    ngx_uint_t   i;

    text->len = 0;

    for (i = 0; i < n; i++) {
        text->len += parts[i].len;
    }

    p = ngx_pnalloc(ngx_snorky_call_pool(call), text->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_call_reply_list(ngx_snorky_call_t *call, const char *before,
    ngx_snorky_listed_t *listed, ngx_uint_t n, const char *after)
{
    ngx_str_t   *parts, *part, data;
    ngx_uint_t   i;

    parts = ngx_palloc(ngx_snorky_call_pool(call),
                       (2 * n + 2) * sizeof(ngx_str_t));
    if (parts == NULL) {
        return NGX_ERROR;
    }

    part = parts;

    part->data = (u_char *) before;
    part->len = ngx_strlen(before);
    part++;

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_str_set(part, ",");
            part++;
        }

        *part++ = listed[i].value;
    }

    part->data = (u_char *) after;
    part->len = ngx_strlen(after);
    part++;

    if (ngx_snorky_call_concat(call, parts, part - parts, &data) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_call_reply(call, &data);
}
