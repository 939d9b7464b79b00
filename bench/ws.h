
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * WebSocket bytes for the load generator and the floor server: the frame of
 * RFC 6455, section 5.2, and the two sides of the handshake, section 4.
 * Knows no socket.
 */


#ifndef _BENCH_WS_H_INCLUDED_
#define _BENCH_WS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>


#define BENCH_OK              0
#define BENCH_ERROR          -1
#define BENCH_AGAIN          -2

#define BENCH_WS_TEXT         0x1
#define BENCH_WS_BINARY       0x2
#define BENCH_WS_CLOSE        0x8
#define BENCH_WS_PING         0x9
#define BENCH_WS_PONG         0xa

#define BENCH_WS_HEADER       14
#define BENCH_WS_ACCEPT_LEN   28

/* the key of the example in section 1.3, and what must answer it */
#define BENCH_WS_KEY          "dGhlIHNhbXBsZSBub25jZQ=="
#define BENCH_WS_ACCEPT       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


typedef struct {
    u_char          *data;
    size_t           len;
    const u_char    *mask;      /* four bytes, or NULL */
    unsigned         opcode:4;
    unsigned         fin:1;
    unsigned         rsv1:1;    /* compressed, if that was agreed on */
} bench_ws_frame_t;


/* writes an unmasked header, returns its end */
u_char *bench_ws_header(u_char *p, unsigned opcode, size_t len);

/* writes a masked frame of data, returns its end */
u_char *bench_ws_masked(u_char *p, unsigned opcode, const u_char *data,
    size_t len);

/* undoes the mask in place */
void bench_ws_unmask(bench_ws_frame_t *f);

/* BENCH_WS_ACCEPT_LEN bytes of Sec-WebSocket-Accept for a key */
void bench_ws_accept(u_char *p, const u_char *key, size_t len);


/*
 * Parses a frame that lies whole in [*pos, last) and moves *pos behind it;
 * the payload stays where it is.  BENCH_AGAIN: not whole yet, *pos stays.
 * BENCH_ERROR: reserved bits, or a length beyond what a run ever sends.
 */

static inline int
bench_ws_parse(u_char **pos, u_char *last, bench_ws_frame_t *f)
{
    size_t   len, n;
    u_char  *p;

    p = *pos;
    n = last - p;

    if (n < 2) {
        return BENCH_AGAIN;
    }

    if (p[0] & 0x30) {
        return BENCH_ERROR;
    }

    f->opcode = p[0] & 0x0f;
    f->fin = p[0] >> 7;
    f->rsv1 = p[0] >> 6 & 1;
    f->mask = NULL;

    len = p[1] & 0x7f;

    if (len < 126) {
        n = 2;

    } else if (len == 126) {

        if (n < 4) {
            return BENCH_AGAIN;
        }

        len = (size_t) p[2] << 8 | p[3];
        n = 4;

    } else {

        if (n < 10) {
            return BENCH_AGAIN;
        }

        if (p[2] | p[3] | p[4] | p[5]) {
            return BENCH_ERROR;
        }

        len = (size_t) p[6] << 24 | (size_t) p[7] << 16
              | (size_t) p[8] << 8 | p[9];
        n = 10;
    }

    if (p[1] & 0x80) {
        f->mask = p + n;
        n += 4;
    }

    if ((size_t) (last - p) < n + len) {
        return BENCH_AGAIN;
    }

    f->data = p + n;
    f->len = len;

    *pos = p + n + len;

    return BENCH_OK;
}


#endif /* _BENCH_WS_H_INCLUDED_ */
