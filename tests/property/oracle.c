/* SPDX-License-Identifier: Apache-2.0 */
/* What TraceQL means, said as plainly as possible: one span at a time, sets of spans as words,
 * every relation by the links to parents.  Written from docs/traceql.md; shares nothing with eval.
 */
#include "model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"
#include "fermata/regex.h"

enum { NO_EVENT = UINT32_MAX };

struct oracle_place {
    const struct model *model;
    uint32_t span, event, link;
};
struct oracle { /* of one trace */
    const struct model *model;
    uint64_t trace; /* its spans */
    int rc;
};

/* ---- the tree of a trace ---- */

#define ORACLE_NONE UINT32_MAX

static bool oracle_same_trace(const struct model *model, uint32_t a, uint32_t b)
{
    return model->spans[a].trace == model->spans[b].trace;
}

/* An id that three spans share, or no root: the trace has no tree. */
static bool oracle_has_tree(const struct model *model, uint32_t trace)
{
    bool has_root = false;
    for (uint32_t i = 0; i < model->span_count; i++) {
        uint32_t same = 0;
        if (model->spans[i].trace != trace)
            continue;
        has_root |= !model->spans[i].parent;
        for (uint32_t j = 0; j < model->span_count; j++)
            same += model->spans[j].trace == trace && model->spans[j].id == model->spans[i].id;
        if (same > 2)
            return false;
    }
    return has_root;
}

static uint32_t oracle_link(const struct model *model, uint32_t child)
{
    const struct model_span *span = &model->spans[child];
    uint32_t found = ORACLE_NONE, count = 0, fitting = ORACLE_NONE;
    int wanted = span->kind == 2 ? 3 : 2;
    for (uint32_t i = 0; i < model->span_count && span->parent; i++) {
        if (!oracle_same_trace(model, i, child) || model->spans[i].id != span->parent)
            continue;
        count++;
        found = i;
        if (model->spans[i].kind == wanted && fitting == ORACLE_NONE)
            fitting = i;
    }
    return count > 1 ? fitting : found;
}

/* The way up ends at a root. */
static bool oracle_is_connected(const struct model *model, uint32_t span)
{
    if (!oracle_has_tree(model, model->spans[span].trace))
        return false;
    for (uint32_t steps = 0; steps <= model->span_count; steps++) {
        if (!model->spans[span].parent)
            return true;
        span = oracle_link(model, span);
        if (span == ORACLE_NONE)
            return false;
    }
    return false;
}

static uint32_t oracle_parent(const struct model *model, uint32_t span)
{
    return oracle_is_connected(model, span) ? oracle_link(model, span) : ORACLE_NONE;
}

static bool oracle_is_above(const struct model *model, uint32_t above, uint32_t below)
{
    for (below = oracle_parent(model, below); below != ORACLE_NONE;
         below = oracle_parent(model, below))
        if (below == above)
            return true;
    return false;
}

/* b stands in the relation to a. */
static bool oracle_relates(const struct model *model, enum traceql_op op, uint32_t a, uint32_t b)
{
    if (!oracle_same_trace(model, a, b))
        return false;
    uint32_t parent = oracle_parent(model, b);
    switch (op) {
    case TRACEQL_CHILD:
        return parent == a;
    case TRACEQL_PARENT_OF:
        return oracle_parent(model, a) == b;
    case TRACEQL_DESCENDANT:
        return oracle_is_above(model, a, b);
    case TRACEQL_ANCESTOR:
        return oracle_is_above(model, b, a);
    default:
        return a != b && parent != ORACLE_NONE && parent == oracle_parent(model, a);
    }
}

/* ---- values ---- */

static const struct traceql_value oracle_nil = {.type = TRACEQL_NIL};

static struct traceql_value oracle_text(const char *text)
{
    return (struct traceql_value){.type = TRACEQL_STRING, .text = fm_slice_text(text)};
}

static struct traceql_value oracle_number(enum traceql_type type, int64_t integer)
{
    return (struct traceql_value){.type = type, .integer = integer};
}

static struct traceql_value oracle_flag(bool flag)
{
    return (struct traceql_value){.type = TRACEQL_BOOL, .flag = flag};
}

static struct traceql_value oracle_find(const struct model_list *list, struct fm_slice name)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (fm_slice_equal_text(name, list->items[i].key)) {
            struct traceql_value value = list->items[i].value;
            return value.type == TRACEQL_ARRAY && value.element_count == 1 ? value.elements[0]
                                                                           : value;
        }
    return oracle_nil;
}

