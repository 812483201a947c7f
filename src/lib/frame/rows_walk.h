/* SPDX-License-Identifier: Apache-2.0 */
/* rows_walk - pb_next for what spans are mostly made of, inlined; the rest is left to pb_next. */
#ifndef FRAME_ROWS_WALK_H
#define FRAME_ROWS_WALK_H

#include "fermata/pb.h"

#define ROWS_VARINT(number)  ((uint32_t)(number) << 3 | PB_VARINT)
#define ROWS_FIXED64(number) ((uint32_t)(number) << 3 | PB_FIXED64)
#define ROWS_BYTES(number)   ((uint32_t)(number) << 3 | PB_BYTES)

#define ROWS_VARINT_MAX 10 /* bytes with the tag: nine of a number have no bit too many */

struct rows_field { /* number with type; only the member of the type is set */
    uint32_t tag;
    uint64_t value;
    struct fm_slice bytes;
};

static __attribute__((noinline)) int rows_walk_slow(struct fm_slice *rest,
                                                    struct rows_field *ret_field)
{
    struct pb_field field;
    int rc = pb_next(rest, &field);
    if (rc == FM_OK)
        *ret_field = (struct rows_field){
            .tag = field.number << 3 | field.type, .value = field.value, .bytes = field.bytes};
    return rc;
}

/* As pb_next. */
static inline __attribute__((always_inline)) int rows_walk(struct fm_slice *rest,
                                                           struct rows_field *ret_field)
{
    const uint8_t *ptr = rest->ptr;
    size_t left = rest->len;
    if (!left)
        return FM_END;
    if (FM_LIKELY(left >= 9 && ptr[0] >= 8 && ptr[0] < 0x80)) {
        uint32_t type = ptr[0] & 7;
        size_t head = 2, len = ptr[1];
        if (type == PB_BYTES) {
            if (len >= 0x80 && ptr[2] < 0x80) {
                len = (len & 0x7f) | (size_t)ptr[2] << 7;
                head = 3;
            }
            if (FM_LIKELY((len < 0x80 || head == 3) && len <= left - head)) {
                ret_field->tag = ptr[0];
                ret_field->bytes = fm_slice(ptr + head, len);
                *rest = fm_slice(ptr + head + len, left - head - len);
                return FM_OK;
            }
        } else if (type == PB_FIXED64) {
            ret_field->tag = ptr[0];
            ret_field->value = fm_load_le64(ptr + 1);
            *rest = fm_slice(ptr + 9, left - 9);
            return FM_OK;
        }
    }
    if (left >= 2 && ptr[0] >= 8 && ptr[0] < 0x80 && (ptr[0] & 7) == PB_VARINT) {
        size_t head = 2;
        uint64_t value = ptr[1] & 0x7f;
        for (; ptr[head - 1] >= 0x80 && head < left && head < ROWS_VARINT_MAX; head++)
            value |= (uint64_t)(ptr[head] & 0x7f) << 7 * (head - 1);
        if (FM_LIKELY(ptr[head - 1] < 0x80)) {
            ret_field->tag = ptr[0];
            ret_field->value = value;
            *rest = fm_slice(ptr + head, left - head);
            return FM_OK;
        }
    }
    struct fm_slice slow_rest = *rest;
    struct rows_field slow = {0};
    int rc = rows_walk_slow(&slow_rest, &slow);
    if (rc == FM_OK) {
        *rest = slow_rest;
        *ret_field = slow;
    }
    return rc;
}

#endif
