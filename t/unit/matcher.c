
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The matcher: who is called, as what and in which order, against a list that
 * is gone through; and its memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "ngx_snorky_matcher.h"
#include "nginx_shim.h"
#include "tap.h"
#include "filter_model.h"


#define NGX_SNORKY_MATCHER_TEST_ITEMS    80
#define NGX_SNORKY_MATCHER_TEST_FILTERS  40
#define NGX_SNORKY_MATCHER_TEST_CALLS    400

typedef struct {
    ngx_snorky_matcher_item_t   item;
    ngx_uint_t                  in;
    ngx_uint_t                  filter;     /* 0: everything */
    uint64_t                    order;
} ngx_snorky_matcher_member_t;


/* what the matcher called for, "+2" and so on: kind, and data as a number */

typedef struct {
    ngx_snorky_matcher_t       *matcher;
    char                        called[NGX_SNORKY_MATCHER_TEST_CALLS * 8];
    ngx_uint_t                  n;
} ngx_snorky_matcher_test_t;


/* filters, each in one spelling after another, and whether they match */

typedef struct {
    ngx_snorky_filter_model_t   model;
    ngx_str_t                   text[NGX_SNORKY_MATCHER_TEST_FILTERS];
    ngx_uint_t                  new[NGX_SNORKY_MATCHER_TEST_FILTERS];
    ngx_uint_t                  old[NGX_SNORKY_MATCHER_TEST_FILTERS];
} ngx_snorky_matcher_filters_t;


static ngx_log_t  ngx_snorky_matcher_test_log;


static void
ngx_snorky_matcher_test_call(void *ctx, ngx_snorky_matcher_item_t *item,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_snorky_matcher_test_t *t = ctx;

    t->n++;

    if (t->n < NGX_SNORKY_MATCHER_TEST_CALLS) {
        sprintf(t->called + strlen(t->called), "%c%u ",
                kind == NGX_SNORKY_MATCHER_INSERT ? '+' :
                kind == NGX_SNORKY_MATCHER_DELETE ? '-' :
                kind == NGX_SNORKY_MATCHER_UPDATE ? '=' : '?',
                (unsigned) (uintptr_t) item->data);
    }
}


static ngx_int_t
ngx_snorky_matcher_test_run(ngx_snorky_matcher_test_t *t,
    ngx_snorky_matcher_kind_e type, const char *new_data,
    const char *old_data)
{
    ngx_int_t  rc;
    ngx_str_t  new, old;

    ngx_str_null(&new);
    ngx_str_null(&old);

    t->n = 0;
    t->called[0] = '\0';

    /* in memory of exactly this size */

    if (new_data) {
        new.len = strlen(new_data);
        new.data = memcpy(malloc(new.len), new_data, new.len);
    }

    if (old_data) {
        old.len = strlen(old_data);
        old.data = memcpy(malloc(old.len), old_data, old.len);
    }

    rc = ngx_snorky_matcher_run(t->matcher, type, new_data ? &new : NULL,
                                old_data ? &old : NULL,
                                ngx_snorky_matcher_test_call, t);

    free(new.data);
    free(old.data);

    return rc;
}


/* the same with what is expected */

static void
ngx_snorky_matcher_test_calls(ngx_snorky_matcher_test_t *t,
    const char *new_data, const char *old_data, const char *expected)
{
    ngx_int_t                  rc;
    ngx_snorky_matcher_kind_e  type;

    type = new_data == NULL ? NGX_SNORKY_MATCHER_DELETE
         : old_data == NULL ? NGX_SNORKY_MATCHER_INSERT
                            : NGX_SNORKY_MATCHER_UPDATE;

    rc = ngx_snorky_matcher_test_run(t, type, new_data, old_data);

    tap_ok(rc == NGX_OK && strcmp(t->called, expected) == 0,
           "%s -> %s: %s", old_data ? old_data : "", new_data ? new_data : "",
           expected);

    if (strcmp(t->called, expected)) {
        tap_diag("     got: %s", t->called);
    }
}


