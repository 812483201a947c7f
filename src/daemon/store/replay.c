/* SPDX-License-Identifier: Apache-2.0 */
/* replay - start-up: what the log holds and no block covers goes back into the head.
 *
 * Nothing that cannot be read is deleted, and nothing of that kind stops the start: a file with
 * two bad headers goes to quarantine/, one of a later version or without read permission stays
 * where it is, bytes between records are reported and, if few, copied to quarantine/.
 * Old segments are never written again; the new epoch begins above every LSN seen.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/pb.h"

#define REPLAY_HOLE_COPY_MAX FM_MIB(1)
#define REPLAY_SEEN_MAX      65536u /* records; copies of a batch lie close together */
#define REPLAY_OPEN_ATTEMPTS 3u

struct replay_seen { /* where a batch was seen last */
    uint8_t batch_id[16];
    struct tenant *tenant; /* NULL: free slot */
    uint64_t lsn;
};

struct replay_seen_table {
    struct replay_seen *slots; /* owned */
    size_t count, capacity;    /* capacity: a power of two */
};

struct replay {
    struct store *store;
    struct segment **segments; /* owned array, owned segments until linked */
    size_t count, capacity;
    struct segment *current;
    struct fm_source *source;               /* of current */
    struct replay_seen_table seen, earlier; /* two generations */
    struct fm_buf payload;
    uint64_t *keys; /* owned */
    size_t key_count, key_capacity;
    uint64_t start_ns, end_ns;
    uint64_t end_lsn, sequence_max;
    uint32_t epoch_max;
};

/* ---- facts of a payload: trace keys and times ---- */

