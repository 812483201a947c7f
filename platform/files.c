/* SPDX-License-Identifier: Apache-2.0 */
/* files - what every body of the platform shares: durable replacement, paths, sources.
 *
 * Composed from the ops only, so that the simulated disk judges exactly the code that production
 * runs.  Order is everything here: content is synced before its name, a name before we say so.
 */
#include "fermata/platform.h"

#include <stdio.h>

enum { PATH_BYTES_MAX = 4096, TREE_DEPTH_MAX = 2 };

int pf_open(struct platform *platform, const char *path, unsigned flags, struct pf_file **ret_file,
            struct fm_why *why)
{
    return platform->ops->open(platform, path, flags, ret_file, why);
}

struct pf_file *pf_close(struct platform *platform, struct pf_file *file)
{
    if (file)
        (void)platform->ops->close(file); /* what had to last was synced */
    return NULL;
}

/* ---- files as sources ---- */

static int pf_source_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    struct pf_source *source = self;
    size_t got = 0;
    int rc = source->platform->ops->read(source->file, offset, target, len, &got, NULL);

    if (rc < 0)
        return rc;
    return got == len ? FM_OK : FM_ECORRUPT;
}

int pf_source_open(struct pf_source *self, struct platform *platform, const char *path,
                   struct fm_source *ret_source, struct fm_why *why)
{
    struct pf_file *file;
    uint64_t size;
    int rc = pf_open(platform, path, PF_READ, &file, why);

    if (rc < 0)
        return rc;
    rc = platform->ops->size(file, &size);
    if (rc < 0) {
        pf_close(platform, file);
        return fm_fail(why, rc, "%s: size unknown", path);
    }
    *self = (struct pf_source){.platform = platform, .file = file};
    *ret_source = (struct fm_source){.read_at = pf_source_read_at, .self = self, .size = size};
    return FM_OK;
}

void pf_source_close(struct pf_source *self)
{
    if (self->platform)
        self->file = pf_close(self->platform, self->file);
}

/* ---- whole files ---- */

/* Bytes behind the size that the file claimed: it grew, or lies in /proc, where sizes are 0. */
static int pf_read_surplus(struct platform *platform, struct pf_file *file, uint64_t offset,
                           struct fm_buf *buf, const char *path, struct fm_why *why)
{
    uint8_t bytes[512];
    size_t got;

    for (;;) {
        int rc = platform->ops->read(file, offset, bytes, sizeof bytes, &got, why);
        if (rc < 0 || !got)
            return rc;
        if (got > buf->bytes_max - buf->len)
            return fm_fail(why, FM_ELIMIT, "%s: larger than %zu bytes", path, buf->bytes_max);
        fm_buf_put(buf, bytes, got);
        if (buf->failed)
            return fm_fail(why, FM_ENOMEM, "%s: no memory for its content", path);
        offset += got;
    }
}

static int pf_read_content(struct platform *platform, struct pf_file *file, struct fm_buf *buf,
                           const char *path, struct fm_why *why)
{
    uint64_t size;
    size_t got;
    int rc = platform->ops->size(file, &size);

    if (rc < 0)
        return fm_fail(why, rc, "%s: size unknown", path);
    if (size > buf->bytes_max - buf->len)
        return fm_fail(why, FM_ELIMIT, "%s: larger than %zu bytes", path, buf->bytes_max);
    uint8_t *target = fm_buf_room(buf, (size_t)size);
    if (size && !target)
        return fm_fail(why, FM_ENOMEM, "%s: no memory for its content", path);
    rc = platform->ops->read(file, 0, target, (size_t)size, &got, why);
    if (rc < 0)
        return rc;
    buf->len += got;
    return got < size ? FM_OK : pf_read_surplus(platform, file, got, buf, path, why);
}

int pf_read_file(struct platform *platform, const char *path, struct fm_buf *buf,
                 struct fm_why *why)
{
    size_t len_before = buf->len;
    struct pf_file *file;
    int rc = pf_open(platform, path, PF_READ, &file, why);

    if (rc < 0)
        return rc;
    rc = pf_read_content(platform, file, buf, path, why);
    pf_close(platform, file);
    if (rc < 0)
        buf->len = len_before;
    return rc;
}

/* The directory that holds path: "." if it has no slash. */
static void pf_parent(char *target, const char *path, size_t len)
{
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (!len) {
        strcpy(target, ".");
        return;
    }
    memcpy(target, path, len);
    target[len] = 0;
}

static int pf_write_synced(struct platform *platform, const char *path, struct fm_slice content,
                           struct fm_why *why)
{
    struct pf_file *file;
    int rc = pf_open(platform, path, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, why);

    if (rc < 0)
        return rc;
    if (content.len)
        rc = platform->ops->write(file, 0, &content, 1, why);
    if (rc == FM_OK)
        rc = platform->ops->sync(file, why);
    pf_close(platform, file);
    return rc;
}

int pf_replace_file(struct platform *platform, const char *path, struct fm_slice content,
                    struct fm_why *why)
{
    static const char suffix[] =
        ".tmp"; /* fixed: what a crash left is overwritten, not collected */
    char temporary[PATH_BYTES_MAX], parent[PATH_BYTES_MAX];
    size_t len = strlen(path);

