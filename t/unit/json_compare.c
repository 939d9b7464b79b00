
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The order of JSON values by their keys, and the characters of strings.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "nginx_shim.h"
#include "tap.h"
#include "json_model.h"


#define NGX_SNORKY_COMPARE_TEXT  (1024 * 1024)


/* canonical keys, each less than the next */

static const char  *ngx_snorky_compare_ordered[] = {
    "null",
    "false",
    "true",

    "-1e1000000000000000000000000000000000000000",
    "-1e99999999999999999999999999999999999999",
    "-9e9223372036854775808",
    "-1e9223372036854775808",
    "-9e9223372036854775807",
    "-11e18",
    "-1e19",
    "-123",
    "-122",
    "-12e1",
    "-1e2",
    "-12",
    "-11",
    "-1e1",
    "-9",
    "-1",
    "-99999999999999999999e-20",
    "-1e-1",
    "-1e-9223372036854775807",
    "-1e-9223372036854775808",
    "-1e-1000000000000000000000000000000000000000",

    "0",

    "1e-1000000000000000000000000000000000000000",
    "12e-1000000000000000000000000000000000000000",
    "1e-99999999999999999999999999999999999999",
    "1e-9223372036854775809",
    "1e-9223372036854775808",
    "1e-9223372036854775807",
    "1e-2",
    "1e-1",
    "99999999999999999999e-20",
    "1",
    "11e-1",
    "111e-2",
    "12e-1",
    "2",
    "9",
    "1e1",
    "11",
    "12",
    "123",
    "12345678901234567890123456789",
    "123456789012345678901234567889",
    "123456789012345678901234567891",
    "1e30",
    "100000000000000000000000000000000001e-5",
    "1e999999999999999999",
    "11111e999999999999999995",
    "1e1000000000000000000",
    "11e999999999999999999",
    "1e1000000000000000001",
    "99999e999999999999999997",
    "1e1000000000000000002",
    "1e9223372036854775807",
    "1e9223372036854775808",
    "1e18446744073709551616",
    "1e99999999999999999999999999999999999999",
    "12e99999999999999999999999999999999999999",
    "1e100000000000000000000000000000000000001",
    "12e100000000000000000000000000000000000000",
    "2e100000000000000000000000000000000000001",

    "\"\"",
    "\"\\u0000\"",
    "\"\\u0000\\u0000\"",
    "\"\\u0001\"",
    "\"\\b\"",
    "\"\\t\"",
    "\"\\n\"",
    "\"\\u000b\"",
    "\"\\f\"",
    "\"\\r\"",
    "\"\\u001f\"",
    "\" \"",
    "\"!\"",
    "\"\\\"\"",
    "\"\\\"a\"",
    "\"#\"",
    "\"/\"",
    "\"A\"",
    "\"Z\"",
    "\"[\"",
    "\"\\\\\"",
    "\"\\\\\\\\\"",
    "\"\\\\a\"",
    "\"]\"",
    "\"a\"",
    "\"a\\u0000\"",
    "\"a\\\"\"",
    "\"aa\"",
    "\"ab\"",
    "\"a\xc3\xa9\"",
    "\"b\"",
    "\"\x7f\"",
    "\"\xc2\x80\"",
    "\"\xc3\xa9\"",
    "\"\xdf\xbf\"",
    "\"\xe0\xa0\x80\"",
    "\"\xed\x9f\xbf\"",
    "\"\\ud800\"",
    "\"\\ud800\\n\"",
    "\"\\ud800a\"",
    "\"\\udbff\"",
    "\"\\udc00\"",
    "\"\\udfff\"",
    "\"\xee\x80\x80\"",
    "\"\xef\xbf\xbf\"",
    "\"\xf0\x90\x80\x80\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\xf4\x8f\xbf\xbf\"",

    "[1,2]",
    "[1]",
    "[[1],1]",
    "[[1]]",
    "[]",

    "{\"a\":1,\"b\":1}",
    "{\"a\":1}",
    "{\"b\":1}",
    "{}"
};

#define NGX_SNORKY_COMPARE_ORDERED                                            \
    (sizeof(ngx_snorky_compare_ordered)                                       \
     / sizeof(ngx_snorky_compare_ordered[0]))


/* in memory of exactly this size, for the sanitizers */

static ngx_str_t
ngx_snorky_compare_copy(const void *data, size_t len)
{
    ngx_str_t  copy;

    copy.len = len;
    copy.data = malloc(len);
    memcpy(copy.data, data, len);

    return copy;
}


