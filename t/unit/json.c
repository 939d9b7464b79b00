
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * JSON: what is accepted and what is not, the nodes and their slices, and
 * names.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "tap.h"
#include "json_oracle.h"


typedef struct {
    const char  *text;
    size_t       len;
} ngx_snorky_json_text_t;

#define ngx_snorky_json_text(text)  { text, sizeof(text) - 1 }


static ngx_snorky_json_text_t  ngx_snorky_json_valid[] = {
    ngx_snorky_json_text("null"),
    ngx_snorky_json_text("true"),
    ngx_snorky_json_text("false"),
    ngx_snorky_json_text("0"),
    ngx_snorky_json_text("-0"),
    ngx_snorky_json_text("7"),
    ngx_snorky_json_text("-12"),
    ngx_snorky_json_text("0.5"),
    ngx_snorky_json_text("-0.0"),
    ngx_snorky_json_text("1e5"),
    ngx_snorky_json_text("1E+5"),
    ngx_snorky_json_text("1.25e-0005"),
    ngx_snorky_json_text("0e0"),
    ngx_snorky_json_text("1e400"),
    ngx_snorky_json_text("123456789012345678901234567890"),
    ngx_snorky_json_text(" \t\r\n1\n"),
    ngx_snorky_json_text("1\r\n \t"),
    ngx_snorky_json_text("\"\""),
    ngx_snorky_json_text("\" \""),
    ngx_snorky_json_text("\"/*\""),
    ngx_snorky_json_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00ff\\uABCD\""),
    ngx_snorky_json_text("\"\\u0000\""),
    ngx_snorky_json_text("\"\x7f\""),
    ngx_snorky_json_text("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""),
    ngx_snorky_json_text("\"\\ud83d\\ude00\""),
    ngx_snorky_json_text("\"\\ud800\""),
    ngx_snorky_json_text("\"\\udc00\\ud800\""),
    ngx_snorky_json_text("\"\\ud800\\n\\ud800\\u0041\""),
    ngx_snorky_json_text("[]"),
    ngx_snorky_json_text("[ ]"),
    ngx_snorky_json_text("{}"),
    ngx_snorky_json_text("{ \n }"),
    ngx_snorky_json_text("[[],[[]],{}]"),
    ngx_snorky_json_text("[1,\"a\" , null,true,false,{\"\":[]}]"),
    ngx_snorky_json_text("{\"a\":1,\"a\":2}"),
    ngx_snorky_json_text("{\"\":{\"\":{}}}"),
    ngx_snorky_json_text("\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } }\t")
};


