
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the core asks the application: a POST to a location of nginx, made by
 * this module itself.  The transports' floor knows how, and hands the table
 * below to the hub.
 */


#ifndef _NGX_SNORKY_ASK_H_INCLUDED_
#define _NGX_SNORKY_ASK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky.h"


typedef struct ngx_snorky_ask_s  ngx_snorky_ask_t;

struct ngx_snorky_ask_s {

    /*
     * What is asked: read while it is sent, and not needed then.  The texts
     * of the headers are without quotes, escaped as in JSON, so that no
     * control character is in them; an empty one makes no header.
     */
    ngx_snorky_session_t      *session;     /* for whom; NULL: nobody */
    void                      *server;      /* whose location, if for nobody */
    ngx_str_t                  uri;         /* with arguments, perhaps */
    ngx_str_t                 *parts;       /* the body, JSON, in n parts */
    ngx_uint_t                 n;
    ngx_str_t                  service;
    ngx_str_t                  command;
    ngx_str_t                  channel;     /* only a variable */
    ngx_msec_t                 timeout;     /* 0: the asker has its own */
    size_t                     max_answer;  /* bytes */

    void                     (*done)(ngx_snorky_ask_t *ask);
    void                      *data;        /* the asker's */

    /* the answer, while done() runs */
    ngx_snorky_answer_t        answer;

    void                      *inner;       /* the request; NULL: none */
};


typedef struct {

    /*
     * NGX_OK: done() will be called, in an event of its own, unless the ask is
     * cancelled; the ask must live until then.  NGX_ERROR: no memory.
     */
    ngx_int_t                (*send)(ngx_snorky_ask_t *ask);

    /* done() will not be called; the application's answer is not waited for */
    void                     (*cancel)(ngx_snorky_ask_t *ask);

    /*
     * The value of a variable (an ngx_http_complex_value_t), instead of an
     * application's answer: 1 if it is neither empty nor "0", 0 or NGX_ERROR.
     * Of the ask, session, service, command and channel count.
     */
    ngx_int_t                (*evaluate)(ngx_snorky_ask_t *ask,
                                         void *variable);

} ngx_snorky_asker_t;


#endif /* _NGX_SNORKY_ASK_H_INCLUDED_ */
