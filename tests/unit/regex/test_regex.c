/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns against Go's answers (tests/golden/regex), limits, and what the machine must not cost.
 */
#include "../../support/test.h"

#include <string.h>

#include "fermata/regex.h"

static bool match(struct regex *regex, struct fm_slice text)
{
    struct regex_matcher *matcher;
    assert_ok(regex_matcher_new(&matcher, regex));
    bool is_match = regex_match(matcher, text);
    (void)regex_matcher_free(matcher);
    return is_match;
}

static struct regex *compile(const char *pattern)
{
    struct regex *regex;
    struct fm_why why;
    assert_ok(regex_new(&regex, fm_slice_text(pattern), &regex_limits_default, &why));
    return regex;
}

static bool pattern_matches(const char *pattern, const char *text)
{
    struct regex *regex = compile(pattern);
    bool is_match = match(regex, fm_slice_text(text));
    (void)regex_free(regex);
    return is_match;
}

static struct fm_buf word_bytes(const char *word)
{
    return test_hex(word[0] == '-' ? "" : word);
}

/* One line: pattern, answers, texts.  Also with a cache so small that states are forgotten. */
static void check_line(char *line, uint32_t cache_bytes)
{
    char *save = NULL;
    struct regex_limits limits = regex_limits_default;
    struct fm_buf pattern = word_bytes(strtok_r(line, " ", &save));
    const char *answers = strtok_r(NULL, " ", &save);
    struct regex *regex;
    struct fm_why why;
    limits.cache_bytes_max = cache_bytes;
    int rc = regex_new(&regex, fm_buf_slice(&pattern), &limits, &why);
    if (strcmp(answers, "error") == 0) {
        assert_int_equal(rc, FM_EMALFORMED);
    } else if (rc == FM_ELIMIT) {
        assert_true(cache_bytes < regex_limits_default.cache_bytes_max);
    } else {
        assert_ok(rc);
        struct regex_matcher *matcher;
        assert_ok(regex_matcher_new(&matcher, regex));
        for (const char *answer = answers; *answer; answer++) {
            struct fm_buf text = word_bytes(strtok_r(NULL, " ", &save));
            if (regex_match(matcher, fm_buf_slice(&text)) != (*answer == '1'))
                fail_msg("%.*s on %.*s", (int)pattern.len, (const char *)pattern.ptr, (int)text.len,
                         (const char *)text.ptr);
            fm_buf_fini(&text);
        }
        (void)regex_matcher_free(matcher);
        (void)regex_free(regex);
    }
    fm_buf_fini(&pattern);
}

static void check_golden(uint32_t cache_bytes)
{
    struct fm_buf file = test_read_file("golden/regex/go.txt");
    unsigned count = 0;
    fm_buf_put_u8(&file, 0);
    for (char *line = (char *)file.ptr, *next; *line; line = next) {
        next = strchr(line, '\n');
        *next++ = '\0';
        if (*line == '#')
            continue;
        check_line(line, cache_bytes);
        count++;
    }
    assert_true(count > 500);
    fm_buf_fini(&file);
}

static void test_answers_of_go(void **state)
{
    (void)state;
    check_golden(regex_limits_default.cache_bytes_max);
}

static void test_answers_with_hardly_any_memory(void **state)
{
    (void)state;
    check_golden(2000);
}

static void test_whole_text(void **state)
{
    (void)state;
    assert_false(pattern_matches("G", "GET"));
    assert_true(pattern_matches("G.*", "GET"));
    assert_true(pattern_matches("a.b", "a\nb"));
    assert_false(pattern_matches("(?-s)a.b", "a\nb"));
    assert_true(pattern_matches("", ""));
    assert_true(pattern_matches("(?i)straSSe", "STRAsse"));
    assert_true(pattern_matches("\\p{Greek}+", "αβγ"));
}

static void test_literals_and_prefixes(void **state)
{
    (void)state;
    uint32_t count;
    struct regex *regex = compile("cart|checkout|payment");
    const struct fm_slice *literals = regex_literals(regex, &count);
    assert_int_equal(count, 3);
    assert_true(fm_slice_equal_text(literals[1], "checkout"));
    assert_true(match(regex, FM_SLICE("payment")));
    assert_false(match(regex, FM_SLICE("pay")));
    (void)regex_free(regex);
    regex = compile("GET /api/.*");
    (void)regex_literals(regex, &count);
    assert_int_equal(count, 0);
    assert_true(fm_slice_equal_text(regex_prefix(regex), "GET /api/"));
    (void)regex_free(regex);
    regex = compile("(?i)get");
    (void)regex_literals(regex, &count);
    assert_int_equal(count, 0);
    (void)regex_free(regex);
}

static void test_limits(void **state)
{
    (void)state;
    struct regex *regex;
    struct fm_why why;
    char text[6145];
    memset(text, 'a', sizeof text);
    assert_int_equal(regex_new(&regex, fm_slice(text, sizeof text), &regex_limits_default, &why),
                     FM_ELIMIT);
    for (size_t i = 7; i < sizeof text; i += 8) /* hundreds of names */
        text[i] = '|';
    assert_int_equal(
        regex_new(&regex, fm_slice(text, sizeof text - 1), &regex_limits_default, &why), FM_OK);
    regex_free(regex);
    memset(text, '(', 600);
    assert_int_equal(regex_new(&regex, fm_slice(text, 600), &regex_limits_default, &why),
                     FM_ELIMIT);
    assert_int_equal(
        regex_new(&regex, FM_SLICE("((a{100}){100}){100}"), &regex_limits_default, &why),
        FM_ELIMIT);
    assert_non_null(strstr(why.text, "too large"));
    assert_int_equal(regex_new(&regex, FM_SLICE("a\xff"), &regex_limits_default, &why),
                     FM_EMALFORMED);
}

/* A backtracking matcher would need 2^30 steps for each of these. */
static void test_no_pattern_explodes(void **state)
{
    (void)state;
    char text[4096];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'b';
    static const char *const patterns[] = {"(a*)*",         "(a|aa)+",    "(a?){30}a{30}.*c",
                                           "(.*)(.*)(.*)c", "(a|b|ab)*c", ".*.*.*.*x"};
    for (size_t i = 0; i < FM_COUNT(patterns); i++) {
        struct regex *regex = compile(patterns[i]);
        assert_false(match(regex, fm_slice(text, sizeof text)));
        (void)regex_free(regex);
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct regex *regex = NULL;
        struct regex_matcher *matcher = NULL;
        struct fm_why why;
        test_alloc_fail_at(nth);
        int rc =
            regex_new(&regex, FM_SLICE("(a|\\pL{2,3}|[x-z])+\\b"), &regex_limits_default, &why);
        if (rc == FM_OK)
            rc = regex_matcher_new(&matcher, regex);
        bool was_reached = test_alloc_failed();
        test_alloc_disarm();
        assert_true(rc == FM_OK || rc == FM_ENOMEM);
        if (rc == FM_OK)
            assert_true(regex_match(matcher, FM_SLICE("axy")));
        (void)regex_matcher_free(matcher);
        (void)regex_free(regex);
        if (!was_reached)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_of_go),
        cmocka_unit_test(test_answers_with_hardly_any_memory),
        cmocka_unit_test(test_whole_text),
        cmocka_unit_test(test_literals_and_prefixes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_pattern_explodes),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
