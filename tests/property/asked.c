/* SPDX-License-Identifier: Apache-2.0 */
/* Searches as a whole: limits, windows, order and what is told of each trace, over rows, over a
 * block, and over rows and a block whose parts of traces say which of them to put together. */
#include "../support/keep.h"
#include "sides.h"

#include <inttypes.h>
#include <stdlib.h>

#include "fermata/ask.h"

static void asked_put_set(const struct eval_spanset *set, struct fm_buf *out)
{
    uint32_t ids[256] = {0};
    fm_buf_puts(out, "[");
    for (uint32_t i = 0; i < set->label_count; i++) {
        fm_buf_puts(out, " ");
        fm_buf_put_slice(out, set->labels[i].name);
        fm_buf_puts(out, "=");
        oracle_put_value(out, &set->labels[i].value);
    }
    fm_buf_printf(out, " %u/%u", set->span_count, set->matched);
    for (uint32_t i = 0; i < set->span_count; i++)
        ids[set->spans[i].id[7]]++;
    for (uint32_t id = 0; id < 256 && set->matched == set->span_count; id++)
        for (uint32_t i = 0; i < ids[id]; i++)
            fm_buf_printf(out, " %u", id);
    fm_buf_puts(out, "]\n");
}

static void asked_put_trace(const struct sides *sides, const struct eval_trace *trace,
                            struct fm_buf *out)
{
    struct fm_buf lines;
    fm_buf_init(&lines, FM_KIB(256));
    fm_buf_printf(out, "trace %u +%" PRIu64 " %" PRIu64 " %.*s/%.*s",
                  sides_trace(sides, &trace->id), trace->start_ns - MODEL_BASE, trace->duration_ns,
                  (int)trace->root_service.len, (const char *)trace->root_service.ptr,
                  (int)trace->root_name.len, (const char *)trace->root_name.ptr);
    for (uint32_t i = 0; i < trace->service_count; i++)
        fm_buf_printf(&lines, " '%.*s':%u:%u\n", (int)trace->services[i].name.len,
                      (const char *)trace->services[i].name.ptr, trace->services[i].span_count,
                      trace->services[i].error_count);
    oracle_sort_lines(&lines);
    for (size_t i = 0; i < lines.len; i++)
        if (lines.ptr[i] != '\n')
            fm_buf_put_u8(out, lines.ptr[i]);
    fm_buf_reset(&lines);
    for (uint32_t i = 0; i < trace->set_count; i++)
        asked_put_set(&trace->sets[i], &lines);
    oracle_sort_lines(&lines);
    for (size_t i = 0; i < lines.len; i++)
        fm_buf_put_u8(out, lines.ptr[i] == '\n' ? ' ' : lines.ptr[i]);
    fm_buf_puts(out, "\n");
    fm_buf_fini(&lines);
}

static int asked_part(struct ask_part *main, const struct ask *ask, const struct ask_limits *limits,
                      const struct frame_rows *rows, const struct block *block, struct fm_why *why)
{
    struct ask_limits from = *limits;
    FM_AUTO(ask_part) part = NULL;
    from.floor_ns = ask_part_floor_ns(main);
    int rc = ask_part_new(&part, ask, &from, why);
    if (rc == FM_OK)
        rc = rows ? ask_part_add_rows(part, rows, why) : ask_part_add_block(part, block, why);
    return rc ? rc : ask_part_merge(main, part);
}

/* In shares, each of which knows what those before it found. */
static int asked_shares(struct ask_part *main, const struct ask *ask,
                        const struct ask_limits *limits, const struct block *block, uint32_t count,
                        struct fm_why *why)
{
    int rc = FM_OK;
    for (uint32_t i = 0; i < count && rc == FM_OK; i++) {
        struct ask_limits from = *limits;
        FM_AUTO(ask_part) part = NULL;
        from.floor_ns = ask_part_floor_ns(main);
        rc = ask_part_new(&part, ask, &from, why);
        if (rc == FM_OK)
            rc = ask_part_add_share(part, block, i, count, why);
        if (rc == FM_OK)
            rc = ask_part_merge(main, part);
    }
    return rc;
}

/* Both halves, the right one as a block in shares if it has spans, then the traces that may match.
 */
