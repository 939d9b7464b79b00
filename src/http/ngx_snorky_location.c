
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what a location with one of our handlers needs to be complete.  Called
 * when the configuration is merged.
 */


#include "ngx_snorky_location.h"
#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_websocket.h"


/* "if" and "limit_except" are configurations of the same location */

void
ngx_snorky_location_inherit(ngx_conf_t *cf, ngx_snorky_loc_conf_t *prev,
    ngx_snorky_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!clcf->noname || clcf->handler || prev->handler == NULL) {
        return;
    }

    clcf->handler = prev->handler;

    conf->handler = prev->handler;
    conf->websocket = prev->websocket;
    conf->sockjs_used = prev->sockjs_used;
    conf->sockjs.prefix = prev->sockjs.prefix;
    conf->echo = prev->echo;
    conf->go_away = prev->go_away;
    conf->backend = prev->backend;
    conf->registry_name = prev->registry_name;
}


/* all registries are known by now */

char *
ngx_snorky_location_init(ngx_conf_t *cf, ngx_snorky_loc_conf_t *conf)
{
    ngx_snorky_main_conf_t    *smcf;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_snorky_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    if (clcf->handler != conf->handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" has both a snorky handler "
                      "and another one", &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (conf->registry_name.len == 0) {
        ngx_str_set(&conf->registry_name, NGX_SNORKY_DEFAULT_REGISTRY);
    }

    conf->registry = ngx_snorky_registry_find(&smcf->registries,
                                              &conf->registry_name);

    if (conf->registry == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown \"snorky_registry\" \"%V\"",
                      &conf->registry_name);
        return NGX_CONF_ERROR;
    }

    if (!conf->echo && !conf->go_away) {
        conf->limits.server = cscf->ctx;
    }

    if (conf->websocket && conf->registry->server == NULL) {
        conf->registry->server = conf->limits.server;
    }

    if (conf->backend && conf->backend_keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"snorky_backend\" needs a \"snorky_backend_key\"");
        return NGX_CONF_ERROR;
    }

    if (conf->backend) {

        /* the whole body is needed in memory: a file would be a detour */

        clcf->client_body_buffer_size = ngx_max(clcf->client_body_buffer_size,
                                                conf->max_message_size);
    }

    if (conf->websocket
        && ngx_snorky_websocket_init(cf, smcf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->sockjs_used && ngx_snorky_sockjs_init(cf, smcf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->registry->services.nelts == 0
        && !conf->echo
        && !conf->go_away)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "there is no \"snorky_service\" in registry \"%V\"",
                      &conf->registry_name);
    }

    return NGX_CONF_OK;
}
