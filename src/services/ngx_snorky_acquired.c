
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the matching of deltas to what this worker's clients have acquired, and
 * their delivery.  Called by datasync, and by the core with what the feeds of
 * the models bring.
 */


#include "ngx_snorky_acquired.h"


/* one delta on its way to those whom it is for; each text is built once */

typedef struct {
    ngx_snorky_service_t       *service;
    ngx_snorky_datasync_delta_t delta;
    ngx_str_t                   model;
    ngx_str_t                   new_data;
    ngx_str_t                   old_data;
    ngx_snorky_notice_t        *notices[NGX_SNORKY_MATCHER_UPDATE + 1];
    unsigned                    failed:1;
} ngx_snorky_acquired_run_t;


static ngx_int_t ngx_snorky_acquired_open_room(
    ngx_snorky_acquired_room_t *room, ngx_log_t *log);
static void ngx_snorky_acquired_close_room(ngx_snorky_acquired_room_t *room);
static ngx_int_t ngx_snorky_acquired_own(ngx_snorky_acquired_t *subscription,
    ngx_snorky_acquired_room_t *rooms, ngx_snorky_matcher_item_t *items,
    ngx_uint_t *placed, ngx_log_t *log);
static ngx_snorky_acquired_room_t *ngx_snorky_acquired_room_of(
    ngx_snorky_datasync_conf_t *conf, ngx_snorky_acquired_room_t *rooms,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_acquired_run(ngx_snorky_service_t *service,
    ngx_snorky_matcher_t *matcher, ngx_str_t *text);
static void ngx_snorky_acquired_deliver(void *ctx,
    ngx_snorky_matcher_item_t *item, ngx_snorky_matcher_kind_e kind);
static ngx_snorky_notice_t *ngx_snorky_acquired_notice(
    ngx_snorky_acquired_run_t *run, ngx_snorky_matcher_kind_e kind);


ngx_int_t
ngx_snorky_acquired_place(ngx_snorky_acquired_t *subscription,
    ngx_log_t *log)
{
    ngx_int_t                    rc;
    ngx_str_t                   *filter;
    ngx_uint_t                   i;
    ngx_snorky_acquired_item_t  *item;

    for (i = 0; i < subscription->n; i++) {
        item = &subscription->items[i];
        filter = &subscription->filters[i];

        if (ngx_snorky_acquired_open_room(item->room, log) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_snorky_matcher_add(item->room->matcher, &item->item,
                                    filter->len ? filter : NULL);
        if (rc != NGX_OK) {
            ngx_snorky_acquired_close_room(item->room);
            return rc;
        }

        subscription->placed++;
    }

    return NGX_OK;
}


void
ngx_snorky_acquired_end(ngx_snorky_acquired_t *subscription)
{
    ngx_snorky_acquired_item_t  *item;

    while (subscription->placed) {
        item = &subscription->items[--subscription->placed];

        ngx_snorky_matcher_remove(item->room->matcher, &item->item);
        ngx_snorky_acquired_close_room(item->room);
    }

    ngx_free(subscription);
}


static ngx_int_t
ngx_snorky_acquired_open_room(ngx_snorky_acquired_room_t *room, ngx_log_t *log)
{
    ngx_snorky_datasync_conf_t   *conf;
    ngx_snorky_datasync_model_t  *model;

    if (room->items++) {
        return NGX_OK;
    }

    conf = ngx_snorky_service_conf(room->service);
    model = conf->models->elts;

    room->matcher = ngx_snorky_matcher_create(log);

    if (room->matcher) {
        room->feed = ngx_snorky_feed_open(room->service,
                                          &model[room->index].name, room);
        if (room->feed) {
            return NGX_OK;
        }

        ngx_snorky_matcher_destroy(room->matcher);
        room->matcher = NULL;
    }

    room->items = 0;

    return NGX_ERROR;
}


static void
ngx_snorky_acquired_close_room(ngx_snorky_acquired_room_t *room)
{
    if (--room->items) {
        return;
    }

    ngx_snorky_feed_close(room->feed);
    ngx_snorky_matcher_destroy(room->matcher);

    room->feed = NULL;
    room->matcher = NULL;
}


/* what was kept is for this subscription alone: with matchers of its own */

ngx_int_t
ngx_snorky_acquired_catch_up(ngx_snorky_call_t *call,
    ngx_snorky_acquired_t *subscription,
    ngx_snorky_listed_t *kept, ngx_uint_t n)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i, placed;
    ngx_snorky_service_t        *service;
    ngx_snorky_matcher_item_t   *items;
    ngx_snorky_acquired_room_t  *rooms, *room;
    ngx_snorky_datasync_conf_t  *conf;

    if (n == 0) {
        return NGX_OK;
    }

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);

    rooms = ngx_pcalloc(ngx_snorky_call_pool(call),
                conf->models->nelts * sizeof(ngx_snorky_acquired_room_t));
    items = ngx_pcalloc(ngx_snorky_call_pool(call),
                        subscription->n * sizeof(ngx_snorky_matcher_item_t));

    if (rooms == NULL || items == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_acquired_own(subscription, rooms, items,
                                              &placed,
                                              ngx_snorky_service_log(service));

    for (i = 0; rc == NGX_OK && i < n; i++) {

        room = ngx_snorky_acquired_room_of(conf, rooms,
                                                        &kept[i].value);

        if (room && room->matcher) {
            rc = ngx_snorky_acquired_run(service, room->matcher,
                                                      &kept[i].value);
        }
    }

    while (placed--) {
        room = &rooms[subscription->items[placed].room->index];
        ngx_snorky_matcher_remove(room->matcher, &items[placed]);
    }

    for (i = 0; i < conf->models->nelts; i++) {
        if (rooms[i].matcher) {
            ngx_snorky_matcher_destroy(rooms[i].matcher);
        }
    }

    return rc;
}


/* puts copies of the items into matchers of these rooms */

static ngx_int_t
ngx_snorky_acquired_own(
    ngx_snorky_acquired_t *subscription,
    ngx_snorky_acquired_room_t *rooms, ngx_snorky_matcher_item_t *items,
    ngx_uint_t *placed, ngx_log_t *log)
{
    ngx_int_t                    rc;
    ngx_str_t                   *filter;
    ngx_uint_t                   i;
    ngx_snorky_acquired_room_t  *room;

    for (i = 0; i < subscription->n; i++) {
        room = &rooms[subscription->items[i].room->index];
        filter = &subscription->filters[i];

        *placed = i;

        if (room->matcher == NULL) {
            room->matcher = ngx_snorky_matcher_create(log);

            if (room->matcher == NULL) {
                return NGX_ERROR;
            }
        }

        items[i].data = subscription;

        rc = ngx_snorky_matcher_add(room->matcher, &items[i],
                                    filter->len ? filter : NULL);
        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    *placed = i;

    return NGX_OK;
}


/* a delta that is kept names its model; NULL: it is not known any more */

static ngx_snorky_acquired_room_t *
ngx_snorky_acquired_room_of(ngx_snorky_datasync_conf_t *conf,
    ngx_snorky_acquired_room_t *rooms, ngx_str_t *text)
{
    ngx_int_t                    index;
    ngx_str_t                    name;
    ngx_snorky_datasync_delta_t  delta;

    ngx_memcpy(&delta, text->data, sizeof(ngx_snorky_datasync_delta_t));

    name.data = text->data + sizeof(ngx_snorky_datasync_delta_t);
    name.len = delta.name;

    index = ngx_snorky_datasync_find_model(conf, &name);

    return (index == NGX_DECLINED) ? NULL : &rooms[index];
}


/* a client that is too slow leaves during the run, and is taken out after */

ngx_int_t
ngx_snorky_acquired_heard(ngx_snorky_service_t *service, void *data,
    ngx_str_t *text)
{
    ngx_int_t                     rc;
    ngx_queue_t                  *q;
    ngx_snorky_acquired_room_t   *room;
    ngx_snorky_datasync_state_t  *state;

    room = data;
    state = ngx_snorky_service_state(service);

    state->running = 1;

    rc = ngx_snorky_acquired_run(service, room->matcher, text);

    state->running = 0;

    while (!ngx_queue_empty(&state->ended)) {
        q = ngx_queue_head(&state->ended);

        ngx_queue_remove(q);
        ngx_snorky_acquired_end(
               ngx_queue_data(q, ngx_snorky_acquired_t, queue));
    }

    return rc;
}


static ngx_int_t
ngx_snorky_acquired_run(ngx_snorky_service_t *service,
    ngx_snorky_matcher_t *matcher, ngx_str_t *text)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_snorky_acquired_run_t  run;

    ngx_memzero(&run, sizeof(ngx_snorky_acquired_run_t));

    run.service = service;

    p = text->data;

    ngx_memcpy(&run.delta, p, sizeof(ngx_snorky_datasync_delta_t));
    p += sizeof(ngx_snorky_datasync_delta_t) + run.delta.name;

    run.model.data = p;
    run.model.len = run.delta.model;
    p += run.delta.model;

    run.new_data.data = p;
    run.new_data.len = run.delta.new_data;
    p += run.delta.new_data;

    run.old_data.data = p;
    run.old_data.len = run.delta.old_data;

    rc = ngx_snorky_matcher_run(matcher, run.delta.kind, &run.new_data,
                                &run.old_data, ngx_snorky_acquired_deliver,
                                &run);

    for (i = 0; i <= NGX_SNORKY_MATCHER_UPDATE; i++) {
        if (run.notices[i]) {
            ngx_snorky_notice_free(run.notices[i]);
        }
    }

    return (rc == NGX_OK && !run.failed) ? NGX_OK : NGX_ERROR;
}


static void
ngx_snorky_acquired_deliver(void *ctx, ngx_snorky_matcher_item_t *item,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_snorky_acquired_run_t  *run;
    ngx_snorky_acquired_t      *subscription;

    run = ctx;
    subscription = item->data;

    if (!subscription->active) {
        return;
    }

    if (run->notices[kind] == NULL) {
        run->notices[kind] = ngx_snorky_acquired_notice(run, kind);

        if (run->notices[kind] == NULL) {
            run->failed = 1;
            return;
        }
    }

    ngx_snorky_notice_send(run->notices[kind], subscription->session);
}


static ngx_snorky_notice_t *
ngx_snorky_acquired_notice(ngx_snorky_acquired_run_t *run,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_str_t   parts[8];
    ngx_uint_t  n;

    ngx_str_set(&parts[0], "{\"type\":\"delta\",\"delta\":{\"type\":");

    n = 4;
    parts[2] = run->model;

    switch (kind) {

    case NGX_SNORKY_MATCHER_INSERT:
        ngx_str_set(&parts[1], "\"insert\",\"model\":");
        ngx_str_set(&parts[3], ",\"data\":");
        parts[n++] = run->new_data;
        break;

    case NGX_SNORKY_MATCHER_DELETE:
        ngx_str_set(&parts[1], "\"delete\",\"model\":");
        ngx_str_set(&parts[3], ",\"data\":");
        parts[n++] = run->old_data;
        break;

    default: /* NGX_SNORKY_MATCHER_UPDATE */
        ngx_str_set(&parts[1], "\"update\",\"model\":");
        ngx_str_set(&parts[3], ",\"newData\":");
        parts[n++] = run->new_data;
        ngx_str_set(&parts[n], ",\"oldData\":");
        n++;
        parts[n++] = run->old_data;
        break;
    }

    ngx_str_set(&parts[n], "}}");

    return ngx_snorky_notice_create(run->service, parts, n + 1);
}
