
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Checks that the load generator counts right, without a server: feeds the
 * subscribers frames that were lost, doubled and shuffled on purpose, has them
 * leave and come back meanwhile, and compares what they tell with a plain
 * count.  Prints TAP.
 */


#include "load.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>


#define CHECK_FRAMES   2000
#define CHECK_SIZE     64
#define CHECK_JSON     3000


typedef struct {
    int             number;
    int             failed;
} check_t;

typedef struct {
    uint64_t        lost;
    uint64_t        duplicated;
    uint64_t        reordered;
    uint64_t        delivered;
} check_tally_t;

/* one who comes and goes, told plainly */

typedef struct {
    bench_load_t   *load;
    uint64_t        seed;
    uint32_t        cursor;         /* what would come next */
    uint32_t        next;           /* behind the highest that came */
    uint32_t        must;
    uint32_t        end;
    u_char          now[CHECK_FRAMES];  /* came in this subscription */
    u_char          ever[CHECK_FRAMES];
    uint64_t        lost;
    uint64_t        duplicated;
} check_mover_t;


/* in place of load.c, which has a main() of its own */

uint64_t
bench_load_now(void)
{
    return 1000;
}


void *
bench_load_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size ? size : 1);

    if (p == NULL) {
        exit(1);
    }

    return p;
}


int
bench_load_turn(bench_load_t *load, uint64_t until)
{
    return BENCH_ERROR;
}


int
bench_load_subscribe(bench_load_t *load)
{
    return BENCH_ERROR;
}


void
bench_load_channel(bench_load_t *load, uint32_t channel, char *name)
{
    memcpy(name, "c", 2);
}


static void
check(check_t *ck, int passed, const char *sentence)
{
    (void) printf("%sok %d - %s\n", passed ? "" : "not ", ++ck->number,
                  sentence);
    ck->failed += !passed;
}


static void
check_ws(check_t *ck)
{
    size_t             n, len, cut;
    u_char            *p, *pos, *last, accept[BENCH_WS_ACCEPT_LEN];
    u_char            *data, *text;
    unsigned           same, whole;
    bench_ws_frame_t   f;
    static const size_t  lens[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };

    data = bench_load_alloc(70000);
    text = bench_load_alloc(70000 + BENCH_WS_HEADER);

    for (n = 0; n < 70000; n++) {
        data[n] = (u_char) (n * 7);
    }

    same = 1;
    whole = 1;

    for (n = 0; n < sizeof(lens) / sizeof(lens[0]); n++) {
        len = lens[n];
        last = bench_ws_masked(text, BENCH_WS_TEXT, data, len);

        for (cut = 0; cut < (size_t) (last - text); cut += 1 + cut / 3) {
            pos = text;
            whole &= bench_ws_parse(&pos, text + cut, &f) == BENCH_AGAIN
                     && pos == text;
        }

        pos = text;
        same &= bench_ws_parse(&pos, last, &f) == BENCH_OK && pos == last
                && f.len == len && f.opcode == BENCH_WS_TEXT && f.fin;

        bench_ws_unmask(&f);
        same &= memcmp(f.data, data, len) == 0;

        p = bench_ws_header(text, BENCH_WS_BINARY, len);
        pos = text;
        same &= bench_ws_parse(&pos, p + len, &f) == BENCH_OK
                && f.len == len && f.data == p && f.mask == NULL;
    }

    check(ck, same, "frames of all length forms are built and parsed");
    check(ck, whole, "a frame that is not whole is left alone");

    bench_ws_accept(accept, (u_char *) BENCH_WS_KEY, sizeof(BENCH_WS_KEY) - 1);
    check(ck, memcmp(accept, BENCH_WS_ACCEPT, sizeof(accept)) == 0,
          "the accept value is that of RFC 6455, section 1.3");
}


static void
check_stamp(check_t *ck)
{
    u_char         text[BENCH_STAMP_LEN];
    bench_stamp_t  a, b;

    a.key = 0x0123456789abcdefULL;
    a.time = 0xfedcba9876543210ULL;

    bench_stamp_write(text, &a);
    bench_stamp_read(text, &b);

    check(ck, a.key == b.key && a.time == b.time,
          "a stamp is read as it was written");
}


