/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to send: made up as they are wanted, made up beforehand, or read from a file.
 *
 * A corpus, in memory as in its file, is entry after entry: span count (u32, little-endian), then
 * the request as a gRPC message (0, u32 length big-endian, bytes).  So one copy serves HTTP and
 * gRPC alike.
 */
#include <stdlib.h>

#include "corpus.h"
#include "emit.h"
#include "fermata/linux.h"
#include "fermata/pb.h"
#include "otlp_json.h"

#define SOURCE_BYTES_MAX       (UINT64_C(8) << 30)
#define SOURCE_BATCH_BYTES_MAX FM_MIB(256)
#define SOURCE_ENTRY_BYTES     9u     /* span count and gRPC's prefix */
#define SOURCE_PREFIX_BYTES    5u     /* of gRPC */
#define SOURCE_SPANS_PER_S     100000 /* of the corpus's own time when no rate is given */

struct emit_source {
    struct corpus *corpus; /* owned; NULL: all is in memory */
    struct platform *platform;
    uint64_t start_ns, span_max, span_count;
    bool is_json;
    struct fm_buf memory; /* entries */
    struct fm_buf json;   /* the same requests: length (u32, little-endian), OTLP/JSON */
    size_t position, json_position;
    bool repeats; /* begin again at the end */
};

void emit_batch_init(struct emit_batch *batch)
{
    *batch = (struct emit_batch){0};
    fm_buf_init(&batch->framed_buf, SOURCE_BATCH_BYTES_MAX);
    fm_buf_init(&batch->json_buf, SOURCE_BATCH_BYTES_MAX);
}

void emit_batch_fini(struct emit_batch *batch)
{
    fm_buf_fini(&batch->framed_buf);
    fm_buf_fini(&batch->json_buf);
}

/* resource_spans, scope_spans, spans. */
static uint32_t source_count(struct fm_slice message, unsigned level)
{
    static const uint32_t path[] = {1, 2, 2};
    struct pb_field field;
    uint32_t count = 0;

    while (pb_next(&message, &field) == FM_OK) {
        if (field.number != path[level] || field.type != PB_BYTES)
            continue;
        count += level + 1 == FM_COUNT(path) ? 1 : source_count(field.bytes, level + 1);
    }
    return count;
}

/* Appends the next request with room for its prefix and fills the prefix in. */
static int source_generate(struct emit_source *source, struct fm_buf *framed, uint32_t *ret_count)
{
    size_t start = framed->len;
    uint64_t now_ns = source->start_ns ? source->start_ns : pf_wall_ns(source->platform);

    fm_buf_put_zeros(framed, SOURCE_PREFIX_BYTES);
    uint64_t before = corpus_span_count(source->corpus);
    int rc = corpus_next(source->corpus, now_ns, framed);
    if (rc < 0)
        return rc;
    if (framed->failed)
        return FM_ENOMEM;
    fm_store_be32(framed->ptr + start + 1, (uint32_t)(framed->len - start - SOURCE_PREFIX_BYTES));
    *ret_count = (uint32_t)(corpus_span_count(source->corpus) - before);
    return FM_OK;
}

static int source_prepare(struct emit_source *source, struct fm_why *why)
{
    uint64_t spans = 0;

    while (spans < source->span_max) {
        uint32_t count;
        size_t start = source->memory.len;
        fm_buf_put_zeros(&source->memory, SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES);
        int rc = source_generate(source, &source->memory, &count);
        if (rc < 0)
            return fm_fail(why, rc, "no memory for %llu spans",
                           (unsigned long long)source->span_max);
        fm_store_le32(source->memory.ptr + start, count);
        spans += count;
    }
    source->corpus = corpus_free(source->corpus);
    return FM_OK;
}

/* Entry at the position; false: what is there is not one. */
static bool source_entry(const struct emit_source *source, struct fm_slice *ret_framed,
                         uint32_t *ret_count)
{
    size_t left = source->memory.len - source->position;
    const uint8_t *entry = source->memory.ptr + source->position;

    if (left < SOURCE_ENTRY_BYTES)
        return false;
    uint32_t len = fm_load_be32(entry + 5);
    if (len > left - SOURCE_ENTRY_BYTES || entry[4] != 0)
        return false;
    *ret_count = fm_load_le32(entry);
    *ret_framed = fm_slice(entry + 4, (size_t)len + SOURCE_PREFIX_BYTES);
    return true;
}

static int source_load(struct emit_source *source, const char *path, struct fm_why *why)
{
    struct fm_slice framed;
    uint32_t count;

    int rc = pf_read_file(source->platform, path, &source->memory, why);
    if (rc < 0)
        return rc;
    for (; source->position < source->memory.len;
         source->position += framed.len + SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES) {
        if (!source_entry(source, &framed, &count) ||
            source_count(
                fm_slice(framed.ptr + SOURCE_PREFIX_BYTES, framed.len - SOURCE_PREFIX_BYTES), 0) !=
                count)
            return fm_fail(why, FM_ECORRUPT, "%s: no corpus: byte %zu", path, source->position);
    }
    source->position = 0;
    if (!source->memory.len)
        return fm_fail(why, FM_ECORRUPT, "%s: no corpus: it is empty", path);
    return FM_OK;
}

