/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: the TraceQL they become, what is judged of a trace, what is wrong with settings, and
 * what is remembered. */
#include "../../support/test.h"

#include "fermata/sample.h"
#include "fermata/units.h"

static struct sample_rules *rules_new(const struct sample_rule *from, size_t count,
                                      const char *probability)
{
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    if (sample_rules_new(&rules, from, count, probability, &fault) != FM_OK)
        fail_msg("%s: %s", fault.key ? fault.key : "", fault.why.text);
    return rules;
}

static void id_of(struct trace_id *id, uint64_t randomness)
{
    memset(id, 0x5a, sizeof *id);
    for (unsigned i = 0; i < 7; i++)
        id->bytes[15 - i] = (uint8_t)(randomness >> 8 * i);
}

static struct sample_outcome judge(const struct sample_rules *rules,
                                   const struct sample_facts *facts)
{
    FM_AUTO(sample_state) state = NULL;
    assert_ok(sample_state_new(&state, rules));
    return sample_judge(state, facts);
}

/* ---- leaves ---- */

static void check_leaf(const struct sample_rule *from, const char *wanted, bool is_local)
{
    FM_AUTO(sample_rules) rules = rules_new(from, 1, "0");
    assert_int_equal(sample_leaf_count(rules), 1);
    struct fm_slice text = sample_leaf_text(rules, 0);
    char shown[512];
    assert_true(text.len < sizeof shown);
    memcpy(shown, text.ptr, text.len);
    shown[text.len] = '\0';
    assert_string_equal(shown, wanted);
    assert_int_equal(sample_leaf_is_local(rules, 0), is_local);
}

