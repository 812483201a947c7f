/* SPDX-License-Identifier: Apache-2.0 */
/* build - the traces of a block that leave, one after another, for its outgoing group. */
#include <stdio.h>

#include "internal.h"

int block_file_open(struct block_file *opened, struct platform *platform,
                    const struct store_block *block, struct fm_why *why)
{
    struct fm_source data;
    char path[sizeof block->path + 16];
    int len = snprintf(path, sizeof path, "%s/data.parquet", block->path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    int rc = pf_source_open(&opened->file, platform, path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_open(&opened->block, data, &block->meta, why);
    if (rc < 0)
        pf_source_close(&opened->file);
    return rc;
}

void block_file_close(struct block_file *opened)
{
    opened->block = block_free(opened->block);
    pf_source_close(&opened->file);
}

static uint64_t build_count(const struct store_decision *decision)
{
    return decision->facts.kept_traces - decision->facts.ahead_traces;
}

static int build_open(struct build *build, struct fm_why *why)
{
    int rc = store_block_read_decision(build->platform, build->block, &build->decision, why);
    if (rc == FM_OK && build->decision->facts.verdict != STORE_PART)
        rc = fm_fail(why, FM_ECORRUPT, "the decision has become another");
    if (rc == FM_OK)
        rc = block_file_open(&build->opened, build->platform, build->block, why);
    if (rc < 0)
        return rc;
    build->is_open = true;
    rc = block_traces_new(&build->traces, build->opened.block, 0);
    if (rc == FM_OK && build_count(build->decision) < build->decision->row_count / SPARSE_SHARE)
        rc = block_traces_sparse(build->traces);
    return rc;
}

/* The next row that leaves; row_count: there is none. */
static uint64_t build_row(const struct build *build)
{
    const struct store_decision *decision = build->decision;
    uint64_t row = block_traces_row(build->traces);
    while (row < decision->row_count &&
           (!store_row_has(decision->kept, row) || store_row_has(decision->ahead, row)))
        row++;
    return row;
}

static int build_next(void *self, struct fm_buf *otlp, struct fm_why *why)
{
    struct build *build = self;
    int rc = build->traces ? FM_OK : build_open(build, why);
    while (rc == FM_OK) {
        uint64_t row = build_row(build);
        if (row == build->decision->row_count)
            return FM_END;
        block_traces_seek(build->traces, row);
        rc = block_traces_next(build->traces, NULL, otlp, why);
        if (rc == FM_OK)
            break;
        if (rc == FM_END)
            return fm_fail(why, FM_ECORRUPT, "the block has fewer traces than its decision");
        if (!judge_rc_is_damage(rc) && !(rc == FM_EIO && build->skips_unreadable))
            return rc;
        log_warn("store.read_failed", "why=\"%s\"", why->text);
        build->lost_traces++;
        otlp->len = 0;
        block_traces_skip(build->traces);
        rc = FM_OK;
    }
    return rc;
}

void build_start(struct build *build, struct store *store, struct store_block *block,
                 void (*done)(struct store_outgoing *outgoing, int rc))
{
    build->block = block;
    build->lost_traces = 0;
    build->outgoing = (struct store_outgoing){
        .tenant = fm_slice_text(block->meta.tenant),
        .lane = STORE_LANE_NORMAL,
        .sources = &build->block,
        .source_count = 1,
        .next = build_next,
        .done = done,
        .self = build,
    };
    memcpy(build->outgoing.name, block->meta.id.bytes, sizeof build->outgoing.name);
    store_outgoing_build(store, &build->outgoing);
}

void build_fini(struct build *build)
{
    build->traces = block_traces_free(build->traces);
    if (build->is_open)
        block_file_close(&build->opened);
    build->is_open = false;
    build->decision = store_decision_free(build->decision);
}
