
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * permessage-deflate: what is agreed on for which offers, and messages there
 * and back.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_deflate.h"
#include "nginx_shim.h"
#include "tap.h"


#define BOMB  (1024 * 1024)

#define PD    "permessage-deflate"
#define SNT   "; server_no_context_takeover"
#define CNT   "; client_no_context_takeover"
#define SB    "; server_max_window_bits"
#define CB    "; client_max_window_bits"
#define NONE  PD SNT CNT


typedef struct {
    ngx_uint_t    bits;
    ngx_uint_t    takeover;
    const char   *line;
    const char   *answer;       /* "-": declined, "!": malformed */
} deflate_offer_t;

typedef struct {
    const char   *name;
    const char   *data;
    size_t        len;
    ngx_int_t     rc;
    const char   *text;
} deflate_message_t;

#define deflate_message(name, data, rc, text)                                 \
    { name, data, sizeof(data) - 1, rc, text }


static deflate_offer_t  deflate_offers[] = {

    { 15, 0, PD, NONE },
    { 15, 1, PD, PD },
    { 15, 0, PD SNT, NONE },
    { 15, 1, PD SNT, PD SNT },
    { 15, 1, PD CNT, PD CNT },
    { 15, 1, PD CNT SNT, NONE },

    /* our window */

    { 12, 0, PD, NONE SB "=12" },
    { 15, 0, PD SB "=15", NONE SB "=15" },
    { 15, 0, PD SB "=10", NONE SB "=10" },
    { 12, 0, PD SB "=10", NONE SB "=10" },
    { 12, 0, PD SB "=13", NONE SB "=12" },
    { 15, 0, PD SB "=9", NONE SB "=9" },
    { 15, 0, PD SB "=8", "-" },
    { 15, 0, PD SB "=8, " PD, NONE },

    /* the client's, which is bounded only where that saves memory */

    { 15, 0, PD CB, NONE },
    { 12, 0, PD CB, NONE SB "=12" },
    { 12, 0, PD CB "=10", NONE SB "=12" },
    { 12, 1, PD, PD SB "=12" },
    { 12, 1, PD CB, PD SB "=12" CB "=12" },
    { 12, 1, PD CB "=15", PD SB "=12" CB "=12" },
    { 12, 1, PD CB "=10", PD SB "=12" CB "=10" },
    { 15, 1, PD CB "=8", PD CB "=8" },
    { 15, 1, PD CB, PD },
    { 15, 1, PD CB CNT, PD CNT },
    { 9, 1, PD CB SB "=11" SNT, PD SNT SB "=9" CB "=9" },

    /* what can't be accepted */

    { 15, 0, PD "; x", "-" },
    { 15, 0, PD "; x=1", "-" },
    { 15, 0, PD SNT SNT, "-" },
    { 15, 0, PD CB CB, "-" },
    { 15, 0, PD CB CB "=9", "-" },
    { 15, 0, PD SB "=10" SB "=10", "-" },
    { 15, 0, PD SNT "=1", "-" },
    { 15, 0, PD CNT "=\"true\"", "-" },
    { 15, 0, PD SB, "-" },
    { 15, 0, PD SB "=7", "-" },
    { 15, 0, PD SB "=16", "-" },
    { 15, 0, PD SB "=010", "-" },
    { 15, 0, PD SB "=09", "-" },
    { 15, 0, PD SB "=1", "-" },
    { 15, 0, PD SB "=100", "-" },
    { 15, 0, PD SB "=1a", "-" },
    { 15, 0, PD SB "=+9", "-" },
    { 15, 0, PD SB "=25", "-" },
    { 15, 0, PD CB "=7", "-" },
    { 15, 0, PD CB "=16", "-" },
    { 15, 0, PD CB "=0", "-" },
    { 15, 0, PD "; Server_Max_Window_Bits=10", "-" },
    { 15, 0, "x-webkit-deflate-frame", "-" },
    { 15, 0, "permessage-deflat", "-" },
    { 15, 0, "permessage-deflate2", "-" },
    { 15, 0, "permessage-bzip2" SNT, "-" },
    { 15, 0, "", "-" },
    { 15, 0, " , ,", "-" },

    /* the first of several */

    { 15, 0, PD SB "=10, " PD, NONE SB "=10" },
    { 15, 0, PD "; x, " PD SB "=10," PD, NONE SB "=10" },
    { 15, 0, "foo; bar=\"baz\", " PD, NONE },
    { 15, 1, "foo, bar; a; b=1; c=\"2\"," PD SNT, PD SNT },
    { 15, 1, PD SB "=8, " PD SNT ", " PD, PD SNT },

    /* blanks, quotes */

    { 15, 0, ",, " PD " ,,", NONE },
    { 15, 0, "\t" PD "\t;server_max_window_bits\t= 11 ", NONE SB "=11" },
    { 15, 0, PD SB "=\"11\"", NONE SB "=11" },
    { 15, 0, PD SB "=\"1\\1\"", NONE SB "=11" },
    { 15, 0, PD SB "=\"\\9\"", NONE SB "=9" },
    { 15, 0, "a;b=\"" PD "\"", "-" },

    /* what is no list of extensions */

    { 15, 0, PD ";", "!" },
    { 15, 0, PD "; ;x", "!" },
    { 15, 0, PD "=1", "!" },
    { 15, 0, PD " x", "!" },
    { 15, 0, PD SB "=", "!" },
    { 15, 0, PD SB "==9", "!" },
    { 15, 0, PD SB "=9 9", "!" },
    { 15, 0, PD SB "=\"\"", "!" },
    { 15, 0, PD SB "=\"9", "!" },
    { 15, 0, PD SB "=\"9\\", "!" },
    { 15, 0, PD SB "=\"9\"9", "!" },
    { 15, 0, PD SB "=\"1 0\"", "!" },
    { 15, 0, PD SB "=\"1,0\"", "!" },
    { 15, 0, PD SB "=\"1\\\"\"", "!" },
    { 15, 0, PD ", ;", "!" },
    { 15, 0, PD ", a;=1", "!" },
    { 15, 0, "(" PD ")", "!" },
    { 15, 0, "\x7f", "!" },
    { 15, 0, "\xc3\xa9", "!" },
    { 15, 0, "\"" PD "\"", "!" },

    { 0, 0, NULL, NULL }
};


