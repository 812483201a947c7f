/* SPDX-License-Identifier: Apache-2.0 */
/* build_files - rows become the files of a block: written, synced, read back and verified in a
 * folder that nobody looks at, then renamed to where it belongs.  For every block that is made
 * here: of the log, of other blocks, to leave the node.  In a job.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define BUILD_WRITE_BYTES       FM_KIB(256)
#define BUILD_MEMORY_FACTOR_MAX 16u

void making_init(struct making *making, struct store *store)
{
    *making = (struct making){.store = store};
    fm_buf_init(&making->blooms, SIZE_MAX / 4);
}

void making_fini(struct making *making)
{
    fm_buf_fini(&making->blooms);
}

int making_begin(struct making *making, struct block_meta *meta, struct fm_why *why)
{
    struct store *store = making->store;
    char id[37];
    block_id_print(&meta->id, id);
    making->meta = meta;
    making->disk_bytes = 0;
    making->is_rejected = false;
    fm_buf_reset(&making->blooms);
    store_path(store, making->folder, "blocks/.tmp/%s", id);
    int rc = pf_remove_tree(store->platform, making->folder, why);
    return rc < 0 ? rc : pf_make_path(store->platform, making->folder, why);
}

int making_add_first(struct block_builder **builder, struct block_options *options,
                     struct fm_slice otlp, struct fm_why *why)
{
    size_t memory_max = options->memory_max;
    int rc = FM_ELIMIT;
    for (unsigned factor = 1; rc == FM_ELIMIT && factor <= BUILD_MEMORY_FACTOR_MAX; factor *= 2) {
        *builder = block_builder_free(*builder);
        options->memory_max = memory_max * factor;
        rc = block_builder_new(builder, options);
        if (rc == FM_OK)
            rc = block_builder_add(*builder, otlp, why);
    }
    options->memory_max = memory_max;
    return rc;
}

/* ---- writing ---- */

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

static void making_path(const struct making *making, char path[STORE_PATH_BYTES], const char *name)
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/%s", making->folder, name);
    FM_ASSERT(len > 0 && (size_t)len < STORE_PATH_BYTES);
}

static int making_write_data(struct making *making, struct block_builder *builder,
                             struct fm_why *why)
{
    struct platform *platform = making->store->platform;
    struct file_sink sink = {.platform = platform, .why = why};
    char path[STORE_PATH_BYTES];
    making_path(making, path, "data.parquet");
    int rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &sink.file, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&sink.buf, BUILD_WRITE_BYTES);
    rc = block_builder_finish(builder, (struct fm_sink){file_sink_write, &sink}, &making->blooms,
                              making->meta, &making->census, why);
    if (rc == FM_OK)
        rc = file_sink_flush(&sink);
    if (rc == FM_OK)
        rc = platform->ops->sync(sink.file, why);
    making->disk_bytes += sink.offset;
    pf_close(platform, sink.file);
    fm_buf_fini(&sink.buf);
    return rc;
}

int making_write_file(struct making *making, const char *name, struct fm_slice content,
                      struct fm_why *why)
{
    struct platform *platform = making->store->platform;
    struct pf_file *file;
    char path[STORE_PATH_BYTES];
    making_path(making, path, name);
    int rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, why);
    if (rc < 0)
        return rc;
    rc = pf_write(file, platform, 0, content, why);
    if (rc == FM_OK)
        rc = platform->ops->sync(file, why);
    pf_close(platform, file);
    making->disk_bytes += content.len;
    return rc;
}

static struct fm_slice making_bloom(const struct making *making, uint32_t shard)
{
    size_t each = making->blooms.len / making->meta->bloom_shard_count;
    return fm_slice(making->blooms.ptr + each * shard, each);
}

