/* SPDX-License-Identifier: Apache-2.0 */
/* One record: fixed part, tenant, payload, zeros up to a multiple of 8.
 * The checksum covers the segment's salt, the length and everything behind the checksum, the LSN
 * included: a record is valid only in this life of this file and only at its own place (WAL-5).
 */
#include "internal.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"

size_t wal_zeros_len(struct fm_slice bytes)
{
    size_t len = 0;
    while (len + 8 <= bytes.len && fm_load_le64(bytes.ptr + len) == 0)
        len += 8;
    while (len < bytes.len && bytes.ptr[len] == 0)
        len++;
    return len;
}

static uint32_t record_checksum(uint64_t salt, const uint8_t *record, size_t len)
{
    uint8_t prefix[12];
    fm_store_le64(prefix, salt);
    fm_store_le32(prefix + 8, (uint32_t)len);
    uint32_t crc = fm_crc32c(0, fm_slice(prefix, sizeof prefix));
    return fm_crc32c(crc, fm_slice(record + RECORD_PREFIX, len));
}

void wal_record_place(const struct wal_segment *segment, uint64_t lsn, uint8_t *record)
{
    FM_ASSERT(lsn % 8 == 0);
    fm_store_le64(record + RECORD_LSN, lsn);
    size_t len = fm_load_le32(record + RECORD_LEN);
    fm_store_le32(record + RECORD_CRC, record_checksum(segment->salt, record, len));
}

/* Puts the payload behind the fixed part; a compressed form that is not smaller is taken back. */
static int record_put_payload(struct fm_slice payload, struct codec_encoder *encoder,
                              struct fm_buf *target, uint8_t *ret_codec)
{
    size_t begin = target->len, len;
    *ret_codec = CODEC_NONE;
    if (encoder && payload.len) {
        int rc = codec_encode(encoder, payload, target, &len);
        if (rc < 0)
            return rc;
        if (len < payload.len) {
            *ret_codec = CODEC_LZ4;
            return FM_OK;
        }
        target->len = begin;
    }
    fm_buf_put_slice(target, payload);
    return FM_OK;
}

int wal_record_encode(const struct wal_segment *segment, const struct wal_record *record,
                      struct fm_slice payload, struct codec_encoder *encoder, struct fm_buf *target,
                      uint64_t *ret_size)
{
    if (payload.len > WAL_PAYLOAD_MAX || record->tenant.len > WAL_TENANT_MAX)
        return FM_ELIMIT;
    size_t begin = target->len;
    uint8_t codec;
    fm_buf_put_zeros(target, WAL_RECORD_HEADER_BYTES);
    fm_buf_put_slice(target, record->tenant);
    int rc = record_put_payload(payload, encoder, target, &codec);
    size_t len = target->len - begin - RECORD_PREFIX;
    fm_buf_put_zeros(target, wal_align8(RECORD_PREFIX + len) - (RECORD_PREFIX + len));
    if (rc < 0 || target->failed) {
        target->len = begin;
        target->failed = false;
        return rc < 0 ? rc : FM_ENOMEM;
    }
    uint8_t *fixed = target->ptr + begin;
    fm_store_le32(fixed + RECORD_LEN, (uint32_t)len);
    fixed[RECORD_TYPE] = record->type;
    fixed[RECORD_CODEC] = codec;
    fm_store_le16(fixed + RECORD_TENANT_LEN, (uint16_t)record->tenant.len);
    fm_store_le32(fixed + RECORD_SPAN_COUNT, record->span_count);
    fm_store_le64(fixed + RECORD_RECEIVED, record->received_unix_ns);
    fm_store_le32(fixed + RECORD_PAYLOAD_BYTES, (uint32_t)payload.len);
    memcpy(fixed + RECORD_BATCH_ID, record->batch_id, sizeof record->batch_id);
    if (segment)
        wal_record_place(segment, record->lsn, fixed);
    *ret_size = target->len - begin;
    return FM_OK;
}

/* Whether the fixed part can be true, before its length is believed. */
static bool record_is_plausible(const uint8_t *fixed, uint64_t lsn)
{
    size_t len = fm_load_le32(fixed + RECORD_LEN);
    size_t tenant_len = fm_load_le16(fixed + RECORD_TENANT_LEN);
    uint32_t payload_bytes = fm_load_le32(fixed + RECORD_PAYLOAD_BYTES);
    size_t least = WAL_RECORD_HEADER_BYTES - RECORD_PREFIX + tenant_len;
    if (fm_load_le64(fixed + RECORD_LSN) != lsn || len < least || tenant_len > WAL_TENANT_MAX)
        return false;
    size_t stored = len - least;
    uint8_t type = fixed[RECORD_TYPE], codec = fixed[RECORD_CODEC];
    if ((type != WAL_SPANS && type != WAL_SEAL) || payload_bytes > WAL_PAYLOAD_MAX ||
        fm_load_le32(fixed + RECORD_FLAGS) != 0)
        return false;
    return codec == CODEC_NONE ? stored == payload_bytes
                               : codec == CODEC_LZ4 && stored < payload_bytes;
}

int wal_record_decode(const struct wal_segment *segment, uint64_t lsn, struct fm_slice bytes,
                      struct wal_record *ret_record, uint64_t *ret_size)
{
    if (bytes.len < WAL_RECORD_HEADER_BYTES) {
        *ret_size = WAL_RECORD_HEADER_BYTES;
        return FM_MORE;
    }
    const uint8_t *fixed = bytes.ptr;
    if (wal_zeros_len(fm_slice(fixed, WAL_RECORD_HEADER_BYTES)) == WAL_RECORD_HEADER_BYTES)
        return FM_END;
    if (!record_is_plausible(fixed, lsn))
        return FM_ECORRUPT;
    size_t len = fm_load_le32(fixed + RECORD_LEN);
    uint64_t size = wal_align8(RECORD_PREFIX + len);
    if (bytes.len < size) {
        *ret_size = size;
        return FM_MORE;
    }
    if (fm_load_le32(fixed + RECORD_CRC) != record_checksum(segment->salt, fixed, len))
        return FM_ECORRUPT;
    size_t tenant_len = fm_load_le16(fixed + RECORD_TENANT_LEN);
    size_t before = WAL_RECORD_HEADER_BYTES + tenant_len;
    *ret_record = (struct wal_record){
        .lsn = lsn,
        .type = fixed[RECORD_TYPE],
        .codec = fixed[RECORD_CODEC],
        .span_count = fm_load_le32(fixed + RECORD_SPAN_COUNT),
        .received_unix_ns = fm_load_le64(fixed + RECORD_RECEIVED),
        .tenant = fm_slice(fixed + WAL_RECORD_HEADER_BYTES, tenant_len),
        .payload_bytes = fm_load_le32(fixed + RECORD_PAYLOAD_BYTES),
        .stored = fm_slice(fixed + before, RECORD_PREFIX + len - before),
        .stored_crc_bytes = size,
    };
    memcpy(ret_record->batch_id, fixed + RECORD_BATCH_ID, sizeof ret_record->batch_id);
    *ret_size = size;
    return FM_OK;
}

int wal_record_payload(const struct wal_record *record, struct fm_buf *target)
{
    uint8_t *room = fm_buf_room(target, record->payload_bytes);
    if (!room) {
        target->failed = false; /* the caller may go on without this record */
        return record->payload_bytes > target->bytes_max ? FM_ELIMIT : FM_ENOMEM;
    }
    int rc = codec_decode((enum codec)record->codec, record->stored, room, record->payload_bytes);
    if (rc < 0)
        return rc;
    target->len += record->payload_bytes;
    return FM_OK;
}
