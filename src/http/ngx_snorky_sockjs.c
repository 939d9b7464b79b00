
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the way from a path to an endpoint, and one worker's part of SockJS.
 * Called by nginx with a request, and with the worker's begin and end.
 */


#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_mailbox.h"
#include "ngx_snorky_sockjs_letter.h"
#include "ngx_snorky_sockjs_page.h"
#include "ngx_snorky_sockjs_receive.h"
#include "ngx_snorky_sockjs_request.h"
#include "ngx_snorky_sockjs_send.h"
#include "ngx_snorky_sockjs_session.h"
#include "ngx_snorky_websocket.h"
#include "ngx_snorky_ws_frame.h"

#include <ngx_sha1.h>


/* the client's script, for the page in an iframe */
#define NGX_SNORKY_SOCKJS_URL                                                 \
    "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js"

/* ms, and how often all who may be concerned are looked at, come what may */
#define NGX_SNORKY_SOCKJS_WATCH  250
#define NGX_SNORKY_SOCKJS_ROUND  16


typedef ngx_int_t (*ngx_snorky_sockjs_endpoint_pt)(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session, ngx_uint_t argument);


/* PREFIX/server/session/name */

typedef struct {
    ngx_str_t                        name;
    ngx_uint_t                       method;
    const char                      *methods;
    ngx_uint_t                       preflight;     /* browsers ask before */
    ngx_snorky_sockjs_endpoint_pt    handler;
    ngx_uint_t                       argument;
} ngx_snorky_sockjs_endpoint_t;


static ngx_int_t ngx_snorky_sockjs_path(ngx_http_request_t *r,
    ngx_str_t *path);
static ngx_int_t ngx_snorky_sockjs_page(ngx_http_request_t *r,
    ngx_str_t *path);
static ngx_uint_t ngx_snorky_sockjs_is(ngx_str_t *path, const char *name);
static ngx_int_t ngx_snorky_sockjs_get(ngx_http_request_t *r,
    const char *methods, ngx_int_t (*page)(ngx_http_request_t *r));
static ngx_snorky_sockjs_endpoint_t *ngx_snorky_sockjs_find(ngx_str_t *path,
    ngx_str_t *session);
static ngx_uint_t ngx_snorky_sockjs_part(ngx_str_t *path, ngx_str_t *part);
static ngx_int_t ngx_snorky_sockjs_websocket(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session, ngx_uint_t argument);
static ngx_int_t ngx_snorky_sockjs_receiving(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_str_t *session, ngx_uint_t kind);

static void ngx_snorky_sockjs_letter(void *data, ngx_snorky_msg_t *msg);
static void ngx_snorky_sockjs_unblocked(void *data);
static void ngx_snorky_sockjs_lost(void *data);
static void ngx_snorky_sockjs_watch_handler(ngx_event_t *ev);


static ngx_snorky_sockjs_endpoint_t  ngx_snorky_sockjs_endpoints[] = {

    { ngx_string("websocket"), NGX_HTTP_GET, "GET", 0,
      ngx_snorky_sockjs_websocket, 0 },

    { ngx_string("xhr"), NGX_HTTP_POST, "OPTIONS, POST", 1,
      ngx_snorky_sockjs_receiving, NGX_SNORKY_SOCKJS_XHR },

    { ngx_string("xhr_streaming"), NGX_HTTP_POST, "OPTIONS, POST", 1,
      ngx_snorky_sockjs_receiving, NGX_SNORKY_SOCKJS_XHR_STREAMING },

    { ngx_string("xhr_send"), NGX_HTTP_POST, "OPTIONS, POST", 1,
      ngx_snorky_sockjs_send, 0 },

    { ngx_string("eventsource"), NGX_HTTP_GET, "GET", 0,
      ngx_snorky_sockjs_receiving, NGX_SNORKY_SOCKJS_EVENTSOURCE },

    { ngx_string("htmlfile"), NGX_HTTP_GET, "GET", 0,
      ngx_snorky_sockjs_receiving, NGX_SNORKY_SOCKJS_HTMLFILE },

    { ngx_string("jsonp"), NGX_HTTP_GET, "GET", 0,
      ngx_snorky_sockjs_receiving, NGX_SNORKY_SOCKJS_JSONP },

    { ngx_string("jsonp_send"), NGX_HTTP_POST, "POST", 0,
      ngx_snorky_sockjs_send, 1 }
};


