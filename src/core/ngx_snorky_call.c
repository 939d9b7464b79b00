
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the RPC rules: which command, whether its parameters are right, and
 * that every call gets one answer.  Called by the dispatch.
 */


#include "ngx_snorky_call.h"
#include "ngx_snorky_later.h"
#include "ngx_snorky_policy.h"
#include "ngx_snorky_session.h"


static ngx_int_t ngx_snorky_call_find(ngx_snorky_call_t *call,
    ngx_snorky_value_t *name);
static ngx_int_t ngx_snorky_call_decode(ngx_snorky_call_t *call,
    ngx_snorky_value_t *name);
static ngx_int_t ngx_snorky_call_take(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);
static ngx_int_t ngx_snorky_call_handle(ngx_snorky_call_t *call);
static void ngx_snorky_call_answer(ngx_snorky_call_t *call, ngx_str_t *parts,
    ngx_uint_t n);


ngx_int_t
ngx_snorky_call_run(ngx_snorky_session_t *s, ngx_snorky_service_t *service,
    ngx_snorky_json_node_t *message)
{
    ngx_int_t          rc;
    ngx_snorky_rpc_t   rpc;
    ngx_snorky_call_t  call;

    if (ngx_snorky_envelope_parse_rpc(s->hub->json, message, &rpc)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    call.session = s;
    call.service = service;
    call.later = NULL;
    call.id = rpc.call_id;

    rc = ngx_snorky_call_find(&call, &rpc.command);

    if (rc == NGX_OK) {
        rc = ngx_snorky_call_take(&call, rpc.params);
    }

    if (rc == NGX_OK && service->policies) {
        rc = ngx_snorky_policy_check(&call, rpc.params);
    }

    if (rc == NGX_OK) {
        rc = ngx_snorky_call_handle(&call);
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, s->log, 0,
                      "a command of service \"%V\" failed", &service->name);

        rc = ngx_snorky_call_error(&call, "Internal error");
    }

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_snorky_call_find(ngx_snorky_call_t *call, ngx_snorky_value_t *name)
{
    ngx_snorky_command_t  *command;

    call->command = NULL;

    if (name->type != NGX_SNORKY_JSON_STRING) {
        return ngx_snorky_call_error(call, "Unknown command");
    }

    command = call->service->type->commands;

    if (command == NULL) {
        return ngx_snorky_call_decode(call, name);
    }

    for ( /* void */ ; command->name.len; command++) {

        if (ngx_snorky_json_string_is(name, &command->name)) {
            call->command = command;
            call->name = command->name;
            return NGX_OK;
        }
    }

    return ngx_snorky_call_error(call, "Unknown command");
}


static ngx_int_t
ngx_snorky_call_decode(ngx_snorky_call_t *call, ngx_snorky_value_t *name)
{
    if (name->text.len > NGX_SNORKY_CALL_MAX_NAME + 2) {
        return ngx_snorky_call_error(call, "Unknown command");
    }

    call->name.data = ngx_pnalloc(call->session->hub->pool, name->text.len);
    if (call->name.data == NULL) {
        return NGX_ERROR;
    }

    call->name.len = ngx_snorky_json_string(name, call->name.data)
                     - call->name.data;

    return NGX_OK;
}


/* every parameter is there, and there is no other; of duplicates the last */

static ngx_int_t
ngx_snorky_call_take(ngx_snorky_call_t *call, ngx_snorky_json_node_t *params)
{
    ngx_int_t                i;
    ngx_str_t               *param;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *name, *value;

    if (params->value.type != NGX_SNORKY_JSON_OBJECT) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    call->object = params->value.text;

    if (call->command == NULL) {
        return NGX_OK;
    }

    json = call->session->hub->json;
    param = call->command->params;

    for (i = 0; param[i].len; i++) {
        ngx_str_null(&call->params[i].text);
    }

    for (name = ngx_snorky_json_child(json, params);
         name;
         name = ngx_snorky_json_next(json, value))
    {
        value = ngx_snorky_json_next(json, name);

        i = ngx_snorky_call_place(call->command, &name->value);

        if (i == NGX_DECLINED) {
            return ngx_snorky_call_error(call, "Invalid params");
        }

        call->params[i] = value->value;
    }

    for (i = 0; param[i].len; i++) {
        if (call->params[i].text.len == 0 && param[i].data[0] != '?') {
            return ngx_snorky_call_error(call, "Invalid params");
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_call_place(ngx_snorky_command_t *command, ngx_snorky_value_t *name)
{
    ngx_int_t  i;
    ngx_str_t  param;

    for (i = 0; command->params[i].len; i++) {
        param = ngx_snorky_call_param_name(command, i);

        if (ngx_snorky_json_string_is(name, &param)) {
            return i;
        }
    }

    return NGX_DECLINED;
}


ngx_str_t
ngx_snorky_call_param_name(ngx_snorky_command_t *command, ngx_uint_t n)
{
    ngx_str_t  name;

    name = command->params[n];

    if (name.data[0] == '?') {
        name.data++;
        name.len--;
    }

    return name;
}


static ngx_int_t
ngx_snorky_call_handle(ngx_snorky_call_t *call)
{
    ngx_int_t  rc;
    ngx_str_t  null;

    if (call->command) {
        rc = call->command->handler(call);

    } else {
        rc = call->service->type->call(call);
    }

    if (rc == NGX_OK) {
        ngx_str_set(&null, "null");
        return ngx_snorky_call_reply(call, &null);
    }

    return rc;
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


ngx_str_t *
ngx_snorky_call_name(ngx_snorky_call_t *call)
{
    return &call->name;
}


ngx_str_t *
ngx_snorky_call_params(ngx_snorky_call_t *call)
{
    return &call->object;
}


ngx_str_t *
ngx_snorky_call_id(ngx_snorky_call_t *call)
{
    return &call->id;
}


ngx_int_t
ngx_snorky_call_escaped_name(ngx_snorky_call_t *call, ngx_str_t *escaped)
{
    u_char  *p;

    p = ngx_pnalloc(call->session->hub->pool,
                    call->name.len
                    + ngx_escape_json(NULL, call->name.data, call->name.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    escaped->data = p;
    escaped->len = (u_char *) ngx_escape_json(p, call->name.data,
                                              call->name.len)
                   - p;

    return NGX_OK;
}


ngx_pool_t *
ngx_snorky_call_pool(ngx_snorky_call_t *call)
{
    if (call->later) {
        ngx_snorky_hub_clean(call->session->hub);
    }

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

    ngx_snorky_call_answer(call, parts, n);

    return NGX_DONE;
}


ngx_int_t
ngx_snorky_call_error(ngx_snorky_call_t *call, const char *text)
{
    ngx_str_t  message;

    message.data = (u_char *) text;
    message.len = ngx_strlen(text);

    return ngx_snorky_call_fail(call, &message);
}


ngx_int_t
ngx_snorky_call_fail(ngx_snorky_call_t *call, ngx_str_t *text)
{
    ngx_str_t              parts[NGX_SNORKY_ENVELOPE_PARTS];
    ngx_uint_t             n;
    ngx_snorky_session_t  *s;

    s = call->session;

    s->hub->stats->errors++;

    ngx_log_error(NGX_LOG_INFO, s->log, 0,
                  "call of service \"%V\" failed: %V",
                  &call->service->name, text);

    n = ngx_snorky_envelope_error(parts, &call->id, text);

    ngx_snorky_call_answer(call, parts, n);

    return NGX_DONE;
}


/* a deferred call has its end here */

static void
ngx_snorky_call_answer(ngx_snorky_call_t *call, ngx_str_t *parts,
    ngx_uint_t n)
{
    if (call->later && ngx_snorky_later_take(call->later) != NGX_OK) {
        return;
    }

    if (ngx_snorky_session_send_parts(call->session, call->service, parts, n,
                                      1)
        != NGX_OK)
    {
        ngx_snorky_session_close(call->session, 1011, "out of memory");
    }

    if (call->later) {
        ngx_snorky_later_end(call->later);
    }
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

    if (call->later) {
        ngx_snorky_hub_clean(s->hub);
    }

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

    /* an empty part may come without data */

    for (i = 0; i < n; i++) {
        if (parts[i].len) {
            p = ngx_cpymem(p, parts[i].data, parts[i].len);
        }
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
