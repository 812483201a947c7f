/* SPDX-License-Identifier: Apache-2.0 */
/* The chain against an instance's service in this process: order, expiry, refusals, ends. */
#include "../../support/test.h"

#include <unistd.h>

#include "fermata/credentials.h"
#include "fermata/net.h"
#include "fermata/units.h"
#include "fermata/uv.h"

struct play {
    struct platform *platform;
    struct net_server *server;
    struct net_budget budget;
    struct credentials *credentials;
    struct credentials_wait waits[2];
    struct pf_timer timer;
    unsigned asked, given; /* requests; of these for keys */
    unsigned done;         /* waits */
    int life_s;            /* of what is given; 0: it does not expire */
    bool is_silent;
    struct net_request *held;
    void (*step)(struct play *play);
};
static char endpoint_text[64]; /* what the environment says */
static const char *access_text;

static const char *environment(const char *name)
{
    if (strcmp(name, "AWS_EC2_METADATA_SERVICE_ENDPOINT") == 0)
        return endpoint_text;
    if (strcmp(name, "AWS_ACCESS_KEY_ID") == 0)
        return access_text;
    if (strcmp(name, "AWS_SECRET_ACCESS_KEY") == 0)
        return access_text ? "secret" : NULL;
    return NULL;
}

static void play_answer(struct net_request *request, struct fm_slice body)
{
    const struct net_response response = {.status = 200, .body = body};
    net_respond(request, &response);
}

static void play_give(struct play *play, struct net_request *request)
{
    struct fm_buf body;
    fm_buf_init(&body, 1024);
    fm_buf_printf(&body, "{\"Code\":\"Success\",\"AccessKeyId\":\"A%u\",\"SecretAccessKey\":\"S\"",
                  ++play->given);
    if (play->life_s) {
        fm_buf_puts(&body, ",\"Expiration\":\"");
        fm_rfc3339_print(&body, pf_wall_ns(play->platform) / FM_NS_PER_S * FM_NS_PER_S +
                                    (uint64_t)play->life_s * FM_NS_PER_S);
        fm_buf_puts(&body, "\"");
    }
    fm_buf_puts(&body, "}");
    play_answer(request, fm_buf_slice(&body));
    fm_buf_fini(&body);
}

static void play_on_request(void *self, struct net_request *request)
{
    struct play *play = self;
    struct fm_slice path = net_request_view(request)->path;
    play->asked++;
    if (play->is_silent)
        play->held = request;
    else if (fm_slice_equal_text(path, "/latest/api/token"))
        play_answer(request, FM_SLICE("TOKEN"));
    else if (path.ptr[path.len - 1] == '/')
        play_answer(request, FM_SLICE("role\nother"));
    else
        play_give(play, request);
}

static void play_on_closed(void *self)
{
    uv_platform_stop(((struct play *)self)->platform);
}

static void play_end(struct play *play)
{
    const struct net_response response = {.status = 500};
    credentials_stop(play->credentials);
    pf_timer_stop(play->platform, &play->timer);
    if (play->held)
        net_respond(fm_take(play->held), &response);
    net_server_close(play->server, 0, play_on_closed, play);
}

static void play_on_wait(struct credentials_wait *wait)
{
    struct play *play = wait->self;
    play->done++;
    play->step(play);
}

