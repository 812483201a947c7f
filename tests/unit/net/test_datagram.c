/* SPDX-License-Identifier: Apache-2.0 */
/* The tools' datagrams against a socket of the test. */
#include "../../support/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fermata/net_datagram.h"
#include "fermata/uv.h"

static int receiver_open(struct net_endpoint *ret_endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_endpoint = (struct net_endpoint){.port = ntohs(address.sin_port)};
    strcpy(ret_endpoint->host, "127.0.0.1");
    return fd;
}

static void platform_end(struct platform *platform)
{
    uv_platform_stop(platform);
    uv_platform_run(platform);
    uv_platform_free(platform);
}

static void test_datagrams_arrive(void **state)
{
    (void)state;
    struct platform *platform;
    struct net_datagram *datagram;
    struct net_endpoint endpoint;
    struct fm_why why;
    static uint8_t large[65000], got[70000];

    assert_ok(uv_platform_new(&platform, 1, 1));
    int fd = receiver_open(&endpoint);
    assert_ok(net_datagram_open(&datagram, platform, &endpoint, &why));
    large[64999] = 'x';
    assert_ok(net_datagram_send(datagram, FM_SLICE("small")));
    assert_ok(net_datagram_send(datagram, fm_slice(large, sizeof large)));
    assert_int_equal(recv(fd, got, sizeof got, 0), 5);
    assert_memory_equal(got, "small", 5);
    assert_int_equal(recv(fd, got, sizeof got, 0), sizeof large);
    assert_memory_equal(got, large, sizeof large);
    static uint8_t too_large[65508];
    assert_int_equal(net_datagram_send(datagram, fm_slice(too_large, sizeof too_large)), FM_ELIMIT);
    net_datagram_free(datagram);
    (void)close(fd);
    platform_end(platform);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct platform *platform;
    struct net_datagram *datagram;
    struct net_endpoint endpoint;
    struct fm_why why;

    assert_ok(uv_platform_new(&platform, 1, 1));
    (void)close(receiver_open(&endpoint));
    assert_ok(net_datagram_open(&datagram, platform, &endpoint, &why));
    assert_ok(net_datagram_send(datagram, FM_SLICE("lost")));
    assert_int_equal(net_datagram_send(datagram, FM_SLICE("refused")), FM_EUNAVAILABLE);
    net_datagram_free(datagram);
    strcpy(endpoint.host, "host.invalid");
    assert_int_equal(net_datagram_open(&datagram, platform, &endpoint, &why), FM_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "host.invalid"));
    platform_end(platform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_datagrams_arrive),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
