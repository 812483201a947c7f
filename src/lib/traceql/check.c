/* SPDX-License-Identifier: Apache-2.0 */
/* What parses and yet makes no sense, said in the words that users of Tempo know. */
#include "internal.h"

#include <stdio.h>

#include "fermata/regex.h"

#define CHECK_GROUPS_MAX 5 /* fields of by() behind a function over time */

struct check {
    struct fm_why *why;
    struct fm_buf text; /* of the part that is wrong */
    struct print print;
};

/* The text of the part goes behind "what: "; it was printed before. */
static int check_refuse(struct check *check, const char *what)
{
    int len = (int)FM_MIN(check->text.len, sizeof check->why->text);

    return fm_fail(check->why, FM_EMALFORMED, "%s: %.*s", what, len,
                   check->text.len ? (const char *)check->text.ptr : "");
}

static int check_refuse_expression(struct check *check, const char *what,
                                   const struct traceql_expression *expression)
{
    print_expression(&check->print, expression);
    return check_refuse(check, what);
}

static int check_field(const struct traceql_field *field, struct fm_why *why)
{
    if (field->of_parent)
        return fm_fail(why, FM_EMALFORMED, "parent not yet supported");
    if (field->intrinsic == TRACEQL_PARENT)
        return fm_fail(why, FM_EMALFORMED, "intrinsic (parent) not yet supported");
    return FM_OK;
}

static int check_pattern(struct check *check, const struct traceql_expression *right)
{
    struct regex *regex;
    struct fm_why problem = {""};

    if (right->kind != TRACEQL_LITERAL || right->value.type != TRACEQL_STRING)
        return check_refuse_expression(check, "invalid type for =~ or !~", right);
    int rc = regex_new(&regex, right->value.text, &regex_limits_default, &problem);
    if (rc == FM_EMALFORMED)
        return check_refuse_expression(check, "invalid regex", right);
    if (rc < 0)
        return fm_fail(check->why, rc, "regex: %s", problem.text);
    (void)regex_free(regex);
    return FM_OK;
}

/* The operands were checked. */
static int check_binary(struct check *check, const struct traceql_expression *expression)
{
    enum traceql_type left = type_of(expression->left), right = type_of(expression->right);

    if (!type_matches(left, right))
        return check_refuse_expression(check, "binary operations must operate on the same type",
                                       expression);
    if (!type_allows(expression->op, left) || !type_allows(expression->op, right))
        return check_refuse_expression(check, "illegal operation for the given types", expression);
    if (expression->op == TRACEQL_MATCH || expression->op == TRACEQL_NOT_MATCH)
        return check_pattern(check, expression->right);
    return FM_OK;
}

static int check_unary(struct check *check, const struct traceql_expression *expression)
{
    const struct traceql_expression *operand = expression->left;
    enum traceql_type type = type_of(operand);

    if (expression->op == TRACEQL_NOT_EXISTS && operand->kind == TRACEQL_FIELD) {
        bool intrinsic = operand->field.intrinsic != TRACEQL_ATTRIBUTE;
        if (intrinsic || (operand->field.scope == TRACEQL_RESOURCE &&
                          fm_slice_equal_text(operand->field.name, "service.name"))) {
            traceql_print_field(&operand->field, &check->text);
            return fm_fail(check->why, FM_EMALFORMED,
                           "%.*s=nil is not valid because %s cannot be nil", (int)check->text.len,
                           check->text.len ? (const char *)check->text.ptr : "",
                           intrinsic ? "intrinsics" : "resource.service.name");
        }
    }
    bool legal = type == TRACEQL_UNKNOWN || expression->op == TRACEQL_EXISTS ||
                 expression->op == TRACEQL_NOT_EXISTS ||
                 (expression->op == TRACEQL_NOT ? type == TRACEQL_BOOL : type_is_number(type));
    return legal
               ? FM_OK
               : check_refuse_expression(check, "illegal operation for the given type", expression);
}

static int check_expression(struct check *check, const struct traceql_expression *expression);

/* From the left end: its first operand, then each right operand and the operation on it. */
static int check_chain(struct check *check, const struct traceql_expression *top)
{
    struct fm_buf nodes;
    int rc = FM_OK;

    fm_buf_init(&nodes, SIZE_MAX / 2);
    size_t count = print_chain(top, &nodes);
    if (!count)
        rc = fm_fail(check->why, FM_ENOMEM, "%s", fm_rc_text(FM_ENOMEM));
    for (size_t i = count; i-- > 0 && !rc;) {
        const struct traceql_expression *node = print_chain_at(&nodes, i);
        if (i + 1 == count)
            rc = check_expression(check, node->left);
        if (!rc)
            rc = check_expression(check, node->right);
        if (!rc)
            rc = check_binary(check, node);
    }
    fm_buf_fini(&nodes);
    return rc;
}