static void
check_hist(check_t *ck)
{
    int            near;
    uint64_t       i, value;
    bench_hist_t  *h;

    h = bench_load_alloc(sizeof(*h));
    near = 1;

    for (i = 1; i <= 1000000; i++) {
        bench_hist_add(h, i);
    }

    for (i = 1; i < 1000; i++) {
        value = bench_hist_quantile(h, i / 1000.0);
        near &= value >= i * 1000 && value <= i * 1000 + i * 1000 / 64 + 1;
    }

    check(ck, near, "a quantile is at most 1/64 above the truth");
    check(ck, bench_hist_quantile(h, 1) == 1000000
              && bench_hist_count(h) == 1000000,
          "the last quantile is the maximum");

    free(h);
}


static uint32_t
check_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;

    return (uint32_t) (*seed >> 33);
}


/* CHECK_FRAMES numbers, of which some are lost, doubled or exchanged */

static uint32_t
check_sequence(uint64_t *seed, uint32_t *seq)
{
    uint32_t  i, j, n, x;

    n = 0;

    for (i = 0; i < CHECK_FRAMES; i++) {
        x = check_random(seed) % 50;

        if (x == 0) {
            continue;
        }

        seq[n++] = i;

        if (x == 1) {
            seq[n++] = i;
        }
    }

    for (i = 0; i + 20 < n; i++) {
        if (check_random(seed) % 40 == 0) {
            j = i + check_random(seed) % 20;
            x = seq[i];
            seq[i] = seq[j];
            seq[j] = x;
        }
    }

    return n;
}


/* the plain way: what has been seen, and the highest number of it */

static void
check_count(const uint32_t *seq, uint32_t n, check_tally_t *t)
{
    int64_t   highest;
    uint32_t  i;
    u_char    seen[CHECK_FRAMES];

    memset(seen, 0, sizeof(seen));
    memset(t, 0, sizeof(*t));
    highest = -1;

    for (i = 0; i < n; i++) {

        if (seen[seq[i]]++) {
            t->duplicated++;
            continue;
        }

        t->delivered++;

        if (seq[i] < highest) {
            t->reordered++;
        } else {
            highest = seq[i];
        }
    }

    t->lost = CHECK_FRAMES - t->delivered;
}


static u_char *
check_frames(u_char *p, const uint32_t *seq, uint32_t n)
{
    u_char          payload[CHECK_SIZE];
    uint32_t        i;
    bench_stamp_t   s;

    memset(payload, '.', sizeof(payload));
    payload[CHECK_SIZE - 1] = 'z';

    for (i = 0; i < n; i++) {
        s.key = seq[i];
        s.time = 900;
        bench_stamp_write(payload, &s);

        p = bench_ws_header(p, BENCH_WS_TEXT, CHECK_SIZE);
        p = (u_char *) mempcpy(p, payload, CHECK_SIZE);
    }

    return p;
}


/* one subscriber of one publisher that has sent CHECK_FRAMES */

static bench_load_t *
check_load(void)
{
    uint32_t        i;
    bench_load_t   *load;
    bench_board_t  *board;

    load = bench_load_alloc(sizeof(*load));

    load->dialect = bench_dialect_find("nchan");
    load->text = "plain";
    load->n = 1;
    load->channels = 1;
    load->publishers = 1;
    load->size = CHECK_SIZE;
    load->now = 1000;
    load->ring = 4096;
    load->ring_mask = 4095;
    load->latency = &load->discarded;
    load->processes = 1;
    load->share = 1;

    (void) bench_payload_create(load);
    bench_process_share(load);

    board = load->shared->boards;
    board->sent = CHECK_FRAMES;

    for (i = 0; i < CHECK_FRAMES; i++) {
        board->missing[i] = 1;
    }

    (void) bench_subscriber_create(load);

    return load;
}


