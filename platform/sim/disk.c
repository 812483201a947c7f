/* SPDX-License-Identifier: Apache-2.0 */
/* disk - the tree of names, and its changes that no directory sync has made durable yet.
 *
 * A change sets one or two names and is atomic.  It becomes durable when a directory it touches is
 * synced, together with every earlier change of the same names: nothing else follows, not even the
 * directory's own name.  A power cut keeps a prefix, or any subset in which no change overtakes an
 * earlier one of the same name.  Stricter than ext4 or XFS, whose journals keep a prefix.
 */
#include "internal.h"

/* ---- maps of names ---- */

static size_t sim_map_find(const struct sim_map *map, struct fm_slice name, bool *ret_found)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = fm_slice_compare(fm_slice_text(map->entries[middle].name), name);
        if (!order) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

struct sim_inode *sim_map_get(const struct sim_map *map, struct fm_slice name)
{
    bool found;
    size_t at = sim_map_find(map, name, &found);

    return found ? map->entries[at].inode : NULL;
}

static char *sim_text(struct fm_slice name)
{
    char *text = sim_alloc(name.len + 1);

    memcpy(text, name.ptr, name.len);
    return text;
}

static void sim_map_remove_at(struct sim_map *map, size_t at)
{
    struct sim_entry entry = map->entries[at];

    memmove(&map->entries[at], &map->entries[at + 1], (--map->count - at) * sizeof *map->entries);
    sim_release(entry.name, strlen(entry.name) + 1);
    sim_inode_unref(entry.inode);
}

void sim_map_set(struct sim_map *map, struct fm_slice name, struct sim_inode *inode)
{
    bool found;
    size_t at = sim_map_find(map, name, &found);

    if (!inode) {
        if (found)
            sim_map_remove_at(map, at);
        return;
    }
    sim_inode_ref(inode);
    if (found) {
        sim_inode_unref(map->entries[at].inode);
        map->entries[at].inode = inode;
        return;
    }
    map->entries = sim_grow(map->entries, map->count, &map->capacity, sizeof *map->entries);
    memmove(&map->entries[at + 1], &map->entries[at], (map->count - at) * sizeof *map->entries);
    map->entries[at] = (struct sim_entry){.name = sim_text(name), .inode = inode};
    map->count++;
}

void sim_map_clear(struct sim_map *map)
{
    while (map->count)
        sim_map_remove_at(map, map->count - 1);
}

static void sim_map_copy(struct sim_map *target, const struct sim_map *source)
{
    sim_map_clear(target);
    for (size_t i = 0; i < source->count; i++)
        sim_map_set(target, fm_slice_text(source->entries[i].name), source->entries[i].inode);
}

/* ---- paths ---- */

/* The next component of path from *at on; empty: no more. */
static struct fm_slice sim_component(const char **at)
{
    for (;;) {
        const char *start = *at + strspn(*at, "/");
        size_t len = strcspn(start, "/");
        *at = start + len;
        if (len != 1 || *start != '.')
            return fm_slice(start, len);
    }
}

int sim_disk_find(struct sim_disk *disk, const char *path, struct sim_place *ret_place)
{
    struct sim_place place = {.inode = disk->root};
    struct fm_slice name = sim_component(&path);

    for (; name.len; name = sim_component(&path)) {
        if (!place.inode)
            return FM_ENOTFOUND;
        if (!place.inode->is_directory || name.len > NAME_BYTES_MAX ||
            fm_slice_equal_text(name, ".."))
            return FM_EIO;
        place.directory = place.inode;
        place.name = name;
        place.inode = sim_map_get(&place.directory->live_names, name);
    }
    *ret_place = place;
    return FM_OK;
}

/* ---- changes ---- */

static struct sim_change *sim_disk_add_change(struct sim_disk *disk)
{
    disk->changes =
        sim_grow(disk->changes, disk->change_count, &disk->change_capacity, sizeof *disk->changes);
    struct sim_change *change = &disk->changes[disk->change_count++];
    *change = (struct sim_change){0};
    return change;
}

static void sim_change_add_slot(struct sim_change *change, const struct sim_place *place,
                                struct sim_inode *inode)
{
    change->slots[change->slot_count++] = (struct sim_slot){
        .directory = place->directory,
        .name = sim_text(place->name),
        .name_len = place->name.len,
        .inode = inode,
    };
    sim_inode_ref(place->directory);
    if (inode)
        sim_inode_ref(inode);
}

static void sim_change_fini(struct sim_change *change)
{
    for (unsigned i = 0; i < change->slot_count; i++) {
        struct sim_slot *slot = &change->slots[i];
        sim_release(slot->name, slot->name_len + 1);
        sim_inode_unref(slot->directory);
        if (slot->inode)
            sim_inode_unref(slot->inode);
    }
}

static void sim_live_set(const struct sim_place *place, struct sim_inode *inode)
{
    struct sim_inode *before = place->inode;

    if (inode) {
        inode->live_link_count++;
        inode->parent = place->directory;
    }
    if (before) {
        sim_inode_ref(before); /* charge it before it may go */
        before->live_link_count--;
        sim_inode_charge(before);
    }
    sim_map_set(&place->directory->live_names, place->name, inode);
    if (before)
        sim_inode_unref(before);
}

void sim_disk_link(struct sim_disk *disk, const struct sim_place *place, struct sim_inode *inode)
{
    sim_change_add_slot(sim_disk_add_change(disk), place, inode);
    sim_live_set(place, inode);
}

void sim_disk_move(struct sim_disk *disk, const struct sim_place *from, const struct sim_place *to)
{
    struct sim_change *change = sim_disk_add_change(disk);

    sim_change_add_slot(change, from, NULL);
    sim_change_add_slot(change, to, from->inode);
    sim_live_set(to, from->inode);
    sim_live_set(from, NULL);
    from->inode->parent = to->directory;
}

