
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Fuzzes the envelope: what is taken for one has a service and a message, an
 * RPC request in it has its parts where they lie in the text, and the answers
 * that are made with its callId are envelopes themselves.
 *
 * Input: a byte for max_depth, then the text.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_snorky_envelope.h"


#define ngx_snorky_envelope_fuzz_check(cond)                                  \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
ngx_snorky_envelope_fuzz_inside(ngx_str_t *text, ngx_str_t *slice)
{
    ngx_snorky_envelope_fuzz_check(slice->len > 0);
    ngx_snorky_envelope_fuzz_check(slice->data >= text->data);
    ngx_snorky_envelope_fuzz_check(slice->data + slice->len
                                   <= text->data + text->len);
}


/* the answer in its envelope is read, and its content has the same callId */

static void
ngx_snorky_envelope_fuzz_answer(ngx_str_t *call_id, ngx_str_t *parts,
    ngx_uint_t n)
{
    u_char                 *p;
    size_t                  len;
    ngx_str_t               text, type, message;
    ngx_uint_t              i;
    ngx_snorky_json_t      *json;
    ngx_snorky_envelope_t   envelope;
    ngx_snorky_json_node_t  *found;

    ngx_str_set(&message, "{\"service\":\"s\",\"message\":");
    ngx_str_set(&type, "callId");

    len = message.len + sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1;

    for (i = 0; i < n; i++) {
        len += parts[i].len;
    }

    text.len = len;
    text.data = malloc(len);

    ngx_snorky_envelope_fuzz_check(text.data);

    p = ngx_cpymem(text.data, message.data, message.len);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    ngx_memcpy(p, NGX_SNORKY_ENVELOPE_TAIL,
               sizeof(NGX_SNORKY_ENVELOPE_TAIL) - 1);

    json = ngx_snorky_json_create();

    ngx_snorky_envelope_fuzz_check(json);
    ngx_snorky_envelope_fuzz_check(ngx_snorky_envelope_parse(json, &text, 1024,
                                                             &envelope)
                                   == NGX_OK);

    found = ngx_snorky_json_member(json, envelope.message, &type);

    if (call_id->len) {
        ngx_snorky_envelope_fuzz_check(found);
        ngx_snorky_envelope_fuzz_check(found->value.text.len == call_id->len);
        ngx_snorky_envelope_fuzz_check(ngx_memcmp(found->value.text.data,
                                                  call_id->data, call_id->len)
                                       == 0);
    }

    ngx_snorky_json_destroy(json);
    free(text.data);
}


static void
ngx_snorky_envelope_fuzz_rpc(ngx_snorky_json_t *json, ngx_str_t *text,
    ngx_snorky_json_node_t *message)
{
    ngx_str_t         parts[NGX_SNORKY_ENVELOPE_PARTS], value;
    ngx_uint_t        n;
    ngx_snorky_rpc_t  rpc;

    if (ngx_snorky_envelope_parse_rpc(json, message, &rpc) != NGX_OK) {
        return;
    }

    ngx_snorky_envelope_fuzz_inside(text, &rpc.command.text);
    ngx_snorky_envelope_fuzz_inside(text, &rpc.params->value.text);

    if (rpc.call_id.len) {
        ngx_snorky_envelope_fuzz_inside(text, &rpc.call_id);
    }

    n = ngx_snorky_envelope_response(parts, &rpc.call_id,
                                     &rpc.params->value.text);
    ngx_snorky_envelope_fuzz_check(n <= NGX_SNORKY_ENVELOPE_PARTS);
    ngx_snorky_envelope_fuzz_answer(&rpc.call_id, parts, n);

    ngx_str_set(&value, "Some error");

    n = ngx_snorky_envelope_error(parts, &rpc.call_id, &value);
    ngx_snorky_envelope_fuzz_check(n <= NGX_SNORKY_ENVELOPE_PARTS);
    ngx_snorky_envelope_fuzz_answer(&rpc.call_id, parts, n);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t               text;
    ngx_snorky_json_t      *json;
    ngx_snorky_envelope_t   envelope;

    if (size < 1) {
        return 0;
    }

    /* a copy of its own, so that a read past its end is seen */

    text.len = size - 1;
    text.data = malloc(ngx_max(text.len, 1));
    json = ngx_snorky_json_create();

    ngx_snorky_envelope_fuzz_check(text.data && json);

    ngx_memcpy(text.data, data + 1, text.len);

    if (ngx_snorky_envelope_parse(json, &text, data[0], &envelope) == NGX_OK) {

        ngx_snorky_envelope_fuzz_check(envelope.service.type
                                       == NGX_SNORKY_JSON_STRING);
        ngx_snorky_envelope_fuzz_inside(&text, &envelope.service.text);
        ngx_snorky_envelope_fuzz_inside(&text, &envelope.message->value.text);

        ngx_snorky_envelope_fuzz_rpc(json, &text, envelope.message);
    }

    ngx_snorky_json_destroy(json);
    free(text.data);

    return 0;
}
