/* SPDX-License-Identifier: Apache-2.0 */
/* Trees to text that parses to the same tree.  Names are canonical; operands that are operations
 * stand in parentheses, but for chains of && and ||, which would nest without bound. */
#include "internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

/* ---- values ---- */

/* The shortest digits that read back as the same number, with an exponent where it is below -4 or
 * above 20. */
static void print_float(double value, struct fm_buf *out)
{
    char text[40];

    if (!isfinite(value)) {
        fm_buf_puts(out, isnan(value) ? "NaN.0" : value < 0 ? "-Inf.0" : "+Inf.0");
        return;
    }
    int precision = 0;
    do {
        (void)snprintf(text, sizeof text, "%.*e", precision, value);
    } while (strtod(text, NULL) != value && ++precision < 17);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent < -4 || exponent > 20) {
        fm_buf_puts(out, text);
        return;
    }
    (void)snprintf(text, sizeof text, "%.*f", FM_MAX(precision - exponent, 0), value);
    fm_buf_puts(out, text);
    if (!strchr(text, '.'))
        fm_buf_puts(out, ".0");
}

/* A sum of units with their names, as Go prints durations: 1h0m0s, 1.5s, 250ms, 3µs. */
static void print_duration(int64_t ns, struct fm_buf *out)
{
    uint64_t left = ns < 0 ? -(uint64_t)ns : (uint64_t)ns, unit = 1000000000;
    const char *name = "s";

    if (ns < 0)
        fm_buf_put_u8(out, '-');
    if (left && left < unit) {
        name = left < 1000 ? "ns" : left < 1000000 ? "\xc2\xb5s" : "ms";
        unit = left < 1000 ? 1 : left < 1000000 ? 1000 : 1000000;
    }
    uint64_t whole = left / unit, part = left % unit;
    if (unit == 1000000000 && whole >= 3600)
        fm_buf_printf(out, "%" PRIu64 "h", whole / 3600);
    if (unit == 1000000000 && whole >= 60)
        fm_buf_printf(out, "%" PRIu64 "m", whole % 3600 / 60);
    fm_buf_printf(out, "%" PRIu64, unit == 1000000000 ? whole % 60 : whole);
    if (part) {
        char digits[16];
        int len = snprintf(digits, sizeof digits, "%" PRIu64, unit + part);
        while (digits[len - 1] == '0')
            digits[--len] = 0;
        fm_buf_printf(out, ".%s", digits + 1);
    }
    fm_buf_puts(out, name);
}

/* Between backquotes if it can be, else with escapes. */
static void print_string(struct fm_slice text, struct fm_buf *out)
{
    bool raw = fm_utf8_valid_len(text) == text.len;

    for (size_t i = 0; i < text.len && raw; i++)
        raw = text.ptr[i] != '`' && text.ptr[i] != '\r' && text.ptr[i] != 0;
    fm_buf_put_u8(out, raw ? '`' : '"');
    if (raw)
        fm_buf_put_slice(out, text);
    for (size_t i = 0; i < text.len && !raw;) {
        size_t len;
        int32_t ch = lexer_decode(fm_slice(text.ptr + i, text.len - i), &len);
        if (ch == '"' || ch == '\\')
            fm_buf_printf(out, "\\%c", (char)ch);
        else if (ch < ' ')
            fm_buf_printf(out, "\\x%02x", text.ptr[i]);
        else
            fm_buf_put(out, text.ptr + i, len);
        i += len;
    }
    fm_buf_put_u8(out, raw ? '`' : '"');
}

static const char *print_keyword(enum traceql_type type, int64_t number)
{
    static const char *const statuses[] = {"unset", "ok", "error"};
    static const char *const kinds[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};

    if (number < 0 || number >= (type == TRACEQL_STATUS ? 3 : 6))
        return NULL;
    return type == TRACEQL_STATUS ? statuses[number] : kinds[number];
}

static void print_scalar_value(const struct traceql_value *value, struct fm_buf *out)
{
    const char *keyword;

    switch (value->type) {
    case TRACEQL_INT:
        if (value->integer == INT64_MIN)
            fm_buf_puts(out, "minInt"); /* its digits do not parse */
        else
            fm_buf_printf(out, "%" PRId64, value->integer);
        break;
    case TRACEQL_FLOAT:
        print_float(value->number, out);
        break;
    case TRACEQL_STRING:
        print_string(value->text, out);
        break;
    case TRACEQL_BOOL:
        fm_buf_puts(out, value->flag ? "true" : "false");
        break;
    case TRACEQL_DURATION:
        print_duration(value->integer, out);
        break;
    case TRACEQL_STATUS:
    case TRACEQL_KIND:
        keyword = print_keyword(value->type, value->integer);
        if (keyword)
            fm_buf_puts(out, keyword);
        else
            fm_buf_printf(out, "%s(%" PRId64 ")", value->type == TRACEQL_STATUS ? "status" : "kind",
                          value->integer);
        break;
    default:
        fm_buf_puts(out, "nil");
    }
}

