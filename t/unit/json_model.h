
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Random JSON values, and random spellings of one value.
 */


#ifndef _NGX_SNORKY_JSON_MODEL_H_INCLUDED_
#define _NGX_SNORKY_JSON_MODEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"
#include "tap.h"


/*
 * A number is digits, that neither begin nor end with 0, and
 * an exponent; a string is code points without a high surrogate before a low
 * one; an object's names differ.
 */

__extension__ typedef __int128  ngx_snorky_json_big_t;

typedef struct ngx_snorky_json_model_s  ngx_snorky_json_model_t;

struct ngx_snorky_json_model_s {
    ngx_snorky_json_e          type;

    ngx_uint_t                 negative;
    char                       digits[24];      /* "" is zero */
    ngx_snorky_json_big_t      exponent;

    uint32_t                   codes[12];       /* of a string, or a name */
    ngx_uint_t                 length;

    ngx_snorky_json_model_t   *children;
    ngx_uint_t                 count;
    uint32_t                   name[12];        /* as an object's member */
    ngx_uint_t                 name_length;
};


static inline void
ngx_snorky_json_model_codes(uint32_t *codes, ngx_uint_t *length)
{
    ngx_uint_t       i;
    static uint32_t  special[] = { '"', '\\', '/', '\b', '\f', '\n', '\r',
                                   '\t', 0, 0x1f, 0x7f, 0x80, 0x7ff, 0x800,
                                   0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000,
                                   0xffff, 0x10000, 0x10ffff };

    *length = tap_random_below(12);

    for (i = 0; i < *length; i++) {
        switch (tap_random_below(4)) {
        case 0:
            codes[i] = special[tap_random_below(sizeof(special)
                                                / sizeof(special[0]))];
            break;
        case 1:
            codes[i] = tap_random_below(0x110000);
            break;
        default:
            codes[i] = 'a' + tap_random_below(3);
        }

        if (i && codes[i] >= 0xdc00 && codes[i] <= 0xdfff
            && codes[i - 1] >= 0xd800 && codes[i - 1] <= 0xdbff)
        {
            codes[i] = 'z';
        }
    }
}


static inline void
ngx_snorky_json_model_number(ngx_snorky_json_model_t *model)
{
    ngx_uint_t  i, n;

    n = tap_random_below(20);

    for (i = 0; i < n; i++) {
        model->digits[i] = (char) ('0' + tap_random_below(10));
    }

    model->digits[n] = '\0';

    if (n) {
        model->digits[0] = (char) ('1' + tap_random_below(9));
        model->digits[n - 1] = (char) ('1' + tap_random_below(9));
    }

    model->negative = tap_random_below(2);

    switch (tap_random_below(4)) {
    case 0:
        model->exponent = 0;
        break;
    case 1:
        model->exponent = (ngx_snorky_json_big_t) tap_random_below(40) - 20;
        break;
    case 2:
        model->exponent = (int64_t) tap_random();
        break;
    default:
        model->exponent = (ngx_snorky_json_big_t) (int64_t) tap_random()
                          * (int64_t) tap_random_below(1 << 30);
    }
}


static inline void
ngx_snorky_json_model_create(ngx_snorky_json_model_t *model, ngx_uint_t depth)
{
    ngx_uint_t                i, k;
    ngx_snorky_json_model_t  *child;

    memset(model, 0, sizeof(*model));

    model->type = (ngx_snorky_json_e) tap_random_below(depth ? 7 : 5);

    switch (model->type) {

    case NGX_SNORKY_JSON_NUMBER:
        ngx_snorky_json_model_number(model);
        return;

    case NGX_SNORKY_JSON_STRING:
        ngx_snorky_json_model_codes(model->codes, &model->length);
        return;

    case NGX_SNORKY_JSON_ARRAY:
    case NGX_SNORKY_JSON_OBJECT:
        break;

    default:
        return;
    }

    model->count = tap_random_below(tap_random_below(8) ? 5 : 40);
    model->children = malloc((model->count + 1) * sizeof(*model));

    for (i = 0; i < model->count; i++) {
        child = &model->children[i];

        ngx_snorky_json_model_create(child, depth - 1);

        do {
            ngx_snorky_json_model_codes(child->name, &child->name_length);

            for (k = 0; k < i; k++) {
                if (child->name_length == model->children[k].name_length
                    && memcmp(child->name, model->children[k].name,
                              child->name_length * sizeof(uint32_t))
                       == 0)
                {
                    break;
                }
            }

        } while (k < i);
    }
}


