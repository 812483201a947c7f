/* SPDX-License-Identifier: Apache-2.0 */
/* One row for each line of the table in docs/formats/s3.md. */
#include "../../support/test.h"

#include <stdio.h>

#include "fermata/s3.h"

#define ERROR(code)                                                                                \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>m</Message></Error>"
#define COMPLETED                                                                                  \
    "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"            \
    "<Key>k</Key><ETag>&quot;e-2&quot;</ETag></CompleteMultipartUploadResult>"

static void answer_of(enum s3_verb verb, bool create_only, int status, bool sent_whole,
                      const char *body, struct s3_answer *answer)
{
    struct s3_call call = {.verb = verb, .object.create_only = create_only};
    uint8_t *copy = test_exact_copy(fm_slice_text(body));
    struct s3_response_view view = {
        .status = status,
        .request_sent_whole = sent_whole,
        .body = fm_slice(copy, strlen(body)),
    };
    s3_answer_read(&call, &view, answer);
    free(copy);
}

struct row {
    enum s3_verb verb;
    bool create_only;
    int status;
    const char *body;
    enum s3_outcome outcome;
};

static void rows_hold(const struct row *rows, size_t count, bool sent_whole)
{
    for (size_t i = 0; i < count; i++) {
        struct s3_answer answer;
        answer_of(rows[i].verb, rows[i].create_only, rows[i].status, sent_whole, rows[i].body,
                  &answer);
        if (answer.outcome != rows[i].outcome)
            fail_msg("row %zu: status %d body %s: %s instead of %s", i, rows[i].status,
                     rows[i].body, s3_outcome_text(answer.outcome),
                     s3_outcome_text(rows[i].outcome));
    }
}

static void test_success(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {S3_PUT, false, 200, "", S3_DONE},
        {S3_PUT, true, 200, "", S3_DONE},
        {S3_PUT, false, 200, ERROR("InternalError"), S3_AMBIGUOUS},
        {S3_HEAD, false, 200, "", S3_DONE},
        {S3_GET, false, 200, ERROR("InternalError"), S3_DONE}, /* the object's own bytes */
        {S3_GET, false, 206, "part", S3_DONE},
        {S3_DELETE, false, 204, "", S3_DONE},
        {S3_MULTIPART_ABORT, false, 204, "", S3_DONE},
        {S3_MULTIPART_COMPLETE, false, 200, COMPLETED, S3_DONE},
        {S3_MULTIPART_COMPLETE, false, 200, "", S3_AMBIGUOUS},
        {S3_MULTIPART_COMPLETE, false, 200, "<CompleteMultipartUpl", S3_AMBIGUOUS},
        {S3_MULTIPART_COMPLETE, false, 200, ERROR("InternalError"), S3_AMBIGUOUS},
        {S3_MULTIPART_COMPLETE, false, 200, ERROR("SlowDown"), S3_SLOW_DOWN},
        {S3_MULTIPART_COMPLETE, false, 200, ERROR("NoSuchUpload"), S3_NO_UPLOAD},
        {S3_MULTIPART_COMPLETE, true, 200, ERROR("PreconditionFailed"), S3_EXISTS},
        {S3_MULTIPART_BEGIN, false, 200, "", S3_TRANSIENT},
        {S3_MULTIPART_BEGIN, false, 200,
         "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
         S3_DONE},
        {S3_MULTIPART_PART, false, 200, "", S3_TRANSIENT}, /* no ETag */
    };
    rows_hold(rows, FM_COUNT(rows), true);
}

