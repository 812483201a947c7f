/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of blocks that are deleted: their bloom filters, in files whose names say the
 * rest.  gone/<tenant>/<when>-<first>-<last>-<receivers>-<id>-<end>-<shard>-<shards> */
#ifndef STORE_GONE_H
#define STORE_GONE_H

#include "fermata/block.h"

struct gone_name {
    uint64_t unix_ns;                     /* when it was deleted; names sort by it */
    uint64_t first_unix_ns, last_unix_ns; /* received, in seconds; 0: not known */
    uint8_t receivers;
    struct block_id id;
    char end[16];
    unsigned shard, shard_count;
};
#define GONE_NAME_BYTES 128u
bool gone_name_parse(const char *name, struct gone_name *ret_gone);
void gone_name_print(const struct gone_name *gone, char name[GONE_NAME_BYTES]);

struct store;
struct block_entry;
/* In keep's job: the block is out of the list and has no meta.json any more.  Best effort. */
void gone_take(struct store *store, const struct block_entry *entry);
void gone_trim(struct store *store); /* now and then: the oldest go */

/* The same of a block of the outbox, which has left and is about to go. */
void gone_take_outgoing(struct store *store, const struct block_entry *entry);

/* The file `uploaded` in a block's directory, a line for each block that it was uploaded as: when,
 * and which.  "1": an older version's, which did not say. */
#define MARKER_FILE_MAX FM_KIB(32)
void marker_print(const struct block_entry *entry, uint64_t unix_ns, char *text, size_t size);
/* The first line off the front of text; false: there is none that says something. */
bool marker_next(struct fm_slice *text, uint64_t *ret_unix_ns, struct block_id *ret_id);

#endif
