
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the receiver, the messages that wait for one, and how a response's
 * bytes are made of them.  Called by the session.
 */


#include "ngx_snorky_sockjs_out.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_sockjs_inbox.h"
#include "ngx_snorky_ws_frame.h"


/* messages, before the array grows */
#define NGX_SNORKY_SOCKJS_OUT_MIN_SIZE  8

/* bytes of a frame, or of a body, that are put together on the stack */
#define NGX_SNORKY_SOCKJS_OUT_SMALL     1024


static ngx_snorky_msg_t *ngx_snorky_sockjs_out_form(ngx_snorky_msg_t *msg,
    ngx_log_t *log);
static ngx_int_t ngx_snorky_sockjs_out_grow(
    ngx_snorky_sockjs_session_t *session);
static void ngx_snorky_sockjs_out_forget(ngx_snorky_sockjs_session_t *session,
    ngx_uint_t n);
static void ngx_snorky_sockjs_out_messages(
    ngx_snorky_sockjs_session_t *session);
static void ngx_snorky_sockjs_out_close(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_uint_t code,
    const char *reason);
static void ngx_snorky_sockjs_out_say(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_str_t *frame, ngx_uint_t n,
    ngx_uint_t last);
static ngx_int_t ngx_snorky_sockjs_out_send(
    ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_str_t *body, ngx_uint_t n);
static void ngx_snorky_sockjs_out_fail(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver);


/*
 * When one response has ended, the next request may come before it is known
 * what became of the last: its client has had it whole, or would not ask.
 */

void
ngx_snorky_sockjs_out_attach(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *callback)
{
    ngx_snorky_sockjs_receiver_t  receiver;

    ngx_memzero(&receiver, sizeof(ngx_snorky_sockjs_receiver_t));

    receiver.worker = letter->worker;
    receiver.request = letter->request;
    receiver.kind = (ngx_snorky_sockjs_kind_e) letter->value;
    receiver.room = letter->size;
    receiver.callback = *callback;

    if (session->receiver.request && !session->receiver.ended) {
        ngx_snorky_sockjs_out_close(session, &receiver, 2010,
                                    "Another connection still open");
        return;
    }

    if (callback->len) {
        receiver.callback.data = ngx_alloc(callback->len, &session->log);

        if (receiver.callback.data == NULL) {
            ngx_snorky_sockjs_inbox_answer(session->worker, letter,
                                           NGX_HTTP_SERVICE_UNAVAILABLE);
            return;
        }

        ngx_memcpy(receiver.callback.data, callback->data, callback->len);
    }

    ngx_snorky_sockjs_out_detach(session);

    session->receiver = receiver;

    if (ngx_snorky_sockjs_out_far(session)) {
        ngx_snorky_sockjs_watch(session->worker);
    }

    ngx_snorky_sockjs_out_post(session);
}


void
ngx_snorky_sockjs_out_release(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_sockjs_out_flush(session);

    if (!session->receiver.ended) {
        ngx_snorky_sockjs_out_frame(session, "h", 1);
    }
}


void
ngx_snorky_sockjs_out_detach(ngx_snorky_sockjs_session_t *session)
{
    if (session->receiver.callback.len) {
        ngx_free(session->receiver.callback.data);
    }

    ngx_memzero(&session->receiver, sizeof(ngx_snorky_sockjs_receiver_t));
}


ngx_uint_t
ngx_snorky_sockjs_out_far(ngx_snorky_sockjs_session_t *session)
{
    return session->receiver.request
           && session->receiver.worker
              != ngx_snorky_mailbox_number(session->worker->hub);
}


/*
 * One message, however large, always has room in an empty queue.  A receiver
 * may only have had no turn yet in a busy round.
 */

