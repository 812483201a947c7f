/* SPDX-License-Identifier: Apache-2.0 */
/* merge_build - the jobs behind a merge: traces of several blocks, one after the other, become rows
 * of one; and then the names of the sources go. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/block_traces.h"
#include "gone.h"

#define MERGE_OTLP_MAX FM_MIB(64) /* of one trace in one block */

struct merge_row { /* a trace of a source, and what was decided about it */
    struct trace_id id;
    uint8_t kept, ahead, policy;
};

struct merging {
    struct merge *merge;
    struct store *store;
    struct block_builder *builder; /* owned */
    struct block_options options;
    struct making making;
    struct fm_buf otlp;
    struct fm_buf rows; /* struct merge_row; only if rows were decided about */
    uint8_t policy_numbers[STORE_POLICIES_MAX]; /* of the source's policies among all */
    struct block_entry *entry;                  /* owned until it is the merge's */
    struct store_decision *decision;            /* owned; of the new block, or NULL */
    struct fm_buf marker;                       /* the file `uploaded`: the lines of all sources */
    uint64_t span_count, record_count;
};

/* ---- in ---- */

static int merging_add_trace(struct merging *merging, struct fm_why *why)
{
    struct fm_slice otlp = fm_buf_slice(&merging->otlp);
    int rc = merging->builder ? block_builder_add(merging->builder, otlp, why)
                              : making_add_first(&merging->builder, &merging->options, otlp, why);
    return rc == FM_EMALFORMED ? FM_ECORRUPT : rc;
}

static int merging_note_row(struct merging *merging, const struct store_decision *decision,
                            const struct trace_id *id, uint64_t row)
{
    struct merge_row note = {.id = *id, .policy = STORE_POLICY_BEYOND};
    if (!decision)
        return FM_OK;
    if (row >= decision->row_count)
        return FM_ECORRUPT;
    if (decision->facts.verdict == STORE_PART) {
        note.kept = store_row_has(decision->kept, row);
        note.ahead = store_row_has(decision->ahead, row);
    }
    if (decision->policy_of && decision->policy_of[row] != STORE_POLICY_BEYOND)
        note.policy = merging->policy_numbers[decision->policy_of[row]];
    fm_buf_put(&merging->rows, &note, sizeof note);
    return merging->rows.failed ? FM_ENOMEM : FM_OK;
}

static int merging_add_traces(struct merging *merging, struct block_traces *traces,
                              const struct store_decision *decision, struct fm_why *why)
{
    for (;;) {
        struct trace_id id;
        uint64_t row = block_traces_row(traces);
        if (merging->merge->is_cancelled)
            return FM_ECANCELLED;
        fm_buf_reset(&merging->otlp);
        int rc = block_traces_next(traces, &id, &merging->otlp, why);
        if (rc == FM_END)
            return FM_OK;
        if (rc == FM_OK)
            rc = merging_add_trace(merging, why);
        if (rc == FM_OK)
            rc = merging_note_row(merging, decision, &id, row);
        if (rc < 0)
            return rc;
    }
}

/* numbers: NULL, or of each policy of decision in sum. */
static void policies_add(struct store_decision *sum, const struct store_decision *decision,
                         uint8_t *numbers)
{
    for (uint32_t i = 0; i < decision->policy_count; i++) {
        const struct store_policy_count *policy = &decision->policies[i];
        uint32_t at = 0;
        while (at < sum->policy_count && strcmp(sum->policies[at].name, policy->name) != 0)
            at++;
        if (numbers)
            numbers[i] = (uint8_t)FM_MIN(at, STORE_POLICY_BEYOND);
        if (at == STORE_POLICIES_MAX)
            continue; /* names of older configurations, without end */
        if (at == sum->policy_count) {
            memcpy(sum->policies[at].name, policy->name, sizeof policy->name);
            sum->policy_count++;
        }
        sum->policies[at].kept_traces += policy->kept_traces;
        sum->policies[at].kept_spans += policy->kept_spans;
        sum->policies[at].dropped_traces += policy->dropped_traces;
        sum->policies[at].dropped_spans += policy->dropped_spans;
    }
}

