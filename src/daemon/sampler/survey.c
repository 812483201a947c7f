/* SPDX-License-Identifier: Apache-2.0 */
/* survey - what is known of the traces of one source: how many spans, when, which leaves hold.
 * Column by column: one pass for the facts, one for each leaf, and no trace is put together. */
#include <stdlib.h>

#include "internal.h"

int survey_init(struct survey *survey, const struct trace_id *ids, size_t count)
{
    *survey = (struct survey){.ids = ids, .count = count};
    survey->traces = calloc(count + 1, sizeof *survey->traces);
    return survey->traces ? FM_OK : FM_ENOMEM;
}

void survey_fini(struct survey *survey)
{
    free(fm_take(survey->traces));
    survey->count = 0;
}

/* Sources have their traces in order; *at is where the next one is expected.  NULL: not ours. */
static struct survey_trace *survey_find(const struct survey *survey, const struct trace_id *id,
                                        size_t *at)
{
    if (*at >= survey->count || memcmp(&survey->ids[*at], id, sizeof *id) > 0)
        *at = 0;
    *at += ask_ids_before(survey->ids + *at, survey->count - *at, id);
    if (*at == survey->count || !trace_id_equal(&survey->ids[*at], id))
        return NULL;
    return &survey->traces[(*at)++];
}

/* ---- facts ---- */

static const struct traceql_field facts_fields[] = {{.intrinsic = TRACEQL_TRACE_START},
                                                    {.intrinsic = TRACEQL_TRACE_DURATION}};

static int facts_integers(const struct frame_vector *vector, uint32_t index, uint64_t *ret_value)
{
    const struct traceql_value *value = NULL;
    *ret_value = 0;
    switch (vector->shape) {
    case FRAME_ABSENT:
        break;
    case FRAME_INTEGERS:
        *ret_value = (uint64_t)FM_MAX(vector->integers[index], 0);
        break;
    case FRAME_CODES:
        value = &vector->values->values[vector->codes[index]];
        if (value->type == TRACEQL_INT || value->type == TRACEQL_DURATION)
            *ret_value = (uint64_t)FM_MAX(value->integer, 0);
        break;
    }
    return FM_OK;
}

static int survey_take_facts(struct survey *survey, const struct frame *frame,
                             const struct frame_vector vectors[2], size_t *at)
{
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        struct survey_trace *trace = survey_find(survey, &frame->trace_ids[t], at);
        uint64_t start_ns, duration_ns;
        if (!trace)
            continue;
        int rc = facts_integers(&vectors[0], t, &start_ns);
        if (rc == FM_OK)
            rc = facts_integers(&vectors[1], t, &duration_ns);
        if (rc < 0)
            return rc;
        trace->span_count += frame->trace_spans[t + 1] - frame->trace_spans[t];
        trace->start_ns = start_ns;
        trace->end_ns = start_ns + FM_MIN(duration_ns, UINT64_MAX - start_ns);
    }
    return FM_OK;
}

static int survey_facts(struct survey *survey, const struct survey_place *place, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    const struct frame_request request = {
        .fields = facts_fields, .field_count = FM_COUNT(facts_fields), .end_ns = UINT64_MAX};
    struct frame_vector vectors[FM_COUNT(facts_fields)];
    struct frame frame;
    size_t at = 0;
    int rc = place->open(place, &request, &source, why);
    while (rc == FM_OK && (rc = frame_next(source, &frame, why)) == FM_OK) {
        if (atomic_load(place->cancelled))
            return FM_ECANCELLED;
        for (uint32_t i = 0; i < FM_COUNT(vectors) && rc == FM_OK; i++)
            rc = frame_vector(source, i, NULL, &vectors[i], why);
        if (rc == FM_OK)
            rc = survey_take_facts(survey, &frame, vectors, &at);
    }
    return rc == FM_END || rc == FM_NONE ? FM_OK : rc;
}

/* ---- leaves ---- */