static void
check_tally(check_t *ck)
{
    int             exact, complete;
    u_char         *text, *pos, *last, *end;
    uint32_t        round, n, seq[2 * CHECK_FRAMES];
    uint64_t        seed;
    bench_conn_t   *c;
    bench_load_t   *load;
    check_tally_t   t;

    seed = 1;
    exact = 1;
    complete = 1;
    text = bench_load_alloc((size_t) 2 * CHECK_FRAMES
                            * (CHECK_SIZE + BENCH_WS_HEADER));

    for (round = 0; round < 50; round++) {
        load = check_load();
        c = &load->subscribers->conn;

        n = check_sequence(&seed, seq);
        check_count(seq, n, &t);
        last = check_frames(text, seq, n);

        /* in pieces that end anywhere */

        pos = text;
        end = text;

        while (end < last) {
            end += 1 + check_random(&seed) % 1000;
            end = end < last ? end : last;
            pos = c->ops->read(load, c, pos, end);
        }

        exact &= pos == last
                 && bench_subscriber_lost(load) == t.lost
                 && load->count->duplicated == t.duplicated
                 && load->count->reordered == t.reordered
                 && load->count->deliveries == t.delivered
                 && load->count->foreign == 0 && load->count->errors == 0;

        complete &= load->shared->boards->completed == t.delivered
                    && t.lost && t.duplicated && t.reordered;

        free(load);
    }

    check(ck, exact, "lost, duplicated and reordered are counted exactly");
    check(ck, complete, "a publication is complete when all have it");
}


static void
check_foreign(check_t *ck)
{
    u_char         *last, text[3 * (CHECK_SIZE + BENCH_WS_HEADER)];
    uint32_t        seq[3] = { 0, CHECK_FRAMES, 1 };
    bench_conn_t   *c;
    bench_load_t   *load;

    load = check_load();
    c = &load->subscribers->conn;

    last = check_frames(text, seq, 3);
    last[-1] = 'y';

    (void) c->ops->read(load, c, text, last);

    check(ck, load->count->foreign == 2 && load->count->deliveries == 1,
          "what nobody has published, or is torn, is told from deliveries");
}


/* sends some, drops and doubles a few of those that come */

static void
check_mover_run(check_mover_t *m)
{
    u_char          *last, text[2 * (CHECK_SIZE + BENCH_WS_HEADER)];
    uint32_t         n, x, seq[2];
    bench_conn_t    *c;
    bench_board_t   *board;

    c = &m->load->subscribers->conn;
    board = m->load->shared->boards;

    for (n = check_random(&m->seed) % 20; n && board->sent < CHECK_FRAMES; n--)
    {
        board->sent++;
        board->acked += check_random(&m->seed) % (board->sent - board->acked
                                                  + 1);

        if (check_random(&m->seed) % 4 == 0) {
            continue;
        }

        x = check_random(&m->seed) % 20;
        m->cursor += (x == 0 && m->cursor < board->sent);

        if (m->cursor == board->sent) {
            continue;
        }

        seq[0] = m->cursor++;
        seq[1] = seq[0];

        m->duplicated += (x == 1) + m->ever[seq[0]];
        m->now[seq[0]] = 1;
        m->ever[seq[0]] = 1;
        m->next = seq[0] + 1;

        last = check_frames(text, seq, 1 + (x == 1));
        (void) c->ops->read(m->load, c, text, last);
    }
}


static void
check_mover_left(check_mover_t *m)
{
    uint32_t  i;

    for (i = m->must; i < m->end; i++) {
        m->lost += !m->now[i];
    }

    memset(m->now, 0, CHECK_FRAMES);
}


/* one change, in which things come at every stage */

static void
check_mover_change(check_mover_t *m, int answered)
{
    bench_board_t       *board;
    bench_subscriber_t  *sub;

    sub = m->load->subscribers;
    board = m->load->shared->boards;

    sub->changing = 1;
    bench_subscriber_leave(m->load, sub, answered);
    m->end = answered ? board->acked : m->next;

    if (answered) {
        check_mover_run(m);
    }

    bench_subscriber_left(m->load, sub);
    check_mover_left(m);

    /* what is published meanwhile may be passed over */

    check_mover_run(m);
    m->cursor = board->sent - check_random(&m->seed)
                              % (board->sent - m->cursor + 1);

    (void) sub->conn.ops->opened(m->load, &sub->conn);
    m->must = board->sent;
}