void traceql_print_value(const struct traceql_value *value, struct fm_buf *out)
{
    if (value->type != TRACEQL_ARRAY) {
        print_scalar_value(value, out);
        return;
    }
    fm_buf_put_u8(out, '[');
    for (uint32_t i = 0; i < value->element_count; i++) {
        if (i)
            fm_buf_puts(out, ", ");
        print_scalar_value(&value->elements[i], out);
    }
    fm_buf_put_u8(out, ']');
}

/* ---- fields ---- */

static bool print_name_is_bare(const struct traceql_field *field)
{
    struct fm_slice name = field->name;
    bool no_scope = field->scope == TRACEQL_ANY_SCOPE;

    if (!name.len || (no_scope && !field->of_parent && name.ptr[0] >= '0' && name.ptr[0] <= '9'))
        return false;
    /* Would be read as a second scope. */
    if (no_scope && field->of_parent &&
        ((name.len >= 5 && !memcmp(name.ptr, "span.", 5)) ||
         (name.len >= 9 && !memcmp(name.ptr, "resource.", 9))))
        return false;
    for (size_t i = 0, len; i < name.len; i += len) {
        int32_t ch = lexer_decode(fm_slice(name.ptr + i, name.len - i), &len);
        if (ch == '"' || (ch >= 0 && !lexer_is_name_character(ch)))
            return false;
    }
    return true;
}

void traceql_print_field(const struct traceql_field *field, struct fm_buf *out)
{
    static const char *const names[] = {"",
#define X(name, text, type) text,
                                        TRACEQL_INTRINSICS(X)
#undef X
    };
    static const char *const scopes[] = {"",      "span", "resource",
                                         "event", "link", "instrumentation"};

    if (field->intrinsic != TRACEQL_ATTRIBUTE) {
        fm_buf_puts(out, names[field->intrinsic]);
        return;
    }
    if (field->of_parent)
        fm_buf_puts(out, field->scope == TRACEQL_ANY_SCOPE ? "parent" : "parent.");
    fm_buf_puts(out, scopes[field->scope]);
    fm_buf_put_u8(out, '.');
    if (print_name_is_bare(field)) {
        fm_buf_put_slice(out, field->name);
        return;
    }
    fm_buf_put_u8(out, '"');
    for (size_t i = 0; i < field->name.len; i++) {
        if (field->name.ptr[i] == '"' || field->name.ptr[i] == '\\')
            fm_buf_put_u8(out, '\\');
        fm_buf_put_u8(out, field->name.ptr[i]);
    }
    fm_buf_put_u8(out, '"');
}

/* ---- expressions ---- */

const char *print_op(enum traceql_op op, enum traceql_relation relation)
{
    static const char *const names[] = {
        "+", "-",  "*", "/",  "%",  "^",  "=", "!=", "=~",     "!~",
        ">", ">=", "<", "<=", "&&", "||", "!", "-",  "!= nil", "= nil",
    };
    static const char *const relations[][3] = {
        {">", "!>", "&>"},    {">>", "!>>", "&>>"}, {"<", "!<", "&<"},
        {"<<", "!<<", "&<<"}, {"~", "!~", "&~"},
    };

    return op < TRACEQL_CHILD ? names[op] : relations[op - TRACEQL_CHILD][relation];
}

bool print_is_chain(const struct traceql_expression *expression)
{
    return expression->kind == TRACEQL_BINARY &&
           (expression->op == TRACEQL_AND || expression->op == TRACEQL_OR);
}

size_t print_chain(const struct traceql_expression *top, struct fm_buf *nodes)
{
    size_t count = 0;

    for (; print_is_chain(top); top = top->left, count++)
        fm_buf_put(nodes, &top, sizeof top);
    return nodes->failed ? 0 : count;
}

const struct traceql_expression *print_chain_at(const struct fm_buf *nodes, size_t index)
{
    const struct traceql_expression *node;

    memcpy(&node, nodes->ptr + index * sizeof node, sizeof node);
    return node;
}

static void print_operand(const struct print *print, const struct traceql_expression *operand,
                          bool wrap)
{
    if (wrap)
        fm_buf_put_u8(print->out, '(');
    print_expression(print, operand);
    if (wrap)
        fm_buf_put_u8(print->out, ')');
}

