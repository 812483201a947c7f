/* SPDX-License-Identifier: Apache-2.0 */
/* Questions as protobuf messages of package tempopb; numbers of fields in docs/formats/api.md. */
#include "fermata/pb.h"
#include "fermata/units.h"
#include "question.h"
#include "tags.h"

#define PB_NUMBERS_MAX 20 /* fields beyond are not ours */

struct request { /* of any kind: scalars and texts by number */
    uint64_t numbers[PB_NUMBERS_MAX];
    struct fm_slice texts[PB_NUMBERS_MAX];
    struct fm_buf tags; /* SearchRequest.Tags as TraceQL */
};

static int request_tag(struct request *request, struct fm_slice entry)
{
    struct tag tag = {FM_SLICE(""), FM_SLICE("")};
    struct pb_field field;
    int rc;

    while ((rc = pb_next(&entry, &field)) == FM_OK) {
        if (field.type == PB_BYTES && field.number == 1)
            tag.key = field.bytes;
        else if (field.type == PB_BYTES && field.number == 2)
            tag.value = field.bytes;
    }
    if (rc == FM_END && tag.key.len)
        tag_put_query(&tag, &request->tags);
    return rc == FM_END ? FM_OK : rc;
}

static int request_read(struct request *request, bool has_tags, struct fm_slice message)
{
    struct pb_field field;
    int rc;

    while ((rc = pb_next(&message, &field)) == FM_OK) {
        if (field.number >= PB_NUMBERS_MAX)
            continue;
        if (field.type == PB_VARINT)
            request->numbers[field.number] = field.value;
        else if (field.type == PB_BYTES && has_tags && field.number == 1)
            rc = request_tag(request, field.bytes);
        else if (field.type == PB_BYTES)
            request->texts[field.number] = field.bytes;
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int request_search(struct question *question, struct request *request, struct fm_why *why)
{
    enum { LEAST_MS = 2, MOST_MS = 3, LIMIT = 4, START = 5, END = 6, QUERY = 8, SPSS = 9 };
    uint64_t least_ms = (uint32_t)request->numbers[LEAST_MS];
    uint64_t most_ms = (uint32_t)request->numbers[MOST_MS];

    question->with_sets = request->texts[QUERY].len != 0;
    if (question->with_sets && request->tags.len)
        return fm_fail(why, FM_EMALFORMED,
                       "invalid request: can't specify tags and q in the same query");
    if (most_ms && least_ms > most_ms)
        return fm_fail(why, FM_EMALFORMED, "invalid maxDuration: must be greater than minDuration");
    if (least_ms)
        tag_put_duration(">=", least_ms, &request->tags);
    if (most_ms)
        tag_put_duration("<=", most_ms, &request->tags);
    int rc = FM_OK;
    if (question->with_sets)
        question->ask.text = fm_slice_dup(&question->arena, request->texts[QUERY]);
    else
        rc = question_set_text(question, &request->tags, why);
    if (rc == FM_OK)
        rc = question_set_search(question, (uint32_t)request->numbers[LIMIT],
                                 (uint32_t)request->numbers[SPSS], why);
    if (rc == FM_OK)
        rc = question_set_seconds(question, (uint32_t)request->numbers[START],
                                  (uint32_t)request->numbers[END], why);
    return rc;
}

static int request_names(struct question *question, const struct request *request,
                         struct fm_why *why)
{
    enum { NAME = 1, QUERY = 2 };
    bool is_values = question->ask.kind == QUERY_TAG_VALUES;
    unsigned start = is_values ? 4 : 3, end = start + 1, limit = start + 2;

    int rc = is_values ? question_set_name(question, request->texts[NAME], why)
                       : question_set_scope(question, request->texts[NAME], why);
    if (rc < 0)
        return rc;
    if (request->texts[QUERY].len)
        question->ask.text = fm_slice_dup(&question->arena, request->texts[QUERY]);
    question->ask.limit = (uint32_t)request->numbers[limit];
    return question_set_seconds(question, (uint32_t)request->numbers[start],
                                (uint32_t)request->numbers[end], why);
}

static int request_metrics(struct question *question, const struct request *request,
                           uint64_t now_ns, struct fm_why *why)
{
    enum { QUERY = 1, START = 2, END = 3, STEP = 4, EXEMPLARS = 16, SERIES = 17 };
    struct series_options *series = &question->ask.series;
    uint64_t end_ns = request->numbers[END] ? request->numbers[END] : now_ns;
    uint64_t start_ns = request->numbers[START];
    uint64_t step_ns = FM_MIN(request->numbers[STEP], (uint64_t)INT64_MAX);

    if (!start_ns)
        start_ns = end_ns - FM_MIN(end_ns, 3600 * FM_NS_PER_S);
    if (request->texts[QUERY].len)
        question->ask.text = fm_slice_dup(&question->arena, request->texts[QUERY]);
    if (!series->instant) {
        uint64_t exemplars = (uint32_t)request->numbers[EXEMPLARS];
        series->exemplars_max = exemplars ? (uint32_t)FM_MIN(exemplars, QUESTION_EXEMPLARS_MAX)
                                          : QUESTION_EXEMPLARS_MAX;
        series->series_max = (uint32_t)request->numbers[SERIES];
    }
    return question_set_range(question, start_ns, end_ns, step_ns != 0, (int64_t)step_ns, why);
}

int question_read_pb(struct question *question, struct fm_slice message, uint64_t now_unix_ns,
                     struct fm_why *why)
{
    struct request request = {0};
    fm_buf_init(&request.tags, TRACEQL_TEXT_MAX);
    int rc = request_read(&request, question->form == QUESTION_SEARCH, message);
    if (rc < 0)
        rc = fm_fail(why, rc, "the request is no message of its type");
    else if (question->ask.kind == QUERY_SEARCH)
        rc = request_search(question, &request, why);
    else if (question->ask.kind == QUERY_METRICS)
        rc = request_metrics(question, &request, now_unix_ns, why);
    else
        rc = request_names(question, &request, why);
    if (rc == FM_OK && fm_arena_failed(&question->arena))
        rc = fm_fail(why, FM_ENOMEM, "out of memory");
    fm_buf_fini(&request.tags);
    return rc;
}
