
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns an upgraded connection from its 101 to its end: silence is broken by
 * pings, and closing is a handshake with a timer.  Called by nginx (events),
 * by the flusher, and by the core through the session's operations.
 */


#include "ngx_snorky_websocket.h"
#include "ngx_snorky_handshake.h"
#include "ngx_snorky_origin.h"
#include "ngx_snorky_ws_in.h"
#include "ngx_snorky_ws_out.h"


static ngx_snorky_ws_t *ngx_snorky_websocket_create(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker);
static ngx_int_t ngx_snorky_websocket_open(ngx_snorky_ws_t *ws);

static void ngx_snorky_websocket_read_handler(ngx_http_request_t *r);
static void ngx_snorky_websocket_write_handler(ngx_http_request_t *r);
static void ngx_snorky_websocket_flushed(ngx_snorky_output_t *o, ngx_int_t rc);

static void ngx_snorky_websocket_send(ngx_snorky_session_t *s,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_websocket_close(ngx_snorky_session_t *s,
    ngx_uint_t code, const char *reason);
static void ngx_snorky_websocket_resume(ngx_snorky_session_t *s);

static ngx_int_t ngx_snorky_websocket_timer(ngx_snorky_ws_t *ws);
static void ngx_snorky_websocket_end(ngx_snorky_ws_t *ws, ngx_int_t rc);
static void ngx_snorky_websocket_finish(ngx_snorky_ws_t *ws);
static void ngx_snorky_websocket_cleanup(void *data);


static ngx_snorky_session_ops_t  ngx_snorky_websocket_ops = {
    ngx_snorky_websocket_send,
    ngx_snorky_websocket_close,
    ngx_snorky_websocket_resume
};


ngx_int_t
ngx_snorky_websocket_handler(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_snorky_worker_t    *worker;
    ngx_snorky_loc_conf_t  *conf;
    ngx_snorky_ws_t        *ws;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "a WebSocket can't be opened by a subrequest");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    rc = ngx_snorky_handshake_check(r);
    if (rc != NGX_OK) {
        worker->hub->stats->rejected_handshake++;
        return rc;
    }

    if (ngx_snorky_origin_check(r, conf->origins) != NGX_OK) {
        worker->hub->stats->rejected_origin++;
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "origin is not allowed by \"snorky_origins\"");
        return NGX_HTTP_FORBIDDEN;
    }

    ws = ngx_snorky_websocket_create(r, worker);
    if (ws == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_handshake_accept(r, conf->protocols);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ws->accepting = (rc == NGX_AGAIN);
    ws->output.held = ws->accepting;

    if (ngx_snorky_websocket_open(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static ngx_snorky_ws_t *
ngx_snorky_websocket_create(ngx_http_request_t *r, ngx_snorky_worker_t *worker)
{
    ngx_http_cleanup_t  *cln;
    ngx_snorky_ws_t     *ws;

    ws = ngx_pcalloc(r->pool, sizeof(ngx_snorky_ws_t));
    if (ws == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    if (ngx_snorky_peer_init(&ws->peer, r, worker, &ngx_snorky_websocket_ops,
                             "websocket")
        != NGX_OK)
    {
        return NULL;
    }

    ws->worker = worker;
    ws->conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);
    ws->parser.max_size = ws->conf->max_message_size;
    ws->seen = ngx_current_msec;

    ws->output.flusher = &worker->flusher;
    ws->output.connection = r->connection;
    ws->output.flushed = ngx_snorky_websocket_flushed;

    /* until it is open, there is nothing to finish */

    ws->finished = 1;

    cln->handler = ngx_snorky_websocket_cleanup;
    cln->data = ws;

    return ws;
}


static ngx_int_t
ngx_snorky_websocket_open(ngx_snorky_ws_t *ws)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ws->peer.request;
    c = r->connection;

    if (ngx_snorky_ws_in_early(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    ws->finished = 0;

    ngx_queue_insert_tail(&ws->worker->websockets, &ws->queue);

    ngx_snorky_session_open(&ws->peer.session, 1);

    if (ws->conf->echo) {
        ngx_snorky_ws_stats(ws)->sessions_echo++;

    } else {
        ngx_snorky_ws_stats(ws)->sessions_websocket++;
    }

    r->read_event_handler = ngx_snorky_websocket_read_handler;
    r->write_event_handler = ngx_snorky_websocket_write_handler;

    ngx_snorky_ws_set_timer(ws, ws->conf->ping_interval);

    /* what has come already is read in an event of its own */

    if (ws->unread.len || c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_snorky_websocket_read_handler(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_event_t      *rev;
    ngx_snorky_ws_t  *ws;

    rev = r->connection->read;
    ws = ngx_http_get_module_ctx(r, ngx_snorky_module);

    rc = NGX_OK;

    if (rev->timedout) {
        rev->timedout = 0;
        rc = ngx_snorky_websocket_timer(ws);
    }

    if (rc == NGX_OK) {
        rc = ngx_snorky_ws_in_read(ws);
    }

    if (rc == NGX_OK && ngx_handle_read_event(rev, 0) != NGX_OK) {
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_snorky_websocket_end(ws, rc);
    }
}


static void
ngx_snorky_websocket_write_handler(ngx_http_request_t *r)
{
    ngx_int_t         rc;
    ngx_snorky_ws_t  *ws;

    ws = ngx_http_get_module_ctx(r, ngx_snorky_module);

    if (ws->accepting) {
        rc = ngx_snorky_handshake_flush(r);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_ERROR) {
            ngx_snorky_websocket_end(ws, NGX_ERROR);
            return;
        }

        ws->accepting = 0;
        ws->output.held = 0;
    }

    rc = ngx_snorky_output_flush(&ws->output);
    rc = ngx_snorky_ws_out_flushed(ws, rc);

    if (rc != NGX_OK) {
        ngx_snorky_websocket_end(ws, rc);
    }
}


/* the flusher calls from outside of the request's events */

static void
ngx_snorky_websocket_flushed(ngx_snorky_output_t *o, ngx_int_t rc)
{
    ngx_connection_t  *c;
    ngx_snorky_ws_t   *ws;

    ws = (ngx_snorky_ws_t *) ((u_char *) o - offsetof(ngx_snorky_ws_t, output));

    rc = ngx_snorky_ws_out_flushed(ws, rc);

    if (rc == NGX_OK) {
        return;
    }

    c = ngx_snorky_ws_connection(ws);

    ngx_snorky_websocket_end(ws, rc);
    ngx_http_run_posted_requests(c);
}


/*
 * A receiver whose queue would grow past its bound is too slow, if its socket
 * takes no more: it may have had no turn yet in a busy round.  One message,
 * however large, always has room in an empty queue.
 */

static void
ngx_snorky_websocket_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_ws_t *ws = (ngx_snorky_ws_t *) s;

    if (ws->output.bytes + msg->len > ws->conf->send_buffer) {
        (void) ngx_snorky_output_flush(&ws->output);
    }

    if (ws->output.bytes
        && ws->output.bytes + msg->len > ws->conf->send_buffer)
    {
        ngx_log_error(NGX_LOG_WARN, s->log, 0,
                      "client is too slow, %uz bytes are queued for it",
                      ws->output.bytes);

        ngx_snorky_session_close(s, NGX_SNORKY_WS_TRY_AGAIN_LATER,
                                 "too slow");
        return;
    }

    if (ngx_snorky_ws_out_msg(ws, msg, NGX_SNORKY_WS_TEXT) != NGX_OK) {
        ngx_snorky_session_close(s, NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
    }
}


static void
ngx_snorky_websocket_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_ws_t *ws = (ngx_snorky_ws_t *) s;

    ngx_uint_t         dropped;
    ngx_connection_t  *c;

    if (ws->state != NGX_SNORKY_WS_OPEN) {
        return;
    }

    ws->state = NGX_SNORKY_WS_CLOSING;

    if (code == NGX_SNORKY_WS_TRY_AGAIN_LATER) {
        dropped = ngx_snorky_output_drop(&ws->output);
        ngx_snorky_ws_stats(ws)->drops += dropped;
    }

    ngx_snorky_ws_out_close(ws, code, reason);

    /* the peer's close frame must be read, whatever stands before it */

    ws->waits = 0;
    ws->full = 0;

    c = ngx_snorky_ws_connection(ws);
    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_snorky_websocket_resume(ngx_snorky_session_t *s)
{
    ngx_snorky_ws_t *ws = (ngx_snorky_ws_t *) s;

    ngx_connection_t  *c;

    if (ngx_snorky_ws_in_retry(ws) == NGX_AGAIN) {
        return;
    }

    c = ngx_snorky_ws_connection(ws);
    ngx_post_event(c->read, &ngx_posted_events);
}


/*
 * One timer per connection, set again only when it has run out: silence is
 * measured from the last byte that came.
 */

static ngx_int_t
ngx_snorky_websocket_timer(ngx_snorky_ws_t *ws)
{
    ngx_int_t               rc;
    ngx_msec_t              silent;
    ngx_snorky_loc_conf_t  *conf;

    if (ws->state != NGX_SNORKY_WS_OPEN) {

        /* the closing handshake takes too long */

        (void) ngx_snorky_output_flush(&ws->output);

        return NGX_DONE;
    }

    conf = ws->conf;
    silent = ngx_current_msec - ws->seen;

    if (ngx_snorky_ws_in_paused(ws)) {

        /* it can't be seen: we do not read */

        if (ws->waits || silent < conf->ping_interval + conf->ping_timeout) {
            ngx_snorky_ws_set_timer(ws, conf->ping_timeout);
            return NGX_OK;
        }

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_TRY_AGAIN_LATER, "too slow");
        return NGX_OK;
    }

    if (ws->pinged) {
        ngx_log_error(NGX_LOG_INFO, ngx_snorky_ws_connection(ws)->log,
                      0, "client did not answer a ping");

        ngx_snorky_ws_count(ws,
                            &ngx_snorky_ws_stats(ws)->closed_timeout);

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_INTERNAL_ERROR, "ping timeout");
        return NGX_OK;
    }

    if (silent < conf->ping_interval) {
        ngx_snorky_ws_set_timer(ws, conf->ping_interval - silent);
        return NGX_OK;
    }

    rc = ngx_snorky_ws_out_push(ws, NGX_SNORKY_WS_PING, (u_char *) "", 0);

    ws->pinged = 1;

    ngx_snorky_ws_set_timer(ws, conf->ping_timeout);

    return rc;
}


/*
 * With NGX_DONE, nginx's lingering close lets the peer read our last frame:
 * a socket that is closed with input unread is reset.
 */

static void
ngx_snorky_websocket_end(ngx_snorky_ws_t *ws, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = ws->peer.request;

    ngx_snorky_websocket_finish(ws);

    if (rc == NGX_DONE) {
        r->lingering_close = 1;
    }

    ngx_http_finalize_request(r, rc);
}


static void
ngx_snorky_websocket_finish(ngx_snorky_ws_t *ws)
{
    ngx_snorky_stats_t  *stats;

    if (ws->finished) {
        return;
    }

    ws->finished = 1;

    ngx_snorky_session_leave(&ws->peer.session);

    stats = ngx_snorky_ws_stats(ws);

    if (ws->conf->echo) {
        stats->sessions_echo--;

    } else {
        stats->sessions_websocket--;
    }

    if (!ws->counted) {
        ngx_snorky_ws_count(ws, &stats->closed_lost);
        ws->peer.close_code = NGX_SNORKY_WS_ABNORMAL;
    }

    stats->drops += ngx_snorky_output_finish(&ws->output);

    ngx_snorky_ws_in_finish(ws);

    ngx_queue_remove(&ws->queue);

    ngx_snorky_ws_set_timer(ws, 0);
}


/* nginx ends the request by itself: at worker_shutdown_timeout, for instance */

static void
ngx_snorky_websocket_cleanup(void *data)
{
    ngx_snorky_ws_t *ws = data;

    if (ws->finished) {
        return;
    }

    ngx_snorky_session_close(&ws->peer.session, NGX_SNORKY_WS_SERVICE_RESTART,
                             "service restart");

    ngx_snorky_ws_connection(ws)->error = 0;

    (void) ngx_snorky_output_flush(&ws->output);

    ngx_snorky_websocket_finish(ws);
}


void
ngx_snorky_websocket_end_all(ngx_snorky_worker_t *worker)
{
    ngx_queue_t       *q;
    ngx_connection_t  *c;
    ngx_snorky_ws_t   *ws;

    ngx_snorky_broker_drain(worker->hub->broker);

    while (!ngx_queue_empty(&worker->websockets)) {

        q = ngx_queue_head(&worker->websockets);
        ws = ngx_queue_data(q, ngx_snorky_ws_t, queue);
        c = ngx_snorky_ws_connection(ws);

        if (ngx_exiting) {
            ngx_snorky_session_close(&ws->peer.session,
                                     NGX_SNORKY_WS_SERVICE_RESTART,
                                     "service restart");
        } else {
            ngx_snorky_session_close(&ws->peer.session,
                                     NGX_SNORKY_WS_GOING_AWAY, "server stops");
        }

        (void) ngx_snorky_output_flush(&ws->output);

        ngx_snorky_websocket_finish(ws);

        ngx_http_finalize_request(ws->peer.request, NGX_ERROR);
        ngx_http_run_posted_requests(c);
    }
}
