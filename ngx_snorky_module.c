
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The module as nginx sees it: directives, contexts, process hooks, and the
 * list of service types.  What they do stands in src/.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_snorky_chat.h"
#include "ngx_snorky_conf.h"
#include "ngx_snorky_cursors.h"
#include "ngx_snorky_datasync.h"
#include "ngx_snorky_directive.h"
#include "ngx_snorky_directive_event.h"
#include "ngx_snorky_directive_policy.h"
#include "ngx_snorky_echo.h"
#include "ngx_snorky_inner.h"
#include "ngx_snorky_inner_filter.h"
#include "ngx_snorky_location.h"
#include "ngx_snorky_messaging.h"
#include "ngx_snorky_peer.h"
#include "ngx_snorky_policy_conf.h"
#include "ngx_snorky_pubsub.h"
#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_type.h"
#include "ngx_snorky_upstream.h"
#include "ngx_snorky_websocket.h"
#include "ngx_snorky_zone.h"


/* bytes that are read from a socket at once; one such buffer per worker */
#define NGX_SNORKY_READ_BUFFER  (64 * 1024)

#define NGX_SNORKY_ZONE_SIZE    (16 * 1024 * 1024)


static ngx_int_t ngx_snorky_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_snorky_postconfiguration(ngx_conf_t *cf);
static void *ngx_snorky_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_snorky_add_types(ngx_conf_t *cf, ngx_array_t *types);
static char *ngx_snorky_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_snorky_create_loc_conf(ngx_conf_t *cf);
static char *ngx_snorky_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_snorky_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_snorky_init_process(ngx_cycle_t *cycle);
static void ngx_snorky_exit_process(ngx_cycle_t *cycle);


/* "snorky_service TYPE NAME": the types that are always there */

static ngx_snorky_service_type_t  *ngx_snorky_service_types[] = {
    &ngx_snorky_pubsub,
    &ngx_snorky_pubsub_backend,
    &ngx_snorky_messaging,
    &ngx_snorky_chat,
    &ngx_snorky_cursors,
    &ngx_snorky_datasync,
    &ngx_snorky_datasync_backend,
    &ngx_snorky_upstream,
    &ngx_snorky_upstream_backend,
    &ngx_snorky_echo,
    NULL
};


static ngx_conf_post_t  ngx_snorky_post_number = {
    ngx_snorky_directive_check_number
};


static ngx_conf_post_t  ngx_snorky_post_size = {
    ngx_snorky_directive_check_size
};


static ngx_conf_post_t  ngx_snorky_post_time = {
    ngx_snorky_directive_check_time
};


static ngx_conf_post_t  ngx_snorky_post_window = {
    ngx_snorky_directive_check_window
};


static ngx_conf_post_t  ngx_snorky_post_worker_timeout = {
    ngx_snorky_directive_check_worker_timeout
};


