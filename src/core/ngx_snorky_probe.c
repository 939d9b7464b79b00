
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the answer to a client's probe.
 */


#include "ngx_snorky_probe.h"
#include "ngx_snorky_envelope.h"
#include "ngx_snorky_session.h"


static ngx_int_t ngx_snorky_probe_message(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s, ngx_snorky_value_t *content);


static ngx_snorky_service_type_t  ngx_snorky_probe_type = {
    .version = NGX_SNORKY_API_VERSION,
    .message = ngx_snorky_probe_message
};


ngx_snorky_service_t  ngx_snorky_probe = {
    .name = ngx_string(""),
    .type = &ngx_snorky_probe_type,
    .head = ngx_string(NGX_SNORKY_ENVELOPE_BEFORE NGX_SNORKY_ENVELOPE_AFTER)
};


static ngx_int_t
ngx_snorky_probe_message(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s, ngx_snorky_value_t *content)
{
    return ngx_snorky_session_answer(s, service, &content->text);
}
