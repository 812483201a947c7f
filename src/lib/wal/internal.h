/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of wal share. */
#ifndef WAL_INTERNAL_H
#define WAL_INTERNAL_H

#include "fermata/wal.h"

/* Offsets in a record's fixed part. */
enum {
    RECORD_LEN = 0,
    RECORD_CRC = 4,
    RECORD_LSN = 8,
    RECORD_TYPE = 16,
    RECORD_CODEC = 17,
    RECORD_TENANT_LEN = 18,
    RECORD_SPAN_COUNT = 20,
    RECORD_RECEIVED = 24,
    RECORD_PAYLOAD_BYTES = 32,
    RECORD_FLAGS = 36, /* zero; a reader refuses what it does not know */
    RECORD_BATCH_ID = 40,
    RECORD_PREFIX = 8, /* len counts what is behind it */
};

/* How many leading bytes are zero. */
size_t wal_zeros_len(struct fm_slice bytes);

static inline uint64_t wal_align8(uint64_t value)
{
    return (value + 7) & ~UINT64_C(7);
}

#endif
