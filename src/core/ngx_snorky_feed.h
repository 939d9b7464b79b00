
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Texts from service to service, on all workers (ngx_snorky.h).
 */


#ifndef _NGX_SNORKY_FEED_H_INCLUDED_
#define _NGX_SNORKY_FEED_H_INCLUDED_


#include "ngx_snorky_service.h"


/* writes the name into the hub's scratch; NGX_OK or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_feed_name(ngx_snorky_service_t *service,
    ngx_str_t *name);


#endif /* _NGX_SNORKY_FEED_H_INCLUDED_ */
