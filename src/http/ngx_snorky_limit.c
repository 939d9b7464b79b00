
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the keys of "snorky_max_connections" and the answer to those who are
 * too many.  Called by the WebSocket when a session begins and when it leaves.
 */


#include "ngx_snorky_limit.h"


static ngx_int_t ngx_snorky_limit_keys(ngx_http_request_t *r,
    ngx_snorky_broker_t *broker, ngx_array_t *limits,
    ngx_snorky_broker_count_t *counts);
static void ngx_snorky_limit_key(ngx_snorky_broker_t *broker,
    ngx_snorky_limit_t *limit, ngx_str_t *value,
    ngx_snorky_broker_count_t *count);
static void ngx_snorky_limit_name(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *count, ngx_str_t *name);
static void ngx_snorky_limit_log(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_snorky_broker_count_t *counts, ngx_int_t rc);


ngx_int_t
ngx_snorky_limit_enter(ngx_http_request_t *r, ngx_snorky_worker_t *worker,
    ngx_array_t *limits, ngx_snorky_store_tally_t **tallies)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_snorky_broker_t        *broker;
    ngx_snorky_broker_count_t  *counts;

    if (limits == NULL) {
        return NGX_OK;
    }

    broker = worker->hub->broker;

    counts = ngx_pcalloc(r->pool,
                         limits->nelts * sizeof(ngx_snorky_broker_count_t));
    if (counts == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_limit_keys(r, broker, limits, counts);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_broker_count(broker, counts, limits->nelts);

    if (rc != NGX_OK) {
        worker->hub->stats->rejected_limit++;

        ngx_snorky_limit_log(r, limits, counts, rc);

        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    for (i = 0; i < limits->nelts; i++) {
        tallies[i] = counts[i].tally;
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_limit_enter_named(ngx_http_request_t *r,
    ngx_snorky_worker_t *worker, ngx_array_t *limits, ngx_str_t *name,
    ngx_str_t *group, ngx_uint_t most, ngx_snorky_store_tally_t **tallies,
    uint64_t *owner)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, n;
    ngx_snorky_broker_t        *broker;
    ngx_snorky_broker_count_t  *counts;

    broker = worker->hub->broker;

    n = NGX_SNORKY_LIMIT_NAMED + (limits ? limits->nelts : 0);

    counts = ngx_pcalloc(r->pool, n * sizeof(ngx_snorky_broker_count_t));
    if (counts == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_snorky_limit_name(broker, &counts[0], name);
    ngx_snorky_limit_name(broker, &counts[1], group);

    counts[1].most = most;

    if (limits
        && ngx_snorky_limit_keys(r, broker, limits,
                                 counts + NGX_SNORKY_LIMIT_NAMED)
           == NGX_ERROR)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_snorky_broker_count(broker, counts, n);

    if (rc == NGX_DECLINED && counts[0].full) {
        rc = ngx_snorky_limit_find_named(worker, name, owner);

        if (rc == NGX_OK) {
            return NGX_DECLINED;
        }

        /* it has gone just now */

        rc = (rc == NGX_DECLINED) ? ngx_snorky_broker_count(broker, counts, n)
                                  : NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        worker->hub->stats->rejected_limit++;

        if (rc == NGX_DECLINED && (counts[0].full || counts[1].full)) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "limiting sessions by \"snorky_sockjs_sessions\"");

        } else {
            ngx_snorky_limit_log(r, limits, counts + NGX_SNORKY_LIMIT_NAMED,
                                 rc);
        }

        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    for (i = 0; i < n; i++) {
        tallies[i] = counts[i].tally;
    }

    return NGX_OK;
}


ngx_int_t
ngx_snorky_limit_find_named(ngx_snorky_worker_t *worker, ngx_str_t *name,
    uint64_t *owner)
{
    ngx_int_t                  rc;
    ngx_snorky_broker_count_t  count;

    ngx_snorky_limit_name(worker->hub->broker, &count, name);

    rc = ngx_snorky_broker_counter(worker->hub->broker, &count, owner);

    return (rc == NGX_AGAIN) ? NGX_HTTP_SERVICE_UNAVAILABLE : rc;
}


/* these are no values of a variable */

static void
ngx_snorky_limit_name(ngx_snorky_broker_t *broker,
    ngx_snorky_broker_count_t *count, ngx_str_t *name)
{
    count->hash = ~ngx_snorky_broker_hash(broker, name);
    count->key = *name;
    count->most = 1;
}


/* NGX_DECLINED: there is nothing that the client would be counted by */

static ngx_int_t
ngx_snorky_limit_keys(ngx_http_request_t *r, ngx_snorky_broker_t *broker,
    ngx_array_t *limits, ngx_snorky_broker_count_t *counts)
{
    ngx_int_t            rc;
    ngx_str_t            value;
    ngx_uint_t           i;
    ngx_snorky_limit_t  *limit;

    rc = NGX_DECLINED;
    limit = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        if (ngx_http_complex_value(r, &limit[i].key, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len > NGX_SNORKY_TALLY_MAX_KEY) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "connection is not limited by \"%V\", "
                          "whose value has %uz bytes",
                          &limit[i].key.value, value.len);
            continue;
        }

        if (value.len) {
            ngx_snorky_limit_key(broker, &limit[i], &value, &counts[i]);
            rc = NGX_OK;
        }
    }

    return rc;
}


/* equal values of different variables are counted apart */

static void
ngx_snorky_limit_key(ngx_snorky_broker_t *broker, ngx_snorky_limit_t *limit,
    ngx_str_t *value, ngx_snorky_broker_count_t *count)
{
    uint64_t  hash;

    hash = ngx_snorky_broker_hash(broker, &limit->key.value);

    count->hash = (hash << 32 | hash >> 32)
                  ^ ngx_snorky_broker_hash(broker, value);
    count->key = *value;
    count->most = limit->most;
}


static void
ngx_snorky_limit_log(ngx_http_request_t *r, ngx_array_t *limits,
    ngx_snorky_broker_count_t *counts, ngx_int_t rc)
{
    ngx_uint_t           i;
    ngx_snorky_limit_t  *limit;

    switch (rc) {

    case NGX_DECLINED:
        limit = limits->elts;

        for (i = 0; !counts[i].full; i++) { /* void */ }

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "limiting connections by \"%V\"", &limit[i].key.value);
        break;

    case NGX_BUSY:
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                      "\"snorky_zone\" has no room to count a connection");
        break;

    default: /* NGX_AGAIN */
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "a connection can't be counted now, a worker stands "
                      "still inside of the zone's critical section");
        break;
    }
}


void
ngx_snorky_limit_forget(ngx_snorky_worker_t *worker,
    ngx_snorky_store_tally_t **tallies, ngx_uint_t n)
{
    ngx_snorky_broker_uncount(worker->hub->broker, tallies, n);

    ngx_memzero(tallies, n * sizeof(void *));
}


void
ngx_snorky_limit_leave(ngx_snorky_worker_t *worker, ngx_array_t *limits,
    ngx_snorky_store_tally_t **tallies)
{
    if (limits == NULL) {
        return;
    }

    ngx_snorky_limit_forget(worker, tallies, limits->nelts);
}
