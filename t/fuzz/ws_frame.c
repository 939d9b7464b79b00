
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes the WebSocket parser.  The input's first bytes choose the limit, the
 * extension bits and how the stream is cut; the rest is the stream, or the
 * frames that it is built of.  Given whole, byte by byte and in pieces, a
 * stream means the same, and it is what a plain reading of the RFC tells.
 */


#include "ws_frame_run.h"


#define HEAD  6

#define fuzz_check(cond)                                                     \
    if (!(cond)) {                                                           \
        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);           \
        abort();                                                             \
    }


/* a stream that lies whole in memory, read frame by frame */

typedef struct {
    const u_char    *p;             /* what is left of it */
    const u_char    *last;
    size_t           max_size;
    ngx_uint_t       rsv;

    ngx_uint_t       first;         /* of the frame */
    uint64_t         len;
    ngx_uint_t       message;       /* the unfinished message */
    ngx_uint_t       compressed;
    uint64_t         size;

    ws_frame_buf_t   payload;
    ws_frame_buf_t   data;
    ws_frame_buf_t   text;
} fuzz_model_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/*
 * Decodes UTF-8 into numbers.  The code points that the first bytes of a
 * character allow are a range, from c to most; it must hold a valid one.
 *
 *   NGX_OK, NGX_AGAIN (ends within a character), NGX_ERROR
 */

