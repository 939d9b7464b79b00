
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * messaging: clients register names, and send to each other's (protocol, 5).
 * A name is a record that its owner holds, and a topic in which it is alone.
 */


#include "ngx_snorky_messaging.h"


#define NGX_SNORKY_MESSAGING_ALL       0
#define NGX_SNORKY_MESSAGING_NONE      1
#define NGX_SNORKY_MESSAGING_IDENTITY  2
#define NGX_SNORKY_MESSAGING_REGEX     3


/* places of the parameters in the tables below */

#define NGX_SNORKY_MESSAGING_NAME      0

#define NGX_SNORKY_MESSAGING_SENDER    0
#define NGX_SNORKY_MESSAGING_DEST      1
#define NGX_SNORKY_MESSAGING_BODY      2


typedef struct {
    ngx_uint_t                 names;
#if (NGX_PCRE)
    ngx_regex_t               *regex;
#endif
} ngx_snorky_messaging_conf_t;


static ngx_int_t ngx_snorky_messaging_register(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_messaging_refuse(ngx_snorky_call_t *call,
    ngx_str_t *key);
static ngx_int_t ngx_snorky_messaging_allowed(ngx_snorky_call_t *call,
    ngx_str_t *key);
static ngx_int_t ngx_snorky_messaging_unregister(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_messaging_list(ngx_snorky_call_t *call);
static int ngx_libc_cdecl ngx_snorky_messaging_order(const void *one,
    const void *two);
static ngx_int_t ngx_snorky_messaging_send(ngx_snorky_call_t *call);
static char *ngx_snorky_messaging_names(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_snorky_option_t *option,
    ngx_str_t *value);


static ngx_str_t  ngx_snorky_messaging_name_params[] = {
    ngx_string("name"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_messaging_no_params[] = {
    ngx_null_string
};


static ngx_str_t  ngx_snorky_messaging_send_params[] = {
    ngx_string("sender"),
    ngx_string("dest"),
    ngx_string("body"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_messaging_commands[] = {

    { ngx_string("registerParticipant"),
      ngx_snorky_messaging_name_params,
      ngx_snorky_messaging_register },

    { ngx_string("unregisterParticipant"),
      ngx_snorky_messaging_name_params,
      ngx_snorky_messaging_unregister },

    { ngx_string("listParticipants"),
      ngx_snorky_messaging_no_params,
      ngx_snorky_messaging_list },

    { ngx_string("send"),
      ngx_snorky_messaging_send_params,
      ngx_snorky_messaging_send },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_messaging_options[] = {

    { ngx_string("names"),
      ngx_snorky_messaging_names,
      0,
      NULL },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_messaging = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("messaging"),
    .commands  = ngx_snorky_messaging_commands,
    .options   = ngx_snorky_messaging_options,
    .conf_size = sizeof(ngx_snorky_messaging_conf_t)
};


static ngx_int_t
ngx_snorky_messaging_register(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             key;
    ngx_snorky_value_t   *name;
    ngx_snorky_record_t   record;
    ngx_snorky_change_t  *change;

    name = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_NAME);

    rc = ngx_snorky_call_key(call, name, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_messaging_allowed(call, &key);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_messaging_refuse(call, &key);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.key = key;
    record.value = name->text;
    record.label = key;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_join(change, name);
    ngx_snorky_change_hold(change, &record);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Name already registered");
    }

    return rc;
}


/* that a name is taken is told before that it is not allowed */

static ngx_int_t
ngx_snorky_messaging_refuse(ngx_snorky_call_t *call, ngx_str_t *key)
{
    ngx_int_t             rc;
    ngx_snorky_change_t  *change;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_need(change, NULL, key);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_OK) {
        return ngx_snorky_call_error(call, "Name already registered");
    }

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Name not allowed");
    }

    return rc;
}


/* NGX_OK, NGX_DECLINED, NGX_ERROR */

static ngx_int_t
ngx_snorky_messaging_allowed(ngx_snorky_call_t *call, ngx_str_t *key)
{
    ngx_str_t                    *identity;
    ngx_snorky_messaging_conf_t  *conf;

#if (NGX_PCRE)
    ngx_str_t                     text;
    ngx_snorky_value_t           *name;
#endif

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    switch (conf->names) {

    case NGX_SNORKY_MESSAGING_ALL:
        return NGX_OK;

    case NGX_SNORKY_MESSAGING_IDENTITY:
        identity = ngx_snorky_session_identity(ngx_snorky_call_session(call));

        /* an identity is its own canonical key */

        return (identity
                && identity->len == key->len
                && ngx_memcmp(identity->data, key->data, key->len) == 0)
               ? NGX_OK : NGX_DECLINED;

#if (NGX_PCRE)

    case NGX_SNORKY_MESSAGING_REGEX:
        name = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_NAME);

        if (name->type != NGX_SNORKY_JSON_STRING) {
            return NGX_DECLINED;
        }

        text.data = ngx_pnalloc(ngx_snorky_call_pool(call), name->text.len);
        if (text.data == NULL) {
            return NGX_ERROR;
        }

        text.len = ngx_snorky_json_string(name, text.data) - text.data;

        return (ngx_regex_exec(conf->regex, &text, NULL, 0) >= 0)
               ? NGX_OK : NGX_DECLINED;

#endif

    default: /* NGX_SNORKY_MESSAGING_NONE */
        return NGX_DECLINED;
    }
}


static ngx_int_t
ngx_snorky_messaging_unregister(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             key;
    ngx_snorky_hold_t    *hold;
    ngx_snorky_value_t   *name;
    ngx_snorky_change_t  *change;

    name = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_NAME);

    rc = ngx_snorky_call_key(call, name, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    hold = ngx_snorky_hold_find(ngx_snorky_call_session(call),
                                ngx_snorky_call_service(call), &key);

    change = ngx_snorky_change_begin(call);

    if (hold) {
        ngx_snorky_change_release(change, hold);
        ngx_snorky_change_leave(change, name);

        return ngx_snorky_change_commit(change);
    }

    ngx_snorky_change_need(change, NULL, &key);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_OK) {
        return ngx_snorky_call_error(call, "Invalid participant");
    }

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Unknown participant");
    }

    return rc;
}


static ngx_int_t
ngx_snorky_messaging_list(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_uint_t            n;
    ngx_snorky_change_t  *change;
    ngx_snorky_listed_t  *listed;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_list(change, NULL);

    rc = ngx_snorky_change_commit(change);
    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    if (listed == NULL) {
        return NGX_ERROR;
    }

    ngx_qsort(listed, n, sizeof(ngx_snorky_listed_t),
              ngx_snorky_messaging_order);

    return ngx_snorky_call_reply_list(call, "[", listed, n, "]");
}


static int ngx_libc_cdecl
ngx_snorky_messaging_order(const void *one, const void *two)
{
    ngx_snorky_listed_t  *first, *second;

    first = (ngx_snorky_listed_t *) one;
    second = (ngx_snorky_listed_t *) two;

    return (int) ngx_snorky_json_compare(&first->key, &second->key);
}


static ngx_int_t
ngx_snorky_messaging_send(ngx_snorky_call_t *call)
{
    ngx_int_t                  rc;
    ngx_str_t                  sender, dest, parts[7];
    ngx_snorky_change_t       *change;
    ngx_snorky_publication_t   publication;

    rc = ngx_snorky_call_key(call,
                    ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_SENDER),
                    &sender);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_hold_find(ngx_snorky_call_session(call),
                             ngx_snorky_call_service(call), &sender)
        == NULL)
    {
        return ngx_snorky_call_error(call, "Invalid sender");
    }

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.key = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_DEST);

    rc = ngx_snorky_call_key(call, publication.key, &dest);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_set(&parts[0], "{\"type\":\"message\",\"sender\":");
    parts[1] = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_SENDER)->text;
    ngx_str_set(&parts[2], ",\"dest\":");
    parts[3] = publication.key->text;
    ngx_str_set(&parts[4], ",\"body\":");
    parts[5] = ngx_snorky_call_param(call, NGX_SNORKY_MESSAGING_BODY)->text;
    ngx_str_set(&parts[6], "}");

    publication.parts = parts;
    publication.n = 7;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_need(change, NULL, &dest);
    ngx_snorky_change_publish(change, &publication);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Unknown destination");
    }

    return rc;
}


static char *
ngx_snorky_messaging_names(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value)
{
    ngx_snorky_messaging_conf_t  *conf;

#if (NGX_PCRE)
    u_char                        error[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t           rc;
#endif

    conf = ngx_snorky_service_conf(service);

    if (ngx_strcmp(value->data, "all") == 0) {
        conf->names = NGX_SNORKY_MESSAGING_ALL;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "none") == 0) {
        conf->names = NGX_SNORKY_MESSAGING_NONE;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "identity") == 0) {
        conf->names = NGX_SNORKY_MESSAGING_IDENTITY;
        return NGX_CONF_OK;
    }

#if (NGX_PCRE)

    if (value->len == 0) {
        return "empty value";
    }

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern = *value;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = error;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return "invalid regular expression";
    }

    conf->names = NGX_SNORKY_MESSAGING_REGEX;
    conf->regex = rc.regex;

    return NGX_CONF_OK;

#else

    return "regular expressions need PCRE, which nginx has not; invalid value";

#endif
}
