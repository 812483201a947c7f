/* SPDX-License-Identifier: Apache-2.0 */
/* inode - one file: the live image that readers see, the durable one, and the writes between.
 *
 * A write goes to the live image and, as a copy, to the list of pending writes; sync applies the
 * list to the durable image.  A power cut applies what it pleases of the list, sector by sector,
 * and the live image starts again from the durable one.
 */
#include "internal.h"

/* ---- images ---- */

static void sim_image_reserve(struct sim_image *image, uint64_t capacity, bool exactly)
{
    if (capacity <= image->capacity)
        return;
    if (!exactly)
        capacity = FM_MAX(capacity, 2 * image->capacity);
    capacity = (capacity + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    uint8_t *grown = sim_alloc(capacity);
    if (image->size)
        memcpy(grown, image->ptr, image->size);
    sim_release(image->ptr, image->capacity);
    image->ptr = grown;
    image->capacity = capacity;
}

static void sim_image_put(struct sim_image *image, uint64_t offset, const void *bytes, uint64_t len)
{
    if (!len)
        return;
    sim_image_reserve(image, offset + len, false);
    memcpy(image->ptr + offset, bytes, len);
    image->size = FM_MAX(image->size, offset + len);
}

static void sim_image_extend(struct sim_image *image, uint64_t size)
{
    sim_image_reserve(image, size, true);
    image->size = FM_MAX(image->size, size);
}

static void sim_image_clear(struct sim_image *image)
{
    if (image->size)
        memset(image->ptr, 0, image->size);
    image->size = 0;
}

static void sim_image_fini(struct sim_image *image)
{
    sim_release(image->ptr, image->capacity);
}

/* ---- inodes ---- */

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_directory)
{
    struct sim_inode *inode = sim_alloc(sizeof *inode);

    inode->disk = disk;
    inode->is_directory = is_directory;
    inode->differ_from = UINT64_MAX;
    fm_list_append(&disk->inodes, &inode->link);
    return inode;
}

void sim_inode_ref(struct sim_inode *inode)
{
    inode->ref_count++;
}

void sim_inode_unref(struct sim_inode *inode)
{
    FM_ASSERT(inode->ref_count);
    if (--inode->ref_count)
        return;
    sim_map_clear(&inode->live_names);
    sim_map_clear(&inode->durable_names);
    sim_inode_free(inode);
}

static void sim_names_release(struct sim_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        sim_release(map->entries[i].name, strlen(map->entries[i].name) + 1);
    sim_release(map->entries, map->capacity * sizeof *map->entries);
}

void sim_inode_free(struct sim_inode *inode)
{
    inode->disk->used_bytes -= inode->charged_bytes;
    fm_list_remove(&inode->link);
    sim_names_release(&inode->live_names);
    sim_names_release(&inode->durable_names);
    sim_image_fini(&inode->live);
    sim_image_fini(&inode->durable);
    sim_image_fini(&inode->pending_bytes);
    sim_release(inode->writes, inode->write_capacity * sizeof *inode->writes);
    sim_release(inode, sizeof *inode);
}

