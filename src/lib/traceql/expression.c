/* SPDX-License-Identifier: Apache-2.0 */
/* Field expressions: operators climb by level, prefixes reach as far as their level says. */
#include "internal.h"

/* What is left of an operator is bound by its level, what is right by the next; ^ associates to the
 * right.  && and || are one level, as in Tempo. */
enum {
    LEVEL_NONE,
    LEVEL_LOGIC = 2,
    LEVEL_COMPARISON,
    LEVEL_SUM, /* unary minus too */
    LEVEL_NOT,
    LEVEL_PRODUCT,
    LEVEL_POWER,
};

struct operation {
    enum lexer_kind kind;
    enum traceql_op op;
    int level;
};

static const struct operation operations[] = {
    {LEXER_AND, TRACEQL_AND, LEVEL_LOGIC},
    {LEXER_OR, TRACEQL_OR, LEVEL_LOGIC},
    {LEXER_EQ, TRACEQL_EQ, LEVEL_COMPARISON},
    {LEXER_NE, TRACEQL_NE, LEVEL_COMPARISON},
    {LEXER_LT, TRACEQL_LT, LEVEL_COMPARISON},
    {LEXER_LE, TRACEQL_LE, LEVEL_COMPARISON},
    {LEXER_GT, TRACEQL_GT, LEVEL_COMPARISON},
    {LEXER_GE, TRACEQL_GE, LEVEL_COMPARISON},
    {LEXER_MATCH, TRACEQL_MATCH, LEVEL_COMPARISON},
    {LEXER_NOT_MATCH, TRACEQL_NOT_MATCH, LEVEL_COMPARISON},
    {LEXER_PLUS, TRACEQL_ADD, LEVEL_SUM},
    {LEXER_MINUS, TRACEQL_SUB, LEVEL_SUM},
    {LEXER_MUL, TRACEQL_MUL, LEVEL_PRODUCT},
    {LEXER_DIV, TRACEQL_DIV, LEVEL_PRODUCT},
    {LEXER_MOD, TRACEQL_MOD, LEVEL_PRODUCT},
    {LEXER_POW, TRACEQL_POW, LEVEL_POWER},
};

static const struct operation *parse_operation(const struct parse *parse)
{
    for (size_t i = 0; !parse_failed(parse) && i < FM_COUNT(operations); i++) {
        if (operations[i].kind == parse->lexer.token.kind)
            return &operations[i];
    }
    return NULL;
}

enum traceql_op parse_comparison(enum lexer_kind kind)
{
    for (size_t i = 0; i < FM_COUNT(operations); i++) {
        if (operations[i].kind == kind && operations[i].level == LEVEL_COMPARISON &&
            kind != LEXER_MATCH && kind != LEXER_NOT_MATCH)
            return operations[i].op;
    }
    return TRACEQL_ADD;
}

/* ---- fields ---- */

struct scoped {
    enum lexer_kind scope, word; /* scope END: stands alone */
    enum traceql_intrinsic intrinsic;
};

