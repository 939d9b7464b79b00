
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * JSON at its limits: depth, the failure of each allocation, and what a
 * parser keeps from one text to the next.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "nginx_shim.h"
#include "tap.h"


static ngx_int_t
ngx_snorky_json_test_parse(ngx_snorky_json_t *json, const char *text,
    ngx_uint_t max_depth)
{
    ngx_str_t                t;
    ngx_snorky_json_node_t  *root;

    t.data = (u_char *) text;
    t.len = strlen(text);

    return ngx_snorky_json_parse(json, &t, max_depth,
                                 NGX_SNORKY_JSON_KEEP_ALL, &root);
}


/* n times "open", then n times "close" */

static ngx_str_t
ngx_snorky_json_test_deep(ngx_uint_t n, const char *open, const char *close)
{
    u_char     *p;
    ngx_str_t   text;
    ngx_uint_t  i;

    text.len = n * (strlen(open) + strlen(close));
    text.data = malloc(text.len);

    p = text.data;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, open, strlen(open));
    }

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, close, strlen(close));
    }

    return text;
}


static void
ngx_snorky_json_test_depth(ngx_snorky_json_t *json)
{
    ngx_str_t                deep, key;
    ngx_uint_t               n;
    ngx_snorky_json_node_t  *root;

    tap_is_int(ngx_snorky_json_test_parse(json, "1", 0), NGX_OK,
               "a number has depth 0");
    tap_is_int(ngx_snorky_json_test_parse(json, "[]", 0), NGX_DECLINED,
               "an array has not");
    tap_is_int(ngx_snorky_json_test_parse(json, "[1]", 1), NGX_OK,
               "an array of numbers has depth 1");
    tap_is_int(ngx_snorky_json_test_parse(json, "{\"a\":1}", 1), NGX_OK,
               "so has an object");
    tap_is_int(ngx_snorky_json_test_parse(json, "[{}]", 1), NGX_DECLINED,
               "an array of objects has not");
    tap_is_int(ngx_snorky_json_test_parse(json, "[[],[],{}]", 2), NGX_OK,
               "depth is not a number of containers");

    /* the state of yajl, and ours, grow with the depth */

    for (n = 1; n <= 100000; n *= 10) {

        deep = ngx_snorky_json_test_deep(n, "[", "]");

        tap_is_int(ngx_snorky_json_parse(json, &deep, n, 3, &root), NGX_OK,
                   "arrays nest %u deep where they may", (unsigned) n);
        tap_is_int(ngx_snorky_json_parse(json, &deep, n - 1, 3, &root),
                   NGX_DECLINED, "... and not where they may not");
        tap_is_int(ngx_snorky_json_key(json, &deep, n, &key), NGX_OK,
                   "... and make a key");
        tap_is_mem(key.data, key.len, deep.data, deep.len,
                   "... which is the same text");
        tap_is_int(ngx_snorky_json_key(json, &deep, n - 1, &key),
                   NGX_DECLINED, "... or none");

        deep.len = n;
        tap_is_int(ngx_snorky_json_parse(json, &deep, n, 3, &root),
                   NGX_DECLINED, "... and must be closed");
        free(deep.data);

        deep = ngx_snorky_json_test_deep(n, "{\"a\":[", "]}");

        tap_is_int(ngx_snorky_json_key(json, &deep, 2 * n, &key), NGX_OK,
                   "objects with arrays nest %u deep", (unsigned) n);
        tap_is_mem(key.data, key.len, deep.data, deep.len,
                   "... which is the key");
        free(deep.data);
    }
}


/* what makes yajl and us ask for memory in every possible way */

static ngx_str_t
ngx_snorky_json_test_big(void)
{
    u_char      *p;
    ngx_str_t    text;
    ngx_uint_t   i;

    text.data = malloc(200000);
    p = text.data;

    *p++ = '[';

    for (i = 0; i < 300; i++) {                 /* yajl's stack */
        *p++ = '[';
    }

    for (i = 0; i < 300; i++) {
        *p++ = ']';
    }

    *p++ = ',';
    *p++ = '"';

    for (i = 0; i < 10000; i++) {               /* yajl's buffer */
        p = ngx_cpymem(p, "\\u20ac", 6);
    }

    *p++ = '"';

    for (i = 0; i < 1000; i++) {                /* nodes */
        p = ngx_cpymem(p, ",{\"\\n\":1}", 9);
    }

    *p++ = ']';

    text.len = p - text.data;

    return text;
}


