/* SPDX-License-Identifier: Apache-2.0 */
/* part - what some places say to a question: each kind's collector behind one face. */
#include <stdlib.h>

#include "fermata/block_frames.h"
#include "fermata/block_traces.h"
#include "internal.h"

struct ask_part {
    const struct ask *ask;
    struct eval_limits limits;
    size_t source_memory_max;
    struct block_keep *keep; /* borrowed, or NULL */
    uint64_t floor_ns;
    uint32_t count_max;              /* of names or values */
    struct eval_plan *plan;          /* owned; SEARCH, TAG_VALUES */
    struct eval_search *search;      /* owned; SEARCH */
    struct eval_plan *weak_plan;     /* owned; of a question that is not local */
    struct eval_search *weak;        /* owned; finds the candidates then */
    struct series *series;           /* owned; METRICS */
    struct series *finished;         /* owned; what was last found */
    struct ask_set sets[ASK_SCOPES]; /* TAG_NAMES; TAG_VALUES: the first */
    struct frame_stats stats;
    struct answer_scope scopes[ASK_SCOPES + 1]; /* what was last found */
    struct fm_slice *tags;                      /* owned; likewise */
};

/* ---- one place at a time ---- */

struct ask_place {
    struct ask_part *part;
    const struct block *block;     /* or rows */
    uint64_t row_from, row_to;     /* of block, as in frame_request */
    const struct frame_rows *rows; /* or block */
};

static int place_open(void *self, const struct frame_request *request,
                      struct frame_source **ret_source, struct fm_why *why)
{
    const struct ask_place *place = self;
    if (!place->block)
        return frame_rows_source(place->rows, request, ret_source);
    struct frame_request of_share = *request;
    of_share.row_from = place->row_from;
    of_share.row_to = place->row_to;
    of_share.keep = place->part->keep;
    int rc =
        block_frames_new(place->block, &of_share, place->part->source_memory_max, ret_source, why);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc; /* the question is not to blame */
}

/* ---- making one ---- */

