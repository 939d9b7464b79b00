
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the unit test and the fuzzer of the WebSocket parser share.  What a
 * stream of bytes means is written down as a text, such as
 *
 *     ping(x)@2 text(hello) !1002
 *
 * whole messages, control frames with the number of bytes of the unfinished
 * message that came before them, and the error.  Offences of the parser
 * against its contract are counted.
 */


#ifndef _NGX_SNORKY_WS_FRAME_RUN_H_INCLUDED_
#define _NGX_SNORKY_WS_FRAME_RUN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <stdarg.h>
#include <stdio.h>

#include "ngx_snorky_ws_frame.h"


#define FIN   0x80
#define RSV1  0x40
#define RSV2  0x20
#define RSV3  0x10


typedef struct {
    u_char      *data;
    size_t       len;
    size_t       size;
} ws_frame_buf_t;

typedef struct {
    ngx_snorky_ws_parser_t   parser;
    ws_frame_buf_t           text;
    ws_frame_buf_t           message;
    ngx_uint_t               opcode;      /* of the unfinished message */
    ngx_uint_t               code;        /* of the error, or 0 */
    size_t                   fed;         /* bytes given to the parser */
    ngx_uint_t               asked;       /* times of NGX_DECLINED */
    ngx_uint_t               wrong;       /* offences against the contract */
} ws_frame_run_t;


static inline void
ws_frame_add(ws_frame_buf_t *b, const void *data, size_t len)
{
    if (b->size - b->len < len + 1) {
        b->size = 2 * (b->len + len) + 64;
        b->data = realloc(b->data, b->size);
    }

    if (len) {
        memcpy(b->data + b->len, data, len);
    }

    b->len += len;
    b->data[b->len] = '\0';
}


__attribute__((format(printf, 2, 3)))
static inline void
ws_frame_print(ws_frame_buf_t *b, const char *fmt, ...)
{
    int      n;
    char     line[512];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);

    ws_frame_add(b, line, n);
}


/* the payload, or what stands for a long one */

static inline void
ws_frame_print_data(ws_frame_buf_t *b, const u_char *data, size_t len)
{
    size_t    i;
    uint64_t  hash;

    if (len <= 200) {
        ws_frame_add(b, data, len);
        return;
    }

    for (hash = len, i = 0; i < len; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }

    ws_frame_print(b, "#%zu:%llx", len, (unsigned long long) hash);
}


/* a client's frame */

static inline void
ws_frame_add_frame(ws_frame_buf_t *b, ngx_uint_t first, const u_char *data,
    size_t len, uint32_t mask)
{
    size_t  i, start;
    u_char  head[14], *p;

    p = head;
    *p++ = (u_char) first;

    if (len < 126) {
        *p++ = (u_char) (0x80 | len);

    } else if (len < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (u_char) (len >> 8);
        *p++ = (u_char) len;

    } else {
        *p++ = 0x80 | 127;

        for (i = 0; i < 8; i++) {
            *p++ = (u_char) ((uint64_t) len >> (56 - 8 * i));
        }
    }

    memcpy(p, &mask, 4);

    ws_frame_add(b, head, p + 4 - head);
    start = b->len;
    ws_frame_add(b, data, len);

    for (i = 0; i < len; i++) {
        b->data[start + i] ^= p[i % 4];
    }
}


static inline void
ws_frame_run_create(ws_frame_run_t *run, size_t max_size, ngx_uint_t rsv)
{
    memset(run, 0, sizeof(ws_frame_run_t));
    run->parser.max_size = max_size;
    run->parser.rsv = (u_char) rsv;
    ws_frame_add(&run->text, "", 0);
    ws_frame_add(&run->message, "", 0);
}


static inline void
ws_frame_run_destroy(ws_frame_run_t *run)
{
    free(run->parser.control);
    free(run->text.data);
    free(run->message.data);
}


