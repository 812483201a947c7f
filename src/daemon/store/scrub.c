/* SPDX-License-Identifier: Apache-2.0 */
/* scrub - reads every block again now and then, slowly, before somebody needs it and finds that the
 * disk has lost a bit of it.
 *
 *   IDLE --> READING --> IDLE
 *
 * Suspended in READING (resumed by scrub_on_read).  A round goes through all blocks in order of
 * the log, and begins scrub_interval after the one before did; how far it is survives restarts, in
 * the file data_dir/scrub.  A block that is younger than the round was verified when it was built.
 *
 * The job is the verification of a build, page by page, through a source that sleeps as it must
 * to stay at the rate, on the IDLE lane; what it read does not stay in the page cache.
 *
 * SCRUB-1  A block is bad if two readings in a row found damage.  What the disk refuses to read is
 *          reported in every round and stays: it may come back, and parts of it can be read.
 * SCRUB-2  A bad block that is settled goes: the bucket has what of it had to leave.  Any other is
 *          made again from the log if that holds its records (mend.c); else it goes to quarantine/,
 *          and its spans are counted as lost.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

static const struct fm_sm_rule scrub_rules[] = {
    [SCRUB_IDLE] = {"idle", FM_TO(SCRUB_READING)},
    [SCRUB_READING] = {"reading", FM_TO(SCRUB_IDLE)},
};

#define SCRUB_READINGS 2u
#define SCRUB_PAUSE_NS (100 * FM_NS_PER_MS) /* at a time: whoever closes waits so long */
#define SCRUB_META_MAX FM_KIB(256)
#define SCRUB_FILE_MAX 128u

static void scrub_on_read(struct pf_job *job);

void scrub_init(struct store *store)
{
    store->scrub = (struct scrub){.sm = {scrub_rules, SCRUB_IDLE}, .store = store};
}

void scrub_fini(struct store *store)
{
    struct block_entry *entry = fm_take(store->scrub.entry);
    if (entry && entry->is_doomed) /* in no list */
        block_entry_free(store, entry);
}

/* ---- how far the round is ---- */

/* "1 BEGAN LSN\n" */
void scrub_open(struct store *store)
{
    struct scrub *scrub = &store->scrub;
    uint64_t values[3];
    char path[STORE_PATH_BYTES];
    struct fm_buf file;
    store_path(store, path, "scrub");
    fm_buf_init(&file, SCRUB_FILE_MAX);
    if (pf_read_file(store->platform, path, &file, NULL) == FM_OK &&
        store_parse_numbers(fm_buf_slice(&file), values) == FM_OK &&
        values[1] <= clock_steady_ns(store)) {
        scrub->began_ns = values[1];
        scrub->lsn = values[2];
    }
    fm_buf_fini(&file);
}

static void scrub_save(struct scrub *scrub)
{
    char path[STORE_PATH_BYTES], text[SCRUB_FILE_MAX];
    store_path(scrub->store, path, "scrub");
    (void)snprintf(text, sizeof text, "1 %llu %llu\n", (unsigned long long)scrub->began_ns,
                   (unsigned long long)scrub->lsn);
    /* Without it the next start begins somewhat earlier. */
    store_ignore(pf_replace_file(scrub->store->platform, path, fm_slice_text(text), NULL));
}

/* ---- the job ---- */

struct slow_source { /* of a file; sleeps */
    struct scrub *scrub;
    struct fm_source file;
};

static void scrub_pause(struct scrub *scrub)
{
    struct platform *platform = scrub->store->platform;
    uint64_t rate = scrub->store->options.scrub_bytes_per_s;
    uint64_t passed_ns = pf_now_ns(platform) - scrub->started_ns;
    uint64_t due_ns = rate ? scrub->bytes * FM_NS_PER_S / rate : 0;
    uint64_t left_ns = due_ns > passed_ns ? due_ns - passed_ns : 0;
    while (left_ns && !scrub->is_cancelled) {
        uint64_t part_ns = FM_MIN(left_ns, SCRUB_PAUSE_NS);
        platform->ops->pause(platform, part_ns);
        left_ns -= part_ns;
    }
}

static int slow_source_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    struct slow_source *slow = self;
    if (slow->scrub->is_cancelled)
        return FM_ECANCELLED;
    int rc = slow->file.read_at(slow->file.self, offset, target, len);
    slow->scrub->bytes += len;
    scrub_pause(slow->scrub);
    return rc;
}

