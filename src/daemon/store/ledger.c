/* SPDX-License-Identifier: Apache-2.0 */
/* ledger - what became of every span, exactly, whenever the power goes.
 *
 * What is here speaks for itself: records of the log, blocks, their decisions and markers.  Only
 * the last account of what is gone has to be kept, in one file of entries (docs/formats/ledger.md).
 *
 * LEDGER-1  A block's entry is in the file, synced, before the first of its files goes.
 * LEDGER-2  An entry whose block is found at start is void: the block speaks for itself.  So it
 *           does not matter how often, or at which moment, a deletion was cut short.
 * LEDGER-3  An entry keeps its own place in the file until the log holds no record that its block
 *           covered; then it becomes part of a sum, at the next time the file is written anew.
 * LEDGER-4  The file is written anew as a whole, by one rename; always after a failed write or
 *           sync.
 * LEDGER-5  Room is made ready in front of the end, so that a full disk can be emptied.
 *
 * Written by keep's job (ledger_work), planned and concluded on the loop.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/store_ledger.h"

#define LEDGER_FILE_MAX     FM_MIB(64)
#define LEDGER_ROWS_MAX     32768u
#define LEDGER_HOURS_KEPT   (35u * 24u) /* of a tenant, told apart; older ones are joined */
#define LEDGER_GROWTH_BYTES FM_KIB(64)  /* at least, before it is written anew */
#define LEDGER_ROOM_BYTES   FM_KIB(64)  /* made ready at once */
#define LEDGER_ROOM_LEAST   FM_KIB(16)
#define LEDGER_OTHERS       "(others)" /* tenants beyond all bounds, together */

void book_init(struct store *store)
{
    struct book *book = &store->book;
    *book = (struct book){0};
    ledger_init(&book->sums);
    ledger_init(&book->rejected);
    ledger_init(&book->came);
    fm_list_init(&book->entries);
    fm_buf_init(&book->plan, 2 * LEDGER_FILE_MAX);
}

void book_fini(struct store *store)
{
    struct book *book = &store->book;
    while (!fm_list_empty(&book->entries)) {
        struct book_entry *entry = FM_CONTAINER(book->entries.next, struct book_entry, link);
        fm_list_remove(&entry->link);
        free(entry);
    }
    ledger_fini(&book->sums);
    ledger_fini(&book->rejected);
    ledger_fini(&book->came);
    fm_buf_fini(&book->plan);
}

static struct book_entry *book_entry_of(struct fm_link *link)
{
    return FM_CONTAINER(link, struct book_entry, link);
}

static struct book_entry *book_add(struct store *store, const struct ledger_entry *entry)
{
    struct book_entry *added = calloc(1, sizeof *added);
    FM_ASSERT(added); /* a few bytes, and no other way to keep it */
    added->entry = *entry;
    fm_list_append(&store->book.entries, &added->link);
    return added;
}

static void entry_init(struct ledger_entry *entry, const struct store *store, enum ledger_kind kind,
                       const char *tenant, struct lsn_range range)
{
    *entry = (struct ledger_entry){
        .kind = kind,
        .first_lsn = range.first,
        .last_lsn = range.last,
        .unix_ns = pf_wall_ns(store->platform),
    };
    (void)snprintf(entry->tenant, sizeof entry->tenant, "%s", tenant);
}

/* ---- accounts of what is here ---- */

static size_t book_block_rows(const struct block_entry *entry, enum ledger_column column,
                              uint64_t ahead_waiting, struct ledger_row rows[LEDGER_HOURS_MAX])
{
    const struct store_decided *decided = &entry->decided;
    struct ledger_split split = {
        .span_count = entry->block.span_count,
        .kept = entry->block.span_count,
        .ahead_waiting = ahead_waiting,
        .column = column,
    };
    if (decided->verdict == STORE_NOTHING || decided->verdict == STORE_PART) {
        split.kept = decided->verdict == STORE_PART ? decided->kept_spans : 0;
        split.ahead = FM_MIN(decided->ahead_spans, split.kept);
    }
    return ledger_account_rows(&entry->block.account, &split, rows);
}

