
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A topic: the sessions in this worker that listen to one service under one
 * key.  It exists as long as there are any; the broker is told of the first
 * and of the last.
 */


#ifndef _NGX_SNORKY_TOPIC_H_INCLUDED_
#define _NGX_SNORKY_TOPIC_H_INCLUDED_


#include "ngx_snorky.h"
#include "ngx_snorky_msg.h"


/* the broker's find and deliver */
void *ngx_snorky_topic_find(void *data, uint64_t hash, ngx_str_t *name);
void ngx_snorky_topic_deliver(void *data, void *topic, ngx_snorky_msg_t *msg);

/* the session ends */
void ngx_snorky_topic_leave_all(ngx_snorky_session_t *s);


#endif /* _NGX_SNORKY_TOPIC_H_INCLUDED_ */
