/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means.  One table, first match wins; docs/formats/s3.md explains each row and
 * tests/unit/s3/test_answer.c has a case for each.
 *
 * Nothing in here says "delete": an answer that nobody understands is S3_REFUSED, tried again
 * slowly.
 */
#include "internal.h"

#include <stdio.h>

#include "fermata/units.h"
#include "fermata/xml.h"

#define VERB(name) (UINT32_C(1) << S3_##name)
#define COMMITS    (VERB(PUT) | VERB(MULTIPART_COMPLETE))
#define OF_UPLOAD                                                                                  \
    (VERB(MULTIPART_PART) | VERB(MULTIPART_COMPLETE) | VERB(MULTIPART_ABORT) |                     \
     VERB(MULTIPART_LIST_PARTS))
#define ANY            UINT32_C(0xffff)
#define IF_CREATE_ONLY (UINT32_C(1) << 31) /* and the request was conditional */

struct answer_rule {
    uint16_t first, last; /* status */
    const char *code;     /* NULL: any */
    uint32_t verbs;
    enum s3_outcome outcome;
};
static const struct answer_rule answer_rules[] = {
    /* Codes that mean the same whatever the status: clones disagree about the number. */
    {300, 599, "RequestTimeTooSkewed", ANY, S3_CLOCK},
    {300, 599, "SlowDown", ANY, S3_SLOW_DOWN},
    {300, 599, "ServiceUnavailable", ANY, S3_SLOW_DOWN},
    {300, 599, "Throttling", ANY, S3_SLOW_DOWN},
    {300, 599, "ThrottlingException", ANY, S3_SLOW_DOWN},
    {300, 599, "TooManyRequests", ANY, S3_SLOW_DOWN},
    {300, 599, "RequestLimitExceeded", ANY, S3_SLOW_DOWN},
    {300, 599, "ExpiredToken", ANY, S3_AUTH},
    {300, 599, "InvalidToken", ANY, S3_AUTH},
    {300, 599, "TokenRefreshRequired", ANY, S3_AUTH},
    {300, 599, "InvalidAccessKeyId", ANY, S3_AUTH},
    {300, 599, "SignatureDoesNotMatch", ANY, S3_AUTH},
    {300, 599, "AccessDenied", ANY, S3_AUTH},
    {300, 599, "NoSuchBucket", ANY, S3_NO_BUCKET},
    {300, 599, "NoSuchUpload", OF_UPLOAD, S3_NO_UPLOAD},
    {300, 599, "ConditionalRequestConflict", ANY, S3_CONFLICT},
    {300, 599, "OperationAborted", ANY, S3_CONFLICT},
    {300, 599, "BlobAlreadyExists", IF_CREATE_ONLY | COMMITS, S3_EXISTS},
    {300, 599, "PreconditionFailed", IF_CREATE_ONLY | COMMITS, S3_EXISTS},
    {300, 599, "NotImplemented", ANY, S3_UNSUPPORTED},
    {300, 599, "XNotImplemented", ANY, S3_UNSUPPORTED},
    {300, 599, "EntityTooLarge", ANY, S3_UNSUPPORTED},
    {300, 599, "EntityTooSmall", ANY, S3_UNSUPPORTED},
    /* The body did not arrive as it was sent: nothing was stored. */
    {400, 400, "RequestTimeout", ANY, S3_TRANSIENT},
    {400, 400, "IncompleteBody", ANY, S3_TRANSIENT},
    {400, 400, "BadDigest", ANY, S3_TRANSIENT},
    {400, 400, "XAmzContentSHA256Mismatch", ANY, S3_TRANSIENT},
    {400, 400, "InvalidPart", OF_UPLOAD, S3_NO_UPLOAD},
    {400, 400, "AuthorizationHeaderMalformed", ANY, S3_REDIRECT},
    {400, 400, "IllegalLocationConstraintException", ANY, S3_REDIRECT},
    {301, 302, NULL, ANY, S3_REDIRECT},
    {307, 308, NULL, ANY, S3_REDIRECT},
    {400, 400, NULL, VERB(HEAD), S3_AUTH}, /* no body says which; nearly always the token */
    {401, 401, NULL, ANY, S3_AUTH},
    {403, 403, NULL, ANY, S3_AUTH},
    {404, 404, "NoSuchKey", ANY, S3_ABSENT},
    {404, 404, NULL, VERB(HEAD) | VERB(GET) | VERB(DELETE), S3_ABSENT},
    {404, 404, NULL, OF_UPLOAD, S3_NO_UPLOAD},
    {404, 404, NULL, VERB(LIST) | VERB(MULTIPART_LIST), S3_NO_BUCKET},
    {408, 408, NULL, ANY, S3_TRANSIENT},
    {409, 409, NULL, ANY, S3_CONFLICT},
    {412, 412, NULL, IF_CREATE_ONLY | COMMITS, S3_EXISTS},
    {413, 413, NULL, ANY, S3_UNSUPPORTED},
    {425, 425, NULL, ANY, S3_TRANSIENT},
    {429, 429, NULL, ANY, S3_SLOW_DOWN},
    {501, 501, NULL, ANY, S3_UNSUPPORTED},
    {503, 503, NULL, ANY, S3_SLOW_DOWN},
    /* The server may have committed before it failed. */
    {500, 599, NULL, COMMITS, S3_AMBIGUOUS},
    {500, 599, NULL, ANY, S3_TRANSIENT},
    {200, 599, NULL, ANY, S3_REFUSED},
};

