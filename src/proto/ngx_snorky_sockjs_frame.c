
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The bytes of SockJS: strings and frames as clients are sent them, and the
 * messages that clients send.  Owns nothing: the bytes are the caller's.
 * Called by the SockJS transports for every delivery and every body.
 */


#include "ngx_snorky_sockjs_frame.h"


#define NGX_SNORKY_SOCKJS_CLOSE  "c[1000,]"

#define NGX_SNORKY_SOCKJS_ESCAPE  6         /* \u0000 */

/* what follows this byte tells whether it is escaped */
#define NGX_SNORKY_SOCKJS_LOOK  1


typedef struct {
    ngx_str_t                 before;
    ngx_str_t                 open;         /* behind the callback */
    ngx_str_t                 close;
} ngx_snorky_sockjs_wrap_t;


static ngx_uint_t ngx_snorky_sockjs_look(u_char *p, u_char *last,
    ngx_uint_t script);
static size_t ngx_snorky_sockjs_escape_size(ngx_str_t *text,
    ngx_uint_t script);
static u_char *ngx_snorky_sockjs_escape(u_char *dst, ngx_str_t *text,
    ngx_uint_t script);
static size_t ngx_snorky_sockjs_event_size(ngx_str_t *frame);
static u_char *ngx_snorky_sockjs_event(u_char *dst, ngx_str_t *frame);


/* the letter of a byte's escape; 0: the byte stands for itself */

static const u_char  ngx_snorky_sockjs_letters[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    'b', 't', 'n', 'u', 'f', 'r', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',

    0, 0, '"', 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, NGX_SNORKY_SOCKJS_LOOK, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, '\\', 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,

    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, NGX_SNORKY_SOCKJS_LOOK, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0,
    NGX_SNORKY_SOCKJS_LOOK,
    0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0
};


/* in the order of the kinds */

static ngx_snorky_sockjs_wrap_t  ngx_snorky_sockjs_wraps[] = {
    { ngx_null_string, ngx_null_string, ngx_null_string },
    { ngx_null_string, ngx_null_string, ngx_string("\n") },
    { ngx_null_string, ngx_null_string, ngx_string("\n") },
    { ngx_string("data: "), ngx_null_string, ngx_string("\r\n\r\n") },
    { ngx_string("<script>\np"), ngx_string("(\""),
      ngx_string("\");\n</script>\r\n") },
    { ngx_string("/**/"), ngx_string("(\""), ngx_string("\");\r\n") }
};


static ngx_inline u_char *
ngx_snorky_sockjs_put(u_char *dst, u_char *p, size_t len)
{
    return len ? ngx_cpymem(dst, p, len) : dst;
}


static ngx_inline ngx_uint_t
ngx_snorky_sockjs_is_plain(u_char *p, u_char *last, ngx_uint_t script)
{
    u_char  letter;

    letter = ngx_snorky_sockjs_letters[*p];

    return letter == 0
           || (letter == NGX_SNORKY_SOCKJS_LOOK
               && !ngx_snorky_sockjs_look(p, last, script));
}


static ngx_uint_t
ngx_snorky_sockjs_look(u_char *p, u_char *last, ngx_uint_t script)
{
    /*
     * "</script>" ends an element even in a string, and after "<!--" and
     * "<script" the next "</script>" does not.
     */

    if (*p == '<') {
        return script && last - p >= 2 && (p[1] == '/' || p[1] == '!');
    }

    if (last - p < 3) {
        return 0;
    }

    /* U+FFF0 to U+FFFF */

    if (*p == 0xef) {
        return p[1] == 0xbf && p[2] >= 0xb0;
    }

    /* U+200C to U+200F, U+2028 to U+202F */

    if (p[1] == 0x80) {
        return (p[2] & 0xfc) == 0x8c || (p[2] & 0xf8) == 0xa8;
    }

    /* U+2060 to U+206F */

    return p[1] == 0x81 && (p[2] & 0xf0) == 0xa0;
}


/* what is not plain, in at most NGX_SNORKY_SOCKJS_ESCAPE bytes */

