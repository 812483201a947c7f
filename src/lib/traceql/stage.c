/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines and what stands in them.
 *
 * An opening parenthesis may begin five things: spansets, a scalar, a whole pipeline, set
 * operations between pipelines, or a pipeline that ends in a scalar.  What may come is handed down
 * as a mask; what came goes up as a class. */
#include "internal.h"

enum {
    ITEM_SET = 1,              /* {...} and operations between such */
    ITEM_SCALAR = 2,           /* count() + 1 */
    ITEM_PIPELINES = 4,        /* ({...} | ...) and operations between such */
    ITEM_SCALAR_PIPELINES = 8, /* ({...} | count()) and arithmetic with such */
    ITEM_STAGE = 16,           /* by(), select() */
    ITEM_COALESCE = 32,        /* not first */
};

struct item {
    unsigned class; /* 0: failed */
    struct traceql_stage *stage;
    struct traceql_scalar *scalar;
    unsigned height;
    bool closed; /* ITEM_SET in parentheses: as good as a pipeline of one stage */
};
static const struct item item_none = {0};

struct set_operation {
    enum lexer_kind kind;
    enum traceql_op op;
    enum traceql_relation relation;
    int level;
};

static const struct set_operation set_operations[] = {
    {LEXER_AND, TRACEQL_AND, TRACEQL_PLAIN, 1},
    {LEXER_OR, TRACEQL_OR, TRACEQL_PLAIN, 1},
    {LEXER_GT, TRACEQL_CHILD, TRACEQL_PLAIN, 2},
    {LEXER_LT, TRACEQL_PARENT_OF, TRACEQL_PLAIN, 2},
    {LEXER_DESCENDANT, TRACEQL_DESCENDANT, TRACEQL_PLAIN, 2},
    {LEXER_ANCESTOR, TRACEQL_ANCESTOR, TRACEQL_PLAIN, 2},
    {LEXER_SIBLING, TRACEQL_SIBLING, TRACEQL_PLAIN, 2},
    {LEXER_NOT_CHILD, TRACEQL_CHILD, TRACEQL_NEGATED, 2},
    {LEXER_NOT_PARENT, TRACEQL_PARENT_OF, TRACEQL_NEGATED, 2},
    {LEXER_NOT_DESCENDANT, TRACEQL_DESCENDANT, TRACEQL_NEGATED, 2},
    {LEXER_NOT_ANCESTOR, TRACEQL_ANCESTOR, TRACEQL_NEGATED, 2},
    {LEXER_NOT_MATCH, TRACEQL_SIBLING, TRACEQL_NEGATED, 2},
    {LEXER_UNION_CHILD, TRACEQL_CHILD, TRACEQL_UNION, 2},
    {LEXER_UNION_PARENT, TRACEQL_PARENT_OF, TRACEQL_UNION, 2},
    {LEXER_UNION_DESCENDANT, TRACEQL_DESCENDANT, TRACEQL_UNION, 2},
    {LEXER_UNION_ANCESTOR, TRACEQL_ANCESTOR, TRACEQL_UNION, 2},
    {LEXER_UNION_SIBLING, TRACEQL_SIBLING, TRACEQL_UNION, 2},
};

/* Arithmetic is listed behind them, with levels of its own. */
static const struct set_operation scalar_operations[] = {
    {LEXER_PLUS, TRACEQL_ADD, 0, 1}, {LEXER_MINUS, TRACEQL_SUB, 0, 1},
    {LEXER_MUL, TRACEQL_MUL, 0, 2},  {LEXER_DIV, TRACEQL_DIV, 0, 2},
    {LEXER_MOD, TRACEQL_MOD, 0, 2},  {LEXER_POW, TRACEQL_POW, 0, 3},
};

static struct item item_parse(struct parse *parse, unsigned mask, int level);

static struct traceql_stage *stage_new(struct parse *parse, enum traceql_stage_kind kind)
{
    struct traceql_stage *stage = parse_alloc(parse, sizeof *stage);

    if (stage)
        stage->kind = kind;
    return stage;
}

static struct item item_of_stage(unsigned class, struct traceql_stage *stage)
{
    return stage ? (struct item){.class = class, .stage = stage, .height = 1} : item_none;
}

/* ---- single stages ---- */

struct traceql_stage *parse_filter(struct parse *parse)
{
    struct traceql_stage *stage = stage_new(parse, TRACEQL_FILTER);

    if (!stage || !parse_expect(parse, LEXER_OPEN_BRACE, NULL))
        return NULL;
    if (parse_take(parse, LEXER_CLOSE_BRACE))
        return stage;
    struct traceql_expression *expression = parse_expression(parse);
    if (!parse_expect(parse, LEXER_CLOSE_BRACE, ""))
        return NULL;
    bool is_true = expression->kind == TRACEQL_LITERAL && expression->value.type == TRACEQL_BOOL &&
                   expression->value.flag;
    stage->expression = is_true ? NULL : expression;
    return stage;
}

