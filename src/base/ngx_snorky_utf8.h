
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * UTF-8 (RFC 3629) checked piece by piece: no overlong forms, no surrogates,
 * nothing above U+10FFFF.
 */


#ifndef _NGX_SNORKY_UTF8_H_INCLUDED_
#define _NGX_SNORKY_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* zero before the first byte; between two characters it is zero again */
typedef uint32_t  ngx_snorky_utf8_t;

#define NGX_SNORKY_UTF8_START  0

/*
 *   NGX_OK     all bytes belong to valid characters, and the last is whole
 *   NGX_AGAIN  so far valid, but the last character is not complete
 *   NGX_ERROR  invalid at some byte, whatever may follow
 */

ngx_int_t ngx_snorky_utf8_check(ngx_snorky_utf8_t *state, u_char *p,
    u_char *last);


#endif /* _NGX_SNORKY_UTF8_H_INCLUDED_ */
