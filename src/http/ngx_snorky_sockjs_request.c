
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the list of requests that wait for letters.  Called by those who
 * receive and send, by the mailbox with what is for them, and by the watch.
 */


#include "ngx_snorky_sockjs_request.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_ws_frame.h"


static void ngx_snorky_sockjs_request_cleanup(void *data);
static void ngx_snorky_sockjs_request_remove(ngx_snorky_sockjs_request_t *sr);
static ngx_snorky_sockjs_request_t *ngx_snorky_sockjs_request_find(
    ngx_snorky_worker_t *worker, uint64_t number);
static void ngx_snorky_sockjs_request_lose(ngx_queue_t *lost,
    ngx_uint_t code, const char *reason);
static void ngx_snorky_sockjs_request_release(
    ngx_snorky_sockjs_request_t *sr);


ngx_int_t
ngx_snorky_sockjs_request_init(ngx_snorky_sockjs_request_t *sr,
    ngx_http_request_t *r, ngx_snorky_worker_t *worker, ngx_str_t *session,
    ngx_snorky_sockjs_request_ops_t *ops, const char *transport)
{
    ngx_str_t            identity;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL || ngx_snorky_peer_identity(r, &identity) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_snorky_peer_init(&sr->peer, r, worker, NULL, &identity, transport);
    ngx_snorky_sockjs_key(r, session, &identity, sr->key);

    sr->worker = worker;
    sr->ops = ops;

    cln->handler = ngx_snorky_sockjs_request_cleanup;
    cln->data = sr;

    return NGX_OK;
}


static void
ngx_snorky_sockjs_request_cleanup(void *data)
{
    ngx_snorky_sockjs_request_leave(data);
}


ngx_int_t
ngx_snorky_sockjs_request_enter(ngx_snorky_sockjs_request_t *sr)
{
    ngx_event_t                 *rev;
    ngx_http_request_t          *r;
    ngx_snorky_sockjs_worker_t  *sockjs;

    sockjs = sr->worker->sockjs;

    if (sr->owner != ngx_snorky_mailbox_number(sr->worker->hub)) {
        ngx_snorky_sockjs_watch(sr->worker);
    }

    if (sr->number) {
        return NGX_OK;
    }

    sr->number = ++sockjs->number;

    sr->node.hash = sr->number;
    sr->node.key.data = (u_char *) &sr->number;
    sr->node.key.len = sizeof(uint64_t);

    ngx_snorky_map_insert(&sockjs->requests, &sr->node);
    ngx_queue_insert_tail(&sockjs->asking, &sr->queue);

    /* the client may have left while its body was read */

    r = sr->peer.request;
    rev = r->connection->read;

    r->read_event_handler = ngx_http_test_reading;

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


void
ngx_snorky_sockjs_request_leave(ngx_snorky_sockjs_request_t *sr)
{
    ngx_snorky_sockjs_letter_t  letter;

    if (sr->number == 0) {
        return;
    }

    if (sr->ops->gone) {
        ngx_memzero(&letter, sizeof(ngx_snorky_sockjs_letter_t));

        letter.type = sr->ops->gone;
        letter.value = sr->whole;

        (void) ngx_snorky_sockjs_request_say(sr, &letter, NULL);
    }

    ngx_snorky_sockjs_request_remove(sr);
}


static void
ngx_snorky_sockjs_request_remove(ngx_snorky_sockjs_request_t *sr)
{
    ngx_snorky_map_remove(&sr->worker->sockjs->requests, &sr->node);
    ngx_queue_remove(&sr->queue);

    sr->number = 0;
}


ngx_int_t
ngx_snorky_sockjs_request_say(ngx_snorky_sockjs_request_t *sr,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    letter->worker = ngx_snorky_mailbox_number(sr->worker->hub);
    letter->request = sr->number;

    ngx_memcpy(letter->key, sr->key, NGX_SNORKY_SOCKJS_KEY);

    return ngx_snorky_sockjs_send_letter(sr->worker, sr->owner, letter, text);
}


void
ngx_snorky_sockjs_request_done(ngx_snorky_sockjs_request_t *sr, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = sr->peer.request;
    c = r->connection;

    if (rc != NGX_AGAIN) {
        ngx_snorky_sockjs_request_leave(sr);
        ngx_http_finalize_request(r, rc);
    }

    /* a filter may have made some, too */

    ngx_http_run_posted_requests(c);
}


void
ngx_snorky_sockjs_request_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_snorky_sockjs_request_t  *sr;

    sr = ngx_snorky_sockjs_request_find(worker, letter->request);

    /* it may have ended meanwhile */

    if (sr) {
        sr->ops->letter(sr, letter, text);
    }
}


