/* SPDX-License-Identifier: Apache-2.0 */
/* cursor - store_cursor.h: everything that is stored, in order, for those who pass it on.
 *
 * A seat is the cursor's place with one tenant.  What comes next there is the oldest of: the block
 * it stands in, the first block that reaches beyond it, the first durable record of the head behind
 * it.
 *
 * CUR-1  Records of the head leave it as a block.  A block that is cut ends where a cursor stands
 *        (cursors_limit), and a seat that stands in front of all that is being cut waits for the
 *        block; so no block holds both what a cursor has read and what it has not.
 * CUR-2  The limit is the place that would be found again after a crash, as long as that lies in
 *        the head: else a crash would send a whole block again.
 * CUR-3  A read of the head pins its segments for one job, and its tenant is not cut meanwhile.
 * CUR-4  A cursor that reads decided blocks only has no place in the head but the one it began
 *        with: it goes from block to block and waits in front of the first that is not decided.
 * CUR-5  What was read and not passed on yet ends at marks, in order; each of them may become the
 *        place, so a block ends at the first of them as it would at the place.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/block_traces.h"
#include "fermata/pb.h"
#include "fermata/store_cursor.h"

struct seat {
    struct tenant *tenant;    /* borrowed */
    struct store_place place; /* passed on */
    struct store_place taken; /* read; place if nothing is under way, else the last mark */
    uint64_t saved_lsn;
};

struct cursor_mark { /* the end of what was read, until it is passed on */
    size_t seat;
    struct store_place place;
};

struct store_cursor {
    struct fm_link link; /* store->cursors */
    struct store *store; /* borrowed */
    struct store_cursor_options options;
    struct seat *seats; /* owned; numbered for ever */
    size_t seat_count, seat_capacity;
    struct cursor_mark marks[STORE_CURSOR_READS_MAX]; /* CUR-5 */
    size_t mark_count;
    uint64_t expired_spans, lost_spans, sampled_out_spans;
    /* the block it stands in */
    struct block_entry *entry; /* with a reference, or NULL */
    struct pf_source file;
    struct block *block;             /* owned; opened by a job */
    struct block_traces *traces;     /* owned */
    struct store_decision *decision; /* owned; of which rows to read; NULL: all */
    bool must_let_go;
    /* the read under way */
    struct store_cursor_read *read; /* borrowed; NULL: none */
    struct pf_job job;
    struct head_view view;
    uint64_t after_lsn, limit_lsn; /* of the head */
    enum store_verdict verdict;    /* of the block */
    uint64_t spans, passes_over;   /* of the block: to pass on, and not to */
    int rc;
    uint64_t job_lost_spans;
};

#define CURSOR_SPARSE_SHARE 32u /* fewer than 1 / 32 of a block's traces: read each by itself */

static const uint8_t no_block[16];

static bool place_in_block(const struct store_place *place)
{
    return memcmp(place->block, no_block, sizeof no_block) != 0;
}

static bool place_is_in(const struct store_place *place, const struct block_entry *entry)
{
    return memcmp(place->block, entry->block.meta.id.bytes, sizeof place->block) == 0;
}

/* ---- seats ---- */

