/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of sampling: what they become, and what is said of those that are wrong. */
#include "../../support/test.h"

#include "fermata/config_named.h"
#include "fermata/units.h"

static struct config *load(const char *text, const char *wanted)
{
    struct config *config = NULL;
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load_text(&config, "f", fm_slice_text(text), &messages);
    fm_buf_put_u8(&messages, 0);
    assert_string_equal((char *)messages.ptr, wanted);
    assert_int_equal(rc, *wanted ? FM_ECONFIG : FM_OK);
    fm_buf_fini(&messages);
    return config;
}

static const char policies[] =
    "[sampling.head]\nprobability = 25%\nmax_spans_per_second = 7\n"
    "fail_closed = true\n"
    "[sampling.tail]\nenabled = true\ndefault_probability = 0\n"
    "[sampling.policy.keep]\n"
    "[sampling.policy.errors]\ntype = and\npriority = express\n"
    "sub_policies = failed large-1\n"
    "[sampling.policy.failed]\ntype = status_code\nstatus_codes = error\n"
    "[sampling.policy.large-1]\ntype = span_count\nmin_spans = 3\n"
    "[sampling.policy.found]\ntype = traceql\n"
    "query = { .a = 1 }\n | count() > 2\n"
    "[sampling.policy.noise]\ntype = drop\nsub_policies = named\n"
    "[sampling.policy.named]\ntype = string_attribute\nkey = k\n"
    "values = a b\n c\n";

static void test_rules_of_a_file(void **state)
{
    (void)state;
    struct config *config = load(policies, "");
    FM_AUTO(sample_rules) rules = NULL;
    FM_AUTO(sample_state) run = NULL;
    struct fm_why why;
    assert_ok(config_sample_rules_new(&rules, config, false, &why));
    assert_int_equal(sample_rule_count(rules), 7);
    assert_string_equal(sample_rule_name(rules, 3), "large-1");
    assert_int_equal(sample_leaf_count(rules), 3);
    assert_true(fm_slice_equal_text(sample_leaf_text(rules, 1), "{ .a = 1 }\n| count() > 2"));
    assert_false(sample_leaf_is_local(rules, 1));
    assert_true(fm_slice_equal_text(sample_leaf_text(rules, 2),
                                    "{ span.\"k\" = \"a b\" || span.\"k\" = \"c\" || "
                                    "resource.\"k\" = \"a b\" || resource.\"k\" = \"c\" }"));
    assert_ok(sample_state_new(&run, rules));
    struct sample_outcome outcome =
        sample_judge(run, &(struct sample_facts){.leaves = 1, .span_count = 3});
    assert_true(outcome.keep && outcome.express && outcome.rule == 0);
    outcome = sample_judge(run, &(struct sample_facts){.leaves = 5, .span_count = 3});
    assert_false(outcome.keep);
    struct sample_head_options head = config_sample_head(config);
    assert_int_equal(head.threshold, SAMPLE_THRESHOLD_NEVER / 4 * 3);
    assert_int_equal(head.spans_per_second_max, 7);
    assert_true(head.fail_closed);
    config_free(config);
}

static void test_rules_that_are_urgent(void **state)
{
    (void)state;
    struct config *config = load(policies, "");
    FM_AUTO(sample_rules) rules = NULL;
    FM_AUTO(sample_state) run = NULL;
    struct fm_why why;
    assert_ok(config_sample_rules_new(&rules, config, true, &why));
    /* errors, failed, large-1, noise, named: neither keep nor found */
    assert_int_equal(sample_rule_count(rules), 5);
    assert_int_equal(sample_leaf_count(rules), 2);
    assert_ok(sample_state_new(&run, rules));
    for (uint64_t leaves = 0; leaves < 4; leaves++) {
        struct sample_facts facts = {.leaves = leaves, .span_count = 3};
        assert_int_equal(sample_judge(run, &facts).keep, leaves == 1);
    }
    config_free(config);
    struct sample_rules *none = rules;
    config = load("[sampling.policy.a]\n", "");
    assert_ok(config_sample_rules_new(&none, config, true, &why));
    assert_null(none);
    config_free(config);
}

