
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Requests that take what a session sends: xhr, xhr_streaming, eventsource,
 * htmlfile and jsonp.  What the response's body is, the session decides.
 */


#ifndef _NGX_SNORKY_SOCKJS_RECEIVE_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_RECEIVE_H_INCLUDED_


#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_sockjs_frame.h"


/*
 * The method has been checked.  Finds the session of this id or begins it.
 * Returns as a content handler does.
 */

ngx_int_t ngx_snorky_sockjs_receive(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session,
    ngx_snorky_sockjs_kind_e kind);


#endif /* _NGX_SNORKY_SOCKJS_RECEIVE_H_INCLUDED_ */
