
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A connection of the load generator: its socket, the client's side of the
 * handshake, what is received of a frame and what waits to be sent.  Owns
 * the socket and the buffers; subscribers and publishers own it and get its
 * bytes through bench_conn_ops_t.
 */


#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>


#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT  24
#endif


/* RFC 7692: no frame needs what was sent before it */
#define BENCH_CONN_DEFLATE                                                    \
    "Sec-WebSocket-Extensions: permessage-deflate; "                          \
    "client_no_context_takeover; server_no_context_takeover\r\n"


static void
bench_conn_watch(bench_load_t *load, bench_conn_t *c, int op, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = c;

    if (epoll_ctl(load->epoll, op, c->fd, &ee) == -1) {
        perror("load: epoll_ctl()");
        exit(1);
    }
}


void
bench_conn_tell(bench_load_t *load, bench_conn_t *c, const char *what,
    int err)
{
    if (!load->told) {
        load->told = 1;
        (void) fprintf(stderr, "load: connection %u: %s%s%s\n", c->index, what,
                       err ? ": " : "", err ? strerror(err) : "");
    }
}


static void
bench_conn_fail(bench_load_t *load, bench_conn_t *c)
{
    bench_conn_close(load, c);
    c->ops->closed(load, c);
}


/*
 * A local address has some 28,000 ports to one server; the further
 * connections come from 127.0.0.2, 127.0.0.3, ...  A close is a reset, so
 * that no port waits for its peer's last segments.
 */

static int
bench_conn_prepare(bench_conn_t *c)
{
    int                 on;
    uint32_t            address;
    struct linger       linger;
    struct sockaddr_in  sin;

    on = 1;
    linger.l_onoff = 1;
    linger.l_linger = 0;

    if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == -1
        || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1)
    {
        return BENCH_ERROR;
    }

    address = c->index / BENCH_PER_ADDRESS;

    if (address == 0) {
        return BENCH_OK;
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK + address);

    if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on))
        == -1
        || bind(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        return BENCH_ERROR;
    }

    return BENCH_OK;
}


int
bench_conn_open(bench_load_t *load, bench_conn_t *c)
{
    int  rc;

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (c->fd == -1) {
        perror("load: socket()");
        return BENCH_ERROR;
    }

    rc = bench_conn_prepare(c);

    if (rc == BENCH_OK
        && connect(c->fd, (struct sockaddr *) &load->server,
                   sizeof(load->server))
           == -1
        && errno != EINPROGRESS)
    {
        rc = BENCH_ERROR;
    }

    if (rc != BENCH_OK) {
        perror("load: connect()");
        close(c->fd);
        c->fd = -1;
        return BENCH_ERROR;
    }

    c->state = BENCH_CONN_CONNECTING;
    c->blocked = 1;
    bench_conn_watch(load, c, EPOLL_CTL_ADD, EPOLLIN|EPOLLOUT);

    return BENCH_OK;
}


void
bench_conn_close(bench_load_t *load, bench_conn_t *c)
{
    if (c->state == BENCH_CONN_CLOSED) {
        return;
    }

    close(c->fd);

    free(c->in);
    free(c->out);

    c->fd = -1;
    c->state = BENCH_CONN_CLOSED;
    c->blocked = 0;
    c->in = NULL;
    c->in_len = 0;
    c->in_size = 0;
    c->out = NULL;
    c->out_len = 0;
    c->out_size = 0;
}


void
bench_conn_trim(bench_conn_t *c)
{
    if (c->in_len == 0) {
        free(c->in);
        c->in = NULL;
        c->in_size = 0;
    }

    if (c->out_len == 0) {
        free(c->out);
        c->out = NULL;
        c->out_size = 0;
    }
}


static u_char *
bench_conn_reserve(bench_conn_t *c, size_t len)
{
    if (c->out_len + len > c->out_size) {
        c->out_size = 2 * (c->out_len + len);
        c->out = realloc(c->out, c->out_size);

        if (c->out == NULL) {
            perror("load: realloc()");
            exit(1);
        }
    }

    return c->out + c->out_len;
}


void
bench_conn_put(bench_conn_t *c, const u_char *data, size_t len)
{
    memcpy(bench_conn_reserve(c, len), data, len);
    c->out_len += len;
}


void
bench_conn_put_text(bench_conn_t *c, const u_char *data, size_t len)
{
    u_char  *p;

    p = bench_conn_reserve(c, BENCH_WS_HEADER + len);
    c->out_len = bench_ws_masked(p, BENCH_WS_TEXT, data, len) - c->out;
}