const char *s3_outcome_text(enum s3_outcome outcome)
{
    static const char *const texts[] = {
        [S3_DONE] = "done",
        [S3_EXISTS] = "exists",
        [S3_ABSENT] = "absent",
        [S3_AMBIGUOUS] = "ambiguous",
        [S3_TRANSIENT] = "transient",
        [S3_SLOW_DOWN] = "slow_down",
        [S3_AUTH] = "auth",
        [S3_CLOCK] = "clock",
        [S3_REDIRECT] = "redirect",
        [S3_NO_BUCKET] = "no_bucket",
        [S3_NO_UPLOAD] = "no_upload",
        [S3_CONFLICT] = "conflict",
        [S3_UNSUPPORTED] = "unsupported",
        [S3_REFUSED] = "refused",
    };
    return (size_t)outcome < FM_COUNT(texts) ? texts[outcome] : "unknown";
}

/* Text for people and logs: printable ASCII, cut to fit. */
static void answer_copy_text(char *target, size_t size, struct fm_slice text)
{
    size_t len = FM_MIN(text.len, size - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.ptr[i];
        target[i] = (char)(c >= ' ' && c < 127 ? c : '?');
    }
    target[len] = '\0';
}

static bool answer_is_printable(struct fm_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] >= 127)
            return false;
    return true;
}

/* A value that goes back to the server unchanged: whole and printable, or not at all. */
static void answer_copy_exact(char *target, size_t size, struct fm_slice text)
{
    if (text.len < size && answer_is_printable(text)) {
        if (text.len)
            memcpy(target, text.ptr, text.len);
        target[text.len] = '\0';
    } else {
        target[0] = '\0';
    }
}

static void answer_read_headers(const struct s3_response_view *response, struct s3_answer *answer)
{
    for (uint32_t i = 0; i < response->header_count; i++) {
        const char *name = response->headers[i].name;
        struct fm_slice value = response->headers[i].value;
        uint64_t number = 0;
        int64_t date = 0;
        if (strcmp(name, "date") == 0)
            answer->date_unix_s = fm_http_date_parse(value, &date) == FM_OK ? date : 0;
        else if (strcmp(name, "etag") == 0)
            answer_copy_exact(answer->etag, sizeof answer->etag, value);
        else if (strcmp(name, "x-amz-bucket-region") == 0)
            answer_copy_exact(answer->region, sizeof answer->region, value);
        else if (strcmp(name, "content-length") == 0 && fm_u64_parse(value, &number) == FM_OK)
            answer->content_length = number;
        else if (strcmp(name, "retry-after") == 0 && fm_u64_parse(value, &number) == FM_OK)
            answer->retry_after_s = (uint32_t)FM_MIN(number, 3600);
    }
}

static int answer_find(struct fm_slice body, const char *path, struct fm_buf *text)
{
    fm_buf_reset(text);
    return xml_find(body, path, text);
}

/* Whether the body is an error document; fills what it says. */
static bool answer_read_error(struct fm_slice body, struct s3_answer *answer)
{
    struct fm_buf text;
    fm_buf_init(&text, 1024);
    bool is_error = body.len && answer_find(body, "Error/Code", &text) == FM_OK;
    if (is_error) {
        answer_copy_text(answer->code, sizeof answer->code, fm_buf_slice(&text));
        if (answer_find(body, "Error/Message", &text) == FM_OK)
            answer_copy_text(answer->message, sizeof answer->message, fm_buf_slice(&text));
        if (!answer->region[0] && answer_find(body, "Error/Region", &text) == FM_OK)
            answer_copy_exact(answer->region, sizeof answer->region, fm_buf_slice(&text));
    }
    fm_buf_fini(&text);
    return is_error;
}

