/* SPDX-License-Identifier: Apache-2.0 */
/* block_cache - what blocks were found to say, between questions.  Blocks never change, so neither
 * does an entry; only the loop touches the cache and the counts, so that there is no lock.  What
 * was not asked for the longest time goes first, and with a block all that was kept of it. */
#include <stdlib.h>

#include "internal.h"

#define ENTRY_SHARE 2u /* of the cache that one entry may have */

/* ---- entries ---- */

static size_t cache_entry_bytes(const struct cache_entry *entry)
{
    return sizeof *entry + entry->what_len + entry->held_bytes;
}

static void cache_entry_free(struct cache_entry *entry)
{
    free(entry->held);
    free(entry);
}

struct cache_entry *cache_entry_new(const struct cache_key *key, void *held, size_t held_bytes)
{
    struct cache_entry *entry = calloc(1, sizeof *entry + key->what.len);
    if (!entry) {
        free(held);
        return NULL;
    }
    entry->a = *key->a;
    if (key->b)
        entry->b = *key->b;
    entry->held = held;
    entry->held_bytes = held_bytes;
    entry->refs = 1;
    entry->what_len = key->what.len;
    if (key->what.len)
        memcpy(entry->what, key->what.ptr, key->what.len);
    return entry;
}

static bool block_id_equal(const struct block_id *a, const struct block_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static const struct block_id block_id_none;

static struct cache_key cache_entry_key(const struct cache_entry *entry)
{
    return (struct cache_key){
        .a = &entry->a,
        .b = block_id_equal(&entry->b, &block_id_none) ? NULL : &entry->b,
        .what = fm_slice(entry->what, entry->what_len),
    };
}

static bool cache_entry_is(const struct cache_entry *entry, const struct cache_key *key)
{
    const struct block_id *b = key->b ? key->b : &block_id_none;
    if (!fm_slice_equal(fm_slice(entry->what, entry->what_len), key->what))
        return false;
    return (block_id_equal(&entry->a, key->a) && block_id_equal(&entry->b, b)) ||
           (block_id_equal(&entry->a, b) && block_id_equal(&entry->b, key->a));
}

/* ---- the cache ---- */

void block_cache_init(struct block_cache *cache, size_t bytes_max, uint64_t seed)
{
    cache->bytes_max = bytes_max;
    cache->seed = seed;
    fm_list_init(&cache->line);
    for (unsigned i = 0; i < BLOCK_CACHE_CHAINS; i++)
        fm_list_init(&cache->chains[i]);
}

static void block_cache_drop(struct block_cache *cache, struct cache_entry *entry)
{
    cache->bytes -= cache_entry_bytes(entry);
    fm_list_remove(&entry->chain);
    fm_list_remove(&entry->line);
    entry->is_kept = false;
    if (!entry->refs)
        cache_entry_free(entry);
}

void block_cache_fini(struct block_cache *cache)
{
    while (!fm_list_empty(&cache->line))
        block_cache_drop(cache, FM_CONTAINER(cache->line.next, struct cache_entry, line));
}

static struct fm_link *block_cache_chain(struct block_cache *cache, const struct cache_key *key)
{
    uint64_t hash = fm_hash64(fm_slice(key->a->bytes, sizeof key->a->bytes), cache->seed);
    if (key->b) /* in any order */
        hash ^= fm_hash64(fm_slice(key->b->bytes, sizeof key->b->bytes), cache->seed);
    hash ^= fm_hash64(key->what, ~cache->seed);
    return &cache->chains[hash % BLOCK_CACHE_CHAINS];
}

static struct cache_entry *block_cache_look(struct block_cache *cache, const struct cache_key *key)
{
    struct fm_link *chain = block_cache_chain(cache, key);
    for (struct fm_link *link = chain->next; link != chain; link = link->next) {
        struct cache_entry *entry = FM_CONTAINER(link, struct cache_entry, chain);
        if (cache_entry_is(entry, key))
            return entry;
    }
    return NULL;
}

struct cache_entry *block_cache_find(struct block_cache *cache, const struct cache_key *key)
{
    struct cache_entry *entry = block_cache_look(cache, key);
    metric_add(entry ? &cache->hits : &cache->misses, 1);
    if (!entry)
        return NULL;
    fm_list_remove(&entry->line);
    fm_list_append(&cache->line, &entry->line);
    entry->refs++;
    return entry;
}

static void block_cache_keep(struct block_cache *cache, struct cache_entry *entry)
{
    const struct cache_key key = cache_entry_key(entry);
    if (cache_entry_bytes(entry) > cache->bytes_max / ENTRY_SHARE || block_cache_look(cache, &key))
        return;
    fm_list_append(block_cache_chain(cache, &key), &entry->chain);
    fm_list_append(&cache->line, &entry->line);
    entry->is_kept = true;
    cache->bytes += cache_entry_bytes(entry);
    while (cache->bytes > cache->bytes_max) {
        metric_add(&cache->evictions, 1);
        block_cache_drop(cache, FM_CONTAINER(cache->line.next, struct cache_entry, line));
    }
}

void block_cache_release(struct block_cache *cache, struct cache_entry *entry)
{
    if (!entry)
        return;
    if (!entry->is_kept)
        block_cache_keep(cache, entry);
    if (--entry->refs == 0 && !entry->is_kept)
        cache_entry_free(entry);
}

void block_cache_forget(struct block_cache *cache, const struct block_id *id)
{
    for (struct fm_link *link = cache->line.next, *next; link != &cache->line; link = next) {
        struct cache_entry *entry = FM_CONTAINER(link, struct cache_entry, line);
        next = link->next;
        if (block_id_equal(&entry->a, id) || block_id_equal(&entry->b, id)) {
            metric_add(&cache->evictions, 1);
            block_cache_drop(cache, entry);
        }
    }
}
