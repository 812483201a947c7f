/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a field on the spans that come through a filter, each about once. */
#include "internal.h"

#include <stdlib.h>

#define VALUES_RECENT 4096 /* integers that are not said again; a power of two */

struct values {
    struct eval_run *run;
    frame_visit_value *visit;
    void *self;
    struct values_seen { /* of one of the field's vectors */
        uint8_t *codes;  /* owned; 1: said */
        uint32_t count, cap;
        uint64_t serial;
    } seen[2];
    int64_t *recent; /* owned; an integer at the place of its hash */
    uint8_t *is_recent;
};

static int values_say(struct values *values, const struct traceql_value *value)
{
    if (value->type == TRACEQL_NIL)
        return FM_OK;
    if (value->type != TRACEQL_ARRAY)
        return values->visit(values->self, value);
    int rc = FM_OK;
    for (uint32_t i = 0; i < value->element_count && !rc; i++)
        rc = values->visit(values->self, &value->elements[i]);
    return rc;
}

static int values_integer(struct values *values, enum traceql_type type, int64_t integer)
{
    struct traceql_value value = {.type = type, .integer = integer};
    uint64_t at = ((uint64_t)integer * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    if (!values->recent) {
        values->recent = calloc(VALUES_RECENT, sizeof *values->recent);
        values->is_recent = calloc(VALUES_RECENT, 1);
        if (!values->recent || !values->is_recent)
            return FM_ENOMEM;
    }
    if (values->is_recent[at] && values->recent[at] == integer)
        return FM_OK;
    values->is_recent[at] = 1;
    values->recent[at] = integer;
    return values->visit(values->self, &value);
}

/* entries: one byte for each of the vector's, whether it counts. */
static int values_of_vector(struct values *values, unsigned which,
                            const struct frame_vector *vector, enum traceql_intrinsic intrinsic,
                            const uint8_t *entries)
{
    struct values_seen *seen = &values->seen[which];
    int rc = FM_OK;
    if (vector->shape == FRAME_INTEGERS) {
        for (uint32_t i = 0; i < vector->count && !rc; i++)
            if (entries[i])
                rc = values_integer(values, vector->type, vector->integers[i]);
        return rc;
    }
    if (vector->shape == FRAME_ABSENT)
        return FM_OK;
    if (seen->serial != vector->values->serial)
        seen->count = 0;
    seen->serial = vector->values->serial;
    rc = run_grow(values->run, &seen->codes, &seen->cap, vector->values->count);
    if (rc)
        return rc;
    memset(seen->codes + seen->count, 0, vector->values->count - seen->count);
    seen->count = vector->values->count;
    for (uint32_t i = 0; i < vector->count && !rc; i++) {
        uint32_t code = vector->codes[i];
        if (!entries[i] || seen->codes[code])
            continue;
        seen->codes[code] = 1;
        if (code) {
            struct traceql_value value =
                value_of_intrinsic(intrinsic, vector->values->values[code]);
            rc = values_say(values, &value);
        }
    }
    return rc;
}

/* From spans to the entries of another domain. */
static const uint8_t *values_entries(struct eval_run *run, const uint8_t *mask,
                                     enum frame_domain domain)
{
    const struct frame *frame = &run->frame;
    const uint32_t *starts = domain == FRAME_EVENT ? frame->span_events : frame->span_links;
    const uint32_t *of = domain == FRAME_TRACE      ? run_span_traces(run)
                         : domain == FRAME_RESOURCE ? frame->span_resources
                                                    : frame->span_scopes;
    if (domain == FRAME_SPAN)
        return mask;
    uint8_t *entries = run_alloc(run, frame->count[domain], 1);
    if (!entries || (domain == FRAME_TRACE && !of))
        return NULL;
    memset(entries, 0, frame->count[domain]);
    for (uint32_t i = 0; i < frame->count[FRAME_SPAN]; i++) {
        if (!mask[i])
            continue;
        if (domain != FRAME_EVENT && domain != FRAME_LINK)
            entries[of[i]] = 1;
        else if (starts)
            memset(entries + starts[i], 1, starts[i + 1] - starts[i]);
    }
    return entries;
}

/* Of resources only those count that have a span without the field. */
static const uint8_t *values_unshadowed(struct eval_run *run, const uint8_t *mask,
                                        const struct frame_vector *own)
{
    uint32_t count = run->frame.count[FRAME_SPAN];
    uint8_t *lacking = run_mask_take(run);
    if (!lacking)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        lacking[i] = mask[i] &&
                     (own->shape == FRAME_ABSENT || (own->shape == FRAME_CODES && !own->codes[i]));
    return values_entries(run, lacking, FRAME_RESOURCE);
}

static int values_frame(struct values *values, const struct eval_ref *ref, const uint8_t *mask,
                        struct fm_why *why)
{
    struct eval_run *run = values->run;
    const struct frame_vector *vector;
    const uint8_t *wanted, *entries;
    int rc = run_wanted(run, mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    rc = run_load(run, ref->index, wanted, &vector, why);
    if (rc)
        return rc;
    entries = values_entries(run, mask, ref->domain);
    if (!entries)
        return run->rc;
    rc = values_of_vector(values, 0, vector, ref->intrinsic, entries);
    if (rc || ref->second == EVAL_NONE)
        return rc;
    entries = values_unshadowed(run, mask, vector);
    if (!entries)
        return run->rc;
    rc = run_load(run, ref->second, wanted, &vector, why);
    return rc ? rc : values_of_vector(values, 1, vector, ref->intrinsic, entries);
}

static int values_run(struct values *values, const struct eval_ref *ref, struct fm_why *why)
{
    const struct frame *frame;
    const uint8_t *mask;
    int rc;
    while ((rc = eval_run_next(values->run, &frame, &mask, why)) == FM_OK) {
        rc = values_frame(values, ref, mask, why);
        if (rc)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

int eval_values(struct eval_plan *plan, const struct traceql_field *field,
                struct frame_source *source, const struct eval_limits *limits,
                frame_visit_value *visit, void *self, struct fm_why *why)
{
    struct values values = {.visit = visit, .self = self};
    FM_AUTO(eval_run) run = NULL;
    struct eval_ref ref;
    uint32_t known = plan->field_count;
    int rc = plan_ref(plan, field, &ref);
    if (!rc && plan->field_count != known)
        return fm_fail(why, FM_EUSAGE, "a field that the source was not opened with");
    if (!rc && plan->takes_all) {
        rc = frame_values(source, ref.index, visit, self, why);
        if (!rc && ref.second != EVAL_NONE)
            rc = frame_values(source, ref.second, visit, self, why);
        return rc;
    }
    if (!rc)
        rc = eval_run_new(&run, plan, source, limits);
    if (rc)
        return rc;
    values.run = run;
    rc = values_run(&values, &ref, why);
    free(values.seen[0].codes);
    free(values.seen[1].codes);
    free(values.recent);
    free(values.is_recent);
    return rc;
}
