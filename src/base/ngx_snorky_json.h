
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * JSON (RFC 8259): strict parsing into slices of the source text, and keys
 * that compare by value.  The only user of yajl.
 */


#ifndef _NGX_SNORKY_JSON_H_INCLUDED_
#define _NGX_SNORKY_JSON_H_INCLUDED_


#include "ngx_snorky.h"


typedef struct ngx_snorky_json_s  ngx_snorky_json_t;

/*
 * A node is a value together with its place in the document.  An object's
 * children alternate: name (a string), value, name, value ...
 */

typedef struct {
    ngx_snorky_value_t        value;
    uint32_t                  child;    /* index of the first child, 0: none */
    uint32_t                  next;     /* index of the next sibling, 0: none */
} ngx_snorky_json_node_t;


/*
 * A parser with its node and scratch memory, reused for one document after
 * another; one per worker is enough.  NULL: no memory.
 */

ngx_snorky_json_t *ngx_snorky_json_create(void);
void ngx_snorky_json_destroy(ngx_snorky_json_t *json);

/*
 * Parses exactly one JSON text.  Arrays and objects may nest to max_depth
 * (an array of numbers has depth 1, a number has depth 0).  Nodes are kept
 * for values whose own depth below the root is at most "keep" (the root is
 * at 0); what lies deeper is checked, and found in the text of its ancestor.
 * The text must outlive the nodes; the nodes live until the next parse.
 *
 *   NGX_OK        *root is the document
 *   NGX_DECLINED  no JSON, not UTF-8, or nested too deeply
 *   NGX_ERROR     no memory
 */

#define NGX_SNORKY_JSON_KEEP_ALL  ((ngx_uint_t) -1)

ngx_int_t ngx_snorky_json_parse(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_uint_t keep, ngx_snorky_json_node_t **root);

/* the first child, the next sibling; NULL after the last */
ngx_snorky_json_node_t *ngx_snorky_json_child(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node);
ngx_snorky_json_node_t *ngx_snorky_json_next(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node);

/*
 * The value of an object's member; of duplicates the last.  NULL when there
 * is none, or when the node is no object.  Escapes in names are understood:
 * "\u0061" is the member a.
 */

ngx_snorky_json_node_t *ngx_snorky_json_member(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *object, ngx_str_t *name);

/* whether a string value (with its quotes, perhaps escapes) means "text" */
ngx_uint_t ngx_snorky_json_string_is(ngx_snorky_value_t *value,
    ngx_str_t *text);

/*
 * The canonical key of a valid JSON text: two texts have the same bytes as
 * their key if and only if they mean the same value (protocol: JSON entities
 * as keys).  Numbers compare by exact decimal value, whatever their exponent;
 * object members are sorted, of duplicates the last counts; an unpaired
 * surrogate escape equals only itself.  The key lies in the text itself or in
 * the parser's scratch memory, until the next call.
 *
 *   NGX_OK, NGX_DECLINED (as for parse), NGX_ERROR (no memory)
 */

ngx_int_t ngx_snorky_json_key(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_str_t *key);


#endif /* _NGX_SNORKY_JSON_H_INCLUDED_ */
