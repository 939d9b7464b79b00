
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * cursors: who has joined a document sees where the others are in it
 * (protocol, 8).  A cursor is a record of the document, whose key is the
 * public handle and whose value is an object with the rest of the CURSOR: to
 * each client the document is told as it has itself written it.  The owner
 * finds its cursor by the private handle.
 */


#include "ngx_snorky_cursors.h"


#define NGX_SNORKY_CURSORS_MAX        16

/* public handles are integers of JavaScript's exact range, below 2^53 */
#define NGX_SNORKY_CURSORS_HANDLE     ((UINT64_C(1) << 53) - 1)

/* of a CURSOR, made of its handle, its document and the rest */
#define NGX_SNORKY_CURSORS_PARTS      6

/* that a random one is taken already is nearly impossible, thrice more so */
#define NGX_SNORKY_CURSORS_TRIES      3


/* places of the parameters in the tables below */

#define NGX_SNORKY_CURSORS_DOCUMENT   0

#define NGX_SNORKY_CURSORS_PRIVATE    0
#define NGX_SNORKY_CURSORS_NEW_DATA   1

#define NGX_SNORKY_CURSORS_CREATE_IN  1
#define NGX_SNORKY_CURSORS_POSITION   2
#define NGX_SNORKY_CURSORS_STATUS     3


typedef struct {
    ngx_uint_t                 max_cursors;
} ngx_snorky_cursors_conf_t;


/* what an owner keeps of its cursor; the document's text follows */

typedef struct {
    uint64_t                   handle;
    size_t                     document;
} ngx_snorky_cursors_own_t;


static ngx_int_t ngx_snorky_cursors_join(ngx_snorky_call_t *call);
static ngx_str_t *ngx_snorky_cursors_parts(ngx_str_t *part,
    ngx_str_t *handle, ngx_str_t *document, ngx_str_t *rest);
