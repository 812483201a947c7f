/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin_encode - canonical OTLP bytes as what a Zipkin reporter sends, version 2 or 1.
 *
 * Made so that the daemon's translation brings as much of the OTLP back as Zipkin can carry.  Lost
 * are: nanoseconds, types (every value becomes text), flags, dropped counts of spans, schema URLs,
 * scope attributes; attributes of the resource that Zipkin's translation does not know as such
 * become the span's.
 */
#ifndef TOOLS_ZIPKIN_ENCODE_H
#define TOOLS_ZIPKIN_ENCODE_H

#include "fermata/base.h"

/* Each appends one list of spans.  FM_ENOMEM. */
FM_MUST int zipkin_put_json(struct fm_slice otlp, struct fm_buf *target);
FM_MUST int zipkin_put_pb(struct fm_slice otlp, struct fm_buf *target);
FM_MUST int zipkin_put_v1_json(struct fm_slice otlp, struct fm_buf *target);
FM_MUST int zipkin_put_v1_thrift(struct fm_slice otlp, struct fm_buf *target);

#endif
