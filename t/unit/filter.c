
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Filters: which are refused, what they match, their terms, and their memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "ngx_snorky_filter.h"
#include "nginx_shim.h"
#include "tap.h"
#include "filter_model.h"


typedef struct {
    ngx_snorky_json_t        *json;
    ngx_snorky_json_t        *keys;
    ngx_snorky_json_node_t   *root;
    ngx_snorky_filter_t      *filter;
    ngx_uint_t                asked;
    ngx_uint_t                failing;
} ngx_snorky_filter_test_t;


static const char  *ngx_snorky_filter_well_formed[] = {
    "[\"==\",\"a\",1]",
    "[\"<\",\"a\",1]",
    "[\"<=\",\"a\",1]",
    "[\">\",\"a\",1]",
    "[\">=\",\"a\",1]",
    " [ \"==\" , \"a.b.c\" , { \"x\" : [ null ] } ] ",
    "[\"\\u003d\\u003d\",\"a\",1]",
    "[\"\\u0061nd\",[\"==\",\"a\",1]]",
    "[\"==\",\" \",null]",
    "[\"==\",\"a b.\\\"\\\\\\n.\xc3\xa9\",null]",
    "[\"==\",\"\\ud83d\\ude00\",null]",
    "[\"==\",\"\\\\ud800\",null]",
    "[\"<\",\"a\",null]",
    "[\"<\",\"a\",[]]",
    "[\"==\",\"a\",[\"==\"]]",
    "[\"and\",[\"==\",\"a\",1]]",
    "[\"or\",[\"==\",\"a\",1]]",
    "[\"not\",[\"==\",\"a\",1]]",
    "[\"and\",[\"or\",[\"not\",[\"<\",\"a\",1]]],[\"==\",\"b\",\"\"]]",
    "[\"==\",\"a\",\"\\ud800\"]"
};


static const char  *ngx_snorky_filter_malformed[] = {

    /* not JSON, or no array that begins with an operator */
    "",
    "[",
    "[\"==\",\"a\",1",
    "[\"==\",\"a\",01]",
    "[\"==\",\"a\",\"\xff\"]",
    "null",
    "\"==\"",
    "{}",
    "{\"==\":[\"a\",1]}",
    "[]",
    "[[]]",
    "[null,\"a\",1]",
    "[\"\",\"a\",1]",
    "[\"=\",\"a\",1]",
    "[\"===\",\"a\",1]",
    "[\"!=\",\"a\",1]",
    "[\"== \",\"a\",1]",
    "[\"AND\",[\"==\",\"a\",1]]",
    "[\"an\",[\"==\",\"a\",1]]",
    "[\"==\\u0000\",\"a\",1]",

    /* arguments */
    "[\"==\"]",
    "[\"==\",\"a\"]",
    "[\"==\",\"a\",1,2]",
    "[\"<\",\"a\"]",
    "[\"<\",\"a\",1,1]",
    "[\"==\",1,\"a\"]",
    "[\"==\",null,1]",
    "[\"==\",[\"a\"],1]",
    "[\"==\",{},1]",
    "[\"and\"]",
    "[\"or\"]",
    "[\"not\"]",
    "[\"not\",[\"==\",\"a\",1],[\"==\",\"a\",1]]",
    "[\"not\",\"a\"]",
    "[\"and\",true]",
    "[\"and\",[]]",
    "[\"and\",[\"==\",\"a\",1],null]",
    "[\"and\",\"a\",1]",
    "[\"or\",[\"==\",\"a\",1],[\"==\",\"a\"]]",
    "[\"not\",[\"not\",[\"not\"]]]",

    /* paths */
    "[\"==\",\"\",1]",
    "[\"==\",\".\",1]",
    "[\"==\",\".a\",1]",
    "[\"==\",\"a.\",1]",
    "[\"==\",\"a..b\",1]",
    "[\"==\",\"a\\u002e\",1]",
    "[\"==\",\"a.\\u002eb\",1]",
    "[\"==\",\"\\ud800\",1]",
    "[\"==\",\"a.b\\\\\\udc00c\",1]"
};


/* what matches; then what does not */

