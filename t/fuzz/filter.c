
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes filters: which texts are filters, and which documents match them,
 * both by the book and by way of the matcher.
 *
 * Input: a byte for the allocation that fails (0: none), the filter, a zero
 * byte, the document.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "ngx_snorky_filter.h"
#include "ngx_snorky_matcher.h"
#include "../unit/nginx_shim.h"
#include "../unit/filter_model.h"


#define ngx_snorky_filter_fuzz_check(cond)                                    \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    ngx_snorky_filter_model_t   model;
    ngx_snorky_json_t          *json;
    ngx_snorky_json_t          *keys;
    ngx_snorky_json_node_t     *root;
    ngx_snorky_filter_t        *filter;
    ngx_uint_t                  failing;
    ngx_uint_t                  called[2];
} ngx_snorky_filter_fuzz_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_log_t  ngx_snorky_filter_fuzz_log;


static ngx_int_t
ngx_snorky_filter_fuzz_value(void *ctx, ngx_uint_t n, ngx_str_t *value)
{
    ngx_snorky_filter_fuzz_t *t = ctx;

    ngx_uint_t                       count;
    ngx_snorky_json_node_t          *node;
    ngx_snorky_filter_comparison_t  *c;

    c = ngx_snorky_filter_comparisons(t->filter, &count);
    ngx_snorky_filter_fuzz_check(n < count);

    node = ngx_snorky_filter_find(t->json, t->root, &c[n].path);

    if (node == NULL) {
        return NGX_DECLINED;
    }

    return ngx_snorky_json_key(t->keys, &node->value.text,
                               NGX_SNORKY_JSON_ANY_DEPTH, value);
}


static void
ngx_snorky_filter_fuzz_call(void *ctx, ngx_snorky_matcher_item_t *item,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_snorky_filter_fuzz_t *t = ctx;

    ngx_snorky_filter_fuzz_check(kind == NGX_SNORKY_MATCHER_INSERT);

    t->called[(uintptr_t) item->data]++;
}


/* an item with the filter, and one for everything */

static void
ngx_snorky_filter_fuzz_matcher(ngx_snorky_filter_fuzz_t *t, ngx_str_t *text,
    ngx_str_t *document, ngx_uint_t matches)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_snorky_matcher_t       *matcher;
    ngx_snorky_matcher_item_t   items[2];

    matcher = ngx_snorky_matcher_create(&ngx_snorky_filter_fuzz_log);

    items[0].data = (void *) 0;
    items[1].data = (void *) 1;

    if (t->failing) {
        ngx_snorky_shim_fail(t->failing);
        rc = ngx_snorky_matcher_add(matcher, &items[0], text);
        ngx_snorky_shim_fail(0);

        if (rc == NGX_OK) {
            ngx_snorky_matcher_remove(matcher, &items[0]);
        }

        ngx_snorky_filter_fuzz_check(rc == NGX_OK || rc == NGX_ERROR);
    }

    rc = ngx_snorky_matcher_add(matcher, &items[0], text);
    ngx_snorky_filter_fuzz_check(rc == NGX_OK);
    rc = ngx_snorky_matcher_add(matcher, &items[1], NULL);
    ngx_snorky_filter_fuzz_check(rc == NGX_OK);

    ngx_snorky_shim_fail(t->failing);

    for (i = 0; i < 2; i++) {
        t->called[0] = 0;
        t->called[1] = 0;

        rc = ngx_snorky_matcher_run(matcher, NGX_SNORKY_MATCHER_INSERT,
                                    document, NULL,
                                    ngx_snorky_filter_fuzz_call, t);

        ngx_snorky_filter_fuzz_check(rc == NGX_OK
                                     || (rc == NGX_ERROR && t->failing));
        ngx_snorky_filter_fuzz_check(t->called[0]
                                     == (rc == NGX_OK && matches));
        ngx_snorky_filter_fuzz_check(t->called[1] == (rc == NGX_OK));

        ngx_snorky_shim_fail(0);
    }

    ngx_snorky_filter_fuzz_check(rc == NGX_OK);

    ngx_snorky_matcher_remove(matcher, &items[0]);
    ngx_snorky_matcher_remove(matcher, &items[1]);
    ngx_snorky_matcher_destroy(matcher);
}


