/* SPDX-License-Identifier: Apache-2.0 */
/* Weak: what has to hold of some part of a trace if a query is to hold of the whole.
 *
 * Spans of a trace may lie in several sources.  A condition on a span alone is the same in every
 * part; one on its trace (the root, the length, other spans) is not.  The weak form keeps the first
 * and drops the second, so that a trace none of whose parts passes cannot pass as a whole, and need
 * not be put together. */
#include "internal.h"

static bool field_is_of_trace(const struct traceql_field *field)
{
    switch (field->intrinsic) {
    case TRACEQL_CHILD_COUNT:
    case TRACEQL_TRACE_DURATION:
    case TRACEQL_ROOT_NAME:
    case TRACEQL_ROOT_SERVICE:
    case TRACEQL_NESTED_LEFT:
    case TRACEQL_NESTED_RIGHT:
    case TRACEQL_NESTED_PARENT:
    case TRACEQL_PARENT:
    case TRACEQL_TRACE_START:
        return true;
    default:
        return field->of_parent;
    }
}

/* Chains of && and || grow to the left without a limit, so that way is a loop. */
static bool expression_is_local(const struct traceql_expression *at)
{
    while (at && at->kind == TRACEQL_BINARY) {
        if (!expression_is_local(at->right))
            return false;
        at = at->left;
    }
    if (at && at->kind == TRACEQL_UNARY)
        return expression_is_local(at->left);
    return !at || at->kind != TRACEQL_FIELD || !field_is_of_trace(&at->field);
}

bool eval_is_local(const struct traceql_query *query)
{
    if (query->metrics == TRACEQL_COMPARE || field_is_of_trace(&query->of))
        return false;
    for (uint32_t i = 0; i < query->by_count; i++) {
        if (field_is_of_trace(&query->by[i]))
            return false;
    }
    for (const struct traceql_stage *at = query->first; at; at = at->next) {
        if (at->kind == TRACEQL_SELECT)
            continue;
        if (at->kind != TRACEQL_FILTER || !expression_is_local(at->expression))
            return false;
    }
    return true;
}

/* The local ones of what && joins; NULL: none. */
static struct traceql_expression *weak_expression(struct fm_arena *arena,
                                                  const struct traceql_expression *from)
{
    struct traceql_expression *kept = NULL, **link = &kept;
    for (const struct traceql_expression *at = from; at;) {
        bool joins = at->kind == TRACEQL_BINARY && at->op == TRACEQL_AND;
        const struct traceql_expression *side = joins ? at->right : at;
        at = joins ? at->left : NULL;
        if (!expression_is_local(side))
            continue;
        struct traceql_expression *leaf = fm_arena_alloc(arena, sizeof *leaf);
        struct traceql_expression *both = fm_arena_zalloc(arena, sizeof *both);
        if (!leaf || !both)
            return NULL;
        *leaf = *side;
        *both =
            (struct traceql_expression){.kind = TRACEQL_BINARY, .op = TRACEQL_AND, .right = leaf};
        *link = both;
        link = &both->left;
    }
    /* The last joins nothing: it is its right side. */
    for (link = &kept; *link; link = &(*link)->left) {
        if (!(*link)->left) {
            *link = (*link)->right;
            break;
        }
    }
    return kept;
}

static struct traceql_stage *weak_stages(struct fm_arena *arena, const struct traceql_stage *from);

static struct traceql_stage *weak_stage(struct fm_arena *arena, enum traceql_stage_kind kind)
{
    struct traceql_stage *stage = fm_arena_zalloc(arena, sizeof *stage);
    if (stage)
        stage->kind = kind;
    return stage;
}

static struct traceql_stage *weak_filter(struct fm_arena *arena, const struct traceql_stage *from)
{
    struct traceql_expression *expression = weak_expression(arena, from->expression);
    struct traceql_stage *stage = expression ? weak_stage(arena, TRACEQL_FILTER) : NULL;
    if (stage)
        stage->expression = expression;
    return stage;
}

static struct traceql_stage *weak_operand(struct fm_arena *arena, const struct traceql_stage *from)
{
    struct traceql_stage alone = *from;
    alone.next = NULL;
    return weak_stages(arena, &alone);
}

static struct traceql_stage *weak_pipeline(struct fm_arena *arena, struct traceql_stage *first)
{
    struct traceql_stage *stage = first->next ? weak_stage(arena, TRACEQL_PIPELINE) : first;
    if (stage && stage != first)
        stage->first = first;
    return stage;
}

/* Spans of both sides have to be there, but for || and for the ! forms, whose spans are the right
 * side's. */
static struct traceql_stage *weak_operation(struct fm_arena *arena,
                                            const struct traceql_stage *from)
{
    struct traceql_stage *right = weak_operand(arena, from->right);
    struct traceql_stage *left = weak_operand(arena, from->left);
    if (from->relation == TRACEQL_NEGATED)
        return right;
    if (from->op != TRACEQL_OR)
        return right ? right : left;
    struct traceql_stage *either = left && right ? weak_stage(arena, TRACEQL_OPERATION) : NULL;
    if (!either)
        return NULL;
    either->op = TRACEQL_OR;
    either->left = weak_pipeline(arena, left);
    either->right = weak_pipeline(arena, right);
    return either->left && either->right ? either : NULL;
}

/* Filters one after the other; or what the first stage that is none of them demands.  NULL: all. */
static struct traceql_stage *weak_stages(struct fm_arena *arena, const struct traceql_stage *from)
{
    struct traceql_stage *first = NULL, **link = &first;
    for (; from; from = from->next) {
        struct traceql_stage *weak = NULL;
        if (from->kind == TRACEQL_FILTER) {
            *link = weak_filter(arena, from);
            link = *link ? &(*link)->next : link;
        } else if (!first && from->kind == TRACEQL_OPERATION) {
            weak = weak_operation(arena, from);
        } else if (!first && from->kind == TRACEQL_PIPELINE) {
            weak = weak_stages(arena, from->first);
        }
        if (weak)
            return weak;
    }
    return first;
}

int eval_weaken(const struct traceql_query *query, struct fm_arena *arena,
                struct traceql_query **ret_weak)
{
    struct traceql_query *weak = fm_arena_zalloc(arena, sizeof *weak);
    if (!weak)
        return FM_ENOMEM;
    weak->first = weak_stages(arena, query->first);
    if (!weak->first)
        weak->first = weak_stage(arena, TRACEQL_FILTER);
    if (fm_arena_failed(arena))
        return FM_ENOMEM;
    *ret_weak = weak;
    return FM_OK;
}