/* Of a block of which a part leaves, that part has the lane. */
static enum ledger_column book_lane(const struct store *store, const struct block_entry *entry)
{
    const struct store_observer *observer = &store->observer;
    const struct store_block *part =
        entry->decided.verdict == STORE_PART ? outbox_part_of(entry) : NULL;
    return observer->lane_of ? observer->lane_of(observer->self, part ? part : &entry->block)
                             : LEDGER_PENDING_FRESH;
}

static int book_add_block(struct ledger *ledger, const struct store *store,
                          const struct block_entry *entry)
{
    struct ledger_row rows[LEDGER_HOURS_MAX];
    enum ledger_column column = entry->is_uploaded ? LEDGER_UPLOADED : book_lane(store, entry);
    size_t count = book_block_rows(entry, column, outbox_ahead_spans(entry), rows);
    int rc = FM_OK;
    for (size_t i = 0; rc == FM_OK && i < count; i++)
        rc = ledger_add(ledger, fm_slice_text(entry->block.meta.tenant), &rows[i]);
    return rc;
}

static uint32_t book_hour(uint64_t unix_ns)
{
    return (uint32_t)FM_MIN(unix_ns / LEDGER_HOUR_NS, (uint64_t)UINT32_MAX);
}

/* Records of an hour lie together. */
static int book_add_head(struct ledger *ledger, const struct tenant *tenant)
{
    struct ledger_row row = {0};
    int rc = FM_OK;
    for (size_t i = 0; rc == FM_OK && i < tenant->part_count; i++) {
        const struct head_part *part = &tenant->parts[tenant->part_first + i];
        uint32_t position = part->begin;
        for (const struct head_record *record; (record = head_part_next(part, &position));) {
            uint32_t hour = book_hour(record->received_unix_ns);
            if (hour != row.hour && row.spans[LEDGER_PENDING_LOG]) {
                rc = ledger_add(ledger, fm_slice_text(tenant->name), &row);
                row.spans[LEDGER_PENDING_LOG] = 0;
            }
            row.hour = hour;
            row.spans[LEDGER_PENDING_LOG] += record->span_count;
        }
    }
    if (rc == FM_OK && row.spans[LEDGER_PENDING_LOG])
        rc = ledger_add(ledger, fm_slice_text(tenant->name), &row);
    return rc;
}

static int book_add_entry(struct ledger *ledger, const struct ledger_entry *entry)
{
    int rc = FM_OK;
    for (uint32_t i = 0; rc == FM_OK && i < entry->row_count; i++)
        rc = ledger_add(ledger, fm_slice_text(entry->tenant), &entry->rows[i]);
    return rc;
}

int store_ledger_read(const struct store *store, struct ledger *ret_ledger)
{
    const struct book *book = &store->book;
    struct ledger ledger;
    ledger_init(&ledger);
    int rc = ledger_add_all(&ledger, &book->sums);
    if (rc == FM_OK)
        rc = ledger_add_all(&ledger, &book->rejected);
    for (struct fm_link *link = book->entries.next; rc == FM_OK && link != &book->entries;
         link = link->next)
        rc = book_add_entry(&ledger, &book_entry_of(link)->entry);
    for (struct fm_link *link = store->blocks.next; rc == FM_OK && link != &store->blocks;
         link = link->next)
        rc = book_add_block(&ledger, store, FM_CONTAINER(link, struct block_entry, link));
    for (size_t i = 0; rc == FM_OK && i < store->tenant_count; i++)
        rc = book_add_head(&ledger, store->tenants[i]);
    if (rc < 0)
        ledger_fini(&ledger);
    else
        *ret_ledger = ledger;
    return rc;
}

/* ---- the invariant ---- */

