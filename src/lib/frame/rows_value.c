/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes into shapes and codes.
 *
 * An array of one type of scalars is an array, of one element that element; what TraceQL cannot ask
 * for (maps, bytes, mixed and empty arrays) is nil, but its key is there. */
#include "rows.h"
#include "rows_walk.h"

enum { PAIR_KEY = ROWS_BYTES(1), PAIR_VALUE = ROWS_BYTES(2) };
enum {
    VALUE_STRING = ROWS_BYTES(1),
    VALUE_BOOL = ROWS_VARINT(2),
    VALUE_INT = ROWS_VARINT(3),
    VALUE_DOUBLE = ROWS_FIXED64(4),
    VALUE_ARRAY = ROWS_BYTES(5),
    VALUE_KVLIST = ROWS_BYTES(6),
    VALUE_BYTES = ROWS_BYTES(7),
};
enum { ARRAY_ELEMENT = ROWS_BYTES(1) };

/* A text nobody had before; what is not UTF-8 is mended, as in blocks. */
static __attribute__((noinline)) uint32_t rows_string_new(struct frame_rows *rows,
                                                          struct fm_slice text, uint32_t hash)
{
    struct traceql_value value = rows_text(text);
    if (FM_LIKELY(fm_utf8_valid_len(text) == text.len))
        return rows_table_put(&rows->values, &value, hash);
    fm_buf_reset(&rows->text);
    fm_utf8_repair(&rows->text, text);
    if (rows->text.failed) {
        rows->pool.rc = FM_ENOMEM;
        return 0;
    }
    return rows_table_bytes(&rows->values, fm_buf_slice(&rows->text));
}

static inline uint32_t rows_string_hashed(struct frame_rows *rows, struct fm_slice text,
                                          uint32_t hash)
{
    struct traceql_value value = rows_text(text);
    uint32_t code = rows_table_find(&rows->values, &value, hash);
    return FM_LIKELY(code) ? code : rows_string_new(rows, text, hash);
}

uint32_t rows_string(struct frame_rows *rows, struct fm_slice text)
{
    struct traceql_value value = rows_text(text);
    return rows_string_hashed(rows, text, rows_table_hash(&rows->values, &value));
}

void rows_begin_list(struct frame_rows *rows)
{
    rows->pair_count = 0;
    rows->last_key = 0;
}

/* Nearly every attribute is two short fields, a key and a value. */
static inline bool rows_read_short_pair(struct fm_slice pair, struct fm_slice *ret_key,
                                        struct fm_slice *ret_value)
{
    const uint8_t *ptr = pair.ptr;
    if (pair.len < 4 || ptr[0] != PAIR_KEY || ptr[1] >= 0x80)
        return false;
    size_t key_len = ptr[1];
    if (pair.len < key_len + 4)
        return false;
    const uint8_t *second = ptr + 2 + key_len;
    if (second[0] != PAIR_VALUE || second[1] >= 0x80 || pair.len != key_len + 4 + second[1])
        return false;
    *ret_key = fm_slice(ptr + 2, key_len);
    *ret_value = fm_slice(second + 2, second[1]);
    return true;
}

static int rows_read_pair(struct fm_slice pair, struct fm_slice *ret_key,
                          struct fm_slice *ret_value)
{
    if (FM_LIKELY(rows_read_short_pair(pair, ret_key, ret_value)))
        return FM_OK;
    struct rows_field field = {0};
    int rc;
    *ret_key = *ret_value = FM_SLICE("");
    while ((rc = rows_walk(&pair, &field)) == FM_OK) {
        if (field.tag == PAIR_KEY)
            *ret_key = field.bytes;
        else if (field.tag == PAIR_VALUE)
            *ret_value = field.bytes;
    }
    return rc < 0 ? rc : FM_OK;
}

/* Keys come in the same order again and again: the one that followed the last time is tried first.
 * 0: see pool.rc. */
static inline uint32_t rows_key(struct frame_rows *rows, struct fm_slice key)
{
    uint32_t *after = &rows->key_after[rows->last_key % ROWS_KEYS];
    struct fm_slice guess = rows->values.values[*after].text;
    if (FM_UNLIKELY(!*after || guess.len != key.len ||
                    !rows_bytes_equal(guess.ptr, key.ptr, key.len)))
        *after = rows_string(rows, key);
    return rows->last_key = *after;
}

