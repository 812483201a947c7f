/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as sent: the documented example of Azure's shared key, and what each verb looks like. */
#include "../../support/test.h"

#include "fermata/cloud.h"

#define UNIX_S 1435361952 /* Fri, 26 Jun 2015 23:39:12 GMT, as in the documentation */

static struct cloud_place place_make(enum cloud_kind kind, const char *endpoint)
{
    struct cloud_place place = {.kind = kind, .account = "myaccount", .bucket = "traces"};
    (void)snprintf(place.prefix, sizeof place.prefix, "/a b/");
    (void)snprintf(place.control_prefix, sizeof place.control_prefix, "ctl");
    assert_ok(cloud_place_set(&place, endpoint, NULL));
    return place;
}

static struct fm_slice header_find(const struct s3_request *request, const char *name)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return (struct fm_slice){0};
}

static void assert_slice(struct fm_slice got, const char *expected)
{
    if (!fm_slice_equal_text(got, expected))
        fail_msg("%.*s instead of %s", (int)got.len, (const char *)got.ptr, expected);
}

static void test_documented_string_to_sign(void **state)
{
    (void)state;
    struct cloud_place place = place_make(CLOUD_AZURE, "");
    struct s3_request request = {
        .method = "GET",
        .target = FM_SLICE("/mycontainer?restype=container&timeout=20&comp=metadata"),
        .headers = {{"x-ms-version", FM_SLICE("2015-02-21")},
                    {"x-ms-date", FM_SLICE("Fri, 26 Jun 2015 23:39:12 GMT")}},
        .header_count = 2,
    };
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(4));
    assert_ok(cloud_azure_string_to_sign(&place, &request, &text));
    assert_slice(fm_buf_slice(&text),
                 "GET\n\n\n\n\n\n\n\n\n\n\n\n"
                 "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
                 "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20");
    fm_buf_fini(&text);
}

/* The whole of a put, and its text: lengths and hashes at their places. */
static void test_azure_put(void **state)
{
    (void)state;
    struct cloud_place place = place_make(CLOUD_AZURE, "http://[::1]:10000/myaccount/");
    const uint8_t md5[16] = {0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04,
                             0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e};
    const struct cloud_secret secret = {CLOUD_SHARED_KEY, FM_SLICE("key")};
    const struct cloud_call call = {.verb = CLOUD_PUT,
                                    .key = FM_SLICE("t/b+c/x"),
                                    .create_only = true,
                                    .length = 12,
                                    .md5 = md5};
    struct fm_arena arena;
    struct s3_request request;
    struct fm_buf text;
    fm_arena_init(&arena, FM_KIB(64));
    fm_buf_init(&text, FM_KIB(4));
    assert_ok(cloud_request_build(&place, &secret, &call, UNIX_S, &arena, &request));
    assert_string_equal(request.method, "PUT");
    assert_slice(request.host, "[::1]:10000");
    assert_slice(request.target, "/myaccount/traces/a%20b/t/b%2Bc/x");
    assert_slice(header_find(&request, "x-ms-blob-type"), "BlockBlob");
    assert_slice(header_find(&request, "if-none-match"), "*");
    assert_slice(header_find(&request, "x-ms-date"), "Fri, 26 Jun 2015 23:39:12 GMT");
    struct s3_request unsigned_request = request;
    unsigned_request.header_count--; /* the authorization is the last */
    assert_ok(cloud_azure_string_to_sign(&place, &unsigned_request, &text));
    assert_slice(fm_buf_slice(&text),
                 "PUT\n\n\n12\n1B2M2Y8AsgTpgAmY7PhCfg==\n\n\n\n\n*\n\n\n"
                 "x-ms-blob-type:BlockBlob\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
                 "x-ms-version:2021-12-02\n/myaccount/myaccount/traces/a%20b/t/b%2Bc/x");
    uint8_t mac[32];
    cloud_hmac_sha256(FM_SLICE("key"), fm_buf_slice(&text), mac);
    fm_buf_reset(&text);
    fm_buf_puts(&text, "SharedKey myaccount:");
    fm_base64_encode(&text, fm_slice(mac, sizeof mac));
    fm_buf_put_u8(&text, 0);
    assert_slice(header_find(&request, "authorization"), (const char *)text.ptr);
    fm_buf_fini(&text);
    fm_arena_fini(&arena);
}

struct row {
    enum cloud_kind kind;
    struct cloud_call call;
    const char *method, *target, *header[2];
};

