/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, and rows in two halves with the traces that lie in both put together from both. */
#include "sides.h"

#include <stdio.h>
#include <stdlib.h>

#include "../support/keep.h"

#include "fermata/bytes.h"
#include "fermata/series.h"

static bool sides_is_shared(void *self, const struct trace_id *id)
{
    const struct sides *sides = self;
    for (uint32_t i = 0; i < sides->shared_count; i++)
        if (trace_id_equal(&sides->shared[i], id))
            return true;
    return false;
}

static struct frame_rows *sides_rows(struct sides *sides, uint64_t first, uint64_t second,
                                     bool only_shared)
{
    struct frame_rows *rows = NULL;
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(1));
    FM_ASSERT(frame_rows_new(&rows, FM_MIB(64)) == FM_OK);
    model_put_otlp(sides->model, first, &otlp);
    FM_ASSERT(frame_rows_add(rows, fm_buf_slice(&otlp), only_shared ? sides_is_shared : NULL, sides,
                             NULL) == FM_OK);
    fm_buf_reset(&otlp);
    model_put_otlp(sides->model, second, &otlp);
    FM_ASSERT(frame_rows_add(rows, fm_buf_slice(&otlp), only_shared ? sides_is_shared : NULL, sides,
                             NULL) == FM_OK);
    FM_ASSERT(frame_rows_finish(rows) == FM_OK);
    fm_buf_fini(&otlp);
    return rows;
}

static void sides_block(const struct sides *sides, uint64_t mask, struct side_block *side)
{
    FM_AUTO(block_builder) builder = NULL;
    struct block_options options = block_options_default;
    struct block_census census;
    struct fm_buf otlp, blooms;
    fm_buf_init(&otlp, FM_MIB(1));
    fm_buf_init(&blooms, FM_MIB(8));
    fm_buf_init(&side->data, FM_MIB(8));
    options.page_span_target = 8;
    options.row_group_span_max = 24;
    options.codec_level = 1;
    side->meta.id.bytes[0] = side == &sides->all_block;
    model_put_otlp(sides->model, mask, &otlp);
    FM_ASSERT(block_builder_new(&builder, &options) == FM_OK);
    FM_ASSERT(block_builder_add(builder, fm_buf_slice(&otlp), NULL) == FM_OK);
    FM_ASSERT(block_builder_finish(builder, fm_sink_buf(&side->data), &blooms, &side->meta, &census,
                                   NULL) == FM_OK);
    side->bytes = fm_buf_slice(&side->data);
    FM_ASSERT(block_open(&side->block, fm_source_memory(&side->bytes), &side->meta, NULL) == FM_OK);
    if (mask & 2) /* rows by guides, and where values are, or neither */
        block_prepare(side->block, FM_MIB(1));
    fm_buf_fini(&otlp);
    fm_buf_fini(&blooms);
}

static int sides_compare_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

struct sides *sides_new(const struct model *model, uint64_t seed)
{
    struct sides *sides = calloc(1, sizeof *sides);
    uint64_t left = 0, state = seed;
    uint32_t in_left[MODEL_TRACES] = {0}, in_right[MODEL_TRACES] = {0};
    FM_ASSERT(sides);
    sides->model = model;
    sides->share_count = 2 + (uint32_t)(seed % 3);
    sides->keep = malloc(sizeof *sides->keep);
    FM_ASSERT(sides->keep);
    test_keep_init(sides->keep, FM_MIB(1), seed % 4);
    for (uint32_t i = 0; i < model->span_count; i++) {
        bool goes_left = model_below(&state, 4) < 1 + model->spans[i].trace % 3;
        left |= (uint64_t)goes_left << i;
        in_left[model->spans[i].trace] += goes_left;
        in_right[model->spans[i].trace] += !goes_left;
    }
    for (uint32_t t = 0; t < model->trace_count; t++)
        if (in_left[t] && in_right[t])
            model_trace_id(t, sides->shared[sides->shared_count++].bytes);
    qsort(sides->shared, sides->shared_count, sizeof sides->shared[0], sides_compare_id);
    sides_block(sides, UINT64_MAX, &sides->all_block);
    if (~left & (model->span_count < 64 ? (UINT64_C(1) << model->span_count) - 1 : UINT64_MAX))
        sides_block(sides, ~left, &sides->right_block);
    sides->whole = sides_rows(sides, UINT64_MAX, 0, false);
    sides->left = sides_rows(sides, left, 0, false);
    sides->right = sides_rows(sides, ~left, 0, false);
    sides->joined = sides_rows(sides, ~left, left, true);
    return sides;
}

