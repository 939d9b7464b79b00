
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The WebSocket framing of RFC 6455: the parser of what clients send and the
 * builder of what the server sends.  Owns nothing: the parser lies in its
 * connection, the bytes are the caller's.  Called by the WebSocket transport.
 */


#include "ngx_snorky_ws_frame.h"


#define NGX_SNORKY_WS_FIN      0x80         /* of the first byte */
#define NGX_SNORKY_WS_OPCODE   0x0f
#define NGX_SNORKY_WS_MASK     0x80         /* of the second byte */
#define NGX_SNORKY_WS_CONTROL  0x8          /* of the opcode: 5.5 */

#define NGX_SNORKY_WS_LEN16    126          /* 5.2: two bytes follow */
#define NGX_SNORKY_WS_LEN64    127          /* 5.2: eight bytes follow */


/* a new frame begins at zero, as in a parser that was only zeroed */

enum {
    NGX_SNORKY_WS_STATE_FIRST = 0,
    NGX_SNORKY_WS_STATE_SECOND,
    NGX_SNORKY_WS_STATE_LENGTH,
    NGX_SNORKY_WS_STATE_MASK,
    NGX_SNORKY_WS_STATE_PAYLOAD
};


static ngx_int_t ngx_snorky_ws_parse_header(ngx_snorky_ws_parser_t *parser,
    u_char **pos, u_char *last, ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_parse_first(ngx_snorky_ws_parser_t *parser,
    u_char ch, ngx_snorky_ws_event_t *event);
static const char *ngx_snorky_ws_check_first(ngx_snorky_ws_parser_t *parser,
    u_char ch);
static ngx_int_t ngx_snorky_ws_parse_second(ngx_snorky_ws_parser_t *parser,
    u_char ch, ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_parse_length(ngx_snorky_ws_parser_t *parser,
    u_char **pos, u_char *last, ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_parse_mask(ngx_snorky_ws_parser_t *parser,
    u_char **pos, u_char *last);
static ngx_int_t ngx_snorky_ws_parse_data(ngx_snorky_ws_parser_t *parser,
    u_char **pos, u_char *last, ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_parse_control(ngx_snorky_ws_parser_t *parser,
    u_char **pos, u_char *last, ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_check_size(ngx_snorky_ws_parser_t *parser,
    ngx_snorky_ws_event_t *event);
static ngx_int_t ngx_snorky_ws_check_close(ngx_snorky_ws_parser_t *parser,
    ngx_snorky_ws_event_t *event);
static void ngx_snorky_ws_unmask(u_char *p, size_t len, u_char *mask);
static void ngx_snorky_ws_turn_mask(u_char *mask, size_t len);
static void ngx_snorky_ws_set_event(ngx_snorky_ws_event_t *event,
    ngx_uint_t opcode, u_char *data, size_t len);
static ngx_int_t ngx_snorky_ws_fail(ngx_snorky_ws_event_t *event,
    ngx_uint_t code, const char *reason);


ngx_int_t
ngx_snorky_ws_parse(ngx_snorky_ws_parser_t *parser, u_char **pos, u_char *last,
    ngx_snorky_ws_event_t *event)
{
    u_char     *p;
    ngx_int_t   rc;

    p = *pos;

    do {
        rc = NGX_OK;

        if (parser->state != NGX_SNORKY_WS_STATE_PAYLOAD) {
            rc = ngx_snorky_ws_parse_header(parser, &p, last, event);
        }

        if (rc == NGX_OK) {
            rc = (parser->opcode & NGX_SNORKY_WS_CONTROL)
                 ? ngx_snorky_ws_parse_control(parser, &p, last, event)
                 : ngx_snorky_ws_parse_data(parser, &p, last, event);
        }

        /* NGX_DONE: an empty fragment, which is no event */

    } while (rc == NGX_DONE);

    *pos = p;

    return rc;
}


/* a header that is whole in the input falls straight through the states */

static ngx_int_t
ngx_snorky_ws_parse_header(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last, ngx_snorky_ws_event_t *event)
{
    ngx_int_t  rc;

    switch (parser->state) {

    case NGX_SNORKY_WS_STATE_FIRST:

        if (*pos == last) {
            return NGX_AGAIN;
        }

        rc = ngx_snorky_ws_parse_first(parser, *(*pos)++, event);

        if (rc != NGX_OK) {
            return rc;
        }

        /* fall through */

    case NGX_SNORKY_WS_STATE_SECOND:

        if (*pos == last) {
            return NGX_AGAIN;
        }

        rc = ngx_snorky_ws_parse_second(parser, *(*pos)++, event);

        if (rc != NGX_OK) {
            return rc;
        }

        /* fall through */

    case NGX_SNORKY_WS_STATE_LENGTH:

        rc = ngx_snorky_ws_parse_length(parser, pos, last, event);

        if (rc != NGX_OK) {
            return rc;
        }

        /* fall through */

    default: /* NGX_SNORKY_WS_STATE_MASK */

        return ngx_snorky_ws_parse_mask(parser, pos, last);
    }
}


static ngx_int_t
ngx_snorky_ws_parse_first(ngx_snorky_ws_parser_t *parser, u_char ch,
    ngx_snorky_ws_event_t *event)
{
    const char  *reason;

    reason = ngx_snorky_ws_check_first(parser, ch);

    if (reason) {
        return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_PROTOCOL_ERROR, reason);
    }

    parser->opcode = ch & NGX_SNORKY_WS_OPCODE;
    parser->fin = (ch & NGX_SNORKY_WS_FIN) != 0;

    if (parser->opcode == NGX_SNORKY_WS_TEXT
        || parser->opcode == NGX_SNORKY_WS_BINARY)
    {
        parser->message = parser->opcode;
        parser->compressed = (ch & NGX_SNORKY_WS_RSV1) != 0;
        parser->size = 0;
    }

    parser->state = NGX_SNORKY_WS_STATE_SECOND;

    return NGX_OK;
}


/* why a frame may not begin so, or NULL */

static const char *
ngx_snorky_ws_check_first(ngx_snorky_ws_parser_t *parser, u_char ch)
{
    ngx_uint_t  allowed;

    allowed = 0;

    switch (ch & NGX_SNORKY_WS_OPCODE) {

    case NGX_SNORKY_WS_TEXT:
    case NGX_SNORKY_WS_BINARY:

        if (parser->message) {
            return "message inside a message";                /* 5.4 */
        }

        /* RFC 7692, 6: the bit of a message is on its first frame only */

        allowed = parser->rsv;
        break;

    case NGX_SNORKY_WS_CONTINUATION:

        if (!parser->message) {
            return "continuation without a message";          /* 5.4 */
        }

        break;

    case NGX_SNORKY_WS_CLOSE:
    case NGX_SNORKY_WS_PING:
    case NGX_SNORKY_WS_PONG:

        if (!(ch & NGX_SNORKY_WS_FIN)) {
            return "fragmented control frame";                /* 5.5 */
        }

        break;

    default:
        return "reserved opcode";                             /* 5.2 */
    }

    if (ch & NGX_SNORKY_WS_RSV & ~allowed) {
        return "reserved bit";                                /* 5.2 */
    }

    return NULL;
}


static ngx_int_t
ngx_snorky_ws_parse_second(ngx_snorky_ws_parser_t *parser, u_char ch,
    ngx_snorky_ws_event_t *event)
{
    ngx_uint_t   len;
    const char  *reason;

    len = ch & 0x7f;
    reason = NULL;

    if (!(ch & NGX_SNORKY_WS_MASK)) {
        reason = "unmasked frame";                            /* 5.1 */

    } else if (parser->opcode & NGX_SNORKY_WS_CONTROL) {

        if (len > NGX_SNORKY_WS_MAX_CONTROL) {
            reason = "control frame too long";                /* 5.5 */

        } else if (len == 1 && parser->opcode == NGX_SNORKY_WS_CLOSE) {
            reason = "close frame with half a code";          /* 5.5.1 */
        }
    }

    if (reason) {
        return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_PROTOCOL_ERROR, reason);
    }

    if (len < NGX_SNORKY_WS_LEN16) {
        parser->left = len;
        parser->need = 0;

    } else {
        parser->left = 0;
        parser->need = (len == NGX_SNORKY_WS_LEN16) ? 2 : 8;
    }

    parser->state = NGX_SNORKY_WS_STATE_LENGTH;

    return NGX_OK;
}


/*
 * The bytes of length that follow the second byte: none, two, or eight.  5.2:
 * the top bit is zero, and the length could not be written in fewer bytes.
 * Both forms are judged here: "two bytes to come" is reached within the long
 * form only, after six of its bytes.
 */

static ngx_int_t
ngx_snorky_ws_parse_length(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last, ngx_snorky_ws_event_t *event)
{
    uint64_t    left;
    ngx_uint_t  need;

    left = parser->left;
    need = parser->need;

    while (need) {

        if (*pos == last) {
            parser->left = left;
            parser->need = (u_char) need;
            return NGX_AGAIN;
        }

        left = left << 8 | *(*pos)++;
        need--;

        if (need == 7 && left > 0x7f) {
            return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_PROTOCOL_ERROR,
                                      "invalid length");
        }

        if ((need == 2 && left == 0)
            || (need == 0 && left < NGX_SNORKY_WS_LEN16))
        {
            return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_PROTOCOL_ERROR,
                                      "length not minimal");
        }
    }

    parser->left = left;

    return ngx_snorky_ws_check_size(parser, event);
}


static ngx_int_t
ngx_snorky_ws_parse_mask(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last)
{
    if (parser->need == 4 && last - *pos >= 4) {
        ngx_memcpy(parser->mask, *pos, 4);
        *pos += 4;

    } else {

        while (parser->need) {

            if (*pos == last) {
                return NGX_AGAIN;
            }

            parser->mask[4 - parser->need--] = *(*pos)++;
        }
    }

    parser->have = 0;
    parser->state = NGX_SNORKY_WS_STATE_PAYLOAD;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_ws_parse_data(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last, ngx_snorky_ws_event_t *event)
{
    u_char  *p;
    size_t   len;

    p = *pos;
    len = last - p;

    if (len >= parser->left) {
        len = (size_t) parser->left;
        parser->state = NGX_SNORKY_WS_STATE_FIRST;

    } else if (len == 0) {
        return NGX_AGAIN;
    }

    *pos += len;
    parser->left -= len;

    ngx_snorky_ws_unmask(p, len, parser->mask);

    if (parser->left) {
        ngx_snorky_ws_turn_mask(parser->mask, len);
    }

    ngx_snorky_ws_set_event(event, parser->message, p, len);

    event->last = parser->fin && parser->left == 0;
    event->compressed = parser->compressed;

    /* 8.1: a character may be split between fragments, not messages */

    if (parser->message == NGX_SNORKY_WS_TEXT && !parser->compressed
        && (ngx_snorky_utf8_check(&parser->utf8, p, p + len) == NGX_ERROR
            || (event->last && parser->utf8 != NGX_SNORKY_UTF8_START)))
    {
        return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_INVALID_PAYLOAD,
                                  "text is not UTF-8");
    }

    if (event->last) {
        parser->message = 0;
        return NGX_OK;
    }

    return len ? NGX_OK : NGX_DONE;
}


/*
 * A payload that lies whole in the input stays there; one that arrives in
 * pieces is collected in parser->control.
 */

static ngx_int_t
ngx_snorky_ws_parse_control(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last, ngx_snorky_ws_event_t *event)
{
    u_char  *p;
    size_t   len;

    p = *pos;
    len = ngx_min((uint64_t) (last - p), parser->left);

    if (len < parser->left || parser->have) {

        if (len == 0) {
            return NGX_AGAIN;
        }

        if (parser->control == NULL) {
            return NGX_DECLINED;
        }

        p = parser->control;
        ngx_memcpy(p + parser->have, *pos, len);
    }

    ngx_snorky_ws_unmask(p + parser->have, len, parser->mask);
    ngx_snorky_ws_turn_mask(parser->mask, len);

    *pos += len;
    parser->left -= len;
    parser->have += (u_char) len;

    if (parser->left == 0) {
        parser->state = NGX_SNORKY_WS_STATE_FIRST;
    }

    ngx_snorky_ws_set_event(event, parser->opcode, p, parser->have);

    if (parser->opcode == NGX_SNORKY_WS_CLOSE) {
        return ngx_snorky_ws_check_close(parser, event);
    }

    return parser->left ? NGX_AGAIN : NGX_OK;
}


/* the length is known: nothing of a message too big is waited for */

static ngx_int_t
ngx_snorky_ws_check_size(ngx_snorky_ws_parser_t *parser,
    ngx_snorky_ws_event_t *event)
{
    if (!(parser->opcode & NGX_SNORKY_WS_CONTROL)) {

        /* size never exceeds max_size, so this does not wrap around */

        if (parser->left > parser->max_size - parser->size) {
            return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_TOO_BIG,
                                      "message too big");
        }

        parser->size += (size_t) parser->left;
    }

    parser->need = 4;
    parser->state = NGX_SNORKY_WS_STATE_MASK;

    return NGX_OK;
}


