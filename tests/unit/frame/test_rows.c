/* SPDX-License-Identifier: Apache-2.0 */
#include "../block/random.h"

#include "fermata/frame.h"

struct sample_span {
    uint8_t trace, id, parent;
    uint32_t kind;
    const char *name;
};

static void sample_attribute(struct fm_buf *buf, uint32_t field, const char *key, const char *value)
{
    size_t pair = pb_begin(buf, field);
    pb_put_text(buf, 1, key);
    size_t any = pb_begin(buf, 2);
    pb_put_text(buf, 1, value);
    pb_end(buf, any);
    pb_end(buf, pair);
}

static void sample_put_id(struct fm_buf *buf, uint32_t field, uint8_t low, size_t len)
{
    uint8_t id[16] = {0};
    id[len - 1] = low;
    pb_put_bytes(buf, field, fm_slice(id, len));
}

/* A request with one resource of service and the given spans, each with an integer attribute. */
static void sample_put(struct fm_buf *buf, const char *service, const struct sample_span *spans,
                       size_t count)
{
    size_t resource_spans = pb_begin(buf, 1);
    size_t resource = pb_begin(buf, 1);
    sample_attribute(buf, 1, "service.name", service);
    pb_end(buf, resource);
    size_t scope_spans = pb_begin(buf, 2);
    for (size_t i = 0; i < count; i++) {
        size_t span = pb_begin(buf, 2);
        sample_put_id(buf, 1, spans[i].trace, 16);
        sample_put_id(buf, 2, spans[i].id, 8);
        if (spans[i].parent)
            sample_put_id(buf, 4, spans[i].parent, 8);
        pb_put_text(buf, 5, spans[i].name);
        pb_put_u64(buf, 6, spans[i].kind);
        pb_put_fixed64(buf, 7, 1000 + spans[i].id);
        pb_put_fixed64(buf, 8, 2000 + spans[i].id);
        sample_attribute(buf, 9, "route", spans[i].name);
        size_t pair = pb_begin(buf, 9), any;
        pb_put_text(buf, 1, "number");
        any = pb_begin(buf, 2);
        pb_put_u64(buf, 3, spans[i].id);
        pb_end(buf, any);
        pb_end(buf, pair);
        pb_end(buf, span);
    }
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

static const struct traceql_field test_fields[] = {
    {.scope = TRACEQL_SPAN, .name = {(const uint8_t *)"route", 5}},
    {.scope = TRACEQL_RESOURCE, .name = {(const uint8_t *)"service.name", 12}},
    {.intrinsic = TRACEQL_NAME},
    {.intrinsic = TRACEQL_NESTED_LEFT},
    {.intrinsic = TRACEQL_NESTED_RIGHT},
    {.intrinsic = TRACEQL_NESTED_PARENT},
    {.intrinsic = TRACEQL_ROOT_NAME},
    {.intrinsic = TRACEQL_ROOT_SERVICE},
    {.intrinsic = TRACEQL_SPAN_ID},
    {.intrinsic = TRACEQL_TRACE_ID},
    {.scope = TRACEQL_SPAN, .name = {(const uint8_t *)"number", 6}},
    {.scope = TRACEQL_SPAN, .name = {(const uint8_t *)"nobody", 6}},
    {.intrinsic = TRACEQL_TRACE_DURATION},
    {.intrinsic = TRACEQL_CHILD_COUNT},
    {.intrinsic = TRACEQL_EVENT_NAME},
    {.intrinsic = TRACEQL_LINK_TRACE_ID},
    {.intrinsic = TRACEQL_EVENT_TIME},
    {.intrinsic = TRACEQL_STATUS_MESSAGE},
    {.scope = TRACEQL_EVENT, .name = {(const uint8_t *)"a", 1}},
    {.scope = TRACEQL_INSTRUMENTATION, .name = {(const uint8_t *)"a", 1}},
    {.intrinsic = TRACEQL_SCOPE_NAME},
};
static const struct frame_request test_request = {
    .fields = test_fields, .field_count = FM_COUNT(test_fields), .end_ns = UINT64_MAX};

static const struct traceql_value *test_at(const struct frame_vector *vector, uint32_t index)
{
    assert_int_equal(vector->shape, FRAME_CODES);
    assert_true(index < vector->count && vector->codes[index] < vector->values->count);
    return &vector->values->values[vector->codes[index]];
}

static void assert_text(const struct frame_vector *vector, uint32_t index, const char *text)
{
    const struct traceql_value *value = test_at(vector, index);
    assert_int_equal(value->type, TRACEQL_STRING);
    assert_true(fm_slice_equal_text(value->text, text));
}

/* Reads every vector of every frame and holds it against its contract; returns the spans. */
static int test_read(struct frame_rows *rows, uint32_t *ret_spans)
{
    FM_AUTO(frame_source) source = NULL;
    struct frame frame;
    struct frame_vector vector;
    uint32_t spans = 0;
    int rc = frame_rows_source(rows, &test_request, &source);
    while (rc == FM_OK && (rc = frame_next(source, &frame, NULL)) == FM_OK) {
        spans += frame.count[FRAME_SPAN];
        assert_true(frame.count[FRAME_SPAN] > 0);
        assert_int_equal(frame.trace_spans[frame.count[FRAME_TRACE]], frame.count[FRAME_SPAN]);
        assert_int_equal(frame.span_events[frame.count[FRAME_SPAN]], frame.count[FRAME_EVENT]);
        for (uint32_t i = 0; i < FM_COUNT(test_fields) && rc == FM_OK; i++) {
            rc = frame_vector(source, i, NULL, &vector, NULL);
            if (rc < 0)
                return rc;
            assert_int_equal(vector.domain, frame_field_domain(&test_fields[i]));
            assert_int_equal(vector.count, frame.count[vector.domain]);
            for (uint32_t j = 0; j < vector.count && vector.shape == FRAME_CODES; j++)
                (void)test_at(&vector, j);
        }
    }
    *ret_spans = spans;
    return rc == FM_END ? FM_OK : rc;
}

static const struct sample_span test_tree[] = {
    {7, 1, 0, 2, "root"}, {7, 2, 1, 3, "call"}, {7, 3, 2, 2, "serve"},
    {7, 4, 3, 3, "db"},   {7, 5, 3, 1, "draw"}, {7, 9, 8, 1, "orphan"},
};

static void test_one_trace(void **state)
{
    FM_AUTO(frame_rows) rows = NULL;
    FM_AUTO(frame_source) source = NULL;
    struct fm_buf first, second;
    struct frame frame;
    struct frame_vector vector;
    (void)state;
    fm_buf_init(&first, FM_MIB(1));
    fm_buf_init(&second, FM_MIB(1));
    sample_put(&first, "shop", test_tree, 3);
    sample_put(&second, "shop", test_tree + 2, 4); /* "serve" came twice */
    assert_ok(frame_rows_new(&rows, FM_MIB(4)));
    assert_ok(frame_rows_add(rows, fm_buf_slice(&first), NULL, NULL, NULL));
    assert_ok(frame_rows_add(rows, fm_buf_slice(&second), NULL, NULL, NULL));
    assert_ok(frame_rows_finish(rows));
    assert_ok(frame_rows_source(rows, &test_request, &source));
    assert_ok(frame_next(source, &frame, NULL));
    assert_int_equal(frame.count[FRAME_TRACE], 1);
    assert_int_equal(frame.count[FRAME_RESOURCE], 1);
    assert_int_equal(frame.count[FRAME_SPAN], 6);
    assert_ok(frame_vector(source, 0, NULL, &vector, NULL));
    for (uint32_t i = 0; i < 6; i++)
        assert_text(&vector, i, test_tree[i].name);
    static const int64_t numbers[][3] = {{1, 10, -1}, {2, 9, 1}, {3, 8, 2},
                                         {4, 5, 3},   {6, 7, 3}, {0, 0, 0}};
    for (uint32_t field = 0; field < 3; field++) {
        assert_ok(frame_vector(source, 3 + field, NULL, &vector, NULL));
        assert_int_equal(vector.shape, FRAME_INTEGERS);
        for (uint32_t i = 0; i < 6; i++)
            assert_int_equal(vector.integers[i], numbers[i][field]);
    }
    assert_ok(frame_vector(source, 1, NULL, &vector, NULL));
    assert_text(&vector, 0, "shop");
    assert_ok(frame_vector(source, 6, NULL, &vector, NULL));
    assert_text(&vector, 0, "root");
    assert_ok(frame_vector(source, 7, NULL, &vector, NULL));
    assert_text(&vector, 0, "shop");
    assert_ok(frame_vector(source, 8, NULL, &vector, NULL));
    assert_text(&vector, 5, "0000000000000009");
    assert_ok(frame_vector(source, 9, NULL, &vector, NULL));
    assert_text(&vector, 0, "7");
    assert_ok(frame_vector(source, 10, NULL, &vector, NULL));
    assert_int_equal(test_at(&vector, 3)->type, TRACEQL_INT);
    assert_int_equal(test_at(&vector, 3)->integer, 4);
    assert_ok(frame_vector(source, 11, NULL, &vector, NULL));
    assert_int_equal(vector.shape, FRAME_ABSENT);
    assert_ok(frame_vector(source, 12, NULL, &vector, NULL));
    assert_int_equal(vector.integers[0], 1008);
    assert_ok(frame_vector(source, 13, NULL, &vector, NULL));
    assert_int_equal(vector.integers[2], 2);
    assert_int_equal(frame_next(source, &frame, NULL), FM_END);
    fm_buf_fini(&first);
    fm_buf_fini(&second);
}

static bool test_only_even(void *self, const struct trace_id *id)
{
    ++*(int *)self;
    return id->bytes[15] % 2 == 0;
}

static int test_count_name(void *self, struct fm_slice name)
{
    assert_true(fm_slice_equal_text(name, "route") || fm_slice_equal_text(name, "number"));
    ++*(int *)self;
    return FM_OK;
}

static int test_count_value(void *self, const struct traceql_value *value)
{
    assert_int_equal(value->type, TRACEQL_STRING);
    ++*(int *)self;
    return FM_OK;
}

static void test_only_some(void **state)
{
    FM_AUTO(frame_rows) rows = NULL;
    FM_AUTO(frame_source) source = NULL;
    static const struct sample_span spans[] = {
        {1, 1, 0, 1, "a"}, {1, 2, 1, 1, "b"}, {2, 3, 0, 1, "c"}, {2, 4, 3, 1, "c"}};
    struct fm_buf otlp;
    uint32_t count;
    int calls = 0, names = 0, values = 0;
    (void)state;
    fm_buf_init(&otlp, FM_MIB(1));
    sample_put(&otlp, "shop", spans, FM_COUNT(spans));
    assert_ok(frame_rows_new(&rows, FM_MIB(1)));
    assert_ok(frame_rows_add(rows, fm_buf_slice(&otlp), test_only_even, &calls, NULL));
    assert_int_equal(calls, 2); /* once for spans of a trace side by side */
    assert_ok(frame_rows_finish(rows));
    assert_ok(test_read(rows, &count));
    assert_int_equal(count, 2);
    assert_ok(frame_rows_source(rows, &test_request, &source));
    assert_ok(frame_names(source, TRACEQL_SPAN, test_count_name, &names, NULL));
    assert_int_equal(names, 2);
    assert_ok(frame_values(source, 0, test_count_value, &values, NULL));
    assert_int_equal(values, 1);
    fm_buf_fini(&otlp);
}

static struct fm_buf test_random(uint64_t seed, unsigned requests)
{
    struct random_spans random = {.state = seed, .trace_count = 9};
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(8));
    while (requests--)
        random_request(&random, &otlp);
    return otlp;
}