static int check_expression(struct check *check, const struct traceql_expression *expression)
{
    int rc;

    switch (expression->kind) {
    case TRACEQL_LITERAL:
        return FM_OK;
    case TRACEQL_FIELD:
        return check_field(&expression->field, check->why);
    case TRACEQL_UNARY:
        rc = check_expression(check, expression->left);
        return rc ? rc : check_unary(check, expression);
    default:
        if (print_is_chain(expression))
            return check_chain(check, expression);
        rc = check_expression(check, expression->left);
        if (!rc)
            rc = check_expression(check, expression->right);
        return rc ? rc : check_binary(check, expression);
    }
}

static bool check_has_field(const struct traceql_expression *expression)
{
    for (; expression->kind == TRACEQL_UNARY || expression->kind == TRACEQL_BINARY;
         expression = expression->left) {
        if (expression->kind == TRACEQL_BINARY && check_has_field(expression->right))
            return true;
    }
    return expression->kind == TRACEQL_FIELD;
}

/* ---- scalars ---- */

static enum traceql_type check_type_of_scalar(const struct traceql_scalar *scalar)
{
    for (;;) {
        enum traceql_type left;
        switch (scalar->kind) {
        case TRACEQL_SCALAR_LITERAL:
            return scalar->value.type;
        case TRACEQL_SCALAR_ARITHMETIC:
            left = check_type_of_scalar(scalar->left);
            if (left != TRACEQL_UNKNOWN)
                return left;
            scalar = scalar->right;
            break;
        default:
            return scalar->expression ? type_of(scalar->expression) : TRACEQL_INT;
        }
    }
}

static int check_pipeline(struct check *check, const struct traceql_stage *first);

static int check_aggregate(struct check *check, const struct traceql_scalar *scalar)
{
    const struct traceql_expression *expression = scalar->expression;

    if (!expression)
        return FM_OK;
    int rc = check_expression(check, expression);
    if (rc)
        return rc;
    enum traceql_type type = type_of(expression);
    bool number = type == TRACEQL_UNKNOWN || type_is_number(type);
    if (number && check_has_field(expression))
        return FM_OK;
    struct traceql_scalar bare = *scalar;
    bare.kind = TRACEQL_SCALAR_AGGREGATE; /* without the pipeline before it */
    print_scalar(&check->print, &bare);
    return check_refuse(check, number
                                   ? "aggregate field expressions must reference the span"
                                   : "aggregate field expressions must resolve to a number type");
}

/* What an operator joins: "X op Y" in check->text is printed by the caller's print. */
static const char *check_operands(enum traceql_op op, enum traceql_type left,
                                  enum traceql_type right)
{
    if (!type_matches(left, right))
        return "binary operations must operate on the same type";
    if (!type_allows(op, left) || !type_allows(op, right))
        return "illegal operation for the given types";
    return NULL;
}

static int check_scalar(struct check *check, const struct traceql_scalar *scalar)
{
    int rc;

    switch (scalar->kind) {
    case TRACEQL_SCALAR_LITERAL:
        return FM_OK;
    case TRACEQL_SCALAR_PIPELINE:
        rc = check_pipeline(check, scalar->first);
        return rc ? rc : check_aggregate(check, scalar);
    case TRACEQL_SCALAR_AGGREGATE:
        return check_aggregate(check, scalar);
    default:
        rc = check_scalar(check, scalar->left);
        if (!rc)
            rc = check_scalar(check, scalar->right);
        if (rc)
            return rc;
    }
    const char *problem = check_operands(scalar->op, check_type_of_scalar(scalar->left),
                                         check_type_of_scalar(scalar->right));
    if (!problem)
        return FM_OK;
    print_scalar(&check->print, scalar);
    return check_refuse(check, problem);
}

static int check_scalar_filter(struct check *check, const struct traceql_stage *stage)
{
    int rc = check_scalar(check, stage->left_scalar);

    if (!rc)
        rc = check_scalar(check, stage->right_scalar);
    if (rc)
        return rc;
    const char *problem = check_operands(stage->op, check_type_of_scalar(stage->left_scalar),
                                         check_type_of_scalar(stage->right_scalar));
    if (problem) {
        print_stage(&check->print, stage);
        return check_refuse(check, problem);
    }
    if (stage->left_scalar->kind != TRACEQL_SCALAR_AGGREGATE)
        return fm_fail(check->why, FM_EMALFORMED,
                       "scalar filter lhs of type (%%v) not yet supported");
    if (stage->right_scalar->kind != TRACEQL_SCALAR_LITERAL)
        return fm_fail(check->why, FM_EMALFORMED,
                       "scalar filter rhs of type (%%v) not yet supported");
    return FM_OK;
}

/* ---- stages ---- */

