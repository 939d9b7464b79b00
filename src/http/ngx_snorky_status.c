
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the request for the status: its method, the format that it wants, and
 * the headers of the answer.  Called by nginx.
 */


#include "ngx_snorky_status.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_status_figure.h"
#include "ngx_snorky_status_format.h"
#include "ngx_snorky_status_json.h"
#include "ngx_snorky_status_page.h"
#include "ngx_snorky_status_prometheus.h"


static ngx_buf_t *ngx_snorky_status_build(ngx_http_request_t *r,
    ngx_snorky_zone_t *zone, ngx_snorky_status_format_e format);
static ngx_int_t ngx_snorky_status_headers(ngx_http_request_t *r,
    ngx_snorky_status_format_e format);
static ngx_int_t ngx_snorky_status_send(ngx_http_request_t *r, ngx_buf_t *b);


/*
 * The charset stands in the type, since nginx puts it only behind one without
 * parameters; the length is of what filters look up.
 */

typedef struct {
    ngx_str_t   text;
    size_t      len;
    ngx_str_t   charset;
} ngx_snorky_status_type_t;


static ngx_snorky_status_type_t
    ngx_snorky_status_types[NGX_SNORKY_STATUS_FORMATS] =
{
    { ngx_string("application/json"), sizeof("application/json") - 1,
      ngx_null_string },

    { ngx_string("text/html; charset=utf-8"), sizeof("text/html") - 1,
      ngx_string("utf-8") },

    { ngx_string("text/plain; version=0.0.4; charset=utf-8"),
      sizeof("text/plain") - 1, ngx_string("utf-8") }
};


ngx_int_t
ngx_snorky_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_str_t                    allow;
    ngx_snorky_worker_t         *worker;
    ngx_snorky_status_format_e   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        ngx_str_set(&allow, "GET, HEAD");

        if (ngx_snorky_header_add(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_status_format_find(r, &format) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    b = ngx_snorky_status_build(r, ngx_snorky_broker_zone(worker->hub->broker),
                                format);

    if (b == NULL || ngx_snorky_status_headers(r, format) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_snorky_status_send(r, b);
}


static ngx_buf_t *
ngx_snorky_status_build(ngx_http_request_t *r, ngx_snorky_zone_t *zone,
    ngx_snorky_status_format_e format)
{
    ngx_snorky_status_figures_t  figures;

    if (format == NGX_SNORKY_STATUS_PAGE) {
        return ngx_snorky_status_page_build(r->pool);
    }

    if (ngx_snorky_status_figure_read(r->pool, zone, &figures) != NGX_OK) {
        return NULL;
    }

    if (format == NGX_SNORKY_STATUS_PROMETHEUS) {
        return ngx_snorky_status_prometheus_build(r->pool, &figures);
    }

    return ngx_snorky_status_json_build(r->pool, &figures);
}


static ngx_int_t
ngx_snorky_status_headers(ngx_http_request_t *r,
    ngx_snorky_status_format_e format)
{
    ngx_str_t                  no_store, accept;
    ngx_snorky_status_type_t  *type;

    ngx_str_set(&no_store, "no-store");
    ngx_str_set(&accept, "Accept");

    if (ngx_snorky_header_add(r, "Cache-Control", &no_store) != NGX_OK
        || ngx_snorky_header_add(r, "Vary", &accept) != NGX_OK)
    {
        return NGX_ERROR;
    }

    type = &ngx_snorky_status_types[format];

    r->headers_out.content_type = type->text;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.charset = type->charset;

    return (format == NGX_SNORKY_STATUS_PAGE)
           ? ngx_snorky_status_page_headers(r) : NGX_OK;
}


static ngx_int_t
ngx_snorky_status_send(ngx_http_request_t *r, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
