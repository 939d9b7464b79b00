
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The body of a request, in one piece.
 */


#ifndef _NGX_SNORKY_BODY_H_INCLUDED_
#define _NGX_SNORKY_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * After nginx has read it: from memory, or from the file that it was put into;
 * a body of no bytes is an empty text.  NGX_OK, NGX_DECLINED: there is none,
 * or NGX_ERROR: no memory, or the file can't be read.
 */

ngx_int_t ngx_snorky_body_text(ngx_http_request_t *r, ngx_str_t *text);


#endif /* _NGX_SNORKY_BODY_H_INCLUDED_ */