static ngx_snorky_json_text_t  ngx_snorky_json_invalid[] = {

    /* nothing, or not all */
    ngx_snorky_json_text(""),
    ngx_snorky_json_text(" "),
    ngx_snorky_json_text("\n\t\r "),
    ngx_snorky_json_text("["),
    ngx_snorky_json_text("{"),
    ngx_snorky_json_text("[1"),
    ngx_snorky_json_text("[1,"),
    ngx_snorky_json_text("{\"a\""),
    ngx_snorky_json_text("{\"a\":"),
    ngx_snorky_json_text("{\"a\":1"),
    ngx_snorky_json_text("[[]"),
    ngx_snorky_json_text("\""),
    ngx_snorky_json_text("\"abc"),
    ngx_snorky_json_text("\"abc\\"),
    ngx_snorky_json_text("\"abc\\\""),
    ngx_snorky_json_text("\"\\u00"),
    ngx_snorky_json_text("t"),
    ngx_snorky_json_text("tru"),
    ngx_snorky_json_text("nul"),

    /* too much */
    ngx_snorky_json_text("1 2"),
    ngx_snorky_json_text("1,"),
    ngx_snorky_json_text(",1"),
    ngx_snorky_json_text("{}{}"),
    ngx_snorky_json_text("[] []"),
    ngx_snorky_json_text("{},"),
    ngx_snorky_json_text("[]]"),
    ngx_snorky_json_text("{}}"),
    ngx_snorky_json_text("null null"),
    ngx_snorky_json_text("nullx"),
    ngx_snorky_json_text("\"a\"\"b\""),
    ngx_snorky_json_text("\"a\"b"),
    ngx_snorky_json_text("{} 1"),
    ngx_snorky_json_text("{} 12e"),
    ngx_snorky_json_text("{} -"),
    ngx_snorky_json_text("{} tr"),
    ngx_snorky_json_text("{} \"abc"),
    ngx_snorky_json_text("{}\""),
    ngx_snorky_json_text("1\0"),
    ngx_snorky_json_text("{}\0"),

    /* white space that is none */
    ngx_snorky_json_text("\v1"),
    ngx_snorky_json_text("\f1"),
    ngx_snorky_json_text("1\v"),
    ngx_snorky_json_text("1\f"),
    ngx_snorky_json_text("[\v]"),
    ngx_snorky_json_text("[\f1]"),
    ngx_snorky_json_text("[1\v,2]"),
    ngx_snorky_json_text("[1,\f2]"),
    ngx_snorky_json_text("[1 \v ]"),
    ngx_snorky_json_text("{\f\"a\":1}"),
    ngx_snorky_json_text("{\"a\"\v:1}"),
    ngx_snorky_json_text("{\"a\":\v1}"),
    ngx_snorky_json_text("{\"a\":1\f}"),
    ngx_snorky_json_text("{} \f"),
    ngx_snorky_json_text("\xa0" "1"),
    ngx_snorky_json_text("\xc2\xa0" "1"),
    ngx_snorky_json_text("\xef\xbb\xbf" "1"),
    ngx_snorky_json_text("\xe2\x80\xa8[]"),

    /* commas, colons, brackets */
    ngx_snorky_json_text("[,]"),
    ngx_snorky_json_text("[1,]"),
    ngx_snorky_json_text("[,1]"),
    ngx_snorky_json_text("[1,,2]"),
    ngx_snorky_json_text("[1 2]"),
    ngx_snorky_json_text("[1:2]"),
    ngx_snorky_json_text("[:1]"),
    ngx_snorky_json_text("{,}"),
    ngx_snorky_json_text("{\"a\":1,}"),
    ngx_snorky_json_text("{,\"a\":1}"),
    ngx_snorky_json_text("{\"a\":1 \"b\":2}"),
    ngx_snorky_json_text("{\"a\",1}"),
    ngx_snorky_json_text("{\"a\" 1}"),
    ngx_snorky_json_text("{\"a\"::1}"),
    ngx_snorky_json_text("{\"a\"}"),
    ngx_snorky_json_text("{\"a\":}"),
    ngx_snorky_json_text("{:1}"),
    ngx_snorky_json_text("{a:1}"),
    ngx_snorky_json_text("{1:1}"),
    ngx_snorky_json_text("{null:1}"),
    ngx_snorky_json_text("{[]:1}"),
    ngx_snorky_json_text("{'a':1}"),
    ngx_snorky_json_text("[}"),
    ngx_snorky_json_text("{]"),
    ngx_snorky_json_text("[{]}"),
    ngx_snorky_json_text("]"),
    ngx_snorky_json_text("}"),
    ngx_snorky_json_text(":"),
    ngx_snorky_json_text(","),

    /* comments */
    ngx_snorky_json_text("/**/1"),
    ngx_snorky_json_text("1/**/"),
    ngx_snorky_json_text("1//"),
    ngx_snorky_json_text("[1,/* 2 */3]"),
    ngx_snorky_json_text("{} // end\n"),
    ngx_snorky_json_text("# 1\n1"),

    /* words */
    ngx_snorky_json_text("NaN"),
    ngx_snorky_json_text("nan"),
    ngx_snorky_json_text("Infinity"),
    ngx_snorky_json_text("-Infinity"),
    ngx_snorky_json_text("[-Inf]"),
    ngx_snorky_json_text("undefined"),
    ngx_snorky_json_text("True"),
    ngx_snorky_json_text("NULL"),
    ngx_snorky_json_text("'a'"),
    ngx_snorky_json_text("a"),
    ngx_snorky_json_text("\\u0031"),

    /* numbers */
    ngx_snorky_json_text("-"),
    ngx_snorky_json_text("+1"),
    ngx_snorky_json_text("--1"),
    ngx_snorky_json_text("- 1"),
    ngx_snorky_json_text("01"),
    ngx_snorky_json_text("00"),
    ngx_snorky_json_text("-01"),
    ngx_snorky_json_text("[01]"),
    ngx_snorky_json_text("1."),
    ngx_snorky_json_text("[1.]"),
    ngx_snorky_json_text(".5"),
    ngx_snorky_json_text("-.5"),
    ngx_snorky_json_text("1.e1"),
    ngx_snorky_json_text("1e"),
    ngx_snorky_json_text("1e+"),
    ngx_snorky_json_text("[1e]"),
    ngx_snorky_json_text("1e1.5"),
    ngx_snorky_json_text("1.2.3"),
    ngx_snorky_json_text("1e1e1"),
    ngx_snorky_json_text("0x10"),
    ngx_snorky_json_text("1_000"),
    ngx_snorky_json_text("1a"),
    ngx_snorky_json_text("1\"\""),

    /* strings */
    ngx_snorky_json_text("\"\n\""),
    ngx_snorky_json_text("\"\t\""),
    ngx_snorky_json_text("\"\0\""),
    ngx_snorky_json_text("\"\x1f\""),
    ngx_snorky_json_text("\"12345678\x01\""),
    ngx_snorky_json_text("\"\\a\""),
    ngx_snorky_json_text("\"\\x41\""),
    ngx_snorky_json_text("\"\\U0041\""),
    ngx_snorky_json_text("\"\\'\""),
    ngx_snorky_json_text("\"\\0\""),
    ngx_snorky_json_text("\"\\\n\""),
    ngx_snorky_json_text("\"\\u\""),
    ngx_snorky_json_text("\"\\u004\""),
    ngx_snorky_json_text("\"\\u004g\""),
    ngx_snorky_json_text("\"\\u 041\""),
    ngx_snorky_json_text("\"\\ud800\\u00\""),
    ngx_snorky_json_text("{\"\\x\":1}"),
    ngx_snorky_json_text("{\"a\nb\":1}"),

    /* UTF-8 */
    ngx_snorky_json_text("\"\x80\""),
    ngx_snorky_json_text("\"\xc3\""),
    ngx_snorky_json_text("\"caf\xe9\""),
    ngx_snorky_json_text("\"\xc0\xaf\""),
    ngx_snorky_json_text("\"\xe0\x80\xaf\""),
    ngx_snorky_json_text("\"\xed\xa0\x80\""),
    ngx_snorky_json_text("\"\xf4\x90\x80\x80\""),
    ngx_snorky_json_text("\"\xff\""),
    ngx_snorky_json_text("{\"\xff\":1}"),
    ngx_snorky_json_text("[\xff]"),
    ngx_snorky_json_text("1\xff")
};


