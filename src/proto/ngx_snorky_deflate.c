
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the states of zlib, and is its only user.  Called by the WebSocket's
 * handshake, and for each message that goes or comes compressed.
 */


#include "ngx_snorky_deflate.h"

#include <zlib.h>


/* the parameters of RFC 7692, 7.1 */

#define NGX_SNORKY_DEFLATE_SERVER_TAKEOVER  1
#define NGX_SNORKY_DEFLATE_CLIENT_TAKEOVER  2
#define NGX_SNORKY_DEFLATE_SERVER_BITS      4
#define NGX_SNORKY_DEFLATE_CLIENT_BITS      8

/*
 * zlib's hash table: a small one finds little, and is slow in long texts.
 * That of a shared compressor need not be small, and is cleared in half a
 * microsecond.
 */

#define NGX_SNORKY_DEFLATE_MEM_LEVEL        8
#define NGX_SNORKY_DEFLATE_MIN_MEM_LEVEL    4

/* an empty block and the next one's first bits, behind all that is flushed */
#define NGX_SNORKY_DEFLATE_FLUSH            16

/* the first memory for a message */
#define NGX_SNORKY_DEFLATE_MIN_SIZE         512

/* zlib's data_type when it has read a block, and no bit of the next */
#define NGX_SNORKY_DEFLATE_AT_BLOCK         128

/* zlib counts in 32 bits */
#define NGX_SNORKY_DEFLATE_MAX_SIZE         0x7fffffff


typedef struct {
    u_char                    *p;
    u_char                    *last;
} ngx_snorky_deflate_line_t;


/* a parameter's value, as far as it matters: longer ones are not valid */

typedef struct {
    ngx_str_t                  name;
    u_char                     value[2];
    size_t                     len;
    ngx_uint_t                 valued;
} ngx_snorky_deflate_param_t;


typedef struct {
    ngx_uint_t                 seen;
    ngx_uint_t                 invalid;
    ngx_uint_t                 server_bits;
    ngx_uint_t                 client_bits;
} ngx_snorky_deflate_offer_t;


struct ngx_snorky_deflater_s {
    z_stream                   stream;
    ngx_uint_t                 takeover;
};


struct ngx_snorky_inflater_s {
    z_stream                   stream;
    ngx_uint_t                 takeover;
};


static ngx_int_t ngx_snorky_deflate_extension(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_offer_t *offer);
static ngx_int_t ngx_snorky_deflate_param(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_param_t *param);
static ngx_int_t ngx_snorky_deflate_quoted(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_param_t *param);
static ngx_int_t ngx_snorky_deflate_token(ngx_snorky_deflate_line_t *line,
    ngx_str_t *token);
static ngx_uint_t ngx_snorky_deflate_token_char(u_char ch);
static void ngx_snorky_deflate_space(ngx_snorky_deflate_line_t *line);
static void ngx_snorky_deflate_offer(ngx_snorky_deflate_offer_t *offer,
    ngx_snorky_deflate_param_t *param);
static ngx_uint_t ngx_snorky_deflate_bits(ngx_snorky_deflate_param_t *param);
static void ngx_snorky_deflate_accept(ngx_snorky_deflate_offer_t *offer,
    ngx_uint_t bits, ngx_uint_t takeover, ngx_snorky_deflate_params_t *params);
static u_char *ngx_snorky_deflate_answer_bits(u_char *p, ngx_uint_t bits);

static voidpf ngx_snorky_deflate_alloc(voidpf opaque, uInt items, uInt size);
static void ngx_snorky_deflate_free(voidpf opaque, voidpf address);

static ngx_int_t ngx_snorky_inflater_pass(ngx_snorky_inflater_t *i,
    size_t max, ngx_snorky_deflate_buf_t *out);
static ngx_int_t ngx_snorky_inflater_grow(ngx_snorky_deflate_buf_t *out,
    size_t size, size_t max, ngx_log_t *log);


/* the whole line is read, even behind an offer that has been accepted */

