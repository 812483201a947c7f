/* SPDX-License-Identifier: Apache-2.0 */
/* Spans by resource and scope, in order of appearance, and the request made of them.
 *
 * A resource is a service name with the tags that belong to a resource (zipkin_key.c has the list);
 * spans of one service whose tags differ there are different resources, so that nothing is lost. */
#include "zipkin_batch.h"

#include "fermata/hash.h"
#include "fermata/pb.h"

#define DRAFT_FIRST_CAP 16u
#define TAKEN_TAGS_MIN  256u /* as many are not copied: the span takes the draft's array */
#define BUCKETS_MIN     16u
#define BUCKETS_MAX     65536u
#define SPAN_BYTES_MIN  64u /* about as short as spans of different services can be */
#define CHAIN_MAX       64u /* longer ones are not looked through to their end */

int zipkin_batch_new(struct zipkin_batch **ret_batch, size_t input_len, struct fm_arena *scratch,
                     struct fm_buf *target, struct fm_why *why)
{
    if (input_len > ZIPKIN_INPUT_MAX)
        return fm_fail(why, FM_ELIMIT, "more than %zu bytes", ZIPKIN_INPUT_MAX);
    if (target->failed)
        return fm_fail(why, FM_ENOMEM, "out of memory"); /* before us */
    fm_arena_reset(scratch);
    struct zipkin_batch *batch = fm_arena_zalloc(scratch, sizeof *batch);
    if (!batch)
        return scratch->bytes_max < sizeof *batch
                   ? fm_fail(why, FM_ELIMIT, "the spans need more memory than they may")
                   : fm_fail(why, FM_ENOMEM, "out of memory");
    batch->scratch = scratch;
    batch->target = target;
    batch->start = target->len;
    batch->input_len = input_len;
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
        batch->bad_trace_count += !draft->has_trace_id;
        batch->bad_id_count += draft->has_trace_id;
        return FM_OK;
    }
    if (draft->span.has_parent && memcmp(draft->span.parent_id, draft->span.id, 8) == 0)
        draft->span.has_parent = false;
    if (draft->is_v1)
        return zipkin_v1_convert(batch);
    return zipkin_batch_add(batch, &draft->span);
}

/* ---- grouping ---- */

/* As many buckets as there can be groups in a usual batch. */
static bool batch_open_buckets(struct zipkin_batch *batch)
{
    uint32_t count = BUCKETS_MIN;
    while (count < batch->input_len / SPAN_BYTES_MIN && count < BUCKETS_MAX)
        count *= 2;
    batch->resource_buckets =
        fm_arena_zalloc(batch->scratch, count * sizeof *batch->resource_buckets);
    batch->scope_buckets = fm_arena_zalloc(batch->scratch, count * sizeof *batch->scope_buckets);
    if (!batch->resource_buckets || !batch->scope_buckets)
        return false;
    batch->bucket_count = count;
    return true;
}

static uint64_t hash_slice(uint64_t hash, struct fm_slice slice)
{
    return fm_hash64(slice, hash + slice.len);
}

/* The next tag of the resource behind at; NULL: none. */
static const struct zipkin_tag *resource_tag(const struct zipkin_span *span, uint32_t *at)
{
    for (; *at < span->tag_count && span->has_known_tags; (*at)++) {
        if (span->tags[*at].use == ZIPKIN_KEY_RESOURCE && !span->tags[*at].is_hidden)
            return &span->tags[(*at)++];
    }
    return NULL;
}

static uint64_t resource_hash(const struct zipkin_batch *batch, const struct zipkin_span *span)
{
    uint64_t hash = hash_slice(0, span->local.service);
    const struct zipkin_tag *tag;
    hash = hash_slice(hash, zipkin_span_service_key(batch));
    for (uint32_t at = 0; (tag = resource_tag(span, &at));)
        hash = hash_slice(hash_slice(hash, tag->key), tag->text);
    return hash;
}

static bool resource_equal(const struct zipkin_resource *resource, const struct zipkin_span *span,
                           struct fm_slice service_key)
{
    const struct zipkin_span *model = resource->model;
    const struct zipkin_tag *left, *right;
    if (!fm_slice_equal(model->local.service, span->local.service) ||
        !fm_slice_equal(resource->service_key, service_key))
        return false;
    for (uint32_t i = 0, j = 0;;) {
        left = resource_tag(model, &i);
        right = resource_tag(span, &j);
        if (!left || !right)
            return left == right;
        if (!fm_slice_equal(left->key, right->key) || !fm_slice_equal(left->text, right->text))
            return false;
    }
}