void
bench_conn_put_close(bench_conn_t *c, unsigned code)
{
    u_char  *p, data[2];

    data[0] = (u_char) (code >> 8);
    data[1] = (u_char) code;

    p = bench_conn_reserve(c, BENCH_WS_HEADER + 2);
    c->out_len = bench_ws_masked(p, BENCH_WS_CLOSE, data, 2) - c->out;
}


/* an error of the socket is seen by the read that follows it */

void
bench_conn_flush(bench_load_t *load, bench_conn_t *c)
{
    ssize_t   n;
    unsigned  blocked;

    if (c->out_len) {
        n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

        if (n > 0) {
            c->out_len -= n;
            memmove(c->out, c->out + n, c->out_len);
        }
    }

    blocked = (c->out_len != 0);

    if (blocked != c->blocked) {
        c->blocked = blocked;
        bench_conn_watch(load, c, EPOLL_CTL_MOD,
                         blocked ? EPOLLIN|EPOLLOUT : EPOLLIN);
    }
}


int
bench_conn_control(bench_load_t *load, bench_conn_t *c, bench_ws_frame_t *f)
{
    u_char  *p;

    if (f->opcode == BENCH_WS_PING && f->len < 126) {
        p = bench_conn_reserve(c, BENCH_WS_HEADER + f->len);
        c->out_len = bench_ws_masked(p, BENCH_WS_PONG, f->data, f->len)
                     - c->out;
        load->count->pings++;
        bench_conn_flush(load, c);
        return BENCH_OK;
    }

    if (f->opcode == BENCH_WS_PONG) {
        return BENCH_OK;
    }

    /* a server ends no connection, and sends nothing that is fragmented */

    if (f->opcode != BENCH_WS_CLOSE) {
        load->count->errors++;
    }

    return BENCH_ERROR;
}


static void
bench_conn_request(bench_load_t *load, bench_conn_t *c)
{
    int   n;
    char  path[128], channel[BENCH_CHANNEL_LEN], text[640];

    if (!c->raw) {
        bench_load_channel(load, c->channel, channel);

        n = snprintf(path, sizeof(path), c->path, channel);

        n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: %s:%u\r\n%s%s\r\n",
                     n < 0 ? "/" : path, load->host, load->port,
                     c->upgrade ? "Upgrade: websocket\r\n"
                                  "Connection: Upgrade\r\n"
                                  "Sec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: " BENCH_WS_KEY "\r\n"
                                : "",
                     c->upgrade && load->deflate ? BENCH_CONN_DEFLATE : "");

        bench_conn_put(c, (u_char *) text, n);
    }

    bench_conn_flush(load, c);
}


static void
bench_conn_connected(bench_load_t *load, bench_conn_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
        bench_conn_tell(load, c, "connect()", err);
        bench_conn_fail(load, c);
        return;
    }

    c->state = c->raw ? BENCH_CONN_OPEN : BENCH_CONN_HANDSHAKE;

    bench_conn_request(load, c);

    if (c->raw && c->ops->opened(load, c) != BENCH_OK) {
        bench_conn_fail(load, c);
    }
}


/* the value of a header of [pos, end), which begins with a status line */

static u_char *
bench_conn_header(u_char *pos, u_char *end, const char *name)
{
    size_t   len;
    u_char  *p;

    len = strlen(name);
    p = memchr(pos, '\n', end - pos);

    while (p && (size_t) (end - p) > len + 1) {
        p++;

        if (strncasecmp((char *) p, name, len) == 0 && p[len] == ':') {
            for (p += len + 1; p < end && *p == ' '; p++) { /* void */ }
            return p;
        }

        p = memchr(p, '\n', end - p);
    }

    return NULL;
}


uint32_t
bench_conn_worker(bench_load_t *load, u_char *pos, u_char *end)
{
    u_char    *p;
    uint32_t   n;

    p = bench_conn_header(pos, end, load->mark);

    if (p == NULL || *p < '0' || *p > '9') {
        return BENCH_WORKERS;
    }

    for (n = 0; *p >= '0' && *p <= '9' && n < BENCH_WORKERS; p++) {
        n = n * 10 + (*p - '0');
    }

    return n < BENCH_WORKERS ? n : BENCH_WORKERS;
}


/* what the handshake's answer [pos, end) agrees on; BENCH_ERROR: it is bad */

