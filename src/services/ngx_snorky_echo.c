
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * echo: sends back the content of every message.  The smallest service.
 */


#include "ngx_snorky_echo.h"


static ngx_int_t ngx_snorky_echo_message(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s, ngx_snorky_value_t *content);


ngx_snorky_service_type_t  ngx_snorky_echo = {
    .version = NGX_SNORKY_API_VERSION,
    .name    = ngx_string("echo"),
    .message = ngx_snorky_echo_message
};


static ngx_int_t
ngx_snorky_echo_message(ngx_snorky_service_t *service,
    ngx_snorky_session_t *s, ngx_snorky_value_t *content)
{
    return ngx_snorky_session_answer(s, service, &content->text);
}
