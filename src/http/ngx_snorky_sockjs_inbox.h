
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

/* the message that waited is dispatched again */
void ngx_snorky_sockjs_inbox_resume(ngx_snorky_sockjs_session_t *session);

/* the session is closed: those that wait are answered with 404, and freed */
void ngx_snorky_sockjs_inbox_finish(ngx_snorky_sockjs_session_t *session);


#endif /* _NGX_SNORKY_SOCKJS_INBOX_H_INCLUDED_ */
