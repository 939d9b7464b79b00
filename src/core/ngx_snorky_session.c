
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns a session's life, and what is cleaned up when it ends.  Called by the
 * transports from above, by topics and the hub from beside.
 */


#include "ngx_snorky_session.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_topic.h"


void
ngx_snorky_session_open(ngx_snorky_session_t *s, ngx_uint_t listed)
{
    ngx_queue_init(&s->subscriptions);

    if (listed) {
        s->listed = 1;
        ngx_snorky_hub_add(s->hub, s);
    }
}


void
ngx_snorky_session_leave(ngx_snorky_session_t *s)
{
    if (s->left) {
        return;
    }

    s->left = 1;

    ngx_snorky_topic_leave_all(s);
    ngx_snorky_hub_stop_waiting(s->hub, s);

    if (s->listed) {
        ngx_snorky_hub_remove(s->hub, s);
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
    u_char            *p;
    size_t             len;
    ngx_uint_t         i;
    ngx_snorky_msg_t  *msg;

    len = service->head.len + sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    msg = ngx_snorky_msg_create(len, s->log);
    if (msg == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(msg->text, service->head.data, service->head.len);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    ngx_memcpy(p, NGX_SNORKY_ENVELOPE_TAIL,
               sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1);

    ngx_snorky_session_send(s, msg, reply);

    ngx_snorky_msg_unref(msg);

    return NGX_OK;
}


ngx_int_t
ngx_snorky_session_notify(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *content)
{
    return ngx_snorky_session_send_parts(s, service, content, 1, 0);
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
