
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * SockJS: which characters of a message are escaped and how, the frames in
 * each kind of body, and the messages in what clients send.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_sockjs_frame.h"
#include "nginx_shim.h"
#include "tap.h"


#define STRINGS  9              /* most messages of a random array */


typedef struct {
    const char                *name;
    ngx_str_t                  text;
    const char                *result;
} sockjs_frame_string_t;

typedef struct {
    ngx_snorky_sockjs_kind_e   kind;
    ngx_str_t                  frame;
    const char                *body;
} sockjs_frame_wrap_t;

typedef struct {
    const char                *name;
    ngx_str_t                  text;
    ngx_int_t                  n;       /* -1: declined */
    size_t                     largest;
    ngx_str_t                  messages;    /* a "|" behind each */
} sockjs_frame_pack_t;


static sockjs_frame_string_t  sockjs_frame_strings[] = {
    { "nothing", ngx_string(""), "\"\"" },
    { "a word", ngx_string("x"), "\"x\"" },
    { "a quote", ngx_string("\""), "\"\\\"\"" },
    { "a backslash", ngx_string("\\"), "\"\\\\\"" },
    { "a slash, an element", ngx_string("/</script><!--"),
      "\"/</script><!--\"" },
    { "a percent sign", ngx_string("100%25"), "\"100%25\"" },

    /* what the protocol's test of event streams sends */

    { "a NUL and line ends", ngx_string("  \0\n\r "),
      "\"  \\u0000\\n\\r \"" },
    { "those with a letter", ngx_string("\b\t\n\f\r"),
      "\"\\b\\t\\n\\f\\r\"" },
    { "their neighbours", ngx_string("\a\v\x0e"),
      "\"\\u0007\\u000b\\u000e\"" },

    { "U+001F, U+0020", ngx_string("\x1f "), "\"\\u001f \"" },
    { "U+007F", ngx_string("\x7f"), "\"\x7f\"" },
    { "U+0080, U+07FF", ngx_string("\xc2\x80\xdf\xbf"),
      "\"\xc2\x80\xdf\xbf\"" },

    { "U+200B to U+2010",
      ngx_string("\xe2\x80\x8b\xe2\x80\x8c\xe2\x80\x8d\xe2\x80\x8e"
                 "\xe2\x80\x8f\xe2\x80\x90"),
      "\"\xe2\x80\x8b\\u200c\\u200d\\u200e\\u200f\xe2\x80\x90\"" },
    { "U+2027 to U+2030",
      ngx_string("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"
                 "\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae"
                 "\xe2\x80\xaf\xe2\x80\xb0"),
      "\"\xe2\x80\xa7\\u2028\\u2029\\u202a\\u202b\\u202c\\u202d\\u202e"
      "\\u202f\xe2\x80\xb0\"" },
    { "U+205F, U+2060, U+206F, U+2070",
      ngx_string("\xe2\x81\x9f\xe2\x81\xa0\xe2\x81\xaf\xe2\x81\xb0"),
      "\"\xe2\x81\x9f\\u2060\\u206f\xe2\x81\xb0\"" },
    { "U+FFEF, U+FFF0, U+FFFD, U+FFFF",
      ngx_string("\xef\xbf\xaf\xef\xbf\xb0\xef\xbf\xbd\xef\xbf\xbf"),
      "\"\xef\xbf\xaf\\ufff0\\ufffd\\uffff\"" },
    { "U+10000, U+10FFFF",
      ngx_string("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
      "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"" },

    /* no UTF-8: what matters is that nothing is read behind it */

    { "1 of 3 bytes", ngx_string("\xe2"), "\"\xe2\"" },
    { "2 of 3 bytes", ngx_string("\xe2\x80"), "\"\xe2\x80\"" },
    { "2 of 3 other bytes", ngx_string("\xef\xbf"), "\"\xef\xbf\"" }
};


/* after sockjs-protocol.py, where it has them */

static sockjs_frame_wrap_t  sockjs_frame_wraps[] = {
    { NGX_SNORKY_SOCKJS_WEBSOCKET, ngx_string("o"), "o" },
    { NGX_SNORKY_SOCKJS_WEBSOCKET, ngx_string("a[\"</script>%\"]"),
      "a[\"</script>%\"]" },

    { NGX_SNORKY_SOCKJS_XHR, ngx_string("o"), "o\n" },
    { NGX_SNORKY_SOCKJS_XHR, ngx_string("c[3000,\"Go away!\"]"),
      "c[3000,\"Go away!\"]\n" },
    { NGX_SNORKY_SOCKJS_XHR_STREAMING, ngx_string("a[\"</script>%\"]"),
      "a[\"</script>%\"]\n" },

    { NGX_SNORKY_SOCKJS_EVENTSOURCE, ngx_string("o"), "data: o\r\n\r\n" },
    { NGX_SNORKY_SOCKJS_EVENTSOURCE, ngx_string("a[\"  \\u0000\\n\\r \"]"),
      "data: a[\"  \\u0000\\n\\r \"]\r\n\r\n" },
    { NGX_SNORKY_SOCKJS_EVENTSOURCE, ngx_string("a[\"%%41 100%\"]"),
      "data: a[\"%25%2541 100%25\"]\r\n\r\n" },

    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("o"),
      "<script>\np(\"o\");\n</script>\r\n" },
    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("a[\"x\"]"),
      "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n" },
    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("a[\"\\\"\\n\\u2028\"]"),
      "<script>\np(\"a[\\\"\\\\\\\"\\\\n\\\\u2028\\\"]\");\n</script>\r\n" },
    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("a[\"</script></ScRiPt>\"]"),
      "<script>\np(\"a[\\\"<\\/script><\\/ScRiPt>\\\"]\");\n</script>\r\n" },
    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("<!--<script><<//! < / !<"),
      "<script>\np(\"<\\!--<script><<\\//! < / !<\");\n</script>\r\n" },
    { NGX_SNORKY_SOCKJS_HTMLFILE, ngx_string("\n\xe2\x80\xa8%"),
      "<script>\np(\"\\n\\u2028%\");\n</script>\r\n" },

    { NGX_SNORKY_SOCKJS_JSONP, ngx_string("o"), "/**/callback(\"o\");\r\n" },
    { NGX_SNORKY_SOCKJS_JSONP, ngx_string("a[\"x\"]"),
      "/**/callback(\"a[\\\"x\\\"]\");\r\n" },
    { NGX_SNORKY_SOCKJS_JSONP, ngx_string("c[3000,\"Go away!\"]"),
      "/**/callback(\"c[3000,\\\"Go away!\\\"]\");\r\n" },
    { NGX_SNORKY_SOCKJS_JSONP, ngx_string("a[\"%</script>\"]"),
      "/**/callback(\"a[\\\"%<\\/script>\\\"]\");\r\n" }
};