static void play_run(struct play *play, enum credentials_auth auth, void (*step)(struct play *play))
{
    assert_ok(uv_platform_new(&play->platform, 1, 1));
    play->budget.bytes_max = FM_MIB(4);
    play->step = step;
    const struct net_server_options options = {
        .name = "instance",
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
    (void)snprintf(endpoint_text, sizeof endpoint_text, "http://127.0.0.1:%u/",
                   net_server_port(play->server));
    const struct credentials_options chain = {.auth = auth, .environment = environment};
    assert_ok(credentials_new(&play->credentials, play->platform, &chain, NULL));
    for (size_t i = 0; i < FM_COUNT(play->waits); i++) {
        play->waits[i] = (struct credentials_wait){.done = play_on_wait, .self = play};
        credentials_wait_start(play->credentials, &play->waits[i]);
    }
    if (play->timer.fire)
        pf_timer_start(play->platform, &play->timer, FM_NS_PER_MS);
    uv_platform_run(play->platform);
    (void)credentials_free(play->credentials);
    uv_platform_free(play->platform);
}

static void assert_access(const struct play *play, const char *access)
{
    struct s3_credentials keys;
    uint64_t generation;
    assert_true(credentials_get(play->credentials, &keys, &generation));
    assert_true(fm_slice_equal_text(keys.access_key, access));
}

/* ---- tests ---- */

static void step_environment(struct play *play)
{
    if (play->done < 2)
        return;
    assert_access(play, "AKIAENVIRONMENT");
    assert_int_equal(play->asked, 0);
    play_end(play);
}

static void test_the_first_source_wins(void **state)
{
    (void)state;
    struct play play = {0};
    access_text = "AKIAENVIRONMENT";
    play_run(&play, CREDENTIALS_AUTO, step_environment);
    access_text = NULL;
}

static void step_both(struct play *play)
{
    struct fm_arena arena;
    struct s3_credentials keys;
    uint64_t generation;
    if (play->done < 2)
        return;
    assert_access(play, "A1");
    assert_int_equal(play->asked, 3);
    fm_arena_init(&arena, FM_KIB(64));
    assert_true(credentials_copy(play->credentials, &arena, &keys, &generation));
    assert_true(fm_slice_equal_text(keys.access_key, "A1"));
    assert_true(credentials_report(play->credentials, generation + 1));
    assert_false(credentials_report(play->credentials, generation));
    fm_arena_fini(&arena);
    play_end(play);
}

static void test_one_look_for_all_who_wait(void **state)
{
    (void)state;
    struct play play = {.life_s = 3600};
    play_run(&play, CREDENTIALS_AUTO, step_both);
    assert_int_equal(play.done, 2);
}

static void step_expired(struct play *play)
{
    assert_int_equal(play->waits[0].rc, FM_EDENIED);
    assert_non_null(strstr(play->waits[0].why.text, "expired already"));
    if (play->done == 2)
        play_end(play);
}

static void test_keys_that_are_dead_on_arrival(void **state)
{
    (void)state;
    struct play play = {.life_s = -60};
    play_run(&play, CREDENTIALS_IMDS, step_expired);
}

/* A refusal asks once; a second one within the minute is told that there is nothing to wait for. */
static void step_refused(struct play *play)
{
    struct s3_credentials keys;
    uint64_t generation;
    assert_true(credentials_get(play->credentials, &keys, &generation));
    if (play->done == 2) {
        assert_true(credentials_renew(play->credentials, generation, &play->waits[0]));
    } else if (play->done == 3) {
        assert_access(play, "A2");
        assert_false(credentials_renew(play->credentials, generation, &play->waits[0]));
        /* Who was refused with older ones may go on at once. */
        assert_true(credentials_renew(play->credentials, generation - 1, &play->waits[0]));
    } else if (play->done == 4) {
        assert_int_equal(play->given, 2);
        play_end(play);
    }
}

static void test_refusals_ask_once_a_minute(void **state)
{
    (void)state;
    struct play play = {.life_s = 3600};
    play_run(&play, CREDENTIALS_IMDS, step_refused);
    assert_int_equal(play.done, 4);
}

static void step_never(struct play *play)
{
    (void)play;
    fail();
}

static void play_on_timer(struct pf_timer *timer)
{
    struct play *play = FM_CONTAINER(timer, struct play, timer);
    if (!play->held) {
        pf_timer_start(play->platform, timer, FM_NS_PER_MS);
        return;
    }
    credentials_wait_stop(&play->waits[0]);
    credentials_wait_stop(&play->waits[1]);
    play_end(play);
}

static void test_an_end_in_the_middle(void **state)
{
    (void)state;
    struct play play = {.is_silent = true, .timer.fire = play_on_timer};
    play_run(&play, CREDENTIALS_IMDS, step_never);
    assert_int_equal(play.asked, 1);
}

static void step_late(struct play *play)
{
    assert_int_equal(play->waits[0].rc, FM_EDENIED);
    assert_non_null(strstr(play->waits[0].why.text, "no answer in 2 s"));
    if (play->done == 2)
        play_end(play);
}

static void test_a_deadline(void **state)
{
    (void)state;
    struct play play = {.is_silent = true};
    play_run(&play, CREDENTIALS_IMDS, step_late);
}

static void test_options_that_cannot_work(void **state)
{
    (void)state;
    struct platform *platform = NULL;
    struct credentials *credentials = NULL;
    static const enum credentials_auth auths[] = {CREDENTIALS_STATIC, CREDENTIALS_WEB_IDENTITY,
                                                  CREDENTIALS_CONTAINER};
    assert_ok(uv_platform_new(&platform, 1, 1));
    for (size_t i = 0; i < FM_COUNT(auths); i++) {
        const struct credentials_options options = {.auth = auths[i]};
        assert_int_equal(credentials_new(&credentials, platform, &options, NULL), FM_ECONFIG);
    }
    const struct credentials_options half = {.access_key_file = "/x"};
    assert_int_equal(credentials_new(&credentials, platform, &half, NULL), FM_ECONFIG);
    uv_platform_free(platform);
}

int main(void)
{
    log_setup((enum log_level)0, false, NULL); /* failures are the point here */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_source_wins),
        cmocka_unit_test(test_one_look_for_all_who_wait),
        cmocka_unit_test(test_keys_that_are_dead_on_arrival),
        cmocka_unit_test(test_refusals_ask_once_a_minute),
        cmocka_unit_test(test_an_end_in_the_middle),
        cmocka_unit_test(test_a_deadline),
        cmocka_unit_test(test_options_that_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
