/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of one field against a literal, over whole vectors.
 *
 * A vector of codes: the test is put to each distinct value once, which gives a table of truth that
 * grows with the table of values and is kept from frame to frame.  A vector of integers: the test
 * is a range.  Either way what is left is a loop over bytes. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

#define TEST_UNKNOWN 2 /* in a table of truth */

bool test_holds(const struct eval_test *test, enum traceql_intrinsic intrinsic,
                const struct traceql_value *stored, struct regex_matcher *matcher)
{
    struct traceql_value value = value_of_intrinsic(intrinsic, *stored);
    if (test->op == TRACEQL_EXISTS)
        return value.type != TRACEQL_NIL;
    if (test->op == TRACEQL_NOT_EXISTS)
        return value.type == TRACEQL_NIL;
    return value_compare(test->op, &value, &test->value, matcher) ==
           (test->negated ? EVAL_FALSE : EVAL_TRUE);
}

int test_value(struct eval_run *run, const struct eval_node *node,
               const struct traceql_value *value, uint8_t *ret_holds)
{
    *ret_holds = 0;
    for (; node && !*ret_holds; node = node->also) {
        struct regex_matcher *matcher = NULL;
        int rc = FM_OK;
        if (node->test.regex != EVAL_NONE)
            rc = run_matcher(run, node->test.regex, &matcher);
        if (rc)
            return rc;
        *ret_holds = test_holds(&node->test, node->ref.intrinsic, value, matcher);
    }
    return FM_OK;
}

/* New values of the table.  Where it has many more than there are entries to look at (one table may
 * serve all fields of a source), what they are is found out when an entry says them. */
static int test_truth_extend(struct eval_run *run, const struct eval_node *node,
                             struct eval_truth *truth, const struct frame_values *values,
                             uint32_t entries)
{
    uint32_t from = truth->count, to = values->count;
    int rc = run_grow(run, &truth->bytes, &truth->cap, to);
    if (rc || from == to)
        return rc;
    truth->count = to;
    if (to - from > 2 * (uint64_t)entries + 256) {
        memset(truth->bytes + from, TEST_UNKNOWN, to - from);
        truth->has_unknown = true;
        return FM_OK;
    }
    for (uint32_t i = from; i < to && !rc; i++)
        rc = test_value(run, node, &values->values[i], &truth->bytes[i]);
    return rc;
}

/* The truth of every value that an entry with bytes says. */
static int test_truth(struct eval_run *run, const struct eval_node *node, uint32_t which,
                      const struct frame_vector *vector, const uint8_t *bytes,
                      const uint8_t **ret_truth)
{
    const struct frame_values *values = vector->values;
    struct eval_truth *truth = &run->truths[node->truth + which];
    if (truth->serial != values->serial) {
        truth->count = 0;
        truth->has_unknown = false;
    }
    truth->serial = values->serial;
    int rc = test_truth_extend(run, node, truth, values, vector->count);
    for (uint32_t i = 0; i < vector->count && truth->has_unknown && !rc; i++) {
        uint8_t *known = &truth->bytes[vector->codes[i]];
        if (bytes[i] && *known == TEST_UNKNOWN)
            rc = test_value(run, node, &values->values[vector->codes[i]], known);
    }
    if (rc) {
        truth->count = 0;
        return rc;
    }
    *ret_truth = truth->bytes;
    return FM_OK;
}

/* ---- ranges ---- */

struct test_range { /* x in [low, high], or not: flip is 1 */
    int64_t low, high;
    uint8_t flip;
};
static const struct test_range test_none = {1, 0, 0};

static struct test_range test_range_integer(enum traceql_op op, int64_t value)
{
    switch (op) {
    case TRACEQL_EQ:
        return (struct test_range){value, value, 0};
    case TRACEQL_NE:
        return (struct test_range){value, value, 1};
    case TRACEQL_LE:
        return (struct test_range){INT64_MIN, value, 0};
    case TRACEQL_GT:
        return (struct test_range){INT64_MIN, value, 1};
    case TRACEQL_GE:
        return (struct test_range){value, INT64_MAX, 0};
    case TRACEQL_LT:
        return (struct test_range){value, INT64_MAX, 1};
    default:
        return test_none;
    }
}

