
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Random bytes that nobody can foresee: secrets of hashes, tokens, handles.
 */


#include "ngx_snorky.h"

#include <unistd.h>


/* getentropy(): glibc 2.25, FreeBSD 12, musl 1.1.20; never a short answer */

ngx_int_t
ngx_snorky_random(void *p, size_t size)
{
    return getentropy(p, size) == 0 ? NGX_OK : NGX_ERROR;
}
