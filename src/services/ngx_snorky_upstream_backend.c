
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * upstream_backend: by which the application speaks to clients of an upstream
 * service, and closes them, unasked (services: upstream_backend).
 */


#include "ngx_snorky_upstream.h"


/* places of the parameters in the tables below */

#define NGX_SNORKY_UPSTREAM_BACKEND_TO       0
#define NGX_SNORKY_UPSTREAM_BACKEND_MESSAGE  1
#define NGX_SNORKY_UPSTREAM_BACKEND_CODE     1
#define NGX_SNORKY_UPSTREAM_BACKEND_REASON   2

/* "policy violation", RFC 6455, 7.4.1 */
#define NGX_SNORKY_UPSTREAM_BACKEND_DEFAULT  1008

/* bytes; what a close frame has room for, RFC 6455, 5.5 */
#define NGX_SNORKY_UPSTREAM_BACKEND_LONGEST  123


typedef struct {
    ngx_snorky_service_t      *frontend;
} ngx_snorky_upstream_backend_conf_t;


static ngx_int_t ngx_snorky_upstream_backend_send(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_upstream_backend_disconnect(
    ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_upstream_backend_to(ngx_snorky_call_t *call,
    ngx_snorky_letter_t *letter, ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_backend_client(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_backend_identity(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_backend_code(ngx_snorky_value_t *value,
    ngx_uint_t *code);
static ngx_int_t ngx_snorky_upstream_backend_reason(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *reason);
static char *ngx_snorky_upstream_backend_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);


static ngx_str_t  ngx_snorky_upstream_backend_send_params[] = {
    ngx_string("to"),
    ngx_string("message"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_upstream_backend_disconnect_params[] = {
    ngx_string("to"),
    ngx_string("?code"),
    ngx_string("?reason"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_upstream_backend_commands[] = {

    { ngx_string("send"),
      ngx_snorky_upstream_backend_send_params,
      ngx_snorky_upstream_backend_send },

    { ngx_string("disconnect"),
      ngx_snorky_upstream_backend_disconnect_params,
      ngx_snorky_upstream_backend_disconnect },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_upstream_backend_options[] = {

    { ngx_string("frontend"),
      ngx_snorky_option_service,
      offsetof(ngx_snorky_upstream_backend_conf_t, frontend),
      &ngx_snorky_upstream },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_upstream_backend = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("upstream_backend"),
    .commands  = ngx_snorky_upstream_backend_commands,
    .options   = ngx_snorky_upstream_backend_options,
    .conf_size = sizeof(ngx_snorky_upstream_backend_conf_t),
    .init      = ngx_snorky_upstream_backend_init
};


static ngx_int_t
ngx_snorky_upstream_backend_send(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_snorky_letter_t   letter;

    rc = ngx_snorky_upstream_backend_to(call, &letter, &text);
    if (rc != NGX_OK) {
        return rc;
    }

    letter.parts = &ngx_snorky_call_param(call,
                                   NGX_SNORKY_UPSTREAM_BACKEND_MESSAGE)->text;
    letter.n = 1;

    return ngx_snorky_reach_send(call, &letter);
}


static ngx_int_t
ngx_snorky_upstream_backend_disconnect(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_snorky_letter_t   letter;

    rc = ngx_snorky_upstream_backend_to(call, &letter, &text);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_upstream_backend_code(
             ngx_snorky_call_param(call, NGX_SNORKY_UPSTREAM_BACKEND_CODE),
             &letter.code);

    if (rc == NGX_OK) {
        rc = ngx_snorky_upstream_backend_reason(call,
             ngx_snorky_call_param(call, NGX_SNORKY_UPSTREAM_BACKEND_REASON),
             &letter.reason);
    }

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    return (rc == NGX_OK) ? ngx_snorky_reach_send(call, &letter) : rc;
}


/* {"client": NAME} or {"identity": I}; the text is what they are named by */

static ngx_int_t
ngx_snorky_upstream_backend_to(ngx_snorky_call_t *call,
    ngx_snorky_letter_t *letter, ngx_str_t *text)
{
    ngx_str_t                            client, identity;
    ngx_snorky_json_t                   *json;
    ngx_snorky_value_t                  *to, value;
    ngx_snorky_json_node_t              *node;
    ngx_snorky_upstream_backend_conf_t  *conf;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    ngx_memzero(letter, sizeof(ngx_snorky_letter_t));
    letter->service = conf->frontend;

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));
    to = ngx_snorky_call_param(call, NGX_SNORKY_UPSTREAM_BACKEND_TO);

    if (ngx_snorky_json_parse(json, &to->text, NGX_SNORKY_JSON_ANY_DEPTH, 1,
                              &node)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (node->value.type != NGX_SNORKY_JSON_OBJECT) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    /* a name and a value, and nothing else */

    node = ngx_snorky_json_child(json, node);

    if (node == NULL) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    ngx_str_set(&client, "client");
    ngx_str_set(&identity, "identity");

    if (ngx_snorky_json_string_is(&node->value, &client)) {
        letter->client = text;

    } else if (ngx_snorky_json_string_is(&node->value, &identity)) {
        letter->identity = text;

    } else {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    node = ngx_snorky_json_next(json, node);
    value = node->value;

    if (value.type != NGX_SNORKY_JSON_STRING
        || ngx_snorky_json_next(json, node))
    {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    if (letter->client) {
        return ngx_snorky_upstream_backend_client(call, &value, text);
    }

    return ngx_snorky_upstream_backend_identity(call, &value, text);
}


static ngx_int_t
ngx_snorky_upstream_backend_client(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *text)
{
    text->data = ngx_pnalloc(ngx_snorky_call_pool(call), value->text.len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_snorky_json_string(value, text->data) - text->data;

    return NGX_OK;
}


/* a client's own is canonical */

static ngx_int_t
ngx_snorky_upstream_backend_identity(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *text)
{
    ngx_str_t  key;

    if (ngx_snorky_json_key(
            ngx_snorky_service_json(ngx_snorky_call_service(call)),
            &value->text, NGX_SNORKY_JSON_ANY_DEPTH, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    text->data = ngx_pstrdup(ngx_snorky_call_pool(call), &key);
    text->len = key.len;

    return text->data ? NGX_OK : NGX_ERROR;
}


/* those that an application may use, RFC 6455, 7.4.2 */

static ngx_int_t
ngx_snorky_upstream_backend_code(ngx_snorky_value_t *value, ngx_uint_t *code)
{
    ngx_int_t  n;

    if (value->text.len == 0) {
        *code = NGX_SNORKY_UPSTREAM_BACKEND_DEFAULT;
        return NGX_OK;
    }

    if (value->type != NGX_SNORKY_JSON_NUMBER) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(value->text.data, value->text.len);

    if (n != 1000 && n != 1008 && (n < 3000 || n > 4999)) {
        return NGX_DECLINED;
    }

    *code = n;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_upstream_backend_reason(ngx_snorky_call_t *call,
    ngx_snorky_value_t *value, ngx_str_t *reason)
{
    if (value->text.len == 0) {
        return NGX_OK;
    }

    if (value->type != NGX_SNORKY_JSON_STRING) {
        return NGX_DECLINED;
    }

    reason->data = ngx_pnalloc(ngx_snorky_call_pool(call), value->text.len);
    if (reason->data == NULL) {
        return NGX_ERROR;
    }

    reason->len = ngx_snorky_json_string(value, reason->data) - reason->data;

    if (reason->len > NGX_SNORKY_UPSTREAM_BACKEND_LONGEST
        || ngx_strlchr(reason->data, reason->data + reason->len, '\0'))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static char *
ngx_snorky_upstream_backend_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service)
{
    ngx_snorky_upstream_backend_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->frontend == NULL) {
        return "no \"frontend=\"";
    }

    ngx_snorky_reach_want(conf->frontend);

    return NGX_CONF_OK;
}