static enum s3_outcome answer_classify(const struct s3_call *call, int status, const char *code)
{
    for (size_t i = 0; i < FM_COUNT(answer_rules); i++) {
        const struct answer_rule *rule = &answer_rules[i];
        if (status < rule->first || status > rule->last)
            continue;
        if (!(rule->verbs & (UINT32_C(1) << call->verb)))
            continue;
        if ((rule->verbs & IF_CREATE_ONLY) && !call->object.create_only)
            continue;
        if (rule->code && strcmp(rule->code, code) != 0)
            continue;
        return rule->outcome;
    }
    return S3_REFUSED;
}

/* A 200 is a promise only if the body holds what the verb is about. */
static enum s3_outcome answer_read_success(const struct s3_call *call, struct fm_slice body,
                                           struct s3_answer *answer)
{
    struct fm_buf text;
    fm_buf_init(&text, 1024);
    enum s3_outcome outcome = S3_DONE;
    switch (call->verb) {
    case S3_MULTIPART_BEGIN:
        if (answer_find(body, "InitiateMultipartUploadResult/UploadId", &text) == FM_OK)
            answer_copy_exact(answer->upload_id, sizeof answer->upload_id, fm_buf_slice(&text));
        if (!answer->upload_id[0])
            outcome = S3_TRANSIENT;
        break;
    case S3_MULTIPART_COMPLETE:
        if (answer_find(body, "CompleteMultipartUploadResult/ETag", &text) != FM_OK)
            outcome = S3_AMBIGUOUS;
        else
            answer_copy_exact(answer->etag, sizeof answer->etag, fm_buf_slice(&text));
        break;
    case S3_MULTIPART_PART:
        if (!answer->etag[0])
            outcome = S3_TRANSIENT;
        break;
    default:
        break;
    }
    fm_buf_fini(&text);
    return outcome;
}

void s3_answer_read(const struct s3_call *call, const struct s3_response_view *response,
                    struct s3_answer *ret_answer)
{
    struct s3_answer answer = {.outcome = S3_TRANSIENT};
    bool commits = (COMMITS & (UINT32_C(1) << call->verb)) != 0;
    int status = response->status;
    if (status >= 200)
        answer_read_headers(response, &answer);
    if (status < 200) {
        /* A body that did not leave us whole cannot have been committed. */
        if (commits && response->request_sent_whole)
            answer.outcome = S3_AMBIGUOUS;
    } else if (status < 300 && (call->verb == S3_GET || call->verb == S3_HEAD)) {
        answer.outcome = S3_DONE; /* the body is the object's, whatever it looks like */
    } else if (status < 300 && !answer_read_error(response->body, &answer)) {
        answer.outcome = answer_read_success(call, response->body, &answer);
    } else if (status < 300) {
        answer.outcome = answer_classify(call, 500, answer.code);
    } else {
        (void)answer_read_error(response->body, &answer);
        answer.outcome = answer_classify(call, status, answer.code);
    }
    *ret_answer = answer;
}

/* ---- listings ---- */

struct listing {
    s3_part_visit *part_visit;
    s3_upload_visit *upload_visit;
    s3_listed_visit *object_visit;
    void *self;
};

/* What is inside an element, as a document of its own: <i>...</i>. */
static void listing_wrap(struct fm_slice inner, struct fm_buf *document)
{
    fm_buf_init(document, FM_KIB(16));
    fm_buf_puts(document, "<i>");
    fm_buf_put_slice(document, inner);
    fm_buf_puts(document, "</i>");
}

static int listing_number(struct fm_slice document, const char *path, struct fm_buf *text,
                          uint64_t *ret_number)
{
    if (answer_find(document, path, text) != FM_OK)
        return FM_EMALFORMED;
    return fm_u64_parse(fm_buf_slice(text), ret_number);
}

static int listing_on_part(void *self, struct fm_slice inner)
{
    const struct listing *listing = self;
    struct s3_part part = {0};
    struct fm_buf text, wrapped;
    fm_buf_init(&text, 1024);
    listing_wrap(inner, &wrapped);
    struct fm_slice document = fm_buf_slice(&wrapped);
    uint64_t number = 0;
    int rc = wrapped.failed ? FM_ELIMIT : FM_OK;
    if (rc == FM_OK)
        rc = listing_number(document, "i/PartNumber", &text, &number);
    if (rc == FM_OK)
        rc = listing_number(document, "i/Size", &text, &part.size);
    if (rc == FM_OK && (number == 0 || number > S3_PART_NUMBER_MAX))
        rc = FM_EMALFORMED;
    if (rc == FM_OK) {
        part.number = (uint32_t)number;
        rc = answer_find(document, "i/ETag", &text) == FM_OK ? FM_OK : FM_EMALFORMED;
        answer_copy_exact(part.etag, sizeof part.etag, fm_buf_slice(&text));
    }
    fm_buf_fini(&wrapped);
    fm_buf_fini(&text);
    return rc == FM_OK ? listing->part_visit(listing->self, &part) : rc;
}

