
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The one way in: every transport ends here, with one envelope.
 */


#ifndef _NGX_SNORKY_DISPATCH_H_INCLUDED_
#define _NGX_SNORKY_DISPATCH_H_INCLUDED_


#include "ngx_snorky_session.h"


/*
 * Hands an envelope to its service.  What the service answers has been sent
 * when the call returns.
 *
 *   NGX_OK        handled
 *   NGX_AGAIN     the log is full and nothing has been done: the session
 *                 waits; the transport keeps the text, takes no other message,
 *                 and dispatches it again when it is resumed
 *   NGX_DECLINED  not an envelope, or not an RPC message where one is needed;
 *                 discarded, logged and counted
 *   NGX_ABORT     no such service in the session's registry; likewise
 */

ngx_int_t ngx_snorky_dispatch(ngx_snorky_session_t *s, ngx_str_t *text);

/* the same answers, where possible without doing anything (no NGX_AGAIN) */
ngx_int_t ngx_snorky_dispatch_check(ngx_snorky_session_t *s, ngx_str_t *text);


#endif /* _NGX_SNORKY_DISPATCH_H_INCLUDED_ */
