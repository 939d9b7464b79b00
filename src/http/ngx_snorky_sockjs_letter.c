
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the form of letters.  Called by sessions and requests.
 */


#include "ngx_snorky_sockjs_letter.h"
#include "ngx_snorky_mailbox.h"


ngx_int_t
ngx_snorky_sockjs_send_letter(ngx_snorky_worker_t *worker, uint64_t to,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
    ngx_str_t  parts[2];

    parts[0].data = (u_char *) letter;
    parts[0].len = sizeof(ngx_snorky_sockjs_letter_t);

    if (text) {
        parts[1] = *text;
    }

    return ngx_snorky_mailbox_send(worker->hub, to, parts, text ? 2 : 1);
}


size_t
ngx_snorky_sockjs_letter_max(ngx_snorky_worker_t *worker)
{
    return ngx_snorky_mailbox_max(worker->hub)
           - sizeof(ngx_snorky_sockjs_letter_t);
}
