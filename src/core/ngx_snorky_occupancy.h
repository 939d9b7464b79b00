
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Whether a channel has listeners, on all workers together.  The first and the
 * last one in a worker are made known to the others, where somebody is to be
 * told of it.
 */


#ifndef _NGX_SNORKY_OCCUPANCY_H_INCLUDED_
#define _NGX_SNORKY_OCCUPANCY_H_INCLUDED_


#include "ngx_snorky_session.h"
#include "ngx_snorky_topic.h"


void ngx_snorky_occupancy_init(ngx_snorky_hub_t *hub);
void ngx_snorky_occupancy_finish(ngx_snorky_hub_t *hub);

/* a session has come into the topic's list, or is about to leave it */
void ngx_snorky_occupancy_came(ngx_snorky_topic_t *topic,
    ngx_snorky_session_t *s);
void ngx_snorky_occupancy_went(ngx_snorky_topic_t *topic,
    ngx_snorky_session_t *s);

/* what this worker has in the zone is not its own any more */
void ngx_snorky_occupancy_lost(ngx_snorky_hub_t *hub);


#endif /* _NGX_SNORKY_OCCUPANCY_H_INCLUDED_ */
