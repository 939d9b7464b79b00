
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A second opinion on what is JSON: the grammar of RFC 8259 written down as
 * plainly as it goes, for texts that are not too deep for the stack.
 */


#ifndef _NGX_SNORKY_JSON_ORACLE_H_INCLUDED_
#define _NGX_SNORKY_JSON_ORACLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_utf8.h"


/* each takes what it names from p and returns the end of it, or NULL */

static u_char *ngx_snorky_json_oracle_value(u_char *p, u_char *last,
    ngx_uint_t depth);


static inline u_char *
ngx_snorky_json_oracle_space(u_char *p, u_char *last)
{
    while (p < last
           && (*p == 0x20 || *p == 0x09 || *p == 0x0a || *p == 0x0d))
    {
        p++;
    }

    return p;
}


static inline u_char *
ngx_snorky_json_oracle_word(u_char *p, u_char *last, const char *word)
{
    size_t  len;

    len = strlen(word);

    return (size_t) (last - p) >= len && memcmp(p, word, len) == 0 ? p + len
                                                                   : NULL;
}


static inline u_char *
ngx_snorky_json_oracle_string(u_char *p, u_char *last)
{
    ngx_uint_t  i;

    if (p == last || *p++ != '"') {
        return NULL;
    }

    for ( ;; ) {

        if (p == last || *p < 0x20) {
            return NULL;
        }

        if (*p == '"') {
            return p + 1;
        }

        if (*p++ != '\\') {
            continue;
        }

        if (p == last || *p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL) {
            return NULL;
        }

        if (*p++ != 'u') {
            continue;
        }

        for (i = 0; i < 4; i++, p++) {
            if (p == last || !isxdigit(*p)) {
                return NULL;
            }
        }
    }
}


static inline u_char *
ngx_snorky_json_oracle_digits(u_char *p, u_char *last)
{
    u_char  *start;

    for (start = p; p < last && *p >= '0' && *p <= '9'; p++) { /* void */ }

    return p > start ? p : NULL;
}


static inline u_char *
ngx_snorky_json_oracle_number(u_char *p, u_char *last)
{
    if (p < last && *p == '-') {
        p++;
    }

    if (p < last && *p == '0') {
        p++;

    } else {
        p = ngx_snorky_json_oracle_digits(p, last);
    }

    if (p && p < last && *p == '.') {
        p = ngx_snorky_json_oracle_digits(p + 1, last);
    }

    if (p && p < last && (*p == 'e' || *p == 'E')) {
        p++;

        if (p < last && (*p == '+' || *p == '-')) {
            p++;
        }

        p = ngx_snorky_json_oracle_digits(p, last);
    }

    return p;
}


static inline u_char *
ngx_snorky_json_oracle_container(u_char *p, u_char *last, ngx_uint_t depth)
{
    u_char  close, open;

    open = *p++;
    close = open == '{' ? '}' : ']';

    if (depth == 0) {
        return NULL;
    }

    p = ngx_snorky_json_oracle_space(p, last);

    if (p < last && *p == close) {
        return p + 1;
    }

    for ( ;; ) {

        if (open == '{') {
            p = ngx_snorky_json_oracle_space(p, last);
            p = ngx_snorky_json_oracle_string(p, last);

            if (p == NULL) {
                return NULL;
            }

            p = ngx_snorky_json_oracle_space(p, last);

            if (p == last || *p++ != ':') {
                return NULL;
            }
        }

        p = ngx_snorky_json_oracle_space(p, last);
        p = ngx_snorky_json_oracle_value(p, last, depth - 1);

        if (p == NULL) {
            return NULL;
        }

        p = ngx_snorky_json_oracle_space(p, last);

        if (p == last) {
            return NULL;
        }

        if (*p == close) {
            return p + 1;
        }

        if (*p++ != ',') {
            return NULL;
        }
    }
}


static u_char *
ngx_snorky_json_oracle_value(u_char *p, u_char *last, ngx_uint_t depth)
{
    if (p == last) {
        return NULL;
    }

    switch (*p) {
    case '{':
    case '[':
        return ngx_snorky_json_oracle_container(p, last, depth);
    case '"':
        return ngx_snorky_json_oracle_string(p, last);
    case 't':
        return ngx_snorky_json_oracle_word(p, last, "true");
    case 'f':
        return ngx_snorky_json_oracle_word(p, last, "false");
    case 'n':
        return ngx_snorky_json_oracle_word(p, last, "null");
    default:
        return ngx_snorky_json_oracle_number(p, last);
    }
}


static inline ngx_uint_t
ngx_snorky_json_oracle_valid(u_char *p, size_t len, ngx_uint_t max_depth)
{
    u_char             *last;
    ngx_snorky_utf8_t   utf8;

    last = p + len;
    utf8 = NGX_SNORKY_UTF8_START;

    if (ngx_snorky_utf8_check(&utf8, p, last) != NGX_OK) {
        return 0;
    }

    p = ngx_snorky_json_oracle_space(p, last);
    p = ngx_snorky_json_oracle_value(p, last, max_depth);

    return p && ngx_snorky_json_oracle_space(p, last) == last;
}


#endif /* _NGX_SNORKY_JSON_ORACLE_H_INCLUDED_ */
