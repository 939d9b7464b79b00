
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The canonical form of JSON values.  Owns nothing: nodes and memory are the
 * parser's, its only caller.  No function here recurses, so the depth of a
 * document costs no stack.
 */


#include "ngx_snorky_json_canonical.h"
#include "ngx_snorky_utf8.h"


/* in each byte of a word */

#define NGX_SNORKY_JSON_CANONICAL_EACH(c)                                     \
    (UINT64_C(0x0101010101010101) * (c))


static ngx_uint_t ngx_snorky_json_canonical_is_string(u_char *start,
    u_char *last);
static ngx_uint_t ngx_snorky_json_canonical_is_integer(u_char *p,
    u_char *last);

static u_char *ngx_snorky_json_canonical_open(ngx_snorky_json_node_t *nodes,
    uint32_t n, u_char *p, u_char **names);
static u_char *ngx_snorky_json_canonical_close(ngx_snorky_json_node_t *node,
    u_char *p);
static u_char *ngx_snorky_json_canonical_string(u_char *p, ngx_str_t *text);
static u_char *ngx_snorky_json_canonical_escape(u_char *p, uint32_t code);

static u_char *ngx_snorky_json_canonical_number(u_char *p, ngx_str_t *text);
static u_char *ngx_snorky_json_canonical_exponent(u_char *p, u_char *digits,
    u_char *last, ngx_uint_t negative, int64_t shift);
static u_char *ngx_snorky_json_canonical_sum(u_char *p, u_char *digits,
    size_t n, int64_t shift);

static u_char *ngx_snorky_json_canonical_names(ngx_snorky_json_node_t *nodes,
    ngx_snorky_json_node_t *object, u_char *names);
static ngx_uint_t ngx_snorky_json_canonical_sorted(
    ngx_snorky_json_node_t *nodes, ngx_snorky_json_node_t *object);
static void ngx_snorky_json_canonical_sort(ngx_snorky_json_node_t *nodes,
    ngx_snorky_json_node_t *object);
static uint32_t ngx_snorky_json_canonical_merge(ngx_snorky_json_node_t *nodes,
    uint32_t a, uint32_t b);
static ngx_int_t ngx_snorky_json_canonical_compare(ngx_str_t *a, ngx_str_t *b);


ngx_uint_t
ngx_snorky_json_canonical_is(ngx_str_t *text)
{
    u_char  *p, *last;

    if (text->len == 0) {
        return 0;
    }

    p = text->data;
    last = p + text->len;

    switch (*p) {

    case '"':
        return text->len >= 2
               && last[-1] == '"'
               && ngx_snorky_json_canonical_is_string(p + 1, last - 1);

    case 't':
        return text->len == 4 && ngx_memcmp(p, "true", 4) == 0;

    case 'f':
        return text->len == 5 && ngx_memcmp(p, "false", 5) == 0;

    case 'n':
        return text->len == 4 && ngx_memcmp(p, "null", 4) == 0;

    case '0':
        return text->len == 1;

    case '-':
        return ngx_snorky_json_canonical_is_integer(p + 1, last);

    default:
        return ngx_snorky_json_canonical_is_integer(p, last);
    }
}


/*
 * What lies between the quotes: UTF-8 without a quote, a backslash or a
 * control character.  In a word, (x - each(n)) & ~x has the high bit set in
 * some byte if and only if a byte of x is below n, n <= 0x80.
 */

static ngx_uint_t
ngx_snorky_json_canonical_is_string(u_char *start, u_char *last)
{
    u_char             *p;
    uint64_t            word, quote, backslash, found, seen;
    ngx_snorky_utf8_t   utf8;

    seen = 0;

    for (p = start; last - p >= 8; p += 8) {
        ngx_memcpy(&word, p, 8);

        quote = word ^ NGX_SNORKY_JSON_CANONICAL_EACH('"');
        backslash = word ^ NGX_SNORKY_JSON_CANONICAL_EACH('\\');

        found = (word - NGX_SNORKY_JSON_CANONICAL_EACH(0x20)) & ~word;
        found |= (quote - NGX_SNORKY_JSON_CANONICAL_EACH(1)) & ~quote;
        found |= (backslash - NGX_SNORKY_JSON_CANONICAL_EACH(1)) & ~backslash;

        if (found & NGX_SNORKY_JSON_CANONICAL_EACH(0x80)) {
            return 0;
        }

        seen |= word;
    }

    for ( /* void */ ; p < last; p++) {

        if (*p < 0x20 || *p == '"' || *p == '\\') {
            return 0;
        }

        seen |= *p;
    }

    if ((seen & NGX_SNORKY_JSON_CANONICAL_EACH(0x80)) == 0) {
        return 1;
    }

    utf8 = NGX_SNORKY_UTF8_START;

    return ngx_snorky_utf8_check(&utf8, start, last) == NGX_OK;
}


