
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A hold: what a client keeps of a shared record.  It lies in a list of its
 * session, and has the service's own bytes and a label behind it.
 */


#ifndef _NGX_SNORKY_HOLD_H_INCLUDED_
#define _NGX_SNORKY_HOLD_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_session.h"


struct ngx_snorky_hold_s {
    ngx_snorky_broker_hold_t   shared;      /* first: the broker frees it */
    ngx_snorky_session_t      *session;
    ngx_snorky_service_t      *service;
    ngx_str_t                  label;
    unsigned                   claimed:1;   /* it counts as a subscription */
};


/* not in the session's list yet; NULL: no memory */
ngx_snorky_hold_t *ngx_snorky_hold_create(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *label, size_t data_size);

/* it is the session's */
void ngx_snorky_hold_link(ngx_snorky_hold_t *hold);

/* it has been released in the store, and the session has it no longer ... */
void ngx_snorky_hold_unlink(ngx_snorky_hold_t *hold);

/* ... and then the service is told, and the memory freed */
void ngx_snorky_hold_end(ngx_snorky_hold_t *hold);

/* the session ends: its holds go back to the broker */
void ngx_snorky_hold_part_all(ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_HOLD_H_INCLUDED_ */
