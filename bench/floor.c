
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The floor: the least that a single-threaded server can do to relay a
 * publication to the WebSocket subscribers of a channel.  It trusts its
 * clients, parses no JSON, and builds a frame once.  Two modes:
 *
 *     send     a send() per message and subscriber, at once
 *     writev   a writev() per subscriber and round of the event loop
 *
 * It owns its connections and channels for as long as it runs; the load
 * generator drives it with the JSON protocol of the module, on any path, or
 * with bare messages on /raw/CHANNEL.
 */


#include "ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>


#define FLOOR_BUFFER    65536
#define FLOOR_EVENTS    512
#define FLOOR_BUCKETS   65536
#define FLOOR_BATCH     64

#define FLOOR_HEAD      "{\"service\":\"messaging\",\"message\":{"           \
                        "\"type\":\"message\","
#define FLOOR_REPLY     "{\"service\":\"messaging\",\"message\":{"           \
                        "\"type\":\"response\",\"callId\":"
#define FLOOR_UPGRADE   "HTTP/1.1 101 Switching Protocols\r\n"               \
                        "Upgrade: websocket\r\nConnection: Upgrade\r\n"      \
                        "Sec-WebSocket-Accept: "


typedef struct floor_conn_s     floor_conn_t;
typedef struct floor_channel_s  floor_channel_t;

struct floor_channel_s {
    floor_channel_t    *next;           /* in its bucket */
    floor_channel_t    *next_dirty;
    floor_conn_t      **conns;
    size_t              nconns;
    size_t              size;
    struct iovec        frames[FLOOR_BATCH];
    int                 nframes;        /* of this round */
    int                 dirty;          /* in the list of the round */
    size_t              len;
    u_char              name[];
};

struct floor_conn_s {
    int                 fd;
    unsigned            open:1;         /* the handshake is done */
    unsigned            replied:1;      /* in the list of the round */
    unsigned            blocked:1;      /* waits for EPOLLOUT */
    floor_channel_t    *channel;        /* is subscribed to it */
    floor_channel_t    *target;         /* publishes bare messages to it */
    size_t              index;          /* in the channel */
    floor_conn_t       *next_replied;
    u_char             *in;             /* the start of a frame */
    size_t              in_len;
    u_char             *out;            /* what the socket did not take */
    size_t              out_len;
    size_t              out_size;
};

typedef struct {
    int                 epoll;
    int                 listen;
    unsigned            batch:1;
    unsigned            ack:1;
    floor_channel_t    *buckets[FLOOR_BUCKETS];
    floor_channel_t    *dirty;
    floor_conn_t       *replied;
    u_char              buffer[FLOOR_BUFFER];
} floor_t;


static void floor_close(floor_t *fl, floor_conn_t *c);


static void *
floor_alloc(void *p, size_t size)
{
    p = realloc(p, size);

    if (p == NULL) {
        (void) fprintf(stderr, "floor: no memory\n");
        exit(1);
    }

    return p;
}


static void
floor_watch(floor_t *fl, floor_conn_t *c, int op, uint32_t events)
{
    struct epoll_event  ee;

    ee.events = events;
    ee.data.ptr = c;

    if (epoll_ctl(fl->epoll, op, c->fd, &ee) == -1) {
        perror("floor: epoll_ctl()");
        exit(1);
    }
}


static void
floor_block(floor_t *fl, floor_conn_t *c, unsigned blocked)
{
    if (c->blocked != blocked) {
        c->blocked = blocked;
        floor_watch(fl, c, EPOLL_CTL_MOD,
                    blocked ? EPOLLIN|EPOLLOUT : EPOLLIN);
    }
}


static void
floor_keep(floor_conn_t *c, const u_char *data, size_t len)
{
    if (c->out_len + len > c->out_size) {
        c->out_size = 2 * (c->out_len + len);
        c->out = floor_alloc(c->out, c->out_size);
    }

    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}


/* keeps what the socket does not take; the peer's end is seen by read() */

static void
floor_write(floor_t *fl, floor_conn_t *c, struct iovec *iov, int n)
{
    int      i;
    size_t   sent;
    ssize_t  rc;

    sent = 0;

    if (c->out_len == 0) {

        rc = (n == 1) ? send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                      : writev(c->fd, iov, n);

        if (rc == -1 && errno != EAGAIN) {
            return;
        }

        sent = rc > 0 ? rc : 0;
    }

    for (i = 0; i < n; i++) {

        if (sent >= iov[i].iov_len) {
            sent -= iov[i].iov_len;
            continue;
        }

        floor_block(fl, c, 1);
        floor_keep(c, (u_char *) iov[i].iov_base + sent,
                   iov[i].iov_len - sent);
        sent = 0;
    }
}


