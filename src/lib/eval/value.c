/* SPDX-License-Identifier: Apache-2.0 */
/* Values: comparison in three outcomes, arithmetic, identity. */
#include "internal.h"

#include <math.h>

#include "fermata/hash.h"

bool value_is_numeric(const struct traceql_value *value)
{
    return value->type == TRACEQL_INT || value->type == TRACEQL_FLOAT ||
           value->type == TRACEQL_DURATION;
}

double value_number(const struct traceql_value *value)
{
    return value->type == TRACEQL_FLOAT ? value->number : (double)value->integer;
}

static enum eval_tri value_ordered(enum traceql_op op, int order)
{
    switch (op) {
    case TRACEQL_EQ:
        return order == 0;
    case TRACEQL_NE:
        return order != 0;
    case TRACEQL_LT:
        return order < 0;
    case TRACEQL_LE:
        return order <= 0;
    case TRACEQL_GT:
        return order > 0;
    case TRACEQL_GE:
        return order >= 0;
    default:
        return EVAL_NIL;
    }
}

static enum eval_tri value_compare_numbers(enum traceql_op op, const struct traceql_value *left,
                                           const struct traceql_value *right)
{
    if (left->type != TRACEQL_FLOAT && right->type != TRACEQL_FLOAT)
        return value_ordered(op,
                             (left->integer > right->integer) - (left->integer < right->integer));
    double a = value_number(left), b = value_number(right);
    if (isnan(a) || isnan(b))
        return op == TRACEQL_NE ? EVAL_TRUE : EVAL_FALSE;
    return value_ordered(op, (a > b) - (a < b));
}

static enum eval_tri value_compare_texts(enum traceql_op op, const struct traceql_value *left,
                                         const struct traceql_value *right,
                                         struct regex_matcher *matcher)
{
    if (op != TRACEQL_MATCH && op != TRACEQL_NOT_MATCH)
        return value_ordered(op, fm_slice_compare(left->text, right->text));
    if (!matcher)
        return EVAL_NIL;
    return regex_match(matcher, left->text) == (op == TRACEQL_MATCH) ? EVAL_TRUE : EVAL_FALSE;
}

/* Any element will do; for != and !~ all have to.  Elements of another type satisfy nothing. */
static enum eval_tri value_compare_array(enum traceql_op op, const struct traceql_value *array,
                                         const struct traceql_value *other, bool array_is_left,
                                         struct regex_matcher *matcher)
{
    bool all = op == TRACEQL_NE || op == TRACEQL_NOT_MATCH;
    enum eval_tri outcome = EVAL_NIL;
    for (uint32_t i = 0; i < array->element_count; i++) {
        const struct traceql_value *element = &array->elements[i];
        if (element->type == TRACEQL_ARRAY)
            continue;
        enum eval_tri one = array_is_left ? value_compare(op, element, other, matcher)
                                          : value_compare(op, other, element, matcher);
        if (one == EVAL_NIL)
            continue;
        if ((one == EVAL_TRUE) != all)
            return one;
        outcome = one;
    }
    return outcome;
}

enum eval_tri value_compare(enum traceql_op op, const struct traceql_value *left,
                            const struct traceql_value *right, struct regex_matcher *matcher)
{
    if (left->type == TRACEQL_NIL || right->type == TRACEQL_NIL)
        return EVAL_NIL;
    if (left->type == TRACEQL_ARRAY && right->type == TRACEQL_ARRAY)
        return EVAL_NIL;
    if (left->type == TRACEQL_ARRAY)
        return value_compare_array(op, left, right, true, matcher);
    if (right->type == TRACEQL_ARRAY)
        return value_compare_array(op, right, left, false, matcher);
    if (value_is_numeric(left) && value_is_numeric(right))
        return value_compare_numbers(op, left, right);
    if (left->type != right->type)
        return EVAL_NIL;
    if (left->type == TRACEQL_STRING)
        return value_compare_texts(op, left, right, matcher);
    if (op != TRACEQL_EQ && op != TRACEQL_NE)
        return EVAL_NIL;
    if (left->type == TRACEQL_BOOL)
        return (left->flag == right->flag) == (op == TRACEQL_EQ) ? EVAL_TRUE : EVAL_FALSE;
    return (left->integer == right->integer) == (op == TRACEQL_EQ) ? EVAL_TRUE : EVAL_FALSE;
}

/* ---- arithmetic ---- */

static int64_t value_clamped(double number)
{
    if (isnan(number))
        return 0;
    if (number >= 0x1p63)
        return INT64_MAX;
    return number < -0x1p63 ? INT64_MIN : (int64_t)number;
}

/* Wraps round, as the language the semantics come from does. */
static int value_integers(enum traceql_op op, int64_t a, int64_t b, int64_t *ret_result,
                          struct fm_why *why)
{
    if ((op == TRACEQL_DIV || op == TRACEQL_MOD) && b == 0)
        return fm_fail(why, FM_EMALFORMED,
                       op == TRACEQL_DIV ? "division by zero" : "modulo by zero");
    switch (op) {
    case TRACEQL_ADD:
        *ret_result = (int64_t)((uint64_t)a + (uint64_t)b);
        break;
    case TRACEQL_SUB:
        *ret_result = (int64_t)((uint64_t)a - (uint64_t)b);
        break;
    case TRACEQL_MUL:
        *ret_result = (int64_t)((uint64_t)a * (uint64_t)b);
        break;
    case TRACEQL_DIV:
        *ret_result = b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
        break;
    case TRACEQL_MOD:
        *ret_result = b == -1 ? 0 : a % b;
        break;
    default:
        *ret_result = value_clamped(pow((double)a, (double)b));
        break;
    }
    return FM_OK;
}