static void survey_take_leaf(struct survey *survey, const struct frame *frame, const uint8_t *mask,
                             uint64_t leaf, size_t *at)
{
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++) {
        uint32_t first = frame->trace_spans[t], count = frame->trace_spans[t + 1] - first;
        if (!memchr(mask + first, 1, count))
            continue;
        struct survey_trace *trace = survey_find(survey, &frame->trace_ids[t], at);
        if (trace)
            trace->leaves |= leaf;
    }
}

static int survey_leaf(struct survey *survey, const struct survey_place *place,
                       const struct eval_plan *plan, uint64_t leaf, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    FM_AUTO(eval_run) run = NULL;
    struct frame_request request = {.end_ns = UINT64_MAX};
    const struct eval_limits limits = {.memory_max = place->memory_max,
                                       .cancelled = place->cancelled};
    const struct frame *frame;
    const uint8_t *mask;
    size_t at = 0;
    request.fields = eval_plan_fields(plan, &request.field_count);
    int rc = place->open(place, &request, &source, why);
    if (rc == FM_OK)
        rc = eval_run_new(&run, plan, source, &limits);
    while (rc == FM_OK && (rc = eval_run_next(run, &frame, &mask, why)) == FM_OK)
        survey_take_leaf(survey, frame, mask, leaf, &at);
    return rc == FM_END || rc == FM_NONE ? FM_OK : rc;
}

int survey_run(struct survey *survey, const struct survey_place *place, const struct leaves *leaves,
               struct fm_why *why)
{
    int rc = survey_facts(survey, place, why);
    for (size_t i = 0; leaves && rc == FM_OK && i < leaves->count; i++) {
        rc = survey_leaf(survey, place, leaves->plans[i], UINT64_C(1) << i, why);
        if (rc == FM_EMALFORMED) { /* what it computes fails on what it meets: it does not hold */
            log_warn("sample.leaf_failed", "query=\"%.*s\" why=\"%s\"", (int)leaves->texts[i].len,
                     (const char *)leaves->texts[i].ptr, why->text);
            rc = FM_OK;
        }
    }
    return rc;
}

/* ---- compiling ---- */

static int leaves_compile(struct leaves *leaves, struct fm_slice text, struct fm_why *why)
{
    struct traceql_query *query;
    struct eval_plan *plan;
    int rc = traceql_parse(text, &leaves->arena, &query, why);
    if (rc == FM_OK)
        rc = traceql_check(query, why);
    if (rc == FM_OK)
        rc = eval_plan_new(&plan, query, why);
    if (rc < 0)
        return rc;
    leaves->texts[leaves->count] = text;
    leaves->plans[leaves->count++] = plan;
    return FM_OK;
}

static unsigned leaves_parts(const struct leaves *leaves)
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
    for (size_t i = 0; i < leaves->count; i++) {
        uint32_t count;
        const struct traceql_field *fields = eval_plan_fields(leaves->plans[i], &count);
        for (uint32_t f = 0; f < count; f++) {
            enum frame_domain domain = frame_field_domain(&fields[f]);
            if (fields[f].intrinsic == TRACEQL_ATTRIBUTE)
                parts |= of_scope[fields[f].scope];
            else
                parts |= domain == FRAME_EVENT  ? BLOCK_TRACES_EVENTS
                         : domain == FRAME_LINK ? BLOCK_TRACES_LINKS
                                                : 0;
        }
    }
    return parts;
}

int leaves_init(struct leaves *leaves, const struct sample_rules *rules, struct fm_why *why)
{
    int rc = FM_OK;
    fm_arena_init(&leaves->arena, LEAVES_BYTES_MAX);
    for (size_t i = 0; rules && rc == FM_OK && i < sample_leaf_count(rules); i++)
        rc = leaves_compile(leaves, sample_leaf_text(rules, i), why);
    leaves->parts = leaves_parts(leaves);
    return rc;
}

void leaves_fini(struct leaves *leaves)
{
    while (leaves->count)
        eval_plan_free(leaves->plans[--leaves->count]);
    fm_arena_fini(&leaves->arena);
}