ngx_int_t
ngx_snorky_sockjs_out_push(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_msg_t *msg)
{
    size_t             most;
    ngx_snorky_msg_t  *form;

    form = ngx_snorky_sockjs_out_form(msg, &session->log);
    if (form == NULL) {
        return NGX_ERROR;
    }

    most = session->conf->send_buffer;

    if (session->bytes + form->len > most) {
        ngx_snorky_sockjs_out_flush(session);
    }

    if (session->count && session->bytes + form->len > most) {
        return NGX_BUSY;
    }

    if (session->first + session->count == session->room
        && ngx_snorky_sockjs_out_grow(session) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_snorky_msg_ref(form);

    session->messages[session->first + session->count] = form;
    session->count++;
    session->bytes += form->len;

    ngx_snorky_sockjs_out_post(session);

    return NGX_OK;
}


/* made once for all sessions of this worker, without a reference */

static ngx_snorky_msg_t *
ngx_snorky_sockjs_out_form(ngx_snorky_msg_t *msg, ngx_log_t *log)
{
    ngx_str_t          text;
    ngx_snorky_msg_t  *form;

    form = ngx_snorky_msg_form(msg, NGX_SNORKY_SOCKJS_STRING);

    if (form) {
        return form;
    }

    text.data = msg->text;
    text.len = msg->len;

    form = ngx_snorky_msg_create(ngx_snorky_sockjs_string_size(&text), log);
    if (form == NULL) {
        return NULL;
    }

    (void) ngx_snorky_sockjs_string(form->text, &text);

    ngx_snorky_msg_add_form(msg, form, NGX_SNORKY_SOCKJS_STRING);

    return form;
}


static ngx_int_t
ngx_snorky_sockjs_out_grow(ngx_snorky_sockjs_session_t *session)
{
    ngx_uint_t          room;
    ngx_snorky_msg_t  **messages;

    messages = session->messages;

    if (session->count == 0 || session->first < session->room / 2) {

        room = ngx_max(session->room * 2, NGX_SNORKY_SOCKJS_OUT_MIN_SIZE);

        messages = ngx_alloc(room * sizeof(ngx_snorky_msg_t *),
                             &session->log);
        if (messages == NULL) {
            return NGX_ERROR;
        }

        session->room = room;
    }

    if (session->count) {
        ngx_memmove(messages, session->messages + session->first,
                    session->count * sizeof(ngx_snorky_msg_t *));
    }

    if (session->messages && session->messages != messages) {
        ngx_free(session->messages);
    }

    session->messages = messages;
    session->first = 0;

    return NGX_OK;
}


/* the first n messages; a session that has none keeps no memory for them */

static void
ngx_snorky_sockjs_out_forget(ngx_snorky_sockjs_session_t *session,
    ngx_uint_t n)
{
    ngx_snorky_msg_t  *form;

    while (n--) {
        form = session->messages[session->first];

        session->first++;
        session->count--;
        session->bytes -= form->len;

        ngx_snorky_msg_unref(form);
    }

    if (session->count == 0 && session->messages) {
        ngx_free(session->messages);

        session->messages = NULL;
        session->room = 0;
        session->first = 0;
    }
}


ngx_uint_t
ngx_snorky_sockjs_out_drop(ngx_snorky_sockjs_session_t *session)
{
    ngx_uint_t  n;

    n = session->count;

    ngx_snorky_sockjs_out_forget(session, n);

    return n;
}


void
ngx_snorky_sockjs_out_post(ngx_snorky_sockjs_session_t *session)
{
    ngx_event_t                 *ev;
    ngx_snorky_sockjs_worker_t  *sockjs;

    if (session->is_dirty) {
        return;
    }

    sockjs = session->worker->sockjs;

    session->is_dirty = 1;
    ngx_queue_insert_tail(&sockjs->dirty, &session->dirty);

    ev = &sockjs->flush;

    ngx_post_event(ev, &ngx_posted_events);
}


/*
 * While letters to other workers are held back, messages wait here, where
 * they are counted.
 */

void
ngx_snorky_sockjs_out_flush(ngx_snorky_sockjs_session_t *session)
{
    ngx_snorky_sockjs_receiver_t  *receiver;

    receiver = &session->receiver;

    if (receiver->request == 0 || receiver->ended) {
        return;
    }

    if (!session->opened) {
        session->opened = 1;

        ngx_snorky_sockjs_out_frame(session, "o", 0);

        if (session->conf->go_away) {
            ngx_snorky_session_close(&session->peer.session, 3000, "Go away!");
        }
    }

    if (ngx_snorky_mailbox_blocked(session->worker->hub)
        && ngx_snorky_sockjs_out_far(session))
    {
        return;
    }

    while (session->count && !receiver->ended) {
        ngx_snorky_sockjs_out_messages(session);
    }

    if (session->closed && !receiver->ended) {
        ngx_snorky_sockjs_out_close(session, receiver, session->close_code,
                                    session->close_reason);
    }
}


/* as many as the response may still have, but always one */

static void
ngx_snorky_sockjs_out_messages(ngx_snorky_sockjs_session_t *session)
{
    u_char             *p, small[NGX_SNORKY_SOCKJS_OUT_SMALL];
    size_t              size;
    ngx_str_t           frame;
    ngx_uint_t          i, n;
    ngx_snorky_msg_t  **form;

    form = session->messages + session->first;
    size = sizeof("a[") - 1 + form[0]->len + 1;

    for (n = 1; n < session->count; n++) {

        if (size + form[n]->len + 1 > session->receiver.room) {
            break;
        }

        size += form[n]->len + 1;
    }

    frame.len = size;
    frame.data = (size <= sizeof(small)) ? small
                                         : ngx_alloc(size, &session->log);

    if (frame.data == NULL) {
        ngx_snorky_sockjs_out_fail(session, &session->receiver);
        return;
    }

    p = ngx_cpymem(frame.data, "a[", sizeof("a[") - 1);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, form[i]->text, form[i]->len);
        *p++ = ',';
    }

    p[-1] = ']';

    ngx_snorky_sockjs_out_forget(session, n);

    ngx_snorky_sockjs_out_say(session, &session->receiver, &frame, n, 0);

    if (frame.data != small) {
        ngx_free(frame.data);
    }

    /* what the client asks may be answered again */

    ngx_snorky_sockjs_inbox_post(session);
}


