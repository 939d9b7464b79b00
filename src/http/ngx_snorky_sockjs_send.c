
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the way from a request's body to a parcel of messages, and the answer.
 * Called by nginx, and by the list of requests when the session has answered.
 */


#include "ngx_snorky_sockjs_send.h"
#include "ngx_snorky_body.h"
#include "ngx_snorky_sockjs_frame.h"
#include "ngx_snorky_sockjs_page.h"
#include "ngx_snorky_sockjs_request.h"
#include "ngx_snorky_sockjs_session.h"


typedef struct {
    ngx_snorky_sockjs_request_t   request;  /* first */
    ngx_uint_t                    jsonp;
} ngx_snorky_sockjs_send_t;


static void ngx_snorky_sockjs_send_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_sockjs_send_body(ngx_snorky_sockjs_send_t *send);
static ngx_int_t ngx_snorky_sockjs_send_text(ngx_snorky_sockjs_send_t *send,
    ngx_str_t *text);
static ngx_uint_t ngx_snorky_sockjs_send_is_form(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_sockjs_send_form(ngx_http_request_t *r,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_sockjs_send_parcel(ngx_snorky_sockjs_send_t *send,
    ngx_str_t *packed);
static ngx_int_t ngx_snorky_sockjs_send_answer(ngx_snorky_sockjs_send_t *send,
    ngx_uint_t status);
static void ngx_snorky_sockjs_send_letter_handler(
    ngx_snorky_sockjs_request_t *sr, ngx_snorky_sockjs_letter_t *letter,
    ngx_str_t *text);
static void ngx_snorky_sockjs_send_lost_handler(
    ngx_snorky_sockjs_request_t *sr, ngx_uint_t code, const char *reason);


static ngx_snorky_sockjs_request_ops_t  ngx_snorky_sockjs_send_ops = {
    ngx_snorky_sockjs_send_letter_handler,
    ngx_snorky_sockjs_send_lost_handler,
    0,
    0
};


ngx_int_t
ngx_snorky_sockjs_send(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_str_t *session, ngx_uint_t jsonp)
{
    ngx_int_t                  rc;
    ngx_snorky_sockjs_send_t  *send;

    send = ngx_pcalloc(r->pool, sizeof(ngx_snorky_sockjs_send_t));
    if (send == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    send->jsonp = jsonp;

    rc = ngx_snorky_sockjs_request_init(&send->request, r, worker, session,
                                        &ngx_snorky_sockjs_send_ops,
                                        jsonp ? "jsonp_send" : "xhr_send");
    if (rc != NGX_OK) {
        return rc;
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r,
                                         ngx_snorky_sockjs_send_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static void
ngx_snorky_sockjs_send_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_snorky_sockjs_send_t  *send;

    send = ngx_http_get_module_ctx(r, ngx_snorky_module);

    r->write_event_handler = ngx_http_request_empty_handler;

    rc = ngx_snorky_sockjs_send_body(send);

    if (rc == NGX_AGAIN) {
        return;
    }

    ngx_snorky_sockjs_request_leave(&send->request);
    ngx_http_finalize_request(r, rc);
}


/* NGX_AGAIN while the session is asked, or else how to finalize */

static ngx_int_t
ngx_snorky_sockjs_send_body(ngx_snorky_sockjs_send_t *send)
{
    size_t                        largest;
    ngx_int_t                     rc;
    ngx_str_t                     text, packed;
    ngx_snorky_hub_t             *hub;
    ngx_http_request_t           *r;
    ngx_snorky_loc_conf_t        *conf;
    ngx_snorky_sockjs_request_t  *sr;

    sr = &send->request;
    r = sr->peer.request;
    hub = sr->worker->hub;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    rc = ngx_snorky_sockjs_send_text(send, &text);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED || text.len == 0) {
        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           "Payload expected.");
    }

    packed.data = ngx_palloc(r->pool, ngx_snorky_sockjs_packed_size(text.len));
    if (packed.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    hub->parsed++;

    rc = ngx_snorky_sockjs_pack(hub->json, &text, 0, packed.data, &packed.len,
                                &sr->peer.session.messages_in, &largest);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           "Broken JSON encoding.");
    }

    if (largest > conf->max_message_size) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client sent a message of %uz bytes", largest);
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    rc = ngx_snorky_sockjs_send_parcel(send, &packed);

    (void) ngx_pfree(r->pool, packed.data);

    return rc;
}


/* NGX_DECLINED: there is none */

static ngx_int_t
ngx_snorky_sockjs_send_text(ngx_snorky_sockjs_send_t *send, ngx_str_t *text)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = send->request.peer.request;

    rc = ngx_snorky_body_text(r, text);

    if (rc == NGX_OK && send->jsonp && ngx_snorky_sockjs_send_is_form(r)) {
        return ngx_snorky_sockjs_send_form(r, text);
    }

    return rc;
}