/* NULL as well where nginx has made another request of it: "post_action" */

static ngx_snorky_sockjs_request_t *
ngx_snorky_sockjs_request_find(ngx_snorky_worker_t *worker, uint64_t number)
{
    ngx_str_t                     key;
    ngx_http_request_t           *r;
    ngx_snorky_map_node_t        *node;
    ngx_snorky_sockjs_request_t  *sr;

    key.data = (u_char *) &number;
    key.len = sizeof(uint64_t);

    node = ngx_snorky_map_find(&worker->sockjs->requests, number, &key);

    if (node == NULL) {
        return NULL;
    }

    sr = (ngx_snorky_sockjs_request_t *)
             ((u_char *) node - offsetof(ngx_snorky_sockjs_request_t, node));

    r = sr->peer.request;

    if (ngx_http_get_module_ctx(r, ngx_snorky_module) != sr) {
        ngx_snorky_sockjs_request_leave(sr);
        return NULL;
    }

    return sr;
}


void
ngx_snorky_sockjs_request_lost(ngx_snorky_worker_t *worker, ngx_uint_t code,
    const char *reason)
{
    ngx_queue_t  lost, *asking;

    asking = &worker->sockjs->asking;

    if (ngx_queue_empty(asking)) {
        return;
    }

    ngx_queue_init(&lost);
    ngx_queue_add(&lost, asking);
    ngx_queue_init(asking);

    ngx_snorky_sockjs_request_lose(&lost, code, reason);
}


/* the end of one may be the end of others: of one connection's, for instance */

static void
ngx_snorky_sockjs_request_lose(ngx_queue_t *lost, ngx_uint_t code,
    const char *reason)
{
    ngx_queue_t                  *q;
    ngx_http_request_t           *r;
    ngx_snorky_sockjs_request_t  *sr;

    while (!ngx_queue_empty(lost)) {

        q = ngx_queue_head(lost);
        sr = ngx_queue_data(q, ngx_snorky_sockjs_request_t, queue);
        r = sr->peer.request;

        ngx_snorky_sockjs_request_remove(sr);

        if (ngx_http_get_module_ctx(r, ngx_snorky_module) == sr) {
            sr->ops->lost(sr, code, reason);
        }
    }
}


ngx_uint_t
ngx_snorky_sockjs_request_watch(ngx_snorky_worker_t *worker)
{
    uint64_t                      number;
    ngx_uint_t                    more;
    ngx_queue_t                   lost, *q, *next, *asking;
    ngx_snorky_sockjs_request_t  *sr;

    more = 0;

    ngx_queue_init(&lost);

    number = ngx_snorky_mailbox_number(worker->hub);
    asking = &worker->sockjs->asking;

    for (q = ngx_queue_head(asking);
         q != ngx_queue_sentinel(asking);
         q = next)
    {
        next = ngx_queue_next(q);

        sr = ngx_queue_data(q, ngx_snorky_sockjs_request_t, queue);

        if (sr->owner == number) {
            continue;
        }

        if (!ngx_snorky_broker_seated(worker->hub->broker, sr->owner)) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&lost, q);
            continue;
        }

        more = 1;

        if (ngx_exiting) {
            ngx_snorky_sockjs_request_release(sr);
        }
    }

    ngx_snorky_sockjs_request_lose(&lost, NGX_SNORKY_WS_PROTOCOL_ERROR,
                                   NGX_SNORKY_SOCKJS_INTERRUPTED);

    return more;
}


static void
ngx_snorky_sockjs_request_release(ngx_snorky_sockjs_request_t *sr)
{
    ngx_snorky_sockjs_letter_t  letter;

    if (sr->released || sr->ops->release == 0) {
        return;
    }

    sr->released = 1;

    ngx_memzero(&letter, sizeof(ngx_snorky_sockjs_letter_t));

    letter.type = sr->ops->release;

    (void) ngx_snorky_sockjs_request_say(sr, &letter, NULL);
}
