
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Which pages may connect (RFC 6454, RFC 6455 10.2).  A browser tells the
 * origin of the page in every WebSocket handshake; other clients need not.
 */


#ifndef _NGX_SNORKY_ORIGIN_H_INCLUDED_
#define _NGX_SNORKY_ORIGIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    NGX_SNORKY_ORIGIN_ANY = 0,
    NGX_SNORKY_ORIGIN_SAME,         /* the request's own host and port */
    NGX_SNORKY_ORIGIN_EXACT,
    NGX_SNORKY_ORIGIN_SUFFIX,       /* *.example.com */
    NGX_SNORKY_ORIGIN_REGEX
} ngx_snorky_origin_e;


typedef struct {
    ngx_snorky_origin_e       type;
    ngx_str_t                 scheme;   /* empty: any */
    ngx_str_t                 host;     /* with its port, lower case */
#if (NGX_PCRE)
    ngx_regex_t              *regex;
#endif
} ngx_snorky_origin_t;


/* one argument of "snorky_origins"; NGX_CONF_OK or NGX_CONF_ERROR, logged */
char *ngx_snorky_origin_parse(ngx_conf_t *cf, ngx_str_t *arg,
    ngx_snorky_origin_t *origin);

/*
 * NGX_OK when the request has no Origin, or one that some pattern allows;
 * NGX_DECLINED otherwise.  Patterns NULL stands for "same".
 */

ngx_int_t ngx_snorky_origin_check(ngx_http_request_t *r,
    ngx_array_t *patterns);

/*
 * The same for requests that a page may make without telling its origin (as
 * for a script): then the Referer (RFC 9110, 10.1.3) counts; and without one,
 * Sec-Fetch-Site (W3C Fetch Metadata): one of another site needs "any", one of
 * the same site something but "same".
 */

ngx_int_t ngx_snorky_origin_check_page(ngx_http_request_t *r,
    ngx_array_t *patterns);


#endif /* _NGX_SNORKY_ORIGIN_H_INCLUDED_ */
