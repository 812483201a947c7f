/* SPDX-License-Identifier: Apache-2.0 */
/* What each answer means: one case for each row of docs/formats/cloud.md, and hostile ones. */
#include "../../support/test.h"

#include "fermata/cloud.h"

struct row {
    enum cloud_verb verb;
    int status;
    const char *code; /* Azure: x-ms-error-code; Google: reason */
    enum s3_outcome outcome;
    bool create_only;
    const char *message;
};

static const struct row azure_rows[] = {
    {CLOUD_PUT, 201, NULL, S3_DONE, 0, NULL},
    {CLOUD_HEAD, 200, NULL, S3_DONE, 0, NULL},
    {CLOUD_COMMIT, 201, NULL, S3_DONE, 1, NULL},
    {CLOUD_PUT, 503, "ServerBusy", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 500, "ServerBusy", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 429, "TooManyRequests", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 403, "AccountBeingCreated", S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 404, "ContainerNotFound", S3_NO_BUCKET, 0, NULL},
    {CLOUD_HEAD, 404, "ContainerNotFound", S3_NO_BUCKET, 0, NULL},
    {CLOUD_PUT, 409, "ContainerBeingDeleted", S3_NO_BUCKET, 0, NULL},
    {CLOUD_PUT, 409, "ContainerDisabled", S3_NO_BUCKET, 0, NULL},
    {CLOUD_PUT, 409, "BlobAlreadyExists", S3_EXISTS, 1, NULL},
    {CLOUD_PUT, 409, "BlobAlreadyExists", S3_CONFLICT, 0, NULL},
    {CLOUD_COMMIT, 412, "ConditionNotMet", S3_EXISTS, 1, NULL},
    {CLOUD_PUT, 412, "", S3_EXISTS, 1, NULL},
    {CLOUD_PUT, 412, "LeaseIdMissing", S3_REFUSED, 1, NULL},
    {CLOUD_PUT, 412, "ConditionNotMet", S3_REFUSED, 0, NULL},
    {CLOUD_BLOCK, 400, "Md5Mismatch", S3_TRANSIENT, 0, NULL},
    {CLOUD_BLOCK, 400, "IncompleteBody", S3_TRANSIENT, 0, NULL},
    {CLOUD_COMMIT, 400, "InvalidBlockList", S3_NO_UPLOAD, 0, NULL},
    {CLOUD_PUT, 400, "InvalidAuthenticationInfo", S3_AUTH, 0, NULL},
    {CLOUD_HEAD, 400, "", S3_AUTH, 0, NULL},
    {CLOUD_PUT, 400, "InvalidHeaderValue", S3_REFUSED, 0, NULL},
    {CLOUD_PUT, 401, "NoAuthenticationInformation", S3_AUTH, 0, NULL},
    {CLOUD_PUT, 403, "AuthenticationFailed", S3_AUTH, 0, NULL},
    {CLOUD_HEAD, 404, "BlobNotFound", S3_ABSENT, 0, NULL},
    {CLOUD_PROGRESS, 404, "BlobNotFound", S3_ABSENT, 0, NULL},
    {CLOUD_PUT, 404, "ResourceNotFound", S3_NO_BUCKET, 0, NULL},
    {CLOUD_PUT, 408, "", S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 409, "SnapshotsPresent", S3_CONFLICT, 0, NULL},
    {CLOUD_PUT, 413, "RequestBodyTooLarge", S3_UNSUPPORTED, 0, NULL},
    {CLOUD_PUT, 501, "", S3_UNSUPPORTED, 0, NULL},
    {CLOUD_PUT, 503, "", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 500, "OperationTimedOut", S3_AMBIGUOUS, 0, NULL},
    {CLOUD_COMMIT, 500, "InternalError", S3_AMBIGUOUS, 0, NULL},
    {CLOUD_BLOCK, 500, "InternalError", S3_TRANSIENT, 0, NULL},
    {CLOUD_HEAD, 502, "", S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 302, "", S3_REFUSED, 0, NULL},
    {CLOUD_PUT, 0, NULL, S3_AMBIGUOUS, 0, NULL},
    {CLOUD_BLOCK, 0, NULL, S3_TRANSIENT, 0, NULL},
};