static int replay_add_key(struct replay *replay, struct fm_slice trace_id)
{
    uint8_t id[16] = {0};
    if (trace_id.len == 0 || trace_id.len > sizeof id)
        return FM_OK; /* in no trace */
    memcpy(id + sizeof id - trace_id.len, trace_id.ptr, trace_id.len);
    uint64_t key = trace_id_key(id);
    if (replay->key_count && replay->keys[replay->key_count - 1] == key)
        return FM_OK;
    if (replay->key_count == replay->key_capacity) {
        size_t capacity = replay->key_capacity ? replay->key_capacity * 2 : 256;
        uint64_t *grown = realloc(replay->keys, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        replay->keys = grown;
        replay->key_capacity = capacity;
    }
    replay->keys[replay->key_count++] = key;
    return FM_OK;
}

static int replay_span(struct replay *replay, struct fm_slice span)
{
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&span, &field)) == FM_OK) {
        if (field.number == 1 && field.type == PB_BYTES)
            rc = replay_add_key(replay, field.bytes);
        else if (field.number == 7 && field.type == PB_FIXED64)
            replay->start_ns = FM_MIN(replay->start_ns, field.value);
        else if (field.number == 8 && field.type == PB_FIXED64)
            replay->end_ns = FM_MAX(replay->end_ns, field.value);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

/* ResourceSpans (field 1) > ScopeSpans (field 2) > Span (field 2). */
static int replay_walk(struct replay *replay, struct fm_slice message, unsigned level)
{
    static const uint32_t numbers[] = {1, 2, 2};
    struct pb_field field;
    int rc;
    while ((rc = pb_next(&message, &field)) == FM_OK) {
        if (field.number != numbers[level] || field.type != PB_BYTES)
            continue;
        rc = level == 2 ? replay_span(replay, field.bytes)
                        : replay_walk(replay, field.bytes, level + 1);
        if (rc < 0)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

static int replay_compare_keys(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static int replay_facts(struct replay *replay, const struct wal_record *record)
{
    fm_buf_reset(&replay->payload);
    replay->key_count = 0;
    replay->start_ns = UINT64_MAX;
    replay->end_ns = 0;
    int rc = wal_record_payload(record, &replay->payload);
    if (rc == FM_OK)
        rc = replay_walk(replay, fm_buf_slice(&replay->payload), 0);
    if (rc < 0 || replay->key_count < 2)
        return rc;
    qsort(replay->keys, replay->key_count, sizeof *replay->keys, replay_compare_keys);
    size_t kept = 1;
    for (size_t i = 1; i < replay->key_count; i++) {
        if (replay->keys[i] != replay->keys[kept - 1])
            replay->keys[kept++] = replay->keys[i];
    }
    replay->key_count = kept;
    return FM_OK;
}

/* ---- batches written twice ---- */

static struct replay_seen *seen_slot(const struct replay_seen_table *table,
                                     const uint8_t batch_id[16])
{
    if (!table->capacity)
        return NULL;
    size_t mask = table->capacity - 1;
    size_t at = (size_t)fm_hash64(fm_slice(batch_id, 16), 0) & mask;
    while (table->slots[at].tenant && memcmp(table->slots[at].batch_id, batch_id, 16) != 0)
        at = (at + 1) & mask;
    return &table->slots[at];
}

static int seen_grow(struct replay_seen_table *table)
{
    struct replay_seen_table grown = {.count = table->count,
                                      .capacity = table->capacity ? table->capacity * 2 : 1024};
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (!grown.slots)
        return FM_ENOMEM;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].tenant)
            *seen_slot(&grown, table->slots[i].batch_id) = table->slots[i];
    }
    free(table->slots);
    *table = grown;
    return FM_OK;
}

static int seen_add(struct replay *replay, const struct wal_record *record, struct tenant *tenant)
{
    struct replay_seen_table *table = &replay->seen;
    if (table->count >= REPLAY_SEEN_MAX) {
        free(replay->earlier.slots);
        replay->earlier = *table;
        *table = (struct replay_seen_table){0};
    }
    if (table->count * 2 >= table->capacity) {
        int rc = seen_grow(table);
        if (rc < 0)
            return rc;
    }
    struct replay_seen *slot = seen_slot(table, record->batch_id);
    table->count += !slot->tenant;
    memcpy(slot->batch_id, record->batch_id, sizeof slot->batch_id);
    slot->tenant = tenant;
    slot->lsn = record->lsn;
    return FM_OK;
}

/* The later copy counts: a block that ends with it covers both. */
static void seen_kill_earlier(struct replay *replay, const struct wal_record *record)
{
    const struct replay_seen_table *tables[] = {&replay->seen, &replay->earlier};
    for (size_t i = 0; i < FM_COUNT(tables); i++) {
        const struct replay_seen *slot = seen_slot(tables[i], record->batch_id);
        struct head_record *earlier;
        if (!slot || !slot->tenant || head_find(slot->tenant, slot->lsn, &earlier) != FM_OK ||
            earlier->is_dead)
            continue;
        earlier->is_dead = true;
        slot->tenant->span_count -= earlier->span_count;
        earlier->span_count = 0;
        metric_add(&replay->store->metrics.replay_duplicates, 1);
    }
}

/* ---- records ---- */

static int replay_enter(struct replay *replay, struct tenant *tenant, uint64_t offset,
                        const struct wal_record *record)
{
    struct store *store = replay->store;
    struct head_record head = {
        .lsn = record->lsn,
        .segment = replay->current,
        .start_ns = replay->start_ns,
        .end_ns = replay->end_ns,
        .received_unix_ns = record->received_unix_ns,
        .offset = (uint32_t)offset,
        .size = (uint32_t)record->stored_crc_bytes,
        .span_count = record->span_count,
        .payload_bytes = record->payload_bytes,
        .key_count = (uint32_t)replay->key_count,
    };
    bool is_first = tenant->record_count == 0;
    int rc = head_append(store, tenant, &head, replay->keys);
    if (rc < 0)
        return rc;
    if (is_first) {
        uint64_t wall_ns = pf_wall_ns(store->platform), now_ns = pf_now_ns(store->platform);
        uint64_t age_ns =
            wall_ns > record->received_unix_ns ? wall_ns - record->received_unix_ns : 0;
        age_ns = FM_MIN(age_ns, store->options.block_age_ns);
        tenant->oldest_ns = now_ns > age_ns ? now_ns - age_ns : 0;
    }
    metric_add(&store->metrics.replay_records, 1);
    metric_add(&store->metrics.replay_spans, record->span_count);
    store->log.last_lsn = record->lsn;
    return FM_OK;
}

static int replay_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                            const struct wal_record *record)
{
    struct replay *replay = self;
    struct tenant *tenant;
    (void)segment;
    int rc = tenant_get(replay->store, record->tenant, &tenant);
    if (rc == FM_OK && cover_has(tenant, record->lsn))
        return FM_OK;
    if (rc == FM_OK && tenant->record_count && record->lsn <= tenant->last_lsn)
        rc = FM_ECORRUPT; /* two segments claim the same place */
    if (rc == FM_OK)
        rc = replay_facts(replay, record);
    if (rc == FM_OK) {
        seen_kill_earlier(replay, record);
        rc = replay_enter(replay, tenant, offset, record);
        if (rc == FM_OK)
            rc = seen_add(replay, record, tenant);
    }
    if (rc < 0 && rc != FM_ENOMEM) {
        replay->current->has_unread = true;
        metric_add(&replay->store->metrics.lost_records, 1);
        metric_add(&replay->store->metrics.lost_spans, record->span_count);
        book_lose_record(replay->store, record);
        log_error("wal.record_unusable", "lsn=%llu spans=%u why=\"%s\"",
                  (unsigned long long)record->lsn, record->span_count, fm_rc_text(rc));
        return FM_OK;
    }
    return rc;
}

