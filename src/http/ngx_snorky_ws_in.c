
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what has been read and not been dealt with.  Called by the websocket's
 * events; calls the dispatch, the one way in.
 */


#include "ngx_snorky_ws_in.h"
#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_ws_deflate.h"
#include "ngx_snorky_ws_out.h"
#include "ngx_snorky_ws_silence.h"
#include "ngx_snorky_ws_sockjs.h"


/* reads of one connection in a round, before others have their turn */
#define NGX_SNORKY_WS_IN_READS     16

/* the smallest piece of memory for a message that comes in pieces */
#define NGX_SNORKY_WS_IN_MIN_SIZE  512


static ngx_int_t ngx_snorky_ws_in_read_unread(ngx_snorky_ws_t *ws);
static ngx_int_t ngx_snorky_ws_in_parse(ngx_snorky_ws_t *ws, u_char *pos,
    u_char *last);
static ngx_uint_t ngx_snorky_ws_in_tired(ngx_snorky_ws_t *ws);
static ngx_int_t ngx_snorky_ws_in_data(ngx_snorky_ws_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_in_compressed(ngx_snorky_ws_t *ws,
    ngx_str_t *text);
static void ngx_snorky_ws_in_fail(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason);
static ngx_int_t ngx_snorky_ws_in_control(ngx_snorky_ws_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_in_sockjs(ngx_snorky_ws_t *ws,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_ws_in_unpack(ngx_snorky_ws_t *ws);
static ngx_int_t ngx_snorky_ws_in_message(ngx_snorky_ws_t *ws,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_ws_in_echo(ngx_snorky_ws_t *ws, ngx_str_t *text);
static void ngx_snorky_ws_in_close(ngx_snorky_ws_t *ws,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_in_append(ngx_snorky_ws_bytes_t **kept,
    u_char *data, size_t len, ngx_log_t *log);
static void ngx_snorky_ws_in_forget(ngx_snorky_ws_bytes_t **kept);


/* the client may have sent frames right behind the request's head */

ngx_int_t
ngx_snorky_ws_in_early(ngx_snorky_ws_t *ws)
{
    ngx_buf_t  *b;

    b = ws->peer.request->header_in;

    if (b->pos == b->last) {
        return NGX_OK;
    }

    if (ngx_snorky_ws_in_append(&ws->unread, b->pos, b->last - b->pos,
                                ngx_snorky_ws_connection(ws)->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    b->pos = b->last;

    return NGX_OK;
}


/*
 * NGX_OK, or how to end: NGX_DONE (what had to be said has been said) or
 * NGX_ERROR (the peer is gone).
 */

ngx_int_t
ngx_snorky_ws_in_read(ngx_snorky_ws_t *ws)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = ngx_snorky_ws_connection(ws);

    ws->worker->delivered = ngx_snorky_ws_stats(ws)->deliveries;

    rc = ngx_snorky_ws_in_read_unread(ws);
    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; !ngx_snorky_ws_in_paused(ws); i++) {

        if (i == NGX_SNORKY_WS_IN_READS || ngx_snorky_ws_in_tired(ws)) {
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

        ngx_snorky_ws_silence_break(ws);

        rc = ngx_snorky_ws_in_parse(ws, ws->worker->buffer,
                                    ws->worker->buffer + n);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_ws_in_read_unread(ngx_snorky_ws_t *ws)
{
    u_char                 *p;
    ngx_int_t               rc;
    ngx_snorky_ws_bytes_t  *bytes;

    if (ngx_snorky_ws_in_paused(ws)) {
        return NGX_OK;
    }

    if (ngx_snorky_ws_sockjs_unpacks(ws)) {
        rc = ngx_snorky_ws_in_unpack(ws);

        if (rc != NGX_OK
            || ngx_snorky_ws_in_paused(ws)
            || ngx_snorky_ws_sockjs_unpacks(ws))
        {
            return rc;
        }
    }

    if (ws->unread == NULL) {
        return NGX_OK;
    }

    bytes = ws->unread;
    ws->unread = NULL;

    p = ngx_snorky_ws_bytes(bytes);

    rc = ngx_snorky_ws_in_parse(ws, p, p + bytes->len);

    ngx_free(bytes);

    return rc;
}


static ngx_int_t
ngx_snorky_ws_in_parse(ngx_snorky_ws_t *ws, u_char *pos, u_char *last)
{
    ngx_int_t              rc;
    ngx_log_t             *log;
    ngx_snorky_ws_event_t  event;

    log = ngx_snorky_ws_connection(ws)->log;

    while (ws->state != NGX_SNORKY_WS_ENDING) {

        if (ngx_snorky_ws_in_paused(ws) || ngx_snorky_ws_sockjs_unpacks(ws)) {

            if (pos == last) {
                return NGX_OK;
            }

            return ngx_snorky_ws_in_append(&ws->unread, pos, last - pos, log);
        }

        if (pos != last && ngx_snorky_ws_in_tired(ws)) {
            return ngx_snorky_ws_in_append(&ws->unread, pos, last - pos, log);
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
            ngx_snorky_ws_in_fail(ws, event.code, (char *) event.data.data);
            return NGX_OK;
        }

        if (event.opcode == NGX_SNORKY_WS_TEXT
            || event.opcode == NGX_SNORKY_WS_BINARY)
        {
            rc = ngx_snorky_ws_in_data(ws, &event);

        } else {
            rc = ngx_snorky_ws_in_control(ws, &event);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_snorky_ws_in_tired(ngx_snorky_ws_t *ws)
{
    return ngx_snorky_ws_stats(ws)->deliveries - ws->worker->delivered
           >= NGX_SNORKY_DISPATCH_DELIVERIES;
}


/*
 * A message in one piece is used where it was read.  When the session is to
 * end, messages are not taken any more; but pings are, and that the client
 * leaves.
 */

static ngx_int_t
ngx_snorky_ws_in_data(ngx_snorky_ws_t *ws, ngx_snorky_ws_event_t *event)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_log_t  *log;

    if (ws->state != NGX_SNORKY_WS_OPEN || ws->peer.session.ending) {
        return NGX_OK;
    }

    if (ws->sockjs && event->opcode == NGX_SNORKY_WS_BINARY) {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_UNSUPPORTED,
                              "binary message");
        return NGX_OK;
    }

    log = ngx_snorky_ws_connection(ws)->log;

    ws->opcode = event->opcode;

    if (!event->last || ws->message) {

        if (ngx_snorky_ws_in_append(&ws->message, event->data.data,
                                        event->data.len, log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!event->last) {
            return NGX_OK;
        }

        text.data = ngx_snorky_ws_bytes(ws->message);
        text.len = ws->message->len;

    } else {
        text = event->data;
    }

    if (event->compressed) {
        rc = ngx_snorky_ws_in_compressed(ws, &text);

        ngx_snorky_ws_in_forget(&ws->message);

        if (rc != NGX_OK) {
            return (rc == NGX_DONE) ? NGX_OK : rc;
        }
    }

    rc = ws->sockjs ? ngx_snorky_ws_in_sockjs(ws, &text)
                    : ngx_snorky_ws_in_message(ws, &text);

    if (rc == NGX_AGAIN) {
        ws->waits = 1;

        rc = ws->message ? NGX_OK
                         : ngx_snorky_ws_in_append(&ws->message,
                                                    text.data, text.len, log);

    } else if (!ngx_snorky_ws_sockjs_unpacks(ws)) {
        ngx_snorky_ws_in_forget(&ws->message);
    }

    if (event->compressed) {
        ngx_snorky_ws_deflate_forget(ws->worker);
    }

    return rc;
}


/*
 * A whole message is decompressed at once, so that connections whose messages
 * come in pieces need no decompressor each.  NGX_DONE: it was a bad one.
 */

static ngx_int_t
ngx_snorky_ws_in_compressed(ngx_snorky_ws_t *ws, ngx_str_t *text)
{
    ngx_int_t          rc;
    ngx_snorky_utf8_t  utf8;

    rc = ngx_snorky_ws_deflate_read(ws, text);

    if (rc == NGX_DECLINED) {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_TOO_BIG, "message too big");
        return NGX_DONE;
    }

    if (rc == NGX_ABORT) {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_INVALID_PAYLOAD,
                              "invalid compressed data");
        return NGX_DONE;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    utf8 = NGX_SNORKY_UTF8_START;

    if (ws->opcode == NGX_SNORKY_WS_TEXT
        && ngx_snorky_utf8_check(&utf8, text->data, text->data + text->len)
           != NGX_OK)
    {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_INVALID_PAYLOAD,
                              "text is not UTF-8");
        return NGX_DONE;
    }

    return NGX_OK;
}


static void
ngx_snorky_ws_in_fail(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason)
{
    ngx_log_error(NGX_LOG_INFO, ngx_snorky_ws_connection(ws)->log, 0,
                  "client broke the WebSocket protocol: %s", reason);

    ngx_snorky_session_leave(&ws->peer.session);
    ngx_snorky_ws_out_close(ws, code, reason);
    ws->state = NGX_SNORKY_WS_ENDING;
}


static ngx_int_t
ngx_snorky_ws_in_control(ngx_snorky_ws_t *ws,
    ngx_snorky_ws_event_t *event)
{
    ngx_int_t  rc;

    rc = NGX_OK;

    switch (event->opcode) {

    case NGX_SNORKY_WS_PING:
        if (ws->state == NGX_SNORKY_WS_OPEN) {
            rc = ngx_snorky_ws_out_push(ws, NGX_SNORKY_WS_PONG,
                                        event->data.data, event->data.len);
        }

        break;

    case NGX_SNORKY_WS_CLOSE:
        ngx_snorky_ws_in_close(ws, event);
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


/*
 * Its messages, none or many, take its place and are dispatched one by one.
 * Who breaks a frame's form gets no frame of SockJS for it.  NGX_OK, or
 * NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_snorky_ws_in_sockjs(ngx_snorky_ws_t *ws, ngx_str_t *text)
{
    ngx_int_t               rc;
    ngx_snorky_ws_bytes_t  *packed;

    if (text->len == 0) {
        return NGX_OK;
    }

    rc = ngx_snorky_ws_sockjs_pack(ws, text, &packed);

    if (rc == NGX_DECLINED) {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_PROTOCOL_ERROR,
                              "invalid SockJS message");
        return NGX_OK;
    }

    if (rc == NGX_ABORT) {
        ngx_snorky_ws_in_fail(ws, NGX_SNORKY_WS_TOO_BIG, "message too big");
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_ws_in_forget(&ws->message);

    ws->message = packed;

    return ngx_snorky_ws_in_unpack(ws);
}


/* the first of the rest is the one that waits, if one does; returns as above */

static ngx_int_t
ngx_snorky_ws_in_unpack(ngx_snorky_ws_t *ws)
{
    ngx_int_t   rc;
    ngx_str_t   rest, text;

    do {
        if (ws->state != NGX_SNORKY_WS_OPEN || ws->peer.session.ending) {
            ws->sockjs->rest.len = 0;
            break;
        }

        rest = ws->sockjs->rest;

        if (ngx_snorky_sockjs_unpack(&rest, &text) != NGX_OK) {
            break;
        }

        rc = ngx_snorky_ws_in_message(ws, &text);

        if (rc == NGX_AGAIN) {
            ws->waits = 1;
            return NGX_OK;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ws->sockjs->rest = rest;

    } while (!ngx_snorky_ws_in_paused(ws) && !ngx_snorky_ws_in_tired(ws));

    if (!ngx_snorky_ws_sockjs_unpacks(ws)) {
        ngx_snorky_ws_in_forget(&ws->message);
    }

    return NGX_OK;
}


/* NGX_OK, NGX_AGAIN: it waits for room in the log, or NGX_ERROR: no memory */

static ngx_int_t
ngx_snorky_ws_in_message(ngx_snorky_ws_t *ws, ngx_str_t *text)
{
    ngx_int_t  rc;

    if (ws->conf->echo) {
        return ngx_snorky_ws_in_echo(ws, text);
    }

    rc = ngx_snorky_dispatch(&ws->peer.session, text);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {
        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_ws_in_echo(ngx_snorky_ws_t *ws, ngx_str_t *text)
{
    ngx_snorky_session_t  *s;

    s = &ws->peer.session;

    s->messages_in++;
    s->messages_out++;

    ngx_snorky_ws_stats(ws)->messages_in++;
    ngx_snorky_ws_stats(ws)->messages_out++;
    ngx_snorky_ws_stats(ws)->bytes_in += text->len;
    ngx_snorky_ws_stats(ws)->bytes_out += text->len;

    return ngx_snorky_ws_out_push(ws, ws->opcode, text->data, text->len);
}


/* answers with the same code, or ends what our close frame began */

static void
ngx_snorky_ws_in_close(ngx_snorky_ws_t *ws,
    ngx_snorky_ws_event_t *event)
{
    ngx_snorky_session_leave(&ws->peer.session);

    if (ws->state == NGX_SNORKY_WS_OPEN) {

        if (event->code == NGX_SNORKY_WS_NORMAL
            || event->code == NGX_SNORKY_WS_GOING_AWAY
            || event->code == NGX_SNORKY_WS_NO_STATUS
            || event->code >= 3000)
        {
            ngx_snorky_ws_count(ws,
                                &ngx_snorky_ws_stats(ws)->closed_normal);

        } else {
            ngx_snorky_ws_count(ws,
                                &ngx_snorky_ws_stats(ws)->closed_other);
        }

        ngx_snorky_ws_out_close(ws, event->code, NULL);
    }

    ws->state = NGX_SNORKY_WS_ENDING;

    ngx_snorky_output_post(&ws->output);
}


ngx_int_t
ngx_snorky_ws_in_retry(ngx_snorky_ws_t *ws)
{
    ngx_str_t  rest, text;

    if (ws->sockjs) {
        rest = ws->sockjs->rest;
        (void) ngx_snorky_sockjs_unpack(&rest, &text);

    } else {
        ngx_str_null(&rest);
        text.data = ngx_snorky_ws_bytes(ws->message);
        text.len = ws->message->len;
    }

    if (ngx_snorky_ws_in_message(ws, &text) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ws->waits = 0;

    if (ws->sockjs) {
        ws->sockjs->rest = rest;
    }

    if (!ngx_snorky_ws_sockjs_unpacks(ws)) {
        ngx_snorky_ws_in_forget(&ws->message);
    }

    return NGX_OK;
}


ngx_uint_t
ngx_snorky_ws_in_paused(ngx_snorky_ws_t *ws)
{
    return ws->waits || ws->full || ws->state == NGX_SNORKY_WS_ENDING;
}


void
ngx_snorky_ws_in_finish(ngx_snorky_ws_t *ws)
{
    ngx_snorky_ws_in_forget(&ws->message);
    ngx_snorky_ws_in_forget(&ws->unread);

    if (ws->parser.control) {
        ngx_free(ws->parser.control);
        ws->parser.control = NULL;
    }
}


static ngx_int_t
ngx_snorky_ws_in_append(ngx_snorky_ws_bytes_t **kept, u_char *data,
    size_t len, ngx_log_t *log)
{
    size_t                  old, size;
    ngx_snorky_ws_bytes_t  *bytes;

    bytes = *kept;
    old = bytes ? bytes->len : 0;

    if (bytes == NULL || bytes->size - old < len) {

        size = ngx_max(bytes ? bytes->size * 2 : 0, old + len);
        size = ngx_max(size, NGX_SNORKY_WS_IN_MIN_SIZE);

        bytes = ngx_alloc(sizeof(ngx_snorky_ws_bytes_t) + size, log);
        if (bytes == NULL) {
            return NGX_ERROR;
        }

        if (*kept) {
            ngx_memcpy(ngx_snorky_ws_bytes(bytes), ngx_snorky_ws_bytes(*kept),
                       old);
            ngx_free(*kept);
        }

        bytes->size = size;
        *kept = bytes;
    }

    ngx_memcpy(ngx_snorky_ws_bytes(bytes) + old, data, len);
    bytes->len = old + len;

    return NGX_OK;
}


static void
ngx_snorky_ws_in_forget(ngx_snorky_ws_bytes_t **kept)
{
    if (*kept) {
        ngx_free(*kept);
    }

    *kept = NULL;
}
