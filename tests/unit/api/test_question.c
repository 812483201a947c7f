/* SPDX-License-Identifier: Apache-2.0 */
/* question - parameters of URLs and protobuf requests, and what is wrong with them. */
#include "../../support/test.h"

#include "../../../src/daemon/api/question.h"
#include "fermata/pb.h"
#include "fermata/units.h"

#define NOW_S  UINT64_C(1795221200)
#define NOW_NS (NOW_S * FM_NS_PER_S)

static int read_url(struct question *question, enum question_form form, const char *query,
                    const char *name, struct fm_why *why)
{
    *why = (struct fm_why){""};
    question_init(question, form);
    return question_read_url(question, fm_slice_text(query), fm_slice_text(name), NOW_NS, why);
}

static void assert_refused(enum question_form form, const char *query, const char *name,
                           const char *text)
{
    struct question question;
    struct fm_why why;
    assert_int_equal(read_url(&question, form, query, name, &why), FM_EMALFORMED);
    assert_string_equal(why.text, text);
    question_fini(&question);
}

static void assert_text(const struct question *question, const char *text)
{
    assert_int_equal(question->ask.text.len, strlen(text));
    assert_memory_equal(question->ask.text.ptr, text, strlen(text));
}

static void test_search(void **state)
{
    struct question question;
    struct fm_why why;
    (void)state;

    assert_ok(read_url(&question, QUESTION_SEARCH,
                       "q=%7B+name%3D%22x%22%7D&limit=50&spss=7&start=1795220000&end=1795221000",
                       "", &why));
    assert_text(&question, "{ name=\"x\"}");
    assert_true(question.with_sets);
    assert_int_equal(question.ask.limit, 50);
    assert_int_equal(question.ask.spss, 7);
    assert_int_equal(question.ask.start_ns, UINT64_C(1795220000000000000));
    assert_int_equal(question.ask.end_ns, UINT64_C(1795221000000000000));
    question_fini(&question);

    assert_ok(read_url(&question, QUESTION_SEARCH, "", "", &why));
    assert_text(&question, "{}");
    assert_false(question.with_sets);
    assert_int_equal(question.ask.limit, 20);
    assert_int_equal(question.ask.spss, 3);
    assert_int_equal(question.ask.start_ns, 0);
    assert_int_equal(question.ask.end_ns, 0);
    question_fini(&question);

    assert_ok(read_url(&question, QUESTION_SEARCH,
                       "tags=a%3Db&minDuration=5ms&maxDuration=1m&since=10m&spss=0", "", &why));
    assert_text(&question, "{ .\"a\" =~ \".*b.*\" } && { traceDuration >= 5ms } && "
                           "{ traceDuration <= 60000ms }");
    assert_false(question.with_sets);
    assert_int_equal(question.ask.spss, 3);
    assert_int_equal(question.ask.start_ns, (NOW_S - 600) * FM_NS_PER_S);
    assert_int_equal(question.ask.end_ns, NOW_NS);
    question_fini(&question);
}