static ngx_int_t
ngx_snorky_matcher_test_add(ngx_snorky_matcher_test_t *t,
    ngx_snorky_matcher_item_t *item, ngx_uint_t n, const char *filter)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    /* the matcher relies on no zeroes, and keeps "data" */

    memset(item, 0xa5, sizeof(*item));
    item->data = (void *) (uintptr_t) n;

    if (filter == NULL) {
        return ngx_snorky_matcher_add(t->matcher, item, NULL);
    }

    /* ... and not the text */

    text.len = strlen(filter);
    text.data = malloc(text.len);
    memcpy(text.data, filter, text.len);

    rc = ngx_snorky_matcher_add(t->matcher, item, &text);

    free(text.data);

    return rc;
}


static void
ngx_snorky_matcher_test_kinds(ngx_snorky_matcher_test_t *t)
{
    ngx_snorky_matcher_item_t  items[8];

    tap_is_int(ngx_snorky_matcher_count(t->matcher), 0,
               "a new matcher is empty");
    ngx_snorky_matcher_test_calls(t, "{\"a\":1}", NULL, "");

    tap_is_int(ngx_snorky_matcher_test_add(t, &items[0], 0,
                                           "[\"==\",\"a\",1]"),
               NGX_OK, "an item is added");
    tap_is_int(ngx_snorky_matcher_count(t->matcher), 1, "... and counted");

    ngx_snorky_matcher_test_calls(t, "{\"a\":1}", NULL, "+0 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", NULL, "");
    ngx_snorky_matcher_test_calls(t, "{}", NULL, "");
    ngx_snorky_matcher_test_calls(t, "[]", NULL, "");
    ngx_snorky_matcher_test_calls(t, NULL, "{\"a\":1}", "-0 ");
    ngx_snorky_matcher_test_calls(t, NULL, "{\"a\":2}", "");
    ngx_snorky_matcher_test_calls(t, "{\"a\":1,\"b\":1}",
                                  "{\"a\":1,\"b\":2}", "=0 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":1}", "{\"a\":2}", "+0 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}", "-0 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":3}", "{\"a\":2}", "");

    tap_is_int(ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_INSERT,
                                           "{\"a\":2}", "{\"a\":1}"),
               NGX_OK, "an insert");
    tap_is_int(t->n, 0, "... has no old data");
    tap_is_int(ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_DELETE,
                                           "{\"a\":1}", "{\"a\":2}"),
               NGX_OK, "a delete");
    tap_is_int(t->n, 0, "... has no new data");

    /* one more of the same, one of another value, of everything, of else */

    ngx_snorky_matcher_test_add(t, &items[1], 1, " [\"==\",\"\\u0061\",1.0]");
    ngx_snorky_matcher_test_add(t, &items[2], 2, "[\"==\",\"a\",2]");
    ngx_snorky_matcher_test_add(t, &items[3], 3, NULL);
    ngx_snorky_matcher_test_add(t, &items[4], 4, "[\">\",\"a\",1]");
    ngx_snorky_matcher_test_add(t, &items[5], 5,
                    "[\"and\",[\"==\",\"a\",2],[\"not\",[\"==\",\"b\",1]]]");
    ngx_snorky_matcher_test_add(t, &items[6], 6, "[\"==\",\"a\",1]");
    ngx_snorky_matcher_test_add(t, &items[7], 7, NULL);

    ngx_snorky_matcher_test_calls(t, "{\"a\":1}", NULL, "+0 +1 +3 +6 +7 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":20e-1}", NULL,
                                  "+2 +3 +4 +5 +7 ");
    ngx_snorky_matcher_test_calls(t, NULL, "{\"a\":2,\"b\":1}",
                                  "-2 -3 -4 -7 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}",
                                  "-0 -1 +2 =3 +4 +5 -6 =7 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":3}", "{\"a\":2,\"b\":0}",
                                  "-2 =3 =4 -5 =7 ");

    ngx_snorky_matcher_remove(t->matcher, &items[1]);
    ngx_snorky_matcher_remove(t->matcher, &items[3]);
    ngx_snorky_matcher_remove(t->matcher, &items[4]);

    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}",
                                  "-0 +2 +5 -6 =7 ");

    ngx_snorky_matcher_test_add(t, &items[1], 1, "[\"==\",\"a\",1]");
    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}",
                                  "-0 +2 +5 -6 =7 -1 ");

    ngx_snorky_matcher_remove(t->matcher, &items[0]);
    ngx_snorky_matcher_remove(t->matcher, &items[6]);
    ngx_snorky_matcher_remove(t->matcher, &items[1]);
    ngx_snorky_matcher_remove(t->matcher, &items[2]);
    ngx_snorky_matcher_remove(t->matcher, &items[5]);

    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}", "=7 ");

    tap_is_int(ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_INSERT,
                                           "no JSON", NULL),
               NGX_OK, "what no filter asks for is not looked at");
    tap_is_str(t->called, strlen(t->called), "+7 ", "... but delivered");

    ngx_snorky_matcher_remove(t->matcher, &items[7]);

    tap_is_int(ngx_snorky_matcher_count(t->matcher), 0, "it is empty again");
    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":1}", "");
}


