
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * UTF-8: every character, every wrong one, and every way to cut a text.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_utf8.h"
#include "tap.h"


typedef struct {
    const char  *name;
    const char  *text;
    size_t       len;
    ngx_int_t    rc;
} ngx_snorky_utf8_case_t;

#define ngx_snorky_utf8_case(name, text, rc)                                  \
    { name, text, sizeof(text) - 1, rc }


static ngx_snorky_utf8_case_t  ngx_snorky_utf8_cases[] = {
    ngx_snorky_utf8_case("nothing", "", NGX_OK),
    ngx_snorky_utf8_case("a NUL", "\0", NGX_OK),
    ngx_snorky_utf8_case("ASCII", "The quick brown fox jumps", NGX_OK),
    ngx_snorky_utf8_case("Greek", "\xce\xba\xcf\x8c\xcf\x83\xce\xbc\xce\xb5",
                         NGX_OK),
    ngx_snorky_utf8_case("a mix of lengths",
                         "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", NGX_OK),

    /* RFC 3629, 4: the first and the last of each row */
    ngx_snorky_utf8_case("U+007F", "\x7f", NGX_OK),
    ngx_snorky_utf8_case("U+0080", "\xc2\x80", NGX_OK),
    ngx_snorky_utf8_case("U+07FF", "\xdf\xbf", NGX_OK),
    ngx_snorky_utf8_case("U+0800", "\xe0\xa0\x80", NGX_OK),
    ngx_snorky_utf8_case("U+D7FF", "\xed\x9f\xbf", NGX_OK),
    ngx_snorky_utf8_case("U+E000", "\xee\x80\x80", NGX_OK),
    ngx_snorky_utf8_case("U+FEFF", "\xef\xbb\xbf", NGX_OK),
    ngx_snorky_utf8_case("U+FFFF", "\xef\xbf\xbf", NGX_OK),
    ngx_snorky_utf8_case("U+10000", "\xf0\x90\x80\x80", NGX_OK),
    ngx_snorky_utf8_case("U+10FFFF", "\xf4\x8f\xbf\xbf", NGX_OK),

    ngx_snorky_utf8_case("an overlong slash", "\xc0\xaf", NGX_ERROR),
    ngx_snorky_utf8_case("an overlong U+007F", "\xc1\xbf", NGX_ERROR),
    ngx_snorky_utf8_case("an overlong NUL", "\xc0\x80", NGX_ERROR),
    ngx_snorky_utf8_case("an overlong U+07FF", "\xe0\x9f\xbf", NGX_ERROR),
    ngx_snorky_utf8_case("an overlong U+FFFF", "\xf0\x8f\xbf\xbf",
                         NGX_ERROR),
    ngx_snorky_utf8_case("U+D800", "\xed\xa0\x80", NGX_ERROR),
    ngx_snorky_utf8_case("U+DFFF", "\xed\xbf\xbf", NGX_ERROR),
    ngx_snorky_utf8_case("a pair of surrogates",
                         "\xed\xa1\x81\xed\xb0\x80", NGX_ERROR),
    ngx_snorky_utf8_case("U+110000", "\xf4\x90\x80\x80", NGX_ERROR),
    ngx_snorky_utf8_case("F5", "\xf5\x80\x80\x80", NGX_ERROR),
    ngx_snorky_utf8_case("five bytes", "\xf8\x88\x80\x80\x80", NGX_ERROR),
    ngx_snorky_utf8_case("FE", "\xfe", NGX_ERROR),
    ngx_snorky_utf8_case("FF", "\xff", NGX_ERROR),

    ngx_snorky_utf8_case("a continuation alone", "\x80", NGX_ERROR),
    ngx_snorky_utf8_case("a continuation too many", "\xc3\xa9\xa9",
                         NGX_ERROR),
    ngx_snorky_utf8_case("Latin-1", "caf\xe9 au lait", NGX_ERROR),
    ngx_snorky_utf8_case("ASCII in a character", "\xe2\x82z", NGX_ERROR),
    ngx_snorky_utf8_case("a character in a character", "\xe2\xc3\xa9",
                         NGX_ERROR),

    ngx_snorky_utf8_case("1 of 2 bytes", "\xc3", NGX_AGAIN),
    ngx_snorky_utf8_case("1 of 3 bytes", "\xe2", NGX_AGAIN),
    ngx_snorky_utf8_case("2 of 3 bytes", "\xe2\x82", NGX_AGAIN),
    ngx_snorky_utf8_case("1 of 4 bytes", "\xf0", NGX_AGAIN),
    ngx_snorky_utf8_case("2 of 4 bytes", "\xf0\x9f", NGX_AGAIN),
    ngx_snorky_utf8_case("3 of 4 bytes", "\xf0\x9f\x98", NGX_AGAIN),

    /* found at once, not when the character is complete */
    ngx_snorky_utf8_case("the beginning of U+D800", "\xed\xa0", NGX_ERROR),
    ngx_snorky_utf8_case("the beginning of U+110000", "\xf4\x90", NGX_ERROR),
    ngx_snorky_utf8_case("the beginning of an overlong form", "\xe0\x80",
                         NGX_ERROR),

    /* around the words of 8 bytes */
    ngx_snorky_utf8_case("a bad 1st byte of 8", "\x80" "234567", NGX_ERROR),
    ngx_snorky_utf8_case("a bad 8th byte of 8", "1234567\x80", NGX_ERROR),
    ngx_snorky_utf8_case("a bad 9th byte of 9", "12345678\xff", NGX_ERROR),
    ngx_snorky_utf8_case("a character across two words",
                         "1234567\xc3\xa9" "12345678", NGX_OK),
    ngx_snorky_utf8_case("half a character after a word",
                         "12345678\xf0\x9f", NGX_AGAIN)
};


