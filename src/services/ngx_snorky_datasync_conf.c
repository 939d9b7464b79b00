
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the configuration of datasync: its dealers, and what a query means to
 * one.  Called when the configuration is read, and by the two services.
 */


#include "ngx_snorky_datasync.h"


#define NGX_SNORKY_DATASYNC_TIMEOUT      120000             /* ms */
#define NGX_SNORKY_DATASYNC_PENDING_MAX  (1024 * 1024)

/* as many as there are bits in a mask */
#define NGX_SNORKY_DATASYNC_BITS         64


static char *ngx_snorky_datasync_arrays(ngx_conf_t *cf,
    ngx_snorky_datasync_conf_t *conf);
static char *ngx_snorky_datasync_params(ngx_conf_t *cf, ngx_str_t *args,
    ngx_uint_t n, ngx_str_t *model, ngx_str_t *key);
static ngx_uint_t ngx_snorky_datasync_taken(ngx_snorky_datasync_conf_t *conf,
    ngx_str_t *name);
static ngx_uint_t ngx_snorky_datasync_plain(ngx_str_t *text);
static char *ngx_snorky_datasync_wrong(ngx_conf_t *cf, const char *what,
    ngx_str_t *arg);
static char *ngx_snorky_datasync_kind(ngx_conf_t *cf, ngx_str_t *text,
    ngx_snorky_datasync_kind_e *kind);
static char *ngx_snorky_datasync_model(ngx_conf_t *cf,
    ngx_snorky_datasync_conf_t *conf, ngx_str_t *text, ngx_uint_t *index);
static char *ngx_snorky_datasync_path(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *head);


char *
ngx_snorky_datasync_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_snorky_datasync_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->timeout == 0) {
        conf->timeout = NGX_SNORKY_DATASYNC_TIMEOUT;
    }

    if (conf->pending_max == 0) {
        conf->pending_max = NGX_SNORKY_DATASYNC_PENDING_MAX;
    }

    return ngx_snorky_datasync_arrays(cf, conf);
}


