/* SPDX-License-Identifier: Apache-2.0 */
/* Sections with names of their own, and the processors in them. */
#include "../../support/test.h"

#include "fermata/config_named.h"

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

static void note_change(void *self, const char *section, const char *key)
{
    fm_buf_printf(self, "%s:%s ", section, key ? key : "");
}

static void test_compare(void **state)
{
    static const struct {
        const char *a, *b, *wanted;
    } rows[] = {
        {"", "", ""},
        {"[storage]\nmin_free = 1GiB\n", "[storage]\nmin_free = 1024MiB\n", ""},
        {"[fermata]\nlog_level = debug\n", "[resource]\nattributes = a=b\n",
         "fermata:log_level resource:attributes "},
        {"[processor.filter.a]\nmatch_name = x\n",
         "[processor.filter.a]\naction = keep\nmatch_name = y\n",
         "processor.filter.a:action processor.filter.a:match_name "},
        {"[processor.rename.a]\n[processor.rename.b]\n",
         "[processor.rename.b]\n[upload.window.a]\nschedule = Mon 01:00..02:00\n",
         "processor.rename.a: upload.window.a: "},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_buf text;
        fm_buf_init(&text, FM_KIB(4));
        FM_AUTO(config) a = load(rows[i].a, "");
        FM_AUTO(config) b = load(rows[i].b, "");
        config_compare(a, b, note_change, &text);
        fm_buf_put_u8(&text, 0);
        assert_string_equal((char *)text.ptr, rows[i].wanted);
        fm_buf_fini(&text);
    }
}

static void test_order_and_lines(void **state)
{
    (void)state;
    FM_AUTO(config)
    config = load("[processor.filter.b]\n"
                  "match_attribute = a = b\n"
                  "  c > 5\n"
                  "match_attribute = d\n"
                  "[processor.attributes.x-1]\n"
                  "key = k\nvalue = v\n"
                  "[processor.filter.a]\n"
                  "action = keep\nmatch_kind = server\n"
                  "[processor.filter.b]\n"
                  "match_name = n\n"
                  "[resource]\nattributes = a=b\n c = d e\n",
                  "");
    const struct config_named *named = config->named;
    assert_int_equal(named->kind, CONFIG_KIND_PROCESSOR_FILTER);
    assert_string_equal(named->section, "processor.filter.b");
    assert_string_equal(named->name, "b");
    assert_string_equal(named->processor_filter->match_attribute, "a = b\nc > 5\nd");
    assert_string_equal(named->processor_filter->match_name, "n");
    named = named->next;
    assert_int_equal(named->kind, CONFIG_KIND_PROCESSOR_ATTRIBUTES);
    assert_int_equal(named->processor_attributes->action, PROCESS_UPSERT);
    named = named->next;
    assert_string_equal(named->name, "a");
    assert_int_equal(named->processor_filter->action, 1);
    assert_null(named->next);
    assert_string_equal(config->resource_attributes, "a=b\nc = d e");

    struct fm_buf first, second;
    struct fm_why why;
    fm_buf_init(&first, FM_MIB(1));
    fm_buf_init(&second, FM_MIB(1));
    config_put_effective(config, &first);
    fm_buf_put_u8(&first, 0);
    FM_AUTO(config) again = load((char *)first.ptr, "");
    config_put_effective(again, &second);
    fm_buf_put_u8(&second, 0);
    assert_string_equal((char *)first.ptr, (char *)second.ptr);
    fm_buf_fini(&first);
    fm_buf_fini(&second);

    FM_AUTO(process) process = NULL;
    const struct process_pair fact = {FM_SLICE("host.name"), FM_SLICE("n")};
    assert_ok(config_process_new(&process, config, &fact, 1, &why));
    assert_int_equal(process_rule_count(process), 4);
    assert_string_equal(process_rule_name(process, 0), "resource");
    assert_string_equal(process_rule_name(process, 1), "filter.b");
    assert_string_equal(process_rule_name(process, 3), "filter.a");
}

static void test_nothing_is_nothing(void **state)
{
    (void)state;
    FM_AUTO(config) config = load("[wal]\n", "");
    struct process *process = (struct process *)config;
    struct fm_why why;
    assert_ok(config_process_new(&process, config, NULL, 0, &why));
    assert_null(process);
    assert_null(config->named);
}

