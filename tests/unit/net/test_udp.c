/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams on a loop of the test's own: in bunches, truncated, paused, dropped by the kernel. */
#include "../../support/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "fermata/net_udp.h"
#include "fermata/uv.h"

struct inbox {
    struct platform *platform;
    struct net_udp *udp;
    struct pf_timer ending;
    int sender;
    uint64_t count, bytes;
    uint8_t last[64];
    uint64_t wanted; /* datagrams; then the loop ends */
    bool pause_at_once, is_closed;
    struct pf_timer streaming; /* a datagram each time */
    uint64_t streamed;
};

static void inbox_on_datagrams(void *self, const struct fm_slice *datagrams, size_t count)
{
    struct inbox *inbox = self;
    inbox->count += count;
    for (size_t i = 0; i < count; i++) {
        inbox->bytes += datagrams[i].len;
        memcpy(inbox->last, datagrams[i].ptr, FM_MIN(datagrams[i].len, sizeof inbox->last));
    }
    if (inbox->pause_at_once)
        net_udp_pause(inbox->udp, true);
    if (inbox->count >= inbox->wanted)
        uv_stop(uv_platform_loop(inbox->platform));
}

static void inbox_on_ending(struct pf_timer *timer)
{
    uv_stop(uv_platform_loop(FM_CONTAINER(timer, struct inbox, ending)->platform));
}

static void inbox_on_closed(void *self)
{
    struct inbox *inbox = self;
    inbox->is_closed = true;
    uv_stop(uv_platform_loop(inbox->platform));
}

static void inbox_dial(struct inbox *inbox, int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(net_udp_port(inbox->udp))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    inbox->sender = socket(family, SOCK_DGRAM, 0);
    assert_true(inbox->sender >= 0);
    assert_int_equal(family == AF_INET6 ? connect(inbox->sender, (struct sockaddr *)&v6, sizeof v6)
                                        : connect(inbox->sender, (struct sockaddr *)&v4, sizeof v4),
                     0);
}

static int inbox_open(struct inbox *inbox, const char *endpoint, uint64_t buffer_bytes)
{
    const struct net_udp_options options = {.name = "test",
                                            .endpoint = endpoint,
                                            .datagram_bytes_max = 1000,
                                            .buffer_bytes = buffer_bytes,
                                            .on_datagrams = inbox_on_datagrams,
                                            .self = inbox};
    struct fm_why why;
    *inbox = (struct inbox){.sender = -1, .wanted = UINT64_MAX};
    inbox->ending.fire = inbox_on_ending;
    log_setup(LOG_LEVEL_ERROR, false, NULL);
    assert_ok(uv_platform_new(&inbox->platform, 1, 1));
    return net_udp_open(&inbox->udp, inbox->platform, &options, &why);
}

static void inbox_run(struct inbox *inbox, uint64_t milliseconds)
{
    pf_timer_start(inbox->platform, &inbox->ending, milliseconds * UINT64_C(1000000));
    uv_platform_run(inbox->platform);
    pf_timer_stop(inbox->platform, &inbox->ending);
}

static void inbox_close(struct inbox *inbox)
{
    net_udp_close(inbox->udp, inbox_on_closed, inbox);
    assert_false(inbox->is_closed);
    inbox_run(inbox, 5000);
    assert_true(inbox->is_closed);
    if (inbox->sender >= 0)
        close(inbox->sender);
    uv_platform_free(inbox->platform);
}

static void inbox_send(struct inbox *inbox, const char *text, size_t len)
{
    assert_int_equal(send(inbox->sender, text, len, 0), (ssize_t)len);
}

static void test_datagrams_arrive_whole(void **state)
{
    static const struct {
        const char *endpoint;
        int family;
    } rows[] = {{"127.0.0.1:0", AF_INET}, {"[::1]:0", AF_INET6}, {"localhost:0", AF_INET}};
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct inbox inbox;
        int rc = inbox_open(&inbox, rows[i].endpoint, FM_KIB(64));
        if (rc < 0) { /* a machine without IPv6 */
            uv_platform_free(inbox.platform);
            continue;
        }
        assert_int_not_equal(net_udp_port(inbox.udp), 0);
        inbox_dial(&inbox, rows[i].family);
        if (i == 2) { /* localhost may be either */
            inbox_close(&inbox);
            continue;
        }
        inbox.wanted = 100;
        for (int n = 0; n < 100; n++)
            inbox_send(&inbox, "hello", 5);
        inbox_run(&inbox, 5000);
        assert_int_equal(inbox.count, 100);
        assert_int_equal(inbox.bytes, 500);
        assert_memory_equal(inbox.last, "hello", 5);
        assert_int_equal(metric_get(&net_udp_metrics(inbox.udp)->datagrams_total), 100);
        assert_int_equal(metric_get(&net_udp_metrics(inbox.udp)->bytes_total), 500);
        assert_int_equal(metric_get(&net_udp_metrics(inbox.udp)->kernel_drops_total), 0);
        inbox_close(&inbox);
    }
}

static void test_long_ones_are_counted_and_not_given(void **state)
{
    (void)state;
    static char big[2000];
    struct inbox inbox;
    assert_ok(inbox_open(&inbox, "127.0.0.1:0", FM_KIB(64)));
    inbox_dial(&inbox, AF_INET);
    inbox.wanted = 2;
    inbox_send(&inbox, big, 1001);
    inbox_send(&inbox, big, 1000);
    inbox_send(&inbox, "", 0);
    inbox_run(&inbox, 5000);
    assert_int_equal(inbox.count, 2);
    assert_int_equal(inbox.bytes, 1000);
    assert_int_equal(metric_get(&net_udp_metrics(inbox.udp)->truncated_total), 1);
    inbox_close(&inbox);
}