static void test_failures_by_code(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {S3_PUT, false, 403, ERROR("RequestTimeTooSkewed"), S3_CLOCK},
        {S3_GET, false, 503, ERROR("SlowDown"), S3_SLOW_DOWN},
        {S3_PUT, false, 503, ERROR("SlowDown"), S3_SLOW_DOWN},
        {S3_PUT, false, 503, ERROR("ServiceUnavailable"), S3_SLOW_DOWN},
        {S3_PUT, false, 400, ERROR("Throttling"), S3_SLOW_DOWN},
        {S3_PUT, false, 400, ERROR("ThrottlingException"), S3_SLOW_DOWN},
        {S3_PUT, false, 400, ERROR("TooManyRequests"), S3_SLOW_DOWN},
        {S3_PUT, false, 503, ERROR("RequestLimitExceeded"), S3_SLOW_DOWN},
        {S3_PUT, false, 400, ERROR("ExpiredToken"), S3_AUTH},
        {S3_PUT, false, 400, ERROR("InvalidToken"), S3_AUTH},
        {S3_PUT, false, 400, ERROR("TokenRefreshRequired"), S3_AUTH},
        {S3_PUT, false, 403, ERROR("InvalidAccessKeyId"), S3_AUTH},
        {S3_PUT, false, 403, ERROR("SignatureDoesNotMatch"), S3_AUTH},
        {S3_PUT, false, 403, ERROR("AccessDenied"), S3_AUTH},
        {S3_PUT, false, 404, ERROR("NoSuchBucket"), S3_NO_BUCKET},
        {S3_MULTIPART_PART, false, 404, ERROR("NoSuchUpload"), S3_NO_UPLOAD},
        {S3_MULTIPART_COMPLETE, false, 404, ERROR("NoSuchUpload"), S3_NO_UPLOAD},
        {S3_MULTIPART_LIST_PARTS, false, 404, ERROR("NoSuchUpload"), S3_NO_UPLOAD},
        {S3_MULTIPART_COMPLETE, false, 400, ERROR("InvalidPart"), S3_NO_UPLOAD},
        {S3_PUT, true, 409, ERROR("ConditionalRequestConflict"), S3_CONFLICT},
        {S3_PUT, true, 409, ERROR("OperationAborted"), S3_CONFLICT},
        {S3_PUT, true, 409, ERROR("BlobAlreadyExists"), S3_EXISTS},
        {S3_PUT, true, 409, ERROR("PreconditionFailed"), S3_EXISTS},
        {S3_PUT, true, 501, ERROR("NotImplemented"), S3_UNSUPPORTED},
        {S3_PUT, true, 400, ERROR("XNotImplemented"), S3_UNSUPPORTED},
        {S3_PUT, false, 400, ERROR("EntityTooLarge"), S3_UNSUPPORTED},
        {S3_MULTIPART_COMPLETE, false, 400, ERROR("EntityTooSmall"), S3_UNSUPPORTED},
        {S3_PUT, false, 400, ERROR("RequestTimeout"), S3_TRANSIENT},
        {S3_PUT, false, 400, ERROR("IncompleteBody"), S3_TRANSIENT},
        {S3_PUT, false, 400, ERROR("BadDigest"), S3_TRANSIENT},
        {S3_PUT, false, 400, ERROR("XAmzContentSHA256Mismatch"), S3_TRANSIENT},
        {S3_PUT, false, 400, ERROR("AuthorizationHeaderMalformed"), S3_REDIRECT},
        {S3_PUT, false, 400, ERROR("IllegalLocationConstraintException"), S3_REDIRECT},
        {S3_GET, false, 404, ERROR("NoSuchKey"), S3_ABSENT},
        {S3_PUT, false, 400, ERROR("InvalidRequest"), S3_REFUSED},
        {S3_PUT, false, 500, ERROR("InternalError"), S3_AMBIGUOUS},
    };
    rows_hold(rows, FM_COUNT(rows), true);
}

