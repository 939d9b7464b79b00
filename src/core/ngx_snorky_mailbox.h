
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Letters from worker to worker.  A letter to another worker goes through the
 * shared log; one to this very worker does not.  All are read outside of any
 * delivery, in an event of their own, and those of one worker to another in
 * the order in which they were sent.
 */


#ifndef _NGX_SNORKY_MAILBOX_H_INCLUDED_
#define _NGX_SNORKY_MAILBOX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_snorky_hub.h"
#include "ngx_snorky_msg.h"


/* What the mailbox tells its owner, who is in a floor above. */

typedef struct {

    void                     (*letter)(void *data, ngx_snorky_msg_t *letter);

    /* what was held back has gone, see ngx_snorky_mailbox_blocked() */
    void                     (*unblocked)(void *data);

    /*
     * Letters may have been lost: this worker was given up, or the shared
     * records began anew.  All sessions have been closed.  It is known by
     * another number from here on.
     */
    void                     (*lost)(void *data);

} ngx_snorky_mailbox_handlers_t;


/* NGX_OK, or NGX_ERROR: no memory; it is closed with the hub */
ngx_int_t ngx_snorky_mailbox_open(ngx_snorky_hub_t *hub,
    ngx_snorky_mailbox_handlers_t *handlers, void *data);
void ngx_snorky_mailbox_close(ngx_snorky_hub_t *hub);

/* this worker's number, which changes when it has been given up */
uint64_t ngx_snorky_mailbox_number(ngx_snorky_hub_t *hub);

/*
 * Sends a letter of n parts, of ngx_snorky_mailbox_max() bytes at most.  While
 * the log has no room it is held back, and what comes after it.  NGX_OK, or
 * NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_mailbox_send(ngx_snorky_hub_t *hub, uint64_t worker,
    ngx_str_t *parts, ngx_uint_t n);

size_t ngx_snorky_mailbox_max(ngx_snorky_hub_t *hub);

/* letters are held back: who has much to say waits for unblocked() */
ngx_uint_t ngx_snorky_mailbox_blocked(ngx_snorky_hub_t *hub);

/* reads what has come, now: for a worker that ends */
void ngx_snorky_mailbox_read(ngx_snorky_hub_t *hub);


/* for the hub: whether it is this worker's name in the log; what came; room */
ngx_uint_t ngx_snorky_mailbox_is(ngx_snorky_mailbox_t *mailbox,
    ngx_str_t *name);
ngx_int_t ngx_snorky_mailbox_put(ngx_snorky_mailbox_t *mailbox,
    ngx_snorky_msg_t *letter);
void ngx_snorky_mailbox_room(ngx_snorky_mailbox_t *mailbox);
void ngx_snorky_mailbox_lost(ngx_snorky_mailbox_t *mailbox);


#endif /* _NGX_SNORKY_MAILBOX_H_INCLUDED_ */
