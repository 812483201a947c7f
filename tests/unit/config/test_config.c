/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include <unistd.h>

#include "fermata/config.h"
#include "fermata/units.h"

struct row {
    const char *text, *messages;
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        FM_AUTO(config) config = NULL;
        struct fm_buf messages;
        fm_buf_init(&messages, FM_MIB(1));
        int rc = config_load_text(&config, "f", fm_slice_text(rows[i].text), &messages);
        fm_buf_put_u8(&messages, 0);
        assert_string_equal((char *)messages.ptr, rows[i].messages);
        assert_int_equal(rc, *rows[i].messages ? FM_ECONFIG : FM_OK);
        assert_int_equal(config == NULL, rc != FM_OK);
        fm_buf_fini(&messages);
    }
}

static void test_lines_that_are_wrong(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", ""},
        {"# a\n\n; b\n[wal]\n", ""},
        {"\xef\xbb\xbf[wal]\r\nsync = none\r\n", ""},
        {"[wal]\n  sync = none\n\tsegment_size: 1MiB ; small\n", ""},
        {"a = 1\n", "f:1:1: error: a setting outside of a section\n"
                    "    1 | a = 1\n"
                    "      | ^^^^^\n"
                    "      | write [fermata] or another section above it\n"},
        {"[wal]\n\n sync\n",
         "f:3:2: error: not a setting\n"
         "    3 |  sync\n"
         "      |  ^^^^\n"
         "      | an indented line continues a list; this key takes one value\n"},
        {"[wal]\nsync\n", "f:2:1: error: not a setting\n"
                          "    2 | sync\n"
                          "      | ^^^^\n"
                          "      | write: key = value, or [section], or ; comment\n"},
        {"[wal\n", "f:1:1: error: a section needs its closing bracket\n"
                   "    1 | [wal\n"
                   "      | ^^^^\n"},
        {"[wal] x\n", "f:1:7: error: nothing may follow a section's name\n"
                      "    1 | [wal] x\n"
                      "      |       ^\n"},
        {"[wal]\nsync=none\nsync=group\n", "f:3:1: error: \"sync\" was given on line 2 already\n"
                                           "    3 | sync=group\n"
                                           "      | ^^^^\n"},
        {"[wal]\nsync=\x01\n", "f:2:6: error: control character 0x01\n"
                               "    2 | sync=?\n"
                               "      |      ^\n"},
        {"[wal]\nsync=\xff\n", "f:2:6: error: not UTF-8\n"},
    };
    check_rows(rows, FM_COUNT(rows));
}

static void test_names_that_are_unknown(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[upload.s3]\nacess_key_file = /etc/fermata/s3.key\n",
         "f:2:1: error: unknown key \"acess_key_file\" in [upload.s3]\n"
         "    2 | acess_key_file = /etc/fermata/s3.key\n"
         "      | ^^^^^^^^^^^^^^\n"
         "      | did you mean \"access_key_file\"?\n"},
        {"[upload.s3]\nbukcet = x\n", "f:2:1: error: unknown key \"bukcet\" in [upload.s3]\n"
                                      "    2 | bukcet = x\n"
                                      "      | ^^^^^^\n"
                                      "      | did you mean \"bucket\"?\n"},
        {"[upload.s3]\nsession = x\n", "f:2:1: error: unknown key \"session\" in [upload.s3]\n"
                                       "    2 | session = x\n"
                                       "      | ^^^^^^^\n"
                                       "      | did you mean \"session_token_file\"?\n"},
        {"[upload.s3]\nquota = 1\n", "f:2:1: error: unknown key \"quota\" in [upload.s3]\n"
                                     "    2 | quota = 1\n"
                                     "      | ^^^^^\n"
                                     "      | there is such a key in [storage]\n"},
        {"[upload.s3]\nzzz = 1\n", "f:2:1: error: unknown key \"zzz\" in [upload.s3]\n"
                                   "    2 | zzz = 1\n"
                                   "      | ^^^\n"},
        {"[recv]\nignored = 1\n", "f:1:1: error: unknown section [recv]\n"
                                  "    1 | [recv]\n"
                                  "      | ^^^^^^\n"},
        {"[uplaod]\nignored = 1\n", "f:1:1: error: unknown section [uplaod]\n"
                                    "    1 | [uplaod]\n"
                                    "      | ^^^^^^^^\n"
                                    "      | did you mean [upload]?\n"},
    };
    check_rows(rows, FM_COUNT(rows));
}