ngx_int_t
ngx_snorky_deflate_negotiate(ngx_str_t *line, ngx_uint_t bits,
    ngx_uint_t takeover, ngx_snorky_deflate_params_t *params)
{
    ngx_int_t                   rc, found;
    ngx_snorky_deflate_line_t   rest;
    ngx_snorky_deflate_offer_t  offer;

    rest.p = line->data;
    rest.last = line->data + line->len;

    found = NGX_DECLINED;

    for ( ;; ) {

        /* a list may have empty elements (RFC 2616, 2.1) */

        ngx_snorky_deflate_space(&rest);

        if (rest.p == rest.last) {
            return found;
        }

        if (*rest.p == ',') {
            rest.p++;
            continue;
        }

        rc = ngx_snorky_deflate_extension(&rest, &offer);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_OK && found == NGX_DECLINED) {
            ngx_snorky_deflate_accept(&offer, bits, takeover, params);
            found = NGX_OK;
        }

        if (rest.p < rest.last && *rest.p != ',') {
            return NGX_ERROR;
        }
    }
}


/* NGX_OK: an offer that is acceptable */

static ngx_int_t
ngx_snorky_deflate_extension(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_offer_t *offer)
{
    ngx_str_t                   name;
    ngx_snorky_deflate_param_t  param;

    if (ngx_snorky_deflate_token(line, &name) != NGX_OK) {
        return NGX_ERROR;
    }

    offer->seen = 0;
    offer->invalid = 0;
    offer->server_bits = NGX_SNORKY_DEFLATE_MAX_BITS;
    offer->client_bits = NGX_SNORKY_DEFLATE_MAX_BITS;

    for ( ;; ) {
        ngx_snorky_deflate_space(line);

        if (line->p == line->last || *line->p != ';') {
            break;
        }

        line->p++;

        if (ngx_snorky_deflate_param(line, &param) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_snorky_deflate_offer(offer, &param);
    }

    if (offer->invalid
        || name.len != sizeof("permessage-deflate") - 1
        || ngx_strncmp(name.data, "permessage-deflate", name.len) != 0)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_deflate_param(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_param_t *param)
{
    ngx_str_t  value;

    param->len = 0;
    param->valued = 0;

    ngx_snorky_deflate_space(line);

    if (ngx_snorky_deflate_token(line, &param->name) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_deflate_space(line);

    if (line->p == line->last || *line->p != '=') {
        return NGX_OK;
    }

    line->p++;
    param->valued = 1;

    ngx_snorky_deflate_space(line);

    if (line->p < line->last && *line->p == '"') {
        return ngx_snorky_deflate_quoted(line, param);
    }

    if (ngx_snorky_deflate_token(line, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    param->len = value.len;
    ngx_memcpy(param->value, value.data, ngx_min(value.len, 2));

    return NGX_OK;
}


/* what is quoted must be a token, too (RFC 6455, 9.1) */

static ngx_int_t
ngx_snorky_deflate_quoted(ngx_snorky_deflate_line_t *line,
    ngx_snorky_deflate_param_t *param)
{
    u_char  ch;

    for (line->p++; line->p < line->last; line->p++) {

        ch = *line->p;

        if (ch == '"') {
            line->p++;
            return param->len ? NGX_OK : NGX_ERROR;
        }

        if (ch == '\\') {

            if (++line->p == line->last) {
                return NGX_ERROR;
            }

            ch = *line->p;
        }

        if (!ngx_snorky_deflate_token_char(ch)) {
            return NGX_ERROR;
        }

        if (param->len < 2) {
            param->value[param->len] = ch;
        }

        param->len++;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_snorky_deflate_token(ngx_snorky_deflate_line_t *line, ngx_str_t *token)
{
    token->data = line->p;

    while (line->p < line->last && ngx_snorky_deflate_token_char(*line->p)) {
        line->p++;
    }

    token->len = line->p - token->data;

    return token->len ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
ngx_snorky_deflate_token_char(u_char ch)
{
    return ch > ' ' && ch < 0x7f
           && ngx_strchr("()<>@,;:\\\"/[]?={}", ch) == NULL;
}


static void
ngx_snorky_deflate_space(ngx_snorky_deflate_line_t *line)
{
    while (line->p < line->last && (*line->p == ' ' || *line->p == '\t')) {
        line->p++;
    }
}


/* unknown, repeated, invalid: the offer is declined (RFC 7692, 7.1) */

static void
ngx_snorky_deflate_offer(ngx_snorky_deflate_offer_t *offer,
    ngx_snorky_deflate_param_t *param)
{
    ngx_uint_t                i, bits, invalid;
    static const ngx_str_t    names[] = {
        ngx_string("server_no_context_takeover"),
        ngx_string("client_no_context_takeover"),
        ngx_string("server_max_window_bits"),
        ngx_string("client_max_window_bits"),
        ngx_null_string
    };

    for (i = 0; names[i].len; i++) {
        if (param->name.len == names[i].len
            && ngx_strncmp(param->name.data, names[i].data, names[i].len) == 0)
        {
            break;
        }
    }

    i = 1 << i;
    bits = ngx_snorky_deflate_bits(param);

    switch (i) {

    case NGX_SNORKY_DEFLATE_SERVER_TAKEOVER:
    case NGX_SNORKY_DEFLATE_CLIENT_TAKEOVER:
        invalid = param->valued;
        break;

    case NGX_SNORKY_DEFLATE_SERVER_BITS:

        /* zlib can't: it makes 9 bits of 8, which such a peer can't read */

        invalid = bits < NGX_SNORKY_DEFLATE_MIN_BITS;
        offer->server_bits = bits;
        break;

    case NGX_SNORKY_DEFLATE_CLIENT_BITS:
        invalid = param->valued && bits == 0;
        offer->client_bits = param->valued ? bits
                                           : NGX_SNORKY_DEFLATE_MAX_BITS;
        break;

    default:
        invalid = 1;
    }

    offer->invalid |= invalid || (offer->seen & i);
    offer->seen |= i;
}


/* 8 to 15, no zero before it (RFC 7692, 7.1.2); 0: anything else */

static ngx_uint_t
ngx_snorky_deflate_bits(ngx_snorky_deflate_param_t *param)
{
    u_char  *value;

    value = param->value;

    if (param->len == 1 && (value[0] == '8' || value[0] == '9')) {
        return value[0] - '0';
    }

    if (param->len == 2 && value[0] == '1'
        && value[1] >= '0' && value[1] <= '5')
    {
        return 10 + value[1] - '0';
    }

    return 0;
}


/*
 * The client's window is ours to bound only if it offers that, and matters
 * only where we keep it.
 */

static void
ngx_snorky_deflate_accept(ngx_snorky_deflate_offer_t *offer, ngx_uint_t bits,
    ngx_uint_t takeover, ngx_snorky_deflate_params_t *params)
{
    ngx_uint_t  seen;

    seen = offer->seen;

    params->server_takeover = takeover
                              && !(seen & NGX_SNORKY_DEFLATE_SERVER_TAKEOVER);
    params->client_takeover = takeover
                              && !(seen & NGX_SNORKY_DEFLATE_CLIENT_TAKEOVER);

    params->server_bits = ngx_min(bits, offer->server_bits);
    params->server_named = (seen & NGX_SNORKY_DEFLATE_SERVER_BITS)
                           || bits < NGX_SNORKY_DEFLATE_MAX_BITS;

    params->client_bits = NGX_SNORKY_DEFLATE_MAX_BITS;

    if (params->client_takeover && (seen & NGX_SNORKY_DEFLATE_CLIENT_BITS)) {
        params->client_bits = ngx_min(bits, offer->client_bits);
    }
}


u_char *
ngx_snorky_deflate_answer(u_char *p, ngx_snorky_deflate_params_t *params)
{
    p = ngx_cpymem(p, "permessage-deflate", sizeof("permessage-deflate") - 1);

    if (!params->server_takeover) {
        p = ngx_cpymem(p, "; server_no_context_takeover",
                       sizeof("; server_no_context_takeover") - 1);
    }

    if (!params->client_takeover) {
        p = ngx_cpymem(p, "; client_no_context_takeover",
                       sizeof("; client_no_context_takeover") - 1);
    }

    if (params->server_named) {
        p = ngx_cpymem(p, "; server_max_window_bits=",
                       sizeof("; server_max_window_bits=") - 1);
        p = ngx_snorky_deflate_answer_bits(p, params->server_bits);
    }

    if (params->client_bits < NGX_SNORKY_DEFLATE_MAX_BITS) {
        p = ngx_cpymem(p, "; client_max_window_bits=",
                       sizeof("; client_max_window_bits=") - 1);
        p = ngx_snorky_deflate_answer_bits(p, params->client_bits);
    }

    return p;
}


static u_char *
ngx_snorky_deflate_answer_bits(u_char *p, ngx_uint_t bits)
{
    if (bits > 9) {
        *p++ = '1';
        bits -= 10;
    }

    *p++ = (u_char) ('0' + bits);

    return p;
}


ngx_snorky_deflater_t *
ngx_snorky_deflater_create(ngx_uint_t level, ngx_uint_t bits,
    ngx_uint_t takeover, ngx_log_t *log)
{
    int                     mem_level;
    ngx_snorky_deflater_t  *d;

    d = ngx_calloc(sizeof(ngx_snorky_deflater_t), log);
    if (d == NULL) {
        return NULL;
    }

    mem_level = NGX_SNORKY_DEFLATE_MEM_LEVEL;

    if (takeover) {
        mem_level -= NGX_SNORKY_DEFLATE_MAX_BITS - bits;
        mem_level = ngx_max(mem_level, NGX_SNORKY_DEFLATE_MIN_MEM_LEVEL);
    }

    d->takeover = takeover;
    d->stream.zalloc = ngx_snorky_deflate_alloc;
    d->stream.zfree = ngx_snorky_deflate_free;
    d->stream.opaque = log;

    if (deflateInit2(&d->stream, (int) level, Z_DEFLATED, -(int) bits,
                     mem_level, Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        ngx_free(d);
        return NULL;
    }

    return d;
}


void
ngx_snorky_deflater_destroy(ngx_snorky_deflater_t *d)
{
    (void) deflateEnd(&d->stream);

    ngx_free(d);
}


size_t
ngx_snorky_deflater_bound(ngx_snorky_deflater_t *d, size_t len)
{
    return deflateBound(&d->stream, len) + NGX_SNORKY_DEFLATE_FLUSH;
}


/*
 * RFC 7692, 7.2.1: the last four bytes of what is flushed, always the same,
 * are not sent.
 */

ngx_int_t
ngx_snorky_deflater_run(ngx_snorky_deflater_t *d, ngx_str_t *text, u_char *p,
    size_t room, size_t *len)
{
    int        rc;
    z_stream  *stream;

    stream = &d->stream;

    if (room == 0 || text->len > NGX_SNORKY_DEFLATE_MAX_SIZE) {
        return NGX_DECLINED;
    }

    if (text->len == 0) {

        /* zlib flushes nothing twice (RFC 7692, 7.2.3.6) */

        *p = 0;
        *len = 1;

        return NGX_OK;
    }

    if (!d->takeover && deflateReset(stream) != Z_OK) {
        return NGX_ERROR;
    }

    stream->next_in = text->data;
    stream->avail_in = (uInt) text->len;
    stream->next_out = p;
    stream->avail_out = (uInt) ngx_min(room, NGX_SNORKY_DEFLATE_MAX_SIZE);

    rc = deflate(stream, Z_SYNC_FLUSH);

    if (rc != Z_OK) {
        return NGX_ERROR;
    }

    if (stream->avail_out == 0) {

        /* there is more, or there might be */

        return d->takeover ? NGX_ERROR : NGX_DECLINED;
    }

    *len = stream->next_out - p - 4;

    return NGX_OK;
}


ngx_snorky_inflater_t *
ngx_snorky_inflater_create(ngx_uint_t bits, ngx_uint_t takeover,
    ngx_log_t *log)
{
    ngx_snorky_inflater_t  *i;

    i = ngx_calloc(sizeof(ngx_snorky_inflater_t), log);
    if (i == NULL) {
        return NULL;
    }

    i->takeover = takeover;
    i->stream.zalloc = ngx_snorky_deflate_alloc;
    i->stream.zfree = ngx_snorky_deflate_free;
    i->stream.opaque = log;

    if (inflateInit2(&i->stream, -(int) bits) != Z_OK) {
        ngx_free(i);
        return NULL;
    }

    return i;
}


void
ngx_snorky_inflater_destroy(ngx_snorky_inflater_t *i)
{
    (void) inflateEnd(&i->stream);

    ngx_free(i);
}


/*
 * RFC 7692, 7.2.2: the message, then the four bytes that its sender has cut.
 * They end at a block's end, and at a byte's, if all is well.
 */

ngx_int_t
ngx_snorky_inflater_run(ngx_snorky_inflater_t *i, ngx_str_t *data, size_t max,
    ngx_snorky_deflate_buf_t *out)
{
    size_t         size;
    z_stream      *stream;
    ngx_int_t      rc;
    static u_char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    stream = &i->stream;
    out->len = 0;

    if (data->len > NGX_SNORKY_DEFLATE_MAX_SIZE) {
        return NGX_DECLINED;
    }

    if (!i->takeover && inflateReset(stream) != Z_OK) {
        return NGX_ERROR;
    }

    size = ngx_max(data->len * 4, NGX_SNORKY_DEFLATE_MIN_SIZE);

    if (out->size < size
        && ngx_snorky_inflater_grow(out, size, max, stream->opaque) != NGX_OK)
    {
        return NGX_ERROR;
    }

    stream->next_in = data->data;
    stream->avail_in = (uInt) data->len;

    rc = ngx_snorky_inflater_pass(i, max, out);

    if (rc == NGX_OK) {
        stream->next_in = tail;
        stream->avail_in = sizeof(tail);

        rc = ngx_snorky_inflater_pass(i, max, out);

        if (rc == NGX_OK && stream->data_type != NGX_SNORKY_DEFLATE_AT_BLOCK) {
            return NGX_ABORT;
        }
    }

    return (rc == NGX_DONE) ? NGX_OK : rc;
}


/*
 * Takes all input.  NGX_DONE: it ended with a final block.  Such a message
 * should have a zero byte behind that one, so that the tail makes another
 * block (RFC 7692, 7.2.3.4), but some who end their streams do not know.
 */

static ngx_int_t
ngx_snorky_inflater_pass(ngx_snorky_inflater_t *i, size_t max,
    ngx_snorky_deflate_buf_t *out)
{
    int        rc;
    size_t     room;
    z_stream  *stream;

    stream = &i->stream;

    for ( ;; ) {

        if (out->len == out->size
            && ngx_snorky_inflater_grow(out, out->size * 2, max,
                                        stream->opaque)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        room = ngx_min(out->size, max + 1) - out->len;
        room = ngx_min(room, NGX_SNORKY_DEFLATE_MAX_SIZE);

        stream->next_out = out->data + out->len;
        stream->avail_out = (uInt) room;

        rc = inflate(stream, Z_SYNC_FLUSH);

        out->len += room - stream->avail_out;

        if (out->len > max) {
            return NGX_DECLINED;
        }

        switch (rc) {

        case Z_STREAM_END:

            /* the window is kept: blocks that follow may refer to it */

            if (inflateResetKeep(stream) != Z_OK) {
                return NGX_ABORT;
            }

            if (stream->avail_in == 0) {
                return NGX_DONE;
            }

            break;

        case Z_OK:
        case Z_BUF_ERROR:

            if (stream->avail_out) {
                return NGX_OK;
            }

            break;

        case Z_MEM_ERROR:
            return NGX_ERROR;

        default:
            return NGX_ABORT;
        }
    }
}


static ngx_int_t
ngx_snorky_inflater_grow(ngx_snorky_deflate_buf_t *out, size_t size,
    size_t max, ngx_log_t *log)
{
    u_char  *p;

    size = ngx_min(size, max + 1);

    if (size <= out->size) {
        return NGX_OK;
    }

    p = ngx_alloc(size, log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (out->data) {
        ngx_memcpy(p, out->data, out->len);
        ngx_free(out->data);
    }

    out->data = p;
    out->size = size;

    return NGX_OK;
}


static voidpf
ngx_snorky_deflate_alloc(voidpf opaque, uInt items, uInt size)
{
    return ngx_alloc((size_t) items * size, opaque);
}


static void
ngx_snorky_deflate_free(voidpf opaque, voidpf address)
{
    ngx_free(address);
}
