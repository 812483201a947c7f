/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: how they are asked for, what comes back, signatures against RFC 4231 and RFC 7515. */
#include "../../support/test.h"

#include "fermata/cloud.h"

#define SIGNING_INPUT                                                                              \
    "eyJhbGciOiJSUzI1NiJ9."                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"
#define SIGNATURE                                                                                  \
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5" \
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb" \
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO" \
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

static int random_fixed(void *self, unsigned char *target, size_t len)
{
    uint64_t *seed = self;
    for (size_t i = 0; i < len; i++)
        target[i] = (unsigned char)fm_random_next(seed);
    return 0;
}

static struct fm_buf read_pem(void)
{
    struct fm_buf pem = test_read_file("golden/cloud/rfc7515-a2.pem");
    fm_buf_put_u8(&pem, 0);
    pem.len--;
    return pem;
}

static void test_hmac_of_rfc_4231(void **state)
{
    (void)state;
    uint8_t mac[32];
    struct fm_buf expected =
        test_hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    cloud_hmac_sha256(FM_SLICE("Jefe"), FM_SLICE("what do ya want for nothing?"), mac);
    assert_memory_equal(mac, expected.ptr, 32);
    fm_buf_fini(&expected);
}

static void test_signature_of_rfc_7515(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint8_t expected[300];
    size_t len = 0;
    struct fm_buf pem = read_pem(), signature;
    fm_buf_init(&signature, 1024);
    assert_ok(fm_base64_decode(expected, &len, FM_SLICE(SIGNATURE)));
    assert_int_equal(len, 256);
    assert_ok(cloud_rs256_sign(fm_buf_slice(&pem), FM_SLICE(SIGNING_INPUT), random_fixed, &seed,
                               &signature, NULL));
    assert_true(fm_slice_equal(fm_buf_slice(&signature), fm_slice(expected, len)));
    fm_buf_fini(&signature);
    fm_buf_fini(&pem);
}

static void test_keys_that_cannot_sign(void **state)
{
    (void)state;
    static const char elliptic[] =
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MHcCAQEEIBYMxFdjZDB1xsLyWk3HjfEWZ5xy1JvLAV8dHo0gWqvUoAoGCCqGSM49\n"
        "-----END EC PRIVATE KEY-----\n";
    static const char *const bad[] = {"", "no key", elliptic,
                                      "-----BEGIN PRIVATE KEY-----\nAAAA\n"
                                      "-----END PRIVATE KEY-----\n"};
    uint64_t seed = 1;
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct fm_buf signature;
        struct fm_why why = {""};
        fm_buf_init(&signature, 1024);
        assert_int_equal(cloud_rs256_sign(fm_slice_text(bad[i]), FM_SLICE("x"), random_fixed, &seed,
                                          &signature, &why),
                         FM_ECONFIG);
        assert_true(why.text[0]);
        fm_buf_fini(&signature);
    }
}

/* ---- service accounts ---- */

static void account_put(struct fm_buf *text, const char *uri)
{
    struct fm_buf pem = read_pem();
    fm_buf_puts(text, "{\"type\":\"service_account\",\"private_key_id\":\"k1\",\"private_key\":\"");
    for (size_t i = 0; i < pem.len; i++) {
        if (pem.ptr[i] == '\n')
            fm_buf_puts(text, "\\n");
        else
            fm_buf_put_u8(text, pem.ptr[i]);
    }
    fm_buf_printf(text, "\",\"client_email\":\"me@x\",\"extra\":[{}]%s%s%s}",
                  uri ? ",\"token_uri\":\"" : "", uri ? uri : "", uri ? "\"" : "");
    fm_buf_fini(&pem);
}