static ngx_uint_t
ngx_snorky_json_canonical_is_integer(u_char *p, u_char *last)
{
    if (p == last || *p == '0' || last[-1] == '0') {
        return 0;
    }

    while (p < last) {

        if (*p < '0' || *p > '9') {
            return 0;
        }

        p++;
    }

    return 1;
}


u_char *
ngx_snorky_json_canonical_write(ngx_snorky_json_node_t *nodes, u_char *p,
    u_char *names)
{
    uint32_t                 n, parent;
    ngx_snorky_json_node_t  *node;

    n = 0;
    parent = 0;

    for ( ;; ) {
        p = ngx_snorky_json_canonical_open(nodes, n, p, &names);

        node = &nodes[n];

        if (node->child) {

            /* down; the length, not needed any more, is the way back */

            node->value.text.len = parent;

            parent = n;
            n = node->child;

        } else {
            p = ngx_snorky_json_canonical_close(node, p);

            while (n && nodes[n].next == 0) {
                n = parent;
                p = ngx_snorky_json_canonical_close(&nodes[n], p);
                parent = nodes[n].value.text.len;
            }

            if (n == 0) {
                return p;
            }

            n = nodes[n].next;
            *p++ = ',';
        }

        if (nodes[parent].value.type == NGX_SNORKY_JSON_OBJECT) {
            p = ngx_cpymem(p, nodes[n].value.text.data,
                           nodes[n].value.text.len);
            *p++ = ':';

            n = nodes[n].next;
        }
    }
}


/* a scalar is written whole */

static u_char *
ngx_snorky_json_canonical_open(ngx_snorky_json_node_t *nodes, uint32_t n,
    u_char *p, u_char **names)
{
    ngx_snorky_json_node_t  *node;

    node = &nodes[n];

    switch (node->value.type) {

    case NGX_SNORKY_JSON_OBJECT:
        *names = ngx_snorky_json_canonical_names(nodes, node, *names);
        ngx_snorky_json_canonical_sort(nodes, node);
        *p++ = '{';
        return p;

    case NGX_SNORKY_JSON_ARRAY:
        *p++ = '[';
        return p;

    case NGX_SNORKY_JSON_STRING:
        return ngx_snorky_json_canonical_string(p, &node->value.text);

    case NGX_SNORKY_JSON_NUMBER:
        return ngx_snorky_json_canonical_number(p, &node->value.text);

    default: /* null, false, true */
        return ngx_cpymem(p, node->value.text.data, node->value.text.len);
    }
}


static u_char *
ngx_snorky_json_canonical_close(ngx_snorky_json_node_t *node, u_char *p)
{
    switch (node->value.type) {

    case NGX_SNORKY_JSON_OBJECT:
        *p++ = '}';
        return p;

    case NGX_SNORKY_JSON_ARRAY:
        *p++ = ']';
        return p;

    default:
        return p;
    }
}


/* a string with its quotes */

static u_char *
ngx_snorky_json_canonical_string(u_char *p, ngx_str_t *text)
{
    u_char    *s, *last, *escape;
    uint32_t   code;

    s = text->data;
    last = s + text->len;

    for ( ;; ) {
        escape = memchr(s, '\\', last - s);

        if (escape == NULL) {
            return ngx_cpymem(p, s, last - s);
        }

        p = ngx_cpymem(p, s, escape - s);

        s = ngx_snorky_json_canonical_unescape(escape, &code);
        p = ngx_snorky_json_canonical_escape(p, code);
    }
}


/* a character that was written as an escape */

static u_char *
ngx_snorky_json_canonical_escape(u_char *p, uint32_t code)
{
    u_char               c;
    static const u_char  hex[] = "0123456789abcdef";

    switch (code) {

    case '"':
    case '\\':
        c = (u_char) code;
        break;

    case '\b':
        c = 'b';
        break;

    case '\f':
        c = 'f';
        break;

    case '\n':
        c = 'n';
        break;

    case '\r':
        c = 'r';
        break;

    case '\t':
        c = 't';
        break;

    default:
        if (code >= 0x20 && !ngx_snorky_json_canonical_unpaired(code)) {
            return ngx_snorky_json_canonical_encode(p, code);
        }

        c = 'u';
    }

    *p++ = '\\';
    *p++ = c;

    if (c == 'u') {
        *p++ = hex[code >> 12 & 0xf];
        *p++ = hex[code >> 8 & 0xf];
        *p++ = hex[code >> 4 & 0xf];
        *p++ = hex[code & 0xf];
    }

    return p;
}