/* Every resource has a service.name, if an empty one. */
static struct traceql_value oracle_of_resource(const struct model_list *list, struct fm_slice name)
{
    struct traceql_value value = oracle_find(list, name);
    bool absent = value.type == TRACEQL_NIL && fm_slice_equal_text(name, "service.name");
    return absent ? oracle_text("") : value;
}

void oracle_facts(const struct model *model, uint32_t trace, uint64_t *ret_start, uint64_t *ret_end,
                  const struct model_span **ret_root)
{
    uint64_t start = UINT64_MAX, end = 0;
    *ret_root = NULL;
    for (uint32_t i = 0; i < model->span_count; i++) {
        const struct model_span *span = &model->spans[i];
        if (span->trace != trace)
            continue;
        start = FM_MIN(start, span->start_ns);
        end = FM_MAX(end, span->start_ns + span->duration_ns);
        if (!span->parent)
            *ret_root = span;
    }
    *ret_start = start;
    *ret_end = end;
}

struct traceql_value oracle_root(const struct model *model, uint32_t trace, bool service)
{
    const struct model_span *root;
    uint64_t start, end;
    oracle_facts(model, trace, &start, &end, &root);
    if (!root)
        return oracle_text("");
    if (!service)
        return oracle_text(root->name);
    struct traceql_value name =
        oracle_find(&model->resources[root->resource], FM_SLICE("service.name"));
    return name.type == TRACEQL_STRING ? name : oracle_text("");
}

static int64_t oracle_children(const struct model *model, uint32_t span)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < model->span_count; i++)
        count += oracle_same_trace(model, i, span) && oracle_parent(model, i) == span;
    return count;
}

static int64_t oracle_below(const struct model *model, uint32_t span)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < model->span_count; i++)
        count += oracle_same_trace(model, i, span) && oracle_is_above(model, span, i);
    return count;
}

/* Texts that live until some more were asked for. */
static struct traceql_value oracle_hex(const uint8_t *bytes, size_t len, bool trims)
{
    static char texts[64][33];
    static uint32_t next;
    char *text = texts[next++ % 64];
    fm_hex_encode(text, fm_slice(bytes, len));
    text[2 * len] = 0;
    while (trims && text[0] == '0' && text[1])
        text++;
    return oracle_text(text);
}

static struct traceql_value oracle_id(uint8_t low)
{
    uint8_t id[8] = {0};
    id[7] = low;
    return oracle_hex(id, 8, false);
}

static struct traceql_value oracle_trace_id(uint32_t trace)
{
    uint8_t id[16];
    model_trace_id(trace, id);
    return oracle_hex(id, 16, true);
}

static struct traceql_value oracle_attribute(const struct oracle_place *place,
                                             const struct traceql_field *field)
{
    const struct model *model = place->model;
    const struct model_span *span = &model->spans[place->span];
    struct traceql_value value;
    switch (field->scope) {
    case TRACEQL_ANY_SCOPE:
        value = oracle_find(&span->list, field->name);
        return value.type != TRACEQL_NIL
                   ? value
                   : oracle_of_resource(&model->resources[span->resource], field->name);
    case TRACEQL_SPAN:
        return oracle_find(&span->list, field->name);
    case TRACEQL_RESOURCE:
        return oracle_of_resource(&model->resources[span->resource], field->name);
    case TRACEQL_EVENT:
        return place->event == NO_EVENT
                   ? oracle_nil
                   : oracle_find(&span->events[place->event].list, field->name);
    case TRACEQL_LINK:
        return place->link == NO_EVENT ? oracle_nil
                                       : oracle_find(&span->links[place->link].list, field->name);
    default:
        return oracle_find(&model->scopes[span->scope].list, field->name);
    }
}

