
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the pings.  Called by the websocket's life, by what is read, and by
 * the timeouts.
 */


#include "ngx_snorky_ws_silence.h"
#include "ngx_snorky_ws_end.h"
#include "ngx_snorky_ws_in.h"
#include "ngx_snorky_ws_out.h"


static ngx_int_t ngx_snorky_ws_silence_lasts(ngx_snorky_ws_t *ws);


void
ngx_snorky_ws_silence_begin(ngx_snorky_ws_t *ws)
{
    if (ws->conf->ping_interval) {
        ngx_snorky_timeout_set(&ws->timeout, ws->conf->silence);
    }
}


void
ngx_snorky_ws_silence_break(ngx_snorky_ws_t *ws)
{
    if (ws->seen == ngx_current_msec && !ws->pinged) {
        return;
    }

    ws->seen = ngx_current_msec;
    ws->pinged = 0;

    if (ws->state == NGX_SNORKY_WS_OPEN && ws->conf->ping_interval) {
        ngx_snorky_timeout_set(&ws->timeout, ws->conf->silence);
    }
}


void
ngx_snorky_ws_silence_handler(ngx_snorky_timeout_t *timeout)
{
    ngx_int_t         rc;
    ngx_snorky_ws_t  *ws;

    ws = (ngx_snorky_ws_t *) ((u_char *) timeout
                              - offsetof(ngx_snorky_ws_t, timeout));

    if (ws->state == NGX_SNORKY_WS_OPEN) {
        rc = ngx_snorky_ws_silence_lasts(ws);

        if (rc != NGX_OK) {
            ngx_snorky_ws_end_outside(ws, rc);
        }

        return;
    }

    if (ws->state == NGX_SNORKY_WS_LINGERING) {
        ngx_snorky_ws_end_free(ws);
        return;
    }

    /* the closing handshake takes too long */

    (void) ngx_snorky_output_flush(&ws->output);

    ngx_snorky_ws_end_outside(ws, NGX_DONE);
}


/*
 * Nothing has come for the time of a ping's interval, or of its answer.
 * NGX_OK, or NGX_ERROR: no memory.
 */

static ngx_int_t
ngx_snorky_ws_silence_lasts(ngx_snorky_ws_t *ws)
{
    ngx_msec_t              silent;
    ngx_snorky_loc_conf_t  *conf;

    conf = ws->conf;
    silent = ngx_current_msec - ws->seen;

    if (ngx_snorky_ws_in_paused(ws)) {

        /* it can't be seen: we do not read */

        if (ws->waits
            || silent < conf->ping_interval + conf->ping_timeout)
        {
            ngx_snorky_timeout_set(&ws->timeout, conf->pong);
            return NGX_OK;
        }

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_TRY_AGAIN_LATER, "too slow");
        return NGX_OK;
    }

    if (ws->pinged) {
        ngx_log_error(NGX_LOG_INFO, ngx_snorky_ws_connection(ws)->log,
                      0, "client did not answer a ping");

        ngx_snorky_ws_count(ws,
                            &ngx_snorky_ws_stats(ws)->closed_timeout);

        ngx_snorky_session_close(&ws->peer.session,
                                 NGX_SNORKY_WS_INTERNAL_ERROR, "ping timeout");
        return NGX_OK;
    }

    if (silent < conf->ping_interval) {
        ngx_snorky_timeout_set(&ws->timeout, conf->silence);
        return NGX_OK;
    }

    ws->pinged = 1;

    ngx_snorky_timeout_set(&ws->timeout, conf->pong);

    return ngx_snorky_ws_out_msg(ws, ws->worker->ping, NGX_SNORKY_WS_PING, 1);
}