static void
ngx_snorky_json_test_memory(void)
{
    ngx_int_t                parsed, keyed, rc;
    ngx_str_t                text, key;
    ngx_uint_t               i, wrong;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *root;

    ngx_snorky_shim_fail(1);
    tap_ok(ngx_snorky_json_create() == NULL,
           "without memory there is no parser");
    ngx_snorky_shim_fail(0);

    text = ngx_snorky_json_test_big();

    parsed = NGX_ERROR;
    keyed = NGX_ERROR;
    wrong = 0;

    for (i = 1; parsed != NGX_OK || keyed != NGX_OK; i++) {

        json = ngx_snorky_json_create();

        ngx_snorky_shim_fail(i);
        parsed = ngx_snorky_json_parse(json, &text, 400,
                                       NGX_SNORKY_JSON_KEEP_ALL, &root);
        rc = ngx_snorky_shim_allocations() < i ? NGX_OK : NGX_ERROR;
        wrong += parsed != rc;

        ngx_snorky_shim_fail(i);
        keyed = ngx_snorky_json_key(json, &text, 400, &key);
        rc = ngx_snorky_shim_allocations() < i ? NGX_OK : NGX_ERROR;
        wrong += keyed != rc;

        /* the parser is as good as before */

        ngx_snorky_shim_fail(0);
        wrong += ngx_snorky_json_parse(json, &text, 400, 1, &root) != NGX_OK;
        wrong += ngx_snorky_json_key(json, &text, 400, &key) != NGX_OK;

        ngx_snorky_json_destroy(json);
    }

    tap_is_int(wrong, 0, "the failure of each single allocation is an error");
    tap_ok(i > 8, "there were %u", (unsigned) i - 1);

    json = ngx_snorky_json_create();
    ngx_snorky_shim_fail_all();

    tap_is_int(ngx_snorky_json_parse(json, &text, 400, 0, &root), NGX_ERROR,
               "no memory at all is an error");
    ngx_str_set(&key, "[1,]");
    tap_is_int(ngx_snorky_json_parse(json, &key, 400, 0, &root), NGX_ERROR,
               "... for a small text, too");

    ngx_snorky_shim_fail(0);
    ngx_snorky_json_destroy(json);
    free(text.data);
}


static void
ngx_snorky_json_test_reuse(ngx_snorky_json_t *json)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_str_t                small, big, key;
    ngx_uint_t               i;
    ngx_snorky_json_node_t  *root;

    ngx_str_set(&small, "{\"service\":\"messaging\",\"message\":{\"command\":"
                        "\"publish\",\"params\":{\"channel\":\"a\\u0020b\","
                        "\"message\":[1,2.50,{\"b\":0,\"a\":1}]}}}");

    rc = ngx_snorky_json_parse(json, &small, 64, 4, &root);
    rc |= ngx_snorky_json_key(json, &small, 64, &key);

    ngx_snorky_shim_fail(0);

    for (i = 0; i < 100; i++) {
        rc |= ngx_snorky_json_parse(json, &small, 64, 4, &root);
        rc |= ngx_snorky_json_key(json, &small, 64, &key);
    }

    tap_is_int(rc, NGX_OK, "one parser reads a hundred texts");
    tap_is_int(ngx_snorky_shim_allocations(), 0, "... without an allocation");

    /* 40000 nodes in the document and in the key, and a key over 1 MB */

    big.len = 600001;
    big.data = malloc(big.len);

    p = big.data;
    *p++ = '[';

    for (i = 0; i < 40000; i++) {
        p = ngx_cpymem(p, "1.2345678901234", 14);
        *p++ = ',';
    }

    p[-1] = ']';

    tap_is_int(ngx_snorky_json_parse(json, &big, 64, 1, &root), NGX_OK,
               "a big text is read");
    tap_is_int(ngx_snorky_json_key(json, &big, 64, &key), NGX_OK,
               "... and makes a key");
    tap_is_int(key.len, 40000 * 18 + 1, "... of the right length");

    ngx_snorky_shim_fail(0);
    ngx_snorky_json_parse(json, &big, 64, 1, &root);
    ngx_snorky_json_key(json, &big, 64, &key);
    tap_is_int(ngx_snorky_shim_allocations(), 0,
               "another big one needs no memory");

    ngx_snorky_json_parse(json, &small, 64, 4, &root);
    ngx_snorky_json_key(json, &small, 64, &key);
    tap_is_int(ngx_snorky_shim_allocations(), 3,
               "after a small one the big memory is given back");

    ngx_snorky_json_parse(json, &small, 64, 4, &root);
    ngx_snorky_json_key(json, &small, 64, &key);
    tap_is_int(ngx_snorky_shim_allocations(), 3, "... once");

    free(big.data);
}


int
main(void)
{
    ngx_snorky_json_t  *json;

    json = ngx_snorky_json_create();

    ngx_snorky_json_test_depth(json);
    ngx_snorky_json_test_reuse(json);

    ngx_snorky_json_destroy(json);

    ngx_snorky_json_test_memory();

    return tap_done();
}