static int cursor_add_seat(struct store_cursor *cursor, struct tenant *tenant)
{
    if (cursor->seat_count == cursor->seat_capacity) {
        size_t capacity = cursor->seat_capacity ? cursor->seat_capacity * 2 : 4;
        struct seat *grown = realloc(cursor->seats, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        cursor->seats = grown;
        cursor->seat_capacity = capacity;
    }
    struct store_place place = {.lsn = cursor->options.begin_lsn};
    cursor->seats[cursor->seat_count++] = (struct seat){tenant, place, place, place.lsn};
    return FM_OK;
}

static struct seat *cursor_seat(const struct store_cursor *cursor, const struct tenant *tenant)
{
    for (size_t i = 0; i < cursor->seat_count; i++) {
        if (cursor->seats[i].tenant == tenant)
            return &cursor->seats[i];
    }
    return NULL;
}

/* Tenants come and never go. */
static void cursor_take_seats(struct store_cursor *cursor)
{
    struct store *store = cursor->store;
    for (size_t i = 0; cursor->seat_count < store->tenant_count && i < store->tenant_count; i++) {
        if (!cursor_seat(cursor, store->tenants[i]) &&
            cursor_add_seat(cursor, store->tenants[i]) < 0)
            return; /* without memory it is found next time */
    }
}

size_t store_cursor_tenant_count(struct store_cursor *cursor)
{
    cursor_take_seats(cursor);
    return cursor->seat_count;
}

const char *store_cursor_tenant(const struct store_cursor *cursor, size_t tenant)
{
    return cursor->seats[tenant].tenant->name;
}

struct store_place store_cursor_place(const struct store_cursor *cursor, size_t tenant)
{
    return cursor->seats[tenant].place;
}

void store_cursor_restore(struct store_cursor *cursor, const char *name,
                          const struct store_place *place)
{
    struct tenant *tenant;
    cursor_take_seats(cursor);
    if (tenant_find(cursor->store, fm_slice_text(name), &tenant) != FM_OK)
        return;
    struct seat *seat = cursor_seat(cursor, tenant);
    if (seat)
        *seat = (struct seat){tenant, *place, *place, place->lsn};
}

/* ---- what was read and not passed on ---- */

/* Of the tenant: the first mark, or the last; SIZE_MAX: there is none. */
static size_t cursor_mark(const struct store_cursor *cursor, size_t tenant, bool is_last)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < cursor->mark_count && (is_last || found == SIZE_MAX); i++) {
        if (cursor->marks[i].seat == tenant)
            found = i;
    }
    return found;
}

static void cursor_drop_mark(struct store_cursor *cursor, size_t index)
{
    cursor->mark_count--;
    memmove(&cursor->marks[index], &cursor->marks[index + 1],
            (cursor->mark_count - index) * sizeof cursor->marks[0]);
}

void store_cursor_advance(struct store_cursor *cursor, size_t tenant,
                          const struct store_place *place)
{
    struct seat *seat = &cursor->seats[tenant];
    size_t index = cursor_mark(cursor, tenant, false);
    if (index != SIZE_MAX)
        cursor_drop_mark(cursor, index);
    seat->place = *place;
    if (cursor_mark(cursor, tenant, true) == SIZE_MAX)
        seat->taken = *place;
}

void store_cursor_rewind(struct store_cursor *cursor, size_t tenant)
{
    struct seat *seat = &cursor->seats[tenant];
    size_t index = cursor_mark(cursor, tenant, true);
    if (index != SIZE_MAX)
        cursor_drop_mark(cursor, index);
    index = cursor_mark(cursor, tenant, true);
    seat->taken = index == SIZE_MAX ? seat->place : cursor->marks[index].place;
}

void store_cursor_saved(struct store_cursor *cursor, size_t tenant, uint64_t lsn)
{
    cursor->seats[tenant].saved_lsn = lsn;
}

/* ---- what comes next ---- */

/* Index of the part that holds the first record behind lsn, or of one in front of it. */
static size_t parts_find(const struct head_part *parts, size_t count, uint64_t lsn)
{
    while (count > 1) {
        uint32_t position = parts[count - 1].begin;
        const struct head_record *record = head_part_next(&parts[count - 1], &position);
        if (record && record->lsn <= lsn)
            break;
        count--;
    }
    return count ? count - 1 : 0;
}

struct head_walk { /* live records behind an LSN */
    const struct head_part *parts;
    size_t count, index;
    uint32_t position;
};

static void head_walk_begin(struct head_walk *walk, const struct head_part *parts, size_t count,
                            uint64_t lsn)
{
    *walk = (struct head_walk){parts, count, parts_find(parts, count, lsn), 0};
    if (walk->index < count)
        walk->position = parts[walk->index].begin;
}

static const struct head_record *head_walk_next(struct head_walk *walk, uint64_t after_lsn,
                                                uint64_t limit_lsn)
{
    while (walk->index < walk->count) {
        const struct head_record *record =
            head_part_next(&walk->parts[walk->index], &walk->position);
        if (!record) {
            if (++walk->index < walk->count)
                walk->position = walk->parts[walk->index].begin;
            continue;
        }
        if (record->lsn > limit_lsn)
            return NULL;
        if (record->lsn > after_lsn && !record->is_dead)
            return record;
    }
    return NULL;
}

