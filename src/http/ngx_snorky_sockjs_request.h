
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A request that has asked a session for something and waits for what it says:
 * in this worker, whichever the session's is.
 */


#ifndef _NGX_SNORKY_SOCKJS_REQUEST_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_REQUEST_H_INCLUDED_


#include "ngx_snorky_peer.h"
#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_sockjs_letter.h"


typedef struct ngx_snorky_sockjs_request_s  ngx_snorky_sockjs_request_t;


/* what to do with what comes; may end the request */

typedef struct {

    void                     (*letter)(ngx_snorky_sockjs_request_t *sr,
                                       ngx_snorky_sockjs_letter_t *letter,
                                       ngx_str_t *text);

    /* nothing will come any more; why, as a close frame says it */
    void                     (*lost)(ngx_snorky_sockjs_request_t *sr,
                                     ngx_uint_t code, const char *reason);

    /* letters, or 0: none */

    ngx_uint_t                 release;     /* its worker quits, it is to end */
    ngx_uint_t                 gone;        /* it has ended */

} ngx_snorky_sockjs_request_ops_t;


/* The request's context.  Who has one embeds it, first, and allocates it. */

struct ngx_snorky_sockjs_request_s {
    ngx_snorky_peer_t                 peer;     /* first; no open session */
    ngx_snorky_map_node_t             node;     /* of the worker's requests */
    ngx_queue_t                       queue;    /* the same, as they came */
    ngx_snorky_worker_t              *worker;
    uint64_t                          number;   /* 0: not known there */
    uint64_t                          owner;    /* the session's worker */
    ngx_snorky_sockjs_request_ops_t  *ops;
    u_char                            key[NGX_SNORKY_SOCKJS_KEY];
    unsigned                          released:1;
    unsigned                          whole:1;  /* its response was sent */
};


/*
 * Makes the context of a request for the session of this id; "transport" is
 * for the log.  NGX_OK, or the status to answer with.
 */

ngx_int_t ngx_snorky_sockjs_request_init(ngx_snorky_sockjs_request_t *sr,
    ngx_http_request_t *r, ngx_snorky_worker_t *worker, ngx_str_t *session,
    ngx_snorky_sockjs_request_ops_t *ops, const char *transport);

/*
 * It can be answered from here on, by sr->owner, and ends if its client leaves.
 * NGX_OK, or NGX_ERROR: the connection is gone.
 */

ngx_int_t ngx_snorky_sockjs_request_enter(ngx_snorky_sockjs_request_t *sr);

/* nobody answers it any more, and the session is told; idempotent */
void ngx_snorky_sockjs_request_leave(ngx_snorky_sockjs_request_t *sr);

/*
 * A letter to the session; type, value, size and last are set.  The rest is
 * filled in here.  NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_sockjs_request_say(ngx_snorky_sockjs_request_t *sr,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text);

/*
 * After what was done outside of its connection's events: NGX_AGAIN, and it
 * goes on, or how to finalize it.
 */

void ngx_snorky_sockjs_request_done(ngx_snorky_sockjs_request_t *sr,
    ngx_int_t rc);

/* for letters that come, and when letters have been lost */
void ngx_snorky_sockjs_request_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text);
void ngx_snorky_sockjs_request_lost(ngx_snorky_worker_t *worker,
    ngx_uint_t code, const char *reason);

/*
 * For the watch: those whose session's worker is dead are lost; where this one
 * quits, those of other workers' sessions are to end.  1: there are any that
 * must be watched.
 */

ngx_uint_t ngx_snorky_sockjs_request_watch(ngx_snorky_worker_t *worker);


#endif /* _NGX_SNORKY_SOCKJS_REQUEST_H_INCLUDED_ */
