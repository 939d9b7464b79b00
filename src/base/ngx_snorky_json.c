
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * JSON texts, read with yajl 2 into nodes that are slices of the text, and
 * the canonical keys of JSON values.  Owns the parser with its memory; one
 * parser serves a worker.  Called by the envelope codec, the registry and
 * whatever compares names that clients gave.
 *
 * yajl checks the grammar.  What it is lax about is checked here: UTF-8,
 * form feeds and vertical tabs between tokens, an unfinished token after the
 * document; and depth, which it does not bound.
 */


#include "ngx_snorky.h"
#include "ngx_snorky_json_canonical.h"
#include "ngx_snorky_utf8.h"

#include <setjmp.h>
#include <yajl/yajl_parse.h>


#define NGX_SNORKY_JSON_MIN_NODES    64

/* what is kept, at most, from a large document when a small one follows */
#define NGX_SNORKY_JSON_KEPT_NODES   32768
#define NGX_SNORKY_JSON_KEPT_BYTES   (1024 * 1024)

#define NGX_SNORKY_JSON_ARENA        16384


typedef struct {
    ngx_snorky_json_node_t   *nodes;
    uint32_t                  count;
    uint32_t                  max;
} ngx_snorky_json_document_t;


/* precedes each piece of memory that yajl has; next links the malloc()ed */

typedef struct ngx_snorky_json_block_s  ngx_snorky_json_block_t;

struct ngx_snorky_json_block_s {
    ngx_snorky_json_block_t  *next;
    size_t                    size;
};


struct ngx_snorky_json_s {
    ngx_snorky_json_document_t    document;
    ngx_snorky_json_document_t    key;

    u_char                       *scratch;      /* canonical names and keys */
    size_t                        scratch_size;

    /* the run */

    yajl_handle                   yajl;
    ngx_snorky_json_document_t   *target;
    u_char                       *start;
    u_char                       *pos;          /* end of the last token */
    u_char                       *last;
    ngx_uint_t                    depth;        /* of open containers */
    ngx_uint_t                    max_depth;
    ngx_uint_t                    keep;
    uint32_t                      open;         /* innermost one kept */
    unsigned                      ended:1;      /* yajl has seen all bytes */
    unsigned                      no_memory:1;

    sigjmp_buf                    out_of_memory;
    ngx_snorky_json_block_t      *blocks;
    size_t                        used;         /* bytes of the arena */
    uint64_t                      arena[NGX_SNORKY_JSON_ARENA / 8];
};


static void *ngx_snorky_json_alloc(size_t size);
static ngx_int_t ngx_snorky_json_read(ngx_snorky_json_t *json,
    ngx_snorky_json_document_t *target, ngx_str_t *text, ngx_uint_t max_depth,
    ngx_uint_t keep);
static ngx_int_t ngx_snorky_json_run(ngx_snorky_json_t *json);
static ngx_uint_t ngx_snorky_json_ends(ngx_snorky_json_t *json);

static void *ngx_snorky_json_block_alloc(void *ctx, size_t size);
static void *ngx_snorky_json_block_realloc(void *ctx, void *p, size_t size);
static void ngx_snorky_json_block_free(void *ctx, void *p);
static void ngx_snorky_json_free_blocks(ngx_snorky_json_t *json);

static int ngx_snorky_json_got_null(void *ctx);
static int ngx_snorky_json_got_boolean(void *ctx, int value);
static int ngx_snorky_json_got_number(void *ctx, const char *p, size_t len);
static int ngx_snorky_json_got_string(void *ctx, const unsigned char *p,
    size_t len);
static int ngx_snorky_json_open_object(void *ctx);
static int ngx_snorky_json_open_array(void *ctx);
static int ngx_snorky_json_close(void *ctx);
static int ngx_snorky_json_add(ngx_snorky_json_t *json,
    ngx_snorky_json_e type, u_char *start, u_char *end);
static ngx_int_t ngx_snorky_json_grow(ngx_snorky_json_document_t *document);

static ngx_int_t ngx_snorky_json_reserve(ngx_snorky_json_t *json, size_t size);