static ngx_inline u_char *
ngx_snorky_sockjs_escape_one(u_char *dst, u_char **pos)
{
    u_char               *p, letter;
    ngx_uint_t            code;
    static const u_char   hex[] = "0123456789abcdef";

    p = *pos;

    if (*p == '<') {
        *dst++ = '<';
        *dst++ = '\\';
        *dst++ = p[1];

        *pos = p + 2;
        return dst;
    }

    letter = ngx_snorky_sockjs_letters[*p];
    code = *p++;

    if (letter == NGX_SNORKY_SOCKJS_LOOK) {
        code = (code & 0x0f) << 12 | (p[0] & 0x3f) << 6 | (p[1] & 0x3f);
        p += 2;

        letter = 'u';
    }

    *dst++ = '\\';
    *dst++ = letter;

    if (letter == 'u') {
        *dst++ = hex[code >> 12];
        *dst++ = hex[code >> 8 & 0xf];
        *dst++ = hex[code >> 4 & 0xf];
        *dst++ = hex[code & 0xf];
    }

    *pos = p;
    return dst;
}


static size_t
ngx_snorky_sockjs_escape_size(ngx_str_t *text, ngx_uint_t script)
{
    u_char  *p, *last, one[NGX_SNORKY_SOCKJS_ESCAPE];
    size_t   size;

    size = 0;
    p = text->data;
    last = p + text->len;

    while (p < last) {
        if (ngx_snorky_sockjs_is_plain(p, last, script)) {
            size++;
            p++;
            continue;
        }

        size += ngx_snorky_sockjs_escape_one(one, &p) - one;
    }

    return size;
}


/* a byte at a time: in JSON, a string has a quote every few bytes */

static u_char *
ngx_snorky_sockjs_escape(u_char *dst, ngx_str_t *text, ngx_uint_t script)
{
    u_char  *p, *last;

    p = text->data;
    last = p + text->len;

    while (p < last) {
        if (ngx_snorky_sockjs_is_plain(p, last, script)) {
            *dst++ = *p++;
            continue;
        }

        dst = ngx_snorky_sockjs_escape_one(dst, &p);
    }

    return dst;
}


size_t
ngx_snorky_sockjs_string_size(ngx_str_t *text)
{
    return ngx_snorky_sockjs_escape_size(text, 0) + 2;
}


u_char *
ngx_snorky_sockjs_string(u_char *p, ngx_str_t *text)
{
    *p++ = '"';
    p = ngx_snorky_sockjs_escape(p, text, 0);
    *p++ = '"';

    return p;
}


size_t
ngx_snorky_sockjs_close_size(ngx_str_t *reason)
{
    return sizeof(NGX_SNORKY_SOCKJS_CLOSE) - 1
           + ngx_snorky_sockjs_string_size(reason);
}


u_char *
ngx_snorky_sockjs_close(u_char *p, ngx_uint_t code, ngx_str_t *reason)
{
    *p++ = 'c';
    *p++ = '[';
    *p++ = (u_char) ('0' + code / 1000 % 10);
    *p++ = (u_char) ('0' + code / 100 % 10);
    *p++ = (u_char) ('0' + code / 10 % 10);
    *p++ = (u_char) ('0' + code % 10);
    *p++ = ',';
    p = ngx_snorky_sockjs_string(p, reason);
    *p++ = ']';

    return p;
}


size_t
ngx_snorky_sockjs_wrap_size(ngx_snorky_sockjs_kind_e kind, ngx_str_t *callback,
    ngx_str_t *frame)
{
    size_t                     size;
    ngx_snorky_sockjs_wrap_t  *wrap;

    wrap = &ngx_snorky_sockjs_wraps[kind];

    size = wrap->before.len + wrap->open.len + wrap->close.len;

    switch (kind) {

    case NGX_SNORKY_SOCKJS_JSONP:
        size += callback->len;
        /* fall through */

    case NGX_SNORKY_SOCKJS_HTMLFILE:
        return size + ngx_snorky_sockjs_escape_size(frame, 1);

    case NGX_SNORKY_SOCKJS_EVENTSOURCE:
        return size + ngx_snorky_sockjs_event_size(frame);

    default:
        return size + frame->len;
    }
}


