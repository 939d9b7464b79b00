
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The dialects: "snorky", the JSON protocol of the module, which the floor
 * server speaks too; "nchan", where a path names the channel and a message
 * is its payload; "http", a plain request with nothing behind it, to know
 * what a connection costs nginx itself.
 */


#include "dialect.h"
#include "ws.h"

#include <stdio.h>
#include <stdlib.h>


static u_char *
bench_dialect_snorky_subscribe(u_char *p, const char *channel)
{
    return p + sprintf((char *) p, "{\"service\":\"messaging\",\"message\":"
                       "{\"command\":\"subscribe\",\"params\":"
                       "{\"channel\":\"%s\"},\"callId\":0}}", channel);
}


static u_char *
bench_dialect_snorky_publish(u_char *p, const char *channel, int post,
    uint64_t call, const u_char *payload, size_t len)
{
    p += sprintf((char *) p, "{\"service\":\"messaging%s\",\"message\":"
                 "{\"command\":\"publish\",\"params\":"
                 "{\"channel\":\"%s\",\"message\":\"",
                 post ? "_backend" : "", channel);

    p = (u_char *) mempcpy(p, payload, len);

    return p + sprintf((char *) p, "\"},\"callId\":%llu}}",
                       (unsigned long long) call);
}


/* the text is not terminated, but a brace follows the number */

static int
bench_dialect_snorky_reply(const u_char *data, size_t len, uint64_t *call)
{
    const u_char  *p;

    p = memmem(data, len, "\"callId\":", 9);

    if (p && data + len - p > 10) {
        *call = strtoull((const char *) p + 9, NULL, 10);
    }

    if (memmem(data, len, "\"type\":\"response\"", 17) == NULL) {
        return BENCH_ERROR;
    }

    return BENCH_OK;
}


static uint32_t
bench_dialect_snorky_confirmed(const u_char *data, size_t len)
{
    uint32_t       n;
    const u_char  *p, *last;

    n = 0;
    last = data + len;

    for (p = data; p < last; p += 17) {
        p = memmem(p, last - p, "\"type\":\"response\"", 17);

        if (p == NULL) {
            break;
        }

        n++;
    }

    return n;
}


static u_char *
bench_dialect_nchan_publish(u_char *p, const char *channel, int post,
    uint64_t call, const u_char *payload, size_t len)
{
    return (u_char *) mempcpy(p, payload, len);
}


/* a summary of the channel; POST has its status for errors */

static int
bench_dialect_nchan_reply(const u_char *data, size_t len, uint64_t *call)
{
    return memmem(data, len, "queued messages", 15) ? BENCH_OK : BENCH_ERROR;
}


/* the status has said it all */

static uint32_t
bench_dialect_nchan_confirmed(const u_char *data, size_t len)
{
    return 1;
}


static const bench_dialect_t  bench_dialects[] = {

    { "snorky",
      "/ws", "/ws", "/backend", 1, 1,
      bench_dialect_snorky_subscribe,
      bench_dialect_snorky_publish,
      bench_dialect_snorky_reply,
      bench_dialect_snorky_confirmed },

    { "nchan",
      "/sub?id=%s", "/pub?id=%s", "/pub?id=%s", 1, 0,
      NULL,
      bench_dialect_nchan_publish,
      bench_dialect_nchan_reply,
      bench_dialect_nchan_confirmed },

    { "http",
      "/empty", NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },

    { NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL }
};


const bench_dialect_t *
bench_dialect_find(const char *name)
{
    const bench_dialect_t  *d;

    for (d = bench_dialects; d->name; d++) {
        if (strcmp(d->name, name) == 0) {
            return d;
        }
    }

    return NULL;
}
