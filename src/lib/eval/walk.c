/* SPDX-License-Identifier: Apache-2.0 */
/* Walks: an expression evaluated for one span.  What it looks at is loaded before. */
#include "internal.h"

int walk_load(struct eval_run *run, const struct eval_walk *walk, const uint8_t *wanted,
              struct fm_why *why)
{
    int rc = FM_OK;
    if (walk->kind == TRACEQL_FIELD)
        return run_load_ref(run, &walk->ref, wanted, why);
    if (walk->left)
        rc = walk_load(run, walk->left, wanted, why);
    if (!rc && walk->right)
        rc = walk_load(run, walk->right, wanted, why);
    return rc;
}

static struct traceql_value walk_from_tri(enum eval_tri tri)
{
    if (tri == EVAL_NIL)
        return (struct traceql_value){.type = TRACEQL_NIL};
    return (struct traceql_value){.type = TRACEQL_BOOL, .flag = tri == EVAL_TRUE};
}

static enum eval_tri walk_to_tri(const struct traceql_value *value)
{
    if (value->type != TRACEQL_BOOL)
        return EVAL_NIL;
    return value->flag ? EVAL_TRUE : EVAL_FALSE;
}

static int walk_unary(struct eval_run *run, const struct eval_walk *walk, struct eval_place place,
                      struct traceql_value *ret_value, struct fm_why *why)
{
    struct traceql_value value;
    int rc = walk_value(run, walk->left, place, &value, why);
    if (rc)
        return rc;
    switch (walk->op) {
    case TRACEQL_NOT:
        if (value.type == TRACEQL_BOOL)
            value.flag = !value.flag;
        else
            value = walk_from_tri(EVAL_NIL);
        break;
    case TRACEQL_EXISTS:
    case TRACEQL_NOT_EXISTS:
        value = walk_from_tri((value.type == TRACEQL_NIL) == (walk->op == TRACEQL_NOT_EXISTS));
        break;
    default:
        value = value_negate(&value);
        break;
    }
    *ret_value = value;
    return FM_OK;
}

static int walk_logic(struct eval_run *run, const struct eval_walk *walk, struct eval_place place,
                      struct traceql_value *ret_value, struct fm_why *why)
{
    struct traceql_value left, right;
    enum eval_tri decides = walk->op == TRACEQL_AND ? EVAL_FALSE : EVAL_TRUE;
    int rc = walk_value(run, walk->left, place, &left, why);
    if (rc)
        return rc;
    enum eval_tri a = walk_to_tri(&left);
    if (a == decides) {
        *ret_value = walk_from_tri(a);
        return FM_OK;
    }
    rc = walk_value(run, walk->right, place, &right, why);
    if (rc)
        return rc;
    enum eval_tri b = walk_to_tri(&right);
    *ret_value = walk_from_tri(b == decides || a != EVAL_NIL ? b : a);
    return FM_OK;
}

static int walk_binary(struct eval_run *run, const struct eval_walk *walk, struct eval_place place,
                       struct traceql_value *ret_value, struct fm_why *why)
{
    struct traceql_value left, right;
    struct regex_matcher *matcher = NULL;
    if (walk->op == TRACEQL_AND || walk->op == TRACEQL_OR)
        return walk_logic(run, walk, place, ret_value, why);
    int rc = walk_value(run, walk->left, place, &left, why);
    if (!rc)
        rc = walk_value(run, walk->right, place, &right, why);
    if (!rc && walk->op <= TRACEQL_POW)
        return value_arithmetic(walk->op, &left, &right, ret_value, why);
    if (!rc && walk->regex != EVAL_NONE)
        rc = run_matcher(run, walk->regex, &matcher);
    if (rc)
        return rc;
    *ret_value = walk_from_tri(value_compare(walk->op, &left, &right, matcher));
    return FM_OK;
}

int walk_value(struct eval_run *run, const struct eval_walk *walk, struct eval_place place,
               struct traceql_value *ret_value, struct fm_why *why)
{
    switch (walk->kind) {
    case TRACEQL_LITERAL:
        *ret_value = walk->value;
        return FM_OK;
    case TRACEQL_FIELD:
        *ret_value = run_ref_value(run, &walk->ref, place.span, place.event, place.link);
        return FM_OK;
    case TRACEQL_UNARY:
        return walk_unary(run, walk, place, ret_value, why);
    case TRACEQL_BINARY:
        break;
    }
    return walk_binary(run, walk, place, ret_value, why);
}