static const struct row gcs_rows[] = {
    {CLOUD_GET, 200, NULL, S3_DONE, 0, NULL},
    {CLOUD_LIST, 200, NULL, S3_DONE, 0, NULL},
    {CLOUD_PROGRESS, 308, NULL, S3_DONE, 0, NULL},
    {CLOUD_BLOCK, 308, NULL, S3_DONE, 0, NULL},
    {CLOUD_PUT, 308, NULL, S3_REFUSED, 0, NULL},
    {CLOUD_PUT, 200, NULL, S3_AMBIGUOUS, 0, NULL}, /* without the object */
    {CLOUD_HEAD, 200, NULL, S3_TRANSIENT, 0, NULL},
    {CLOUD_BEGIN, 200, NULL, S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 403, "rateLimitExceeded", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 403, "userRateLimitExceeded", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 403, "quotaExceeded", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 403, "forbidden", S3_AUTH, 0, NULL},
    {CLOUD_PUT, 401, "authError", S3_AUTH, 0, NULL},
    {CLOUD_PUT, 400, "invalid", S3_TRANSIENT, 0,
     "Provided CRC32C \\\"a\\\" doesn't match calculated CRC32C \\\"b\\\"."},
    {CLOUD_PUT, 400, "invalid", S3_REFUSED, 0, "m"},
    {CLOUD_HEAD, 404, "notFound", S3_NO_BUCKET, 0, "The specified bucket does not exist."},
    {CLOUD_HEAD, 404, "notFound", S3_ABSENT, 0, "No such object: b/o"},
    {CLOUD_BLOCK, 404, "", S3_NO_UPLOAD, 0, NULL},
    {CLOUD_PROGRESS, 410, "", S3_NO_UPLOAD, 0, NULL},
    {CLOUD_PUT, 404, "notFound", S3_NO_BUCKET, 0, NULL},
    {CLOUD_PUT, 408, "", S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 409, "conflict", S3_CONFLICT, 0, NULL},
    {CLOUD_PUT, 412, "conditionNotMet", S3_EXISTS, 1, NULL},
    {CLOUD_BLOCK, 412, "conditionNotMet", S3_EXISTS, 1, NULL},
    {CLOUD_PUT, 412, "conditionNotMet", S3_REFUSED, 0, NULL},
    {CLOUD_PUT, 413, "uploadTooLarge", S3_UNSUPPORTED, 0, NULL},
    {CLOUD_PUT, 429, "", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 501, "", S3_UNSUPPORTED, 0, NULL},
    {CLOUD_PUT, 503, "backendError", S3_SLOW_DOWN, 0, NULL},
    {CLOUD_PUT, 500, "internalError", S3_AMBIGUOUS, 0, NULL},
    {CLOUD_BLOCK, 502, "", S3_AMBIGUOUS, 0, NULL},
    {CLOUD_GET, 500, "", S3_TRANSIENT, 0, NULL},
    {CLOUD_PUT, 0, NULL, S3_AMBIGUOUS, 0, NULL},
    {CLOUD_BEGIN, 0, NULL, S3_TRANSIENT, 0, NULL},
};

static void rows_run(enum cloud_kind kind, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        const char *code = row->code ? row->code : "";
        char body[256] = "";
        struct s3_header headers[3] = {{"retry-after", FM_SLICE("9")},
                                       {"date", FM_SLICE("Sun, 06 Nov 1994 08:49:37 GMT")},
                                       {"x-ms-error-code", fm_slice_text(code)}};
        if (row->code && kind == CLOUD_GCS)
            (void)snprintf(
                body, sizeof body,
                "{\"error\":{\"code\":1,\"message\":\"%s\",\"errors\":[{\"domain\":\"g\","
                "\"reason\":\"%s\"}]}}",
                row->message ? row->message : "m", code);
        const struct s3_response_view view = {.status = row->status,
                                              .request_sent_whole = true,
                                              .headers = headers,
                                              .header_count = kind == CLOUD_AZURE ? 3 : 2,
                                              .body = fm_slice_text(body)};
        const struct cloud_call call = {.verb = row->verb, .create_only = row->create_only};
        struct cloud_answer answer;
        cloud_answer_read(kind, &call, &view, &answer);
        if (answer.outcome != row->outcome)
            fail_msg("row %zu, %d %s: %s instead of %s", i, row->status, code,
                     s3_outcome_text(answer.outcome), s3_outcome_text(row->outcome));
        assert_int_equal(answer.retry_after_s, row->status ? 9 : 0);
        assert_int_equal(answer.date_unix_s, row->status ? 784111777 : 0);
    }
}

static void test_azure_rows(void **state)
{
    (void)state;
    rows_run(CLOUD_AZURE, azure_rows, FM_COUNT(azure_rows));
}

static void test_gcs_rows(void **state)
{
    (void)state;
    rows_run(CLOUD_GCS, gcs_rows, FM_COUNT(gcs_rows));
}

