
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns a session's life, from its first request to the moment when no request
 * needs to be told of it any more.  Called by requests that begin or look for
 * one, by letters, by the core through the session's operations, and by its
 * timeouts.
 */


#include "ngx_snorky_sockjs_session.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_sockjs_inbox.h"
#include "ngx_snorky_sockjs_out.h"
#include "ngx_snorky_ws.h"


/* sessions that are flushed in one round of the event loop */
#define NGX_SNORKY_SOCKJS_SESSION_ROUND  256


static ngx_snorky_sockjs_session_t *ngx_snorky_sockjs_session_get(
    ngx_snorky_worker_t *worker, u_char *key);
static ngx_snorky_sockjs_session_t *ngx_snorky_sockjs_session_create(
    ngx_http_request_t *r, ngx_snorky_worker_t *worker, u_char *key,
    ngx_str_t *identity);
static ngx_int_t ngx_snorky_sockjs_session_copy_client(
    ngx_snorky_sockjs_session_t *session, ngx_connection_t *client);
static u_char *ngx_snorky_sockjs_session_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_snorky_sockjs_session_enter(ngx_http_request_t *r,
    ngx_snorky_sockjs_session_t *session, uint64_t *owner);
static void ngx_snorky_sockjs_session_open(
    ngx_snorky_sockjs_session_t *session);

static void ngx_snorky_sockjs_session_gone(
    ngx_snorky_sockjs_session_t *session, ngx_uint_t complete);
static void ngx_snorky_sockjs_session_wait(
    ngx_snorky_sockjs_session_t *session);

