/* SPDX-License-Identifier: Apache-2.0 */
/* tags - logfmt in, TraceQL out. */
#include "../../support/test.h"

#include "../../../src/daemon/api/tags.h"

static int tags_to_query(struct fm_slice tags, struct fm_buf *out, struct fm_why *why)
{
    struct fm_arena arena;
    struct tag tag;
    int rc;

    fm_arena_init(&arena, FM_MIB(1));
    struct tag_reader reader = {.text = tags, .arena = &arena};
    while ((rc = tag_next(&reader, &tag, why)) == FM_OK)
        tag_put_query(&tag, out);
    fm_arena_fini(&arena);
    return rc;
}

static void assert_query(const char *tags, const char *query)
{
    struct fm_why why = {""};
    struct fm_buf out;

    fm_buf_init(&out, FM_MIB(1));
    assert_int_equal(tags_to_query(fm_slice_text(tags), &out, &why), FM_END);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((const char *)out.ptr, query);
    fm_buf_fini(&out);
}

static void assert_refused(const char *tags, const char *text)
{
    struct fm_why why = {""};
    struct fm_buf out;

    fm_buf_init(&out, FM_MIB(1));
    assert_int_equal(tags_to_query(fm_slice_text(tags), &out, &why), FM_EMALFORMED);
    assert_string_equal(why.text, text);
    fm_buf_fini(&out);
}

static void test_translation(void **state)
{
    (void)state;
    assert_query("", "");
    assert_query("service.name=shop", "{ .\"service.name\" =~ \".*shop.*\" }");
    assert_query("a=1 b=true", "{ .\"a\" =~ \".*1.*\" || .\"a\" = 1 } && "
                               "{ .\"b\" =~ \".*true.*\" || .\"b\" = true }");
    assert_query("name=\"GET /\"", "{ name =~ \".*GET /.*\" }");
    assert_query("root.name=x root.service.name=y",
                 "{ rootName =~ \".*x.*\" } && { rootServiceName =~ \".*y.*\" }");
    assert_query("status.code=error", "{ status = error }");
    assert_query("status.code=odd", "{ false }");
    assert_query("error=true",
                 "{ .\"error\" =~ \".*true.*\" || .\"error\" = true || status = error }");
    assert_query("a", "{ .\"a\" =~ \".*.*\" }");
    assert_query("  a=b\nc=d  ", "{ .\"a\" =~ \".*b.*\" } && { .\"c\" =~ \".*d.*\" }");
}

static void test_what_means_something_in_a_pattern_is_escaped(void **state)
{
    (void)state;
    assert_query("a=x.y(z)", "{ .\"a\" =~ \".*x\\\\.y\\\\(z\\\\).*\" }");
    assert_query("a=\"q\\\"q\"", "{ .\"a\" =~ \".*q\\\"q.*\" }");
    assert_query("a=\"b\\\\c\"", "{ .\"a\" =~ \".*b\\\\\\\\c.*\" }");
    assert_query("a=\"b\\u00e9\\nc\"", "{ .\"a\" =~ \".*b\xc3\xa9\\nc.*\" }");
    assert_query("a\\b=c", "{ .\"a\\\\b\" =~ \".*c.*\" }");
}

static void test_refusals(void **state)
{
    (void)state;
    assert_refused("a=\"bc", "invalid tags: unterminated quoted value at pos 6");
    assert_refused("a=\"\\", "invalid tags: unterminated quoted value at pos 5");
    assert_refused("a=b=c", "invalid tags: unexpected '=' at pos 4");
    assert_refused("=b", "invalid tags: unexpected '=' at pos 1");
    assert_refused("a\"=b", "invalid tags: unexpected '\"' at pos 2");
    assert_refused("a=b\"", "invalid tags: unexpected '\"' at pos 4");
    assert_refused("a=\"\\q\"", "invalid tags: invalid quoted value at pos 7");
    assert_refused("a=\"\\u12\"", "invalid tags: invalid quoted value at pos 9");
    assert_refused("\xff=b", "invalid tags: invalid key at pos 2");
}

static void body(void *self, struct fm_slice input)
{
    struct fm_why why;
    struct fm_buf out;
    (void)self;
    fm_buf_init(&out, FM_MIB(1));
    int rc = tags_to_query(input, &out, &why);
    assert_true(rc == FM_END || rc == FM_EMALFORMED);
    fm_buf_fini(&out);
}

static void test_cut_and_flipped(void **state)
{
    static const char tags[] = "service.name=\"sh\\u00e9\\\"op\" a=1 name=x.y c";
    (void)state;
    test_each_prefix(FM_SLICE(tags), body, NULL);
    test_each_bit_flip(FM_SLICE(tags), body, NULL);
}

static void test_durations(void **state)
{
    struct fm_buf out;
    (void)state;
    fm_buf_init(&out, 1024);
    tag_put_duration(">=", 5, &out);
    tag_put_duration("<=", 70, &out);
    assert_true(fm_slice_equal_text(fm_buf_slice(&out),
                                    "{ traceDuration >= 5ms } && { traceDuration <= 70ms }"));
    fm_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_what_means_something_in_a_pattern_is_escaped),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
