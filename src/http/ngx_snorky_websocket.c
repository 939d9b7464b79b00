
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns an upgraded connection from its 101 to its end: what is read is parsed
 * and dispatched, what the session sends is framed and queued, silence is
 * broken by pings, and closing is a handshake with a timer.  Called by nginx
 * (events), by the flusher, and by the core through the session's operations.
 */


#include "ngx_snorky_websocket.h"
#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_handshake.h"
#include "ngx_snorky_origin.h"
#include "ngx_snorky_peer.h"
#include "ngx_snorky_ws_frame.h"


/* reads of one connection in a round, before others have their turn */
#define NGX_SNORKY_WEBSOCKET_READS     16

/* the smallest piece of memory for a message that comes in pieces */
#define NGX_SNORKY_WEBSOCKET_MIN_SIZE  512


typedef enum {
    NGX_SNORKY_WEBSOCKET_OPEN = 0,
    NGX_SNORKY_WEBSOCKET_CLOSING,   /* our close frame waits for its answer */
    NGX_SNORKY_WEBSOCKET_ENDING     /* nothing more is read, the rest is sent */
} ngx_snorky_websocket_e;


typedef struct {
    u_char                     *data;
    size_t                      len;
    size_t                      size;
} ngx_snorky_websocket_bytes_t;


typedef struct {
    ngx_snorky_peer_t           peer;       /* first */
    ngx_queue_t                 queue;      /* of the worker's websockets */
    ngx_snorky_worker_t        *worker;
    ngx_snorky_loc_conf_t      *conf;

    ngx_snorky_output_t         output;
    ngx_snorky_ws_parser_t      parser;

    /* a message that came in pieces, or waits for room in the log */
    ngx_snorky_websocket_bytes_t  message;
    ngx_uint_t                    opcode;

    /* what was read behind a message that must be dealt with first */
    ngx_snorky_websocket_bytes_t  unread;

    ngx_msec_t                  seen;       /* last sign of the peer */
    uint64_t                   *closed;     /* counter, once it is known */

    unsigned                    state:2;
    unsigned                    pinged:1;
    unsigned                    finished:1;
    unsigned                    waits:1;    /* "message" does, for room */
    unsigned                    full:1;     /* our answers are not read */
    unsigned                    accepting:1;
} ngx_snorky_websocket_t;


static ngx_snorky_websocket_t *ngx_snorky_websocket_create(
    ngx_http_request_t *r, ngx_snorky_worker_t *worker);
static ngx_int_t ngx_snorky_websocket_open(ngx_snorky_websocket_t *ws);
static ngx_int_t ngx_snorky_websocket_keep_early(ngx_snorky_websocket_t *ws);