int rows_add_attribute(struct frame_rows *rows, struct fm_slice key_value)
{
    struct fm_slice key, value;
    int rc = rows_read_pair(key_value, &key, &value);
    if (rc < 0)
        return rc;
    void *pairs = rows->pairs;
    if (!rows_grow(&rows->pool, &pairs, rows->pair_count, &rows->pair_cap, sizeof *rows->pairs))
        return rows->pool.rc;
    rows->pairs = pairs;
    struct rows_pair *pair = &rows->pairs[rows->pair_count];
    pair->key = rows_key(rows, key);
    if (!pair->key)
        return rows->pool.rc;
    rows->pair_count++;
    /* A short string: tag, length, bytes to the end. */
    pair->is_text = value.len >= 2 && value.ptr[0] == VALUE_STRING && value.ptr[1] < 0x80 &&
                    value.ptr[1] == value.len - 2;
    pair->any_value = value;
    if (FM_LIKELY(pair->is_text)) {
        pair->any_value = fm_slice(value.ptr + 2, value.len - 2);
        struct traceql_value text = rows_text(pair->any_value);
        pair->hash = rows_table_hash(&rows->values, &text);
        rows_table_prefetch(&rows->values, pair->hash);
    }
    return FM_OK;
}

/* The last member of the oneof; 0 as tag if there is none. */
static int rows_read_value(struct fm_slice any_value, struct rows_field *ret_field)
{
    struct rows_field field = {0}, found = {0};
    int rc;
    while ((rc = rows_walk(&any_value, &field)) == FM_OK)
        if (field.tag == VALUE_STRING || field.tag == VALUE_BOOL || field.tag == VALUE_INT ||
            field.tag == VALUE_DOUBLE || field.tag == VALUE_ARRAY || field.tag == VALUE_KVLIST ||
            field.tag == VALUE_BYTES)
            found = field;
    if (rc < 0)
        return rc;
    *ret_field = found;
    return FM_OK;
}

/* TRACEQL_NIL: no scalar.  A text is mended by way of the table. */
static int rows_scalar(struct frame_rows *rows, const struct rows_field *field,
                       struct traceql_value *ret_value)
{
    uint32_t code;
    *ret_value = (struct traceql_value){.type = TRACEQL_NIL};
    switch (field->tag) {
    case VALUE_STRING:
        code = rows_string(rows, field->bytes);
        if (!code)
            return rows->pool.rc;
        *ret_value = rows->values.values[code];
        break;
    case VALUE_BOOL:
        *ret_value = (struct traceql_value){.type = TRACEQL_BOOL, .flag = field->value != 0};
        break;
    case VALUE_INT:
        *ret_value = (struct traceql_value){.type = TRACEQL_INT, .integer = (int64_t)field->value};
        break;
    case VALUE_DOUBLE:
        ret_value->type = TRACEQL_FLOAT;
        memcpy(&ret_value->number, &field->value, sizeof ret_value->number);
        break;
    default:
        break;
    }
    return FM_OK;
}

/* Elements into text as struct traceql_value each; NIL if they are not all of one type. */
static int rows_array(struct frame_rows *rows, struct fm_slice array, struct fm_buf *elements,
                      struct traceql_value *ret_value)
{
    struct rows_field field = {0}, element;
    struct traceql_value value;
    uint32_t count = 0;
    enum traceql_type common = TRACEQL_NIL;
    int rc;
    *ret_value = (struct traceql_value){.type = TRACEQL_NIL};
    while ((rc = rows_walk(&array, &field)) == FM_OK) {
        if (field.tag != ARRAY_ELEMENT)
            continue;
        rc = rows_read_value(field.bytes, &element);
        if (rc == FM_OK)
            rc = rows_scalar(rows, &element, &value);
        if (rc < 0)
            return rc;
        if (count++ == 0)
            common = value.type;
        if (value.type == TRACEQL_NIL || value.type != common)
            return FM_OK;
        fm_buf_put(elements, &value, sizeof value);
    }
    if (rc < 0 || elements->failed)
        return rc < 0 ? rc : FM_ENOMEM;
    if (count == 1)
        *ret_value = value;
    else if (count)
        *ret_value = (struct traceql_value){
            .type = TRACEQL_ARRAY, .element_count = count, .elements = (const void *)elements->ptr};
    return FM_OK;
}

