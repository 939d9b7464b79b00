
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the rule that who does not read what we answer is not read.  Called by
 * the websocket's life and by what is read.
 */


#include "ngx_snorky_ws_out.h"
#include "ngx_snorky_ws_deflate.h"
#include "ngx_snorky_ws_silence.h"
#include "ngx_snorky_ws_sockjs.h"


ngx_snorky_msg_t *
ngx_snorky_ws_out_form(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode)
{
    ngx_snorky_msg_t  *form;

    if (ws->sockjs && opcode == NGX_SNORKY_WS_TEXT) {
        msg = ngx_snorky_ws_sockjs_form(ws, msg);

        if (msg == NULL) {
            return NULL;
        }

    } else {
        ngx_snorky_msg_ref(msg);
    }

    if (ws->deflate == NULL) {
        return msg;
    }

    form = ngx_snorky_ws_deflate_form(ws, msg, opcode);

    ngx_snorky_msg_unref(msg);

    return form;
}


ngx_int_t
ngx_snorky_ws_out_push(ngx_snorky_ws_t *ws, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    ngx_int_t          rc;
    ngx_snorky_msg_t  *msg, *form;

    msg = ngx_snorky_msg_create(len,
                                ngx_snorky_ws_connection(ws)->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(msg->text, data, len);

    form = ngx_snorky_ws_out_form(ws, msg, opcode);

    ngx_snorky_msg_unref(msg);

    if (form == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_ws_out_msg(ws, form, opcode, 1);

    ngx_snorky_msg_unref(form);

    return rc;
}


/*
 * The header is built once, whoever sends the message first.  While a peer
 * does not read what we answer, we do not read what it asks.
 */

ngx_int_t
ngx_snorky_ws_out_msg(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode, ngx_uint_t urgent)
{
    if (msg->framed == 0) {
        msg->framed = msg->text
                      - ngx_snorky_ws_build_header(msg->text, opcode,
                                                   msg->len);
    }

    if (ngx_snorky_output_push(&ws->output, msg, urgent) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ws->sockjs && opcode == NGX_SNORKY_WS_TEXT) {
        ngx_snorky_ws_sockjs_beat(ws);
    }

    if (ws->output.bytes > ws->conf->send_buffer / 2) {
        ws->full = 1;
    }

    return NGX_OK;
}


/* the last frame that we send */

void
ngx_snorky_ws_out_close(ngx_snorky_ws_t *ws, ngx_uint_t code,
    const char *reason)
{
    u_char             frame[2 + NGX_SNORKY_WS_MAX_CONTROL];
    ngx_str_t          text;
    ngx_snorky_msg_t  *msg;

    text.data = (u_char *) reason;
    text.len = reason ? ngx_strlen(reason) : 0;

    ws->peer.close_code = code;

    ngx_snorky_ws_count(ws, ngx_snorky_ws_counter(ngx_snorky_ws_stats(ws),
                                                  code));
    ngx_snorky_timeout_set(&ws->timeout, ws->conf->closing);

    text.len = ngx_snorky_ws_build_close(frame, code, reason ? &text : NULL)
               - frame;

    msg = ngx_snorky_msg_create(text.len,
                                ngx_snorky_ws_connection(ws)->log);
    if (msg == NULL) {
        return;
    }

    ngx_memcpy(msg->text, frame, text.len);

    (void) ngx_snorky_output_push(&ws->output, msg, 1);

    ngx_snorky_msg_unref(msg);
}


ngx_int_t
ngx_snorky_ws_out_flushed(ngx_snorky_ws_t *ws, ngx_int_t rc)
{
    ngx_connection_t  *c;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK && ws->state == NGX_SNORKY_WS_ENDING) {
        return NGX_DONE;
    }

    if (ws->full && ws->output.bytes <= ws->conf->send_buffer / 4) {

        /* the peer reads again */

        ws->full = 0;
        ngx_snorky_ws_silence_break(ws);

        c = ngx_snorky_ws_connection(ws);
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return NGX_OK;
}
