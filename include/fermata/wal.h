/* SPDX-License-Identifier: Apache-2.0 */
/* wal - the log's format: segment headers, records, replay.  Pure; the files are the store's.
 * The format, byte by byte, with the rules for writers and readers: docs/formats/wal.md.
 */
#ifndef FERMATA_WAL_H
#define FERMATA_WAL_H

#include "fermata/base.h"
#include "fermata/codec.h"

#define WAL_HEADER_BYTES        4096u      /* segment header: one page */
#define WAL_RECORD_HEADER_BYTES 56u        /* fixed part in front of the tenant's name */
#define WAL_PAYLOAD_MAX         FM_MIB(64) /* uncompressed, one record */
#define WAL_TENANT_MAX          255u       /* bytes of a tenant's name */
#define WAL_SEAL_BYTES          WAL_RECORD_HEADER_BYTES

/* A position in the log: LSNs grow by the bytes of the records, over all segments; they may jump
 * from one segment to the next, never go back.  A multiple of 8. */
struct wal_segment {
    uint8_t node[16];
    uint64_t salt;  /* random, new at each use of the file: stale bytes never look valid */
    uint32_t epoch; /* start-up count */
    uint64_t sequence;
    uint64_t base_lsn; /* of the first record, which lies at WAL_HEADER_BYTES; if not is_used: a
                          position that no later segment may begin below */
    uint64_t created_unix_ns;
    bool is_used;     /* false: made ready, holds no record */
    bool is_recycled; /* what is behind the last record may be an older life's bytes */
};
void wal_segment_encode(const struct wal_segment *segment, uint8_t header[WAL_HEADER_BYTES]);
/* Two copies lie in the header page; either is enough, a used one wins.  FM_ECORRUPT; FM_NONE: all
 * zeros; FM_EUNSUPPORTED: written by a later version. */
FM_MUST int wal_segment_decode(const uint8_t header[WAL_HEADER_BYTES],
                               struct wal_segment *ret_segment);

#define WAL_BATCH_RECEIVERS 15 /* byte of a batch id: through which receivers it came, as bits */
enum wal_type { WAL_SPANS = 1, WAL_SEAL = 2 }; /* SEAL: last record of a segment closed in order */

struct wal_record {
    uint64_t lsn;
    uint8_t type;
    uint8_t codec; /* CODEC_NONE or CODEC_LZ4 */
    uint32_t span_count;
    uint8_t batch_id[16]; /* stays the same if the batch is written again after a failed sync */
    uint64_t received_unix_ns;
    struct fm_slice tenant;
    uint32_t payload_bytes;    /* uncompressed */
    struct fm_slice stored;    /* payload as stored: canonical OTLP, perhaps compressed */
    uint64_t stored_crc_bytes; /* total size of the record on disk, padding included */
};

/* Appends the record, compressed if that makes it smaller, to target; record->lsn must be
 * base_lsn + (bytes of target that precede it in the segment).  payload: uncompressed.
 * encoder: an LZ4 codec_encoder, or NULL for none.  Of record: lsn, type, span_count, batch_id,
 * received_unix_ns and tenant are read.
 * segment NULL: the place is not known yet; wal_record_place() before it is written.
 * FM_ELIMIT: payload or tenant too long; FM_ENOMEM.  On failure target is as it was. */
FM_MUST int wal_record_encode(const struct wal_segment *segment, const struct wal_record *record,
                              struct fm_slice payload, struct codec_encoder *encoder,
                              struct fm_buf *target, uint64_t *ret_size);
/* Gives an encoded record its place (again): lsn and checksum are set, nothing else changes. */
void wal_record_place(const struct wal_segment *segment, uint64_t lsn, uint8_t *record);

/* Checks the record at the start of bytes, which must hold it whole.
 * FM_OK; FM_END: zeros, nothing was written here; FM_MORE: *ret_size bytes are needed;
 * FM_ECORRUPT: not a record of this segment at this lsn. */
FM_MUST int wal_record_decode(const struct wal_segment *segment, uint64_t lsn,
                              struct fm_slice bytes, struct wal_record *ret_record,
                              uint64_t *ret_size);
/* The payload, uncompressed, appended to target. */
FM_MUST int wal_record_payload(const struct wal_record *record, struct fm_buf *target);

/* Replay of one segment.  Reads through source in bounded steps; after damage it looks for the next
 * valid record and reports the hole. */
struct wal_visitor {
    void *self;
    /* A non-zero result stops the replay and is returned. */
    int (*record)(void *self, const struct wal_segment *segment, uint64_t offset,
                  const struct wal_record *record);
    int (*hole)(void *self, uint64_t offset, uint64_t len); /* unreadable bytes between records */
};
struct wal_replay_result {
    struct wal_segment segment;
    uint64_t record_count; /* SEAL not counted */
    uint64_t end_offset;   /* behind the last valid record */
    uint64_t end_lsn;
    uint64_t hole_count, hole_bytes;
    uint64_t tail_bytes;       /* non-zero bytes behind the last record: a torn write */
    uint64_t unreadable_bytes; /* the source failed there, again and again; taken for zeros */
    bool sealed;               /* ended with WAL_SEAL */
};
/* FM_OK, also with holes, a torn tail and pages that the source cannot read (FM_EIO).  FM_NONE:
 * never used (ret_result->segment is set, its base_lsn 0 if even the header was never written).
 * FM_ECORRUPT: both headers are bad; FM_EUNSUPPORTED: of a later version.  FM_EIO: the header page
 * cannot be read.  FM_ENOMEM, and what else the visitor or the source says. */
FM_MUST int wal_replay(struct fm_source source, const struct wal_visitor *visitor,
                       struct wal_replay_result *ret_result, struct fm_why *why);

#endif
