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

#define BUILD_WRITE_BYTES         FM_KIB(256)
#define BUILD_MEMORY_FACTOR_MAX   16u
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
    struct block_census census;
    struct fm_buf blooms;
    char folder[STORE_PATH_BYTES]; /* blocks/.tmp/<id> */
    bool is_rejected;              /* by the verification */
};

/* ---- records to rows ---- */

static void build_lose(struct build *build, const struct head_record *record,
                       const struct fm_why *why)
{
    char name[64];
    build->cut->lost_records++;
    build->cut->lost_spans += record->span_count;
    log_error("wal.record_lost", "lsn=%llu spans=%u why=\"%s\"", (unsigned long long)record->lsn,
              record->span_count, why->text);
    (void)snprintf(name, sizeof name, "record-%llu", (unsigned long long)record->lsn);
    store_quarantine_bytes(build->store, name, fm_buf_slice(&build->reader.disk));
}

/* A first record that is too large alone gets more memory: it must go somewhere. */
static int build_add_first(struct build *build, struct fm_slice payload, struct fm_why *why)
{
    size_t memory_max = build->options.memory_max;
    int rc = FM_ELIMIT;
    for (unsigned factor = 1; rc == FM_ELIMIT && factor <= BUILD_MEMORY_FACTOR_MAX; factor *= 2) {
        build->builder = block_builder_free(build->builder);
        build->options.memory_max = memory_max * factor;
        rc = block_builder_new(&build->builder, &build->options);
        if (rc == FM_OK)
            rc = block_builder_add(build->builder, payload, why);
    }
    return rc;
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
    int rc = record_reader_read(&build->reader, record, &payload, why);
    bool is_lost = rc == FM_ECORRUPT || rc == FM_ELIMIT;
    if ((rc == FM_EIO || rc == FM_ENOTFOUND) && build->cut->failures >= BUILD_UNREADABLE_ATTEMPTS)
        is_lost = true;
    if (rc == FM_OK) {
        rc = build->record_count ? block_builder_add(build->builder, payload, why)
                                 : build_add_first(build, payload, why);
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

struct file_sink { /* large writes, one behind the other */
    struct platform *platform;
    struct pf_file *file;
    uint64_t offset;
    struct fm_buf buf;
    struct fm_why *why;
};

static int file_sink_flush(struct file_sink *sink)
{
    if (sink->buf.len == 0)
        return FM_OK;
    int rc =
        pf_write(sink->file, sink->platform, sink->offset, fm_buf_slice(&sink->buf), sink->why);
    sink->offset += sink->buf.len;
    fm_buf_reset(&sink->buf);
    return rc;
}

static int file_sink_write(void *self, struct fm_slice slice)
{
    struct file_sink *sink = self;
    while (slice.len) {
        size_t piece = FM_MIN(slice.len, BUILD_WRITE_BYTES - sink->buf.len);
        fm_buf_put(&sink->buf, slice.ptr, piece);
        if (sink->buf.failed)
            return FM_ENOMEM;
        slice = fm_slice(slice.ptr + piece, slice.len - piece);
        int rc = sink->buf.len == BUILD_WRITE_BYTES ? file_sink_flush(sink) : FM_OK;
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static void build_path(const struct build *build, char path[STORE_PATH_BYTES], const char *name)
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/%s", build->folder, name);
    FM_ASSERT(len > 0 && (size_t)len < STORE_PATH_BYTES);
}

static int build_write_data(struct build *build, struct fm_why *why)
{
    struct platform *platform = build->store->platform;
    struct file_sink sink = {.platform = platform, .why = why};
    char path[STORE_PATH_BYTES];
    build_path(build, path, "data.parquet");
    int rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &sink.file, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&sink.buf, BUILD_WRITE_BYTES);
    rc = block_builder_finish(build->builder, (struct fm_sink){file_sink_write, &sink},
                              &build->blooms, &build->entry->block.meta, &build->census, why);
    if (rc == FM_OK)
        rc = file_sink_flush(&sink);
    if (rc == FM_OK)
        rc = platform->ops->sync(sink.file, why);
    build->entry->disk_bytes += sink.offset;
    pf_close(platform, sink.file);
    fm_buf_fini(&sink.buf);
    return rc;
}

static int build_write_file(struct build *build, const char *name, struct fm_slice content,
                            struct fm_why *why)
{
    struct platform *platform = build->store->platform;
    struct pf_file *file;
    char path[STORE_PATH_BYTES];
    build_path(build, path, name);
    int rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, why);
    if (rc < 0)
        return rc;
    rc = pf_write(file, platform, 0, content, why);
    if (rc == FM_OK)
        rc = platform->ops->sync(file, why);
    pf_close(platform, file);
    build->entry->disk_bytes += content.len;
    return rc;
}

static struct fm_slice build_bloom(const struct build *build, uint32_t shard)
{
    size_t each = build->blooms.len / build->entry->block.meta.bloom_shard_count;
    return fm_slice(build->blooms.ptr + each * shard, each);
}

static int build_write_blooms(struct build *build, struct fm_why *why)
{
    for (uint32_t i = 0; i < build->entry->block.meta.bloom_shard_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        int rc = build_write_file(build, name, build_bloom(build, i), why);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int build_write_facts(struct build *build, struct fm_why *why)
{
    const struct store_block *block = &build->entry->block;
    struct local_facts facts = {
        .first_lsn = block->first_lsn,
        .last_lsn = block->last_lsn,
        .record_count = build->record_count,
        .span_count = block->span_count,
        .sealed_unix_ns = block->sealed_unix_ns,
    };
    struct fm_buf text;
    memcpy(facts.node, build->store->options.node, sizeof facts.node);
    fm_buf_init(&text, FM_KIB(64));
    block_meta_render(&block->meta, &text);
    int rc =
        text.failed ? FM_ENOMEM : build_write_file(build, "meta.json", fm_buf_slice(&text), why);
    fm_buf_reset(&text);
    local_render(&facts, &text);
    if (rc == FM_OK)
        rc = text.failed ? FM_ENOMEM
                         : build_write_file(build, "local.json", fm_buf_slice(&text), why);
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
    store_path(store, build->folder, "blocks/.tmp/%s", id);
    rc = pf_remove_tree(store->platform, build->folder, why);
    return rc < 0 ? rc : pf_make_path(store->platform, build->folder, why);
}

static int build_write(struct build *build, struct fm_why *why)
{
    int rc = build_prepare(build, why);
    if (rc == FM_OK)
        rc = build_write_data(build, why);
    if (rc < 0)
        return rc;
    build->entry->block.span_count = build->census.span_count;
    rc = build_write_blooms(build, why);
    if (rc == FM_OK)
        rc = build_write_facts(build, why);
    if (rc == FM_OK)
        rc = build->store->platform->ops->sync_dir(build->store->platform, build->folder, why);
    return rc;
}

/* ---- verify and publish ---- */

static int build_reject(struct build *build, struct fm_why *why, const char *what, uint64_t want,
                        uint64_t got)
{
    build->is_rejected = true;
    return fm_fail(why, FM_ECORRUPT, "verification: %s: %llu expected, %llu found", what,
                   (unsigned long long)want, (unsigned long long)got);
}

static int build_check_counts(struct build *build, const struct block_census *found,
                              struct fm_why *why)
{
    const struct block_census *made = &build->census;
    if (made->span_count + made->duplicate_count != build->span_count)
        return build_reject(build, why, "spans of the log", build->span_count,
                            made->span_count + made->duplicate_count);
    if (found->span_count != made->span_count)
        return build_reject(build, why, "spans", made->span_count, found->span_count);
    if (found->trace_count != made->trace_count)
        return build_reject(build, why, "traces", made->trace_count, found->trace_count);
    return FM_OK;
}

static int build_check_meta(struct build *build, struct block_meta *ret_meta, struct fm_why *why)
{
    struct fm_buf text;
    char path[STORE_PATH_BYTES];
    build_path(build, path, "meta.json");
    fm_buf_init(&text, FM_KIB(256));
    int rc = pf_read_file(build->store->platform, path, &text, why);
    if (rc == FM_OK && (rc = block_meta_parse(fm_buf_slice(&text), ret_meta, why)) < 0)
        build->is_rejected = true;
    fm_buf_fini(&text);
    return rc;
}

/* What the disk holds, not what memory believes: meta and blooms are read back as well. */
static int build_read_blooms(struct build *build, const struct block_meta *meta,
                             struct fm_slice *shards, struct fm_why *why)
{
    size_t each = build->blooms.len / meta->bloom_shard_count;
    fm_buf_reset(&build->blooms);
    for (uint32_t i = 0; i < meta->bloom_shard_count; i++) {
        char name[32], path[STORE_PATH_BYTES];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        build_path(build, path, name);
        int rc = pf_read_file(build->store->platform, path, &build->blooms, why);
        if (rc < 0)
            return rc;
        if (build->blooms.len != each * (i + 1))
            return build_reject(build, why, "bytes of blooms", each * (i + 1), build->blooms.len);
    }
    for (uint32_t i = 0; i < meta->bloom_shard_count; i++)
        shards[i] = fm_slice(build->blooms.ptr + each * i, each);
    return FM_OK;
}

static int build_verify_files(struct build *build, struct block_meta *meta, struct fm_slice *shards,
                              struct fm_why *why)
{
    struct pf_source file;
    struct fm_source data;
    struct block_census found;
    char path[STORE_PATH_BYTES];
    int rc = build_check_meta(build, meta, why);
    if (rc < 0)
        return rc;
    if (meta->bloom_shard_count != build->entry->block.meta.bloom_shard_count)
        return build_reject(build, why, "blooms", build->entry->block.meta.bloom_shard_count,
                            meta->bloom_shard_count);
    rc = build_read_blooms(build, meta, shards, why);
    if (rc < 0)
        return rc;
    build_path(build, path, "data.parquet");
    rc = pf_source_open(&file, build->store->platform, path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_verify(data, meta, shards, &found, why);
    pf_source_close(&file);
    if (rc < 0) {
        build->is_rejected = rc != FM_EIO && rc != FM_ENOMEM;
        return fm_wrap(why, rc, "verification");
    }
    return build_check_counts(build, &found, why);
}

static int build_verify(struct build *build, struct fm_why *why)
{
    struct block_meta *meta = calloc(1, sizeof *meta);
    struct fm_slice *shards = calloc(BLOCK_BLOOM_SHARD_MAX, sizeof *shards);
    int rc = meta && shards ? build_verify_files(build, meta, shards, why) : FM_ENOMEM;
    free(meta);
    free(shards);
    return rc;
}

/* BUILD-2. */
static int build_publish(struct build *build, struct fm_why *why)
{
    struct platform *platform = build->store->platform;
    const struct platform_ops *ops = platform->ops;
    struct store_block *block = &build->entry->block;
    char folder[STORE_PATH_BYTES], temporary[STORE_PATH_BYTES];
    store_path(build->store, folder, "blocks/%s", block->meta.tenant);
    store_path(build->store, temporary, "blocks/.tmp");
    int rc = pf_make_path(platform, folder, why);
    if (rc < 0)
        return rc;
    rc = ops->rename(platform, build->folder, block->path, why);
    if (rc == FM_EEXISTS) { /* of an attempt whose directory sync failed: same id, same content */
        rc = pf_remove_tree(platform, block->path, why);
        if (rc == FM_OK)
            rc = ops->rename(platform, build->folder, block->path, why);
    }
    if (rc < 0)
        return rc;
    rc = ops->sync_dir(platform, folder, why);
    if (rc == FM_OK)
        rc = ops->sync_dir(platform, temporary, why);
    if (rc < 0) /* not known to last: take it back, start-up sorts out what stays (blocks.c) */
        (void)ops->rename(platform, block->path, build->folder, NULL);
    return rc;
}

static int build_run(struct build *build)
{
    struct fm_why *why = &build->cut->why;
    int rc = build_collect(build);
    if (rc < 0 || build->record_count == 0 || block_builder_span_count(build->builder) == 0)
        return rc;
    rc = build_write(build, why);
    if (rc == FM_OK)
        rc = build_verify(build, why);
    if (rc == FM_OK)
        rc = build_publish(build, why);
    if (rc < 0 && build->is_rejected)
        (void)store_quarantine(build->store, build->folder, why->text);
    if (rc < 0 && build->folder[0])
        store_ignore(pf_remove_tree(build->store->platform, build->folder, NULL)); /* or at start */
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
    record_reader_init(&build.reader, store);
    fm_buf_init(&build.blooms, SIZE_MAX / 4);
    cut->rc = build_run(&build);
    if (cut->rc == FM_OK)
        cut->entry = fm_take(build.entry);
    cut->last_lsn = build.last_lsn;
    block_entry_free(store, build.entry);
    block_builder_free(build.builder);
    record_reader_fini(&build.reader);
    fm_buf_fini(&build.blooms);
    cut->build_ns = pf_now_ns(store->platform) - begin_ns;
}