static void side_block_end(struct side_block *side)
{
    if (side->block) {
        block_free(side->block);
        fm_buf_fini(&side->data);
    }
}

struct sides *sides_free(struct sides *sides)
{
    if (!sides)
        return NULL;
    side_block_end(&sides->all_block);
    side_block_end(&sides->right_block);
    frame_rows_free(sides->whole);
    frame_rows_free(sides->left);
    frame_rows_free(sides->right);
    frame_rows_free(sides->joined);
    test_keep_fini(sides->keep);
    free(sides->keep);
    free(sides);
    return NULL;
}

/* ---- what eval says, as the oracle's text ---- */

uint32_t sides_trace(const struct sides *sides, const struct trace_id *id)
{
    for (uint32_t t = 0; t < sides->model->trace_count; t++) {
        struct trace_id each;
        model_trace_id(t, each.bytes);
        if (trace_id_equal(id, &each))
            return t;
    }
    return MODEL_TRACES;
}

/* The model's span that is span of the frame. */
static uint32_t sides_span(const struct sides *sides, struct eval_run *run, uint32_t trace,
                           uint32_t span)
{
    static const struct traceql_field id_field = {.intrinsic = TRACEQL_SPAN_ID};
    static const struct traceql_field kind_field = {.intrinsic = TRACEQL_SPAN_KIND};
    struct traceql_value id, kind;
    uint8_t bytes[8];
    if (eval_run_value(run, &id_field, span, &id, NULL) != FM_OK ||
        eval_run_value(run, &kind_field, span, &kind, NULL) != FM_OK ||
        fm_hex_decode(bytes, 8, id.text) != FM_OK)
        return MODEL_SPANS;
    for (uint32_t i = 0; i < sides->model->span_count; i++) {
        const struct model_span *each = &sides->model->spans[i];
        if (each->trace == trace && each->id == bytes[7] && each->kind == kind.integer)
            return i;
    }
    return MODEL_SPANS;
}

static void sides_put_set(const struct sides *sides, struct eval_run *run,
                          const struct frame *frame, const struct eval_set *set, struct fm_buf *out)
{
    uint32_t trace = sides_trace(sides, &frame->trace_ids[set->trace]);
    uint64_t mask = 0;
    for (uint32_t i = 0; i < set->span_count; i++) {
        uint32_t at = sides_span(sides, run, trace, set->spans[i]);
        if (at < MODEL_SPANS)
            mask |= UINT64_C(1) << at;
        else
            fm_buf_puts(out, "unknown span ");
    }
    fm_buf_printf(out, "trace %u:", trace);
    for (uint32_t i = 0; i < sides->model->span_count; i++)
        if (mask >> i & 1)
            fm_buf_printf(out, " %u/%d", sides->model->spans[i].id, sides->model->spans[i].kind);
    fm_buf_puts(out, ";");
    for (uint32_t i = 0; i < set->label_count; i++) {
        fm_buf_puts(out, " ");
        fm_buf_put_slice(out, set->labels[i].name);
        fm_buf_puts(out, "=");
        oracle_put_value(out, &set->labels[i].value);
    }
    fm_buf_puts(out, "\n");
}

/* rows NULL: the block. */
static int sides_source(const struct sides *sides, const struct frame_rows *rows,
                        const struct frame_request *request, struct frame_source **ret_source,
                        struct fm_why *why)
{
    struct frame_request kept = *request;
    kept.keep = &sides->keep->keep;
    return rows ? frame_rows_source(rows, request, ret_source)
                : block_frames_new(sides->all_block.block, &kept, FM_MIB(64), ret_source, why);
}