static ngx_int_t
ngx_snorky_compare_sign(ngx_int_t order)
{
    return (order > 0) - (order < 0);
}


static void
ngx_snorky_compare_test_ordered(ngx_snorky_json_t *json)
{
    ngx_int_t    order;
    ngx_str_t    one, two, key;
    ngx_uint_t   i, k, wrong, other;
    const char  *s, *t;

    wrong = 0;
    other = 0;

    for (i = 0; i < NGX_SNORKY_COMPARE_ORDERED; i++) {
        s = ngx_snorky_compare_ordered[i];
        one = ngx_snorky_compare_copy(s, strlen(s));

        if (ngx_snorky_json_key(json, &one, 8, &key) != NGX_OK
            || key.len != one.len
            || memcmp(key.data, one.data, key.len) != 0)
        {
            other++;
            tap_diag("no key: %s", s);
        }

        for (k = 0; k < NGX_SNORKY_COMPARE_ORDERED; k++) {
            t = ngx_snorky_compare_ordered[k];
            two = ngx_snorky_compare_copy(t, strlen(t));

            order = ngx_snorky_json_compare(&one, &two);

            if (ngx_snorky_compare_sign(order) != (i > k) - (i < k)) {
                wrong++;
                tap_diag("%s is %s %s", s, order < 0 ? "less than"
                         : order > 0 ? "greater than" : "equal to", t);
            }

            free(two.data);
        }

        free(one.data);
    }

    tap_is_int(other, 0, "%u texts are keys",
               (unsigned) NGX_SNORKY_COMPARE_ORDERED);
    tap_is_int(wrong, 0, "any two of them are in the right order");
}


/* the key of a spelling of the model */

static ngx_str_t
ngx_snorky_compare_key(ngx_snorky_json_t *json, ngx_snorky_json_model_t *model)
{
    ngx_str_t       text, key;
    static u_char   buf[NGX_SNORKY_COMPARE_TEXT];

    text.data = buf;
    text.len = ngx_snorky_json_spell(buf, model) - buf;

    if (ngx_snorky_json_key(json, &text, 8, &key) != NGX_OK) {
        tap_ok(0, "a spelled value has a key");
        key = text;
    }

    return ngx_snorky_compare_copy(key.data, key.len);
}


/* a small number, and what it is times 10^20 */

static ngx_snorky_json_big_t
ngx_snorky_compare_small(ngx_snorky_json_model_t *model)
{
    char                   *p;
    ngx_uint_t              i;
    ngx_snorky_json_big_t   value;

    memset(model, 0, sizeof(*model));

    model->type = NGX_SNORKY_JSON_NUMBER;
    model->negative = tap_random_below(2);
    model->exponent = (ngx_snorky_json_big_t) tap_random_below(25) - 20;

    sprintf(model->digits, "%u",
            (unsigned) tap_random_below(tap_random_below(2) ? 20 : 10000000));

    for (p = model->digits + strlen(model->digits);
         p > model->digits && p[-1] == '0';
         /* void */ )
    {
        *--p = '\0';
    }

    value = atoi(model->digits);

    for (i = 0; (int) i < (int) model->exponent + 20; i++) {
        value *= 10;
    }

    return model->negative ? -value : value;
}


static void
ngx_snorky_compare_test_numbers(ngx_snorky_json_t *json)
{
    ngx_int_t                 order, expected;
    ngx_str_t                 one, two;
    ngx_uint_t                i, wrong, equal;
    ngx_snorky_json_big_t     x, y;
    ngx_snorky_json_model_t   a, b;

    wrong = 0;
    equal = 0;

    for (i = 0; i < 200000; i++) {
        x = ngx_snorky_compare_small(&a);
        y = ngx_snorky_compare_small(&b);

        if (tap_random_below(16) == 0) {
            b = a;
            y = x;
        }

        one = ngx_snorky_compare_key(json, &a);
        two = ngx_snorky_compare_key(json, &b);

        order = ngx_snorky_json_compare(&one, &two);
        expected = (x > y) - (x < y);

        equal += expected == 0;

        if (ngx_snorky_compare_sign(order) != expected) {
            wrong++;
            tap_dump("one", one.data, one.len);
            tap_dump("two", two.data, two.len);
        }

        free(one.data);
        free(two.data);
    }

    tap_is_int(wrong, 0, "random numbers are ordered as whole numbers are");
    tap_ok(equal > 5000, "some of them are equal");
}