static int check_filter(struct check *check, const struct traceql_expression *expression)
{
    if (!expression)
        return FM_OK;
    int rc = check_expression(check, expression);
    if (rc)
        return rc;
    enum traceql_type type = type_of(expression);
    if (type == TRACEQL_BOOL || type == TRACEQL_UNKNOWN)
        return FM_OK;
    fm_buf_puts(&check->text, "{ ");
    print_expression(&check->print, expression);
    fm_buf_puts(&check->text, " }");
    return check_refuse(check, "span filter field expressions must resolve to a boolean");
}

static int check_group(struct check *check, const struct traceql_stage *stage)
{
    if (check_has_field(stage->expression))
        return check_expression(check, stage->expression);
    print_stage(&check->print, stage);
    return check_refuse(check, "grouping field expressions must reference the span");
}

static int check_stage(struct check *check, const struct traceql_stage *stage)
{
    int rc = FM_OK;

    switch (stage->kind) {
    case TRACEQL_FILTER:
        return check_filter(check, stage->expression);
    case TRACEQL_OPERATION:
        rc = check_stage(check, stage->left);
        return rc ? rc : check_stage(check, stage->right);
    case TRACEQL_PIPELINE:
        return check_pipeline(check, stage->first);
    case TRACEQL_GROUP:
        return check_group(check, stage);
    case TRACEQL_COALESCE:
        return FM_OK;
    case TRACEQL_SELECT:
        for (uint32_t i = 0; i < stage->field_count && !rc; i++)
            rc = check_field(&stage->fields[i], check->why);
        return rc;
    default:
        return check_scalar_filter(check, stage);
    }
}

static int check_pipeline(struct check *check, const struct traceql_stage *first)
{
    int rc = FM_OK;

    for (const struct traceql_stage *stage = first; stage && !rc; stage = stage->next)
        rc = check_stage(check, stage);
    return rc;
}

/* ---- metrics ---- */

static int check_compare(struct check *check, const struct traceql_query *query)
{
    int rc = check_filter(check, query->selection);
    const char *problem = NULL;

    if (rc)
        return rc;
    int64_t start = query->compare_start_ns, end = query->compare_end_ns;
    if (query->compare_top <= 0)
        problem = "compare() top number of values must be integer greater than 0";
    else if ((start || end) && (start <= 0 || end <= 0))
        problem = "compare() timestamps must be positive integer unix nanoseconds";
    else if ((start || end) && end <= start)
        problem = "compare() end timestamp must be greater than start timestamp";
    return problem ? fm_fail(check->why, FM_EMALFORMED, "%s", problem) : FM_OK;
}

static int check_metrics(struct check *check, const struct traceql_query *query)
{
    bool buckets = query->metrics == TRACEQL_AVG_OVER_TIME ||
                   query->metrics == TRACEQL_QUANTILE_OVER_TIME ||
                   query->metrics == TRACEQL_HISTOGRAM_OVER_TIME;
    uint32_t max = CHECK_GROUPS_MAX - buckets;

    if (query->metrics == TRACEQL_COMPARE)
        return check_compare(check, query);
    if (query->by_count > max)
        return fm_fail(check->why, FM_EMALFORMED, "metrics group by %u values not yet supported",
                       query->by_count);
    for (uint32_t i = 0; i < query->quantile_count; i++) {
        if (query->quantiles[i] >= 0 && query->quantiles[i] <= 1)
            continue;
        return fm_fail(check->why, FM_EMALFORMED, "quantile must be between 0 and 1: %g",
                       query->quantiles[i]);
    }
    int rc = check_field(&query->of, check->why);
    for (uint32_t i = 0; i < query->by_count && !rc; i++)
        rc = check_field(&query->by[i], check->why);
    return rc;
}

static int check_query(struct check *check, const struct traceql_query *query)
{
    int rc = check_pipeline(check, query->first);

    if (!rc && query->metrics != TRACEQL_NO_METRICS)
        rc = check_metrics(check, query);
    for (const struct traceql_second *second = query->seconds; second && !rc; second = second->next)
        if (second->kind != TRACEQL_THRESHOLD && second->limit <= 0)
            rc = fm_fail(check->why, FM_EMALFORMED, "limit must be greater than 0");
    if (!rc && query->metrics == TRACEQL_COMPARE && query->seconds)
        rc = fm_fail(check->why, FM_EMALFORMED,
                     "`compare()` cannot be used with second stage functions");
    return rc;
}

int traceql_check(const struct traceql_query *query, struct fm_why *why)
{
    struct check check = {.why = why};

    fm_buf_init(&check.text, FM_KIB(1024));
    check.print = (struct print){.out = &check.text, .wrapped = true};
    int rc = check_query(&check, query);
    fm_buf_fini(&check.text);
    return rc;
}
