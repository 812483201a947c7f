/* SPDX-License-Identifier: Apache-2.0 */
/* urgent - every now and then, tenant by tenant: what came into the log since the last look is
 * judged by the rules that are urgent, and the traces that these keep leave with all spans so far.
 *
 * URG-1  A trace leaves ahead once.  It is remembered, here and by the store (store_outbox.h), so
 *        that the decision about its blocks keeps the rest, and rows of which every span has left
 *        are not made again, before or after a restart.
 * URG-2  A look that fails is repeated at the next one, over what it did not see.
 */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define URGENT_PARTS_MAX 1024u /* a head is looked at in so many turns at most */

/* ---- what has left ---- */

int ahead_compare(const void *a, const void *b)
{
    const struct ahead *left = a, *right = b;
    return left->key < right->key ? -1 : left->key > right->key;
}

/* Either the block ends before the look, or it begins where the log began then, so that all spans
 * the look found in the log are in it: it has others if it has more. */
const struct ahead *ahead_find(const struct ahead *entries, size_t count, uint64_t key,
                               const struct store_block *block, uint64_t span_count)
{
    const struct ahead wanted = {.key = key};
    const struct ahead *entry =
        count ? bsearch(&wanted, entries, count, sizeof *entries, ahead_compare) : NULL;
    if (!entry || entry->span_count == UINT64_MAX)
        return NULL;
    return block->last_lsn <= entry->last_lsn ||
                   (block->first_lsn <= entry->first_lsn && span_count == entry->span_count)
               ? entry
               : NULL;
}

/* What does not find room here leaves once more with its block. */
static void urgent_note_ahead(void *self, const char *tenant, const struct store_ahead *ahead)
{
    struct sampler *sampler = self;
    struct urgent *urgent = &sampler->urgent;
    if (!urgent->ring)
        urgent->ring = malloc(URGENT_AHEAD_MAX * sizeof *urgent->ring);
    if (!urgent->ring)
        return;
    for (size_t i = 0; i < ahead->trace_count; i++) {
        const struct store_ahead_trace *trace = &ahead->traces[i];
        uint64_t key = verdict_key(tenant, trace->key);
        struct ahead *entry = &urgent->ring[urgent->ring_at];
        *entry = (struct ahead){key, ahead->first_lsn, ahead->last_lsn, trace->span_count, {0}};
        memcpy(entry->group, ahead->name, sizeof entry->group);
        urgent->ring_at = (urgent->ring_at + 1) % URGENT_AHEAD_MAX;
        urgent->ring_count = FM_MIN(urgent->ring_count + 1, URGENT_AHEAD_MAX);
        sample_memory_put(sampler->memory, key, SAMPLE_EXPRESS);
    }
}

/* ---- the look: a job ---- */

struct look {
    struct sampler *sampler;
    struct urgent *urgent;
    struct fm_buf keys; /* uint64_t; of traces with new spans and no verdict; sorted, distinct */
    size_t key_count;
    uint64_t parts, part; /* of keys: so many, this one */
    struct frame_rows *rows;
    struct trace_id *ids; /* owned; of rows */
};

static int key_compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static int look_on_record(void *self, const struct store_record *record)
{
    struct look *look = self;
    struct urgent *urgent = look->urgent;
    urgent->first_lsn = FM_MIN(urgent->first_lsn, record->lsn);
    urgent->last_lsn = FM_MAX(urgent->last_lsn, record->lsn);
    urgent->has_records = true;
    for (uint32_t i = 0; record->lsn >= urgent->tenant->next_lsn && i < record->trace_key_count;
         i++) {
        uint64_t key = verdict_key(urgent->tenant->name, record->trace_keys[i]);
        if (sample_memory_find(look->sampler->memory, key) == SAMPLE_UNKNOWN)
            fm_buf_put(&look->keys, &record->trace_keys[i], sizeof record->trace_keys[i]);
    }
    return look->keys.failed ? FM_ENOMEM : FM_OK;
}

static int look_list(struct look *look)
{
    int rc = store_snapshot_records(look->urgent->snapshot, look_on_record, look);
    uint64_t *keys = (uint64_t *)(void *)look->keys.ptr;
    size_t count = look->keys.len / sizeof *keys;
    if (rc == FM_OK && count > 1)
        qsort(keys, count, sizeof *keys, key_compare);
    for (size_t i = 0; i < count; i++) {
        if (!look->key_count || keys[look->key_count - 1] != keys[i])
            keys[look->key_count++] = keys[i];
    }
    return rc;
}