static ngx_uint_t
ngx_snorky_sockjs_send_is_form(ngx_http_request_t *r)
{
    ngx_str_t         type, *value;
    ngx_table_elt_t  *header;

    header = r->headers_in.content_type;

    if (header == NULL) {
        return 0;
    }

    ngx_str_set(&type, "application/x-www-form-urlencoded");
    value = &header->value;

    return value->len >= type.len
           && ngx_strncasecmp(value->data, type.data, type.len) == 0;
}


/* the field "d" of a form instead of the form; decoded in a copy */

static ngx_int_t
ngx_snorky_sockjs_send_form(ngx_http_request_t *r, ngx_str_t *text)
{
    u_char  *p, *last, *end, *dst, *src;

    last = text->data + text->len;
    end = last;

    for (p = text->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');

        if (end == NULL) {
            end = last;
        }

        if (end - p >= 2 && p[0] == 'd' && p[1] == '=') {
            break;
        }
    }

    if (p >= last) {
        return NGX_DECLINED;
    }

    p += 2;

    text->len = end - p;
    text->data = ngx_pnalloc(r->pool, ngx_max(text->len, 1));

    if (text->data == NULL) {
        return NGX_ERROR;
    }

    for (dst = text->data; p < end; p++) {
        *dst++ = (*p == '+') ? ' ' : *p;
    }

    dst = text->data;
    src = text->data;

    ngx_unescape_uri(&dst, &src, text->len, 0);

    text->len = dst - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_sockjs_send_parcel(ngx_snorky_sockjs_send_t *send,
    ngx_str_t *packed)
{
    size_t                        max;
    ngx_int_t                     rc;
    ngx_str_t                     piece;
    ngx_snorky_sockjs_letter_t    letter;
    ngx_snorky_sockjs_request_t  *sr;

    sr = &send->request;

    rc = ngx_snorky_sockjs_session_find(sr->worker, sr->key, &sr->owner);

    if (rc == NGX_DECLINED
        || (rc == NGX_OK
            && !ngx_snorky_broker_seated(sr->worker->hub->broker, sr->owner)))
    {
        return ngx_snorky_sockjs_send_answer(send, NGX_HTTP_NOT_FOUND);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_sockjs_request_enter(sr) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&letter, sizeof(ngx_snorky_sockjs_letter_t));

    letter.type = NGX_SNORKY_SOCKJS_PARCEL;

    max = ngx_snorky_sockjs_letter_max(sr->worker);

    do {
        piece.data = packed->data + letter.size;
        piece.len = ngx_min(max, packed->len - (size_t) letter.size);

        letter.last = (letter.size + piece.len == packed->len);

        if (ngx_snorky_sockjs_request_say(sr, &letter, &piece) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        letter.size += piece.len;

    } while (!letter.last);

    return NGX_AGAIN;
}


/* how to finalize */

static ngx_int_t
ngx_snorky_sockjs_send_answer(ngx_snorky_sockjs_send_t *send,
    ngx_uint_t status)
{
    ngx_http_request_t  *r;

    r = send->request.peer.request;

    switch (status) {

    case NGX_HTTP_NO_CONTENT:

        if (send->jsonp) {
            return ngx_snorky_sockjs_page_text(r, NGX_HTTP_OK, "ok");
        }

        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_NO_CONTENT, "");

    case NGX_HTTP_NOT_FOUND:
        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_NOT_FOUND,
                                           "There is no such session.");

    default:
        return status;
    }
}


static void
ngx_snorky_sockjs_send_letter_handler(ngx_snorky_sockjs_request_t *sr,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_snorky_sockjs_send_t *send = (ngx_snorky_sockjs_send_t *) sr;

    ngx_snorky_sockjs_request_done(sr,
                          ngx_snorky_sockjs_send_answer(send, letter->value));
}


static void
ngx_snorky_sockjs_send_lost_handler(ngx_snorky_sockjs_request_t *sr,
    ngx_uint_t code, const char *reason)
{
    ngx_snorky_sockjs_send_t *send = (ngx_snorky_sockjs_send_t *) sr;

    ngx_snorky_sockjs_request_done(sr,
                     ngx_snorky_sockjs_send_answer(send, NGX_HTTP_NOT_FOUND));
}
