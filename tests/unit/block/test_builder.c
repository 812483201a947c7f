/* SPDX-License-Identifier: Apache-2.0 */
/* The builder at its edges: kinds of values, placement, limits, damage, memory that runs out. */
#include "files.h"
#include "normal.h"
#include "random.h"

#include "../../../src/lib/block/value.h"

static const uint8_t trace_a[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};

/* A request of one span whose attributes the caller adds with number 9. */
struct one_span {
    struct fm_buf buf;
    size_t marks[3];
};

static void one_span_begin(struct one_span *one, uint64_t id)
{
    fm_buf_init(&one->buf, FM_MIB(64));
    one->marks[0] = pb_begin(&one->buf, 1);
    one->marks[1] = pb_begin(&one->buf, 2);
    one->marks[2] = pb_begin(&one->buf, 2);
    pb_put_bytes(&one->buf, 1, fm_slice(trace_a, 16));
    pb_put_bytes(&one->buf, 2, fm_slice(&id, 8));
    pb_put_fixed64(&one->buf, 7, UINT64_C(1795219972000000000));
    pb_put_fixed64(&one->buf, 8, UINT64_C(1795219973000000000));
}

static void one_span_end(struct one_span *one)
{
    for (size_t i = FM_COUNT(one->marks); i-- > 0;)
        pb_end(&one->buf, one->marks[i]);
}

static void put_raw_attribute(struct one_span *one, const char *key, struct fm_slice value)
{
    size_t pair = pb_begin(&one->buf, 9);
    pb_put_text(&one->buf, 1, key);
    pb_put_bytes(&one->buf, 2, value);
    pb_end(&one->buf, pair);
}

static void round_trip(struct one_span *one)
{
    struct block_files files;
    struct normal wanted = {0}, got = {0};
    struct fm_why why = {{0}};
    struct fm_buf otlp;
    struct trace_id id;
    FM_AUTO(block) block = NULL;
    memcpy(id.bytes, trace_a, 16);
    fm_buf_init(&otlp, FM_MIB(64));
    files_build(&files, &one->buf, 1, &block_options_default);
    struct block_census census;
    if (block_verify(files_source(&files), &files.meta, files.shards, &census, &why) != FM_OK)
        fail_msg("verify: %s", why.text);
    assert_ok(block_open(&block, files_source(&files), &files.meta, &why));
    assert_ok(block_find_trace(block, &id, &otlp, NULL, &why));
    normal_request(&wanted, fm_buf_slice(&one->buf));
    normal_request(&got, fm_buf_slice(&otlp));
    normal_assert_equal(&got, &wanted);
    normal_fini(&wanted);
    normal_fini(&got);
    fm_buf_fini(&otlp);
    files_fini(&files);
    fm_buf_fini(&one->buf);
}

static void test_every_kind_of_value(void **state)
{
    (void)state;
    static const char *const values[] = {
        "0a00",                       /* "" */
        "0a0161",                     /* "a" */
        "1000",                       /* false */
        "1001",                       /* true */
        "1800",                       /* 0 */
        "18ffffffffffffffffff01",     /* -1 */
        "18ffffffffffffffff7f",       /* INT64_MAX */
        "1880808080808080808001",     /* INT64_MIN */
        "210000000000000080",         /* -0.0 */
        "21000000000000f07f",         /* infinity */
        "21010000000000f87f",         /* a NaN with a payload */
        "2a00",                       /* [] */
        "2a050a030a0161",             /* ["a"] */
        "2a0a0a030a01610a030a0162",   /* ["a","b"] */
        "2a080a0210010a021000",       /* [true,false] */
        "2a080a0218010a021802",       /* [1,2] */
        "2a0b0a0921000000000000f03f", /* [1.0] */
        "2a090a030a01610a021801",     /* ["a",1] */
        "2a020a00",                   /* [null] */
        "2a0a0a082a060a042a020a00",   /* nested arrays */
        "3200",                       /* {} */
        "32090a070a017812021801",     /* {"x":1} */
        "3a00",                       /* no bytes */
        "3a03ff0080",                 /* bytes */
        "",                           /* nothing */
    };
    for (size_t i = 0; i < FM_COUNT(values); i++) {
        struct fm_buf value = test_hex(values[i]);
        struct one_span one;
        struct value probe;
        assert_ok(value_read(fm_buf_slice(&value), &probe));
        one_span_begin(&one, 1);
        put_raw_attribute(&one, "plain", fm_buf_slice(&value));
        put_raw_attribute(&one, "http.method", fm_buf_slice(&value));
        put_raw_attribute(&one, "http.status_code", fm_buf_slice(&value));
        one_span_end(&one);
        round_trip(&one);
        fm_buf_fini(&value);
    }
}