static bool look_has_key(const struct look *look, uint64_t key)
{
    uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return hash * look->parts >> 32 == look->part &&
           bsearch(&key, look->keys.ptr, look->key_count, sizeof key, key_compare);
}

static bool look_wants_record(void *self, const struct store_record *record)
{
    for (uint32_t i = 0; i < record->trace_key_count; i++) {
        if (look_has_key(self, record->trace_keys[i]))
            return true;
    }
    return false;
}

static bool look_wants_trace(void *self, const struct trace_id *id)
{
    return look_has_key(self, trace_id_key(id->bytes));
}

static int look_take_record(void *self, const struct store_record *record, struct fm_slice otlp)
{
    struct look *look = self;
    (void)record;
    if (atomic_load(&look->sampler->is_cancelled))
        return FM_ECANCELLED;
    int rc = frame_rows_add(look->rows, otlp, look_wants_trace, look, NULL);
    return rc == FM_EMALFORMED ? FM_OK : rc; /* of the log, not of the trace */
}

static int look_open_rows(const struct survey_place *place, const struct frame_request *request,
                          struct frame_source **ret_source, struct fm_why *why)
{
    (void)why;
    return frame_rows_source(place->rows, request, ret_source);
}

static int look_list_ids(struct look *look, size_t *ret_count, struct fm_why *why)
{
    FM_AUTO(frame_source) source = NULL;
    const struct frame_request request = {.end_ns = UINT64_MAX};
    struct fm_buf ids;
    struct frame frame;
    fm_buf_init(&ids, SIZE_MAX / 4);
    int rc = frame_rows_source(look->rows, &request, &source);
    while (rc == FM_OK && (rc = frame_next(source, &frame, why)) == FM_OK)
        fm_buf_put(&ids, frame.trace_ids, frame.count[FRAME_TRACE] * sizeof *frame.trace_ids);
    if (rc == FM_END)
        rc = ids.failed ? FM_ENOMEM : FM_OK;
    if (rc == FM_OK) {
        look->ids = (struct trace_id *)(void *)fm_take(ids.ptr);
        *ret_count = ask_ids_sort(look->ids, ids.len / sizeof *look->ids);
    }
    fm_buf_fini(&ids);
    return rc;
}

static void look_judge(struct look *look, const struct survey *survey)
{
    for (size_t i = 0; i < survey->count; i++) {
        const struct survey_trace *trace = &survey->traces[i];
        const struct sample_facts facts = {
            .id = survey->ids[i],
            .span_count = trace->span_count,
            .start_ns = trace->start_ns,
            .end_ns = trace->end_ns,
            .leaves = trace->leaves,
            .now_ns = trace->start_ns,
        };
        const struct urgent_trace found = {survey->ids[i], trace->span_count};
        if (sample_judge(look->urgent->state, &facts).keep)
            fm_buf_put(&look->urgent->found, &found, sizeof found);
    }
}

static int look_survey(struct look *look, struct fm_why *why)
{
    const struct survey_place place = {
        .open = look_open_rows,
        .rows = look->rows,
        .memory_max = look->sampler->options.memory_max,
        .cancelled = &look->sampler->is_cancelled,
    };
    struct survey survey = {0};
    size_t count = 0;
    int rc = look_list_ids(look, &count, why);
    if (rc == FM_OK)
        rc = survey_init(&survey, look->ids, count);
    if (rc == FM_OK)
        rc = survey_run(&survey, &place, &look->urgent->leaves, why);
    if (rc == FM_OK)
        look_judge(look, &survey);
    survey_fini(&survey);
    free(fm_take(look->ids));
    return rc;
}

/* FM_ELIMIT: too many traces at once, nothing was judged. */
static int look_part(struct look *look, struct fm_why *why)
{
    const struct store_head_reading reading = {look_wants_record, look_take_record, look};
    FM_AUTO(frame_rows) rows = NULL;
    uint64_t failed = 0;
    int rc = frame_rows_new(&rows, look->sampler->options.memory_max / 2);
    if (rc < 0)
        return rc;
    look->rows = rows;
    rc = store_snapshot_read_head(look->urgent->snapshot, &reading, &failed, why);
    if (rc == FM_OK)
        rc = frame_rows_finish(rows);
    return rc < 0 ? rc : look_survey(look, why);
}