static char *
ngx_snorky_datasync_arrays(ngx_conf_t *cf, ngx_snorky_datasync_conf_t *conf)
{
    if (conf->dealers) {
        return NGX_CONF_OK;
    }

    conf->dealers = ngx_array_create(cf->pool, 4,
                                     sizeof(ngx_snorky_datasync_dealer_t));
    conf->models = ngx_array_create(cf->pool, 4,
                                    sizeof(ngx_snorky_datasync_model_t));

    if (conf->dealers == NULL || conf->models == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* NAME broadcast|simple|filter model=MODEL [key=PATH] */

char *
ngx_snorky_datasync_dealer(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_str_t *args, ngx_uint_t n)
{
    char                          *rv;
    ngx_str_t                      model, key;
    ngx_snorky_datasync_conf_t    *conf;
    ngx_snorky_datasync_dealer_t  *dealer;

    conf = ngx_snorky_service_conf(service);

    if (ngx_snorky_datasync_arrays(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (!ngx_snorky_datasync_plain(&args[0])) {
        return ngx_snorky_datasync_wrong(cf, "invalid dealer name", &args[0]);
    }

    if (ngx_snorky_datasync_taken(conf, &args[0])) {
        return ngx_snorky_datasync_wrong(cf, "duplicate dealer", &args[0]);
    }

    dealer = ngx_array_push(conf->dealers);
    if (dealer == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(dealer, sizeof(ngx_snorky_datasync_dealer_t));

    dealer->name = args[0];

    if (n < 2) {
        return "no kind of dealer";
    }

    rv = ngx_snorky_datasync_kind(cf, &args[1], &dealer->kind);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_snorky_datasync_params(cf, &args[2], n - 2, &model, &key);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if ((dealer->kind == NGX_SNORKY_DATASYNC_SIMPLE) != (key.data != NULL)) {
        return key.data ? "unexpected \"key=\"" : "no \"key=\"";
    }

    if (key.data) {
        rv = ngx_snorky_datasync_path(cf, &key, &dealer->head);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return ngx_snorky_datasync_model(cf, conf, &model, &dealer->model);
}


static char *
ngx_snorky_datasync_params(ngx_conf_t *cf, ngx_str_t *args, ngx_uint_t n,
    ngx_str_t *model, ngx_str_t *key)
{
    ngx_uint_t  i;

    ngx_str_null(model);
    ngx_str_null(key);

    for (i = 0; i < n; i++) {

        if (ngx_strncmp(args[i].data, "model=", 6) == 0
            && model->data == NULL)
        {
            model->data = args[i].data + 6;
            model->len = args[i].len - 6;

        } else if (ngx_strncmp(args[i].data, "key=", 4) == 0
                   && key->data == NULL)
        {
            key->data = args[i].data + 4;
            key->len = args[i].len - 4;

        } else {
            return ngx_snorky_datasync_wrong(cf, "invalid parameter",
                                             &args[i]);
        }
    }

    return model->data ? NGX_CONF_OK : "no \"model=\"";
}


static ngx_uint_t
ngx_snorky_datasync_taken(ngx_snorky_datasync_conf_t *conf, ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_snorky_datasync_dealer_t  *dealer;

    dealer = conf->dealers->elts;

    for (i = 0; i < conf->dealers->nelts; i++) {
        if (dealer[i].name.len == name->len
            && ngx_strncmp(dealer[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* whether the text, between quotes, is the JSON string that means it */

static ngx_uint_t
ngx_snorky_datasync_plain(ngx_str_t *text)
{
    u_char  *p, *last;

    if (text->len == 0 || ngx_escape_json(NULL, text->data, text->len)) {
        return 0;
    }

    p = text->data;
    last = p + text->len;

    while (p < last) {

        if (*p < 0x80) {
            p++;
            continue;
        }

        if (ngx_utf8_decode(&p, last - p) > 0x10ffff) {
            return 0;
        }
    }

    return 1;
}


/* what is wrong, and with which argument */

static char *
ngx_snorky_datasync_wrong(ngx_conf_t *cf, const char *what, ngx_str_t *arg)
{
    u_char  *p, *text;

    text = ngx_pnalloc(cf->pool, ngx_strlen(what) + arg->len + 4);
    if (text == NULL) {
        return NGX_CONF_ERROR;
    }

    p = ngx_sprintf(text, "%s \"%V\"", what, arg);
    *p = '\0';

    return (char *) text;
}


static char *
ngx_snorky_datasync_kind(ngx_conf_t *cf, ngx_str_t *text,
    ngx_snorky_datasync_kind_e *kind)
{
    if (ngx_strcmp(text->data, "broadcast") == 0) {
        *kind = NGX_SNORKY_DATASYNC_BROADCAST;

    } else if (ngx_strcmp(text->data, "simple") == 0) {
        *kind = NGX_SNORKY_DATASYNC_SIMPLE;

    } else if (ngx_strcmp(text->data, "filter") == 0) {
        *kind = NGX_SNORKY_DATASYNC_FILTER;

    } else {
        return ngx_snorky_datasync_wrong(cf, "unknown kind of dealer", text);
    }

    return NGX_CONF_OK;
}


/*
 * A model's canonical name is its JSON string.  Its bit must be the same in
 * every configuration that comes after a reload, so it depends on the name
 * alone; two models with one bit have what is kept for both looked through.
 */

static char *
ngx_snorky_datasync_model(ngx_conf_t *cf, ngx_snorky_datasync_conf_t *conf,
    ngx_str_t *text, ngx_uint_t *index)
{
    u_char                       *p;
    ngx_int_t                     found;
    ngx_str_t                     name;
    ngx_snorky_datasync_model_t  *model;

    if (!ngx_snorky_datasync_plain(text)) {
        return ngx_snorky_datasync_wrong(cf, "invalid model", text);
    }

    name.len = text->len + 2;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    p = name.data;
    *p++ = '"';
    p = ngx_cpymem(p, text->data, text->len);
    *p = '"';

    found = ngx_snorky_datasync_find_model(conf, &name);

    if (found != NGX_DECLINED) {
        *index = found;
        return NGX_CONF_OK;
    }

    model = ngx_array_push(conf->models);
    if (model == NULL) {
        return NGX_CONF_ERROR;
    }

    model->name = name;
    model->bit = ngx_crc32_long(name.data, name.len)
                 % NGX_SNORKY_DATASYNC_BITS;

    *index = conf->models->nelts - 1;

    return NGX_CONF_OK;
}


static char *
ngx_snorky_datasync_path(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *head)
{
    u_char      *p;
    ngx_uint_t   i, empty;

    /* no name in it may be empty */

    empty = 1;

    for (i = 0; i < path->len; i++) {

        if (path->data[i] == '.' && empty) {
            break;
        }

        empty = (path->data[i] == '.');
    }

    if (empty || !ngx_snorky_datasync_plain(path)) {
        return ngx_snorky_datasync_wrong(cf, "invalid key", path);
    }

    p = ngx_pnalloc(cf->pool, path->len + sizeof("[\"==\",\"\",") - 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    head->data = p;
    head->len = ngx_sprintf(p, "[\"==\",\"%V\",", path) - p;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_snorky_datasync_find_model(ngx_snorky_datasync_conf_t *conf,
    ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_snorky_datasync_model_t  *model;

    model = conf->models->elts;

    for (i = 0; i < conf->models->nelts; i++) {
        if (model[i].name.len == name->len
            && ngx_memcmp(model[i].name.data, name->data, name->len) == 0)
        {
            return i;
        }
    }

    return NGX_DECLINED;
}


ngx_snorky_datasync_dealer_t *
ngx_snorky_datasync_find_dealer(ngx_snorky_datasync_conf_t *conf,
    ngx_snorky_value_t *name)
{
    ngx_uint_t                     i;
    ngx_snorky_datasync_dealer_t  *dealer;

    dealer = conf->dealers->elts;

    for (i = 0; i < conf->dealers->nelts; i++) {
        if (ngx_snorky_json_string_is(name, &dealer[i].name)) {
            return &dealer[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_snorky_datasync_filter(ngx_snorky_datasync_dealer_t *dealer,
    ngx_str_t *query, ngx_pool_t *pool, ngx_str_t *filter)
{
    u_char  *p;

    switch (dealer->kind) {

    case NGX_SNORKY_DATASYNC_FILTER:
        *filter = *query;
        return NGX_OK;

    case NGX_SNORKY_DATASYNC_SIMPLE:
        p = ngx_pnalloc(pool, dealer->head.len + query->len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        filter->data = p;
        p = ngx_cpymem(p, dealer->head.data, dealer->head.len);
        p = ngx_cpymem(p, query->data, query->len);
        *p++ = ']';
        filter->len = p - filter->data;

        return NGX_OK;

    default: /* NGX_SNORKY_DATASYNC_BROADCAST */
        ngx_str_null(filter);
        return NGX_OK;
    }
}
