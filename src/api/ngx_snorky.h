
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The public header: what a service is made of.
 *
 * A service type is a table of commands with short functions.  It owns no
 * memory and knows no transport: who is connected, who listens to what and
 * what must be cleaned up when a client goes is kept by the core.
 *
 * Everything here runs in one worker's event loop and never blocks.  All
 * texts are UTF-8 JSON, (pointer, length), not terminated.  A pointer that
 * a handler gets is valid until the handler returns, and no longer.  What a
 * function is given is copied, or used up, before it returns, unless it is
 * said that it must live longer.  Sizes are in bytes, times in milliseconds.
 *
 * When a function may be called stands with it or at the head of its group:
 *
 *   in the configuration  from the preconfiguration to the end of init()
 *   in the worker         from open() to close(), at any moment
 *   for a call            by the command, or call(), that was given it; for a
 *                         deferred call also by answered(), by an event of
 *                         the service's own, and by another command
 *
 * In heard(), released(), cancelled(), connected() and disconnected() the core
 * is in the midst of something: no change, no publication, no joining or
 * leaving, no question.  Post an event for it.
 *
 * How to write a module with a type is told in docs/service-types.md.
 */


#ifndef _NGX_SNORKY_H_INCLUDED_
#define _NGX_SNORKY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Grows with every change of this header after which modules must be compiled
 * again; another field of the type is such a change.
 */

#define NGX_SNORKY_API_VERSION  1


typedef struct ngx_snorky_service_s       ngx_snorky_service_t;
typedef struct ngx_snorky_service_type_s  ngx_snorky_service_type_t;
typedef struct ngx_snorky_session_s       ngx_snorky_session_t;
typedef struct ngx_snorky_call_s          ngx_snorky_call_t;
typedef struct ngx_snorky_command_s       ngx_snorky_command_t;
typedef struct ngx_snorky_option_s        ngx_snorky_option_t;
typedef struct ngx_snorky_hold_s          ngx_snorky_hold_t;
typedef struct ngx_snorky_change_s        ngx_snorky_change_t;
typedef struct ngx_snorky_feed_s          ngx_snorky_feed_t;
typedef struct ngx_snorky_notice_s        ngx_snorky_notice_t;
typedef struct ngx_snorky_json_s          ngx_snorky_json_t;
typedef struct ngx_snorky_answer_s        ngx_snorky_answer_t;


typedef enum {
    NGX_SNORKY_JSON_NULL = 0,
    NGX_SNORKY_JSON_FALSE,
    NGX_SNORKY_JSON_TRUE,
    NGX_SNORKY_JSON_NUMBER,
    NGX_SNORKY_JSON_STRING,
    NGX_SNORKY_JSON_ARRAY,
    NGX_SNORKY_JSON_OBJECT
} ngx_snorky_json_e;


/*
 * A JSON value as it was sent: a slice of the client's text, valid JSON.  An
 * empty text: it is not there, and the type says nothing.
 */

typedef struct {
    ngx_str_t                 text;
    ngx_snorky_json_e         type;
} ngx_snorky_value_t;


/*
 * A command's function.  Returns
 *
 *   NGX_OK      done: the core answers {"data":null}
 *   NGX_DONE    answered already, by ngx_snorky_call_reply() or _error(), or
 *               later, see ngx_snorky_call_defer()
 *   NGX_AGAIN   the log is full and nothing has been done: the connection
 *               waits, and the command is run again from its start, with the
 *               same message, as if it had just come
 *   NGX_ERROR   our own failure: the core logs it and answers "Internal error"
 *
 * A command has no more than eight parameters, which are needed if there is no
 * "?" before their name: the core answers "Invalid params" otherwise.  Both
 * tables end with an empty name.
 */

typedef ngx_int_t (*ngx_snorky_command_pt)(ngx_snorky_call_t *call);

struct ngx_snorky_command_s {
    ngx_str_t                 name;
    ngx_str_t                *params;   /* "?name": optional; null ends */
    ngx_snorky_command_pt     handler;
};

#define ngx_snorky_null_command  { ngx_null_string, NULL, NULL }


/*
 * An option of "snorky_service TYPE NAME option=value": set() stores the
 * value at offset in the service's configuration and returns NGX_CONF_OK,
 * or a text that says what is wrong with it, or NGX_CONF_ERROR when it has
 * logged that.  The value lives as long as the configuration.  An option that
 * is given twice is set twice.
 */