static struct traceql_value oracle_field(const struct oracle_place *place,
                                         const struct traceql_field *field)
{
    const struct model *model = place->model;
    const struct model_span *span = &model->spans[place->span];
    const struct model_span *root;
    uint64_t start, end;
    bool has_event = place->event != NO_EVENT;
    switch (field->intrinsic) {
    case TRACEQL_ATTRIBUTE:
        return oracle_attribute(place, field);
    case TRACEQL_SPAN_DURATION:
        return oracle_number(TRACEQL_DURATION, (int64_t)span->duration_ns);
    case TRACEQL_NAME:
        return oracle_text(span->name);
    case TRACEQL_STATUS_CODE:
        return oracle_number(TRACEQL_STATUS, span->status);
    case TRACEQL_STATUS_MESSAGE:
        return oracle_text(span->message);
    case TRACEQL_SPAN_KIND:
        return oracle_number(TRACEQL_KIND, span->kind);
    case TRACEQL_TRACE_DURATION:
        oracle_facts(model, span->trace, &start, &end, &root);
        return oracle_number(TRACEQL_DURATION, (int64_t)(end - start));
    case TRACEQL_ROOT_NAME:
        return oracle_root(model, span->trace, false);
    case TRACEQL_ROOT_SERVICE:
        return oracle_root(model, span->trace, true);
    case TRACEQL_EVENT_NAME:
        return has_event ? oracle_text(span->events[place->event].name) : oracle_nil;
    case TRACEQL_EVENT_TIME:
        return has_event ? oracle_number(TRACEQL_DURATION,
                                         (int64_t)span->events[place->event].since_start_ns)
                         : oracle_nil;
    case TRACEQL_SCOPE_NAME:
        return oracle_text(model->scopes[span->scope].name);
    case TRACEQL_SCOPE_VERSION:
        return oracle_text(model->scopes[span->scope].version);
    case TRACEQL_SPAN_ID:
        return oracle_id(span->id);
    case TRACEQL_PARENT_ID:
        return oracle_id(span->parent);
    case TRACEQL_LINK_SPAN_ID:
        return place->link == NO_EVENT ? oracle_nil : oracle_id(span->links[place->link].span);
    case TRACEQL_TRACE_ID:
        return oracle_trace_id(span->trace);
    case TRACEQL_LINK_TRACE_ID:
        return place->link == NO_EVENT ? oracle_nil
                                       : oracle_trace_id(span->links[place->link].trace);
    case TRACEQL_CHILD_COUNT:
        return oracle_number(TRACEQL_INT, oracle_children(model, place->span));
    case TRACEQL_NESTED_LEFT: /* only asked whether it is above 0, and how far the right one is */
        return oracle_number(TRACEQL_INT, oracle_is_connected(model, place->span));
    case TRACEQL_NESTED_RIGHT:
        return oracle_number(TRACEQL_INT, oracle_is_connected(model, place->span)
                                              ? 2 + 2 * oracle_below(model, place->span)
                                              : 0);
    case TRACEQL_NESTED_PARENT: /* only asked whether it is below 0 */
        return oracle_number(TRACEQL_INT, !oracle_is_connected(model, place->span) ? 0
                                          : span->parent                           ? 1
                                                                                   : -1);
    default:
        return oracle_nil;
    }
}

static bool oracle_is_numeric(const struct traceql_value *value)
{
    return value->type == TRACEQL_INT || value->type == TRACEQL_FLOAT ||
           value->type == TRACEQL_DURATION;
}

static double oracle_double(const struct traceql_value *value)
{
    return value->type == TRACEQL_FLOAT ? value->number : (double)value->integer;
}

static struct traceql_value oracle_match(enum traceql_op op, struct fm_slice text,
                                         struct fm_slice pattern)
{
    struct regex *regex;
    struct regex_matcher *matcher;
    struct traceql_value result = oracle_nil;
    if (regex_new(&regex, pattern, &regex_limits_default, NULL) != FM_OK)
        return oracle_nil;
    if (regex_matcher_new(&matcher, regex) == FM_OK) {
        result = oracle_flag(regex_match(matcher, text) == (op == TRACEQL_MATCH));
        matcher = regex_matcher_free(matcher);
    }
    regex = regex_free(regex);
    return result;
}

static struct traceql_value oracle_scalars(enum traceql_op op, const struct traceql_value *a,
                                           const struct traceql_value *b)
{
    int order = 0;
    bool ordered = true;
    if (oracle_is_numeric(a) && oracle_is_numeric(b)) {
        double x = oracle_double(a), y = oracle_double(b); /* the model's numbers are small */
        order = (x > y) - (x < y);
    } else if (a->type != b->type || a->type == TRACEQL_NIL) {
        return oracle_nil;
    } else if (a->type == TRACEQL_STRING) {
        order = fm_slice_compare(a->text, b->text);
    } else {
        ordered = false;
        order = a->type == TRACEQL_BOOL ? a->flag != b->flag : a->integer != b->integer;
    }
    if (op == TRACEQL_MATCH || op == TRACEQL_NOT_MATCH)
        return a->type == TRACEQL_STRING ? oracle_match(op, a->text, b->text) : oracle_nil;
    if (op == TRACEQL_EQ || op == TRACEQL_NE)
        return oracle_flag((order == 0) == (op == TRACEQL_EQ));
    if (!ordered)
        return oracle_nil;
    return oracle_flag(op == TRACEQL_LT   ? order < 0
                       : op == TRACEQL_LE ? order <= 0
                       : op == TRACEQL_GT ? order > 0
                                          : order >= 0);
}