static struct traceql_stage *stage_parse_group(struct parse *parse)
{
    struct traceql_stage *stage = stage_new(parse, TRACEQL_GROUP);

    if (!stage || !parse_expect(parse, LEXER_OPEN, NULL))
        return NULL;
    stage->expression = parse_expression(parse);
    return parse_expect(parse, LEXER_CLOSE, "") ? stage : NULL;
}

static struct traceql_stage *stage_parse_select(struct parse *parse)
{
    struct traceql_stage *stage = stage_new(parse, TRACEQL_SELECT);

    if (!stage || !parse_expect(parse, LEXER_OPEN, NULL))
        return NULL;
    parse_fields(parse, &stage->fields, &stage->field_count);
    return parse_failed(parse) ? NULL : stage;
}

static struct traceql_stage *stage_parse_coalesce(struct parse *parse)
{
    struct traceql_stage *stage = stage_new(parse, TRACEQL_COALESCE);

    if (!stage || !parse_expect(parse, LEXER_OPEN, NULL) || !parse_expect(parse, LEXER_CLOSE, NULL))
        return NULL;
    return stage;
}

/* ---- scalars ---- */

static struct traceql_scalar *scalar_new(struct parse *parse, enum traceql_scalar_kind kind)
{
    struct traceql_scalar *scalar = parse_alloc(parse, sizeof *scalar);

    if (scalar)
        scalar->kind = kind;
    return scalar;
}

static bool scalar_is_aggregate(enum lexer_kind kind, enum traceql_aggregate *ret_aggregate)
{
    static const enum lexer_kind kinds[] = {LEXER_COUNT, LEXER_MIN, LEXER_MAX, LEXER_AVG,
                                            LEXER_SUM};

    for (unsigned i = 0; i < FM_COUNT(kinds); i++) {
        if (kinds[i] != kind)
            continue;
        *ret_aggregate = (enum traceql_aggregate)i;
        return true;
    }
    return false;
}

static bool scalar_parse_number(struct parse *parse, struct traceql_value *value)
{
    const struct lexer_token *token = &parse->lexer.token;

    if (!parse_is(parse, LEXER_INTEGER) && !parse_is(parse, LEXER_FLOAT) &&
        !parse_is(parse, LEXER_DURATION))
        return false;
    value->type = token->kind == LEXER_FLOAT     ? TRACEQL_FLOAT
                  : token->kind == LEXER_INTEGER ? TRACEQL_INT
                                                 : TRACEQL_DURATION;
    if (value->type == TRACEQL_FLOAT)
        value->number = token->number;
    else
        value->integer = token->integer;
    lexer_next(&parse->lexer);
    return true;
}

/* NULL without a failure: none begins here. */
static struct traceql_scalar *scalar_parse(struct parse *parse)
{
    enum traceql_aggregate aggregate;
    struct traceql_value value = {.type = TRACEQL_NIL};

    if (scalar_is_aggregate(parse->lexer.token.kind, &aggregate)) {
        struct traceql_scalar *scalar = scalar_new(parse, TRACEQL_SCALAR_AGGREGATE);
        lexer_next(&parse->lexer);
        if (!scalar || !parse_expect(parse, LEXER_OPEN, NULL))
            return NULL;
        scalar->aggregate = aggregate;
        bool counts = aggregate == TRACEQL_COUNT;
        if (!counts)
            scalar->expression = parse_expression(parse);
        return parse_expect(parse, LEXER_CLOSE, counts ? NULL : "") ? scalar : NULL;
    }
    bool minus = parse_take(parse, LEXER_MINUS);
    if (!scalar_parse_number(parse, &value)) {
        if (minus)
            parse_refuse(parse, "INTEGER or FLOAT or DURATION");
        return NULL;
    }
    if (minus)
        (void)fold_unary(TRACEQL_NEGATE, &value); /* of a literal without a sign */
    struct traceql_scalar *scalar = scalar_new(parse, TRACEQL_SCALAR_LITERAL);
    if (scalar)
        scalar->value = value;
    return scalar;
}

static struct item item_scalar(struct parse *parse)
{
    struct traceql_scalar *scalar = scalar_parse(parse);

    if (!scalar) {
        parse_refuse(parse, NULL);
        return item_none;
    }
    return (struct item){.class = ITEM_SCALAR, .scalar = scalar, .height = 1};
}

/* The left side is complete, a comparison must follow. */
static struct traceql_stage *scalar_parse_filter(struct parse *parse, struct traceql_scalar *left)
{
    enum traceql_op op = parse_comparison(parse->lexer.token.kind);
    struct traceql_stage *stage = stage_new(parse, TRACEQL_SCALAR);

