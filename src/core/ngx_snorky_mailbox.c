
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the letters that have come and those that wait for room.  Called by
 * transports whose clients come to any worker, and by the hub with what the
 * broker tells.
 */


#include "ngx_snorky_mailbox.h"


/* in the log: this byte, which no topic's name begins with, and the number */
#define NGX_SNORKY_MAILBOX_NAME  (1 + sizeof(uint64_t))

/* bytes, of a letter */
#define NGX_SNORKY_MAILBOX_MAX  (32 * 1024)

/* letters in one round of the event loop */
#define NGX_SNORKY_MAILBOX_ROUND  256


typedef struct {
    ngx_queue_t                     queue;
    ngx_snorky_msg_t               *msg;
    uint64_t                        worker;     /* to whom, if it waits */
} ngx_snorky_mailbox_letter_t;


struct ngx_snorky_mailbox_s {
    ngx_snorky_hub_t               *hub;
    ngx_snorky_mailbox_handlers_t  *handlers;
    void                           *data;

    uint64_t                        number;     /* by which it listens */
    u_char                          name[NGX_SNORKY_MAILBOX_NAME];
    uint64_t                        hash;
    ngx_queue_t                     in;
    ngx_queue_t                     out;        /* until the log has room */
    ngx_event_t                     event;
    unsigned                        listens:1;
};


static uint64_t ngx_snorky_mailbox_name(ngx_snorky_hub_t *hub, uint64_t worker,
    u_char *name);
static void ngx_snorky_mailbox_unlisten(ngx_snorky_mailbox_t *mailbox);
static ngx_int_t ngx_snorky_mailbox_append(ngx_snorky_mailbox_t *mailbox,
    uint64_t worker, ngx_str_t *parts, ngx_uint_t n);
static ngx_int_t ngx_snorky_mailbox_keep(ngx_snorky_mailbox_t *mailbox,
    ngx_queue_t *queue, uint64_t worker, ngx_snorky_msg_t *msg);
static ngx_snorky_msg_t *ngx_snorky_mailbox_take(ngx_queue_t *queue);
static void ngx_snorky_mailbox_forget(ngx_queue_t *queue);
static void ngx_snorky_mailbox_handler(ngx_event_t *ev);


ngx_int_t
ngx_snorky_mailbox_open(ngx_snorky_hub_t *hub,
    ngx_snorky_mailbox_handlers_t *handlers, void *data)
{
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_snorky_mailbox_t));
    if (mailbox == NULL) {
        return NGX_ERROR;
    }

    mailbox->hub = hub;
    mailbox->handlers = handlers;
    mailbox->data = data;

    ngx_queue_init(&mailbox->in);
    ngx_queue_init(&mailbox->out);

    mailbox->event.handler = ngx_snorky_mailbox_handler;
    mailbox->event.data = mailbox;
    mailbox->event.log = hub->log;

    hub->mailbox = mailbox;

    return NGX_OK;
}


void
ngx_snorky_mailbox_close(ngx_snorky_hub_t *hub)
{
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = hub->mailbox;

    if (mailbox == NULL) {
        return;
    }

    ngx_snorky_mailbox_unlisten(mailbox);
    ngx_snorky_mailbox_forget(&mailbox->in);
    ngx_snorky_mailbox_forget(&mailbox->out);

    if (mailbox->event.posted) {
        ngx_delete_posted_event(&mailbox->event);
    }

    hub->mailbox = NULL;
}


/*
 * Nobody knows a number before its worker has asked for it: from here on it
 * listens.
 */

uint64_t
ngx_snorky_mailbox_number(ngx_snorky_hub_t *hub)
{
    uint64_t               number;
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = hub->mailbox;
    number = ngx_snorky_broker_generation(hub->broker);

    if (mailbox->listens && mailbox->number == number) {
        return number;
    }

    ngx_snorky_mailbox_unlisten(mailbox);

    mailbox->number = number;
    mailbox->hash = ngx_snorky_mailbox_name(hub, number, mailbox->name);
    mailbox->listens = 1;

    ngx_snorky_broker_listen(hub->broker, mailbox->hash);

    return number;
}


