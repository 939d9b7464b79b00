
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * One run of the load generator: its options, its connections, what it has
 * counted.  Everything of a run hangs on bench_load_t.
 *
 *     load.c        options and the event loop
 *     report.c      what the reports of all scenarios have in common
 *     conn.c        a connection: source address, handshake, output
 *     inflate.c     compressed frames
 *     subscriber.c  a connection that receives, and tells what it missed
 *     churn.c       subscribers that leave and come back
 *     publisher.c   a connection that publishes, over WebSocket or POST
 *     payload.c     what is published
 *     process.c     several processes that share the subscribers
 *     bystander.c   a process that asks for a page meanwhile
 *     scenario_*.c  what a run does, from its start to its report
 */


#ifndef _BENCH_LOAD_H_INCLUDED_
#define _BENCH_LOAD_H_INCLUDED_


#include "dialect.h"
#include "hist.h"
#include "proc.h"
#include "stamp.h"
#include "ws.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>


#define BENCH_READ            65536
#define BENCH_EVENTS          1024
#define BENCH_SECOND          1000000000ULL
#define BENCH_CHANNEL_LEN     16
#define BENCH_RING            65536

/* the server's workers are numbered below it */
#define BENCH_WORKERS         256

/*
 * Connections from one loopback address.  Of its 28,000 ports the kernel looks
 * at one half before it tries the other: from 14,000 on each connect() would
 * walk through all of the first.
 */
#define BENCH_PER_ADDRESS     10000


typedef struct bench_load_s        bench_load_t;
typedef struct bench_conn_s        bench_conn_t;
typedef struct bench_subscriber_s  bench_subscriber_t;
typedef struct bench_publisher_s   bench_publisher_t;
typedef struct bench_inflate_s     bench_inflate_t;


typedef enum {
    BENCH_CONN_CLOSED = 0,
    BENCH_CONN_CONNECTING,
    BENCH_CONN_HANDSHAKE,
    BENCH_CONN_OPEN
} bench_conn_state_e;


/* what a connection's owner does; conn is the first member of the owner */

typedef struct {

    /* the handshake is done; BENCH_ERROR closes the connection */
    int         (*opened)(bench_load_t *load, bench_conn_t *c);

    /*
     * Takes what is whole of [pos, last), returns the end of what it took,
     * or NULL: the connection is to be closed.
     */
    u_char     *(*read)(bench_load_t *load, bench_conn_t *c, u_char *pos,
                        u_char *last);

    /* the peer or an error has closed it */
    void        (*closed)(bench_load_t *load, bench_conn_t *c);
} bench_conn_ops_t;


struct bench_conn_s {
    int                        fd;
    bench_conn_state_e         state;
    const bench_conn_ops_t    *ops;
    const char                *path;        /* %s stands for the channel */
    unsigned                   upgrade:1;
    unsigned                   raw:1;       /* without any handshake */
    unsigned                   blocked:1;   /* waits for EPOLLOUT */
    unsigned                   deflate:1;   /* the server may compress */
    unsigned                   worker:16;   /* of the server; with mark= */

    u_char                    *in;          /* the start of a frame */
    uint32_t                   in_len;
    uint32_t                   in_size;

    u_char                    *out;
    uint32_t                   out_len;
    uint32_t                   out_size;
    uint32_t                   index;       /* selects the source address */
    uint32_t                   channel;
};


typedef struct {
    uint64_t                   first;       /* numbers [first, last) */
    uint64_t                   last;        /* have not come */
} bench_hole_t;


/* what has come to a subscriber of one publisher */

typedef struct {
    uint64_t                   next;        /* expected */
    uint64_t                   must;        /* before it, nothing has to */
    uint64_t                   end;         /* nor from here on; leaving */
    bench_hole_t              *holes;
    uint32_t                   nholes;
} bench_tally_t;


struct bench_subscriber_s {
    bench_conn_t               conn;
    unsigned                   ready:1;     /* subscribed */
    unsigned                   mover:1;     /* it may leave and come back */
    unsigned                   changing:1;  /* and is about to */
    unsigned                   leaving:1;   /* has asked to unsubscribe */
    unsigned                   closing:1;   /* has sent a close frame */
    uint64_t                   opened;      /* when the connect began */
    uint64_t                   order;       /* digest of what came, in order */
    bench_tally_t             *tallies;     /* by publisher */
};


/* of a publisher, what all processes see */