static inline void
ws_frame_run_data(ws_frame_run_t *run, ngx_snorky_ws_event_t *event)
{
    if (run->opcode && run->opcode != event->opcode) {
        run->wrong++;
    }

    if (event->data.len == 0 && !event->last) {
        run->wrong++;
    }

    run->opcode = event->opcode;
    ws_frame_add(&run->message, event->data.data, event->data.len);

    if (run->message.len > run->parser.max_size) {
        run->wrong++;
    }

    if (!event->last) {
        return;
    }

    ws_frame_print(&run->text, "%s%s(",
                   event->opcode == NGX_SNORKY_WS_TEXT ? "text" : "binary",
                   event->compressed ? "*" : "");
    ws_frame_print_data(&run->text, run->message.data, run->message.len);
    ws_frame_print(&run->text, ") ");

    run->opcode = 0;
    run->message.len = 0;
}


static inline void
ws_frame_run_event(ws_frame_run_t *run, ngx_snorky_ws_event_t *event)
{
    if (event->code && event->opcode != NGX_SNORKY_WS_CLOSE) {
        run->wrong++;
    }

    switch (event->opcode) {

    case NGX_SNORKY_WS_TEXT:
    case NGX_SNORKY_WS_BINARY:
        ws_frame_run_data(run, event);
        return;

    case NGX_SNORKY_WS_CLOSE:
        ws_frame_print(&run->text, "close(%d,", (int) event->code);
        break;

    case NGX_SNORKY_WS_PING:
    case NGX_SNORKY_WS_PONG:
        ws_frame_print(&run->text, "%s(", event->opcode == NGX_SNORKY_WS_PING
                                          ? "ping" : "pong");
        break;

    default:
        run->wrong++;
    }

    if (!event->last || event->compressed
        || event->data.len > NGX_SNORKY_WS_MAX_CONTROL)
    {
        run->wrong++;
    }

    ws_frame_print_data(&run->text, event->data.data, event->data.len);
    ws_frame_print(&run->text, run->opcode ? ")@%d " : ") ",
                   (int) run->message.len);
}


static inline ngx_uint_t
ws_frame_inside(u_char *p, size_t len, u_char *start, size_t size)
{
    return p >= start && p <= start + size && len <= size - (p - start);
}


/*
 * Gives one input to the parser.  It lies at the end of its allocation, as
 * "shift" aligns it, so that a byte read beyond it is seen by a sanitizer.
 */

static inline void
ws_frame_run_feed(ws_frame_run_t *run, const u_char *data, size_t len,
    size_t shift)
{
    u_char                 *block, *chunk, *p;
    ngx_int_t               rc;
    ngx_snorky_ws_event_t   event;

    block = malloc(shift + len);
    chunk = block + shift;
    p = chunk;

    memcpy(chunk, data, len);
    run->fed += len;

    do {
        memset(&event, shift & 1 ? 0xff : 0, sizeof(event));
        rc = ngx_snorky_ws_parse(&run->parser, &p, chunk + len, &event);

        if (p < chunk || p > chunk + len) {
            run->wrong++;
        }

        if (rc == NGX_DECLINED) {
            if (run->parser.control) {
                run->wrong++;
                break;
            }

            run->asked++;
            run->parser.control = malloc(NGX_SNORKY_WS_MAX_CONTROL);

        } else if (rc == NGX_OK) {
            if (!ws_frame_inside(event.data.data, event.data.len, chunk, len)
                && (run->parser.control == NULL
                    || !ws_frame_inside(event.data.data, event.data.len,
                                        run->parser.control,
                                        NGX_SNORKY_WS_MAX_CONTROL)))
            {
                run->wrong++;
            }

            ws_frame_run_event(run, &event);

            free(run->parser.control);
            run->parser.control = NULL;
        }

    } while (rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_ERROR) {
        run->code = event.code;
        run->wrong += event.opcode != NGX_SNORKY_WS_CLOSE
                      || event.data.len == 0
                      || event.data.len > NGX_SNORKY_WS_MAX_CONTROL - 2;
        ws_frame_print(&run->text, "!%d ", (int) event.code);

    } else if (rc != NGX_AGAIN || p != chunk + len) {
        run->wrong++;
    }

    free(block);
}


#endif /* _NGX_SNORKY_WS_FRAME_RUN_H_INCLUDED_ */
