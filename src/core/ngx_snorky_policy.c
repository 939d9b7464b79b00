
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns what is asked before a call is run, and what follows from the answer.
 * Called by the call, by the answer, and by a session that leaves.  Whatever
 * is not a clear yes or no is a no.
 */


#include "ngx_snorky_policy.h"


/* of what is asked: four for a parameter, and what stands around them */
#define NGX_SNORKY_POLICY_PARTS    (4 * NGX_SNORKY_CALL_PARAMS + 8)

/* how far below the root of an answer the parameters' values lie */
#define NGX_SNORKY_POLICY_KEEP     2


static ngx_snorky_policy_t *ngx_snorky_policy_find(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_policy_begin(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);
static ngx_int_t ngx_snorky_policy_channel(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params, ngx_str_t *channel);
static ngx_snorky_value_t *ngx_snorky_policy_subject(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);
static void ngx_snorky_policy_fill(ngx_snorky_ask_t *ask,
    ngx_snorky_call_t *call, ngx_str_t *command, ngx_str_t *channel);
static ngx_int_t ngx_snorky_policy_evaluate(ngx_snorky_call_t *call,
    ngx_snorky_policy_t *policy, ngx_str_t *channel);
static ngx_int_t ngx_snorky_policy_ask(ngx_snorky_call_t *call,
    ngx_snorky_policy_t *policy, ngx_str_t *channel);
static ngx_uint_t ngx_snorky_policy_body(ngx_snorky_call_t *call,
    ngx_str_t *command, ngx_str_t *parts);
static ngx_uint_t ngx_snorky_policy_object(ngx_snorky_call_t *call,
    ngx_str_t *parts);
static void ngx_snorky_policy_done(ngx_snorky_ask_t *ask);
static void ngx_snorky_policy_hear(ngx_snorky_verdict_t *verdict,
    ngx_snorky_answer_t *answer, ngx_log_t *log);
static ngx_int_t ngx_snorky_policy_judge(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);
static ngx_int_t ngx_snorky_policy_rewrite(ngx_snorky_call_t *call,
    ngx_snorky_verdict_t *verdict);
static ngx_int_t ngx_snorky_policy_read(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *root, ngx_snorky_json_node_t **params,
    ngx_uint_t *drop);
static ngx_int_t ngx_snorky_policy_replace(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params);
static ngx_int_t ngx_snorky_policy_key(ngx_snorky_call_t *call,
    ngx_str_t *channel, ngx_str_t *key);
static ngx_int_t ngx_snorky_policy_known(ngx_snorky_call_t *call,
    ngx_snorky_policy_t *policy, ngx_str_t *channel);
static ngx_int_t ngx_snorky_policy_keep(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params, ngx_uint_t allowed);
static ngx_int_t ngx_snorky_policy_allow(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_policy_refuse(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_policy_fail(ngx_snorky_call_t *call,
    const char *failure, ngx_uint_t status);


/* what a call is about: the first of these that it has */

static ngx_str_t  ngx_snorky_policy_subjects[] = {
    ngx_string("channel"),
    ngx_string("document"),
    ngx_string("name"),
    ngx_string("dest"),
    ngx_null_string
};

static ngx_str_t  ngx_snorky_policy_params = ngx_string("params");
static ngx_str_t  ngx_snorky_policy_drop = ngx_string("drop");


/*
 * A call that must wait for room in the log comes here again: it was allowed,
 * and is only given its new parameters once more.
 */

ngx_int_t
ngx_snorky_policy_check(ngx_snorky_call_t *call, ngx_snorky_json_node_t *params)
{
    ngx_snorky_session_t  *s;

    s = call->session;

    if (ngx_snorky_policy_asks(s)) {
        return NGX_AGAIN;
    }

    if (!s->allowed) {
        return s->verdict ? ngx_snorky_policy_judge(call, params)
                          : ngx_snorky_policy_begin(call, params);
    }

    if (s->verdict && s->verdict->text.len) {
        return ngx_snorky_policy_rewrite(call, s->verdict);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_policy_begin(ngx_snorky_call_t *call, ngx_snorky_json_node_t *params)
{
    ngx_int_t             rc;
    ngx_str_t             channel;
    ngx_snorky_policy_t  *policy;

    policy = ngx_snorky_policy_find(call);

    if (policy == NULL) {
        return NGX_OK;
    }

    rc = ngx_snorky_policy_channel(call, params, &channel);
    if (rc != NGX_OK) {
        return rc;
    }

    if (policy->variable) {
        return ngx_snorky_policy_evaluate(call, policy, &channel);
    }

    if (policy->cache) {
        rc = ngx_snorky_policy_known(call, policy, &channel);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return ngx_snorky_policy_ask(call, policy, &channel);
}


/* the command's own, else the one for all */

static ngx_snorky_policy_t *
ngx_snorky_policy_find(ngx_snorky_call_t *call)
{
    ngx_uint_t             i, own;
    ngx_snorky_policy_t   *any, **policy;

    any = NULL;
    policy = call->service->policies->elts;

    for (i = 0; i < call->service->policies->nelts; i++) {

        if (ngx_snorky_policy_conf_any(policy[i])) {
            any = policy[i];
            continue;
        }

        own = call->command
              ? ngx_snorky_policy_conf_alias(policy[i]->command, call->command)
              : ngx_snorky_policy_conf_equal(&policy[i]->name, &call->name);

        if (own) {
            return policy[i];
        }
    }

    return any;
}


/*
 * NGX_OK, perhaps without one; NGX_DONE: it is too long, and the command would
 * say so.  Where there is no table, any length is the application's own
 * concern.
 */

static ngx_int_t
ngx_snorky_policy_channel(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params, ngx_str_t *channel)
{
    ngx_str_t            key;
    ngx_snorky_json_t   *json;
    ngx_snorky_value_t  *value;

    ngx_str_null(channel);

    value = ngx_snorky_policy_subject(call, params);

    if (value == NULL || value->text.len == 0) {
        return NGX_OK;
    }

    if (call->command) {
        return ngx_snorky_call_key(call, value, channel);
    }

    json = call->session->hub->json;

    if (ngx_snorky_json_key(json, &value->text, NGX_SNORKY_JSON_ANY_DEPTH,
                            &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    channel->data = ngx_pstrdup(call->session->hub->pool, &key);
    channel->len = key.len;

    return channel->data ? NGX_OK : NGX_ERROR;
}


static ngx_snorky_value_t *
ngx_snorky_policy_subject(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params)
{
    ngx_str_t               *name, param;
    ngx_uint_t               i;
    ngx_snorky_json_node_t  *node;

    for (name = ngx_snorky_policy_subjects; name->len; name++) {

        if (call->command) {

            for (i = 0; call->command->params[i].len; i++) {
                param = ngx_snorky_call_param_name(call->command, i);

                if (ngx_snorky_policy_conf_equal(&param, name)) {
                    return &call->params[i];
                }
            }

            continue;
        }

        node = ngx_snorky_json_member(call->session->hub->json, params, name);

        if (node) {
            return &node->value;
        }
    }

    return NULL;
}


static void
ngx_snorky_policy_fill(ngx_snorky_ask_t *ask, ngx_snorky_call_t *call,
    ngx_str_t *command, ngx_str_t *channel)
{
    ask->session = call->session;
    ask->service = call->service->escaped;
    ask->command = *command;
    ask->channel = *channel;
}


static ngx_int_t
ngx_snorky_policy_evaluate(ngx_snorky_call_t *call,
    ngx_snorky_policy_t *policy, ngx_str_t *channel)
{
    ngx_int_t          rc;
    ngx_str_t          command;
    ngx_snorky_ask_t   ask;

    if (ngx_snorky_call_escaped_name(call, &command) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&ask, sizeof(ngx_snorky_ask_t));

    ngx_snorky_policy_fill(&ask, call, &command, channel);

    rc = call->session->hub->asker->evaluate(&ask, policy->variable);

    if (rc == NGX_ERROR) {
        return ngx_snorky_policy_fail(call, "no variable", 0);
    }

    return rc ? ngx_snorky_policy_allow(call) : ngx_snorky_policy_refuse(call);
}


static ngx_int_t
ngx_snorky_policy_ask(ngx_snorky_call_t *call, ngx_snorky_policy_t *policy,
    ngx_str_t *channel)
{
    ngx_str_t              command, parts[NGX_SNORKY_POLICY_PARTS];
    ngx_snorky_ask_t      *ask;
    ngx_snorky_session_t  *s;
    ngx_snorky_verdict_t  *verdict;

    s = call->session;

    if (ngx_snorky_call_escaped_name(call, &command) != NGX_OK) {
        return NGX_ERROR;
    }

    verdict = ngx_calloc(sizeof(ngx_snorky_verdict_t), s->log);
    if (verdict == NULL) {
        return NGX_ERROR;
    }

    verdict->session = s;
    verdict->policy = policy;

    ask = &verdict->ask;

    ngx_snorky_policy_fill(ask, call, &command, channel);

    ask->uri = policy->uri;
    ask->parts = parts;
    ask->n = ngx_snorky_policy_body(call, &command, parts);
    ask->timeout = policy->timeout;
    ask->max_answer = policy->max_answer;
    ask->done = ngx_snorky_policy_done;
    ask->data = verdict;

    if (s->hub->asker->send(ask) != NGX_OK) {
        ngx_free(verdict);
        return NGX_ERROR;
    }

    s->verdict = verdict;

    return NGX_AGAIN;
}


static ngx_uint_t
ngx_snorky_policy_body(ngx_snorky_call_t *call, ngx_str_t *command,
    ngx_str_t *parts)
{
    ngx_str_t  *part;

    part = parts;

    ngx_str_set(part, "{\"command\":\"");
    part++;

    *part++ = *command;

    ngx_str_set(part, "\",\"params\":");
    part++;

    if (call->command) {
        part += ngx_snorky_policy_object(call, part);

    } else {
        *part++ = call->object;
    }

    if (call->id.len) {
        ngx_str_set(part, ",\"callId\":");
        part++;

        *part++ = call->id;
    }

    ngx_str_set(part, "}");
    part++;

    return part - parts;
}


/*
 * The parameters of a table's command as they were taken, so that nobody who
 * reads a repeated name otherwise allows what will not be done.
 */

static ngx_uint_t
ngx_snorky_policy_object(ngx_snorky_call_t *call, ngx_str_t *parts)
{
    ngx_str_t   *part;
    ngx_uint_t   i;

    part = parts;

    ngx_str_set(part, "{");
    part++;

    for (i = 0; call->command->params[i].len; i++) {

        if (call->params[i].text.len == 0) {
            continue;
        }

        if (part == parts + 1) {
            ngx_str_set(part, "\"");

        } else {
            ngx_str_set(part, ",\"");
        }

        part++;

        *part++ = ngx_snorky_call_param_name(call->command, i);

        ngx_str_set(part, "\":");
        part++;

        *part++ = call->params[i].text;
    }

    ngx_str_set(part, "}");
    part++;

    return part - parts;
}


static void
ngx_snorky_policy_done(ngx_snorky_ask_t *ask)
{
    ngx_snorky_session_t  *s;
    ngx_snorky_verdict_t  *verdict;

    verdict = ask->data;
    s = verdict->session;

    ask->inner = NULL;

    ngx_snorky_policy_hear(verdict, &ask->answer, s->log);

    s->ops->resume(s);
}


/* a JSON body is looked at when the call goes on, and the parser is free */

static void
ngx_snorky_policy_hear(ngx_snorky_verdict_t *verdict,
    ngx_snorky_answer_t *answer, ngx_log_t *log)
{
    verdict->status = answer->status;

    if (answer->too_large) {
        verdict->failure = "the answer is too large";
        return;
    }

    if (answer->broken) {
        verdict->failure = "no answer";
        return;
    }

    if (answer->status == 401 || answer->status == 403) {
        return;
    }

    if (answer->status < 200 || answer->status > 299) {
        verdict->failure = "unexpected status";
        return;
    }

    if (answer->type != NGX_SNORKY_ANSWER_JSON || answer->body.len == 0) {
        return;
    }

    verdict->text.data = ngx_alloc(answer->body.len, log);

    if (verdict->text.data == NULL) {
        verdict->failure = "no memory";
        return;
    }

    verdict->text.len = answer->body.len;
    ngx_memcpy(verdict->text.data, answer->body.data, answer->body.len);
}


static ngx_int_t
ngx_snorky_policy_judge(ngx_snorky_call_t *call, ngx_snorky_json_node_t *params)
{
    ngx_int_t              rc;
    ngx_uint_t             allowed;
    ngx_snorky_verdict_t  *verdict;

    verdict = call->session->verdict;

    if (verdict->failure) {
        return ngx_snorky_policy_fail(call, verdict->failure, verdict->status);
    }

    if (verdict->text.len) {
        rc = ngx_snorky_policy_rewrite(call, verdict);

        return (rc == NGX_OK) ? ngx_snorky_policy_allow(call) : rc;
    }

    allowed = verdict->status < 300;

    if (verdict->policy->cache
        && ngx_snorky_policy_keep(call, params, allowed) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return allowed ? ngx_snorky_policy_allow(call)
                   : ngx_snorky_policy_refuse(call);
}


/*
 * The text is copied: the session may leave, and the verdict with it, while
 * the command runs.
 */

static ngx_int_t
ngx_snorky_policy_rewrite(ngx_snorky_call_t *call,
    ngx_snorky_verdict_t *verdict)
{
    ngx_int_t                rc;
    ngx_str_t                text, null;
    ngx_uint_t               drop;
    ngx_snorky_hub_t        *hub;
    ngx_snorky_json_node_t  *root, *params;

    drop = 0;
    params = NULL;
    hub = call->session->hub;

    text.len = verdict->text.len;
    text.data = ngx_pstrdup(hub->pool, &verdict->text);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    hub->parsed++;

    rc = ngx_snorky_json_parse(hub->json, &text,
                               call->session->limits->max_depth,
                               NGX_SNORKY_POLICY_KEEP, &root);
    if (rc == NGX_OK) {
        rc = ngx_snorky_policy_read(hub->json, root, &params, &drop);
    }

    if (rc == NGX_OK && params) {
        rc = ngx_snorky_policy_replace(call, params);
    }

    if (rc == NGX_DECLINED) {
        return ngx_snorky_policy_fail(call, "bad JSON in the answer",
                                      verdict->status);
    }

    if (rc == NGX_OK && drop) {
        hub->stats->authorized++;

        ngx_str_set(&null, "null");
        return ngx_snorky_call_reply(call, &null);
    }

    return rc;
}


/* NGX_DECLINED: it is not what an answer may be */

static ngx_int_t
ngx_snorky_policy_read(ngx_snorky_json_t *json, ngx_snorky_json_node_t *root,
    ngx_snorky_json_node_t **params, ngx_uint_t *drop)
{
    ngx_snorky_json_node_t  *name, *value;

    *params = NULL;
    *drop = 0;

    if (root->value.type != NGX_SNORKY_JSON_OBJECT) {
        return NGX_DECLINED;
    }

    for (name = ngx_snorky_json_child(json, root);
         name;
         name = ngx_snorky_json_next(json, value))
    {
        value = ngx_snorky_json_next(json, name);

        if (ngx_snorky_json_string_is(&name->value, &ngx_snorky_policy_params)
            && value->value.type == NGX_SNORKY_JSON_OBJECT)
        {
            *params = value;

        } else if (ngx_snorky_json_string_is(&name->value,
                                             &ngx_snorky_policy_drop)
                   && (value->value.type == NGX_SNORKY_JSON_TRUE
                       || value->value.type == NGX_SNORKY_JSON_FALSE))
        {
            *drop = (value->value.type == NGX_SNORKY_JSON_TRUE);

        } else {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_policy_replace(ngx_snorky_call_t *call,
    ngx_snorky_json_node_t *params)
{
    ngx_int_t                i;
    ngx_snorky_json_t       *json;
    ngx_snorky_json_node_t  *name, *value;

    if (call->command == NULL) {
        call->object = params->value.text;
        return NGX_OK;
    }

    json = call->session->hub->json;

    for (name = ngx_snorky_json_child(json, params);
         name;
         name = ngx_snorky_json_next(json, value))
    {
        value = ngx_snorky_json_next(json, name);

        i = ngx_snorky_call_place(call->command, &name->value);

        if (i == NGX_DECLINED) {
            return NGX_DECLINED;
        }

        call->params[i] = value->value;
    }

    return NGX_OK;
}


/*
 * For whom and what a verdict counts: what may have any length has its length
 * before it.  Servers may have different applications behind the same uri.
 * NGX_DECLINED: it would be too long to be kept.
 */

static ngx_int_t
ngx_snorky_policy_key(ngx_snorky_call_t *call, ngx_str_t *channel,
    ngx_str_t *key)
{
    ngx_str_t              parts[4];
    ngx_snorky_session_t  *s;

    struct {
        void              *server;
        size_t             identity;
        size_t             name;
    } head;

    s = call->session;

    if (channel->len > s->limits->max_channel_size) {
        return NGX_DECLINED;
    }

    head.server = s->limits->server;
    head.identity = s->identity.len;
    head.name = call->name.len;

    parts[0].data = (u_char *) &head;
    parts[0].len = sizeof(head);
    parts[1] = s->identity;
    parts[2] = call->name;
    parts[3] = *channel;

    return ngx_snorky_call_concat(call, parts, 4, key);
}


/* NGX_DECLINED: the application must be asked */

static ngx_int_t
ngx_snorky_policy_known(ngx_snorky_call_t *call, ngx_snorky_policy_t *policy,
    ngx_str_t *channel)
{
    ngx_int_t          rc;
    ngx_str_t          key;
    ngx_snorky_hub_t  *hub;

    hub = call->session->hub;

    rc = ngx_snorky_policy_key(call, channel, &key);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_snorky_policy_cache_find(policy->cache,
                             ngx_snorky_broker_hash(hub->broker, &key), &key);
    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    hub->stats->authorized_cached++;

    return rc ? ngx_snorky_policy_allow(call) : ngx_snorky_policy_refuse(call);
}


static ngx_int_t
ngx_snorky_policy_keep(ngx_snorky_call_t *call, ngx_snorky_json_node_t *params,
    ngx_uint_t allowed)
{
    ngx_int_t             rc;
    ngx_str_t             channel, key;
    ngx_snorky_hub_t     *hub;
    ngx_snorky_policy_t  *policy;

    hub = call->session->hub;
    policy = call->session->verdict->policy;

    rc = ngx_snorky_policy_channel(call, params, &channel);

    if (rc == NGX_OK) {
        rc = ngx_snorky_policy_key(call, &channel, &key);
    }

    if (rc == NGX_OK) {
        ngx_snorky_policy_cache_keep(policy->cache,
                             ngx_snorky_broker_hash(hub->broker, &key), &key,
                             allowed, policy->keep);
    }

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_snorky_policy_allow(ngx_snorky_call_t *call)
{
    call->session->allowed = 1;
    call->session->hub->stats->authorized++;

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_policy_refuse(ngx_snorky_call_t *call)
{
    call->session->hub->stats->unauthorized++;

    return ngx_snorky_call_error(call, "Not authorized");
}


static ngx_int_t
ngx_snorky_policy_fail(ngx_snorky_call_t *call, const char *failure,
    ngx_uint_t status)
{
    ngx_str_t              command;
    ngx_snorky_session_t  *s;

    s = call->session;

    if (ngx_snorky_call_escaped_name(call, &command) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ERR, s->log, 0,
                  "authorization of command \"%V\" of service \"%V\" failed: "
                  "%s, status %ui",
                  &command, &call->service->name, failure, status);

    s->hub->stats->unauthorized++;

    return ngx_snorky_call_error(call, "Authorization failed");
}


void
ngx_snorky_policy_forget(ngx_snorky_session_t *s)
{
    ngx_snorky_verdict_t  *verdict;

    verdict = s->verdict;

    s->verdict = NULL;
    s->allowed = 0;

    if (verdict == NULL) {
        return;
    }

    if (verdict->ask.inner) {
        s->hub->asker->cancel(&verdict->ask);
    }

    if (verdict->text.data) {
        ngx_free(verdict->text.data);
    }

    ngx_free(verdict);
}
