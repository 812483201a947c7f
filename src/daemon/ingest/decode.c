/* SPDX-License-Identifier: Apache-2.0 */
/* The decoding of an intake: from a body as received to checked OTLP, under the memory budget.
 *
 * Runs in a job or inline; touches nothing but the intake and the (atomic) budget.  How large a
 * result will be is not known before; so a guess is charged, and more while that is too little:
 * claiming the limit at once would crowd out everybody for a body of a few hundred KiB.
 */
#include "ingest.h"

#define INFLATE_RATIO_GUESS   8u
#define INFLATE_FREE_BYTES    FM_MIB(1) /* the ratio of a body is nobody's business below that */
#define TRANSLATE_RATIO_GUESS 3u        /* OTLP is wordier than Thrift, less so than JSON */
#define TRANSLATE_ROOM_MIN    FM_KIB(16)
#define ROOM_GROWTH           4u /* of a guess that was too small */

struct fm_slice intake_input(const struct intake *intake)
{
    return fm_slice(intake->body.ptr + intake->body_skip, intake->body.len - intake->body_skip);
}

static uint64_t intake_charge_max(const struct intake *intake)
{
    uint64_t bytes_max = net_budget_share_max(intake->ingest->options.budget);
    return bytes_max - FM_MIN(bytes_max, intake->received_bytes + intake->charged_bytes);
}

/* FM_ELIMIT: not even an idle daemon could; asking the client to come again would never end. */
int intake_charge(struct intake *intake, uint64_t bytes)
{
    if (bytes > intake_charge_max(intake))
        return fm_fail(&intake->why, FM_ELIMIT, "the request needs more than limits.memory_limit");
    if (!net_budget_take_for(intake->ingest->options.budget, intake->party, bytes))
        return fm_fail(&intake->why, FM_EUNAVAILABLE, "memory budget is used up");
    intake->charged_bytes += bytes;
    return FM_OK;
}

void intake_give_back(struct intake *intake, uint64_t bytes)
{
    net_budget_give_for(intake->ingest->options.budget, intake->party, bytes);
    intake->charged_bytes -= bytes;
}

void intake_replace_body(struct intake *intake, struct fm_buf *other)
{
    fm_buf_fini(&intake->body);
    intake->body = *other;
    intake->body_skip = 0;
}

/* ---- inflating ---- */

static int intake_fail_inflating(struct intake *intake, int rc, bool is_ratio)
{
    intake->inflate_failed = rc != FM_ELIMIT;
    intake->is_bomb = rc == FM_ELIMIT && is_ratio;
    if (intake->is_bomb)
        return fm_fail(&intake->why, FM_EMALFORMED,
                       "%s body: more than limits.max_decompression_ratio",
                       codec_name(intake->codec));
    return fm_fail(&intake->why, rc, "%s body: %s", codec_name(intake->codec), fm_rc_text(rc));
}

static int intake_inflate(struct intake *intake)
{
    const struct ingest_options *options = &intake->ingest->options;
    struct fm_slice input = intake_input(intake);
    uint64_t limit = FM_MIN(options->decompressed_bytes_max, intake_charge_max(intake));
    uint64_t ratio_limit =
        FM_MAX((uint64_t)input.len * options->decompression_ratio_max, INFLATE_FREE_BYTES);
    bool is_ratio = ratio_limit < limit;
    limit = FM_MIN(limit, ratio_limit);
    uint64_t room = FM_MIN(limit, (uint64_t)input.len * INFLATE_RATIO_GUESS + FM_KIB(64));
    for (;;) {
        int rc = intake_charge(intake, room);
        if (rc < 0)
            return rc;
        struct fm_buf plain;
        fm_buf_init(&plain, room);
        rc = codec_inflate(intake->codec, input, &plain);
        if (rc == FM_OK) {
            intake_give_back(intake, room - FM_MIN(room, (uint64_t)plain.cap));
            intake_replace_body(intake, &plain);
            return FM_OK;
        }
        fm_buf_fini(&plain);
        if (rc != FM_ELIMIT || room == limit)
            return intake_fail_inflating(intake, rc, is_ratio);
        intake_give_back(intake, room);
        room = FM_MIN(limit, room * ROOM_GROWTH);
    }
}

/* ---- translating ---- */

/* Protobuf is shorter than the JSON it came from, but for bytes that are not UTF-8: each of them
 * becomes U+FFFD, three bytes. */
static int intake_read_otlp_json(struct intake *intake)
{
    struct fm_slice json = intake_input(intake);
    uint64_t room = 0;
    for (;;) {
        int rc = intake_charge(intake, room ? 2 * room : json.len);
        if (rc < 0)
            return rc;
        bool is_last = room != 0;
        room = is_last ? 3 * (uint64_t)json.len : json.len;
        struct fm_buf otlp;
        fm_buf_init(&otlp, FM_MAX(room, FM_KIB(4)));
        rc = otlp_json_decode(json, &otlp, &intake->why);
        if (rc == FM_OK) {
            intake_replace_body(intake, &otlp);
            return FM_OK;
        }
        bool was_full = otlp.failed;
        fm_buf_fini(&otlp);
        if (is_last || !was_full)
            return rc;
    }
}

