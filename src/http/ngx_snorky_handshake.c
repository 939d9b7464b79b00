
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the upgrade of a request; called by the websocket's content handler.
 */


#include "ngx_snorky_handshake.h"
#include "ngx_snorky_header.h"

#include <ngx_sha1.h>


/* RFC 6455, 1.3 */
#define NGX_SNORKY_HANDSHAKE_GUID  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* 16 bytes in base64 (RFC 6455, 4.1) */
#define NGX_SNORKY_HANDSHAKE_KEY   24

#define NGX_SNORKY_HTTP_UPGRADE_REQUIRED  426


static ngx_int_t ngx_snorky_handshake_method(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_handshake_upgrade_required(ngx_http_request_t *r);
static ngx_uint_t ngx_snorky_handshake_key_valid(ngx_str_t *key);
static ngx_int_t ngx_snorky_handshake_add_accept(ngx_http_request_t *r);
static ngx_int_t ngx_snorky_handshake_add_protocol(ngx_http_request_t *r,
    ngx_array_t *protocols);


ngx_int_t
ngx_snorky_handshake_check(ngx_http_request_t *r)
{
    ngx_uint_t        n;
    ngx_table_elt_t  *version, *key;

    if (r->method != NGX_HTTP_GET) {
        return ngx_snorky_handshake_method(r);
    }

    /* HTTP/1.0 knows no upgrade, HTTP/2 forbids it (RFC 9110, 7.8) */

    if (r->http_version != NGX_HTTP_VERSION_11
        || !ngx_snorky_header_has(r, "Upgrade", "websocket", 1)
        || !ngx_snorky_header_has(r, "Connection", "upgrade", 1))
    {
        return ngx_snorky_handshake_upgrade_required(r);
    }

    version = ngx_snorky_header_find(r, "Sec-WebSocket-Version", &n);

    if (version == NULL
        || version->value.len != 2
        || ngx_strncmp(version->value.data, "13", 2) != 0)
    {
        return ngx_snorky_handshake_upgrade_required(r);
    }

    /* must not stand there twice (RFC 6455, 11.3.1) */

    key = ngx_snorky_header_find(r, "Sec-WebSocket-Key", &n);

    if (n != 1 || !ngx_snorky_handshake_key_valid(&key->value)) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "client sent no valid \"Sec-WebSocket-Key\"");
        return NGX_HTTP_BAD_REQUEST;
    }

    /* what follows the head are frames, and can't be a body */

    if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
        return NGX_HTTP_BAD_REQUEST;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_handshake_method(ngx_http_request_t *r)
{
    ngx_str_t  allow;

    ngx_str_set(&allow, "GET");

    if (ngx_snorky_header_add(r, "Allow", &allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_NOT_ALLOWED;
}


static ngx_int_t
ngx_snorky_handshake_upgrade_required(ngx_http_request_t *r)
{
    ngx_str_t  version, upgrade;

    ngx_str_set(&version, "13");
    ngx_str_set(&upgrade, "websocket");

    if (ngx_snorky_header_add(r, "Sec-WebSocket-Version", &version)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->http_version < NGX_HTTP_VERSION_20
        && ngx_snorky_header_add(r, "Upgrade", &upgrade) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_SNORKY_HTTP_UPGRADE_REQUIRED;
}


static ngx_uint_t
ngx_snorky_handshake_key_valid(ngx_str_t *key)
{
    u_char     bytes[ngx_base64_decoded_length(NGX_SNORKY_HANDSHAKE_KEY)];
    ngx_str_t  decoded;

    if (key->len != NGX_SNORKY_HANDSHAKE_KEY) {
        return 0;
    }

    decoded.data = bytes;

    return ngx_decode_base64(&decoded, key) == NGX_OK && decoded.len == 16;
}


ngx_int_t
ngx_snorky_handshake_accept(ngx_http_request_t *r, ngx_array_t *protocols)
{
    ngx_int_t                  rc;
    ngx_buf_t                 *b;
    ngx_str_t                  upgrade;
    ngx_chain_t                out;
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_str_set(&upgrade, "websocket");

    if (ngx_snorky_header_add(r, "Upgrade", &upgrade) != NGX_OK
        || ngx_snorky_handshake_add_accept(r) != NGX_OK
        || ngx_snorky_handshake_add_protocol(r, protocols) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    r->keepalive = 0;
    c->log->action = "serving websocket";

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    /* filters of a body would take memory for one that never comes */

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    if (ngx_http_write_filter(r, &out) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return (r->out || c->buffered) ? NGX_AGAIN : NGX_OK;
}


ngx_int_t
ngx_snorky_handshake_flush(ngx_http_request_t *r)
{
    if (ngx_http_write_filter(r, NULL) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return (r->out || r->connection->buffered) ? NGX_AGAIN : NGX_OK;
}


/* RFC 6455, 4.2.2, 5.4 */

static ngx_int_t
ngx_snorky_handshake_add_accept(ngx_http_request_t *r)
{
    u_char            digest[20];
    ngx_str_t         hash, accept;
    ngx_sha1_t        sha1;
    ngx_uint_t        n;
    ngx_table_elt_t  *key;

    key = ngx_snorky_header_find(r, "Sec-WebSocket-Key", &n);

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->value.data, key->value.len);
    ngx_sha1_update(&sha1, NGX_SNORKY_HANDSHAKE_GUID,
                    sizeof(NGX_SNORKY_HANDSHAKE_GUID) - 1);
    ngx_sha1_final(digest, &sha1);

    accept.data = ngx_pnalloc(r->pool,
                              ngx_base64_encoded_length(sizeof(digest)));
    if (accept.data == NULL) {
        return NGX_ERROR;
    }

    hash.data = digest;
    hash.len = sizeof(digest);

    ngx_encode_base64(&accept, &hash);

    return ngx_snorky_header_add(r, "Sec-WebSocket-Accept", &accept);
}


/* in our order of preference; none in common is no error (RFC 6455, 4.2.2) */

static ngx_int_t
ngx_snorky_handshake_add_protocol(ngx_http_request_t *r,
    ngx_array_t *protocols)
{
    ngx_str_t   *protocol;
    ngx_uint_t   i;

    if (protocols == NULL) {
        return NGX_OK;
    }

    protocol = protocols->elts;

    for (i = 0; i < protocols->nelts; i++) {

        if (ngx_snorky_header_has(r, "Sec-WebSocket-Protocol",
                                  (char *) protocol[i].data, 0))
        {
            return ngx_snorky_header_add(r, "Sec-WebSocket-Protocol",
                                         &protocol[i]);
        }
    }

    return NGX_OK;
}
