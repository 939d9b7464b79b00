
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The status as a page that asks for its figures itself.
 */


#ifndef _NGX_SNORKY_STATUS_PAGE_H_INCLUDED_
#define _NGX_SNORKY_STATUS_PAGE_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* NULL: no memory */
ngx_buf_t *ngx_snorky_status_page_build(ngx_pool_t *pool);

/* NGX_OK, or NGX_ERROR: no memory; what a browser has to know of it */
ngx_int_t ngx_snorky_status_page_headers(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_STATUS_PAGE_H_INCLUDED_ */
