/* SPDX-License-Identifier: Apache-2.0 */
/* process - hygiene after start, and an allocator whose footprint follows its use. */
#include "fermata/linux.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void linux_harden(void)
{
    struct rlimit none = {0, 0};

    /* Best effort, the unit file asks for the same: inside a container one may be refused. */
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* memory holds tokens and other people's data */
    (void)setrlimit(RLIMIT_CORE, &none);
}

void linux_tune_allocator(void)
{
    /* One arena for the loop, one shared by the lanes: glibc's default of eight per core keeps
     * the peak of each forever.  Request bodies (a few 100 KiB) come from the heap, where the next
     * one finds the last one's pages: as mappings of their own their faults cost a tenth of the
     * whole acknowledgement.  What is larger goes back to the system when freed. */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

unsigned linux_processor_count(void)
{
    cpu_set_t usable;

    if (sched_getaffinity(0, sizeof usable, &usable)) /* more than a set has room for */
        return (unsigned)FM_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
    return (unsigned)CPU_COUNT(&usable);
}

uint64_t linux_waited_ns(void)
{
    char text[96]; /* "RAN WAITED TURNS" */
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        (void)close(fd);
    text[FM_MAX(len, 0)] = '\0';
    const char *blank = strchr(text, ' ');
    return blank ? strtoull(blank, NULL, 10) : 0;
}

void linux_yield_disk(void)
{
    /* ioprio_set(2) has no wrapper: this thread, class "idle". */
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };

    (void)syscall(SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT);
}

void linux_trim(void)
{
    (void)malloc_trim(0);
}
