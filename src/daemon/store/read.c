/* SPDX-License-Identifier: Apache-2.0 */
/* read - snapshots, and one trace by its id.  Everything but making and freeing a snapshot runs on
 * any thread and blocks.
 *
 * A snapshot holds a view of the head and a reference to every block of its tenant as they were
 * at one moment on the loop: a record is in the one or the other, and at worst, when a batch was
 * written twice around a failed sync, in both; the trace drops equal spans.
 *
 * Blooms and opened blocks (footer, places of pages, dictionaries) are kept with their entries,
 * 32 MiB in all.  A reader that reads or opens one puts it there if nobody was faster.  A bloom
 * stays as long as its block, since every query asks it; they are kept as long as those of the
 * tenant are small.  Only the loop takes an opened block away, and only one that no snapshot holds.
 * A block opened while they hold more does without dictionaries.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/store_read.h"

#define OPEN_BYTES_MAX  FM_MIB(32)
#define OPEN_BLOCK_MAX  FM_MIB(16) /* dictionaries of one; about 25 bytes a span */
#define OPEN_COUNT_MAX  64u
#define BLOOM_BYTES_MAX FM_MIB(64)
#define BLOOM_KEPT_MAX  FM_MIB(8) /* of one tenant; a bloom has a byte for every trace or so */

struct store_block_file {
    struct pf_source file;
    struct block *block; /* owned */
    uint64_t bytes;
};

struct block_bloom {
    size_t len;
    uint8_t bytes[];
};

/* What is kept of a block. */
struct block_open {
    _Atomic(struct store_block_file *)
        file;                            /* owned; set by any reader, cleared only without refs */
    _Atomic(struct block_bloom *) bloom; /* owned; its only shard; set once */
};

struct store_snapshot {
    struct fm_link link; /* store->snapshots */
    struct store *store;
    struct head_view view;
    struct block_entry **blocks; /* owned array; each with a reference */
    size_t block_count;
};

/* ---- opened blocks ---- */

static struct store_block_file *block_file_free(struct store *store, struct store_block_file *file)
{
    if (!file)
        return NULL;
    atomic_fetch_sub(&store->open_bytes, file->bytes);
    atomic_fetch_sub(&store->open_count, 1);
    block_free(file->block);
    pf_source_close(&file->file);
    free(file);
    return NULL;
}

static struct block_bloom *block_bloom_free(struct store *store, struct block_bloom *bloom)
{
    if (!bloom)
        return NULL;
    atomic_fetch_sub(&store->open_bytes, bloom->len);
    free(bloom);
    return NULL;
}

struct block_open *block_open_free(struct store *store, struct block_open *open)
{
    if (!open)
        return NULL;
    block_file_free(store, open->file);
    block_bloom_free(store, open->bloom);
    free(open);
    return NULL;
}

