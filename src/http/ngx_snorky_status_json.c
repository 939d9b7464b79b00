
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns nothing: writes the figures as JSON, with all that each worker counts.
 * Called by the status.
 */


#include "ngx_snorky_status_json.h"


/* as long as what is put in for each of them is no longer than a number */

#define NGX_SNORKY_STATUS_JSON_HEAD                                           \
    "{\"version\":\"" NGX_SNORKY_VERSION "\","                                \
    "\"nginx\":\"" NGINX_VERSION "\","                                        \
    "\"pid\":%P,\"worker\":%i,\"zone\":{"

#define NGX_SNORKY_STATUS_JSON_LOG      "},\"log\":{"
#define NGX_SNORKY_STATUS_JSON_TOTAL    "},\"total\":{"
#define NGX_SNORKY_STATUS_JSON_WORKERS  "},\"workers\":["

#define NGX_SNORKY_STATUS_JSON_WORKER                                         \
    "{\"slot\":%uL,\"pid\":%uL,\"generation\":%uL,\"state\":\"%s\","          \
    "\"quitting\":%s,\"lag\":%uL,"

#define NGX_SNORKY_STATUS_JSON_TAIL     "]}" CRLF

/* of all that stands around fields, and what is put in there */

#define NGX_SNORKY_STATUS_JSON_LEN                                            \
    (sizeof(NGX_SNORKY_STATUS_JSON_HEAD) + 2 * NGX_INT64_LEN                  \
     + sizeof(NGX_SNORKY_STATUS_JSON_LOG)                                     \
     + sizeof(NGX_SNORKY_STATUS_JSON_TOTAL)                                   \
     + sizeof(NGX_SNORKY_STATUS_JSON_WORKERS)                                 \
     + sizeof(NGX_SNORKY_STATUS_JSON_TAIL))

#define NGX_SNORKY_STATUS_JSON_WORKER_LEN                                     \
    (sizeof(NGX_SNORKY_STATUS_JSON_WORKER) + 6 * NGX_INT64_LEN                \
     + sizeof("},"))


static size_t ngx_snorky_status_json_len(ngx_snorky_status_field_t *field);
static u_char *ngx_snorky_status_json_fields(u_char *p,
    ngx_snorky_status_field_t *fields, void *base);
static u_char *ngx_snorky_status_json_worker(u_char *p,
    ngx_snorky_status_worker_t *worker);


ngx_buf_t *
ngx_snorky_status_json_build(ngx_pool_t *pool,
    ngx_snorky_status_figures_t *figures)
{
    u_char      *p;
    size_t       len, stats;
    ngx_buf_t   *b;
    ngx_uint_t   i;

    stats = ngx_snorky_status_json_len(ngx_snorky_status_stats);

    len = NGX_SNORKY_STATUS_JSON_LEN
          + ngx_snorky_status_json_len(ngx_snorky_status_zone)
          + ngx_snorky_status_json_len(ngx_snorky_status_log)
          + stats
          + figures->nworkers * (NGX_SNORKY_STATUS_JSON_WORKER_LEN + stats);

    b = ngx_create_temp_buf(pool, len);
    if (b == NULL) {
        return NULL;
    }

    p = ngx_sprintf(b->last, NGX_SNORKY_STATUS_JSON_HEAD, ngx_pid,
                    ngx_process_slot);
    p = ngx_snorky_status_json_fields(p, ngx_snorky_status_zone, figures);

    p = ngx_sprintf(p, NGX_SNORKY_STATUS_JSON_LOG);
    p = ngx_snorky_status_json_fields(p, ngx_snorky_status_log, figures);

    p = ngx_sprintf(p, NGX_SNORKY_STATUS_JSON_TOTAL);
    p = ngx_snorky_status_json_fields(p, ngx_snorky_status_stats,
                                      &figures->total);

    p = ngx_sprintf(p, NGX_SNORKY_STATUS_JSON_WORKERS);

    for (i = 0; i < figures->nworkers; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_snorky_status_json_worker(p, &figures->workers[i]);
    }

    b->last = ngx_sprintf(p, NGX_SNORKY_STATUS_JSON_TAIL);

    return b;
}


static size_t
ngx_snorky_status_json_len(ngx_snorky_status_field_t *field)
{
    size_t  len;

    for (len = 0; field->name; field++) {
        len += ngx_strlen(field->name) + sizeof("\"\":,") + NGX_INT64_LEN;
    }

    return len;
}


static u_char *
ngx_snorky_status_json_fields(u_char *p, ngx_snorky_status_field_t *fields,
    void *base)
{
    ngx_snorky_status_field_t  *field;

    for (field = fields; field->name; field++) {
        p = ngx_sprintf(p, "%s\"%s\":%uL", (field == fields) ? "" : ",",
                        field->name, ngx_snorky_status_value(base, field));
    }

    return p;
}


static u_char *
ngx_snorky_status_json_worker(u_char *p, ngx_snorky_status_worker_t *worker)
{
    p = ngx_sprintf(p, NGX_SNORKY_STATUS_JSON_WORKER, worker->slot,
                    worker->pid, worker->generation,
                    worker->live ? "live" : "lost",
                    worker->quitting ? "true" : "false", worker->lag);

    p = ngx_snorky_status_json_fields(p, ngx_snorky_status_stats,
                                      &worker->stats);

    *p++ = '}';

    return p;
}
