
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Gives back what an upgraded request holds for nothing.  nginx takes memory
 * for a request by pages of request_pool_size (4k).  The list of the request's
 * headers seldom has room in the first, so it starts a second one, which then
 * stays nearly empty as long as the connection lives.
 */


#ifndef _NGX_SNORKY_TRIM_H_INCLUDED_
#define _NGX_SNORKY_TRIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The request has been answered in full, and will only be logged.  Moves its
 * headers to where there is room, and frees the second block if nothing else
 * points into it.
 */

void ngx_snorky_trim_request(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_TRIM_H_INCLUDED_ */