static void
ngx_snorky_matcher_test_wrong(ngx_snorky_matcher_test_t *t)
{
    ngx_snorky_matcher_item_t  items[2];

    tap_is_int(ngx_snorky_matcher_test_add(t, &items[0], 0, "[\"==\",\"a\"]"),
               NGX_DECLINED, "a malformed filter is declined");
    tap_is_int(ngx_snorky_matcher_test_add(t, &items[0], 0, "[\"==\","),
               NGX_DECLINED, "... and what is no JSON");
    tap_is_int(ngx_snorky_matcher_count(t->matcher), 0, "... and not counted");

    ngx_snorky_matcher_test_add(t, &items[0], 0, "[\"==\",\"a\",1]");
    ngx_snorky_matcher_test_add(t, &items[1], 1, NULL);

    tap_is_int(ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_INSERT,
                                           "{\"a\":1", NULL),
               NGX_DECLINED, "data that is no JSON is declined");
    tap_is_int(t->n, 0, "... and delivered to nobody");
    tap_is_int(ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_UPDATE,
                                           "{\"a\":1}", "{\"a\":1"),
               NGX_DECLINED, "so is old data that is none");
    tap_is_int(t->n, 0, "... and nobody gets the new");

    ngx_snorky_matcher_test_calls(t, "{\"a\":2}", "{\"a\":3}", "=1 ");

    ngx_snorky_matcher_remove(t->matcher, &items[0]);
    ngx_snorky_matcher_remove(t->matcher, &items[1]);
}


/* what one path is asked for several times, deep paths, kept values */

