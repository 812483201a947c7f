/* SPDX-License-Identifier: Apache-2.0 */
/* traceql_tree - what a TraceQL query is once it is read.  Part of traceql.  All lives in the arena
 * of the parse; nothing here owns anything.  Normal forms: a literal compared with something stands
 * right (1 < .a is .a > 1); operations on literals alone are done, unless they fail, overflow or
 * are a match; x = nil is NOT_EXISTS; ids of traces lose leading zeros; a filter that is true has
 * no expression.  Depth is limited, but for chains of && and ||, which grow to the left. */
#ifndef FERMATA_TRACEQL_TREE_H
#define FERMATA_TRACEQL_TREE_H

#include "fermata/base.h"

enum traceql_type {
    TRACEQL_NIL,
    TRACEQL_INT,
    TRACEQL_FLOAT,
    TRACEQL_STRING,
    TRACEQL_BOOL,
    TRACEQL_DURATION, /* ns */
    TRACEQL_STATUS,   /* OTLP's numbers: 0 unset, 1 ok, 2 error */
    TRACEQL_KIND,     /* OTLP's numbers */
    TRACEQL_ARRAY,    /* only stored values: two elements or more, of one type */
    TRACEQL_UNKNOWN,  /* of an attribute, before its value is seen */
};
struct traceql_value {
    enum traceql_type type;
    uint32_t element_count; /* ARRAY */
    union {
        int64_t integer; /* INT, DURATION, STATUS, KIND */
        double number;   /* FLOAT */
        bool flag;       /* BOOL */
        struct fm_slice text;
        const struct traceql_value *elements; /* INT, FLOAT, BOOL or STRING each */
    };
};

/* clang-format off */
enum traceql_scope { /* of an attribute */
    TRACEQL_ANY_SCOPE, TRACEQL_SPAN, TRACEQL_RESOURCE, TRACEQL_EVENT, TRACEQL_LINK,
    TRACEQL_INSTRUMENTATION,
};
/* clang-format on */
/* Canonical name, its type. */
#define TRACEQL_INTRINSICS(X)                                                                      \
    X(SPAN_DURATION, "duration", TRACEQL_DURATION)                                                 \
    X(NAME, "name", TRACEQL_STRING)                                                                \
    X(STATUS_CODE, "status", TRACEQL_STATUS)                                                       \
    X(STATUS_MESSAGE, "statusMessage", TRACEQL_STRING)                                             \
    X(SPAN_KIND, "kind", TRACEQL_KIND)                                                             \
    X(SPAN_ID, "span:id", TRACEQL_STRING)                                                          \
    X(PARENT_ID, "span:parentID", TRACEQL_STRING)                                                  \
    X(CHILD_COUNT, "span:childCount", TRACEQL_INT)                                                 \
    X(TRACE_DURATION, "traceDuration", TRACEQL_DURATION)                                           \
    X(ROOT_NAME, "rootName", TRACEQL_STRING)                                                       \
    X(ROOT_SERVICE, "rootServiceName", TRACEQL_STRING)                                             \
    X(TRACE_ID, "trace:id", TRACEQL_STRING)                                                        \
    X(EVENT_NAME, "event:name", TRACEQL_STRING)                                                    \
    X(EVENT_TIME, "event:timeSinceStart", TRACEQL_DURATION)                                        \
    X(LINK_TRACE_ID, "link:traceID", TRACEQL_STRING)                                               \
    X(LINK_SPAN_ID, "link:spanID", TRACEQL_STRING)                                                 \
    X(SCOPE_NAME, "instrumentation:name", TRACEQL_UNKNOWN)                                         \
    X(SCOPE_VERSION, "instrumentation:version", TRACEQL_UNKNOWN)                                   \
    X(NESTED_LEFT, "nestedSetLeft", TRACEQL_INT)                                                   \
    X(NESTED_RIGHT, "nestedSetRight", TRACEQL_INT)                                                 \
    X(NESTED_PARENT, "nestedSetParent", TRACEQL_INT)                                               \
    X(PARENT, "parent", TRACEQL_NIL)                                                               \
    /* the engine's own: no text says them */                                                      \
    X(SPAN_START, "", TRACEQL_INT)                                                                 \
    X(TRACE_START, "", TRACEQL_INT)
enum traceql_intrinsic {
    TRACEQL_ATTRIBUTE, /* none: scope and name say which */
#define X(name, text, type) TRACEQL_##name,
    TRACEQL_INTRINSICS(X)
#undef X
};
struct traceql_field {
    enum traceql_intrinsic intrinsic;
    enum traceql_scope scope;
    bool of_parent; /* parent.x: parses, fails the check */
    struct fm_slice name;
};