/* RFC 7692, 7.2.3, and what else a block may be */

static deflate_message_t  deflate_messages[] = {
    deflate_message("a block", "\xf2\x48\xcd\xc9\xc9\x07\x00", NGX_OK,
                    "Hello"),
    deflate_message("no compression",
                    "\x00\x05\x00\xfa\xffHello\x00", NGX_OK, "Hello"),
    deflate_message("two blocks",
                    "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
                    NGX_OK, "Hello"),
    deflate_message("a final block",
                    "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", NGX_OK, "Hello"),
    deflate_message("a final block, and no zero behind it",
                    "\xf3\x48\xcd\xc9\xc9\x07\x00", NGX_OK, "Hello"),
    deflate_message("two final blocks",
                    "\x01\x02\x00\xfd\xffHe\x01\x03\x00\xfc\xffllo\x00",
                    NGX_OK, "Hello"),
    deflate_message("a final block, and one that is not",
                    "\x01\x02\x00\xfd\xffHe\x00\x03\x00\xfc\xffllo\x00",
                    NGX_OK, "Hello"),
    deflate_message("a final block, and one that refers to it",
                    "\x01\x05\x00\xfa\xffHello\x02\x13\x00\x00", NGX_OK,
                    "HelloHello"),
    deflate_message("an empty block", "\x00", NGX_OK, ""),
    deflate_message("another empty block", "\x02\x00", NGX_OK, ""),
    deflate_message("an empty final block", "\x03\x00\x00", NGX_OK, ""),

    deflate_message("nothing", "", NGX_ABORT, NULL),
    deflate_message("a reserved type", "\x06", NGX_ABORT, NULL),
    deflate_message("text", "Hello", NGX_ABORT, NULL),
    deflate_message("a length that does not agree",
                    "\x00\x05\x00\xfa\xfeHello\x00", NGX_ABORT, NULL),
    deflate_message("a block that is cut short",
                    "\x00\x50\x00\xaf\xffHello\x00", NGX_ABORT, NULL),
    deflate_message("a block that does not end", "\xf2\x48\xcd\xc9",
                    NGX_ABORT, NULL),
    deflate_message("a final block, and rubbish",
                    "\xf3\x48\xcd\xc9\xc9\x07\x00rubbish", NGX_ABORT, NULL),
    deflate_message("a reference to before the beginning", "\x02\x13\x00\x00",
                    NGX_ABORT, NULL),
    deflate_message("a gzip header", "\x1f\x8b\x08\x00\x00", NGX_ABORT, NULL),
    deflate_message("a zlib header", "\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00",
                    NGX_ABORT, NULL),

    { NULL, NULL, 0, 0, NULL }
};


