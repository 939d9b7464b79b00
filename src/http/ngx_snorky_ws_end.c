
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the ways in which a connection ends.  Called by the websocket's life
 * and by its timeouts.
 */


#include "ngx_snorky_ws_end.h"
#include "ngx_snorky_lean.h"
#include "ngx_snorky_ws_deflate.h"
#include "ngx_snorky_ws_in.h"
#include "ngx_snorky_ws_sockjs.h"


static void ngx_snorky_ws_end_linger(ngx_connection_t *c);
static void ngx_snorky_ws_end_linger_handler(ngx_event_t *rev);
static void ngx_snorky_ws_end_finish(ngx_snorky_ws_t *ws);


void
ngx_snorky_ws_end(ngx_snorky_ws_t *ws, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ngx_snorky_ws_connection(ws);
    r = ws->peer.request;

    ngx_snorky_ws_end_finish(ws);

    if (r) {
        if (rc == NGX_DONE) {
            r->lingering_close = 1;
        }

        /* while a mirror's request keeps it, its events are not ours */

        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        ngx_http_finalize_request(r, rc);
        return;
    }

    if (rc == NGX_DONE) {
        ngx_snorky_ws_end_linger(c);
        return;
    }

    ngx_snorky_ws_end_free(ws);
}


void
ngx_snorky_ws_end_outside(ngx_snorky_ws_t *ws, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ngx_snorky_ws_connection(ws);
    r = ws->peer.request;

    ngx_snorky_ws_end(ws, rc);

    if (r) {
        ngx_http_run_posted_requests(c);
    }
}


/* lean: what nginx does for a request */

static void
ngx_snorky_ws_end_linger(ngx_connection_t *c)
{
    ngx_int_t         rc;
    ngx_snorky_ws_t  *ws;

    ws = c->data;

    rc = ngx_snorky_lean_shutdown(c, ngx_snorky_ws_end_linger);

    if (rc == NGX_ERROR) {
        ngx_snorky_ws_end_free(ws);
        return;
    }

    ws->state = NGX_SNORKY_WS_LINGERING;
    ngx_snorky_timeout_set(&ws->timeout, ws->conf->closing);

    if (rc == NGX_AGAIN) {
        return;
    }

    c->read->handler = ngx_snorky_ws_end_linger_handler;
    c->write->handler = ngx_http_empty_handler;

    ngx_snorky_ws_end_linger_handler(c->read);
}


static void
ngx_snorky_ws_end_linger_handler(ngx_event_t *rev)
{
    ssize_t            n;
    ngx_connection_t  *c;
    ngx_snorky_ws_t   *ws;

    c = rev->data;
    ws = c->data;

    do {
        n = c->recv(c, ws->worker->buffer, ws->worker->buffer_size);

    } while (n > 0 && rev->ready);

    if (n == NGX_ERROR || n == 0 || c->close
        || ngx_handle_read_event(rev, 0) != NGX_OK)
    {
        ngx_snorky_ws_end_free(ws);
    }
}


/* lean: the connection, and with it all that it had */

void
ngx_snorky_ws_end_free(ngx_snorky_ws_t *ws)
{
    ngx_snorky_timeout_clear(&ws->timeout);
    ngx_snorky_lean_close(ngx_snorky_ws_connection(ws), ws->pool);
}


static void
ngx_snorky_ws_end_finish(ngx_snorky_ws_t *ws)
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
    ngx_snorky_ws_deflate_finish(ws);
    ngx_snorky_ws_sockjs_finish(ws);

    ngx_queue_remove(&ws->queue);

    ngx_snorky_timeout_clear(&ws->timeout);
}


void
ngx_snorky_ws_end_stop(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason)
{
    if (ws->finished) {
        return;
    }

    ngx_snorky_session_close(&ws->peer.session, code, reason);

    ngx_snorky_ws_connection(ws)->error = 0;

    (void) ngx_snorky_output_flush(&ws->output);

    ngx_snorky_ws_end_finish(ws);
}