/*
 * Parses a copy of exactly this size, so that a sanitizer sees what is read;
 * the nodes are not looked at.
 */

static ngx_int_t
ngx_snorky_json_test_parse(ngx_snorky_json_t *json, const void *text,
    size_t len, ngx_uint_t max_depth)
{
    ngx_int_t                rc;
    ngx_str_t                copy;
    ngx_snorky_json_node_t  *root;

    copy.len = len;
    copy.data = malloc(len);
    memcpy(copy.data, text, len);

    rc = ngx_snorky_json_parse(json, &copy, max_depth,
                               NGX_SNORKY_JSON_KEEP_ALL, &root);

    free(copy.data);

    return rc;
}


static ngx_int_t
ngx_snorky_json_test_key(ngx_snorky_json_t *json, const void *text,
    size_t len, ngx_uint_t max_depth)
{
    ngx_int_t  rc;
    ngx_str_t  copy, key;

    copy.len = len;
    copy.data = malloc(len);
    memcpy(copy.data, text, len);

    rc = ngx_snorky_json_key(json, &copy, max_depth, &key);

    free(copy.data);

    return rc;
}


static void
ngx_snorky_json_test_grammar(ngx_snorky_json_t *json)
{
    ngx_uint_t               i, n;
    ngx_snorky_json_text_t  *t;

    n = sizeof(ngx_snorky_json_valid) / sizeof(ngx_snorky_json_valid[0]);

    for (i = 0; i < n; i++) {
        t = &ngx_snorky_json_valid[i];

        if (!tap_ok(ngx_snorky_json_test_parse(json, t->text, t->len, 8)
                    == NGX_OK
                    && ngx_snorky_json_test_key(json, t->text, t->len, 8)
                       == NGX_OK
                    && ngx_snorky_json_oracle_valid((u_char *) t->text,
                                                    t->len, 8),
                    "valid text %u is accepted", (unsigned) i))
        {
            tap_dump("text", t->text, t->len);
        }
    }

    n = sizeof(ngx_snorky_json_invalid) / sizeof(ngx_snorky_json_invalid[0]);

    for (i = 0; i < n; i++) {
        t = &ngx_snorky_json_invalid[i];

        if (!tap_ok(ngx_snorky_json_test_parse(json, t->text, t->len, 8)
                    == NGX_DECLINED
                    && ngx_snorky_json_test_key(json, t->text, t->len, 8)
                       == NGX_DECLINED
                    && !ngx_snorky_json_oracle_valid((u_char *) t->text,
                                                     t->len, 8),
                    "invalid text %u is declined", (unsigned) i))
        {
            tap_dump("text", t->text, t->len);
        }
    }
}


