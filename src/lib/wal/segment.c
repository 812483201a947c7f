/* SPDX-License-Identifier: Apache-2.0 */
/* The header page of a segment: two equal copies, each within one 512-byte sector, so that a torn
 * write leaves every copy either old or new.  docs/formats/wal.md, "Segment". */
#include "internal.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"

#define SEGMENT_VERSION     1u
#define SEGMENT_COPY_BYTES  76u
#define SEGMENT_SECOND_COPY 2048u

enum segment_flag { SEGMENT_USED = 1, SEGMENT_RECYCLED = 2 };

static const uint8_t segment_magic[8] = "FMWAL1\0";

void wal_segment_encode(const struct wal_segment *segment, uint8_t header[WAL_HEADER_BYTES])
{
    memset(header, 0, WAL_HEADER_BYTES);
    memcpy(header, segment_magic, sizeof segment_magic);
    fm_store_le32(header + 8, SEGMENT_VERSION);
    fm_store_le32(header + 12, (segment->is_used ? SEGMENT_USED : 0u) |
                                   (segment->is_recycled ? SEGMENT_RECYCLED : 0u));
    memcpy(header + 16, segment->node, sizeof segment->node);
    fm_store_le32(header + 32, segment->epoch);
    fm_store_le64(header + 40, segment->sequence);
    fm_store_le64(header + 48, segment->base_lsn);
    fm_store_le64(header + 56, segment->salt);
    fm_store_le64(header + 64, segment->created_unix_ns);
    fm_store_le32(header + 72, fm_crc32c(0, fm_slice(header, 72)));
    memcpy(header + SEGMENT_SECOND_COPY, header, SEGMENT_COPY_BYTES);
}

static int segment_copy_decode(const uint8_t *copy, struct wal_segment *ret_segment)
{
    if (memcmp(copy, segment_magic, sizeof segment_magic) != 0 ||
        fm_load_le32(copy + 72) != fm_crc32c(0, fm_slice(copy, 72)))
        return FM_ECORRUPT;
    if (fm_load_le32(copy + 8) != SEGMENT_VERSION)
        return FM_EUNSUPPORTED;
    uint32_t flags = fm_load_le32(copy + 12);
    struct wal_segment segment = {
        .epoch = fm_load_le32(copy + 32),
        .sequence = fm_load_le64(copy + 40),
        .base_lsn = fm_load_le64(copy + 48),
        .salt = fm_load_le64(copy + 56),
        .created_unix_ns = fm_load_le64(copy + 64),
        .is_used = (flags & SEGMENT_USED) != 0,
        .is_recycled = (flags & SEGMENT_RECYCLED) != 0,
    };
    memcpy(segment.node, copy + 16, sizeof segment.node);
    *ret_segment = segment;
    return FM_OK;
}

int wal_segment_decode(const uint8_t header[WAL_HEADER_BYTES], struct wal_segment *ret_segment)
{
    struct wal_segment first, second;
    int first_rc = segment_copy_decode(header, &first);
    int second_rc = segment_copy_decode(header + SEGMENT_SECOND_COPY, &second);
    if (first_rc != FM_OK && second_rc != FM_OK) {
        if (wal_zeros_len(fm_slice(header, WAL_HEADER_BYTES)) == WAL_HEADER_BYTES)
            return FM_NONE;
        return first_rc == FM_EUNSUPPORTED ? first_rc : second_rc;
    }
    /* A first use torn between its copies: the used one tells the truth (WAL-3). */
    bool take_second =
        first_rc != FM_OK || (second_rc == FM_OK && second.is_used && !first.is_used);
    *ret_segment = take_second ? second : first;
    return FM_OK;
}