static void test_service_account(void **state)
{
    (void)state;
    uint64_t seed = 1;
    struct fm_buf text, jwt;
    struct fm_arena arena;
    struct cloud_account account;
    fm_buf_init(&text, FM_KIB(8));
    fm_buf_init(&jwt, FM_KIB(8));
    fm_arena_init(&arena, FM_KIB(64));
    account_put(&text, "https://h/t");
    assert_ok(cloud_account_read(fm_buf_slice(&text), &arena, &account, NULL));
    assert_true(fm_slice_equal_text(account.email, "me@x"));
    assert_true(fm_slice_equal_text(account.token_uri, "https://h/t"));
    assert_ok(cloud_assertion_put(&account, "scope", 1000, random_fixed, &seed, &jwt, NULL));
    fm_buf_put_u8(&jwt, 0);
    char *dot = strchr((char *)jwt.ptr, '.');
    assert_non_null(dot);
    uint8_t plain[512];
    size_t len = 0;
    assert_ok(fm_base64_decode(plain, &len, fm_slice(jwt.ptr, (size_t)(dot - (char *)jwt.ptr))));
    assert_true(fm_slice_equal_text(fm_slice(plain, len),
                                    "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}"));
    char *second = strchr(dot + 1, '.');
    assert_non_null(second);
    assert_ok(fm_base64_decode(plain, &len, fm_slice(dot + 1, (size_t)(second - dot - 1))));
    assert_true(fm_slice_equal_text(fm_slice(plain, len),
                                    "{\"iss\":\"me@x\",\"scope\":\"scope\",\"aud\":\"https://h/t\","
                                    "\"iat\":1000,\"exp\":4600}"));
    assert_int_equal(strlen(second + 1), 342); /* 256 bytes without padding */
    assert_null(strpbrk((char *)jwt.ptr, "+/="));
    uint8_t first = account.key_pem.ptr[0];
    const uint8_t *key = account.key_pem.ptr;
    cloud_account_wipe(&account);
    assert_int_equal(first, '-');
    assert_int_equal(key[0], 0);
    fm_arena_fini(&arena);
    fm_buf_fini(&jwt);
    fm_buf_fini(&text);
}

static void account_any(void *self, struct fm_slice text)
{
    (void)self;
    struct fm_arena arena;
    struct cloud_account account;
    fm_arena_init(&arena, FM_KIB(64));
    if (cloud_account_read(text, &arena, &account, NULL) == FM_OK) {
        assert_true(account.email.len && account.key_pem.len);
        assert_int_equal(account.key_pem.ptr[account.key_pem.len], 0);
    }
    fm_arena_fini(&arena);
}

static void test_hostile_accounts(void **state)
{
    (void)state;
    static const struct fm_slice small = {
        (const uint8_t *)"{\"client_email\":\"a\\n\",\"private_key\":\"b\\u0041\",\"x\":[1,{}]}",
        58};
    test_each_prefix(small, account_any, NULL);
    test_each_bit_flip(small, account_any, NULL);
    static const char *const bad[] = {"",   "[]",
                                      "{}", "{\"client_email\":\"a\"}",
                                      "x",  "{\"client_email\":\"a\",\"private_key\":7}"};
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct fm_arena arena;
        struct cloud_account account;
        fm_arena_init(&arena, FM_KIB(64));
        assert_int_equal(cloud_account_read(fm_slice_text(bad[i]), &arena, &account, NULL),
                         FM_ECONFIG);
        fm_arena_fini(&arena);
    }
}

/* ---- asking ---- */

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        enum cloud_auth auth;
        const char *client_id, *method, *target, *body;
    } rows[] = {
        {CLOUD_AUTH_WORKLOAD, "c", "POST", "/p/t/oauth2/v2.0/token",
         "client_id=c&scope=https%3A%2F%2Fstorage.azure.com%2F.default&client_assertion_type="
         "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b"
         "&grant_type=client_credentials"},
        {CLOUD_AUTH_MANAGED, "", "GET",
         "/p/metadata/identity/oauth2/token?api-version=2018-02-01"
         "&resource=https%3A%2F%2Fstorage.azure.com%2F",
         ""},
        {CLOUD_AUTH_MANAGED, "c", "GET",
         "/p/metadata/identity/oauth2/token?api-version=2018-02-01"
         "&resource=https%3A%2F%2Fstorage.azure.com%2F&client_id=c",
         ""},
        {CLOUD_AUTH_METADATA, "", "GET",
         "/p/computeMetadata/v1/instance/service-accounts/default/token", ""},
        {CLOUD_AUTH_SERVICE_ACCOUNT, "", "POST", "/p",
         "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b"},
    };
    struct cloud_url url;
    assert_ok(cloud_url_parse(FM_SLICE("http://h:81/p"), &url, NULL));
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_arena arena;
        struct s3_request request;
        struct fm_slice body;
        const struct cloud_token_ask ask = {.auth = rows[i].auth,
                                            .url = &url,
                                            .tenant_id = "t",
                                            .client_id = rows[i].client_id,
                                            .assertion = FM_SLICE("a.b")};
        fm_arena_init(&arena, FM_KIB(64));
        assert_ok(cloud_token_request(&ask, &arena, &request, &body));
        assert_string_equal(request.method, rows[i].method);
        assert_true(fm_slice_equal_text(request.target, rows[i].target));
        assert_true(fm_slice_equal_text(body, rows[i].body));
        assert_true(fm_slice_equal_text(request.host, "h:81"));
        fm_arena_fini(&arena);
    }
}