/* A name without a scope may be of any. */
static int part_want_field(struct ask_part *part)
{
    struct traceql_field field = part->ask->field;
    uint32_t index;
    if (field.intrinsic != TRACEQL_ATTRIBUTE || field.scope != TRACEQL_ANY_SCOPE)
        return eval_plan_want(part->plan, &field, &index);
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        field.scope = ask_scope_rows[i].scope;
        int rc = eval_plan_want(part->plan, &field, &index);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

/* Of numbers, times and ids nobody wants a list. */
static bool field_is_listed(const struct traceql_field *field)
{
    switch (field->intrinsic) {
    case TRACEQL_ATTRIBUTE:
    case TRACEQL_NAME:
    case TRACEQL_STATUS_MESSAGE:
    case TRACEQL_ROOT_NAME:
    case TRACEQL_ROOT_SERVICE:
    case TRACEQL_EVENT_NAME:
    case TRACEQL_SCOPE_NAME:
    case TRACEQL_SCOPE_VERSION:
        return true;
    default:
        return false;
    }
}

/* Status and kind have the same words whatever is stored. */
static int part_add_words(struct ask_part *part)
{
    enum traceql_intrinsic of = part->ask->field.intrinsic;
    bool is_status = of == TRACEQL_STATUS_CODE;
    int64_t count = is_status ? 3 : of == TRACEQL_SPAN_KIND ? 6 : 0;
    int rc = FM_OK;
    for (int64_t i = 0; i < count && rc == FM_OK; i++) {
        struct traceql_value word = {.type = is_status ? TRACEQL_STATUS : TRACEQL_KIND,
                                     .integer = i};
        rc = ask_set_add(&part->sets[0], &word);
    }
    return rc < 0 ? rc : FM_OK;
}

static int part_prepare(struct ask_part *part, struct fm_why *why)
{
    const struct ask *ask = part->ask;
    int rc = FM_OK;
    switch (ask->kind) {
    case ASK_SEARCH:
        rc = eval_plan_new(&part->plan, ask->query, why);
        if (rc == FM_OK)
            rc = eval_search_new(&part->search, part->plan, &part->limits, &ask->search);
        if (rc == FM_OK)
            eval_search_raise_floor(part->search, part->floor_ns);
        return rc;
    case ASK_METRICS:
        part->limits.by_span = true;
        return series_new(&part->series, ask->query, &part->limits, &ask->series, why);
    case ASK_TAG_VALUES:
        ask_set_init(&part->sets[0], part->count_max);
        rc = part_add_words(part);
        if (rc == FM_OK)
            rc = eval_plan_new(&part->plan, ask->query, why);
        return rc < 0 ? rc : part_want_field(part);
    case ASK_TAG_NAMES:
        for (unsigned i = 0; i < ASK_SCOPES; i++)
            ask_set_init(&part->sets[i], part->count_max);
        break;
    }
    return FM_OK;
}

/* Of a local search the parts of a trace pass the query itself; else they are left out of it, and
 * passed by its weak form. */
static int part_prepare_partial(struct ask_part *part, const struct ask_limits *limits,
                                struct fm_why *why)
{
    const struct ask *ask = part->ask;
    struct eval_limits weak = part->limits;
    if (!limits->partial_count || !ask_joins(ask))
        return FM_OK;
    if (!ask->weak) {
        part->limits.partial = limits->partial;
        part->limits.partial_count = limits->partial_count;
        return FM_OK;
    }
    part->limits.excluded = limits->partial;
    part->limits.excluded_count = limits->partial_count;
    weak.partial = limits->partial;
    weak.partial_count = limits->partial_count;
    weak.only_partial = true;
    int rc = eval_plan_new(&part->weak_plan, ask->weak, why);
    return rc < 0 ? rc : eval_search_new(&part->weak, part->weak_plan, &weak, &ask->search);
}

int ask_part_new(struct ask_part **ret_part, const struct ask *ask, const struct ask_limits *limits,
                 struct fm_why *why)
{
    FM_AUTO(ask_part) part = calloc(1, sizeof *part);
    if (!part)
        return fm_fail(why, FM_ENOMEM, "no memory for a part of the answer");
    part->ask = ask;
    part->floor_ns = limits->floor_ns;
    part->count_max = ask->limit && !limits->for_list ? ask->limit : ASK_NAMES_MAX;
    part->source_memory_max = limits->memory_max / 2;
    part->keep = limits->keep;
    part->limits = (struct eval_limits){
        .start_ns = FM_MAX(ask->start_ns, ask->kind == ASK_SEARCH ? limits->floor_ns : 0),
        .end_ns = ask->end_ns,
        .memory_max = limits->memory_max / 2,
        .cancelled = limits->cancelled,
        .excluded = limits->excluded,
        .excluded_count = limits->excluded_count,
    };
    int rc = part_prepare_partial(part, limits, why);
    if (rc == FM_OK)
        rc = part_prepare(part, why);
    if (rc < 0)
        return rc;
    *ret_part = fm_take(part);
    return FM_OK;
}

struct ask_part *ask_part_free(struct ask_part *part)
{
    if (!part)
        return NULL;
    part->search = eval_search_free(part->search);
    part->plan = eval_plan_free(part->plan);
    part->weak = eval_search_free(part->weak);
    part->weak_plan = eval_plan_free(part->weak_plan);
    part->finished = series_free(part->finished);
    part->series = series_free(part->series);
    for (unsigned i = 0; i < ASK_SCOPES; i++)
        ask_set_fini(&part->sets[i]);
    free(part->tags);
    free(part);
    return NULL;
}

/* ---- adding ---- */

static int part_on_value(void *self, const struct traceql_value *value)
{
    return ask_set_add(self, value);
}

static int part_add_planned(struct ask_part *part, struct ask_place *place, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame_request request = {.start_ns = part->limits.start_ns,
                                    .end_ns = part->limits.end_ns};
    if (part->limits.partial_count) { /* of parts of traces nothing is outside, but by the floor */
        request.start_ns = part->floor_ns;
        request.end_ns = UINT64_MAX;
    }
    request.fields = eval_plan_fields(part->plan, &request.field_count);
    request.types = eval_plan_types(part->plan);
    int rc = place_open(place, &request, &source, why);
    if (rc < 0)
        return rc;
    if (part->search)
        rc = eval_search_add(part->search, source, why);
    else
        rc = eval_values(part->plan, &part->ask->field, source, &part->limits, part_on_value,
                         &part->sets[0], why);
    ask_stats_add(&part->stats, &source->stats);
    return rc == FM_NONE ? FM_OK : rc;
}

static int part_add_weak(struct ask_part *part, struct ask_place *place, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame_request request = {.start_ns = part->floor_ns, .end_ns = UINT64_MAX};
    request.fields = eval_plan_fields(part->weak_plan, &request.field_count);
    int rc = place_open(place, &request, &source, why);
    if (rc < 0)
        return rc;
    if (part->search)
        eval_search_raise_floor(part->weak,
                                FM_MAX(part->floor_ns, eval_search_floor_ns(part->search)));
    rc = eval_search_add(part->weak, source, why);
    part->stats.inspected_bytes += source->stats.inspected_bytes; /* the spans are not new */
    return rc;
}

static int part_add_whole(struct ask_part *part, struct ask_place *place, struct fm_why *why)
{
    switch (part->ask->kind) {
    case ASK_TAG_NAMES:
        return ask_names_add(part->ask, &part->limits, place_open, place, part->sets, &part->stats,
                             why);
    case ASK_METRICS:
        return series_add(part->series, place_open, place, &part->stats, why);
    case ASK_TAG_VALUES:
        if (!field_is_listed(&part->ask->field))
            return FM_OK;
        break;
    case ASK_SEARCH:
        break;
    }
    return part_add_planned(part, place, why);
}

static int part_add(struct ask_part *part, struct ask_place *place, struct fm_why *why)
{
    int rc = part_add_whole(part, place, why);
    return rc == FM_OK && part->weak ? part_add_weak(part, place, why) : rc;
}

int ask_part_add_block(struct ask_part *part, const struct block *block, struct fm_why *why)
{
    struct ask_place place = {.part = part, .block = block};
    return part_add(part, &place, why);
}

int ask_part_add_share(struct ask_part *part, const struct block *block, uint32_t share,
                       uint32_t count, struct fm_why *why)
{
    struct ask_place place = {.part = part, .block = block};
    int rc =
        count == 1 ? FM_OK : block_share(block, share, count, &place.row_from, &place.row_to, why);
    if (rc != FM_OK)
        return rc == FM_NONE ? FM_OK : rc;
    return part_add(part, &place, why);
}

int ask_part_add_rows(struct ask_part *part, const struct frame_rows *rows, struct fm_why *why)
{
    struct ask_place place = {.part = part, .rows = rows};
    return part_add(part, &place, why);
}

int ask_part_list(const struct ask_part *part, struct ask_list **ret_list)
{
    return ask_list_new(ret_list, part->sets);
}

int ask_part_add_list(struct ask_part *part, const struct ask_list *list)
{
    return ask_list_add(list, part->sets);
}

static int part_merge_sets(struct ask_part *part, const struct ask_part *other)
{
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        for (uint32_t at = 0; at < other->sets[i].count; at++) {
            int rc = ask_set_add(&part->sets[i], &other->sets[i].values[at]);
            if (rc < 0)
                return rc;
            if (rc == FM_NONE)
                break;
        }
    }
    return FM_OK;
}

