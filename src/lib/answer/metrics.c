/* SPDX-License-Identifier: Apache-2.0 */
/* tempopb.QueryRangeResponse and QueryInstantResponse. */
#include "internal.h"

#include <math.h>
#include <stdio.h>

enum { METRICS_PARTIAL = 1 };

/* An answer that was cut says at how many series. */
static struct fm_slice metrics_message(const struct series_result *result, char *text, size_t size)
{
    int len = snprintf(text, size,
                       "Response exceeds maximum series limit of %u, a partial response is "
                       "returned. Warning: the accuracy of each individual value is not "
                       "guaranteed.",
                       result->line_count);

    return fm_slice(text, (size_t)len);
}

/* ---- JSON ---- */

static void metrics_json_labels(struct json_writer *writer, const struct series_label *labels,
                                uint32_t count)
{
    json_key(writer, "labels");
    json_array_begin(writer);
    for (uint32_t i = 0; i < count; i++)
        answer_json_attribute(writer, labels[i].name, &labels[i].value);
    json_array_end(writer);
}

static void metrics_json_double(struct json_writer *writer, double value)
{
    if (value == 0)
        return;
    json_key(writer, "value");
    json_number(writer, value);
}

static void metrics_json_time(struct json_writer *writer, int64_t timestamp_ms)
{
    if (!timestamp_ms)
        return;
    json_key(writer, "timestampMs");
    json_int_text(writer, timestamp_ms);
}

static void metrics_json_exemplars(struct json_writer *writer, const struct series_line *line)
{
    json_key(writer, "exemplars");
    json_array_begin(writer);
    for (uint32_t i = 0; i < line->exemplar_count; i++) {
        const struct series_exemplar *exemplar = &line->exemplars[i];
        json_object_begin(writer);
        metrics_json_labels(writer, exemplar->labels, exemplar->label_count);
        metrics_json_double(writer, exemplar->value);
        metrics_json_time(writer, exemplar->timestamp_ms);
        json_object_end(writer);
    }
    json_array_end(writer);
}

static void metrics_json_line(struct json_writer *writer, const struct series_line *line)
{
    json_object_begin(writer);
    metrics_json_labels(writer, line->labels, line->label_count);
    json_key(writer, "samples");
    json_array_begin(writer);
    for (uint32_t i = 0; i < line->sample_count; i++) {
        if (isnan(line->samples[i].value))
            continue;
        json_object_begin(writer);
        metrics_json_time(writer, line->samples[i].timestamp_ms);
        metrics_json_double(writer, line->samples[i].value);
        json_object_end(writer);
    }
    json_array_end(writer);
    if (line->exemplar_count)
        metrics_json_exemplars(writer, line);
    json_object_end(writer);
}

/* An instant line has one sample; without one (or not a number) there is nothing to say. */
static bool metrics_has_value(const struct series_line *line)
{
    return line->sample_count && !isnan(line->samples[0].value);
}

static void metrics_json_instant(struct json_writer *writer, const struct series_line *line)
{
    if (!metrics_has_value(line))
        return;
    json_object_begin(writer);
    metrics_json_labels(writer, line->labels, line->label_count);
    metrics_json_double(writer, line->samples[0].value);
    json_object_end(writer);
}

static void metrics_json(const struct series_result *result, const struct answer_stats *stats,
                         bool instant, struct fm_buf *out)
{
    struct json_writer writer;
    char message[256];

    json_writer_init(&writer, out);
    json_object_begin(&writer);
    json_key(&writer, "series");
    json_array_begin(&writer);
    for (uint32_t i = 0; i < result->line_count; i++) {
        if (instant)
            metrics_json_instant(&writer, &result->lines[i]);
        else
            metrics_json_line(&writer, &result->lines[i]);
    }
    json_array_end(&writer);
    answer_json_stats(&writer, stats);
    if (result->partial) {
        json_key(&writer, "status");
        json_text(&writer, "PARTIAL");
        json_key(&writer, "message");
        json_string(&writer, metrics_message(result, message, sizeof message));
    }
    json_object_end(&writer);
}

/* ---- protobuf ---- */

static void metrics_pb_labels(struct fm_buf *out, const struct series_label *labels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        answer_pb_attribute(out, 1, labels[i].name, &labels[i].value);
}

static void metrics_pb_line(struct fm_buf *out, const struct series_line *line)
{
    size_t mark = pb_begin(out, 1);

    metrics_pb_labels(out, line->labels, line->label_count);
    for (uint32_t i = 0; i < line->sample_count; i++) {
        if (isnan(line->samples[i].value))
            continue;
        size_t sample = pb_begin(out, 2);
        answer_pb_double(out, 1, line->samples[i].value);
        answer_pb_u64(out, 2, (uint64_t)line->samples[i].timestamp_ms);
        pb_end(out, sample);
    }
    for (uint32_t i = 0; i < line->exemplar_count; i++) {
        const struct series_exemplar *exemplar = &line->exemplars[i];
        size_t inner = pb_begin(out, 4);
        metrics_pb_labels(out, exemplar->labels, exemplar->label_count);
        answer_pb_double(out, 2, exemplar->value);
        answer_pb_u64(out, 3, (uint64_t)exemplar->timestamp_ms);
        pb_end(out, inner);
    }
    pb_end(out, mark);
}

static void metrics_pb_instant(struct fm_buf *out, const struct series_line *line)
{
    if (!metrics_has_value(line))
        return;
    size_t mark = pb_begin(out, 1);
    metrics_pb_labels(out, line->labels, line->label_count);
    answer_pb_double(out, 2, line->samples[0].value);
    pb_end(out, mark);
}

static void metrics_pb(const struct series_result *result, const struct answer_stats *stats,
                       bool instant, struct fm_buf *out)
{
    char message[256];

    for (uint32_t i = 0; i < result->line_count; i++) {
        if (instant)
            metrics_pb_instant(out, &result->lines[i]);
        else
            metrics_pb_line(out, &result->lines[i]);
    }
    answer_pb_stats(out, 2, stats);
    if (!result->partial)
        return;
    pb_put_u64(out, 3, METRICS_PARTIAL);
    pb_put_bytes(out, 4, metrics_message(result, message, sizeof message));
}

void answer_range(const struct series_result *result, const struct answer_stats *stats,
                  enum answer_format format, struct fm_buf *out)
{
    (format == ANSWER_JSON ? metrics_json : metrics_pb)(result, stats, false, out);
}

void answer_instant(const struct series_result *result, const struct answer_stats *stats,
                    enum answer_format format, struct fm_buf *out)
{
    (format == ANSWER_JSON ? metrics_json : metrics_pb)(result, stats, true, out);
}
