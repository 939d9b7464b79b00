
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A second opinion on filters: protocol, 9, written down as plainly as it
 * goes, evaluated from the texts each time; and random filters and documents
 * that have to do with each other.
 */


#ifndef _NGX_SNORKY_FILTER_MODEL_H_INCLUDED_
#define _NGX_SNORKY_FILTER_MODEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "tap.h"


#define NGX_SNORKY_FILTER_MODEL_TEXT  65536


typedef struct {
    ngx_snorky_json_t   *filter;
    ngx_snorky_json_t   *document;
    ngx_snorky_json_t   *keys;
} ngx_snorky_filter_model_t;


static inline void
ngx_snorky_filter_model_create(ngx_snorky_filter_model_t *m)
{
    m->filter = ngx_snorky_json_create();
    m->document = ngx_snorky_json_create();
    m->keys = ngx_snorky_json_create();
}


static inline void
ngx_snorky_filter_model_destroy(ngx_snorky_filter_model_t *m)
{
    ngx_snorky_json_destroy(m->filter);
    ngx_snorky_json_destroy(m->document);
    ngx_snorky_json_destroy(m->keys);
}


/* a copy of the key of a valid text, to be freed */

static inline ngx_str_t
ngx_snorky_filter_model_key(ngx_snorky_filter_model_t *m, ngx_str_t *text)
{
    ngx_str_t  key, copy;

    if (ngx_snorky_json_key(m->keys, text, NGX_SNORKY_JSON_ANY_DEPTH, &key)
        != NGX_OK)
    {
        abort();
    }

    copy.len = key.len;
    copy.data = malloc(key.len);
    memcpy(copy.data, key.data, key.len);

    return copy;
}


/* whether two texts are one value */

static inline ngx_uint_t
ngx_snorky_filter_model_same(ngx_snorky_filter_model_t *m, ngx_str_t *one,
    ngx_str_t *two)
{
    ngx_str_t   a, b;
    ngx_uint_t  same;

    a = ngx_snorky_filter_model_key(m, one);
    b = ngx_snorky_filter_model_key(m, two);

    same = a.len == b.len && memcmp(a.data, b.data, a.len) == 0;

    free(a.data);
    free(b.data);

    return same;
}


static inline ngx_uint_t
ngx_snorky_filter_model_is(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *node, const char *text)
{
    ngx_str_t  other;

    other.data = (u_char *) text;
    other.len = strlen(text);

    return ngx_snorky_filter_model_same(m, &node->value.text, &other);
}


/* which of a list of words, from 1 on; 0: none */

static inline ngx_uint_t
ngx_snorky_filter_model_op(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *node)
{
    ngx_uint_t          i;
    static const char  *ops[] = { "\"==\"", "\"<\"", "\"<=\"", "\">\"",
                                  "\">=\"", "\"and\"", "\"or\"",
                                  "\"not\"" };

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (ngx_snorky_filter_model_is(m, node, ops[i])) {
            return i + 1;
        }
    }

    return 0;
}


static inline ngx_uint_t
ngx_snorky_filter_model_path(ngx_snorky_filter_model_t *m,
    ngx_snorky_value_t *value)
{
    size_t      i;
    u_char      prev;
    ngx_str_t   key;
    ngx_uint_t  valid;

    if (value->type != NGX_SNORKY_JSON_STRING) {
        return 0;
    }

    key = ngx_snorky_filter_model_key(m, &value->text);

    /* quotes, escaped or not, are no dots */

    valid = 1;
    prev = '.';

    for (i = 1; i + 1 < key.len; i++) {

        if (key.data[i] == '.' && prev == '.') {
            valid = 0;
        }

        prev = key.data[i];

        if (prev == '\\') {
            i++;

            if (key.data[i] == 'u' && key.data[i + 1] == 'd') {
                valid = 0;
            }
        }
    }

    if (prev == '.') {
        valid = 0;
    }

    free(key.data);

    return valid;
}


static inline ngx_uint_t
ngx_snorky_filter_model_node_valid(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *node, ngx_uint_t depth)
{
    ngx_uint_t               op, n;
    ngx_snorky_json_node_t  *arg, *args[2];

    if (node->value.type != NGX_SNORKY_JSON_ARRAY || depth > 32) {
        return 0;
    }

    node = ngx_snorky_json_child(m->filter, node);
    op = node ? ngx_snorky_filter_model_op(m, node) : 0;

    if (op == 0) {
        return 0;
    }

    n = 0;

    for (arg = ngx_snorky_json_next(m->filter, node);
         arg;
         arg = ngx_snorky_json_next(m->filter, arg))
    {
        if (n < 2) {
            args[n] = arg;
        }

        n++;

        if (op > 5
            && !ngx_snorky_filter_model_node_valid(m, arg, depth + 1))
        {
            return 0;
        }
    }

    if (op > 5) {
        return op == 8 ? n == 1 : n > 0;
    }

    return n == 2 && ngx_snorky_filter_model_path(m, &args[0]->value);
}