static ngx_int_t
fuzz_utf8(const u_char *p, size_t len)
{
    size_t    i, n, need;
    uint32_t  c, most;

    for (i = 0; i < len; i += n) {
        need = p[i] < 0x80 ? 1 : p[i] < 0xc0 ? 0 : p[i] < 0xe0 ? 2
               : p[i] < 0xf0 ? 3 : p[i] < 0xf8 ? 4 : 0;

        if (need == 0) {
            return NGX_ERROR;
        }

        c = (need == 1) ? p[i] : p[i] & (0x7fu >> need);

        for (n = 1; n < need && i + n < len; n++) {

            if ((p[i + n] & 0xc0) != 0x80) {
                return NGX_ERROR;
            }

            c = c << 6 | (p[i + n] & 0x3f);
        }

        c <<= 6 * (need - n);
        most = c + (1u << 6 * (need - n)) - 1;

        if ((need == 2 && most < 0x80) || (need == 3 && most < 0x800)
            || (need == 4 && most < 0x10000) || c > 0x10ffff
            || (c >= 0xd800 && most <= 0xdfff))
        {
            return NGX_ERROR;
        }

        if (n < need) {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
fuzz_code_valid(ngx_uint_t code)
{
    return code >= 1000 && code < 5000 && code != 1004 && code != 1005
           && code != 1006 && (code < 1015 || code >= 3000);
}


/* these return 0, or the error's code, or 1 where the stream ends */

static ngx_uint_t
fuzz_model_first(fuzz_model_t *m)
{
    ngx_uint_t  op, rsv, allowed;

    if (m->p == m->last) {
        return 1;
    }

    m->first = m->p[0];

    op = m->first & 15;
    rsv = m->first >> 4 & 7;
    allowed = (op == 1 || op == 2) ? m->rsv : 0;

    if ((rsv & ~allowed) || (op > 2 && op < 8) || op > 10
        || (op == 0 && !m->message) || (op && op < 8 && m->message)
        || (op >= 8 && m->first < 128))
    {
        return 1002;
    }

    if (op == 1 || op == 2) {
        m->message = op;
        m->compressed = rsv >> 2;
        m->size = 0;
        m->data.len = 0;
    }

    return 0;
}


static ngx_uint_t
fuzz_model_length(fuzz_model_t *m)
{
    size_t         n, bytes;
    ngx_uint_t     op;
    const u_char  *p;

    p = m->p;
    n = m->last - p;
    op = m->first & 15;

    if (n < 2) {
        return 1;
    }

    m->len = p[1] & 127;
    bytes = m->len == 126 ? 2 : m->len == 127 ? 8 : 0;

    if (p[1] < 128 || (op >= 8 && bytes) || (op == 8 && m->len == 1)) {
        return 1002;
    }

    if (bytes == 8 && ((n > 2 && p[2] > 127)
                       || (n > 7 && memcmp(p + 2, "\0\0\0\0\0", 6) == 0)))
    {
        return 1002;
    }

    if (n < 2 + bytes) {
        return 1;
    }

    m->p += 2 + bytes;

    for (p += 2, m->len = bytes ? 0 : m->len; p < m->p; p++) {
        m->len = m->len << 8 | *p;
    }

    if (bytes == 2 && m->len < 126) {
        return 1002;
    }

    if (op < 8) {
        m->size += m->len;
    }

    return (op < 8 && m->size > m->max_size) ? 1009 : 0;
}


/* the payload, as far as it is there */

static ngx_uint_t
fuzz_model_payload(fuzz_model_t *m)
{
    size_t         i, n;
    const u_char  *mask;

    if (m->last - m->p < 4) {
        return 1;
    }

    mask = m->p;
    m->p += 4;

    n = ngx_min((uint64_t) (m->last - m->p), m->len);
    m->payload.len = 0;
    ws_frame_add(&m->payload, m->p, n);
    m->p += n;

    for (i = 0; i < n; i++) {
        m->payload.data[i] ^= mask[i % 4];
    }

    return 0;
}


static ngx_uint_t
fuzz_model_control(fuzz_model_t *m)
{
    u_char      *data;
    size_t       len;
    ngx_int_t    rc;
    ngx_uint_t   code, op, i, found;

    op = m->first & 15;
    data = m->payload.data;
    len = m->payload.len;
    code = 1005;

    if (op == NGX_SNORKY_WS_CLOSE && len) {
        code = data[0] << 8 | (len > 1 ? data[1] : 0);

        for (found = 0, i = 0; i < 256; i++) {
            found |= fuzz_code_valid(len == 1 ? code | i : code);
        }

        if (!found) {
            return 1002;
        }

        if (len > 2) {
            rc = fuzz_utf8(data + 2, len - 2);

            if (rc == NGX_ERROR || (rc == NGX_AGAIN && len == m->len)) {
                return 1007;
            }
        }

        data += 2;
        len -= 2;
    }

    if (m->payload.len < m->len) {
        return 1;
    }

    if (op == NGX_SNORKY_WS_CLOSE) {
        ws_frame_print(&m->text, "close(%d,", (int) code);

    } else {
        ws_frame_print(&m->text, op == NGX_SNORKY_WS_PING ? "ping(" : "pong(");
    }

    ws_frame_print_data(&m->text, data, len);
    ws_frame_print(&m->text, m->message && m->data.len ? ")@%d " : ") ",
                   (int) m->data.len);

    return 0;
}


static ngx_uint_t
fuzz_model_data(fuzz_model_t *m)
{
    ngx_int_t   rc;
    ngx_uint_t  last;

    ws_frame_add(&m->data, m->payload.data, m->payload.len);
    last = m->first > 127 && m->payload.len == m->len;

    if (m->message == NGX_SNORKY_WS_TEXT && !m->compressed) {
        rc = fuzz_utf8(m->data.data, m->data.len);

        if (rc == NGX_ERROR || (rc == NGX_AGAIN && last)) {
            return 1007;
        }
    }

    if (m->payload.len < m->len) {
        return 1;
    }

    if (last) {
        ws_frame_print(&m->text, "%s%s(",
                       m->message == NGX_SNORKY_WS_TEXT ? "text" : "binary",
                       m->compressed ? "*" : "");
        ws_frame_print_data(&m->text, m->data.data, m->data.len);
        ws_frame_print(&m->text, ") ");
        m->message = 0;
    }

    return 0;
}


static void
fuzz_model_read(fuzz_model_t *m)
{
    ngx_uint_t  code;

    ws_frame_add(&m->text, "", 0);

    do {
        code = fuzz_model_first(m);

        if (code == 0) {
            code = fuzz_model_length(m);
        }

        if (code == 0) {
            code = fuzz_model_payload(m);
        }

        if (code == 0) {
            code = (m->first & 8) ? fuzz_model_control(m)
                                  : fuzz_model_data(m);
        }

    } while (code == 0);

    if (code != 1) {
        ws_frame_print(&m->text, "!%d ", (int) code);
    }
}


/* gives the stream in pieces of at most max bytes; 0: whole */

static void
fuzz_compare(fuzz_model_t *m, ws_frame_buf_t *stream, uint32_t seed,
    size_t max)
{
    size_t          done, n;
    ws_frame_run_t  run;

    ws_frame_run_create(&run, m->max_size, m->rsv << 4);

    for (done = 0; done < stream->len && run.code == 0; done += n) {
        seed = seed * 1664525 + 1013904223;
        n = (max == 0) ? stream->len : 1 + (seed >> 16) % max;
        n = ngx_min(n, stream->len - done);

        ws_frame_run_feed(&run, stream->data + done, n, seed >> 28);
    }

    fuzz_check(run.wrong == 0);
    fuzz_check(run.text.len == m->text.len);
    fuzz_check(memcmp(run.text.data, m->text.data, m->text.len) == 0);

    if (run.code == 0) {
        fuzz_check(run.message.len == (m->message ? m->data.len : 0));
        fuzz_check(memcmp(run.message.data, m->data.data,
                          run.message.len) == 0);
    }

    ws_frame_run_destroy(&run);
}


/* records of a header's first byte, a length and the payload to mask */

static void
fuzz_build(ws_frame_buf_t *stream, const uint8_t *p, const uint8_t *last,
    uint32_t seed)
{
    size_t  len;

    while (last - p > 1) {
        len = ngx_min((size_t) (last - p) - 2, p[1]);
        ws_frame_add_frame(stream, p[0], p + 2, len, seed *= 0x9e3779b1);
        p += 2 + len;
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                i;
    uint32_t              seed;
    fuzz_model_t          model;
    ws_frame_buf_t        stream;
    static const size_t   limits[] = { 0, 1, 10, 125, 126, 300, 70000,
                                       (size_t) -1 };
    static const size_t   pieces[] = { 0, 1, 2, 9, 100 };

    if (size <= HEAD) {
        return 0;
    }

    memset(&model, 0, sizeof(model));
    memset(&stream, 0, sizeof(stream));

    model.max_size = limits[data[0] & 7];
    model.rsv = data[0] >> 5;
    memcpy(&seed, data + 1, 4);

    if (data[0] & 8) {
        fuzz_build(&stream, data + HEAD, data + size, seed | 1);

    } else {
        ws_frame_add(&stream, data + HEAD, size - HEAD);
    }

    ws_frame_add(&stream, "", 0);
    ws_frame_add(&model.data, "", 0);
    model.p = stream.data;
    model.last = stream.data + stream.len;
    fuzz_model_read(&model);

    for (i = 0; i < sizeof(pieces) / sizeof(size_t); i++) {
        fuzz_compare(&model, &stream, seed, pieces[i]);
    }

    fuzz_compare(&model, &stream, seed, 1 + data[5]);

    free(model.payload.data);
    free(model.data.data);
    free(model.text.data);
    free(stream.data);

    return 0;
}
