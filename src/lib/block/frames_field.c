/* SPDX-License-Identifier: Apache-2.0 */
/* Which leaves a field is in: of an intrinsic one, of an attribute its list and what has a column
 * of its own.  Which of them matter in a row group is seen in the dictionaries. */
#include "frames.h"

#include <stdlib.h>

static const struct {
    enum traceql_intrinsic intrinsic;
    unsigned leaf;
    enum traceql_type type; /* UNKNOWN: texts */
} field_intrinsics[] = {
    {TRACEQL_SPAN_DURATION, LEAF_SPAN_DURATION, TRACEQL_DURATION},
    {TRACEQL_SPAN_START, LEAF_SPAN_START, TRACEQL_INT},
    {TRACEQL_STATUS_CODE, LEAF_SPAN_STATUS, TRACEQL_STATUS},
    {TRACEQL_SPAN_KIND, LEAF_SPAN_KIND, TRACEQL_KIND},
    {TRACEQL_NESTED_LEFT, LEAF_SPAN_LEFT, TRACEQL_INT},
    {TRACEQL_NESTED_RIGHT, LEAF_SPAN_RIGHT, TRACEQL_INT},
    {TRACEQL_NESTED_PARENT, LEAF_SPAN_PARENT_LEFT, TRACEQL_INT},
    {TRACEQL_TRACE_DURATION, LEAF_TRACE_DURATION, TRACEQL_DURATION},
    {TRACEQL_TRACE_START, LEAF_TRACE_START, TRACEQL_INT},
    {TRACEQL_EVENT_TIME, LEAF_EVENT_TIME, TRACEQL_DURATION},
    {TRACEQL_NAME, LEAF_SPAN_NAME, TRACEQL_UNKNOWN},
    {TRACEQL_STATUS_MESSAGE, LEAF_SPAN_MESSAGE, TRACEQL_UNKNOWN},
    {TRACEQL_ROOT_NAME, LEAF_ROOT_NAME, TRACEQL_UNKNOWN},
    {TRACEQL_ROOT_SERVICE, LEAF_ROOT_SERVICE, TRACEQL_UNKNOWN},
    {TRACEQL_EVENT_NAME, LEAF_EVENT_NAME, TRACEQL_UNKNOWN},
    {TRACEQL_SCOPE_NAME, LEAF_SCOPE_NAME, TRACEQL_UNKNOWN},
    {TRACEQL_SCOPE_VERSION, LEAF_SCOPE_VERSION, TRACEQL_UNKNOWN},
};
static const struct {
    enum traceql_intrinsic intrinsic;
    unsigned leaf;
} field_ids[] = {
    {TRACEQL_TRACE_ID, LEAF_TRACE_ID},      {TRACEQL_SPAN_ID, LEAF_SPAN_ID},
    {TRACEQL_PARENT_ID, LEAF_SPAN_PARENT},  {TRACEQL_LINK_TRACE_ID, LEAF_LINK_TRACE},
    {TRACEQL_LINK_SPAN_ID, LEAF_LINK_SPAN},
};

unsigned frames_list(enum traceql_scope scope)
{
    switch (scope) {
    case TRACEQL_SPAN:
        return LEAF_SPAN_ATTRIBUTES;
    case TRACEQL_RESOURCE:
        return LEAF_RESOURCE_ATTRIBUTES;
    case TRACEQL_EVENT:
        return LEAF_EVENT_ATTRIBUTES;
    case TRACEQL_LINK:
        return LEAF_LINK_ATTRIBUTES;
    case TRACEQL_INSTRUMENTATION:
        return LEAF_SCOPE_ATTRIBUTES;
    default:
        return 0;
    }
}

/* ---- parts ---- */

static void field_add_part(struct frames_field *own, struct frames_part part)
{
    if (own->part_count < FRAMES_PARTS_MAX)
        own->parts[own->part_count++] = part;
}

/* A column of its own: text or number, by the file's type. */
static void field_add_column(const struct block_frames *frames, struct frames_field *own,
                             unsigned leaf, bool is_service)
{
    const struct reader_leaf *known = &frames->block->leaves[leaf];
    if (known->index == READER_ABSENT)
        return;
    field_add_part(own, (struct frames_part){.kind = known->type == PQ_BYTE_ARRAY ? FRAMES_TEXT
                                                                                  : FRAMES_NUMBER,
                                             .is_service = is_service,
                                             .leaf = leaf});
}

static void field_add_statics(const struct block_frames *frames, struct frames_field *own,
                              const char *const *names, unsigned count, unsigned first)
{
    for (unsigned i = 0; i < count; i++)
        if (fm_slice_equal_text(own->field->name, names[i]))
            field_add_column(frames, own, first + i, false);
}

