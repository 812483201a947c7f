/* SPDX-License-Identifier: Apache-2.0 */
/* A Jaeger batch as a table, and its three encodings. */
#ifndef TESTS_DECODE_JAEGER_SAMPLE_H
#define TESTS_DECODE_JAEGER_SAMPLE_H

#include "fermata/pb.h"
#include "fermata/thrift.h"

enum { SAMPLE_TEXT, SAMPLE_DOUBLE, SAMPLE_BOOL, SAMPLE_LONG, SAMPLE_BYTES }; /* as Thrift's */

struct sample_tag {
    const char *key;
    int type;
    const char *text;
    int64_t integer;
    double number;
};
#define TAG_TEXT(key, text)                                                                        \
    {                                                                                              \
        key, SAMPLE_TEXT, text, 0, 0                                                               \
    }
#define TAG_BYTES(key, text)                                                                       \
    {                                                                                              \
        key, SAMPLE_BYTES, text, 0, 0                                                              \
    }
#define TAG_LONG(key, value)                                                                       \
    {                                                                                              \
        key, SAMPLE_LONG, NULL, value, 0                                                           \
    }
#define TAG_BOOL(key, value)                                                                       \
    {                                                                                              \
        key, SAMPLE_BOOL, NULL, value, 0                                                           \
    }
#define TAG_DOUBLE(key, value)                                                                     \
    {                                                                                              \
        key, SAMPLE_DOUBLE, NULL, 0, value                                                         \
    }
#define SAMPLE_LIST(type, ...)                                                                     \
    (const type[]){__VA_ARGS__}, sizeof((const type[]){__VA_ARGS__}) / sizeof(type)
#define SAMPLE_TAGS(...)       SAMPLE_LIST(struct sample_tag, __VA_ARGS__)
#define SAMPLE_LOGS(...)       SAMPLE_LIST(struct sample_log, __VA_ARGS__)
#define SAMPLE_REFERENCES(...) SAMPLE_LIST(struct sample_reference, __VA_ARGS__)
#define SAMPLE_SPANS(...)      SAMPLE_LIST(struct sample_span, __VA_ARGS__)

struct sample_tags {
    const struct sample_tag *items;
    size_t count;
};
struct sample_log {
    int64_t time_us;
    struct sample_tags fields;
};
struct sample_reference {
    int type;
    uint64_t high, low, span_id;
};
struct sample_span {
    uint64_t high, low, span_id;
    uint64_t parent_id; /* Thrift only */
    const char *name;
    struct {
        const struct sample_reference *items;
        size_t count;
    } references;
    int flags;
    int64_t start_us, duration_us;
    struct sample_tags tags;
    struct {
        const struct sample_log *items;
        size_t count;
    } logs;
    bool has_process; /* protobuf only */
    const char *service;
    struct sample_tags process_tags;
};
struct sample_batch {
    const char *service;
    struct sample_tags tags;
    struct {
        const struct sample_span *items;
        size_t count;
    } spans;
    bool all_values; /* Thrift: every value of a tag is written, as thriftrw does */
};

static inline void sample_thrift_tag(struct thrift_writer *writer, const struct sample_tag *tag,
                                     bool all_values)
{
    struct fm_slice text = fm_slice_text(tag->text ? tag->text : "");
    thrift_put_struct_begin(writer);
    thrift_put_binary(writer, 1, fm_slice_text(tag->key));
    thrift_put_i32(writer, 2, tag->type);
    if (tag->type == SAMPLE_TEXT || all_values)
        thrift_put_binary(writer, 3, tag->type == SAMPLE_TEXT ? text : fm_slice(NULL, 0));
    if (tag->type == SAMPLE_DOUBLE || all_values)
        thrift_put_double(writer, 4, tag->number);
    if (tag->type == SAMPLE_BOOL || all_values)
        thrift_put_bool(writer, 5, tag->type == SAMPLE_BOOL && tag->integer);
    if (tag->type == SAMPLE_LONG || all_values)
        thrift_put_i64(writer, 6, tag->type == SAMPLE_LONG ? tag->integer : 0);
    if (tag->type == SAMPLE_BYTES || all_values)
        thrift_put_binary(writer, 7, tag->type == SAMPLE_BYTES ? text : fm_slice(NULL, 0));
    thrift_put_struct_end(writer);
}

