
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns nothing: writes the figures for Prometheus.  A total is one sample,
 * and what is told of each worker has a name of its own, so that sums over a
 * metric are right.  No label's value has a character to be escaped.  Called
 * by the status.
 */


#include "ngx_snorky_status_prometheus.h"


#define NGX_SNORKY_STATUS_PROMETHEUS_HEAD                                     \
    "# HELP snorky_%s %s\n"                                                   \
    "# TYPE snorky_%s %s\n"

#define NGX_SNORKY_STATUS_PROMETHEUS_BUILD                                    \
    "# HELP snorky_build_info The module, and the nginx it was built for.\n"  \
    "# TYPE snorky_build_info gauge\n"                                        \
    "snorky_build_info{version=\"" NGX_SNORKY_VERSION "\","                   \
    "nginx=\"" NGINX_VERSION "\"} 1\n"

#define NGX_SNORKY_STATUS_PROMETHEUS_INFO                                     \
    "# HELP snorky_worker_info The process in the slot, and which one in"     \
    " the zone's life it is.\n"                                               \
    "# TYPE snorky_worker_info gauge\n"

#define NGX_SNORKY_STATUS_PROMETHEUS_WORKER                                   \
    "snorky_worker_info{slot=\"%uL\",pid=\"%uL\",generation=\"%uL\"} 1\n"


static size_t ngx_snorky_status_prometheus_len(
    ngx_snorky_status_field_t *field, ngx_uint_t samples);
static u_char *ngx_snorky_status_prometheus_fields(u_char *p,
    ngx_snorky_status_field_t *field, void *base);
static u_char *ngx_snorky_status_prometheus_workers(u_char *p,
    ngx_snorky_status_figures_t *figures);
static u_char *ngx_snorky_status_prometheus_head(u_char *p,
    ngx_snorky_status_field_t *field);


ngx_buf_t *
ngx_snorky_status_prometheus_build(ngx_pool_t *pool,
    ngx_snorky_status_figures_t *figures)
{
    u_char      *p;
    size_t       len;
    ngx_buf_t   *b;
    ngx_uint_t   n;

    n = figures->nworkers;

    len = sizeof(NGX_SNORKY_STATUS_PROMETHEUS_BUILD)
          + sizeof(NGX_SNORKY_STATUS_PROMETHEUS_INFO)
          + n * (sizeof(NGX_SNORKY_STATUS_PROMETHEUS_WORKER)
                 + 3 * NGX_INT64_LEN)
          + ngx_snorky_status_prometheus_len(ngx_snorky_status_zone, 1)
          + ngx_snorky_status_prometheus_len(ngx_snorky_status_log, 1)
          + ngx_snorky_status_prometheus_len(ngx_snorky_status_stats, 1)
          + ngx_snorky_status_prometheus_len(ngx_snorky_status_worker, n);

    b = ngx_create_temp_buf(pool, len);
    if (b == NULL) {
        return NULL;
    }

    p = ngx_sprintf(b->last, NGX_SNORKY_STATUS_PROMETHEUS_BUILD);

    p = ngx_snorky_status_prometheus_fields(p, ngx_snorky_status_zone,
                                            figures);
    p = ngx_snorky_status_prometheus_fields(p, ngx_snorky_status_log,
                                            figures);
    p = ngx_snorky_status_prometheus_fields(p, ngx_snorky_status_stats,
                                            &figures->total);

    b->last = ngx_snorky_status_prometheus_workers(p, figures);

    return b;
}


/* at most, of fields that have so many samples each */

static size_t
ngx_snorky_status_prometheus_len(ngx_snorky_status_field_t *field,
    ngx_uint_t samples)
{
    size_t  len, metric;

    for (len = 0; field->name; field++) {

        if (field->metric == NULL) {
            continue;
        }

        metric = ngx_strlen(field->metric);

        if (field->help) {
            len += sizeof(NGX_SNORKY_STATUS_PROMETHEUS_HEAD)
                   + 2 * metric + ngx_strlen(field->help) + sizeof("counter");
        }

        len += samples * (sizeof("snorky_{slot=\"\"} \n") + metric
                          + ngx_strlen(field->label) + 2 * NGX_INT64_LEN);
    }

    return len;
}


static u_char *
ngx_snorky_status_prometheus_fields(u_char *p,
    ngx_snorky_status_field_t *field, void *base)
{
    for ( /* void */ ; field->name; field++) {

        if (field->metric == NULL) {
            continue;
        }

        if (field->help) {
            p = ngx_snorky_status_prometheus_head(p, field);
        }

        p = ngx_sprintf(p, field->label[0] ? "snorky_%s{%s} %uL\n"
                                           : "snorky_%s%s %uL\n",
                        field->metric, field->label,
                        ngx_snorky_status_value(base, field));
    }

    return p;
}


static u_char *
ngx_snorky_status_prometheus_workers(u_char *p,
    ngx_snorky_status_figures_t *figures)
{
    ngx_uint_t                   i;
    ngx_snorky_status_field_t   *field;
    ngx_snorky_status_worker_t  *worker;

    worker = figures->workers;

    p = ngx_sprintf(p, NGX_SNORKY_STATUS_PROMETHEUS_INFO);

    for (i = 0; i < figures->nworkers; i++) {
        p = ngx_sprintf(p, NGX_SNORKY_STATUS_PROMETHEUS_WORKER,
                        worker[i].slot, worker[i].pid, worker[i].generation);
    }

    for (field = ngx_snorky_status_worker; field->name; field++) {
        p = ngx_snorky_status_prometheus_head(p, field);

        for (i = 0; i < figures->nworkers; i++) {
            p = ngx_sprintf(p, "snorky_%s{slot=\"%uL\"} %uL\n",
                            field->metric, worker[i].slot,
                            ngx_snorky_status_value(&worker[i], field));
        }
    }

    return p;
}


static u_char *
ngx_snorky_status_prometheus_head(u_char *p, ngx_snorky_status_field_t *field)
{
    size_t       len, total;
    const char  *type;

    len = ngx_strlen(field->metric);
    total = sizeof("_total") - 1;

    type = (len > total
            && ngx_strcmp(field->metric + len - total, "_total") == 0)
           ? "counter" : "gauge";

    return ngx_sprintf(p, NGX_SNORKY_STATUS_PROMETHEUS_HEAD, field->metric,
                       field->help, field->metric, type);
}
