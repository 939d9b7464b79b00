
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Policies: whether a client may make a call is asked of the application, or
 * told by a variable, before the command is run.  Meanwhile the session waits
 * as it does for room in the log, so that its messages keep their order.
 */


#ifndef _NGX_SNORKY_POLICY_H_INCLUDED_
#define _NGX_SNORKY_POLICY_H_INCLUDED_


#include "ngx_snorky_ask.h"
#include "ngx_snorky_call.h"
#include "ngx_snorky_policy_conf.h"
#include "ngx_snorky_session.h"


/* What the application has been asked for a session's call, and has said. */

struct ngx_snorky_verdict_s {
    ngx_snorky_session_t        *session;
    ngx_snorky_policy_t         *policy;
    ngx_snorky_ask_t             ask;           /* if ask.inner: not yet */

    const char                  *failure;       /* NULL: the status tells */
    ngx_uint_t                   status;
    ngx_str_t                    text;          /* a JSON body, or empty */
};


/*
 * For a call whose parameters have been taken, "params" being the nodes that
 * they were taken from, which are gone then.
 *
 *   NGX_OK     it may run, perhaps with other parameters
 *   NGX_DONE   it has been answered
 *   NGX_AGAIN  the application is asked: resume() will be called
 *   NGX_ERROR  no memory
 */

ngx_int_t ngx_snorky_policy_check(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);

/* the session waits for the application, not for room in the log */
#define ngx_snorky_policy_asks(s)                                             \
    ((s)->verdict && (s)->verdict->ask.inner)

/* its call has ended, or it leaves */
void ngx_snorky_policy_forget(ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_POLICY_H_INCLUDED_ */
