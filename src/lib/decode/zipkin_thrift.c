/* SPDX-License-Identifier: Apache-2.0 */
/* zipkinCore.Span, version 1, in either encoding of Thrift. */
#include "fermata/bytes.h"
#include "fermata/thrift.h"
#include "fermata/zipkin.h"

#include "zipkin_batch.h"

enum annotation_type { /* zipkinCore.thrift */
                       ANNOTATION_BOOL,
                       ANNOTATION_BYTES,
                       ANNOTATION_I16,
                       ANNOTATION_I32,
                       ANNOTATION_I64,
                       ANNOTATION_DOUBLE,
                       ANNOTATION_STRING,
};

static int read_int(struct thrift_reader *reader, const struct thrift_field *field, int64_t *value)
{
    if (field->type >= THRIFT_I16 && field->type <= THRIFT_I64)
        return thrift_int(reader, value);
    return thrift_skip(reader, field->type);
}

static int read_text(struct thrift_reader *reader, const struct thrift_field *field,
                     struct fm_slice *text)
{
    if (field->type == THRIFT_BINARY)
        return thrift_binary(reader, text);
    return thrift_skip(reader, field->type);
}

/* Of every list in these structs the elements are structs; another list is skipped. */
static int read_list(struct zipkin_batch *batch, struct thrift_reader *reader,
                     const struct thrift_field *field,
                     int (*item)(struct zipkin_batch *batch, struct thrift_reader *reader))
{
    struct thrift_reader before = *reader;
    uint8_t type;
    uint32_t count;
    if (field->type != THRIFT_LIST)
        return thrift_skip(reader, field->type);
    int rc = thrift_list_begin(reader, &type, &count);
    if (rc == FM_OK && count && type != THRIFT_STRUCT) {
        *reader = before;
        return thrift_skip(reader, field->type);
    }
    for (uint32_t i = 0; i < count && rc == FM_OK; i++)
        rc = item(batch, reader);
    return rc;
}

static int read_host(struct zipkin_batch *batch, struct thrift_reader *reader,
                     const struct thrift_field *outer, const struct zipkin_endpoint **ret_host)
{
    struct zipkin_endpoint endpoint = {0};
    struct thrift_field field;
    if (outer->type != THRIFT_STRUCT)
        return thrift_skip(reader, outer->type);
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK && (rc = thrift_field_next(reader, &field)) == FM_OK) {
        int64_t number = 0;
        struct fm_slice text = {0};
        uint8_t address[4];
        switch (field.id) {
        case 1:
            rc = read_int(reader, &field, &number);
            fm_store_be32(address, (uint32_t)number);
            zipkin_set_ip_bytes(&endpoint, fm_slice(address, 4), batch->scratch);
            break;
        case 2:
            rc = read_int(reader, &field, &number);
            zipkin_set_port(&endpoint, (uint16_t)number);
            break;
        case 3:
            rc = read_text(reader, &field, &endpoint.service);
            break;
        case 4:
            rc = read_text(reader, &field, &text);
            if (text.len == 16)
                zipkin_set_ip_bytes(&endpoint, text, batch->scratch);
            break;
        default:
            rc = thrift_skip(reader, field.type);
        }
    }
    if (rc != FM_END || zipkin_endpoint_is_empty(&endpoint))
        return rc == FM_END ? FM_OK : rc;
    *ret_host = fm_arena_dup(batch->scratch, &endpoint, sizeof endpoint);
    return *ret_host ? FM_OK : FM_ENOMEM;
}

static int read_note(struct zipkin_batch *batch, struct thrift_reader *reader)
{
    struct zipkin_note note = {0};
    struct thrift_field field;
    int64_t time_us = 0;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK && (rc = thrift_field_next(reader, &field)) == FM_OK) {
        if (field.id == 1)
            rc = read_int(reader, &field, &time_us);
        else if (field.id == 2)
            rc = read_text(reader, &field, &note.value);
        else if (field.id == 3)
            rc = read_host(batch, reader, &field, &note.host);
        else
            rc = thrift_skip(reader, field.type);
    }
    if (rc != FM_END || !note.value.len || time_us <= 0)
        return rc == FM_END ? FM_OK : rc;
    note.time_us = (uint64_t)time_us;
    struct zipkin_note *place = zipkin_draft_note(batch);
    if (!place)
        return FM_ENOMEM;
    *place = note;
    return FM_OK;
}

/* Big-endian, of a width that fits the type; false: not. */
static bool set_number(struct zipkin_tag *tag, struct fm_slice value, int64_t type)
{
    tag->type = ZIPKIN_INT;
    if (type == ANNOTATION_BOOL && value.len == 1) {
        tag->type = ZIPKIN_BOOL;
        tag->integer = value.ptr[0] != 0;
    } else if (type == ANNOTATION_I16 && value.len == 2) {
        tag->integer = (int16_t)fm_load_be16(value.ptr);
    } else if (type == ANNOTATION_I32 && value.len == 4) {
        tag->integer = (int32_t)fm_load_be32(value.ptr);
    } else if (type == ANNOTATION_I64 && value.len == 8) {
        tag->integer = (int64_t)fm_load_be64(value.ptr);
    } else if (type == ANNOTATION_DOUBLE && value.len == 8) {
        uint64_t bits = fm_load_be64(value.ptr);
        tag->type = ZIPKIN_DOUBLE;
        memcpy(&tag->number, &bits, sizeof bits);
    } else {
        tag->type = ZIPKIN_TEXT;
        return false;
    }
    return true;
}

