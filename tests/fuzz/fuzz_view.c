/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a trace in each of its views, and in the count of calls. */
#include "fermata/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void summary(struct fm_slice otlp, struct json_writer *writer)
{
    struct fm_arena scratch;
    FM_AUTO(view_calls) calls = NULL;

    fm_arena_init(&scratch, FM_MIB(4));
    view_summary(otlp, &scratch, writer);
    if (view_calls_new(&calls, true) == FM_OK && view_calls_add(calls, otlp, &scratch) == FM_OK)
        view_calls_zipkin(calls, writer);
    fm_arena_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const views[])(struct fm_slice, struct json_writer *) = {view_jaeger, view_zipkin,
                                                                           view_otlp, summary};

    for (size_t i = 0; i < FM_COUNT(views); i++) {
        struct fm_buf out;
        struct json_writer writer;
        fm_buf_init(&out, FM_MIB(16));
        json_writer_init(&writer, &out);
        json_array_begin(&writer);
        views[i](fm_slice(data, size), &writer);
        json_array_end(&writer);
        fm_buf_fini(&out);
    }
    return 0;
}