/* One element will do, but for != and !~ all have to. */
static struct traceql_value oracle_compare(enum traceql_op op, const struct traceql_value *a,
                                           const struct traceql_value *b)
{
    bool left = a->type == TRACEQL_ARRAY, right = b->type == TRACEQL_ARRAY;
    bool all = op == TRACEQL_NE || op == TRACEQL_NOT_MATCH;
    struct traceql_value result = oracle_nil;
    if (left && right)
        return oracle_nil;
    if (!left && !right)
        return oracle_scalars(op, a, b);
    const struct traceql_value *array = left ? a : b;
    for (uint32_t i = 0; i < array->element_count; i++) {
        const struct traceql_value *each = &array->elements[i];
        struct traceql_value one = oracle_scalars(op, left ? each : a, left ? b : each);
        if (one.type == TRACEQL_BOOL)
            result = result.type == TRACEQL_NIL ? one
                     : all                      ? oracle_flag(result.flag && one.flag)
                                                : oracle_flag(result.flag || one.flag);
    }
    return result;
}

static struct traceql_value oracle_arithmetic(struct oracle *oracle, enum traceql_op op,
                                              const struct traceql_value *a,
                                              const struct traceql_value *b)
{
    if (!oracle_is_numeric(a) || !oracle_is_numeric(b))
        return oracle_nil;
    bool has_float = a->type == TRACEQL_FLOAT || b->type == TRACEQL_FLOAT;
    bool has_duration = a->type == TRACEQL_DURATION || b->type == TRACEQL_DURATION;
    bool divides = op == TRACEQL_DIV || op == TRACEQL_MOD || op == TRACEQL_POW;
    double x = oracle_double(a), y = oracle_double(b), z;
    if (divides && op != TRACEQL_POW && y == 0 && !has_float && !has_duration) {
        oracle->rc = FM_EMALFORMED;
        return oracle_nil;
    }
    z = op == TRACEQL_ADD   ? x + y
        : op == TRACEQL_SUB ? x - y
        : op == TRACEQL_MUL ? x * y
        : op == TRACEQL_DIV ? x / y
        : op == TRACEQL_MOD ? fmod(x, y)
                            : pow(x, y);
    if (has_float || (has_duration && divides))
        return (struct traceql_value){.type = TRACEQL_FLOAT, .number = z};
    return oracle_number(has_duration ? TRACEQL_DURATION : TRACEQL_INT, (int64_t)z);
}

/* ---- expressions ---- */

static bool oracle_mentions(const struct traceql_expression *expression, bool events)
{
    if (!expression)
        return false;
    if (expression->kind == TRACEQL_FIELD) {
        const struct traceql_field *field = &expression->field;
        bool attribute = field->intrinsic == TRACEQL_ATTRIBUTE;
        if (events)
            return field->intrinsic == TRACEQL_EVENT_NAME ||
                   field->intrinsic == TRACEQL_EVENT_TIME ||
                   (attribute && field->scope == TRACEQL_EVENT);
        return field->intrinsic == TRACEQL_LINK_SPAN_ID ||
               field->intrinsic == TRACEQL_LINK_TRACE_ID ||
               (attribute && field->scope == TRACEQL_LINK);
    }
    return oracle_mentions(expression->left, events) || oracle_mentions(expression->right, events);
}

static bool oracle_has_or(const struct traceql_expression *expression)
{
    return expression && ((expression->kind == TRACEQL_BINARY && expression->op == TRACEQL_OR) ||
                          oracle_has_or(expression->left) || oracle_has_or(expression->right));
}

static struct traceql_value oracle_evaluate(struct oracle *oracle, struct oracle_place place,
                                            const struct traceql_expression *expression, bool each);

/* A bare field is asked whether it is true. */
static struct traceql_value oracle_truth(const struct traceql_value *value)
{
    struct traceql_value yes = oracle_flag(true);
    return oracle_compare(TRACEQL_EQ, value, &yes);
}