/* Bytes, and what is not as wide as its type says, become base64. */
static int set_value(struct zipkin_batch *batch, struct zipkin_tag *tag, struct fm_slice value,
                     int64_t type)
{
    if (type == ANNOTATION_STRING || type < 0 || type > ANNOTATION_STRING) {
        tag->text = value;
        return FM_OK;
    }
    if (set_number(tag, value, type))
        return FM_OK;
    struct fm_buf text;
    fm_buf_init(&text, value.len * 4 / 3 + 8);
    fm_base64_encode(&text, value);
    tag->text = fm_slice_dup(batch->scratch, fm_buf_slice(&text));
    bool is_good = !text.failed && (tag->text.ptr || !text.len);
    fm_buf_fini(&text);
    return is_good ? FM_OK : FM_ENOMEM;
}

static int read_binary(struct zipkin_batch *batch, struct thrift_reader *reader)
{
    struct zipkin_tag tag = {0};
    struct thrift_field field;
    struct fm_slice value = {0};
    int64_t type = ANNOTATION_STRING;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK && (rc = thrift_field_next(reader, &field)) == FM_OK) {
        if (field.id == 1)
            rc = read_text(reader, &field, &tag.key);
        else if (field.id == 2)
            rc = read_text(reader, &field, &value);
        else if (field.id == 3)
            rc = read_int(reader, &field, &type);
        else if (field.id == 4)
            rc = read_host(batch, reader, &field, &tag.host);
        else
            rc = thrift_skip(reader, field.type);
    }
    if (rc != FM_END || !tag.key.len)
        return rc == FM_END ? FM_OK : rc;
    rc = set_value(batch, &tag, value, type);
    struct zipkin_tag *place = rc == FM_OK ? zipkin_draft_tag(batch) : NULL;
    if (!place)
        return FM_ENOMEM;
    *place = tag;
    return FM_OK;
}

static int read_span_field(struct zipkin_batch *batch, struct thrift_reader *reader,
                           const struct thrift_field *field)
{
    struct zipkin_draft *draft = &batch->draft;
    struct zipkin_span *span = &draft->span;
    int64_t number = 0;
    int rc;
    switch (field->id) {
    case 3:
        return read_text(reader, field, &span->name);
    case 6:
        return read_list(batch, reader, field, read_note);
    case 8:
        return read_list(batch, reader, field, read_binary);
    case 1:
    case 4:
    case 5:
    case 10:
    case 11:
    case 12:
        if (field->type < THRIFT_I16 || field->type > THRIFT_I64)
            return thrift_skip(reader, field->type);
        rc = thrift_int(reader, &number);
        break;
    default:
        return thrift_skip(reader, field->type);
    }
    if (rc < 0)
        return rc;
    switch (field->id) {
    case 1:
    case 12:
        fm_store_be64(span->trace_id + (field->id == 1 ? 8 : 0), (uint64_t)number);
        draft->has_trace_id = draft->has_trace_id || number != 0;
        break;
    case 4:
        fm_store_be64(span->id, (uint64_t)number);
        draft->has_id = number != 0;
        break;
    case 5:
        fm_store_be64(span->parent_id, (uint64_t)number);
        span->has_parent = number != 0;
        break;
    case 10:
        span->timestamp_us = number > 0 ? (uint64_t)number : 0;
        break;
    case 11:
        span->duration_us = number > 0 ? (uint64_t)number : 0;
        break;
    default:
        break;
    }
    return FM_OK;
}

static int read_span(struct zipkin_batch *batch, struct thrift_reader *reader)
{
    struct thrift_field field;
    int rc = thrift_struct_begin(reader);
    zipkin_draft_reset(batch);
    while (rc == FM_OK && (rc = thrift_field_next(reader, &field)) == FM_OK)
        rc = read_span_field(batch, reader, &field);
    if (rc != FM_END)
        return rc;
    batch->draft.is_v1 = true;
    return zipkin_draft_finish(batch);
}

int zipkin_thrift_read(struct thrift_reader *reader, struct fm_arena *scratch,
                       struct fm_buf *target, struct fm_why *why)
{
    struct zipkin_batch *batch;
    size_t len = reader->rest.len;
    uint8_t type;
    uint32_t count = 0;
    int rc = zipkin_batch_new(&batch, len, scratch, target, why);
    if (rc < 0)
        return rc;
    /* Some senders give the elements another type than struct; they are structs all the same. */
    rc = thrift_list_begin(reader, &type, &count);
    for (uint32_t i = 0; i < count && rc == FM_OK; i++)
        rc = read_span(batch, reader);
    if (rc == FM_EMALFORMED || rc == FM_ELIMIT) /* memory that ends is FM_ENOMEM here */
        rc = fm_fail(why, FM_EMALFORMED, "not a Thrift list of spans: %s at byte %zu",
                     rc == FM_ELIMIT ? "nested too deeply" : "broken", len - reader->rest.len);
    return zipkin_batch_finish(batch, rc, why);
}

int zipkin_thrift_decode(struct fm_slice list, enum thrift_encoding encoding,
                         struct fm_arena *scratch, struct fm_buf *target, struct fm_why *why)
{
    struct thrift_reader reader;
    if (list.len == 0)
        return FM_OK;
    thrift_reader_init_as(&reader, encoding, list);
    return zipkin_thrift_read(&reader, scratch, target, why);
}
