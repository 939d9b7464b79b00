
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Inflates the text of compressed frames, RFC 7692, section 7.2.2, without
 * context takeover: equal bytes are equal texts then.  A thousand subscribers
 * get the same bytes, so a process inflates them once and only compares them
 * from then on; otherwise the load would cost more than the server.  Owns the
 * inflater and the texts that it keeps.
 */


#include "load.h"

#include <zlib.h>


#define BENCH_INFLATE_SLOTS   1024


typedef struct {
    u_char          *data;          /* compressed bytes, then their text */
    uint32_t         len;
    uint32_t         text_len;
} bench_inflate_slot_t;


struct bench_inflate_s {
    z_stream               stream;
    bench_inflate_slot_t   slots[BENCH_INFLATE_SLOTS];
    u_char                 text[BENCH_READ];
};


void
bench_inflate_create(bench_load_t *load)
{
    load->inflate = bench_load_alloc(sizeof(*load->inflate));

    /* no header of zlib's, and whatever window the server has chosen */

    if (inflateInit2(&load->inflate->stream, -15) != Z_OK) {
        (void) fprintf(stderr, "load: inflateInit2() failed\n");
        exit(1);
    }
}


/* the text's length, or BENCH_ERROR */

static ssize_t
bench_inflate_text(bench_inflate_t *in, u_char *data, size_t len)
{
    int              i, rc;
    z_stream        *z;
    static u_char    tail[4] = { 0x00, 0x00, 0xff, 0xff };

    z = &in->stream;

    if (inflateReset(z) != Z_OK) {
        return BENCH_ERROR;
    }

    z->next_out = in->text;
    z->avail_out = sizeof(in->text);

    for (i = 0; i < 2; i++) {
        z->next_in = i ? tail : data;
        z->avail_in = i ? sizeof(tail) : len;

        rc = inflate(z, Z_SYNC_FLUSH);

        if ((rc != Z_OK && rc != Z_BUF_ERROR)
            || z->avail_in || z->avail_out == 0)
        {
            return BENCH_ERROR;
        }
    }

    return sizeof(in->text) - z->avail_out;
}


/* four sums that do not wait for each other */

static uint64_t
bench_inflate_hash(const u_char *p, size_t len)
{
    int       i;
    uint64_t  x, h[4];

    for (i = 0; i < 4; i++) {
        h[i] = len + i;
    }

    for ( /* void */ ; len >= 32; len -= 32) {
        for (i = 0; i < 4; i++, p += 8) {
            memcpy(&x, p, 8);
            h[i] = (h[i] ^ x) * 0x9e3779b97f4a7c15ULL;
            h[i] ^= h[i] >> 32;
        }
    }

    for ( /* void */ ; len; len--) {
        h[0] = (h[0] ^ *p++) * 0x9e3779b97f4a7c15ULL;
    }

    x = (h[0] ^ h[1] << 1 ^ h[2] << 2 ^ h[3] << 3) * 0x9e3779b97f4a7c15ULL;

    return x >> 32;
}


int
bench_inflate_frame(bench_load_t *load, bench_ws_frame_t *f)
{
    ssize_t                n;
    bench_inflate_t       *in;
    bench_inflate_slot_t  *slot;

    in = load->inflate;
    slot = &in->slots[bench_inflate_hash(f->data, f->len)
                      % BENCH_INFLATE_SLOTS];

    if (slot->data == NULL || slot->len != f->len
        || memcmp(slot->data, f->data, f->len) != 0)
    {
        n = bench_inflate_text(in, f->data, f->len);

        if (n == BENCH_ERROR) {
            return BENCH_ERROR;
        }

        free(slot->data);

        slot->data = bench_load_alloc(f->len + n);
        slot->len = f->len;
        slot->text_len = n;

        memcpy(slot->data, f->data, f->len);
        memcpy(slot->data + f->len, in->text, n);
    }

    load->count->compressed++;
    load->count->inflated += (uint64_t) slot->text_len - slot->len;

    f->data = slot->data + slot->len;
    f->len = slot->text_len;

    return BENCH_OK;
}
