/* SPDX-License-Identifier: Apache-2.0 */
/* Plan: the stages of a query with their fields numbered and their patterns compiled. */
#include "internal.h"

#include <stdlib.h>

#define PLAN_BYTES_MAX FM_MIB(64)

void *plan_alloc(struct eval_plan *plan, size_t size)
{
    void *ptr = fm_arena_zalloc(&plan->arena, size);
    if (!ptr && !plan->rc)
        plan->rc = size > PLAN_BYTES_MAX - plan->arena.used_bytes ? FM_ELIMIT : FM_ENOMEM;
    return ptr;
}

uint32_t plan_find(const struct eval_plan *plan, const struct traceql_field *field)
{
    for (uint32_t i = 0; i < plan->field_count; i++)
        if (frame_field_equal(&plan->fields[i], field))
            return i;
    return EVAL_NONE;
}

static int plan_want_scoped(struct eval_plan *plan, const struct traceql_field *field,
                            uint32_t *ret_index)
{
    uint32_t found = plan_find(plan, field);
    if (found != EVAL_NONE) {
        *ret_index = found;
        return FM_OK;
    }
    if (plan->field_count == EVAL_FIELDS_MAX)
        return FM_ELIMIT;
    struct traceql_field copy = *field;
    copy.name = fm_slice_dup(&plan->arena, field->name);
    if (fm_arena_failed(&plan->arena))
        return FM_ENOMEM;
    *ret_index = plan->field_count;
    plan->fields[plan->field_count++] = copy;
    return FM_OK;
}

static bool plan_is_unscoped(const struct traceql_field *field)
{
    return field->intrinsic == TRACEQL_ATTRIBUTE && field->scope == TRACEQL_ANY_SCOPE;
}

int plan_ref(struct eval_plan *plan, const struct traceql_field *field, struct eval_ref *ret_ref)
{
    struct traceql_field scoped = *field;
    struct eval_ref ref = {.second = EVAL_NONE, .intrinsic = field->intrinsic};
    int rc = FM_OK;
    if (plan_is_unscoped(field)) {
        scoped.scope = TRACEQL_RESOURCE;
        rc = plan_want_scoped(plan, &scoped, &ref.second);
        scoped.scope = TRACEQL_SPAN;
    }
    if (!rc)
        rc = plan_want_scoped(plan, &scoped, &ref.index);
    if (!rc && field->intrinsic == TRACEQL_CHILD_COUNT) { /* computed where it is not stored */
        uint32_t index;
        struct traceql_field left = {.intrinsic = TRACEQL_NESTED_LEFT};
        struct traceql_field parent = {.intrinsic = TRACEQL_NESTED_PARENT};
        rc = plan_want_scoped(plan, &left, &index);
        if (!rc)
            rc = plan_want_scoped(plan, &parent, &index);
    }
    if (rc)
        return rc;
    ref.domain = frame_field_domain(&scoped);
    *ret_ref = ref;
    return FM_OK;
}

int eval_plan_want(struct eval_plan *plan, const struct traceql_field *field, uint32_t *ret_index)
{
    struct eval_ref ref;
    int rc = plan_ref(plan, field, &ref);
    if (rc)
        return rc;
    *ret_index = ref.index;
    return FM_OK;
}

const struct traceql_field *eval_plan_fields(const struct eval_plan *plan, uint32_t *ret_count)
{
    *ret_count = plan->field_count;
    return plan->fields;
}

const uint8_t *eval_plan_types(const struct eval_plan *plan)
{
    return plan->types;
}

/* ---- stages ---- */

static struct eval_stage *plan_stages(struct eval_plan *plan, const struct traceql_stage *from,
                                      unsigned depth, struct fm_why *why);