static void test_huge_strings_and_lists(void **state)
{
    (void)state;
    struct one_span one;
    char *text = malloc(3000001);
    memset(text, 'x', 3000000);
    text[3000000] = '\0';
    one_span_begin(&one, 2);
    struct fm_buf value;
    fm_buf_init(&value, FM_MIB(8));
    pb_put_text(&value, 1, text);
    put_raw_attribute(&one, "huge", fm_buf_slice(&value));
    fm_buf_reset(&value);
    size_t array = pb_begin(&value, 5);
    for (uint32_t i = 0; i < 30000; i++) {
        size_t element = pb_begin(&value, 1);
        pb_put_u64(&value, 3, i);
        pb_end(&value, element);
    }
    pb_end(&value, array);
    put_raw_attribute(&one, "long", fm_buf_slice(&value));
    for (uint32_t i = 0; i < 20000; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "key-%u", i);
        put_raw_attribute(&one, key, FM_SLICE("\x18\x05"));
    }
    one_span_end(&one);
    round_trip(&one);
    fm_buf_fini(&value);
    free(text);
}

/* Deeper than any JSON reader goes: the inner value becomes empty, nothing else happens. */
static void test_deep_values_are_cut(void **state)
{
    (void)state;
    struct fm_buf value, json, back;
    fm_buf_init(&value, FM_MIB(1));
    fm_buf_init(&json, FM_MIB(1));
    fm_buf_init(&back, FM_MIB(1));
    size_t marks[200];
    for (size_t i = 0; i < FM_COUNT(marks); i += 2) {
        marks[i] = pb_begin(&value, 5);
        marks[i + 1] = pb_begin(&value, 1);
    }
    for (size_t i = FM_COUNT(marks); i-- > 0;)
        pb_end(&value, marks[i]);
    assert_ok(value_put_json(fm_buf_slice(&value), &json));
    assert_ok(value_from_json(fm_buf_slice(&json), &back));
    assert_true(json.len < 1000);
    fm_buf_fini(&value);
    fm_buf_fini(&json);
    fm_buf_fini(&back);
}

static void test_json_that_is_no_value(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"intValue\":\"x\"}",
                                      "{\"stringValue\":1}",
                                      "{\"arrayValue\":[]}",
                                      "{\"bytesValue\":\"*\"}",
                                      "{\"kvlistValue\":{\"values\":[1]}}",
                                      "{}x",
                                      "{\"boolValue\":1}",
                                      "{\"arrayValue\":{\"values\":[{}"};
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct fm_buf out;
        fm_buf_init(&out, 4096);
        assert_int_equal(value_from_json(fm_slice_text(bad[i]), &out), FM_EMALFORMED);
        assert_int_equal(out.len, 0);
        fm_buf_fini(&out);
    }
}

/* FM_ELIMIT takes back the whole call; what was added before is all there. */
static void test_the_limit_takes_back(void **state)
{
    (void)state;
    struct random_spans random = {.state = 3, .trace_count = 30};
    struct block_options options = block_options_default;
    FM_AUTO(block_builder) builder = NULL;
    struct normal wanted = {0};
    uint64_t accepted = 0;
    int rc = FM_OK;
    options.memory_max = FM_KIB(400);
    assert_ok(block_builder_new(&builder, &options));
    while (rc == FM_OK) {
        struct fm_buf request;
        struct fm_why why = {{0}};
        fm_buf_init(&request, FM_MIB(8));
        random_request(&random, &request);
        rc = block_builder_add(builder, fm_buf_slice(&request), &why);
        if (rc == FM_OK) {
            normal_request(&wanted, fm_buf_slice(&request));
            accepted = block_builder_span_count(builder);
        }
        fm_buf_fini(&request);
    }
    assert_int_equal(rc, FM_ELIMIT);
    assert_int_equal(block_builder_span_count(builder), accepted);
    assert_int_equal(accepted, wanted.count);
    assert_true(block_builder_memory(builder) < FM_MIB(2));
    struct fm_buf data, blooms;
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census;
    fm_buf_init(&data, FM_MIB(64));
    fm_buf_init(&blooms, FM_MIB(1));
    assert_ok(block_builder_finish(builder, fm_sink_buf(&data), &blooms, &meta, &census, NULL));
    assert_int_equal(census.span_count + census.duplicate_count, accepted);
    fm_buf_fini(&data);
    fm_buf_fini(&blooms);
    normal_fini(&wanted);
}

