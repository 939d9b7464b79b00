
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the response that a session writes.  Called by nginx, and by the list
 * of requests with what the session says.
 */


#include "ngx_snorky_sockjs_receive.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_sockjs_header.h"
#include "ngx_snorky_sockjs_page.h"
#include "ngx_snorky_sockjs_request.h"
#include "ngx_snorky_sockjs_session.h"
#include "ngx_snorky_ws_frame.h"


/* letters that found no session, before it is given up */
#define NGX_SNORKY_SOCKJS_ATTEMPTS  3

/* bytes */
#define NGX_SNORKY_SOCKJS_CALLBACK  128
#define NGX_SNORKY_SOCKJS_BUFFER    512
#define NGX_SNORKY_SOCKJS_CLOSE     64  /* a frame with a reason of ours */

/* Internet Explorer shows nothing before it has so much */
#define NGX_SNORKY_SOCKJS_PRELUDE   2048

/* ... and Safari does not know what it is */
#define NGX_SNORKY_SOCKJS_HTMLFILE_SIZE  1024


typedef struct {
    const char                   *transport;
    const char                   *type;
    unsigned                      charset:1;
    unsigned                      cors:1;
    unsigned                      streaming:1;
    unsigned                      callback:1;
} ngx_snorky_sockjs_receive_kind_t;


typedef struct {
    ngx_snorky_sockjs_request_t   request;  /* first */
    ngx_snorky_sockjs_kind_e      kind;
    ngx_str_t                     callback;

    /* what has not been given to nginx yet, and what nginx had */
    ngx_chain_t                  *out;
    ngx_chain_t                  *busy;
    ngx_chain_t                  *free;

    ngx_uint_t                    attempts;
    unsigned                      ended:1;  /* nothing comes after "out" */
    unsigned                      torn:1;   /* a frame's rest is to come */
} ngx_snorky_sockjs_receive_t;


static ngx_int_t ngx_snorky_sockjs_receive_callback(ngx_http_request_t *r,
    ngx_str_t *callback);
