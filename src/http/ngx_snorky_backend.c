
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns a backend's request from its key to its response.  Called by nginx,
 * and by the core when a call that waited can go on.
 */


#include "ngx_snorky_backend.h"
#include "ngx_snorky_body.h"
#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky.h"
#include "ngx_snorky_peer.h"


typedef struct {
    ngx_snorky_peer_t           peer;       /* first */
    ngx_snorky_loc_conf_t      *conf;
    ngx_array_t                 routes;     /* of ngx_snorky_route_t */
    ngx_uint_t                  parsed;     /* as the hub's, of the routes */
    ngx_array_t                 replies;    /* of ngx_snorky_msg_t * */
    ngx_uint_t                  next;       /* the one to dispatch */
    ngx_event_t                 more;       /* in the next round */
    unsigned                    batch:1;    /* they came in an array */
    unsigned                    answered:1; /* the one at "next" */
    unsigned                    deferred:1; /* ... is answered later */
} ngx_snorky_backend_t;


static ngx_int_t ngx_snorky_backend_check_key(ngx_http_request_t *r,
    ngx_snorky_loc_conf_t *conf);
static ngx_uint_t ngx_snorky_backend_equal(ngx_str_t *one, ngx_str_t *two);
static void ngx_snorky_backend_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_backend_open(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_backend_split(ngx_snorky_backend_t *backend,
    ngx_str_t *body);
static ngx_uint_t ngx_snorky_backend_batch(ngx_str_t *body);
static ngx_int_t ngx_snorky_backend_route(ngx_snorky_backend_t *backend,
    ngx_snorky_json_node_t *node);
static ngx_int_t ngx_snorky_backend_run(ngx_snorky_backend_t *backend);
static ngx_int_t ngx_snorky_backend_respond(ngx_snorky_backend_t *backend);
static ngx_chain_t *ngx_snorky_backend_response(ngx_snorky_backend_t *backend,
    off_t *length);
static void ngx_snorky_backend_send(ngx_snorky_session_t *s,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_backend_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason);
static ngx_connection_t *ngx_snorky_backend_connection(
    ngx_snorky_session_t *s);
static void ngx_snorky_backend_resume(ngx_snorky_session_t *s);
static void ngx_snorky_backend_more_handler(ngx_event_t *ev);
static void ngx_snorky_backend_cleanup(void *data);


static ngx_snorky_session_ops_t  ngx_snorky_backend_ops = {
    ngx_snorky_backend_send,
    ngx_snorky_backend_close,
    ngx_snorky_backend_resume,
    NULL,
    ngx_snorky_backend_connection
};


ngx_int_t
ngx_snorky_backend_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_str_t               allow;
    ngx_snorky_worker_t    *worker;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (r->method != NGX_HTTP_POST) {
        ngx_str_set(&allow, "POST");

        if (ngx_snorky_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_snorky_backend_check_key(r, conf);
    if (rc != NGX_OK) {
        return rc;
    }

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    worker->hub->stats->backend_requests++;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_snorky_backend_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* every key is compared, so that time tells nothing of which one is near */

static ngx_int_t
ngx_snorky_backend_check_key(ngx_http_request_t *r,
    ngx_snorky_loc_conf_t *conf)
{
    ngx_str_t                  key;
    ngx_uint_t                 i, n, equal;
    ngx_table_elt_t           *header;
    ngx_http_complex_value_t  *cv;

    header = ngx_snorky_header_find(r, "X-Backend-Key", &n);

    if (header == NULL) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "backend sent no \"X-Backend-Key\"");
        return NGX_HTTP_UNAUTHORIZED;
    }

    cv = conf->backend_keys->elts;
    equal = 0;

    for (i = 0; i < conf->backend_keys->nelts; i++) {

        if (ngx_http_complex_value(r, &cv[i], &key) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        equal |= ngx_snorky_backend_equal(&header->value, &key);
    }

    if (!equal) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "backend sent a wrong \"X-Backend-Key\"");
        return NGX_HTTP_UNAUTHORIZED;
    }

    return NGX_OK;
}


/*
 * Takes the same time for every key of one length.  An empty key, for instance
 * of a variable without value, equals nothing.
 */

static ngx_uint_t
ngx_snorky_backend_equal(ngx_str_t *one, ngx_str_t *two)
{
    size_t           i;
    volatile u_char  differ;

    if (one->len != two->len || one->len == 0) {
        return 0;
    }

    differ = 0;

    for (i = 0; i < one->len; i++) {
        differ |= one->data[i] ^ two->data[i];
    }

    return differ == 0;
}