static void ngx_snorky_websocket_read_handler(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_websocket_read(ngx_snorky_websocket_t *ws);
static ngx_int_t ngx_snorky_websocket_read_unread(ngx_snorky_websocket_t *ws);
static ngx_int_t ngx_snorky_websocket_parse(ngx_snorky_websocket_t *ws,
    u_char *pos, u_char *last);
static ngx_int_t ngx_snorky_websocket_data(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_websocket_control(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_websocket_message(ngx_snorky_websocket_t *ws,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_websocket_echo(ngx_snorky_websocket_t *ws,
    ngx_str_t *text);
static void ngx_snorky_websocket_peer_closes(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_uint_t ngx_snorky_websocket_paused(ngx_snorky_websocket_t *ws);

static ngx_int_t ngx_snorky_websocket_push(ngx_snorky_websocket_t *ws,
    ngx_uint_t opcode, u_char *data, size_t len);
static ngx_int_t ngx_snorky_websocket_frame(ngx_snorky_websocket_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t opcode);
static void ngx_snorky_websocket_push_close(ngx_snorky_websocket_t *ws,
    ngx_uint_t code, const char *reason);
static void ngx_snorky_websocket_write_handler(ngx_http_request_t *r);
static void ngx_snorky_websocket_flushed(ngx_snorky_output_t *o,
    ngx_int_t rc);
static ngx_int_t ngx_snorky_websocket_after_flush(ngx_snorky_websocket_t *ws,
    ngx_int_t rc);

static void ngx_snorky_websocket_send(ngx_snorky_session_t *s,
    ngx_snorky_msg_t *msg, ngx_uint_t reply);
static void ngx_snorky_websocket_close(ngx_snorky_session_t *s,
    ngx_uint_t code, const char *reason);
static void ngx_snorky_websocket_resume(ngx_snorky_session_t *s);

static ngx_int_t ngx_snorky_websocket_timer(ngx_snorky_websocket_t *ws);
static void ngx_snorky_websocket_set_timer(ngx_snorky_websocket_t *ws,
    ngx_msec_t wait);
static uint64_t *ngx_snorky_websocket_counter(ngx_snorky_websocket_t *ws,
    ngx_uint_t code);
static void ngx_snorky_websocket_end(ngx_snorky_websocket_t *ws,
    ngx_int_t rc);
static void ngx_snorky_websocket_finish(ngx_snorky_websocket_t *ws);
static void ngx_snorky_websocket_cleanup(void *data);

static ngx_int_t ngx_snorky_websocket_append(
    ngx_snorky_websocket_bytes_t *bytes, u_char *data, size_t len,
    ngx_log_t *log);
static void ngx_snorky_websocket_forget(ngx_snorky_websocket_bytes_t *bytes);


static ngx_snorky_session_ops_t  ngx_snorky_websocket_ops = {
    ngx_snorky_websocket_send,
    ngx_snorky_websocket_close,
    ngx_snorky_websocket_resume
};


#define ngx_snorky_websocket_connection(ws)  (ws)->peer.request->connection
#define ngx_snorky_websocket_stats(ws)       (ws)->worker->hub->stats


ngx_int_t
ngx_snorky_websocket_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_snorky_worker_t     *worker;
    ngx_snorky_loc_conf_t   *conf;
    ngx_snorky_websocket_t  *ws;

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


static ngx_snorky_websocket_t *
ngx_snorky_websocket_create(ngx_http_request_t *r, ngx_snorky_worker_t *worker)
{
    ngx_http_cleanup_t      *cln;
    ngx_snorky_websocket_t  *ws;

    ws = ngx_pcalloc(r->pool, sizeof(ngx_snorky_websocket_t));
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
ngx_snorky_websocket_open(ngx_snorky_websocket_t *ws)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ws->peer.request;
    c = r->connection;

    if (ngx_snorky_websocket_keep_early(ws) != NGX_OK) {
        return NGX_ERROR;
    }

    ws->finished = 0;

    ngx_queue_insert_tail(&ws->worker->websockets, &ws->queue);

    ngx_snorky_session_open(&ws->peer.session, 1);

    if (ws->conf->echo) {
        ngx_snorky_websocket_stats(ws)->sessions_echo++;

    } else {
        ngx_snorky_websocket_stats(ws)->sessions_websocket++;
    }

    r->read_event_handler = ngx_snorky_websocket_read_handler;
    r->write_event_handler = ngx_snorky_websocket_write_handler;

    ngx_snorky_websocket_set_timer(ws, ws->conf->ping_interval);

    /* what has come already is read in an event of its own */

    if (ws->unread.len || c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the client may have sent frames right behind the request's head */

static ngx_int_t
ngx_snorky_websocket_keep_early(ngx_snorky_websocket_t *ws)
{
    ngx_buf_t  *b;

    b = ws->peer.request->header_in;

    if (b->pos == b->last) {
        return NGX_OK;
    }

    if (ngx_snorky_websocket_append(&ws->unread, b->pos, b->last - b->pos,
                                ngx_snorky_websocket_connection(ws)->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->pos = b->last;

    return NGX_OK;
}


static void
ngx_snorky_websocket_read_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_event_t             *rev;
    ngx_snorky_websocket_t  *ws;

    rev = r->connection->read;
    ws = ngx_http_get_module_ctx(r, ngx_snorky_module);

    rc = NGX_OK;

    if (rev->timedout) {
        rev->timedout = 0;
        rc = ngx_snorky_websocket_timer(ws);
    }

    if (rc == NGX_OK) {
        rc = ngx_snorky_websocket_read(ws);
    }

    if (rc == NGX_OK && ngx_handle_read_event(rev, 0) != NGX_OK) {
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_snorky_websocket_end(ws, rc);
    }
}


/*
 * NGX_OK, or how to end: NGX_DONE (what had to be said has been said) or
 * NGX_ERROR (the peer is gone).
 */

static ngx_int_t
ngx_snorky_websocket_read(ngx_snorky_websocket_t *ws)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = ngx_snorky_websocket_connection(ws);

    rc = ngx_snorky_websocket_read_unread(ws);
    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; !ngx_snorky_websocket_paused(ws); i++) {

        if (i == NGX_SNORKY_WEBSOCKET_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        n = c->recv(c, ws->worker->buffer, ws->worker->buffer_size);

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n == NGX_ERROR || n == 0) {
            return NGX_ERROR;
        }

        ws->seen = ngx_current_msec;
        ws->pinged = 0;

        rc = ngx_snorky_websocket_parse(ws, ws->worker->buffer,
                                        ws->worker->buffer + n);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_websocket_read_unread(ngx_snorky_websocket_t *ws)
{
    ngx_int_t                     rc;
    ngx_snorky_websocket_bytes_t  bytes;

    if (ws->unread.len == 0 || ngx_snorky_websocket_paused(ws)) {
        return NGX_OK;
    }

    bytes = ws->unread;
    ngx_memzero(&ws->unread, sizeof(ngx_snorky_websocket_bytes_t));

    rc = ngx_snorky_websocket_parse(ws, bytes.data, bytes.data + bytes.len);

    ngx_free(bytes.data);

    return rc;
}


static ngx_int_t
ngx_snorky_websocket_parse(ngx_snorky_websocket_t *ws, u_char *pos,
    u_char *last)
{
    ngx_int_t               rc;
    ngx_log_t              *log;
    ngx_snorky_ws_event_t   event;

    log = ngx_snorky_websocket_connection(ws)->log;

    while (ws->state != NGX_SNORKY_WEBSOCKET_ENDING) {

        if (ngx_snorky_websocket_paused(ws)) {

            if (pos == last) {
                return NGX_OK;
            }

            return ngx_snorky_websocket_append(&ws->unread, pos, last - pos,
                                               log);
        }

        rc = ngx_snorky_ws_parse(&ws->parser, &pos, last, &event);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc == NGX_DECLINED) {
            ws->parser.control = ngx_alloc(NGX_SNORKY_WS_MAX_CONTROL, log);

            if (ws->parser.control == NULL) {
                return NGX_ERROR;
            }

            continue;
        }

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "client broke the WebSocket protocol: %V",
                          &event.data);

            ngx_snorky_session_leave(&ws->peer.session);
            ngx_snorky_websocket_push_close(ws, event.code,
                                            (char *) event.data.data);
            ws->state = NGX_SNORKY_WEBSOCKET_ENDING;
            return NGX_OK;
        }

        if (event.opcode == NGX_SNORKY_WS_TEXT
            || event.opcode == NGX_SNORKY_WS_BINARY)
        {
            rc = ngx_snorky_websocket_data(ws, &event);

        } else {
            rc = ngx_snorky_websocket_control(ws, &event);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* a message in one piece is used where it was read */

static ngx_int_t
ngx_snorky_websocket_data(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_log_t  *log;

    if (ws->state != NGX_SNORKY_WEBSOCKET_OPEN) {
        return NGX_OK;
    }

    log = ngx_snorky_websocket_connection(ws)->log;

    ws->opcode = event->opcode;

    if (!event->last || ws->message.len) {

        if (ngx_snorky_websocket_append(&ws->message, event->data.data,
                                        event->data.len, log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!event->last) {
            return NGX_OK;
        }

        text.data = ws->message.data;
        text.len = ws->message.len;

    } else {
        text = event->data;
    }

    rc = ngx_snorky_websocket_message(ws, &text);

    if (rc == NGX_AGAIN) {
        ws->waits = 1;

        return ws->message.len ? NGX_OK
                               : ngx_snorky_websocket_append(&ws->message,
                                                    text.data, text.len, log);
    }

    ngx_snorky_websocket_forget(&ws->message);

    return rc;
}


static ngx_int_t
ngx_snorky_websocket_control(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event)
{
    ngx_int_t  rc;

    rc = NGX_OK;

    switch (event->opcode) {

    case NGX_SNORKY_WS_PING:
        if (ws->state == NGX_SNORKY_WEBSOCKET_OPEN) {
            rc = ngx_snorky_websocket_push(ws, NGX_SNORKY_WS_PONG,
                                           event->data.data, event->data.len);
        }

        break;

    case NGX_SNORKY_WS_CLOSE:
        ngx_snorky_websocket_peer_closes(ws, event);
        break;

    default: /* NGX_SNORKY_WS_PONG: it has been seen, that is all it is for */
        break;
    }

    if (ws->parser.control) {
        ngx_free(ws->parser.control);
        ws->parser.control = NULL;
    }

    return rc;
}


/* NGX_OK, NGX_AGAIN: it waits for room in the log, or NGX_ERROR: no memory */

static ngx_int_t
ngx_snorky_websocket_message(ngx_snorky_websocket_t *ws, ngx_str_t *text)
{
    if (ws->conf->echo) {
        return ngx_snorky_websocket_echo(ws, text);
    }

    return (ngx_snorky_dispatch(&ws->peer.session, text) == NGX_AGAIN)
           ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_snorky_websocket_echo(ngx_snorky_websocket_t *ws, ngx_str_t *text)
{
    ngx_snorky_session_t  *s;

    s = &ws->peer.session;

    s->messages_in++;
    s->messages_out++;

    ngx_snorky_websocket_stats(ws)->messages_in++;
    ngx_snorky_websocket_stats(ws)->messages_out++;
    ngx_snorky_websocket_stats(ws)->bytes_in += text->len;
    ngx_snorky_websocket_stats(ws)->bytes_out += text->len;

    return ngx_snorky_websocket_push(ws, ws->opcode, text->data, text->len);
}


/* answers with the same code, or ends what our close frame began */

static void
ngx_snorky_websocket_peer_closes(ngx_snorky_websocket_t *ws,
    ngx_snorky_ws_event_t *event)
{
    ngx_snorky_session_leave(&ws->peer.session);

    if (ws->state == NGX_SNORKY_WEBSOCKET_OPEN) {

        if (event->code == NGX_SNORKY_WS_NORMAL
            || event->code == NGX_SNORKY_WS_GOING_AWAY
            || event->code == NGX_SNORKY_WS_NO_STATUS
            || event->code >= 3000)
        {
            ws->closed = &ngx_snorky_websocket_stats(ws)->closed_normal;

        } else {
            ws->closed = &ngx_snorky_websocket_stats(ws)->closed_other;
        }

        ngx_snorky_websocket_push_close(ws, event->code, NULL);
    }

    ws->state = NGX_SNORKY_WEBSOCKET_ENDING;

    ngx_snorky_output_post(&ws->output);
}


static ngx_uint_t
ngx_snorky_websocket_paused(ngx_snorky_websocket_t *ws)
{
    return ws->waits || ws->full
           || ws->state == NGX_SNORKY_WEBSOCKET_ENDING;
}


static ngx_int_t
ngx_snorky_websocket_push(ngx_snorky_websocket_t *ws, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    ngx_int_t          rc;
    ngx_snorky_msg_t  *msg;

    msg = ngx_snorky_msg_create(len,
                                ngx_snorky_websocket_connection(ws)->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(msg->text, data, len);

    rc = ngx_snorky_websocket_frame(ws, msg, opcode);

    ngx_snorky_msg_unref(msg);

    return rc;
}


/*
 * The header is built once, whoever sends the message first.  While a peer
 * does not read what we answer, we do not read what it asks.
 */

static ngx_int_t
ngx_snorky_websocket_frame(ngx_snorky_websocket_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode)
{
    if (msg->framed == 0) {
        msg->framed = msg->text
                      - ngx_snorky_ws_build_header(msg->text, opcode,
                                                   msg->len);
    }

    if (ngx_snorky_output_push(&ws->output, msg) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ws->output.bytes > ws->conf->send_buffer / 2) {
        ws->full = 1;
    }

    return NGX_OK;
}


/* the last frame that we send */

static void
ngx_snorky_websocket_push_close(ngx_snorky_websocket_t *ws, ngx_uint_t code,
    const char *reason)
{
    u_char             frame[2 + NGX_SNORKY_WS_MAX_CONTROL];
    ngx_str_t          text;
    ngx_snorky_msg_t  *msg;

    text.data = (u_char *) reason;
    text.len = reason ? ngx_strlen(reason) : 0;

    ws->peer.close_code = code;

    if (ws->closed == NULL) {
        ws->closed = ngx_snorky_websocket_counter(ws, code);
    }

    ngx_snorky_websocket_set_timer(ws, ws->conf->close_timeout);

    text.len = ngx_snorky_ws_build_close(frame, code, reason ? &text : NULL)
               - frame;

    msg = ngx_snorky_msg_create(text.len,
                                ngx_snorky_websocket_connection(ws)->log);
    if (msg == NULL) {
        return;
    }

    ngx_memcpy(msg->text, frame, text.len);

    (void) ngx_snorky_output_push(&ws->output, msg);

    ngx_snorky_msg_unref(msg);
}


static void
ngx_snorky_websocket_write_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_snorky_websocket_t  *ws;

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
    rc = ngx_snorky_websocket_after_flush(ws, rc);

    if (rc != NGX_OK) {
        ngx_snorky_websocket_end(ws, rc);
    }
}


/* the flusher calls from outside of the request's events */

static void
ngx_snorky_websocket_flushed(ngx_snorky_output_t *o, ngx_int_t rc)
{
    ngx_connection_t        *c;
    ngx_snorky_websocket_t  *ws;

    ws = (ngx_snorky_websocket_t *)
                       ((u_char *) o - offsetof(ngx_snorky_websocket_t, output));

    rc = ngx_snorky_websocket_after_flush(ws, rc);

    if (rc == NGX_OK) {
        return;
    }

    c = ngx_snorky_websocket_connection(ws);

    ngx_snorky_websocket_end(ws, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_snorky_websocket_after_flush(ngx_snorky_websocket_t *ws, ngx_int_t rc)
{
    ngx_connection_t  *c;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK && ws->state == NGX_SNORKY_WEBSOCKET_ENDING) {
        return NGX_DONE;
    }

    if (ws->full && ws->output.bytes <= ws->conf->send_buffer / 4) {

        /* the peer reads again */

        ws->full = 0;
        ws->seen = ngx_current_msec;

        c = ngx_snorky_websocket_connection(ws);
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return NGX_OK;
}


/*
 * A receiver whose queue would grow past its bound is too slow.  One message,
 * however large, always has room in an empty queue.
 */

static void
ngx_snorky_websocket_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    ngx_snorky_websocket_t *ws = (ngx_snorky_websocket_t *) s;

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

    if (ngx_snorky_websocket_frame(ws, msg, NGX_SNORKY_WS_TEXT) != NGX_OK) {
        ngx_snorky_session_close(s, NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
    }
}


static void
ngx_snorky_websocket_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_websocket_t *ws = (ngx_snorky_websocket_t *) s;

    ngx_uint_t         dropped;
    ngx_connection_t  *c;

    if (ws->state != NGX_SNORKY_WEBSOCKET_OPEN) {
        return;
    }

    ws->state = NGX_SNORKY_WEBSOCKET_CLOSING;

    if (code == NGX_SNORKY_WS_TRY_AGAIN_LATER) {
        dropped = ngx_snorky_output_drop(&ws->output);
        ngx_snorky_websocket_stats(ws)->drops += dropped;
    }

    ngx_snorky_websocket_push_close(ws, code, reason);

    /* the peer's close frame must be read, whatever stands before it */

    ws->waits = 0;
    ws->full = 0;

    c = ngx_snorky_websocket_connection(ws);
    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_snorky_websocket_resume(ngx_snorky_session_t *s)
{
    ngx_snorky_websocket_t *ws = (ngx_snorky_websocket_t *) s;

    ngx_str_t          text;
    ngx_connection_t  *c;

    text.data = ws->message.data;
    text.len = ws->message.len;

    if (ngx_snorky_websocket_message(ws, &text) == NGX_AGAIN) {
        return;
    }

    ngx_snorky_websocket_forget(&ws->message);

    ws->waits = 0;

    c = ngx_snorky_websocket_connection(ws);
    ngx_post_event(c->read, &ngx_posted_events);
}


/*
 * One timer per connection, set again only when it has run out: silence is
 * measured from the last byte that came.
 */

static ngx_int_t
ngx_snorky_websocket_timer(ngx_snorky_websocket_t *ws)
{
    ngx_int_t               rc;
    ngx_msec_t              silent;
    ngx_snorky_loc_conf_t  *conf;

    if (ws->state != NGX_SNORKY_WEBSOCKET_OPEN) {

        /* the closing handshake takes too long */

        return NGX_DONE;
    }

    conf = ws->conf;
    silent = ngx_current_msec - ws->seen;

    if (ngx_snorky_websocket_paused(ws)) {

        /* it can't be seen: we do not read */

        if (ws->waits || silent < conf->ping_interval + conf->ping_timeout) {
            ngx_snorky_websocket_set_timer(ws, conf->ping_timeout);
            return NGX_OK;
        }

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_TRY_AGAIN_LATER, "too slow");
        return NGX_OK;
    }

    if (ws->pinged) {
        ngx_log_error(NGX_LOG_INFO, ngx_snorky_websocket_connection(ws)->log,
                      0, "client did not answer a ping");

        ws->closed = &ngx_snorky_websocket_stats(ws)->closed_timeout;

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_INTERNAL_ERROR, "ping timeout");
        return NGX_OK;
    }

    if (silent < conf->ping_interval) {
        ngx_snorky_websocket_set_timer(ws, conf->ping_interval - silent);
        return NGX_OK;
    }

    rc = ngx_snorky_websocket_push(ws, NGX_SNORKY_WS_PING, NULL, 0);

    ws->pinged = 1;

    ngx_snorky_websocket_set_timer(ws, conf->ping_timeout);

    return rc;
}


static void
ngx_snorky_websocket_set_timer(ngx_snorky_websocket_t *ws, ngx_msec_t wait)
{
    ngx_event_t  *rev;

    rev = ngx_snorky_websocket_connection(ws)->read;

    if (wait) {
        ngx_add_timer(rev, wait);

    } else if (rev->timer_set) {
        ngx_del_timer(rev);
    }
}


static uint64_t *
ngx_snorky_websocket_counter(ngx_snorky_websocket_t *ws, ngx_uint_t code)
{
    ngx_snorky_stats_t  *stats;

    stats = ngx_snorky_websocket_stats(ws);

    switch (code) {

    case NGX_SNORKY_WS_PROTOCOL_ERROR:
        return &stats->closed_protocol;

    case NGX_SNORKY_WS_INVALID_PAYLOAD:
        return &stats->closed_invalid;

    case NGX_SNORKY_WS_TOO_BIG:
        return &stats->closed_too_big;

    case NGX_SNORKY_WS_TRY_AGAIN_LATER:
        return &stats->closed_slow;

    case NGX_SNORKY_WS_SERVICE_RESTART:
        return &stats->closed_restart;

    default:
        return &stats->closed_other;
    }
}


/*
 * With NGX_DONE, nginx's lingering close lets the peer read our last frame:
 * a socket that is closed with input unread is reset.
 */

static void
ngx_snorky_websocket_end(ngx_snorky_websocket_t *ws, ngx_int_t rc)
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
ngx_snorky_websocket_finish(ngx_snorky_websocket_t *ws)
{
    ngx_snorky_stats_t  *stats;

    if (ws->finished) {
        return;
    }

    ws->finished = 1;

    ngx_snorky_session_leave(&ws->peer.session);

    stats = ngx_snorky_websocket_stats(ws);

    if (ws->conf->echo) {
        stats->sessions_echo--;

    } else {
        stats->sessions_websocket--;
    }

    if (ws->closed == NULL) {
        ws->closed = &stats->closed_lost;
        ws->peer.close_code = NGX_SNORKY_WS_ABNORMAL;
    }

    (*ws->closed)++;

    stats->drops += ngx_snorky_output_finish(&ws->output);

    ngx_snorky_websocket_forget(&ws->message);
    ngx_snorky_websocket_forget(&ws->unread);

    if (ws->parser.control) {
        ngx_free(ws->parser.control);
        ws->parser.control = NULL;
    }

    ngx_queue_remove(&ws->queue);

    ngx_snorky_websocket_set_timer(ws, 0);
}


/* nginx ends the request by itself: at worker_shutdown_timeout, for instance */

static void
ngx_snorky_websocket_cleanup(void *data)
{
    ngx_snorky_websocket_t *ws = data;

    if (ws->finished) {
        return;
    }

    ngx_snorky_session_close(&ws->peer.session, NGX_SNORKY_WS_SERVICE_RESTART,
                             "service restart");

    ngx_snorky_websocket_connection(ws)->error = 0;

    (void) ngx_snorky_output_flush(&ws->output);

    ngx_snorky_websocket_finish(ws);
}


void
ngx_snorky_websocket_end_all(ngx_snorky_worker_t *worker)
{
    ngx_queue_t             *q;
    ngx_connection_t        *c;
    ngx_snorky_websocket_t  *ws;

    while (!ngx_queue_empty(&worker->websockets)) {

        q = ngx_queue_head(&worker->websockets);
        ws = ngx_queue_data(q, ngx_snorky_websocket_t, queue);
        c = ngx_snorky_websocket_connection(ws);

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


static ngx_int_t
ngx_snorky_websocket_append(ngx_snorky_websocket_bytes_t *bytes, u_char *data,
    size_t len, ngx_log_t *log)
{
    u_char  *p;
    size_t   size;

    if (bytes->size - bytes->len < len) {

        size = ngx_max(bytes->size * 2, bytes->len + len);
        size = ngx_max(size, NGX_SNORKY_WEBSOCKET_MIN_SIZE);

        p = ngx_alloc(size, log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (bytes->data) {
            ngx_memcpy(p, bytes->data, bytes->len);
            ngx_free(bytes->data);
        }

        bytes->data = p;
        bytes->size = size;
    }

    ngx_memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;

    return NGX_OK;
}


static void
ngx_snorky_websocket_forget(ngx_snorky_websocket_bytes_t *bytes)
{
    if (bytes->data) {
        ngx_free(bytes->data);
    }

    ngx_memzero(bytes, sizeof(ngx_snorky_websocket_bytes_t));
}
