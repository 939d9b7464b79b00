
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What goes out of a session: messages that wait for a receiver, who that is,
 * and the frames that it is given.
 */


#ifndef _NGX_SNORKY_SOCKJS_OUT_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_OUT_H_INCLUDED_


#include "ngx_snorky_sockjs_session.h"


/* whether no more of our answers may wait: then nothing is dispatched */
#define ngx_snorky_sockjs_out_full(session)                                   \
    ((session)->bytes > (session)->conf->send_buffer / 2)


/*
 * Queues a message.  NGX_OK; NGX_BUSY: there is no room, the client is too
 * slow; NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_sockjs_out_push(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_msg_t *msg);

/* forgets what waits; returns how many messages */
ngx_uint_t ngx_snorky_sockjs_out_drop(ngx_snorky_sockjs_session_t *session);

/* have it flushed at the end of the round */
void ngx_snorky_sockjs_out_post(ngx_snorky_sockjs_session_t *session);

/* gives the receiver, if there is one, what there is for it */
void ngx_snorky_sockjs_out_flush(ngx_snorky_sockjs_session_t *session);

/* the receiver gets this frame; the last one: its response ends */
void ngx_snorky_sockjs_out_frame(ngx_snorky_sockjs_session_t *session,
    const char *text, ngx_uint_t last);

/* a request wants to be the receiver; there may be one at a time */
void ngx_snorky_sockjs_out_attach(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *callback);

/* the receiver is to end, and the session to go on */
void ngx_snorky_sockjs_out_release(ngx_snorky_sockjs_session_t *session);

/* there is none any more */
void ngx_snorky_sockjs_out_detach(ngx_snorky_sockjs_session_t *session);

/* whether the receiver is a request in another worker */
ngx_uint_t ngx_snorky_sockjs_out_far(ngx_snorky_sockjs_session_t *session);


#endif /* _NGX_SNORKY_SOCKJS_OUT_H_INCLUDED_ */
