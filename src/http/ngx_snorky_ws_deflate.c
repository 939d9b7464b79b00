
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the compressors and decompressors, those of connections that keep their
 * context and those that all others share, and the memory for one message each
 * way.  Called by the websocket's life, by what is read and what is written.
 */


#include "ngx_snorky_ws_deflate.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_ws_sockjs.h"


#define NGX_SNORKY_WS_DEFLATE_LEVELS  9
#define NGX_SNORKY_WS_DEFLATE_BITS                                            \
    (NGX_SNORKY_DEFLATE_MAX_BITS - NGX_SNORKY_DEFLATE_MIN_BITS + 1)

/* memory for one message that is kept for the next; above, it is freed */
#define NGX_SNORKY_WS_DEFLATE_KEEP    65536


struct ngx_snorky_ws_deflates_s {
    ngx_log_t                    *log;      /* the cycle's: it lasts */
    ngx_snorky_inflater_t        *inflater;
    ngx_snorky_deflate_buf_t      inflated;

    u_char                       *deflated;
    size_t                        size;     /* of it */

    ngx_snorky_deflater_t        *deflaters[NGX_SNORKY_WS_DEFLATE_LEVELS]
                                           [NGX_SNORKY_WS_DEFLATE_BITS];
};


static ngx_snorky_msg_t *ngx_snorky_ws_deflate_own(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t opcode);
static ngx_snorky_msg_t *ngx_snorky_ws_deflate_shared(ngx_snorky_ws_t *ws,
    ngx_snorky_msg_t *msg, ngx_uint_t opcode);
static ngx_int_t ngx_snorky_ws_deflate_run(ngx_snorky_ws_t *ws,
    ngx_snorky_deflater_t *d, ngx_snorky_msg_t *msg, size_t room, size_t *len);
static ngx_snorky_msg_t *ngx_snorky_ws_deflate_msg(ngx_snorky_ws_t *ws,
    size_t len, ngx_uint_t opcode);
static ngx_snorky_deflater_t *ngx_snorky_ws_deflate_deflater(
    ngx_snorky_ws_t *ws);
static ngx_snorky_inflater_t *ngx_snorky_ws_deflate_inflater(
    ngx_snorky_ws_t *ws);


/* several lines are one list (RFC 6455, 9.1): the first accepted one counts */

ngx_int_t
ngx_snorky_ws_deflate_negotiate(ngx_http_request_t *r,
    ngx_snorky_loc_conf_t *conf, ngx_snorky_deflate_params_t *params)
{
    ngx_int_t                     rc, found;
    ngx_uint_t                    i;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h;
    ngx_snorky_deflate_params_t   other;

    if (conf->deflate == NULL) {
        return NGX_DECLINED;
    }

    found = NGX_DECLINED;
    part = NULL;

    for ( ;; ) {
        h = ngx_snorky_header_next(r, "Sec-WebSocket-Extensions", &part, &i);

        if (h == NULL) {
            break;
        }

        rc = ngx_snorky_deflate_negotiate(&h->value, conf->deflate->bits,
                                          conf->deflate->takeover,
                                          found == NGX_OK ? &other : params);

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "client sent no valid \"Sec-WebSocket-Extensions\"");
            return NGX_HTTP_BAD_REQUEST;
        }

        if (rc == NGX_OK) {
            found = NGX_OK;
        }
    }

    return found;
}


ngx_int_t
ngx_snorky_ws_deflate_answer(ngx_http_request_t *r,
    ngx_snorky_deflate_params_t *params)
{
    ngx_str_t  answer;

    answer.data = ngx_pnalloc(r->pool, NGX_SNORKY_DEFLATE_ANSWER);
    if (answer.data == NULL) {
        return NGX_ERROR;
    }

    answer.len = ngx_snorky_deflate_answer(answer.data, params) - answer.data;

    return ngx_snorky_header_add(r, "Sec-WebSocket-Extensions", &answer);
}


ngx_int_t
ngx_snorky_ws_deflate_init(ngx_snorky_ws_t *ws,
    ngx_snorky_deflate_params_t *params)
{
    ws->deflate = ngx_pcalloc(ws->pool, sizeof(ngx_snorky_ws_deflate_t));
    if (ws->deflate == NULL) {
        return NGX_ERROR;
    }

    ws->deflate->params = *params;
    ws->parser.rsv = NGX_SNORKY_WS_RSV1;

    return NGX_OK;
}


