/* SPDX-License-Identifier: Apache-2.0 */
/* One engine over rows: parts and their merge answer as one place would; joined rows; limits. */
#include "../../support/test.h"

#include "fermata/ask.h"
#include "fermata/pb.h"
#include "fermata/units.h"

#define BASE_NS (UINT64_C(1795219920) * FM_NS_PER_S)

static struct trace_id trace_of(uint32_t number)
{
    struct trace_id id = {{0}};
    fm_store_be32(id.bytes, number * UINT32_C(2654435761));
    fm_store_be32(id.bytes + 12, number);
    return id;
}

/* Span 1 is the root; names are span-N. */
static void put_span(struct fm_buf *buf, uint32_t trace, uint32_t number)
{
    const struct trace_id id = trace_of(trace);
    uint64_t start_ns = BASE_NS + trace * FM_NS_PER_S + number * FM_NS_PER_MS;
    uint8_t span_id[8], parent_id[8];
    char name[32];
    fm_store_be64(span_id, (uint64_t)trace << 16 | number);
    fm_store_be64(parent_id, (uint64_t)trace << 16 | 1);
    (void)snprintf(name, sizeof name, "span-%u", number);
    size_t resource_spans = pb_begin(buf, 1);
    pb_end(buf, pb_begin(buf, 1));
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id.bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    if (number != 1)
        pb_put_bytes(buf, 4, fm_slice(parent_id, 8));
    pb_put_text(buf, 5, name);
    pb_put_fixed64(buf, 7, start_ns);
    pb_put_fixed64(buf, 8, start_ns + FM_NS_PER_MS);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

struct range {
    uint32_t trace_begin, trace_end, span_begin, span_end;
};

static struct frame_rows *rows_of(const struct range *ranges, size_t count)
{
    struct frame_rows *rows;
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(16));
    for (size_t i = 0; i < count; i++) {
        for (uint32_t trace = ranges[i].trace_begin; trace < ranges[i].trace_end; trace++) {
            for (uint32_t at = ranges[i].span_begin; at < ranges[i].span_end; at++)
                put_span(&otlp, trace, at);
        }
    }
    assert_ok(frame_rows_new(&rows, FM_MIB(64)));
    assert_ok(frame_rows_add(rows, fm_buf_slice(&otlp), NULL, NULL, NULL));
    assert_ok(frame_rows_finish(rows));
    fm_buf_fini(&otlp);
    return rows;
}

static struct ask *ask_of(enum ask_kind kind, const char *text)
{
    const struct ask_question question = {
        .kind = kind,
        .text = fm_slice_text(text),
        .field = {.intrinsic = TRACEQL_NAME},
        .start_ns = kind == ASK_METRICS ? BASE_NS : 0,
        .end_ns = kind == ASK_METRICS ? BASE_NS + 60 * FM_NS_PER_S : 0,
        .limit = kind == ASK_SEARCH ? 1000 : 0,
        .series = {.step_ns = 10 * FM_NS_PER_S},
    };
    struct fm_why why = {""};
    struct ask *ask;
    bool is_text;
    if (ask_new(&ask, &question, &is_text, &why) < 0)
        fail_msg("%s: %s", text, why.text);
    return ask;
}

static struct fm_buf render(struct ask_part *part, enum ask_kind kind)
{
    const struct answer_stats stats = {0};
    struct ask_found found;
    struct fm_buf json;
    fm_buf_init(&json, FM_MIB(16));
    assert_ok(ask_part_found(part, &found, NULL));
    switch (kind) {
    case ASK_SEARCH:
        answer_search(found.traces, found.count, true, &stats, ANSWER_JSON, &json);
        break;
    case ASK_TAG_NAMES:
        answer_tags_v2(found.scopes, found.count, &stats, ANSWER_JSON, &json);
        break;
    case ASK_TAG_VALUES:
        answer_values_v2(found.values, found.count, &stats, ANSWER_JSON, &json);
        break;
    case ASK_METRICS:
        answer_range(found.series, &stats, ANSWER_JSON, &json);
        break;
    }
    fm_buf_put_u8(&json, 0);
    return json;
}

