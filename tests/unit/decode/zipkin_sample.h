/* SPDX-License-Identifier: Apache-2.0 */
/* Spans of Zipkin as a table, version 2 and 1, their encodings, and what tests do with them. */
#ifndef TESTS_DECODE_ZIPKIN_SAMPLE_H
#define TESTS_DECODE_ZIPKIN_SAMPLE_H

#include <arpa/inet.h>

#include "otlp_text.h"

#include "fermata/decode.h"
#include "fermata/json.h"
#include "fermata/zipkin.h"

enum sample_encoding { SAMPLE_JSON, SAMPLE_PB, SAMPLE_BINARY, SAMPLE_COMPACT };
enum sample_type { /* annotation types of version 1 */
                   SAMPLE_BOOL,
                   SAMPLE_BYTES,
                   SAMPLE_I16,
                   SAMPLE_I32,
                   SAMPLE_I64,
                   SAMPLE_DOUBLE,
                   SAMPLE_TEXT,
};

struct sample_endpoint {
    const char *service, *ipv4, *ipv6; /* NULL: absent */
    uint16_t port;
};
struct sample_note {
    int64_t time_us;
    const char *value;
    const struct sample_endpoint *host; /* version 1; NULL: none */
};
struct sample_tag {
    const char *key, *text;
    const struct sample_endpoint *host;
    enum sample_type type;
    int64_t integer;
    double number;
};
struct sample_span {
    uint64_t trace_high, trace_low, id, parent_id; /* 0: absent */
    const char *name;
    const char *kind;
    int64_t timestamp_us, duration_us; /* 0: absent */
    const struct sample_endpoint *local, *remote;
    struct {
        const struct sample_note *items;
        size_t count;
    } notes;
    struct {
        const struct sample_tag *items;
        size_t count;
    } tags;
    bool is_shared;
};
struct sample_list {
    const struct sample_span *items;
    size_t count;
};
#define LIST(type, ...)                                                                            \
    {                                                                                              \
        (const type[]){__VA_ARGS__}, sizeof((const type[]){__VA_ARGS__}) / sizeof(type)            \
    }
#define NOTES(...) .notes = LIST(struct sample_note, __VA_ARGS__)
#define TAGS(...)  .tags = LIST(struct sample_tag, __VA_ARGS__)
#define SPANS(...) ((struct sample_list)LIST(struct sample_span, __VA_ARGS__))
#define TAG(name, value)                                                                           \
    {                                                                                              \
        .key = name, .text = value, .type = SAMPLE_TEXT                                            \
    }
#define ENDPOINT(...)                                                                              \
    &(const struct sample_endpoint)                                                                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* ---- JSON ---- */

static inline void sample_json_id(struct json_writer *writer, const char *key, uint64_t high,
                                  uint64_t low)
{
    char text[40];
    if (!high && !low)
        return;
    json_key(writer, key);
    if (high)
        (void)snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)high,
                       (unsigned long long)low);
    else
        (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)low);
    json_text(writer, text);
}

static inline void sample_json_text(struct json_writer *writer, const char *key, const char *text)
{
    if (!text)
        return;
    json_key(writer, key);
    json_text(writer, text);
}

static inline void sample_json_endpoint(struct json_writer *writer, const char *key,
                                        const struct sample_endpoint *endpoint)
{
    if (!endpoint)
        return;
    json_key(writer, key);
    json_object_begin(writer);
    sample_json_text(writer, "serviceName", endpoint->service);
    sample_json_text(writer, "ipv4", endpoint->ipv4);
    sample_json_text(writer, "ipv6", endpoint->ipv6);
    if (endpoint->port) {
        json_key(writer, "port");
        json_uint(writer, endpoint->port);
    }
    json_object_end(writer);
}

