/* SPDX-License-Identifier: Apache-2.0 */
/* outbox - the groups of blocks that are made only to leave: one after another they are built, and,
 * when the bucket has them, their sources are marked as uploaded and their directories removed.
 *
 *   IDLE --> BUILDING --> IDLE
 *        --> REMOVING --> IDLE
 *
 * Suspended in BUILDING (resumed by outbox_on_built) and REMOVING (by outbox_on_removed).
 *
 * OUTBOX-1  A group's sources are marked durably before anything of the group goes: at no moment is
 *           a block neither here nor known to have left.
 * OUTBOX-2  A group goes by a rename out of its place, so that no restart finds half of it.
 */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>

#include "gone.h"

static const struct fm_sm_rule outbox_rules[] = {
    [OUTBOX_IDLE] = {"idle", FM_TO(OUTBOX_BUILDING) | FM_TO(OUTBOX_REMOVING)},
    [OUTBOX_BUILDING] = {"building", FM_TO(OUTBOX_IDLE)},
    [OUTBOX_REMOVING] = {"removing", FM_TO(OUTBOX_IDLE)},
};

#define OUTBOX_BYTES_MAX  FM_MIB(64) /* of normal blocks: more are made when these have left */
#define OUTBOX_META_BYTES FM_MIB(1)

static void outbox_on_timer(struct pf_timer *timer);
static void outbox_step(struct store *store);

void outbox_init(struct store *store)
{
    struct outbox *outbox = &store->outbox;
    *outbox = (struct outbox){
        .sm = {outbox_rules, OUTBOX_IDLE},
        .timer = {.fire = outbox_on_timer},
        .store = store,
    };
    fm_list_init(&outbox->groups);
    fm_list_init(&outbox->wanted);
    fm_list_init(&outbox->cancelled);
}

void outbox_fini(struct store *store)
{
    struct outbox *outbox = &store->outbox;
    while (!fm_list_empty(&outbox->groups))
        outbox_group_free(FM_CONTAINER(outbox->groups.next, struct outbox_group, link));
    outbox->made = outbox_group_free(outbox->made);
    outbox->going = outbox_group_free(outbox->going);
}

static struct outbox_group *group_of(struct fm_link *link)
{
    return FM_CONTAINER(link, struct outbox_group, link);
}

static struct outbox_group *outbox_find(const struct store *store, struct fm_slice tenant,
                                        const uint8_t name[16])
{
    const struct fm_link *groups = &store->outbox.groups;
    for (struct fm_link *link = groups->next; link != groups; link = link->next) {
        struct outbox_group *group = group_of(link);
        if (memcmp(group->name, name, sizeof group->name) == 0 &&
            fm_slice_equal_text(tenant, group->tenant->name))
            return group;
    }
    return NULL;
}

bool store_outgoing_exists(const struct store *store, struct fm_slice tenant,
                           const uint8_t name[16])
{
    return outbox_find(store, tenant, name) != NULL;
}

/* ---- counting ---- */

static uint64_t group_bytes(const struct outbox_group *group)
{
    uint64_t bytes = 0;
    for (const struct fm_link *link = group->entries.next; link != &group->entries;
         link = link->next)
        bytes += FM_CONTAINER(link, const struct block_entry, link)->disk_bytes;
    return bytes;
}

void store_outbox_get_status(const struct store *store, struct store_outbox_status *ret_status)
{
    struct store_outbox_status status = {0};
    const struct fm_link *groups = &store->outbox.groups;
    for (struct fm_link *link = groups->next; link != groups; link = link->next) {
        const struct outbox_group *group = group_of(link);
        status.groups[group->lane]++;
        for (const struct fm_link *at = group->entries.next; at != &group->entries; at = at->next) {
            const struct block_entry *entry = FM_CONTAINER(at, const struct block_entry, link);
            if (entry->is_uploaded)
                continue;
            status.blocks[group->lane]++;
            status.spans[group->lane] += entry->block.span_count;
            status.bytes[group->lane] += entry->disk_bytes;
        }
    }
    *ret_status = status;
}

static bool group_has_left(const struct outbox_group *group)
{
    for (const struct fm_link *link = group->entries.next; link != &group->entries;
         link = link->next)
        if (!FM_CONTAINER(link, const struct block_entry, link)->is_uploaded)
            return false;
    return true;
}