static inline void sample_thrift_tags(struct thrift_writer *writer, int16_t id,
                                      const struct sample_tags *tags, bool all_values)
{
    if (!tags->count)
        return;
    thrift_put_list(writer, id, THRIFT_STRUCT, (uint32_t)tags->count);
    for (size_t i = 0; i < tags->count; i++)
        sample_thrift_tag(writer, &tags->items[i], all_values);
}

static inline void sample_thrift_links(struct thrift_writer *writer, const struct sample_span *span)
{
    if (!span->references.count)
        return;
    thrift_put_list(writer, 6, THRIFT_STRUCT, (uint32_t)span->references.count);
    for (size_t i = 0; i < span->references.count; i++) {
        const struct sample_reference *reference = &span->references.items[i];
        thrift_put_struct_begin(writer);
        thrift_put_i32(writer, 1, reference->type);
        thrift_put_i64(writer, 2, (int64_t)reference->low);
        thrift_put_i64(writer, 3, (int64_t)reference->high);
        thrift_put_i64(writer, 4, (int64_t)reference->span_id);
        thrift_put_struct_end(writer);
    }
}

static inline void sample_thrift_span(struct thrift_writer *writer, const struct sample_span *span,
                                      bool all_values)
{
    thrift_put_struct_begin(writer);
    thrift_put_i64(writer, 1, (int64_t)span->low);
    thrift_put_i64(writer, 2, (int64_t)span->high);
    thrift_put_i64(writer, 3, (int64_t)span->span_id);
    thrift_put_i64(writer, 4, (int64_t)span->parent_id);
    thrift_put_binary(writer, 5, fm_slice_text(span->name ? span->name : ""));
    sample_thrift_links(writer, span);
    thrift_put_i32(writer, 7, span->flags);
    thrift_put_i64(writer, 8, span->start_us);
    thrift_put_i64(writer, 9, span->duration_us);
    sample_thrift_tags(writer, 10, &span->tags, all_values);
    if (span->logs.count)
        thrift_put_list(writer, 11, THRIFT_STRUCT, (uint32_t)span->logs.count);
    for (size_t i = 0; i < span->logs.count; i++) {
        thrift_put_struct_begin(writer);
        thrift_put_i64(writer, 1, span->logs.items[i].time_us);
        sample_thrift_tags(writer, 2, &span->logs.items[i].fields, all_values);
        thrift_put_struct_end(writer);
    }
    thrift_put_struct_end(writer);
}

/* The bare Batch; more fields can follow before thrift_put_struct_end(). */
static inline void sample_thrift_open(struct thrift_writer *writer,
                                      const struct sample_batch *batch)
{
    thrift_put_struct_begin(writer);
    thrift_put_struct_field(writer, 1);
    thrift_put_binary(writer, 1, fm_slice_text(batch->service));
    sample_thrift_tags(writer, 2, &batch->tags, batch->all_values);
    thrift_put_struct_end(writer);
    thrift_put_list(writer, 2, THRIFT_STRUCT, (uint32_t)batch->spans.count);
    for (size_t i = 0; i < batch->spans.count; i++)
        sample_thrift_span(writer, &batch->spans.items[i], batch->all_values);
}

static inline void sample_thrift(struct fm_buf *buf, enum thrift_encoding encoding,
                                 const struct sample_batch *batch)
{
    struct thrift_writer writer;
    thrift_writer_init_as(&writer, encoding, buf);
    sample_thrift_open(&writer, batch);
    thrift_put_struct_end(&writer);
}