static const struct head_record *tenant_record_behind(const struct tenant *tenant,
                                                      struct head_walk *walk, uint64_t lsn,
                                                      uint64_t limit_lsn)
{
    if (!tenant->record_count || tenant->last_lsn <= lsn)
        return NULL;
    head_walk_begin(walk, tenant->parts + tenant->part_first, tenant->part_count, lsn);
    return head_walk_next(walk, lsn, limit_lsn);
}

static uint64_t store_readable_lsn(const struct store *store)
{
    return store->log.durable_lsn ? store->log.durable_lsn - 1 : 0;
}

/* Index of the first block that is not behind the place. */
static size_t tenant_block_behind(const struct tenant *tenant, const struct store_place *place)
{
    size_t index = tenant->block_count;
    for (; index && tenant->blocks[index - 1]->block.last_lsn > place->lsn; index--) {
        if (place_is_in(place, tenant->blocks[index - 1]))
            return index - 1;
    }
    return index;
}

/* Whether the cursor may read it: what left before anything was decided is kept. */
static bool cursor_may_read(const struct store_cursor *cursor, const struct block_entry *entry)
{
    return !cursor->options.decided_only || entry->is_uploaded ||
           entry->decided.verdict != STORE_UNDECIDED;
}

/* Spans of it that the cursor passes on. */
static uint64_t cursor_spans(const struct store_cursor *cursor, const struct block_entry *entry)
{
    bool is_whole = !cursor->options.decided_only || entry->decided.verdict == STORE_UNDECIDED;
    return is_whole ? entry->block.span_count : entry->decided.kept_spans;
}

/* The block to read from, or NULL and the head's records up to *ret_limit_lsn; FM_NONE: nothing. */
static int cursor_source(const struct store_cursor *cursor, const struct seat *seat,
                         struct block_entry **ret_entry, uint64_t *ret_limit_lsn)
{
    const struct store *store = cursor->store;
    const struct tenant *tenant = seat->tenant;
    const struct store_place *place = &seat->taken;
    size_t index = tenant_block_behind(tenant, place);
    struct block_entry *entry = index < tenant->block_count ? tenant->blocks[index] : NULL;
    uint64_t limit_lsn = store_readable_lsn(store);
    struct head_walk walk;
    if (entry && entry->block.first_lsn <= limit_lsn)
        limit_lsn = entry->block.first_lsn - 1;
    *ret_entry = entry;
    if (cursor->options.decided_only) /* CUR-4 */
        return entry && cursor_may_read(cursor, entry) ? FM_OK : FM_NONE;
    if (entry && (place_is_in(place, entry) || tenant->first_lsn > limit_lsn))
        return FM_OK;
    if (!tenant_record_behind(tenant, &walk, place->lsn, limit_lsn))
        return entry ? FM_OK : FM_NONE;
    if (store->cut.sm.state == CUT_BUILDING && store->cut.tenant == tenant &&
        place->lsn < tenant->first_lsn)
        return FM_NONE; /* CUR-1 */
    *ret_entry = NULL;
    *ret_limit_lsn = limit_lsn;
    return FM_OK;
}

/* ---- what is pending ---- */

static uint64_t entry_share(const struct block_entry *entry, const struct store_place *place,
                            uint64_t whole)
{
    uint64_t rows = entry->block.meta.trace_count;
    if (!rows || !place_is_in(place, entry))
        return whole;
    double left = (double)(rows - FM_MIN(place->row, rows)) / (double)rows;
    return (uint64_t)((double)whole * left);
}

static bool pending_is_full(const struct store_pending *pending, uint64_t spans_max,
                            uint64_t bytes_max)
{
    return pending->spans >= spans_max || pending->log_bytes + pending->block_bytes >= bytes_max;
}

static void pending_date(struct store_pending *pending, uint64_t unix_ns)
{
    if (!pending->records)
        pending->oldest_unix_ns = FM_MAX(unix_ns, 1u);
    pending->records++;
}

