
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what a request of our own is made of.  Called by its life.
 */


#include "ngx_snorky_inner_request.h"


/* bytes, of the connection's pool: all but the answer */
#define NGX_SNORKY_INNER_REQUEST_POOL  2048


typedef struct {
    ngx_str_t                   name;
    ngx_str_t                   lowcase;
} ngx_snorky_inner_header_t;


static void ngx_snorky_inner_request_connection(ngx_snorky_inner_t *inner);
static ngx_int_t ngx_snorky_inner_request_address(ngx_snorky_inner_t *inner,
    ngx_snorky_ask_t *ask);
static ngx_int_t ngx_snorky_inner_request_local(ngx_connection_t *c,
    struct sockaddr *sockaddr, socklen_t len);
static ngx_int_t ngx_snorky_inner_request_texts(ngx_snorky_inner_t *inner,
    ngx_snorky_ask_t *ask);
static ngx_int_t ngx_snorky_inner_request_copy(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);
static ngx_int_t ngx_snorky_inner_request_main(ngx_snorky_inner_t *inner);
static ngx_int_t ngx_snorky_inner_request_body(ngx_snorky_inner_t *inner,
    ngx_str_t *parts, ngx_uint_t n);
static ngx_int_t ngx_snorky_inner_request_headers(ngx_snorky_inner_t *inner);
static ngx_table_elt_t *ngx_snorky_inner_request_header(ngx_http_request_t *r,
    ngx_snorky_inner_header_t *header, ngx_str_t *value);
static void ngx_snorky_inner_request_io_handler(ngx_event_t *ev);
static ngx_chain_t *ngx_snorky_inner_request_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static u_char *ngx_snorky_inner_request_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


static ngx_snorky_inner_header_t  ngx_snorky_inner_request_names[] = {
    { ngx_string("X-Snorky-Service"), ngx_string("x-snorky-service") },
    { ngx_string("X-Snorky-Command"), ngx_string("x-snorky-command") },
    { ngx_string("X-Snorky-Client"), ngx_string("x-snorky-client") },
    { ngx_string("X-Snorky-Identity"), ngx_string("x-snorky-identity") },
    { ngx_string("X-Snorky-Remote-Addr"), ngx_string("x-snorky-remote-addr") },
    { ngx_string("X-Snorky-Event"), ngx_string("x-snorky-event") }
};

static ngx_snorky_inner_header_t  ngx_snorky_inner_request_content_type = {
    ngx_string("Content-Type"), ngx_string("content-type")
};

static ngx_snorky_inner_header_t  ngx_snorky_inner_request_content_length = {
    ngx_string("Content-Length"), ngx_string("content-length")
};


/* where nobody asks, it is nginx itself */

static struct sockaddr_in  ngx_snorky_inner_request_nobody = {
    .sin_family = AF_INET
};
static ngx_str_t  ngx_snorky_inner_request_nobody_text =
    ngx_string("0.0.0.0");

static ngx_str_t  ngx_snorky_inner_request_post = ngx_string("POST");