/* valid texts with some bytes changed: the parser and the oracle agree */

static void
ngx_snorky_json_test_mutations(ngx_snorky_json_t *json)
{
    size_t                   len, cut;
    u_char                   text[64];
    ngx_int_t                parsed, keyed, rc;
    ngx_uint_t               i, n, disagree, valid;
    ngx_snorky_json_text_t  *t;
    static const char        bytes[] = "{}[],:\"\\ \t\n\r\v\f0123456789-+.eE"
                                       "utrfalsnbd/*\x01\x1f\x7f\x80\xbf\xc3"
                                       "\xe2\xed\xf0\xff";

    n = sizeof(ngx_snorky_json_valid) / sizeof(ngx_snorky_json_valid[0]);

    disagree = 0;
    valid = 0;

    for (i = 0; i < 200000; i++) {
        t = &ngx_snorky_json_valid[tap_random_below(n)];

        len = t->len;
        memcpy(text, t->text, len);

        switch (tap_random_below(4)) {
        case 0:                                     /* less */
            len = tap_random_below(len + 1);
            break;
        case 1:                                     /* more */
            text[len++] = bytes[tap_random_below(sizeof(bytes))];
            break;
        case 2:                                     /* something in between */
            cut = tap_random_below(len + 1);
            memmove(text + cut + 1, text + cut, len - cut);
            text[cut] = bytes[tap_random_below(sizeof(bytes))];
            len++;
            break;
        default:                                    /* others */
            do {
                text[tap_random_below(len)] =
                                     bytes[tap_random_below(sizeof(bytes))];
            } while (tap_random_below(2));
        }

        rc = ngx_snorky_json_oracle_valid(text, len, 8) ? NGX_OK
                                                        : NGX_DECLINED;
        parsed = ngx_snorky_json_test_parse(json, text, len, 8);
        keyed = ngx_snorky_json_test_key(json, text, len, 8);

        valid += rc == NGX_OK;

        if (parsed != rc || keyed != rc) {
            disagree++;
            tap_diag("oracle %d, parse %d, key %d",
                     (int) rc, (int) parsed, (int) keyed);
            tap_dump("text", text, len);
        }
    }

    tap_is_int(disagree, 0, "200000 changed texts are judged right");
    tap_ok(valid > 10000 && valid < 190000, "some of them were valid");
}


static ngx_snorky_json_node_t *
ngx_snorky_json_test_root(ngx_snorky_json_t *json, const char *text,
    ngx_uint_t keep)
{
    ngx_str_t                t;
    ngx_snorky_json_node_t  *root;

    t.data = (u_char *) text;
    t.len = strlen(text);
    root = NULL;

    if (ngx_snorky_json_parse(json, &t, 64, keep, &root) != NGX_OK) {
        return NULL;
    }

    return root;
}


/* the nodes below, each as TYPE DEPTH and its text */

static void
ngx_snorky_json_test_list(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_uint_t depth, char *list)
{
    ngx_snorky_json_node_t  *child;

    sprintf(list + strlen(list), "%c%u %.*s|", "NFT#SAO"[node->value.type],
            (unsigned) depth, (int) node->value.text.len,
            (char *) node->value.text.data);

    for (child = ngx_snorky_json_child(json, node);
         child;
         child = ngx_snorky_json_next(json, child))
    {
        ngx_snorky_json_test_list(json, child, depth + 1, list);
    }
}


