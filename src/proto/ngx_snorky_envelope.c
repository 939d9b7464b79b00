
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the names and the shape of what is on the wire; called by the core
 * for every message that comes and every answer that goes.
 */


#include "ngx_snorky_envelope.h"


static ngx_str_t  ngx_snorky_envelope_name_service = ngx_string("service");
static ngx_str_t  ngx_snorky_envelope_name_message = ngx_string("message");
static ngx_str_t  ngx_snorky_envelope_name_command = ngx_string("command");
static ngx_str_t  ngx_snorky_envelope_name_params = ngx_string("params");
static ngx_str_t  ngx_snorky_envelope_name_call_id = ngx_string("callId");


ngx_int_t
ngx_snorky_envelope_parse(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_snorky_envelope_t *envelope)
{
    ngx_int_t                rc;
    ngx_snorky_json_node_t  *root;

    rc = ngx_snorky_json_parse(json, text, max_depth,
                               NGX_SNORKY_ENVELOPE_KEEP, &root);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_snorky_envelope_read(json, root, envelope);
}


ngx_int_t
ngx_snorky_envelope_read(ngx_snorky_json_t *json, ngx_snorky_json_node_t *node,
    ngx_snorky_envelope_t *envelope)
{
    ngx_snorky_json_node_t  *service;

    service = ngx_snorky_json_member(json, node,
                                     &ngx_snorky_envelope_name_service);

    if (service == NULL || service->value.type != NGX_SNORKY_JSON_STRING) {
        return NGX_DECLINED;
    }

    envelope->service = service->value;
    envelope->message = ngx_snorky_json_member(json, node,
                                            &ngx_snorky_envelope_name_message);

    return envelope->message ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_snorky_envelope_parse_rpc(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *message, ngx_snorky_rpc_t *rpc)
{
    ngx_snorky_json_node_t  *command, *call_id;

    command = ngx_snorky_json_member(json, message,
                                     &ngx_snorky_envelope_name_command);
    rpc->params = ngx_snorky_json_member(json, message,
                                         &ngx_snorky_envelope_name_params);

    if (command == NULL || rpc->params == NULL) {
        return NGX_DECLINED;
    }

    rpc->command = command->value;
    ngx_str_null(&rpc->call_id);

    call_id = ngx_snorky_json_member(json, message,
                                     &ngx_snorky_envelope_name_call_id);

    if (call_id && call_id->value.type != NGX_SNORKY_JSON_NULL) {
        rpc->call_id = call_id->value.text;
    }

    return NGX_OK;
}


u_char *
ngx_snorky_envelope_head(ngx_pool_t *pool, ngx_str_t *name, ngx_str_t *head)
{
    u_char  *p;
    size_t   escape;

    escape = ngx_escape_json(NULL, name->data, name->len);

    head->len = sizeof(NGX_SNORKY_ENVELOPE_BEFORE) - 1
                + name->len + escape
                + sizeof(NGX_SNORKY_ENVELOPE_AFTER) - 1;

    head->data = ngx_pnalloc(pool, head->len);
    if (head->data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(head->data, NGX_SNORKY_ENVELOPE_BEFORE,
                   sizeof(NGX_SNORKY_ENVELOPE_BEFORE) - 1);

    p = (u_char *) ngx_escape_json(p, name->data, name->len);

    ngx_memcpy(p, NGX_SNORKY_ENVELOPE_AFTER,
               sizeof(NGX_SNORKY_ENVELOPE_AFTER) - 1);

    return head->data;
}


void
ngx_snorky_envelope_escaped(ngx_str_t *head, ngx_str_t *name)
{
    name->data = head->data + sizeof(NGX_SNORKY_ENVELOPE_BEFORE) - 1;
    name->len = head->len - (sizeof(NGX_SNORKY_ENVELOPE_BEFORE) - 1)
                - (sizeof(NGX_SNORKY_ENVELOPE_AFTER) - 1);
}


ngx_uint_t
ngx_snorky_envelope_response(ngx_str_t *parts, ngx_str_t *call_id,
    ngx_str_t *data)
{
    ngx_uint_t  n;

    n = 0;

    if (call_id->len) {
        ngx_str_set(&parts[n], "{\"type\":\"response\",\"callId\":");
        n++;

        parts[n++] = *call_id;

        ngx_str_set(&parts[n], ",\"data\":");
        n++;

    } else {
        ngx_str_set(&parts[n], "{\"type\":\"response\",\"data\":");
        n++;
    }

    parts[n++] = *data;

    ngx_str_set(&parts[n], "}");
    n++;

    return n;
}


ngx_uint_t
ngx_snorky_envelope_error(ngx_str_t *parts, ngx_str_t *call_id,
    ngx_str_t *text)
{
    ngx_str_set(&parts[0], "{\"type\":\"error\",\"callId\":");

    if (call_id->len) {
        parts[1] = *call_id;

    } else {
        ngx_str_set(&parts[1], "null");
    }

    ngx_str_set(&parts[2], ",\"message\":\"");
    parts[3] = *text;
    ngx_str_set(&parts[4], "\"}");

    return 5;
}
