
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * upstream: each call is a question to the application, and its answer is the
 * call's (services: upstream).
 */


#include "ngx_snorky_upstream.h"


/* ms */
#define NGX_SNORKY_UPSTREAM_TIMEOUT    30000

/* bytes */
#define NGX_SNORKY_UPSTREAM_RESPONSE   (64 * 1024)

/* what the application answers may nest so deeply */
#define NGX_SNORKY_UPSTREAM_MAX_DEPTH  64

/* bytes of the text of an error, before it is escaped */
#define NGX_SNORKY_UPSTREAM_MAX_TEXT   255


typedef struct {
    ngx_str_t                  pass;
    ngx_array_t               *commands;    /* of ngx_str_t; NULL: all */
    ngx_msec_t                 timeout;
    size_t                     response;    /* bytes */
} ngx_snorky_upstream_conf_t;


typedef struct {
    ngx_uint_t                 status;
    ngx_str_t                  text;
} ngx_snorky_upstream_reason_t;


static ngx_int_t ngx_snorky_upstream_call(ngx_snorky_call_t *call);
static ngx_uint_t ngx_snorky_upstream_listed(ngx_snorky_upstream_conf_t *conf,
    ngx_str_t *command);
static ngx_int_t ngx_snorky_upstream_ask(ngx_snorky_call_t *call,
    ngx_snorky_call_t *deferred);
static void ngx_snorky_upstream_answered(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer);
static void ngx_snorky_upstream_succeed(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer);
static void ngx_snorky_upstream_refuse(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer);
static void ngx_snorky_upstream_bad(ngx_snorky_call_t *call,
    const char *reason, const char *text);
