
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the calls that wait for their answer.  Called by services through the
 * public header, by the answer, by the time, and by a session that leaves.
 */


#include "ngx_snorky_later.h"
#include "ngx_snorky_session.h"


static void ngx_snorky_later_timer_handler(ngx_event_t *ev);
static void ngx_snorky_later_cancel(ngx_snorky_later_t *later);
static void ngx_snorky_later_done(ngx_snorky_ask_t *ask);


/* one piece of memory: the call, the service's bytes, the texts */

ngx_int_t
ngx_snorky_call_defer(ngx_snorky_call_t *call, ngx_msec_t timeout, size_t size,
    ngx_snorky_call_t **deferred)
{
    u_char                *p;
    size_t                 texts;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_later_t    *later;
    ngx_snorky_session_t  *s;

    s = call->session;
    hub = s->hub;

    if (s->left) {
        return NGX_DONE;
    }

    if (s->ncalls >= s->limits->max_calls) {
        hub->stats->calls_rejected++;
        return ngx_snorky_call_error(call, "Too many calls");
    }

    size = ngx_align(size, NGX_ALIGNMENT);
    texts = call->id.len + call->name.len;

    later = ngx_calloc(sizeof(ngx_snorky_later_t) + size + texts, s->log);
    if (later == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) (later + 1) + size;

    later->call.session = s;
    later->call.service = call->service;
    later->call.command = call->command;
    later->call.later = later;

    if (call->id.len) {
        later->call.id.data = p;
        later->call.id.len = call->id.len;
        p = ngx_cpymem(p, call->id.data, call->id.len);
    }

    later->call.name.data = p;
    later->call.name.len = call->name.len;
    ngx_memcpy(p, call->name.data, call->name.len);

    later->next = s->calls;
    later->prev = &s->calls;

    if (s->calls) {
        s->calls->prev = &later->next;
    }

    s->calls = later;
    s->ncalls++;

    hub->stats->calls++;
    hub->stats->calls_deferred++;

    later->timer.handler = ngx_snorky_later_timer_handler;
    later->timer.data = &hub->dummy;
    later->timer.log = hub->log;

    ngx_add_timer(&later->timer, timeout);

    *deferred = &later->call;

    return NGX_OK;
}


void *
ngx_snorky_call_data(ngx_snorky_call_t *call)
{
    return call->later ? call->later + 1 : NULL;
}


/* the service is told first: what it keeps for the call goes */

static void
ngx_snorky_later_timer_handler(ngx_event_t *ev)
{
    ngx_snorky_later_t  *later;

    later = (ngx_snorky_later_t *) ((u_char *) ev
                                    - offsetof(ngx_snorky_later_t, timer));

    later->call.session->hub->stats->calls_timed_out++;

    ngx_snorky_later_cancel(later);

    (void) ngx_snorky_call_error(&later->call, "Timed out");
}


/*
 * The first thing at a call's end.  What the rest of it leads to, as the
 * closing of a client that is too slow for the answer, finds it no more.
 */

ngx_int_t
ngx_snorky_later_take(ngx_snorky_later_t *later)
{
    ngx_snorky_session_t  *s;

    if (later->ending) {
        return NGX_DECLINED;
    }

    if (later->taken) {
        return NGX_OK;
    }

    later->taken = 1;

    s = later->call.session;

    *later->prev = later->next;

    if (later->next) {
        later->next->prev = later->prev;
    }

    s->ncalls--;
    s->hub->stats->calls--;

    if (later->timer.timer_set) {
        ngx_del_timer(&later->timer);
    }

    if (later->ask.inner) {
        s->hub->asker->cancel(&later->ask);
    }

    return NGX_OK;
}


static void
ngx_snorky_later_cancel(ngx_snorky_later_t *later)
{
    ngx_snorky_service_t  *service;

    (void) ngx_snorky_later_take(later);

    service = later->call.service;

    if (service->type->cancelled == NULL) {
        return;
    }

    later->ending = 1;

    service->type->cancelled(&later->call);

    later->ending = 0;
}


void
ngx_snorky_later_cancel_all(ngx_snorky_session_t *s)
{
    ngx_snorky_later_t  *later;

    while (s->calls) {
        later = s->calls;

        s->hub->stats->calls_cancelled++;

        ngx_snorky_later_cancel(later);

        ngx_free(later);
    }
}


void
ngx_snorky_later_end(ngx_snorky_later_t *later)
{
    ngx_snorky_session_t  *s;

    s = later->call.session;

    ngx_free(later);

    ngx_snorky_session_answered(s);
}


/* what is asked is dealt with in an event of its own: the call lives on */

ngx_int_t
ngx_snorky_call_ask(ngx_snorky_call_t *call, ngx_snorky_question_t *question)
{
    ngx_str_t              escaped;
    ngx_snorky_ask_t      *ask;
    ngx_snorky_hub_t      *hub;
    ngx_snorky_later_t    *later;

    later = call->later;
    hub = call->session->hub;

    if (later == NULL || later->taken || later->ask.inner) {
        return NGX_ERROR;
    }

    if (ngx_snorky_call_escaped_name(call, &escaped) != NGX_OK) {
        return NGX_ERROR;
    }

    ask = &later->ask;

    ask->session = call->session;
    ask->uri = question->uri;
    ask->parts = question->parts;
    ask->n = question->n;
    ask->service = call->service->escaped;
    ask->command = escaped;
    ask->max_answer = question->max_answer;
    ask->done = ngx_snorky_later_done;
    ask->data = later;

    return hub->asker->send(ask);
}


static void
ngx_snorky_later_done(ngx_snorky_ask_t *ask)
{
    ngx_snorky_hub_t    *hub;
    ngx_snorky_later_t  *later;

    later = ask->data;
    hub = later->call.session->hub;

    ask->inner = NULL;

    later->call.service->type->answered(&later->call, &ask->answer);

    ngx_reset_pool(hub->pool);
}
