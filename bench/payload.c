
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The payload of all publications of a run: as plain as it can be, or an
 * object like those that applications send, which compresses like them.  It
 * is made once, and only the stamp in it is written anew.
 */


#include "load.h"


/* the shortest object, with the stamp and one byte of text */
#define BENCH_PAYLOAD_JSON_MIN   (BENCH_STAMP_LEN + 23)

/* no longer than this, each */
#define BENCH_PAYLOAD_USER       96
#define BENCH_PAYLOAD_ITEM       112
#define BENCH_PAYLOAD_END        32


static const char  *bench_payload_words[] = {
    "order", "delivery", "customer", "meeting", "tomorrow", "please", "report",
    "thanks", "the", "and", "for", "with", "price", "update", "window",
    "release", "a", "of", "to", "review", "question", "weather", "garden",
    "station", "evening", "number", "change", "paper", "between", "without",
    "seven", "market"
};


static uint32_t
bench_payload_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;

    return (uint32_t) (*seed >> 33);
}


static const char *
bench_payload_word(uint64_t *seed)
{
    return bench_payload_words[bench_payload_random(seed) % 32];
}


static char *
bench_payload_item(char *p, uint64_t *seed)
{
    uint32_t  id, price, quantity;

    id = bench_payload_random(seed) % 1000000;
    price = bench_payload_random(seed) % 10000;
    quantity = 1 + bench_payload_random(seed) % 9;

    return p + sprintf(p, "{\"id\":%u,\"name\":\"%s %s\",\"price\":%u.%02u,"
                       "\"quantity\":%u,\"available\":%s}",
                       id, bench_payload_word(seed), bench_payload_word(seed),
                       price / 100, price % 100, quantity,
                       bench_payload_random(seed) & 1 ? "true" : "false");
}


static void
bench_payload_json(bench_load_t *load)
{
    char        *p, *last;
    uint64_t     seed;
    const char  *word;

    seed = 1;
    p = (char *) load->payload;
    last = p + load->size;

    p += sprintf(p, "{\"stamp\":\"");
    load->head = p - (char *) load->payload;

    memset(p, '!', BENCH_STAMP_LEN);
    p += BENCH_STAMP_LEN;
    p += sprintf(p, "\",");

    if (last - p > BENCH_PAYLOAD_USER + BENCH_PAYLOAD_END) {
        p += sprintf(p, "\"user\":{\"id\":%u,\"name\":\"%s\",\"online\":true},",
                     bench_payload_random(&seed) % 1000000,
                     bench_payload_word(&seed));
    }

    if (last - p > BENCH_PAYLOAD_ITEM + BENCH_PAYLOAD_END) {
        p += sprintf(p, "\"items\":[");

        do {
            p = bench_payload_item(p, &seed);
            *p++ = ',';
        } while (last - p > BENCH_PAYLOAD_ITEM + BENCH_PAYLOAD_END);

        p[-1] = ']';
        *p++ = ',';
    }

    p += sprintf(p, "\"text\":\"");

    while (p < last - 2) {
        for (word = bench_payload_word(&seed); *word && p < last - 2; word++) {
            *p++ = *word;
        }

        if (p < last - 2) {
            *p++ = ' ';
        }
    }

    *p++ = '"';
    *p++ = '}';
}


int
bench_payload_create(bench_load_t *load)
{
    /* what sprintf() terminates may end behind the payload */

    load->payload = bench_load_alloc(load->size + BENCH_PAYLOAD_ITEM);

    if (strcmp(load->text, "json") == 0) {

        if (load->size < BENCH_PAYLOAD_JSON_MIN) {
            (void) fprintf(stderr, "load: an object has at least %u bytes\n",
                           (unsigned) BENCH_PAYLOAD_JSON_MIN);
            return BENCH_ERROR;
        }

        load->json = 1;
        load->tail = '}';
        bench_payload_json(load);

        return BENCH_OK;
    }

    if (strcmp(load->text, "plain") != 0) {
        (void) fprintf(stderr, "load: no such text: \"%s\"\n", load->text);
        return BENCH_ERROR;
    }

    load->tail = 'z';
    memset(load->payload, '.', load->size);
    load->payload[load->size - 1] = load->tail;

    return BENCH_OK;
}
