/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, queries, media types, the status table, gRPC framing. */
#include "../../support/test.h"

#include "fermata/http.h"

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        int rc;
        const char *path, *query;
    } rows[] = {
        {"/v1/traces", FM_OK, "/v1/traces", ""},
        {"//v1/traces", FM_OK, "//v1/traces", ""},
        {"/a%20b%2fc?x=%20", FM_OK, "/a b/c", "x=%20"},
        {"/a+b", FM_OK, "/a+b", ""},
        {"/a?b?c", FM_OK, "/a", "b?c"},
        {"http://h:4318/v1/traces?q", FM_OK, "/v1/traces", "q"},
        {"HTTPS://h", FM_OK, "/", ""},
        {"http://h?q=1", FM_OK, "/", "q=1"},
        {"/a/..b/c..", FM_OK, "/a/..b/c..", ""},
        {"/.", FM_OK, "/.", ""},
        {"", FM_EMALFORMED, "", ""},
        {"*", FM_EMALFORMED, "", ""},
        {"v1/traces", FM_EMALFORMED, "", ""},
        {"h:443", FM_EMALFORMED, "", ""},
        {"/a/../b", FM_EMALFORMED, "", ""},
        {"/..", FM_EMALFORMED, "", ""},
        {"/%2e%2e/b", FM_EMALFORMED, "", ""},
        {"/a%2f..", FM_EMALFORMED, "", ""},
        {"/a%00", FM_EMALFORMED, "", ""},
        {"/a%", FM_EMALFORMED, "", ""},
        {"/a%2", FM_EMALFORMED, "", ""},
        {"/a%zz", FM_EMALFORMED, "", ""},
        {"/a#b", FM_EMALFORMED, "", ""},
        {"/a b", FM_EMALFORMED, "", ""},
    };
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB(64));
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice raw = fm_slice_text(rows[i].raw);
        uint8_t *copy = test_exact_copy(raw);
        struct http_target target;
        assert_int_equal(http_target_parse(fm_slice(copy, raw.len), &arena, &target), rows[i].rc);
        if (rows[i].rc == FM_OK) {
            assert_true(fm_slice_equal_text(target.path, rows[i].path));
            assert_true(fm_slice_equal_text(target.query, rows[i].query));
        }
        free(copy);
    }
    fm_arena_fini(&arena);
}

static void test_queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name;
        int rc;
        const char *value;
    } rows[] = {
        {"a=1&b=2", "b", FM_OK, "2"},    {"a=1&a=2", "a", FM_OK, "1"},
        {"a", "a", FM_OK, ""},           {"a=", "a", FM_OK, ""},
        {"&&a=x=y&", "a", FM_OK, "x=y"}, {"q=%7B%20name%3D+x+%7D", "q", FM_OK, "{ name= x }"},
        {"%61=1", "a", FM_OK, "1"},      {"ab=1", "a", FM_NONE, ""},
        {"", "a", FM_NONE, ""},          {"a=%4", "a", FM_EMALFORMED, ""},
    };
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB(64));
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice value;
        assert_int_equal(
            http_query_find(fm_slice_text(rows[i].query), rows[i].name, &arena, &value),
            rows[i].rc);
        if (rows[i].rc == FM_OK)
            assert_true(fm_slice_equal_text(value, rows[i].value));
    }
    fm_arena_fini(&arena);
}

static void test_media_types(void **state)
{
    (void)state;
    assert_true(
        http_media_type_is(FM_SLICE("Application/JSON; charset=utf-8"), "application/json"));
    assert_true(http_media_type_is(FM_SLICE(" application/json\t;"), "application/json"));
    assert_false(http_media_type_is(FM_SLICE("application/jsonx"), "application/json"));
    assert_false(http_media_type_is(FM_SLICE(""), "application/json"));
}

