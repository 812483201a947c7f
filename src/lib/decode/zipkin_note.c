/* SPDX-License-Identifier: Apache-2.0 */
/* Annotations and links that carry more than a text.
 *
 * Exporters put an event's attributes into the annotation's value, each in its own way:
 *
 *   name|{"k":"v"}|0        the Collector
 *   name: {"k":"v"}         OpenTelemetry's Go exporter
 *   "name": {"k":"v"}       the specification
 *   {"name": {"k":"v"}}     Python
 *
 * A value is taken apart only if it is one of these to the last byte; else it is the event's name.
 */
#include "zipkin_batch.h"
#include "otlp_walk.h"

#include "fermata/bytes.h"
#include "fermata/json.h"
#include "fermata/pb.h"

static void put_json_attribute(struct fm_buf *out, uint32_t number, struct fm_slice key,
                               const struct json_token *value)
{
    int64_t integer;
    double real;
    if (value->kind == JSON_TRUE || value->kind == JSON_FALSE)
        zipkin_put_bool(out, number, key, value->kind == JSON_TRUE);
    else if (value->kind == JSON_STRING)
        zipkin_put_text(out, number, key, value->text);
    else if (json_i64(value, &integer) == FM_OK)
        zipkin_put_int(out, number, key, integer);
    else if (json_double(value, &real) == FM_OK)
        zipkin_put_double(out, number, key, real);
    else
        zipkin_put_text(out, number, key, value->text); /* too great for any of them */
}

/* Attributes of a JSON object as KeyValue fields of that number.  Members that are no text, number
 * or boolean are left out.  FM_EMALFORMED: not an object, or something stands behind it. */
static int put_json_attributes(struct zipkin_batch *batch, uint32_t number, struct fm_slice json)
{
    struct json_reader reader;
    struct json_token token, value;
    json_reader_init(&reader, json, batch->scratch);
    int rc = json_next(&reader, &token);
    if (rc != FM_OK || token.kind != JSON_OBJECT_BEGIN)
        return rc < 0 ? rc : FM_EMALFORMED;
    while ((rc = json_next(&reader, &token)) == FM_OK && token.kind == JSON_KEY) {
        rc = json_next(&reader, &value);
        if (rc == FM_OK && (value.kind == JSON_OBJECT_BEGIN || value.kind == JSON_ARRAY_BEGIN))
            rc = json_skip(&reader, &value);
        if (rc < 0)
            return rc;
        if (value.kind >= JSON_STRING && value.kind <= JSON_FALSE)
            put_json_attribute(batch->target, number, token.text, &value);
    }
    if (rc == FM_OK)
        rc = json_next(&reader, &token);
    return rc == FM_END ? FM_OK : rc < 0 ? rc : FM_EMALFORMED;
}

/* Decimal digits and nothing else. */
static bool read_count(struct fm_slice text, uint32_t *ret_count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > UINT32_MAX)
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *ret_count = (uint32_t)FM_MIN(value, UINT32_MAX);
    return text.len > 0;
}

static const uint8_t *find_last(struct fm_slice text, uint8_t byte)
{
    return text.len ? memrchr(text.ptr, byte, text.len) : NULL;
}

struct note_parts {
    struct fm_slice name, json;
    uint32_t dropped;
};

static bool split_pipes(struct fm_slice value, struct note_parts *ret_parts)
{
    const uint8_t *first = value.len ? memchr(value.ptr, '|', value.len) : NULL;
    const uint8_t *last = find_last(value, '|');
    if (!first || first == last)
        return false;
    const uint8_t *end = value.ptr + value.len;
    ret_parts->name = fm_slice(value.ptr, (size_t)(first - value.ptr));
    ret_parts->json = fm_slice(first + 1, (size_t)(last - first - 1));
    return read_count(fm_slice(last + 1, (size_t)(end - last - 1)), &ret_parts->dropped);
}

