
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The WebSocket parser.  What a stream of frames means is written down as a
 * text (see ws_frame_run.h), and must not depend on how the stream is cut.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "tap.h"
#include "ws_frame_run.h"


/* whole messages, first fragments (TF, BF), the next, the last (C) */

#define MORE  0x200
#define T     (FIN|NGX_SNORKY_WS_TEXT)
#define B     (FIN|NGX_SNORKY_WS_BINARY)
#define TF    (MORE|NGX_SNORKY_WS_TEXT)
#define BF    (MORE|NGX_SNORKY_WS_BINARY)
#define CF    (MORE|NGX_SNORKY_WS_CONTINUATION)
#define C     (FIN|NGX_SNORKY_WS_CONTINUATION)
#define PING  (FIN|NGX_SNORKY_WS_PING)
#define PONG  (FIN|NGX_SNORKY_WS_PONG)
#define CLOSE (FIN|NGX_SNORKY_WS_CLOSE)

/* a text's bytes, zeros in it too */
#define S(text)  { sizeof(text) - 1, (u_char *) text }

/* bytes that stand in the stream as they are */
#define R       0x100

#define L       (1 << 20)
#define X25     "abcdefghijklmnopqrstuvwxy"
#define X100    X25 X25 X25 X25
#define FRAMES  6


typedef struct {
    ngx_uint_t   first;         /* the header's first byte, 0: no frame */
    ngx_str_t    payload;
} ws_frame_spec_t;

typedef struct {
    const char       *name;
    size_t            max_size;
    ngx_uint_t        rsv;
    size_t            at;       /* the byte that proves the error, from 1 */
    const char       *text;
    ws_frame_spec_t   frames[FRAMES];
} ws_frame_case_t;


static void
ws_frame_feed(ws_frame_run_t *run, const u_char *data, size_t len)
{
    ws_frame_run_feed(run, data, len, tap_random_below(16));
}


static void
ws_frame_add_masked(ws_frame_buf_t *b, ngx_uint_t first, const u_char *data,
    size_t len)
{
    ws_frame_add_frame(b, first, data, len, (uint32_t) tap_random());
}


/* gives a stream in pieces of 1 to max bytes, of max bytes if exact */

static void
ws_frame_run_stream(ws_frame_run_t *run, ws_frame_buf_t *stream, size_t max,
    ngx_uint_t exact)
{
    size_t  n, done;

    for (done = 0; done < stream->len && run->code == 0; done += n) {
        n = exact ? max : 1 + tap_random_below(max);
        n = ngx_min(n, stream->len - done);
        ws_frame_feed(run, stream->data + done, n);
    }
}


/* the text is right, and the contract was kept; the end of a run */

static ngx_uint_t
ws_frame_run_is(ws_frame_run_t *run, const char *text)
{
    ngx_uint_t  same;

    if (run->text.len) {
        run->text.data[--run->text.len] = '\0';      /* "a b " is "a b" */
    }

    same = strcmp((char *) run->text.data, text) == 0;

    if (run->wrong) {
        tap_diag("%d offences against the contract", (int) run->wrong);
    }

    if (!same) {
        tap_diag("     got: %.300s", run->text.data);
        tap_diag("expected: %.300s", text);
    }

    ws_frame_run_destroy(run);

    return same && run->wrong == 0;
}


/* whole, byte by byte, in two pieces at each place, at random places */

