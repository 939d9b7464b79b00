
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the reading of directives that nginx's own slot functions can't read.
 * Called by nginx, through the table in ngx_snorky_module.c.
 */


#include "ngx_snorky_directive.h"
#include "ngx_snorky_backend.h"
#include "ngx_snorky_deflate.h"
#include "ngx_snorky_directive_event.h"
#include "ngx_snorky_directive_policy.h"
#include "ngx_snorky_header.h"
#include "ngx_snorky_limit.h"
#include "ngx_snorky_origin.h"
#include "ngx_snorky_sockjs.h"
#include "ngx_snorky_status.h"
#include "ngx_snorky_websocket.h"
#include "ngx_snorky_zone.h"


/* a smaller message would save less than the headers of a packet take */
#define NGX_SNORKY_DIRECTIVE_MIN_SIZE  128


typedef struct {
    ngx_snorky_registry_t        *registry;
    ngx_array_t                  *types;
} ngx_snorky_directive_block_t;


static char *ngx_snorky_directive_registry_service(ngx_conf_t *cf,
    ngx_command_t *dummy, void *conf);
static char *ngx_snorky_directive_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler);
static char *ngx_snorky_directive_sockjs_handler(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_snorky_loc_conf_t *slcf);
static char *ngx_snorky_directive_registry_name(ngx_conf_t *cf,
    ngx_snorky_loc_conf_t *slcf);
static char *ngx_snorky_directive_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *cv);
static char *ngx_snorky_directive_deflate_param(ngx_str_t *value,
    ngx_snorky_deflate_conf_t *deflate);
static char *ngx_snorky_directive_check(ngx_conf_t *cf, ngx_uint_t valid,
    const char *rule);


char *
ngx_snorky_directive_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ssize_t     size;
    ngx_str_t  *value, text;

    if (smcf->zone_size) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_SNORKY_ZONE_MIN_SIZE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone of \"%V\" is too small", &value[1]);
        return NGX_CONF_ERROR;
    }

    smcf->zone_size = size;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "log=", 4) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    text.data = value[2].data + 4;
    text.len = value[2].len - 4;

    size = ngx_parse_size(&text);

    if (size == NGX_ERROR || size < (ssize_t) ngx_pagesize
        || (size_t) size >= smcf->zone_size)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid log size \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    smcf->log_size = size;

    return NGX_CONF_OK;
}


char *
ngx_snorky_directive_registry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_conf_t                    save;
    ngx_snorky_directive_block_t  block;

    value = cf->args->elts;

    if (!ngx_snorky_service_name_valid(&value[1])) {
        return "has an invalid name";
    }

    block.types = &smcf->types;
    block.registry = ngx_snorky_registry_add(cf, &smcf->registries, &value[1]);

    if (block.registry == NULL) {
        return NGX_CONF_ERROR;
    }

    save = *cf;

    cf->handler = ngx_snorky_directive_registry_service;
    cf->handler_conf = (char *) &block;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


static char *
ngx_snorky_directive_registry_service(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf)
{
    ngx_snorky_directive_block_t *block = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "include") == 0 && cf->args->nelts == 2) {
        return ngx_conf_include(cf, dummy, conf);
    }

    if (ngx_strcmp(value[0].data, "snorky_dealer") == 0) {

        if (cf->args->nelts < 5) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in "
                               "\"snorky_dealer\" directive");
            return NGX_CONF_ERROR;
        }

        return ngx_snorky_service_add_dealer(cf, block->registry->all,
                                             block->registry, &value[1],
                                             cf->args->nelts - 1);
    }

    if (ngx_strcmp(value[0].data, "snorky_authorize") == 0) {
        return ngx_snorky_directive_policy_add(cf, block->registry);
    }

    if (ngx_strcmp(value[0].data, "snorky_event") == 0) {
        return ngx_snorky_directive_event_add(cf, block->registry);
    }

    if (ngx_strcmp(value[0].data, "snorky_service") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown directive \"%V\" in \"snorky_registry\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in "
                           "\"snorky_service\" directive");
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_service_add(cf, block->registry, block->types,
                                  &value[1], cf->args->nelts - 1);
}


char *
ngx_snorky_directive_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_str_t  *value, name;

    value = cf->args->elts;
    smcf->used = 1;

    ngx_str_set(&name, NGX_SNORKY_DEFAULT_REGISTRY);

    return ngx_snorky_service_add(cf,
                           ngx_snorky_registry_find(&smcf->registries, &name),
                           &smcf->types, &value[1], cf->args->nelts - 1);
}


char *
ngx_snorky_directive_dealer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    return ngx_snorky_service_add_dealer(cf, &smcf->registries, NULL,
                                         &value[1], cf->args->nelts - 1);
}


