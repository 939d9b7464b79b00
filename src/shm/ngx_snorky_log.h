
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The shared log: a ring of records in shared memory.  Any worker appends,
 * under the zone's mutex; every worker reads at its own cursor, without one.
 *
 * Places in the log are 64-bit byte positions that only grow; a record's
 * position is its sequence number.  A record is in one piece, and immutable
 * once the head has passed it.  The head is the only word whose change makes
 * a record exist, so that a worker that dies while it appends leaves nothing.
 */


#ifndef _NGX_SNORKY_LOG_H_INCLUDED_
#define _NGX_SNORKY_LOG_H_INCLUDED_


#include "ngx_snorky_slot.h"


typedef struct {
    uint64_t                  size;     /* of the ring; a multiple of 64 */
    uint64_t                  head;     /* where the next record begins */
    uint64_t                  tail;     /* what lies before may go; a cache */
    u_char                   *ring;
} ngx_snorky_log_t;


typedef enum {
    NGX_SNORKY_LOG_PAD = 0,     /* the unused end of the ring */
    NGX_SNORKY_LOG_TOPIC        /* a text for all who are in a topic */
} ngx_snorky_log_e;


typedef struct {
    uint64_t                  position;
    uint64_t                  hash;     /* of the topic's name */
    uint64_t                  except;   /* a session that does not get it */
    uint32_t                  size;     /* with this head; a multiple of 64 */
    uint32_t                  type;
    uint32_t                  name;     /* bytes of the topic's name ... */
    uint32_t                  text;     /* ... of the text behind it ... */
    uint32_t                  only;     /* ... and of an identity */
    uint32_t                  unused;
} ngx_snorky_log_record_t;

/* the bytes of these three */
#define ngx_snorky_log_data(record)   ((u_char *) ((record) + 1))


/* a record larger than this share of the ring is refused */
#define NGX_SNORKY_LOG_SHARE  4


void ngx_snorky_log_init(ngx_snorky_log_t *log, u_char *ring, size_t size);

/* bytes that a record with so much data takes, and whether it may be so big */
uint64_t ngx_snorky_log_record_size(size_t data);
ngx_uint_t ngx_snorky_log_fits(ngx_snorky_log_t *log, size_t data);

/*
 * A place for a record that fits, or NULL while the log is full: what lies
 * between tail and head is still to be read by somebody.  The first is
 * reserved at the head, the next where *place then is; the caller fills in
 * hash, except, the lengths and the data, and commits them all at *place.
 */

ngx_snorky_log_record_t *ngx_snorky_log_reserve_locked(ngx_snorky_log_t *log,
    uint64_t *place, size_t data);
void ngx_snorky_log_commit_locked(ngx_snorky_log_t *log, uint64_t place);

/*
 * The record at *cursor, which is moved to it over padding.
 *
 *   NGX_OK        *record is a copy of its head, *data its bytes in
 *                 the ring; its end is *cursor + record->size
 *   NGX_DONE      *cursor is at the head
 *   NGX_DECLINED  the ring has gone over this place: the reader was lost
 *
 * The ring goes over a record only when its reader has been given up.  So a
 * reader copies what it needs, looks whether it still is live, and only then
 * believes it.  The lengths in a copied head never leave the ring.
 */

ngx_int_t ngx_snorky_log_read(ngx_snorky_log_t *log, uint64_t *cursor,
    ngx_snorky_log_record_t *record, u_char **data);


#endif /* _NGX_SNORKY_LOG_H_INCLUDED_ */
