/* SPDX-License-Identifier: Apache-2.0 */
/* directories - names: making, moving, removing, listing, and making that durable. */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int linux_make_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    (void)platform;
    return mkdir(path, 0750) ? linux_fail(why, errno, "mkdir", path) : FM_OK;
}

static int linux_link(struct platform *platform, const char *from, const char *to,
                      struct fm_why *why)
{
    (void)platform;
    if (link(from, to) == 0)
        return FM_OK;
    bool never = errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP ||
                 errno == ENOSYS;
    return never ? fm_fail(why, FM_EUNSUPPORTED, "link %s: not possible to there", from)
                 : linux_fail(why, errno, "link", from);
}

static int linux_rename(struct platform *platform, const char *from, const char *to,
                        struct fm_why *why)
{
    (void)platform;
    return rename(from, to) ? linux_fail(why, errno, "rename", from) : FM_OK;
}

static int linux_unlink(struct platform *platform, const char *path, struct fm_why *why)
{
    (void)platform;
    return unlink(path) ? linux_fail(why, errno, "unlink", path) : FM_OK;
}

static int linux_remove_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    (void)platform;
    return rmdir(path) ? linux_fail(why, errno, "rmdir", path) : FM_OK;
}

static int linux_sync_dir(struct platform *platform, const char *path, struct fm_why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;
    (void)platform;

    if (fd < 0)
        return linux_fail(why, errno, "open", path);
    do {
        rc = fsync(fd);
    } while (rc && errno == EINTR);
    if (rc && errno != EINVAL) /* EINVAL: this file system has nothing to sync in a directory */
        rc = linux_fail(why, errno, "fsync", path);
    else
        rc = FM_OK;
    close(fd);
    return rc;
}

/* ---- list: names sorted, so that every run does things in the same order ---- */

struct linux_entry {
    char *name; /* owned */
    bool is_directory;
};
struct linux_entries {
    struct linux_entry *items; /* owned */
    size_t count, capacity;
};

static void linux_entries_fini(struct linux_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->items[i].name);
    free(entries->items);
}

static int linux_entry_compare(const void *a, const void *b)
{
    return strcmp(((const struct linux_entry *)a)->name, ((const struct linux_entry *)b)->name);
}

static bool linux_entry_is_directory(DIR *dir, const struct dirent *found)
{
    struct stat facts;

    if (found->d_type != DT_UNKNOWN)
        return found->d_type == DT_DIR;
    return !fstatat(dirfd(dir), found->d_name, &facts, AT_SYMLINK_NOFOLLOW) &&
           S_ISDIR(facts.st_mode);
}

static int linux_entries_add(struct linux_entries *entries, DIR *dir, const struct dirent *found)
{
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? 2 * entries->capacity : 64;
        struct linux_entry *items = realloc(entries->items, capacity * sizeof *items);
        if (!items)
            return ENOMEM;
        entries->items = items;
        entries->capacity = capacity;
    }
    size_t size = strlen(found->d_name) + 1;
    char *name = malloc(size);
    if (!name)
        return ENOMEM;
    memcpy(name, found->d_name, size);
    entries->items[entries->count++] =
        (struct linux_entry){.name = name, .is_directory = linux_entry_is_directory(dir, found)};
    return 0;
}

/* Returns errno. */
static int linux_entries_read(struct linux_entries *entries, const char *path)
{
    DIR *dir = opendir(path);
    int error = 0;

    if (!dir)
        return errno;
    while (!error) {
        errno = 0;
        const struct dirent *found = readdir(dir);
        if (!found) {
            error = errno;
            break;
        }
        if (strcmp(found->d_name, ".") && strcmp(found->d_name, ".."))
            error = linux_entries_add(entries, dir, found);
    }
    closedir(dir);
    return error;
}

static int linux_list(struct platform *platform, const char *path, pf_list_visit *visit, void *self,
                      struct fm_why *why)
{
    struct linux_entries entries = {0};
    int error = linux_entries_read(&entries, path);
    int rc = error ? linux_fail(why, error, "list", path) : FM_OK;
    (void)platform;

    if (!rc && entries.count)
        qsort(entries.items, entries.count, sizeof *entries.items, linux_entry_compare);
    for (size_t i = 0; !rc && i < entries.count; i++)
        rc = visit(self, entries.items[i].name, entries.items[i].is_directory);
    linux_entries_fini(&entries);
    return rc;
}

static int linux_space(struct platform *platform, const char *path, struct pf_space *ret_space)
{
    struct statvfs facts;
    (void)platform;

    if (statvfs(path, &facts))
        return linux_rc(errno);
    *ret_space = (struct pf_space){
        .total_bytes = (uint64_t)facts.f_blocks * facts.f_frsize,
        .free_bytes = (uint64_t)facts.f_bavail * facts.f_frsize,
        .free_inodes = facts.f_files ? facts.f_favail : UINT64_MAX, /* btrfs counts none */
    };
    return FM_OK;
}

/* The descriptor stays open on purpose: the lock is the process's and ends with it. */
static int linux_lock(struct platform *platform, const char *path, struct fm_why *why)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    (void)platform;

    if (fd < 0)
        return linux_fail(why, errno, "open", path);
    if (!flock(fd, LOCK_EX | LOCK_NB))
        return FM_OK;
    int error = errno;
    close(fd);
    if (error == EWOULDBLOCK)
        return fm_fail(why, FM_EEXISTS, "%s is locked by another process", path);
    return linux_fail(why, error, "lock", path);
}

void linux_fill_directories(struct platform_ops *ops)
{
    ops->make_dir = linux_make_dir;
    ops->rename = linux_rename;
    ops->link = linux_link;
    ops->unlink = linux_unlink;
    ops->remove_dir = linux_remove_dir;
    ops->sync_dir = linux_sync_dir;
    ops->list = linux_list;
    ops->space = linux_space;
    ops->lock = linux_lock;
}
