/* SPDX-License-Identifier: Apache-2.0 */
/* Questions in a URL.  An empty value counts as absent, and what is not known is not looked at. */
#include <inttypes.h>

#include "fermata/http.h"
#include "fermata/units.h"
#include "go_text.h"
#include "question.h"
#include "tags.h"

#define METRICS_SINCE_NS (3600 * FM_NS_PER_S)

struct parameters {
    struct question *question;
    struct fm_slice query;
    uint64_t now_ns;
    struct fm_why *why;
};

/* False: absent, empty, or no percent-encoding of anything. */
static bool parameter_find(struct parameters *parameters, const char *name,
                           struct fm_slice *ret_value)
{
    struct fm_slice value;
    if (http_query_find(parameters->query, name, &parameters->question->arena, &value) != FM_OK ||
        !value.len)
        return false;
    *ret_value = value;
    return true;
}

/* Absent: 0.  `invalid limit: strconv.ParseUint: ...` */
static int parameter_uint(struct parameters *parameters, const char *name, bool is_signed,
                          uint64_t *ret_value)
{
    struct fm_slice text;
    struct fm_why why = {""};
    int64_t number = 0;
    uint64_t value = 0;
    int rc = FM_OK;

    if (parameter_find(parameters, name, &text)) {
        if (is_signed) {
            rc = go_int_parse(text, INT32_MAX, &number, &why);
            value = (uint32_t)number;
        } else {
            rc = go_uint_parse(text, UINT32_MAX, &value, &why);
        }
    }
    if (rc < 0)
        return fm_fail(parameters->why, rc, "invalid %s: %s", name, why.text);
    *ret_value = value;
    return FM_OK;
}

/* Absent or no number: 0, as Tempo does for what it need not know. */
static uint32_t parameter_uint_or_0(struct parameters *parameters, const char *name)
{
    struct fm_slice text;
    uint64_t value;
    if (!parameter_find(parameters, name, &text) ||
        go_uint_parse(text, UINT32_MAX, &value, NULL) < 0)
        return 0;
    return (uint32_t)value;
}

/* Start and end in seconds, or since. */
static int parameters_window(struct parameters *parameters)
{
    struct question *question = parameters->question;
    bool is_search = question->form == QUESTION_SEARCH;
    struct fm_slice since, text;
    struct fm_why why = {""};
    uint64_t start_s, end_s, since_ns;

    int rc = parameter_uint(parameters, "start", !is_search, &start_s);
    if (rc == FM_OK)
        rc = parameter_uint(parameters, "end", !is_search, &end_s);
    if (rc < 0)
        return rc;
    if (parameter_find(parameters, "since", &since)) {
        rc = prometheus_duration_parse(since, &since_ns, &why);
        if (rc < 0)
            return fm_fail(parameters->why, rc,
                           "error parsing date range: could not parse 'since' parameter: %s",
                           why.text);
        end_s = parameters->now_ns / FM_NS_PER_S;
        start_s = end_s - FM_MIN(end_s - 1, since_ns / FM_NS_PER_S);
    } else if (!is_search && parameter_find(parameters, "start", &text) !=
                                 parameter_find(parameters, "end", &text)) {
        return fm_fail(parameters->why, FM_EMALFORMED,
                       "error parsing date range: only one of start and end provided: must "
                       "provide both or neither");
    }
    return question_set_seconds(question, start_s, end_s, parameters->why);
}

/* ---- search ---- */

static int parameters_tags(struct parameters *parameters, struct fm_slice tags, struct fm_buf *text)
{
    struct tag_reader reader = {.text = tags, .arena = &parameters->question->arena};
    struct tag tag;
    int rc;

    while ((rc = tag_next(&reader, &tag, parameters->why)) == FM_OK)
        tag_put_query(&tag, text);
    return rc == FM_END ? FM_OK : rc;
}

static int parameter_duration_ms(struct parameters *parameters, const char *name, uint64_t *ret_ms)
{
    struct fm_slice text;
    struct fm_why why = {""};
    int64_t ns = 0;

    if (parameter_find(parameters, name, &text) && go_duration_parse(text, &ns, &why) < 0)
        return fm_fail(parameters->why, FM_EMALFORMED, "invalid %s: %s", name, why.text);
    *ret_ms = ns > 0 ? (uint64_t)ns / FM_NS_PER_MS : 0;
    return FM_OK;
}

/* The trace's duration, which is asked for beside tags and not in TraceQL. */
static int parameters_durations(struct parameters *parameters, struct fm_buf *text)
{
    uint64_t least_ms, most_ms;

    int rc = parameter_duration_ms(parameters, "minDuration", &least_ms);
    if (rc == FM_OK)
        rc = parameter_duration_ms(parameters, "maxDuration", &most_ms);
    if (rc < 0)
        return rc;
    if (most_ms && least_ms > most_ms)
        return fm_fail(parameters->why, FM_EMALFORMED,
                       "invalid maxDuration: must be greater than minDuration");
    if (least_ms)
        tag_put_duration(">=", least_ms, text);
    if (most_ms)
        tag_put_duration("<=", most_ms, text);
    return FM_OK;
}

static int parameters_limits(struct parameters *parameters)
{
    struct fm_slice text;
    uint64_t limit, spss;

    int rc = parameter_uint(parameters, "limit", false, &limit);
    if (rc == FM_OK && !limit && parameter_find(parameters, "limit", &text))
        rc = fm_fail(parameters->why, FM_EMALFORMED, "invalid limit: must be a positive number");
    if (rc == FM_OK)
        rc = parameter_uint(parameters, "spss", false, &spss);
    if (rc == FM_OK)
        rc = question_set_search(parameters->question, limit, spss, parameters->why);
    return rc;
}

