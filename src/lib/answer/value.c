/* SPDX-License-Identifier: Apache-2.0 */
/* Values, attributes and stats in both forms.  Numbers of AnyValue and KeyValue: OTLP's common.v1.
 * Durations, statuses, kinds and nil are strings there. */
#include "internal.h"

#include <math.h>

#define ANSWER_TEXT_MAX 64

enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_DOUBLE = 4, ANY_ARRAY = 5 };
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };

/* What a duration, status, kind or nil reads as; storage holds it. */
static struct fm_slice value_text(const struct traceql_value *value, struct fm_buf *storage)
{
    if (value->type == TRACEQL_STRING)
        return value->text;
    answer_put_text(value, storage);
    return fm_buf_slice(storage);
}

static void value_json_scalar(struct json_writer *writer, const struct traceql_value *value)
{
    struct fm_buf storage;

    json_object_begin(writer);
    switch (value->type) {
    case TRACEQL_INT:
        json_key(writer, "intValue");
        json_int_text(writer, value->integer);
        break;
    case TRACEQL_FLOAT:
        json_key(writer, "doubleValue");
        json_number(writer, value->number);
        break;
    case TRACEQL_BOOL:
        json_key(writer, "boolValue");
        json_bool(writer, value->flag);
        break;
    default:
        fm_buf_init(&storage, ANSWER_TEXT_MAX);
        json_key(writer, "stringValue");
        json_string(writer, value_text(value, &storage));
        writer->buf->failed |= storage.failed;
        fm_buf_fini(&storage);
    }
    json_object_end(writer);
}

void answer_json_value(struct json_writer *writer, const struct traceql_value *value)
{
    if (value->type != TRACEQL_ARRAY) {
        value_json_scalar(writer, value);
        return;
    }
    json_object_begin(writer);
    json_key(writer, "arrayValue");
    json_object_begin(writer);
    json_key(writer, "values");
    json_array_begin(writer);
    for (uint32_t i = 0; i < value->element_count; i++)
        value_json_scalar(writer, &value->elements[i]);
    json_array_end(writer);
    json_object_end(writer);
    json_object_end(writer);
}

void answer_json_attribute(struct json_writer *writer, struct fm_slice name,
                           const struct traceql_value *value)
{
    json_object_begin(writer);
    json_key(writer, "key");
    json_string(writer, name);
    json_key(writer, "value");
    answer_json_value(writer, value);
    json_object_end(writer);
}

void answer_json_u64(struct json_writer *writer, const char *key, uint64_t value)
{
    if (!value)
        return;
    json_key(writer, key);
    json_uint_text(writer, value);
}

void answer_json_u32(struct json_writer *writer, const char *key, uint32_t value)
{
    if (!value)
        return;
    json_key(writer, key);
    json_uint(writer, value);
}

static uint32_t value_u32(uint64_t value)
{
    return (uint32_t)FM_MIN(value, UINT32_MAX);
}

void answer_json_stats(struct json_writer *writer, const struct answer_stats *stats)
{
    json_key(writer, "metrics");
    json_object_begin(writer);
    answer_json_u32(writer, "inspectedTraces", value_u32(stats->inspected_traces));
    answer_json_u64(writer, "inspectedBytes", stats->inspected_bytes);
    answer_json_u32(writer, "totalBlocks", stats->block_count);
    answer_json_u32(writer, "completedJobs", stats->jobs_done);
    answer_json_u32(writer, "totalJobs", stats->job_count);
    answer_json_u64(writer, "totalBlockBytes", stats->block_bytes);
    answer_json_u64(writer, "inspectedSpans", stats->inspected_spans);
    json_object_end(writer);
}

void answer_pb_string(struct fm_buf *out, uint32_t number, struct fm_slice text)
{
    if (fm_utf8_valid_len(text) == text.len) {
        pb_put_bytes(out, number, text);
        return;
    }
    size_t mark = pb_begin(out, number);
    fm_utf8_repair(out, text);
    pb_end(out, mark);
}

void answer_pb_u64(struct fm_buf *out, uint32_t number, uint64_t value)
{
    if (value)
        pb_put_u64(out, number, value);
}

static void value_pb_fixed_double(struct fm_buf *out, uint32_t number, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    pb_put_fixed64(out, number, bits);
}

void answer_pb_double(struct fm_buf *out, uint32_t number, double value)
{
    if (value != 0)
        value_pb_fixed_double(out, number, value);
}

static void value_pb_scalar(struct fm_buf *out, const struct traceql_value *value)
{
    struct fm_buf storage;

    switch (value->type) {
    case TRACEQL_INT:
        pb_put_u64(out, ANY_INT, (uint64_t)value->integer);
        break;
    case TRACEQL_FLOAT:
        value_pb_fixed_double(out, ANY_DOUBLE, value->number);
        break;
    case TRACEQL_BOOL:
        pb_put_u64(out, ANY_BOOL, value->flag);
        break;
    default:
        fm_buf_init(&storage, ANSWER_TEXT_MAX);
        answer_pb_string(out, ANY_STRING, value_text(value, &storage));
        out->failed |= storage.failed;
        fm_buf_fini(&storage);
    }
}

static void value_pb_any(struct fm_buf *out, uint32_t number, const struct traceql_value *value)
{
    size_t any = pb_begin(out, number);

    if (value->type == TRACEQL_ARRAY) {
        size_t array = pb_begin(out, ANY_ARRAY);
        for (uint32_t i = 0; i < value->element_count; i++) {
            size_t element = pb_begin(out, 1);
            value_pb_scalar(out, &value->elements[i]);
            pb_end(out, element);
        }
        pb_end(out, array);
    } else {
        value_pb_scalar(out, value);
    }
    pb_end(out, any);
}

void answer_pb_attribute(struct fm_buf *out, uint32_t number, struct fm_slice name,
                         const struct traceql_value *value)
{
    size_t mark = pb_begin(out, number);

    answer_pb_string(out, KEY_VALUE_KEY, name);
    value_pb_any(out, KEY_VALUE_VALUE, value);
    pb_end(out, mark);
}

void answer_pb_stats(struct fm_buf *out, uint32_t number, const struct answer_stats *stats)
{
    size_t mark = pb_begin(out, number);

    answer_pb_u64(out, 1, value_u32(stats->inspected_traces));
    answer_pb_u64(out, 2, stats->inspected_bytes);
    answer_pb_u64(out, 3, stats->block_count);
    answer_pb_u64(out, 4, stats->jobs_done);
    answer_pb_u64(out, 5, stats->job_count);
    answer_pb_u64(out, 6, stats->block_bytes);
    answer_pb_u64(out, 7, stats->inspected_spans);
    pb_end(out, mark);
}
