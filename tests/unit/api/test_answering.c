/* SPDX-License-Identifier: Apache-2.0 */
/* answering, rpc - a question from a client to the engine and back, with a net and an engine that
 * only write down what they are told. */
#include "../../support/test.h"

#include "../../../src/daemon/api/answering.h"
#include "../../../src/daemon/api/routes.h"
#include "fermata/pb.h"
#include "fermata/uv.h"

/* ---- net ---- */

struct net_request {
    struct net_request_view view;
    void *user;
    void (*on_gone)(struct net_request *request);
    int status; /* answered, or begun */
    bool begun, ended;
    char grpc_status[8], grpc_message[128], content_type[64];
    struct fm_buf body;
    size_t unsent;
};

const struct net_request_view *net_request_view(const struct net_request *request)
{
    return &request->view;
}
void *net_request_user(const struct net_request *request)
{
    return request->user;
}
void net_request_set_user(struct net_request *request, void *user,
                          void (*on_gone)(struct net_request *request))
{
    request->user = user;
    request->on_gone = on_gone;
}

static void keep_headers(struct net_request *request, const struct http_header *headers,
                         size_t count)
{
    static const struct {
        const char *name;
        size_t offset, size;
    } rows[] = {
        {"grpc-status", offsetof(struct net_request, grpc_status), 8},
        {"grpc-message", offsetof(struct net_request, grpc_message), 128},
        {"content-type", offsetof(struct net_request, content_type), 64},
    };
    struct fm_slice value;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        if (http_header_find(headers, count, rows[i].name, &value) == FM_OK)
            (void)snprintf((char *)request + rows[i].offset, rows[i].size, "%.*s", (int)value.len,
                           (const char *)value.ptr);
    }
}

void net_respond(struct net_request *request, const struct net_response *response)
{
    assert_false(request->ended);
    request->ended = true;
    request->status = response->status;
    keep_headers(request, response->headers, response->header_count);
    keep_headers(request, response->trailers, response->trailer_count);
    fm_buf_put_slice(&request->body, response->body);
}
void net_respond_begin(struct net_request *request, const struct net_response *response)
{
    assert_false(request->begun || request->ended);
    request->begun = true;
    request->status = response->status;
    keep_headers(request, response->headers, response->header_count);
}
void net_respond_part(struct net_request *request, struct fm_slice bytes)
{
    assert_true(request->begun && !request->ended);
    fm_buf_put_slice(&request->body, bytes);
}
size_t net_respond_unsent(const struct net_request *request)
{
    return request->unsent;
}
void net_respond_end(struct net_request *request, const struct http_header *trailers, size_t count)
{
    assert_true(request->begun && !request->ended);
    request->ended = true;
    keep_headers(request, trailers, count);
}

/* ---- the engine ---- */

static struct query_ask *asked, *cancelled;

void query_ask_start(struct query_engine *engine, struct query_ask *ask)
{
    (void)engine;
    assert_null(asked);
    fm_buf_init(&ask->answer, FM_MIB(16));
    ask->why.text[0] = '\0';
    asked = ask;
}
void query_ask_cancel(struct query_engine *engine, struct query_ask *ask)
{
    (void)engine;
    cancelled = ask;
}
void query_trace_start(struct query_engine *engine, struct query_trace *query)
{
    (void)engine, (void)query;
    fail();
}
void query_put_metrics(const struct query_engine *engine, struct fm_buf *out)
{
    (void)engine, (void)out;
}
int tenants_resolve_request(const struct tenants *tenants, const struct net_request_view *view,
                            char ret_name[TENANT_LEN_MAX + 1], struct fm_why *why)
{
    (void)tenants, (void)view, (void)why;
    strcpy(ret_name, "single-tenant");
    return FM_OK;
}

static void engine_done(int rc, const char *why)
{
    struct query_ask *ask = fm_take(asked);
    if (why)
        (void)snprintf(ask->why.text, sizeof ask->why.text, "%s", why);
    ask->done(ask, rc);
}

/* count traces, the first of id 1. */
static struct query_found found_of(struct eval_trace *traces, uint32_t count, bool is_final)
{
    memset(traces, 0, count * sizeof *traces);
    for (uint32_t i = 0; i < count; i++) {
        fm_store_be32(traces[i].id.bytes + 12, i + 1);
        traces[i].start_ns = UINT64_C(1795221130000000000) - i;
    }
    return (struct query_found){.traces = traces,
                                .count = count,
                                .stats = {.job_count = 3, .jobs_done = 1},
                                .is_final = is_final};
}

static void engine_part(uint32_t count)
{
    struct eval_trace traces[16];
    struct query_found found = found_of(traces, count, false);
    struct fm_buf part;
    fm_buf_init(&part, FM_MIB(1));
    asked->render(asked, &found, &part);
    asked->on_part(asked, &part);
    fm_buf_fini(&part);
}

static void engine_final(uint32_t count)
{
    struct eval_trace traces[16];
    struct query_found found = found_of(traces, count, true);
    asked->render(asked, &found, &asked->answer);
}

/* ---- requests ---- */