static const struct row rows[] = {
    {CLOUD_AZURE, {.verb = CLOUD_HEAD, .key = FM_SLICE("k")}, "HEAD", "/traces/a%20b/k?S", {0}},
    {CLOUD_AZURE,
     {.verb = CLOUD_GET, .key = FM_SLICE("k"), .is_control = true},
     "GET",
     "/traces/ctl/k?S",
     {"x-ms-version", "2021-12-02"}},
    {CLOUD_AZURE,
     {.verb = CLOUD_BLOCK, .key = FM_SLICE("k"), .block_id = FM_SLICE("a+/="), .length = 1},
     "PUT",
     "/traces/a%20b/k?comp=block&blockid=a%2B%2F%3D&S",
     {0}},
    {CLOUD_AZURE,
     {.verb = CLOUD_COMMIT, .key = FM_SLICE("k"), .create_only = true, .length = 9},
     "PUT",
     "/traces/a%20b/k?comp=blocklist&S",
     {"if-none-match", "*"}},
    {CLOUD_AZURE,
     {.verb = CLOUD_PROGRESS, .key = FM_SLICE("k")},
     "GET",
     "/traces/a%20b/k?blocklisttype=uncommitted&comp=blocklist&S",
     {0}},
    {CLOUD_AZURE,
     {.verb = CLOUD_LIST, .key = FM_SLICE("t/"), .page = FM_SLICE("m=1")},
     "GET",
     "/traces?comp=list&marker=m%3D1&maxresults=500&prefix=a%20b%2Ft%2F&restype=container&S",
     {0}},
    {CLOUD_GCS,
     {.verb = CLOUD_PUT,
      .key = FM_SLICE("t/k"),
      .create_only = true,
      .boundary = "0123456789abcdef0123456789abcdef"},
     "POST",
     "/upload/storage/v1/b/traces/o?uploadType=multipart&name=a%20b%2Ft%2Fk&ifGenerationMatch=0"
     "&fields=name%2Csize%2Ccrc32c%2Cmd5Hash",
     {"content-type", "multipart/related; boundary=0123456789abcdef0123456789abcdef"}},
    {CLOUD_GCS,
     {.verb = CLOUD_HEAD, .key = FM_SLICE("t/k")},
     "GET",
     "/storage/v1/b/traces/o/a%20b%2Ft%2Fk?fields=name%2Csize%2Ccrc32c%2Cmd5Hash",
     {"authorization", "Bearer S"}},
    {CLOUD_GCS,
     {.verb = CLOUD_GET, .key = FM_SLICE("t/k")},
     "GET",
     "/storage/v1/b/traces/o/a%20b%2Ft%2Fk?alt=media",
     {0}},
    {CLOUD_GCS,
     {.verb = CLOUD_LIST, .key = FM_SLICE("t/"), .after = FM_SLICE("x")},
     "GET",
     "/storage/v1/b/traces/o?prefix=a%20b%2Ft%2F&startOffset=a%20b%2Ft%2Fx&maxResults=1000"
     "&fields=items%28name%29%2CnextPageToken",
     {0}},
    {CLOUD_GCS,
     {.verb = CLOUD_BEGIN, .key = FM_SLICE("k"), .size = 70000},
     "POST",
     "/upload/storage/v1/b/traces/o?uploadType=resumable&name=a%20b%2Fk"
     "&fields=name%2Csize%2Ccrc32c%2Cmd5Hash",
     {"x-upload-content-length", "70000"}},
    {CLOUD_GCS,
     {.verb = CLOUD_BLOCK,
      .session = FM_SLICE("/s?upload_id=u"),
      .offset = 262144,
      .length = 10,
      .size = 262154},
     "PUT",
     "/s?upload_id=u",
     {"content-range", "bytes 262144-262153/262154"}},
    {CLOUD_GCS,
     {.verb = CLOUD_PROGRESS, .session = FM_SLICE("/s?upload_id=u"), .size = 7},
     "PUT",
     "/s?upload_id=u",
     {"content-range", "bytes */7"}},
};

static void test_verbs(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct cloud_place place = place_make(row->kind, "");
        const struct cloud_secret secret = {row->kind == CLOUD_AZURE ? CLOUD_SAS : CLOUD_BEARER,
                                            FM_SLICE("S")};
        struct fm_arena arena;
        struct s3_request request;
        fm_arena_init(&arena, FM_KIB(64));
        assert_ok(cloud_request_build(&place, &secret, &row->call, UNIX_S, &arena, &request));
        assert_string_equal(request.method, row->method);
        assert_slice(request.target, row->target);
        assert_slice(request.host, row->kind == CLOUD_AZURE ? "myaccount.blob.core.windows.net"
                                                            : "storage.googleapis.com");
        if (row->header[0])
            assert_slice(header_find(&request, row->header[0]), row->header[1]);
        fm_arena_fini(&arena);
    }
}

static void test_secrets_that_break_headers(void **state)
{
    (void)state;
    static const struct cloud_secret bad[] = {
        {CLOUD_BEARER, FM_SLICE("a\nb")}, {CLOUD_BEARER, FM_SLICE("")},
        {CLOUD_BEARER, FM_SLICE("a b")},  {CLOUD_SAS, FM_SLICE("a b")},
        {CLOUD_SAS, FM_SLICE("")},        {CLOUD_SAS, FM_SLICE("a#b")},
    };
    struct cloud_place place = place_make(CLOUD_AZURE, "");
    const struct cloud_call call = {.verb = CLOUD_GET, .key = FM_SLICE("k")};
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct fm_arena arena;
        struct s3_request request;
        fm_arena_init(&arena, FM_KIB(64));
        assert_int_equal(cloud_request_build(&place, &bad[i], &call, UNIX_S, &arena, &request),
                         FM_ECONFIG);
        fm_arena_fini(&arena);
    }
}

