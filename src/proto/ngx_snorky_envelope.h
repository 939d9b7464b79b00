
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The envelope {"service": NAME, "message": CONTENT} that every message
 * travels in, and the RPC request and answers inside (protocol, 1 and 2).
 */


#ifndef _NGX_SNORKY_ENVELOPE_H_INCLUDED_
#define _NGX_SNORKY_ENVELOPE_H_INCLUDED_


#include "ngx_snorky.h"


/* how far below an envelope's root RPC parameters lie */
#define NGX_SNORKY_ENVELOPE_KEEP  3


typedef struct {
    ngx_snorky_value_t        service;      /* a string */
    ngx_snorky_json_node_t   *message;
} ngx_snorky_envelope_t;


typedef struct {
    ngx_snorky_value_t        command;      /* perhaps no string */
    ngx_snorky_json_node_t   *params;       /* perhaps no object */
    ngx_str_t                 call_id;      /* JSON; empty: none */
} ngx_snorky_rpc_t;


/*
 *   NGX_OK
 *   NGX_DECLINED  no JSON, no object, or a member is missing or of a wrong
 *                 type
 *   NGX_ERROR     no memory
 */

ngx_int_t ngx_snorky_envelope_parse(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_snorky_envelope_t *envelope);

/* one that has been parsed, with nodes down to NGX_SNORKY_ENVELOPE_KEEP */
ngx_int_t ngx_snorky_envelope_read(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_snorky_envelope_t *envelope);

ngx_int_t ngx_snorky_envelope_parse_rpc(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *message, ngx_snorky_rpc_t *rpc);

/*
 * What stands before a service's messages, up to their content; name is the
 * service's plain name.  NULL: no memory.
 */

u_char *ngx_snorky_envelope_head(ngx_pool_t *pool, ngx_str_t *name,
    ngx_str_t *head);

/* the name in it, escaped, without quotes */
void ngx_snorky_envelope_escaped(ngx_str_t *head, ngx_str_t *name);

/* what stands around a service's name, and behind the content */
#define NGX_SNORKY_ENVELOPE_BEFORE  "{\"service\":\""
#define NGX_SNORKY_ENVELOPE_AFTER   "\",\"message\":"
#define NGX_SNORKY_ENVELOPE_TAIL    "}"

/* the most parts that an answer has */
#define NGX_SNORKY_ENVELOPE_PARTS  5

/*
 * The content of an answer as parts to be concatenated; returns how many.
 * "data" is JSON, "text" what stands in a string's quotes.
 */

ngx_uint_t ngx_snorky_envelope_response(ngx_str_t *parts, ngx_str_t *call_id,
    ngx_str_t *data);
ngx_uint_t ngx_snorky_envelope_error(ngx_str_t *parts, ngx_str_t *call_id,
    ngx_str_t *text);


#endif /* _NGX_SNORKY_ENVELOPE_H_INCLUDED_ */