static int replay_on_hole(void *self, uint64_t offset, uint64_t len)
{
    struct replay *replay = self;
    struct store *store = replay->store;
    struct segment *segment = replay->current;
    char name[96];
    (void)snprintf(name, sizeof name, "%08x-%012llx-%llu.hole", segment->name_epoch,
                   (unsigned long long)segment->name_sequence, (unsigned long long)offset);
    log_error("wal.hole", "segment=%08x-%012llx offset=%llu bytes=%llu", segment->name_epoch,
              (unsigned long long)segment->name_sequence, (unsigned long long)offset,
              (unsigned long long)len);
    metric_add(&store->metrics.replay_holes, 1);
    metric_add(&store->metrics.replay_hole_bytes, len);
    if (len > REPLAY_HOLE_COPY_MAX) {
        segment->has_unread = true; /* the whole file is kept instead */
        return FM_OK;
    }
    struct fm_buf bytes;
    fm_buf_init(&bytes, REPLAY_HOLE_COPY_MAX);
    uint8_t *room = fm_buf_room(&bytes, (size_t)len);
    if (room && replay->source->read_at(replay->source->self, offset, room, (size_t)len) == FM_OK)
        store_quarantine_bytes(store, name, fm_slice(room, (size_t)len));
    fm_buf_fini(&bytes);
    return FM_OK;
}

/* ---- segments ---- */

static bool replay_parse_name(const char *name, uint32_t *ret_epoch, uint64_t *ret_sequence)
{
    uint8_t bytes[10];
    if (strlen(name) != 8 + 1 + 12 + 4 || name[8] != '-' || strcmp(name + 21, ".seg") != 0 ||
        fm_hex_decode(bytes, 4, fm_slice(name, 8)) < 0 ||
        fm_hex_decode(bytes + 4, 6, fm_slice(name + 9, 12)) < 0)
        return false;
    *ret_epoch = fm_load_be32(bytes);
    *ret_sequence = (uint64_t)fm_load_be16(bytes + 4) << 32 | fm_load_be32(bytes + 6);
    return true;
}