static void
check_churn(check_t *ck)
{
    int              exact, seen;
    uint64_t         seed, changes;
    bench_load_t    *load;
    bench_count_t   *count;
    check_mover_t   *m;

    exact = 1;
    seen = 1;

    for (seed = 1; seed <= 200; seed++) {
        load = check_load();
        load->churn = 1;
        load->subscribers->mover = 1;
        load->shared->boards->sent = 0;

        m = bench_load_alloc(sizeof(*m));
        m->load = load;
        m->seed = seed;

        for (changes = 0; load->shared->boards->sent < CHECK_FRAMES; changes++)
        {
            check_mover_run(m);
            check_mover_change(m, check_random(&m->seed) & 1);
        }

        check_mover_run(m);
        m->end = CHECK_FRAMES;
        check_mover_left(m);

        count = load->count;

        exact &= count->lost + bench_subscriber_lost(load) == m->lost
                 && count->duplicated == m->duplicated
                 && count->reordered == 0 && count->changes == changes
                 && load->shared->boards->completed == 0;

        seen &= m->lost > 0 && m->duplicated > 0 && changes > 20;

        free(m);
        free(load);
    }

    check(ck, exact, "who comes and goes misses what had to come, exactly");
    check(ck, seen, "and some of it has been missed");
}


/* a frame of text, compressed as a server does it */

static u_char *
check_deflate(u_char *p, u_char *text, size_t len)
{
    u_char    data[1024], *start;
    z_stream  z;

    memset(&z, 0, sizeof(z));
    (void) deflateInit2(&z, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);

    z.next_in = text;
    z.avail_in = len;
    z.next_out = data;
    z.avail_out = sizeof(data);
    (void) deflate(&z, Z_SYNC_FLUSH);
    (void) deflateEnd(&z);

    /* without the last four bytes: RFC 7692, section 7.2.1 */

    len = sizeof(data) - z.avail_out - 4;

    start = p;
    p = bench_ws_header(p, BENCH_WS_TEXT, len);
    start[0] |= 0x40;

    return (u_char *) mempcpy(p, data, len);
}


static void
check_inflate(check_t *ck)
{
    u_char          *p, *last, *frame;
    u_char           text[3][CHECK_SIZE + BENCH_WS_HEADER], out[1024];
    uint32_t         i, seq[3] = { 0, 1, 2 };
    bench_conn_t    *c;
    bench_load_t    *load;
    bench_count_t   *count;

    load = check_load();
    c = &load->subscribers->conn;
    count = load->count;

    /* the second is sent twice, the third as it is */

    last = out;

    for (i = 0; i < 3; i++) {
        p = check_frames(text[i], &seq[i], 1);
        last = i < 2 ? check_deflate(last, p - CHECK_SIZE, CHECK_SIZE)
                     : (u_char *) mempcpy(last, text[i], p - text[i]);
    }

    frame = last;
    last = check_deflate(last, text[1] + 2, CHECK_SIZE);

    check(ck, c->ops->read(load, c, out, last) == NULL && count->errors == 1
              && count->deliveries == 0,
          "a compressed frame is refused when none was agreed on");

    count->errors = 0;
    c->deflate = 1;
    bench_inflate_create(load);

    check(ck, c->ops->read(load, c, out, last) == last
              && count->deliveries == 3 && count->duplicated == 1
              && count->compressed == 3 && count->errors == 0
              && count->foreign == 0,
          "compressed frames are inflated, others are taken as they are");

    check(ck, count->bytes + count->inflated
              == (uint64_t) (last - out) + (last - out)
                 + 3 * CHECK_SIZE - (frame - out - CHECK_SIZE - 6)
                 - (last - frame - 2),
          "the bytes that compression has saved are counted");

    memset(frame + 2, 0xff, last - frame - 2);

    check(ck, c->ops->read(load, c, frame, last) == NULL && count->errors == 1,
          "what does not inflate is an error");
}


/* what a handshake's answer with the headers makes of a connection */