static int making_write_blooms(struct making *making, struct fm_why *why)
{
    for (uint32_t i = 0; i < making->meta->bloom_shard_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        int rc = making_write_file(making, name, making_bloom(making, i), why);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int making_write_meta(struct making *making, struct fm_why *why)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    block_meta_render(making->meta, &text);
    int rc =
        text.failed ? FM_ENOMEM : making_write_file(making, "meta.json", fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    return rc;
}

int making_write(struct making *making, struct block_builder *builder, struct fm_why *why)
{
    int rc = making_write_data(making, builder, why);
    if (rc == FM_OK)
        rc = making_write_blooms(making, why);
    return rc < 0 ? rc : making_write_meta(making, why);
}

/* ---- reading back ---- */

int making_reject(struct making *making, struct fm_why *why, const char *what, uint64_t want,
                  uint64_t got)
{
    making->is_rejected = true;
    return fm_fail(why, FM_ECORRUPT, "verification: %s: %llu expected, %llu found", what,
                   (unsigned long long)want, (unsigned long long)got);
}

static int making_check_counts(struct making *making, const struct block_census *found,
                               struct fm_why *why)
{
    const struct block_census *made = &making->census;
    if (found->span_count != made->span_count)
        return making_reject(making, why, "spans", made->span_count, found->span_count);
    if (found->trace_count != made->trace_count)
        return making_reject(making, why, "traces", made->trace_count, found->trace_count);
    return FM_OK;
}

static int making_check_meta(struct making *making, struct block_meta *ret_meta, struct fm_why *why)
{
    struct fm_buf text;
    char path[STORE_PATH_BYTES];
    making_path(making, path, "meta.json");
    fm_buf_init(&text, FM_KIB(256));
    int rc = pf_read_file(making->store->platform, path, &text, why);
    if (rc == FM_OK && (rc = block_meta_parse(fm_buf_slice(&text), ret_meta, why)) < 0)
        making->is_rejected = true;
    fm_buf_fini(&text);
    return rc;
}

/* What the disk holds, not what memory believes: meta and blooms are read back as well. */
static int making_read_blooms(struct making *making, const struct block_meta *meta,
                              struct fm_slice *shards, struct fm_why *why)
{
    size_t each = making->blooms.len / meta->bloom_shard_count;
    fm_buf_reset(&making->blooms);
    for (uint32_t i = 0; i < meta->bloom_shard_count; i++) {
        char name[32], path[STORE_PATH_BYTES];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        making_path(making, path, name);
        int rc = pf_read_file(making->store->platform, path, &making->blooms, why);
        if (rc < 0)
            return rc;
        if (making->blooms.len != each * (i + 1))
            return making_reject(making, why, "bytes of blooms", each * (i + 1),
                                 making->blooms.len);
    }
    for (uint32_t i = 0; i < meta->bloom_shard_count; i++)
        shards[i] = fm_slice(making->blooms.ptr + each * i, each);
    return FM_OK;
}

static int making_verify_files(struct making *making, struct block_meta *meta,
                               struct fm_slice *shards, struct fm_why *why)
{
    struct pf_source file;
    struct fm_source data;
    struct block_census found;
    char path[STORE_PATH_BYTES];
    int rc = making_check_meta(making, meta, why);
    if (rc < 0)
        return rc;
    if (meta->bloom_shard_count != making->meta->bloom_shard_count)
        return making_reject(making, why, "blooms", making->meta->bloom_shard_count,
                             meta->bloom_shard_count);
    rc = making_read_blooms(making, meta, shards, why);
    if (rc < 0)
        return rc;
    making_path(making, path, "data.parquet");
    rc = pf_source_open(&file, making->store->platform, path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_verify(data, meta, shards, &found, why);
    pf_source_close(&file);
    if (rc < 0) {
        making->is_rejected = rc != FM_EIO && rc != FM_ENOMEM;
        return fm_wrap(why, rc, "verification");
    }
    return making_check_counts(making, &found, why);
}

int making_verify(struct making *making, struct fm_why *why)
{
    struct block_meta *meta = calloc(1, sizeof *meta);
    struct fm_slice *shards = calloc(BLOCK_BLOOM_SHARD_MAX, sizeof *shards);
    int rc = meta && shards ? making_verify_files(making, meta, shards, why) : FM_ENOMEM;
    free(meta);
    free(shards);
    return rc;
}

/* ---- into place ---- */

/* After a power cut it may have either name, and some of its files.  With local.json and without
 * meta.json it would be taken for a block that was deleted: so that goes first, for good. */
static void making_take_back(struct making *making, const char *path)
{
    struct platform *platform = making->store->platform;
    char facts[STORE_PATH_BYTES];
    if (platform->ops->rename(platform, path, making->folder, NULL) < 0)
        return;
    making_path(making, facts, "local.json");
    if (platform->ops->unlink(platform, facts, NULL) == FM_OK)
        store_ignore(platform->ops->sync_dir(platform, making->folder, NULL));
}

int making_publish(struct making *making, const char *path, struct fm_why *why)
{
    struct platform *platform = making->store->platform;
    const struct platform_ops *ops = platform->ops;
    char folder[STORE_PATH_BYTES], temporary[STORE_PATH_BYTES];
    int len = snprintf(folder, sizeof folder, "%s", path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof folder);
    *strrchr(folder, '/') = '\0';
    store_path(making->store, temporary, "blocks/.tmp");
    int rc = pf_make_path(platform, folder, why);
    if (rc < 0)
        return rc;
    rc = ops->rename(platform, making->folder, path, why);
    if (rc == FM_EEXISTS) { /* of an attempt whose directory sync failed: same id, same content */
        rc = pf_remove_tree(platform, path, why);
        if (rc == FM_OK)
            rc = ops->rename(platform, making->folder, path, why);
    }
    if (rc < 0)
        return rc;
    rc = ops->sync_dir(platform, folder, why);
    if (rc == FM_OK)
        rc = ops->sync_dir(platform, temporary, why);
    if (rc < 0) /* not known to last: take it back, start-up sorts out what stays (blocks.c) */
        making_take_back(making, path);
    return rc;
}

void making_discard(struct making *making, const struct fm_why *why)
{
    if (!making->folder[0])
        return;
    if (making->is_rejected)
        (void)store_quarantine(making->store, making->folder, why->text);
    store_ignore(pf_remove_tree(making->store->platform, making->folder, NULL)); /* or at start */
}
