
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * datasync_backend: the application authorizes subscriptions, and publishes
 * what it has changed (protocol, 9).
 */


#include "ngx_snorky_datasync.h"
#include "ngx_snorky_filter.h"


#define NGX_SNORKY_DATASYNC_TOKEN_LEN  32

/* place of the parameter, items or deltas */
#define NGX_SNORKY_DATASYNC_BACKEND_LIST  0


typedef struct {
    ngx_snorky_service_t         *frontend;
} ngx_snorky_datasync_backend_conf_t;


typedef struct {
    ngx_snorky_value_t            dealer;
    ngx_snorky_value_t            query;
    const char                   *error;    /* what is wrong with it, or NULL */
} ngx_snorky_datasync_backend_item_t;


typedef struct {
    ngx_snorky_datasync_delta_t   head;
    ngx_snorky_datasync_model_t  *model;
    ngx_str_t                     parts[5];
} ngx_snorky_datasync_backend_delta_t;


static ngx_int_t ngx_snorky_datasync_backend_authorize(
    ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_backend_items(ngx_snorky_call_t *call,
    ngx_array_t *items);
static ngx_int_t ngx_snorky_datasync_backend_list(ngx_snorky_call_t *call,
    ngx_array_t *array, size_t size, ngx_snorky_json_t **json,
    ngx_snorky_json_node_t **first);
static const char *ngx_snorky_datasync_backend_item(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_snorky_datasync_backend_item_t *item);
static ngx_int_t ngx_snorky_datasync_backend_check(ngx_snorky_call_t *call,
    ngx_snorky_datasync_backend_item_t *item, uint64_t *mask);
static ngx_int_t ngx_snorky_datasync_backend_pairs(ngx_snorky_call_t *call,
    ngx_array_t *items, ngx_str_t *text);
static ngx_int_t ngx_snorky_datasync_backend_token(ngx_snorky_call_t *call,
    ngx_str_t *token);

static ngx_int_t ngx_snorky_datasync_backend_publish(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_datasync_backend_deltas(ngx_snorky_call_t *call,
    ngx_array_t *deltas);
static ngx_int_t ngx_snorky_datasync_backend_delta(ngx_snorky_call_t *call,
    ngx_snorky_json_t *json, ngx_snorky_json_node_t *node,
    ngx_snorky_datasync_backend_delta_t *delta);
static const char *ngx_snorky_datasync_backend_fields(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_snorky_value_t *type,
    ngx_snorky_datasync_backend_delta_t *delta);
static ngx_int_t ngx_snorky_datasync_backend_model(ngx_snorky_call_t *call,
    ngx_snorky_datasync_backend_delta_t *delta);
static ngx_snorky_value_t *ngx_snorky_datasync_backend_member(
    ngx_snorky_json_t *json, ngx_snorky_json_node_t *node, const char *name);

static char *ngx_snorky_datasync_backend_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);


static ngx_str_t  ngx_snorky_datasync_backend_items_params[] = {
    ngx_string("items"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_datasync_backend_deltas_params[] = {
    ngx_string("deltas"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_datasync_backend_commands[] = {

    { ngx_string("authorizeSubscription"),
      ngx_snorky_datasync_backend_items_params,
      ngx_snorky_datasync_backend_authorize },

    { ngx_string("publishDeltas"),
      ngx_snorky_datasync_backend_deltas_params,
      ngx_snorky_datasync_backend_publish },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_datasync_backend_options[] = {

    { ngx_string("frontend"),
      ngx_snorky_option_service,
      offsetof(ngx_snorky_datasync_backend_conf_t, frontend),
      &ngx_snorky_datasync },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_datasync_backend = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("datasync_backend"),
    .commands  = ngx_snorky_datasync_backend_commands,
    .options   = ngx_snorky_datasync_backend_options,
    .conf_size = sizeof(ngx_snorky_datasync_backend_conf_t),
    .init      = ngx_snorky_datasync_backend_init
};


/* the token waits with the items as its value, until somebody acquires it */

static ngx_int_t
ngx_snorky_datasync_backend_authorize(ngx_snorky_call_t *call)
{
    uint64_t                             mask;
    ngx_int_t                            rc;
    ngx_uint_t                           i;
    ngx_array_t                          items;
    ngx_snorky_record_t                  record;
    ngx_snorky_change_t                 *change;
    ngx_snorky_datasync_conf_t          *frontend;
    ngx_snorky_datasync_backend_conf_t  *conf;
    ngx_snorky_datasync_backend_item_t  *item;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));
    frontend = ngx_snorky_service_conf(conf->frontend);

    rc = ngx_snorky_datasync_backend_items(call, &items);
    if (rc != NGX_OK) {
        return rc;
    }

    mask = 0;
    item = items.elts;

    for (i = 0; i < items.nelts; i++) {
        rc = ngx_snorky_datasync_backend_check(call, &item[i], &mask);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    if (ngx_snorky_datasync_backend_pairs(call, &items, &record.value)
        != NGX_OK
        || ngx_snorky_datasync_backend_token(call, &record.key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_await(change, conf->frontend, &record, mask,
                            frontend->timeout);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        /* the same token twice: the source of randomness is broken */
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_snorky_call_reply(call, &record.key);
}


static ngx_int_t
ngx_snorky_datasync_backend_items(ngx_snorky_call_t *call, ngx_array_t *items)
{
    ngx_int_t                            rc;
    ngx_snorky_json_t                   *json;
    ngx_snorky_json_node_t              *node;
    ngx_snorky_datasync_backend_item_t  *item;

    rc = ngx_snorky_datasync_backend_list(call, items,
                                  sizeof(ngx_snorky_datasync_backend_item_t),
                                  &json, &node);
    if (rc != NGX_OK) {
        return rc;
    }

    for ( /* void */ ; node; node = ngx_snorky_json_next(json, node)) {

        if (node->value.type != NGX_SNORKY_JSON_OBJECT) {
            return ngx_snorky_call_error(call, "Invalid params");
        }

        item = ngx_array_push(items);
        if (item == NULL) {
            return NGX_ERROR;
        }

        item->error = ngx_snorky_datasync_backend_item(json, node, item);
    }

    return NGX_OK;
}


/* the only parameter is a list: its first node, NULL if it is empty */

static ngx_int_t
ngx_snorky_datasync_backend_list(ngx_snorky_call_t *call, ngx_array_t *array,
    size_t size, ngx_snorky_json_t **json, ngx_snorky_json_node_t **first)
{
    ngx_snorky_value_t      *list;
    ngx_snorky_json_node_t  *root;

    *json = ngx_snorky_service_json(ngx_snorky_call_service(call));

    list = ngx_snorky_call_param(call, NGX_SNORKY_DATASYNC_BACKEND_LIST);

    if (list->type != NGX_SNORKY_JSON_ARRAY) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    if (ngx_array_init(array, ngx_snorky_call_pool(call), 4, size) != NGX_OK
        || ngx_snorky_json_parse(*json, &list->text, NGX_SNORKY_JSON_ANY_DEPTH,
                                 2, &root)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    *first = ngx_snorky_json_child(*json, root);

    return NGX_OK;
}


/* what can be seen as long as the parser's nodes live */

static const char *
ngx_snorky_datasync_backend_item(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_snorky_datasync_backend_item_t *item)
{
    ngx_snorky_value_t  *value;

    value = ngx_snorky_datasync_backend_member(json, node, "dealer");
    if (value == NULL) {
        return "Missing field 'dealer'";
    }

    item->dealer = *value;

    value = ngx_snorky_datasync_backend_member(json, node, "query");
    if (value == NULL) {
        return "Missing field 'query'";
    }

    item->query = *value;

    if (item->dealer.type != NGX_SNORKY_JSON_STRING) {
        return "dealer should be a dealer name";
    }

    return NULL;
}


static ngx_int_t
ngx_snorky_datasync_backend_check(ngx_snorky_call_t *call,
    ngx_snorky_datasync_backend_item_t *item, uint64_t *mask)
{
    ngx_int_t                            rc;
    ngx_snorky_filter_t                 *filter;
    ngx_snorky_service_t                *service;
    ngx_snorky_datasync_conf_t          *frontend;
    ngx_snorky_datasync_model_t         *model;
    ngx_snorky_datasync_dealer_t        *dealer;
    ngx_snorky_datasync_backend_conf_t  *conf;

    if (item->error) {
        return ngx_snorky_call_error(call, item->error);
    }

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);
    frontend = ngx_snorky_service_conf(conf->frontend);

    dealer = ngx_snorky_datasync_find_dealer(frontend, &item->dealer);

    if (dealer == NULL) {
        return ngx_snorky_call_error(call, "No such dealer");
    }

    model = frontend->models->elts;

    *mask |= (uint64_t) 1 << model[dealer->model].bit;

    if (dealer->kind != NGX_SNORKY_DATASYNC_FILTER) {
        return NGX_OK;
    }

    rc = ngx_snorky_filter_create(ngx_snorky_service_json(service),
                                  &item->query.text,
                                  ngx_snorky_service_log(service), &filter);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Invalid query");
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_snorky_filter_destroy(filter);

    return NGX_OK;
}


/* [[dealer,query],...] */

static ngx_int_t
ngx_snorky_datasync_backend_pairs(ngx_snorky_call_t *call, ngx_array_t *items,
    ngx_str_t *text)
{
    u_char                              *p;
    size_t                               size;
    ngx_uint_t                           i;
    ngx_snorky_datasync_backend_item_t  *item;

    item = items->elts;
    size = sizeof("[]") - 1;

    for (i = 0; i < items->nelts; i++) {
        size += item[i].dealer.text.len + item[i].query.text.len
                + sizeof("[,],") - 1;
    }

    p = ngx_pnalloc(ngx_snorky_call_pool(call), size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *p++ = '[';

    for (i = 0; i < items->nelts; i++) {

        if (i) {
            *p++ = ',';
        }

        *p++ = '[';
        p = ngx_cpymem(p, item[i].dealer.text.data, item[i].dealer.text.len);
        *p++ = ',';
        p = ngx_cpymem(p, item[i].query.text.data, item[i].query.text.len);
        *p++ = ']';
    }

    *p++ = ']';
    text->len = p - text->data;

    return NGX_OK;
}


/*
 * A JSON string of 32 characters, each of them one of 36 with the same
 * probability: bytes beyond the last multiple of 36 are thrown away.
 */

static ngx_int_t
ngx_snorky_datasync_backend_token(ngx_snorky_call_t *call, ngx_str_t *token)
{
    u_char         *p, *last, random[2 * NGX_SNORKY_DATASYNC_TOKEN_LEN];
    ngx_uint_t      i;
    static u_char   set[] = "abcdefghijklmnopqrstuvwxyz0123456789";

    token->len = NGX_SNORKY_DATASYNC_TOKEN_LEN + 2;
    token->data = ngx_pnalloc(ngx_snorky_call_pool(call), token->len);
    if (token->data == NULL) {
        return NGX_ERROR;
    }

    p = token->data;
    last = p + token->len - 1;

    *p++ = '"';

    while (p < last) {

        if (ngx_snorky_random(random, sizeof(random)) != NGX_OK) {
            return NGX_ERROR;
        }

        for (i = 0; i < sizeof(random) && p < last; i++) {
            if (random[i] < 252) {
                *p++ = set[random[i] % 36];
            }
        }
    }

    *p = '"';

    return NGX_OK;
}


/* all deltas are checked before any is published, and all are at once */

static ngx_int_t
ngx_snorky_datasync_backend_publish(ngx_snorky_call_t *call)
{
    ngx_int_t                             rc;
    ngx_uint_t                            i;
    ngx_array_t                           deltas;
    ngx_snorky_change_t                  *change;
    ngx_snorky_datasync_conf_t           *frontend;
    ngx_snorky_datasync_backend_conf_t   *conf;
    ngx_snorky_datasync_backend_delta_t  *delta;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));
    frontend = ngx_snorky_service_conf(conf->frontend);

    rc = ngx_snorky_datasync_backend_deltas(call, &deltas);
    if (rc != NGX_OK) {
        return rc;
    }

    delta = deltas.elts;

    for (i = 0; i < deltas.nelts; i++) {
        rc = ngx_snorky_datasync_backend_model(call, &delta[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    change = ngx_snorky_change_begin(call);

    for (i = 0; i < deltas.nelts; i++) {

        delta[i].parts[0].data = (u_char *) &delta[i].head;
        delta[i].parts[0].len = sizeof(ngx_snorky_datasync_delta_t);

        ngx_snorky_change_feed(change, conf->frontend, &delta[i].model->name,
                               delta[i].parts, 5);
        ngx_snorky_change_keep(change, conf->frontend, delta[i].model->bit,
                               delta[i].parts, 5, frontend->pending_max);
    }

    return ngx_snorky_change_commit(change);
}


static ngx_int_t
ngx_snorky_datasync_backend_deltas(ngx_snorky_call_t *call,
    ngx_array_t *deltas)
{
    ngx_int_t                             rc;
    ngx_snorky_json_t                    *json;
    ngx_snorky_json_node_t               *node;
    ngx_snorky_datasync_backend_delta_t  *delta;

    rc = ngx_snorky_datasync_backend_list(call, deltas,
                                  sizeof(ngx_snorky_datasync_backend_delta_t),
                                  &json, &node);
    if (rc != NGX_OK) {
        return rc;
    }

    for ( /* void */ ; node; node = ngx_snorky_json_next(json, node)) {

        delta = ngx_array_push(deltas);
        if (delta == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_snorky_datasync_backend_delta(call, json, node, delta);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_datasync_backend_delta(ngx_snorky_call_t *call,
    ngx_snorky_json_t *json, ngx_snorky_json_node_t *node,
    ngx_snorky_datasync_backend_delta_t *delta)
{
    const char          *error;
    ngx_snorky_value_t  *model, *type;

    ngx_memzero(delta, sizeof(ngx_snorky_datasync_backend_delta_t));

    if (node->value.type != NGX_SNORKY_JSON_OBJECT) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    model = ngx_snorky_datasync_backend_member(json, node, "model");
    type = ngx_snorky_datasync_backend_member(json, node, "type");

    if (model == NULL || type == NULL) {
        return ngx_snorky_call_error(call, "Missing field");
    }

    if (model->type != NGX_SNORKY_JSON_STRING) {
        return ngx_snorky_call_error(call, "model must be string");
    }

    delta->head.model = (uint32_t) model->text.len;
    delta->parts[2] = model->text;

    error = ngx_snorky_datasync_backend_fields(json, node, type, delta);

    return error ? ngx_snorky_call_error(call, error) : NGX_OK;
}


/* NULL, or what is wrong */

static const char *
ngx_snorky_datasync_backend_fields(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, ngx_snorky_value_t *type,
    ngx_snorky_datasync_backend_delta_t *delta)
{
    ngx_uint_t                  i, old;
    ngx_snorky_value_t         *new_data, *old_data;

    static ngx_str_t            types[] = {
        ngx_string("insert"),
        ngx_string("delete"),
        ngx_string("update")
    };

    static ngx_snorky_matcher_kind_e  kinds[] = {
        NGX_SNORKY_MATCHER_INSERT,
        NGX_SNORKY_MATCHER_DELETE,
        NGX_SNORKY_MATCHER_UPDATE
    };

    for (i = 0; i < 3; i++) {
        if (type->type == NGX_SNORKY_JSON_STRING
            && ngx_snorky_json_string_is(type, &types[i]))
        {
            break;
        }
    }

    if (i == 3) {
        return "Invalid delta type";
    }

    delta->head.kind = kinds[i];

    old = (kinds[i] == NGX_SNORKY_MATCHER_DELETE);

    if (kinds[i] == NGX_SNORKY_MATCHER_UPDATE) {
        new_data = ngx_snorky_datasync_backend_member(json, node, "newData");
        old_data = ngx_snorky_datasync_backend_member(json, node, "oldData");

        if (new_data == NULL || old_data == NULL) {
            return "Missing field";
        }

    } else {
        new_data = ngx_snorky_datasync_backend_member(json, node, "data");
        old_data = new_data;

        if (new_data == NULL) {
            return "Missing field";
        }
    }

    if (!old) {
        delta->head.new_data = (uint32_t) new_data->text.len;
        delta->parts[3] = new_data->text;
    }

    if (kinds[i] != NGX_SNORKY_MATCHER_INSERT) {
        delta->head.old_data = (uint32_t) old_data->text.len;
        delta->parts[4] = old_data->text;
    }

    return NULL;
}


/* looked for when the parser's nodes are needed no more: keys take them */

static ngx_int_t
ngx_snorky_datasync_backend_model(ngx_snorky_call_t *call,
    ngx_snorky_datasync_backend_delta_t *delta)
{
    u_char                              *p, *text;
    ngx_int_t                            index;
    ngx_str_t                            key;
    ngx_snorky_service_t                *service;
    ngx_snorky_datasync_conf_t          *frontend;
    ngx_snorky_datasync_model_t         *model;
    ngx_snorky_datasync_backend_conf_t  *conf;

    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);
    frontend = ngx_snorky_service_conf(conf->frontend);

    if (ngx_snorky_json_key(ngx_snorky_service_json(service),
                            &delta->parts[2], NGX_SNORKY_JSON_ANY_DEPTH, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    index = ngx_snorky_datasync_find_model(frontend, &key);

    if (index != NGX_DECLINED) {
        model = frontend->models->elts;

        delta->model = &model[index];
        delta->parts[1] = delta->model->name;
        delta->head.name = (uint32_t) delta->model->name.len;

        return NGX_OK;
    }

    text = ngx_pnalloc(ngx_snorky_call_pool(call), delta->parts[2].len
                               + sizeof("No dealer for model \\\"\\\""));
    if (text == NULL) {
        return NGX_ERROR;
    }

    /* what stands between the quotes is escaped as an error must be */

    p = ngx_sprintf(text, "No dealer for model \\\"%*s\\\"",
                    delta->parts[2].len - 2, delta->parts[2].data + 1);
    *p = '\0';

    return ngx_snorky_call_error(call, (char *) text);
}


static ngx_snorky_value_t *
ngx_snorky_datasync_backend_member(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node, const char *name)
{
    ngx_str_t                key;
    ngx_snorky_json_node_t  *member;

    key.data = (u_char *) name;
    key.len = ngx_strlen(name);

    member = ngx_snorky_json_member(json, node, &key);

    return member ? &member->value : NULL;
}


static char *
ngx_snorky_datasync_backend_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_snorky_datasync_backend_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->frontend == NULL) {
        return "no \"frontend=\"";
    }

    return NGX_CONF_OK;
}
