/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept on disk: a file for each, named by when it came and what it is.
 *
 *   "fmc1"  crc32c of what follows (4, LE)  length of the key (4, LE)  key  content
 *
 * A file is written beside its place and renamed into it, without a sync: what a crash leaves is
 * found out by its checksum and removed.  The oldest go first when the sum is over the bound, or
 * when a file cannot be written. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "internal.h"

#define DISK_MAGIC       "fmc1"
#define DISK_HEAD_LEN    12u
#define DISK_ENTRIES_MAX 65536u

struct disk_entry {
    struct fm_link line; /* oldest first */
    uint64_t sequence, hash;
    uint64_t bytes;
};

struct bucket_disk {
    struct platform *platform;
    char path[512];
    uint64_t bytes_max;
    struct pf_lock lock; /* of what follows */
    struct fm_link line;
    struct fm_link chains[1024];
    uint64_t next_sequence, count;
    metric bytes; /* also read without the lock */
    metric evicted;
};

struct disk_node { /* an entry and its place in a chain */
    struct disk_entry entry;
    struct fm_link chain;
};

static uint64_t disk_hash(const char *key)
{
    uint64_t hash[2]; /* the same after a restart */
    fm_murmur3_128(fm_slice_text(key), hash);
    return hash[0];
}

static void disk_name(const struct bucket_disk *disk, const struct disk_entry *entry,
                      const char *suffix, char path[600])
{
    (void)snprintf(path, 600, "%s/%016" PRIx64 "-%016" PRIx64 "%s", disk->path, entry->sequence,
                   entry->hash, suffix);
}

static struct disk_node *disk_look(struct bucket_disk *disk, uint64_t hash)
{
    struct fm_link *chain = &disk->chains[hash % FM_COUNT(disk->chains)];
    for (struct fm_link *at = chain->next; at != chain; at = at->next) {
        struct disk_node *node = FM_CONTAINER(at, struct disk_node, chain);
        if (node->entry.hash == hash)
            return node;
    }
    return NULL;
}

static void disk_link(struct bucket_disk *disk, struct disk_node *node)
{
    fm_list_append(&disk->line, &node->entry.line);
    fm_list_append(&disk->chains[node->entry.hash % FM_COUNT(disk->chains)], &node->chain);
    disk->bytes += node->entry.bytes;
    disk->count++;
}

static void disk_unlink(struct bucket_disk *disk, struct disk_node *node)
{
    fm_list_remove(&node->entry.line);
    fm_list_remove(&node->chain);
    disk->bytes -= node->entry.bytes;
    disk->count--;
}

static void disk_remove_file(struct bucket_disk *disk, const struct disk_entry *entry)
{
    char path[600];
    struct fm_why why;
    disk_name(disk, entry, "", path);
    (void)disk->platform->ops->unlink(disk->platform, path, &why);
}

/* ---- what an earlier life left ---- */

static bool disk_parse_name(const char *name, struct disk_entry *entry)
{
    uint8_t sequence[8], hash[8];
    if (strlen(name) != 33 || name[16] != '-' ||
        fm_hex_decode(sequence, 8, fm_slice(name, 16)) < 0 ||
        fm_hex_decode(hash, 8, fm_slice(name + 17, 16)) < 0)
        return false;
    entry->sequence = fm_load_be64(sequence);
    entry->hash = fm_load_be64(hash);
    return true;
}

static int disk_on_name(void *self, const char *name, bool is_directory)
{
    struct bucket_disk *disk = self;
    struct disk_entry entry = {0};
    struct pf_source file;
    struct fm_source source;
    struct fm_why why;
    char path[1024];
    if (is_directory)
        return FM_OK;
    (void)snprintf(path, sizeof path, "%s/%s", disk->path, name);
    if (!disk_parse_name(name, &entry) || disk_look(disk, entry.hash) ||
        disk->count >= DISK_ENTRIES_MAX) { /* a temporary file, or one too many */
        (void)disk->platform->ops->unlink(disk->platform, path, &why);
        return FM_OK;
    }
    if (pf_source_open(&file, disk->platform, path, &source, &why) < 0)
        return FM_OK;
    entry.bytes = source.size;
    pf_source_close(&file);
    struct disk_node *node = calloc(1, sizeof *node);
    if (!node)
        return FM_ENOMEM;
    node->entry = entry;
    disk->next_sequence = FM_MAX(disk->next_sequence, entry.sequence + 1);
    disk_link(disk, node);
    return FM_OK;
}

