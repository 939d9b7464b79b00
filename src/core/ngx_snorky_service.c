
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the services' configuration.  Called by the directives, and by the
 * dispatch to find a service by its name.
 */


#include "ngx_snorky_service.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_json.h"
#include "ngx_snorky_utf8.h"


typedef struct {
    ngx_str_t                    name;      /* NAME, or REGISTRY/NAME */
    ngx_snorky_option_t         *option;
} ngx_snorky_service_wanted_t;


static ngx_snorky_service_type_t *ngx_snorky_service_type(
    ngx_snorky_service_type_t **types, ngx_str_t *name);
static ngx_snorky_service_t *ngx_snorky_service_create(ngx_conf_t *cf,
    ngx_snorky_registry_t *registry, ngx_snorky_service_type_t *type,
    ngx_str_t *name);
static ngx_int_t ngx_snorky_service_taken(ngx_snorky_registry_t *registry,
    ngx_str_t *name);
static char *ngx_snorky_service_option(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_str_t *arg);
static char *ngx_snorky_service_init(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_snorky_service_t *service);
static char *ngx_snorky_service_resolve(ngx_array_t *registries,
    ngx_snorky_service_t *service, ngx_snorky_service_wanted_t *wanted);


ngx_snorky_registry_t *
ngx_snorky_registry_find(ngx_array_t *registries, ngx_str_t *name)
{
    ngx_uint_t               i;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {
        if (registry[i]->name.len == name->len
            && ngx_strncmp(registry[i]->name.data, name->data, name->len) == 0)
        {
            return registry[i];
        }
    }

    return NULL;
}


ngx_snorky_registry_t *
ngx_snorky_registry_add(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_str_t *name)
{
    ngx_snorky_registry_t  *registry, **place;

    registry = ngx_snorky_registry_find(registries, name);
    if (registry) {
        return registry;
    }

    registry = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_registry_t));
    if (registry == NULL) {
        return NULL;
    }

    registry->name = *name;
    registry->all = registries;

    if (ngx_array_init(&registry->services, cf->pool, 4,
                       sizeof(ngx_snorky_service_t *))
        != NGX_OK)
    {
        return NULL;
    }

    place = ngx_array_push(registries);
    if (place == NULL) {
        return NULL;
    }

    *place = registry;

    return registry;
}


