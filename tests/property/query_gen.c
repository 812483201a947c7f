/* SPDX-License-Identifier: Apache-2.0 */
/* Random queries as text, through the forms of the grammar; nearly all pass the checks. */
#include "model.h"

static const char *query_pick(uint64_t *state, const char *const *words, uint32_t count)
{
    return words[model_below(state, count)];
}
#define PICK(state, ...)                                                                           \
    query_pick(state, (const char *const[]){__VA_ARGS__},                                          \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static const char *query_attribute(uint64_t *state)
{
    return PICK(state, ".a", ".b", ".n", "span.a", "span.a", "span.b", "span.n", "span.f",
                "resource.a", "resource.n", "instrumentation.a", "span.none", ".none");
}

static const char *query_literal(uint64_t *state)
{
    return PICK(state, "\"x\"", "\"y\"", "\"xy\"", "\"\"", "0", "1", "2", "-3", "0.5", "1.0",
                "true", "false", "1s");
}

static const char *query_order(uint64_t *state)
{
    return PICK(state, "=", "!=", "<", "<=", ">", ">=", "=", "=");
}

static void query_number(uint64_t *state, struct fm_buf *text, uint32_t depth)
{
    if (depth && model_below(state, 2)) {
        fm_buf_puts(text, "(");
        query_number(state, text, depth - 1);
        fm_buf_printf(text, " %s ", PICK(state, "+", "-", "*"));
        query_number(state, text, depth - 1);
        fm_buf_puts(text, ")");
        return;
    }
    fm_buf_puts(text, PICK(state, "span.n", ".n", "span.f", "resource.n", "1", "2", "0.5", ".a"));
}

static void query_id(uint64_t *state, struct fm_buf *text)
{
    const char *op = PICK(state, "=", "!=", "=");
    switch (model_below(state, 4)) {
    case 0:
        fm_buf_printf(text, "trace:id %s \"%s\"", op,
                      PICK(state, "1", "0003", "70000000000000000000000000000002", "70"));
        return;
    case 1:
        fm_buf_printf(text, "span:id =~ \"0{15}%s\"", PICK(state, "[1-4]", "2", "."));
        return;
    default:
        fm_buf_printf(text, "%s %s \"000000000000000%u\"", PICK(state, "span:id", "span:parentID"),
                      op, model_below(state, 5));
    }
}

/* Numbers of nested sets depend on the order of siblings; what they say does not. */
static void query_tree(uint64_t *state, struct fm_buf *text)
{
    switch (model_below(state, 4)) {
    case 0:
        fm_buf_printf(text, "nestedSetLeft %s 0", PICK(state, ">", "=", "!=", "<="));
        return;
    case 1:
        fm_buf_printf(text, "nestedSetRight - nestedSetLeft %s %s", query_order(state),
                      PICK(state, "1", "3", "5", "0"));
        return;
    default:
        fm_buf_printf(text, "span:childCount %s %u", query_order(state), model_below(state, 3));
    }
}

static void query_comparison(uint64_t *state, struct fm_buf *text)
{
    switch (model_below(state, 23)) {
    case 0:
        fm_buf_printf(text, "name %s %s", PICK(state, "=", "!=", "<", ">="),
                      PICK(state, "\"x\"", "\"xy\""));
        return;
    case 1:
        fm_buf_printf(text, "%s %s \"%s\"",
                      PICK(state, "name", "span.a", ".b", "resource.service.name", "statusMessage",
                           "rootName", "instrumentation:name"),
                      PICK(state, "=~", "!~"), PICK(state, "x", "x.*", "x|y", ".*y", "", "[^x]+"));
        return;
    case 2:
        fm_buf_printf(text, "status %s %s", PICK(state, "=", "!="),
                      PICK(state, "ok", "error", "unset"));
        return;
    case 3:
        fm_buf_printf(text, "kind %s %s", PICK(state, "=", "!="),
                      PICK(state, "server", "client", "internal", "unspecified"));
        return;
    case 4:
        fm_buf_printf(text, "%s %s %s", PICK(state, "duration", "traceDuration"),
                      query_order(state), PICK(state, "100ms", "0", "200ms", "1s", "1e8", "30s"));
        return;
    case 5:
        fm_buf_printf(text, "%s %s nil", query_attribute(state), PICK(state, "=", "!="));
        return;
    case 6:
        fm_buf_puts(text, PICK(state, "nestedSetParent < 0", "nestedSetParent = -1",
                               "nestedSetParent >= 0", "true", "false"));
        return;
    case 7:
        fm_buf_printf(
            text, "%s %s \"%s\"",
            PICK(state, "rootName", "rootServiceName", "resource.service.name", "statusMessage"),
            PICK(state, "=", "!="), PICK(state, "x", "y", ""));
        return;
    case 8:
        query_number(state, text, 2);
        fm_buf_printf(text, " %s ", query_order(state));
        query_number(state, text, 1);
        return;
    case 9:
        fm_buf_printf(text, "%s %s %s", query_attribute(state), query_order(state),
                      query_attribute(state));
        return;
    case 10:
        fm_buf_puts(text, query_attribute(state));
        return;
    case 12:
        query_id(state, text);
        return;
    case 13:
        query_tree(state, text);
        return;
    case 11:
        fm_buf_printf(text, "%s %s %s", PICK(state, "1", "\"x\"", "0.5"), query_order(state),
                      query_attribute(state));
        return;
    default:
        fm_buf_printf(text, "%s %s %s", query_attribute(state), query_order(state),
                      query_literal(state));
        return;
    }
}

static void query_event(uint64_t *state, struct fm_buf *text)
{
    switch (model_below(state, 6)) {
    case 2:
        fm_buf_printf(text, "link:spanID %s \"000000000000000%u\"", PICK(state, "=", "!="),
                      model_below(state, 3));
        return;
    case 3:
        fm_buf_printf(text, "link:traceID %s \"%s\"", PICK(state, "=", "!="),
                      PICK(state, "1", "0003", "70000000000000000000000000000002"));
        return;
    case 0:
        fm_buf_printf(text, "event:name %s \"%s\"", PICK(state, "=", "!=", "=~"),
                      PICK(state, "x", "y"));
        return;
    case 1:
        fm_buf_printf(text, "event:timeSinceStart %s 100ms", query_order(state));
        return;
    default:
        fm_buf_printf(text, "%s %s %s", PICK(state, "event.a", "event.n", "link.a", "link.b"),
                      query_order(state), query_literal(state));
    }
}

static void query_expression(uint64_t *state, struct fm_buf *text, uint32_t depth)
{
    uint32_t draw = model_below(state, 8);
    if (!depth || draw < 3) {
        query_comparison(state, text);
    } else if (draw == 3) {
        fm_buf_puts(text, "!(");
        query_expression(state, text, depth - 1);
        fm_buf_puts(text, ")");
    } else {
        bool bare = draw == 7; /* one level of && and || */
        fm_buf_puts(text, bare ? "" : "(");
        query_expression(state, text, depth - 1);
        fm_buf_puts(text, draw & 1 ? " && " : " || ");
        query_expression(state, text, depth - 1);
        fm_buf_puts(text, bare ? "" : ")");
    }
}

static void query_filter(uint64_t *state, struct fm_buf *text)
{
    uint32_t draw = model_below(state, 10);
    fm_buf_puts(text, "{ ");
    if (draw == 0) {
        fm_buf_puts(text, "}");
        return;
    }
    if (draw < 3) {
        const char *between = PICK(state, " && ", " && ", " || ");
        query_event(state, text);
        for (uint32_t i = model_below(state, 3); i; i--) {
            fm_buf_puts(text, between);
            if (model_below(state, 2))
                query_event(state, text);
            else
                query_comparison(state, text);
        }
    } else {
        query_expression(state, text, model_below(state, 4));
    }
    fm_buf_puts(text, " }");
}

static void query_sets(uint64_t *state, struct fm_buf *text, uint32_t depth)
{
    if (!depth || model_below(state, 2)) {
        query_filter(state, text);
        return;
    }
    fm_buf_puts(text, "(");
    query_sets(state, text, depth - 1);
    fm_buf_printf(text, " %s ",
                  PICK(state, "&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~",
                       "&>", "&>>", "&<", "&<<", "&~"));
    query_sets(state, text, depth - 1);
    fm_buf_puts(text, ")");
}

static void query_scalar(uint64_t *state, struct fm_buf *text)
{
    switch (model_below(state, 3)) {
    case 0:
        fm_buf_printf(text, "count() %s %s", query_order(state), PICK(state, "1", "2", "3", "1.5"));
        return;
    case 1:
        fm_buf_printf(text, "%s(duration) %s %s", PICK(state, "min", "max", "avg", "sum"),
                      query_order(state), PICK(state, "100ms", "0", "250ms"));
        return;
    default:
        fm_buf_printf(text, "%s(%s) %s %s", PICK(state, "min", "max", "avg", "sum"),
                      PICK(state, "span.n", "span.f"), query_order(state),
                      PICK(state, "0", "1", "0.5"));
    }
}

static void query_group(uint64_t *state, struct fm_buf *text)
{
    fm_buf_printf(text, "by(%s)",
                  PICK(state, "span.a", ".b", "name", "kind", "status", "resource.service.name",
                       "span.n", "rootName", "duration", "event:name", "span.n > 0", "span.n + 1",
                       "span:childCount", "trace:id", "traceDuration"));
}

/* Sums of fractions depend on their order in the last digit: then nothing is asked that hangs on
 * it. */
static void query_second(uint64_t *state, struct fm_buf *text, bool is_sum)
{
    if (is_sum)
        fm_buf_printf(text, " %s %s", PICK(state, "<", "<=", ">", ">="),
                      PICK(state, "-0.013", "0.013", "1.003", "213ms"));
    else if (model_below(state, 2))
        fm_buf_printf(text, " | %s(%u)", PICK(state, "topk", "bottomk"), 1 + model_below(state, 3));
    else
        fm_buf_printf(text, " %s %s", query_order(state),
                      PICK(state, "0", "1", "0.1", "2", "100ms"));
}

static void query_compare(uint64_t *state, struct fm_buf *text)
{
    fm_buf_puts(text, " | compare(");
    query_filter(state, text);
    fm_buf_puts(text, ", 100");
    if (model_below(state, 3) == 0)
        fm_buf_printf(
            text, ", %llu, %llu",
            (unsigned long long)(MODEL_BASE + model_below(state, 50) * MODEL_SECOND),
            (unsigned long long)(MODEL_BASE + (50 + model_below(state, 40)) * MODEL_SECOND));
    fm_buf_puts(text, ")");
}

static void query_metrics(uint64_t *state, struct fm_buf *text)
{
    const char *of = PICK(state, "duration", "span.n", "span.f", "traceDuration"), *function;
    bool is_sum = false;
    switch (model_below(state, 7)) {
    case 6:
        query_compare(state, text);
        return;
    case 0:
        fm_buf_puts(text, " | rate()");
        break;
    case 1:
        fm_buf_puts(text, " | count_over_time()");
        break;
    case 2:
        fm_buf_printf(text, " | quantile_over_time(%s, .5, 0.9)", of);
        break;
    case 3:
        fm_buf_printf(text, " | histogram_over_time(%s)", of);
        break;
    default:
        function = PICK(state, "min", "max", "avg", "sum");
        is_sum = function[0] == 'a' || function[0] == 's';
        fm_buf_printf(text, " | %s_over_time(%s)", function, of);
        break;
    }
    if (model_below(state, 2))
        fm_buf_printf(text, " by (%s)",
                      PICK(state, "name", "kind", "status", "span.n", "resource.service.name",
                           "name, span.n", "span.n, span.f", "resource.service.name, status",
                           "span:childCount", "event:name"));
    while (model_below(state, 3) == 0)
        query_second(state, text, is_sum);
}

void question_random(uint64_t *state, bool is_metrics, struct model_question *ret_question)
{
    bool has_window = is_metrics || model_below(state, 2);
    uint64_t start_s = model_below(state, 95), length_s = 1 + model_below(state, 60);
    *ret_question = (struct model_question){
        .step_ns = (5 + model_below(state, 40)) * MODEL_SECOND,
        .instant = model_below(state, 5) == 0,
        .limit = 1 + model_below(state, MODEL_TRACES + 2),
        .spss = 1 + model_below(state, 12),
        .exemplars = model_below(state, 2) * model_below(state, 8),
    };
    if (has_window) {
        ret_question->start_ns = MODEL_BASE + start_s * MODEL_SECOND;
        ret_question->end_ns = ret_question->start_ns + length_s * MODEL_SECOND;
    }
}

/* Two pipelines, each in parentheses, and what relates them.  Sets cannot be related to several,
 * which is an error if it is met: with {} it is. */
static void query_pipelines(uint64_t *state, struct fm_buf *text)
{
    const char *op = PICK(state, "&&", "||", ">", ">>", "~", "!>>", "&>");
    bool relates = op[0] != '|' && strcmp(op, "&&") != 0, groups = model_below(state, 3) == 0;
    for (int side = 0; side < 2; side++) {
        fm_buf_puts(text, side ? " " : "");
        fm_buf_puts(text, side ? op : "");
        fm_buf_puts(text, side ? " (" : "(");
        if (relates && groups)
            fm_buf_puts(text, "{ }");
        else
            query_filter(state, text);
        fm_buf_puts(text, " | ");
        if (groups)
            query_group(state, text);
        else
            query_scalar(state, text);
        fm_buf_puts(text, ")");
    }
}

void query_random(uint64_t *state, struct fm_buf *text)
{
    if (model_below(state, 16) == 0) {
        query_pipelines(state, text);
        return;
    }
    query_sets(state, text, model_below(state, 3));
    for (uint32_t i = model_below(state, 4); i && model_below(state, 2); i--) {
        fm_buf_puts(text, " | ");
        switch (model_below(state, 6)) {
        case 0:
            query_filter(state, text);
            break;
        case 1:
            query_group(state, text);
            break;
        case 2:
            fm_buf_puts(text, "coalesce()");
            break;
        case 3:
            fm_buf_puts(text, PICK(state, "select(span.a, name, resource.service.name)",
                                   "select(.n, event:name, link:spanID)", "select(status)"));
            break;
        default:
            query_scalar(state, text);
            break;
        }
    }
    if (model_below(state, 5) == 0)
        query_metrics(state, text);
    if (model_below(state, 20) == 0)
        fm_buf_puts(text, PICK(state, " with (most_recent=true)", " with (sample=0.1)",
                               " with (exemplars=false, x=1)"));
}
