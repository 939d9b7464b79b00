
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the holds of this worker's sessions.  Called by changes, by services
 * to find their own, and by a session that leaves.
 */


#include "ngx_snorky_hold.h"


static ngx_snorky_hold_t *ngx_snorky_hold_from(ngx_queue_t *q,
    ngx_snorky_session_t *s, ngx_snorky_service_t *service);


ngx_snorky_hold_t *
ngx_snorky_hold_create(ngx_snorky_session_t *s, ngx_snorky_service_t *service,
    ngx_str_t *label, size_t data_size)
{
    ngx_snorky_hold_t  *hold;

    hold = ngx_calloc(sizeof(ngx_snorky_hold_t) + data_size + label->len,
                      s->log);
    if (hold == NULL) {
        return NULL;
    }

    hold->session = s;
    hold->service = service;

    hold->label.data = (u_char *) (hold + 1) + data_size;
    hold->label.len = label->len;

    if (label->len) {
        ngx_memcpy(hold->label.data, label->data, label->len);
    }

    return hold;
}


void
ngx_snorky_hold_link(ngx_snorky_hold_t *hold)
{
    ngx_queue_insert_tail(&hold->session->holds, &hold->shared.queue);

    if (hold->claimed) {
        hold->session->nclaimed++;
        hold->session->hub->stats->subscriptions++;
    }
}


void
ngx_snorky_hold_unlink(ngx_snorky_hold_t *hold)
{
    ngx_queue_remove(&hold->shared.queue);

    if (hold->claimed) {
        hold->session->nclaimed--;
        hold->session->hub->stats->subscriptions--;
    }
}


void
ngx_snorky_hold_end(ngx_snorky_hold_t *hold)
{
    if (hold->service->type->released) {
        hold->service->type->released(hold->service, hold);
    }

    ngx_free(hold);
}


void
ngx_snorky_hold_part_all(ngx_snorky_session_t *s)
{
    ngx_queue_t        *q;
    ngx_snorky_hold_t  *hold;

    for (q = ngx_queue_head(&s->holds);
         q != ngx_queue_sentinel(&s->holds);
         q = ngx_queue_next(q))
    {
        hold = ngx_queue_data(q, ngx_snorky_hold_t, shared.queue);

        if (hold->service->type->released) {
            hold->service->type->released(hold->service, hold);
        }
    }

    s->hub->stats->subscriptions -= s->nclaimed;
    s->nclaimed = 0;

    ngx_snorky_broker_part(s->hub->broker, &s->holds);
}


static ngx_snorky_hold_t *
ngx_snorky_hold_from(ngx_queue_t *q, ngx_snorky_session_t *s,
    ngx_snorky_service_t *service)
{
    ngx_snorky_hold_t  *hold;

    for ( /* void */ ;
         q != ngx_queue_sentinel(&s->holds);
         q = ngx_queue_next(q))
    {
        hold = ngx_queue_data(q, ngx_snorky_hold_t, shared.queue);

        if (hold->service == service) {
            return hold;
        }
    }

    return NULL;
}


ngx_snorky_hold_t *
ngx_snorky_hold_first(ngx_snorky_session_t *s, ngx_snorky_service_t *service)
{
    return ngx_snorky_hold_from(ngx_queue_head(&s->holds), s, service);
}


ngx_snorky_hold_t *
ngx_snorky_hold_next(ngx_snorky_hold_t *hold)
{
    return ngx_snorky_hold_from(ngx_queue_next(&hold->shared.queue),
                                hold->session, hold->service);
}


ngx_snorky_hold_t *
ngx_snorky_hold_find(ngx_snorky_session_t *s, ngx_snorky_service_t *service,
    ngx_str_t *label)
{
    ngx_snorky_hold_t  *hold;

    for (hold = ngx_snorky_hold_first(s, service);
         hold;
         hold = ngx_snorky_hold_next(hold))
    {
        if (hold->label.len == label->len
            && ngx_memcmp(hold->label.data, label->data, label->len) == 0)
        {
            return hold;
        }
    }

    return NULL;
}


ngx_snorky_session_t *
ngx_snorky_hold_session(ngx_snorky_hold_t *hold)
{
    return hold->session;
}


void *
ngx_snorky_hold_data(ngx_snorky_hold_t *hold)
{
    return hold + 1;
}