static void
ngx_snorky_matcher_test_paths(ngx_snorky_matcher_test_t *t)
{
    ngx_uint_t                  i;
    ngx_snorky_matcher_item_t   items[8];
    static const char          *filters[] = {
        "[\"==\",\"a.b.c\",1.5]",
        "[\"==\",\"a.b\",{\"c\":1.5}]",
        "[\"==\",\"a\",{\"b\":{\"c\":1.5}}]",
        ("[\"and\",[\"==\",\"x\",\"\\n\"],[\">\",\"a.b.c\",1.25],"
         "[\"<\",\"a.b.c\",1.75]]"),
        "[\"<\",\"a.b.c\",2]",
        "[\"not\",[\"==\",\"a.b.c.d\",1]]",
        "[\"and\",[\"==\",\"y\",[]],[\"==\",\"x\",\"\\n\"]]",
        "[\"or\",[\"==\",\"x\",\"\\n\"],[\"==\",\"a.b.c\",1.5]]"
    };

    for (i = 0; i < 8; i++) {
        tap_is_int(ngx_snorky_matcher_test_add(t, &items[i], i, filters[i]),
                   NGX_OK, "item %u: %s", (unsigned) i, filters[i]);
    }

    ngx_snorky_matcher_test_calls(t, "{\"a\":{\"b\":{\"c\":15e-1}}}", NULL,
                                  "+0 +1 +2 +4 +5 +7 ");
    ngx_snorky_matcher_test_calls(t,
        "{\"x\":\"\\u000a\",\"a\":{\"b\":{\"c\":1.50}},\"y\":[ ]}",
        "{\"y\":[1],\"x\":\"\\n\",\"a\":{\"b\":{\"c\":-1.5}}}",
        "+0 +1 +2 +3 =4 =5 +6 =7 ");
    ngx_snorky_matcher_test_calls(t, "{\"a\":{\"b\":{\"c\":{\"d\":1}}}}",
                                  NULL, "");
    ngx_snorky_matcher_test_calls(t,
        "{\"x\":\"\\u000a\",\"a\":{\"b\":{\"c\":{\"d\":{}}}},\"y\":[ ]}",
        "{\"a\":1}", "=5 +6 +7 ");

    /* the deepest path goes, and comes again */

    ngx_snorky_matcher_remove(t->matcher, &items[5]);
    ngx_snorky_matcher_remove(t->matcher, &items[0]);
    ngx_snorky_matcher_test_calls(t, "{\"a\":{\"b\":{\"c\":15e-1}}}", NULL,
                                  "+1 +2 +4 +7 ");

    for (i = 1; i < 8; i++) {
        if (i != 5) {
            ngx_snorky_matcher_remove(t->matcher, &items[i]);
        }
    }

    ngx_snorky_matcher_test_add(t, &items[0], 0, filters[0]);
    ngx_snorky_matcher_test_calls(t, "{\"a\":{\"b\":{\"c\":15e-1}}}", NULL,
                                  "+0 ");
    ngx_snorky_matcher_remove(t->matcher, &items[0]);
}


static void
ngx_snorky_matcher_test_filters(ngx_snorky_matcher_filters_t *filters)
{
    u_char      *buf;
    ngx_uint_t   i;

    buf = malloc(NGX_SNORKY_FILTER_MODEL_TEXT);

    for (i = 1; i < NGX_SNORKY_MATCHER_TEST_FILTERS; i++) {
        free(filters->text[i].data);

        filters->text[i].len =
            ngx_snorky_filter_model_filter(buf, tap_random_below(3)) - buf;
        filters->text[i].data = malloc(filters->text[i].len);
        memcpy(filters->text[i].data, buf, filters->text[i].len);
    }

    free(buf);
}


/* what the matcher should call for: the list, from the oldest on */

static void
ngx_snorky_matcher_test_expect(ngx_snorky_matcher_filters_t *filters,
    ngx_snorky_matcher_member_t *members, ngx_str_t *new, ngx_str_t *old,
    char *expected)
{
    uint64_t                      order;
    ngx_uint_t                    i, is_new, is_old;
    ngx_str_t                    *text;
    ngx_snorky_matcher_member_t  *m;

    for (i = 0; i < NGX_SNORKY_MATCHER_TEST_FILTERS; i++) {
        text = &filters->text[i];

        filters->new[i] = new && (i == 0
                                  || ngx_snorky_filter_model_match(
                                         &filters->model, text, new));
        filters->old[i] = old && (i == 0
                                  || ngx_snorky_filter_model_match(
                                         &filters->model, text, old));
    }

    expected[0] = '\0';

    for (order = 0; /* void */ ; order = m->order + 1) {

        for (m = NULL, i = 0; i < NGX_SNORKY_MATCHER_TEST_ITEMS; i++) {
            if (members[i].in
                && members[i].order >= order
                && (m == NULL || members[i].order < m->order))
            {
                m = &members[i];
            }
        }

        if (m == NULL) {
            return;
        }

        is_new = filters->new[m->filter];
        is_old = filters->old[m->filter];

        if (is_new || is_old) {
            sprintf(expected + strlen(expected), "%c%u ",
                    is_new && is_old ? '=' : is_new ? '+' : '-',
                    (unsigned) (m - members));
        }
    }
}


