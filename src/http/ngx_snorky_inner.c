
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the requests that the core asks the application with.  Called by the
 * core through the asker's table, and by nginx when the subrequest ends.
 *
 * Nothing is called back, and nothing freed, but from the event of the inner
 * request: whoever cancels it may stand in the middle of it.
 */


#include "ngx_snorky_inner.h"
#include "ngx_snorky_inner_filter.h"
#include "ngx_snorky_inner_request.h"


/* ms; until others have let go of the request */
#define NGX_SNORKY_INNER_LINGER   500


static ngx_int_t ngx_snorky_inner_send(ngx_snorky_ask_t *ask);
static void ngx_snorky_inner_cancel(ngx_snorky_ask_t *ask);
static ngx_int_t ngx_snorky_inner_evaluate(ngx_snorky_ask_t *ask,
    void *variable);

static ngx_snorky_inner_t *ngx_snorky_inner_create(ngx_snorky_ask_t *ask);
static void ngx_snorky_inner_handler(ngx_event_t *ev);
static void ngx_snorky_inner_begin(ngx_snorky_inner_t *inner);
static void ngx_snorky_inner_end(ngx_snorky_inner_t *inner);
static void ngx_snorky_inner_timer_handler(ngx_event_t *ev);
static ngx_int_t ngx_snorky_inner_done(ngx_http_request_t *r, void *data,
    ngx_int_t rc);
static void ngx_snorky_inner_tell(ngx_snorky_inner_t *inner);
static ngx_snorky_answer_e ngx_snorky_inner_type(ngx_str_t *type);


ngx_snorky_asker_t  ngx_snorky_inner_asker = {
    ngx_snorky_inner_send,
    ngx_snorky_inner_cancel,
    ngx_snorky_inner_evaluate
};


void
ngx_snorky_inner_open_worker(ngx_snorky_worker_t *worker)
{
    ngx_queue_init(&worker->inners);
}


/* the askers have gone with their sessions */

void
ngx_snorky_inner_close_worker(ngx_snorky_worker_t *worker)
{
    ngx_queue_t         *q;
    ngx_snorky_inner_t  *inner;

    while (!ngx_queue_empty(&worker->inners)) {
        q = ngx_queue_head(&worker->inners);
        inner = ngx_queue_data(q, ngx_snorky_inner_t, queue);

        inner->ask = NULL;

        ngx_snorky_inner_request_destroy(inner);
    }
}


