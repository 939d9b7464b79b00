
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The frames of the SockJS protocol 0.3.3 and 1.0: "o", "h", a[...] and
 * c[...], as they stand in a response's body, and the arrays of messages that
 * clients send.  No state, no I/O.
 */


#ifndef _NGX_SNORKY_SOCKJS_FRAME_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_FRAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"


/* what a frame is put into */

typedef enum {
    NGX_SNORKY_SOCKJS_WEBSOCKET = 0,    /* the frame as it is */
    NGX_SNORKY_SOCKJS_XHR,              /* frame \n */
    NGX_SNORKY_SOCKJS_XHR_STREAMING,    /* the same */
    NGX_SNORKY_SOCKJS_EVENTSOURCE,      /* data: frame \r\n\r\n, % is %25 */
    NGX_SNORKY_SOCKJS_HTMLFILE,         /* <script>\np("frame");\n</script> */
    NGX_SNORKY_SOCKJS_JSONP             /* (slashes)callback("frame");\r\n */
} ngx_snorky_sockjs_kind_e;


/*
 * A message as a JSON string, in quotes.  What JSON has to escape is escaped,
 * and the code points that browsers have been seen to spoil: U+0000 to U+001F,
 * U+200C to U+200F, U+2028 to U+202F, U+2060 to U+206F, U+FFF0 to U+FFFF.
 * The text is UTF-8.  Returns the end.
 */

size_t ngx_snorky_sockjs_string_size(ngx_str_t *text);
u_char *ngx_snorky_sockjs_string(u_char *p, ngx_str_t *text);

/* c[code,"reason"]; the reason is escaped.  Returns the end. */

size_t ngx_snorky_sockjs_close_size(ngx_str_t *reason);
u_char *ngx_snorky_sockjs_close(u_char *p, ngx_uint_t code, ngx_str_t *reason);

/*
 * A frame in a body of that kind.  In a script (HTMLFILE, JSONP) the frame is
 * a string literal once more, in which "</" ends no element and "<!" begins no
 * comment.  The callback counts for JSONP only.  Returns the end.
 */

size_t ngx_snorky_sockjs_wrap_size(ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame);
u_char *ngx_snorky_sockjs_wrap(u_char *p, ngx_snorky_sockjs_kind_e kind,
    ngx_str_t *callback, ngx_str_t *frame);

/* whether it is not empty and has nothing but [a-zA-Z0-9-_.] */
ngx_uint_t ngx_snorky_sockjs_is_callback(ngx_str_t *text);


/*
 * What a client sends: a JSON array of strings or, where "single" is allowed
 * (over a WebSocket), one such string.  It is packed: before each message, in
 * UTF-8, there is its length as a uint32_t in the machine's order, unaligned.
 * An unpaired surrogate becomes U+FFFD.  "packed" has room for
 * ngx_snorky_sockjs_packed_size(text->len) bytes, of which *len are used.
 *
 *   NGX_OK        *n messages, of which *largest is the length of the longest
 *   NGX_DECLINED  not that, or not UTF-8
 *   NGX_ERROR     no memory
 */

#define ngx_snorky_sockjs_packed_size(len)  ((len) * 2 + sizeof(uint32_t))

ngx_int_t ngx_snorky_sockjs_pack(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t single, u_char *packed, size_t *len, ngx_uint_t *n,
    size_t *largest);

/* cuts the next message off "rest"; NGX_OK, or NGX_DONE: there is none */
ngx_int_t ngx_snorky_sockjs_unpack(ngx_str_t *rest, ngx_str_t *message);


#endif /* _NGX_SNORKY_SOCKJS_FRAME_H_INCLUDED_ */
