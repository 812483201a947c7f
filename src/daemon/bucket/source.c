/* SPDX-License-Identifier: Apache-2.0 */
/* data.parquet by ranges: in chunks that are kept, several in one request where several are needed
 * or where reading has gone on in one direction.  All pieces come from one version of the object,
 * or the reading fails. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define SOURCE_RUN_MAX   FM_MIB(4) /* of one request */
#define SOURCE_AHEAD_MAX 8u        /* chunks */

struct bucket_source {
    struct bucket_reader *reader;
    struct bucket_budget *budget;
    uint64_t size, footer_from; /* chunks from here on are kept on disk, too */
    uint64_t read_end;          /* where the last reading stopped */
    uint64_t ahead;             /* chunks to fetch beyond what is needed */
    char key[BUCKET_KEY_MAX - 120];
    char version[72];      /* by the listing, "" if it does not say; a part of what is kept's key */
    char etag[72];         /* likewise, or as the first answer said */
    struct pf_source file; /* of a directory */
    struct fm_source inner;
    bool is_file;
    struct fm_why why;
};

static void source_chunk_key(const struct bucket_source *source, uint64_t chunk,
                             char key[BUCKET_KEY_MAX])
{
    (void)snprintf(key, BUCKET_KEY_MAX, "%s@%llu %s", source->key, (unsigned long long)chunk,
                   source->version);
}

static enum bucket_kind source_chunk_kind(const struct bucket_source *source, uint64_t chunk)
{
    return (chunk + 1) * BUCKET_CHUNK_BYTES > source->footer_from ? BUCKET_FOOTER : BUCKET_DATA;
}

static struct bucket_kept *source_find(struct bucket_source *source, uint64_t chunk)
{
    char key[BUCKET_KEY_MAX];
    source_chunk_key(source, chunk, key);
    return bucket_cache_find(&source->reader->cache, source_chunk_kind(source, chunk), key);
}

/* Copies what of the chunk is asked for. */
static void source_copy(uint64_t chunk, struct fm_slice content, uint64_t offset, uint8_t *target,
                        size_t len)
{
    uint64_t begin = chunk * BUCKET_CHUNK_BYTES;
    uint64_t from = FM_MAX(begin, offset);
    uint64_t to = FM_MIN(begin + content.len, offset + len);
    if (from < to)
        memcpy(target + (from - offset), content.ptr + (from - begin), (size_t)(to - from));
}

/* Keeps the chunks of a piece that begins with the first; the target gets its share. */
static void source_take(struct bucket_source *source, uint64_t first, struct fm_slice piece,
                        uint64_t offset, uint8_t *target, size_t len)
{
    char key[BUCKET_KEY_MAX];
    for (uint64_t chunk = first; piece.len; chunk++) {
        struct fm_slice content = fm_slice(piece.ptr, FM_MIN(piece.len, BUCKET_CHUNK_BYTES));
        source_copy(chunk, content, offset, target, len);
        source_chunk_key(source, chunk, key);
        bucket_kept_release(bucket_cache_keep(&source->reader->cache,
                                              source_chunk_kind(source, chunk), key, content));
        piece = fm_slice(piece.ptr + content.len, piece.len - content.len);
    }
}

/* Chunks from first to last, both included, in one request. */
static int source_fetch(struct bucket_source *source, uint64_t first, uint64_t last,
                        uint64_t offset, uint8_t *target, size_t len)
{
    struct bucket_get *get = calloc(1, sizeof *get);
    uint64_t begin = first * BUCKET_CHUNK_BYTES;
    if (!get)
        return FM_ENOMEM;
    get->key = source->key;
    get->etag = source->etag;
    get->first = begin;
    get->len = FM_MIN((last + 1) * BUCKET_CHUNK_BYTES, source->size) - begin;
    get->bytes_max = (size_t)get->len;
    bucket_get_start(get, source->reader, source->budget);
    int rc = bucket_get_end(get, source->reader, source->budget);
    if (rc == FM_OK) {
        if (!source->etag[0])
            memcpy(source->etag, get->ret_etag, sizeof source->etag);
        source_take(source, first, fm_buf_slice(&get->body), offset, target, len);
    } else {
        source->why = get->why;
    }
    bucket_get_fini(get);
    free(get);
    return rc;
}

/* The last chunk of the request that begins with the first. */
static uint64_t source_run(struct bucket_source *source, uint64_t first, uint64_t needed_last,
                           bool goes_on)
{
    uint64_t object_last = (source->size - 1) / BUCKET_CHUNK_BYTES;
    uint64_t last = first;
    while (last < needed_last && (last + 1 - first) * BUCKET_CHUNK_BYTES < SOURCE_RUN_MAX) {
        struct bucket_kept *kept = source_find(source, last + 1);
        bucket_kept_release(kept);
        if (kept)
            return last;
        last++;
    }
    source->ahead = goes_on ? FM_MIN(2 * source->ahead + 1, SOURCE_AHEAD_MAX) : 0;
    if (last == needed_last && first != 0) {
        uint64_t wanted = FM_MIN(last + source->ahead, object_last);
        metric_add(&source->reader->read_ahead_bytes, (wanted - last) * BUCKET_CHUNK_BYTES);
        last = wanted;
    }
    return last;
}

