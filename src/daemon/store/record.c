/* SPDX-License-Identifier: Apache-2.0 */
/* record - reads records of the log again, for block builds and queries.  Any thread; the caller's
 * view pins the segments, so that names and contents stay. */
#include "internal.h"

#define RECORD_READ_ATTEMPTS 3u

void record_reader_init(struct record_reader *reader, struct store *store)
{
    *reader = (struct record_reader){.store = store};
    fm_buf_init(&reader->disk, SIZE_MAX / 4);
    fm_buf_init(&reader->payload, WAL_PAYLOAD_MAX);
}

void record_reader_fini(struct record_reader *reader)
{
    reader->file = pf_close(reader->store->platform, reader->file);
    fm_buf_fini(&reader->disk);
    fm_buf_fini(&reader->payload);
}

static int record_reader_open(struct record_reader *reader, const struct segment *segment,
                              struct fm_why *why)
{
    if (reader->file && reader->segment == segment)
        return FM_OK;
    char path[STORE_PATH_BYTES];
    reader->file = pf_close(reader->store->platform, reader->file);
    segment_path(reader->store, segment, path);
    int rc = pf_open(reader->store->platform, path, PF_READ, &reader->file, why);
    if (rc < 0)
        return rc;
    reader->segment = segment;
    return FM_OK;
}

static int record_reader_fetch(struct record_reader *reader, const struct head_record *record,
                               struct fm_why *why)
{
    fm_buf_reset(&reader->disk);
    uint8_t *room = fm_buf_room(&reader->disk, record->size);
    if (!room)
        return fm_fail(why, FM_ENOMEM, "no memory for a record of %u bytes", record->size);
    size_t got = 0;
    int rc = FM_EIO;
    for (unsigned attempt = 0; rc < 0 && attempt < RECORD_READ_ATTEMPTS; attempt++) {
        rc = record_reader_open(reader, record->segment, why);
        if (rc == FM_OK)
            rc = reader->store->platform->ops->read(reader->file, record->offset, room,
                                                    record->size, &got, why);
    }
    if (rc < 0)
        return rc;
    reader->disk.len = got;
    return FM_OK;
}

int record_reader_append(struct record_reader *reader, const struct head_record *record,
                         struct fm_buf *target, struct fm_why *why)
{
    struct wal_record decoded;
    uint64_t size;
    int rc = record_reader_fetch(reader, record, why);
    if (rc < 0)
        return rc;
    rc = wal_record_decode(&record->segment->header, record->lsn, fm_buf_slice(&reader->disk),
                           &decoded, &size);
    if (rc != FM_OK)
        return fm_fail(why, FM_ECORRUPT, "record %llu is not what was written",
                       (unsigned long long)record->lsn);
    memcpy(reader->batch_id, decoded.batch_id, sizeof reader->batch_id);
    rc = wal_record_payload(&decoded, target);
    if (rc < 0)
        return fm_fail(why, rc, "payload of record %llu: %s", (unsigned long long)record->lsn,
                       fm_rc_text(rc));
    return FM_OK;
}

int record_reader_read(struct record_reader *reader, const struct head_record *record,
                       struct fm_slice *ret_payload, struct fm_why *why)
{
    fm_buf_reset(&reader->payload);
    int rc = record_reader_append(reader, record, &reader->payload, why);
    if (rc == FM_OK)
        *ret_payload = fm_buf_slice(&reader->payload);
    return rc;
}
