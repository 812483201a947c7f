/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_batch - a Jaeger batch on its way to OTLP; private to decode.
 *
 *   jaeger_thrift.c --.                                        .--> jaeger_span.c: one span
 *                      >-- fill batch.process and batch.span --+
 *   jaeger_pb.c ------'    (views: slices into the input)      '--> jaeger_batch.c: grouping
 *
 * Only one span is held at a time, in arrays that the next one reuses (but for the tags of logs),
 * so that scratch grows with the largest span rather than with the batch.  Translated spans stand
 * one behind the other at the end of target until jaeger_batch_finish puts resources and scopes
 * around them.
 */
#ifndef FERMATA_DECODE_JAEGER_BATCH_H
#define FERMATA_DECODE_JAEGER_BATCH_H

#include "fermata/base.h"
#include "fermata/bytes.h"

#define JAEGER_INPUT_MAX FM_MIB(128) /* sizes below have 32 bits; a byte can become 13 */

/* Numbers 0 to 4 are those of Thrift's TagType. */
enum jaeger_type {
    JAEGER_STRING,
    JAEGER_DOUBLE,
    JAEGER_BOOL,
    JAEGER_LONG,
    JAEGER_BINARY,
    JAEGER_UNKNOWN
};

/* 32 bytes, because a hostile tag can be a single byte long. */
struct jaeger_tag {
    const uint8_t *key;
    uint32_t key_len;
    uint32_t text_len;
    union {
        const uint8_t *text; /* STRING, BINARY */
        int64_t integer;     /* BOOL, LONG; UNKNOWN: its type */
        uint64_t bits;       /* DOUBLE */
    };
    uint32_t size; /* of the KeyValue that it becomes, without its own tag and length */
    uint8_t type;  /* enum jaeger_type */
    bool hidden;   /* became something else, or is a repeat */
};
struct jaeger_tags {
    struct jaeger_tag *items; /* borrowed from scratch, as all arrays here */
    uint32_t count, capacity;
};

/* Tags that mean something; jaeger_tag.c has their names. */
enum jaeger_key {
    JAEGER_KEY_NONE,
    JAEGER_KEY_IP,
    JAEGER_KEY_ERROR,
    JAEGER_KEY_EVENT,
    JAEGER_KEY_HOSTNAME,
    JAEGER_KEY_SPAN_KIND,
    JAEGER_KEY_HOST_NAME,
    JAEGER_KEY_CLIENT_UUID,
    JAEGER_KEY_SERVICE_NAME,
    JAEGER_KEY_JAEGER_VERSION,
    JAEGER_KEY_TRACESTATE,
    JAEGER_KEY_SCOPE_NAME,
    JAEGER_KEY_HTTP_STATUS_CODE,
    JAEGER_KEY_STATUS_CODE,
    JAEGER_KEY_LIBRARY_NAME,
    JAEGER_KEY_SCOPE_VERSION,
    JAEGER_KEY_HTTP_STATUS_MESSAGE,
    JAEGER_KEY_LIBRARY_VERSION,
    JAEGER_KEY_STATUS_DESCRIPTION,
    JAEGER_KEY_DROPPED_LINKS,
    JAEGER_KEY_DROPPED_EVENTS,
    JAEGER_KEY_EXPORTER_VERSION,
    JAEGER_KEY_DROPPED_ATTRIBUTES,
    JAEGER_KEY_COUNT
};
/* The meaningful ones among the tags that were settled last. */
struct jaeger_known {
    uint32_t mask; /* by enum jaeger_key: which of at is set */
    struct jaeger_tag *at[JAEGER_KEY_COUNT];
};

struct jaeger_log { /* 24 bytes, for the same reason */
    uint64_t time_ns;
    struct jaeger_tag *tags; /* borrowed from scratch */
    uint32_t count;
    uint32_t name; /* index + 1 of the tag that is the name; 0: no name */
};

enum jaeger_reference_type { JAEGER_CHILD_OF, JAEGER_FOLLOWS_FROM };
struct jaeger_reference { /* with valid ids only */
    uint64_t trace_high, trace_low, span_id;
    uint8_t type; /* enum jaeger_reference_type */
};