static void test_nothing_is_nothing(void **state)
{
    (void)state;
    struct config *config = load("", "");
    struct sample_head_options head = config_sample_head(config);
    assert_false(config->sampling_tail_enabled);
    assert_int_equal(head.threshold, 0);
    assert_int_equal(head.spans_per_second_max, 0);
    config_free(config);
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *messages;
    } rows[] = {
        {"[sampling.head]\nprobability = 1.5\n",
         "f:2:15: error: bad probability in [sampling.head]\n"
         "    2 | probability = 1.5\n"
         "      |               ^^^\n"
         "      | accepted: 0 to 1, or 0% to 100%\n"},
        {"[sampling.tail]\ndefault_probability = x\n",
         "f:2:23: error: bad default_probability in [sampling.tail]\n"
         "    2 | default_probability = x\n"
         "      |                       ^\n"
         "      | accepted: 0 to 1, or 0% to 100%\n"},
        {"[sampling.tail]\nexpress_interval = 1ms\n",
         "f:2:20: error: bad express_interval in [sampling.tail]\n"
         "    2 | express_interval = 1ms\n"
         "      |                    ^^^\n"
         "      | accepted: 1s to 24h\n"},
        {"[sampling.policy.a]\ntype = latency\n",
         "f:1:1: error: [sampling.policy.a] threshold: it has no limits\n"
         "    1 | [sampling.policy.a]\n"
         "      | ^^^^^^^^^^^^^^^^^^^\n"
         "      | accepted: threshold = 2s\n"},
        {"[sampling.policy.a]\ntype = latency\nthreshold = 2s\nquery = {}\n",
         "f:4:9: error: [sampling.policy.a] query: not a key of this type\n"
         "    4 | query = {}\n"
         "      |         ^^\n"
         "      | accepted: threshold, upper_threshold\n"},
        {"[sampling.policy.a]\ntype = traceql\nquery = { nam = 1 }\n",
         "f:3:9: error: [sampling.policy.a] query: parse error at line 1, col 3: unknown "
         "identifier: nam\n"
         "    3 | query = { nam = 1 }\n"
         "      |         ^^^^^^^^^^^\n"},
        {"[sampling.policy.a]\ntype = and\nsub_policies = b\n",
         "f:3:16: error: [sampling.policy.a] sub_policies: no such policy: \"b\"\n"
         "    3 | sub_policies = b\n"
         "      |                ^\n"
         "      | accepted: names of other policies\n"},
        {"[sampling.policy.a]\ntype = latncy\n",
         "f:2:8: error: bad value \"latncy\" for \"type\" in [sampling.policy.a]\n"
         "    2 | type = latncy\n"
         "      |        ^^^^^^\n"
         "      | accepted: always_sample, status_code, latency, string_attribute, "
         "numeric_attribute, boolean_attribute, span_count, traceql, probabilistic, "
         "rate_limiting, and, not, drop, composite\n"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_null(load(rows[i].text, rows[i].messages));
}

static void test_the_example(void **state)
{
    (void)state;
    struct fm_buf text = test_read_file("../config/policies.example.ini");
    fm_buf_put_u8(&text, 0);
    struct config *config = load((char *)text.ptr, "");
    FM_AUTO(sample_rules) rules = NULL;
    struct fm_why why;
    assert_true(config->sampling_tail_enabled);
    assert_ok(config_sample_rules_new(&rules, config, false, &why));
    assert_int_equal(sample_rule_count(rules), 11);
    config_free(config);
    fm_buf_fini(&text);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct sample_rules *rules = NULL;
        struct config *config = NULL;
        struct fm_buf messages;
        struct fm_why why;
        fm_buf_init(&messages, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = config_load_text(&config, "f", fm_slice_text(policies), &messages);
        if (rc == FM_OK)
            rc = config_sample_rules_new(&rules, config, true, &why);
        failed = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, failed ? FM_ENOMEM : FM_OK);
        sample_rules_free(rules);
        config_free(config);
        fm_buf_fini(&messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_of_a_file),    cmocka_unit_test(test_rules_that_are_urgent),
        cmocka_unit_test(test_nothing_is_nothing), cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_the_example),        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
