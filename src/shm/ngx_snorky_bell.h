
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The bell wakes another worker.  It rings over the socket that nginx gives
 * every worker, of old and new generations, to every other: a message with a
 * command that nginx's own handler passes over.  A bell may be lost while a
 * worker is being replaced.
 *
 * Over the same connection nginx tells that the worker is asked to quit: it
 * calls the read handlers of idle connections, and this always is one.
 */


#ifndef _NGX_SNORKY_BELL_H_INCLUDED_
#define _NGX_SNORKY_BELL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct {
    void                    (*rung)(void *data);
    void                    (*quit)(void *data);
} ngx_snorky_bell_handlers_t;


typedef struct {
    ngx_snorky_bell_handlers_t   *handlers;
    void                         *data;
    ngx_connection_t             *connection;
    ngx_event_handler_pt          channel_handler;  /* nginx's own */
} ngx_snorky_bell_t;


/*
 * Listens on this worker's channel.  To be called from the event loop, since
 * nginx opens the channel after the modules' init_process.
 *
 *   NGX_OK, or NGX_DECLINED: there is no channel (a single process)
 */

ngx_int_t ngx_snorky_bell_open(ngx_snorky_bell_t *bell, ngx_cycle_t *cycle);

/* leaves the channel to nginx alone */
void ngx_snorky_bell_close(ngx_snorky_bell_t *bell);

/*
 * Wakes the worker at this place of nginx's table of processes.
 *
 *   NGX_OK, or NGX_ERROR: not rung (the worker is gone, or has not been
 *   made known to this one yet, or has much to read already)
 */

ngx_int_t ngx_snorky_bell_ring(ngx_uint_t slot);


#endif /* _NGX_SNORKY_BELL_H_INCLUDED_ */
