
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What an option leaves behind until all services are known.  The functions
 * that read options are public (ngx_snorky.h).
 */


#ifndef _NGX_SNORKY_OPTION_H_INCLUDED_
#define _NGX_SNORKY_OPTION_H_INCLUDED_


#include "ngx_snorky_service.h"


typedef struct {
    ngx_str_t                    name;      /* NAME, or REGISTRY/NAME */
    ngx_snorky_option_t         *option;
} ngx_snorky_service_wanted_t;


#endif /* _NGX_SNORKY_OPTION_H_INCLUDED_ */