static void test_values_that_are_wrong(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[upload]\nenabled = maybe\n",
         "f:2:11: error: bad value \"maybe\" for \"enabled\" in [upload]\n"
         "    2 | enabled = maybe\n"
         "      |           ^^^^^\n"
         "      | accepted: true or false\n"},
        {"[wal]\nsync = often\n", "f:2:8: error: bad value \"often\" for \"sync\" in [wal]\n"
                                  "    2 | sync = often\n"
                                  "      |        ^^^^^\n"
                                  "      | accepted: group, interval, none\n"},
        {"[wal]\nsegment_size = 1QB\n",
         "f:2:16: error: bad value \"1QB\" for \"segment_size\" in [wal]\n"
         "    2 | segment_size = 1QB\n"
         "      |                ^^^\n"
         "      | accepted: a number of bytes, bare or with kB, MB, GB, KiB, MiB, GiB: 16MiB\n"},
        {"[wal]\nsync_interval = 5\n",
         "f:2:17: error: bad value \"5\" for \"sync_interval\" in [wal]\n"
         "    2 | sync_interval = 5\n"
         "      |                 ^\n"
         "      | accepted: a time with its unit, ms, s, m, h or d: 250ms, 15m, 1h30m\n"},
        {"[query]\nconcurrency = -1\n",
         "f:2:15: error: bad value \"-1\" for \"concurrency\" in [query]\n"
         "    2 | concurrency = -1\n"
         "      |               ^^\n"
         "      | accepted: a whole number, 0 or more\n"},
        {"[wal]\nsegment_size =\n", "f:2:1: error: bad value \"\" for \"segment_size\" in [wal]\n"
                                    "    2 | segment_size =\n"
                                    "      | ^^^^^^^^^^^^\n"
                                    "      | accepted: a number of bytes, bare or with kB, MB, GB, "
                                    "KiB, MiB, GiB: 16MiB\n"},
        {"[wal]\nsegment_size = 1KiB\n",
         "f:2:16: error: \"segment_size\" in [wal] is 1KiB, out of its range\n"
         "    2 | segment_size = 1KiB\n"
         "      |                ^^^^\n"
         "      | accepted: 64KiB to 1GiB\n"},
        {"[wal]\nsegment_size = 64KiB\n", ""},
        {"[storage]\nquota = 50%\n", ""},
        {"[storage]\nquota = 20GiB\n", ""},
        {"[storage]\nquota = 101%\n",
         "f:2:9: error: bad quota in [storage]\n"
         "    2 | quota = 101%\n"
         "      |         ^^^^\n"
         "      | accepted: bytes, 20GiB, or a share of the file system, 1% to 100%\n"},
        {"[block]\ncompression_level = 20\n",
         "f:2:21: error: \"compression_level\" in [block] is 20, out of its range\n"
         "    2 | compression_level = 20\n"
         "      |                     ^^\n"
         "      | accepted: 1 to 19\n"},
        {"[query]\nhttp_api_prefix = tempo\n", "f:2:19: error: bad http_api_prefix in [query]\n"
                                               "    2 | http_api_prefix = tempo\n"
                                               "      |                   ^^^^^\n"
                                               "      | accepted: empty, or a path like /tempo\n"},
        {"[upload]\ntenant = a/b\n", "f:2:10: error: bad tenant in [upload]\n"
                                     "    2 | tenant = a/b\n"
                                     "      |          ^^^\n"
                                     "      | accepted: 1 to 150 letters, digits and !_.*'()-\n"},
        {"[fermata]\ndata_dir =\n", "f:2:1: error: bad data_dir in [fermata]\n"
                                    "    2 | data_dir =\n"
                                    "      | ^^^^^^^^\n"
                                    "      | accepted: a directory's path of at most 255 "
                                    "characters\n"},
        {"[fermata]\nnode_id = a/b\n",
         "f:2:11: error: bad node_id in [fermata]\n"
         "    2 | node_id = a/b\n"
         "      |           ^^^\n"
         "      | accepted: machine-id, hostname, or a name of at most 63 characters\n"},
    };
    check_rows(rows, FM_COUNT(rows));
}

