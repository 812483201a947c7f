/* SPDX-License-Identifier: Apache-2.0 */
/* The builder's life, and the file, the blooms and the meta around the columns. */
#include "bloom.h"
#include "builder.h"

#include "fermata/units.h"

#include <stdlib.h>

const struct block_options block_options_default = {
    .codec = CODEC_ZSTD,
    .codec_level = 3,
    .page_span_target = 8192,
    .memory_max = FM_MIB(256),
    .bloom_false_positive = 0.01,
    .row_group_span_max = 0,
};

#define BUILD_SCRATCH_MAX   FM_MIB(256)
/* A RowGroup's ordinal has 16 bits. */
#define BUILD_ROW_GROUP_MAX 32767

static int builder_intern_known(struct block_builder *builder)
{
    const char *known[STRING_KNOWN_COUNT] = {
        [STRING_EMPTY] = "",
        [STRING_SERVICE_NAME] = KNOWN_SERVICE_NAME,
        [STRING_REF_TYPE] = "opentracing.ref_type",
        [STRING_CHILD_OF] = "child_of",
    };
    for (unsigned i = 0; i < SCHEMA_RESOURCE_STATICS; i++)
        known[STRING_RESOURCE_STATIC + i] = schema_resource_static_names[i];
    for (unsigned i = 0; i < SCHEMA_SPAN_STATICS; i++)
        known[STRING_HTTP_METHOD + i] = schema_span_static_names[i];
    for (unsigned i = 0; i < STRING_KNOWN_COUNT; i++) {
        uint32_t number = intern_put(&builder->strings, fm_slice_text(known[i]));
        if (number == INTERN_NONE)
            return builder->pool.rc;
        FM_ASSERT(number == i);
    }
    return FM_OK;
}

int block_builder_new(struct block_builder **ret_builder, const struct block_options *options)
{
    FM_AUTO(block_builder) builder = calloc(1, sizeof *builder);
    if (!builder)
        return FM_ENOMEM;
    builder->options = *options;
    builder->options.page_span_target = FM_MAX(options->page_span_target, 1u);
    builder->pool.bytes_max = options->memory_max;
    /* Peers choose the strings, not where the builder lies.  No output depends on the seed. */
    uint64_t seed = (uintptr_t)builder * UINT64_C(0x9e3779b97f4a7c15);
    struct intern *interns[] = {&builder->strings, &builder->shapes, &builder->resources,
                                &builder->scopes,  &builder->groups, &builder->traces};
    for (size_t i = 0; i < FM_COUNT(interns); i++)
        intern_init(interns[i], &builder->pool, seed);
    heap_init(&builder->rows, &builder->pool);
    struct fm_buf *bufs[] = {&builder->list.shape,   &builder->list.values, &builder->inner.shape,
                             &builder->inner.values, &builder->row,         &builder->pieces,
                             &builder->text};
    for (size_t i = 0; i < FM_COUNT(bufs); i++)
        fm_buf_init(bufs[i], BUILD_SCRATCH_MAX);
    int rc = builder_intern_known(builder);
    if (rc < 0)
        return rc;

    *ret_builder = fm_take(builder);
    return FM_OK;
}

struct block_builder *block_builder_free(struct block_builder *builder)
{
    if (!builder)
        return NULL;
    heap_fini(&builder->rows);
    pool_release(&builder->pool, builder->texts.items,
                 builder->texts.cap * sizeof *builder->texts.items);
    intern_fini(&builder->strings);
    intern_fini(&builder->shapes);
    intern_fini(&builder->resources);
    intern_fini(&builder->scopes);
    intern_fini(&builder->groups);
    intern_fini(&builder->traces);
    fm_buf_fini(&builder->list.shape);
    fm_buf_fini(&builder->list.values);
    fm_buf_fini(&builder->inner.shape);
    fm_buf_fini(&builder->inner.values);
    fm_buf_fini(&builder->row);
    fm_buf_fini(&builder->pieces);
    fm_buf_fini(&builder->text);
    free(builder);
    return NULL;
}

void block_builder_bound(struct block_builder *builder, uint64_t received_ns, uint64_t latest_ns)
{
    if (received_ns < BLOCK_TIME_MIN_NS || latest_ns < received_ns)
        return; /* of a clock that was not set: no judge of others */
    builder->received_ns = received_ns;
    builder->latest_ns = latest_ns;
}

size_t block_builder_memory(const struct block_builder *builder)
{
    return sizeof *builder + builder->pool.used_bytes + builder->list.shape.cap +
           builder->list.values.cap + builder->inner.shape.cap + builder->inner.values.cap +
           builder->row.cap + builder->pieces.cap + builder->text.cap;
}

uint64_t block_builder_span_count(const struct block_builder *builder)
{
    return builder->span_count;
}