/*
 * 5.5.1.  What has come of a close frame's payload is checked, each time from
 * its beginning: it is short, and the parser's state of UTF-8 belongs to the
 * message that the close frame may interrupt.
 */

static ngx_int_t
ngx_snorky_ws_check_close(ngx_snorky_ws_parser_t *parser,
    ngx_snorky_ws_event_t *event)
{
    u_char             *p, *last;
    ngx_int_t           rc;
    ngx_snorky_utf8_t   utf8;

    p = event->data.data;
    last = p + event->data.len;

    if (p == last) {
        event->code = NGX_SNORKY_WS_NO_STATUS;
        return NGX_OK;
    }

    /* no valid code begins with another byte, whatever follows */

    if (p[0] != 1000 >> 8 && (p[0] < 3000 >> 8 || p[0] > 4999 >> 8)) {
        goto invalid;
    }

    if (last - p == 1) {
        return NGX_AGAIN;
    }

    event->code = (ngx_uint_t) p[0] << 8 | p[1];
    event->data.data += 2;
    event->data.len -= 2;

    if (!ngx_snorky_ws_close_code_valid(event->code)) {
        goto invalid;
    }

    utf8 = NGX_SNORKY_UTF8_START;
    rc = ngx_snorky_utf8_check(&utf8, p + 2, last);

    if (rc == NGX_ERROR || (rc == NGX_AGAIN && parser->left == 0)) {
        return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_INVALID_PAYLOAD,
                                  "close reason is not UTF-8");
    }

    return parser->left ? NGX_AGAIN : NGX_OK;