/* A part that merges others' candidates has no partial traces of its own. */
static int part_take_weak(struct ask_part *part)
{
    int rc = eval_plan_new(&part->weak_plan, part->ask->weak, NULL);
    return rc < 0
               ? rc
               : eval_search_new(&part->weak, part->weak_plan, &part->limits, &part->ask->search);
}

int ask_part_merge(struct ask_part *part, const struct ask_part *other)
{
    int rc = FM_OK;
    switch (part->ask->kind) {
    case ASK_SEARCH:
        rc = eval_search_merge(part->search, other->search);
        break;
    case ASK_METRICS:
        rc = series_merge(part->series, other->series);
        break;
    case ASK_TAG_NAMES:
    case ASK_TAG_VALUES:
        rc = part_merge_sets(part, other);
        break;
    }
    if (rc == FM_OK && other->weak && !part->weak)
        rc = part_take_weak(part);
    if (rc == FM_OK && other->weak)
        rc = eval_search_merge(part->weak, other->weak);
    ask_stats_add(&part->stats, &other->stats);
    return rc;
}

/* ---- what was found ---- */

uint64_t ask_part_floor_ns(const struct ask_part *part)
{
    return part->search ? eval_search_floor_ns(part->search) : 0;
}

bool ask_part_is_full(const struct ask_part *part)
{
    switch (part->ask->kind) {
    case ASK_TAG_VALUES:
        return part->sets[0].is_full;
    case ASK_TAG_NAMES:
        for (unsigned i = 0; i < ASK_SCOPES; i++) {
            if ((part->ask->scopes & 1u << i) && !part->sets[i].is_full)
                return false;
        }
        return true;
    case ASK_SEARCH:
    case ASK_METRICS:
        break;
    }
    return false;
}

const struct eval_candidate *ask_part_candidates(const struct ask_part *part, size_t *ret_count)
{
    const struct eval_search *search = part->weak ? part->weak : part->search;
    *ret_count = 0;
    return search ? eval_search_candidates(search, ret_count) : NULL;
}

