
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the list of service types, and what is asked of a type that gets into
 * it: what the core relies on later, without looking.  Called when a
 * configuration begins, and by the directives.
 */


#include "ngx_snorky_type.h"
#include "ngx_snorky_call.h"


static ngx_uint_t ngx_snorky_type_name_valid(ngx_str_t *name);
static ngx_int_t ngx_snorky_type_check(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type);
static ngx_int_t ngx_snorky_type_check_commands(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type);
static ngx_int_t ngx_snorky_type_check_command(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type, ngx_snorky_command_t *command);
static ngx_int_t ngx_snorky_type_check_params(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type, ngx_snorky_command_t *command);
static ngx_int_t ngx_snorky_type_check_options(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type);
static ngx_uint_t ngx_snorky_type_same(ngx_str_t *one, ngx_str_t *two);


ngx_int_t
ngx_snorky_type_add(ngx_conf_t *cf, ngx_array_t *types, ngx_uint_t version,
    ngx_str_t *name, ngx_snorky_service_type_t *type)
{
    ngx_snorky_service_type_t  **place;

    if (!ngx_snorky_type_name_valid(name)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "invalid name \"%V\" of a service type", name);
        return NGX_ERROR;
    }

    if (version != NGX_SNORKY_API_VERSION) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "service type \"%V\" is of API version %ui, "
                      "this module has %i",
                      name, version, (ngx_int_t) NGX_SNORKY_API_VERSION);
        return NGX_ERROR;
    }

    if (ngx_snorky_type_find(types, name)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "duplicate service type \"%V\"", name);
        return NGX_ERROR;
    }

    if (ngx_snorky_type_check(cf, type) != NGX_OK) {
        return NGX_ERROR;
    }

    place = ngx_array_push(types);
    if (place == NULL) {
        return NGX_ERROR;
    }

    *place = type;

    return NGX_OK;
}


ngx_snorky_service_type_t *
ngx_snorky_type_find(ngx_array_t *types, ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_snorky_service_type_t  **type;

    type = types->elts;

    for (i = 0; i < types->nelts; i++) {
        if (ngx_snorky_type_same(&type[i]->name, name)) {
            return type[i];
        }
    }

    return NULL;
}


/* a word that needs no quotes in a configuration */

static ngx_uint_t
ngx_snorky_type_name_valid(ngx_str_t *name)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        {
            return 0;
        }
    }

    return name->len != 0;
}


static ngx_int_t
ngx_snorky_type_check(ngx_conf_t *cf, ngx_snorky_service_type_t *type)
{
    ngx_uint_t  n;

    n = (type->commands != NULL) + (type->call != NULL)
        + (type->message != NULL);

    if (n != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "service type \"%V\" has %s of \"commands\", \"call\" "
                      "and \"message\"",
                      &type->name, n ? "more than one" : "none");
        return NGX_ERROR;
    }

    if (type->commands && ngx_snorky_type_check_commands(cf, type) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_type_check_options(cf, type);
}


/* an empty name ends the table, and stands alone then */

static ngx_int_t
ngx_snorky_type_check_commands(ngx_conf_t *cf,
    ngx_snorky_service_type_t *type)
{
    ngx_snorky_command_t  *command;

    for (command = type->commands; command->name.len; command++) {
        if (ngx_snorky_type_check_command(cf, type, command) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (command->params || command->handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "a command of service type \"%V\" has no name",
                      &type->name);
        return NGX_ERROR;
    }

    if (command == type->commands) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "the table of commands of service type \"%V\" is empty",
                      &type->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_type_check_command(ngx_conf_t *cf, ngx_snorky_service_type_t *type,
    ngx_snorky_command_t *command)
{
    ngx_snorky_command_t  *other;

    for (other = type->commands; other < command; other++) {
        if (ngx_snorky_type_same(&other->name, &command->name)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "duplicate command \"%V\" of service type \"%V\"",
                          &command->name, &type->name);
            return NGX_ERROR;
        }
    }

    if (command->params == NULL || command->handler == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "command \"%V\" of service type \"%V\" has no %s",
                      &command->name, &type->name,
                      command->handler ? "params" : "handler");
        return NGX_ERROR;
    }

    return ngx_snorky_type_check_params(cf, type, command);
}


/* "?name" is an optional one */

static ngx_int_t
ngx_snorky_type_check_params(ngx_conf_t *cf, ngx_snorky_service_type_t *type,
    ngx_snorky_command_t *command)
{
    ngx_str_t   name, names[NGX_SNORKY_CALL_PARAMS];
    ngx_uint_t  i, n;

    for (n = 0; command->params[n].len; n++) {

        if (n == NGX_SNORKY_CALL_PARAMS) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "command \"%V\" of service type \"%V\" has more "
                          "than %i params", &command->name, &type->name,
                          (ngx_int_t) NGX_SNORKY_CALL_PARAMS);
            return NGX_ERROR;
        }

        name = command->params[n];

        if (name.data[0] == '?') {
            name.data++;
            name.len--;
        }

        if (name.len == 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            if (ngx_snorky_type_same(&names[i], &name)) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "duplicate param \"%V\" of command \"%V\" of "
                              "service type \"%V\"",
                              &name, &command->name, &type->name);
                return NGX_ERROR;
            }
        }

        names[n] = name;
    }

    /* what ends the table is ngx_null_string */

    if (command->params[n].data) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "a param of command \"%V\" of service type \"%V\" has "
                      "no name", &command->name, &type->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_type_check_options(ngx_conf_t *cf, ngx_snorky_service_type_t *type)
{
    ngx_snorky_option_t  *option;

    if (type->options == NULL) {
        return NGX_OK;
    }

    for (option = type->options; option->name.len; option++) {
        if (option->set == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "option \"%V\" of service type \"%V\" has no "
                          "\"set\"", &option->name, &type->name);
            return NGX_ERROR;
        }
    }

    if (option->set) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "an option of service type \"%V\" has no name",
                      &type->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_snorky_type_same(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && ngx_strncmp(one->data, two->data, one->len) == 0;
}
