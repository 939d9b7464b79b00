
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Not written yet.
 */


#include "ngx_snorky_sockjs_inbox.h"


void ngx_snorky_sockjs_inbox_init(ngx_snorky_sockjs_session_t *session)
{
}


void ngx_snorky_sockjs_inbox_put(ngx_snorky_sockjs_session_t *session,
    ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text)
{
}


void ngx_snorky_sockjs_inbox_resume(ngx_snorky_sockjs_session_t *session)
{
}


void ngx_snorky_sockjs_inbox_finish(ngx_snorky_sockjs_session_t *session)
{
}