/* True for one event (and link) of the span. */
static struct traceql_value oracle_some(struct oracle *oracle, struct oracle_place place,
                                        const struct traceql_expression *expression)
{
    const struct model_span *span = &place.model->spans[place.span];
    bool events = oracle_mentions(expression, true), links = oracle_mentions(expression, false);
    struct traceql_value result = oracle_nil;
    for (uint32_t i = 0; i < (events ? span->event_count : 1); i++)
        for (uint32_t j = 0; j < (links ? span->link_count : 1); j++) {
            place.event = events ? i : NO_EVENT;
            place.link = links ? j : NO_EVENT;
            struct traceql_value one = oracle_evaluate(oracle, place, expression, false);
            one = oracle_truth(&one);
            if (one.type == TRACEQL_BOOL && (one.flag || result.type == TRACEQL_NIL))
                result = one;
        }
    return result;
}

static struct traceql_value oracle_connect(enum traceql_op op, const struct traceql_value *a,
                                           const struct traceql_value *b)
{
    bool decides = op == TRACEQL_OR;
    bool known_a = a->type == TRACEQL_BOOL, known_b = b->type == TRACEQL_BOOL;
    if ((known_a && a->flag == decides) || (known_b && b->flag == decides))
        return oracle_flag(decides);
    return known_a && known_b ? oracle_flag(!decides) : oracle_nil;
}

/* Its leading zeros do not count. */
static bool oracle_is_trace_id(const struct traceql_expression *expression)
{
    return expression->kind == TRACEQL_FIELD &&
           (expression->field.intrinsic == TRACEQL_TRACE_ID ||
            expression->field.intrinsic == TRACEQL_LINK_TRACE_ID);
}

/* each: every comparison finds an event of its own. */
static struct traceql_value oracle_evaluate(struct oracle *oracle, struct oracle_place place,
                                            const struct traceql_expression *expression, bool each)
{
    struct traceql_value left, right;
    bool connects = expression->kind == TRACEQL_BINARY &&
                    (expression->op == TRACEQL_AND || expression->op == TRACEQL_OR);
    bool inverts = expression->kind == TRACEQL_UNARY && expression->op == TRACEQL_NOT;
    if (each && !connects && !inverts &&
        (oracle_mentions(expression, true) || oracle_mentions(expression, false)))
        return oracle_some(oracle, place, expression);
    if (expression->kind == TRACEQL_LITERAL)
        return expression->value;
    if (expression->kind == TRACEQL_FIELD)
        return oracle_field(&place, &expression->field);
    left = oracle_evaluate(oracle, place, expression->left, each);
    if (expression->kind == TRACEQL_UNARY) {
        switch (expression->op) {
        case TRACEQL_NOT:
            left = oracle_truth(&left);
            return left.type == TRACEQL_BOOL ? oracle_flag(!left.flag) : oracle_nil;
        case TRACEQL_EXISTS:
            return oracle_flag(left.type != TRACEQL_NIL);
        case TRACEQL_NOT_EXISTS:
            return oracle_flag(left.type == TRACEQL_NIL);
        default:
            right = oracle_number(TRACEQL_INT, -1);
            return oracle_arithmetic(oracle, TRACEQL_MUL, &left, &right);
        }
    }
    right = oracle_evaluate(oracle, place, expression->right, each);
    if (connects) {
        left = oracle_truth(&left);
        right = oracle_truth(&right);
        return oracle_connect(expression->op, &left, &right);
    }
    if (oracle_is_trace_id(expression->left) && right.type == TRACEQL_STRING)
        while (right.text.len > 1 && right.text.ptr[0] == '0')
            right.text = fm_slice(right.text.ptr + 1, right.text.len - 1);
    if (expression->op <= TRACEQL_POW)
        return oracle_arithmetic(oracle, expression->op, &left, &right);
    return oracle_compare(expression->op, &left, &right);
}

static uint64_t oracle_filter(struct oracle *oracle, const struct traceql_expression *expression,
                              uint64_t mask)
{
    uint64_t kept = 0;
    if (!expression)
        return mask;
    bool each = oracle_has_or(expression);
    for (uint32_t i = 0; i < oracle->model->span_count; i++) {
        struct oracle_place place = {oracle->model, i, NO_EVENT, NO_EVENT};
        if (!(mask >> i & 1))
            continue;
        struct traceql_value value = each ? oracle_evaluate(oracle, place, expression, true)
                                          : oracle_some(oracle, place, expression);
        value = oracle_truth(&value);
        kept |= (uint64_t)(value.type == TRACEQL_BOOL && value.flag) << i;
    }
    return kept;
}

