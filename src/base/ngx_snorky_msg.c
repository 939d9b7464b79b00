
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
    msg->kind = 0;
    msg->len = len;
    msg->text = (u_char *) (msg + 1) + NGX_SNORKY_MSG_HEADROOM;
    msg->forms = NULL;

    return msg;
}


/* a form may be needed longer, by a queue */

void
ngx_snorky_msg_destroy(ngx_snorky_msg_t *msg)
{
    ngx_snorky_msg_t  *form;

    while (msg->forms) {
        form = msg->forms;
        msg->forms = form->forms;
        form->forms = NULL;

        ngx_snorky_msg_unref(form);
    }

    ngx_free(msg);
}


ngx_snorky_msg_t *
ngx_snorky_msg_form(ngx_snorky_msg_t *msg, ngx_uint_t kind)
{
    ngx_snorky_msg_t  *form;

    for (form = msg->forms; form; form = form->forms) {
        if (form->kind == kind) {
            return form;
        }
    }

    return NULL;
}


void
ngx_snorky_msg_add_form(ngx_snorky_msg_t *msg, ngx_snorky_msg_t *form,
    ngx_uint_t kind)
{
    form->kind = (uint16_t) kind;
    form->forms = msg->forms;

    msg->forms = form;
}
