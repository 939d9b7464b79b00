
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns a session's life, and what is cleaned up when it ends.  Called by the
 * transports from above, by topics and the hub from beside.
 */


#include "ngx_snorky_session.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_hold.h"
#include "ngx_snorky_later.h"
#include "ngx_snorky_news.h"
#include "ngx_snorky_policy.h"
#include "ngx_snorky_reach.h"
#include "ngx_snorky_topic.h"


static void ngx_snorky_session_enter(ngx_snorky_session_t *s);
static ngx_snorky_msg_t *ngx_snorky_session_build(
    ngx_snorky_service_t *service, ngx_str_t *parts, ngx_uint_t n,
    ngx_log_t *log);


void
ngx_snorky_session_number(ngx_snorky_session_t *s)
{
    s->id = ngx_snorky_broker_session(s->hub->broker);
}


void
ngx_snorky_session_open(ngx_snorky_session_t *s, ngx_uint_t listed)
{
    ngx_queue_init(&s->subscriptions);
    ngx_queue_init(&s->holds);

    if (listed) {
        ngx_snorky_reach_before(s);
    }

    /* this worker may have been given up since it gave a number */

    if (ngx_snorky_broker_session_worker(s->id)
        != ngx_snorky_broker_generation(s->hub->broker))
    {
        ngx_snorky_session_number(s);
    }

    if (!listed) {
        return;
    }

    s->listed = 1;
    ngx_snorky_hub_add(s->hub, s);

    /* one whose messages are no envelopes is no client of services */

    if (s->limits->server) {
        ngx_snorky_session_enter(s);
    }
}


static void
ngx_snorky_session_enter(ngx_snorky_session_t *s)
{
    if (ngx_snorky_news_wanted(s, NGX_SNORKY_NEWS_CONNECTED)) {
        ngx_snorky_news_client(s, NGX_SNORKY_NEWS_CONNECTED);
    }

    ngx_snorky_reach_enter(s);

    if (s->left) {
        return;
    }

    s->connected = 1;
    ngx_snorky_service_connected(s->registry, s);
}


void
ngx_snorky_session_leave(ngx_snorky_session_t *s)
{
    if (s->left) {
        return;
    }

    s->left = 1;
    s->ending = 0;

    ngx_snorky_policy_forget(s);
    ngx_snorky_later_cancel_all(s);

    if (s->connected) {
        ngx_snorky_service_disconnected(s->registry, s);
    }

    ngx_snorky_topic_leave_all(s);
    ngx_snorky_hold_part_all(s);
    ngx_snorky_hub_stop_waiting(s->hub, s);

    if (ngx_snorky_news_wanted(s, NGX_SNORKY_NEWS_DISCONNECTED)) {
        ngx_snorky_news_client(s, NGX_SNORKY_NEWS_DISCONNECTED);
    }

    if (s->listed) {
        ngx_snorky_hub_remove(s->hub, s);
    }

    if (s->ops->left) {
        s->ops->left(s);
    }
}


void
ngx_snorky_session_close(ngx_snorky_session_t *s, ngx_uint_t code,
    const char *reason)
{
    if (s->left) {
        return;
    }

    ngx_snorky_session_leave(s);

    s->ops->close(s, code, reason);
}


void
ngx_snorky_session_end(ngx_snorky_session_t *s)
{
    if (ngx_snorky_session_busy(s)) {
        s->ending = 1;
        ngx_snorky_hub_postpone(s->hub, s);
        return;
    }

    ngx_snorky_session_close(s, NGX_SNORKY_HUB_RESTART, NGX_SNORKY_HUB_TURN);
}


void
ngx_snorky_session_answered(ngx_snorky_session_t *s)
{
    if (s->ending) {
        ngx_snorky_session_end(s);
    }
}


void
ngx_snorky_session_send(ngx_snorky_session_t *s, ngx_snorky_msg_t *msg,
    ngx_uint_t reply)
{
    if (s->left) {
        return;
    }

    s->messages_out++;
    s->hub->stats->messages_out++;
    s->hub->stats->bytes_out += msg->len;

    s->ops->send(s, msg, reply);
}


ngx_int_t
ngx_snorky_session_send_parts(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *parts, ngx_uint_t n,
    ngx_uint_t reply)
{
    ngx_snorky_msg_t  *msg;

    msg = ngx_snorky_session_build(service, parts, n, s->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    ngx_snorky_session_send(s, msg, reply);

    ngx_snorky_msg_unref(msg);

    return NGX_OK;
}


static ngx_snorky_msg_t *
ngx_snorky_session_build(ngx_snorky_service_t *service, ngx_str_t *parts,
    ngx_uint_t n, ngx_log_t *log)
{
    u_char            *p;
    size_t             len;
    ngx_uint_t         i;
    ngx_snorky_msg_t  *msg;

    len = service->head.len + sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    msg = ngx_snorky_msg_create(len, log);
    if (msg == NULL) {
        return NULL;
    }

    p = ngx_cpymem(msg->text, service->head.data, service->head.len);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    ngx_memcpy(p, NGX_SNORKY_ENVELOPE_TAIL,
               sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1);

    return msg;
}


ngx_snorky_notice_t *
ngx_snorky_notice_create(ngx_snorky_service_t *service, ngx_str_t *parts,
    ngx_uint_t n)
{
    return (ngx_snorky_notice_t *) ngx_snorky_session_build(service, parts, n,
                                                       service->hub->log);
}


void
ngx_snorky_notice_send(ngx_snorky_notice_t *notice, ngx_snorky_session_t *s)
{
    s->hub->stats->deliveries++;

    ngx_snorky_session_send(s, (ngx_snorky_msg_t *) notice, 0);
}


void
ngx_snorky_notice_free(ngx_snorky_notice_t *notice)
{
    ngx_snorky_msg_t  *msg;

    msg = (ngx_snorky_msg_t *) notice;

    ngx_snorky_msg_unref(msg);
}


ngx_int_t
ngx_snorky_session_answer(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *content)
{
    return ngx_snorky_session_send_parts(s, service, content, 1, 1);
}


ngx_str_t *
ngx_snorky_session_identity(ngx_snorky_session_t *s)
{
    return s->identity.len ? &s->identity : NULL;
}


u_char *
ngx_snorky_session_client(ngx_snorky_session_t *s, u_char *p)
{
    return ngx_sprintf(p, "%xD-%xL",
                       ngx_snorky_broker_name(s->hub->broker), s->id);
}