static void
ws_frame_test_stream(const char *name, ws_frame_buf_t *stream, size_t max_size,
    ngx_uint_t rsv, const char *text, size_t at)
{
    size_t          i, bad;
    ws_frame_run_t  run;

    ws_frame_run_create(&run, max_size, rsv);
    ws_frame_run_stream(&run, stream, stream->len, 1);
    tap_ok(ws_frame_run_is(&run, text), "%s: whole", name);

    ws_frame_run_create(&run, max_size, rsv);
    ws_frame_run_stream(&run, stream, 1, 1);
    tap_ok(ws_frame_run_is(&run, text), "%s: byte by byte", name);

    if (at) {
        tap_is_int(run.fed, at, "%s: found at byte %zu", name, at);
    }

    for (bad = 0, i = 1; i < stream->len && i < 1000; i++) {
        ws_frame_run_create(&run, max_size, rsv);
        ws_frame_feed(&run, stream->data, i);

        if (run.code == 0) {
            ws_frame_feed(&run, stream->data + i, stream->len - i);
        }

        bad += !ws_frame_run_is(&run, text);
    }

    for (i = 0; i < 30; i++) {
        ws_frame_run_create(&run, max_size, rsv);
        ws_frame_run_stream(&run, stream, 2 + tap_random_below(stream->len),
                            0);
        bad += !ws_frame_run_is(&run, text);
    }

    tap_is_int(bad, 0, "%s: in pieces", name);
}


