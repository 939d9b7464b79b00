
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Locations that have one of our handlers.
 */


#ifndef _NGX_SNORKY_LOCATION_H_INCLUDED_
#define _NGX_SNORKY_LOCATION_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* the handler of the location around it, for "if" and "limit_except" */
void ngx_snorky_location_inherit(ngx_conf_t *cf, ngx_snorky_loc_conf_t *prev,
    ngx_snorky_loc_conf_t *conf);

/*
 * A location with a handler, whose values have been merged: checks it, and
 * finds its registry.  NGX_CONF_OK, or NGX_CONF_ERROR and the error is logged.
 */

char *ngx_snorky_location_init(ngx_conf_t *cf, ngx_snorky_loc_conf_t *conf);


#endif /* _NGX_SNORKY_LOCATION_H_INCLUDED_ */
