
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Filters of datasync, read once and then asked often.  A filter owns the
 * canonical text of which it was made, and what it was made into: an array of
 * nodes, each followed by those inside it.  Called by the matcher, and by
 * datasync, which refuses what is malformed.
 *
 * A canonical text consists of canonical texts: its values are keys already.
 */


#include "ngx_snorky_filter.h"


typedef enum {
    NGX_SNORKY_FILTER_EQ = 0,
    NGX_SNORKY_FILTER_LT,
    NGX_SNORKY_FILTER_LE,
    NGX_SNORKY_FILTER_GT,
    NGX_SNORKY_FILTER_GE,
    NGX_SNORKY_FILTER_AND,      /* from here on: of filters */
    NGX_SNORKY_FILTER_OR,
    NGX_SNORKY_FILTER_NOT
} ngx_snorky_filter_op_e;


typedef struct {
    ngx_snorky_filter_op_e           op;
    uint32_t                         n;     /* which comparison it is */
    uint32_t                         end;   /* where its arguments end */
} ngx_snorky_filter_node_t;


struct ngx_snorky_filter_s {
    ngx_str_t                        text;
    ngx_snorky_filter_comparison_t  *comparisons;
    ngx_uint_t                       count;
    ngx_snorky_filter_node_t        *nodes;
};


/* what is counted when a text is checked, and filled when it is compiled */

typedef struct {
    ngx_snorky_json_t               *json;
    ngx_snorky_filter_t             *filter;
    ngx_uint_t                       nodes;
    ngx_uint_t                       comparisons;
    size_t                           size;      /* of all paths */
    u_char                          *p;
} ngx_snorky_filter_compiler_t;


/* the operators as they stand in a canonical text, in the order of the enum */

static ngx_str_t  ngx_snorky_filter_ops[] = {
    ngx_string("\"==\""),
    ngx_string("\"<\""),
    ngx_string("\"<=\""),
    ngx_string("\">\""),
    ngx_string("\">=\""),
    ngx_string("\"and\""),
    ngx_string("\"or\""),
    ngx_string("\"not\""),
    ngx_null_string
};


static ngx_int_t ngx_snorky_filter_read(ngx_snorky_json_t *json,
    ngx_str_t *text, ngx_log_t *log, ngx_snorky_filter_t **filter);
static ngx_int_t ngx_snorky_filter_check(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *node, ngx_uint_t depth);
static ngx_int_t ngx_snorky_filter_op(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node);
static ngx_int_t ngx_snorky_filter_check_comparison(
    ngx_snorky_filter_compiler_t *c, ngx_snorky_json_node_t *path);
static ngx_int_t ngx_snorky_filter_check_path(ngx_str_t *text);

static ngx_snorky_filter_t *ngx_snorky_filter_alloc(
    ngx_snorky_filter_compiler_t *c, ngx_log_t *log);
static void ngx_snorky_filter_compile(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *node, ngx_uint_t conjunct);
static void ngx_snorky_filter_compile_comparison(
    ngx_snorky_filter_compiler_t *c, ngx_snorky_json_node_t *path,
    ngx_uint_t term);

static ngx_int_t ngx_snorky_filter_evaluate(ngx_snorky_filter_t *filter,
    uint32_t n, ngx_snorky_filter_value_pt value, void *ctx);
static ngx_uint_t ngx_snorky_filter_holds(ngx_snorky_filter_op_e op,
    ngx_str_t *value, ngx_str_t *operand);
static ngx_uint_t ngx_snorky_filter_comparable(ngx_str_t *one,
    ngx_str_t *two);


