/* SPDX-License-Identifier: Apache-2.0 */
/* The buckets of Azure and Google against a server that follows a script: several requests at once,
 * one token for all of them, cancelling wherever a request may be, lists.  What an answer means is
 * tested in tests/unit/cloud, whole uploads in tests/system. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables say what matters */

#include "../../support/test.h"

#include "fermata/net.h"
#include "fermata/replicate_cloud.h"
#include "fermata/units.h"
#include "fermata/uv.h"

#define REQUESTS_MAX 3
#define TOKEN        "{\"token_type\":\"Bearer\",\"access_token\":\"t1\",\"expires_in\":3600}"

struct exchange {                      /* what the server must see, and its answer */
    const char *method, *path, *query; /* query: what it begins with; NULL: any */
    int status;                        /* 0: keeps silent until everything else is done */
    const char *body;
};
struct play {
    enum cloud_kind kind;
    enum cloud_auth auth;
    const struct exchange *exchanges;
    size_t exchange_count, exchange;
    size_t request_count, done_count;
    enum { PUT, LIST } act;
    bool cancels, is_control;
    const char *list_after;
    enum s3_outcome outcome;
    const char *names; /* of a list */

    struct platform *platform;
    struct net_server *server;
    struct net_budget budget;
    struct bucket *bucket;
    struct bucket_request requests[REQUESTS_MAX];
    struct net_request *silent[REQUESTS_MAX];
    size_t silent_count;
    struct pf_timer timer;
    struct fm_slice content;
};

static void play_answer(struct net_request *request, int status, const char *body)
{
    const struct net_response response = {.status = status, .body = fm_slice_text(body)};
    net_respond(request, &response);
}

static void play_on_request(void *self, struct net_request *request)
{
    struct play *play = self;
    const struct net_request_view *view = net_request_view(request);
    if (play->exchange == play->exchange_count)
        fail_msg("nothing more was expected: %.*s %.*s", (int)view->method.len, view->method.ptr,
                 (int)view->path.len, view->path.ptr);
    const struct exchange *exchange = &play->exchanges[play->exchange++];
    assert_true(fm_slice_equal_text(view->method, exchange->method));
    if (!fm_slice_equal_text(view->path, exchange->path))
        fail_msg("%.*s instead of %s", (int)view->path.len, view->path.ptr, exchange->path);
    if (exchange->query) {
        size_t len = strlen(exchange->query);
        if (view->query.len < len || memcmp(view->query.ptr, exchange->query, len) != 0)
            fail_msg("%.*s instead of %s", (int)view->query.len, view->query.ptr, exchange->query);
    }
    if (exchange->status)
        play_answer(request, exchange->status, exchange->body);
    else
        play->silent[play->silent_count++] = request;
}

static void play_on_server_closed(void *self)
{
    uv_platform_stop(((struct play *)self)->platform);
}

static void play_on_done(struct bucket_request *request)
{
    struct play *play = request->self;
    if (request->outcome != play->outcome)
        fail_msg("%s (%s) instead of %s", s3_outcome_text(request->outcome), request->why.text,
                 s3_outcome_text(play->outcome));
    if (play->names && !fm_slice_equal_text(fm_buf_slice(&request->body), play->names))
        fail_msg("%.*s", (int)request->body.len, request->body.ptr);
    fm_buf_fini(&request->body);
    if (++play->done_count < play->request_count)
        return;
    while (play->silent_count)
        play_answer(play->silent[--play->silent_count], 200, "");
    play->bucket = play->bucket->ops->free(play->bucket);
    net_server_close(play->server, 0, play_on_server_closed, play);
}

/* Cancels as soon as everything that was expected has been asked. */
static void play_on_timer(struct pf_timer *timer)
{
    struct play *play = FM_CONTAINER(timer, struct play, timer);
    pf_timer_stop(play->platform, timer);
    if (play->exchange < play->exchange_count) {
        pf_timer_start(play->platform, timer, FM_NS_PER_MS);
        return;
    }
    for (size_t i = 0; i < play->request_count; i++)
        play->bucket->ops->cancel(play->bucket, &play->requests[i]);
}