static int block_file_new(struct store *store, struct block_entry *entry,
                          struct store_block_file **ret_file, struct fm_why *why)
{
    struct fm_source data;
    char path[STORE_PATH_BYTES];
    struct store_block_file *file = calloc(1, sizeof *file);
    if (!file)
        return fm_fail(why, FM_ENOMEM, "no memory to open a block");
    int len = snprintf(path, sizeof path, "%s/data.parquet", entry->block.path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    int rc = pf_source_open(&file->file, store->platform, path, &data, why);
    if (rc < 0) {
        free(file);
        return rc;
    }
    rc = block_open(&file->block, data, &entry->block.meta, why);
    if (rc < 0) {
        pf_source_close(&file->file);
        free(file);
        return rc;
    }
    block_prepare(file->block, OPEN_BLOCK_MAX);
    block_share_room(file->block, &store->open_bytes, OPEN_BYTES_MAX);
    file->bytes = block_memory(file->block) + sizeof *file;
    atomic_fetch_add(&store->open_bytes, file->bytes);
    atomic_fetch_add(&store->open_count, 1);
    *ret_file = file;
    return FM_OK;
}

/* What is kept of the block, made if there is nothing yet; NULL: no memory. */
static struct block_open *block_entry_kept(struct block_entry *entry)
{
    struct block_open *open = atomic_load(&entry->opened), *other = NULL;
    if (open)
        return open;
    open = calloc(1, sizeof *open);
    if (!open || atomic_compare_exchange_strong(&entry->opened, &other, open))
        return open;
    free(open);
    return other;
}

static int block_entry_open(struct store *store, struct block_entry *entry,
                            struct store_block_file **ret_file, struct fm_why *why)
{
    struct block_open *open = block_entry_kept(entry);
    if (!open)
        return fm_fail(why, FM_ENOMEM, "no memory to open a block");
    struct store_block_file *file = atomic_load(&open->file), *other = NULL;
    atomic_store(&entry->used_count, atomic_fetch_add(&store->open_clock, 1));
    metric_add(file ? &store->metrics.open_hits : &store->metrics.open_misses, 1);
    if (!file) {
        int rc = block_file_new(store, entry, &file, why);
        if (rc < 0)
            return rc;
        if (!atomic_compare_exchange_strong(&open->file, &other, file)) {
            block_file_free(store, file);
            file = other;
        }
    }
    *ret_file = file;
    return FM_OK;
}

/* Keeps a copy of the bloom, if there is room for those of all the tenant's blocks. */
static void block_entry_keep_bloom(struct store *store, struct block_entry *entry,
                                   size_t block_count, struct fm_slice shard)
{
    struct block_bloom *other = NULL;
    if (entry->block.meta.bloom_shard_count != 1 || shard.len > BLOOM_KEPT_MAX / block_count ||
        atomic_load(&store->open_bytes) + shard.len > OPEN_BYTES_MAX)
        return;
    struct block_open *open = block_entry_kept(entry);
    struct block_bloom *bloom = open ? malloc(sizeof *bloom + shard.len) : NULL;
    if (!bloom)
        return; /* it is read again next time */
    bloom->len = shard.len;
    memcpy(bloom->bytes, shard.ptr, shard.len);
    atomic_fetch_add(&store->open_bytes, bloom->len);
    if (!atomic_compare_exchange_strong(&open->bloom, &other, bloom))
        block_bloom_free(store, bloom);
}

/* On the loop: the least recently used go, as far as no snapshot holds them. */
void block_open_evict(struct store *store)
{
    while (atomic_load(&store->open_bytes) > OPEN_BYTES_MAX ||
           atomic_load(&store->open_count) > OPEN_COUNT_MAX) {
        struct block_entry *oldest = NULL;
        for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
            struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
            struct block_open *open = atomic_load(&entry->opened);
            if (entry->refs == 1 && open && atomic_load(&open->file) &&
                (!oldest || entry->used_count < oldest->used_count))
                oldest = entry;
        }
        if (!oldest)
            return;
        struct block_open *open = atomic_load(&oldest->opened);
        open->file = block_file_free(store, open->file);
    }
}

/* ---- snapshots ---- */

int store_snapshot_new(struct store *store, struct fm_slice tenant_name,
                       struct store_snapshot **ret_snapshot)
{
    struct tenant *tenant = NULL;
    struct store_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot)
        return FM_ENOMEM;
    snapshot->store = store;
    if (tenant_find(store, tenant_name, &tenant) == FM_OK) {
        int rc = head_view_new(store, tenant, &snapshot->view);
        if (rc == FM_OK && tenant->block_count) {
            snapshot->blocks = malloc(tenant->block_count * sizeof(struct block_entry *));
            rc = snapshot->blocks ? FM_OK : FM_ENOMEM;
        }
        if (rc < 0) {
            head_view_fini(store, &snapshot->view);
            free(snapshot);
            return rc;
        }
        for (; snapshot->block_count < tenant->block_count; snapshot->block_count++) {
            snapshot->blocks[snapshot->block_count] = tenant->blocks[snapshot->block_count];
            block_entry_ref(snapshot->blocks[snapshot->block_count]);
        }
    }
    store->snapshot_count++;
    fm_list_append(&store->snapshots, &snapshot->link);
    *ret_snapshot = snapshot;
    return FM_OK;
}

struct store_snapshot *store_snapshot_free(struct store_snapshot *snapshot)
{
    if (!snapshot)
        return NULL;
    struct store *store = snapshot->store;
    fm_list_remove(&snapshot->link);
    head_view_fini(store, &snapshot->view);
    while (snapshot->block_count)
        block_entry_unref(snapshot->blocks[--snapshot->block_count]);
    free(snapshot->blocks);
    free(snapshot);
    store->snapshot_count--;
    block_open_evict(store);
    return NULL;
}

void snapshots_abandon(struct store *store)
{
    while (!fm_list_empty(&store->snapshots))
        store_snapshot_free(FM_CONTAINER(store->snapshots.next, struct store_snapshot, link));
}