static inline void sample_json_notes(struct json_writer *writer, const struct sample_span *span)
{
    json_key(writer, "annotations");
    json_array_begin(writer);
    for (size_t i = 0; i < span->notes.count; i++) {
        json_object_begin(writer);
        json_key(writer, "timestamp");
        json_int(writer, span->notes.items[i].time_us);
        sample_json_text(writer, "value", span->notes.items[i].value);
        sample_json_endpoint(writer, "endpoint", span->notes.items[i].host);
        json_object_end(writer);
    }
    json_array_end(writer);
}

static inline void sample_json_tags(struct json_writer *writer, const struct sample_span *span)
{
    if (!span->tags.count)
        return;
    json_key(writer, "tags");
    json_object_begin(writer);
    for (size_t i = 0; i < span->tags.count; i++)
        sample_json_text(writer, span->tags.items[i].key, span->tags.items[i].text);
    json_object_end(writer);
}

static inline void sample_json_binary(struct json_writer *writer, const struct sample_span *span)
{
    static const char *const types[] = {"BOOL", "BYTES", "I16", "I32", "I64", "DOUBLE", "STRING"};
    json_key(writer, "binaryAnnotations");
    json_array_begin(writer);
    for (size_t i = 0; i < span->tags.count; i++) {
        const struct sample_tag *tag = &span->tags.items[i];
        json_object_begin(writer);
        sample_json_text(writer, "key", tag->key);
        json_key(writer, "value");
        if (tag->type == SAMPLE_TEXT || tag->type == SAMPLE_BYTES)
            json_text(writer, tag->text);
        else if (tag->type == SAMPLE_BOOL)
            json_bool(writer, tag->integer);
        else if (tag->type == SAMPLE_DOUBLE)
            json_number(writer, tag->number);
        else
            json_int(writer, tag->integer);
        if (tag->type != SAMPLE_BOOL && tag->type != SAMPLE_TEXT)
            sample_json_text(writer, "type", types[tag->type]);
        sample_json_endpoint(writer, "endpoint", tag->host);
        json_object_end(writer);
    }
    json_array_end(writer);
}

static inline void sample_put_json(struct fm_buf *buf, struct sample_list list, bool is_v1)
{
    struct json_writer writer;
    json_writer_init(&writer, buf);
    json_array_begin(&writer);
    for (size_t i = 0; i < list.count; i++) {
        const struct sample_span *span = &list.items[i];
        json_object_begin(&writer);
        sample_json_id(&writer, "traceId", span->trace_high, span->trace_low);
        sample_json_id(&writer, "id", 0, span->id);
        sample_json_id(&writer, "parentId", 0, span->parent_id);
        sample_json_text(&writer, "name", span->name);
        sample_json_text(&writer, "kind", span->kind);
        if (span->timestamp_us) {
            json_key(&writer, "timestamp");
            json_int(&writer, span->timestamp_us);
        }
        if (span->duration_us) {
            json_key(&writer, "duration");
            json_int(&writer, span->duration_us);
        }
        sample_json_endpoint(&writer, "localEndpoint", span->local);
        sample_json_endpoint(&writer, "remoteEndpoint", span->remote);
        sample_json_notes(&writer, span);
        if (is_v1)
            sample_json_binary(&writer, span);
        else
            sample_json_tags(&writer, span);
        if (span->is_shared) {
            json_key(&writer, "shared");
            json_bool(&writer, true);
        }
        json_object_end(&writer);
    }
    json_array_end(&writer);
    assert_false(buf->failed);
}

/* ---- protobuf ---- */

static inline void sample_pb_endpoint(struct fm_buf *buf, uint32_t number,
                                      const struct sample_endpoint *endpoint)
{
    uint8_t bytes[16];
    if (!endpoint)
        return;
    size_t mark = pb_begin(buf, number);
    if (endpoint->service)
        pb_put_text(buf, 1, endpoint->service);
    if (endpoint->ipv4 && inet_pton(AF_INET, endpoint->ipv4, bytes) == 1)
        pb_put_bytes(buf, 2, fm_slice(bytes, 4));
    if (endpoint->ipv6 && inet_pton(AF_INET6, endpoint->ipv6, bytes) == 1)
        pb_put_bytes(buf, 3, fm_slice(bytes, 16));
    if (endpoint->port)
        pb_put_u64(buf, 4, endpoint->port);
    pb_end(buf, mark);
}

