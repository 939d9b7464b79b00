
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes the bytes of SockJS.  The text as a message: it comes back from the
 * string, in which no listed character is left.  As a frame: it comes back
 * from each kind of body, as a browser and a client read it.  As what a client
 * sends: it is taken if it is an array of strings by a plain reading, and the
 * messages, written as an array, come to the same.
 *
 * Input: a byte for the allocation that fails (0: none), a byte whose lowest
 * bit is "single", then the text.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_sockjs_frame.h"
#include "../unit/nginx_shim.h"
#include "../unit/json_oracle.h"


#define ngx_snorky_sockjs_fuzz_check(cond)                                    \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    u_char                   *data;
    size_t                    len;
    ngx_uint_t                n;
    size_t                    largest;
} ngx_snorky_sockjs_fuzz_packed_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_uint_t
ngx_snorky_sockjs_fuzz_has(ngx_str_t *text, const char *what)
{
    return text->len
           && memmem(text->data, text->len, what, strlen(what)) != NULL;
}


/* in memory of exactly the size that is said to be needed */

static ngx_str_t
ngx_snorky_sockjs_fuzz_string(ngx_str_t *text)
{
    u_char     *end;
    ngx_str_t   string;

    string.len = ngx_snorky_sockjs_string_size(text);
    string.data = malloc(string.len);

    end = ngx_snorky_sockjs_string(string.data, text);
    ngx_snorky_sockjs_fuzz_check(end == string.data + string.len);

    return string;
}


static ngx_str_t
ngx_snorky_sockjs_fuzz_body(ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame)
{
    u_char     *end;
    ngx_str_t   body;

    body.len = ngx_snorky_sockjs_wrap_size(kind, callback, frame);
    body.data = malloc(body.len);

    end = ngx_snorky_sockjs_wrap(body.data, kind, callback, frame);
    ngx_snorky_sockjs_fuzz_check(end == body.data + body.len);

    return body;
}


/* what begins with the one and ends with the other is cut to what is between */

static void
ngx_snorky_sockjs_fuzz_cut(ngx_str_t *body, const char *before,
    const char *after)
{
    size_t  head, tail;

    head = strlen(before);
    tail = strlen(after);

    ngx_snorky_sockjs_fuzz_check(body->len >= head + tail);
    ngx_snorky_sockjs_fuzz_check(memcmp(body->data, before, head) == 0);
    ngx_snorky_sockjs_fuzz_check(memcmp(body->data + body->len - tail, after,
                                        tail) == 0);

    body->data += head;
    body->len -= head + tail;
}


static void
ngx_snorky_sockjs_fuzz_same(ngx_str_t *got, ngx_str_t *text)
{
    ngx_snorky_sockjs_fuzz_check(got->len == text->len);
    ngx_snorky_sockjs_fuzz_check(got->len == 0
                                 || memcmp(got->data, text->data, got->len)
                                    == 0);
}


static ngx_uint_t
ngx_snorky_sockjs_fuzz_listed(u_char *p)
{
    uint32_t  code;

    if ((p[0] & 0xf0) != 0xe0) {
        return 0;
    }

    code = (p[0] & 0xf) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f);

    return (code >= 0x200c && code <= 0x200f)
           || (code >= 0x2028 && code <= 0x202f)
           || (code >= 0x2060 && code <= 0x206f)
           || code >= 0xfff0;
}


/* the string of a valid text, read by the JSON parser */

static void
ngx_snorky_sockjs_fuzz_message(ngx_snorky_json_t *json, ngx_str_t *text)
{
    size_t                   i;
    ngx_str_t                string, back;
    ngx_snorky_json_node_t  *node;

    string = ngx_snorky_sockjs_fuzz_string(text);
    back.data = malloc(string.len);

    ngx_snorky_sockjs_fuzz_check(ngx_snorky_json_parse(json, &string, 0, 0,
                                                       &node)
                                 == NGX_OK);
    ngx_snorky_sockjs_fuzz_check(node->value.type == NGX_SNORKY_JSON_STRING);

    back.len = ngx_snorky_json_string(&node->value, back.data) - back.data;
    ngx_snorky_sockjs_fuzz_same(&back, text);

    for (i = 0; i + 3 <= string.len; i++) {
        ngx_snorky_sockjs_fuzz_check(
            !ngx_snorky_sockjs_fuzz_listed(string.data + i));
    }

    free(back.data);
    free(string.data);
}


/* the escape behind a backslash, of four digits or one letter */