struct jaeger_process {
    struct fm_slice service;
    struct jaeger_tags tags;
};

struct jaeger_span {
    struct fm_slice trace_id, span_id; /* as they go to OTLP, of whatever length */
    uint8_t id_bytes[24];              /* where those from integers are */
    uint64_t trace_high, trace_low;
    uint64_t parent_id; /* 0: look at the references */
    struct fm_slice name;
    struct fm_slice process; /* protobuf: content of Span.process */
    bool has_process;
    uint32_t flags;
    uint64_t start_ns, duration_ns;
    uint32_t references_dropped; /* for invalid ids */
    struct jaeger_tags tags;
    struct jaeger_log *logs;
    uint32_t log_count, log_capacity;
    struct jaeger_reference *references;
    uint32_t reference_count, reference_capacity;
};

/* Spans of one scope that stand together in target. */
struct jaeger_run {
    struct jaeger_run *next;
    size_t offset, len;
};
struct jaeger_scope {
    struct jaeger_scope *next;      /* of the same resource, in order of appearance */
    struct jaeger_scope *next_hash; /* in the same bucket */
    struct jaeger_resource *resource;
    struct fm_slice name, version;
    struct jaeger_run *runs, *run_last;
    size_t size; /* of all its runs */
};
struct jaeger_resource {
    struct jaeger_resource *next, *next_hash;
    struct fm_slice key;   /* content of the Process message; unused in Thrift */
    struct fm_slice bytes; /* Resource, encoded */
    struct jaeger_scope *scopes, *scope_last;
};

struct jaeger_batch {
    struct fm_arena *scratch; /* borrowed */
    struct fm_buf *target;    /* borrowed */
    size_t start;             /* length of target when we came */
    struct fm_slice input;    /* keys and texts of spans and logs are in it */
    struct otlp_walk *walk;   /* borrowed; gathers what otlp_pb_check would; NULL: nobody asks */
    bool is_odd;              /* otlp_pb_check has to look: something may have to be mended */
    int rc;                   /* FM_ELIMIT or FM_ENOMEM once memory was refused */
    struct jaeger_process process;
    struct jaeger_span span;
    struct jaeger_known known;
    uint16_t *repeat_slots; /* of jaeger_tags_settle, once needed */
    struct jaeger_resource *resources, *resource_last, *resource; /* all, and of the next span */
    struct jaeger_scope *scope;                                   /* of the last span */
    uint32_t run_count;
    struct jaeger_scope **scope_buckets;
    struct jaeger_resource **resource_buckets;
    uint32_t bucket_count;
};

/* jaeger_batch.c */
void jaeger_batch_init(struct jaeger_batch *batch, struct fm_slice input, struct otlp_walk *walk,
                       struct fm_arena *scratch, struct fm_buf *target);
/* batch->process is that of the spans that follow. */
FM_MUST int jaeger_batch_set_process(struct jaeger_batch *batch, struct fm_slice key);
/* True if the resource of a Process message with this content is known, and then current. */
bool jaeger_batch_find_process(struct jaeger_batch *batch, struct fm_slice key);
FM_MUST int jaeger_batch_finish(struct jaeger_batch *batch);
void jaeger_batch_undo(struct jaeger_batch *batch);
/* The scope of the next span, which is about to be put at the end of target; NULL: batch->rc. */
struct jaeger_scope *jaeger_batch_scope(struct jaeger_batch *batch, struct fm_slice name,
                                        struct fm_slice version);
/* Memory from scratch, room in target; NULL: batch->rc says why. */
void *jaeger_alloc(struct jaeger_batch *batch, size_t size);
uint8_t *jaeger_room(struct jaeger_batch *batch, size_t size);
/* Room for `more` items behind count in an array of scratch, exactly as many the first time that
 * an array is filled; false: batch->rc. */
bool jaeger_grow(struct jaeger_batch *batch, void *items_at, uint32_t count, uint32_t *capacity,
                 uint32_t more, size_t item_size);
static inline bool jaeger_tags_reserve(struct jaeger_batch *batch, struct jaeger_tags *tags,
                                       uint32_t more)
{
    return FM_LIKELY(tags->capacity - tags->count >= more) ||
           jaeger_grow(batch, &tags->items, tags->count, &tags->capacity, more,
                       sizeof *tags->items);
}

