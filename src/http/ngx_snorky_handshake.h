
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The opening handshake of RFC 6455, section 4, the server's side.
 */


#ifndef _NGX_SNORKY_HANDSHAKE_H_INCLUDED_
#define _NGX_SNORKY_HANDSHAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * NGX_OK when the request asks for a WebSocket as it should, or else the
 * status to answer with, whose headers have been added: 405, 426 or 400.
 */

ngx_int_t ngx_snorky_handshake_check(ngx_http_request_t *r);

/*
 * Sends 101 and the accepted key, and the first of "protocols" (NULL: none)
 * that the client offers.
 *
 *   NGX_OK     it is with the kernel
 *   NGX_AGAIN  the socket is full: ngx_snorky_handshake_flush() when it is not
 *   NGX_ERROR  the connection is gone, or no memory
 */

ngx_int_t ngx_snorky_handshake_accept(ngx_http_request_t *r,
    ngx_array_t *protocols);
ngx_int_t ngx_snorky_handshake_flush(ngx_http_request_t *r);


#endif /* _NGX_SNORKY_HANDSHAKE_H_INCLUDED_ */