static const char  *ngx_snorky_filter_cases[][3] = {

    { "[\"==\",\"a\",1]", "{\"a\":1}", "{\"a\":2}" },
    { "[\"==\",\"a\",1]", "{\"a\":1.0}", "{\"a\":\"1\"}" },
    { "[\"==\",\"a\",1]", "{ \"a\" : 10e-1 }", "{\"a\":true}" },
    { "[\"==\",\"a\",1]", "{\"a\":2,\"a\":1}", "{\"a\":1,\"a\":2}" },
    { "[\"==\",\"a\",1]", "{\"\\u0061\":1}", "{\"A\":1}" },
    { "[\"==\",\"a\",1]", "{\"b\":2,\"a\":1}", "{}" },
    { "[\"==\",\"a\",1]", "{\"a\":1,\"b\":[]}", "[\"a\",1]" },
    { "[\"==\",\"a\",1]", "{\"a\":1}", "\"a\"" },
    { "[\"==\",\"a\",1]", "{\"a\":1}", "1" },
    { "[\"==\",\"a\",1]", "{\"a\":1}", "null" },
    { "[\"==\",\"a\",null]", "{\"a\":null}", "{}" },
    { "[\"==\",\"a\",false]", "{\"a\":false}", "{\"a\":0}" },
    { "[\"==\",\"a\",\"\\u0041\"]", "{\"a\":\"A\"}", "{\"a\":\"a\"}" },
    { "[\"==\",\"a\",123456789012345678901234567890]",
      "{\"a\":12345678901234567890123456789e1}",
      "{\"a\":123456789012345678901234567891}" },
    { "[\"==\",\"a\",[1,{\"x\":2,\"y\":3}]]",
      "{\"a\":[1.0, {\"y\":3,\"x\":2}]}", "{\"a\":[1,{\"x\":2}]}" },
    { "[\"==\",\"a\",{}]", "{\"a\":{ }}", "{\"a\":[]}" },
    { "[\"==\",\"a\",{}]", "{\"a\":{}}", "{\"a\":{\"a\":1}}" },

    { "[\"==\",\"a.b\",1]", "{\"a\":{\"b\":1}}", "{\"a.b\":1}" },
    { "[\"==\",\"a.b\",1]", "{\"a\":{\"c\":0,\"b\":1}}", "{\"a\":1}" },
    { "[\"==\",\"a.b\",1]", "{\"a\":1,\"a\":{\"b\":1}}",
      "{\"a\":{\"b\":1},\"a\":1}" },
    { "[\"==\",\"a.b\",1]", "{\"a\":{\"b\":1}}", "{\"a\":[\"b\",1]}" },
    { "[\"==\",\"a.b\",1]", "{\"a\":{\"b\":1}}", "{\"b\":1}" },
    { "[\"==\",\"a.0\",1]", "{\"a\":{\"0\":1}}", "{\"a\":[1]}" },
    { "[\"==\",\"a.a.a\",1]", "{\"a\":{\"a\":{\"a\":1}}}",
      "{\"a\":{\"a\":1}}" },
    { "[\"==\",\"\xc3\xa9.\\n\",1]", "{\"\\u00E9\":{\"\\u000a\":1}}",
      "{\"\xc3\xa9\":{\"n\":1}}" },
    { "[\"==\",\"\\u0022\",1]", "{\"\\\"\":1}", "{\"\\\\\":1}" },

    { "[\"<\",\"a\",2]", "{\"a\":1.99}", "{\"a\":2}" },
    { "[\"<\",\"a\",2]", "{\"a\":-1e400}", "{\"a\":1e400}" },
    { "[\"<\",\"a\",2]", "{\"a\":1}", "{\"a\":\"1\"}" },
    { "[\"<\",\"a\",2]", "{\"a\":1}", "{\"a\":null}" },
    { "[\"<\",\"a\",2]", "{\"a\":1}", "{\"a\":false}" },
    { "[\"<\",\"a\",2]", "{\"a\":1}", "{}" },
    { "[\"<=\",\"a\",2]", "{\"a\":2.0}", "{\"a\":2.000000000000000000001}" },
    { "[\">\",\"a\",2]", "{\"a\":2.000000000000000000001}", "{\"a\":2}" },
    { "[\">\",\"a\",2]", "{\"a\":3}", "{\"a\":\"3\"}" },
    { "[\">\",\"a\",2]", "{\"a\":3}", "{\"a\":[3]}" },
    { "[\">\",\"a\",-2]", "{\"a\":-1}", "{\"a\":-3}" },
    { "[\">=\",\"a\",2]", "{\"a\":20e-1}", "{\"a\":19e-1}" },
    { "[\">=\",\"a.b\",2]", "{\"a\":{\"b\":2}}", "{\"a\":2}" },
    { "[\"<\",\"a\",\"b\"]", "{\"a\":\"a\"}", "{\"a\":\"b\"}" },
    { "[\"<\",\"a\",\"b\"]", "{\"a\":\"\"}", "{\"a\":1}" },
    { "[\"<\",\"a\",\"b\"]", "{\"a\":\"a\\uffff\"}", "{\"a\":{}}" },
    { "[\">\",\"a\",\"\\uffff\"]", "{\"a\":\"\\ud83d\\ude00\"}",
      "{\"a\":\"\\ud83d\"}" },
    { "[\">=\",\"a\",\"\\n\"]", "{\"a\":\"\\u000b\"}", "{\"a\":\"\\t\"}" },
    { "[\"<=\",\"a\",\"ab\"]", "{\"a\":\"ab\"}", "{\"a\":\"aba\"}" },

    { "[\"and\",[\"==\",\"a\",1]]", "{\"a\":1}", "{\"a\":2}" },
    { "[\"and\",[\"==\",\"a\",1],[\"==\",\"b\",2]]", "{\"a\":1,\"b\":2}",
      "{\"a\":1,\"b\":3}" },
    { "[\"and\",[\"==\",\"a\",1],[\"==\",\"b\",2]]", "{\"b\":2,\"a\":1}",
      "{\"b\":2}" },
    { "[\"and\",[\">\",\"a\",1],[\"<\",\"a\",3],[\"<\",\"b\",3]]",
      "{\"a\":2,\"b\":2}", "{\"a\":2,\"b\":3}" },
    { "[\"or\",[\"==\",\"a\",1]]", "{\"a\":1}", "{\"a\":2}" },
    { "[\"or\",[\"==\",\"a\",1],[\"==\",\"b\",2]]", "{\"b\":2}",
      "{\"a\":2,\"b\":1}" },
    { "[\"or\",[\"==\",\"a\",1],[\"==\",\"b\",2]]", "{\"a\":1}", "{}" },
    { "[\"not\",[\"==\",\"a\",1]]", "{\"a\":2}", "{\"a\":1}" },
    { "[\"not\",[\"==\",\"a\",1]]", "{}", "{\"a\":1}" },
    { "[\"not\",[\"<\",\"a\",1]]", "{\"a\":null}", "{\"a\":0}" },
    { "[\"not\",[\"<\",\"a\",\"x\"]]", "{\"a\":1}", "{\"a\":\"a\"}" },
    { "[\"not\",[\"<\",\"a\",null]]", "{\"a\":null}", "not JSON" },
    { "[\"not\",[\"not\",[\"==\",\"a\",1]]]", "{\"a\":1}", "{\"a\":2}" },
    { "[\"not\",[\"and\",[\"==\",\"a\",1],[\"==\",\"b\",1]]]",
      "{\"a\":1}", "{\"a\":1,\"b\":1}" },
    { "[\"and\",[\"or\",[\"==\",\"a\",1],[\"==\",\"a\",2]],"
      "[\"not\",[\"==\",\"b\",1]],[\"or\",[\"==\",\"c\",1]]]",
      "{\"a\":2,\"b\":2,\"c\":1}", "{\"a\":2,\"b\":2,\"c\":2}" }
};