static void test_memory(void **state)
{
    struct fm_buf otlp = test_random(5, 40);
    struct fm_why why;
    uint32_t spans;
    bool fitted = false;
    (void)state;
    for (size_t limit = FM_KIB(4); !fitted; limit += limit / 8) {
        FM_AUTO(frame_rows) rows = NULL;
        int rc = frame_rows_new(&rows, limit);
        if (rc == FM_OK)
            rc = frame_rows_add(rows, fm_buf_slice(&otlp), NULL, NULL, &why);
        if (rc == FM_OK)
            rc = frame_rows_finish(rows);
        assert_true(rc == FM_OK || rc == FM_ELIMIT);
        if (rows)
            assert_true(frame_rows_memory(rows) < limit + FM_KIB(64));
        fitted = rc == FM_OK;
        if (fitted)
            assert_ok(test_read(rows, &spans));
    }
    fm_buf_fini(&otlp);
}

static void test_no_memory(void **state)
{
    struct fm_buf otlp = test_random(6, 4);
    uint32_t spans;
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct frame_rows *rows = NULL;
        test_alloc_fail_at(nth);
        int rc = frame_rows_new(&rows, FM_MIB(64));
        if (rc == FM_OK)
            rc = frame_rows_add(rows, fm_buf_slice(&otlp), NULL, NULL, NULL);
        if (rc == FM_OK)
            rc = frame_rows_finish(rows);
        if (rc == FM_OK)
            rc = test_read(rows, &spans);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        rows = frame_rows_free(rows);
        /* A mixed array is nil, with or without memory for its elements. */
        assert_true(rc == FM_OK || (failed && rc == FM_ENOMEM));
        if (!failed)
            break;
    }
    fm_buf_fini(&otlp);
}

static void test_hostile_body(void *self, struct fm_slice otlp)
{
    FM_AUTO(frame_rows) rows = NULL;
    uint32_t spans;
    (void)self;
    assert_ok(frame_rows_new(&rows, FM_MIB(8)));
    int rc = frame_rows_add(rows, otlp, NULL, NULL, NULL);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED);
    assert_ok(frame_rows_finish(rows));
    assert_ok(test_read(rows, &spans));
    if (rc == FM_EMALFORMED)
        assert_int_equal(spans, 0);
}

static void test_hostile(void **state)
{
    struct fm_buf otlp = test_random(7, 1);
    (void)state;
    test_each_prefix(fm_buf_slice(&otlp), test_hostile_body, NULL);
    test_each_bit_flip(fm_slice(otlp.ptr, FM_MIN(otlp.len, 1500u)), test_hostile_body, NULL);
    fm_buf_fini(&otlp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_trace), cmocka_unit_test(test_only_some),
        cmocka_unit_test(test_memory),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests_name("frame_rows", tests, NULL, NULL);
}