static bool group_has_source(const struct outbox_group *group, const struct block_entry *entry)
{
    for (size_t i = 0; i < group->source_count; i++)
        if (memcmp(&group->sources[i], &entry->block.meta.id, sizeof group->sources[i]) == 0)
            return true;
    return false;
}

/* ---- for the ledger ---- */

const struct store_block *outbox_part_of(const struct block_entry *entry)
{
    if (!entry->part)
        return NULL;
    const struct fm_link *head = &entry->part->entries;
    for (const struct fm_link *link = head->next; link != head; link = link->next) {
        const struct block_entry *part = FM_CONTAINER(link, const struct block_entry, link);
        if (!part->is_uploaded)
            return &part->block;
    }
    return NULL;
}

uint64_t outbox_ahead_spans(const struct block_entry *entry)
{
    uint64_t spans = 0;
    for (uint32_t i = 0; i < entry->ahead_count; i++) {
        if (entry->ahead[i].group && !group_has_left(entry->ahead[i].group))
            spans += entry->ahead[i].spans;
    }
    return spans;
}

int outbox_take_ahead(struct block_ahead **ret_ahead, uint32_t *ret_count,
                      const struct store_decision *decision)
{
    if (!decision->group_count)
        return FM_OK;
    struct block_ahead *ahead = calloc(decision->group_count, sizeof *ahead);
    if (!ahead)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < decision->group_count; i++) {
        memcpy(ahead[i].name, decision->groups[i].name, sizeof ahead[i].name);
        ahead[i].spans = decision->groups[i].spans;
    }
    *ret_ahead = ahead;
    *ret_count = decision->group_count;
    return FM_OK;
}

/* Those that are not there have left. */
void outbox_find_ahead(struct store *store, struct block_entry *entry)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < entry->ahead_count; i++) {
        struct block_ahead *ahead = &entry->ahead[i];
        ahead->group = outbox_find(store, fm_slice_text(entry->block.meta.tenant), ahead->name);
        if (ahead->group)
            entry->ahead[kept++] = *ahead;
    }
    entry->ahead_count = kept;
    if (!kept)
        free(fm_take(entry->ahead));
}

static void group_find_sources(struct outbox_group *group)
{
    for (size_t i = 0; group->source_count && i < group->tenant->block_count; i++) {
        if (group_has_source(group, group->tenant->blocks[i]))
            group->tenant->blocks[i]->part = group;
    }
}

/* It is out of the list. */
static void group_forget(const struct outbox_group *group)
{
    for (size_t i = 0; i < group->tenant->block_count; i++) {
        struct block_entry *entry = group->tenant->blocks[i];
        uint32_t kept = 0;
        if (entry->part == group)
            entry->part = NULL;
        for (uint32_t k = 0; k < entry->ahead_count; k++) {
            if (entry->ahead[k].group != group)
                entry->ahead[kept++] = entry->ahead[k];
        }
        entry->ahead_count = kept;
    }
}

/* ---- what start-up finds ---- */

