
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The filters that collect the answer to a request of our own, and keep it
 * from a network that is not there.
 */


#ifndef _NGX_SNORKY_INNER_FILTER_H_INCLUDED_
#define _NGX_SNORKY_INNER_FILTER_H_INCLUDED_


#include "ngx_snorky_inner_request.h"


/* in postconfiguration */
void ngx_snorky_inner_filter_add(void);

/* the one that a request belongs to; NULL: it is none of these */
ngx_snorky_inner_t *ngx_snorky_inner_filter_find(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_INNER_FILTER_H_INCLUDED_ */
