/* SPDX-License-Identifier: Apache-2.0 */
/* Grouping: spans stand in target in the order in which they came, as runs that belong to a scope
 * of a resource.  In the end one ResourceSpans is made per resource and one ScopeSpans per scope,
 * both in order of their first span.  Nearly always there is one run, and all that is left to do
 * is to move it behind its head. */
#include "jaeger_batch.h"
#include "otlp_walk.h"

#include "fermata/hash.h"

#define JAEGER_BUCKETS_MIN     16u
#define JAEGER_BUCKETS_MAX     65536u
#define JAEGER_NO_SERVICE_NAME "OTLPResourceNoServiceName" /* an exporter had none to send */
#define JAEGER_VERSION_PREFIX  "Jaeger-"

/* With limits below these what nobody looked at could exceed them: short texts (JAEGER_SHORT and a
 * prefix), and the one attribute of a link. */
#define JAEGER_CHECK_BYTES_MIN 256u
#define JAEGER_CHECK_COUNT_MIN 1u

/* Fields of OTLP's scope and resource; the others are in otlp_walk.h. */
enum { JAEGER_TO_SCOPE_NAME = 1, JAEGER_TO_SCOPE_VERSION = 2, JAEGER_TO_RESOURCE_ATTRIBUTES = 1 };

void jaeger_batch_init(struct jaeger_batch *batch, struct fm_slice input, struct otlp_walk *walk,
                       struct fm_arena *scratch, struct fm_buf *target)
{
    fm_arena_reset(scratch);
    *batch = (struct jaeger_batch){
        .scratch = scratch, .target = target, .start = target->len, .input = input, .walk = walk};
    if (walk) /* what is added to tags of clients is within these */
        batch->is_odd = walk->limits.attribute_bytes_max < JAEGER_CHECK_BYTES_MIN ||
                        walk->limits.attribute_count_max < JAEGER_CHECK_COUNT_MIN;
}

void jaeger_batch_undo(struct jaeger_batch *batch)
{
    batch->target->len = batch->start;
    if (batch->rc < 0) /* it is ours that failed, so that the next batch may go well */
        batch->target->failed = false;
}

/* ---- memory ---- */

void *jaeger_alloc(struct jaeger_batch *batch, size_t size)
{
    struct fm_arena *scratch = batch->scratch;
    void *ptr = fm_arena_alloc(scratch, size);
    if (FM_UNLIKELY(!ptr))
        batch->rc = size > scratch->bytes_max || scratch->used_bytes > scratch->bytes_max - size
                        ? FM_ELIMIT
                        : FM_ENOMEM;
    return ptr;
}

uint8_t *jaeger_room(struct jaeger_batch *batch, size_t size)
{
    struct fm_buf *target = batch->target;
    uint8_t *ptr = fm_buf_room(target, size);
    if (FM_UNLIKELY(!ptr))
        batch->rc = size > target->bytes_max || target->len > target->bytes_max - size ? FM_ELIMIT
                                                                                       : FM_ENOMEM;
    return ptr;
}

bool jaeger_grow(struct jaeger_batch *batch, void *items_at, uint32_t count, uint32_t *capacity,
                 uint32_t more, size_t item_size)
{
    uint64_t wanted = (uint64_t)count + FM_MAX(count, more);
    void *items, *old;
    memcpy(&old, items_at, sizeof old);
    if (wanted > UINT32_MAX) {
        batch->rc = FM_ELIMIT;
        return false;
    }
    items = jaeger_alloc(batch, wanted * item_size);
    if (!items)
        return false;
    if (count)
        memcpy(items, old, count * item_size);
    memcpy(items_at, &items, sizeof items);
    *capacity = (uint32_t)wanted;
    return true;
}

/* ---- resources ---- */

