/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks a tenant has.
 *
 * All keys below the tenant are listed, not the directories: the keys alone say whether a block is
 * whole or compacted, when it was written and what the version of its data is, which would
 * otherwise be several requests for each.  A listing is remembered for a while; what was read of a
 * block's times goes from one listing to the next. */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define LISTING_INDEX_MAX    FM_MIB(64)
#define LISTING_INDEX_AGE_NS (5 * 60 * FM_NS_PER_S)
#define LISTING_PAGES_MAX    2000u
#define LISTING_TOKEN_MAX    FM_KIB(4)

struct listing_maker {
    struct bucket_reader *reader;
    const char *tenant;
    struct bucket_budget *budget;
    struct fm_why *why;
    char lead[800]; /* what stands in front of a block's name */
    struct fm_buf items;
};

void bucket_key(char key[BUCKET_KEY_MAX], const char *tenant, const struct block_id *id,
                const char *object)
{
    char text[37];
    block_id_print(id, text);
    (void)snprintf(key, BUCKET_KEY_MAX, "%s/%s/%s", tenant, text, object);
}

/* ---- gathering ---- */

static struct bucket_item *maker_item(struct listing_maker *maker, const struct block_id *id)
{
    size_t count = maker->items.len / sizeof(struct bucket_item);
    struct bucket_item *items = (void *)maker->items.ptr;
    if (count && memcmp(&items[count - 1].id, id, sizeof *id) == 0)
        return &items[count - 1];
    fm_buf_put_zeros(&maker->items, sizeof *items);
    if (maker->items.failed)
        return NULL;
    items = (void *)maker->items.ptr;
    items[count].id = *id;
    return &items[count];
}

static void item_note(struct bucket_item *item, struct fm_slice object,
                      const struct s3_listed *listed)
{
    item->modified_s = FM_MAX(item->modified_s, listed->modified_unix_s);
    item->has_meta |= fm_slice_equal_text(object, "meta.json");
    item->is_compacted |= fm_slice_equal_text(object, "meta.compacted.json");
    if (fm_slice_equal_text(object, "data.parquet") && listed->etag.len &&
        listed->etag.len < sizeof item->etag) {
        memcpy(item->etag, listed->etag.ptr, listed->etag.len);
        item->etag[listed->etag.len] = '\0';
    }
}

static int maker_on_object(void *self, const struct s3_listed *listed)
{
    struct listing_maker *maker = self;
    size_t lead = strlen(maker->lead);
    struct fm_slice key = listed->key;
    struct block_id id;
    if (key.len < lead + 37 || memcmp(key.ptr, maker->lead, lead) != 0 ||
        key.ptr[lead + 36] != '/' || block_id_parse(fm_slice(key.ptr + lead, 36), &id) != FM_OK)
        return FM_OK; /* not of a block */
    struct bucket_item *item = maker_item(maker, &id);
    if (!item)
        return FM_ELIMIT;
    item_note(item, fm_slice(key.ptr + lead + 37, key.len - lead - 37), listed);
    return FM_OK;
}

static int maker_on_meta(void *self, const struct block_meta *meta)
{
    struct listing_maker *maker = self;
    struct bucket_item *item = maker_item(maker, &meta->id);
    if (!item)
        return FM_ELIMIT;
    item->has_meta = true;
    metric_set(&item->start_ns, meta->start_ns);
    metric_set(&item->end_ns, meta->end_ns);
    return FM_OK;
}

/* ---- from where ---- */

/* FM_NONE: Tempo keeps no index here, or not a fresh one that we can read. */
static int maker_read_index(struct listing_maker *maker)
{
    struct bucket_reader *reader = maker->reader;
    char key[BUCKET_KEY_MAX];
    struct fm_buf packed;
    struct fm_why why;

    (void)snprintf(key, sizeof key, "%s/index.json.gz", maker->tenant);
    fm_buf_init(&packed, LISTING_INDEX_MAX);
    int rc = bucket_get_whole(reader, key, LISTING_INDEX_MAX, maker->budget, &packed, &why);
    if (rc == FM_OK) {
        rc = bucket_index_read(fm_buf_slice(&packed), pf_wall_ns(reader->platform),
                               LISTING_INDEX_AGE_NS, maker_on_meta, maker);
        metric_add(&reader->indexes_used, rc == FM_OK);
        if (rc < 0 && rc != FM_ENOMEM)
            rc = FM_NONE;
    } else if (rc == FM_ENOTFOUND || rc == FM_EDENIED) {
        rc = FM_NONE; /* who may not list hears that a key that is absent is forbidden */
    } else if (maker->why) {
        *maker->why = why;
    }
    fm_buf_fini(&packed);
    if (rc != FM_OK)
        fm_buf_reset(&maker->items);
    return rc;
}

