/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_compact - quick ways through Jaeger's compact Thrift; private to decode.
 *
 * Each reads as far as its input has the shape that clients give it and leaves the reader in front
 * of the first thing that has not, which is then read (or refused) the general way.  So what these
 * do not know is slower and nothing else.
 */
#ifndef FERMATA_DECODE_JAEGER_COMPACT_H
#define FERMATA_DECODE_JAEGER_COMPACT_H

#include "jaeger_batch.h"

#include "fermata/thrift.h"

enum jaeger_thrift_field { /* of a span */
                           JAEGER_SPAN_TRACE_LOW = 1,
                           JAEGER_SPAN_TRACE_HIGH,
                           JAEGER_SPAN_ID,
                           JAEGER_SPAN_PARENT,
                           JAEGER_SPAN_NAME,
                           JAEGER_SPAN_REFERENCES,
                           JAEGER_SPAN_FLAGS,
                           JAEGER_SPAN_START,
                           JAEGER_SPAN_DURATION,
                           JAEGER_SPAN_TAGS,
                           JAEGER_SPAN_LOGS,
};
struct jaeger_thrift_span {
    int64_t values[JAEGER_SPAN_DURATION + 1]; /* by enum jaeger_thrift_field */
};

/* Integers and the name, from where the reader stands in an open span. */
void jaeger_compact_fields(struct thrift_reader *reader, struct jaeger_thrift_span *span,
                           struct fm_slice *name);
/* Elements of a list of tags: how many, of at most count. */
uint32_t jaeger_compact_tags(struct thrift_reader *reader, struct jaeger_tag *tags, uint32_t count);

#endif
