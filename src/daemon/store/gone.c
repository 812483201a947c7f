/* SPDX-License-Identifier: Apache-2.0 */
/* gone - bloom filters of deleted blocks, so that somebody who asks for a trace can be told what
 * became of it.  They are a byte or so for every trace; moved, not copied; the oldest go. */
#include "gone.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/store_outbox.h"
#include "internal.h"

#define GONE_FILES_MAX 4096u /* of a tenant */
#define GONE_BYTES_MAX FM_MIB(16)
#define GONE_ID_BYTES  36u

/* ---- names ---- */

void gone_name_print(const struct gone_name *gone, char name[GONE_NAME_BYTES])
{
    char id[37];
    block_id_print(&gone->id, id);
    (void)snprintf(name, GONE_NAME_BYTES, "%016llx-%08llx-%08llx-%02x-%s-%s-%u-%u",
                   (unsigned long long)gone->unix_ns,
                   (unsigned long long)(gone->first_unix_ns / FM_NS_PER_S) & 0xffffffff,
                   (unsigned long long)(gone->last_unix_ns / FM_NS_PER_S) & 0xffffffff,
                   gone->receivers, id, gone->end, gone->shard, gone->shard_count);
}

/* digits of hex and a dash. */
static bool gone_take_hex(const char **at, size_t digits, uint64_t *ret_value)
{
    uint8_t bytes[8] = {0};
    size_t len = digits / 2;
    if (strlen(*at) <= digits || (*at)[digits] != '-' ||
        fm_hex_decode(bytes + 8 - len, len, fm_slice(*at, digits)) < 0)
        return false;
    *ret_value = fm_load_be64(bytes);
    *at += digits + 1;
    return true;
}

static bool gone_take_number(const char **at, char end, unsigned *ret_value)
{
    size_t len = strcspn(*at, "-");
    uint64_t value;
    if (!len || len > 4 || (*at)[len] != end || fm_u64_parse(fm_slice(*at, len), &value) < 0)
        return false;
    *ret_value = (unsigned)value;
    *at += len + (end != '\0');
    return true;
}

bool gone_name_parse(const char *name, struct gone_name *ret_gone)
{
    struct gone_name gone = {0};
    uint64_t first_s, last_s, receivers;
    if (!gone_take_hex(&name, 16, &gone.unix_ns) || !gone_take_hex(&name, 8, &first_s) ||
        !gone_take_hex(&name, 8, &last_s) || !gone_take_hex(&name, 2, &receivers))
        return false;
    if (strlen(name) <= GONE_ID_BYTES || name[GONE_ID_BYTES] != '-' ||
        block_id_parse(fm_slice(name, GONE_ID_BYTES), &gone.id) < 0)
        return false;
    name += GONE_ID_BYTES + 1;
    size_t len = strcspn(name, "-");
    if (!len || len >= sizeof gone.end || name[len] != '-')
        return false;
    memcpy(gone.end, name, len);
    name += len + 1;
    if (!gone_take_number(&name, '-', &gone.shard) ||
        !gone_take_number(&name, '\0', &gone.shard_count) || gone.shard >= gone.shard_count)
        return false;
    gone.first_unix_ns = first_s * FM_NS_PER_S;
    gone.last_unix_ns = last_s * FM_NS_PER_S;
    gone.receivers = (uint8_t)receivers;
    *ret_gone = gone;
    return true;
}

void marker_print(const struct block_entry *entry, uint64_t unix_ns, char *text, size_t size)
{
    static const struct block_id nothing;
    bool is_itself = memcmp(&entry->left_as, &nothing, sizeof nothing) == 0;
    char id[37];
    block_id_print(is_itself ? &entry->block.meta.id : &entry->left_as, id);
    (void)snprintf(text, size, "%llu %s\n", (unsigned long long)unix_ns, id);
}

bool marker_next(struct fm_slice *text, uint64_t *ret_unix_ns, struct block_id *ret_id)
{
    const uint8_t *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    if (!end)
        return false;
    struct fm_slice line = fm_slice(text->ptr, (size_t)(end - text->ptr));
    *text = fm_slice(end + 1, text->len - line.len - 1);
    const uint8_t *blank = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
    return blank && line.len == (size_t)(blank - line.ptr) + 1 + GONE_ID_BYTES &&
           block_id_parse(fm_slice(blank + 1, GONE_ID_BYTES), ret_id) == FM_OK &&
           fm_u64_parse(fm_slice(line.ptr, (size_t)(blank - line.ptr)), ret_unix_ns) == FM_OK;
}

/* ---- files ---- */

