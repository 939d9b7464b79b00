
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * An outbox keeps the events that one location of one server{} is to be told
 * of until the application behind it has taken them, in their order.  What it
 * may keep is bounded; what does not fit is counted, and the number is told
 * in its place.
 *
 * Events are sent in batches, a JSON array each, one batch at a time.  A batch
 * that was not taken is sent again, the same, until it is.
 */


#ifndef _NGX_SNORKY_OUTBOX_H_INCLUDED_
#define _NGX_SNORKY_OUTBOX_H_INCLUDED_


#include "ngx_snorky_hub.h"


typedef struct ngx_snorky_outbox_s  ngx_snorky_outbox_t;

struct ngx_snorky_outbox_s {
    ngx_snorky_outbox_t         *next;      /* of the same directive */
    void                        *server;

    ngx_queue_t                  queue;     /* of the hub's */
    ngx_snorky_hub_t            *hub;
    ngx_str_t                    uri;

    ngx_queue_t                  events;
    size_t                       size;      /* bytes of memory */
    uint64_t                     dropped;   /* after the last of them */
    ngx_uint_t                   batch;     /* under way; or to be repeated */

    ngx_snorky_ask_t             ask;
    ngx_event_t                  send;      /* posted, or after a delay */
    ngx_msec_t                   delay;

    unsigned                     failing:1;
    unsigned                     repeats:1;
    unsigned                     full:1;    /* which the log has told */
};


/* of a worker */
void ngx_snorky_outbox_init(ngx_snorky_hub_t *hub,
    ngx_snorky_hub_conf_t *conf);

/* it ends, and nothing is under way: all outboxes are freed */
void ngx_snorky_outbox_finish(ngx_snorky_hub_t *hub);

/* the uri lives as long as the hub; NULL: no memory */
ngx_snorky_outbox_t *ngx_snorky_outbox_open(ngx_snorky_hub_t *hub,
    ngx_str_t *uri, void *server);

/* one more event, JSON in n parts, or one that is dropped */
void ngx_snorky_outbox_put(ngx_snorky_outbox_t *outbox, ngx_str_t *parts,
    ngx_uint_t n);

/*
 * The worker is to quit, and has no client any more: what is in the outboxes
 * keeps it for a while.
 */
void ngx_snorky_outbox_quit(ngx_snorky_hub_t *hub);


#endif /* _NGX_SNORKY_OUTBOX_H_INCLUDED_ */
