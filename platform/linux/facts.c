/* SPDX-License-Identifier: Apache-2.0 */
/* facts - what this process and this machine say about themselves. */
#include "fermata/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

size_t linux_read_text(const char *path, char *target, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    target[0] = 0;
    if (fd < 0)
        return 0;
    while (len < size - 1) {
        ssize_t got = read(fd, target + len, size - 1 - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(fd);
    target[len] = 0;
    return len;
}

int linux_machine_id(uint8_t ret_id[16])
{
    char text[64];
    uint8_t id[16];
    size_t len = linux_read_text("/etc/machine-id", text, sizeof text);

    while (len && text[len - 1] == '\n')
        len--;
    if (fm_hex_decode(id, sizeof id, fm_slice(text, len)) < 0)
        return FM_ENOTFOUND; /* also "uninitialized", as in golden images */
    memcpy(ret_id, id, sizeof id);
    return FM_OK;
}

void linux_host_name(char *target, size_t size)
{
    if (gethostname(target, size))
        snprintf(target, size, "localhost");
    target[size - 1] = 0; /* a truncated name has no terminator */
}

uint64_t linux_rss_bytes(void)
{
    char text[128];
    unsigned long long total, resident;

    if (!linux_read_text("/proc/self/statm", text, sizeof text) ||
        sscanf(text, "%llu %llu", &total, &resident) != 2)
        return 0;
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The limit in one control file; "max" and v1's huge default are none. */
static uint64_t linux_limit_read(const char *path)
{
    char text[64], *end;

    if (!linux_read_text(path, text, sizeof text))
        return UINT64_MAX;
    uint64_t value = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : value;
}

/* The smallest limit from group up to the root of its hierarchy: a parent's holds for all below. */
static uint64_t linux_limit_of_group(const char *mount, char *group, const char *file)
{
    uint64_t limit = UINT64_MAX;
    char path[1024];

    for (;;) {
        int len = snprintf(path, sizeof path, "%s%s/%s", mount, group, file);
        if (len > 0 && (size_t)len < sizeof path) {
            uint64_t here = linux_limit_read(path);
            limit = FM_MIN(limit, here);
        }
        char *slash = strrchr(group, '/');
        if (!slash)
            return limit;
        *slash = 0;
    }
}

/* One line of /proc/self/cgroup: "0::/group" (v2) or "4:cpu,memory:/group" (v1). */
static uint64_t linux_limit_of_line(char *line)
{
    char *names = strchr(line, ':');
    char *group = names ? strchr(names + 1, ':') : NULL;

    if (!group)
        return UINT64_MAX;
    *group++ = 0;
    names++;
    if (!*names)
        return linux_limit_of_group("/sys/fs/cgroup", group, "memory.max");
    for (char *save, *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save))
        if (!strcmp(name, "memory"))
            return linux_limit_of_group("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    return UINT64_MAX;
}

uint64_t linux_memory_limit(void)
{
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char text[4096], *save;

    linux_read_text("/proc/self/cgroup", text, sizeof text);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        uint64_t here = linux_limit_of_line(line);
        limit = FM_MIN(limit, here);
    }
    return limit;
}

uint32_t linux_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint32_t count = 0;

    if (!dir)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count - 1; /* without the one that counted */
}

bool linux_is_terminal(int fd)
{
    return isatty(fd);
}

unsigned linux_terminal_width(int fd)
{
    struct winsize size = {0};

    if (ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col)
        return 80;
    return size.ws_col;
}
