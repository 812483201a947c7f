/* SPDX-License-Identifier: Apache-2.0 */
/* log - group commit.
 *
 *                  +--------------+
 *                  v              |
 *   (open) --> IDLE --> WRITING --+--> FAILED --> IDLE (the disk takes files again)
 *               |          |              |
 *               +----------+---> CLOSING -+---> CLOSED
 *
 * Suspended in WRITING and CLOSING (resumed by log_on_written), FAILED (keep's probe, log_recover).
 * While one group is written the next one fills; so one sync acknowledges everybody who came
 * during the one before it.  Appends are answered after the next group is on its way.  What comes
 * while nothing is written waits for the others of its turn of the loop.
 *
 * A group takes all that waits, however much that is: it costs least.  But whoever comes meanwhile
 * waits for all of it; so while several tenants append, a group takes a share of each, and more
 * only while it is small.  A flood of one is then felt by that one.
 */
#include "internal.h"

#include <stdlib.h>

static const struct fm_sm_rule log_rules[] = {
    [LOG_IDLE] = {"idle", FM_TO(LOG_WRITING) | FM_TO(LOG_CLOSING) | FM_TO(LOG_FAILED)},
    [LOG_WRITING] = {"writing", FM_TO(LOG_IDLE) | FM_TO(LOG_FAILED)},
    [LOG_FAILED] = {"failed", FM_TO(LOG_IDLE) | FM_TO(LOG_CLOSED)},
    [LOG_CLOSING] = {"closing", FM_TO(LOG_CLOSED)},
    [LOG_CLOSED] = {"closed", 0},
};

/* Bigger buffers are given back once they are empty. */
#define LOG_IDLE_BUFFER_BYTES FM_MIB(1)

#define LOG_MIXED_NS    (10 * FM_NS_PER_S) /* SDKs send every five seconds */
#define LOG_SHARE_BYTES FM_KIB(64)         /* of a tenant, or one append */
#define LOG_FAIR_BYTES  FM_KIB(256)        /* compressed and written in under a millisecond */

static void log_on_written(struct pf_job *job);
static void log_on_refuse(struct pf_timer *timer);
static void log_on_turn(struct pf_timer *timer);
static void log_on_sync_due(struct pf_timer *timer);
static void log_on_probe_due(struct pf_timer *timer);

void log_init(struct store *store)
{
    struct log *log = &store->log;
    log->sm = (struct fm_sm){log_rules, LOG_IDLE};
    log->filling = &log->groups[0];
    log->writing = &log->groups[1];
    log->answering = &log->groups[2];
    fm_list_init(&log->refused);
    fm_list_init(&log->writer.used);
    log->refuse_timer.fire = log_on_refuse;
    log->turn_timer.fire = log_on_turn;
    log->sync_timer.fire = log_on_sync_due;
    log->probe_timer.fire = log_on_probe_due;
    log->writer.store = store;
    log->writer.job =
        (struct pf_job){.work = log_writer_work, .done = log_on_written, .lane = PF_LANE_WAL};
    fm_buf_init(&log->writer.joined, WAL_PAYLOAD_MAX);
    fm_buf_init(&log->writer.kept, SIZE_MAX / 4);
    fm_buf_init(&log->writer.seal, 4096);
}

int log_start(struct store *store, uint64_t next_lsn)
{
    struct log_writer *writer = &store->log.writer;
    writer->next_lsn = next_lsn;
    writer->batch_salt = pf_random_u64(store->platform);
    store->log.durable_lsn = next_lsn;
    return store->options.compress ? codec_encoder_new(&writer->encoder, CODEC_LZ4, 0) : FM_OK;
}

static void log_group_fini(struct log_group *group)
{
    free(group->items);
    free(group->keys);
    *group = (struct log_group){0};
}

void log_fini(struct store *store)
{
    struct log *log = &store->log;
    for (size_t i = 0; i < FM_COUNT(log->groups); i++)
        log_group_fini(&log->groups[i]);
    while (log->writer.fresh_count)
        segment_free(store, log->writer.fresh[--log->writer.fresh_count]);
    codec_encoder_free(log->writer.encoder);
    fm_buf_fini(&log->writer.joined);
    fm_buf_fini(&log->writer.kept);
    fm_buf_fini(&log->writer.seal);
    free(log->writer.entries);
}

/* ---- in ---- */