static void test_settings_that_do_not_fit_together(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[upload]\ndestination = s3\n", "f:2:15: error: destination = s3 needs a bucket\n"
                                         "    2 | destination = s3\n"
                                         "      |               ^^\n"
                                         "      | set bucket in [upload.s3]\n"},
        {"[upload]\ndestination = s3\n[upload.s3]\nbucket = b\n", ""},
        {"[upload]\ndestination = s3\nenabled = no\n", ""},
        {"[upload]\ndestination = s3\n[upload.s3]\nbucket = b\nregion =\n",
         "f:5:1: error: destination = s3 needs a region or an endpoint\n"
         "    5 | region =\n"
         "      | ^^^^^^\n"
         "      | set region or endpoint in [upload.s3]\n"},
        {"[upload]\ndestination = s3\n[upload.s3]\nbucket = b\nendpoint = minio:9000\n",
         "f:5:12: error: bad endpoint in [upload.s3]\n"
         "    5 | endpoint = minio:9000\n"
         "      |            ^^^^^^^^^^\n"
         "      | accepted: https://host, http://host:port\n"},
        {"[upload]\ndestination = s3\n[upload.s3]\nbucket = b\naccess_key_file = a\n",
         "f:5:19: error: [upload.s3] has only one of access_key_file and secret_key_file\n"
         "    5 | access_key_file = a\n"
         "      |                   ^\n"
         "      | add secret_key_file\n"},
        {"[query]\ntls_cert_file = a\n",
         "f:2:17: error: [query] has only one of tls_cert_file and tls_key_file\n"
         "    2 | tls_cert_file = a\n"
         "      |                 ^\n"
         "      | add tls_key_file\n"},
        {"[query]\ntls_client_ca_file = a\n",
         "f:2:22: error: [query] asks for client certificates without TLS\n"
         "    2 | tls_client_ca_file = a\n"
         "      |                      ^\n"
         "      | add tls_cert_file and tls_key_file\n"},
        {"[limits]\nmemory_limit = 8MiB\n",
         "f:2:16: error: memory_limit in [limits] is smaller than max_body_bytes\n"
         "    2 | memory_limit = 8MiB\n"
         "      |                ^^^^\n"
         "      | raise memory_limit or lower max_body_bytes\n"},
        {"[limits]\nmax_decompressed_bytes = 8MiB\n",
         "f:2:26: error: max_decompressed_bytes in [limits] is smaller than max_body_bytes\n"
         "    2 | max_decompressed_bytes = 8MiB\n"
         "      |                          ^^^^\n"
         "      | raise max_decompressed_bytes or lower max_body_bytes\n"},
    };
    check_rows(rows, FM_COUNT(rows));
}