static void
deflate_test_offers(void)
{
    u_char                       text[NGX_SNORKY_DEFLATE_ANSWER + 1], *end;
    u_char                      *copy;
    ngx_int_t                    rc;
    ngx_str_t                    line;
    deflate_offer_t             *o;
    ngx_snorky_deflate_params_t  params;

    for (o = deflate_offers; o->line; o++) {

        /* in memory of its own, so that a byte too far is seen */

        line.len = strlen(o->line);
        line.data = copy = malloc(line.len);
        memcpy(copy, o->line, line.len);

        rc = ngx_snorky_deflate_negotiate(&line, o->bits, o->takeover,
                                          &params);

        memset(text, 'x', sizeof(text));

        end = text;
        *end++ = rc == NGX_DECLINED ? '-' : '!';

        if (rc == NGX_OK) {
            end = ngx_snorky_deflate_answer(text, &params);
        }

        tap_is_str(text, end - text, o->answer, "%d%s: %s", (int) o->bits,
                   o->takeover ? ", takeover" : "", o->line);

        free(copy);
    }
}


static ngx_int_t
deflate_inflate(ngx_snorky_inflater_t *i, const void *data, size_t len,
    size_t max, ngx_snorky_deflate_buf_t *out)
{
    ngx_int_t  rc;
    ngx_str_t  copy;

    copy.len = len;
    copy.data = malloc(len);
    memcpy(copy.data, data, len);

    rc = ngx_snorky_inflater_run(i, &copy, max, out);

    free(copy.data);

    return rc;
}


static void
deflate_test_messages(void)
{
    size_t                     n;
    ngx_int_t                  rc;
    ngx_uint_t                 bad;
    deflate_message_t         *m;
    ngx_snorky_inflater_t     *i, *fresh;
    ngx_snorky_deflate_buf_t   out;

    /* one decompressor for all, whatever was wrong before */

    memset(&out, 0, sizeof(out));
    i = ngx_snorky_inflater_create(15, 0, NULL);

    for (m = deflate_messages; m->name; m++) {

        rc = deflate_inflate(i, m->data, m->len, 100, &out);

        tap_is_int(rc, m->rc, "%s", m->name);

        if (m->text) {
            tap_is_str(out.data, out.len, m->text, "its text");
        }

        /* another, that keeps its window */

        fresh = ngx_snorky_inflater_create(9, 1, NULL);
        bad = deflate_inflate(fresh, m->data, m->len, 100, &out) != m->rc;

        if (m->rc == NGX_OK) {
            bad |= deflate_inflate(fresh, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7,
                                   100, &out) != NGX_OK;
            bad |= out.len != 5 || memcmp(out.data, "Hello", 5) != 0;
        }

        tap_ok(!bad, "the same with takeover, and another behind it");
        ngx_snorky_inflater_destroy(fresh);
    }

    /* the bound is exact: "HelloHello" has ten bytes */

    for (bad = 0, n = 0; n < 20; n++) {
        rc = deflate_inflate(i, "\x01\x05\x00\xfa\xffHello\x02\x13\x00\x00",
                             14, n, &out);

        bad += rc != (n < 10 ? NGX_DECLINED : NGX_OK);
    }

    tap_is_int(bad, 0, "a message is as long as it may be, and no longer");

    /* a message that is cut is none, or its text is there already */

    for (bad = 0, n = 0; n < 7; n++) {
        rc = deflate_inflate(i, "\xf2\x48\xcd\xc9\xc9\x07\x00", n, 100, &out);

        bad += rc != NGX_ABORT && out.len != 5;
    }

    tap_is_int(bad, 0, "a message that is cut is found out");

    ngx_snorky_inflater_destroy(i);
    free(out.data);
}


