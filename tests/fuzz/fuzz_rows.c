/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as spans of frame_rows: refused, or frames that keep their contract and can be asked
 * anything. */
#include "fermata/ask.h"
#include "fermata/units.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct traceql_field fuzz_fields[] = {
    {.scope = TRACEQL_SPAN, .name = {(const uint8_t *)"a", 1}},
    {.scope = TRACEQL_RESOURCE, .name = {(const uint8_t *)"service.name", 12}},
    {.scope = TRACEQL_EVENT, .name = {(const uint8_t *)"a", 1}},
    {.scope = TRACEQL_LINK, .name = {(const uint8_t *)"a", 1}},
    {.scope = TRACEQL_INSTRUMENTATION, .name = {(const uint8_t *)"a", 1}},
    {.intrinsic = TRACEQL_NAME},
    {.intrinsic = TRACEQL_ROOT_NAME},
    {.intrinsic = TRACEQL_NESTED_LEFT},
    {.intrinsic = TRACEQL_NESTED_RIGHT},
    {.intrinsic = TRACEQL_NESTED_PARENT},
    {.intrinsic = TRACEQL_SPAN_ID},
    {.intrinsic = TRACEQL_TRACE_ID},
    {.intrinsic = TRACEQL_LINK_TRACE_ID},
    {.intrinsic = TRACEQL_EVENT_TIME},
    {.intrinsic = TRACEQL_TRACE_DURATION},
    {.intrinsic = TRACEQL_SCOPE_NAME},
};

static void fuzz_value(const struct traceql_value *value)
{
    volatile uint8_t sink = 0;
    FM_ASSERT(value->type <= TRACEQL_ARRAY);
    if (value->type == TRACEQL_STRING)
        for (size_t i = 0; i < value->text.len; i++)
            sink = (uint8_t)(sink + value->text.ptr[i]);
    if (value->type == TRACEQL_ARRAY) {
        FM_ASSERT(value->element_count > 1);
        for (uint32_t i = 0; i < value->element_count; i++)
            FM_ASSERT(value->elements[i].type == value->elements[0].type &&
                      value->elements[i].type != TRACEQL_ARRAY);
    }
}

static void fuzz_frame(struct frame_source *source, const struct frame *frame)
{
    uint32_t spans = frame->count[FRAME_SPAN];
    FM_ASSERT(spans && frame->trace_spans[frame->count[FRAME_TRACE]] == spans);
    FM_ASSERT(frame->span_events[spans] == frame->count[FRAME_EVENT]);
    FM_ASSERT(frame->span_links[spans] == frame->count[FRAME_LINK]);
    for (uint32_t i = 0; i < spans; i++)
        FM_ASSERT(frame->span_resources[i] < frame->count[FRAME_RESOURCE] &&
                  frame->span_scopes[i] < frame->count[FRAME_SCOPE]);
    for (uint32_t field = 0; field < FM_COUNT(fuzz_fields); field++) {
        struct frame_vector vector;
        FM_ASSERT(frame_vector(source, field, NULL, &vector, NULL) == FM_OK);
        FM_ASSERT(vector.count == frame->count[vector.domain]);
        for (uint32_t i = 0; i < vector.count && vector.shape == FRAME_CODES; i++) {
            FM_ASSERT(vector.codes[i] < vector.values->count);
            fuzz_value(&vector.values->values[vector.codes[i]]);
        }
    }
}

