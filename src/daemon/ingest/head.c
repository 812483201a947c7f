/* SPDX-License-Identifier: Apache-2.0 */
/* Head sampling between check and processors.  What it drops was received well: the client hears of
 * success, and the spans are counted. */
#include "ingest.h"

#include <stdio.h>
#include <stdlib.h>

#define ROOM_FIXED FM_KIB(4)

struct head_stage {
    struct sample_head head;
    metric dropped[SAMPLE_HEAD_REASON_COUNT];
    metric marked;
};

static const char *const head_reasons[SAMPLE_HEAD_REASON_COUNT] = {
    [SAMPLE_HEAD_PROBABILITY] = "probability",
    [SAMPLE_HEAD_RATE] = "rate",
    [SAMPLE_HEAD_TRACESTATE] = "tracestate",
};

int head_stage_new(struct head_stage **ret_stage, const struct sample_head_options *options)
{
    struct head_stage *stage = calloc(1, sizeof *stage);

    if (!stage)
        return FM_ENOMEM;
    sample_head_init(&stage->head, options);
    *ret_stage = stage;
    return FM_OK;
}

struct head_stage *head_stage_free(struct head_stage *stage)
{
    free(stage);
    return NULL;
}

uint64_t head_stage_threshold(struct head_stage *stage, uint64_t now_ns, uint64_t span_count)
{
    return sample_head_threshold(&stage->head, now_ns, span_count);
}

size_t head_stage_room(size_t otlp_len, uint64_t span_count)
{
    return otlp_len + (size_t)span_count * SAMPLE_HEAD_GROWTH + ROOM_FIXED;
}

int head_stage_run(struct head_stage *stage, uint64_t threshold, struct fm_slice otlp,
                   uint64_t span_count, struct fm_buf *result, struct sample_head_tally *ret_tally)
{
    fm_buf_init(result, head_stage_room(otlp.len, span_count));
    int rc = sample_head_run(&stage->head, threshold, otlp, result, ret_tally);
    if (rc != FM_OK)
        fm_buf_fini(result);
    return rc == FM_ELIMIT ? FM_ENOMEM : rc; /* there is room for all that it can become */
}

void head_stage_count(struct head_stage *stage, const struct sample_head_tally *tally)
{
    for (size_t i = 0; i < SAMPLE_HEAD_REASON_COUNT; i++)
        metric_add(&stage->dropped[i], tally->dropped[i]);
    metric_add(&stage->marked, tally->marked);
}

/* ---- an intake ---- */

int intake_sample(struct intake *intake)
{
    struct head_stage *stage = intake->ingest->head;
    uint64_t span_count = intake->facts.span_count;
    struct fm_slice otlp = intake_input(intake);
    struct fm_buf result;

    uint64_t threshold = head_stage_threshold(stage, intake->received_ns, span_count);
    if (!threshold)
        return FM_OK;
    uint64_t room = head_stage_room(otlp.len, span_count);
    int rc = intake_charge(intake, room);
    if (rc < 0)
        return rc;
    rc = head_stage_run(stage, threshold, otlp, span_count, &result, &intake->sampled);
    intake_give_back(intake, rc == FM_OK ? room - FM_MIN(room, (uint64_t)result.cap) : room);
    if (rc < 0)
        return fm_fail(&intake->why, rc, "sampling the request: %s", fm_rc_text(rc));
    return rc == FM_OK ? intake_take_result(intake, &result) : FM_OK;
}

void intake_count_sampled(struct intake *intake)
{
    if (intake->ingest->head)
        head_stage_count(intake->ingest->head, &intake->sampled);
}

/* ---- metrics ---- */

void head_stage_put_dropped(const struct head_stage *stage, struct fm_buf *out)
{
    char labels[64];

    for (size_t i = 0; i < SAMPLE_HEAD_REASON_COUNT; i++) {
        (void)snprintf(labels, sizeof labels, "stage=\"head_sampling\",reason=\"%s\"",
                       head_reasons[i]);
        metric_line(out, "fermata_spans_dropped_total", labels, metric_get(&stage->dropped[i]));
    }
}

void head_stage_put_metrics(const struct head_stage *stage, struct fm_buf *out)
{
    metric_counter(out, "fermata_head_sampling_marked_spans_total",
                   "Spans whose tracestate got another threshold.", &stage->marked);
}
