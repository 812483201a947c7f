/* SPDX-License-Identifier: Apache-2.0 */
/* vector_cache - what is kept is immutable and counted, so whoever found it reads it without the
 * lock, and what is pushed out lives until its last reader is through.  Of what is not kept the
 * names are remembered, with how much of it was decoded and when. */
#include "vector_cache.h"

#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"

#define VECTOR_SHARE       4u /* of the cache that one entry may have */
#define VECTOR_NAMES_SHARE 16u
#define VECTOR_ENOUGH      (BLOCK_KEEP_WHOLE - BLOCK_KEEP_WHOLE / 16) /* shares are rounded down */

struct vector_entry {
    struct fm_link chain; /* of its hash */
    struct fm_link line;  /* of the cache's line, or of names */
    struct block_id block;
    struct block_kept *kept; /* a reference; NULL: not kept */
    uint64_t asked;          /* clock: found, or else missed, for the last time */
    unsigned decoded;        /* while it is not kept, in parts of BLOCK_KEEP_WHOLE */
    bool is_making;
    size_t need; /* bytes that there was no room for; 0: not known, SIZE_MAX: cannot be made */
    size_t what_len;
    uint8_t what[];
};

static void cache_release(struct block_keep *keep, struct block_kept *kept)
{
    (void)keep;
    if (kept && atomic_fetch_sub(&kept->refs, 1) == 1)
        free(kept);
}

/* ---- entries; under the lock ---- */

static size_t entry_bytes(const struct vector_entry *entry)
{
    return sizeof *entry + entry->what_len + (entry->kept ? entry->kept->bytes : 0);
}

/* Out of all lists; what it kept is the caller's to release. */
static void cache_unlink(struct vector_cache *cache, struct vector_entry *entry)
{
    fm_list_remove(&entry->chain);
    fm_list_remove(&entry->line);
    cache->bytes -= entry_bytes(entry);
    if (!entry->kept)
        cache->name_bytes -= entry_bytes(entry);
}

static void cache_drop(struct vector_cache *cache, struct vector_entry *entry)
{
    cache_unlink(cache, entry);
    cache_release(&cache->keep, entry->kept);
    free(entry);
}

static struct fm_link *cache_chain(const struct vector_cache *cache,
                                   const struct block_keep_key *key)
{
    uint64_t hash = fm_hash64(fm_slice(key->block->bytes, sizeof key->block->bytes), cache->seed) ^
                    fm_hash64(key->what, ~cache->seed);
    return &cache->chains[hash % VECTOR_CACHE_CHAINS];
}

static struct vector_entry *cache_look(const struct vector_cache *cache,
                                       const struct block_keep_key *key)
{
    struct fm_link *chain = cache_chain(cache, key);
    for (struct fm_link *link = chain->next; link != chain; link = link->next) {
        struct vector_entry *entry = FM_CONTAINER(link, struct vector_entry, chain);
        if (memcmp(&entry->block, key->block, sizeof entry->block) == 0 &&
            fm_slice_equal(fm_slice(entry->what, entry->what_len), key->what))
            return entry;
    }
    return NULL;
}

/* Of names; the others have the rest. */
static size_t cache_name_bytes_max(const struct vector_cache *cache)
{
    return cache->bytes_max / VECTOR_NAMES_SHARE;
}

/* Its name, new if it is not known; NULL: no memory. */
static struct vector_entry *cache_name(struct vector_cache *cache, const struct block_keep_key *key)
{
    struct vector_entry *entry = cache_look(cache, key);
    size_t bytes = sizeof *entry + key->what.len;
    if (entry)
        return entry;
    while (cache->name_bytes && cache->name_bytes + bytes > cache_name_bytes_max(cache))
        cache_drop(cache, FM_CONTAINER(cache->names.next, struct vector_entry, line));
    entry = bytes <= cache_name_bytes_max(cache) ? calloc(1, bytes) : NULL;
    if (!entry)
        return NULL;
    entry->block = *key->block;
    entry->what_len = key->what.len;
    if (key->what.len)
        memcpy(entry->what, key->what.ptr, key->what.len);
    fm_list_append(cache_chain(cache, key), &entry->chain);
    fm_list_append(&cache->names, &entry->line);
    cache->bytes += bytes;
    cache->name_bytes += bytes;
    return entry;
}

/* What is not taken, of what names leave. */
static size_t cache_room(const struct vector_cache *cache)
{
    size_t max = cache->bytes_max - cache_name_bytes_max(cache);
    size_t used = metric_get(&cache->bytes) - cache->name_bytes;
    return max - FM_MIN(used, max);
}

/* Whether room for bytes is there, or can be had from what nobody asked for since the entry was
 * last missed. */
static bool cache_has_room(const struct vector_cache *cache, const struct vector_entry *entry,
                           size_t bytes)
{
    size_t room = cache_room(cache);
    if (bytes > cache->bytes_max)
        return false;
    bytes += entry_bytes(entry);
    for (const struct fm_link *link = cache->line.next; link != &cache->line && room < bytes;
         link = link->next) {
        const struct vector_entry *old = FM_CONTAINER(link, struct vector_entry, line);
        if (old->asked >= entry->asked)
            return false;
        room += entry_bytes(old);
    }
    return room >= bytes;
}

