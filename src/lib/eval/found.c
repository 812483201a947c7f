/* SPDX-License-Identifier: Apache-2.0 */
/* What a search shows of a trace: gathered from the vectors, copied into one allocation, joined
 * with what another source says of the same trace. */
#include "internal.h"

#include <stdlib.h>

#define FOUND_SERVICES_NEAR 64
#define FOUND_PAIRS_MAX     (UINT64_C(1) << 20) /* of sets compared when traces are joined */

int found_want(struct eval_plan *plan, struct found_fields *ret_fields)
{
    struct found_fields fields;
    const struct {
        enum traceql_intrinsic intrinsic;
        uint32_t *index;
    } wants[] = {
        {TRACEQL_TRACE_START, &fields.trace_start},
        {TRACEQL_TRACE_DURATION, &fields.trace_duration},
        {TRACEQL_ROOT_NAME, &fields.root_name},
        {TRACEQL_ROOT_SERVICE, &fields.root_service},
        {TRACEQL_STATUS_CODE, &fields.status},
        {TRACEQL_SPAN_ID, &fields.span_id},
        {TRACEQL_SPAN_START, &fields.start},
        {TRACEQL_SPAN_DURATION, &fields.duration},
        {TRACEQL_NAME, &fields.name},
    };
    struct traceql_field service = {.scope = TRACEQL_RESOURCE, .name = FM_SLICE("service.name")};
    int rc = eval_plan_want(plan, &service, &fields.service);
    for (unsigned i = 0; i < FM_COUNT(wants) && !rc; i++) {
        struct traceql_field field = {.intrinsic = wants[i].intrinsic};
        rc = eval_plan_want(plan, &field, wants[i].index);
    }
    if (!rc)
        *ret_fields = fields;
    return rc;
}

/* Of no use to a reader of the answer, or a member of its own there. */
static bool found_is_hidden(const struct eval_shown *shown)
{
    switch (shown->field.intrinsic) {
    case TRACEQL_NAME:
    case TRACEQL_SPAN_DURATION:
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_ROOT_NAME:
    case TRACEQL_ROOT_SERVICE:
    case TRACEQL_TRACE_ID:
    case TRACEQL_SPAN_ID:
    case TRACEQL_SPAN_START:
    case TRACEQL_TRACE_START:
        return true;
    default:
        return false;
    }
}

int found_load(struct eval_run *run, const struct found_fields *fields, const uint8_t *wanted,
               struct fm_why *why)
{
    const uint32_t needed[] = {fields->trace_duration, fields->root_name, fields->root_service,
                               fields->service,        fields->status,    fields->span_id,
                               fields->start,          fields->duration,  fields->name};
    const struct frame_vector *vector;
    int rc = FM_OK;
    for (unsigned i = 0; i < FM_COUNT(needed) && !rc; i++)
        rc = run_load(run, needed[i], wanted, &vector, why);
    for (uint32_t i = 0; i < run->plan->shown_count && !rc; i++)
        if (!found_is_hidden(&run->plan->shown[i]))
            rc = run_load_ref(run, &run->plan->shown[i].ref, wanted, why);
    return rc;
}

static struct fm_slice found_text(const struct eval_run *run, uint32_t field, uint32_t entry)
{
    struct traceql_value value = run_entry_value(run, field, entry);
    return value.type == TRACEQL_STRING ? value.text : FM_SLICE("");
}

static int64_t found_integer(const struct eval_run *run, uint32_t field, uint32_t entry)
{
    struct traceql_value value = run_entry_value(run, field, entry);
    return value.type == TRACEQL_INT || value.type == TRACEQL_DURATION ||
                   value.type == TRACEQL_STATUS
               ? value.integer
               : 0;
}

/* ---- services ---- */

static int found_order_services(const void *a, const void *b)
{
    const struct eval_service *x = a, *y = b;
    return fm_slice_compare(x->name, y->name);
}

/* Sorted by name, one of each. */
static uint32_t found_merge_services(struct eval_service *services, uint32_t count)
{
    uint32_t kept = 0;
    qsort(services, count, sizeof *services, found_order_services);
    for (uint32_t i = 0; i < count; i++) {
        if (kept && fm_slice_equal(services[kept - 1].name, services[i].name)) {
            services[kept - 1].span_count += services[i].span_count;
            services[kept - 1].error_count += services[i].error_count;
        } else {
            services[kept++] = services[i];
        }
    }
    return kept;
}

/* The entry of a service; the table of values has each name once, so that its place tells.  What is
 * beyond the first few is left to sorting. */
