/* SPDX-License-Identifier: Apache-2.0 */
/* The validating walk over ExportTraceServiceRequest: the hot path of every ingest.
 *
 * Each message has one loop over its fields.  A tag is one byte in nearly every case, and most
 * attributes have one of four forms, which otlp_plain_attribute() knows as a whole; everything else
 * takes the general way.  Nothing is copied and nothing is changed: `mended` counts what the
 * rewriter will have to mend, and 0 means that the bytes may be stored as they came. */
#include <stdlib.h>

#include "otlp_walk.h"

#define V (PB_VARINT + 1)
#define F (PB_FIXED64 + 1)
#define B (PB_BYTES + 1)
#define W (PB_FIXED32 + 1)

const struct otlp_shape otlp_resource_spans_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(3),
    .embedded = OTLP_BIT(1),
    .types = {[1] = B, [2] = B, [3] = B},
};
const struct otlp_shape otlp_scope_spans_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(3),
    .embedded = OTLP_BIT(1),
    .types = {[1] = B, [2] = B, [3] = B},
};
const struct otlp_shape otlp_resource_shape = {
    .singular = OTLP_BIT(2),
    .attributes = 1,
    .dropped = 2,
    .types = {[1] = B, [2] = V, [3] = B},
};
const struct otlp_shape otlp_scope_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(2) | OTLP_BIT(4),
    .attributes = 3,
    .dropped = 4,
    .types = {[1] = B, [2] = B, [3] = B, [4] = V},
};
const struct otlp_shape otlp_span_shape = {
    .singular = 0x1fffe & ~(OTLP_BIT(9) | OTLP_BIT(11) | OTLP_BIT(13)),
    .embedded = OTLP_BIT(15),
    .attributes = 9,
    .dropped = 10,
    .types = {[1] = B,
              [2] = B,
              [3] = B,
              [4] = B,
              [5] = B,
              [6] = V,
              [7] = F,
              [8] = F,
              [9] = B,
              [10] = V,
              [11] = B,
              [12] = V,
              [13] = B,
              [14] = V,
              [15] = B,
              [16] = W},
};
const struct otlp_shape otlp_event_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(2) | OTLP_BIT(4),
    .attributes = 3,
    .dropped = 4,
    .types = {[1] = F, [2] = B, [3] = B, [4] = V},
};
const struct otlp_shape otlp_link_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(2) | OTLP_BIT(3) | OTLP_BIT(5) | OTLP_BIT(6),
    .attributes = 4,
    .dropped = 5,
    .types = {[1] = B, [2] = B, [3] = B, [4] = B, [5] = V, [6] = W},
};
const struct otlp_shape otlp_status_shape = {
    .singular = OTLP_BIT(2) | OTLP_BIT(3),
    .types = {[2] = B, [3] = V},
};
const struct otlp_shape otlp_key_value_shape = {
    .singular = OTLP_BIT(1) | OTLP_BIT(2),
    .embedded = OTLP_BIT(2),
    .types = {[1] = B, [2] = B},
};

#undef V
#undef F
#undef B
#undef W

/* One field as the loops see it. */
struct otlp_field {
    uint32_t number;
    uint32_t type;
    uint64_t value;     /* FIXED64 only */
    const uint8_t *ptr; /* BYTES: the content */
    size_t len;
};

/* Reads the field at ptr (< end); the byte behind it, or NULL: malformed. */
static inline __attribute__((always_inline)) const uint8_t *
otlp_next(const uint8_t *ptr, const uint8_t *end, struct otlp_field *field)
{
    const uint8_t *start = ptr;
    uint64_t tag = *ptr++, value;

    if (FM_UNLIKELY(tag >= 0x80)) {
        ptr = pb_varint_long(start, end, &tag);
        if (!ptr || tag > UINT32_MAX)
            return NULL;
    }
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)(tag & 7);
    if (field->type == PB_BYTES) {
        ptr = pb_varint(ptr, end, &value);
        if (FM_UNLIKELY(!ptr || value > (size_t)(end - ptr) || !field->number))
            return NULL;
        field->ptr = ptr;
        field->len = (size_t)value;
        return ptr + value;
    }
    if (FM_UNLIKELY(!field->number))
        return NULL;
    if (field->type == PB_VARINT)
        return pb_varint(ptr, end, &value);
    if (field->type == PB_FIXED64) {
        if (end - ptr < 8)
            return NULL;
        field->value = fm_load_le64(ptr);
        return ptr + 8;
    }
    if (field->type == PB_FIXED32)
        return end - ptr < 4 ? NULL : ptr + 4;
    struct fm_slice rest = fm_slice(start, (size_t)(end - start));
    struct pb_field group;
    return pb_next(&rest, &group) == FM_OK ? rest.ptr : NULL;
}

