/* SPDX-License-Identifier: Apache-2.0 */
/* Questions over many traces: asked of the API of a daemon, or of files by its engine; both answer
 * in the API's JSON, which is printed as it is or shown. */
#include <inttypes.h>
#include <stdio.h>

#include "fermata/units.h"
#include "query.h"
#include "terminal.h"

#define ASK_EXEMPLARS_MAX 100u

static int ask_print(const struct query_request *request, enum ask_kind kind, struct fm_slice json)
{
    struct fm_buf out;
    int rc = FM_OK;

    fm_buf_init(&out, QUERY_ANSWER_MAX);
    if (request->json) {
        fm_buf_put_slice(&out, json);
        if (!json.len || json.ptr[json.len - 1] != '\n')
            fm_buf_puts(&out, "\n");
    } else {
        rc = query_view(kind, json, &out);
    }
    terminal_flush(&out);
    fm_buf_fini(&out);
    return rc < 0 ? query_fail(request, FM_EIO, "the answer cannot be read") : EXIT_DONE;
}

/* ---- a daemon ---- */

static void url_put(struct fm_buf *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || strchr("-._~", *at);
        if (is_plain)
            fm_buf_put_u8(out, (uint8_t)*at);
        else
            fm_buf_printf(out, "%%%02X", (unsigned)(uint8_t)*at);
    }
}

static void url_put_path(const struct query_request *request, enum ask_kind kind,
                         struct fm_buf *out)
{
    switch (kind) {
    case ASK_SEARCH:
        fm_buf_puts(out, "/api/search?");
        return;
    case ASK_TAG_NAMES:
        fm_buf_puts(out, "/api/v2/search/tags?");
        return;
    case ASK_TAG_VALUES:
        fm_buf_puts(out, "/api/v2/search/tag/");
        url_put(out, request->text);
        fm_buf_puts(out, "/values?");
        return;
    case ASK_METRICS:
        break;
    }
    fm_buf_puts(out, request->instant ? "/api/metrics/query?" : "/api/metrics/query_range?");
}

static void url_put_question(const struct query_request *request, enum ask_kind kind,
                             struct fm_buf *out)
{
    url_put_path(request, kind, out);
    fm_buf_puts(out, "q=");
    url_put(out, kind == ASK_TAG_VALUES ? request->filter : request->text);
    if (request->start_ns) /* whole seconds; outwards */
        fm_buf_printf(out, "&start=%" PRIu64 "&end=%" PRIu64, request->start_ns / FM_NS_PER_S,
                      (request->end_ns + FM_NS_PER_S - 1) / FM_NS_PER_S);
    if (request->limit)
        fm_buf_printf(out, "&limit=%" PRIu64, request->limit);
    if (request->spss)
        fm_buf_printf(out, "&spss=%" PRIu64, request->spss);
    if (request->step_ns)
        fm_buf_printf(out, "&step=%.9g", (double)request->step_ns / 1e9);
    if (request->scope) {
        fm_buf_puts(out, "&scope=");
        url_put(out, request->scope);
    }
    fm_buf_put_u8(out, 0);
}

static int ask_daemon_json(const struct query_request *request, enum ask_kind kind,
                           struct fm_buf *json)
{
    struct http_answer answer;
    struct fm_buf target;
    int exit;

    fm_buf_init(&target, FM_MIB(1));
    url_put_question(request, kind, &target);
    if (target.failed)
        exit = query_fail(request, FM_ELIMIT, "the question is too long");
    else
        exit = query_get(request, (const char *)target.ptr, "application/json", &answer);
    fm_buf_fini(&target);
    if (exit != EXIT_DONE)
        return exit;
    fm_buf_fini(json);
    *json = answer.body; /* taken over */
    return EXIT_DONE;
}

/* ---- files ---- */

static void ask_render(const struct query_request *request, enum ask_kind kind,
                       const struct ask_found *found, const struct answer_stats *stats,
                       struct fm_buf *json)
{
    switch (kind) {
    case ASK_SEARCH:
        answer_search(found->traces, found->count, true, stats, ANSWER_JSON, json);
        return;
    case ASK_TAG_NAMES:
        answer_tags_v2(found->scopes, found->count, stats, ANSWER_JSON, json);
        return;
    case ASK_TAG_VALUES:
        answer_values_v2(found->values, found->count, stats, ANSWER_JSON, json);
        return;
    case ASK_METRICS:
        break;
    }
    if (request->instant)
        answer_instant(found->series, stats, ANSWER_JSON, json);
    else
        answer_range(found->series, stats, ANSWER_JSON, json);
}