/* ---- one trace ---- */

struct finder {
    struct store *store;
    size_t block_count; /* of the tenant */
    const struct trace_id *id;
    struct trace *trace;
    struct store_read_stats *stats;
    struct fm_why *why;
};

static bool head_record_has(const struct head_record *record, uint64_t key)
{
    for (uint32_t i = 0; i < record->key_count; i++) {
        if (record->keys[i] == key)
            return !record->is_dead;
    }
    return false;
}

/* Damage costs what it touched and is counted; only want of memory ends the search. */
static int finder_absorb(struct finder *finder, int rc)
{
    if (rc >= 0 || rc == FM_ENOMEM)
        return rc < 0 ? rc : FM_OK;
    finder->stats->blocks_failed++;
    log_warn("store.read_failed", "why=\"%s\"", finder->why->text);
    return FM_OK;
}

static int finder_read_head(struct finder *finder, const struct head_view *view)
{
    uint64_t key = trace_id_key(finder->id->bytes);
    struct record_reader reader;
    int rc = FM_OK;
    record_reader_init(&reader, finder->store);
    for (size_t i = 0; rc == FM_OK && i < view->part_count; i++) {
        const struct head_record *record;
        uint32_t position = view->parts[i].begin;
        while (rc == FM_OK && (record = head_part_next(&view->parts[i], &position))) {
            struct fm_slice payload;
            if (!head_record_has(record, key))
                continue;
            rc = record_reader_read(&reader, record, &payload, finder->why);
            if (rc == FM_OK) {
                finder->stats->inspected_bytes += payload.len;
                rc = trace_add(finder->trace, payload);
                rc = rc == FM_ELIMIT ? FM_OK : rc; /* the trace knows that it is partial */
            }
            rc = finder_absorb(finder, rc);
        }
    }
    record_reader_fini(&reader);
    return rc;
}

/* False only if the filter says so; one that cannot be read does not hide its block. */
static bool finder_bloom_maybe(struct finder *finder, struct block_entry *entry)
{
    struct block_open *open = atomic_load(&entry->opened);
    struct block_bloom *bloom = open ? atomic_load(&open->bloom) : NULL;
    struct fm_buf shard;
    bool maybe = true;
    char path[STORE_PATH_BYTES];
    if (bloom)
        return bloom_test(fm_slice(bloom->bytes, bloom->len), finder->id, &maybe) < 0 || maybe;
    uint32_t index = bloom_shard(finder->id, entry->block.meta.bloom_shard_count);
    int len = snprintf(path, sizeof path, "%s/bloom-%u", entry->block.path, index);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    fm_buf_init(&shard, BLOOM_BYTES_MAX);
    int rc = pf_read_file(finder->store->platform, path, &shard, NULL);
    if (rc == FM_OK) {
        finder->stats->inspected_bytes += shard.len;
        if (bloom_test(fm_buf_slice(&shard), finder->id, &maybe) < 0)
            maybe = true;
        else
            block_entry_keep_bloom(finder->store, entry, finder->block_count, fm_buf_slice(&shard));
    }
    fm_buf_fini(&shard);
    return maybe;
}

static int finder_read_block(struct finder *finder, struct block_entry *entry, struct fm_buf *otlp)
{
    struct store_block_file *file = NULL;
    uint64_t inspected = 0;
    finder->stats->blocks_considered++;
    if (entry->block.meta.bloom_shard_count && !finder_bloom_maybe(finder, entry))
        return FM_OK;
    finder->stats->blocks_opened++;
    int rc = block_entry_open(finder->store, entry, &file, finder->why);
    if (rc < 0)
        return rc;
    fm_buf_reset(otlp);
    rc = block_find_trace(file->block, finder->id, otlp, &inspected, finder->why);
    finder->stats->inspected_bytes += inspected;
    if (rc == FM_OK)
        rc = trace_add(finder->trace, fm_buf_slice(otlp));
    return rc == FM_ELIMIT || rc == FM_NONE ? FM_OK : rc;
}

int store_find_trace(struct store_snapshot *snapshot, const struct trace_id *id,
                     struct trace *trace, struct store_read_stats *stats, struct fm_why *why)
{
    struct fm_why local = {""};
    struct fm_buf otlp;
    struct finder finder = {snapshot->store, snapshot->block_count, id, trace,
                            stats,           why ? why : &local};
    int rc = finder_read_head(&finder, &snapshot->view);
    fm_buf_init(&otlp, SIZE_MAX / 4);
    for (size_t i = 0; rc == FM_OK && i < snapshot->block_count; i++)
        rc = finder_absorb(&finder, finder_read_block(&finder, snapshot->blocks[i], &otlp));
    fm_buf_fini(&otlp);
    return rc;
}