    if (len + sizeof suffix > sizeof temporary)
        return fm_fail(why, FM_ELIMIT, "path of %zu bytes is too long", len);
    memcpy(temporary, path, len);
    memcpy(temporary + len, suffix, sizeof suffix);
    pf_parent(parent, path, len);

    int rc = pf_write_synced(platform, temporary, content, why);
    if (rc == FM_OK)
        rc = platform->ops->rename(platform, temporary, path, why);
    if (rc < 0) {
        (void)platform->ops->unlink(platform, temporary, NULL); /* else overwritten next time */
        return rc;
    }
    return platform->ops->sync_dir(platform, parent, why);
}

/* ---- directories ---- */

/* Makes one directory; FM_NONE: was there before. */
static int pf_make_level(struct platform *platform, const char *path, struct fm_why *why)
{
    char parent[PATH_BYTES_MAX];
    int rc = platform->ops->make_dir(platform, path, why);

    if (rc == FM_EEXISTS)
        return FM_NONE;
    if (rc < 0)
        return rc;
    pf_parent(parent, path, strlen(path));
    return platform->ops->sync_dir(platform, parent, why);
}

/* A process killed between making and syncing a directory leaves one that exists but may vanish.
 * That is at most the deepest one found, so it alone is synced again. */
static int pf_settle_level(struct platform *platform, char *path, size_t len, struct fm_why *why)
{
    char parent[PATH_BYTES_MAX];

    pf_parent(parent, path, len);
    int rc = platform->ops->sync_dir(platform, parent, why);
    return rc == FM_EDENIED ? FM_OK : rc; /* not ours, so we did not make what is in it */
}

int pf_make_path(struct platform *platform, const char *path, struct fm_why *why)
{
    char prefix[PATH_BYTES_MAX];
    size_t len = strlen(path), found_len = 0;

    if (!len || len >= sizeof prefix)
        return fm_fail(why, FM_ELIMIT, "path of %zu bytes is empty or too long", len);
    memcpy(prefix, path, len + 1);
    while (len > 1 && prefix[len - 1] == '/')
        prefix[--len] = 0;
    for (size_t at = 1; at <= len; at++) {
        char after = prefix[at];

        if ((after && after != '/') || prefix[at - 1] == '/')
            continue;
        prefix[at] = 0;
        int rc = pf_make_level(platform, prefix, why);
        if (rc < 0)
            return rc;
        if (rc == FM_NONE)
            found_len = at;
        prefix[at] = after;
    }
    if (found_len == len) { /* it may be a file */
        int rc = platform->ops->sync_dir(platform, path, why);
        if (rc < 0)
            return rc;
    }
    return found_len ? pf_settle_level(platform, prefix, found_len, why) : FM_OK;
}

/* Names in a directory, each as kind byte ('d' or 'f'), text, NUL. */
static int pf_collect_name(void *self, const char *name, bool is_directory)
{
    struct fm_buf *names = self;

    fm_buf_put_u8(names, is_directory ? 'd' : 'f');
    fm_buf_put(names, name, strlen(name) + 1);
    return names->failed ? FM_ENOMEM : FM_OK;
}

static int pf_remove_level(struct platform *platform, const char *path, unsigned depth,
                           struct fm_why *why);

static int pf_remove_named(struct platform *platform, const char *path, struct fm_slice names,
                           unsigned depth, struct fm_why *why)
{
    char child[PATH_BYTES_MAX];
    const char *name = (const char *)names.ptr, *end = name + names.len;

    for (; name < end; name += strlen(name) + 1) {
        int len = snprintf(child, sizeof child, "%s/%s", path, name + 1);

        if (len < 0 || (size_t)len >= sizeof child)
            return fm_fail(why, FM_ELIMIT, "%s: path too long", path);
        int rc = *name == 'd' ? pf_remove_level(platform, child, depth + 1, why)
                              : platform->ops->unlink(platform, child, why);
        if (rc < 0 && rc != FM_ENOTFOUND)
            return rc;
    }
    return FM_OK;
}

static int pf_remove_level(struct platform *platform, const char *path, unsigned depth,
                           struct fm_why *why)
{
    struct fm_buf names;

    if (depth > TREE_DEPTH_MAX)
        return fm_fail(why, FM_ELIMIT, "%s: nested too deep to remove", path);
    fm_buf_init(&names, FM_MIB(64));
    int rc = platform->ops->list(platform, path, pf_collect_name, &names, why);
    if (rc == FM_OK)
        rc = pf_remove_named(platform, path, fm_buf_slice(&names), depth, why);
    if (rc == FM_OK)
        rc = platform->ops->remove_dir(platform, path, why);
    fm_buf_fini(&names);
    return rc;
}

int pf_remove_tree(struct platform *platform, const char *path, struct fm_why *why)
{
    int rc = pf_remove_level(platform, path, 0, why);

    return rc == FM_ENOTFOUND ? FM_OK : rc;
}
