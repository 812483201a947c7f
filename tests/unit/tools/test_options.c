/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "../../../src/tools/options.h"
#include "../../../src/tools/terminal.h"

static const char *const colours[] = {"red", "green", NULL};

struct seen {
    bool loud;
    const char *text, *words[2];
    struct option_list many;
    uint64_t count, delay_ns;
    unsigned colour;
    int exit;
    bool go;
};

static struct seen parse(const char *const *arguments)
{
    struct seen seen = {.exit = -1};
    const struct option rows[] = {
        {"loud", OPTION_FLAG, &seen.loud, NULL, "", NULL},
        {"text", OPTION_TEXT, &seen.text, "TEXT", "", NULL},
        {"many", OPTION_MANY, &seen.many, "TEXT", "", NULL},
        {"count", OPTION_UINT, &seen.count, "N", "", NULL},
        {"delay", OPTION_DURATION, &seen.delay_ns, "TIME", "", NULL},
        {"colour", OPTION_CHOICE, &seen.colour, "NAME", "", colours},
    };
    const struct options options = {"verb", "WORD", "Does.", "", rows, FM_COUNT(rows), 1, 2};
    char *argv[16] = {(char *)(uintptr_t) "verb"};
    int argc = 1;

    for (; *arguments; arguments++)
        argv[argc++] = (char *)(uintptr_t)*arguments;
    seen.go = options_parse(&options, argc, argv, seen.words, &seen.exit);
    return seen;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void test_every_type(void **state)
{
    (void)state;
    struct seen seen = PARSE("--loud", "--text", "a", "one", "--many=b", "--many", "c", "--count=7",
                             "--delay", "250ms", "--colour=green", "--", "--two");
    assert_true(seen.go && seen.loud);
    assert_string_equal(seen.text, "a");
    assert_string_equal(seen.words[0], "one");
    assert_string_equal(seen.words[1], "--two");
    assert_int_equal(seen.many.count, 2);
    assert_string_equal(seen.many.items[1], "c");
    assert_int_equal(seen.count, 7);
    assert_int_equal(seen.delay_ns, 250000000);
    assert_int_equal(seen.colour, 1);
}

static void test_mistakes_exit_2(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--what", "x").exit, 2);
    assert_int_equal(PARSE("--cont=1", "x").exit, 2);
    assert_int_equal(PARSE("-x", "x").exit, 2);
    assert_int_equal(PARSE("--loud=yes", "x").exit, 2);
    assert_int_equal(PARSE("x", "--text").exit, 2);
    assert_int_equal(PARSE("x", "--count", "many").exit, 2);
    assert_int_equal(PARSE("x", "--delay", "5").exit, 2);
    assert_int_equal(PARSE("x", "--colour", "blue").exit, 2);
    assert_int_equal(PARSE("a", "b", "c").exit, 2);
    assert_int_equal(PARSE("--loud").exit, 2);
    assert_true(PARSE("-").go); /* a lone dash is a word */
}

static void test_help_exits_0(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--help").exit, 0);
    assert_false(PARSE("--loud", "-h").go);
}

static void check_text(const char *text, size_t len, unsigned columns, const char *wanted)
{
    struct fm_buf out;
    fm_buf_init(&out, 4096);
    terminal_put_text(&out, fm_slice(text, len), columns);
    fm_buf_put_u8(&out, 0);
    assert_string_equal((char *)out.ptr, wanted);
    fm_buf_fini(&out);
}

/* What a peer sent must not move the cursor of who looks at it. */
static void test_foreign_text_is_made_harmless(void **state)
{
    (void)state;
    check_text("plain", 5, 0, "plain");
    check_text("plain", 5, 8, "plain   ");
    check_text("\033[2Jx\r\n", 7, 0, " [2Jx  ");
    check_text("\xc2\x9b"
               "1m",
               4, 0, " 1m"); /* CSI as one character of C1 */
    check_text("a\xff"
               "b",
               3, 0,
               "a\xef\xbf\xbd"
               "b");
    check_text("a\0b", 3, 0, "a b");
    check_text("caf\xc3\xa9 au lait", 13, 5, "caf\xc3\xa9\xe2\x80\xa6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_mistakes_exit_2),
        cmocka_unit_test(test_help_exits_0),
        cmocka_unit_test(test_foreign_text_is_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
