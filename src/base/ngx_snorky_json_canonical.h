
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The canonical form of a JSON value: the same bytes for all texts that mean
 * the same, and JSON itself.  Private to the JSON parser, which makes keys
 * of it.
 *
 *   string   without needless escapes: only \" \\ \b \f \n \r \t, \u00xx for
 *            the other control characters, \udxxx for an unpaired surrogate
 *   number   0, or [-]DIGITS[eEXPONENT]: the digits an integer that neither
 *            begins nor ends with 0, the exponent an integer other than 0
 *   array    no white space
 *   object   no white space; members sorted by the bytes of their names'
 *            canonical form, of duplicates only the last
 */


#ifndef _NGX_SNORKY_JSON_CANONICAL_H_INCLUDED_
#define _NGX_SNORKY_JSON_CANONICAL_H_INCLUDED_


#include "ngx_snorky.h"


/*
 * Room for the canonical form of a text.  Strings, and so names, never grow;
 * of numbers 1.5 grows most, to 15e-1.
 */

#define ngx_snorky_json_canonical_size(len)  (2 * (len) + 16)


/* whether the text is seen at a glance to be valid and canonical */
ngx_uint_t ngx_snorky_json_canonical_is(ngx_str_t *text);

/*
 * Writes the canonical form of the document that begins at nodes[0], all of
 * it kept; returns the end.  "names" has room for as many bytes as the
 * document's text.  The nodes are used up: their order and texts change.
 */

u_char *ngx_snorky_json_canonical_write(ngx_snorky_json_node_t *nodes,
    u_char *p, u_char *names);

/*
 * The escape at p, in a valid string, is decoded: two escapes that make a
 * pair of surrogates as one character.  Returns the end of the escape.
 */

u_char *ngx_snorky_json_canonical_unescape(u_char *p, uint32_t *code);

/* whether a code point from unescape() is an unpaired surrogate */

#define ngx_snorky_json_canonical_unpaired(code)                              \
    ((code) >= 0xd800 && (code) <= 0xdfff)

/* writes a code point as UTF-8, 1 to 4 bytes; returns the end */
u_char *ngx_snorky_json_canonical_encode(u_char *p, uint32_t code);


#endif /* _NGX_SNORKY_JSON_CANONICAL_H_INCLUDED_ */
