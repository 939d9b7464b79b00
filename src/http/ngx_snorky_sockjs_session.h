
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A SockJS session over HTTP requests.  It is a client like any other; what is
 * sent to it waits until a request has come for it.  When the client has left,
 * or has been closed, its place stays for a while, so that its next request
 * is told.
 */


#ifndef _NGX_SNORKY_SOCKJS_SESSION_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_SESSION_H_INCLUDED_


#include "ngx_snorky_limit.h"
#include "ngx_snorky_peer.h"
#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_sockjs_frame.h"
#include "ngx_snorky_sockjs_letter.h"
#include "ngx_snorky_timeout.h"


/* Who takes what is sent. */

typedef struct {
    uint64_t                    worker;
    uint64_t                    request;    /* 0: nobody */
    ngx_snorky_sockjs_kind_e    kind;
    uint64_t                    room;       /* bytes, before it is to end */
    ngx_str_t                   callback;   /* data: allocated */
    unsigned                    ended:1;    /* the rest is on its way to it */
} ngx_snorky_sockjs_receiver_t;


typedef struct {
    ngx_snorky_peer_t             peer;     /* first; without a request */
    ngx_snorky_map_node_t         node;     /* of the worker's sessions */
    ngx_queue_t                   queue;    /* likewise; those lost, too */
    ngx_queue_t                   dirty;    /* to be flushed */
    ngx_snorky_worker_t          *worker;
    ngx_snorky_loc_conf_t        *conf;
    ngx_pool_t                   *pool;     /* it lies in it */
    ngx_connection_t              connection;   /* its client's addresses */
    ngx_log_t                     log;

    ngx_snorky_sockjs_receiver_t  receiver;

    /* messages that wait for a receiver, as JSON strings */
    ngx_snorky_msg_t            **messages; /* allocated */
    ngx_uint_t                    room;     /* for so many, ... */
    ngx_uint_t                    first;    /* ... of which these are in use */
    ngx_uint_t                    count;
    size_t                        bytes;

    ngx_uint_t                    close_code;
    const char                   *close_reason;

    /* what has come in: ngx_snorky_sockjs_inbox.c */
    ngx_queue_t                   parcels;
    ngx_uint_t                    nparcels;
    size_t                        parcels_size;
    ngx_event_t                   inbox;

    ngx_snorky_timeout_t          timeout;  /* a heartbeat, or its absence */

    u_char                        key[NGX_SNORKY_SOCKJS_KEY];
    unsigned                      opened:1; /* a request has taken "o" */
    unsigned                      closed:1; /* requests get the close frame */
    unsigned                      lost:1;   /* not to be found any more */
    unsigned                      is_dirty:1;
    unsigned                      waits:1;  /* a message does, for room */

    ngx_snorky_store_tally_t     *tallies[NGX_SNORKY_LIMIT_NAMED];
                                            /* those of limits follow */
} ngx_snorky_sockjs_session_t;


/*
 * A new one, for the client of this request, known by the key on all workers.
 *
 *   NGX_OK
 *   NGX_DECLINED  there is one already: *owner is its worker
 *   a status      to answer with
 */

ngx_int_t ngx_snorky_sockjs_session_begin(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, u_char *key, ngx_str_t *identity,
    uint64_t *owner);

/* one that exists; returns as above, but NGX_DECLINED: there is none */
ngx_int_t ngx_snorky_sockjs_session_find(ngx_snorky_worker_t *worker,
    u_char *key, uint64_t *owner);

/* for letters that come */
void ngx_snorky_sockjs_session_letter(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text);

/* letters have been lost: none of them is found any more; they end soon */
void ngx_snorky_sockjs_session_lost(ngx_snorky_worker_t *worker);

/* letters may be sent again */
void ngx_snorky_sockjs_session_unblocked(ngx_snorky_worker_t *worker);

/*
 * For the watch: receivers whose worker is dead are gone.  1: there are any of
 * other workers.
 */

ngx_uint_t ngx_snorky_sockjs_session_watch(ngx_snorky_worker_t *worker);

/* for the queues of conf: a heartbeat is due, or nobody has come */
void ngx_snorky_sockjs_session_timeout(ngx_snorky_timeout_t *timeout);

/* what has been sent in a round goes out together */
void ngx_snorky_sockjs_session_flush_handler(ngx_event_t *ev);

/* in exit_process: closes and frees all, what they say is in the mailbox */
void ngx_snorky_sockjs_session_close_all(ngx_snorky_worker_t *worker);


#endif /* _NGX_SNORKY_SOCKJS_SESSION_H_INCLUDED_ */
