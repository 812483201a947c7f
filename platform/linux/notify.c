/* SPDX-License-Identifier: Apache-2.0 */
/* notify - the service manager's side: one datagram per state, and how often it wants to hear us.
 * Protocol: sd_notify(3), sd_watchdog_enabled(3). */
#include "fermata/linux.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void linux_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;

    if (len < 2 || len >= sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (*path == '@') /* abstract: a leading NUL, and no terminator counts */
        address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Wait for a busy service manager, as a lost READY=1 would end us; but not for ever. */
    struct timeval patience = {.tv_sec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*path == '/'));
    ssize_t sent;
    do { /* nobody could act on a failure; the watchdog will */
        sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    } while (sent < 0 && errno == EINTR);
    close(fd);
}

static uint64_t linux_env_number(const char *name)
{
    const char *text = getenv(name);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    return errno || *end ? 0 : value;
}

uint64_t linux_watchdog_ns(void)
{
    uint64_t usec = linux_env_number("WATCHDOG_USEC");

    if (getenv("WATCHDOG_PID") && linux_env_number("WATCHDOG_PID") != (uint64_t)getpid())
        return 0; /* meant for another process */
    return usec > UINT64_MAX / 1000 ? 0 : usec * 1000;
}