static inline void
ngx_snorky_json_model_destroy(ngx_snorky_json_model_t *model)
{
    ngx_uint_t  i;

    for (i = 0; i < model->count; i++) {
        ngx_snorky_json_model_destroy(&model->children[i]);
    }

    free(model->children);
}


/* Random spellings of a value. */

static inline u_char *
ngx_snorky_json_spell_space(u_char *p)
{
    while (tap_random_below(4) == 0) {
        *p++ = (u_char) " \t\r\n"[tap_random_below(4)];
    }

    return p;
}


static inline u_char *
ngx_snorky_json_spell_unit(u_char *p, uint32_t unit)
{
    return p + sprintf((char *) p, tap_random_below(2) ? "\\u%04x"
                                                       : "\\u%04X",
                       (unsigned) unit);
}


static inline u_char *
ngx_snorky_json_spell_raw(u_char *p, uint32_t code)
{
    if (code < 0x80) {
        *p++ = (u_char) code;

    } else if (code < 0x800) {
        *p++ = (u_char) (0xc0 + code / 0x40);
        *p++ = (u_char) (0x80 + code % 0x40);

    } else if (code < 0x10000) {
        *p++ = (u_char) (0xe0 + code / 0x1000);
        *p++ = (u_char) (0x80 + code / 0x40 % 0x40);
        *p++ = (u_char) (0x80 + code % 0x40);

    } else {
        *p++ = (u_char) (0xf0 + code / 0x40000);
        *p++ = (u_char) (0x80 + code / 0x1000 % 0x40);
        *p++ = (u_char) (0x80 + code / 0x40 % 0x40);
        *p++ = (u_char) (0x80 + code % 0x40);
    }

    return p;
}


static inline u_char *
ngx_snorky_json_spell_string(u_char *p, uint32_t *codes, ngx_uint_t length)
{
    uint32_t     code;
    ngx_uint_t   i;
    const char  *s;

    static const char  means[] = "\"\\/\b\f\n\r\t";
    static const char  letters[] = "\"\\/bfnrt";

    *p++ = '"';

    for (i = 0; i < length; i++) {
        code = codes[i];

        s = (code > 0 && code < 0x80) ? strchr(means, (int) code) : NULL;

        if (s && tap_random_below(2)) {
            *p++ = '\\';
            *p++ = (u_char) letters[s - means];
            continue;
        }

        if (code >= 0x20 && code != '"' && code != '\\'
            && (code < 0xd800 || code > 0xdfff) && tap_random_below(2))
        {
            p = ngx_snorky_json_spell_raw(p, code);
            continue;
        }

        if (code < 0x10000) {
            p = ngx_snorky_json_spell_unit(p, code);
            continue;
        }

        code -= 0x10000;
        p = ngx_snorky_json_spell_unit(p, 0xd800 + code / 0x400);
        p = ngx_snorky_json_spell_unit(p, 0xdc00 + code % 0x400);
    }

    *p++ = '"';

    return p;
}


