/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 bucket against a server that follows a script: what it must ask, and what it is told. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables say what matters */

#include "../../support/test.h"

#include <unistd.h>

#include "fermata/credentials.h"
#include "fermata/net.h"
#include "fermata/replicate.h"
#include "fermata/units.h"
#include "fermata/uv.h"

/* ---- the script ---- */

enum act { PUT, CREATE, GET, HEAD, LIST, CONTROL, CANCEL, REOPEN };
struct op { /* what the test asks of the bucket */
    enum act act;
    enum s3_outcome outcome;
};
struct exchange { /* what the server must see, and its answer */
    const char *method;
    const char *query; /* what the query begins with */
    int status;        /* 0: keeps silent until the client is gone */
    const char *body;
    const char *header[2];     /* one header of the answer */
    const char *has_header[2]; /* of the request: name, what its value holds; or "" for not there */
    size_t body_len;           /* of the request */
};
struct play {
    const struct op *ops;
    const struct exchange *exchanges;
    size_t op_count, exchange_count, op, exchange;
    size_t size;           /* of the object */
    size_t single_put_max; /* 0: a mebibyte */
    bool rotates;          /* new credentials are written when the first are refused */

    struct platform *platform;
    struct net_server *server;
    struct net_budget budget;
    struct credentials *credentials;
    struct bucket *bucket;
    struct bucket_request request;
    struct net_request *silent;
    struct pf_timer timer;
    uint8_t *content;
    struct fm_slice content_slice;
    char folder[64];
    char access_path[96], secret_path[96], state_path[96];
    const char *wanted; /* the last body; NULL: any */
    struct fm_buf body; /* of the last get or list */
};

#define ERROR(code) "<Error><Code>" code "</Code><Message>m</Message></Error>"
#define BEGUN                                                                                      \
    "<InitiateMultipartUploadResult><UploadId>u+1</UploadId></InitiateMultipartUploadResult>"
#define NO_UPLOADS "<ListMultipartUploadsResult></ListMultipartUploadsResult>"

#define COMPLETED                                                                                  \
    "<CompleteMultipartUploadResult>"                                                              \
    "<ETag>e</ETag>"                                                                               \
    "</CompleteMultipartUploadResult>"

#define HASH_OF_100_X "09ecb6ebc8bcefc733f6f2ec44f791abeed6a99edf0cc31519637898aebd52d8"
#define ETAG                                                                                       \
    {                                                                                              \
        "etag", "\"p\""                                                                            \
    }

static void play_next(struct play *play);

static void play_write(struct play *play, const char *path, const char *text)
{
    assert_ok(pf_replace_file(play->platform, path, fm_slice_text(text), NULL));
}

static void play_check_request(const struct net_request_view *view, const struct exchange *exchange)
{
    assert_true(fm_slice_equal_text(view->method, exchange->method));
    if (exchange->has_header[0] && strcmp(exchange->has_header[0], ":control") == 0) {
        assert_true(fm_slice_equal_text(view->path, "/traces/control/t/b/x"));
        return;
    }
    assert_true(fm_slice_equal_text(view->path, "/traces/t/b/x"));
    size_t len = exchange->query ? strlen(exchange->query) : 0;
    if (view->query.len < len || (len == 0 && view->query.len) ||
        memcmp(view->query.ptr, exchange->query ? exchange->query : "", len) != 0)
        fail_msg("query %.*s instead of %s", (int)view->query.len, (const char *)view->query.ptr,
                 exchange->query);
    if (exchange->body_len)
        assert_int_equal(view->body.len, exchange->body_len);
    struct fm_slice value = {0};
    assert_ok(http_header_find(view->headers, view->header_count, "authorization", &value));
    if (!exchange->has_header[0])
        return;
    int rc = http_header_find(view->headers, view->header_count, exchange->has_header[0], &value);
    if (exchange->has_header[1][0]) {
        assert_ok(rc);
        assert_non_null(
            memmem(value.ptr, value.len, exchange->has_header[1], strlen(exchange->has_header[1])));
    } else {
        assert_int_equal(rc, FM_NONE);
    }
}

static void play_check_listing(const struct net_request_view *view, const struct exchange *exchange)
{
    size_t len = strlen(exchange->query);
    assert_true(fm_slice_equal_text(view->path, "/traces"));
    if (view->query.len < len || memcmp(view->query.ptr, exchange->query, len) != 0)
        fail_msg("query %.*s instead of %s", (int)view->query.len, (const char *)view->query.ptr,
                 exchange->query);
}

