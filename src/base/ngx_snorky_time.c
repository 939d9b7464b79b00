
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The time as it stands in messages.
 */


#include "ngx_snorky.h"


/*
 * nginx's own clock has milliseconds and is read once in a round of the event
 * loop.  The offset is the one that nginx knows, in minutes.
 */

u_char *
ngx_snorky_time(u_char *p)
{
    ngx_tm_t        tm;
    ngx_int_t       offset;
    ngx_time_t     *tp;
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    tp = ngx_timeofday();
    offset = tp->gmtoff;

    ngx_gmtime(tv.tv_sec + offset * 60, &tm);

    return ngx_sprintf(p, "\"%4d-%02d-%02dT%02d:%02d:%02d.%06d%c%02i:%02i\"",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                       (int) tv.tv_usec, offset < 0 ? '-' : '+',
                       ngx_abs(offset / 60), ngx_abs(offset % 60));
}