static sockjs_frame_pack_t  sockjs_frame_packs[] = {
    { "no message", ngx_string("[]"), 0, 0, ngx_string("") },
    { "one message", ngx_string("[\"x\"]"), 1, 1, ngx_string("x|") },
    { "an empty message", ngx_string("[\"\"]"), 1, 0, ngx_string("|") },
    { "many empty messages", ngx_string("[\"\",\"\",\"\",\"\",\"\",\"\"]"),
      6, 0, ngx_string("||||||") },
    { "the longest first", ngx_string("[\"abc\",\"\",\"de\"]"), 3, 3,
      ngx_string("abc||de|") },
    { "the longest last", ngx_string("[\"\",\"de\",\"abc\"]"), 3, 3,
      ngx_string("|de|abc|") },
    { "white space", ngx_string(" \t\r\n[ \"a\"\n,\r\"b\"\t] \r\n"), 2, 1,
      ngx_string("a|b|") },
    { "escapes", ngx_string("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"]"), 1, 9,
      ngx_string("\"\\/\b\f\n\r\tA|") },
    { "an escaped NUL", ngx_string("[\"a\\u0000b\"]"), 1, 3,
      ngx_string("a\0b|") },
    { "UTF-8", ngx_string("[\"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\"]"), 1, 9,
      ngx_string("\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80|") },
    { "a pair of surrogates", ngx_string("[\"\\ud83d\\uDE00\"]"), 1, 4,
      ngx_string("\xf0\x9f\x98\x80|") },
    { "unpaired surrogates", ngx_string("[\"\\ud83d\",\"x\\ude00\\ud83dy\"]"),
      2, 8, ngx_string("\xef\xbf\xbd|x\xef\xbf\xbd\xef\xbf\xbdy|") },
    { "brackets and commas in a message", ngx_string("[\"],[\\\",\"]"), 1, 5,
      ngx_string("],[\",|") },

    { "nothing", ngx_string(""), -1, 0, ngx_string("") },
    { "white space only", ngx_string(" "), -1, 0, ngx_string("") },
    { "half an array", ngx_string("[\"x"), -1, 0, ngx_string("") },
    { "an array that goes on", ngx_string("[\"x\"],"), -1, 0,
      ngx_string("") },
    { "two arrays", ngx_string("[\"x\"][\"y\"]"), -1, 0, ngx_string("") },
    { "a comma too many", ngx_string("[\"x\",]"), -1, 0, ngx_string("") },
    { "a number", ngx_string("[1]"), -1, 0, ngx_string("") },
    { "a number at last", ngx_string("[\"x\",1]"), -1, 0, ngx_string("") },
    { "null", ngx_string("[null]"), -1, 0, ngx_string("") },
    { "a boolean", ngx_string("[true]"), -1, 0, ngx_string("") },
    { "an array in the array", ngx_string("[[\"x\"]]"), -1, 0,
      ngx_string("") },
    { "an empty array in it", ngx_string("[[]]"), -1, 0, ngx_string("") },
    { "an object in it", ngx_string("[{}]"), -1, 0, ngx_string("") },
    { "an object", ngx_string("{\"a\":\"b\"}"), -1, 0, ngx_string("") },
    { "an empty object", ngx_string("{}"), -1, 0, ngx_string("") },
    { "a number alone", ngx_string("1"), -1, 0, ngx_string("") },
    { "null alone", ngx_string("null"), -1, 0, ngx_string("") },
    { "a word", ngx_string("x"), -1, 0, ngx_string("") },
    { "a bad byte", ngx_string("[\"\xff\"]"), -1, 0, ngx_string("") },
    { "a surrogate in UTF-8", ngx_string("[\"\xed\xa0\x80\"]"), -1, 0,
      ngx_string("") },
    { "half a character", ngx_string("[\"\xe2\x80\"]"), -1, 0,
      ngx_string("") },
    { "a NUL in it", ngx_string("[\"a\0b\"]"), -1, 0, ngx_string("") },
    { "a NUL behind it", ngx_string("[\"a\"]\0"), -1, 0, ngx_string("") },
    { "a line end in it", ngx_string("[\"a\nb\"]"), -1, 0, ngx_string("") },
    { "no escape", ngx_string("[\"\\x41\"]"), -1, 0, ngx_string("") }
};


