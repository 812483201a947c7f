/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine - what could not be used where it lay: moved out of the way, with its reason beside
 * it, for people to look at.
 *
 *   quarantine/<seconds of steady time>-<name>   and .reason
 *
 * It has a quota and an age limit of its own; the oldest go first, and they are counted.  What
 * carries no time in its name was put there by an older version and goes before all others, but
 * never because of its age.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define QUARANTINE_TRIES     1000u
#define QUARANTINE_NAMES_MAX FM_MIB(4)
#define QUARANTINE_SECONDS   10u /* digits: until 2286 */

/* ---- in ---- */

static void quarantine_note(struct store *store, const char *target, const char *reason)
{
    char path[STORE_PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s.reason", target);
    if (len > 0 && (size_t)len < sizeof path)
        store_ignore(pf_replace_file(store->platform, path, fm_slice_text(reason), NULL));
}

/* The first name that is not taken. */
static void quarantine_name(const struct store *store, char target[STORE_PATH_BYTES],
                            const char *base, unsigned attempt)
{
    unsigned long long seconds = clock_steady_ns(store) / FM_NS_PER_S;
    if (attempt == 0)
        store_path(store, target, "quarantine/%010llu-%.200s", seconds, base);
    else
        store_path(store, target, "quarantine/%010llu-%.200s.%u", seconds, base, attempt);
}

int store_quarantine(struct store *store, const char *path, const char *reason)
{
    char target[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    struct fm_why why = {""};
    store_path(store, folder, "quarantine");
    int rc = pf_make_path(store->platform, folder, &why);
    for (unsigned attempt = 0; rc == FM_OK && attempt < QUARANTINE_TRIES; attempt++) {
        struct pf_file *file;
        quarantine_name(store, target, base, attempt);
        /* A rename would replace a file of that name. */
        if (pf_open(store->platform, target, PF_READ, &file, NULL) == FM_OK) {
            pf_close(store->platform, file);
            continue;
        }
        rc = store->platform->ops->rename(store->platform, path, target, &why);
        if (rc != FM_EEXISTS)
            break;
        rc = FM_OK;
    }
    if (rc < 0) {
        log_error("store.quarantine_failed", "path=%s why=\"%s\" it stays where it is", path,
                  why.text);
        return rc;
    }
    log_error("store.quarantined", "path=%s target=%s why=\"%s\"", path, target, reason);
    (void)store->platform->ops->sync_dir(store->platform, folder, NULL); /* either name will do */
    quarantine_note(store, target, reason);
    store->keep.quarantine_is_due = true;
    return FM_OK;
}

void store_quarantine_bytes(struct store *store, const char *name, struct fm_slice bytes)
{
    char path[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    struct fm_why why = {""};
    if (bytes.len == 0)
        return;
    store_path(store, folder, "quarantine");
    quarantine_name(store, path, name, 0);
    int rc = pf_make_path(store->platform, folder, &why);
    if (rc == FM_OK)
        rc = pf_replace_file(store->platform, path, bytes, &why);
    if (rc < 0)
        log_warn("store.quarantine_failed", "path=%s why=\"%s\"", path, why.text);
    store->keep.quarantine_is_due = true;
}

/* ---- out, on the DISK lane ---- */

struct quarantine_scan { /* of the folder, or of one below it */
    struct store *store;
    const char *folder;
    struct fm_buf *names; /* NULL below; kind byte ('d' or 'f'), size, text, NUL */
    uint64_t bytes;
};

static int quarantine_on_name(void *self, const char *name, bool is_directory)
{
    struct quarantine_scan *scan = self;
    struct platform *platform = scan->store->platform;
    struct quarantine_scan below = {.store = scan->store};
    struct pf_file *file;
    char path[STORE_PATH_BYTES];
    uint64_t size = 0;
    int len = snprintf(path, sizeof path, "%s/%s", scan->folder, name);
    if (len < 0 || (size_t)len >= sizeof path)
        return FM_OK; /* foreign */
    if (is_directory && scan->names) {
        below.folder = path;
        if (platform->ops->list(platform, path, quarantine_on_name, &below, NULL) == FM_OK)
            size = below.bytes;
    } else if (!is_directory && pf_open(platform, path, PF_READ, &file, NULL) == FM_OK) {
        if (platform->ops->size(file, &size) < 0)
            size = 0;
        pf_close(platform, file);
    }
    scan->bytes += size;
    if (!scan->names)
        return FM_OK;
    fm_buf_put_u8(scan->names, is_directory ? 'd' : 'f');
    fm_buf_put(scan->names, &size, sizeof size);
    fm_buf_put(scan->names, name, strlen(name) + 1);
    return scan->names->failed ? FM_ENOMEM : FM_OK;
}

static bool quarantine_is_old(const struct store *store, const char *name)
{
    uint64_t seconds, now_s = clock_steady_ns(store) / FM_NS_PER_S;
    uint64_t max_ns = store->options.quarantine_age_ns;
    if (!max_ns || strlen(name) <= QUARANTINE_SECONDS || name[QUARANTINE_SECONDS] != '-' ||
        fm_u64_parse(fm_slice(name, QUARANTINE_SECONDS), &seconds) < 0)
        return false;
    return now_s > seconds && now_s - seconds > max_ns / FM_NS_PER_S;
}

static bool quarantine_remove(struct store *store, const char *name, bool is_directory)
{
    struct platform *platform = store->platform;
    char path[STORE_PATH_BYTES], note[STORE_PATH_BYTES];
    store_path(store, path, "quarantine/%s", name);
    store_path(store, note, "quarantine/%s.reason", name);
    int rc = is_directory ? pf_remove_tree(platform, path, NULL)
                          : platform->ops->unlink(platform, path, NULL);
    if (rc < 0)
        return rc == FM_ENOTFOUND; /* the reason of what went just before */
    (void)platform->ops->unlink(platform, note, NULL);
    metric_add(&store->metrics.quarantine_removed, 1);
    log_warn("store.quarantine_removed", "path=%s", path);
    return true;
}

/* Names come sorted: the oldest first. */
static uint64_t quarantine_clear(struct store *store, struct fm_slice names, uint64_t bytes)
{
    uint64_t bytes_max = store->keep.quarantine_bytes_max;
    for (size_t at = 0; at < names.len;) {
        const uint8_t *item = names.ptr + at;
        const char *name = (const char *)item + 1 + sizeof(uint64_t);
        uint64_t size;
        memcpy(&size, item + 1, sizeof size);
        at += 1 + sizeof size + strlen(name) + 1;
        if ((bytes > bytes_max || quarantine_is_old(store, name)) &&
            quarantine_remove(store, name, *item == 'd'))
            bytes -= size;
    }
    return bytes;
}

void quarantine_keep(struct store *store)
{
    struct quarantine_scan scan = {.store = store};
    struct platform *platform = store->platform;
    struct fm_buf names;
    char folder[STORE_PATH_BYTES];
    store_path(store, folder, "quarantine");
    fm_buf_init(&names, QUARANTINE_NAMES_MAX);
    scan.folder = folder;
    scan.names = &names;
    int rc = platform->ops->list(platform, folder, quarantine_on_name, &scan, NULL);
    if (rc == FM_OK || rc == FM_ENOMEM) /* more than we want to know of: the oldest are known */
        scan.bytes = quarantine_clear(store, fm_buf_slice(&names), scan.bytes);
    store->keep.quarantine_found_bytes = scan.bytes;
    fm_buf_fini(&names);
}

/* ---- on the loop ---- */

void quarantine_trim(struct store *store)
{
    struct keep *keep = &store->keep;
    keep->quarantine_wanted_max = keep->quarantine_bytes / 2;
    keep->quarantine_is_due = true;
    keep->is_due = true;
}
