/* SPDX-License-Identifier: Apache-2.0 */
/* Compilation of field expressions.
 *
 * A filter becomes a tree of AND and OR over tests, negations pushed down to the tests.  What is no
 * comparison of a field with a literal becomes a walk.  Chains of && and || are as long as the text
 * allows, so they are followed in a loop; what nests is counted.
 */
#include "internal.h"

#include <stdlib.h>

#define COMPILE_DEPTH_MAX 1024 /* the parser's limit, and what chains of mixed && and || add */

struct compile { /* one filter */
    struct eval_plan *plan;
    struct fm_why *why;
    unsigned depth;
    bool has_or;
};

/* The array with room for one more; NULL: plan->rc. */
static void *compile_room(struct eval_plan *plan, void *array, uint32_t count, uint32_t *max,
                          size_t size)
{
    if (count < *max)
        return array;
    uint32_t grown = *max ? *max * 2 : 8;
    void *room = plan_alloc(plan, grown * size);
    if (!room)
        return NULL;
    if (count)
        memcpy(room, array, count * size);
    *max = grown;
    return room;
}

static void compile_shown(struct eval_plan *plan, const struct traceql_field *field,
                          const struct eval_ref *ref)
{
    for (uint32_t i = 0; i < plan->shown_count; i++)
        if (plan->shown[i].ref.index == ref->index && plan->shown[i].ref.second == ref->second)
            return;
    struct eval_shown *room =
        compile_room(plan, plan->shown, plan->shown_count, &plan->shown_max, sizeof *plan->shown);
    if (!room)
        return;
    plan->shown = room;
    room[plan->shown_count] = (struct eval_shown){.field = *field, .ref = *ref};
    room[plan->shown_count++].field.name = fm_slice_dup(&plan->arena, field->name);
    if (fm_arena_failed(&plan->arena) && !plan->rc)
        plan->rc = FM_ENOMEM;
}

static bool compile_field(struct eval_plan *plan, const struct traceql_field *field,
                          struct eval_ref *ret_ref)
{
    int rc = plan_ref(plan, field, ret_ref);
    if (rc && !plan->rc)
        plan->rc = rc;
    if (!plan->rc)
        compile_shown(plan, field, ret_ref);
    return !plan->rc;
}

static uint32_t compile_regex(struct eval_plan *plan, enum traceql_op op,
                              const struct traceql_value *value, struct fm_why *why)
{
    struct regex *regex;
    if ((op != TRACEQL_MATCH && op != TRACEQL_NOT_MATCH) || value->type != TRACEQL_STRING)
        return EVAL_NONE;
    struct regex **room = compile_room(plan, plan->regexes, plan->regex_count, &plan->regex_max,
                                       sizeof(struct regex *));
    if (!room)
        return EVAL_NONE;
    plan->regexes = room;
    int rc = regex_new(&regex, value->text, &regex_limits_default, why);
    if (rc) {
        plan->rc = rc;
        return EVAL_NONE;
    }
    plan->regexes[plan->regex_count] = regex;
    return plan->regex_count++;
}

static bool compile_is_comparison(enum traceql_op op)
{
    return op >= TRACEQL_EQ && op <= TRACEQL_LE;
}

static enum traceql_op compile_flipped(enum traceql_op op)
{
    switch (op) {
    case TRACEQL_GT:
        return TRACEQL_LT;
    case TRACEQL_GE:
        return TRACEQL_LE;
    case TRACEQL_LT:
        return TRACEQL_GT;
    case TRACEQL_LE:
        return TRACEQL_GE;
    default:
        return op;
    }
}

/* Ids are stored in lower case, and traces' are compared without leading zeros. */
static void compile_id(struct eval_plan *plan, enum traceql_intrinsic intrinsic,
                       struct traceql_value *value)
{
    bool of_trace = intrinsic == TRACEQL_TRACE_ID || intrinsic == TRACEQL_LINK_TRACE_ID;
    if (value->type != TRACEQL_STRING ||
        (!of_trace && intrinsic != TRACEQL_SPAN_ID && intrinsic != TRACEQL_PARENT_ID &&
         intrinsic != TRACEQL_LINK_SPAN_ID))
        return;
    struct fm_slice text = value->text;
    while (of_trace && text.len && text.ptr[0] == '0')
        text = fm_slice(text.ptr + 1, text.len - 1);
    uint8_t *lower = plan_alloc(plan, text.len + 1);
    if (!lower)
        return;
    for (size_t i = 0; i < text.len; i++)
        lower[i] =
            (uint8_t)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] + 32 : text.ptr[i]);
    value->text = fm_slice(lower, text.len);
}