static ws_frame_case_t  ws_frame_cases[] = {

    /* name, max_size, rsv, byte of the error, what it means, frames */

    { "an empty text", L, 0, 0, "text()", { { T, S("") } } },
    { "a text", L, 0, 0, "text(hello)", { { T, S("hello") } } },
    { "the text of RFC 6455, 5.7", L, 0, 0, "text(Hello)",
      { { R, S("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") } } },
    { "a mask of zeros", L, 0, 0, "text(hello)",
      { { R, S("\x81\x85\0\0\0\0hello") } } },
    { "the ends of UTF-8", L, 0, 0,
      "text(\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf"
      "\xbf\xf0\x90\x80\x80\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf)",
      { { TF, S("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef"
               "\xbf\xbf\xf0\x90\x80\x80") },
        { C, S("\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf") } } },
    { "binary that is no UTF-8", L, 0, 0, "binary(\xff\xc0\x80)",
      { { B, S("\xff\xc0\x80") } } },
    { "two messages", L, 0, 0, "text(one) binary(two)",
      { { T, S("one") }, { B, S("two") } } },
    { "half a message", L, 0, 0, "", { { R, S("\x81\x85\0\0\0\0he") } } },
    { "text in fragments", L, 0, 0, "text(hello)",
      { { TF, S("he") }, { CF, S("ll") }, { C, S("o") } } },
    { "binary in fragments", L, 0, 0, "binary(\xff\xfe) text(x)",
      { { BF, S("\xff") }, { C, S("\xfe") }, { T, S("x") } } },
    { "a character in two fragments", L, 0, 0, "text(\xe2\x82\xac)",
      { { TF, S("\xe2\x82") }, { C, S("\xac") } } },
    { "a character around an empty fragment", L, 0, 0, "text(\xe2\x82\xac)",
      { { TF, S("\xe2") }, { CF, S("") }, { C, S("\x82\xac") } } },
    { "empty fragments everywhere", L, 0, 0, "text(a)",
      { { TF, S("") }, { CF, S("") }, { CF, S("a") }, { CF, S("") },
        { C, S("") } } },
    { "only empty fragments", L, 0, 0, "binary() text()",
      { { BF, S("") }, { CF, S("") }, { C, S("") }, { TF, S("") },
        { C, S("") } } },
    { "control frames between fragments", L, 0, 0,
      "ping(x)@2 pong()@2 text(hello)",
      { { TF, S("he") }, { PING, S("x") }, { CF, S("") }, { PONG, S("") },
        { C, S("llo") } } },
    { "a ping within a character", L, 0, 0, "ping(\xff)@1 text(\xe2\x82\xac)",
      { { TF, S("\xe2") }, { PING, S("\xff") }, { C, S("\x82\xac") } } },
    { "the longest ping", L, 0, 0, "ping(" X100 X25 ") pong(0)",
      { { PING, S(X100 X25) }, { PONG, S("0") } } },
    { "a close frame without payload", L, 0, 0, "close(1005,)",
      { { CLOSE, S("") } } },
    { "a close frame without reason", L, 0, 0, "close(1000,)",
      { { CLOSE, S("\x03\xe8") } } },
    { "a close frame with a reason", L, 0, 0, "close(4999,b\xc3\xbf)",
      { { CLOSE, S("\x13\x87" "b\xc3\xbf") } } },
    { "the longest close frame", L, 0, 0,
      "close(1001,\xf0\x9f\x98\x80\xe2\x82\xac" X100 "0123456789abcdef)",
      { { CLOSE, S("\x03\xe9\xf0\x9f\x98\x80\xe2\x82\xac" X100
                   "0123456789abcdef") } } },
    { "frames after a close frame", L, 0, 0, "close(1000,) ping(x)",
      { { CLOSE, S("\x03\xe8") }, { PING, S("x") } } },
    { "a close frame within a character", L, 0, 0,
      "close(1000,\xc3\xa9)@1 text(\xe2\x82\xac)",
      { { TF, S("\xe2") }, { CLOSE, S("\x03\xe8\xc3\xa9") },
        { C, S("\x82\xac") } } },

    /* 1002; what one byte proves is tested for all bytes further down */

    { "a reserved bit", L, 0, 1, "!1002", { { T|RSV2, S("a") } } },
    { "a reserved bit after a message", L, 0, 10, "text(abc) !1002",
      { { T, S("abc") }, { T|RSV1|RSV2|RSV3, S("a") } } },
    { "a reserved bit in a continuation", L, 0, 8, "!1002",
      { { TF, S("a") }, { C|RSV1, S("a") } } },
    { "an unmasked text", L, 0, 2, "!1002", { { R, S("\x81\x05hello") } } },
    { "an unmasked ping", L, 0, 2, "!1002", { { R, S("\x89\x00") } } },
    { "a continuation after a message", L, 0, 8, "text(a) !1002",
      { { T, S("a") }, { C, S("a") } } },
    { "a text within a text", L, 0, 8, "!1002",
      { { TF, S("a") }, { T, S("a") } } },
    { "a binary after an empty fragment", L, 0, 7, "!1002",
      { { TF, S("") }, { BF, S("a") } } },
    { "a fragmented ping in a message", L, 0, 8, "!1002",
      { { TF, S("a") }, { MORE|NGX_SNORKY_WS_PING, S("a") } } },
    { "a ping of 126 bytes", L, 0, 2, "!1002",
      { { PING, S(X100 X25 "z") } } },
    { "the top bit of a length", L, 0, 3, "!1002",
      { { R, S("\x82\xff\x80\0\0\0\0\1\0\0") } } },
    { "length 0 in two bytes", L, 0, 4, "!1002",
      { { R, S("\x82\xfe\x00\x00") } } },
    { "length 125 in two bytes", L, 0, 4, "!1002",
      { { R, S("\x82\xfe\x00\x7d") } } },
    { "length 125 in two bytes, over max_size", 5, 0, 4, "!1002",
      { { R, S("\x82\xfe\x00\x7d") } } },
    { "length 0 in eight bytes", L, 0, 8, "!1002",
      { { R, S("\x82\xff\0\0\0\0\0\0\0\0") } } },
    { "length 65535 in eight bytes", L, 0, 8, "!1002",
      { { R, S("\x82\xff\0\0\0\0\0\0\xff\xff") } } },
    { "half a close code", L, 0, 2, "!1002", { { CLOSE, S("\x03") } } },
    { "half an impossible close code", L, 0, 7, "!1002",
      { { CLOSE, S("\x14\x00") } } },
    { "close code 999", L, 0, 8, "!1002", { { CLOSE, S("\x03\xe7") } } },
    { "close code 1005", L, 0, 8, "!1002", { { CLOSE, S("\x03\xed") } } },
    { "close code 2999", L, 0, 8, "!1002", { { CLOSE, S("\x0b\xb7\xff") } } },
    { "close code 5000", L, 0, 8, "!1002", { { CLOSE, S("\x13\x88") } } },

    /* 1007 */

    { "a byte that begins nothing", L, 0, 8, "!1007",
      { { T, S("a\x80z") } } },
    { "an overlong form of two bytes", L, 0, 7, "!1007",
      { { T, S("\xc1\xbf") } } },
    { "an overlong form of three bytes", L, 0, 8, "!1007",
      { { T, S("\xe0\x9f\xbf") } } },
    { "an overlong form of four bytes", L, 0, 8, "!1007",
      { { T, S("\xf0\x8f\xbf\xbf") } } },
    { "a surrogate", L, 0, 8, "!1007", { { T, S("\xed\xa0\x80") } } },
    { "beyond U+10FFFF", L, 0, 8, "!1007", { { T, S("\xf4\x90\x80\x80") } } },
    { "a bad byte in a long text", L, 0, 134, "!1007",
      { { R, S("\x81\xfe\x01\x04\0\0\0\0" X100 X25 "\xff" X100) } } },
    { "a bad byte in a first fragment", L, 0, 7, "!1007",
      { { TF, S("\xff") }, { C, S("") } } },
    { "a bad byte in the next fragment", L, 0, 15, "!1007",
      { { TF, S("\xe2\x82") }, { C, S("a") } } },
    { "half a character at the end", L, 0, 9, "!1007",
      { { T, S("a\xe2\x82") } } },
    { "half a character in a last fragment", L, 0, 14, "!1007",
      { { TF, S("\xe2") }, { C, S("\x82") } } },
    { "half a character, an empty last fragment", L, 0, 13, "!1007",
      { { TF, S("\xe2") }, { C, S("") } } },
    { "events before an error", L, 0, 22, "ping(x) text(ok) !1007",
      { { PING, S("x") }, { T, S("ok") }, { T, S("\xff") } } },
    { "a bad byte in a close reason", L, 0, 10, "!1007",
      { { CLOSE, S("\x03\xe8" "a\xff" "bc") } } },
    { "half a character in a close reason", L, 0, 10, "!1007",
      { { CLOSE, S("\x03\xe8\xe2\x82") } } },

    /* 1009 */

    { "a message of max_size, and the next", 10, 0, 0,
      "text(0123456789) text(0123456789)",
      { { T, S("0123456789") }, { T, S("0123456789") } } },
    { "a message over max_size", 10, 0, 2, "!1009",
      { { R, S("\x81\x8b") } } },
    { "a fragment over max_size", 10, 0, 2, "!1009",
      { { TF, S("0123456789a") } } },
    { "fragments of max_size", 10, 0, 0, "text(0123456789)",
      { { TF, S("01234") }, { CF, S("56789") }, { C, S("") } } },
    { "fragments over max_size", 10, 0, 13, "!1009",
      { { TF, S("01234") }, { C, S("56789a") } } },
    { "control frames are not of the message", 3, 0, 0,
      "ping(0123456789)@2 text(abc)",
      { { TF, S("ab") }, { PING, S("0123456789") }, { C, S("c") } } },
    { "no byte is allowed, none comes", 0, 0, 0, "text() ping(x)",
      { { T, S("") }, { PING, S("x") } } },
    { "no byte is allowed, one comes", 0, 0, 2, "!1009", { { T, S("a") } } },
    { "a length of two bytes over max_size", 1000, 0, 4, "!1009",
      { { R, S("\x82\xfe\x03\xe9") } } },
    { "a length of eight bytes over max_size", L, 0, 10, "!1009",
      { { R, S("\x82\xff\0\0\0\0\0\x10\0\1") } } },
    { "the greatest length", L, 0, 17, "!1009",
      { { TF, S("a") },
        { R, S("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff") } } },

    /* an extension that may set RSV1 */

    { "a compressed text", L, RSV1, 0, "text*(\xff) text(a)",
      { { T|RSV1, S("\xff") }, { T, S("a") } } },
    { "compressed fragments", L, RSV1, 0, "ping(x)@1 binary*(\xff\xfe)",
      { { BF|RSV1, S("\xff") }, { PING, S("x") }, { C, S("\xfe") } } },
    { "a text that is not compressed", L, RSV1, 14, "text*(\xff) !1007",
      { { T|RSV1, S("\xff") }, { T, S("\xff") } } },
    { "RSV1 in a continuation", L, RSV1, 8, "!1002",
      { { TF|RSV1, S("a") }, { C|RSV1, S("a") } } },
    { "RSV1 in a ping", L, RSV1, 1, "!1002", { { PING|RSV1, S("a") } } },
    { "RSV3 beside RSV1", L, RSV1, 1, "!1002", { { T|RSV1|RSV3, S("a") } } }
};