static uint32_t found_service(struct eval_service *services, uint32_t *count, struct fm_slice name)
{
    for (uint32_t i = 0; i < *count && i < FOUND_SERVICES_NEAR; i++)
        if (services[i].name.ptr == name.ptr && services[i].name.len == name.len)
            return i;
    services[*count] = (struct eval_service){.name = name};
    return (*count)++;
}

static int found_services(struct eval_run *run, const struct found_fields *fields, uint32_t trace,
                          struct eval_trace *target)
{
    const struct frame *frame = &run->frame;
    uint32_t first = frame->trace_spans[trace], end = frame->trace_spans[trace + 1];
    uint32_t runs = 0, count = 0, at = 0;
    for (uint32_t i = first; i < end; i++)
        runs += i == first || frame->span_resources[i] != frame->span_resources[i - 1];
    struct eval_service *services = run_alloc(run, runs, sizeof *services);
    if (!services)
        return run->rc;
    for (uint32_t i = first; i < end; i++) {
        uint32_t resource = frame->span_resources[i];
        if (i == first || resource != frame->span_resources[i - 1])
            at = found_service(services, &count, found_text(run, fields->service, resource));
        services[at].span_count++;
        services[at].error_count += found_integer(run, fields->status, i) == 2;
    }
    target->services = services;
    target->service_count = found_merge_services(services, count);
    return FM_OK;
}

/* ---- spans ---- */

/* Of events and links the first one that the query was about, else the first that has it. */
static int found_some(struct eval_run *run, const struct eval_shown *shown, uint32_t span,
                      struct traceql_value *ret_value)
{
    const struct eval_plan *plan = run->plan;
    const uint32_t *starts =
        shown->ref.domain == FRAME_EVENT ? run->frame.span_events : run->frame.span_links;
    struct regex_matcher *matcher = NULL;
    for (uint32_t t = 0; starts && t < plan->some_count; t++) {
        const struct eval_node *node = plan->some_tests[t];
        int rc = FM_OK;
        if (node->ref.index != shown->ref.index)
            continue;
        if (node->test.regex != EVAL_NONE)
            rc = run_matcher(run, node->test.regex, &matcher);
        if (rc)
            return rc;
        for (uint32_t i = starts[span]; i < starts[span + 1]; i++) {
            struct traceql_value value = run_entry_value(run, shown->ref.index, i);
            if (value.type == TRACEQL_NIL ||
                !test_holds(&node->test, shown->ref.intrinsic, &value, matcher))
                continue;
            *ret_value = value;
            return FM_OK;
        }
    }
    *ret_value = run_ref_value(run, &shown->ref, span, EVAL_NONE, EVAL_NONE);
    return FM_OK;
}

static struct fm_slice found_field_name(const struct traceql_field *field)
{
    static const char *const names[] = {NULL,
#define X(name, text, type) text,
                                        TRACEQL_INTRINSICS(X)
#undef X
    };
    return field->intrinsic ? fm_slice_text(names[field->intrinsic]) : field->name;
}

static int found_attributes(struct eval_run *run, uint32_t span, struct eval_span *target)
{
    const struct eval_plan *plan = run->plan;
    struct eval_attribute *attributes = run_alloc(run, plan->shown_count, sizeof *attributes);
    if (!attributes)
        return run->rc;
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->shown_count; i++) {
        const struct eval_shown *shown = &plan->shown[i];
        struct traceql_value value;
        int rc = FM_OK;
        target->shows_name |= shown->field.intrinsic == TRACEQL_NAME;
        if (found_is_hidden(shown))
            continue;
        if (shown->ref.domain == FRAME_EVENT || shown->ref.domain == FRAME_LINK)
            rc = found_some(run, shown, span, &value);
        else
            value = run_ref_value(run, &shown->ref, span, EVAL_NONE, EVAL_NONE);
        if (rc)
            return rc;
        if (value.type != TRACEQL_NIL)
            attributes[count++] =
                (struct eval_attribute){.name = found_field_name(&shown->field), .value = value};
    }
    target->attributes = attributes;
    target->attribute_count = count;
    return FM_OK;
}

static int found_set(struct eval_run *run, const struct found_fields *fields,
                     const struct eval_set *set, uint32_t spss, struct eval_spanset *target)
{
    uint32_t count = FM_MIN(set->span_count, spss);
    *target = (struct eval_spanset){.matched = set->span_count, .label_count = set->label_count};
    target->spans = run_alloc(run, count, sizeof *target->spans);
    target->labels = run_alloc(run, set->label_count, sizeof *target->labels);
    if (!target->spans || !target->labels)
        return run->rc;
    if (set->label_count)
        memcpy(target->labels, set->labels, set->label_count * sizeof *target->labels);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t span = set->spans[i];
        struct eval_span *one = &target->spans[i];
        *one =
            (struct eval_span){.start_ns = (uint64_t)found_integer(run, fields->start, span),
                               .duration_ns = (uint64_t)found_integer(run, fields->duration, span),
                               .name = found_text(run, fields->name, span)};
        if (fm_hex_decode(one->id, sizeof one->id, found_text(run, fields->span_id, span)))
            memset(one->id, 0, sizeof one->id);
        int rc = found_attributes(run, span, one);
        if (rc)
            return rc;
    }
    target->span_count = count;
    return FM_OK;
}

