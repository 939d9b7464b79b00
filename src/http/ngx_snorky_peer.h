
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a request brings to its session, whatever the transport: limits,
 * identity, registry; and what the request's log variables take from it.
 */


#ifndef _NGX_SNORKY_PEER_H_INCLUDED_
#define _NGX_SNORKY_PEER_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* The request's module context.  A transport embeds it, first. */

typedef struct {
    ngx_snorky_session_t        session;        /* first */
    ngx_http_request_t         *request;        /* NULL: it has ended */
    const char                 *transport;
    ngx_uint_t                  close_code;     /* 0: none yet */
} ngx_snorky_peer_t;


/*
 * Who the client is, as a JSON string in the request's pool, or an empty one.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_peer_identity(ngx_http_request_t *r, ngx_str_t *identity);

/*
 * Fills in a zeroed peer from the request and its location, and makes it the
 * request's context.  The identity is the caller's to keep.
 */

void ngx_snorky_peer_init(ngx_snorky_peer_t *peer, ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_snorky_session_ops_t *ops,
    ngx_str_t *identity, const char *transport);

/* the same for one that outlives the request, and has a log of its own */
void ngx_snorky_peer_init_alone(ngx_snorky_peer_t *peer,
    ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_snorky_session_ops_t *ops, ngx_str_t *identity,
    const char *transport);

/* in preconfiguration: declares $snorky_... */
ngx_int_t ngx_snorky_peer_add_variables(ngx_conf_t *cf);


#endif /* _NGX_SNORKY_PEER_H_INCLUDED_ */