/* ---- walks ---- */

struct eval_walk *compile_walk(struct eval_plan *plan, const struct traceql_expression *from,
                               unsigned depth, struct fm_why *why)
{
    if (depth > COMPILE_DEPTH_MAX && !plan->rc)
        plan->rc = fm_fail(why, FM_ELIMIT, "the query is nested too deeply");
    struct eval_walk *walk = plan->rc ? NULL : plan_alloc(plan, sizeof *walk);
    if (!walk)
        return NULL;
    walk->kind = from->kind;
    walk->op = from->op;
    walk->value = from->value;
    walk->regex = EVAL_NONE;
    if (from->kind == TRACEQL_FIELD && !compile_field(plan, &from->field, &walk->ref))
        return NULL;
    if (from->kind == TRACEQL_UNARY || from->kind == TRACEQL_BINARY)
        walk->left = compile_walk(plan, from->left, depth + 1, why);
    if (from->kind == TRACEQL_BINARY && !plan->rc) {
        walk->right = compile_walk(plan, from->right, depth + 1, why);
        if (!plan->rc && from->right->kind == TRACEQL_LITERAL)
            walk->regex = compile_regex(plan, from->op, &from->right->value, why);
    }
    if (!plan->rc && walk->left && walk->left->kind == TRACEQL_FIELD && walk->right &&
        walk->right->kind == TRACEQL_LITERAL && walk->regex == EVAL_NONE)
        compile_id(plan, walk->left->ref.intrinsic, &walk->right->value);
    return plan->rc ? NULL : walk;
}

static void compile_walk_reach(const struct eval_walk *walk, struct eval_node *node)
{
    if (!walk)
        return;
    if (walk->kind == TRACEQL_FIELD) {
        node->has_events |= walk->ref.domain == FRAME_EVENT;
        node->has_links |= walk->ref.domain == FRAME_LINK;
    }
    compile_walk_reach(walk->left, node);
    compile_walk_reach(walk->right, node);
}

/* ---- filters ---- */

static uint32_t compile_cost(const struct eval_ref *ref)
{
    switch (ref->domain) {
    case FRAME_TRACE:
        return 1;
    case FRAME_RESOURCE:
        return 2;
    case FRAME_SCOPE:
        return 3;
    case FRAME_SPAN:
        break;
    default:
        return 9;
    }
    switch (ref->intrinsic) {
    case TRACEQL_ATTRIBUTE:
        return ref->second == EVAL_NONE ? 6 : 7;
    case TRACEQL_NAME:
    case TRACEQL_STATUS_MESSAGE:
        return 5;
    case TRACEQL_SPAN_ID:
    case TRACEQL_PARENT_ID:
        return 8;
    default:
        return 4;
    }
}

static struct eval_node *compile_new(struct compile *c, enum eval_node_kind kind, uint32_t cost)
{
    struct eval_node *node = plan_alloc(c->plan, sizeof *node);
    if (node) {
        node->kind = kind;
        node->cost = cost;
    }
    return node;
}

static struct eval_node *compile_constant(struct compile *c, bool flag)
{
    struct eval_node *node = compile_new(c, EVAL_CONSTANT, 0);
    if (node)
        node->flag = flag;
    return node;
}

/* Against a literal a trace's id is compared as bytes. */
static void compile_by_id(struct eval_node *node)
{
    const struct traceql_value *value = &node->test.value;
    if (node->ref.intrinsic != TRACEQL_TRACE_ID || value->type != TRACEQL_STRING ||
        (node->test.op != TRACEQL_EQ && node->test.op != TRACEQL_NE))
        return;
    node->by_id = true;
    node->id_valid = value->text.len > 0 && !trace_id_parse(value->text, &node->id, NULL);
}

static struct eval_node *compile_test(struct compile *c, const struct traceql_field *field,
                                      enum traceql_op op, const struct traceql_value *value,
                                      bool negated)
{
    struct eval_plan *plan = c->plan;
    struct eval_node *node = compile_new(c, EVAL_TEST, 0);
    if (!node || !compile_field(plan, field, &node->ref))
        return NULL;
    node->test = (struct eval_test){.op = op, .negated = negated};
    if (value) {
        node->test.value = *value;
        plan->types[node->ref.index] = (uint8_t)value->type;
    }
    node->test.regex = compile_regex(plan, op, &node->test.value, c->why);
    if (node->test.regex == EVAL_NONE)
        compile_id(plan, field->intrinsic, &node->test.value);
    if (plan->rc)
        return NULL;
    node->cost = compile_cost(&node->ref);
    node->truth = plan->truth_count;
    plan->truth_count += 2;
    compile_by_id(node);
    if (node->ref.domain != FRAME_EVENT && node->ref.domain != FRAME_LINK)
        return node;
    struct eval_node **room = compile_room(plan, plan->some_tests, plan->some_count,
                                           &plan->some_max, sizeof(struct eval_node *));
    if (!room)
        return NULL;
    plan->some_tests = room;
    plan->some_tests[plan->some_count++] = node;
    struct eval_node *some = compile_new(c, EVAL_SOME, node->cost);
    if (!some || !(some->children = plan_alloc(plan, sizeof(struct eval_node *))))
        return NULL;
    some->children[0] = node;
    some->child_count = 1;
    some->ref = node->ref;
    return some;
}