static void
floor_writable(floor_t *fl, floor_conn_t *c)
{
    ssize_t  n;

    n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

    if (n > 0) {
        c->out_len -= n;
        memmove(c->out, c->out + n, c->out_len);
    }

    floor_block(fl, c, c->out_len != 0);

    if (c->out_len == 0 && c->out_size > FLOOR_BUFFER) {
        free(c->out);
        c->out = NULL;
        c->out_size = 0;
    }
}


static floor_channel_t *
floor_channel(floor_t *fl, const u_char *name, size_t len)
{
    size_t            i;
    uint32_t          hash;
    floor_channel_t  *ch, **bucket;

    hash = 2166136261u;

    for (i = 0; i < len; i++) {
        hash = (hash ^ name[i]) * 16777619u;
    }

    bucket = &fl->buckets[hash % FLOOR_BUCKETS];

    for (ch = *bucket; ch; ch = ch->next) {
        if (ch->len == len && memcmp(ch->name, name, len) == 0) {
            return ch;
        }
    }

    ch = floor_alloc(NULL, sizeof(*ch) + len);
    memset(ch, 0, sizeof(*ch));
    memcpy(ch->name, name, len);

    ch->len = len;
    ch->next = *bucket;
    *bucket = ch;

    return ch;
}


static void
floor_subscribe(floor_t *fl, floor_conn_t *c, const u_char *name, size_t len)
{
    floor_channel_t  *ch;

    if (c->channel) {
        return;
    }

    ch = floor_channel(fl, name, len);

    if (ch->nconns == ch->size) {
        ch->size = ch->size ? 2 * ch->size : 1;
        ch->conns = floor_alloc(ch->conns, ch->size * sizeof(*ch->conns));
    }

    c->channel = ch;
    c->index = ch->nconns;
    ch->conns[ch->nconns++] = c;
}


static void
floor_unsubscribe(floor_conn_t *c)
{
    floor_conn_t     *last;
    floor_channel_t  *ch;

    ch = c->channel;

    if (ch == NULL) {
        return;
    }

    last = ch->conns[--ch->nconns];
    ch->conns[c->index] = last;
    last->index = c->index;

    c->channel = NULL;
}


static void
floor_flush(floor_t *fl, floor_channel_t *ch)
{
    int     n;
    size_t  i;

    if (ch->nframes == 0) {
        return;
    }

    for (i = 0; i < ch->nconns; i++) {
        floor_write(fl, ch->conns[i], ch->frames, ch->nframes);
    }

    for (n = 0; n < ch->nframes; n++) {
        free(ch->frames[n].iov_base);
    }

    ch->nframes = 0;
}


/* a frame of three parts */

static void
floor_publish(floor_t *fl, floor_channel_t *ch, const char *head,
    const u_char *data, size_t len, const char *tail)
{
    u_char  *p, *frame;
    size_t   n, m;

    n = strlen(head);
    m = strlen(tail);

    frame = floor_alloc(NULL, BENCH_WS_HEADER + n + len + m);

    p = bench_ws_header(frame, BENCH_WS_TEXT, n + len + m);
    p = (u_char *) mempcpy(p, head, n);
    p = (u_char *) mempcpy(p, data, len);
    p = (u_char *) mempcpy(p, tail, m);

    ch->frames[ch->nframes].iov_base = frame;
    ch->frames[ch->nframes++].iov_len = p - frame;

    if (!fl->batch || ch->nframes == FLOOR_BATCH) {
        floor_flush(fl, ch);
        return;
    }

    if (!ch->dirty) {
        ch->dirty = 1;
        ch->next_dirty = fl->dirty;
        fl->dirty = ch;
    }
}


/* it leaves at the end of the round, behind the deliveries */

static void
floor_answer(floor_t *fl, floor_conn_t *c, unsigned opcode, const u_char *data,
    size_t len)
{
    u_char  header[BENCH_WS_HEADER];

    floor_keep(c, header, bench_ws_header(header, opcode, len) - header);
    floor_keep(c, data, len);

    if (!c->replied) {
        c->replied = 1;
        c->next_replied = fl->replied;
        fl->replied = c;
    }
}


static void
floor_reply(floor_t *fl, floor_conn_t *c, const u_char *call, size_t len)
{
    u_char  *p, text[256];

    if (len > 64) {
        return;
    }

    p = (u_char *) mempcpy(text, FLOOR_REPLY, sizeof(FLOOR_REPLY) - 1);
    p = (u_char *) mempcpy(p, call, len);
    p = (u_char *) mempcpy(p, ",\"data\":null}}", 14);

    floor_answer(fl, c, BENCH_WS_TEXT, text, p - text);
}