static uint64_t
ngx_snorky_mailbox_name(ngx_snorky_hub_t *hub, uint64_t worker, u_char *name)
{
    ngx_str_t  text;

    name[0] = '\0';
    ngx_memcpy(name + 1, &worker, sizeof(uint64_t));

    text.data = name;
    text.len = NGX_SNORKY_MAILBOX_NAME;

    return ngx_snorky_broker_hash(hub->broker, &text);
}


static void
ngx_snorky_mailbox_unlisten(ngx_snorky_mailbox_t *mailbox)
{
    if (mailbox->listens) {
        mailbox->listens = 0;
        ngx_snorky_broker_unlisten(mailbox->hub->broker, mailbox->hash);
    }
}


ngx_int_t
ngx_snorky_mailbox_send(ngx_snorky_hub_t *hub, uint64_t worker,
    ngx_str_t *parts, ngx_uint_t n)
{
    u_char                *p;
    size_t                 len;
    ngx_int_t              rc;
    ngx_uint_t             i, local;
    ngx_snorky_msg_t      *msg;
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = hub->mailbox;
    local = (worker == ngx_snorky_mailbox_number(hub));

    if (!local && ngx_queue_empty(&mailbox->out)) {

        rc = ngx_snorky_mailbox_append(mailbox, worker, parts, n);

        if (rc != NGX_AGAIN) {
            return NGX_OK;
        }
    }

    len = 0;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    msg = ngx_snorky_msg_create(len, hub->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    p = msg->text;

    for (i = 0; i < n; i++) {
        p = ngx_snorky_store_copy(p, &parts[i]);
    }

    if (local) {
        rc = ngx_snorky_mailbox_put(mailbox, msg);

    } else {
        rc = ngx_snorky_mailbox_keep(mailbox, &mailbox->out, worker, msg);
    }

    ngx_snorky_msg_unref(msg);

    return rc;
}


/*
 * NGX_AGAIN: no room.  Without a seat in the zone a letter goes nowhere, and
 * lost() is about to tell so.
 */

static ngx_int_t
ngx_snorky_mailbox_append(ngx_snorky_mailbox_t *mailbox, uint64_t worker,
    ngx_str_t *parts, ngx_uint_t n)
{
    u_char                    name[NGX_SNORKY_MAILBOX_NAME];
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_snorky_hub_t         *hub;
    ngx_snorky_broker_text_t  text;

    hub = mailbox->hub;

    ngx_memzero(&text, sizeof(ngx_snorky_broker_text_t));

    text.hash = ngx_snorky_mailbox_name(hub, worker, name);
    text.name.data = name;
    text.name.len = NGX_SNORKY_MAILBOX_NAME;
    text.parts = parts;
    text.n = n;

    for (i = 0; i < n; i++) {
        text.len += parts[i].len;
    }

    rc = ngx_snorky_broker_publish(hub->broker, &text);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ALERT, hub->log, 0,
                      "a letter of %uz bytes is too large", text.len);
    }

    if (rc == NGX_OK) {
        hub->stats->letters++;
    }

    return rc;
}


/* so that even in the smallest log there is room for several */

size_t
ngx_snorky_mailbox_max(ngx_snorky_hub_t *hub)
{
    return (size_t) ngx_min(NGX_SNORKY_MAILBOX_MAX,
                            ngx_snorky_broker_zone(hub->broker)->log.size / 8);
}


ngx_uint_t
ngx_snorky_mailbox_blocked(ngx_snorky_hub_t *hub)
{
    return !ngx_queue_empty(&hub->mailbox->out);
}


ngx_uint_t
ngx_snorky_mailbox_is(ngx_snorky_mailbox_t *mailbox, ngx_str_t *name)
{
    return mailbox
           && mailbox->listens
           && name->len == NGX_SNORKY_MAILBOX_NAME
           && ngx_memcmp(name->data, mailbox->name, name->len) == 0;
}