static const struct scoped scoped_fields[] = {
    {LEXER_END, LEXER_SPAN_DURATION, TRACEQL_SPAN_DURATION},
    {LEXER_END, LEXER_NAME, TRACEQL_NAME},
    {LEXER_END, LEXER_STATUS, TRACEQL_STATUS_CODE},
    {LEXER_END, LEXER_STATUS_MESSAGE, TRACEQL_STATUS_MESSAGE},
    {LEXER_END, LEXER_KIND, TRACEQL_SPAN_KIND},
    {LEXER_END, LEXER_PARENT, TRACEQL_PARENT},
    {LEXER_END, LEXER_ROOT_NAME, TRACEQL_ROOT_NAME},
    {LEXER_END, LEXER_ROOT_SERVICE_NAME, TRACEQL_ROOT_SERVICE},
    {LEXER_END, LEXER_TRACE_DURATION, TRACEQL_TRACE_DURATION},
    {LEXER_END, LEXER_NESTED_LEFT, TRACEQL_NESTED_LEFT},
    {LEXER_END, LEXER_NESTED_RIGHT, TRACEQL_NESTED_RIGHT},
    {LEXER_END, LEXER_NESTED_PARENT, TRACEQL_NESTED_PARENT},
    {LEXER_TRACE_COLON, LEXER_SPAN_DURATION, TRACEQL_TRACE_DURATION},
    {LEXER_TRACE_COLON, LEXER_ROOT_NAME, TRACEQL_ROOT_NAME},
    {LEXER_TRACE_COLON, LEXER_ROOT_SERVICE, TRACEQL_ROOT_SERVICE},
    {LEXER_TRACE_COLON, LEXER_ID, TRACEQL_TRACE_ID},
    {LEXER_SPAN_COLON, LEXER_SPAN_DURATION, TRACEQL_SPAN_DURATION},
    {LEXER_SPAN_COLON, LEXER_NAME, TRACEQL_NAME},
    {LEXER_SPAN_COLON, LEXER_KIND, TRACEQL_SPAN_KIND},
    {LEXER_SPAN_COLON, LEXER_STATUS, TRACEQL_STATUS_CODE},
    {LEXER_SPAN_COLON, LEXER_STATUS_MESSAGE, TRACEQL_STATUS_MESSAGE},
    {LEXER_SPAN_COLON, LEXER_ID, TRACEQL_SPAN_ID},
    {LEXER_SPAN_COLON, LEXER_PARENT_ID, TRACEQL_PARENT_ID},
    {LEXER_SPAN_COLON, LEXER_CHILD_COUNT, TRACEQL_CHILD_COUNT},
    {LEXER_EVENT_COLON, LEXER_NAME, TRACEQL_EVENT_NAME},
    {LEXER_EVENT_COLON, LEXER_TIME_SINCE_START, TRACEQL_EVENT_TIME},
    {LEXER_LINK_COLON, LEXER_TRACE_ID, TRACEQL_LINK_TRACE_ID},
    {LEXER_LINK_COLON, LEXER_SPAN_ID, TRACEQL_LINK_SPAN_ID},
    {LEXER_SCOPE_COLON, LEXER_NAME, TRACEQL_SCOPE_NAME},
    {LEXER_SCOPE_COLON, LEXER_VERSION, TRACEQL_SCOPE_VERSION},
};

static bool parse_intrinsic(struct parse *parse, enum lexer_kind scope, struct traceql_field *field)
{
    for (size_t i = 0; !parse_failed(parse) && i < FM_COUNT(scoped_fields); i++) {
        const struct scoped *row = &scoped_fields[i];
        if (row->scope != scope || !parse_take(parse, row->word))
            continue;
        *field = (struct traceql_field){.intrinsic = row->intrinsic, .name = fm_slice("", 0)};
        return true;
    }
    return false;
}

static void parse_refuse_intrinsic(struct parse *parse, enum lexer_kind scope)
{
    parse_refuse(parse, scope == LEXER_TRACE_COLON   ? "duration or rootName or rootService or id"
                        : scope == LEXER_EVENT_COLON ? "name or timeSinceStart"
                        : scope == LEXER_LINK_COLON  ? "traceID or spanID"
                        : scope == LEXER_SCOPE_COLON ? "name or version"
                                                     : NULL);
}

static enum traceql_scope parse_scope_of(enum lexer_kind kind)
{
    switch (kind) {
    case LEXER_SPAN_DOT:
        return TRACEQL_SPAN;
    case LEXER_RESOURCE_DOT:
        return TRACEQL_RESOURCE;
    case LEXER_EVENT_DOT:
        return TRACEQL_EVENT;
    case LEXER_LINK_DOT:
        return TRACEQL_LINK;
    case LEXER_SCOPE_DOT:
        return TRACEQL_INSTRUMENTATION;
    default:
        return TRACEQL_ANY_SCOPE;
    }
}