static u_char *
ngx_snorky_sockjs_fuzz_escape(u_char *dst, u_char **pos)
{
    char         digits[5];
    uint32_t     code;
    const char  *found;

    static const char  letters[] = "b\bf\fn\nr\rt\t\"\"\\\\//!!";

    if (**pos != 'u') {
        found = strchr(letters, **pos);
        ngx_snorky_sockjs_fuzz_check(found != NULL);

        *dst++ = (u_char) found[1];
        (*pos)++;

        return dst;
    }

    memcpy(digits, *pos + 1, 4);
    digits[4] = '\0';

    code = (uint32_t) strtoul(digits, NULL, 16);
    *pos += 5;

    if (code < 0x80) {
        *dst++ = (u_char) code;
        return dst;
    }

    *dst++ = (u_char) (0xe0 | code >> 12);
    *dst++ = (u_char) (0x80 | (code >> 6 & 0x3f));
    *dst++ = (u_char) (0x80 | (code & 0x3f));

    return dst;
}


/* a string literal of JavaScript in a script in HTML */

static void
ngx_snorky_sockjs_fuzz_literal(ngx_str_t *literal, ngx_str_t *text)
{
    u_char     *p, *last, *dst;
    ngx_str_t   back;

    ngx_snorky_sockjs_fuzz_check(!ngx_snorky_sockjs_fuzz_has(literal, "</"));
    ngx_snorky_sockjs_fuzz_check(!ngx_snorky_sockjs_fuzz_has(literal, "<!"));

    back.data = malloc(literal->len);

    dst = back.data;
    p = literal->data;
    last = p + literal->len;

    while (p < last) {
        ngx_snorky_sockjs_fuzz_check(*p != '"' && *p >= 0x20);

        if (*p != '\\') {
            *dst++ = *p++;
            continue;
        }

        p++;
        ngx_snorky_sockjs_fuzz_check(p < last);

        dst = ngx_snorky_sockjs_fuzz_escape(dst, &p);
    }

    ngx_snorky_sockjs_fuzz_check(p == last);

    back.len = dst - back.data;
    ngx_snorky_sockjs_fuzz_same(&back, text);

    free(back.data);
}


static void
ngx_snorky_sockjs_fuzz_event(ngx_str_t *event, ngx_str_t *text)
{
    size_t      i;
    u_char     *dst;
    ngx_str_t   back;

    back.data = malloc(event->len);
    dst = back.data;

    for (i = 0; i < event->len; i++) {
        *dst++ = event->data[i];

        if (event->data[i] == '%') {
            ngx_snorky_sockjs_fuzz_check(i + 2 < event->len
                                         && event->data[i + 1] == '2'
                                         && event->data[i + 2] == '5');
            i += 2;
        }
    }

    back.len = dst - back.data;
    ngx_snorky_sockjs_fuzz_same(&back, text);

    free(back.data);
}


static void
ngx_snorky_sockjs_fuzz_frame(ngx_snorky_sockjs_kind_e kind, ngx_str_t *frame,
    ngx_uint_t valid)
{
    ngx_str_t  body, callback, inside;

    ngx_str_set(&callback, "a.b");

    body = ngx_snorky_sockjs_fuzz_body(kind, &callback, frame);
    inside = body;

    switch (kind) {

    case NGX_SNORKY_SOCKJS_WEBSOCKET:
        ngx_snorky_sockjs_fuzz_same(&inside, frame);
        break;

    case NGX_SNORKY_SOCKJS_XHR:
    case NGX_SNORKY_SOCKJS_XHR_STREAMING:
        ngx_snorky_sockjs_fuzz_cut(&inside, "", "\n");
        ngx_snorky_sockjs_fuzz_same(&inside, frame);
        break;

    case NGX_SNORKY_SOCKJS_EVENTSOURCE:
        ngx_snorky_sockjs_fuzz_cut(&inside, "data: ", "\r\n\r\n");
        ngx_snorky_sockjs_fuzz_event(&inside, frame);
        break;

    case NGX_SNORKY_SOCKJS_HTMLFILE:
        ngx_snorky_sockjs_fuzz_cut(&inside, "<script>\np(\"",
                                   "\");\n</script>\r\n");
        if (valid) {
            ngx_snorky_sockjs_fuzz_literal(&inside, frame);
        }

        break;

    case NGX_SNORKY_SOCKJS_JSONP:
        ngx_snorky_sockjs_fuzz_cut(&inside, "/**/a.b(\"", "\");\r\n");

        if (valid) {
            ngx_snorky_sockjs_fuzz_literal(&inside, frame);
        }

        break;
    }

    free(body.data);
}


/* how many strings the text is an array of, or -1 */

static ngx_int_t
ngx_snorky_sockjs_fuzz_count(ngx_str_t *text, ngx_uint_t single)
{
    u_char     *p, *last;
    ngx_int_t   n;

    if (!ngx_snorky_json_oracle_valid(text->data, text->len, 1)) {
        return -1;
    }

    last = text->data + text->len;
    p = ngx_snorky_json_oracle_space(text->data, last);

    if (*p != '[') {
        return single && *p == '"' ? 1 : -1;
    }

    n = 0;

    do {
        p = ngx_snorky_json_oracle_space(p + 1, last);

        if (n == 0 && *p == ']') {
            return 0;
        }

        p = ngx_snorky_json_oracle_string(p, last);

        if (p == NULL) {
            return -1;
        }

        n++;
        p = ngx_snorky_json_oracle_space(p, last);

    } while (*p == ',');

    return n;
}


