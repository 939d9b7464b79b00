
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns an upgraded connection's life.  Called by nginx (events of the request
 * or, when that has ended, of the connection), by the flusher, and by the core
 * through the session's operations.
 */


#include "ngx_snorky_websocket.h"
#include "ngx_snorky_handshake.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_lean.h"
#include "ngx_snorky_limit.h"
#include "ngx_snorky_origin.h"
#include "ngx_snorky_sockjs_page.h"
#include "ngx_snorky_trim.h"
#include "ngx_snorky_ws_deflate.h"
#include "ngx_snorky_ws_end.h"
#include "ngx_snorky_ws_in.h"
#include "ngx_snorky_ws_out.h"
#include "ngx_snorky_ws_silence.h"
#include "ngx_snorky_ws_sockjs.h"


static ngx_int_t ngx_snorky_websocket_refuse(ngx_http_request_t *r,
    const char *text);
static ngx_int_t ngx_snorky_websocket_upgrade(ngx_http_request_t *r,
    ngx_uint_t sockjs);
static ngx_snorky_ws_t *ngx_snorky_websocket_create(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_snorky_deflate_params_t *deflate,
    ngx_uint_t sockjs);
static ngx_int_t ngx_snorky_websocket_enter(ngx_snorky_ws_t *ws);
static ngx_int_t ngx_snorky_websocket_open(ngx_snorky_ws_t *ws);
static void ngx_snorky_websocket_accepted(ngx_snorky_ws_t *ws);

static void ngx_snorky_websocket_read_handler(ngx_http_request_t *r);
static void ngx_snorky_websocket_write_handler(ngx_http_request_t *r);
static void ngx_snorky_websocket_part_handler(ngx_event_t *rev);
static void ngx_snorky_websocket_lean_read_handler(ngx_event_t *rev);
static void ngx_snorky_websocket_lean_write_handler(ngx_event_t *wev);
static void ngx_snorky_websocket_read(ngx_snorky_ws_t *ws);
static void ngx_snorky_websocket_write(ngx_snorky_ws_t *ws);
static void ngx_snorky_websocket_flushed(ngx_snorky_output_t *o, ngx_int_t rc);