static void test_leaves(void **state)
{
    (void)state;
    const struct {
        struct sample_rule rule;
        const char *text;
        bool is_local;
    } rows[] = {
        {{.kind = SAMPLE_STATUS_CODE, .status_codes = "ERROR unset"},
         "{ status = error || status = unset }",
         true},
        {{.kind = SAMPLE_STRING_ATTRIBUTE, .key = "a", .values = "x\ny \"z\"\\"},
         "{ span.\"a\" = \"x\" || span.\"a\" = \"y \\\"z\\\"\\\\\" || resource.\"a\" = \"x\" || "
         "resource.\"a\" = \"y \\\"z\\\"\\\\\" }",
         true},
        {{.kind = SAMPLE_STRING_ATTRIBUTE, .key = "a b", .values = "^/v\\d", .regex = true},
         "{ span.\"a b\" =~ \".*(?:^/v\\\\d).*\" || resource.\"a b\" =~ \".*(?:^/v\\\\d).*\" }",
         true},
        {{.kind = SAMPLE_NUMERIC_ATTRIBUTE, .key = "n", .min_value = "-5", .max_value = "7.5"},
         "{ (span.\"n\" >= -5 && span.\"n\" <= 7.5) || (resource.\"n\" >= -5 && "
         "resource.\"n\" <= 7.5) }",
         true},
        {{.kind = SAMPLE_NUMERIC_ATTRIBUTE, .key = "n", .max_value = "7"},
         "{ (span.\"n\" <= 7) || (resource.\"n\" <= 7) }",
         true},
        {{.kind = SAMPLE_BOOLEAN_ATTRIBUTE, .key = "b", .values = "true"},
         "{ span.\"b\" = true || resource.\"b\" = true }",
         true},
        {{.kind = SAMPLE_TRACEQL, .query = "{ duration > 1s } | count() > 2"},
         "{ duration > 1s } | count() > 2",
         false},
        {{.kind = SAMPLE_TRACEQL, .query = "{ .a = 1 && rootName = \"x\" }"},
         "{ .a = 1 && rootName = \"x\" }",
         false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct sample_rule rule = rows[i].rule;
        rule.name = "p";
        check_leaf(&rule, rows[i].text, rows[i].is_local);
    }
}

static void test_equal_leaves_are_one(void **state)
{
    (void)state;
    const struct sample_rule from[] = {
        {.kind = SAMPLE_STATUS_CODE, .name = "a", .status_codes = "error"},
        {.kind = SAMPLE_TRACEQL, .name = "b", .query = "{ status = error }", .invert = true},
        {.kind = SAMPLE_TRACEQL, .name = "c", .query = "{ kind = server }"},
    };
    FM_AUTO(sample_rules) rules = rules_new(from, FM_COUNT(from), "0");
    assert_int_equal(sample_rule_count(rules), 3);
    assert_string_equal(sample_rule_name(rules, 2), "c");
    assert_int_equal(sample_leaf_count(rules), 2);
    struct sample_outcome outcome = judge(rules, &(struct sample_facts){.leaves = 1});
    assert_true(outcome.keep);
    assert_int_equal(outcome.rule, 0);
    outcome = judge(rules, &(struct sample_facts){.leaves = 0});
    assert_true(outcome.keep);
    assert_int_equal(outcome.rule, 1);
    outcome = judge(rules, &(struct sample_facts){.leaves = 3});
    assert_int_equal(outcome.rule, 0);
}

/* ---- judging ---- */

static bool kept_by(const struct sample_rule *from, const struct sample_facts *facts)
{
    struct sample_rule rule = *from;
    rule.name = "p";
    FM_AUTO(sample_rules) rules = rules_new(&rule, 1, "0");
    assert_int_equal(sample_leaf_count(rules), 0);
    return judge(rules, facts).keep;
}

static void test_limits_of_latency_and_count(void **state)
{
    (void)state;
    const struct sample_rule slow = {.kind = SAMPLE_LATENCY, .threshold_ns = 100};
    const struct sample_rule band = {
        .kind = SAMPLE_LATENCY, .threshold_ns = 100, .upper_threshold_ns = 200};
    const struct {
        uint64_t ns;
        bool slow, band;
    } rows[] = {{99, false, false},
                {100, true, false},
                {101, true, true},
                {200, true, true},
                {201, true, false}};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct sample_facts facts = {.start_ns = 1000, .end_ns = 1000 + rows[i].ns};
        assert_int_equal(kept_by(&slow, &facts), rows[i].slow);
        assert_int_equal(kept_by(&band, &facts), rows[i].band);
    }
    struct sample_facts backwards = {.start_ns = 1000, .end_ns = 1};
    assert_false(kept_by(&slow, &backwards));
    const struct sample_rule few = {.kind = SAMPLE_SPAN_COUNT, .min_spans = 2, .max_spans = 4};
    for (uint64_t count = 0; count < 8; count++)
        assert_int_equal(kept_by(&few, &(struct sample_facts){.span_count = count}),
                         count >= 2 && count <= 4);
}

static void test_drop_wins_and_the_first_is_named(void **state)
{
    (void)state;
    const struct sample_rule from[] = {
        {.kind = SAMPLE_TRACEQL, .name = "errors", .query = "{ status = error }"},
        {.kind = SAMPLE_ALWAYS, .name = "all"},
        {.kind = SAMPLE_TRACEQL, .name = "urgent", .query = "{ .urgent }", .express = true},
        {.kind = SAMPLE_TRACEQL, .name = "health", .query = "{ name = \"health\" }"},
        {.kind = SAMPLE_LATENCY, .name = "fast", .upper_threshold_ns = 1000},
        {.kind = SAMPLE_DROP, .name = "noise", .sub_policies = "health fast"},
    };
    FM_AUTO(sample_rules) rules = rules_new(from, FM_COUNT(from), "0");
    const struct {
        uint64_t leaves, ns;
        bool keep, express;
        size_t rule;
    } rows[] = {{0, 5000, true, false, 1}, {1, 5000, true, false, 0}, {2, 5000, true, true, 1},
                {3, 5000, true, true, 0},  {4, 5000, true, false, 1}, {4, 500, false, false, 5},
                {7, 500, false, false, 5}, {3, 500, true, true, 0}};
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct sample_outcome outcome =
            judge(rules, &(struct sample_facts){.leaves = rows[i].leaves, .end_ns = rows[i].ns});
        assert_int_equal(outcome.keep, rows[i].keep);
        assert_int_equal(outcome.express, rows[i].express);
        assert_int_equal(outcome.rule, rows[i].rule);
    }
}

