
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the names under which counters are told.  What workers write in their
 * slots is read as they write it, so that figures of one moment may differ by
 * what happens in it.
 */


#include "ngx_snorky_status.h"
#include "ngx_snorky_header.h"


typedef struct {
    const char                *name;
    size_t                     offset;
} ngx_snorky_status_field_t;


#define ngx_snorky_status_field(name)                                         \
    { #name, offsetof(ngx_snorky_stats_t, name) }


static ngx_int_t ngx_snorky_status_send(ngx_http_request_t *r, ngx_buf_t *b);
static ngx_buf_t *ngx_snorky_status_build(ngx_http_request_t *r,
    ngx_snorky_zone_t *zone);
static u_char *ngx_snorky_status_zone(u_char *p, ngx_snorky_zone_t *zone);
static u_char *ngx_snorky_status_worker(u_char *p, ngx_snorky_zone_t *zone,
    ngx_uint_t n);
static u_char *ngx_snorky_status_stats(u_char *p, ngx_snorky_stats_t *stats);
static void ngx_snorky_status_total(ngx_snorky_zone_t *zone,
    ngx_snorky_stats_t *total);


static ngx_snorky_status_field_t  ngx_snorky_status_fields[] = {
    ngx_snorky_status_field(sessions),
    ngx_snorky_status_field(sessions_websocket),
    ngx_snorky_status_field(sessions_echo),
    ngx_snorky_status_field(sessions_sockjs),
    ngx_snorky_status_field(subscriptions),
    ngx_snorky_status_field(channels),
    ngx_snorky_status_field(waiting),
    ngx_snorky_status_field(calls),
    ngx_snorky_status_field(events),
    ngx_snorky_status_field(connections),
    ngx_snorky_status_field(messages_in),
    ngx_snorky_status_field(messages_out),
    ngx_snorky_status_field(bytes_in),
    ngx_snorky_status_field(bytes_out),
    ngx_snorky_status_field(compressions),
    ngx_snorky_status_field(bytes_saved),
    ngx_snorky_status_field(publications),
    ngx_snorky_status_field(deliveries),
    ngx_snorky_status_field(backend_requests),
    ngx_snorky_status_field(malformed),
    ngx_snorky_status_field(errors),
    ngx_snorky_status_field(waits),
    ngx_snorky_status_field(overloaded),
    ngx_snorky_status_field(asks),
    ngx_snorky_status_field(asks_failed),
    ngx_snorky_status_field(calls_deferred),
    ngx_snorky_status_field(calls_rejected),
    ngx_snorky_status_field(calls_cancelled),
    ngx_snorky_status_field(calls_timed_out),
    ngx_snorky_status_field(authorized),
    ngx_snorky_status_field(authorized_cached),
    ngx_snorky_status_field(unauthorized),
    ngx_snorky_status_field(events_sent),
    ngx_snorky_status_field(events_retried),
    ngx_snorky_status_field(events_dropped),
    ngx_snorky_status_field(letters),
    ngx_snorky_status_field(bells_sent),
    ngx_snorky_status_field(bells_received),
    ngx_snorky_status_field(revoked),
    ngx_snorky_status_field(drops),
    ngx_snorky_status_field(rejected_origin),
    ngx_snorky_status_field(rejected_handshake),
    ngx_snorky_status_field(rejected_limit),
    ngx_snorky_status_field(closed_normal),
    ngx_snorky_status_field(closed_lost),
    ngx_snorky_status_field(closed_protocol),
    ngx_snorky_status_field(closed_invalid),
    ngx_snorky_status_field(closed_too_big),
    ngx_snorky_status_field(closed_slow),
    ngx_snorky_status_field(closed_timeout),
    ngx_snorky_status_field(closed_restart),
    ngx_snorky_status_field(closed_other)
};

#define NGX_SNORKY_STATUS_FIELDS                                              \
    (sizeof(ngx_snorky_status_fields) / sizeof(ngx_snorky_status_field_t))

/* bytes that a name, a number and what stands around them take, at most */
#define NGX_SNORKY_STATUS_FIELD_LEN  (sizeof("\"sessions_websocket\":,")      \
                                      + NGX_INT64_LEN)

#define NGX_SNORKY_STATUS_LEN                                                 \
    (NGX_SNORKY_STATUS_FIELDS * NGX_SNORKY_STATUS_FIELD_LEN + 512)


ngx_int_t
ngx_snorky_status_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_buf_t            *b;
    ngx_str_t             allow;
    ngx_snorky_worker_t  *worker;

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

    worker = ngx_snorky_conf_worker(r);
    if (worker == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    b = ngx_snorky_status_build(r, ngx_snorky_broker_zone(worker->hub->broker));
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_snorky_status_send(r, b);
}