static inline u_char *
ngx_snorky_json_spell_exponent(u_char *p, ngx_snorky_json_big_t exponent)
{
    char        digits[48];
    ngx_uint_t  n;

    if (exponent == 0 && tap_random_below(2)) {
        return p;
    }

    *p++ = (u_char) "eE"[tap_random_below(2)];

    if (exponent < 0) {
        exponent = -exponent;
        *p++ = '-';

    } else if (tap_random_below(2)) {
        *p++ = '+';
    }

    while (tap_random_below(4) == 0) {
        *p++ = '0';
    }

    n = 0;

    do {
        digits[n++] = (char) ('0' + (int) (exponent % 10));
        exponent /= 10;
    } while (exponent);

    while (n) {
        *p++ = (u_char) digits[--n];
    }

    return p;
}


static inline u_char *
ngx_snorky_json_spell_number(u_char *p, ngx_snorky_json_model_t *model)
{
    char                    digits[64];
    ngx_uint_t              point, length, before, after;
    ngx_snorky_json_big_t   exponent;

    exponent = model->exponent;

    if (model->digits[0] == '\0') {

        /* zero, whatever its sign and its exponent */

        p += sprintf((char *) p, "%s0%s", tap_random_below(2) ? "-" : "",
                     tap_random_below(2) ? ".00" : "");
        return ngx_snorky_json_spell_exponent(p, exponent);
    }

    /* more zeros on both sides, and the point somewhere */

    before = tap_random_below(4);
    after = tap_random_below(4);

    length = sprintf(digits, "%.*s%s%.*s", (int) before, "0000",
                     model->digits, (int) after, "0000");
    exponent -= after;

    point = tap_random_below(length + 1);
    exponent += length - point;

    if (model->negative) {
        *p++ = '-';
    }

    /* before the point: no zero first, but at least a zero */

    for (before = 0; before < point && digits[before] == '0'; before++) {
        /* void */
    }

    if (before == point) {
        *p++ = '0';
    }

    p = ngx_cpymem(p, digits + before, point - before);

    if (point < length) {
        *p++ = '.';
        p = ngx_cpymem(p, digits + point, length - point);
    }

    return ngx_snorky_json_spell_exponent(p, exponent);
}


static inline u_char *ngx_snorky_json_spell(u_char *p,
    ngx_snorky_json_model_t *model);


static inline u_char *
ngx_snorky_json_spell_name(u_char *p, ngx_snorky_json_model_t *member)
{
    p = ngx_snorky_json_spell_space(p);
    p = ngx_snorky_json_spell_string(p, member->name, member->name_length);
    p = ngx_snorky_json_spell_space(p);
    *p++ = ':';

    return p;
}


static inline u_char *
ngx_snorky_json_spell_children(u_char *p, ngx_snorky_json_model_t *model)
{
    ngx_uint_t                i, k, n, order[64];
    ngx_snorky_json_model_t  *child, junk;

    for (i = 0; i < model->count; i++) {
        order[i] = i;
    }

    n = model->count;

    if (model->type == NGX_SNORKY_JSON_OBJECT) {

        for (i = n; i > 1; i--) {
            k = tap_random_below(i);

            n = order[i - 1];
            order[i - 1] = order[k];
            order[k] = n;
        }

        n = model->count;
    }

    for (i = 0; i < n; i++) {
        child = &model->children[order[i]];

        if (model->type == NGX_SNORKY_JSON_OBJECT) {

            /* of duplicates the last counts: before it, others */

            for (k = i; k < n; k++) {
                if (tap_random_below(16) == 0) {
                    ngx_snorky_json_model_create(&junk, 0);

                    p = ngx_snorky_json_spell_name(p,
                                                 &model->children[order[k]]);
                    p = ngx_snorky_json_spell(p, &junk);
                    *p++ = ',';
                }
            }

            p = ngx_snorky_json_spell_name(p, child);
        }

        p = ngx_snorky_json_spell(p, child);

        if (i + 1 < n) {
            *p++ = ',';
        }
    }

    return p;
}