void book_note(struct store *store, const struct tenant *tenant, uint64_t received_unix_ns,
               uint64_t spans)
{
    struct ledger_row row = {.hour = book_hour(received_unix_ns)};
    row.spans[LEDGER_PENDING_LOG] = spans;
    if (ledger_add(&store->book.came, fm_slice_text(tenant->name), &row) < 0)
        store->book.came_is_short = true;
}

/* Rows of hours that only one of the two has are zeros in the other. */
static bool book_compare(const struct ledger_tenant *is, const struct ledger_tenant *came,
                         struct fm_why *why)
{
    uint32_t first_hour = FM_MAX(ledger_first_hour(is), ledger_first_hour(came));
    uint64_t is_all = 0, came_all = 0;
    size_t i = 0, k = 0;
    while (i < is->count || k < came->count) {
        uint32_t hour = FM_MIN(i < is->count ? is->rows[i].hour : UINT32_MAX,
                               k < came->count ? came->rows[k].hour : UINT32_MAX);
        uint64_t is_spans = 0, came_spans = 0;
        for (; i < is->count && is->rows[i].hour == hour; i++)
            is_spans += ledger_stored(&is->rows[i]);
        for (; k < came->count && came->rows[k].hour == hour; k++)
            came_spans += ledger_stored(&came->rows[k]);
        if (is_spans != came_spans && hour >= first_hour) {
            (void)fm_fail(why, FM_ECORRUPT, "tenant %s hour %u: %llu spans came, %llu are known",
                          is->name, hour, (unsigned long long)came_spans,
                          (unsigned long long)is_spans);
            return false;
        }
        is_all += is_spans;
        came_all += came_spans;
    }
    if (is_all != came_all)
        (void)fm_fail(why, FM_ECORRUPT, "tenant %s: %llu spans came, %llu are known", is->name,
                      (unsigned long long)came_all, (unsigned long long)is_all);
    return is_all == came_all;
}

bool store_ledger_check(const struct store *store, struct fm_why *why)
{
    const struct book *book = &store->book;
    static const struct ledger_tenant nobody = {.name = ""};
    struct ledger ledger;
    bool holds = true;
    if (book->came_is_short || store_ledger_read(store, &ledger) < 0)
        return true; /* no memory to tell */
    for (size_t i = 0, k = 0; holds && (i < ledger.count || k < book->came.count);) {
        const struct ledger_tenant *is = i < ledger.count ? ledger.tenants[i] : NULL;
        const struct ledger_tenant *came = k < book->came.count ? book->came.tenants[k] : NULL;
        int order = !is ? 1 : !came ? -1 : strcmp(is->name, came->name);
        holds = book_compare(order <= 0 ? is : &nobody, order >= 0 ? came : &nobody, why);
        i += order <= 0;
        k += order >= 0;
    }
    ledger_fini(&ledger);
    return holds;
}

/* ---- what changes ---- */

void store_ledger_reject(struct store *store, struct fm_slice tenant, enum ledger_column column,
                         uint64_t spans)
{
    struct ledger *rejected = &store->book.rejected;
    struct ledger_row *row;
    FM_ASSERT(column >= LEDGER_FIRST_REJECTED && column < LEDGER_COLUMN_COUNT);
    if (!spans)
        return;
    if (rejected->count + store->book.sums.count >= 2 * STORE_TENANT_MAX ||
        !tenant_is_valid(tenant))
        tenant = FM_SLICE(LEDGER_OTHERS);
    if (ledger_row_of(rejected, tenant, book_hour(pf_wall_ns(store->platform)), &row) == FM_OK)
        row->spans[column] += spans;
}