static struct zipkin_resource *batch_resource(struct zipkin_batch *batch,
                                              const struct zipkin_span *span)
{
    struct fm_slice service_key = zipkin_span_service_key(batch);
    if (batch->scope && resource_equal(batch->scope->resource, span, service_key))
        return batch->scope->resource;
    if (!batch->bucket_count && !batch_open_buckets(batch))
        return NULL;
    uint64_t hash = resource_hash(batch, span);
    struct zipkin_resource **bucket = &batch->resource_buckets[hash & (batch->bucket_count - 1)];
    uint32_t steps = 0;
    for (struct zipkin_resource *r = *bucket; r && steps < CHAIN_MAX; r = r->next_hash, steps++) {
        if (r->hash == hash && resource_equal(r, span, service_key))
            return r;
    }
    struct zipkin_resource *resource = fm_arena_zalloc(batch->scratch, sizeof *resource);
    if (!resource)
        return NULL;
    *resource = (struct zipkin_resource){
        .hash = hash, .service_key = service_key, .model = span, .next_hash = *bucket};
    *bucket = resource;
    if (batch->resource_last)
        batch->resource_last->next = resource;
    else
        batch->resources = resource;
    batch->resource_last = resource;
    return resource;
}

static bool scope_is(const struct zipkin_scope *scope, const struct zipkin_resource *resource,
                     struct fm_slice name, struct fm_slice version)
{
    return scope->resource == resource && fm_slice_equal(scope->name, name) &&
           fm_slice_equal(scope->version, version);
}