static void test_combinators(void **state)
{
    (void)state;
    const struct sample_rule from[] = {
        {.kind = SAMPLE_AND, .name = "both", .sub_policies = "a nota"},
        {.kind = SAMPLE_NOT, .name = "nota", .sub_policies = "b"},
        {.kind = SAMPLE_TRACEQL, .name = "a", .query = "{ .a = 1 }"},
        {.kind = SAMPLE_TRACEQL, .name = "b", .query = "{ .b = 1 }"},
    };
    FM_AUTO(sample_rules) rules = rules_new(from, FM_COUNT(from), "0");
    for (uint64_t leaves = 0; leaves < 4; leaves++)
        assert_int_equal(judge(rules, &(struct sample_facts){.leaves = leaves}).keep, leaves == 1);
}

static void test_rates(void **state)
{
    (void)state;
    const struct sample_rule from[] = {
        {.kind = SAMPLE_RATE_LIMITING, .name = "some", .spans_per_second = 1}};
    FM_AUTO(sample_rules) rules = rules_new(from, FM_COUNT(from), "0");
    FM_AUTO(sample_state) run = NULL;
    assert_ok(sample_state_new(&run, rules));
    const uint64_t minute_ns = 60 * FM_NS_PER_S;
    uint64_t kept[4] = {0};
    for (unsigned i = 0; i < 400; i++) { /* minutes in disorder, 700 spans each */
        struct sample_facts facts = {.span_count = 7, .now_ns = (i % 4) * minute_ns + i};
        kept[i % 4] += sample_judge(run, &facts).keep ? facts.span_count : 0;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(kept[i], 56);
    /* a smaller one still fits, one that is too large for a minute never does */
    assert_true(sample_judge(run, &(struct sample_facts){.span_count = 4}).keep);
    assert_false(sample_judge(run, &(struct sample_facts){.span_count = 1}).keep);
    assert_false(
        sample_judge(run, &(struct sample_facts){.span_count = 61, .now_ns = 9 * minute_ns}).keep);
    /* the same minute two hours later is another */
    assert_true(
        sample_judge(run, &(struct sample_facts){.span_count = 60, .now_ns = 128 * minute_ns})
            .keep);
}

static void test_composite(void **state)
{
    (void)state;
    const struct sample_rule from[] = {
        {.kind = SAMPLE_COMPOSITE,
         .name = "c",
         .sub_policies = "errors slow all",
         .spans_per_second = 10,
         .rate_allocation = "errors=50% slow=25"},
        {.kind = SAMPLE_TRACEQL, .name = "errors", .query = "{ status = error }"},
        {.kind = SAMPLE_TRACEQL, .name = "slow", .query = "{ duration > 1s }"},
        {.kind = SAMPLE_ALWAYS, .name = "all"},
    };
    FM_AUTO(sample_rules) rules = rules_new(from, FM_COUNT(from), "0");
    FM_AUTO(sample_state) run = NULL;
    assert_ok(sample_state_new(&run, rules));
    uint64_t kept[3] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        struct sample_facts facts = {.span_count = 10, .leaves = i % 3 == 2 ? 0 : 1u << i % 3};
        kept[i % 3] += sample_judge(run, &facts).keep ? facts.span_count : 0;
    }
    assert_int_equal(kept[0], 300); /* a half of 600 */
    assert_int_equal(kept[1], 150);
    assert_int_equal(kept[2], 200); /* no share of its own: a third */
}