static void ngx_snorky_sockjs_session_send(ngx_snorky_session_t *s,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_sockjs_session_close(ngx_snorky_session_t *s,
    ngx_uint_t code, const char *reason);
static uint64_t *ngx_snorky_sockjs_session_counter(ngx_snorky_stats_t *stats,
    ngx_uint_t code);
static void ngx_snorky_sockjs_session_resume(ngx_snorky_session_t *s);
static void ngx_snorky_sockjs_session_left(ngx_snorky_session_t *s);
static ngx_connection_t *ngx_snorky_sockjs_session_connection(
    ngx_snorky_session_t *s);

static void ngx_snorky_sockjs_session_interrupt(
    ngx_snorky_sockjs_session_t *session);
static void ngx_snorky_sockjs_session_forget(
    ngx_snorky_sockjs_session_t *session);
static void ngx_snorky_sockjs_session_free(
    ngx_snorky_sockjs_session_t *session);


static ngx_snorky_session_ops_t  ngx_snorky_sockjs_session_ops = {
    ngx_snorky_sockjs_session_send,
    ngx_snorky_sockjs_session_close,
    ngx_snorky_sockjs_session_resume,
    ngx_snorky_sockjs_session_left,
    ngx_snorky_sockjs_session_connection
};


ngx_int_t
ngx_snorky_sockjs_session_begin(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, u_char *key, ngx_str_t *identity,
    uint64_t *owner)
{
    ngx_int_t                     rc;
    ngx_snorky_sockjs_session_t  *session;

    if (ngx_snorky_sockjs_session_get(worker, key)) {
        *owner = ngx_snorky_mailbox_number(worker->hub);
        return NGX_DECLINED;
    }

    if (worker->sockjs->closed) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    session = ngx_snorky_sockjs_session_create(r, worker, key, identity);
    if (session == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_sockjs_session_enter(r, session, owner);

    if (rc != NGX_OK) {
        ngx_destroy_pool(session->pool);
        return rc;
    }

    ngx_snorky_sockjs_session_open(session);

    return NGX_OK;
}


ngx_int_t
ngx_snorky_sockjs_session_find(ngx_snorky_worker_t *worker, u_char *key,
    uint64_t *owner)
{
    ngx_str_t  name;

    if (ngx_snorky_sockjs_session_get(worker, key)) {
        *owner = ngx_snorky_mailbox_number(worker->hub);
        return NGX_OK;
    }

    name.data = key;
    name.len = NGX_SNORKY_SOCKJS_KEY;

    return ngx_snorky_limit_find_named(worker, &name, owner);
}


/* one that lives here */

static ngx_snorky_sockjs_session_t *
ngx_snorky_sockjs_session_get(ngx_snorky_worker_t *worker, u_char *key)
{
    uint64_t                hash;
    ngx_str_t               name;
    ngx_snorky_map_node_t  *node;

    name.data = key;
    name.len = NGX_SNORKY_SOCKJS_KEY;

    hash = ngx_snorky_broker_hash(worker->hub->broker, &name);
    node = ngx_snorky_map_find(&worker->sockjs->sessions, hash, &name);

    return node ? ngx_queue_data(node, ngx_snorky_sockjs_session_t, node)
                : NULL;
}


/* all that it needs of its first request is copied: one block of memory */

static ngx_snorky_sockjs_session_t *
ngx_snorky_sockjs_session_create(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, u_char *key, ngx_str_t *identity)
{
    size_t                        size, more;
    ngx_str_t                     name;
    ngx_pool_t                   *pool;
    ngx_connection_t             *c;
    ngx_snorky_loc_conf_t        *conf;
    ngx_snorky_sockjs_session_t  *session;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);
    c = r->connection;

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return NULL;
    }

    size = sizeof(ngx_snorky_sockjs_session_t);

    if (conf->max_connections) {
        size += conf->max_connections->nelts * sizeof(void *);
    }

    size = ngx_align(size, NGX_ALIGNMENT);

    more = identity->len + c->addr_text.len
           + ngx_align((size_t) c->socklen, NGX_ALIGNMENT)
           + ngx_align((size_t) c->local_socklen, NGX_ALIGNMENT);

    pool = ngx_create_pool(ngx_align(sizeof(ngx_pool_t) + size + more,
                                     NGX_POOL_ALIGNMENT),
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    session = ngx_pcalloc(pool, size);

    if (session == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    session->worker = worker;
    session->conf = conf;
    session->pool = pool;

    session->log = *c->log;
    session->log.handler = ngx_snorky_sockjs_session_log_error;
    session->log.data = session;
    session->log.action = "serving SockJS session";

    if (ngx_snorky_sockjs_session_copy_client(session, c) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ngx_snorky_peer_init_alone(&session->peer, r, worker,
                               &ngx_snorky_sockjs_session_ops, identity,
                               "sockjs");

    session->peer.session.log = &session->log;

    if (identity->len) {
        session->peer.session.identity.data = ngx_pstrdup(pool, identity);

        if (session->peer.session.identity.data == NULL) {
            ngx_destroy_pool(pool);
            return NULL;
        }
    }

    ngx_snorky_session_number(&session->peer.session);

    ngx_memcpy(session->key, key, NGX_SNORKY_SOCKJS_KEY);

    name.data = session->key;
    name.len = NGX_SNORKY_SOCKJS_KEY;

    session->node.key = name;
    session->node.hash = ngx_snorky_broker_hash(worker->hub->broker, &name);

    ngx_snorky_sockjs_inbox_init(session);

    return session;
}


/* without its socket: what else there is of a client's connection */

static ngx_int_t
ngx_snorky_sockjs_session_copy_client(ngx_snorky_sockjs_session_t *session,
    ngx_connection_t *client)
{
    ngx_connection_t  *c;

    c = &session->connection;

    c->fd = (ngx_socket_t) -1;
    c->log = &session->log;
    c->pool = session->pool;
    c->listening = client->listening;
    c->socklen = client->socklen;
    c->local_socklen = client->local_socklen;
    c->addr_text.len = client->addr_text.len;

    c->sockaddr = ngx_palloc(c->pool, c->socklen);
    c->local_sockaddr = ngx_palloc(c->pool, c->local_socklen);
    c->addr_text.data = ngx_pstrdup(c->pool, &client->addr_text);

    if (c->sockaddr == NULL
        || c->local_sockaddr == NULL
        || c->addr_text.data == NULL)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, client->sockaddr, c->socklen);
    ngx_memcpy(c->local_sockaddr, client->local_sockaddr, c->local_socklen);

    return NGX_OK;
}


static u_char *
ngx_snorky_sockjs_session_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_snorky_sockjs_session_t  *session;

    session = log->data;

    return ngx_snprintf(buf, len, " while %s, client: %V", log->action,
                        &session->connection.addr_text);
}


/*
 * As soon as others know its name they send letters to this worker, which must
 * listen before.
 */

static ngx_int_t
ngx_snorky_sockjs_session_enter(ngx_http_request_t *r,
    ngx_snorky_sockjs_session_t *session, uint64_t *owner)
{
    u_char                  digest[NGX_SNORKY_SOCKJS_KEY];
    uint64_t                number;
    ngx_int_t               rc;
    ngx_str_t               group, nobody;
    ngx_snorky_loc_conf_t  *conf;

    conf = session->conf;

    ngx_str_null(&nobody);
    ngx_snorky_sockjs_key(r, &nobody, &nobody, digest);

    group.data = digest;
    group.len = NGX_SNORKY_SOCKJS_KEY;

    number = ngx_snorky_mailbox_number(session->worker->hub);

    rc = ngx_snorky_limit_enter_named(r, session->worker,
                                      conf->max_connections,
                                      &session->node.key, &group,
                                      conf->sockjs.sessions,
                                      session->tallies, owner);
    if (rc != NGX_OK) {
        return rc;
    }

    *owner = ngx_snorky_mailbox_number(session->worker->hub);

    if (*owner == number) {
        return NGX_OK;
    }

    /* it was given up meanwhile, and came back as another */

    ngx_snorky_limit_forget(session->worker, session->tallies,
                            NGX_SNORKY_LIMIT_NAMED);
    ngx_snorky_limit_leave(session->worker, conf->max_connections,
                           session->tallies + NGX_SNORKY_LIMIT_NAMED);

    return NGX_HTTP_SERVICE_UNAVAILABLE;
}


/* if no request ever comes to take "o", it ends as one whose client has gone */

static void
ngx_snorky_sockjs_session_open(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_sockjs_worker_t  *sockjs;

    sockjs = session->worker->sockjs;

    ngx_snorky_map_insert(&sockjs->sessions, &session->node);
    ngx_queue_insert_tail(&sockjs->queue, &session->queue);

    session->worker->hub->stats->sessions_sockjs++;

    ngx_snorky_sockjs_session_wait(session);

    ngx_snorky_session_open(&session->peer.session, 1);
}


void
ngx_snorky_sockjs_session_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_snorky_sockjs_session_t  *session;

    session = ngx_snorky_sockjs_session_get(worker, letter->key);

    if (session == NULL) {

        if (letter->type == NGX_SNORKY_SOCKJS_ATTACH
            || letter->type == NGX_SNORKY_SOCKJS_PARCEL)
        {
            ngx_snorky_sockjs_inbox_answer(worker, letter, NGX_HTTP_NOT_FOUND);
        }

        return;
    }

    switch (letter->type) {

    case NGX_SNORKY_SOCKJS_ATTACH:
        ngx_snorky_sockjs_out_attach(session, letter, text);
        return;

    case NGX_SNORKY_SOCKJS_PARCEL:
        ngx_snorky_sockjs_inbox_put(session, letter, text);
        return;
    }

    /* of others it has said all */

    if (letter->request != session->receiver.request
        || letter->worker != session->receiver.worker)
    {
        return;
    }

    if (letter->type == NGX_SNORKY_SOCKJS_RELEASE) {
        ngx_snorky_sockjs_out_release(session);
        ngx_snorky_sockjs_session_wait(session);

    } else {
        ngx_snorky_sockjs_session_gone(session, letter->value);
    }
}