/*
 * {"service":S,"message":{"command":C,"params":{"channel":"...",...},
 * "callId":N}}, with the members in this order
 */

static void
floor_text(floor_t *fl, floor_conn_t *c, u_char *data, size_t len)
{
    int      publish;
    u_char  *last, *params, *name, *end, *call;

    last = data + len;

    params = memmem(data, len, "\"params\":{", 10);

    if (params == NULL) {
        return;
    }

    publish = memmem(data, params - data, "\"publish\"", 9) != NULL;

    params += 10;
    call = memmem(params, last - params, "},\"callId\":", 11);

    if (call == NULL || call - params < 12) {
        return;
    }

    name = params + sizeof("\"channel\":\"") - 1;
    end = memchr(name, '"', call - name);

    if (end == NULL) {
        return;
    }

    if (publish) {
        floor_publish(fl, floor_channel(fl, name, end - name), FLOOR_HEAD,
                      params, call - params, "}}");

    } else if (memmem(data, params - data, "\"unsubscribe\"", 13)) {
        floor_unsubscribe(c);

    } else {
        floor_subscribe(fl, c, name, end - name);
    }

    call += 11;

    if (!publish || fl->ack) {
        floor_reply(fl, c, call, last - 2 - call);
    }
}


/* GET /raw/CHANNEL subscribes, GET /raw/CHANNEL?publish will publish */

static void
floor_path(floor_t *fl, floor_conn_t *c, u_char *pos)
{
    size_t  n;

    if (memcmp(pos, "GET /raw/", 9) != 0) {
        return;
    }

    pos += 9;
    n = strcspn((char *) pos, " ?");        /* the key has a blank before it */

    if (pos[n] == '?') {
        c->target = floor_channel(fl, pos, n);

    } else {
        floor_subscribe(fl, c, pos, n);
    }
}


/* BENCH_ERROR: the connection is to be closed */

static int
floor_handshake(floor_t *fl, floor_conn_t *c, u_char **pos, u_char *last)
{
    u_char        *p, *end, *key, reply[256];
    struct iovec   iov;

    end = memmem(*pos, last - *pos, "\r\n\r\n", 4);

    if (end == NULL) {
        return BENCH_AGAIN;
    }

    key = memmem(*pos, end - *pos, "Sec-WebSocket-Key: ", 19);

    if (key == NULL) {
        return BENCH_ERROR;
    }

    floor_path(fl, c, *pos);

    key += 19;
    *pos = end + 4;
    end = memchr(key, '\r', last - key);

    p = (u_char *) mempcpy(reply, FLOOR_UPGRADE, sizeof(FLOOR_UPGRADE) - 1);
    bench_ws_accept(p, key, end - key);
    p = (u_char *) mempcpy(p + BENCH_WS_ACCEPT_LEN, "\r\n\r\n", 4);

    c->open = 1;

    iov.iov_base = reply;
    iov.iov_len = p - reply;
    floor_write(fl, c, &iov, 1);

    return BENCH_OK;
}


/* BENCH_ERROR: the connection is to be closed */

static int
floor_frames(floor_t *fl, floor_conn_t *c, u_char **pos, u_char *last)
{
    int               rc;
    bench_ws_frame_t  f;

    for ( ;; ) {
        rc = bench_ws_parse(pos, last, &f);

        if (rc != BENCH_OK) {
            return rc;
        }

        if (f.rsv1) {
            return BENCH_ERROR;
        }

        bench_ws_unmask(&f);

        switch (f.opcode) {

        case BENCH_WS_TEXT:
            if (c->target) {
                floor_publish(fl, c->target, "", f.data, f.len, "");
                floor_answer(fl, c, BENCH_WS_TEXT, (u_char *) "ok", 2);

            } else {
                floor_text(fl, c, f.data, f.len);
            }

            break;

        /* the client ends the connection when it has the answer */

        case BENCH_WS_CLOSE:
            floor_unsubscribe(c);
            floor_answer(fl, c, BENCH_WS_CLOSE, f.data, f.len);
            break;

        case BENCH_WS_PING:
            floor_answer(fl, c, BENCH_WS_PONG, f.data, f.len);
            break;

        case BENCH_WS_PONG:
            break;

        default:
            return BENCH_ERROR;
        }
    }
}


