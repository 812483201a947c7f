/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP in protobuf to the short JSON for language models, field by field as they stand. */
#include "llm.h"

#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/pb.h"

#define LLM_DEPTH_MAX 32 /* of values in values */
#define LLM_TEXT_MAX  FM_MIB(1)

/* The first field of that number, or none: then what is returned is empty. */
static struct pb_field message_field(struct fm_slice message, uint32_t number)
{
    struct pb_field field, none = {.bytes = FM_SLICE("")};
    while (pb_next(&message, &field) == FM_OK) {
        if (field.number == number)
            return field;
    }
    return none;
}

static struct fm_slice message_bytes(struct fm_slice message, uint32_t number)
{
    struct pb_field field = message_field(message, number);
    return field.type == PB_BYTES ? field.bytes : FM_SLICE("");
}

static bool message_next(struct fm_slice *message, uint32_t number, struct fm_slice *ret_bytes)
{
    struct pb_field field;
    while (pb_next(message, &field) == FM_OK) {
        if (field.number != number || field.type != PB_BYTES)
            continue;
        *ret_bytes = field.bytes;
        return true;
    }
    return false;
}

static void put_text_member(struct json_writer *json, const char *key, struct fm_slice text)
{
    if (!text.len)
        return;
    json_key(json, key);
    json_string(json, text);
}

static void put_hex_member(struct json_writer *json, const char *key, struct fm_slice bytes)
{
    json_key(json, key);
    json_hex(json, bytes);
}

static void put_time_member(struct json_writer *json, const char *key, uint64_t ns)
{
    if (!ns)
        return;
    json_key(json, key);
    json_uint_text(json, ns);
}

/* ---- attributes ---- */

static void put_attributes(struct fm_slice message, uint32_t number, struct fm_slice except,
                           unsigned depth, struct json_writer *json);

static void put_value(struct fm_slice value, unsigned depth, struct json_writer *json)
{
    struct pb_field field;
    struct fm_slice items, item;
    double number;

    if (depth > LLM_DEPTH_MAX || pb_next(&value, &field) != FM_OK) {
        json_null(json);
        return;
    }
    switch (field.number) {
    case 1:
        json_string(json, field.bytes);
        break;
    case 2:
        json_bool(json, field.value != 0);
        break;
    case 3:
        json_int(json, (int64_t)field.value);
        break;
    case 4:
        memcpy(&number, &field.value, sizeof number);
        json_number(json, number);
        break;
    case 5:
        json_array_begin(json);
        for (items = field.bytes; message_next(&items, 1, &item);)
            put_value(item, depth + 1, json);
        json_array_end(json);
        break;
    case 6:
        put_attributes(field.bytes, 1, FM_SLICE(""), depth + 1, json);
        break;
    case 7:
        json_hex(json, field.bytes);
        break;
    default:
        json_null(json);
        break;
    }
}

/* Key texts end in a zero for the writer, which none of their own may cut short. */
static void put_key(struct fm_slice key, struct json_writer *json)
{
    char text[256];
    struct fm_buf long_text;

    if (key.len < sizeof text && (!key.len || !memchr(key.ptr, 0, key.len))) {
        memcpy(text, key.ptr, key.len);
        text[key.len] = '\0';
        json_key(json, text);
        return;
    }
    fm_buf_init(&long_text, LLM_TEXT_MAX);
    for (size_t i = 0; i < key.len; i++)
        fm_buf_put_u8(&long_text, key.ptr[i] ? key.ptr[i] : ' ');
    fm_buf_put_u8(&long_text, 0);
    json_key(json, long_text.failed ? "" : (const char *)long_text.ptr);
    fm_buf_fini(&long_text);
}

static void put_attributes(struct fm_slice message, uint32_t number, struct fm_slice except,
                           unsigned depth, struct json_writer *json)
{
    struct fm_slice attribute;

    json_object_begin(json);
    while (message_next(&message, number, &attribute)) {
        struct fm_slice key = message_bytes(attribute, 1);
        if (except.len && fm_slice_equal(key, except))
            continue;
        put_key(key, json);
        put_value(message_bytes(attribute, 2), depth, json);
    }
    json_object_end(json);
}

