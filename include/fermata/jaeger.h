/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger - what Jaeger's clients and agents send, as OTLP.  Part of decode.
 *
 * Every decoder appends ResourceSpans to target, which thereby stays one ExportTraceServiceRequest
 * however many batches are appended; on failure target is as it was.  Run otlp_pb_check over the
 * result: spans with bad ids are passed on as they are, so that one place refuses and counts them.
 * Rules of the translation: docs/formats/translation.md.
 *
 * scratch holds what one call needs and is reset by it; its limit bounds the memory of a hostile
 * batch.  Failures: FM_EMALFORMED, FM_ELIMIT (scratch or target are full), FM_ENOMEM.
 */
#ifndef FERMATA_JAEGER_H
#define FERMATA_JAEGER_H

#include "fermata/base.h"
#include "fermata/thrift.h"

/* ClientStats of a batch: what the client lost before it could send.  Cumulative per client. */
struct jaeger_client_stats {
    bool is_present;
    uint64_t client_key; /* hash of the process tag client-uuid, else of service name and ip */
    int64_t sequence;    /* -1: none; datagrams may come out of order */
    uint64_t queue_dropped, too_large_dropped, failed;
};

/* One datagram to an agent's port: a call of emitBatch or emitZipkinBatch in either encoding, told
 * apart by its first bytes.  FM_EUNSUPPORTED: another method. */
FM_MUST int jaeger_datagram_decode(struct fm_slice datagram, struct fm_arena *scratch,
                                   struct fm_buf *target, struct jaeger_client_stats *ret_stats,
                                   struct fm_why *why);
/* The same, and otlp_pb_check's facts about what was appended: gathered on the way, or by that
 * check if something may have to be mended.  Order of facts->trace_keys: that of the input. */
struct decode_limits;
struct decode_facts;
FM_MUST int jaeger_datagram_check(struct fm_slice datagram, const struct decode_limits *limits,
                                  struct fm_arena *scratch, struct fm_buf *target,
                                  struct decode_facts *facts, struct jaeger_client_stats *ret_stats,
                                  struct fm_why *why);
/* A bare Batch struct, as posted to /api/traces (binary). */
FM_MUST int jaeger_thrift_decode(struct fm_slice batch, enum thrift_encoding encoding,
                                 struct fm_arena *scratch, struct fm_buf *target,
                                 struct fm_why *why);
/* jaeger.api_v2.PostSpansRequest. */
FM_MUST int jaeger_pb_decode(struct fm_slice request, struct fm_arena *scratch,
                             struct fm_buf *target, struct fm_why *why);

#endif