static struct eval_node *compile_node(struct compile *c, const struct traceql_expression *from,
                                      bool negated);

static int compile_order(const void *a, const void *b)
{
    const struct eval_node *left = *(struct eval_node *const *)a;
    const struct eval_node *right = *(struct eval_node *const *)b;
    if (left->cost != right->cost)
        return left->cost < right->cost ? -1 : 1;
    return left->order < right->order ? -1 : 1;
}

/* Operands of a chain, from the left. */
static const struct traceql_expression **
compile_operands(struct compile *c, const struct traceql_expression *from, uint32_t *ret_count)
{
    uint32_t count = 1;
    const struct traceql_expression *at, **operands;
    for (at = from; at->kind == TRACEQL_BINARY && at->op == from->op; at = at->left)
        count++;
    operands = plan_alloc(c->plan, count * sizeof(struct traceql_expression *));
    if (!operands)
        return NULL;
    *ret_count = count;
    for (at = from; --count; at = at->left)
        operands[count] = at->right;
    operands[0] = at;
    return operands;
}

/* x = a || x = b || ...: one test, which is put to each value once.  Those of a field stand
 * together in what people and programs write, so a test is joined to the one before it. */
static void compile_join_tests(struct eval_node *chain)
{
    uint32_t kept = 0;
    struct eval_node *last = NULL;
    for (uint32_t i = 0; i < chain->child_count; i++) {
        struct eval_node *child = chain->children[i];
        bool plain = child->kind == EVAL_TEST && !child->by_id;
        if (plain && last && last->ref.index == child->ref.index &&
            last->ref.second == child->ref.second) {
            child->also = last->also;
            last->also = child;
            continue;
        }
        last = plain ? child : NULL;
        chain->children[kept++] = child;
    }
    chain->child_count = kept;
}

static struct eval_node *compile_chain(struct compile *c, const struct traceql_expression *from,
                                       bool negated)
{
    bool is_and = (from->op == TRACEQL_AND) != negated;
    struct eval_node *chain = compile_new(c, is_and ? EVAL_AND : EVAL_OR, 0);
    uint32_t count = 0;
    const struct traceql_expression **operands = compile_operands(c, from, &count);
    if (chain && operands)
        chain->children = plan_alloc(c->plan, count * sizeof(struct eval_node *));
    if (c->plan->rc)
        return NULL;
    c->has_or |= !is_and;
    for (uint32_t i = 0; i < count; i++) {
        struct eval_node *child = compile_node(c, operands[i], negated);
        if (!child)
            return NULL;
        child->order = i;
        chain->children[chain->child_count++] = child;
        chain->cost = !i       ? child->cost
                      : is_and ? FM_MIN(chain->cost, child->cost)
                               : FM_MAX(chain->cost, child->cost);
    }
    if (!is_and)
        compile_join_tests(chain);
    qsort(chain->children, chain->child_count, sizeof(struct eval_node *), compile_order);
    return chain;
}

static struct eval_node *compile_other(struct compile *c, const struct traceql_expression *from,
                                       bool negated)
{
    struct eval_node *node = compile_new(c, EVAL_WALK, 10);
    if (!node)
        return NULL;
    node->flag = negated;
    node->walk = compile_walk(c->plan, from, c->depth, c->why);
    compile_walk_reach(node->walk, node);
    return c->plan->rc ? NULL : node;
}

static struct eval_node *compile_binary(struct compile *c, const struct traceql_expression *from,
                                        bool negated)
{
    const struct traceql_expression *left = from->left, *right = from->right;
    if (from->op == TRACEQL_AND || from->op == TRACEQL_OR)
        return compile_chain(c, from, negated);
    if (compile_is_comparison(from->op) && left->kind == TRACEQL_FIELD &&
        right->kind == TRACEQL_LITERAL)
        return compile_test(c, &left->field, from->op, &right->value, negated);
    if (compile_is_comparison(from->op) && left->kind == TRACEQL_LITERAL &&
        right->kind == TRACEQL_FIELD && from->op != TRACEQL_MATCH && from->op != TRACEQL_NOT_MATCH)
        return compile_test(c, &right->field, compile_flipped(from->op), &left->value, negated);
    return compile_other(c, from, negated);
}

