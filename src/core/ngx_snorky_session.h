
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A session is a connected client, whatever its transport.  The transport
 * embeds it, brings its operations, and frees it; the core keeps what it
 * listens to.
 *
 * Closing has two steps.  First the session leaves: from then on it listens
 * to nothing, is sent nothing and is not found.  Then, later and outside of
 * any walk over sessions, its transport ends and frees it.
 */


#ifndef _NGX_SNORKY_SESSION_H_INCLUDED_
#define _NGX_SNORKY_SESSION_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_hub.h"
#include "ngx_snorky_msg.h"
#include "ngx_snorky_service.h"


typedef struct {
    ngx_uint_t                 max_depth;
    ngx_uint_t                 max_subscriptions;
    size_t                     max_channel_size;    /* bytes, as sent */
    ngx_uint_t                 max_calls;
    ngx_msec_t                 publish_timeout;
    void                      *server;      /* for what is asked; http's. */
                                            /* NULL: it has no services */
} ngx_snorky_limits_t;


/* The transport's side; none of these frees the session. */

typedef struct {

    /* queue a message; "reply" when it answers what the session sent */
    void                     (*send)(ngx_snorky_session_t *s,
                                     ngx_snorky_msg_t *msg, ngx_uint_t reply);

    /* the session has left: end with this WebSocket close code and reason */
    void                     (*close)(ngx_snorky_session_t *s,
                                      ngx_uint_t code, const char *reason);

    /* dispatch again what the dispatch answered with NGX_AGAIN */
    void                     (*resume)(ngx_snorky_session_t *s);

    /* the session leaves, whatever the reason; may be NULL */
    void                     (*left)(ngx_snorky_session_t *s);

    /* whose addresses are its client's */
    ngx_connection_t        *(*connection)(ngx_snorky_session_t *s);

} ngx_snorky_session_ops_t;


struct ngx_snorky_session_s {
    ngx_queue_t                queue;       /* of the hub's sessions */
    ngx_queue_t                waiting;     /* of those who wait for room */
    ngx_queue_t                subscriptions;
    ngx_uint_t                 nsubscriptions;
    ngx_queue_t                holds;
    ngx_uint_t                 nclaimed;    /* of these, without a topic */
    uint64_t                   id;          /* in the zone; never 0 */
    ngx_snorky_later_t        *calls;       /* that wait for their answer */
    ngx_uint_t                 ncalls;
    ngx_snorky_verdict_t      *verdict;     /* on its message, or NULL */

    ngx_snorky_hub_t          *hub;
    ngx_snorky_registry_t     *registry;
    ngx_snorky_session_ops_t  *ops;
    ngx_snorky_limits_t       *limits;

    ngx_str_t                  identity;    /* JSON string; empty: none */
    ngx_log_t                 *log;

    ngx_msec_t                 wait_until;
    ngx_uint_t                 messages_in;
    ngx_uint_t                 messages_out;

    unsigned                   left:1;
    unsigned                   listed:1;    /* in the hub's sessions */
    unsigned                   connected:1; /* services know of it */
    unsigned                   waits:1;
    unsigned                   retries:1;   /* what has waited, once more */
    unsigned                   overdue:1;   /* ... and for the last time */
    unsigned                   overloaded:1;    /* was told so */
    unsigned                   ending:1;    /* when its calls are answered */
    unsigned                   allowed:1;   /* its message, by a policy */
};


/* gives it its number, before it is opened; the hub is set */
void ngx_snorky_session_number(ngx_snorky_session_t *s);

/*
 * hub, registry, ops, limits, identity and log are set, all else is zero.  A
 * client that comes for one request only (the backend) is not listed, and
 * nobody closes it.
 */

void ngx_snorky_session_open(ngx_snorky_session_t *s, ngx_uint_t listed);

/* the transport ends it; idempotent */
void ngx_snorky_session_leave(ngx_snorky_session_t *s);

/* the core ends it: leaves, and has the transport close; idempotent */
void ngx_snorky_session_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason);

/*
 * Its worker quits: closed as above, but not before its calls are answered;
 * no other message of it is dispatched until then.
 */
void ngx_snorky_session_end(ngx_snorky_session_t *s);

/* a deferred call of it, or one that a policy looked at, has been answered */
void ngx_snorky_session_answered(ngx_snorky_session_t *s);

/* whether there is such a call */
#define ngx_snorky_session_busy(s)                                            \
    ((s)->ncalls || (s)->verdict || (s)->allowed)

/* whether it may not subscribe to more */
#define ngx_snorky_session_full(s)                                            \
    ((s)->nsubscriptions + (s)->nclaimed >= (s)->limits->max_subscriptions)

/* the one way out */
void ngx_snorky_session_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply);

/* {service, message} with the concatenation of n parts as its message */
ngx_int_t ngx_snorky_session_send_parts(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *parts, ngx_uint_t n,
    ngx_uint_t reply);


#endif /* _NGX_SNORKY_SESSION_H_INCLUDED_ */