static int sides_run(struct sides *sides, struct eval_plan *plan, const struct frame_rows *rows,
                     bool excludes, struct fm_buf *out)
{
    struct frame_request request = {.end_ns = UINT64_MAX};
    struct eval_limits limits = {.end_ns = UINT64_MAX, .memory_max = FM_MIB(64)};
    FM_AUTO(frame_source) source = NULL;
    FM_AUTO(eval_run) run = NULL;
    const struct frame *frame;
    const uint8_t *mask;
    const struct eval_set *sets;
    uint32_t count;
    struct fm_why why;
    if (excludes) {
        limits.excluded = sides->shared;
        limits.excluded_count = sides->shared_count;
    }
    request.fields = eval_plan_fields(plan, &request.field_count);
    int rc = sides_source(sides, rows, &request, &source, &why);
    if (rc == FM_OK)
        rc = eval_run_new(&run, plan, source, &limits);
    while (rc == FM_OK && (rc = eval_run_next(run, &frame, &mask, &why)) == FM_OK) {
        rc = eval_run_sets(run, &sets, &count, &why);
        for (uint32_t i = 0; i < count && rc == FM_OK; i++)
            sides_put_set(sides, run, frame, &sets[i], out);
    }
    return rc == FM_END ? FM_OK : rc;
}

static bool sides_compare(const char *name, int rc, struct fm_buf *said, int oracle_rc,
                          const struct fm_buf *wanted, struct fm_buf *report)
{
    oracle_sort_lines(said);
    bool differs = rc != oracle_rc ||
                   (rc == FM_OK && !fm_slice_equal(fm_buf_slice(said), fm_buf_slice(wanted)));
    if (differs && report)
        fm_buf_printf(report, "%s says (%d)\n%.*soracle says (%d)\n%.*s", name, rc, (int)said->len,
                      said->len ? (char *)said->ptr : "", oracle_rc, (int)wanted->len,
                      wanted->len ? (char *)wanted->ptr : "");
    return differs;
}

/* ---- metrics ---- */

struct sides_part { /* rows, or a share of the block */
    const struct sides *sides;
    const struct frame_rows *rows;
    uint64_t row_from, row_to; /* as in frame_request */
};

static int sides_open(void *self, const struct frame_request *request,
                      struct frame_source **ret_source, struct fm_why *why)
{
    const struct sides_part *part = self;
    struct frame_request of_share = *request;
    of_share.row_from = part->row_from;
    of_share.row_to = part->row_to;
    return sides_source(part->sides, part->rows, &of_share, ret_source, why);
}

static int sides_series(struct sides *sides, const struct traceql_query *query,
                        const struct model_question *question, struct sides_part *part,
                        bool excludes, struct series **ret_series)
{
    const struct series_options options = {.start_ns = question->start_ns,
                                           .end_ns = question->end_ns,
                                           .step_ns = question->step_ns,
                                           .instant = question->instant,
                                           .exemplars_max = question->exemplars,
                                           .series_max = 1000};
    struct eval_limits limits = {.end_ns = UINT64_MAX, .by_span = true, .memory_max = FM_MIB(64)};
    struct frame_stats stats = {0};
    struct fm_why why;
    FM_AUTO(series) series = NULL;
    if (excludes) {
        limits.excluded = sides->shared;
        limits.excluded_count = sides->shared_count;
    }
    int rc = series_new(&series, query, &limits, &options, &why);
    if (rc == FM_OK) {
        series_window(series, &limits.start_ns, &limits.end_ns);
        rc = series_add(series, sides_open, part, &stats, &why);
    }
    if (rc == FM_OK)
        *ret_series = fm_take(series);
    return rc;
}