static void put_attributes_member(struct fm_slice message, uint32_t number,
                                  struct json_writer *json)
{
    struct fm_slice rest = message, attribute;
    if (!message_next(&rest, number, &attribute))
        return;
    json_key(json, "attributes");
    put_attributes(message, number, FM_SLICE(""), 0, json);
}

/* ---- spans ---- */

static void put_events(struct fm_slice span, struct json_writer *json)
{
    struct fm_slice event;
    bool some = false;

    while (message_next(&span, 11, &event)) {
        if (!some) {
            json_key(json, "events");
            json_array_begin(json);
            some = true;
        }
        json_object_begin(json);
        json_key(json, "name");
        json_string(json, message_bytes(event, 2));
        put_time_member(json, "timeUnixNano", message_field(event, 1).value);
        put_attributes_member(event, 3, json);
        json_object_end(json);
    }
    if (some)
        json_array_end(json);
}

static void put_links(struct fm_slice span, struct json_writer *json)
{
    struct fm_slice link;
    bool some = false;

    while (message_next(&span, 13, &link)) {
        if (!some) {
            json_key(json, "links");
            json_array_begin(json);
            some = true;
        }
        json_object_begin(json);
        put_hex_member(json, "traceId", message_bytes(link, 1));
        put_hex_member(json, "spanId", message_bytes(link, 2));
        put_attributes_member(link, 4, json);
        json_object_end(json);
    }
    if (some)
        json_array_end(json);
}

static void put_status(struct fm_slice status, struct json_writer *json)
{
    static const char *const codes[] = {"STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"};
    uint64_t code = message_field(status, 3).value;

    json_key(json, "status");
    json_object_begin(json);
    json_key(json, "code");
    json_text(json, code < FM_COUNT(codes) ? codes[code] : codes[0]);
    json_key(json, "message");
    json_string(json, code ? message_bytes(status, 2) : FM_SLICE(""));
    json_object_end(json);
}

static void put_span(struct fm_slice span, struct json_writer *json)
{
    static const char *const kinds[] = {
        NULL,
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    };
    uint64_t kind = message_field(span, 6).value;
    uint64_t start_ns = message_field(span, 7).value, end_ns = message_field(span, 8).value;
    struct fm_slice parent = message_bytes(span, 4);

    json_object_begin(json);
    put_hex_member(json, "spanId", message_bytes(span, 2));
    json_key(json, "name");
    json_string(json, message_bytes(span, 5));
    if (parent.len)
        put_hex_member(json, "parentSpanId", parent);
    if (kind && kind < FM_COUNT(kinds))
        put_text_member(json, "kind", fm_slice_text(kinds[kind]));
    put_time_member(json, "startTimeUnixNano", start_ns);
    put_time_member(json, "endTimeUnixNano", end_ns);
    if (start_ns && end_ns > start_ns) {
        json_key(json, "durationMs");
        json_number(json, (double)(end_ns - start_ns) / 1e6);
    }
    put_attributes_member(span, 9, json);
    put_events(span, json);
    put_links(span, json);
    put_status(message_bytes(span, 15), json);
    json_object_end(json);
}

static void put_scope(struct fm_slice scope_spans, struct json_writer *json)
{
    struct fm_slice scope = message_bytes(scope_spans, 1), rest = scope_spans, span;

    json_object_begin(json);
    put_text_member(json, "name", message_bytes(scope, 1));
    put_text_member(json, "version", message_bytes(scope, 2));
    json_key(json, "spans");
    json_array_begin(json);
    while (message_next(&rest, 2, &span))
        put_span(span, json);
    json_array_end(json);
    json_object_end(json);
}

static void put_resource(struct fm_slice resource, struct json_writer *json)
{
    struct fm_slice rest = resource, attribute;
    size_t others = 0;

    while (message_next(&rest, 1, &attribute)) {
        if (fm_slice_equal_text(message_bytes(attribute, 1), "service.name"))
            put_text_member(json, "serviceName", message_bytes(message_bytes(attribute, 2), 1));
        else
            others++;
    }
    if (!others)
        return;
    json_key(json, "resource");
    put_attributes(resource, 1, FM_SLICE("service.name"), 0, json);
}