static void
ws_frame_test_cases(void)
{
    ngx_uint_t        i, n;
    ws_frame_buf_t    stream;
    ws_frame_case_t  *test;
    ws_frame_spec_t  *frame;

    for (i = 0; i < sizeof(ws_frame_cases) / sizeof(ws_frame_case_t); i++) {
        test = &ws_frame_cases[i];
        memset(&stream, 0, sizeof(stream));

        for (n = 0; n < FRAMES && test->frames[n].first; n++) {
            frame = &test->frames[n];

            if (frame->first == R) {
                ws_frame_add(&stream, frame->payload.data, frame->payload.len);

            } else {
                ws_frame_add_masked(&stream, frame->first, frame->payload.data,
                                   frame->payload.len);
            }
        }

        ws_frame_test_stream(test->name, &stream, test->max_size, test->rsv,
                             test->text, test->at);
        free(stream.data);
    }
}


/* one byte more after "start": is it refused at once? */

static ngx_uint_t
ws_frame_refused(const char *start, size_t len, ngx_uint_t ch)
{
    u_char          byte;
    ngx_uint_t      code;
    ws_frame_run_t  run;

    ws_frame_run_create(&run, L, 0);

    if (len) {
        ws_frame_feed(&run, (u_char *) start, len);
    }

    byte = (u_char) ch;
    ws_frame_feed(&run, &byte, 1);
    code = run.code;

    (void) ws_frame_run_is(&run, code == 1002 ? "!1002" : "");

    return run.wrong ? 2 : code == 1002;
}