static void test_pause_absorbs_then_the_kernel_drops(void **state)
{
    (void)state;
    static char text[500];
    struct inbox inbox;
    assert_ok(inbox_open(&inbox, "127.0.0.1:0", FM_KIB(64)));
    assert_true(net_udp_metrics(inbox.udp)->buffer_bytes >= FM_KIB(32));
    inbox_dial(&inbox, AF_INET);
    net_udp_pause(inbox.udp, true);
    for (int n = 0; n < 1000; n++)
        inbox_send(&inbox, text, sizeof text);
    inbox_run(&inbox, 20);
    assert_int_equal(inbox.count, 0);
    uint64_t dropped = metric_get(&net_udp_metrics(inbox.udp)->kernel_drops_total);
    assert_true(dropped > 0 && dropped < 1000); /* seen although nothing was read */
    net_udp_pause(inbox.udp, false);
    inbox.wanted = 1000 - dropped;
    inbox_run(&inbox, 5000);
    assert_int_equal(inbox.count, 1000 - dropped);
    assert_int_equal(metric_get(&net_udp_metrics(inbox.udp)->kernel_drops_total), dropped);
    inbox_close(&inbox);
}

static void test_pause_from_within_ends_the_turn(void **state)
{
    (void)state;
    struct inbox inbox;
    assert_ok(inbox_open(&inbox, "127.0.0.1:0", FM_KIB(64)));
    inbox_dial(&inbox, AF_INET);
    inbox.pause_at_once = true;
    for (int n = 0; n < 100; n++)
        inbox_send(&inbox, "x", 1);
    inbox_run(&inbox, 50);
    assert_true(inbox.count > 0 && inbox.count < 100);
    uint64_t before = inbox.count;
    inbox_run(&inbox, 20);
    assert_int_equal(inbox.count, before);
    inbox_close(&inbox); /* what had arrived is taken */
    assert_int_equal(inbox.count, 100);
}

static void inbox_on_streaming(struct pf_timer *timer)
{
    struct inbox *inbox = FM_CONTAINER(timer, struct inbox, streaming);
    inbox_send(inbox, "again", 5);
    inbox->streamed++;
    pf_timer_start(inbox->platform, timer, UINT64_C(1000000));
}

/* Read by the clock; pausing, going on and the end lose nothing of it. */
static void test_a_stream_is_gathered(void **state)
{
    (void)state;
    struct inbox inbox;
    assert_ok(inbox_open(&inbox, "127.0.0.1:0", FM_MIB(1)));
    inbox_dial(&inbox, AF_INET);
    inbox.streaming.fire = inbox_on_streaming;
    pf_timer_start(inbox.platform, &inbox.streaming, 0);
    inbox_run(&inbox, 200);
    assert_true(inbox.count > 0);
    net_udp_pause(inbox.udp, true);
    uint64_t before = inbox.count;
    inbox_run(&inbox, 50);
    assert_int_equal(inbox.count, before);
    net_udp_pause(inbox.udp, false);
    inbox_run(&inbox, 50);
    assert_true(inbox.count > before);
    pf_timer_stop(inbox.platform, &inbox.streaming);
    inbox_run(&inbox, 100); /* the last of them; then there is nothing to gather */
    assert_int_equal(inbox.count, inbox.streamed);
    inbox_send(&inbox, "alone", 5);
    inbox_run(&inbox, 100);
    assert_int_equal(inbox.count, inbox.streamed + 1);
    pf_timer_start(inbox.platform, &inbox.streaming, 0);
    inbox_run(&inbox, 50);
    pf_timer_stop(inbox.platform, &inbox.streaming);
    inbox_close(&inbox);
    assert_int_equal(inbox.count, inbox.streamed + 1);
}

static void test_failures_are_named(void **state)
{
    (void)state;
    struct inbox first;
    char endpoint[32];
    struct net_udp *second = NULL;
    struct fm_why why;
    assert_ok(inbox_open(&first, "127.0.0.1:0", 0));
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", net_udp_port(first.udp));
    struct net_udp_options options = {
        .name = "second", .endpoint = endpoint, .datagram_bytes_max = 1000};
    assert_int_equal(net_udp_open(&second, first.platform, &options, &why), FM_EUNAVAILABLE);
    assert_non_null(strstr(why.text, endpoint));
    options.endpoint = "unix:/tmp/x";
    assert_int_equal(net_udp_open(&second, first.platform, &options, &why), FM_ECONFIG);
    options.endpoint = "nonsense";
    assert_int_equal(net_udp_open(&second, first.platform, &options, &why), FM_ECONFIG);
    options.endpoint = "127.0.0.1:0";
    for (uint64_t nth = 1; nth <= 2; nth++) {
        test_alloc_fail_at(nth);
        assert_int_equal(net_udp_open(&second, first.platform, &options, &why), FM_ENOMEM);
        test_alloc_disarm();
    }
    assert_null(second);
    inbox_close(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_datagrams_arrive_whole),
        cmocka_unit_test(test_long_ones_are_counted_and_not_given),
        cmocka_unit_test(test_pause_absorbs_then_the_kernel_drops),
        cmocka_unit_test(test_pause_from_within_ends_the_turn),
        cmocka_unit_test(test_a_stream_is_gathered),
        cmocka_unit_test(test_failures_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