static bool print_is_operation(const struct traceql_expression *expression)
{
    return expression->kind == TRACEQL_UNARY || expression->kind == TRACEQL_BINARY;
}

static void print_chain_out(const struct print *print, const struct traceql_expression *top)
{
    struct fm_buf nodes;

    fm_buf_init(&nodes, SIZE_MAX / 2);
    size_t count = print_chain(top, &nodes);
    if (!count)
        print->out->failed = true;
    for (size_t i = 1; i < count && print->wrapped; i++)
        fm_buf_put_u8(print->out, '(');
    for (size_t i = count; i-- > 0;) {
        const struct traceql_expression *node = print_chain_at(&nodes, i);
        if (i + 1 == count)
            print_operand(print, node->left, print_is_operation(node->left));
        else if (print->wrapped)
            fm_buf_put_u8(print->out, ')');
        fm_buf_printf(print->out, " %s ", print_op(node->op, TRACEQL_PLAIN));
        print_operand(print, node->right, print_is_operation(node->right));
    }
    fm_buf_fini(&nodes);
}

/* A sign in front of a literal binds weaker than a product. */
static bool print_needs_wrap(const struct traceql_expression *left, enum traceql_op op)
{
    const struct traceql_value *value = &left->value;

    if (print_is_operation(left))
        return true;
    if (left->kind != TRACEQL_LITERAL || op < TRACEQL_MUL || op > TRACEQL_POW)
        return false;
    return value->type == TRACEQL_FLOAT ? signbit(value->number) != 0
                                        : type_is_number(value->type) && value->integer < 0;
}

void print_expression(const struct print *print, const struct traceql_expression *expression)
{
    struct fm_buf *out = print->out;

    switch (expression->kind) {
    case TRACEQL_LITERAL:
        traceql_print_value(&expression->value, out);
        break;
    case TRACEQL_FIELD:
        traceql_print_field(&expression->field, out);
        break;
    case TRACEQL_UNARY:
        if (expression->op == TRACEQL_NOT || expression->op == TRACEQL_NEGATE)
            fm_buf_puts(out, print_op(expression->op, TRACEQL_PLAIN));
        print_operand(print, expression->left, print_is_operation(expression->left));
        if (expression->op == TRACEQL_EXISTS || expression->op == TRACEQL_NOT_EXISTS)
            fm_buf_printf(out, " %s", print_op(expression->op, TRACEQL_PLAIN));
        break;
    case TRACEQL_BINARY:
        if (print_is_chain(expression)) {
            print_chain_out(print, expression);
            break;
        }
        print_operand(print, expression->left, print_needs_wrap(expression->left, expression->op));
        fm_buf_printf(out, " %s ", print_op(expression->op, TRACEQL_PLAIN));
        print_operand(print, expression->right, print_is_operation(expression->right));
        break;
    }
}

void traceql_print_expression(const struct traceql_expression *expression, struct fm_buf *out)
{
    print_expression(&(struct print){.out = out}, expression);
}

/* ---- stages ---- */

static void print_stages(const struct print *print, const struct traceql_stage *first)
{
    for (const struct traceql_stage *stage = first; stage; stage = stage->next) {
        if (stage != first)
            fm_buf_puts(print->out, " | ");
        print_stage(print, stage);
    }
}

static void print_fields(const struct traceql_field *fields, uint32_t count, struct fm_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            fm_buf_puts(out, ", ");
        traceql_print_field(&fields[i], out);
    }
}

static void print_filter(const struct print *print, const struct traceql_expression *expression)
{
    fm_buf_puts(print->out, "{ ");
    if (expression)
        print_expression(print, expression);
    else
        fm_buf_puts(print->out, "true");
    fm_buf_puts(print->out, " }");
}

static void print_aggregate(const struct print *print, const struct traceql_scalar *scalar)
{
    static const char *const names[] = {"count", "min", "max", "avg", "sum"};

    fm_buf_printf(print->out, "%s(", names[scalar->aggregate]);
    if (scalar->expression)
        print_expression(print, scalar->expression);
    fm_buf_put_u8(print->out, ')');
}

static void print_scalar_operand(const struct print *print, const struct traceql_scalar *scalar)
{
    bool wrap = scalar->kind != TRACEQL_SCALAR_LITERAL;

    if (wrap)
        fm_buf_put_u8(print->out, '(');
    print_scalar(print, scalar);
    if (wrap)
        fm_buf_put_u8(print->out, ')');
}

