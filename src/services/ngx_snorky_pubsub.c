
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * pubsub: clients listen to channels and publish to them (protocol, 4), and
 * pubsub_backend, which publishes to a pubsub service whatever its policy.
 */


#include "ngx_snorky_pubsub.h"


#define NGX_SNORKY_PUBSUB_PUBLISH_ALL         0
#define NGX_SNORKY_PUBSUB_PUBLISH_NONE        1
#define NGX_SNORKY_PUBSUB_PUBLISH_IDENTIFIED  2


/* places of the parameters in the tables below */

#define NGX_SNORKY_PUBSUB_CHANNEL  0
#define NGX_SNORKY_PUBSUB_MESSAGE  1


typedef struct {
    ngx_uint_t                 publish;
} ngx_snorky_pubsub_conf_t;


typedef struct {
    ngx_snorky_service_t      *frontend;
} ngx_snorky_pubsub_backend_conf_t;


static ngx_int_t ngx_snorky_pubsub_subscribe(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_pubsub_unsubscribe(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_pubsub_publish(ngx_snorky_call_t *call);
static ngx_uint_t ngx_snorky_pubsub_may_publish(ngx_snorky_call_t *call);
static ngx_int_t ngx_snorky_pubsub_deliver(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service);

static ngx_int_t ngx_snorky_pubsub_backend_publish(ngx_snorky_call_t *call);
static char *ngx_snorky_pubsub_backend_init(ngx_conf_t *cf,
    ngx_snorky_service_t *service);


static ngx_str_t  ngx_snorky_pubsub_channel_params[] = {
    ngx_string("channel"),
    ngx_null_string
};


static ngx_str_t  ngx_snorky_pubsub_publish_params[] = {
    ngx_string("channel"),
    ngx_string("message"),
    ngx_null_string
};


static ngx_snorky_command_t  ngx_snorky_pubsub_commands[] = {

    { ngx_string("subscribe"),
      ngx_snorky_pubsub_channel_params,
      ngx_snorky_pubsub_subscribe },

    { ngx_string("unsubscribe"),
      ngx_snorky_pubsub_channel_params,
      ngx_snorky_pubsub_unsubscribe },

    { ngx_string("publish"),
      ngx_snorky_pubsub_publish_params,
      ngx_snorky_pubsub_publish },

    { ngx_string("join"),
      ngx_snorky_pubsub_channel_params,
      ngx_snorky_pubsub_subscribe },

    { ngx_string("leave"),
      ngx_snorky_pubsub_channel_params,
      ngx_snorky_pubsub_unsubscribe },

      ngx_snorky_null_command
};


static ngx_conf_enum_t  ngx_snorky_pubsub_publish_policies[] = {
    { ngx_string("all"), NGX_SNORKY_PUBSUB_PUBLISH_ALL },
    { ngx_string("none"), NGX_SNORKY_PUBSUB_PUBLISH_NONE },
    { ngx_string("identified"), NGX_SNORKY_PUBSUB_PUBLISH_IDENTIFIED },
    { ngx_null_string, 0 }
};


static ngx_snorky_option_t  ngx_snorky_pubsub_options[] = {

    { ngx_string("publish"),
      ngx_snorky_option_enum,
      offsetof(ngx_snorky_pubsub_conf_t, publish),
      &ngx_snorky_pubsub_publish_policies },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_pubsub = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("pubsub"),
    .commands  = ngx_snorky_pubsub_commands,
    .options   = ngx_snorky_pubsub_options,
    .conf_size = sizeof(ngx_snorky_pubsub_conf_t),
    .channels  = 1
};


static ngx_snorky_command_t  ngx_snorky_pubsub_backend_commands[] = {

    { ngx_string("publish"),
      ngx_snorky_pubsub_publish_params,
      ngx_snorky_pubsub_backend_publish },

      ngx_snorky_null_command
};


static ngx_snorky_option_t  ngx_snorky_pubsub_backend_options[] = {

    { ngx_string("frontend"),
      ngx_snorky_option_service,
      offsetof(ngx_snorky_pubsub_backend_conf_t, frontend),
      &ngx_snorky_pubsub },

      ngx_snorky_null_option
};


ngx_snorky_service_type_t  ngx_snorky_pubsub_backend = {
    .version   = NGX_SNORKY_API_VERSION,
    .name      = ngx_string("pubsub_backend"),
    .commands  = ngx_snorky_pubsub_backend_commands,
    .options   = ngx_snorky_pubsub_backend_options,
    .conf_size = sizeof(ngx_snorky_pubsub_backend_conf_t),
    .init      = ngx_snorky_pubsub_backend_init
};


static ngx_int_t
ngx_snorky_pubsub_subscribe(ngx_snorky_call_t *call)
{
    ngx_int_t  rc;

    rc = ngx_snorky_topic_join(call,
                     ngx_snorky_call_param(call, NGX_SNORKY_PUBSUB_CHANNEL));

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Already subscribed");
    }

    return rc;
}


static ngx_int_t
ngx_snorky_pubsub_unsubscribe(ngx_snorky_call_t *call)
{
    ngx_int_t  rc;

    rc = ngx_snorky_topic_leave(call,
                     ngx_snorky_call_param(call, NGX_SNORKY_PUBSUB_CHANNEL));

    if (rc == NGX_DECLINED) {
        return ngx_snorky_call_error(call, "Not subscribed");
    }

    return rc;
}


static ngx_int_t
ngx_snorky_pubsub_publish(ngx_snorky_call_t *call)
{
    if (!ngx_snorky_pubsub_may_publish(call)) {
        return ngx_snorky_call_error(call, "Not authorized");
    }

    return ngx_snorky_pubsub_deliver(call, ngx_snorky_call_service(call));
}


static ngx_uint_t
ngx_snorky_pubsub_may_publish(ngx_snorky_call_t *call)
{
    ngx_snorky_pubsub_conf_t  *conf;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    switch (conf->publish) {

    case NGX_SNORKY_PUBSUB_PUBLISH_ALL:
        return 1;

    case NGX_SNORKY_PUBSUB_PUBLISH_IDENTIFIED:
        return ngx_snorky_session_identity(ngx_snorky_call_session(call))
               != NULL;

    default: /* NGX_SNORKY_PUBSUB_PUBLISH_NONE */
        return 0;
    }
}


static ngx_int_t
ngx_snorky_pubsub_deliver(ngx_snorky_call_t *call,
    ngx_snorky_service_t *service)
{
    ngx_str_t                  parts[5];
    ngx_snorky_value_t        *channel;
    ngx_snorky_publication_t   publication;

    channel = ngx_snorky_call_param(call, NGX_SNORKY_PUBSUB_CHANNEL);

    ngx_str_set(&parts[0], "{\"type\":\"message\",\"channel\":");
    parts[1] = channel->text;
    ngx_str_set(&parts[2], ",\"message\":");
    parts[3] = ngx_snorky_call_param(call, NGX_SNORKY_PUBSUB_MESSAGE)->text;
    ngx_str_set(&parts[4], "}");

    ngx_memzero(&publication, sizeof(ngx_snorky_publication_t));

    publication.service = service;
    publication.key = channel;
    publication.parts = parts;
    publication.n = 5;

    return ngx_snorky_topic_publish(call, &publication);
}


static ngx_int_t
ngx_snorky_pubsub_backend_publish(ngx_snorky_call_t *call)
{
    ngx_snorky_pubsub_backend_conf_t  *conf;

    conf = ngx_snorky_service_conf(ngx_snorky_call_service(call));

    return ngx_snorky_pubsub_deliver(call, conf->frontend);
}


static char *
ngx_snorky_pubsub_backend_init(ngx_conf_t *cf, ngx_snorky_service_t *service)
{
    ngx_snorky_pubsub_backend_conf_t  *conf;

    conf = ngx_snorky_service_conf(service);

    if (conf->frontend == NULL) {
        return "no \"frontend=\"";
    }

    return NGX_CONF_OK;
}
