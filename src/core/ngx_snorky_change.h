
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A change that a call makes of the shared facts, while it is gathered.  A
 * worker has one, since it handles one message at a time.
 */


#ifndef _NGX_SNORKY_CHANGE_H_INCLUDED_
#define _NGX_SNORKY_CHANGE_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_broker.h"
#include "ngx_snorky_topic.h"


struct ngx_snorky_change_s {
    ngx_snorky_call_t           *call;
    ngx_int_t                    rc;        /* of the steps so far */

    ngx_array_t                  steps;     /* of ngx_snorky_broker_step_t */
    ngx_array_t                  releases;  /* of ngx_snorky_hold_t * */

    ngx_snorky_hold_t           *hold;      /* that is to be had */
    ngx_uint_t                   holder;    /* ... by this step */
    ngx_snorky_subscription_t   *join;
    ngx_snorky_subscription_t   *leave;

    ngx_snorky_broker_change_t   broker;
};


#endif /* _NGX_SNORKY_CHANGE_H_INCLUDED_ */