/* ---- everything: store_read.h ---- */

size_t store_tenant_count(const struct store *store)
{
    return store->tenant_count;
}

const char *store_tenant_name(const struct store *store, size_t index)
{
    return store->tenants[index]->name;
}

static struct store_record record_facts(const struct head_record *record)
{
    return (struct store_record){
        .start_ns = record->start_ns,
        .end_ns = record->end_ns,
        .span_count = record->span_count,
        .payload_bytes = record->payload_bytes,
        .trace_keys = record->keys,
        .trace_key_count = record->key_count,
        .lsn = record->lsn,
    };
}

int store_snapshot_records(const struct store_snapshot *snapshot, store_visit_record *visit,
                           void *self)
{
    for (size_t i = 0; i < snapshot->view.part_count; i++) {
        const struct head_part *part = &snapshot->view.parts[i];
        uint32_t position = part->begin;
        for (const struct head_record *record; (record = head_part_next(part, &position));) {
            const struct store_record facts = record_facts(record);
            int rc = record->is_dead ? FM_OK : visit(self, &facts);
            if (rc != FM_OK)
                return rc;
        }
    }
    return FM_OK;
}

static int snapshot_read_record(struct record_reader *reader, const struct head_record *record,
                                const struct store_head_reading *reading, uint64_t *failed,
                                struct fm_why *why)
{
    const struct store_record facts = record_facts(record);
    struct fm_slice otlp;
    if (record->is_dead || (reading->wants && !reading->wants(reading->self, &facts)))
        return FM_OK;
    int rc = record_reader_read(reader, record, &otlp, why);
    if (rc == FM_OK)
        return reading->visit(reading->self, &facts, otlp);
    if (rc == FM_ENOMEM)
        return rc;
    ++*failed;
    log_warn("store.read_failed", "why=\"%s\"", why->text);
    return FM_OK;
}

int store_snapshot_read_head(const struct store_snapshot *snapshot,
                             const struct store_head_reading *reading, uint64_t *ret_failed,
                             struct fm_why *why)
{
    struct fm_why local = {""};
    struct record_reader reader;
    uint64_t failed = 0;
    int rc = FM_OK;
    record_reader_init(&reader, snapshot->store);
    for (size_t i = 0; rc == FM_OK && i < snapshot->view.part_count; i++) {
        const struct head_part *part = &snapshot->view.parts[i];
        uint32_t position = part->begin;
        const struct head_record *record;
        while (rc == FM_OK && (record = head_part_next(part, &position)))
            rc = snapshot_read_record(&reader, record, reading, &failed, why ? why : &local);
    }
    record_reader_fini(&reader);
    *ret_failed = failed;
    return rc;
}

size_t store_snapshot_block_count(const struct store_snapshot *snapshot)
{
    return snapshot->block_count;
}

const struct store_block *store_snapshot_block(const struct store_snapshot *snapshot, size_t index)
{
    return &snapshot->blocks[index]->block;
}

/* What is open stays open as long as its snapshot: beyond the limits a block is opened for this
 * reader alone, so that a question over all blocks does not hold all of their files. */
int store_opened_init(struct store_opened *opened, const struct store_snapshot *snapshot,
                      size_t index, struct fm_why *why)
{
    struct store *store = snapshot->store;
    struct block_entry *entry = snapshot->blocks[index];
    struct block_open *kept = atomic_load(&entry->opened);
    struct store_block_file *file = NULL;
    bool is_kept = kept && atomic_load(&kept->file);
    bool has_room = atomic_load(&store->open_bytes) < OPEN_BYTES_MAX &&
                    atomic_load(&store->open_count) < OPEN_COUNT_MAX;
    int rc = is_kept || has_room ? block_entry_open(store, entry, &file, why)
                                 : block_file_new(store, entry, &file, why);
    if (rc < 0)
        return rc;
    opened->block = file->block;
    opened->own = is_kept || has_room ? NULL : file;
    return FM_OK;
}

void store_opened_fini(struct store_opened *opened, const struct store_snapshot *snapshot)
{
    block_file_free(snapshot->store, fm_take(opened->own));
    opened->block = NULL;
}
