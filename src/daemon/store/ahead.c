/* SPDX-License-Identifier: Apache-2.0 */
/* ahead - which traces a group of the outbox took ahead of their blocks, with how many spans, so
 * that no block sends them again, not even after a restart; docs/formats/decision.md.
 *
 * AHEAD-1  The list is a file of its group: one rename shows both.
 * AHEAD-2  When the group goes, its list stays in ahead/<tenant>/ until every block that may hold a
 *          record up to the list's last LSN is decided about.
 * AHEAD-3  A list that reaches beyond the end of the log is void: some of what it counted is lost,
 *          and its LSNs will be those of other records.
 */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>

#define AHEAD_MAGIC        UINT64_C(0x3144414548414d46) /* "FMAHEAD1" */
#define AHEAD_HEADER_BYTES 32u
#define AHEAD_TRACE_BYTES  16u
#define AHEAD_CHECK_BYTES  4u
#define AHEAD_TRACES_MAX   (1u << 20)
#define AHEAD_FILE_MAX                                                                             \
    (AHEAD_HEADER_BYTES + AHEAD_TRACES_MAX * AHEAD_TRACE_BYTES + AHEAD_CHECK_BYTES)
#define AHEAD_NAME_BYTES 50u /* LSN, dash, group; in hex */

struct ahead_list {      /* of a group that has left */
    struct fm_link link; /* store->aheads, or keep's */
    const struct tenant *tenant;
    uint8_t name[16];
    uint64_t last_lsn;
};

/* ---- the file ---- */

void store_ahead_render(const struct store_ahead *ahead, struct fm_buf *buf)
{
    const uint64_t header[AHEAD_HEADER_BYTES / 8] = {AHEAD_MAGIC, ahead->first_lsn, ahead->last_lsn,
                                                     ahead->trace_count};
    uint8_t bytes[AHEAD_HEADER_BYTES];
    size_t begin = buf->len;
    for (size_t i = 0; i < FM_COUNT(header); i++)
        fm_store_le64(bytes + 8 * i, header[i]);
    fm_buf_put(buf, bytes, sizeof bytes);
    for (size_t i = 0; i < ahead->trace_count; i++) {
        fm_store_le64(bytes, ahead->traces[i].key);
        fm_store_le64(bytes + 8, ahead->traces[i].span_count);
        fm_buf_put(buf, bytes, AHEAD_TRACE_BYTES);
    }
    if (buf->failed)
        return;
    fm_store_le32(bytes, fm_crc32c(0, fm_slice(buf->ptr + begin, buf->len - begin)));
    fm_buf_put(buf, bytes, AHEAD_CHECK_BYTES);
}

int store_ahead_parse(struct fm_slice file, struct store_ahead *ret_ahead)
{
    if (file.len < AHEAD_HEADER_BYTES + AHEAD_CHECK_BYTES || fm_load_le64(file.ptr) != AHEAD_MAGIC)
        return FM_ECORRUPT;
    struct fm_slice body = fm_slice(file.ptr, file.len - AHEAD_CHECK_BYTES);
    struct store_ahead ahead = {
        .first_lsn = fm_load_le64(file.ptr + 8),
        .last_lsn = fm_load_le64(file.ptr + 16),
    };
    uint64_t count = fm_load_le64(file.ptr + 24);
    if (fm_crc32c(0, body) != fm_load_le32(file.ptr + body.len) || count > AHEAD_TRACES_MAX ||
        body.len != AHEAD_HEADER_BYTES + count * AHEAD_TRACE_BYTES ||
        ahead.first_lsn > ahead.last_lsn)
        return FM_ECORRUPT;
    ahead.traces = malloc((count + 1) * sizeof *ahead.traces);
    if (!ahead.traces)
        return FM_ENOMEM;
    for (; ahead.trace_count < count; ahead.trace_count++) {
        const uint8_t *at = file.ptr + AHEAD_HEADER_BYTES + ahead.trace_count * AHEAD_TRACE_BYTES;
        ahead.traces[ahead.trace_count] =
            (struct store_ahead_trace){fm_load_le64(at), fm_load_le64(at + 8)};
    }
    *ret_ahead = ahead;
    return FM_OK;
}

static int ahead_read(struct store *store, const char *path, struct store_ahead *ret_ahead)
{
    struct fm_buf file;
    fm_buf_init(&file, AHEAD_FILE_MAX);
    int rc = pf_read_file(store->platform, path, &file, NULL);
    if (rc == FM_OK)
        rc = store_ahead_parse(fm_buf_slice(&file), ret_ahead);
    fm_buf_fini(&file);
    return rc;
}