static void
ngx_snorky_json_test_is_tree(ngx_snorky_json_t *json, const char *text,
    ngx_uint_t keep, const char *expected, const char *name)
{
    char                     list[4096];
    ngx_snorky_json_node_t  *root;

    root = ngx_snorky_json_test_root(json, text, keep);
    list[0] = '\0';

    if (root) {
        ngx_snorky_json_test_list(json, root, 0, list);
    }

    tap_is_str(list, strlen(list), expected, "%s", name);
}


static void
ngx_snorky_json_test_nodes(ngx_snorky_json_t *json)
{
    const char  *text;

    ngx_snorky_json_test_is_tree(json, " 1 ", 0, "#0 1|",
                                 "a number alone, without the white space");
    ngx_snorky_json_test_is_tree(json, "-1.5e3", 0, "#0 -1.5e3|",
                                 "a number that ends with the text");
    ngx_snorky_json_test_is_tree(json, "\t\"a\\\"\\\\\"\n", 0,
                                 "S0 \"a\\\"\\\\\"|",
                                 "a string with escapes");
    ngx_snorky_json_test_is_tree(json, " null", 5, "N0 null|", "null");
    ngx_snorky_json_test_is_tree(json, "true ", 5, "T0 true|", "true");
    ngx_snorky_json_test_is_tree(json, "false", 5, "F0 false|", "false");
    ngx_snorky_json_test_is_tree(json, " [ ] ", 5, "A0 [ ]|",
                                 "an empty array");
    ngx_snorky_json_test_is_tree(json, " {\n} ", 5, "O0 {\n}|",
                                 "an empty object");

    text = " { \"a\" : [ 1 ,[true,{ }], \"\\u0041\" ],"
           "\"b\":{\"c\":null , \"d\":[[]]} ,\"\":0 } ";

    ngx_snorky_json_test_is_tree(json, text, 0,
        "O0 { \"a\" : [ 1 ,[true,{ }], \"\\u0041\" ],"
        "\"b\":{\"c\":null , \"d\":[[]]} ,\"\":0 }|",
        "keep 0 has the root alone");

    ngx_snorky_json_test_is_tree(json, text, 1,
        "O0 { \"a\" : [ 1 ,[true,{ }], \"\\u0041\" ],"
        "\"b\":{\"c\":null , \"d\":[[]]} ,\"\":0 }|"
        "S1 \"a\"|A1 [ 1 ,[true,{ }], \"\\u0041\" ]|"
        "S1 \"b\"|O1 {\"c\":null , \"d\":[[]]}|"
        "S1 \"\"|#1 0|",
        "keep 1 has the members");

    ngx_snorky_json_test_is_tree(json, text, 2,
        "O0 { \"a\" : [ 1 ,[true,{ }], \"\\u0041\" ],"
        "\"b\":{\"c\":null , \"d\":[[]]} ,\"\":0 }|"
        "S1 \"a\"|A1 [ 1 ,[true,{ }], \"\\u0041\" ]|"
        "#2 1|A2 [true,{ }]|S2 \"\\u0041\"|"
        "S1 \"b\"|O1 {\"c\":null , \"d\":[[]]}|"
        "S2 \"c\"|N2 null|S2 \"d\"|A2 [[]]|"
        "S1 \"\"|#1 0|",
        "keep 2 has theirs");

    ngx_snorky_json_test_is_tree(json, text, NGX_SNORKY_JSON_KEEP_ALL,
        "O0 { \"a\" : [ 1 ,[true,{ }], \"\\u0041\" ],"
        "\"b\":{\"c\":null , \"d\":[[]]} ,\"\":0 }|"
        "S1 \"a\"|A1 [ 1 ,[true,{ }], \"\\u0041\" ]|"
        "#2 1|A2 [true,{ }]|T3 true|O3 { }|S2 \"\\u0041\"|"
        "S1 \"b\"|O1 {\"c\":null , \"d\":[[]]}|"
        "S2 \"c\"|N2 null|S2 \"d\"|A2 [[]]|A3 []|"
        "S1 \"\"|#1 0|",
        "everything can be kept");
}


