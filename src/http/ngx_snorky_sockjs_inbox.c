
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what has come for a session and has not been dispatched.  Called by the
 * session's letters; calls the dispatch, the one way in.
 */


#include "ngx_snorky_sockjs_inbox.h"
#include "ngx_snorky_dispatch.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_sockjs_out.h"
#include "ngx_snorky_ws_frame.h"


/* of a session; a client sends one after another, as a rule */
#define NGX_SNORKY_SOCKJS_INBOX_PARCELS  16

/* messages in one round of the event loop, before others have their turn */
#define NGX_SNORKY_SOCKJS_INBOX_ROUND    1024


/* The messages of one request, packed. */

typedef struct {
    ngx_queue_t                   queue;
    ngx_snorky_sockjs_letter_t    letter;   /* the first: who is answered */
    u_char                       *data;
    size_t                        size;
    size_t                        len;
    ngx_str_t                     rest;     /* when all is there: to be done */
    unsigned                      whole:1;
} ngx_snorky_sockjs_parcel_t;


static ngx_snorky_sockjs_parcel_t *ngx_snorky_sockjs_inbox_parcel(
    ngx_snorky_sockjs_session_t *session, ngx_snorky_sockjs_letter_t *letter);
static ngx_snorky_sockjs_parcel_t *ngx_snorky_sockjs_inbox_begin(
    ngx_snorky_sockjs_session_t *session, ngx_snorky_sockjs_letter_t *letter);
static ngx_int_t ngx_snorky_sockjs_inbox_append(
    ngx_snorky_sockjs_session_t *session, ngx_snorky_sockjs_parcel_t *parcel,
    ngx_str_t *text);
static ngx_snorky_sockjs_parcel_t *ngx_snorky_sockjs_inbox_next(
    ngx_snorky_sockjs_session_t *session);
static void ngx_snorky_sockjs_inbox_handler(ngx_event_t *ev);
static ngx_uint_t ngx_snorky_sockjs_inbox_tired(
    ngx_snorky_sockjs_session_t *session, ngx_uint_t n);
static void ngx_snorky_sockjs_inbox_step(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel);
static ngx_int_t ngx_snorky_sockjs_inbox_message(
    ngx_snorky_sockjs_session_t *session, ngx_str_t *text);
static ngx_int_t ngx_snorky_sockjs_inbox_echo(
    ngx_snorky_sockjs_session_t *session, ngx_str_t *text);
static void ngx_snorky_sockjs_inbox_end(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel, ngx_uint_t status);
static void ngx_snorky_sockjs_inbox_free(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel);


void
ngx_snorky_sockjs_inbox_init(ngx_snorky_sockjs_session_t *session)
{
    ngx_queue_init(&session->parcels);

    session->inbox.handler = ngx_snorky_sockjs_inbox_handler;
    session->inbox.data = session;
    session->inbox.log = &session->log;
}


/* parcels are in the order in which they have become whole */

void
ngx_snorky_sockjs_inbox_put(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_snorky_sockjs_parcel_t  *parcel;

    parcel = ngx_snorky_sockjs_inbox_parcel(session, letter);

    if (parcel == NULL) {

        /* if it had a beginning, that has been answered */

        if (letter->size) {
            return;
        }

        parcel = ngx_snorky_sockjs_inbox_begin(session, letter);
        if (parcel == NULL) {
            return;
        }
    }

    if (ngx_snorky_sockjs_inbox_append(session, parcel, text) != NGX_OK) {
        ngx_snorky_sockjs_inbox_end(session, parcel,
                                    NGX_HTTP_SERVICE_UNAVAILABLE);
        return;
    }

    if (!letter->last) {
        return;
    }

    parcel->whole = 1;
    parcel->rest.data = parcel->data;
    parcel->rest.len = parcel->len;

    ngx_queue_remove(&parcel->queue);
    ngx_queue_insert_tail(&session->parcels, &parcel->queue);

    ngx_snorky_sockjs_inbox_post(session);
}


static ngx_snorky_sockjs_parcel_t *
ngx_snorky_sockjs_inbox_parcel(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter)
{
    ngx_queue_t                 *q;
    ngx_snorky_sockjs_parcel_t  *parcel;

    for (q = ngx_queue_head(&session->parcels);
         q != ngx_queue_sentinel(&session->parcels);
         q = ngx_queue_next(q))
    {
        parcel = ngx_queue_data(q, ngx_snorky_sockjs_parcel_t, queue);

        if (parcel->letter.request == letter->request
            && parcel->letter.worker == letter->worker)
        {
            return parcel;
        }
    }

    return NULL;
}


/* NULL: it is refused, and has been answered */

