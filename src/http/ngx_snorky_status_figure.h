
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The figures of the status, whatever the format: what they are called, and
 * one reading of them.
 */


#ifndef _NGX_SNORKY_STATUS_FIGURE_H_INCLUDED_
#define _NGX_SNORKY_STATUS_FIGURE_H_INCLUDED_


#include "ngx_snorky_conf.h"


/*
 * One figure.  In Prometheus it is a sample of "snorky_<metric>", a counter
 * if that ends in "_total"; those of one metric stand together, the first one
 * has the help, and the label tells them apart.
 */

typedef struct {
    const char                   *name;         /* in JSON; NULL: no more */
    size_t                        offset;
    const char                   *metric;       /* NULL: in JSON only */
    const char                   *label;        /* name="value", or "" */
    const char                   *help;         /* NULL: as the one before */
} ngx_snorky_status_field_t;


/* all is uint64_t, for the fields' offsets */

typedef struct {
    uint64_t                      slot;
    uint64_t                      pid;
    uint64_t                      generation;
    uint64_t                      live;
    uint64_t                      quitting;
    uint64_t                      lag;
    ngx_snorky_stats_t            stats;
} ngx_snorky_status_worker_t;

typedef struct {
    uint64_t                      zone_size;
    uint64_t                      zone_free;
    uint64_t                      zone_records;
    uint64_t                      zone_waiting;
    uint64_t                      zone_locked_by;

    uint64_t                      log_size;
    uint64_t                      log_used;
    uint64_t                      log_position;

    ngx_snorky_stats_t            total;

    ngx_uint_t                    nworkers;
    ngx_snorky_status_worker_t   *workers;
} ngx_snorky_status_figures_t;


/* of ngx_snorky_status_figures_t */
extern ngx_snorky_status_field_t  ngx_snorky_status_zone[];
extern ngx_snorky_status_field_t  ngx_snorky_status_log[];

/* of ngx_snorky_stats_t */
extern ngx_snorky_status_field_t  ngx_snorky_status_stats[];

/* of ngx_snorky_status_worker_t: what Prometheus gets of each */
extern ngx_snorky_status_field_t  ngx_snorky_status_worker[];


#define ngx_snorky_status_value(base, field)                                  \
    *(uint64_t *) ((u_char *) (base) + (field)->offset)


/* NGX_OK, or NGX_ERROR: no memory */
ngx_int_t ngx_snorky_status_figure_read(ngx_pool_t *pool,
    ngx_snorky_zone_t *zone, ngx_snorky_status_figures_t *figures);


#endif /* _NGX_SNORKY_STATUS_FIGURE_H_INCLUDED_ */