static void play_on_request(void *self, struct net_request *request)
{
    struct play *play = self;
    const struct net_request_view *view = net_request_view(request);
    if (play->exchange == play->exchange_count)
        fail_msg("nothing more was expected: %.*s ?%.*s", (int)view->method.len, view->method.ptr,
                 (int)view->query.len, view->query.ptr);
    const struct exchange *exchange = &play->exchanges[play->exchange++];
    if (view->query.len && strstr(exchange->query ? exchange->query : "", "prefix="))
        play_check_listing(view, exchange);
    else
        play_check_request(view, exchange);
    if (exchange->status == 0) {
        play->silent = request;
        return;
    }
    if (play->rotates && exchange->status == 403) {
        play_write(play, play->access_path, "SECOND\n");
        play_write(play, play->secret_path, "other\n");
    }
    struct http_header header = {
        fm_slice_text(exchange->header[0] ? exchange->header[0] : "x-nothing"),
        fm_slice_text(exchange->header[1] ? exchange->header[1] : "0"),
    };
    struct net_response response = {
        .status = exchange->status,
        .headers = &header,
        .header_count = 1,
        .body = fm_slice_text(exchange->body ? exchange->body : ""),
    };
    net_respond(request, &response);
}

/* ---- the bucket's side ---- */

static void play_open_bucket(struct play *play)
{
    struct bucket_s3_options options = {
        .endpoint = {.region = "us-east-1", .bucket = "traces"},
        .credentials = play->credentials,
        .control_prefix = "/control/",
        .single_put_max = play->single_put_max ? play->single_put_max : FM_MIB(1),
        .part_bytes = 1000,
        .timeout_ns = 30 * FM_NS_PER_S,
        .state_dir = play->state_path,
    };
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", net_server_port(play->server));
    assert_ok(s3_endpoint_parse(fm_slice_text(url), &options.endpoint, NULL));
    assert_ok(bucket_s3_new(&play->bucket, play->platform, &options, NULL));
}

static void play_on_server_closed(void *self)
{
    uv_platform_stop(((struct play *)self)->platform);
}

static void play_on_done(struct bucket_request *request)
{
    struct play *play = request->self;
    enum s3_outcome expected = play->ops[play->op].outcome;
    if (request->outcome != expected)
        fail_msg("op %zu: %s (%s) instead of %s", play->op, s3_outcome_text(request->outcome),
                 request->why.text, s3_outcome_text(expected));
    assert_true(request->outcome == S3_DONE || request->why.text[0]);
    fm_buf_fini(&play->body);
    play->body = request->body;
    if (play->silent) {
        const struct net_response response = {.status = 200};
        net_respond(fm_take(play->silent), &response);
    }
    play->op++;
    play_next(play);
}

static void play_on_timer(struct pf_timer *timer)
{
    struct play *play = FM_CONTAINER(timer, struct play, timer);
    pf_timer_stop(play->platform, timer);
    if (play->op < play->op_count && play->ops[play->op].act == CANCEL &&
        play->request.body_private) {
        if (play->silent)
            play->bucket->ops->cancel(play->bucket, &play->request);
        else
            pf_timer_start(play->platform, timer, FM_NS_PER_MS); /* it did not arrive yet */
        return;
    }
    play_next(play);
}

static void play_start(struct play *play, enum act act)
{
    play->request = (struct bucket_request){.key = "t/b/x",
                                            .source = fm_source_memory(&play->content_slice),
                                            .create_only = act == CREATE,
                                            .want_body = act == GET,
                                            .body_max = 1000,
                                            .done = play_on_done,
                                            .self = play};
    play->request.is_control = act == CONTROL;
    if (act == LIST) {
        play->request.key = "t/b/";
        play->request.list_after = "b";
        play->bucket->ops->list(play->bucket, &play->request);
    } else if (act == GET || act == HEAD)
        play->bucket->ops->get(play->bucket, &play->request);
    else
        play->bucket->ops->put(play->bucket, &play->request);
    if (act == CANCEL && play->exchange_count)
        pf_timer_start(play->platform, &play->timer, 0);
    else if (act == CANCEL)
        play->bucket->ops->cancel(play->bucket, &play->request);
}