/* RFC 3629, 3 */

u_char *
ngx_snorky_json_canonical_encode(u_char *p, uint32_t code)
{
    if (code < 0x80) {
        *p++ = (u_char) code;
        return p;
    }

    if (code < 0x800) {
        *p++ = (u_char) (0xc0 | code >> 6);

    } else {

        if (code < 0x10000) {
            *p++ = (u_char) (0xe0 | code >> 12);

        } else {
            *p++ = (u_char) (0xf0 | code >> 18);
            *p++ = (u_char) (0x80 | (code >> 12 & 0x3f));
        }

        *p++ = (u_char) (0x80 | (code >> 6 & 0x3f));
    }

    *p++ = (u_char) (0x80 | (code & 0x3f));

    return p;
}


static uint32_t
ngx_snorky_json_canonical_hex4(u_char *p)
{
    u_char     *last;
    uint32_t    code;

    code = 0;

    for (last = p + 4; p < last; p++) {
        code <<= 4;
        code |= (*p <= '9') ? *p - '0' : (*p | 0x20) - 'a' + 10;
    }

    return code;
}


u_char *
ngx_snorky_json_canonical_unescape(u_char *p, uint32_t *code)
{
    uint32_t  low;

    switch (p[1]) {

    case 'b':
        *code = '\b';
        return p + 2;

    case 'f':
        *code = '\f';
        return p + 2;

    case 'n':
        *code = '\n';
        return p + 2;

    case 'r':
        *code = '\r';
        return p + 2;

    case 't':
        *code = '\t';
        return p + 2;

    case 'u':
        break;

    default: /* " \ / */
        *code = p[1];
        return p + 2;
    }

    *code = ngx_snorky_json_canonical_hex4(p + 2);
    p += 6;

    /* RFC 8259, 7: beyond the basic plane, a high surrogate and a low one */

    if (*code < 0xd800 || *code > 0xdbff || p[0] != '\\' || p[1] != 'u') {
        return p;
    }

    low = ngx_snorky_json_canonical_hex4(p + 2);

    if (low < 0xdc00 || low > 0xdfff) {
        return p;
    }

    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);

    return p + 6;
}


/* finds the digits that count, and how far the point is from their end */

static u_char *
ngx_snorky_json_canonical_number(u_char *p, ngx_str_t *text)
{
    u_char      *s, *last, *first, *end, *point;
    int64_t      shift;
    ngx_uint_t   negative;

    s = text->data;
    last = s + text->len;

    negative = (*s == '-');
    s += negative;

    first = NULL;
    end = NULL;
    point = NULL;

    for ( /* void */ ; s < last && *s != 'e' && *s != 'E'; s++) {

        if (*s == '.') {
            point = s;

        } else if (*s != '0') {
            first = first ? first : s;
            end = s + 1;
        }
    }

    if (first == NULL) {
        *p++ = '0';
        return p;
    }

    if (negative) {
        *p++ = '-';
    }

    if (point && first < point && end > point) {
        p = ngx_cpymem(p, first, point - first);
        p = ngx_cpymem(p, point + 1, end - (point + 1));

    } else {
        p = ngx_cpymem(p, first, end - first);
    }

    point = point ? point : s;
    shift = (end > point) ? point + 1 - end : point - end;

    negative = 0;

    if (s < last) {
        s++;
        negative = (*s == '-');
        s += (*s == '-' || *s == '+');
    }

    return ngx_snorky_json_canonical_exponent(p, s, last, negative, shift);
}


/* writes the sum of the exponent that was given, of any length, and shift */

static u_char *
ngx_snorky_json_canonical_exponent(u_char *p, u_char *digits, u_char *last,
    ngx_uint_t negative, int64_t shift)
{
    u_char   *s;
    int64_t   exponent;

    while (digits < last && *digits == '0') {
        digits++;
    }

    if (last - digits <= 18) {
        exponent = 0;

        for (s = digits; s < last; s++) {
            exponent = exponent * 10 + (*s - '0');
        }

        shift += negative ? -exponent : exponent;

        if (shift == 0) {
            return p;
        }

        negative = (shift < 0);
        shift = negative ? -shift : shift;

        /* all of it in the shift: digits enough for 64 bits */

        digits = (u_char *) "0000000000000000000";
        last = digits + 19;

    } else if (negative) {

        /* a sum of the same sign: shift is at most the text's length */

        shift = -shift;
    }

    *p++ = 'e';

    if (negative) {
        *p++ = '-';
    }

    return ngx_snorky_json_canonical_sum(p, digits, last - digits, shift);
}