static void test_search_refusals(void **state)
{
    static const char *const rows[][2] = {
        {"q={}&tags=a", "invalid request: can't specify tags and q in the same query"},
        {"limit=0", "invalid limit: must be a positive number"},
        {"limit=x", "invalid limit: strconv.ParseUint: parsing \"x\": invalid syntax"},
        {"limit=262145", "limit 262145 exceeds max limit 262144"},
        {"spss=101", "spans per span set exceeds 100. received 101"},
        {"spss=-1", "invalid spss: strconv.ParseUint: parsing \"-1\": invalid syntax"},
        {"start=200&end=100",
         "http parameter start must be before end. received start=200 end=100"},
        {"start=100", "http parameter start must be before end. received start=100 end=0"},
        {"end=100", "error parsing date range: only one of start and end provided: must provide "
                    "both or neither"},
        {"start=2026-11-21T00:00:00Z&end=5",
         "invalid start: strconv.ParseUint: parsing \"2026-11-21T00:00:00Z\": invalid syntax"},
        {"end=4294967296&start=1",
         "invalid end: strconv.ParseUint: parsing \"4294967296\": value out of range"},
        {"since=abc", "error parsing date range: could not parse 'since' parameter: not a valid "
                      "duration string: \"abc\""},
        {"minDuration=5", "invalid minDuration: time: missing unit in duration \"5\""},
        {"maxDuration=x", "invalid maxDuration: time: invalid duration \"x\""},
        {"minDuration=5s&maxDuration=1s", "invalid maxDuration: must be greater than minDuration"},
        {"tags=a%3D%22b", "invalid tags: unterminated quoted value at pos 5"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_refused(QUESTION_SEARCH, rows[i][0], "", rows[i][1]);
}

static void test_tags(void **state)
{
    struct question question;
    struct fm_why why;
    (void)state;

    assert_ok(read_url(&question, QUESTION_TAGS_V2, "limit=5000&maxStaleValues=3", "", &why));
    assert_null(question.ask.scope);
    assert_int_equal(question.ask.limit, 5000);
    assert_int_equal(question.ask.text.len, 0);
    question_fini(&question);
    assert_ok(
        read_url(&question, QUESTION_TAGS, "scope=span&q={name=&limit=x&start=5&end=5", "", &why));
    assert_string_equal(question.ask.scope, "span");
    assert_text(&question, "{name=");
    assert_int_equal(question.ask.limit, 0);
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_TAGS, "scope=none", "", &why));
    assert_null(question.ask.scope);
    question_fini(&question);
    assert_refused(QUESTION_TAGS, "scope=bogus", "", "invalid scope: bogus");
    assert_refused(QUESTION_TAGS_V2, "start=x&end=1", "",
                   "invalid start: strconv.ParseInt: parsing \"x\": invalid syntax");
    assert_refused(QUESTION_TAGS_V2, "start=1", "",
                   "error parsing date range: only one of start and end provided: must provide "
                   "both or neither");
}

static void test_values(void **state)
{
    struct question question;
    struct fm_why why;
    (void)state;

    assert_ok(
        read_url(&question, QUESTION_VALUES_V2, "limit=7&tag=x", "resource.service.name", &why));
    assert_int_equal(question.ask.field.intrinsic, TRACEQL_ATTRIBUTE);
    assert_int_equal(question.ask.field.scope, TRACEQL_RESOURCE);
    assert_true(fm_slice_equal_text(question.ask.field.name, "service.name"));
    assert_int_equal(question.ask.limit, 7);
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_VALUES_V2, "", "status", &why));
    assert_int_equal(question.ask.field.intrinsic, TRACEQL_STATUS_CODE);
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_VALUES_V2, "", "span:kind", &why));
    assert_int_equal(question.ask.field.intrinsic, TRACEQL_SPAN_KIND);
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_VALUES_V2, "", ".\"a b/c\"", &why));
    assert_true(fm_slice_equal_text(question.ask.field.name, "a b/c"));
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_VALUES, "", "service.name", &why));
    assert_int_equal(question.ask.field.scope, TRACEQL_ANY_SCOPE);
    assert_true(fm_slice_equal_text(question.ask.field.name, "service.name"));
    question_fini(&question);
    assert_ok(read_url(&question, QUESTION_VALUES, "", "root.name", &why));
    assert_int_equal(question.ask.field.intrinsic, TRACEQL_ROOT_NAME);
    question_fini(&question);

    assert_refused(QUESTION_VALUES_V2, "", "http.method",
                   "please provide a valid tagName: failed to parse identifier http.method: parse "
                   "error at line 1, col 2: unknown identifier: http");
    static const char *const wrong[] = {"name=\"x\"", "}|by(name)|{name", "", "1",
                                        "{}",         "name} | {"};
    for (size_t i = 0; i < FM_COUNT(wrong); i++) {
        assert_int_equal(read_url(&question, QUESTION_VALUES_V2, "", wrong[i], &why),
                         FM_EMALFORMED);
        question_fini(&question);
    }
}

