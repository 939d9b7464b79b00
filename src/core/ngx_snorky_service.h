
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Services and the registries that they live in: made when the configuration
 * is read, and constant from then on.
 */


#ifndef _NGX_SNORKY_SERVICE_H_INCLUDED_
#define _NGX_SNORKY_SERVICE_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_hub.h"


#define NGX_SNORKY_DEFAULT_REGISTRY  "public"


typedef struct ngx_snorky_policy_s  ngx_snorky_policy_t;


typedef struct {
    ngx_str_t                    name;
    ngx_array_t                  services;  /* of ngx_snorky_service_t * */
    ngx_array_t                 *all;       /* of ngx_snorky_registry_t * */
    ngx_array_t                 *dealers;   /* that stand in it, or NULL */
    ngx_array_t                 *policies;  /* likewise, ..._policy_t * */
    ngx_uint_t                   watched;   /* services want to know who ... */
                                            /* ... comes and goes */
    ngx_uint_t                   reached;   /* ... speak to single clients */
    ngx_uint_t                   events;    /* that are told */
    ngx_array_t                 *targets;   /* to whom, or NULL */
    void                        *server;    /* the first that has it; NULL */
} ngx_snorky_registry_t;


struct ngx_snorky_service_s {
    ngx_str_t                    name;
    ngx_snorky_service_type_t   *type;
    ngx_snorky_registry_t       *registry;
    void                        *conf;

    ngx_snorky_hub_t            *hub;       /* of this worker */
    void                        *state;

    ngx_str_t                    head;      /* of its messages, on the wire */
    ngx_str_t                    escaped;   /* its name there, in quotes */
    ngx_str_t                    prefix;    /* of its topics' names */
    ngx_array_t                 *wanted;    /* services named in options */
    ngx_array_t                 *policies;  /* for its calls, or NULL */
    ngx_uint_t                   events;    /* of its channels, to be told */
};


/* whether it takes calls, not just messages */
#define ngx_snorky_service_rpc(service)                                       \
    ((service)->type->commands || (service)->type->call)


/* the registry of that name, made if there is none yet; NULL: no memory */
ngx_snorky_registry_t *ngx_snorky_registry_add(ngx_conf_t *cf,
    ngx_array_t *registries, ngx_str_t *name);
ngx_snorky_registry_t *ngx_snorky_registry_find(ngx_array_t *registries,
    ngx_str_t *name);

/* a registry's or service's name: UTF-8, not empty */
ngx_uint_t ngx_snorky_service_name_valid(ngx_str_t *name);

/*
 * "snorky_service TYPE NAME [option=value ...]", as the directive's arguments;
 * types is the list of ngx_snorky_type_find().
 * Returns NGX_CONF_OK, or NGX_CONF_ERROR and the error is logged.
 */

char *ngx_snorky_service_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry,
    ngx_array_t *types, ngx_str_t *args, ngx_uint_t nargs);

/*
 * "snorky_dealer SERVICE ...", in a registry or outside (NULL) of any: kept
 * until all services are known.  NGX_CONF_OK or NGX_CONF_ERROR.
 */

char *ngx_snorky_service_add_dealer(ngx_conf_t *cf, ngx_array_t *registries,
    ngx_snorky_registry_t *registry, ngx_str_t *args, ngx_uint_t nargs);

/* a client comes, and goes: for those services that want to know */
void ngx_snorky_service_connected(ngx_snorky_registry_t *registry,
    ngx_snorky_session_t *s);
void ngx_snorky_service_disconnected(ngx_snorky_registry_t *registry,
    ngx_snorky_session_t *s);

/* a worker begins, and ends */
ngx_int_t ngx_snorky_service_open_all(ngx_array_t *registries,
    ngx_snorky_hub_t *hub, ngx_pool_t *pool);
void ngx_snorky_service_close_all(ngx_array_t *registries);

/* all services are known: finds those named in options, and inits each */
char *ngx_snorky_service_init_all(ngx_conf_t *cf, ngx_array_t *registries);

/* by the name on the wire, a JSON string; NULL: none */
ngx_snorky_service_t *ngx_snorky_service_find(ngx_snorky_registry_t *registry,
    ngx_snorky_value_t *name);


#endif /* _NGX_SNORKY_SERVICE_H_INCLUDED_ */