static struct ask_part *part_of(const struct ask *ask, const struct frame_rows *rows,
                                const struct trace_id *excluded, size_t excluded_count)
{
    const struct ask_limits limits = {
        .memory_max = FM_MIB(64), .excluded = excluded, .excluded_count = excluded_count};
    struct fm_why why = {""};
    struct ask_part *part;
    assert_ok(ask_part_new(&part, ask, &limits, &why));
    if (ask_part_add_rows(part, rows, &why) < 0)
        fail_msg("%s", why.text);
    return part;
}

static const struct {
    enum ask_kind kind;
    const char *text;
} questions[] = {
    {ASK_SEARCH, "{}"},
    {ASK_SEARCH, "{ name = `span-3` }"},
    {ASK_SEARCH, "{} | count() > 2"},
    {ASK_SEARCH, "{ name = `span-1` } > { name = `span-3` }"},
    {ASK_METRICS, "{} | rate() by (name)"},
    {ASK_METRICS, "{} | quantile_over_time(duration, .5, .9)"},
    {ASK_METRICS, "{} | compare({ name = `span-3` })"},
    {ASK_TAG_VALUES, ""},
    {ASK_TAG_VALUES, "{ name != `span-2` }"},
    {ASK_TAG_NAMES, ""},
};

/* Traces 0..20 whole in a, 30..50 whole in b, 20..30 with spans in both. */
static void test_parts_answer_as_one_place(void **unused)
{
    const struct range in_a[] = {{0, 20, 1, 5}, {20, 30, 1, 3}};
    const struct range in_b[] = {{20, 30, 3, 4}, {30, 50, 1, 4}};
    const struct range in_both[] = {{20, 30, 1, 4}};
    const struct range all[] = {{0, 20, 1, 5}, {20, 30, 1, 4}, {30, 50, 1, 4}};
    struct frame_rows *a = rows_of(in_a, 2), *b = rows_of(in_b, 2);
    struct frame_rows *joined = rows_of(in_both, 1), *whole = rows_of(all, 3);
    struct trace_id split[10];
    (void)unused;
    for (uint32_t i = 0; i < 10; i++)
        split[i] = trace_of(20 + i);
    assert_int_equal(ask_ids_sort(split, 10), 10);
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        struct ask *ask = ask_of(questions[i].kind, questions[i].text);
        struct ask_part *one = part_of(ask, whole, NULL, 0);
        struct ask_part *main = part_of(ask, a, split, 10);
        struct ask_part *second = part_of(ask, b, split, 10);
        struct ask_part *third = part_of(ask, joined, NULL, 0);
        assert_ok(ask_part_merge(main, second));
        second = ask_part_free(second); /* what was merged needs it no more */
        struct fm_buf so_far = render(main, questions[i].kind);
        assert_ok(ask_part_merge(main, third));
        third = ask_part_free(third);
        struct fm_buf expected = render(one, questions[i].kind);
        struct fm_buf found = render(main, questions[i].kind);
        assert_string_equal((char *)found.ptr, (char *)expected.ptr);
        fm_buf_fini(&so_far);
        fm_buf_fini(&expected);
        fm_buf_fini(&found);
        ask_part_free(one);
        ask_part_free(main);
        ask_free(ask);
    }
    frame_rows_free(a);
    frame_rows_free(b);
    frame_rows_free(joined);
    frame_rows_free(whole);
}

static void test_names_are_bounded(void **unused)
{
    const struct range many[] = {{0, 1, 1, 3000}};
    struct ask_question question = {
        .kind = ASK_TAG_VALUES, .field = {.intrinsic = TRACEQL_NAME}, .limit = 1000};
    struct frame_rows *rows = rows_of(many, 1);
    struct ask_found found;
    struct ask *ask;
    (void)unused;
    assert_ok(ask_new(&ask, &question, NULL, NULL));
    struct ask_part *part = part_of(ask, rows, NULL, 0);
    assert_true(ask_part_is_full(part));
    assert_ok(ask_part_found(part, &found, NULL));
    assert_int_equal(found.count, 1000);
    for (uint32_t i = 1; i < found.count; i++)
        assert_true(fm_slice_compare(found.values[i - 1].text, found.values[i].text) < 0);
    ask_part_free(part);
    ask_free(ask);
    frame_rows_free(rows);
}