static void test_probabilities_are_consistent(void **state)
{
    (void)state;
    static const char *const probabilities[] = {"0",    "0.001", "1%",  "0.05",
                                                "0.25", "0.5",   "0.9", "1"};
    const double wanted[] = {0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.9, 1};
    unsigned kept[FM_COUNT(probabilities)] = {0};
    struct sample_rules *by_default[FM_COUNT(probabilities)], *by_rule[FM_COUNT(probabilities)];
    const unsigned count = 20000;
    uint64_t seed = 7;
    for (size_t i = 0; i < FM_COUNT(probabilities); i++) {
        struct sample_rule rule = {
            .kind = SAMPLE_PROBABILISTIC, .name = "p", .probability = probabilities[i]};
        by_default[i] = rules_new(NULL, 0, probabilities[i]);
        by_rule[i] = rules_new(&rule, 1, "0");
    }
    for (unsigned n = 0; n < count; n++) {
        struct sample_facts facts = {0};
        id_of(&facts.id, fm_random_next(&seed));
        bool before = false;
        for (size_t i = 0; i < FM_COUNT(probabilities); i++) {
            bool keep = judge(by_default[i], &facts).keep;
            assert_int_equal(judge(by_rule[i], &facts).keep, keep);
            assert_true(keep || !before); /* kept at less is kept at more */
            kept[i] += keep;
            before = keep;
        }
    }
    for (size_t i = 0; i < FM_COUNT(probabilities); i++) {
        double share = (double)kept[i] / count;
        assert_true(share > wanted[i] - 0.015 && share < wanted[i] + 0.015);
        sample_rules_free(by_default[i]);
        sample_rules_free(by_rule[i]);
    }
    assert_int_equal(kept[0], 0);
    assert_int_equal(kept[FM_COUNT(probabilities) - 1], count);
}

/* ---- settings ---- */

static void check_fault(const struct sample_rule *from, size_t count, size_t rule, const char *key,
                        const char *what)
{
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    assert_int_equal(sample_rules_new(&rules, from, count, "0.5", &fault), FM_ECONFIG);
    assert_null(rules);
    assert_int_equal(fault.rule, rule);
    assert_string_equal(fault.key ? fault.key : "", key);
    if (!strstr(fault.why.text, what))
        fail_msg("%s", fault.why.text);
}