static void play_next(struct play *play)
{
    if (play->op == play->op_count) {
        play->bucket = play->bucket->ops->free(play->bucket);
        credentials_stop(play->credentials);
        net_server_close(play->server, 0, play_on_server_closed, play);
        return;
    }
    enum act act = play->ops[play->op].act;
    if (act == REOPEN) {
        (void)play->bucket->ops->free(play->bucket);
        play_open_bucket(play);
        play->op++;
        pf_timer_start(play->platform, &play->timer, 0);
        return;
    }
    play_start(play, act);
}

static void play_make_files(struct play *play)
{
    (void)snprintf(play->folder, sizeof play->folder, "/tmp/fermata-test-s3-%d", (int)getpid());
    (void)snprintf(play->access_path, sizeof play->access_path, "%s/access", play->folder);
    (void)snprintf(play->secret_path, sizeof play->secret_path, "%s/secret", play->folder);
    (void)snprintf(play->state_path, sizeof play->state_path, "%s/state", play->folder);
    assert_ok(pf_make_path(play->platform, play->folder, NULL));
    play_write(play, play->access_path, "FIRST\n");
    play_write(play, play->secret_path, "  secret\n");
    play->content = malloc(play->size);
    memset(play->content, 'x', play->size);
    play->content_slice = fm_slice(play->content, play->size);
}

static void play_run(struct play *play)
{
    assert_ok(uv_platform_new(&play->platform, 1, 1));
    play->size = play->size ? play->size : 100;
    play_make_files(play);
    play->budget.bytes_max = FM_MIB(64);
    struct net_server_options options = {
        .name = "s3",
        .endpoint = "127.0.0.1:0",
        .limits = http_limits_default,
        .connection_max = 16,
        .head_timeout_ns = 10 * FM_NS_PER_S,
        .body_timeout_ns = 10 * FM_NS_PER_S,
        .idle_timeout_ns = 10 * FM_NS_PER_S,
        .budget = &play->budget,
        .on_request = play_on_request,
        .self = play,
    };
    assert_ok(net_server_open(&play->server, play->platform, &options, NULL));
    const struct credentials_options keys = {.auth = CREDENTIALS_STATIC,
                                             .access_key_file = play->access_path,
                                             .secret_key_file = play->secret_path};
    assert_ok(credentials_new(&play->credentials, play->platform, &keys, NULL));
    play_open_bucket(play);
    play->timer.fire = play_on_timer;
    pf_timer_start(play->platform, &play->timer, 0);
    uv_platform_run(play->platform);
    (void)credentials_free(play->credentials);
    assert_int_equal(play->exchange, play->exchange_count);
    assert_ok(pf_remove_tree(play->platform, play->folder, NULL));
    pf_timer_stop(play->platform, &play->timer);
    uv_platform_free(play->platform);
    if (play->wanted)
        assert_true(fm_slice_equal_text(fm_buf_slice(&play->body), play->wanted));
    fm_buf_fini(&play->body);
    free(play->content);
}

#define RUN(...)                                                                                   \
    do {                                                                                           \
        struct play play = {.ops = ops,                                                            \
                            .op_count = FM_COUNT(ops),                                             \
                            .exchanges = exchanges,                                                \
                            .exchange_count = FM_COUNT(exchanges),                                 \
                            __VA_ARGS__};                                                          \
        play_run(&play);                                                                           \
    } while (0)

/* ---- tests ---- */

static void test_plain_operations(void **state)
{
    (void)state;
    static const struct op ops[] = {
        {GET, S3_ABSENT}, {PUT, S3_DONE}, {CREATE, S3_EXISTS}, {HEAD, S3_DONE}, {GET, S3_DONE},
    };
    static const struct exchange exchanges[] = {
        {"GET", NULL, 404, ERROR("NoSuchKey"), .has_header = {"if-none-match", ""}},
        {"PUT", NULL, 200, NULL, .has_header = {"x-amz-content-sha256", HASH_OF_100_X},
         .body_len = 100},
        {"PUT", NULL, 412, ERROR("PreconditionFailed"), .has_header = {"if-none-match", "*"}},
        {"HEAD", NULL, 200, NULL, .has_header = {"x-amz-content-sha256", "e3b0c44298fc1c14"}},
        {"GET", NULL, 200, "content", .has_header = {"range", ""}},
    };
    RUN(.single_put_max = 0);
}