ngx_int_t
ngx_snorky_mailbox_put(ngx_snorky_mailbox_t *mailbox, ngx_snorky_msg_t *letter)
{
    ngx_post_event(&mailbox->event, &ngx_posted_events);

    return ngx_snorky_mailbox_keep(mailbox, &mailbox->in, 0, letter);
}


static ngx_int_t
ngx_snorky_mailbox_keep(ngx_snorky_mailbox_t *mailbox, ngx_queue_t *queue,
    uint64_t worker, ngx_snorky_msg_t *msg)
{
    ngx_snorky_mailbox_letter_t  *letter;

    letter = ngx_alloc(sizeof(ngx_snorky_mailbox_letter_t),
                       mailbox->hub->log);
    if (letter == NULL) {
        return NGX_ERROR;
    }

    ngx_snorky_msg_ref(msg);

    letter->msg = msg;
    letter->worker = worker;

    ngx_queue_insert_tail(queue, &letter->queue);

    return NGX_OK;
}


/* the first one, with its reference */

static ngx_snorky_msg_t *
ngx_snorky_mailbox_take(ngx_queue_t *queue)
{
    ngx_queue_t                  *q;
    ngx_snorky_msg_t             *msg;
    ngx_snorky_mailbox_letter_t  *letter;

    q = ngx_queue_head(queue);
    letter = ngx_queue_data(q, ngx_snorky_mailbox_letter_t, queue);
    msg = letter->msg;

    ngx_queue_remove(q);
    ngx_free(letter);

    return msg;
}


static void
ngx_snorky_mailbox_forget(ngx_queue_t *queue)
{
    ngx_snorky_msg_t  *msg;

    while (!ngx_queue_empty(queue)) {
        msg = ngx_snorky_mailbox_take(queue);
        ngx_snorky_msg_unref(msg);
    }
}


/* what answers them may be read in the same round, if it comes by itself */

static void
ngx_snorky_mailbox_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_snorky_msg_t      *msg;
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = ev->data;

    for (i = 0; !ngx_queue_empty(&mailbox->in); i++) {

        if (i == NGX_SNORKY_MAILBOX_ROUND) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        msg = ngx_snorky_mailbox_take(&mailbox->in);

        mailbox->handlers->letter(mailbox->data, msg);

        ngx_snorky_msg_unref(msg);
    }
}


void
ngx_snorky_mailbox_read(ngx_snorky_hub_t *hub)
{
    ngx_snorky_mailbox_t  *mailbox;

    mailbox = hub->mailbox;

    while (!ngx_queue_empty(&mailbox->in)) {
        ngx_snorky_mailbox_handler(&mailbox->event);
    }
}


void
ngx_snorky_mailbox_room(ngx_snorky_mailbox_t *mailbox)
{
    ngx_str_t                     part;
    ngx_queue_t                  *q;
    ngx_snorky_msg_t             *msg;
    ngx_snorky_mailbox_letter_t  *letter;

    if (mailbox == NULL || ngx_queue_empty(&mailbox->out)) {
        return;
    }

    while (!ngx_queue_empty(&mailbox->out)) {

        q = ngx_queue_head(&mailbox->out);
        letter = ngx_queue_data(q, ngx_snorky_mailbox_letter_t, queue);

        part.data = letter->msg->text;
        part.len = letter->msg->len;

        if (ngx_snorky_mailbox_append(mailbox, letter->worker, &part, 1)
            == NGX_AGAIN)
        {
            return;
        }

        msg = ngx_snorky_mailbox_take(&mailbox->out);
        ngx_snorky_msg_unref(msg);
    }

    mailbox->handlers->unblocked(mailbox->data);
}


/* what others sent to this number has gone with it */

void
ngx_snorky_mailbox_lost(ngx_snorky_mailbox_t *mailbox)
{
    if (mailbox) {
        mailbox->handlers->lost(mailbox->data);
    }
}
