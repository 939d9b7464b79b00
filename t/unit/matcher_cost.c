
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The matcher's cost: many items, and what is looked at in a document.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "ngx_snorky_matcher.h"
#include "nginx_shim.h"
#include "tap.h"


#define NGX_SNORKY_MATCHER_TEST_MANY  50000


static ngx_log_t  ngx_snorky_matcher_test_log;


static void
ngx_snorky_matcher_test_call(void *ctx, ngx_snorky_matcher_item_t *item,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_uint_t *called = ctx;

    (*called)++;
}


static ngx_int_t
ngx_snorky_matcher_test_add(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_item_t *item, const char *filter)
{
    ngx_str_t  text;

    text.data = (u_char *) filter;
    text.len = strlen(filter);

    return ngx_snorky_matcher_add(matcher, item, &text);
}


/* quadratic in them it would not come to an end */

static void
ngx_snorky_matcher_test_many(ngx_snorky_matcher_t *matcher,
    const char *format, const char *name, ngx_uint_t matches)
{
    char                        filter[128];
    ngx_str_t                   new, old;
    ngx_uint_t                  i, k, n, wrong, called;
    ngx_snorky_matcher_item_t  *items, **left, *item;

    n = NGX_SNORKY_MATCHER_TEST_MANY;
    items = malloc(n * sizeof(*items));
    left = malloc(n * sizeof(*left));
    wrong = 0;

    for (i = 0; i < n; i++) {
        snprintf(filter, sizeof(filter), format, (unsigned) i);
        wrong += ngx_snorky_matcher_test_add(matcher, &items[i], filter)
                 != NGX_OK;
        left[i] = &items[i];
    }

    tap_is_int(wrong, 0, "%u items are added, %s", (unsigned) n, name);

    ngx_str_set(&new, "{\"a\":1,\"b\":12345}");
    ngx_str_set(&old, "{\"a\":0,\"b\":777}");

    for (i = 0; i < (matches > 10 ? 1 : 1000); i++) {
        called = 0;
        wrong += ngx_snorky_matcher_run(matcher, NGX_SNORKY_MATCHER_UPDATE,
                                        &new, &old,
                                        ngx_snorky_matcher_test_call, &called)
                 != NGX_OK;
        wrong += called != matches;
    }

    tap_is_int(wrong, 0, "... of which %u match", (unsigned) matches);

    for (i = n; i > 0; i--) {
        k = tap_random_below(i);

        item = left[k];
        left[k] = left[i - 1];

        ngx_snorky_matcher_remove(matcher, item);
    }

    tap_is_int(ngx_snorky_matcher_count(matcher), 0,
               "... and removed in any order");

    free(items);
    free(left);
}


/*
 * A value that is not canonical, such as 1.5, takes memory each time that it
 * is looked at: how often one is in a run, when parsers have theirs.
 */

static ngx_uint_t
ngx_snorky_matcher_test_looks(ngx_snorky_matcher_t *matcher,
    const char *document, ngx_uint_t *called)
{
    ngx_str_t   data;
    ngx_uint_t  i;

    data.data = (u_char *) document;
    data.len = strlen(document);

    for (i = 0; i < 2; i++) {
        ngx_snorky_shim_fail(0);
        *called = 0;

        (void) ngx_snorky_matcher_run(matcher, NGX_SNORKY_MATCHER_INSERT,
                                      &data, NULL,
                                      ngx_snorky_matcher_test_call, called);
    }

    return ngx_snorky_shim_allocations();
}


static void
ngx_snorky_matcher_test_once(ngx_snorky_matcher_t *matcher)
{
    char                       filter[128];
    ngx_uint_t                 i, looks, called;
    ngx_snorky_matcher_item_t  items[21];

    for (i = 0; i < 20; i++) {
        snprintf(filter, sizeof(filter), i % 2 ? "[\"<\",\"a\",%u]"
                                               : "[\"==\",\"a\",%u.5]",
                 (unsigned) i);
        ngx_snorky_matcher_test_add(matcher, &items[i], filter);
    }

    looks = ngx_snorky_matcher_test_looks(matcher, "{\"a\":4.5}", &called);

    tap_is_int(called, 9, "of 20 filters of one path 9 match");
    tap_is_int(looks, 1, "... for which the path is followed once");

    ngx_snorky_matcher_test_add(matcher, &items[20], "[\"<\",\"b\",9]");

    looks = ngx_snorky_matcher_test_looks(matcher, "{\"a\":4.5,\"b\":5.5}",
                                          &called);

    tap_is_int(called, 10, "one of another path matches, too");
    tap_is_int(looks, 2, "... which is followed once, too");

    for (i = 0; i < 21; i++) {
        ngx_snorky_matcher_remove(matcher, &items[i]);
    }
}


/* what filters have in common is not that by which they are found */

static void
ngx_snorky_matcher_test_choice(ngx_snorky_matcher_t *matcher)
{
    char                       filter[128];
    ngx_uint_t                 i, looks, called;
    ngx_snorky_matcher_item_t  items[10];

    for (i = 0; i < 10; i++) {
        snprintf(filter, sizeof(filter), "[\"and\",[\"==\",\"a\",1],"
                 "[\"<\",\"c\",2],[\"==\",\"b\",%u]]", (unsigned) i);
        ngx_snorky_matcher_test_add(matcher, &items[i], filter);
    }

    /* for the first one it was, since there was nothing to choose */

    ngx_snorky_matcher_remove(matcher, &items[0]);

    looks = ngx_snorky_matcher_test_looks(matcher,
                               "{\"a\":1,\"b\":99,\"c\":1.5}", &called);

    tap_is_int(called, 0, "of filters with a term in common none matches");
    tap_is_int(looks, 0, "... and none was asked");

    looks = ngx_snorky_matcher_test_looks(matcher,
                               "{\"a\":1,\"b\":7,\"c\":1.5}", &called);

    tap_is_int(called, 1, "one is found by the term it has for itself");
    tap_is_int(looks, 1, "... and asked");

    for (i = 1; i < 10; i++) {
        ngx_snorky_matcher_remove(matcher, &items[i]);
    }
}


int
main(void)
{
    ngx_snorky_matcher_t  *matcher;

    tap_seed();

    matcher = ngx_snorky_matcher_create(&ngx_snorky_matcher_test_log);

    ngx_snorky_matcher_test_many(matcher,
        "[\"==\",\"b\",%u]", "each its value", 2);
    ngx_snorky_matcher_test_many(matcher,
        "[\"and\",[\"==\",\"a\",1],[\"==\",\"b\",%u]]",
        "with a value in common", 1);
    ngx_snorky_matcher_test_many(matcher,
        "[\"==\",\"a\",1]", "all equal", NGX_SNORKY_MATCHER_TEST_MANY);
    ngx_snorky_matcher_test_many(matcher,
        "[\"<\",\"b\",1e5%u]", "all looked at",
        NGX_SNORKY_MATCHER_TEST_MANY);

    ngx_snorky_matcher_test_once(matcher);
    ngx_snorky_matcher_test_choice(matcher);

    ngx_snorky_matcher_destroy(matcher);

    return tap_done();
}
