
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
 * a handler gets is valid until the handler returns, and no longer.
 */


#ifndef _NGX_SNORKY_H_INCLUDED_
#define _NGX_SNORKY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* grows with every incompatible change of this header */
#define NGX_SNORKY_API_VERSION  1


typedef struct ngx_snorky_service_s       ngx_snorky_service_t;
typedef struct ngx_snorky_service_type_s  ngx_snorky_service_type_t;
typedef struct ngx_snorky_session_s       ngx_snorky_session_t;
typedef struct ngx_snorky_call_s          ngx_snorky_call_t;
typedef struct ngx_snorky_command_s       ngx_snorky_command_t;
typedef struct ngx_snorky_option_s        ngx_snorky_option_t;


typedef enum {
    NGX_SNORKY_JSON_NULL = 0,
    NGX_SNORKY_JSON_FALSE,
    NGX_SNORKY_JSON_TRUE,
    NGX_SNORKY_JSON_NUMBER,
    NGX_SNORKY_JSON_STRING,
    NGX_SNORKY_JSON_ARRAY,
    NGX_SNORKY_JSON_OBJECT
} ngx_snorky_json_e;


/* A JSON value as it was sent: a slice of the client's text. */

typedef struct {
    ngx_str_t                 text;
    ngx_snorky_json_e         type;
} ngx_snorky_value_t;


/*
 * A command's function.  Returns
 *
 *   NGX_OK      done: the core answers {"data":null}
 *   NGX_DONE    answered already, by ngx_snorky_call_reply() or _error()
 *   NGX_AGAIN   the log is full and nothing has been done: the connection
 *               waits, and the command is run again from its start
 *   NGX_ERROR   our own failure: the core answers "Internal error"
 */

typedef ngx_int_t (*ngx_snorky_command_pt)(ngx_snorky_call_t *call);

struct ngx_snorky_command_s {
    ngx_str_t                 name;
    ngx_str_t                *params;   /* all required; ngx_null_string ends */
    ngx_snorky_command_pt     handler;
};

#define ngx_snorky_null_command  { ngx_null_string, NULL, NULL }


/*
 * An option of "snorky_service TYPE NAME option=value": set() stores the
 * value at offset in the service's configuration and returns NGX_CONF_OK,
 * or a text that says what is wrong with it.
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

/* to an ngx_snorky_service_t *, known when init() runs; post is the type */
char *ngx_snorky_option_service(ngx_conf_t *cf, ngx_snorky_service_t *service,
    ngx_snorky_option_t *option, ngx_str_t *value);


struct ngx_snorky_service_type_s {
    ngx_uint_t                version;  /* NGX_SNORKY_API_VERSION */
    ngx_str_t                 name;     /* TYPE in "snorky_service TYPE NAME" */

    ngx_snorky_command_t     *commands; /* an RPC service, or NULL */

    /*
     * A service without commands gets every message's content as it came.
     * Returns NGX_OK, NGX_AGAIN (as above) or NGX_ERROR.
     */
    ngx_int_t               (*message)(ngx_snorky_service_t *service,
                                       ngx_snorky_session_t *s,
                                       ngx_snorky_value_t *content);

    ngx_snorky_option_t      *options;  /* or NULL */
    size_t                    conf_size;

    /*
     * Runs when all of http{} has been read; the configuration's bytes were
     * zero before the options were set.  Returns NGX_CONF_OK or a text.
     */
    char                   *(*init)(ngx_conf_t *cf,
                                    ngx_snorky_service_t *service);
};

/* the service's configuration, conf_size bytes */
void *ngx_snorky_service_conf(ngx_snorky_service_t *service);


/* The call that a command's function was given. */

ngx_snorky_service_t *ngx_snorky_call_service(ngx_snorky_call_t *call);
ngx_snorky_session_t *ngx_snorky_call_session(ngx_snorky_call_t *call);

/* the value of the n-th name in the command's params; never NULL */
ngx_snorky_value_t *ngx_snorky_call_param(ngx_snorky_call_t *call,
    ngx_uint_t n);

/* answer the call; data is JSON, text is ASCII without quotes; NGX_DONE */
ngx_int_t ngx_snorky_call_reply(ngx_snorky_call_t *call, ngx_str_t *data);
ngx_int_t ngx_snorky_call_error(ngx_snorky_call_t *call, const char *text);


/* The client.  Its identity is a JSON string with its quotes, or NULL. */

ngx_str_t *ngx_snorky_session_identity(ngx_snorky_session_t *s);

/*
 * {"service": the service's name, "message": content} to this client; as the
 * answer to the message that is being handled, or unasked.  NGX_OK, or
 * NGX_ERROR: no memory.
 */

ngx_int_t ngx_snorky_session_answer(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *content);
ngx_int_t ngx_snorky_session_notify(ngx_snorky_session_t *s,
    ngx_snorky_service_t *service, ngx_str_t *content);


/*
 * Topics: the clients of one service, on all workers, that share a key.  A
 * key is any JSON value and is compared by value.  Disconnection leaves all.
 *
 * A limit of the core that is hit is answered by the core: then NGX_DONE is
 * returned, as it is by ngx_snorky_call_error(), and is to be passed on.
 *
 *   join      NGX_OK, NGX_DECLINED when the caller is in the topic already
 *   leave     NGX_OK, NGX_DECLINED when it is not
 *   publish   NGX_OK when every client in the topic of "service" will get
 *             the content, which is the concatenation of n parts; those on
 *             this worker have it already.  NGX_AGAIN as above.
 */

ngx_int_t ngx_snorky_topic_join(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_topic_leave(ngx_snorky_call_t *call,
    ngx_snorky_value_t *key);
ngx_int_t ngx_snorky_topic_publish(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service, ngx_snorky_value_t *key,
    ngx_str_t *parts, ngx_uint_t n);


#endif /* _NGX_SNORKY_H_INCLUDED_ */