static void test_listeners(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[query]\nendpoint = 0.0.0.0:3200\n",
         "f:2:12: error: others can reach \"0.0.0.0:3200\" and [query] asks nobody who they are\n"
         "    2 | endpoint = 0.0.0.0:3200\n"
         "      |            ^^^^^^^^^^^^\n"
         "      | set tls_client_ca_file, htpasswd_file or bearer_tokens_file in [query], or write "
         "auth = none there to allow everybody\n"},
        {"[query]\nendpoint = :3200\n",
         "f:2:12: error: others can reach \":3200\" and [query] asks nobody who they are\n"
         "    2 | endpoint = :3200\n"
         "      |            ^^^^^\n"
         "      | set tls_client_ca_file, htpasswd_file or bearer_tokens_file in [query], or write "
         "auth = none there to allow everybody\n"},
        {"[query]\nendpoint = 0.0.0.0:3200\nauth = none\n", ""},
        {"[query]\nendpoint = 0.0.0.0:3200\nenabled = false\n", ""},
        {"[query]\nendpoint = h:1\ntls_cert_file=a\ntls_key_file=b\ntls_client_ca_file=c\n", ""},
        {"[query]\nendpoint = 127.7.7.7:3200\n", ""},
        {"[query]\nendpoint = [::1]:3200\n", ""},
        {"[query]\nendpoint = localhost:0\n", ""},
        {"[query]\nendpoint = unix:/run/fermata/query.sock\n", ""},
        {"[query]\nendpoint = unix:\n",
         "f:2:12: error: bad socket path in [query]\n"
         "    2 | endpoint = unix:\n"
         "      |            ^^^^^\n"
         "      | accepted: unix:PATH with at most 107 characters\n"},
        {"[query]\nendpoint = ::1:3200\n",
         "f:2:12: error: bad endpoint \"::1:3200\" in [query]\n"
         "    2 | endpoint = ::1:3200\n"
         "      |            ^^^^^^^^\n"
         "      | accepted: 127.0.0.1:4317, [::1]:4317, host:port, unix:PATH\n"},
        {"[query]\nendpoint = 127.0.0.1:66000\n",
         "f:2:12: error: bad endpoint \"127.0.0.1:66000\" in [query]\n"
         "    2 | endpoint = 127.0.0.1:66000\n"
         "      |            ^^^^^^^^^^^^^^^\n"
         "      | accepted: 127.0.0.1:4317, [::1]:4317, host:port, unix:PATH\n"},
        {"[query]\nendpoint = 127.0.0.1:4318\n",
         "f:2:12: error: [receiver.otlp_http] and [query] have the same endpoint "
         "\"127.0.0.1:4318\"\n"
         "    2 | endpoint = 127.0.0.1:4318\n"
         "      |            ^^^^^^^^^^^^^^\n"},
        {"[receiver.zipkin]\nendpoint = 127.0.0.1:14268\n",
         "f:2:12: error: [receiver.jaeger_thrift_http] and [receiver.zipkin] have the same "
         "endpoint \"127.0.0.1:14268\"\n"
         "    2 | endpoint = 127.0.0.1:14268\n"
         "      |            ^^^^^^^^^^^^^^^\n"},
        {"[receiver.jaeger_thrift_binary]\nendpoint = 127.0.0.1:6831\n",
         "f:2:12: error: [receiver.jaeger_thrift_compact] and [receiver.jaeger_thrift_binary] have "
         "the same endpoint \"127.0.0.1:6831\"\n"
         "    2 | endpoint = 127.0.0.1:6831\n"
         "      |            ^^^^^^^^^^^^^^\n"},
        {"[receiver.jaeger_thrift_binary]\nendpoint = 127.0.0.1:4317\n", ""}, /* UDP, not TCP */
    };
    check_rows(rows, FM_COUNT(rows));
}

static void test_identity(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[query]\nendpoint = h:1\nhtpasswd_file = u\ntls_cert_file = a\ntls_key_file = b\n", ""},
        {"[query]\nendpoint = h:1\nbearer_tokens_file = t\n",
         "f:2:12: error: others can reach \"h:1\" and [query] has no TLS; with bearer_tokens_file "
         "alone, secrets cross the network in the clear\n"
         "    2 | endpoint = h:1\n"
         "      |            ^^^\n"
         "      | set tls_cert_file and tls_key_file in [query]\n"},
        {"[query]\nbearer_tokens_file = t\nhtpasswd_file = u\n", ""}, /* on loopback */
        {"[query]\nauth = none\nhtpasswd_file = u\n",
         "f:2:8: error: [query] has both auth = none and htpasswd_file\n"
         "    2 | auth = none\n"
         "      |        ^^^^\n"
         "      | take away one of auth and htpasswd_file\n"},
        {"[query]\ntls_client_allowed_names = a\n",
         "f:2:28: error: [query] has tls_client_allowed_names and asks for no certificates\n"
         "    2 | tls_client_allowed_names = a\n"
         "      |                            ^\n"
         "      | add tls_client_ca_file\n"},
        {"[query]\nendpoint = unix:/x\nunix_mode = 0888\n",
         "f:3:13: error: bad unix_mode in [query]\n"
         "    3 | unix_mode = 0888\n"
         "      |             ^^^^\n"
         "      | accepted: an octal number, 0600 to 0777\n"},
        {"[query]\nunix_allowed_users = root\n",
         "f:2:22: error: [query] has unix_allowed_users and no unix socket\n"
         "    2 | unix_allowed_users = root\n"
         "      |                      ^^^^\n"
         "      | use endpoint = unix:PATH, or take unix_allowed_users away\n"},
        {"[receiver.jaeger_thrift_compact]\nendpoint = 0.0.0.0:6831\n",
         "f:2:12: error: others can reach \"0.0.0.0:6831\" of [receiver.jaeger_thrift_compact], "
         "and datagrams do not say who sent them\n"
         "    2 | endpoint = 0.0.0.0:6831\n"
         "      |            ^^^^^^^^^^^^\n"
         "      | write auth = none in [receiver.jaeger_thrift_compact] to allow everybody\n"},
        {"[receiver.jaeger_thrift_compact]\nendpoint = 0.0.0.0:6831\nauth = none\n", ""},
    };
    check_rows(rows, FM_COUNT(rows));
}