static void urgent_look_work(struct pf_job *job)
{
    struct urgent *urgent = FM_CONTAINER(job, struct urgent, job);
    struct look look = {
        .sampler = FM_CONTAINER(urgent, struct sampler, urgent), .urgent = urgent, .parts = 1};
    fm_buf_init(&look.keys, SIZE_MAX / 4); /* the head's index is bounded, this is a part of it */
    int rc = look_list(&look);
    while (rc == FM_OK && look.key_count && look.part < look.parts) {
        size_t found = urgent->found.len;
        rc = look_part(&look, &urgent->why);
        if (rc == FM_ELIMIT && look.parts < URGENT_PARTS_MAX) {
            urgent->found.len = found;
            look.parts *= 2; /* of a part two, the first of which is next */
            look.part *= 2;
            rc = FM_OK;
        } else {
            look.part++;
        }
    }
    if (rc == FM_OK && urgent->found.failed)
        rc = FM_ENOMEM;
    urgent->rc = rc;
    fm_buf_fini(&look.keys);
}

/* ---- what leaves: from a job of the store ---- */

static int urgent_list_ahead(struct urgent *urgent)
{
    const struct urgent_trace *found = (const void *)urgent->found.ptr;
    struct store_ahead *ahead = &urgent->ahead;
    size_t count = urgent->found.len / sizeof *found;
    ahead->traces = malloc(count * sizeof *ahead->traces);
    if (!ahead->traces)
        return FM_ENOMEM;
    for (; ahead->trace_count < count; ahead->trace_count++)
        ahead->traces[ahead->trace_count] = (struct store_ahead_trace){
            trace_id_key(found[ahead->trace_count].id.bytes), found[ahead->trace_count].span_count};
    return FM_END;
}

static int urgent_next(void *self, struct fm_buf *otlp, struct fm_why *why)
{
    struct sampler *sampler = self;
    struct urgent *urgent = &sampler->urgent;
    struct urgent_trace *found = (void *)urgent->found.ptr;
    struct store_read_stats stats = {0};
    FM_AUTO(trace) trace = NULL;
    if (urgent->next_trace == urgent->found.len / sizeof *found)
        return urgent_list_ahead(urgent);
    struct urgent_trace *next = &found[urgent->next_trace];
    int rc = trace_new(&trace, &next->id, sampler->options.memory_max / 2);
    if (rc == FM_OK)
        rc = store_find_trace(urgent->snapshot, &next->id, trace, &stats, why);
    if (rc == FM_OK)
        rc = trace_finish(trace);
    if (rc < 0)
        return rc;
    if (trace_is_partial(trace) || stats.blocks_failed)
        next->span_count = UINT64_MAX; /* not all of it: the rest leaves with its block */
    trace_put_otlp(trace, otlp);
    urgent->next_trace++;
    return otlp->failed ? FM_ENOMEM : FM_OK;
}

/* ---- on the loop ---- */

static void urgent_end_look(struct sampler *sampler, int rc)
{
    struct urgent *urgent = &sampler->urgent;
    urgent->snapshot = store_snapshot_free(urgent->snapshot);
    if (rc == FM_OK && urgent->has_records)
        urgent->tenant->next_lsn = FM_MAX(urgent->tenant->next_lsn, urgent->last_lsn + 1);
    if (rc < 0 && rc != FM_ECANCELLED) { /* URG-2 */
        metric_add(&sampler->failures, 1);
        log_warn("sample.express_failed", "tenant=%s why=\"%s\"", urgent->tenant->name,
                 urgent->why.text[0] ? urgent->why.text : fm_rc_text(rc));
    }
    fm_buf_fini(&urgent->found);
    fm_sm_move(&sampler->sm, SAMPLER_IDLE);
    sampler_step(sampler);
}

static void urgent_on_sent(struct store_outgoing *outgoing, int rc)
{
    struct sampler *sampler = outgoing->self;
    struct urgent *urgent = &sampler->urgent;
    if (rc == FM_OK) {
        urgent_note_ahead(sampler, urgent->tenant->name, &urgent->ahead);
        metric_add(&sampler->urgent_traces, urgent->ahead.trace_count);
        metric_add(&sampler->urgent_spans, outgoing->span_count);
    } else {
        urgent->why = outgoing->why;
    }
    free(fm_take(urgent->ahead.traces));
    urgent_end_look(sampler, rc);
}

static void urgent_send(struct sampler *sampler)
{
    struct urgent *urgent = &sampler->urgent;
    urgent->next_trace = 0;
    urgent->ahead =
        (struct store_ahead){.first_lsn = urgent->first_lsn, .last_lsn = urgent->last_lsn};
    urgent->outgoing = (struct store_outgoing){
        .tenant = fm_slice_text(urgent->tenant->name),
        .lane = STORE_LANE_EXPRESS,
        .next = urgent_next,
        .ahead = &urgent->ahead,
        .done = urgent_on_sent,
        .self = sampler,
    };
    /* Another look at the same log finds other traces: its group is another one. */
    sampler->platform->ops->random(sampler->platform, urgent->outgoing.name,
                                   sizeof urgent->outgoing.name);
    memcpy(urgent->ahead.name, urgent->outgoing.name, sizeof urgent->ahead.name);
    fm_sm_move(&sampler->sm, SAMPLER_SENDING);
    store_outgoing_build(sampler->store, &urgent->outgoing);
}

