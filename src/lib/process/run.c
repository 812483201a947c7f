/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over a request.
 *
 *   for each ResourceSpans: the rules in order over its resource, which also tells which of them
 *   its spans can meet; then, if there is any such rule, each scope and each span in order.
 *
 * Nothing is written until something changes.  Then the request up to there is copied, envelopes
 * are opened on the way, and what follows is copied from one change to the next; an envelope that
 * loses all of its spans is taken back.
 */
#include "internal.h"

#include <stdlib.h>

enum { RS_RESOURCE = 1, RS_SCOPE_SPANS = 2, SS_SCOPE = 1, SS_SPANS = 2 };

struct run_count { /* spans of an envelope */
    uint64_t kept, dropped;
};

/* ---- the result ---- */

static void run_copy(struct process_state *state, const uint8_t *to)
{
    fm_buf_put(state->target, state->copied, (size_t)(to - state->copied));
    state->copied = to;
}

/* What stands from ptr to end is replaced by what is written next. */
static void run_replace(struct process_state *state, const uint8_t *ptr, const uint8_t *end)
{
    struct fm_buf *target = state->target;

    if (!state->changed && target->bytes_max - target->len >= state->request_len)
        (void)fm_buf_room(target, state->request_len); /* about that much it will be */
    for (uint32_t i = 0; i < state->depth; i++) {
        struct process_level *level = &state->levels[i];
        if (level->is_open)
            continue;
        run_copy(state, level->field.raw.ptr);
        level->start = state->target->len;
        level->mark = pb_begin(state->target, level->field.number);
        level->is_open = true;
        state->copied = level->field.bytes.ptr;
    }
    run_copy(state, ptr);
    state->copied = end;
    state->changed = true;
}

static void run_replace_field(struct process_state *state, const struct pb_field *field)
{
    run_replace(state, field->raw.ptr, field->raw.ptr + field->raw.len);
}

static void run_enter(struct process_state *state, const struct pb_field *field)
{
    state->levels[state->depth++] = (struct process_level){.field = *field};
}

static void run_leave(struct process_state *state, const struct run_count *count)
{
    struct process_level *level = &state->levels[--state->depth];

    if (!level->is_open)
        return;
    run_copy(state, level->field.raw.ptr + level->field.raw.len);
    if (count->dropped && !count->kept) {
        if (!state->target->failed)
            state->target->len = level->start;
    } else {
        pb_end(state->target, level->mark);
    }
}

static void run_put_holder(struct process_state *state, const struct process_holder *holder,
                           uint32_t number)
{
    size_t mark = pb_begin(state->target, number);
    process_put_holder(state, holder, state->target);
    pb_end(state->target, mark);
}

/* ---- resources ---- */

static bool run_is_span_rule(const struct process_compiled *rule)
{
    return rule->kind != PROCESS_RESOURCE &&
           !(rule->kind == PROCESS_ATTRIBUTES &&
             (rule->on == PROCESS_ON_RESOURCE || rule->on == PROCESS_ON_SCOPE));
}

static void run_look_up(struct process_state *state, const struct process_compiled *rule,
                        const struct process_holder *resource)
{
    if (rule->from)
        process_lookup_resource(state, rule->from, resource);
    for (uint32_t i = 0; i < rule->piece_count; i++) {
        for (uint32_t k = 0; k < rule->pieces[i].lookup_count; k++)
            process_lookup_resource(state, &rule->pieces[i].lookups[k], resource);
    }
}

static bool run_rule_on_resource(struct process_state *state, uint32_t index,
                                 struct process_holder *resource)
{
    const struct process_compiled *rule = &state->process->rules[index];
    bool possible = process_match_resource(state, rule, resource) && !rule->inert;

