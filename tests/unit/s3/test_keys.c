/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as others hand them out; the same files and answers were read by botocore 1.43, and the
 * expected values are what it made of them. */
#include "../../support/test.h"

#include "fermata/s3_keys.h"

static const char shared_file[] = "# comment\n"
                                  "[default]\n"
                                  "aws_access_key_id = AKIADEFAULT\n"
                                  "aws_secret_access_key=secret/with=equals+\n"
                                  "; another\n"
                                  "[other]\r\n"
                                  "AWS_ACCESS_KEY_ID=AKIAOTHER\r\n"
                                  "aws_secret_access_key = s2\r\n"
                                  "aws_session_token = tok==\r\n"
                                  "s3 =\n"
                                  "  max_concurrent_requests = 20\n"
                                  "  aws_secret_access_key = nested\n"
                                  "[ profile  third ]\n"
                                  "aws_access_key_id = A3\n"
                                  "aws_secret_access_key = S3\n"
                                  "[last]\n"
                                  "region = x\n"
                                  "[half]\n"
                                  "aws_access_key_id = AKIAHALF";

static int profile_read(const char *text, const char *profile, struct s3_keys *keys)
{
    return s3_keys_read_profile(fm_slice_text(text), profile, keys, NULL);
}

static void test_profiles(void **state)
{
    (void)state;
    struct s3_keys keys = {0};
    assert_ok(profile_read(shared_file, "default", &keys));
    assert_string_equal(keys.access_key, "AKIADEFAULT");
    assert_string_equal(keys.secret_key, "secret/with=equals+");
    assert_string_equal(keys.session_token, "");
    assert_ok(profile_read(shared_file, "other", &keys));
    assert_string_equal(keys.access_key, "AKIAOTHER");
    assert_string_equal(keys.secret_key, "s2");
    assert_string_equal(keys.session_token, "tok==");
    assert_ok(profile_read(shared_file, "third", &keys));
    assert_string_equal(keys.access_key, "A3");
    assert_int_equal(profile_read(shared_file, "last", &keys), FM_NONE);
    assert_int_equal(profile_read(shared_file, "nobody", &keys), FM_NONE);
    assert_int_equal(profile_read(shared_file, "half", &keys), FM_EMALFORMED);
    assert_int_equal(profile_read("", "default", &keys), FM_NONE);
    assert_int_equal(profile_read("[default\naws_access_key_id=A\n", "default", &keys), FM_NONE);
    assert_int_equal(profile_read("aws_access_key_id=A\n[default]\n", "default", &keys), FM_NONE);
    assert_int_equal(profile_read("[default]\naws_access_key_id=A\naws_secret_access_key=a\xc3\n",
                                  "default", &keys),
                     FM_EMALFORMED);
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    struct s3_keys keys = {0};
    static char text[S3_SESSION_TOKEN_MAX + 2];
    memset(text, 'x', sizeof text);
    struct fm_slice good = FM_SLICE(" x\n");
    assert_ok(s3_keys_set(&keys, good, good, fm_slice(text, S3_SESSION_TOKEN_MAX), NULL));
    assert_int_equal(s3_keys_set(&keys, good, good, fm_slice(text, sizeof text), NULL),
                     FM_EMALFORMED);
    assert_int_equal(s3_keys_set(&keys, fm_slice(text, S3_ACCESS_KEY_MAX + 1), good, good, NULL),
                     FM_EMALFORMED);
    assert_int_equal(s3_keys_set(&keys, good, fm_slice(text, S3_SECRET_KEY_MAX + 1), good, NULL),
                     FM_EMALFORMED);
    assert_int_equal(s3_keys_set(&keys, FM_SLICE(" "), good, good, NULL), FM_EMALFORMED);
    assert_int_equal(s3_keys_set(&keys, FM_SLICE("a b"), good, good, NULL), FM_EMALFORMED);
    assert_int_equal(s3_keys_set(&keys, good, FM_SLICE("a\nb"), good, NULL), FM_EMALFORMED);
    assert_ok(s3_keys_set(&keys, good, FM_SLICE("correct horse/battery+staple=\n"), good, NULL));
    assert_string_equal(keys.secret_key, "correct horse/battery+staple=");
    s3_keys_wipe(&keys);
    static const struct s3_keys nothing;
    assert_memory_equal(&keys, &nothing, sizeof keys);
}

