/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as sent: the documented example, and pairs that another signer agreed with. */
#include "../../support/test.h"

#include "fermata/s3.h"

static struct s3_endpoint endpoint_make(const char *url, const char *region, const char *bucket)
{
    struct s3_endpoint endpoint = {0};
    (void)snprintf(endpoint.region, sizeof endpoint.region, "%s", region);
    (void)snprintf(endpoint.bucket, sizeof endpoint.bucket, "%s", bucket);
    assert_ok(s3_endpoint_parse(fm_slice_text(url), &endpoint, NULL));
    return endpoint;
}

static const struct s3_credentials example_credentials = {
    .access_key = {(const uint8_t *)"AKIAIOSFODNN7EXAMPLE", 20},
    .secret_key = {(const uint8_t *)"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40},
};

static struct fm_slice header_find(const struct s3_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return (struct fm_slice){0};
}

static void test_documented_range_request(void **state)
{
    (void)state;
    struct s3_endpoint endpoint = endpoint_make("s3.amazonaws.com", "us-east-1", "examplebucket");
    struct s3_call call = {.verb = S3_GET, .object.key = FM_SLICE("test.txt"), .range_last = 9};
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB(64));
    struct s3_request request;
    assert_ok(
        s3_request_build(&endpoint, &example_credentials, &call, 1369353600, &arena, &request));
    assert_true(fm_slice_equal_text(request.host, "examplebucket.s3.amazonaws.com"));
    assert_true(fm_slice_equal_text(request.target, "/test.txt"));
    assert_true(fm_slice_equal_text(
        header_find(&request, "authorization"),
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
    fm_arena_fini(&arena);
}

/* ---- golden pairs: see tests/golden/sigv4/README.md ---- */

struct golden { /* one input line, as hex or plain words */
    char url[300], region[64], bucket[64], prefix[600], key[2000], upload_id[600], token[2000];
    char access_key[64], secret_key[128], sha256[80], md5[40], crc32c[16], query[300];
    int path_style, verb, part_number, create_only;
    long long unix_s;
    unsigned long long range_first, range_last;
};

static struct fm_slice golden_bytes(const char *hex, struct fm_arena *arena)
{
    if (strcmp(hex, "-") == 0)
        return (struct fm_slice){0};
    size_t len = strlen(hex) / 2;
    uint8_t *bytes = fm_arena_alloc(arena, len);
    assert_non_null(bytes);
    assert_ok(fm_hex_decode(bytes, len, fm_slice_text(hex)));
    return fm_slice(bytes, len);
}

static int golden_scan(const char *line, struct golden *golden)
{
    return sscanf(
        line,
        "%299s %63s %63s %599s %d %d %1999s %599s %d %1999s %63s %127s %lld %79s %39s %15s "
        "%d %llu %llu %299s",
        golden->url, golden->region, golden->bucket, golden->prefix, &golden->path_style,
        &golden->verb, golden->key, golden->upload_id, &golden->part_number, golden->token,
        golden->access_key, golden->secret_key, &golden->unix_s, golden->sha256, golden->md5,
        golden->crc32c, &golden->create_only, &golden->range_first, &golden->range_last,
        golden->query);
}

static int golden_build(const struct golden *golden, struct fm_arena *arena,
                        struct s3_endpoint *endpoint, struct s3_request *ret_request)
{
    *endpoint = (struct s3_endpoint){.path_style = golden->path_style};
    (void)snprintf(endpoint->region, sizeof endpoint->region, "%s", golden->region);
    (void)snprintf(endpoint->bucket, sizeof endpoint->bucket, "%s", golden->bucket);
    struct fm_slice prefix = golden_bytes(golden->prefix, arena);
    (void)snprintf(endpoint->prefix, sizeof endpoint->prefix, "%.*s", (int)prefix.len,
                   prefix.ptr ? (const char *)prefix.ptr : "");
    assert_ok(s3_endpoint_parse(fm_slice_text(golden->url), endpoint, NULL));
    struct s3_credentials credentials = {golden_bytes(golden->access_key, arena),
                                         golden_bytes(golden->secret_key, arena),
                                         golden_bytes(golden->token, arena)};
    struct s3_call call = {.verb = (enum s3_verb)golden->verb,
                           .object = {.key = golden_bytes(golden->key, arena),
                                      .size = 5,
                                      .create_only = golden->create_only,
                                      .sha256 = golden_bytes(golden->sha256, arena).ptr,
                                      .md5 = golden_bytes(golden->md5, arena).ptr,
                                      .crc32c = golden_bytes(golden->crc32c, arena).ptr},
                           .upload_id = golden_bytes(golden->upload_id, arena),
                           .part_number = (uint32_t)golden->part_number,
                           .range_first = golden->range_first,
                           .range_last = golden->range_last,
                           .query = golden_bytes(golden->query, arena)};
    return s3_request_build(endpoint, &credentials, &call, golden->unix_s, arena, ret_request);
}

static void request_print(const struct s3_endpoint *endpoint, const struct s3_request *request,
                          struct fm_buf *text)
{
    fm_buf_printf(text, "%s %s ", endpoint->scheme, request->method);
    fm_buf_put_slice(text, request->host);
    fm_buf_puts(text, " ");
    fm_buf_put_slice(text, request->target);
    for (uint32_t i = 0; i < request->header_count; i++) {
        fm_buf_printf(text, "\t%s: ", request->headers[i].name);
        fm_buf_put_slice(text, request->headers[i].value);
    }
}

static void test_golden_requests(void **state)
{
    (void)state;
    struct fm_buf file = test_read_file("golden/sigv4/requests.txt");
    fm_buf_put_u8(&file, 0);
    unsigned count = 0;
    char *save = NULL;
    for (char *line = strtok_r((char *)file.ptr, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        struct golden golden;
        struct s3_endpoint endpoint;
        struct s3_request request;
        struct fm_arena arena;
        struct fm_buf text;
        fm_arena_init(&arena, FM_KIB(64));
        fm_buf_init(&text, FM_KIB(64));
        assert_int_equal(golden_scan(line, &golden), 20);
        assert_ok(golden_build(&golden, &arena, &endpoint, &request));
        request_print(&endpoint, &request, &text);
        fm_buf_put_u8(&text, 0);
        line = strtok_r(NULL, "\n", &save);
        assert_non_null(line);
        assert_string_equal(line, (char *)text.ptr);
        fm_buf_fini(&text);
        fm_arena_fini(&arena);
        count++;
    }
    assert_true(count >= 30);
    fm_buf_fini(&file);
}

/* Signatures of botocore 1.43 over the same requests. */
static void storage_holds(const struct s3_call *call, const struct s3_credentials *credentials,
                          const char *prefix, const char *target, const char *end)
{
    struct s3_endpoint endpoint = endpoint_make("", "eu-west-1", "examplebucket");
    struct fm_arena arena;
    struct s3_request request;
    (void)snprintf(endpoint.prefix, sizeof endpoint.prefix, "%s", prefix);
    fm_arena_init(&arena, FM_KIB(64));
    assert_ok(s3_request_build(&endpoint, credentials, call, 1369353600, &arena, &request));
    struct fm_slice value = header_find(&request, "authorization");
    assert_true(fm_slice_equal_text(request.target, target));
    assert_non_null(memmem(value.ptr, value.len, end, strlen(end)));
    fm_arena_fini(&arena);
}

static void test_storage_and_lists(void **state)
{
    (void)state;
    struct s3_storage storage = {.sse = "aws:kms",
                                 .sse_kms_key_id = "arn:aws:kms:eu-west-1:1:key/k",
                                 .storage_class = "STANDARD_IA"};
    struct s3_storage plain = {.sse = "AES256"};
    struct s3_credentials session = example_credentials;
    session.session_token = FM_SLICE("TOK/EN==");
    assert_ok(s3_storage_add_tag(&storage, FM_SLICE("team"), FM_SLICE("a b"), NULL));
    assert_ok(s3_storage_add_tag(&storage, FM_SLICE("env"), FM_SLICE("p"), NULL));
    struct s3_call call = {
        .verb = S3_PUT,
        .object = {.key = FM_SLICE("t/b/x"), .create_only = true, .storage = &storage}};
    storage_holds(&call, &session, "p", "/p/t/b/x",
                  "x-amz-storage-class;x-amz-tagging,Signature="
                  "34a35dd3dab6fa8f443231a767b2fd104a93bddce3d96007569bd0eef7be4434");
    call = (struct s3_call){.verb = S3_MULTIPART_BEGIN,
                            .object = {.key = FM_SLICE("t/b/x"), .storage = &plain}};
    storage_holds(&call, &example_credentials, "p", "/p/t/b/x?uploads=",
                  "Signature=08a590e45a2494d86c067db00d50057ba3e69510e755bc63e027f04d7fef303c");
    call = (struct s3_call){.verb = S3_LIST,
                            .object = {.key = FM_SLICE("m/"), .storage = &plain},
                            .start_after = FM_SLICE("m/0+1"),
                            .is_flat = true};
    storage_holds(&call, &example_credentials, "c",
                  "/?delimiter=%2F&list-type=2&prefix=c%2Fm%2F&start-after=c%2Fm%2F0%2B1",
                  "Signature=5779997e8ba69440055539ee656e6b364bd347cea219af777f1a1a048b31e04e");
}

static void test_tags_have_limits(void **state)
{
    (void)state;
    struct s3_storage storage = {.sse = ""};
    static char text[300];
    memset(text, 'x', sizeof text);
    assert_int_equal(s3_storage_add_tag(&storage, FM_SLICE(""), FM_SLICE("x"), NULL), FM_ECONFIG);
    assert_int_equal(s3_storage_add_tag(&storage, fm_slice(text, 129), FM_SLICE(""), NULL),
                     FM_ECONFIG);
    assert_int_equal(s3_storage_add_tag(&storage, FM_SLICE("k"), fm_slice(text, 257), NULL),
                     FM_ECONFIG);
    for (int i = 0; i < 10; i++)
        assert_ok(s3_storage_add_tag(&storage, FM_SLICE("k"), FM_SLICE("v"), NULL));
    assert_int_equal(s3_storage_add_tag(&storage, FM_SLICE("k"), FM_SLICE("v"), NULL), FM_ECONFIG);
    assert_string_equal(storage.tagging, "k=v&k=v&k=v&k=v&k=v&k=v&k=v&k=v&k=v&k=v");
}

static void test_unsigned(void **state)
{
    (void)state;
    struct s3_endpoint endpoint = endpoint_make("s3.amazonaws.com", "us-east-1", "examplebucket");
    struct s3_call call = {.verb = S3_GET, .object.key = FM_SLICE("test.txt")};
    struct fm_arena arena;
    struct s3_request request;
    fm_arena_init(&arena, FM_KIB(64));
    assert_ok(s3_request_build(&endpoint, NULL, &call, 1369353600, &arena, &request));
    assert_null(header_find(&request, "authorization").ptr);
    fm_arena_fini(&arena);
}

static void test_credentials_that_cannot_stand_in_a_header(void **state)
{
    (void)state;
    struct s3_endpoint endpoint = endpoint_make("h", "r", "traces");
    struct s3_call call = {.verb = S3_HEAD, .object.key = FM_SLICE("k")};
    static const struct {
        const char *access_key, *secret_key, *token;
    } rows[] = {
        {"", "s", ""}, {"a", "", ""}, {"a\r\nx: y", "s", ""}, {"a", "s", "t\n"}, {"a b", "s", ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct s3_credentials credentials = {fm_slice_text(rows[i].access_key),
                                             fm_slice_text(rows[i].secret_key),
                                             fm_slice_text(rows[i].token)};
        struct fm_arena arena;
        fm_arena_init(&arena, FM_KIB(64));
        struct s3_request request;
        assert_int_equal(s3_request_build(&endpoint, &credentials, &call, 0, &arena, &request),
                         FM_ECONFIG);
        fm_arena_fini(&arena);
    }
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    struct s3_endpoint endpoint = endpoint_make("h", "r", "traces");
    uint8_t sha256[32] = {1}, md5[16] = {2}, crc32c[4] = {3};
    struct s3_call call = {.verb = S3_PUT,
                           .object = {.key = FM_SLICE("k"),
                                      .sha256 = sha256,
                                      .md5 = md5,
                                      .crc32c = crc32c,
                                      .size = 1,
                                      .create_only = true}};
    for (uint64_t nth = 1;; nth++) {
        struct fm_arena arena;
        fm_arena_init(&arena, FM_KIB(64));
        struct s3_request request;
        test_alloc_fail_at(nth);
        int rc = s3_request_build(&endpoint, &example_credentials, &call, 0, &arena, &request);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        fm_arena_fini(&arena);
        if (!failed) {
            assert_ok(rc);
            return;
        }
        assert_true(rc == FM_ENOMEM || rc == FM_ELIMIT);
    }
}

static void test_complete_body_escapes(void **state)
{
    (void)state;
    struct fm_buf body;
    fm_buf_init(&body, FM_KIB(4));
    s3_complete_part(&body, 1, FM_SLICE("\"abc\""));
    s3_complete_part(&body, 2, FM_SLICE("<&>"));
    s3_complete_end(&body);
    assert_true(fm_slice_equal_text(
        fm_buf_slice(&body),
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        "<Part><PartNumber>1</PartNumber><ETag>&quot;abc&quot;</ETag></Part>"
        "<Part><PartNumber>2</PartNumber><ETag>&lt;&amp;&gt;</ETag></Part>"
        "</CompleteMultipartUpload>"));
    fm_buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_range_request),
        cmocka_unit_test(test_golden_requests),
        cmocka_unit_test(test_storage_and_lists),
        cmocka_unit_test(test_tags_have_limits),
        cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_credentials_that_cannot_stand_in_a_header),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_complete_body_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
