/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/net.h"

static void test_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *host;
        uint16_t port;
        bool is_unix, is_loopback;
    } rows[] = {
        {"127.0.0.1:4317", FM_OK, "127.0.0.1", 4317, false, true},
        {"localhost:80", FM_OK, "localhost", 80, false, true},
        {"[::1]:4317", FM_OK, "::1", 4317, false, true},
        {"[2001:db8::1]:1", FM_OK, "2001:db8::1", 1, false, false},
        {":4318", FM_OK, "", 4318, false, false},
        {"0.0.0.0:65535", FM_OK, "0.0.0.0", 65535, false, false},
        {"unix:/run/x.sock", FM_OK, "/run/x.sock", 0, true, true},
        {"unix:relative", FM_ECONFIG, "", 0, false, false},
        {"localhost", FM_ECONFIG, "", 0, false, false},
        {"a:", FM_ECONFIG, "", 0, false, false},
        {"a:65536", FM_ECONFIG, "", 0, false, false},
        {"a:-1", FM_ECONFIG, "", 0, false, false},
        {"a:4317x", FM_ECONFIG, "", 0, false, false},
        {"::1:4317", FM_ECONFIG, "", 0, false, false},
        {"[::1:4317", FM_ECONFIG, "", 0, false, false},
        {"[]:4317", FM_ECONFIG, "", 0, false, false},
        {"http://a:80", FM_ECONFIG, "", 0, false, false},
        {"a b:80", FM_ECONFIG, "", 0, false, false},
        {"", FM_ECONFIG, "", 0, false, false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct net_endpoint endpoint;
        struct fm_why why = {""};
        int rc = net_endpoint_parse(rows[i].text, &endpoint, &why);
        if (rc != rows[i].rc)
            print_error("%s\n", rows[i].text);
        assert_int_equal(rc, rows[i].rc);
        if (rc < 0) {
            assert_true(why.text[0]);
            continue;
        }
        assert_string_equal(endpoint.host, rows[i].host);
        assert_int_equal(endpoint.port, rows[i].port);
        assert_int_equal(endpoint.is_unix, rows[i].is_unix);
        assert_int_equal(endpoint.is_loopback, rows[i].is_loopback);
    }
}

static void test_budget(void **state)
{
    (void)state;
    struct net_budget budget = {.bytes_max = 100};
    assert_true(net_budget_take(&budget, 60));
    assert_false(net_budget_take(&budget, 41));
    assert_true(net_budget_take(&budget, 40));
    assert_false(net_budget_take(&budget, UINT64_MAX));
    net_budget_give(&budget, 100);
    assert_int_equal(metric_get(&budget.bytes_used), 0);
    assert_int_equal(metric_get(&budget.refusals_total), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