/* What waits in the outbox leaves without its block: it counts as uploaded. */
void book_close(struct store *store, struct block_entry *block)
{
    static const enum ledger_column columns[] = {
        [STORE_END_SETTLED] = LEDGER_UPLOADED,
        [STORE_END_EXPIRED] = LEDGER_EXPIRED,
        [STORE_END_DROPPED] = LEDGER_NO_SPACE,
        [STORE_END_CORRUPT] = LEDGER_UNREADABLE,
    };
    struct ledger_entry entry;
    if (block->end == STORE_END_MERGED)
        return;
    entry_init(&entry, store, LEDGER_BLOCK, block->block.meta.tenant,
               (struct lsn_range){block->block.first_lsn, block->block.last_lsn});
    memcpy(entry.id, &block->block.meta.id, sizeof entry.id);
    entry.covers = true;
    entry.row_count = (uint32_t)book_block_rows(block, columns[block->end], 0, entry.rows);
    block->closing = book_add(store, &entry);
}

int book_lose(struct store *store, struct tenant *tenant, struct lsn_range range,
              const struct ledger_account *account)
{
    const struct ledger_split nothing = {.column = LEDGER_SAMPLED_OUT};
    struct ledger_entry entry;
    entry_init(&entry, store, LEDGER_LOST, tenant->name, range);
    entry.covers = true;
    entry.row_count = (uint32_t)ledger_account_rows(account, &nothing, entry.rows);
    book_add(store, &entry)->is_final = true;
    return cover_add(tenant, range.first, range.last);
}

void book_lose_record(struct store *store, const struct wal_record *record)
{
    char name[TENANT_LEN_MAX + 1] = LEDGER_OTHERS;
    struct ledger_entry entry;
    if (tenant_is_valid(record->tenant)) {
        memcpy(name, record->tenant.ptr, record->tenant.len);
        name[record->tenant.len] = '\0';
    }
    entry_init(&entry, store, LEDGER_RECORD, name, (struct lsn_range){record->lsn, record->lsn});
    entry.rows[0].hour = book_hour(record->received_unix_ns);
    entry.rows[0].spans[LEDGER_UNREADABLE] = record->span_count;
    entry.row_count = 1;
    for (struct fm_link *link = store->book.entries.next; link != &store->book.entries;
         link = link->next) {
        if (ledger_entry_is_same(&book_entry_of(link)->entry, &entry))
            return; /* found at an earlier start */
    }
    book_add(store, &entry)->is_final = true;
}

void book_set_aside(struct store *store, const struct tenant *tenant,
                    const struct block_entry *block)
{
    struct ledger_entry entry;
    if (!block->block.account.hour_count)
        return; /* nobody knows what was in it */
    entry_init(&entry, store, LEDGER_BLOCK, tenant->name,
               (struct lsn_range){block->block.first_lsn, block->block.last_lsn});
    memcpy(entry.id, &block->block.meta.id, sizeof entry.id);
    entry.row_count = (uint32_t)book_block_rows(
        block, block->is_uploaded ? LEDGER_UPLOADED : LEDGER_UNREADABLE, 0, entry.rows);
    struct book_entry *added = book_add(store, &entry);
    added->is_final = added->is_aside = true;
}

/* ---- start ---- */

/* Later entries replace earlier ones of the same thing. */
static int book_take(struct store *store, const struct ledger_entry *entry)
{
    struct book *book = &store->book;
    if (entry->kind == LEDGER_SUM)
        return book_add_entry(&book->sums, entry);
    for (struct fm_link *link = book->entries.next; link != &book->entries; link = link->next) {
        struct book_entry *earlier = book_entry_of(link);
        if (!ledger_entry_is_same(&earlier->entry, entry))
            continue;
        earlier->entry = *entry;
        return FM_OK;
    }
    struct book_entry *added = book_add(store, entry);
    added->is_written = added->is_final = true;
    return FM_OK;
}

static int book_parse(struct store *store, struct fm_slice file)
{
    struct book *book = &store->book;
    struct ledger_reader reader;
    struct ledger_entry entry;
    int rc = ledger_reader_init(&reader, file);
    if (rc < 0)
        return rc;
    while ((rc = ledger_reader_next(&reader, &entry)) == FM_OK) {
        rc = book_take(store, &entry);
        if (rc < 0)
            return rc;
    }
    book->file_bytes = book->base_bytes = reader.end;
    book->room_bytes = file.len;
    book->must_rewrite = reader.damaged_bytes || reader.torn_bytes;
    if (reader.damaged_bytes) {
        log_error("ledger.damaged", "bytes=%zu what they said is missing in the accounts",
                  reader.damaged_bytes);
        store_quarantine_bytes(store, "ledger", file);
    }
    return FM_OK;
}