static struct platform *platform;
static struct api *api;

static int group_setup(void **state)
{
    const struct api_options options = {.prefix = ""};
    (void)state;
    return uv_platform_new(&platform, 1, 1) < 0 ? -1 : api_new(&api, platform, &options);
}

static int group_teardown(void **state)
{
    (void)state;
    api = api_free(api);
    platform = uv_platform_free(platform);
    return 0;
}

static const struct http_header grpc_headers[] = {
    {{(const uint8_t *)"content-type", 12}, {(const uint8_t *)"application/grpc", 16}},
};

static void ask_rpc(struct net_request *request, const char *method, struct fm_slice message)
{
    static char path[128];
    static struct fm_buf framed;
    (void)snprintf(path, sizeof path, "/tempopb.StreamingQuerier/%s", method);
    *request = (struct net_request){.view = {.method = FM_SLICE("POST"),
                                             .path = fm_slice_text(path),
                                             .headers = grpc_headers,
                                             .header_count = 1,
                                             .is_h2 = true}};
    fm_buf_fini(&framed);
    fm_buf_init(&framed, FM_MIB(1));
    grpc_message_put(&framed, message);
    request->view.body = fm_buf_slice(&framed);
    fm_buf_init(&request->body, FM_MIB(16));
    api_on_request(api, request);
}

static void ask_http(struct net_request *request, const char *path, const char *query,
                     const struct http_header *accept)
{
    *request = (struct net_request){.view = {.method = FM_SLICE("GET"),
                                             .path = fm_slice_text(path),
                                             .query = fm_slice_text(query),
                                             .headers = accept,
                                             .header_count = accept ? 1 : 0}};
    fm_buf_init(&request->body, FM_MIB(16));
    api_on_request(api, request);
}

/* Messages in the body so far and traces in the last of them. */
static unsigned count_messages(const struct net_request *request, unsigned *ret_last)
{
    struct fm_slice rest = fm_buf_slice(&request->body);
    struct grpc_message message;
    struct pb_field field;
    unsigned count = 0;
    *ret_last = 0;
    while (grpc_message_next(&rest, FM_MIB(4), &message) == FM_OK) {
        count++;
        *ret_last = 0;
        while (pb_next(&message.bytes, &field) == FM_OK)
            *ret_last += field.number == 1;
    }
    return count;
}

/* ---- tests ---- */

static void test_parts_bring_what_is_new_and_the_end_everything(void **state)
{
    struct net_request request;
    unsigned last;
    (void)state;

    ask_rpc(&request, "Search", FM_SLICE("\x42\x02{}"));
    assert_non_null(asked);
    assert_true(asked->streams);
    assert_false(request.begun);
    engine_part(2);
    assert_int_equal(count_messages(&request, &last), 1);
    assert_int_equal(last, 2);
    engine_part(5);
    assert_int_equal(count_messages(&request, &last), 2);
    assert_int_equal(last, 3);
    engine_part(5);
    assert_int_equal(count_messages(&request, &last), 3);
    assert_int_equal(last, 0); /* progress only */
    request.unsent = FM_MIB(1);
    engine_part(7);
    assert_int_equal(count_messages(&request, &last), 3); /* the client does not read */
    engine_final(6);
    engine_done(FM_OK, NULL);
    assert_int_equal(count_messages(&request, &last), 4);
    assert_int_equal(last, 6);
    assert_int_equal(request.status, 200);
    assert_string_equal(request.grpc_status, "0");
    assert_true(request.ended);
    fm_buf_fini(&request.body);
}

static void test_failures_before_and_after_the_head(void **state)
{
    struct net_request request;
    unsigned last;
    (void)state;

    ask_rpc(&request, "Search", FM_SLICE("\x42\x02{}"));
    asked->is_text_wrong = true;
    engine_done(FM_EMALFORMED, "parse error at line 1, col 2: unknown identifier: foo");
    assert_false(request.begun);
    assert_string_equal(request.grpc_status, "3");
    assert_string_equal(
        request.grpc_message,
        "invalid TraceQL query: parse error at line 1, col 2: unknown identifier: foo");
    fm_buf_fini(&request.body);

    ask_rpc(&request, "Search", FM_SLICE("\x42\x02{}"));
    engine_part(1);
    engine_done(FM_ETIMEOUT, NULL);
    assert_int_equal(count_messages(&request, &last), 1);
    assert_true(request.begun && request.ended);
    assert_string_equal(request.grpc_status, "4");
    fm_buf_fini(&request.body);

    ask_rpc(&request, "Search", FM_SLICE("\x42\xff"));
    assert_null(asked);
    assert_string_equal(request.grpc_status, "3");
    fm_buf_fini(&request.body);
    ask_rpc(&request, "Nothing", FM_SLICE(""));
    assert_string_equal(request.grpc_status, "12");
    fm_buf_fini(&request.body);
}

