/* SPDX-License-Identifier: Apache-2.0 */
/* The question to a proxy and its answer, whole, in pieces and broken; who we are to it. */
#include "../../support/test.h"

#include <stdio.h>
#include <unistd.h>

#include "../../../src/daemon/net/tunnel.h"
#include "fermata/linux.h"

static void test_places(void **state)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
        unsigned port;
    } rows[] = {
        {"proxy.example:3128", "proxy.example", 3128},
        {"http://10.0.0.1:80", "10.0.0.1", 80},
        {"[::1]:8080", "::1", 8080},
        {"https://proxy.example:443", NULL, 0},
        {"proxy.example", NULL, 0},
        {"proxy.example:0", NULL, 0},
        {":3128", NULL, 0},
        {"unix:/run/proxy", NULL, 0},
        {"", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct net_proxy proxy;
        struct fm_why why = {""};
        int rc = net_proxy_set(&proxy, rows[i].text, &why);
        if ((rc == FM_OK) != (rows[i].host != NULL))
            fail_msg("%s: %s", rows[i].text, why.text);
        if (rc < 0)
            continue;
        assert_string_equal(proxy.endpoint.host, rows[i].host);
        assert_int_equal(proxy.endpoint.port, rows[i].port);
        assert_string_equal(proxy.credentials, "");
    }
}

static void test_credentials(void **state)
{
    static const struct {
        const char *text, *credentials; /* NULL: refused */
    } rows[] = {
        {"Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617, 2 */
        {"a:b\r\n", "YTpi"},
        {"a:\n", "YTo="},
        {"\n", NULL},
        {"", NULL},
        {"nobody", NULL},
        {"a:b\nc", NULL},
        {"a:\x01", NULL},
    };
    char path[] = "/tmp/fermata-proxy-XXXXXX", text[600];
    struct net_proxy proxy;
    struct fm_why why;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_true(pwrite(fd, rows[i].text, strlen(rows[i].text), 0) ==
                    (ssize_t)strlen(rows[i].text));
        int rc = net_proxy_load(&proxy, linux_platform(), path, &why);
        assert_int_equal(rc, rows[i].credentials ? FM_OK : FM_ECONFIG);
        if (rc == FM_OK)
            assert_string_equal(proxy.credentials, rows[i].credentials);
        else if (strlen(rows[i].text) > 1)
            assert_null(strstr(why.text, rows[i].text)); /* it may be a secret */
    }
    for (size_t len = NET_PROXY_LINE_MAX; len <= NET_PROXY_LINE_MAX + 1; len++) {
        memset(text, 'x', sizeof text);
        text[1] = ':';
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_true(pwrite(fd, text, len, 0) == (ssize_t)len);
        assert_int_equal(net_proxy_load(&proxy, linux_platform(), path, &why),
                         len > NET_PROXY_LINE_MAX ? FM_ELIMIT : FM_OK);
    }
    close(fd);
    unlink(path);
    assert_int_equal(net_proxy_load(&proxy, linux_platform(), path, &why), FM_ENOTFOUND);
}

static void test_question(void **state)
{
    struct tunnel tunnel = {.proxy.credentials = ""};
    (void)state;
    assert_true(fm_slice_equal_text(tunnel_begin(&tunnel, "tempo.example", 4317),
                                    "CONNECT tempo.example:4317 HTTP/1.1\r\n"
                                    "Host: tempo.example:4317\r\n\r\n"));
    memcpy(tunnel.proxy.credentials, "YTpi", 5);
    assert_true(fm_slice_equal_text(tunnel_begin(&tunnel, "::1", 1),
                                    "CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\n"
                                    "Proxy-Authorization: Basic YTpi\r\n\r\n"));
    char host[254];
    memset(host, 'h', sizeof host - 1);
    host[sizeof host - 1] = '\0';
    memset(tunnel.proxy.credentials, 'Y', sizeof tunnel.proxy.credentials - 1);
    tunnel.proxy.credentials[sizeof tunnel.proxy.credentials - 1] = '\0';
    struct fm_slice longest = tunnel_begin(&tunnel, host, 65535);
    assert_int_equal(memcmp(longest.ptr + longest.len - 4, "\r\n\r\n", 4), 0);
}

static int answer(struct fm_slice bytes, size_t piece)
{
    struct tunnel tunnel = {.is_set = false};
    struct fm_why why;
    int rc = FM_MORE;
    for (size_t at = 0; at < bytes.len && rc == FM_MORE; at += piece)
        rc =
            tunnel_on_bytes(&tunnel, fm_slice(bytes.ptr + at, FM_MIN(piece, bytes.len - at)), &why);
    return rc;
}

static void answer_any(void *self, struct fm_slice bytes)
{
    (void)self;
    (void)answer(bytes, 3);
}

static void answer_not_yet(void *self, struct fm_slice bytes)
{
    (void)self;
    assert_int_equal(answer(bytes, 5), FM_MORE);
}

static void test_answers(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", FM_OK},
        {"HTTP/1.0 204 \r\n\r\n", FM_OK},
        {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", FM_EUNAVAILABLE},
        {"HTTP/1.1 302 Found\r\n\r\n", FM_EUNAVAILABLE},
        {"HTTP/2 200\r\n\r\n", FM_EMALFORMED},
        {"HTTP/1.1 2\r\n\r\n", FM_EMALFORMED},
        {"HTTP/1.1 2000 ok\r\n\r\n", FM_EMALFORMED},
        {"220 mail.example ESMTP\r\n\r\n", FM_EMALFORMED},
        {"\r\n\r\n", FM_EMALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < FM_COUNT(rows); i++) {
        struct fm_slice text = fm_slice_text(rows[i].text);
        for (size_t piece = 1; piece <= text.len; piece++)
            assert_int_equal(answer(text, piece), rows[i].rc);
    }
    struct fm_slice good = fm_slice_text(rows[0].text);
    test_each_prefix(good, answer_not_yet, NULL);
    test_each_bit_flip(good, answer_any, NULL);
    /* Bytes of the server's before it was asked, and a head without an end. */
    assert_int_equal(answer(FM_SLICE("HTTP/1.1 200 ok\r\n\r\nearly"), 100), FM_EMALFORMED);
    char endless[5000];
    memset(endless, 'x', sizeof endless);
    assert_int_equal(answer(fm_slice(endless, sizeof endless), 1000), FM_EMALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