/* of any size: what its first digit stands for, then the digits */

static ngx_int_t
ngx_snorky_compare_expected(ngx_snorky_json_model_t *a,
    ngx_snorky_json_model_t *b)
{
    ngx_int_t               sign_a, sign_b;
    ngx_snorky_json_big_t   x, y;

    sign_a = a->digits[0] == '\0' ? 0 : a->negative ? -1 : 1;
    sign_b = b->digits[0] == '\0' ? 0 : b->negative ? -1 : 1;

    if (sign_a != sign_b || sign_a == 0) {
        return (sign_a > sign_b) - (sign_a < sign_b);
    }

    x = a->exponent + strlen(a->digits);
    y = b->exponent + strlen(b->digits);

    if (x != y) {
        return x > y ? sign_a : -sign_a;
    }

    return sign_a * ngx_snorky_compare_sign(strcmp(a->digits, b->digits));
}


static void
ngx_snorky_compare_test_large(ngx_snorky_json_t *json)
{
    ngx_int_t                 order;
    ngx_str_t                 one, two;
    ngx_uint_t                i, wrong;
    ngx_snorky_json_model_t   a, b;

    wrong = 0;

    for (i = 0; i < 100000; i++) {
        memset(&a, 0, sizeof(a));
        memset(&b, 0, sizeof(b));

        a.type = NGX_SNORKY_JSON_NUMBER;
        b.type = NGX_SNORKY_JSON_NUMBER;

        ngx_snorky_json_model_number(&a);
        ngx_snorky_json_model_number(&b);

        if (tap_random_below(2)) {

            /* so near that the number of digits may decide */

            b.negative = a.negative;
            b.exponent = a.exponent + (int) tap_random_below(40) - 20;
        }

        one = ngx_snorky_compare_key(json, &a);
        two = ngx_snorky_compare_key(json, &b);

        order = ngx_snorky_json_compare(&one, &two);

        if (ngx_snorky_compare_sign(order)
            != ngx_snorky_compare_expected(&a, &b))
        {
            wrong++;
            tap_dump("one", one.data, one.len);
            tap_dump("two", two.data, two.len);
        }

        free(one.data);
        free(two.data);
    }

    tap_is_int(wrong, 0, "random numbers with any exponent are ordered");
}


static ngx_int_t
ngx_snorky_compare_codes(ngx_snorky_json_model_t *a,
    ngx_snorky_json_model_t *b)
{
    ngx_uint_t  i;

    for (i = 0; i < a->length && i < b->length; i++) {
        if (a->codes[i] != b->codes[i]) {
            return a->codes[i] > b->codes[i] ? 1 : -1;
        }
    }

    return (a->length > b->length) - (a->length < b->length);
}


static void
ngx_snorky_compare_test_strings(ngx_snorky_json_t *json)
{
    ngx_int_t                 order;
    ngx_str_t                 one, two;
    ngx_uint_t                i, k, wrong;
    ngx_snorky_json_model_t   a, b;

    wrong = 0;

    for (i = 0; i < 100000; i++) {
        memset(&a, 0, sizeof(a));
        memset(&b, 0, sizeof(b));

        a.type = NGX_SNORKY_JSON_STRING;
        b.type = NGX_SNORKY_JSON_STRING;

        ngx_snorky_json_model_codes(a.codes, &a.length);
        ngx_snorky_json_model_codes(b.codes, &b.length);

        /* a beginning in common, which splits no pair of surrogates */

        for (k = tap_random_below(12);
             k > 0 && k <= a.length && k <= b.length;
             k--)
        {
            if (a.codes[k - 1] < 0xd800 || a.codes[k - 1] > 0xdfff) {
                b.codes[k - 1] = a.codes[k - 1];
            }
        }

        one = ngx_snorky_compare_key(json, &a);
        two = ngx_snorky_compare_key(json, &b);

        order = ngx_snorky_json_compare(&one, &two);

        if (ngx_snorky_compare_sign(order)
            != ngx_snorky_compare_codes(&a, &b))
        {
            wrong++;
            tap_dump("one", one.data, one.len);
            tap_dump("two", two.data, two.len);
        }

        free(one.data);
        free(two.data);
    }

    tap_is_int(wrong, 0, "random strings are ordered by code point");
}


static int
ngx_snorky_compare_sorter(const void *one, const void *two)
{
    return (int) ngx_snorky_json_compare((ngx_str_t *) one,
                                         (ngx_str_t *) two);
}


/* values of all types: sorted, no later one is less than an earlier one */