static void test_failures_are_told_as_they_are(void **state)
{
    (void)state;
    static const struct op ops[] = {
        {PUT, S3_SLOW_DOWN}, {PUT, S3_AMBIGUOUS}, {PUT, S3_NO_BUCKET}, {PUT, S3_REFUSED},
        {PUT, S3_CONFLICT},  {GET, S3_TRANSIENT}, {GET, S3_REFUSED},
    };
    static char long_body[1101];
    memset(long_body, 'x', 1100);
    const struct exchange exchanges[] = {
        {"PUT", NULL, 503, ERROR("SlowDown"), .header = {"retry-after", "7"}},
        {"PUT", NULL, 500, ERROR("InternalError")},
        {"PUT", NULL, 404, ERROR("NoSuchBucket")},
        {"PUT", NULL, 405, ERROR("MethodNotAllowed")},
        {"PUT", NULL, 409, ERROR("ConditionalRequestConflict")},
        {"GET", NULL, 500, ERROR("InternalError")},
        {"GET", NULL, 200, long_body}, /* larger than asked for */
    };
    RUN(.single_put_max = 0);
}

static void test_refused_credentials_are_read_again_once(void **state)
{
    (void)state;
    static const struct op ops[] = {{PUT, S3_DONE}, {PUT, S3_AUTH}};
    static const struct exchange exchanges[] = {
        {"PUT", NULL, 403, ERROR("InvalidAccessKeyId"), .has_header = {"authorization", "FIRST/"}},
        {"PUT", NULL, 200, NULL, .has_header = {"authorization", "SECOND/"}},
        {"PUT", NULL, 403, ERROR("AccessDenied")},
        {"PUT", NULL, 403, ERROR("AccessDenied")},
    };
    RUN(.rotates = true);
}

#define LISTED(more, inner)                                                                        \
    "<ListBucketResult><IsTruncated>" more "</IsTruncated>" inner "</ListBucketResult>"
#define NAMED(name) "<Contents><Key>t/b/" name "</Key><Size>1</Size></Contents>"

static void test_lists_page_by_page(void **state)
{
    (void)state;
    static const struct op ops[] = {{LIST, S3_DONE},
                                    {LIST, S3_DONE},
                                    {LIST, S3_TRANSIENT},
                                    {LIST, S3_TRANSIENT},
                                    {LIST, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"GET", "delimiter=%2F&list-type=2&prefix=t%2Fb%2F&start-after=t%2Fb%2Fb", 200,
         LISTED("true", NAMED("c") "<NextContinuationToken>n+1</NextContinuationToken>")},
        /* What is not asked for is left out: names before, deeper ones, those of others. */
        {"GET", "continuation-token=n%2B1&delimiter=%2F&list-type=2&prefix=t%2Fb%2F", 200,
         LISTED("false", NAMED("a") NAMED("b") NAMED("d/e")
                             NAMED("f") "<Contents><Key>t/x</Key></Contents>")},
        {"GET", "delimiter=%2F&list-type=2&prefix=", 200, LISTED("false", "")},
        {"GET", "delimiter=%2F&list-type=2&prefix=", 200, "<ListBucketResult>"},
        {"GET", "delimiter=%2F&list-type=2&prefix=", 200,
         LISTED("true", "<NextContinuationToken>n</NextContinuationToken>")},
        {"GET", "continuation-token=n&delimiter=%2F&list-type=2&prefix=", 200,
         LISTED("true", "<NextContinuationToken>n</NextContinuationToken>")},
        {"GET", "delimiter=%2F&list-type=2&prefix=", 200, LISTED("false", NAMED("c") NAMED("f"))},
    };
    RUN(.wanted = "c\nf\n");
}

static void test_control_keys_are_beside(void **state)
{
    (void)state;
    static const struct op ops[] = {{CONTROL, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"PUT", NULL, 200, NULL, .has_header = {":control", ""}},
    };
    RUN(.single_put_max = 0);
}

