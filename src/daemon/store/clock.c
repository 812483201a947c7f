/* SPDX-License-Identifier: Apache-2.0 */
/* clock - how old blocks are, whatever somebody does to the wall clock.
 *
 * Steady time equals the wall clock when a data directory is new, and from then on advances with
 * the time since boot: it never jumps, and it goes on while the machine is suspended.  A block
 * remembers the steady time at which it was sealed, and retention knows no other clock; so a wall
 * clock set ten years ahead deletes nothing, and one set back keeps nothing for ever.
 *
 * The file data_dir/clock says which wall time belonged to which steady time.  A restart takes the
 * difference for the time that the node was off, if it is not negative and at most 30 days; beyond
 * that nobody can tell an absence from a wrong clock, and no time passed since the file, or the
 * youngest block: what must not be deleted too early is kept too long.
 */
#include "internal.h"

#include <stdio.h>

#define CLOCK_ABSENCE_MAX_NS (30 * 86400 * FM_NS_PER_S)
#define CLOCK_JUMP_NS        (2 * FM_NS_PER_S) /* more than any slewing within a tick */
#define CLOCK_SAVE_NS        (600 * FM_NS_PER_S)
#define CLOCK_FILE_BYTES_MAX 128u

uint64_t clock_steady_ns(const struct store *store)
{
    return store->clock.base_steady_ns + pf_boot_ns(store->platform) - store->clock.base_boot_ns;
}

int store_parse_numbers(struct fm_slice text, uint64_t values[3])
{
    for (size_t i = 0; i < 3; i++) {
        size_t len = 0;
        while (len < text.len && text.ptr[len] != ' ' && text.ptr[len] != '\n')
            len++;
        if (len == text.len || fm_u64_parse(fm_slice(text.ptr, len), &values[i]) < 0)
            return FM_EMALFORMED;
        text = fm_slice(text.ptr + len + 1, text.len - len - 1);
    }
    return values[0] == 1 && values[1] <= INT64_MAX && values[2] <= INT64_MAX ? FM_OK
                                                                              : FM_EMALFORMED;
}

void clock_open(struct store *store)
{
    struct store_clock *clock = &store->clock;
    uint64_t wall_ns = pf_wall_ns(store->platform), steady_ns = wall_ns, values[3];
    char path[STORE_PATH_BYTES];
    struct fm_buf text;
    fm_buf_init(&text, CLOCK_FILE_BYTES_MAX);
    store_path(store, path, "clock");
    int rc = pf_read_file(store->platform, path, &text, NULL);
    if (rc == FM_OK)
        rc = store_parse_numbers(fm_buf_slice(&text), values);
    fm_buf_fini(&text);
    if (rc == FM_OK) {
        uint64_t saved_ns = values[2];
        steady_ns = values[1];
        uint64_t absent_ns = wall_ns > saved_ns ? wall_ns - saved_ns : 0;
        if (absent_ns <= CLOCK_ABSENCE_MAX_NS && wall_ns >= saved_ns)
            steady_ns += absent_ns;
        else
            log_warn("clock.implausible",
                     "was_s=%llu is_s=%llu blocks are taken for as old as when the node stopped",
                     (unsigned long long)(saved_ns / FM_NS_PER_S),
                     (unsigned long long)(wall_ns / FM_NS_PER_S));
    }
    clock->base_steady_ns = steady_ns;
    clock->base_boot_ns = clock->boot_ns = pf_boot_ns(store->platform);
    clock->now_ns = pf_now_ns(store->platform);
    clock->wall_ns = wall_ns;
    clock->must_save = true;
}

void clock_follow_blocks(struct store *store)
{
    struct store_clock *clock = &store->clock;
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next) {
        const struct block_entry *entry = FM_CONTAINER(link, struct block_entry, link);
        if (entry->has_steady_time)
            clock->base_steady_ns = FM_MAX(clock->base_steady_ns, entry->sealed_steady_ns);
    }
}

uint64_t clock_block_age_ns(const struct store *store, const struct block_entry *entry)
{
    uint64_t steady_ns = clock_steady_ns(store);
    return steady_ns - FM_MIN(entry->sealed_steady_ns, steady_ns);
}

static uint64_t clock_apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* Timers stand still while the machine is suspended; the records have become older. */
static void clock_age_heads(struct store *store, uint64_t suspended_ns)
{
    for (size_t i = 0; i < store->tenant_count; i++) {
        struct tenant *tenant = store->tenants[i];
        tenant->oldest_ns -= FM_MIN(suspended_ns, tenant->oldest_ns);
    }
    cut_soon(store);
}

void clock_tick(struct store *store)
{
    struct store_clock *clock = &store->clock;
    uint64_t boot_ns = pf_boot_ns(store->platform), now_ns = pf_now_ns(store->platform);
    uint64_t wall_ns = pf_wall_ns(store->platform);
    uint64_t awake_ns = now_ns - clock->now_ns, passed_ns = boot_ns - clock->boot_ns;
    uint64_t expected_ns = clock->wall_ns + passed_ns;
    if (passed_ns > awake_ns + CLOCK_JUMP_NS) {
        log_info("clock.suspended", "seconds=%llu",
                 (unsigned long long)((passed_ns - awake_ns) / FM_NS_PER_S));
        clock_age_heads(store, passed_ns - awake_ns);
    }
    if (clock_apart(wall_ns, expected_ns) > CLOCK_JUMP_NS) {
        metric_add(&store->metrics.clock_jumps, 1);
        log_warn("clock.jumped", "from_s=%llu to_s=%llu ages of blocks are not affected",
                 (unsigned long long)(expected_ns / FM_NS_PER_S),
                 (unsigned long long)(wall_ns / FM_NS_PER_S));
        clock->must_save = true;
    }
    if (clock_steady_ns(store) - clock->saved_ns >= CLOCK_SAVE_NS)
        clock->must_save = true;
    clock->boot_ns = boot_ns;
    clock->now_ns = now_ns;
    clock->wall_ns = wall_ns;
}

void clock_save(struct store *store)
{
    char path[STORE_PATH_BYTES], text[CLOCK_FILE_BYTES_MAX];
    uint64_t steady_ns = clock_steady_ns(store);
    store_path(store, path, "clock");
    (void)snprintf(text, sizeof text, "1 %llu %llu\n", (unsigned long long)steady_ns,
                   (unsigned long long)pf_wall_ns(store->platform));
    if (pf_replace_file(store->platform, path, fm_slice_text(text), NULL) == FM_OK)
        store->clock.saving_ns = steady_ns;
}
