/* SPDX-License-Identifier: Apache-2.0 */
/* zipkin - what Zipkin's reporters send, as OTLP.  Part of decode.
 *
 * Every decoder appends ResourceSpans to target (see jaeger.h: the same rules hold for scratch,
 * target, failures and spans with bad ids).  Rules of the translation, and where Zipkin, the
 * Collector and Tempo disagree: docs/formats/translation.md.
 */
#ifndef FERMATA_ZIPKIN_H
#define FERMATA_ZIPKIN_H

#include "fermata/base.h"
#include "fermata/thrift.h"

/* A list of spans, version 2 or 1, told apart by their members and not by the path.  An empty body
 * is an empty list.  FM_EMALFORMED with why "... at byte N". */
FM_MUST int zipkin_json_decode(struct fm_slice json, struct fm_arena *scratch,
                               struct fm_buf *target, struct fm_why *why);
/* zipkin.proto3.ListOfSpans. */
FM_MUST int zipkin_pb_decode(struct fm_slice list, struct fm_arena *scratch, struct fm_buf *target,
                             struct fm_why *why);
/* A bare list of zipkinCore.Span (version 1): binary in HTTP bodies, either in emitZipkinBatch. */
FM_MUST int zipkin_thrift_decode(struct fm_slice list, enum thrift_encoding encoding,
                                 struct fm_arena *scratch, struct fm_buf *target,
                                 struct fm_why *why);
/* The same at a reader that stands in front of the list header; what follows is left unread. */
FM_MUST int zipkin_thrift_read(struct thrift_reader *reader, struct fm_arena *scratch,
                               struct fm_buf *target, struct fm_why *why);

#endif