/* RFC 7692, 7.2.3.2 and 7.2.3.6 */

static void
deflate_test_known(void)
{
    u_char                  p[64];
    size_t                  len;
    ngx_str_t               hello = ngx_string("Hello");
    ngx_str_t               empty = ngx_string("");
    ngx_snorky_deflater_t  *d;

    d = ngx_snorky_deflater_create(1, 15, 1, NULL);

    ngx_snorky_deflater_run(d, &hello, p, sizeof(p), &len);
    tap_is_mem(p, len, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "a first message");

    ngx_snorky_deflater_run(d, &empty, p, sizeof(p), &len);
    tap_is_mem(p, len, "\x00", 1, "an empty one");

    ngx_snorky_deflater_run(d, &empty, p, sizeof(p), &len);
    tap_is_mem(p, len, "\x00", 1, "another one");

    ngx_snorky_deflater_run(d, &hello, p, sizeof(p), &len);
    tap_is_mem(p, len, "\xf2\x00\x11\x00\x00", 5, "the first one again");

    ngx_snorky_deflater_destroy(d);

    d = ngx_snorky_deflater_create(1, 15, 0, NULL);

    ngx_snorky_deflater_run(d, &hello, p, sizeof(p), &len);
    ngx_snorky_deflater_run(d, &hello, p, sizeof(p), &len);
    tap_is_mem(p, len, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7,
               "without takeover, the same bytes each time");

    ngx_snorky_deflater_destroy(d);
}


/* noise, or something to find */

static void
deflate_random_text(ngx_str_t *text)
{
    size_t        i, from;
    ngx_uint_t    kind;
    static char   json[] = "{}[]\":, 0123456789";

    kind = tap_random_below(4);
    text->len = tap_random_below(tap_random_below(8) ? 3000 : 150000);
    text->data = malloc(text->len + 1);

    for (i = 0; i < text->len; i++) {

        switch (kind) {

        case 0:
            text->data[i] = (u_char) tap_random();
            break;

        case 1:
            text->data[i] = json[tap_random_below(sizeof(json) - 1)];
            break;

        default:
            from = i < 50 ? i : i - 1 - tap_random_below(i) / kind;
            text->data[i] = from == i ? "ab"[tap_random_below(2)]
                                      : text->data[from];
        }
    }
}


static void
deflate_test_random(void)
{
    size_t                     len, room;
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                  text;
    ngx_uint_t                 n, k, bits, takeover, bad, small;
    ngx_snorky_deflater_t     *d;
    ngx_snorky_inflater_t     *i;
    ngx_snorky_deflate_buf_t   out;

    memset(&out, 0, sizeof(out));
    bad = 0;
    small = 0;

    for (n = 0; n < 42; n++) {
        bits = 9 + n % 7;
        takeover = n / 7 % 2;

        d = ngx_snorky_deflater_create(1 + n % 9, bits, takeover, NULL);
        i = ngx_snorky_inflater_create(bits, takeover, NULL);

        for (k = 0; k < 12; k++) {
            deflate_random_text(&text);

            room = ngx_snorky_deflater_bound(d, text.len);
            p = malloc(room);

            rc = ngx_snorky_deflater_run(d, &text, p, room, &len);
            bad += rc != NGX_OK;

            rc = deflate_inflate(i, p, len, text.len, &out);
            bad += rc != NGX_OK || out.len != text.len
                   || memcmp(out.data, text.data, text.len) != 0;

            free(p);

            /* another time in as much room as the plain text takes */

            p = malloc(text.len + 4);

            if (!takeover) {
                rc = ngx_snorky_deflater_run(d, &text, p, text.len + 4, &room);
                bad += rc != (len < text.len || text.len == 0 ? NGX_OK
                                                              : NGX_DECLINED);
                bad += rc == NGX_OK && room != len;
                small += rc == NGX_OK;
            }

            free(p);
            free(text.data);
        }

        ngx_snorky_deflater_destroy(d);
        ngx_snorky_inflater_destroy(i);
    }

    tap_is_int(bad, 0, "random messages come back as they were");
    tap_ok(small, "some are smaller, %d", (int) small);

    free(out.data);
}