struct refused {
    struct block_builder *builder;
    size_t refused;
};

static void add_damaged(void *self, struct fm_slice otlp)
{
    struct refused *refused = self;
    uint64_t before = block_builder_span_count(refused->builder);
    struct fm_why why = {{0}};
    int rc = block_builder_add(refused->builder, otlp, &why);
    assert_true(rc == FM_OK || rc == FM_EMALFORMED);
    if (rc < 0) {
        assert_int_equal(block_builder_span_count(refused->builder), before);
        assert_true(strlen(why.text) > 10);
        refused->refused++;
    }
}

static void test_damaged_input(void **state)
{
    (void)state;
    struct random_spans random = {.state = 21, .trace_count = 3};
    struct refused refused = {0};
    struct fm_buf request;
    fm_buf_init(&request, FM_MIB(8));
    while (request.len < 1500)
        random_request(&random, &request);
    assert_ok(block_builder_new(&refused.builder, &block_options_default));
    test_each_prefix(fm_buf_slice(&request), add_damaged, &refused);
    assert_true(refused.refused > request.len / 2);
    test_each_bit_flip(fm_slice(request.ptr, 1500), add_damaged, &refused);
    refused.builder = block_builder_free(refused.builder);
    fm_buf_fini(&request);
}

static int build_once(const struct fm_buf *request)
{
    FM_AUTO(block_builder) builder = NULL;
    struct fm_buf data, blooms;
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census;
    fm_buf_init(&data, FM_MIB(64));
    fm_buf_init(&blooms, FM_MIB(1));
    int rc = block_builder_new(&builder, &block_options_default);
    if (rc == FM_OK)
        rc = block_builder_add(builder, fm_buf_slice(request), NULL);
    if (rc == FM_OK)
        rc = block_builder_finish(builder, fm_sink_buf(&data), &blooms, &meta, &census, NULL);
    fm_buf_fini(&data);
    fm_buf_fini(&blooms);
    return rc;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct random_spans random = {.state = 4, .trace_count = 5};
    struct fm_buf request;
    fm_buf_init(&request, FM_MIB(8));
    for (size_t i = 0; i < 3; i++)
        random_request(&random, &request);
    for (uint64_t nth = 1;; nth += 1 + nth / 80) {
        test_alloc_fail_at(nth);
        int rc = build_once(&request);
        bool reached = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || rc == FM_ENOMEM || rc == FM_EIO);
        if (!reached) {
            assert_int_equal(rc, FM_OK);
            break;
        }
    }
    fm_buf_fini(&request);
}

static void test_empty_builder(void **state)
{
    (void)state;
    FM_AUTO(block_builder) builder = NULL;
    struct fm_buf data, blooms;
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census;
    struct fm_why why = {{0}};
    fm_buf_init(&data, FM_MIB(1));
    fm_buf_init(&blooms, FM_MIB(1));
    assert_ok(block_builder_new(&builder, &block_options_default));
    assert_ok(block_builder_add(builder, FM_SLICE(""), &why));
    assert_int_equal(
        block_builder_finish(builder, fm_sink_buf(&data), &blooms, &meta, &census, &why),
        FM_EUSAGE);
    assert_int_equal(data.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_value),  cmocka_unit_test(test_huge_strings_and_lists),
        cmocka_unit_test(test_deep_values_are_cut),  cmocka_unit_test(test_json_that_is_no_value),
        cmocka_unit_test(test_the_limit_takes_back), cmocka_unit_test(test_damaged_input),
        cmocka_unit_test(test_failing_allocations),  cmocka_unit_test(test_empty_builder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
