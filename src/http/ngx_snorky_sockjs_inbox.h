
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a session's requests have brought: it is dispatched message by message,
 * in the order in which it came, and each request is answered when all of its
 * messages have been.
 */


#ifndef _NGX_SNORKY_SOCKJS_INBOX_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_INBOX_H_INCLUDED_


#include "ngx_snorky_sockjs_session.h"


void ngx_snorky_sockjs_inbox_init(ngx_snorky_sockjs_session_t *session);

/* a piece of a parcel has come */
void ngx_snorky_sockjs_inbox_put(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text);

/* have it looked at: there is room for answers again, or the session leaves */
void ngx_snorky_sockjs_inbox_post(ngx_snorky_sockjs_session_t *session);

/* the message that waited is dispatched again */
void ngx_snorky_sockjs_inbox_resume(ngx_snorky_sockjs_session_t *session);

/*
 * For the watch: pieces of dead workers are freed.  1: there are any of other
 * workers.
 */

ngx_uint_t ngx_snorky_sockjs_inbox_watch(ngx_snorky_sockjs_session_t *session);

/* the session ends: requests that wait are answered with 404 */
void ngx_snorky_sockjs_inbox_finish(ngx_snorky_sockjs_session_t *session);

/* answers the request that a letter came from */
void ngx_snorky_sockjs_inbox_answer(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_uint_t status);


#endif /* _NGX_SNORKY_SOCKJS_INBOX_H_INCLUDED_ */