/* A field as TraceQL writes it: what can stand alone between braces. */
static int ask_read_field(const char *text, struct fm_arena *arena, struct traceql_field *ret_field,
                          struct fm_why *why)
{
    struct traceql_query *query;
    struct fm_why problem = {"it is not a field"};
    struct fm_buf braced;

    fm_buf_init(&braced, TRACEQL_TEXT_MAX);
    fm_buf_printf(&braced, "{%s}", text);
    int rc = traceql_parse(fm_slice_dup(arena, fm_buf_slice(&braced)), arena, &query, &problem);
    fm_buf_fini(&braced);
    const struct traceql_stage *stage = rc == FM_OK ? query->first : NULL;
    if (!stage || stage->kind != TRACEQL_FILTER || stage->next || query->metrics ||
        !stage->expression || stage->expression->kind != TRACEQL_FIELD)
        return fm_fail(why, FM_EMALFORMED,
                       "please provide a valid tagName: failed to parse identifier %s: %s", text,
                       problem.text);
    *ret_field = stage->expression->field;
    return FM_OK;
}

static int ask_open(const struct query_request *request, enum ask_kind kind,
                    const struct query_files *files, struct ask **ret_ask, struct fm_why *why)
{
    struct ask_question question = {
        .kind = kind,
        .text = fm_slice_text(kind == ASK_TAG_VALUES ? request->filter : request->text),
        .scope = request->scope,
        .start_ns = request->start_ns,
        .end_ns = request->end_ns,
        .limit = (uint32_t)request->limit,
        .spss = (uint32_t)request->spss,
        .series = {.step_ns = request->step_ns,
                   .instant = request->instant,
                   .exemplars_max = ASK_EXEMPLARS_MAX},
    };
    struct fm_arena arena;
    bool is_text = false;
    int rc = FM_OK;

    fm_arena_init(&arena, FM_MIB(64));
    if (kind == ASK_TAG_VALUES)
        rc = ask_read_field(request->text, &arena, &question.field, why);
    if (kind == ASK_METRICS && !question.start_ns)
        query_files_range(files, &question.start_ns, &question.end_ns);
    if (rc == FM_OK)
        rc = ask_new(ret_ask, &question, &is_text, why);
    fm_arena_fini(&arena);
    return rc == FM_EMALFORMED && is_text ? fm_wrap(why, rc, "invalid TraceQL query") : rc;
}

static int ask_files_json(const struct query_request *request, enum ask_kind kind,
                          struct query_files *files, struct fm_buf *json, struct fm_why *why)
{
    FM_AUTO(ask) ask = NULL;
    FM_AUTO(ask_part) part = NULL;
    struct ask_found found;

    int rc = ask_open(request, kind, files, &ask, why);
    if (rc == FM_OK)
        rc = query_files_ask(files, ask, &part, why);
    if (rc == FM_OK)
        rc = ask_part_found(part, &found, why);
    if (rc == FM_OK) {
        const struct frame_stats *stats = ask_part_stats(part);
        files->stats.inspected_bytes = stats->inspected_bytes;
        files->stats.inspected_traces = stats->inspected_traces;
        files->stats.inspected_spans = stats->inspected_spans;
        ask_render(request, kind, &found, &files->stats, json);
        rc = json->failed ? fm_fail(why, FM_ELIMIT, "the answer is too large") : FM_OK;
    }
    part = ask_part_free(part); /* before what it refers to */
    return rc;
}

static int ask_files(const struct query_request *request, enum ask_kind kind,
                     struct bucket_reader *reader, struct fm_buf *json)
{
    struct query_files files;
    struct fm_why why = {""};

    int rc = query_files_open(&files, request, reader, &why);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    rc = ask_files_json(request, kind, &files, json, &why);
    query_files_complain(&files);
    query_files_close(&files);
    return rc < 0 ? query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc)) : EXIT_DONE;
}

int query_ask_json(const struct query_request *request, enum ask_kind kind,
                   struct bucket_reader *reader, struct fm_buf *json)
{
    return request->bucket || request->data_dir ? ask_files(request, kind, reader, json)
                                                : ask_daemon_json(request, kind, json);
}

int query_ask(const struct query_request *request, enum ask_kind kind)
{
    FM_AUTO(bucket_reader) reader = NULL;
    struct fm_why why = {""};
    struct fm_buf json;

    int rc = query_bucket_open(request, &reader, &why);
    if (rc < 0)
        return query_fail(request, rc, why.text[0] ? why.text : fm_rc_text(rc));
    fm_buf_init(&json, QUERY_ANSWER_MAX);
    int exit = query_ask_json(request, kind, reader, &json);
    if (exit == EXIT_DONE)
        exit = ask_print(request, kind, fm_buf_slice(&json));
    fm_buf_fini(&json);
    return exit;
}
