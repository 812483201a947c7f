/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks that a question is about: of the listing those that may have something in its window,
 * as their meta.json says; the newest, if they are too many. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define LIST_METAS_MAX 20000u /* that one question may look at */
#define LIST_SKEW_S    3600   /* spans that were later than the bucket's clock */

struct list_maker {
    struct bucket_reader *reader;
    struct bucket_listing *listing;
    struct bucket_budget *budget;
    struct fm_why *why;
    uint64_t start_ns, end_ns;
    struct bucket_item **items; /* owned; those that are left, newest first */
    size_t count;
    uint64_t damaged_count, left_out_count;
};

static bool rc_is_of_one_block(int rc)
{
    return rc == FM_ECORRUPT || rc == FM_EIO || rc == FM_EUNSUPPORTED || rc == FM_EMALFORMED;
}

/* FM_NONE: it is gone, which is no damage. */
static int list_read_meta(struct list_maker *maker, const struct block_id *id,
                          struct block_meta *ret_meta, struct block_dedicated *room)
{
    struct bucket_kept *kept;
    char key[BUCKET_KEY_MAX];
    bucket_key(key, maker->listing->tenant, id, "meta.json");
    int rc = bucket_object_find(maker->reader, BUCKET_META, key, BUCKET_META_MAX, maker->budget,
                                &kept, maker->why);
    if (rc == FM_ENOTFOUND)
        return FM_NONE;
    if (rc < 0)
        return rc == FM_ELIMIT && maker->budget->bytes_max == 0 ? FM_ECORRUPT : rc;
    rc = block_meta_parse_all(fm_slice(kept->bytes, kept->len), ret_meta, room, maker->why);
    bucket_kept_release(kept);
    return rc < 0 ? fm_wrap(maker->why, FM_ECORRUPT, "%s", key) : FM_OK;
}

/* By what is known without asking: whole, not compacted, not written before the window began. */
static void list_choose(struct list_maker *maker)
{
    struct bucket_listing *listing = maker->listing;
    for (size_t i = 0; i < listing->count; i++) {
        struct bucket_item *item = &listing->items[i];
        bool is_before = item->modified_s &&
                         (uint64_t)item->modified_s + LIST_SKEW_S < maker->start_ns / FM_NS_PER_S;
        if (item->has_meta && !item->is_compacted && !is_before)
            maker->items[maker->count++] = item;
    }
}

static int modified_compare(const void *a, const void *b)
{
    const struct bucket_item *left = *(struct bucket_item *const *)a;
    const struct bucket_item *right = *(struct bucket_item *const *)b;
    if (left->modified_s != right->modified_s)
        return left->modified_s > right->modified_s ? -1 : 1;
    return memcmp(&left->id, &right->id, sizeof left->id);
}

static int end_compare(const void *a, const void *b)
{
    const struct bucket_item *left = *(struct bucket_item *const *)a;
    const struct bucket_item *right = *(struct bucket_item *const *)b;
    uint64_t left_ns = metric_get(&left->end_ns), right_ns = metric_get(&right->end_ns);
    if (left_ns != right_ns)
        return left_ns > right_ns ? -1 : 1;
    return memcmp(&left->id, &right->id, sizeof left->id);
}

static void list_cut(struct list_maker *maker, size_t count_max,
                     int (*compare)(const void *a, const void *b))
{
    if (maker->count > 1)
        qsort(maker->items, maker->count, sizeof *maker->items, compare);
    if (maker->count <= count_max)
        return;
    maker->left_out_count += maker->count - count_max;
    maker->count = count_max;
}

static bool list_unread_key(void *self, size_t index, char key[BUCKET_KEY_MAX])
{
    const struct list_maker *maker = self;
    bucket_key(key, maker->listing->tenant, &maker->items[index]->id, "meta.json");
    return !metric_get(&maker->items[index]->end_ns);
}

static bool list_every_key(void *self, size_t index, char key[BUCKET_KEY_MAX])
{
    (void)list_unread_key(self, index, key);
    return true;
}