static const struct {
    enum ask_kind kind;
    const char *text;
} fuzz_questions[] = {
    {ASK_SEARCH,
     "{ .a > 1 || event.a = 1 && link.a != nil } | select(.a, event:name, link:spanID)"},
    {ASK_SEARCH, "{ } >> { span.a =~ `.*` } | by(.a) | count() > 0 | coalesce()"},
    {ASK_SEARCH, "{ nestedSetParent < 0 } &>> { } | avg(duration) >= 0"},
    {ASK_SEARCH, "{ span.a + .b * 2 > 1 || resource.a && !.c } | by(name)"},
    {ASK_SEARCH, "({ } !~ { duration > traceDuration }) || ({ } | max(span.a) > 1)"},
    {ASK_METRICS, "{ } | rate() by (.a, name)"},
    {ASK_METRICS, "{ } | quantile_over_time(duration, .1, .9) by (resource.service.name)"},
    {ASK_METRICS, "{ } | sum_over_time(span.a) | topk(2)"},
    {ASK_METRICS, "{ } | compare({ .a = 1 }, 3)"},
    {ASK_TAG_NAMES, ""},
    {ASK_TAG_NAMES, "{ status = error }"},
    {ASK_TAG_VALUES, "{ kind != server }"},
};

static void fuzz_render(enum ask_kind kind, const struct ask_found *found)
{
    static const struct answer_stats stats = {0};
    struct fm_buf out;
    fm_buf_init(&out, FM_MIB(16));
    for (int format = ANSWER_JSON; format <= ANSWER_PROTOBUF; format++) {
        if (kind == ASK_SEARCH)
            answer_search(found->traces, found->count, true, &stats, format, &out);
        else if (kind == ASK_METRICS)
            answer_range(found->series, &stats, format, &out);
        else if (kind == ASK_TAG_NAMES)
            answer_tags_v2(found->scopes, found->count, &stats, format, &out);
        else
            answer_values_v2(found->values, found->count, &stats, format, &out);
    }
    fm_buf_fini(&out);
}

static void fuzz_ask(const struct frame_rows *rows, size_t which)
{
    const struct ask_limits limits = {.memory_max = FM_MIB(16)};
    struct ask_question question = {.field = {.scope = TRACEQL_ANY_SCOPE, .name = FM_SLICE("a")},
                                    .series = {.step_ns = 3600 * FM_NS_PER_S, .exemplars_max = 9},
                                    .start_ns = 1795219920 * FM_NS_PER_S,
                                    .end_ns = (1795219920 + 86400) * FM_NS_PER_S};
    FM_AUTO(ask) ask = NULL;
    FM_AUTO(ask_part) part = NULL;
    struct ask_found found;
    struct fm_why why = {""};
    question.kind = fuzz_questions[which].kind;
    question.text = fm_slice_text(fuzz_questions[which].text);
    if (question.kind != ASK_METRICS)
        question.start_ns = question.end_ns = 0;
    FM_ASSERT(ask_new(&ask, &question, NULL, &why) == FM_OK);
    FM_ASSERT(ask_part_new(&part, ask, &limits, &why) == FM_OK);
    int rc = ask_part_add_rows(part, rows, &why);
    FM_ASSERT(rc == FM_OK || rc == FM_ELIMIT || rc == FM_EMALFORMED);
    if (rc == FM_OK && ask_part_found(part, &found, &why) == FM_OK)
        fuzz_render(question.kind, &found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct frame_request request = {
        .fields = fuzz_fields, .field_count = FM_COUNT(fuzz_fields), .end_ns = UINT64_MAX};
    FM_AUTO(frame_rows) rows = NULL;
    FM_AUTO(frame_source) source = NULL;
    struct frame frame;
    struct fm_why why;
    size_t half = size / 2;
    if (frame_rows_new(&rows, FM_MIB(32)) < 0)
        return 0;
    /* Twice: all of it, and what its second half is worth alone. */
    (void)!frame_rows_add(rows, fm_slice(data, size), NULL, NULL, &why);
    (void)!frame_rows_add(rows, fm_slice(data + half, size - half), NULL, NULL, &why);
    FM_ASSERT(frame_rows_finish(rows) == FM_OK);
    FM_ASSERT(frame_rows_source(rows, &request, &source) == FM_OK);
    while (frame_next(source, &frame, NULL) == FM_OK)
        fuzz_frame(source, &frame);
    for (size_t i = 0; i < 3; i++)
        fuzz_ask(rows, (size + 5 * i) % FM_COUNT(fuzz_questions));
    return 0;
}