void
ngx_snorky_ws_deflate_finish(ngx_snorky_ws_t *ws)
{
    ngx_snorky_ws_deflate_t  *own;

    own = ws->deflate;

    if (own == NULL) {
        return;
    }

    if (own->deflater) {
        ngx_snorky_deflater_destroy(own->deflater);
        own->deflater = NULL;
    }

    if (own->inflater) {
        ngx_snorky_inflater_destroy(own->inflater);
        own->inflater = NULL;
    }
}


ngx_snorky_msg_t *
ngx_snorky_ws_deflate_form(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode)
{
    if (opcode >= NGX_SNORKY_WS_CLOSE
        || msg->len == 0
        || msg->len < ws->conf->deflate->min_size)
    {
        ngx_snorky_msg_ref(msg);
        return msg;
    }

    if (ws->deflate->params.server_takeover) {
        return ngx_snorky_ws_deflate_own(ws, msg, opcode);
    }

    msg = ngx_snorky_ws_deflate_shared(ws, msg, opcode);

    ngx_snorky_msg_ref(msg);

    return msg;
}


/* what has been through its compressor must be sent, smaller or not */

static ngx_snorky_msg_t *
ngx_snorky_ws_deflate_own(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode)
{
    size_t                  len;
    ngx_int_t               rc;
    ngx_snorky_deflater_t  *d;

    d = ngx_snorky_ws_deflate_deflater(ws);
    if (d == NULL) {
        return NULL;
    }

    rc = ngx_snorky_ws_deflate_run(ws, d, msg,
                                   ngx_snorky_deflater_bound(d, msg->len),
                                   &len);

    if (rc == NGX_DECLINED) {
        ngx_snorky_msg_ref(msg);
        return msg;
    }

    if (rc == NGX_ERROR) {
        return NULL;
    }

    if (len < msg->len) {
        ngx_snorky_ws_stats(ws)->bytes_saved += msg->len - len;
    }

    return ngx_snorky_ws_deflate_msg(ws, len, opcode);
}


/*
 * Without a reference: the forms hang on the message.  One without bytes tells
 * that the message gets no smaller so.
 */

static ngx_snorky_msg_t *
ngx_snorky_ws_deflate_shared(ngx_snorky_ws_t *ws, ngx_snorky_msg_t *msg,
    ngx_uint_t opcode)
{
    size_t                  len;
    ngx_int_t               rc;
    ngx_uint_t              kind;
    ngx_snorky_msg_t       *form;
    ngx_snorky_deflater_t  *d;

    kind = ws->conf->deflate->level << 4 | ws->deflate->params.server_bits;

    if (ws->sockjs) {

        /* the message is itself a form: it stands in the same list */

        kind |= NGX_SNORKY_SOCKJS_FRAME;
    }

    form = ngx_snorky_msg_form(msg, kind);

    if (form == NULL) {
        d = ngx_snorky_ws_deflate_deflater(ws);
        if (d == NULL) {
            return msg;
        }

        /* room for what is smaller, with four bytes that will be cut off */

        rc = ngx_snorky_ws_deflate_run(ws, d, msg, msg->len + 4, &len);

        if (rc == NGX_ERROR) {
            return msg;
        }

        form = ngx_snorky_ws_deflate_msg(ws, rc == NGX_OK ? len : 0, opcode);
        if (form == NULL) {
            return msg;
        }

        ngx_snorky_msg_add_form(msg, form, kind);
    }

    if (form->len == 0) {
        return msg;
    }

    ngx_snorky_ws_stats(ws)->bytes_saved += msg->len - form->len;

    return form;
}


/* into the worker's memory; returns as ngx_snorky_deflater_run() */