void otlp_walk_init(struct otlp_walk *walk, const struct decode_limits *limits,
                    struct decode_facts *facts)
{
    memset(walk, 0, sizeof *walk);
    walk->limits = *limits;
    walk->limits.value_depth_max = FM_MIN(FM_MAX(limits->value_depth_max, 1), OTLP_VALUE_DEPTH_MAX);
    walk->facts = facts;
}

/* ArrayValue (lists = false) or KeyValueList (true), whose elements' values are at depth. */
static bool otlp_walk_list(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end,
                           uint32_t depth, bool pairs);

/* One KeyValue; cut: limits on lengths apply (not inside of values). */
static bool otlp_walk_pair(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end,
                           uint32_t depth, bool cut)
{
    struct otlp_field field = {0};
    uint32_t seen = 0, twice = 0;

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.type != PB_BYTES || field.number > OTLP_KV_VALUE)
            continue;
        twice |= seen & OTLP_BIT(field.number);
        seen |= OTLP_BIT(field.number);
        if (field.number == OTLP_KV_KEY)
            walk->mended += cut && field.len > walk->limits.attribute_bytes_max;
        else if (!otlp_walk_value(walk, field.ptr, field.ptr + field.len, depth, cut))
            return false;
    }
    walk->mended += twice != 0;
    return true;
}

bool otlp_walk_value(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end, uint32_t depth,
                     bool cut)
{
    static const uint8_t types[] = {0xff,     PB_BYTES, PB_VARINT, PB_VARINT, PB_FIXED64,
                                    PB_BYTES, PB_BYTES, PB_BYTES,  PB_VARINT};
    struct otlp_field field = {0};
    uint32_t members = 0;

    if (depth > walk->limits.value_depth_max) {
        walk->mended += ptr != end;
        return true;
    }
    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.number > OTLP_VALUE_STRINDEX || types[field.number] != field.type)
            continue;
        members++;
        if (field.number == OTLP_VALUE_STRING)
            walk->mended += cut && field.len > walk->limits.attribute_bytes_max;
        bool pairs = field.number == OTLP_VALUE_KVLIST;
        if ((pairs || field.number == OTLP_VALUE_ARRAY) &&
            !otlp_walk_list(walk, field.ptr, field.ptr + field.len, depth + 1, pairs))
            return false;
    }
    walk->mended += members > 1;
    return true;
}

static bool otlp_walk_list(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end,
                           uint32_t depth, bool pairs)
{
    struct otlp_field field = {0};

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        const uint8_t *stop = field.ptr + field.len;
        if (!(pairs ? otlp_walk_pair(walk, field.ptr, stop, depth, false)
                    : otlp_walk_value(walk, field.ptr, stop, depth, false)))
            return false;
    }
    return true;
}

/* The four common forms: a key and then a string, integer, bool or double, every length in one
 * byte.  false only means that the general walk has to look. */
