
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The order of JSON values, and the characters of JSON strings.  Owns
 * nothing.  Called by services: what they list is sorted, and the filters of
 * datasync ask which of two values is less.
 */


#include "ngx_snorky_json_canonical.h"


/*
 * Two exponents that differ by this are as good as infinitely far from each
 * other: no number has as many digits.
 */

#define NGX_SNORKY_JSON_COMPARE_FAR  INT64_C(100000000000000000)


/* a canonical number in its parts: digits, and an exponent of any length */

typedef struct {
    ngx_int_t    sign;          /* -1, 0, 1 */
    u_char      *digits;
    size_t       len;
    ngx_int_t    direction;     /* of the exponent: -1, 1 */
    u_char      *exponent;
    size_t       exponent_len;
} ngx_snorky_json_compare_number_t;


static ngx_snorky_json_e ngx_snorky_json_compare_type(ngx_str_t *key);

static ngx_int_t ngx_snorky_json_compare_numbers(ngx_str_t *one,
    ngx_str_t *two);
static void ngx_snorky_json_compare_split(ngx_str_t *key,
    ngx_snorky_json_compare_number_t *number);
static int64_t ngx_snorky_json_compare_exponents(
    ngx_snorky_json_compare_number_t *a, ngx_snorky_json_compare_number_t *b);
static ngx_int_t ngx_snorky_json_compare_digit(
    ngx_snorky_json_compare_number_t *number, size_t place);

static ngx_int_t ngx_snorky_json_compare_strings(ngx_str_t *one,
    ngx_str_t *two);
static uint32_t ngx_snorky_json_compare_code(u_char **pos);

static ngx_int_t ngx_snorky_json_compare_bytes(u_char *one, size_t one_len,
    u_char *two, size_t two_len);


ngx_int_t
ngx_snorky_json_compare(ngx_str_t *one, ngx_str_t *two)
{
    ngx_snorky_json_e  a, b;

    a = ngx_snorky_json_compare_type(one);
    b = ngx_snorky_json_compare_type(two);

    if (a != b) {
        return (a < b) ? -1 : 1;
    }

    switch (a) {

    case NGX_SNORKY_JSON_NUMBER:
        return ngx_snorky_json_compare_numbers(one, two);

    case NGX_SNORKY_JSON_STRING:
        return ngx_snorky_json_compare_strings(one, two);

    default:
        return ngx_snorky_json_compare_bytes(one->data, one->len,
                                             two->data, two->len);
    }
}


/* by the first byte, which a key has */

static ngx_snorky_json_e
ngx_snorky_json_compare_type(ngx_str_t *key)
{
    switch (key->data[0]) {

    case 'n':
        return NGX_SNORKY_JSON_NULL;

    case 'f':
        return NGX_SNORKY_JSON_FALSE;

    case 't':
        return NGX_SNORKY_JSON_TRUE;

    case '"':
        return NGX_SNORKY_JSON_STRING;

    case '[':
        return NGX_SNORKY_JSON_ARRAY;

    case '{':
        return NGX_SNORKY_JSON_OBJECT;

    default: /* - 0..9 */
        return NGX_SNORKY_JSON_NUMBER;
    }
}


/*
 * Of two positive numbers that is less whose first digit stands for less;
 * when these stand in the same place, their digits decide like letters, as
 * none ends with 0.
 */

static ngx_int_t
ngx_snorky_json_compare_numbers(ngx_str_t *one, ngx_str_t *two)
{
    int64_t                            places;
    ngx_snorky_json_compare_number_t   a, b;

    ngx_snorky_json_compare_split(one, &a);
    ngx_snorky_json_compare_split(two, &b);

    if (a.sign != b.sign) {
        return (a.sign < b.sign) ? -1 : 1;
    }

    if (a.sign == 0) {
        return 0;
    }

    places = ngx_snorky_json_compare_exponents(&a, &b)
             + ((int64_t) a.len - (int64_t) b.len);

    if (places) {
        return (places < 0) ? -a.sign : a.sign;
    }

    return a.sign * ngx_snorky_json_compare_bytes(a.digits, a.len,
                                                  b.digits, b.len);
}