static void test_failures_by_status(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {S3_PUT, false, 301, "", S3_REDIRECT},
        {S3_GET, false, 302, "", S3_REDIRECT},
        {S3_PUT, false, 307, "", S3_REDIRECT},
        {S3_PUT, false, 308, "", S3_REDIRECT},
        {S3_GET, false, 304, "", S3_REFUSED},
        {S3_PUT, false, 400, "<not xml", S3_REFUSED},
        {S3_HEAD, false, 400, "", S3_AUTH},
        {S3_PUT, false, 401, "", S3_AUTH},
        {S3_HEAD, false, 403, "", S3_AUTH},
        {S3_HEAD, false, 404, "", S3_ABSENT},
        {S3_GET, false, 404, "", S3_ABSENT},
        {S3_DELETE, false, 404, "", S3_ABSENT},
        {S3_PUT, false, 404, "", S3_REFUSED},
        {S3_LIST, false, 404, "", S3_NO_BUCKET},
        {S3_MULTIPART_LIST, false, 404, "", S3_NO_BUCKET},
        {S3_MULTIPART_ABORT, false, 404, "", S3_NO_UPLOAD},
        {S3_PUT, false, 405, "", S3_REFUSED},
        {S3_PUT, false, 408, "", S3_TRANSIENT},
        {S3_PUT, true, 409, "", S3_CONFLICT},
        {S3_PUT, true, 412, "", S3_EXISTS},
        {S3_MULTIPART_COMPLETE, true, 412, "", S3_EXISTS},
        {S3_PUT, false, 412, "", S3_REFUSED},
        {S3_GET, false, 412, "", S3_REFUSED},
        {S3_PUT, false, 413, "", S3_UNSUPPORTED},
        {S3_GET, false, 416, "", S3_REFUSED},
        {S3_PUT, false, 425, "", S3_TRANSIENT},
        {S3_PUT, false, 429, "", S3_SLOW_DOWN},
        {S3_PUT, false, 500, "", S3_AMBIGUOUS},
        {S3_MULTIPART_COMPLETE, false, 502, "", S3_AMBIGUOUS},
        {S3_MULTIPART_PART, false, 500, "", S3_TRANSIENT},
        {S3_GET, false, 500, "", S3_TRANSIENT},
        {S3_PUT, true, 501, "", S3_UNSUPPORTED},
        {S3_PUT, false, 503, "", S3_SLOW_DOWN},
        {S3_PUT, false, 504, "", S3_AMBIGUOUS},
        {S3_GET, false, 599, "", S3_TRANSIENT},
        {S3_GET, false, 600, "", S3_REFUSED},
        {S3_GET, false, 999, "", S3_REFUSED},
    };
    rows_hold(rows, FM_COUNT(rows), true);
}

static void test_no_answer(void **state)
{
    (void)state;
    static const struct row whole[] = {
        {S3_PUT, false, 0, "", S3_AMBIGUOUS},
        {S3_PUT, true, 0, "", S3_AMBIGUOUS},
        {S3_MULTIPART_COMPLETE, false, 0, "", S3_AMBIGUOUS},
        {S3_MULTIPART_PART, false, 0, "", S3_TRANSIENT},
        {S3_MULTIPART_BEGIN, false, 0, "", S3_TRANSIENT},
        {S3_GET, false, 0, "", S3_TRANSIENT},
        {S3_HEAD, false, 100, "", S3_TRANSIENT},
    };
    static const struct row cut[] = {
        {S3_PUT, false, 0, "", S3_TRANSIENT},
        {S3_MULTIPART_COMPLETE, false, 0, "", S3_TRANSIENT},
    };
    rows_hold(whole, FM_COUNT(whole), true);
    rows_hold(cut, FM_COUNT(cut), false);
}

static void test_fields(void **state)
{
    (void)state;
    const struct s3_header headers[] = {
        {"date", FM_SLICE("Fri, 24 May 2013 00:00:00 GMT")},
        {"retry-after", FM_SLICE("7")},
        {"content-length", FM_SLICE("1234")},
        {"etag", FM_SLICE("\"abc\"")},
        {"x-amz-bucket-region", FM_SLICE("eu-central-1")},
    };
    struct s3_call call = {.verb = S3_PUT};
    struct s3_response_view view = {
        .status = 400,
        .request_sent_whole = true,
        .headers = headers,
        .header_count = FM_COUNT(headers),
        .body = FM_SLICE("<Error><Code>AuthorizationHeaderMalformed</Code><Message>a\nb\xff"
                         "&lt;</Message><Region>us-west-2</Region></Error>"),
    };
    struct s3_answer answer;
    s3_answer_read(&call, &view, &answer);
    assert_int_equal(answer.outcome, S3_REDIRECT);
    assert_string_equal(answer.code, "AuthorizationHeaderMalformed");
    assert_string_equal(answer.message, "a?b?<");
    assert_string_equal(answer.region, "eu-central-1");
    assert_string_equal(answer.etag, "\"abc\"");
    assert_int_equal(answer.date_unix_s, 1369353600);
    assert_int_equal(answer.retry_after_s, 7);
    assert_int_equal(answer.content_length, 1234);
    view.header_count = 1;
    s3_answer_read(&call, &view, &answer);
    assert_string_equal(answer.region, "us-west-2");
}