/* whether a text is a filter */

static inline ngx_uint_t
ngx_snorky_filter_model_valid(ngx_snorky_filter_model_t *m, ngx_str_t *text)
{
    ngx_snorky_json_node_t  *root;

    return ngx_snorky_json_parse(m->filter, text, NGX_SNORKY_JSON_ANY_DEPTH,
                                 NGX_SNORKY_JSON_KEEP_ALL, &root)
           == NGX_OK
           && ngx_snorky_filter_model_node_valid(m, root, 1);
}


/* the last member of the name that lies between p and end, not escaped */

static inline ngx_snorky_json_node_t *
ngx_snorky_filter_model_member(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *object, u_char *p, u_char *end)
{
    ngx_str_t                name;
    ngx_snorky_json_node_t  *node, *value, *found;

    if (object->value.type != NGX_SNORKY_JSON_OBJECT) {
        return NULL;
    }

    name.data = malloc(6 * (end - p) + 2);
    name.data[0] = '"';
    name.len = (u_char *) ngx_escape_json(name.data + 1, p, end - p)
               - name.data;
    name.data[name.len++] = '"';

    found = NULL;

    for (node = ngx_snorky_json_child(m->document, object);
         node;
         node = ngx_snorky_json_next(m->document, value))
    {
        value = ngx_snorky_json_next(m->document, node);

        if (ngx_snorky_filter_model_same(m, &node->value.text, &name)) {
            found = value;
        }
    }

    free(name.data);

    return found;
}


static inline ngx_snorky_json_node_t *
ngx_snorky_filter_model_find(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *node, ngx_snorky_value_t *path)
{
    u_char  *buf, *p, *dot, *last;

    buf = malloc(path->text.len);
    last = ngx_snorky_json_string(path, buf);

    for (p = buf; node && p < last; p = dot + 1) {

        for (dot = p; dot < last && *dot != '.'; dot++) { /* void */ }

        node = ngx_snorky_filter_model_member(m, node, p, dot);
    }

    free(buf);

    return node;
}


static inline ngx_uint_t
ngx_snorky_filter_model_compare(ngx_snorky_filter_model_t *m, ngx_uint_t op,
    ngx_snorky_json_node_t *path, ngx_snorky_json_node_t *document)
{
    ngx_int_t                order;
    ngx_str_t                one, two;
    ngx_snorky_json_node_t  *operand, *value;

    operand = ngx_snorky_json_next(m->filter, path);
    value = ngx_snorky_filter_model_find(m, document, &path->value);

    if (value == NULL) {
        return 0;
    }

    if (op == 1) {
        return ngx_snorky_filter_model_same(m, &value->value.text,
                                            &operand->value.text);
    }

    if (value->value.type != operand->value.type
        || (value->value.type != NGX_SNORKY_JSON_NUMBER
            && value->value.type != NGX_SNORKY_JSON_STRING))
    {
        return 0;
    }

    one = ngx_snorky_filter_model_key(m, &value->value.text);
    two = ngx_snorky_filter_model_key(m, &operand->value.text);

    order = ngx_snorky_json_compare(&one, &two);

    free(one.data);
    free(two.data);

    return op == 2 ? order < 0
         : op == 3 ? order <= 0
         : op == 4 ? order > 0 : order >= 0;
}


static inline ngx_uint_t
ngx_snorky_filter_model_node_match(ngx_snorky_filter_model_t *m,
    ngx_snorky_json_node_t *node, ngx_snorky_json_node_t *document)
{
    ngx_uint_t               op, n, matched;
    ngx_snorky_json_node_t  *arg;

    node = ngx_snorky_json_child(m->filter, node);
    op = ngx_snorky_filter_model_op(m, node);
    arg = ngx_snorky_json_next(m->filter, node);

    if (op <= 5) {
        return ngx_snorky_filter_model_compare(m, op, arg, document);
    }

    for (n = 0, matched = 0;
         arg;
         arg = ngx_snorky_json_next(m->filter, arg))
    {
        n++;
        matched += ngx_snorky_filter_model_node_match(m, arg, document);
    }

    return op == 6 ? matched == n
         : op == 7 ? matched > 0 : matched == 0;
}


/* whether a valid filter matches a valid document */

