/* SPDX-License-Identifier: Apache-2.0 */
/* What may go out when: rates, shares, windows. */
#include "../../support/test.h"

#include "fermata/config_named.h"

/* words: part of the message; NULL: there must be none. */
static struct config *load(const char *text, const char *words)
{
    struct config *config = NULL;
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    int rc = config_load_text(&config, "f", fm_slice_text(text), &messages);
    fm_buf_put_u8(&messages, 0);
    if (words ? !strstr((char *)messages.ptr, words) : messages.len > 1)
        fail_msg("%s: %s", text, (char *)messages.ptr);
    assert_int_equal(rc, words ? FM_ECONFIG : FM_OK);
    fm_buf_fini(&messages);
    return config;
}

static void test_values(void **state)
{
    (void)state;
    FM_AUTO(config)
    config = load("[upload]\nbacklog_share = 45%\ninterface = wwan0\n"
                  "[upload.bandwidth]\nrate = 512kbit\ndaily_quota = 1GB\n"
                  "[upload.window.night]\nschedule = Mon..Fri 22:00..06:00\n  Sat,Sun\n"
                  "rate = 4Mbit\napplies_to = backlog, recall\n"
                  "[upload.window.noon]\nschedule = 12:00..13:00\n",
                  NULL);
    assert_int_equal(config->upload_backlog_share, 45);
    assert_int_equal(config->upload_rate, 64000);
    const struct config_named *named = config->named;
    assert_int_equal(named->kind, CONFIG_KIND_UPLOAD_WINDOW);
    assert_string_equal(named->upload_window->schedule, "Mon..Fri 22:00..06:00\nSat,Sun");
    assert_int_equal(named->upload_window->rate, 500000);
    assert_int_equal(config_upload_lanes(named->upload_window->applies_to), 2 + 8);
    assert_int_equal(config_upload_lanes(named->next->upload_window->applies_to), 2 + 4 + 8);
    assert_int_equal(config_upload_lanes("express"), 1);
    assert_int_equal(config_upload_lanes(""), 0);
    assert_int_equal(config_upload_lanes("normal fresh"), 0);
    struct fm_buf text;
    fm_buf_init(&text, FM_MIB(1));
    config_put_effective(config, &text);
    fm_buf_put_u8(&text, 0);
    assert_non_null(strstr((char *)text.ptr, "backlog_share = 45%\n"));
    assert_non_null(strstr((char *)text.ptr, "rate = 512kbit\n"));
    FM_AUTO(config) again = load((char *)text.ptr, NULL);
    assert_int_equal(again->upload_rate, 64000);
    fm_buf_fini(&text);
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[upload]\nbacklog_share = 101%\n", "a share from 0% to 100%"},
        {"[upload]\nbacklog_share = %\n", "a share from 0% to 100%"},
        {"[upload]\ninterface = a-name-that-is-too-long\n", "bad interface"},
        {"[upload.bandwidth]\nrate = fast\n", "512kbit, 2Mbit"},
        {"[upload.bandwidth]\nburst = 1KiB\n", "out of its range"},
        {"[upload.bandwidth]\nmonth_begins = 31\n", "out of its range"},
        {"[upload.bandwidth]\ndaily_quota = 1MiB\n", "less than two blocks"},
        {"[upload.bandwidth]\nmonthly_quota = 1MiB\n", "less than two blocks"},
        {"[upload.window.x]\n", "no schedule"},
        {"[upload.window.x]\nschedule = 25:00..26:00\n", "bad time \"25:00..26:00\""},
        {"[upload.window.x]\nschedule = Mon Tue\n", "order of words"},
        {"[upload.window.x]\nschedule = Sat\napplies_to = all\n", "applies to \"all\""},
        {"[block]\nalign = day\n", "accepted: hour, none"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        (void)load(rows[i][0], rows[i][1]);
    char many[33 * 64] = "";
    size_t len = 0;
    for (unsigned i = 0; i < 33; i++)
        len += (size_t)snprintf(many + len, sizeof many - len,
                                "[upload.window.w%u]\nschedule = Sat\n", i);
    (void)load(many, "more than 32 windows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
