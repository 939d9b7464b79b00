
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Keys of JSON values: what is the same value has the same key, and nothing
 * else has (protocol: JSON entities as keys).
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "nginx_shim.h"
#include "tap.h"
#include "json_model.h"


/* each row is one value, spelled in some ways; the first one is its key */

static const char  *ngx_snorky_json_classes[][12] = {

    /* words, and what looks like them */
    { "null", " null\n" },
    { "true", "\ttrue" },
    { "false", "false " },
    { "\"null\"", "\"n\\u0075ll\"" },
    { "\"true\"" },
    { "\"false\"" },
    { "[null]", "[ null ]" },
    { "[true]" },
    { "[\"true\"]" },
    { "{}", "{ }", " {\n} " },
    { "[]", "[ ]" },
    { "[[]]" },
    { "[{}]" },
    { "[[],[]]" },
    { "\"\"", " \"\" " },
    { "\"[]\"" },
    { "\"{}\"" },

    /* numbers */
    { "0", "-0", "0.0", "-0.00", "0e0", "0e5", "-0e9", "0.0E-7",
      "0e99999999999999999999999999" },
    { "1", "1.0", "1e0", "10e-1", "0.1e1", "1.000", "1E+0", "100e-2",
      "0.001e+3", "1e-0", "0.00001e00005" },
    { "-1", "-1.0", "-10e-1", "-0.1E1" },
    { "2" },
    { "\"1\"", "\"\\u0031\"" },
    { "\"1.0\"" },
    { "[1]", "[1.0]", "[ 10e-1 ]" },
    { "1e1", "10", "10.0", "1E1", "100e-1", "1e+1", "0.1e2", "1e01" },
    { "12e1", "120", "1.2e2", "120.0", "12E1", "1200e-1" },
    { "12", "12.0", "1.2e1", "0.12E2" },
    { "15e-1", "1.5", "1.50", "15e-1", "0.15e1", "150E-2", "1.5e0" },
    { "-15e-1", "-1.5", "-0.0015e3" },
    { "1e-1", "0.1", "0.10", "1e-1", "10e-2", "0.01e1" },
    { "1e-2", "0.01" },
    { "101", "101.0", "1.01e2", "10100e-2" },
    { "101e1", "1010", "1.01e3" },
    { "1001e-3", "1.001" },
    { "9007199254740992", "9007199254740992.0" },
    { "9007199254740993", "9.007199254740993e15" },
    { "123456789012345678901234567891",
      "1.23456789012345678901234567891e29" },
    { "123456789012345678901234567892" },
    { "1e400", "10e399", "0.1e401", "1E+400" },
    { "1e401", "1e0401" },
    { "1e-400", "0.1e-399", "10e-401" },
    { "333333333333333333e-18", "0.333333333333333333" },
    { "3333333333333333333e-19", "0.3333333333333333333" },

    /* exponents around 18 digits, and of any number of digits */
    { "1e999999999999999999", "10e999999999999999998",
      "0.1e1000000000000000000", "1e+0999999999999999999" },
    { "1e1000000000000000000", "10e999999999999999999",
      "100e999999999999999998", "0.1e1000000000000000001",
      "1e0000000000000000001000000000000000000" },
    { "1e-1000000000000000000", "0.1e-999999999999999999",
      "10e-1000000000000000001", "0.001e-999999999999999997" },
    { "1e-999999999999999999", "10e-1000000000000000000" },
    { "1e9223372036854775807", "10e9223372036854775806" },
    { "1e9223372036854775808", "10e9223372036854775807" },
    { "1e18446744073709551616", "0.1e18446744073709551617" },
    { "1e10000000000000000000000", "10e9999999999999999999999",
      "1000e9999999999999999999997", "0.01e10000000000000000000002",
      "1.0E+10000000000000000000000" },
    { "-1e10000000000000000000000", "-10e9999999999999999999999" },
    { "1e-10000000000000000000000", "0.1e-9999999999999999999999",
      "1000e-10000000000000000000003" },
    { "1e10000000000000000000001" },
    { "12e9999999999999999999999", "1.2e10000000000000000000000" },
    { "12e-10000000000000000000001", "1.2e-10000000000000000000000" },

    /* strings */
    { "\"A\"", "\"\\u0041\"" },
    { "\"a\"", "\"\\u0061\"" },
    { "\"/\"", "\"\\/\"", "\"\\u002f\"", "\"\\u002F\"" },
    { "\"\\\"\"", "\"\\u0022\"" },
    { "\"\\\\\"", "\"\\u005c\"", "\"\\u005C\"" },
    { "\"\\\\\\\"\"", "\"\\u005c\\u0022\"" },
    { "\"\\b\\f\\n\\r\\t\"", "\"\\u0008\\u000c\\u000A\\u000d\\u0009\"" },
    { "\"\\\\n\"", "\"\\u005cn\"" },
    { "\"n\"" },
    { "\"\\n\"", "\"\\u000a\"" },
    { "\"\\u0000\"" },
    { "\"\\\\u0000\"", "\"\\u005cu0000\"" },
    { "\"u0000\"" },
    { "\"\\u0001\"" },
    { "\"\\u001f\"", "\"\\u001F\"" },
    { "\" \"", "\"\\u0020\"" },
    { "\"\x7f\"", "\"\\u007f\"", "\"\\u007F\"" },
    { "\"\xc2\x80\"", "\"\\u0080\"" },
    { "\"\xc3\xa9\"", "\"\\u00e9\"", "\"\\u00E9\"" },
    { "\"e\xcc\x81\"", "\"e\\u0301\"", "\"\\u0065\\u0301\"" },
    { "\"\xdf\xbf\"", "\"\\u07ff\"" },
    { "\"\xe0\xa0\x80\"", "\"\\u0800\"" },
    { "\"\xed\x9f\xbf\"", "\"\\ud7ff\"" },
    { "\"\xee\x80\x80\"", "\"\\ue000\"" },
    { "\"\xef\xbf\xbf\"", "\"\\uFFFF\"" },
    { "\"\xf0\x90\x80\x80\"", "\"\\ud800\\udc00\"" },
    { "\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"" },
    { "\"\xf4\x8f\xbf\xbf\"", "\"\\udbff\\udfff\"" },

    /* surrogates that are no pair */
    { "\"\\ud83d\"", "\"\\uD83D\"" },
    { "\"\\ude00\"", "\"\\uDE00\"" },
    { "\"\\ude00\\ud83d\"", "\"\\uDe00\\uD83d\"" },
    { "\"\\ud83d\xf0\x9f\x98\x80\"", "\"\\ud83d\\ud83d\\ude00\"" },
    { "\"\xf0\x9f\x98\x80\\ude00\"", "\"\\ud83d\\ude00\\ude00\"" },
    { "\"\\ud83d\\ud83d\"" },
    { "\"\\ud83dx\\ude00\"", "\"\\ud83d\\u0078\\ude00\"" },
    { "\"\\ud83d\\n\"", "\"\\ud83d\\u000a\"" },
    { "\"\\ud83d\\\\ude00\"", "\"\\ud83d\\u005cude00\"" },
    { "\"\xef\xbf\xbd\"", "\"\\ufffd\"" },
    { "\"?\"" },

    /* arrays: order counts */
    { "[1,2]", "[ 1 , 2.0 ]", "[1,2]\n" },
    { "[2,1]" },
    { "[12]" },
    { "[1,[2]]" },
    { "[[1],2]" },
    { "[\"1\",2]" },
    { "[\"1,2\"]" },
    { "\"1,2\"" },
    { "[\"a\",\"b\"]", "[\"\\u0061\",\"\\u0062\"]" },
    { "[\"a\\\",\\\"b\"]" },

    /* objects: order does not; of duplicates the last counts */
    { "{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}",
      "{ \"b\" : 2.0, \"a\":1e0 }",
      "{\"\\u0062\":2,\"a\":1}", "{\"a\":2,\"b\":2,\"a\":1}",
      "{\"b\":1,\"a\":1,\"b\":2}",
      "{\"a\":0,\"a\":[],\"b\":2,\"\\u0061\":1}" },
    { "{\"a\":2,\"b\":1}", "{\"b\":1,\"a\":2}" },
    { "{\"a\":1}", "{\"a\":2,\"a\":1}", "{\"\\u0061\":7,\"a\":1.0}",
      "{\"a\":7,\"\\u0061\":1}" },
    { "{\"a\":2}", "{\"a\":1,\"a\":2}" },
    { "{\"b\":1}" },
    { "{\"\":1}" },
    { "{\"a\":1,\"ab\":2}", "{\"ab\":2,\"a\":1}" },
    { "{\"A\":1,\"a\":2,\"\xc3\xa9\":3}", "{\"\\u00e9\":3,\"a\":2,\"A\":1}" },
    { "{\"a\":\"b\"}" },
    { "{\"a\":\"b\",\"c\":\"d\"}", "{\"c\":\"d\",\"a\":\"b\"}" },
    { "{\"a\":\"b\\\",\\\"c\\\":\\\"d\"}",
      "{\"a\":\"b\\u0022,\\u0022c\\u0022:\\u0022d\"}" },
    { "{\"a\\\":\\\"b\\\",\\\"c\":\"d\"}" },
    { "[\"a\",\"b\",\"c\",\"d\"]" },
    { "[{\"a\":1},{\"b\":2}]" },
    { "{\"a\":{\"b\":{\"c\":1,\"d\":2},\"e\":[{\"f\":1,\"g\":1}]},\"h\":0}",
      "{\"h\":-0,\"a\":{\"e\":[{\"g\":1,\"f\":1}],\"b\":{\"d\":2,\"c\":1}}}" },
    { "{\"\\\"\":1,\"\\\\\":2,\"\\n\":3,\"\\ud800\":4}",
      "{\"\\uD800\":4,\"\\u000a\":3,\"\\u005c\":2,\"\\u0022\":1}" },
    { "\"{\\\"a\\\":1}\"" }
};

#define NGX_SNORKY_JSON_CLASSES                                               \
    (sizeof(ngx_snorky_json_classes) / sizeof(ngx_snorky_json_classes[0]))
#define NGX_SNORKY_JSON_SPELLINGS                                             \
    (sizeof(ngx_snorky_json_classes[0])                                       \
     / sizeof(ngx_snorky_json_classes[0][0]))


static void
ngx_snorky_json_test_classes(ngx_snorky_json_t *json)
{
    ngx_str_t     text, key;
    const char   *first, *s;
    ngx_uint_t    i, j, k, same;

    for (i = 0; i < NGX_SNORKY_JSON_CLASSES; i++) {

        first = ngx_snorky_json_classes[i][0];

        for (j = 0; j < NGX_SNORKY_JSON_SPELLINGS; j++) {

            s = ngx_snorky_json_classes[i][j];

            if (s == NULL) {
                break;
            }

            /* in memory of exactly this size, for the sanitizers */

            text.len = strlen(s);
            text.data = malloc(text.len);
            memcpy(text.data, s, text.len);

            ngx_str_null(&key);

            tap_is_int(ngx_snorky_json_key(json, &text, 8, &key), NGX_OK,
                       "%s (%u) has a key", first, (unsigned) j);
            tap_is_str(key.data, key.len, first, "... the right one");

            free(text.data);
        }
    }

    for (same = 0, i = 0; i < NGX_SNORKY_JSON_CLASSES; i++) {
        for (k = 0; k < i; k++) {
            same += strcmp(ngx_snorky_json_classes[i][0],
                           ngx_snorky_json_classes[k][0]) == 0;
        }
    }

    tap_is_int(same, 0, "no two values have one key");
}


static void
ngx_snorky_json_test_random(ngx_snorky_json_t *json)
{
    u_char                   *buf, *before;
    size_t                    len;
    ngx_str_t                 text, key;
    ngx_uint_t                i, failed, differ, same, unstable, grown;
    ngx_snorky_json_model_t   model;

    buf = malloc(64 * 1024 * 1024);
    before = malloc(64 * 1024 * 1024);

    failed = 0;
    differ = 0;
    same = 0;
    unstable = 0;
    grown = 0;

    for (i = 0; i < 20000; i++) {

        ngx_snorky_json_model_create(&model, tap_random_below(5));

        text.data = buf;
        text.len = ngx_snorky_json_spell(buf, &model) - buf;

        failed += ngx_snorky_json_key(json, &text, 4, &key) != NGX_OK;
        grown += key.len > 2 * text.len;

        len = key.len;
        memcpy(before, key.data, len);

        /* the key is JSON, and its own key */

        text.data = before;
        text.len = len;

        failed += ngx_snorky_json_key(json, &text, 4, &key) != NGX_OK;
        unstable += key.len != len || memcmp(key.data, before, len) != 0;

        text.data = buf;
        text.len = ngx_snorky_json_spell(buf, &model) - buf;

        failed += ngx_snorky_json_key(json, &text, 4, &key) != NGX_OK;
        differ += key.len != len || memcmp(key.data, before, len) != 0;

        ngx_snorky_json_mutate(&model);

        text.len = ngx_snorky_json_spell(buf, &model) - buf;

        failed += ngx_snorky_json_key(json, &text, 4, &key) != NGX_OK;
        same += key.len == len && memcmp(key.data, before, len) == 0;

        ngx_snorky_json_model_destroy(&model);
    }

    tap_is_int(failed, 0, "random values have keys");
    tap_is_int(differ, 0, "two spellings of a value have one key");
    tap_is_int(same, 0, "another value has another key");
    tap_is_int(unstable, 0, "a key is its own key");
    tap_is_int(grown, 0, "a key is at most twice as long as its text");

    free(before);
    free(buf);
}


/* many members: what takes time quadratic in them would not come to an end */

static void
ngx_snorky_json_test_many(ngx_snorky_json_t *json, const char *format,
    ngx_uint_t reversed, ngx_uint_t members, const char *name)
{
    size_t       size;
    u_char      *p, *end;
    ngx_str_t    text, key;
    ngx_uint_t   i, commas;

    size = 300000 * 20;
    text.data = malloc(size);

    p = text.data;
    *p++ = '{';

    for (i = 0; i < 300000; i++) {
        p += sprintf((char *) p, format,
                     (unsigned) (reversed ? 599999 - i : 100000 + i));
        *p++ = ',';
    }

    p[-1] = '}';
    text.len = p - text.data;

    tap_is_int(ngx_snorky_json_key(json, &text, 1, &key), NGX_OK,
               "an object with 300000 members, %s, has a key", name);

    commas = 0;
    end = key.data + key.len;

    for (p = key.data; p < end; p++) {
        commas += *p == ',';
    }

    tap_is_int(commas + 1, members, "... with %u members",
               (unsigned) members);

    free(text.data);
}


static void
ngx_snorky_json_test_memory(void)
{
    ngx_int_t           rc;
    ngx_str_t           text, key;
    ngx_uint_t          i;
    ngx_snorky_json_t  *json;

    json = ngx_snorky_json_create();

    ngx_snorky_shim_fail_all();

    ngx_str_set(&text, "\"a plain string\"");
    tap_is_int(ngx_snorky_json_key(json, &text, 0, &key), NGX_OK,
               "a plain string needs no memory");
    tap_ok(key.data == text.data && key.len == text.len,
           "... and is its own key");

    ngx_str_set(&text, "12345");
    tap_is_int(ngx_snorky_json_key(json, &text, 0, &key), NGX_OK,
               "so does a plain integer");

    ngx_str_set(&text, "{\"b\":1,\"a\":10}");

    for (i = 1; /* void */ ; i++) {
        ngx_snorky_shim_fail(i);

        rc = ngx_snorky_json_key(json, &text, 1, &key);

        if (rc == NGX_OK) {
            break;
        }

        tap_is_int(rc, NGX_ERROR, "without allocation %u there is no key",
                   (unsigned) i);
    }

    tap_is_str(key.data, key.len, "{\"a\":1e1,\"b\":1}",
               "with memory the parser goes on");

    ngx_snorky_shim_fail(0);
    ngx_snorky_json_destroy(json);
}


int
main(void)
{
    ngx_snorky_json_t  *json;

    tap_seed();

    json = ngx_snorky_json_create();

    ngx_snorky_json_test_classes(json);
    ngx_snorky_json_test_random(json);

    ngx_snorky_json_test_many(json, "\"%u\":0", 0, 300000, "sorted");
    ngx_snorky_json_test_many(json, "\"%u\":0", 1, 300000, "reversed");
    ngx_snorky_json_test_many(json, "\"\\u0061\":%u", 0, 1, "all of one name");

    ngx_snorky_json_destroy(json);

    ngx_snorky_json_test_memory();

    return tap_done();
}