ngx_int_t
ngx_snorky_filter_create(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_log_t *log, ngx_snorky_filter_t **filter)
{
    ngx_int_t  rc;
    ngx_str_t  key, copy;

    rc = ngx_snorky_json_key(json, text, NGX_SNORKY_JSON_ANY_DEPTH, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    copy.len = key.len;
    copy.data = ngx_alloc(key.len, log);

    if (copy.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy.data, key.data, key.len);

    rc = ngx_snorky_filter_read(json, &copy, log, filter);
    if (rc != NGX_OK) {
        ngx_free(copy.data);
    }

    return rc;
}


static ngx_int_t
ngx_snorky_filter_read(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_log_t *log, ngx_snorky_filter_t **filter)
{
    ngx_int_t                      rc;
    ngx_snorky_json_node_t        *root;
    ngx_snorky_filter_compiler_t   c;

    /* values are needed whole: nothing below the deepest comparison's */

    rc = ngx_snorky_json_parse(json, text, NGX_SNORKY_JSON_ANY_DEPTH,
                               NGX_SNORKY_FILTER_DEPTH, &root);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&c, sizeof(ngx_snorky_filter_compiler_t));
    c.json = json;

    if (ngx_snorky_filter_check(&c, root, 1) != NGX_OK) {
        return NGX_DECLINED;
    }

    c.filter = ngx_snorky_filter_alloc(&c, log);
    if (c.filter == NULL) {
        return NGX_ERROR;
    }

    c.filter->text = *text;

    ngx_snorky_filter_compile(&c, root, 1);

    *filter = c.filter;

    return NGX_OK;
}


void
ngx_snorky_filter_destroy(ngx_snorky_filter_t *filter)
{
    ngx_free(filter->text.data);
    ngx_free(filter);
}


ngx_str_t *
ngx_snorky_filter_text(ngx_snorky_filter_t *filter)
{
    return &filter->text;
}


ngx_snorky_filter_comparison_t *
ngx_snorky_filter_comparisons(ngx_snorky_filter_t *filter, ngx_uint_t *n)
{
    *n = filter->count;

    return filter->comparisons;
}


/* recurses as deep as a filter may nest */

static ngx_int_t
ngx_snorky_filter_check(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *node, ngx_uint_t depth)
{
    ngx_int_t                op;
    ngx_snorky_json_node_t  *arg;

    op = ngx_snorky_filter_op(c->json, node);

    if (op == NGX_ERROR || depth > NGX_SNORKY_FILTER_DEPTH) {
        return NGX_DECLINED;
    }

    c->nodes++;

    arg = ngx_snorky_json_next(c->json, ngx_snorky_json_child(c->json, node));

    if (arg == NULL) {
        return NGX_DECLINED;
    }

    if (op < NGX_SNORKY_FILTER_AND) {
        return ngx_snorky_filter_check_comparison(c, arg);
    }

    if (op == NGX_SNORKY_FILTER_NOT && ngx_snorky_json_next(c->json, arg)) {
        return NGX_DECLINED;
    }

    do {
        if (ngx_snorky_filter_check(c, arg, depth + 1) != NGX_OK) {
            return NGX_DECLINED;
        }

        arg = ngx_snorky_json_next(c->json, arg);
    } while (arg);

    return NGX_OK;
}


/* the operator that begins an array; NGX_ERROR: there is none */