static int parameters_search(struct parameters *parameters)
{
    struct question *question = parameters->question;
    struct fm_slice query = {0}, tags = {0};
    struct fm_buf text;
    int rc = FM_OK;

    bool has_query = parameter_find(parameters, "q", &query);
    bool has_tags = parameter_find(parameters, "tags", &tags);
    if (has_query && has_tags)
        return fm_fail(parameters->why, FM_EMALFORMED,
                       "invalid request: can't specify tags and q in the same query");
    fm_buf_init(&text, TRACEQL_TEXT_MAX);
    if (has_tags)
        rc = parameters_tags(parameters, tags, &text);
    if (rc == FM_OK)
        rc = parameters_durations(parameters, &text);
    if (rc == FM_OK && has_query)
        question->ask.text = query;
    else if (rc == FM_OK)
        rc = question_set_text(question, &text, parameters->why);
    question->with_sets = has_query;
    fm_buf_fini(&text);
    if (rc == FM_OK)
        rc = parameters_limits(parameters);
    return rc == FM_OK ? parameters_window(parameters) : rc;
}

/* ---- names and values ---- */

static int parameters_names(struct parameters *parameters, struct fm_slice name)
{
    struct question *question = parameters->question;
    bool is_values = question->ask.kind == QUERY_TAG_VALUES;
    struct fm_slice scope = FM_SLICE("");
    int rc;

    if (is_values) {
        rc = question_set_name(question, name, parameters->why);
    } else {
        (void)parameter_find(parameters, "scope", &scope);
        rc = question_set_scope(question, scope, parameters->why);
    }
    if (rc < 0)
        return rc;
    (void)parameter_find(parameters, "q", &question->ask.text);
    question->ask.limit = parameter_uint_or_0(parameters, "limit");
    return parameters_window(parameters);
}

/* ---- metrics ---- */

static int metrics_refuse(struct parameters *parameters, const char *name, const struct fm_why *why)
{
    if (!name)
        return fm_fail(parameters->why, FM_EMALFORMED, "rpc error: code = Code(400) desc = %s",
                       why->text);
    return fm_fail(parameters->why, FM_EMALFORMED,
                   "rpc error: code = Code(400) desc = could not parse '%s' parameter: %s", name,
                   why->text);
}

static int metrics_window(struct parameters *parameters, int64_t *ret_start_ns, int64_t *ret_end_ns)
{
    struct fm_slice text;
    struct fm_why why = {""};
    int64_t now_ns = (int64_t)parameters->now_ns;
    uint64_t since_ns = METRICS_SINCE_NS;

    if (parameter_find(parameters, "since", &text) &&
        prometheus_duration_parse(text, &since_ns, &why) < 0)
        return metrics_refuse(parameters, "since", &why);
    *ret_end_ns = now_ns;
    if (parameter_find(parameters, "end", &text) && timestamp_parse(text, ret_end_ns, &why) < 0)
        return metrics_refuse(parameters, "end", &why);
    *ret_start_ns = FM_MIN(*ret_end_ns, now_ns);
    *ret_start_ns -= (int64_t)FM_MIN(since_ns, (uint64_t)FM_MAX(*ret_start_ns, 0));
    if (parameter_find(parameters, "start", &text) && timestamp_parse(text, ret_start_ns, &why) < 0)
        return metrics_refuse(parameters, "start", &why);
    *ret_start_ns = FM_MAX(*ret_start_ns, 0);
    *ret_end_ns = FM_MAX(*ret_end_ns, 0);
    return FM_OK;
}

static int parameters_metrics(struct parameters *parameters)
{
    struct question *question = parameters->question;
    struct series_options *series = &question->ask.series;
    struct fm_slice text;
    struct fm_why why = {""};
    int64_t start_ns, end_ns, step_ns = 0;

    (void)parameter_find(parameters, "query", &question->ask.text);
    (void)parameter_find(parameters, "q", &question->ask.text);
    int rc = metrics_window(parameters, &start_ns, &end_ns);
    if (rc < 0)
        return rc;
    bool has_step = parameter_find(parameters, "step", &text) && !series->instant;
    if (has_step && step_parse(text, &step_ns, &why) < 0)
        return metrics_refuse(parameters, NULL, &why);
    uint32_t exemplars = parameter_uint_or_0(parameters, "exemplars");
    if (!series->instant) {
        exemplars = exemplars ? exemplars : QUESTION_EXEMPLARS_MAX;
        series->exemplars_max = FM_MIN(exemplars, QUESTION_EXEMPLARS_MAX);
        series->series_max = parameter_uint_or_0(parameters, "maxSeries");
    }
    return question_set_range(question, (uint64_t)start_ns, (uint64_t)end_ns, has_step, step_ns,
                              parameters->why);
}

int question_read_url(struct question *question, struct fm_slice query, struct fm_slice name,
                      uint64_t now_unix_ns, struct fm_why *why)
{
    struct parameters parameters = {question, query, now_unix_ns, why};
    int rc;

    switch (question->ask.kind) {
    case QUERY_TAG_NAMES:
    case QUERY_TAG_VALUES:
        rc = parameters_names(&parameters, name);
        break;
    case QUERY_METRICS:
        rc = parameters_metrics(&parameters);
        break;
    default:
        rc = parameters_search(&parameters);
        break;
    }
    if (rc == FM_OK && fm_arena_failed(&question->arena))
        rc = fm_fail(why, FM_ENOMEM, "out of memory");
    return rc;
}
