
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the wrapped handler of the worker's channel; called by the broker.
 */


#include "ngx_snorky_bell.h"

#include <ngx_channel.h>


/* far from nginx's commands (ngx_process_cycle.h), which end at 7 */
#define NGX_SNORKY_BELL_COMMAND  0x736e726b


static void ngx_snorky_bell_handler(ngx_event_t *rev);


/*
 * nginx keeps the channel's connection to itself: it is found by its
 * descriptor.  Its "data" is unused, and holds the bell.
 */

ngx_int_t
ngx_snorky_bell_open(ngx_snorky_bell_t *bell, ngx_cycle_t *cycle)
{
    ngx_uint_t         i;
    ngx_connection_t  *c;

    if (ngx_process != NGX_PROCESS_WORKER) {
        return NGX_DECLINED;
    }

    c = cycle->connections;

    for (i = 0; i < cycle->connection_n; i++) {

        if (c[i].fd == ngx_channel && c[i].read && c[i].read->channel) {

            bell->connection = &c[i];
            bell->channel_handler = c[i].read->handler;

            c[i].data = bell;
            c[i].idle = 1;
            c[i].read->handler = ngx_snorky_bell_handler;

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


void
ngx_snorky_bell_close(ngx_snorky_bell_t *bell)
{
    ngx_connection_t  *c;

    c = bell->connection;

    if (c == NULL) {
        return;
    }

    c->idle = 0;
    c->data = NULL;
    c->read->handler = bell->channel_handler;

    bell->connection = NULL;
}


static void
ngx_snorky_bell_handler(ngx_event_t *rev)
{
    ngx_connection_t   *c;
    ngx_snorky_bell_t  *bell;

    c = rev->data;
    bell = c->data;

    if (c->close) {
        c->close = 0;
        bell->handlers->quit(bell->data);
        return;
    }

    bell->channel_handler(rev);

    if (c->fd == (ngx_socket_t) -1) {
        /* the master is gone, and nginx has closed the channel */
        bell->connection = NULL;
    }

    bell->handlers->rung(bell->data);
}


/*
 * Not by ngx_write_channel(): that a worker has just gone is no alert here.
 * The message is smaller than any socket buffer, so it goes whole or not.
 */

ngx_int_t
ngx_snorky_bell_ring(ngx_uint_t slot)
{
    ssize_t        n;
    ngx_socket_t   fd;
    ngx_channel_t  ch;

    fd = ngx_processes[slot].channel[0];

    if (fd == (ngx_socket_t) -1 || ngx_processes[slot].pid <= 0) {
        return NGX_ERROR;
    }

    ngx_memzero(&ch, sizeof(ngx_channel_t));

    ch.command = NGX_SNORKY_BELL_COMMAND;
    ch.pid = ngx_pid;
    ch.slot = ngx_process_slot;
    ch.fd = -1;

    do {
        n = send(fd, &ch, sizeof(ngx_channel_t), MSG_DONTWAIT|MSG_NOSIGNAL);
    } while (n == -1 && ngx_errno == NGX_EINTR);

    return (n == sizeof(ngx_channel_t)) ? NGX_OK : NGX_ERROR;
}