/* where only "single" makes a difference */

static sockjs_frame_pack_t  sockjs_frame_singles[] = {
    { "a string", ngx_string("\"x\""), 1, 1, ngx_string("x|") },
    { "an empty string", ngx_string("\"\""), 1, 0, ngx_string("|") },
    { "a string and white space", ngx_string("\n\"a\\u0000\\n\" "), 1, 3,
      ngx_string("a\0\n|") }
};


/* in memory of exactly this size, so that a sanitizer sees what is touched */

static ngx_str_t
sockjs_frame_copy(ngx_str_t *text)
{
    ngx_str_t  copy;

    copy.len = text->len;
    copy.data = malloc(text->len);

    if (text->len) {
        memcpy(copy.data, text->data, text->len);
    }

    return copy;
}


/* "end" is where the writer came to, in memory of the size it had said */

static ngx_uint_t
sockjs_frame_fits(ngx_str_t *got, u_char *end)
{
    return end == got->data + got->len;
}


static ngx_uint_t
sockjs_frame_string(ngx_str_t *text, ngx_str_t *got)
{
    ngx_str_t   copy;
    ngx_uint_t  fits;

    copy = sockjs_frame_copy(text);

    got->len = ngx_snorky_sockjs_string_size(&copy);
    got->data = malloc(got->len);

    fits = sockjs_frame_fits(got, ngx_snorky_sockjs_string(got->data, &copy));

    free(copy.data);

    return fits;
}