/* some items come and some go; returns how many went wrong */

static ngx_uint_t
ngx_snorky_matcher_test_change(ngx_snorky_matcher_test_t *t,
    ngx_snorky_matcher_filters_t *filters,
    ngx_snorky_matcher_member_t *members, uint64_t *order)
{
    ngx_str_t                    *text;
    ngx_uint_t                    n, wrong;
    ngx_snorky_matcher_member_t  *m;

    wrong = 0;

    for (n = tap_random_below(30); n > 0; n--) {
        m = &members[tap_random_below(NGX_SNORKY_MATCHER_TEST_ITEMS)];

        if (m->in) {
            ngx_snorky_matcher_remove(t->matcher, &m->item);
            m->in = 0;
            continue;
        }

        m->filter = tap_random_below(NGX_SNORKY_MATCHER_TEST_FILTERS);
        m->order = (*order)++;
        m->in = 1;
        m->item.data = (void *) (uintptr_t) (m - members);

        text = m->filter ? &filters->text[m->filter] : NULL;

        wrong += ngx_snorky_matcher_add(t->matcher, &m->item, text) != NGX_OK;
    }

    return wrong;
}


static void
ngx_snorky_matcher_test_clear(ngx_snorky_matcher_test_t *t,
    ngx_snorky_matcher_member_t *members)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_SNORKY_MATCHER_TEST_ITEMS; i++) {
        if (members[i].in) {
            ngx_snorky_matcher_remove(t->matcher, &members[i].item);
            members[i].in = 0;
        }
    }
}


static void
ngx_snorky_matcher_test_random(ngx_snorky_matcher_test_t *t)
{
    u_char                       *buf;
    uint64_t                      order;
    ngx_int_t                     rc;
    ngx_str_t                     new, old;
    ngx_uint_t                    i, type, wrong, unadded, calls;
    static char                   expected[sizeof(t->called)];
    ngx_snorky_matcher_filters_t  filters;
    ngx_snorky_matcher_member_t   members[NGX_SNORKY_MATCHER_TEST_ITEMS];

    memset(&filters, 0, sizeof(filters));
    memset(members, 0, sizeof(members));
    buf = malloc(2 * NGX_SNORKY_FILTER_MODEL_TEXT);

    ngx_snorky_filter_model_create(&filters.model);

    order = 0;
    wrong = 0;
    calls = 0;
    unadded = 0;

    for (i = 0; i < 2000; i++) {

        if (i % 50 == 0) {
            ngx_snorky_matcher_test_clear(t, members);
            ngx_snorky_matcher_test_filters(&filters);
        }

        unadded += ngx_snorky_matcher_test_change(t, &filters, members,
                                                  &order);
        type = 1 + tap_random_below(3);

        new.data = buf;
        new.len = ngx_snorky_filter_model_document(buf, 3) - buf;
        old.data = buf + NGX_SNORKY_FILTER_MODEL_TEXT;
        old.len = ngx_snorky_filter_model_document(old.data, 3) - old.data;

        ngx_snorky_matcher_test_expect(&filters, members,
                      type == NGX_SNORKY_MATCHER_DELETE ? NULL : &new,
                      type == NGX_SNORKY_MATCHER_INSERT ? NULL : &old,
                      expected);

        t->n = 0;
        t->called[0] = '\0';

        rc = ngx_snorky_matcher_run(t->matcher,
                                    (ngx_snorky_matcher_kind_e) type,
                                    &new, &old, ngx_snorky_matcher_test_call,
                                    t);
        calls += t->n;

        if (rc != NGX_OK || strcmp(t->called, expected)) {
            wrong++;
            tap_diag("     got: %s", t->called);
            tap_diag("expected: %s", expected);
        }
    }

    tap_is_int(unadded, 0, "random items are added and removed");
    tap_is_int(wrong, 0, "random changes reach whom they should, in order");
    tap_ok(calls > 5000, "that was for %u items", (unsigned) calls);

    ngx_snorky_matcher_test_clear(t, members);
    tap_is_int(ngx_snorky_matcher_count(t->matcher), 0, "they are all gone");

    for (i = 1; i < NGX_SNORKY_MATCHER_TEST_FILTERS; i++) {
        free(filters.text[i].data);
    }

    ngx_snorky_filter_model_destroy(&filters.model);
    free(buf);
}


