
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns nothing: reads the request's headers and adds to the response's, for
 * the handshake, the origins, the backend and SockJS.
 */


#include "ngx_snorky_header.h"


ngx_table_elt_t *
ngx_snorky_header_next(ngx_http_request_t *r, const char *name,
    ngx_list_part_t **part, ngx_uint_t *i)
{
    size_t            len;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    if (*part == NULL) {
        *part = &r->headers_in.headers.part;
        *i = 0;
    }

    for ( ;; ) {

        if (*i >= (*part)->nelts) {
            if ((*part)->next == NULL) {
                return NULL;
            }

            *part = (*part)->next;
            *i = 0;
            continue;
        }

        h = (ngx_table_elt_t *) (*part)->elts + (*i)++;

        /* the library's is quicker than nginx's, and nginx sets no locale */

        if (h->hash && h->key.len == len
            && strncasecmp((char *) h->key.data, name, len) == 0)
        {
            return h;
        }
    }
}


ngx_table_elt_t *
ngx_snorky_header_find(ngx_http_request_t *r, const char *name, ngx_uint_t *n)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *first;

    part = NULL;
    first = NULL;
    *n = 0;

    for ( ;; ) {
        h = ngx_snorky_header_next(r, name, &part, &i);

        if (h == NULL) {
            return first;
        }

        if ((*n)++ == 0) {
            first = h;
        }
    }
}


ngx_uint_t
ngx_snorky_header_has(ngx_http_request_t *r, const char *name,
    const char *token, ngx_uint_t caseless)
{
    size_t            len;
    ngx_str_t         rest, found;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(token);
    part = NULL;

    for ( ;; ) {
        h = ngx_snorky_header_next(r, name, &part, &i);

        if (h == NULL) {
            return 0;
        }

        rest = h->value;

        while (ngx_snorky_header_token(&rest, &found) == NGX_OK) {
            if (found.len != len) {
                continue;
            }

            if (ngx_strncmp(found.data, token, len) == 0
                || (caseless && ngx_strncasecmp(found.data, (u_char *) token,
                                                len)
                                == 0))
            {
                return 1;
            }
        }
    }
}


ngx_int_t
ngx_snorky_header_token(ngx_str_t *rest, ngx_str_t *token)
{
    u_char  *p, *last, *end;

    p = rest->data;
    last = p + rest->len;

    while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
        p++;
    }

    if (p == last) {
        return NGX_DONE;
    }

    token->data = p;

    while (p < last && *p != ',') {
        p++;
    }

    end = p;

    while (end[-1] == ' ' || end[-1] == '\t') {
        end--;
    }

    token->len = end - token->data;

    rest->data = p;
    rest->len = last - p;

    return NGX_OK;
}


ngx_uint_t
ngx_snorky_header_is_token(ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= ' '
            || text->data[i] >= 0x7f
            || ngx_strchr("()<>@,;:\\\"/[]?={}", text->data[i]))
        {
            return 0;
        }
    }

    return text->len != 0;
}


ngx_int_t
ngx_snorky_header_add(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    return ngx_snorky_header_push(r, name, value) ? NGX_OK : NGX_ERROR;
}


ngx_table_elt_t *
ngx_snorky_header_push(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}