static int replay_on_name(void *self, const char *name, bool is_directory)
{
    struct replay *replay = self;
    struct wal_segment header = {0};
    if (is_directory || !replay_parse_name(name, &header.epoch, &header.sequence))
        return FM_OK; /* foreign */
    if (replay->count == replay->capacity) {
        size_t capacity = replay->capacity ? replay->capacity * 2 : 64;
        struct segment **grown = realloc(replay->segments, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        replay->segments = grown;
        replay->capacity = capacity;
    }
    int rc = segment_new(&replay->segments[replay->count], &header);
    if (rc == FM_OK) {
        fm_sm_move(&replay->segments[replay->count]->sm, SEG_CLOSED);
        replay->count++;
    }
    replay->epoch_max = FM_MAX(replay->epoch_max, header.epoch);
    replay->sequence_max = FM_MAX(replay->sequence_max, header.sequence);
    return rc;
}

static int replay_open(struct replay *replay, struct segment *segment, struct pf_source *file,
                       struct fm_source *ret_source, struct fm_why *why)
{
    char path[STORE_PATH_BYTES];
    int rc = FM_EIO;
    segment_path(replay->store, segment, path);
    for (unsigned attempt = 0; rc == FM_EIO && attempt < REPLAY_OPEN_ATTEMPTS; attempt++)
        rc = pf_source_open(file, replay->store->platform, path, ret_source, why);
    return rc;
}

/* Only for the order of what follows; the replay judges. */
static void replay_peek(struct replay *replay, struct segment *segment)
{
    struct pf_source file;
    struct fm_source source;
    uint8_t page[WAL_HEADER_BYTES];
    segment->header.base_lsn = UINT64_MAX;
    if (replay_open(replay, segment, &file, &source, NULL) < 0)
        return;
    segment->file_bytes = source.size;
    for (unsigned attempt = 0; attempt < REPLAY_OPEN_ATTEMPTS; attempt++) {
        int rc = source.size < sizeof page ? FM_ECORRUPT
                                           : source.read_at(source.self, 0, page, sizeof page);
        if (rc == FM_OK)
            store_ignore(wal_segment_decode(page, &segment->header)); /* or stays last */
        if (rc != FM_EIO)
            break;
    }
    pf_source_close(&file);
}

static int replay_compare_segments(const void *a, const void *b)
{
    const struct segment *left = *(struct segment *const *)a;
    const struct segment *right = *(struct segment *const *)b;
    if (left->header.base_lsn != right->header.base_lsn)
        return left->header.base_lsn < right->header.base_lsn ? -1 : 1;
    if (left->name_epoch != right->name_epoch)
        return left->name_epoch < right->name_epoch ? -1 : 1;
    return left->name_sequence < right->name_sequence ? -1 : 1;
}

static void replay_settle(struct replay *replay, struct segment *segment,
                          const struct wal_replay_result *result, struct pf_source *file)
{
    struct store *store = replay->store;
    segment->header = result->segment;
    segment->end_offset = result->end_offset;
    segment->has_unread |= result->unreadable_bytes != 0;
    if (result->unreadable_bytes)
        log_error("wal.unreadable", "segment=%08x-%012llx bytes=%llu", segment->name_epoch,
                  (unsigned long long)segment->name_sequence,
                  (unsigned long long)result->unreadable_bytes);
    if (result->tail_bytes)
        log_info("wal.torn_tail", "segment=%08x-%012llx bytes=%llu", segment->name_epoch,
                 (unsigned long long)segment->name_sequence,
                 (unsigned long long)result->tail_bytes);
    uint64_t end =
        segment->header.base_lsn +
        (segment->file_bytes > WAL_HEADER_BYTES ? segment->file_bytes - WAL_HEADER_BYTES : 0);
    replay->end_lsn = FM_MAX(replay->end_lsn, end);
    /* After kill -9 the page cache may be ahead of the disk; from here on it is not. */
    struct fm_why why = {""};
    if (segment->record_count && store->platform->ops->sync(file->file, &why) < 0) {
        segment->is_suspect = true;
        log_warn("wal.sync_failed", "segment of an earlier run why=\"%s\"", why.text);
    }
    fm_list_append(&store->segments, &segment->link);
}

/* rc of a file that cannot be replayed: it goes out of the way, or stays untouched. */
static void replay_set_aside(struct replay *replay, struct segment *segment, int rc,
                             const struct fm_why *why)
{
    char path[STORE_PATH_BYTES];
    segment_path(replay->store, segment, path);
    metric_add(&replay->store->metrics.replay_segments_bad, 1);
    log_error("wal.segment_unreadable", "path=%s why=\"%s\"", path,
              why->text[0] ? why->text : fm_rc_text(rc));
    if (rc == FM_ECORRUPT)
        (void)store_quarantine(replay->store, path, why->text);
    /* Its LSNs are unknown; leave room for them. */
    replay->end_lsn += FM_MAX(segment->file_bytes, replay->store->options.segment_bytes);
    segment_free(replay->store, segment);
}

static int replay_segment(struct replay *replay, struct segment *segment)
{
    struct store *store = replay->store;
    struct wal_visitor visitor = {replay, replay_on_record, replay_on_hole};
    struct wal_replay_result result;
    struct pf_source file;
    struct fm_source source;
    struct fm_why why = {""};
    replay->current = segment;
    replay->source = &source;
    int rc = replay_open(replay, segment, &file, &source, &why);
    if (rc == FM_OK) {
        segment->file_bytes = source.size;
        rc = FM_EIO;
        for (unsigned attempt = 0; rc == FM_EIO && attempt < REPLAY_OPEN_ATTEMPTS; attempt++)
            rc = wal_replay(source, &visitor, &result, &why); /* EIO: of the header */
        if (rc == FM_OK)
            replay_settle(replay, segment, &result, &file);
        pf_source_close(&file);
    }
    if (rc == FM_OK)
        return FM_OK;
    if (rc == FM_ENOMEM) {
        segment_free(store, segment);
        return rc;
    }
    if (rc == FM_NONE) { /* never used: serves again, or goes */
        segment->header = result.segment;
        replay->end_lsn = FM_MAX(replay->end_lsn, segment->header.base_lsn);
        fm_sm_move(&segment->sm, SEG_GOING);
        fm_list_append(&store->keep.going, &segment->link);
        return FM_OK;
    }
    replay_set_aside(replay, segment, rc, &why);
    return FM_OK;
}

static int replay_all(struct replay *replay, struct fm_why *why)
{
    struct store *store = replay->store;
    char path[STORE_PATH_BYTES];
    store_path(store, path, "wal");
    int rc = store->platform->ops->list(store->platform, path, replay_on_name, replay, why);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < replay->count; i++)
        replay_peek(replay, replay->segments[i]);
    if (replay->count)
        qsort(replay->segments, replay->count, sizeof(struct segment *), replay_compare_segments);
    for (size_t i = 0; i < replay->count; i++) {
        rc = replay_segment(replay, fm_take(replay->segments[i]));
        if (rc < 0)
            return fm_fail(why, rc, "replay of the log: %s", fm_rc_text(rc));
    }
    return FM_OK;
}