/* equal filters are one: the second one takes no memory */

static void
ngx_snorky_matcher_test_shared(ngx_snorky_matcher_test_t *t)
{
    ngx_snorky_matcher_item_t  items[3];

    ngx_snorky_matcher_test_add(t, &items[0], 0,
                                "[\"==\",\"a\",{\"x\":1, \"y\":2}]");
    ngx_snorky_matcher_test_add(t, &items[1], 1, NULL);

    ngx_snorky_shim_fail_all();

    tap_is_int(ngx_snorky_matcher_test_add(t, &items[2], 2,
                                "[\"==\",\"\\u0061\",{\"y\":2.0,\"x\":1}]"),
               NGX_OK, "an equal filter is added without memory");
    ngx_snorky_matcher_remove(t->matcher, &items[2]);

    tap_is_int(ngx_snorky_matcher_test_add(t, &items[2], 2, NULL), NGX_OK,
               "so is another one for everything");
    ngx_snorky_matcher_remove(t->matcher, &items[2]);

    tap_is_int(ngx_snorky_matcher_test_add(t, &items[2], 2,
                                           "[\"==\",\"b\",1]"),
               NGX_ERROR, "a new one is not");

    ngx_snorky_shim_fail(0);

    ngx_snorky_matcher_remove(t->matcher, &items[0]);
    ngx_snorky_matcher_remove(t->matcher, &items[1]);
}


/* each allocation of an addition fails once, and nothing has happened */

static void
ngx_snorky_matcher_test_add_memory(ngx_snorky_matcher_test_t *t,
    ngx_uint_t before)
{
    char                        filter[128], expected[32];
    ngx_int_t                   rc;
    ngx_uint_t                  i, k, wrong;
    ngx_snorky_matcher_item_t   items[40];

    wrong = 0;

    for (i = 1; i < 100; i++) {

        for (k = 0; k < before; k++) {
            snprintf(filter, sizeof(filter), "[\"==\",\"p%u\",%u]",
                     (unsigned) k, (unsigned) k);
            ngx_snorky_matcher_test_add(t, &items[k], k, filter);
        }

        ngx_snorky_shim_fail(i);
        rc = ngx_snorky_matcher_test_add(t, &items[39], 39,
                "[\"and\",[\"<\",\"a\",9],[\"==\",\"b\",1.5],"
                "[\"==\",\"p0\",0]]");
        k = ngx_snorky_shim_allocations();
        ngx_snorky_shim_fail(0);

        wrong += ngx_snorky_matcher_count(t->matcher)
                 != before + (rc == NGX_OK);

        sprintf(expected, "%s%s", before ? "+0 " : "",
                rc == NGX_OK ? "+39 " : "");

        ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_INSERT,
                                    "{\"a\":1,\"b\":15e-1,\"p0\":0}", NULL);
        wrong += strcmp(t->called, expected) != 0;

        if (rc == NGX_OK) {
            ngx_snorky_matcher_remove(t->matcher, &items[39]);
        }

        while (ngx_snorky_matcher_count(t->matcher)) {
            ngx_snorky_matcher_remove(t->matcher,
                       &items[ngx_snorky_matcher_count(t->matcher) - 1]);
        }

        /* failures in a table's growth are none of the addition */

        wrong += rc != NGX_OK && rc != NGX_ERROR;
        wrong += rc == NGX_ERROR && k < i;

        if (k < i) {
            break;
        }
    }

    tap_ok(i > 6, "an item beside %u others makes %u allocations",
           (unsigned) before, (unsigned) i - 1);
    tap_is_int(wrong, 0, "... and when one fails, the others are unharmed");
}


