/* SPDX-License-Identifier: Apache-2.0 */
/* AnyValue: what it says as text or number, and new ones. */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/s3.h"

enum { VALUE_STRING = 1, VALUE_BOOL = 2, VALUE_INT = 3, VALUE_DOUBLE = 4 };

struct pb_field process_value_member(struct fm_slice value)
{
    struct pb_field field, member = {0};

    while (value.len && pb_next(&value, &field) == FM_OK) {
        if (field.number <= 7)
            member = field; /* at most one in canonical bytes */
    }
    return member;
}

static double value_double(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

bool process_value_text(struct fm_slice value, char room[32], struct fm_slice *ret_text)
{
    struct pb_field member = process_value_member(value);
    int len = 0;

    switch (member.number << 3 | member.type) {
    case VALUE_STRING << 3 | PB_BYTES:
        *ret_text = member.bytes;
        return true;
    case VALUE_BOOL << 3 | PB_VARINT:
        *ret_text = fm_slice_text(member.value ? "true" : "false");
        return true;
    case VALUE_INT << 3 | PB_VARINT:
        len = snprintf(room, 32, "%lld", (long long)member.value);
        break;
    case VALUE_DOUBLE << 3 | PB_FIXED64:
        len = snprintf(room, 32, "%.17g", value_double(member.value));
        break;
    default:
        return false;
    }
    *ret_text = fm_slice(room, (size_t)len);
    return true;
}

bool process_parse_double(struct fm_slice text, double *ret_number)
{
    char copy[64], *end;

    if (!text.len || text.len >= sizeof copy || memchr(text.ptr, 'x', text.len) ||
        memchr(text.ptr, 'n', text.len) || memchr(text.ptr, 'N', text.len))
        return false; /* no hexadecimal numbers, no nan, no inf */
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (copy[0] == ' ')
        return false;
    double number = strtod(copy, &end);
    if (*end || end != copy + text.len || !isfinite(number))
        return false;
    *ret_number = number;
    return true;
}

bool process_value_number(struct fm_slice value, double *ret_number)
{
    struct pb_field member = process_value_member(value);

    switch (member.number << 3 | member.type) {
    case VALUE_STRING << 3 | PB_BYTES:
        return process_parse_double(member.bytes, ret_number);
    case VALUE_INT << 3 | PB_VARINT:
        *ret_number = (double)(int64_t)member.value;
        return true;
    case VALUE_DOUBLE << 3 | PB_FIXED64:
        *ret_number = value_double(member.value);
        return true;
    default:
        return false;
    }
}

/* ---- new ones ---- */

struct fm_slice process_value_string(struct fm_arena *arena, struct fm_slice text)
{
    size_t head = 1 + pb_varint_size(text.len);
    uint8_t *ptr = fm_arena_alloc(arena, head + text.len);
    uint64_t len = text.len;

    if (!ptr)
        return (struct fm_slice){0};
    ptr[0] = VALUE_STRING << 3 | PB_BYTES;
    for (size_t i = 1; i < head; i++, len >>= 7)
        ptr[i] = (uint8_t)((len & 0x7f) | (i + 1 < head ? 0x80 : 0));
    if (text.len)
        memcpy(ptr + head, text.ptr, text.len);
    return fm_slice(ptr, head + text.len);
}

void process_hash_text(struct fm_slice bytes, char text[64])
{
    uint8_t hash[32];

    s3_sha256(bytes.len ? bytes : FM_SLICE(""), hash);
    fm_hex_encode(text, fm_slice(hash, sizeof hash));
}

struct fm_slice process_value_hash(struct fm_arena *arena, struct fm_slice value)
{
    char room[32], hash[64];
    struct fm_slice text = value;

    (void)process_value_text(value, room, &text); /* else the bytes of the value are hashed */
    process_hash_text(text, hash);
    return process_value_string(arena, fm_slice(hash, sizeof hash));
}