static void test_settings_that_are_wrong(void **state)
{
    (void)state;
    const struct {
        struct sample_rule rule;
        const char *key, *what;
    } rows[] = {
        {{.kind = SAMPLE_STATUS_CODE}, "status_codes", "names no status"},
        {{.kind = SAMPLE_STATUS_CODE, .status_codes = "error bad"}, "status_codes", "no such"},
        {{.kind = SAMPLE_ALWAYS, .key = "a"}, "key", "not a key of this type"},
        {{.kind = SAMPLE_LATENCY}, "threshold", "no limits"},
        {{.kind = SAMPLE_LATENCY, .threshold_ns = 5, .upper_threshold_ns = 5},
         "upper_threshold",
         "no trace"},
        {{.kind = SAMPLE_LATENCY, .threshold_ns = UINT64_MAX}, "threshold", "too long"},
        {{.kind = SAMPLE_STRING_ATTRIBUTE, .values = "x"}, "key", "no key"},
        {{.kind = SAMPLE_STRING_ATTRIBUTE, .key = "x"}, "values", "no values"},
        {{.kind = SAMPLE_STRING_ATTRIBUTE, .key = "x", .values = "(", .regex = true},
         "values",
         "invalid regex"},
        {{.kind = SAMPLE_NUMERIC_ATTRIBUTE, .key = "x"}, "min_value", "no limits"},
        {{.kind = SAMPLE_NUMERIC_ATTRIBUTE, .key = "x", .min_value = "1e3"}, "min_value", "1e3"},
        {{.kind = SAMPLE_NUMERIC_ATTRIBUTE, .key = "x", .max_value = "1."}, "max_value", "1."},
        {{.kind = SAMPLE_BOOLEAN_ATTRIBUTE, .key = "x", .values = "yes"}, "values", "yes"},
        {{.kind = SAMPLE_SPAN_COUNT}, "min_spans", "no limits"},
        {{.kind = SAMPLE_SPAN_COUNT, .min_spans = 5, .max_spans = 4}, "max_spans", "no trace"},
        {{.kind = SAMPLE_TRACEQL}, "query", "no query"},
        {{.kind = SAMPLE_TRACEQL, .query = "{"}, "query", "parse error"},
        {{.kind = SAMPLE_TRACEQL, .query = "{ name > 1 }"}, "query", "same type"},
        {{.kind = SAMPLE_TRACEQL, .query = "{} | rate()"}, "query", "metrics"},
        {{.kind = SAMPLE_PROBABILISTIC}, "probability", "not a probability"},
        {{.kind = SAMPLE_PROBABILISTIC, .probability = "1.1"}, "probability", "1.1"},
        {{.kind = SAMPLE_RATE_LIMITING}, "spans_per_second", "no rate"},
        {{.kind = SAMPLE_AND}, "sub_policies", "names no policy"},
        {{.kind = SAMPLE_AND, .sub_policies = "q"}, "sub_policies", "no such policy: \"q\""},
        {{.kind = SAMPLE_AND, .sub_policies = "p"}, "sub_policies", "contains itself"},
        {{.kind = SAMPLE_COMPOSITE, .sub_policies = "x", .spans_per_second = 1},
         "sub_policies",
         "no such policy"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct sample_rule rule = rows[i].rule;
        rule.name = "p";
        check_fault(&rule, 1, 0, rows[i].key, rows[i].what);
    }
}

static void test_policies_that_do_not_fit_together(void **state)
{
    (void)state;
    struct sample_rule two[] = {{.kind = SAMPLE_AND, .name = "a", .sub_policies = "b"},
                                {.kind = SAMPLE_ALWAYS, .name = "b"}};
    two[1].name = "a";
    check_fault(two, 2, 1, "", "the name is taken");
    two[1].name = "b";
    two[0].sub_policies = "b b";
    check_fault(two, 2, 0, "sub_policies", "named twice");
    two[0].kind = SAMPLE_NOT;
    check_fault(two, 2, 0, "sub_policies", "one part");
    two[0].kind = SAMPLE_COMPOSITE;
    two[0].sub_policies = "b";
    check_fault(two, 2, 0, "spans_per_second", "no rate");
    two[0].spans_per_second = 10;
    two[0].rate_allocation = "c=50";
    check_fault(two, 2, 0, "rate_allocation", "c=50");
    two[0].rate_allocation = "b=0";
    check_fault(two, 2, 0, "rate_allocation", "b=0");
    two[0].rate_allocation = "b=60 b=60";
    check_fault(two, 2, 0, "rate_allocation", "more than there is");
    two[0] = (struct sample_rule){.kind = SAMPLE_AND, .name = "a", .sub_policies = "b"};
    two[1] = (struct sample_rule){.kind = SAMPLE_DROP, .name = "b", .sub_policies = "a"};
    check_fault(two, 2, 0, "sub_policies", "a drop is no part");
    two[1].kind = SAMPLE_NOT;
    check_fault(two, 2, 0, "sub_policies", "contains itself");
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    assert_int_equal(sample_rules_new(&rules, NULL, 0, "2", &fault), FM_ECONFIG);
    assert_int_equal(fault.rule, SAMPLE_NO_RULE);
    assert_string_equal(fault.key, "default_probability");
}

static void test_depth_and_number_are_bounded(void **state)
{
    (void)state;
    struct sample_rule rules[70] = {0};
    char names[70][8], parts[70][8], queries[70][32];
    for (unsigned i = 0; i < 70; i++) {
        (void)snprintf(names[i], sizeof names[i], "p%u", i);
        (void)snprintf(parts[i], sizeof parts[i], "p%u", i + 1);
        rules[i] =
            (struct sample_rule){.kind = SAMPLE_NOT, .name = names[i], .sub_policies = parts[i]};
    }
    rules[8] = (struct sample_rule){.kind = SAMPLE_ALWAYS, .name = "p8"};
    sample_rules_free(rules_new(rules, 9, "0"));
    rules[8] = (struct sample_rule){.kind = SAMPLE_NOT, .name = "p8", .sub_policies = "p9"};
    rules[9] = (struct sample_rule){.kind = SAMPLE_ALWAYS, .name = "p9"};
    check_fault(rules, 10, 0, "sub_policies", "too deep");
    for (unsigned i = 0; i < 70; i++) {
        (void)snprintf(queries[i], sizeof queries[i], "{ .a = %u }", i);
        rules[i] =
            (struct sample_rule){.kind = SAMPLE_TRACEQL, .name = names[i], .query = queries[i]};
    }
    sample_rules_free(rules_new(rules, SAMPLE_LEAVES_MAX, "0"));
    check_fault(rules, 70, SAMPLE_LEAVES_MAX, "type", "more than 64");
}

/* ---- memory of verdicts ---- */

static void test_memory(void **state)
{
    (void)state;
    FM_AUTO(sample_memory) memory = NULL;
    assert_ok(sample_memory_new(&memory, FM_KIB(64), 42));
    struct sample_memory_stats stats = sample_memory_stats(memory);
    assert_int_equal(stats.bytes, FM_KIB(64));
    assert_int_equal(stats.room, 6144);
    for (uint64_t key = 0; key < 100000; key++) {
        assert_int_equal(sample_memory_find(memory, key), SAMPLE_UNKNOWN);
        sample_memory_put(memory, key, 1 + key % 3);
        assert_int_equal(sample_memory_find(memory, key), 1 + key % 3);
        if (key >= 4000) /* three generations and the begun one */
            assert_int_equal(sample_memory_find(memory, key - 4000), 1 + (key - 4000) % 3);
        if (key >= 6144)
            assert_int_equal(sample_memory_find(memory, key - 6144), SAMPLE_UNKNOWN);
    }
    stats = sample_memory_stats(memory);
    assert_int_equal(stats.traces + stats.forgotten, 100000);
    assert_true(stats.traces <= stats.room && stats.traces >= stats.room / 4 * 3);
    sample_memory_put(memory, 99999, SAMPLE_EXPRESS);
    sample_memory_put(memory, 99999, SAMPLE_DROPPED);
    assert_int_equal(sample_memory_find(memory, 99999), SAMPLE_DROPPED);
    sample_memory_put(memory, 97000, SAMPLE_EXPRESS); /* in an older generation, too */
    assert_int_equal(sample_memory_find(memory, 97000), SAMPLE_EXPRESS);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(sample_memory_find(memory, 99999), SAMPLE_DROPPED);
        sample_memory_age(memory);
    }
    assert_int_equal(sample_memory_find(memory, 99999), SAMPLE_UNKNOWN);
    assert_int_equal(sample_memory_stats(memory).traces, 0);
}

