/* SPDX-License-Identifier: Apache-2.0 */
/* blocks - the sealed blocks: list, references, what start-up finds.
 *
 * A block directory is a block if it has meta.json and local.json.  With local.json alone it is a
 * tombstone: the block is deleted, but the log still holds records that it covered.  What is
 * neither is left alone if it is not ours, and goes to quarantine/ if it should have been a block.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define BLOCKS_READ_ATTEMPTS  3u
#define BLOCKS_META_BYTES_MAX FM_MIB(1)

int block_entry_new(struct store *store, struct block_entry **ret_entry)
{
    struct block_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return FM_ENOMEM;
    entry->store = store;
    entry->refs = 1;
    fm_list_init(&entry->link);
    *ret_entry = entry;
    return FM_OK;
}

struct block_entry *block_entry_free(struct store *store, struct block_entry *entry)
{
    if (!entry)
        return NULL;
    block_open_free(store, entry->opened);
    fm_list_remove(&entry->link);
    free(entry->ahead);
    free(entry);
    return NULL;
}

void block_entry_ref(struct block_entry *entry)
{
    entry->refs++;
}

void block_entry_unref(struct block_entry *entry)
{
    struct store *store = entry->store;
    FM_ASSERT(entry->refs > 0);
    if (--entry->refs > 0 || !entry->is_doomed) {
        if (entry->group)
            outbox_look(store);
        return;
    }
    if (entry->is_replaced) {
        block_entry_free(store, entry);
        return;
    }
    entry->opened = block_open_free(store, entry->opened);
    fm_list_append(&store->keep.doomed, &entry->link);
    keep_now(store);
}

void store_block_ref(struct store_block *block)
{
    block_entry_ref(block_entry_of(block));
}

void store_block_unref(struct store *store, struct store_block *block)
{
    (void)store;
    block_entry_unref(block_entry_of(block));
}

bool store_block_is_uploaded(const struct store *store, const struct store_block *block)
{
    (void)store;
    return block_entry_of(block)->is_uploaded;
}

int blocks_reserve(struct tenant *tenant)
{
    if (tenant->block_count < tenant->block_capacity)
        return FM_OK;
    size_t capacity = tenant->block_capacity ? tenant->block_capacity * 2 : 8;
    struct block_entry **grown = realloc(tenant->blocks, capacity * sizeof *grown);
    if (!grown)
        return FM_ENOMEM;
    tenant->blocks = grown;
    tenant->block_capacity = capacity;
    return FM_OK;
}

int blocks_add(struct store *store, struct tenant *tenant, struct block_entry *entry)
{
    int rc = blocks_reserve(tenant);
    if (rc < 0)
        return rc;
    size_t at = tenant->block_count++;
    for (; at && tenant->blocks[at - 1]->block.first_lsn > entry->block.first_lsn; at--)
        tenant->blocks[at] = tenant->blocks[at - 1];
    tenant->blocks[at] = entry;
    entry->tenant = tenant;
    struct fm_link *after = store->blocks.prev;
    while (after != &store->blocks &&
           FM_CONTAINER(after, struct block_entry, link)->block.last_lsn > entry->block.last_lsn)
        after = after->prev;
    fm_list_append(after->next, &entry->link); /* in front of what follows `after` */
    return FM_OK;
}

void blocks_doom(struct store *store, struct block_entry *entry, enum store_end end)
{
    struct tenant *tenant = entry->tenant;
    size_t at = 0;
    entry->end = end;
    book_close(store, entry);
    while (tenant->blocks[at] != entry)
        at++;
    memmove(&tenant->blocks[at], &tenant->blocks[at + 1],
            (tenant->block_count - at - 1) * sizeof(struct block_entry *));
    tenant->block_count--;
    fm_list_remove(&entry->link);
    entry->is_doomed = true;
    if (end == STORE_END_MERGED)
        cursors_let_go(store, entry);
    else
        cursors_on_doom(store, entry);
    if (store->on_gone)
        store->on_gone(store->gone_self, &entry->block.meta.id);
    block_entry_unref(entry);
}

void blocks_replace(struct store *store, struct block_entry *entry, struct block_entry *made)
{
    struct tenant *tenant = entry->tenant;
    size_t at = 0;
    while (tenant->blocks[at] != entry)
        at++;
    tenant->blocks[at] = made;
    made->tenant = tenant;
    made->part = entry->part;
    made->ahead = fm_take(entry->ahead);
    made->ahead_count = entry->ahead_count;
    entry->ahead_count = 0;
    fm_list_append(&entry->link, &made->link); /* in front of it */
    fm_list_remove(&entry->link);
    entry->is_doomed = entry->is_replaced = true;
    cursors_let_go(store, entry);
    if (store->on_gone)
        store->on_gone(store->gone_self, &entry->block.meta.id);
    block_entry_unref(entry);
}

/* ---- what start-up finds ---- */

static int blocks_read_file(struct store *store, const char *folder, const char *name,
                            struct fm_buf *text, struct fm_why *why)
{
    char path[STORE_PATH_BYTES];
    int rc = FM_EIO;
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    for (unsigned attempt = 0; rc == FM_EIO && attempt < BLOCKS_READ_ATTEMPTS; attempt++) {
        fm_buf_reset(text);
        rc = pf_read_file(store->platform, path, text, why);
    }
    return rc;
}