static void test_a_region_is_learned(void **state)
{
    (void)state;
    static const struct op ops[] = {
        {PUT, S3_DONE}, {HEAD, S3_DONE}, {PUT, S3_REDIRECT}, {PUT, S3_REDIRECT}};
    static const struct exchange exchanges[] = {
        {"PUT", NULL, 400,
         "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
         .has_header = {"authorization", "/us-east-1/"}},
        {"PUT", NULL, 200, NULL, .has_header = {"authorization", "/eu-west-1/"}},
        {"HEAD", NULL, 200, NULL, .has_header = {"authorization", "/eu-west-1/"}},
        {"PUT", NULL, 301, NULL, .header = {"x-amz-bucket-region", "us-west-2"}},
        {"PUT", NULL, 301, NULL, .header = {"x-amz-bucket-region", "us-west-1"}}, /* once only */
        {"PUT", NULL, 307, NULL, .header = {"location", "http://169.254.169.254/"}},
    };
    RUN(.single_put_max = 0);
}

static void test_without_conditional_writes_a_head_goes_first(void **state)
{
    (void)state;
    static const struct op ops[] = {{CREATE, S3_DONE}, {CREATE, S3_EXISTS}, {PUT, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"PUT", NULL, 501, ERROR("NotImplemented"), .has_header = {"if-none-match", "*"}},
        {"HEAD", NULL, 404},
        {"PUT", NULL, 200, NULL, .has_header = {"if-none-match", ""}},
        {"HEAD", NULL, 200},
        {"PUT", NULL, 200, NULL, .has_header = {"if-none-match", ""}},
    };
    RUN(.single_put_max = 0);
}

static void test_multipart(void **state)
{
    (void)state;
    static const struct op ops[] = {{PUT, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"GET", "prefix=t%2Fb%2Fx&uploads=", 200,
         "<ListMultipartUploadsResult><Upload><Key>t/b/x</Key><UploadId>old</UploadId></Upload>"
         "<Upload><Key>t/b/xy</Key><UploadId>other</UploadId></Upload>"
         "</ListMultipartUploadsResult>"},
        {"DELETE", "uploadId=old", 204},
        {"POST", "uploads=", 200, BEGUN},
        {"PUT", "partNumber=1&uploadId=u%2B1", 200, NULL, ETAG, .body_len = 1000},
        {"PUT", "partNumber=2&uploadId=u%2B1", 200, NULL, ETAG, .body_len = 1000},
        {"PUT", "partNumber=3&uploadId=u%2B1", 200, NULL, ETAG, .body_len = 500},
        {"POST", "uploadId=u%2B1", 200, COMPLETED},
    };
    RUN(.size = 2500, .single_put_max = 2000);
}

static void test_multipart_resumes_after_a_restart(void **state)
{
    (void)state;
    static const struct op ops[] = {{PUT, S3_TRANSIENT}, {REOPEN, S3_DONE}, {PUT, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"GET", "prefix=", 200, NO_UPLOADS},
        {"POST", "uploads=", 200, BEGUN},
        {"PUT", "partNumber=1&", 200, NULL, ETAG},
        {"PUT", "partNumber=2&", 500, ERROR("InternalError")},
        {"GET", "uploadId=u%2B1", 200,
         "<ListPartsResult><IsTruncated>true</IsTruncated>"
         "<NextPartNumberMarker>1</NextPartNumberMarker><Part><PartNumber>1</PartNumber>"
         "<ETag>p</ETag><Size>1000</Size></Part></ListPartsResult>"},
        {"GET", "part-number-marker=1&uploadId=u%2B1", 200,
         "<ListPartsResult><Part><PartNumber>3</PartNumber><ETag>p</ETag><Size>499</Size></Part>"
         "</ListPartsResult>"}, /* of another size: sent again */
        {"PUT", "partNumber=2&", 200, NULL, ETAG, .body_len = 1000},
        {"PUT", "partNumber=3&", 200, NULL, ETAG, .body_len = 500},
        {"POST", "uploadId=", 200, COMPLETED},
    };
    RUN(.size = 2500, .single_put_max = 2000);
}