static int asked_halves(struct ask_part *main, const struct ask *ask, const struct sides *sides,
                        struct fm_why *why)
{
    struct ask_limits limits = {
        .memory_max = FM_MIB(64),
        .partial = sides->shared,
        .partial_count = sides->shared_count,
        .keep = &sides->keep->keep,
    };
    struct trace_id wanted[MODEL_TRACES * 2], left_out[MODEL_TRACES];
    size_t count, wanted_count = 0, out_count = 0;
    int rc = asked_part(main, ask, &limits, sides->left, NULL, why);
    if (rc == FM_OK)
        rc = sides->right_block.block ? asked_shares(main, ask, &limits, sides->right_block.block,
                                                     sides->share_count, why)
                                      : asked_part(main, ask, &limits, sides->right, NULL, why);
    if (rc)
        return rc;
    const struct eval_candidate *candidates = ask_part_candidates(main, &count);
    FM_ASSERT(count <= FM_COUNT(wanted));
    for (size_t i = 0; i < count; i++)
        if (candidates[i].start_ns >= ask_part_floor_ns(main))
            wanted[wanted_count++] = candidates[i].id;
    wanted_count = ask_ids_sort(wanted, wanted_count);
    for (uint32_t i = 0; i < sides->shared_count; i++)
        if (!ask_ids_has(wanted, wanted_count, &sides->shared[i]))
            left_out[out_count++] = sides->shared[i];
    limits = (struct ask_limits){
        .memory_max = FM_MIB(64), .excluded = left_out, .excluded_count = out_count};
    return asked_part(main, ask, &limits, sides->joined, NULL, why);
}

/* where: 0 rows, 1 the block, 2 halves, 3 shares of the block. */
static int asked_run(const struct sides *sides, struct fm_slice text,
                     const struct model_question *question, int where, struct fm_buf *out,
                     struct fm_why *why)
{
    const struct ask_question search = {.kind = ASK_SEARCH,
                                        .text = text,
                                        .start_ns = question->start_ns,
                                        .end_ns = question->end_ns,
                                        .limit = question->limit,
                                        .spss = question->spss};
    const struct ask_limits limits = {.memory_max = FM_MIB(64), .keep = &sides->keep->keep};
    struct ask_found found = {0};
    FM_AUTO(ask) ask = NULL;
    FM_AUTO(ask_part) main = NULL;
    int rc = ask_new(&ask, &search, NULL, why);
    if (rc == FM_OK)
        rc = ask_part_new(&main, ask, &limits, why);
    if (rc == FM_OK)
        rc = where == 0   ? asked_part(main, ask, &limits, sides->whole, NULL, why)
             : where == 1 ? asked_part(main, ask, &limits, NULL, sides->all_block.block, why)
             : where == 2 ? asked_halves(main, ask, sides, why)
                          : asked_shares(main, ask, &limits, sides->all_block.block,
                                         sides->share_count, why);
    if (rc == FM_OK)
        rc = ask_part_found(main, &found, why);
    for (uint32_t i = 0; i < found.count && rc == FM_OK; i++)
        asked_put_trace(sides, &found.traces[i], out);
    return rc;
}

bool sides_found_differ(const struct sides *sides, const struct traceql_query *query,
                        const struct model_question *question, struct fm_buf *report)
{
    static const char *const names[] = {"search of rows", "search of block", "search of halves",
                                        "search of shares"};
    struct fm_buf text, wanted, said;
    struct fm_why why = {""};
    bool differs = false;
    fm_buf_init(&text, FM_KIB(256));
    fm_buf_init(&wanted, FM_MIB(1));
    fm_buf_init(&said, FM_MIB(1));
    traceql_print(query, &text);
    int wanted_rc = oracle_found(sides->model, query, question, &wanted);
    for (int where = 0; where < 4 && !differs && wanted_rc == FM_OK; where++) {
        fm_buf_reset(&said);
        int rc = asked_run(sides, fm_buf_slice(&text), question, where, &said, &why);
        differs = rc || !fm_slice_equal(fm_buf_slice(&said), fm_buf_slice(&wanted));
        if (differs && report)
            fm_buf_printf(report,
                          "start +%" PRId64 " end +%" PRId64 " limit %u spss %u\n%s says (%d) %s\n"
                          "%.*soracle says\n%.*s",
                          (int64_t)(question->start_ns - MODEL_BASE),
                          (int64_t)(question->end_ns - MODEL_BASE), question->limit, question->spss,
                          names[where], rc, why.text, (int)said.len,
                          said.len ? (const char *)said.ptr : "", (int)wanted.len,
                          wanted.len ? (const char *)wanted.ptr : "");
    }
    fm_buf_fini(&text);
    fm_buf_fini(&wanted);
    fm_buf_fini(&said);
    return differs;
}