static struct eval_node *compile_unary(struct compile *c, const struct traceql_expression *from,
                                       bool negated)
{
    bool asks = from->op == TRACEQL_EXISTS || from->op == TRACEQL_NOT_EXISTS;
    if (from->op == TRACEQL_NOT)
        return compile_node(c, from->left, !negated);
    if (asks && from->left->kind == TRACEQL_FIELD) {
        bool exists = (from->op == TRACEQL_EXISTS) != negated;
        return compile_test(c, &from->left->field, exists ? TRACEQL_EXISTS : TRACEQL_NOT_EXISTS,
                            NULL, false);
    }
    return compile_other(c, from, negated);
}

static struct eval_node *compile_node(struct compile *c, const struct traceql_expression *from,
                                      bool negated)
{
    static const struct traceql_value yes = {.type = TRACEQL_BOOL, .flag = true};
    struct eval_node *node = NULL;
    if (++c->depth > COMPILE_DEPTH_MAX && !c->plan->rc)
        c->plan->rc = fm_fail(c->why, FM_ELIMIT, "the query is nested too deeply");
    if (c->plan->rc)
        return NULL;
    switch (from->kind) {
    case TRACEQL_LITERAL:
        node = compile_constant(c, from->value.type == TRACEQL_BOOL && from->value.flag != negated);
        break;
    case TRACEQL_FIELD:
        node = compile_test(c, &from->field, TRACEQL_EQ, &yes, negated);
        break;
    case TRACEQL_UNARY:
        node = compile_unary(c, from, negated);
        break;
    case TRACEQL_BINARY:
        node = compile_binary(c, from, negated);
        break;
    }
    c->depth--;
    return node;
}

/* In a pure conjunction all conditions on events are of one event; likewise links.  Nested chains
 * of the same kind are one chain by now, so children of the root are all there is. */
static bool compile_join_some(struct compile *c, struct eval_node *root, enum frame_domain domain)
{
    struct eval_node *joined = NULL;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < root->child_count; i++) {
        struct eval_node *child = root->children[i];
        bool is_some = child->kind == EVAL_SOME && child->ref.domain == domain;
        if (is_some && joined) {
            joined->children[joined->child_count++] = child->children[0];
            continue;
        }
        if (is_some) {
            struct eval_node *first = child->children[0];
            joined = child;
            joined->children = plan_alloc(c->plan, root->child_count * sizeof(struct eval_node *));
            if (!joined->children)
                return false;
            joined->children[0] = first;
        }
        root->children[kept++] = child;
    }
    root->child_count = kept;
    return true;
}

/* A conjunction within a conjunction, as parentheses make it, becomes part of it. */
static struct eval_node *compile_flat(struct compile *c, struct eval_node *root)
{
    uint32_t max = 0, count = 0;
    struct eval_node **flat = NULL;
    for (uint32_t i = 0; i < root->child_count; i++) {
        struct eval_node *child = root->children[i];
        if (child->kind == EVAL_AND)
            child = compile_flat(c, child);
        bool nested = child && child->kind == EVAL_AND;
        uint32_t parts = nested ? child->child_count : 1;
        for (uint32_t k = 0; child && k < parts; k++) {
            flat = compile_room(c->plan, flat, count, &max, sizeof(struct eval_node *));
            if (!flat)
                return NULL;
            flat[count] = nested ? child->children[k] : child;
            flat[count]->order = count;
            count++;
        }
        if (!child)
            return NULL;
    }
    root->children = flat;
    root->child_count = count;
    qsort(flat, count, sizeof(struct eval_node *), compile_order);
    return root;
}

struct eval_node *compile_filter(struct eval_plan *plan, const struct traceql_expression *from,
                                 struct fm_why *why)
{
    struct compile c = {.plan = plan, .why = why};
    if (!from)
        return compile_constant(&c, true);
    struct eval_node *root = compile_node(&c, from, false);
    if (!root || plan->rc || root->kind != EVAL_AND)
        return plan->rc ? NULL : root;
    root = compile_flat(&c, root);
    if (root && !c.has_or &&
        (!compile_join_some(&c, root, FRAME_EVENT) || !compile_join_some(&c, root, FRAME_LINK)))
        return NULL;
    return plan->rc ? NULL : root;
}
