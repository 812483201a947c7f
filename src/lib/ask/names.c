/* SPDX-License-Identifier: Apache-2.0 */
/* names - attribute names of a source by scope.
 *
 * Without a filter a source lists them from its dictionaries.  With one, a name counts if a span
 * that came through the filter has it: each listed name becomes a field of the plan, and its vector
 * is looked at until the name was seen once.  Names beyond the plan's limit are given unseen. */
#include <stdlib.h>

#include "internal.h"

struct names_scope { /* of one look at a source */
    struct ask_set listed;
    uint32_t *fields; /* owned; of the plan; UINT32_MAX: seen, or not to be looked for */
};

struct names_look {
    const struct ask *ask;
    ask_open *open;
    void *self;
    struct names_scope scopes[ASK_SCOPES];
    struct eval_plan *plan; /* owned */
    uint32_t unseen_count;
    struct ask_set *sets;
    struct frame_stats *stats;
    struct fm_why *why;
};

static int names_on_name(void *self, struct fm_slice name)
{
    const struct traceql_value value = {.type = TRACEQL_STRING, .text = name};
    return ask_set_add(self, &value);
}

static int names_list(struct names_look *look, struct ask_set *const sets[ASK_SCOPES])
{
    FM_AUTO(frame_source) source = NULL;
    const struct frame_request request = {.start_ns = look->ask->start_ns,
                                          .end_ns = look->ask->end_ns};
    if (!look->ask->scopes)
        return FM_OK;
    int rc = look->open(look->self, &request, &source, look->why);
    for (unsigned i = 0; rc == FM_OK && i < ASK_SCOPES; i++) {
        if (!(look->ask->scopes & 1u << i))
            continue;
        rc = frame_names(source, ask_scope_rows[i].scope, names_on_name, sets[i], look->why);
        rc = rc == FM_NONE ? FM_OK : rc;
    }
    if (source)
        ask_stats_add(look->stats, &source->stats);
    return rc;
}

static int names_take(struct names_look *look, unsigned scope, uint32_t at)
{
    look->scopes[scope].fields[at] = UINT32_MAX;
    int rc = ask_set_add(&look->sets[scope], &look->scopes[scope].listed.values[at]);
    return rc == FM_NONE ? FM_OK : rc;
}

static int names_want(struct names_look *look)
{
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        struct names_scope *scope = &look->scopes[i];
        scope->fields = malloc((scope->listed.count + 1) * sizeof *scope->fields);
        if (!scope->fields)
            return FM_ENOMEM;
        for (uint32_t at = 0; at < scope->listed.count; at++) {
            const struct traceql_field field = {.scope = ask_scope_rows[i].scope,
                                                .name = scope->listed.values[at].text};
            scope->fields[at] = UINT32_MAX;
            if (ask_set_has(&look->sets[i], &scope->listed.values[at]))
                continue;
            int rc = eval_plan_want(look->plan, &field, &scope->fields[at]);
            if (rc == FM_OK)
                look->unseen_count++;
            else
                rc = rc == FM_ELIMIT ? names_take(look, i, at) : rc;
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}

static bool names_entry_has(const struct frame_vector *vector, uint32_t at)
{
    return vector->shape == FRAME_INTEGERS || vector->codes[at] != 0;
}

static bool names_any(const struct frame_vector *vector, const uint32_t *ends, uint32_t span)
{
    for (uint32_t at = ends[span]; at < ends[span + 1]; at++) {
        if (names_entry_has(vector, at))
            return true;
    }
    return false;
}

static bool names_span_has(const struct frame *frame, const struct frame_vector *vector,
                           uint32_t span)
{
    switch (vector->domain) {
    case FRAME_RESOURCE:
        return names_entry_has(vector, frame->span_resources[span]);
    case FRAME_SCOPE:
        return names_entry_has(vector, frame->span_scopes[span]);
    case FRAME_EVENT:
        return frame->span_events && names_any(vector, frame->span_events, span);
    case FRAME_LINK:
        return frame->span_links && names_any(vector, frame->span_links, span);
    case FRAME_SPAN:
    case FRAME_TRACE:
        break;
    }
    return names_entry_has(vector, span);
}

static int names_look_at(struct names_look *look, struct eval_run *run, const struct frame *frame,
                         const uint8_t *mask, unsigned scope)
{
    for (uint32_t at = 0; at < look->scopes[scope].listed.count; at++) {
        const struct frame_vector *vector;
        bool seen = false;
        if (look->scopes[scope].fields[at] == UINT32_MAX)
            continue;
        int rc = eval_run_vector(run, look->scopes[scope].fields[at], &vector, look->why);
        if (rc < 0)
            return rc;
        for (uint32_t span = 0;
             vector->shape != FRAME_ABSENT && !seen && span < frame->count[FRAME_SPAN]; span++)
            seen = mask[span] && names_span_has(frame, vector, span);
        if (!seen)
            continue;
        look->unseen_count--;
        rc = names_take(look, scope, at);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int names_run(struct names_look *look, const struct eval_limits *limits)
{
    FM_AUTO(frame_source) source = NULL;
    FM_AUTO(eval_run) run = NULL;
    struct frame_request request = {.start_ns = limits->start_ns, .end_ns = limits->end_ns};
    const struct frame *frame;
    const uint8_t *mask;
    request.fields = eval_plan_fields(look->plan, &request.field_count);
    int rc = look->open(look->self, &request, &source, look->why);
    if (rc == FM_OK)
        rc = eval_run_new(&run, look->plan, source, limits);
    while (rc == FM_OK && look->unseen_count) {
        rc = eval_run_next(run, &frame, &mask, look->why);
        for (unsigned i = 0; rc == FM_OK && i < ASK_SCOPES; i++)
            rc = names_look_at(look, run, frame, mask, i);
    }
    run = eval_run_free(run);
    if (source)
        ask_stats_add(look->stats, &source->stats);
    return rc == FM_END ? FM_OK : rc;
}

static int names_filter(struct names_look *look, const struct eval_limits *limits)
{
    struct ask_set *listed[ASK_SCOPES];
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        ask_set_init(&look->scopes[i].listed, ASK_NAMES_MAX);
        listed[i] = &look->scopes[i].listed;
    }
    int rc = names_list(look, listed);
    if (rc == FM_OK)
        rc = eval_plan_new(&look->plan, look->ask->query, look->why);
    if (rc == FM_OK)
        rc = names_want(look);
    if (rc == FM_OK && look->unseen_count)
        rc = names_run(look, limits);
    look->plan = eval_plan_free(look->plan);
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        ask_set_fini(&look->scopes[i].listed);
        free(look->scopes[i].fields);
    }
    return rc;
}

int ask_names_add(const struct ask *ask, const struct eval_limits *limits, ask_open *open,
                  void *self, struct ask_set sets[ASK_SCOPES], struct frame_stats *stats,
                  struct fm_why *why)
{
    struct names_look look = {
        .ask = ask, .open = open, .self = self, .sets = sets, .stats = stats, .why = why};
    struct ask_set *all[ASK_SCOPES];
    for (unsigned i = 0; i < ASK_SCOPES; i++)
        all[i] = &sets[i];
    return ask->has_filter ? names_filter(&look, limits) : names_list(&look, all);
}