/* in memory of exactly this size, so that a sanitizer sees what is read */

static ngx_int_t
ngx_snorky_utf8_test_whole(const void *text, size_t len)
{
    u_char             *copy;
    ngx_int_t           rc;
    ngx_snorky_utf8_t   state;

    copy = malloc(len + 1);
    memcpy(copy + 1, text, len);

    state = NGX_SNORKY_UTF8_START;
    rc = ngx_snorky_utf8_check(&state, copy + 1, copy + 1 + len);

    if ((rc == NGX_OK && state != NGX_SNORKY_UTF8_START)
        || (rc == NGX_AGAIN && state == NGX_SNORKY_UTF8_START))
    {
        rc = NGX_ABORT;
    }

    free(copy);

    return rc;
}


/* in pieces that end at "a" and at "b" */

static ngx_int_t
ngx_snorky_utf8_test_pieces(const void *text, size_t len, size_t a, size_t b)
{
    u_char             *p;
    ngx_int_t           rc;
    ngx_uint_t          i;
    ngx_snorky_utf8_t   state;

    p = (u_char *) text;
    state = NGX_SNORKY_UTF8_START;
    rc = NGX_OK;

    for (i = 0; i < 3 && rc != NGX_ERROR; i++) {
        rc = ngx_snorky_utf8_check(&state, p + (i == 0 ? 0 : i == 1 ? a : b),
                                   p + (i == 0 ? a : i == 1 ? b : len));
    }

    return rc;
}


static void
ngx_snorky_utf8_test_cases(void)
{
    size_t                   a, b;
    ngx_uint_t               i, n, cuts;
    ngx_snorky_utf8_case_t  *c;

    n = sizeof(ngx_snorky_utf8_cases) / sizeof(ngx_snorky_utf8_cases[0]);

    for (i = 0; i < n; i++) {
        c = &ngx_snorky_utf8_cases[i];

        tap_is_int(ngx_snorky_utf8_test_whole(c->text, c->len), c->rc,
                   "%s is %s", c->name,
                   c->rc == NGX_OK ? "valid"
                                   : c->rc == NGX_AGAIN ? "incomplete"
                                                        : "invalid");
        cuts = 0;

        for (a = 0; a <= c->len; a++) {
            for (b = a; b <= c->len; b++) {
                cuts += ngx_snorky_utf8_test_pieces(c->text, c->len, a, b)
                        != c->rc;
            }
        }

        tap_is_int(cuts, 0, "%s is the same in three pieces", c->name);
    }
}


/*
 * A second opinion: decode by the bits, then ask whether the code point may
 * be written with so many bytes.  The length of the first character, or 0.
 */

static size_t
ngx_snorky_utf8_test_decode(u_char *p, size_t len)
{
    size_t           i, n;
    uint32_t         code;
    static uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    n = (p[0] & 0x80) == 0x00 ? 1
        : (p[0] & 0xe0) == 0xc0 ? 2
        : (p[0] & 0xf0) == 0xe0 ? 3
        : (p[0] & 0xf8) == 0xf0 ? 4
        : 0;

    if (n == 0 || n > len) {
        return 0;
    }

    code = (n == 1) ? p[0] : p[0] & (0x7f >> n);

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        code = code << 6 | (p[i] & 0x3f);
    }

    if (code < least[n] || code > 0x10ffff
        || (code >= 0xd800 && code <= 0xdfff))
    {
        return 0;
    }

    return n;
}


static ngx_uint_t
ngx_snorky_utf8_test_agree(u_char *p, size_t len)
{
    size_t             i, n;
    ngx_int_t          rc;
    ngx_snorky_utf8_t  state;

    state = NGX_SNORKY_UTF8_START;
    rc = ngx_snorky_utf8_check(&state, p, p + len);

    for (i = 0; i < len; i += n) {
        n = ngx_snorky_utf8_test_decode(p + i, len - i);

        if (n == 0) {
            break;
        }
    }

    return (rc == NGX_OK) == (i == len);
}


/* all sequences of a first byte that is not ASCII and one to three more */