static char *
ngx_snorky_directive_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler)
{
    ngx_snorky_loc_conf_t     *slcf;
    ngx_snorky_main_conf_t    *smcf;
    ngx_http_core_loc_conf_t  *clcf;

    slcf = ngx_http_conf_get_module_loc_conf(cf, ngx_snorky_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_snorky_module);

    if (clcf->handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the location has a handler already",
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    clcf->handler = handler;
    slcf->handler = handler;
    smcf->used = 1;

    return NGX_CONF_OK;
}


static char *
ngx_snorky_directive_registry_name(ngx_conf_t *cf, ngx_snorky_loc_conf_t *slcf)
{
    ngx_str_t  *value;

    if (cf->args->nelts == 1) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "registry=", 9) != 0 || value[1].len == 9) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->registry_name.data = value[1].data + 9;
    slcf->registry_name.len = value[1].len - 9;

    return NGX_CONF_OK;
}


char *
ngx_snorky_directive_websocket(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    slcf->websocket = 1;

    if (ngx_snorky_directive_registry_name(cf, slcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_directive_handler(cf, cmd, ngx_snorky_websocket_handler);
}


char *
ngx_snorky_directive_websocket_echo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    slcf->websocket = 1;
    slcf->echo = 1;

    return ngx_snorky_directive_handler(cf, cmd, ngx_snorky_websocket_handler);
}


char *
ngx_snorky_directive_sockjs(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    if (ngx_snorky_directive_registry_name(cf, slcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_directive_sockjs_handler(cf, cmd, slcf);
}


char *
ngx_snorky_directive_sockjs_echo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    slcf->echo = 1;

    return ngx_snorky_directive_sockjs_handler(cf, cmd, slcf);
}


char *
ngx_snorky_directive_sockjs_close(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    slcf->go_away = 1;

    return ngx_snorky_directive_sockjs_handler(cf, cmd, slcf);
}


static char *
ngx_snorky_directive_sockjs_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_snorky_loc_conf_t *slcf)
{
    slcf->websocket = 1;
    slcf->sockjs_used = 1;

    return ngx_snorky_directive_handler(cf, cmd, ngx_snorky_sockjs_handler);
}


char *
ngx_snorky_directive_backend(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    slcf->backend = 1;

    if (ngx_snorky_directive_registry_name(cf, slcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_directive_handler(cf, cmd, ngx_snorky_backend_handler);
}


char *
ngx_snorky_directive_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_snorky_directive_handler(cf, cmd, ngx_snorky_status_handler);
}


char *
ngx_snorky_directive_origins(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_snorky_origin_t  *origin;

    if (slcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    slcf->origins = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_snorky_origin_t));
    if (slcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        origin = ngx_array_push(slcf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_snorky_origin_parse(cf, &value[i], origin) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_snorky_directive_protocols(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    ngx_str_t  *value, *protocol;
    ngx_uint_t  i;

    if (slcf->protocols != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    slcf->protocols = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                       sizeof(ngx_str_t));
    if (slcf->protocols == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_snorky_header_is_token(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid protocol \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        protocol = ngx_array_push(slcf->protocols);
        if (protocol == NULL) {
            return NGX_CONF_ERROR;
        }

        *protocol = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_snorky_directive_max_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    ngx_int_t            n;
    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_snorky_limit_t  *limit;

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty key";
    }

    n = ngx_atoi(value[2].data, value[2].len);

    if (n <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of connections \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (slcf->max_connections == NGX_CONF_UNSET_PTR) {
        slcf->max_connections = ngx_array_create(cf->pool, 2,
                                                 sizeof(ngx_snorky_limit_t));
        if (slcf->max_connections == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    limit = slcf->max_connections->elts;

    for (i = 0; i < slcf->max_connections->nelts; i++) {
        if (limit[i].key.value.len == value[1].len
            && ngx_strcmp(limit[i].key.value.data, value[1].data) == 0)
        {
            return "is duplicate";
        }
    }

    limit = ngx_array_push(slcf->max_connections);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->most = n;

    return ngx_snorky_directive_compile(cf, &value[1], &limit->key);
}


char *
ngx_snorky_directive_deflate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    char                       *rule;
    ngx_str_t                  *value;
    ngx_uint_t                  i;
    ngx_snorky_deflate_conf_t  *deflate;

    if (slcf->deflate != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {
        slcf->deflate = NULL;
        return NGX_CONF_OK;
    }

    rule = "\"on\", or \"off\" alone";
    i = 1;

    if (ngx_strcmp(value[1].data, "on") != 0) {
        goto invalid;
    }

    deflate = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_deflate_conf_t));
    if (deflate == NULL) {
        return NGX_CONF_ERROR;
    }

    deflate->level = 1;
    deflate->bits = NGX_SNORKY_DEFLATE_MAX_BITS;
    deflate->min_size = NGX_SNORKY_DIRECTIVE_MIN_SIZE;

    for (i = 2; i < cf->args->nelts; i++) {

        rule = ngx_snorky_directive_deflate_param(&value[i], deflate);

        if (rule) {
            goto invalid;
        }
    }

    slcf->deflate = deflate;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\", it must be %s",
                       &value[i], &value[0], rule);

    return NGX_CONF_ERROR;
}


/* NULL, or what it must be */

static char *
ngx_snorky_directive_deflate_param(ngx_str_t *value,
    ngx_snorky_deflate_conf_t *deflate)
{
    ssize_t     size;
    ngx_int_t   n;
    ngx_str_t   text;

    if (ngx_strcmp(value->data, "context_takeover") == 0) {
        deflate->takeover = 1;
        return NULL;
    }

    if (ngx_strncmp(value->data, "level=", 6) == 0) {
        n = ngx_atoi(value->data + 6, value->len - 6);
        deflate->level = n;

        return (n >= 1 && n <= 9) ? NULL : "level=1 to level=9";
    }

    if (ngx_strncmp(value->data, "window_bits=", 12) == 0) {
        n = ngx_atoi(value->data + 12, value->len - 12);
        deflate->bits = n;

        return (n >= NGX_SNORKY_DEFLATE_MIN_BITS
                && n <= NGX_SNORKY_DEFLATE_MAX_BITS)
               ? NULL : "window_bits=9 to window_bits=15";
    }

    if (ngx_strncmp(value->data, "min_size=", 9) == 0) {
        text.data = value->data + 9;
        text.len = value->len - 9;

        size = ngx_parse_size(&text);
        deflate->min_size = size;

        return (size != NGX_ERROR) ? NULL : "min_size=SIZE";
    }

    return "level=, window_bits=, min_size= or context_takeover";
}


char *
ngx_snorky_directive_backend_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_loc_conf_t *slcf = conf;

    ngx_str_t                 *value;
    ngx_http_complex_value_t  *cv;

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "is empty";
    }

    if (slcf->backend_keys == NGX_CONF_UNSET_PTR) {
        slcf->backend_keys = ngx_array_create(cf->pool, 2,
                                            sizeof(ngx_http_complex_value_t));
        if (slcf->backend_keys == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    cv = ngx_array_push(slcf->backend_keys);
    if (cv == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_snorky_directive_compile(cf, &value[1], cv);
}


static char *
ngx_snorky_directive_compile(ngx_conf_t *cf, ngx_str_t *text,
    ngx_http_complex_value_t *cv)
{
    ngx_http_compile_complex_value_t  ccv;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = cv;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK) ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}


#if (NGX_SNORKY_FAULTS)

char *
ngx_snorky_directive_fault(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "reserved") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_RESERVED;

    } else if (ngx_strcmp(value[1].data, "written") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_WRITTEN;

    } else if (ngx_strcmp(value[1].data, "committed") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_COMMITTED;

    } else if (ngx_strcmp(value[1].data, "allocated") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_ALLOCATED;

    } else if (ngx_strcmp(value[1].data, "applied") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_APPLIED;

    } else if (ngx_strcmp(value[1].data, "counted") == 0) {
        smcf->hub.broker.fault = NGX_SNORKY_FAULT_COUNTED;

    } else {
        return "has an invalid place";
    }

    n = ngx_atoi(value[2].data, value[2].len);

    if (n == NGX_ERROR) {
        return "has an invalid number";
    }

    smcf->hub.broker.fault_after = n;
    smcf->hub.broker.fault_signal = SIGKILL;

    if (cf->args->nelts == 4) {

        if (ngx_strcmp(value[3].data, "stop") != 0) {
            return "has an invalid signal";
        }

        smcf->hub.broker.fault_signal = SIGSTOP;
    }

    return NGX_CONF_OK;
}

#endif


char *
ngx_snorky_directive_check_number(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *np = data;

    return ngx_snorky_directive_check(cf, *np > 0, "greater than zero");
}


char *
ngx_snorky_directive_check_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t *sp = data;

    return ngx_snorky_directive_check(cf, *sp > 0, "greater than zero");
}


char *
ngx_snorky_directive_check_time(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *msp = data;

    return ngx_snorky_directive_check(cf, *msp > 0, "greater than zero");
}


char *
ngx_snorky_directive_check_window(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *msp = data;

    return ngx_snorky_directive_check(cf, *msp <= 50, "at most 50ms");
}


char *
ngx_snorky_directive_check_worker_timeout(ngx_conf_t *cf, void *post,
    void *data)
{
    ngx_msec_t *msp = data;

    return ngx_snorky_directive_check(cf, *msp >= 100, "at least 100ms");
}


static char *
ngx_snorky_directive_check(ngx_conf_t *cf, ngx_uint_t valid, const char *rule)
{
    ngx_str_t  *value;

    if (valid) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\", it must be %s",
                       &value[1], &value[0], rule);

    return NGX_CONF_ERROR;
}