static struct cloud_answer answer_of(enum cloud_kind kind, const struct cloud_call *call,
                                     int status, const char *name, const char *value,
                                     const char *body)
{
    const struct s3_header header = {name, fm_slice_text(value)};
    const struct s3_response_view view = {
        .status = status, .headers = &header, .header_count = 1, .body = fm_slice_text(body)};
    struct cloud_answer answer;
    cloud_answer_read(kind, call, &view, &answer);
    return answer;
}

static void test_errors_in_bodies(void **state)
{
    (void)state;
    const struct cloud_call put = {.verb = CLOUD_PUT};
    struct cloud_answer answer =
        answer_of(CLOUD_AZURE, &put, 404, "x", "",
                  "\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code>"
                  "<Message>gone\nTime</Message></Error>");
    assert_int_equal(answer.outcome, S3_NO_BUCKET);
    assert_string_equal(answer.message, "gone?Time");
    answer = answer_of(CLOUD_GCS, &put, 400, "x", "", "Bad\tRequest");
    assert_int_equal(answer.outcome, S3_REFUSED);
    assert_string_equal(answer.message, "Bad?Request");
}

/* What the server says that it has must be what was sent. */
static void test_checksums(void **state)
{
    (void)state;
    const uint8_t md5[16] = {0}, crc32c[4] = {0xe3, 0x06, 0x92, 0x83};
    const struct cloud_call azure = {.verb = CLOUD_PUT, .md5 = md5};
    const struct cloud_call gcs = {.verb = CLOUD_PUT, .crc32c = crc32c};
    static const char good[] = "{\"size\":\"9\",\"crc32c\":\"4waSgw==\"}";
    static const char bad[] = "{\"size\":\"9\",\"crc32c\":\"4waSgg==\"}";
    struct cloud_answer answer =
        answer_of(CLOUD_AZURE, &azure, 201, "content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "");
    assert_int_equal(answer.outcome, S3_DONE);
    answer = answer_of(CLOUD_AZURE, &azure, 201, "content-md5", "AAAAAAAAAAAAAAAAAAAAAQ==", "");
    assert_int_equal(answer.outcome, S3_TRANSIENT);
    assert_string_equal(answer.code, "checksum");
    answer = answer_of(CLOUD_GCS, &gcs, 200, "x", "", good);
    assert_int_equal(answer.outcome, S3_DONE);
    assert_int_equal(answer.size, 9);
    answer = answer_of(CLOUD_GCS, &gcs, 200, "x", "", bad);
    assert_int_equal(answer.outcome, S3_TRANSIENT);
}

static void test_sessions(void **state)
{
    (void)state;
    const struct cloud_call begin = {.verb = CLOUD_BEGIN};
    static const struct {
        const char *location, *session;
    } rows[] = {
        {"https://h/upload?a=b&upload_id=x", "/upload?a=b&upload_id=x"},
        {"/upload?u=x", "/upload?u=x"},
        {"https://h", ""},
        {"upload", ""},
        {"https://h/a b", ""},
        {"", ""},
    };
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct cloud_answer answer =
            answer_of(CLOUD_GCS, &begin, 200, "location", rows[i].location, "");
        assert_string_equal(answer.session, rows[i].session);
        assert_int_equal(answer.outcome, rows[i].session[0] ? S3_DONE : S3_TRANSIENT);
    }
    const struct cloud_call ask = {.verb = CLOUD_PROGRESS};
    struct cloud_answer answer = answer_of(CLOUD_GCS, &ask, 308, "range", "bytes=0-262143", "");
    assert_true(answer.is_open && answer.received == 262144);
    answer = answer_of(CLOUD_GCS, &ask, 308, "range", "bytes=1-2", "");
    assert_true(answer.is_open && answer.received == 0);
    answer = answer_of(CLOUD_GCS, &ask, 200, "x", "", "{\"size\":\"5\"}");
    assert_true(!answer.is_open && answer.outcome == S3_DONE && answer.size == 5);
}

/* ---- lists ---- */

#define AZURE_LIST                                                                                 \
    "<?xml version=\"1.0\"?><EnumerationResults><Blobs><Blob><Name>a&amp;b</Name><Properties>"     \
    "<Content-Length>3</Content-Length></Properties></Blob><Blob><Name>c</Name></Blob></Blobs>"    \
    "<NextMarker>m</NextMarker></EnumerationResults>"
#define GCS_LIST                                                                                   \
    "{\"kind\":\"x\",\"nextPageToken\":\"m\",\"items\":[{\"name\":\"a&b\",\"size\":\"3\"},"        \
    "{\"name\":\"c\"}]}"
#define BLOCK_LIST                                                                                 \
    "<BlockList><CommittedBlocks><Block><Name>no</Name></Block></CommittedBlocks>"                 \
    "<UncommittedBlocks><Block><Name>a&amp;b</Name><Size>1</Size></Block><Block><Name>c</Name>"    \
    "</Block></UncommittedBlocks></BlockList>"

