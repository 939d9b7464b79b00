
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the reading of options whose values are of a common kind.  Called for
 * the options of "snorky_service", through the tables of the types.
 */


#include "ngx_snorky_option.h"


char *
ngx_snorky_option_enum(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_uint_t        *field;
    ngx_conf_enum_t   *e;

    field = (ngx_uint_t *) ((char *) service->conf + option->offset);

    for (e = option->post; e->name.len; e++) {
        if (e->name.len == value->len
            && ngx_strncmp(e->name.data, value->data, value->len) == 0)
        {
            *field = e->value;
            return NGX_CONF_OK;
        }
    }

    return "invalid value";
}


char *
ngx_snorky_option_number(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_int_t    n;
    ngx_uint_t  *field;

    field = (ngx_uint_t *) ((char *) service->conf + option->offset);

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n == 0) {
        return "invalid number";
    }

    *field = n;

    return NGX_CONF_OK;
}


char *
ngx_snorky_option_size(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    size_t   *field;
    ssize_t   size;

    field = (size_t *) ((char *) service->conf + option->offset);

    size = ngx_parse_size(value);

    if (size == NGX_ERROR || size == 0) {
        return "invalid size";
    }

    *field = size;

    return NGX_CONF_OK;
}


char *
ngx_snorky_option_msec(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_int_t    ms;
    ngx_msec_t  *field;

    field = (ngx_msec_t *) ((char *) service->conf + option->offset);

    ms = ngx_parse_time(value, 0);

    if (ms == NGX_ERROR || ms == 0) {
        return "invalid time";
    }

    *field = ms;

    return NGX_CONF_OK;
}


/* the service may stand below: it is looked for when all have been read */

char *
ngx_snorky_option_service(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_snorky_service_wanted_t  *wanted;

    if (service->wanted == NULL) {
        service->wanted = ngx_array_create(cf->pool, 1,
                                          sizeof(ngx_snorky_service_wanted_t));
        if (service->wanted == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    wanted = ngx_array_push(service->wanted);
    if (wanted == NULL) {
        return NGX_CONF_ERROR;
    }

    wanted->name = *value;
    wanted->option = option;

    return NGX_CONF_OK;
}