/* What a process that was killed wrote may be ahead of the disk; from here on it is not. */
static void book_sync(struct store *store, const char *path)
{
    struct pf_file *file;
    int rc = pf_open(store->platform, path, PF_WRITE, &file, NULL);
    if (rc == FM_OK) {
        rc = store->platform->ops->sync(file, NULL);
        pf_close(store->platform, file);
    }
    store->book.must_rewrite |= rc < 0;
}

int book_load(struct store *store, struct fm_why *why)
{
    char path[STORE_PATH_BYTES];
    struct fm_buf file;
    int rc = FM_EIO;
    store_path(store, path, "ledger");
    fm_buf_init(&file, LEDGER_FILE_MAX);
    for (unsigned attempt = 0; rc == FM_EIO && attempt < STORE_READ_ATTEMPTS; attempt++) {
        fm_buf_reset(&file);
        rc = pf_read_file(store->platform, path, &file, why);
    }
    if (rc == FM_OK && (rc = book_parse(store, fm_buf_slice(&file))) == FM_OK)
        book_sync(store, path);
    fm_buf_fini(&file);
    if (rc == FM_OK || rc == FM_ENOMEM)
        return rc == FM_OK ? FM_OK : fm_fail(why, rc, "no memory for the ledger");
    store->book.must_rewrite = true;
    if (rc == FM_ENOTFOUND)
        return FM_OK;
    log_error("ledger.unreadable", "path=%s why=\"%s\" accounts of what is gone are missing", path,
              fm_rc_text(rc));
    (void)store_quarantine(store, path, fm_rc_text(rc));
    return FM_OK;
}

static bool book_is_live(const struct tenant *tenant, const struct ledger_entry *entry)
{
    if (entry->kind != LEDGER_BLOCK)
        return false;
    for (size_t i = 0; i < tenant->block_count; i++) {
        if (memcmp(&tenant->blocks[i]->block.meta.id, entry->id, sizeof entry->id) == 0)
            return true;
    }
    return false;
}

int book_settle(struct store *store)
{
    struct book *book = &store->book;
    for (struct fm_link *link = book->entries.next, *next; link != &book->entries; link = next) {
        struct book_entry *entry = book_entry_of(link);
        struct tenant *tenant;
        next = link->next;
        int rc = tenant_get(store, fm_slice_text(entry->entry.tenant), &tenant);
        if (rc == FM_ELIMIT)
            continue;
        if (rc < 0)
            return rc;
        if (book_is_live(tenant, &entry->entry)) { /* LEDGER-2 */
            fm_list_remove(link);
            free(entry);
        } else if (entry->entry.covers) {
            rc = cover_add(tenant, entry->entry.first_lsn, entry->entry.last_lsn);
            if (rc < 0)
                return rc;
        }
    }
    return FM_OK;
}

/* What of a block that was set aside is in the head again is not lost. */
static void book_take_back(const struct tenant *tenant, struct ledger_entry *entry)
{
    for (size_t i = 0; i < tenant->part_count; i++) {
        const struct head_part *part = &tenant->parts[tenant->part_first + i];
        uint32_t position = part->begin;
        for (const struct head_record *record; (record = head_part_next(part, &position));) {
            uint64_t spans = record->span_count;
            if (record->lsn < entry->first_lsn || record->lsn > entry->last_lsn)
                continue;
            for (uint32_t k = 0; k < entry->row_count; k++) {
                struct ledger_row *row = &entry->rows[k];
                if (row->hour != book_hour(record->received_unix_ns) && k + 1 < entry->row_count)
                    continue;
                for (size_t c = 0; c < LEDGER_FIRST_REJECTED && spans; c++) {
                    uint64_t part_of = FM_MIN(row->spans[c], spans);
                    row->spans[c] -= part_of;
                    spans -= part_of;
                }
                break;
            }
        }
    }
}

