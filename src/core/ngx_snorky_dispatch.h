
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The one way in: every transport ends here, with one envelope.
 */


#ifndef _NGX_SNORKY_DISPATCH_H_INCLUDED_
#define _NGX_SNORKY_DISPATCH_H_INCLUDED_


#include "ngx_snorky_session.h"


/*
 * Deliveries that one client's messages may cause in a round of the event
 * loop, but for the last message's; then others have their turn.
 */

#define NGX_SNORKY_DISPATCH_DELIVERIES  16384


/*
 * Hands an envelope to its service.  What the service answers has been sent
 * when the call returns.
 *
 *   NGX_OK        handled
 *   NGX_AGAIN     the log is full and nothing has been done: the session
 *                 waits; the transport keeps the text, takes no other message,
 *                 and dispatches it again when it is resumed
 *   NGX_DECLINED  not an envelope, or not an RPC message where one is needed;
 *                 discarded, logged and counted
 *   NGX_ABORT     no such service in the session's registry; likewise
 */

ngx_int_t ngx_snorky_dispatch(ngx_snorky_session_t *s, ngx_str_t *text);


/*
 * Several envelopes in one text.  The text is parsed at once; what is routed
 * then can be dispatched without being parsed again, as long as "parsed" of
 * the hub is what it was.
 */

typedef struct {
    ngx_snorky_service_t     *service;
    ngx_snorky_json_node_t   *message;
    ngx_str_t                 text;
} ngx_snorky_route_t;


/* NGX_OK, NGX_DECLINED (not JSON; logged and counted) or NGX_ERROR */
ngx_int_t ngx_snorky_dispatch_parse(ngx_snorky_session_t *s, ngx_str_t *text,
    ngx_uint_t depth, ngx_snorky_json_node_t **root);

/* the same answers as of the dispatch, without doing anything: no NGX_AGAIN */
ngx_int_t ngx_snorky_dispatch_route(ngx_snorky_session_t *s,
    ngx_snorky_json_node_t *node, ngx_snorky_route_t *route);

ngx_int_t ngx_snorky_dispatch_routed(ngx_snorky_session_t *s,
    ngx_snorky_route_t *route);


#endif /* _NGX_SNORKY_DISPATCH_H_INCLUDED_ */