/* Translates what is in memory, so that the clock does not measure it. */
static int source_prepare_json(struct emit_source *source, struct fm_why *why)
{
    struct fm_slice framed;
    uint32_t count;

    while (source_entry(source, &framed, &count)) {
        size_t start = source->json.len;
        fm_buf_put_zeros(&source->json, 4);
        int rc = otlp_json_put(
            fm_slice(framed.ptr + SOURCE_PREFIX_BYTES, framed.len - SOURCE_PREFIX_BYTES),
            &source->json);
        if (rc < 0)
            return fm_fail(why, rc, "cannot translate to JSON: %s", fm_rc_text(rc));
        fm_store_le32(source->json.ptr + start, (uint32_t)(source->json.len - start - 4));
        source->position += framed.len + SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES;
    }
    source->position = 0;
    return FM_OK;
}

static int source_open(struct emit_source *source, const struct emit_plan *plan, struct fm_why *why)
{
    const struct corpus_options options = {
        .seed = plan->seed,
        .spans_per_request = (uint32_t)plan->batch_spans,
        .spans_per_s = (double)(plan->rate ? plan->rate : SOURCE_SPANS_PER_S),
    };

    if (plan->corpus_file)
        return source_load(source, plan->corpus_file, why);
    int rc = corpus_new(&source->corpus, &options);
    if (rc < 0)
        return fm_fail(why, rc, "cannot make up traces: %s", fm_rc_text(rc));
    return plan->prepare || plan->write_corpus_file ? source_prepare(source, why) : FM_OK;
}

int emit_source_new(struct emit_source **ret_source, const struct emit_plan *plan,
                    struct fm_why *why)
{
    FM_AUTO(emit_source) source = calloc(1, sizeof *source);

    if (!source)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    source->platform = linux_platform();
    source->is_json = plan->protocol == EMIT_OTLP_HTTP_JSON;
    source->start_ns = plan->start_ns;
    source->span_max = plan->total ? plan->total : UINT64_MAX;
    /* A corpus is sent once, unless more spans or a time were asked for by name. */
    source->repeats = plan->corpus_file ? plan->total || plan->duration_ns : false;
    fm_buf_init(&source->memory, SOURCE_BYTES_MAX);
    fm_buf_init(&source->json, SOURCE_BYTES_MAX);
    int rc = source_open(source, plan, why);
    if (rc == FM_OK && source->is_json)
        rc = source_prepare_json(source, why);
    if (rc < 0)
        return rc;
    *ret_source = fm_take(source);
    return FM_OK;
}

struct emit_source *emit_source_free(struct emit_source *source)
{
    if (source) {
        corpus_free(source->corpus);
        fm_buf_fini(&source->memory);
        fm_buf_fini(&source->json);
        free(source);
    }
    return NULL;
}

static int source_take(struct emit_source *source, struct emit_batch *batch)
{
    if (source->corpus) {
        fm_buf_reset(&batch->framed_buf);
        int rc = source_generate(source, &batch->framed_buf, &batch->span_count);
        if (rc < 0)
            return rc;
        batch->framed = fm_buf_slice(&batch->framed_buf);
        return FM_OK;
    }
    if (source->position == source->memory.len) {
        if (!source->repeats)
            return FM_END;
        source->position = source->json_position = 0;
    }
    bool is_entry = source_entry(source, &batch->framed, &batch->span_count);
    FM_ASSERT(is_entry); /* made or checked by ourselves */
    source->position += batch->framed.len + SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES;
    return FM_OK;
}

static int source_take_json(struct emit_source *source, struct emit_batch *batch)
{
    if (source->json.len) {
        const uint8_t *entry = source->json.ptr + source->json_position;
        batch->body = fm_slice(entry + 4, fm_load_le32(entry));
        source->json_position += batch->body.len + 4;
        return FM_OK;
    }
    fm_buf_reset(&batch->json_buf);
    int rc = otlp_json_put(batch->otlp, &batch->json_buf);
    if (rc < 0)
        return rc;
    batch->body = fm_buf_slice(&batch->json_buf);
    return FM_OK;
}

int emit_source_next(struct emit_source *source, struct emit_batch *batch)
{
    if (source->span_count >= source->span_max)
        return FM_END;
    int rc = source_take(source, batch);
    if (rc != FM_OK)
        return rc;
    batch->otlp =
        fm_slice(batch->framed.ptr + SOURCE_PREFIX_BYTES, batch->framed.len - SOURCE_PREFIX_BYTES);
    batch->body = batch->otlp;
    if (source->is_json) {
        rc = source_take_json(source, batch);
        if (rc < 0)
            return rc;
    }
    source->span_count += batch->span_count;
    return FM_OK;
}

int emit_source_write(struct emit_source *source, const char *path, struct fm_why *why)
{
    return pf_replace_file(source->platform, path, fm_buf_slice(&source->memory), why);
}

uint64_t emit_source_bytes(const struct emit_source *source)
{
    return source->memory.len;
}
