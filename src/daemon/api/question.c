/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that do not care how a question came in. */
#include "question.h"

#include <inttypes.h>

#include "fermata/units.h"
#include "go_text.h"
#include "tags.h"

#define QUESTION_ARENA_MAX FM_MIB(1) /* the text is at most 128 KiB, a parse of a name is small */

void question_init(struct question *question, enum question_form form)
{
    static const enum query_kind kinds[QUESTION_FORMS] = {
        [QUESTION_SEARCH] = QUERY_SEARCH,        [QUESTION_TAGS] = QUERY_TAG_NAMES,
        [QUESTION_TAGS_V2] = QUERY_TAG_NAMES,    [QUESTION_VALUES] = QUERY_TAG_VALUES,
        [QUESTION_VALUES_V2] = QUERY_TAG_VALUES, [QUESTION_RANGE] = QUERY_METRICS,
        [QUESTION_INSTANT] = QUERY_METRICS,
    };
    memset(question, 0, sizeof *question);
    question->form = form;
    question->with_sets = true;
    question->ask.kind = kinds[form];
    question->ask.text = FM_SLICE("");
    question->ask.series.instant = form == QUESTION_INSTANT;
    fm_arena_init(&question->arena, QUESTION_ARENA_MAX);
}

void question_fini(struct question *question)
{
    fm_arena_fini(&question->arena);
}

/* ---- names ---- */

static int name_refuse(struct fm_slice name, const char *problem, struct fm_why *why)
{
    return fm_fail(why, FM_EMALFORMED,
                   "please provide a valid tagName: failed to parse identifier %.*s: %s",
                   (int)FM_MIN(name.len, (size_t)120), (const char *)name.ptr, problem);
}

/* The old form: a bare attribute name, or one of the few that stand for something else. */
static int name_set_bare(struct question *question, struct fm_slice name, struct fm_why *why)
{
    static const struct {
        const char *name;
        enum traceql_intrinsic intrinsic;
    } rows[] = {
        {"name", TRACEQL_NAME},
        {"root.name", TRACEQL_ROOT_NAME},
        {"root.service.name", TRACEQL_ROOT_SERVICE},
        {"status.code", TRACEQL_STATUS_CODE},
    };
    struct traceql_field field = {.scope = TRACEQL_ANY_SCOPE};

    field.name = fm_slice_dup(&question->arena, name);
    if (fm_arena_failed(&question->arena))
        return fm_fail(why, FM_ENOMEM, "out of memory");
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (!fm_slice_equal_text(name, rows[i].name))
            continue;
        field.intrinsic = rows[i].intrinsic;
        field.name = FM_SLICE("");
    }
    question->ask.field = field;
    return FM_OK;
}

/* The new form: what can stand alone between braces. */
static int name_set_field(struct question *question, struct fm_slice name, struct fm_why *why)
{
    struct traceql_query *query;
    struct fm_why problem = {""};
    uint8_t *text = fm_arena_alloc(&question->arena, name.len + 2);

    if (!text)
        return name_refuse(name, "longer than the limit", why);
    text[0] = '{';
    memcpy(text + 1, name.ptr, name.len);
    text[name.len + 1] = '}';
    int rc = traceql_parse(fm_slice(text, name.len + 2), &question->arena, &query, &problem);
    if (rc < 0)
        return name_refuse(name, rc == FM_ENOMEM ? "out of memory" : problem.text, why);
    const struct traceql_stage *stage = query->first;
    if (!stage || stage->kind != TRACEQL_FILTER || stage->next || query->metrics)
        return name_refuse(name, "it is not one field", why);
    if (!stage->expression || stage->expression->kind != TRACEQL_FIELD)
        return name_refuse(name, "it is not a field", why);
    question->ask.field = stage->expression->field;
    return FM_OK;
}

int question_set_name(struct question *question, struct fm_slice name, struct fm_why *why)
{
    if (!name.len)
        return fm_fail(why, FM_EMALFORMED, "please provide a non-empty tagName");
    return question->form == QUESTION_VALUES ? name_set_bare(question, name, why)
                                             : name_set_field(question, name, why);
}