/* The scope was taken; "parent." may be followed by a second one. */
static bool parse_attribute(struct parse *parse, enum lexer_kind scope, struct traceql_field *field)
{
    bool of_parent = scope == LEXER_PARENT_DOT;

    if (of_parent && (parse_is(parse, LEXER_SPAN_DOT) || parse_is(parse, LEXER_RESOURCE_DOT))) {
        scope = parse->lexer.token.kind;
        lexer_next(&parse->lexer);
    }
    struct fm_slice name = parse->lexer.token.text;
    if (!parse_expect(parse, LEXER_IDENTIFIER,
                      scope == LEXER_PARENT_DOT ? "IDENTIFIER or resource. or span." : NULL) ||
        !parse_expect(parse, LEXER_END_ATTRIBUTE, NULL))
        return false;
    *field = (struct traceql_field){
        .scope = parse_scope_of(scope), .of_parent = of_parent, .name = name};
    return true;
}

/* False without a failure: nothing that begins a field is next. */
static bool parse_try_field(struct parse *parse, struct traceql_field *field)
{
    enum lexer_kind kind = parse->lexer.token.kind;

    if (parse_failed(parse))
        return false;
    if (kind == LEXER_DOT || (kind >= LEXER_PARENT_DOT && kind <= LEXER_SCOPE_DOT)) {
        lexer_next(&parse->lexer);
        return parse_attribute(parse, kind, field);
    }
    if (kind >= LEXER_TRACE_COLON && kind <= LEXER_SCOPE_COLON) {
        lexer_next(&parse->lexer);
        if (parse_intrinsic(parse, kind, field))
            return true;
        parse_refuse_intrinsic(parse, kind);
        return false;
    }
    return parse_intrinsic(parse, LEXER_END, field);
}

bool parse_field(struct parse *parse, struct traceql_field *field)
{
    if (parse_try_field(parse, field))
        return true;
    parse_refuse(parse, NULL);
    return false;
}

void parse_fields(struct parse *parse, struct traceql_field **ret_fields, uint32_t *ret_count)
{
    struct traceql_field *fields = NULL;
    uint32_t count = 0, max = 0;

    do {
        struct traceql_field field;
        if (!parse_field(parse, &field))
            return;
        if (count == max) {
            max = max ? 2 * max : 4;
            struct traceql_field *room = parse_alloc(parse, max * sizeof *room);
            if (!room)
                return;
            if (count)
                memcpy(room, fields, count * sizeof *room);
            fields = room;
        }
        fields[count++] = field;
    } while (parse_take(parse, LEXER_COMMA));
    if (!parse_expect(parse, LEXER_CLOSE, ") or ,"))
        return;
    *ret_fields = fields;
    *ret_count = count;
}

/* ---- literals ---- */

static bool parse_keyword(enum lexer_kind kind, struct traceql_value *value)
{
    static const struct {
        enum lexer_kind kind;
        enum traceql_type type;
        int64_t number;
    } rows[] = {
        {LEXER_OK, TRACEQL_STATUS, 1},     {LEXER_ERROR, TRACEQL_STATUS, 2},
        {LEXER_UNSET, TRACEQL_STATUS, 0},  {LEXER_UNSPECIFIED, TRACEQL_KIND, 0},
        {LEXER_INTERNAL, TRACEQL_KIND, 1}, {LEXER_SERVER, TRACEQL_KIND, 2},
        {LEXER_CLIENT, TRACEQL_KIND, 3},   {LEXER_PRODUCER, TRACEQL_KIND, 4},
        {LEXER_CONSUMER, TRACEQL_KIND, 5},
    };

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (rows[i].kind != kind)
            continue;
        value->type = rows[i].type;
        value->integer = rows[i].number;
        return true;
    }
    return false;
}

static bool parse_constant(struct parse *parse, struct traceql_value *value)
{
    struct fm_slice name = parse->lexer.token.text;
    bool least = fm_slice_equal_text(name, "minInt");

    if (!least && !fm_slice_equal_text(name, "maxInt")) {
        (void)lexer_fail(&parse->lexer, "unknown identifier: %.*s",
                         (int)FM_MIN(name.len, (size_t)200), (const char *)name.ptr);
        return false;
    }
    value->type = TRACEQL_INT;
    value->integer = least ? INT64_MIN : INT64_MAX;
    return true;
}

