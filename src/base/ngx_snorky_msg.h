
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A message on its way out: immutable bytes with a count of those who still
 * need them.  One message serves all its receivers in this worker.
 */


#ifndef _NGX_SNORKY_MSG_H_INCLUDED_
#define _NGX_SNORKY_MSG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* room before the text, where a transport may put its frame's header */
#define NGX_SNORKY_MSG_HEADROOM  16


typedef struct {
    uint32_t                  refs;
    uint32_t                  framed;   /* header bytes built before text */
    size_t                    len;
    u_char                   *text;
} ngx_snorky_msg_t;


/* a message of len bytes to fill in, with one reference; NULL: no memory */
ngx_snorky_msg_t *ngx_snorky_msg_create(size_t len, ngx_log_t *log);

#define ngx_snorky_msg_ref(msg)    (msg)->refs++

#define ngx_snorky_msg_unref(msg)                                             \
    do {                                                                      \
        if (--(msg)->refs == 0) {                                             \
            ngx_free(msg);                                                    \
        }                                                                     \
    } while (0)


#endif /* _NGX_SNORKY_MSG_H_INCLUDED_ */
