/* SPDX-License-Identifier: Apache-2.0 */
/* files - blocking file calls that finish what the kernel only started.
 *
 * Interrupted and short transfers are continued here, so that a caller sees all or a failure.
 * After a failed fdatasync the kernel may have marked the lost pages clean: the caller must write
 * the content again into another file, never sync this one again.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { VECTORS_MAX = 64 };

struct pf_file {
    int fd;
    char path[]; /* for messages */
};

static int linux_open(struct platform *platform, const char *path, unsigned flags,
                      struct pf_file **ret_file, struct fm_why *why)
{
    size_t path_size = strlen(path) + 1;
    int mode = O_CLOEXEC | O_NOCTTY;
    int fd;
    (void)platform;

    mode |= flags & PF_WRITE ? O_RDWR : O_RDONLY;
    mode |= flags & PF_CREATE ? O_CREAT : 0;
    mode |= flags & PF_EXCLUSIVE ? O_EXCL : 0;
    mode |= flags & PF_TRUNCATE ? O_TRUNC : 0;
    struct pf_file *file = malloc(sizeof *file + path_size);
    if (!file)
        return fm_fail(why, FM_ENOMEM, "open %s: out of memory", path);
    do {
        fd = open(path, mode, 0640);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        int error = errno;
        free(file);
        return linux_fail(why, error, "open", path);
    }
    file->fd = fd;
    memcpy(file->path, path, path_size);
    *ret_file = file;
    return FM_OK;
}

static int linux_close(struct pf_file *file)
{
    int rc = close(file->fd) ? linux_rc(errno) : FM_OK; /* EINTR too: Linux has closed it */

    free(file);
    return rc;
}

/* Fills vectors from slices, of which the first skip bytes were written; ret: how many. */
static int linux_vectors(struct iovec *vectors, const struct fm_slice *slices, size_t count,
                         size_t skip)
{
    int used = 0;

    for (size_t i = 0; i < count && used < VECTORS_MAX; i++) {
        if (skip >= slices[i].len) {
            skip -= slices[i].len;
            continue;
        }
        vectors[used].iov_base = (void *)(uintptr_t)(slices[i].ptr + skip);
        vectors[used++].iov_len = slices[i].len - skip;
        skip = 0;
    }
    return used;
}

static int linux_write(struct pf_file *file, uint64_t offset, const struct fm_slice *slices,
                       size_t count, struct fm_why *why)
{
    struct iovec vectors[VECTORS_MAX];
    size_t skip = 0; /* bytes of the first slice that are written */

    for (;;) {
        while (count && skip >= slices->len) {
            skip -= slices->len;
            slices++;
            count--;
        }
        int used = linux_vectors(vectors, slices, count, skip);
        if (!used)
            return FM_OK;
        ssize_t done = pwritev(file->fd, vectors, used, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return linux_fail(why, done < 0 ? errno : EIO, "write", file->path);
        offset += (uint64_t)done;
        skip += (size_t)done;
    }
}

static int linux_read(struct pf_file *file, uint64_t offset, void *target, size_t len,
                      size_t *ret_len, struct fm_why *why)
{
    size_t got = 0;

    while (got < len) {
        ssize_t done = pread(file->fd, (uint8_t *)target + got, len - got, (off_t)(offset + got));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return linux_fail(why, errno, "read", file->path);
        if (!done)
            break;
        got += (size_t)done;
    }
    *ret_len = got;
    return FM_OK;
}

static int linux_sync(struct pf_file *file, struct fm_why *why)
{
    int rc;

    do {
        rc = fdatasync(file->fd);
    } while (rc && errno == EINTR);
    return rc ? linux_fail(why, errno, "fdatasync", file->path) : FM_OK;
}

static int linux_size(struct pf_file *file, uint64_t *ret_size)
{
    struct stat facts;

    if (fstat(file->fd, &facts))
        return linux_rc(errno);
    *ret_size = (uint64_t)facts.st_size;
    return FM_OK;
}

/* fallocate(2) itself: glibc's posix_fallocate would write zeros where the file system cannot
 * reserve.  There the size alone is set and ENOSPC stays possible at each write. */
static int linux_allocate(struct pf_file *file, uint64_t size, struct fm_why *why)
{
    uint64_t size_now;
    int rc;

    if (!size)
        return FM_OK;
    do {
        rc = fallocate(file->fd, 0, 0, (off_t)size);
    } while (rc && errno == EINTR);
    if (!rc)
        return FM_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return linux_fail(why, errno, "allocate", file->path);
    rc = linux_size(file, &size_now);
    if (rc < 0)
        return fm_fail(why, rc, "allocate %s: size unknown", file->path);
    if (size_now < size && ftruncate(file->fd, (off_t)size))
        return linux_fail(why, errno, "allocate", file->path);
    return FM_OK;
}

static int linux_advise_gone(struct pf_file *file)
{
    int error = posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);

    return error ? linux_rc(error) : FM_OK;
}

void linux_fill_files(struct platform_ops *ops)
{
    ops->open = linux_open;
    ops->close = linux_close;
    ops->write = linux_write;
    ops->read = linux_read;
    ops->sync = linux_sync;
    ops->size = linux_size;
    ops->allocate = linux_allocate;
    ops->advise_gone = linux_advise_gone;
}
