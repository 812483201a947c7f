/* SPDX-License-Identifier: Apache-2.0 */
/* Columns out of sorted rows.
 *
 * The leaves are written in groups, in the order of the schema, and the rows are walked once per
 * group: only one group's pages are in memory.  All columns cut their pages behind the same rows.
 *
 * Levels: trace 0, resource 1, scope 2, span 3, attribute, event or link 4, ... ; an element's
 * first entry takes the repetition level of its parent, an empty list is one entry at the parent's
 * definition level. */
#include "emit.h"

#include <stdlib.h>

/* ---- walking the rows of a trace ---- */

struct emit_walk {
    const uint8_t *const *rows;
    const uint8_t *marks;
    uint64_t at, end, all_end;
    unsigned rep; /* of the span at hand */
    struct row row;
};

static struct emit_walk emit_walk_begin(const struct emit *emit, const struct sorted_trace *trace)
{
    return (struct emit_walk){
        .rows = emit->sorted->rows,
        .marks = emit->marks,
        .at = trace->first,
        .end = trace->first + trace->span_count,
        .all_end = emit->sorted->span_count,
    };
}

static inline void emit_walk_read(const struct emit *emit, struct emit_walk *walk)
{
    row_read(walk->rows[walk->at], emit->builder->base_ns, &walk->row);
}

/* The next span and its row. */
static inline bool emit_walk_next(const struct emit *emit, struct emit_walk *walk)
{
    if (walk->at == walk->end)
        return false;
    if (FM_LIKELY(walk->at + EMIT_PREFETCH < walk->all_end)) {
        __builtin_prefetch(walk->rows[walk->at + EMIT_PREFETCH]);
        __builtin_prefetch(walk->rows[walk->at + EMIT_PREFETCH] + 64);
    }
    emit_walk_read(emit, walk);
    walk->rep = walk->marks[walk->at++] & MARK_REP;
    return true;
}

/* The next span; its row only if wanted has a mark of it. */
static inline bool emit_walk_marked(const struct emit *emit, struct emit_walk *walk,
                                    unsigned wanted, unsigned *ret_mark)
{
    if (walk->at == walk->end)
        return false;
    if (FM_LIKELY(walk->at + EMIT_PREFETCH < walk->all_end) &&
        walk->marks[walk->at + EMIT_PREFETCH] & wanted)
        __builtin_prefetch(walk->rows[walk->at + EMIT_PREFETCH]);
    unsigned mark = walk->marks[walk->at];
    if (mark & wanted)
        emit_walk_read(emit, walk);
    walk->rep = mark & MARK_REP;
    walk->at++;
    *ret_mark = mark;
    return true;
}

/* The next span that begins an element of level, and its resource and scope. */
static inline bool emit_walk_element(const struct emit *emit, struct emit_walk *walk,
                                     unsigned level, uint32_t *ret_resource, uint32_t *ret_scope)
{
    uint32_t trace, group;
    for (; walk->at < walk->end; walk->at++) {
        uint64_t ahead = walk->at + EMIT_PREFETCH;
        if (ahead < walk->all_end && (walk->marks[ahead] & MARK_REP) <= level)
            __builtin_prefetch(walk->rows[ahead]);
        if ((walk->marks[walk->at] & MARK_REP) <= level)
            break;
    }
    if (walk->at == walk->end)
        return false;
    (void)row_read_place(walk->rows[walk->at], &trace, &group);
    builder_group(emit->builder, group, ret_resource, ret_scope);
    walk->rep = walk->marks[walk->at++] & MARK_REP;
    return true;
}

/* ---- the groups ---- */