typedef char *(*ngx_snorky_option_pt)(ngx_conf_t *cf,
    ngx_snorky_service_t *service, ngx_snorky_option_t *option,
    ngx_str_t *value);

struct ngx_snorky_option_s {
    ngx_str_t                 name;
    ngx_snorky_option_pt      set;
    ngx_uint_t                offset;
    void                     *post;
};

#define ngx_snorky_null_option  { ngx_null_string, NULL, 0, NULL }

/* to an ngx_uint_t; post is an ngx_conf_enum_t[] */
char *ngx_snorky_option_enum(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);

/* to an ngx_uint_t, a size_t, an ngx_msec_t; greater than zero */
char *ngx_snorky_option_number(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);
char *ngx_snorky_option_size(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);
char *ngx_snorky_option_msec(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);

/*
 * To an ngx_snorky_service_t *, known when init() runs: NAME or REGISTRY/NAME;
 * post is its type, bundled or registered.
 */
char *ngx_snorky_option_service(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);


struct ngx_snorky_service_type_s {
    ngx_uint_t                version;  /* NGX_SNORKY_API_VERSION */
    ngx_str_t                 name;     /* TYPE in "snorky_service TYPE NAME" */

    /* one of commands, message and call (below) is not NULL */

    ngx_snorky_command_t     *commands; /* of an RPC service */

    /*
     * A service that is no RPC service gets every message's content as it
     * came.  Returns NGX_OK, NGX_AGAIN (as above) or NGX_ERROR.
     */
    ngx_int_t               (*message)(ngx_snorky_service_t *service,
                                       ngx_snorky_session_t *s,
                                       ngx_snorky_value_t *content);

    ngx_snorky_option_t      *options;  /* or NULL */
    size_t                    conf_size;

    /*
     * Runs when all of http{} has been read; the configuration's bytes were
     * zero before the options were set.  Returns as an option's set() does.
     * What must live as long as the configuration is in cf->pool.
     */
    char                   *(*init)(ngx_conf_t *cf,
                                    ngx_snorky_service_t *service);

    /*
     * "snorky_dealer SERVICE NAME ..." names this service: the arguments
     * behind SERVICE, before init() runs.  NGX_CONF_OK or a text.
     */
    char                   *(*dealer)(ngx_conf_t *cf,
                                      ngx_snorky_service_t *service,
                                      ngx_str_t *args, ngx_uint_t n);

    /*
     * A worker begins and ends; state_size bytes were zeroed before.  open()
     * returns NGX_OK, or NGX_ERROR: the worker does not start.  Before close()
     * all clients have left.  Neither of them runs for "nginx -t".
     */
    size_t                    state_size;
    ngx_int_t               (*open)(ngx_snorky_service_t *service);
    void                    (*close)(ngx_snorky_service_t *service);

    /*
     * A text of a feed that this service has opened in this worker.  NGX_OK,
     * or NGX_ERROR: it is lost here, so that all sessions of the worker are
     * closed, rather than have a gap that they do not know of.  It may be
     * called while a command of this service makes a change.
     */
    ngx_int_t               (*heard)(ngx_snorky_service_t *service,
                                     void *data, ngx_str_t *text);

    /*
     * A hold has ended, released or with its session; it is freed next.  Not
     * in a worker that dies.
     */
    void                    (*released)(ngx_snorky_service_t *service,
                                        ngx_snorky_hold_t *hold);

    /*
     * Instead of "commands": an RPC service that takes any command.  Returns
     * as a command's function does.
     */
    ngx_snorky_command_pt     call;

    /*
     * A deferred call has ended without an answer of the service: its client
     * has left, or its time has passed.  It is freed next, and an answer that
     * is given it now is not sent.  A call that is being answered has ended,
     * and is not cancelled any more, even if its client leaves meanwhile.
     */
    void                    (*cancelled)(ngx_snorky_call_t *call);

    /*
     * The application's answer to ngx_snorky_call_ask(), valid until this
     * returns.  The call is still to be answered, now or later; it may ask
     * once more.
     */
    void                    (*answered)(ngx_snorky_call_t *call,
                                        ngx_snorky_answer_t *answer);