    state->possible[index] = possible;
    if (possible)
        run_look_up(state, rule, resource);
    if (run_is_span_rule(rule) && (possible || rule->keep)) {
        state->active[state->active_count++] = index;
        state->needs_nested |= rule->kind == PROCESS_REDACTION || rule->on == PROCESS_ON_EVENT ||
                               rule->on == PROCESS_ON_LINK;
    }
    bool is_scope_rule = rule->kind == PROCESS_ATTRIBUTES && rule->on == PROCESS_ON_SCOPE;
    state->needs_scope |= possible && (is_scope_rule || rule->kind == PROCESS_REDACTION);
    if (rule->kind == PROCESS_RESOURCE)
        return process_apply_resource(state, rule, resource);
    if (rule->kind == PROCESS_REDACTION)
        return process_redact_holder(state, rule, resource, &state->tallies[index]);
    return possible && rule->kind == PROCESS_ATTRIBUTES && rule->on == PROCESS_ON_RESOURCE &&
           process_apply_attributes(state, rule, resource);
}

/* The content of the last field with the number; empty: there is none. */
static int run_find(struct fm_slice content, uint32_t number, struct fm_slice *ret_bytes)
{
    struct pb_field field;
    int rc;

    *ret_bytes = FM_SLICE("");
    while ((rc = pb_next(&content, &field)) == FM_OK) {
        if (field.number == number && field.type == PB_BYTES)
            *ret_bytes = field.bytes;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int run_resource(struct process_state *state, struct fm_slice content,
                        struct process_holder *ret_resource)
{
    struct fm_slice bytes;
    int rc = run_find(content, RS_RESOURCE, &bytes);

    state->attr_count = state->active_count = 0;
    state->needs_nested = state->needs_scope = false;
    fm_arena_reset(&state->resource_arena);
    state->arena = &state->resource_arena;
    if (rc == FM_OK)
        rc = process_view(state, &process_resource_shape, bytes, ret_resource);
    for (uint32_t i = 0; rc == FM_OK && i < state->process->rule_count; i++) {
        state->tallies[i].changed += run_rule_on_resource(state, i, ret_resource);
        rc = state->rc;
    }
    return rc;
}

/* ---- scopes ---- */

static int run_scope(struct process_state *state, struct fm_slice content,
                     struct process_holder *ret_scope)
{
    struct fm_slice bytes;
    int rc = run_find(content, SS_SCOPE, &bytes);

    state->arena = &state->resource_arena;
    if (rc == FM_OK)
        rc = process_view(state, &process_scope_shape, bytes, ret_scope);
    for (uint32_t i = 0; rc == FM_OK && i < state->process->rule_count; i++) {
        const struct process_compiled *rule = &state->process->rules[i];
        bool changed = false;
        if (rule->kind == PROCESS_REDACTION)
            changed = process_redact_holder(state, rule, ret_scope, &state->tallies[i]);
        else if (state->possible[i] && rule->kind == PROCESS_ATTRIBUTES &&
                 rule->on == PROCESS_ON_SCOPE && process_match_scope(state, rule, ret_scope))
            changed = process_apply_attributes(state, rule, ret_scope);
        state->tallies[i].changed += changed;
        rc = state->rc;
    }
    return rc;
}

/* ---- spans ---- */

static bool run_attributes(struct process_state *state, const struct process_compiled *rule,
                           struct process_span *span)
{
    const struct process_shape *shape =
        rule->on == PROCESS_ON_EVENT ? &process_event_shape : &process_link_shape;
    bool changed = false;

    if (rule->on == PROCESS_ON_SPAN)
        return process_apply_attributes(state, rule, &span->own);
    for (uint32_t i = 0; i < state->holder_count; i++) {
        if (state->holders[i].shape == shape)
            changed |= process_apply_attributes(state, rule, &state->holders[i]);
    }
    span->nested_changed |= changed;
    return changed;
}

static bool run_redaction(struct process_state *state, const struct process_compiled *rule,
                          struct process_span *span, struct process_tally *tally)
{
    bool changed = process_redact_holder(state, rule, &span->own, tally);

    for (uint32_t i = 0; i < state->holder_count; i++) {
        bool is_new = process_redact_holder(state, rule, &state->holders[i], tally);
        span->nested_changed |= is_new;
        changed |= is_new;
    }
    if (rule->names && process_redact_text(state, rule, &span->message, tally))
        span->message_changed = changed = true;
    return changed;
}

/* False: the span is dropped. */
static bool run_rules_on_span(struct process_state *state, struct process_span *span,
                              bool *ret_changed)
{
    for (uint32_t i = 0; i < state->active_count; i++) {
        uint32_t index = state->active[i];
        const struct process_compiled *rule = &state->process->rules[index];
        struct process_tally *tally = &state->tallies[index];
        bool changed = false;
        bool matches = state->possible[index] && process_match_span(state, rule, span);
        if (rule->kind == PROCESS_FILTER && matches != rule->keep) {
            tally->dropped++;
            return false;
        }
        if (!matches)
            continue;
        if (rule->kind == PROCESS_ATTRIBUTES)
            changed = run_attributes(state, rule, span);
        else if (rule->kind == PROCESS_REDACTION)
            changed = run_redaction(state, rule, span, tally);
        else if (rule->kind == PROCESS_RENAME)
            changed = process_apply_rename(state, rule, span);
        tally->changed += changed;
        *ret_changed |= changed;
    }
    return true;
}

static int run_span(struct process_state *state, const struct pb_field *field,
                    struct run_count *count)
{
    uint32_t attr_count = state->attr_count;
    struct process_span span;
    bool changed = false;

    if (state->span_arena.used_bytes)
        fm_arena_reset(&state->span_arena);
    state->arena = &state->span_arena;
    int rc = process_view_span(state, field->bytes, &span);
    if (rc < 0)
        return rc;
    bool is_kept = run_rules_on_span(state, &span, &changed);
    if (state->rc < 0 || fm_arena_failed(state->arena))
        return state->rc < 0 ? state->rc : FM_ELIMIT;
    count->kept += is_kept;
    count->dropped += !is_kept;
    if (!is_kept || changed)
        run_replace_field(state, field);
    if (is_kept && changed) {
        size_t mark = pb_begin(state->target, SS_SPANS);
        process_put_span(state, &span, state->target);
        pb_end(state->target, mark);
    }
    state->attr_count = attr_count;
    return state->target->failed ? FM_ELIMIT : FM_OK;
}

static int run_scope_spans(struct process_state *state, const struct pb_field *scope_spans,
                           struct run_count *total)
{
    struct fm_slice rest = scope_spans->bytes;
    struct process_holder scope = {.changed = false};
    uint32_t attr_count = state->attr_count;
    struct run_count count = {0};
    bool is_put = false;
    struct pb_field field;
    int rc = state->needs_scope ? run_scope(state, rest, &scope) : FM_OK;

    run_enter(state, scope_spans);
    if (rc == FM_OK && scope.changed && !scope.content.len) {
        run_replace(state, rest.ptr, rest.ptr);
        run_put_holder(state, &scope, SS_SCOPE);
        is_put = true;
    }
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == SS_SPANS && state->active_count) {
            rc = run_span(state, &field, &count);
        } else if (field.number == SS_SCOPE && scope.changed) {
            run_replace_field(state, &field);
            if (!is_put)
                run_put_holder(state, &scope, SS_SCOPE);
            is_put = true;
        }
    }
    run_leave(state, &count);
    state->attr_count = attr_count;
    total->kept += count.kept;
    total->dropped += count.dropped;
    return rc == FM_END ? FM_OK : rc;
}