/* ---- where they lie ---- */

static void ahead_group_path(const struct outbox_group *group, char path[STORE_PATH_BYTES])
{
    int len = snprintf(path, STORE_PATH_BYTES, "%s/ahead", group->path);
    FM_ASSERT(len > 0 && (size_t)len < STORE_PATH_BYTES);
}

static void ahead_kept_path(const struct store *store, const struct tenant *tenant,
                            uint64_t last_lsn, const uint8_t name[16], char path[STORE_PATH_BYTES])
{
    char text[33];
    outbox_print_name(name, text);
    store_path(store, path, "ahead/%s/%016llx-%s", tenant->name, (unsigned long long)last_lsn,
               text);
}

static int ahead_add(struct store *store, const struct tenant *tenant, uint64_t last_lsn,
                     const uint8_t name[16])
{
    struct ahead_list *list = calloc(1, sizeof *list);
    if (!list)
        return FM_ENOMEM;
    list->tenant = tenant;
    list->last_lsn = last_lsn;
    memcpy(list->name, name, sizeof list->name);
    fm_list_append(&store->aheads, &list->link);
    return FM_OK;
}

int ahead_keep(struct store *store, const struct outbox_group *group, struct fm_why *why)
{
    char from[STORE_PATH_BYTES], to[STORE_PATH_BYTES], folder[STORE_PATH_BYTES];
    ahead_group_path(group, from);
    ahead_kept_path(store, group->tenant, group->ahead_last_lsn, group->name, to);
    store_path(store, folder, "ahead/%s", group->tenant->name);
    int rc = pf_make_path(store->platform, folder, why);
    if (rc == FM_OK)
        rc = store->platform->ops->rename(store->platform, from, to, why);
    return rc == FM_OK ? store->platform->ops->sync_dir(store->platform, folder, why) : rc;
}

void ahead_on_left(struct store *store, const struct outbox_group *group)
{
    /* Without the memory it is found at the next start. */
    store_ignore(ahead_add(store, group->tenant, group->ahead_last_lsn, group->name));
}

/* AHEAD-2. */
bool ahead_is_needed(const struct tenant *tenant, uint64_t last_lsn)
{
    if (tenant->record_count && tenant->first_lsn <= last_lsn)
        return true;
    for (size_t i = 0; i < tenant->block_count; i++) {
        const struct block_entry *entry = tenant->blocks[i];
        if (entry->decided.verdict == STORE_UNDECIDED && !entry->is_uploaded &&
            entry->block.first_lsn <= last_lsn)
            return true;
    }
    return false;
}

/* ---- keep's ---- */

void ahead_plan(struct store *store)
{
    for (struct fm_link *link = store->aheads.next, *next; link != &store->aheads; link = next) {
        struct ahead_list *list = FM_CONTAINER(link, struct ahead_list, link);
        next = link->next;
        if (ahead_is_needed(list->tenant, list->last_lsn))
            continue;
        fm_list_remove(link);
        fm_list_append(&store->keep.aheads_taken, link);
    }
}

/* What cannot be unlinked is found at the next start. */
void ahead_work(struct store *store)
{
    struct fm_link *taken = &store->keep.aheads_taken;
    char path[STORE_PATH_BYTES];
    while (!fm_list_empty(taken)) {
        struct ahead_list *list = FM_CONTAINER(taken->next, struct ahead_list, link);
        ahead_kept_path(store, list->tenant, list->last_lsn, list->name, path);
        store_ignore(store->platform->ops->unlink(store->platform, path, NULL));
        fm_list_remove(&list->link);
        free(list);
    }
}

void ahead_fini(struct store *store)
{
    struct fm_link *lists[] = {&store->aheads, &store->keep.aheads_taken};
    for (size_t i = 0; i < FM_COUNT(lists); i++) {
        while (!fm_list_empty(lists[i])) {
            struct ahead_list *list = FM_CONTAINER(lists[i]->next, struct ahead_list, link);
            fm_list_remove(&list->link);
            free(list);
        }
    }
}

/* ---- start ---- */

void ahead_load_group(struct outbox_group *group)
{
    struct store_ahead ahead;
    char path[STORE_PATH_BYTES];
    ahead_group_path(group, path);
    int rc = ahead_read(group->outbox->store, path, &ahead);
    if (rc < 0) {
        if (rc != FM_ENOTFOUND)
            log_warn("outbox.ahead_unreadable", "path=%s why=\"%s\"", path, fm_rc_text(rc));
        return;
    }
    group->has_ahead = true;
    group->ahead_last_lsn = ahead.last_lsn;
    free(ahead.traces);
}

