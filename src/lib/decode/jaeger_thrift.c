/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's Thrift: jaeger.thrift and agent.thrift, in either encoding.
 *
 * Unknown fields, and known ones of another type, are skipped.  A batch must have a process, which
 * is what tells it from noise; all else may be absent.  The process stands in front of the spans in
 * practice; if it does not, the spans are passed over once and read when it is known.
 */
#include "fermata/jaeger.h"

#include "jaeger_compact.h"
#include "otlp_walk.h"

#include "fermata/hash.h"
#include "fermata/zipkin.h"

#define JAEGER_COMPACT_ID 0x82 /* first byte of a compact message; no binary one begins with it */

struct jaeger_thrift {
    struct thrift_reader reader;
    struct jaeger_batch batch;
    struct thrift_reader spans; /* in front of the list, if has_late_spans */
    bool has_process, has_spans, has_late_spans, lacks_process;
    struct jaeger_client_stats stats;
};

/* ---- fields ---- */

static int jaeger_thrift_int(struct thrift_reader *reader, const struct thrift_field *field,
                             int64_t *value)
{
    if (FM_LIKELY(field->type >= THRIFT_I16 && field->type <= THRIFT_I64))
        return thrift_int(reader, value);
    return thrift_skip(reader, field->type);
}

static int jaeger_thrift_text(struct thrift_reader *reader, const struct thrift_field *field,
                              struct fm_slice *text)
{
    if (FM_LIKELY(field->type == THRIFT_BINARY))
        return thrift_binary(reader, text);
    return thrift_skip(reader, field->type);
}

/* Enters a list of structs; another one is skipped and has no elements. */
static int jaeger_thrift_list(struct thrift_reader *reader, const struct thrift_field *field,
                              uint32_t *ret_count)
{
    struct fm_slice start = reader->rest;
    uint8_t type;
    uint32_t count;
    *ret_count = 0;
    if (field->type != THRIFT_LIST)
        return thrift_skip(reader, field->type);
    int rc = thrift_list_begin(reader, &type, &count);
    if (rc < 0 || count == 0)
        return rc;
    if (type == THRIFT_STRUCT) {
        *ret_count = count;
        return FM_OK;
    }
    reader->rest = start;
    return thrift_skip(reader, field->type);
}

/* ---- tags ---- */

struct jaeger_thrift_tag {
    struct fm_slice key, text, binary;
    int64_t type, integer;
    double number;
    bool boolean;
};

static int jaeger_thrift_tag_field(struct thrift_reader *reader, const struct thrift_field *field,
                                   struct jaeger_thrift_tag *tag)
{
    switch (field->id) {
    case 1:
        return jaeger_thrift_text(reader, field, &tag->key);
    case 2:
        return jaeger_thrift_int(reader, field, &tag->type);
    case 3:
        return jaeger_thrift_text(reader, field, &tag->text);
    case 4:
        return field->type == THRIFT_DOUBLE ? thrift_double(reader, &tag->number)
                                            : thrift_skip(reader, field->type);
    case 5:
        if (!thrift_field_is_bool(field))
            return thrift_skip(reader, field->type);
        tag->boolean = field->type == THRIFT_TRUE;
        return FM_OK;
    case 6:
        return jaeger_thrift_int(reader, field, &tag->integer);
    case 7:
        return jaeger_thrift_text(reader, field, &tag->binary);
    default:
        return thrift_skip(reader, field->type);
    }
}

/* The value is the one that the type names: some clients write all of them, most of them zero. */
static void jaeger_thrift_tag_set(const struct jaeger_thrift_tag *from, struct jaeger_tag *tag)
{
    tag->key = from->key.ptr;
    tag->key_len = (uint32_t)from->key.len;
    int32_t type = (int32_t)from->type;
    tag->type = (uint8_t)type;
    switch (type) {
    case JAEGER_STRING:
        tag->text = from->text.ptr;
        tag->text_len = (uint32_t)from->text.len;
        return;
    case JAEGER_DOUBLE:
        memcpy(&tag->bits, &from->number, sizeof tag->bits);
        return;
    case JAEGER_BOOL:
        tag->integer = from->boolean;
        return;
    case JAEGER_LONG:
        tag->integer = from->integer;
        return;
    case JAEGER_BINARY:
        tag->text = from->binary.ptr;
        tag->text_len = (uint32_t)from->binary.len;
        return;
    default:
        tag->type = JAEGER_UNKNOWN;
        tag->integer = type;
    }
}