int found_trace(struct eval_run *run, const struct found_fields *fields, uint32_t trace,
                const struct eval_set *sets, uint32_t set_count, uint32_t spss,
                struct eval_trace *ret_trace)
{
    struct eval_trace found = {
        .id = run->frame.trace_ids[trace],
        .root_service = found_text(run, fields->root_service, trace),
        .root_name = found_text(run, fields->root_name, trace),
        .start_ns = (uint64_t)found_integer(run, fields->trace_start, trace),
        .duration_ns = (uint64_t)found_integer(run, fields->trace_duration, trace),
        .set_count = set_count,
    };
    found.sets = run_alloc(run, set_count, sizeof *found.sets);
    int rc = found.sets ? found_services(run, fields, trace, &found) : run->rc;
    for (uint32_t s = 0; s < set_count && !rc; s++)
        rc = found_set(run, fields, &sets[s], spss, &found.sets[s]);
    if (!rc)
        *ret_trace = found;
    return rc;
}

/* ---- one allocation ---- */

/* Lays a copy out behind at; with at NULL nothing is written, only measured. */
struct found_writer {
    uint8_t *at;
    size_t bytes;
};

static void *found_put(struct found_writer *writer, const void *from, size_t bytes)
{
    uint8_t *target = writer->at ? writer->at + writer->bytes : NULL;
    if (target && bytes)
        memcpy(target, from, bytes);
    writer->bytes += (bytes + 15) & ~(size_t)15;
    return target;
}

static void found_put_slice(struct found_writer *writer, struct fm_slice *slice)
{
    const uint8_t *copy = found_put(writer, slice->ptr, slice->len);
    if (writer->at)
        slice->ptr = copy;
}

static void found_put_value(struct found_writer *writer, struct traceql_value *value)
{
    if (value->type == TRACEQL_STRING)
        found_put_slice(writer, &value->text);
    if (value->type != TRACEQL_ARRAY)
        return;
    struct traceql_value *copy =
        found_put(writer, value->elements, value->element_count * sizeof *copy);
    for (uint32_t i = 0; i < value->element_count; i++) {
        struct traceql_value element = value->elements[i];
        if (element.type == TRACEQL_STRING)
            found_put_slice(writer, &element.text);
        if (copy)
            copy[i] = element;
    }
    if (copy)
        value->elements = copy;
}

static void found_put_span(struct found_writer *writer, struct eval_span *span)
{
    struct eval_attribute *attributes =
        found_put(writer, span->attributes, span->attribute_count * sizeof *attributes);
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        struct eval_attribute attribute = span->attributes[i];
        found_put_slice(writer, &attribute.name);
        found_put_value(writer, &attribute.value);
        if (attributes)
            attributes[i] = attribute;
    }
    span->attributes = attributes;
    found_put_slice(writer, &span->name);
}

static void found_put_set(struct found_writer *writer, struct eval_spanset *set)
{
    struct eval_span *spans = found_put(writer, set->spans, set->span_count * sizeof *spans);
    for (uint32_t i = 0; i < set->span_count; i++) {
        struct eval_span span = set->spans[i];
        found_put_span(writer, &span);
        if (spans)
            spans[i] = span;
    }
    struct eval_label *labels = found_put(writer, set->labels, set->label_count * sizeof *labels);
    for (uint32_t i = 0; i < set->label_count; i++) {
        struct eval_label label = set->labels[i];
        found_put_slice(writer, &label.name);
        found_put_value(writer, &label.value);
        if (labels)
            labels[i] = label;
    }
    set->spans = spans;
    set->labels = labels;
}

static void found_put_trace(struct found_writer *writer, const struct eval_trace *trace)
{
    struct eval_trace *head = found_put(writer, trace, sizeof *trace);
    struct eval_trace copy = *trace;
    struct eval_spanset *sets = found_put(writer, trace->sets, trace->set_count * sizeof *sets);
    for (uint32_t i = 0; i < trace->set_count; i++) {
        struct eval_spanset set = trace->sets[i];
        found_put_set(writer, &set);
        if (sets)
            sets[i] = set;
    }
    struct eval_service *services =
        found_put(writer, trace->services, trace->service_count * sizeof *services);
    for (uint32_t i = 0; i < trace->service_count; i++) {
        struct eval_service service = trace->services[i];
        found_put_slice(writer, &service.name);
        if (services)
            services[i] = service;
    }
    found_put_slice(writer, &copy.root_service);
    found_put_slice(writer, &copy.root_name);
    copy.sets = sets;
    copy.services = services;
    if (head)
        *head = copy;
}