/* jaeger_span.c */
void jaeger_span_reset(struct jaeger_span *span);
void jaeger_span_set_ids(struct jaeger_span *span, uint64_t high, uint64_t low, uint64_t span_id);
/* Appends to the references of batch->span; one with invalid ids is only counted, as it could not
 * become a link.  False: batch->rc. */
bool jaeger_span_add_reference(struct jaeger_batch *batch,
                               const struct jaeger_reference *reference);
/* Translates batch->span to the end of target. */
FM_MUST int jaeger_span_put(struct jaeger_batch *batch);

/* jaeger_tag.c */
/* What has to be known of a tag before tags are settled. */
void jaeger_tag_ready(struct jaeger_batch *batch, struct jaeger_tag *tag);
/* Hides repeats of a key (the last value counts, at the place of the first), fills
 * batch->known. */
FM_MUST int jaeger_tags_settle(struct jaeger_batch *batch, struct jaeger_tag *tags, uint32_t count);
void jaeger_tag_measure(struct jaeger_tag *tag);
/* The size of all that are not hidden, as fields of a number below 16. */
size_t jaeger_tags_size(const struct jaeger_tag *tags, uint32_t count);
uint8_t *jaeger_tag_put(uint8_t *target, uint32_t number, const struct jaeger_tag *tag);
uint8_t *jaeger_tags_put(uint8_t *target, uint32_t number, const struct jaeger_tag *tags,
                         uint32_t count);
/* The same where JAEGER_SLACK bytes behind target's end may be written, too.  input: where keys and
 * texts are in; bytes behind them may be read within it. */
#define JAEGER_SLACK 64u
uint8_t *jaeger_tags_put_loose(uint8_t *target, uint32_t number, const struct jaeger_tag *tags,
                               uint32_t count, struct fm_slice input);

static inline struct jaeger_tag *jaeger_known_tag(const struct jaeger_known *known,
                                                  enum jaeger_key key)
{
    return known->mask >> key & 1 ? known->at[key] : NULL;
}
static inline struct fm_slice jaeger_tag_text(const struct jaeger_tag *tag)
{
    return fm_slice(tag->text, tag->text_len);
}

/* Microseconds to nanoseconds; negative is 0, what does not fit is the greatest. */
static inline uint64_t jaeger_ns_from_us(int64_t us)
{
    uint64_t ns;
    if (us < 0)
        return 0;
    return __builtin_mul_overflow((uint64_t)us, 1000u, &ns) ? UINT64_MAX : ns;
}

/* Protobuf where the room is known to be there. */
static inline size_t jaeger_varint_size(uint64_t value)
{
    return FM_LIKELY(value < 128) ? 1 : (size_t)(70 - __builtin_clzll(value)) / 7;
}
static inline uint8_t *jaeger_put_varint(uint8_t *target, uint64_t value)
{
    for (; FM_UNLIKELY(value >= 128); value >>= 7)
        *target++ = (uint8_t)(value | 128);
    *target++ = (uint8_t)value;
    return target;
}
static inline size_t jaeger_field_size(size_t len) /* of a field of a number below 16 */
{
    return 1 + jaeger_varint_size(len) + len;
}
static inline uint8_t *jaeger_put_head(uint8_t *target, uint32_t number, size_t len)
{
    *target++ = (uint8_t)(number << 3 | 2);
    return jaeger_put_varint(target, len);
}
static inline uint8_t *jaeger_put_slice(uint8_t *target, uint32_t number, struct fm_slice bytes)
{
    target = jaeger_put_head(target, number, bytes.len);
    if (bytes.len >= 8 && bytes.len <= 16) { /* most keys and values: cheaper than a call */
        memcpy(target, bytes.ptr, 8);
        uint64_t tail;
        memcpy(&tail, bytes.ptr + bytes.len - 8, 8);
        memcpy(target + bytes.len - 8, &tail, 8);
    } else if (bytes.len) {
        memcpy(target, bytes.ptr, bytes.len);
    }
    return target + bytes.len;
}

#endif