static ngx_snorky_sockjs_parcel_t *
ngx_snorky_sockjs_inbox_begin(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter)
{
    ngx_uint_t                   status;
    ngx_snorky_worker_t         *worker;
    ngx_snorky_sockjs_parcel_t  *parcel;

    worker = session->worker;
    parcel = NULL;

    if (session->peer.session.left || session->peer.session.ending) {
        status = NGX_HTTP_NOT_FOUND;

    } else {
        status = NGX_HTTP_SERVICE_UNAVAILABLE;

        if (session->nparcels < NGX_SNORKY_SOCKJS_INBOX_PARCELS) {
            parcel = ngx_calloc(sizeof(ngx_snorky_sockjs_parcel_t),
                                &session->log);
        }
    }

    if (parcel == NULL) {
        ngx_snorky_sockjs_inbox_answer(worker, letter, status);
        return NULL;
    }

    parcel->letter = *letter;

    session->nparcels++;
    ngx_queue_insert_tail(&session->parcels, &parcel->queue);

    if (!letter->last
        && letter->worker != ngx_snorky_mailbox_number(worker->hub))
    {
        ngx_snorky_sockjs_watch(worker);
    }

    return parcel;
}


/* the only parcel, however large, always has room */

static ngx_int_t
ngx_snorky_sockjs_inbox_append(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel, ngx_str_t *text)
{
    size_t   size;
    u_char  *data;

    if (text->len == 0) {
        return NGX_OK;
    }

    if (session->parcels_size > parcel->len
        && session->parcels_size + text->len > session->conf->send_buffer)
    {
        return NGX_BUSY;
    }

    if (parcel->size - parcel->len < text->len) {

        size = ngx_max(parcel->size * 2, parcel->len + text->len);

        data = ngx_alloc(size, &session->log);
        if (data == NULL) {
            return NGX_ERROR;
        }

        if (parcel->data) {
            ngx_memcpy(data, parcel->data, parcel->len);
            ngx_free(parcel->data);
        }

        parcel->data = data;
        parcel->size = size;
    }

    ngx_memcpy(parcel->data + parcel->len, text->data, text->len);

    parcel->len += text->len;
    session->parcels_size += text->len;

    return NGX_OK;
}


void
ngx_snorky_sockjs_inbox_post(ngx_snorky_sockjs_session_t *session)
{
    ngx_event_t  *ev;

    ev = &session->inbox;

    if (session->nparcels) {
        ngx_post_event(ev, &ngx_posted_events);
    }
}


/* the first one that is whole */

static ngx_snorky_sockjs_parcel_t *
ngx_snorky_sockjs_inbox_next(ngx_snorky_sockjs_session_t *session)
{
    ngx_queue_t                 *q;
    ngx_snorky_sockjs_parcel_t  *parcel;

    for (q = ngx_queue_head(&session->parcels);
         q != ngx_queue_sentinel(&session->parcels);
         q = ngx_queue_next(q))
    {
        parcel = ngx_queue_data(q, ngx_snorky_sockjs_parcel_t, queue);

        if (parcel->whole) {
            return parcel;
        }
    }

    return NULL;
}


static void
ngx_snorky_sockjs_inbox_handler(ngx_event_t *ev)
{
    ngx_uint_t                    n;
    ngx_snorky_session_t         *s;
    ngx_snorky_sockjs_parcel_t   *parcel;
    ngx_snorky_sockjs_session_t  *session;

    session = ev->data;
    s = &session->peer.session;

    session->worker->delivered = s->hub->stats->deliveries;

    for (n = 0; /* void */ ; n++) {

        if (s->left || (s->ending && !session->waits)) {
            ngx_snorky_sockjs_inbox_finish(session);
            return;
        }

        parcel = ngx_snorky_sockjs_inbox_next(session);

        /* who does not take our answers is not asked what it wants */

        if (parcel == NULL
            || session->waits
            || ngx_snorky_sockjs_out_full(session))
        {
            return;
        }

        if (ngx_snorky_sockjs_inbox_tired(session, n)) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        ngx_snorky_sockjs_inbox_step(session, parcel);
    }
}


static ngx_uint_t
ngx_snorky_sockjs_inbox_tired(ngx_snorky_sockjs_session_t *session,
    ngx_uint_t n)
{
    ngx_snorky_worker_t  *worker;

    worker = session->worker;

    return n == NGX_SNORKY_SOCKJS_INBOX_ROUND
           || worker->hub->stats->deliveries - worker->delivered
              >= NGX_SNORKY_DISPATCH_DELIVERIES;
}


/* a message that must wait is still the parcel's first */