    if (!stage || op == TRACEQL_ADD) {
        parse_refuse(parse, NULL);
        return NULL;
    }
    lexer_next(&parse->lexer);
    stage->op = op;
    stage->left_scalar = left;
    stage->right_scalar = item_parse(parse, ITEM_SCALAR, 0).scalar;
    return parse_failed(parse) ? NULL : stage;
}

/* ({...} | count()) > ({...} | count()), or a literal of any type. */
static struct traceql_stage *scalar_parse_pipelines(struct parse *parse,
                                                    struct traceql_scalar *left)
{
    enum traceql_op op = parse_comparison(parse->lexer.token.kind);
    struct traceql_stage *stage = stage_new(parse, TRACEQL_SCALAR);
    struct traceql_value value;

    if (!stage || op == TRACEQL_ADD) {
        parse_refuse(parse, NULL);
        return NULL;
    }
    lexer_next(&parse->lexer);
    stage->op = op;
    stage->left_scalar = left;
    if (parse_is(parse, LEXER_OPEN)) {
        stage->right_scalar = item_parse(parse, ITEM_SCALAR_PIPELINES, 0).scalar;
    } else if (parse_literal(parse, &value)) {
        stage->right_scalar = scalar_new(parse, TRACEQL_SCALAR_LITERAL);
        if (stage->right_scalar)
            stage->right_scalar->value = value;
    } else {
        parse_refuse(parse, NULL);
    }
    return parse_failed(parse) ? NULL : stage;
}

/* ---- pipelines in parentheses ---- */

/* A stage behind "|".  With ends_in_scalar an aggregate before ")" is no comparison but the end. */
static struct item stage_parse(struct parse *parse, bool ends_in_scalar)
{
    struct item item = item_parse(parse, ITEM_SET | ITEM_SCALAR | ITEM_STAGE | ITEM_COALESCE, 0);

    if (item.class != ITEM_SCALAR)
        return item;
    if (ends_in_scalar && item.height == 1 && item.scalar->kind == TRACEQL_SCALAR_AGGREGATE &&
        parse_is(parse, LEXER_CLOSE))
        return item;
    return item_of_stage(ITEM_STAGE, scalar_parse_filter(parse, item.scalar));
}

/* The rest of a pipeline in parentheses, from behind its first stage through ")". */
static struct item item_parse_pipeline(struct parse *parse, unsigned mask,
                                       struct traceql_stage *first)
{
    struct traceql_stage *last = first;
    bool scalar = mask & ITEM_SCALAR_PIPELINES, whole = mask & ITEM_PIPELINES;

    while (parse_take(parse, LEXER_PIPE)) {
        struct item item = stage_parse(parse, scalar);
        if (item.class == ITEM_SCALAR) {
            lexer_next(&parse->lexer);
            item.scalar->kind = TRACEQL_SCALAR_PIPELINE;
            item.scalar->first = first;
            item.class = ITEM_SCALAR_PIPELINES;
            return item;
        }
        if (!item.class)
            return item_none;
        last = last->next = item.stage;
    }
    struct traceql_stage *stage = stage_new(parse, TRACEQL_PIPELINE);
    if (!whole)
        parse_refuse(parse, "|");
    if (!stage || !parse_expect(parse, LEXER_CLOSE, ") or |"))
        return item_none;
    stage->first = first;
    return item_of_stage(ITEM_PIPELINES, stage);
}

/* Behind "(". */
static struct item item_parse_parenthesised(struct parse *parse, unsigned mask)
{
    unsigned pipelines = mask & (ITEM_PIPELINES | ITEM_SCALAR_PIPELINES);
    unsigned inner = mask & ~(unsigned)(ITEM_STAGE | ITEM_COALESCE);
    struct item item =
        item_parse(parse, inner | (pipelines ? ITEM_SET | ITEM_SCALAR | ITEM_STAGE : 0), 0);

    if (!item.class)
        return item;
    /* What can be read as spansets or a scalar is no pipeline. */
    if (item.class != ITEM_STAGE && (item.class & mask) && parse_take(parse, LEXER_CLOSE)) {
        item.closed = item.class == ITEM_SET;
        return item;
    }
    if (!pipelines || item.class == ITEM_PIPELINES || item.class == ITEM_SCALAR_PIPELINES) {
        parse_refuse(parse, NULL);
        return item_none;
    }
    if (item.class == ITEM_SCALAR)
        item = item_of_stage(ITEM_STAGE, scalar_parse_filter(parse, item.scalar));
    return item.class ? item_parse_pipeline(parse, mask, item.stage) : item_none;
}

/* ---- operations ---- */

static struct item item_primary(struct parse *parse, unsigned mask)
{
    enum lexer_kind kind = parse->lexer.token.kind;
    unsigned groups = ITEM_SET | ITEM_SCALAR | ITEM_PIPELINES | ITEM_SCALAR_PIPELINES;
    enum traceql_aggregate ignored;