static ngx_uint_t
sockjs_frame_wrap(ngx_snorky_sockjs_kind_e kind, ngx_str_t *callback,
    ngx_str_t *frame, ngx_str_t *got)
{
    u_char      *end;
    ngx_str_t    copy;

    copy = sockjs_frame_copy(frame);

    got->len = ngx_snorky_sockjs_wrap_size(kind, callback, &copy);
    got->data = malloc(got->len);

    end = ngx_snorky_sockjs_wrap(got->data, kind, callback, &copy);

    free(copy.data);

    return sockjs_frame_fits(got, end);
}


static void
sockjs_frame_test_strings(void)
{
    ngx_str_t               got;
    ngx_uint_t              i, n;
    sockjs_frame_string_t  *test;

    n = sizeof(sockjs_frame_strings) / sizeof(sockjs_frame_string_t);

    for (i = 0; i < n; i++) {
        test = &sockjs_frame_strings[i];

        tap_ok(sockjs_frame_string(&test->text, &got),
               "%s: the string has the size it should", test->name);
        tap_is_str(got.data, got.len, test->result, "%s: ... and the bytes",
                   test->name);

        free(got.data);
    }
}


/* plainly by the bits; not for surrogates */

static size_t
sockjs_frame_utf8(u_char *p, uint32_t code)
{
    size_t      n;
    ngx_uint_t  i;

    if (code < 0x80) {
        p[0] = (u_char) code;
        return 1;
    }

    n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (i = n - 1; i > 0; i--) {
        p[i] = (u_char) (0x80 | (code & 0x3f));
        code >>= 6;
    }

    p[0] = (u_char) (0xf0 << (4 - n) | code);

    return n;
}


/* the protocol's list, which is what its own suite checks */

static ngx_uint_t
sockjs_frame_listed(uint32_t code)
{
    ngx_uint_t       i;
    static uint32_t  ranges[][2] = {
        { 0x0000, 0x001f }, { 0x200c, 0x200f }, { 0x2028, 0x202f },
        { 0x2060, 0x206f }, { 0xfff0, 0xffff }
    };

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return 1;
        }
    }

    return 0;
}


static char
sockjs_frame_letter(uint32_t code)
{
    switch (code) {
    case '"':
    case '\\':
        return (char) code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    }

    return 0;
}


/* each character between two others */

static void
sockjs_frame_test_all(void)
{
    char        expected[16], letter;
    u_char      buf[6];
    size_t      len;
    uint32_t    code;
    ngx_str_t   text, got;
    ngx_uint_t  wrong, escaped;

    wrong = 0;
    escaped = 0;

    for (code = 0; code < 0x110000; code++) {

        if (code >= 0xd800 && code <= 0xdfff) {
            continue;
        }

        buf[0] = 'a';
        len = sockjs_frame_utf8(buf + 1, code);
        buf[1 + len] = 'z';

        text.data = buf;
        text.len = len + 2;

        letter = sockjs_frame_letter(code);

        if (letter) {
            snprintf(expected, sizeof(expected), "\"a\\%cz\"", letter);

        } else if (sockjs_frame_listed(code)) {
            snprintf(expected, sizeof(expected), "\"a\\u%04xz\"", code);
            escaped++;

        } else {
            snprintf(expected, sizeof(expected), "\"%.*s\"", (int) text.len,
                     buf);
        }

        wrong += !sockjs_frame_string(&text, &got);
        wrong += got.len != strlen(expected)
                 || memcmp(got.data, expected, got.len) != 0;

        free(got.data);
    }

    tap_is_int(wrong, 0, "every character of Unicode is escaped as it should");
    tap_is_int(escaped, 27 + 4 + 8 + 16 + 16,
               "as many have \\u as the protocol lists");
}


