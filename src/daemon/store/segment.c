/* SPDX-License-Identifier: Apache-2.0 */
/* segment - one file of the log, from its making to its next life.
 *
 *   (made) --> READY --> ACTIVE --> CLOSED --> GOING --> (READY again, or unlinked)
 *
 * READY: allocated, with a header that says "not used", content and name synced; so it is the
 * making that meets a full disk, not the append.  ACTIVE: the writer's.  CLOSED: never written
 * again; read by cuts and queries while its records are in no block.  GOING: in keep's hands.
 * A file whose write or sync failed is never recycled: what is on its sectors is anyone's guess.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

const struct fm_sm_rule segment_rules[] = {
    [SEG_READY] = {"ready", FM_TO(SEG_ACTIVE) | FM_TO(SEG_CLOSED)},
    [SEG_ACTIVE] = {"active", FM_TO(SEG_CLOSED)},
    [SEG_CLOSED] = {"closed", FM_TO(SEG_GOING)},
    [SEG_GOING] = {"going", FM_TO(SEG_READY) | FM_TO(SEG_CLOSED)},
};

int segment_new(struct segment **ret_segment, const struct wal_segment *header)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (!segment)
        return FM_ENOMEM;
    segment->header = *header;
    segment->name_epoch = header->epoch;
    segment->name_sequence = header->sequence;
    segment->end_offset = WAL_HEADER_BYTES;
    segment->sm = (struct fm_sm){segment_rules, SEG_READY};
    fm_list_init(&segment->link);
    *ret_segment = segment;
    return FM_OK;
}

struct segment *segment_free(struct store *store, struct segment *segment)
{
    if (!segment)
        return NULL;
    pf_close(store->platform, segment->file);
    fm_list_remove(&segment->link);
    free(segment);
    return NULL;
}

void segment_path(const struct store *store, const struct segment *segment,
                  char path[STORE_PATH_BYTES])
{
    store_path(store, path, "wal/%08x-%012llx.seg", segment->name_epoch,
               (unsigned long long)segment->name_sequence);
}

static struct wal_segment segment_next_header(struct store *store, uint64_t floor_lsn)
{
    struct wal_segment header = {
        .salt = pf_random_u64(store->platform),
        .epoch = store->epoch,
        .sequence = atomic_fetch_add(&store->next_sequence, 1),
        .base_lsn = floor_lsn,
        .created_unix_ns = pf_wall_ns(store->platform),
    };
    memcpy(header.node, store->options.node, sizeof header.node);
    return header;
}

static int segment_write_header(struct store *store, struct segment *segment, struct fm_why *why)
{
    const struct platform_ops *ops = store->platform->ops;
    uint8_t page[WAL_HEADER_BYTES];
    wal_segment_encode(&segment->header, page);
    int rc = pf_write(segment->file, store->platform, 0, fm_slice(page, sizeof page), why);
    return rc < 0 ? rc : ops->sync(segment->file, why);
}

static int segment_make_file(struct store *store, struct segment *segment, struct fm_why *why)
{
    const struct platform_ops *ops = store->platform->ops;
    char path[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    segment_path(store, segment, path);
    store_path(store, folder, "wal");
    int rc =
        pf_open(store->platform, path, PF_WRITE | PF_CREATE | PF_EXCLUSIVE, &segment->file, why);
    if (rc == FM_ENOTFOUND) { /* somebody removed wal/ under us: its records are gone, go on */
        rc = pf_make_path(store->platform, folder, why);
        if (rc == FM_OK)
            rc = pf_open(store->platform, path, PF_WRITE | PF_CREATE | PF_EXCLUSIVE, &segment->file,
                         why);
    }
    if (rc < 0)
        return rc;
    rc = ops->allocate(segment->file, segment->file_bytes, why);
    if (rc == FM_OK)
        rc = segment_write_header(store, segment, why);
    if (rc == FM_OK)
        rc = ops->sync_dir(store->platform, folder, why);
    if (rc < 0)
        (void)ops->unlink(store->platform, path, NULL); /* else found unused at the next start */
    return rc;
}

int segment_make(struct store *store, uint64_t file_bytes, uint64_t floor_lsn,
                 struct segment **ret_segment, struct fm_why *why)
{
    struct wal_segment header = segment_next_header(store, floor_lsn);
    struct segment *segment;
    int rc = segment_new(&segment, &header);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a segment");
    segment->file_bytes = file_bytes;
    rc = segment_make_file(store, segment, why);
    if (rc < 0) {
        segment_free(store, segment);
        return rc;
    }
    *ret_segment = segment;
    return FM_OK;
}

/* New name first, then the header: whichever of the two a crash keeps, the file is either an old
 * segment all of whose records are in blocks, or an unused one (WAL-4). */
int segment_recycle(struct store *store, struct segment *segment, uint64_t floor_lsn,
                    struct fm_why *why)
{
    const struct platform_ops *ops = store->platform->ops;
    char from[STORE_PATH_BYTES], to[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    struct wal_segment header = segment_next_header(store, floor_lsn);
    header.is_recycled = true;
    segment_path(store, segment, from);
    store_path(store, to, "wal/%08x-%012llx.seg", header.epoch,
               (unsigned long long)header.sequence);
    store_path(store, folder, "wal");
    int rc = ops->rename(store->platform, from, to, why);
    if (rc < 0)
        return rc;
    segment->name_epoch = header.epoch;
    segment->name_sequence = header.sequence;
    segment->file = pf_close(store->platform, segment->file);
    rc = pf_open(store->platform, to, PF_WRITE, &segment->file, why);
    if (rc < 0)
        return rc;
    segment->header = header;
    rc = segment_write_header(store, segment, why);
    if (rc == FM_OK)
        rc = ops->sync_dir(store->platform, folder, why);
    if (rc < 0) {
        segment->file = pf_close(store->platform, segment->file);
        segment->is_suspect = true;
        return rc;
    }
    segment->end_offset = WAL_HEADER_BYTES;
    return FM_OK;
}

/* Nothing refers to it any more: the file can serve again, or go. */
static bool segment_is_idle(const struct segment *segment)
{
    return segment->sm.state == SEG_CLOSED && segment->record_count == 0 && segment->pins == 0;
}

void segment_release(struct store *store, struct segment *segment)
{
    if (segment_is_idle(segment))
        keep_now(store);
}

void segment_retire_idle(struct store *store)
{
    for (struct fm_link *link = store->segments.next, *next; link != &store->segments;
         link = next) {
        next = link->next;
        struct segment *segment = FM_CONTAINER(link, struct segment, link);
        /* In interval mode the writer may still have to write its records again. */
        if (!segment_is_idle(segment) || segment->header.base_lsn >= store->log.durable_lsn)
            continue;
        fm_list_remove(link);
        fm_list_append(&store->keep.going, link);
        fm_sm_move(&segment->sm, SEG_GOING);
    }
}

uint64_t store_log_begin(const struct store *store)
{
    if (fm_list_empty(&store->segments))
        return UINT64_MAX;
    return FM_CONTAINER(store->segments.next, struct segment, link)->header.base_lsn;
}