static void emit_resource_group(struct emit *emit, const struct sorted_trace *trace)
{
    const struct block_builder *builder = emit->builder;
    struct emit_walk walk = emit_walk_begin(emit, trace);
    uint32_t resource, scope;
    while (emit_walk_element(emit, &walk, LEVEL_RESOURCE, &resource, &scope)) {
        unsigned rep = walk.rep;
        uint32_t dropped, shape;
        const uint8_t *ptr = builder->resources.entries[resource].ptr;
        ptr = row_get_u32(ptr, &dropped);
        ptr = row_get_u32(ptr, &shape);
        (void)emit_attributes(emit, LEAF_RESOURCE_ATTRIBUTES, rep, LEVEL_RESOURCE + 1,
                              OWNER_RESOURCE, shape, ptr);
        emit_i32(emit, LEAF_RESOURCE_DROPPED, rep, (int32_t)dropped);

        uint32_t found[1 + SCHEMA_RESOURCE_STATICS] = {0}; /* string + 1; the last one wins */
        struct fm_slice members = intern_get(&builder->shapes, shape);
        for (size_t at = 0; at < members.len; at += 4) {
            uint32_t member = builder_load_u32(members.ptr + at), string;
            if (emit_is_static(OWNER_RESOURCE, member)) {
                (void)row_get_u32(ptr, &string);
                found[(member >> ROW_KIND_BITS) - STRING_SERVICE_NAME] = string + 1;
            }
            ptr = row_skip_value(ptr, member & ((1u << ROW_KIND_BITS) - 1));
        }
        emit_string(emit, LEAF_RESOURCE_SERVICE, rep, found[0] ? found[0] - 1 : STRING_EMPTY);
        emit->census->attribute_count += found[0] && found[0] - 1 != STRING_EMPTY;
        for (unsigned i = 0; i < SCHEMA_RESOURCE_STATICS; i++) {
            emit->census->attribute_count += found[1 + i] != 0;
            if (found[1 + i])
                emit_string(emit, LEAF_RESOURCE_STATIC + i, rep, found[1 + i] - 1);
            else
                emit_null(emit, LEAF_RESOURCE_STATIC + i, rep, LEVEL_RESOURCE);
        }
        for (unsigned i = 0; i < SCHEMA_DEDICATED; i++)
            emit_null(emit, LEAF_RESOURCE_DEDICATED + i, rep, LEVEL_RESOURCE);
    }
}

static void emit_scope_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct emit_walk walk = emit_walk_begin(emit, trace);
    uint32_t resource, scope;
    while (emit_walk_element(emit, &walk, LEVEL_SCOPE, &resource, &scope)) {
        uint32_t name, version, dropped, shape;
        const uint8_t *ptr = emit->builder->scopes.entries[scope].ptr;
        ptr = row_get_u32(ptr, &name);
        ptr = row_get_u32(ptr, &version);
        ptr = row_get_u32(ptr, &dropped);
        ptr = row_get_u32(ptr, &shape);
        emit_string(emit, LEAF_SCOPE_NAME, walk.rep, name);
        emit_string(emit, LEAF_SCOPE_VERSION, walk.rep, version);
        (void)emit_attributes(emit, LEAF_SCOPE_ATTRIBUTES, walk.rep, LEVEL_SCOPE + 1, OWNER_OTHER,
                              shape, ptr);
        emit_i32(emit, LEAF_SCOPE_DROPPED, walk.rep, (int32_t)dropped);
    }
}

static void emit_number_trace(struct emit *emit, const struct sorted_trace *trace)
{
    struct nested *nested = emit->nested;
    const uint8_t *const *rows = emit->sorted->rows + trace->first;
    if (nested_reserve(nested, trace->span_count) < 0) {
        emit->rc = FM_ENOMEM;
        nested->span_count = 0;
        return;
    }
    for (uint32_t i = 0; i < trace->span_count; i++) {
        struct nested_span *span = &nested->spans[i];
        const uint8_t *id, *parent;
        unsigned kind;
        if (trace->first + i + EMIT_PREFETCH < emit->sorted->span_count)
            __builtin_prefetch(rows[i + EMIT_PREFETCH]);
        if (FM_UNLIKELY(!row_read_ids(rows[i], &id, &parent, &kind))) {
            struct row row;
            row_read(rows[i], emit->builder->base_ns, &row);
            kind = (unsigned)FM_MIN((uint64_t)row.kind, UINT64_C(255));
        }
        span->id = fm_load_le64(id);
        span->is_root = !parent;
        span->parent = parent ? fm_load_le64(parent) : 0;
        span->kind = (uint8_t)kind;
        (void)nested_enter(nested, i);
    }
    (void)nested_number(nested);
}

