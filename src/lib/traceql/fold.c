/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on literals, done while parsing; and which types an operator takes.  What would fail,
 * overflow or have no literal (infinity) is left to be evaluated. */
#include "internal.h"

#include <math.h>

/* ---- types ---- */

bool type_is_number(enum traceql_type type)
{
    return type == TRACEQL_INT || type == TRACEQL_FLOAT || type == TRACEQL_DURATION;
}

bool type_matches(enum traceql_type left, enum traceql_type right)
{
    return left == TRACEQL_UNKNOWN || right == TRACEQL_UNKNOWN || left == right ||
           (type_is_number(left) && type_is_number(right)) || left == TRACEQL_NIL ||
           right == TRACEQL_NIL;
}

bool type_allows(enum traceql_op op, enum traceql_type type)
{
    bool equality = op == TRACEQL_EQ || op == TRACEQL_NE;
    bool order = op >= TRACEQL_GT && op <= TRACEQL_LE;

    switch (type) {
    case TRACEQL_UNKNOWN:
        return true;
    case TRACEQL_BOOL:
        return equality || op == TRACEQL_AND || op == TRACEQL_OR;
    case TRACEQL_INT:
    case TRACEQL_FLOAT:
    case TRACEQL_DURATION:
        return equality || order || op <= TRACEQL_POW;
    case TRACEQL_STRING:
        return equality || order || op == TRACEQL_MATCH || op == TRACEQL_NOT_MATCH;
    default:
        return equality;
    }
}

static enum traceql_type type_of_field(const struct traceql_field *field)
{
    static const enum traceql_type types[] = {TRACEQL_UNKNOWN,
#define X(name, text, type) type,
                                              TRACEQL_INTRINSICS(X)
#undef X
    };
    return types[field->intrinsic];
}

enum traceql_type type_of(const struct traceql_expression *expression)
{
    for (;;) {
        enum traceql_type left;
        switch (expression->kind) {
        case TRACEQL_LITERAL:
            return expression->value.type;
        case TRACEQL_FIELD:
            return type_of_field(&expression->field);
        case TRACEQL_UNARY:
            if (expression->op != TRACEQL_NEGATE && expression->op != TRACEQL_NOT)
                return TRACEQL_BOOL;
            expression = expression->left;
            break;
        case TRACEQL_BINARY:
            if (expression->op >= TRACEQL_EQ)
                return TRACEQL_BOOL;
            left = type_of(expression->left);
            if (left != TRACEQL_UNKNOWN)
                return left;
            expression = expression->right;
            break;
        }
    }
}

/* ---- folding ---- */

static double fold_number(const struct traceql_value *value)
{
    return value->type == TRACEQL_FLOAT ? value->number : (double)value->integer;
}

bool fold_unary(enum traceql_op op, struct traceql_value *value)
{
    if (op == TRACEQL_NOT && value->type == TRACEQL_BOOL) {
        value->flag = !value->flag;
        return true;
    }
    if (op == TRACEQL_NEGATE && value->type == TRACEQL_FLOAT) {
        value->number = -value->number;
        return true;
    }
    if (op == TRACEQL_NEGATE && type_is_number(value->type) && value->integer != INT64_MIN) {
        value->integer = -value->integer;
        return true;
    }
    if (op != TRACEQL_EXISTS && op != TRACEQL_NOT_EXISTS)
        return false;
    *value = (struct traceql_value){.type = TRACEQL_BOOL, .flag = op == TRACEQL_EXISTS};
    return true;
}

static bool fold_compare(enum traceql_op op, int order, bool ordered)
{
    switch (op) {
    case TRACEQL_EQ:
        return ordered && order == 0;
    case TRACEQL_NE:
        return !ordered || order != 0;
    case TRACEQL_GT:
        return ordered && order > 0;
    case TRACEQL_GE:
        return ordered && order >= 0;
    case TRACEQL_LT:
        return ordered && order < 0;
    default:
        return ordered && order <= 0;
    }
}

