/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values of a whole block: dictionaries hold most of them. */
#include "frames.h"

/* ---- names ---- */

/* Names in a column of keys. */
static int names_of_keys(struct block_frames *frames, unsigned leaf, frame_visit_name *visit,
                         void *self)
{
    const struct frames_column *column = &frames->columns[leaf];
    struct frames_slice slice;
    uint64_t row = 0;
    int rc = frames_open(frames, leaf);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_OK;
    for (uint32_t i = 0; column->dictionary && i < column->dictionary_count && rc == FM_OK; i++)
        rc = visit(self, column->dictionary[i]);
    if (column->dictionary || rc != FM_OK)
        return rc;
    while ((rc = frames_slice(frames, leaf, &row, frames->group_rows, &slice)) == FM_OK)
        for (uint32_t i = 0; i < slice.value_count && rc == FM_OK; i++) {
            rc = visit(self, frames_bytes(&slice, slice.value + i));
            if (rc != FM_OK)
                return rc;
        }
    return rc == FM_END ? FM_OK : rc;
}

/* A column of its own: its name, if anything is in it. */
static int names_of_column(struct block_frames *frames, unsigned leaf, const char *name,
                           bool empty_is_none, frame_visit_name *visit, void *self)
{
    const struct frames_column *column = &frames->columns[leaf];
    struct frames_slice slice;
    uint64_t row = 0;
    bool found = false;
    int rc = frames_open(frames, leaf);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_OK;
    for (uint32_t i = 0; column->dictionary && i < column->dictionary_count; i++)
        found |= column->dictionary[i].len || !empty_is_none;
    while (!column->dictionary && !found && rc == FM_OK &&
           (rc = frames_slice(frames, leaf, &row, frames->group_rows, &slice)) == FM_OK)
        for (uint32_t i = 0; i < slice.value_count; i++)
            found |= !empty_is_none || frames_bytes(&slice, slice.value + i).len;
    if (rc < 0)
        return rc;
    return found ? visit(self, fm_slice_text(name)) : FM_OK;
}

static int names_of_dedicated(struct block_frames *frames, uint8_t scope, frame_visit_name *visit,
                              void *self)
{
    const struct block *block = frames->block;
    int rc = FM_OK;
    for (uint32_t i = 0; i < block->dedicated_count && rc == FM_OK; i++)
        if (block->dedicated[i].column->scope == scope)
            rc = names_of_column(frames, block->dedicated[i].leaf, block->dedicated[i].column->name,
                                 false, visit, self);
    return rc;
}

static int names_of_statics(struct block_frames *frames, const char *const *names, unsigned count,
                            unsigned first, frame_visit_name *visit, void *self)
{
    int rc = FM_OK;
    for (unsigned i = 0; i < count && rc == FM_OK; i++)
        rc = names_of_column(frames, first + i, names[i], false, visit, self);
    return rc;
}

static int names_of_group(struct block_frames *frames, enum traceql_scope scope,
                          frame_visit_name *visit, void *self)
{
    int rc = names_of_keys(frames, frames_list(scope) + ATTRIBUTE_KEY, visit, self);
    if (rc == FM_OK && scope == TRACEQL_RESOURCE)
        rc = names_of_column(frames, LEAF_RESOURCE_SERVICE, KNOWN_SERVICE_NAME, true, visit, self);
    if (rc == FM_OK && scope == TRACEQL_RESOURCE)
        rc = names_of_statics(frames, schema_resource_static_names, SCHEMA_RESOURCE_STATICS,
                              LEAF_RESOURCE_STATIC, visit, self);
    if (rc == FM_OK && scope == TRACEQL_SPAN)
        rc = names_of_statics(frames, schema_span_static_names, SCHEMA_SPAN_STATICS,
                              LEAF_SPAN_STATIC, visit, self);
    if (rc == FM_OK && scope == TRACEQL_SPAN)
        rc = names_of_dedicated(frames, 0, visit, self);
    if (rc == FM_OK && scope == TRACEQL_RESOURCE)
        rc = names_of_dedicated(frames, 1, visit, self);
    if (rc == FM_OK && scope == TRACEQL_EVENT)
        rc = names_of_dedicated(frames, 2, visit, self);
    return rc;
}

