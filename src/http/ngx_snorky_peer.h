
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
    ngx_http_request_t         *request;
    ngx_str_t                   transport;
    ngx_uint_t                  close_code;     /* 0: none yet */
} ngx_snorky_peer_t;


/*
 * Fills in a zeroed peer from the request and its location, and makes it the
 * request's context.  NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_peer_init(ngx_snorky_peer_t *peer, ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_snorky_session_ops_t *ops,
    const char *transport);

/* in preconfiguration: declares $snorky_... */
ngx_int_t ngx_snorky_peer_add_variables(ngx_conf_t *cf);


#endif /* _NGX_SNORKY_PEER_H_INCLUDED_ */
