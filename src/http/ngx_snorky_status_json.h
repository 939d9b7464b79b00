
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The status as JSON.
 */


#ifndef _NGX_SNORKY_STATUS_JSON_H_INCLUDED_
#define _NGX_SNORKY_STATUS_JSON_H_INCLUDED_


#include "ngx_snorky_status_figure.h"


/* NULL: no memory */
ngx_buf_t *ngx_snorky_status_json_build(ngx_pool_t *pool,
    ngx_snorky_status_figures_t *figures);


#endif /* _NGX_SNORKY_STATUS_JSON_H_INCLUDED_ */