static void scrub_path(const struct scrub *scrub, char path[STORE_PATH_BYTES], const char *name)
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/%s", scrub->entry->block.path, name);
    FM_ASSERT(len > 0 && (size_t)len < STORE_PATH_BYTES);
}

static int scrub_read_meta(struct scrub *scrub, struct block_meta *meta)
{
    struct fm_buf text;
    char path[STORE_PATH_BYTES];
    scrub_path(scrub, path, "meta.json");
    fm_buf_init(&text, SCRUB_META_MAX);
    int rc = pf_read_file(scrub->store->platform, path, &text, &scrub->why);
    if (rc == FM_OK)
        rc = block_meta_parse(fm_buf_slice(&text), meta, &scrub->why);
    fm_buf_fini(&text);
    if (rc == FM_OK && (memcmp(&meta->id, &scrub->entry->block.meta.id, sizeof meta->id) != 0 ||
                        meta->bloom_shard_count != scrub->entry->block.meta.bloom_shard_count))
        rc = fm_fail(&scrub->why, FM_ECORRUPT, "meta.json is that of another block");
    return rc;
}

/* Shards have equal sizes. */
static int scrub_read_blooms(struct scrub *scrub, uint32_t count, struct fm_buf *blooms,
                             struct fm_slice *shards)
{
    for (uint32_t i = 0; i < count; i++) {
        char name[32], path[STORE_PATH_BYTES];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        scrub_path(scrub, path, name);
        int rc = pf_read_file(scrub->store->platform, path, blooms, &scrub->why);
        if (rc < 0)
            return rc;
    }
    size_t each = blooms->len / count;
    for (uint32_t i = 0; i < count; i++)
        shards[i] = fm_slice(blooms->ptr + each * i, each);
    scrub->bytes += blooms->len;
    return FM_OK;
}

static int scrub_read_data(struct scrub *scrub, const struct block_meta *meta,
                           const struct fm_slice *shards)
{
    struct slow_source slow = {.scrub = scrub};
    struct pf_source file;
    struct block_census census;
    char path[STORE_PATH_BYTES];
    scrub_path(scrub, path, "data.parquet");
    int rc = pf_source_open(&file, scrub->store->platform, path, &slow.file, &scrub->why);
    if (rc < 0)
        return rc;
    struct fm_source source = slow.file;
    source.read_at = slow_source_read_at;
    source.self = &slow;
    rc = block_verify(source, meta, shards, &census, &scrub->why);
    (void)file.platform->ops->advise_gone(file.file);
    pf_source_close(&file);
    if (rc == FM_OK && census.span_count != scrub->entry->block.span_count)
        rc = fm_fail(&scrub->why, FM_ECORRUPT, "%llu spans, there were %llu",
                     (unsigned long long)census.span_count,
                     (unsigned long long)scrub->entry->block.span_count);
    return rc;
}

static int scrub_read(struct scrub *scrub)
{
    struct block_meta *meta = calloc(1, sizeof *meta);
    struct fm_slice *shards = calloc(BLOCK_BLOOM_SHARD_MAX, sizeof *shards);
    struct fm_buf blooms;
    fm_buf_init(&blooms, SIZE_MAX / 4);
    int rc = meta && shards ? scrub_read_meta(scrub, meta) : FM_ENOMEM;
    if (rc == FM_OK)
        rc = scrub_read_blooms(scrub, meta->bloom_shard_count, &blooms, shards);
    if (rc == FM_OK)
        rc = scrub_read_data(scrub, meta, shards);
    fm_buf_fini(&blooms);
    free(meta);
    free(shards);
    return rc;
}

static bool scrub_is_trouble(int rc) /* of the machine, not of the block */
{
    return rc == FM_EIO || rc == FM_ENOMEM || rc == FM_ECANCELLED;
}

static void scrub_work(struct pf_job *job)
{
    struct scrub *scrub = FM_CONTAINER(job, struct scrub, job);
    scrub->bytes = 0;
    scrub->started_ns = pf_now_ns(scrub->store->platform);
    scrub->rc = FM_EIO;
    for (unsigned i = 0; i < SCRUB_READINGS && scrub->rc < 0; i++) {
        scrub->why.text[0] = '\0';
        scrub->rc = scrub_read(scrub);
        if (scrub_is_trouble(scrub->rc))
            break;
    }
    if (scrub->rc != FM_ECANCELLED)
        scrub_save(scrub);
}