static void test_multipart_that_is_gone_starts_over(void **state)
{
    (void)state;
    static const struct op ops[] = {{PUT, S3_TRANSIENT},
                                    {PUT, S3_AMBIGUOUS},
                                    {PUT, S3_CONFLICT},
                                    {PUT, S3_AMBIGUOUS},
                                    {HEAD, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"GET", "prefix=", 200, NO_UPLOADS},
        {"POST", "uploads=", 200, BEGUN},
        {"PUT", "partNumber=1&", 404, ERROR("NoSuchUpload")},
        /* begun again, since forgotten; completed, the answer an error in a 200 */
        {"GET", "prefix=", 403, ERROR("AccessDenied")}, /* may not list: goes on */
        {"GET", "prefix=", 403, ERROR("AccessDenied")},
        {"POST", "uploads=", 200, BEGUN},
        {"PUT", "partNumber=1&", 200, NULL, ETAG},
        {"PUT", "partNumber=2&", 200, NULL, ETAG},
        {"POST", "uploadId=", 200, ERROR("InternalError")},
        /* resumed; another writer won */
        {"GET", "uploadId=", 200,
         "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>p</ETag><Size>1000</Size></Part>"
         "<Part><PartNumber>2</PartNumber><ETag>p</ETag><Size>1000</Size></Part></"
         "ListPartsResult>"},
        {"POST", "uploadId=", 409, ERROR("ConditionalRequestConflict")},
        /* over again; the answer of the completion lost */
        {"GET", "prefix=", 200, NO_UPLOADS},
        {"POST", "uploads=", 200, BEGUN},
        {"PUT", "partNumber=1&", 200, NULL, ETAG},
        {"PUT", "partNumber=2&", 200, NULL, ETAG},
        {"POST", "uploadId=", 200, "<Complete"},
        /* the object is there: what was open is tidied up */
        {"HEAD", NULL, 200},
        {"DELETE", "uploadId=", 404, ERROR("NoSuchUpload")},
    };
    RUN(.size = 2000, .single_put_max = 1000);
}

static void test_multipart_unsupported(void **state)
{
    (void)state;
    static const struct op ops[] = {{PUT, S3_DONE}, {PUT, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"GET", "prefix=", 501, ERROR("NotImplemented")},
        {"POST", "uploads=", 501, ERROR("NotImplemented")},
        {"PUT", NULL, 200, NULL, .body_len = 2500},
        {"PUT", NULL, 200, NULL, .body_len = 2500},
    };
    RUN(.size = 2500, .single_put_max = 2000);
}

static void test_cancel(void **state)
{
    (void)state;
    static const struct op ops[] = {{CANCEL, S3_TRANSIENT}, {CANCEL, S3_TRANSIENT}, {GET, S3_DONE}};
    static const struct exchange exchanges[] = {
        {"PUT", NULL, 0}, {"PUT", NULL, 0}, {"GET", NULL, 200, "x"}};
    RUN(.single_put_max = 0);
}

static void test_cancel_before_anything_was_sent(void **state)
{
    (void)state;
    static const struct op ops[] = {{CANCEL, S3_TRANSIENT}};
    struct play play = {.ops = ops, .op_count = 1};
    play_run(&play);
}

static void test_options_that_cannot_work(void **state)
{
    (void)state;
    struct platform *platform = NULL;
    assert_ok(uv_platform_new(&platform, 1, 1));
    struct bucket *bucket = NULL;
    struct fm_why why;
    struct bucket_s3_options options = {.part_bytes = 0, .timeout_ns = 1};
    assert_int_equal(bucket_s3_new(&bucket, platform, &options, &why), FM_ECONFIG);
    options = (struct bucket_s3_options){.part_bytes = 1,
                                         .timeout_ns = 1,
                                         .endpoint.prefix = "blocks",
                                         .control_prefix = "blocks/control"};
    assert_int_equal(bucket_s3_new(&bucket, platform, &options, &why), FM_ECONFIG);
    assert_non_null(strstr(why.text, "below the prefix"));
    uv_platform_free(platform);
}

int main(void)
{
    log_setup((enum log_level)0, false, NULL); /* refusals are the point here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_operations),
        cmocka_unit_test(test_failures_are_told_as_they_are),
        cmocka_unit_test(test_refused_credentials_are_read_again_once),
        cmocka_unit_test(test_lists_page_by_page),
        cmocka_unit_test(test_control_keys_are_beside),
        cmocka_unit_test(test_a_region_is_learned),
        cmocka_unit_test(test_without_conditional_writes_a_head_goes_first),
        cmocka_unit_test(test_multipart),
        cmocka_unit_test(test_multipart_resumes_after_a_restart),
        cmocka_unit_test(test_multipart_that_is_gone_starts_over),
        cmocka_unit_test(test_multipart_unsupported),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_before_anything_was_sent),
        cmocka_unit_test(test_options_that_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
