
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The service that every registry has, and that has no name: it sends back
 * what it gets, so that a client knows that its link is alive.  A page has
 * nothing else, since it does not see the pings of a WebSocket.
 */


#ifndef _NGX_SNORKY_PROBE_H_INCLUDED_
#define _NGX_SNORKY_PROBE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_service.h"


extern ngx_snorky_service_t  ngx_snorky_probe;


#endif /* _NGX_SNORKY_PROBE_H_INCLUDED_ */