/* each filter's terms, as their places among its comparisons */

static const char  *ngx_snorky_filter_terms[][2] = {
    { "[\"==\",\"a\",1]", "0" },
    { "[\"<\",\"a\",1]", "" },
    { "[\"not\",[\"==\",\"a\",1]]", "" },
    { "[\"not\",[\"not\",[\"==\",\"a\",1]]]", "" },
    { "[\"or\",[\"==\",\"a\",1]]", "" },
    { "[\"and\",[\"==\",\"a\",1]]", "0" },
    { "[\"and\",[\"<\",\"a\",1],[\"==\",\"a\",1]]", "1" },
    { "[\"and\",[\"==\",\"a\",1],[\"or\",[\"==\",\"b\",1]],"
      "[\"and\",[\">=\",\"a\",1],[\"==\",\"c\",1]],"
      "[\"not\",[\"and\",[\"==\",\"d\",1]]],[\"==\",\"e\",1]]", "035" },
    { "[\"or\",[\"and\",[\"==\",\"a\",1]],[\"==\",\"b\",1]]", "" }
};


#define ngx_snorky_filter_n(list)  (sizeof(list) / sizeof((list)[0]))


/* in memory of exactly this size, for the sanitizers */

static ngx_str_t
ngx_snorky_filter_copy(const char *text, size_t len)
{
    ngx_str_t  copy;

    copy.len = len;
    copy.data = malloc(len);
    memcpy(copy.data, text, len);

    return copy;
}