static void
ngx_snorky_json_test_is_member(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *object, const char *name, const char *expected)
{
    ngx_str_t                s;
    ngx_snorky_json_node_t  *node;

    s.data = (u_char *) name;
    s.len = strlen(name);

    node = ngx_snorky_json_member(json, object, &s);

    if (expected == NULL) {
        tap_ok(node == NULL, "there is no member \"%s\"", name);
        return;
    }

    tap_is_str(node ? node->value.text.data : (u_char *) "",
               node ? node->value.text.len : 0, expected,
               "the member \"%s\" is %s", name, expected);
}


static void
ngx_snorky_json_test_members(ngx_snorky_json_t *json)
{
    ngx_str_t                empty;
    ngx_snorky_json_node_t  *root, *node;

    root = ngx_snorky_json_test_root(json,
        "{\"a\":1,\"b\":{\"x\":\"y\"},\"a\":2,\"\\u0063\":3,\"d\\u0064\":4,"
        "\"a\\\\\":5,\"\\ud83d\\ude00\":6,\"\":7,\"\\u0061\":8,\"e\":9,"
        "\"e\":null,\"\xc3\xa9\":10,\"\\u00E8\":11}", 1);

    ngx_snorky_json_test_is_member(json, root, "a", "8");
    ngx_snorky_json_test_is_member(json, root, "b", "{\"x\":\"y\"}");
    ngx_snorky_json_test_is_member(json, root, "c", "3");
    ngx_snorky_json_test_is_member(json, root, "\\u0063", NULL);
    ngx_snorky_json_test_is_member(json, root, "dd", "4");
    ngx_snorky_json_test_is_member(json, root, "a\\", "5");
    ngx_snorky_json_test_is_member(json, root, "a\\\\", NULL);
    ngx_snorky_json_test_is_member(json, root, "\xf0\x9f\x98\x80", "6");
    ngx_snorky_json_test_is_member(json, root, "", "7");
    ngx_snorky_json_test_is_member(json, root, "e", "null");
    ngx_snorky_json_test_is_member(json, root, "\xc3\xa9", "10");
    ngx_snorky_json_test_is_member(json, root, "\xc3\xa8", "11");
    ngx_snorky_json_test_is_member(json, root, "x", NULL);
    ngx_snorky_json_test_is_member(json, root, "y", NULL);
    ngx_snorky_json_test_is_member(json, root, "aa", NULL);

    ngx_str_null(&empty);
    node = ngx_snorky_json_member(json, root, &empty);
    tap_ok(node != NULL && *node->value.text.data == '7',
           "an empty name may come without data");

    root = ngx_snorky_json_test_root(json, "{\"b\":{\"b\":1},\"c\":2}", 1);
    ngx_snorky_json_test_is_member(json, root, "b", "{\"b\":1}");
    ngx_snorky_json_test_is_member(json, root, "c", "2");

    root = ngx_snorky_json_test_root(json, "{\"a\":1}", 0);
    ngx_snorky_json_test_is_member(json, root, "a", NULL);

    root = ngx_snorky_json_test_root(json, "[\"a\",1]", 1);
    ngx_snorky_json_test_is_member(json, root, "a", NULL);

    root = ngx_snorky_json_test_root(json, "\"a\"", 1);
    ngx_snorky_json_test_is_member(json, root, "a", NULL);

    root = ngx_snorky_json_test_root(json, "{}", 1);
    ngx_snorky_json_test_is_member(json, root, "a", NULL);
}


static void
ngx_snorky_json_test_string_is(const char *string, const char *text,
    size_t len, ngx_uint_t expected)
{
    ngx_str_t           t;
    ngx_snorky_value_t  value;

    value.type = NGX_SNORKY_JSON_STRING;
    value.text.data = (u_char *) string;
    value.text.len = strlen(string);

    t.data = (u_char *) text;
    t.len = len;

    tap_is_int(ngx_snorky_json_string_is(&value, &t), expected,
               "%s is %sthe text of %u bytes", string,
               expected ? "" : "not ", (unsigned) len);
}