static ngx_snorky_mailbox_handlers_t  ngx_snorky_sockjs_mailbox_handlers = {
    ngx_snorky_sockjs_letter,
    ngx_snorky_sockjs_unblocked,
    ngx_snorky_sockjs_lost
};


ngx_int_t
ngx_snorky_sockjs_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      path, session;
    ngx_snorky_worker_t           *worker;
    ngx_snorky_loc_conf_t         *conf;
    ngx_snorky_sockjs_endpoint_t  *endpoint;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "SockJS can't be used by a subrequest");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_snorky_sockjs_path(r, &path) != NGX_OK) {
        return NGX_HTTP_NOT_FOUND;
    }

    rc = ngx_snorky_sockjs_page(r, &path);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    endpoint = ngx_snorky_sockjs_find(&path, &session);
    if (endpoint == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (!conf->sockjs.websocket
        && endpoint->handler == ngx_snorky_sockjs_websocket)
    {
        return NGX_HTTP_NOT_FOUND;
    }

    if (r->method == NGX_HTTP_OPTIONS && endpoint->preflight) {
        return ngx_snorky_sockjs_page_options(r, endpoint->methods);
    }

    if (r->method != endpoint->method) {
        return ngx_snorky_sockjs_page_not_allowed(r, endpoint->methods);
    }

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    rc = ngx_snorky_sockjs_page_origin(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return endpoint->handler(r, worker, &session, endpoint->argument);
}


/* what follows the location's name, with its first slash; or nothing */

static ngx_int_t
ngx_snorky_sockjs_path(ngx_http_request_t *r, ngx_str_t *path)
{
    size_t                     len;
    ngx_snorky_loc_conf_t     *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    len = conf->sockjs.prefix.len;

    if (r->uri.len < len
        || ngx_memcmp(r->uri.data, conf->sockjs.prefix.data, len) != 0)
    {
        return NGX_DECLINED;
    }

    path->data = r->uri.data + len;
    path->len = r->uri.len - len;

    return (path->len == 0 || path->data[0] == '/') ? NGX_OK : NGX_DECLINED;
}


/* NGX_DECLINED: it is none of these */

static ngx_int_t
ngx_snorky_sockjs_page(ngx_http_request_t *r, ngx_str_t *path)
{
    u_char                 *p, *last;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    if (path->len <= 1) {
        return ngx_snorky_sockjs_get(r, "GET", ngx_snorky_sockjs_page_greeting);
    }

    if (ngx_snorky_sockjs_is(path, "/info")) {

        if (r->method == NGX_HTTP_OPTIONS) {
            return ngx_snorky_sockjs_page_options(r, "OPTIONS, GET");
        }

        return ngx_snorky_sockjs_get(r, "OPTIONS, GET",
                                     ngx_snorky_sockjs_page_info);
    }

    if (ngx_snorky_sockjs_is(path, "/websocket")) {

        if (!conf->sockjs.websocket) {
            return NGX_HTTP_NOT_FOUND;
        }

        return ngx_snorky_sockjs_get(r, "GET", ngx_snorky_websocket_handler);
    }

    /* /iframe.html, /iframe-VERSION.html */

    last = path->data + path->len;

    if (path->len < sizeof("/iframe.html") - 1
        || ngx_memcmp(path->data, "/iframe", sizeof("/iframe") - 1) != 0
        || ngx_memcmp(last - 5, ".html", 5) != 0)
    {
        return NGX_DECLINED;
    }

    p = path->data + sizeof("/iframe") - 1;

    if ((*p != '-' && p != last - 5) || ngx_strlchr(p, last, '/')) {
        return NGX_DECLINED;
    }

    return ngx_snorky_sockjs_get(r, "GET", ngx_snorky_sockjs_page_iframe);
}


static ngx_uint_t
ngx_snorky_sockjs_is(ngx_str_t *path, const char *name)
{
    return path->len == ngx_strlen(name)
           && ngx_memcmp(path->data, name, path->len) == 0;
}


static ngx_int_t
ngx_snorky_sockjs_get(ngx_http_request_t *r, const char *methods,
    ngx_int_t (*page)(ngx_http_request_t *r))
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_snorky_sockjs_page_not_allowed(r, methods);
    }

    return page(r);
}