static const char *gone_end(const struct block_entry *entry)
{
    switch (entry->end) {
    case STORE_END_EXPIRED:
        return "expired";
    case STORE_END_DROPPED:
        return "no_space";
    case STORE_END_CORRUPT:
        return "unreadable";
    case STORE_END_SETTLED:
    case STORE_END_MERGED:
        break;
    }
    return entry->decided.verdict == STORE_NOTHING ? "sampled_out"
           : entry->decided.verdict == STORE_PART  ? "part"
                                                   : "uploaded";
}

static void gone_move(struct store *store, const struct block_entry *entry, const char *end)
{
    const struct store_block *block = &entry->block;
    struct gone_name gone = {
        .unix_ns = pf_wall_ns(store->platform),
        .first_unix_ns = block->account.first_unix_ns,
        .last_unix_ns = block->account.last_unix_ns,
        .receivers = block->account.receivers,
        .id = block->meta.id,
        .shard_count = block->meta.bloom_shard_count,
    };
    char folder[STORE_PATH_BYTES], from[STORE_PATH_BYTES], to[STORE_PATH_BYTES];
    char name[GONE_NAME_BYTES];
    (void)snprintf(gone.end, sizeof gone.end, "%s", end);
    store_path(store, folder, "gone/%s", block->meta.tenant);
    if (pf_make_path(store->platform, folder, NULL) < 0)
        return;
    for (; gone.shard < gone.shard_count; gone.shard++) {
        int len = snprintf(from, sizeof from, "%s/bloom-%u", block->path, gone.shard);
        FM_ASSERT(len > 0 && (size_t)len < sizeof from);
        gone_name_print(&gone, name);
        store_path(store, to, "gone/%s/%s", block->meta.tenant, name);
        store_ignore(store->platform->ops->rename(store->platform, from, to, NULL));
    }
}

void gone_take(struct store *store, const struct block_entry *entry)
{
    if (entry->end != STORE_END_MERGED)
        gone_move(store, entry, gone_end(entry));
}

/* Of the part of a block that leaves the block itself tells. */
void gone_take_outgoing(struct store *store, const struct block_entry *entry)
{
    if (entry->block.lane != STORE_LANE_NORMAL)
        gone_move(store, entry, store_lane_name(entry->block.lane));
}

struct gone_listing {
    struct store *store;
    char folder[STORE_PATH_BYTES];
    char (*names)[GONE_NAME_BYTES]; /* owned */
    size_t count, capacity;
};

static int gone_visit(void *self, const char *name, bool is_directory)
{
    struct gone_listing *listing = self;
    struct gone_name gone;
    if (is_directory || !gone_name_parse(name, &gone))
        return FM_OK;
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity ? listing->capacity * 2 : 64;
        char(*grown)[GONE_NAME_BYTES] = realloc(listing->names, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        listing->names = grown;
        listing->capacity = capacity;
    }
    (void)snprintf(listing->names[listing->count++], GONE_NAME_BYTES, "%s", name);
    return FM_OK;
}

static int gone_compare(const void *a, const void *b)
{
    return strcmp(b, a); /* the newest first */
}

static uint64_t gone_size(struct store *store, const char *path)
{
    struct pf_file *file;
    uint64_t size = 0;
    if (pf_open(store->platform, path, PF_READ, &file, NULL) < 0)
        return 0;
    store_ignore(store->platform->ops->size(file, &size));
    pf_close(store->platform, file);
    return size;
}

static int gone_visit_tenant(void *self, const char *name, bool is_directory)
{
    struct gone_listing listing = {.store = self};
    struct platform *platform = listing.store->platform;
    char path[STORE_PATH_BYTES];
    uint64_t bytes = 0;
    if (!is_directory || !tenant_is_valid(fm_slice_text(name)))
        return FM_OK;
    store_path(listing.store, listing.folder, "gone/%s", name);
    int rc = platform->ops->list(platform, listing.folder, gone_visit, &listing, NULL);
    if (rc == FM_OK && listing.count)
        qsort(listing.names, listing.count, sizeof *listing.names, gone_compare);
    for (size_t i = 0; rc == FM_OK && i < listing.count; i++) {
        store_path(listing.store, path, "gone/%s/%s", name, listing.names[i]);
        bytes += gone_size(listing.store, path);
        if (i >= GONE_FILES_MAX || bytes > GONE_BYTES_MAX)
            store_ignore(platform->ops->unlink(platform, path, NULL));
    }
    free(listing.names);
    return FM_OK;
}

void gone_trim(struct store *store)
{
    char path[STORE_PATH_BYTES];
    store_path(store, path, "gone");
    store_ignore(store->platform->ops->list(store->platform, path, gone_visit_tenant, store, NULL));
}
