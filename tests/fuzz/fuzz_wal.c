/* SPDX-License-Identifier: Apache-2.0 */
/* The log's replay over any bytes: as they are, and as records whose place and checksum were made
 * right, so that what lies behind the checksum (lengths, tenant, lz4) is reached as well. */
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    uint64_t end; /* of what was reported */
    uint64_t records, holes;
};

static int walk_record(void *self, const struct wal_segment *segment, uint64_t offset,
                       const struct wal_record *record)
{
    struct walk *walk = self;
    struct fm_buf payload;
    FM_ASSERT(offset >= walk->end && offset % 8 == 0);
    FM_ASSERT(record->lsn == segment->base_lsn + (offset - WAL_HEADER_BYTES));
    walk->end = offset + record->stored_crc_bytes;
    walk->records++;
    fm_buf_init(&payload, FM_MIB(1));
    if (wal_record_payload(record, &payload) == FM_OK)
        FM_ASSERT(payload.len == record->payload_bytes);
    fm_buf_fini(&payload);
    return FM_OK;
}

static int walk_hole(void *self, uint64_t offset, uint64_t len)
{
    struct walk *walk = self;
    FM_ASSERT(offset >= walk->end && len > 0);
    walk->end = offset + len;
    walk->holes++;
    return FM_OK;
}

static void replay(const uint8_t *data, size_t size)
{
    struct walk walk = {.end = WAL_HEADER_BYTES};
    struct wal_visitor visitor = {&walk, walk_record, walk_hole};
    struct wal_replay_result result;
    struct fm_why why;
    struct fm_slice bytes = fm_slice(data, size);
    if (wal_replay(fm_source_memory(&bytes), &visitor, &result, &why) != FM_OK)
        return;
    FM_ASSERT(result.record_count == walk.records && result.hole_count == walk.holes);
    FM_ASSERT(result.end_offset <= size || result.end_offset == WAL_HEADER_BYTES);
}

/* Every place that could be a record by its length gets its LSN and checksum. */
static void place_records(const struct wal_segment *segment, uint8_t *bytes, size_t size)
{
    uint64_t offset = WAL_HEADER_BYTES;
    while (offset + WAL_RECORD_HEADER_BYTES <= size) {
        uint64_t len = fm_load_le32(bytes + offset) & 0xffff;
        uint64_t end = (offset + 8 + len + 7) & ~UINT64_C(7);
        if (len < WAL_RECORD_HEADER_BYTES - 8 || end > size) {
            offset += 8;
            continue;
        }
        fm_store_le32(bytes + offset, (uint32_t)len);
        wal_record_place(segment, segment->base_lsn + (offset - WAL_HEADER_BYTES), bytes + offset);
        offset = end;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wal_segment segment = {
        .salt = 1, .epoch = 1, .sequence = 1, .base_lsn = 4096, .is_used = true};
    if (size > 65536)
        return 0;
    replay(data, size);
    uint8_t *bytes = malloc(WAL_HEADER_BYTES + size);
    if (!bytes)
        return 0;
    wal_segment_encode(&segment, bytes);
    if (size)
        memcpy(bytes + WAL_HEADER_BYTES, data, size);
    place_records(&segment, bytes, WAL_HEADER_BYTES + size);
    replay(bytes, WAL_HEADER_BYTES + size);
    free(bytes);
    return 0;
}
