/* SPDX-License-Identifier: Apache-2.0 */
/* block_files - a block's directory: meta.json, bloom-N, data.parquet. */
#ifndef TOOLS_BLOCK_FILES_H
#define TOOLS_BLOCK_FILES_H

#include "fermata/block.h"
#include "fermata/platform.h"

struct block_files {
    struct block_meta meta;
    struct block_dedicated dedicated[BLOCK_DEDICATED_MAX]; /* meta's */
    struct pf_source file;
    struct fm_source data;
    struct fm_buf bloom_bytes; /* all shards, one after another */
    struct fm_slice *blooms;   /* owned array; meta.bloom_shard_count of them */
};
/* FM_ENOTFOUND: no meta.json there.  FM_ECORRUPT, FM_EMALFORMED: what is there is no block. */
FM_MUST int block_files_open(struct block_files *files, const char *folder, struct fm_why *why);
void block_files_close(struct block_files *files); /* also after a failure, also twice */

#endif