/* ---- JSON ---- */

static const char instance_json[] =
    "{\"Code\":\"Success\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Type\":\"AWS-HMAC\","
    "\"AccessKeyId\":\"ASIAINSTANCE\",\"SecretAccessKey\":\"a\\/b+c\",\"Token\":\"t==\","
    "\"More\":{\"AccessKeyId\":[\"no\"]},\"Expiration\":\"2026-01-01T06:00:00Z\"}";

static void test_instance(void **state)
{
    (void)state;
    struct s3_keys keys = {0};
    struct fm_why why;
    assert_ok(s3_keys_read_json(fm_slice_text(instance_json), &keys, NULL));
    assert_string_equal(keys.access_key, "ASIAINSTANCE");
    assert_string_equal(keys.secret_key, "a/b+c");
    assert_string_equal(keys.session_token, "t==");
    assert_int_equal(keys.expires_unix_s, 1767247200);
    assert_int_equal(
        s3_keys_read_json(FM_SLICE("{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":"
                                   "\"EC2 cannot \\\"assume\\\"\\nthe role\"}"),
                          &keys, &why),
        FM_EDENIED);
    assert_string_equal(why.text, "AssumeRoleUnauthorizedAccess: EC2 cannot ?assume??the role");
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "\"x\"",
        "<html>",
        "{\"AccessKeyId\":\"A\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":7,\"Token\":\"t\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Expiration\":\"soon\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\"} x",
        "{\"AccessKeyId\":\"A\\r\\nx: y\",\"SecretAccessKey\":\"S\"}",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_int_equal(s3_keys_read_json(fm_slice_text(bad[i]), &keys, NULL), FM_EMALFORMED);
}

/* ---- the token service ---- */

static const char sts_xml[] =
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n"
    "<AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>s</SubjectFromWebIdentityToken>"
    "<Credentials><SessionToken>AQo/+==</SessionToken><SecretAccessKey>wJal&amp;r</SecretAccessKey>"
    "<Expiration>2014-10-24T23:00:23Z</Expiration><AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>"
    "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

static void test_token_service(void **state)
{
    (void)state;
    struct s3_keys keys = {0};
    struct fm_why why;
    assert_ok(s3_keys_read_sts(fm_slice_text(sts_xml), &keys, NULL));
    assert_string_equal(keys.access_key, "ASgeIAIOSFODNN7EXAMPLE");
    assert_string_equal(keys.secret_key, "wJal&r");
    assert_string_equal(keys.session_token, "AQo/+==");
    assert_int_equal(keys.expires_unix_s, 1414191623);
    assert_int_equal(s3_keys_read_sts(FM_SLICE("<ErrorResponse><Error><Type>Sender</Type>"
                                               "<Code>InvalidIdentityToken</Code><Message>No "
                                               "OpenIDConnect provider</Message></Error>"
                                               "</ErrorResponse>"),
                                      &keys, &why),
                     FM_EDENIED);
    assert_string_equal(why.text, "InvalidIdentityToken: No OpenIDConnect provider");
    static const char *const bad[] = {"", "{}", "<a>", "<ErrorResponse/>"};
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_int_equal(s3_keys_read_sts(fm_slice_text(bad[i]), &keys, NULL), FM_EMALFORMED);
}