void
ngx_snorky_sockjs_out_frame(ngx_snorky_sockjs_session_t *session,
    const char *text, ngx_uint_t last)
{
    ngx_str_t  frame;

    frame.data = (u_char *) text;
    frame.len = ngx_strlen(text);

    ngx_snorky_sockjs_out_say(session, &session->receiver, &frame, 0, last);
}


static void
ngx_snorky_sockjs_out_close(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_uint_t code,
    const char *reason)
{
    ngx_str_t  text, frame;

    text.data = (u_char *) reason;
    text.len = ngx_strlen(reason);

    frame.data = ngx_alloc(ngx_snorky_sockjs_close_size(&text), &session->log);

    if (frame.data == NULL) {
        ngx_snorky_sockjs_out_fail(session, receiver);
        return;
    }

    frame.len = ngx_snorky_sockjs_close(frame.data, code, &text) - frame.data;

    ngx_snorky_sockjs_out_say(session, receiver, &frame, 0, 1);

    ngx_free(frame.data);
}


/* a poll is answered by one frame; all else goes on up to its limit */

static void
ngx_snorky_sockjs_out_say(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_str_t *frame, ngx_uint_t n,
    ngx_uint_t last)
{
    u_char     small[NGX_SNORKY_SOCKJS_OUT_SMALL];
    ngx_int_t  rc;
    ngx_str_t  body;

    body.len = ngx_snorky_sockjs_wrap_size(receiver->kind, &receiver->callback,
                                           frame);
    body.data = (body.len <= sizeof(small)) ? small
                                            : ngx_alloc(body.len,
                                                        &session->log);

    if (body.data == NULL) {
        ngx_snorky_sockjs_out_fail(session, receiver);
        return;
    }

    (void) ngx_snorky_sockjs_wrap(body.data, receiver->kind,
                                  &receiver->callback, frame);

    if (receiver->kind == NGX_SNORKY_SOCKJS_XHR
        || receiver->kind == NGX_SNORKY_SOCKJS_JSONP
        || receiver->room <= body.len)
    {
        last = 1;
    }

    receiver->room -= ngx_min(receiver->room, body.len);
    receiver->ended = last;

    rc = ngx_snorky_sockjs_out_send(session, receiver, &body, n);

    if (body.data != small) {
        ngx_free(body.data);
    }

    if (rc != NGX_OK) {
        ngx_snorky_sockjs_out_fail(session, receiver);
    }
}


static ngx_int_t
ngx_snorky_sockjs_out_send(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver, ngx_str_t *body, ngx_uint_t n)
{
    u_char                      *last;
    size_t                       max;
    ngx_str_t                    piece;
    ngx_snorky_sockjs_letter_t   letter;

    max = ngx_snorky_sockjs_letter_max(session->worker);
    last = body->data + body->len;

    ngx_memzero(&letter, sizeof(ngx_snorky_sockjs_letter_t));

    letter.type = NGX_SNORKY_SOCKJS_BODY;
    letter.worker = receiver->worker;
    letter.request = receiver->request;
    ngx_memcpy(letter.key, session->key, NGX_SNORKY_SOCKJS_KEY);

    for (piece.data = body->data; piece.data < last; piece.data += piece.len) {

        piece.len = ngx_min((size_t) (last - piece.data), max);

        letter.size = last - piece.data - piece.len;

        if (letter.size == 0) {
            letter.value = (uint32_t) n;
            letter.last = receiver->ended;
        }

        if (ngx_snorky_sockjs_send_letter(session->worker, letter.worker,
                                          &letter, &piece)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* what a receiver should have had is lost: it gets nothing any more */

static void
ngx_snorky_sockjs_out_fail(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_receiver_t *receiver)
{
    receiver->ended = 1;

    ngx_snorky_session_close(&session->peer.session,
                             NGX_SNORKY_WS_INTERNAL_ERROR, "out of memory");
}