static void
ngx_snorky_backend_body_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_snorky_backend_open(r);

    if (rc == NGX_BUSY) {

        /* until we can go on, we only look if the client leaves */

        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;
        return;
    }

    ngx_http_finalize_request(r, rc);
}


static ngx_int_t
ngx_snorky_backend_open(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_str_t              body, identity;
    ngx_http_cleanup_t    *cln;
    ngx_snorky_worker_t   *worker;
    ngx_snorky_backend_t  *backend;

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    backend = ngx_pcalloc(r->pool, sizeof(ngx_snorky_backend_t));
    if (backend == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    backend->conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL
        || ngx_array_init(&backend->routes, r->pool, 1,
                          sizeof(ngx_snorky_route_t))
           != NGX_OK
        || ngx_array_init(&backend->replies, r->pool, 1,
                          sizeof(ngx_snorky_msg_t *))
           != NGX_OK
        || ngx_snorky_peer_identity(r, &identity) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_snorky_peer_init(&backend->peer, r, worker, &ngx_snorky_backend_ops,
                         &identity, "backend");

    backend->more.handler = ngx_snorky_backend_more_handler;
    backend->more.data = backend;
    backend->more.log = r->connection->log;

    ngx_snorky_session_open(&backend->peer.session, 0);

    cln->handler = ngx_snorky_backend_cleanup;
    cln->data = backend;

    switch (ngx_snorky_body_text(r, &body)) {

    case NGX_OK:
        rc = ngx_snorky_backend_split(backend, &body);
        break;

    case NGX_DECLINED:
        rc = NGX_HTTP_BAD_REQUEST;
        break;

    default: /* NGX_ERROR */
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        break;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_snorky_backend_run(backend);
}


/*
 * The envelopes of an array, or the one envelope that the body is.  None is
 * executed when one of them is too large or can't be routed.
 */

static ngx_int_t
ngx_snorky_backend_split(ngx_snorky_backend_t *backend, ngx_str_t *body)
{
    ngx_int_t                rc;
    ngx_snorky_json_t       *json;
    ngx_snorky_session_t    *s;
    ngx_snorky_json_node_t  *root, *element;

    s = &backend->peer.session;
    json = s->hub->json;

    backend->batch = ngx_snorky_backend_batch(body);

    /* an array adds one to the depth that an envelope may have */

    rc = ngx_snorky_dispatch_parse(s, body, backend->batch, &root);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_HTTP_BAD_REQUEST
                                    : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    backend->parsed = s->hub->parsed;

    if (!backend->batch) {
        return ngx_snorky_backend_route(backend, root);
    }

    for (element = ngx_snorky_json_child(json, root);
         element;
         element = ngx_snorky_json_next(json, element))
    {
        rc = ngx_snorky_backend_route(backend, element);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* whether it is an array, if it is JSON at all */

static ngx_uint_t
ngx_snorky_backend_batch(ngx_str_t *body)
{
    u_char  *p, *last;

    last = body->data + body->len;

    for (p = body->data; p < last; p++) {

        switch (*p) {
        case ' ': case '\t': case '\n': case '\r':
            continue;
        }

        return *p == '[';
    }

    return 0;
}


static ngx_int_t
ngx_snorky_backend_route(ngx_snorky_backend_t *backend,
    ngx_snorky_json_node_t *node)
{
    ngx_snorky_route_t  *route;

    if (node->value.text.len > backend->conf->max_message_size) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    route = ngx_array_push(&backend->routes);
    if (route == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (ngx_snorky_dispatch_route(&backend->peer.session, node, route)) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_HTTP_BAD_REQUEST;

    case NGX_ABORT:
        return NGX_HTTP_NOT_FOUND;

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/*
 * NGX_BUSY while a call waits for room in the log or for its answer, or the
 * rest of a batch for others to have their turn; else how to finalize.
 */

static ngx_int_t
ngx_snorky_backend_run(ngx_snorky_backend_t *backend)
{
    uint64_t               before;
    ngx_int_t              rc;
    ngx_snorky_route_t    *route;
    ngx_snorky_session_t  *s;

    s = &backend->peer.session;
    before = s->hub->stats->deliveries;

    if (s->left) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    while (backend->next < backend->routes.nelts) {

        backend->answered = 0;

        route = backend->routes.elts;
        route += backend->next;

        /* a call that waited finds the parser used by others meanwhile */

        if (backend->parsed == s->hub->parsed) {
            rc = ngx_snorky_dispatch_routed(s, route);

        } else {
            rc = ngx_snorky_dispatch(s, &route->text);
        }

        if (rc == NGX_AGAIN) {
            return NGX_BUSY;
        }

        if (rc == NGX_OK && !backend->answered && s->ncalls) {
            backend->deferred = 1;
            return NGX_BUSY;
        }

        if (rc != NGX_OK || s->left || !backend->answered) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        backend->next++;

        if (s->overloaded) {

            /* those behind it would wait as long, each */

            break;
        }

        if (s->hub->stats->deliveries - before >= NGX_SNORKY_DISPATCH_DELIVERIES
            && backend->next < backend->routes.nelts)
        {
            ngx_post_event(&backend->more, &ngx_posted_next_events);
            return NGX_BUSY;
        }
    }

    return ngx_snorky_backend_respond(backend);
}


static ngx_int_t
ngx_snorky_backend_respond(ngx_snorky_backend_t *backend)
{
    off_t                length;
    ngx_int_t            rc;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = backend->peer.request;

    out = ngx_snorky_backend_response(backend, &length);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = backend->peer.session.overloaded
                            ? NGX_HTTP_SERVICE_UNAVAILABLE : NGX_HTTP_OK;
    r->headers_out.content_length_n = length;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


/* the replies' own bytes, which live as long as the request */

static ngx_chain_t *
ngx_snorky_backend_response(ngx_snorky_backend_t *backend, off_t *length)
{
    u_char              *p;
    size_t               len;
    ngx_buf_t           *b;
    ngx_uint_t           i;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;
    ngx_snorky_msg_t   **msg;

    r = backend->peer.request;
    msg = backend->replies.elts;
    len = 2;

    for (i = 0; i < backend->replies.nelts; i++) {
        len += msg[i]->len + 1;
    }

    b = ngx_create_temp_buf(r->pool, len);
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    p = b->last;

    if (backend->batch) {
        *p++ = '[';
    }

    for (i = 0; i < backend->replies.nelts; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, msg[i]->text, msg[i]->len);
    }

    if (backend->batch) {
        *p++ = ']';
    }

    b->last = p;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    cl->buf = b;
    cl->next = NULL;

    *length = b->last - b->pos;

    return cl;
}


/* one answer for each message; what a topic delivers meanwhile is for others */

static void
ngx_snorky_backend_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_backend_t *backend = (ngx_snorky_backend_t *) s;

    ngx_snorky_msg_t  **place;

    if (!reply || backend->answered) {
        return;
    }

    place = ngx_array_push(&backend->replies);
    if (place == NULL) {
        return;
    }

    ngx_snorky_msg_ref(msg);
    *place = msg;

    backend->answered = 1;

    if (backend->deferred) {
        backend->deferred = 0;
        backend->next++;

        ngx_post_event(&backend->more, &ngx_posted_events);
    }
}


/* only our own failure closes it, and the response tells */

static void
ngx_snorky_backend_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_backend_t *backend = (ngx_snorky_backend_t *) s;

    backend->peer.close_code = code;

    if (backend->deferred) {
        ngx_post_event(&backend->more, &ngx_posted_events);
    }
}


static ngx_connection_t *
ngx_snorky_backend_connection(ngx_snorky_session_t *s)
{
    ngx_snorky_backend_t *backend = (ngx_snorky_backend_t *) s;

    return backend->peer.request->connection;
}


static void
ngx_snorky_backend_resume(ngx_snorky_session_t *s)
{
    ngx_snorky_backend_t *backend = (ngx_snorky_backend_t *) s;

    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    rc = ngx_snorky_backend_run(backend);

    if (rc == NGX_BUSY) {
        return;
    }

    r = backend->peer.request;
    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_snorky_backend_more_handler(ngx_event_t *ev)
{
    ngx_snorky_backend_t *backend = ev->data;

    ngx_snorky_backend_resume(&backend->peer.session);
}


static void
ngx_snorky_backend_cleanup(void *data)
{
    ngx_snorky_backend_t *backend = data;

    ngx_uint_t          i;
    ngx_snorky_msg_t  **msg;

    ngx_snorky_session_leave(&backend->peer.session);

    if (backend->more.posted) {
        ngx_delete_posted_event(&backend->more);
    }

    msg = backend->replies.elts;

    for (i = 0; i < backend->replies.nelts; i++) {
        ngx_snorky_msg_unref(msg[i]);
    }

    backend->replies.nelts = 0;
}