int book_begin(struct store *store)
{
    struct book *book = &store->book;
    for (struct fm_link *link = book->entries.next; link != &book->entries; link = link->next) {
        struct book_entry *entry = book_entry_of(link);
        struct tenant *tenant;
        if (entry->is_aside &&
            tenant_find(store, fm_slice_text(entry->entry.tenant), &tenant) == FM_OK)
            book_take_back(tenant, &entry->entry);
    }
    ledger_reset(&book->came);
    return store_ledger_read(store, &book->came);
}

/* ---- writing ---- */

/* LEDGER-3.  Into the sums with what may; and hours that are long over are joined. */
static void book_fold(struct store *store, uint64_t log_begin_lsn)
{
    struct book *book = &store->book;
    for (struct fm_link *link = book->entries.next, *next; link != &book->entries; link = next) {
        struct book_entry *entry = book_entry_of(link);
        next = link->next;
        if (!entry->is_final || entry->entry.last_lsn >= log_begin_lsn || book->is_unsure ||
            book_add_entry(&book->sums, &entry->entry) < 0)
            continue;
        fm_list_remove(link);
        free(entry);
    }
    ledger_fold(&book->sums, LEDGER_HOURS_KEPT, LEDGER_ROWS_MAX);
    ledger_fold(&book->came, LEDGER_HOURS_KEPT, LEDGER_ROWS_MAX);
}

static void book_put_entries(struct book *book, bool all)
{
    for (struct fm_link *link = book->entries.next; link != &book->entries; link = link->next) {
        struct book_entry *entry = book_entry_of(link);
        entry->is_planned = all || !entry->is_written;
        if (entry->is_planned)
            ledger_entry_put(&entry->entry, &book->plan);
    }
}

void book_plan(struct store *store, uint64_t log_begin_lsn)
{
    struct book *book = &store->book;
    uint64_t grown = book->file_bytes - book->base_bytes;
    fm_buf_reset(&book->plan);
    book->plan_is_whole =
        book->must_rewrite || grown > FM_MAX(LEDGER_GROWTH_BYTES, book->base_bytes);
    book->plan_rc = FM_OK;
    if (!book->plan_is_whole)
        ledger_sums_put(&book->rejected, pf_wall_ns(store->platform), &book->plan);
    if (ledger_add_all(&book->sums, &book->rejected) < 0)
        log_error("ledger.memory", "some refused spans are in no account");
    ledger_reset(&book->rejected);
    if (book->plan_is_whole) {
        book_fold(store, log_begin_lsn);
        ledger_file_begin(&book->plan);
        ledger_sums_put(&book->sums, pf_wall_ns(store->platform), &book->plan);
        book->plan_base_bytes = book->plan.len;
    }
    book_put_entries(book, book->plan_is_whole);
    if (book->plan.failed)
        book->plan_rc = FM_ENOMEM;
}

/* LEDGER-5. */
static void book_make_room(struct store *store, struct pf_file *file)
{
    struct book *book = &store->book;
    if (book->room_bytes >= book->file_bytes + LEDGER_ROOM_LEAST)
        return;
    uint64_t size = book->file_bytes + LEDGER_ROOM_BYTES;
    if (store->platform->ops->allocate(file, size, NULL) == FM_OK)
        book->room_bytes = size;
}

static int book_append(struct store *store, const char *path, struct fm_why *why)
{
    struct book *book = &store->book;
    struct pf_file *file;
    int rc = pf_open(store->platform, path, PF_WRITE, &file, why);
    if (rc < 0)
        return rc;
    rc = pf_write(file, store->platform, book->file_bytes, fm_buf_slice(&book->plan), why);
    if (rc == FM_OK)
        rc = store->platform->ops->sync(file, why);
    if (rc == FM_OK) {
        book->file_bytes += book->plan.len;
        book_make_room(store, file);
    }
    pf_close(store->platform, file);
    return rc;
}

