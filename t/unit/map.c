
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The keyed set: its hash against the published one, its table against a
 * plain list, and its memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_map.h"
#include "nginx_shim.h"
#include "tap.h"


#define NGX_SNORKY_MAP_TEST_N  2000


typedef struct {
    ngx_snorky_map_node_t   node;
    ngx_uint_t              in;
    u_char                  name[24];
} ngx_snorky_map_element_t;


static const uint64_t  ngx_snorky_map_secret[2] = {
    UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)
};


/*
 * SipHash-2-4 under the key 00 01 .. 0f of the inputs of 0 to 63 bytes
 * 00 01 02 ..: the first vectors of the reference implementation, with
 * that of 15 bytes, which is worked out in appendix A of the paper.
 */

static const uint64_t  ngx_snorky_map_vectors[] = {
    UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd),
    UINT64_C(0x0d6c8009d9a94f5a), UINT64_C(0x85676696d7fb7e2d),
    UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
    UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137),
    UINT64_C(0x93f5f5799a932462), UINT64_C(0x9e0082df0ba9e4b0),
    UINT64_C(0x7a5dbbc594ddb9f3), UINT64_C(0xf4b32f46226bada7),
    UINT64_C(0x751e8fbc860ee5fb), UINT64_C(0x14ea5627c0843d90),
    UINT64_C(0xf723ca908e7af2ee), UINT64_C(0xa129ca6149be45e5)
};


static void
ngx_snorky_map_test_hash(void)
{
    u_char     *input;
    uint64_t    hash, other[2];
    ngx_uint_t  i, j, n, same;

    n = sizeof(ngx_snorky_map_vectors) / sizeof(ngx_snorky_map_vectors[0]);

    for (i = 0; i < n; i++) {

        /* at its end nothing may be read, and it is not aligned */

        input = malloc(i + 1);

        for (j = 0; j < i; j++) {
            input[1 + j] = (u_char) j;
        }

        hash = ngx_snorky_map_hash(ngx_snorky_map_secret, input + 1, i);

        tap_ok(hash == ngx_snorky_map_vectors[i],
               "SipHash-2-4 of %u bytes is as published", (unsigned) i);

        free(input);
    }

    tap_ok(ngx_snorky_map_hash(ngx_snorky_map_secret, NULL, 0)
           == ngx_snorky_map_vectors[0], "no data hashes like empty data");

    for (same = 0, i = 0; i < 128; i++) {
        other[0] = ngx_snorky_map_secret[0];
        other[1] = ngx_snorky_map_secret[1];
        other[i / 64] ^= UINT64_C(1) << (i % 64);

        same += ngx_snorky_map_hash(other, (u_char *) "snorky", 6)
                == ngx_snorky_map_hash(ngx_snorky_map_secret,
                                       (u_char *) "snorky", 6);
    }

    tap_is_int(same, 0, "each bit of the secret changes the hash");
}


static void
ngx_snorky_map_test_key(ngx_snorky_map_element_t *e, uint64_t hash,
    const char *key)
{
    e->node.hash = hash;
    e->node.key.data = (u_char *) key;
    e->node.key.len = strlen(key);
}