static inline __attribute__((always_inline)) bool
otlp_plain_attribute(const struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    size_t len = (size_t)(end - ptr);

    if (FM_UNLIKELY(len < 4 || ptr[0] != 0x0a || ptr[1] > len - 4 ||
                    ptr[1] > walk->limits.attribute_bytes_max))
        return false;
    size_t key_len = ptr[1];
    const uint8_t *value = ptr + 2 + key_len; /* at least two bytes are left */
    size_t value_len = len - 4 - key_len;
    if (FM_UNLIKELY((key_len | value_len) >= 0x80 || value[0] != 0x12 || value[1] != value_len ||
                    value_len < 2))
        return false;
    value += 2;
    if (value[0] == 0x0a)
        return value[1] == value_len - 2 && value[1] <= walk->limits.attribute_bytes_max;
    if (value[0] == 0x18 || value[0] == 0x10) {
        size_t last = value_len - 1, i = 1;
        while (i < last && value[i] >= 0x80)
            i++;
        return i == last && value[i] < 0x80 && last < 10; /* ten bytes may overflow: look closer */
    }
    return value[0] == 0x21 && value_len == 9;
}

static inline __attribute__((always_inline)) bool
otlp_attribute(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    return FM_LIKELY(otlp_plain_attribute(walk, ptr, end)) ||
           otlp_walk_pair(walk, ptr, end, 1, true);
}

/* Skips the plain attributes (of a span) that stand in a row at ptr. */
static inline __attribute__((always_inline)) const uint8_t *
otlp_plain_run(const struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end,
               uint32_t *count)
{
    while (end - ptr >= 2 && ptr[0] == (OTLP_SPAN_ATTRIBUTES << 3 | PB_BYTES)) {
        size_t len = ptr[1];
        const uint8_t *content = ptr + 2;
        if (len >= 0x80 || len > (size_t)(end - content) ||
            !otlp_plain_attribute(walk, content, content + len))
            break;
        ptr = content + len;
        ++*count;
    }
    return ptr;
}

bool otlp_walk_attribute(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    return otlp_attribute(walk, ptr, end);
}

static inline void otlp_count_attributes(struct otlp_walk *walk, uint32_t count)
{
    if (FM_UNLIKELY(count > walk->limits.attribute_count_max))
        walk->mended += count - walk->limits.attribute_count_max;
}

/* Resource, InstrumentationScope, Event, Link, Status: attributes and plain fields.  ids: where a
 * Link's fields 1 and 2 go. */
static bool otlp_walk_holder(struct otlp_walk *walk, const struct otlp_shape *shape,
                             const uint8_t *ptr, const uint8_t *end, struct fm_slice ids[3])
{
    struct otlp_field field = {0};
    uint32_t seen = 0, twice = 0, attribute_count = 0;

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (!otlp_knows(shape, field.number, field.type))
            continue;
        if (field.number == shape->attributes) {
            attribute_count++;
            if (!otlp_attribute(walk, field.ptr, field.ptr + field.len))
                return false;
            continue;
        }
        twice |= seen & OTLP_BIT(field.number);
        seen |= OTLP_BIT(field.number);
        if (field.type == PB_BYTES && field.number <= 2)
            ids[field.number] = fm_slice(field.ptr, field.len);
    }
    otlp_count_attributes(walk, attribute_count);
    walk->mended += (twice & shape->singular) != 0;
    return true;
}

static bool otlp_walk_link(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    struct fm_slice ids[3] = {0};
    uint32_t mended = walk->mended;

    if (!otlp_walk_holder(walk, &otlp_link_shape, ptr, end, ids))
        return false;
    if (!otlp_trace_id_is_valid(ids[OTLP_LINK_TRACE_ID]) ||
        !otlp_span_id_is_valid(ids[OTLP_LINK_SPAN_ID]))
        walk->mended = mended + 1; /* the link goes, with all that is wrong inside of it */
    return true;
}

static bool otlp_facts_grow(struct decode_facts *facts)
{
    uint32_t cap = facts->trace_key_cap ? 2 * facts->trace_key_cap : 64;
    uint64_t *keys = realloc(facts->trace_keys, cap * sizeof *keys);
    if (!keys)
        return false;
    facts->trace_keys = keys;
    facts->trace_key_cap = cap;
    return true;
}

/* Spans of a trace come in a row or interleave with few others: the last key and a small cache
 * catch nearly all repeats. */