static void emit_span_group(struct emit *emit, const struct sorted_trace *trace)
{
    emit_number_trace(emit, trace);
    if (emit->rc < 0)
        return;
    struct emit_walk walk = emit_walk_begin(emit, trace);
    for (uint32_t i = 0; emit_walk_next(emit, &walk); i++) {
        const struct row *row = &walk.row;
        const struct nested_span *numbers = &emit->nested->spans[i];
        unsigned rep = walk.rep;
        pq_put_bytes(emit->columns[LEAF_SPAN_ID].chunk, rep, fm_slice(row->id, 8));
        pq_put_bytes(emit->columns[LEAF_SPAN_PARENT].chunk, rep,
                     fm_slice(row->parent ? row->parent : row->id, row->parent ? 8 : 0));
        emit_i32(emit, LEAF_SPAN_PARENT_LEFT, rep, numbers->parent_left);
        emit_i32(emit, LEAF_SPAN_LEFT, rep, numbers->left);
        emit_i32(emit, LEAF_SPAN_RIGHT, rep, numbers->right);
        emit_string(emit, LEAF_SPAN_NAME, rep, row->name);
        emit_i64(emit, LEAF_SPAN_KIND, rep, (uint64_t)row->kind);
        emit_string(emit, LEAF_SPAN_STATE, rep, row->state);
        emit_i64(emit, LEAF_SPAN_START, rep, row->start_ns);
        emit_i64(emit, LEAF_SPAN_DURATION, rep, row->duration_ns);
        emit_i64(emit, LEAF_SPAN_STATUS, rep, (uint64_t)row->status);
        emit_string(emit, LEAF_SPAN_MESSAGE, rep, row->message);
    }
}

static void emit_span_attribute_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct emit_walk walk = emit_walk_begin(emit, trace);
    while (emit_walk_next(emit, &walk)) {
        (void)emit_attributes(emit, LEAF_SPAN_ATTRIBUTES, walk.rep, LEVEL_SPAN + 1, OWNER_SPAN,
                              walk.row.shape, walk.row.values);
        emit_i32(emit, LEAF_SPAN_DROPPED, walk.rep, (int32_t)walk.row.dropped_attributes);
    }
}

static void emit_run_flush(struct emit *emit, struct emit_run *run)
{
    if (!run->count)
        return;
    emit_attributes_close(emit);
    for (unsigned leaf = run->first; leaf <= run->last; leaf++)
        pq_put_null_levels(emit->columns[leaf].chunk, run->levels, run->count);
    if (run->dropped)
        pq_put_zero_levels(emit->columns[run->dropped].chunk, run->levels, run->count);
    run->count = 0;
}

static struct emit_run *emit_run_begin(struct emit *emit, unsigned which, unsigned first,
                                       unsigned last, unsigned dropped)
{
    struct emit_run *run = &emit->runs[which];
    run->first = first;
    run->last = last;
    run->dropped = dropped;
    return run;
}

static inline void emit_run_add(struct emit *emit, struct emit_run *run, unsigned rep)
{
    if (FM_UNLIKELY(run->count == EMIT_RUN_MAX))
        emit_run_flush(emit, run);
    run->levels[run->count++] = (uint8_t)(rep << 4 | LEVEL_SPAN);
}

/* Nulls for one span, whose count of what was dropped is written by the caller. */
static void emit_run_skip(struct emit *emit, struct emit_run *run, unsigned rep)
{
    emit_attributes_close(emit);
    for (unsigned leaf = run->first; leaf <= run->last; leaf++)
        emit_null(emit, leaf, rep, LEVEL_SPAN);
}