static void log_refuse(struct store *store, struct store_append *append, int rc)
{
    struct store_metrics *metrics = &store->metrics;
    if (rc == FM_EDENIED || rc == FM_ENOTFOUND)
        rc = FM_EIO; /* the disk's trouble, not the client's */
    if (rc == FM_ENOMEM)
        rc = FM_EUNAVAILABLE;
    append->rc = rc;
    if (rc < 0)
        metric_add(rc == FM_EIO            ? &metrics->refused_disk
                   : rc == FM_ENOSPACE     ? &metrics->refused_space
                   : rc == FM_EUNAVAILABLE ? &metrics->refused_pending
                                           : &metrics->refused_other,
                   append->span_count);
    if (rc == FM_OK || !append->keeps_payload)
        fm_buf_fini(&append->payload);
    fm_list_append(&store->log.refused, &append->link);
    if (!store->log.refuse_timer_runs) {
        store->log.refuse_timer_runs = true;
        pf_timer_start(store->platform, &store->log.refuse_timer, 0);
    }
}

static void log_on_refuse(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, log.refuse_timer);
    store->log.refuse_timer_runs = false;
    struct fm_link taken;
    fm_list_init(&taken);
    while (!fm_list_empty(&store->log.refused)) {
        struct fm_link *link = store->log.refused.next;
        fm_list_remove(link);
        fm_list_append(&taken, link);
    }
    while (!fm_list_empty(&taken)) {
        struct store_append *append = FM_CONTAINER(taken.next, struct store_append, link);
        fm_list_remove(&append->link);
        append->done(append, append->rc);
    }
    store_finish_close(store);
}