static inline void sample_pb_tags(struct fm_buf *buf, uint32_t number,
                                  const struct sample_tags *tags)
{
    static const uint32_t types[] = {0, 3, 1, 2, 4};
    for (size_t i = 0; i < tags->count; i++) {
        const struct sample_tag *tag = &tags->items[i];
        size_t mark = pb_begin(buf, number);
        pb_put_text(buf, 1, tag->key);
        if (tag->type < 0 || tag->type > SAMPLE_BYTES)
            pb_put_u64(buf, 2, (uint64_t)tag->type);
        else if (tag->type)
            pb_put_u64(buf, 2, types[tag->type]);
        if (tag->text && *tag->text)
            pb_put_text(buf, tag->type == SAMPLE_TEXT ? 3 : 7, tag->text);
        if (tag->integer)
            pb_put_u64(buf, tag->type == SAMPLE_BOOL ? 4 : 5, (uint64_t)tag->integer);
        if (tag->type == SAMPLE_DOUBLE) {
            uint64_t bits;
            memcpy(&bits, &tag->number, sizeof bits);
            pb_put_fixed64(buf, 6, bits);
        }
        pb_end(buf, mark);
    }
}

static inline void sample_pb_time(struct fm_buf *buf, uint32_t number, int64_t us)
{
    size_t mark = pb_begin(buf, number);
    pb_put_u64(buf, 1, (uint64_t)(us / 1000000));
    if (us % 1000000)
        pb_put_u64(buf, 2, (uint64_t)(us % 1000000 * 1000));
    pb_end(buf, mark);
}

static inline void sample_pb_ids(struct fm_buf *buf, uint64_t high, uint64_t low, uint64_t span_id)
{
    uint8_t ids[24];
    fm_store_be64(ids, high);
    fm_store_be64(ids + 8, low);
    fm_store_be64(ids + 16, span_id);
    pb_put_bytes(buf, 1, fm_slice(ids, 16));
    pb_put_bytes(buf, 2, fm_slice(ids + 16, 8));
}

static inline void sample_pb_process(struct fm_buf *buf, uint32_t number, const char *service,
                                     const struct sample_tags *tags)
{
    size_t mark = pb_begin(buf, number);
    pb_put_text(buf, 1, service);
    sample_pb_tags(buf, 2, tags);
    pb_end(buf, mark);
}

static inline void sample_pb_span(struct fm_buf *buf, const struct sample_span *span)
{
    size_t mark = pb_begin(buf, 1);
    sample_pb_ids(buf, span->high, span->low, span->span_id);
    if (span->name)
        pb_put_text(buf, 3, span->name);
    for (size_t i = 0; i < span->references.count; i++) {
        const struct sample_reference *reference = &span->references.items[i];
        size_t inner = pb_begin(buf, 4);
        sample_pb_ids(buf, reference->high, reference->low, reference->span_id);
        if (reference->type)
            pb_put_u64(buf, 3, (uint64_t)reference->type);
        pb_end(buf, inner);
    }
    if (span->flags)
        pb_put_u64(buf, 5, (uint64_t)span->flags);
    sample_pb_time(buf, 6, span->start_us);
    sample_pb_time(buf, 7, span->duration_us);
    sample_pb_tags(buf, 8, &span->tags);
    for (size_t i = 0; i < span->logs.count; i++) {
        size_t inner = pb_begin(buf, 9);
        sample_pb_time(buf, 1, span->logs.items[i].time_us);
        sample_pb_tags(buf, 2, &span->logs.items[i].fields);
        pb_end(buf, inner);
    }
    if (span->has_process)
        sample_pb_process(buf, 10, span->service, &span->process_tags);
    pb_end(buf, mark);
}

static inline void sample_pb(struct fm_buf *buf, const struct sample_batch *batch)
{
    size_t mark = pb_begin(buf, 1);
    for (size_t i = 0; i < batch->spans.count; i++)
        sample_pb_span(buf, &batch->spans.items[i]);
    if (batch->service)
        sample_pb_process(buf, 2, batch->service, &batch->tags);
    pb_end(buf, mark);
}

#endif
