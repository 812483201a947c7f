/* SPDX-License-Identifier: Apache-2.0 */
/* Functions over time, what may follow them, and hints. */
#include "internal.h"

#define METRICS_TOP_DEFAULT 10 /* of compare() */

struct metrics_function {
    enum lexer_kind word;
    enum traceql_metrics_kind kind;
    bool has_field;
};

static const struct metrics_function metrics_functions[] = {
    {LEXER_RATE, TRACEQL_RATE, false},
    {LEXER_COUNT_OVER_TIME, TRACEQL_COUNT_OVER_TIME, false},
    {LEXER_MIN_OVER_TIME, TRACEQL_MIN_OVER_TIME, true},
    {LEXER_MAX_OVER_TIME, TRACEQL_MAX_OVER_TIME, true},
    {LEXER_AVG_OVER_TIME, TRACEQL_AVG_OVER_TIME, true},
    {LEXER_SUM_OVER_TIME, TRACEQL_SUM_OVER_TIME, true},
    {LEXER_QUANTILE_OVER_TIME, TRACEQL_QUANTILE_OVER_TIME, true},
    {LEXER_HISTOGRAM_OVER_TIME, TRACEQL_HISTOGRAM_OVER_TIME, true},
    {LEXER_COMPARE, TRACEQL_COMPARE, false},
};

static const struct metrics_function *metrics_find(enum lexer_kind kind)
{
    for (size_t i = 0; i < FM_COUNT(metrics_functions); i++) {
        if (metrics_functions[i].word == kind)
            return &metrics_functions[i];
    }
    return NULL;
}

bool parse_is_metrics(enum lexer_kind kind)
{
    return metrics_find(kind) != NULL;
}

bool parse_expect_integer(struct parse *parse, int64_t *ret_value)
{
    int64_t value = parse->lexer.token.integer;

    if (!parse_expect(parse, LEXER_INTEGER, NULL))
        return false;
    *ret_value = value;
    return true;
}

static void metrics_parse_quantiles(struct parse *parse, struct traceql_query *query)
{
    uint32_t max = 0;

    if (!parse_expect(parse, LEXER_COMMA, NULL))
        return;
    do {
        const struct lexer_token *token = &parse->lexer.token;
        bool integer = parse_is(parse, LEXER_INTEGER);
        if (!integer && !parse_is(parse, LEXER_FLOAT)) {
            parse_refuse(parse, "INTEGER or FLOAT");
            return;
        }
        if (query->quantile_count == max) {
            max = max ? 2 * max : 4;
            double *room = parse_alloc(parse, max * sizeof *room);
            if (!room)
                return;
            if (query->quantile_count)
                memcpy(room, query->quantiles, query->quantile_count * sizeof *room);
            query->quantiles = room;
        }
        query->quantiles[query->quantile_count++] =
            integer ? (double)token->integer : token->number;
        lexer_next(&parse->lexer);
    } while (parse_take(parse, LEXER_COMMA));
}

static void metrics_parse_compare(struct parse *parse, struct traceql_query *query)
{
    struct traceql_stage *filter = parse_filter(parse);

    if (!filter)
        return;
    query->selection = filter->expression;
    query->compare_top = METRICS_TOP_DEFAULT;
    if (parse_take(parse, LEXER_COMMA)) {
        if (!parse_expect_integer(parse, &query->compare_top))
            return;
        if (parse_take(parse, LEXER_COMMA)) {
            if (parse_expect_integer(parse, &query->compare_start_ns) &&
                parse_expect(parse, LEXER_COMMA, NULL) &&
                parse_expect_integer(parse, &query->compare_end_ns))
                (void)parse_expect(parse, LEXER_CLOSE, NULL);
            return;
        }
    }
    (void)parse_expect(parse, LEXER_CLOSE, ") or ,");
}

