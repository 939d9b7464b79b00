
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * chat: channels whose members, by their identities, see who comes and goes
 * (protocol, 7).  A member is a record, shared by all connections of the
 * identity that have joined.
 */


#include "ngx_snorky_chat.h"


/* places of the parameters in the tables below */

#define NGX_SNORKY_CHAT_CHANNEL  0
#define NGX_SNORKY_CHAT_BODY     1

/* parts of a presence, and those of them that stand before its time */

#define NGX_SNORKY_CHAT_PARTS    9
#define NGX_SNORKY_CHAT_BEFORE   7


static ngx_int_t ngx_snorky_chat_join(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_chat_leave(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_chat_send(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_chat_read(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_chat_hold(ngx_snorky_call_t *call,
    ngx_snorky_hold_t **hold);
static void ngx_snorky_chat_presence(ngx_snorky_call_t *call,
    ngx_str_t *status, ngx_str_t *parts, u_char *time);
static ngx_int_t ngx_snorky_chat_farewell(ngx_snorky_call_t *call,
    ngx_snorky_record_t *record);


static ngx_str_t  ngx_snorky_chat_joined = ngx_string("joined");
static ngx_str_t  ngx_snorky_chat_left = ngx_string("left");


static ngx_str_t  ngx_snorky_chat_channel_params[] = {
    ngx_string("channel"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_chat_send_params[] = {
    ngx_string("channel"),
    ngx_string("body"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_chat_commands[] = {

    { ngx_string("join"),
      ngx_snorky_chat_channel_params,
      ngx_snorky_chat_join },

    { ngx_string("leave"),
      ngx_snorky_chat_channel_params,
      ngx_snorky_chat_leave },

    { ngx_string("send"),
      ngx_snorky_chat_send_params,
      ngx_snorky_chat_send },

    { ngx_string("read"),
      ngx_snorky_chat_channel_params,
      ngx_snorky_chat_read },

      ngx_snorky_null_command
};


ngx_snorky_service_type_t  ngx_snorky_chat = {
    .version  = NGX_SNORKY_API_VERSION,
    .name     = ngx_string("chat"),
    .commands = ngx_snorky_chat_commands,
    .channels = 1
};


static ngx_int_t
ngx_snorky_chat_join(ngx_snorky_call_t *call)
{
    u_char                     time[NGX_SNORKY_TIME_LEN];
    ngx_int_t                  rc;
    ngx_str_t                 *identity, parts[NGX_SNORKY_CHAT_PARTS];
    ngx_uint_t                 n;
    ngx_snorky_value_t        *channel;
    ngx_snorky_record_t        record;
    ngx_snorky_change_t       *change;
    ngx_snorky_listed_t       *listed;
    ngx_snorky_publication_t   publication;

    identity = ngx_snorky_session_identity(ngx_snorky_call_session(call));

    if (identity == NULL) {
        return ngx_snorky_call_error(call, "Not authenticated");
    }

    channel = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL);

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.set = channel;
    record.key = *identity;
    record.value = *identity;
    record.shared = 1;

    rc = ngx_snorky_call_key(call, channel, &record.label);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_chat_farewell(call, &record) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));
    ngx_snorky_chat_presence(call, &ngx_snorky_chat_joined, parts, time);

    publication.key = channel;
    publication.parts = parts;
    publication.n = NGX_SNORKY_CHAT_PARTS;
    publication.first = 1;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_join(change, channel);
    ngx_snorky_change_hold(change, &record);
    ngx_snorky_change_publish(change, &publication);
    ngx_snorky_change_list(change, channel);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Already joined");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    if (listed == NULL) {
        return NGX_ERROR;
    }

    return ngx_snorky_call_reply_list(call, "{\"members\":[", listed, n, "]}");
}


static ngx_int_t
ngx_snorky_chat_leave(ngx_snorky_call_t *call)
{
    u_char                     time[NGX_SNORKY_TIME_LEN];
    ngx_int_t                  rc;
    ngx_str_t                  parts[NGX_SNORKY_CHAT_PARTS];
    ngx_snorky_hold_t         *hold;
    ngx_snorky_change_t       *change;
    ngx_snorky_publication_t   publication;

    rc = ngx_snorky_chat_hold(call, &hold);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));
    ngx_snorky_chat_presence(call, &ngx_snorky_chat_left, parts, time);

    publication.key = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL);
    publication.parts = parts;
    publication.n = NGX_SNORKY_CHAT_PARTS;
    publication.last = 1;

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_release(change, hold);
    ngx_snorky_change_leave(change, publication.key);
    ngx_snorky_change_publish(change, &publication);

    return ngx_snorky_change_commit(change);
}


static ngx_int_t
ngx_snorky_chat_send(ngx_snorky_call_t *call)
{
    u_char                     time[NGX_SNORKY_TIME_LEN];
    ngx_int_t                  rc;
    ngx_str_t                  parts[9];
    ngx_snorky_hold_t         *hold;
    ngx_snorky_publication_t   publication;

    rc = ngx_snorky_chat_hold(call, &hold);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.key = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL);
    publication.parts = parts;
    publication.n = 9;

    ngx_str_set(&parts[0], "{\"type\":\"message\",\"from\":");
    parts[1] = *ngx_snorky_session_identity(ngx_snorky_call_session(call));
    ngx_str_set(&parts[2], ",\"channel\":");
    parts[3] = publication.key->text;
    ngx_str_set(&parts[4], ",\"body\":");
    parts[5] = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_BODY)->text;
    ngx_str_set(&parts[6], ",\"timestamp\":");
    parts[7].data = time;
    parts[7].len = ngx_snorky_time(time) - time;
    ngx_str_set(&parts[8], "}");

    return ngx_snorky_topic_publish(call, &publication);
}


