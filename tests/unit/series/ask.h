/* SPDX-License-Identifier: Apache-2.0 */
/* A metrics query over literal tables, and its answer as lines of text. */
#ifndef TESTS_UNIT_SERIES_ASK_H
#define TESTS_UNIT_SERIES_ASK_H

#include "fermata/series.h"
#include "fermata/units.h"
#include "table_source.h"

/* The examples' clock: 1795221000 s, which is a multiple of 60. */
#define AT(ms) ((INT64_C(1795221000) * 1000 + (ms)) * (int64_t)FM_NS_PER_MS)
#define ID(last)                                                                                   \
    {                                                                                              \
        {                                                                                          \
            0xa, [15] = (last)                                                                     \
        }                                                                                          \
    }
#define US(count) (INT64_C(1000) * (count))

struct ask {
    struct fm_arena arena;
    struct traceql_query *query;
    struct series_options options;
    struct eval_limits limits;
    struct fm_why why;
};

static inline void ask_init(struct ask *ask, const char *text)
{
    memset(ask, 0, sizeof *ask);
    fm_arena_init(&ask->arena, FM_MIB(1));
    assert_ok(traceql_parse(fm_slice_text(text), &ask->arena, &ask->query, &ask->why));
    assert_ok(traceql_check(ask->query, &ask->why));
    ask->options = (struct series_options){
        .start_ns = (uint64_t)AT(95000),
        .end_ns = (uint64_t)AT(135000),
        .step_ns = 20 * FM_NS_PER_S,
    };
    ask->limits.memory_max = FM_MIB(16);
}

static inline void ask_fini(struct ask *ask)
{
    fm_arena_fini(&ask->arena);
}

static inline void ask_put_value(struct fm_buf *out, const struct traceql_value *value)
{
    static const char *const statuses[] = {"unset", "ok", "error"};

    if (value->type == TRACEQL_STRING)
        fm_buf_put_slice(out, value->text);
    else if (value->type == TRACEQL_STATUS)
        fm_buf_puts(out, statuses[value->integer]);
    else if (value->type == TRACEQL_FLOAT)
        fm_buf_printf(out, "%.10g", value->number);
    else if (value->type == TRACEQL_BOOL)
        fm_buf_puts(out, value->flag ? "true" : "false");
    else
        fm_buf_printf(out, "%d:%lld", (int)value->type, (long long)value->integer);
}

static inline void ask_put_labels(struct fm_buf *out, const struct series_label *labels,
                                  uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            fm_buf_put_u8(out, ',');
        fm_buf_put_slice(out, labels[i].name);
        fm_buf_put_u8(out, '=');
        ask_put_value(out, &labels[i].value);
    }
}

/* "name=value,name=value 80:0 100:3\n" per line; times in seconds behind 1795221000. */
static inline void ask_put_result(struct fm_buf *out, const struct series_result *result)
{
    for (uint32_t i = 0; i < result->line_count; i++) {
        const struct series_line *line = &result->lines[i];
        ask_put_labels(out, line->labels, line->label_count);
        for (uint32_t at = 0; at < line->sample_count; at++)
            fm_buf_printf(out, " %lld:%.10g",
                          (long long)(line->samples[at].timestamp_ms / 1000 - 1795221000),
                          line->samples[at].value);
        for (uint32_t at = 0; at < line->exemplar_count; at++) {
            const struct series_exemplar *exemplar = &line->exemplars[at];
            fm_buf_printf(out, " [%lld %.10g ",
                          (long long)(exemplar->timestamp_ms - INT64_C(1795221000000)),
                          exemplar->value);
            ask_put_labels(out, exemplar->labels, exemplar->label_count);
            fm_buf_put_u8(out, ']');
        }
        fm_buf_put_u8(out, '\n');
    }
    if (result->partial)
        fm_buf_puts(out, "partial\n");
}

/* The whole way over some tables, each its own part, merged in that order. */
static inline int ask_run(struct ask *ask, struct table *const *tables, uint32_t count,
                          struct fm_buf *out)
{
    FM_AUTO(series) all = NULL;
    const struct series_result *result;
    int rc = series_new(&all, ask->query, &ask->limits, &ask->options, &ask->why);

    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        FM_AUTO(series) part = NULL;
        if ((rc = series_new(&part, ask->query, &ask->limits, &ask->options, &ask->why)) < 0 ||
            (rc = series_add(part, table_open, tables[i], NULL, &ask->why)) < 0)
            return rc;
        rc = series_merge(all, part);
    }
    if (rc < 0 || (rc = series_finish(all, &result, &ask->why)) < 0)
        return rc;
    fm_buf_reset(out);
    ask_put_result(out, result);
    fm_buf_put_u8(out, 0);
    return FM_OK;
}

static inline void ask_equal(struct ask *ask, struct table *table, const char *expected)
{
    struct fm_buf out;

    fm_buf_init(&out, FM_MIB(1));
    assert_ok(ask_run(ask, &table, 1, &out));
    assert_string_equal((const char *)out.ptr, expected);
    fm_buf_fini(&out);
}

static inline void ask_text(const char *text, struct table *table, const char *expected)
{
    struct ask ask;

    ask_init(&ask, text);
    ask_equal(&ask, table, expected);
    ask_fini(&ask);
}

#endif
