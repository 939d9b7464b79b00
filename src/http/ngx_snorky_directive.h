
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What directives do when they are read; each returns NGX_CONF_OK, or an error
 * as ngx_command_t's "set" does.  The "post" of snorky_registry and
 * snorky_service is the list of service types.
 */


#ifndef _NGX_SNORKY_DIRECTIVE_H_INCLUDED_
#define _NGX_SNORKY_DIRECTIVE_H_INCLUDED_


#include "ngx_snorky_conf.h"


char *ngx_snorky_directive_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_registry(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_dealer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_websocket(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_websocket_echo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_sockjs(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_sockjs_echo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_sockjs_close(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_backend(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_origins(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_protocols(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_max_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_deflate(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_snorky_directive_backend_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
#if (NGX_SNORKY_FAULTS)
char *ngx_snorky_directive_fault(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
#endif

/* posts that refuse zero, or too little */
char *ngx_snorky_directive_check_number(ngx_conf_t *cf, void *post,
    void *data);
char *ngx_snorky_directive_check_size(ngx_conf_t *cf, void *post, void *data);
char *ngx_snorky_directive_check_time(ngx_conf_t *cf, void *post, void *data);
char *ngx_snorky_directive_check_window(ngx_conf_t *cf, void *post,
    void *data);
char *ngx_snorky_directive_check_worker_timeout(ngx_conf_t *cf, void *post,
    void *data);


#endif /* _NGX_SNORKY_DIRECTIVE_H_INCLUDED_ */
