
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the page, which is the file ngx_snorky_status.html of this directory,
 * put into the module as it is.  Called by the status.
 */


#include "ngx_snorky_status_page.h"
#include "ngx_snorky_header.h"


/* "config" tells where the file is */

__asm__(
    ".pushsection .rodata\n"
    ".globl ngx_snorky_status_page_start\n"
    ".hidden ngx_snorky_status_page_start\n"
    ".globl ngx_snorky_status_page_end\n"
    ".hidden ngx_snorky_status_page_end\n"
    "ngx_snorky_status_page_start:\n"
    ".incbin \"" NGX_SNORKY_STATUS_PAGE_FILE "\"\n"
    "ngx_snorky_status_page_end:\n"
    ".byte 0\n"
    ".popsection\n"
);

extern __attribute__((visibility("hidden")))
    u_char  ngx_snorky_status_page_start[];
extern __attribute__((visibility("hidden")))
    u_char  ngx_snorky_status_page_end[];


/* it loads nothing, and asks none but its own server */

static ngx_str_t  ngx_snorky_status_page_policy = ngx_string(
    "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
);


ngx_buf_t *
ngx_snorky_status_page_build(ngx_pool_t *pool)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(pool);
    if (b == NULL) {
        return NULL;
    }

    b->pos = ngx_snorky_status_page_start;
    b->last = ngx_snorky_status_page_end;
    b->memory = 1;

    return b;
}


ngx_int_t
ngx_snorky_status_page_headers(ngx_http_request_t *r)
{
    ngx_str_t  nosniff;

    ngx_str_set(&nosniff, "nosniff");

    if (ngx_snorky_header_add(r, "X-Content-Type-Options", &nosniff)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_snorky_header_add(r, "Content-Security-Policy",
                                 &ngx_snorky_status_page_policy);
}
