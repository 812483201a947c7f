/* SPDX-License-Identifier: Apache-2.0 */
/* AnyValue and proto3 JSON: https://protobuf.dev/programming-guides/json/ . */
#include "value.h"
#include "walk.h"

#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/pb.h"

int value_read(struct fm_slice any_value, struct value *ret_value)
{
    static const uint8_t types[] = {
        [VALUE_STRING] = PB_BYTES,   [VALUE_BOOL] = PB_VARINT, [VALUE_INT] = PB_VARINT,
        [VALUE_DOUBLE] = PB_FIXED64, [VALUE_ARRAY] = PB_BYTES, [VALUE_KVLIST] = PB_BYTES,
        [VALUE_BYTES] = PB_BYTES,
    };
    struct value value = {.kind = VALUE_NONE};
    struct walk_field field = {0};
    int rc;
    while ((rc = walk_next(&any_value, &field)) == FM_OK) {
        uint32_t number = field.tag >> 3;
        if (number > VALUE_BYTES || types[number] != (field.tag & 7))
            continue;
        value.kind = (enum value_kind)number;
        value.number = field.value;
        value.bytes = field.bytes;
    }
    if (rc < 0)
        return rc;
    *ret_value = value;
    return FM_OK;
}

static int value_write(struct json_writer *writer, struct fm_slice any_value, unsigned depth);

static int value_write_list(struct json_writer *writer, struct fm_slice list, bool pairs,
                            unsigned depth)
{
    struct pb_field field;
    bool open = false;
    int rc;
    json_object_begin(writer);
    while ((rc = pb_next(&list, &field)) == FM_OK) {
        if (field.number != 1 || field.type != PB_BYTES)
            continue;
        if (!open) {
            json_key(writer, "values");
            json_array_begin(writer);
            open = true;
        }
        if (!pairs) {
            rc = value_write(writer, field.bytes, depth + 1);
            if (rc < 0)
                return rc;
            continue;
        }
        struct fm_slice pair = field.bytes, key = FM_SLICE(""), value = FM_SLICE("");
        bool has_value = false;
        while ((rc = pb_next(&pair, &field)) == FM_OK) {
            if (field.number == 1 && field.type == PB_BYTES)
                key = field.bytes;
            if (field.number == 2 && field.type == PB_BYTES) {
                value = field.bytes;
                has_value = true;
            }
        }
        if (rc < 0)
            return rc;
        json_object_begin(writer);
        if (key.len) {
            json_key(writer, "key");
            json_string(writer, key);
        }
        if (has_value) {
            json_key(writer, "value");
            rc = value_write(writer, value, depth + 1);
            if (rc < 0)
                return rc;
        }
        json_object_end(writer);
    }
    if (open)
        json_array_end(writer);
    json_object_end(writer);
    return rc < 0 ? rc : FM_OK;
}

static double value_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int value_write(struct json_writer *writer, struct fm_slice any_value, unsigned depth)
{
    struct value value;
    int rc = value_read(any_value, &value);
    if (rc < 0)
        return rc;
    json_object_begin(writer);
    if (depth >= VALUE_DEPTH_MAX)
        value.kind = VALUE_NONE;
    switch (value.kind) {
    case VALUE_NONE:
        break;
    case VALUE_STRING:
        json_key(writer, "stringValue");
        json_string(writer, value.bytes);
        break;
    case VALUE_BOOL:
        json_key(writer, "boolValue");
        json_bool(writer, value.number != 0);
        break;
    case VALUE_INT:
        json_key(writer, "intValue");
        json_int_text(writer, (int64_t)value.number);
        break;
    case VALUE_DOUBLE:
        json_key(writer, "doubleValue");
        json_number(writer, value_double(value.number));
        break;
    case VALUE_ARRAY:
    case VALUE_KVLIST:
        json_key(writer, value.kind == VALUE_ARRAY ? "arrayValue" : "kvlistValue");
        rc = value_write_list(writer, value.bytes, value.kind == VALUE_KVLIST, depth);
        break;
    case VALUE_BYTES:
        json_key(writer, "bytesValue");
        json_base64(writer, value.bytes);
        break;
    }
    json_object_end(writer);
    return rc;
}

int value_put_json(struct fm_slice any_value, struct fm_buf *json)
{
    struct json_writer writer;
    json_writer_init(&writer, json);
    return value_write(&writer, any_value, 0);
}

/* ---- and back ---- */

static int value_parse(struct json_reader *reader, struct fm_buf *target);

static int value_next(struct json_reader *reader, struct json_token *token)
{
    int rc = json_next(reader, token);
    return rc == FM_END ? FM_EMALFORMED : rc;
}

static int value_expect(struct json_reader *reader, enum json_kind kind)
{
    struct json_token token;
    int rc = value_next(reader, &token);
    return rc < 0 ? rc : token.kind == kind ? FM_OK : FM_EMALFORMED;
}

static int value_skip(struct json_reader *reader)
{
    struct json_token token;
    int rc = value_next(reader, &token);
    return rc < 0 ? rc : json_skip(reader, &token);
}

