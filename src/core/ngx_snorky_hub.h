
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The hub is the core's state in one worker: who is connected, which topics
 * have listeners here, whose calls wait for room in the log, and the way out
 * when the worker quits.
 */


#ifndef _NGX_SNORKY_HUB_H_INCLUDED_
#define _NGX_SNORKY_HUB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_snorky.h"
#include "ngx_snorky_ask.h"
#include "ngx_snorky_broker.h"
#include "ngx_snorky_map.h"


/* why a session is closed: its worker quits, or was given up */
#define NGX_SNORKY_HUB_RESTART  1012

/* the reason, where closes are spread over the time of snorky_drain */
#define NGX_SNORKY_HUB_TURN     "service restart"

/* where all are closed at once, and should come back over that time, in ms */
#define NGX_SNORKY_HUB_AT_ONCE  "service restart; spread=%M"


typedef struct ngx_snorky_mailbox_s  ngx_snorky_mailbox_t;


typedef struct {
    ngx_snorky_broker_conf_t   broker;
    ngx_msec_t                 drain;       /* sessions of an old worker */
    ngx_snorky_asker_t        *asker;
    ngx_array_t               *registries;  /* of ngx_snorky_registry_t * */
    size_t                     event_queue; /* bytes, of an outbox */
    ngx_msec_t                 event_timeout;
} ngx_snorky_hub_conf_t;


typedef struct {
    ngx_snorky_broker_t       *broker;
    ngx_snorky_stats_t        *stats;
    ngx_snorky_asker_t        *asker;
    ngx_snorky_json_t         *json;
    ngx_uint_t                 parsed;      /* changes with its nodes */
    ngx_log_t                 *log;

    ngx_snorky_map_t           topics;
    ngx_snorky_map_t           reached;     /* those of single clients */
    ngx_snorky_mailbox_t      *mailbox;     /* NULL: nobody uses it */
    ngx_queue_t                sessions;
    ngx_queue_t                ending;      /* sessions, as soon as they can */
    ngx_queue_t                waiting;     /* in the order of their coming */

    ngx_pool_t                *pool;        /* for one message; then reset */
    ngx_snorky_change_t       *change;      /* the one of this message */

    ngx_str_t                  name;        /* scratch for a topic's name */
    size_t                     name_size;

    ngx_event_t                wait_timer;
    ngx_event_t                drain_timer;
    ngx_event_t                clean;       /* the pool is to be reset */
    ngx_connection_t           dummy;       /* what the timers' log needs */

    ngx_msec_t                 drain;
    ngx_msec_t                 drain_until;
    u_char                     at_once[sizeof(NGX_SNORKY_HUB_AT_ONCE)
                                       + NGX_INT64_LEN];

    ngx_array_t               *registries;
    ngx_queue_t                outboxes;    /* of events */
    size_t                     outbox_size;
    ngx_msec_t                 outbox_timeout;
    ngx_event_t                outbox_timer;    /* how long they may keep us */
    uint64_t                   outboxes_lost;   /* events, at the end */
    ngx_event_t                uncounted_timer; /* topics, to be occupied */

    unsigned                   draining:1;
    unsigned                   exiting:1;
    unsigned                   outboxes_quit:1;
    unsigned                   outboxes_closed:1;
    unsigned                   crowded:1;   /* which the log has told */
} ngx_snorky_hub_t;


/* in init_process and exit_process; NULL: no memory */
ngx_snorky_hub_t *ngx_snorky_hub_open(ngx_cycle_t *cycle,
    ngx_snorky_hub_conf_t *conf);
void ngx_snorky_hub_close(ngx_snorky_hub_t *hub);

/* whether this worker can serve */
#define ngx_snorky_hub_ready(hub)  ngx_snorky_broker_ready((hub)->broker)

/* whether nobody is connected */
#define ngx_snorky_hub_deserted(hub)                                          \
    (ngx_queue_empty(&(hub)->sessions) && ngx_queue_empty(&(hub)->ending))

/* the reason of NGX_SNORKY_HUB_RESTART for all at once; a string of C */
#define ngx_snorky_hub_reason(hub)  ((const char *) (hub)->at_once)

/*
 * The worker ends at once: sessions are closed next, and what they have in the
 * zone is left to the other workers.
 */
#define ngx_snorky_hub_exit(hub)  (hub)->exiting = 1

/* closes every session, now */
void ngx_snorky_hub_close_sessions(ngx_snorky_hub_t *hub, ngx_uint_t code,
    const char *reason);

/* for sessions */
void ngx_snorky_hub_add(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s);
void ngx_snorky_hub_remove(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s);

/* draining has come to it, but its calls are to be answered first */
void ngx_snorky_hub_postpone(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s);

/*
 * The pool is used for a deferred call, perhaps outside of any message: it is
 * reset when what goes on now has been done.
 */
void ngx_snorky_hub_clean(ngx_snorky_hub_t *hub);

/* the session's call waits for room; resume() will be called */
void ngx_snorky_hub_wait(ngx_snorky_hub_t *hub, ngx_snorky_session_t *s);
void ngx_snorky_hub_stop_waiting(ngx_snorky_hub_t *hub,
    ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_HUB_H_INCLUDED_ */
