
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The WebSocket framing of RFC 6455, the server's side: a parser that can
 * stop at any byte, and the builder of frame headers.  Knows no socket, pool
 * or log.
 */


#ifndef _NGX_SNORKY_WS_FRAME_H_INCLUDED_
#define _NGX_SNORKY_WS_FRAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_utf8.h"


/* RFC 6455, 5.2 and 11.8 */

#define NGX_SNORKY_WS_CONTINUATION  0x0
#define NGX_SNORKY_WS_TEXT          0x1
#define NGX_SNORKY_WS_BINARY        0x2
#define NGX_SNORKY_WS_CLOSE         0x8
#define NGX_SNORKY_WS_PING          0x9
#define NGX_SNORKY_WS_PONG          0xa


/* RFC 6455, 7.4.1, and the IANA registry of close codes */

#define NGX_SNORKY_WS_NORMAL            1000
#define NGX_SNORKY_WS_GOING_AWAY        1001
#define NGX_SNORKY_WS_PROTOCOL_ERROR    1002
#define NGX_SNORKY_WS_UNSUPPORTED       1003
#define NGX_SNORKY_WS_NO_STATUS         1005   /* never on the wire */
#define NGX_SNORKY_WS_ABNORMAL          1006   /* never on the wire */
#define NGX_SNORKY_WS_INVALID_PAYLOAD   1007
#define NGX_SNORKY_WS_TOO_BIG           1009
#define NGX_SNORKY_WS_INTERNAL_ERROR    1011
#define NGX_SNORKY_WS_SERVICE_RESTART   1012
#define NGX_SNORKY_WS_TRY_AGAIN_LATER   1013


#define NGX_SNORKY_WS_MAX_HEADER        10     /* server to client: no mask */
#define NGX_SNORKY_WS_MAX_CONTROL       125

/* the reserved bits of a frame's first byte (RFC 6455, 5.2) */

#define NGX_SNORKY_WS_RSV               0x70
#define NGX_SNORKY_WS_RSV1              0x40   /* RFC 7692: compressed */


/*
 * The parser; one lies in every connection.  Its owner zeroes it, sets
 * max_size, and "control" when asked (see NGX_DECLINED below); the rest is
 * the parser's own.  "rsv" is for an extension that was negotiated: the RSV
 * bits it may set on the first frame of a message, zero without one.
 */

typedef struct {
    size_t                    max_size;     /* of a message, bytes */
    u_char                   *control;      /* room for MAX_CONTROL bytes */

    uint64_t                  left;         /* of the frame's payload */
    size_t                    size;         /* of the message, as announced */
    ngx_snorky_utf8_t         utf8;
    u_char                    mask[4];      /* turned to the next byte */

    u_char                    rsv;
    u_char                    state;
    u_char                    need;         /* bytes to come of a field */
    u_char                    have;         /* bytes in "control" */
    u_char                    opcode;       /* of the frame */
    u_char                    fin;          /* of the frame */
    u_char                    message;      /* opcode of the message, 0: none */
    u_char                    compressed;   /* the message had RSV1 */
} ngx_snorky_ws_parser_t;


/*
 * What was found.  For text and binary: a piece of the message in the order
 * of its bytes, unmasked in place in the input; "last" marks the message's
 * last piece, the only one that may be empty.  For control frames: the whole
 * payload, in the input or in parser->control.  For close: code is
 * NGX_SNORKY_WS_NO_STATUS where there is none, and data is the reason.
 *
 * After an error the event is the close frame to send: opcode, code, and a
 * static text in data.
 *
 * "compressed" stands on every piece of a message that began with RSV1; the
 * UTF-8 of such a text is not checked here, and max_size bounds its bytes on
 * the wire only.
 */

typedef struct {
    ngx_uint_t                opcode;       /* TEXT BINARY CLOSE PING PONG */
    ngx_str_t                 data;
    ngx_uint_t                code;
    unsigned                  last:1;
    unsigned                  compressed:1;
} ngx_snorky_ws_event_t;


/*
 * Takes bytes from *pos, at most to last, and moves *pos past them.
 *
 *   NGX_OK        an event; call again, also when *pos == last
 *   NGX_AGAIN     all bytes are taken, and no event is complete
 *   NGX_DECLINED  a control frame's payload is split between two inputs, and
 *                 parser->control is NULL: let it point to
 *                 NGX_SNORKY_WS_MAX_CONTROL bytes and call again.  After any
 *                 NGX_OK, once its event is handled, they may be taken back
 *                 (control = NULL); after NGX_AGAIN they may not.
 *   NGX_ERROR     the peer broke the protocol (1002), sent text that is not
 *                 UTF-8 (1007), or announced a message over max_size (1009);
 *                 it is found at the first byte that proves it, and the
 *                 parser is not to be called again
 */

ngx_int_t ngx_snorky_ws_parse(ngx_snorky_ws_parser_t *parser, u_char **pos,
    u_char *last, ngx_snorky_ws_event_t *event);

/*
 * Builds the header of an unfragmented, unmasked frame for a payload of len
 * bytes so that it ends before "end"; returns its start.  At most
 * NGX_SNORKY_WS_MAX_HEADER bytes.
 */

u_char *ngx_snorky_ws_build_header(u_char *end, ngx_uint_t opcode,
    uint64_t len);

/*
 * Builds a whole close frame into p, which has room for
 * 2 + NGX_SNORKY_WS_MAX_CONTROL bytes.  The reason is UTF-8 or NULL; one
 * too long is cut between two characters.  A code that may not be sent (1005,
 * 1006) makes a close frame without payload.  Returns the end.
 */

u_char *ngx_snorky_ws_build_close(u_char *p, ngx_uint_t code,
    ngx_str_t *reason);

/* whether a close code may stand in a close frame (RFC 6455, 7.4) */
ngx_uint_t ngx_snorky_ws_close_code_valid(ngx_uint_t code);


#endif /* _NGX_SNORKY_WS_FRAME_H_INCLUDED_ */