static void sides_put_line(const struct series_line *line, struct fm_buf *out)
{
    char labels[4][100], *sorted[4];
    uint32_t count = FM_MIN(line->label_count, FM_COUNT(labels));
    for (uint32_t i = 0, kept = 0; i < line->label_count && kept < FM_COUNT(labels); i++) {
        const struct series_label *label = &line->labels[i];
        struct fm_buf text;
        if (fm_slice_equal_text(label->name, "p") ||
            fm_slice_equal_text(label->name, "__bucket")) { /* it stands in front */
            fm_buf_printf(out, "%.*s=%.6g ", (int)label->name.len, label->name.ptr,
                          label->value.number);
            count--;
            continue;
        }
        fm_buf_init(&text, FM_KIB(4));
        fm_buf_put_slice(&text, label->name);
        fm_buf_puts(&text, "=");
        oracle_put_value(&text, &label->value);
        (void)snprintf(labels[kept], sizeof labels[0], "%.*s", (int)text.len, text.ptr);
        sorted[kept] = labels[kept];
        kept++;
        fm_buf_fini(&text);
    }
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j && strcmp(sorted[j], sorted[j - 1]) < 0; j--) {
            char *other = sorted[j];
            sorted[j] = sorted[j - 1];
            sorted[j - 1] = other;
        }
    for (uint32_t i = 0; i < count; i++)
        fm_buf_printf(out, "%s ", sorted[i]);
    fm_buf_puts(out, ";");
    for (uint32_t i = 0; i < line->sample_count; i++) {
        double value = line->samples[i].value;
        fm_buf_printf(out, " %lld:%.6g", (long long)line->samples[i].timestamp_ms,
                      value == 0 ? 0.0 : value);
    }
    fm_buf_puts(out, "\n");
}

/* An exemplar is a span that came through, of its trace. */
static void sides_check_exemplars(const struct sides *sides, const struct traceql_query *query,
                                  const struct series_result *result, struct fm_buf *out)
{
    uint64_t mask = 0;
    (void)!oracle_survivors(sides->model, query, &mask);
    for (uint32_t i = 0; i < result->line_count; i++)
        for (uint32_t e = 0; e < result->lines[i].exemplar_count; e++) {
            const struct series_exemplar *exemplar = &result->lines[i].exemplars[e];
            struct traceql_field field = {.intrinsic = TRACEQL_TRACE_ID};
            bool found = false;
            for (uint32_t s = 0; s < sides->model->span_count && exemplar->label_count; s++) {
                struct traceql_value id = oracle_value(sides->model, s, &field);
                found |=
                    (mask >> s & 1) && fm_slice_equal(id.text, exemplar->labels[0].value.text) &&
                    (int64_t)(sides->model->spans[s].start_ns / 1000000) == exemplar->timestamp_ms;
            }
            if (!found)
                fm_buf_printf(out, "wrong exemplar at %lld\n", (long long)exemplar->timestamp_ms);
        }
}

static int sides_finish(const struct sides *sides, const struct traceql_query *query,
                        struct series *series, struct fm_buf *out)
{
    const struct series_result *result;
    struct fm_why why;
    int rc = series_finish(series, &result, &why);
    for (uint32_t i = 0; rc == FM_OK && i < result->line_count; i++)
        sides_put_line(&result->lines[i], out);
    if (rc == FM_OK)
        sides_check_exemplars(sides, query, result, out);
    return rc;
}

/* Part number i of the halves, or of the shares; FM_NONE: that share has no rows. */
static int sides_metrics_part(struct sides *sides, bool is_share, uint32_t i,
                              struct sides_part *ret_part)
{
    struct frame_rows *halves[] = {sides->left, sides->right, sides->joined};
    *ret_part = (struct sides_part){.sides = sides, .rows = is_share ? NULL : halves[i]};
    return is_share ? block_share(sides->all_block.block, i, sides->share_count,
                                  &ret_part->row_from, &ret_part->row_to, NULL)
                    : FM_OK;
}

/* where: 0 rows, 1 the block, 2 halves, 3 shares of the block. */
static int sides_metrics(struct sides *sides, const struct traceql_query *query,
                         const struct model_question *question, int where, struct fm_buf *out)
{
    struct sides_part part = {.sides = sides, .rows = where ? NULL : sides->whole};
    FM_AUTO(series) series = NULL;
    if (where < 2) {
        int rc = sides_series(sides, query, question, &part, false, &series);
        return rc ? rc : sides_finish(sides, query, series, out);
    }
    for (uint32_t i = 0; i < (where == 2 ? 3 : sides->share_count); i++) {
        FM_AUTO(series) other = NULL;
        int rc = sides_metrics_part(sides, where == 3, i, &part);
        if (rc == FM_NONE)
            continue;
        if (rc == FM_OK)
            rc = sides_series(sides, query, question, &part, where == 2 && i < 2, &other);
        if (rc == FM_OK && series)
            rc = series_merge(series, other);
        if (rc)
            return rc;
        if (!series)
            series = fm_take(other);
    }
    return sides_finish(sides, query, series, out);
}

