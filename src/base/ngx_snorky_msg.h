
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


/*
 * A message may have other forms, compressed ones for instance, which are made
 * once and live at least as long as it.  A form's kind is the transport's to
 * choose, and is no form of its own.
 */

typedef struct ngx_snorky_msg_s  ngx_snorky_msg_t;

struct ngx_snorky_msg_s {
    uint32_t                  refs;
    uint16_t                  framed;   /* header bytes built before text */
    uint16_t                  kind;     /* of a form */
    size_t                    len;
    u_char                   *text;
    ngx_snorky_msg_t         *forms;    /* of a form: the next one */
};


/* a message of len bytes to fill in, with one reference; NULL: no memory */
ngx_snorky_msg_t *ngx_snorky_msg_create(size_t len, ngx_log_t *log);

#define ngx_snorky_msg_ref(msg)    (msg)->refs++

#define ngx_snorky_msg_unref(msg)                                             \
    do {                                                                      \
        if (--(msg)->refs == 0) {                                             \
            ngx_snorky_msg_destroy(msg);                                      \
        }                                                                     \
    } while (0)

/* for ngx_snorky_msg_unref() only */
void ngx_snorky_msg_destroy(ngx_snorky_msg_t *msg);

/* the form of that kind, without a reference; NULL: there is none yet */
ngx_snorky_msg_t *ngx_snorky_msg_form(ngx_snorky_msg_t *msg, ngx_uint_t kind);

/* takes over the caller's reference */
void ngx_snorky_msg_add_form(ngx_snorky_msg_t *msg, ngx_snorky_msg_t *form,
    ngx_uint_t kind);


#endif /* _NGX_SNORKY_MSG_H_INCLUDED_ */
