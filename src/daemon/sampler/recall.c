/* SPDX-License-Identifier: Apache-2.0 */
/* recall - after a start, the verdicts that the latest decisions say.  Those that are known to
 * have left ahead stay as they are. */
#include <stdlib.h>

#include "internal.h"

static int recall_block(struct recalling *recalling, struct fm_why *why)
{
    struct sampler *sampler = recalling->sampler;
    const struct store_block *block = recalling->block;
    FM_AUTO(store_decision) decision = NULL;
    struct block_file opened;
    struct ask_ids *ids = NULL;
    int rc = store_block_read_decision(sampler->platform, block, &decision, why);
    if (rc == FM_OK)
        rc = block_file_open(&opened, sampler->platform, block, why);
    if (rc < 0)
        return rc;
    rc = ask_ids_of_block(opened.block, sampler->options.memory_max, &ids, why);
    block_file_close(&opened);
    if (rc < 0)
        return rc;
    for (size_t row = 0; row < ids->count && row < decision->row_count; row++) {
        bool is_kept =
            decision->facts.verdict == STORE_WHOLE ||
            (decision->facts.verdict == STORE_PART && store_row_has(decision->kept, row));
        uint64_t key = verdict_key(block->meta.tenant, trace_id_key(ids->ids[row].bytes));
        if (sample_memory_find(sampler->memory, key) != SAMPLE_EXPRESS)
            sample_memory_put(sampler->memory, key, is_kept ? SAMPLE_KEPT : SAMPLE_DROPPED);
    }
    free(ids);
    return FM_OK;
}

/* What cannot be read is not remembered. */
void recall_work(struct pf_job *job)
{
    struct recalling *recalling = FM_CONTAINER(job, struct recalling, job);
    recalling->rc = recall_block(recalling, &recalling->why);
}