static inline bool otlp_facts_add_key(struct otlp_walk *walk, uint64_t key)
{
    struct decode_facts *facts = walk->facts;
    uint64_t *cached = &walk->key_cache[(key ^ key >> 32) % OTLP_KEY_CACHE];

    if (key == walk->key_last && facts->trace_key_count)
        return true;
    walk->key_last = key;
    if (*cached == key && key)
        return true;
    *cached = key;
    if (facts->trace_key_count == facts->trace_key_cap && !otlp_facts_grow(facts)) {
        walk->rc = FM_ENOMEM;
        return false;
    }
    facts->trace_keys[facts->trace_key_count++] = key;
    return true;
}

bool otlp_span_done(struct otlp_walk *walk, const struct otlp_span_seen *span,
                    uint32_t mended_before)
{
    struct decode_facts *facts = walk->facts;
    struct fm_slice parent = span->ids[OTLP_SPAN_PARENT_ID];
    bool trace_ok = otlp_trace_id_is_valid(span->ids[OTLP_SPAN_TRACE_ID]);

    walk->span_count++;
    if (FM_UNLIKELY(!trace_ok || !otlp_span_id_is_valid(span->ids[OTLP_SPAN_SPAN_ID]))) {
        walk->mended = mended_before;
        walk->refused++;
        if (facts)
            facts->refused[trace_ok ? DECODE_BAD_SPAN_ID : DECODE_BAD_TRACE_ID]++;
        return true;
    }
    otlp_count_attributes(walk, span->attribute_count);
    if (parent.len && !otlp_span_id_is_valid(parent))
        walk->mended++;
    if (!facts)
        return true;
    facts->span_count++;
    facts->start_min_ns = FM_MIN(facts->start_min_ns, span->start_ns);
    facts->end_max_ns = FM_MAX(facts->end_max_ns, FM_MAX(span->start_ns, span->end_ns));
    return otlp_facts_add_key(walk, trace_id_key(span->ids[OTLP_SPAN_TRACE_ID].ptr));
}

/* A length-delimited field of a span that has fields of its own. */
static bool otlp_walk_span_part(struct otlp_walk *walk, const struct otlp_field *field)
{
    struct fm_slice unused[3];
    const uint8_t *end = field->ptr + field->len;

    if (field->number == OTLP_SPAN_EVENTS)
        return otlp_walk_holder(walk, &otlp_event_shape, field->ptr, end, unused);
    if (field->number == OTLP_SPAN_LINKS)
        return otlp_walk_link(walk, field->ptr, end);
    return otlp_walk_holder(walk, &otlp_status_shape, field->ptr, end, unused);
}

bool otlp_walk_span(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    struct otlp_span_seen span = {0};
    struct otlp_field field = {0};
    uint32_t mended = walk->mended, seen = 0, twice = 0;

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (FM_UNLIKELY(!ptr))
            return false;
        if (field.number == OTLP_SPAN_ATTRIBUTES && field.type == PB_BYTES) {
            span.attribute_count++;
            if (!otlp_attribute(walk, field.ptr, field.ptr + field.len))
                return false;
            ptr = otlp_plain_run(walk, ptr, end, &span.attribute_count);
            continue;
        }
        if (FM_UNLIKELY(!otlp_knows(&otlp_span_shape, field.number, field.type)))
            continue;
        twice |= seen & OTLP_BIT(field.number);
        seen |= OTLP_BIT(field.number);
        if (field.type == PB_FIXED64) {
            *(field.number == OTLP_SPAN_START ? &span.start_ns : &span.end_ns) = field.value;
        } else if (field.type == PB_BYTES) {
            if (field.number <= OTLP_SPAN_PARENT_ID)
                span.ids[field.number] = fm_slice(field.ptr, field.len);
            else if (field.number >= OTLP_SPAN_EVENTS && !otlp_walk_span_part(walk, &field))
                return false;
        }
    }
    walk->mended += (twice & otlp_span_shape.singular) != 0;
    return otlp_span_done(walk, &span, mended);
}

