/* SPDX-License-Identifier: Apache-2.0 */
/* names - the ops on paths.  Results as Linux gives them. */
#include "internal.h"

static int sim_fail(struct fm_why *why, int rc, const char *verb, const char *path)
{
    return fm_fail(why, rc, "%s %s: %s (simulated)", verb, path, fm_rc_text(rc));
}

int sim_make_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_place place;
    int rc = sim_begin(sim, SIM_MAKE_DIR, path, why);

    if (rc < 0)
        return rc;
    rc = sim_disk_find(&sim->disk, path, &place);
    if (rc == FM_OK && place.inode)
        rc = FM_EEXISTS;
    if (rc < 0)
        return sim_fail(why, rc, "mkdir", path);
    sim_disk_link(&sim->disk, &place, sim_inode_new(&sim->disk, true));
    return FM_OK;
}

static bool sim_is_within(const struct sim_inode *inode, const struct sim_inode *directory)
{
    for (; inode; inode = inode->parent)
        if (inode == directory)
            return true;
    return false;
}

static int sim_rename_check(const struct sim_place *from, const struct sim_place *to)
{
    if (!from->inode)
        return FM_ENOTFOUND;
    if (!from->directory || !to->directory)
        return FM_EIO; /* the root */
    if (from->inode->is_directory && sim_is_within(to->directory, from->inode))
        return FM_EIO;
    if (!to->inode || to->inode == from->inode)
        return FM_OK;
    if (from->inode->is_directory != to->inode->is_directory)
        return FM_EIO;
    return to->inode->live_names.count ? FM_EEXISTS : FM_OK;
}

int sim_rename(struct platform *platform, const char *from, const char *to, struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_place source, target;
    int rc = sim_begin(sim, SIM_RENAME, from, why);

    if (rc < 0)
        return rc;
    rc = sim_fault_strikes(sim, SIM_RENAME_EIO) ? FM_EIO : sim_disk_find(&sim->disk, from, &source);
    if (rc == FM_OK)
        rc = sim_disk_find(&sim->disk, to, &target);
    if (rc == FM_OK)
        rc = sim_rename_check(&source, &target);
    if (rc < 0)
        return sim_fail(why, rc, "rename", from);
    if (source.inode != target.inode)
        sim_disk_move(&sim->disk, &source, &target);
    return FM_OK;
}

static int sim_remove(struct platform *platform, const char *path, bool directory,
                      struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_place place;
    int rc = sim_begin(sim, directory ? SIM_REMOVE_DIR : SIM_UNLINK, path, why);

    if (rc < 0)
        return rc;
    rc = sim_disk_find(&sim->disk, path, &place);
    if (rc == FM_OK && !place.inode)
        rc = FM_ENOTFOUND;
    if (rc == FM_OK && (place.inode->is_directory != directory || !place.directory))
        rc = FM_EIO;
    if (rc == FM_OK && place.inode->live_names.count)
        rc = FM_EEXISTS;
    if (rc < 0)
        return sim_fail(why, rc, directory ? "rmdir" : "unlink", path);
    sim_disk_link(&sim->disk, &place, NULL);
    return FM_OK;
}

int sim_link(struct platform *platform, const char *from, const char *to, struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_place source, target;
    int rc = sim_begin(sim, SIM_LINK, from, why);

    if (rc < 0)
        return rc;
    rc = sim_fault_strikes(sim, SIM_RENAME_EIO) ? FM_EIO : sim_disk_find(&sim->disk, from, &source);
    if (rc == FM_OK)
        rc = sim_disk_find(&sim->disk, to, &target);
    if (rc == FM_OK && !source.inode)
        rc = FM_ENOTFOUND;
    if (rc == FM_OK && source.inode->is_directory)
        rc = FM_EUNSUPPORTED;
    if (rc == FM_OK && target.inode)
        rc = FM_EEXISTS;
    if (rc < 0)
        return sim_fail(why, rc, "link", from);
    sim_disk_link(&sim->disk, &target, source.inode);
    return FM_OK;
}

