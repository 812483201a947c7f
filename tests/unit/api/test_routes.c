/* SPDX-License-Identifier: Apache-2.0 */
/* routes - patterns with one star. */
#include "../../support/test.h"

#include "../../../src/daemon/api/routes.h"

static void assert_wild(const char *pattern, const char *path, const char *wild)
{
    struct fm_slice got;
    assert_true(route_matches(pattern, fm_slice_text(path), &got));
    assert_true(fm_slice_equal_text(got, wild));
}

static void test_patterns(void **state)
{
    struct fm_slice wild;
    (void)state;
    assert_wild("/api/echo", "/api/echo", "");
    assert_wild("/api/traces/*", "/api/traces/abc", "abc");
    assert_wild("/api/search/tag/*/values", "/api/search/tag/a/b/values/values", "a/b/values");
    assert_wild("/api/search/tag/*/values", "/api/search/tag/ /values", " ");
    assert_false(route_matches("/api/echo", FM_SLICE("/api/echo/"), &wild));
    assert_false(route_matches("/api/traces/*", FM_SLICE("/api/traces/"), &wild));
    assert_false(route_matches("/api/tag/*/values", FM_SLICE("/api/tag/values"), &wild));
    assert_false(route_matches("/api/tag/*/values", FM_SLICE("/api/tag//values"), &wild));
    assert_false(route_matches("/api/tag/*/values", FM_SLICE("/api/tag/x/value"), &wild));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