static int outbox_read_file(struct store *store, const char *folder, const char *name,
                            struct fm_buf *text, struct fm_why *why)
{
    char path[STORE_PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    fm_buf_reset(text);
    return pf_read_file(store->platform, path, text, why);
}

static int outbox_load_block(struct outbox_group *group, const struct block_id *id,
                             struct fm_why *why)
{
    struct store *store = group->outbox->store;
    struct block_entry *entry;
    struct local_facts facts;
    struct fm_buf text;
    int rc = outbox_group_add(store, group, &entry);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a block");
    entry->block.meta.id = *id;
    outbox_name_block(group, entry);
    fm_buf_init(&text, OUTBOX_META_BYTES);
    rc = outbox_read_file(store, entry->block.path, "local.json", &text, why);
    if (rc == FM_OK)
        rc = local_parse(fm_buf_slice(&text), &facts, why);
    if (rc == FM_OK) {
        entry->block.span_count = facts.span_count;
        entry->block.sealed_unix_ns = facts.sealed_unix_ns;
        rc = outbox_read_file(store, entry->block.path, "meta.json", &text, why);
    }
    if (rc == FM_OK)
        rc = block_meta_parse(fm_buf_slice(&text), &entry->block.meta, why);
    if (rc == FM_OK && (memcmp(id, &entry->block.meta.id, sizeof *id) != 0 ||
                        strcmp(entry->block.meta.tenant, group->tenant->name) != 0))
        rc = fm_fail(why, FM_ECORRUPT, "meta.json is that of another block");
    if (rc == FM_OK) {
        entry->disk_bytes = text.len + entry->block.meta.size_bytes;
        entry->is_uploaded =
            outbox_read_file(store, entry->block.path, "uploaded", &text, NULL) == FM_OK;
    }
    fm_buf_fini(&text);
    return rc;
}

struct outbox_listing { /* directories of one, that have names of a kind */
    struct outbox_group *group;
    struct store *store;
    struct tenant *tenant;
    char path[STORE_PATH_BYTES];
    struct fm_why *why;
};

static int outbox_visit_block(void *self, const char *name, bool is_directory)
{
    struct outbox_listing *listing = self;
    struct block_id id;
    if (!is_directory || block_id_parse(fm_slice_text(name), &id) < 0)
        return FM_OK;
    return outbox_load_block(listing->group, &id, listing->why);
}

static int outbox_load_group(struct outbox_group *group, struct fm_why *why)
{
    struct store *store = group->outbox->store;
    struct outbox_listing listing = {.group = group, .why = why};
    struct fm_buf text;
    uint32_t block_count;
    fm_buf_init(&text, OUTBOX_META_BYTES);
    int rc = outbox_read_file(store, group->path, "group.json", &text, why);
    if (rc == FM_OK)
        rc = outbox_group_parse(fm_buf_slice(&text), group, &block_count, why);
    fm_buf_fini(&text);
    if (rc == FM_OK)
        rc = store->platform->ops->list(store->platform, group->path, outbox_visit_block, &listing,
                                        why);
    if (rc == FM_OK && group->block_count != block_count)
        rc = fm_fail(why, FM_ECORRUPT, "%u blocks of %u", group->block_count, block_count);
    return rc;
}

/* A group that cannot be read is kept in quarantine; its sources are still here, not marked. */
static int outbox_visit_group(void *self, const char *name, bool is_directory)
{
    struct outbox_listing *listing = self;
    struct outbox *outbox = &listing->store->outbox;
    struct outbox_group *group;
    struct fm_why why = {""};
    uint8_t bytes[16];
    if (!is_directory || strlen(name) != 32 ||
        fm_hex_decode(bytes, sizeof bytes, fm_slice_text(name)) < 0)
        return FM_OK;
    int rc = outbox_group_new(outbox, listing->tenant, STORE_LANE_NORMAL, bytes, &group);
    if (rc < 0)
        return rc;
    rc = outbox_load_group(group, &why);
    if (rc == FM_OK) {
        fm_list_append(&outbox->groups, &group->link);
        outbox->bytes += group_bytes(group);
        ahead_load_group(group);
        return FM_OK;
    }
    if (rc != FM_ENOMEM) {
        metric_add(&listing->store->metrics.blocks_quarantined, 1);
        log_error("outbox.unreadable", "path=%s why=\"%s\"", group->path, why.text);
        if (rc != FM_EIO)
            (void)store_quarantine(listing->store, group->path, why.text);
        rc = FM_OK;
    }
    outbox_group_free(group);
    return rc;
}

static int outbox_visit_tenant(void *self, const char *name, bool is_directory)
{
    const struct outbox_listing *parent = self;
    struct outbox_listing listing = {.store = parent->store, .why = parent->why};
    if (!is_directory || name[0] == '.' || !tenant_is_valid(fm_slice_text(name)))
        return FM_OK;
    int rc = tenant_get(parent->store, fm_slice_text(name), &listing.tenant);
    if (rc < 0)
        return rc;
    store_path(parent->store, listing.path, "outbox/%s", name);
    return parent->store->platform->ops->list(parent->store->platform, listing.path,
                                              outbox_visit_group, &listing, parent->why);
}

int outbox_load(struct store *store, struct fm_why *why)
{
    struct outbox_listing listing = {.store = store, .why = why};
    char path[STORE_PATH_BYTES];
    store_path(store, path, "outbox/.tmp");
    int rc = pf_remove_tree(store->platform, path, why);
    store_path(store, path, "outbox");
    if (rc == FM_OK)
        rc = store->platform->ops->list(store->platform, path, outbox_visit_tenant, &listing, why);
    for (struct fm_link *link = store->outbox.groups.next; link != &store->outbox.groups;
         link = link->next)
        group_find_sources(group_of(link));
    for (struct fm_link *link = store->blocks.next; link != &store->blocks; link = link->next)
        outbox_find_ahead(store, FM_CONTAINER(link, struct block_entry, link));
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

static void group_announce(struct outbox_group *group)
{
    struct store *store = group->outbox->store;
    const struct store_observer *observer = &store->observer;
    struct fm_link *head = &group->entries;
    for (struct fm_link *link = head->next; observer->on_sealed && link != head; link = link->next)
        observer->on_sealed(observer->self, &FM_CONTAINER(link, struct block_entry, link)->block);
}

void outbox_announce(struct store *store)
{
    struct fm_link *groups = &store->outbox.groups;
    for (struct fm_link *link = groups->next; link != groups; link = link->next)
        group_announce(group_of(link));
    outbox_look(store); /* what is done with since before the start */
}

/* ---- out of the outbox ---- */

static bool group_is_held(const struct outbox_group *group)
{
    for (const struct fm_link *link = group->entries.next; link != &group->entries;
         link = link->next)
        if (FM_CONTAINER(link, const struct block_entry, link)->refs > 1)
            return true;
    return false;
}

static void group_on_source_marked(void *self, int rc)
{
    struct outbox_group *group = self;
    FM_ASSERT(group->marking_count);
    group->marks_failed |= rc < 0;
    if (--group->marking_count == 0) {
        group->is_marked = !group->marks_failed;
        if (rc != FM_ECLOSED)
            outbox_look(group->outbox->store);
    }
}

/* OUTBOX-1.  Sources that are gone need no mark. */
static void group_mark_sources(struct outbox_group *group)
{
    const struct tenant *tenant = group->tenant;
    group->marks_failed = false;
    group->marking_count = 1; /* ours, until all were asked for */
    for (size_t i = 0; i < tenant->block_count; i++) {
        struct block_entry *entry = tenant->blocks[i];
        if (entry->is_uploaded || !group_has_source(group, entry))
            continue;
        group->marking_count++;
        if (!fm_list_empty(&group->entries))
            entry->left_as =
                FM_CONTAINER(group->entries.next, struct block_entry, link)->block.meta.id;
        store_block_uploaded(group->outbox->store, &entry->block, group_on_source_marked, group);
    }
    group_on_source_marked(group, FM_OK);
}

/* OUTBOX-2. */
static void outbox_remove_work(struct pf_job *job)
{
    struct outbox *outbox = FM_CONTAINER(job, struct outbox, job);
    struct store *store = outbox->store;
    char target[STORE_PATH_BYTES], folder[STORE_PATH_BYTES], name[33];
    outbox->why.text[0] = '\0';
    outbox_print_name(outbox->going->name, name);
    store_path(store, folder, "outbox/.tmp");
    store_path(store, target, "outbox/.tmp/%s", name);
    int rc = pf_make_path(store->platform, folder, &outbox->why);
    if (rc == FM_OK && outbox->going->keeps_ahead) /* AHEAD-2 */
        rc = ahead_keep(store, outbox->going, &outbox->why);
    if (rc == FM_OK)
        rc = pf_remove_tree(store->platform, target, &outbox->why);
    for (struct fm_link *link = outbox->going->entries.next;
         rc == FM_OK && link != &outbox->going->entries; link = link->next)
        gone_take_outgoing(store, FM_CONTAINER(link, struct block_entry, link));
    if (rc == FM_OK)
        rc = store->platform->ops->rename(store->platform, outbox->going->path, target,
                                          &outbox->why);
    if (rc == FM_OK)
        rc = store->platform->ops->sync_dir(store->platform, folder, &outbox->why);
    store_path(store, folder, "outbox/%s", outbox->going->tenant->name);
    if (rc == FM_OK) /* else a power cut could bring it back, emptied */
        rc = store->platform->ops->sync_dir(store->platform, folder, &outbox->why);
    if (rc == FM_OK || rc == FM_ENOTFOUND)
        rc = pf_remove_tree(store->platform, target, &outbox->why);
    outbox->rc = rc;
}

static void outbox_on_removed(struct pf_job *job)
{
    struct outbox *outbox = FM_CONTAINER(job, struct outbox, job);
    struct store *store = outbox->store;
    fm_sm_move(&outbox->sm, OUTBOX_IDLE);
    if (outbox->rc == FM_OK && outbox->going->keeps_ahead)
        ahead_on_left(store, outbox->going);
    if (outbox->rc < 0)
        log_warn("outbox.stays", "path=%s why=\"%s\" removed at the next start",
                 outbox->going->path, outbox->why.text);
    outbox->bytes -= FM_MIN(outbox->bytes, group_bytes(outbox->going));
    outbox->going = outbox_group_free(outbox->going);
    outbox_step(store);
    cut_step(store);
    store_finish_close(store);
}

/* A group that may go now, out of the list; or NULL. */
static struct outbox_group *outbox_pick_going(struct outbox *outbox)
{
    for (struct fm_link *link = outbox->groups.next; link != &outbox->groups; link = link->next) {
        struct outbox_group *group = group_of(link);
        if (group->marking_count || !group_has_left(group))
            continue;
        if (!group->is_marked)
            group_mark_sources(group);
        if (group->is_marked && !group_is_held(group)) {
            fm_list_remove(link);
            group_forget(group);
            group->keeps_ahead =
                group->has_ahead && ahead_is_needed(group->tenant, group->ahead_last_lsn);
            return group;
        }
    }
    return NULL;
}

/* ---- into the outbox ---- */

static uint64_t outgoing_sealed_ns(const struct store *store, const struct store_outgoing *outgoing)
{
    uint64_t sealed_ns = pf_wall_ns(store->platform);
    for (size_t i = 0; i < outgoing->source_count; i++)
        sealed_ns = FM_MIN(sealed_ns, outgoing->sources[i]->sealed_unix_ns);
    return sealed_ns;
}

static int outbox_prepare(struct store *store, struct store_outgoing *outgoing)
{
    struct outbox *outbox = &store->outbox;
    struct tenant *tenant;
    FM_ASSERT(outgoing->source_count <= STORE_SOURCES_MAX);
    int rc = tenant_get(store, outgoing->tenant, &tenant);
    if (rc == FM_OK)
        rc = outbox_group_new(outbox, tenant, outgoing->lane, outgoing->name, &outbox->made);
    if (rc < 0)
        return rc;
    struct outbox_group *group = outbox->made;
    group->sealed_unix_ns = outgoing_sealed_ns(store, outgoing);
    group->has_ahead = outgoing->ahead != NULL;
    if (outgoing->source_count == 0)
        return FM_OK;
    group->sources = calloc(outgoing->source_count, sizeof *group->sources);
    if (!group->sources) {
        outbox->made = outbox_group_free(group);
        return FM_ENOMEM;
    }
    for (size_t i = 0; i < outgoing->source_count; i++)
        group->sources[i] = outgoing->sources[i]->meta.id;
    group->source_count = outgoing->source_count;
    return FM_OK;
}

static void outbox_on_built(struct pf_job *job)
{
    struct outbox *outbox = FM_CONTAINER(job, struct outbox, job);
    struct store *store = outbox->store;
    struct store_outgoing *outgoing = fm_take(outbox->building);
    struct outbox_group *group = fm_take(outbox->made);
    fm_sm_move(&outbox->sm, OUTBOX_IDLE);
    if (outbox->rc == FM_OK && group->block_count) {
        outbox->bytes += group_bytes(group);
        fm_list_append(&outbox->groups, &group->link);
        if (group->has_ahead)
            group->ahead_last_lsn = outgoing->ahead->last_lsn;
        group_find_sources(group);
        group_announce(group);
    } else {
        outbox_group_free(group);
    }
    outgoing->done(outgoing, outbox->rc);
    outbox_step(store);
    cut_step(store);
    store_finish_close(store);
}

/* Which build is next: those that cannot wait first; normal ones when the outbox has room. */
static struct store_outgoing *outbox_pick_wanted(struct outbox *outbox)
{
    struct store_outgoing *found = NULL;
    for (struct fm_link *link = outbox->wanted.next; link != &outbox->wanted; link = link->next) {
        struct store_outgoing *outgoing = FM_CONTAINER(link, struct store_outgoing, link);
        if (outgoing->lane == STORE_LANE_EXPRESS)
            return outgoing;
        if (!found && outbox->bytes < OUTBOX_BYTES_MAX)
            found = outgoing;
    }
    return found;
}

static void outbox_answer(struct outbox *outbox)
{
    while (!fm_list_empty(&outbox->cancelled)) {
        struct store_outgoing *outgoing =
            FM_CONTAINER(outbox->cancelled.next, struct store_outgoing, link);
        fm_list_remove(&outgoing->link);
        outgoing->done(outgoing, outbox->store->is_closing ? FM_ECLOSED : FM_ECANCELLED);
    }
}

static void outbox_start(struct store *store, struct store_outgoing *outgoing)
{
    struct outbox *outbox = &store->outbox;
    fm_list_remove(&outgoing->link);
    int rc = store_outgoing_exists(store, outgoing->tenant, outgoing->name)
                 ? FM_EEXISTS
                 : outbox_prepare(store, outgoing);
    if (rc < 0) {
        outgoing->done(outgoing, rc);
        return;
    }
    outbox->building = outgoing;
    outbox->is_cancelled = false;
    outbox->job =
        (struct pf_job){.work = outgoing_work, .done = outbox_on_built, .lane = PF_LANE_WORK};
    fm_sm_move(&outbox->sm, OUTBOX_BUILDING);
    pf_job_submit(store->platform, &outbox->job);
}

/* Memory is there for one build at a time: while a cut is made nothing begins here, and the other
 * way round (cut_step). */
static void outbox_step(struct store *store)
{
    struct outbox *outbox = &store->outbox;
    outbox_answer(outbox);
    switch ((enum outbox_state)outbox->sm.state) {
    case OUTBOX_IDLE: {
        if (store->is_closing)
            break;
        outbox->going = outbox_pick_going(outbox);
        if (outbox->going) {
            outbox->job = (struct pf_job){
                .work = outbox_remove_work, .done = outbox_on_removed, .lane = PF_LANE_DISK};
            fm_sm_move(&outbox->sm, OUTBOX_REMOVING);
            pf_job_submit(store->platform, &outbox->job);
            break;
        }
        struct store_outgoing *outgoing = outbox_pick_wanted(outbox);
        if (outgoing && store->cut.sm.state == CUT_IDLE)
            outbox_start(store, outgoing);
        break;
    }
    case OUTBOX_BUILDING:
    case OUTBOX_REMOVING:
        break; /* resumed by outbox_on_built, outbox_on_removed */
    }
}

/* A source could not be marked: nothing else brings us back. */
static bool outbox_has_failed(const struct outbox *outbox)
{
    const struct fm_link *groups = &outbox->groups;
    for (struct fm_link *link = groups->next; link != groups; link = link->next)
        if (group_of(link)->marks_failed)
            return true;
    return false;
}

static void outbox_on_timer(struct pf_timer *timer)
{
    struct outbox *outbox = FM_CONTAINER(timer, struct outbox, timer);
    struct store *store = outbox->store;
    outbox->timer_runs = false;
    outbox_step(store);
    if (!outbox->timer_runs && outbox_has_failed(outbox)) {
        outbox->timer_runs = true;
        pf_timer_start(store->platform, timer, STORE_RETRY_NS);
    }
    store_finish_close(store);
}

void outbox_look(struct store *store)
{
    struct outbox *outbox = &store->outbox;
    pf_timer_stop(store->platform, &outbox->timer);
    outbox->timer_runs = true;
    pf_timer_start(store->platform, &outbox->timer, 0);
}

void store_outgoing_build(struct store *store, struct store_outgoing *outgoing)
{
    fm_list_init(&outgoing->link);
    fm_list_append(store->is_closing ? &store->outbox.cancelled : &store->outbox.wanted,
                   &outgoing->link);
    outbox_look(store);
}

void store_outgoing_cancel(struct store *store, struct store_outgoing *outgoing)
{
    struct outbox *outbox = &store->outbox;
    if (outbox->building == outgoing) {
        outbox->is_cancelled = true;
        return;
    }
    if (fm_list_empty(&outgoing->link))
        return; /* done is on its way, or was */
    fm_list_remove(&outgoing->link);
    fm_list_append(&outbox->cancelled, &outgoing->link);
    outbox_look(store);
}

void outbox_close(struct store *store)
{
    struct outbox *outbox = &store->outbox;
    outbox->is_cancelled = true;
    while (!fm_list_empty(&outbox->wanted)) {
        struct fm_link *link = outbox->wanted.next;
        fm_list_remove(link);
        fm_list_append(&outbox->cancelled, link);
    }
    outbox_look(store);
}