static int intake_run_translator(struct intake *intake, struct fm_slice input,
                                 struct fm_arena *scratch, struct fm_buf *target)
{
    struct fm_why *why = &intake->why;
    switch (intake->encoding) {
    case INTAKE_JAEGER_THRIFT:
        return jaeger_thrift_decode(input, THRIFT_BINARY_PROTOCOL, scratch, target, why);
    case INTAKE_JAEGER_PB:
        return jaeger_pb_decode(input, scratch, target, why);
    case INTAKE_ZIPKIN_JSON:
        return zipkin_json_decode(input, scratch, target, why);
    case INTAKE_ZIPKIN_PB:
        return zipkin_pb_decode(input, scratch, target, why);
    case INTAKE_ZIPKIN_THRIFT:
        if (!input.len) /* as with the other encodings: no list is an empty one */
            return FM_OK;
        return zipkin_thrift_decode(input, THRIFT_BINARY_PROTOCOL, scratch, target, why);
    case INTAKE_OTLP_PROTOBUF:
    case INTAKE_OTLP_JSON:
        break;
    }
    fm_panic("no translator", __FILE__, __LINE__);
}

/* One half of the room is for the result, one for what the translator needs meanwhile. */
static int intake_translate(struct intake *intake)
{
    struct fm_slice input = intake_input(intake);
    uint64_t limit = intake_charge_max(intake) / 2;
    uint64_t room = (uint64_t)input.len * TRANSLATE_RATIO_GUESS + TRANSLATE_ROOM_MIN;
    for (;;) {
        room = FM_MIN(room, limit);
        int rc = intake_charge(intake, 2 * room);
        if (rc < 0)
            return rc;
        struct fm_arena scratch;
        struct fm_buf otlp;
        fm_arena_init(&scratch, room);
        fm_buf_init(&otlp, FM_MIN(room, intake->ingest->options.decompressed_bytes_max));
        rc = intake_run_translator(intake, input, &scratch, &otlp);
        fm_arena_fini(&scratch);
        if (rc == FM_OK) {
            intake_give_back(intake, 2 * room - FM_MIN(2 * room, (uint64_t)otlp.cap));
            intake_replace_body(intake, &otlp);
            return FM_OK;
        }
        fm_buf_fini(&otlp);
        if (rc != FM_ELIMIT || room == limit)
            return rc;
        intake_give_back(intake, 2 * room);
        room *= ROOM_GROWTH;
    }
}

/* ---- checking ---- */

int intake_rewrite(struct intake *intake)
{
    struct fm_slice request = intake_input(intake);
    int rc = intake_charge(intake, request.len);
    if (rc < 0)
        return rc;
    struct fm_buf clean;
    fm_buf_init(&clean, request.len + FM_KIB(4));
    rc = otlp_pb_rewrite(request, &intake->ingest->options.limits, &clean);
    if (rc < 0) {
        fm_buf_fini(&clean);
        return fm_fail(&intake->why, rc, "rewriting the request: %s", fm_rc_text(rc));
    }
    intake_replace_body(intake, &clean);
    return FM_OK;
}

int intake_take_result(struct intake *intake, struct fm_buf *result)
{
    struct decode_facts *facts = &intake->facts;
    uint32_t refused[DECODE_REASON_COUNT], refused_count = facts->refused_count;
    uint32_t mended_count = facts->mended_count, span_count = facts->span_count;

    intake_replace_body(intake, result);
    memcpy(refused, facts->refused, sizeof refused);
    int rc =
        otlp_pb_check(intake_input(intake), &intake->ingest->options.limits, facts, &intake->why);
    if (rc == FM_OK && facts->rewrite && facts->span_count)
        rc = intake_rewrite(intake);
    intake->dropped_count += span_count - FM_MIN(span_count, facts->span_count);
    memcpy(facts->refused, refused, sizeof refused);
    facts->refused_count = refused_count;
    facts->mended_count += mended_count;
    return rc;
}

int intake_decode(struct intake *intake)
{
    int rc = FM_OK;
    if (intake->codec != CODEC_NONE)
        rc = intake_inflate(intake);
    if (rc == FM_OK && intake->encoding == INTAKE_OTLP_JSON)
        rc = intake_read_otlp_json(intake);
    else if (rc == FM_OK && intake->encoding != INTAKE_OTLP_PROTOBUF)
        rc = intake_translate(intake);
    if (rc < 0)
        return rc;
    rc = otlp_pb_check(intake_input(intake), &intake->ingest->options.limits, &intake->facts,
                       &intake->why);
    if (rc == FM_OK && intake->facts.rewrite && intake->facts.span_count)
        rc = intake_rewrite(intake);
    if (rc == FM_OK && intake->ingest->head && intake->facts.span_count)
        rc = intake_sample(intake);
    if (rc == FM_OK && intake->processing && intake->facts.span_count)
        rc = intake_process(intake);
    return rc;
}