static bool sim_slot_is_same(const struct sim_slot *a, const struct sim_slot *b)
{
    return a->directory == b->directory && a->name_len == b->name_len &&
           !memcmp(a->name, b->name, a->name_len);
}

static bool sim_change_shares_name(const struct sim_change *a, const struct sim_change *b)
{
    for (unsigned i = 0; i < a->slot_count; i++)
        for (unsigned k = 0; k < b->slot_count; k++)
            if (sim_slot_is_same(&a->slots[i], &b->slots[k]))
                return true;
    return false;
}

/* A chosen change takes the earlier ones of its names along. */
static void sim_disk_close_choice(struct sim_disk *disk)
{
    for (size_t i = disk->change_count; i-- > 0;) {
        if (!disk->changes[i].chosen)
            continue;
        for (size_t k = 0; k < i; k++)
            if (!disk->changes[k].chosen)
                disk->changes[k].chosen =
                    sim_change_shares_name(&disk->changes[k], &disk->changes[i]);
    }
}

/* Makes the chosen changes durable and forgets them; the rest stays pending. */
static void sim_disk_apply_chosen(struct sim_disk *disk)
{
    size_t kept = 0;

    for (size_t i = 0; i < disk->change_count; i++) {
        struct sim_change change = disk->changes[i];
        if (!change.chosen) {
            disk->changes[kept++] = change;
            continue;
        }
        for (unsigned k = 0; k < change.slot_count; k++) {
            const struct sim_slot *slot = &change.slots[k];
            sim_map_set(&slot->directory->durable_names, fm_slice(slot->name, slot->name_len),
                        slot->inode);
        }
        sim_change_fini(&change);
    }
    disk->change_count = kept;
}

void sim_disk_sync_names(struct sim_disk *disk, struct sim_inode *directory)
{
    for (size_t i = 0; i < disk->change_count; i++) {
        struct sim_change *change = &disk->changes[i];
        for (unsigned k = 0; k < change->slot_count; k++)
            change->chosen |= change->slots[k].directory == directory;
    }
    sim_disk_close_choice(disk);
    sim_disk_apply_chosen(disk);
}

/* ---- power cut ---- */

static void sim_disk_choose(struct sim_disk *disk, enum sim_survival survival)
{
    bool in_order = sim_chance(disk->sim, 2);
    size_t prefix = sim_chance(disk->sim, disk->change_count + 1);

    for (size_t i = 0; i < disk->change_count; i++) {
        bool lucky = in_order ? i < prefix : sim_chance(disk->sim, 2);
        disk->changes[i].chosen = survival == SIM_EVERYTHING || (survival == SIM_ANYTHING && lucky);
    }
    sim_disk_close_choice(disk);
    sim_disk_apply_chosen(disk);
    for (size_t i = 0; i < disk->change_count; i++)
        sim_change_fini(&disk->changes[i]);
    disk->change_count = 0;
}

static void sim_disk_reset_links(struct sim_disk *disk)
{
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next)
        FM_CONTAINER(at, struct sim_inode, link)->live_link_count = 0;
    disk->root->live_link_count = 1;
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next) {
        struct sim_inode *directory = FM_CONTAINER(at, struct sim_inode, link);
        for (size_t i = 0; i < directory->live_names.count; i++) {
            directory->live_names.entries[i].inode->live_link_count++;
            directory->live_names.entries[i].inode->parent = directory;
        }
    }
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next)
        sim_inode_charge(FM_CONTAINER(at, struct sim_inode, link));
}

void sim_disk_crash(struct sim_disk *disk)
{
    /* The extremes are likely on real machines and rare by coin, so they get their own share. */
    static const enum sim_survival moods[] = {SIM_NOTHING, SIM_EVERYTHING, SIM_ANYTHING,
                                              SIM_ANYTHING, SIM_ANYTHING};
    enum sim_survival survival = moods[sim_chance(disk->sim, FM_COUNT(moods))];
    struct fm_link *next;

    sim_disk_choose(disk, survival);
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next)
        sim_inode_crash(FM_CONTAINER(at, struct sim_inode, link), survival);
    /* Dropping a name may free an inode, even the next one: hold all meanwhile. */
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next)
        sim_inode_ref(FM_CONTAINER(at, struct sim_inode, link));
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = at->next) {
        struct sim_inode *inode = FM_CONTAINER(at, struct sim_inode, link);
        if (inode->is_directory)
            sim_map_copy(&inode->live_names, &inode->durable_names);
    }
    sim_disk_reset_links(disk);
    /* What goes here may take others along, but never the next one: that is still held. */
    for (struct fm_link *at = disk->inodes.next; at != &disk->inodes; at = next) {
        next = at->next;
        sim_inode_unref(FM_CONTAINER(at, struct sim_inode, link));
    }
}

void sim_disk_init(struct sim_disk *disk, struct sim *sim)
{
    disk->sim = sim;
    fm_list_init(&disk->inodes);
    disk->root = sim_inode_new(disk, true);
    disk->root->live_link_count = 1;
    sim_inode_ref(disk->root);
}

void sim_disk_fini(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->change_count; i++)
        for (unsigned k = 0; k < disk->changes[i].slot_count; k++)
            sim_release(disk->changes[i].slots[k].name, disk->changes[i].slots[k].name_len + 1);
    sim_release(disk->changes, disk->change_capacity * sizeof *disk->changes);
    while (!fm_list_empty(&disk->inodes))
        sim_inode_free(FM_CONTAINER(disk->inodes.next, struct sim_inode, link));
}