static int merging_add_decision(struct merging *merging, const struct block_entry *source,
                                struct store_decision **ret_decision, struct fm_why *why)
{
    struct store_decision *sum = merging->decision;
    *ret_decision = NULL;
    if (source->decided.verdict == STORE_UNDECIDED)
        return FM_OK;
    int rc = store_block_read_decision(merging->store->platform, &source->block, ret_decision, why);
    if (rc == FM_OK && !sum)
        rc = store_decision_new(&merging->decision, 0);
    if (rc < 0)
        return rc;
    sum = merging->decision;
    policies_add(sum, *ret_decision, merging->policy_numbers);
    sum->facts.kept_spans += (*ret_decision)->facts.kept_spans;
    sum->facts.ahead_spans += (*ret_decision)->facts.ahead_spans;
    sum->facts.unix_ns = FM_MAX(sum->facts.unix_ns, (*ret_decision)->facts.unix_ns);
    return FM_OK;
}

/* When it left, and as which block; lines beyond the limit are forgotten. */
static void merging_add_marker(struct merging *merging, const struct block_entry *source)
{
    struct fm_buf text;
    struct block_id id;
    uint64_t unix_ns;
    char path[STORE_PATH_BYTES], name[37];
    int len = snprintf(path, sizeof path, "%s/uploaded", source->block.path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    fm_buf_init(&text, MARKER_FILE_MAX);
    if (source->is_uploaded && pf_read_file(merging->store->platform, path, &text, NULL) == FM_OK) {
        struct fm_slice rest = fm_buf_slice(&text);
        while (marker_next(&rest, &unix_ns, &id) && merging->marker.len + 64 < MARKER_FILE_MAX) {
            block_id_print(&id, name);
            fm_buf_printf(&merging->marker, "%llu %s\n", (unsigned long long)unix_ns, name);
        }
    }
    fm_buf_fini(&text);
}

static int merging_add_facts(struct merging *merging, const struct block_entry *source,
                             struct fm_why *why)
{
    struct local_facts facts;
    struct fm_buf text;
    char path[STORE_PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s/local.json", source->block.path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    fm_buf_init(&text, FM_KIB(64));
    int rc = pf_read_file(merging->store->platform, path, &text, why);
    if (rc == FM_OK)
        rc = local_parse(fm_buf_slice(&text), &facts, why);
    fm_buf_fini(&text);
    if (rc < 0)
        return rc;
    merging->record_count += facts.record_count;
    merging->span_count += source->block.span_count;
    merging_add_marker(merging, source);
    return FM_OK;
}

static int merging_add_source(struct merging *merging, const struct block_entry *source,
                              struct fm_why *why)
{
    FM_AUTO(block) block = NULL;
    FM_AUTO(block_traces) traces = NULL;
    FM_AUTO(store_decision) decision = NULL;
    struct pf_source file;
    struct fm_source data;
    char path[STORE_PATH_BYTES];
    int rc = merging_add_facts(merging, source, why);
    if (rc == FM_OK)
        rc = merging_add_decision(merging, source, &decision, why);
    if (rc < 0)
        return rc;
    int len = snprintf(path, sizeof path, "%s/data.parquet", source->block.path);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    rc = pf_source_open(&file, merging->store->platform, path, &data, why);
    if (rc < 0)
        return rc;
    rc = block_open(&block, data, &source->block.meta, why);
    if (rc == FM_OK)
        rc = block_traces_new(&traces, block, 0);
    if (rc == FM_OK)
        rc = merging_add_traces(merging, traces, decision, why);
    traces = block_traces_free(traces);
    block = block_free(block);
    pf_source_close(&file);
    return rc;
}

static int merging_collect(struct merging *merging, struct fm_why *why)
{
    struct merge *merge = merging->merge;
    for (size_t i = 0; i < merge->count; i++) {
        merge->fit_count = i;
        int rc = merging_add_source(merging, merge->sources[i], why);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

/* ---- the new block ---- */

/* As with BUILD-1: the same sources give the same id. */
static void merging_make_id(const struct merging *merging, struct block_id *ret_id)
{
    const struct merge *merge = merging->merge;
    uint8_t bytes[16 + 16 + 2 * sizeof(struct block_id)];
    const struct store_block *first = &merge->sources[0]->block;
    const struct store_block *last = &merge->sources[merge->count - 1]->block;
    uint64_t hash[2];
    memcpy(bytes, merging->store->options.node, 16);
    fm_store_le64(bytes + 16, first->first_lsn);
    fm_store_le64(bytes + 24, last->last_lsn);
    memcpy(bytes + 32, &first->meta.id, sizeof first->meta.id);
    memcpy(bytes + 48, &last->meta.id, sizeof last->meta.id);
    fm_murmur3_128(fm_slice(bytes, sizeof bytes), hash);
    fm_store_be64(ret_id->bytes, hash[0]);
    fm_store_be64(ret_id->bytes + 8, hash[1]);
    ret_id->bytes[6] = (uint8_t)(0x80 | (ret_id->bytes[6] & 0x0f)); /* RFC 9562: version 8 */
    ret_id->bytes[8] = (uint8_t)(0x80 | (ret_id->bytes[8] & 0x3f));
}

static bool merging_has_room(const struct ledger_account *account,
                             const struct ledger_account *more)
{
    uint32_t hours = account->hour_count;
    for (uint32_t i = 0; i < more->hour_count; i++) {
        bool is_there = false;
        for (uint32_t k = 0; k < account->hour_count && !is_there; k++)
            is_there = account->hours[k].hour == more->hours[i].hour;
        hours += !is_there;
    }
    return hours <= LEDGER_HOURS_MAX;
}

static int merging_prepare(struct merging *merging, struct fm_why *why)
{
    const struct merge *merge = merging->merge;
    struct store *store = merging->store;
    char id[37];
    int rc = block_entry_new(store, &merging->entry);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for a block");
    struct block_entry *entry = merging->entry;
    struct store_block *block = &entry->block;
    merging_make_id(merging, &block->meta.id);
    block_id_print(&block->meta.id, id);
    memcpy(block->meta.tenant, merge->tenant->name, sizeof block->meta.tenant);
    int len = snprintf(block->path, sizeof block->path, "%s/blocks/%s/%s", store->data_dir,
                       merge->tenant->name, id);
    FM_ASSERT(len > 0 && (size_t)len < sizeof block->path); /* open checked the length */
    block->first_lsn = merge->sources[0]->block.first_lsn;
    block->last_lsn = merge->sources[merge->count - 1]->block.last_lsn;
    entry->is_uploaded = merge->sources[0]->is_uploaded;
    for (size_t i = 0; i < merge->count; i++) {
        const struct block_entry *source = merge->sources[i];
        block->sealed_unix_ns = FM_MAX(block->sealed_unix_ns, source->block.sealed_unix_ns);
        entry->sealed_steady_ns = FM_MAX(entry->sealed_steady_ns, source->sealed_steady_ns);
        if (!merging_has_room(&block->account, &source->block.account)) {
            merging->merge->fit_count = i;
            return fm_fail(why, FM_ELIMIT, "more hours than an account tells apart");
        }
        ledger_account_join(&block->account, &source->block.account);
    }
    return making_begin(&merging->making, &block->meta, why);
}

/* What its spans say of themselves was looked at when they were received. */
static int merging_write_meta(struct merging *merging, struct fm_why *why)
{
    const struct merge *merge = merging->merge;
    struct making *making = &merging->making;
    struct block_meta *meta = &merging->entry->block.meta;
    uint64_t disk_bytes = making->disk_bytes;
    struct fm_buf text;
    meta->start_ns = UINT64_MAX;
    meta->end_ns = 0;
    for (size_t i = 0; i < merge->count; i++) {
        const struct block_meta *source = &merge->sources[i]->block.meta;
        meta->start_ns = FM_MIN(meta->start_ns, source->start_ns);
        meta->end_ns = FM_MAX(meta->end_ns, source->end_ns);
        meta->compaction_level = FM_MAX(meta->compaction_level, source->compaction_level + 1);
    }
    fm_buf_init(&text, FM_KIB(64));
    block_meta_render(meta, &text);
    int rc =
        text.failed ? FM_ENOMEM : making_write_file(making, "meta.json", fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    making->disk_bytes = disk_bytes; /* it was counted before */
    return rc;
}

static int merging_write_facts(struct merging *merging, struct fm_why *why)
{
    const struct store_block *block = &merging->entry->block;
    struct local_facts facts = {
        .first_lsn = block->first_lsn,
        .last_lsn = block->last_lsn,
        .record_count = merging->record_count,
        .span_count = block->span_count,
        .sealed_unix_ns = block->sealed_unix_ns,
        .sealed_steady_ns = merging->entry->sealed_steady_ns,
        .account = block->account,
    };
    struct fm_buf text;
    memcpy(facts.node, merging->store->options.node, sizeof facts.node);
    fm_buf_init(&text, FM_KIB(64));
    local_render(&facts, &text);
    int rc = text.failed
                 ? FM_ENOMEM
                 : making_write_file(&merging->making, "local.json", fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    if (rc == FM_OK && merging->entry->is_uploaded)
        rc = making_write_file(
            &merging->making, "uploaded",
            merging->marker.len ? fm_buf_slice(&merging->marker) : FM_SLICE("1\n"), why);
    return rc;
}

/* ---- the new block's decision ---- */

static int merge_row_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

/* Rows of a block are sorted by trace; one trace may be in several sources. */
static int merging_decide_rows(struct merging *merging, struct store_decision *decision)
{
    struct merge_row *rows = (struct merge_row *)(void *)merging->rows.ptr;
    size_t count = merging->rows.len / sizeof *rows;
    uint64_t row = 0;
    decision->policy_of = malloc(decision->row_count + 1);
    if (!decision->policy_of)
        return FM_ENOMEM;
    memset(decision->policy_of, STORE_POLICY_BEYOND, decision->row_count);
    qsort(rows, count, sizeof *rows, merge_row_compare);
    for (size_t i = 0; i < count; i++) {
        if (i && merge_row_compare(&rows[i - 1], &rows[i]) != 0)
            row++;
        if (row >= decision->row_count)
            return FM_ECORRUPT;
        decision->policy_of[row] = FM_MIN(decision->policy_of[row], rows[i].policy);
        if (rows[i].kept && !store_row_has(decision->kept, row)) {
            store_row_set(decision->kept, row);
            decision->facts.kept_traces++;
        }
        if (rows[i].ahead && !store_row_has(decision->ahead, row)) {
            store_row_set(decision->ahead, row);
            decision->facts.ahead_traces++;
        }
    }
    return row + 1 == decision->row_count ? FM_OK : FM_ECORRUPT;
}

static int merging_write_decision(struct merging *merging, struct fm_why *why)
{
    FM_AUTO(store_decision) decision = NULL;
    const struct store_decision *sum = merging->decision;
    enum store_verdict verdict = merging->merge->sources[0]->decided.verdict;
    struct store_block *block = &merging->entry->block;
    struct fm_buf file;
    int rc = sum ? store_decision_new(&decision, block->meta.trace_count) : FM_NONE;
    if (rc != FM_OK)
        return rc == FM_NONE ? FM_OK : rc;
    decision->span_count = block->span_count;
    decision->facts.unix_ns = sum->facts.unix_ns;
    policies_add(decision, sum, NULL);
    rc = merging_decide_rows(merging, decision);
    if (verdict == STORE_WHOLE)
        decision->facts.kept_traces = decision->row_count;
    if (rc < 0)
        return fm_fail(why, rc, "decisions of the blocks do not fit their traces");
    decision->facts.kept_spans = FM_MIN(sum->facts.kept_spans, block->span_count);
    decision->facts.ahead_spans = FM_MIN(sum->facts.ahead_spans, decision->facts.kept_spans);
    store_decision_conclude(decision);
    if (decision->facts.verdict != verdict) /* a trace was kept here and not there */
        return fm_fail(why, FM_EUNSUPPORTED, "decisions of the blocks contradict each other");
    fm_buf_init(&file, FM_MIB(16));
    store_decision_render(decision, &file);
    rc = file.failed ? FM_ENOMEM
                     : making_write_file(&merging->making, "decision", fm_buf_slice(&file), why);
    fm_buf_fini(&file);
    merging->entry->decided = decision->facts;
    return rc;
}

static int merging_check(struct merging *merging, struct fm_why *why)
{
    const struct block_census *made = &merging->making.census;
    if (made->span_count + made->duplicate_count == merging->span_count)
        return FM_OK;
    return making_reject(&merging->making, why, "spans of the blocks", merging->span_count,
                         made->span_count + made->duplicate_count);
}

static int merging_write(struct merging *merging, struct fm_why *why)
{
    struct making *making = &merging->making;
    struct platform *platform = merging->store->platform;
    int rc = merging_prepare(merging, why);
    if (rc == FM_OK)
        rc = making_write(making, merging->builder, why);
    if (rc == FM_OK)
        rc = merging_check(merging, why);
    if (rc < 0)
        return rc;
    merging->entry->block.span_count = making->census.span_count;
    merging->entry->block.account.duplicates += making->census.duplicate_count;
    rc = merging_write_meta(merging, why);
    if (rc == FM_OK)
        rc = merging_write_decision(merging, why);
    if (rc == FM_OK)
        rc = merging_write_facts(merging, why);
    if (rc == FM_OK)
        rc = platform->ops->sync_dir(platform, making->folder, why);
    if (rc == FM_OK)
        rc = making_verify(making, why);
    merging->entry->disk_bytes = making->disk_bytes;
    return rc;
}

static int merging_run(struct merging *merging, struct fm_why *why)
{
    int rc = merging_collect(merging, why);
    if (rc == FM_OK)
        rc = merging_write(merging, why);
    if (rc == FM_OK)
        rc = making_publish(&merging->making, merging->entry->block.path, why);
    if (rc < 0)
        making_discard(&merging->making, why);
    return rc;
}

void merge_work(struct pf_job *job)
{
    struct merge *merge = FM_CONTAINER(job, struct merge, job);
    struct store *store = merge->store;
    struct merging merging = {.merge = merge, .store = store, .options = store->options.block};
    uint64_t begin_ns = pf_now_ns(store->platform);
    merge->why.text[0] = 0;
    merge->fit_count = 0;
    making_init(&merging.making, store);
    fm_buf_init(&merging.otlp, MERGE_OTLP_MAX);
    fm_buf_init(&merging.rows, SIZE_MAX / 4);
    fm_buf_init(&merging.marker, MARKER_FILE_MAX);
    merge->rc = merging_run(&merging, &merge->why);
    if (merge->rc == FM_OK)
        merge->entry = fm_take(merging.entry);
    block_entry_free(store, merging.entry);
    store_decision_free(merging.decision);
    block_builder_free(merging.builder);
    making_fini(&merging.making);
    fm_buf_fini(&merging.otlp);
    fm_buf_fini(&merging.rows);
    fm_buf_fini(&merging.marker);
    merge->work_ns = pf_now_ns(store->platform) - begin_ns;
}

/* MERGE-4. */
void merge_retire(struct pf_job *job)
{
    struct merge *merge = FM_CONTAINER(job, struct merge, job);
    struct platform *platform = merge->store->platform;
    merge->rc = FM_OK;
    for (size_t i = 0; i < merge->count; i++) {
        int rc = block_retire(platform, merge->sources[i]->block.path);
        if (rc < 0)
            merge->rc = rc;
    }
}