/* {"key":"k","value":{...}} as the content of a KeyValue; the opening brace is read. */
static int value_parse_pair(struct json_reader *reader, struct fm_buf *target)
{
    struct json_token token;
    for (;;) {
        int rc = value_next(reader, &token);
        if (rc < 0)
            return rc;
        if (token.kind == JSON_OBJECT_END)
            return FM_OK;
        if (fm_slice_equal_text(token.text, "key")) {
            rc = value_next(reader, &token);
            if (rc == FM_OK && token.kind != JSON_STRING)
                rc = FM_EMALFORMED;
            if (rc == FM_OK)
                pb_put_bytes(target, 1, token.text);
        } else if (fm_slice_equal_text(token.text, "value")) {
            size_t mark = pb_begin(target, 2);
            rc = value_expect(reader, JSON_OBJECT_BEGIN);
            if (rc == FM_OK)
                rc = value_parse(reader, target);
            pb_end(target, mark);
        } else {
            rc = value_skip(reader);
        }
        if (rc < 0)
            return rc;
    }
}

/* {"values":[...]} as the content of ArrayValue or KeyValueList. */
static int value_parse_list(struct json_reader *reader, bool pairs, struct fm_buf *target)
{
    struct json_token token;
    int rc = value_expect(reader, JSON_OBJECT_BEGIN);
    while (rc == FM_OK) {
        rc = value_next(reader, &token);
        if (rc < 0 || token.kind == JSON_OBJECT_END)
            return rc;
        if (!fm_slice_equal_text(token.text, "values")) {
            rc = value_skip(reader);
            continue;
        }
        rc = value_expect(reader, JSON_ARRAY_BEGIN);
        while (rc == FM_OK) {
            rc = value_next(reader, &token);
            if (rc < 0 || token.kind == JSON_ARRAY_END)
                break;
            if (token.kind != JSON_OBJECT_BEGIN)
                return FM_EMALFORMED;
            size_t mark = pb_begin(target, 1);
            rc = pairs ? value_parse_pair(reader, target) : value_parse(reader, target);
            pb_end(target, mark);
        }
    }
    return rc;
}

static int value_parse_double(const struct json_token *token, struct fm_buf *target)
{
    double number;
    uint64_t bits;
    int rc = json_double(token, &number);
    if (rc < 0)
        return rc;
    memcpy(&bits, &number, sizeof bits);
    pb_put_fixed64(target, VALUE_DOUBLE, bits);
    return FM_OK;
}

static int value_parse_bytes(const struct json_token *token, struct fm_buf *target)
{
    if (token->kind != JSON_STRING)
        return FM_EMALFORMED;
    struct fm_buf bytes;
    fm_buf_init(&bytes, token->text.len + 16);
    uint8_t *room = fm_buf_room(&bytes, token->text.len + 1);
    int rc = room ? fm_base64_decode(room, &bytes.len, token->text) : FM_ENOMEM;
    if (rc == FM_OK)
        pb_put_bytes(target, VALUE_BYTES, fm_buf_slice(&bytes));
    fm_buf_fini(&bytes);
    return rc;
}

static int value_parse_scalar(struct fm_slice name, const struct json_token *token,
                              struct fm_buf *target)
{
    if (fm_slice_equal_text(name, "stringValue")) {
        if (token->kind != JSON_STRING)
            return FM_EMALFORMED;
        pb_put_bytes(target, VALUE_STRING, token->text);
        return FM_OK;
    }
    if (fm_slice_equal_text(name, "boolValue")) {
        if (token->kind != JSON_TRUE && token->kind != JSON_FALSE)
            return FM_EMALFORMED;
        pb_put_u64(target, VALUE_BOOL, token->kind == JSON_TRUE);
        return FM_OK;
    }
    if (fm_slice_equal_text(name, "intValue")) {
        int64_t number;
        int rc = json_i64(token, &number);
        if (rc == FM_OK)
            pb_put_u64(target, VALUE_INT, (uint64_t)number);
        return rc;
    }
    if (fm_slice_equal_text(name, "doubleValue"))
        return value_parse_double(token, target);
    return value_parse_bytes(token, target);
}

/* The members of an AnyValue object whose brace is read. */
static int value_parse(struct json_reader *reader, struct fm_buf *target)
{
    static const char *const scalars[] = {"stringValue", "boolValue", "intValue", "doubleValue",
                                          "bytesValue"};
    struct json_token token;
    for (;;) {
        int rc = value_next(reader, &token);
        if (rc < 0 || token.kind == JSON_OBJECT_END)
            return rc;
        struct fm_slice name = token.text;
        bool is_array = fm_slice_equal_text(name, "arrayValue");
        bool is_scalar = false;
        for (size_t i = 0; i < FM_COUNT(scalars); i++)
            is_scalar |= fm_slice_equal_text(name, scalars[i]);
        if (is_array || fm_slice_equal_text(name, "kvlistValue")) {
            size_t mark = pb_begin(target, is_array ? VALUE_ARRAY : VALUE_KVLIST);
            rc = value_parse_list(reader, !is_array, target);
            pb_end(target, mark);
        } else if (is_scalar) {
            rc = value_next(reader, &token);
            if (rc == FM_OK)
                rc = value_parse_scalar(name, &token, target);
        } else {
            rc = value_skip(reader);
        }
        if (rc < 0)
            return rc;
    }
}

int value_from_json(struct fm_slice json, struct fm_buf *any_value)
{
    struct fm_arena scratch;
    struct json_reader reader;
    size_t start = any_value->len;
    fm_arena_init(&scratch, json.len * 4 + FM_KIB(64));
    json_reader_init(&reader, json, &scratch);
    int rc = value_expect(&reader, JSON_OBJECT_BEGIN);
    if (rc == FM_OK)
        rc = value_parse(&reader, any_value);
    if (rc == FM_OK) {
        struct json_token token;
        rc = json_next(&reader, &token) == FM_END ? FM_OK : FM_EMALFORMED;
    }
    fm_arena_fini(&scratch);
    if (rc < 0)
        any_value->len = start;
    return rc;
}