static struct store_pending cursor_look(const struct store_cursor *cursor,
                                        const struct tenant *tenant,
                                        const struct store_place *place, uint64_t spans_max,
                                        uint64_t bytes_max)
{
    struct store_pending pending = {0};
    struct head_walk walk;
    for (size_t i = tenant_block_behind(tenant, place); i < tenant->block_count; i++) {
        const struct block_entry *entry = tenant->blocks[i];
        uint64_t age_ns = cursor->store->options.block_age_ns;
        uint64_t spans = cursor_spans(cursor, entry), whole = FM_MAX(entry->block.span_count, 1u);
        double share = (double)spans / (double)whole;
        if (pending_is_full(&pending, spans_max, bytes_max) || !cursor_may_read(cursor, entry))
            break;
        if (!spans)
            continue;
        pending_date(&pending,
                     entry->block.sealed_unix_ns - FM_MIN(age_ns, entry->block.sealed_unix_ns));
        pending.spans += entry_share(entry, place, spans);
        pending.block_bytes +=
            entry_share(entry, place, (uint64_t)((double)entry->block.meta.size_bytes * share));
    }
    if (cursor->options.decided_only)
        return pending;
    uint64_t lsn = place->lsn, limit_lsn = store_readable_lsn(cursor->store);
    const struct head_record *record = tenant_record_behind(tenant, &walk, lsn, limit_lsn);
    for (; record && !pending_is_full(&pending, spans_max, bytes_max);
         record = head_walk_next(&walk, lsn, limit_lsn)) {
        pending_date(&pending, record->received_unix_ns);
        pending.spans += record->span_count;
        pending.log_bytes += record->payload_bytes;
    }
    return pending;
}

void store_cursor_look(const struct store_cursor *cursor, size_t number, uint64_t spans_max,
                       uint64_t bytes_max, struct store_pending *ret_pending)
{
    const struct seat *seat = &cursor->seats[number];
    *ret_pending = cursor_look(cursor, seat->tenant, &seat->place, spans_max, bytes_max);
}

void store_cursor_look_ahead(const struct store_cursor *cursor, size_t number, uint64_t spans_max,
                             uint64_t bytes_max, struct store_pending *ret_pending)
{
    const struct seat *seat = &cursor->seats[number];
    *ret_pending = cursor_look(cursor, seat->tenant, &seat->taken, spans_max, bytes_max);
}

uint64_t store_cursor_expired_spans(const struct store_cursor *cursor)
{
    return cursor->expired_spans;
}

uint64_t store_cursor_lost_spans(const struct store_cursor *cursor)
{
    return cursor->lost_spans;
}

uint64_t store_cursor_sampled_out_spans(const struct store_cursor *cursor)
{
    return cursor->sampled_out_spans;
}

/* ---- reading, in a job ---- */

static bool read_is_full(const struct store_cursor_read *read, size_t begin, uint64_t spans,
                         uint64_t bytes)
{
    uint64_t len = read->otlp->len - begin;
    return len && (read->span_count + spans > read->spans_max || len + bytes > read->bytes_max);
}

static bool read_lost(int rc)
{
    return rc == FM_ECORRUPT || rc == FM_EMALFORMED || rc == FM_ELIMIT || rc == FM_EUNSUPPORTED ||
           rc == FM_ENOTFOUND;
}

static int cursor_read_head(struct store_cursor *cursor)
{
    struct store_cursor_read *read = cursor->read;
    struct record_reader reader;
    struct head_walk walk;
    size_t begin = read->otlp->len;
    int rc = FM_OK;
    record_reader_init(&reader, cursor->store);
    head_walk_begin(&walk, cursor->view.parts, cursor->view.part_count, cursor->after_lsn);
    for (const struct head_record *record;
         (record = head_walk_next(&walk, cursor->after_lsn, cursor->limit_lsn));) {
        if (read_is_full(read, begin, record->span_count, record->payload_bytes))
            break;
        rc = record_reader_append(&reader, record, read->otlp, &read->why);
        if (rc < 0 && !read_lost(rc))
            break;
        read->span_count += rc == FM_OK ? record->span_count : 0;
        cursor->job_lost_spans += rc == FM_OK ? 0 : record->span_count;
        read->newest_unix_ns = record->received_unix_ns;
        read->end = (struct store_place){.lsn = record->lsn};
        rc = FM_OK;
    }
    record_reader_fini(&reader);
    return read->end.lsn > cursor->after_lsn ? FM_OK : rc;
}

