
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The check of UTF-8 that may stop and go on at any byte.  Owns nothing: the
 * state is the caller's.  Called by the WebSocket codec for the pieces of
 * text messages and close reasons, and by the JSON parser for whole texts.
 */


#include "ngx_snorky_utf8.h"


/*
 * Within a character the state holds how many bytes are to come (bits 0-7)
 * and the range for the next of them (from bits 8-15 to bits 16-23).  The
 * range is narrower than 80-BF only after the first byte: that is how RFC
 * 3629, 4 excludes overlong forms, surrogates and what is above U+10FFFF.
 */

#define ngx_snorky_utf8_state(need, low, high)                                \
    ((uint32_t) (need) | (uint32_t) (low) << 8 | (uint32_t) (high) << 16)

#define ngx_snorky_utf8_need(state)  ((state) & 0xff)
#define ngx_snorky_utf8_low(state)   ((state) >> 8 & 0xff)
#define ngx_snorky_utf8_high(state)  ((state) >> 16)

#define NGX_SNORKY_UTF8_BAD  0xffffffff


static ngx_inline u_char *
ngx_snorky_utf8_skip_ascii(u_char *p, u_char *last)
{
    uint64_t  word;

    while (last - p >= 8) {
        ngx_memcpy(&word, p, 8);

        if (word & UINT64_C(0x8080808080808080)) {
            break;
        }

        p += 8;
    }

    while (p < last && *p < 0x80) {
        p++;
    }

    return p;
}


/* the state after the first byte of a character that is not ASCII */

static ngx_inline ngx_snorky_utf8_t
ngx_snorky_utf8_first(u_char c)
{
    if (c >= 0xc2 && c <= 0xdf) {
        return ngx_snorky_utf8_state(1, 0x80, 0xbf);
    }

    switch (c) {
    case 0xe0:
        return ngx_snorky_utf8_state(2, 0xa0, 0xbf);
    case 0xed:
        return ngx_snorky_utf8_state(2, 0x80, 0x9f);
    case 0xf0:
        return ngx_snorky_utf8_state(3, 0x90, 0xbf);
    case 0xf4:
        return ngx_snorky_utf8_state(3, 0x80, 0x8f);
    }

    if (c >= 0xe1 && c <= 0xef) {
        return ngx_snorky_utf8_state(2, 0x80, 0xbf);
    }

    if (c >= 0xf1 && c <= 0xf3) {
        return ngx_snorky_utf8_state(3, 0x80, 0xbf);
    }

    return NGX_SNORKY_UTF8_BAD;
}


ngx_int_t
ngx_snorky_utf8_check(ngx_snorky_utf8_t *state, u_char *p, u_char *last)
{
    ngx_uint_t         need;
    ngx_snorky_utf8_t  s;

    s = *state;

    for ( ;; ) {

        if (s == NGX_SNORKY_UTF8_START) {
            p = ngx_snorky_utf8_skip_ascii(p, last);

            if (p == last) {
                break;
            }

            s = ngx_snorky_utf8_first(*p++);

            if (s == NGX_SNORKY_UTF8_BAD) {
                return NGX_ERROR;
            }
        }

        if (p == last) {
            break;
        }

        if (*p < ngx_snorky_utf8_low(s) || *p > ngx_snorky_utf8_high(s)) {
            return NGX_ERROR;
        }

        p++;
        need = ngx_snorky_utf8_need(s) - 1;

        s = need ? ngx_snorky_utf8_state(need, 0x80, 0xbf)
                 : NGX_SNORKY_UTF8_START;
    }

    *state = s;

    return (s == NGX_SNORKY_UTF8_START) ? NGX_OK : NGX_AGAIN;
}