static void test_other_sources(void **state)
{
    (void)state;
    static const char *const environment[] = {"FERMATA__PROCESSOR__FILTER__B__MATCH_NAME=n", NULL};
    static const char *const settings[] = {"processor.filter.a.match_name=m",
                                           "processor.filter.a.action=keep"};
    FM_AUTO(config) config = NULL;
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    assert_ok(config_load(&config, NULL, settings, 2, environment, &messages));
    assert_string_equal(config->named->name, "b");
    assert_string_equal(config->named->next->name, "a");
    assert_int_equal(config->named->next->processor_filter->action, 1);
    fm_buf_fini(&messages);
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *messages;
    } rows[] = {
        {"[processor.filtr.a]\naction = drop\n", "f:1:1: error: unknown section "
                                                 "[processor.filtr.a]\n"
                                                 "    1 | [processor.filtr.a]\n"
                                                 "      | ^^^^^^^^^^^^^^^^^^^\n"
                                                 "      | did you mean [processor.filter.a]?\n"},
        {"[processor.filter]\n",
         "f:1:1: error: [processor.filter] needs a name of its own\n"
         "    1 | [processor.filter]\n"
         "      | ^^^^^^^^^^^^^^^^^^\n"
         "      | write [processor.filter.NAME], NAME being 1 to 63 of a-z 0-9 _ -\n"},
        {"[processor.filter.a.b]\n",
         "f:1:1: error: [processor.filter.a.b] has a bad name\n"
         "    1 | [processor.filter.a.b]\n"
         "      | ^^^^^^^^^^^^^^^^^^^^^^\n"
         "      | write [processor.filter.NAME], NAME being 1 to 63 of a-z 0-9 _ -\n"},
        {"[processor.filter.a]\nmatch_nam = x\n",
         "f:2:1: error: unknown key \"match_nam\" in [processor.filter.a]\n"
         "    2 | match_nam = x\n"
         "      | ^^^^^^^^^\n"
         "      | did you mean \"match_name\"?\n"},
        {"[processor.filter.a]\naction = x\n",
         "f:2:10: error: bad value \"x\" for \"action\" in [processor.filter.a]\n"
         "    2 | action = x\n"
         "      |          ^\n"
         "      | accepted: drop, keep\n"},
        {"[processor.filter.a]\naction = drop\naction = keep\n",
         "f:3:1: error: \"action\" was given on line 2 already\n"
         "    3 | action = keep\n"
         "      | ^^^^^^\n"},
        {"[processor.filter.a]\nmatch_duration = 2s\n",
         "f:2:18: error: [processor.filter.a] match_duration: cannot be read: \"2s\"\n"
         "    2 | match_duration = 2s\n"
         "      |                  ^^\n"
         "      | accepted: an operator and a time with its unit: > 2s, <= 250ms\n"},
        {"[processor.attributes.a]\nkey = k\n",
         "f:1:1: error: [processor.attributes.a] says nothing of what to put there\n"
         "    1 | [processor.attributes.a]\n"
         "      | ^^^^^^^^^^^^^^^^^^^^^^^^\n"
         "      | set value, from_attribute or from_environment\n"},
        {"[processor.attributes.a]\nkey = k\nvalue = 1\nfrom_environment = X\n",
         "f:4:20: error: [processor.attributes.a] has more than one of value, from_attribute, "
         "from_environment\n"
         "    4 | from_environment = X\n"
         "      |                    ^\n"
         "      | take all but one of them away\n"},
        {"[resource]\ndetectors = host, cluod\nattributes = a\n",
         "f:3:14: error: not an attribute: \"a\"\n"
         "    3 | attributes = a\n"
         "      |              ^\n"
         "      | accepted: key=value, one a line\n"
         "f:2:13: error: no detector \"cluod\"\n"
         "    2 | detectors = host, cluod\n"
         "      |             ^^^^^^^^^^^\n"
         "      | accepted: env, host, os, systemd, container, k8s, cloud\n"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_null(load(rows[i].text, rows[i].messages));
}

static void test_there_may_be_many(void **state)
{
    (void)state;
    struct config *config = NULL;
    struct fm_buf text, messages;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_init(&messages, FM_MIB(1));
    for (unsigned i = 0; i < CONFIG_NAMED_MAX + 1; i++) {
        fm_buf_printf(&text, "[processor.filter.n%u]\nmatch_name = x\n", i);
        if (i + 1 == CONFIG_NAMED_MAX) {
            assert_ok(config_load_text(&config, "f", fm_buf_slice(&text), &messages));
            config_free(config);
        }
    }
    assert_int_equal(config_load_text(&config, "f", fm_buf_slice(&text), &messages), FM_ECONFIG);
    fm_buf_fini(&text);
    fm_buf_fini(&messages);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static const char text[] = "[processor.filter.a]\nmatch_name = =~ x.*\n a\n"
                               "[processor.redaction.b]\nkeys = a b\npatterns = x\n"
                               "[resource]\nattributes = a=b\n";
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct config *config = NULL;
        struct fm_buf messages;
        fm_buf_init(&messages, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = config_load_text(&config, "f", FM_SLICE(text), &messages);
        failed = test_alloc_failed();
        test_alloc_disarm();
        if (rc != FM_OK) /* what a pattern only gains speed from it can do without */
            assert_int_equal(rc, FM_ENOMEM);
        assert_true(failed || rc == FM_OK);
        config_free(config);
        fm_buf_fini(&messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_lines),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_nothing_is_nothing),
        cmocka_unit_test(test_other_sources),
        cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_there_may_be_many),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
