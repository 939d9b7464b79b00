
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the queues' events.  Called by the websocket's life, and by nginx when
 * a time has come.
 */


#include "ngx_snorky_timeout.h"


static void ngx_snorky_timeout_remove(ngx_snorky_timeout_t *timeout);
static void ngx_snorky_timeout_handler(ngx_event_t *ev);


ngx_snorky_timeout_queue_t *
ngx_snorky_timeout_queue(ngx_conf_t *cf, ngx_array_t *queues, ngx_msec_t wait,
    ngx_snorky_timeout_pt handler)
{
    ngx_uint_t                    i;
    ngx_snorky_timeout_queue_t   *queue, **known;

    known = queues->elts;

    for (i = 0; i < queues->nelts; i++) {
        if (known[i]->wait == wait && known[i]->handler == handler) {
            return known[i];
        }
    }

    queue = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_timeout_queue_t));
    if (queue == NULL) {
        return NULL;
    }

    known = ngx_array_push(queues);
    if (known == NULL) {
        return NULL;
    }

    *known = queue;

    ngx_queue_init(&queue->waiting);

    queue->wait = wait;
    queue->handler = handler;

    queue->dummy.data = queue;
    queue->dummy.fd = (ngx_socket_t) -1;

    queue->event.handler = ngx_snorky_timeout_handler;
    queue->event.data = &queue->dummy;
    queue->event.log = &cf->cycle->new_log;

    return queue;
}


/*
 * An event that is set comes at the time of who was first then, or earlier
 * than that of who is first now: it finds nothing to do, and is set again.
 */

void
ngx_snorky_timeout_set(ngx_snorky_timeout_t *timeout,
    ngx_snorky_timeout_queue_t *queue)
{
    if (timeout->queue == queue) {
        ngx_queue_remove(&timeout->link);

    } else {
        ngx_snorky_timeout_clear(timeout);
    }

    timeout->queue = queue;
    timeout->due = ngx_current_msec + queue->wait;

    ngx_queue_insert_tail(&queue->waiting, &timeout->link);

    if (!queue->event.timer_set) {
        ngx_add_timer(&queue->event, queue->wait);
    }
}


void
ngx_snorky_timeout_clear(ngx_snorky_timeout_t *timeout)
{
    ngx_snorky_timeout_queue_t  *queue;

    queue = timeout->queue;

    if (queue == NULL) {
        return;
    }

    ngx_snorky_timeout_remove(timeout);

    /* the timer would keep a worker that quits */

    if (ngx_queue_empty(&queue->waiting) && queue->event.timer_set) {
        ngx_del_timer(&queue->event);
    }
}


static void
ngx_snorky_timeout_remove(ngx_snorky_timeout_t *timeout)
{
    ngx_queue_remove(&timeout->link);

    timeout->queue = NULL;
}


static void
ngx_snorky_timeout_handler(ngx_event_t *ev)
{
    ngx_queue_t                 *q;
    ngx_msec_int_t               left;
    ngx_connection_t            *c;
    ngx_snorky_timeout_t        *timeout;
    ngx_snorky_timeout_queue_t  *queue;

    c = ev->data;
    queue = c->data;

    while (!ngx_queue_empty(&queue->waiting)) {

        q = ngx_queue_head(&queue->waiting);
        timeout = ngx_queue_data(q, ngx_snorky_timeout_t, link);

        left = (ngx_msec_int_t) (timeout->due - ngx_current_msec);

        if (left > 0) {

            if (!ev->timer_set) {
                ngx_add_timer(ev, (ngx_msec_t) left);
            }

            return;
        }

        ngx_snorky_timeout_remove(timeout);

        queue->handler(timeout);
    }
}