unsigned ask_part_parts(const struct ask_part *part)
{
    static const unsigned of_scope[] = {
        [TRACEQL_ANY_SCOPE] = BLOCK_TRACES_SPAN_ATTRIBUTES | BLOCK_TRACES_RESOURCE_ATTRIBUTES,
        [TRACEQL_SPAN] = BLOCK_TRACES_SPAN_ATTRIBUTES,
        [TRACEQL_RESOURCE] = BLOCK_TRACES_RESOURCE_ATTRIBUTES,
        [TRACEQL_EVENT] = BLOCK_TRACES_EVENTS,
        [TRACEQL_LINK] = BLOCK_TRACES_LINKS,
        [TRACEQL_INSTRUMENTATION] = BLOCK_TRACES_SCOPE_ATTRIBUTES,
    };
    unsigned parts = 0;
    uint32_t count = 0;
    const struct traceql_field *fields = part->search ? eval_plan_fields(part->plan, &count) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        enum frame_domain domain = frame_field_domain(&fields[i]);
        bool is_service = fields[i].scope == TRACEQL_RESOURCE &&
                          fm_slice_equal_text(fields[i].name, "service.name");
        if (fields[i].intrinsic != TRACEQL_ATTRIBUTE)
            parts |= domain == FRAME_EVENT  ? BLOCK_TRACES_EVENTS
                     : domain == FRAME_LINK ? BLOCK_TRACES_LINKS
                                            : 0;
        else if (!is_service)
            parts |= of_scope[fields[i].scope];
    }
    return fields ? parts : BLOCK_TRACES_ALL;
}

bool ask_part_wants(const struct ask_part *part, struct fm_slice name)
{
    uint32_t count = 0;
    const struct traceql_field *fields = part->search ? eval_plan_fields(part->plan, &count) : NULL;
    bool is_wanted = !fields;
    for (uint32_t i = 0; i < count && !is_wanted; i++)
        is_wanted =
            fields[i].intrinsic == TRACEQL_ATTRIBUTE && fm_slice_equal(fields[i].name, name);
    return is_wanted;
}

const struct frame_stats *ask_part_stats(const struct ask_part *part)
{
    return &part->stats;
}

static int part_list_names(struct ask_part *part, struct ask_found *found)
{
    size_t count = 0, used = 0;
    for (unsigned i = 0; i < ASK_SCOPES; i++)
        count += part->sets[i].count;
    struct fm_slice *tags = realloc(part->tags, (count + 1) * sizeof *tags);
    if (!tags)
        return FM_ENOMEM;
    part->tags = tags;
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        struct ask_set *set = &part->sets[i];
        if (!set->count)
            continue;
        ask_set_sort(set);
        part->scopes[found->count++] =
            (struct answer_scope){ask_scope_rows[i].name, tags + used, set->count};
        for (uint32_t at = 0; at < set->count; at++)
            tags[used++] = set->values[at].text;
    }
    if (part->ask->wants_intrinsics) {
        uint32_t intrinsic_count;
        const struct fm_slice *intrinsics = answer_intrinsics(&intrinsic_count);
        part->scopes[found->count++] =
            (struct answer_scope){"intrinsic", intrinsics, intrinsic_count};
    }
    found->scopes = part->scopes;
    return FM_OK;
}

/* Finishing is once and final, so a copy of the series is finished. */
static int part_finish_series(struct ask_part *part, struct ask_found *found, struct fm_why *why)
{
    part->finished = series_free(part->finished);
    int rc = series_new(&part->finished, part->ask->query, &part->limits, &part->ask->series, why);
    if (rc == FM_OK)
        rc = series_merge(part->finished, part->series);
    return rc < 0 ? rc : series_finish(part->finished, &found->series, why);
}

int ask_part_found(struct ask_part *part, struct ask_found *ret_found, struct fm_why *why)
{
    struct ask_found found = {0};
    int rc = FM_OK;
    switch (part->ask->kind) {
    case ASK_SEARCH:
        found.traces = eval_search_traces(part->search, &found.count);
        rc = found.traces ? FM_OK : FM_ENOMEM;
        break;
    case ASK_METRICS:
        rc = part_finish_series(part, &found, why);
        break;
    case ASK_TAG_NAMES:
        rc = part_list_names(part, &found);
        break;
    case ASK_TAG_VALUES:
        ask_set_sort(&part->sets[0]);
        found.values = part->sets[0].values;
        found.count = part->sets[0].count;
        break;
    }
    if (rc < 0)
        return rc;
    *ret_found = found;
    return FM_OK;
}
