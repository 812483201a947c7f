/* SPDX-License-Identifier: Apache-2.0 */
/* cloud_blocks - the plan of a large put to Azure.
 *
 *   which blocks are there? --> digest (job) --> BLOCK, if it is not there --> ... --> COMMIT
 *                                 ^                        |
 *                                 +------------------------+
 *
 * A block's name is its number and the MD5 of its content, so what an earlier attempt sent, before
 * a restart too, is recognized without any memory of ours; blocks of another content have other
 * names and go away with the commit.  A lost answer to COMMIT is reported as ambiguous, and the
 * replicator looks at the object.
 */
#include "bucket_cloud.h"

#include <stdlib.h>

static void blocks_next(struct cloud_transfer *transfer);

static uint64_t blocks_part_offset(const struct cloud_transfer *transfer)
{
    return (uint64_t)transfer->part * transfer->part_bytes;
}

static uint64_t blocks_part_length(const struct cloud_transfer *transfer)
{
    return FM_MIN(transfer->request->source.size - blocks_part_offset(transfer),
                  transfer->part_bytes);
}

/* ---- commit ---- */

static void blocks_after_commit(struct cloud_transfer *transfer)
{
    if (transfer->answer.outcome == S3_NO_UPLOAD) /* a block is gone: from the beginning */
        transfer->answer.outcome = S3_TRANSIENT;
    cloud_transfer_end_from_answer(transfer);
}

static void blocks_commit(struct cloud_transfer *transfer)
{
    fm_buf_reset(&transfer->commit);
    for (uint32_t i = 0; i < transfer->part_count; i++)
        cloud_commit_block(&transfer->commit, fm_slice_text(transfer->ids[i]));
    cloud_commit_end(&transfer->commit);
    if (transfer->commit.failed) {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for the list of blocks");
        cloud_transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    cloud_transfer_set_call(transfer, CLOUD_COMMIT);
    transfer->commit_slice = fm_buf_slice(&transfer->commit);
    transfer->body = fm_source_memory(&transfer->commit_slice);
    transfer->call.length = transfer->commit_slice.len;
    cloud_exchange_start(transfer, blocks_after_commit);
}

/* ---- blocks ---- */

static void blocks_after_block(struct cloud_transfer *transfer)
{
    if (transfer->answer.outcome != S3_DONE) {
        cloud_transfer_end_from_answer(transfer);
        return;
    }
    transfer->part++;
    blocks_next(transfer);
}

static void blocks_after_digest(struct cloud_transfer *transfer)
{
    if (transfer->job_rc < 0) {
        cloud_transfer_end_from_job(transfer);
        return;
    }
    char *id = transfer->ids[transfer->part];
    cloud_block_id(transfer->part, transfer->md5, id);
    if (!id[0]) {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for a block's name");
        cloud_transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    if (strcmp(id, transfer->found[transfer->part]) == 0) {
        metric_add(&transfer->cloud->resumed_parts, 1);
        transfer->part++;
        blocks_next(transfer);
        return;
    }
    cloud_transfer_set_call(transfer, CLOUD_BLOCK);
    transfer->call.md5 = transfer->md5;
    transfer->call.block_id = fm_slice_text(id);
    cloud_transfer_set_body(transfer, blocks_part_offset(transfer), blocks_part_length(transfer));
    cloud_exchange_start(transfer, blocks_after_block);
}

static void blocks_next(struct cloud_transfer *transfer)
{
    if (transfer->part == transfer->part_count)
        blocks_commit(transfer);
    else
        cloud_transfer_digest(transfer, blocks_part_offset(transfer), blocks_part_length(transfer),
                              blocks_after_digest);
}

/* ---- what is there ---- */

static int blocks_on_block(void *self, struct fm_slice id)
{
    struct cloud_transfer *transfer = self;
    uint32_t number;
    if (cloud_block_id_parse(id, &number) == FM_OK && number < transfer->part_count)
        memcpy(transfer->found[number], id.ptr, CLOUD_BLOCK_ID_LEN);
    return FM_OK;
}

static void blocks_after_list(struct cloud_transfer *transfer)
{
    enum s3_outcome outcome = transfer->answer.outcome;
    if (outcome == S3_DONE)
        (void)!cloud_blocks_read(fm_buf_slice(&transfer->answer_body), blocks_on_block,
                                 transfer); /* what is not understood is sent again */
    else if (outcome != S3_ABSENT) {
        cloud_transfer_end_from_answer(transfer);
        return;
    }
    blocks_next(transfer);
}

void cloud_blocks_start(struct cloud_transfer *transfer)
{
    uint64_t size = transfer->request->source.size;
    transfer->part_bytes = FM_MAX(transfer->cloud->block_bytes, size / CLOUD_BLOCKS_MAX + 1);
    transfer->part_count = (uint32_t)((size + transfer->part_bytes - 1) / transfer->part_bytes);
    transfer->ids = calloc(transfer->part_count, sizeof transfer->ids[0]);
    transfer->found = calloc(transfer->part_count, sizeof transfer->found[0]);
    if (!transfer->ids || !transfer->found) {
        (void)fm_fail(&transfer->request->why, FM_ENOMEM, "no memory for the list of blocks");
        cloud_transfer_end(transfer, S3_TRANSIENT);
        return;
    }
    cloud_transfer_set_call(transfer, CLOUD_PROGRESS);
    transfer->answer_bytes_max = CLOUD_LIST_BYTES_MAX;
    cloud_exchange_start(transfer, blocks_after_list);
}