static int run_resource_spans(struct process_state *state, const struct pb_field *resource_spans)
{
    struct fm_slice rest = resource_spans->bytes;
    struct process_holder resource = {.changed = false};
    struct run_count count = {0};
    bool is_put = false;
    struct pb_field field;
    int rc = run_resource(state, rest, &resource);

    run_enter(state, resource_spans);
    if (rc == FM_OK && resource.changed && !resource.content.len) {
        run_replace(state, rest.ptr, rest.ptr);
        run_put_holder(state, &resource, RS_RESOURCE);
        is_put = true;
    }
    bool has_work = resource.changed || state->active_count || state->needs_scope;
    while (rc == FM_OK && has_work && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.type != PB_BYTES)
            continue;
        if (field.number == RS_SCOPE_SPANS && (state->active_count || state->needs_scope)) {
            rc = run_scope_spans(state, &field, &count);
        } else if (field.number == RS_RESOURCE && resource.changed) {
            run_replace_field(state, &field);
            if (!is_put)
                run_put_holder(state, &resource, RS_RESOURCE);
            is_put = true;
        }
    }
    run_leave(state, &count);
    if (rc == FM_END)
        rc = FM_OK;
    if (rc == FM_OK && fm_arena_failed(&state->resource_arena))
        rc = FM_ELIMIT;
    return rc;
}