ngx_snorky_inner_t *
ngx_snorky_inner_request_create(ngx_snorky_ask_t *ask)
{
    ngx_log_t               *log;
    ngx_pool_t              *pool;
    ngx_http_conf_ctx_t     *server;
    ngx_snorky_inner_t      *inner;

    server = ask->session ? ask->session->limits->server : ask->server;

    log = ngx_cycle->log;

    pool = ngx_create_pool(NGX_SNORKY_INNER_REQUEST_POOL, log);
    if (pool == NULL) {
        return NULL;
    }

    inner = ngx_pcalloc(pool, sizeof(ngx_snorky_inner_t));
    if (inner == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    inner->log = *log;
    inner->connection.pool = pool;
    inner->http.conf_ctx = server;

    ngx_snorky_inner_request_connection(inner);

    if (ngx_snorky_inner_request_address(inner, ask) != NGX_OK
        || ngx_snorky_inner_request_texts(inner, ask) != NGX_OK
        || ngx_snorky_inner_request_main(inner) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    return inner;
}


/*
 * Without a socket: always writable, never readable, and known to the event
 * loop already, so that nobody adds it there.
 */

static void
ngx_snorky_inner_request_connection(ngx_snorky_inner_t *inner)
{
    ngx_log_t         *log;
    ngx_connection_t  *c;

    c = &inner->connection;
    log = &inner->log;

    c->fd = (ngx_socket_t) -1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;
    c->data = &inner->http;
    c->log = log;
    c->log_error = NGX_ERROR_INFO;
    c->pool->log = log;

    c->read = &inner->read;
    c->write = &inner->write;

    c->read->data = c;
    c->read->log = log;
    c->read->handler = ngx_snorky_inner_request_io_handler;
    c->read->active = 1;

    c->write->data = c;
    c->write->log = log;
    c->write->handler = ngx_snorky_inner_request_io_handler;
    c->write->write = 1;
    c->write->ready = 1;
    c->write->active = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? 1 : 0;

    c->send_chain = ngx_snorky_inner_request_send_chain;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    inner->log_ctx.connection = c;

    log->connection = c->number;
    log->handler = ngx_snorky_inner_request_log_error;
    log->data = &inner->log_ctx;
    log->action = "asking the application";
}


/* the client's own, so that $remote_addr, ip_hash and logs tell of it */

static ngx_int_t
ngx_snorky_inner_request_address(ngx_snorky_inner_t *inner,
    ngx_snorky_ask_t *ask)
{
    socklen_t            len;
    ngx_sockaddr_t       local;
    ngx_connection_t    *c, *client;

    c = &inner->connection;

    if (ask->session == NULL) {
        c->sockaddr = (struct sockaddr *) &ngx_snorky_inner_request_nobody;
        c->socklen = sizeof(struct sockaddr_in);
        c->addr_text = ngx_snorky_inner_request_nobody_text;

        ngx_memzero(&local, sizeof(ngx_sockaddr_t));

        local.sockaddr_in.sin_family = AF_INET;
        local.sockaddr_in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        len = sizeof(struct sockaddr_in);

        return ngx_snorky_inner_request_local(c, &local.sockaddr, len);
    }

    client = ask->session->ops->connection(ask->session);

    c->sockaddr = ngx_palloc(c->pool, client->socklen);
    if (c->sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, client->sockaddr, client->socklen);
    c->socklen = client->socklen;

    c->listening = client->listening;

    /* $server_addr: nginx would ask the socket, which is not there */

    len = sizeof(ngx_sockaddr_t);

    if (client->fd == (ngx_socket_t) -1) {

        /* a session that has none either, and knows what its was */

        len = client->local_socklen;
        ngx_memcpy(&local, client->local_sockaddr, len);

    } else if (getsockname(client->fd, &local.sockaddr, &len) == -1) {
        return NGX_ERROR;
    }

    if (ngx_snorky_inner_request_local(c, &local.sockaddr, len) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_inner_request_copy(c->pool, &c->addr_text,
                                         &client->addr_text);
}


static ngx_int_t
ngx_snorky_inner_request_local(ngx_connection_t *c, struct sockaddr *sockaddr,
    socklen_t len)
{
    c->local_sockaddr = ngx_palloc(c->pool, len);
    if (c->local_sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->local_sockaddr, sockaddr, len);
    c->local_socklen = len;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_inner_request_texts(ngx_snorky_inner_t *inner, ngx_snorky_ask_t *ask)
{
    u_char                 client[NGX_SNORKY_CLIENT_LEN];
    ngx_str_t              text[NGX_SNORKY_INNER_TEXTS], *identity;
    ngx_uint_t             i;
    ngx_snorky_session_t  *s;

    ngx_memzero(text, sizeof(text));

    text[NGX_SNORKY_INNER_SERVICE] = ask->service;
    text[NGX_SNORKY_INNER_COMMAND] = ask->command;
    text[NGX_SNORKY_INNER_CHANNEL] = ask->channel;

    s = ask->session;

    if (s) {
        text[NGX_SNORKY_INNER_CLIENT].data = client;
        text[NGX_SNORKY_INNER_CLIENT].len = ngx_snorky_session_client(s, client)
                                            - client;

        text[NGX_SNORKY_INNER_ADDRESS] = inner->connection.addr_text;

        identity = ngx_snorky_session_identity(s);

        if (identity) {

            /* without its quotes: still escaped */

            text[NGX_SNORKY_INNER_IDENTITY].data = identity->data + 1;
            text[NGX_SNORKY_INNER_IDENTITY].len = identity->len - 2;
        }

    } else {
        ngx_str_set(&text[NGX_SNORKY_INNER_EVENT], "batch");
    }

    for (i = 0; i < NGX_SNORKY_INNER_TEXTS; i++) {

        if (ngx_snorky_inner_request_copy(inner->connection.pool,
                                          &inner->texts[i], &text[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_inner_request_copy(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    to->len = from->len;

    if (from->len == 0) {
        return NGX_OK;
    }

    to->data = ngx_pstrdup(pool, from);

    return to->data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_snorky_inner_request_main(ngx_snorky_inner_t *inner)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = &inner->connection;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;
    inner->main = r;

    /* it is no client's */

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    (void) ngx_atomic_fetch_add(ngx_stat_requests, -1);
    r->stat_reading = 0;
#endif

    r->logged = 1;
    r->internal = 1;
    r->main_filter_need_in_memory = 1;

    r->method = NGX_HTTP_POST;
    r->method_name = ngx_snorky_inner_request_post;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");
    ngx_str_set(&r->schema, "http");

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_set_ctx(r, inner, ngx_snorky_module);

    if (ngx_list_init(&r->headers_in.headers, r->pool, 8,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        ngx_http_free_request(r, 0);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_inner_request_fill(ngx_snorky_inner_t *inner, ngx_snorky_ask_t *ask)
{
    u_char      *p;
    ngx_str_t   *line;
    ngx_pool_t  *pool;

    if (ngx_snorky_inner_request_body(inner, ask->parts, ask->n) != NGX_OK
        || ngx_snorky_inner_request_headers(inner) != NGX_OK)
    {
        return NGX_ERROR;
    }

    pool = inner->connection.pool;

    /* what logs tell of it */

    line = &inner->main->request_line;

    p = ngx_pnalloc(pool, sizeof("POST  HTTP/1.1") - 1 + ask->uri.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    line->data = p;
    line->len = ngx_sprintf(p, "POST %V HTTP/1.1", &ask->uri) - p;

    return ngx_snorky_inner_request_copy(pool, &inner->uri, &ask->uri);
}


static ngx_int_t
ngx_snorky_inner_request_body(ngx_snorky_inner_t *inner, ngx_str_t *parts,
    ngx_uint_t n)
{
    size_t                    len;
    ngx_buf_t                *b;
    ngx_uint_t                i;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = inner->main;
    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_create_temp_buf(r->pool, ngx_max(len, 1));

    if (rb == NULL || b == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        b->last = ngx_cpymem(b->last, parts[i].data, parts[i].len);
    }

    b->last_buf = 1;

    rb->buf = b;
    rb->bufs = ngx_alloc_chain_link(r->pool);
    if (rb->bufs == NULL) {
        return NGX_ERROR;
    }

    rb->bufs->buf = b;
    rb->bufs->next = NULL;

    r->request_body = rb;
    r->headers_in.content_length_n = len;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_inner_request_headers(ngx_snorky_inner_t *inner)
{
    u_char              *p;
    ngx_str_t            value;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    r = inner->main;

    ngx_str_set(&value, "application/json");

    r->headers_in.content_type = ngx_snorky_inner_request_header(r,
                              &ngx_snorky_inner_request_content_type, &value);

    p = ngx_pnalloc(r->pool, NGX_OFF_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%O", r->headers_in.content_length_n) - p;

    r->headers_in.content_length = ngx_snorky_inner_request_header(r,
                            &ngx_snorky_inner_request_content_length, &value);

    if (r->headers_in.content_type == NULL
        || r->headers_in.content_length == NULL)
    {
        return NGX_ERROR;
    }

    for (i = 0; i <= NGX_SNORKY_INNER_EVENT; i++) {

        if (inner->texts[i].len
            && ngx_snorky_inner_request_header(r,
                                       &ngx_snorky_inner_request_names[i],
                                       &inner->texts[i])
               == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_snorky_inner_request_header(ngx_http_request_t *r,
    ngx_snorky_inner_header_t *header, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = ngx_hash_key(header->lowcase.data, header->lowcase.len);
    h->key = header->name;
    h->lowcase_key = header->lowcase.data;
    h->value = *value;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}


/* as nginx does for a client's connection */

static void
ngx_snorky_inner_request_io_handler(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


void
ngx_snorky_inner_request_destroy(ngx_snorky_inner_t *inner)
{
    ngx_connection_t  *c;

    c = &inner->connection;

    ngx_queue_remove(&inner->queue);

    if (inner->event.posted) {
        ngx_delete_posted_event(&inner->event);
    }

    if (inner->timer.timer_set) {
        ngx_del_timer(&inner->timer);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    /* its cleanups close the connections of upstreams that are still there */

    ngx_http_free_request(inner->main, 0);
    ngx_destroy_pool(c->pool);
}


/* nothing gets so far */

static ngx_chain_t *
ngx_snorky_inner_request_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    return NGX_CHAIN_ERROR;
}


static u_char *
ngx_snorky_inner_request_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_log_ctx_t  *ctx;
    ngx_http_request_t  *r;

    ctx = log->data;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    p = ngx_snprintf(buf, len, ", client: %V", &ctx->connection->addr_text);
    len -= p - buf;

    r = ctx->request;

    if (r) {
        return r->log_handler(r, ctx->current_request, p, len);
    }

    return p;
}
