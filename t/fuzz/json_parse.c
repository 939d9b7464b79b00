
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes the JSON parser: it accepts what a plain reading of RFC 8259 does,
 * its slices lie where they should, and each of them is read to the same.
 *
 * Input: a byte for max_depth, a byte for keep, a byte for the allocation
 * that fails (0: none), then the text.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "../unit/nginx_shim.h"
#include "../unit/json_oracle.h"


typedef struct {
    ngx_snorky_json_t        *json;
    ngx_snorky_json_t        *again;
    ngx_uint_t                max_depth;
    ngx_uint_t                keep;
} ngx_snorky_json_fuzz_t;


#define ngx_snorky_json_fuzz_check(cond)                                      \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* the brackets, the quotes or the first letter are in the right place */

static void
ngx_snorky_json_fuzz_slice(ngx_snorky_value_t *value)
{
    u_char  first, last;

    ngx_snorky_json_fuzz_check(value->text.len > 0);

    first = value->text.data[0];
    last = value->text.data[value->text.len - 1];

    switch (value->type) {

    case NGX_SNORKY_JSON_OBJECT:
        ngx_snorky_json_fuzz_check(first == '{' && last == '}');
        break;

    case NGX_SNORKY_JSON_ARRAY:
        ngx_snorky_json_fuzz_check(first == '[' && last == ']');
        break;

    case NGX_SNORKY_JSON_STRING:
        ngx_snorky_json_fuzz_check(first == '"' && last == '"');
        break;

    case NGX_SNORKY_JSON_NUMBER:
        ngx_snorky_json_fuzz_check(first == '-' || isdigit(first));
        ngx_snorky_json_fuzz_check(isdigit(last));
        break;

    case NGX_SNORKY_JSON_TRUE:
        ngx_snorky_json_fuzz_check(value->text.len == 4 && first == 't');
        break;

    case NGX_SNORKY_JSON_FALSE:
        ngx_snorky_json_fuzz_check(value->text.len == 5 && first == 'f');
        break;

    case NGX_SNORKY_JSON_NULL:
        ngx_snorky_json_fuzz_check(value->text.len == 4 && first == 'n');
        break;
    }
}


/* the node and those below it, at this depth */

static void
ngx_snorky_json_fuzz_walk(ngx_snorky_json_fuzz_t *fuzz,
    ngx_snorky_json_node_t *node, ngx_uint_t depth)
{
    u_char                  *pos;
    ngx_str_t                name;
    ngx_uint_t               n;
    ngx_snorky_json_node_t  *again, *child;

    ngx_snorky_json_fuzz_check(depth <= fuzz->keep);
    ngx_snorky_json_fuzz_slice(&node->value);

    ngx_snorky_json_fuzz_check(ngx_snorky_json_parse(fuzz->again,
                                   &node->value.text,
                                   fuzz->max_depth - depth, 0, &again)
                               == NGX_OK);
    ngx_snorky_json_fuzz_check(again->value.type == node->value.type);
    ngx_snorky_json_fuzz_check(again->value.text.data == node->value.text.data
                               && again->value.text.len
                                  == node->value.text.len);

    child = ngx_snorky_json_child(fuzz->json, node);
    pos = node->value.text.data;

    if (node->value.type < NGX_SNORKY_JSON_ARRAY || depth == fuzz->keep) {
        ngx_snorky_json_fuzz_check(child == NULL);
        return;
    }

    for (n = 0; child; n++) {

        ngx_snorky_json_fuzz_check(child->value.text.data > pos);
        pos = child->value.text.data + child->value.text.len;

        if (node->value.type == NGX_SNORKY_JSON_OBJECT && n % 2 == 0) {
            ngx_snorky_json_fuzz_check(child->value.type
                                       == NGX_SNORKY_JSON_STRING);

            /* is found when it is taken for a plain text, unless escaped */

            name.data = child->value.text.data + 1;
            name.len = child->value.text.len - 2;

            ngx_snorky_json_fuzz_check(
                ngx_snorky_json_member(fuzz->json, node, &name) != NULL
                || memchr(name.data, '\\', name.len) != NULL);
        }

        ngx_snorky_json_fuzz_walk(fuzz, child, depth + 1);

        child = ngx_snorky_json_next(fuzz->json, child);
    }

    ngx_snorky_json_fuzz_check(pos < node->value.text.data
                                     + node->value.text.len);
    ngx_snorky_json_fuzz_check(node->value.type == NGX_SNORKY_JSON_ARRAY
                               || n % 2 == 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t                rc;
    ngx_str_t                text;
    ngx_uint_t               valid;
    ngx_snorky_json_fuzz_t   fuzz;
    ngx_snorky_json_node_t  *root;

    if (size < 3) {
        return 0;
    }

    text.data = (u_char *) data + 3;
    text.len = size - 3;

    ngx_snorky_shim_fail(0);

    fuzz.json = ngx_snorky_json_create();
    fuzz.again = ngx_snorky_json_create();
    fuzz.max_depth = data[0];
    fuzz.keep = (data[1] == 0xff) ? NGX_SNORKY_JSON_KEEP_ALL : data[1];

    valid = ngx_snorky_json_oracle_valid(text.data, text.len, fuzz.max_depth);

    if (data[2]) {
        ngx_snorky_shim_fail(data[2]);
        rc = ngx_snorky_json_parse(fuzz.json, &text, fuzz.max_depth,
                                   fuzz.keep, &root);

        ngx_snorky_json_fuzz_check(rc == NGX_ERROR
                                   || rc == (valid ? NGX_OK : NGX_DECLINED));
        ngx_snorky_shim_fail(0);
    }

    rc = ngx_snorky_json_parse(fuzz.json, &text, fuzz.max_depth, fuzz.keep,
                               &root);

    ngx_snorky_json_fuzz_check(rc == (valid ? NGX_OK : NGX_DECLINED));

    if (rc == NGX_OK) {
        ngx_snorky_json_fuzz_check(root->value.text.data >= text.data
                                   && root->value.text.data
                                      + root->value.text.len
                                      <= text.data + text.len);
        ngx_snorky_json_fuzz_walk(&fuzz, root, 0);
    }

    ngx_snorky_json_destroy(fuzz.json);
    ngx_snorky_json_destroy(fuzz.again);

    return 0;
}
