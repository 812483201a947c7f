/* SPDX-License-Identifier: Apache-2.0 */
/* The search of old clients, by tags, as TraceQL.  Part of api.
 *
 * tags is logfmt: `service.name=shop name="GET /"`.  All must be met somewhere in the trace, values
 * by substring; numbers and booleans also by their value. */
#ifndef FERMATA_API_TAGS_H
#define FERMATA_API_TAGS_H

#include "fermata/bytes.h"

struct tag {
    struct fm_slice key, value;
};
/* Walks through logfmt.  FM_OK; FM_END; FM_EMALFORMED:
 * `invalid tags: unterminated quoted value at pos 5`; FM_ENOMEM: the arena is full. */
struct tag_reader {
    struct fm_slice text;   /* borrowed */
    size_t at;              /* next byte */
    struct fm_arena *arena; /* borrowed; unquoted values live there */
};
FM_MUST int tag_next(struct tag_reader *reader, struct tag *ret_tag, struct fm_why *why);

/* Appends "{ ... }", or " && { ... }" if out is not empty. */
void tag_put_query(const struct tag *tag, struct fm_buf *out);
/* The same for the trace's duration; op is ">=" or "<=". */
void tag_put_duration(const char *op, uint64_t ms, struct fm_buf *out);
/* A field as TraceQL writes it: .service.name is ."service.name", name is name. */
void tag_put_field(struct fm_slice key, struct fm_buf *out);

#endif