static void
ngx_snorky_utf8_test_all(void)
{
    u_char      p[4];
    uint64_t    wrong, valid;
    ngx_uint_t  first, i, n;

    wrong = 0;
    valid = 0;

    for (first = 0x80; first <= 0xff; first++) {
        p[0] = (u_char) first;

        for (i = 0; i < 0x100; i++) {
            p[1] = (u_char) i;

            wrong += !ngx_snorky_utf8_test_agree(p, 2);
            valid += ngx_snorky_utf8_test_decode(p, 2) == 2;

            for (n = 0; n < 0x100; n++) {
                p[2] = (u_char) n;

                wrong += !ngx_snorky_utf8_test_agree(p, 3);
                valid += ngx_snorky_utf8_test_decode(p, 3) == 3;
            }
        }

        if (first < 0xf0) {
            continue;
        }

        for (i = 0; i < 0x100 * 0x100 * 0x100; i++) {
            p[1] = (u_char) (i >> 16);
            p[2] = (u_char) (i >> 8);
            p[3] = (u_char) i;

            /* where the last byte is in the middle, it is like others there */

            if ((p[3] & 0x3f) > 1 && (p[3] & 0x3f) < 0x3f) {
                continue;
            }

            wrong += !ngx_snorky_utf8_test_agree(p, 4);
            valid += (p[3] & 0x3f) == 0
                     && ngx_snorky_utf8_test_decode(p, 4) == 4;
        }
    }

    tap_is_int(wrong, 0, "all sequences of 2, 3 and 4 bytes are judged right");

    tap_is_int(valid, 0x780 + 0xf800 - 0x800 + 0x100000 / 64,
               "among them are as many characters as Unicode has");
}


/* a character without surrogates, of 1 to 4 bytes */

static size_t
ngx_snorky_utf8_test_character(u_char *p)
{
    switch (tap_random_below(6)) {
    case 0:
        p[0] = (u_char) (0xc2 + tap_random_below(0x1e));
        p[1] = (u_char) (0x80 + tap_random_below(0x40));
        return 2;
    case 1:
        p[0] = (u_char) (0xe1 + tap_random_below(12));
        p[1] = (u_char) (0x80 + tap_random_below(0x40));
        p[2] = (u_char) (0x80 + tap_random_below(0x40));
        return 3;
    case 2:
        p[0] = (u_char) (0xf1 + tap_random_below(3));
        p[1] = (u_char) (0x80 + tap_random_below(0x40));
        p[2] = (u_char) (0x80 + tap_random_below(0x40));
        p[3] = (u_char) (0x80 + tap_random_below(0x40));
        return 4;
    default:
        p[0] = (u_char) tap_random_below(0x80);
        return 1;
    }
}


static void
ngx_snorky_utf8_test_random(void)
{
    size_t      len, whole, size, bad, a, b, cut;
    u_char      text[68];
    ngx_int_t   rc;
    ngx_uint_t  i, wrong_valid, wrong_bad, wrong_cut;

    wrong_valid = 0;
    wrong_bad = 0;
    wrong_cut = 0;

    for (i = 0; i < 100000; i++) {
        len = 0;
        whole = 0;
        size = tap_random_below(64);

        while (len < size) {
            whole = len;
            len += ngx_snorky_utf8_test_character(text + len);
        }

        a = tap_random_below(len + 1);
        b = a + tap_random_below(len - a + 1);

        wrong_valid += ngx_snorky_utf8_test_whole(text, len) != NGX_OK;
        wrong_valid += ngx_snorky_utf8_test_pieces(text, len, a, b) != NGX_OK;

        if (len == 0) {
            continue;
        }

        /* without some of the last character's bytes */

        cut = whole + tap_random_below(len - whole);
        rc = ngx_snorky_utf8_test_whole(text, cut);

        wrong_cut += rc != (cut == whole ? NGX_OK : NGX_AGAIN);

        /* F8 to FF are nowhere valid */

        bad = tap_random_below(len);
        text[bad] = (u_char) (0xf8 + tap_random_below(8));

        wrong_bad += ngx_snorky_utf8_test_whole(text, len) != NGX_ERROR;
        wrong_bad += ngx_snorky_utf8_test_pieces(text, len, a, b)
                     != NGX_ERROR;
    }

    tap_is_int(wrong_valid, 0, "random texts are valid");
    tap_is_int(wrong_cut, 0, "random texts cut in a character are incomplete");
    tap_is_int(wrong_bad, 0, "random texts with a bad byte are invalid");
}


int
main(void)
{
    ngx_snorky_utf8_t  state;
    static u_char      euro[] = "\xe2\x82\xac";

    tap_seed();

    ngx_snorky_utf8_test_cases();

    state = NGX_SNORKY_UTF8_START;
    tap_is_int(ngx_snorky_utf8_check(&state, NULL, NULL), NGX_OK,
               "nothing at all is valid");

    state = NGX_SNORKY_UTF8_START;
    ngx_snorky_utf8_check(&state, euro, euro + 2);
    tap_is_int(ngx_snorky_utf8_check(&state, NULL, NULL), NGX_AGAIN,
               "an empty piece leaves a character as incomplete as it was");
    tap_is_int(ngx_snorky_utf8_check(&state, euro + 2, euro + 3), NGX_OK,
               "... and the next piece completes it");

    ngx_snorky_utf8_test_all();
    ngx_snorky_utf8_test_random();

    return tap_done();
}