invalid:

    return ngx_snorky_ws_fail(event, NGX_SNORKY_WS_PROTOCOL_ERROR,
                              "invalid close code");
}


/* 5.3; memcpy() is how a word at any address is read and written */

static void
ngx_snorky_ws_unmask(u_char *p, size_t len, u_char *mask)
{
    size_t    i;
    uint32_t  half;
    uint64_t  key, word[4];

    ngx_memcpy(&half, mask, 4);
    key = (uint64_t) half << 32 | half;

    /* four words a turn become vector instructions even at -O2 */

    for ( /* void */ ; len >= sizeof(word); len -= sizeof(word)) {
        ngx_memcpy(word, p, sizeof(word));

        word[0] ^= key;
        word[1] ^= key;
        word[2] ^= key;
        word[3] ^= key;

        p = ngx_cpymem(p, word, sizeof(word));
    }

    for ( /* void */ ; len >= sizeof(key); len -= sizeof(key)) {
        ngx_memcpy(word, p, sizeof(key));
        word[0] ^= key;
        p = ngx_cpymem(p, word, sizeof(key));
    }

    for (i = 0; i < len; i++) {
        p[i] ^= mask[i & 3];
    }
}


static void
ngx_snorky_ws_turn_mask(u_char *mask, size_t len)
{
    u_char      key[4];
    ngx_uint_t  i;

    if (len & 3) {
        ngx_memcpy(key, mask, 4);

        for (i = 0; i < 4; i++) {
            mask[i] = key[(len + i) & 3];
        }
    }
}