int frames_visit_names(struct block_frames *frames, enum traceql_scope scope,
                       frame_visit_name *visit, void *self)
{
    size_t groups = pq_file_row_group_count(frames->block->file);
    int rc = FM_OK;
    if (!frames_list(scope))
        return FM_OK;
    for (size_t i = 0; i < groups && rc == FM_OK; i++) {
        rc = frames_enter(frames, i);
        if (rc == FM_OK)
            rc = names_of_group(frames, scope, visit, self);
    }
    return rc;
}

/* ---- values ---- */

struct values_pass {
    struct block_frames *frames;
    struct frames_field *own;
    frame_visit_value *visit;
    void *self;
    uint64_t serial;  /* of the table seen last */
    uint32_t visited; /* of its values */
    uint64_t small;   /* integers below 64 that were visited */
};

static int pass_codes(struct values_pass *pass, const struct frame_values *values)
{
    int rc = FM_OK;
    if (values->serial != pass->serial)
        pass->visited = 1;
    pass->serial = values->serial;
    for (; pass->visited < values->count && rc == FM_OK; pass->visited++) {
        const struct traceql_value *value = &values->values[pass->visited];
        if (value->type != TRACEQL_ARRAY)
            rc = pass->visit(pass->self, value);
        for (uint32_t i = 0; value->type == TRACEQL_ARRAY && i < value->element_count && !rc; i++)
            rc = pass->visit(pass->self, &value->elements[i]);
    }
    return rc;
}

static int pass_integers(struct values_pass *pass, const struct frame_vector *vector)
{
    int rc = FM_OK;
    for (uint32_t i = 0; i < vector->count && rc == FM_OK; i++) {
        struct traceql_value value = {.type = vector->type, .integer = vector->integers[i]};
        uint64_t bit = (uint64_t)value.integer < 64 ? UINT64_C(1) << value.integer : 0;
        if (!(pass->small & bit))
            rc = pass->visit(pass->self, &value);
        pass->small |= bit;
    }
    return rc;
}

/* All frames of the row group. */
static int pass_frames(struct values_pass *pass)
{
    struct frame_vector vector;
    int rc;
    while ((rc = frames_fill(pass->frames)) == FM_OK) {
        rc = frames_load(pass->frames, pass->own, NULL, &vector);
        if (rc == FM_OK && vector.shape == FRAME_INTEGERS)
            rc = pass_integers(pass, &vector);
        else if (rc == FM_OK && vector.shape == FRAME_CODES)
            rc = pass_codes(pass, vector.values);
        if (rc != FM_OK)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static bool part_is_dictionary(const struct block_frames *frames, const struct frames_part *part)
{
    return part->kind == FRAMES_TEXT && frames->columns[part->leaf].dictionary;
}

static int visit_dictionary(const struct frames_column *column, frame_visit_value *visit,
                            void *self)
{
    int rc = FM_OK;
    for (uint32_t i = 0; i < column->dictionary_count && rc == FM_OK; i++) {
        struct traceql_value value = {.type = TRACEQL_STRING, .text = column->dictionary[i]};
        rc = visit(self, &value);
    }
    return rc;
}

/* Without a pass over the spans where dictionaries are all there is. */
static int pass_group(struct values_pass *pass)
{
    struct block_frames *frames = pass->frames;
    struct frames_field *own = pass->own;
    int rc = own->part_count ? frames_field_resolve(frames, own) : FM_OK;
    bool is_plain = own->part_count;
    for (unsigned i = 0; i < own->part_count; i++)
        is_plain &= !own->parts[i].is_active || part_is_dictionary(frames, &own->parts[i]);
    if (rc == FM_OK && !is_plain)
        return pass_frames(pass);
    for (unsigned i = 0; i < own->part_count && rc == FM_OK; i++)
        if (own->parts[i].is_active)
            rc = visit_dictionary(&frames->columns[own->parts[i].leaf], pass->visit, pass->self);
    return rc;
}

int frames_visit_values(struct block_frames *frames, uint32_t field, frame_visit_value *visit,
                        void *self)
{
    struct values_pass pass = {
        .frames = frames, .own = &frames->fields[field], .visit = visit, .self = self};
    size_t groups = pq_file_row_group_count(frames->block->file);
    int rc = FM_OK;
    for (size_t i = 0; i < groups && rc == FM_OK && !pass.own->is_absent; i++) {
        rc = frames_enter(frames, i);
        if (rc == FM_OK)
            rc = pass_group(&pass);
    }
    return rc;
}
