/* SPDX-License-Identifier: Apache-2.0 */
/* Replay of one segment: every valid record in order, whatever happened to the bytes between.
 *
 * Damage never widens: where a record does not check out, every multiple of 8 behind it is tried
 * as the start of the next one, up to the end of the file.  That also holds for zeros, which are
 * either the end of the log or a sector that lost its content (WAL-7).  The file is read through
 * one window, which grows only for a record that is larger.
 */
#include "internal.h"

#include <stdlib.h>

#include "fermata/bytes.h"

#define REPLAY_WINDOW_BYTES  FM_MIB(1)
#define REPLAY_PAGE_BYTES    4096u
#define REPLAY_READ_ATTEMPTS 3u

struct replay {
    struct fm_source source;
    const struct wal_visitor *visitor;
    struct wal_replay_result result;
    uint8_t *window; /* owned */
    size_t window_cap;
    uint64_t window_offset; /* in the file */
    size_t window_len;
};

/* One bad sector must not cost its neighbours: what cannot be read in one piece is read page by
 * page, and a page that stays unreadable counts as zeros, which the checksums notice. */
static int replay_read(struct replay *replay, uint64_t offset, uint8_t *target, size_t len)
{
    struct fm_source *source = &replay->source;
    int rc = source->read_at(source->self, offset, target, len);
    if (rc != FM_EIO || offset < WAL_HEADER_BYTES)
        return rc;
    for (size_t done = 0; done < len;) {
        size_t piece = FM_MIN(len - done, (size_t)REPLAY_PAGE_BYTES);
        for (unsigned attempt = 0; attempt < REPLAY_READ_ATTEMPTS; attempt++) {
            rc = source->read_at(source->self, offset + done, target + done, piece);
            if (rc != FM_EIO)
                break;
        }
        if (rc == FM_EIO) {
            memset(target + done, 0, piece);
            replay->result.unreadable_bytes += piece;
        } else if (rc < 0) {
            return rc;
        }
        done += piece;
    }
    return FM_OK;
}

/* At least len bytes of the file at offset, or as many as there are: never none if offset < size.
 */
static int replay_view(struct replay *replay, uint64_t offset, size_t len,
                       struct fm_slice *ret_bytes)
{
    uint64_t left = replay->source.size - offset;
    uint64_t wanted = FM_MIN((uint64_t)len, left);
    uint64_t window_end = replay->window_offset + replay->window_len;
    if (offset < replay->window_offset || offset + wanted > window_end) {
        size_t fill = (size_t)FM_MIN(left, (uint64_t)FM_MAX(len, REPLAY_WINDOW_BYTES));
        if (fill > replay->window_cap) {
            uint8_t *grown = realloc(replay->window, fill);
            if (!grown)
                return FM_ENOMEM;
            replay->window = grown;
            replay->window_cap = fill;
        }
        replay->window_len = 0;
        int rc = replay_read(replay, offset, replay->window, fill);
        if (rc < 0)
            return rc;
        replay->window_offset = offset;
        replay->window_len = fill;
        window_end = offset + fill;
    }
    *ret_bytes =
        fm_slice(replay->window + (offset - replay->window_offset), (size_t)(window_end - offset));
    return FM_OK;
}

static uint64_t replay_lsn(const struct replay *replay, uint64_t offset)
{
    return replay->result.segment.base_lsn + (offset - WAL_HEADER_BYTES);
}

/* FM_OK, FM_END or FM_ECORRUPT of the record at offset; a record cut by the end is corrupt. */
static int replay_record_at(struct replay *replay, uint64_t offset, struct wal_record *ret_record,
                            uint64_t *ret_size)
{
    struct fm_slice bytes;
    uint64_t size = WAL_RECORD_HEADER_BYTES;
    int rc = FM_MORE;
    while (rc == FM_MORE) {
        if (size > replay->source.size - offset)
            return FM_ECORRUPT;
        rc = replay_view(replay, offset, (size_t)size, &bytes);
        if (rc < 0)
            return rc;
        rc = wal_record_decode(&replay->result.segment, replay_lsn(replay, offset), bytes,
                               ret_record, &size);
    }
    *ret_size = size;
    return rc;
}

/* The next offset from *offset on whose bytes carry their own LSN; FM_END: none. */
static int replay_find_candidate(struct replay *replay, uint64_t *offset, uint64_t *last_nonzero)
{
    uint64_t at = *offset;
    while (at + WAL_RECORD_HEADER_BYTES <= replay->source.size) {
        struct fm_slice bytes;
        int rc = replay_view(replay, at, WAL_RECORD_HEADER_BYTES, &bytes);
        if (rc < 0)
            return rc;
        size_t position = 0;
        for (; position + WAL_RECORD_HEADER_BYTES <= bytes.len; position += 8) {
            uint64_t word = fm_load_le64(bytes.ptr + position + RECORD_LSN);
            if (word == 0)
                continue;
            *last_nonzero = at + position + RECORD_LSN + 8;
            if (word == replay_lsn(replay, at + position)) {
                *offset = at + position;
                return FM_OK;
            }
        }
        at += position;
    }
    return FM_END;
}

