/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to send: made up as they are wanted, made up beforehand, or read from a file; in OTLP's
 * protobuf, and translated for the protocols that want something else.
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

#define SOURCE_BYTES_MAX       (UINT64_C(8) << 30)
#define SOURCE_BATCH_BYTES_MAX FM_MIB(256)
#define SOURCE_ENTRY_BYTES     9u     /* span count and gRPC's prefix */
#define SOURCE_PREFIX_BYTES    5u     /* of gRPC */
#define SOURCE_SPANS_PER_S     100000 /* of the corpus's own time when no rate is given */

struct emit_source {
    struct corpus *corpus; /* owned; NULL: all is in memory */
    struct platform *platform;
    uint64_t start_ns, span_max, span_count;
    const struct emit_protocol *protocol;
    size_t packet_bytes;
    struct fm_buf memory;     /* entries */
    struct fm_buf translated; /* the same requests: length (u32, little-endian), what is sent */
    size_t position, translated_position;
    bool repeats; /* begin again at the end */
};

void emit_batch_init(struct emit_batch *batch)
{
    *batch = (struct emit_batch){0};
    fm_buf_init(&batch->otlp_buf, SOURCE_BATCH_BYTES_MAX);
    fm_buf_init(&batch->body_buf, SOURCE_BATCH_BYTES_MAX);
}

void emit_batch_fini(struct emit_batch *batch)
{
    fm_buf_fini(&batch->otlp_buf);
    fm_buf_fini(&batch->body_buf);
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

/* Appends the request in the protocol's form, for gRPC with its prefix. */
static int source_translate(const struct emit_source *source, struct fm_slice otlp,
                            struct fm_buf *target)
{
    size_t start = target->len;

    if (source->protocol->transport == EMIT_GRPC)
        fm_buf_put_zeros(target, SOURCE_PREFIX_BYTES);
    int rc = source->protocol->translate(otlp, source->packet_bytes, target);
    if (rc < 0)
        return rc;
    if (source->protocol->transport == EMIT_GRPC)
        fm_store_be32(target->ptr + start + 1,
                      (uint32_t)(target->len - start - SOURCE_PREFIX_BYTES));
    return FM_OK;
}

/* Translates what is in memory, as far as it will be sent, so that the clock does not measure it.
 */
static int source_prepare_translated(struct emit_source *source, struct fm_why *why)
{
    struct fm_slice framed;
    uint32_t count;
    uint64_t spans = 0;

    while (spans < source->span_max && source_entry(source, &framed, &count)) {
        size_t start = source->translated.len;
        fm_buf_put_zeros(&source->translated, 4);
        int rc = source_translate(
            source, fm_slice(framed.ptr + SOURCE_PREFIX_BYTES, framed.len - SOURCE_PREFIX_BYTES),
            &source->translated);
        if (rc < 0)
            return fm_fail(why, rc, "cannot translate to %s: %s", source->protocol->name,
                           fm_rc_text(rc));
        fm_store_le32(source->translated.ptr + start,
                      (uint32_t)(source->translated.len - start - 4));
        source->position += framed.len + SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES;
        spans += count;
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
    source->protocol = plan->protocol;
    source->packet_bytes = plan->packet_bytes;
    source->start_ns = plan->start_ns;
    source->span_max = plan->total ? plan->total : UINT64_MAX;
    /* A corpus is sent once, unless more spans or a time were asked for by name. */
    source->repeats = plan->corpus_file ? plan->total || plan->duration_ns : false;
    fm_buf_init(&source->memory, SOURCE_BYTES_MAX);
    fm_buf_init(&source->translated, SOURCE_BYTES_MAX);
    int rc = source_open(source, plan, why);
    if (rc == FM_OK && source->protocol->translate && !plan->write_corpus_file)
        rc = source_prepare_translated(source, why);
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
        fm_buf_fini(&source->translated);
        free(source);
    }
    return NULL;
}

static int source_take(struct emit_source *source, struct emit_batch *batch)
{
    if (source->corpus) {
        fm_buf_reset(&batch->otlp_buf);
        int rc = source_generate(source, &batch->otlp_buf, &batch->span_count);
        if (rc < 0)
            return rc;
        batch->framed = fm_buf_slice(&batch->otlp_buf);
        return FM_OK;
    }
    if (source->position == source->memory.len) {
        if (!source->repeats)
            return FM_END;
        source->position = source->translated_position = 0;
    }
    bool is_entry = source_entry(source, &batch->framed, &batch->span_count);
    FM_ASSERT(is_entry); /* made or checked by ourselves */
    source->position += batch->framed.len + SOURCE_ENTRY_BYTES - SOURCE_PREFIX_BYTES;
    return FM_OK;
}

static int source_take_translated(struct emit_source *source, struct emit_batch *batch)
{
    if (source->translated.len) {
        const uint8_t *entry = source->translated.ptr + source->translated_position;
        batch->body = fm_slice(entry + 4, fm_load_le32(entry));
        source->translated_position += batch->body.len + 4;
    } else {
        fm_buf_reset(&batch->body_buf);
        int rc = source_translate(source, batch->otlp, &batch->body_buf);
        if (rc < 0)
            return rc;
        batch->body = fm_buf_slice(&batch->body_buf);
    }
    if (source->protocol->transport == EMIT_GRPC) {
        batch->framed = batch->body;
        batch->body = fm_slice(batch->framed.ptr + SOURCE_PREFIX_BYTES,
                               batch->framed.len - SOURCE_PREFIX_BYTES);
    }
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
    if (source->protocol->translate) {
        rc = source_take_translated(source, batch);
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