static void
sockjs_frame_test_close(void)
{
    u_char     *end;
    ngx_uint_t  i;
    ngx_str_t   got;

    static struct {
        ngx_uint_t   code;
        ngx_str_t    reason;
        const char  *frame;
    } closes[] = {
        { 3000, ngx_string("Go away!"), "c[3000,\"Go away!\"]" },
        { 2010, ngx_string("Another connection still open"),
          "c[2010,\"Another connection still open\"]" },
        { 1002, ngx_string("Connection interrupted"),
          "c[1002,\"Connection interrupted\"]" },
        { 4999, ngx_string(""), "c[4999,\"\"]" },
        { 1234, ngx_string("a \"b\"\n\xe2\x80\xa8"),
          "c[1234,\"a \\\"b\\\"\\n\\u2028\"]" }
    };

    for (i = 0; i < sizeof(closes) / sizeof(closes[0]); i++) {
        got.len = ngx_snorky_sockjs_close_size(&closes[i].reason);
        got.data = malloc(got.len);

        end = ngx_snorky_sockjs_close(got.data, closes[i].code,
                                      &closes[i].reason);

        tap_ok(sockjs_frame_fits(&got, end),
               "the close frame of %u has the size it should",
               (unsigned) closes[i].code);
        tap_is_str(got.data, got.len, closes[i].frame, "... and the bytes");

        free(got.data);
    }
}


static void
sockjs_frame_test_wraps(void)
{
    ngx_str_t             callback, got;
    ngx_uint_t            i, n;
    sockjs_frame_wrap_t  *test;

    n = sizeof(sockjs_frame_wraps) / sizeof(sockjs_frame_wrap_t);

    for (i = 0; i < n; i++) {
        test = &sockjs_frame_wraps[i];

        ngx_str_set(&callback, "callback");

        tap_ok(sockjs_frame_wrap(test->kind,
                                 test->kind == NGX_SNORKY_SOCKJS_JSONP
                                     ? &callback : NULL,
                                 &test->frame, &got),
               "body %u, of kind %d, has the size it should", (unsigned) i,
               (int) test->kind);
        tap_is_str(got.data, got.len, test->body, "... and the bytes");

        free(got.data);
    }

    ngx_str_set(&callback, "_jp.a-B9");

    sockjs_frame_wrap(NGX_SNORKY_SOCKJS_JSONP, &callback,
                      &sockjs_frame_wraps[0].frame, &got);
    tap_is_str(got.data, got.len, "/**/_jp.a-B9(\"o\");\r\n",
               "another callback is called");
    free(got.data);
}


static void
sockjs_frame_test_callbacks(void)
{
    u_char      c;
    ngx_str_t   text;
    ngx_uint_t  i, wrong;

    ngx_str_set(&text, "");
    tap_ok(!ngx_snorky_sockjs_is_callback(&text), "an empty callback is none");

    ngx_str_set(&text, "_jp.a-B9");
    tap_ok(ngx_snorky_sockjs_is_callback(&text), "%s is a callback",
           text.data);

    ngx_str_set(&text, "%20");
    tap_ok(!ngx_snorky_sockjs_is_callback(&text), "%s is none", text.data);

    ngx_str_set(&text, "a;");
    tap_ok(!ngx_snorky_sockjs_is_callback(&text), "%s is none", text.data);

    ngx_str_set(&text, "*a");
    tap_ok(!ngx_snorky_sockjs_is_callback(&text), "%s is none", text.data);

    for (wrong = 0, i = 0; i < 256; i++) {
        c = (u_char) i;
        text.data = &c;
        text.len = 1;

        wrong += ngx_snorky_sockjs_is_callback(&text)
                 != (i && strchr("abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789-_.", (int) i) != NULL);
    }

    tap_is_int(wrong, 0, "of single bytes just those of [a-zA-Z0-9-_.] are");
}