static void emit_event_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct emit_walk walk = emit_walk_begin(emit, trace);
    struct emit_run *run =
        emit_run_begin(emit, 0, LEAF_EVENT_TIME, LEAF_EVENT_DROPPED, LEAF_SPAN_EVENTS_DROPPED);
    unsigned mark;
    while (emit_walk_marked(emit, &walk, MARK_EVENTS | MARK_DROPPED, &mark)) {
        if (!(mark & (MARK_EVENTS | MARK_DROPPED))) {
            emit_run_add(emit, run, walk.rep);
            continue;
        }
        emit_run_flush(emit, run);
        emit_i32(emit, LEAF_SPAN_EVENTS_DROPPED, walk.rep, (int32_t)walk.row.dropped_events);
        if (!(mark & MARK_EVENTS)) {
            emit_run_skip(emit, run, walk.rep);
            continue;
        }
        uint32_t count;
        const uint8_t *ptr = row_get_u32(walk.row.tail, &count);
        emit->census->event_count += count;
        for (uint32_t i = 0; i < count; i++) {
            unsigned rep = i ? LEVEL_PIECE : walk.rep;
            uint64_t time_ns;
            uint32_t name, dropped, shape;
            ptr = row_get(ptr, &time_ns);
            ptr = row_get_u32(ptr, &name);
            ptr = row_get_u32(ptr, &dropped);
            ptr = row_get_u32(ptr, &shape);
            emit_i64(emit, LEAF_EVENT_TIME, rep, time_ns);
            emit_string(emit, LEAF_EVENT_NAME, rep, name);
            ptr = emit_attributes(emit, LEAF_EVENT_ATTRIBUTES, rep, LEVEL_PIECE + 1, OWNER_OTHER,
                                  shape, ptr);
            emit_i32(emit, LEAF_EVENT_DROPPED, rep, (int32_t)dropped);
        }
    }
}

const uint8_t *emit_links_of(const struct emit *emit, const struct row *row)
{
    const uint8_t *ptr = row->tail;
    uint32_t count = 0, number, shape;
    if (!(row->flags & ROW_LINKS))
        return NULL;
    if (row->flags & ROW_EVENTS)
        ptr = row_get_u32(ptr, &count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t time_ns;
        ptr = row_get(ptr, &time_ns);
        ptr = row_get_u32(ptr, &number);
        ptr = row_get_u32(ptr, &number);
        ptr = row_get_u32(ptr, &shape);
        ptr = emit_skip_values(emit, shape, ptr);
    }
    return ptr;
}

const uint8_t *emit_read_link(const uint8_t *ptr, struct emit_link *ret_link)
{
    uint64_t len;
    ptr = row_get(ptr, &len);
    ret_link->trace = fm_slice(ptr, len);
    ptr = row_get(ptr + len, &len);
    ret_link->span = fm_slice(ptr, len);
    ptr = row_get_u32(ptr + len, &ret_link->state);
    ptr = row_get_u32(ptr, &ret_link->dropped);
    return row_get_u32(ptr, &ret_link->shape);
}

static void emit_link_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct emit_walk walk = emit_walk_begin(emit, trace);
    struct emit_run *run =
        emit_run_begin(emit, 0, LEAF_LINK_TRACE, LEAF_LINK_DROPPED, LEAF_SPAN_LINKS_DROPPED);
    unsigned mark;
    while (emit_walk_marked(emit, &walk, MARK_LINKS | MARK_DROPPED, &mark)) {
        if (!(mark & (MARK_LINKS | MARK_DROPPED))) {
            emit_run_add(emit, run, walk.rep);
            continue;
        }
        emit_run_flush(emit, run);
        emit_i32(emit, LEAF_SPAN_LINKS_DROPPED, walk.rep, (int32_t)walk.row.dropped_links);
        if (!(mark & MARK_LINKS)) {
            emit_run_skip(emit, run, walk.rep);
            continue;
        }
        const uint8_t *ptr = emit_links_of(emit, &walk.row);
        uint32_t count;
        ptr = row_get_u32(ptr, &count);
        emit->census->link_count += count;
        for (uint32_t i = 0; i < count; i++) {
            unsigned rep = i ? LEVEL_PIECE : walk.rep;
            struct emit_link link;
            ptr = emit_read_link(ptr, &link);
            pq_put_bytes(emit->columns[LEAF_LINK_TRACE].chunk, rep, link.trace);
            pq_put_bytes(emit->columns[LEAF_LINK_SPAN].chunk, rep, link.span);
            emit_string(emit, LEAF_LINK_STATE, rep, link.state);
            ptr = emit_attributes(emit, LEAF_LINK_ATTRIBUTES, rep, LEVEL_PIECE + 1, OWNER_OTHER,
                                  link.shape, ptr);
            emit_i32(emit, LEAF_LINK_DROPPED, rep, (int32_t)link.dropped);
        }
    }
}