static int maker_read_page(struct listing_maker *maker, struct fm_buf *token)
{
    struct bucket_get *get = calloc(1, sizeof *get);
    char key[BUCKET_KEY_MAX];
    if (!get)
        return FM_ENOMEM;
    (void)snprintf(key, sizeof key, "%s/", maker->tenant);
    fm_buf_put_u8(token, 0);
    get->key = key;
    get->query = (const char *)token->ptr;
    get->bytes_max = FM_MIB(1);
    bucket_get_start(get, maker->reader, maker->budget);
    int rc = bucket_get_end(get, maker->reader, maker->budget);
    if (rc == FM_OK) {
        rc = s3_objects_read(fm_buf_slice(&get->body), maker_on_object, maker, token);
        if (rc == FM_ELIMIT && maker->items.failed)
            (void)fm_fail(maker->why, rc, "the tenant has too many blocks");
        else if (rc == FM_EMALFORMED || rc == FM_ELIMIT)
            rc = fm_fail(maker->why, FM_EIO, "the bucket's listing cannot be read");
    } else if (maker->why) {
        *maker->why = get->why;
    }
    bucket_get_fini(get);
    free(get);
    return rc;
}

static int maker_read_pages(struct listing_maker *maker)
{
    struct bucket_reader *reader = maker->reader;
    struct fm_buf token;
    uint32_t pages = 0;
    int rc;

    pf_lock(&reader->lock);
    const char *prefix = reader->endpoint.prefix; /* does not change */
    pf_unlock(&reader->lock);
    (void)snprintf(maker->lead, sizeof maker->lead, "%s%s%s/", prefix, prefix[0] ? "/" : "",
                   maker->tenant);
    fm_buf_init(&token, LISTING_TOKEN_MAX);
    do
        rc = maker_read_page(maker, &token);
    while (rc == FM_OK && token.len && ++pages < LISTING_PAGES_MAX);
    if (rc == FM_OK && token.len)
        rc = fm_fail(maker->why, FM_ELIMIT, "the tenant has too many objects");
    fm_buf_fini(&token);
    return rc;
}

/* ---- a directory ---- */

struct dir_listing {
    struct listing_maker *maker;
    char path[1100];
    struct bucket_item *item;
};

static int dir_on_object(void *self, const char *name, bool is_directory)
{
    struct dir_listing *dir = self;
    const struct s3_listed listed = {0};
    if (!is_directory)
        item_note(dir->item, fm_slice_text(name), &listed);
    return FM_OK;
}

static int dir_on_block(void *self, const char *name, bool is_directory)
{
    struct dir_listing *dir = self;
    struct platform *platform = dir->maker->reader->platform;
    struct block_id id;
    char path[1200];
    if (!is_directory || block_id_parse(fm_slice_text(name), &id) != FM_OK)
        return FM_OK;
    dir->item = maker_item(dir->maker, &id);
    if (!dir->item)
        return FM_ELIMIT;
    (void)snprintf(path, sizeof path, "%s/%s", dir->path, name);
    int rc = platform->ops->list(platform, path, dir_on_object, dir, dir->maker->why);
    return rc == FM_ENOTFOUND ? FM_OK : rc; /* removed just now */
}

static int maker_read_dir(struct listing_maker *maker)
{
    struct platform *platform = maker->reader->platform;
    struct dir_listing dir = {.maker = maker};
    (void)snprintf(dir.path, sizeof dir.path, "%s/%s", maker->reader->dir, maker->tenant);
    int rc = platform->ops->list(platform, dir.path, dir_on_block, &dir, maker->why);
    return rc == FM_ENOTFOUND ? FM_OK : rc; /* nothing of this tenant yet */
}

/* ---- making one ---- */

static int item_compare(const void *a, const void *b)
{
    const struct bucket_item *left = a, *right = b;
    return memcmp(&left->id, &right->id, sizeof left->id);
}

/* Pieces of one block that did not stand together become one. */
static size_t items_merge(struct bucket_item *items, size_t count)
{
    size_t kept = 0;
    if (count > 1)
        qsort(items, count, sizeof *items, item_compare);
    for (size_t i = 0; i < count; i++) {
        struct bucket_item *last = kept ? &items[kept - 1] : NULL;
        if (!last || item_compare(last, &items[i]) != 0) {
            items[kept++] = items[i];
            continue;
        }
        last->modified_s = FM_MAX(last->modified_s, items[i].modified_s);
        last->has_meta |= items[i].has_meta;
        last->is_compacted |= items[i].is_compacted;
        if (items[i].etag[0])
            memcpy(last->etag, items[i].etag, sizeof last->etag);
    }
    return kept;
}