static int log_group_reserve(struct log_group *group, size_t count, size_t key_count)
{
    if (count > group->capacity) {
        size_t capacity = FM_MAX(count, FM_MAX(group->capacity * 2, 32u));
        struct log_item *grown = realloc(group->items, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        group->items = grown;
        group->capacity = capacity;
    }
    if (key_count > group->key_capacity) {
        size_t capacity = FM_MAX(key_count, group->key_capacity * 2);
        uint64_t *grown = realloc(group->keys, capacity * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        group->keys = grown;
        group->key_capacity = capacity;
    }
    return FM_OK;
}

/* Into what was reserved; keys may lie further on in the group's own. */
static void log_group_put(struct log_group *group, struct log_item item, const uint64_t *keys)
{
    size_t count = item.append->trace_key_count;
    if (count)
        memmove(group->keys + group->key_count, keys, count * sizeof *keys);
    group->key_count += count;
    group->bytes += append_payload(item.append).len;
    group->items[group->count++] = item;
}

static int log_group_add(struct log_group *group, struct store_append *append,
                         struct tenant *tenant)
{
    int rc = log_group_reserve(group, group->count + 1, group->key_count + append->trace_key_count);
    if (rc < 0)
        return rc;
    append->rc = FM_OK;
    log_group_put(group, (struct log_item){.append = append, .tenant = tenant}, append->trace_keys);
    return FM_OK;
}

static void log_note_tenant(struct store *store, const struct tenant *tenant)
{
    struct log *log = &store->log;
    if (log->last_tenant == tenant)
        return;
    if (log->last_tenant)
        log->mixed_ns = pf_now_ns(store->platform);
    log->last_tenant = tenant;
}

/* Whether there is room for one more; the order is from hopeless to soon over. */
static int log_admit(struct store *store, const struct store_append *append)
{
    const struct log *log = &store->log;
    size_t payload_len = append_payload(append).len;
    uint64_t head = head_record_bytes(append->trace_key_count + (uint32_t)log->filling->key_count +
                                      (uint32_t)log->writing->key_count);
    if (store->is_closing)
        return FM_ECLOSED;
    if (payload_len > WAL_PAYLOAD_MAX)
        return FM_ELIMIT;
    if (log->sm.state == LOG_FAILED)
        return log->writer.rc < 0 ? log->writer.rc : FM_EIO;
    if (store->is_full)
        return FM_ENOSPACE;
    if (store->head_memory_bytes + head > store->options.head_bytes_max) {
        cut_step(store);
        return FM_EUNAVAILABLE;
    }
    if (log->pending_bytes && log->pending_bytes + payload_len > store->options.pending_bytes_max)
        return FM_EUNAVAILABLE;
    if (log->sm.state == LOG_WRITING &&
        pf_now_ns(store->platform) - log->submitted_ns > STORE_STALL_NS)
        return FM_EUNAVAILABLE;
    return FM_OK;
}

static void log_on_turn(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, log.turn_timer);
    store->log.turn_timer_runs = false;
    log_step(store);
}

static void log_step_soon(struct store *store)
{
    struct log *log = &store->log;
    if (log->sm.state != LOG_IDLE || log->turn_timer_runs)
        return;
    log->turn_timer_runs = true;
    pf_timer_start(store->platform, &log->turn_timer, 0);
}

void store_append(struct store *store, struct store_append *append)
{
    struct tenant *tenant;
    fm_list_init(&append->link);
    if (append_payload(append).len == 0) {
        log_refuse(store, append, FM_OK); /* nothing to keep is kept */
        return;
    }
    int rc = log_admit(store, append);
    if (rc == FM_OK)
        rc = tenant_get(store, append->tenant, &tenant);
    if (rc == FM_OK)
        rc = log_group_add(store->log.filling, append, tenant);
    if (rc < 0) {
        log_refuse(store, append, rc);
        return;
    }
    store->log.pending_bytes += append_payload(append).len;
    log_note_tenant(store, tenant);
    log_step_soon(store);
}

/* ---- to the writer and back ---- */

static bool log_has_work(const struct store *store)
{
    const struct log *log = &store->log;
    bool has_unsynced = log->writer.entry_count != 0;
    return log->filling->count || (has_unsynced && (log->wants_sync || log->writer.must_rewrite));
}

/* Everybody's first append, or as many as make a share; then in order of arrival. */
static void log_choose(struct log *log)
{
    struct log_group *group = log->filling;
    uint64_t bytes = 0, number = ++log->group_number;
    for (size_t i = 0; i < group->count; i++) {
        struct log_item *item = &group->items[i];
        struct tenant *tenant = item->tenant;
        size_t len = append_payload(item->append).len;
        if (tenant->group_number != number)
            tenant->group_bytes = 0;
        item->is_chosen =
            tenant->group_number != number || tenant->group_bytes + len <= LOG_SHARE_BYTES;
        tenant->group_number = number;
        if (item->is_chosen) {
            tenant->group_bytes += len;
            bytes += len;
        }
    }
    for (size_t i = 0; i < group->count; i++) {
        struct log_item *item = &group->items[i];
        size_t len = append_payload(item->append).len;
        if (item->is_chosen || bytes + len > LOG_FAIR_BYTES)
            continue;
        item->is_chosen = true;
        bytes += len;
    }
}

/* Moves a part of what waits to the group that is written next; false: it takes everything. */
static bool log_take_part(struct store *store)
{
    struct log *log = &store->log;
    struct log_group *from = log->filling, *target = log->writing;
    uint64_t now_ns = pf_now_ns(store->platform);
    bool is_mixed = log->mixed_ns && now_ns - log->mixed_ns < LOG_MIXED_NS;
    if (!is_mixed || from->bytes <= LOG_FAIR_BYTES || store->is_closing)
        return false;
    if (log_group_reserve(target, from->count, from->key_count) < 0)
        return false;
    log_choose(log);
    struct log_group all = *from;
    const uint64_t *keys = all.keys;
    from->count = from->key_count = 0;
    from->bytes = 0;
    for (size_t i = 0; i < all.count; i++) {
        struct log_item item = all.items[i];
        log_group_put(item.is_chosen ? target : from, item, keys);
        keys += item.append->trace_key_count;
    }
    return true;
}

static void log_submit(struct store *store)
{
    struct log *log = &store->log;
    struct log_writer *writer = &log->writer;
    if (!log_take_part(store)) {
        struct log_group *group = log->filling;
        log->filling = log->writing;
        log->writing = group;
    }
    writer->group = log->writing;
    while (!fm_list_empty(&store->spares) && writer->fresh_count < FM_COUNT(writer->fresh)) {
        struct segment *segment = FM_CONTAINER(store->spares.next, struct segment, link);
        fm_list_remove(&segment->link);
        writer->fresh[writer->fresh_count++] = segment;
    }
    log->handed_count = (unsigned)writer->fresh_count;
    writer->wants_sync = log->wants_sync;
    log->wants_sync = false;
    log->submitted_ns = pf_now_ns(store->platform);
    pf_job_submit(store->platform, &writer->job);
}

static void log_take_segments(struct store *store)
{
    struct log_writer *writer = &store->log.writer;
    while (!fm_list_empty(&writer->used)) {
        struct fm_link *link = writer->used.next;
        fm_list_remove(link);
        fm_list_append(&store->segments, link);
        fm_sm_move(&FM_CONTAINER(link, struct segment, link)->sm, SEG_ACTIVE);
    }
    for (struct fm_link *link = store->segments.prev; link != &store->segments; link = link->prev) {
        struct segment *segment = FM_CONTAINER(link, struct segment, link);
        if (segment->sm.state == SEG_ACTIVE && segment != writer->active)
            fm_sm_move(&segment->sm, SEG_CLOSED);
    }
    while (writer->fresh_count)
        fm_list_append(&store->spares, &writer->fresh[--writer->fresh_count]->link);
    store->log.handed_count = 0;
}

static void log_entry_record(const struct log_entry *entry, struct head_record *record)
{
    *record = (struct head_record){
        .lsn = entry->lsn,
        .segment = entry->segment,
        .start_ns = entry->start_ns,
        .end_ns = entry->end_ns,
        .received_unix_ns = entry->received_unix_ns,
        .offset = (uint32_t)entry->offset,
        .size = (uint32_t)entry->size,
        .span_count = entry->span_count,
        .payload_bytes = entry->payload_bytes,
        .key_count = entry->key_count,
    };
}

/* Records that moved to another segment, then the new ones, enter the head. */
static void log_publish(struct store *store)
{
    struct log_writer *writer = &store->log.writer;
    struct log_group *group = store->log.writing;
    size_t item = 0;
    for (size_t i = 0; i < writer->entry_count; i++) {
        struct log_entry *entry = &writer->entries[i];
        struct head_record record;
        log_entry_record(entry, &record);
        int rc = FM_OK;
        if (i < writer->entry_first_new && !entry->published_lsn)
            continue; /* was refused for want of memory */
        if (entry->published_lsn && entry->published_lsn != entry->lsn)
            rc = head_move(store, entry->tenant, entry->published_lsn, &record);
        else if (!entry->published_lsn)
            rc = head_append(store, entry->tenant, &record, group->keys + entry->key_first);
        if (rc == FM_OK && !entry->published_lsn)
            book_note(store, entry->tenant, entry->received_unix_ns, entry->span_count);
        if (rc == FM_OK) {
            entry->published_lsn = entry->lsn;
            store->log.last_lsn = FM_MAX(store->log.last_lsn, entry->lsn);
        } else {
            log_error("store.memory", "no memory for the index of a record; why=\"%s\"",
                      fm_rc_text(rc));
        }
        for (uint32_t n = 0; i >= writer->entry_first_new && n < entry->append_count; n++)
            group->items[item++].append->rc = rc;
    }
    metric_add(&store->metrics.group_count, group->count != 0);
    metric_add(&store->metrics.record_count, writer->entry_count - writer->entry_first_new);
}

static void log_forget_kept(struct log_writer *writer)
{
    writer->entry_count = 0;
    fm_buf_reset(&writer->kept);
    if (writer->kept.cap > LOG_IDLE_BUFFER_BYTES)
        fm_buf_fini(&writer->kept);
    if (writer->joined.cap > LOG_IDLE_BUFFER_BYTES)
        fm_buf_fini(&writer->joined);
}

static void log_start_sync_timer(struct store *store)
{
    struct log *log = &store->log;
    if (store->options.sync != STORE_SYNC_INTERVAL || !log->writer.entry_count ||
        log->sync_timer_runs)
        return;
    log->sync_timer_runs = true;
    pf_timer_start(store->platform, &log->sync_timer, store->options.sync_interval_ns);
}

/* Callers may append again, or close; so the state is final before the first of them hears. */
static void log_answer(struct store *store)
{
    struct log_group *group = store->log.answering;
    for (size_t i = 0; i < group->count; i++) {
        struct store_append *append = group->items[i].append;
        int rc = append->rc == FM_EDENIED || append->rc == FM_ENOTFOUND ? FM_EIO : append->rc;
        if (rc == FM_OK) {
            metric_add(&store->metrics.appended_spans, append->span_count);
        } else {
            metric_add(rc == FM_ENOSPACE ? &store->metrics.refused_space
                                         : &store->metrics.refused_disk,
                       append->span_count);
            rc = rc == FM_ENOMEM ? FM_EUNAVAILABLE : rc;
        }
        if (rc == FM_OK || !append->keeps_payload)
            fm_buf_fini(&append->payload);
        append->done(append, rc);
    }
    group->count = group->key_count = 0;
    group->bytes = 0;
    if (group->key_capacity * sizeof *group->keys > LOG_IDLE_BUFFER_BYTES)
        log_group_fini(group);
}

static void log_on_written(struct pf_job *job)
{
    struct store *store = FM_CONTAINER(job, struct store, log.writer.job);
    struct log *log = &store->log;
    struct log_writer *writer = &log->writer;
    log_take_segments(store);
    for (size_t i = 0; i < log->writing->count; i++)
        log->writing->items[i].append->rc = writer->rc;
    if (writer->rc == FM_OK) {
        log_publish(store);
        metric_add(&store->metrics.appended_bytes, log->writing->bytes);
    }
    if (writer->is_synced) {
        log_forget_kept(writer);
        log->durable_lsn = writer->next_lsn;
    }
    log->pending_bytes -= log->writing->bytes;
    struct log_group *written = log->writing;
    log->writing = log->answering;
    log->answering = written;
    if (log->sm.state == LOG_CLOSING)
        fm_sm_move(&log->sm, LOG_CLOSED);
    else if (writer->is_disk_failure)
        log_fail(store);
    else
        fm_sm_move(&log->sm, LOG_IDLE);
    log_start_sync_timer(store);
    log_step(store);
    log_answer(store);
    keep_step(store);
    cut_step(store);
    cursors_wake(store);
    store_finish_close(store);
}

static void log_refuse_all(struct store *store, int rc)
{
    struct log_group *group = store->log.filling;
    for (size_t i = 0; i < group->count; i++)
        log_refuse(store, group->items[i].append, rc);
    store->log.pending_bytes -= group->bytes;
    group->count = group->key_count = 0;
    group->bytes = 0;
}

void log_step(struct store *store)
{
    struct log *log = &store->log;
    switch ((enum log_state)log->sm.state) {
    case LOG_IDLE:
        if (store->is_closing) {
            fm_sm_move(&log->sm, LOG_CLOSING);
            log->writer.wants_close = true;
            log_submit(store);
        } else if (log_has_work(store)) {
            fm_sm_move(&log->sm, LOG_WRITING);
            log_submit(store);
        }
        break;
    case LOG_FAILED:
        log_refuse_all(store, log->writer.rc);
        if (store->is_closing)
            fm_sm_move(&log->sm, LOG_CLOSED);
        break;
    case LOG_WRITING:
    case LOG_CLOSING:
        break; /* resumed by log_on_written */
    case LOG_CLOSED:
        log_refuse_all(store, FM_ECLOSED);
        break;
    }
}

static void log_on_sync_due(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, log.sync_timer);
    store->log.sync_timer_runs = false;
    log_sync_now(store);
}