/* the server's part is for balancers; here it means nothing */

static ngx_snorky_sockjs_endpoint_t *
ngx_snorky_sockjs_find(ngx_str_t *path, ngx_str_t *session)
{
    ngx_str_t                      rest, server;
    ngx_uint_t                     i;
    ngx_snorky_sockjs_endpoint_t  *endpoint;

    rest = *path;

    if (!ngx_snorky_sockjs_part(&rest, &server)
        || !ngx_snorky_sockjs_part(&rest, session)
        || rest.len == 0)
    {
        return NULL;
    }

    rest.data++;
    rest.len--;

    for (i = 0; i < sizeof(ngx_snorky_sockjs_endpoints)
                    / sizeof(ngx_snorky_sockjs_endpoint_t); i++)
    {
        endpoint = &ngx_snorky_sockjs_endpoints[i];

        if (rest.len == endpoint->name.len
            && ngx_memcmp(rest.data, endpoint->name.data, rest.len) == 0)
        {
            return endpoint;
        }
    }

    return NULL;
}


/* cuts "/part" off, where there is one; it is not empty and has no dot */

static ngx_uint_t
ngx_snorky_sockjs_part(ngx_str_t *path, ngx_str_t *part)
{
    u_char  *p, *last;

    if (path->len == 0) {
        return 0;
    }

    last = path->data + path->len;

    part->data = path->data + 1;

    for (p = part->data; p < last && *p != '/'; p++) {
        if (*p == '.') {
            return 0;
        }
    }

    part->len = p - part->data;

    path->data = p;
    path->len = last - p;

    return part->len != 0;
}


/* it needs no session of ours: one connection is one */

static ngx_int_t
ngx_snorky_sockjs_websocket(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_str_t *session, ngx_uint_t argument)
{
    return ngx_snorky_websocket_handler_sockjs(r);
}


static ngx_int_t
ngx_snorky_sockjs_receiving(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_str_t *session, ngx_uint_t kind)
{
    return ngx_snorky_sockjs_receive(r, worker, session,
                                     (ngx_snorky_sockjs_kind_e) kind);
}


void
ngx_snorky_sockjs_key(ngx_http_request_t *r, ngx_str_t *session,
    ngx_str_t *identity, u_char *key)
{
    uint32_t                len;
    ngx_sha1_t              sha1;
    ngx_snorky_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_snorky_module);

    len = (uint32_t) session->len;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, conf->sockjs.scope.data, conf->sockjs.scope.len);
    ngx_sha1_update(&sha1, &len, sizeof(uint32_t));
    ngx_sha1_update(&sha1, session->data, session->len);
    ngx_sha1_update(&sha1, identity->data, identity->len);
    ngx_sha1_final(key, &sha1);
}


void
ngx_snorky_sockjs_create_conf(ngx_snorky_sockjs_conf_t *conf)
{
    conf->websocket = NGX_CONF_UNSET;
    conf->cookie = NGX_CONF_UNSET;
    conf->response_limit = NGX_CONF_UNSET_SIZE;
    conf->heartbeat = NGX_CONF_UNSET_MSEC;
    conf->disconnect_delay = NGX_CONF_UNSET_MSEC;
    conf->sessions = NGX_CONF_UNSET_UINT;
}