/* the filter of a text that is gone when it has been read */

static ngx_int_t
ngx_snorky_filter_test_create(ngx_snorky_filter_test_t *t, ngx_str_t *text)
{
    ngx_int_t  rc;
    ngx_log_t  log;
    ngx_str_t  copy;

    log.log_level = 0;
    t->filter = NULL;

    copy = ngx_snorky_filter_copy((char *) text->data, text->len);
    rc = ngx_snorky_filter_create(t->json, &copy, &log, &t->filter);
    free(copy.data);

    if (rc != NGX_OK && t->filter) {
        tap_ok(0, "what has failed leaves no filter");
    }

    return rc;
}


static ngx_int_t
ngx_snorky_filter_test_create_str(ngx_snorky_filter_test_t *t,
    const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return ngx_snorky_filter_test_create(t, &s);
}


static ngx_int_t
ngx_snorky_filter_test_value(void *ctx, ngx_uint_t n, ngx_str_t *value)
{
    ngx_snorky_filter_test_t *t = ctx;

    ngx_uint_t                       count;
    ngx_snorky_json_node_t          *node;
    ngx_snorky_filter_comparison_t  *c;

    t->asked++;

    if (t->asked == t->failing) {
        return NGX_ERROR;
    }

    c = ngx_snorky_filter_comparisons(t->filter, &count);

    if (n >= count) {
        tap_ok(0, "no more than the filter's comparisons are asked for");
        return NGX_ERROR;
    }

    node = ngx_snorky_filter_find(t->json, t->root, &c[n].path);

    if (node == NULL) {
        return NGX_DECLINED;
    }

    return ngx_snorky_json_key(t->keys, &node->value.text,
                               NGX_SNORKY_JSON_ANY_DEPTH, value);
}


/* NGX_ABORT: the document is no JSON */

static ngx_int_t
ngx_snorky_filter_test_match(ngx_snorky_filter_test_t *t, ngx_str_t *document)
{
    t->asked = 0;

    if (ngx_snorky_json_parse(t->json, document, NGX_SNORKY_JSON_ANY_DEPTH,
                              NGX_SNORKY_JSON_KEEP_ALL, &t->root)
        != NGX_OK)
    {
        return NGX_ABORT;
    }

    return ngx_snorky_filter_match(t->filter, ngx_snorky_filter_test_value,
                                   t);
}


static ngx_int_t
ngx_snorky_filter_test_match_str(ngx_snorky_filter_test_t *t,
    const char *document)
{
    ngx_int_t  rc;
    ngx_str_t  copy;

    copy = ngx_snorky_filter_copy(document, strlen(document));
    rc = ngx_snorky_filter_test_match(t, &copy);
    free(copy.data);

    return rc;
}


