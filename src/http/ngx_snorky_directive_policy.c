
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the reading of policies.  Called by nginx, through the table in
 * ngx_snorky_module.c, and for the directives in a registry.
 */


#include "ngx_snorky_directive_policy.h"
#include "ngx_snorky_policy_conf.h"


static char *ngx_snorky_directive_policy_source(ngx_conf_t *cf,
    ngx_snorky_policy_t *policy, ngx_str_t *value);
static const char *ngx_snorky_directive_policy_option(
    ngx_snorky_policy_t *policy, ngx_str_t *value);
static const char *ngx_snorky_directive_policy_time(ngx_str_t *text,
    ngx_msec_t *time, const char *rule);


char *
ngx_snorky_directive_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_snorky_main_conf_t *smcf = conf;

    ngx_str_t  name;

    ngx_str_set(&name, NGX_SNORKY_DEFAULT_REGISTRY);

    return ngx_snorky_directive_policy_add(cf,
                          ngx_snorky_registry_find(&smcf->registries, &name));
}


char *
ngx_snorky_directive_policy_add(ngx_conf_t *cf, ngx_snorky_registry_t *registry)
{
    const char           *rule;
    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_snorky_policy_t  *policy;

    if (cf->args->nelts < 4) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in "
                           "\"snorky_authorize\" directive");
        return NGX_CONF_ERROR;
    }

    policy = ngx_snorky_policy_conf_add(cf, registry);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    policy->service = value[1];
    policy->name = value[2];

    if (ngx_snorky_directive_policy_source(cf, policy, &value[3])
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 4; i < cf->args->nelts; i++) {

        rule = ngx_snorky_directive_policy_option(policy, &value[i]);

        if (rule) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\", it must be %s",
                               &value[i], &value[0], rule);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_snorky_directive_policy_source(ngx_conf_t *cf, ngx_snorky_policy_t *policy,
    ngx_str_t *value)
{
    ngx_http_compile_complex_value_t  ccv;

    if (value->len && value->data[0] == '/') {
        policy->uri = *value;
        return NGX_CONF_OK;
    }

    if (value->len < 2 || value->data[0] != '$') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"snorky_authorize\", "
                           "it must be a uri or a variable", value);
        return NGX_CONF_ERROR;
    }

    policy->variable = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (policy->variable == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = policy->variable;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK) ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}


/* NULL, or what it must be; a variable has its value at once, anew */

static const char *
ngx_snorky_directive_policy_option(ngx_snorky_policy_t *policy,
    ngx_str_t *value)
{
    ssize_t     size;
    ngx_int_t   n;
    ngx_str_t   text;

    if (policy->variable) {
        return "left out with a variable";
    }

    if (ngx_strncmp(value->data, "cache=", 6) == 0) {
        text.data = value->data + 6;
        text.len = value->len - 6;

        return ngx_snorky_directive_policy_time(&text, &policy->keep,
                                                "cache=TIME");
    }

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        text.data = value->data + 8;
        text.len = value->len - 8;

        return ngx_snorky_directive_policy_time(&text, &policy->timeout,
                                                "timeout=TIME");
    }

    if (ngx_strncmp(value->data, "entries=", 8) == 0) {
        n = ngx_atoi(value->data + 8, value->len - 8);
        policy->entries = n;

        return (n > 0) ? NULL : "entries=NUMBER, greater than zero";
    }

    if (ngx_strncmp(value->data, "response=", 9) == 0) {
        text.data = value->data + 9;
        text.len = value->len - 9;

        size = ngx_parse_size(&text);
        policy->max_answer = size;

        return (size > 0) ? NULL : "response=SIZE, greater than zero";
    }

    return "cache=, entries=, response= or timeout=";
}


static const char *
ngx_snorky_directive_policy_time(ngx_str_t *text, ngx_msec_t *time,
    const char *rule)
{
    ngx_int_t  ms;

    ms = ngx_parse_time(text, 0);

    if (ms == NGX_ERROR || ms == 0) {
        return rule;
    }

    *time = ms;

    return NULL;
}
