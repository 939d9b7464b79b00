
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a request of our own is made of: the connection, and the main request
 * with its body and headers.
 */


#ifndef _NGX_SNORKY_INNER_REQUEST_H_INCLUDED_
#define _NGX_SNORKY_INNER_REQUEST_H_INCLUDED_


#include "ngx_snorky_inner.h"


typedef struct {
    ngx_connection_t            connection; /* first: timers' data */
    ngx_event_t                 read;
    ngx_event_t                 write;
    ngx_log_t                   log;
    ngx_http_log_ctx_t          log_ctx;
    ngx_http_connection_t       http;

    ngx_queue_t                 queue;      /* of the worker's */
    ngx_event_t                 event;      /* what comes next */
    ngx_event_t                 timer;
    ngx_snorky_hub_t           *hub;
    ngx_snorky_ask_t           *ask;        /* NULL: nobody asks any more */

    ngx_http_request_t         *main;
    ngx_http_request_t         *sub;        /* NULL: not begun */
    ngx_http_post_subrequest_t  post;
    ngx_str_t                   uri;
    ngx_str_t                   args;
    ngx_str_t                   texts[NGX_SNORKY_INNER_TEXTS];
    ngx_msec_t                  timeout;

    ngx_str_t                   answer;
    size_t                      size;       /* of its memory */
    size_t                      max_answer;

    unsigned                    begun:1;
    unsigned                    header:1;   /* the answer has begun ... */
    unsigned                    whole:1;    /* ... and come to its end */
    unsigned                    too_large:1;
    unsigned                    ended:1;    /* the subrequest has */
} ngx_snorky_inner_t;


/* on behalf of the ask's client; not in the worker's queue yet.  NULL: none */
ngx_snorky_inner_t *ngx_snorky_inner_request_create(ngx_snorky_ask_t *ask);

/* with what is asked; NGX_OK or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_inner_request_fill(ngx_snorky_inner_t *inner,
    ngx_snorky_ask_t *ask);

/* nothing of it is running any more; it leaves the worker's queue */
void ngx_snorky_inner_request_destroy(ngx_snorky_inner_t *inner);


#endif /* _NGX_SNORKY_INNER_REQUEST_H_INCLUDED_ */