/* writes the sum, which is positive, of n digits and shift */

static u_char *
ngx_snorky_json_canonical_sum(u_char *p, u_char *digits, size_t n,
    int64_t shift)
{
    size_t   i, zeros;
    int64_t  digit;

    for (i = n; i > 0; i--) {
        shift += digits[i - 1] - '0';

        digit = shift % 10;
        shift /= 10;

        if (digit < 0) {
            digit += 10;
            shift--;
        }

        p[i] = (u_char) ('0' + digit);
    }

    p[0] = (u_char) ('0' + shift);

    for (zeros = 0; p[zeros] == '0'; zeros++) { /* void */ }

    ngx_memmove(p, p + zeros, n + 1 - zeros);

    return p + n + 1 - zeros;
}


/* makes the object's names canonical; returns the end of those in "names" */

static u_char *
ngx_snorky_json_canonical_names(ngx_snorky_json_node_t *nodes,
    ngx_snorky_json_node_t *object, u_char *names)
{
    u_char      *p;
    uint32_t     n;
    ngx_str_t   *name;

    for (n = object->child; n; n = nodes[nodes[n].next].next) {
        name = &nodes[n].value.text;

        if (memchr(name->data, '\\', name->len) == NULL) {
            continue;
        }

        p = names;
        names = ngx_snorky_json_canonical_string(p, name);

        name->data = p;
        name->len = names - p;
    }

    return names;
}


static ngx_uint_t
ngx_snorky_json_canonical_sorted(ngx_snorky_json_node_t *nodes,
    ngx_snorky_json_node_t *object)
{
    uint32_t    n;
    ngx_str_t  *name, *prev;

    prev = NULL;

    for (n = object->child; n; n = nodes[nodes[n].next].next) {
        name = &nodes[n].value.text;

        if (prev && ngx_snorky_json_canonical_compare(prev, name) >= 0) {
            return 0;
        }

        prev = name;
    }

    return 1;
}


/*
 * A merge sort of the object's members, since clients choose the names.
 * List i holds the members of 2^i places, those of a higher list before
 * those of a lower one; a duplicate goes when it meets the later one.
 */

static void
ngx_snorky_json_canonical_sort(ngx_snorky_json_node_t *nodes,
    ngx_snorky_json_node_t *object)
{
    uint32_t    n, value, next, lists[32];
    ngx_uint_t  i;

    if (ngx_snorky_json_canonical_sorted(nodes, object)) {
        return;
    }

    ngx_memzero(lists, sizeof(lists));

    for (n = object->child; n; n = next) {
        value = nodes[n].next;

        next = nodes[value].next;
        nodes[value].next = 0;

        for (i = 0; lists[i]; i++) {
            n = ngx_snorky_json_canonical_merge(nodes, lists[i], n);
            lists[i] = 0;
        }

        lists[i] = n;
    }

    for (n = 0, i = 0; i < 32; i++) {
        if (lists[i]) {
            n = ngx_snorky_json_canonical_merge(nodes, lists[i], n);
        }
    }

    object->child = n;
}


/* the members of a come before those of b in the text */

static uint32_t
ngx_snorky_json_canonical_merge(ngx_snorky_json_node_t *nodes, uint32_t a,
    uint32_t b)
{
    uint32_t   head, *link, *from;
    ngx_int_t  rc;

    link = &head;

    while (a && b) {
        rc = ngx_snorky_json_canonical_compare(&nodes[a].value.text,
                                               &nodes[b].value.text);
        if (rc == 0) {
            a = nodes[nodes[a].next].next;
            continue;
        }

        from = (rc < 0) ? &a : &b;

        *link = *from;
        link = &nodes[nodes[*from].next].next;
        *from = *link;
    }

    *link = a ? a : b;

    return head;
}


/* of strings in canonical form none is the beginning of another */

static ngx_int_t
ngx_snorky_json_canonical_compare(ngx_str_t *a, ngx_str_t *b)
{
    return ngx_memcmp(a->data, b->data, ngx_min(a->len, b->len));
}