static bool jaeger_resource_version(struct jaeger_batch *batch, struct jaeger_tag *tag)
{
    enum { PREFIX = sizeof JAEGER_VERSION_PREFIX - 1 };
    uint8_t *text = jaeger_alloc(batch, PREFIX + (size_t)tag->text_len);
    if (!text)
        return false;
    memcpy(text, JAEGER_VERSION_PREFIX, PREFIX);
    if (tag->text_len)
        memcpy(text + PREFIX, tag->text, tag->text_len);
    tag->text = text;
    tag->text_len += PREFIX;
    jaeger_tag_ready(batch, tag);
    return true;
}

static void jaeger_tag_rename(struct jaeger_tag *tag, struct fm_slice key)
{
    tag->key = key.ptr;
    tag->key_len = (uint32_t)key.len;
    jaeger_tag_measure(tag);
}

/* Gives the tags of a process the names that OpenTelemetry has for them. */
static bool jaeger_resource_rename(struct jaeger_batch *batch)
{
    struct jaeger_tag *host = jaeger_known_tag(&batch->known, JAEGER_KEY_HOSTNAME);
    struct jaeger_tag *version = jaeger_known_tag(&batch->known, JAEGER_KEY_JAEGER_VERSION);
    if (host && !jaeger_known_tag(&batch->known, JAEGER_KEY_HOST_NAME))
        jaeger_tag_rename(host, FM_SLICE("host.name"));
    if (version && version->type == JAEGER_STRING &&
        !jaeger_known_tag(&batch->known, JAEGER_KEY_EXPORTER_VERSION)) {
        if (!jaeger_resource_version(batch, version))
            return false;
        jaeger_tag_rename(version, FM_SLICE("opencensus.exporterversion"));
    }
    return true;
}

/* batch->process as a Resource; empty if it says nothing. */
static int jaeger_resource_encode(struct jaeger_batch *batch, struct fm_slice *ret_bytes)
{
    struct jaeger_tags *tags = &batch->process.tags;
    struct fm_slice service = batch->process.service;
    struct jaeger_tag name = {.hidden = true};
    int rc = jaeger_tags_settle(batch, tags->items, tags->count);
    if (rc < 0)
        return rc;
    struct jaeger_tag *named = jaeger_known_tag(&batch->known, JAEGER_KEY_SERVICE_NAME);
    if (named) {
        name = *named; /* a tag beats the process's own name */
        named->hidden = true;
    } else if (service.len && !fm_slice_equal_text(service, JAEGER_NO_SERVICE_NAME)) {
        name = (struct jaeger_tag){.text = service.ptr, .text_len = (uint32_t)service.len};
        jaeger_tag_ready(batch, &name);
        jaeger_tag_rename(&name, FM_SLICE("service.name"));
    }
    if (!jaeger_resource_rename(batch))
        return batch->rc;
    size_t size = jaeger_tags_size(&name, 1) + jaeger_tags_size(tags->items, tags->count);
    uint8_t *bytes = jaeger_alloc(batch, size);
    if (!bytes)
        return batch->rc;
    uint8_t *end = jaeger_tags_put(bytes, JAEGER_TO_RESOURCE_ATTRIBUTES, &name, 1);
    end = jaeger_tags_put(end, JAEGER_TO_RESOURCE_ATTRIBUTES, tags->items, tags->count);
    FM_ASSERT(end == bytes + size);
    *ret_bytes = fm_slice(bytes, size);
    return FM_OK;
}

/* ---- tables of resources and scopes ---- */

/* As many buckets as there can be groups in a usual batch; a hostile one has longer chains. */
static bool jaeger_buckets_open(struct jaeger_batch *batch)
{
    if (batch->bucket_count)
        return true;
    uint32_t count = JAEGER_BUCKETS_MIN;
    while (count < batch->input.len / 128 && count < JAEGER_BUCKETS_MAX)
        count *= 2;
    size_t size = count * sizeof(void *);
    batch->scope_buckets = jaeger_alloc(batch, size);
    batch->resource_buckets = batch->scope_buckets ? jaeger_alloc(batch, size) : NULL;
    if (!batch->resource_buckets)
        return false;
    memset(batch->scope_buckets, 0, size);
    memset(batch->resource_buckets, 0, size);
    batch->bucket_count = count;
    return true;
}