static int
check_answer(bench_load_t *load, bench_conn_t *c, const char *headers)
{
    int                  fds[2];
    char                 text[512];
    struct epoll_event   ee;

    (void) !socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK, 0, fds);

    ee.events = EPOLLIN;
    ee.data.ptr = c;
    (void) epoll_ctl(load->epoll, EPOLL_CTL_ADD, fds[0], &ee);

    c->fd = fds[0];
    c->state = BENCH_CONN_HANDSHAKE;
    load->count->errors = 0;

    (void) !write(fds[1], text, snprintf(text, sizeof(text),
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Accept: " BENCH_WS_ACCEPT "\r\n%s\r\n",
                  headers));

    bench_conn_event(load, c, EPOLLIN);

    close(fds[1]);

    if (c->state != BENCH_CONN_OPEN) {
        return load->count->errors == 1 ? BENCH_ERROR : BENCH_AGAIN;
    }

    bench_conn_close(load, c);

    return BENCH_OK;
}


static void
check_handshake(check_t *ck)
{
    bench_conn_t  *c;
    bench_load_t  *load;

    load = check_load();
    load->epoll = epoll_create1(0);
    load->buffer = bench_load_alloc(2 * BENCH_READ);
    load->told = 1;

    c = &load->subscribers->conn;
    load->mark = "X-Worker";

    check(ck, check_answer(load, c, "X-Worker: 3\r\n") == BENCH_OK
              && check_answer(load, c, "x-worker:12\r\n") == BENCH_OK
              && load->shared->workers[3] == 1
              && load->shared->workers[12] == 1,
          "the handshake tells the worker");

    check(ck, check_answer(load, c, "X-Workers: 3\r\n") == BENCH_ERROR
              && check_answer(load, c, "X-Worker: x\r\n") == BENCH_ERROR
              && check_answer(load, c, "X-Worker: 300\r\n") == BENCH_ERROR,
          "a handshake that does not is refused");

    load->mark = NULL;
    load->deflate = 1;

    check(ck, check_answer(load, c, "Sec-WebSocket-Extensions: "
                           "permessage-deflate; server_no_context_takeover"
                           "\r\n") == BENCH_OK && c->deflate,
          "compression is agreed on");

    check(ck, check_answer(load, c, "") == BENCH_OK && !c->deflate,
          "a server need not compress");

    check(ck, check_answer(load, c, "Sec-WebSocket-Extensions: "
                           "permessage-deflate\r\n") == BENCH_ERROR,
          "compression with a context was not offered");
}


static void
check_bystander(check_t *ck)
{
    int            fds[2];
    bench_load_t   load;

    memset(&load, 0, sizeof(load));
    load.host = "127.0.0.1";

    (void) !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds);
    (void) !write(fds[1], "HTTP/1.1 200 OK\r\n", 17);
    (void) !write(fds[1], "\r\n", 2);
    check(ck, bench_bystander_ask(&load, fds[0]) == BENCH_OK,
          "the bystander takes an empty page, in pieces as well");

    (void) !write(fds[1], "HTTP/1.1 404 No\r\n\r\n", 19);
    (void) !write(fds[1], "HTTP/1.1 200 OK\r\n\r\nx", 20);
    check(ck, bench_bystander_ask(&load, fds[0]) == BENCH_ERROR
              && bench_bystander_ask(&load, fds[0]) == BENCH_ERROR,
          "it takes no other answer");

    close(fds[0]);
    close(fds[1]);
}


static void
check_payload(check_t *ck)
{
    int            exact;
    u_char        *p;
    bench_load_t   load;

    memset(&load, 0, sizeof(load));
    load.text = "json";
    exact = 1;

    for (load.size = BENCH_STAMP_LEN + 23; load.size < CHECK_JSON; load.size++)
    {
        exact &= bench_payload_create(&load) == BENCH_OK;

        p = load.payload;
        exact &= p[0] == '{' && p[load.size - 1] == '}'
                 && memchr(p, '!', load.size) == p + load.head
                 && strspn((char *) p + load.head, "!") == BENCH_STAMP_LEN
                 && strlen((char *) p) == load.size;

        free(load.payload);
    }

    check(ck, exact, "an object has its stamp, and every size that is asked");
}


int
main(void)
{
    check_t  ck;

    memset(&ck, 0, sizeof(ck));

    check_ws(&ck);
    check_stamp(&ck);
    check_hist(&ck);
    check_tally(&ck);
    check_foreign(&ck);
    check_churn(&ck);
    check_inflate(&ck);
    check_handshake(&ck);
    check_bystander(&ck);
    check_payload(&ck);

    (void) printf("1..%d\n", ck.number);

    return ck.failed ? 1 : 0;
}