static ngx_int_t
ngx_snorky_sockjs_fuzz_pack(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t single, ngx_snorky_sockjs_fuzz_packed_t *packed)
{
    packed->data = malloc(ngx_snorky_sockjs_packed_size(text->len));

    return ngx_snorky_sockjs_pack(json, text, single, packed->data,
                                  &packed->len, &packed->n, &packed->largest);
}


/* the messages, written as an array, are packed to the same bytes */

static void
ngx_snorky_sockjs_fuzz_again(ngx_snorky_json_t *json,
    ngx_snorky_sockjs_fuzz_packed_t *packed)
{
    u_char                           *p;
    size_t                            largest;
    ngx_str_t                         rest, message, string, array;
    ngx_uint_t                        n;
    ngx_snorky_sockjs_fuzz_packed_t   again;

    array.data = malloc(packed->len * 6 + 2);

    p = array.data;
    *p++ = '[';

    rest.data = packed->data;
    rest.len = packed->len;
    largest = 0;

    for (n = 0; ngx_snorky_sockjs_unpack(&rest, &message) == NGX_OK; n++) {

        if (n) {
            *p++ = ',';
        }

        largest = ngx_max(largest, message.len);

        string = ngx_snorky_sockjs_fuzz_string(&message);
        p = ngx_cpymem(p, string.data, string.len);
        free(string.data);
    }

    *p++ = ']';
    array.len = p - array.data;

    ngx_snorky_sockjs_fuzz_check(rest.len == 0);
    ngx_snorky_sockjs_fuzz_check(n == packed->n);
    ngx_snorky_sockjs_fuzz_check(largest == packed->largest);

    ngx_snorky_sockjs_fuzz_check(ngx_snorky_sockjs_fuzz_pack(json, &array, 0,
                                                             &again)
                                 == NGX_OK);
    ngx_snorky_sockjs_fuzz_check(again.n == n && again.largest == largest);
    ngx_snorky_sockjs_fuzz_check(again.len == packed->len
                                 && memcmp(again.data, packed->data,
                                           again.len) == 0);

    free(again.data);
    free(array.data);
}


static void
ngx_snorky_sockjs_fuzz_request(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t single, ngx_uint_t failing)
{
    ngx_int_t                        rc, count;
    ngx_snorky_sockjs_fuzz_packed_t  packed;

    count = ngx_snorky_sockjs_fuzz_count(text, single);

    if (failing) {
        ngx_snorky_shim_fail(failing);
        rc = ngx_snorky_sockjs_fuzz_pack(json, text, single, &packed);
        ngx_snorky_shim_fail(0);

        ngx_snorky_sockjs_fuzz_check(rc == NGX_ERROR
                                     || rc == (count < 0 ? NGX_DECLINED
                                                         : NGX_OK));
        free(packed.data);
    }

    rc = ngx_snorky_sockjs_fuzz_pack(json, text, single, &packed);

    ngx_snorky_sockjs_fuzz_check(rc == (count < 0 ? NGX_DECLINED : NGX_OK));

    if (rc == NGX_OK) {
        ngx_snorky_sockjs_fuzz_check(packed.n == (ngx_uint_t) count);
        ngx_snorky_sockjs_fuzz_again(json, &packed);
    }

    free(packed.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t           text, string;
    ngx_uint_t          kind, valid;
    ngx_snorky_utf8_t   utf8;
    ngx_snorky_json_t  *json;

    if (size < 2) {
        return 0;
    }

    /* a copy of its own, so that a read past its end is seen */

    text.len = size - 2;
    text.data = malloc(ngx_max(text.len, 1));
    memcpy(text.data, data + 2, text.len);

    ngx_snorky_shim_fail(0);
    json = ngx_snorky_json_create();

    utf8 = NGX_SNORKY_UTF8_START;
    valid = ngx_snorky_utf8_check(&utf8, text.data, text.data + text.len)
            == NGX_OK;

    if (valid) {
        ngx_snorky_sockjs_fuzz_message(json, &text);

    } else {
        string = ngx_snorky_sockjs_fuzz_string(&text);
        free(string.data);
    }

    for (kind = 0; kind <= NGX_SNORKY_SOCKJS_JSONP; kind++) {
        ngx_snorky_sockjs_fuzz_frame(kind, &text, valid);
    }

    ngx_snorky_sockjs_fuzz_request(json, &text, data[1] & 1, data[0]);

    ngx_snorky_json_destroy(json);
    free(text.data);

    return 0;
}