static void metrics_parse_second(struct parse *parse, struct traceql_second *second)
{
    bool top = parse_is(parse, LEXER_TOPK);

    if (!top && !parse_is(parse, LEXER_BOTTOMK)) {
        parse_refuse(parse, "topk or bottomk");
        return;
    }
    lexer_next(&parse->lexer);
    second->kind = top ? TRACEQL_TOPK : TRACEQL_BOTTOMK;
    if (!parse_expect(parse, LEXER_OPEN, NULL) || !parse_expect_integer(parse, &second->limit))
        return;
    (void)parse_expect(parse, LEXER_CLOSE, NULL);
}

static void metrics_parse_threshold(struct parse *parse, struct traceql_second *second)
{
    second->kind = TRACEQL_THRESHOLD;
    second->op = parse_comparison(parse->lexer.token.kind);
    lexer_next(&parse->lexer);
    bool minus = parse_take(parse, LEXER_MINUS);
    if (!parse_is(parse, LEXER_INTEGER) && !parse_is(parse, LEXER_FLOAT) &&
        !parse_is(parse, LEXER_DURATION)) {
        parse_refuse(parse,
                     minus ? "INTEGER or FLOAT or DURATION" : "INTEGER or FLOAT or DURATION or -");
        return;
    }
    if (parse_literal(parse, &second->value) && minus)
        (void)fold_unary(TRACEQL_NEGATE, &second->value); /* of a literal without a sign */
}

static void metrics_parse_seconds(struct parse *parse, struct traceql_query *query)
{
    struct traceql_second **end = &query->seconds;

    for (;;) {
        bool piped = parse_take(parse, LEXER_PIPE);
        if (parse_failed(parse) ||
            (!piped && parse_comparison(parse->lexer.token.kind) == TRACEQL_ADD))
            return;
        struct traceql_second *second = parse_alloc(parse, sizeof *second);
        if (!second)
            return;
        if (piped)
            metrics_parse_second(parse, second);
        else
            metrics_parse_threshold(parse, second);
        *end = second;
        end = &second->next;
    }
}

void parse_metrics(struct parse *parse, struct traceql_query *query)
{
    const struct metrics_function *function = metrics_find(parse->lexer.token.kind);

    lexer_next(&parse->lexer);
    query->metrics = function->kind;
    if (!parse_expect(parse, LEXER_OPEN, NULL))
        return;
    if (function->kind == TRACEQL_COMPARE) {
        metrics_parse_compare(parse, query);
    } else {
        const char *expected = NULL;
        if (function->has_field && !parse_field(parse, &query->of))
            return;
        if (function->kind == TRACEQL_QUANTILE_OVER_TIME) {
            metrics_parse_quantiles(parse, query);
            expected = ") or ,";
        }
        if (!parse_expect(parse, LEXER_CLOSE, expected))
            return;
        if (parse_take(parse, LEXER_BY) && parse_expect(parse, LEXER_OPEN, NULL))
            parse_fields(parse, &query->by, &query->by_count);
    }
    metrics_parse_seconds(parse, query);
}

/* The last with() counts; its hints keep their order. */
void parse_hints(struct parse *parse, struct traceql_query *query)
{
    struct traceql_hint **end = &query->hints;

    lexer_next(&parse->lexer);
    *end = NULL;
    if (!parse_expect(parse, LEXER_OPEN, NULL))
        return;
    do {
        struct traceql_hint *hint = parse_alloc(parse, sizeof *hint);
        if (!hint)
            return;
        /* A bare word is still in the caller's text. */
        hint->name = fm_slice_dup(parse->arena, parse->lexer.token.text);
        if (!parse_expect(parse, LEXER_IDENTIFIER, NULL) || !parse_expect(parse, LEXER_EQ, NULL))
            return;
        if (!parse_literal(parse, &hint->value)) {
            parse_refuse(parse, NULL);
            return;
        }
        *end = hint;
        end = &hint->next;
    } while (parse_take(parse, LEXER_COMMA));
    (void)parse_expect(parse, LEXER_CLOSE, ") or ,");
}