static int list_on_name(void *self, struct fm_slice name)
{
    fm_buf_put_slice(self, name);
    fm_buf_put_u8(self, ',');
    return FM_OK;
}

static void test_lists(void **state)
{
    (void)state;
    struct fm_buf names, page;
    fm_buf_init(&names, FM_KIB(1));
    fm_buf_init(&page, FM_KIB(1));
    assert_ok(cloud_list_read(CLOUD_AZURE, FM_SLICE(AZURE_LIST), list_on_name, &names, &page));
    assert_true(fm_slice_equal_text(fm_buf_slice(&page), "m"));
    assert_ok(cloud_list_read(CLOUD_GCS, FM_SLICE(GCS_LIST), list_on_name, &names, &page));
    assert_true(fm_slice_equal_text(fm_buf_slice(&page), "m"));
    assert_ok(cloud_blocks_read(FM_SLICE(BLOCK_LIST), list_on_name, &names));
    assert_true(fm_slice_equal_text(fm_buf_slice(&names), "a&b,c,a&b,c,a&b,c,"));
    assert_ok(cloud_list_read(CLOUD_GCS, FM_SLICE("{}"), list_on_name, &names, &page));
    assert_int_equal(page.len, 0);
    assert_int_equal(
        cloud_list_read(CLOUD_GCS, FM_SLICE("{\"items\":[{}]}"), list_on_name, &names, &page),
        FM_EMALFORMED);
    assert_int_equal(
        cloud_list_read(CLOUD_GCS, FM_SLICE("{\"items\":[1]}"), list_on_name, &names, &page),
        FM_EMALFORMED);
    fm_buf_fini(&names);
    fm_buf_fini(&page);
}

/* ---- hostile ---- */

static void any_body(void *self, struct fm_slice body)
{
    (void)self;
    struct fm_buf names, page;
    fm_buf_init(&names, FM_KIB(4));
    fm_buf_init(&page, FM_KIB(1));
    for (int kind = CLOUD_AZURE; kind <= CLOUD_GCS; kind++) {
        for (int status = 200; status <= 400; status += 200) {
            const struct cloud_call call = {.verb = CLOUD_HEAD};
            const struct s3_response_view view = {.status = status, .body = body};
            struct cloud_answer answer;
            cloud_answer_read((enum cloud_kind)kind, &call, &view, &answer);
            assert_true(memchr(answer.message, '\0', sizeof answer.message));
        }
        (void)!cloud_list_read((enum cloud_kind)kind, body, list_on_name, &names, &page);
    }
    (void)!cloud_blocks_read(body, list_on_name, &names);
    fm_buf_fini(&names);
    fm_buf_fini(&page);
}

static void test_hostile_bodies(void **state)
{
    (void)state;
    static const char error[] =
        "{\"error\":{\"message\":\"a\",\"errors\":[{\"reason\":\"b\",\"x\":[{}]},3],\"y\":{}}}";
    const struct fm_slice bodies[] = {FM_SLICE(AZURE_LIST), FM_SLICE(GCS_LIST),
                                      FM_SLICE(BLOCK_LIST), fm_slice_text(error)};
    for (size_t i = 0; i < FM_COUNT(bodies); i++) {
        test_each_prefix(bodies[i], any_body, NULL);
        test_each_bit_flip(bodies[i], any_body, NULL);
    }
}

static void test_failing_allocations(void **state)
{
    (void)state;
    for (int kind = CLOUD_AZURE; kind <= CLOUD_GCS; kind++) {
        bool reached = true;
        for (uint64_t nth = 1; reached; nth++) {
            struct fm_buf names, page;
            fm_buf_init(&names, FM_KIB(4));
            fm_buf_init(&page, FM_KIB(1));
            fm_buf_put_zeros(&names, 512); /* so that the visitor does not allocate */
            fm_buf_reset(&names);
            test_alloc_fail_at(nth);
            int rc =
                cloud_list_read((enum cloud_kind)kind,
                                kind == CLOUD_AZURE ? FM_SLICE(AZURE_LIST) : FM_SLICE(GCS_LIST),
                                list_on_name, &names, &page);
            reached = test_alloc_failed();
            test_alloc_disarm();
            assert_true(reached ? rc != FM_OK : rc == FM_OK);
            fm_buf_fini(&names);
            fm_buf_fini(&page);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_azure_rows),       cmocka_unit_test(test_gcs_rows),
        cmocka_unit_test(test_errors_in_bodies), cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_sessions),         cmocka_unit_test(test_lists),
        cmocka_unit_test(test_hostile_bodies),   cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