static void
floor_readable(floor_t *fl, floor_conn_t *c)
{
    int      rc;
    size_t   len;
    u_char  *pos, *last;
    ssize_t  n;

    len = c->in_len;

    if (len) {
        memcpy(fl->buffer, c->in, len);
    }

    n = recv(c->fd, fl->buffer + len, FLOOR_BUFFER - len, 0);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        floor_close(fl, c);
        return;
    }

    pos = fl->buffer;
    last = pos + len + n;

    rc = c->open ? BENCH_OK : floor_handshake(fl, c, &pos, last);

    if (rc == BENCH_OK) {
        rc = floor_frames(fl, c, &pos, last);
    }

    if (rc == BENCH_ERROR || last - pos == FLOOR_BUFFER) {
        floor_close(fl, c);
        return;
    }

    c->in_len = last - pos;

    if (c->in_len) {
        c->in = floor_alloc(c->in, c->in_len);
        memcpy(c->in, pos, c->in_len);
        return;
    }

    free(c->in);
    c->in = NULL;
}


static void
floor_close(floor_t *fl, floor_conn_t *c)
{
    floor_conn_t  **cp;

    floor_unsubscribe(c);

    for (cp = &fl->replied; *cp; cp = &(*cp)->next_replied) {
        if (*cp == c) {
            *cp = c->next_replied;
            break;
        }
    }

    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}


static void
floor_accept(floor_t *fl)
{
    int            fd, on;
    floor_conn_t  *c;

    for ( ;; ) {
        fd = accept4(fl->listen, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (fd == -1) {

            if (errno == EMFILE) {
                perror("floor: accept4()");
                exit(1);
            }

            return;
        }

        on = 1;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

        c = floor_alloc(NULL, sizeof(*c));
        memset(c, 0, sizeof(*c));

        c->fd = fd;
        floor_watch(fl, c, EPOLL_CTL_ADD, EPOLLIN);
    }
}


static void
floor_round_end(floor_t *fl)
{
    floor_conn_t     *c;
    floor_channel_t  *ch;

    while ((ch = fl->dirty) != NULL) {
        fl->dirty = ch->next_dirty;
        ch->dirty = 0;
        floor_flush(fl, ch);
    }

    while ((c = fl->replied) != NULL) {
        fl->replied = c->next_replied;
        c->replied = 0;
        floor_writable(fl, c);
    }
}


static void
floor_run(floor_t *fl)
{
    int                  i, n;
    floor_conn_t        *c;
    struct epoll_event   events[FLOOR_EVENTS];

    for ( ;; ) {
        n = epoll_wait(fl->epoll, events, FLOOR_EVENTS, -1);

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c == NULL) {
                floor_accept(fl);
                continue;
            }

            if (events[i].events & EPOLLOUT) {
                floor_writable(fl, c);
            }

            if (events[i].events & (EPOLLIN|EPOLLERR|EPOLLHUP)) {
                floor_readable(fl, c);
            }
        }

        floor_round_end(fl);
    }
}


static int
floor_listen(floor_t *fl, int port)
{
    int                  on;
    struct sockaddr_in   sin;
    struct epoll_event   ee;

    fl->listen = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    fl->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (fl->listen == -1 || fl->epoll == -1) {
        return BENCH_ERROR;
    }

    on = 1;
    (void) setsockopt(fl->listen, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    ee.events = EPOLLIN;
    ee.data.ptr = NULL;

    if (bind(fl->listen, (struct sockaddr *) &sin, sizeof(sin)) == -1
        || listen(fl->listen, 4096) == -1
        || epoll_ctl(fl->epoll, EPOLL_CTL_ADD, fl->listen, &ee) == -1)
    {
        return BENCH_ERROR;
    }

    return BENCH_OK;
}


static int
floor_options(floor_t *fl, int argc, char **argv, int *port)
{
    int  i;

    *port = 0;

    for (i = 1; i < argc; i++) {

        if (strncmp(argv[i], "port=", 5) == 0) {
            *port = atoi(argv[i] + 5);

        } else if (strcmp(argv[i], "mode=writev") == 0) {
            fl->batch = 1;

        } else if (strcmp(argv[i], "ack=1") == 0) {
            fl->ack = 1;

        } else if (strcmp(argv[i], "mode=send") != 0
                   && strcmp(argv[i], "ack=0") != 0)
        {
            return BENCH_ERROR;
        }
    }

    return *port > 0 && *port < 65536 ? BENCH_OK : BENCH_ERROR;
}


int
main(int argc, char **argv)
{
    int             port;
    floor_t        *fl;
    struct rlimit   rl;

    fl = floor_alloc(NULL, sizeof(*fl));
    memset(fl, 0, sizeof(*fl));

    if (floor_options(fl, argc, argv, &port) != BENCH_OK) {
        (void) fprintf(stderr, "usage: floor port=PORT [mode=send|writev]"
                       " [ack=0|1]\n");
        return 2;
    }

    (void) signal(SIGPIPE, SIG_IGN);

    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rl);
    }

    if (floor_listen(fl, port) != BENCH_OK) {
        perror("floor: cannot listen");
        return 1;
    }

    floor_run(fl);

    return 0;
}
