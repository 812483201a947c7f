/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept in memory.  Entries are immutable and counted, so whoever found one reads it without
 * the lock, and what is evicted lives until its last reader is through. */
#include <stdio.h>
#include <stdlib.h>

#include "fermata/hash.h"
#include "internal.h"

void bucket_cache_init(struct bucket_cache *cache, size_t bytes_max, uint64_t seed)
{
    for (size_t i = 0; i < BUCKET_CHAINS; i++)
        fm_list_init(&cache->chains[i]);
    fm_list_init(&cache->line);
    cache->lock = PF_LOCK_INIT;
    cache->bytes = 0;
    cache->bytes_max = bytes_max;
    cache->seed = seed;
    cache->disk = NULL;
}

void bucket_kept_release(struct bucket_kept *kept)
{
    if (kept && atomic_fetch_sub(&kept->refs, 1) == 1)
        free(kept);
}

static size_t kept_bytes(const struct bucket_kept *kept)
{
    return sizeof *kept + kept->len;
}

/* Out of the cache; the caller has the lock and gives the cache's reference back without it. */
static void cache_unlink(struct bucket_cache *cache, struct bucket_kept *kept)
{
    fm_list_remove(&kept->chain);
    fm_list_remove(&kept->line);
    cache->bytes -= kept_bytes(kept);
}

void bucket_cache_fini(struct bucket_cache *cache)
{
    while (!fm_list_empty(&cache->line)) {
        struct bucket_kept *kept = FM_CONTAINER(cache->line.next, struct bucket_kept, line);
        cache_unlink(cache, kept);
        bucket_kept_release(kept);
    }
    cache->disk = bucket_disk_free(cache->disk);
}

static uint64_t cache_hash(const struct bucket_cache *cache, const char *key)
{
    return fm_hash64(fm_slice_text(key), cache->seed);
}

/* Under the lock. */
static struct bucket_kept *cache_look(struct bucket_cache *cache, uint64_t hash, const char *key)
{
    struct fm_link *chain = &cache->chains[hash % BUCKET_CHAINS];
    for (struct fm_link *at = chain->next; at != chain; at = at->next) {
        struct bucket_kept *kept = FM_CONTAINER(at, struct bucket_kept, chain);
        if (kept->hash == hash && strcmp(kept->key, key) == 0)
            return kept;
    }
    return NULL;
}

/* With a reference for the caller besides the cache's. */
static struct bucket_kept *cache_add(struct bucket_cache *cache, const char *key,
                                     struct fm_slice content)
{
    struct bucket_kept *kept = malloc(sizeof *kept + content.len);
    struct fm_link evicted;
    if (!kept)
        return NULL;
    fm_list_init(&evicted);
    atomic_init(&kept->refs, 1);
    kept->hash = cache_hash(cache, key);
    kept->len = content.len;
    (void)snprintf(kept->key, sizeof kept->key, "%s", key);
    if (content.len)
        memcpy(kept->bytes, content.ptr, content.len);
    if (kept_bytes(kept) > cache->bytes_max / 4)
        return kept; /* it would push out too much */

    pf_lock(&cache->lock);
    struct bucket_kept *before = cache_look(cache, kept->hash, key);
    if (before) {
        cache_unlink(cache, before);
        fm_list_append(&evicted, &before->line);
    }
    atomic_fetch_add(&kept->refs, 1);
    fm_list_append(&cache->chains[kept->hash % BUCKET_CHAINS], &kept->chain);
    fm_list_append(&cache->line, &kept->line);
    cache->bytes += kept_bytes(kept);
    while (cache->bytes > cache->bytes_max) {
        struct bucket_kept *oldest = FM_CONTAINER(cache->line.next, struct bucket_kept, line);
        cache_unlink(cache, oldest);
        fm_list_append(&evicted, &oldest->line);
        metric_add(&cache->evicted, 1);
    }
    pf_unlock(&cache->lock);
    while (!fm_list_empty(&evicted)) {
        struct bucket_kept *old = FM_CONTAINER(evicted.next, struct bucket_kept, line);
        fm_list_remove(&old->line);
        bucket_kept_release(old);
    }
    return kept;
}

static struct bucket_kept *cache_find_on_disk(struct bucket_cache *cache, const char *key)
{
    struct bucket_kept *kept = NULL;
    struct fm_buf content;
    fm_buf_init(&content, BUCKET_BLOOM_MAX);
    if (bucket_disk_get(cache->disk, key, &content) == FM_OK)
        kept = cache_add(cache, key, fm_buf_slice(&content));
    fm_buf_fini(&content);
    return kept;
}

struct bucket_kept *bucket_cache_find(struct bucket_cache *cache, enum bucket_kind kind,
                                      const char *key)
{
    uint64_t hash = cache_hash(cache, key);
    pf_lock(&cache->lock);
    struct bucket_kept *kept = cache_look(cache, hash, key);
    if (kept) {
        fm_list_remove(&kept->line);
        fm_list_append(&cache->line, &kept->line);
        atomic_fetch_add(&kept->refs, 1);
    }
    pf_unlock(&cache->lock);
    if (kept) {
        metric_add(&cache->hits[kind], 1);
        return kept;
    }
    if (cache->disk && kind != BUCKET_DATA)
        kept = cache_find_on_disk(cache, key);
    metric_add(kept ? &cache->disk_hits[kind] : &cache->misses[kind], 1);
    return kept;
}

struct bucket_kept *bucket_cache_keep(struct bucket_cache *cache, enum bucket_kind kind,
                                      const char *key, struct fm_slice content)
{
    if (cache->disk && kind != BUCKET_DATA)
        bucket_disk_put(cache->disk, key, content);
    return cache_add(cache, key, content);
}