static void test_every_result_has_a_status(void **state)
{
    (void)state;
    static const struct {
        int rc, http, grpc;
        bool retry;
    } rows[] = {
        {FM_OK, 200, 0, false},           {FM_EMALFORMED, 400, 3, false},
        {FM_ELIMIT, 413, 8, false},       {FM_EDENIED, 403, 7, false},
        {FM_ENOSPACE, 503, 14, true},     {FM_EIO, 503, 14, true},
        {FM_EUNAVAILABLE, 503, 14, true}, {FM_ENOMEM, 503, 14, true},
        {FM_ETIMEOUT, 503, 14, true},     {FM_EUNSUPPORTED, 415, 12, false},
        {FM_ENOTFOUND, 404, 5, false},    {-9999, 503, 14, true},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct http_status status = http_status_of(rows[i].rc);
        assert_int_equal(status.http, rows[i].http);
        assert_int_equal(status.grpc, rows[i].grpc);
        assert_int_equal(status.retry, rows[i].retry);
    }
    for (int rc = FM_ENOMEM; rc >= FM_ECANCELLED; rc--)
        assert_string_not_equal(http_reason(http_status_of(rc).http), "Unknown");
    assert_string_equal(http_reason(799), "Unknown");
}

static void test_grpc_messages(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int rc;
        size_t len;
        bool compressed;
    } rows[] = {
        {"", FM_END, 0, false},
        {"0000000000", FM_OK, 0, false},
        {"0100000002abcd", FM_OK, 2, true},
        {"0000000003abcd", FM_EMALFORMED, 0, false},
        {"0200000000", FM_EMALFORMED, 0, false},
        {"00000000", FM_EMALFORMED, 0, false},
        {"00ffffffff", FM_ELIMIT, 0, false},
        {"0000000065", FM_ELIMIT, 0, false},
        {"0000000064", FM_EMALFORMED, 0, false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf bytes = test_hex(rows[i].hex);
        uint8_t *copy = test_exact_copy(fm_buf_slice(&bytes));
        struct fm_slice body = fm_slice(copy, bytes.len);
        struct grpc_message message;
        assert_int_equal(grpc_message_next(&body, 100, &message), rows[i].rc);
        if (rows[i].rc == FM_OK) {
            assert_int_equal(message.bytes.len, rows[i].len);
            assert_int_equal(message.compressed, rows[i].compressed);
            assert_int_equal(body.len, 0);
        }
        free(copy);
        fm_buf_fini(&bytes);
    }
    struct fm_buf out;
    fm_buf_init(&out, 100);
    grpc_message_put(&out, FM_SLICE("ab"));
    assert_memory_equal(out.ptr, "\0\0\0\0\2ab", 7);
    fm_buf_reset(&out);
    grpc_percent_encode(&out, FM_SLICE("50% \xc3\xa9\n~"));
    assert_true(fm_slice_equal_text(fm_buf_slice(&out), "50%25 %C3%A9%0A~"));
    fm_buf_fini(&out);
}

static void test_grpc_timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t ns;
    } rows[] = {
        {"9973m", FM_OK, UINT64_C(9973000000)},
        {"1n", FM_OK, 1},
        {"2u", FM_OK, 2000},
        {"1S", FM_OK, UINT64_C(1000000000)},
        {"2M", FM_OK, UINT64_C(120000000000)},
        {"99999999H", FM_OK, UINT64_MAX},
        {"12x", FM_EMALFORMED, 0},
        {"123456789S", FM_EMALFORMED, 0},
        {"", FM_EMALFORMED, 0},
        {"S", FM_EMALFORMED, 0},
        {"-1S", FM_EMALFORMED, 0},
        {"1 S", FM_EMALFORMED, 0},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        uint64_t ns = 7;
        assert_int_equal(grpc_timeout_parse(fm_slice_text(rows[i].text), &ns), rows[i].rc);
        assert_int_equal(ns, rows[i].rc == FM_OK ? rows[i].ns : 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),       cmocka_unit_test(test_queries),
        cmocka_unit_test(test_media_types),   cmocka_unit_test(test_every_result_has_a_status),
        cmocka_unit_test(test_grpc_messages), cmocka_unit_test(test_grpc_timeouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