static void
ngx_snorky_map_test_collisions(void)
{
    ngx_str_t                 key;
    ngx_snorky_map_t          map;
    ngx_snorky_map_element_t  a, b, c, empty;

    tap_is_int(ngx_snorky_map_init(&map), NGX_OK, "a map is made");
    tap_is_int(map.count, 0, "it is empty");

    ngx_str_set(&key, "a");
    tap_ok(ngx_snorky_map_find(&map, 5, &key) == NULL,
           "an empty map has nothing");

    /* one hash, so one bucket, as after a hash was guessed */

    ngx_snorky_map_test_key(&a, 5, "a");
    ngx_snorky_map_test_key(&b, 5, "b");
    ngx_snorky_map_test_key(&c, 5, "ab");
    ngx_snorky_map_test_key(&empty, 5, "");
    ngx_str_null(&empty.node.key);

    ngx_snorky_map_insert(&map, &a.node);
    ngx_snorky_map_insert(&map, &b.node);
    ngx_snorky_map_insert(&map, &c.node);

    tap_ok(ngx_snorky_map_find(&map, 5, &key) == &a.node,
           "the first of three with one hash is found");
    tap_ok(ngx_snorky_map_find(&map, 5, &b.node.key) == &b.node,
           "... the second");
    tap_ok(ngx_snorky_map_find(&map, 5, &c.node.key) == &c.node,
           "... and the third, which begins like the first");
    tap_ok(ngx_snorky_map_find(&map, 5, &empty.node.key) == NULL,
           "an empty key is none of them");
    tap_ok(ngx_snorky_map_find(&map, 6, &key) == NULL,
           "a key with another hash is not found");
    tap_ok(ngx_snorky_map_find(&map, 5 + 16, &key) == NULL,
           "... nor with a hash of the same bucket");

    ngx_snorky_map_insert(&map, &empty.node);
    tap_ok(ngx_snorky_map_find(&map, 5, &empty.node.key) == &empty.node,
           "an empty key is found");

    ngx_snorky_map_remove(&map, &b.node);
    tap_ok(ngx_snorky_map_find(&map, 5, &b.node.key) == NULL,
           "what is removed from the middle is gone");
    tap_ok(ngx_snorky_map_find(&map, 5, &a.node.key) == &a.node
           && ngx_snorky_map_find(&map, 5, &c.node.key) == &c.node,
           "... and its neighbours are not");

    ngx_snorky_map_remove(&map, &empty.node);
    ngx_snorky_map_remove(&map, &a.node);
    ngx_snorky_map_remove(&map, &c.node);

    tap_is_int(map.count, 0, "it is empty again");

    ngx_snorky_map_finish(&map);

    tap_ok(map.buckets == NULL, "a finished map has no table");
}


static void
ngx_snorky_map_test_fill(ngx_snorky_map_element_t *elements)
{
    ngx_uint_t                 i;
    ngx_snorky_map_element_t  *e;

    for (i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        e = &elements[i];

        e->node.key.len = snprintf((char *) e->name, sizeof(e->name),
                                   "\"channel %u\"", (unsigned) i);
        e->node.key.data = e->name;
        e->node.hash = ngx_snorky_map_hash(ngx_snorky_map_secret, e->name,
                                           e->node.key.len);
        e->in = 0;
    }
}


/* whether the map has what it should, and nothing else */

static ngx_uint_t
ngx_snorky_map_test_holds(ngx_snorky_map_t *map,
    ngx_snorky_map_element_t *elements)
{
    ngx_uint_t                 i, n;
    ngx_snorky_map_node_t     *found;
    ngx_snorky_map_element_t  *e;

    for (n = 0, i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        e = &elements[i];

        found = ngx_snorky_map_find(map, e->node.hash, &e->node.key);

        if (found != (e->in ? &e->node : NULL)) {
            return 0;
        }

        n += e->in;
    }

    return map->count == n;
}


static void
ngx_snorky_map_test_toggle(ngx_snorky_map_t *map, ngx_snorky_map_element_t *e)
{
    if (e->in) {
        ngx_snorky_map_remove(map, &e->node);

    } else {
        ngx_snorky_map_insert(map, &e->node);
    }

    e->in = !e->in;
}