typedef struct {
    uint64_t                   sent;        /* set by the first process */
    uint64_t                   acked;       /* as well */
    uint64_t                   completed;
    uint32_t                  *missing;     /* deliveries; a ring */
    uint32_t                   worker;      /* of the server; with mark= */
} bench_board_t;


struct bench_publisher_s {
    bench_conn_t               conn;
    unsigned                   waiting:1;   /* a POST is not answered yet */
    uint32_t                   id;
    uint64_t                   oldest;      /* all before it are complete */
    uint64_t                   due;         /* fixed rate: the next one */
    uint64_t                  *times;       /* a ring, as board->missing */
    bench_board_t             *board;
};


/* what a process has counted */

typedef struct {
    uint64_t                   deliveries;
    uint64_t                   bytes;       /* received by subscribers */
    uint64_t                   compressed;  /* frames */
    uint64_t                   inflated;    /* bytes that they grew by */
    uint64_t                   pings;
    uint64_t                   changes;     /* of subscribers, completed */
    uint64_t                   changing;    /* under way */
    uint64_t                   duplicated;
    uint64_t                   reordered;
    uint64_t                   foreign;     /* text of nobody's making */
    uint64_t                   errors;      /* refusals, broken protocol */
    uint64_t                   closed;      /* by the server */
    uint64_t                   handshakes;
    uint64_t                   ready;       /* subscribed */
    uint64_t                   failed;      /* the process has given up */
    uint64_t                   lost;        /* these two at the end */
    uint64_t                   disorder;
    uint64_t                   self;        /* CPU time, nanoseconds */
    uint64_t                   user;        /* of it, outside the kernel */
} bench_count_t;


/* what the bystander writes; the others look whether it has failed */

typedef struct {
    bench_hist_t               latency;     /* of its requests */
    bench_hist_t               late;        /* after its pauses */
    uint32_t                   first;       /* it goes before the load */
    uint32_t                   failed;
} bench_bystander_t;


/* memory that the processes of a run share */

typedef struct {
    uint32_t                   measuring;
    uint32_t                   measured;    /* how often it has begun */
    uint32_t                   stop;
    uint32_t                   churning;
    uint32_t                  *workers;     /* subscribers by worker */
    uint64_t                  *orders;      /* a digest by channel, or 0 */
    bench_count_t             *counts;      /* by process */
    bench_hist_t              *latencies;   /* by process */
    bench_hist_t              *others;      /* on other workers; with mark= */
    bench_board_t             *boards;      /* by publisher */
    bench_bystander_t         *bystander;   /* or NULL */
} bench_shared_t;


struct bench_load_s {

    /* options */
    const char                *scenario;
    const char                *host;
    const char                *key;         /* of the backend */
    const char                *post_path;
    const char                *mark;        /* header with the worker */
    const char                *text;        /* plain or json */
    const bench_dialect_t     *dialect;
    uint32_t                   port;
    uint32_t                   n;           /* subscribers */
    uint32_t                   channels;
    uint32_t                   publishers;
    uint32_t                   post;        /* they use POST */
    uint32_t                   ack;         /* publications are answered */
    uint32_t                   deflate;     /* it is offered */
    uint32_t                   size;        /* of a payload */
    uint32_t                   window;
    uint32_t                   rate;        /* of all publishers, per second */
    uint32_t                   churn;       /* changes per second */
    uint32_t                   batch;       /* publications in a POST */
    uint32_t                   seconds;
    uint32_t                   warmup;
    uint32_t                   inflight;    /* handshakes at a time */
    uint32_t                   processes;
    uint32_t                   bystander;   /* there is one */
    uint32_t                   settle;      /* milliseconds */
    uint32_t                   limit;       /* seconds, for the whole run */
    uint32_t                   pid;         /* the server's master */
    uint32_t                   cpu;         /* to run on, ~0: any */

    /* the event loop */
    int                        epoll;
    uint64_t                   now;
    uint64_t                   deadline;
    u_char                    *buffer;
    u_char                    *body;        /* publications being built */
    u_char                    *payload;
    uint32_t                   head;        /* the stamp's place in it */
    u_char                     tail;        /* its last byte */
    unsigned                   json:1;      /* it is an object */
    bench_inflate_t           *inflate;
    struct sockaddr_in         server;

    /* this process's share: subscribers [first, first + share) */
    uint32_t                   process;
    uint32_t                   first;
    uint32_t                   share;
    uint32_t                   nopened;     /* connects begun */
    bench_subscriber_t        *subscribers;
    bench_count_t             *count;
    bench_shared_t            *shared;
    int                        bell;        /* to the first process */
    unsigned                   ring_bell:1;
    unsigned                   told:1;      /* why a connection failed */