static int fold_order(const struct traceql_value *left, const struct traceql_value *right,
                      bool *ret_ordered)
{
    *ret_ordered = true;
    if (left->type == TRACEQL_STRING)
        return fm_slice_compare(left->text, right->text);
    if (left->type == TRACEQL_BOOL)
        return left->flag - right->flag;
    if (left->type != TRACEQL_FLOAT && right->type != TRACEQL_FLOAT)
        return (left->integer > right->integer) - (left->integer < right->integer);
    double a = fold_number(left), b = fold_number(right);
    *ret_ordered = !isnan(a) && !isnan(b);
    return (a > b) - (a < b);
}

static bool fold_power(int64_t base, int64_t exponent, int64_t *ret_value)
{
    int64_t value = 1;

    if (exponent < 0)
        return false;
    while (exponent) {
        if ((exponent & 1) && __builtin_mul_overflow(value, base, &value))
            return false;
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return false;
    }
    *ret_value = value;
    return true;
}

static bool fold_integers(enum traceql_op op, int64_t left, int64_t right, int64_t *ret_value)
{
    switch (op) {
    case TRACEQL_ADD:
        return !__builtin_add_overflow(left, right, ret_value);
    case TRACEQL_SUB:
        return !__builtin_sub_overflow(left, right, ret_value);
    case TRACEQL_MUL:
        return !__builtin_mul_overflow(left, right, ret_value);
    case TRACEQL_DIV:
    case TRACEQL_MOD:
        if (!right || (left == INT64_MIN && right == -1))
            return false;
        *ret_value = op == TRACEQL_DIV ? left / right : left % right;
        return true;
    default:
        return fold_power(left, right, ret_value);
    }
}

static double fold_floats(enum traceql_op op, double left, double right)
{
    switch (op) {
    case TRACEQL_ADD:
        return left + right;
    case TRACEQL_SUB:
        return left - right;
    case TRACEQL_MUL:
        return left * right;
    case TRACEQL_DIV:
        return left / right;
    case TRACEQL_MOD:
        return fmod(left, right);
    default:
        return pow(left, right);
    }
}

static bool fold_arithmetic(enum traceql_op op, const struct traceql_value *left,
                            const struct traceql_value *right, struct traceql_value *value)
{
    if (left->type == TRACEQL_FLOAT || right->type == TRACEQL_FLOAT) {
        value->type = TRACEQL_FLOAT;
        value->number = fold_floats(op, fold_number(left), fold_number(right));
        return isfinite(value->number);
    }
    bool duration = left->type == TRACEQL_DURATION || right->type == TRACEQL_DURATION;
    value->type = duration ? TRACEQL_DURATION : TRACEQL_INT;
    /* The least integer has a name to be printed by, the least duration has none. */
    return fold_integers(op, left->integer, right->integer, &value->integer) &&
           !(duration && value->integer == INT64_MIN);
}

bool fold_binary(enum traceql_op op, const struct traceql_value *left,
                 const struct traceql_value *right, struct traceql_value *ret_value)
{
    struct traceql_value value = {.type = TRACEQL_BOOL};
    bool ordered;

    if (!type_matches(left->type, right->type) || !type_allows(op, left->type) ||
        !type_allows(op, right->type) || op == TRACEQL_MATCH || op == TRACEQL_NOT_MATCH)
        return false;
    if (op == TRACEQL_AND) {
        value.flag = left->flag && right->flag;
    } else if (op == TRACEQL_OR) {
        value.flag = left->flag || right->flag;
    } else if (op >= TRACEQL_EQ) {
        int order = fold_order(left, right, &ordered);
        value.flag = fold_compare(op, order, ordered);
    } else if (!fold_arithmetic(op, left, right, &value)) {
        return false;
    }
    *ret_value = value;
    return true;
}
