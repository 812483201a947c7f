/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what was decoded of blocks for one thread, as its seed would have it: mostly, and
 * sometimes it makes nothing, has no room or forgets. */
#ifndef TESTS_SUPPORT_KEEP_H
#define TESTS_SUPPORT_KEEP_H

#include <stdlib.h>
#include <string.h>

#include "fermata/block_keep.h"
#include "fermata/hash.h"

#define TEST_KEEP_MAX 256u

struct test_kept {
    struct block_id block;
    uint8_t what[256];
    size_t what_len;
    struct block_kept *kept; /* a reference */
};
struct test_keep {
    struct block_keep keep;
    struct test_kept kept[TEST_KEEP_MAX];
    size_t count;
    uint64_t state; /* 0: keeps all, always */
    uint64_t hits, made, refused, missed, given, released;
};

static inline bool test_keep_chance(struct test_keep *keep, uint32_t one_in)
{
    return keep->state && fm_random_next(&keep->state) % one_in == 0;
}

static inline void test_keep_release(struct block_keep *base, struct block_kept *kept)
{
    struct test_keep *keep = FM_CONTAINER(base, struct test_keep, keep);
    keep->released++;
    if (atomic_fetch_sub(&kept->refs, 1) == 1)
        free(kept);
}

static inline void test_keep_drop(struct test_keep *keep, size_t at)
{
    if (atomic_fetch_sub(&keep->kept[at].kept->refs, 1) == 1)
        free(keep->kept[at].kept);
    keep->kept[at] = keep->kept[--keep->count];
}

static inline struct test_kept *test_keep_look(struct test_keep *keep,
                                               const struct block_keep_key *key)
{
    for (size_t i = 0; i < keep->count; i++) {
        struct test_kept *kept = &keep->kept[i];
        if (memcmp(&kept->block, key->block, sizeof kept->block) == 0 &&
            kept->what_len == key->what.len &&
            memcmp(kept->what, key->what.ptr, key->what.len) == 0)
            return kept;
    }
    return NULL;
}

static inline int test_keep_find(struct block_keep *base, const struct block_keep_key *key,
                                 bool may_make, struct block_kept **ret_kept)
{
    struct test_keep *keep = FM_CONTAINER(base, struct test_keep, keep);
    if (keep->count && test_keep_chance(keep, 16))
        test_keep_drop(keep, (size_t)(fm_random_next(&keep->state) % keep->count));
    struct test_kept *found = test_keep_look(keep, key);
    if (!found)
        return may_make && !test_keep_chance(keep, 8) ? FM_MORE : FM_NONE;
    atomic_fetch_add(&found->kept->refs, 1);
    *ret_kept = found->kept;
    keep->hits++;
    keep->given++;
    return FM_OK;
}

static inline void test_keep_made(struct block_keep *base, const struct block_keep_key *key,
                                  struct block_kept *kept)
{
    struct test_keep *keep = FM_CONTAINER(base, struct test_keep, keep);
    keep->refused += !kept;
    keep->given += kept != NULL;
    if (!kept || key->what.len > sizeof keep->kept[0].what || test_keep_chance(keep, 8))
        return;
    if (keep->count == TEST_KEEP_MAX)
        test_keep_drop(keep, 0);
    struct test_kept *at = &keep->kept[keep->count++];
    *at = (struct test_kept){.block = *key->block, .what_len = key->what.len, .kept = kept};
    memcpy(at->what, key->what.ptr, key->what.len);
    atomic_fetch_add(&kept->refs, 1);
    keep->made++;
}

static inline void test_keep_missed(struct block_keep *base, const struct block_keep_key *key,
                                    unsigned part)
{
    struct test_keep *keep = FM_CONTAINER(base, struct test_keep, keep);
    FM_ASSERT(key->what.len && part <= BLOCK_KEEP_WHOLE);
    keep->missed++;
}

static inline void test_keep_init(struct test_keep *keep, size_t bytes_max, uint64_t seed)
{
    *keep = (struct test_keep){
        .keep = {test_keep_find, test_keep_made, test_keep_release, test_keep_missed, bytes_max},
        .state = seed};
}

/* Every reference must have been given back. */
static inline void test_keep_fini(struct test_keep *keep)
{
    FM_ASSERT(keep->given == keep->released);
    while (keep->count) {
        FM_ASSERT(atomic_load(&keep->kept[0].kept->refs) == 1);
        test_keep_drop(keep, 0);
    }
}

#endif