static void cache_keep(struct vector_cache *cache, struct vector_entry *entry,
                       struct block_kept *kept)
{
    cache->name_bytes -= entry_bytes(entry);
    cache->bytes -= entry_bytes(entry);
    entry->kept = kept;
    while (cache_room(cache) < entry_bytes(entry)) {
        metric_add(&cache->evictions, 1);
        cache_drop(cache, FM_CONTAINER(cache->line.next, struct vector_entry, line));
    }
    cache->bytes += entry_bytes(entry);
    entry->asked = ++cache->clock;
    atomic_fetch_add(&kept->refs, 1);
    fm_list_remove(&entry->line);
    fm_list_append(&cache->line, &entry->line);
}

/* ---- for sources ---- */

static int cache_find(struct block_keep *keep, const struct block_keep_key *key, bool may_make,
                      struct block_kept **ret_kept)
{
    struct vector_cache *cache = FM_CONTAINER(keep, struct vector_cache, keep);
    int rc = FM_NONE;
    pf_lock(&cache->lock);
    struct vector_entry *entry = cache_look(cache, key);
    if (entry && entry->kept) {
        entry->asked = ++cache->clock;
        fm_list_remove(&entry->line);
        fm_list_append(&cache->line, &entry->line);
        atomic_fetch_add(&entry->kept->refs, 1);
        *ret_kept = entry->kept;
        rc = FM_OK;
    } else if (entry && may_make && !entry->is_making && entry->decoded >= VECTOR_ENOUGH &&
               cache_has_room(cache, entry, FM_MAX(entry->need, (size_t)1))) {
        entry->is_making = true;
        rc = FM_MORE;
    }
    pf_unlock(&cache->lock);
    metric_add(rc == FM_OK ? &cache->hits : &cache->misses, 1);
    return rc;
}

static void cache_made(struct block_keep *keep, const struct block_keep_key *key,
                       struct block_kept *kept)
{
    struct vector_cache *cache = FM_CONTAINER(keep, struct vector_cache, keep);
    pf_lock(&cache->lock);
    struct vector_entry *entry = cache_name(cache, key);
    if (entry && !entry->kept) {
        entry->is_making = false;
        entry->need = kept ? kept->bytes : SIZE_MAX;
        if (kept && cache_has_room(cache, entry, kept->bytes))
            cache_keep(cache, entry, kept);
    }
    pf_unlock(&cache->lock);
}

static void cache_missed(struct block_keep *keep, const struct block_keep_key *key, unsigned part)
{
    struct vector_cache *cache = FM_CONTAINER(keep, struct vector_cache, keep);
    pf_lock(&cache->lock);
    struct vector_entry *entry = cache_name(cache, key);
    if (entry && !entry->kept) {
        entry->decoded = FM_MIN(entry->decoded + part, BLOCK_KEEP_WHOLE);
        entry->asked = ++cache->clock;
        fm_list_remove(&entry->line);
        fm_list_append(&cache->names, &entry->line);
    }
    pf_unlock(&cache->lock);
}

/* ---- life ---- */

int vector_cache_init(struct vector_cache *cache, size_t bytes_max, uint64_t seed)
{
    *cache = (struct vector_cache){
        .keep = {cache_find, cache_made, cache_release, cache_missed, bytes_max / VECTOR_SHARE},
        .bytes_max = bytes_max,
        .seed = seed,
    };
    cache->lock = PF_LOCK_INIT;
    fm_list_init(&cache->line);
    fm_list_init(&cache->names);
    if (!bytes_max)
        return FM_OK;
    cache->chains = calloc(VECTOR_CACHE_CHAINS, sizeof *cache->chains);
    if (!cache->chains)
        return FM_ENOMEM;
    for (unsigned i = 0; i < VECTOR_CACHE_CHAINS; i++)
        fm_list_init(&cache->chains[i]);
    return FM_OK;
}

static void cache_drop_all(struct vector_cache *cache, struct fm_link *list,
                           const struct block_id *id)
{
    for (struct fm_link *link = list->next, *next; link != list; link = next) {
        struct vector_entry *entry = FM_CONTAINER(link, struct vector_entry, line);
        next = link->next;
        if (!id || memcmp(&entry->block, id, sizeof *id) == 0)
            cache_drop(cache, entry);
    }
}

void vector_cache_fini(struct vector_cache *cache)
{
    cache_drop_all(cache, &cache->line, NULL);
    cache_drop_all(cache, &cache->names, NULL);
    free(fm_take(cache->chains));
}

struct block_keep *vector_cache_keep(struct vector_cache *cache)
{
    return cache->chains ? &cache->keep : NULL;
}

void vector_cache_forget(struct vector_cache *cache, const struct block_id *id)
{
    if (!cache->chains)
        return;
    pf_lock(&cache->lock);
    cache_drop_all(cache, &cache->line, id);
    cache_drop_all(cache, &cache->names, id);
    pf_unlock(&cache->lock);
}

void vector_cache_put_metrics(const struct vector_cache *cache, struct fm_buf *out)
{
    metric_counter(out, "fermata_query_columns_cache_hits_total",
                   "Columns of blocks that were found decoded.", &cache->hits);
    metric_counter(out, "fermata_query_columns_cache_misses_total",
                   "Columns of blocks that were not found decoded.", &cache->misses);
    metric_counter(out, "fermata_query_columns_cache_evictions_total",
                   "Decoded columns that made room for others.", &cache->evictions);
    metric_gauge(out, "fermata_query_columns_cache_bytes",
                 "Bytes of decoded columns that are kept.", metric_get(&cache->bytes));
}