static int jaeger_thrift_tag(struct jaeger_thrift *thrift, struct jaeger_tag *tag)
{
    struct thrift_reader *reader = &thrift->reader;
    struct jaeger_thrift_tag from = {.type = JAEGER_STRING};
    struct thrift_field field;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(reader, &field);
        if (rc == FM_OK)
            rc = jaeger_thrift_tag_field(reader, &field, &from);
    }
    if (rc < 0)
        return rc;
    jaeger_thrift_tag_set(&from, tag);
    jaeger_tag_ready(&thrift->batch, tag);
    return FM_OK;
}

/* Appends a list of tags. */
static int jaeger_thrift_tags(struct jaeger_thrift *thrift, const struct thrift_field *field,
                              struct jaeger_tags *tags)
{
    bool is_compact = thrift->reader.encoding == THRIFT_COMPACT;
    uint32_t count;
    int rc = jaeger_thrift_list(&thrift->reader, field, &count);
    if (rc == FM_OK && !jaeger_tags_reserve(&thrift->batch, tags, count))
        return thrift->batch.rc;
    for (uint32_t end = tags->count + count; rc == FM_OK && tags->count < end;) {
        struct jaeger_tag *next = &tags->items[tags->count];
        uint32_t left = end - tags->count;
        uint32_t usual = is_compact ? jaeger_compact_tags(&thrift->reader, next, left) : 0;
        tags->count += usual;
        if (usual == left)
            break;
        rc = jaeger_thrift_tag(thrift, next + usual);
        tags->count += rc == FM_OK;
    }
    return rc;
}

/* ---- logs and references ---- */

static int jaeger_thrift_log(struct jaeger_thrift *thrift, struct jaeger_log *log)
{
    struct thrift_reader *reader = &thrift->reader;
    struct jaeger_tags tags = {0};
    struct thrift_field field;
    int64_t time_us = 0;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id == 1)
            rc = jaeger_thrift_int(reader, &field, &time_us);
        else if (field.id == 2)
            rc = jaeger_thrift_tags(thrift, &field, &tags);
        else
            rc = thrift_skip(reader, field.type);
    }
    if (rc < 0)
        return rc;
    *log = (struct jaeger_log){
        .time_ns = jaeger_ns_from_us(time_us), .tags = tags.items, .count = tags.count};
    return FM_OK;
}

static int jaeger_thrift_logs(struct jaeger_thrift *thrift, const struct thrift_field *field)
{
    struct jaeger_span *span = &thrift->batch.span;
    uint32_t count;
    int rc = jaeger_thrift_list(&thrift->reader, field, &count);
    if (rc < 0)
        return rc;
    if (span->log_capacity - span->log_count < count &&
        !jaeger_grow(&thrift->batch, &span->logs, span->log_count, &span->log_capacity, count,
                     sizeof *span->logs))
        return thrift->batch.rc;
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        rc = jaeger_thrift_log(thrift, &span->logs[span->log_count]);
        span->log_count += rc == FM_OK;
    }
    return rc;
}

static int jaeger_thrift_reference(struct thrift_reader *reader, struct jaeger_reference *reference)
{
    struct thrift_field field;
    int64_t values[5] = {0}; /* by field id: type, low, high, span id */
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id >= 1 && field.id <= 4)
            rc = jaeger_thrift_int(reader, &field, &values[field.id]);
        else
            rc = thrift_skip(reader, field.type);
    }
    if (rc < 0)
        return rc;
    *reference = (struct jaeger_reference){
        .trace_high = (uint64_t)values[3],
        .trace_low = (uint64_t)values[2],
        .span_id = (uint64_t)values[4],
        .type = (int32_t)values[1] == 0 ? JAEGER_CHILD_OF : JAEGER_FOLLOWS_FROM,
    };
    return FM_OK;
}