static void
ngx_snorky_json_compare_split(ngx_str_t *key,
    ngx_snorky_json_compare_number_t *number)
{
    u_char  *p, *last, *e;

    p = key->data;
    last = p + key->len;

    number->sign = (*p == '-') ? -1 : (*p != '0');
    p += (*p == '-');

    e = memchr(p, 'e', last - p);

    number->digits = p;
    number->len = (e ? e : last) - p;

    p = e ? e + 1 : last;

    number->direction = (p < last && *p == '-') ? -1 : 1;
    p += (number->direction < 0);

    number->exponent = p;
    number->exponent_len = last - p;
}


/*
 * The difference of the exponents, digit by digit from the left.  What has
 * become far stays so, as each further digit changes it by 18 at most.
 */

static int64_t
ngx_snorky_json_compare_exponents(ngx_snorky_json_compare_number_t *a,
    ngx_snorky_json_compare_number_t *b)
{
    size_t   place;
    int64_t  difference;

    difference = 0;

    for (place = ngx_max(a->exponent_len, b->exponent_len);
         place > 0;
         place--)
    {
        difference = difference * 10
                     + ngx_snorky_json_compare_digit(a, place)
                     - ngx_snorky_json_compare_digit(b, place);

        if (difference >= NGX_SNORKY_JSON_COMPARE_FAR
            || difference <= -NGX_SNORKY_JSON_COMPARE_FAR)
        {
            break;
        }
    }

    return difference;
}


/* with its sign; place 1 is the exponent's last digit */

static ngx_int_t
ngx_snorky_json_compare_digit(ngx_snorky_json_compare_number_t *number,
    size_t place)
{
    if (place > number->exponent_len) {
        return 0;
    }

    return number->direction
           * (number->exponent[number->exponent_len - place] - '0');
}


/*
 * Bytes of UTF-8 are ordered as their characters are; only where the first
 * difference is an escape, the characters must be known.
 */

static ngx_int_t
ngx_snorky_json_compare_strings(ngx_str_t *one, ngx_str_t *two)
{
    u_char    *p, *q, *p_last, *q_last;
    uint32_t   a, b;

    p = one->data + 1;
    q = two->data + 1;

    p_last = one->data + one->len - 1;
    q_last = two->data + two->len - 1;

    while (p < p_last && q < q_last) {

        if (*p != '\\' && *q != '\\') {

            if (*p != *q) {
                return (*p < *q) ? -1 : 1;
            }

            p++;
            q++;
            continue;
        }

        a = ngx_snorky_json_compare_code(&p);
        b = ngx_snorky_json_compare_code(&q);

        if (a != b) {
            return (a < b) ? -1 : 1;
        }
    }

    return (p < p_last) - (q < q_last);
}


/* the character at *pos, written as an escape or as UTF-8, and past it */

static uint32_t
ngx_snorky_json_compare_code(u_char **pos)
{
    u_char      *p;
    uint32_t     code;
    ngx_uint_t   more;

    p = *pos;

    if (*p == '\\') {
        *pos = ngx_snorky_json_canonical_unescape(p, &code);
        return code;
    }

    code = *p++;
    more = 0;

    /* RFC 3629, 3 */

    if (code >= 0xf0) {
        code &= 0x07;
        more = 3;

    } else if (code >= 0xe0) {
        code &= 0x0f;
        more = 2;

    } else if (code >= 0x80) {
        code &= 0x1f;
        more = 1;
    }

    for ( /* void */ ; more; more--) {
        code = code << 6 | (*p++ & 0x3f);
    }

    *pos = p;

    return code;
}


static ngx_int_t
ngx_snorky_json_compare_bytes(u_char *one, size_t one_len, u_char *two,
    size_t two_len)
{
    ngx_int_t  rc;

    rc = ngx_memcmp(one, two, ngx_min(one_len, two_len));

    if (rc) {
        return (rc < 0) ? -1 : 1;
    }

    return (one_len > two_len) - (one_len < two_len);
}


u_char *
ngx_snorky_json_string(ngx_snorky_value_t *value, u_char *p)
{
    u_char    *s, *last, *escape;
    uint32_t   code;

    s = value->text.data + 1;
    last = value->text.data + value->text.len - 1;

    for ( ;; ) {
        escape = memchr(s, '\\', last - s);

        if (escape == NULL) {
            return ngx_cpymem(p, s, last - s);
        }

        p = ngx_cpymem(p, s, escape - s);

        s = ngx_snorky_json_canonical_unescape(escape, &code);

        if (ngx_snorky_json_canonical_unpaired(code)) {
            code = 0xfffd;
        }

        p = ngx_snorky_json_canonical_encode(p, code);
    }
}