static void listing_inherit(struct bucket_listing *listing, const struct bucket_listing *before)
{
    for (size_t i = 0; before && i < listing->count; i++) {
        struct bucket_item *item = &listing->items[i];
        const struct bucket_item *known =
            bsearch(item, before->items, before->count, sizeof *item, item_compare);
        if (!known || metric_get(&item->end_ns))
            continue;
        metric_set(&item->start_ns, metric_get(&known->start_ns));
        metric_set(&item->end_ns, metric_get(&known->end_ns));
    }
}

static int listing_make(struct listing_maker *maker, struct bucket_listing **ret_listing)
{
    struct bucket_reader *reader = maker->reader;
    int rc = FM_NONE;

    fm_buf_init(&maker->items, BUCKET_LISTED_MAX * sizeof(struct bucket_item));
    if (reader->dir)
        rc = maker_read_dir(maker);
    else
        rc = maker_read_index(maker);
    if (rc == FM_NONE)
        rc = maker_read_pages(maker);
    size_t count = maker->items.len / sizeof(struct bucket_item);
    struct bucket_listing *listing = NULL;
    if (rc == FM_OK) {
        count = items_merge((void *)maker->items.ptr, count);
        listing = calloc(1, sizeof *listing + count * sizeof listing->items[0]);
        rc = listing ? FM_OK : FM_ENOMEM;
    }
    if (rc == FM_OK) {
        atomic_init(&listing->refs, 1);
        (void)snprintf(listing->tenant, sizeof listing->tenant, "%s", maker->tenant);
        listing->made_ns = pf_now_ns(reader->platform);
        listing->count = count;
        if (count)
            memcpy(listing->items, maker->items.ptr, count * sizeof listing->items[0]);
        metric_add(&reader->listings_made, 1);
        *ret_listing = listing;
    }
    fm_buf_fini(&maker->items);
    return rc;
}

/* ---- remembering ---- */

void bucket_listing_release(struct bucket_listing *listing)
{
    if (listing && atomic_fetch_sub(&listing->refs, 1) == 1)
        free(listing);
}

/* Takes the tenant's out of the line; the caller has the lock. */
static struct bucket_listing *listings_take(struct bucket_reader *reader, const char *tenant)
{
    for (size_t i = 0; i < BUCKET_LISTINGS_MAX; i++) {
        struct bucket_listing *found = reader->listings[i];
        if (!found || strcmp(found->tenant, tenant) != 0)
            continue;
        memmove(&reader->listings[i], &reader->listings[i + 1],
                (BUCKET_LISTINGS_MAX - 1 - i) * sizeof(void *));
        reader->listings[BUCKET_LISTINGS_MAX - 1] = NULL;
        return found;
    }
    return NULL;
}

/* In front; returns who fell out at the end.  The caller has the lock. */
static struct bucket_listing *listings_put(struct bucket_reader *reader,
                                           struct bucket_listing *listing)
{
    struct bucket_listing *last = reader->listings[BUCKET_LISTINGS_MAX - 1];
    memmove(&reader->listings[1], &reader->listings[0], (BUCKET_LISTINGS_MAX - 1) * sizeof(void *));
    reader->listings[0] = listing;
    return last;
}

void bucket_listing_forget(struct bucket_reader *reader, const char *tenant)
{
    pf_lock(&reader->lock);
    struct bucket_listing *listing = listings_take(reader, tenant);
    pf_unlock(&reader->lock);
    bucket_listing_release(listing);
}

int bucket_listing_find(struct bucket_reader *reader, const char *tenant,
                        struct bucket_budget *budget, struct bucket_listing **ret_listing,
                        struct fm_why *why)
{
    struct listing_maker maker = {.reader = reader, .tenant = tenant, .budget = budget, .why = why};
    struct bucket_listing *fresh = NULL;
    uint64_t now_ns = pf_now_ns(reader->platform);

    pf_lock(&reader->lock);
    struct bucket_listing *known = listings_take(reader, tenant);
    if (known) {
        (void)listings_put(reader, known); /* there is room: it came from there */
        atomic_fetch_add(&known->refs, 1);
    }
    pf_unlock(&reader->lock);
    if (known && now_ns - known->made_ns < reader->listing_age_ns) {
        *ret_listing = known;
        return FM_OK;
    }
    int rc = listing_make(&maker, &fresh);
    if (rc != FM_OK) {
        bucket_listing_release(known);
        return rc;
    }
    listing_inherit(fresh, known);
    atomic_fetch_add(&fresh->refs, 1);
    pf_lock(&reader->lock);
    struct bucket_listing *before = listings_take(reader, tenant);
    struct bucket_listing *last = listings_put(reader, fresh);
    pf_unlock(&reader->lock);
    bucket_listing_release(before);
    bucket_listing_release(last);
    bucket_listing_release(known);
    *ret_listing = fresh;
    return FM_OK;
}
