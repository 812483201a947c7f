/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a table a question and says in one line what came through:
 *
 *   "B,C"                     spans by the first letter of their ids, a set; sets apart by blanks
 *   "[by(kind)=3]A,C [...]B"  with labels
 */
#ifndef TESTS_UNIT_EVAL_ASK_H
#define TESTS_UNIT_EVAL_ASK_H

#include "table.h"

static const struct eval_limits ask_limits = {.end_ns = UINT64_MAX, .memory_max = FM_MIB(64)};

struct ask {
    struct fm_arena arena;
    struct traceql_query *query;
    struct eval_plan *plan;
    struct frame_request request;
    struct table *table;
    struct fm_why why;
};

static inline int ask_plan(struct ask *ask, const char *text)
{
    *ask = (struct ask){0};
    fm_arena_init(&ask->arena, FM_MIB(64));
    int rc = traceql_parse(fm_slice_text(text), &ask->arena, &ask->query, &ask->why);
    if (!rc)
        rc = traceql_check(ask->query, &ask->why);
    if (rc)
        fail_msg("%s: %s", text, ask->why.text);
    return eval_plan_new(&ask->plan, ask->query, &ask->why);
}

static inline void ask_open(struct ask *ask, const struct table_row *rows, uint32_t count,
                            uint32_t traces_per_frame)
{
    ask->request.fields = eval_plan_fields(ask->plan, &ask->request.field_count);
    ask->table = table_new(rows, count, traces_per_frame, &ask->request);
}

static inline void ask_end(struct ask *ask)
{
    if (ask->table)
        frame_source_free(&ask->table->source);
    eval_plan_free(ask->plan);
    fm_arena_fini(&ask->arena);
}

static inline void ask_put_value(struct fm_buf *text, const struct traceql_value *value)
{
    if (value->type == TRACEQL_NIL)
        fm_buf_puts(text, "nil");
    else if (value->type == TRACEQL_STRING)
        fm_buf_put_slice(text, value->text);
    else if (value->type == TRACEQL_BOOL)
        fm_buf_puts(text, value->flag ? "true" : "false");
    else if (value->type == TRACEQL_FLOAT)
        fm_buf_printf(text, "%g", value->number);
    else if (value->type == TRACEQL_ARRAY)
        fm_buf_printf(text, "array of %u", value->element_count);
    else if (value->type == TRACEQL_DURATION)
        fm_buf_printf(text, "%gms", (double)value->integer / 1e6);
    else
        fm_buf_printf(text, "%lld", (long long)value->integer);
}

static inline void ask_put_set(struct fm_buf *text, const struct table *table,
                               const struct eval_set *set)
{
    if (text->len)
        fm_buf_puts(text, " ");
    for (uint32_t i = 0; i < set->label_count; i++) {
        fm_buf_puts(text, i ? ";" : "[");
        fm_buf_put_slice(text, set->labels[i].name);
        fm_buf_puts(text, "=");
        ask_put_value(text, &set->labels[i].value);
    }
    if (set->label_count)
        fm_buf_puts(text, "]");
    for (uint32_t i = 0; i < set->span_count; i++)
        fm_buf_printf(text, "%s%c", i ? "," : "", table->rows[table->first + set->spans[i]].id[0]);
}

/* Returns what the run returned; text is what came through. */
static inline int ask_run(struct ask *ask, const struct eval_limits *limits, struct fm_buf *text)
{
    FM_AUTO(eval_run) run = NULL;
    const struct frame *frame;
    const uint8_t *mask;
    fm_buf_reset(text);
    int rc = eval_run_new(&run, ask->plan, &ask->table->source, limits);
    while (!rc && !(rc = eval_run_next(run, &frame, &mask, &ask->why))) {
        const struct eval_set *sets;
        uint32_t count, spans = 0;
        rc = eval_run_sets(run, &sets, &count, &ask->why);
        if (rc)
            break;
        for (uint32_t s = 0; s < count; s++) {
            ask_put_set(text, ask->table, &sets[s]);
            spans += sets[s].span_count;
            for (uint32_t i = 0; i < sets[s].span_count; i++)
                assert_true(mask[sets[s].spans[i]]);
        }
        for (uint32_t i = 0; i < frame->count[FRAME_SPAN]; i++)
            spans -= mask[i] != 0;
        assert_int_equal(spans, 0);
    }
    fm_buf_put_u8(text, 0);
    return rc == FM_END ? FM_OK : rc;
}

static inline void ask_expect_within(const struct table_row *rows, uint32_t count,
                                     const char *query, const struct eval_limits *limits,
                                     const char *expected)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    for (uint32_t traces = 1; traces < 4; traces += 2) {
        struct ask ask;
        assert_ok(ask_plan(&ask, query));
        ask_open(&ask, rows, count, traces);
        if (traces == 1)
            table_pad(ask.table);
        int rc = ask_run(&ask, limits, &text);
        if (rc || strcmp((const char *)text.ptr, expected) != 0)
            fail_msg("%s (%u traces a frame)\n  expected %s\n  got %d %s %s", query, traces,
                     expected, rc, text.ptr, rc ? ask.why.text : "");
        ask_end(&ask);
    }
    fm_buf_fini(&text);
}

static inline void ask_expect(const struct table_row *rows, uint32_t count, const char *query,
                              const char *expected)
{
    ask_expect_within(rows, count, query, &ask_limits, expected);
}

struct ask_case {
    const char *query, *expected;
};

#endif