void print_scalar(const struct print *print, const struct traceql_scalar *scalar)
{
    switch (scalar->kind) {
    case TRACEQL_SCALAR_LITERAL:
        traceql_print_value(&scalar->value, print->out);
        break;
    case TRACEQL_SCALAR_AGGREGATE:
        print_aggregate(print, scalar);
        break;
    case TRACEQL_SCALAR_ARITHMETIC:
        print_scalar_operand(print, scalar->left);
        fm_buf_printf(print->out, " %s ", print_op(scalar->op, TRACEQL_PLAIN));
        print_scalar_operand(print, scalar->right);
        break;
    case TRACEQL_SCALAR_PIPELINE:
        print_stages(print, scalar->first);
        fm_buf_puts(print->out, " | ");
        print_aggregate(print, scalar);
        break;
    }
}

void print_stage(const struct print *print, const struct traceql_stage *stage)
{
    struct fm_buf *out = print->out;

    switch (stage->kind) {
    case TRACEQL_FILTER:
        print_filter(print, stage->expression);
        break;
    case TRACEQL_OPERATION:
        fm_buf_put_u8(out, '(');
        print_stage(print, stage->left);
        fm_buf_printf(out, ") %s (", print_op(stage->op, stage->relation));
        print_stage(print, stage->right);
        fm_buf_put_u8(out, ')');
        break;
    case TRACEQL_PIPELINE:
        print_stages(print, stage->first);
        break;
    case TRACEQL_GROUP:
        fm_buf_puts(out, "by(");
        print_expression(print, stage->expression);
        fm_buf_put_u8(out, ')');
        break;
    case TRACEQL_COALESCE:
        fm_buf_puts(out, "coalesce()");
        break;
    case TRACEQL_SELECT:
        fm_buf_puts(out, "select(");
        print_fields(stage->fields, stage->field_count, out);
        fm_buf_put_u8(out, ')');
        break;
    case TRACEQL_SCALAR:
        print_scalar_operand(print, stage->left_scalar);
        fm_buf_printf(out, " %s ", print_op(stage->op, TRACEQL_PLAIN));
        print_scalar_operand(print, stage->right_scalar);
        break;
    }
}

/* ---- the whole ---- */

static void print_metrics(const struct print *print, const struct traceql_query *query)
{
    static const char *const names[] = {
        "",
        "rate",
        "count_over_time",
        "min_over_time",
        "max_over_time",
        "avg_over_time",
        "sum_over_time",
        "quantile_over_time",
        "histogram_over_time",
        "compare",
    };
    struct fm_buf *out = print->out;

    fm_buf_printf(out, " | %s(", names[query->metrics]);
    if (query->metrics == TRACEQL_COMPARE) {
        print_filter(print, query->selection);
        fm_buf_printf(out, ", %" PRId64, query->compare_top);
        if (query->compare_start_ns || query->compare_end_ns)
            fm_buf_printf(out, ", %" PRId64 ", %" PRId64, query->compare_start_ns,
                          query->compare_end_ns);
    } else if (query->metrics != TRACEQL_RATE && query->metrics != TRACEQL_COUNT_OVER_TIME) {
        traceql_print_field(&query->of, out);
    }
    for (uint32_t i = 0; i < query->quantile_count; i++) {
        fm_buf_puts(out, ", ");
        print_float(query->quantiles[i], out);
    }
    fm_buf_put_u8(out, ')');
    if (query->by_count) {
        fm_buf_puts(out, " by(");
        print_fields(query->by, query->by_count, out);
        fm_buf_put_u8(out, ')');
    }
}

static void print_second(const struct traceql_second *second, struct fm_buf *out)
{
    if (second->kind == TRACEQL_THRESHOLD) {
        fm_buf_printf(out, " %s ", print_op(second->op, TRACEQL_PLAIN));
        traceql_print_value(&second->value, out);
    } else {
        fm_buf_printf(out, " | %s(%" PRId64 ")", second->kind == TRACEQL_TOPK ? "topk" : "bottomk",
                      second->limit);
    }
}

void traceql_print(const struct traceql_query *query, struct fm_buf *out)
{
    struct print print = {.out = out};

    print_stages(&print, query->first);
    if (query->metrics != TRACEQL_NO_METRICS)
        print_metrics(&print, query);
    for (const struct traceql_second *second = query->seconds; second; second = second->next)
        print_second(second, out);
    for (const struct traceql_hint *hint = query->hints; hint; hint = hint->next) {
        fm_buf_puts(out, hint == query->hints ? " with(" : ", ");
        fm_buf_put_slice(out, hint->name);
        fm_buf_put_u8(out, '=');
        traceql_print_value(&hint->value, out);
    }
    if (query->hints)
        fm_buf_put_u8(out, ')');
}