static void urgent_on_looked(struct pf_job *job)
{
    struct sampler *sampler = FM_CONTAINER(job, struct sampler, urgent.job);
    struct urgent *urgent = &sampler->urgent;
    if (urgent->rc == FM_OK && urgent->found.len && !sampler->is_closing)
        urgent_send(sampler);
    else
        urgent_end_look(sampler, sampler->is_closing ? FM_ECANCELLED : urgent->rc);
}

static struct urgent_tenant *urgent_find_tenant(struct urgent *urgent, const char *name)
{
    for (size_t i = 0; i < urgent->tenant_count; i++) {
        if (strcmp(urgent->tenants[i].name, name) == 0)
            return &urgent->tenants[i];
    }
    struct urgent_tenant *grown =
        realloc(urgent->tenants, (urgent->tenant_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    urgent->tenants = grown;
    struct urgent_tenant *tenant = &grown[urgent->tenant_count++];
    *tenant = (struct urgent_tenant){.next_lsn = 0};
    (void)snprintf(tenant->name, sizeof tenant->name, "%s", name);
    return tenant;
}

static int urgent_look(struct sampler *sampler, size_t index)
{
    struct urgent *urgent = &sampler->urgent;
    urgent->tenant = urgent_find_tenant(urgent, store_tenant_name(sampler->store, index));
    if (!urgent->tenant)
        return FM_ENOMEM;
    int rc =
        store_snapshot_new(sampler->store, fm_slice_text(urgent->tenant->name), &urgent->snapshot);
    if (rc < 0)
        return rc;
    urgent->first_lsn = UINT64_MAX;
    urgent->last_lsn = 0;
    urgent->has_records = false;
    urgent->why.text[0] = '\0';
    fm_buf_init(&urgent->found, SIZE_MAX / 4);
    urgent->job =
        (struct pf_job){.work = urgent_look_work, .done = urgent_on_looked, .lane = PF_LANE_IDLE};
    fm_sm_move(&sampler->sm, SAMPLER_LOOKING);
    pf_job_submit(sampler->platform, &urgent->job);
    return FM_OK;
}

void urgent_step(struct sampler *sampler, uint64_t now_ns, uint64_t *wake_ns)
{
    struct urgent *urgent = &sampler->urgent;
    if (!urgent->rules)
        return;
    if (!urgent->is_round && urgent->due_ns <= now_ns) {
        urgent->is_round = true;
        urgent->next_tenant = 0;
    }
    if (urgent->is_round && urgent->next_tenant < store_tenant_count(sampler->store)) {
        if (urgent_look(sampler, urgent->next_tenant++) == FM_OK)
            return;
        urgent->next_tenant = SIZE_MAX; /* no memory: at the next round */
    }
    if (urgent->is_round) {
        urgent->is_round = false;
        urgent->due_ns = now_ns + sampler->options.urgent_interval_ns;
    }
    *wake_ns = FM_MIN(*wake_ns, urgent->due_ns);
}

int urgent_init(struct sampler *sampler, struct fm_why *why)
{
    struct urgent *urgent = &sampler->urgent;
    store_ahead_each(sampler->store, urgent_note_ahead, sampler);
    if (!urgent->rules)
        return FM_OK;
    if (!sampler->options.next.on_sealed || !sampler->options.urgent_interval_ns) {
        urgent->rules = sample_rules_free(urgent->rules); /* there is no way ahead */
        return FM_OK;
    }
    urgent->due_ns = pf_boot_ns(sampler->platform) + sampler->options.urgent_interval_ns;
    int rc = sample_state_new(&urgent->state, urgent->rules);
    if (rc < 0)
        return fm_fail(why, rc, "no memory for express policies");
    return leaves_init(&urgent->leaves, urgent->rules, why);
}

void urgent_fini(struct urgent *urgent)
{
    leaves_fini(&urgent->leaves);
    sample_state_free(urgent->state);
    sample_rules_free(urgent->rules);
    fm_buf_fini(&urgent->found);
    free(urgent->ahead.traces);
    free(urgent->ring);
    free(urgent->tenants);
}