u_char *
ngx_snorky_sockjs_wrap(u_char *p, ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame)
{
    ngx_snorky_sockjs_wrap_t  *wrap;

    wrap = &ngx_snorky_sockjs_wraps[kind];

    p = ngx_snorky_sockjs_put(p, wrap->before.data, wrap->before.len);

    switch (kind) {

    case NGX_SNORKY_SOCKJS_JSONP:
        p = ngx_snorky_sockjs_put(p, callback->data, callback->len);
        /* fall through */

    case NGX_SNORKY_SOCKJS_HTMLFILE:
        p = ngx_snorky_sockjs_put(p, wrap->open.data, wrap->open.len);
        p = ngx_snorky_sockjs_escape(p, frame, 1);
        break;

    case NGX_SNORKY_SOCKJS_EVENTSOURCE:
        p = ngx_snorky_sockjs_event(p, frame);
        break;

    default:
        p = ngx_snorky_sockjs_put(p, frame->data, frame->len);
    }

    return ngx_snorky_sockjs_put(p, wrap->close.data, wrap->close.len);
}


/* clients use decodeURI() on an event, so that a "%" must be "%25" */

static size_t
ngx_snorky_sockjs_event_size(ngx_str_t *frame)
{
    u_char  *p, *last;
    size_t   size;

    size = frame->len;
    last = frame->data + frame->len;

    for (p = frame->data; p < last; p++) {
        if (*p == '%') {
            size += 2;
        }
    }

    return size;
}


static u_char *
ngx_snorky_sockjs_event(u_char *dst, ngx_str_t *frame)
{
    u_char  *p, *last;

    last = frame->data + frame->len;

    for (p = frame->data; p < last; p++) {
        *dst++ = *p;

        if (*p == '%') {
            *dst++ = '2';
            *dst++ = '5';
        }
    }

    return dst;
}


ngx_uint_t
ngx_snorky_sockjs_is_callback(ngx_str_t *text)
{
    u_char  *p, *last, c;

    last = text->data + text->len;

    for (p = text->data; p < last; p++) {
        c = (u_char) (*p | 0x20);

        if ((c < 'a' || c > 'z') && (*p < '0' || *p > '9')
            && *p != '-' && *p != '_' && *p != '.')
        {
            return 0;
        }
    }

    return text->len != 0;
}


ngx_int_t
ngx_snorky_sockjs_pack(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t single, u_char *packed, size_t *len, ngx_uint_t *n,
    size_t *largest)
{
    u_char                  *p, *start;
    uint32_t                 size;
    ngx_int_t                rc;
    ngx_snorky_json_node_t  *node;

    rc = ngx_snorky_json_parse(json, text, 1, 1, &node);
    if (rc != NGX_OK) {
        return rc;
    }

    if (node->value.type == NGX_SNORKY_JSON_ARRAY) {
        node = ngx_snorky_json_child(json, node);

    } else if (!single) {
        return NGX_DECLINED;
    }

    p = packed;
    *n = 0;
    *largest = 0;

    while (node) {
        if (node->value.type != NGX_SNORKY_JSON_STRING) {
            return NGX_DECLINED;
        }

        start = p + sizeof(uint32_t);
        size = (uint32_t) (ngx_snorky_json_string(&node->value, start)
                           - start);
        ngx_memcpy(p, &size, sizeof(uint32_t));

        p = start + size;
        *largest = ngx_max(*largest, size);
        (*n)++;

        node = ngx_snorky_json_next(json, node);
    }

    *len = p - packed;

    return NGX_OK;
}


ngx_int_t
ngx_snorky_sockjs_unpack(ngx_str_t *rest, ngx_str_t *message)
{
    uint32_t  size;

    if (rest->len == 0) {
        return NGX_DONE;
    }

    ngx_memcpy(&size, rest->data, sizeof(uint32_t));

    message->data = rest->data + sizeof(uint32_t);
    message->len = size;

    rest->data = message->data + size;
    rest->len -= sizeof(uint32_t) + size;

    return NGX_OK;
}