/* The list comes first: of attributes with the same key the first one counts. */
static void field_add_attribute(const struct block_frames *frames, struct frames_field *own,
                                enum traceql_type guess)
{
    static const enum traceql_scope scopes[] = {TRACEQL_SPAN, TRACEQL_RESOURCE, TRACEQL_EVENT};
    const struct block *block = frames->block;
    const struct traceql_field *field = own->field;
    unsigned list = frames_list(field->scope);
    if (!list) {
        own->is_absent = true;
        return;
    }
    field_add_part(own, (struct frames_part){.kind = FRAMES_ATTRIBUTE,
                                             .leaf = list,
                                             .guess = guess == TRACEQL_INT     ? ATTRIBUTE_INT
                                                      : guess == TRACEQL_FLOAT ? ATTRIBUTE_DOUBLE
                                                      : guess == TRACEQL_BOOL  ? ATTRIBUTE_BOOL
                                                                               : ATTRIBUTE_STRING});
    for (uint32_t i = 0; i < block->dedicated_count; i++) {
        const struct block_dedicated *column = block->dedicated[i].column;
        if (scopes[column->scope] == field->scope && fm_slice_equal_text(field->name, column->name))
            field_add_column(frames, own, block->dedicated[i].leaf, false);
    }
    if (field->scope == TRACEQL_RESOURCE) {
        if (fm_slice_equal_text(field->name, KNOWN_SERVICE_NAME))
            field_add_column(frames, own, LEAF_RESOURCE_SERVICE, true);
        field_add_statics(frames, own, schema_resource_static_names, SCHEMA_RESOURCE_STATICS,
                          LEAF_RESOURCE_STATIC);
    } else if (field->scope == TRACEQL_SPAN) {
        field_add_statics(frames, own, schema_span_static_names, SCHEMA_SPAN_STATICS,
                          LEAF_SPAN_STATIC);
    }
}

static void field_add_intrinsic(struct frames_field *own)
{
    enum traceql_intrinsic intrinsic = own->field->intrinsic;
    for (size_t i = 0; i < FM_COUNT(field_intrinsics); i++) {
        if (field_intrinsics[i].intrinsic != intrinsic)
            continue;
        own->type = field_intrinsics[i].type;
        own->leaf = field_intrinsics[i].leaf;
        if (own->type == TRACEQL_UNKNOWN)
            field_add_part(own, (struct frames_part){.kind = FRAMES_TEXT, .leaf = own->leaf});
        return;
    }
    for (size_t i = 0; i < FM_COUNT(field_ids); i++) {
        if (field_ids[i].intrinsic == intrinsic) {
            own->is_id = true;
            own->leaf = field_ids[i].leaf;
            return;
        }
    }
    own->is_absent = true;
}

void frames_field_init(struct block_frames *frames, struct frames_field *own,
                       const struct traceql_field *field, enum traceql_type guess)
{
    static const uint8_t levels[FRAME_DOMAINS] = {
        [FRAME_RESOURCE] = FRAMES_RESOURCE, [FRAME_SCOPE] = FRAMES_SCOPE,
        [FRAME_SPAN] = FRAMES_SPAN,         [FRAME_EVENT] = FRAMES_PIECE,
        [FRAME_LINK] = FRAMES_PIECE,
    };
    *own = (struct frames_field){.field = field, .type = TRACEQL_UNKNOWN};
    own->domain = frame_field_domain(field);
    own->level = levels[own->domain];
    if (field->intrinsic == TRACEQL_ATTRIBUTE)
        field_add_attribute(frames, own, guess);
    else
        field_add_intrinsic(own);
}

void frames_field_fini(struct frames_field *own)
{
    for (unsigned i = 0; i < own->part_count; i++)
        free(own->parts[i].map);
    frames_table_fini(&own->table);
    free(own->codes);
    free(own->integers);
}

/* ---- of a row group ---- */

/* Whether the list's dictionary has the key; without a dictionary it may. */
static int part_find_key(struct block_frames *frames, const struct frames_field *own,
                         struct frames_part *part)
{
    const struct frames_column *column = &frames->columns[part->leaf + ATTRIBUTE_KEY];
    int rc = frames_open(frames, part->leaf + ATTRIBUTE_KEY);
    part->key = FRAMES_NO_KEY;
    part->is_active = rc == FM_OK;
    if (rc != FM_OK || !column->dictionary)
        return rc < 0 ? rc : FM_OK;
    part->is_active = false;
    for (uint32_t i = 0; i < column->dictionary_count && !part->is_active; i++) {
        if (!fm_slice_equal(column->dictionary[i], own->field->name))
            continue;
        part->key = i;
        part->is_active = true;
    }
    return FM_OK;
}

static int part_resolve(struct block_frames *frames, const struct frames_field *own,
                        struct frames_part *part)
{
    part->has_map = false;
    if (part->kind == FRAMES_ATTRIBUTE)
        return part_find_key(frames, own, part);
    const struct frames_column *column = &frames->columns[part->leaf];
    int rc = frames_open(frames, part->leaf);
    if (rc < 0)
        return rc;
    /* An empty dictionary: every entry is null.  Where none may be, the pages are to say so. */
    bool is_void = column->dictionary && !column->dictionary_count &&
                   frames->block->leaves[part->leaf].def_max > own->level;
    part->is_active = rc == FM_OK && !is_void;
    return FM_OK;
}

int frames_field_resolve(struct block_frames *frames, struct frames_field *own)
{
    if (own->is_resolved)
        return FM_OK;
    struct frames_part *last = NULL;
    own->active_count = 0;
    for (unsigned i = 0; i < own->part_count; i++) {
        struct frames_part *part = &own->parts[i];
        int rc = part_resolve(frames, own, part);
        if (rc < 0)
            return rc;
        own->active_count += part->is_active;
        if (part->is_active)
            last = part;
    }
    own->is_direct = own->active_count == 1 && last->kind == FRAMES_TEXT &&
                     frames->columns[last->leaf].dictionary;
    own->is_resolved = true;
    return FM_OK;
}
