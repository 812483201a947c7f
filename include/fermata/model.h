/* SPDX-License-Identifier: Apache-2.0 */
/* model - what a trace is: ids, and a trace put together from OTLP bytes.
 *
 * The one form behind ingest is canonical OTLP: the protobuf bytes of ExportTraceServiceRequest,
 * which is a sequence of ResourceSpans (field 1), so that two of them joined are again one.
 */
#ifndef FERMATA_MODEL_H
#define FERMATA_MODEL_H

#include "fermata/base.h"
#include "fermata/bytes.h"

#define TENANT_LEN_MAX 150
#define TENANT_DEFAULT "single-tenant"

struct trace_id {
    uint8_t bytes[16]; /* big-endian, left padded */
};

static inline bool trace_id_equal(const struct trace_id *a, const struct trace_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
/* 64 bits of the id that spread well, for indexes in memory; equal ids have equal keys. */
static inline uint64_t trace_id_key(const uint8_t bytes[16])
{
    return fm_load_le64(bytes + 8) ^ (fm_load_le64(bytes) * UINT64_C(0x9e3779b97f4a7c15));
}
/* 1 to 32 hex digits, left padded with zeros, as Tempo's API takes them.  FM_EMALFORMED fills why
 * with Tempo's message. */
FM_MUST int trace_id_parse(struct fm_slice text, struct trace_id *ret_id, struct fm_why *why);
void trace_id_print(const struct trace_id *id, char text[33]);

/* Tenant names as Tempo takes them: ^[A-Za-z0-9!_.*'()-]{1,150}$, not "." and not "..". */
bool tenant_is_valid(struct fm_slice name);

/* One span of an assembled trace; slices point into the trace's arena. */
struct trace_span {
    uint8_t span_id[8];
    uint8_t parent_id[8]; /* zeros: root */
    uint64_t start_ns;
    uint64_t end_ns;
    uint32_t kind;
    uint32_t status_code;    /* 0 unset, 1 ok, 2 error */
    struct fm_slice name;    /* not validated UTF-8 */
    struct fm_slice service; /* service.name of its resource, or empty */
    struct fm_slice raw;     /* the Span message's content */
    uint32_t scope_index;
};

/* A trace assembled from any number of pieces; spans are de-duplicated by (span id, kind) and
 * ordered by start time; equal resources and scopes are merged. */
struct trace;
FM_MUST int trace_new(struct trace **ret_trace, const struct trace_id *id, size_t bytes_max);
struct trace *trace_free(struct trace *trace);
FM_DEFINE_AUTO(trace)
/* Copies the spans with the trace's id out of canonical OTLP bytes.  FM_OK also when there are
 * none.  FM_ELIMIT: bytes_max reached; what fitted is kept and trace_is_partial() is true.
 * FM_EMALFORMED: the bytes are not canonical OTLP; FM_ENOMEM. */
FM_MUST int trace_add(struct trace *trace, struct fm_slice otlp);
/* Call once after the last trace_add: removes duplicates, groups and sorts. */
FM_MUST int trace_finish(struct trace *trace);
size_t trace_span_count(const struct trace *trace);
const struct trace_span *trace_span_at(const struct trace *trace, size_t index); /* borrowed */
bool trace_is_partial(const struct trace *trace);

/* Canonical OTLP bytes of the whole trace (repeated field 1 ResourceSpans). */
void trace_put_otlp(const struct trace *trace, struct fm_buf *buf);

enum trace_format {
    TRACE_V1_JSON,     /* {"batches":[...]} */
    TRACE_V1_PROTOBUF, /* tempopb.Trace */
    TRACE_V2_JSON,     /* {"trace":{...},"metrics":{...}} */
    TRACE_V2_PROTOBUF, /* tempopb.TraceByIDResponse */
};
/* Tempo's answer, JSON mapping as in docs/formats/api.md (ids base64, enums by name). A trace
 * without spans renders as Tempo's "not found" of v2. */
void trace_render(const struct trace *trace, enum trace_format format, uint64_t inspected_bytes,
                  struct fm_buf *buf);

#endif
