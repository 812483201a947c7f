/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams in, in bunches: one recvmmsg takes what has arrived, the handler sees it as one array.
 *
 * While datagrams come one behind the other, the socket is read by the clock: the kernel's buffer
 * gathers for a moment, and the loop wakes once for many of them.  The moment ends while that
 * buffer, at the rate that was just seen, is still mostly empty.
 *
 * What the kernel had no room for is its counter, which comes with every datagram (SO_RXQ_OVFL) and
 * is asked for when somebody looks (SO_MEMINFO), since after a burst no datagram may follow.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sock_diag.h>

#include "fermata/net_udp.h"
#include "internal.h"

#define UDP_BUNCH           8u     /* datagrams of one call */
#define UDP_BUNCHES_TURN    64u    /* then others on the loop have their turn */
#define UDP_BUNCHES_CLOSING 16384u /* more than 8 MiB of the smallest datagrams */

#define UDP_WINDOW_NS    UINT64_C(10000000) /* a rate is seen over at least this */
#define UDP_SPARSE_NS    UINT64_C(2000000)  /* farther apart than this there is nothing to gather */
#define UDP_GATHER_MIN   UINT64_C(1000000)  /* the platform's timers do not tell less */
#define UDP_GATHER_MAX   UINT64_C(10000000)
#define UDP_SKB_OVERHEAD 1024u /* of a datagram in the kernel's buffer, besides doubling it */

union udp_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(uint32_t))];
};

struct net_udp {
    uv_poll_t poll; /* first: the handle is the object */
    int fd;
    struct net_udp_options options; /* its texts are borrowed */
    struct net_udp_metrics metrics;
    uint32_t drops_seen; /* the kernel's counter, modulo 2^32 */
    bool paused, closing;
    bool is_polled;
    struct platform *platform; /* borrowed */
    struct pf_timer gather;    /* runs: not polled */
    uint64_t gather_ns;        /* 0: every datagram as it comes */
    uint64_t window_ns;        /* begin of what is being counted */
    uint64_t window_bytes, window_count;
    void (*closed)(void *self);
    void *closed_self;
    uint8_t *memory; /* owned: UDP_BUNCH datagrams */
    struct mmsghdr messages[UDP_BUNCH];
    struct iovec slots[UDP_BUNCH];
    union udp_control controls[UDP_BUNCH];
    struct fm_slice datagrams[UDP_BUNCH];
};

/* ---- in ---- */

/* Reports of the same counter may come out of order; only what is ahead is new. */
static void udp_note_drops(struct net_udp *udp, uint32_t total)
{
    int32_t more = (int32_t)(total - udp->drops_seen);
    if (more <= 0)
        return;
    udp->drops_seen = total;
    metric_add(&udp->metrics.kernel_drops_total, (uint64_t)more);
}

static void udp_read_control(struct net_udp *udp, struct msghdr *header)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        uint32_t total;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
            continue;
        memcpy(&total, CMSG_DATA(c), sizeof total);
        udp_note_drops(udp, total);
    }
}

/* Takes one bunch; 0: nothing there, or the socket is gone. */
static unsigned udp_receive(struct net_udp *udp)
{
    size_t count = 0;
    uint64_t bytes = 0;
    int got;
    for (size_t i = 0; i < UDP_BUNCH; i++) {
        udp->messages[i].msg_hdr.msg_controllen = sizeof udp->controls[i];
        udp->messages[i].msg_hdr.msg_flags = 0;
    }
    do
        got = recvmmsg(udp->fd, udp->messages, UDP_BUNCH, MSG_DONTWAIT, NULL);
    while (got < 0 && errno == EINTR);
    for (int i = 0; i < got; i++) {
        struct mmsghdr *message = &udp->messages[i];
        udp_read_control(udp, &message->msg_hdr);
        bytes += message->msg_len;
        if (message->msg_hdr.msg_flags & MSG_TRUNC)
            metric_add(&udp->metrics.truncated_total, 1);
        else
            udp->datagrams[count++] = fm_slice(udp->slots[i].iov_base, message->msg_len);
    }
    if (got <= 0)
        return 0;
    metric_add(&udp->metrics.datagrams_total, (uint64_t)got);
    metric_add(&udp->metrics.bytes_total, bytes);
    udp->window_count += (uint64_t)got;
    udp->window_bytes += 2 * bytes + (uint64_t)got * UDP_SKB_OVERHEAD;
    if (count)
        udp->options.on_datagrams(udp->options.self, udp->datagrams, count);
    return (unsigned)got;
}