/* Under the bound again; with the lock, or before anybody knows the disk. */
static void disk_take_surplus(struct bucket_disk *disk, struct fm_link *surplus)
{
    while (disk->bytes > disk->bytes_max || disk->count > DISK_ENTRIES_MAX) {
        struct disk_node *oldest = FM_CONTAINER(disk->line.next, struct disk_node, entry.line);
        disk_unlink(disk, oldest);
        fm_list_append(surplus, &oldest->entry.line);
    }
}

static void disk_drop(struct bucket_disk *disk, struct fm_link *surplus)
{
    while (!fm_list_empty(surplus)) {
        struct disk_node *node = FM_CONTAINER(surplus->next, struct disk_node, entry.line);
        fm_list_remove(&node->entry.line);
        disk_remove_file(disk, &node->entry);
        metric_add(&disk->evicted, 1);
        free(node);
    }
}

int bucket_disk_new(struct bucket_disk **ret_disk, struct platform *platform, const char *path,
                    uint64_t bytes_max, struct fm_why *why)
{
    struct bucket_disk *disk = calloc(1, sizeof *disk);
    struct fm_link surplus;
    if (!disk)
        return FM_ENOMEM;
    fm_list_init(&surplus);
    fm_list_init(&disk->line);
    for (size_t i = 0; i < FM_COUNT(disk->chains); i++)
        fm_list_init(&disk->chains[i]);
    disk->platform = platform;
    disk->bytes_max = bytes_max;
    disk->lock = PF_LOCK_INIT;
    (void)snprintf(disk->path, sizeof disk->path, "%s", path);
    int rc = pf_make_path(platform, path, why);
    if (rc == FM_OK)
        rc = platform->ops->list(platform, path, disk_on_name, disk, why);
    if (rc < 0) {
        (void)bucket_disk_free(disk);
        return rc;
    }
    disk_take_surplus(disk, &surplus);
    disk_drop(disk, &surplus);
    *ret_disk = disk;
    return FM_OK;
}

struct bucket_disk *bucket_disk_free(struct bucket_disk *disk)
{
    if (!disk)
        return NULL;
    while (!fm_list_empty(&disk->line)) {
        struct disk_node *node = FM_CONTAINER(disk->line.next, struct disk_node, entry.line);
        disk_unlink(disk, node);
        free(node);
    }
    free(disk);
    return NULL;
}

/* ---- reading and writing ---- */

/* Where the content begins in a file that is whole and about the key; 0: it is not. */
static size_t disk_check(struct fm_slice file, const char *key)
{
    size_t key_len = strlen(key);
    if (file.len < DISK_HEAD_LEN + key_len || memcmp(file.ptr, DISK_MAGIC, 4) != 0)
        return 0;
    if (fm_load_le32(file.ptr + 4) != fm_crc32c(0, fm_slice(file.ptr + 8, file.len - 8)))
        return 0;
    if (fm_load_le32(file.ptr + 8) != key_len ||
        memcmp(file.ptr + DISK_HEAD_LEN, key, key_len) != 0)
        return 0;
    return DISK_HEAD_LEN + key_len;
}

static void disk_forget(struct bucket_disk *disk, const struct disk_entry *entry)
{
    struct fm_link surplus;
    fm_list_init(&surplus);
    pf_lock(&disk->lock);
    struct disk_node *node = disk_look(disk, entry->hash);
    if (node && node->entry.sequence == entry->sequence) {
        disk_unlink(disk, node);
        fm_list_append(&surplus, &node->entry.line);
    }
    pf_unlock(&disk->lock);
    disk_drop(disk, &surplus);
}

