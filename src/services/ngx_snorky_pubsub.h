
/*
 * Copyright (C) The ngx_snorky_module authors
 */


#ifndef _NGX_SNORKY_PUBSUB_H_INCLUDED_
#define _NGX_SNORKY_PUBSUB_H_INCLUDED_


#include "ngx_snorky.h"


extern ngx_snorky_service_type_t  ngx_snorky_pubsub;
extern ngx_snorky_service_type_t  ngx_snorky_pubsub_backend;


#endif /* _NGX_SNORKY_PUBSUB_H_INCLUDED_ */