static int
bench_conn_agree(bench_load_t *load, bench_conn_t *c, u_char *pos, u_char *end)
{
    u_char  *p, *last;

    c->deflate = 0;

    if (load->mark) {
        c->worker = bench_conn_worker(load, pos, end);

        if (c->worker == BENCH_WORKERS) {
            bench_conn_tell(load, c, "no number of a worker", 0);
            return BENCH_ERROR;
        }
    }

    p = bench_conn_header(pos, end, "Sec-WebSocket-Extensions");

    if (p == NULL) {
        return BENCH_OK;
    }

    last = memchr(p, '\r', end - p);

    if (!load->deflate
        || memmem(p, last - p, "permessage-deflate", 18) == NULL
        || memmem(p, last - p, "server_no_context_takeover", 26) == NULL)
    {
        bench_conn_tell(load, c, "an extension that was not offered", 0);
        return BENCH_ERROR;
    }

    c->deflate = 1;

    return BENCH_OK;
}


/* moves *pos behind the answer */

static int
bench_conn_handshake(bench_load_t *load, bench_conn_t *c, u_char **pos,
    u_char *last)
{
    u_char      *end;
    size_t       len;
    const char  *status;

    end = memmem(*pos, last - *pos, "\r\n\r\n", 4);

    if (end == NULL) {
        return BENCH_AGAIN;
    }

    len = end + 4 - *pos;
    status = c->upgrade ? "HTTP/1.1 101" : "HTTP/1.1 200";

    if (memcmp(*pos, status, 12) != 0
        || (c->upgrade
            && memmem(*pos, len, BENCH_WS_ACCEPT "\r\n",
                      BENCH_WS_ACCEPT_LEN + 2)
               == NULL))
    {
        bench_conn_tell(load, c, "the handshake is refused", 0);
        load->count->errors++;
        return BENCH_ERROR;
    }

    if ((load->mark || load->deflate) && c->upgrade
        && bench_conn_agree(load, c, *pos, end + 4) != BENCH_OK)
    {
        load->count->errors++;
        return BENCH_ERROR;
    }

    *pos = end + 4;
    c->state = BENCH_CONN_OPEN;

    return c->ops->opened(load, c);
}


static int
bench_conn_keep(bench_conn_t *c, u_char *pos, size_t len)
{
    if (len > BENCH_READ) {
        return BENCH_ERROR;
    }

    if (len > c->in_size) {
        free(c->in);
        c->in = malloc(2 * len);

        if (c->in == NULL) {
            c->in_size = 0;
            return BENCH_ERROR;
        }

        c->in_size = 2 * len;
    }

    memcpy(c->in, pos, len);
    c->in_len = len;

    return BENCH_OK;
}


static void
bench_conn_readable(bench_load_t *load, bench_conn_t *c)
{
    int      rc;
    u_char  *pos, *last;
    ssize_t  n;

    pos = load->buffer;

    if (c->in_len) {
        memcpy(pos, c->in, c->in_len);
    }

    n = recv(c->fd, pos + c->in_len, BENCH_READ, 0);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        if (c->state == BENCH_CONN_HANDSHAKE) {
            bench_conn_tell(load, c, "closed in the handshake", n ? errno : 0);
        }

        bench_conn_fail(load, c);
        return;
    }

    load->now = bench_load_now();

    last = pos + c->in_len + n;
    c->in_len = 0;

    if (c->state == BENCH_CONN_HANDSHAKE) {
        rc = bench_conn_handshake(load, c, &pos, last);

        if (rc == BENCH_ERROR) {
            bench_conn_fail(load, c);
            return;
        }
    }

    if (c->state == BENCH_CONN_OPEN) {
        pos = c->ops->read(load, c, pos, last);
    }

    if (pos == NULL
        || (pos != last && bench_conn_keep(c, pos, last - pos) != BENCH_OK))
    {
        bench_conn_fail(load, c);
    }
}


void
bench_conn_event(bench_load_t *load, bench_conn_t *c, uint32_t events)
{
    if (c->state == BENCH_CONN_CLOSED) {
        return;
    }

    if (c->state == BENCH_CONN_CONNECTING) {
        bench_conn_connected(load, c);
        return;
    }

    if (events & EPOLLOUT) {
        bench_conn_flush(load, c);
    }

    if (events & (EPOLLIN|EPOLLERR|EPOLLHUP)) {
        bench_conn_readable(load, c);
    }
}