    /*
     * A client of the service's registry has come, or goes: it may be sent
     * something at the one, at the other no more.  A backend's requests are no
     * clients.  At disconnected() its deferred calls have been cancelled, and
     * it holds still what it had.
     */
    void                    (*connected)(ngx_snorky_service_t *service,
                                         ngx_snorky_session_t *s);
    void                    (*disconnected)(ngx_snorky_service_t *service,
                                            ngx_snorky_session_t *s);

    /* its topics are channels, of which the application may get events */
    ngx_uint_t                channels;
};

/*
 * Makes a type known, in the preconfiguration of another HTTP module: then
 * "snorky_service TYPE NAME" has it, in http{} and in any registry.  The type
 * and all that it points to must live as long as that module does: both are
 * static data.  Nothing of it is ever written to.
 *
 * Returns NGX_OK; or NGX_ERROR, and why has been logged: the preconfiguration
 * is to return it, so that nginx does not start.
 *
 * Version and name are taken out of the type where it was compiled: a type of
 * another version, whatever it looks like, is refused with its name, and not
 * looked at.
 */

#define ngx_snorky_service_type_add(cf, type)                                 \
    ngx_snorky_service_type_register(cf, (type)->version, &(type)->name, type)

ngx_int_t ngx_snorky_service_type_register(ngx_conf_t *cf,
    ngx_uint_t version, ngx_str_t *name, ngx_snorky_service_type_t *type);

/* At any time: the service's configuration, conf_size bytes. */
void *ngx_snorky_service_conf(ngx_snorky_service_t *service);

/* In the worker: what the service keeps in it, state_size bytes. */
void *ngx_snorky_service_state(ngx_snorky_service_t *service);

/*
 * In the worker: its parser, which the core uses, too.  What it was given last
 * is gone with the next function of this header that takes a call.
 */
ngx_snorky_json_t *ngx_snorky_service_json(ngx_snorky_service_t *service);

/* at any time: its name, as it is configured */
ngx_str_t *ngx_snorky_service_name(ngx_snorky_service_t *service);

/* in the worker: for what concerns no single client */
ngx_log_t *ngx_snorky_service_log(ngx_snorky_service_t *service);


/* The call that a command's function was given, or a deferred one. */

ngx_snorky_service_t *ngx_snorky_call_service(ngx_snorky_call_t *call);
ngx_snorky_session_t *ngx_snorky_call_session(ngx_snorky_call_t *call);

/*
 * The value of the n-th name in the command's params; never NULL.  Its text is
 * empty if the parameter is optional and not there, and for a deferred call.
 */
ngx_snorky_value_t *ngx_snorky_call_param(ngx_snorky_call_t *call,
    ngx_uint_t n);

/* the command's name, decoded: UTF-8, perhaps with control characters */
ngx_str_t *ngx_snorky_call_name(ngx_snorky_call_t *call);

/* all params, the text of a JSON object; empty for a deferred call */
ngx_str_t *ngx_snorky_call_params(ngx_snorky_call_t *call);

/* the callId, JSON; empty: none */
ngx_str_t *ngx_snorky_call_id(ngx_snorky_call_t *call);

/*
 * The canonical key of a parameter (see ngx_snorky_json_key() below), in the
 * call's pool.  NGX_OK, NGX_DONE (answered: it is too long), NGX_ERROR.
 */

ngx_int_t ngx_snorky_call_key(ngx_snorky_call_t *call,
    ngx_snorky_value_t *param, ngx_str_t *key);

/*
 * For what is built while the call runs; emptied when the message, or the
 * event in which a deferred call is dealt with, has been handled.
 */
ngx_pool_t *ngx_snorky_call_pool(ngx_snorky_call_t *call);

/* the concatenation of n parts, in the call's pool; NGX_OK or NGX_ERROR */
ngx_int_t ngx_snorky_call_concat(ngx_snorky_call_t *call, ngx_str_t *parts,
    ngx_uint_t n, ngx_str_t *text);

/*
 * Answer the call, once: data is JSON, text is what stands between the quotes
 * of a JSON string, terminated by a zero byte for error().  NGX_DONE, whatever
 * becomes of the answer.  A deferred call is freed; its client may have left
 * then, and with it all that it held and all its other calls.
 */

ngx_int_t ngx_snorky_call_reply(ngx_snorky_call_t *call, ngx_str_t *data);
ngx_int_t ngx_snorky_call_error(ngx_snorky_call_t *call, const char *text);
ngx_int_t ngx_snorky_call_fail(ngx_snorky_call_t *call, ngx_str_t *text);