static ngx_int_t
ngx_snorky_chat_read(ngx_snorky_call_t *call)
{
    u_char                     time[NGX_SNORKY_TIME_LEN];
    ngx_str_t                 *identity, parts[5];
    ngx_snorky_publication_t   publication;

    identity = ngx_snorky_session_identity(ngx_snorky_call_session(call));

    if (identity == NULL) {
        return NGX_OK;
    }

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.key = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL);
    publication.parts = parts;
    publication.n = 5;
    publication.identity = identity;
    publication.others = 1;

    ngx_str_set(&parts[0], "{\"type\":\"read\",\"channel\":");
    parts[1] = publication.key->text;
    ngx_str_set(&parts[2], ",\"timestamp\":");
    parts[3].data = time;
    parts[3].len = ngx_snorky_time(time) - time;
    ngx_str_set(&parts[4], "}");

    return ngx_snorky_topic_publish(call, &publication);
}


/* the caller's hold of the channel; NGX_DONE: it is told that it has none */

static ngx_int_t
ngx_snorky_chat_hold(ngx_snorky_call_t *call, ngx_snorky_hold_t **hold)
{
    ngx_int_t  rc;
    ngx_str_t  key;

    rc = ngx_snorky_call_key(call,
                       ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL),
                       &key);
    if (rc != NGX_OK) {
        return rc;
    }

    *hold = ngx_snorky_hold_find(ngx_snorky_call_session(call),
                                 ngx_snorky_call_service(call), &key);
    if (*hold == NULL) {
        return ngx_snorky_call_error(call, "Not joined");
    }

    return NGX_OK;
}


static void
ngx_snorky_chat_presence(ngx_snorky_call_t *call, ngx_str_t *status,
    ngx_str_t *parts, u_char *time)
{
    ngx_str_set(&parts[0], "{\"type\":\"presence\",\"from\":");
    parts[1] = *ngx_snorky_session_identity(ngx_snorky_call_session(call));
    ngx_str_set(&parts[2], ",\"channel\":");
    parts[3] = ngx_snorky_call_param(call, NGX_SNORKY_CHAT_CHANNEL)->text;
    ngx_str_set(&parts[4], ",\"status\":\"");
    parts[5] = *status;
    ngx_str_set(&parts[6], "\",\"timestamp\":");
    parts[7].data = time;
    parts[7].len = ngx_snorky_time(time) - time;
    ngx_str_set(&parts[8], "}");
}


/* what is said when the client goes without a word; the time is filled in */

static ngx_int_t
ngx_snorky_chat_farewell(ngx_snorky_call_t *call, ngx_snorky_record_t *record)
{
    u_char      time[NGX_SNORKY_TIME_LEN];
    ngx_str_t   parts[NGX_SNORKY_CHAT_PARTS];

    ngx_snorky_chat_presence(call, &ngx_snorky_chat_left, parts, time);

    record->farewell[1] = parts[NGX_SNORKY_CHAT_PARTS - 1];

    return ngx_snorky_call_concat(call, parts, NGX_SNORKY_CHAT_BEFORE,
                                  &record->farewell[0]);
}