static int source_read_at(void *self, uint64_t offset, void *target, size_t len)
{
    struct bucket_source *source = self;
    if (!len)
        return FM_OK;
    if (offset > source->size || len > source->size - offset)
        return FM_ECORRUPT;
    uint64_t needed_last = (offset + len - 1) / BUCKET_CHUNK_BYTES;
    bool goes_on = offset == source->read_end;
    source->read_end = offset + len;
    for (uint64_t chunk = offset / BUCKET_CHUNK_BYTES; chunk <= needed_last;) {
        struct bucket_kept *kept = source_find(source, chunk);
        if (kept) {
            source_copy(chunk, fm_slice(kept->bytes, kept->len), offset, target, len);
            bucket_kept_release(kept);
            chunk++;
            continue;
        }
        uint64_t last = source_run(source, chunk, needed_last, goes_on);
        int rc = source_fetch(source, chunk, last, offset, target, len);
        if (rc < 0)
            return rc;
        chunk = last + 1;
    }
    return FM_OK;
}

/* ---- opening ---- */

static int source_open(struct bucket_source *source, struct fm_source *data, struct fm_why *why)
{
    char path[1400];
    if (!source->reader->dir) {
        *data = (struct fm_source){source_read_at, source, source->size};
        return FM_OK;
    }
    (void)snprintf(path, sizeof path, "%s/%s", source->reader->dir, source->key);
    int rc = pf_source_open(&source->file, source->reader->platform, path, data, why);
    source->is_file = rc == FM_OK;
    return rc;
}

static void source_free(struct bucket_source *source)
{
    if (source->is_file)
        pf_source_close(&source->file);
    free(source);
}

int bucket_opened_init(struct bucket_opened *opened, struct bucket_reader *reader,
                       const struct bucket_list *list, size_t index, struct bucket_budget *budget,
                       struct fm_why *why)
{
    const struct bucket_block *block = &list->blocks[index];
    struct bucket_source *source = calloc(1, sizeof *source);
    char key[BUCKET_KEY_MAX];
    struct fm_source data;
    if (!source)
        return FM_ENOMEM;
    bucket_key(key, list->tenant, &block->meta.id, "data.parquet");
    FM_ASSERT(strlen(key) < sizeof source->key);
    memcpy(source->key, key, strlen(key));
    memcpy(source->etag, block->etag, sizeof source->etag);
    memcpy(source->version, block->etag, sizeof source->version);
    source->reader = reader;
    source->budget = budget;
    source->size = block->meta.size_bytes;
    source->footer_from = source->size - FM_MIN(source->size, block->meta.footer_bytes + 8u);
    source->read_end = UINT64_MAX;
    int rc = source->size ? source_open(source, &data, why)
                          : fm_fail(why, FM_ECORRUPT, "%s: meta.json says no size", key);
    if (rc == FM_OK) {
        rc = block_open(&opened->block, data, &block->meta, why);
        if (rc < 0 && source->why.text[0] && why)
            *why = source->why;
        else if (rc < 0)
            rc = fm_wrap(why, rc, "%s", key);
    }
    if (rc == FM_ENOTFOUND || rc == FM_ECORRUPT)
        bucket_listing_forget(reader, list->tenant);
    if (rc < 0) {
        source_free(source);
        return rc == FM_EMALFORMED ? FM_ECORRUPT : rc; /* the block is to blame */
    }
    opened->source = source;
    return FM_OK;
}

void bucket_opened_fini(struct bucket_opened *opened)
{
    opened->block = block_free(opened->block);
    source_free(fm_take(opened->source));
}

/* ---- blooms ---- */

static void bloom_key(const struct bucket_list *list, size_t index, const struct trace_id *id,
                      char key[BUCKET_KEY_MAX])
{
    const struct block_meta *meta = &list->blocks[index].meta;
    char object[32];
    (void)snprintf(object, sizeof object, "bloom-%u", bloom_shard(id, meta->bloom_shard_count));
    bucket_key(key, list->tenant, &meta->id, object);
}

struct bloom_warming {
    const struct bucket_list *list;
    const struct trace_id *id;
};

static bool bloom_key_at(void *self, size_t index, char key[BUCKET_KEY_MAX])
{
    const struct bloom_warming *warming = self;
    bloom_key(warming->list, index, warming->id, key);
    return true;
}

void bucket_list_warm_blooms(struct bucket_reader *reader, const struct bucket_list *list,
                             const struct trace_id *id, struct bucket_budget *budget)
{
    struct bloom_warming warming = {list, id};
    bucket_object_warm(reader, BUCKET_BLOOM, BUCKET_BLOOM_MAX, budget, list->count, bloom_key_at,
                       &warming);
}

int bucket_block_may_have(struct bucket_reader *reader, const struct bucket_list *list,
                          size_t index, const struct trace_id *id, struct bucket_budget *budget,
                          bool *ret_maybe, struct fm_why *why)
{
    struct bucket_kept *kept;
    char key[BUCKET_KEY_MAX];
    bloom_key(list, index, id, key);
    int rc = bucket_object_find(reader, BUCKET_BLOOM, key, BUCKET_BLOOM_MAX, budget, &kept, why);
    if (rc < 0)
        return rc;
    rc = bloom_test(fm_slice(kept->bytes, kept->len), id, ret_maybe);
    bucket_kept_release(kept);
    return rc < 0 ? fm_fail(why, FM_ECORRUPT, "%s: it is no bloom filter", key) : FM_OK;
}