static int jaeger_thrift_references(struct jaeger_thrift *thrift, const struct thrift_field *field)
{
    uint32_t count;
    int rc = jaeger_thrift_list(&thrift->reader, field, &count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        struct jaeger_reference reference;
        rc = jaeger_thrift_reference(&thrift->reader, &reference);
        if (rc == FM_OK && !jaeger_span_add_reference(&thrift->batch, &reference))
            rc = thrift->batch.rc;
    }
    return rc;
}

/* ---- spans ---- */

static int jaeger_thrift_span_field(struct jaeger_thrift *thrift, const struct thrift_field *field,
                                    struct jaeger_thrift_span *from)
{
    struct thrift_reader *reader = &thrift->reader;
    struct jaeger_span *span = &thrift->batch.span;
    switch (field->id) {
    case JAEGER_SPAN_NAME:
        return jaeger_thrift_text(reader, field, &span->name);
    case JAEGER_SPAN_REFERENCES:
        return jaeger_thrift_references(thrift, field);
    case JAEGER_SPAN_TAGS:
        return jaeger_thrift_tags(thrift, field, &span->tags);
    case JAEGER_SPAN_LOGS:
        return jaeger_thrift_logs(thrift, field);
    default:
        return field->id >= JAEGER_SPAN_TRACE_LOW && field->id <= JAEGER_SPAN_DURATION
                   ? jaeger_thrift_int(reader, field, &from->values[field->id])
                   : thrift_skip(reader, field->type);
    }
}

static int jaeger_thrift_span(struct jaeger_thrift *thrift)
{
    struct jaeger_thrift_span from = {0};
    struct jaeger_span *span = &thrift->batch.span;
    struct thrift_field field;
    jaeger_span_reset(span);
    int rc = thrift_struct_begin(&thrift->reader);
    while (rc == FM_OK) {
        if (thrift->reader.encoding == THRIFT_COMPACT)
            jaeger_compact_fields(&thrift->reader, &from, &span->name);
        rc = thrift_field_next(&thrift->reader, &field);
        if (rc == FM_OK)
            rc = jaeger_thrift_span_field(thrift, &field, &from);
    }
    if (rc < 0)
        return rc;
    jaeger_span_set_ids(span, (uint64_t)from.values[JAEGER_SPAN_TRACE_HIGH],
                        (uint64_t)from.values[JAEGER_SPAN_TRACE_LOW],
                        (uint64_t)from.values[JAEGER_SPAN_ID]);
    span->parent_id = (uint64_t)from.values[JAEGER_SPAN_PARENT];
    span->flags = (uint32_t)from.values[JAEGER_SPAN_FLAGS];
    span->start_ns = jaeger_ns_from_us(from.values[JAEGER_SPAN_START]);
    span->duration_ns = jaeger_ns_from_us(from.values[JAEGER_SPAN_DURATION]);
    return jaeger_span_put(&thrift->batch);
}

static int jaeger_thrift_spans(struct jaeger_thrift *thrift)
{
    const struct thrift_field field = {.type = THRIFT_LIST};
    uint32_t count;
    int rc = jaeger_thrift_list(&thrift->reader, &field, &count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++)
        rc = jaeger_thrift_span(thrift);
    return rc;
}

/* ---- the batch ---- */

/* Whose counters they are: a client's uuid, or else its service and address. */
static uint64_t jaeger_thrift_client(const struct jaeger_batch *batch)
{
    struct jaeger_tag *uuid = jaeger_known_tag(&batch->known, JAEGER_KEY_CLIENT_UUID);
    struct jaeger_tag *ip = jaeger_known_tag(&batch->known, JAEGER_KEY_IP);
    if (uuid && uuid->type == JAEGER_STRING)
        return fm_hash64(jaeger_tag_text(uuid), 1);
    uint64_t hash = fm_hash64(batch->process.service, 0);
    if (ip && ip->type == JAEGER_STRING)
        return fm_hash64(jaeger_tag_text(ip), hash);
    return ip && ip->type == JAEGER_LONG ? hash ^ (uint64_t)ip->integer : hash;
}