/* a filter's own text is the same filter */

static void
ngx_snorky_filter_fuzz_text(ngx_snorky_filter_fuzz_t *t)
{
    ngx_int_t             rc;
    ngx_str_t            *text, *again;
    ngx_snorky_filter_t  *filter;

    text = ngx_snorky_filter_text(t->filter);

    rc = ngx_snorky_filter_create(t->json, text, &ngx_snorky_filter_fuzz_log,
                                  &filter);
    ngx_snorky_filter_fuzz_check(rc == NGX_OK);

    again = ngx_snorky_filter_text(filter);

    ngx_snorky_filter_fuzz_check(text->len == again->len
                                 && memcmp(text->data, again->data, text->len)
                                    == 0);
    ngx_snorky_filter_destroy(filter);
}


static void
ngx_snorky_filter_fuzz_match(ngx_snorky_filter_fuzz_t *t, ngx_str_t *text,
    ngx_str_t *document)
{
    ngx_int_t  rc, expected;

    if (ngx_snorky_json_parse(t->json, document, NGX_SNORKY_JSON_ANY_DEPTH,
                              NGX_SNORKY_JSON_KEEP_ALL, &t->root)
        != NGX_OK)
    {
        return;
    }

    expected = ngx_snorky_filter_model_match(&t->model, text, document)
               ? NGX_OK : NGX_DECLINED;

    rc = ngx_snorky_filter_match(t->filter, ngx_snorky_filter_fuzz_value, t);
    ngx_snorky_filter_fuzz_check(rc == expected);

    ngx_snorky_filter_fuzz_matcher(t, text, document, rc == NGX_OK);
}


static void
ngx_snorky_filter_fuzz_run(ngx_snorky_filter_fuzz_t *t, ngx_str_t *text,
    ngx_str_t *document)
{
    ngx_int_t  rc, expected;

    expected = ngx_snorky_filter_model_valid(&t->model, text)
               ? NGX_OK : NGX_DECLINED;

    if (t->failing) {
        ngx_snorky_shim_fail(t->failing);
        rc = ngx_snorky_filter_create(t->json, text,
                                      &ngx_snorky_filter_fuzz_log,
                                      &t->filter);
        ngx_snorky_shim_fail(0);

        ngx_snorky_filter_fuzz_check(rc == expected || rc == NGX_ERROR);

        if (rc == NGX_OK) {
            ngx_snorky_filter_destroy(t->filter);
        }
    }

    rc = ngx_snorky_filter_create(t->json, text, &ngx_snorky_filter_fuzz_log,
                                  &t->filter);
    ngx_snorky_filter_fuzz_check(rc == expected);

    if (rc == NGX_OK) {
        ngx_snorky_filter_fuzz_text(t);
        ngx_snorky_filter_fuzz_match(t, text, document);

        ngx_snorky_filter_destroy(t->filter);
    }
}


/* in memory of exactly this size */

static ngx_str_t
ngx_snorky_filter_fuzz_copy(const uint8_t *p, size_t len)
{
    ngx_str_t  copy;

    copy.len = len;
    copy.data = malloc(len);

    if (len) {
        memcpy(copy.data, p, len);
    }

    return copy;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                     len;
    const uint8_t             *p, *end;
    ngx_str_t                  text, document;
    ngx_snorky_filter_fuzz_t   t;

    if (size < 2) {
        return 0;
    }

    memset(&t, 0, sizeof(t));
    t.failing = data[0];

    p = data + 1;
    end = memchr(p, 0, size - 1);
    len = end ? (size_t) (end - p) : size - 1;

    text = ngx_snorky_filter_fuzz_copy(p, len);
    document = ngx_snorky_filter_fuzz_copy(end ? end + 1 : p,
                                           end ? size - 2 - len : 0);

    ngx_snorky_shim_fail(0);

    ngx_snorky_filter_model_create(&t.model);

    t.json = ngx_snorky_json_create();
    t.keys = ngx_snorky_json_create();

    ngx_snorky_filter_fuzz_run(&t, &text, &document);

    ngx_snorky_json_destroy(t.json);
    ngx_snorky_json_destroy(t.keys);

    ngx_snorky_filter_model_destroy(&t.model);

    free(text.data);
    free(document.data);

    return 0;
}
