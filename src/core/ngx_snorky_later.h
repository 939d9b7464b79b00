
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Calls that are answered later: what is kept of them in the meantime, and
 * what becomes of them when the client or the time has gone.
 */


#ifndef _NGX_SNORKY_LATER_H_INCLUDED_
#define _NGX_SNORKY_LATER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_snorky.h"
#include "ngx_snorky_ask.h"
#include "ngx_snorky_call.h"


struct ngx_snorky_later_s {
    ngx_snorky_call_t          call;        /* first */
    ngx_snorky_later_t        *next;        /* of the session's */
    ngx_snorky_later_t       **prev;
    ngx_event_t                timer;
    ngx_snorky_ask_t           ask;         /* if ask.inner */

    unsigned                   taken:1;     /* no more of the session's */
    unsigned                   ending:1;    /* its service is being told */
};


/*
 * It is to be answered, and is its session's no more.  NGX_OK, NGX_DECLINED:
 * too late, its service is being told that it is cancelled.
 */
ngx_int_t ngx_snorky_later_take(ngx_snorky_later_t *later);

/* it has been answered, and is freed */
void ngx_snorky_later_end(ngx_snorky_later_t *later);

/* the session leaves: none of them is answered any more */
void ngx_snorky_later_cancel_all(ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_LATER_H_INCLUDED_ */
