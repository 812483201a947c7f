/* SPDX-License-Identifier: Apache-2.0 */
/* files - the ops on open files: handles over inodes, with faults on demand. */
#include "internal.h"

#include <stdlib.h>

struct pf_file {
    struct fm_link link; /* sim->files */
    struct sim *sim;
    struct sim_inode *inode; /* NULL: opened before the last crash */
    bool is_writable;
    char path[];
};

static int sim_file_fail(struct pf_file *file, struct fm_why *why, int rc, const char *verb)
{
    return fm_fail(why, rc, "%s %s: %s (simulated)", verb, file->path, fm_rc_text(rc));
}

/* Finds or makes the inode. */
static int sim_open_inode(struct sim *sim, const char *path, unsigned flags,
                          struct sim_inode **ret_inode)
{
    struct sim_place place;
    int rc =
        sim_fault_strikes(sim, SIM_OPEN_EIO) ? FM_EIO : sim_disk_find(&sim->disk, path, &place);

    if (rc < 0)
        return rc;
    if (!place.inode && !(flags & PF_CREATE))
        return FM_ENOTFOUND;
    if (place.inode && (flags & PF_CREATE) && (flags & PF_EXCLUSIVE))
        return FM_EEXISTS;
    if (place.inode && place.inode->is_directory)
        return FM_EIO;
    if (!place.inode) {
        *ret_inode = sim_inode_new(&sim->disk, false);
        sim_disk_link(&sim->disk, &place, *ret_inode);
        return FM_OK;
    }
    if (flags & PF_TRUNCATE)
        sim_inode_truncate(place.inode);
    *ret_inode = place.inode;
    return FM_OK;
}

int sim_open(struct platform *platform, const char *path, unsigned flags, struct pf_file **ret_file,
             struct fm_why *why)
{
    struct sim *sim = sim_of(platform);
    size_t path_size = strlen(path) + 1;
    struct sim_inode *inode;
    int rc = flags & (PF_CREATE | PF_TRUNCATE) ? sim_begin(sim, SIM_OPEN, path, why)
                                               : sim_look(sim, SIM_OPEN, path, why);

    if (rc < 0)
        return rc;
    struct pf_file *file = malloc(sizeof *file + path_size);
    if (!file)
        return fm_fail(why, FM_ENOMEM, "open %s: out of memory", path);
    rc = sim_open_inode(sim, path, flags, &inode);
    if (rc < 0) {
        free(file);
        return fm_fail(why, rc, "open %s: %s (simulated)", path, fm_rc_text(rc));
    }
    *file = (struct pf_file){.sim = sim, .inode = inode, .is_writable = flags & PF_WRITE};
    memcpy(file->path, path, path_size);
    sim_inode_ref(inode);
    inode->handle_count++;
    fm_list_append(&sim->files, &file->link);
    *ret_file = file;
    return FM_OK;
}

static void sim_file_detach(struct pf_file *file)
{
    struct sim_inode *inode = fm_take(file->inode);

    if (!inode)
        return;
    inode->handle_count--;
    sim_inode_charge(inode);
    sim_inode_unref(inode);
}

int sim_close(struct pf_file *file)
{
    sim_file_detach(file);
    fm_list_remove(&file->link);
    free(file);
    return FM_OK;
}

void sim_files_crash(struct sim *sim)
{
    for (struct fm_link *at = sim->files.next; at != &sim->files; at = at->next)
        sim_file_detach(FM_CONTAINER(at, struct pf_file, link));
}

void sim_files_fini(struct sim *sim)
{
    while (!fm_list_empty(&sim->files))
        sim_close(FM_CONTAINER(sim->files.next, struct pf_file, link));
}

int sim_write(struct pf_file *file, uint64_t offset, const struct fm_slice *slices, size_t count,
              struct fm_why *why)
{
    struct sim *sim = file->sim;
    uint64_t len = 0;
    int rc = sim_begin(sim, SIM_WRITE, file->path, why);

    if (rc < 0)
        return rc;
    if (!file->inode || !file->is_writable)
        return sim_file_fail(file, why, FM_EIO, "write");
    for (size_t i = 0; i < count; i++) {
        sim_trace(sim, offset + len, fm_hash64(slices[i], 0)); /* equal runs write equal bytes */
        len += slices[i].len;
    }
    uint64_t part = sim_inode_fitting(file->inode, offset, len);
    if (part < len)
        rc = FM_ENOSPACE;
    if (sim_fault_strikes(sim, SIM_WRITE_ENOSPC)) {
        rc = FM_ENOSPACE;
        part = FM_MIN(part, len / 2);
    }
    if (sim_fault_strikes(sim, SIM_WRITE_EIO)) {
        rc = FM_EIO;
        part = sim_chance(sim, part + 1);
    }
    sim_inode_write(file->inode, offset, slices, count, part);
    return rc < 0 ? sim_file_fail(file, why, rc, "write") : FM_OK;
}

int sim_read(struct pf_file *file, uint64_t offset, void *target, size_t len, size_t *ret_len,
             struct fm_why *why)
{
    int rc = sim_look(file->sim, SIM_READ, file->path, why);

    if (rc < 0)
        return rc;
    if (!file->inode || sim_fault_strikes(file->sim, SIM_READ_EIO))
        return sim_file_fail(file, why, FM_EIO, "read");
    const struct sim_image *live = &file->inode->live;
    uint64_t left = live->size > offset ? live->size - offset : 0;
    size_t got = (size_t)FM_MIN((uint64_t)len, left);
    if (got)
        memcpy(target, live->ptr + offset, got);
    *ret_len = got;
    return FM_OK;
}

int sim_sync(struct pf_file *file, struct fm_why *why)
{
    int rc = sim_begin(file->sim, SIM_SYNC, file->path, why);

    if (rc < 0)
        return rc;
    if (!file->inode)
        return sim_file_fail(file, why, FM_EIO, "fdatasync");
    if (sim_fault_strikes(file->sim, SIM_SYNC_EIO)) {
        sim_inode_lose(file->inode);
        return sim_file_fail(file, why, FM_EIO, "fdatasync");
    }
    sim_inode_sync(file->inode);
    return FM_OK;
}

int sim_size(struct pf_file *file, uint64_t *ret_size)
{
    if (!file->inode || file->sim->is_cut)
        return FM_EIO;
    *ret_size = file->inode->live.size;
    return FM_OK;
}

int sim_allocate(struct pf_file *file, uint64_t size, struct fm_why *why)
{
    int rc = sim_begin(file->sim, SIM_ALLOCATE, file->path, why);

    if (rc < 0)
        return rc;
    if (!file->inode || !file->is_writable)
        return sim_file_fail(file, why, FM_EIO, "allocate");
    if (sim_fault_strikes(file->sim, SIM_ALLOCATE_ENOSPC) ||
        sim_inode_fitting(file->inode, 0, size) < size)
        return sim_file_fail(file, why, FM_ENOSPACE, "allocate");
    sim_inode_extend(file->inode, size);
    return FM_OK;
}

int sim_advise_gone(struct pf_file *file)
{
    return file->inode && !file->sim->is_cut ? FM_OK : FM_EIO;
}