static void
ngx_snorky_matcher_test_run_memory(ngx_snorky_matcher_test_t *t)
{
    char                       *large;
    ngx_int_t                   rc;
    ngx_uint_t                  i, wrong;
    ngx_snorky_matcher_item_t   items[3];

    large = malloc(100000);
    sprintf(large, "{\"a\":1.5,\"b\":[%*s1.0],\"c\":\"\\u0041\"}", 90000, "");

    wrong = 0;

    ngx_snorky_matcher_test_add(t, &items[0], 0, "[\"==\",\"a\",1.5]");
    ngx_snorky_matcher_test_add(t, &items[1], 1,
        "[\"or\",[\"==\",\"c\",0],[\"not\",[\"<\",\"b\",1]]]");
    ngx_snorky_matcher_test_add(t, &items[2], 2, NULL);

    for (i = 1; i < 100; i++) {
        ngx_snorky_shim_fail(i);
        rc = ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_UPDATE,
                                  large, "{\"b\":1.50,\"a\":\"\\u0041\"}");
        ngx_snorky_shim_fail(0);

        if (rc == NGX_OK) {
            break;
        }

        wrong += rc != NGX_ERROR || t->n != 0;

        /* nothing is left of it */

        ngx_snorky_matcher_test_run(t, NGX_SNORKY_MATCHER_DELETE, NULL,
                                    "{\"b\":0}");
        wrong += strcmp(t->called, "-2 ") != 0;
    }

    tap_is_int(wrong, 0, "a run without memory calls nobody");
    tap_ok(i > 5, "it was tried %u times", (unsigned) i - 1);
    tap_is_str(t->called, strlen(t->called), "+0 =1 =2 ",
               "with memory it calls all of them");

    for (i = 0; i < 3; i++) {
        ngx_snorky_matcher_remove(t->matcher, &items[i]);
    }

    free(large);
}


static void
ngx_snorky_matcher_test_create_memory(void)
{
    ngx_uint_t             i;
    ngx_snorky_matcher_t  *matcher;

    for (i = 1; /* void */ ; i++) {
        ngx_snorky_shim_fail(i);
        matcher = ngx_snorky_matcher_create(&ngx_snorky_matcher_test_log);
        ngx_snorky_shim_fail(0);

        if (matcher) {
            break;
        }
    }

    tap_is_int(i, 4, "without any of 3 allocations there is no matcher");

    ngx_snorky_matcher_destroy(matcher);
}


int
main(void)
{
    ngx_snorky_matcher_test_t  *t;

    tap_seed();

    t = calloc(1, sizeof(*t));
    t->matcher = ngx_snorky_matcher_create(&ngx_snorky_matcher_test_log);

    ngx_snorky_matcher_test_kinds(t);
    ngx_snorky_matcher_test_wrong(t);
    ngx_snorky_matcher_test_paths(t);
    ngx_snorky_matcher_test_random(t);

    /* with new parsers, which have no memory yet */

    ngx_snorky_matcher_destroy(t->matcher);
    t->matcher = ngx_snorky_matcher_create(&ngx_snorky_matcher_test_log);

    ngx_snorky_matcher_test_run_memory(t);
    ngx_snorky_matcher_test_shared(t);
    ngx_snorky_matcher_test_add_memory(t, 0);
    ngx_snorky_matcher_test_add_memory(t, 16);

    ngx_snorky_matcher_destroy(t->matcher);
    free(t);

    ngx_snorky_matcher_test_create_memory();

    return tap_done();
}