static struct jaeger_resource **jaeger_resource_bucket(struct jaeger_batch *batch,
                                                       struct fm_slice key)
{
    return &batch->resource_buckets[fm_hash64(key, 0) & (batch->bucket_count - 1)];
}

bool jaeger_batch_find_process(struct jaeger_batch *batch, struct fm_slice key)
{
    struct jaeger_resource *resource = batch->resource;
    if (!resource)
        return false;
    if (!fm_slice_equal(resource->key, key)) {
        resource = *jaeger_resource_bucket(batch, key);
        while (resource && !fm_slice_equal(resource->key, key))
            resource = resource->next_hash;
    }
    if (resource)
        batch->resource = resource;
    return resource;
}

int jaeger_batch_set_process(struct jaeger_batch *batch, struct fm_slice key)
{
    struct fm_slice bytes;
    if (!jaeger_buckets_open(batch))
        return batch->rc;
    int rc = jaeger_resource_encode(batch, &bytes);
    if (rc < 0)
        return rc;
    struct jaeger_resource *resource = jaeger_alloc(batch, sizeof *resource);
    if (!resource)
        return batch->rc;
    struct jaeger_resource **bucket = jaeger_resource_bucket(batch, key);
    *resource = (struct jaeger_resource){.key = key, .bytes = bytes, .next_hash = *bucket};
    *bucket = resource;
    batch->resource = resource;
    return FM_OK;
}

static bool jaeger_scope_is(const struct jaeger_scope *scope,
                            const struct jaeger_resource *resource, struct fm_slice name,
                            struct fm_slice version)
{
    return scope->resource == resource && fm_slice_equal(scope->name, name) &&
           fm_slice_equal(scope->version, version);
}

/* The order of resources is that of their first scope: one without spans is left out. */
static void jaeger_scope_link(struct jaeger_batch *batch, struct jaeger_scope *scope)
{
    struct jaeger_resource *resource = scope->resource;
    if (resource->scopes) {
        resource->scope_last->next = scope;
    } else {
        resource->scopes = scope;
        if (batch->resources)
            batch->resource_last->next = resource;
        else
            batch->resources = resource;
        batch->resource_last = resource;
    }
    resource->scope_last = scope;
}

static struct jaeger_scope *jaeger_scope_find(struct jaeger_batch *batch, struct fm_slice name,
                                              struct fm_slice version)
{
    struct jaeger_resource *resource = batch->resource;
    uint64_t hash = fm_hash64(version, fm_hash64(name, fm_hash64(resource->key, 0)));
    struct jaeger_scope **bucket = &batch->scope_buckets[hash & (batch->bucket_count - 1)];
    struct jaeger_scope *scope = *bucket;
    while (scope && !jaeger_scope_is(scope, resource, name, version))
        scope = scope->next_hash;
    if (scope || !(scope = jaeger_alloc(batch, sizeof *scope)))
        return scope;
    *scope = (struct jaeger_scope){
        .next_hash = *bucket, .resource = resource, .name = name, .version = version};
    *bucket = scope;
    jaeger_scope_link(batch, scope);
    return scope;
}

struct jaeger_scope *jaeger_batch_scope(struct jaeger_batch *batch, struct fm_slice name,
                                        struct fm_slice version)
{
    struct jaeger_scope *scope = batch->scope;
    if (scope && jaeger_scope_is(scope, batch->resource, name, version))
        return scope;
    scope = jaeger_scope_find(batch, name, version);
    struct jaeger_run *run = scope ? jaeger_alloc(batch, sizeof *run) : NULL;
    if (!run)
        return NULL;
    *run = (struct jaeger_run){.offset = batch->target->len};
    if (scope->runs)
        scope->run_last->next = run;
    else
        scope->runs = run;
    scope->run_last = run;
    batch->run_count++;
    batch->scope = scope;
    return scope;
}

