/* SPDX-License-Identifier: Apache-2.0 */
/* walk - pb_next for the bulk of what a builder reads: one-byte tags, short lengths, fixed64.
 *
 * Inlined into its callers, so that a field never exists in memory; everything else, and every
 * refusal, is left to pb_next. */
#ifndef BLOCK_WALK_H
#define BLOCK_WALK_H

#include "fermata/pb.h"

struct walk_field {        /* only the member of the type is set, the other keeps what it had */
    uint32_t tag;          /* number << 3 | type */
    uint64_t value;        /* VARINT, FIXED64, FIXED32 */
    struct fm_slice bytes; /* BYTES */
};
#define WALK_VARINT_MAX      10 /* bytes with the tag: nine of a number have no bit too many */
#define WALK_VARINT(number)  ((number) << 3 | PB_VARINT)
#define WALK_FIXED64(number) ((number) << 3 | PB_FIXED64)
#define WALK_BYTES(number)   ((number) << 3 | PB_BYTES)

static __attribute__((noinline)) int walk_next_slow(struct fm_slice *rest,
                                                    struct walk_field *ret_field)
{
    struct pb_field field;
    int rc = pb_next(rest, &field);
    if (rc == FM_OK)
        *ret_field = (struct walk_field){
            .tag = field.number << 3 | field.type, .value = field.value, .bytes = field.bytes};
    return rc;
}

/* As pb_next. */
static inline __attribute__((always_inline)) int walk_next(struct fm_slice *rest,
                                                           struct walk_field *ret_field)
{
    const uint8_t *ptr = rest->ptr;
    size_t left = rest->len, head = 2;
    if (left >= 2 && ptr[0] >= 8 && ptr[0] < 0x80) {
        uint32_t tag = ptr[0];
        size_t len = ptr[1];
        if ((tag & 7) == PB_BYTES) {
            if (len >= 0x80 && left >= 3 && ptr[2] < 0x80) {
                len = (len & 0x7f) | (size_t)ptr[2] << 7;
                head = 3;
            } else if (len >= 0x80) {
                len = SIZE_MAX;
            }
            if (FM_LIKELY(len <= left - head)) {
                ret_field->tag = tag;
                ret_field->bytes = fm_slice(ptr + head, len);
                *rest = fm_slice(ptr + head + len, left - head - len);
                return FM_OK;
            }
        } else if ((tag & 7) == PB_FIXED64 && left >= 9) {
            ret_field->tag = tag;
            ret_field->value = fm_load_le64(ptr + 1);
            *rest = fm_slice(ptr + 9, left - 9);
            return FM_OK;
        } else if ((tag & 7) == PB_VARINT) {
            uint64_t value = len & 0x7f;
            while (ptr[head - 1] >= 0x80 && head < left && head < WALK_VARINT_MAX) {
                value |= (uint64_t)(ptr[head] & 0x7f) << 7 * (head - 1);
                head++;
            }
            if (FM_LIKELY(ptr[head - 1] < 0x80)) {
                ret_field->tag = tag;
                ret_field->value = value;
                *rest = fm_slice(ptr + head, left - head);
                return FM_OK;
            }
        }
    }
    if (!left)
        return FM_END;
    struct fm_slice slow_rest = *rest;
    struct walk_field slow = {0};
    int rc = walk_next_slow(&slow_rest, &slow);
    if (rc == FM_OK) {
        *rest = slow_rest;
        *ret_field = slow;
    }
    return rc;
}

#endif