/* Looks for a valid record from offset on.  FM_OK, or FM_END with *last_nonzero set if there was
 * anything but zeros. */
static int replay_resync(struct replay *replay, uint64_t *offset, uint64_t *last_nonzero)
{
    for (;; *offset += 8) {
        struct wal_record record;
        uint64_t size;
        int rc = replay_find_candidate(replay, offset, last_nonzero);
        if (rc != FM_OK)
            return rc;
        rc = replay_record_at(replay, *offset, &record, &size);
        if (rc == FM_OK || (rc < 0 && rc != FM_ECORRUPT))
            return rc;
    }
}

/* Bytes of a torn write behind the last record.  In a recycled file other bytes there are those
 * of an older life, unless a record was begun at exactly this place. */
static uint64_t replay_tail_bytes(struct replay *replay, uint64_t end, uint64_t last_nonzero)
{
    struct fm_slice bytes;
    if (end + WAL_RECORD_HEADER_BYTES > replay->source.size ||
        replay_view(replay, end, WAL_RECORD_HEADER_BYTES, &bytes) < 0)
        return replay->result.segment.is_recycled ? 0 : replay->source.size - end;
    bool is_begun = fm_load_le64(bytes.ptr + RECORD_LSN) == replay_lsn(replay, end);
    if (replay->result.segment.is_recycled && !is_begun)
        return 0;
    if (wal_zeros_len(fm_slice(bytes.ptr, 16)) < 16)
        last_nonzero = FM_MAX(last_nonzero, end + 16);
    return last_nonzero > end ? last_nonzero - end : 0;
}

static int replay_report_hole(struct replay *replay, uint64_t offset, uint64_t end)
{
    replay->result.hole_count++;
    replay->result.hole_bytes += end - offset;
    if (!replay->visitor->hole)
        return FM_OK;
    return replay->visitor->hole(replay->visitor->self, offset, end - offset);
}

static int replay_records(struct replay *replay)
{
    struct wal_replay_result *result = &replay->result;
    uint64_t offset = WAL_HEADER_BYTES;
    result->end_offset = offset;
    while (offset + WAL_RECORD_HEADER_BYTES <= replay->source.size) {
        struct wal_record record;
        uint64_t size, next = offset, last_nonzero = 0;
        int rc = replay_record_at(replay, offset, &record, &size);
        if (rc == FM_END || rc == FM_ECORRUPT) {
            rc = replay_resync(replay, &next, &last_nonzero);
            if (rc == FM_END) {
                result->tail_bytes = replay_tail_bytes(replay, offset, last_nonzero);
                break;
            }
            if (rc == FM_OK)
                rc = replay_report_hole(replay, offset, next);
            if (rc != FM_OK)
                return rc;
            offset = next;
            continue;
        }
        if (rc < 0)
            return rc;
        offset += size;
        result->end_offset = offset;
        if (record.type == WAL_SEAL) {
            result->sealed = true;
            break;
        }
        result->record_count++;
        rc = replay->visitor->record(replay->visitor->self, &result->segment, offset - size,
                                     &record);
        if (rc != FM_OK)
            return rc;
    }
    result->end_lsn = replay_lsn(replay, result->end_offset);
    return FM_OK;
}

/* A header of zeros is a file that was only allocated, unless something is in it. */
static int replay_unwritten(struct replay *replay, struct fm_why *why)
{
    for (uint64_t offset = 0; offset < replay->source.size;) {
        struct fm_slice bytes;
        int rc = replay_view(replay, offset, 1, &bytes);
        if (rc < 0)
            return rc;
        if (wal_zeros_len(bytes) != bytes.len)
            return fm_fail(why, FM_ECORRUPT, "the header is zero, but what follows is not");
        offset += bytes.len;
    }
    return FM_NONE;
}

static int replay_run(struct replay *replay, struct fm_why *why)
{
    if (replay->source.size < WAL_HEADER_BYTES) {
        int rc = replay_unwritten(replay, why);
        return rc == FM_ECORRUPT ? fm_fail(why, rc, "shorter than its header") : rc;
    }
    uint8_t header[WAL_HEADER_BYTES];
    int rc = replay_read(replay, 0, header, sizeof header);
    if (rc < 0)
        return rc;
    rc = wal_segment_decode(header, &replay->result.segment);
    if (rc == FM_NONE)
        return replay_unwritten(replay, why);
    if (rc < 0)
        return fm_fail(why, rc,
                       rc == FM_ECORRUPT ? "both copies of the header are damaged"
                                         : "written by a later version");
    if (!replay->result.segment.is_used)
        return FM_NONE;
    return replay_records(replay);
}

int wal_replay(struct fm_source source, const struct wal_visitor *visitor,
               struct wal_replay_result *ret_result, struct fm_why *why)
{
    struct replay replay = {.source = source, .visitor = visitor};
    int rc = replay_run(&replay, why);
    free(replay.window);
    if (rc == FM_OK || rc == FM_NONE)
        *ret_result = replay.result;
    return rc;
}