/* ---- the end ---- */

static size_t jaeger_scope_head_size(const struct jaeger_scope *scope)
{
    size_t size = 0;
    if (scope->name.len)
        size += jaeger_field_size(scope->name.len);
    if (scope->version.len)
        size += jaeger_field_size(scope->version.len);
    return size;
}

/* The content of ScopeSpans. */
static size_t jaeger_scope_spans_size(const struct jaeger_scope *scope)
{
    size_t head = jaeger_scope_head_size(scope);
    return (head ? jaeger_field_size(head) : 0) + scope->size;
}

/* The content of ResourceSpans. */
static size_t jaeger_resource_spans_size(const struct jaeger_resource *resource)
{
    size_t size = resource->bytes.len ? jaeger_field_size(resource->bytes.len) : 0;
    for (const struct jaeger_scope *scope = resource->scopes; scope; scope = scope->next)
        size += jaeger_field_size(jaeger_scope_spans_size(scope));
    return size;
}

static uint8_t *jaeger_resource_head_put(uint8_t *target, const struct jaeger_resource *resource)
{
    target =
        jaeger_put_head(target, OTLP_REQUEST_RESOURCE_SPANS, jaeger_resource_spans_size(resource));
    return resource->bytes.len ? jaeger_put_slice(target, OTLP_RS_RESOURCE, resource->bytes)
                               : target;
}

static uint8_t *jaeger_scope_head_put(uint8_t *target, const struct jaeger_scope *scope)
{
    size_t size = jaeger_scope_head_size(scope);
    target = jaeger_put_head(target, OTLP_RS_SCOPE_SPANS, jaeger_scope_spans_size(scope));
    if (size)
        target = jaeger_put_head(target, OTLP_SS_SCOPE, size);
    if (scope->name.len)
        target = jaeger_put_slice(target, JAEGER_TO_SCOPE_NAME, scope->name);
    return scope->version.len ? jaeger_put_slice(target, JAEGER_TO_SCOPE_VERSION, scope->version)
                              : target;
}

/* All in order, from a copy of the spans. */
static void jaeger_batch_gather(const struct jaeger_batch *batch, uint8_t *target,
                                const uint8_t *spans)
{
    const struct jaeger_resource *resource = batch->resources;
    for (; resource; resource = resource->next) {
        target = jaeger_resource_head_put(target, resource);
        for (const struct jaeger_scope *scope = resource->scopes; scope; scope = scope->next) {
            target = jaeger_scope_head_put(target, scope);
            for (const struct jaeger_run *run = scope->runs; run; run = run->next) {
                memcpy(target, spans + (run->offset - batch->start), run->len);
                target += run->len;
            }
        }
    }
}

int jaeger_batch_finish(struct jaeger_batch *batch)
{
    struct fm_buf *target = batch->target;
    size_t spans_size = target->len - batch->start, size = 0;
    if (!spans_size)
        return FM_OK;
    for (const struct jaeger_resource *resource = batch->resources; resource;
         resource = resource->next)
        size += jaeger_field_size(jaeger_resource_spans_size(resource));
    if (!jaeger_room(batch, size - spans_size))
        return batch->rc;
    uint8_t *start = target->ptr + batch->start;
    target->len = batch->start + size;
    if (batch->run_count == 1) {
        memmove(start + (size - spans_size), start, spans_size);
        start = jaeger_resource_head_put(start, batch->resources);
        (void)jaeger_scope_head_put(start, batch->resources->scopes);
        return FM_OK;
    }
    uint8_t *copy = jaeger_alloc(batch, spans_size);
    if (!copy)
        return batch->rc;
    memcpy(copy, start, spans_size);
    jaeger_batch_gather(batch, start, copy);
    return FM_OK;
}
