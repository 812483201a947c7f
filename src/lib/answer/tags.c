/* SPDX-License-Identifier: Apache-2.0 */
/* Names of attributes and their values, flat and by scope or type. */
#include "internal.h"

#define NAME(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct fm_slice tags_intrinsics[] = {
    NAME("duration"),
    NAME("event:name"),
    NAME("event:timeSinceStart"),
    NAME("instrumentation:name"),
    NAME("instrumentation:version"),
    NAME("kind"),
    NAME("link:spanID"),
    NAME("link:traceID"),
    NAME("name"),
    NAME("rootName"),
    NAME("rootServiceName"),
    NAME("span:duration"),
    NAME("span:id"),
    NAME("span:kind"),
    NAME("span:name"),
    NAME("span:parentID"),
    NAME("span:status"),
    NAME("span:statusMessage"),
    NAME("status"),
    NAME("statusMessage"),
    NAME("trace:duration"),
    NAME("trace:id"),
    NAME("trace:rootName"),
    NAME("trace:rootService"),
    NAME("traceDuration"),
};

const struct fm_slice *answer_intrinsics(uint32_t *ret_count)
{
    *ret_count = FM_COUNT(tags_intrinsics);
    return tags_intrinsics;
}

/* tempopb.MetadataMetrics. */
static void tags_json_stats(struct json_writer *writer, const struct answer_stats *stats)
{
    json_key(writer, "metrics");
    json_object_begin(writer);
    answer_json_u64(writer, "inspectedBytes", stats->inspected_bytes);
    answer_json_u32(writer, "totalJobs", stats->job_count);
    answer_json_u32(writer, "completedJobs", stats->jobs_done);
    answer_json_u32(writer, "totalBlocks", stats->block_count);
    answer_json_u64(writer, "totalBlockBytes", stats->block_bytes);
    json_object_end(writer);
}

static void tags_pb_stats(struct fm_buf *out, const struct answer_stats *stats)
{
    size_t mark = pb_begin(out, 2);

    answer_pb_u64(out, 1, stats->inspected_bytes);
    answer_pb_u64(out, 2, stats->job_count);
    answer_pb_u64(out, 3, stats->jobs_done);
    answer_pb_u64(out, 4, stats->block_count);
    answer_pb_u64(out, 5, stats->block_bytes);
    pb_end(out, mark);
}

/* {"<member>":[ is open behind this, */
static void tags_json_begin(struct json_writer *writer, struct fm_buf *out, const char *member)
{
    json_writer_init(writer, out);
    json_object_begin(writer);
    json_key(writer, member);
    json_array_begin(writer);
}

/* and closed by this. */
static void tags_json_end(struct json_writer *writer, const struct answer_stats *stats)
{
    json_array_end(writer);
    tags_json_stats(writer, stats);
    json_object_end(writer);
}

/* The next name of all scopes in order, each once: position counts per scope how far it has come.
 * Scopes are few and sorted, so this is a merge. */
struct tags_merge {
    const struct answer_scope *scopes;
    uint32_t count;
    struct fm_slice last;
    bool started;
};

