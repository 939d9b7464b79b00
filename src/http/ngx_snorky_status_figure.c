
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the names under which figures are told, and their sums.  What workers
 * write in their slots is read as they write it, so that figures of one moment
 * may differ by what happens in it.  Called by the status.
 */


#include "ngx_snorky_status_figure.h"


#define ngx_snorky_status_zone_field(name, metric, help)                      \
    { #name, offsetof(ngx_snorky_status_figures_t, zone_##name), metric, "",  \
      help }

#define ngx_snorky_status_log_field(name, metric, help)                       \
    { #name, offsetof(ngx_snorky_status_figures_t, log_##name), metric, "",   \
      help }

#define ngx_snorky_status_field(name, metric, help)                           \
    { #name, offsetof(ngx_snorky_stats_t, name), metric, "", help }

#define ngx_snorky_status_part(name, metric, label, help)                     \
    { #name, offsetof(ngx_snorky_stats_t, name), metric, label, help }

#define ngx_snorky_status_worker_field(name, metric, help)                    \
    { #name, offsetof(ngx_snorky_status_worker_t, name), metric, "", help }

#define ngx_snorky_status_null_field  { NULL, 0, NULL, NULL, NULL }


ngx_snorky_status_field_t  ngx_snorky_status_zone[] = {

    ngx_snorky_status_zone_field(size, "zone_size_bytes",
        "Size of the shared memory zone."),

    ngx_snorky_status_zone_field(free, "zone_free_bytes",
        "Whole pages of the zone that are left for records."),

    ngx_snorky_status_zone_field(records, "zone_records",
        "Names, chat members, cursors and DataSync tokens in the zone."),

    ngx_snorky_status_zone_field(waiting, "zone_waiting_tokens",
        "DataSync tokens that nobody has acquired yet."),

    /* who it is cannot be added up or plotted */

    ngx_snorky_status_zone_field(locked_by, NULL, NULL),

    ngx_snorky_status_null_field
};


ngx_snorky_status_field_t  ngx_snorky_status_log[] = {

    ngx_snorky_status_log_field(size, "log_size_bytes",
        "Size of the log of publications."),

    ngx_snorky_status_log_field(used, "log_used_bytes",
        "What some live worker has not read of the log."),

    ngx_snorky_status_log_field(position, "log_written_bytes_total",
        "Bytes ever written to the log, with padding."),

    ngx_snorky_status_null_field
};


ngx_snorky_status_field_t  ngx_snorky_status_stats[] = {

    ngx_snorky_status_field(sessions, "sessions",
        "Clients, of all transports that stay."),

    ngx_snorky_status_part(sessions_websocket, "transport_sessions",
        "transport=\"websocket\"",
        "Clients of one transport, with those that are just closing."),
    ngx_snorky_status_part(sessions_echo, "transport_sessions",
        "transport=\"echo\"", NULL),
    ngx_snorky_status_part(sessions_sockjs, "transport_sessions",
        "transport=\"sockjs\"", NULL),

    ngx_snorky_status_field(subscriptions, "subscriptions",
        "Subscriptions of all clients."),

    ngx_snorky_status_field(channels, "channels",
        "Channels with subscribers; one counts for each worker it is in."),

    ngx_snorky_status_field(waiting, "waiting_calls",
        "Calls that wait for room in the log."),

    ngx_snorky_status_field(calls, "pending_calls",
        "Calls that wait for an application's or a service's answer."),

    ngx_snorky_status_field(events, "pending_events",
        "Events that the application has not taken yet."),

    ngx_snorky_status_field(connections, "connections_total",
        "Clients that came."),

    ngx_snorky_status_field(messages_in, "messages_received_total",
        "Messages from clients and backends, also discarded ones."),

    ngx_snorky_status_field(messages_out, "messages_sent_total",
        "Messages to clients and backends, when they are queued."),

    ngx_snorky_status_field(bytes_in, "received_bytes_total",
        "Payload of the messages from clients and backends."),

    ngx_snorky_status_field(bytes_out, "sent_bytes_total",
        "Payload of the messages to clients and backends."),

    ngx_snorky_status_field(compressions, "compressions_total",
        "Messages that were compressed, once for all their receivers."),

    ngx_snorky_status_field(bytes_saved, "compression_saved_bytes_total",
        "Payload that did not have to be sent thanks to compression."),

    ngx_snorky_status_field(publications, "publications_total",
        "Publications appended to the log."),

    ngx_snorky_status_field(deliveries, "deliveries_total",
        "Publications times their subscribers."),

    ngx_snorky_status_field(backend_requests, "backend_requests_total",
        "Requests of backends with a good key."),

    ngx_snorky_status_field(malformed, "malformed_messages_total",
        "Messages that were discarded, or answered with 400 or 404."),

    ngx_snorky_status_field(errors, "call_errors_total",
        "Calls that were answered with an error."),

    ngx_snorky_status_field(waits, "log_waits_total",
        "Calls that had to wait for room in the log."),

    ngx_snorky_status_field(overloaded, "calls_overloaded_total",
        "Calls that found no room in the log or the zone."),

    ngx_snorky_status_field(asks, "asks_total",
        "Questions to the application: calls, authorizations, events."),

    ngx_snorky_status_field(asks_failed, "asks_failed_total",
        "Questions that the application did not answer, or with 5xx."),

    ngx_snorky_status_field(calls_deferred, "calls_deferred_total",
        "Calls that were not answered at once."),

    ngx_snorky_status_field(calls_rejected, "calls_rejected_total",
        "Calls that were refused for the sake of snorky_max_calls."),

    ngx_snorky_status_field(calls_cancelled, "calls_cancelled_total",
        "Calls whose client left before the answer came."),

    ngx_snorky_status_field(calls_timed_out, "calls_timed_out_total",
        "Calls whose time passed before the answer came."),

    ngx_snorky_status_field(authorized, "authorizations_allowed_total",
        "Calls that a policy has allowed."),

    ngx_snorky_status_field(authorized_cached, "authorizations_cached_total",
        "Calls that a policy has allowed or refused without asking again."),

    ngx_snorky_status_field(unauthorized, "authorizations_refused_total",
        "Calls that a policy has refused, or could not decide."),

    ngx_snorky_status_field(events_sent, "events_sent_total",
        "Events that the application has taken."),

    ngx_snorky_status_field(events_retried, "event_batches_retried_total",
        "Batches of events that were sent again."),

    ngx_snorky_status_field(events_dropped, "events_dropped_total",
        "Events for which the queue had no room, or the worker no time."),

    ngx_snorky_status_field(letters, "letters_total",
        "What SockJS sessions and requests of other workers said by the log."),

    ngx_snorky_status_field(bells_sent, "bells_sent_total",
        "Signals from worker to worker that were sent."),

    ngx_snorky_status_field(bells_received, "bells_received_total",
        "Signals from worker to worker that were received."),

    ngx_snorky_status_field(revoked, "tokens_revoked_total",
        "DataSync tokens that were given up, too much was kept for them."),

    ngx_snorky_status_field(drops, "messages_dropped_total",
        "Messages queued for a client that was too slow, or gone."),

    ngx_snorky_status_part(rejected_origin, "connections_rejected_total",
        "reason=\"origin\"",
        "Clients that were refused before they had a session."),
    ngx_snorky_status_part(rejected_handshake, "connections_rejected_total",
        "reason=\"handshake\"", NULL),
    ngx_snorky_status_part(rejected_limit, "connections_rejected_total",
        "reason=\"limit\"", NULL),

    ngx_snorky_status_part(closed_normal, "connections_closed_total",
        "reason=\"normal\"", "Clients that have gone, or were sent away."),
    ngx_snorky_status_part(closed_lost, "connections_closed_total",
        "reason=\"lost\"", NULL),
    ngx_snorky_status_part(closed_protocol, "connections_closed_total",
        "reason=\"protocol\"", NULL),
    ngx_snorky_status_part(closed_invalid, "connections_closed_total",
        "reason=\"invalid\"", NULL),
    ngx_snorky_status_part(closed_too_big, "connections_closed_total",
        "reason=\"too_big\"", NULL),
    ngx_snorky_status_part(closed_slow, "connections_closed_total",
        "reason=\"slow\"", NULL),
    ngx_snorky_status_part(closed_timeout, "connections_closed_total",
        "reason=\"timeout\"", NULL),
    ngx_snorky_status_part(closed_restart, "connections_closed_total",
        "reason=\"restart\"", NULL),
    ngx_snorky_status_part(closed_other, "connections_closed_total",
        "reason=\"other\"", NULL),

    ngx_snorky_status_null_field
};


/* the rest of what a worker counts is told as a sum only: see the docs */

ngx_snorky_status_field_t  ngx_snorky_status_worker[] = {

    ngx_snorky_status_worker_field(live, "worker_up",
        "Whether the worker in the slot lives: 0, the others gave it up."),

    ngx_snorky_status_worker_field(quitting, "worker_quitting",
        "Whether the worker drains."),

    ngx_snorky_status_worker_field(lag, "worker_log_lag_bytes",
        "What the worker has not read of the log."),

    ngx_snorky_status_worker_field(stats.sessions, "worker_sessions",
        "Clients of the worker."),

    ngx_snorky_status_worker_field(stats.publications,
        "worker_publications_total",
        "Publications that the worker appended to the log."),

    ngx_snorky_status_worker_field(stats.deliveries,
        "worker_deliveries_total",
        "Publications times their subscribers in the worker."),

    ngx_snorky_status_null_field
};


ngx_int_t
ngx_snorky_status_figure_read(ngx_pool_t *pool, ngx_snorky_zone_t *zone,
    ngx_snorky_status_figures_t *figures)
{
    uint64_t                     cursor;
    ngx_uint_t                   i, top, locked;
    ngx_snorky_slot_t           *slot;
    ngx_snorky_status_worker_t  *worker;

    /* it may grow meanwhile; who comes is told the next time */

    top = zone->top;

    worker = ngx_palloc(pool, top * sizeof(ngx_snorky_status_worker_t));
    if (worker == NULL) {
        return NGX_ERROR;
    }

    figures->workers = worker;
    figures->log_used = 0;

    /*
     * Counters never fall when a worker ends: its figures move to "ended"
     * under the mutex, if that can be had.  Gauges are of those who live.
     */

    locked = ngx_snorky_zone_lock(zone, 0);

    figures->total = zone->ended;

    for (i = 0; i < top; i++) {
        slot = &zone->slots[i];

        if (slot->state == NGX_SNORKY_SLOT_FREE) {
            continue;
        }

        worker->slot = i;
        worker->pid = slot->pid;
        worker->generation = slot->generation;
        worker->live = (slot->state == NGX_SNORKY_SLOT_LIVE);
        worker->quitting = (slot->quitting != 0);

        /* the cursor first: it never passes a head that is read behind it */

        cursor = ngx_snorky_load(&slot->cursor);
        worker->lag = ngx_snorky_load(&zone->log.head) - cursor;

        if (worker->live && worker->lag > figures->log_used) {
            figures->log_used = worker->lag;
        }

        worker->stats = slot->stats;

        ngx_snorky_stats_add(&figures->total, &worker->stats, worker->live);

        worker++;
    }

    if (locked) {
        ngx_snorky_zone_unlock(zone);
    }

    figures->nworkers = worker - figures->workers;

    figures->zone_size = zone->size;
    figures->zone_free = ngx_snorky_store_room(&zone->store);
    figures->zone_records = ngx_snorky_load(&zone->store.count);
    figures->zone_waiting = ngx_snorky_load(&zone->store.waiting);
    figures->zone_locked_by = ngx_snorky_zone_holder(zone);

    figures->log_size = zone->log.size;
    figures->log_position = ngx_snorky_load(&zone->log.head);

    return NGX_OK;
}
