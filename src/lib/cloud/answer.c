/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means.  One table for each service, first match wins; docs/formats/cloud.md
 * explains the rows and tests/unit/cloud/test_answer.c has a case for each.
 *
 * Nothing in here says "delete": an answer that nobody understands is S3_REFUSED, tried again
 * slowly.
 */
#include "internal.h"

#include "fermata/bytes.h"
#include "fermata/units.h"
#include "fermata/xml.h"

#define VERB(name)     (UINT32_C(1) << CLOUD_##name)
#define ANY            UINT32_C(0xffff)
#define READS          (VERB(HEAD) | VERB(GET))
#define IF_CREATE_ONLY (UINT32_C(1) << 31) /* and the request was conditional */
#define ANSWER_BYTES   FM_KIB(64)

struct answer_rule {
    uint16_t first, last; /* status */
    const char *code;     /* NULL: any; "": none was given */
    uint32_t verbs;
    enum s3_outcome outcome;
};

#define AZURE_COMMITS (VERB(PUT) | VERB(COMMIT))
static const struct answer_rule azure_rules[] = {
    {400, 599, "ServerBusy", ANY, S3_SLOW_DOWN},
    {400, 599, "TooManyRequests", ANY, S3_SLOW_DOWN},
    {400, 599, "AccountBeingCreated", ANY, S3_TRANSIENT},
    {400, 599, "ContainerNotFound", ANY, S3_NO_BUCKET},
    {400, 599, "ContainerBeingDeleted", ANY, S3_NO_BUCKET},
    {400, 599, "ContainerDisabled", ANY, S3_NO_BUCKET},
    {400, 599, "BlobAlreadyExists", IF_CREATE_ONLY | AZURE_COMMITS, S3_EXISTS},
    {412, 412, "ConditionNotMet", IF_CREATE_ONLY | AZURE_COMMITS, S3_EXISTS},
    {412, 412, "", IF_CREATE_ONLY | AZURE_COMMITS, S3_EXISTS},
    {400, 400, "Md5Mismatch", ANY, S3_TRANSIENT},
    {400, 400, "IncompleteBody", ANY, S3_TRANSIENT},
    {400, 400, "InvalidBlockList", VERB(COMMIT), S3_NO_UPLOAD},
    {400, 400, "InvalidAuthenticationInfo", ANY, S3_AUTH},
    {400, 400, "", READS, S3_AUTH}, /* no body says which; nearly always the token */
    {401, 401, NULL, ANY, S3_AUTH},
    {403, 403, NULL, ANY, S3_AUTH},
    {404, 404, NULL, READS | VERB(PROGRESS), S3_ABSENT},
    {404, 404, NULL, ANY, S3_NO_BUCKET},
    {408, 408, NULL, ANY, S3_TRANSIENT},
    {409, 409, NULL, ANY, S3_CONFLICT},
    {413, 413, NULL, ANY, S3_UNSUPPORTED},
    {429, 429, NULL, ANY, S3_SLOW_DOWN},
    {501, 501, NULL, ANY, S3_UNSUPPORTED},
    {503, 503, NULL, ANY, S3_SLOW_DOWN},
    /* The server may have committed before it failed. */
    {500, 599, NULL, AZURE_COMMITS, S3_AMBIGUOUS},
    {500, 599, NULL, ANY, S3_TRANSIENT},
};

#define GCS_COMMITS    (VERB(PUT) | VERB(BLOCK))
#define GCS_OF_SESSION (VERB(BLOCK) | VERB(PROGRESS))
static const struct answer_rule gcs_rules[] = {
    {400, 599, "rateLimitExceeded", ANY, S3_SLOW_DOWN},
    {400, 599, "userRateLimitExceeded", ANY, S3_SLOW_DOWN},
    {400, 599, "quotaExceeded", ANY, S3_SLOW_DOWN},
    {400, 400, "checksum", ANY, S3_TRANSIENT}, /* our word for what the message says */
    {401, 401, NULL, ANY, S3_AUTH},
    {403, 403, NULL, ANY, S3_AUTH},
    {404, 404, "bucket", ANY, S3_NO_BUCKET}, /* as well */
    {404, 404, NULL, READS, S3_ABSENT},
    {404, 404, NULL, GCS_OF_SESSION, S3_NO_UPLOAD},
    {404, 404, NULL, ANY, S3_NO_BUCKET},
    {408, 408, NULL, ANY, S3_TRANSIENT},
    {409, 409, NULL, ANY, S3_CONFLICT},
    {410, 410, NULL, GCS_OF_SESSION, S3_NO_UPLOAD},
    {412, 412, NULL, IF_CREATE_ONLY | VERB(PUT) | VERB(BEGIN) | GCS_OF_SESSION, S3_EXISTS},
    {413, 413, NULL, ANY, S3_UNSUPPORTED},
    {429, 429, NULL, ANY, S3_SLOW_DOWN},
    {501, 501, NULL, ANY, S3_UNSUPPORTED},
    {503, 503, NULL, ANY, S3_SLOW_DOWN},
    {500, 599, NULL, GCS_COMMITS, S3_AMBIGUOUS},
    {500, 599, NULL, ANY, S3_TRANSIENT},
};