int s3_parts_read(struct fm_slice body, s3_part_visit *visit, void *self, char next_marker[16])
{
    struct listing listing = {.part_visit = visit, .self = self};
    next_marker[0] = '\0';
    int rc = xml_each(body, "ListPartsResult/Part", listing_on_part, &listing);
    if (rc != FM_OK)
        return rc;
    struct fm_buf text;
    fm_buf_init(&text, 256);
    bool is_cut = answer_find(body, "ListPartsResult/IsTruncated", &text) == FM_OK &&
                  fm_slice_equal_text(fm_buf_slice(&text), "true");
    if (is_cut && answer_find(body, "ListPartsResult/NextPartNumberMarker", &text) == FM_OK)
        answer_copy_exact(next_marker, 16, fm_buf_slice(&text));
    fm_buf_fini(&text);
    return FM_OK;
}

static int listing_on_upload(void *self, struct fm_slice inner)
{
    const struct listing *listing = self;
    struct fm_buf key, upload_id, wrapped;
    fm_buf_init(&key, FM_KIB(4));
    fm_buf_init(&upload_id, FM_KIB(1));
    listing_wrap(inner, &wrapped);
    int rc = wrapped.failed ? FM_ELIMIT : FM_EMALFORMED;
    if (rc == FM_EMALFORMED && answer_find(fm_buf_slice(&wrapped), "i/Key", &key) == FM_OK &&
        answer_find(fm_buf_slice(&wrapped), "i/UploadId", &upload_id) == FM_OK)
        rc = listing->upload_visit(listing->self, fm_buf_slice(&key), fm_buf_slice(&upload_id));
    fm_buf_fini(&wrapped);
    fm_buf_fini(&key);
    fm_buf_fini(&upload_id);
    return rc;
}

int s3_uploads_read(struct fm_slice body, s3_upload_visit *visit, void *self)
{
    struct listing listing = {.upload_visit = visit, .self = self};
    return xml_each(body, "ListMultipartUploadsResult/Upload", listing_on_upload, &listing);
}

static int listing_on_object(void *self, struct fm_slice inner)
{
    const struct listing *listing = self;
    struct fm_buf key, number, etag, wrapped;
    struct s3_listed object = {0};
    uint64_t modified_ns;

    fm_buf_init(&key, FM_KIB(4));
    fm_buf_init(&number, 128);
    fm_buf_init(&etag, 256);
    listing_wrap(inner, &wrapped);
    struct fm_slice document = fm_buf_slice(&wrapped);
    int rc = wrapped.failed ? FM_ELIMIT : FM_OK;
    if (rc == FM_OK && answer_find(document, "i/Key", &key) != FM_OK)
        rc = FM_EMALFORMED;
    if (rc == FM_OK && answer_find(document, "i/Size", &number) == FM_OK)
        rc = fm_u64_parse(fm_buf_slice(&number), &object.size);
    if (rc == FM_OK && answer_find(document, "i/ETag", &etag) == FM_OK &&
        answer_is_printable(fm_buf_slice(&etag)))
        object.etag = fm_buf_slice(&etag);
    if (rc == FM_OK && answer_find(document, "i/LastModified", &number) == FM_OK &&
        fm_rfc3339_parse(fm_buf_slice(&number), &modified_ns) == FM_OK)
        object.modified_unix_s = (int64_t)(modified_ns / FM_NS_PER_S);
    object.key = fm_buf_slice(&key);
    if (rc == FM_OK)
        rc = listing->object_visit(listing->self, &object);
    fm_buf_fini(&wrapped);
    fm_buf_fini(&key);
    fm_buf_fini(&number);
    fm_buf_fini(&etag);
    return rc;
}

int s3_objects_read(struct fm_slice body, s3_listed_visit *visit, void *self,
                    struct fm_buf *next_token)
{
    struct listing listing = {.object_visit = visit, .self = self};
    struct fm_buf text;

    fm_buf_reset(next_token);
    fm_buf_init(&text, 64);
    int rc = xml_each(body, "ListBucketResult/Contents", listing_on_object, &listing);
    if (rc == FM_OK && answer_find(body, "ListBucketResult/IsTruncated", &text) == FM_OK &&
        fm_slice_equal_text(fm_buf_slice(&text), "true")) {
        rc = answer_find(body, "ListBucketResult/NextContinuationToken", next_token);
        if (rc > 0 || (rc == FM_OK && !next_token->len))
            rc = FM_EMALFORMED; /* more is there, and no way to it */
    }
    fm_buf_fini(&text);
    return rc;
}