static bool otlp_walk_scope_spans(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    struct otlp_field field = {0};
    struct fm_slice unused[3];
    uint32_t seen = 0, twice = 0;

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.type != PB_BYTES || field.number > OTLP_SS_SCHEMA_URL)
            continue;
        const uint8_t *stop = field.ptr + field.len;
        if (field.number == OTLP_SS_SPANS) {
            if (walk->span_count == walk->limits.span_count_max) {
                walk->rc = FM_ELIMIT;
                return false;
            }
            if (!otlp_walk_span(walk, field.ptr, stop))
                return false;
            continue;
        }
        twice |= seen & OTLP_BIT(field.number);
        seen |= OTLP_BIT(field.number);
        if (field.number == OTLP_SS_SCOPE &&
            !otlp_walk_holder(walk, &otlp_scope_shape, field.ptr, stop, unused))
            return false;
    }
    walk->mended += twice != 0;
    return true;
}

/* A second pass over ResourceSpans that has only the legacy spelling of scope_spans. */
static bool otlp_walk_legacy(struct otlp_walk *walk, const uint8_t *ptr, const uint8_t *end)
{
    struct otlp_field field = {0};

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.number == OTLP_RS_LEGACY && field.type == PB_BYTES &&
            !otlp_walk_scope_spans(walk, field.ptr, field.ptr + field.len))
            return false;
    }
    return true;
}

static bool otlp_walk_resource_spans(struct otlp_walk *walk, const uint8_t *start,
                                     const uint8_t *end)
{
    struct otlp_field field = {0};
    struct fm_slice unused[3];
    uint32_t seen = 0, twice = 0;
    bool legacy = false;

    for (const uint8_t *ptr = start; ptr < end;) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        legacy |= field.number == OTLP_RS_LEGACY && field.type == PB_BYTES;
        if (field.type != PB_BYTES || field.number > OTLP_RS_SCHEMA_URL)
            continue;
        const uint8_t *stop = field.ptr + field.len;
        twice |= seen & OTLP_BIT(field.number);
        seen |= OTLP_BIT(field.number);
        if (field.number == OTLP_RS_SCOPE_SPANS) {
            if (!otlp_walk_scope_spans(walk, field.ptr, stop))
                return false;
        } else if (field.number == OTLP_RS_RESOURCE) {
            if (!otlp_walk_holder(walk, &otlp_resource_shape, field.ptr, stop, unused))
                return false;
        }
    }
    walk->mended += (twice & otlp_resource_spans_shape.singular) != 0;
    if (FM_LIKELY(!legacy))
        return true;
    walk->mended++;
    return (seen & OTLP_BIT(OTLP_RS_SCOPE_SPANS)) || otlp_walk_legacy(walk, start, end);
}

bool otlp_walk_request(struct otlp_walk *walk, struct fm_slice request)
{
    const uint8_t *ptr = request.ptr, *end = request.len ? ptr + request.len : ptr;
    struct otlp_field field = {0};

    while (ptr < end) {
        ptr = otlp_next(ptr, end, &field);
        if (!ptr)
            return false;
        if (field.number == OTLP_REQUEST_RESOURCE_SPANS && field.type == PB_BYTES &&
            !otlp_walk_resource_spans(walk, field.ptr, field.ptr + field.len))
            return false;
    }
    return true;
}

void otlp_walk_finish(const struct otlp_walk *walk)
{
    walk->facts->refused_count = walk->refused;
    walk->facts->mended_count = walk->mended;
    walk->facts->rewrite = walk->mended || walk->refused;
}

int otlp_pb_check(struct fm_slice request, const struct decode_limits *limits,
                  struct decode_facts *facts, struct fm_why *why)
{
    struct otlp_walk walk;

    decode_facts_reset(facts);
    otlp_walk_init(&walk, limits, facts);
    bool walked = otlp_walk_request(&walk, request);
    otlp_walk_finish(&walk);
    if (walked)
        return FM_OK;
    if (walk.rc == FM_ELIMIT)
        return fm_fail(why, FM_ELIMIT, "more than %u spans in one request", limits->span_count_max);
    if (walk.rc < 0)
        return fm_fail(why, walk.rc, "%s", fm_rc_text(walk.rc));
    return fm_fail(why, FM_EMALFORMED, "not an ExportTraceServiceRequest: broken after span %u",
                   walk.span_count);
}
