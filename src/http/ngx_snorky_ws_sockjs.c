
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the heartbeats of SockJS over WebSockets.  Called by the websocket's
 * life, by what is read and written, and by the timeouts.
 */


#include "ngx_snorky_ws_sockjs.h"
#include "ngx_snorky_ws_end.h"
#include "ngx_snorky_ws_out.h"


/* in JSON, a byte of a message may be written with so many */
#define NGX_SNORKY_WS_SOCKJS_ESCAPE  6


static ngx_snorky_msg_t *ngx_snorky_ws_sockjs_letter(u_char letter,
    ngx_log_t *log);
static void ngx_snorky_ws_sockjs_beat_handler(ngx_snorky_timeout_t *timeout);


ngx_int_t
ngx_snorky_ws_sockjs_init_location(ngx_conf_t *cf,
    ngx_snorky_main_conf_t *smcf, ngx_snorky_loc_conf_t *conf)
{
    conf->sockjs.ws_beats = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                                         conf->sockjs.heartbeat,
                                         ngx_snorky_ws_sockjs_beat_handler);

    return conf->sockjs.ws_beats ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_snorky_ws_sockjs_open_worker(ngx_snorky_worker_t *worker, ngx_log_t *log)
{
    worker->sockjs_open = ngx_snorky_ws_sockjs_letter('o', log);
    worker->sockjs_beat = ngx_snorky_ws_sockjs_letter('h', log);

    return (worker->sockjs_open && worker->sockjs_beat) ? NGX_OK : NGX_ERROR;
}


static ngx_snorky_msg_t *
ngx_snorky_ws_sockjs_letter(u_char letter, ngx_log_t *log)
{
    ngx_snorky_msg_t  *msg;

    msg = ngx_snorky_msg_create(1, log);

    if (msg) {
        msg->text[0] = letter;
    }

    return msg;
}


void
ngx_snorky_ws_sockjs_close_worker(ngx_snorky_worker_t *worker)
{
    ngx_snorky_msg_unref(worker->sockjs_open);
    ngx_snorky_msg_unref(worker->sockjs_beat);
}


/* the limit is for messages, whatever their frames add to them */

ngx_int_t
ngx_snorky_ws_sockjs_init(ngx_snorky_ws_t *ws)
{
    ws->sockjs = ngx_pcalloc(ws->pool, sizeof(ngx_snorky_ws_sockjs_t));
    if (ws->sockjs == NULL) {
        return NGX_ERROR;
    }

    ws->sockjs->ws = ws;

    ws->parser.max_size = ws->conf->max_message_size
                          * NGX_SNORKY_WS_SOCKJS_ESCAPE
                          + sizeof("[\"\"]") - 1;

    return NGX_OK;
}


void
ngx_snorky_ws_sockjs_finish(ngx_snorky_ws_t *ws)
{
    if (ws->sockjs) {
        ngx_snorky_timeout_clear(&ws->sockjs->beat);
    }
}


void
ngx_snorky_ws_sockjs_open(ngx_snorky_ws_t *ws)
{
    /* the first message needs no memory to be queued */

    (void) ngx_snorky_ws_out_msg(ws, ws->worker->sockjs_open,
                                 NGX_SNORKY_WS_TEXT, 1);
}


ngx_snorky_msg_t *
ngx_snorky_ws_sockjs_form(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg)
{
    u_char            *p;
    ngx_str_t          text;
    ngx_snorky_msg_t  *form;

    form = ngx_snorky_msg_form(msg, NGX_SNORKY_SOCKJS_FRAME);

    if (form == NULL) {
        text.data = msg->text;
        text.len = msg->len;

        form = ngx_snorky_msg_create(sizeof("a[]") - 1
                                     + ngx_snorky_sockjs_string_size(&text),
                                     ngx_snorky_ws_connection(ws)->log);
        if (form == NULL) {
            return NULL;
        }

        p = form->text;

        *p++ = 'a';
        *p++ = '[';
        p = ngx_snorky_sockjs_string(p, &text);
        *p = ']';

        ngx_snorky_msg_add_form(msg, form, NGX_SNORKY_SOCKJS_FRAME);
    }

    ngx_snorky_msg_ref(form);

    return form;
}


void
ngx_snorky_ws_sockjs_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason)
{
    ngx_str_t          text;
    ngx_snorky_msg_t  *msg;

    text.data = (u_char *) reason;
    text.len = ngx_strlen(reason);

    msg = ngx_snorky_msg_create(ngx_snorky_sockjs_close_size(&text),
                                ngx_snorky_ws_connection(ws)->log);
    if (msg == NULL) {
        return;
    }

    (void) ngx_snorky_sockjs_close(msg->text, code, &text);
    (void) ngx_snorky_ws_out_msg(ws, msg, NGX_SNORKY_WS_TEXT, 1);

    ngx_snorky_msg_unref(msg);
}


void
ngx_snorky_ws_sockjs_beat(ngx_snorky_ws_t *ws)
{
    ngx_snorky_timeout_set(&ws->sockjs->beat, ws->conf->sockjs.ws_beats);
}


/* what is queued still will be a sign of life as well */

static void
ngx_snorky_ws_sockjs_beat_handler(ngx_snorky_timeout_t *timeout)
{
    ngx_snorky_ws_t  *ws;

    ws = ((ngx_snorky_ws_sockjs_t *) timeout)->ws;

    if (ws->state != NGX_SNORKY_WS_OPEN) {
        return;
    }

    if (ws->output.bytes) {
        ngx_snorky_ws_sockjs_beat(ws);
        return;
    }

    if (ngx_snorky_ws_out_msg(ws, ws->worker->sockjs_beat, NGX_SNORKY_WS_TEXT,
                              1)
        != NGX_OK)
    {
        ngx_snorky_ws_end_outside(ws, NGX_ERROR);
    }
}


ngx_int_t
ngx_snorky_ws_sockjs_pack(ngx_snorky_ws_t *ws, ngx_str_t *text,
    ngx_snorky_ws_bytes_t **packed)
{
    size_t                  size, len, largest;
    ngx_int_t               rc;
    ngx_uint_t              n;
    ngx_snorky_hub_t       *hub;
    ngx_snorky_ws_bytes_t  *bytes;

    hub = ws->worker->hub;
    size = ngx_snorky_sockjs_packed_size(text->len);

    bytes = ngx_alloc(sizeof(ngx_snorky_ws_bytes_t) + size,
                      ngx_snorky_ws_connection(ws)->log);
    if (bytes == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_sockjs_pack(hub->json, text, 1,
                                ngx_snorky_ws_bytes(bytes), &len, &n,
                                &largest);
    hub->parsed++;

    if (rc == NGX_OK && largest > ws->conf->max_message_size) {
        rc = NGX_ABORT;
    }

    if (rc != NGX_OK) {
        ngx_free(bytes);
        return rc;
    }

    bytes->len = len;
    bytes->size = size;

    ws->sockjs->rest.data = ngx_snorky_ws_bytes(bytes);
    ws->sockjs->rest.len = len;

    *packed = bytes;

    return NGX_OK;
}