static void test_values_that_would_not_fit_are_left_out(void **state)
{
    (void)state;
    char etag[300], body[1000];
    memset(etag, 'e', sizeof etag);
    const struct s3_header headers[] = {
        {"date", FM_SLICE("yesterday")},
        {"retry-after", FM_SLICE("99999999999")},
        {"content-length", FM_SLICE("-1")},
        {"etag", fm_slice(etag, sizeof etag)},
        {"x-amz-bucket-region", FM_SLICE("a\r\nb")},
    };
    struct s3_call call = {.verb = S3_MULTIPART_BEGIN};
    (void)snprintf(body, sizeof body,
                   "<InitiateMultipartUploadResult><UploadId>%0600d</UploadId>"
                   "</InitiateMultipartUploadResult>",
                   1);
    struct s3_response_view view = {
        .status = 200, .headers = headers, .header_count = 5, .body = fm_slice_text(body)};
    struct s3_answer answer;
    s3_answer_read(&call, &view, &answer);
    assert_int_equal(answer.outcome, S3_TRANSIENT);
    assert_string_equal(answer.upload_id, "");
    assert_string_equal(answer.etag, "");
    assert_string_equal(answer.region, "");
    assert_int_equal(answer.date_unix_s, 0);
    assert_int_equal(answer.retry_after_s, 3600);
    assert_int_equal(answer.content_length, 0);
}

static void test_cut_answers_never_succeed(void **state)
{
    (void)state;
    struct s3_answer answer;
    char body[sizeof COMPLETED];
    for (size_t len = 0; len + 1 < sizeof COMPLETED; len++) {
        memcpy(body, COMPLETED, len);
        body[len] = '\0';
        answer_of(S3_MULTIPART_COMPLETE, false, 200, true, body, &answer);
        assert_int_equal(answer.outcome, S3_AMBIGUOUS);
    }
}

/* ---- listings ---- */

struct parts {
    uint32_t count;
    struct s3_part last;
};

static int parts_on_part(void *self, const struct s3_part *part)
{
    struct parts *parts = self;
    parts->count++;
    parts->last = *part;
    return part->number == 7 ? FM_END : FM_OK;
}

