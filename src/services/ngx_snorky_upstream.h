
/*
 * Copyright (C) The ngx_snorky_module authors
 */


#ifndef _NGX_SNORKY_UPSTREAM_H_INCLUDED_
#define _NGX_SNORKY_UPSTREAM_H_INCLUDED_


#include "ngx_snorky.h"


extern ngx_snorky_service_type_t  ngx_snorky_upstream;
extern ngx_snorky_service_type_t  ngx_snorky_upstream_backend;


#endif /* _NGX_SNORKY_UPSTREAM_H_INCLUDED_ */
