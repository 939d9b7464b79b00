
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Requests that bring messages to a session: xhr_send and jsonp_send.
 */


#ifndef _NGX_SNORKY_SOCKJS_SEND_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_SEND_H_INCLUDED_


#include "ngx_snorky_sockjs.h"


/*
 * The method has been checked.  Reads the body; the answer is given when the
 * session has taken all messages.  Returns as a content handler does.
 */

ngx_int_t ngx_snorky_sockjs_send(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session, ngx_uint_t jsonp);


#endif /* _NGX_SNORKY_SOCKJS_SEND_H_INCLUDED_ */