int question_set_scope(struct question *question, struct fm_slice scope, struct fm_why *why)
{
    static const char *const scopes[] = {
        "trace", "resource", "span", "event", "link", "instrumentation", "intrinsic",
    };
    question->ask.scope = NULL;
    if (!scope.len || fm_slice_equal_text(scope, "none"))
        return FM_OK;
    for (size_t i = 0; i < FM_COUNT(scopes); i++) {
        if (!fm_slice_equal_text(scope, scopes[i]))
            continue;
        question->ask.scope = scopes[i];
        return FM_OK;
    }
    return fm_fail(why, FM_EMALFORMED, "invalid scope: %.*s", (int)FM_MIN(scope.len, (size_t)120),
                   (const char *)scope.ptr);
}

/* ---- numbers ---- */

int question_set_search(struct question *question, uint64_t limit, uint64_t spss,
                        struct fm_why *why)
{
    if (limit > QUESTION_LIMIT_MAX)
        return fm_fail(why, FM_EMALFORMED, "limit %" PRIu64 " exceeds max limit %u", limit,
                       QUESTION_LIMIT_MAX);
    if (spss > QUESTION_SPSS_MAX)
        return fm_fail(why, FM_EMALFORMED, "spans per span set exceeds %u. received %" PRIu64,
                       QUESTION_SPSS_MAX, spss);
    question->ask.limit = limit ? (uint32_t)limit : QUESTION_LIMIT_DEFAULT;
    question->ask.spss = spss ? (uint32_t)spss : QUESTION_SPSS_DEFAULT;
    return FM_OK;
}

int question_set_seconds(struct question *question, uint64_t start_s, uint64_t end_s,
                         struct fm_why *why)
{
    bool is_search = question->form == QUESTION_SEARCH;

    if (!start_s && !end_s)
        return FM_OK;
    if (is_search ? end_s <= start_s : end_s < start_s)
        return fm_fail(why, FM_EMALFORMED,
                       "http parameter start must be before end. received start=%" PRIu64
                       " end=%" PRIu64,
                       start_s, end_s);
    if (!start_s)
        return fm_fail(why, FM_EMALFORMED,
                       "error parsing date range: only one of start and end provided: must "
                       "provide both or neither");
    question->ask.start_ns = start_s * FM_NS_PER_S;
    question->ask.end_ns = end_s * FM_NS_PER_S;
    return FM_OK;
}

int question_set_range(struct question *question, uint64_t start_ns, uint64_t end_ns, bool has_step,
                       int64_t step_ns, struct fm_why *why)
{
    struct series_options *series = &question->ask.series;
    char step_text[GO_DURATION_TEXT_MAX], least_text[GO_DURATION_TEXT_MAX];

    if (start_ns > end_ns)
        return fm_fail(why, FM_EMALFORMED, "end must be greater than start");
    uint64_t length_ns = end_ns - start_ns;
    if (series->instant)
        has_step = false;
    if (has_step && step_ns <= 0)
        return fm_fail(why, FM_EMALFORMED,
                       "step of %s is too small, minimum step for given range is %s",
                       go_duration_print(step_ns, step_text),
                       go_duration_print((int64_t)(length_ns / SERIES_STEPS_MAX), least_text));
    series->start_ns = question->ask.start_ns = start_ns;
    series->end_ns = question->ask.end_ns = end_ns;
    series->step_ns = has_step ? (uint64_t)step_ns : 0;
    return FM_OK;
}

int question_set_text(struct question *question, const struct fm_buf *text, struct fm_why *why)
{
    if (text->failed)
        return fm_fail(why, FM_EMALFORMED, "invalid tags: longer than the limit");
    struct fm_slice slice = text->len ? fm_buf_slice(text) : FM_SLICE("{}");
    question->ask.text = fm_slice_dup(&question->arena, slice);
    if (fm_arena_failed(&question->arena))
        return fm_fail(why, FM_ENOMEM, "out of memory");
    return FM_OK;
}
