
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the change of hands of a connection, from its request to the
 * websocket.  Called by the websocket's life.
 */


#include "ngx_snorky_lean.h"


static void ngx_snorky_lean_destroy_pool(void *data);
static void ngx_snorky_lean_set_address(ngx_connection_t *c,
    ngx_addr_t *client);
static ngx_uint_t ngx_snorky_lean_movable(ngx_connection_t *c);
static void ngx_snorky_lean_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_snorky_lean_move(ngx_connection_t *c, ngx_pool_t *pool);


ngx_pool_t *
ngx_snorky_lean_create_pool(ngx_http_request_t *r, size_t size,
    ngx_uint_t lean)
{
    ngx_pool_t          *pool;
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;

    c = r->connection;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    size = sizeof(ngx_pool_t) + ngx_align(size, NGX_ALIGNMENT);

    if (lean) {
        size += sizeof(ngx_log_t) + sizeof(ngx_http_log_ctx_t)
                + ngx_align((size_t) c->socklen, NGX_ALIGNMENT)
                + c->addr_text.len;
    }

    pool = ngx_create_pool(ngx_align(size, NGX_POOL_ALIGNMENT), c->log);
    if (pool == NULL) {
        return NULL;
    }

    cln->handler = ngx_snorky_lean_destroy_pool;
    cln->data = pool;

    return pool;
}


static void
ngx_snorky_lean_destroy_pool(void *data)
{
    ngx_destroy_pool(data);
}


/* by --with-compat, an nginx with TLS loads a module that was built without */

ngx_uint_t
ngx_snorky_lean_possible(ngx_connection_t *c)
{
#if (NGX_COMPAT && !NGX_HTTP_SSL)
    return c->ssl == NULL;
#else
    return 1;
#endif
}


void
ngx_snorky_lean_part(ngx_http_request_t *r, ngx_pool_t *pool)
{
    u_char                  text[NGX_SOCKADDR_STRLEN];
    ngx_addr_t              client;
    ngx_sockaddr_t          sockaddr;
    ngx_connection_t       *c;
    ngx_pool_cleanup_t     *cln;
    ngx_http_connection_t  *hc;

    c = r->connection;
    hc = r->http_connection;

    client.sockaddr = c->sockaddr;
    client.socklen = c->socklen;
    client.name.data = text;
    client.name.len = ngx_min(c->addr_text.len, NGX_SOCKADDR_STRLEN);

    ngx_memcpy(&sockaddr, c->sockaddr, client.socklen);
    ngx_memcpy(text, c->addr_text.data, client.name.len);

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_snorky_lean_destroy_pool) {
            cln->handler = NULL;
        }
    }

    ngx_http_free_request(r, 0);

    c->destroyed = 0;

    if (c->sockaddr != client.sockaddr) {
        client.sockaddr = &sockaddr.sockaddr;
        ngx_snorky_lean_set_address(c, &client);
    }

    if (ngx_snorky_lean_movable(c)) {
        ngx_snorky_lean_move(c, pool);

    } else {
        ngx_snorky_lean_free_buffers(c, hc);
    }

    c->log->action = "serving websocket";
}


/* what realip has found went with the request, but is the client's still */

static void
ngx_snorky_lean_set_address(ngx_connection_t *c, ngx_addr_t *client)
{
    u_char           *text;
    struct sockaddr  *sockaddr;

    sockaddr = ngx_palloc(c->pool, client->socklen);
    text = ngx_pnalloc(c->pool, client->name.len);

    if (sockaddr == NULL || text == NULL) {
        return;
    }

    ngx_memcpy(sockaddr, client->sockaddr, client->socklen);
    ngx_memcpy(text, client->name.data, client->name.len);

    c->sockaddr = sockaddr;
    c->socklen = client->socklen;
    c->addr_text.data = text;
    c->addr_text.len = client->name.len;
}


/*
 * What else might point into the old pool keeps it: TLS, the PROXY protocol,
 * and whoever has a cleanup there.
 */

static ngx_uint_t
ngx_snorky_lean_movable(ngx_connection_t *c)
{
#if (NGX_HTTP_SSL)

    if (c->ssl) {
        return 0;
    }

#endif

    return c->proxy_protocol == NULL && c->pool->cleanup == NULL;
}


/* the request's head */

static void
ngx_snorky_lean_free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl;

    for (cl = hc->busy; cl; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    for (cl = hc->free; cl; cl = cl->next) {
        (void) ngx_pfree(c->pool, cl->buf->start);
    }

    hc->busy = NULL;
    hc->free = NULL;
    hc->nbusy = 0;

    if (c->buffer) {
        (void) ngx_pfree(c->pool, c->buffer->start);
        c->buffer = NULL;
    }
}


/* all of this has room in the pool's one block */

static void
ngx_snorky_lean_move(ngx_connection_t *c, ngx_pool_t *pool)
{
    u_char              *text;
    ngx_log_t           *log;
    ngx_pool_t          *old;
    struct sockaddr     *sockaddr;
    ngx_http_log_ctx_t  *ctx;

    log = ngx_palloc(pool, sizeof(ngx_log_t));
    ctx = ngx_palloc(pool, sizeof(ngx_http_log_ctx_t));
    sockaddr = ngx_palloc(pool, c->socklen);
    text = ngx_pnalloc(pool, c->addr_text.len);

    if (log == NULL || ctx == NULL || sockaddr == NULL || text == NULL) {
        return;
    }

    *log = *c->log;
    *ctx = *(ngx_http_log_ctx_t *) log->data;

    log->data = ctx;

    c->log = log;
    c->read->log = log;
    c->write->log = log;
    pool->log = log;

    ngx_memcpy(sockaddr, c->sockaddr, c->socklen);
    ngx_memcpy(text, c->addr_text.data, c->addr_text.len);

    c->sockaddr = sockaddr;
    c->addr_text.data = text;

    c->local_sockaddr = c->listening->sockaddr;
    c->local_socklen = c->listening->socklen;

    c->buffer = NULL;

    old = c->pool;
    c->pool = pool;

    ngx_destroy_pool(old);
}


ngx_int_t
ngx_snorky_lean_shutdown(ngx_connection_t *c, ngx_connection_handler_pt ready)
{
#if (NGX_HTTP_SSL)

    ngx_int_t  rc;

    if (c->ssl) {
        c->ssl->shutdown_without_free = 1;

        rc = ngx_ssl_shutdown(c);

        if (rc == NGX_AGAIN) {
            c->ssl->handler = ready;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

#endif

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_connection_error(c, ngx_socket_errno,
                             ngx_shutdown_socket_n " failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_snorky_lean_close(ngx_connection_t *c, ngx_pool_t *pool)
{
    /* first, since its log lies in the connection's */

    if (c->pool != pool) {
        ngx_destroy_pool(pool);
    }

    ngx_http_close_connection(c);
}