static void
ngx_snorky_filter_test_forms(ngx_snorky_filter_test_t *t,
    ngx_snorky_filter_model_t *model)
{
    ngx_str_t    text;
    ngx_uint_t   i, n;
    const char  *s;

    n = ngx_snorky_filter_n(ngx_snorky_filter_well_formed);

    for (i = 0; i < n; i++) {
        s = ngx_snorky_filter_well_formed[i];

        text.data = (u_char *) s;
        text.len = strlen(s);

        tap_is_int(ngx_snorky_filter_test_create_str(t, s), NGX_OK,
                   "a filter: %s", s);
        tap_ok(ngx_snorky_filter_model_valid(model, &text),
               "... also by the book");

        if (t->filter) {
            ngx_snorky_filter_destroy(t->filter);
        }
    }

    n = ngx_snorky_filter_n(ngx_snorky_filter_malformed);

    for (i = 0; i < n; i++) {
        s = ngx_snorky_filter_malformed[i];

        text.data = (u_char *) s;
        text.len = strlen(s);

        tap_is_int(ngx_snorky_filter_test_create_str(t, s), NGX_DECLINED,
                   "malformed %u: %s", (unsigned) i, s);
        tap_ok(!ngx_snorky_filter_model_valid(model, &text),
               "... also by the book");
    }
}


static void
ngx_snorky_filter_test_depth(ngx_snorky_filter_test_t *t, ngx_uint_t depth,
    const char *op, ngx_int_t expected)
{
    u_char      *text, *p;
    ngx_str_t    s;
    ngx_uint_t   i;

    text = malloc(depth * 8 + 32);
    p = text;

    for (i = 1; i < depth; i++) {
        p += sprintf((char *) p, "[\"%s\",", op);
    }

    p += sprintf((char *) p, "[\"==\",\"a\",1]");

    for (i = 1; i < depth; i++) {
        *p++ = ']';
    }

    s.data = text;
    s.len = p - text;

    tap_is_int(ngx_snorky_filter_test_create(t, &s), expected,
               "\"%s\" that nests to %u is %s", op, (unsigned) depth,
               expected == NGX_OK ? "a filter" : "refused");

    if (t->filter) {
        tap_is_int(ngx_snorky_filter_test_match_str(t, "{\"a\":1}"),
                   strcmp(op, "not") || depth % 2 ? NGX_OK : NGX_DECLINED,
                   "... and understood");
        ngx_snorky_filter_destroy(t->filter);
    }

    free(text);
}


static void
ngx_snorky_filter_test_cases(ngx_snorky_filter_test_t *t)
{
    ngx_uint_t    i, n;
    const char  **c;

    n = ngx_snorky_filter_n(ngx_snorky_filter_cases);

    for (i = 0; i < n; i++) {
        c = ngx_snorky_filter_cases[i];

        tap_is_int(ngx_snorky_filter_test_create_str(t, c[0]), NGX_OK,
                   "filter %u: %s", (unsigned) i, c[0]);

        if (t->filter == NULL) {
            continue;
        }

        tap_is_int(ngx_snorky_filter_test_match_str(t, c[1]), NGX_OK,
                   "... matches %s", c[1]);
        tap_is_int(ngx_snorky_filter_test_match_str(t, c[2]),
                   strcmp(c[2], "not JSON") ? NGX_DECLINED : NGX_ABORT,
                   "... does not match %s", c[2]);

        ngx_snorky_filter_destroy(t->filter);
    }
}


static void
ngx_snorky_filter_test_terms(ngx_snorky_filter_test_t *t)
{
    char                             found[16], *p;
    ngx_uint_t                       i, k, n;
    ngx_snorky_filter_comparison_t  *c;

    for (i = 0; i < ngx_snorky_filter_n(ngx_snorky_filter_terms); i++) {

        ngx_snorky_filter_test_create_str(t, ngx_snorky_filter_terms[i][0]);
        c = ngx_snorky_filter_comparisons(t->filter, &n);

        p = found;

        for (k = 0; k < n; k++) {
            if (c[k].term) {
                *p++ = (char) ('0' + k);
            }
        }

        tap_is_str(found, p - found, ngx_snorky_filter_terms[i][1],
                   "the terms of %s", ngx_snorky_filter_terms[i][0]);

        ngx_snorky_filter_destroy(t->filter);
    }

    ngx_snorky_filter_test_create_str(t,
                        " [\"and\", [\"<\", \"\\u0061.b\\n\", 1.50], "
                        "[\"==\", \"c\", {\"y\" : \"\\u0041\", \"x\":0e5}]]");

    c = ngx_snorky_filter_comparisons(t->filter, &n);

    tap_is_int(n, 2, "a filter's comparisons are known");
    tap_is_str(c[0].path.data, c[0].path.len, "a.b\n",
               "... by their paths, without escapes");
    tap_is_str(c[0].value.data, c[0].value.len, "15e-1",
               "... and their values' keys");
    tap_is_str(c[1].path.data, c[1].path.len, "c", "... the second one too");
    tap_is_str(c[1].value.data, c[1].value.len, "{\"x\":0,\"y\":\"A\"}",
               "... however much there is to it");

    tap_is_int(ngx_snorky_filter_path_depth(&c[0].path), 2, "a.b has 2 names");
    tap_is_int(ngx_snorky_filter_path_depth(&c[1].path), 1, "c has one");

    tap_is_str(ngx_snorky_filter_text(t->filter)->data,
               ngx_snorky_filter_text(t->filter)->len,
               "[\"and\",[\"<\",\"a.b\\n\",15e-1],"
               "[\"==\",\"c\",{\"x\":0,\"y\":\"A\"}]]",
               "equal filters have one text");

    ngx_snorky_filter_destroy(t->filter);
}


