
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the layout of a message: head, headroom and text in one allocation.
 * Created where a text is serialised, counted by the queues that hold it.
 */


#include "ngx_snorky_msg.h"


ngx_snorky_msg_t *
ngx_snorky_msg_create(size_t len, ngx_log_t *log)
{
    ngx_snorky_msg_t  *msg;

    msg = ngx_alloc(sizeof(ngx_snorky_msg_t) + NGX_SNORKY_MSG_HEADROOM + len,
                    log);
    if (msg == NULL) {
        return NULL;
    }

    msg->refs = 1;
    msg->framed = 0;
    msg->len = len;
    msg->text = (u_char *) (msg + 1) + NGX_SNORKY_MSG_HEADROOM;

    return msg;
}
