/* SPDX-License-Identifier: Apache-2.0 */
/* Queries as they are while somebody types them. */
#include "ask.h"

static void assert_saved(const char *text, const char *expected)
{
    struct ask ask;
    ask_init(&ask);
    assert_ok(traceql_parse_lenient(fm_slice_text(text), &ask.arena, &ask.query));
    if (strcmp(ask_print(&ask), expected) != 0)
        fail_msg("%s\n saved %s\n expected %s", text, (const char *)ask.text.ptr, expected);
    ask_assert_fixed(&ask);
    ask_fini(&ask);
}

static void test_matchers(void **state)
{
    static const char cart[] = "{ resource.service.name = `cart` }";
    static const char *const behind[] = {
        "}",
        " && }",
        " && ",
        "",
        " && span.foo=}",
        " && span.foo }",
        " && span.foo=~\"}",
        " && status=}",
        " && name=}",
        " && status}",
        " && foo}",
        " && foo = 1}",
        " && span.",
        " && span:",
        " && span.\"x }",
        " && .b =~ \"(\"}",
        " && duration > \"x\" }",
        " && !(.b = ) }",
        " && (.b= || .c=1)}",
        " && (.b= && .c=)}",
        " && 1 }",
        " && .b=1 || .c= && resource.service.name=\"cart\"}",
        " // comment\n && .b=}",
        " && .b= // comment",
        " } | rat",
        " } | count( > 1",
        " } >> ",
        " && .b=0x }",
        " && .b='x}",
        " && \x01 }",
        " && (.b= ",
    };
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, 1024);
    for (size_t i = 0; i < FM_COUNT(behind); i++) {
        fm_buf_reset(&text);
        fm_buf_printf(&text, "{resource.service.name=\"cart\"%s", behind[i]);
        fm_buf_put_u8(&text, 0);
        assert_saved((const char *)text.ptr, cart);
    }
    fm_buf_fini(&text);
}

static void test_structure(void **state)
{
    static const char *const rows[][2] = {
        {"", "{ true }"},
        {"{", "{ true }"},
        {"foo", "{ true }"},
        {".a=1", "{ true }"},
        {"{ span.foo", "{ true }"},
        {"{ || }", "{ true }"},
        {"{ duration > }", "{ true }"},
        {"{ && .a=1 }", "{ .a = 1 }"},
        {"{ .a=1 && && .b=2 }", "{ (.a = 1) && (.b = 2) }"},
        {"{ .a= && .b=2 && .c>1s && .d=~ }", "{ (.b = 2) && (.c > 1s) }"},
        {"{ .a=1 && (.b=1 || .c=2 }", "{ (.a = 1) && ((.b = 1) || (.c = 2)) }"},
        {"{ .a=1 && (.b=1 && (.c= ) }", "{ (.a = 1) && (.b = 1) }"},
        /* An alternative that is not known yet excludes nothing. */
        {"{ .a=1 || .b= }", "{ true }"},
        {"{ .a= || .b=1 }", "{ true }"},
        {"{ (.a=1 || .b=) && .c=1 }", "{ .c = 1 }"},
        {"{ .a=1 || }", "{ .a = 1 }"},
        {"{ .a= } >> { .b=1 }", "({ true }) >> ({ .b = 1 })"},
        {"{ .a=1 } >> { .b= }", "({ .a = 1 }) >> ({ true })"},
        {"({ .a=1 } && { .b= })", "({ .a = 1 }) && ({ true })"},
        {"{ .a=1 && .b= } | rate()", "{ .a = 1 }"},
        /* What is complete stays as it is. */
        {"{ .a=1 } | rate() by (.b)", "{ .a = 1 } | rate() by(.b)"},
        {"{ .a=1 && !.b }", "{ (.a = 1) && (!.b) }"},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_saved(rows[i][0], rows[i][1]);
}

static void test_large(void **state)
{
    static const char *const parts[] = {"(", "{",  ".a=1&&", ".a&&(",
                                        "!", "\"", "span.",  "((.a=)||"};
    struct fm_buf text;
    (void)state;
    fm_buf_init(&text, FM_MIB(1));
    for (size_t i = 0; i < FM_COUNT(parts); i++) {
        struct ask ask;
        ask_init(&ask);
        fm_buf_reset(&text);
        fm_buf_puts(&text, "{");
        while (text.len + 16 < TRACEQL_TEXT_MAX)
            fm_buf_puts(&text, parts[i]);
        assert_ok(traceql_parse_lenient(fm_buf_slice(&text), &ask.arena, &ask.query));
        (void)ask_print(&ask);
        ask_assert_fixed(&ask);
        ask_fini(&ask);
    }
    fm_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matchers),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