static void
ws_frame_test_header_bytes(void)
{
    ngx_uint_t  ch, op, bad, expected;

    for (bad = 0, ch = 0; ch < 256; ch++) {
        op = ch & 15;

        expected = (ch & (RSV1|RSV2|RSV3)) || (op > 2 && op < 8) || op > 10
                   || (op > 7 && ch < FIN);

        bad += ws_frame_refused("", 0, ch) != (expected || op == 0);
        bad += ws_frame_refused("\x01\x81\0\0\0\0a", 7, ch)
               != (expected || op == 1 || op == 2);
    }

    tap_is_int(bad, 0, "every first byte of a frame");

    for (bad = 0, ch = 0; ch < 256; ch++) {
        bad += ws_frame_refused("\x81", 1, ch) != (ch < 0x80);
        bad += ws_frame_refused("\x02", 1, ch) != (ch < 0x80);
        bad += ws_frame_refused("\x89", 1, ch) != (ch < 0x80 || ch > 0xfd);
        bad += ws_frame_refused("\x8a", 1, ch) != (ch < 0x80 || ch > 0xfd);
        bad += ws_frame_refused("\x88", 1, ch)
               != (ch < 0x80 || ch > 0xfd || ch == 0x81);
    }

    tap_is_int(bad, 0, "every second byte of a frame");
}


/* the list is a second one, made from the registry of the codes */

static ngx_uint_t
ws_frame_code_known(ngx_uint_t code)
{
    static const char  registered[] = "111100011111111";   /* 1000 to 1014 */

    if (code < 1000 || code > 4999 || (code > 1014 && code < 3000)) {
        return 0;
    }

    return code > 2999 || registered[code - 1000] == '1';
}