static int build_blooms(const struct block_builder *builder, const struct sorted *sorted,
                        struct fm_buf *blooms, uint32_t *ret_shard_count)
{
    struct bloom_shape shape =
        bloom_shape_for(sorted->trace_count, builder->options.bloom_false_positive);
    size_t size = bloom_object_bytes(&shape);
    size_t start = blooms->len;
    fm_buf_put_zeros(blooms, size * shape.shard_count);
    if (blooms->failed)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < shape.shard_count; i++)
        bloom_object_init(&shape, blooms->ptr + start + i * size);
    for (uint32_t i = 0; i < sorted->trace_count; i++) {
        struct trace_id id;
        memcpy(id.bytes, builder->traces.entries[sorted->traces[i].trace].ptr, sizeof id.bytes);
        uint32_t shard = bloom_shard(&id, shape.shard_count);
        bloom_object_add(&shape, blooms->ptr + start + shard * size, &id);
    }
    *ret_shard_count = shape.shard_count;
    return FM_OK;
}

/* All row groups; a trace is never split. */
static int build_row_groups(const struct block_builder *builder, const struct sorted *sorted,
                            struct nested *nested, struct pq_writer *writer,
                            struct block_census *census, uint32_t *ret_count)
{
    uint64_t span_max = builder->options.row_group_span_max;
    uint32_t first = 0, groups = 0;
    if (!span_max)
        span_max = UINT64_MAX;
    while (first < sorted->trace_count) {
        uint64_t span_count = 0;
        uint32_t end = first;
        while (end < sorted->trace_count && span_count < span_max)
            span_count += sorted->traces[end++].span_count;
        if (++groups > BUILD_ROW_GROUP_MAX)
            return FM_ELIMIT;
        int rc = pq_row_group_begin(writer);
        if (rc == FM_OK)
            rc = builder_emit(builder, sorted, nested, first, end - first, writer, census);
        if (rc == FM_OK)
            rc = pq_row_group_end(writer, end - first);
        if (rc < 0)
            return rc;
        first = end;
    }
    *ret_count = groups;
    return FM_OK;
}

static void build_meta_times(struct block_meta *meta, const struct block_census *census)
{
    uint64_t start_s = census->range_start_ns / FM_NS_PER_S;
    uint64_t end_s = census->range_end_ns / FM_NS_PER_S + (census->range_end_ns % FM_NS_PER_S != 0);
    end_s = FM_MIN(FM_MAX(end_s, start_s + 1), UINT64_MAX / FM_NS_PER_S);
    start_s = FM_MIN(start_s, end_s - 1);
    meta->start_ns = start_s * FM_NS_PER_S;
    meta->end_ns = end_s * FM_NS_PER_S;
}

static int build_file(const struct block_builder *builder, const struct sorted *sorted,
                      struct nested *nested, struct fm_sink data, struct block_meta *meta,
                      struct block_census *census)
{
    FM_AUTO(pq_writer) writer = NULL;
    struct pq_writer_options options = {
        .schema = schema_v4_nodes,
        .node_count = schema_v4_node_count,
        .created_by = "fermata",
        .offset_index = true,
    };
    int rc = pq_writer_new(&writer, &options, data);
    if (rc == FM_OK)
        rc = build_row_groups(builder, sorted, nested, writer, census, &meta->row_group_count);
    if (rc == FM_OK)
        rc = pq_writer_finish(writer, &meta->size_bytes, &meta->footer_bytes);
    return rc;
}

int block_builder_finish(struct block_builder *builder, struct fm_sink data, struct fm_buf *blooms,
                         struct block_meta *meta, struct block_census *ret_census,
                         struct fm_why *why)
{
    struct block_census census = {.start_min_ns = UINT64_MAX, .range_start_ns = UINT64_MAX};
    struct block_meta built = {
        .version = BLOCK_V4,
        .id = meta->id,
        .replication_factor = 1,
    };
    struct sorted sorted = {0};
    struct nested nested;
    if (!builder->span_count)
        return fm_fail(why, FM_EUSAGE, "a block needs at least one span");
    memcpy(built.tenant, meta->tenant, sizeof built.tenant);
    nested_init(&nested);
    int rc = builder_sort(builder, &nested, &sorted);
    if (rc == FM_OK)
        rc = build_file(builder, &sorted, &nested, data, &built, &census);
    if (rc == FM_OK)
        rc = build_blooms(builder, &sorted, blooms, &built.bloom_shard_count);
    census.duplicate_count = sorted.duplicate_count;
    built.trace_count = sorted.trace_count;
    sorted_fini(&sorted);
    nested_fini(&nested);
    if (rc < 0)
        return fm_fail(why, rc, "building block of %llu spans: %s",
                       (unsigned long long)builder->span_count, fm_rc_text(rc));
    build_meta_times(&built, &census);
    *meta = built;
    if (ret_census)
        *ret_census = census;
    return FM_OK;
}