/* ---- pipelines ---- */

struct oracle_sets {
    struct oracle_set items[MODEL_SPANS];
    uint32_t count;
};

static void oracle_pipeline(struct oracle *oracle, const struct traceql_stage *stage,
                            struct oracle_sets *sets);

static uint64_t oracle_operand(struct oracle *oracle, const struct traceql_stage *stage,
                               uint64_t mask, uint32_t *ret_sets)
{
    struct oracle_sets *sets = calloc(1, sizeof *sets);
    uint64_t all = 0;
    struct traceql_stage alone = *stage;
    sets->items[0].mask = mask;
    sets->count = 1;
    alone.next = NULL;
    oracle_pipeline(oracle, &alone, sets);
    for (uint32_t i = 0; i < sets->count; i++)
        all |= sets->items[i].mask;
    *ret_sets = sets->count;
    free(sets);
    return all;
}

static uint64_t oracle_operation(struct oracle *oracle, const struct traceql_stage *stage,
                                 uint64_t mask)
{
    uint32_t a_sets, b_sets;
    uint64_t a = oracle_operand(oracle, stage->left, mask, &a_sets);
    uint64_t b = oracle_operand(oracle, stage->right, mask, &b_sets);
    uint64_t found = 0, partners = 0;
    if (stage->op == TRACEQL_AND)
        return a && b ? a | b : 0;
    if (stage->op == TRACEQL_OR)
        return a | b;
    if (a && b && (a_sets > 1 || b_sets > 1)) /* what is one set's relation to many? */
        oracle->rc = FM_EMALFORMED;
    for (uint32_t j = 0; j < oracle->model->span_count; j++)
        for (uint32_t i = 0; i < oracle->model->span_count; i++)
            if ((a >> i & 1) && (b >> j & 1) && oracle_relates(oracle->model, stage->op, i, j)) {
                found |= UINT64_C(1) << j;
                partners |= UINT64_C(1) << i;
            }
    return stage->relation == TRACEQL_NEGATED ? b & ~found
           : stage->relation == TRACEQL_UNION ? found | partners
                                              : found;
}

static void oracle_add_label(struct oracle_set *set, const char *name,
                             const struct traceql_value *value)
{
    struct fm_buf text;
    fm_buf_init(&text, sizeof set->labels);
    fm_buf_printf(&text, " %s=", name);
    oracle_put_value(&text, value);
    size_t len = strlen(set->labels);
    (void)snprintf(set->labels + len, sizeof set->labels - len, "%.*s", (int)text.len, text.ptr);
    fm_buf_fini(&text);
}

static void oracle_name(char name[200], const char *function,
                        const struct traceql_expression *expression)
{
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(4));
    if (expression)
        traceql_print_expression(expression, &text);
    (void)snprintf(name, 200, "%s(%.*s)", function, (int)text.len,
                   text.len ? (const char *)text.ptr : "");
    fm_buf_fini(&text);
}

static struct traceql_value oracle_of_span(struct oracle *oracle, uint32_t span,
                                           const struct traceql_expression *expression)
{
    struct oracle_place place = {oracle->model, span, NO_EVENT, NO_EVENT};
    bool is_condition = (expression->kind == TRACEQL_BINARY && expression->op > TRACEQL_POW) ||
                        (expression->kind == TRACEQL_UNARY && expression->op != TRACEQL_NEGATE);
    if (is_condition)
        return oracle_flag(oracle_filter(oracle, expression, UINT64_C(1) << span) != 0);
    if (oracle->model->spans[span].event_count)
        place.event = 0;
    if (oracle->model->spans[span].link_count)
        place.link = 0;
    return oracle_evaluate(oracle, place, expression, false);
}

static void oracle_group(struct oracle *oracle, const struct traceql_expression *expression,
                         struct oracle_sets *sets)
{
    struct oracle_sets *grouped = calloc(1, sizeof *grouped);
    char name[200];
    oracle_name(name, "by", expression);
    for (uint32_t s = 0; s < sets->count; s++) {
        uint32_t from = grouped->count;
        for (uint32_t i = 0; i < oracle->model->span_count; i++) {
            struct oracle_set one = sets->items[s];
            uint32_t at = from;
            if (!(one.mask >> i & 1))
                continue;
            struct traceql_value value = oracle_of_span(oracle, i, expression);
            oracle_add_label(&one, name, &value);
            while (at < grouped->count && strcmp(grouped->items[at].labels, one.labels) != 0)
                at++;
            if (at == grouped->count) {
                one.mask = 0;
                grouped->items[grouped->count++] = one;
            }
            grouped->items[at].mask |= UINT64_C(1) << i;
        }
    }
    *sets = *grouped;
    free(grouped);
}