static int jaeger_thrift_process(struct jaeger_thrift *thrift)
{
    struct thrift_reader *reader = &thrift->reader;
    struct jaeger_process *process = &thrift->batch.process;
    struct thrift_field field;
    process->service = fm_slice(NULL, 0);
    process->tags.count = 0;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id == 1)
            rc = jaeger_thrift_text(reader, &field, &process->service);
        else if (field.id == 2)
            rc = jaeger_thrift_tags(thrift, &field, &process->tags);
        else
            rc = thrift_skip(reader, field.type);
    }
    if (rc == FM_END)
        rc = jaeger_batch_set_process(&thrift->batch, fm_slice(NULL, 0));
    if (rc < 0)
        return rc;
    thrift->stats.client_key = jaeger_thrift_client(&thrift->batch);
    thrift->has_process = true;
    return FM_OK;
}

static int jaeger_thrift_stats(struct jaeger_thrift *thrift)
{
    int64_t values[4] = {0}; /* by field id */
    struct thrift_field field;
    int rc = thrift_struct_begin(&thrift->reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(&thrift->reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id >= 1 && field.id <= 3)
            rc = jaeger_thrift_int(&thrift->reader, &field, &values[field.id]);
        else
            rc = thrift_skip(&thrift->reader, field.type);
    }
    if (rc < 0)
        return rc;
    thrift->stats.is_present = true;
    thrift->stats.queue_dropped = (uint64_t)FM_MAX(values[1], 0);
    thrift->stats.too_large_dropped = (uint64_t)FM_MAX(values[2], 0);
    thrift->stats.failed = (uint64_t)FM_MAX(values[3], 0);
    return FM_OK;
}

static int jaeger_thrift_batch_field(struct jaeger_thrift *thrift, const struct thrift_field *field)
{
    struct thrift_reader *reader = &thrift->reader;
    if (field->id == 1 && field->type == THRIFT_STRUCT && !thrift->has_process)
        return jaeger_thrift_process(thrift);
    if (field->id == 2 && field->type == THRIFT_LIST && !thrift->has_spans) {
        thrift->has_spans = true;
        if (thrift->has_process)
            return jaeger_thrift_spans(thrift);
        thrift->spans = *reader;
        thrift->has_late_spans = true;
    } else if (field->id == 3) {
        return jaeger_thrift_int(reader, field, &thrift->stats.sequence);
    } else if (field->id == 4 && field->type == THRIFT_STRUCT) {
        return jaeger_thrift_stats(thrift);
    }
    return thrift_skip(reader, field->type);
}

/* Reads a Batch; the batch in thrift has been opened. */
static int jaeger_thrift_batch(struct jaeger_thrift *thrift)
{
    struct thrift_field field;
    int rc = thrift_struct_begin(&thrift->reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(&thrift->reader, &field);
        if (rc != FM_OK)
            break;
        rc = jaeger_thrift_batch_field(thrift, &field);
    }
    if (rc < 0)
        return rc;
    if (!thrift->has_process) {
        thrift->lacks_process = true;
        return FM_EMALFORMED;
    }
    if (thrift->has_late_spans) {
        thrift->reader = thrift->spans;
        rc = jaeger_thrift_spans(thrift);
        if (rc < 0)
            return rc;
    }
    return jaeger_batch_finish(&thrift->batch);
}

/* Opens the batch, reads, and undoes what was done if that fails. */
static int jaeger_thrift_read(struct jaeger_thrift *thrift, struct fm_slice input,
                              struct otlp_walk *walk, struct fm_arena *scratch,
                              struct fm_buf *target, struct fm_why *why)
{
    if (input.len > JAEGER_INPUT_MAX)
        return fm_fail(why, FM_ELIMIT, "a batch of %zu bytes", input.len);
    jaeger_batch_init(&thrift->batch, input, walk, scratch, target);
    thrift->stats = (struct jaeger_client_stats){.sequence = -1};
    thrift->has_process = thrift->has_spans = false;
    thrift->has_late_spans = thrift->lacks_process = false;
    int rc = jaeger_thrift_batch(thrift);
    if (rc == FM_OK)
        return FM_OK;
    jaeger_batch_undo(&thrift->batch);
    if (thrift->lacks_process)
        return fm_fail(why, rc, "Jaeger batch without a process");
    return fm_fail(why, rc, "Jaeger batch in Thrift: %s at byte %zu", fm_rc_text(rc),
                   (size_t)(thrift->reader.rest.ptr - input.ptr));
}

