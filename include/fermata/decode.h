/* SPDX-License-Identifier: Apache-2.0 */
/* decode - from what clients send to canonical OTLP bytes.
 *
 * OTLP protobuf is walked once, in place: every field is checked for its bounds, every span for its
 * ids, and the facts that the WAL, the head and the counters need are gathered.  If nothing is
 * wrong the bytes are stored as they came.  Only a request that holds something to refuse or to
 * mend is written anew.  Rules: docs/formats/otlp.md.
 */
#ifndef FERMATA_DECODE_H
#define FERMATA_DECODE_H

#include "fermata/base.h"
#include "fermata/model.h"

struct decode_limits {
    uint32_t span_count_max;      /* per request; above: FM_ELIMIT */
    uint32_t value_depth_max;     /* AnyValue nesting; deeper values become empty */
    uint32_t attribute_count_max; /* per span, resource, scope, event, link; extras are dropped */
    uint32_t attribute_bytes_max; /* keys and string values, not inside of other values; longer
                                     ones are cut at a code point */
};
extern const struct decode_limits decode_limits_default;

/* Reasons a span is refused; names are metric label values. */
#define DECODE_REASONS(X)                                                                          \
    X(BAD_TRACE_ID, "invalid_trace_id")                                                            \
    X(BAD_SPAN_ID, "invalid_span_id")
enum decode_reason {
#define X(name, text) DECODE_##name,
    DECODE_REASONS(X)
#undef X
        DECODE_REASON_COUNT
};
const char *decode_reason_text(enum decode_reason reason);

struct decode_facts {
    uint32_t span_count;                   /* accepted */
    uint32_t refused[DECODE_REASON_COUNT]; /* spans refused, by reason */
    uint32_t refused_count;                /* sum of refused */
    uint32_t mended_count; /* values cut, emptied or dropped, parents cleared, fields given twice
                              resolved; of accepted spans only */
    bool rewrite;          /* the bytes must be passed through otlp_pb_rewrite */
    uint64_t start_min_ns; /* over accepted spans; UINT64_MAX if none */
    uint64_t end_max_ns;   /* of their starts and ends, so never before start_min_ns */
    uint64_t *trace_keys;  /* owned; trace_id_key of the traces seen, repeats mostly removed */
    uint32_t trace_key_count;
    uint32_t trace_key_cap;
};
void decode_facts_init(struct decode_facts *facts);
void decode_facts_fini(struct decode_facts *facts);
void decode_facts_reset(struct decode_facts *facts); /* keeps trace_keys' memory */

/* One pass over ExportTraceServiceRequest bytes; resets facts, allocates only facts->trace_keys.
 * FM_OK; FM_EMALFORMED: undecodable, nothing may be stored; FM_ELIMIT: too many spans;
 * FM_ENOMEM. */
FM_MUST int otlp_pb_check(struct fm_slice request, const struct decode_limits *limits,
                          struct decode_facts *facts, struct fm_why *why);

/* Writes the request without what otlp_pb_check refused and with what it mended.  Call after an
 * otlp_pb_check that set rewrite; the result checks clean and is never longer than the request.
 * FM_ENOMEM: also if target is too small. */
FM_MUST int otlp_pb_rewrite(struct fm_slice request, const struct decode_limits *limits,
                            struct fm_buf *target);

/* OTLP/JSON to OTLP bytes, lenient as the Collector is; then run otlp_pb_check over it, which may
 * ask for a rewrite.  FM_EMALFORMED with why "... at byte N"; FM_ENOMEM. */
FM_MUST int otlp_json_decode(struct fm_slice json, struct fm_buf *target, struct fm_why *why);

/* Answers.  ExportTraceServiceResponse: empty on full success. */
void otlp_response_pb(uint32_t rejected, const char *message, struct fm_buf *target);
void otlp_response_json(uint32_t rejected, const char *message, struct fm_buf *target);
/* google.rpc.Status, with RetryInfo when retry_after_ms > 0. */
void rpc_status_pb(int code, const char *message, uint32_t retry_after_ms, struct fm_buf *target);
void rpc_status_json(int code, const char *message, struct fm_buf *target);
/* "1 span refused: invalid_trace_id 1" for partial_success. */
void decode_facts_message(const struct decode_facts *facts, char *text, size_t size);

#endif