static const yajl_callbacks  ngx_snorky_json_callbacks = {
    ngx_snorky_json_got_null,
    ngx_snorky_json_got_boolean,
    NULL,
    NULL,
    ngx_snorky_json_got_number,
    ngx_snorky_json_got_string,
    ngx_snorky_json_open_object,
    ngx_snorky_json_got_string,
    ngx_snorky_json_close,
    ngx_snorky_json_open_array,
    ngx_snorky_json_close
};


ngx_snorky_json_t *
ngx_snorky_json_create(void)
{
    ngx_snorky_json_t  *json;

    json = ngx_snorky_json_alloc(sizeof(ngx_snorky_json_t));
    if (json == NULL) {
        return NULL;
    }

    ngx_memzero(json, sizeof(ngx_snorky_json_t));

    return json;
}


void
ngx_snorky_json_destroy(ngx_snorky_json_t *json)
{
    ngx_free(json->document.nodes);
    ngx_free(json->key.nodes);
    ngx_free(json->scratch);
    ngx_free(json);
}


static void *
ngx_snorky_json_alloc(size_t size)
{
    ngx_log_t  log;

    /* a log of level 0 is silent: the caller knows what could not be done */

    log.log_level = 0;

    return ngx_alloc(size, &log);
}


ngx_int_t
ngx_snorky_json_parse(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_uint_t keep, ngx_snorky_json_node_t **root)
{
    ngx_int_t  rc;

    rc = ngx_snorky_json_read(json, &json->document, text, max_depth, keep);

    if (rc == NGX_OK) {
        *root = json->document.nodes;
    }

    return rc;
}