static void play_start(struct pf_timer *timer)
{
    struct play *play = FM_CONTAINER(timer, struct play, timer);
    pf_timer_stop(play->platform, timer);
    for (size_t i = 0; i < play->request_count; i++) {
        struct bucket_request *request = &play->requests[i];
        *request = (struct bucket_request){.key = play->act == LIST ? "t/" : "t/b/x",
                                           .is_control = play->is_control,
                                           .source = fm_source_memory(&play->content),
                                           .list_after = play->list_after,
                                           .done = play_on_done,
                                           .self = play};
        if (play->act == LIST)
            play->bucket->ops->list(play->bucket, request);
        else
            play->bucket->ops->put(play->bucket, request);
    }
    timer->fire = play_on_timer;
    if (play->cancels)
        pf_timer_start(play->platform, timer, 0);
}

static void play_open_bucket(struct play *play)
{
    char url[64];
    struct bucket_cloud_options options = {
        .place = {.kind = play->kind, .account = "account", .bucket = "traces", .prefix = "p"},
        .auth = play->auth,
        .token_url = url,
        .single_put_max = 1000,
        .block_bytes = 1000,
        .timeout_ns = 30 * FM_NS_PER_S,
    };
    (void)snprintf(options.place.control_prefix, sizeof options.place.control_prefix, "c");
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", net_server_port(play->server));
    assert_ok(cloud_place_set(&options.place, url, NULL));
    assert_ok(bucket_cloud_new(&play->bucket, play->platform, &options, NULL));
}