static void test_parts(void **state)
{
    (void)state;
    struct parts parts = {0};
    char marker[16];
    assert_ok(s3_parts_read(
        FM_SLICE("<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>&quot;a&quot;</ETag>"
                 "<Size>5</Size></Part><Part><Size>9</Size><ETag>b</ETag>"
                 "<PartNumber>2</PartNumber></Part><IsTruncated>true</IsTruncated>"
                 "<NextPartNumberMarker>2</NextPartNumberMarker></ListPartsResult>"),
        parts_on_part, &parts, marker));
    assert_int_equal(parts.count, 2);
    assert_int_equal(parts.last.number, 2);
    assert_int_equal(parts.last.size, 9);
    assert_string_equal(parts.last.etag, "b");
    assert_string_equal(marker, "2");

    assert_ok(s3_parts_read(FM_SLICE("<ListPartsResult><IsTruncated>false</IsTruncated>"
                                     "<NextPartNumberMarker>2</NextPartNumberMarker>"
                                     "</ListPartsResult>"),
                            parts_on_part, &parts, marker));
    assert_string_equal(marker, "");
#define PART(inner) FM_SLICE("<ListPartsResult><Part>" inner "</Part></ListPartsResult>")
    assert_int_equal(s3_parts_read(PART("<PartNumber>7</PartNumber><ETag>a</ETag><Size>1</Size>"),
                                   parts_on_part, &parts, marker),
                     FM_END);
    const struct fm_slice bad[] = {
        PART("<PartNumber>0</PartNumber><ETag>a</ETag><Size>1</Size>"),
        PART("<PartNumber>10001</PartNumber><ETag>a</ETag><Size>1</Size>"),
        PART("<PartNumber>x</PartNumber><ETag>a</ETag><Size>1</Size>"),
        PART("<PartNumber>1</PartNumber><Size>1</Size>"),
        PART("<PartNumber>1</PartNumber><ETag>a</ETag>"),
        PART("<PartNumber>1</PartNumber><ETag>a</ETag><Size>99999999999999999999999</Size>"),
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_true(s3_parts_read(bad[i], parts_on_part, &parts, marker) < 0);
}

static int uploads_on_upload(void *self, struct fm_slice key, struct fm_slice upload_id)
{
    unsigned *count = self;
    assert_true(fm_slice_equal_text(key, "a&b"));
    assert_true(fm_slice_equal_text(upload_id, "u"));
    ++*count;
    return FM_OK;
}

static void test_uploads(void **state)
{
    (void)state;
    unsigned count = 0;
    assert_ok(s3_uploads_read(
        FM_SLICE("<ListMultipartUploadsResult><Upload><Key>a&amp;b</Key><UploadId>u</UploadId>"
                 "</Upload><Upload><UploadId>u</UploadId><Key>a&amp;b</Key></Upload>"
                 "</ListMultipartUploadsResult>"),
        uploads_on_upload, &count));
    assert_int_equal(count, 2);
    assert_true(s3_uploads_read(FM_SLICE("<ListMultipartUploadsResult><Upload><Key>a</Key></Upload>"
                                         "</ListMultipartUploadsResult>"),
                                uploads_on_upload, &count) < 0);
}

struct listed {
    unsigned count;
    uint64_t size;
    int64_t modified_s;
    char key[64], etag[64];
};

static int listed_on_object(void *self, const struct s3_listed *object)
{
    struct listed *listed = self;
    listed->count++;
    listed->size += object->size;
    listed->modified_s = object->modified_unix_s;
    (void)snprintf(listed->key, sizeof listed->key, "%.*s", (int)object->key.len, object->key.ptr);
    (void)snprintf(listed->etag, sizeof listed->etag, "%.*s", (int)object->etag.len,
                   object->etag.len ? (const char *)object->etag.ptr : "");
    return FM_OK;
}

#define OBJECT(inner) "<ListBucketResult><Contents>" inner "</Contents></ListBucketResult>"

static void test_objects(void **state)
{
    (void)state;
    struct listed listed = {0};
    struct fm_buf token;
    fm_buf_init(&token, 100);
    assert_ok(s3_objects_read(
        FM_SLICE("<ListBucketResult xmlns=\"x\"><IsTruncated>true</IsTruncated><Contents>"
                 "<Key>a/b&amp;c</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
                 "<ETag>&quot;e&quot;</ETag><Size>5</Size></Contents><Contents><Key>d</Key>"
                 "<Size>7</Size></Contents><NextContinuationToken>n+/=</NextContinuationToken>"
                 "</ListBucketResult>"),
        listed_on_object, &listed, &token));
    assert_int_equal(listed.count, 2);
    assert_int_equal(listed.size, 12);
    assert_string_equal(listed.key, "d");
    assert_string_equal(listed.etag, "");
    assert_true(fm_slice_equal_text(fm_buf_slice(&token), "n+/="));

    assert_ok(s3_objects_read(FM_SLICE(OBJECT("<Key>a&amp;b</Key><ETag>&quot;e&quot;</ETag>"
                                              "<LastModified>2026-01-02T03:04:05Z</LastModified>")),
                              listed_on_object, &listed, &token));
    assert_string_equal(listed.key, "a&b");
    assert_string_equal(listed.etag, "\"e\"");
    assert_int_equal(listed.modified_s, 1767323045);
    assert_int_equal(token.len, 0);

    static const char *const bad[] = {
        OBJECT("<Size>5</Size>"),
        OBJECT("<Key>k</Key><Size>many</Size>"),
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        ("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>"
         "</NextContinuationToken></ListBucketResult>"),
        "<ListBucketResult><Contents><Key>k",
    };
    for (size_t i = 0; i < FM_COUNT(bad); i++)
        assert_true(s3_objects_read(fm_slice_text(bad[i]), listed_on_object, &listed, &token) < 0);
    fm_buf_fini(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_failures_by_code),
        cmocka_unit_test(test_failures_by_status),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_values_that_would_not_fit_are_left_out),
        cmocka_unit_test(test_cut_answers_never_succeed),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
