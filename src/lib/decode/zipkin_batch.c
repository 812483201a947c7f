/* SPDX-License-Identifier: Apache-2.0 */
/* Spans by resource and scope, in order of appearance, and the request made of them.
 *
 * A resource is a service name with the tags that belong to a resource (zipkin_key.c has the list);
 * spans of one service whose tags differ there are different resources, so that nothing is lost. */
#include "zipkin_batch.h"

#include "fermata/hash.h"
#include "fermata/pb.h"

#define DRAFT_FIRST_CAP 16u

int zipkin_batch_new(struct zipkin_batch **ret_batch, size_t input_len, struct fm_arena *scratch,
                     struct fm_buf *target, struct fm_why *why)
{
    if (input_len > ZIPKIN_INPUT_MAX)
        return fm_fail(why, FM_ELIMIT, "more than %zu bytes", ZIPKIN_INPUT_MAX);
    fm_arena_reset(scratch);
    struct zipkin_batch *batch = fm_arena_zalloc(scratch, sizeof *batch);
    if (!batch)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    batch->scratch = scratch;
    batch->target = target;
    batch->start = target->len;
    zipkin_keys_init(batch);
    *ret_batch = batch;
    return FM_OK;
}

/* ---- the span being read ---- */

void zipkin_draft_reset(struct zipkin_batch *batch)
{
    struct zipkin_draft *draft = &batch->draft;
    draft->span = (struct zipkin_span){0};
    draft->note_count = draft->tag_count = 0;
    draft->has_trace_id = draft->has_id = draft->is_v1 = false;
}

static bool draft_grow(struct zipkin_batch *batch, void *items_at, uint32_t count, uint32_t *cap,
                       size_t size)
{
    uint32_t more = FM_MAX(DRAFT_FIRST_CAP, *cap * 2);
    void *old, *grown = fm_arena_alloc(batch->scratch, more * size);
    if (!grown)
        return false;
    memcpy(&old, items_at, sizeof old);
    if (count)
        memcpy(grown, old, count * size);
    memcpy(items_at, &grown, sizeof grown);
    *cap = more;
    return true;
}

struct zipkin_tag *zipkin_draft_tag(struct zipkin_batch *batch)
{
    struct zipkin_draft *draft = &batch->draft;
    if (draft->tag_count == draft->tag_cap &&
        !draft_grow(batch, &draft->tags, draft->tag_count, &draft->tag_cap, sizeof *draft->tags))
        return NULL;
    struct zipkin_tag *tag = &draft->tags[draft->tag_count++];
    *tag = (struct zipkin_tag){0};
    return tag;
}

struct zipkin_note *zipkin_draft_note(struct zipkin_batch *batch)
{
    struct zipkin_draft *draft = &batch->draft;
    if (draft->note_count == draft->note_cap && !draft_grow(batch, &draft->notes, draft->note_count,
                                                            &draft->note_cap, sizeof *draft->notes))
        return NULL;
    struct zipkin_note *note = &draft->notes[draft->note_count++];
    *note = (struct zipkin_note){0};
    return note;
}

int zipkin_draft_finish(struct zipkin_batch *batch)
{
    struct zipkin_draft *draft = &batch->draft;
    if (!draft->has_trace_id || !draft->has_id) {
        batch->bad_count++;
        return FM_OK;
    }
    if (draft->span.has_parent && memcmp(draft->span.parent_id, draft->span.id, 8) == 0)
        draft->span.has_parent = false;
    if (draft->is_v1)
        return zipkin_v1_convert(batch, draft);
    struct zipkin_span span = draft->span;
    span.notes = draft->notes;
    span.tags = draft->tags;
    span.note_count = draft->note_count;
    span.tag_count = draft->tag_count;
    return zipkin_batch_add(batch, &span);
}

/* ---- grouping ---- */

static uint64_t hash_slice(uint64_t hash, struct fm_slice slice)
{
    return fm_hash64(slice, hash + slice.len);
}

/* The next tag of the resource behind at; NULL: none. */
static const struct zipkin_tag *resource_tag(const struct zipkin_span *span, uint32_t *at)
{
    for (; *at < span->tag_count; (*at)++) {
        if (span->tags[*at].use == ZIPKIN_KEY_RESOURCE && !span->tags[*at].is_hidden)
            return &span->tags[(*at)++];
    }
    return NULL;
}

static struct fm_slice span_tag_text(const struct zipkin_span *span, enum zipkin_key key)
{
    const struct zipkin_tag *tag = zipkin_span_tag(span, key);
    return tag ? tag->text : fm_slice(NULL, 0);
}

static uint64_t resource_hash(const struct zipkin_span *span)
{
    uint64_t hash = hash_slice(0, span->local.service);
    const struct zipkin_tag *tag;
    hash = hash_slice(hash, span_tag_text(span, ZIPKIN_KEY_SERVICE_SOURCE));
    for (uint32_t at = 0; (tag = resource_tag(span, &at));)
        hash = hash_slice(hash_slice(hash, tag->key), tag->text);
    return hash;
}

static bool resource_equal(const struct zipkin_span *a, const struct zipkin_span *b)
{
    const struct zipkin_tag *left, *right;
    if (!fm_slice_equal(a->local.service, b->local.service) ||
        !fm_slice_equal(span_tag_text(a, ZIPKIN_KEY_SERVICE_SOURCE),
                        span_tag_text(b, ZIPKIN_KEY_SERVICE_SOURCE)))
        return false;
    for (uint32_t i = 0, j = 0;;) {
        left = resource_tag(a, &i);
        right = resource_tag(b, &j);
        if (!left || !right)
            return left == right;
        if (!fm_slice_equal(left->key, right->key) || !fm_slice_equal(left->text, right->text))
            return false;
    }
}