static void play_run(struct play *play)
{
    assert_ok(uv_platform_new(&play->platform, 1, 1));
    play->content = FM_SLICE("content");
    play->budget.bytes_max = FM_MIB(64);
    const struct net_server_options options = {
        .name = "cloud",
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
    play_open_bucket(play);
    play->timer.fire = play_start;
    pf_timer_start(play->platform, &play->timer, 0);
    uv_platform_run(play->platform);
    assert_int_equal(play->exchange, play->exchange_count);
    assert_int_equal(play->done_count, play->request_count);
    uv_platform_free(play->platform);
}

#define RUN(...)                                                                                   \
    do {                                                                                           \
        struct play play = {                                                                       \
            .exchanges = exchanges, .exchange_count = FM_COUNT(exchanges), __VA_ARGS__};           \
        play_run(&play);                                                                           \
    } while (0)

#define IMDS "/metadata/identity/oauth2/token"

/* ---- tests ---- */

static void test_one_token_for_all(void **state)
{
    (void)state;
    static const struct exchange exchanges[] = {
        {"GET", IMDS, "api-version=2018-02-01", 200, TOKEN},
        {"PUT", "/traces/p/t/b/x", NULL, 201, ""},
        {"PUT", "/traces/p/t/b/x", NULL, 201, ""},
        {"PUT", "/traces/p/t/b/x", NULL, 201, ""},
    };
    RUN(.auth = CLOUD_AUTH_MANAGED, .request_count = 3, .outcome = S3_DONE);
}

/* A refusal leads to one more token, and a second one is told as it is. */
static void test_refused_tokens(void **state)
{
    (void)state;
    static const struct exchange exchanges[] = {
        {"GET", IMDS, NULL, 200, TOKEN},
        {"PUT", "/traces/p/t/b/x", NULL, 401, ""},
        {"GET", IMDS, NULL, 200, TOKEN},
        {"PUT", "/traces/p/t/b/x", NULL, 401, ""},
    };
    RUN(.auth = CLOUD_AUTH_MANAGED, .request_count = 1, .outcome = S3_AUTH);
}

static void test_no_token(void **state)
{
    (void)state;
    static const struct exchange exchanges[] = {{"GET", IMDS, NULL, 429, "{}"}};
    RUN(.auth = CLOUD_AUTH_MANAGED, .request_count = 1, .outcome = S3_SLOW_DOWN);
}

static void test_cancelling_while_a_token_is_asked_for(void **state)
{
    (void)state;
    static const struct exchange exchanges[] = {{"GET", IMDS, NULL, 0, NULL}};
    RUN(.auth = CLOUD_AUTH_MANAGED, .request_count = 3, .cancels = true, .outcome = S3_TRANSIENT);
}

static void test_cancelling_a_put(void **state)
{
    (void)state;
    static const struct exchange exchanges[] = {{"POST", "/upload/storage/v1/b/traces/o",
                                                 "uploadType=multipart&name=p%2Ft%2Fb%2Fx", 0,
                                                 NULL}};
    RUN(.kind = CLOUD_GCS, .auth = CLOUD_AUTH_NONE, .request_count = 1, .cancels = true,
        .outcome = S3_TRANSIENT);
}

static void test_lists(void **state)
{
    (void)state;
    static const struct exchange azure[] = {
        {"GET", "/traces", "comp=list&maxresults=500&prefix=c%2Ft%2F&restype=container", 200,
         "<EnumerationResults><Blobs><Blob><Name>c/t/</Name></Blob><Blob><Name>c/t/a</Name></Blob>"
         "<Blob><Name>c/t/b</Name></Blob></Blobs><NextMarker>m</NextMarker></EnumerationResults>"},
        {"GET", "/traces", "comp=list&marker=m&", 200,
         "<EnumerationResults><Blobs><Blob><Name>c/t/c/d</Name></Blob></Blobs><NextMarker/>"
         "</EnumerationResults>"},
    };
    static const struct exchange gcs[] = {
        {"GET", "/storage/v1/b/traces/o", "prefix=p%2Ft%2F&startOffset=p%2Ft%2Fa&", 200,
         "{\"items\":[{\"name\":\"p/t/a\"},{\"name\":\"p/t/b\"}],\"nextPageToken\":\"n\"}"},
        {"GET", "/storage/v1/b/traces/o", NULL, 200, "{\"items\":[{\"name\":\"p/t/c/d\"}]}"},
    };
    static const struct exchange broken[] = {
        {"GET", "/storage/v1/b/traces/o", NULL, 200, "{\"items\":[{\"name\":"}};
    struct play play = {.kind = CLOUD_AZURE,
                        .act = LIST,
                        .is_control = true,
                        .list_after = "a",
                        .names = "b\nc/d\n",
                        .exchanges = azure,
                        .exchange_count = FM_COUNT(azure),
                        .request_count = 1};
    play_run(&play);
    play = (struct play){.kind = CLOUD_GCS,
                         .act = LIST,
                         .list_after = "a",
                         .names = "b\nc/d\n",
                         .exchanges = gcs,
                         .exchange_count = FM_COUNT(gcs),
                         .request_count = 1};
    play_run(&play);
    play = (struct play){.kind = CLOUD_GCS,
                         .act = LIST,
                         .exchanges = broken,
                         .exchange_count = FM_COUNT(broken),
                         .request_count = 1,
                         .outcome = S3_TRANSIENT};
    play_run(&play);
}

static void test_options_that_do_not_fit(void **state)
{
    (void)state;
    struct platform *platform = NULL;
    struct bucket *bucket = NULL;
    static const struct bucket_cloud_options bad[] = {
        {.auth = CLOUD_AUTH_SAS, .block_bytes = 1, .timeout_ns = 1},
        {.auth = CLOUD_AUTH_MANAGED, .secret_file = "/x", .block_bytes = 1, .timeout_ns = 1},
        {.auth = CLOUD_AUTH_WORKLOAD, .secret_file = "/x", .block_bytes = 1, .timeout_ns = 1},
        {.auth = CLOUD_AUTH_MANAGED, .token_url = "x", .block_bytes = 1, .timeout_ns = 1},
        {.auth = CLOUD_AUTH_NONE, .timeout_ns = 1},
        {.auth = CLOUD_AUTH_NONE, .block_bytes = 1},
    };
    assert_ok(uv_platform_new(&platform, 1, 1));
    for (size_t i = 0; i < FM_COUNT(bad); i++) {
        struct fm_why why = {""};
        assert_int_equal(bucket_cloud_new(&bucket, platform, &bad[i], &why), FM_ECONFIG);
        assert_true(why.text[0]);
    }
    uv_platform_free(platform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_token_for_all),
        cmocka_unit_test(test_refused_tokens),
        cmocka_unit_test(test_no_token),
        cmocka_unit_test(test_cancelling_while_a_token_is_asked_for),
        cmocka_unit_test(test_cancelling_a_put),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_options_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
