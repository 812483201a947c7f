/* SPDX-License-Identifier: Apache-2.0 */
/* pb - protobuf wire format: a pull reader without allocation and a writer.  Part of wire.
 * Rules: https://protobuf.dev/programming-guides/encoding/ ; hazards in docs/formats/otlp.md.
 */
#ifndef FERMATA_PB_H
#define FERMATA_PB_H

#include "fermata/base.h"
#include "fermata/bytes.h"

enum pb_type { PB_VARINT = 0, PB_FIXED64 = 1, PB_BYTES = 2, PB_GROUP = 3, PB_FIXED32 = 5 };

struct pb_field {
    uint32_t number; /* 1 .. 2^29-1 */
    uint32_t type;   /* enum pb_type; a group is skipped as a whole and reported once as PB_GROUP */
    uint64_t value;  /* VARINT, FIXED64, FIXED32 */
    struct fm_slice bytes; /* BYTES: the content; every type: see raw for the whole field */
    struct fm_slice raw;   /* tag and content as they stand in the input */
};

/* Reads the next field and moves *rest behind it.
 * FM_OK; FM_END: nothing left; FM_EMALFORMED: overrun, field 0, bad varint (over 10 bytes or
 * 64 bits), unbalanced group.  Groups may nest 32 deep. */
FM_MUST int pb_next(struct fm_slice *rest, struct pb_field *ret_field);

/* Varint at ptr; NULL if malformed or cut (also if ptr == end). */
const uint8_t *pb_varint_long(const uint8_t *ptr, const uint8_t *end, uint64_t *ret_value);
static inline const uint8_t *pb_varint(const uint8_t *ptr, const uint8_t *end, uint64_t *ret_value)
{
    if (FM_LIKELY(ptr < end && *ptr < 0x80)) {
        *ret_value = *ptr;
        return ptr + 1;
    }
    return pb_varint_long(ptr, end, ret_value);
}

/* Writer; errors stick to buf. */
void pb_put_varint(struct fm_buf *buf, uint64_t value); /* bare */
void pb_put_tag(struct fm_buf *buf, uint32_t number, enum pb_type type);
void pb_put_u64(struct fm_buf *buf, uint32_t number, uint64_t value); /* tag + varint, also for 0 */
void pb_put_fixed64(struct fm_buf *buf, uint32_t number, uint64_t value);
void pb_put_fixed32(struct fm_buf *buf, uint32_t number, uint32_t value);
void pb_put_bytes(struct fm_buf *buf, uint32_t number, struct fm_slice bytes);
void pb_put_text(struct fm_buf *buf, uint32_t number, const char *text);
size_t pb_varint_size(uint64_t value);

/* Nested message: mark = pb_begin(buf, number); ...; pb_end(buf, mark).  The length is minimal. */
size_t pb_begin(struct fm_buf *buf, uint32_t number);
void pb_end(struct fm_buf *buf, size_t mark);

#endif