static inline u_char *
ngx_snorky_json_spell(u_char *p, ngx_snorky_json_model_t *model)
{
    static const char  *words[] = { "null", "false", "true" };

    p = ngx_snorky_json_spell_space(p);

    switch (model->type) {

    case NGX_SNORKY_JSON_NUMBER:
        p = ngx_snorky_json_spell_number(p, model);
        break;

    case NGX_SNORKY_JSON_STRING:
        p = ngx_snorky_json_spell_string(p, model->codes, model->length);
        break;

    case NGX_SNORKY_JSON_ARRAY:
        *p++ = '[';
        p = ngx_snorky_json_spell_children(p, model);
        p = ngx_snorky_json_spell_space(p);
        *p++ = ']';
        break;

    case NGX_SNORKY_JSON_OBJECT:
        *p++ = '{';
        p = ngx_snorky_json_spell_children(p, model);
        p = ngx_snorky_json_spell_space(p);
        *p++ = '}';
        break;

    default:
        p = ngx_cpymem(p, words[model->type], strlen(words[model->type]));
    }

    return ngx_snorky_json_spell_space(p);
}


/* Changes of a value, or of something in it, to another value. */

static inline void
ngx_snorky_json_mutate_number(ngx_snorky_json_model_t *model)
{
    char  *last;

    if (model->digits[0] == '\0') {
        strcpy(model->digits, "1");
        return;
    }

    switch (tap_random_below(3)) {
    case 0:
        model->negative = !model->negative;
        return;
    case 1:
        model->exponent += tap_random_below(2) ? 1 : -1;
        return;
    default:
        last = model->digits + strlen(model->digits) - 1;
        *last = *last == '9' ? '8' : '9';
    }
}


static inline void
ngx_snorky_json_mutate_string(ngx_snorky_json_model_t *model)
{
    if (model->length && tap_random_below(2)) {
        model->length--;

    } else if (model->length < 12) {
        model->codes[model->length++] = tap_random_below(2) ? 'x' : '"';

    } else {
        model->type = NGX_SNORKY_JSON_NULL;
    }
}


/* to a name that no other member has: 12 unlikely code points */

static inline void
ngx_snorky_json_mutate_name(ngx_snorky_json_model_t *model)
{
    for (model->name_length = 0; model->name_length < 12; /* void */ ) {
        model->name[model->name_length++] = 0x3400 + tap_random_below(0x4000);
    }
}


static inline void
ngx_snorky_json_mutate(ngx_snorky_json_model_t *model)
{
    ngx_snorky_json_model_t  *child;

    switch (model->type) {

    case NGX_SNORKY_JSON_NULL:
        model->type = NGX_SNORKY_JSON_FALSE;
        return;

    case NGX_SNORKY_JSON_FALSE:
        model->type = NGX_SNORKY_JSON_TRUE;
        return;

    case NGX_SNORKY_JSON_TRUE:
        model->type = NGX_SNORKY_JSON_NUMBER;
        strcpy(model->digits, "1");
        return;

    case NGX_SNORKY_JSON_NUMBER:
        ngx_snorky_json_mutate_number(model);
        return;

    case NGX_SNORKY_JSON_STRING:
        ngx_snorky_json_mutate_string(model);
        return;

    case NGX_SNORKY_JSON_ARRAY:
    case NGX_SNORKY_JSON_OBJECT:
        break;
    }

    if (model->count == 0 || tap_random_below(4) == 0) {

        /* one child more, at the end */

        child = &model->children[model->count++];

        memset(child, 0, sizeof(*child));
        ngx_snorky_json_mutate_name(child);
        return;
    }

    child = &model->children[tap_random_below(model->count)];

    if (model->type == NGX_SNORKY_JSON_OBJECT && tap_random_below(4) == 0) {
        ngx_snorky_json_mutate_name(child);
        return;
    }

    ngx_snorky_json_mutate(child);
}


#endif /* _NGX_SNORKY_JSON_MODEL_H_INCLUDED_ */
