
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The backend transport: an envelope, or an array of them, in a POST, and
 * the answer, or the array of answers, in its response (protocol, 10).
 */


#ifndef _NGX_SNORKY_BACKEND_H_INCLUDED_
#define _NGX_SNORKY_BACKEND_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* the content handler of a location with snorky_backend */
ngx_int_t ngx_snorky_backend_handler(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_BACKEND_H_INCLUDED_ */