static void ngx_snorky_sockjs_receive_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_sockjs_receive_begin(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_int_t ngx_snorky_sockjs_receive_attach(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_int_t ngx_snorky_sockjs_receive_prelude(
    ngx_snorky_sockjs_receive_t *receive);
static u_char *ngx_snorky_sockjs_receive_htmlfile(u_char *p,
    ngx_str_t *callback);
static void ngx_snorky_sockjs_receive_letter_handler(
    ngx_snorky_sockjs_request_t *sr, ngx_snorky_sockjs_letter_t *letter,
    ngx_str_t *text);
static void ngx_snorky_sockjs_receive_lost_handler(
    ngx_snorky_sockjs_request_t *sr, ngx_uint_t code, const char *reason);
static ngx_int_t ngx_snorky_sockjs_receive_interrupt(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_int_t ngx_snorky_sockjs_receive_close(
    ngx_snorky_sockjs_receive_t *receive, ngx_uint_t code, const char *reason);

static u_char *ngx_snorky_sockjs_receive_room(
    ngx_snorky_sockjs_receive_t *receive, size_t len);
static ngx_int_t ngx_snorky_sockjs_receive_pass(
    ngx_snorky_sockjs_receive_t *receive);
static void ngx_snorky_sockjs_receive_trim(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_int_t ngx_snorky_sockjs_receive_header(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_int_t ngx_snorky_sockjs_receive_wait(
    ngx_snorky_sockjs_receive_t *receive);
static ngx_uint_t ngx_snorky_sockjs_receive_blocked(ngx_http_request_t *r);
static void ngx_snorky_sockjs_receive_write_handler(ngx_http_request_t *r);


static ngx_snorky_sockjs_receive_kind_t  ngx_snorky_sockjs_receive_kinds[] = {

    /* transport, type, charset, CORS, streaming, callback */

    { "websocket", "", 0, 0, 0, 0 },
    { "xhr", "application/javascript", 1, 1, 0, 0 },
    { "xhr_streaming", "application/javascript", 1, 1, 1, 0 },
    { "eventsource", "text/event-stream", 0, 1, 1, 0 },
    { "htmlfile", "text/html", 1, 0, 1, 1 },
    { "jsonp", "application/javascript", 1, 0, 0, 1 }
};


static ngx_snorky_sockjs_request_ops_t  ngx_snorky_sockjs_receive_ops = {
    ngx_snorky_sockjs_receive_letter_handler,
    ngx_snorky_sockjs_receive_lost_handler,
    NGX_SNORKY_SOCKJS_RELEASE,
    NGX_SNORKY_SOCKJS_GONE
};


/* the page into which an iframe's scripts come, up to the first of them */

static const char  ngx_snorky_sockjs_receive_page[] =
    "<!doctype html>\n"
    "<html><head>\n"
    "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
    "  <meta http-equiv=\"Content-Type\""
            " content=\"text/html; charset=UTF-8\" />\n"
    "</head><body><h2>Don't panic!</h2>\n"
    "  <script>\n"
    "    document.domain = document.domain;\n"
    "    var c = parent.%V;\n"
    "    c.start();\n"
    "    function p(d) {c.message(d);};\n"
    "    window.onload = function() {c.stop();};\n"
    "  </script>\n";


ngx_int_t
ngx_snorky_sockjs_receive(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_str_t *session, ngx_snorky_sockjs_kind_e kind)
{
    ngx_int_t                          rc;
    ngx_snorky_sockjs_receive_t       *receive;
    ngx_snorky_sockjs_receive_kind_t  *k;

    k = &ngx_snorky_sockjs_receive_kinds[kind];

    receive = ngx_pcalloc(r->pool, sizeof(ngx_snorky_sockjs_receive_t));
    if (receive == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    receive->kind = kind;

    if (k->callback) {
        rc = ngx_snorky_sockjs_receive_callback(r, &receive->callback);
        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    rc = ngx_snorky_sockjs_request_init(&receive->request, r, worker, session,
                                        &ngx_snorky_sockjs_receive_ops,
                                        k->transport);
    if (rc != NGX_OK) {
        return rc;
    }

    /* what the body says means nothing */

    rc = ngx_http_read_client_request_body(r,
                                      ngx_snorky_sockjs_receive_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* NGX_DECLINED: it is as it should be; or how to finalize */

static ngx_int_t
ngx_snorky_sockjs_receive_callback(ngx_http_request_t *r, ngx_str_t *callback)
{
    u_char     *dst, *src;
    ngx_str_t   value;

    if (ngx_http_arg(r, (u_char *) "c", 1, &value) != NGX_OK
        && ngx_http_arg(r, (u_char *) "callback", 8, &value) != NGX_OK)
    {
        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           "\"callback\" parameter required");
    }

    dst = ngx_pnalloc(r->pool, ngx_max(value.len, 1));
    if (dst == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    callback->data = dst;
    src = value.data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    callback->len = dst - callback->data;

    if (callback->len > NGX_SNORKY_SOCKJS_CALLBACK
        || !ngx_snorky_sockjs_is_callback(callback))
    {
        return ngx_snorky_sockjs_page_text(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                           "invalid \"callback\" parameter");
    }

    return NGX_DECLINED;
}


static void
ngx_snorky_sockjs_receive_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_snorky_sockjs_receive_t  *receive;

    receive = ngx_http_get_module_ctx(r, ngx_snorky_module);

    r->write_event_handler = ngx_snorky_sockjs_receive_write_handler;

    rc = ngx_snorky_sockjs_receive_begin(receive);

    if (rc != NGX_AGAIN) {
        ngx_snorky_sockjs_request_leave(&receive->request);
        ngx_http_finalize_request(r, rc);
    }
}


/* NGX_AGAIN, and letters come; or how to finalize */

static ngx_int_t
ngx_snorky_sockjs_receive_begin(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_int_t                     rc;
    ngx_snorky_hub_t             *hub;
    ngx_http_request_t           *r;
    ngx_snorky_sockjs_request_t  *sr;

    sr = &receive->request;
    r = sr->peer.request;
    hub = sr->worker->hub;

    if (receive->attempts++ == NGX_SNORKY_SOCKJS_ATTEMPTS) {
        return ngx_snorky_sockjs_receive_interrupt(receive);
    }

    rc = ngx_snorky_sockjs_session_begin(r, sr->worker, sr->key,
                                         &sr->peer.session.identity,
                                         &sr->owner);
    switch (rc) {

    case NGX_OK:
        sr->owner = ngx_snorky_mailbox_number(hub);
        break;

    case NGX_DECLINED:

        if (!ngx_snorky_broker_seated(hub->broker, sr->owner)) {
            return ngx_snorky_sockjs_receive_interrupt(receive);
        }

        break;

    default:

        if (!r->header_sent) {
            return rc;
        }

        return ngx_snorky_sockjs_receive_interrupt(receive);
    }

    if (!r->header_sent
        && ngx_snorky_sockjs_receive_kinds[receive->kind].streaming)
    {
        rc = ngx_snorky_sockjs_receive_prelude(receive);
        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    if (ngx_snorky_sockjs_request_enter(sr) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_sockjs_receive_attach(receive);
}


static ngx_int_t
ngx_snorky_sockjs_receive_attach(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_http_request_t          *r;
    ngx_snorky_loc_conf_t       *conf;
    ngx_snorky_sockjs_letter_t   letter;

    r = receive->request.peer.request;
    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    ngx_memzero(&letter, sizeof(ngx_snorky_sockjs_letter_t));

    letter.type = NGX_SNORKY_SOCKJS_ATTACH;
    letter.value = receive->kind;
    letter.size = conf->sockjs.response_limit;

    if (ngx_snorky_sockjs_request_say(&receive->request, &letter,
                                      &receive->callback)
        != NGX_OK)
    {
        return ngx_snorky_sockjs_receive_interrupt(receive);
    }

    return NGX_AGAIN;
}


/* before any frame: what makes browsers tell of what comes as it comes */

static ngx_int_t
ngx_snorky_sockjs_receive_prelude(ngx_snorky_sockjs_receive_t *receive)
{
    u_char  *p;

    p = ngx_snorky_sockjs_receive_room(receive,
                               NGX_SNORKY_SOCKJS_PRELUDE
                               + NGX_SNORKY_SOCKJS_CALLBACK);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (receive->kind) {

    case NGX_SNORKY_SOCKJS_HTMLFILE:
        p = ngx_snorky_sockjs_receive_htmlfile(p, &receive->callback);
        break;

    case NGX_SNORKY_SOCKJS_EVENTSOURCE:
        *p++ = '\r'; *p++ = '\n';
        break;

    default: /* NGX_SNORKY_SOCKJS_XHR_STREAMING */
        ngx_memset(p, 'h', NGX_SNORKY_SOCKJS_PRELUDE);
        p += NGX_SNORKY_SOCKJS_PRELUDE;
        *p++ = '\n';
    }

    receive->out->buf->last = p;

    return ngx_snorky_sockjs_receive_pass(receive);
}


static u_char *
ngx_snorky_sockjs_receive_htmlfile(u_char *p, ngx_str_t *callback)
{
    u_char  *first;

    first = p;

    p = ngx_sprintf(p, ngx_snorky_sockjs_receive_page, callback);

    while (p - first < NGX_SNORKY_SOCKJS_HTMLFILE_SIZE) {
        *p++ = ' ';
    }

    return ngx_cpymem(p, "\r\n\r\n", 4);
}


static void
ngx_snorky_sockjs_receive_letter_handler(ngx_snorky_sockjs_request_t *sr,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_snorky_sockjs_receive_t *receive = (ngx_snorky_sockjs_receive_t *) sr;

    u_char     *p;
    ngx_int_t   rc;

    if (letter->type == NGX_SNORKY_SOCKJS_ANSWER) {

        /* it has gone since it was looked for */

        rc = ngx_snorky_sockjs_receive_begin(receive);

        ngx_snorky_sockjs_request_done(sr, rc);
        return;
    }

    if (receive->ended) {
        return;
    }

    p = ngx_snorky_sockjs_receive_room(receive, text->len);
    if (p == NULL) {
        ngx_snorky_sockjs_request_done(sr, NGX_ERROR);
        return;
    }

    receive->out->buf->last = ngx_cpymem(p, text->data, text->len);

    receive->torn = (letter->size != 0);

    sr->peer.session.messages_out += letter->value;

    if (letter->last) {
        receive->ended = 1;
        sr->released = 1;
    }

    rc = ngx_snorky_sockjs_receive_pass(receive);

    ngx_snorky_sockjs_request_done(sr, rc);
}


static void
ngx_snorky_sockjs_receive_lost_handler(ngx_snorky_sockjs_request_t *sr,
    ngx_uint_t code, const char *reason)
{
    ngx_snorky_sockjs_receive_t *receive = (ngx_snorky_sockjs_receive_t *) sr;

    ngx_int_t  rc;

    if (receive->ended) {
        return;
    }

    rc = ngx_snorky_sockjs_receive_close(receive, code, reason);

    ngx_snorky_sockjs_request_done(sr, rc);
}


static ngx_int_t
ngx_snorky_sockjs_receive_interrupt(ngx_snorky_sockjs_receive_t *receive)
{
    return ngx_snorky_sockjs_receive_close(receive,
                                           NGX_SNORKY_WS_PROTOCOL_ERROR,
                                           NGX_SNORKY_SOCKJS_INTERRUPTED);
}


/* the session can't say it any more; a frame that was begun stays broken */

static ngx_int_t
ngx_snorky_sockjs_receive_close(ngx_snorky_sockjs_receive_t *receive,
    ngx_uint_t code, const char *reason)
{
    u_char              *p;
    u_char               frame[NGX_SNORKY_SOCKJS_CLOSE];
    ngx_str_t            why, text;
    ngx_http_request_t  *r;

    r = receive->request.peer.request;

    if (receive->torn && r->header_sent) {
        return NGX_ERROR;
    }

    if (receive->torn) {
        receive->out->buf->last = receive->out->buf->pos;
    }

    why.data = (u_char *) reason;
    why.len = ngx_strlen(reason);

    text.data = frame;
    text.len = ngx_snorky_sockjs_close(frame, code, &why) - frame;

    p = ngx_snorky_sockjs_receive_room(receive,
               ngx_snorky_sockjs_wrap_size(receive->kind, &receive->callback,
                                           &text));
    if (p == NULL) {
        return NGX_ERROR;
    }

    receive->out->buf->last = ngx_snorky_sockjs_wrap(p, receive->kind,
                                                     &receive->callback,
                                                     &text);
    receive->ended = 1;

    return ngx_snorky_sockjs_receive_pass(receive);
}


/* where to write so many bytes, behind all that waits; NULL: no memory */

static u_char *
ngx_snorky_sockjs_receive_room(ngx_snorky_sockjs_receive_t *receive,
    size_t len)
{
    u_char      *p;
    size_t       size, used;
    ngx_buf_t   *b;
    ngx_pool_t  *pool;

    pool = receive->request.peer.request->pool;

    if (receive->out == NULL) {
        receive->out = ngx_chain_get_free_buf(pool, &receive->free);
        if (receive->out == NULL) {
            return NULL;
        }
    }

    b = receive->out->buf;

    if ((size_t) (b->end - b->last) >= len && b->start) {
        return b->last;
    }

    used = b->last - b->pos;

    for (size = NGX_SNORKY_SOCKJS_BUFFER; size < used + len; size *= 2) {
        /* void */
    }

    p = ngx_palloc(pool, size);
    if (p == NULL) {
        return NULL;
    }

    if (b->start) {
        ngx_memcpy(p, b->pos, used);
        (void) ngx_pfree(pool, b->start);
    }

    b->start = p;
    b->pos = p;
    b->last = p + used;
    b->end = p + size;

    return b->last;
}


/*
 * Gives nginx what it is to send, once it has sent what it was given before:
 * so there are no more buffers than two.  NGX_AGAIN: there is more to come or
 * to be sent; or how to finalize.
 */

static ngx_int_t
ngx_snorky_sockjs_receive_pass(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_http_request_t  *r;

    r = receive->request.peer.request;

    if (receive->out == NULL || ngx_snorky_sockjs_receive_blocked(r)) {
        return ngx_snorky_sockjs_receive_wait(receive);
    }

    if (!ngx_snorky_sockjs_receive_kinds[receive->kind].streaming
        && !receive->ended)
    {
        return NGX_AGAIN;
    }

    b = receive->out->buf;

    /* an end may have no bytes */

    b->temporary = (b->last != b->pos);
    b->flush = 1;
    b->last_buf = receive->ended;
    b->last_in_chain = receive->ended;
    b->tag = (ngx_buf_tag_t) &ngx_snorky_module;

    if (!r->header_sent) {
        rc = ngx_snorky_sockjs_receive_header(receive);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }
    }

    rc = ngx_http_output_filter(r, receive->out);

    ngx_chain_update_chains(r->pool, &receive->free, &receive->busy,
                            &receive->out,
                            (ngx_buf_tag_t) &ngx_snorky_module);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ngx_snorky_sockjs_receive_trim(receive);

    return ngx_snorky_sockjs_receive_wait(receive);
}


/* what the prelude or a large frame took is not kept through the silence */

static void
ngx_snorky_sockjs_receive_trim(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = receive->free; cl; cl = cl->next) {
        b = cl->buf;

        if (b->end - b->start > NGX_SNORKY_SOCKJS_BUFFER
            && ngx_pfree(receive->request.peer.request->pool, b->start)
               == NGX_OK)
        {
            ngx_memzero(b, sizeof(ngx_buf_t));
        }
    }
}


static ngx_int_t
ngx_snorky_sockjs_receive_header(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_str_t                          value;
    ngx_http_request_t                *r;
    ngx_snorky_sockjs_receive_kind_t  *k;

    r = receive->request.peer.request;
    k = &ngx_snorky_sockjs_receive_kinds[receive->kind];

    r->headers_out.status = NGX_HTTP_OK;
    r->disable_not_modified = 1;

    ngx_snorky_sockjs_header_type(r, k->type, k->charset);

    if (ngx_snorky_sockjs_header_no_cache(r) != NGX_OK
        || ngx_snorky_sockjs_header_cookie(r) != NGX_OK
        || (k->cors && ngx_snorky_sockjs_header_cors(r) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (k->streaming) {

        /* for an nginx in front of this one */

        ngx_str_set(&value, "no");

        if (ngx_snorky_header_add(r, "X-Accel-Buffering", &value) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        r->headers_out.content_length_n = receive->out->buf->last
                                            - receive->out->buf->pos;
    }

    if (receive->kind == NGX_SNORKY_SOCKJS_JSONP) {

        /* what a client chose is at its begin: it is nothing but a script */

        ngx_str_set(&value, "nosniff");

        if (ngx_snorky_header_add(r, "X-Content-Type-Options", &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_send_header(r);
}


/*
 * While nginx has something that the socket does not take, the time runs: only
 * what has been taken gives it more, not what we write.
 */

static ngx_int_t
ngx_snorky_sockjs_receive_wait(ngx_snorky_sockjs_receive_t *receive)
{
    ngx_event_t               *wev;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = receive->request.peer.request;
    wev = r->connection->write;

    if (ngx_snorky_sockjs_receive_blocked(r)) {

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (!wev->timer_set) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

        return (ngx_handle_write_event(wev, clcf->send_lowat) == NGX_OK)
               ? NGX_AGAIN : NGX_ERROR;
    }

    if (!receive->ended || receive->out) {
        return NGX_AGAIN;
    }

    receive->request.whole = 1;

    return NGX_OK;
}


static ngx_uint_t
ngx_snorky_sockjs_receive_blocked(ngx_http_request_t *r)
{
    return r->buffered || r->postponed || r->connection->buffered;
}


static void
ngx_snorky_sockjs_receive_write_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_event_t                  *wev;
    ngx_connection_t             *c;
    ngx_snorky_sockjs_receive_t  *receive;

    c = r->connection;
    wev = c->write;
    receive = ngx_http_get_module_ctx(r, ngx_snorky_module);

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    rc = NGX_OK;

    if (!wev->delayed && ngx_snorky_sockjs_receive_blocked(r)) {

        if (wev->timer_set) {
            ngx_del_timer(wev);
        }

        rc = ngx_http_output_filter(r, NULL);
    }

    if (rc != NGX_ERROR) {
        rc = ngx_snorky_sockjs_receive_pass(receive);
    }

    if (rc != NGX_AGAIN) {
        ngx_snorky_sockjs_request_leave(&receive->request);
        ngx_http_finalize_request(r, rc);
    }
}