    bench_publisher_t         *publisher;   /* in the first process */
    uint32_t                   ring;        /* a power of two */
    uint64_t                   ring_mask;
    uint64_t                   stop_after;  /* publications in all, 0: none */
    uint64_t                   interval;    /* of one publisher's, fixed rate */
    size_t                     offset;      /* where the last stamp was */
    unsigned                   publishing:1;

    uint32_t                   mover;       /* the next one to change */
    uint32_t                   change;      /* how */
    uint64_t                   change_due;
    uint64_t                   change_interval;

    uint64_t                   publications;
    uint64_t                   requests;    /* POST, answered */
    uint64_t                   acks;

    bench_hist_t              *latency;     /* what is recorded now */
    bench_hist_t              *latency_other;
    bench_hist_t              *latency_ack;
    bench_hist_t               discarded;
    bench_hist_t               measured_ack;
};


/* what has been counted at some time, for differences */

typedef struct {
    uint64_t                   time;
    bench_count_t              count;       /* of all processes */
    uint64_t                   completed;
    uint64_t                   requests;
    uint64_t                   acks;
    uint64_t                   server;      /* CPU time, nanoseconds */
    unsigned                   known:1;     /* server is */
} bench_sample_t;


/* load.c */

uint64_t bench_load_now(void);

/* exits with a message: the machine cannot do what the run needs */
void *bench_load_alloc(size_t size);

/*
 * Waits for events until the time at most, handles them, and lets the
 * publishers go on.  BENCH_ERROR: the time of the whole run is over.
 */
int bench_load_turn(bench_load_t *load, uint64_t until);

/* connects and subscribes this process's share; BENCH_ERROR: it failed */
int bench_load_subscribe(bench_load_t *load);

/* the name of a channel, into BENCH_CHANNEL_LEN bytes */
void bench_load_channel(bench_load_t *load, uint32_t channel, char *name);


/* report.c */

void bench_report_sample(bench_load_t *load, bench_proc_t *proc,
    bench_sample_t *s);

/* the members that all reports have in common, with a brace before */
void bench_report_begin(bench_load_t *load);

/* the members that tell the rates between two samples */
void bench_report_rates(bench_load_t *load, bench_sample_t *from,
    bench_sample_t *to);

/* the members of mark=: the workers, and latencies with and without a hop */
void bench_report_workers(bench_load_t *load);

/* the members of bystander= */
void bench_report_bystander(bench_load_t *load);

/* the members that tell who was busy between them */
void bench_report_busy(bench_sample_t *from, bench_sample_t *to);

/* a member with quantiles in microseconds */
void bench_report_latency(const char *name, const bench_hist_t *h);

/* the members that tell what went wrong, and a brace; the exit status */
int bench_report_faults(bench_load_t *load, const char *failure);


/* conn.c */

int bench_conn_open(bench_load_t *load, bench_conn_t *c);
void bench_conn_close(bench_load_t *load, bench_conn_t *c);
void bench_conn_event(bench_load_t *load, bench_conn_t *c, uint32_t events);

/* the reason why a connection has ended, on stderr, once in a process */
void bench_conn_tell(bench_load_t *load, bench_conn_t *c, const char *what,
    int err);

/* the worker that the header [pos, end) tells, or BENCH_WORKERS */
uint32_t bench_conn_worker(bench_load_t *load, u_char *pos, u_char *end);

/* appends to the output; bench_conn_flush() sends it */
void bench_conn_put(bench_conn_t *c, const u_char *data, size_t len);
void bench_conn_put_close(bench_conn_t *c, unsigned code);
void bench_conn_put_text(bench_conn_t *c, const u_char *data, size_t len);
void bench_conn_flush(bench_load_t *load, bench_conn_t *c);

/* an idle connection has no buffers */
void bench_conn_trim(bench_conn_t *c);

/* a frame that is no text; BENCH_ERROR: the connection is to be closed */
int bench_conn_control(bench_load_t *load, bench_conn_t *c,
    bench_ws_frame_t *f);


/* inflate.c */

void bench_inflate_create(bench_load_t *load);

/*
 * Puts the text of a compressed frame in the place of its data; it stays until
 * the next call.  BENCH_ERROR: it is not what permessage-deflate makes.
 */
int bench_inflate_frame(bench_load_t *load, bench_ws_frame_t *f);


