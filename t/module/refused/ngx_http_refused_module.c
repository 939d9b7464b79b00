
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Service types that must be refused, for t/module.t: the one whose place in
 * the list below stands in the environment, as SNORKY_REFUSED.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_snorky.h>


static ngx_int_t
ngx_http_refused_command(ngx_snorky_call_t *call)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_refused_message(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s, ngx_snorky_value_t *content)
{
    return NGX_OK;
}


static ngx_str_t  no_params[] = { ngx_null_string };

static ngx_str_t  eight_params[] = {
    ngx_string("a"), ngx_string("b"), ngx_string("c"), ngx_string("d"),
    ngx_string("e"), ngx_string("f"), ngx_string("g"), ngx_string("?h"),
    ngx_null_string
};

static ngx_str_t  nine_params[] = {
    ngx_string("a"), ngx_string("b"), ngx_string("c"), ngx_string("d"),
    ngx_string("e"), ngx_string("f"), ngx_string("g"), ngx_string("?h"),
    ngx_string("?i"), ngx_null_string
};

static ngx_str_t  nameless_param[] = { ngx_string(""), ngx_null_string };
static ngx_str_t  question_mark[] = { ngx_string("?"), ngx_null_string };

static ngx_str_t  twice_a_param[] = {
    ngx_string("a"), ngx_string("b"), ngx_string("?a"), ngx_null_string
};


#define refused_table(name, params, handler)                                  \
    { { ngx_string("good"), eight_params, ngx_http_refused_command },         \
      { ngx_string(name), params, handler },                                  \
        ngx_snorky_null_command }

static ngx_snorky_command_t  no_commands[] = { ngx_snorky_null_command };

static ngx_snorky_command_t  tables[][3] = {
    refused_table("do", no_params, ngx_http_refused_command),
    refused_table("", no_params, ngx_http_refused_command),
    refused_table("good", no_params, ngx_http_refused_command),
    refused_table("do", NULL, ngx_http_refused_command),
    refused_table("do", no_params, NULL),
    refused_table("do", nine_params, ngx_http_refused_command),
    refused_table("do", nameless_param, ngx_http_refused_command),
    refused_table("do", question_mark, ngx_http_refused_command),
    refused_table("do", twice_a_param, ngx_http_refused_command),
};


static ngx_snorky_option_t  no_set[] = {
    { ngx_string("x"), NULL, 0, NULL }, ngx_snorky_null_option
};

static ngx_snorky_option_t  nameless_option[] = {
    { ngx_string(""), ngx_snorky_option_number, 0, NULL },
    ngx_snorky_null_option
};


#define refused(type, ...)                                                    \
    { .version = NGX_SNORKY_API_VERSION, .name = ngx_string(type),            \
      __VA_ARGS__ }

static ngx_snorky_service_type_t  types[] = {
    refused("good", .commands = tables[0]),
    refused("", .commands = tables[0]),
    refused("a b", .commands = tables[0]),
    refused("pubsub", .commands = tables[0]),
    refused("bad"),
    refused("bad", .commands = no_commands),
    refused("bad", .commands = tables[0],
            .message = ngx_http_refused_message),
    refused("bad", .commands = tables[1]),
    refused("bad", .commands = tables[2]),
    refused("bad", .commands = tables[3]),
    refused("bad", .commands = tables[4]),
    refused("bad", .commands = tables[5]),
    refused("bad", .commands = tables[6]),
    refused("bad", .commands = tables[7]),
    refused("bad", .commands = tables[8]),
    refused("bad", .commands = tables[0], .options = no_set),
    refused("bad", .commands = tables[0], .options = nameless_option),
    refused("counter", .commands = tables[0]),
};


static ngx_int_t
ngx_http_refused_preconfiguration(ngx_conf_t *cf)
{
    char  *which;

    which = getenv("SNORKY_REFUSED");

    return which ? ngx_snorky_service_type_add(cf, &types[atoi(which)])
                 : NGX_OK;
}


static ngx_http_module_t  ngx_http_refused_module_ctx = {
    ngx_http_refused_preconfiguration, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL
};


ngx_module_t  ngx_http_refused_module = {
    NGX_MODULE_V1, &ngx_http_refused_module_ctx, NULL, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};
