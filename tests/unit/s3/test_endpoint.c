/* SPDX-License-Identifier: Apache-2.0 */
#include "../../support/test.h"

#include "fermata/s3.h"

static int endpoint_make(const char *url, const char *region, const char *bucket, bool path_style,
                         struct s3_endpoint *endpoint)
{
    memset(endpoint, 0, sizeof *endpoint);
    (void)snprintf(endpoint->region, sizeof endpoint->region, "%s", region);
    (void)snprintf(endpoint->bucket, sizeof endpoint->bucket, "%s", bucket);
    endpoint->path_style = path_style;
    struct fm_why why;
    return s3_endpoint_parse(fm_slice_text(url), endpoint, &why);
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *bucket;
        bool path_style;
        const char *scheme, *host;
        unsigned port;
        const char *connect;
    } rows[] = {
        {"", "traces", false, "https", "s3.eu-west-1.amazonaws.com", 443,
         "traces.s3.eu-west-1.amazonaws.com"},
        {"https://", "traces", true, "https", "s3.eu-west-1.amazonaws.com", 443,
         "s3.eu-west-1.amazonaws.com"},
        {"minio.example", "traces", false, "https", "minio.example", 443, "traces.minio.example"},
        {"http://MinIO.Example:9000/", "traces", true, "http", "minio.example", 9000,
         "minio.example"},
        {"http://127.0.0.1:9000", "traces", false, "http", "127.0.0.1", 9000, "127.0.0.1"},
        {"https://[::1]:9000", "traces", false, "https", "::1", 9000, "::1"},
        {"http://[fd00::1]", "traces", false, "http", "fd00::1", 80, "fd00::1"},
        {"https://s3.example", "my.traces", false, "https", "s3.example", 443, "s3.example"},
        {"http://s3.example", "my.traces", false, "http", "s3.example", 80, "my.traces.s3.example"},
        {"http://localhost:1", "traces", false, "http", "localhost", 1, "localhost"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct s3_endpoint endpoint;
        assert_ok(
            endpoint_make(rows[i].url, "eu-west-1", rows[i].bucket, rows[i].path_style, &endpoint));
        assert_string_equal(endpoint.scheme, rows[i].scheme);
        assert_string_equal(endpoint.host, rows[i].host);
        assert_int_equal(endpoint.port, rows[i].port);
        char connect[S3_HOST_MAX];
        s3_endpoint_host(&endpoint, connect);
        assert_string_equal(connect, rows[i].connect);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *url, *region, *bucket;
    } rows[] = {
        {"https://host:0", "r", "traces"},
        {"https://host:65536", "r", "traces"},
        {"https://host:", "r", "traces"},
        {"https://host:1x", "r", "traces"},
        {"https://a/b", "r", "traces"},
        {"https://user@host", "r", "traces"},
        {"ftp://host", "r", "traces"},
        {"https://[::1", "r", "traces"},
        {"https://[::1]9", "r", "traces"},
        {"https://:80", "r", "traces"},
        {"https://a b", "r", "traces"},
        {"https://a\x01", "r", "traces"},
        {"https://h\xc3\xa9", "r", "traces"},
        {"", "", "traces"},
        {"", "Bad_Region", "traces"},
        {"", "r", ""},
        {"", "r", "ab"},
        {"", "r", "a/b"},
        {"", "r", "a..b"},
        {"", "r", "Traces"},
        {"", "r", "a?b"},
        {"", "r/x", "traces"},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct s3_endpoint endpoint;
        int rc = endpoint_make(rows[i].url, rows[i].region, rows[i].bucket, true, &endpoint);
        if (rc != FM_ECONFIG)
            fail_msg("%s %s %s: %d", rows[i].url, rows[i].region, rows[i].bucket, rc);
    }
    char url[400] = "https://";
    memset(url + 8, 'a', 300);
    struct s3_endpoint endpoint;
    assert_int_equal(endpoint_make(url, "r", "traces", true, &endpoint), FM_ECONFIG);
}

static void test_prefix_loses_outer_slashes(void **state)
{
    (void)state;
    struct s3_endpoint endpoint = {.region = "r", .bucket = "traces", .prefix = "//a/b//"};
    assert_ok(s3_endpoint_parse(FM_SLICE("h"), &endpoint, NULL));
    assert_string_equal(endpoint.prefix, "a/b");
    (void)snprintf(endpoint.prefix, sizeof endpoint.prefix, "///");
    assert_ok(s3_endpoint_parse(FM_SLICE("h"), &endpoint, NULL));
    assert_string_equal(endpoint.prefix, "");
}

static void test_region_moves_only_amazons_host(void **state)
{
    (void)state;
    struct s3_endpoint endpoint;
    assert_ok(endpoint_make("", "us-east-1", "traces", false, &endpoint));
    assert_ok(s3_endpoint_set_region(&endpoint, FM_SLICE("eu-north-1")));
    assert_string_equal(endpoint.region, "eu-north-1");
    assert_string_equal(endpoint.host, "s3.eu-north-1.amazonaws.com");
    assert_ok(s3_endpoint_set_region(&endpoint, FM_SLICE("cn-north-1")));
    assert_string_equal(endpoint.host, "s3.cn-north-1.amazonaws.com.cn");

    assert_ok(endpoint_make("http://minio:9000", "us-east-1", "traces", true, &endpoint));
    assert_ok(s3_endpoint_set_region(&endpoint, FM_SLICE("auto")));
    assert_string_equal(endpoint.host, "minio");
    assert_string_equal(endpoint.region, "auto");

    static const char *const bad[] = {
        "",
        "evil.example/",
        "A",
        "a b",
        "169.254.169.254",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_int_equal(s3_endpoint_set_region(&endpoint, fm_slice_text(bad[i])), FM_EMALFORMED);
    assert_int_equal(s3_endpoint_set_region(&endpoint, fm_slice("a\0b", 3)), FM_EMALFORMED);
    assert_string_equal(endpoint.region, "auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_prefix_loses_outer_slashes),
        cmocka_unit_test(test_region_moves_only_amazons_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