static struct traceql_value oracle_aggregate(struct oracle *oracle,
                                             const struct traceql_scalar *scalar, uint64_t mask)
{
    struct traceql_value result = oracle_nil, value;
    double sum = 0;
    uint32_t count = 0;
    if (scalar->aggregate == TRACEQL_COUNT)
        return oracle_number(TRACEQL_INT, __builtin_popcountll(mask));
    for (uint32_t i = 0; i < oracle->model->span_count; i++) {
        if (!(mask >> i & 1))
            continue;
        value = oracle_of_span(oracle, i, scalar->expression);
        if (!oracle_is_numeric(&value))
            continue;
        sum += oracle_double(&value);
        bool better = scalar->aggregate == TRACEQL_MIN
                          ? oracle_double(&value) < oracle_double(&result)
                          : oracle_double(&value) > oracle_double(&result);
        if (!count++ || better)
            result = value;
    }
    if (!count || scalar->aggregate == TRACEQL_MIN || scalar->aggregate == TRACEQL_MAX)
        return result;
    if (scalar->aggregate == TRACEQL_AVG)
        sum /= count;
    if (result.type == TRACEQL_FLOAT ||
        (result.type == TRACEQL_INT && scalar->aggregate == TRACEQL_AVG))
        return (struct traceql_value){.type = TRACEQL_FLOAT, .number = sum};
    result.integer = (int64_t)sum;
    return result;
}

static void oracle_scalar(struct oracle *oracle, const struct traceql_stage *stage,
                          struct oracle_sets *sets)
{
    static const char *const names[] = {"count", "min", "max", "avg", "sum"};
    const struct traceql_scalar *scalar = stage->left_scalar;
    uint32_t kept = 0;
    char name[200];
    oracle_name(name, names[scalar->aggregate], scalar->expression);
    for (uint32_t i = 0; i < sets->count; i++) {
        struct oracle_set *set = &sets->items[i];
        struct traceql_value value = oracle_aggregate(oracle, scalar, set->mask);
        struct traceql_value holds = oracle_scalars(stage->op, &value, &stage->right_scalar->value);
        if (holds.type != TRACEQL_BOOL || !holds.flag)
            continue;
        oracle_add_label(set, name, &value);
        sets->items[kept++] = *set;
    }
    sets->count = kept;
}

static void oracle_pipeline(struct oracle *oracle, const struct traceql_stage *stage,
                            struct oracle_sets *sets)
{
    for (; stage && oracle->rc == FM_OK; stage = stage->next) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < sets->count; i++) {
            struct oracle_set *set = &sets->items[i];
            if (stage->kind == TRACEQL_FILTER)
                set->mask = oracle_filter(oracle, stage->expression, set->mask);
            if (stage->kind == TRACEQL_OPERATION)
                set->mask = oracle_operation(oracle, stage, set->mask);
            if (stage->kind == TRACEQL_COALESCE) {
                sets->items[0].mask |= set->mask;
                sets->items[0].labels[0] = 0;
                kept = 1;
            } else if (set->mask) {
                sets->items[kept++] = *set;
            }
        }
        sets->count = kept;
        if (stage->kind == TRACEQL_PIPELINE)
            oracle_pipeline(oracle, stage->first, sets);
        if (stage->kind == TRACEQL_GROUP)
            oracle_group(oracle, stage->expression, sets);
        if (stage->kind == TRACEQL_SCALAR)
            oracle_scalar(oracle, stage, sets);
    }
}

/* The sets of one trace that come through. */
static void oracle_trace(struct oracle *oracle, const struct traceql_query *query, uint32_t trace,
                         struct oracle_sets *sets)
{
    const struct model *model = oracle->model;
    memset(sets, 0, sizeof *sets);
    for (uint32_t i = 0; i < model->span_count; i++)
        if (model->spans[i].trace == trace)
            sets->items[0].mask |= UINT64_C(1) << i;
    sets->count = sets->items[0].mask != 0;
    oracle_pipeline(oracle, query->first, sets);
}