static void put_service(struct fm_slice resource_spans, struct json_writer *json)
{
    struct fm_slice rest = resource_spans, scope_spans;

    json_object_begin(json);
    put_resource(message_bytes(resource_spans, 1), json);
    json_key(json, "scopes");
    json_array_begin(json);
    while (message_next(&rest, 2, &scope_spans))
        put_scope(scope_spans, json);
    json_array_end(json);
    json_object_end(json);
}

int llm_put_trace(struct fm_slice answer, struct fm_buf *out)
{
    struct fm_slice trace = message_bytes(answer, 1), rest = trace, resource_spans;
    struct json_writer json;

    if (!message_next(&rest, 1, &resource_spans)) {
        fm_buf_puts(out, "{}");
        return FM_OK;
    }
    struct fm_slice span = message_bytes(message_bytes(resource_spans, 2), 2);
    if (!span.len)
        return FM_EMALFORMED;
    json_writer_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "trace");
    json_object_begin(&json);
    put_hex_member(&json, "traceId", message_bytes(span, 1));
    json_key(&json, "services");
    json_array_begin(&json);
    for (rest = trace; message_next(&rest, 1, &resource_spans);)
        put_service(resource_spans, &json);
    json_array_end(&json);
    json_object_end(&json);
    uint64_t inspected = message_field(message_bytes(answer, 2), 1).value;
    if (inspected) {
        json_key(&json, "metrics");
        json_object_begin(&json);
        json_key(&json, "inspectedBytes");
        json_uint(&json, inspected);
        json_object_end(&json);
    }
    json_object_end(&json);
    return out->failed ? FM_ELIMIT : FM_OK;
}

/* ---- values ---- */

static const char *value_type(const struct traceql_value *value)
{
    switch (value->type) {
    case TRACEQL_INT:
        return "int";
    case TRACEQL_FLOAT:
        return "float";
    case TRACEQL_BOOL:
        return "bool";
    case TRACEQL_DURATION:
        return "duration";
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        return "keyword";
    default:
        return "string";
    }
}

static void put_values_of(const char *type, const struct traceql_value *values, uint32_t count,
                          struct json_writer *json)
{
    struct fm_buf text;
    bool some = false;

    fm_buf_init(&text, LLM_TEXT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(value_type(&values[i]), type) != 0)
            continue;
        if (!some) {
            json_key(json, type);
            json_array_begin(json);
            some = true;
        }
        fm_buf_reset(&text);
        answer_put_text(&values[i], &text);
        json_string(json, fm_buf_slice(&text));
    }
    if (some)
        json_array_end(json);
    fm_buf_fini(&text);
}

static void put_count(struct json_writer *json, const char *key, uint64_t value)
{
    if (!value)
        return;
    json_key(json, key);
    json_uint(json, value);
}

void llm_put_values(const struct traceql_value *values, uint32_t count,
                    const struct answer_stats *stats, struct fm_buf *out)
{
    static const char *const types[] = {"bool", "duration", "float", "int", "keyword", "string"};
    struct json_writer json;

    json_writer_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "tagValues");
    json_object_begin(&json);
    for (size_t i = 0; i < FM_COUNT(types); i++)
        put_values_of(types[i], values, count, &json);
    json_object_end(&json);
    if (stats->inspected_bytes || stats->job_count || stats->block_count) {
        json_key(&json, "metrics");
        json_object_begin(&json);
        put_count(&json, "inspectedBytes", stats->inspected_bytes);
        put_count(&json, "totalJobs", stats->job_count);
        put_count(&json, "completedJobs", stats->jobs_done);
        put_count(&json, "totalBlocks", stats->block_count);
        put_count(&json, "totalBlockBytes", stats->block_bytes);
        json_object_end(&json);
    }
    json_object_end(&json);
}
