/* SPDX-License-Identifier: Apache-2.0 */
/* Random trees in their normal forms: what is printed parses to what was printed. */
#include "ask.h"

#include "fermata/hash.h"

#define RANDOM_TREES 20000

struct forest {
    struct fm_arena arena;
    uint64_t state;
};

static uint32_t forest_pick(struct forest *forest, uint32_t count)
{
    forest->state = forest->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(forest->state >> 33) % count;
}

static void *forest_new(struct forest *forest, size_t size)
{
    void *node = fm_arena_zalloc(&forest->arena, size);
    assert_non_null(node);
    return node;
}

static struct traceql_value forest_number(struct forest *forest)
{
    static const double numbers[] = {0.5, 1e300, 1e-9, 123456789.25, 1e20, 1e21, 100, 0.1};
    static const int64_t integers[] = {0, 1, 7, 1000, 90000000000, INT64_MAX, 1500, 3600000000000};
    struct traceql_value value = {.type = TRACEQL_INT};
    int sign = forest_pick(forest, 3) ? 1 : -1;
    switch (forest_pick(forest, 3)) {
    case 0:
        value.type = TRACEQL_FLOAT;
        value.number = sign * numbers[forest_pick(forest, FM_COUNT(numbers))];
        return value;
    case 1:
        value.type = TRACEQL_DURATION;
        break;
    default:
        break;
    }
    value.integer = sign * integers[forest_pick(forest, FM_COUNT(integers))];
    return value;
}

static struct traceql_value forest_value(struct forest *forest)
{
    static const char *const texts[] = {"x",    "",         "`",        "a\"b\\",
                                        "\n\r", "\x01\x7f", "\xff\xfe", "\xc3\xa9"};
    struct traceql_value value = {.type = TRACEQL_BOOL};
    switch (forest_pick(forest, 6)) {
    case 0:
        value.flag = forest_pick(forest, 2);
        return value;
    case 1:
        value.type = TRACEQL_STRING;
        value.text = fm_slice_text(texts[forest_pick(forest, FM_COUNT(texts))]);
        return value;
    case 2:
        value.type = TRACEQL_STATUS;
        value.integer = forest_pick(forest, 3);
        return value;
    case 3:
        value.type = TRACEQL_KIND;
        value.integer = forest_pick(forest, 6);
        return value;
    default:
        return forest_number(forest);
    }
}

static struct traceql_field forest_field(struct forest *forest)
{
    static const char *const names[] = {"a",   "a b",      "",    "5x", "span.x",    "a\"\\",
                                        "a-1", "\xc3\xa9", "a/*", "{}", "resource.y"};
    struct traceql_field field = {.intrinsic = TRACEQL_ATTRIBUTE};
    if (forest_pick(forest, 2)) {
        field.intrinsic = 1 + forest_pick(forest, TRACEQL_PARENT);
        return field;
    }
    field.scope = forest_pick(forest, TRACEQL_INSTRUMENTATION + 1);
    field.of_parent = field.scope <= TRACEQL_RESOURCE && !forest_pick(forest, 4);
    field.name = fm_slice_text(names[forest_pick(forest, FM_COUNT(names))]);
    return field;
}

static struct traceql_expression *forest_node(struct forest *forest,
                                              enum traceql_expression_kind kind, enum traceql_op op)
{
    struct traceql_expression *node = forest_new(forest, sizeof *node);
    node->kind = kind;
    node->op = op;
    return node;
}

/* Never a literal, so that there is nothing to compute. */
static struct traceql_expression *forest_expression(struct forest *forest, unsigned depth)
{
    struct traceql_expression *node;
    uint32_t kind = depth ? forest_pick(forest, 8) : 0;
    if (kind < 2) {
        node = forest_node(forest, TRACEQL_FIELD, 0);
        node->field = forest_field(forest);
    } else if (kind == 2) {
        node = forest_node(forest, TRACEQL_UNARY, TRACEQL_NOT + forest_pick(forest, 4));
        node->left = forest_expression(forest, depth - 1);
    } else {
        node = forest_node(forest, TRACEQL_BINARY, forest_pick(forest, TRACEQL_OR + 1));
        node->left = forest_expression(forest, depth - 1);
        node->right = forest_expression(forest, depth - 1);
        if (!forest_pick(forest, 3)) {
            node->right = forest_node(forest, TRACEQL_LITERAL, 0);
            node->right->value = forest_value(forest);
        }
        bool arithmetic = node->op <= TRACEQL_POW;
        if (arithmetic && !forest_pick(forest, 4)) {
            node->left = forest_node(forest, TRACEQL_LITERAL, 0);
            node->left->value = forest_number(forest);
            if (node->right->kind == TRACEQL_LITERAL)
                node->right = forest_expression(forest, depth - 1);
        }
    }
    return node;
}

static struct traceql_scalar *forest_scalar(struct forest *forest, unsigned depth)
{
    struct traceql_scalar *scalar = forest_new(forest, sizeof *scalar);
    uint32_t kind = forest_pick(forest, depth ? 3 : 2);
    scalar->kind = kind == 0   ? TRACEQL_SCALAR_LITERAL
                   : kind == 1 ? TRACEQL_SCALAR_AGGREGATE
                               : TRACEQL_SCALAR_ARITHMETIC;
    if (kind == 0)
        scalar->value = forest_number(forest);
    if (kind == 1)
        scalar->aggregate = forest_pick(forest, TRACEQL_SUM + 1);
    if (scalar->aggregate != TRACEQL_COUNT)
        scalar->expression = forest_expression(forest, 2);
    if (kind == 2) {
        scalar->op = forest_pick(forest, TRACEQL_POW + 1);
        scalar->left = forest_scalar(forest, depth - 1);
        scalar->right = forest_scalar(forest, depth - 1);
        /* A sign before a literal on the left would be taken for a shorter one. */
        if (scalar->left->kind == TRACEQL_SCALAR_LITERAL)
            scalar->left->kind = TRACEQL_SCALAR_AGGREGATE;
    }
    return scalar;
}

