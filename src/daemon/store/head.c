/* SPDX-License-Identifier: Apache-2.0 */
/* head - tenants, and for each the index over its records that are in no block yet.
 *
 * A record of the index says where the bytes lie in the log, which traces are in them and how
 * many spans; the spans themselves stay on disk.  Records of a tenant are ordered by LSN, lie in
 * chunks and leave from the front when a block covers them.
 */
#include "internal.h"

#include <stdlib.h>

#define CHUNK_BYTES_MIN 2048u
#define CHUNK_BYTES_MAX 65536u

/* ---- tenants ---- */

/* Position of name, or where it would be. */
static bool tenant_position(const struct store *store, struct fm_slice name, size_t *ret_position)
{
    size_t low = 0, high = store->tenant_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = fm_slice_compare(fm_slice_text(store->tenants[middle]->name), name);
        if (order == 0) {
            *ret_position = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_position = low;
    return false;
}

int tenant_find(struct store *store, struct fm_slice name, struct tenant **ret_tenant)
{
    size_t position;
    if (!tenant_position(store, name, &position))
        return FM_NONE;
    *ret_tenant = store->tenants[position];
    return FM_OK;
}

int tenant_get(struct store *store, struct fm_slice name, struct tenant **ret_tenant)
{
    size_t position;
    if (tenant_position(store, name, &position)) {
        *ret_tenant = store->tenants[position];
        return FM_OK;
    }
    if (!tenant_is_valid(name))
        return FM_EMALFORMED;
    if (store->tenant_count >= STORE_TENANT_MAX)
        return FM_ELIMIT;
    if (store->tenant_count == store->tenant_capacity) {
        size_t capacity = store->tenant_capacity ? store->tenant_capacity * 2 : 8;
        struct tenant **grown = realloc(store->tenants, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        store->tenants = grown;
        store->tenant_capacity = capacity;
    }
    struct tenant *tenant = calloc(1, sizeof *tenant);
    if (!tenant)
        return FM_ENOMEM;
    memcpy(tenant->name, name.ptr, name.len);
    memmove(&store->tenants[position + 1], &store->tenants[position],
            (store->tenant_count - position) * sizeof *store->tenants);
    store->tenants[position] = tenant;
    store->tenant_count++;
    *ret_tenant = tenant;
    return FM_OK;
}

/* ---- chunks ---- */

static struct head_chunk *chunk_new(uint32_t capacity)
{
    struct head_chunk *chunk = malloc(sizeof *chunk + capacity);
    if (chunk) {
        chunk->refs = 1;
        chunk->used = 0;
        chunk->capacity = capacity;
    }
    return chunk;
}

static void chunk_unref(struct head_chunk *chunk)
{
    if (--chunk->refs == 0)
        free(chunk);
}

static uint64_t chunk_bytes(const struct head_chunk *chunk)
{
    return sizeof *chunk + chunk->capacity;
}

uint64_t head_record_bytes(uint32_t key_count)
{
    return sizeof(struct head_record) + key_count * sizeof(uint64_t);
}

static struct head_record *chunk_record(struct head_chunk *chunk, uint32_t position)
{
    return (struct head_record *)(void *)(chunk->data + position);
}

const struct head_record *head_part_next(const struct head_part *part, uint32_t *position)
{
    if (*position >= part->end)
        return NULL;
    const struct head_record *record = chunk_record(part->chunk, *position);
    *position += (uint32_t)head_record_bytes(record->key_count);
    return record;
}

static struct head_part *tenant_last_part(struct tenant *tenant)
{
    return tenant->part_count ? &tenant->parts[tenant->part_first + tenant->part_count - 1] : NULL;
}

static void head_account(struct store *store, struct tenant *tenant, uint64_t added,
                         uint64_t removed)
{
    tenant->memory_bytes = tenant->memory_bytes + added - removed;
    store->head_memory_bytes = store->head_memory_bytes + added - removed;
}

static int tenant_add_part(struct store *store, struct tenant *tenant, uint32_t least)
{
    if (tenant->part_first && tenant->part_first + tenant->part_count == tenant->part_capacity) {
        memmove(tenant->parts, tenant->parts + tenant->part_first,
                tenant->part_count * sizeof *tenant->parts);
        tenant->part_first = 0;
    }
    if (tenant->part_count == tenant->part_capacity) {
        size_t capacity = tenant->part_capacity ? tenant->part_capacity * 2 : 4;
        struct head_part *grown = realloc(tenant->parts, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        tenant->parts = grown;
        tenant->part_capacity = capacity;
    }
    const struct head_part *last = tenant_last_part(tenant);
    uint32_t capacity = last ? FM_MIN(last->chunk->capacity * 2, CHUNK_BYTES_MAX) : CHUNK_BYTES_MIN;
    struct head_chunk *chunk = chunk_new(FM_MAX(capacity, least));
    if (!chunk)
        return FM_ENOMEM;
    tenant->parts[tenant->part_first + tenant->part_count++] = (struct head_part){.chunk = chunk};
    head_account(store, tenant, chunk_bytes(chunk), 0);
    return FM_OK;
}

int head_append(struct store *store, struct tenant *tenant, const struct head_record *record,
                const uint64_t *keys)
{
    uint64_t bytes = head_record_bytes(record->key_count);
    if (bytes > UINT32_MAX / 2)
        return FM_ELIMIT;
    struct head_part *last = tenant_last_part(tenant);
    if (!last || last->chunk->capacity - last->chunk->used < bytes) {
        int rc = tenant_add_part(store, tenant, (uint32_t)bytes);
        if (rc < 0)
            return rc;
        last = tenant_last_part(tenant);
    }
    FM_ASSERT(tenant->record_count == 0 || record->lsn > tenant->last_lsn);
    struct head_record *target = chunk_record(last->chunk, last->chunk->used);
    memcpy(target, record, sizeof *record);
    if (record->key_count)
        memcpy(target->keys, keys, record->key_count * sizeof *keys);
    last->chunk->used += (uint32_t)bytes;
    last->end = last->chunk->used;
    if (tenant->record_count++ == 0) {
        tenant->first_lsn = record->lsn;
        tenant->oldest_ns = pf_now_ns(store->platform);
    }
    tenant->last_lsn = record->lsn;
    tenant->span_count += record->span_count;
    tenant->log_bytes += record->size;
    record->segment->record_count++;
    return FM_OK;
}

static void head_forget_front(struct store *store, struct tenant *tenant)
{
    struct head_chunk *chunk = tenant->parts[tenant->part_first].chunk;
    head_account(store, tenant, 0, chunk_bytes(chunk));
    chunk_unref(chunk);
    tenant->part_first++;
    tenant->part_count--;
}

void head_drop(struct store *store, struct tenant *tenant, uint64_t last_lsn)
{
    while (tenant->part_count) {
        struct head_part *part = &tenant->parts[tenant->part_first];
        uint32_t next = part->begin;
        const struct head_record *record = head_part_next(part, &next);
        if (!record) {
            head_forget_front(store, tenant);
            continue;
        }
        if (record->lsn > last_lsn) {
            tenant->first_lsn = record->lsn;
            return;
        }
        tenant->record_count--;
        tenant->span_count -= record->span_count;
        tenant->log_bytes -= record->size;
        record->segment->record_count--;
        segment_release(store, record->segment);
        part->begin = next;
    }
    FM_ASSERT(tenant->record_count == 0);
}

struct tenant *tenant_free(struct store *store, struct tenant *tenant)
{
    if (!tenant)
        return NULL;
    while (tenant->part_count)
        head_forget_front(store, tenant);
    free(tenant->parts);
    free(tenant->covered);
    free(tenant->blocks);
    free(tenant);
    return NULL;
}

/* ---- changes in place ---- */

static struct head_part *head_part_of(struct tenant *tenant, uint64_t lsn, uint32_t *ret_position)
{
    for (size_t i = tenant->part_count; i-- > 0;) {
        struct head_part *part = &tenant->parts[tenant->part_first + i];
        uint32_t next = part->begin, at = next;
        for (const struct head_record *record; (record = head_part_next(part, &next)); at = next) {
            if (record->lsn == lsn) {
                *ret_position = at;
                return part;
            }
        }
    }
    return NULL;
}

int head_find(struct tenant *tenant, uint64_t lsn, struct head_record **ret_record)
{
    uint32_t position;
    struct head_part *part = head_part_of(tenant, lsn, &position);
    if (!part)
        return FM_NONE;
    *ret_record = chunk_record(part->chunk, position);
    return FM_OK;
}

/* Only the newest records move, all of them and in order: the order by LSN stays. */
int head_move(struct store *store, struct tenant *tenant, uint64_t lsn,
              const struct head_record *place)
{
    uint32_t position;
    struct head_part *part = head_part_of(tenant, lsn, &position);
    if (!part)
        return FM_EIO;
    if (part->chunk->refs > 1) { /* a snapshot reads it */
        struct head_chunk *copy = chunk_new(part->chunk->capacity);
        if (!copy)
            return FM_ENOMEM;
        copy->used = part->chunk->used;
        memcpy(copy->data, part->chunk->data, copy->used);
        chunk_unref(part->chunk);
        part->chunk = copy;
    }
    struct head_record *record = chunk_record(part->chunk, position);
    record->segment->record_count--;
    segment_release(store, record->segment);
    place->segment->record_count++;
    record->segment = place->segment;
    record->offset = place->offset;
    record->lsn = place->lsn;
    tenant->last_lsn = FM_MAX(tenant->last_lsn, place->lsn);
    if (tenant->first_lsn == lsn)
        tenant->first_lsn = place->lsn;
    return FM_OK;
}

/* ---- views ---- */

int head_view_pin(struct store *store, struct head_view *view)
{
    size_t count = 0;
    for (struct fm_link *link = store->segments.next; link != &store->segments; link = link->next)
        count++;
    view->segments = malloc((count + 1) * sizeof(struct segment *));
    if (!view->segments)
        return FM_ENOMEM;
    for (struct fm_link *link = store->segments.next; link != &store->segments; link = link->next) {
        struct segment *segment = FM_CONTAINER(link, struct segment, link);
        segment->pins++;
        view->segments[view->segment_count++] = segment;
    }
    return FM_OK;
}

int head_view_new(struct store *store, const struct tenant *tenant, struct head_view *ret_view)
{
    struct head_view view = {0};
    if (tenant->record_count) {
        int rc = head_view_pin(store, &view);
        if (rc < 0)
            return rc;
        view.parts = malloc((tenant->part_count + 1) * sizeof *view.parts);
        if (!view.parts) {
            head_view_fini(store, &view);
            return FM_ENOMEM;
        }
        for (; view.part_count < tenant->part_count; view.part_count++) {
            view.parts[view.part_count] = tenant->parts[tenant->part_first + view.part_count];
            view.parts[view.part_count].chunk->refs++;
        }
    }
    *ret_view = view;
    return FM_OK;
}

void head_view_fini(struct store *store, struct head_view *view)
{
    while (view->part_count)
        chunk_unref(view->parts[--view->part_count].chunk);
    free(fm_take(view->parts));
    while (view->segment_count) {
        struct segment *segment = view->segments[--view->segment_count];
        segment->pins--;
        segment_release(store, segment);
    }
    free(fm_take(view->segments));
}
