
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What sessions and requests say to each other.  A letter is this head and
 * perhaps a text behind it.  Those of one worker to another arrive in order.
 */


#ifndef _NGX_SNORKY_SOCKJS_LETTER_H_INCLUDED_
#define _NGX_SNORKY_SOCKJS_LETTER_H_INCLUDED_


#include "ngx_snorky_sockjs.h"


typedef enum {

    /* to a session; an ANSWER with 404 comes back if it is not there */

    NGX_SNORKY_SOCKJS_ATTACH = 1,   /* the request takes what is sent; value: */
                                    /* kind, size: bytes that its response */
                                    /* may have, text: callback */
    NGX_SNORKY_SOCKJS_RELEASE,      /* its worker quits: end the response */
    NGX_SNORKY_SOCKJS_GONE,         /* it has ended; value: 1 if all that */
                                    /* it was given has been sent */
    NGX_SNORKY_SOCKJS_PARCEL,       /* messages, packed; a piece of them, the */
                                    /* last one if "last" is set; size: bytes */
                                    /* in those before */

    /* to a request */

    NGX_SNORKY_SOCKJS_BODY,         /* bytes of the response; value: messages */
                                    /* that end in them, size: bytes of the */
                                    /* frame that follow; last: it ends */
    NGX_SNORKY_SOCKJS_ANSWER        /* value: 204, a parcel has been taken; */
                                    /* 404, 503 */
} ngx_snorky_sockjs_letter_e;


typedef struct {
    uint32_t                    type;
    uint32_t                    value;
    uint64_t                    worker;     /* the request's ... */
    uint64_t                    request;    /* ... and its number there */
    uint64_t                    size;
    uint32_t                    last;
    u_char                      key[NGX_SNORKY_SOCKJS_KEY];
} ngx_snorky_sockjs_letter_t;


/* NGX_OK, or NGX_ERROR: no memory; the text may be NULL */
ngx_int_t ngx_snorky_sockjs_send_letter(ngx_snorky_worker_t *worker,
    uint64_t to, ngx_snorky_sockjs_letter_t *letter, ngx_str_t *text);

/* bytes that a letter's text may have */
size_t ngx_snorky_sockjs_letter_max(ngx_snorky_worker_t *worker);


#endif /* _NGX_SNORKY_SOCKJS_LETTER_H_INCLUDED_ */