static void udp_on_readable(uv_poll_t *poll, int status, int events);

static void udp_poll(struct net_udp *udp, bool on)
{
    if (udp->is_polled == on)
        return;
    udp->is_polled = on;
    if (on)
        (void)uv_poll_start(&udp->poll, UV_READABLE, udp_on_readable); /* cannot fail when open */
    else
        (void)uv_poll_stop(&udp->poll);
}

/* How long the buffer may gather: until a quarter of it is filled, if that takes long enough and
 * enough comes meanwhile. */
static void udp_see_rate(struct net_udp *udp)
{
    uint64_t now_ns = pf_now_ns(udp->platform), elapsed_ns = now_ns - udp->window_ns;
    if (elapsed_ns < UDP_WINDOW_NS)
        return;
    udp->gather_ns = 0;
    if (elapsed_ns / UDP_SPARSE_NS <= udp->window_count) {
        uint64_t room = udp->metrics.buffer_bytes / 2; /* the kernel doubled what it granted */
        udp->gather_ns = FM_MIN(elapsed_ns * room / udp->window_bytes, UDP_GATHER_MAX);
    }
    if (udp->gather_ns < UDP_GATHER_MIN)
        udp->gather_ns = 0;
    udp->window_ns = now_ns;
    udp->window_bytes = udp->window_count = 0;
}

/* Reads what is there, then waits: for the timer, or for the next datagram. */
static void udp_read(struct net_udp *udp)
{
    unsigned got = UDP_BUNCH, total = 0;
    for (unsigned i = 0; i < UDP_BUNCHES_TURN && got == UDP_BUNCH; i++) {
        got = udp_receive(udp);
        total += got;
        if (udp->paused || udp->closing)
            return;
    }
    udp_see_rate(udp);
    bool gathers = udp->gather_ns && total && got < UDP_BUNCH;
    udp_poll(udp, !gathers);
    if (gathers)
        pf_timer_start(udp->platform, &udp->gather, udp->gather_ns);
}

static void udp_on_gathered(struct pf_timer *timer)
{
    udp_read(FM_CONTAINER(timer, struct net_udp, gather));
}

static void udp_on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error of the socket is an answer of recvmmsg */
    (void)events;
    udp_read((struct net_udp *)poll);
}

/* ---- opening ---- */

static void udp_ask_buffer(struct net_udp *udp)
{
    int wanted = (int)FM_MIN(udp->options.buffer_bytes, (uint64_t)INT32_MAX / 2), granted = 0;
    socklen_t len = sizeof granted;
    if (wanted && setsockopt(udp->fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) != 0)
        (void)setsockopt(udp->fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted); /* see below */
    if (getsockopt(udp->fd, SOL_SOCKET, SO_RCVBUF, &granted, &len) == 0)
        udp->metrics.buffer_bytes = (uint64_t)granted / 2; /* the kernel doubles what was asked */
    if (udp->metrics.buffer_bytes < (uint64_t)wanted)
        log_info("net.udp.buffer", "name=%s asked=%d granted=%llu", udp->options.name, wanted,
                 (unsigned long long)udp->metrics.buffer_bytes);
}

static int udp_resolve(const struct net_endpoint *endpoint, struct sockaddr_storage *ret_address,
                       struct fm_why *why)
{
    const char *host = endpoint->host[0] ? endpoint->host : "::";
    if (uv_ip4_addr(host, endpoint->port, (struct sockaddr_in *)ret_address) == 0 ||
        uv_ip6_addr(host, endpoint->port, (struct sockaddr_in6 *)ret_address) == 0)
        return FM_OK;
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[8];
    (void)snprintf(service, sizeof service, "%u", endpoint->port);
    int failure = getaddrinfo(host, service, &hints, &found);
    if (failure)
        return fm_fail(why, FM_EUNAVAILABLE, "%s: %s", host, gai_strerror(failure));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return FM_OK;
}

static int udp_bind(struct net_udp *udp, const struct net_endpoint *endpoint, struct fm_why *why)
{
    struct sockaddr_storage address = {0};
    const int on = 1;
    int rc = udp_resolve(endpoint, &address, why);
    if (rc < 0)
        return rc;
    for (;;) {
        bool is_v6 = address.ss_family == AF_INET6;
        udp->fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        socklen_t len = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (udp->fd >= 0 && bind(udp->fd, (struct sockaddr *)&address, len) == 0)
            break;
        int failure = errno;
        if (udp->fd >= 0)
            (void)close(udp->fd);
        udp->fd = -1;
        if (!is_v6 || endpoint->host[0] || failure == EADDRINUSE)
            return fm_fail(why, FM_EUNAVAILABLE, "%s: %s", udp->options.endpoint,
                           strerror(failure));
        /* ":port" on a host without IPv6 */
        (void)uv_ip4_addr("0.0.0.0", endpoint->port, (struct sockaddr_in *)&address);
    }
    (void)setsockopt(udp->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on); /* or SO_MEMINFO tells */
    udp_ask_buffer(udp);
    return FM_OK;
}