static ngx_int_t ngx_snorky_upstream_text(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer, ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_json_text(ngx_snorky_call_t *call,
    ngx_str_t *body, ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_first_line(ngx_str_t *body,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_bound(ngx_snorky_call_t *call,
    ngx_str_t *text);
static ngx_int_t ngx_snorky_upstream_escape(ngx_snorky_call_t *call,
    ngx_str_t *text, ngx_str_t *escaped);
static ngx_int_t ngx_snorky_upstream_status_text(ngx_snorky_call_t *call,
    ngx_uint_t status, ngx_str_t *text);

static char *ngx_snorky_upstream_pass(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_snorky_option_t *option,
    ngx_str_t *value);
static char *ngx_snorky_upstream_commands(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_snorky_option_t *option,
    ngx_str_t *value);
static char *ngx_snorky_upstream_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);


static ngx_snorky_option_t  ngx_snorky_upstream_options[] = {

    { ngx_string("pass"),
      ngx_snorky_upstream_pass,
      0,
      NULL },

    { ngx_string("commands"),
      ngx_snorky_upstream_commands,
      0,
      NULL },

    { ngx_string("timeout"),
      ngx_snorky_option_msec,
      offsetof(ngx_snorky_upstream_conf_t, timeout),
      NULL },

    { ngx_string("response"),
      ngx_snorky_option_size,
      offsetof(ngx_snorky_upstream_conf_t, response),
      NULL },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_upstream = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("upstream"),
    .options   = ngx_snorky_upstream_options,
    .conf_size = sizeof(ngx_snorky_upstream_conf_t),
    .init      = ngx_snorky_upstream_init,
    .call      = ngx_snorky_upstream_call,
    .answered  = ngx_snorky_upstream_answered
};


/* what a call fails with, where the application has no text for it */

static ngx_snorky_upstream_reason_t  ngx_snorky_upstream_reasons[] = {
    { 301, ngx_string("Moved Permanently") },
    { 302, ngx_string("Found") },
    { 303, ngx_string("See Other") },
    { 304, ngx_string("Not Modified") },
    { 307, ngx_string("Temporary Redirect") },
    { 308, ngx_string("Permanent Redirect") },
    { 400, ngx_string("Bad Request") },
    { 401, ngx_string("Unauthorized") },
    { 402, ngx_string("Payment Required") },
    { 403, ngx_string("Forbidden") },
    { 404, ngx_string("Not Found") },
    { 405, ngx_string("Method Not Allowed") },
    { 406, ngx_string("Not Acceptable") },
    { 408, ngx_string("Request Timeout") },
    { 409, ngx_string("Conflict") },
    { 410, ngx_string("Gone") },
    { 411, ngx_string("Length Required") },
    { 412, ngx_string("Precondition Failed") },
    { 413, ngx_string("Content Too Large") },
    { 414, ngx_string("URI Too Long") },
    { 415, ngx_string("Unsupported Media Type") },
    { 422, ngx_string("Unprocessable Content") },
    { 423, ngx_string("Locked") },
    { 429, ngx_string("Too Many Requests") },
    { 451, ngx_string("Unavailable For Legal Reasons") },
    { 500, ngx_string("Internal Server Error") },
    { 501, ngx_string("Not Implemented") },
    { 502, ngx_string("Bad Gateway") },
    { 503, ngx_string("Service Unavailable") },
    { 504, ngx_string("Gateway Timeout") },
    { 507, ngx_string("Insufficient Storage") },
    { 0, ngx_null_string }
};


static ngx_int_t
ngx_snorky_upstream_call(ngx_snorky_call_t *call)
{
    ngx_int_t                    rc;
    ngx_snorky_call_t           *deferred;
    ngx_snorky_upstream_conf_t  *conf;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    if (!ngx_snorky_upstream_listed(conf, ngx_snorky_call_name(call))) {
        return ngx_snorky_call_error(call, "Unknown command");
    }

    rc = ngx_snorky_call_defer(call, conf->timeout, 0, &deferred);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_upstream_ask(call, deferred) != NGX_OK) {
        return ngx_snorky_call_error(deferred, "Internal error");
    }

    return NGX_DONE;
}


static ngx_uint_t
ngx_snorky_upstream_listed(ngx_snorky_upstream_conf_t *conf,
    ngx_str_t *command)
{
    ngx_str_t   *listed;
    ngx_uint_t   i;

    if (conf->commands == NULL) {
        return 1;
    }

    listed = conf->commands->elts;

    for (i = 0; i < conf->commands->nelts; i++) {
        if (listed[i].len == command->len
            && ngx_memcmp(listed[i].data, command->data, command->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* parameters and callId are passed on byte for byte */

static ngx_int_t
ngx_snorky_upstream_ask(ngx_snorky_call_t *call, ngx_snorky_call_t *deferred)
{
    ngx_str_t                    parts[7];
    ngx_uint_t                   n;
    ngx_snorky_question_t        question;
    ngx_snorky_upstream_conf_t  *conf;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    ngx_str_set(&parts[0], "{\"command\":\"");

    if (ngx_snorky_upstream_escape(call, ngx_snorky_call_name(call), &parts[1])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&parts[2], "\",\"params\":");
    parts[3] = *ngx_snorky_call_params(call);
    n = 4;

    if (ngx_snorky_call_id(call)->len) {
        ngx_str_set(&parts[n], ",\"callId\":");
        n++;
        parts[n++] = *ngx_snorky_call_id(call);
    }

    ngx_str_set(&parts[n], "}");
    n++;

    question.uri = conf->pass;
    question.parts = parts;
    question.n = n;
    question.max_answer = conf->response;

    return ngx_snorky_call_ask(deferred, &question);
}


static void
ngx_snorky_upstream_answered(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer)
{
    if (answer->too_large) {
        ngx_snorky_upstream_bad(call, "is larger than \"response=\"",
                                "Response too large");

    } else if (answer->status >= 200 && answer->status < 300) {
        ngx_snorky_upstream_succeed(call, answer);

    } else {
        ngx_snorky_upstream_refuse(call, answer);
    }
}


static void
ngx_snorky_upstream_succeed(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer)
{
    ngx_int_t                rc;
    ngx_str_t                null;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *root;

    if (answer->body.len == 0) {
        ngx_str_set(&null, "null");
        (void) ngx_snorky_call_reply(call, &null);
        return;
    }

    if (answer->type != NGX_SNORKY_ANSWER_JSON) {
        ngx_snorky_upstream_bad(call, "has not the type of JSON",
                                "Bad response");
        return;
    }

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));

    rc = ngx_snorky_json_parse(json, &answer->body,
                               NGX_SNORKY_UPSTREAM_MAX_DEPTH, 0, &root);

    if (rc == NGX_DECLINED) {
        ngx_snorky_upstream_bad(call, "is not JSON, or nested too deeply",
                                "Bad response");
        return;
    }

    if (rc != NGX_OK) {
        (void) ngx_snorky_call_error(call, "Internal error");
        return;
    }

    (void) ngx_snorky_call_reply(call, &root->value.text);
}


static void
ngx_snorky_upstream_refuse(ngx_snorky_call_t *call,
    ngx_snorky_answer_t *answer)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    rc = ngx_snorky_upstream_text(call, answer, &text);

    if (rc == NGX_DECLINED) {
        rc = ngx_snorky_upstream_status_text(call, answer->status, &text);
    }

    if (rc != NGX_OK) {
        (void) ngx_snorky_call_error(call, "Internal error");
        return;
    }

    (void) ngx_snorky_call_fail(call, &text);
}


/* nginx has logged where there is no whole answer, but finds this one good */

static void
ngx_snorky_upstream_bad(ngx_snorky_call_t *call, const char *reason,
    const char *text)
{
    ngx_snorky_service_t        *service;
    ngx_snorky_upstream_conf_t  *conf;

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);

    ngx_log_error(NGX_LOG_ERR, ngx_snorky_service_log(service), 0,
                  "service \"%V\": the answer at \"%V\" %s",
                  ngx_snorky_service_name(service), &conf->pass, reason);

    (void) ngx_snorky_call_error(call, text);
}


/* the application's own words; NGX_DECLINED: there are none */

static ngx_int_t
ngx_snorky_upstream_text(ngx_snorky_call_t *call, ngx_snorky_answer_t *answer,
    ngx_str_t *text)
{
    ngx_int_t  rc;

    if (answer->body.len == 0) {
        return NGX_DECLINED;
    }

    switch (answer->type) {

    case NGX_SNORKY_ANSWER_JSON:
        rc = ngx_snorky_upstream_json_text(call, &answer->body, text);
        break;

    case NGX_SNORKY_ANSWER_TEXT:
        rc = ngx_snorky_upstream_first_line(&answer->body, text);
        break;

    default: /* NGX_SNORKY_ANSWER_OTHER */
        return NGX_DECLINED;
    }

    return (rc == NGX_OK) ? ngx_snorky_upstream_bound(call, text) : rc;
}


/* "text", or {"message": "text"} */

static ngx_int_t
ngx_snorky_upstream_json_text(ngx_snorky_call_t *call, ngx_str_t *body,
    ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_str_t                message;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *node;

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));

    rc = ngx_snorky_json_parse(json, body, NGX_SNORKY_UPSTREAM_MAX_DEPTH, 1,
                               &node);
    if (rc != NGX_OK) {
        return rc;
    }

    if (node->value.type == NGX_SNORKY_JSON_OBJECT) {
        ngx_str_set(&message, "message");
        node = ngx_snorky_json_member(json, node, &message);
    }

    if (node == NULL || node->value.type != NGX_SNORKY_JSON_STRING) {
        return NGX_DECLINED;
    }

    text->data = ngx_pnalloc(ngx_snorky_call_pool(call),
                             node->value.text.len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_snorky_json_string(&node->value, text->data) - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_upstream_first_line(ngx_str_t *body, ngx_str_t *text)
{
    u_char  *p;

    *text = *body;

    p = ngx_strlchr(body->data, body->data + body->len, '\n');
    if (p) {
        text->len = p - body->data;
    }

    while (text->len
           && (text->data[text->len - 1] == '\r'
               || text->data[text->len - 1] == ' '))
    {
        text->len--;
    }

    return NGX_OK;
}


/* not cut within a character, and escaped; NGX_DECLINED: not UTF-8, empty */

static ngx_int_t
ngx_snorky_upstream_bound(ngx_snorky_call_t *call, ngx_str_t *text)
{
    ngx_int_t                rc;
    ngx_str_t                parts[3], string;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *root;

    if (text->len > NGX_SNORKY_UPSTREAM_MAX_TEXT) {
        text->len = NGX_SNORKY_UPSTREAM_MAX_TEXT;

        while (text->len && (text->data[text->len] & 0xc0) == 0x80) {
            text->len--;
        }
    }

    if (text->len == 0) {
        return NGX_DECLINED;
    }

    ngx_str_set(&parts[0], "\"");
    ngx_str_set(&parts[2], "\"");

    if (ngx_snorky_upstream_escape(call, text, &parts[1]) != NGX_OK
        || ngx_snorky_call_concat(call, parts, 3, &string) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* as a JSON string it is checked for UTF-8 */

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));

    rc = ngx_snorky_json_parse(json, &string, 0, 0, &root);

    *text = parts[1];

    return rc;
}