static void
ngx_snorky_json_test_strings(void)
{
    ngx_str_t           t;
    ngx_snorky_value_t  value;

    ngx_snorky_json_test_string_is("\"\"", "", 0, 1);
    ngx_snorky_json_test_string_is("\"\"", "a", 1, 0);
    ngx_snorky_json_test_string_is("\"a\"", "", 0, 0);
    ngx_snorky_json_test_string_is("\"a\"", "a", 1, 1);
    ngx_snorky_json_test_string_is("\"a\"", "b", 1, 0);
    ngx_snorky_json_test_string_is("\"ab\"", "a", 1, 0);
    ngx_snorky_json_test_string_is("\"a\"", "ab", 2, 0);
    ngx_snorky_json_test_string_is("\"\\u0041b\"", "Ab", 2, 1);
    ngx_snorky_json_test_string_is("\"\\u0041b\"", "A", 1, 0);
    ngx_snorky_json_test_string_is("\"b\\u0041\"", "b", 1, 0);
    ngx_snorky_json_test_string_is("\"b\\u0041\"", "bA", 2, 1);
    ngx_snorky_json_test_string_is("\"b\\u0041\"", "bB", 2, 0);
    ngx_snorky_json_test_string_is("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                   "\"\\/\b\f\n\r\t", 8, 1);
    ngx_snorky_json_test_string_is("\"a\\\\b\"", "a\\\\b", 4, 0);
    ngx_snorky_json_test_string_is("\"a\\\\b\"", "a\\b", 3, 1);
    ngx_snorky_json_test_string_is("\"\\u00e9\"", "\xc3\xa9", 2, 1);
    ngx_snorky_json_test_string_is("\"\\u20AC\"", "\xe2\x82\xac", 3, 1);
    ngx_snorky_json_test_string_is("\"\\uD83d\\uDe00\"", "\xf0\x9f\x98\x80",
                                   4, 1);
    ngx_snorky_json_test_string_is("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x81",
                                   4, 0);
    ngx_snorky_json_test_string_is("\"\\u0000\"", "", 1, 1);
    ngx_snorky_json_test_string_is("\"\\u0000\"", "", 0, 0);

    /* what would be the surrogate as UTF-8 is none */

    ngx_snorky_json_test_string_is("\"\\ud800\"", "\xed\xa0\x80", 3, 0);
    ngx_snorky_json_test_string_is("\"\\udfff\"", "\xed\xbf\xbf", 3, 0);

    ngx_str_null(&t);
    ngx_str_set(&value.text, "\"\"");
    value.type = NGX_SNORKY_JSON_STRING;
    tap_ok(ngx_snorky_json_string_is(&value, &t),
           "an empty text may come without data");

    ngx_str_set(&value.text, "null");
    ngx_str_set(&t, "ul");
    value.type = NGX_SNORKY_JSON_NULL;
    tap_ok(!ngx_snorky_json_string_is(&value, &t), "null is no string");
}


/* a service makes keys of what the envelope's nodes say */

static void
ngx_snorky_json_test_key_of_node(ngx_snorky_json_t *json)
{
    ngx_str_t                name, key;
    ngx_snorky_json_node_t  *root, *node;

    root = ngx_snorky_json_test_root(json, "{\"a\":[1.0,{\"c\":1,\"b\":2}],"
                                           "\"d\":\"\\u0064\"}", 1);
    ngx_str_set(&name, "a");
    node = ngx_snorky_json_member(json, root, &name);

    tap_is_int(ngx_snorky_json_key(json, &node->value.text, 64, &key), NGX_OK,
               "a node's text makes a key");
    tap_is_str(key.data, key.len, "[1,{\"b\":2,\"c\":1}]",
               "... the right one");

    ngx_snorky_json_test_is_member(json, root, "d", "\"\\u0064\"");

    node = ngx_snorky_json_test_root(json, "[0]", 1);
    tap_is_str(key.data, key.len, "[1,{\"b\":2,\"c\":1}]",
               "a key outlives the next parse");
}


int
main(void)
{
    ngx_snorky_json_t  *json;

    tap_seed();

    json = ngx_snorky_json_create();

    ngx_snorky_json_test_grammar(json);
    ngx_snorky_json_test_mutations(json);
    ngx_snorky_json_test_nodes(json);
    ngx_snorky_json_test_members(json);
    ngx_snorky_json_test_strings();
    ngx_snorky_json_test_key_of_node(json);

    ngx_snorky_json_destroy(json);

    return tap_done();
}