static void
ngx_snorky_map_test_size(ngx_snorky_map_element_t *elements)
{
    ngx_uint_t        i, wrong, moves;
    ngx_snorky_map_t  map;

    ngx_snorky_map_test_fill(elements);
    ngx_snorky_map_init(&map);

    for (wrong = 0, i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);

        wrong += map.mask + 1 < map.count;
        wrong += map.mask + 1 > 16 && map.mask + 1 > map.count * 2;
        wrong += (map.mask & (map.mask + 1)) != 0;
    }

    tap_is_int(wrong, 0, "the table grows with the number of elements");
    tap_is_int(map.mask + 1, 2048, "it has 2048 buckets for 2000 elements");
    tap_ok(ngx_snorky_map_test_holds(&map, elements), "they are all there");

    for (wrong = 0, i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);

        wrong += map.mask + 1 > 16 && map.mask + 1 > map.count * 8 + 8;
        wrong += map.mask + 1 < 16;
    }

    tap_is_int(wrong, 0, "it shrinks with them");
    tap_is_int(map.mask + 1, 16, "an empty map has 16 buckets");
    tap_ok(ngx_snorky_map_test_holds(&map, elements), "none are there");

    /* at the edge: 16 buckets are full */

    for (i = 0; i < 16; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);
    }

    ngx_snorky_shim_fail(0);

    for (i = 0; i < 1000; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[16]);
    }

    moves = ngx_snorky_shim_allocations();

    tap_ok(moves <= 1, "a count that goes up and down moves no nodes");

    ngx_snorky_map_finish(&map);
}


static void
ngx_snorky_map_test_random(ngx_snorky_map_element_t *elements)
{
    ngx_uint_t        i, n, some, wrong;
    ngx_snorky_map_t  map;

    ngx_snorky_map_test_fill(elements);
    ngx_snorky_map_init(&map);

    wrong = 0;

    for (i = 0; i < 200; i++) {

        /* at times few elements, at times many */

        some = 1 + tap_random_below(NGX_SNORKY_MAP_TEST_N);

        for (n = tap_random_below(1000); n > 0; n--) {
            ngx_snorky_map_test_toggle(&map,
                                       &elements[tap_random_below(some)]);
        }

        wrong += !ngx_snorky_map_test_holds(&map, elements);
    }

    tap_is_int(wrong, 0, "after random inserts and removals the map has what "
               "it should");

    ngx_snorky_map_finish(&map);
}


static void
ngx_snorky_map_test_memory(ngx_snorky_map_element_t *elements)
{
    ngx_uint_t        i;
    ngx_snorky_map_t  map;

    ngx_snorky_shim_fail(1);
    tap_is_int(ngx_snorky_map_init(&map), NGX_ERROR,
               "without memory no map is made");

    ngx_snorky_shim_fail(0);
    ngx_snorky_map_test_fill(elements);
    ngx_snorky_map_init(&map);

    ngx_snorky_shim_fail_all();

    for (i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);
    }

    tap_ok(ngx_snorky_map_test_holds(&map, elements),
           "without memory 2000 elements can be inserted");
    tap_is_int(map.mask + 1, 16, "... into 16 buckets");

    ngx_snorky_shim_fail(0);

    for (i = 0; i < 1000; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);
    }

    for (i = 0; i < 8; i++) {
        ngx_snorky_map_test_toggle(&map, &elements[i]);
    }

    tap_ok(map.mask + 1 >= 1024, "with memory again the table catches up");
    tap_ok(ngx_snorky_map_test_holds(&map, elements), "nothing is lost");

    ngx_snorky_shim_fail_all();

    for (i = 0; i < NGX_SNORKY_MAP_TEST_N; i++) {
        if (elements[i].in && i != 1500) {
            ngx_snorky_map_test_toggle(&map, &elements[i]);
        }
    }

    tap_ok(ngx_snorky_map_test_holds(&map, elements),
           "without memory elements can be removed");

    ngx_snorky_map_finish(&map);
    ngx_snorky_shim_fail(0);
}


int
main(void)
{
    ngx_snorky_map_element_t  *elements;

    tap_seed();

    elements = malloc(NGX_SNORKY_MAP_TEST_N
                      * sizeof(ngx_snorky_map_element_t));

    ngx_snorky_map_test_hash();
    ngx_snorky_map_test_collisions();
    ngx_snorky_map_test_size(elements);
    ngx_snorky_map_test_random(elements);
    ngx_snorky_map_test_memory(elements);

    free(elements);

    return tap_done();
}