static ngx_int_t ngx_snorky_cursors_leave(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_cursors_in(ngx_snorky_call_t *call,
    ngx_snorky_hold_t *hold, ngx_str_t *document);
static ngx_int_t ngx_snorky_cursors_create(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_cursors_try(ngx_snorky_call_t *call,
    ngx_str_t *label);
static ngx_int_t ngx_snorky_cursors_record(ngx_snorky_call_t *call,
    ngx_snorky_record_t *record);
static ngx_int_t ngx_snorky_cursors_content(ngx_snorky_call_t *call,
    ngx_str_t *type, ngx_str_t *handle, ngx_str_t *document, ngx_str_t *rest,
    ngx_str_t *content);
static ngx_int_t ngx_snorky_cursors_update(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_cursors_merge(ngx_snorky_call_t *call,
    ngx_str_t *old, ngx_str_t *cursor);
static ngx_int_t ngx_snorky_cursors_remove(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_cursors_find(ngx_snorky_call_t *call,
    ngx_snorky_hold_t **hold);
static ngx_int_t ngx_snorky_cursors_release(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change, ngx_snorky_hold_t *hold,
    ngx_snorky_value_t *document);
static void ngx_snorky_cursors_publish(ngx_snorky_change_t *change,
    ngx_snorky_value_t *document, ngx_str_t *content);
static ngx_int_t ngx_snorky_cursors_removed(ngx_snorky_call_t *call,
    uint64_t handle, ngx_str_t *document, ngx_str_t *content);
static char *ngx_snorky_cursors_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);


static ngx_str_t  ngx_snorky_cursors_document_params[] = {
    ngx_string("document"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_cursors_create_params[] = {
    ngx_string("privateHandle"),
    ngx_string("document"),
    ngx_string("position"),
    ngx_string("status"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_cursors_update_params[] = {
    ngx_string("privateHandle"),
    ngx_string("newData"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_cursors_remove_params[] = {
    ngx_string("privateHandle"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_cursors_added = ngx_string("cursorAdded");
static ngx_str_t  ngx_snorky_cursors_updated = ngx_string("cursorUpdated");

static ngx_str_t  ngx_snorky_cursors_position = ngx_string("position");
static ngx_str_t  ngx_snorky_cursors_status = ngx_string("status");


static ngx_snorky_command_t  ngx_snorky_cursors_commands[] = {

    { ngx_string("join"),
      ngx_snorky_cursors_document_params,
      ngx_snorky_cursors_join },

    { ngx_string("leave"),
      ngx_snorky_cursors_document_params,
      ngx_snorky_cursors_leave },

    { ngx_string("createCursor"),
      ngx_snorky_cursors_create_params,
      ngx_snorky_cursors_create },

    { ngx_string("updateCursor"),
      ngx_snorky_cursors_update_params,
      ngx_snorky_cursors_update },

    { ngx_string("removeCursor"),
      ngx_snorky_cursors_remove_params,
      ngx_snorky_cursors_remove },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_cursors_options[] = {

    { ngx_string("max_cursors"),
      ngx_snorky_option_number,
      offsetof(ngx_snorky_cursors_conf_t, max_cursors),
      NULL },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_cursors = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("cursors"),
    .commands  = ngx_snorky_cursors_commands,
    .options   = ngx_snorky_cursors_options,
    .conf_size = sizeof(ngx_snorky_cursors_conf_t),
    .init      = ngx_snorky_cursors_init,
    .channels  = 1
};


static ngx_int_t
ngx_snorky_cursors_join(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t            *parts, *part, data;
    ngx_uint_t            i, n;
    ngx_snorky_value_t   *document;
    ngx_snorky_change_t  *change;
    ngx_snorky_listed_t  *listed;

    if (ngx_snorky_session_identity(ngx_snorky_call_session(call)) == NULL) {
        return ngx_snorky_call_error(call, "Not authenticated");
    }

    document = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_DOCUMENT);

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_join(change, document);
    ngx_snorky_change_list(change, document);

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Already joined");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    parts = ngx_palloc(ngx_snorky_call_pool(call), (n + 1) * sizeof(parts[0])
                                            * (NGX_SNORKY_CURSORS_PARTS + 1));

    if (listed == NULL || parts == NULL) {
        return NGX_ERROR;
    }

    part = parts;
    ngx_str_set(part, "{\"cursors\":[");
    part++;

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_str_set(part, ",");
            part++;
        }

        part = ngx_snorky_cursors_parts(part, &listed[i].key, &document->text,
                                        &listed[i].value);
    }

    ngx_str_set(part, "]}");
    part++;

    if (ngx_snorky_call_concat(call, parts, part - parts, &data) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_call_reply(call, &data);
}


/* the rest is an object that continues the one that is begun here */

static ngx_str_t *
ngx_snorky_cursors_parts(ngx_str_t *part, ngx_str_t *handle,
    ngx_str_t *document, ngx_str_t *rest)
{
    ngx_str_set(&part[0], "{\"publicHandle\":");
    part[1] = *handle;
    ngx_str_set(&part[2], ",\"document\":");
    part[3] = *document;

    ngx_str_set(&part[4], ",");

    part[5].data = rest->data + 1;
    part[5].len = rest->len - 1;

    return &part[NGX_SNORKY_CURSORS_PARTS];
}


/* one's cursors in it go first; those who stay are told, the leaver is not */

static ngx_int_t
ngx_snorky_cursors_leave(ngx_snorky_call_t *call)
{
    ngx_int_t             rc;
    ngx_str_t             key;
    ngx_snorky_hold_t    *hold;
    ngx_snorky_value_t   *document;
    ngx_snorky_change_t  *change;

    document = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_DOCUMENT);

    rc = ngx_snorky_call_key(call, document, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_leave(change, document);

    for (hold = ngx_snorky_hold_first(ngx_snorky_call_session(call),
                                      ngx_snorky_call_service(call));
         hold;
         hold = ngx_snorky_hold_next(hold))
    {
        rc = ngx_snorky_cursors_in(call, hold, &key);

        if (rc == NGX_OK) {
            rc = ngx_snorky_cursors_release(call, change, hold, document);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    rc = ngx_snorky_change_commit(change);

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Not joined");
    }

    return rc;
}


/* NGX_OK: the cursor is in the document of this key; NGX_DECLINED; NGX_ERROR */

static ngx_int_t
ngx_snorky_cursors_in(ngx_snorky_call_t *call, ngx_snorky_hold_t *hold,
    ngx_str_t *document)
{
    ngx_str_t                  key, text;
    ngx_snorky_cursors_own_t  *own;

    own = ngx_snorky_hold_data(hold);

    text.data = (u_char *) (own + 1);
    text.len = own->document;

    if (ngx_snorky_json_key(
                      ngx_snorky_service_json(ngx_snorky_call_service(call)),
                      &text, NGX_SNORKY_JSON_ANY_DEPTH, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return (key.len == document->len
            && ngx_memcmp(key.data, document->data, key.len) == 0)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_snorky_cursors_create(ngx_snorky_call_t *call)
{
    ngx_int_t                   rc;
    ngx_str_t                   label;
    ngx_uint_t                  n;
    ngx_snorky_hold_t          *hold;
    ngx_snorky_session_t       *s;
    ngx_snorky_service_t       *service;
    ngx_snorky_cursors_conf_t  *conf;

    s = ngx_snorky_call_session(call);
    service = ngx_snorky_call_service(call);
    conf = ngx_snorky_service_conf(service);

    rc = ngx_snorky_topic_joined(call,
                   ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_CREATE_IN));

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Not joined");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_call_key(call,
                       ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_PRIVATE),
                       &label);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_snorky_hold_find(s, service, &label)) {
        return ngx_snorky_call_error(call, "Reused handle");
    }

    n = 0;

    for (hold = ngx_snorky_hold_first(s, service);
         hold;
         hold = ngx_snorky_hold_next(hold))
    {
        n++;
    }

    if (n >= conf->max_cursors) {
        return ngx_snorky_call_error(call, "Too many cursors");
    }

    for (n = 0; n < NGX_SNORKY_CURSORS_TRIES; n++) {

        rc = ngx_snorky_cursors_try(call, &label);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_ERROR;
}


/* NGX_DECLINED: the public handle is taken */

static ngx_int_t
ngx_snorky_cursors_try(ngx_snorky_call_t *call, ngx_str_t *label)
{
    uint64_t                   handle;
    ngx_int_t                  rc;
    ngx_str_t                  content;
    ngx_snorky_value_t        *document;
    ngx_snorky_record_t        record;
    ngx_snorky_change_t       *change;
    ngx_snorky_cursors_own_t  *own;

    if (ngx_snorky_random(&handle, sizeof(uint64_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    handle &= NGX_SNORKY_CURSORS_HANDLE;

    document = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_CREATE_IN);

    ngx_memzero(&record, sizeof(ngx_snorky_record_t));

    record.set = document;
    record.label = *label;
    record.data_size = sizeof(ngx_snorky_cursors_own_t) + document->text.len;

    record.key.data = ngx_pnalloc(ngx_snorky_call_pool(call), NGX_INT64_LEN);
    if (record.key.data == NULL) {
        return NGX_ERROR;
    }

    record.key.len = ngx_sprintf(record.key.data, "%uL", handle)
                     - record.key.data;

    if (ngx_snorky_cursors_record(call, &record) != NGX_OK
        || ngx_snorky_cursors_removed(call, handle, &document->text,
                                      &record.farewell[0])
           != NGX_OK
        || ngx_snorky_cursors_content(call, &ngx_snorky_cursors_added,
                                      &record.key, &document->text,
                                      &record.value, &content)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_hold(change, &record);

    ngx_snorky_cursors_publish(change, document, &content);

    rc = ngx_snorky_change_commit(change);
    if (rc != NGX_OK) {
        return rc;
    }

    own = ngx_snorky_hold_data(ngx_snorky_change_held(change));

    own->handle = handle;
    own->document = document->text.len;

    ngx_memcpy(own + 1, document->text.data, document->text.len);

    return ngx_snorky_call_reply(call, &record.key);
}


/* its value; the first member is behind others when it is sent */

static ngx_int_t
ngx_snorky_cursors_record(ngx_snorky_call_t *call, ngx_snorky_record_t *record)
{
    ngx_str_t   parts[7], *identity;

    identity = ngx_snorky_session_identity(ngx_snorky_call_session(call));

    if (identity == NULL) {
        /* who has joined has one */
        return NGX_ERROR;
    }

    ngx_str_set(&parts[0], "{\"position\":");
    parts[1] = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_POSITION)->text;
    ngx_str_set(&parts[2], ",\"status\":");
    parts[3] = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_STATUS)->text;
    ngx_str_set(&parts[4], ",\"owner\":");
    parts[5] = *identity;
    ngx_str_set(&parts[6], "}");

    return ngx_snorky_call_concat(call, parts, 7, &record->value);
}


/* {"type":TYPE,"cursor":CURSOR} */

static ngx_int_t
ngx_snorky_cursors_content(ngx_snorky_call_t *call, ngx_str_t *type,
    ngx_str_t *handle, ngx_str_t *document, ngx_str_t *rest,
    ngx_str_t *content)
{
    ngx_str_t  parts[NGX_SNORKY_CURSORS_PARTS + 4], *part;

    ngx_str_set(&parts[0], "{\"type\":\"");
    parts[1] = *type;
    ngx_str_set(&parts[2], "\",\"cursor\":");

    part = ngx_snorky_cursors_parts(&parts[3], handle, document, rest);
    ngx_str_set(part, "}");
    part++;

    return ngx_snorky_call_concat(call, parts, part - parts, content);
}


/*
 * Nobody else changes a cursor: what is read of it in one change still holds
 * in the next.
 */

static ngx_int_t
ngx_snorky_cursors_update(ngx_snorky_call_t *call)
{
    ngx_int_t                  rc;
    ngx_str_t                  cursor, content;
    ngx_uint_t                 n;
    ngx_snorky_hold_t         *hold;
    ngx_snorky_value_t         document;
    ngx_snorky_change_t       *change;
    ngx_snorky_listed_t       *listed;
    ngx_snorky_cursors_own_t  *own;

    rc = ngx_snorky_cursors_find(call, &hold);
    if (rc != NGX_OK) {
        return rc;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_read(change, hold);

    rc = ngx_snorky_change_commit(change);
    if (rc != NGX_OK) {
        return rc;
    }

    listed = ngx_snorky_change_listed(change, &n);
    if (listed == NULL || n == 0) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_cursors_merge(call, &listed[0].value, &cursor);
    if (rc != NGX_OK) {
        return rc;
    }

    own = ngx_snorky_hold_data(hold);

    ngx_memzero(&document, sizeof(ngx_snorky_value_t));

    document.text.data = (u_char *) (own + 1);
    document.text.len = own->document;

    if (ngx_snorky_cursors_content(call, &ngx_snorky_cursors_updated,
                                   &listed[0].key, &document.text, &cursor,
                                   &content)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    change = ngx_snorky_change_begin(call);

    ngx_snorky_change_set(change, hold, &cursor);

    ngx_snorky_cursors_publish(change, &document, &content);

    return ngx_snorky_change_commit(change);
}


/*
 * The value with what newData has of position and status, which are the first
 * two members of the old one.
 */

static ngx_int_t
ngx_snorky_cursors_merge(ngx_snorky_call_t *call, ngx_str_t *old,
    ngx_str_t *cursor)
{
    u_char                  *last;
    ngx_str_t                parts[5], data[2], was[2];
    ngx_uint_t               i;
    ngx_snorky_json_t       *json;
    ngx_snorky_value_t      *new_data;
    ngx_snorky_json_node_t  *root, *node;

    json = ngx_snorky_service_json(ngx_snorky_call_service(call));
    new_data = ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_NEW_DATA);

    if (new_data->type != NGX_SNORKY_JSON_OBJECT) {
        return ngx_snorky_call_error(call, "Invalid params");
    }

    ngx_memzero(data, sizeof(data));

    for (i = 0; i < 2; i++) {

        if (ngx_snorky_json_parse(json, i ? old : &new_data->text,
                                  NGX_SNORKY_JSON_ANY_DEPTH, 1, &root)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        node = ngx_snorky_json_member(json, root,
                                      &ngx_snorky_cursors_position);
        was[0] = node ? node->value.text : (ngx_str_t) ngx_null_string;

        node = ngx_snorky_json_member(json, root, &ngx_snorky_cursors_status);
        was[1] = node ? node->value.text : (ngx_str_t) ngx_null_string;

        if (i == 0) {
            ngx_memcpy(data, was, sizeof(data));
        }
    }

    last = old->data + old->len;

    parts[0].data = old->data;
    parts[0].len = was[0].data - old->data;
    parts[1] = data[0].len ? data[0] : was[0];
    parts[2].data = was[0].data + was[0].len;
    parts[2].len = was[1].data - parts[2].data;
    parts[3] = data[1].len ? data[1] : was[1];
    parts[4].data = was[1].data + was[1].len;
    parts[4].len = last - parts[4].data;

    return ngx_snorky_call_concat(call, parts, 5, cursor);
}


static ngx_int_t
ngx_snorky_cursors_remove(ngx_snorky_call_t *call)
{
    ngx_int_t                  rc;
    ngx_snorky_hold_t         *hold;
    ngx_snorky_value_t         document;
    ngx_snorky_change_t       *change;
    ngx_snorky_cursors_own_t  *own;

    rc = ngx_snorky_cursors_find(call, &hold);
    if (rc != NGX_OK) {
        return rc;
    }

    own = ngx_snorky_hold_data(hold);

    ngx_memzero(&document, sizeof(ngx_snorky_value_t));

    document.text.data = (u_char *) (own + 1);
    document.text.len = own->document;

    change = ngx_snorky_change_begin(call);

    if (ngx_snorky_cursors_release(call, change, hold, &document) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_snorky_change_commit(change);
}


/* by the private handle; NGX_DONE: the caller is told that there is none */

static ngx_int_t
ngx_snorky_cursors_find(ngx_snorky_call_t *call, ngx_snorky_hold_t **hold)
{
    ngx_int_t  rc;
    ngx_str_t  label;

    rc = ngx_snorky_call_key(call,
                       ngx_snorky_call_param(call, NGX_SNORKY_CURSORS_PRIVATE),
                       &label);
    if (rc != NGX_OK) {
        return rc;
    }

    *hold = ngx_snorky_hold_find(ngx_snorky_call_session(call),
                                 ngx_snorky_call_service(call), &label);
    if (*hold == NULL) {
        return ngx_snorky_call_error(call, "No such cursor");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_cursors_release(ngx_snorky_call_t *call,
    ngx_snorky_change_t *change, ngx_snorky_hold_t *hold,
    ngx_snorky_value_t *document)
{
    ngx_str_t                  content;
    ngx_snorky_cursors_own_t  *own;

    own = ngx_snorky_hold_data(hold);

    if (ngx_snorky_cursors_removed(call, own->handle, &document->text,
                                   &content)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_snorky_change_release(change, hold);

    ngx_snorky_cursors_publish(change, document, &content);

    return NGX_OK;
}


static void
ngx_snorky_cursors_publish(ngx_snorky_change_t *change,
    ngx_snorky_value_t *document, ngx_str_t *content)
{
    ngx_snorky_publication_t  publication;

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.key = document;
    publication.parts = content;
    publication.n = 1;
    publication.others = 1;

    ngx_snorky_change_publish(change, &publication);
}


static ngx_int_t
ngx_snorky_cursors_removed(ngx_snorky_call_t *call, uint64_t handle,
    ngx_str_t *document, ngx_str_t *content)
{
    u_char      digits[NGX_INT64_LEN];
    ngx_str_t   parts[5];

    ngx_str_set(&parts[0],
                "{\"type\":\"cursorRemoved\",\"cursor\":{\"publicHandle\":");
    parts[1].data = digits;
    parts[1].len = ngx_sprintf(digits, "%uL", handle) - digits;
    ngx_str_set(&parts[2], ",\"document\":");
    parts[3] = *document;
    ngx_str_set(&parts[4], "}}");

    return ngx_snorky_call_concat(call, parts, 5, content);
}


static char *
ngx_snorky_cursors_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_snorky_cursors_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->max_cursors == 0) {
        conf->max_cursors = NGX_SNORKY_CURSORS_MAX;
    }

    return NGX_CONF_OK;
}