/* The span's own columns, which some attribute of its shape has. */
static void emit_statics(struct emit *emit, const struct emit_walk *walk)
{
    uint64_t found[SCHEMA_SPAN_STATICS] = {0}; /* the last one wins */
    unsigned present = 0;
    const uint8_t *ptr = walk->row.values;
    struct fm_slice members = intern_get(&emit->builder->shapes, walk->row.shape);
    for (size_t at = 0; at < members.len; at += 4) {
        uint32_t member = builder_load_u32(members.ptr + at);
        if (emit_is_static(OWNER_SPAN, member)) {
            unsigned which = (member >> ROW_KIND_BITS) - STRING_HTTP_METHOD;
            (void)row_get(ptr, &found[which]);
            present |= 1u << which;
        }
        ptr = row_skip_value(ptr, member & ((1u << ROW_KIND_BITS) - 1));
    }
    for (unsigned i = 0; i < SCHEMA_SPAN_STATICS; i++) {
        unsigned leaf = LEAF_SPAN_STATIC + i;
        if (!(present >> i & 1))
            emit_null(emit, leaf, walk->rep, LEVEL_SPAN);
        else if (leaf == LEAF_HTTP_STATUS)
            emit_i64(emit, leaf, walk->rep, (uint64_t)row_unzigzag(found[i]));
        else
            emit_string(emit, leaf, walk->rep, (uint32_t)found[i]);
    }
    emit->census->attribute_count += (unsigned)__builtin_popcount(present);
}

static void emit_static_group(struct emit *emit, const struct sorted_trace *trace)
{
    struct emit_walk walk = emit_walk_begin(emit, trace);
    struct emit_run *run = emit_run_begin(emit, 0, LEAF_SPAN_STATIC, LEAF_HTTP_STATUS, 0);
    struct emit_run *dedicated = emit_run_begin(emit, 1, LEAF_SPAN_DEDICATED, LEAF_COUNT - 1, 0);
    unsigned mark;
    while (emit_walk_marked(emit, &walk, MARK_STATIC, &mark)) {
        emit_run_add(emit, dedicated, walk.rep);
        if (!(mark & MARK_STATIC)) {
            emit_run_add(emit, run, walk.rep);
            continue;
        }
        emit_run_flush(emit, run);
        emit_statics(emit, &walk);
    }
}

/* ---- driving ---- */

static const struct emit_group {
    unsigned first, end;
    void (*trace)(struct emit *emit, const struct sorted_trace *trace);
} emit_groups[] = {
    {LEAF_TRACE_ID, LEAF_RESOURCE_ATTRIBUTES, emit_trace_group},
    {LEAF_RESOURCE_ATTRIBUTES, LEAF_SCOPE_NAME, emit_resource_group},
    {LEAF_SCOPE_NAME, LEAF_SPAN_ID, emit_scope_group},
    {LEAF_SPAN_ID, LEAF_SPAN_ATTRIBUTES, emit_span_group},
    {LEAF_SPAN_ATTRIBUTES, LEAF_EVENT_TIME, emit_span_attribute_group},
    {LEAF_EVENT_TIME, LEAF_LINK_TRACE, emit_event_group},
    {LEAF_LINK_TRACE, LEAF_SPAN_STATIC, emit_link_group},
    {LEAF_SPAN_STATIC, LEAF_COUNT, emit_static_group},
};

static void emit_column_fini(struct emit_column *column)
{
    pq_chunk_free(column->chunk);
    free(column->map);
    free(column->added);
    *column = (struct emit_column){0};
}

static void emit_columns_free(struct emit *emit)
{
    for (unsigned leaf = 0; leaf < LEAF_COUNT; leaf++)
        emit_column_fini(&emit->columns[leaf]);
}

/* What would only grow, or stay as it is, by compression. */
static bool emit_is_dense(unsigned leaf)
{
    return leaf == LEAF_TRACE_ID || leaf == LEAF_SPAN_ID;
}

/* Levels below 3 are only there for what gains next to nothing by more (docs/formats/block.md). */
static enum emit_effort emit_effort_of(unsigned leaf)
{
    switch (leaf) {
    case LEAF_RESOURCE_ATTRIBUTES + ATTRIBUTE_STRING:
        return EFFORT_FULL;
    case LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_STRING:
        return EFFORT_HALF;
    default:
        return EFFORT_LEAST;
    }
}

static int8_t emit_level(int8_t level, enum emit_effort effort)
{
    int lower = level - (EFFORT_FULL - (int)effort);
    return (int8_t)(level < 1 ? level : FM_MAX(lower, 1));
}

