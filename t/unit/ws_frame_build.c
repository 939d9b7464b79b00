
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The frames that the server sends: their headers, and whole close frames.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_ws_frame.h"
#include "tap.h"


#define GUARD  0xa5

#define CLOSE_ROOM  (2 + NGX_SNORKY_WS_MAX_CONTROL)


typedef struct {
    ngx_uint_t   opcode;
    uint64_t     len;
    size_t       size;
    const char  *header;
} ws_frame_header_t;

typedef struct {
    const char  *name;
    ngx_uint_t   code;
    const char  *unit;          /* repeated "times" times after "start" */
    ngx_uint_t   times;
    const char  *start;
    size_t       kept;          /* bytes of the reason */
} ws_frame_close_t;


static ws_frame_header_t  ws_frame_headers[] = {

    /* RFC 6455, 5.2: a length of 7, 16 or 64 bits, the shortest that holds */

    { NGX_SNORKY_WS_TEXT, 0, 2, "\x81\x00" },
    { NGX_SNORKY_WS_TEXT, 5, 2, "\x81\x05" },
    { NGX_SNORKY_WS_BINARY, 125, 2, "\x82\x7d" },
    { NGX_SNORKY_WS_TEXT, 126, 4, "\x81\x7e\x00\x7e" },
    { NGX_SNORKY_WS_TEXT, 127, 4, "\x81\x7e\x00\x7f" },
    { NGX_SNORKY_WS_TEXT, 256, 4, "\x81\x7e\x01\x00" },
    { NGX_SNORKY_WS_TEXT, 65535, 4, "\x81\x7e\xff\xff" },
    { NGX_SNORKY_WS_TEXT, 65536, 10, "\x81\x7f\0\0\0\0\0\1\0\0" },
    { NGX_SNORKY_WS_BINARY, UINT64_C(0x0102030405060708), 10,
      "\x82\x7f\1\2\3\4\5\6\7\x08" },
    { NGX_SNORKY_WS_BINARY, UINT64_C(0x7fffffffffffffff), 10,
      "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff" },
    { NGX_SNORKY_WS_PING, 0, 2, "\x89\x00" },
    { NGX_SNORKY_WS_PONG, 125, 2, "\x8a\x7d" },
    { NGX_SNORKY_WS_CLOSE, 2, 2, "\x88\x02" }
};


static ws_frame_close_t  ws_frame_closes[] = {
    { "a short reason", 1000, "bye", 1, "", 3 },
    { "no reason", 1001, "", 0, "", 0 },
    { "a private code", 4999, "x", 1, "", 1 },
    { "a reason that just fits", 1011, "x", 123, "", 123 },
    { "one byte too many", 1011, "x", 124, "", 123 },
    { "far too long", 1011, "x", 5000, "", 123 },
    { "two bytes a character, no cut within", 1008, "\xc3\xa9", 62, "x", 123 },
    { "two bytes a character", 1008, "\xc3\xa9", 80, "", 122 },
    { "three bytes a character, no cut within", 1008, "\xe2\x82\xac", 42, "",
      123 },
    { "three bytes a character, one too many", 1008, "\xe2\x82\xac", 42, "x",
      121 },
    { "three bytes a character, two too many", 1008, "\xe2\x82\xac", 42, "xy",
      122 },
    { "four bytes a character", 1008, "\xf0\x9f\x98\x80", 40, "", 120 },
    { "four bytes a character, one too many", 1008, "\xf0\x9f\x98\x80", 31, "",
      120 },
    { "four bytes a character, no cut within", 1008, "\xf0\x9f\x98\x80", 40,
      "xyz", 123 }
};


static void
ws_frame_test_headers(void)
{
    u_char              buf[2 * NGX_SNORKY_WS_MAX_HEADER], *end, *p;
    u_char              expected[sizeof(buf)];
    ngx_uint_t          i;
    ws_frame_header_t  *test;

    end = buf + NGX_SNORKY_WS_MAX_HEADER;

    for (i = 0; i < sizeof(ws_frame_headers) / sizeof(ws_frame_header_t); i++)
    {
        test = &ws_frame_headers[i];

        memset(buf, GUARD, sizeof(buf));
        memset(expected, GUARD, sizeof(buf));
        memcpy(expected + NGX_SNORKY_WS_MAX_HEADER - test->size, test->header,
               test->size);

        p = ngx_snorky_ws_build_header(end, test->opcode, test->len);

        tap_is_int(end - p, test->size, "opcode %d, %llu bytes: length",
                   (int) test->opcode, (unsigned long long) test->len);
        tap_is_mem(buf, sizeof(buf), expected, sizeof(buf),
                   "opcode %d, %llu bytes: header, and no byte around it",
                   (int) test->opcode, (unsigned long long) test->len);
    }
}


/* a close frame for the reason, or for none, is this */

static void
ws_frame_test_close(const char *name, ngx_uint_t code, ngx_str_t *reason,
    const void *payload, size_t len)
{
    u_char  buf[CLOSE_ROOM + 8], expected[sizeof(buf)], *end;

    memset(buf, GUARD, sizeof(buf));
    memset(expected, GUARD, sizeof(buf));

    expected[0] = 0x80 | NGX_SNORKY_WS_CLOSE;
    expected[1] = (u_char) len;
    memcpy(expected + 2, payload, len);

    end = ngx_snorky_ws_build_close(buf, code, reason);

    tap_is_int(end - buf, 2 + len, "%s: length of the close frame", name);
    tap_is_mem(buf, sizeof(buf), expected, sizeof(buf), "%s: close frame",
               name);
}


static void
ws_frame_test_closes(void)
{
    u_char             text[6000], payload[2 + sizeof(text)], *p;
    ngx_str_t          reason;
    ngx_uint_t         i, n;
    ngx_snorky_utf8_t  utf8;
    ws_frame_close_t  *test;

    for (i = 0; i < sizeof(ws_frame_closes) / sizeof(ws_frame_close_t); i++) {
        test = &ws_frame_closes[i];

        p = ngx_cpymem(text, test->start, strlen(test->start));

        for (n = 0; n < test->times; n++) {
            p = ngx_cpymem(p, test->unit, strlen(test->unit));
        }

        reason.data = text;
        reason.len = p - text;
        *p = 0x80;

        payload[0] = (u_char) (test->code >> 8);
        payload[1] = (u_char) test->code;
        memcpy(payload + 2, text, test->kept);

        ws_frame_test_close(test->name, test->code, &reason, payload,
                            2 + test->kept);

        utf8 = NGX_SNORKY_UTF8_START;
        tap_is_int(ngx_snorky_utf8_check(&utf8, text, text + test->kept),
                   NGX_OK, "%s: what is kept is UTF-8", test->name);
    }

    ngx_str_set(&reason, "why");

    ws_frame_test_close("a reason of NULL", 1000, NULL, "\x03\xe8", 2);
    ws_frame_test_close("1005 is not sent", 1005, &reason, "", 0);
    ws_frame_test_close("1006 is not sent", 1006, NULL, "", 0);
    ws_frame_test_close("1015 is not sent", 1015, &reason, "", 0);
    ws_frame_test_close("0 is not sent", 0, &reason, "", 0);
    ws_frame_test_close("1012 is sent", 1012, &reason, "\x03\xf4why", 5);

    reason.len = 0;
    reason.data = NULL;

    ws_frame_test_close("a null string", 1013, &reason, "\x03\xf5", 2);
}


int
main(void)
{
    ws_frame_test_headers();
    ws_frame_test_closes();

    return tap_done();
}