int sim_unlink(struct platform *platform, const char *path, struct fm_why *why)
{
    return sim_remove(platform, path, false, why);
}

int sim_remove_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    return sim_remove(platform, path, true, why);
}

static int sim_find_directory(struct sim *sim, const char *path, struct sim_inode **ret_directory)
{
    struct sim_place place;
    int rc = sim_disk_find(&sim->disk, path, &place);

    if (rc < 0)
        return rc;
    if (!place.inode)
        return FM_ENOTFOUND;
    if (!place.inode->is_directory)
        return FM_EIO;
    *ret_directory = place.inode;
    return FM_OK;
}

int sim_sync_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_inode *directory;
    int rc = sim_begin(sim, SIM_SYNC_DIR, path, why);

    if (rc < 0)
        return rc;
    rc = sim_find_directory(sim, path, &directory);
    if (rc == FM_OK && sim_fault_strikes(sim, SIM_SYNC_EIO))
        rc = FM_EIO;
    if (rc < 0)
        return sim_fail(why, rc, "fsync", path);
    sim_disk_sync_names(&sim->disk, directory);
    return FM_OK;
}

/* Visits a copy: the visitor may change the directory. */
int sim_list(struct platform *platform, const char *path, pf_list_visit *visit, void *self,
             struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_inode *directory;
    int rc = sim_look(sim, SIM_LIST, path, why);

    if (rc < 0)
        return rc;
    rc = sim_find_directory(sim, path, &directory);
    if (rc < 0)
        return sim_fail(why, rc, "list", path);
    size_t size = 0;
    for (size_t i = 0; i < directory->live_names.count; i++)
        size += strlen(directory->live_names.entries[i].name) + 2;
    char *names = sim_alloc(size), *at = names;
    for (size_t i = 0; i < directory->live_names.count; i++) {
        const struct sim_entry *entry = &directory->live_names.entries[i];
        *at = entry->inode->is_directory ? 'd' : 'f';
        at = stpcpy(at + 1, entry->name) + 1;
    }
    for (at = names; rc == FM_OK && at < names + size; at += strlen(at) + 1)
        rc = visit(self, at + 1, *at == 'd');
    sim_release(names, size);
    return rc;
}

int sim_space(struct platform *platform, const char *path, struct pf_space *ret_space)
{
    struct sim *sim = sim_of(platform);
    uint64_t total = sim->disk.capacity_bytes ? sim->disk.capacity_bytes : UINT64_C(1) << 40;
    struct sim_place place;

    if (sim->is_cut)
        return FM_EIO;
    int rc = sim_disk_find(&sim->disk, path, &place);
    if (rc < 0)
        return rc;
    if (!place.inode)
        return FM_ENOTFOUND;
    *ret_space = (struct pf_space){
        .total_bytes = total,
        .free_bytes = total > sim->disk.used_bytes ? total - sim->disk.used_bytes : 0,
        .free_inodes = 1000000,
    };
    return FM_OK;
}

int sim_lock(struct platform *platform, const char *path, struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    struct sim_place place;
    int rc = sim_begin(sim, SIM_LOCK, path, why);

    if (rc < 0)
        return rc;
    rc = sim_disk_find(&sim->disk, path, &place);
    if (rc == FM_OK && place.inode && (place.inode->is_directory || place.inode->is_locked))
        rc = place.inode->is_locked ? FM_EEXISTS : FM_EIO;
    if (rc < 0)
        return sim_fail(why, rc, "lock", path);
    if (!place.inode) {
        place.inode = sim_inode_new(&sim->disk, false);
        struct sim_inode *inode = place.inode;
        place.inode = NULL;
        sim_disk_link(&sim->disk, &place, inode);
        inode->is_locked = true;
        return FM_OK;
    }
    place.inode->is_locked = true;
    return FM_OK;
}
