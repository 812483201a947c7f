/* SPDX-License-Identifier: Apache-2.0 */
/* compare(): how the spans of a selection differ from the rest, told by counts of every value of
 * every attribute in both populations.
 *
 * The pipeline gets one more stage, by(selection), which tells the populations apart.  Which
 * attributes there are is asked of the source first; then it is read with all of them as fields. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

#define COMPARE_TOP 10
/* Levels of pairs, beside those of by(). */
enum { COMPARE_ATTRIBUTES = 8, COMPARE_CELLS = 9 };

static const enum traceql_intrinsic compare_intrinsics[] = {
    TRACEQL_NAME,       TRACEQL_STATUS_CODE,   TRACEQL_STATUS_MESSAGE,
    TRACEQL_SPAN_KIND,  TRACEQL_ROOT_NAME,     TRACEQL_ROOT_SERVICE,
    TRACEQL_SCOPE_NAME, TRACEQL_SCOPE_VERSION, TRACEQL_EVENT_NAME,
};
static const enum traceql_scope compare_scopes[] = {
    TRACEQL_RESOURCE, TRACEQL_SPAN, TRACEQL_INSTRUMENTATION, TRACEQL_EVENT, TRACEQL_LINK,
};

/* ---- the query: pipeline | by(selection) ---- */

int series_compare_init(struct series *series)
{
    const struct traceql_stage *from = series->query->first;
    struct traceql_stage **end, *stage;
    struct traceql_expression *everything;
    int rc = series_alloc(series, sizeof *series->compare_query, &series->compare_query);

    if (rc < 0)
        return rc;
    end = &series->compare_query->first;
    for (; from; from = from->next) {
        if ((rc = series_alloc(series, sizeof *stage, &stage)) < 0)
            return rc;
        *stage = *from;
        stage->next = NULL;
        *end = stage;
        end = &stage->next;
    }
    if ((rc = series_alloc(series, sizeof *stage, &stage)) < 0 ||
        (rc = series_alloc(series, sizeof *everything, &everything)) < 0)
        return rc;
    everything->kind = TRACEQL_LITERAL;
    everything->value = (struct traceql_value){.type = TRACEQL_BOOL, .flag = true};
    stage->kind = TRACEQL_GROUP;
    stage->expression = series->query->selection ? series->query->selection : everything;
    *end = stage;
    if (stage->expression->kind != TRACEQL_FIELD)
        return FM_OK;
    struct traceql_expression *is_true; /* a field alone is a condition in a filter only */
    if ((rc = series_alloc(series, sizeof *is_true, &is_true)) < 0)
        return rc;
    is_true->kind = TRACEQL_BINARY;
    is_true->op = TRACEQL_EQ;
    is_true->left = stage->expression;
    is_true->right = everything;
    stage->expression = is_true;
    return FM_OK;
}

/* ---- attributes ---- */

static int compare_attribute(struct series *series, const struct traceql_field *field,
                             uint32_t *ret_attribute)
{
    struct traceql_value name = {.type = TRACEQL_STRING, .text = field->name};
    struct series_attribute attribute = {.field = *field};
    uint32_t id, *number;
    int rc = series_value_id(series, &name, &id);

    if (rc == FM_OK)
        rc = series_pair(series, COMPARE_ATTRIBUTES,
                         (uint32_t)field->intrinsic << 8 | (uint32_t)field->scope, id, &number);
    if (rc < 0)
        return rc;
    if (*number == SERIES_NONE) {
        attribute.field.name = series->values.values[id].text;
        *number = series->attribute_count;
        if ((rc = series_field_name(series, field, &attribute.name)) < 0 ||
            (rc = series_grow(series, &series->attributes, series->attribute_count,
                              &series->attribute_capacity, sizeof attribute)) < 0)
            return rc;
        series->attributes[series->attribute_count++] = attribute;
        *ret_attribute = series->attribute_count - 1;
        return FM_OK;
    }
    *ret_attribute = *number;
    return FM_OK;
}