static struct fm_slice plan_label(struct eval_plan *plan, const char *name,
                                  const struct traceql_expression *of)
{
    struct fm_buf text;
    fm_buf_init(&text, PLAN_BYTES_MAX);
    fm_buf_printf(&text, "%s(", name);
    if (of)
        traceql_print_expression(of, &text);
    fm_buf_puts(&text, ")");
    struct fm_slice label = fm_slice_dup(&plan->arena, fm_buf_slice(&text));
    if ((text.failed || !label.ptr) && !plan->rc)
        plan->rc = FM_ENOMEM;
    fm_buf_fini(&text);
    return label;
}

static int plan_select(struct eval_plan *plan, const struct traceql_stage *from)
{
    for (uint32_t i = 0; i < from->field_count && !plan->rc; i++) {
        struct traceql_expression field = {.kind = TRACEQL_FIELD, .field = from->fields[i]};
        (void)compile_walk(plan, &field, 0, NULL); /* plan->rc says whether it worked */
    }
    return plan->rc;
}

static int plan_scalar(struct eval_plan *plan, const struct traceql_stage *from,
                       struct eval_stage *stage, struct fm_why *why)
{
    static const char *const names[] = {"count", "min", "max", "avg", "sum"};
    const struct traceql_scalar *left = from->left_scalar, *right = from->right_scalar;
    if (!left || !right || left->kind != TRACEQL_SCALAR_AGGREGATE ||
        right->kind != TRACEQL_SCALAR_LITERAL)
        return plan->rc = fm_fail(why, FM_EMALFORMED, "scalar filter not yet supported");
    plan->only_filters = false;
    stage->aggregate = left->aggregate;
    stage->value = right->value;
    stage->label = plan_label(plan, names[left->aggregate], left->expression);
    if (left->expression && left->aggregate != TRACEQL_COUNT)
        stage->walk = compile_walk(plan, left->expression, 0, why);
    return plan->rc;
}

static int plan_operation(struct eval_plan *plan, const struct traceql_stage *from,
                          struct eval_stage *stage, unsigned depth, struct fm_why *why)
{
    static const enum traceql_intrinsic nested[] = {TRACEQL_NESTED_LEFT, TRACEQL_NESTED_RIGHT,
                                                    TRACEQL_NESTED_PARENT};
    struct traceql_stage left = *from->left, right = *from->right;
    left.next = right.next = NULL;
    plan->only_filters = false;
    stage->left = plan_stages(plan, &left, depth + 1, why);
    if (!plan->rc)
        stage->right = plan_stages(plan, &right, depth + 1, why);
    for (unsigned i = 0; i < FM_COUNT(nested) && !plan->rc; i++) {
        struct traceql_field field = {.intrinsic = nested[i]};
        uint32_t index;
        if (from->op != TRACEQL_AND && from->op != TRACEQL_OR)
            plan->rc = plan_want_scoped(plan, &field, &index);
    }
    if (!plan->rc)
        stage->cost = FM_MIN(stage->left->cost, stage->right->cost);
    return plan->rc;
}

static bool plan_is_condition(const struct traceql_expression *expression)
{
    bool is_operation = expression->kind == TRACEQL_UNARY || expression->kind == TRACEQL_BINARY;
    return is_operation && (expression->op >= TRACEQL_EQ && expression->op <= TRACEQL_NOT_EXISTS) &&
           expression->op != TRACEQL_NEGATE;
}