static ngx_int_t
ngx_snorky_json_read(ngx_snorky_json_t *json,
    ngx_snorky_json_document_t *target, ngx_str_t *text, ngx_uint_t max_depth,
    ngx_uint_t keep)
{
    ngx_int_t          rc;
    ngx_snorky_utf8_t  utf8;

    utf8 = NGX_SNORKY_UTF8_START;

    if (text->len == 0
        || ngx_snorky_utf8_check(&utf8, text->data, text->data + text->len)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (target->max > NGX_SNORKY_JSON_KEPT_NODES
        && text->len < NGX_SNORKY_JSON_KEPT_NODES)
    {
        ngx_free(target->nodes);

        target->nodes = NULL;
        target->max = 0;
    }

    target->count = 0;

    json->target = target;
    json->start = text->data;
    json->pos = text->data;
    json->last = text->data + text->len;
    json->depth = 0;
    json->max_depth = max_depth;
    json->keep = keep;
    json->open = 0;
    json->ended = 0;
    json->no_memory = 0;

    rc = ngx_snorky_json_run(json);

    ngx_snorky_json_free_blocks(json);

    return rc;
}


static ngx_int_t
ngx_snorky_json_run(ngx_snorky_json_t *json)
{
    yajl_status       status;
    yajl_alloc_funcs  funcs;

    if (sigsetjmp(json->out_of_memory, 0)) {
        return NGX_ERROR;
    }

    funcs.malloc = ngx_snorky_json_block_alloc;
    funcs.realloc = ngx_snorky_json_block_realloc;
    funcs.free = ngx_snorky_json_block_free;
    funcs.ctx = json;

    /* never yajl_free()d: all its memory is known here and dropped at once */

    json->yajl = yajl_alloc(&ngx_snorky_json_callbacks, &funcs, json);
    if (json->yajl == NULL) {
        return NGX_ERROR;
    }

    yajl_config(json->yajl, yajl_dont_validate_strings, 1);

    status = yajl_parse(json->yajl, json->start, json->last - json->start);

    if (status == yajl_status_ok && json->depth == 0
        && json->pos == json->start)
    {
        /* nothing yet: a number alone is complete only when the text is */

        json->ended = 1;
        status = yajl_complete_parse(json->yajl);
    }

    if (json->no_memory) {
        return NGX_ERROR;
    }

    if (status != yajl_status_ok || json->depth
        || json->pos == json->start)
    {
        return NGX_DECLINED;
    }

    return ngx_snorky_json_ends(json) ? NGX_OK : NGX_DECLINED;
}


/* whether only white space follows; yajl lets pass: {} "abc */

static ngx_uint_t
ngx_snorky_json_ends(ngx_snorky_json_t *json)
{
    u_char  *p;

    for (p = json->pos; p < json->last; p++) {

        switch (*p) {
        case ' ': case '\t': case '\n': case '\r':
            continue;
        }

        return 0;
    }

    return 1;
}


/*
 * yajl's memory comes from the arena, and from malloc() when that is full.
 * yajl does not look whether it got any, so failure leaves yajl altogether.
 */

static void *
ngx_snorky_json_block_alloc(void *ctx, size_t size)
{
    ngx_snorky_json_t *json = ctx;

    ngx_snorky_json_block_t  *block;

    if (size > NGX_MAX_SIZE_T_VALUE / 4) {
        siglongjmp(json->out_of_memory, 1);
    }

    size = ngx_align(size, sizeof(ngx_snorky_json_block_t));

    if (size + sizeof(ngx_snorky_json_block_t)
        <= NGX_SNORKY_JSON_ARENA - json->used)
    {
        block = (ngx_snorky_json_block_t *) ((u_char *) json->arena
                                             + json->used);
        json->used += sizeof(ngx_snorky_json_block_t) + size;

    } else {
        block = ngx_snorky_json_alloc(sizeof(ngx_snorky_json_block_t) + size);
        if (block == NULL) {
            siglongjmp(json->out_of_memory, 1);
        }

        block->next = json->blocks;
        json->blocks = block;
    }

    block->size = size;

    return block + 1;
}


/* at least doubles, since what is left behind is freed only with the rest */

static void *
ngx_snorky_json_block_realloc(void *ctx, void *p, size_t size)
{
    void                     *new;
    ngx_snorky_json_block_t  *block;

    if (p == NULL) {
        return ngx_snorky_json_block_alloc(ctx, size);
    }

    block = (ngx_snorky_json_block_t *) p - 1;

    if (size <= block->size) {
        return p;
    }

    new = ngx_snorky_json_block_alloc(ctx, ngx_max(size, block->size * 2));

    ngx_memcpy(new, p, block->size);

    return new;
}


static void
ngx_snorky_json_block_free(void *ctx, void *p)
{
    /* with the rest, after the run */
}


static void
ngx_snorky_json_free_blocks(ngx_snorky_json_t *json)
{
    ngx_snorky_json_block_t  *block, *next;

    for (block = json->blocks; block; block = next) {
        next = block->next;
        ngx_free(block);
    }

    json->blocks = NULL;
    json->used = 0;
    json->yajl = NULL;
}


/*
 * yajl tells where a token ends, not where it begins: that is where the
 * white space (RFC 8259, 2) and the separator after the token before it end.
 * Whatever else yajl may have skipped is no JSON: NULL.
 */

static ngx_inline u_char *
ngx_snorky_json_token(ngx_snorky_json_t *json, u_char **start)
{
    u_char  *p, *end;

    end = json->ended ? json->last
                      : json->start + yajl_get_bytes_consumed(json->yajl);

    for (p = json->pos; p < end; p++) {

        switch (*p) {
        case ',': case ':': case ' ': case '\t': case '\n': case '\r':
            continue;
        }

        break;
    }

    /* no token begins with a byte below a quote */

    if (p >= end || *p < '"') {
        return NULL;
    }

    json->pos = end;
    *start = p;

    return end;
}


static int
ngx_snorky_json_scalar(ngx_snorky_json_t *json, ngx_snorky_json_e type)
{
    u_char  *start, *end;

    end = ngx_snorky_json_token(json, &start);
    if (end == NULL) {
        return 0;
    }

    if (json->depth > json->keep) {
        return 1;
    }

    return ngx_snorky_json_add(json, type, start, end);
}


static int
ngx_snorky_json_got_null(void *ctx)
{
    return ngx_snorky_json_scalar(ctx, NGX_SNORKY_JSON_NULL);
}


static int
ngx_snorky_json_got_boolean(void *ctx, int value)
{
    return ngx_snorky_json_scalar(ctx, value ? NGX_SNORKY_JSON_TRUE
                                             : NGX_SNORKY_JSON_FALSE);
}


static int
ngx_snorky_json_got_number(void *ctx, const char *p, size_t len)
{
    return ngx_snorky_json_scalar(ctx, NGX_SNORKY_JSON_NUMBER);
}


static int
ngx_snorky_json_got_string(void *ctx, const unsigned char *p, size_t len)
{
    return ngx_snorky_json_scalar(ctx, NGX_SNORKY_JSON_STRING);
}


static int
ngx_snorky_json_open(ngx_snorky_json_t *json, ngx_snorky_json_e type)
{
    u_char                  *start, *end;
    uint32_t                 n;
    ngx_snorky_json_node_t  *node;

    end = ngx_snorky_json_token(json, &start);

    if (end == NULL || json->depth == json->max_depth) {
        return 0;
    }

    if (json->depth <= json->keep) {
        n = json->target->count;

        /* until it is closed, the length is the index of its last child */

        if (!ngx_snorky_json_add(json, type, start, start)) {
            return 0;
        }

        /* ... and next is that of the container around it */

        node = &json->target->nodes[n];
        node->next = json->open;
        json->open = n;
    }

    json->depth++;

    return 1;
}


static int
ngx_snorky_json_open_object(void *ctx)
{
    return ngx_snorky_json_open(ctx, NGX_SNORKY_JSON_OBJECT);
}


static int
ngx_snorky_json_open_array(void *ctx)
{
    return ngx_snorky_json_open(ctx, NGX_SNORKY_JSON_ARRAY);
}


static int
ngx_snorky_json_close(void *ctx)
{
    ngx_snorky_json_t *json = ctx;

    u_char                  *start, *end;
    ngx_snorky_json_node_t  *node;

    end = ngx_snorky_json_token(json, &start);
    if (end == NULL) {
        return 0;
    }

    json->depth--;

    if (json->depth <= json->keep) {
        node = &json->target->nodes[json->open];

        node->value.text.len = end - node->value.text.data;

        json->open = node->next;
        node->next = 0;
    }

    return 1;
}


static int
ngx_snorky_json_add(ngx_snorky_json_t *json, ngx_snorky_json_e type,
    u_char *start, u_char *end)
{
    uint32_t                     n;
    ngx_snorky_json_node_t      *node, *parent;
    ngx_snorky_json_document_t  *target;

    target = json->target;

    if (target->count == target->max
        && ngx_snorky_json_grow(target) != NGX_OK)
    {
        json->no_memory = 1;
        return 0;
    }

    n = target->count++;
    node = &target->nodes[n];

    node->value.text.data = start;
    node->value.text.len = end - start;
    node->value.type = type;
    node->child = 0;
    node->next = 0;

    if (json->depth == 0) {
        return 1;
    }

    parent = &target->nodes[json->open];

    if (parent->child == 0) {
        parent->child = n;

    } else {
        target->nodes[parent->value.text.len].next = n;
    }

    parent->value.text.len = n;

    return 1;
}


static ngx_int_t
ngx_snorky_json_grow(ngx_snorky_json_document_t *document)
{
    uint32_t                 max;
    ngx_snorky_json_node_t  *nodes;

    if (document->max > NGX_MAX_UINT32_VALUE / 2) {
        return NGX_ERROR;
    }

    max = document->max ? document->max * 2 : NGX_SNORKY_JSON_MIN_NODES;

    nodes = ngx_snorky_json_alloc(max * sizeof(ngx_snorky_json_node_t));
    if (nodes == NULL) {
        return NGX_ERROR;
    }

    if (document->count) {
        ngx_memcpy(nodes, document->nodes,
                   document->count * sizeof(ngx_snorky_json_node_t));
    }

    ngx_free(document->nodes);

    document->nodes = nodes;
    document->max = max;

    return NGX_OK;
}


ngx_snorky_json_node_t *
ngx_snorky_json_child(ngx_snorky_json_t *json, ngx_snorky_json_node_t *node)
{
    return node->child ? &json->document.nodes[node->child] : NULL;
}


ngx_snorky_json_node_t *
ngx_snorky_json_next(ngx_snorky_json_t *json, ngx_snorky_json_node_t *node)
{
    return node->next ? &json->document.nodes[node->next] : NULL;
}


ngx_snorky_json_node_t *
ngx_snorky_json_member(ngx_snorky_json_t *json, ngx_snorky_json_node_t *object,
    ngx_str_t *name)
{
    ngx_snorky_json_node_t  *node, *value, *found;

    found = NULL;

    if (object->value.type != NGX_SNORKY_JSON_OBJECT) {
        return NULL;
    }

    for (node = ngx_snorky_json_child(json, object);
         node;
         node = ngx_snorky_json_next(json, value))
    {
        value = ngx_snorky_json_next(json, node);

        if (ngx_snorky_json_string_is(&node->value, name)) {
            found = value;
        }
    }

    return found;
}


ngx_uint_t
ngx_snorky_json_string_is(ngx_snorky_value_t *value, ngx_str_t *text)
{
    u_char    *p, *last, *t, *escape, buf[4];
    size_t     len, left;
    uint32_t   code;

    if (value->type != NGX_SNORKY_JSON_STRING
        || value->text.len < text->len + 2)
    {
        return 0;
    }

    p = value->text.data + 1;

    if (text->len == 0) {
        return value->text.len == 2;
    }

    if (*p != text->data[0] && *p != '\\') {
        return 0;
    }

    /* an escape is longer than what it means, so there is none */

    if (value->text.len == text->len + 2) {
        return ngx_memcmp(p, text->data, text->len) == 0
               && memchr(p, '\\', text->len) == NULL;
    }

    last = value->text.data + value->text.len - 1;

    t = text->data;
    left = text->len;

    for ( ;; ) {
        escape = memchr(p, '\\', last - p);
        len = (escape ? escape : last) - p;

        if (len > left || (len && ngx_memcmp(p, t, len) != 0)) {
            return 0;
        }

        left -= len;

        if (escape == NULL) {
            return left == 0;
        }

        p = ngx_snorky_json_canonical_unescape(escape, &code);

        if (left == 0 || ngx_snorky_json_canonical_unpaired(code)) {
            return 0;
        }

        t += len;
        len = ngx_snorky_json_canonical_encode(buf, code) - buf;

        if (len > left || ngx_memcmp(buf, t, len) != 0) {
            return 0;
        }

        t += len;
        left -= len;
    }
}


ngx_int_t
ngx_snorky_json_key(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_str_t *key)
{
    u_char     *p;
    ngx_int_t   rc;

    if (ngx_snorky_json_canonical_is(text)) {
        *key = *text;
        return NGX_OK;
    }

    rc = ngx_snorky_json_read(json, &json->key, text, max_depth,
                              NGX_SNORKY_JSON_KEEP_ALL);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the names, then the key */

    rc = ngx_snorky_json_reserve(json, text->len
                                 + ngx_snorky_json_canonical_size(text->len));
    if (rc != NGX_OK) {
        return rc;
    }

    p = json->scratch + text->len;

    key->len = ngx_snorky_json_canonical_write(json->key.nodes, p,
                                               json->scratch)
               - p;
    key->data = p;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_json_reserve(ngx_snorky_json_t *json, size_t size)
{
    if (size <= json->scratch_size
        && (json->scratch_size <= NGX_SNORKY_JSON_KEPT_BYTES
            || size > NGX_SNORKY_JSON_KEPT_BYTES))
    {
        return NGX_OK;
    }

    ngx_free(json->scratch);

    size = ngx_align(size, 1024);

    json->scratch = ngx_snorky_json_alloc(size);
    json->scratch_size = json->scratch ? size : 0;

    return json->scratch ? NGX_OK : NGX_ERROR;
}