/* whether the packed messages are those, with a "|" behind each */

static ngx_uint_t
sockjs_frame_unpacks(ngx_str_t *packed, ngx_str_t *messages)
{
    u_char     *p, *last;
    ngx_str_t   rest, message;

    rest = *packed;
    p = messages->data;
    last = p + messages->len;

    while (ngx_snorky_sockjs_unpack(&rest, &message) == NGX_OK) {

        if ((size_t) (last - p) < message.len + 1
            || memcmp(p, message.data, message.len) != 0
            || p[message.len] != '|')
        {
            return 0;
        }

        p += message.len + 1;
    }

    return p == last && rest.len == 0;
}


static void
sockjs_frame_test_pack(ngx_snorky_json_t *json, sockjs_frame_pack_t *test,
    ngx_uint_t single, ngx_int_t expected)
{
    size_t       largest;
    ngx_int_t    rc;
    ngx_str_t    text, packed;
    ngx_uint_t   n;
    const char  *where;

    where = single ? "in a WebSocket" : "in a request";

    text = sockjs_frame_copy(&test->text);
    packed.data = malloc(ngx_snorky_sockjs_packed_size(text.len));

    rc = ngx_snorky_sockjs_pack(json, &text, single, packed.data, &packed.len,
                                &n, &largest);

    if (expected == -1) {
        tap_is_int(rc, NGX_DECLINED, "%s %s is declined", test->name, where);

    } else if (tap_is_int(rc, NGX_OK, "%s %s is taken", test->name, where)) {
        tap_is_int(n, expected, "... %d of them", (int) expected);
        tap_is_int(largest, test->largest, "... the longest has %u bytes",
                   (unsigned) test->largest);
        tap_is_int(packed.len, n * (sizeof(uint32_t) - 1) + test->messages.len,
                   "... and all have as many as they should");
        tap_ok(sockjs_frame_unpacks(&packed, &test->messages),
               "... and come out as they should");
    }

    free(packed.data);
    free(text.data);
}


static void
sockjs_frame_test_packs(ngx_snorky_json_t *json)
{
    ngx_uint_t            i, n;
    sockjs_frame_pack_t  *test;

    n = sizeof(sockjs_frame_packs) / sizeof(sockjs_frame_pack_t);

    for (i = 0; i < n; i++) {
        test = &sockjs_frame_packs[i];

        sockjs_frame_test_pack(json, test, 0, test->n);
        sockjs_frame_test_pack(json, test, 1, test->n);
    }

    n = sizeof(sockjs_frame_singles) / sizeof(sockjs_frame_pack_t);

    for (i = 0; i < n; i++) {
        test = &sockjs_frame_singles[i];

        sockjs_frame_test_pack(json, test, 0, -1);
        sockjs_frame_test_pack(json, test, 1, test->n);
    }
}


/* what takes most room: empty messages, each three bytes of the text */

static void
sockjs_frame_test_room(ngx_snorky_json_t *json)
{
    u_char                *p;
    ngx_uint_t             i;
    sockjs_frame_pack_t    test;
    static u_char          text[30001], messages[10000];

    p = text;
    *p++ = '[';

    for (i = 0; i < sizeof(messages); i++) {
        p = ngx_cpymem(p, "\"\",", 3);
        messages[i] = '|';
    }

    p[-1] = ']';

    test.name = "10000 empty messages";
    test.text.data = text;
    test.text.len = p - text;
    test.largest = 0;
    test.messages.data = messages;
    test.messages.len = sizeof(messages);

    sockjs_frame_test_pack(json, &test, 0, sizeof(messages));
}