/* False: no literal is next, or it is not known (then parsing has failed). */
bool parse_literal(struct parse *parse, struct traceql_value *value)
{
    const struct lexer_token *token = &parse->lexer.token;

    if (parse_failed(parse))
        return false;
    *value = (struct traceql_value){.type = TRACEQL_NIL};
    switch (token->kind) {
    case LEXER_STRING:
        value->type = TRACEQL_STRING;
        value->text = token->text;
        break;
    case LEXER_INTEGER:
    case LEXER_DURATION:
        value->type = token->kind == LEXER_INTEGER ? TRACEQL_INT : TRACEQL_DURATION;
        value->integer = token->integer;
        break;
    case LEXER_FLOAT:
        value->type = TRACEQL_FLOAT;
        value->number = token->number;
        break;
    case LEXER_TRUE:
    case LEXER_FALSE:
        value->type = TRACEQL_BOOL;
        value->flag = token->kind == LEXER_TRUE;
        break;
    case LEXER_IDENTIFIER:
        if (!parse_constant(parse, value))
            return false;
        break;
    default:
        if (!parse_keyword(token->kind, value))
            return false;
    }
    lexer_next(&parse->lexer);
    return true;
}

/* ---- nodes in their normal forms ---- */

/* Height of a tree, without what chains of && and || add: they are followed in loops. */
struct operand {
    struct traceql_expression *node; /* NULL: failed */
    unsigned height;
};
static const struct operand operand_none = {NULL, 0};

static struct operand operand_new(struct parse *parse, enum traceql_expression_kind kind,
                                  unsigned height)
{
    struct traceql_expression *node = parse_alloc(parse, sizeof *node);

    if (height > TRACEQL_DEPTH_MAX) {
        parse_too_deep(parse);
        return operand_none;
    }
    if (node)
        node->kind = kind;
    return (struct operand){node, height};
}

static struct operand operand_literal(struct parse *parse, const struct traceql_value *value)
{
    struct operand operand = operand_new(parse, TRACEQL_LITERAL, 1);

    if (operand.node)
        operand.node->value = *value;
    return operand;
}

static struct operand operand_unary(struct parse *parse, enum traceql_op op, struct operand of)
{
    if (!of.node)
        return of;
    if (of.node->kind == TRACEQL_LITERAL && fold_unary(op, &of.node->value))
        return of;
    struct operand operand = operand_new(parse, TRACEQL_UNARY, of.height + 1);
    if (operand.node) {
        operand.node->op = op;
        operand.node->left = of.node;
    }
    return operand;
}

static enum traceql_op operand_turned(enum traceql_op op)
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

/* Comparisons that will pass the check; what will not is shown as it was written. */
static bool operand_turns(enum traceql_op op, const struct traceql_expression *left,
                          const struct traceql_expression *right)
{
    enum traceql_type type = type_of(right);

    return op >= TRACEQL_EQ && op <= TRACEQL_LE && op != TRACEQL_MATCH && op != TRACEQL_NOT_MATCH &&
           type_matches(left->value.type, type) && type_allows(op, left->value.type) &&
           type_allows(op, type);
}

/* Ids of traces are compared without their leading zeros. */
static void operand_trim_id(const struct traceql_expression *field, struct traceql_expression *id)
{
    if (field->kind != TRACEQL_FIELD || field->field.intrinsic != TRACEQL_TRACE_ID ||
        id->kind != TRACEQL_LITERAL || id->value.type != TRACEQL_STRING)
        return;
    struct fm_slice *text = &id->value.text;
    while (text->len && text->ptr[0] == '0')
        *text = fm_slice(text->ptr + 1, text->len - 1);
}

static struct operand operand_binary(struct parse *parse, enum traceql_op op, struct operand left,
                                     struct operand right)
{
    struct traceql_value value;

