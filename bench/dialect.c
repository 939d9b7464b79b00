
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The dialects: "snorky", the JSON protocol of the module; "nchan" and "raw",
 * where a path names the channel and a message is its payload; "http", plain
 * requests with nothing behind them, to know what a connection costs nginx
 * itself, or the body that publishes.  The floor speaks "snorky" and "raw".
 */


#include "dialect.h"
#include "ws.h"

#include <stdio.h>
#include <stdlib.h>


static u_char *
bench_dialect_snorky_subscribe(u_char *p, const char *channel, int leave)
{
    return p + sprintf((char *) p, "{\"service\":\"messaging\",\"message\":"
                       "{\"command\":\"%s\",\"params\":"
                       "{\"channel\":\"%s\"},\"callId\":%d}}",
                       leave ? "unsubscribe" : "subscribe", channel,
                       leave ? BENCH_DIALECT_LEAVE : BENCH_DIALECT_JOIN);
}


static u_char *
bench_dialect_snorky_publish(u_char *p, const char *channel, unsigned flags,
    uint64_t call, const u_char *payload, size_t len)
{
    const char  *quote;

    quote = flags & BENCH_DIALECT_JSON ? "" : "\"";

    p += sprintf((char *) p, "{\"service\":\"messaging%s\",\"message\":"
                 "{\"command\":\"publish\",\"params\":"
                 "{\"channel\":\"%s\",\"message\":%s",
                 flags & BENCH_DIALECT_POST ? "_backend" : "", channel, quote);

    p = (u_char *) mempcpy(p, payload, len);

    return p + sprintf((char *) p, "%s},\"callId\":%llu}}", quote,
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
bench_dialect_plain_publish(u_char *p, const char *channel, unsigned flags,
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


static int
bench_dialect_raw_reply(const u_char *data, size_t len, uint64_t *call)
{
    return len == 2 && memcmp(data, "ok", 2) == 0 ? BENCH_OK : BENCH_ERROR;
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
      bench_dialect_plain_publish,
      bench_dialect_nchan_reply,
      NULL },

    { "raw",
      "/raw/%s", "/raw/%s?publish", NULL, 1, 0,
      NULL,
      bench_dialect_plain_publish,
      bench_dialect_raw_reply,
      NULL },

    { "http",
      "/empty", NULL, "/empty", 0, 1,
      NULL,
      bench_dialect_snorky_publish,
      NULL,
      NULL },

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