/* The attributes of one source. */
struct compare_columns {
    struct series *series;
    enum traceql_scope scope;
    uint32_t attributes[SERIES_COLUMNS_MAX];
    struct series_column columns[SERIES_COLUMNS_MAX];
    uint32_t count;
};

static int compare_columns_add(struct compare_columns *columns, const struct traceql_field *field)
{
    struct series *series = columns->series;
    uint32_t attribute;
    int rc;

    if (columns->count == SERIES_COLUMNS_MAX)
        return FM_OK;
    if ((rc = compare_attribute(series, field, &attribute)) < 0)
        return rc;
    if (series->attributes[attribute].seen == series->source_count)
        return FM_OK;
    series->attributes[attribute].seen = series->source_count;
    columns->attributes[columns->count++] = attribute;
    return FM_OK;
}

static int compare_columns_on_name(void *self, struct fm_slice name)
{
    struct compare_columns *columns = self;
    struct traceql_field field = {.scope = columns->scope, .name = name};

    return compare_columns_add(columns, &field);
}

static int compare_columns_init(struct compare_columns *columns, struct series *series,
                                struct frame_source *source, struct fm_why *why)
{
    struct traceql_field field = {0};
    int rc = FM_OK;

    columns->series = series;
    columns->count = 0;
    series->source_count++;
    for (size_t i = 0; rc == FM_OK && i < FM_COUNT(compare_intrinsics); i++) {
        field.intrinsic = compare_intrinsics[i];
        rc = compare_columns_add(columns, &field);
    }
    /* A resource has a name, if an empty one, also where no column says so. */
    field = (struct traceql_field){.scope = TRACEQL_RESOURCE, .name = FM_SLICE("service.name")};
    if (rc == FM_OK)
        rc = compare_columns_add(columns, &field);
    for (size_t i = 0; rc == FM_OK && i < FM_COUNT(compare_scopes); i++) {
        columns->scope = compare_scopes[i];
        rc = frame_names(source, columns->scope, compare_columns_on_name, columns, why);
    }
    return rc;
}

static int compare_columns_plan(struct compare_columns *columns, struct eval_plan *plan)
{
    struct series *series = columns->series;
    struct traceql_field start = {.intrinsic = TRACEQL_SPAN_START};
    uint32_t index;
    int rc = eval_plan_want(plan, &start, &series->start_field);

    for (uint32_t i = 0; rc == FM_OK && i < columns->count; i++) {
        rc = eval_plan_want(plan, &series->attributes[columns->attributes[i]].field, &index);
        if (rc == FM_OK)
            series_column_init(&columns->columns[i], index);
    }
    return rc;
}

/* ---- counting ---- */

static int compare_totals(struct series *series, struct series_attribute *attribute,
                          uint32_t population)
{
    return attribute->totals[population] ? FM_OK
                                         : series_steps(series, 0, &attribute->totals[population]);
}

static int compare_cell_new(struct series *series, uint32_t attribute_index, uint32_t population,
                            uint32_t value, uint32_t *ret_cell)
{
    struct series_attribute *attribute = &series->attributes[attribute_index];
    struct series_cell cell = {
        .attribute = attribute_index, .value = value, .population = population};
    int rc;

    if (attribute->value_count[population] == SERIES_CELLS_MAX) {
        attribute->too_many = true;
        *ret_cell = SERIES_DROPPED;
        return FM_OK;
    }
    if ((rc = series_grow(series, &series->cells, series->cell_count, &series->cell_capacity,
                          sizeof cell)) < 0 ||
        (rc = series_steps(series, 0, &cell.counts)) < 0)
        return rc;
    attribute->value_count[population]++;
    series->cells[series->cell_count] = cell;
    *ret_cell = series->cell_count++;
    return FM_OK;
}