static struct test_range test_range_float(enum traceql_op op, double value)
{
    struct test_range range = test_none;
    bool whole = value == floor(value);
    if (isnan(value)) {
        range.flip = op == TRACEQL_NE;
    } else if (op == TRACEQL_EQ || op == TRACEQL_NE) {
        if (whole && value >= -0x1p63 && value < 0x1p63)
            return test_range_integer(op, (int64_t)value);
        range.flip = op == TRACEQL_NE;
    } else if (value >= 0x1p63 || value < -0x1p63) {
        bool below = op == TRACEQL_LT || op == TRACEQL_LE;
        range.flip = below == (value > 0);
    } else if (op == TRACEQL_LE || op == TRACEQL_GT) {
        return test_range_integer(op, (int64_t)floor(value));
    } else { /* < 1.5 is < 2 among integers; 2^63 is no integer of 64 bits */
        double up = ceil(value);
        range.flip = op == TRACEQL_LT;
        return up >= 0x1p63 ? range : test_range_integer(op, (int64_t)up);
    }
    return range;
}

static struct test_range test_range(const struct eval_test *test, enum traceql_type type)
{
    const struct traceql_value *value = &test->value;
    bool numeric = type == TRACEQL_INT || type == TRACEQL_DURATION;
    struct test_range range = test_none;
    if (test->op == TRACEQL_EXISTS || test->op == TRACEQL_NOT_EXISTS) {
        range.flip = test->op == TRACEQL_EXISTS;
        return range;
    }
    if (test->op == TRACEQL_MATCH || test->op == TRACEQL_NOT_MATCH)
        return range;
    if (numeric ? !value_is_numeric(value) : value->type != type)
        return range;
    if (!numeric && test->op != TRACEQL_EQ && test->op != TRACEQL_NE)
        return range;
    if (value->type == TRACEQL_FLOAT)
        range = test_range_float(test->op, value->number);
    else
        range = test_range_integer(test->op, value->integer);
    range.flip ^= test->negated;
    return range;
}

static void test_and_range(uint8_t *restrict bytes, const int64_t *restrict integers,
                           uint32_t count, struct test_range range)
{
    for (uint32_t i = 0; i < count; i++)
        bytes[i] &=
            (uint8_t)((integers[i] >= range.low) & (integers[i] <= range.high)) ^ range.flip;
}

static void test_and_codes(uint8_t *restrict bytes, const uint32_t *restrict codes, uint32_t count,
                           const uint8_t *restrict truth)
{
    for (uint32_t i = 0; i < count; i++)
        bytes[i] &= truth[codes[i]];
}

/* ---- vectors ---- */

static int test_integers(struct eval_run *run, const struct eval_node *node,
                         const struct frame_vector *vector, uint8_t *bytes)
{
    uint32_t count = vector->count;
    if (!node->also) {
        test_and_range(bytes, vector->integers, count, test_range(&node->test, vector->type));
        return FM_OK;
    }
    uint8_t *any = run_alloc(run, count, 2), *one = any ? any + count : NULL;
    if (!any)
        return run->rc;
    memset(any, 0, count);
    for (; node; node = node->also) {
        memset(one, 1, count);
        test_and_range(one, vector->integers, count, test_range(&node->test, vector->type));
        for (uint32_t i = 0; i < count; i++)
            any[i] |= one[i];
    }
    for (uint32_t i = 0; i < count; i++)
        bytes[i] &= any[i];
    return FM_OK;
}

/* bytes, one for each entry of the vector, are narrowed. */
static int test_vector(struct eval_run *run, const struct eval_node *node, uint32_t which,
                       const struct frame_vector *vector, uint8_t *bytes)
{
    static const struct traceql_value nil = {.type = TRACEQL_NIL};
    const uint8_t *truth;
    uint8_t holds;
    int rc;
    switch (vector->shape) {
    case FRAME_ABSENT:
        rc = test_value(run, node, &nil, &holds);
        if (!rc && !holds)
            memset(bytes, 0, vector->count);
        return rc;
    case FRAME_INTEGERS:
        return test_integers(run, node, vector, bytes);
    case FRAME_CODES:
        break;
    }
    rc = test_truth(run, node, which, vector, bytes, &truth);
    if (rc)
        return rc;
    test_and_codes(bytes, vector->codes, vector->count, truth);
    return FM_OK;
}