/* ---- answers ---- */

struct answer {
    int status;
    const char *body;
    enum s3_outcome outcome;
    const char *token;
    unsigned lifetime_s;
};
static const struct answer answers[] = {
    {200, "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"t\"}", S3_DONE, "t",
     3599},
    {200, "{\"access_token\":\"t\",\"expires_in\":\"86399\",\"expires_on\":\"1\"}", S3_DONE, "t",
     86399},
    {200, "{\"access_token\":\"t\",\"expires_in\":99999999999}", S3_DONE, "t", 2592000},
    {200, "{\"access_token\":\"t\"}", S3_TRANSIENT, "", 0},
    {200, "{\"access_token\":\"t\",\"expires_in\":0}", S3_TRANSIENT, "", 0},
    {200, "{\"access_token\":\"a b\",\"expires_in\":9}", S3_TRANSIENT, "", 9},
    {200, "{\"access_token\":\"a\\r\\nb\",\"expires_in\":9}", S3_TRANSIENT, "", 9},
    {200, "{\"expires_in\":9}", S3_TRANSIENT, "", 9},
    {200, "<html>", S3_TRANSIENT, "", 0},
    {400, "{\"error\":\"invalid_grant\",\"error_description\":\"d\"}", S3_AUTH, "", 0},
    {401, "", S3_AUTH, "", 0},
    {403, "", S3_AUTH, "", 0},
    {404, "", S3_TRANSIENT, "", 0},
    {410, "", S3_TRANSIENT, "", 0},
    {418, "", S3_REFUSED, "", 0},
    {429, "", S3_SLOW_DOWN, "", 0},
    {500, "", S3_TRANSIENT, "", 0},
    {503, "", S3_SLOW_DOWN, "", 0},
    {0, "", S3_TRANSIENT, "", 0},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(answers); i++) {
        const struct answer *row = &answers[i];
        const struct s3_header header = {"retry-after", FM_SLICE("7")};
        const struct s3_response_view view = {.status = row->status,
                                              .headers = &header,
                                              .header_count = 1,
                                              .body = fm_slice_text(row->body)};
        struct fm_arena arena;
        struct cloud_token token;
        fm_arena_init(&arena, FM_KIB(64));
        cloud_token_read(&view, &arena, &token);
        if (token.outcome != row->outcome)
            fail_msg("%d %s: %s", row->status, row->body, s3_outcome_text(token.outcome));
        assert_true(fm_slice_equal_text(token.token, row->token));
        assert_int_equal(token.lifetime_s, row->lifetime_s);
        assert_int_equal(token.retry_after_s, row->status ? 7 : 0);
        fm_arena_fini(&arena);
    }
}

static void token_any(void *self, struct fm_slice body)
{
    (void)self;
    const struct s3_response_view view = {.status = 200, .body = body};
    struct fm_arena arena;
    struct cloud_token token;
    fm_arena_init(&arena, FM_KIB(64));
    cloud_token_read(&view, &arena, &token);
    assert_true(token.outcome == S3_TRANSIENT || (token.token.len && token.lifetime_s));
    fm_arena_fini(&arena);
}

static void test_hostile_answers(void **state)
{
    (void)state;
    const struct fm_slice good = fm_slice_text(answers[0].body);
    test_each_prefix(good, token_any, NULL);
    test_each_bit_flip(good, token_any, NULL);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(8));
    account_put(&text, NULL);
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct fm_arena arena;
        struct fm_buf jwt;
        struct cloud_account account;
        uint64_t seed = 1;
        fm_arena_init(&arena, FM_KIB(64));
        fm_buf_init(&jwt, FM_KIB(8));
        test_alloc_fail_at(nth);
        int rc = cloud_account_read(fm_buf_slice(&text), &arena, &account, NULL);
        if (rc == FM_OK && !test_alloc_failed())
            test_alloc_disarm(); /* mbedtls allocates too often to fail each */
        if (rc == FM_OK)
            rc = cloud_assertion_put(&account, "s", 1, random_fixed, &seed, &jwt, NULL);
        reached = test_alloc_failed();
        test_alloc_disarm();
        assert_int_equal(rc, reached ? FM_ENOMEM : FM_OK);
        fm_buf_fini(&jwt);
        fm_arena_fini(&arena);
    }
    fm_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac_of_rfc_4231),
        cmocka_unit_test(test_signature_of_rfc_7515),
        cmocka_unit_test(test_keys_that_cannot_sign),
        cmocka_unit_test(test_service_account),
        cmocka_unit_test(test_hostile_accounts),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_hostile_answers),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