static void
ws_frame_test_close_codes(void)
{
    size_t          max;
    u_char          payload[2];
    ngx_uint_t      code, bad_parse, bad_check, known;
    ws_frame_buf_t  stream, text;
    ws_frame_run_t  run;

    bad_parse = 0;
    bad_check = 0;
    memset(&stream, 0, sizeof(stream));
    memset(&text, 0, sizeof(text));

    for (code = 0; code < 65536; code++) {
        payload[0] = (u_char) (code >> 8);
        payload[1] = (u_char) code;

        known = ws_frame_code_known(code);
        bad_check += !ngx_snorky_ws_close_code_valid(code) != !known;

        stream.len = 0;
        ws_frame_add_masked(&stream, CLOSE, payload, 2);

        text.len = 0;
        ws_frame_print(&text, known ? "close(%d,)" : "!1002", (int) code);

        for (max = 1; max < 9; max += 7) {
            ws_frame_run_create(&run, L, 0);
            ws_frame_run_stream(&run, &stream, max, 1);
            bad_parse += !ws_frame_run_is(&run, (char *) text.data);
        }
    }

    tap_is_int(bad_parse, 0, "every close code in a frame");
    tap_is_int(bad_check, 0, "every close code");
    tap_ok(!ngx_snorky_ws_close_code_valid(65536 + 1000),
           "a close code has 16 bits");

    free(stream.data);
    free(text.data);
}


static void
ws_frame_fill(u_char *p, size_t len, ngx_uint_t ascii)
{
    while (len--) {
        *p++ = (u_char) (ascii ? ' ' + tap_random_below(95) : tap_random());
    }
}


static void
ws_frame_test_lengths(void)
{
    char                 name[64];
    u_char              *payload;
    size_t               len;
    ngx_uint_t           i, n, bad;
    ws_frame_run_t       run;
    ws_frame_buf_t       stream, text;
    static const size_t  lengths[] = { 125, 126, 127, 65535, 65536, 70001 };

    payload = malloc(70001);
    memset(&stream, 0, sizeof(stream));
    memset(&text, 0, sizeof(text));

    for (i = 0; i < sizeof(lengths) / sizeof(size_t); i++) {
        stream.len = 0;
        text.len = 0;

        ws_frame_fill(payload, lengths[i], i & 1);
        ws_frame_add_masked(&stream, i & 1 ? T : B, payload, lengths[i]);
        ws_frame_print(&text, i & 1 ? "text(" : "binary(");
        ws_frame_print_data(&text, payload, lengths[i]);
        ws_frame_print(&text, ")");

        snprintf(name, sizeof(name), "a message of %zu bytes", lengths[i]);
        ws_frame_test_stream(name, &stream, L, 0, (char *) text.data, 0);
    }

    /* all lengths about the words, at all alignments: see ws_frame_feed() */

    for (bad = 0, len = 0; len < 140; len++) {

        for (n = 0; n < 64; n++) {
            stream.len = 0;
            text.len = 0;

            ws_frame_fill(payload, len, 1);
            ws_frame_add_masked(&stream, B, payload, len);
            ws_frame_print(&text, "binary(");
            ws_frame_print_data(&text, payload, len);
            ws_frame_print(&text, ")");

            ws_frame_run_create(&run, L, 0);
            ws_frame_run_stream(&run, &stream, n < 32 ? stream.len : n, n & 1);
            bad += !ws_frame_run_is(&run, (char *) text.data);
        }
    }

    tap_is_int(bad, 0, "every length up to 139 is unmasked");

    free(payload);
    free(stream.data);
    free(text.data);
}


/* fragments of a message, random control frames among them */