/* who has not had all that was sent to it must not go on as if it had */

static void
ngx_snorky_sockjs_session_gone(ngx_snorky_sockjs_session_t *session,
    ngx_uint_t complete)
{
    complete = complete && session->receiver.ended;

    ngx_snorky_sockjs_out_detach(session);

    if (!complete) {
        ngx_snorky_sockjs_session_interrupt(session);
    }

    ngx_snorky_sockjs_session_wait(session);
}


/*
 * For the client or, in silence, with it.  One that has been closed has its
 * time, however often it asks: its worker may have to end.
 */

static void
ngx_snorky_sockjs_session_wait(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_sockjs_conf_t  *conf;

    conf = &session->conf->sockjs;

    if (session->receiver.request && !session->receiver.ended) {
        ngx_snorky_timeout_set(&session->timeout, conf->beats);

    } else if (!session->closed
               || session->timeout.queue != conf->absences)
    {
        ngx_snorky_timeout_set(&session->timeout, conf->absences);
    }
}


void
ngx_snorky_sockjs_session_timeout(ngx_snorky_timeout_t *timeout)
{
    ngx_snorky_sockjs_session_t  *session;

    session = ngx_queue_data(timeout, ngx_snorky_sockjs_session_t, timeout);

    if (session->receiver.request == 0) {
        ngx_snorky_sockjs_session_interrupt(session);
        ngx_snorky_sockjs_session_free(session);
        return;
    }

    /* an ended response may be long on its way to a slow client */

    if (!session->receiver.ended) {
        ngx_snorky_sockjs_out_frame(session, "h", 0);
    }

    ngx_snorky_sockjs_session_wait(session);
}