void
ngx_snorky_sockjs_merge_conf(ngx_snorky_sockjs_conf_t *prev,
    ngx_snorky_sockjs_conf_t *conf)
{
    ngx_conf_merge_value(conf->websocket, prev->websocket, 1);
    ngx_conf_merge_value(conf->cookie, prev->cookie, 0);
    ngx_conf_merge_size_value(conf->response_limit, prev->response_limit,
                              128 * 1024);
    ngx_conf_merge_msec_value(conf->heartbeat, prev->heartbeat, 25000);
    ngx_conf_merge_msec_value(conf->disconnect_delay,
                              prev->disconnect_delay, 5000);
    ngx_conf_merge_uint_value(conf->sessions, prev->sessions, 10000);
    ngx_conf_merge_str_value(conf->url, prev->url, NGX_SNORKY_SOCKJS_URL);
}


ngx_int_t
ngx_snorky_sockjs_init(ngx_conf_t *cf, ngx_snorky_main_conf_t *smcf,
    ngx_snorky_loc_conf_t *conf)
{
    u_char                    *p;
    ngx_str_t                 *scope;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    /* "if" has the prefix of the location around it */

    if (!clcf->noname) {

        if (clcf->exact_match || clcf->named
#if (NGX_PCRE)
            || clcf->regex
#endif
            )
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "SockJS needs a location with a prefix, "
                          "\"%V\" is none", &clcf->name);
            return NGX_ERROR;
        }

        conf->sockjs.prefix = clcf->name;

        if (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/') {
            conf->sockjs.prefix.len--;
        }
    }

    scope = &conf->sockjs.scope;

    scope->len = cscf->server_name.len + 1 + conf->sockjs.prefix.len + 1;
    scope->data = ngx_pnalloc(cf->pool, scope->len);

    if (scope->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(scope->data, cscf->server_name.data,
                   cscf->server_name.len);
    *p++ = '\0';
    p = ngx_cpymem(p, conf->sockjs.prefix.data, conf->sockjs.prefix.len);
    *p = '\0';

    conf->sockjs.beats = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                                         conf->sockjs.heartbeat,
                                         ngx_snorky_sockjs_session_timeout);
    conf->sockjs.absences = ngx_snorky_timeout_queue(cf, &smcf->timeouts,
                                         conf->sockjs.disconnect_delay,
                                         ngx_snorky_sockjs_session_timeout);

    if (conf->sockjs.beats == NULL || conf->sockjs.absences == NULL) {
        return NGX_ERROR;
    }

    /* a parcel is needed in memory: a file would be a detour */

    clcf->client_body_buffer_size = ngx_max(clcf->client_body_buffer_size,
                                            conf->max_message_size);

    return ngx_snorky_sockjs_page_init(cf, conf);
}


ngx_int_t
ngx_snorky_sockjs_open_worker(ngx_snorky_worker_t *worker, ngx_log_t *log)
{
    ngx_snorky_sockjs_worker_t  *sockjs;

    sockjs = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_snorky_sockjs_worker_t));
    if (sockjs == NULL) {
        return NGX_ERROR;
    }

    sockjs->worker = worker;

    ngx_queue_init(&sockjs->queue);
    ngx_queue_init(&sockjs->asking);
    ngx_queue_init(&sockjs->dirty);

    sockjs->dummy.data = sockjs;
    sockjs->dummy.fd = (ngx_socket_t) -1;

    sockjs->watch.handler = ngx_snorky_sockjs_watch_handler;
    sockjs->watch.data = &sockjs->dummy;
    sockjs->watch.log = log;

    sockjs->flush.handler = ngx_snorky_sockjs_session_flush_handler;
    sockjs->flush.data = &sockjs->dummy;
    sockjs->flush.log = log;

    if (ngx_snorky_map_init(&sockjs->sessions) != NGX_OK
        || ngx_snorky_map_init(&sockjs->requests) != NGX_OK)
    {
        return NGX_ERROR;
    }

    worker->sockjs = sockjs;

    return ngx_snorky_mailbox_open(worker->hub,
                                   &ngx_snorky_sockjs_mailbox_handlers,
                                   worker);
}