static uint32_t tags_after(const struct answer_scope *scope, const struct tags_merge *merge)
{
    uint32_t low = 0, high = scope->tag_count;

    while (merge->started && low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (fm_slice_compare(scope->tags[middle], merge->last) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool tags_next(struct tags_merge *merge, struct fm_slice *ret_name)
{
    const struct fm_slice *least = NULL;

    for (uint32_t i = 0; i < merge->count; i++) {
        const struct answer_scope *scope = &merge->scopes[i];
        uint32_t at = tags_after(scope, merge);
        if (at < scope->tag_count && (!least || fm_slice_compare(scope->tags[at], *least) < 0))
            least = &scope->tags[at];
    }
    if (!least)
        return false;
    merge->started = true;
    *ret_name = merge->last = *least;
    return true;
}

void answer_tags(const struct answer_scope *scopes, uint32_t count,
                 const struct answer_stats *stats, enum answer_format format, struct fm_buf *out)
{
    struct tags_merge merge = {.scopes = scopes, .count = count};
    struct json_writer writer;
    struct fm_slice name;

    if (format == ANSWER_PROTOBUF) {
        while (tags_next(&merge, &name))
            answer_pb_string(out, 1, name);
        tags_pb_stats(out, stats);
        return;
    }
    tags_json_begin(&writer, out, "tagNames");
    while (tags_next(&merge, &name))
        json_string(&writer, name);
    tags_json_end(&writer, stats);
}

static void tags_json_scope(struct json_writer *writer, const struct answer_scope *scope)
{
    json_object_begin(writer);
    json_key(writer, "name");
    json_text(writer, scope->name);
    json_key(writer, "tags");
    json_array_begin(writer);
    for (uint32_t i = 0; i < scope->tag_count; i++)
        json_string(writer, scope->tags[i]);
    json_array_end(writer);
    json_object_end(writer);
}

static void tags_pb_scope(struct fm_buf *out, const struct answer_scope *scope)
{
    size_t mark = pb_begin(out, 1);

    pb_put_text(out, 1, scope->name);
    for (uint32_t i = 0; i < scope->tag_count; i++)
        answer_pb_string(out, 2, scope->tags[i]);
    pb_end(out, mark);
}

void answer_tags_v2(const struct answer_scope *scopes, uint32_t count,
                    const struct answer_stats *stats, enum answer_format format, struct fm_buf *out)
{
    struct json_writer writer;

    if (format == ANSWER_PROTOBUF) {
        for (uint32_t i = 0; i < count; i++) {
            if (scopes[i].tag_count)
                tags_pb_scope(out, &scopes[i]);
        }
        tags_pb_stats(out, stats);
        return;
    }
    tags_json_begin(&writer, out, "scopes");
    for (uint32_t i = 0; i < count; i++) {
        if (scopes[i].tag_count)
            tags_json_scope(&writer, &scopes[i]);
    }
    tags_json_end(&writer, stats);
}

/* What decides in an editor how a value is quoted. */
static const char *tags_type(enum traceql_type type)
{
    switch (type) {
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

/* The text of a value; scratch is emptied and holds it unless it is a string. */
static struct fm_slice tags_text(const struct traceql_value *value, struct fm_buf *scratch)
{
    if (value->type == TRACEQL_STRING)
        return value->text;
    fm_buf_reset(scratch);
    answer_put_text(value, scratch);
    return fm_buf_slice(scratch);
}

void answer_values(const struct traceql_value *values, uint32_t count,
                   const struct answer_stats *stats, enum answer_format format, struct fm_buf *out)
{
    struct json_writer writer;
    struct fm_buf scratch;

    fm_buf_init(&scratch, out->bytes_max);
    if (format == ANSWER_JSON)
        tags_json_begin(&writer, out, "tagValues");
    for (uint32_t i = 0; i < count; i++) {
        struct fm_slice text = tags_text(&values[i], &scratch);
        out->failed |= scratch.failed;
        if (format == ANSWER_JSON)
            json_string(&writer, text);
        else
            answer_pb_string(out, 1, text);
    }
    if (format == ANSWER_JSON)
        tags_json_end(&writer, stats);
    else
        tags_pb_stats(out, stats);
    fm_buf_fini(&scratch);
}

static void tags_json_value(struct json_writer *writer, const char *type, struct fm_slice text)
{
    json_object_begin(writer);
    json_key(writer, "type");
    json_text(writer, type);
    if (text.len) {
        json_key(writer, "value");
        json_string(writer, text);
    }
    json_object_end(writer);
}

static void tags_pb_value(struct fm_buf *out, const char *type, struct fm_slice text)
{
    size_t mark = pb_begin(out, 1);

    pb_put_text(out, 1, type);
    if (text.len)
        answer_pb_string(out, 2, text);
    pb_end(out, mark);
}

void answer_values_v2(const struct traceql_value *values, uint32_t count,
                      const struct answer_stats *stats, enum answer_format format,
                      struct fm_buf *out)
{
    struct json_writer writer;
    struct fm_buf scratch;

    fm_buf_init(&scratch, out->bytes_max);
    if (format == ANSWER_JSON)
        tags_json_begin(&writer, out, "tagValues");
    for (uint32_t i = 0; i < count; i++) {
        struct fm_slice text = tags_text(&values[i], &scratch);
        out->failed |= scratch.failed;
        if (format == ANSWER_JSON)
            tags_json_value(&writer, tags_type(values[i].type), text);
        else
            tags_pb_value(out, tags_type(values[i].type), text);
    }
    if (format == ANSWER_JSON)
        tags_json_end(&writer, stats);
    else
        tags_pb_stats(out, stats);
    fm_buf_fini(&scratch);
}
