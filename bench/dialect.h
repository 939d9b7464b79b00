
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What a server wants to hear: paths, the text of a subscription and of a
 * publication, and how it answers.  Knows no socket.
 */


#ifndef _BENCH_DIALECT_H_INCLUDED_
#define _BENCH_DIALECT_H_INCLUDED_


#include <stdint.h>
#include <sys/types.h>


/* room for what a dialect writes around the payload */
#define BENCH_DIALECT_ROOM   512

/* how a publication is sent */
#define BENCH_DIALECT_POST   1
#define BENCH_DIALECT_JSON   2

/* the calls that subscribe and leave; to a mover both are answered */
#define BENCH_DIALECT_JOIN   0
#define BENCH_DIALECT_LEAVE  1


typedef struct {
    const char    *name;

    /* paths; one %s, where there is one, stands for the channel's name */
    const char    *subscribe_path;
    const char    *publish_path;
    const char    *post_path;

    unsigned       upgrade:1;       /* subscribers speak WebSocket */
    unsigned       batch:1;         /* a POST may carry several */

    /* the text that subscribes, or leaves, or NULL: then the path does it */
    u_char      *(*subscribe)(u_char *p, const char *channel, int leave);

    /* the text that publishes payload, which may be JSON or is a string's */
    u_char      *(*publish)(u_char *p, const char *channel, unsigned flags,
                            uint64_t call, const u_char *payload, size_t len);

    /*
     * One answer to a subscription or a publication; *call becomes its
     * number, or stays when answers have none.  BENCH_ERROR: a refusal.
     */
    int          (*reply)(const u_char *data, size_t len, uint64_t *call);

    /* how many a POST's answer confirms, or NULL: its status says it all */
    uint32_t     (*confirmed)(const u_char *data, size_t len);
} bench_dialect_t;


/* NULL: there is none of that name */
const bench_dialect_t *bench_dialect_find(const char *name);


#endif /* _BENCH_DIALECT_H_INCLUDED_ */