void
ngx_snorky_sockjs_close_worker(ngx_snorky_worker_t *worker)
{
    ngx_snorky_sockjs_worker_t  *sockjs;

    sockjs = worker->sockjs;

    ngx_snorky_sockjs_session_close_all(worker);
    ngx_snorky_mailbox_read(worker->hub);

    if (ngx_exiting) {
        ngx_snorky_sockjs_request_lost(worker, NGX_SNORKY_WS_SERVICE_RESTART,
                                       ngx_snorky_hub_reason(worker->hub));
    } else {
        ngx_snorky_sockjs_request_lost(worker, NGX_SNORKY_WS_GOING_AWAY,
                                       "server stops");
    }

    if (sockjs->watch.timer_set) {
        ngx_del_timer(&sockjs->watch);
    }

    if (sockjs->flush.posted) {
        ngx_delete_posted_event(&sockjs->flush);
    }

    ngx_snorky_map_finish(&sockjs->sessions);
    ngx_snorky_map_finish(&sockjs->requests);
}


static void
ngx_snorky_sockjs_letter(void *data, ngx_snorky_msg_t *msg)
{
    ngx_str_t                    text;
    ngx_snorky_sockjs_letter_t   letter;

    ngx_memcpy(&letter, msg->text, sizeof(ngx_snorky_sockjs_letter_t));

    text.data = msg->text + sizeof(ngx_snorky_sockjs_letter_t);
    text.len = msg->len - sizeof(ngx_snorky_sockjs_letter_t);

    if (letter.type < NGX_SNORKY_SOCKJS_BODY) {
        ngx_snorky_sockjs_session_letter(data, &letter, &text);

    } else {
        ngx_snorky_sockjs_request_letter(data, &letter, &text);
    }
}


static void
ngx_snorky_sockjs_unblocked(void *data)
{
    ngx_snorky_sockjs_session_unblocked(data);
}


static void
ngx_snorky_sockjs_lost(void *data)
{
    ngx_snorky_worker_t *worker = data;

    ngx_snorky_sockjs_session_lost(worker);
    ngx_snorky_sockjs_request_lost(worker, NGX_SNORKY_WS_SERVICE_RESTART,
                                   ngx_snorky_hub_reason(worker->hub));
}


void
ngx_snorky_sockjs_watch(ngx_snorky_worker_t *worker)
{
    ngx_event_t  *ev;

    ev = &worker->sockjs->watch;

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_SNORKY_SOCKJS_WATCH);
    }
}


/*
 * It is not cancelable: a worker that quits waits for what it watches.  As
 * long as no worker comes or goes there is hardly anything to see.
 */

static void
ngx_snorky_sockjs_watch_handler(ngx_event_t *ev)
{
    uint64_t                     population;
    ngx_uint_t                   more;
    ngx_connection_t            *c;
    ngx_snorky_sockjs_worker_t  *sockjs;

    c = ev->data;
    sockjs = c->data;

    population = ngx_snorky_broker_population(sockjs->worker->hub->broker);

    if (population == sockjs->population
        && ++sockjs->watched % NGX_SNORKY_SOCKJS_ROUND
        && !ngx_exiting)
    {
        ngx_snorky_sockjs_watch(sockjs->worker);
        return;
    }

    sockjs->population = population;

    more = ngx_snorky_sockjs_session_watch(sockjs->worker);
    more |= ngx_snorky_sockjs_request_watch(sockjs->worker);

    if (more) {
        ngx_snorky_sockjs_watch(sockjs->worker);
    }
}