static enum s3_outcome answer_classify(enum cloud_kind kind, const struct cloud_call *call,
                                       int status, const char *code)
{
    const struct answer_rule *rules = kind == CLOUD_AZURE ? azure_rules : gcs_rules;
    size_t count = kind == CLOUD_AZURE ? FM_COUNT(azure_rules) : FM_COUNT(gcs_rules);
    for (size_t i = 0; i < count; i++) {
        const struct answer_rule *rule = &rules[i];
        if (status < rule->first || status > rule->last)
            continue;
        if (!(rule->verbs & (UINT32_C(1) << call->verb)))
            continue;
        if ((rule->verbs & IF_CREATE_ONLY) && !call->create_only)
            continue;
        if (rule->code && strcmp(rule->code, code) != 0)
            continue;
        return rule->outcome;
    }
    return S3_REFUSED;
}

/* ---- headers ---- */

void cloud_copy_text(char *target, size_t size, struct fm_slice text)
{
    size_t len = FM_MIN(text.len, size - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.ptr[i];
        target[i] = (char)(c >= ' ' && c < 127 ? c : '?');
    }
    target[len] = '\0';
}

void cloud_read_header(const struct s3_header *header, int64_t *date_unix_s,
                       uint32_t *retry_after_s)
{
    uint64_t number = 0;
    int64_t date = 0;
    if (strcmp(header->name, "date") == 0)
        *date_unix_s = fm_http_date_parse(header->value, &date) == FM_OK ? date : 0;
    else if (strcmp(header->name, "retry-after") == 0 &&
             fm_u64_parse(header->value, &number) == FM_OK)
        *retry_after_s = (uint32_t)FM_MIN(number, 3600);
}

/* Base64 of exactly len bytes. */
static bool answer_read_hash(struct fm_slice text, uint8_t *target, size_t len)
{
    uint8_t raw[32];
    size_t raw_len = 0;
    if (text.len > 40 || fm_base64_decode(raw, &raw_len, text) != FM_OK || raw_len != len)
        return false;
    memcpy(target, raw, len);
    return true;
}

/* "crc32c=n03x6A==,md5=..." */
static void answer_read_hashes(struct fm_slice value, struct cloud_answer *answer)
{
    static const struct fm_slice name = {(const uint8_t *)"crc32c=", 7};
    const uint8_t *end = value.ptr + value.len;
    for (const uint8_t *at = value.ptr; at && at < end;) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *stop = comma ? comma : end;
        size_t len = (size_t)(stop - at);
        if (len > name.len && memcmp(at, name.ptr, name.len) == 0)
            answer->has_crc32c =
                answer_read_hash(fm_slice(at + name.len, len - name.len), answer->crc32c, 4);
        at = comma ? comma + 1 : NULL;
        while (at && at < end && *at == ' ')
            at++;
    }
}

/* The target of a session; it is asked for at our own endpoint, whatever host it names. */
static void answer_read_session(struct fm_slice url, struct cloud_answer *answer)
{
    const uint8_t *at = url.ptr, *end = url.ptr + url.len;
    const uint8_t *scheme = url.len > 8 ? memmem(at, FM_MIN(url.len, 8), "://", 3) : NULL;
    if (scheme)
        at = memchr(scheme + 3, '/', (size_t)(end - scheme - 3));
    if (!at || at == end || *at != '/' || (size_t)(end - at) >= sizeof answer->session)
        return;
    for (const uint8_t *c = at; c < end; c++)
        if (*c <= ' ' || *c >= 127 || *c == '#')
            return;
    memcpy(answer->session, at, (size_t)(end - at));
    answer->session[end - at] = '\0';
}

/* "bytes=0-524287": the next one is 524288. */
static bool answer_read_range(struct fm_slice value, uint64_t *ret_next)
{
    static const char head[] = "bytes=0-";
    size_t len = sizeof head - 1;
    uint64_t last;
    if (value.len <= len || memcmp(value.ptr, head, len) != 0 ||
        fm_u64_parse(fm_slice(value.ptr + len, value.len - len), &last) != FM_OK ||
        last == UINT64_MAX)
        return false;
    *ret_next = last + 1;
    return true;
}

