
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The status: what the zone knows of itself and of its workers, as JSON, for
 * Prometheus, or as a page.
 */


#ifndef _NGX_SNORKY_STATUS_H_INCLUDED_
#define _NGX_SNORKY_STATUS_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* the content handler of a location with snorky_status */
ngx_int_t ngx_snorky_status_handler(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_STATUS_H_INCLUDED_ */
