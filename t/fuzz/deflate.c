
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes what comes of permessage-deflate from outside: offers, and messages
 * that claim to be compressed.  The input's first byte says which, and how.
 * Offers: what was agreed on, offered again, is agreed on.  Messages: a plain
 * use of zlib, byte by byte, comes to the same.  And each input, compressed,
 * comes back.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <stdio.h>
#include <zlib.h>

#include "ngx_snorky_deflate.h"


#define MODEL  70000

#define fuzz_check(cond)                                                      \
    if (!(cond)) {                                                            \
        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);            \
        abort();                                                              \
    }


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
fuzz_offers(ngx_str_t *line, ngx_uint_t bits, ngx_uint_t takeover)
{
    u_char                       text[NGX_SNORKY_DEFLATE_ANSWER];
    u_char                       more[NGX_SNORKY_DEFLATE_ANSWER];
    size_t                       len;
    ngx_int_t                    rc;
    ngx_str_t                    again;
    ngx_snorky_deflate_params_t  params, same;

    rc = ngx_snorky_deflate_negotiate(line, bits, takeover, &params);

    if (rc != NGX_OK) {
        fuzz_check(rc == NGX_DECLINED || rc == NGX_ERROR);
        return;
    }

    fuzz_check(params.server_bits >= 9 && params.server_bits <= bits);
    fuzz_check(params.client_bits >= 8 && params.client_bits <= 15);
    fuzz_check(takeover
               || (!params.server_takeover && !params.client_takeover));

    again.data = text;
    again.len = ngx_snorky_deflate_answer(text, &params) - text;

    fuzz_check(again.len <= sizeof(text));

    rc = ngx_snorky_deflate_negotiate(&again, bits, takeover, &same);
    fuzz_check(rc == NGX_OK);

    len = ngx_snorky_deflate_answer(more, &same) - more;
    fuzz_check(len == again.len && memcmp(text, more, len) == 0);
}


/* the message and its tail, a byte at a time; returns as the decompressor */

static ngx_int_t
fuzz_model(z_stream *stream, ngx_str_t *message, size_t max, u_char *out,
    size_t *len)
{
    int            rc;
    size_t         i, n;
    u_char         byte;
    ngx_uint_t     block;
    static u_char  tail[] = { 0x00, 0x00, 0xff, 0xff };

    *len = 0;
    block = 0;

    for (i = 0; i < message->len + 4; i++) {
        byte = i < message->len ? message->data[i] : tail[i - message->len];

        stream->next_in = &byte;
        stream->avail_in = 1;

        do {
            n = max + 1 - *len;

            stream->next_out = out + *len;
            stream->avail_out = n;

            rc = inflate(stream, Z_NO_FLUSH);

            *len += n - stream->avail_out;

            if (*len > max) {
                return NGX_DECLINED;
            }

            if (rc == Z_STREAM_END) {
                inflateResetKeep(stream);

                if (i == message->len - 1 || i == message->len + 3) {
                    return NGX_OK;
                }

            } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
                return NGX_ABORT;
            }

            block = stream->data_type == 128;

        } while (stream->avail_in);
    }

    return block ? NGX_OK : NGX_ABORT;
}


/* twice, since the second message finds the first one's window */

static void
fuzz_messages(ngx_str_t *data, size_t max, ngx_uint_t takeover)
{
    size_t                     len;
    z_stream                   stream;
    ngx_int_t                  rc, expected;
    ngx_str_t                  message;
    ngx_uint_t                 n;
    static u_char              model[MODEL + 1];
    ngx_snorky_inflater_t     *i;
    ngx_snorky_deflate_buf_t   out;

    memset(&stream, 0, sizeof(stream));
    memset(&out, 0, sizeof(out));

    fuzz_check(inflateInit2(&stream, -15) == Z_OK);
    i = ngx_snorky_inflater_create(15, takeover, NULL);

    for (n = 0; n < 2; n++) {

        /* in memory of its own, so that a byte too far is seen */

        message.len = data->len / 2;
        message.data = malloc(message.len);
        memcpy(message.data, data->data + n * message.len, message.len);

        if (!takeover) {
            inflateReset(&stream);
        }

        expected = fuzz_model(&stream, &message, max, model, &len);
        rc = ngx_snorky_inflater_run(i, &message, max, &out);

        free(message.data);

        fuzz_check(rc == expected);
        fuzz_check(out.size <= max + 1);

        if (rc == NGX_OK) {
            fuzz_check(out.len == len && memcmp(out.data, model, len) == 0);

        } else if (takeover) {
            break;
        }
    }

    ngx_snorky_inflater_destroy(i);
    (void) inflateEnd(&stream);
    free(out.data);
}


static void
fuzz_return(ngx_str_t *text, ngx_uint_t level, ngx_uint_t bits,
    ngx_uint_t takeover)
{
    u_char                    *p;
    size_t                     room;
    ngx_str_t                  message;
    ngx_uint_t                 n;
    ngx_snorky_deflater_t     *d;
    ngx_snorky_inflater_t     *i;
    ngx_snorky_deflate_buf_t   out;

    memset(&out, 0, sizeof(out));

    d = ngx_snorky_deflater_create(level, bits, takeover, NULL);
    i = ngx_snorky_inflater_create(bits, takeover, NULL);
    room = ngx_snorky_deflater_bound(d, text->len);

    for (n = 0; n < 3; n++) {
        p = malloc(room);

        fuzz_check(ngx_snorky_deflater_run(d, text, p, room, &message.len)
                   == NGX_OK);

        message.data = p;

        fuzz_check(ngx_snorky_inflater_run(i, &message, text->len, &out)
                   == NGX_OK);
        fuzz_check(out.len == text->len
                   && memcmp(out.data, text->data, out.len) == 0);

        free(p);
    }

    ngx_snorky_deflater_destroy(d);
    ngx_snorky_inflater_destroy(i);
    free(out.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                *copy;
    ngx_str_t              text;
    ngx_uint_t             how, takeover;
    static const size_t    limits[] = { 1, 10, 300, 511, 512, 513, 5000,
                                        MODEL };

    if (size < 2) {
        return 0;
    }

    how = data[0];
    takeover = how >> 2 & 1;

    text.len = size - 1;
    text.data = copy = malloc(text.len);
    memcpy(copy, data + 1, text.len);

    switch (how & 3) {

    case 0:
        fuzz_offers(&text, 9 + (how >> 3) % 7, takeover);
        break;

    case 1:
        fuzz_return(&text, 1 + how % 9, 9 + (how >> 3) % 7, takeover);
        break;

    default:
        fuzz_messages(&text, limits[how >> 3 & 7], takeover);
    }

    free(copy);

    return 0;
}