    if (!left.node || !right.node)
        return operand_none;
    operand_trim_id(left.node, right.node);
    operand_trim_id(right.node, left.node);
    bool left_literal = left.node->kind == TRACEQL_LITERAL;
    bool right_literal = right.node->kind == TRACEQL_LITERAL;
    if (left_literal && right_literal &&
        fold_binary(op, &left.node->value, &right.node->value, &value)) {
        left.node->value = value;
        return left;
    }
    bool turn = left_literal && !right_literal && operand_turns(op, left.node, right.node);
    bool chain = (op == TRACEQL_AND || op == TRACEQL_OR) && print_is_chain(left.node);
    unsigned height = FM_MAX(left.height + !chain, right.height + 1);
    struct operand operand = operand_new(parse, TRACEQL_BINARY, height);
    if (!operand.node)
        return operand;
    operand.node->op = turn ? operand_turned(op) : op;
    operand.node->left = turn ? right.node : left.node;
    operand.node->right = turn ? left.node : right.node;
    return operand;
}

/* ---- the grammar ---- */

static struct operand parse_operand(struct parse *parse, int level);

/* nil = x, nil != x; between two nils both are false. */
static struct operand parse_nil_first(struct parse *parse)
{
    static const struct traceql_value never = {.type = TRACEQL_BOOL};
    bool equal = parse_is(parse, LEXER_EQ);

    if (!equal && !parse_is(parse, LEXER_NE)) {
        parse_refuse(parse, "= or !=");
        return operand_none;
    }
    lexer_next(&parse->lexer);
    if (parse_take(parse, LEXER_NIL))
        return operand_literal(parse, &never);
    return operand_unary(parse, equal ? TRACEQL_NOT_EXISTS : TRACEQL_EXISTS,
                         parse_operand(parse, LEVEL_COMPARISON + 1));
}

static struct operand parse_primary(struct parse *parse)
{
    struct traceql_field field;
    struct traceql_value value;

    if (parse_take(parse, LEXER_OPEN)) {
        struct operand inner = parse_operand(parse, LEVEL_LOGIC);
        return parse_expect(parse, LEXER_CLOSE, "") ? inner : operand_none;
    }
    if (parse_take(parse, LEXER_MINUS))
        return operand_unary(parse, TRACEQL_NEGATE, parse_operand(parse, LEVEL_SUM + 1));
    if (parse_take(parse, LEXER_NOT))
        return operand_unary(parse, TRACEQL_NOT, parse_operand(parse, LEVEL_NOT + 1));
    if (parse_take(parse, LEXER_NIL))
        return parse_nil_first(parse);
    if (parse_try_field(parse, &field)) {
        struct operand operand = operand_new(parse, TRACEQL_FIELD, 1);
        if (operand.node)
            operand.node->field = field;
        return operand;
    }
    if (parse_literal(parse, &value))
        return operand_literal(parse, &value);
    parse_refuse(parse, NULL);
    return operand_none;
}

/* An operand and the operators behind it that bind at least as strongly as level. */
static struct operand parse_operand(struct parse *parse, int level)
{
    if (!parse_enter(parse))
        return operand_none;
    struct operand left = parse_primary(parse);
    for (;;) {
        const struct operation *operation = parse_operation(parse);
        if (!left.node || !operation || operation->level < level)
            break;
        lexer_next(&parse->lexer);
        bool equal = operation->op == TRACEQL_EQ;
        if ((equal || operation->op == TRACEQL_NE) && parse_take(parse, LEXER_NIL)) {
            left = operand_unary(parse, equal ? TRACEQL_NOT_EXISTS : TRACEQL_EXISTS, left);
            continue;
        }
        int next = operation->level + (operation->level != LEVEL_POWER);
        left = operand_binary(parse, operation->op, left, parse_operand(parse, next));
    }
    parse_leave(parse);
    return parse_failed(parse) ? operand_none : left;
}

struct traceql_expression *parse_expression(struct parse *parse)
{
    return parse_operand(parse, LEVEL_LOGIC).node;
}