static ngx_int_t
ngx_snorky_inner_send(ngx_snorky_ask_t *ask)
{
    ngx_snorky_inner_t  *inner;

    inner = ngx_snorky_inner_create(ask);
    if (inner == NULL) {
        return NGX_ERROR;
    }

    if (ngx_snorky_inner_request_fill(inner, ask) != NGX_OK) {
        ngx_snorky_inner_request_destroy(inner);
        return NGX_ERROR;
    }

    inner->ask = ask;
    inner->timeout = ask->timeout;
    inner->max_answer = ask->max_answer;
    inner->hub->stats->asks++;

    ask->inner = inner;

    ngx_post_event(&inner->event, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_snorky_inner_cancel(ngx_snorky_ask_t *ask)
{
    ngx_snorky_inner_t  *inner;

    inner = ask->inner;

    ask->inner = NULL;
    inner->ask = NULL;

    ngx_post_event(&inner->event, &ngx_posted_events);
}


/* a request that is not run, since a variable may keep its value in one */

static ngx_int_t
ngx_snorky_inner_evaluate(ngx_snorky_ask_t *ask, void *variable)
{
    ngx_int_t                  rc;
    ngx_str_t                  value;
    ngx_snorky_inner_t        *inner;
    ngx_http_complex_value_t  *cv;

    cv = variable;

    inner = ngx_snorky_inner_create(ask);
    if (inner == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_complex_value(inner->main, cv, &value);

    if (rc == NGX_OK) {
        rc = value.len && (value.len > 1 || value.data[0] != '0');
    }

    ngx_snorky_inner_request_destroy(inner);

    return rc;
}


static ngx_snorky_inner_t *
ngx_snorky_inner_create(ngx_snorky_ask_t *ask)
{
    ngx_snorky_inner_t      *inner;
    ngx_snorky_main_conf_t  *smcf;

    inner = ngx_snorky_inner_request_create(ask);
    if (inner == NULL) {
        return NULL;
    }

    smcf = ngx_http_get_module_main_conf(inner->main, ngx_snorky_module);

    inner->hub = smcf->worker->hub;

    inner->event.handler = ngx_snorky_inner_handler;
    inner->event.data = inner;
    inner->event.log = &inner->log;

    inner->timer.handler = ngx_snorky_inner_timer_handler;
    inner->timer.data = inner;
    inner->timer.log = &inner->log;

    ngx_queue_insert_tail(&smcf->worker->inners, &inner->queue);

    return inner;
}


/* begins, tells the asker, or ends */

static void
ngx_snorky_inner_handler(ngx_event_t *ev)
{
    ngx_snorky_inner_t *inner = ev->data;

    if (inner->ask && !inner->begun) {
        ngx_snorky_inner_begin(inner);
        return;
    }

    if (inner->timer.timer_set) {
        ngx_del_timer(&inner->timer);
    }

    /*
     * What the application has published before it answered comes first, and
     * may end the one who asks.
     */

    if (inner->ask) {
        ngx_snorky_broker_drain(inner->hub->broker);
    }

    if (inner->ask) {
        ngx_snorky_inner_tell(inner);
    }

    ngx_snorky_inner_end(inner);
}


/*
 * What was begun in it and still runs, a cache's update in the background for
 * instance, ends first, unless nobody waited for the answer itself.
 */

static void
ngx_snorky_inner_end(ngx_snorky_inner_t *inner)
{
    ngx_http_request_t  *r;

    r = inner->main;

    if (r->blocked || (inner->ended && r->count > 1)) {
        ngx_add_timer(&inner->timer, NGX_SNORKY_INNER_LINGER);
        return;
    }

    ngx_snorky_inner_request_destroy(inner);
}


static void
ngx_snorky_inner_begin(ngx_snorky_inner_t *inner)
{
    u_char              *p;
    ngx_str_t            uri;
    ngx_http_request_t  *r;

    inner->begun = 1;

    r = inner->main;
    uri = inner->uri;

    p = ngx_strlchr(uri.data, uri.data + uri.len, '?');

    if (p) {
        inner->args.data = p + 1;
        inner->args.len = uri.data + uri.len - p - 1;
        uri.len = p - uri.data;
    }

    r->uri = uri;
    r->unparsed_uri = inner->uri;

    inner->post.handler = ngx_snorky_inner_done;
    inner->post.data = inner;

    if (ngx_http_subrequest(r, &r->uri, &inner->args, &inner->sub,
                            &inner->post, 0)
        != NGX_OK)
    {
        inner->ended = 1;
        ngx_post_event(&inner->event, &ngx_posted_events);
        return;
    }

    inner->sub->method = NGX_HTTP_POST;
    inner->sub->method_name = r->method_name;

    if (inner->timeout) {
        ngx_add_timer(&inner->timer, inner->timeout);
    }

    ngx_http_run_posted_requests(&inner->connection);
}


/* the answer takes too long; or it may be freed now */

static void
ngx_snorky_inner_timer_handler(ngx_event_t *ev)
{
    ngx_snorky_inner_t *inner = ev->data;

    ngx_snorky_inner_handler(&inner->event);
}


/*
 * The subrequest ends, or is about to.  What nginx answers with an error page,
 * or with none, goes through its own handler first, which comes back here.
 * Nothing else may reach nginx: it would close the connection.
 */

static ngx_int_t
ngx_snorky_inner_done(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    ngx_snorky_inner_t *inner = data;

    /* a filter has refused what came: nothing is left to be sent */

    if (r->connection->error) {
        r->connection->error = 0;
        r->buffered = 0;
        rc = NGX_ERROR;
    }

    if (rc != NGX_ERROR
        && (rc == NGX_AGAIN || r->buffered || r->postponed))
    {
        return rc;
    }

    if (!inner->header
        && (rc >= NGX_HTTP_SPECIAL_RESPONSE
            || rc == NGX_HTTP_CREATED
            || rc == NGX_HTTP_NO_CONTENT)
        && rc != NGX_HTTP_CLOSE
        && rc != NGX_HTTP_REQUEST_TIME_OUT
        && rc != NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        return rc;
    }

    if (r->header_only && rc == NGX_OK) {
        inner->whole = 1;
    }

    inner->ended = 1;

    ngx_post_event(&inner->event, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_snorky_inner_tell(ngx_snorky_inner_t *inner)
{
    ngx_snorky_ask_t     *ask;
    ngx_snorky_answer_t  *answer;

    ask = inner->ask;
    answer = &ask->answer;

    inner->ask = NULL;

    ngx_memzero(answer, sizeof(ngx_snorky_answer_t));

    if (inner->too_large) {
        answer->too_large = 1;
        answer->status = NGX_HTTP_BAD_GATEWAY;

    } else if (inner->header && inner->whole
               && inner->sub->headers_out.status)
    {
        answer->status = inner->sub->headers_out.status;
        answer->type = ngx_snorky_inner_type(
                                       &inner->sub->headers_out.content_type);
        answer->body = inner->answer;

    } else {
        answer->broken = 1;
        answer->status = inner->timer.timedout ? NGX_HTTP_GATEWAY_TIME_OUT
                                               : NGX_HTTP_BAD_GATEWAY;
    }

    if (answer->broken || answer->too_large
        || answer->status >= NGX_HTTP_INTERNAL_SERVER_ERROR)
    {
        inner->hub->stats->asks_failed++;
    }

    ask->done(ask);
}


/* without its parameters */

static ngx_snorky_answer_e
ngx_snorky_inner_type(ngx_str_t *type)
{
    size_t   len;
    u_char  *p;

    if (type->len == 0) {
        return NGX_SNORKY_ANSWER_OTHER;
    }

    p = ngx_strlchr(type->data, type->data + type->len, ';');
    len = p ? (size_t) (p - type->data) : type->len;

    while (len && type->data[len - 1] == ' ') {
        len--;
    }

    if (len == sizeof("application/json") - 1
        && ngx_strncasecmp(type->data, (u_char *) "application/json", len)
           == 0)
    {
        return NGX_SNORKY_ANSWER_JSON;
    }

    if (len > sizeof("+json") - 1
        && ngx_strncasecmp(type->data + len - 5, (u_char *) "+json", 5) == 0)
    {
        return NGX_SNORKY_ANSWER_JSON;
    }

    if (len == sizeof("text/plain") - 1
        && ngx_strncasecmp(type->data, (u_char *) "text/plain", len) == 0)
    {
        return NGX_SNORKY_ANSWER_TEXT;
    }

    return NGX_SNORKY_ANSWER_OTHER;
}


ngx_str_t *
ngx_snorky_inner_text(ngx_http_request_t *r, ngx_snorky_inner_e which)
{
    ngx_snorky_inner_t  *inner;

    inner = ngx_snorky_inner_filter_find(r);

    return inner ? &inner->texts[which] : NULL;
}
