/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's Thrift: jaeger.thrift and agent.thrift, in either encoding.
 *
 * Unknown fields, and known ones of another type, are skipped.  A batch must have a process, which
 * is what tells it from noise; all else may be absent.  The process stands in front of the spans in
 * practice; if it does not, the spans are passed over once and read when it is known.
 */
#include "fermata/jaeger.h"

#include "jaeger_batch.h"

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

/* Bytes of a compact tag: heads of its fields, each with the distance from the field before it. */
enum {
    COMPACT_TEXT_HEAD = 0x18, /* key, or text behind the type: binary */
    COMPACT_TYPE_HEAD = 0x15, /* 2 behind 1: i32 */
    COMPACT_TRUE_HEAD = 0x31, /* 5 behind 2 */
    COMPACT_FALSE_HEAD = 0x32,
    COMPACT_LONG_HEAD = 0x46, /* 6 behind 2 */
    COMPACT_STOP = 0,
};

/* A zigzag varint; NULL if it is cut or long enough to need checks. */
static const uint8_t *jaeger_compact_long(const uint8_t *ptr, const uint8_t *end,
                                          int64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; ptr < end && shift < 63; shift += 7) {
        uint8_t byte = *ptr++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret_value = (int64_t)(value >> 1 ^ (~(value & 1) + 1));
            return ptr;
        }
    }
    return NULL;
}

/* Reads the shape that nearly all tags have: key, type and the one value, text below 128 bytes.
 * False: it has another one, nothing was read.  Takes a third off the time of a whole span. */
static bool jaeger_compact_tag(struct thrift_reader *reader, struct jaeger_tag *tag)
{
    const uint8_t *ptr = reader->rest.ptr, *end = ptr + reader->rest.len;
    if (end - ptr < 7 || ptr[0] != COMPACT_TEXT_HEAD || ptr[1] > FM_MIN(end - ptr - 7, 127))
        return false;
    tag->key = ptr + 2;
    tag->key_len = ptr[1];
    ptr = tag->key + tag->key_len;        /* 5 bytes are left at least */
    uint8_t type = ptr[1], head = ptr[2]; /* type in zigzag: twice */
    if (ptr[0] != COMPACT_TYPE_HEAD)
        return false;
    tag->type = type / 2;
    ptr += 3;
    if (head == COMPACT_TEXT_HEAD && type == JAEGER_STRING * 2) {
        if (*ptr > FM_MIN(end - ptr - 2, 127))
            return false;
        tag->text = ptr + 1;
        tag->text_len = *ptr;
        ptr = tag->text + tag->text_len;
    } else if (head == COMPACT_LONG_HEAD && type == JAEGER_LONG * 2) {
        if (!(ptr = jaeger_compact_long(ptr, end - 1, &tag->integer)))
            return false;
    } else if ((head == COMPACT_TRUE_HEAD || head == COMPACT_FALSE_HEAD) &&
               type == JAEGER_BOOL * 2) {
        tag->integer = head == COMPACT_TRUE_HEAD;
    } else {
        return false;
    }
    if (*ptr++ != COMPACT_STOP)
        return false;
    reader->rest = fm_slice(ptr, (size_t)(end - ptr));
    return true;
}

static int jaeger_thrift_tag(struct thrift_reader *reader, struct jaeger_tag *tag)
{
    if (reader->encoding == THRIFT_COMPACT && jaeger_compact_tag(reader, tag))
        return FM_OK;
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
    return FM_OK;
}

/* Appends a list of tags. */
static int jaeger_thrift_tags(struct jaeger_thrift *thrift, const struct thrift_field *field,
                              struct jaeger_tags *tags)
{
    uint32_t count;
    int rc = jaeger_thrift_list(&thrift->reader, field, &count);
    if (rc == FM_OK && !jaeger_tags_reserve(&thrift->batch, tags, count))
        return thrift->batch.rc;
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        rc = jaeger_thrift_tag(&thrift->reader, &tags->items[tags->count]);
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

struct jaeger_thrift_span {
    int64_t trace_low, trace_high, span_id, parent_id, flags, start_us, duration_us;
};

static int jaeger_thrift_span_field(struct jaeger_thrift *thrift, const struct thrift_field *field,
                                    struct jaeger_thrift_span *from)
{
    struct thrift_reader *reader = &thrift->reader;
    struct jaeger_span *span = &thrift->batch.span;
    switch (field->id) {
    case 1:
        return jaeger_thrift_int(reader, field, &from->trace_low);
    case 2:
        return jaeger_thrift_int(reader, field, &from->trace_high);
    case 3:
        return jaeger_thrift_int(reader, field, &from->span_id);
    case 4:
        return jaeger_thrift_int(reader, field, &from->parent_id);
    case 5:
        return jaeger_thrift_text(reader, field, &span->name);
    case 6:
        return jaeger_thrift_references(thrift, field);
    case 7:
        return jaeger_thrift_int(reader, field, &from->flags);
    case 8:
        return jaeger_thrift_int(reader, field, &from->start_us);
    case 9:
        return jaeger_thrift_int(reader, field, &from->duration_us);
    case 10:
        return jaeger_thrift_tags(thrift, field, &span->tags);
    case 11:
        return jaeger_thrift_logs(thrift, field);
    default:
        return thrift_skip(reader, field->type);
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
        rc = thrift_field_next(&thrift->reader, &field);
        if (rc == FM_OK)
            rc = jaeger_thrift_span_field(thrift, &field, &from);
    }
    if (rc < 0)
        return rc;
    jaeger_span_set_ids(span, (uint64_t)from.trace_high, (uint64_t)from.trace_low,
                        (uint64_t)from.span_id);
    span->parent_id = (uint64_t)from.parent_id;
    span->flags = (uint32_t)from.flags;
    span->start_ns = jaeger_ns_from_us(from.start_us);
    span->duration_ns = jaeger_ns_from_us(from.duration_us);
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
                              struct fm_arena *scratch, struct fm_buf *target, struct fm_why *why)
{
    if (input.len > JAEGER_INPUT_MAX)
        return fm_fail(why, FM_ELIMIT, "a batch of %zu bytes", input.len);
    jaeger_batch_init(&thrift->batch, input.len, scratch, target);
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
    return jaeger_thrift_read(&thrift, batch, scratch, target, why);
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

int jaeger_datagram_decode(struct fm_slice datagram, struct fm_arena *scratch,
                           struct fm_buf *target, struct jaeger_client_stats *ret_stats,
                           struct fm_why *why)
{
    struct jaeger_thrift thrift;
    struct thrift_reader *reader = &thrift.reader;
    struct fm_slice name;
    enum thrift_message_type type;
    bool is_compact = datagram.len && *datagram.ptr == JAEGER_COMPACT_ID;
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
    rc = jaeger_thrift_read(&thrift, datagram, scratch, target, why);
    if (rc == FM_OK)
        *ret_stats = thrift.stats;
    return rc;
}