static void
ws_frame_random_message(ws_frame_buf_t *stream, ws_frame_buf_t *text)
{
    size_t      done, len, n;
    u_char      payload[2000], control[NGX_SNORKY_WS_MAX_CONTROL];
    ngx_uint_t  opcode, more, first;

    first = tap_random() & 1;
    opcode = first ? NGX_SNORKY_WS_TEXT : NGX_SNORKY_WS_BINARY;

    len = tap_random_below(tap_random() & 3 ? 40 : sizeof(payload));
    ws_frame_fill(payload, len, 1);

    for (done = 0, more = 1; more; done += n) {

        if (tap_random_below(4) == 0) {
            n = tap_random_below(tap_random() & 3 ? 5 : sizeof(control) + 1);
            ws_frame_fill(control, n, 1);
            ws_frame_add_masked(stream, PONG, control, n);

            ws_frame_print(text, "pong(");
            ws_frame_print_data(text, control, n);
            ws_frame_print(text, done ? ")@%d " : ") ", (int) done);
        }

        n = tap_random() & 1 ? len - done : tap_random_below(len - done + 1);
        more = done + n < len || tap_random_below(5) == 0;

        ws_frame_add_masked(stream, opcode | (more ? 0 : FIN), payload + done,
                            n);
        opcode = NGX_SNORKY_WS_CONTINUATION;
    }

    ws_frame_print(text, first ? "text(" : "binary(");
    ws_frame_print_data(text, payload, len);
    ws_frame_print(text, ") ");
}


static void
ws_frame_test_random(void)
{
    size_t          max;
    ngx_uint_t      i, n, bad;
    ws_frame_run_t  run;
    ws_frame_buf_t  stream, text;

    memset(&stream, 0, sizeof(stream));
    memset(&text, 0, sizeof(text));

    for (bad = 0, i = 0; i < 300; i++) {
        stream.len = 0;
        text.len = 0;

        for (n = 1 + tap_random_below(8); n; n--) {
            ws_frame_random_message(&stream, &text);
        }

        text.data[--text.len] = '\0';

        for (max = 1; max / 4 < stream.len; max *= 4) {
            ws_frame_run_create(&run, 2000, 0);
            ws_frame_run_stream(&run, &stream, max, 0);
            bad += !ws_frame_run_is(&run, (char *) text.data);
        }
    }

    tap_is_int(bad, 0, "random messages in random pieces");

    free(stream.data);
    free(text.data);
}


/* memory for control frames is asked for only when they are split */

static void
ws_frame_test_memory(void)
{
    ws_frame_run_t  run;
    ws_frame_buf_t  stream;

    memset(&stream, 0, sizeof(stream));
    ws_frame_add_masked(&stream, PING, (u_char *) X100, 100);
    ws_frame_add_masked(&stream, PONG, (u_char *) "", 0);
    ws_frame_add_masked(&stream, CLOSE, (u_char *) "\x03\xe8", 2);

    ws_frame_run_create(&run, L, 0);
    ws_frame_run_stream(&run, &stream, stream.len, 1);
    tap_is_int(run.asked, 0, "whole control frames stay in the input");
    ws_frame_run_destroy(&run);

    ws_frame_run_create(&run, L, 0);
    ws_frame_run_stream(&run, &stream, 1, 1);
    tap_is_int(run.asked, 2, "a split control frame asks for memory once");
    ws_frame_run_destroy(&run);

    ws_frame_run_create(&run, L, 0);
    ws_frame_feed(&run, stream.data, 6);
    tap_is_int(run.asked, 0, "a control frame's header needs no memory");
    ws_frame_feed(&run, stream.data + 6, stream.len - 6);
    tap_is_int(run.asked, 0, "nor does a payload that comes after it");
    ws_frame_run_destroy(&run);

    tap_ok(sizeof(ngx_snorky_ws_parser_t) <= 48, "a parser is small: %zu bytes",
           sizeof(ngx_snorky_ws_parser_t));

    free(stream.data);
}


int
main(void)
{
    tap_seed();

    ws_frame_test_cases();
    ws_frame_test_header_bytes();
    ws_frame_test_close_codes();
    ws_frame_test_lengths();
    ws_frame_test_random();
    ws_frame_test_memory();

    return tap_done();
}