static void test_frame(void **state)
{
    (void)state;
    struct cloud_place place = place_make(CLOUD_GCS, "");
    const uint8_t crc32c[4] = {0xe3, 0x06, 0x92, 0x83};
    const struct cloud_call call = {.key = FM_SLICE("k\"q"), .crc32c = crc32c, .boundary = "B"};
    struct fm_buf head, tail;
    fm_buf_init(&head, FM_KIB(4));
    fm_buf_init(&tail, FM_KIB(4));
    cloud_gcs_put_frame(&place, &call, &head, &tail);
    assert_slice(fm_buf_slice(&head), "--B\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
                                      "{\"name\":\"a b/k\\\"q\",\"crc32c\":\"4waSgw==\"}\r\n"
                                      "--B\r\nContent-Type: application/octet-stream\r\n\r\n");
    assert_slice(fm_buf_slice(&tail), "\r\n--B--\r\n");
    fm_buf_fini(&head);
    fm_buf_fini(&tail);
}

static void test_block_ids(void **state)
{
    (void)state;
    const uint8_t md5[16] = {1, 2, 3};
    char id[CLOUD_BLOCK_ID_LEN + 1];
    uint32_t number = 0;
    cloud_block_id(70000, md5, id);
    assert_int_equal(strlen(id), CLOUD_BLOCK_ID_LEN);
    assert_ok(cloud_block_id_parse(fm_slice_text(id), &number));
    assert_int_equal(number, 70000);
    assert_int_equal(cloud_block_id_parse(FM_SLICE("AAAA"), &number), FM_EMALFORMED);
    assert_int_equal(cloud_block_id_parse(FM_SLICE("****************************"), &number),
                     FM_EMALFORMED);
    struct fm_buf body;
    fm_buf_init(&body, FM_KIB(4));
    cloud_commit_block(&body, FM_SLICE("AA=="));
    cloud_commit_block(&body, FM_SLICE("AQ=="));
    cloud_commit_end(&body);
    assert_slice(fm_buf_slice(&body), "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>"
                                      "<Latest>AA==</Latest><Latest>AQ==</Latest></BlockList>");
    fm_buf_fini(&body);
}

static void test_urls(void **state)
{
    (void)state;
    struct cloud_url url;
    assert_ok(cloud_url_parse(FM_SLICE("https://a.b/"), &url, NULL));
    assert_int_equal(url.port, 443);
    assert_string_equal(url.path, "");
    assert_ok(cloud_url_parse(FM_SLICE("http://[::1]:81/x/y//"), &url, NULL));
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 81);
    assert_string_equal(url.path, "/x/y");
    static const char *const bad[] = {
        "",           "a.b",         "ftp://a",       "http://",
        "http://:80", "http://a:0",  "http://a:x",    "http://a:65536",
        "http://[::", "http://a b/", "http://a/?x=1", "http://u@a/"};
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        if (cloud_url_parse(fm_slice_text(bad[i]), &url, NULL) != FM_ECONFIG)
            fail_msg("%s was taken", bad[i]);
    struct cloud_place place = {.kind = CLOUD_AZURE, .account = "Bad", .bucket = "traces"};
    assert_int_equal(cloud_place_set(&place, "", NULL), FM_ECONFIG);
    place = (struct cloud_place){
        .kind = CLOUD_GCS, .bucket = "abc", .prefix = "a/b/", .control_prefix = "/a/b/c"};
    assert_int_equal(cloud_place_set(&place, "", NULL), FM_ECONFIG);
    place = (struct cloud_place){.kind = CLOUD_GCS, .bucket = "a/b"};
    assert_int_equal(cloud_place_set(&place, "", NULL), FM_ECONFIG);
}

static void test_failing_allocations(void **state)
{
    (void)state;
    struct cloud_place place = place_make(CLOUD_AZURE, "");
    const uint8_t md5[16] = {0};
    const struct cloud_secret secret = {CLOUD_SHARED_KEY, FM_SLICE("key")};
    const struct cloud_call call = {.verb = CLOUD_PUT, .key = FM_SLICE("t/k"), .md5 = md5};
    for (uint64_t nth = 1;; nth++) {
        struct fm_arena arena;
        struct s3_request request;
        fm_arena_init(&arena, FM_KIB(64));
        test_alloc_fail_at(nth);
        int rc = cloud_request_build(&place, &secret, &call, UNIX_S, &arena, &request);
        bool failed = test_alloc_failed();
        test_alloc_disarm();
        fm_arena_fini(&arena);
        if (!failed) {
            assert_ok(rc);
            assert_true(nth > 3);
            return;
        }
        assert_true(rc == FM_ENOMEM || rc == FM_ELIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_string_to_sign),
        cmocka_unit_test(test_azure_put),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_secrets_that_break_headers),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_block_ids),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