static void
ngx_snorky_sockjs_inbox_step(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel)
{
    ngx_int_t  rc;
    ngx_str_t  rest, text;

    rest = parcel->rest;

    if (ngx_snorky_sockjs_unpack(&rest, &text) == NGX_OK) {

        rc = ngx_snorky_sockjs_inbox_message(session, &text);

        if (rc == NGX_AGAIN) {
            session->waits = 1;
            return;
        }

        parcel->rest = rest;
    }

    if (rest.len == 0) {
        ngx_snorky_sockjs_inbox_end(session, parcel, NGX_HTTP_NO_CONTENT);
    }
}


/* NGX_OK, or NGX_AGAIN: it waits for room in the log */

static ngx_int_t
ngx_snorky_sockjs_inbox_message(ngx_snorky_sockjs_session_t *session,
    ngx_str_t *text)
{
    ngx_int_t              rc;
    ngx_snorky_session_t  *s;

    s = &session->peer.session;

    if (session->conf->echo) {
        rc = ngx_snorky_sockjs_inbox_echo(session, text);

    } else {
        rc = ngx_snorky_dispatch(s, text);
    }

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {
        ngx_snorky_session_close(s, NGX_SNORKY_WS_INTERNAL_ERROR,
                                 "out of memory");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_sockjs_inbox_echo(ngx_snorky_sockjs_session_t *session,
    ngx_str_t *text)
{
    ngx_snorky_msg_t      *msg;
    ngx_snorky_session_t  *s;

    s = &session->peer.session;

    s->messages_in++;
    s->hub->stats->messages_in++;
    s->hub->stats->bytes_in += text->len;

    msg = ngx_snorky_msg_create(text->len, &session->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(msg->text, text->data, text->len);

    ngx_snorky_session_send(s, msg, 1);

    ngx_snorky_msg_unref(msg);

    return NGX_OK;
}


void
ngx_snorky_sockjs_inbox_resume(ngx_snorky_sockjs_session_t *session)
{
    session->waits = 0;

    ngx_snorky_sockjs_inbox_step(session,
                                 ngx_snorky_sockjs_inbox_next(session));

    if (!session->waits) {
        ngx_snorky_sockjs_inbox_post(session);
    }
}


ngx_uint_t
ngx_snorky_sockjs_inbox_watch(ngx_snorky_sockjs_session_t *session)
{
    ngx_uint_t                   more;
    ngx_queue_t                 *q, *next;
    ngx_snorky_hub_t            *hub;
    ngx_snorky_sockjs_parcel_t  *parcel;

    more = 0;
    hub = session->worker->hub;

    for (q = ngx_queue_head(&session->parcels);
         q != ngx_queue_sentinel(&session->parcels);
         q = next)
    {
        next = ngx_queue_next(q);
        parcel = ngx_queue_data(q, ngx_snorky_sockjs_parcel_t, queue);

        if (parcel->whole
            || parcel->letter.worker == ngx_snorky_mailbox_number(hub))
        {
            continue;
        }

        if (ngx_snorky_broker_seated(hub->broker, parcel->letter.worker)) {
            more = 1;

        } else {
            ngx_snorky_sockjs_inbox_free(session, parcel);
        }
    }

    return more;
}


void
ngx_snorky_sockjs_inbox_finish(ngx_snorky_sockjs_session_t *session)
{
    ngx_queue_t  *q;

    session->waits = 0;

    while (!ngx_queue_empty(&session->parcels)) {
        q = ngx_queue_head(&session->parcels);

        ngx_snorky_sockjs_inbox_end(session,
                        ngx_queue_data(q, ngx_snorky_sockjs_parcel_t, queue),
                        NGX_HTTP_NOT_FOUND);
    }

    if (session->inbox.posted) {
        ngx_delete_posted_event(&session->inbox);
    }
}


static void
ngx_snorky_sockjs_inbox_end(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel, ngx_uint_t status)
{
    ngx_snorky_sockjs_letter_t  letter;

    letter = parcel->letter;

    ngx_snorky_sockjs_inbox_free(session, parcel);

    ngx_snorky_sockjs_inbox_answer(session->worker, &letter, status);
}


static void
ngx_snorky_sockjs_inbox_free(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_parcel_t *parcel)
{
    session->nparcels--;
    session->parcels_size -= parcel->len;

    ngx_queue_remove(&parcel->queue);

    if (parcel->data) {
        ngx_free(parcel->data);
    }

    ngx_free(parcel);
}


void
ngx_snorky_sockjs_inbox_answer(ngx_snorky_worker_t *worker,
    ngx_snorky_sockjs_letter_t *letter, ngx_uint_t status)
{
    ngx_snorky_sockjs_letter_t  answer;

    answer = *letter;

    answer.type = NGX_SNORKY_SOCKJS_ANSWER;
    answer.value = (uint32_t) status;
    answer.size = 0;
    answer.last = 0;

    (void) ngx_snorky_sockjs_send_letter(worker, letter->worker, &answer,
                                         NULL);
}
