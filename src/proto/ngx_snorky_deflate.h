
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * permessage-deflate (RFC 7692), the server's side: what is agreed on in the
 * handshake, and messages in and out of their compressed form.  Knows no
 * socket and no frame.
 *
 * Memory, measured with zlib 1.2.13:
 *
 *   window bits                  9     12     15
 *   a compressor, of its own   16k    38k   262k
 *   a compressor, shared      136k   150k   262k
 *   a decompressor              8k    11k    39k  (7k until it is used)
 */


#ifndef _NGX_SNORKY_DEFLATE_H_INCLUDED_
#define _NGX_SNORKY_DEFLATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_SNORKY_DEFLATE_MIN_BITS  9
#define NGX_SNORKY_DEFLATE_MAX_BITS  15

/* bytes of the longest answer */
#define NGX_SNORKY_DEFLATE_ANSWER                                             \
    (sizeof("permessage-deflate; server_no_context_takeover; "                \
            "client_no_context_takeover; server_max_window_bits=15; "         \
            "client_max_window_bits=15") - 1)


/*
 * What was agreed on.  Without takeover, a side forgets after each message
 * what it has sent, so that all connections can share one compressor.
 */

typedef struct {
    u_char                     server_bits;
    u_char                     client_bits;
    unsigned                   server_takeover:1;
    unsigned                   client_takeover:1;
    unsigned                   server_named:1;  /* the answer tells its bits */
} ngx_snorky_deflate_params_t;


typedef struct ngx_snorky_deflater_s  ngx_snorky_deflater_t;
typedef struct ngx_snorky_inflater_s  ngx_snorky_inflater_t;


/* a text that grows; zeroed at first, its data is freed by who owns it */

typedef struct {
    u_char                    *data;
    size_t                     len;
    size_t                     size;
} ngx_snorky_deflate_buf_t;


/*
 * Reads the offers in one line of Sec-WebSocket-Extensions, the first that
 * can be accepted is.  The bits (9 to 15) and takeover are what we want.
 *
 *   NGX_OK        params are to be answered with
 *   NGX_DECLINED  nothing here that could be accepted
 *   NGX_ERROR     the line breaks the grammar of RFC 6455, 9.1
 */

ngx_int_t ngx_snorky_deflate_negotiate(ngx_str_t *line, ngx_uint_t bits,
    ngx_uint_t takeover, ngx_snorky_deflate_params_t *params);

/* the header of the response; returns the end, at most ..._ANSWER bytes on */
u_char *ngx_snorky_deflate_answer(u_char *p,
    ngx_snorky_deflate_params_t *params);


/*
 * A compressor for one connection (takeover) or for any.  Level is 1 to 9.
 * NULL: no memory.  The log must live as long.
 */

ngx_snorky_deflater_t *ngx_snorky_deflater_create(ngx_uint_t level,
    ngx_uint_t bits, ngx_uint_t takeover, ngx_log_t *log);
void ngx_snorky_deflater_destroy(ngx_snorky_deflater_t *d);

/* room in which a message of len bytes can be compressed, whatever it is */
size_t ngx_snorky_deflater_bound(ngx_snorky_deflater_t *d, size_t len);

/*
 * Compresses a message to "p" with "room" bytes; *len is what it took.
 *
 *   NGX_OK        *len bytes, RSV1 is to be set
 *   NGX_DECLINED  they have no room: to be sent as it is.  With takeover, the
 *                 room must be that of ngx_snorky_deflater_bound()
 *   NGX_ERROR     the compressor is broken
 */

ngx_int_t ngx_snorky_deflater_run(ngx_snorky_deflater_t *d, ngx_str_t *text,
    u_char *p, size_t room, size_t *len);


/* likewise */
ngx_snorky_inflater_t *ngx_snorky_inflater_create(ngx_uint_t bits,
    ngx_uint_t takeover, ngx_log_t *log);
void ngx_snorky_inflater_destroy(ngx_snorky_inflater_t *i);

/*
 * Decompresses a whole message into "out", whose memory is used again; it
 * grows to max + 1 bytes at most, and no more than that is decompressed.
 *
 *   NGX_OK        out->data, out->len
 *   NGX_DECLINED  the message has more than max bytes
 *   NGX_ABORT     this is no compressed message
 *   NGX_ERROR     no memory
 *
 * After anything but NGX_OK an inflater with takeover is of no use any more.
 */

ngx_int_t ngx_snorky_inflater_run(ngx_snorky_inflater_t *i, ngx_str_t *data,
    size_t max, ngx_snorky_deflate_buf_t *out);


#endif /* _NGX_SNORKY_DEFLATE_H_INCLUDED_ */