static void
ngx_snorky_compare_test_sort(ngx_snorky_json_t *json)
{
    ngx_str_t                 keys[200];
    ngx_uint_t                i, k, round, wrong;
    ngx_snorky_json_model_t   model;

    wrong = 0;

    for (round = 0; round < 20; round++) {

        for (i = 0; i < 200; i++) {
            ngx_snorky_json_model_create(&model, 2);
            keys[i] = ngx_snorky_compare_key(json, &model);
            ngx_snorky_json_model_destroy(&model);
        }

        qsort(keys, 200, sizeof(ngx_str_t), ngx_snorky_compare_sorter);

        for (i = 0; i < 200; i++) {
            for (k = i + 1; k < 200; k++) {
                wrong += ngx_snorky_json_compare(&keys[i], &keys[k]) > 0
                         || ngx_snorky_json_compare(&keys[k], &keys[i]) < 0;
            }

            free(keys[i].data);
        }
    }

    tap_is_int(wrong, 0, "random values can be sorted");
}


static void
ngx_snorky_compare_test_is_string(const char *text, const char *expected,
    size_t len)
{
    u_char              *p, *end;
    ngx_snorky_value_t   value;

    value.type = NGX_SNORKY_JSON_STRING;
    value.text = ngx_snorky_compare_copy(text, strlen(text));

    p = malloc(value.text.len);
    end = ngx_snorky_json_string(&value, p);

    tap_is_mem(p, end - p, expected, len, "the characters of %s", text);

    free(p);
    free(value.text.data);
}


#define ngx_snorky_compare_string(text, expected)                             \
    ngx_snorky_compare_test_is_string(text, expected, sizeof(expected) - 1)


static void
ngx_snorky_compare_test_string(void)
{
    u_char                   *text, *p, *q, *end, *expected;
    ngx_uint_t                i, k, wrong;
    ngx_snorky_value_t        value;
    ngx_snorky_json_model_t   model;

    ngx_snorky_compare_string("\"\"", "");
    ngx_snorky_compare_string("\"abc\"", "abc");
    ngx_snorky_compare_string("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                              "\"\\/\b\f\n\r\t");
    ngx_snorky_compare_string("\"\\u0061\\u00E9\\u20ac\"",
                              "a\xc3\xa9\xe2\x82\xac");
    ngx_snorky_compare_string("\"x\\u0000y\"", "x\0y");
    ngx_snorky_compare_string("\"\xf0\x9f\x98\x80\\ud83d\\uDE00\"",
                              "\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
    ngx_snorky_compare_string("\"\\ud83d\"", "\xef\xbf\xbd");
    ngx_snorky_compare_string("\"\\ude00\\ud83d!\"",
                              "\xef\xbf\xbd\xef\xbf\xbd!");
    ngx_snorky_compare_string("\"\\ud83d\\n\\ud83d\\u0041\"",
                              "\xef\xbf\xbd\n\xef\xbf\xbd" "A");

    text = malloc(4096);
    expected = malloc(4096);
    wrong = 0;

    for (i = 0; i < 50000; i++) {
        memset(&model, 0, sizeof(model));
        ngx_snorky_json_model_codes(model.codes, &model.length);

        p = expected;

        for (k = 0; k < model.length; k++) {
            p = ngx_snorky_json_spell_raw(p,
                      model.codes[k] >= 0xd800 && model.codes[k] <= 0xdfff
                      ? 0xfffd : model.codes[k]);
        }

        end = ngx_snorky_json_spell_string(text, model.codes, model.length);

        value.type = NGX_SNORKY_JSON_STRING;
        value.text = ngx_snorky_compare_copy(text, end - text);

        q = malloc(value.text.len);
        end = ngx_snorky_json_string(&value, q);

        wrong += end - q != p - expected || memcmp(q, expected, end - q) != 0;

        free(q);
        free(value.text.data);
    }

    tap_is_int(wrong, 0, "random strings have the characters they should");

    free(text);
    free(expected);
}


int
main(void)
{
    ngx_snorky_json_t  *json;

    tap_seed();

    json = ngx_snorky_json_create();

    ngx_snorky_compare_test_ordered(json);
    ngx_snorky_compare_test_numbers(json);
    ngx_snorky_compare_test_large(json);
    ngx_snorky_compare_test_strings(json);
    ngx_snorky_compare_test_sort(json);
    ngx_snorky_compare_test_string();

    ngx_snorky_json_destroy(json);

    return tap_done();
}