static struct config *load_good(const char *text)
{
    struct config *config = NULL;
    struct fm_buf messages;

    fm_buf_init(&messages, FM_MIB(1));
    assert_ok(config_load_text(&config, "f", fm_slice_text(text), &messages));
    assert_int_equal(messages.len, 0);
    fm_buf_fini(&messages);
    return config;
}

static void test_lists_are_joined(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[receiver.otlp_http]\ncors_allowed_origins = http://a http://b\n",
        "[receiver.otlp_http]\ncors_allowed_origins = http://a\n  http://b\n",
        "[receiver.otlp_http]\ncors_allowed_origins =\n  http://a ; one\n # two\n\thttp://b ; x\n",
        "[receiver.otlp_http]\ncors_allowed_origins = http://a\n http://b\n  enabled = false\n",
    };
    for (size_t i = 0; i < FM_COUNT(texts); i++) {
        FM_AUTO(config) config = load_good(texts[i]);
        assert_string_equal(config->cors_allowed_origins, "http://a http://b");
        assert_int_equal(config->otlp_http_enabled, i != 3);
    }
}

static void test_a_line_is_never_cut(void **state)
{
    (void)state;
    for (size_t len = 150; len < 420; len++) {
        char text[512] = "[upload.dir]\npath = ";
        size_t start = strlen(text), line = len + 7;
        memset(text + start, 'x', len);
        (void)snprintf(text + start + len, sizeof text - start - len, "\n");
        FM_AUTO(config) config = NULL;
        struct fm_buf messages;
        fm_buf_init(&messages, FM_MIB(1));
        int rc = config_load_text(&config, "f", fm_slice_text(text), &messages);
        if (line <= 198) {
            assert_ok(rc);
            assert_int_equal(strlen(config->upload_dir_path), len);
        } else {
            char wanted[200];
            assert_int_equal(rc, FM_ECONFIG);
            (void)snprintf(wanted, sizeof wanted,
                           "f:2:199: error: the line has %zu bytes, at most 198 are allowed\n",
                           line);
            assert_memory_equal(messages.ptr, wanted, strlen(wanted));
        }
        fm_buf_fini(&messages);
    }
}

static void test_many_errors_are_counted(void **state)
{
    (void)state;
    FM_AUTO(config) config = NULL;
    struct fm_buf text, messages;
    fm_buf_init(&text, FM_MIB(1));
    fm_buf_init(&messages, FM_MIB(1));
    fm_buf_puts(&text, "[wal]\n");
    for (int i = 0; i < 50; i++)
        fm_buf_printf(&text, "key%d = 1\n", i);
    assert_int_equal(config_load_text(&config, "f", fm_buf_slice(&text), &messages), FM_ECONFIG);
    static const char tail[] = "and 30 more errors\n";
    assert_memory_equal(messages.ptr + messages.len - strlen(tail), tail, strlen(tail));
    fm_buf_fini(&text);
    fm_buf_fini(&messages);
}

