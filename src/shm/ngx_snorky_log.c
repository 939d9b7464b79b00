
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the ring and its positions.  Knows no mutex, worker or nginx: the
 * broker calls it and brings the lock and the tail.
 */


#include "ngx_snorky_log.h"


/*
 * Records begin at multiples of 64 bytes, a cache line, so that the rest of
 * the ring always has room for the head of a pad.
 */

#define NGX_SNORKY_LOG_ALIGN  64


static ngx_snorky_log_record_t *ngx_snorky_log_at(ngx_snorky_log_t *log,
    uint64_t position);


void
ngx_snorky_log_init(ngx_snorky_log_t *log, u_char *ring, size_t size)
{
    log->size = size - size % NGX_SNORKY_LOG_ALIGN;
    log->head = 0;
    log->tail = 0;
    log->ring = ring;
}


uint64_t
ngx_snorky_log_record_size(size_t data)
{
    uint64_t  size;

    size = sizeof(ngx_snorky_log_record_t) + data;

    return ngx_align(size, NGX_SNORKY_LOG_ALIGN);
}


ngx_uint_t
ngx_snorky_log_fits(ngx_snorky_log_t *log, size_t data)
{
    return ngx_snorky_log_record_size(data)
           <= log->size / NGX_SNORKY_LOG_SHARE;
}


static ngx_snorky_log_record_t *
ngx_snorky_log_at(ngx_snorky_log_t *log, uint64_t position)
{
    return (ngx_snorky_log_record_t *) (log->ring + position % log->size);
}


ngx_snorky_log_record_t *
ngx_snorky_log_reserve_locked(ngx_snorky_log_t *log, uint64_t *place,
    size_t data)
{
    uint64_t                  size, rest, pad;
    ngx_snorky_log_record_t  *record;

    size = ngx_snorky_log_record_size(data);
    rest = log->size - *place % log->size;
    pad = (size > rest) ? rest : 0;

    if (*place + pad + size - log->tail > log->size) {
        return NULL;
    }

    if (pad) {
        record = ngx_snorky_log_at(log, *place);

        ngx_memzero(record, sizeof(ngx_snorky_log_record_t));

        record->position = *place;
        record->size = (uint32_t) pad;
        record->type = NGX_SNORKY_LOG_PAD;
    }

    record = ngx_snorky_log_at(log, *place + pad);

    record->position = *place + pad;
    record->size = (uint32_t) size;
    record->type = NGX_SNORKY_LOG_TOPIC;

    *place = record->position + size;

    return record;
}


void
ngx_snorky_log_commit_locked(ngx_snorky_log_t *log, uint64_t place)
{
    ngx_snorky_store(&log->head, place);
}


ngx_int_t
ngx_snorky_log_read(ngx_snorky_log_t *log, uint64_t *cursor,
    ngx_snorky_log_record_t *record, u_char **data)
{
    uint64_t                  head, rest;
    ngx_snorky_log_record_t  *place;

    head = ngx_snorky_load(&log->head);

    while (*cursor != head) {

        if (head - *cursor > log->size) {
            return NGX_DECLINED;
        }

        place = ngx_snorky_log_at(log, *cursor);
        rest = log->size - *cursor % log->size;

        *record = *(volatile ngx_snorky_log_record_t *) place;

        if (record->position != *cursor
            || record->size == 0
            || record->size % NGX_SNORKY_LOG_ALIGN != 0
            || record->size > rest)
        {
            return NGX_DECLINED;
        }

        if (record->type != NGX_SNORKY_LOG_PAD) {

            if (ngx_snorky_log_record_size((size_t) record->name
                                           + record->text + record->only)
                != record->size)
            {
                return NGX_DECLINED;
            }

            *data = ngx_snorky_log_data(place);

            return NGX_OK;
        }

        *cursor += record->size;
    }

    return NGX_DONE;
}