void log_sync_now(struct store *store)
{
    store->log.wants_sync = store->options.sync == STORE_SYNC_INTERVAL;
    log_step(store);
}

/* ---- trouble ---- */

void log_fail(struct store *store)
{
    struct log *log = &store->log;
    fm_sm_move(&log->sm, LOG_FAILED);
    store_set_problem(store, "the log cannot be written: %s", log->writer.why.text);
    log_error("store.log_failed", "appends are refused until the disk takes files again why=\"%s\"",
              log->writer.why.text);
    pf_timer_start(store->platform, &log->probe_timer, STORE_RETRY_NS);
}

static void log_on_probe_due(struct pf_timer *timer)
{
    struct store *store = FM_CONTAINER(timer, struct store, log.probe_timer);
    if (store->is_closing || store->log.sm.state != LOG_FAILED)
        return;
    store->keep.wants_probe = true;
    keep_now(store);
    pf_timer_start(store->platform, &store->log.probe_timer, STORE_RETRY_NS);
}

void log_recover(struct store *store)
{
    struct log *log = &store->log;
    if (log->sm.state != LOG_FAILED)
        return;
    pf_timer_stop(store->platform, &log->probe_timer);
    fm_sm_move(&log->sm, LOG_IDLE);
    store_set_problem(store, "%s", "");
    log_info("store.log_recovered", "appends are taken again");
    log_step(store);
}

void log_close(struct store *store)
{
    struct log *log = &store->log;
    pf_timer_stop(store->platform, &log->turn_timer);
    pf_timer_stop(store->platform, &log->sync_timer);
    pf_timer_stop(store->platform, &log->probe_timer);
    log->turn_timer_runs = log->sync_timer_runs = false;
    log_step(store);
}