static struct zipkin_scope *batch_scope(struct zipkin_batch *batch,
                                        struct zipkin_resource *resource, struct fm_slice name,
                                        struct fm_slice version)
{
    if (batch->scope && scope_is(batch->scope, resource, name, version))
        return batch->scope;
    uint64_t hash = hash_slice(hash_slice(resource->hash, name), version);
    struct zipkin_scope **bucket = &batch->scope_buckets[hash & (batch->bucket_count - 1)];
    uint32_t steps = 0;
    for (struct zipkin_scope *s = *bucket; s && steps < CHAIN_MAX; s = s->next_hash, steps++) {
        if (scope_is(s, resource, name, version))
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

static struct fm_slice known_text(const struct zipkin_batch *batch, enum zipkin_key key,
                                  enum zipkin_key or_else)
{
    const struct zipkin_tag *tag = batch->known[key];
    if (!tag || !tag->text.len)
        tag = batch->known[or_else];
    return tag ? tag->text : fm_slice(NULL, 0);
}

/* Those of the draft's notes that are of the span's side; in version 2 they all are. */
static bool span_copy_notes(struct zipkin_batch *batch, struct zipkin_span *span)
{
    const struct zipkin_draft *draft = &batch->draft;
    uint32_t count = draft->note_count;
    for (uint32_t i = 0; i < draft->note_count && draft->is_v1; i++)
        count -= draft->notes[i].side != span->side;
    if (!count)
        return true;
    span->notes = fm_arena_alloc(batch->scratch, count * sizeof *span->notes);
    if (!span->notes)
        return false;
    for (uint32_t i = 0; i < draft->note_count; i++) {
        if (draft->notes[i].side == span->side)
            span->notes[span->note_count++] = draft->notes[i];
    }
    return true;
}

static bool span_copy_tags(struct zipkin_batch *batch, struct zipkin_span *span)
{
    struct zipkin_draft *draft = &batch->draft;
    uint32_t count = draft->tag_count;
    if (!draft->is_v1 && count >= TAKEN_TAGS_MIN) {
        span->tags = fm_take(draft->tags);
        span->tag_count = count;
        draft->tag_cap = 0;
        return true;
    }
    for (uint32_t i = 0; i < draft->tag_count && draft->is_v1; i++)
        count -= draft->tags[i].side != span->side;
    if (!count)
        return true;
    span->tags = fm_arena_alloc(batch->scratch, count * sizeof *span->tags);
    if (!span->tags)
        return false;
    for (uint32_t i = 0; i < draft->tag_count; i++) {
        if (draft->tags[i].side == span->side)
            span->tags[span->tag_count++] = draft->tags[i];
    }
    return true;
}

int zipkin_batch_add(struct zipkin_batch *batch, const struct zipkin_span *from)
{
    struct zipkin_span *span = fm_arena_dup(batch->scratch, from, sizeof *span);
    if (!span || !span_copy_notes(batch, span) || !span_copy_tags(batch, span))
        return FM_ENOMEM;
    zipkin_span_sort_tags(batch, span);
    struct fm_slice name = known_text(batch, ZIPKIN_KEY_SCOPE_NAME, ZIPKIN_KEY_LIBRARY_NAME);
    struct fm_slice version =
        known_text(batch, ZIPKIN_KEY_SCOPE_VERSION, ZIPKIN_KEY_LIBRARY_VERSION);
    struct zipkin_resource *resource = batch_resource(batch, span);
    struct zipkin_scope *scope = resource ? batch_scope(batch, resource, name, version) : NULL;
    if (!scope)
        return FM_ENOMEM;
    if (scope->last)
        scope->last->next = span;
    else
        scope->first = span;
    scope->last = span;
    batch->scope = scope;
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
    for (const struct zipkin_span *span = scope->first; span; span = span->next)
        zipkin_put_span(batch, span);
    pb_end(batch->target, outer);
}

/* Spans without ids, as many as there were. */
static void put_bad_spans(struct zipkin_batch *batch)
{
    static const uint8_t trace_id[16] = {[15] = 1};
    size_t outer = pb_begin(batch->target, 1), inner = pb_begin(batch->target, 2);
    for (uint32_t i = 0; i < batch->bad_trace_count && !batch->target->failed; i++)
        pb_put_bytes(batch->target, 2, fm_slice(NULL, 0));
    for (uint32_t i = 0; i < batch->bad_id_count && !batch->target->failed; i++) {
        size_t span = pb_begin(batch->target, 2);
        pb_put_bytes(batch->target, 1, fm_slice(trace_id, sizeof trace_id));
        pb_end(batch->target, span);
    }
    pb_end(batch->target, inner);
    pb_end(batch->target, outer);
}

/* Why memory ended: because it may not be more, or, if there was room for anything that we could
 * have asked for, because there is none. */
static int batch_no_memory(const struct zipkin_batch *batch, struct fm_why *why)
{
    const struct zipkin_draft *draft = &batch->draft;
    const struct fm_arena *scratch = batch->scratch;
    const struct fm_buf *target = batch->target;
    size_t most = 3 * batch->input_len + FM_KIB(4);
    most = FM_MAX(most, 2 * draft->tag_cap * sizeof *draft->tags);
    most = FM_MAX(most, 2 * draft->note_cap * sizeof *draft->notes);
    bool is_scratch_full =
        scratch->failed && scratch->bytes_max - scratch->used_bytes < most; /* used <= max */
    bool is_target_full = target->failed && target->bytes_max - target->len < most;
    if (is_scratch_full || is_target_full)
        return fm_fail(why, FM_ELIMIT, "the spans need more memory than they may");
    return fm_fail(why, FM_ENOMEM, "out of memory");
}

int zipkin_batch_finish(struct zipkin_batch *batch, int rc, struct fm_why *why)
{
    struct fm_buf *target = batch->target;
    for (struct zipkin_resource *r = batch->resources; r && rc == FM_OK; r = r->next) {
        size_t outer = pb_begin(target, 1); /* resource_spans */
        size_t inner = pb_begin(target, 1);
        zipkin_put_resource(batch, r);
        pb_end(target, inner);
        for (struct zipkin_scope *scope = r->scopes; scope && !target->failed; scope = scope->next)
            put_scope(batch, scope);
        pb_end(target, outer);
    }
    if (rc == FM_OK && batch->bad_trace_count + batch->bad_id_count)
        put_bad_spans(batch);
    if (rc == FM_OK && (target->failed || fm_arena_failed(batch->scratch)))
        rc = FM_ENOMEM;
    if (rc == FM_OK)
        return FM_OK;
    if (rc == FM_ENOMEM)
        rc = batch_no_memory(batch, why);
    target->len = batch->start;
    target->failed = false;
    return rc;
}