void
ngx_snorky_sockjs_session_flush_handler(ngx_event_t *ev)
{
    ngx_uint_t                    n;
    ngx_queue_t                  *q;
    ngx_connection_t             *c;
    ngx_snorky_sockjs_worker_t   *sockjs;
    ngx_snorky_sockjs_session_t  *session;

    c = ev->data;
    sockjs = c->data;

    for (n = 0; !ngx_queue_empty(&sockjs->dirty); n++) {

        if (n == NGX_SNORKY_SOCKJS_SESSION_ROUND) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        q = ngx_queue_head(&sockjs->dirty);
        session = ngx_queue_data(q, ngx_snorky_sockjs_session_t, dirty);

        ngx_queue_remove(q);
        session->is_dirty = 0;

        ngx_snorky_sockjs_out_flush(session);

        if (session->lost) {
            ngx_snorky_sockjs_session_free(session);
            continue;
        }

        /* what is there for a client that is not is no sign of it */

        if (session->receiver.request) {
            ngx_snorky_sockjs_session_wait(session);
        }
    }
}


static void
ngx_snorky_sockjs_session_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_sockjs_session_t *session = (ngx_snorky_sockjs_session_t *) s;

    ngx_int_t  rc;

    rc = ngx_snorky_sockjs_out_push(session, msg);

    if (rc == NGX_BUSY) {
        ngx_log_error(NGX_LOG_WARN, s->log, 0,
                      "client is too slow, %uz bytes are queued for it",
                      session->bytes);

        ngx_snorky_session_close(s, NGX_SNORKY_WS_TRY_AGAIN_LATER,
                                 "too slow");
    }

    if (rc == NGX_ERROR) {
        ngx_snorky_session_close(s, NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
    }
}


static void
ngx_snorky_sockjs_session_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_sockjs_session_t *session = (ngx_snorky_sockjs_session_t *) s;

    size_t               len;
    u_char              *copy;
    ngx_snorky_stats_t  *stats;

    stats = session->worker->hub->stats;

    session->closed = 1;
    session->close_code = code;

    /* the reason is its caller's, and requests may ask for it later */

    len = ngx_strlen(reason) + 1;
    copy = ngx_pnalloc(session->pool, len);

    if (copy) {
        ngx_memcpy(copy, reason, len);
    }

    session->close_reason = copy ? (char *) copy : "";

    (*ngx_snorky_sockjs_session_counter(stats, code))++;

    /* what comes behind a gap is of no use */

    if (code == NGX_SNORKY_WS_TRY_AGAIN_LATER
        || code == NGX_SNORKY_WS_PROTOCOL_ERROR)
    {
        stats->drops += ngx_snorky_sockjs_out_drop(session);
    }

    ngx_snorky_timeout_clear(&session->timeout);

    ngx_snorky_sockjs_session_wait(session);
    ngx_snorky_sockjs_out_post(session);
}


/* SockJS's own code for an interrupted connection is 1002 */

static uint64_t *
ngx_snorky_sockjs_session_counter(ngx_snorky_stats_t *stats, ngx_uint_t code)
{
    if (code == NGX_SNORKY_WS_PROTOCOL_ERROR) {
        return &stats->closed_lost;
    }

    return ngx_snorky_ws_counter(stats, code);
}


static void
ngx_snorky_sockjs_session_resume(ngx_snorky_session_t *s)
{
    ngx_snorky_sockjs_inbox_resume((ngx_snorky_sockjs_session_t *) s);
}


/* its name stays, for requests that are to be told */

static void
ngx_snorky_sockjs_session_left(ngx_snorky_session_t *s)
{
    ngx_snorky_sockjs_session_t *session = (ngx_snorky_sockjs_session_t *) s;

    ngx_snorky_limit_leave(session->worker, session->conf->max_connections,
                           session->tallies + NGX_SNORKY_LIMIT_NAMED);

    ngx_snorky_sockjs_inbox_post(session);
}


static ngx_connection_t *
ngx_snorky_sockjs_session_connection(ngx_snorky_session_t *s)
{
    return &((ngx_snorky_sockjs_session_t *) s)->connection;
}