/* a frame, inflated if that was agreed on; as bench_ws_parse() */

static inline int
bench_inflate_parse(bench_load_t *load, bench_conn_t *c, u_char **pos,
    u_char *last, bench_ws_frame_t *f)
{
    int  rc;

    rc = bench_ws_parse(pos, last, f);

    if (rc == BENCH_OK && f->rsv1) {

        if (!c->deflate || f->opcode != BENCH_WS_TEXT || !f->fin) {
            return BENCH_ERROR;
        }

        return bench_inflate_frame(load, f);
    }

    return rc;
}


/* payload.c */

/* load->payload of load->size bytes, in which only the stamp will change */
int bench_payload_create(bench_load_t *load);


/* process.c */

/* what all publishers and processes share, for load->processes of them */
void bench_process_share(bench_load_t *load);

/*
 * Starts the others, each of which connects its share and receives until the
 * end.  Returns in the first process only.
 */
void bench_process_start(bench_load_t *load);

/* connects the first process's share, and waits for the others */
int bench_process_ready(bench_load_t *load);

/* the sum over all processes */
void bench_process_total(bench_load_t *load, bench_count_t *total);

/* adds the hists of all processes to total */
void bench_process_latency(bench_load_t *load, bench_hist_t *hists,
    bench_hist_t *total);

/* latencies are recorded from now on, or not any more */
void bench_process_record(bench_load_t *load, uint32_t measuring);

/* ends the others, and has all of them count what was lost */
void bench_process_finish(bench_load_t *load);


/* bystander.c */

/* asks for a page after the other until the run is to stop */
void bench_bystander_run(bench_load_t *load);

/* once; BENCH_ERROR: what came is not the empty page, or nothing did */
int bench_bystander_ask(bench_load_t *load, int fd);


/* subscriber.c */

/* this process's share */
int bench_subscriber_create(bench_load_t *load);

/* whether a subscriber may leave and come back: half of each channel's */
int bench_subscriber_mover(bench_load_t *load, uint32_t index);

/*
 * It is about to leave: from now on nothing has to come.  With answered set,
 * all that is answered already has to come still, otherwise only what
 * precedes something that has come.
 */
void bench_subscriber_leave(bench_load_t *load, bench_subscriber_t *sub,
    int answered);

/* it has left: counts what it has missed */
void bench_subscriber_left(bench_load_t *load, bench_subscriber_t *sub);

/* sends what subscribes, if it is a text that does */
void bench_subscriber_ask(bench_load_t *load, bench_subscriber_t *sub);

/* how many of the publications that were sent never came */
uint64_t bench_subscriber_lost(bench_load_t *load);

/* subscribers that have seen another order than others of their channel */
uint64_t bench_subscriber_disorder(bench_load_t *load);


/* churn.c */

/* begins the changes that are due; returns when to call again */
uint64_t bench_churn_turn(bench_load_t *load);

/* a mover has heard that it is not subscribed any more */
void bench_churn_unsubscribed(bench_load_t *load, bench_subscriber_t *sub);

/* its connection has ended as it was asked to */
void bench_churn_closed(bench_load_t *load, bench_subscriber_t *sub);

/* it is subscribed again */
void bench_churn_done(bench_load_t *load, bench_subscriber_t *sub);


/* publisher.c */

int bench_publisher_create(bench_load_t *load);

/* BENCH_AGAIN: some are not connected yet */
int bench_publisher_ready(bench_load_t *load);

/* sends what the window or the rate allows; returns when to call again */
uint64_t bench_publisher_turn(bench_load_t *load);

/* publications that are not complete, or not answered */
uint64_t bench_publisher_outstanding(bench_load_t *load);


/* a delivery has come to one subscriber for the first time */

static inline void
bench_publisher_delivered(bench_load_t *load, bench_board_t *board,
    uint64_t publication)
{
    uint32_t  *missing;

    missing = &board->missing[publication & load->ring_mask];

    if (__atomic_sub_fetch(missing, 1, __ATOMIC_ACQ_REL) == 0) {
        (void) __atomic_add_fetch(&board->completed, 1, __ATOMIC_ACQ_REL);
        load->ring_bell = 1;
    }
}


/* scenario_*.c: each runs to its end, prints its report, returns a status */

int bench_scenario_fanout(bench_load_t *load);
int bench_scenario_idle(bench_load_t *load);
int bench_scenario_connect(bench_load_t *load);


#endif /* _BENCH_LOAD_H_INCLUDED_ */
