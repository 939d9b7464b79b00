
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Which format of the status a request wants.
 */


#ifndef _NGX_SNORKY_STATUS_FORMAT_H_INCLUDED_
#define _NGX_SNORKY_STATUS_FORMAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* where a client likes several as much, it gets the first of them */

typedef enum {
    NGX_SNORKY_STATUS_JSON = 0,
    NGX_SNORKY_STATUS_PAGE,
    NGX_SNORKY_STATUS_PROMETHEUS
} ngx_snorky_status_format_e;

#define NGX_SNORKY_STATUS_FORMATS  3


/*
 * The argument "format", or else the header Accept; that is the page's, not a
 * subrequest's.  NGX_DECLINED: there is no format of that name.
 */

ngx_int_t ngx_snorky_status_format_find(ngx_http_request_t *r,
    ngx_snorky_status_format_e *format);


#endif /* _NGX_SNORKY_STATUS_FORMAT_H_INCLUDED_ */