static inline ngx_uint_t
ngx_snorky_filter_model_match(ngx_snorky_filter_model_t *m, ngx_str_t *filter,
    ngx_str_t *document)
{
    ngx_snorky_json_node_t  *f, *d;

    if (ngx_snorky_json_parse(m->filter, filter, NGX_SNORKY_JSON_ANY_DEPTH,
                              NGX_SNORKY_JSON_KEEP_ALL, &f) != NGX_OK
        || ngx_snorky_json_parse(m->document, document,
                                 NGX_SNORKY_JSON_ANY_DEPTH,
                                 NGX_SNORKY_JSON_KEEP_ALL, &d) != NGX_OK)
    {
        abort();
    }

    return ngx_snorky_filter_model_node_match(m, f, d);
}


/* Random texts: few names and few values, in several spellings. */

static inline u_char *
ngx_snorky_filter_model_add(u_char *p, const char *text)
{
    if (tap_random_below(8) == 0) {
        *p++ = ' ';
    }

    return ngx_cpymem(p, text, strlen(text));
}


static inline u_char *
ngx_snorky_filter_model_value(u_char *p)
{
    static const char  *values[] = {
        "null", "true", "false", "0", "-0.0", "1", "1.0", "10e-1", "2", "10",
        "1e1", "2.5", "25e-1", "-3", "-30e-1", "1e400", "1e399", "\"\"",
        "\"1\"", "\"x\"", "\"\\u0078\"", "\"y\"", "\"\xc3\xa9\"",
        "\"\\u00e9\"", "\"\\ud800\"", "\"\xf0\x9f\x98\x80\"", "[]", "[1]",
        "[ 1.0 ]", "{}", "{\"a\":1}", "{\"a\" : 1e0}",
        "{\"a\":1,\"b\":{\"c\":2}}", "{\"b\":{\"c\":20e-1},\"a\":1}"
    };

    return ngx_snorky_filter_model_add(p,
               values[tap_random_below(sizeof(values) / sizeof(values[0]))]);
}


static inline u_char *
ngx_snorky_filter_model_document(u_char *p, ngx_uint_t depth)
{
    ngx_uint_t          n;
    static const char  *names[] = { "\"a\"", "\"b\"", "\"c\"", "\"\\u0061\"",
                                    "\"\xc3\xa9\"", "\"\\u00e9\"", "\"\"",
                                    "\"a.b\"" };

    if (depth == 0 || tap_random_below(depth == 3 ? 20 : 2) == 0) {
        return ngx_snorky_filter_model_value(p);
    }

    p = ngx_snorky_filter_model_add(p, "{");

    for (n = tap_random_below(6); n > 0; n--) {
        p = ngx_snorky_filter_model_add(p, names[tap_random_below(8)]);
        p = ngx_snorky_filter_model_add(p, ":");
        p = ngx_snorky_filter_model_document(p, depth - 1);
        p = ngx_snorky_filter_model_add(p, n > 1 ? "," : "");
    }

    return ngx_snorky_filter_model_add(p, "}");
}


static inline u_char *
ngx_snorky_filter_model_filter(u_char *p, ngx_uint_t depth)
{
    ngx_uint_t          n;
    static const char  *ops[] = { "\"==\"", "\"==\"", "\"\\u003d=\"",
                                  "\"<\"", "\"<=\"", "\">\"", "\">=\"" };
    static const char  *paths[] = { "\"a\"", "\"\\u0061\"", "\"b\"", "\"c\"",
                                    "\"a.b\"", "\"a\\u002eb\"", "\"b.a\"",
                                    "\"\xc3\xa9\"", "\"a.\\u00e9.c\"" };

    p = ngx_snorky_filter_model_add(p, "[");

    if (depth == 0 || tap_random_below(2)) {
        p = ngx_snorky_filter_model_add(p, ops[tap_random_below(7)]);
        p = ngx_snorky_filter_model_add(p, ",");
        p = ngx_snorky_filter_model_add(p, paths[tap_random_below(9)]);
        p = ngx_snorky_filter_model_add(p, ",");
        p = ngx_snorky_filter_model_value(p);

        return ngx_snorky_filter_model_add(p, "]");
    }

    n = 1;

    switch (tap_random_below(3)) {
    case 0:
        p = ngx_snorky_filter_model_add(p, "\"not\"");
        break;
    case 1:
        p = ngx_snorky_filter_model_add(p, "\"or\"");
        n = 1 + tap_random_below(3);
        break;
    default:
        p = ngx_snorky_filter_model_add(p, "\"and\"");
        n = 1 + tap_random_below(3);
    }

    for ( /* void */ ; n > 0; n--) {
        p = ngx_snorky_filter_model_add(p, ",");
        p = ngx_snorky_filter_model_filter(p, depth - 1);
    }

    return ngx_snorky_filter_model_add(p, "]");
}


#endif /* _NGX_SNORKY_FILTER_MODEL_H_INCLUDED_ */
