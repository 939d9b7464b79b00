
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * "snorky_authorize SERVICE COMMAND /uri|$variable [option=value ...]": what
 * it does when it is read, as a directive of http{}, or in a registry.
 */


#ifndef _NGX_SNORKY_DIRECTIVE_POLICY_H_INCLUDED_
#define _NGX_SNORKY_DIRECTIVE_POLICY_H_INCLUDED_


#include "ngx_snorky_conf.h"


char *ngx_snorky_directive_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* with cf->args; NGX_CONF_OK, or NGX_CONF_ERROR and the error is logged */
char *ngx_snorky_directive_policy_add(ngx_conf_t *cf,
    ngx_snorky_registry_t *registry);


#endif /* _NGX_SNORKY_DIRECTIVE_POLICY_H_INCLUDED_ */