static void test_a_client_that_leaves(void **state)
{
    struct net_request request;
    (void)state;

    ask_rpc(&request, "Search", FM_SLICE("\x42\x02{}"));
    engine_part(1);
    struct query_ask *ask = asked;
    request.on_gone(&request);
    assert_ptr_equal(cancelled, ask);
    engine_part(2); /* one that was under way */
    engine_done(FM_ECANCELLED, NULL);
    assert_true(request.ended);
    assert_string_equal(request.grpc_status, "1");
    fm_buf_fini(&request.body);
}

static void test_statuses_of_http(void **state)
{
    static const struct {
        int rc, status;
        const char *why, *body;
    } rows[] = {
        {FM_EMALFORMED, 400, "division by zero", "division by zero"},
        {FM_ELIMIT, 422, NULL, "the question exceeds a limit"},
        {FM_EUNAVAILABLE, 429, NULL, "too many queries at once"},
        {FM_ECANCELLED, 499, NULL, "context canceled"},
        {FM_ENOMEM, 503, NULL, "out of memory"},
        {FM_ETIMEOUT, 504, NULL, "context deadline exceeded"},
        {FM_EIO, 500, "disk", "disk"},
    };
    struct net_request request;
    (void)state;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        ask_http(&request, "/api/search", "q={}", NULL);
        assert_false(asked->streams);
        engine_done(rows[i].rc, rows[i].why);
        assert_int_equal(request.status, rows[i].status);
        assert_true(fm_slice_equal_text(fm_buf_slice(&request.body), rows[i].body));
        assert_string_equal(request.content_type, "text/plain; charset=utf-8");
        fm_buf_fini(&request.body);
    }
    ask_http(&request, "/api/search", "limit=0", NULL);
    assert_null(asked);
    assert_int_equal(request.status, 400);
    fm_buf_fini(&request.body);
}

static void test_accept(void **state)
{
    static const struct {
        const char *path, *accept, *type;
    } rows[] = {
        {"/api/search", NULL, "application/json"},
        {"/api/search", "*/*", "application/json"},
        {"/api/search", "application/json, application/protobuf;q=0.1", "application/protobuf"},
        {"/api/search", "application/vnd.grafana.llm", "application/json"},
        {"/api/metrics/query_range", "application/protobuf", "application/json"},
        {"/api/v2/search/tag/name/values", "application/vnd.grafana.llm",
         "application/vnd.grafana.llm+json"},
        {"/api/search/tag/name/values", "application/vnd.grafana.llm", "application/json"},
    };
    struct net_request request;
    (void)state;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        const struct http_header accept = {FM_SLICE("accept"),
                                           fm_slice_text(rows[i].accept ? rows[i].accept : "")};
        ask_http(&request, rows[i].path, "q={}", rows[i].accept ? &accept : NULL);
        engine_done(FM_OK, NULL);
        assert_int_equal(request.status, 200);
        assert_string_equal(request.content_type, rows[i].type);
        fm_buf_fini(&request.body);
    }
}

static void test_names_of_intrinsics(void **state)
{
    static const struct {
        const char *path, *query;
        bool with;
    } rows[] = {
        {"/api/search/tags", "", false},
        {"/api/search/tags", "scope=intrinsic", true},
        {"/api/v2/search/tags", "", true},
        {"/api/v2/search/tags", "scope=span", false},
        {"/api/v2/search/tags", "scope=intrinsic", true},
    };
    const struct fm_slice tags[] = {FM_SLICE("a.b")};
    const struct answer_scope scopes[] = {{"span", tags, 1}, {"intrinsic", tags, 1}};
    struct net_request request;
    (void)state;

    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        const struct query_found found = {.scopes = scopes, .count = 2, .is_final = true};
        ask_http(&request, rows[i].path, rows[i].query, NULL);
        asked->render(asked, &found, &asked->answer);
        engine_done(FM_OK, NULL);
        assert_non_null(memmem(request.body.ptr, request.body.len, "a.b", 3));
        assert_int_equal(memmem(request.body.ptr, request.body.len, "traceDuration", 13) != NULL,
                         rows[i].with);
        fm_buf_fini(&request.body);
    }
}

static void test_methods_and_paths(void **state)
{
    struct net_request request;
    (void)state;

    ask_http(&request, "/api/nothing", "", NULL);
    assert_int_equal(request.status, 404);
    fm_buf_fini(&request.body);
    request =
        (struct net_request){.view = {.method = FM_SLICE("PUT"), .path = FM_SLICE("/api/search")}};
    fm_buf_init(&request.body, 1024);
    api_on_request(api, &request);
    assert_int_equal(request.status, 405);
    fm_buf_fini(&request.body);
    request =
        (struct net_request){.view = {.method = FM_SLICE("HEAD"), .path = FM_SLICE("/api/echo")}};
    fm_buf_init(&request.body, 1024);
    api_on_request(api, &request);
    assert_int_equal(request.status, 200);
    fm_buf_fini(&request.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_bring_what_is_new_and_the_end_everything),
        cmocka_unit_test(test_failures_before_and_after_the_head),
        cmocka_unit_test(test_a_client_that_leaves),
        cmocka_unit_test(test_statuses_of_http),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_names_of_intrinsics),
        cmocka_unit_test(test_methods_and_paths),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