/* values are asked for only as long as they matter */

static void
ngx_snorky_filter_test_asks(ngx_snorky_filter_test_t *t, const char *filter,
    const char *document, ngx_uint_t asked)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    ngx_snorky_filter_test_create_str(t, filter);

    ngx_snorky_filter_test_match_str(t, document);
    tap_is_int(t->asked, asked, "%s of %s asks for %u values", filter,
               document, (unsigned) asked);

    for (i = 1; i <= asked; i++) {
        t->failing = i;
        rc = ngx_snorky_filter_test_match_str(t, document);

        tap_is_int(rc, NGX_ERROR, "... and fails with the %u. of them",
                   (unsigned) i);
        tap_is_int(t->asked, i, "... at once");
    }

    t->failing = 0;

    ngx_snorky_filter_destroy(t->filter);
}


static void
ngx_snorky_filter_test_random(ngx_snorky_filter_test_t *t,
    ngx_snorky_filter_model_t *model)
{
    u_char      *buf, *p;
    ngx_int_t    rc;
    ngx_str_t    text, document;
    ngx_uint_t   i, k, wrong, matched, valid, misread;

    buf = malloc(2 * NGX_SNORKY_FILTER_MODEL_TEXT);

    wrong = 0;
    matched = 0;
    valid = 0;
    misread = 0;

    for (i = 0; i < 20000; i++) {
        text.data = buf;
        text.len = ngx_snorky_filter_model_filter(buf, 3) - buf;

        /* one of two has a byte changed, or none that matters */

        if (i % 2) {
            buf[tap_random_below(text.len)] =
                                   (u_char) "[]\",:a1.= "[tap_random_below(10)];
        }

        rc = ngx_snorky_filter_model_valid(model, &text) ? NGX_OK
                                                         : NGX_DECLINED;

        if (ngx_snorky_filter_test_create(t, &text) != rc) {
            misread++;
            tap_dump("filter", text.data, text.len);
        }

        if (t->filter == NULL) {
            continue;
        }

        valid++;
        p = buf + NGX_SNORKY_FILTER_MODEL_TEXT;

        for (k = 0; k < 8; k++) {
            document.data = p;
            document.len = ngx_snorky_filter_model_document(p, 3) - p;

            rc = ngx_snorky_filter_model_match(model, &text, &document)
                 ? NGX_OK : NGX_DECLINED;

            matched += rc == NGX_OK;

            if (ngx_snorky_filter_test_match(t, &document) != rc) {
                wrong++;
                tap_dump("filter", text.data, text.len);
                tap_dump("document", document.data, document.len);
            }
        }

        ngx_snorky_filter_destroy(t->filter);
    }

    tap_is_int(misread, 0, "random filters are accepted by the book");
    tap_is_int(wrong, 0, "they match what they should");
    tap_ok(valid > 10000 && valid < 19000, "%u of 20000 were filters",
           (unsigned) valid);
    tap_ok(matched > valid && matched < 7 * valid, "%u times one matched",
           (unsigned) matched);

    free(buf);
}


/* a filter with many arguments */