/* fermata.ini as shipped is the table's print; with its settings made live it is the defaults. */
static void test_defaults_round_trip(void **state)
{
    (void)state;
    struct fm_buf printed, live, first, second;
    struct fm_buf shipped = test_read_file("../config/fermata.ini");
    fm_buf_init(&printed, FM_MIB(1));
    fm_buf_init(&live, FM_MIB(1));
    fm_buf_init(&first, FM_MIB(1));
    fm_buf_init(&second, FM_MIB(1));
    config_put_defaults(&printed);
    assert_true(fm_slice_equal(fm_buf_slice(&printed), fm_buf_slice(&shipped)));

    for (size_t i = 0; i < printed.len; i++) {
        bool starts = i == 0 || printed.ptr[i - 1] == '\n';
        if (!starts || printed.ptr[i] != ';')
            fm_buf_put_u8(&live, printed.ptr[i]);
    }
    fm_buf_put_u8(&live, 0);
    fm_buf_put_u8(&printed, 0);
    FM_AUTO(config) from_live = load_good((char *)live.ptr);
    FM_AUTO(config) from_printed = load_good((char *)printed.ptr);
    config_put_effective(from_live, &first);
    config_put_effective(from_printed, &second);
    assert_true(fm_slice_equal(fm_buf_slice(&first), fm_buf_slice(&second)));

    fm_buf_put_u8(&first, 0);
    FM_AUTO(config) again = load_good((char *)first.ptr);
    fm_buf_reset(&second);
    config_put_effective(again, &second);
    fm_buf_put_u8(&second, 0);
    assert_string_equal((char *)first.ptr, (char *)second.ptr);
    assert_int_equal(again->idle_timeout, 120 * FM_NS_PER_S);
    assert_int_equal(again->log_level, CONFIG_LOG_INFO);
    fm_buf_fini(&shipped);
    fm_buf_fini(&printed);
    fm_buf_fini(&live);
    fm_buf_fini(&first);
    fm_buf_fini(&second);
}