/* LEDGER-4. */
static int book_rewrite(struct store *store, const char *path, struct fm_why *why)
{
    struct book *book = &store->book;
    struct pf_file *file;
    int rc = pf_replace_file(store->platform, path, fm_buf_slice(&book->plan), why);
    if (rc < 0)
        return rc;
    book->file_bytes = book->room_bytes = book->plan.len;
    book->base_bytes = book->plan_base_bytes;
    if (pf_open(store->platform, path, PF_WRITE, &file, NULL) == FM_OK) {
        book_make_room(store, file);
        pf_close(store->platform, file);
    }
    return FM_OK;
}

void book_work(struct store *store)
{
    struct book *book = &store->book;
    char path[STORE_PATH_BYTES];
    struct fm_why why = {""};
    store_path(store, path, "ledger");
    if (book->plan_rc == FM_OK && book->plan_is_whole)
        book->plan_rc = book_rewrite(store, path, &why);
    else if (book->plan_rc == FM_OK && book->plan.len)
        book->plan_rc = book_append(store, path, &why);
    if (book->plan_rc < 0)
        log_warn("ledger.not_written", "why=\"%s\" blocks stay until it is",
                 why.text[0] ? why.text : fm_rc_text(book->plan_rc));
}

void book_done(struct store *store)
{
    struct book *book = &store->book;
    book->must_rewrite = book->plan_rc < 0;
    for (struct fm_link *link = book->entries.next; link != &book->entries; link = link->next) {
        struct book_entry *entry = book_entry_of(link);
        entry->is_written |= entry->is_planned && book->plan_rc == FM_OK;
        entry->is_planned = false;
    }
    fm_buf_fini(&book->plan);
    fm_buf_init(&book->plan, 2 * LEDGER_FILE_MAX);
}

void book_save(struct store *store)
{
    book_plan(store, 0);
    book_work(store);
    book_done(store);
}

/* ---- metrics ---- */

void store_ledger_put_metrics(const struct store *store, struct fm_buf *out)
{
    const char *name = "fermata_ledger_spans";
    struct ledger ledger;
    struct ledger_row total = {0};
    char labels[96];
    if (store_ledger_read(store, &ledger) == FM_OK) {
        ledger_total(&ledger, &total);
        ledger_fini(&ledger);
    }
    metric_family(out, name, "gauge", "What became of every span, since the ledger began.");
    metric_line(out, name, "state=\"received\"", ledger_stored(&total) + ledger_rejected(&total));
    metric_line(out, name, "state=\"stored\"", ledger_stored(&total));
    for (size_t i = 0; i < LEDGER_COLUMN_COUNT; i++) {
        const struct ledger_column_text *text = &ledger_column_texts[i];
        if (text->value[0])
            (void)snprintf(labels, sizeof labels, "state=\"%s\",%s=\"%s\"", text->state,
                           text->label, text->value);
        else
            (void)snprintf(labels, sizeof labels, "state=\"%s\"", text->state);
        metric_line(out, name, labels, total.spans[i]);
    }
    metric_gauge(out, "fermata_ledger_balanced", "1 while all accounts of the ledger agree.",
                 store_ledger_check(store, NULL));
}

void store_ledger_put_dropped(const struct store *store, struct fm_buf *out)
{
    struct ledger ledger;
    struct ledger_row total = {0};
    if (store_ledger_read(store, &ledger) == FM_OK) {
        ledger_total(&ledger, &total);
        ledger_fini(&ledger);
    }
    metric_line(out, "fermata_spans_dropped_total", "stage=\"log\",reason=\"duplicate\"",
                total.spans[LEDGER_DUPLICATE]);
    metric_line(out, "fermata_spans_dropped_total", "stage=\"log\",reason=\"unreadable\"",
                metric_get(&store->metrics.lost_spans));
}
