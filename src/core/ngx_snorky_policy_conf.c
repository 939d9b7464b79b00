
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the policies' configuration.  Called by the directives, and when all
 * services are known.
 */


#include "ngx_snorky_policy_conf.h"


#define NGX_SNORKY_POLICY_CONF_TIMEOUT  5000
#define NGX_SNORKY_POLICY_CONF_ENTRIES  1000
#define NGX_SNORKY_POLICY_CONF_ANSWER   (64 * 1024)


static char *ngx_snorky_policy_conf_init(ngx_conf_t *cf,
    ngx_snorky_registry_t *registry, ngx_snorky_policy_t *policy);
static ngx_snorky_service_t *ngx_snorky_policy_conf_service(
    ngx_snorky_registry_t *registry, ngx_str_t *name);
static ngx_snorky_service_t *ngx_snorky_policy_conf_named(
    ngx_snorky_registry_t *registry, ngx_str_t *name);
static ngx_snorky_command_t *ngx_snorky_policy_conf_command(
    ngx_snorky_command_t *command, ngx_str_t *name);
static ngx_int_t ngx_snorky_policy_conf_attach(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_snorky_policy_t *policy);


ngx_snorky_policy_t *
ngx_snorky_policy_conf_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry)
{
    ngx_snorky_policy_t  *policy, **place;

    if (registry->policies == NULL) {
        registry->policies = ngx_array_create(cf->pool, 4,
                                              sizeof(ngx_snorky_policy_t *));
        if (registry->policies == NULL) {
            return NULL;
        }
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_snorky_policy_t));
    place = ngx_array_push(registry->policies);

    if (policy == NULL || place == NULL) {
        return NULL;
    }

    policy->timeout = NGX_SNORKY_POLICY_CONF_TIMEOUT;
    policy->entries = NGX_SNORKY_POLICY_CONF_ENTRIES;
    policy->max_answer = NGX_SNORKY_POLICY_CONF_ANSWER;

    *place = policy;

    return policy;
}


char *
ngx_snorky_policy_conf_init_all(ngx_conf_t *cf, ngx_array_t *registries)
{
    char                    *rv;
    ngx_uint_t               i, n;
    ngx_snorky_policy_t    **policy;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        if (registry[i]->policies == NULL) {
            continue;
        }

        policy = registry[i]->policies->elts;

        for (n = 0; n < registry[i]->policies->nelts; n++) {

            rv = ngx_snorky_policy_conf_init(cf, registry[i], policy[n]);

            if (rv == NGX_CONF_OK) {
                continue;
            }

            if (rv != NGX_CONF_ERROR) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "%s in \"snorky_authorize %V %V\"", rv,
                              &policy[n]->service, &policy[n]->name);
            }

            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_snorky_policy_conf_init(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_snorky_policy_t *policy)
{
    ngx_snorky_service_t  *service;
    ngx_snorky_command_t  *commands;

    service = ngx_snorky_policy_conf_service(registry, &policy->service);

    if (service == NULL) {
        return "no such service";
    }

    if (!ngx_snorky_service_rpc(service)) {
        return "a service without commands";
    }

    commands = service->type->commands;

    if (commands && !ngx_snorky_policy_conf_any(policy)) {
        policy->command = ngx_snorky_policy_conf_command(commands,
                                                         &policy->name);

        if (policy->command == NULL) {
            return "unknown command";
        }
    }

    switch (ngx_snorky_policy_conf_attach(cf, service, policy)) {

    case NGX_OK:
        return NGX_CONF_OK;

    case NGX_DECLINED:
        return "duplicate command";

    default:
        return NGX_CONF_ERROR;
    }
}


static ngx_snorky_command_t *
ngx_snorky_policy_conf_command(ngx_snorky_command_t *command, ngx_str_t *name)
{
    for ( /* void */ ; command->name.len; command++) {
        if (ngx_snorky_policy_conf_equal(&command->name, name)) {
            return command;
        }
    }

    return NULL;
}


/*
 * A command may have several names (join is subscribe): a policy for one is a
 * policy for all of them.  NGX_DECLINED: there is one.
 */

static ngx_int_t
ngx_snorky_policy_conf_attach(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_policy_t *policy)
{
    ngx_uint_t             i;
    ngx_snorky_policy_t  **place, *other;

    if (service->policies == NULL) {
        service->policies = ngx_array_create(cf->pool, 2,
                                             sizeof(ngx_snorky_policy_t *));
        if (service->policies == NULL) {
            return NGX_ERROR;
        }
    }

    place = service->policies->elts;

    for (i = 0; i < service->policies->nelts; i++) {
        other = place[i];

        if (ngx_snorky_policy_conf_equal(&other->name, &policy->name)
            || (other->command && policy->command
                && ngx_snorky_policy_conf_alias(other->command,
                                                policy->command)))
        {
            return NGX_DECLINED;
        }
    }

    place = ngx_array_push(service->policies);
    if (place == NULL) {
        return NGX_ERROR;
    }

    *place = policy;

    return NGX_OK;
}


/* NAME of this registry, or REGISTRY/NAME */

static ngx_snorky_service_t *
ngx_snorky_policy_conf_service(ngx_snorky_registry_t *registry, ngx_str_t *name)
{
    u_char                *slash;
    ngx_str_t              part;
    ngx_snorky_service_t  *service;

    service = ngx_snorky_policy_conf_named(registry, name);

    if (service) {
        return service;
    }

    slash = ngx_strlchr(name->data, name->data + name->len, '/');
    if (slash == NULL) {
        return NULL;
    }

    part.data = name->data;
    part.len = slash - name->data;

    registry = ngx_snorky_registry_find(registry->all, &part);
    if (registry == NULL) {
        return NULL;
    }

    part.data = slash + 1;
    part.len = name->data + name->len - part.data;

    return ngx_snorky_policy_conf_named(registry, &part);
}


static ngx_snorky_service_t *
ngx_snorky_policy_conf_named(ngx_snorky_registry_t *registry, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_snorky_service_t  **service;

    service = registry->services.elts;

    for (i = 0; i < registry->services.nelts; i++) {
        if (ngx_snorky_policy_conf_equal(&service[i]->name, name)) {
            return service[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_snorky_policy_conf_open_all(ngx_array_t *registries, ngx_log_t *log)
{
    ngx_uint_t               i, n;
    ngx_snorky_policy_t    **policy;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        if (registry[i]->policies == NULL) {
            continue;
        }

        policy = registry[i]->policies->elts;

        for (n = 0; n < registry[i]->policies->nelts; n++) {

            if (policy[n]->keep == 0) {
                continue;
            }

            policy[n]->cache =
                     ngx_snorky_policy_cache_create(policy[n]->entries, log);

            if (policy[n]->cache == NULL) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


void
ngx_snorky_policy_conf_close_all(ngx_array_t *registries)
{
    ngx_uint_t               i, n;
    ngx_snorky_policy_t    **policy;
    ngx_snorky_registry_t  **registry;

    registry = registries->elts;

    for (i = 0; i < registries->nelts; i++) {

        if (registry[i]->policies == NULL) {
            continue;
        }

        policy = registry[i]->policies->elts;

        for (n = 0; n < registry[i]->policies->nelts; n++) {

            if (policy[n]->cache) {
                ngx_snorky_policy_cache_destroy(policy[n]->cache);
                policy[n]->cache = NULL;
            }
        }
    }
}