/* ---- the whole ---- */

/* A span of exceptional size shall not be paid for ever after. */
static void run_shrink(struct process_state *state)
{
    if (state->attr_cap > PROCESS_IDLE_ATTRS) {
        free(fm_take(state->attrs));
        state->attr_cap = 0;
    }
    if (state->holder_cap > PROCESS_IDLE_ATTRS) {
        free(fm_take(state->holders));
        state->holder_cap = 0;
    }
    fm_arena_reset(&state->span_arena);
    fm_arena_reset(&state->resource_arena);
    if (state->scratch.cap > FM_KIB(64))
        fm_buf_fini(&state->scratch);
    if (state->nested.cap > FM_KIB(64))
        fm_buf_fini(&state->nested);
}

int process_run(struct process_state *state, struct fm_slice request, struct fm_buf *target)
{
    struct fm_slice rest = request;
    size_t before = target->len;
    struct pb_field field;
    int rc = FM_OK;

    memset(state->tallies, 0, state->process->rule_count * sizeof *state->tallies);
    state->target = target;
    state->copied = request.ptr;
    state->request_len = request.len;
    state->changed = false;
    state->depth = 0;
    state->rc = FM_OK;
    while (rc == FM_OK && (rc = pb_next(&rest, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            rc = run_resource_spans(state, &field);
    }
    if (rc == FM_END && state->changed)
        run_copy(state, request.ptr + request.len);
    run_shrink(state);
    if (rc == FM_END)
        rc = !state->changed ? FM_NONE : target->failed ? FM_ELIMIT : FM_OK;
    if (rc < 0 && !target->failed)
        target->len = before;
    return rc;
}

const struct process_tally *process_tallies(const struct process_state *state)
{
    return state->tallies;
}

int process_state_new(struct process_state **ret_state, const struct process *process)
{
    FM_AUTO(process_state) state = calloc(1, sizeof *state);

    if (!state)
        return FM_ENOMEM;
    state->process = process;
    fm_arena_init(&state->resource_arena, PROCESS_SCRATCH_MAX);
    fm_arena_init(&state->span_arena, PROCESS_SCRATCH_MAX);
    fm_buf_init(&state->scratch, PROCESS_SCRATCH_MAX);
    fm_buf_init(&state->nested, PROCESS_SCRATCH_MAX);
    state->matchers = calloc(process->regex_count + 1, sizeof(struct regex_matcher *));
    state->known = calloc(process->condition_count + 1, sizeof *state->known);
    state->possible = calloc(process->rule_count + 1, sizeof *state->possible);
    state->borrowed = calloc(process->lookup_count + 1, sizeof *state->borrowed);
    state->active = calloc(process->rule_count + 1, sizeof *state->active);
    state->tallies = calloc(process->rule_count + 1, sizeof *state->tallies);
    if (!state->matchers || !state->known || !state->possible || !state->borrowed ||
        !state->active || !state->tallies)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < process->regex_count; i++) {
        int rc = regex_matcher_new(&state->matchers[i], process->regexes[i]);
        if (rc < 0)
            return rc;
    }
    *ret_state = fm_take(state);
    return FM_OK;
}

struct process_state *process_state_free(struct process_state *state)
{
    if (!state)
        return NULL;
    for (uint32_t i = 0; state->matchers && i < state->process->regex_count; i++)
        regex_matcher_free(state->matchers[i]);
    fm_arena_fini(&state->resource_arena);
    fm_arena_fini(&state->span_arena);
    fm_buf_fini(&state->scratch);
    fm_buf_fini(&state->nested);
    free(state->matchers);
    free(state->known);
    free(state->possible);
    free(state->borrowed);
    free(state->active);
    free(state->tallies);
    free(state->attrs);
    free(state->holders);
    free(state);
    return NULL;
}