static void answer_read_headers(enum cloud_kind kind, const struct s3_response_view *response,
                                struct cloud_answer *answer)
{
    for (uint32_t i = 0; i < response->header_count; i++) {
        const char *name = response->headers[i].name;
        struct fm_slice value = response->headers[i].value;
        uint64_t number = 0;
        cloud_read_header(&response->headers[i], &answer->date_unix_s, &answer->retry_after_s);
        if (strcmp(name, "content-length") == 0 && fm_u64_parse(value, &number) == FM_OK)
            answer->size = number;
        else if (kind == CLOUD_AZURE && strcmp(name, "content-md5") == 0)
            answer->has_md5 = answer_read_hash(value, answer->md5, 16);
        else if (kind == CLOUD_AZURE && strcmp(name, "x-ms-error-code") == 0)
            cloud_copy_text(answer->code, sizeof answer->code, value);
        else if (kind == CLOUD_GCS && strcmp(name, "x-goog-hash") == 0 && !answer->has_crc32c)
            answer_read_hashes(value, answer);
        else if (kind == CLOUD_GCS && strcmp(name, "location") == 0)
            answer_read_session(value, answer);
        else if (kind == CLOUD_GCS && strcmp(name, "range") == 0 &&
                 answer_read_range(value, &number))
            answer->received = number;
    }
}

/* ---- Azure's errors ---- */

