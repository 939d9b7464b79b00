
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * datasync, which browsers call, and datasync_backend, which the application
 * does.  What both must know of each other stands here: the dealers, and a
 * delta on its way from one to the other.
 */


#ifndef _NGX_SNORKY_DATASYNC_H_INCLUDED_
#define _NGX_SNORKY_DATASYNC_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_matcher.h"


typedef enum {
    NGX_SNORKY_DATASYNC_BROADCAST = 0,
    NGX_SNORKY_DATASYNC_SIMPLE,
    NGX_SNORKY_DATASYNC_FILTER
} ngx_snorky_datasync_kind_e;


typedef struct {
    ngx_str_t                   name;       /* canonical: a JSON string */
    ngx_uint_t                  bit;        /* under which deltas are kept */
} ngx_snorky_datasync_model_t;


typedef struct {
    ngx_str_t                   name;
    ngx_snorky_datasync_kind_e  kind;
    ngx_uint_t                  model;      /* its index */
    ngx_str_t                   head;       /* simple: ["==","PATH", */
} ngx_snorky_datasync_dealer_t;


typedef struct {
    ngx_array_t                *models;     /* ngx_snorky_datasync_model_t */
    ngx_array_t                *dealers;    /* ngx_snorky_datasync_dealer_t */
    ngx_msec_t                  timeout;    /* of a token */
    size_t                      pending_max;
} ngx_snorky_datasync_conf_t;


/* A delta in the log and in the journal: this head, then the texts. */

typedef struct {
    ngx_snorky_matcher_kind_e   kind;
    uint32_t                    name;       /* of the model, canonical */
    uint32_t                    model;      /* its text, as it was sent */
    uint32_t                    new_data;
    uint32_t                    old_data;
} ngx_snorky_datasync_delta_t;


extern ngx_snorky_service_type_t  ngx_snorky_datasync;
extern ngx_snorky_service_type_t  ngx_snorky_datasync_backend;


/* for the type */
char *ngx_snorky_datasync_init(ngx_conf_t *cf, ngx_snorky_service_t *service);
char *ngx_snorky_datasync_dealer(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_str_t *args, ngx_uint_t n);

/* the index of the model of this canonical name; NGX_DECLINED: none */
ngx_int_t ngx_snorky_datasync_find_model(ngx_snorky_datasync_conf_t *conf,
    ngx_str_t *name);

/* by the name, a JSON string; NULL: none */
ngx_snorky_datasync_dealer_t *ngx_snorky_datasync_find_dealer(
    ngx_snorky_datasync_conf_t *conf, ngx_snorky_value_t *name);

/*
 * What a query means to a dealer, as a filter; empty: everything matches.
 * NGX_OK, or NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_datasync_filter(ngx_snorky_datasync_dealer_t *dealer,
    ngx_str_t *query, ngx_pool_t *pool, ngx_str_t *filter);


#endif /* _NGX_SNORKY_DATASYNC_H_INCLUDED_ */
