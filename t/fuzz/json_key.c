
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes the keys of JSON values: what has a key is valid; a key is JSON and
 * its own key; white space does not change it; and the key of a value inside
 * an array or an object is the key that it has alone.
 *
 * Input: a byte for the allocation that fails (0: none), then the text.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "../unit/nginx_shim.h"
#include "../unit/json_oracle.h"


#define NGX_SNORKY_JSON_FUZZ_DEPTH  200


#define ngx_snorky_json_fuzz_check(cond)                                      \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_str_t
ngx_snorky_json_fuzz_copy(ngx_str_t *s)
{
    ngx_str_t  copy;

    copy.len = s->len;
    copy.data = malloc(s->len);
    memcpy(copy.data, s->data, s->len);

    return copy;
}


/* whether before + text + after has the key before + key + after */

static void
ngx_snorky_json_fuzz_inside(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_str_t *key, const char *before, const char *after)
{
    size_t     prefix, suffix;
    ngx_str_t  whole, other;

    prefix = strlen(before);
    suffix = strlen(after);

    whole.len = prefix + text->len + suffix;
    whole.data = malloc(whole.len);

    memcpy(whole.data, before, prefix);
    memcpy(whole.data + prefix, text->data, text->len);
    memcpy(whole.data + prefix + text->len, after, suffix);

    ngx_snorky_json_fuzz_check(ngx_snorky_json_key(json, &whole,
                                   NGX_SNORKY_JSON_FUZZ_DEPTH + 1, &other)
                               == NGX_OK);

    ngx_snorky_json_fuzz_check(other.len == prefix + key->len + suffix);
    ngx_snorky_json_fuzz_check(memcmp(other.data, before, prefix) == 0);
    ngx_snorky_json_fuzz_check(memcmp(other.data + prefix, key->data,
                                      key->len) == 0);
    ngx_snorky_json_fuzz_check(memcmp(other.data + prefix + key->len, after,
                                      suffix) == 0);

    free(whole.data);
}


/* white space around each bracket, colon and comma outside of strings */

static void
ngx_snorky_json_fuzz_space(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_str_t *key)
{
    u_char      *p;
    size_t       i;
    ngx_str_t    spaced, other;
    ngx_uint_t   string;

    spaced.data = malloc(3 * text->len);

    p = spaced.data;
    string = 0;

    for (i = 0; i < text->len; i++) {

        if (string) {
            *p++ = text->data[i];

            if (text->data[i] == '\\') {
                *p++ = text->data[++i];

            } else if (text->data[i] == '"') {
                string = 0;
            }

        } else if (strchr("[]{}:,", text->data[i])) {
            *p++ = '\n';
            *p++ = text->data[i];
            *p++ = ' ';

        } else {
            *p++ = text->data[i];
            string = text->data[i] == '"';
        }
    }

    spaced.len = p - spaced.data;

    ngx_snorky_json_fuzz_check(ngx_snorky_json_key(json, &spaced,
                                   NGX_SNORKY_JSON_FUZZ_DEPTH, &other)
                               == NGX_OK);
    ngx_snorky_json_fuzz_check(other.len == key->len
                               && memcmp(other.data, key->data, key->len)
                                  == 0);

    free(spaced.data);
}


static void
ngx_snorky_json_fuzz_key(ngx_snorky_json_t *json, ngx_str_t *text)
{
    ngx_str_t  key, other;

    ngx_snorky_json_fuzz_check(ngx_snorky_json_key(json, text,
                                   NGX_SNORKY_JSON_FUZZ_DEPTH, &key)
                               == NGX_OK);

    key = ngx_snorky_json_fuzz_copy(&key);

    ngx_snorky_json_fuzz_check(key.len <= 2 * text->len);
    ngx_snorky_json_fuzz_check(ngx_snorky_json_oracle_valid(key.data, key.len,
                                   NGX_SNORKY_JSON_FUZZ_DEPTH));

    ngx_snorky_json_fuzz_check(ngx_snorky_json_key(json, &key,
                                   NGX_SNORKY_JSON_FUZZ_DEPTH, &other)
                               == NGX_OK);
    ngx_snorky_json_fuzz_check(other.len == key.len
                               && memcmp(other.data, key.data, key.len) == 0);

    ngx_snorky_json_fuzz_space(json, text, &key);
    ngx_snorky_json_fuzz_inside(json, text, &key, "[", "]");
    ngx_snorky_json_fuzz_inside(json, text, &key, "{\"a\":1,\"b\":",
                                ",\"c\":[]}");

    free(key.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t           rc, expected;
    ngx_str_t           text, key;
    ngx_snorky_json_t  *json;

    if (size < 1) {
        return 0;
    }

    text.data = (u_char *) data + 1;
    text.len = size - 1;

    ngx_snorky_shim_fail(0);

    json = ngx_snorky_json_create();

    expected = ngx_snorky_json_oracle_valid(text.data, text.len,
                                            NGX_SNORKY_JSON_FUZZ_DEPTH)
               ? NGX_OK : NGX_DECLINED;

    if (data[0]) {
        ngx_snorky_shim_fail(data[0]);
        rc = ngx_snorky_json_key(json, &text, NGX_SNORKY_JSON_FUZZ_DEPTH,
                                 &key);

        ngx_snorky_json_fuzz_check(rc == expected || rc == NGX_ERROR);
        ngx_snorky_shim_fail(0);
    }

    rc = ngx_snorky_json_key(json, &text, NGX_SNORKY_JSON_FUZZ_DEPTH, &key);

    ngx_snorky_json_fuzz_check(rc == expected);

    if (rc == NGX_OK) {
        ngx_snorky_json_fuzz_key(json, &text);
    }

    ngx_snorky_json_destroy(json);

    return 0;
}