/* ---- memory of the process ---- */

static int all_once(void)
{
    static const struct sample_rule from[] = {
        {.kind = SAMPLE_STATUS_CODE, .name = "a", .status_codes = "error"},
        {.kind = SAMPLE_STRING_ATTRIBUTE, .name = "b", .key = "k", .values = "x", .regex = true},
        {.kind = SAMPLE_RATE_LIMITING, .name = "c", .spans_per_second = 1},
        {.kind = SAMPLE_COMPOSITE, .name = "d", .sub_policies = "a b c", .spans_per_second = 1},
    };
    struct sample_fault fault;
    FM_AUTO(sample_rules) rules = NULL;
    FM_AUTO(sample_state) state = NULL;
    FM_AUTO(sample_memory) memory = NULL;
    int rc = sample_rules_new(&rules, from, FM_COUNT(from), "0.1", &fault);
    if (rc == FM_OK)
        rc = sample_state_new(&state, rules);
    if (rc == FM_OK)
        rc = sample_memory_new(&memory, FM_KIB(4), 1);
    return rc;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        test_alloc_fail_at(nth);
        int rc = all_once();
        failed = test_alloc_failed();
        test_alloc_disarm();
        if (rc != FM_OK) /* what a pattern only gains speed from it can do without */
            assert_int_equal(rc, FM_ENOMEM);
        assert_true(failed || rc == FM_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_equal_leaves_are_one),
        cmocka_unit_test(test_limits_of_latency_and_count),
        cmocka_unit_test(test_drop_wins_and_the_first_is_named),
        cmocka_unit_test(test_combinators),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_composite),
        cmocka_unit_test(test_probabilities_are_consistent),
        cmocka_unit_test(test_settings_that_are_wrong),
        cmocka_unit_test(test_policies_that_do_not_fit_together),
        cmocka_unit_test(test_depth_and_number_are_bounded),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