static uint64_t replay_next_lsn(const struct replay *replay)
{
    const struct store *store = replay->store;
    uint64_t next = FM_MAX(replay->end_lsn, (uint64_t)WAL_HEADER_BYTES);
    for (size_t i = 0; i < store->tenant_count; i++) {
        const struct tenant *tenant = store->tenants[i];
        if (tenant->covered_count)
            next = FM_MAX(next, tenant->covered[tenant->covered_count - 1].last + 1);
    }
    return (next + 7) & ~UINT64_C(7);
}

int store_replay(struct store *store, struct fm_why *why)
{
    struct replay replay = {.store = store};
    uint64_t begin_ns = pf_now_ns(store->platform);
    fm_buf_init(&replay.payload, WAL_PAYLOAD_MAX);
    int rc = replay_all(&replay, why);
    if (rc == FM_OK) {
        store->epoch = replay.epoch_max + 1;
        store->next_sequence = replay.sequence_max + 1;
        uint64_t next_lsn = replay_next_lsn(&replay);
        store->log_floor_lsn = FM_MIN(store_log_begin(store), next_lsn);
        rc = log_start(store, next_lsn);
    }
    for (size_t i = 0; i < replay.count; i++)
        segment_free(store, replay.segments[i]);
    free(replay.segments);
    free(replay.keys);
    free(replay.seen.slots);
    free(replay.earlier.slots);
    fm_buf_fini(&replay.payload);
    metric_set(&store->metrics.replay_ns, pf_now_ns(store->platform) - begin_ns);
    return rc;
}
