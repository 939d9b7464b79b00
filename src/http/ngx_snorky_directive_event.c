
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the reading of "snorky_event".  Called by nginx, and by the block of a
 * registry.
 */


#include "ngx_snorky_directive_event.h"
#include "ngx_snorky_news.h"


static ngx_conf_bitmask_t  ngx_snorky_directive_events[] = {
    { ngx_string("connected"), NGX_SNORKY_NEWS_CONNECTED },
    { ngx_string("disconnected"), NGX_SNORKY_NEWS_DISCONNECTED },
    { ngx_string("subscribed"), NGX_SNORKY_NEWS_SUBSCRIBED },
    { ngx_string("unsubscribed"), NGX_SNORKY_NEWS_UNSUBSCRIBED },
    { ngx_string("occupied"), NGX_SNORKY_NEWS_OCCUPIED },
    { ngx_string("vacated"), NGX_SNORKY_NEWS_VACATED },
    { ngx_null_string, 0 }
};


static ngx_uint_t ngx_snorky_directive_event_bit(ngx_str_t *name);


char *
ngx_snorky_directive_event(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_str_t  name;

    ngx_str_set(&name, NGX_SNORKY_DEFAULT_REGISTRY);

    return ngx_snorky_directive_event_add(cf,
                          ngx_snorky_registry_find(&smcf->registries, &name));
}


char *
ngx_snorky_directive_event_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry)
{
    ngx_str_t   *value;
    ngx_uint_t   i, bit, events;

    if (cf->args->nelts < 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in "
                           "\"snorky_event\" directive");
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid uri \"%V\" in \"snorky_event\", "
                           "it must begin with \"/\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    events = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        bit = ngx_snorky_directive_event_bit(&value[i]);

        if (bit == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown event \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (events & bit) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate event \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        events |= bit;
    }

    return (ngx_snorky_news_add(cf, registry, &value[1], events) == NGX_OK)
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_uint_t
ngx_snorky_directive_event_bit(ngx_str_t *name)
{
    ngx_conf_bitmask_t  *event;

    for (event = ngx_snorky_directive_events; event->name.len; event++) {

        if (event->name.len == name->len
            && ngx_strncmp(event->name.data, name->data, name->len) == 0)
        {
            return event->mask;
        }
    }

    return 0;
}
