
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The tables of the matcher: their hash, and what they find.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_matcher_table.h"
#include "nginx_shim.h"
#include "tap.h"


#define NGX_SNORKY_MATCHER_TEST_NODES  5000


static ngx_log_t  ngx_snorky_matcher_test_log;

__extension__ typedef unsigned __int128  ngx_snorky_matcher_wide_t;


/* the polynomial as it stands in the comment, with wide numbers */

static void
ngx_snorky_matcher_test_hash(void)
{
    size_t      i;
    u_char      data[64];
    uint64_t    secret, start, hash, word, prime;
    ngx_str_t   key;
    ngx_uint_t  n, wrong;
    uint32_t    w;

    prime = (UINT64_C(1) << 61) - 1;
    wrong = 0;

    for (n = 0; n < 100000; n++) {

        secret = ngx_snorky_matcher_secret(tap_random_below(8)
                                           ? tap_random() : UINT64_MAX);
        start = tap_random_below(8) ? tap_random() % prime : prime - 1;

        key.len = tap_random_below(sizeof(data));
        key.data = malloc(key.len + 1);

        for (i = 0; i < key.len; i++) {
            data[i] = tap_random_below(8) ? (u_char) tap_random() : 0xff;
        }

        memcpy(key.data + 1, data, key.len);
        key.data++;

        hash = (uint64_t) ((ngx_snorky_matcher_wide_t) (start + key.len + 1)
                           * secret % prime);

        for (i = 0; i < key.len; /* void */ ) {

            if (key.len - i >= 4) {
                memcpy(&w, data + i, 4);
                word = w;
                i += 4;

            } else {
                for (word = 0; i < key.len; i++) {
                    word = word * 256 + data[i];
                }
            }

            hash = (uint64_t) (((ngx_snorky_matcher_wide_t) hash + word)
                               * secret % prime);
        }

        wrong += ngx_snorky_matcher_hash(secret, start, &key) != hash;

        free(key.data - 1);
    }

    tap_is_int(wrong, 0, "the hash is the polynomial's value");
}


/* as after hashes were guessed: all in one bucket */

static void
ngx_snorky_matcher_test_table(void)
{
    u_char                      names[64];
    ngx_str_t                   key;
    ngx_uint_t                  i, wrong;
    ngx_snorky_matcher_node_t   nodes[64];
    ngx_snorky_matcher_table_t  table;

    memset(&table, 0, sizeof(table));
    ngx_str_set(&key, "a");

    tap_ok(ngx_snorky_matcher_table_find(&table, 5, NULL, &key) == NULL,
           "a table without memory has nothing");

    ngx_snorky_matcher_table_init(&table, &ngx_snorky_matcher_test_log);
    ngx_snorky_shim_fail_all();

    for (i = 0; i < 64; i++) {
        names[i] = (u_char) ('A' + i / 2);

        nodes[i].hash = 5;
        nodes[i].scope = i % 2 ? &table : NULL;
        nodes[i].key.data = &names[i];
        nodes[i].key.len = 1;

        ngx_snorky_matcher_table_insert(&table, &nodes[i],
                                        &ngx_snorky_matcher_test_log);
    }

    ngx_snorky_shim_fail(0);

    for (wrong = 0, i = 0; i < 64; i++) {
        wrong += ngx_snorky_matcher_table_find(&table, 5,
                                               i % 2 ? &table : NULL,
                                               &nodes[i].key)
                 != &nodes[i];
    }

    tap_is_int(wrong, 0, "in a full table keys are found by their scope");
    tap_ok(ngx_snorky_matcher_table_find(&table, 21, NULL, &nodes[0].key)
           == NULL, "... and by their hash");

    for (i = 0; i < 64; i += 3) {
        ngx_snorky_matcher_table_remove(&table, &nodes[i]);
    }

    for (wrong = 0, i = 0; i < 64; i++) {
        wrong += ngx_snorky_matcher_table_find(&table, 5,
                                               i % 2 ? &table : NULL,
                                               &nodes[i].key)
                 != (i % 3 ? &nodes[i] : NULL);
    }

    tap_is_int(wrong, 0, "... and no longer when they are removed");
    tap_is_int(table.count, 42, "... nor counted");

    ngx_snorky_matcher_table_finish(&table);
    tap_ok(table.buckets == NULL && table.count == 0,
           "a finished table has nothing");
}


/* numbers under a random secret; returns the longest chain */

static ngx_uint_t
ngx_snorky_matcher_test_fill(ngx_snorky_matcher_table_t *table,
    ngx_snorky_matcher_node_t *nodes)
{
    uint64_t                    secret;
    ngx_uint_t                  i, chain, longest;
    ngx_snorky_matcher_node_t  *node;

    secret = ngx_snorky_matcher_secret(tap_random());

    for (i = 0; i < NGX_SNORKY_MATCHER_TEST_NODES; i++) {
        node = &nodes[i];

        node->key.len = sprintf((char *) node->key.data, "%u", (unsigned) i);
        node->hash = ngx_snorky_matcher_hash(secret, 0, &node->key);

        ngx_snorky_matcher_table_insert(table, node,
                                        &ngx_snorky_matcher_test_log);
    }

    for (longest = 0, i = 0; i <= table->mask; i++) {

        for (chain = 0, node = table->buckets[i]; node; node = node->next) {
            chain++;
        }

        longest = ngx_max(longest, chain);
    }

    return longest;
}


/* a single secret may do badly */

static void
ngx_snorky_matcher_test_growth(void)
{
    u_char                      names[NGX_SNORKY_MATCHER_TEST_NODES][8];
    ngx_uint_t                  i, round, longest, least;
    ngx_snorky_matcher_node_t  *nodes;
    ngx_snorky_matcher_table_t  table;

    nodes = calloc(NGX_SNORKY_MATCHER_TEST_NODES, sizeof(*nodes));
    memset(&table, 0, sizeof(table));
    ngx_snorky_matcher_table_init(&table, &ngx_snorky_matcher_test_log);

    for (i = 0; i < NGX_SNORKY_MATCHER_TEST_NODES; i++) {
        nodes[i].key.data = names[i];
    }

    least = NGX_SNORKY_MATCHER_TEST_NODES;

    for (round = 0; round < 5; round++) {
        longest = ngx_snorky_matcher_test_fill(&table, nodes);
        least = ngx_min(least, longest);

        tap_is_int(table.mask + 1, 8192, "a table grows with its elements");

        for (i = 0; i < NGX_SNORKY_MATCHER_TEST_NODES; i++) {
            ngx_snorky_matcher_table_remove(&table, &nodes[i]);
        }

        tap_is_int(table.count, 0, "... and all can be removed");
    }

    tap_ok(least < 20, "no more than %u numbers of %u are in one bucket",
           (unsigned) least, NGX_SNORKY_MATCHER_TEST_NODES);

    ngx_snorky_matcher_table_finish(&table);
    free(nodes);
}


int
main(void)
{
    tap_seed();

    ngx_snorky_matcher_test_hash();
    ngx_snorky_matcher_test_table();
    ngx_snorky_matcher_test_growth();

    return tap_done();
}