static void test_metrics(void **state)
{
    struct question question;
    struct fm_why why;
    (void)state;

    assert_ok(read_url(&question, QUESTION_RANGE,
                       "query=old&q={}|rate()&start=1795221000&end=1795221100.5&step=10&exemplars="
                       "500&maxSeries=9",
                       "", &why));
    assert_text(&question, "{}|rate()");
    assert_int_equal(question.ask.series.start_ns, UINT64_C(1795221000000000000));
    assert_int_equal(question.ask.series.end_ns, UINT64_C(1795221100500000000));
    assert_int_equal(question.ask.series.step_ns, UINT64_C(10000000000));
    assert_int_equal(question.ask.series.exemplars_max, 100);
    assert_int_equal(question.ask.series.series_max, 9);
    assert_false(question.ask.series.instant);
    question_fini(&question);

    assert_ok(read_url(&question, QUESTION_RANGE, "query={}|rate()", "", &why));
    assert_text(&question, "{}|rate()");
    assert_int_equal(question.ask.series.end_ns, NOW_NS);
    assert_int_equal(question.ask.series.start_ns, NOW_NS - 3600 * FM_NS_PER_S);
    assert_int_equal(question.ask.series.step_ns, 0);
    assert_int_equal(question.ask.series.exemplars_max, 100);
    question_fini(&question);

    assert_ok(read_url(&question, QUESTION_INSTANT, "q={}|rate()&since=5m&step=abc", "", &why));
    assert_true(question.ask.series.instant);
    assert_int_equal(question.ask.series.start_ns, NOW_NS - 300 * FM_NS_PER_S);
    question_fini(&question);
}