static ngx_int_t
ngx_snorky_upstream_escape(ngx_snorky_call_t *call, ngx_str_t *text,
    ngx_str_t *escaped)
{
    u_char  *p;
    size_t   len;

    len = text->len + ngx_escape_json(NULL, text->data, text->len);

    p = ngx_pnalloc(ngx_snorky_call_pool(call), ngx_max(len, 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_escape_json(p, text->data, text->len);

    escaped->data = p;
    escaped->len = len;

    return NGX_OK;
}


/* "403 Forbidden" */

static ngx_int_t
ngx_snorky_upstream_status_text(ngx_snorky_call_t *call, ngx_uint_t status,
    ngx_str_t *text)
{
    u_char                        *p;
    ngx_snorky_upstream_reason_t  *reason;

    for (reason = ngx_snorky_upstream_reasons; reason->status; reason++) {
        if (reason->status == status) {
            break;
        }
    }

    p = ngx_pnalloc(ngx_snorky_call_pool(call),
                    NGX_INT_T_LEN + 1 + reason->text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    p = ngx_sprintf(p, "%ui", status);

    if (reason->status) {
        p = ngx_sprintf(p, " %V", &reason->text);
    }

    text->len = p - text->data;

    return NGX_OK;
}


static char *
ngx_snorky_upstream_pass(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_snorky_upstream_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (value->len == 0 || value->data[0] != '/') {
        return "no \"/\" at the beginning";
    }

    conf->pass = *value;

    return NGX_CONF_OK;
}


static char *
ngx_snorky_upstream_commands(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    u_char                      *p, *last, *comma;
    ngx_str_t                    name, *place;
    ngx_snorky_upstream_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    conf->commands = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (conf->commands == NULL) {
        return NGX_CONF_ERROR;
    }

    p = value->data;
    last = value->data + value->len;

    for ( ;; ) {
        comma = ngx_strlchr(p, last, ',');

        name.data = p;
        name.len = (comma ? comma : last) - p;

        if (name.len == 0) {
            return "empty command";
        }

        if (ngx_snorky_upstream_listed(conf, &name)) {
            return "duplicate command";
        }

        place = ngx_array_push(conf->commands);
        if (place == NULL) {
            return NGX_CONF_ERROR;
        }

        *place = name;

        if (comma == NULL) {
            return NGX_CONF_OK;
        }

        p = comma + 1;
    }
}


static char *
ngx_snorky_upstream_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_snorky_upstream_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->pass.len == 0) {
        return "no \"pass=\"";
    }

    if (conf->timeout == 0) {
        conf->timeout = NGX_SNORKY_UPSTREAM_TIMEOUT;
    }

    if (conf->response == 0) {
        conf->response = NGX_SNORKY_UPSTREAM_RESPONSE;
    }

    return NGX_CONF_OK;
}