static ngx_int_t
ngx_snorky_status_send(ngx_http_request_t *r, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_str_t    no_store;
    ngx_chain_t  out;

    ngx_str_set(&no_store, "no-store");

    if (ngx_snorky_header_add(r, "Cache-Control", &no_store) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

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


static ngx_buf_t *
ngx_snorky_status_build(ngx_http_request_t *r, ngx_snorky_zone_t *zone)
{
    u_char              *p;
    size_t               len;
    ngx_buf_t           *b;
    ngx_uint_t           i, n;
    ngx_snorky_stats_t   total;

    len = 2 * NGX_SNORKY_STATUS_LEN;

    for (i = 0; i < zone->top; i++) {
        len += (zone->slots[i].state != NGX_SNORKY_SLOT_FREE)
               ? NGX_SNORKY_STATUS_LEN : 0;
    }

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NULL;
    }

    p = ngx_sprintf(b->last, "{\"version\":\"" NGX_SNORKY_VERSION "\","
                             "\"nginx\":\"" NGINX_VERSION "\","
                             "\"pid\":%P,\"worker\":%i,",
                    ngx_pid, ngx_process_slot);

    p = ngx_snorky_status_zone(p, zone);

    ngx_snorky_status_total(zone, &total);

    p = ngx_cpymem(p, "\"total\":{", sizeof("\"total\":{") - 1);
    p = ngx_snorky_status_stats(p, &total);
    p = ngx_cpymem(p, "},\"workers\":[", sizeof("},\"workers\":[") - 1);

    for (i = 0, n = 0; i < zone->top; i++) {

        /* a worker may have come since the buffer was measured */

        if (zone->slots[i].state == NGX_SNORKY_SLOT_FREE
            || (size_t) (b->end - p) < NGX_SNORKY_STATUS_LEN)
        {
            continue;
        }

        if (n++) {
            *p++ = ',';
        }

        p = ngx_snorky_status_worker(p, zone, i);
    }

    p = ngx_cpymem(p, "]}" CRLF, sizeof("]}" CRLF) - 1);

    b->last = p;

    return b;
}


static u_char *
ngx_snorky_status_zone(u_char *p, ngx_snorky_zone_t *zone)
{
    uint64_t     head, used, cursor;
    ngx_uint_t   i;

    head = ngx_snorky_load(&zone->log.head);
    used = 0;

    for (i = 0; i < zone->top; i++) {

        if (ngx_snorky_load(&zone->slots[i].state) != NGX_SNORKY_SLOT_LIVE) {
            continue;
        }

        cursor = ngx_snorky_load(&zone->slots[i].cursor);

        if (cursor < head && head - cursor > used) {
            used = head - cursor;
        }
    }

    return ngx_sprintf(p, "\"zone\":{\"size\":%uL,\"free\":%uz,"
                          "\"records\":%uL,\"waiting\":%uL,"
                          "\"locked_by\":%P},"
                          "\"log\":{\"size\":%uL,\"used\":%uL,"
                          "\"position\":%uL},",
                       zone->size, ngx_snorky_store_room(&zone->store),
                       ngx_snorky_load(&zone->store.count),
                       ngx_snorky_load(&zone->store.waiting),
                       ngx_snorky_zone_holder(zone),
                       zone->log.size, used, head);
}


static u_char *
ngx_snorky_status_worker(u_char *p, ngx_snorky_zone_t *zone, ngx_uint_t n)
{
    uint64_t            head, cursor;
    ngx_snorky_slot_t  *slot;

    slot = &zone->slots[n];

    cursor = ngx_snorky_load(&slot->cursor);
    head = ngx_snorky_load(&zone->log.head);

    p = ngx_sprintf(p, "{\"slot\":%ui,\"pid\":%uL,\"generation\":%uL,"
                       "\"state\":\"%s\",\"quitting\":%s,\"lag\":%uL,",
                    n, slot->pid, slot->generation,
                    (slot->state == NGX_SNORKY_SLOT_LIVE) ? "live" : "lost",
                    slot->quitting ? "true" : "false", head - cursor);

    p = ngx_snorky_status_stats(p, &slot->stats);

    *p++ = '}';

    return p;
}


static u_char *
ngx_snorky_status_stats(u_char *p, ngx_snorky_stats_t *stats)
{
    ngx_uint_t                  i;
    ngx_snorky_status_field_t  *field;

    for (i = 0; i < NGX_SNORKY_STATUS_FIELDS; i++) {
        field = &ngx_snorky_status_fields[i];

        p = ngx_sprintf(p, "%s\"%s\":%uL", i ? "," : "", field->name,
                        *(uint64_t *) ((u_char *) stats + field->offset));
    }

    return p;
}


/*
 * Counters never fall when a worker ends: its figures move to "ended" under
 * the mutex, if that can be had.  Gauges are of those who live.
 */

static void
ngx_snorky_status_total(ngx_snorky_zone_t *zone, ngx_snorky_stats_t *total)
{
    ngx_uint_t          i, locked;
    ngx_snorky_slot_t  *slot;

    locked = ngx_snorky_zone_lock(zone, 0);

    *total = zone->ended;

    for (i = 0; i < zone->top; i++) {
        slot = &zone->slots[i];

        if (slot->state != NGX_SNORKY_SLOT_FREE) {
            ngx_snorky_stats_add(total, &slot->stats,
                                 slot->state == NGX_SNORKY_SLOT_LIVE);
        }
    }

    if (locked) {
        ngx_snorky_zone_unlock(zone);
    }
}