struct ahead_listing {
    struct store *store;
    const struct tenant *tenant;
};

static int ahead_visit_file(void *self, const char *name, bool is_directory)
{
    const struct ahead_listing *listing = self;
    uint8_t lsn[8], group[16];
    if (is_directory || strlen(name) != AHEAD_NAME_BYTES - 1 || name[16] != '-' ||
        fm_hex_decode(lsn, sizeof lsn, fm_slice(name, 16)) < 0 ||
        fm_hex_decode(group, sizeof group, fm_slice(name + 17, 32)) < 0)
        return FM_OK;
    return ahead_add(listing->store, listing->tenant, fm_load_be64(lsn), group);
}

static int ahead_visit_tenant(void *self, const char *name, bool is_directory)
{
    struct ahead_listing listing = {.store = self};
    struct tenant *tenant;
    char path[STORE_PATH_BYTES];
    if (!is_directory || !tenant_is_valid(fm_slice_text(name)))
        return FM_OK;
    int rc = tenant_get(listing.store, fm_slice_text(name), &tenant);
    if (rc < 0)
        return rc == FM_ELIMIT ? FM_OK : rc;
    listing.tenant = tenant;
    store_path(listing.store, path, "ahead/%s", name);
    return listing.store->platform->ops->list(listing.store->platform, path, ahead_visit_file,
                                              &listing, NULL);
}

/* AHEAD-3. */
static void ahead_void(struct store *store, const char *path)
{
    log_warn("outbox.ahead_void", "path=%s why=\"it is about records that the log has lost\"",
             path);
    store_ignore(store->platform->ops->unlink(store->platform, path, NULL));
}

int ahead_open(struct store *store)
{
    uint64_t next_lsn = store->log.writer.next_lsn;
    char path[STORE_PATH_BYTES];
    store_path(store, path, "ahead");
    int rc = store->platform->ops->list(store->platform, path, ahead_visit_tenant, store, NULL);
    for (struct fm_link *link = store->aheads.next, *next; link != &store->aheads; link = next) {
        struct ahead_list *list = FM_CONTAINER(link, struct ahead_list, link);
        next = link->next;
        if (list->last_lsn < next_lsn)
            continue;
        ahead_kept_path(store, list->tenant, list->last_lsn, list->name, path);
        ahead_void(store, path);
        fm_list_remove(link);
        free(list);
    }
    const struct fm_link *groups = &store->outbox.groups;
    for (struct fm_link *link = groups->next; link != groups; link = link->next) {
        struct outbox_group *group = FM_CONTAINER(link, struct outbox_group, link);
        if (!group->has_ahead || group->ahead_last_lsn < next_lsn)
            continue;
        ahead_group_path(group, path);
        ahead_void(store, path);
        group->has_ahead = false;
    }
    return rc == FM_ENOMEM ? rc : FM_OK;
}

static void ahead_visit(struct store *store, const struct tenant *tenant, const uint8_t name[16],
                        const char *path, store_visit_ahead *visit, void *self)
{
    struct store_ahead ahead;
    int rc = ahead_read(store, path, &ahead);
    if (rc < 0) {
        log_warn("outbox.ahead_unreadable", "path=%s why=\"%s\"", path, fm_rc_text(rc));
        return;
    }
    memcpy(ahead.name, name, sizeof ahead.name);
    visit(self, tenant->name, &ahead);
    free(ahead.traces);
}

void store_ahead_each(struct store *store, store_visit_ahead *visit, void *self)
{
    const struct fm_link *groups = &store->outbox.groups;
    char path[STORE_PATH_BYTES];
    for (struct fm_link *link = store->aheads.next; link != &store->aheads; link = link->next) {
        const struct ahead_list *list = FM_CONTAINER(link, struct ahead_list, link);
        ahead_kept_path(store, list->tenant, list->last_lsn, list->name, path);
        ahead_visit(store, list->tenant, list->name, path, visit, self);
    }
    for (struct fm_link *link = groups->next; link != groups; link = link->next) {
        const struct outbox_group *group = FM_CONTAINER(link, struct outbox_group, link);
        if (!group->has_ahead)
            continue;
        ahead_group_path(group, path);
        ahead_visit(store, group->tenant, group->name, path, visit, self);
    }
}