static uint64_t sim_blocks(uint64_t size)
{
    return (size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

void sim_inode_charge(struct sim_inode *inode)
{
    bool counts = inode->live_link_count || inode->handle_count;
    uint64_t bytes = counts ? sim_blocks(FM_MAX(inode->live.size, inode->allocated_bytes)) : 0;

    inode->disk->used_bytes += bytes - inode->charged_bytes;
    inode->charged_bytes = bytes;
}

uint64_t sim_inode_fitting(const struct sim_inode *inode, uint64_t offset, uint64_t len)
{
    const struct sim_disk *disk = inode->disk;

    if (!disk->capacity_bytes || sim_blocks(offset + len) <= inode->charged_bytes)
        return len;
    uint64_t free_bytes =
        disk->capacity_bytes > disk->used_bytes
            ? (disk->capacity_bytes - disk->used_bytes) / BLOCK_BYTES * BLOCK_BYTES
            : 0;
    uint64_t end_max = inode->charged_bytes + free_bytes;
    return end_max <= offset ? 0 : FM_MIN(len, end_max - offset);
}

/* ---- pending writes ---- */

static void sim_inode_pend(struct sim_inode *inode, struct sim_write write)
{
    inode->writes =
        sim_grow(inode->writes, inode->write_count, &inode->write_capacity, sizeof *inode->writes);
    inode->writes[inode->write_count++] = write;
}

static void sim_inode_differ(struct sim_inode *inode, uint64_t from, uint64_t to)
{
    inode->differ_from = FM_MIN(inode->differ_from, from);
    inode->differ_to = FM_MAX(inode->differ_to, to);
}

void sim_inode_write(struct sim_inode *inode, uint64_t offset, const struct fm_slice *slices,
                     size_t count, uint64_t len)
{
    size_t data_at = inode->pending_bytes.size;
    uint64_t at = offset, left = len;

    for (size_t i = 0; i < count && left; i++) {
        uint64_t part = FM_MIN((uint64_t)slices[i].len, left);
        sim_image_put(&inode->live, at, slices[i].ptr, part);
        sim_image_put(&inode->pending_bytes, inode->pending_bytes.size, slices[i].ptr, part);
        at += part;
        left -= part;
    }
    if (at == offset)
        return;
    sim_inode_pend(inode, (struct sim_write){SIM_DATA, offset, at - offset, data_at});
    sim_inode_differ(inode, offset, at);
    sim_inode_charge(inode);
}

void sim_inode_extend(struct sim_inode *inode, uint64_t size)
{
    inode->allocated_bytes = FM_MAX(inode->allocated_bytes, size);
    if (size > inode->live.size) {
        sim_image_extend(&inode->live, size);
        sim_inode_pend(inode, (struct sim_write){SIM_EXTEND, 0, size, 0});
    }
    sim_inode_charge(inode);
}

void sim_inode_truncate(struct sim_inode *inode)
{
    if (!inode->live.size)
        return;
    sim_inode_differ(inode, 0, FM_MAX(inode->live.size, inode->durable.size));
    sim_image_clear(&inode->live);
    inode->allocated_bytes = 0;
    sim_inode_pend(inode, (struct sim_write){SIM_TRUNCATE, 0, 0, 0});
    sim_inode_charge(inode);
}

static void sim_inode_forget_writes(struct sim_inode *inode)
{
    inode->write_count = 0;
    inode->pending_bytes.size = 0; /* not the zeros of an image, so nothing to clear */
}

static void sim_inode_apply(struct sim_inode *inode, const struct sim_write *write)
{
    if (write->kind == SIM_DATA)
        sim_image_put(&inode->durable, write->offset, inode->pending_bytes.ptr + write->data_at,
                      write->len);
    else if (write->kind == SIM_EXTEND)
        sim_image_extend(&inode->durable, write->len);
    else
        sim_image_clear(&inode->durable);
}

void sim_inode_sync(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->write_count; i++)
        sim_inode_apply(inode, &inode->writes[i]);
    sim_inode_forget_writes(inode);
    if (!inode->has_lost) {
        inode->differ_from = UINT64_MAX;
        inode->differ_to = 0;
    }
}

/* The kernel marks the pages clean: readable as long as they are cached, and never written. */
void sim_inode_lose(struct sim_inode *inode)
{
    inode->has_lost |= inode->write_count > 0;
    sim_inode_forget_writes(inode);
}

/* ---- power cut ---- */

/* Any subset of the sectors, or the first ones up to some point. */
static void sim_inode_tear(struct sim_inode *inode, const struct sim_write *write)
{
    struct sim *sim = inode->disk->sim;
    const uint8_t *bytes = inode->pending_bytes.ptr + write->data_at;
    uint64_t offset = write->offset, end = write->offset + write->len;
    bool in_order = sim_chance(sim, 2);
    uint64_t stop = in_order ? offset + sim_chance(sim, write->len + 1) : end;

    while (offset < stop) {
        uint64_t next = FM_MIN((offset / SECTOR_BYTES + 1) * SECTOR_BYTES, end);
        if (in_order ? next <= stop : sim_chance(sim, 2))
            sim_image_put(&inode->durable, offset, bytes + (offset - write->offset), next - offset);
        offset = next;
    }
    if (!sim_chance(sim, 4)) /* the size came through, what it covers did not */
        sim_image_extend(&inode->durable, end);
}

void sim_inode_crash(struct sim_inode *inode, enum sim_survival survival)
{
    struct sim *sim = inode->disk->sim;

    for (size_t i = 0; i < inode->write_count && survival != SIM_NOTHING; i++) {
        const struct sim_write *write = &inode->writes[i];
        uint64_t choice = survival == SIM_EVERYTHING ? 0 : sim_chance(sim, 3);
        if (choice == 0)
            sim_inode_apply(inode, write);
        else if (choice == 1 && write->kind == SIM_DATA)
            sim_inode_tear(inode, write);
    }
    sim_inode_forget_writes(inode);

    /* Make live equal durable, touching only where they may differ. */
    uint64_t from = inode->differ_from, to = FM_MIN(inode->differ_to, inode->live.size);
    if (from < to)
        memset(inode->live.ptr + from, 0, to - from);
    sim_image_reserve(&inode->live, inode->durable.size, true);
    inode->live.size = inode->durable.size;
    to = FM_MIN(inode->differ_to, inode->live.size);
    if (from < to)
        memcpy(inode->live.ptr + from, inode->durable.ptr + from, to - from);
    inode->allocated_bytes = 0;
    inode->differ_from = UINT64_MAX;
    inode->differ_to = 0;
    inode->has_lost = false;
}