/*
 * A call that is answered later.  Of the call that the command was given, the
 * new one keeps the session, the service, the command's name and the id, but
 * no parameters; it is the service's until it has been answered, as any call
 * is, or until cancelled() returns, and is freed then.  In "timeout" ms the
 * core answers "Timed out".
 *
 *   NGX_OK     *deferred; the command returns NGX_DONE
 *   NGX_DONE   answered: "Too many calls" of this client, or it has left
 *   NGX_ERROR  no memory
 */

ngx_int_t ngx_snorky_call_defer(ngx_snorky_call_t *call, ngx_msec_t timeout,
    size_t size, ngx_snorky_call_t **deferred);

/* a deferred call's "size" bytes, zero at first; NULL for another call */
void *ngx_snorky_call_data(ngx_snorky_call_t *call);


/*
 * Asks the application, for a deferred call, one question at a time: a POST to
 * a location of the server{} that the client has connected to, "internal" as a
 * rule.  Besides the body it gets headers with service, command, client id,
 * identity and remote address.  The question's texts need not outlive the
 * function.  answered() is called, never before ask() has returned, unless the
 * call ends first.  NGX_OK, NGX_ERROR: no memory.
 */

typedef struct {
    ngx_str_t                 uri;          /* "/path", "/path?args" */
    ngx_str_t                *parts;        /* their concatenation is sent */
    ngx_uint_t                n;
    size_t                    max_answer;   /* bytes */
} ngx_snorky_question_t;

typedef enum {
    NGX_SNORKY_ANSWER_OTHER = 0,
    NGX_SNORKY_ANSWER_JSON,     /* application/json, or ...+json: unchecked */
    NGX_SNORKY_ANSWER_TEXT      /* text/plain */
} ngx_snorky_answer_e;

struct ngx_snorky_answer_s {
    ngx_uint_t                status;       /* of HTTP */
    ngx_snorky_answer_e       type;
    ngx_str_t                 body;
    unsigned                  broken:1;     /* none, or not all: 502, 504 */
    unsigned                  too_large:1;  /* likewise, for max_answer */
};

ngx_int_t ngx_snorky_call_ask(ngx_snorky_call_t *call,
    ngx_snorky_question_t *question);


/*
 * The client: of a call, or between connected() and the end of disconnected().
 * Its identity is a JSON string with its quotes, or NULL; it lives as long.
 */

ngx_str_t *ngx_snorky_session_identity(ngx_snorky_session_t *s);

/*
 * A name of its own that no other client has or had, on any worker, for the
 * application to speak of it: hexadecimal digits and a hyphen.  Writes at most
 * NGX_SNORKY_CLIENT_LEN bytes, and returns the end.
 */

#define NGX_SNORKY_CLIENT_LEN  (2 * 16 + 1)

u_char *ngx_snorky_session_client(ngx_snorky_session_t *s, u_char *p);

/*
 * {"service": the service's name, "message": content} to this client, as the
 * answer to the message that message() was given, and during it.  NGX_OK, or
 * NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_session_answer(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *content);


/*
 * In the worker: a message to its clients, unasked: {service, message} with
 * the concatenation of n parts as its content, built once for all of them.
 * NULL: no memory.  Who has made it frees it, when it has been sent to all.
 * Sending never fails; a client that does not read is closed by the core, and
 * has left when send() returns.  It is outside of the log's order.
 */

ngx_snorky_notice_t *ngx_snorky_notice_create(ngx_snorky_service_t *service,
    ngx_str_t *parts, ngx_uint_t n);
void ngx_snorky_notice_send(ngx_snorky_notice_t *notice,
    ngx_snorky_session_t *s);
void ngx_snorky_notice_free(ngx_snorky_notice_t *notice);


/*
 * Topics: the clients of one service, on all workers, that share a key.  A
 * key is any JSON value and is compared by value.  Disconnection leaves all.
 *
 * A limit of the core that is hit is answered by the core: then NGX_DONE is
 * returned, as it is by ngx_snorky_call_error(), and is to be passed on; so it
 * is when the client has left meanwhile.  A deferred call has ended then.
 * NGX_ERROR: no memory.
 *
 *   join      NGX_OK, NGX_DECLINED when the caller is in the topic already
 *   leave     NGX_OK, NGX_DECLINED when it is not
 *   joined    likewise, and nothing is changed
 *   publish   NGX_OK when every client in the topic will get the content;
 *             those on this worker have it already.  NGX_AGAIN as above; a
 *             deferred call is not run again: try later, or answer it.
 */