int oracle_search(const struct model *model, const struct traceql_query *query, struct fm_buf *out)
{
    struct oracle_sets *sets = calloc(1, sizeof *sets);
    struct oracle oracle = {.model = model};
    for (uint32_t t = 0; t < model->trace_count && oracle.rc == FM_OK; t++) {
        oracle_trace(&oracle, query, t, sets);
        for (uint32_t s = 0; s < sets->count; s++) {
            fm_buf_printf(out, "trace %u:", t);
            for (uint32_t i = 0; i < model->span_count; i++)
                if (sets->items[s].mask >> i & 1)
                    fm_buf_printf(out, " %u/%d", model->spans[i].id, model->spans[i].kind);
            fm_buf_printf(out, ";%s\n", sets->items[s].labels);
        }
    }
    free(sets);
    oracle_sort_lines(out);
    return oracle.rc;
}

int oracle_survivors(const struct model *model, const struct traceql_query *query,
                     uint64_t *ret_mask)
{
    struct oracle_sets *sets = calloc(1, sizeof *sets);
    struct oracle oracle = {.model = model};
    uint64_t mask = 0;
    for (uint32_t t = 0; t < model->trace_count && oracle.rc == FM_OK; t++) {
        oracle_trace(&oracle, query, t, sets);
        for (uint32_t s = 0; s < sets->count; s++)
            mask |= sets->items[s].mask;
    }
    free(sets);
    *ret_mask = mask;
    return oracle.rc;
}

int oracle_sets_of(const struct model *model, const struct traceql_query *query, uint32_t trace,
                   struct oracle_set *sets, uint32_t *ret_count)
{
    struct oracle_sets *all = calloc(1, sizeof *all);
    struct oracle oracle = {.model = model};
    oracle_trace(&oracle, query, trace, all);
    memcpy(sets, all->items, all->count * sizeof *sets);
    *ret_count = all->count;
    free(all);
    return oracle.rc;
}

int oracle_selected(const struct model *model, const struct traceql_query *query,
                    uint64_t *ret_mask, uint64_t *ret_selected)
{
    int rc = oracle_survivors(model, query, ret_mask);
    uint64_t from = (uint64_t)query->compare_start_ns, to = (uint64_t)query->compare_end_ns;
    struct oracle oracle = {.model = model};
    *ret_selected = oracle_filter(&oracle, query->selection, *ret_mask);
    for (uint32_t i = 0; i < model->span_count && from && to; i++)
        if (model->spans[i].start_ns <= from || model->spans[i].start_ns > to)
            *ret_selected &= ~(UINT64_C(1) << i);
    return rc < 0 ? rc : oracle.rc;
}

struct traceql_value oracle_value(const struct model *model, uint32_t span,
                                  const struct traceql_field *field)
{
    struct oracle oracle = {.model = model};
    struct traceql_expression expression = {.kind = TRACEQL_FIELD, .field = *field};
    return oracle_of_span(&oracle, span, &expression);
}

/* ---- text ---- */

void oracle_put_value(struct fm_buf *out, const struct traceql_value *value)
{
    static const char *const types[] = {"nil",  "int",    "float", "string", "bool",
                                        "time", "status", "kind",  "array"};
    fm_buf_printf(out, "%s:", types[value->type]);
    switch (value->type) {
    case TRACEQL_NIL:
        break;
    case TRACEQL_FLOAT:
        fm_buf_printf(out, "%.9g", value->number == 0 ? 0.0 : value->number);
        break;
    case TRACEQL_STRING:
        fm_buf_put_slice(out, value->text);
        break;
    case TRACEQL_BOOL:
        fm_buf_puts(out, value->flag ? "true" : "false");
        break;
    case TRACEQL_ARRAY:
        for (uint32_t i = 0; i < value->element_count; i++)
            oracle_put_value(out, &value->elements[i]);
        break;
    default:
        fm_buf_printf(out, "%" PRId64, value->integer);
        break;
    }
}

static int oracle_compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void oracle_sort_lines(struct fm_buf *text)
{
    char *lines[MODEL_SPANS * 16], *copy = calloc(text->len + 1, 1);
    size_t count = 0;
    if (text->len)
        memcpy(copy, text->ptr, text->len);
    for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line && count < FM_COUNT(lines);
         line = strtok_r(NULL, "\n", &save))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, oracle_compare_lines);
    fm_buf_reset(text);
    for (size_t i = 0; i < count; i++)
        fm_buf_printf(text, "%s\n", lines[i]);
    free(copy);
}
