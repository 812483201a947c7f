/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_walk - what otlp_check.c and otlp_rewrite.c share: the shapes of OTLP's messages and the
 * validating walk, which also tells the rewriter what it may copy as it stands. */
#ifndef FERMATA_DECODE_OTLP_WALK_H
#define FERMATA_DECODE_OTLP_WALK_H

#include "fermata/decode.h"
#include "fermata/pb.h"

#define OTLP_VALUE_DEPTH_MAX 64 /* hard limit of our own recursion */
#define OTLP_KEY_CACHE       64

/* Field numbers, named where a number alone would not speak. */
enum {
    OTLP_REQUEST_RESOURCE_SPANS = 1,
    OTLP_RS_RESOURCE = 1,
    OTLP_RS_SCOPE_SPANS = 2,
    OTLP_RS_SCHEMA_URL = 3,
    OTLP_RS_LEGACY = 1000, /* instrumentation_library_spans of proto 0.15 to 0.18 */
    OTLP_SS_SCOPE = 1,
    OTLP_SS_SPANS = 2,
    OTLP_SS_SCHEMA_URL = 3,
    OTLP_SPAN_TRACE_ID = 1,
    OTLP_SPAN_SPAN_ID = 2,
    OTLP_SPAN_PARENT_ID = 4,
    OTLP_SPAN_START = 7,
    OTLP_SPAN_END = 8,
    OTLP_SPAN_ATTRIBUTES = 9,
    OTLP_SPAN_EVENTS = 11,
    OTLP_SPAN_LINKS = 13,
    OTLP_SPAN_LINKS_DROPPED = 14,
    OTLP_SPAN_STATUS = 15,
    OTLP_LINK_TRACE_ID = 1,
    OTLP_LINK_SPAN_ID = 2,
    OTLP_KV_KEY = 1,
    OTLP_KV_VALUE = 2,
    OTLP_VALUE_STRING = 1,
    OTLP_VALUE_BOOL = 2,
    OTLP_VALUE_INT = 3,
    OTLP_VALUE_DOUBLE = 4,
    OTLP_VALUE_ARRAY = 5,
    OTLP_VALUE_KVLIST = 6,
    OTLP_VALUE_BYTES = 7,
    OTLP_VALUE_STRINDEX = 8,
};

#define OTLP_FIELD_MAX   16
#define OTLP_BIT(number) (UINT32_C(1) << (number))

/* A message type: which fields it knows. A field with another wire type is an unknown field. */
struct otlp_shape {
    uint32_t singular;                 /* OTLP_BIT of fields that may stand there once */
    uint32_t embedded;                 /* of those, messages: twice means merged, not replaced */
    uint32_t attributes;               /* field number of the repeated KeyValue; 0: none */
    uint32_t dropped;                  /* field number of dropped_attributes_count */
    uint8_t types[OTLP_FIELD_MAX + 1]; /* wire type + 1 by field number; 0: unknown field */
};
extern const struct otlp_shape otlp_resource_spans_shape, otlp_resource_shape,
    otlp_scope_spans_shape, otlp_scope_shape, otlp_span_shape, otlp_event_shape, otlp_link_shape,
    otlp_status_shape, otlp_key_value_shape;

static inline bool otlp_knows(const struct otlp_shape *shape, uint32_t number, uint32_t type)
{
    return number <= OTLP_FIELD_MAX && shape->types[number] == type + 1;
}

struct otlp_walk {
    struct decode_limits limits; /* value_depth_max clamped to OTLP_VALUE_DEPTH_MAX */
    struct decode_facts *facts;  /* borrowed; NULL in the rewriter: no facts are gathered */
    uint32_t span_count;         /* all, also refused ones */
    uint32_t refused;
    uint32_t mended; /* reasons to write anew that were met so far */
    int rc;          /* what made a walk stop other than malformed input */
    uint64_t key_last;
    uint64_t key_cache[OTLP_KEY_CACHE];
};
void otlp_walk_init(struct otlp_walk *walk, const struct decode_limits *limits,
                    struct decode_facts *facts);

/* Each walks the content of one message.  false: malformed, or walk->rc says why. */
bool otlp_walk_request(struct otlp_walk *walk, struct fm_slice request);
bool otlp_walk_span(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end);
bool otlp_walk_attribute(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end);
bool otlp_walk_value(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end, uint32_t depth,
                     bool cut);

/* A span's fields, as the walk over them or a translation found them. */
struct otlp_span_seen {
    struct fm_slice ids[OTLP_SPAN_PARENT_ID + 1]; /* by field number; 3 is trace_state */
    uint64_t start_ns;
    uint64_t end_ns;
    uint32_t attribute_count;
};
/* Judges a span: its ids and number of attributes; mended_before: walk->mended in front of it. */
bool otlp_span_done(struct otlp_walk *walk, const struct otlp_span_seen *span,
                    uint32_t mended_before);
/* What was counted goes to walk->facts. */
void otlp_walk_finish(const struct otlp_walk *walk);

static inline bool otlp_all_zero(const uint8_t *ptr, size_t len)
{
    uint8_t bits = 0;
    for (size_t i = 0; i < len; i++)
        bits |= ptr[i];
    return bits == 0;
}

static inline bool otlp_trace_id_is_valid(struct fm_slice id)
{
    return id.len == 16 && (fm_load_le64(id.ptr) | fm_load_le64(id.ptr + 8)) != 0;
}

static inline bool otlp_span_id_is_valid(struct fm_slice id)
{
    return id.len == 8 && fm_load_le64(id.ptr) != 0;
}

#endif