typedef struct {
    ngx_snorky_service_t     *service;  /* whose topic; NULL: the call's */
    ngx_snorky_value_t       *key;
    ngx_str_t                *parts;    /* their concatenation is sent */
    ngx_uint_t                n;
    ngx_str_t                *identity; /* only to its clients; NULL: to all */
    unsigned                  others:1; /* not to the caller */
    unsigned                  first:1;  /* only if the change's hold is ... */
    unsigned                  last:1;   /* ... the record's first (last) one */
} ngx_snorky_publication_t;

ngx_int_t ngx_snorky_topic_join(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_topic_leave(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_topic_joined(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_topic_publish(ngx_snorky_call_t *call,
    ngx_snorky_publication_t *publication);


/*
 * Single clients.  Those of a registry can be reached, on whatever worker they
 * are, if a service asks for it: want() is called in init(), for any service
 * of that registry.
 *
 * A letter goes to one client, named as ngx_snorky_session_client() does it,
 * or else to all of an identity.  It is a message of "service", of whose
 * registry they are; or, if n is 0, it closes them with this code and reason.
 * It has its place in the order of all that is published.  send() returns as
 * ngx_snorky_topic_publish() does, also when there is no such client.
 */

typedef struct {
    ngx_snorky_service_t     *service;
    ngx_str_t                *client;   /* NULL: to the identity */
    ngx_str_t                *identity; /* the canonical key of a string */
    ngx_str_t                *parts;    /* their concatenation is sent */
    ngx_uint_t                n;
    ngx_uint_t                code;     /* of WebSocket, 1000 to 4999 */
    ngx_str_t                 reason;   /* at most 123 bytes, no zero byte */
} ngx_snorky_letter_t;

void ngx_snorky_reach_want(ngx_snorky_service_t *service);

ngx_int_t ngx_snorky_reach_send(ngx_snorky_call_t *call,
    ngx_snorky_letter_t *letter);


/*
 * Records: facts on which all workers agree.  A record has a key that is
 * unique in its set, and a value.  It is held by clients, by one or, if it is
 * shared, by many, and vanishes with the last hold: when it is released, when
 * the client has gone, or when its worker has died.
 *
 * What was not released says farewell to the topic of the set's key: the
 * content farewell[0] or, if there is a farewell[1], that, the time, and this.
 */

typedef struct {
    ngx_snorky_value_t       *set;      /* NULL: the service's only one */
    ngx_str_t                 key;      /* any bytes */
    ngx_str_t                 value;
    ngx_str_t                 farewell[2];
    ngx_str_t                 label;    /* by which the client finds its hold */
    size_t                    data_size;
    unsigned                  shared:1;
} ngx_snorky_record_t;

/*
 * A client's hold: what it keeps of a record in this worker, until released()
 * has returned.  "data" has data_size bytes, zero at first, which are the
 * service's to write.  find() and the walk return NULL for none; of several
 * with one label, find() returns one.
 */

ngx_snorky_hold_t *ngx_snorky_hold_find(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *label);
ngx_snorky_hold_t *ngx_snorky_hold_first(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service);
ngx_snorky_hold_t *ngx_snorky_hold_next(ngx_snorky_hold_t *hold);
ngx_snorky_session_t *ngx_snorky_hold_session(ngx_snorky_hold_t *hold);
void *ngx_snorky_hold_data(ngx_snorky_hold_t *hold);


/*
 * A change of the shared facts together with what is published of it: the
 * steps are gathered, and committed at once, all or none, in their order.
 * The order of changes is the order of what is published, on all workers.
 *
 * A worker makes one change at a time: begin() ends what there was of another,
 * also of what it listed.  Steps return nothing: what is wrong with one is told
 * by commit().  Texts must live until then; keys are copied.  For a call.
 *
 *   join, leave   the caller is in the topic from here on (until here)
 *   publish       as above
 *   feed          a text for those workers where the service has opened the
 *                 feed of this name
 *   hold          the caller holds a record; a change has one such step
 *   release       ... no longer
 *   set           the record has another value
 *   need          there must be such a record
 *   list          all records of the set, as they are after the change
 *   read          this one record
 *
 * A record may wait, without a hold, for the client that comes to claim it,
 * and what is kept meanwhile is handed over to it:
 *
 *   await         a record (its set, key and value) that waits for so many
 *                 milliseconds, for what is kept under the bits of its mask
 *   keep          a text for the records of the service that wait for this
 *                 bit; when all that is kept for a service takes more than
 *                 "most" bytes, those who have waited longest are revoked
 *   peek          it is listed, if it waits still
 *   claim         the caller holds it from here on; listed are the texts
 *                 that were kept since it began to wait
 *
 * commit() returns
 *
 *   NGX_OK        done; the clients of this worker have got what was
 *                 published before the change and by it, and nothing later
 *   NGX_DECLINED  nothing was done: joined already, not joined, the record
 *                 is held (reason TAKEN), or there is none (MISSING)
 *   NGX_DONE      answered by the core: a limit was hit; or the client has
 *                 left, perhaps after the change was made.  A deferred call
 *                 has ended then
 *   NGX_AGAIN, NGX_ERROR   as above; nothing was done
 *
 * Then reason() tells why it was declined, held() is the caller's hold (NULL:
 * none), and listed() has n records or texts, in the call's pool, in no order
 * but that of their steps (NULL: no memory).
 */

typedef enum {
    NGX_SNORKY_MISSING = 1,
    NGX_SNORKY_TAKEN,
    NGX_SNORKY_JOINED,
    NGX_SNORKY_NOT_JOINED
} ngx_snorky_reason_e;

typedef struct {
    ngx_str_t                 key;
    ngx_str_t                 value;
} ngx_snorky_listed_t;

ngx_snorky_change_t *ngx_snorky_change_begin(ngx_snorky_call_t *call);

void ngx_snorky_change_join(ngx_snorky_change_t *change,
    ngx_snorky_value_t *key);
void ngx_snorky_change_leave(ngx_snorky_change_t *change,
    ngx_snorky_value_t *key);
void ngx_snorky_change_publish(ngx_snorky_change_t *change,
    ngx_snorky_publication_t *publication);
void ngx_snorky_change_feed(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_str_t *name, ngx_str_t *parts,
    ngx_uint_t n);

void ngx_snorky_change_hold(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record);
void ngx_snorky_change_release(ngx_snorky_change_t *change,
    ngx_snorky_hold_t *hold);
void ngx_snorky_change_set(ngx_snorky_change_t *change,
    ngx_snorky_hold_t *hold, ngx_str_t *value);
void ngx_snorky_change_need(ngx_snorky_change_t *change,
    ngx_snorky_value_t *set, ngx_str_t *key);
void ngx_snorky_change_list(ngx_snorky_change_t *change,
    ngx_snorky_value_t *set);
void ngx_snorky_change_read(ngx_snorky_change_t *change,
    ngx_snorky_hold_t *hold);

void ngx_snorky_change_await(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_snorky_record_t *record,
    uint64_t mask, ngx_msec_t timeout);
void ngx_snorky_change_keep(ngx_snorky_change_t *change,
    ngx_snorky_service_t *service, ngx_uint_t bit, ngx_str_t *parts,
    ngx_uint_t n, size_t most);
void ngx_snorky_change_peek(ngx_snorky_change_t *change, ngx_str_t *key);
void ngx_snorky_change_claim(ngx_snorky_change_t *change,
    ngx_snorky_record_t *record);

ngx_int_t ngx_snorky_change_commit(ngx_snorky_change_t *change);

ngx_snorky_reason_e ngx_snorky_change_reason(ngx_snorky_change_t *change);
ngx_snorky_hold_t *ngx_snorky_change_held(ngx_snorky_change_t *change);
ngx_snorky_listed_t *ngx_snorky_change_listed(ngx_snorky_change_t *change,
    ngx_uint_t *n);

/*
 * Answers the call with their values, with commas between them, and what is
 * before and after.  NGX_DONE; NGX_ERROR: no memory, it is not answered.
 */
ngx_int_t ngx_snorky_call_reply_list(ngx_snorky_call_t *call,
    const char *before, ngx_snorky_listed_t *listed, ngx_uint_t n,
    const char *after);


/*
 * Feeds: texts from service to service, on all workers.  In the worker, but
 * not in heard(): from open() on, the type's heard(), which it must have, gets
 * what is published, with "data", until close().  NULL: no memory.  A service
 * opens a feed once; its name is any bytes, of this service alone.
 */

ngx_snorky_feed_t *ngx_snorky_feed_open(ngx_snorky_service_t *service,
    ngx_str_t *name, void *data);
void ngx_snorky_feed_close(ngx_snorky_feed_t *feed);


/*
 * JSON (RFC 8259), parsed strictly into slices of the source text.  A node is
 * a value with its place in the document; an object's children alternate:
 * name (a string), value, name, value ...
 */

typedef struct {
    ngx_snorky_value_t        value;
    uint32_t                  child;    /* index of the first child, 0: none */
    uint32_t                  next;     /* index of the next sibling, 0: none */
} ngx_snorky_json_node_t;

/*
 * A parser of one's own, at any time, with its node and scratch memory, for
 * one document after another.  NULL: no memory.
 */

ngx_snorky_json_t *ngx_snorky_json_create(void);
void ngx_snorky_json_destroy(ngx_snorky_json_t *json);

/*
 * Parses exactly one JSON text.  Arrays and objects may nest to max_depth
 * (an array of numbers has depth 1, a number has depth 0).  Nodes are kept
 * for values whose own depth below the root is at most "keep" (the root is
 * at 0); what lies deeper is checked, and found in the text of its ancestor.
 * The text must outlive the nodes; the nodes live until the next parse.
 *
 *   NGX_OK        *root is the document
 *   NGX_DECLINED  no JSON, not UTF-8, or nested too deeply
 *   NGX_ERROR     no memory
 */

#define NGX_SNORKY_JSON_KEEP_ALL   ((ngx_uint_t) -1)

/* for a text that has been parsed before: its depth was within a limit */
#define NGX_SNORKY_JSON_ANY_DEPTH  ((ngx_uint_t) 65536)

ngx_int_t ngx_snorky_json_parse(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_uint_t keep, ngx_snorky_json_node_t **root);

/* the first child, the next sibling; NULL after the last */
ngx_snorky_json_node_t *ngx_snorky_json_child(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node);
ngx_snorky_json_node_t *ngx_snorky_json_next(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *node);

/*
 * The value of an object's member; of duplicates the last.  NULL when there
 * is none, or when the node is no object.  Escapes in names are understood:
 * "\u0061" is the member a.
 */

ngx_snorky_json_node_t *ngx_snorky_json_member(ngx_snorky_json_t *json,
    ngx_snorky_json_node_t *object, ngx_str_t *name);

/* whether a string value (with its quotes, perhaps escapes) means "text" */
ngx_uint_t ngx_snorky_json_string_is(ngx_snorky_value_t *value,
    ngx_str_t *text);

/*
 * The canonical key of a valid JSON text: two texts have the same bytes as
 * their key if and only if they mean the same value (protocol: JSON entities
 * as keys).  Numbers compare by exact decimal value, whatever their exponent;
 * object members are sorted, of duplicates the last counts; an unpaired
 * surrogate escape equals only itself.  The key lies in the text itself or in
 * the parser's scratch memory, until the next call.
 *
 *   NGX_OK, NGX_DECLINED (as for parse), NGX_ERROR (no memory)
 */

ngx_int_t ngx_snorky_json_key(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_uint_t max_depth, ngx_str_t *key);

/*
 * The order of two values, given by their canonical keys: < 0, 0, > 0.  By
 * type: null, false, true, numbers by value, strings by code point, arrays
 * and objects by the bytes of their keys.
 */

ngx_int_t ngx_snorky_json_compare(ngx_str_t *one, ngx_str_t *two);

/*
 * The characters of a string value as UTF-8, at p, which has room for as many
 * bytes as the value's text; an unpaired surrogate is U+FFFD.  Returns the end.
 */

u_char *ngx_snorky_json_string(ngx_snorky_value_t *value, u_char *p);


/* cryptographically random bytes, at most 256; NGX_OK, NGX_ERROR */
ngx_int_t ngx_snorky_random(void *p, size_t size);

/*
 * The time now as a JSON string, ISO 8601 with microseconds and offset:
 * "2026-11-24T10:15:30.123456+01:00".  Writes NGX_SNORKY_TIME_LEN bytes, and
 * returns the end.
 */

#define NGX_SNORKY_TIME_LEN                                                   \
    (sizeof("\"2026-11-24T10:15:30.123456+01:00\"") - 1)

u_char *ngx_snorky_time(u_char *p);


#endif /* _NGX_SNORKY_H_INCLUDED_ */