    if (parse_failed(parse))
        return item_none;
    if (kind == LEXER_OPEN_BRACE && (mask & ITEM_SET))
        return item_of_stage(ITEM_SET, parse_filter(parse));
    if (kind == LEXER_OPEN && (mask & groups)) {
        lexer_next(&parse->lexer);
        return item_parse_parenthesised(parse, mask);
    }
    if ((mask & ITEM_SCALAR) &&
        (scalar_is_aggregate(kind, &ignored) || kind == LEXER_INTEGER || kind == LEXER_FLOAT ||
         kind == LEXER_DURATION || kind == LEXER_MINUS))
        return item_scalar(parse);
    if ((mask & ITEM_STAGE) && parse_take(parse, LEXER_BY))
        return item_of_stage(ITEM_STAGE, stage_parse_group(parse));
    if ((mask & ITEM_STAGE) && parse_take(parse, LEXER_SELECT))
        return item_of_stage(ITEM_STAGE, stage_parse_select(parse));
    if ((mask & ITEM_COALESCE) && parse_take(parse, LEXER_COALESCE))
        return item_of_stage(ITEM_STAGE, stage_parse_coalesce(parse));
    bool pipelines = mask == ITEM_PIPELINES || mask == ITEM_SCALAR_PIPELINES;
    bool sets = mask == ITEM_SET || mask == (ITEM_SET | ITEM_PIPELINES);
    parse_refuse(parse, sets ? "{ or (" : pipelines ? "(" : NULL);
    return item_none;
}

static const struct set_operation *item_operation(const struct parse *parse, unsigned class)
{
    bool sets = class == ITEM_SET || class == ITEM_PIPELINES;
    const struct set_operation *rows = sets ? set_operations : scalar_operations;
    size_t count = sets ? FM_COUNT(set_operations) : FM_COUNT(scalar_operations);

    for (size_t i = 0; class && class != ITEM_STAGE && i < count; i++) {
        if (parse_is(parse, rows[i].kind))
            return &rows[i];
    }
    return NULL;
}

static struct item item_join(struct parse *parse, const struct set_operation *operation,
                             struct item left, struct item right)
{
    struct item item = {.class = right.class, .height = FM_MAX(left.height, right.height) + 1};

    if (item.height > TRACEQL_DEPTH_MAX)
        parse_too_deep(parse);
    if (left.stage) {
        item.stage = stage_new(parse, TRACEQL_OPERATION);
        if (!item.stage)
            return item_none;
        item.stage->op = operation->op;
        item.stage->relation = operation->relation;
        item.stage->left = left.stage;
        item.stage->right = right.stage;
        return item;
    }
    item.scalar = scalar_new(parse, TRACEQL_SCALAR_ARITHMETIC);
    if (!item.scalar)
        return item_none;
    item.scalar->op = operation->op;
    item.scalar->left = left.scalar;
    item.scalar->right = right.scalar;
    return item;
}

static struct item item_parse(struct parse *parse, unsigned mask, int level)
{
    const struct set_operation *operation;

    if (!parse_enter(parse))
        return item_none;
    struct item left = item_primary(parse, mask);
    while ((operation = item_operation(parse, left.class)) && operation->level >= level) {
        lexer_next(&parse->lexer);
        int next = operation->level + (operation->op != TRACEQL_POW);
        unsigned right_mask = left.class | (left.closed ? mask & ITEM_PIPELINES : 0);
        struct item right = item_parse(parse, right_mask, next);
        left = right.class ? item_join(parse, operation, left, right) : item_none;
    }
    parse_leave(parse);
    return parse_failed(parse) ? item_none : left;
}

/* ---- the whole ---- */

void parse_pipeline(struct parse *parse, struct traceql_query *query)
{
    struct item item = item_parse(
        parse, ITEM_SET | ITEM_SCALAR | ITEM_PIPELINES | ITEM_SCALAR_PIPELINES | ITEM_STAGE, 0);

    if (item.class == ITEM_PIPELINES) {
        query->first = item.stage->kind == TRACEQL_PIPELINE ? item.stage->first : item.stage;
        return;
    }
    if (item.class == ITEM_SCALAR_PIPELINES) {
        query->first = scalar_parse_pipelines(parse, item.scalar);
        return;
    }
    if (item.class == ITEM_SCALAR)
        item.stage = scalar_parse_filter(parse, item.scalar);
    struct traceql_stage *last = query->first = item.stage;
    while (parse_take(parse, LEXER_PIPE)) {
        if (parse_is_metrics(parse->lexer.token.kind)) {
            parse_metrics(parse, query);
            return;
        }
        item = stage_parse(parse, false);
        if (!item.class)
            return;
        last = last->next = item.stage;
    }
}
