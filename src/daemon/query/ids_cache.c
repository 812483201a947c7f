/* SPDX-License-Identifier: Apache-2.0 */
/* ids_cache - ids of blocks, and ids that two blocks share.  Blocks never change, so neither does
 * an entry; only the loop touches the cache and the counts, so that there is no lock. */
#include <stdlib.h>

#include "internal.h"

static size_t ids_entry_bytes(const struct ids_entry *entry)
{
    return sizeof *entry + sizeof *entry->ids + entry->ids->count * sizeof(struct trace_id);
}

static struct ids_entry *ids_entry_free(struct ids_entry *entry)
{
    free(entry->ids);
    free(entry);
    return NULL;
}

void ids_cache_init(struct ids_cache *cache, size_t bytes_max, uint64_t seed)
{
    cache->bytes_max = bytes_max;
    cache->seed = seed;
    fm_list_init(&cache->line);
    for (unsigned i = 0; i < IDS_CHAINS; i++)
        fm_list_init(&cache->chains[i]);
}

static void ids_cache_drop(struct ids_cache *cache, struct ids_entry *entry)
{
    cache->bytes -= ids_entry_bytes(entry);
    fm_list_remove(&entry->chain);
    fm_list_remove(&entry->line);
    entry->is_kept = false;
    if (!entry->refs)
        ids_entry_free(entry);
}

void ids_cache_fini(struct ids_cache *cache)
{
    while (!fm_list_empty(&cache->line))
        ids_cache_drop(cache, FM_CONTAINER(cache->line.next, struct ids_entry, line));
}

static struct fm_link *ids_cache_chain(struct ids_cache *cache, const struct block_id *a,
                                       const struct block_id *b)
{
    uint64_t hash = fm_hash64(fm_slice(a->bytes, sizeof a->bytes), cache->seed);
    if (b)
        hash ^= fm_hash64(fm_slice(b->bytes, sizeof b->bytes), cache->seed); /* in any order */
    return &cache->chains[hash % IDS_CHAINS];
}

static bool block_id_equal(const struct block_id *a, const struct block_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static bool ids_entry_is(const struct ids_entry *entry, const struct block_id *a,
                         const struct block_id *b)
{
    static const struct block_id none;
    if (!b)
        return block_id_equal(&entry->a, a) && block_id_equal(&entry->b, &none);
    return (block_id_equal(&entry->a, a) && block_id_equal(&entry->b, b)) ||
           (block_id_equal(&entry->a, b) && block_id_equal(&entry->b, a));
}

static struct ids_entry *ids_cache_look(struct ids_cache *cache, const struct block_id *a,
                                        const struct block_id *b)
{
    struct fm_link *chain = ids_cache_chain(cache, a, b);
    for (struct fm_link *link = chain->next; link != chain; link = link->next) {
        struct ids_entry *entry = FM_CONTAINER(link, struct ids_entry, chain);
        if (ids_entry_is(entry, a, b))
            return entry;
    }
    return NULL;
}

struct ids_entry *ids_cache_find(struct ids_cache *cache, const struct block_id *a,
                                 const struct block_id *b)
{
    struct ids_entry *entry = ids_cache_look(cache, a, b);
    metric_add(entry ? &cache->hits : &cache->misses, 1);
    if (!entry)
        return NULL;
    fm_list_remove(&entry->line);
    fm_list_append(&cache->line, &entry->line);
    entry->refs++;
    return entry;
}

struct ids_entry *ids_entry_new(const struct block_id *a, const struct block_id *b,
                                struct ask_ids *ids)
{
    struct ids_entry *entry = calloc(1, sizeof *entry);
    if (!entry) {
        free(ids);
        return NULL;
    }
    entry->a = *a;
    if (b)
        entry->b = *b;
    entry->ids = ids;
    entry->refs = 1;
    return entry;
}

static void ids_cache_keep(struct ids_cache *cache, struct ids_entry *entry)
{
    static const struct block_id none;
    const struct block_id *b = block_id_equal(&entry->b, &none) ? NULL : &entry->b;
    if (ids_entry_bytes(entry) > cache->bytes_max / 2 || ids_cache_look(cache, &entry->a, b))
        return;
    fm_list_append(ids_cache_chain(cache, &entry->a, b), &entry->chain);
    fm_list_append(&cache->line, &entry->line);
    entry->is_kept = true;
    cache->bytes += ids_entry_bytes(entry);
    while (cache->bytes > cache->bytes_max)
        ids_cache_drop(cache, FM_CONTAINER(cache->line.next, struct ids_entry, line));
}

void ids_cache_release(struct ids_cache *cache, struct ids_entry *entry)
{
    if (!entry)
        return;
    if (!entry->is_kept)
        ids_cache_keep(cache, entry);
    if (--entry->refs == 0 && !entry->is_kept)
        ids_entry_free(entry);
}
