
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Timeout queues.  All that waits for the same time stands in one queue, in
 * the order in which its time comes; so to wait anew is to go to the queue's
 * end, and one event of nginx's serves them all, however many they are.
 */


#ifndef _NGX_SNORKY_TIMEOUT_H_INCLUDED_
#define _NGX_SNORKY_TIMEOUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct ngx_snorky_timeout_s        ngx_snorky_timeout_t;
typedef struct ngx_snorky_timeout_queue_s  ngx_snorky_timeout_queue_t;


/* its time has come, and it stands in no queue; may free it */
typedef void (*ngx_snorky_timeout_pt)(ngx_snorky_timeout_t *timeout);


/* Lies in what waits; zeroed, it waits for nothing. */

struct ngx_snorky_timeout_s {
    ngx_queue_t                  link;
    ngx_msec_t                   due;
    ngx_snorky_timeout_queue_t  *queue;     /* NULL: none */
};


struct ngx_snorky_timeout_queue_s {
    ngx_queue_t                  waiting;
    ngx_msec_t                   wait;
    ngx_snorky_timeout_pt        handler;
    ngx_event_t                  event;
    ngx_connection_t             dummy;     /* what the event's log needs */
};


/*
 * The queue of those who wait for so many milliseconds, made if there is none
 * in "queues", an array of pointers.  While the configuration is read; every
 * worker then has its own.  NULL: no memory.
 */

ngx_snorky_timeout_queue_t *ngx_snorky_timeout_queue(ngx_conf_t *cf,
    ngx_array_t *queues, ngx_msec_t wait, ngx_snorky_timeout_pt handler);

/* waits in this queue from now on, and in no other */
void ngx_snorky_timeout_set(ngx_snorky_timeout_t *timeout,
    ngx_snorky_timeout_queue_t *queue);

void ngx_snorky_timeout_clear(ngx_snorky_timeout_t *timeout);


#endif /* _NGX_SNORKY_TIMEOUT_H_INCLUDED_ */
