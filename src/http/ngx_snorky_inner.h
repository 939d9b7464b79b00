
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Requests that this module makes itself: a connection without a socket, a
 * main request that is never run, and in it one subrequest, a POST to a
 * location of a server{}.  They need no client's request, which may have ended
 * (snorky_lean), and outlive none.
 */


#ifndef _NGX_SNORKY_INNER_H_INCLUDED_
#define _NGX_SNORKY_INNER_H_INCLUDED_


#include "ngx_snorky_conf.h"
#include "ngx_snorky_ask.h"


extern ngx_snorky_asker_t  ngx_snorky_inner_asker;


/* in init_process and exit_process */
void ngx_snorky_inner_open_worker(ngx_snorky_worker_t *worker);
void ngx_snorky_inner_close_worker(ngx_snorky_worker_t *worker);


/* What is told of the client and the question in headers and variables. */

typedef enum {
    NGX_SNORKY_INNER_SERVICE = 0,
    NGX_SNORKY_INNER_COMMAND,
    NGX_SNORKY_INNER_CLIENT,
    NGX_SNORKY_INNER_IDENTITY,
    NGX_SNORKY_INNER_ADDRESS,
    NGX_SNORKY_INNER_EVENT,     /* in a header only */
    NGX_SNORKY_INNER_CHANNEL,   /* in a variable only */
    NGX_SNORKY_INNER_TEXTS
} ngx_snorky_inner_e;

/* one of them, perhaps empty; NULL where the request is another's */
ngx_str_t *ngx_snorky_inner_text(ngx_http_request_t *r,
    ngx_snorky_inner_e which);


#endif /* _NGX_SNORKY_INNER_H_INCLUDED_ */
