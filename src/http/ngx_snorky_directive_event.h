
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the application is told of without being asked: "snorky_event".
 */


#ifndef _NGX_SNORKY_DIRECTIVE_EVENT_H_INCLUDED_
#define _NGX_SNORKY_DIRECTIVE_EVENT_H_INCLUDED_


#include "ngx_snorky_conf.h"


/* in http{}, for the default registry */
char *ngx_snorky_directive_event(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* with cf->args; NGX_CONF_OK, or NGX_CONF_ERROR and the error is logged */
char *ngx_snorky_directive_event_add(ngx_conf_t *cf,
    ngx_snorky_registry_t *registry);


#endif /* _NGX_SNORKY_DIRECTIVE_EVENT_H_INCLUDED_ */