static void
ngx_snorky_ws_set_event(ngx_snorky_ws_event_t *event, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    event->opcode = opcode;
    event->data.len = len;
    event->data.data = data;
    event->code = 0;
    event->last = 1;
    event->compressed = 0;
}


static ngx_int_t
ngx_snorky_ws_fail(ngx_snorky_ws_event_t *event, ngx_uint_t code,
    const char *reason)
{
    ngx_snorky_ws_set_event(event, NGX_SNORKY_WS_CLOSE, (u_char *) reason,
                            ngx_strlen(reason));
    event->code = code;

    return NGX_ERROR;
}


u_char *
ngx_snorky_ws_build_header(u_char *end, ngx_uint_t opcode, uint64_t len)
{
    ngx_uint_t  i, form, bytes;

    if (len < NGX_SNORKY_WS_LEN16) {
        form = (ngx_uint_t) len;
        bytes = 0;

    } else if (len <= 0xffff) {
        form = NGX_SNORKY_WS_LEN16;
        bytes = 2;

    } else {
        form = NGX_SNORKY_WS_LEN64;
        bytes = 8;
    }

    for (i = 0; i < bytes; i++) {
        *--end = (u_char) (len & 0xff);
        len >>= 8;
    }

    *--end = (u_char) form;
    *--end = (u_char) (NGX_SNORKY_WS_FIN | opcode);

    return end;
}


u_char *
ngx_snorky_ws_build_close(u_char *p, ngx_uint_t code, ngx_str_t *reason)
{
    size_t  len;

    if (!ngx_snorky_ws_close_code_valid(code)) {

        /* 7.4.1: what is told by the absence of a code */

        p += 2;
        (void) ngx_snorky_ws_build_header(p, NGX_SNORKY_WS_CLOSE, 0);

        return p;
    }

    len = (reason == NULL) ? 0 : reason->len;

    if (len > NGX_SNORKY_WS_MAX_CONTROL - 2) {
        len = NGX_SNORKY_WS_MAX_CONTROL - 2;

        /* 10xxxxxx is never the start of a character */

        while (len && (reason->data[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    p += 2;
    (void) ngx_snorky_ws_build_header(p, NGX_SNORKY_WS_CLOSE, len + 2);

    *p++ = (u_char) (code >> 8);
    *p++ = (u_char) (code & 0xff);

    return len ? ngx_cpymem(p, reason->data, len) : p;
}


/* 7.4.2 for the ranges; 1012, 1013, 1014 were registered later */

ngx_uint_t
ngx_snorky_ws_close_code_valid(ngx_uint_t code)
{
    if (code >= 3000 && code <= 4999) {
        return 1;
    }

    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