static ngx_int_t
ngx_snorky_ws_deflate_run(ngx_snorky_ws_t *ws, ngx_snorky_deflater_t *d,
    ngx_snorky_msg_t *msg, size_t room, size_t *len)
{
    u_char                    *p;
    ngx_str_t                  text;
    ngx_snorky_ws_deflates_t  *all;

    all = ws->worker->deflates;

    if (all->size < room) {
        p = ngx_alloc(room, all->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (all->deflated) {
            ngx_free(all->deflated);
        }

        all->deflated = p;
        all->size = room;
    }

    text.data = msg->text;
    text.len = msg->len;

    ngx_snorky_ws_stats(ws)->compressions++;

    return ngx_snorky_deflater_run(d, &text, all->deflated, room, len);
}


/* a message of its own of what has just been compressed */

static ngx_snorky_msg_t *
ngx_snorky_ws_deflate_msg(ngx_snorky_ws_t *ws, size_t len, ngx_uint_t opcode)
{
    ngx_snorky_msg_t          *msg;
    ngx_snorky_ws_deflates_t  *all;

    all = ws->worker->deflates;

    msg = ngx_snorky_msg_create(len, all->log);

    if (msg) {
        ngx_memcpy(msg->text, all->deflated, len);

        opcode |= NGX_SNORKY_WS_RSV1;

        msg->framed = msg->text
                      - ngx_snorky_ws_build_header(msg->text, opcode, len);
    }

    if (all->size > NGX_SNORKY_WS_DEFLATE_KEEP) {
        ngx_free(all->deflated);

        all->deflated = NULL;
        all->size = 0;
    }

    return msg;
}


static ngx_snorky_deflater_t *
ngx_snorky_ws_deflate_deflater(ngx_snorky_ws_t *ws)
{
    ngx_uint_t                 level, bits, takeover;
    ngx_snorky_deflater_t    **d;
    ngx_snorky_ws_deflates_t  *all;

    all = ws->worker->deflates;

    level = ws->conf->deflate->level;
    bits = ws->deflate->params.server_bits;
    takeover = ws->deflate->params.server_takeover;

    d = takeover ? &ws->deflate->deflater
            : &all->deflaters[level - 1][bits - NGX_SNORKY_DEFLATE_MIN_BITS];

    if (*d == NULL) {
        *d = ngx_snorky_deflater_create(level, bits, takeover, all->log);
    }

    return *d;
}


ngx_int_t
ngx_snorky_ws_deflate_read(ngx_snorky_ws_t *ws, ngx_str_t *text)
{
    ngx_int_t                  rc;
    ngx_snorky_inflater_t     *i;
    ngx_snorky_ws_deflates_t  *all;

    all = ws->worker->deflates;

    i = ngx_snorky_ws_deflate_inflater(ws);
    if (i == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_inflater_run(i, text, ws->parser.max_size,
                                 &all->inflated);

    if (rc != NGX_OK) {
        ngx_snorky_ws_deflate_forget(ws->worker);
        return rc;
    }

    text->data = all->inflated.data;
    text->len = all->inflated.len;

    return NGX_OK;
}


/* the shared one reads what any window has written */

static ngx_snorky_inflater_t *
ngx_snorky_ws_deflate_inflater(ngx_snorky_ws_t *ws)
{
    ngx_uint_t                 bits, takeover;
    ngx_snorky_inflater_t    **i;
    ngx_snorky_ws_deflates_t  *all;

    all = ws->worker->deflates;

    bits = ws->deflate->params.client_bits;
    takeover = ws->deflate->params.client_takeover;

    i = takeover ? &ws->deflate->inflater : &all->inflater;

    if (*i == NULL) {
        *i = ngx_snorky_inflater_create(bits, takeover, all->log);
    }

    return *i;
}


void
ngx_snorky_ws_deflate_forget(ngx_snorky_worker_t *worker)
{
    ngx_snorky_deflate_buf_t  *inflated;

    inflated = &worker->deflates->inflated;

    if (inflated->size > NGX_SNORKY_WS_DEFLATE_KEEP) {
        ngx_free(inflated->data);
        ngx_memzero(inflated, sizeof(ngx_snorky_deflate_buf_t));
    }
}


ngx_snorky_ws_deflates_t *
ngx_snorky_ws_deflate_open_worker(ngx_log_t *log)
{
    ngx_snorky_ws_deflates_t  *all;

    all = ngx_calloc(sizeof(ngx_snorky_ws_deflates_t), log);
    if (all == NULL) {
        return NULL;
    }

    all->log = log;

    return all;
}


void
ngx_snorky_ws_deflate_close_worker(ngx_snorky_ws_deflates_t *all)
{
    ngx_uint_t  i, k;

    for (i = 0; i < NGX_SNORKY_WS_DEFLATE_LEVELS; i++) {
        for (k = 0; k < NGX_SNORKY_WS_DEFLATE_BITS; k++) {
            if (all->deflaters[i][k]) {
                ngx_snorky_deflater_destroy(all->deflaters[i][k]);
            }
        }
    }

    if (all->inflater) {
        ngx_snorky_inflater_destroy(all->inflater);
    }

    if (all->deflated) {
        ngx_free(all->deflated);
    }

    if (all->inflated.data) {
        ngx_free(all->inflated.data);
    }

    ngx_free(all);
}