static struct zipkin_resource *batch_resource(struct zipkin_batch *batch,
                                              const struct zipkin_span *span)
{
    uint64_t hash = resource_hash(span);
    struct zipkin_resource **bucket = &batch->resource_buckets[hash % ZIPKIN_BUCKETS];
    for (struct zipkin_resource *r = *bucket; r; r = r->next_hash) {
        if (r->hash == hash && resource_equal(r->model, span))
            return r;
    }
    struct zipkin_resource *resource = fm_arena_zalloc(batch->scratch, sizeof *resource);
    if (!resource)
        return NULL;
    resource->hash = hash;
    resource->model = span;
    resource->next_hash = *bucket;
    *bucket = resource;
    if (batch->resource_last)
        batch->resource_last->next = resource;
    else
        batch->resources = resource;
    batch->resource_last = resource;
    return resource;
}

static struct zipkin_scope *batch_scope(struct zipkin_batch *batch,
                                        struct zipkin_resource *resource, struct fm_slice name,
                                        struct fm_slice version)
{
    uint64_t hash = hash_slice(hash_slice(resource->hash, name), version);
    struct zipkin_scope **bucket = &batch->scope_buckets[hash % ZIPKIN_BUCKETS];
    for (struct zipkin_scope *s = *bucket; s; s = s->next_hash) {
        if (s->resource == resource && fm_slice_equal(s->name, name) &&
            fm_slice_equal(s->version, version))
            return s;
    }
    struct zipkin_scope *scope = fm_arena_zalloc(batch->scratch, sizeof *scope);
    if (!scope)
        return NULL;
    *scope = (struct zipkin_scope){
        .resource = resource, .name = name, .version = version, .next_hash = *bucket};
    *bucket = scope;
    if (resource->scope_last)
        resource->scope_last->next = scope;
    else
        resource->scopes = scope;
    resource->scope_last = scope;
    return scope;
}

int zipkin_batch_add(struct zipkin_batch *batch, const struct zipkin_span *from)
{
    struct zipkin_span *span = fm_arena_dup(batch->scratch, from, sizeof *span);
    if (!span)
        return FM_ENOMEM;
    if (span->note_count)
        span->notes =
            fm_arena_dup(batch->scratch, from->notes, span->note_count * sizeof *span->notes);
    if (span->tag_count)
        span->tags = fm_arena_dup(batch->scratch, from->tags, span->tag_count * sizeof *span->tags);
    if (fm_arena_failed(batch->scratch))
        return FM_ENOMEM;
    zipkin_span_sort_tags(batch, span);
    struct fm_slice name = span_tag_text(span, ZIPKIN_KEY_SCOPE_NAME);
    struct fm_slice version = span_tag_text(span, ZIPKIN_KEY_SCOPE_VERSION);
    if (!name.len)
        name = span_tag_text(span, ZIPKIN_KEY_LIBRARY_NAME);
    if (!version.len)
        version = span_tag_text(span, ZIPKIN_KEY_LIBRARY_VERSION);
    struct zipkin_resource *resource = batch_resource(batch, span);
    struct zipkin_scope *scope = resource ? batch_scope(batch, resource, name, version) : NULL;
    if (!scope)
        return FM_ENOMEM;
    if (scope->last)
        scope->last->next = span;
    else
        scope->first = span;
    scope->last = span;
    return FM_OK;
}

/* ---- writing ---- */

static void put_scope(struct zipkin_batch *batch, const struct zipkin_scope *scope)
{
    size_t outer = pb_begin(batch->target, 2); /* ResourceSpans.scope_spans */
    if (scope->name.len || scope->version.len) {
        size_t inner = pb_begin(batch->target, 1);
        if (scope->name.len)
            pb_put_bytes(batch->target, 1, scope->name);
        if (scope->version.len)
            pb_put_bytes(batch->target, 2, scope->version);
        pb_end(batch->target, inner);
    }
    for (struct zipkin_span *span = scope->first; span; span = span->next)
        zipkin_put_span(batch, span);
    pb_end(batch->target, outer);
}

/* Spans without ids, as many as there were: two bytes each. */
static void put_bad_spans(struct zipkin_batch *batch)
{
    size_t outer = pb_begin(batch->target, 1), inner = pb_begin(batch->target, 2);
    for (uint32_t i = 0; i < batch->bad_count && !batch->target->failed; i++)
        pb_put_bytes(batch->target, 2, fm_slice(NULL, 0));
    pb_end(batch->target, inner);
    pb_end(batch->target, outer);
}

int zipkin_batch_finish(struct zipkin_batch *batch, int rc, struct fm_why *why)
{
    struct fm_buf *target = batch->target;
    for (struct zipkin_resource *r = batch->resources; r && rc == FM_OK; r = r->next) {
        size_t outer = pb_begin(target, 1); /* resource_spans */
        size_t inner = pb_begin(target, 1);
        zipkin_put_resource(target, r->model);
        pb_end(target, inner);
        for (struct zipkin_scope *scope = r->scopes; scope && !target->failed; scope = scope->next)
            put_scope(batch, scope);
        pb_end(target, outer);
    }
    if (rc == FM_OK && batch->bad_count)
        put_bad_spans(batch);
    if (rc == FM_OK && target->failed)
        rc = FM_ELIMIT;
    if (rc == FM_ENOMEM && fm_arena_failed(batch->scratch))
        rc = FM_ELIMIT; /* or out of memory; a client cannot tell the difference either */
    if (rc == FM_OK)
        return FM_OK;
    target->len = batch->start;
    return rc == FM_ELIMIT ? fm_fail(why, rc, "the spans need more memory than they may") : rc;
}
