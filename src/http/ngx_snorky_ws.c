
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the counting of ends; called by whoever knows the reason.
 */


#include "ngx_snorky_ws.h"


/* the first reason is the one that counts */

void
ngx_snorky_ws_count(ngx_snorky_ws_t *ws, uint64_t *counter)
{
    if (!ws->counted) {
        ws->counted = 1;
        (*counter)++;
    }
}


uint64_t *
ngx_snorky_ws_counter(ngx_snorky_stats_t *stats, ngx_uint_t code)
{
    switch (code) {

    case NGX_SNORKY_WS_PROTOCOL_ERROR:
        return &stats->closed_protocol;

    case NGX_SNORKY_WS_INVALID_PAYLOAD:
        return &stats->closed_invalid;

    case NGX_SNORKY_WS_TOO_BIG:
        return &stats->closed_too_big;

    case NGX_SNORKY_WS_TRY_AGAIN_LATER:
        return &stats->closed_slow;

    case NGX_SNORKY_WS_SERVICE_RESTART:
        return &stats->closed_restart;

    default:
        return &stats->closed_other;
    }
}