/* ---- on the loop ---- */

static struct block_entry *scrub_pick(const struct store *store)
{
    const struct scrub *scrub = &store->scrub;
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (entry->block.last_lsn > scrub->lsn && entry->sealed_steady_ns <= scrub->began_ns &&
            !entry->is_merging && !entry->is_bad)
            return entry;
    }
    return NULL;
}

/* SCRUB-2.  Whoever uploads it may have to let go first; then the next look does it. */
static void scrub_remove_bad(struct store *store)
{
    uint64_t left = 0;
    for (struct fm_link *link = store->blocks.next, *next; link != &store->blocks; link = next) {
        next = link->next;
        struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (!entry->is_bad)
            continue;
        if (block_entry_is_settled(entry)) {
            metric_add(&store->metrics.blocks_expired, 1);
            blocks_doom(store, entry, STORE_END_SETTLED);
        } else if (entry->is_merging || !retain_release(store, entry) || mend_start(store, entry)) {
            left++;
        } else {
            metric_add(&store->metrics.blocks_quarantined, 1);
            metric_add(&store->metrics.dropped_spans_corrupt, retain_lost_spans(entry));
            blocks_doom(store, entry, STORE_END_CORRUPT);
        }
    }
    store->scrub.bad_count = left;
}

void scrub_look(struct store *store)
{
    struct scrub *scrub = &store->scrub;
    uint64_t steady_ns = clock_steady_ns(store), interval_ns = store->options.scrub_interval_ns;
    if (scrub->bad_count)
        scrub_remove_bad(store);
    if (scrub->sm.state != SCRUB_IDLE || store->is_closing || !interval_ns)
        return;
    if (!scrub->began_ns)
        scrub->began_ns = steady_ns;
    struct block_entry *entry = scrub_pick(store);
    if (!entry && steady_ns - scrub->began_ns >= interval_ns) {
        scrub->began_ns = steady_ns;
        scrub->lsn = 0;
        entry = scrub_pick(store);
    }
    if (!entry)
        return;
    block_entry_ref(entry);
    scrub->entry = entry;
    scrub->lsn = entry->block.last_lsn;
    scrub->job = (struct pf_job){.work = scrub_work, .done = scrub_on_read, .lane = PF_LANE_IDLE};
    fm_sm_move(&scrub->sm, SCRUB_READING);
    pf_job_submit(store->platform, &scrub->job);
}

/* SCRUB-1. */
static void scrub_judge(struct store *store, struct block_entry *entry)
{
    struct scrub *scrub = &store->scrub;
    if (scrub->rc == FM_OK || scrub->rc == FM_ENOMEM || entry->is_doomed)
        return;
    if (scrub->rc == FM_EIO) {
        metric_add(&store->metrics.scrub_unreadable, 1);
        log_error("scrub.unreadable", "path=%s why=\"%s\"", entry->block.path, scrub->why.text);
        return;
    }
    metric_add(&store->metrics.scrub_bad, 1);
    log_error("scrub.bad_block", "tenant=%s path=%s spans=%llu settled=%d why=\"%s\"",
              entry->block.meta.tenant, entry->block.path,
              (unsigned long long)entry->block.span_count, block_entry_is_settled(entry),
              scrub->why.text);
    entry->is_bad = true;
    scrub->bad_count++;
}

static void scrub_on_read(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, scrub.job);
    struct scrub *scrub = &store->scrub;
    struct block_entry *entry = fm_take(scrub->entry);
    fm_sm_move(&scrub->sm, SCRUB_IDLE);
    metric_add(&store->metrics.scrub_bytes, scrub->bytes);
    if (scrub->rc != FM_ECANCELLED) {
        metric_add(&store->metrics.scrub_blocks, 1);
        scrub_judge(store, entry);
    }
    block_entry_unref(entry);
    scrub_look(store);
    store_finish_close(store);
}

void scrub_close(struct store *store)
{
    store->scrub.is_cancelled = true;
    store->mend.cut.is_cancelled = true;
}
