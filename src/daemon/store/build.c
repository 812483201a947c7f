/* SPDX-License-Identifier: Apache-2.0 */
/* build - the job behind a cut, on the WORK lane: records of one tenant become one block.
 *
 *   read records -> rows -> blocks/.tmp/<id>/ -> sync -> verify every page -> blocks/<tenant>/<id>
 *
 * Rules:
 * BUILD-1  The id follows from node, tenant, range and the first record: the same work done again
 *          after a crash gives the same block.
 * BUILD-2  Everything is synced and verified under .tmp; the rename is the last step, and nobody
 *          hears of the block before both directories are synced.
 * BUILD-3  A record that cannot be read, again and again, is counted, kept in quarantine/ as far
 *          as there are bytes, and left out; it must not hold up those behind it.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define BUILD_UNREADABLE_ATTEMPTS 4u /* failed cuts before an unreadable record is left out */

struct build {
    struct cut *cut;
    struct store *store;
    struct record_reader reader;
    struct block_builder *builder; /* owned */
    struct block_options options;
    uint64_t record_count, span_count, log_bytes, last_lsn;
    uint8_t first_batch_id[16];
    struct block_entry *entry; /* owned until it is the cut's */
    struct making making;
};

/* ---- records to rows ---- */

static void build_lose(struct build *build, const struct head_record *record,
                       const struct fm_why *why)
{
    char name[64];
    build->cut->lost_records++;
    build->cut->lost_spans += record->span_count;
    ledger_account_add(&build->cut->account, record->received_unix_ns, 0, record->span_count);
    log_error("wal.record_lost", "lsn=%llu spans=%u why=\"%s\"", (unsigned long long)record->lsn,
              record->span_count, why->text);
    (void)snprintf(name, sizeof name, "record-%llu", (unsigned long long)record->lsn);
    store_quarantine_bytes(build->store, name, fm_buf_slice(&build->reader.disk));
}

/* FM_OK; FM_END: the block is full before this record. */
static int build_add_record(struct build *build, const struct head_record *record,
                            struct fm_why *why)
{
    struct fm_slice payload;
    /* A range that has grown while the last block was built becomes several: readers pay for a
     * block's dictionaries as a whole. */
    if (build->record_count && build->log_bytes >= build->store->options.block_bytes)
        return FM_END;
    if (!ledger_account_has_room(&build->cut->account, record->received_unix_ns))
        return FM_END;
    int rc = record_reader_read(&build->reader, record, &payload, why);
    bool is_lost = rc == FM_ECORRUPT || rc == FM_ELIMIT;
    if ((rc == FM_EIO || rc == FM_ENOTFOUND) && build->cut->failures >= BUILD_UNREADABLE_ATTEMPTS)
        is_lost = true;
    if (rc == FM_OK) {
        rc = build->record_count ? block_builder_add(build->builder, payload, why)
                                 : making_add_first(&build->builder, &build->options, payload, why);
        if (rc == FM_ELIMIT && build->record_count)
            return FM_END;
        is_lost = rc == FM_EMALFORMED || rc == FM_ELIMIT;
    }
    if (rc < 0 && !is_lost)
        return rc;
    build->last_lsn = record->lsn;
    if (is_lost) {
        build_lose(build, record, why);
        return FM_OK;
    }
    if (build->record_count++ == 0)
        memcpy(build->first_batch_id, build->reader.batch_id, sizeof build->first_batch_id);
    build->span_count += record->span_count;
    build->log_bytes += record->size;
    ledger_account_add(&build->cut->account, record->received_unix_ns, record->span_count, 0);
    build->cut->account.receivers |= build->reader.batch_id[WAL_BATCH_RECEIVERS];
    return FM_OK;
}

