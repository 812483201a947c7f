/* SPDX-License-Identifier: Apache-2.0 */
/* rows - a span between arrival and block: some 55 bytes, everything interned.
 *
 *   varint len of what follows | flags u8 | kind and status u8 | id 8 | [parent 8]
 *   | trace | group | start (zigzag, from base) | duration | name | [state] | [message]
 *   | [dropped attributes, events, links] | [kind, status] | shape | [len of values] | values
 *   | [event count, events] | [link count, links]
 *
 * Numbers are varints, texts numbers of the table of strings.  [x] is there if its flag is set; the
 * length of values only with events or links.  A shape is the list of (key << 3 | kind) of the
 * attributes, so that a span stores only their values.  group: resource and scope.
 * Two spans are equal if their rows are equal bytes.
 */
#ifndef BLOCK_ROWS_H
#define BLOCK_ROWS_H

#include "fermata/base.h"
#include "fermata/bytes.h"

enum row_flag {
    ROW_PARENT = 1,
    ROW_STATE = 2,
    ROW_MESSAGE = 4,
    ROW_DROPPED = 8,
    ROW_ODD = 16, /* kind or status beyond four bits */
    ROW_EVENTS = 32,
    ROW_LINKS = 64,
};

/* How an attribute's value lies in a row. */
enum row_kind {
    ROW_STRING,      /* number of the string */
    ROW_INT,         /* zigzag */
    ROW_DOUBLE,      /* 8 bytes */
    ROW_BOOL,        /* 1 byte */
    ROW_ARRAY,       /* kind u8 of all elements, count, elements */
    ROW_UNSUPPORTED, /* number of the string that is its JSON */
};
#define ROW_KIND_BITS 3
#define ROW_KEY_MAX   (UINT32_MAX >> ROW_KIND_BITS)

static inline uint64_t row_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}
static inline int64_t row_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}
static inline uint8_t *row_put(uint8_t *target, uint64_t value)
{
    while (value >= 0x80) {
        *target++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *target++ = (uint8_t)value;
    return target;
}
#define ROW_VARINT_MAX 10
/* Rows are our own bytes: nothing is checked. */
static inline const uint8_t *row_get(const uint8_t *ptr, uint64_t *ret_value)
{
    uint64_t value = *ptr++;
    if (FM_LIKELY(value < 0x80)) {
        *ret_value = value;
        return ptr;
    }
    value &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
        uint64_t byte = *ptr++;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    *ret_value = value;
    return ptr;
}
static inline const uint8_t *row_get_u32(const uint8_t *ptr, uint32_t *ret_value)
{
    uint64_t value;
    ptr = row_get(ptr, &value);
    *ret_value = (uint32_t)value;
    return ptr;
}

/* One value of kind (not an array) behind ptr. */
static inline const uint8_t *row_skip_scalar(const uint8_t *ptr, unsigned kind)
{
    if (kind == ROW_DOUBLE)
        return ptr + 8;
    while (*ptr++ >= 0x80)
        continue;
    return ptr;
}
static inline const uint8_t *row_skip_value(const uint8_t *ptr, unsigned kind)
{
    if (FM_LIKELY(kind != ROW_ARRAY))
        return row_skip_scalar(ptr, kind);
    unsigned element = *ptr++;
    uint64_t count;
    ptr = row_get(ptr, &count);
    while (count--)
        ptr = row_skip_scalar(ptr, element);
    return ptr;
}

struct row {
    const uint8_t *id;     /* 8 bytes */
    const uint8_t *parent; /* NULL: root */
    uint8_t flags;
    uint32_t trace, group, name, state, message, shape;
    uint32_t dropped_attributes, dropped_events, dropped_links;
    int64_t kind, status;
    uint64_t start_ns, duration_ns;
    const uint8_t *values;
    const uint8_t *tail; /* events and links; NULL if there are none */
};

/* The whole row as bytes; its end is the next row's start. */
static inline struct fm_slice row_bytes(const uint8_t *ptr)
{
    uint64_t len;
    const uint8_t *body = row_get(ptr, &len);
    return fm_slice(ptr, (size_t)(body - ptr) + len);
}
/* Only what sorting needs. */
static inline const uint8_t *row_read_place(const uint8_t *ptr, uint32_t *ret_trace,
                                            uint32_t *ret_group)
{
    uint64_t len;
    ptr = row_get(ptr, &len);
    const uint8_t *end = ptr + len;
    ptr += (*ptr & ROW_PARENT) ? 18 : 10;
    ptr = row_get_u32(ptr, ret_trace);
    (void)row_get_u32(ptr, ret_group);
    return end;
}
/* Only what the nested set needs.  False: the kind is not at hand, read the whole row. */
static inline bool row_read_ids(const uint8_t *ptr, const uint8_t **ret_id,
                                const uint8_t **ret_parent, unsigned *ret_kind)
{
    uint64_t len;
    ptr = row_get(ptr, &len);
    *ret_id = ptr + 2;
    *ret_parent = *ptr & ROW_PARENT ? ptr + 10 : NULL;
    *ret_kind = ptr[1] & 15;
    return !(*ptr & ROW_ODD);
}
void row_read(const uint8_t *ptr, uint64_t base_ns, struct row *ret_row);

#endif
