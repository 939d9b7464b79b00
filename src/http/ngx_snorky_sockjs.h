
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * SockJS (protocol 0.3.3 and 1.0) below a location.  A session lives in the
 * worker that its first request came to; any request of it may come to any
 * worker, and says by letters (ngx_snorky_sockjs_letter.h) what it wants, also
 * if session and request are in the same one.
 *
 *   ngx_snorky_sockjs.c           which endpoint a request is for
 *   ngx_snorky_sockjs_page.c      greeting, info, iframe, OPTIONS, errors
 *   ngx_snorky_sockjs_header.c    CORS, caching, cookie
 *   ngx_snorky_sockjs_letter.c    what these say to the session, and it to them
 *   ngx_snorky_sockjs_request.c   requests that wait for an answer
 *   ngx_snorky_sockjs_receive.c   xhr, xhr_streaming, eventsource, ...
 *   ngx_snorky_sockjs_send.c      xhr_send, jsonp_send
 *   ngx_snorky_sockjs_session.c   the session: its life
 *   ngx_snorky_sockjs_out.c       the session: what goes out
 *   ngx_snorky_sockjs_inbox.c     the session: what comes in
 *   ngx_snorky_ws_sockjs.c        the same frames over a WebSocket
 */


#ifndef _NGX_SNORKY_SOCKJS_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_H_INCLUDED_


#include "ngx_snorky_conf.h"
#include "ngx_snorky_map.h"


/*
 * A session's key: a digest of its server's name and location, its identity
 * and the id that its client chose.  Who has another identity does not find it.
 */

#define NGX_SNORKY_SOCKJS_KEY  20


/* a close frame's reason, with 1002: what was under way is lost */
#define NGX_SNORKY_SOCKJS_INTERRUPTED  "Connection interrupted"


/*
 * Forms of a message (ngx_snorky_msg.h): "..." for a session, a["..."] for a
 * WebSocket, the latter also compressed.  No kind of permessage-deflate has
 * these bits.
 */

#define NGX_SNORKY_SOCKJS_STRING  0x100
#define NGX_SNORKY_SOCKJS_FRAME   0x200


/* Of one worker. */

struct ngx_snorky_sockjs_worker_s {
    ngx_snorky_worker_t        *worker;
    ngx_snorky_map_t            sessions;   /* by key; those that live here */
    ngx_queue_t                 queue;      /* sessions, in order of age */
    ngx_snorky_map_t            requests;   /* by number */
    ngx_queue_t                 asking;     /* the same requests */
    uint64_t                    number;     /* the last request's */
    ngx_event_t                 watch;      /* over those of other workers */
    uint64_t                    population; /* when it last looked at all */
    ngx_uint_t                  watched;
    ngx_queue_t                 dirty;      /* sessions, to be flushed */
    ngx_event_t                 flush;
    ngx_connection_t            dummy;      /* what the events' log needs */
    unsigned                    closed:1;   /* no session begins any more */
};


/* the content handler of a location with snorky_sockjs, _echo or _close */
ngx_int_t ngx_snorky_sockjs_handler(ngx_http_request_t *r);

/* the values of directives, as other modules make theirs */
void ngx_snorky_sockjs_create_conf(ngx_snorky_sockjs_conf_t *conf);
void ngx_snorky_sockjs_merge_conf(ngx_snorky_sockjs_conf_t *prev,
    ngx_snorky_sockjs_conf_t *conf);

/*
 * While the configuration is merged: checks the location, and makes what
 * depends on nothing else.  NGX_OK, or NGX_ERROR, logged.
 */

ngx_int_t ngx_snorky_sockjs_init(ngx_conf_t *cf, ngx_snorky_main_conf_t *smcf,
    ngx_snorky_loc_conf_t *conf);

/* in init_process; NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_sockjs_open_worker(ngx_snorky_worker_t *worker,
    ngx_log_t *log);

/* in exit_process: as far as sockets take it, all are told */
void ngx_snorky_sockjs_close_worker(ngx_snorky_worker_t *worker);

/*
 * Somebody here deals with another worker, whose death no letter tells: from
 * now on, until nobody does, it is looked at now and then.
 */

void ngx_snorky_sockjs_watch(ngx_snorky_worker_t *worker);

/* the key of a session's id and its client's identity */
void ngx_snorky_sockjs_key(ngx_http_request_t *r, ngx_str_t *session,
    ngx_str_t *identity, u_char *key);


#endif /* _NGX_SNORKY_SOCKJS_H_INCLUDED_ */