static struct traceql_stage *forest_set(struct forest *forest, unsigned depth)
{
    struct traceql_stage *stage = forest_new(forest, sizeof *stage);
    if (!depth || forest_pick(forest, 2)) {
        stage->kind = TRACEQL_FILTER;
        if (forest_pick(forest, 4))
            stage->expression = forest_expression(forest, 1 + forest_pick(forest, 4));
        return stage;
    }
    stage->kind = TRACEQL_OPERATION;
    stage->op = TRACEQL_AND + forest_pick(forest, 2);
    if (forest_pick(forest, 3)) {
        stage->op = TRACEQL_CHILD + forest_pick(forest, 5);
        stage->relation = forest_pick(forest, 3);
    }
    stage->left = forest_set(forest, depth - 1);
    stage->right = forest_set(forest, depth - 1);
    return stage;
}

static struct traceql_stage *forest_stage(struct forest *forest, bool first)
{
    uint32_t kind = forest_pick(forest, first ? 4 : 6);
    struct traceql_stage *stage = forest_new(forest, sizeof *stage);
    if (kind < 2)
        return forest_set(forest, 3);
    if (kind == 2) {
        stage->kind = TRACEQL_SCALAR;
        stage->op = forest_pick(forest, 2) ? TRACEQL_GT : TRACEQL_NE;
        stage->left_scalar = forest_scalar(forest, 2);
        stage->right_scalar = forest_scalar(forest, 1);
    } else if (kind == 3) {
        stage->kind = TRACEQL_GROUP;
        stage->expression = forest_expression(forest, 2);
    } else if (kind == 4) {
        stage->kind = TRACEQL_COALESCE;
    } else {
        stage->kind = TRACEQL_SELECT;
        stage->field_count = 1 + forest_pick(forest, 4);
        stage->fields = forest_new(forest, 4 * sizeof *stage->fields);
        for (uint32_t i = 0; i < stage->field_count; i++)
            stage->fields[i] = forest_field(forest);
    }
    return stage;
}

static struct traceql_stage *forest_pipeline(struct forest *forest)
{
    struct traceql_stage *first = forest_stage(forest, true), *last = first;
    while (forest_pick(forest, 2))
        last = last->next = forest_stage(forest, false);
    return first;
}

static void forest_metrics(struct forest *forest, struct traceql_query *query)
{
    struct traceql_second **end = &query->seconds;
    query->metrics = TRACEQL_RATE + forest_pick(forest, TRACEQL_COMPARE);
    if (query->metrics == TRACEQL_COMPARE) {
        query->selection = forest_expression(forest, 3);
        query->compare_top = forest_pick(forest, 20);
        query->compare_start_ns = forest_pick(forest, 2) * 1000;
        query->compare_end_ns = query->compare_start_ns * 2;
    } else {
        query->of = forest_field(forest);
        query->by_count = forest_pick(forest, 3);
        query->by = forest_new(forest, 3 * sizeof *query->by);
        for (uint32_t i = 0; i < query->by_count; i++)
            query->by[i] = forest_field(forest);
    }
    if (query->metrics == TRACEQL_QUANTILE_OVER_TIME) {
        query->quantile_count = 2;
        query->quantiles = forest_new(forest, 2 * sizeof *query->quantiles);
        query->quantiles[0] = 1.0 / (1 + forest_pick(forest, 100));
    }
    while (forest_pick(forest, 2)) {
        struct traceql_second *second = forest_new(forest, sizeof *second);
        second->kind = forest_pick(forest, 3);
        second->limit = forest_pick(forest, 100);
        second->op = TRACEQL_GT;
        second->value = forest_number(forest);
        *end = second;
        end = &second->next;
    }
}

/* Pipelines as operands, to the left as deep as they come. */
static struct traceql_stage *forest_pipelines(struct forest *forest, unsigned depth)
{
    struct traceql_stage *stage = forest_new(forest, sizeof *stage);
    if (!depth) {
        stage->kind = TRACEQL_PIPELINE;
        stage->first = forest_stage(forest, true);
        stage->first->next = forest_stage(forest, false);
        return stage;
    }
    stage->kind = TRACEQL_OPERATION;
    stage->op = TRACEQL_OR;
    stage->left = forest_pipelines(forest, depth - 1);
    stage->right = forest_pipelines(forest, depth - 1);
    return stage;
}

static void test_trees(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < RANDOM_TREES; seed++) {
        struct forest forest = {.state = fm_hash64(fm_slice(&seed, sizeof seed), 1)};
        struct ask ask;
        struct traceql_query query = {0};
        ask_init(&ask);
        fm_arena_init(&forest.arena, FM_MIB(64));
        if (!forest_pick(&forest, 8))
            query.first = forest_pipelines(&forest, 1 + forest_pick(&forest, 2));
        else
            query.first = forest_pipeline(&forest);
        if (query.first->kind != TRACEQL_OPERATION || query.first->next)
            if (forest_pick(&forest, 2))
                forest_metrics(&forest, &query);
        ask.query = &query;
        (void)ask_print(&ask);
        ask_assert_fixed(&ask);
        int rc = traceql_check(&query, &ask.why);
        assert_true(rc == FM_OK || (rc == FM_EMALFORMED && ask.why.text[0]));
        fm_arena_fini(&forest.arena);
        ask_fini(&ask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
