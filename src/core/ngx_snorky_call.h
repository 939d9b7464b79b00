
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * One RPC request on its way through a service's command.
 */


#ifndef _NGX_SNORKY_CALL_H_INCLUDED_
#define _NGX_SNORKY_CALL_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_envelope.h"


/* the most parameters that a command may have */
#define NGX_SNORKY_CALL_PARAMS  8

/* bytes; where there is no table, a longer command's name is unknown */
#define NGX_SNORKY_CALL_MAX_NAME  256


typedef struct ngx_snorky_later_s    ngx_snorky_later_t;
typedef struct ngx_snorky_verdict_s  ngx_snorky_verdict_t;


struct ngx_snorky_call_s {
    ngx_snorky_session_t      *session;
    ngx_snorky_service_t      *service;
    ngx_snorky_command_t      *command;     /* NULL: not from a table */
    ngx_snorky_later_t        *later;       /* NULL: it is being run */
    ngx_str_t                  id;          /* JSON; empty: none */
    ngx_str_t                  name;        /* the command's */
    ngx_str_t                  object;      /* all params, as they came */
    ngx_snorky_value_t         params[NGX_SNORKY_CALL_PARAMS];
};


/*
 * Runs an RPC message.  NGX_OK: it has been answered.  NGX_AGAIN: it waits
 * for room in the log.  NGX_DECLINED: it is no RPC message.
 */

ngx_int_t ngx_snorky_call_run(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_snorky_json_node_t *message);


/* the parameter of this name, a JSON string; NGX_DECLINED: there is none */
ngx_int_t ngx_snorky_call_place(ngx_snorky_command_t *command,
    ngx_snorky_value_t *name);

/* the n-th parameter's name, without the sign that it is optional */
ngx_str_t ngx_snorky_call_param_name(ngx_snorky_command_t *command,
    ngx_uint_t n);

/* the command's name, escaped as in JSON, in the hub's pool */
ngx_int_t ngx_snorky_call_escaped_name(ngx_snorky_call_t *call,
    ngx_str_t *escaped);

/*
 * There is no room now: NGX_AGAIN, or NGX_DONE if the call has waited long
 * enough and is told that it is overloaded.
 */

ngx_int_t ngx_snorky_call_again(ngx_snorky_call_t *call);
ngx_int_t ngx_snorky_call_overloaded(ngx_snorky_call_t *call);

/* answers "Channel too long", with the parameter's own name */
ngx_int_t ngx_snorky_call_too_long(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);


#endif /* _NGX_SNORKY_CALL_H_INCLUDED_ */