static void ngx_snorky_websocket_send(ngx_snorky_session_t *s,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_websocket_queue(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_websocket_close(ngx_snorky_session_t *s,
    ngx_uint_t code, const char *reason);
static void ngx_snorky_websocket_resume(ngx_snorky_session_t *s);
static void ngx_snorky_websocket_left(ngx_snorky_session_t *s);
static ngx_connection_t *ngx_snorky_websocket_connection(
    ngx_snorky_session_t *s);

static void ngx_snorky_websocket_cleanup(void *data);


static ngx_snorky_session_ops_t  ngx_snorky_websocket_ops = {
    ngx_snorky_websocket_send,
    ngx_snorky_websocket_close,
    ngx_snorky_websocket_resume,
    ngx_snorky_websocket_left,
    ngx_snorky_websocket_connection
};


ngx_int_t
ngx_snorky_websocket_init(ngx_conf_t *cf, ngx_snorky_main_conf_t *smcf,
    ngx_snorky_loc_conf_t *conf)
{
    conf->silence = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                           conf->ping_interval, ngx_snorky_ws_silence_handler);
    conf->pong = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                           conf->ping_timeout, ngx_snorky_ws_silence_handler);
    conf->closing = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                           conf->close_timeout, ngx_snorky_ws_silence_handler);

    if (conf->silence == NULL || conf->pong == NULL || conf->closing == NULL) {
        return NGX_ERROR;
    }

    if (conf->sockjs_used
        && ngx_snorky_ws_sockjs_init_location(cf, smcf, conf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->batch_window == 0) {
        return NGX_OK;
    }

    conf->window = ngx_snorky_output_window(cf, &smcf->windows,
                                            conf->batch_window);

    return conf->window ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_snorky_websocket_open_worker(ngx_snorky_worker_t *worker, ngx_log_t *log)
{
    ngx_queue_init(&worker->websockets);

    worker->ping = ngx_snorky_msg_create(0, log);
    if (worker->ping == NULL) {
        return NGX_ERROR;
    }

    if (ngx_snorky_ws_sockjs_open_worker(worker, log) != NGX_OK) {
        return NGX_ERROR;
    }

    worker->deflates = ngx_snorky_ws_deflate_open_worker(log);

    return worker->deflates ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_snorky_websocket_handler(ngx_http_request_t *r)
{
    return ngx_snorky_websocket_upgrade(r, 0);
}


/* the protocol wants 400 for what is no handshake at all */

ngx_int_t
ngx_snorky_websocket_handler_sockjs(ngx_http_request_t *r)
{
    if (!ngx_snorky_header_has(r, "Upgrade", "websocket", 1)) {
        return ngx_snorky_websocket_refuse(r,
                                 "Can \"Upgrade\" only to \"WebSocket\".");
    }

    if (!ngx_snorky_header_has(r, "Connection", "upgrade", 1)) {
        return ngx_snorky_websocket_refuse(r,
                                 "\"Connection\" must be \"Upgrade\".");
    }

    return ngx_snorky_websocket_upgrade(r, 1);
}


static ngx_int_t
ngx_snorky_websocket_refuse(ngx_http_request_t *r, const char *text)
{
    ngx_snorky_worker_t  *worker;

    worker = ngx_snorky_conf_worker(r);

    if (worker) {
        worker->hub->stats->rejected_handshake++;
    }

    return ngx_snorky_sockjs_page_text(r, NGX_HTTP_BAD_REQUEST, text);
}


static ngx_int_t
ngx_snorky_websocket_upgrade(ngx_http_request_t *r, ngx_uint_t sockjs)
{
    ngx_int_t                     rc, deflate;
    ngx_snorky_ws_t              *ws;
    ngx_snorky_worker_t          *worker;
    ngx_snorky_loc_conf_t        *conf;
    ngx_snorky_deflate_params_t   params;

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

    deflate = ngx_snorky_ws_deflate_negotiate(r, conf, &params);

    if (deflate == NGX_HTTP_BAD_REQUEST) {
        worker->hub->stats->rejected_handshake++;
        return deflate;
    }

    ws = ngx_snorky_websocket_create(r, worker,
                                     deflate == NGX_OK ? &params : NULL,
                                     sockjs);
    if (ws == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_limit_enter(r, worker, conf->max_connections,
                                ngx_snorky_ws_tallies(ws));
    if (rc != NGX_OK) {
        ngx_http_set_ctx(r, NULL, ngx_snorky_module);
        return rc;
    }

    if (deflate == NGX_OK
        && ngx_snorky_ws_deflate_answer(r, &params) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_snorky_websocket_enter(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_handshake_accept(r, conf->protocols);

    ws->accepting = (rc == NGX_AGAIN);
    ws->output.held = (rc != NGX_OK);

    if (rc == NGX_ERROR) {
        ngx_snorky_ws_count(ws, &ngx_snorky_ws_stats(ws)->closed_lost);
        return NGX_ERROR;
    }

    if (ngx_snorky_websocket_open(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    r->main->count++;

    return NGX_DONE;
}


static ngx_snorky_ws_t *
ngx_snorky_websocket_create(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_snorky_deflate_params_t *deflate, ngx_uint_t sockjs)
{
    size_t                  size, more;
    ngx_str_t               identity;
    ngx_pool_t             *pool;
    ngx_snorky_ws_t        *ws;
    ngx_http_cleanup_t     *cln;
    ngx_snorky_loc_conf_t  *conf;

    if (ngx_snorky_peer_identity(r, &identity) != NGX_OK) {
        return NULL;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);
    size = sizeof(ngx_snorky_ws_t);

    if (conf->max_connections) {
        size += conf->max_connections->nelts * sizeof(void *);
    }

    more = identity.len;

    if (deflate) {
        more += ngx_align(sizeof(ngx_snorky_ws_deflate_t), NGX_ALIGNMENT);
    }

    if (sockjs) {
        more += ngx_align(sizeof(ngx_snorky_ws_sockjs_t), NGX_ALIGNMENT);
    }

    pool = ngx_snorky_lean_create_pool(r, size + more, conf->lean);
    if (pool == NULL) {
        return NULL;
    }

    ws = ngx_pcalloc(pool, size);
    if (ws == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    if (identity.len) {
        identity.data = ngx_pstrdup(pool, &identity);
        if (identity.data == NULL) {
            return NULL;
        }
    }

    ngx_snorky_peer_init(&ws->peer, r, worker, &ngx_snorky_websocket_ops,
                         &identity, "websocket");

    /* the 101 may tell it */

    ngx_snorky_session_number(&ws->peer.session);

    ws->worker = worker;
    ws->conf = conf;
    ws->pool = pool;
    ws->parser.max_size = conf->max_message_size;

    if (deflate && ngx_snorky_ws_deflate_init(ws, deflate) != NGX_OK) {
        return NULL;
    }

    if (sockjs && ngx_snorky_ws_sockjs_init(ws) != NGX_OK) {
        return NULL;
    }

    ws->seen = ngx_current_msec;

    ws->output.flusher = &worker->flusher;
    ws->output.window = conf->window;
    ws->output.connection = r->connection;
    ws->output.flushed = ngx_snorky_websocket_flushed;

    /* until it is open, there is nothing to finish */

    ws->finished = 1;

    cln->handler = ngx_snorky_websocket_cleanup;
    cln->data = ws;

    return ws;
}


/*
 * Before the 101: whoever has it can be reached by other workers' clients.
 * What is sent meanwhile waits for the end of this round.
 */

static ngx_int_t
ngx_snorky_websocket_enter(ngx_snorky_ws_t *ws)
{
    if (ngx_snorky_ws_in_early(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    ws->finished = 0;

    ngx_queue_insert_tail(&ws->worker->websockets, &ws->queue);

    ngx_snorky_ws_silence_begin(ws);

    if (ws->sockjs) {

        /* services may have something to say at once */

        ngx_snorky_ws_sockjs_open(ws);
    }

    ngx_snorky_session_open(&ws->peer.session, 1);

    if (ws->conf->echo) {
        ngx_snorky_ws_stats(ws)->sessions_echo++;

    } else {
        ngx_snorky_ws_stats(ws)->sessions_websocket++;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_websocket_open(ngx_snorky_ws_t *ws)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ws->peer.request;
    c = r->connection;

    r->read_event_handler = ngx_snorky_websocket_read_handler;
    r->write_event_handler = ngx_snorky_websocket_write_handler;

    if (ws->conf->go_away) {
        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_SOCKJS_GO_AWAY, "Go away!");
    }

    if (!ws->accepting) {
        ngx_snorky_websocket_accepted(ws);

    } else if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    /* what has come already is read in an event of its own */

    if (ws->unread || c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the 101 is with the kernel; the request can't end in its own handler */

static void
ngx_snorky_websocket_accepted(ngx_snorky_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ngx_snorky_ws_connection(ws);

    if (ws->conf->lean && ngx_snorky_lean_possible(c)) {
        c->read->handler = ngx_snorky_websocket_part_handler;
        ngx_post_event(c->read, &ngx_posted_events);
        return;
    }

    ngx_snorky_trim_request(ws->peer.request);
}


static void
ngx_snorky_websocket_part_handler(ngx_event_t *rev)
{
    ngx_connection_t    *c;
    ngx_snorky_ws_t     *ws;
    ngx_http_request_t  *r;

    c = rev->data;
    r = c->data;
    ws = ngx_http_get_module_ctx(r, ngx_snorky_module);

    if (r->count != 1 || r->blocked) {

        /* a mirror's subrequest, for instance, needs it still */

        rev->handler = c->write->handler;
        rev->handler(rev);
        return;
    }

    ws->peer.request = NULL;

    ngx_snorky_lean_part(r, ws->pool);

    c->data = ws;
    c->read->handler = ngx_snorky_websocket_lean_read_handler;
    c->write->handler = ngx_snorky_websocket_lean_write_handler;

    ws->peer.session.log = c->log;

    ngx_snorky_websocket_lean_read_handler(rev);
}


static void
ngx_snorky_websocket_lean_read_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;
    ngx_snorky_ws_t   *ws;

    c = rev->data;
    ws = c->data;

    if (c->close) {

        /* at worker_shutdown_timeout */

        ngx_snorky_ws_end_stop(ws, NGX_SNORKY_WS_SERVICE_RESTART,
                                  ngx_snorky_hub_reason(ws->worker->hub));
        ngx_snorky_ws_end_free(ws);
        return;
    }

    ngx_snorky_websocket_read(ws);
}


static void
ngx_snorky_websocket_lean_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_snorky_websocket_write(c->data);
}


static void
ngx_snorky_websocket_read_handler(ngx_http_request_t *r)
{
    ngx_snorky_websocket_read(ngx_http_get_module_ctx(r, ngx_snorky_module));
}


static void
ngx_snorky_websocket_read(ngx_snorky_ws_t *ws)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = ngx_snorky_ws_connection(ws);

    rc = ngx_snorky_ws_in_read(ws);

    if (rc == NGX_OK && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_snorky_ws_end(ws, rc);
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
            ngx_snorky_ws_end(ws, NGX_ERROR);
            return;
        }

        ws->accepting = 0;
        ws->output.held = 0;

        ngx_snorky_websocket_accepted(ws);
    }

    ngx_snorky_websocket_write(ws);
}


static void
ngx_snorky_websocket_write(ngx_snorky_ws_t *ws)
{
    ngx_int_t  rc;

    rc = ngx_snorky_output_flush(&ws->output);
    rc = ngx_snorky_ws_out_flushed(ws, rc);

    if (rc != NGX_OK) {
        ngx_snorky_ws_end(ws, rc);
    }
}


/* the flusher calls from outside of the request's events */

static void
ngx_snorky_websocket_flushed(ngx_snorky_output_t *o, ngx_int_t rc)
{
    ngx_snorky_ws_t  *ws;

    ws = (ngx_snorky_ws_t *) ((u_char *) o - offsetof(ngx_snorky_ws_t, output));

    rc = ngx_snorky_ws_out_flushed(ws, rc);

    if (rc != NGX_OK) {
        ngx_snorky_ws_end_outside(ws, rc);
    }
}


static void
ngx_snorky_websocket_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_ws_t *ws = (ngx_snorky_ws_t *) s;

    ngx_snorky_msg_t  *form;

    if (ws->deflate == NULL && ws->sockjs == NULL) {
        ngx_snorky_websocket_queue(ws, msg, reply);
        return;
    }

    form = ngx_snorky_ws_out_form(ws, msg, NGX_SNORKY_WS_TEXT);

    if (form == NULL) {
        ngx_snorky_session_close(s, NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
        return;
    }

    ngx_snorky_websocket_queue(ws, form, reply);

    ngx_snorky_msg_unref(form);
}


/*
 * A receiver whose queue would grow past its bound is too slow, if its socket
 * takes no more: it may have had no turn yet in a busy round.  One message,
 * however large, always has room in an empty queue.
 */

static void
ngx_snorky_websocket_queue(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_session_t  *s;

    s = &ws->peer.session;

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

    if (ngx_snorky_ws_out_msg(ws, msg, NGX_SNORKY_WS_TEXT, reply) != NGX_OK) {
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

    if (ws->sockjs) {
        ngx_snorky_ws_sockjs_close(ws, code, reason);
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


static ngx_connection_t *
ngx_snorky_websocket_connection(ngx_snorky_session_t *s)
{
    return ngx_snorky_ws_connection((ngx_snorky_ws_t *) s);
}


static void
ngx_snorky_websocket_left(ngx_snorky_session_t *s)
{
    ngx_snorky_ws_t *ws = (ngx_snorky_ws_t *) s;

    ngx_snorky_limit_leave(ws->worker, ws->conf->max_connections,
                           ngx_snorky_ws_tallies(ws));
}


/* nginx ends the request by itself: at worker_shutdown_timeout, for instance */

static void
ngx_snorky_websocket_cleanup(void *data)
{
    ngx_snorky_ws_t *ws = data;

    if (ws->finished) {

        /* it may have been counted, and then not opened */

        ngx_snorky_websocket_left(&ws->peer.session);
        return;
    }

    if (ws->peer.request) {
        ngx_snorky_ws_end_stop(ws, NGX_SNORKY_WS_SERVICE_RESTART,
                                  ngx_snorky_hub_reason(ws->worker->hub));
    }
}


void
ngx_snorky_websocket_close_worker(ngx_snorky_worker_t *worker)
{
    ngx_queue_t         *q;
    ngx_connection_t    *c;
    ngx_snorky_ws_t     *ws;
    ngx_http_request_t  *r;

    ngx_snorky_broker_drain(worker->hub->broker);

    while (!ngx_queue_empty(&worker->websockets)) {

        q = ngx_queue_head(&worker->websockets);
        ws = ngx_queue_data(q, ngx_snorky_ws_t, queue);

        c = ngx_snorky_ws_connection(ws);
        r = ws->peer.request;

        if (ngx_exiting) {
            ngx_snorky_ws_end_stop(ws, NGX_SNORKY_WS_SERVICE_RESTART,
                                      ngx_snorky_hub_reason(ws->worker->hub));
        } else {
            ngx_snorky_ws_end_stop(ws, NGX_SNORKY_WS_GOING_AWAY,
                                      "server stops");
        }

        if (r) {
            ngx_http_finalize_request(r, NGX_ERROR);
            ngx_http_run_posted_requests(c);

        } else {
            ngx_snorky_ws_end_free(ws);
        }
    }

    ngx_snorky_ws_deflate_close_worker(worker->deflates);
    ngx_snorky_ws_sockjs_close_worker(worker);
    ngx_snorky_msg_unref(worker->ping);
}