/* name: {...} with or without quotes, with or without braces around it all. */
static bool split_colon(struct fm_slice value, struct note_parts *ret_parts)
{
    ret_parts->dropped = 0;
    if (value.len < 5 || value.ptr[value.len - 1] != '}')
        return false;
    if (value.ptr[0] == '{' && value.ptr[value.len - 2] == '}')
        value = fm_slice(value.ptr + 1, value.len - 2);
    if (value.ptr[0] == '{')
        return false;
    size_t at = 0;
    if (value.ptr[0] == '"') {
        for (at = 1; at < value.len && value.ptr[at] != '"'; at++) {
            if (value.ptr[at] == '\\')
                return false; /* rare enough to be left verbatim */
        }
        ret_parts->name = fm_slice(value.ptr + 1, at - 1);
        at++;
    } else {
        while (at < value.len && value.ptr[at] != ':')
            at++;
        ret_parts->name = fm_slice(value.ptr, at);
    }
    if (at >= value.len || value.ptr[at++] != ':')
        return false;
    while (at < value.len && value.ptr[at] == ' ')
        at++;
    ret_parts->json = fm_slice(value.ptr + at, value.len - at);
    return ret_parts->json.len && ret_parts->json.ptr[0] == '{';
}

void zipkin_put_event(struct zipkin_batch *batch, const struct zipkin_note *note)
{
    struct fm_buf *out = batch->target;
    struct note_parts parts;
    uint64_t ns;
    if (__builtin_mul_overflow(note->time_us, 1000u, &ns))
        ns = UINT64_MAX;
    size_t mark = pb_begin(out, 11);
    pb_put_fixed64(out, 1, ns);
    size_t behind_time = out->len;
    if (split_pipes(note->value, &parts) || split_colon(note->value, &parts)) {
        pb_put_bytes(out, 2, parts.name);
        if (put_json_attributes(batch, 3, parts.json) == FM_OK) {
            if (parts.dropped)
                pb_put_u64(out, 4, parts.dropped);
            pb_end(out, mark);
            return;
        }
        if (!out->failed)
            out->len = behind_time;
    }
    pb_put_bytes(out, 2, note->value);
    pb_end(out, mark);
}

/* traceid|spanid|tracestate|{json}|dropped */
int zipkin_put_link(struct zipkin_batch *batch, struct fm_slice value)
{
    struct fm_buf *out = batch->target;
    struct fm_slice part[3], rest = value;
    uint8_t trace_id[16], span_id[8];
    uint32_t dropped;
    for (size_t i = 0; i < FM_COUNT(part); i++) {
        const uint8_t *bar = rest.len ? memchr(rest.ptr, '|', rest.len) : NULL;
        if (!bar)
            return FM_NONE;
        part[i] = fm_slice(rest.ptr, (size_t)(bar - rest.ptr));
        rest = fm_slice(bar + 1, rest.len - part[i].len - 1);
    }
    const uint8_t *last = find_last(rest, '|');
    if (!last)
        return FM_NONE;
    struct fm_slice json = fm_slice(rest.ptr, (size_t)(last - rest.ptr));
    if (fm_hex_decode(trace_id, 16, part[0]) != FM_OK ||
        fm_hex_decode(span_id, 8, part[1]) != FM_OK ||
        !otlp_trace_id_is_valid(fm_slice(trace_id, 16)) ||
        !otlp_span_id_is_valid(fm_slice(span_id, 8)) ||
        !read_count(fm_slice(last + 1, rest.len - json.len - 1), &dropped))
        return FM_NONE;
    size_t before = out->len, mark = pb_begin(out, 13);
    pb_put_bytes(out, 1, fm_slice(trace_id, 16));
    pb_put_bytes(out, 2, fm_slice(span_id, 8));
    if (part[2].len)
        pb_put_bytes(out, 3, part[2]);
    if (put_json_attributes(batch, 4, json) != FM_OK) {
        if (!out->failed)
            out->len = before;
        return FM_NONE;
    }
    if (dropped)
        pb_put_u64(out, 5, dropped);
    pb_end(out, mark);
    return FM_OK;
}