static void test_choices_match_their_enums(void **state)
{
    (void)state;
    static const struct {
        const char *section, *key, *word;
        unsigned value;
    } rows[] = {
        {"fermata", "log_level", "debug", CONFIG_LOG_DEBUG},
        {"fermata", "log_format", "json", CONFIG_LOG_JSON},
        {"wal", "sync", "none", CONFIG_SYNC_NONE},
        {"wal", "compression", "none", CONFIG_WAL_NONE},
        {"block", "compression", "snappy", CONFIG_BLOCK_SNAPPY},
        {"storage", "on_full", "drop_oldest", CONFIG_FULL_DROP_OLDEST},
        {"upload", "destination", "s3", CONFIG_TO_S3},
        {"query", "auth", "none", CONFIG_AUTH_NONE},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++)
        assert_string_equal(config_choices(rows[i].section, rows[i].key)[rows[i].value],
                            rows[i].word);
    assert_null(config_choices("wal", "segment_size"));
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_sources_in_their_order(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_config.XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    write_text("main.ini", "[upload.s3]\nbucket = a\nregion = a\nprefix = a\nendpoint = a\n"
                           "[receiver.otlp_http]\ncors_allowed_origins = x\n y\n");
    assert_int_equal(system("mkdir conf.d"), 0);
    write_text("conf.d/10.ini", "[upload.s3]\nregion = b\nprefix = b\nendpoint = b\n");
    write_text("conf.d/9.ini", "[upload.s3]\nprefix = c\n[receiver.otlp_http]\n"
                               "cors_allowed_origins = z\n");
    write_text("conf.d/ignored.conf", "[x]\n");
    write_text("conf.d/.hidden.ini", "[x]\n");
    static const char *const environment[] = {"PATH=/bin", "FERMATA__UPLOAD__S3__ENDPOINT=d",
                                              "FERMATA__RECEIVER__OTLP_GRPC__ENABLED=no",
                                              "FERMATA_OTHER=1", NULL};
    static const char *const settings[] = {"query.endpoint=[::1]:1"};
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    FM_AUTO(config) config = NULL;
    (void)snprintf(path, sizeof path, "%s/main.ini", folder);
    assert_ok(config_load(&config, path, settings, 1, environment, &messages));
    assert_string_equal(config->s3_bucket, "a");
    assert_string_equal(config->s3_region, "b");
    assert_string_equal(config->s3_prefix, "c");
    assert_string_equal(config->s3_endpoint, "d");
    assert_string_equal(config->cors_allowed_origins, "z");
    assert_string_equal(config->query_endpoint, "[::1]:1");
    assert_false(config->otlp_grpc_enabled);
    config = config_free(config);
    assert_ok(config_load(&config, "main.ini", NULL, 0, NULL, &messages)); /* relative name */
    assert_string_equal(config->s3_prefix, "c");
    fm_buf_fini(&messages);
    (void)snprintf(path, sizeof path, "rm -r %s", folder);
    assert_int_equal(system(path), 0);
}

static void test_other_sources_complain_too(void **state)
{
    (void)state;
    static const char *const environment[] = {"FERMATA__RECEIVER__OTLP_GRPC__ENABLD=no",
                                              "FERMATA__WHAT=1", "FERMATA__WAL__SYNC=a\nb", NULL};
    static const char *const settings[] = {"wal.sync", "wal.sync=x", "walt.sync=x"};
    FM_AUTO(config) config = NULL;
    struct fm_buf messages;
    fm_buf_init(&messages, FM_MIB(1));
    assert_int_equal(config_load(&config, "/nonexistent", settings, 3, environment, &messages),
                     FM_ECONFIG);
    fm_buf_put_u8(&messages, 0);
    assert_string_equal((char *)messages.ptr,
                        "/nonexistent: error: cannot open the file: No such file or directory\n"
                        "FERMATA__RECEIVER__OTLP_GRPC__ENABLD: error: unknown key \"enabld\" in "
                        "[receiver.otlp_grpc]\n"
                        "      | did you mean \"enabled\"?\n"
                        "FERMATA__WHAT: error: no such setting\n"
                        "      | write FERMATA__SECTION__KEY\n"
                        "FERMATA__WAL__SYNC: error: control character 0x0a\n"
                        "--set: error: not a setting: \"wal.sync\"\n"
                        "      | write --set section.key=value\n"
                        "--set: error: bad value \"x\" for \"sync\" in [wal]\n"
                        "      | accepted: group, interval, none\n"
                        "--set: error: unknown section [walt]\n"
                        "      | did you mean [wal]?\n");
    fm_buf_fini(&messages);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static const char text[] = "[receiver.otlp_http]\ncors_allowed_origins = a\n b\n c\n"
                               "[upload.s3]\nbucket = b\n";
    static const char *const environment[] = {"FERMATA__UPLOAD__S3__REGION=r", NULL};
    for (uint64_t nth = 1;; nth++) {
        struct config *config = NULL;
        struct fm_buf messages;
        fm_buf_init(&messages, FM_MIB(1));
        test_alloc_fail_at(nth);
        int rc = config_load_text(&config, "f", FM_SLICE(text), &messages);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, failed ? FM_ENOMEM : FM_OK);
        config_free(config);
        if (!failed) {
            fm_buf_fini(&messages);
            break;
        }
        test_alloc_fail_at(nth);
        rc = config_load(&config, NULL, NULL, 0, environment, &messages);
        test_alloc_disarm();
        if (rc == FM_OK)
            config_free(config);
        fm_buf_fini(&messages);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_that_are_wrong),
        cmocka_unit_test(test_names_that_are_unknown),
        cmocka_unit_test(test_values_that_are_wrong),
        cmocka_unit_test(test_settings_that_do_not_fit_together),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_lists_are_joined),
        cmocka_unit_test(test_a_line_is_never_cut),
        cmocka_unit_test(test_many_errors_are_counted),
        cmocka_unit_test(test_defaults_round_trip),
        cmocka_unit_test(test_choices_match_their_enums),
        cmocka_unit_test(test_other_sources_complain_too),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_sources_in_their_order), /* last: changes the directory */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
