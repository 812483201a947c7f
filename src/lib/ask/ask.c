/* SPDX-License-Identifier: Apache-2.0 */
/* ask - a question's text, window and limits, understood once for all places. */
#include "internal.h"

#include <stdlib.h>

#define ASK_TREE_BYTES_MAX FM_MIB(64) /* of a tree; the text is at most 128 KiB */

const struct ask_scope_row ask_scope_rows[ASK_SCOPES] = {
    {TRACEQL_SPAN, "span"},
    {TRACEQL_RESOURCE, "resource"},
    {TRACEQL_EVENT, "event"},
    {TRACEQL_LINK, "link"},
    {TRACEQL_INSTRUMENTATION, "instrumentation"},
};

static int ask_read_scope(struct ask *ask, const char *scope, struct fm_why *why)
{
    ask->scopes = (1u << ASK_SCOPES) - 1;
    ask->wants_intrinsics = true;
    if (!scope || !*scope || strcmp(scope, "none") == 0)
        return FM_OK;
    ask->scopes = 0;
    ask->wants_intrinsics = strcmp(scope, "intrinsic") == 0;
    for (unsigned i = 0; i < ASK_SCOPES; i++) {
        if (strcmp(scope, ask_scope_rows[i].name) == 0)
            ask->scopes = (uint8_t)(1u << i);
    }
    if (!ask->scopes && !ask->wants_intrinsics && strcmp(scope, "trace") != 0)
        return fm_fail(why, FM_EMALFORMED, "invalid scope: %s", scope);
    return FM_OK;
}

/* A filter that cannot be used is none: it is being typed. */
static int ask_read_filter(struct ask *ask, struct fm_slice text)
{
    int rc = traceql_parse_lenient(text.len ? text : FM_SLICE("{}"), &ask->arena, &ask->query);
    if (rc == FM_OK && traceql_check(ask->query, NULL) < 0)
        rc = traceql_parse_lenient(FM_SLICE("{}"), &ask->arena, &ask->query);
    if (rc < 0)
        return rc;
    const struct traceql_stage *first = ask->query->first;
    ask->query->metrics = TRACEQL_NO_METRICS;
    ask->has_filter = first && (first->kind != TRACEQL_FILTER || first->expression || first->next);
    return FM_OK;
}

static int ask_read_query(struct ask *ask, struct fm_slice text, struct fm_why *why)
{
    bool is_empty = ask->kind == ASK_SEARCH && !text.len;
    int rc = traceql_parse(is_empty ? FM_SLICE("{}") : text, &ask->arena, &ask->query, why);
    return rc < 0 ? rc : traceql_check(ask->query, why);
}

/* What is wrong with a range or a step is found out here, not in the first job. */
static int ask_read_series(struct ask *ask, const struct ask_question *question, struct fm_why *why)
{
    FM_AUTO(series) series = NULL;
    const struct eval_limits limits = {
        .end_ns = UINT64_MAX, .by_span = true, .memory_max = FM_MIB(16)};
    ask->series = question->series;
    ask->series.start_ns = question->start_ns;
    ask->series.end_ns = question->end_ns;
    int rc = series_new(&series, ask->query, &limits, &ask->series, why);
    if (rc < 0)
        return rc;
    series_window(series, &ask->start_ns, &ask->end_ns);
    return FM_OK;
}

static int ask_read(struct ask *ask, const struct ask_question *question, bool *is_text,
                    struct fm_why *why)
{
    int rc = FM_OK;
    ask->field = question->field;
    ask->field.name = fm_slice_dup(&ask->arena, question->field.name);
    *is_text = false;
    switch (ask->kind) {
    case ASK_TAG_NAMES:
        rc = ask_read_scope(ask, question->scope, why);
        return rc < 0 ? rc : ask_read_filter(ask, question->text);
    case ASK_TAG_VALUES:
        return ask_read_filter(ask, question->text);
    case ASK_SEARCH:
    case ASK_METRICS:
        break;
    }
    *is_text = true;
    rc = ask_read_query(ask, question->text, why);
    if (rc < 0 || ask->kind == ASK_SEARCH)
        return rc;
    *is_text = false;
    return ask_read_series(ask, question, why);
}

int ask_new(struct ask **ret_ask, const struct ask_question *question, bool *ret_is_text,
            struct fm_why *why)
{
    bool is_text = false;
    FM_AUTO(ask) ask = calloc(1, sizeof *ask);
    if (!ask)
        return fm_fail(why, FM_ENOMEM, "no memory for a question");
    fm_arena_init(&ask->arena, ASK_TREE_BYTES_MAX);
    ask->kind = question->kind;
    ask->start_ns = question->start_ns;
    ask->end_ns = question->start_ns || question->end_ns ? question->end_ns : UINT64_MAX;
    ask->limit = question->limit;
    ask->search = (struct eval_search_options){
        .limit = question->limit ? question->limit : ASK_LIMIT_DEFAULT,
        .spss = question->spss ? question->spss : ASK_SPSS_DEFAULT,
    };
    int rc = ask_read(ask, question, &is_text, why);
    if (rc == FM_OK && ask->kind == ASK_TAG_VALUES)
        ask->query->of = ask->field; /* the root's name is not known to every part */
    if (rc == FM_OK && !eval_is_local(ask->query))
        rc = eval_weaken(ask->query, &ask->arena, &ask->weak);
    if (rc == FM_OK && fm_arena_failed(&ask->arena))
        rc = fm_fail(why, FM_ENOMEM, "no memory for a question");
    if (ret_is_text)
        *ret_is_text = is_text;
    if (rc < 0)
        return rc;
    *ret_ask = fm_take(ask);
    return FM_OK;
}

struct ask *ask_free(struct ask *ask)
{
    if (!ask)
        return NULL;
    fm_arena_fini(&ask->arena);
    free(ask);
    return NULL;
}

enum ask_kind ask_kind(const struct ask *ask)
{
    return ask->kind;
}

void ask_window(const struct ask *ask, uint64_t *ret_start_ns, uint64_t *ret_end_ns)
{
    *ret_start_ns = ask->start_ns;
    *ret_end_ns = ask->end_ns;
}

bool ask_joins(const struct ask *ask)
{
    switch (ask->kind) {
    case ASK_TAG_NAMES:
    case ASK_TAG_VALUES:
        return ask->has_filter && ask->weak;
    case ASK_METRICS:
        return ask->weak != NULL;
    case ASK_SEARCH:
        break;
    }
    return true;
}