static int compare_cell(struct series *series, uint32_t attribute, uint32_t population,
                        uint32_t value, uint32_t *ret_cell)
{
    uint32_t *number;
    int rc = series_pair(series, COMPARE_CELLS, attribute * SERIES_POPULATIONS + population, value,
                         &number);

    if (rc == FM_OK && *number == SERIES_NONE)
        rc = compare_cell_new(series, attribute, population, value, number);
    if (rc < 0)
        return rc;
    *ret_cell = *number;
    return FM_OK;
}

/* Durations have too many values to be worth counting. */
static bool compare_counts(const struct series *series, uint32_t id)
{
    return id != SERIES_NIL_ID && series->values.values[id].type != TRACEQL_DURATION;
}

static int compare_count(struct series *series, uint32_t attribute_index)
{
    const struct series_scratch *scratch = &series->scratch;
    uint32_t cell = SERIES_DROPPED, last = SERIES_NIL_ID, last_population = SERIES_POPULATIONS;
    int rc;

    for (uint32_t i = 0; i < scratch->count; i++) {
        struct series_attribute *attribute = &series->attributes[attribute_index];
        uint32_t id = scratch->ids[0][i], population = scratch->populations[scratch->spans[i]];
        if (population >= SERIES_POPULATIONS || !compare_counts(series, id))
            continue;
        if (id != last || population != last_population) {
            if ((rc = compare_cell(series, attribute_index, population, id, &cell)) < 0 ||
                (rc = compare_totals(series, attribute, population)) < 0)
                return rc;
            last = id;
            last_population = population;
        }
        attribute->totals[population][scratch->steps[i]] += 1;
        if (cell != SERIES_DROPPED)
            series->cells[cell].counts[scratch->steps[i]] += 1;
    }
    return FM_OK;
}

static bool compare_is_selected(const struct eval_set *set)
{
    const struct traceql_value *value;

    if (!set->label_count)
        return false;
    value = &set->labels[set->label_count - 1].value;
    return value->type == TRACEQL_BOOL && value->flag;
}

/* Per span of the frame its population, SERIES_POPULATIONS for none; spans of the selection outside
 * its stretch of time belong to the rest. */
static int compare_split(struct series *series, struct eval_run *run, const struct frame *frame,
                         struct fm_why *why)
{
    struct series_scratch *scratch = &series->scratch;
    int64_t from = series->query->compare_start_ns, to = series->query->compare_end_ns;
    const struct frame_vector *starts;
    const struct eval_set *sets;
    uint32_t count;
    int rc = eval_run_sets(run, &sets, &count, why);

    if (rc == FM_OK)
        rc = eval_run_vector(run, series->start_field, &starts, why);
    if (rc < 0)
        return rc;
    memset(scratch->populations, SERIES_POPULATIONS, frame->count[FRAME_SPAN]);
    for (uint32_t i = 0; i < count; i++) {
        bool selected = compare_is_selected(&sets[i]);
        for (uint32_t at = 0; at < sets[i].span_count; at++) {
            uint32_t span = sets[i].spans[at];
            bool inside = !from || !to ||
                          (starts->shape == FRAME_INTEGERS && starts->integers[span] > from &&
                           starts->integers[span] <= to);
            scratch->populations[span] = selected && inside ? SERIES_SELECTION : SERIES_BASELINE;
        }
    }
    return FM_OK;
}

static int compare_observe(struct compare_columns *columns, struct eval_run *run,
                           const struct frame *frame, const uint8_t *mask, struct fm_why *why)
{
    struct series *series = columns->series;
    const struct frame_vector *vector;
    int rc = series_survivors(series, run, frame, mask, why);

    if (rc == FM_OK)
        rc = compare_split(series, run, frame, why);
    for (uint32_t i = 0; rc == FM_OK && i < columns->count; i++) {
        struct series_column *column = &columns->columns[i];
        if ((rc = eval_run_vector(run, column->field, &vector, why)) < 0)
            break;
        if (vector->shape == FRAME_ABSENT)
            continue;
        rc =
            series_column_ids(series, column, vector, series_entries(series, frame, vector->domain),
                              false, series->scratch.ids[0]);
        if (rc == FM_OK)
            rc = compare_count(series, columns->attributes[i]);
    }
    return rc;
}