/* never more than was allowed, and none of it for long */

static void
deflate_test_bomb(void)
{
    u_char                    *p;
    size_t                     len, max;
    ngx_int_t                  rc;
    ngx_str_t                  zeros;
    ngx_uint_t                 bad;
    ngx_snorky_deflater_t     *d;
    ngx_snorky_inflater_t     *i;
    ngx_snorky_deflate_buf_t   out;

    zeros.len = BOMB;
    zeros.data = calloc(1, BOMB);
    p = malloc(BOMB);

    d = ngx_snorky_deflater_create(9, 15, 0, NULL);
    i = ngx_snorky_inflater_create(15, 0, NULL);

    ngx_snorky_deflater_run(d, &zeros, p, BOMB, &len);
    tap_ok(len < 1100, "a million zeros are %d bytes", (int) len);

    bad = 0;

    for (max = 1; max < BOMB; max = max * 3 + 1) {
        memset(&out, 0, sizeof(out));

        rc = deflate_inflate(i, p, len, max, &out);

        bad += rc != NGX_DECLINED || out.size > max + 1;
        free(out.data);
    }

    tap_is_int(bad, 0, "no more memory is taken for them than is allowed");

    memset(&out, 0, sizeof(out));

    rc = deflate_inflate(i, p, len, BOMB - 1, &out);
    tap_is_int(rc, NGX_DECLINED, "one byte too many");

    rc = deflate_inflate(i, p, len, BOMB, &out);
    tap_ok(rc == NGX_OK && out.len == BOMB, "all that are allowed");

    rc = deflate_inflate(i, p, len, 1000, &out);
    tap_is_int(rc, NGX_DECLINED,
               "too many, though there would be memory already");

    ngx_snorky_deflater_destroy(d);
    ngx_snorky_inflater_destroy(i);

    free(out.data);
    free(zeros.data);
    free(p);
}


static void
deflate_test_memory(void)
{
    u_char                     p[64];
    size_t                     len;
    ngx_int_t                  rc;
    ngx_str_t                  hello = ngx_string("Hello");
    ngx_uint_t                 n, bad;
    ngx_snorky_deflater_t     *d;
    ngx_snorky_inflater_t     *i;
    ngx_snorky_deflate_buf_t   out;

    for (n = 1, d = NULL; d == NULL && n < 20; n++) {
        ngx_snorky_shim_fail(n);
        d = ngx_snorky_deflater_create(1, 15, 1, NULL);
    }

    tap_ok(d != NULL && n > 4, "a compressor that gets no memory is none");

    ngx_snorky_shim_fail_all();
    rc = ngx_snorky_deflater_run(d, &hello, p, sizeof(p), &len);
    tap_is_int(rc, NGX_OK, "to compress takes none");

    for (n = 1, i = NULL; i == NULL && n < 20; n++) {
        ngx_snorky_shim_fail(n);
        i = ngx_snorky_inflater_create(15, 0, NULL);
    }

    tap_ok(i != NULL && n > 2, "nor is a decompressor");

    memset(&out, 0, sizeof(out));

    for (n = 1, bad = 0, rc = NGX_ERROR; rc != NGX_OK && n < 20; n++) {
        ngx_snorky_shim_fail(n);
        rc = deflate_inflate(i, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 1000, &out);
        bad += rc != NGX_ERROR && rc != NGX_OK;
    }

    tap_ok(!bad && n > 2, "a message may find no memory");
    tap_is_str(out.data, out.len, "Hello", "it is fine when it does");

    ngx_snorky_shim_fail(0);

    ngx_snorky_deflater_destroy(d);
    ngx_snorky_inflater_destroy(i);
    free(out.data);
}


int
main(void)
{
    tap_seed();

    deflate_test_offers();
    deflate_test_messages();
    deflate_test_known();
    deflate_test_random();
    deflate_test_bomb();
    deflate_test_memory();

    return tap_done();
}