static int blocks_file_size(struct store *store, const char *folder, const char *name,
                            uint64_t *ret_size, struct fm_why *why)
{
    struct pf_file *file;
    char path[STORE_PATH_BYTES];
    int rc = FM_EIO;
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    for (unsigned attempt = 0; rc == FM_EIO && attempt < BLOCKS_READ_ATTEMPTS; attempt++)
        rc = pf_open(store->platform, path, PF_READ, &file, why);
    if (rc < 0)
        return rc;
    rc = store->platform->ops->size(file, ret_size);
    pf_close(store->platform, file);
    return rc;
}

/* FM_NONE: a tombstone. */
static int blocks_load_facts(struct store *store, struct block_entry *entry, struct fm_why *why)
{
    struct store_block *block = &entry->block;
    struct local_facts facts;
    struct fm_buf text;
    fm_buf_init(&text, BLOCKS_META_BYTES_MAX);
    int rc = blocks_read_file(store, block->path, "local.json", &text, why);
    if (rc == FM_OK)
        rc = local_parse(fm_buf_slice(&text), &facts, why);
    if (rc == FM_OK) {
        block->first_lsn = facts.first_lsn;
        block->last_lsn = facts.last_lsn;
        block->span_count = facts.span_count;
        block->sealed_unix_ns = facts.sealed_unix_ns;
        block->account = facts.account;
        entry->has_steady_time = facts.sealed_steady_ns != 0;
        entry->sealed_steady_ns =
            facts.sealed_steady_ns ? facts.sealed_steady_ns : facts.sealed_unix_ns;
        rc = blocks_read_file(store, block->path, "meta.json", &text, why);
        if (rc == FM_ENOTFOUND) {
            rc = FM_NONE;
        } else if (rc == FM_OK) {
            entry->disk_bytes = text.len;
            rc = block_meta_parse(fm_buf_slice(&text), &block->meta, why);
        }
    }
    fm_buf_fini(&text);
    return rc;
}

static int blocks_load_sizes(struct store *store, struct block_entry *entry, struct fm_why *why)
{
    struct store_block *block = &entry->block;
    uint64_t size;
    int rc = blocks_file_size(store, block->path, "data.parquet", &size, why);
    if (rc < 0)
        return rc;
    if (size != block->meta.size_bytes)
        return fm_fail(why, FM_ECORRUPT, "data.parquet has %llu bytes, meta.json says %llu",
                       (unsigned long long)size, (unsigned long long)block->meta.size_bytes);
    entry->disk_bytes += size;
    rc = blocks_file_size(store, block->path, "bloom-0", &size, why);
    if (rc < 0)
        return rc;
    entry->disk_bytes += size * block->meta.bloom_shard_count;
    entry->is_uploaded = blocks_file_size(store, block->path, "uploaded", &size, NULL) == FM_OK;
    decide_load(store, entry);
    return FM_OK;
}

static int blocks_load_entry(struct store *store, struct tenant *tenant, const struct block_id *id,
                             struct block_entry *entry, struct fm_why *why)
{
    struct store_block *block = &entry->block;
    int rc = blocks_load_facts(store, entry, why);
    if (rc < 0)
        return rc;
    if (rc == FM_NONE) {
        rc = cover_add(tenant, block->first_lsn, block->last_lsn);
        if (rc == FM_OK)
            rc = keep_add_tombstone(store, block->path, block->last_lsn);
        return rc < 0 ? rc : FM_NONE;
    }
    if (memcmp(id, &block->meta.id, sizeof *id) != 0 ||
        strcmp(block->meta.tenant, tenant->name) != 0)
        return fm_fail(why, FM_ECORRUPT, "meta.json is that of another block");
    return blocks_load_sizes(store, entry, why);
}

/* Two attempts at the same range can both have survived a crash: the larger one stays.  NULL: there
 * is none. */
static const struct block_entry *blocks_larger(const struct tenant *tenant,
                                               const struct block_entry *entry)
{
    for (size_t i = 0; i < tenant->block_count; i++) {
        const struct store_block *other = &tenant->blocks[i]->block;
        if (other->first_lsn <= entry->block.first_lsn && other->last_lsn >= entry->block.last_lsn)
            return tenant->blocks[i];
    }
    return NULL;
}