enum traceql_op {
    TRACEQL_ADD,
    TRACEQL_SUB,
    TRACEQL_MUL,
    TRACEQL_DIV,
    TRACEQL_MOD,
    TRACEQL_POW,
    TRACEQL_EQ,
    TRACEQL_NE,
    TRACEQL_MATCH,
    TRACEQL_NOT_MATCH,
    TRACEQL_GT,
    TRACEQL_GE,
    TRACEQL_LT,
    TRACEQL_LE,
    TRACEQL_AND,
    TRACEQL_OR,
    TRACEQL_NOT, /* unary, as the next three */
    TRACEQL_NEGATE,
    TRACEQL_EXISTS,     /* x != nil */
    TRACEQL_NOT_EXISTS, /* x = nil */
    /* between spansets, beside AND and OR; each has a ! and a & form */
    TRACEQL_CHILD,
    TRACEQL_DESCENDANT,
    TRACEQL_PARENT_OF,
    TRACEQL_ANCESTOR,
    TRACEQL_SIBLING,
};

enum traceql_expression_kind {
    TRACEQL_LITERAL,
    TRACEQL_FIELD,
    TRACEQL_UNARY, /* operand in left */
    TRACEQL_BINARY,
};
struct traceql_expression {
    enum traceql_expression_kind kind;
    enum traceql_op op;
    struct traceql_value value;
    struct traceql_field field;
    struct traceql_expression *left, *right;
};

enum traceql_stage_kind {
    TRACEQL_FILTER,    /* expression; NULL: {} */
    TRACEQL_OPERATION, /* op, relation, left, right: stages or pipelines */
    TRACEQL_PIPELINE,  /* first: a parenthesised pipeline as an operand */
    TRACEQL_GROUP,     /* by(expression) */
    TRACEQL_COALESCE,
    TRACEQL_SELECT, /* fields */
    TRACEQL_SCALAR, /* left_scalar op right_scalar */
};
enum traceql_relation { TRACEQL_PLAIN, TRACEQL_NEGATED, TRACEQL_UNION }; /* > !> &> */
enum traceql_aggregate { TRACEQL_COUNT, TRACEQL_MIN, TRACEQL_MAX, TRACEQL_AVG, TRACEQL_SUM };
enum traceql_scalar_kind {
    TRACEQL_SCALAR_LITERAL,
    TRACEQL_SCALAR_AGGREGATE,
    TRACEQL_SCALAR_ARITHMETIC,
    TRACEQL_SCALAR_PIPELINE, /* parses, fails the check */
};
struct traceql_stage;
struct traceql_scalar {
    enum traceql_scalar_kind kind;
    struct traceql_value value;
    enum traceql_aggregate aggregate;
    struct traceql_expression *expression; /* NULL: count() */
    enum traceql_op op;
    struct traceql_scalar *left, *right;
    struct traceql_stage *first;
};
struct traceql_stage {
    enum traceql_stage_kind kind;
    struct traceql_expression *expression;
    enum traceql_op op;
    enum traceql_relation relation;
    struct traceql_stage *left, *right, *first;
    struct traceql_field *fields;
    uint32_t field_count;
    struct traceql_scalar *left_scalar, *right_scalar;
    struct traceql_stage *next; /* in the pipeline */
};

/* clang-format off */
enum traceql_metrics_kind {
    TRACEQL_NO_METRICS, TRACEQL_RATE, TRACEQL_COUNT_OVER_TIME, TRACEQL_MIN_OVER_TIME,
    TRACEQL_MAX_OVER_TIME, TRACEQL_AVG_OVER_TIME, TRACEQL_SUM_OVER_TIME,
    TRACEQL_QUANTILE_OVER_TIME, TRACEQL_HISTOGRAM_OVER_TIME, TRACEQL_COMPARE,
};
/* clang-format on */
enum traceql_second_kind { TRACEQL_TOPK, TRACEQL_BOTTOMK, TRACEQL_THRESHOLD };
struct traceql_second { /* a second stage */
    enum traceql_second_kind kind;
    int64_t limit;
    enum traceql_op op;
    struct traceql_value value;
    struct traceql_second *next;
};
struct traceql_hint {
    struct fm_slice name;
    struct traceql_value value;
    struct traceql_hint *next;
};

struct traceql_query {
    struct traceql_stage *first;
    enum traceql_metrics_kind metrics;
    struct traceql_field of; /* what the function is over */
    struct traceql_field *by;
    uint32_t by_count;
    double *quantiles;
    uint32_t quantile_count;
    struct traceql_expression *selection; /* compare() */
    int64_t compare_top, compare_start_ns, compare_end_ns;
    bool compare_has_range;
    struct traceql_second *seconds;
    struct traceql_hint *hints;
};

#endif