static struct eval_stage *plan_stage(struct eval_plan *plan, const struct traceql_stage *from,
                                     unsigned depth, struct fm_why *why)
{
    struct eval_stage *stage = plan_alloc(plan, sizeof *stage);
    if (!stage)
        return NULL;
    stage->kind = from->kind;
    stage->op = from->op;
    stage->relation = from->relation;
    switch (from->kind) {
    case TRACEQL_FILTER:
        stage->node = compile_filter(plan, from->expression, why);
        if (stage->node) /* {} narrows nothing, so the other side goes first */
            stage->cost = stage->node->kind == EVAL_CONSTANT ? UINT32_MAX : stage->node->cost;
        break;
    case TRACEQL_OPERATION:
        plan->rc = plan_operation(plan, from, stage, depth, why);
        break;
    case TRACEQL_PIPELINE:
        stage->first = plan_stages(plan, from->first, depth + 1, why);
        stage->cost = stage->first ? stage->first->cost : 0;
        break;
    case TRACEQL_GROUP:
        plan->only_filters = false;
        if (plan_is_condition(from->expression)) /* what a filter would say */
            stage->node = compile_filter(plan, from->expression, why);
        else
            stage->walk = compile_walk(plan, from->expression, 0, why);
        stage->label = plan_label(plan, "by", from->expression);
        break;
    case TRACEQL_COALESCE:
        break;
    case TRACEQL_SELECT:
        plan->rc = plan_select(plan, from);
        break;
    case TRACEQL_SCALAR:
        plan->rc = plan_scalar(plan, from, stage, why);
        break;
    }
    return plan->rc ? NULL : stage;
}

static struct eval_stage *plan_stages(struct eval_plan *plan, const struct traceql_stage *from,
                                      unsigned depth, struct fm_why *why)
{
    struct eval_stage *first = NULL, **link = &first;
    if (depth > TRACEQL_DEPTH_MAX) {
        plan->rc = fm_fail(why, FM_ELIMIT, "the query is nested too deeply");
        return NULL;
    }
    for (; from && !plan->rc; from = from->next) {
        *link = plan_stage(plan, from, depth, why);
        if (*link)
            link = &(*link)->next;
    }
    return plan->rc ? NULL : first;
}

static bool plan_takes_all(const struct eval_stage *stage)
{
    for (; stage; stage = stage->next) {
        if (stage->kind == TRACEQL_SELECT)
            continue;
        if (stage->kind != TRACEQL_FILTER || stage->node->kind != EVAL_CONSTANT ||
            !stage->node->flag)
            return false;
    }
    return true;
}

/* What a run needs to tell what lies in its window: of metrics the spans, else the traces. */
static int plan_window(struct eval_plan *plan, bool of_metrics)
{
    static const enum traceql_intrinsic of_window[] = {TRACEQL_SPAN_START, TRACEQL_TRACE_START,
                                                       TRACEQL_TRACE_DURATION};
    int rc = FM_OK;
    for (unsigned i = 0; i < (of_metrics ? 1 : FM_COUNT(of_window)) && !rc; i++) {
        struct traceql_field field = {.intrinsic = of_window[i]};
        uint32_t index;
        rc = plan_want_scoped(plan, &field, &index);
    }
    return rc;
}

int eval_plan_new(struct eval_plan **ret_plan, const struct traceql_query *query,
                  struct fm_why *why)
{
    FM_AUTO(eval_plan) plan = calloc(1, sizeof *plan);
    if (!plan)
        return FM_ENOMEM;
    fm_arena_init(&plan->arena, PLAN_BYTES_MAX);
    plan->only_filters = true;
    plan->fields = plan_alloc(plan, EVAL_FIELDS_MAX * sizeof *plan->fields);
    plan->types = plan_alloc(plan, EVAL_FIELDS_MAX);
    if (!plan->rc)
        plan->first = plan_stages(plan, query->first, 0, why);
    if (!plan->rc)
        plan->rc = plan_window(plan, query->metrics != TRACEQL_NO_METRICS);
    if (plan->rc == FM_ELIMIT && plan->field_count == EVAL_FIELDS_MAX)
        return fm_fail(why, FM_ELIMIT, "the query needs too many fields");
    if (plan->rc)
        return plan->rc;
    plan->takes_all = plan_takes_all(plan->first);
    *ret_plan = fm_take(plan);
    return FM_OK;
}

struct eval_plan *eval_plan_free(struct eval_plan *plan)
{
    if (!plan)
        return NULL;
    for (uint32_t i = 0; i < plan->regex_count; i++)
        regex_free(plan->regexes[i]);
    fm_arena_fini(&plan->arena);
    free(plan);
    return NULL;
}