static void
ngx_snorky_sockjs_session_interrupt(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_session_close(&session->peer.session,
                             NGX_SNORKY_WS_PROTOCOL_ERROR,
                             NGX_SNORKY_SOCKJS_INTERRUPTED);
}


/*
 * This may run inside of a session's message, so none of them is freed here.
 * Receivers in other workers are still told.
 */

void
ngx_snorky_sockjs_session_lost(ngx_snorky_worker_t *worker)
{
    ngx_queue_t                  *q, *queue;
    ngx_snorky_sockjs_session_t  *session;

    queue = &worker->sockjs->queue;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        session = ngx_queue_data(q, ngx_snorky_sockjs_session_t, queue);

        ngx_snorky_sockjs_session_forget(session);
        ngx_snorky_sockjs_out_post(session);
    }
}


void
ngx_snorky_sockjs_session_unblocked(ngx_snorky_worker_t *worker)
{
    ngx_queue_t                  *q, *queue;
    ngx_snorky_sockjs_session_t  *session;

    queue = &worker->sockjs->queue;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        session = ngx_queue_data(q, ngx_snorky_sockjs_session_t, queue);

        if (session->receiver.request && !session->receiver.ended) {
            ngx_snorky_sockjs_out_post(session);
        }
    }
}


ngx_uint_t
ngx_snorky_sockjs_session_watch(ngx_snorky_worker_t *worker)
{
    ngx_uint_t                    more;
    ngx_queue_t                  *q, *queue;
    ngx_snorky_sockjs_session_t  *session;

    more = 0;
    queue = &worker->sockjs->queue;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        session = ngx_queue_data(q, ngx_snorky_sockjs_session_t, queue);

        more |= ngx_snorky_sockjs_inbox_watch(session);

        if (!ngx_snorky_sockjs_out_far(session)) {
            continue;
        }

        if (ngx_snorky_broker_seated(worker->hub->broker,
                                     session->receiver.worker))
        {
            more = 1;

        } else {
            ngx_snorky_sockjs_session_gone(session, 0);
        }
    }

    return more;
}


void
ngx_snorky_sockjs_session_close_all(ngx_snorky_worker_t *worker)
{
    ngx_queue_t                  *q, *queue;
    ngx_snorky_sockjs_session_t  *session;

    /* requests that are on their way to a session still find it */

    ngx_snorky_broker_drain(worker->hub->broker);
    ngx_snorky_mailbox_read(worker->hub);

    worker->sockjs->closed = 1;

    queue = &worker->sockjs->queue;

    while (!ngx_queue_empty(queue)) {

        q = ngx_queue_head(queue);
        session = ngx_queue_data(q, ngx_snorky_sockjs_session_t, queue);

        if (ngx_exiting) {
            ngx_snorky_session_close(&session->peer.session,
                                     NGX_SNORKY_WS_SERVICE_RESTART,
                                     ngx_snorky_hub_reason(worker->hub));
        } else {
            ngx_snorky_session_close(&session->peer.session,
                                     NGX_SNORKY_WS_GOING_AWAY,
                                     "server stops");
        }

        ngx_snorky_sockjs_out_flush(session);
        ngx_snorky_sockjs_session_free(session);
    }
}


/* it is not found any more, and another one may have its name */

static void
ngx_snorky_sockjs_session_forget(ngx_snorky_sockjs_session_t *session)
{
    if (session->lost) {
        return;
    }

    session->lost = 1;

    ngx_snorky_map_remove(&session->worker->sockjs->sessions, &session->node);

    ngx_snorky_limit_forget(session->worker, session->tallies,
                            NGX_SNORKY_LIMIT_NAMED);
}


/* not from within its messages, nor from within a walk over sessions */

static void
ngx_snorky_sockjs_session_free(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_stats_t  *stats;

    stats = session->worker->hub->stats;

    ngx_queue_remove(&session->queue);

    ngx_snorky_sockjs_session_forget(session);
    ngx_snorky_sockjs_inbox_finish(session);
    ngx_snorky_sockjs_out_detach(session);

    stats->drops += ngx_snorky_sockjs_out_drop(session);
    stats->sessions_sockjs--;

    ngx_snorky_timeout_clear(&session->timeout);

    if (session->is_dirty) {
        ngx_queue_remove(&session->dirty);
    }

    ngx_destroy_pool(session->pool);
}