static inline uint64_t sample_pb_kind(const char *kind)
{
    static const char *const kinds[] = {"", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"};
    for (size_t i = 0; i < FM_COUNT(kinds); i++)
        if (kind && strcmp(kind, kinds[i]) == 0)
            return i;
    return 0;
}

static inline void sample_pb_ids(struct fm_buf *buf, const struct sample_span *span)
{
    uint8_t id[16];
    fm_store_be64(id, span->trace_high);
    fm_store_be64(id + 8, span->trace_low);
    if (span->trace_high || span->trace_low)
        pb_put_bytes(buf, 1, span->trace_high ? fm_slice(id, 16) : fm_slice(id + 8, 8));
    fm_store_be64(id, span->parent_id);
    if (span->parent_id)
        pb_put_bytes(buf, 2, fm_slice(id, 8));
    fm_store_be64(id, span->id);
    if (span->id)
        pb_put_bytes(buf, 3, fm_slice(id, 8));
}

static inline void sample_put_pb(struct fm_buf *buf, struct sample_list list)
{
    for (size_t i = 0; i < list.count; i++) {
        const struct sample_span *span = &list.items[i];
        size_t mark = pb_begin(buf, 1);
        sample_pb_ids(buf, span);
        if (sample_pb_kind(span->kind))
            pb_put_u64(buf, 4, sample_pb_kind(span->kind));
        if (span->name)
            pb_put_text(buf, 5, span->name);
        if (span->timestamp_us)
            pb_put_fixed64(buf, 6, (uint64_t)span->timestamp_us);
        if (span->duration_us)
            pb_put_u64(buf, 7, (uint64_t)span->duration_us);
        sample_pb_endpoint(buf, 8, span->local);
        sample_pb_endpoint(buf, 9, span->remote);
        for (size_t k = 0; k < span->notes.count; k++) {
            size_t inner = pb_begin(buf, 10);
            pb_put_fixed64(buf, 1, (uint64_t)span->notes.items[k].time_us);
            pb_put_text(buf, 2, span->notes.items[k].value);
            pb_end(buf, inner);
        }
        for (size_t k = 0; k < span->tags.count; k++) {
            size_t inner = pb_begin(buf, 11);
            pb_put_text(buf, 1, span->tags.items[k].key);
            pb_put_text(buf, 2, span->tags.items[k].text);
            pb_end(buf, inner);
        }
        if (span->is_shared)
            pb_put_u64(buf, 13, 1);
        pb_end(buf, mark);
    }
    assert_false(buf->failed);
}

/* ---- Thrift ---- */

static inline void sample_thrift_host(struct thrift_writer *writer, int16_t id,
                                      const struct sample_endpoint *host)
{
    uint8_t bytes[16];
    if (!host)
        return;
    thrift_put_struct_field(writer, id);
    if (host->ipv4 && inet_pton(AF_INET, host->ipv4, bytes) == 1)
        thrift_put_i32(writer, 1, (int32_t)fm_load_be32(bytes));
    if (host->port)
        thrift_put_i16(writer, 2, (int16_t)host->port);
    if (host->service)
        thrift_put_binary(writer, 3, fm_slice_text(host->service));
    if (host->ipv6 && inet_pton(AF_INET6, host->ipv6, bytes) == 1)
        thrift_put_binary(writer, 4, fm_slice(bytes, 16));
    thrift_put_struct_end(writer);
}

static inline struct fm_slice sample_thrift_value(const struct sample_tag *tag, uint8_t bytes[8])
{
    uint64_t bits = (uint64_t)tag->integer;
    size_t len = 8;
    if (tag->type == SAMPLE_TEXT || tag->type == SAMPLE_BYTES)
        return fm_slice_text(tag->text);
    if (tag->type == SAMPLE_DOUBLE)
        memcpy(&bits, &tag->number, sizeof bits);
    else
        len = tag->type == SAMPLE_BOOL  ? 1
              : tag->type == SAMPLE_I16 ? 2
              : tag->type == SAMPLE_I32 ? 4
                                        : 8;
    fm_store_be64(bytes, bits);
    return fm_slice(bytes + 8 - len, len);
}

static inline void sample_thrift_lists(struct thrift_writer *writer, const struct sample_span *span)
{
    uint8_t bytes[8];
    if (span->notes.count)
        thrift_put_list(writer, 6, THRIFT_STRUCT, (uint32_t)span->notes.count);
    for (size_t i = 0; i < span->notes.count; i++) {
        thrift_put_struct_begin(writer);
        thrift_put_i64(writer, 1, span->notes.items[i].time_us);
        thrift_put_binary(writer, 2, fm_slice_text(span->notes.items[i].value));
        sample_thrift_host(writer, 3, span->notes.items[i].host);
        thrift_put_struct_end(writer);
    }
    if (span->tags.count)
        thrift_put_list(writer, 8, THRIFT_STRUCT, (uint32_t)span->tags.count);
    for (size_t i = 0; i < span->tags.count; i++) {
        const struct sample_tag *tag = &span->tags.items[i];
        thrift_put_struct_begin(writer);
        thrift_put_binary(writer, 1, fm_slice_text(tag->key));
        thrift_put_binary(writer, 2, sample_thrift_value(tag, bytes));
        thrift_put_i32(writer, 3, tag->type);
        sample_thrift_host(writer, 4, tag->host);
        thrift_put_struct_end(writer);
    }
}

/* A bare list: the head is written here, because the writer only knows lists in structs. */
static inline void sample_put_thrift(struct fm_buf *buf, enum thrift_encoding encoding,
                                     struct sample_list list)
{
    struct thrift_writer writer;
    uint8_t count[4];
    thrift_writer_init_as(&writer, encoding, buf);
    assert_true(list.count < 15);
    fm_store_be32(count, (uint32_t)list.count);
    fm_buf_put_u8(buf, encoding == THRIFT_COMPACT ? (uint8_t)(list.count << 4 | 12) : 12);
    if (encoding != THRIFT_COMPACT)
        fm_buf_put(buf, count, sizeof count);
    for (size_t i = 0; i < list.count; i++) {
        const struct sample_span *span = &list.items[i];
        thrift_put_struct_begin(&writer);
        thrift_put_i64(&writer, 1, (int64_t)span->trace_low);
        if (span->name)
            thrift_put_binary(&writer, 3, fm_slice_text(span->name));
        thrift_put_i64(&writer, 4, (int64_t)span->id);
        if (span->parent_id)
            thrift_put_i64(&writer, 5, (int64_t)span->parent_id);
        sample_thrift_lists(&writer, span);
        thrift_put_bool(&writer, 9, true);
        if (span->timestamp_us)
            thrift_put_i64(&writer, 10, span->timestamp_us);
        if (span->duration_us)
            thrift_put_i64(&writer, 11, span->duration_us);
        if (span->trace_high)
            thrift_put_i64(&writer, 12, (int64_t)span->trace_high);
        thrift_put_struct_end(&writer);
    }
    assert_false(buf->failed);
}

/* ---- what a decoder says ---- */

static inline int sample_decode(enum sample_encoding encoding, struct fm_slice input,
                                struct fm_arena *scratch, struct fm_buf *target, struct fm_why *why)
{
    if (encoding == SAMPLE_JSON)
        return zipkin_json_decode(input, scratch, target, why);
    if (encoding == SAMPLE_PB)
        return zipkin_pb_decode(input, scratch, target, why);
    return zipkin_thrift_decode(
        input, encoding == SAMPLE_COMPACT ? THRIFT_COMPACT : THRIFT_BINARY_PROTOCOL, scratch,
        target, why);
}

#define SAMPLE_SCRATCH_MAX FM_MIB(4)

/* The OTLP of an input that is well; owned by the caller.  What was in target stays in front. */
static inline struct fm_buf sample_translate(enum sample_encoding encoding, struct fm_slice input,
                                             uint32_t refused)
{
    struct fm_buf target;
    struct fm_arena scratch;
    struct fm_why why = {{0}};
    struct decode_facts facts;
    uint8_t *exact = test_exact_copy(input);
    fm_buf_init(&target, FM_MIB(4));
    fm_buf_puts(&target, "kept");
    fm_arena_init(&scratch, SAMPLE_SCRATCH_MAX);
    decode_facts_init(&facts);
    int rc = sample_decode(encoding, fm_slice(exact, input.len), &scratch, &target, &why);
    assert_string_equal(why.text, "");
    assert_ok(rc);
    assert_memory_equal(target.ptr, "kept", 4);
    fm_buf_consume(&target, 4);
    assert_ok(otlp_pb_check(fm_buf_slice(&target), &decode_limits_default, &facts, &why));
    assert_int_equal(facts.refused_count, refused);
    assert_int_equal(facts.mended_count, 0);
    decode_facts_fini(&facts);
    fm_arena_fini(&scratch);
    free(exact);
    return target;
}

static inline void sample_expect_bytes(enum sample_encoding encoding, struct fm_slice input,
                                       uint32_t refused, const char *expected)
{
    struct fm_buf target = sample_translate(encoding, input, refused);
    struct fm_buf text = otlp_text(fm_buf_slice(&target));
    assert_string_equal((const char *)text.ptr, expected);
    fm_buf_fini(&text);
    fm_buf_fini(&target);
}

/* Refused as a whole, and target is as it was. */
static inline void sample_expect_failure(enum sample_encoding encoding, struct fm_slice input,
                                         int rc, const char *expected_why)
{
    struct fm_buf target;
    struct fm_arena scratch;
    struct fm_why why = {{0}};
    uint8_t *exact = test_exact_copy(input);
    fm_buf_init(&target, FM_MIB(4));
    fm_buf_puts(&target, "kept");
    fm_arena_init(&scratch, SAMPLE_SCRATCH_MAX);
    assert_int_equal(sample_decode(encoding, fm_slice(exact, input.len), &scratch, &target, &why),
                     rc);
    if (expected_why)
        assert_string_equal(why.text, expected_why);
    else
        assert_true(why.text[0] != 0);
    assert_true(target.len == 4 && !target.failed && memcmp(target.ptr, "kept", 4) == 0);
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
    free(exact);
}

static inline struct fm_buf sample_encode(enum sample_encoding encoding, struct sample_list list,
                                          bool is_v1)
{
    struct fm_buf buf;
    fm_buf_init(&buf, FM_MIB(4));
    if (encoding == SAMPLE_JSON)
        sample_put_json(&buf, list, is_v1);
    else if (encoding == SAMPLE_PB)
        sample_put_pb(&buf, list);
    else
        sample_put_thrift(
            &buf, encoding == SAMPLE_COMPACT ? THRIFT_COMPACT : THRIFT_BINARY_PROTOCOL, list);
    return buf;
}

/* The same spans in every encoding of their version: the same bytes come out. */
static inline void sample_expect(struct sample_list list, bool is_v1, const char *expected)
{
    static const enum sample_encoding encodings[2][3] = {
        {SAMPLE_JSON, SAMPLE_PB, SAMPLE_PB}, {SAMPLE_JSON, SAMPLE_BINARY, SAMPLE_COMPACT}};
    struct fm_buf first = {0};
    for (size_t i = 0; i < 3; i++) {
        struct fm_buf input = sample_encode(encodings[is_v1][i], list, is_v1);
        struct fm_buf target = sample_translate(encodings[is_v1][i], fm_buf_slice(&input), 0);
        struct fm_buf text = otlp_text(fm_buf_slice(&target));
        assert_string_equal((const char *)text.ptr, expected);
        fm_buf_fini(&text);
        fm_buf_fini(&input);
        if (i == 0) {
            first = target;
            continue;
        }
        assert_int_equal(target.len, first.len);
        assert_memory_equal(target.ptr, first.ptr, first.len);
        fm_buf_fini(&target);
    }
    fm_buf_fini(&first);
}

/* ---- hostile ---- */

struct sample_hostile {
    enum sample_encoding encoding;
    struct fm_arena scratch;
    struct fm_buf target;
    struct decode_facts facts;
};

/* Whatever comes out is OTLP; what fails leaves no trace. */
static inline int sample_hostile_decode(struct sample_hostile *hostile, struct fm_slice input)
{
    fm_buf_reset(&hostile->target);
    int rc = sample_decode(hostile->encoding, input, &hostile->scratch, &hostile->target, NULL);
    if (rc == FM_OK)
        assert_ok(otlp_pb_check(fm_buf_slice(&hostile->target), &decode_limits_default,
                                &hostile->facts, NULL));
    else
        assert_true(rc < 0 && hostile->target.len == 0 && !hostile->target.failed);
    return rc;
}

static inline void sample_hostile_any(void *self, struct fm_slice input)
{
    (void)sample_hostile_decode(self, input);
}

/* A document or list says where it ends; nothing at all is a list as well. */
static inline void sample_hostile_prefix(void *self, struct fm_slice input)
{
    assert_int_equal(sample_hostile_decode(self, input), input.len ? FM_EMALFORMED : FM_OK);
}

static inline void sample_cut_and_flip(enum sample_encoding encoding, struct fm_slice input)
{
    struct sample_hostile hostile = {.encoding = encoding};
    fm_arena_init(&hostile.scratch, SAMPLE_SCRATCH_MAX);
    fm_buf_init(&hostile.target, FM_MIB(4));
    decode_facts_init(&hostile.facts);
    test_each_prefix(input, encoding == SAMPLE_PB ? sample_hostile_any : sample_hostile_prefix,
                     &hostile);
    test_each_bit_flip(input, sample_hostile_any, &hostile);
    decode_facts_fini(&hostile.facts);
    fm_arena_fini(&hostile.scratch);
    fm_buf_fini(&hostile.target);
}

/* Each allocation fails once: FM_ENOMEM and no trace. */
static inline void sample_fail_each(enum sample_encoding encoding, struct fm_slice input)
{
    for (uint64_t nth = 1;; nth++) {
        struct fm_buf target;
        struct fm_arena scratch;
        fm_buf_init(&target, FM_MIB(4));
        fm_arena_init(&scratch, SAMPLE_SCRATCH_MAX);
        test_alloc_fail_at(nth);
        int rc = sample_decode(encoding, input, &scratch, &target, NULL);
        bool is_done = !test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, is_done ? FM_OK : FM_ENOMEM);
        assert_int_equal(target.len != 0, is_done);
        fm_arena_fini(&scratch);
        fm_buf_fini(&target);
        if (is_done)
            return;
    }
}

/* 40 times the input is enough for scratch, and what comes out is bounded as well. */
static inline void sample_expect_frugal(enum sample_encoding encoding, struct fm_slice input)
{
    struct fm_buf target;
    struct fm_arena scratch;
    fm_buf_init(&target, 40 * input.len);
    fm_arena_init(&scratch, 40 * input.len);
    assert_ok(sample_decode(encoding, input, &scratch, &target, NULL));
    fm_arena_fini(&scratch);
    fm_buf_fini(&target);
}

#endif