int bucket_disk_get(struct bucket_disk *disk, const char *key, struct fm_buf *content)
{
    struct disk_entry entry = {0};
    struct fm_why why;
    struct fm_buf file;
    char path[600];

    pf_lock(&disk->lock);
    struct disk_node *node = disk_look(disk, disk_hash(key));
    if (node)
        entry = node->entry;
    pf_unlock(&disk->lock);
    if (!node)
        return FM_NONE;
    disk_name(disk, &entry, "", path);
    fm_buf_init(&file, BUCKET_BLOOM_MAX + FM_KIB(1));
    int rc = pf_read_file(disk->platform, path, &file, &why);
    size_t at = rc == FM_OK ? disk_check(fm_buf_slice(&file), key) : 0;
    if (at)
        fm_buf_put(content, file.ptr + at, file.len - at);
    fm_buf_fini(&file);
    if (!at)
        disk_forget(disk, &entry);
    return at && !content->failed ? FM_OK : FM_NONE;
}

static int disk_write(struct bucket_disk *disk, const struct disk_entry *entry, const char *key,
                      struct fm_slice content)
{
    uint8_t head[DISK_HEAD_LEN];
    const struct fm_slice parts[] = {fm_slice(head, sizeof head), fm_slice_text(key), content};
    struct platform *platform = disk->platform;
    struct pf_file *file = NULL;
    struct fm_why why;
    char path[600], beside[600];

    disk_name(disk, entry, "", path);
    disk_name(disk, entry, ".new", beside);
    memcpy(head, DISK_MAGIC, 4);
    fm_store_le32(head + 8, (uint32_t)strlen(key));
    uint32_t crc = fm_crc32c(0, fm_slice(head + 8, 4));
    crc = fm_crc32c(fm_crc32c(crc, parts[1]), content);
    fm_store_le32(head + 4, crc);
    int rc = pf_open(platform, beside, PF_WRITE | PF_CREATE | PF_TRUNCATE, &file, &why);
    if (rc < 0)
        return rc;
    rc = platform->ops->write(file, 0, parts, FM_COUNT(parts), &why);
    file = pf_close(platform, file);
    if (rc == FM_OK)
        rc = platform->ops->rename(platform, beside, path, &why);
    if (rc < 0)
        (void)platform->ops->unlink(platform, beside, &why);
    return rc;
}

void bucket_disk_put(struct bucket_disk *disk, const char *key, struct fm_slice content)
{
    struct disk_node *node = calloc(1, sizeof *node);
    struct fm_link surplus;
    if (!node)
        return;
    node->entry.hash = disk_hash(key);
    node->entry.bytes = DISK_HEAD_LEN + strlen(key) + content.len;
    fm_list_init(&surplus);
    pf_lock(&disk->lock);
    bool is_wanted = node->entry.bytes <= disk->bytes_max / 4 && !disk_look(disk, node->entry.hash);
    node->entry.sequence = disk->next_sequence++;
    pf_unlock(&disk->lock);
    if (!is_wanted || disk_write(disk, &node->entry, key, content) < 0) {
        free(node);
        return;
    }
    pf_lock(&disk->lock);
    struct disk_node *before = disk_look(disk, node->entry.hash); /* another thread was faster */
    if (before) {
        disk_unlink(disk, before);
        fm_list_append(&surplus, &before->entry.line);
    }
    disk_link(disk, node);
    disk_take_surplus(disk, &surplus);
    pf_unlock(&disk->lock);
    disk_drop(disk, &surplus);
}

uint64_t bucket_disk_bytes(const struct bucket_disk *disk)
{
    return disk ? metric_get(&disk->bytes) : 0;
}

uint64_t bucket_disk_evicted(const struct bucket_disk *disk)
{
    return disk ? metric_get(&disk->evicted) : 0;
}
