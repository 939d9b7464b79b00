
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the services' configuration.  Called by the directives, and by the
 * dispatch to find a service by its name.
 */


#include "ngx_snorky_service.h"
#include "ngx_snorky_news.h"
#include "ngx_snorky_option.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_probe.h"
#include "ngx_snorky.h"
#include "ngx_snorky_type.h"
#include "ngx_snorky_utf8.h"


typedef struct {
    ngx_str_t                   *args;      /* SERVICE NAME ... */
    ngx_uint_t                   n;
} ngx_snorky_service_dealer_t;


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
static char *ngx_snorky_service_named(ngx_array_t *registries,
    ngx_str_t *wanted, ngx_snorky_service_type_t *type,
    ngx_snorky_service_t **found);
static char *ngx_snorky_service_init_dealers(ngx_conf_t *cf,
    ngx_array_t *registries, ngx_snorky_registry_t *registry);
static ngx_snorky_service_t *ngx_snorky_service_own(
    ngx_snorky_registry_t *registry, ngx_str_t *name);


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
    ngx_array_t *types, ngx_str_t *args, ngx_uint_t nargs)
{
    char                       *rv;
    ngx_uint_t                  i;
    ngx_snorky_service_t       *service;
    ngx_snorky_service_type_t  *type;

    type = ngx_snorky_type_find(types, &args[0]);

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

    if (type->connected || type->disconnected) {
        registry->watched = 1;
    }

    service->conf = ngx_pcalloc(cf->pool, ngx_max(type->conf_size, 1));
    if (service->conf == NULL) {
        return NULL;
    }

    if (ngx_snorky_envelope_head(cf->pool, name, &service->head) == NULL) {
        return NULL;
    }

    ngx_snorky_envelope_escaped(&service->head, &service->escaped);

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
ngx_snorky_service_init_all(ngx_conf_t *cf, ngx_array_t *registries)
{
    char                    *rv;
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **service;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        rv = ngx_snorky_service_init_dealers(cf, registries, registry[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    for (i = 0; i < registries->nelts; i++) {
        service = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {

            rv = ngx_snorky_service_init(cf, registries, service[n]);

            if (rv == NGX_CONF_ERROR) {
                return NGX_CONF_ERROR;
            }

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

    if (service->type->channels) {
        service->events = service->registry->events & NGX_SNORKY_NEWS_CHANNELS;
    }

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
    ngx_snorky_service_t  **field;

    field = (ngx_snorky_service_t **) ((char *) service->conf
                                       + wanted->option->offset);

    return ngx_snorky_service_named(registries, &wanted->name,
                                    wanted->option->post, field);
}


/* NAME or REGISTRY/NAME, of this type if one is given */

static char *
ngx_snorky_service_named(ngx_array_t *registries, ngx_str_t *wanted,
    ngx_snorky_service_type_t *type, ngx_snorky_service_t **found)
{
    u_char                  *slash;
    ngx_str_t                name;
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **s;
    ngx_snorky_registry_t  **registry;

    name = *wanted;
    slash = ngx_strlchr(name.data, name.data + name.len, '/');

    if (slash) {
        name.data = slash + 1;
        name.len = wanted->data + wanted->len - name.data;
    }

    *found = NULL;
    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        if (slash
            && (registry[i]->name.len != (size_t) (slash - wanted->data)
                || ngx_strncmp(registry[i]->name.data, wanted->data,
                               registry[i]->name.len)
                   != 0))
        {
            continue;
        }

        s = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {

            if ((type ? s[n]->type != type : s[n]->type->dealer == NULL)
                || s[n]->name.len != name.len
                || ngx_strncmp(s[n]->name.data, name.data, name.len) != 0)
            {
                continue;
            }

            if (*found) {
                return "ambiguous service name, "
                       "write it as registry/name,";
            }

            *found = s[n];
        }
    }

    return *found ? NGX_CONF_OK : "no such service of the right type";
}


/*
 * Kept with the registry in which it stands, or with the first; a registry's
 * own service is looked for before those of others.
 */

char *
ngx_snorky_service_add_dealer(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_snorky_registry_t *registry, ngx_str_t *args, ngx_uint_t nargs)
{
    ngx_snorky_registry_t      **first;
    ngx_snorky_service_dealer_t *dealer;

    if (registry == NULL) {
        first = registries->elts;
        registry = first[0];
    }

    if (registry->dealers == NULL) {
        registry->dealers = ngx_array_create(cf->pool, 4,
                                         sizeof(ngx_snorky_service_dealer_t));
        if (registry->dealers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    dealer = ngx_array_push(registry->dealers);
    if (dealer == NULL) {
        return NGX_CONF_ERROR;
    }

    /* the array of a directive's arguments is used for the next one, too */

    dealer->args = ngx_palloc(cf->pool, nargs * sizeof(ngx_str_t));
    if (dealer->args == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(dealer->args, args, nargs * sizeof(ngx_str_t));
    dealer->n = nargs;

    return NGX_CONF_OK;
}


static char *
ngx_snorky_service_init_dealers(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_snorky_registry_t *registry)
{
    char                         *rv;
    ngx_str_t                     name;
    ngx_uint_t                    i;
    ngx_snorky_service_t         *service;
    ngx_snorky_service_dealer_t  *dealer;

    if (registry->dealers == NULL) {
        return NGX_CONF_OK;
    }

    dealer = registry->dealers->elts;

    for (i = 0; i < registry->dealers->nelts; i++) {

        name = dealer[i].args[0];
        service = ngx_snorky_service_own(registry, &name);

        rv = service ? NGX_CONF_OK
                     : ngx_snorky_service_named(registries, &name, NULL,
                                                &service);
        if (rv == NGX_CONF_OK) {
            rv = service->type->dealer(cf, service, &dealer[i].args[1],
                                       dealer[i].n - 1);
        }

        if (rv == NGX_CONF_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "%s in \"snorky_dealer %V %V\"", rv, &name,
                          &dealer[i].args[1]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_snorky_service_t *
ngx_snorky_service_own(ngx_snorky_registry_t *registry, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (service[i]->type->dealer
            && service[i]->name.len == name->len
            && ngx_strncmp(service[i]->name.data, name->data, name->len) == 0)
        {
            return service[i];
        }
    }

    return NULL;
}


void *
ngx_snorky_service_conf(ngx_snorky_service_t *service)
{
    return service->conf;
}


void *
ngx_snorky_service_state(ngx_snorky_service_t *service)
{
    return service->state;
}


/* who asks for it may parse with it: all nodes made before are gone then */

ngx_snorky_json_t *
ngx_snorky_service_json(ngx_snorky_service_t *service)
{
    service->hub->parsed++;

    return service->hub->json;
}


ngx_str_t *
ngx_snorky_service_name(ngx_snorky_service_t *service)
{
    return &service->name;
}


ngx_log_t *
ngx_snorky_service_log(ngx_snorky_service_t *service)
{
    return service->hub->log;
}


ngx_int_t
ngx_snorky_service_open_all(ngx_array_t *registries, ngx_snorky_hub_t *hub,
    ngx_pool_t *pool)
{
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **service;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {
        service = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {

            service[n]->hub = hub;

            service[n]->state = ngx_pcalloc(pool,
                                    ngx_max(service[n]->type->state_size, 1));
            if (service[n]->state == NULL) {
                return NGX_ERROR;
            }

            if (service[n]->type->open
                && service[n]->type->open(service[n]) != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


void
ngx_snorky_service_close_all(ngx_array_t *registries)
{
    ngx_uint_t               i, n;
    ngx_snorky_service_t   **service;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {
        service = registry[i]->services.elts;

        for (n = 0; n < registry[i]->services.nelts; n++) {
            if (service[n]->type->close) {
                service[n]->type->close(service[n]);
            }
        }
    }
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

    /* no service that was configured has an empty name */

    if (ngx_snorky_json_string_is(name, &ngx_snorky_probe.name)) {
        return &ngx_snorky_probe;
    }

    return NULL;
}


void
ngx_snorky_service_connected(ngx_snorky_registry_t *registry,
    ngx_snorky_session_t *s)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    if (!registry->watched) {
        return;
    }

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (service[i]->type->connected) {
            service[i]->type->connected(service[i], s);
        }
    }
}


void
ngx_snorky_service_disconnected(ngx_snorky_registry_t *registry,
    ngx_snorky_session_t *s)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    if (!registry->watched) {
        return;
    }

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (service[i]->type->disconnected) {
            service[i]->type->disconnected(service[i], s);
        }
    }
}
