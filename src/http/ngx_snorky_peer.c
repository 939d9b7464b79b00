
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the bond of request and session.  Called by the transports when a
 * client comes, and by nginx to evaluate variables.
 */


#include "ngx_snorky_peer.h"
#include "ngx_snorky_inner.h"
#include "ngx_snorky_utf8.h"


typedef ngx_int_t (*ngx_snorky_peer_text_pt)(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);


static ngx_int_t ngx_snorky_peer_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_snorky_peer_transport_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_in_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_out_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_code_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_identity_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_client_text(ngx_pool_t *pool,
    ngx_snorky_peer_t *peer, ngx_http_variable_value_t *v);
static ngx_int_t ngx_snorky_peer_inner_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_snorky_peer_number(ngx_pool_t *pool,
    ngx_http_variable_value_t *v, ngx_uint_t number);
static ngx_int_t ngx_snorky_peer_worker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_snorky_peer_variables[] = {

    { ngx_string("snorky_transport"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_transport_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_messages_in"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_in_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_messages_out"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_out_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_close_code"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_code_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_identity"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_identity_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_client"), NULL, ngx_snorky_peer_variable,
      (uintptr_t) ngx_snorky_peer_client_text, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("snorky_service"), NULL, ngx_snorky_peer_inner_variable,
      NGX_SNORKY_INNER_SERVICE, 0, 0 },

    { ngx_string("snorky_command"), NULL, ngx_snorky_peer_inner_variable,
      NGX_SNORKY_INNER_COMMAND, 0, 0 },

    { ngx_string("snorky_channel"), NULL, ngx_snorky_peer_inner_variable,
      NGX_SNORKY_INNER_CHANNEL, 0, 0 },

    { ngx_string("snorky_worker"), NULL, ngx_snorky_peer_worker_variable,
      0, 0, 0 },

      ngx_http_null_variable
};


void
ngx_snorky_peer_init(ngx_snorky_peer_t *peer, ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_snorky_session_ops_t *ops,
    ngx_str_t *identity, const char *transport)
{
    ngx_snorky_peer_init_alone(peer, r, worker, ops, identity, transport);

    peer->request = r;
    peer->session.log = r->connection->log;

    ngx_http_set_ctx(r, peer, ngx_snorky_module);
}


void
ngx_snorky_peer_init_alone(ngx_snorky_peer_t *peer, ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_snorky_session_ops_t *ops,
    ngx_str_t *identity, const char *transport)
{
    ngx_snorky_session_t   *s;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    peer->transport = transport;

    s = &peer->session;

    s->hub = worker->hub;
    s->registry = conf->registry;
    s->ops = ops;
    s->limits = &conf->limits;
    s->identity = *identity;
}


ngx_int_t
ngx_snorky_peer_identity(ngx_http_request_t *r, ngx_str_t *identity)
{
    u_char                 *p;
    ngx_str_t               value;
    ngx_snorky_utf8_t       utf8;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    ngx_str_null(identity);

    if (conf->identity == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, conf->identity, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0) {
        return NGX_OK;
    }

    utf8 = NGX_SNORKY_UTF8_START;

    if (ngx_snorky_utf8_check(&utf8, value.data, value.data + value.len)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "\"snorky_identity\" is not UTF-8, "
                      "the client has no identity");
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, value.len + 2
                             + ngx_escape_json(NULL, value.data, value.len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    identity->data = p;

    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, value.data, value.len);
    *p++ = '"';

    identity->len = p - identity->data;

    return NGX_OK;
}


ngx_int_t
ngx_snorky_peer_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_snorky_peer_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_peer_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_snorky_peer_t  *peer;

    if (ngx_snorky_inner_text(r, NGX_SNORKY_INNER_CLIENT)) {

        /* a request of our own, for a client's sake */

        if (data == (uintptr_t) ngx_snorky_peer_identity_text) {
            return ngx_snorky_peer_inner_variable(r, v,
                                                  NGX_SNORKY_INNER_IDENTITY);
        }

        if (data == (uintptr_t) ngx_snorky_peer_client_text) {
            return ngx_snorky_peer_inner_variable(r, v,
                                                  NGX_SNORKY_INNER_CLIENT);
        }

        v->not_found = 1;
        return NGX_OK;
    }

    peer = ngx_http_get_module_ctx(r->main, ngx_snorky_module);

    if (peer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return ((ngx_snorky_peer_text_pt) data)(r->pool, peer, v);
}


static ngx_int_t
ngx_snorky_peer_transport_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    v->data = (u_char *) peer->transport;
    v->len = ngx_strlen(peer->transport);

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_peer_in_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    return ngx_snorky_peer_number(pool, v, peer->session.messages_in);
}


static ngx_int_t
ngx_snorky_peer_out_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    return ngx_snorky_peer_number(pool, v, peer->session.messages_out);
}


static ngx_int_t
ngx_snorky_peer_code_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    if (peer->close_code == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_snorky_peer_number(pool, v, peer->close_code);
}


/* without its quotes, escaped as it is in JSON */

static ngx_int_t
ngx_snorky_peer_identity_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    ngx_str_t  *identity;

    identity = ngx_snorky_session_identity(&peer->session);

    if (identity == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = identity->data + 1;
    v->len = identity->len - 2;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_peer_client_text(ngx_pool_t *pool, ngx_snorky_peer_t *peer,
    ngx_http_variable_value_t *v)
{
    if (peer->session.id == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(pool, NGX_SNORKY_CLIENT_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_snorky_session_client(&peer->session, v->data) - v->data;

    return NGX_OK;
}


/* of what is asked: only in requests of our own */

static ngx_int_t
ngx_snorky_peer_inner_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *text;

    text = ngx_snorky_inner_text(r, (ngx_snorky_inner_e) data);

    if (text == NULL || text->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    v->data = text->data;
    v->len = text->len;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_peer_number(ngx_pool_t *pool, ngx_http_variable_value_t *v,
    ngx_uint_t number)
{
    v->data = ngx_pnalloc(pool, NGX_INT_T_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(v->data, "%ui", number) - v->data;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_peer_worker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return ngx_snorky_peer_number(r->pool, v, (ngx_uint_t) ngx_process_slot);
}