static double value_floats(enum traceql_op op, double a, double b)
{
    switch (op) {
    case TRACEQL_ADD:
        return a + b;
    case TRACEQL_SUB:
        return a - b;
    case TRACEQL_MUL:
        return a * b;
    case TRACEQL_DIV:
        return a / b;
    case TRACEQL_MOD:
        return fmod(a, b);
    default:
        return pow(a, b);
    }
}

int value_arithmetic(enum traceql_op op, const struct traceql_value *left,
                     const struct traceql_value *right, struct traceql_value *ret_value,
                     struct fm_why *why)
{
    struct traceql_value value = {.type = TRACEQL_NIL};
    bool duration = left->type == TRACEQL_DURATION || right->type == TRACEQL_DURATION;
    bool exact = op == TRACEQL_ADD || op == TRACEQL_SUB || op == TRACEQL_MUL;
    if (value_is_numeric(left) && value_is_numeric(right)) {
        /* A quotient of durations is a ratio, so it is not cut to an integer. */
        if (left->type == TRACEQL_FLOAT || right->type == TRACEQL_FLOAT || (duration && !exact)) {
            value.type = TRACEQL_FLOAT;
            value.number = value_floats(op, value_number(left), value_number(right));
        } else {
            int rc = value_integers(op, left->integer, right->integer, &value.integer, why);
            if (rc)
                return rc;
            value.type = duration ? TRACEQL_DURATION : TRACEQL_INT;
        }
    }
    *ret_value = value;
    return FM_OK;
}

struct traceql_value value_negate(const struct traceql_value *value)
{
    struct traceql_value negative = *value;
    if (value->type == TRACEQL_FLOAT)
        negative.number = -value->number;
    else if (value_is_numeric(value))
        negative.integer = (int64_t)(0 - (uint64_t)value->integer);
    else
        negative = (struct traceql_value){.type = TRACEQL_NIL};
    return negative;
}

/* ---- stored values, identity ---- */

struct traceql_value value_of_intrinsic(enum traceql_intrinsic intrinsic,
                                        struct traceql_value value)
{
    switch (intrinsic) {
    case TRACEQL_NAME:
    case TRACEQL_STATUS_MESSAGE:
    case TRACEQL_ROOT_NAME:
    case TRACEQL_ROOT_SERVICE:
    case TRACEQL_SCOPE_NAME:
    case TRACEQL_SCOPE_VERSION:
        if (value.type == TRACEQL_NIL)
            value = (struct traceql_value){.type = TRACEQL_STRING, .text = FM_SLICE("")};
        break;
    case TRACEQL_TRACE_ID:
    case TRACEQL_LINK_TRACE_ID:
        while (value.type == TRACEQL_STRING && value.text.len && value.text.ptr[0] == '0')
            value.text = fm_slice(value.text.ptr + 1, value.text.len - 1);
        break;
    default:
        break;
    }
    return value;
}

static uint64_t value_hash_one(const struct traceql_value *value, uint64_t seed)
{
    switch (value->type) {
    case TRACEQL_STRING:
        return fm_hash64(value->text, seed + TRACEQL_STRING);
    case TRACEQL_FLOAT:
        return fm_hash64(fm_slice(&value->number, sizeof value->number), seed + TRACEQL_FLOAT);
    case TRACEQL_BOOL:
        return seed + 2 * TRACEQL_BOOL + value->flag;
    case TRACEQL_NIL:
    case TRACEQL_UNKNOWN:
    case TRACEQL_ARRAY:
        return seed;
    default:
        return fm_hash64(fm_slice(&value->integer, sizeof value->integer), seed + value->type);
    }
}

uint64_t value_hash(const struct traceql_value *value)
{
    uint64_t hash = value_hash_one(value, value->element_count);
    for (uint32_t i = 0; value->type == TRACEQL_ARRAY && i < value->element_count; i++)
        hash = value_hash_one(&value->elements[i], hash * UINT64_C(0x9e3779b97f4a7c15) + i);
    return hash;
}

static bool value_same_one(const struct traceql_value *a, const struct traceql_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case TRACEQL_STRING:
        return fm_slice_equal(a->text, b->text);
    case TRACEQL_FLOAT:
        return memcmp(&a->number, &b->number, sizeof a->number) == 0;
    case TRACEQL_BOOL:
        return a->flag == b->flag;
    case TRACEQL_NIL:
    case TRACEQL_UNKNOWN:
    case TRACEQL_ARRAY:
        return true;
    default:
        return a->integer == b->integer;
    }
}

bool value_same(const struct traceql_value *a, const struct traceql_value *b)
{
    if (!value_same_one(a, b))
        return false;
    if (a->type != TRACEQL_ARRAY)
        return true;
    if (a->element_count != b->element_count)
        return false;
    for (uint32_t i = 0; i < a->element_count; i++)
        if (!value_same_one(&a->elements[i], &b->elements[i]))
            return false;
    return true;
}
