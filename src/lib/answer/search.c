/* SPDX-License-Identifier: Apache-2.0 */
/* tempopb.SearchResponse: traces with the spans that matched.  The first span set is said twice,
 * since older clients read only spanSet. */
#include "internal.h"

#include "fermata/units.h"

#define SEARCH_NO_ROOT "<root span not yet received>"

struct search_id { /* text of a trace id without zeros in front */
    char text[33];
    struct fm_slice slice;
};

static void search_id_init(struct search_id *id, const struct trace_id *trace)
{
    size_t zeros = 0;

    fm_hex_encode(id->text, fm_slice(trace->bytes, sizeof trace->bytes));
    while (zeros < 31 && id->text[zeros] == '0')
        zeros++;
    id->slice = fm_slice(id->text + zeros, 32 - zeros);
}

static uint32_t search_ms(uint64_t ns)
{
    return (uint32_t)FM_MIN(ns / FM_NS_PER_MS, UINT32_MAX);
}

/* A root may lack a service or a name; without both it has not come. */
static struct fm_slice search_root_service(const struct eval_trace *trace)
{
    if (!trace->root_service.len && !trace->root_name.len)
        return FM_SLICE(SEARCH_NO_ROOT);
    return trace->root_service;
}

/* ---- JSON ---- */

static void search_json_text(struct json_writer *writer, const char *key, struct fm_slice text)
{
    if (!text.len)
        return;
    json_key(writer, key);
    json_string(writer, text);
}

static void search_json_span(struct json_writer *writer, const struct eval_span *span)
{
    json_object_begin(writer);
    json_key(writer, "spanID");
    json_hex(writer, fm_slice(span->id, sizeof span->id));
    if (span->shows_name)
        search_json_text(writer, "name", span->name);
    answer_json_u64(writer, "startTimeUnixNano", span->start_ns);
    answer_json_u64(writer, "durationNanos", span->duration_ns);
    if (span->attribute_count) {
        json_key(writer, "attributes");
        json_array_begin(writer);
        for (uint32_t i = 0; i < span->attribute_count; i++)
            answer_json_attribute(writer, span->attributes[i].name, &span->attributes[i].value);
        json_array_end(writer);
    }
    json_object_end(writer);
}

static void search_json_set(struct json_writer *writer, const struct eval_spanset *set)
{
    json_object_begin(writer);
    json_key(writer, "spans");
    json_array_begin(writer);
    for (uint32_t i = 0; i < set->span_count; i++)
        search_json_span(writer, &set->spans[i]);
    json_array_end(writer);
    answer_json_u32(writer, "matched", set->matched);
    if (set->label_count) {
        json_key(writer, "attributes");
        json_array_begin(writer);
        for (uint32_t i = 0; i < set->label_count; i++)
            answer_json_attribute(writer, set->labels[i].name, &set->labels[i].value);
        json_array_end(writer);
    }
    json_object_end(writer);
}

/* A member whose name is data. */
static void search_json_key(struct json_writer *writer, struct fm_slice name)
{
    json_string(writer, name);
    fm_buf_put_u8(writer->buf, ':');
    writer->after_key = true;
}

static void search_json_services(struct json_writer *writer, const struct eval_trace *trace)
{
    json_key(writer, "serviceStats");
    json_object_begin(writer);
    for (uint32_t i = 0; i < trace->service_count; i++) {
        search_json_key(writer, trace->services[i].name);
        json_object_begin(writer);
        answer_json_u32(writer, "spanCount", trace->services[i].span_count);
        answer_json_u32(writer, "errorCount", trace->services[i].error_count);
        json_object_end(writer);
    }
    json_object_end(writer);
}