static void test_form(void **state)
{
    (void)state;
    struct fm_buf form;
    fm_buf_init(&form, 1024);
    s3_sts_put_form(&form, FM_SLICE("arn:aws:iam::1:role/x y"), FM_SLICE("fermata"),
                    FM_SLICE("a.b+c/d=="));
    assert_true(fm_slice_equal_text(fm_buf_slice(&form),
                                    "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&"
                                    "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx%20y&"
                                    "RoleSessionName=fermata&WebIdentityToken=a.b%2Bc%2Fd%3D%3D"));
    fm_buf_fini(&form);
}

/* ---- URLs ---- */

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *target;
        uint16_t port;
        bool is_https;
    } rows[] = {
        {"http://169.254.170.2/v2/c?id=1", "169.254.170.2", "/v2/c?id=1", 80, false},
        {"https://STS.eu-west-1.amazonaws.com", "sts.eu-west-1.amazonaws.com", "/", 443, true},
        {"http://[fd00:ec2::23]:81/", "fd00:ec2::23", "/", 81, false},
        {"http://localhost:1234/x", "localhost", "/x", 1234, false},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct s3_url url;
        assert_ok(s3_url_parse(fm_slice_text(rows[i].text), &url, NULL));
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.target, rows[i].target);
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.is_https, rows[i].is_https);
    }
    static const char *const bad[] = {
        "",
        "x",
        "ftp://x/",
        "http://",
        "http:///x",
        "http://a b",
        "http://a:0/",
        "http://u@h/",
        "http://[::1/x",
        "http://h/a b",
        "http://h/\n",
        "http://h/#x",
        "http://h:99999",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct s3_url url;
        assert_int_equal(s3_url_parse(fm_slice_text(bad[i]), &url, NULL), FM_ECONFIG);
    }
}

/* ---- hostile input ---- */

static void keys_feed(void *self, struct fm_slice text)
{
    struct s3_keys keys = {0};
    (void)self;
    (void)!s3_keys_read_profile(text, "default", &keys, NULL);
    (void)!s3_keys_read_json(text, &keys, NULL);
    (void)!s3_keys_read_sts(text, &keys, NULL);
    assert_non_null(memchr(keys.session_token, '\0', sizeof keys.session_token));
}

static void test_cut_and_flipped(void **state)
{
    (void)state;
    const char *const inputs[] = {shared_file, instance_json, sts_xml};
    for (size_t i = 0; i < FM_COUNT(inputs); i++) {
        test_each_prefix(fm_slice_text(inputs[i]), keys_feed, NULL);
        test_each_bit_flip(fm_slice_text(inputs[i]), keys_feed, NULL);
    }
}

static void cut_json(void *self, struct fm_slice text)
{
    struct s3_keys keys;
    (void)self;
    assert_int_equal(s3_keys_read_json(text, &keys, NULL), FM_EMALFORMED);
}

static void cut_xml(void *self, struct fm_slice text)
{
    struct s3_keys keys;
    (void)self;
    assert_int_equal(s3_keys_read_sts(text, &keys, NULL), FM_EMALFORMED);
}

static void test_half_an_answer_is_none(void **state)
{
    (void)state;
    test_each_prefix(fm_slice_text(instance_json), cut_json, NULL);
    test_each_prefix(fm_slice_text(sts_xml), cut_xml, NULL);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct s3_keys keys;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        test_alloc_fail_at(nth);
        int rc = s3_keys_read_json(fm_slice_text(instance_json), &keys, NULL);
        failed = test_alloc_failed();
        test_alloc_disarm();
        assert_true(failed ? rc < 0 : rc == FM_OK);
    }
    for (uint64_t nth = 1, failures = 1; failures; nth++) {
        test_alloc_fail_at(nth);
        int rc = s3_keys_read_sts(fm_slice_text(sts_xml), &keys, NULL);
        failures = test_alloc_failed();
        test_alloc_disarm();
        assert_true(failures || rc == FM_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_instance),
        cmocka_unit_test(test_token_service),
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_cut_and_flipped),
        cmocka_unit_test(test_half_an_answer_is_none),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