static void azure_read_error(struct fm_slice body, struct cloud_answer *answer)
{
    struct fm_buf text;
    fm_buf_init(&text, 4096);
    if (!answer->code[0] && body.len && xml_find(body, "Error/Code", &text) == FM_OK)
        cloud_copy_text(answer->code, sizeof answer->code, fm_buf_slice(&text));
    fm_buf_reset(&text);
    if (body.len && xml_find(body, "Error/Message", &text) == FM_OK)
        cloud_copy_text(answer->message, sizeof answer->message, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

/* ---- Google's errors and objects ---- */

int cloud_json_open(struct json_reader *reader, struct fm_slice document, struct fm_arena *scratch)
{
    struct json_token token;
    json_reader_init(reader, document, scratch);
    int rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    return token.kind == JSON_OBJECT_BEGIN ? FM_OK : FM_EMALFORMED;
}

int cloud_json_member(struct json_reader *reader, struct fm_slice *ret_key,
                      struct json_token *ret_value)
{
    struct json_token key;
    int rc = json_next(reader, &key);
    if (rc == FM_OK && key.kind == JSON_OBJECT_END)
        return FM_END;
    if (rc == FM_OK && key.kind != JSON_KEY)
        rc = FM_EMALFORMED;
    if (rc == FM_OK)
        rc = json_next(reader, ret_value);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    *ret_key = key.text;
    return FM_OK;
}

/* The reader is in an error of the list: its reason. */
static int gcs_read_reason(struct json_reader *reader, struct cloud_answer *answer)
{
    struct fm_slice key;
    struct json_token value;
    int rc;
    while ((rc = cloud_json_member(reader, &key, &value)) == FM_OK) {
        if (value.kind == JSON_STRING && fm_slice_equal_text(key, "reason") && !answer->code[0])
            cloud_copy_text(answer->code, sizeof answer->code, value.text);
        rc = json_skip(reader, &value);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int gcs_read_reasons(struct json_reader *reader, struct cloud_answer *answer)
{
    struct json_token token;
    int rc;
    while ((rc = json_next(reader, &token)) == FM_OK && token.kind != JSON_ARRAY_END) {
        rc = token.kind == JSON_OBJECT_BEGIN ? gcs_read_reason(reader, answer)
                                             : json_skip(reader, &token);
        if (rc < 0)
            return rc;
    }
    return rc == FM_OK || rc < 0 ? rc : FM_EMALFORMED;
}

static int gcs_read_fault(struct json_reader *reader, struct cloud_answer *answer)
{
    struct fm_slice key;
    struct json_token value;
    int rc;
    while ((rc = cloud_json_member(reader, &key, &value)) == FM_OK) {
        if (value.kind == JSON_STRING && fm_slice_equal_text(key, "message"))
            cloud_copy_text(answer->message, sizeof answer->message, value.text);
        if (value.kind == JSON_ARRAY_BEGIN && fm_slice_equal_text(key, "errors"))
            rc = gcs_read_reasons(reader, answer);
        else
            rc = json_skip(reader, &value);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* An object's description, or an error: the members that matter of either. */
static int gcs_read_document(struct fm_slice body, struct fm_arena *scratch,
                             struct cloud_answer *answer)
{
    struct json_reader reader;
    struct fm_slice key;
    struct json_token value;
    int rc = cloud_json_open(&reader, body, scratch);
    if (rc < 0)
        return rc;
    while ((rc = cloud_json_member(&reader, &key, &value)) == FM_OK) {
        uint64_t number;
        if (fm_slice_equal_text(key, "error") && value.kind == JSON_OBJECT_BEGIN) {
            rc = gcs_read_fault(&reader, answer);
        } else {
            if (fm_slice_equal_text(key, "size") && json_u64(&value, &number) == FM_OK)
                answer->size = number;
            else if (fm_slice_equal_text(key, "crc32c") && value.kind == JSON_STRING)
                answer->has_crc32c = answer_read_hash(value.text, answer->crc32c, 4);
            rc = json_skip(&reader, &value);
        }
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* What only the message tells. */
static const char *gcs_code(const struct cloud_answer *answer)
{
    if (strstr(answer->message, "doesn't match calculated"))
        return "checksum";
    if (strstr(answer->message, "bucket does not exist"))
        return "bucket";
    return answer->code;
}

/* A 2xx is a promise only if it holds what the verb is about. */
static enum s3_outcome gcs_read_success(const struct cloud_call *call, struct fm_slice body,
                                        struct cloud_answer *answer)
{
    struct fm_arena scratch;
    if (call->verb == CLOUD_GET || call->verb == CLOUD_LIST)
        return S3_DONE;
    if (call->verb == CLOUD_BEGIN)
        return answer->session[0] ? S3_DONE : S3_TRANSIENT;
    answer->size = UINT64_MAX;
    answer->has_crc32c = false;
    fm_arena_init(&scratch, ANSWER_BYTES);
    bool is_whole =
        gcs_read_document(body, &scratch, answer) == FM_OK && answer->size != UINT64_MAX;
    fm_arena_fini(&scratch);
    if (is_whole)
        return S3_DONE;
    return call->verb == CLOUD_HEAD ? S3_TRANSIENT : S3_AMBIGUOUS;
}

static void gcs_read_error(struct fm_slice body, struct cloud_answer *answer)
{
    struct fm_arena scratch;
    fm_arena_init(&scratch, ANSWER_BYTES);
    if (gcs_read_document(body, &scratch, answer) < 0 && !answer->message[0])
        cloud_copy_text(answer->message, sizeof answer->message,
                        body); /* some errors are plain text */
    fm_arena_fini(&scratch);
}

/* ---- answers ---- */

/* What was sent and what the server says that it has are not the same. */
static bool answer_differs(const struct cloud_call *call, const struct cloud_answer *answer)
{
    if (call->verb == CLOUD_HEAD || call->verb == CLOUD_GET)
        return false;
    return (call->md5 && answer->has_md5 && memcmp(call->md5, answer->md5, 16) != 0) ||
           (call->crc32c && answer->has_crc32c && memcmp(call->crc32c, answer->crc32c, 4) != 0);
}

static bool answer_commits(enum cloud_kind kind, const struct cloud_call *call)
{
    uint32_t commits = kind == CLOUD_AZURE ? AZURE_COMMITS : GCS_COMMITS;
    return (commits & (UINT32_C(1) << call->verb)) != 0;
}

void cloud_answer_read(enum cloud_kind kind, const struct cloud_call *call,
                       const struct s3_response_view *response, struct cloud_answer *ret_answer)
{
    struct cloud_answer answer = {.outcome = S3_TRANSIENT};
    struct fm_slice body = fm_slice(response->body.ptr, FM_MIN(response->body.len, ANSWER_BYTES));
    int status = response->status;
    bool is_session = kind == CLOUD_GCS && ((GCS_OF_SESSION >> call->verb) & 1);
    if (status >= 200)
        answer_read_headers(kind, response, &answer);
    if (status < 200) {
        /* A body that did not leave us whole cannot have been committed. */
        if (answer_commits(kind, call) && response->request_sent_whole)
            answer.outcome = S3_AMBIGUOUS;
    } else if (status == 308 && is_session) {
        answer.outcome = S3_DONE;
        answer.is_open = true;
    } else if (status < 300 && kind == CLOUD_AZURE) {
        answer.outcome = S3_DONE;
    } else if (status < 300) {
        answer.outcome = gcs_read_success(call, body, &answer);
    } else if (kind == CLOUD_AZURE) {
        azure_read_error(body, &answer);
        answer.outcome = answer_classify(kind, call, status, answer.code);
    } else {
        gcs_read_error(body, &answer);
        answer.outcome = answer_classify(kind, call, status, gcs_code(&answer));
    }
    if (answer.outcome == S3_DONE && !answer.is_open && answer_differs(call, &answer)) {
        answer.outcome = S3_TRANSIENT;
        cloud_copy_text(answer.code, sizeof answer.code, FM_SLICE("checksum"));
        cloud_copy_text(answer.message, sizeof answer.message,
                        FM_SLICE("what the server has is not what was sent"));
    }
    *ret_answer = answer;
}