static ngx_int_t
ngx_snorky_filter_op(ngx_snorky_json_t *json, ngx_snorky_json_node_t *node)
{
    ngx_int_t   op;
    ngx_str_t  *name, *text;

    if (node->value.type != NGX_SNORKY_JSON_ARRAY) {
        return NGX_ERROR;
    }

    node = ngx_snorky_json_child(json, node);
    if (node == NULL) {
        return NGX_ERROR;
    }

    text = &node->value.text;

    for (op = 0; ngx_snorky_filter_ops[op].len; op++) {
        name = &ngx_snorky_filter_ops[op];

        if (name->len == text->len
            && ngx_memcmp(name->data, text->data, text->len) == 0)
        {
            return op;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_snorky_filter_check_comparison(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *path)
{
    ngx_snorky_json_node_t  *operand;

    operand = ngx_snorky_json_next(c->json, path);

    if (operand == NULL
        || ngx_snorky_json_next(c->json, operand)
        || path->value.type != NGX_SNORKY_JSON_STRING
        || ngx_snorky_filter_check_path(&path->value.text) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    c->comparisons++;
    c->size += path->value.text.len;

    return NGX_OK;
}


/*
 * No name in it is empty; and none has an unpaired surrogate, which could not
 * be told from another one in UTF-8.  In a canonical text a dot is never an
 * escape, and \ud begins nothing else.
 */

static ngx_int_t
ngx_snorky_filter_check_path(ngx_str_t *text)
{
    u_char      *p, *last;
    ngx_uint_t   empty;

    last = text->data + text->len - 1;
    empty = 1;

    for (p = text->data + 1; p < last; p++) {

        if (*p == '.') {
            if (empty) {
                return NGX_DECLINED;
            }

            empty = 1;
            continue;
        }

        empty = 0;

        if (*p == '\\') {
            if (p[1] == 'u' && p[2] == 'd') {
                return NGX_DECLINED;
            }

            p++;
        }
    }

    return empty ? NGX_DECLINED : NGX_OK;
}


/* the filter, its comparisons, its nodes, and its paths, in one piece */

static ngx_snorky_filter_t *
ngx_snorky_filter_alloc(ngx_snorky_filter_compiler_t *c, ngx_log_t *log)
{
    u_char               *p;
    ngx_snorky_filter_t  *filter;

    p = ngx_alloc(sizeof(ngx_snorky_filter_t)
                  + c->comparisons * sizeof(ngx_snorky_filter_comparison_t)
                  + c->nodes * sizeof(ngx_snorky_filter_node_t)
                  + c->size,
                  log);

    if (p == NULL) {
        return NULL;
    }

    filter = (ngx_snorky_filter_t *) p;
    p += sizeof(ngx_snorky_filter_t);

    filter->comparisons = (ngx_snorky_filter_comparison_t *) p;
    filter->count = c->comparisons;
    p += c->comparisons * sizeof(ngx_snorky_filter_comparison_t);

    filter->nodes = (ngx_snorky_filter_node_t *) p;
    p += c->nodes * sizeof(ngx_snorky_filter_node_t);

    c->p = p;
    c->nodes = 0;
    c->comparisons = 0;

    return filter;
}


/* "conjunct": nothing but "and" is around the node */

static void
ngx_snorky_filter_compile(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *node, ngx_uint_t conjunct)
{
    ngx_snorky_json_node_t    *arg;
    ngx_snorky_filter_node_t  *compiled;

    compiled = &c->filter->nodes[c->nodes++];

    compiled->op = (ngx_snorky_filter_op_e)
                   ngx_snorky_filter_op(c->json, node);
    compiled->n = (uint32_t) c->comparisons;

    arg = ngx_snorky_json_next(c->json, ngx_snorky_json_child(c->json, node));

    if (compiled->op < NGX_SNORKY_FILTER_AND) {
        ngx_snorky_filter_compile_comparison(c, arg,
                        conjunct && compiled->op == NGX_SNORKY_FILTER_EQ);

    } else {
        conjunct = conjunct && compiled->op == NGX_SNORKY_FILTER_AND;

        do {
            ngx_snorky_filter_compile(c, arg, conjunct);
            arg = ngx_snorky_json_next(c->json, arg);
        } while (arg);
    }

    compiled->end = (uint32_t) c->nodes;
}


static void
ngx_snorky_filter_compile_comparison(ngx_snorky_filter_compiler_t *c,
    ngx_snorky_json_node_t *path, ngx_uint_t term)
{
    ngx_snorky_filter_comparison_t  *comparison;

    comparison = &c->filter->comparisons[c->comparisons++];

    comparison->path.data = c->p;
    c->p = ngx_snorky_json_string(&path->value, c->p);
    comparison->path.len = c->p - comparison->path.data;

    comparison->value = ngx_snorky_json_next(c->json, path)->value.text;
    comparison->term = term ? 1 : 0;
}


ngx_int_t
ngx_snorky_filter_match(ngx_snorky_filter_t *filter,
    ngx_snorky_filter_value_pt value, void *ctx)
{
    return ngx_snorky_filter_evaluate(filter, 0, value, ctx);
}


static ngx_int_t
ngx_snorky_filter_evaluate(ngx_snorky_filter_t *filter, uint32_t n,
    ngx_snorky_filter_value_pt value, void *ctx)
{
    uint32_t                   i;
    ngx_int_t                  rc, decides;
    ngx_str_t                  v;
    ngx_snorky_filter_node_t  *node;

    node = &filter->nodes[n];

    if (node->op < NGX_SNORKY_FILTER_AND) {
        rc = value(ctx, node->n, &v);
        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_snorky_filter_holds(node->op, &v,
                                       &filter->comparisons[node->n].value)
               ? NGX_OK : NGX_DECLINED;
    }

    if (node->op == NGX_SNORKY_FILTER_NOT) {
        rc = ngx_snorky_filter_evaluate(filter, n + 1, value, ctx);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        return (rc == NGX_OK) ? NGX_DECLINED : NGX_OK;
    }

    decides = (node->op == NGX_SNORKY_FILTER_OR) ? NGX_OK : NGX_DECLINED;
    rc = decides;

    for (i = n + 1; i < node->end; i = filter->nodes[i].end) {

        rc = ngx_snorky_filter_evaluate(filter, i, value, ctx);

        if (rc == decides || rc == NGX_ERROR) {
            break;
        }
    }

    return rc;
}


static ngx_uint_t
ngx_snorky_filter_holds(ngx_snorky_filter_op_e op, ngx_str_t *value,
    ngx_str_t *operand)
{
    ngx_int_t  order;

    if (op == NGX_SNORKY_FILTER_EQ) {
        return value->len == operand->len
               && ngx_memcmp(value->data, operand->data, value->len) == 0;
    }

    if (!ngx_snorky_filter_comparable(value, operand)) {
        return 0;
    }

    order = ngx_snorky_json_compare(value, operand);

    switch (op) {

    case NGX_SNORKY_FILTER_LT:
        return order < 0;

    case NGX_SNORKY_FILTER_LE:
        return order <= 0;

    case NGX_SNORKY_FILTER_GT:
        return order > 0;

    default: /* NGX_SNORKY_FILTER_GE */
        return order >= 0;
    }
}


/* two strings or two numbers: a quote, and a minus or a digit, begin these */

static ngx_uint_t
ngx_snorky_filter_comparable(ngx_str_t *one, ngx_str_t *two)
{
    u_char  a, b;

    a = one->data[0];
    b = two->data[0];

    if (a == '"' || b == '"') {
        return a == b;
    }

    return (a == '-' || (a >= '0' && a <= '9'))
           && (b == '-' || (b >= '0' && b <= '9'));
}


ngx_snorky_json_node_t *
ngx_snorky_filter_find(ngx_snorky_json_t *json, ngx_snorky_json_node_t *root,
    ngx_str_t *path)
{
    u_char                  *p, *last, *dot;
    ngx_str_t                name;
    ngx_snorky_json_node_t  *node;

    p = path->data;
    last = p + path->len;
    node = root;

    for ( ;; ) {
        dot = memchr(p, '.', last - p);

        name.data = p;
        name.len = (dot ? dot : last) - p;

        node = ngx_snorky_json_member(json, node, &name);

        if (node == NULL || dot == NULL) {
            return node;
        }

        p = dot + 1;
    }
}


ngx_uint_t
ngx_snorky_filter_path_depth(ngx_str_t *path)
{
    size_t      i;
    ngx_uint_t  depth;

    depth = 1;

    for (i = 0; i < path->len; i++) {
        depth += path->data[i] == '.';
    }

    return depth;
}