static void test_metrics_refusals(void **state)
{
    static const char *const rows[][2] = {
        {"start=abc", "rpc error: code = Code(400) desc = could not parse 'start' parameter: "
                      "strconv.ParseInt: parsing \"abc\": invalid syntax"},
        {"end=x", "rpc error: code = Code(400) desc = could not parse 'end' parameter: "
                  "strconv.ParseInt: parsing \"x\": invalid syntax"},
        {"since=x", "rpc error: code = Code(400) desc = could not parse 'since' parameter: not a "
                    "valid duration string: \"x\""},
        {"step=abc", "rpc error: code = Code(400) desc = cannot parse \"abc\" to a valid duration"},
        {"start=100&end=50", "end must be greater than start"},
        {"start=1000&end=1060&step=0",
         "step of 0s is too small, minimum step for given range is 6ms"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_refused(QUESTION_RANGE, rows[i][0], "", rows[i][1]);
}

/* ---- protobuf ---- */

static int read_pb(struct question *question, enum question_form form, const struct fm_buf *message,
                   struct fm_why *why)
{
    *why = (struct fm_why){""};
    question_init(question, form);
    return question_read_pb(question, fm_buf_slice(message), NOW_NS, why);
}

static struct fm_buf search_message(void)
{
    struct fm_buf out;
    fm_buf_init(&out, FM_KIB(4));
    pb_put_u64(&out, 4, 11);
    pb_put_u64(&out, 5, 1000);
    pb_put_u64(&out, 6, 2000);
    pb_put_text(&out, 8, "{ name = \"x\" }");
    pb_put_u64(&out, 9, 5);
    return out;
}

static void test_pb_search(void **state)
{
    struct question question;
    struct fm_why why;
    struct fm_buf message = search_message();
    (void)state;

    assert_ok(read_pb(&question, QUESTION_SEARCH, &message, &why));
    assert_text(&question, "{ name = \"x\" }");
    assert_int_equal(question.ask.limit, 11);
    assert_int_equal(question.ask.spss, 5);
    assert_int_equal(question.ask.start_ns, UINT64_C(1000000000000));
    assert_int_equal(question.ask.end_ns, UINT64_C(2000000000000));
    question_fini(&question);

    fm_buf_reset(&message);
    size_t mark = pb_begin(&message, 1);
    pb_put_text(&message, 1, "service.name");
    pb_put_text(&message, 2, "shop");
    pb_end(&message, mark);
    pb_put_u64(&message, 2, 5);
    assert_ok(read_pb(&question, QUESTION_SEARCH, &message, &why));
    assert_text(&question, "{ .\"service.name\" =~ \".*shop.*\" } && { traceDuration >= 5ms }");
    assert_false(question.with_sets);
    question_fini(&question);

    pb_put_u64(&message, 4, 300000);
    assert_int_equal(read_pb(&question, QUESTION_SEARCH, &message, &why), FM_EMALFORMED);
    assert_string_equal(why.text, "limit 300000 exceeds max limit 262144");
    question_fini(&question);
    fm_buf_fini(&message);
}

static void test_pb_others(void **state)
{
    struct question question;
    struct fm_why why;
    struct fm_buf message;
    (void)state;

    fm_buf_init(&message, FM_KIB(4));
    pb_put_text(&message, 1, "resource");
    pb_put_text(&message, 2, "{}");
    pb_put_u64(&message, 3, 10);
    pb_put_u64(&message, 4, 20);
    pb_put_u64(&message, 5, 6);
    assert_ok(read_pb(&question, QUESTION_TAGS_V2, &message, &why));
    assert_string_equal(question.ask.scope, "resource");
    assert_int_equal(question.ask.limit, 6);
    assert_int_equal(question.ask.end_ns, 20 * FM_NS_PER_S);
    question_fini(&question);

    fm_buf_reset(&message);
    pb_put_text(&message, 1, "span.http.method");
    pb_put_u64(&message, 4, 10);
    pb_put_u64(&message, 5, 20);
    pb_put_u64(&message, 6, 6);
    assert_ok(read_pb(&question, QUESTION_VALUES_V2, &message, &why));
    assert_int_equal(question.ask.field.scope, TRACEQL_SPAN);
    assert_int_equal(question.ask.start_ns, 10 * FM_NS_PER_S);
    assert_int_equal(question.ask.limit, 6);
    question_fini(&question);

    fm_buf_reset(&message);
    pb_put_text(&message, 1, "{} | rate()");
    pb_put_u64(&message, 2, NOW_NS - 60 * FM_NS_PER_S);
    pb_put_u64(&message, 3, NOW_NS);
    pb_put_u64(&message, 4, FM_NS_PER_S);
    pb_put_u64(&message, 16, 3);
    assert_ok(read_pb(&question, QUESTION_RANGE, &message, &why));
    assert_int_equal(question.ask.series.step_ns, FM_NS_PER_S);
    assert_int_equal(question.ask.series.exemplars_max, 3);
    question_fini(&question);
    assert_ok(read_pb(&question, QUESTION_INSTANT, &message, &why));
    assert_true(question.ask.series.instant);
    question_fini(&question);
    fm_buf_fini(&message);
}

static void pb_body(void *self, struct fm_slice input)
{
    struct question question;
    struct fm_why why;
    (void)self;
    for (unsigned form = 0; form < QUESTION_FORMS; form++) {
        question_init(&question, form);
        int rc = question_read_pb(&question, input, NOW_NS, &why);
        assert_true(rc == FM_OK || rc == FM_EMALFORMED);
        question_fini(&question);
    }
}

static void url_body(void *self, struct fm_slice input)
{
    struct question question;
    struct fm_why why;
    (void)self;
    for (unsigned form = 0; form < QUESTION_FORMS; form++) {
        question_init(&question, form);
        int rc = question_read_url(&question, input, input, NOW_NS, &why);
        assert_true(rc == FM_OK || rc == FM_EMALFORMED);
        question_fini(&question);
    }
}

static void test_cut_and_flipped(void **state)
{
    struct fm_buf message = search_message();
    struct fm_slice url = FM_SLICE("q={name=%22x%22}&limit=5&start=1&end=2.5&step=1m&scope=span");
    (void)state;
    test_each_prefix(fm_buf_slice(&message), pb_body, NULL);
    test_each_bit_flip(fm_buf_slice(&message), pb_body, NULL);
    test_each_prefix(url, url_body, NULL);
    test_each_bit_flip(url, url_body, NULL);
    fm_buf_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_search_refusals),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_metrics_refusals),
        cmocka_unit_test(test_pb_search),
        cmocka_unit_test(test_pb_others),
        cmocka_unit_test(test_cut_and_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
