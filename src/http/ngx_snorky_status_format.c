
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Owns the names and types of the formats: reads the argument and the header
 * Accept (RFC 9110, 12.5.1).  Called by the status.
 */


#include "ngx_snorky_status_format.h"
#include "ngx_snorky_header.h"


/* how closely a range of Accept names a type; the closest one counts */

typedef enum {
    NGX_SNORKY_STATUS_NONE = 0,
    NGX_SNORKY_STATUS_ANY,                  /* two asterisks */
    NGX_SNORKY_STATUS_TYPE,                 /* "text", and an asterisk */
    NGX_SNORKY_STATUS_SUBTYPE,              /* text/plain */
    NGX_SNORKY_STATUS_VERSION               /* text/plain;version=0.0.4 */
} ngx_snorky_status_closeness_e;


typedef struct {
    ngx_str_t                      name;
    ngx_str_t                      type;
    ngx_str_t                      subtype;
    ngx_str_t                      version; /* "": it has none */
} ngx_snorky_status_offer_t;


/* what is known so far of what a client thinks of an offer */

typedef struct {
    ngx_snorky_status_closeness_e  closeness;
    ngx_uint_t                     quality; /* in thousandths */
} ngx_snorky_status_opinion_t;


/* one range of Accept; a parameter that it has not is empty */

typedef struct {
    ngx_str_t                      type;
    ngx_str_t                      subtype;
    ngx_str_t                      version;
    ngx_str_t                      quality;
} ngx_snorky_status_range_t;


static ngx_uint_t ngx_snorky_status_format_accepted(ngx_http_request_t *r);
static void ngx_snorky_status_format_judge(ngx_snorky_status_range_t *range,
    ngx_snorky_status_opinion_t *opinions);
static ngx_snorky_status_closeness_e ngx_snorky_status_format_closeness(
    ngx_snorky_status_range_t *range, ngx_snorky_status_offer_t *offer);
static void ngx_snorky_status_format_range(ngx_str_t *rest,
    ngx_snorky_status_range_t *range);
static void ngx_snorky_status_format_parameter(ngx_str_t *text,
    ngx_snorky_status_range_t *range);
static ngx_str_t ngx_snorky_status_format_cut(ngx_str_t *rest, u_char end);
static void ngx_snorky_status_format_trim(ngx_str_t *text);
static ngx_int_t ngx_snorky_status_format_quality(ngx_str_t *text);
static ngx_uint_t ngx_snorky_status_format_is(ngx_str_t *text,
    ngx_str_t *name);


static ngx_snorky_status_offer_t
    ngx_snorky_status_offers[NGX_SNORKY_STATUS_FORMATS] =
{
    { ngx_string("json"), ngx_string("application"), ngx_string("json"),
      ngx_null_string },

    { ngx_string("html"), ngx_string("text"), ngx_string("html"),
      ngx_null_string },

    { ngx_string("prometheus"), ngx_string("text"), ngx_string("plain"),
      ngx_string("0.0.4") }
};


static ngx_str_t  ngx_snorky_status_any = ngx_string("*");
static ngx_str_t  ngx_snorky_status_q = ngx_string("q");
static ngx_str_t  ngx_snorky_status_version = ngx_string("version");