static int build_collect(struct build *build)
{
    struct cut *cut = build->cut;
    for (size_t i = 0; i < cut->view.part_count; i++) {
        const struct head_part *part = &cut->view.parts[i];
        const struct head_record *record;
        uint32_t position = part->begin;
        while ((record = head_part_next(part, &position))) {
            if (cut->is_cancelled)
                return FM_ECANCELLED;
            int rc = FM_OK;
            if (record->lsn > cut->limit_lsn)
                rc = FM_END;
            else if (record->is_dead)
                build->last_lsn = record->lsn;
            else
                rc = build_add_record(build, record, &cut->why);
            if (rc == FM_END) {
                cut->is_partial = true;
                return FM_OK;
            }
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}

/* ---- rows to files ---- */

static int build_write_facts(struct build *build, struct fm_why *why)
{
    const struct store_block *block = &build->entry->block;
    struct local_facts facts = {
        .first_lsn = block->first_lsn,
        .last_lsn = block->last_lsn,
        .record_count = build->record_count,
        .span_count = block->span_count,
        .sealed_unix_ns = block->sealed_unix_ns,
        .sealed_steady_ns = build->entry->sealed_steady_ns,
        .account = block->account,
    };
    struct fm_buf text;
    memcpy(facts.node, build->store->options.node, sizeof facts.node);
    fm_buf_init(&text, FM_KIB(64));
    local_render(&facts, &text);
    int rc = text.failed
                 ? FM_ENOMEM
                 : making_write_file(&build->making, "local.json", fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    return rc;
}

/* BUILD-1. */
static void build_make_id(struct build *build, struct block_id *ret_id)
{
    const struct tenant *tenant = build->cut->tenant;
    uint8_t bytes[16 + 16 + 16 + TENANT_LEN_MAX];
    uint64_t hash[2];
    size_t len = strlen(tenant->name);
    memcpy(bytes, build->store->options.node, 16);
    fm_store_le64(bytes + 16, build->cut->first_lsn);
    fm_store_le64(bytes + 24, build->last_lsn);
    memcpy(bytes + 32, build->first_batch_id, 16);
    memcpy(bytes + 48, tenant->name, len);
    fm_murmur3_128(fm_slice(bytes, 48 + len), hash);
    fm_store_be64(ret_id->bytes, hash[0]);
    fm_store_be64(ret_id->bytes + 8, hash[1]);
    ret_id->bytes[6] = (uint8_t)(0x80 | (ret_id->bytes[6] & 0x0f)); /* RFC 9562: version 8 */
    ret_id->bytes[8] = (uint8_t)(0x80 | (ret_id->bytes[8] & 0x3f));
}

static int build_prepare(struct build *build, struct fm_why *why)
{
    struct store *store = build->store;
    const struct tenant *tenant = build->cut->tenant;
    char id[37];
    int rc = block_entry_new(store, &build->entry);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a block");
    struct store_block *block = &build->entry->block;
    build_make_id(build, &block->meta.id);
    block_id_print(&block->meta.id, id);
    memcpy(block->meta.tenant, tenant->name, sizeof tenant->name);
    int len = snprintf(block->path, sizeof block->path, "%s/blocks/%s/%s", store->data_dir,
                       tenant->name, id);
    FM_ASSERT(len > 0 && (size_t)len < sizeof block->path); /* open checked the length */
    block->first_lsn = build->cut->first_lsn;
    block->last_lsn = build->last_lsn;
    block->sealed_unix_ns = pf_wall_ns(store->platform);
    build->entry->sealed_steady_ns = clock_steady_ns(store);
    if (build->cut->replaces) {
        block->sealed_unix_ns = build->cut->replaces->block.sealed_unix_ns;
        build->entry->sealed_steady_ns = build->cut->replaces->sealed_steady_ns;
    }
    return making_begin(&build->making, &block->meta, why);
}

/* What went in must be what came out, but for repeats. */
static int build_check(struct build *build, struct fm_why *why)
{
    const struct block_census *made = &build->making.census;
    if (made->span_count + made->duplicate_count == build->span_count)
        return FM_OK;
    return making_reject(&build->making, why, "spans of the log", build->span_count,
                         made->span_count + made->duplicate_count);
}

static int build_write_rows(struct build *build, struct fm_why *why)
{
    uint64_t received_ns = build->cut->account.last_unix_ns;
    uint64_t tolerance_ns = build->store->options.future_tolerance_ns;
    if (tolerance_ns)
        block_builder_bound(build->builder, received_ns, received_ns + tolerance_ns);
    return making_write(&build->making, build->builder, why);
}

static int build_write(struct build *build, struct fm_why *why)
{
    struct making *making = &build->making;
    int rc = build_prepare(build, why);
    if (rc == FM_OK)
        rc = build_write_rows(build, why);
    if (rc < 0)
        return rc;
    build->entry->block.span_count = making->census.span_count;
    build->entry->block.account = build->cut->account;
    build->entry->block.account.duplicates = making->census.duplicate_count;
    rc = build_write_facts(build, why);
    if (rc == FM_OK)
        rc = build->store->platform->ops->sync_dir(build->store->platform, making->folder, why);
    if (rc == FM_OK)
        rc = build_check(build, why);
    build->entry->disk_bytes = making->disk_bytes;
    return rc;
}

/* What was decided about it holds for it. */
static int build_copy_decision(struct build *build, const struct block_entry *old,
                               struct fm_why *why)
{
    FM_AUTO(store_decision) decision = NULL;
    struct fm_buf file;
    int rc = store_block_read_decision(build->store->platform, &old->block, &decision, why);
    if (rc < 0) /* it has none, or it is decided about again */
        return rc == FM_EIO || rc == FM_ENOMEM ? rc : FM_OK;
    fm_buf_init(&file, SIZE_MAX / 4);
    store_decision_render(decision, &file);
    rc = file.failed ? FM_ENOMEM
                     : making_write_file(&build->making, "decision", fm_buf_slice(&file), why);
    fm_buf_fini(&file);
    if (rc == FM_OK)
        rc = build->store->platform->ops->sync_dir(build->store->platform, build->making.folder,
                                                   why);
    build->entry->decided = decision->facts;
    return rc;
}

/* MEND-1, MEND-2. */
static int build_set_aside(struct build *build, const struct block_entry *old, struct fm_why *why)
{
    const struct store_block *made = &build->entry->block;
    if (memcmp(&made->meta.id, &old->block.meta.id, sizeof made->meta.id) != 0 ||
        made->meta.trace_count != old->block.meta.trace_count ||
        made->span_count != old->block.span_count || build->cut->lost_records)
        return fm_fail(why, FM_ENOTFOUND, "what the log has makes another block");
    int rc = build_copy_decision(build, old, why);
    if (rc == FM_OK)
        rc = store_quarantine(build->store, old->block.path, "damaged; made again from the log");
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

static int build_run(struct build *build)
{
    struct fm_why *why = &build->cut->why;
    int rc = build_collect(build);
    if (rc < 0 || build->record_count == 0 || block_builder_span_count(build->builder) == 0)
        return rc;
    rc = build_write(build, why);
    if (rc == FM_OK)
        rc = making_verify(&build->making, why);
    if (rc == FM_OK && build->cut->replaces)
        rc = build_set_aside(build, build->cut->replaces, why);
    if (rc == FM_OK) /* BUILD-2 */
        rc = making_publish(&build->making, build->entry->block.path, why);
    if (rc < 0)
        making_discard(&build->making, why);
    return rc;
}

void cut_work(struct pf_job *job)
{
    struct cut *cut = FM_CONTAINER(job, struct cut, job);
    struct store *store = cut->store;
    struct build build = {.cut = cut, .store = store, .options = store->options.block};
    uint64_t begin_ns = pf_now_ns(store->platform);
    cut->why.text[0] = 0;
    cut->is_partial = false;
    cut->lost_records = cut->lost_spans = 0;
    cut->account = (struct ledger_account){0};
    record_reader_init(&build.reader, store);
    making_init(&build.making, store);
    cut->rc = build_run(&build);
    if (cut->rc == FM_OK)
        cut->entry = fm_take(build.entry);
    cut->last_lsn = build.last_lsn;
    block_entry_free(store, build.entry);
    block_builder_free(build.builder);
    record_reader_fini(&build.reader);
    making_fini(&build.making);
    cut->build_ns = pf_now_ns(store->platform) - begin_ns;
}