/* Times of those whose times are not known; without those that are gone or cannot be read. */
static int list_learn_times(struct list_maker *maker)
{
    size_t kept = 0;
    bucket_object_warm(maker->reader, BUCKET_META, BUCKET_META_MAX, maker->budget, maker->count,
                       list_unread_key, maker);
    for (size_t i = 0; i < maker->count; i++) {
        struct bucket_item *item = maker->items[i];
        struct block_meta meta;
        int rc = FM_OK;
        if (!metric_get(&item->end_ns)) {
            rc = list_read_meta(maker, &item->id, &meta, NULL);
            maker->damaged_count += rc_is_of_one_block(rc);
            if (rc < 0 && !rc_is_of_one_block(rc))
                return rc;
        }
        if (rc != FM_OK)
            continue;
        if (!metric_get(&item->end_ns)) {
            metric_set(&item->start_ns, meta.start_ns);
            metric_set(&item->end_ns, meta.end_ns);
        }
        maker->items[kept++] = item;
    }
    maker->count = kept;
    return FM_OK;
}

static void list_keep_window(struct list_maker *maker)
{
    size_t kept = 0;
    for (size_t i = 0; i < maker->count; i++) {
        struct bucket_item *item = maker->items[i];
        if (metric_get(&item->start_ns) <= maker->end_ns &&
            metric_get(&item->end_ns) >= maker->start_ns)
            maker->items[kept++] = item;
    }
    maker->count = kept;
}

static int list_fill(struct list_maker *maker, struct bucket_list **ret_list)
{
    struct bucket_list *list = calloc(1, sizeof *list + maker->count * sizeof list->blocks[0]);
    if (!list)
        return FM_ENOMEM;
    bucket_object_warm(maker->reader, BUCKET_META, BUCKET_META_MAX, maker->budget, maker->count,
                       list_every_key, maker);
    (void)snprintf(list->tenant, sizeof list->tenant, "%s", maker->listing->tenant);
    for (size_t i = 0; i < maker->count; i++) {
        struct bucket_block *block = &list->blocks[list->count];
        int rc = list_read_meta(maker, &maker->items[i]->id, &block->meta, block->dedicated);
        maker->damaged_count += rc_is_of_one_block(rc);
        if (rc < 0 && !rc_is_of_one_block(rc)) {
            free(list);
            return rc;
        }
        block->meta.id = maker->items[i]->id; /* what it is called decides where it is */
        memcpy(block->etag, maker->items[i]->etag, sizeof block->etag);
        list->count += rc == FM_OK;
    }
    list->damaged_count = maker->damaged_count;
    list->left_out_count = maker->left_out_count;
    *ret_list = list;
    return FM_OK;
}

int bucket_list_new(struct bucket_list **ret_list, struct bucket_reader *reader, const char *tenant,
                    uint64_t start_ns, uint64_t end_ns, struct bucket_budget *budget,
                    struct fm_why *why)
{
    struct list_maker maker = {
        .reader = reader, .budget = budget, .why = why, .start_ns = start_ns, .end_ns = end_ns};
    int rc = bucket_listing_find(reader, tenant, budget, &maker.listing, why);
    if (rc < 0)
        return rc;
    maker.items = calloc(maker.listing->count + 1, sizeof *maker.items);
    rc = maker.items ? FM_OK : FM_ENOMEM;
    if (rc == FM_OK) {
        list_choose(&maker);
        list_cut(&maker, LIST_METAS_MAX, modified_compare);
        rc = list_learn_times(&maker);
    }
    if (rc == FM_OK) {
        list_keep_window(&maker);
        list_cut(&maker, reader->block_max, end_compare);
        rc = list_fill(&maker, ret_list);
    }
    free(maker.items);
    bucket_listing_release(maker.listing);
    return rc;
}

struct bucket_list *bucket_list_free(struct bucket_list *list)
{
    free(list);
    return NULL;
}
