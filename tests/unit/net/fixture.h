/* SPDX-License-Identifier: Apache-2.0 */
/* A server on a loop of its own thread; the test talks to it over blocking sockets.
 *
 * Paths: /echo answers the body, /hold answers when /release comes, /take takes the body away,
 * /big answers 4 MiB, /close asks to close, /stop ends the server. */
#ifndef TESTS_NET_FIXTURE_H
#define TESTS_NET_FIXTURE_H

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../support/test.h"

#include "fermata/net.h"
#include "fermata/uv.h"

#define MS UINT64_C(1000000)

struct fixture {
    struct net_server_options options;
    struct net_budget budget;
    pthread_t thread;
    sem_t ready;
    sem_t looked; /* posted by a test that has read the server's metrics, before it says /stop */
    struct platform *platform;
    struct net_server *server;
    uint64_t grace_ns;
    uint16_t port;
    int rc;
    struct fm_why why;
    struct net_request *held[16];
    size_t held_count;
    _Atomic unsigned requests, gone, held_now;
    struct fm_buf taken;
};

static void fixture_on_gone(struct net_request *request)
{
    struct fixture *fixture = net_request_user(request);
    fixture->gone++;
}

static void fixture_on_closed(void *self)
{
    struct fixture *fixture = self;
    uv_platform_stop(fixture->platform);
}

static void fixture_release(struct fixture *fixture)
{
    const struct net_response response = {.status = 200, .body = FM_SLICE("released")};
    while (fixture->held_count)
        net_respond(fixture->held[--fixture->held_count], &response);
    fixture->held_now = 0;
}

static void fixture_on_request(void *self, struct net_request *request)
{
    struct fixture *fixture = self;
    const struct net_request_view *view = net_request_view(request);
    static uint8_t big[4 << 20];
    struct net_response response = {.status = 200, .body = view->body};

    fixture->requests++;
    net_request_set_user(request, fixture, fixture_on_gone);
    if (fm_slice_equal_text(view->path, "/hold")) {
        fixture->held[fixture->held_count++] = request;
        fixture->held_now++;
        return;
    }
    if (fm_slice_equal_text(view->path, "/take")) {
        fm_buf_fini(&fixture->taken);
        fixture->taken = net_request_take_body(request);
    } else if (fm_slice_equal_text(view->path, "/big")) {
        response.body = fm_slice(big, sizeof big);
    } else if (fm_slice_equal_text(view->path, "/close")) {
        response.close = true;
    }
    bool stops = fm_slice_equal_text(view->path, "/stop");
    bool releases = fm_slice_equal_text(view->path, "/release");
    net_respond(request, &response);
    if (releases)
        fixture_release(fixture);
    if (stops)
        (void)sem_trywait(&fixture->looked); /* the order that the network makes, said aloud */
    if (stops)
        net_server_close(fixture->server, fixture->grace_ns, fixture_on_closed, fixture);
    if (stops && !fixture->grace_ns)
        fixture_release(fixture);
}

static void *fixture_thread(void *self)
{
    struct fixture *fixture = self;

    fixture->rc = uv_platform_new(&fixture->platform, 1, 1);
    if (fixture->rc == FM_OK)
        fixture->rc =
            net_server_open(&fixture->server, fixture->platform, &fixture->options, &fixture->why);
    if (fixture->rc == FM_OK)
        fixture->port = net_server_port(fixture->server);
    int rc = fixture->rc;
    sem_post(&fixture->ready);
    if (rc == FM_OK)
        uv_platform_run(fixture->platform);
    uv_platform_free(fixture->platform);
    return NULL;
}

static void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){
        .options = {.name = "test",
                    .endpoint = "127.0.0.1:0",
                    .connection_max = 100,
                    .head_timeout_ns = 10000 * MS,
                    .body_timeout_ns = 10000 * MS,
                    .idle_timeout_ns = 10000 * MS,
                    .on_request = fixture_on_request},
        .budget = {.bytes_max = FM_MIB(64)},
        .grace_ns = 2000 * MS,
    };
    fixture->options.limits = http_limits_default;
    fixture->options.budget = &fixture->budget;
    fixture->options.self = fixture;
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    sem_init(&fixture->ready, 0, 0);
    sem_init(&fixture->looked, 0, 0);
}

static void fixture_start(struct fixture *fixture)
{
    assert_int_equal(pthread_create(&fixture->thread, NULL, fixture_thread, fixture), 0);
    sem_wait(&fixture->ready);
    if (fixture->rc < 0)
        print_error("%s\n", fixture->why.text);
    assert_int_equal(fixture->rc, FM_OK);
}

/* ---- the peer ---- */

static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool send_bytes(int fd, struct fm_slice bytes)
{
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes = fm_slice(bytes.ptr + sent, bytes.len - (size_t)sent);
    }
    return true;
}

static void send_text(int fd, const char *text)
{
    assert_true(send_bytes(fd, fm_slice_text(text)));
}

/* Reads one response; status 0: the connection ended or said nothing for too long. */
struct answer {
    int status;
    bool close;
    struct fm_buf body;
};

static struct answer read_answer(int fd)
{
    struct answer answer = {0};
    char head[4096];
    size_t len = 0;

    fm_buf_init(&answer.body, FM_MIB(64));
    while (len + 1 < sizeof head && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0)) {
        if (recv(fd, head + len, 1, 0) != 1)
            return answer;
        len++;
    }
    head[len] = 0;
    answer.status = atoi(head + 9);
    answer.close = strstr(head, "connection: close") != NULL;
    const char *length = strstr(head, "content-length: ");
    size_t left = length ? strtoul(length + 16, NULL, 10) : 0;
    while (left) {
        uint8_t *room = fm_buf_room(&answer.body, left);
        ssize_t got = recv(fd, room, left, 0);
        if (got <= 0)
            break;
        answer.body.len += (size_t)got;
        left -= (size_t)got;
    }
    return answer;
}

static int read_status(int fd)
{
    struct answer answer = read_answer(fd);
    fm_buf_fini(&answer.body);
    return answer.status;
}

static bool peer_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

static void fixture_stop(struct fixture *fixture)
{
    int fd = dial(fixture->port);
    send_text(fd, "GET /stop HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)read_status(fd);
    close(fd);
    pthread_join(fixture->thread, NULL);
    sem_destroy(&fixture->ready);
    fm_buf_fini(&fixture->taken);
    assert_int_equal(metric_get(&fixture->budget.bytes_used), 0);
}

/* Waits until the loop's thread has counted that far. */
static inline void wait_for(const _Atomic unsigned *value, unsigned wanted)
{
    for (int i = 0; i < 5000 && *value < wanted; i++)
        usleep(1000);
    assert_true(*value >= wanted);
}

#endif