int block_retire(struct platform *platform, const char *path)
{
    char meta[STORE_PATH_BYTES];
    int len = snprintf(meta, sizeof meta, "%s/meta.json", path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof meta);
    int rc = platform->ops->unlink(platform, meta, NULL);
    if (rc == FM_OK || rc == FM_ENOTFOUND)
        rc = platform->ops->sync_dir(platform, path, NULL);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

/* What a merge that was cut short has left is no surprise. */
static int blocks_set_aside(struct store *store, const struct block_entry *entry,
                            const struct block_entry *larger)
{
    const struct store_block *block = &entry->block;
    if (larger->block.meta.compaction_level > block->meta.compaction_level &&
        block_retire(store->platform, block->path) == FM_OK)
        return keep_add_tombstone(store, block->path, block->last_lsn);
    log_warn("block.redundant", "path=%s another block covers the same records", block->path);
    (void)store_quarantine(store, block->path, "another block covers its records");
    return FM_OK;
}

static int blocks_load_one(struct store *store, struct tenant *tenant, const char *name)
{
    struct block_id id;
    struct block_entry *entry;
    struct fm_why why = {""};
    if (block_id_parse(fm_slice_text(name), &id) < 0)
        return FM_OK; /* foreign */
    int rc = block_entry_new(store, &entry);
    if (rc < 0)
        return rc;
    int len = snprintf(entry->block.path, sizeof entry->block.path, "%s/blocks/%s/%s",
                       store->data_dir, tenant->name, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof entry->block.path);
    rc = blocks_load_entry(store, tenant, &id, entry, &why);
    if (rc == FM_OK)
        rc = blocks_add(store, tenant, entry);
    if (rc == FM_OK)
        return FM_OK;
    if (rc == FM_ENOMEM || rc == FM_NONE) {
        block_entry_free(store, entry);
        return rc == FM_NONE ? FM_OK : rc;
    }
    /* An empty directory is a deletion that a crash cut short. */
    if (rc != FM_ENOTFOUND ||
        store->platform->ops->remove_dir(store->platform, entry->block.path, NULL) < 0) {
        metric_add(&store->metrics.blocks_quarantined, 1);
        log_error("block.unreadable", "path=%s why=\"%s\"", entry->block.path, why.text);
        store->book.is_unsure |= rc == FM_EIO;
        if (rc != FM_EIO) {
            book_set_aside(store, tenant, entry);
            (void)store_quarantine(store, entry->block.path, why.text);
        }
    }
    block_entry_free(store, entry);
    return FM_OK;
}

struct name_list { /* names of one directory */
    struct fm_arena arena;
    const char **names; /* owned */
    size_t count, capacity;
    bool want_directories;
    bool failed;
};

static int name_list_visit(void *self, const char *name, bool is_directory)
{
    struct name_list *list = self;
    if (is_directory != list->want_directories)
        return FM_OK;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        const char **grown = realloc(list->names, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count] = fm_arena_dup(&list->arena, name, strlen(name) + 1);
    return list->names[list->count++] ? FM_OK : FM_ENOMEM;
}

static int name_list_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int name_list_read(struct name_list *list, struct store *store, const char *path,
                          struct fm_why *why)
{
    *list = (struct name_list){.want_directories = true};
    fm_arena_init(&list->arena, SIZE_MAX / 4);
    int rc = store->platform->ops->list(store->platform, path, name_list_visit, list, why);
    if (rc == FM_OK && list->count)
        qsort(list->names, list->count, sizeof *list->names, name_list_compare);
    return rc;
}

static void name_list_fini(struct name_list *list)
{
    fm_arena_fini(&list->arena);
    free(list->names);
}

static int blocks_load_tenant(struct store *store, const char *name, struct fm_why *why)
{
    struct tenant *tenant;
    struct name_list list;
    char path[STORE_PATH_BYTES];
    if (name[0] == '.' || !tenant_is_valid(fm_slice_text(name)))
        return FM_OK; /* .tmp, or foreign */
    int rc = tenant_get(store, fm_slice_text(name), &tenant);
    if (rc < 0)
        return rc;
    store_path(store, path, "blocks/%s", name);
    rc = name_list_read(&list, store, path, why);
    /* A block renamed by a process that died before its sync is announced now: it must not be gone
     * after the next power cut.  A file system that takes no sync takes no marker either. */
    if (rc == FM_OK)
        (void)store->platform->ops->sync_dir(store->platform, path, NULL);
    for (size_t i = 0; rc == FM_OK && i < list.count; i++)
        rc = blocks_load_one(store, tenant, list.names[i]);
    name_list_fini(&list);
    if (rc < 0)
        return rc;
    for (size_t i = tenant->block_count; i-- > 0;) {
        struct block_entry *entry = tenant->blocks[i];
        memmove(&tenant->blocks[i], &tenant->blocks[i + 1],
                (tenant->block_count - i - 1) * sizeof(struct block_entry *));
        tenant->block_count--;
        fm_list_remove(&entry->link);
        const struct block_entry *larger = blocks_larger(tenant, entry);
        if (larger) {
            rc = blocks_set_aside(store, entry, larger);
            block_entry_free(store, entry);
            if (rc < 0)
                return rc;
            continue;
        }
        rc = blocks_add(store, tenant, entry);
        if (rc == FM_OK)
            rc = cover_add(tenant, entry->block.first_lsn, entry->block.last_lsn);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

int blocks_load(struct store *store, struct fm_why *why)
{
    struct name_list list;
    char path[STORE_PATH_BYTES];
    store_path(store, path, "blocks");
    int rc = name_list_read(&list, store, path, why);
    for (size_t i = 0; rc == FM_OK && i < list.count; i++)
        rc = blocks_load_tenant(store, list.names[i], why);
    name_list_fini(&list);
    return rc;
}