int found_copy(const struct eval_trace *trace, struct eval_trace **ret_copy, size_t *ret_bytes)
{
    struct found_writer writer = {0};
    found_put_trace(&writer, trace);
    size_t bytes = writer.bytes;
    writer = (struct found_writer){.at = malloc(bytes)};
    if (!writer.at)
        return FM_ENOMEM;
    found_put_trace(&writer, trace);
    *ret_copy = (struct eval_trace *)(void *)writer.at;
    *ret_bytes = bytes;
    return FM_OK;
}

/* ---- two sources, one trace ---- */

static bool found_is_by(const struct eval_label *label)
{
    return label->name.len > 3 && memcmp(label->name.ptr, "by(", 3) == 0;
}

/* Sets of the same groups are the same set. */
static bool found_same_set(const struct eval_spanset *a, const struct eval_spanset *b)
{
    if (a->label_count != b->label_count)
        return false;
    for (uint32_t i = 0; i < a->label_count; i++) {
        if (!fm_slice_equal(a->labels[i].name, b->labels[i].name))
            return false;
        if (found_is_by(&a->labels[i]) && !value_same(&a->labels[i].value, &b->labels[i].value))
            return false;
    }
    return true;
}

static int found_join_sets(const struct eval_trace *a, const struct eval_trace *b,
                           struct fm_arena *arena, struct eval_trace *joined)
{
    uint32_t count = a->set_count;
    if ((uint64_t)a->set_count * b->set_count > FOUND_PAIRS_MAX) {
        joined->sets = a->set_count >= b->set_count ? a->sets : b->sets;
        joined->set_count = FM_MAX(a->set_count, b->set_count);
        return FM_OK;
    }
    struct eval_spanset *sets =
        fm_arena_alloc(arena, ((size_t)a->set_count + b->set_count) * sizeof *sets + 1);
    if (!sets)
        return FM_ENOMEM;
    if (count)
        memcpy(sets, a->sets, count * sizeof *sets);
    for (uint32_t i = 0; i < b->set_count; i++) {
        uint32_t at = 0;
        while (at < a->set_count && !found_same_set(&sets[at], &b->sets[i]))
            at++;
        if (at == a->set_count)
            sets[count++] = b->sets[i];
        else if (b->sets[i].matched > sets[at].matched)
            sets[at] = b->sets[i];
    }
    joined->sets = sets;
    joined->set_count = count;
    return FM_OK;
}

/* Both are sorted by name. */
static int found_join_services(const struct eval_trace *a, const struct eval_trace *b,
                               struct fm_arena *arena, struct eval_trace *joined)
{
    uint32_t i = 0, k = 0, count = 0;
    struct eval_service *services =
        fm_arena_alloc(arena, ((size_t)a->service_count + b->service_count) * sizeof *services + 1);
    if (!services)
        return FM_ENOMEM;
    while (i < a->service_count || k < b->service_count) {
        int order = i == a->service_count ? 1
                    : k == b->service_count
                        ? -1
                        : found_order_services(&a->services[i], &b->services[k]);
        struct eval_service *one = &services[count++];
        *one = order <= 0 ? a->services[i] : b->services[k];
        if (order == 0) {
            one->span_count = FM_MAX(one->span_count, b->services[k].span_count);
            one->error_count = FM_MAX(one->error_count, b->services[k].error_count);
        }
        i += order <= 0;
        k += order >= 0;
    }
    joined->services = services;
    joined->service_count = count;
    return FM_OK;
}

int found_join(const struct eval_trace *a, const struct eval_trace *b, struct fm_arena *arena,
               struct eval_trace *ret_joined)
{
    struct eval_trace joined = *a;
    joined.start_ns = FM_MIN(a->start_ns, b->start_ns);
    joined.duration_ns = FM_MAX(a->duration_ns, b->duration_ns);
    if (!joined.root_service.len && !joined.root_name.len) {
        joined.root_service = b->root_service;
        joined.root_name = b->root_name;
    }
    int rc = found_join_sets(a, b, arena, &joined);
    if (!rc)
        rc = found_join_services(a, b, arena, &joined);
    if (!rc)
        *ret_joined = joined;
    return rc;
}
