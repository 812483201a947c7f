/* SPDX-License-Identifier: Apache-2.0 */
/* linux - production's disk, clock, service manager and process facts.  platform/linux. */
#ifndef FERMATA_LINUX_H
#define FERMATA_LINUX_H

#include "fermata/platform.h"

/* Fills the disk, clock and chance part of ops; timers and jobs are the loop's (uv.h). */
void linux_fill_ops(struct platform_ops *ops);
/* A platform without timers and jobs, for command-line tools.  Never freed. */
struct platform *linux_platform(void);

/* sd_notify(3) protocol over $NOTIFY_SOCKET, also abstract; silently nothing when unset. */
void linux_notify(const char *state);
uint64_t linux_watchdog_ns(void); /* from WATCHDOG_USEC for this pid, 0: off */

FM_MUST int linux_machine_id(uint8_t ret_id[16]); /* /etc/machine-id; FM_ENOTFOUND */
void linux_host_name(char *target, size_t size);
/* The start of a small file of /proc, /sys or /etc as text; 0 bytes if it cannot be read. */
size_t linux_read_text(const char *path, char *target, size_t size);
uint64_t linux_rss_bytes(void);    /* /proc/self/statm */
uint64_t linux_memory_limit(void); /* cgroup limit or RAM, the smaller */
uint64_t linux_cpu_ns(void);       /* user + system, this process */
uint32_t linux_open_files(void);
unsigned linux_processor_count(void); /* that this process may use; at least 1 */
/* How long the calling thread has been ready to run without a processor; 0: nobody tells. */
uint64_t linux_waited_ns(void);
bool linux_is_terminal(int fd);
unsigned linux_terminal_width(int fd); /* 80 if unknown */

/* Process hygiene after start: no core of secrets, no new privileges.  Best effort. */
void linux_harden(void);
/* A plain tuning of the allocator so that RSS follows use (M_ARENA_MAX, trim threshold). */
void linux_tune_allocator(void);
void linux_trim(void); /* malloc_trim */
/* The calling thread's disk accesses come after everybody else's; where the scheduler can. */
void linux_yield_disk(void);

#endif