static bool sides_metrics_differ(struct sides *sides, const struct traceql_query *query,
                                 const struct model_question *question, uint64_t *survivors,
                                 uint64_t *errors, struct fm_buf *report)
{
    static const char *const names[] = {"metrics of rows", "metrics of block", "metrics of halves",
                                        "metrics of shares"};
    struct fm_buf wanted, said;
    bool differs = false, compares = query->metrics == TRACEQL_COMPARE;
    fm_buf_init(&wanted, FM_MIB(1));
    fm_buf_init(&said, FM_MIB(1));
    int wanted_rc = compares ? oracle_comparison(sides->model, query, question, &wanted)
                             : oracle_metrics(sides->model, query, question, &wanted);
    for (int where = 0; where < 4 && !differs && (where < 2 || wanted_rc == FM_OK); where++) {
        fm_buf_reset(&said);
        int rc = sides_metrics(sides, query, question, where, &said);
        differs = sides_compare(names[where], rc, &said, wanted_rc, &wanted, report);
    }
    if (differs && report)
        fm_buf_printf(report, "start +%g end +%g step %g instant %d\n",
                      (double)(question->start_ns - MODEL_BASE) / 1e9,
                      (double)(question->end_ns - MODEL_BASE) / 1e9,
                      (double)question->step_ns / 1e9, question->instant);
    for (size_t i = 0; i < wanted.len; i++)
        *survivors += wanted.ptr[i] == '\n';
    *errors += wanted_rc < 0;
    fm_buf_fini(&wanted);
    fm_buf_fini(&said);
    return differs;
}

/* The sets that come through. */
static bool sides_sets_differ(struct sides *sides, const struct traceql_query *query,
                              uint64_t *survivors, uint64_t *errors, struct fm_buf *report)
{
    static const struct traceql_field wants[] = {{.intrinsic = TRACEQL_SPAN_ID},
                                                 {.intrinsic = TRACEQL_SPAN_KIND}};
    FM_AUTO(eval_plan) plan = NULL;
    struct fm_buf wanted, said;
    struct fm_why why = {""};
    uint32_t index;
    fm_buf_init(&wanted, FM_MIB(1));
    fm_buf_init(&said, FM_MIB(1));
    int wanted_rc = oracle_search(sides->model, query, &wanted);
    int rc = eval_plan_new(&plan, query, &why);
    for (size_t i = 0; i < FM_COUNT(wants) && rc == FM_OK; i++)
        rc = eval_plan_want(plan, &wants[i], &index);
    if (rc < 0 && report)
        fm_buf_printf(report, "no plan: %s\n", why.text);
    bool differs = rc < 0;
    if (rc == FM_OK) {
        rc = sides_run(sides, plan, sides->whole, false, &said);
        differs = sides_compare("rows", rc, &said, wanted_rc, &wanted, report);
    }
    if (!differs) {
        fm_buf_reset(&said);
        rc = sides_run(sides, plan, NULL, false, &said);
        differs = sides_compare("block", rc, &said, wanted_rc, &wanted, report);
    }
    if (!differs) {
        fm_buf_reset(&said);
        rc = sides_run(sides, plan, sides->left, true, &said);
        if (rc == FM_OK)
            rc = sides_run(sides, plan, sides->right, true, &said);
        if (rc == FM_OK)
            rc = sides_run(sides, plan, sides->joined, false, &said);
        differs = sides_compare("halves", rc, &said, wanted_rc, &wanted, report);
    }
    for (size_t i = 0; i < wanted.len; i++)
        *survivors += wanted.ptr[i] == '\n';
    *errors += wanted_rc < 0;
    fm_buf_fini(&wanted);
    fm_buf_fini(&said);
    return differs;
}

bool sides_differ(struct sides *sides, const struct traceql_query *query, uint64_t seed,
                  uint64_t *survivors, uint64_t *errors, struct fm_buf *report)
{
    struct model_question question;
    bool is_metrics = query->metrics != TRACEQL_NO_METRICS;
    question_random(&seed, is_metrics, &question);
    if (is_metrics)
        return sides_metrics_differ(sides, query, &question, survivors, errors, report);
    return sides_sets_differ(sides, query, survivors, errors, report) ||
           sides_found_differ(sides, query, &question, report);
}
