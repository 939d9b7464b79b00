
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Builds WebSocket frames and the handshake's accept value.  Owns nothing;
 * called by the connections of the load generator and by the floor server.
 */


#include "ws.h"


/* not a secret here: RFC 6455, section 5.3, protects caches, not us */
static const u_char  bench_ws_mask[4] = { 0x5a, 0xc3, 0x96, 0x3c };


u_char *
bench_ws_header(u_char *p, unsigned opcode, size_t len)
{
    int  shift;

    *p++ = 0x80 | opcode;

    if (len < 126) {
        *p++ = (u_char) len;
        return p;
    }

    if (len < 65536) {
        *p++ = 126;
        *p++ = (u_char) (len >> 8);
        *p++ = (u_char) len;
        return p;
    }

    *p++ = 127;

    for (shift = 56; shift >= 0; shift -= 8) {
        *p++ = (u_char) ((uint64_t) len >> shift);
    }

    return p;
}


u_char *
bench_ws_masked(u_char *p, unsigned opcode, const u_char *data, size_t len)
{
    size_t   i;
    u_char  *start;

    start = p;
    p = bench_ws_header(p, opcode, len);
    start[1] |= 0x80;

    memcpy(p, bench_ws_mask, 4);
    p += 4;

    for (i = 0; i < len; i++) {
        p[i] = data[i] ^ bench_ws_mask[i & 3];
    }

    return p + len;
}


void
bench_ws_unmask(bench_ws_frame_t *f)
{
    size_t  i;

    if (f->mask == NULL) {
        return;
    }

    for (i = 0; i < f->len; i++) {
        f->data[i] ^= f->mask[i & 3];
    }

    f->mask = NULL;
}


static uint32_t
bench_ws_rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}


/* one block of SHA-1, FIPS 180-4, section 6.1.2 */

static void
bench_ws_sha1_block(uint32_t h[5], const u_char *p)
{
    int       i;
    uint32_t  w[80], v[5], f, k, x;

    for (i = 0; i < 16; i++) {
        w[i] = (uint32_t) p[4 * i] << 24 | (uint32_t) p[4 * i + 1] << 16
               | (uint32_t) p[4 * i + 2] << 8 | p[4 * i + 3];
    }

    for (i = 16; i < 80; i++) {
        w[i] = bench_ws_rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }

    memcpy(v, h, sizeof(v));

    for (i = 0; i < 80; i++) {

        switch (i / 20) {

        case 0:
            f = (v[1] & v[2]) | (~v[1] & v[3]);
            k = 0x5a827999;
            break;

        case 1:
            f = v[1] ^ v[2] ^ v[3];
            k = 0x6ed9eba1;
            break;

        case 2:
            f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]);
            k = 0x8f1bbcdc;
            break;

        default:
            f = v[1] ^ v[2] ^ v[3];
            k = 0xca62c1d6;
        }

        x = bench_ws_rotate(v[0], 5) + f + v[4] + k + w[i];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = bench_ws_rotate(v[1], 30);
        v[1] = v[0];
        v[0] = x;
    }

    for (i = 0; i < 5; i++) {
        h[i] += v[i];
    }
}


static void
bench_ws_base64(u_char *p, const u_char *data, size_t len)
{
    size_t               i;
    uint32_t             x;
    static const u_char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz0123456789+/";

    for (i = 0; i < len; i += 3) {
        x = (uint32_t) data[i] << 16;
        x |= (i + 1 < len) ? (uint32_t) data[i + 1] << 8 : 0;
        x |= (i + 2 < len) ? data[i + 2] : 0;

        *p++ = digits[x >> 18];
        *p++ = digits[x >> 12 & 0x3f];
        *p++ = (i + 1 < len) ? digits[x >> 6 & 0x3f] : '=';
        *p++ = (i + 2 < len) ? digits[x & 0x3f] : '=';
    }
}


/* RFC 6455, section 4.2.2, item 5.4 */

void
bench_ws_accept(u_char *p, const u_char *key, size_t len)
{
    int                i;
    size_t             n;
    u_char             block[128], digest[20];
    uint32_t           h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe,
                                0x10325476, 0xc3d2e1f0 };
    static const char  guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    /* a key has 24 characters: with the GUID 60, padded to two blocks */

    if (len > 64) {
        len = 64;
    }

    memset(block, 0, sizeof(block));
    memcpy(block, key, len);
    memcpy(block + len, guid, sizeof(guid) - 1);

    n = len + sizeof(guid) - 1;

    block[n] = 0x80;
    block[126] = (u_char) (n * 8 >> 8);
    block[127] = (u_char) (n * 8);

    bench_ws_sha1_block(h, block);
    bench_ws_sha1_block(h, block + 64);

    for (i = 0; i < 20; i++) {
        digest[i] = (u_char) (h[i / 4] >> (24 - 8 * (i % 4)));
    }

    bench_ws_base64(p, digest, sizeof(digest));
}