static int rows_put_value(struct frame_rows *rows, const struct traceql_value *value,
                          uint32_t *ret_code)
{
    uint32_t code = 0;
    if (value->type != TRACEQL_NIL) {
        code = rows_table_put(&rows->values, value, rows_table_hash(&rows->values, value));
        if (!code)
            return rows->pool.rc;
    }
    *ret_code = code;
    return FM_OK;
}

static int rows_value_code(struct frame_rows *rows, struct fm_slice any_value, uint32_t *ret_code)
{
    struct rows_field field;
    struct traceql_value value;
    struct fm_buf elements;
    int rc = rows_read_value(any_value, &field);
    if (rc == FM_OK && field.tag != VALUE_ARRAY) {
        rc = rows_scalar(rows, &field, &value);
        return rc < 0 ? rc : rows_put_value(rows, &value, ret_code);
    }
    if (rc < 0)
        return rc;
    fm_buf_init(&elements, FM_MIB(64));
    rc = rows_array(rows, field.bytes, &elements, &value);
    if (rc == FM_OK)
        rc = rows_put_value(rows, &value, ret_code);
    fm_buf_fini(&elements);
    return rc;
}

/* Room for all codes and keys of the list at hand. */
static int rows_list_room(struct frame_rows *rows)
{
    uint32_t count = rows->pair_count;
    while (rows->code_cap - rows->code_count < count) {
        void *codes = rows->codes;
        if (!rows_grow(&rows->pool, &codes, rows->code_cap, &rows->code_cap, sizeof *rows->codes))
            return rows->pool.rc;
        rows->codes = codes;
    }
    while (rows->key_cap < count + 1) {
        void *keys = rows->keys;
        if (!rows_grow(&rows->pool, &keys, rows->key_cap, &rows->key_cap, sizeof *rows->keys))
            return rows->pool.rc;
        rows->keys = keys;
    }
    return FM_OK;
}

int rows_end_list(struct frame_rows *rows, enum frame_domain domain, struct rows_list *ret_list)
{
    uint32_t count = rows->pair_count;
    int rc = rows_list_room(rows);
    if (rc < 0)
        return rc;
    uint32_t *codes = rows->codes + rows->code_count;
    for (uint32_t i = 0; i < count; i++)
        if (rows->pairs[i].is_text)
            rows_table_prefetch_value(&rows->values, rows->pairs[i].hash);
    for (uint32_t i = 0; i < count; i++) {
        const struct rows_pair *pair = &rows->pairs[i];
        uint32_t code = 0;
        if (FM_LIKELY(pair->is_text)) {
            code = rows_string_hashed(rows, pair->any_value, pair->hash);
            if (!code)
                return rows->pool.rc;
        } else {
            rc = rows_value_code(rows, pair->any_value, &code);
            if (rc < 0)
                return rc;
        }
        codes[i] = code;
        rows->keys[i] = pair->key;
    }
    uint32_t shape = rows_table_bytes(&rows->shapes, fm_slice(rows->keys, count * 4));
    if (!shape)
        return rows->pool.rc;
    while (FM_UNLIKELY(shape >= rows->shape_cap)) {
        void *domains = rows->shape_domains;
        uint32_t cap = rows->shape_cap;
        if (!rows_grow(&rows->pool, &domains, cap, &rows->shape_cap, 1))
            return rows->pool.rc;
        rows->shape_domains = domains;
        memset(rows->shape_domains + cap, 0, rows->shape_cap - cap);
    }
    rows->shape_domains[shape] |= (uint8_t)(1u << domain);
    *ret_list = (struct rows_list){.shape = shape, .codes = rows->code_count};
    rows->code_count += count;
    return FM_OK;
}

uint32_t rows_shape_place(const struct frame_rows *rows, uint32_t shape, uint32_t key)
{
    struct fm_slice keys = rows->shapes.values[shape].text;
    for (size_t at = 0; at < keys.len; at += 4) {
        uint32_t each;
        memcpy(&each, keys.ptr + at, sizeof each);
        if (each == key)
            return (uint32_t)(at / 4);
    }
    return UINT32_MAX;
}

uint32_t rows_attribute(const struct frame_rows *rows, const struct rows_list *list, uint32_t key)
{
    uint32_t place = rows_shape_place(rows, list->shape, key);
    return place == UINT32_MAX ? 0 : rows->codes[list->codes + place];
}
