
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Policies as they are configured, and the services that they are for.
 */


#ifndef _NGX_SNORKY_POLICY_CONF_H_INCLUDED_
#define _NGX_SNORKY_POLICY_CONF_H_INCLUDED_


#include "ngx_snorky_policy_cache.h"
#include "ngx_snorky_service.h"


/* "snorky_authorize SERVICE COMMAND /uri|$variable ..." */

struct ngx_snorky_policy_s {
    ngx_str_t                    service;       /* as it was written */
    ngx_str_t                    name;          /* the command's, or "*" */
    ngx_snorky_command_t        *command;       /* NULL: not of a table */

    ngx_str_t                    uri;
    void                        *variable;      /* http's; NULL: the uri */
    ngx_msec_t                   timeout;
    size_t                       max_answer;
    ngx_msec_t                   keep;          /* verdicts; 0: not */
    ngx_uint_t                   entries;       /* ... so many */

    ngx_snorky_policy_cache_t   *cache;         /* of this worker, or NULL */
};


/*
 * One more that stands in this registry, zeroed but for its defaults; its
 * service and command are looked for when all services are known.  NULL: no
 * memory.
 */

ngx_snorky_policy_t *ngx_snorky_policy_conf_add(ngx_conf_t *cf,
    ngx_snorky_registry_t *registry);

/* NGX_CONF_OK, or NGX_CONF_ERROR and the error is logged */
char *ngx_snorky_policy_conf_init_all(ngx_conf_t *cf, ngx_array_t *registries);

/* a worker begins, and ends */
ngx_int_t ngx_snorky_policy_conf_open_all(ngx_array_t *registries,
    ngx_log_t *log);
void ngx_snorky_policy_conf_close_all(ngx_array_t *registries);

#define ngx_snorky_policy_conf_equal(one, two)                                \
    ((one)->len == (two)->len                                                 \
     && ngx_memcmp((one)->data, (two)->data, (one)->len) == 0)

/* two names of one command */
#define ngx_snorky_policy_conf_alias(one, two)                                \
    ((one)->handler == (two)->handler && (one)->params == (two)->params)

/* for all commands that have none of their own */
#define ngx_snorky_policy_conf_any(policy)                                    \
    ((policy)->name.len == 1 && (policy)->name.data[0] == '*')


#endif /* _NGX_SNORKY_POLICY_CONF_H_INCLUDED_ */