static int emit_columns_new(struct emit *emit, const struct emit_group *group)
{
    const struct block_options *options = &emit->builder->options;
    for (unsigned leaf = group->first; leaf < group->end; leaf++) {
        struct emit_column *column = &emit->columns[leaf];
        enum emit_effort effort = emit_effort_of(leaf);
        struct pq_choice choice = {
            .encoding = (uint8_t)schema_v4_encoding((enum schema_leaf)leaf),
            .codec = emit_is_dense(leaf) ? CODEC_NONE : options->codec,
            .level = emit_level(options->codec_level, effort),
        };
        const struct pq_leaf *levels = &emit->leaves[leaf];
        int rc = pq_chunk_new(&column->chunk, (enum pq_type)levels->type, levels->rep_max,
                              levels->def_max, &choice, 1);
        if (rc < 0)
            return rc;
        if (choice.codec == options->codec)
            pq_chunk_share_encoder(column->chunk, emit->encoders[effort]);
        pq_chunk_share_press(column->chunk, emit->press);
        column->has_dictionary = choice.encoding == PQ_RLE_DICTIONARY;
    }
    return FM_OK;
}

static int emit_group_write(struct emit *emit, const struct emit_group *group, uint32_t first,
                            uint32_t count, struct pq_writer *writer)
{
    uint32_t row_count = 0;
    uint64_t span_count = 0;
    int rc = emit_columns_new(emit, group);
    /* A row group among others would get the dictionary of all. */
    if (rc == FM_OK && group->first == LEAF_SPAN_ATTRIBUTES && count == emit->sorted->trace_count)
        rc = emit_dictionary_arrange(emit, &emit->columns[LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_STRING]);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        const struct sorted_trace *trace = &emit->sorted->traces[first + i];
        group->trace(emit, trace);
        rc = emit->rc;
        row_count++;
        span_count += trace->span_count;
        if (span_count < emit->builder->options.page_span_target && i + 1 < count)
            continue;
        for (unsigned run = 0; run < EMIT_RUNS; run++)
            emit_run_flush(emit, &emit->runs[run]);
        emit_attributes_close(emit);
        for (unsigned leaf = group->first; leaf < group->end; leaf++) {
            emit_dictionary_flush(emit, &emit->columns[leaf]);
            pq_chunk_cut(emit->columns[leaf].chunk, row_count);
        }
        row_count = 0;
        span_count = 0;
    }
    for (unsigned leaf = group->first; rc == FM_OK && leaf < group->end; leaf++) {
        if (emit->columns[leaf].has_dictionary) /* more effort gains nothing in it */
            pq_chunk_share_encoder(emit->columns[leaf].chunk, emit->encoders[EFFORT_LEAST]);
        rc = pq_writer_append(writer, emit->columns[leaf].chunk);
        emit_column_fini(&emit->columns[leaf]);
    }
    return rc;
}

int builder_emit(const struct block_builder *builder, const struct sorted *sorted,
                 struct nested *nested, uint32_t first, uint32_t count, struct pq_writer *writer,
                 struct block_census *census)
{
    struct emit emit = {.builder = builder, .sorted = sorted, .nested = nested, .census = census};
    schema_v4_leaves(emit.leaves);
    int rc = pq_press_new(&emit.press);
    for (unsigned i = 0; rc == FM_OK && i < EFFORT_COUNT; i++)
        rc = codec_encoder_new(&emit.encoders[i], (enum codec)builder->options.codec,
                               emit_level(builder->options.codec_level, (enum emit_effort)i));
    if (rc == FM_OK)
        rc = emit_facts_init(&emit);
    if (rc == FM_OK)
        rc = emit_shapes_init(&emit);
    for (size_t i = 0; rc == FM_OK && i < FM_COUNT(emit_groups); i++)
        rc = emit_group_write(&emit, &emit_groups[i], first, count, writer);
    emit_columns_free(&emit);
    emit_facts_fini(&emit);
    for (unsigned owner = 0; owner < OWNER_COUNT; owner++)
        free(emit.shapes[owner]);
    for (unsigned i = 0; i < EFFORT_COUNT; i++)
        codec_encoder_free(emit.encoders[i]);
    pq_press_free(emit.press);
    return rc;
}