/* Spans in canonical OTLP that was checked before. */
static uint64_t otlp_span_count(struct fm_slice otlp)
{
    struct pb_field resource, scope, span;
    uint64_t count = 0;
    while (pb_next(&otlp, &resource) == FM_OK) {
        struct fm_slice in_resource = resource.bytes;
        if (resource.number != 1 || resource.type != PB_BYTES)
            continue;
        while (pb_next(&in_resource, &scope) == FM_OK) {
            struct fm_slice in_scope = scope.bytes;
            if (scope.number != 2 || scope.type != PB_BYTES)
                continue;
            while (pb_next(&in_scope, &span) == FM_OK)
                count += span.number == 2 && span.type == PB_BYTES;
        }
    }
    return count;
}

static void cursor_close_block(struct store_cursor *cursor)
{
    cursor->traces = block_traces_free(cursor->traces);
    cursor->decision = store_decision_free(cursor->decision);
    if (cursor->block) {
        cursor->block = block_free(cursor->block);
        pf_source_close(&cursor->file);
    }
}

/* Which rows, where not all of them are passed on. */
static int cursor_open_decision(struct store_cursor *cursor, struct fm_why *why)
{
    cursor->decision = store_decision_free(cursor->decision);
    if (!cursor->options.decided_only || cursor->verdict != STORE_PART)
        return FM_OK;
    int rc = store_block_read_decision(cursor->store->platform, &cursor->entry->block,
                                       &cursor->decision, why);
    if (rc == FM_OK && cursor->decision->facts.verdict != STORE_PART)
        rc = fm_fail(why, FM_ECORRUPT, "the decision has become another");
    if (rc < 0)
        cursor->decision = store_decision_free(cursor->decision);
    return rc;
}

