/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as spans of frame_rows: refused, or frames that keep their contract. */
#include "fermata/frame.h"

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
    return 0;
}