ngx_int_t
ngx_snorky_status_format_find(ngx_http_request_t *r,
    ngx_snorky_status_format_e *format)
{
    ngx_str_t   name, *known;
    ngx_uint_t  i;

    if (ngx_http_arg(r, (u_char *) "format", sizeof("format") - 1, &name)
        != NGX_OK)
    {
        *format = (r == r->main) ? ngx_snorky_status_format_accepted(r)
                                 : NGX_SNORKY_STATUS_JSON;
        return NGX_OK;
    }

    for (i = 0; i < NGX_SNORKY_STATUS_FORMATS; i++) {
        known = &ngx_snorky_status_offers[i].name;

        if (name.len == known->len
            && ngx_memcmp(name.data, known->data, name.len) == 0)
        {
            *format = i;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/*
 * All lines are one list (RFC 9110, 5.3).  Who accepts nothing of what there
 * is gets the first: a client that is strict sees its type, and any other one
 * has more of it than of a refusal.
 */

static ngx_uint_t
ngx_snorky_status_format_accepted(ngx_http_request_t *r)
{
    ngx_str_t                     rest;
    ngx_uint_t                    i, line, best;
    ngx_list_part_t              *part;
    ngx_table_elt_t              *h;
    ngx_snorky_status_range_t     range;
    ngx_snorky_status_opinion_t   opinions[NGX_SNORKY_STATUS_FORMATS];

    ngx_memzero(opinions, sizeof(opinions));

    part = NULL;

    for ( ;; ) {
        h = ngx_snorky_header_next(r, "Accept", &part, &line);

        if (h == NULL) {
            break;
        }

        rest = h->value;

        while (rest.len) {
            ngx_snorky_status_format_range(&rest, &range);
            ngx_snorky_status_format_judge(&range, opinions);
        }
    }

    best = 0;

    for (i = 1; i < NGX_SNORKY_STATUS_FORMATS; i++) {
        if (opinions[i].quality > opinions[best].quality) {
            best = i;
        }
    }

    return best;
}


static void
ngx_snorky_status_format_judge(ngx_snorky_status_range_t *range,
    ngx_snorky_status_opinion_t *opinions)
{
    ngx_int_t                      quality;
    ngx_uint_t                     i;
    ngx_snorky_status_opinion_t   *opinion;
    ngx_snorky_status_closeness_e  closeness;

    quality = ngx_snorky_status_format_quality(&range->quality);

    if (quality == NGX_ERROR) {
        return;
    }

    for (i = 0; i < NGX_SNORKY_STATUS_FORMATS; i++) {
        opinion = &opinions[i];

        closeness = ngx_snorky_status_format_closeness(range,
                                                 &ngx_snorky_status_offers[i]);

        if (closeness < opinion->closeness
            || closeness == NGX_SNORKY_STATUS_NONE)
        {
            continue;
        }

        /* of what is said twice, the better */

        if (closeness > opinion->closeness
            || (ngx_uint_t) quality > opinion->quality)
        {
            opinion->closeness = closeness;
            opinion->quality = quality;
        }
    }
}


/*
 * Of the parameters only the version counts: "application/json;charset=utf-8"
 * is JSON, and there is no text/plain of another version.
 */

static ngx_snorky_status_closeness_e
ngx_snorky_status_format_closeness(ngx_snorky_status_range_t *range,
    ngx_snorky_status_offer_t *offer)
{
    ngx_uint_t  any;

    any = ngx_snorky_status_format_is(&range->subtype, &ngx_snorky_status_any);

    if (any
        && ngx_snorky_status_format_is(&range->type, &ngx_snorky_status_any))
    {
        return NGX_SNORKY_STATUS_ANY;
    }

    if (!ngx_snorky_status_format_is(&range->type, &offer->type)) {
        return NGX_SNORKY_STATUS_NONE;
    }

    if (any) {
        return NGX_SNORKY_STATUS_TYPE;
    }

    if (!ngx_snorky_status_format_is(&range->subtype, &offer->subtype)) {
        return NGX_SNORKY_STATUS_NONE;
    }

    if (range->version.len == 0 || offer->version.len == 0) {
        return NGX_SNORKY_STATUS_SUBTYPE;
    }

    return ngx_snorky_status_format_is(&range->version, &offer->version)
           ? NGX_SNORKY_STATUS_VERSION : NGX_SNORKY_STATUS_NONE;
}


/*
 * Cuts the next range off: type "/" subtype *( ";" parameter ).  What is not
 * there is empty, and then it is like no type.
 */

static void
ngx_snorky_status_format_range(ngx_str_t *rest,
    ngx_snorky_status_range_t *range)
{
    ngx_str_t  element, type, parameter;

    ngx_str_null(&range->version);
    ngx_str_set(&range->quality, "1");

    element = ngx_snorky_status_format_cut(rest, ',');
    type = ngx_snorky_status_format_cut(&element, ';');

    range->type = ngx_snorky_status_format_cut(&type, '/');
    range->subtype = type;

    while (element.len) {
        parameter = ngx_snorky_status_format_cut(&element, ';');

        ngx_snorky_status_format_parameter(&parameter, range);
    }
}


static void
ngx_snorky_status_format_parameter(ngx_str_t *text,
    ngx_snorky_status_range_t *range)
{
    ngx_str_t  name, value;

    name = ngx_snorky_status_format_cut(text, '=');
    value = *text;

    if (ngx_snorky_status_format_is(&name, &ngx_snorky_status_q)) {
        range->quality = value;
        return;
    }

    if (!ngx_snorky_status_format_is(&name, &ngx_snorky_status_version)) {
        return;
    }

    if (value.len > 1 && value.data[0] == '"'
        && value.data[value.len - 1] == '"')
    {
        value.data++;
        value.len -= 2;
    }

    range->version = value;
}


/*
 * Cuts off what stands before the character, which goes, or to the end if
 * there is none; blanks around it are left out.  In a quoted string it is no
 * end (RFC 9110, 5.6.4).
 */

static ngx_str_t
ngx_snorky_status_format_cut(ngx_str_t *rest, u_char end)
{
    u_char      *p, *last;
    ngx_str_t    text;
    ngx_uint_t   quoted;

    p = rest->data;
    last = p + rest->len;
    quoted = 0;

    while (p < last && (quoted || *p != end)) {

        if (*p == '"') {
            quoted = !quoted;

        } else if (*p == '\\' && quoted && p + 1 < last) {
            p++;
        }

        p++;
    }

    text.data = rest->data;
    text.len = p - rest->data;

    rest->data = (p < last) ? p + 1 : last;
    rest->len = last - rest->data;

    ngx_snorky_status_format_trim(&text);

    return text;
}


static void
ngx_snorky_status_format_trim(ngx_str_t *text)
{
    u_char  *p, *last;

    p = text->data;
    last = p + text->len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    text->data = p;
    text->len = last - p;
}


/*
 * In thousandths: "0" [ "." 0*3DIGIT ] or "1" [ "." 0*3"0" ].  NGX_ERROR: it
 * is something else, and then the range does not count.
 */

static ngx_int_t
ngx_snorky_status_format_quality(ngx_str_t *text)
{
    size_t     i;
    ngx_int_t  quality, unit;

    if (text->len == 0
        || (text->data[0] != '0' && text->data[0] != '1')
        || text->len > sizeof("0.000") - 1
        || (text->len > 1 && text->data[1] != '.'))
    {
        return NGX_ERROR;
    }

    quality = (text->data[0] - '0') * 1000;
    unit = 100;

    for (i = 2; i < text->len; i++) {

        if (text->data[i] < '0' || text->data[i] > '9') {
            return NGX_ERROR;
        }

        quality += (text->data[i] - '0') * unit;
        unit /= 10;
    }

    return (quality <= 1000) ? quality : NGX_ERROR;
}


static ngx_uint_t
ngx_snorky_status_format_is(ngx_str_t *text, ngx_str_t *name)
{
    return text->len == name->len
           && ngx_strncasecmp(text->data, name->data, name->len) == 0;
}