static void
sockjs_frame_test_memory(ngx_snorky_json_t *json)
{
    u_char      packed[64];
    size_t      len, largest;
    ngx_str_t   text;
    ngx_int_t   rc;
    ngx_uint_t  n;

    ngx_str_set(&text, "[\"x\"]");

    ngx_snorky_shim_fail_all();
    rc = ngx_snorky_sockjs_pack(json, &text, 0, packed, &len, &n, &largest);
    ngx_snorky_shim_fail(0);

    tap_is_int(rc, NGX_ERROR, "without memory it is an error");

    rc = ngx_snorky_sockjs_pack(json, &text, 0, packed, &len, &n, &largest);

    tap_is_int(rc, NGX_OK, "... and with it the parser works again");
}


/* random characters, the special ones among them often */

static size_t
sockjs_frame_random(u_char *p, size_t max)
{
    size_t           len;
    uint32_t         code;
    ngx_uint_t       n;
    static uint32_t  some[] = {
        '"', '\\', '/', '<', '!', 0, '\n', 0x200c, 0x2028, 0x2060, 0xffff
    };

    len = 0;

    for (n = tap_random_below(max / 4 + 1); n; n--) {

        switch (tap_random_below(4)) {
        case 0:
            code = some[tap_random_below(sizeof(some) / sizeof(some[0]))];
            break;
        case 1:
            code = (uint32_t) tap_random_below(0xd800);
            break;
        case 2:
            code = (uint32_t) (0xe000 + tap_random_below(0x102000));
            break;
        default:
            code = (uint32_t) tap_random_below(0x80);
        }

        len += sockjs_frame_utf8(p + len, code);
    }

    return len;
}


/* what the server would write as an array is what it reads in one */

static ngx_uint_t
sockjs_frame_returns(ngx_snorky_json_t *json)
{
    u_char       text[STRINGS * 1000], raw[STRINGS][128], *p;
    u_char       packed[ngx_snorky_sockjs_packed_size(sizeof(text))];
    size_t       len, largest, longest;
    ngx_str_t    strings[STRINGS], array, rest, message;
    ngx_uint_t   i, n, count;

    count = tap_random_below(STRINGS + 1);
    longest = 0;

    p = text;
    *p++ = '[';

    for (i = 0; i < count; i++) {
        strings[i].data = raw[i];
        strings[i].len = sockjs_frame_random(raw[i], sizeof(raw[i]));
        longest = ngx_max(longest, strings[i].len);

        if (i) {
            *p++ = ',';
        }

        p = ngx_snorky_sockjs_string(p, &strings[i]);
    }

    *p++ = ']';

    array.data = text;
    array.len = p - text;

    if (ngx_snorky_sockjs_pack(json, &array, 0, packed, &len, &n, &largest)
        != NGX_OK
        || n != count || largest != longest)
    {
        return 0;
    }

    rest.data = packed;
    rest.len = len;

    for (i = 0; i < count; i++) {
        if (ngx_snorky_sockjs_unpack(&rest, &message) != NGX_OK
            || message.len != strings[i].len
            || memcmp(message.data, strings[i].data, message.len) != 0)
        {
            return 0;
        }
    }

    return ngx_snorky_sockjs_unpack(&rest, &message) == NGX_DONE;
}


int
main(void)
{
    ngx_uint_t          i, wrong;
    ngx_snorky_json_t  *json;

    tap_seed();

    json = ngx_snorky_json_create();

    sockjs_frame_test_memory(json);
    sockjs_frame_test_strings();
    sockjs_frame_test_all();
    sockjs_frame_test_close();
    sockjs_frame_test_wraps();
    sockjs_frame_test_callbacks();
    sockjs_frame_test_packs(json);
    sockjs_frame_test_room(json);

    for (wrong = 0, i = 0; i < 20000; i++) {
        wrong += !sockjs_frame_returns(json);
    }

    tap_is_int(wrong, 0, "random messages that are written are read again");

    ngx_snorky_json_destroy(json);

    return tap_done();
}