char *
ngx_snorky_service_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_snorky_service_type_t **types, ngx_str_t *args, ngx_uint_t nargs)
{
    char                       *rv;
    ngx_uint_t                  i;
    ngx_snorky_service_t       *service;
    ngx_snorky_service_type_t  *type;

    type = ngx_snorky_service_type(types, &args[0]);

    if (type == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown service type \"%V\"", &args[0]);
        return NGX_CONF_ERROR;
    }

    if (!ngx_snorky_service_name_valid(&args[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service name \"%V\"", &args[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_snorky_service_taken(registry, &args[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate service \"%V\" in registry \"%V\"",
                           &args[1], &registry->name);
        return NGX_CONF_ERROR;
    }

    service = ngx_snorky_service_create(cf, registry, type, &args[1]);
    if (service == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < nargs; i++) {

        rv = ngx_snorky_service_option(cf, service, &args[i]);

        if (rv == NGX_CONF_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s in option \"%V\" of service \"%V\"",
                               rv, &args[i], &service->name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_snorky_service_name_valid(ngx_str_t *name)
{
    ngx_snorky_utf8_t  utf8;

    utf8 = NGX_SNORKY_UTF8_START;

    return name->len
           && ngx_snorky_utf8_check(&utf8, name->data, name->data + name->len)
              == NGX_OK;
}


static ngx_snorky_service_type_t *
ngx_snorky_service_type(ngx_snorky_service_type_t **types, ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; types[i]; i++) {
        if (types[i]->name.len == name->len
            && ngx_strncmp(types[i]->name.data, name->data, name->len) == 0)
        {
            return types[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_snorky_service_taken(ngx_snorky_registry_t *registry, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (service[i]->name.len == name->len
            && ngx_strncmp(service[i]->name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_snorky_service_t *
ngx_snorky_service_create(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_snorky_service_type_t *type, ngx_str_t *name)
{
    ngx_snorky_service_t  *service, **place;

    service = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_service_t));
    if (service == NULL) {
        return NULL;
    }

    service->name = *name;
    service->type = type;
    service->registry = registry;

    service->conf = ngx_pcalloc(cf->pool, ngx_max(type->conf_size, 1));
    if (service->conf == NULL) {
        return NULL;
    }

    if (ngx_snorky_envelope_head(cf->pool, name, &service->head) == NULL) {
        return NULL;
    }

    /* neither name has a zero byte: nginx reads them as strings */

    service->prefix.data = ngx_pnalloc(cf->pool,
                                       registry->name.len + name->len + 2);
    if (service->prefix.data == NULL) {
        return NULL;
    }

    service->prefix.len = ngx_sprintf(service->prefix.data, "%V%Z%V%Z",
                                      &registry->name, name)
                          - service->prefix.data;

    place = ngx_array_push(&registry->services);
    if (place == NULL) {
        return NULL;
    }

    *place = service;

    return service;
}


static char *
ngx_snorky_service_option(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_str_t *arg)
{
    u_char               *p;
    ngx_str_t             name, value;
    ngx_snorky_option_t  *option;

    p = ngx_strlchr(arg->data, arg->data + arg->len, '=');
    if (p == NULL) {
        return "no \"=\"";
    }

    name.data = arg->data;
    name.len = p - arg->data;
    value.data = p + 1;
    value.len = arg->data + arg->len - value.data;

    option = service->type->options;

    for ( /* void */ ; option && option->name.len; option++) {

        if (option->name.len == name.len
            && ngx_strncmp(option->name.data, name.data, name.len) == 0)
        {
            return option->set(cf, service, option, &value);
        }
    }

    return "unknown name";
}


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


char *
ngx_snorky_service_init_all(ngx_conf_t *cf, ngx_array_t *registries)
{
    char                    *rv;
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **service;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {
        service = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {

            rv = ngx_snorky_service_init(cf, registries, service[n]);

            if (rv != NGX_CONF_OK) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "%s in service \"%V\" of registry \"%V\"", rv,
                              &service[n]->name, &registry[i]->name);
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_snorky_service_init(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_snorky_service_t *service)
{
    char                         *rv;
    ngx_uint_t                    i;
    ngx_snorky_service_wanted_t  *wanted;

    if (service->wanted) {
        wanted = service->wanted->elts;

        for (i = 0; i < service->wanted->nelts; i++) {
            rv = ngx_snorky_service_resolve(registries, service, &wanted[i]);

            if (rv != NGX_CONF_OK) {
                return rv;
            }
        }
    }

    if (service->type->init) {
        return service->type->init(cf, service);
    }

    return NGX_CONF_OK;
}


static char *
ngx_snorky_service_resolve(ngx_array_t *registries,
    ngx_snorky_service_t *service, ngx_snorky_service_wanted_t *wanted)
{
    u_char                  *slash;
    ngx_str_t                name;
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **s, **field;
    ngx_snorky_registry_t  **registry;

    name = wanted->name;
    slash = ngx_strlchr(name.data, name.data + name.len, '/');

    if (slash) {
        name.data = slash + 1;
        name.len = wanted->name.data + wanted->name.len - name.data;
    }

    field = (ngx_snorky_service_t **) ((char *) service->conf
                                       + wanted->option->offset);
    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        if (slash
            && (registry[i]->name.len != (size_t) (slash - wanted->name.data)
                || ngx_strncmp(registry[i]->name.data, wanted->name.data,
                               registry[i]->name.len)
                   != 0))
        {
            continue;
        }

        s = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {

            if (s[n]->type != wanted->option->post
                || s[n]->name.len != name.len
                || ngx_strncmp(s[n]->name.data, name.data, name.len) != 0)
            {
                continue;
            }

            if (*field) {
                return "ambiguous service name, "
                       "write it as registry/name,";
            }

            *field = s[n];
        }
    }

    return *field ? NGX_CONF_OK : "no such service of the right type";
}


void *
ngx_snorky_service_conf(ngx_snorky_service_t *service)
{
    return service->conf;
}


ngx_snorky_service_t *
ngx_snorky_service_find(ngx_snorky_registry_t *registry,
    ngx_snorky_value_t *name)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (ngx_snorky_json_string_is(name, &service[i]->name)) {
            return service[i];
        }
    }

    return NULL;
}
