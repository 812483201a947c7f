/* SPDX-License-Identifier: Apache-2.0 */
/* What Tempo 3.0.3 says about a thousand queries, and where fermata says something else. */
#include "ask.h"

/* One line: query, TAB, "ok" or the text of the refusal, of which struct fm_why may hold less. */
static void golden_line(char *line)
{
    struct ask ask;
    char *expected = strchr(line, '\t');
    assert_non_null(expected);
    *expected++ = 0;
    ask_init(&ask);
    const char *said = ask_parse(&ask, fm_slice_text(line)) ? ask.why.text : "ok";
    if (strncmp(said, expected, sizeof ask.why.text - 1) != 0)
        fail_msg("%s\n said %s\n expected %s", line, said, expected);
    if (ask.text.len)
        ask_assert_fixed(&ask);
    ask_fini(&ask);
}

static void test_queries(void **state)
{
    (void)state;
    struct fm_buf lines = test_read_file("golden/traceql/tempo.tsv");
    unsigned count = 0;
    fm_buf_put_u8(&lines, 0);
    char *save = NULL, *line = strtok_r((char *)lines.ptr, "\n", &save);
    for (; line; line = strtok_r(NULL, "\n", &save), count++)
        golden_line(line);
    assert_true(count > 900);
    fm_buf_fini(&lines);
}

static void test_differences(void **state)
{
    (void)state;
    /* Tempo: a syntax error, while the operands turned around are accepted. */
    assert_prints("({}) && ({} | by(.a))", "({ true }) && ({ true } | by(.a))");
    /* Literals go to the right, where everything can be found by an index. */
    assert_prints("{ 100ms < duration && 1 = .a }", "{ (duration > 100ms) && (.a = 1) }");
    assert_prints("{ 1 >= .a || 1 <= .b || 1 > .c || 1 != .d }",
                  "{ (.a <= 1) || (.b >= 1) || (.c < 1) || (.d != 1) }");
    assert_prints("{ 1 - .a = 2 }", "{ (1 - .a) = 2 }");
    /* Powers of integers with the operands as they were written. */
    assert_prints("{ .a = 2 ^ 3 }", "{ .a = 8 }");
    assert_prints("{ .a = 2 ^ -1 }", "{ .a = (2 ^ -1) }");
    /* Durations stay durations. */
    assert_prints("{ duration > 1s + 500ms }", "{ duration > 1.5s }");
    assert_prints("{ duration > 1.5s % 1s * 2 }", "{ duration > 1s }");
    /* What would overflow or be infinite is left. */
    assert_prints("{ .a = maxInt + 1 }", "{ .a = (9223372036854775807 + 1) }");
    assert_prints("{ .a = minInt - 1 }", "{ .a = (minInt - 1) }");
    assert_prints("{ .a = 1e308 * 10 }", "{ .a = (1e+308 * 10) }");
    assert_prints("{ .a = 0s - 9223372036854775807ns - 1ns }",
                  "{ .a = (-2562047h47m16.854775807s - 1ns) }");
    assert_prints("{ .a = 1 / 0 }", "{ .a = (1 / 0) }");
    /* Functions over time refuse what filters refuse. */
    assert_refused("{} | rate() by (parent.x)", "parent not yet supported");
    assert_refused("{} | max_over_time(parent)", "intrinsic (parent) not yet supported");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