static int udp_make_slots(struct net_udp *udp)
{
    size_t size = udp->options.datagram_bytes_max;
    udp->memory = malloc(UDP_BUNCH * size);
    if (!udp->memory)
        return FM_ENOMEM;
    for (size_t i = 0; i < UDP_BUNCH; i++) {
        udp->slots[i] = (struct iovec){udp->memory + i * size, size};
        udp->messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &udp->slots[i], .msg_iovlen = 1, .msg_control = udp->controls[i].bytes};
    }
    return FM_OK;
}

static void udp_discard(struct net_udp *udp)
{
    if (udp->fd >= 0)
        (void)close(udp->fd);
    free(udp->memory);
    free(udp);
}

int net_udp_open(struct net_udp **ret_udp, struct platform *platform,
                 const struct net_udp_options *options, struct fm_why *why)
{
    struct net_endpoint endpoint;
    int rc = net_endpoint_parse(options->endpoint, &endpoint, why);
    if (rc < 0)
        return rc;
    if (endpoint.is_unix)
        return fm_fail(why, FM_ECONFIG, "datagrams come to host:port, not to a unix socket");
    struct net_udp *udp = calloc(1, sizeof *udp);
    if (!udp)
        return fm_fail(why, FM_ENOMEM, "no memory for a socket");
    udp->fd = -1;
    udp->options = *options;
    udp->platform = platform;
    udp->gather.fire = udp_on_gathered;
    rc = udp_make_slots(udp);
    if (rc < 0)
        rc = fm_fail(why, rc, "no memory for a socket");
    else
        rc = udp_bind(udp, &endpoint, why);
    int failure = rc < 0 ? 0 : uv_poll_init(uv_platform_loop(platform), &udp->poll, udp->fd);
    if (failure)
        rc = fm_fail(why, FM_EUNAVAILABLE, "poll: %s", uv_strerror(failure));
    if (rc < 0) {
        udp_discard(udp);
        return rc;
    }
    udp_poll(udp, true);
    *ret_udp = udp;
    return FM_OK;
}

uint16_t net_udp_port(const struct net_udp *udp)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(udp->fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return fm_load_be16(address.ss_family == AF_INET6
                            ? (const void *)&((struct sockaddr_in6 *)&address)->sin6_port
                            : (const void *)&((struct sockaddr_in *)&address)->sin_port);
}

const struct net_udp_metrics *net_udp_metrics(const struct net_udp *udp)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;
    bool has_drops = getsockopt(udp->fd, SOL_SOCKET, SO_MEMINFO, info, &len) == 0 &&
                     len > SK_MEMINFO_DROPS * sizeof info[0];
    if (has_drops)
        udp_note_drops((struct net_udp *)(uintptr_t)udp, info[SK_MEMINFO_DROPS]);
    return &udp->metrics;
}

void net_udp_pause(struct net_udp *udp, bool pause)
{
    if (udp->closing || udp->paused == pause)
        return;
    udp->paused = pause;
    pf_timer_stop(udp->platform, &udp->gather);
    udp_poll(udp, !pause);
}

/* ---- closing ---- */

static void udp_on_closed(uv_handle_t *handle)
{
    struct net_udp *udp = (struct net_udp *)handle;
    void (*closed)(void *self) = udp->closed;
    void *self = udp->closed_self;
    udp_discard(udp);
    closed(self);
}

void net_udp_close(struct net_udp *udp, void (*closed)(void *self), void *self)
{
    if (udp->closing)
        return;
    udp->closing = true;
    udp->closed = closed;
    udp->closed_self = self;
    pf_timer_stop(udp->platform, &udp->gather);
    udp_poll(udp, false);
    /* What has arrived is taken, also if we were pausing: its senders will not send it again. */
    for (unsigned i = 0; i < UDP_BUNCHES_CLOSING && udp_receive(udp) == UDP_BUNCH; i++)
        continue;
    uv_close((uv_handle_t *)&udp->poll, udp_on_closed);
}