static int test_ones(struct eval_run *run, uint32_t count, uint8_t **ret_bytes)
{
    uint8_t *bytes = run_alloc(run, count, 1);
    if (!bytes)
        return run->rc;
    memset(bytes, 1, count);
    *ret_bytes = bytes;
    return FM_OK;
}

static void test_spread_traces(const struct frame *frame, const uint8_t *bytes, uint8_t *mask)
{
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++)
        if (!bytes[t])
            memset(mask + frame->trace_spans[t], 0,
                   frame->trace_spans[t + 1] - frame->trace_spans[t]);
}

static int test_run_id(struct eval_run *run, const struct eval_node *node, uint8_t *mask)
{
    const struct frame *frame = &run->frame;
    bool wants_equal = (node->test.op == TRACEQL_EQ) != node->test.negated;
    uint8_t *bytes = run_alloc(run, frame->count[FRAME_TRACE], 1);
    if (!bytes)
        return run->rc;
    for (uint32_t t = 0; t < frame->count[FRAME_TRACE]; t++)
        bytes[t] =
            (node->id_valid && trace_id_equal(&frame->trace_ids[t], &node->id)) == wants_equal;
    test_spread_traces(frame, bytes, mask);
    return FM_OK;
}

/* .x: of the span if it has it, else of its resource. */
static int test_run_unscoped(struct eval_run *run, const struct eval_node *node,
                             const uint8_t *wanted, uint8_t *mask, struct fm_why *why)
{
    const struct frame_vector *own, *of_resource;
    const uint32_t *resources = run->frame.span_resources;
    const uint8_t *truth;
    uint8_t *bytes = NULL;
    int rc = run_load(run, node->ref.index, wanted, &own, why);
    if (!rc && own->shape == FRAME_INTEGERS)
        return test_vector(run, node, 0, own, mask);
    if (!rc)
        rc = run_load(run, node->ref.second, wanted, &of_resource, why);
    if (!rc)
        rc = test_ones(run, run->frame.count[FRAME_RESOURCE], &bytes);
    if (!rc)
        rc = test_vector(run, node, 1, of_resource, bytes);
    if (rc)
        return rc;
    uint32_t count = run->frame.count[FRAME_SPAN];
    if (own->shape == FRAME_ABSENT) {
        test_and_codes(mask, resources, count, bytes);
        return FM_OK;
    }
    rc = test_truth(run, node, 0, own, mask, &truth);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < count; i++)
        mask[i] &= own->codes[i] ? truth[own->codes[i]] : bytes[resources[i]];
    return FM_OK;
}

int test_run(struct eval_run *run, const struct eval_node *node, uint8_t *mask, struct fm_why *why)
{
    const struct frame *frame = &run->frame;
    const struct frame_vector *vector;
    const uint8_t *wanted;
    uint8_t *bytes = NULL;
    if (node->by_id)
        return test_run_id(run, node, mask);
    int rc = run_wanted(run, mask, &wanted);
    if (rc)
        return rc == FM_NONE ? FM_OK : rc;
    if (node->ref.second != EVAL_NONE)
        return test_run_unscoped(run, node, wanted, mask, why);
    rc = run_load(run, node->ref.index, wanted, &vector, why);
    if (rc)
        return rc;
    if (node->ref.domain == FRAME_SPAN)
        return test_vector(run, node, 0, vector, mask);
    rc = test_ones(run, frame->count[node->ref.domain], &bytes);
    if (!rc)
        rc = test_vector(run, node, 0, vector, bytes);
    if (rc)
        return rc;
    if (node->ref.domain == FRAME_TRACE)
        test_spread_traces(frame, bytes, mask);
    else
        test_and_codes(
            mask, node->ref.domain == FRAME_RESOURCE ? frame->span_resources : frame->span_scopes,
            frame->count[FRAME_SPAN], bytes);
    return FM_OK;
}

int test_run_some(struct eval_run *run, const struct eval_node *node, const uint8_t *wanted,
                  uint8_t *bytes, struct fm_why *why)
{
    const struct frame_vector *vector;
    int rc = run_load(run, node->ref.index, wanted, &vector, why);
    return rc ? rc : test_vector(run, node, 0, vector, bytes);
}
