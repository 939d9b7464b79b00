
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Single clients, on any worker, by their name or their identity: the registry
 * of a service that wants that has a topic for each of these.
 */


#ifndef _NGX_SNORKY_REACH_H_INCLUDED_
#define _NGX_SNORKY_REACH_H_INCLUDED_


#include "ngx_snorky.h"


/*
 * A session begins.  What was said before it came is not for it: that is
 * delivered before it has a number.
 */

void ngx_snorky_reach_before(ngx_snorky_session_t *s);

/* ... and can be reached from here on, or is closed */
void ngx_snorky_reach_enter(ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_REACH_H_INCLUDED_ */