int jaeger_thrift_decode(struct fm_slice batch, enum thrift_encoding encoding,
                         struct fm_arena *scratch, struct fm_buf *target, struct fm_why *why)
{
    struct jaeger_thrift thrift;
    thrift_reader_init_as(&thrift.reader, encoding, batch);
    return jaeger_thrift_read(&thrift, batch, NULL, scratch, target, why);
}

/* ---- datagrams ---- */

/* Moves to the one argument of the call: field 1 of its arguments, of the given type. */
static int jaeger_datagram_argument(struct thrift_reader *reader, uint8_t type)
{
    struct thrift_field field;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        rc = thrift_field_next(reader, &field);
        if (rc != FM_OK || (field.id == 1 && field.type == type))
            break;
        rc = thrift_skip(reader, field.type);
    }
    return rc == FM_END ? FM_EMALFORMED : rc;
}

/* ret_is_odd: false if walk gathered all that otlp_pb_check would. */
static int jaeger_datagram_read(struct fm_slice datagram, struct otlp_walk *walk,
                                struct fm_arena *scratch, struct fm_buf *target, bool *ret_is_odd,
                                struct jaeger_client_stats *ret_stats, struct fm_why *why)
{
    struct jaeger_thrift thrift;
    struct thrift_reader *reader = &thrift.reader;
    struct fm_slice name;
    enum thrift_message_type type;
    bool is_compact = datagram.len && *datagram.ptr == JAEGER_COMPACT_ID;
    *ret_is_odd = true;
    thrift_reader_init_as(reader, is_compact ? THRIFT_COMPACT : THRIFT_BINARY_PROTOCOL, datagram);
    int rc = thrift_message_begin(reader, &name, &type);
    if (rc < 0 || (type != THRIFT_CALL && type != THRIFT_ONEWAY))
        return fm_fail(why, FM_EMALFORMED, "not a call in Thrift");
    bool is_zipkin = fm_slice_equal_text(name, "emitZipkinBatch");
    if (!is_zipkin && !fm_slice_equal_text(name, "emitBatch"))
        return fm_fail(why, FM_EUNSUPPORTED, "a call of a method that agents do not have");
    rc = jaeger_datagram_argument(reader, is_zipkin ? THRIFT_LIST : THRIFT_STRUCT);
    if (rc < 0)
        return fm_fail(why, rc, "a call without its argument");
    if (is_zipkin) {
        rc = zipkin_thrift_read(reader, scratch, target, why);
        if (rc == FM_OK)
            *ret_stats = (struct jaeger_client_stats){.sequence = -1};
        return rc;
    }
    rc = jaeger_thrift_read(&thrift, datagram, walk, scratch, target, why);
    if (rc < 0)
        return rc;
    *ret_stats = thrift.stats;
    *ret_is_odd = thrift.batch.is_odd;
    return FM_OK;
}

int jaeger_datagram_decode(struct fm_slice datagram, struct fm_arena *scratch,
                           struct fm_buf *target, struct jaeger_client_stats *ret_stats,
                           struct fm_why *why)
{
    bool is_odd;
    return jaeger_datagram_read(datagram, NULL, scratch, target, &is_odd, ret_stats, why);
}

int jaeger_datagram_check(struct fm_slice datagram, const struct decode_limits *limits,
                          struct fm_arena *scratch, struct fm_buf *target,
                          struct decode_facts *facts, struct jaeger_client_stats *ret_stats,
                          struct fm_why *why)
{
    struct jaeger_client_stats stats = {0};
    struct otlp_walk walk;
    size_t before = target->len;
    bool is_odd;
    decode_facts_reset(facts);
    otlp_walk_init(&walk, limits, facts);
    int rc = jaeger_datagram_read(datagram, &walk, scratch, target, &is_odd, &stats, why);
    if (rc < 0)
        return rc;
    otlp_walk_finish(&walk);
    if (is_odd || walk.span_count > limits->span_count_max)
        rc =
            otlp_pb_check(fm_slice(target->ptr + before, target->len - before), limits, facts, why);
    if (rc < 0)
        target->len = before;
    else
        *ret_stats = stats;
    return rc;
}