/* ---- a source ---- */

static int compare_names(struct compare_columns *columns, struct series *series, series_open *open,
                         void *self, struct frame_stats *stats, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame_request request = {.start_ns = series->limits.start_ns,
                                    .end_ns = series->limits.end_ns};
    int rc = open(self, &request, &source, why);

    if (rc == FM_OK)
        rc = compare_columns_init(columns, series, source, why);
    if (rc < 0)
        return rc;
    stats->inspected_bytes += source->stats.inspected_bytes;
    return FM_OK;
}

static int compare_run(struct compare_columns *columns, struct eval_plan *plan, series_open *open,
                       void *self, struct frame_stats *stats, struct fm_why *why)
{
    struct series *series = columns->series;
    FM_AUTO(frame_source) source = NULL;
    FM_AUTO(eval_run) run = NULL; /* declared last: it goes before its source */
    struct frame_request request = {.start_ns = series->limits.start_ns,
                                    .end_ns = series->limits.end_ns};
    const struct frame *frame;
    const uint8_t *mask;
    int rc;

    request.fields = eval_plan_fields(plan, &request.field_count);
    if ((rc = open(self, &request, &source, why)) < 0 ||
        (rc = eval_run_new(&run, plan, source, &series->limits)) < 0)
        return rc;
    while ((rc = eval_run_next(run, &frame, &mask, why)) == FM_OK) {
        if ((rc = compare_observe(columns, run, frame, mask, why)) < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    stats->inspected_bytes += source->stats.inspected_bytes;
    stats->inspected_traces += source->stats.inspected_traces;
    stats->inspected_spans += source->stats.inspected_spans;
    return FM_OK;
}

int series_compare_add(struct series *series, series_open *open, void *self,
                       struct frame_stats *stats, struct fm_why *why)
{
    FM_AUTO(eval_plan) plan = NULL;
    struct compare_columns *columns = calloc(1, sizeof *columns);
    int rc = columns ? FM_OK : fm_fail(why, FM_ENOMEM, "out of memory");

    if (rc == FM_OK)
        rc = compare_names(columns, series, open, self, stats, why);
    if (rc == FM_OK)
        rc = eval_plan_new(&plan, series->compare_query, why);
    if (rc == FM_OK)
        rc = compare_columns_plan(columns, plan);
    if (rc == FM_OK)
        rc = compare_run(columns, plan, open, self, stats, why);
    free(columns);
    return rc;
}

/* ---- merging ---- */

static void compare_add_steps(const struct series *series, double *target, const double *source)
{
    for (uint32_t i = 0; i < series->step_count; i++)
        target[i] += source[i];
}

static int compare_merge_attributes(struct series *series, const struct series *other,
                                    uint32_t *attributes)
{
    int rc;

    for (uint32_t i = 0; i < other->attribute_count; i++) {
        const struct series_attribute *from = &other->attributes[i];
        if ((rc = compare_attribute(series, &from->field, &attributes[i])) < 0)
            return rc;
        struct series_attribute *attribute = &series->attributes[attributes[i]];
        attribute->too_many |= from->too_many;
        for (uint32_t population = 0; population < SERIES_POPULATIONS; population++) {
            if (!from->totals[population])
                continue;
            if ((rc = compare_totals(series, attribute, population)) < 0)
                return rc;
            compare_add_steps(series, attribute->totals[population], from->totals[population]);
        }
    }
    return FM_OK;
}

int series_compare_merge(struct series *series, const struct series *other)
{
    uint32_t *attributes, value, cell;
    int rc =
        series_alloc(series, sizeof *attributes * FM_MAX(other->attribute_count, 1u), &attributes);

    if (rc == FM_OK)
        rc = compare_merge_attributes(series, other, attributes);
    for (uint32_t i = 0; rc == FM_OK && i < other->cell_count; i++) {
        const struct series_cell *from = &other->cells[i];
        if ((rc = series_value_id(series, &other->values.values[from->value], &value)) < 0 ||
            (rc = compare_cell(series, attributes[from->attribute], from->population, value,
                               &cell)) < 0)
            return rc;
        if (cell != SERIES_DROPPED)
            compare_add_steps(series, series->cells[cell].counts, from->counts);
    }
    return rc;
}

/* ---- rows ---- */

/* By attribute and population, the most frequent first. */
static int compare_cell_order(const void *a, const void *b, void *self)
{
    const struct series_cell *left = a, *right = b;
    const struct series *series = self;

    if (left->attribute != right->attribute)
        return left->attribute < right->attribute ? -1 : 1;
    if (left->population != right->population)
        return left->population < right->population ? -1 : 1;
    if (left->total != right->total)
        return left->total > right->total ? -1 : 1;
    return series_value_compare(&series->values.values[left->value],
                                &series->values.values[right->value]);
}

static int compare_row(struct series *series, const char *meta_name, const char *meta,
                       struct fm_slice name, const struct traceql_value *value, double *values)
{
    struct series_row *row;
    int rc = series_row_add(series, 2, &row);

    if (rc < 0)
        return rc;
    row->group = SERIES_NONE;
    row->values = values;
    row->label_count = 2;
    row->labels[0].name = fm_slice_text(meta_name);
    row->labels[1].name = name;
    if ((rc = series_text_value(series, fm_slice_text(meta), &row->labels[0].value)) < 0)
        return rc;
    if (!value)
        return series_text_value(series, FM_SLICE("nil"), &row->labels[1].value);
    row->labels[1].value = *value;
    return FM_OK;
}

static int compare_attribute_rows(struct series *series, const struct series_attribute *attribute,
                                  uint32_t top)
{
    static const char *const names[] = {"baseline_total", "selection_total"};
    bool too_many = attribute->too_many;
    int rc = FM_OK;

    for (uint32_t i = 0; rc == FM_OK && i < SERIES_POPULATIONS; i++) {
        too_many |= attribute->value_count[i] > top;
        if (attribute->totals[i])
            rc = compare_row(series, "__meta_type", names[i], attribute->name, NULL,
                             attribute->totals[i]);
    }
    if (rc == FM_OK && too_many)
        rc =
            compare_row(series, "__meta_error", "__too_many_values__", attribute->name, NULL, NULL);
    return rc;
}

int series_compare_rows(struct series *series)
{
    static const char *const names[] = {"baseline", "selection"};
    int64_t asked = series->query->compare_top;
    uint32_t top = asked > 0 ? (uint32_t)FM_MIN(asked, SERIES_CELLS_MAX) : COMPARE_TOP;
    uint32_t rank = 0;
    int rc = FM_OK;

    for (uint32_t i = 0; i < series->cell_count; i++) {
        series->cells[i].total = 0;
        for (uint32_t step = 0; step < series->step_count; step++)
            series->cells[i].total += series->cells[i].counts[step];
    }
    if (series->cell_count)
        qsort_r(series->cells, series->cell_count, sizeof *series->cells, compare_cell_order,
                series);
    for (uint32_t i = 0; rc == FM_OK && i < series->cell_count; i++) {
        const struct series_cell *cell = &series->cells[i], *before = i ? cell - 1 : NULL;
        bool same = before && before->attribute == cell->attribute &&
                    before->population == cell->population;
        rank = same ? rank + 1 : 0;
        if (rank < top)
            rc = compare_row(series, "__meta_type", names[cell->population],
                             series->attributes[cell->attribute].name,
                             &series->values.values[cell->value], cell->counts);
    }
    for (uint32_t i = 0; rc == FM_OK && i < series->attribute_count; i++)
        rc = compare_attribute_rows(series, &series->attributes[i], top);
    return rc;
}