static void search_json_trace(struct json_writer *writer, const struct eval_trace *trace,
                              bool with_sets)
{
    struct search_id id;

    search_id_init(&id, &trace->id);
    json_object_begin(writer);
    json_key(writer, "traceID");
    json_string(writer, id.slice);
    search_json_text(writer, "rootServiceName", search_root_service(trace));
    search_json_text(writer, "rootTraceName", trace->root_name);
    answer_json_u64(writer, "startTimeUnixNano", trace->start_ns);
    answer_json_u32(writer, "durationMs", search_ms(trace->duration_ns));
    if (with_sets && trace->set_count) {
        json_key(writer, "spanSet");
        search_json_set(writer, &trace->sets[0]);
        json_key(writer, "spanSets");
        json_array_begin(writer);
        for (uint32_t i = 0; i < trace->set_count; i++)
            search_json_set(writer, &trace->sets[i]);
        json_array_end(writer);
    }
    if (with_sets && trace->service_count)
        search_json_services(writer, trace);
    json_object_end(writer);
}

static void search_json(const struct eval_trace *traces, uint32_t count, bool with_sets,
                        const struct answer_stats *stats, struct fm_buf *out)
{
    struct json_writer writer;

    json_writer_init(&writer, out);
    json_object_begin(&writer);
    json_key(&writer, "traces");
    json_array_begin(&writer);
    for (uint32_t i = 0; i < count; i++)
        search_json_trace(&writer, &traces[i], with_sets);
    json_array_end(&writer);
    answer_json_stats(&writer, stats);
    json_object_end(&writer);
}

/* ---- protobuf ---- */

static void search_pb_text(struct fm_buf *out, uint32_t number, struct fm_slice text)
{
    if (text.len)
        answer_pb_string(out, number, text);
}

static void search_pb_span(struct fm_buf *out, const struct eval_span *span)
{
    size_t mark = pb_begin(out, 1);
    char id[2 * sizeof span->id];

    fm_hex_encode(id, fm_slice(span->id, sizeof span->id));
    pb_put_bytes(out, 1, fm_slice(id, sizeof id));
    if (span->shows_name)
        search_pb_text(out, 2, span->name);
    answer_pb_u64(out, 3, span->start_ns);
    answer_pb_u64(out, 4, span->duration_ns);
    for (uint32_t i = 0; i < span->attribute_count; i++)
        answer_pb_attribute(out, 5, span->attributes[i].name, &span->attributes[i].value);
    pb_end(out, mark);
}

static void search_pb_set(struct fm_buf *out, uint32_t number, const struct eval_spanset *set)
{
    size_t mark = pb_begin(out, number);

    for (uint32_t i = 0; i < set->span_count; i++)
        search_pb_span(out, &set->spans[i]);
    answer_pb_u64(out, 2, set->matched);
    for (uint32_t i = 0; i < set->label_count; i++)
        answer_pb_attribute(out, 3, set->labels[i].name, &set->labels[i].value);
    pb_end(out, mark);
}

static void search_pb_service(struct fm_buf *out, const struct eval_service *service)
{
    size_t entry = pb_begin(out, 8);

    answer_pb_string(out, 1, service->name);
    size_t stats = pb_begin(out, 2);
    answer_pb_u64(out, 1, service->span_count);
    answer_pb_u64(out, 2, service->error_count);
    pb_end(out, stats);
    pb_end(out, entry);
}

static void search_pb_trace(struct fm_buf *out, const struct eval_trace *trace, bool with_sets)
{
    struct search_id id;
    size_t mark = pb_begin(out, 1);

    search_id_init(&id, &trace->id);
    pb_put_bytes(out, 1, id.slice);
    search_pb_text(out, 2, search_root_service(trace));
    search_pb_text(out, 3, trace->root_name);
    answer_pb_u64(out, 4, trace->start_ns);
    answer_pb_u64(out, 5, search_ms(trace->duration_ns));
    if (with_sets && trace->set_count) {
        search_pb_set(out, 6, &trace->sets[0]);
        for (uint32_t i = 0; i < trace->set_count; i++)
            search_pb_set(out, 7, &trace->sets[i]);
    }
    for (uint32_t i = 0; with_sets && i < trace->service_count; i++)
        search_pb_service(out, &trace->services[i]);
    pb_end(out, mark);
}

void answer_search(const struct eval_trace *traces, uint32_t count, bool with_sets,
                   const struct answer_stats *stats, enum answer_format format, struct fm_buf *out)
{
    if (format == ANSWER_JSON) {
        search_json(traces, count, with_sets, stats, out);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        search_pb_trace(out, &traces[i], with_sets);
    answer_pb_stats(out, 2, stats);
}