static void test_wrong_questions(void **unused)
{
    const struct {
        enum ask_kind kind;
        const char *text, *scope;
        bool is_text;
    } rows[] = {
        {ASK_SEARCH, "{ foo = 1 }", NULL, true},     {ASK_SEARCH, "{ name = 1 }", NULL, true},
        {ASK_METRICS, "{} | rate() by", NULL, true}, {ASK_METRICS, "{}", NULL, false},
        {ASK_TAG_NAMES, "", "bogus", false},
    };
    (void)unused;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        const struct ask_question question = {
            .kind = rows[i].kind, .text = fm_slice_text(rows[i].text), .scope = rows[i].scope};
        struct fm_why why = {""};
        struct ask *ask;
        bool is_text;
        assert_int_equal(ask_new(&ask, &question, &is_text, &why), FM_EMALFORMED);
        assert_int_equal(is_text, rows[i].is_text);
        assert_true(strlen(why.text) > 0);
    }
}

/* A filter that is being typed is what of it can be used, or none. */
static void test_half_typed_filters(void **unused)
{
    const struct range some[] = {{0, 1, 1, 3}};
    static const struct {
        const char *text;
        uint32_t count;
    } filters[] = {
        {"{ name = `span-1` }", 1},
        {"{ name = `span-1` && }", 1},
        {"{ name = `nope` }", 0},
        {"{ name =", 2},
        {"{ 1 }", 2},
        {"nonsense", 2},
    };
    struct frame_rows *rows = rows_of(some, 1);
    (void)unused;
    for (size_t i = 0; i < FM_COUNT(filters); i++) {
        struct ask *ask = ask_of(ASK_TAG_VALUES, filters[i].text);
        struct ask_part *part = part_of(ask, rows, NULL, 0);
        struct ask_found found;
        assert_ok(ask_part_found(part, &found, NULL));
        assert_int_equal(found.count, filters[i].count);
        ask_part_free(part);
        ask_free(ask);
    }
    frame_rows_free(rows);
}

static void test_every_allocation_may_fail(void **unused)
{
    const struct range some[] = {{0, 5, 1, 4}};
    struct frame_rows *rows = rows_of(some, 1);
    (void)unused;
    for (size_t i = 0; i < FM_COUNT(questions); i++) {
        const struct ask_question question = {
            .kind = questions[i].kind,
            .text = fm_slice_text(questions[i].text),
            .field = {.intrinsic = TRACEQL_NAME},
            .start_ns = BASE_NS,
            .end_ns = BASE_NS + 60 * FM_NS_PER_S,
            .series = {.step_ns = 10 * FM_NS_PER_S},
        };
        const struct ask_limits limits = {.memory_max = FM_MIB(16)};
        bool reached = true;
        for (uint64_t nth = 1; reached && nth < 3000; nth++) {
            struct ask *ask = NULL;
            struct ask_part *part = NULL;
            struct ask_found found;
            test_alloc_fail_at(nth);
            int rc = ask_new(&ask, &question, NULL, NULL);
            if (rc == FM_OK)
                rc = ask_part_new(&part, ask, &limits, NULL);
            if (rc == FM_OK)
                rc = ask_part_add_rows(part, rows, NULL);
            if (rc == FM_OK)
                rc = ask_part_found(part, &found, NULL);
            reached = test_alloc_failed();
            test_alloc_disarm();
            if (!reached)
                assert_ok(rc);
            ask_part_free(part);
            ask_free(ask);
        }
    }
    frame_rows_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_answer_as_one_place), cmocka_unit_test(test_names_are_bounded),
        cmocka_unit_test(test_wrong_questions),           cmocka_unit_test(test_half_typed_filters),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