static void
ngx_snorky_filter_test_many(ngx_snorky_filter_test_t *t)
{
    u_char      *p;
    ngx_str_t    text;
    ngx_uint_t   i, n;

    text.data = malloc(100000 * 32);

    p = text.data + sprintf((char *) text.data, "[\"or\"");

    for (i = 0; i < 100000; i++) {
        p += sprintf((char *) p, ",[\"==\",\"a\",%u]", (unsigned) i);
    }

    *p++ = ']';
    text.len = p - text.data;

    tap_is_int(ngx_snorky_filter_test_create(t, &text), NGX_OK,
               "a filter of 100000 comparisons");

    (void) ngx_snorky_filter_comparisons(t->filter, &n);
    tap_is_int(n, 100000, "... which are known");

    tap_is_int(ngx_snorky_filter_test_match_str(t, "{\"a\":99999}"), NGX_OK,
               "... matches by the last of them");
    tap_is_int(ngx_snorky_filter_test_match_str(t, "{\"a\":100000}"),
               NGX_DECLINED, "... and not without");

    ngx_snorky_filter_destroy(t->filter);
    free(text.data);
}


static void
ngx_snorky_filter_test_memory(void)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_snorky_filter_test_t   t;

    for (i = 1; /* void */ ; i++) {
        memset(&t, 0, sizeof(t));
        t.json = ngx_snorky_json_create();

        ngx_snorky_shim_fail(i);
        rc = ngx_snorky_filter_test_create_str(&t,
                                   "[\"and\", [\"==\",\"a\",1.0]]");
        ngx_snorky_shim_fail(0);

        ngx_snorky_json_destroy(t.json);

        if (rc == NGX_OK) {
            break;
        }

        tap_is_int(rc, NGX_ERROR, "without allocation %u there is no filter",
                   (unsigned) i);
    }

    tap_ok(i > 4, "there were %u allocations", (unsigned) i - 1);

    ngx_snorky_filter_destroy(t.filter);
}


int
main(void)
{
    ngx_snorky_filter_test_t   *t;
    ngx_snorky_filter_model_t   model;

    tap_seed();

    t = calloc(1, sizeof(*t));
    t->json = ngx_snorky_json_create();
    t->keys = ngx_snorky_json_create();

    ngx_snorky_filter_model_create(&model);

    ngx_snorky_filter_test_forms(t, &model);

    ngx_snorky_filter_test_depth(t, 1, "and", NGX_OK);
    ngx_snorky_filter_test_depth(t, 32, "and", NGX_OK);
    ngx_snorky_filter_test_depth(t, 33, "and", NGX_DECLINED);
    ngx_snorky_filter_test_depth(t, 31, "not", NGX_OK);
    ngx_snorky_filter_test_depth(t, 32, "not", NGX_OK);
    ngx_snorky_filter_test_depth(t, 33, "not", NGX_DECLINED);
    ngx_snorky_filter_test_depth(t, 34, "or", NGX_DECLINED);
    ngx_snorky_filter_test_depth(t, 60000, "or", NGX_DECLINED);

    ngx_snorky_filter_test_cases(t);
    ngx_snorky_filter_test_terms(t);

    ngx_snorky_filter_test_asks(t, "[\"==\",\"a\",1]", "{}", 1);
    ngx_snorky_filter_test_asks(t,
        "[\"and\",[\"==\",\"a\",1],[\"==\",\"b\",1],[\"==\",\"a\",1]]",
        "{\"a\":1}", 2);
    ngx_snorky_filter_test_asks(t,
        "[\"or\",[\"==\",\"a\",1],[\"==\",\"b\",1],[\"==\",\"c\",1]]",
        "{\"b\":1}", 2);
    ngx_snorky_filter_test_asks(t,
        "[\"not\",[\"or\",[\"not\",[\"==\",\"a\",1]],[\"==\",\"b\",1]]]",
        "{\"a\":1}", 2);

    ngx_snorky_filter_test_random(t, &model);
    ngx_snorky_filter_test_many(t);

    ngx_snorky_filter_model_destroy(&model);

    ngx_snorky_json_destroy(t->json);
    ngx_snorky_json_destroy(t->keys);
    free(t);

    ngx_snorky_filter_test_memory();

    return tap_done();
}
