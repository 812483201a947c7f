/* SPDX-License-Identifier: Apache-2.0 */
/* Gate: whether rows that a source has an index of can hold a span that the first filter passes.
 *
 * Of the tests that all have to hold, those that ask for a text are put to every text that the rows
 * may have in the field.  If none passes, the rows are never read; else those are read that hold
 * such a text for each of these tests, as far as the source knows them. */
#include "internal.h"

#define GATE_PATTERN_MAX                                                                           \
    16384u /* texts that a pattern is tried on: reading the rows is no dearer */

struct gate_test {
    struct eval_run *run;
    const struct eval_node *node;
    uint32_t tried;
};

/* A text is asked for, so that nil and other types do not pass. */
static bool gate_is_of_text(const struct eval_node *node)
{
    for (; node; node = node->also) {
        const struct eval_test *test = &node->test;
        bool is_equal = test->op == TRACEQL_EQ && test->regex == EVAL_NONE;
        bool is_match = test->op == TRACEQL_MATCH && test->regex != EVAL_NONE;
        if (test->negated || test->value.type != TRACEQL_STRING || !(is_equal || is_match))
            return false;
    }
    return true;
}

/* FM_END: this one passes; FM_MORE: enough were tried. */
static int gate_try(void *self, const struct traceql_value *value)
{
    struct gate_test *gate = self;
    const struct eval_node *node = gate->node;
    uint8_t holds;
    if (node->test.op != TRACEQL_EQ && ++gate->tried > GATE_PATTERN_MAX)
        return FM_MORE;
    int rc = test_value(gate->run, node, value, &holds);
    return rc || !holds ? rc : FM_END;
}

/* FM_NONE: the test holds nowhere in the rows ahead.  narrows: it has to hold. */
static int gate_test(struct eval_run *run, const struct eval_node *node, bool narrows,
                     struct fm_why *why)
{
    static const struct traceql_value nil = {.type = TRACEQL_NIL};
    const uint32_t fields[] = {node->ref.index, node->ref.second};
    struct gate_test gate = {.run = run, .node = node};
    uint8_t holds;
    if (node->kind != EVAL_TEST || node->by_id || !gate_is_of_text(node))
        return FM_OK;
    int rc = test_value(run, node, &nil, &holds);
    if (rc || holds)
        return rc;
    const struct frame_search search = {
        .fields = fields,
        .field_count = node->ref.second == EVAL_NONE ? 1 : 2,
        .only = !node->also && node->test.op == TRACEQL_EQ ? &node->test.value.text : NULL,
        .narrows = narrows,
        .visit = gate_try,
        .self = &gate,
    };
    rc = frame_ahead(run->source, &search, why);
    if (rc < 0)
        return rc;
    return rc == FM_OK ? FM_NONE : FM_OK;
}

/* Likewise; of several that all have to hold. */
static int gate_filter(struct eval_run *run, const struct eval_node *node, bool narrows,
                       struct fm_why *why)
{
    int rc = FM_OK;
    if (node->kind != EVAL_AND && node->kind != EVAL_SOME)
        return gate_test(run, node, narrows, why);
    for (uint32_t i = 0; i < node->child_count && rc == FM_OK; i++)
        rc = node->children[i]->kind == EVAL_SOME
                 ? gate_filter(run, node->children[i], narrows, why)
                 : gate_test(run, node->children[i], narrows, why);
    return rc;
}

/* An operation needs both of its sides, but for the left one where it is one or the other, or where
 * it must not be there. */
static int gate_stage(struct eval_run *run, const struct eval_stage *stage, bool narrows,
                      struct fm_why *why)
{
    if (stage->kind == TRACEQL_FILTER)
        return gate_filter(run, stage->node, narrows, why);
    if (stage->kind != TRACEQL_OPERATION || stage->left->kind != TRACEQL_FILTER ||
        stage->right->kind != TRACEQL_FILTER)
        return FM_OK;
    bool is_or = stage->op == TRACEQL_OR, is_and = stage->op == TRACEQL_AND;
    bool needs_left = is_or || is_and || stage->relation != TRACEQL_NEGATED;
    int rc = gate_stage(run, stage->right, !is_or, why);
    bool is_settled = rc < 0 || (rc == FM_OK) == is_or; /* the left one makes no difference */
    return is_settled || !needs_left ? rc : gate_stage(run, stage->left, !is_or, why);
}

int gate_enter(struct frame_gate *gate, struct frame_source *source, struct fm_why *why)
{
    struct eval_run *run = FM_CONTAINER(gate, struct eval_run, gate);
    return source == run->source && run->plan->first ? gate_stage(run, run->plan->first, true, why)
                                                     : FM_OK;
}
