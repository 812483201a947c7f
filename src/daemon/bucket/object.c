/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small objects: meta.json and blooms, one when it is needed, or many before. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

int bucket_object_find(struct bucket_reader *reader, enum bucket_kind kind, const char *key,
                       size_t bytes_max, struct bucket_budget *budget,
                       struct bucket_kept **ret_kept, struct fm_why *why)
{
    struct bucket_kept *kept = bucket_cache_find(&reader->cache, kind, key);
    struct fm_buf body;
    int rc = FM_OK;

    if (!kept) {
        fm_buf_init(&body, bytes_max);
        rc = bucket_get_whole(reader, key, bytes_max, budget, &body, why);
        if (rc == FM_OK) {
            kept = bucket_cache_keep(&reader->cache, kind, key, fm_buf_slice(&body));
            rc = kept ? FM_OK : FM_ENOMEM;
        }
        fm_buf_fini(&body);
    }
    if (rc < 0)
        return rc;
    *ret_kept = kept;
    return FM_OK;
}

struct warming { /* one of those under way */
    struct bucket_get get;
    char key[BUCKET_KEY_MAX];
    bool is_busy;
};

static bool warming_end(struct warming *warming, struct bucket_reader *reader,
                        enum bucket_kind kind, struct bucket_budget *budget)
{
    int rc = bucket_get_end(&warming->get, reader, budget);
    if (rc == FM_OK)
        bucket_kept_release(bucket_cache_keep(&reader->cache, kind, warming->key,
                                              fm_buf_slice(&warming->get.body)));
    bucket_get_fini(&warming->get);
    warming->is_busy = false;
    return rc == FM_OK || rc == FM_ENOTFOUND || rc == FM_ECORRUPT || rc == FM_EIO;
}

static bool object_is_kept(struct bucket_reader *reader, enum bucket_kind kind, const char *key)
{
    struct bucket_kept *kept = bucket_cache_find(&reader->cache, kind, key);
    bucket_kept_release(kept);
    return kept != NULL;
}

void bucket_object_warm(struct bucket_reader *reader, enum bucket_kind kind, size_t bytes_max,
                        struct bucket_budget *budget, size_t count,
                        bool (*key_at)(void *self, size_t index, char key[BUCKET_KEY_MAX]),
                        void *self)
{
    struct warming *all =
        reader->dir || count < 2 ? NULL : calloc(BUCKET_TOGETHER_MAX, sizeof *all);
    bool goes_on = all != NULL; /* a directory is read as fast one by one */
    size_t begun = 0;

    for (size_t i = 0; i < count && goes_on; i++) {
        struct warming *warming = &all[begun % BUCKET_TOGETHER_MAX];
        char key[BUCKET_KEY_MAX];
        if (!key_at(self, i, key) || object_is_kept(reader, kind, key))
            continue;
        if (warming->is_busy)
            goes_on = warming_end(warming, reader, kind, budget);
        memcpy(warming->key, key, sizeof warming->key);
        warming->get = (struct bucket_get){.key = warming->key, .bytes_max = bytes_max};
        bucket_get_start(&warming->get, reader, budget);
        warming->is_busy = true;
        begun++;
    }
    for (size_t i = 0; all && i < BUCKET_TOGETHER_MAX; i++) {
        if (all[i].is_busy)
            (void)warming_end(&all[i], reader, kind, budget);
    }
    free(all);
}
