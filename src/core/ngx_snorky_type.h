
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The types of services that there are: those of this module, and those that
 * other modules have registered.
 */


#ifndef _NGX_SNORKY_TYPE_H_INCLUDED_
#define _NGX_SNORKY_TYPE_H_INCLUDED_


#include "ngx_snorky.h"


/*
 * Adds a type to the list, an array of ngx_snorky_service_type_t *.  Returns
 * NGX_OK; or NGX_ERROR, and what is wrong with the type is logged.  If it is
 * of another version, nothing else of it is read: name need not lie in it.
 */

ngx_int_t ngx_snorky_type_add(ngx_conf_t *cf, ngx_array_t *types,
    ngx_uint_t version, ngx_str_t *name, ngx_snorky_service_type_t *type);

/* by the name in the configuration; NULL: none */
ngx_snorky_service_type_t *ngx_snorky_type_find(ngx_array_t *types,
    ngx_str_t *name);


#endif /* _NGX_SNORKY_TYPE_H_INCLUDED_ */
