/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures against the published vectors; digests against their standards. */
#include "../../support/test.h"

#include "fermata/s3.h"
#include "fermata/units.h"

static int64_t date_unix(const char *text)
{
    unsigned value[6];
    assert_int_equal(sscanf(text, "%4u%2u%2uT%2u%2u%2uZ", &value[0], &value[1], &value[2],
                            &value[3], &value[4], &value[5]),
                     6);
    struct fm_civil civil = {.year = (int32_t)value[0],
                             .month = (uint8_t)value[1],
                             .day = (uint8_t)value[2],
                             .hour = (uint8_t)value[3],
                             .minute = (uint8_t)value[4],
                             .second = (uint8_t)value[5]};
    return fm_civil_to_unix(&civil);
}

static void test_published_vectors(void **state)
{
    (void)state;
    struct fm_buf file = test_read_file("golden/sigv4/vectors.txt");
    fm_buf_put_u8(&file, 0);
    unsigned count = 0;
    const char *at = (const char *)file.ptr;
    while (*at) {
        char name[64], date[32], region[32], service[32], secret[64], signature[72];
        unsigned len = 0;
        int head = 0;
        assert_int_equal(sscanf(at, "== %63s %31s %31s %31s %63s %71s %u\n%n", name, date, region,
                                service, secret, signature, &len, &head),
                         7);
        /* %n counts all white space that follows, and no request begins with any. */
        struct s3_credentials credentials = {.access_key = FM_SLICE("AKIDEXAMPLE"),
                                             .secret_key = fm_slice_text(secret)};
        char got[65];
        assert_ok(s3_sign(&credentials, region, service, date_unix(date), fm_slice(at + head, len),
                          got, NULL));
        if (strcmp(got, signature) != 0)
            fail_msg("%s: %s instead of %s", name, got, signature);
        at += head + len + 1;
        count++;
    }
    assert_int_equal(count, 38);
    fm_buf_fini(&file);
}

static void test_string_to_sign(void **state)
{
    (void)state;
    struct s3_credentials credentials = {.secret_key = FM_SLICE("x")};
    struct fm_buf text;
    fm_buf_init(&text, 1024);
    char signature[65];
    assert_ok(
        s3_sign(&credentials, "eu-west-1", "s3", 1369353600, FM_SLICE("GET\n"), signature, &text));
    const char *head = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/eu-west-1/s3/aws4_request\n";
    assert_int_equal(text.len, strlen(head) + 64);
    assert_memory_equal(text.ptr, head, strlen(head));
    fm_buf_fini(&text);
}

static void test_times_outside_the_calendar_still_print(void **state)
{
    (void)state;
    struct s3_credentials credentials = {.secret_key = FM_SLICE("x")};
    char signature[65];
    assert_ok(s3_sign(&credentials, "r", "s3", INT64_MIN, FM_SLICE(""), signature, NULL));
    assert_ok(s3_sign(&credentials, "r", "s3", INT64_MAX, FM_SLICE(""), signature, NULL));
    assert_int_equal(strlen(signature), 64);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct s3_credentials credentials = {.secret_key = FM_SLICE("x")};
    for (uint64_t nth = 1;; nth++) {
        char signature[65] = "";
        test_alloc_fail_at(nth);
        int rc = s3_sign(&credentials, "r", "s3", 0, FM_SLICE("x"), signature, NULL);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        if (!failed) {
            assert_ok(rc);
            return;
        }
        assert_int_equal(rc, FM_ENOMEM);
        assert_int_equal(strlen(signature), 0);
    }
}

static void test_digest_of_known_texts(void **state)
{
    (void)state;
    uint8_t sha256[32], md5[16], whole[32];
    char hex[65] = "";
    struct s3_digest *digest = NULL;
    assert_ok(s3_digest_new(&digest));
    s3_digest_update(digest, FM_SLICE("a"));
    s3_digest_update(digest, FM_SLICE(""));
    s3_digest_update(digest, FM_SLICE("bc"));
    s3_digest_finish(digest, sha256, md5);
    assert_null(s3_digest_free(digest));
    s3_sha256(FM_SLICE("abc"), whole);
    assert_memory_equal(sha256, whole, 32);
    fm_hex_encode(hex, fm_slice(sha256, 32));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    memset(hex, 0, sizeof hex);
    fm_hex_encode(hex, fm_slice(md5, 16));
    assert_string_equal(hex, "900150983cd24fb0d6963f7d28e17f72");
    assert_null(s3_digest_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vectors),
        cmocka_unit_test(test_string_to_sign),
        cmocka_unit_test(test_times_outside_the_calendar_still_print),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_digest_of_known_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