static ngx_command_t  ngx_snorky_commands[] = {

    { ngx_string("snorky_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_snorky_directive_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_registry"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_snorky_directive_registry,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_service"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_snorky_directive_service,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_dealer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_snorky_directive_dealer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_authorize"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_snorky_directive_policy,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_event"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_snorky_directive_event,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_event_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_snorky_main_conf_t, hub.event_queue),
      &ngx_snorky_post_size },

    { ngx_string("snorky_event_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_snorky_main_conf_t, hub.event_timeout),
      &ngx_snorky_post_time },

    { ngx_string("snorky_worker_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_snorky_main_conf_t, hub.broker.worker_timeout),
      &ngx_snorky_post_worker_timeout },

    { ngx_string("snorky_drain"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_snorky_main_conf_t, hub.drain),
      NULL },

    { ngx_string("snorky_websocket"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_snorky_directive_websocket,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_websocket_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_snorky_directive_websocket_echo,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_websocket_protocol"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_snorky_directive_protocols,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_deflate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_snorky_directive_deflate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_sockjs"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_snorky_directive_sockjs,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_sockjs_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_snorky_directive_sockjs_echo,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_sockjs_close"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_snorky_directive_sockjs_close,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_sockjs_websocket"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.websocket),
      NULL },

    { ngx_string("snorky_sockjs_cookie"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.cookie),
      NULL },

    { ngx_string("snorky_sockjs_response_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.response_limit),
      &ngx_snorky_post_size },

    { ngx_string("snorky_sockjs_heartbeat"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.heartbeat),
      &ngx_snorky_post_time },

    { ngx_string("snorky_sockjs_disconnect_delay"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.disconnect_delay),
      &ngx_snorky_post_time },

    { ngx_string("snorky_sockjs_sessions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.sessions),
      &ngx_snorky_post_number },

    { ngx_string("snorky_sockjs_url"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, sockjs.url),
      NULL },

    { ngx_string("snorky_backend"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_snorky_directive_backend,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_backend_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_snorky_directive_backend_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_snorky_directive_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_origins"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_snorky_directive_origins,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_identity"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, identity),
      NULL },

    { ngx_string("snorky_max_connections"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_snorky_directive_max_connections,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("snorky_max_message_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, max_message_size),
      &ngx_snorky_post_size },

    { ngx_string("snorky_max_depth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, limits.max_depth),
      &ngx_snorky_post_number },

    { ngx_string("snorky_max_subscriptions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, limits.max_subscriptions),
      &ngx_snorky_post_number },

    { ngx_string("snorky_max_channel_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, limits.max_channel_size),
      &ngx_snorky_post_size },

    { ngx_string("snorky_max_calls"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, limits.max_calls),
      &ngx_snorky_post_number },

    { ngx_string("snorky_publish_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, limits.publish_timeout),
      NULL },

    { ngx_string("snorky_send_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, send_buffer),
      &ngx_snorky_post_size },

    { ngx_string("snorky_ping_interval"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, ping_interval),
      NULL },

    { ngx_string("snorky_ping_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, ping_timeout),
      &ngx_snorky_post_time },

    { ngx_string("snorky_close_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, close_timeout),
      &ngx_snorky_post_time },

    { ngx_string("snorky_batch_window"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, batch_window),
      &ngx_snorky_post_window },

    { ngx_string("snorky_lean"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_snorky_loc_conf_t, lean),
      NULL },

#if (NGX_SNORKY_FAULTS)

    /* "snorky_fault PLACE N [stop]": die or stop there at the N-th append */

    { ngx_string("snorky_fault"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE23,
      ngx_snorky_directive_fault,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

#endif

      ngx_null_command
};


static ngx_http_module_t  ngx_snorky_module_ctx = {
    ngx_snorky_preconfiguration,    /* preconfiguration */
    ngx_snorky_postconfiguration,   /* postconfiguration */

    ngx_snorky_create_main_conf,    /* create main configuration */
    ngx_snorky_init_main_conf,      /* init main configuration */

    NULL,                           /* create server configuration */
    NULL,                           /* merge server configuration */

    ngx_snorky_create_loc_conf,     /* create location configuration */
    ngx_snorky_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_snorky_module = {
    NGX_MODULE_V1,
    &ngx_snorky_module_ctx,         /* module context */
    ngx_snorky_commands,            /* module directives */
    NGX_HTTP_MODULE,                /* module type */
    NULL,                           /* init master */
    ngx_snorky_init_module,         /* init module */
    ngx_snorky_init_process,        /* init process */
    NULL,                           /* init thread */
    NULL,                           /* exit thread */
    ngx_snorky_exit_process,        /* exit process */
    NULL,                           /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_snorky_preconfiguration(ngx_conf_t *cf)
{
    return ngx_snorky_peer_add_variables(cf);
}


static void *
ngx_snorky_create_main_conf(ngx_conf_t *cf)
{
    ngx_str_t                name;
    ngx_snorky_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    smcf->hub.broker.worker_timeout = NGX_CONF_UNSET_MSEC;
    smcf->hub.drain = NGX_CONF_UNSET_MSEC;
    smcf->hub.event_queue = NGX_CONF_UNSET_SIZE;
    smcf->hub.event_timeout = NGX_CONF_UNSET_MSEC;

    if (ngx_array_init(&smcf->registries, cf->pool, 2,
                       sizeof(ngx_snorky_registry_t *))
        != NGX_OK
        || ngx_array_init(&smcf->timeouts, cf->pool, 4,
                          sizeof(ngx_snorky_timeout_queue_t *))
           != NGX_OK
        || ngx_array_init(&smcf->windows, cf->pool, 1,
                          sizeof(ngx_snorky_window_t *))
           != NGX_OK)
    {
        return NULL;
    }

    if (ngx_snorky_add_types(cf, &smcf->types) != NGX_OK) {
        return NULL;
    }

    ngx_str_set(&name, NGX_SNORKY_DEFAULT_REGISTRY);

    if (ngx_snorky_registry_add(cf, &smcf->registries, &name) == NULL) {
        return NULL;
    }

    return smcf;
}


static ngx_int_t
ngx_snorky_add_types(ngx_conf_t *cf, ngx_array_t *types)
{
    ngx_uint_t                  i;
    ngx_snorky_service_type_t  *type;

    if (ngx_array_init(types, cf->pool, 16,
                       sizeof(ngx_snorky_service_type_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; ngx_snorky_service_types[i]; i++) {
        type = ngx_snorky_service_types[i];

        if (ngx_snorky_type_add(cf, types, type->version, &type->name, type)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Another module's.  All main configurations are made before the first
 * preconfiguration runs, so the order of the modules does not matter here.
 */

ngx_int_t
ngx_snorky_service_type_register(ngx_conf_t *cf, ngx_uint_t version,
    ngx_str_t *name, ngx_snorky_service_type_t *type)
{
    ngx_uint_t               i;
    ngx_snorky_main_conf_t  *smcf;

    /*
     * A reload may have the other module without this one, whose code is still
     * there for the old configuration, but has no place in the new one.
     */

    for (i = 0; cf->cycle->modules[i] != &ngx_snorky_module; i++) {

        if (cf->cycle->modules[i] == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "service type \"%V\" needs ngx_snorky_module, "
                          "which is not loaded", name);
            return NGX_ERROR;
        }
    }

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_snorky_module);

    return ngx_snorky_type_add(cf, &smcf->types, version, name, type);
}


static char *
ngx_snorky_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_conf_init_msec_value(smcf->hub.broker.worker_timeout, 5000);
    ngx_conf_init_msec_value(smcf->hub.drain, 10000);
    ngx_conf_init_size_value(smcf->hub.event_queue, 1024 * 1024);
    ngx_conf_init_msec_value(smcf->hub.event_timeout, 30000);

    if (ngx_snorky_service_init_all(cf, &smcf->registries) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_policy_conf_init_all(cf, &smcf->registries);
}


/* nginx gives the memory after the configuration has been read */

static ngx_int_t
ngx_snorky_postconfiguration(ngx_conf_t *cf)
{
    size_t                   size;
    ngx_snorky_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_snorky_module);

    if (!smcf->used && smcf->zone_size == 0) {
        return NGX_OK;
    }

    size = smcf->zone_size ? smcf->zone_size : NGX_SNORKY_ZONE_SIZE;

    smcf->shm_zone = ngx_snorky_zone_add(cf, size, smcf->log_size,
                                         &ngx_snorky_module);
    if (smcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    smcf->hub.broker.shm_zone = smcf->shm_zone;
    smcf->hub.asker = &ngx_snorky_inner_asker;
    smcf->hub.registries = &smcf->registries;

    ngx_snorky_inner_filter_add();

    return NGX_OK;
}


static void *
ngx_snorky_create_loc_conf(ngx_conf_t *cf)
{
    ngx_snorky_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    ngx_snorky_sockjs_create_conf(&slcf->sockjs);

    slcf->limits.max_depth = NGX_CONF_UNSET_UINT;
    slcf->limits.max_subscriptions = NGX_CONF_UNSET_UINT;
    slcf->limits.max_channel_size = NGX_CONF_UNSET_SIZE;
    slcf->limits.max_calls = NGX_CONF_UNSET_UINT;
    slcf->limits.publish_timeout = NGX_CONF_UNSET_MSEC;
    slcf->max_message_size = NGX_CONF_UNSET_SIZE;
    slcf->send_buffer = NGX_CONF_UNSET_SIZE;
    slcf->ping_interval = NGX_CONF_UNSET_MSEC;
    slcf->ping_timeout = NGX_CONF_UNSET_MSEC;
    slcf->close_timeout = NGX_CONF_UNSET_MSEC;
    slcf->batch_window = NGX_CONF_UNSET_MSEC;
    slcf->lean = NGX_CONF_UNSET;
    slcf->identity = NGX_CONF_UNSET_PTR;
    slcf->origins = NGX_CONF_UNSET_PTR;
    slcf->protocols = NGX_CONF_UNSET_PTR;
    slcf->deflate = NGX_CONF_UNSET_PTR;
    slcf->backend_keys = NGX_CONF_UNSET_PTR;
    slcf->max_connections = NGX_CONF_UNSET_PTR;

    return slcf;
}


static char *
ngx_snorky_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_snorky_loc_conf_t *prev = parent;
    ngx_snorky_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->limits.max_depth,
                              prev->limits.max_depth, 64);
    ngx_conf_merge_uint_value(conf->limits.max_subscriptions,
                              prev->limits.max_subscriptions, 128);
    ngx_conf_merge_size_value(conf->limits.max_channel_size,
                              prev->limits.max_channel_size, 1024);
    ngx_conf_merge_uint_value(conf->limits.max_calls,
                              prev->limits.max_calls, 16);
    ngx_conf_merge_msec_value(conf->limits.publish_timeout,
                              prev->limits.publish_timeout, 10000);
    ngx_conf_merge_size_value(conf->max_message_size,
                              prev->max_message_size, 64 * 1024);
    ngx_conf_merge_size_value(conf->send_buffer,
                              prev->send_buffer, 1024 * 1024);
    ngx_conf_merge_msec_value(conf->ping_interval,
                              prev->ping_interval, 90000);
    ngx_conf_merge_msec_value(conf->ping_timeout, prev->ping_timeout, 10000);
    ngx_conf_merge_msec_value(conf->close_timeout, prev->close_timeout, 5000);
    ngx_conf_merge_msec_value(conf->batch_window, prev->batch_window, 0);
    ngx_conf_merge_value(conf->lean, prev->lean, 0);

    ngx_conf_merge_ptr_value(conf->identity, prev->identity, NULL);
    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);
    ngx_conf_merge_ptr_value(conf->protocols, prev->protocols, NULL);
    ngx_conf_merge_ptr_value(conf->deflate, prev->deflate, NULL);
    ngx_conf_merge_ptr_value(conf->backend_keys, prev->backend_keys, NULL);
    ngx_conf_merge_ptr_value(conf->max_connections, prev->max_connections,
                             NULL);

    ngx_snorky_sockjs_merge_conf(&prev->sockjs, &conf->sockjs);

    ngx_snorky_location_inherit(cf, prev, conf);

    if (conf->websocket || conf->backend) {
        return ngx_snorky_location_init(cf, conf);
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_snorky_init_module(ngx_cycle_t *cycle)
{
    ngx_snorky_zone_retire_old(cycle);

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_init_process(ngx_cycle_t *cycle)
{
    ngx_snorky_worker_t     *worker;
    ngx_snorky_main_conf_t  *smcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_snorky_module);

    if (smcf == NULL || smcf->shm_zone == NULL) {
        return NGX_OK;
    }

    worker = ngx_pcalloc(cycle->pool, sizeof(ngx_snorky_worker_t));
    if (worker == NULL) {
        return NGX_ERROR;
    }

    worker->buffer_size = NGX_SNORKY_READ_BUFFER;

    worker->buffer = ngx_palloc(cycle->pool, worker->buffer_size);
    if (worker->buffer == NULL) {
        return NGX_ERROR;
    }

    worker->hub = ngx_snorky_hub_open(cycle, &smcf->hub);
    if (worker->hub == NULL) {
        return NGX_ERROR;
    }

    if (ngx_snorky_service_open_all(&smcf->registries, worker->hub,
                                    cycle->pool)
        != NGX_OK
        || ngx_snorky_policy_conf_open_all(&smcf->registries, cycle->log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_snorky_websocket_open_worker(worker, cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_snorky_sockjs_open_worker(worker, cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_flusher_init(&worker->flusher, cycle->log);
    ngx_snorky_inner_open_worker(worker);

    smcf->worker = worker;

    return NGX_OK;
}


static void
ngx_snorky_exit_process(ngx_cycle_t *cycle)
{
    ngx_snorky_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_snorky_module);

    if (smcf == NULL || smcf->worker == NULL) {
        return;
    }

    ngx_snorky_hub_exit(smcf->worker->hub);
    ngx_snorky_sockjs_close_worker(smcf->worker);
    ngx_snorky_websocket_close_worker(smcf->worker);
    ngx_snorky_inner_close_worker(smcf->worker);
    ngx_snorky_policy_conf_close_all(&smcf->registries);
    ngx_snorky_service_close_all(&smcf->registries);
    ngx_snorky_hub_close(smcf->worker->hub);

    smcf->worker = NULL;
}


ngx_snorky_worker_t *
ngx_snorky_conf_worker(ngx_http_request_t *r)
{
    ngx_snorky_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_snorky_module);

    if (smcf->worker == NULL || !ngx_snorky_hub_ready(smcf->worker->hub)) {
        return NULL;
    }

    return smcf->worker;
}