static int cursor_open_block(struct store_cursor *cursor, struct fm_why *why)
{
    struct fm_source data;
    char path[STORE_PATH_BYTES];
    if (cursor->traces)
        return FM_OK;
    int rc = cursor_open_decision(cursor, why);
    if (rc < 0)
        return rc;
    int len = snprintf(path, sizeof path, "%s/data.parquet", cursor->entry->block.path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    rc = pf_source_open(&cursor->file, cursor->store->platform, path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_open(&cursor->block, data, &cursor->entry->block.meta, why);
    if (rc < 0) {
        pf_source_close(&cursor->file);
        return rc;
    }
    rc = block_traces_new(&cursor->traces, cursor->block, cursor->read->end.row);
    if (rc == FM_OK && cursor->decision &&
        cursor->decision->facts.kept_traces < cursor->decision->row_count / CURSOR_SPARSE_SHARE)
        rc = block_traces_sparse(cursor->traces);
    if (rc < 0)
        cursor_close_block(cursor);
    return rc;
}

/* Goes on at the next row that is kept; FM_END: there is none. */
static int cursor_seek_kept(struct store_cursor *cursor)
{
    const struct store_decision *decision = cursor->decision;
    uint64_t row = block_traces_row(cursor->traces);
    if (!decision)
        return FM_OK;
    while (row < decision->row_count && !store_row_has(decision->kept, row))
        row++;
    block_traces_seek(cursor->traces, row);
    return row < decision->row_count ? FM_OK : FM_END;
}

/* One more trace.  FM_END: the block, or the batch, ends here. */
static int cursor_read_trace(struct store_cursor *cursor, size_t begin)
{
    struct store_cursor_read *read = cursor->read;
    size_t len = read->otlp->len;
    int rc = cursor_seek_kept(cursor);
    if (rc == FM_OK)
        rc = block_traces_next(cursor->traces, NULL, read->otlp, &read->why);
    if (read_lost(rc)) {
        const struct store_block *block = &cursor->entry->block;
        cursor->job_lost_spans += block->span_count / FM_MAX(block->meta.trace_count, 1u);
        log_warn("store.read_failed", "why=\"%s\"", read->why.text);
        block_traces_skip(cursor->traces);
        return FM_OK;
    }
    if (rc != FM_OK)
        return rc;
    struct fm_slice otlp = fm_slice(read->otlp->ptr + len, read->otlp->len - len);
    read->span_count += otlp_span_count(otlp);
    (void)cursor_seek_kept(cursor); /* where only what is passed over is left, the block ends */
    return read->span_count >= read->spans_max || read->otlp->len - begin >= read->bytes_max
               ? FM_END
               : FM_OK;
}

static int cursor_read_block(struct store_cursor *cursor)
{
    struct store_cursor_read *read = cursor->read;
    const struct store_block *block = &cursor->entry->block;
    size_t begin = read->otlp->len;
    uint64_t row = read->end.row;
    if (!cursor->spans) { /* nothing of it leaves */
        read->newest_unix_ns = block->sealed_unix_ns;
        read->end = (struct store_place){.lsn = block->last_lsn};
        return FM_OK;
    }
    int rc = cursor_open_block(cursor, &read->why);
    bool is_lost = read_lost(rc);
    if (is_lost) {
        cursor->job_lost_spans += entry_share(cursor->entry, &read->end, cursor->spans);
        log_warn("store.read_failed", "why=\"%s\"", read->why.text);
    }
    while (rc == FM_OK)
        rc = cursor_read_trace(cursor, begin);
    uint64_t end = cursor->traces ? block_traces_row(cursor->traces) : row;
    if (rc < 0 && !is_lost && end == row)
        return rc;
    read->newest_unix_ns = block->sealed_unix_ns;
    bool is_over = is_lost || end >= block->meta.trace_count;
    if (is_over) {
        read->end = (struct store_place){.lsn = block->last_lsn};
    } else {
        memcpy(read->end.block, block->meta.id.bytes, sizeof read->end.block);
        read->end.row = end;
    }
    return FM_OK;
}

static void cursor_work(struct pf_job *job)
{
    struct store_cursor *cursor = FM_CONTAINER(job, struct store_cursor, job);
    cursor->job_lost_spans = 0;
    cursor->rc = cursor->entry ? cursor_read_block(cursor) : cursor_read_head(cursor);
}

/* ---- reading, on the loop ---- */

static void cursor_drop_block(struct store_cursor *cursor)
{
    struct block_entry *entry = fm_take(cursor->entry);
    cursor->must_let_go = false;
    cursor_close_block(cursor);
    if (entry)
        block_entry_unref(entry);
}

static void cursor_on_read(struct pf_job *job)
{
    struct store_cursor *cursor = FM_CONTAINER(job, struct store_cursor, job);
    struct store_cursor_read *read = fm_take(cursor->read);
    struct seat *seat = &cursor->seats[read->tenant];
    struct store *store = cursor->store;
    bool is_block = cursor->entry;
    if (!is_block) {
        head_view_fini(store, &cursor->view);
        seat->tenant->head_reads--;
    } else if (cursor->must_let_go || cursor->rc < 0 || !place_in_block(&read->end)) {
        cursor_drop_block(cursor);
    }
    if (cursor->rc == FM_OK) {
        seat->taken = read->end;
        cursor->marks[cursor->mark_count++] = (struct cursor_mark){read->tenant, read->end};
    }
    if (cursor->rc == FM_OK && is_block && !place_in_block(&read->end))
        cursor->sampled_out_spans += cursor->passes_over;
    cursor->lost_spans += cursor->job_lost_spans;
    int rc = cursor->rc;
    cut_step(store); /* CUR-3 */
    read->done(read, rc);
}

void store_cursor_rest(struct store_cursor *cursor)
{
    FM_ASSERT(!cursor->read);
    if (cursor->entry)
        cursor_drop_block(cursor);
}

static int cursor_plan(struct store_cursor *cursor, struct seat *seat)
{
    struct block_entry *entry;
    int rc = cursor_source(cursor, seat, &entry, &cursor->limit_lsn);
    if (rc != FM_OK)
        return rc;
    if (cursor->entry && (cursor->entry != entry || !cursor->traces ||
                          block_traces_row(cursor->traces) != seat->taken.row))
        cursor_drop_block(cursor);
    if (!entry) {
        cursor->after_lsn = seat->taken.lsn;
        rc = head_view_new(cursor->store, seat->tenant, &cursor->view);
        seat->tenant->head_reads += rc == FM_OK;
        return rc;
    }
    if (!place_is_in(&seat->taken, entry))
        cursor->read->end.row = 0; /* of another one, which is gone */
    if (!cursor->entry)
        block_entry_ref(entry);
    cursor->entry = entry;
    cursor->verdict = entry->decided.verdict;
    cursor->spans = cursor_spans(cursor, entry);
    cursor->passes_over = entry->block.span_count - cursor->spans;
    return FM_OK;
}

static void cursor_on_nothing(struct pf_job *job)
{
    struct store_cursor *cursor = FM_CONTAINER(job, struct store_cursor, job);
    struct store_cursor_read *read = fm_take(cursor->read);
    read->done(read, cursor->rc);
}

static void cursor_work_nothing(struct pf_job *job)
{
    (void)job;
}

void store_cursor_read(struct store_cursor *cursor, struct store_cursor_read *read)
{
    FM_ASSERT(!cursor->read && cursor->mark_count < STORE_CURSOR_READS_MAX);
    struct seat *seat = &cursor->seats[read->tenant];
    cursor->read = read;
    read->span_count = read->newest_unix_ns = 0;
    read->end = seat->taken;
    read->why.text[0] = '\0';
    cursor->rc = cursor_plan(cursor, seat);
    bool is_planned = cursor->rc == FM_OK;
    cursor->job = (struct pf_job){
        .work = is_planned ? cursor_work : cursor_work_nothing, /* done is never called from here */
        .done = is_planned ? cursor_on_read : cursor_on_nothing,
        .lane = PF_LANE_EXPORT,
    };
    pf_job_submit(cursor->store->platform, &cursor->job);
}

/* ---- for the rest of the store ---- */

void cursors_wake(struct store *store)
{
    for (struct fm_link *link = store->cursors.next; link != &store->cursors; link = link->next) {
        struct store_cursor *cursor = FM_CONTAINER(link, struct store_cursor, link);
        if (cursor->options.on_more)
            cursor->options.on_more(cursor->options.self);
    }
}

/* Where it stands in the head from first_lsn on, or 0. CUR-2, CUR-5. */
static uint64_t seat_lsn(const struct store_cursor *cursor, const struct seat *seat,
                         uint64_t first_lsn)
{
    if (seat->saved_lsn >= first_lsn)
        return seat->saved_lsn;
    if (seat->place.lsn >= first_lsn)
        return seat->place.lsn;
    for (size_t i = 0; i < cursor->mark_count; i++) {
        const struct cursor_mark *mark = &cursor->marks[i];
        if (&cursor->seats[mark->seat] == seat && !place_in_block(&mark->place) &&
            mark->place.lsn >= first_lsn)
            return mark->place.lsn;
    }
    return 0;
}

/* CUR-1. */
uint64_t cursors_limit(struct store *store, const struct tenant *tenant, uint64_t limit_lsn)
{
    uint64_t first_lsn = tenant->first_lsn;
    for (struct fm_link *link = store->cursors.next; link != &store->cursors; link = link->next) {
        struct store_cursor *cursor = FM_CONTAINER(link, struct store_cursor, link);
        cursor_take_seats(cursor);
        const struct seat *seat = cursor_seat(cursor, tenant);
        if (!seat)
            continue;
        uint64_t at_lsn = seat_lsn(cursor, seat, first_lsn);
        if (at_lsn)
            limit_lsn = FM_MIN(limit_lsn, at_lsn);
    }
    return limit_lsn;
}

/* Whether the block that comes next there is one of these. */
static bool place_leads_to(const struct tenant *tenant, const struct store_place *place,
                           uint64_t first_lsn, uint64_t last_lsn)
{
    size_t index = tenant_block_behind(tenant, place);
    const struct block_entry *entry = index < tenant->block_count ? tenant->blocks[index] : NULL;
    return entry && entry->block.first_lsn >= first_lsn && entry->block.last_lsn <= last_lsn;
}

static bool place_stands_in(const struct tenant *tenant, const struct store_place *place,
                            uint64_t first_lsn, uint64_t last_lsn)
{
    return place_in_block(place) ? place_leads_to(tenant, place, first_lsn, last_lsn)
                                 : place->lsn >= first_lsn && place->lsn < last_lsn;
}

/* A saved place may be one within the block behind its LSN. */
static bool seat_stands_in(const struct store_cursor *cursor, const struct seat *seat,
                           uint64_t first_lsn, uint64_t last_lsn)
{
    const struct store_place saved = {.lsn = seat->saved_lsn};
    for (size_t i = 0; i < cursor->mark_count; i++) {
        if (&cursor->seats[cursor->marks[i].seat] == seat &&
            place_stands_in(seat->tenant, &cursor->marks[i].place, first_lsn, last_lsn))
            return true;
    }
    return place_stands_in(seat->tenant, &seat->place, first_lsn, last_lsn) ||
           place_stands_in(seat->tenant, &seat->taken, first_lsn, last_lsn) ||
           place_leads_to(seat->tenant, &saved, first_lsn, last_lsn);
}

bool cursors_stand_in(struct store *store, const struct tenant *tenant, uint64_t first_lsn,
                      uint64_t last_lsn)
{
    for (struct fm_link *link = store->cursors.next; link != &store->cursors; link = link->next) {
        struct store_cursor *cursor = FM_CONTAINER(link, struct store_cursor, link);
        const struct seat *seat = cursor_seat(cursor, tenant);
        const struct block_entry *entry = cursor->entry; /* a read of it moves the place into it */
        bool is_reading = entry && entry->tenant == tenant && entry->block.first_lsn >= first_lsn &&
                          entry->block.last_lsn <= last_lsn;
        if (is_reading || (seat && seat_stands_in(cursor, seat, first_lsn, last_lsn)))
            return true;
    }
    return false;
}

void cursors_let_go(struct store *store, struct block_entry *entry)
{
    for (struct fm_link *link = store->cursors.next; link != &store->cursors; link = link->next) {
        struct store_cursor *cursor = FM_CONTAINER(link, struct store_cursor, link);
        if (cursor->entry != entry)
            continue;
        if (cursor->read)
            cursor->must_let_go = true;
        else
            cursor_drop_block(cursor);
    }
}

void cursors_on_doom(struct store *store, struct block_entry *entry)
{
    for (struct fm_link *link = store->cursors.next; link != &store->cursors; link = link->next) {
        struct store_cursor *cursor = FM_CONTAINER(link, struct store_cursor, link);
        cursor_take_seats(cursor);
        const struct seat *seat = cursor_seat(cursor, entry->tenant);
        /* What is read already will be passed on. */
        if (seat && seat->taken.lsn < entry->block.last_lsn)
            cursor->expired_spans += entry_share(entry, &seat->taken, cursor_spans(cursor, entry));
    }
    cursors_let_go(store, entry);
}

/* ---- life ---- */

static uint64_t store_newest_lsn(const struct store *store)
{
    uint64_t lsn = store->log.last_lsn;
    for (size_t i = 0; i < store->tenant_count; i++) {
        const struct tenant *tenant = store->tenants[i];
        if (tenant->record_count)
            lsn = FM_MAX(lsn, tenant->last_lsn);
        if (tenant->block_count)
            lsn = FM_MAX(lsn, tenant->blocks[tenant->block_count - 1]->block.last_lsn);
    }
    return lsn;
}

int store_cursor_open(struct store_cursor **ret_cursor, struct store *store,
                      const struct store_cursor_options *options)
{
    struct store_cursor *cursor = calloc(1, sizeof *cursor);
    if (!cursor)
        return FM_ENOMEM;
    cursor->store = store;
    cursor->options = *options;
    if (cursor->options.begin_lsn == UINT64_MAX)
        cursor->options.begin_lsn = store_newest_lsn(store);
    fm_list_append(&store->cursors, &cursor->link);
    cursor_take_seats(cursor);
    *ret_cursor = cursor;
    return FM_OK;
}

uint64_t store_cursor_begin(const struct store_cursor *cursor)
{
    return cursor->options.begin_lsn;
}

struct store_cursor *store_cursor_close(struct store_cursor *cursor)
{
    if (!cursor)
        return NULL;
    FM_ASSERT(!cursor->read);
    cursor_drop_block(cursor);
    fm_list_remove(&cursor->link);
    free(cursor->seats);
    free(cursor);
    return NULL;
}

void cursors_abandon(struct store *store)
{
    while (!fm_list_empty(&store->cursors)) {
        struct store_cursor *cursor = FM_CONTAINER(store->cursors.next, struct store_cursor, link);
        if (cursor->read && !cursor->entry)
            head_view_fini(store, &cursor->view);
        cursor->read = NULL;
        cursor->options.on_more = NULL;
        store_cursor_close(cursor);
    }
}
