/* SPDX-License-Identifier: Apache-2.0 */
/* sampler - blocks wait until they are due, are judged, and go their ways.
 *
 *   IDLE --> RECALLING --> IDLE                          builder:  IDLE --> BUILDING --> IDLE
 *        --> JUDGING --> DECIDING --> IDLE
 *        --> LOOKING --> SENDING --> IDLE   (urgent.c)
 *
 * Suspended in IDLE (resumed by the timer), RECALLING and JUDGING (by their job), DECIDING (by the
 * store).  The builder, which may wait long for room in the outbox, is a machine of its own.
 *
 * SAM-1  Nothing goes on before the decision about it is on disk.  What was going on when the
 *        process died is found by the decisions: blocks without one wait again, blocks of which a
 *        part leaves are built again unless the group is there or has left.
 * SAM-2  A decision that cannot be written is kept and written again, not made again.
 * SAM-3  A block that cannot be judged leaves whole: damage loses nothing that was stored.
 */
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

#define SAMPLER_RETRY_MIN_NS  (1 * FM_NS_PER_S)
#define SAMPLER_RETRY_MAX_NS  (300 * FM_NS_PER_S)
#define SAMPLER_ATTEMPTS      8u  /* failures that may pass before a block leaves whole */
#define SAMPLER_BUILDS        64u /* before traces that cannot be read are left out: hours */
#define SAMPLER_VERDICT_BYTES FM_KIB(4)

static const struct fm_sm_rule sampler_rules[] = {
    [SAMPLER_IDLE] = {"idle", FM_TO(SAMPLER_RECALLING) | FM_TO(SAMPLER_JUDGING) |
                                  FM_TO(SAMPLER_DECIDING) | FM_TO(SAMPLER_LOOKING)},
    [SAMPLER_RECALLING] = {"recalling", FM_TO(SAMPLER_IDLE)},
    [SAMPLER_JUDGING] = {"judging", FM_TO(SAMPLER_DECIDING) | FM_TO(SAMPLER_IDLE)},
    [SAMPLER_DECIDING] = {"deciding", FM_TO(SAMPLER_IDLE)},
    [SAMPLER_LOOKING] = {"looking", FM_TO(SAMPLER_SENDING) | FM_TO(SAMPLER_IDLE)},
    [SAMPLER_SENDING] = {"sending", FM_TO(SAMPLER_IDLE)},
};
static const struct fm_sm_rule builder_rules[] = {
    [BUILDER_IDLE] = {"idle", FM_TO(BUILDER_BUILDING)},
    [BUILDER_BUILDING] = {"building", FM_TO(BUILDER_IDLE)},
};

static struct sampling *sampling_of(struct fm_link *link)
{
    return FM_CONTAINER(link, struct sampling, link);
}

static struct sampling *sampling_free(struct sampler *sampler, struct sampling *sampling)
{
    fm_list_remove(&sampling->link);
    store_block_unref(sampler->store, sampling->block);
    store_decision_free(sampling->decision);
    free(sampling);
    return NULL;
}

static void sampler_soon(struct sampler *sampler, uint64_t delay_ns)
{
    pf_timer_stop(sampler->platform, &sampler->timer);
    pf_timer_start(sampler->platform, &sampler->timer, delay_ns);
}

static void sampler_succeeded(struct sampler *sampler)
{
    sampler->problem[0] = '\0';
}

/* Back to the list it came from, for later. */
static void sampler_put_off(struct sampler *sampler, struct sampling *sampling,
                            struct fm_link *list, int rc, const struct fm_why *why)
{
    uint64_t wait_ns = SAMPLER_RETRY_MIN_NS << FM_MIN(sampling->failures, 20u);
    const char *text = why->text[0] ? why->text : fm_rc_text(rc);
    char id[37];
    sampling->failures++;
    sampling->due_ns = pf_boot_ns(sampler->platform) + FM_MIN(wait_ns, SAMPLER_RETRY_MAX_NS);
    metric_add(&sampler->failures, 1);
    (void)snprintf(sampler->problem, sizeof sampler->problem, "%.255s", text);
    block_id_print(&sampling->block->meta.id, id);
    log_warn("sample.failed", "block=%s attempt=%u why=\"%s\"", id, sampling->failures, text);
    if (sampling->is_dropped)
        sampling_free(sampler, sampling);
    else
        fm_list_append(list, &sampling->link);
}

/* ---- blocks come ---- */

static int sampling_add(struct fm_link *list, struct store_block *block, uint64_t due_ns)
{
    struct sampling *sampling = calloc(1, sizeof *sampling);
    if (!sampling)
        return FM_ENOMEM;
    sampling->block = block;
    sampling->due_ns = due_ns;
    store_block_ref(block);
    fm_list_append(list, &sampling->link);
    return FM_OK;
}

static void sampler_pass_on(struct sampler *sampler, struct store_block *block)
{
    if (sampler->options.next.on_sealed)
        sampler->options.next.on_sealed(sampler->options.next.self, block);
}

/* The clock of the wall may have been turned since: never longer than the wait. */
static uint64_t sampler_due(const struct sampler *sampler, const struct store_block *block)
{
    uint64_t wall_ns = pf_wall_ns(sampler->platform), wait_ns = sampler->options.decision_wait_ns;
    uint64_t age_ns = wall_ns - FM_MIN(block->sealed_unix_ns, wall_ns);
    return pf_boot_ns(sampler->platform) + wait_ns - FM_MIN(age_ns, wait_ns);
}

static void sampler_sort(struct sampler *sampler, struct store_block *block)
{
    const struct store_decided *decided = store_block_decided(block);
    bool is_uploaded = store_block_is_uploaded(sampler->store, block);
    int rc = FM_OK;
    if (decided->verdict == STORE_UNDECIDED && !is_uploaded && sampler->rules) {
        rc = sampling_add(&sampler->waiting, block, sampler_due(sampler, block));
    } else if (decided->verdict == STORE_UNDECIDED || decided->verdict == STORE_WHOLE) {
        sampler_pass_on(sampler, block);
    } else if (decided->verdict == STORE_PART && !is_uploaded && sampler->options.next.on_sealed) {
        rc = sampling_add(&sampler->unbuilt, block, 0);
    }
    if (rc == FM_OK && decided->verdict != STORE_UNDECIDED && sampler->rules)
        rc = sampling_add(&sampler->recalls, block, 0);
    if (rc < 0)
        log_error("sample.no_memory", "path=%s why=\"it is found again at the next start\"",
                  block->path);
}

void sampler_on_sealed(void *self, struct store_block *block)
{
    struct sampler *sampler = self;
    if (sampler->is_closing)
        return; /* found again at the next start */
    if (block->is_outgoing)
        sampler_pass_on(sampler, block);
    else
        sampler_sort(sampler, block);
    sampler_soon(sampler, 0);
}

static void sampler_drop_from(struct sampler *sampler, struct fm_link *list,
                              const struct store_block *block)
{
    for (struct fm_link *link = list->next, *next; link != list; link = next) {
        next = link->next;
        if (sampling_of(link)->block == block)
            sampling_free(sampler, sampling_of(link));
    }
}

void sampler_on_dropped(void *self, struct store_block *block)
{
    struct sampler *sampler = self;
    struct sampling *active[] = {sampler->active, sampler->built};
    sampler_drop_from(sampler, &sampler->recalls, block);
    sampler_drop_from(sampler, &sampler->waiting, block);
    sampler_drop_from(sampler, &sampler->unbuilt, block);
    for (size_t i = 0; i < FM_COUNT(active); i++) {
        if (active[i] && active[i]->block == block)
            active[i]->is_dropped = true;
    }
    if (sampler->options.next.on_dropped)
        sampler->options.next.on_dropped(sampler->options.next.self, block);
}

enum ledger_column sampler_lane_of(void *self, const struct store_block *block)
{
    const struct sampler *sampler = self;
    const struct store_observer *next = &sampler->options.next;
    if (sampler->rules && !block->is_outgoing &&
        store_block_decided(block)->verdict == STORE_UNDECIDED)
        return LEDGER_PENDING_DECIDING;
    return next->lane_of ? next->lane_of(next->self, block) : LEDGER_PENDING_FRESH;
}

/* ---- recalling ---- */

/* The latest ones, the oldest of these first, so that it is the first to be forgotten. */
static void sampler_bound_recalls(struct sampler *sampler)
{
    uint64_t room = sampler->memory_stats.room, traces = 0;
    struct fm_link *list = &sampler->recalls;
    if (sampler->has_bounded)
        return;
    sampler->has_bounded = true;
    for (struct fm_link *link = list->prev, *before; link != list; link = before) {
        before = link->prev;
        if (traces > room)
            sampling_free(sampler, sampling_of(link));
        else
            traces += sampling_of(link)->block->meta.trace_count;
    }
}

static void sampler_on_recalled(struct pf_job *job)
{
    struct sampler *sampler = FM_CONTAINER(job, struct sampler, recalling.job);
    sampler->memory_stats = sample_memory_stats(sampler->memory);
    struct sampling *sampling = fm_take(sampler->active);
    int rc = sampler->recalling.rc;
    if (rc == FM_EIO && ++sampling->failures < SAMPLER_ATTEMPTS && !sampling->is_dropped) {
        fm_list_append(sampler->recalls.next, &sampling->link); /* in front of the others */
    } else {
        if (rc < 0)
            log_warn("sample.not_recalled", "why=\"%s\"", sampler->recalling.why.text);
        sampling_free(sampler, sampling);
    }
    fm_sm_move(&sampler->sm, SAMPLER_IDLE);
    sampler_step(sampler);
}

static void sampler_recall(struct sampler *sampler)
{
    sampler_bound_recalls(sampler);
    sampler->active = sampling_of(sampler->recalls.next);
    fm_list_remove(&sampler->active->link);
    sampler->recalling = (struct recalling){
        .job = {.work = recall_work, .done = sampler_on_recalled, .lane = PF_LANE_IDLE},
        .sampler = sampler,
        .block = sampler->active->block,
    };
    fm_sm_move(&sampler->sm, SAMPLER_RECALLING);
    pf_job_submit(sampler->platform, &sampler->recalling.job);
}

/* ---- deciding ---- */

static void sampler_count_decision(struct sampler *sampler, const struct store_decision *decision)
{
    for (uint32_t i = 0; i < decision->policy_count; i++) {
        const struct store_policy_count *policy = &decision->policies[i];
        size_t at = 0;
        while (at < sampler->count_count &&
               strcmp(sampler_count_name(sampler, at), policy->name) != 0)
            at++;
        if (at == sampler->count_count)
            continue;
        metric_add(&sampler->counts[at].kept, policy->kept_spans);
        metric_add(&sampler->counts[at].dropped, policy->dropped_spans);
    }
}

/* SAM-1: the decision is on disk. */
static void sampler_go_on(struct sampler *sampler, struct sampling *sampling)
{
    struct store_block *block = sampling->block;
    const struct store_decided *decided = store_block_decided(block);
    char id[37];
    block_id_print(&block->meta.id, id);
    log_info("sample.decided", "block=%s spans=%llu kept=%llu", id,
             (unsigned long long)block->span_count, (unsigned long long)decided->kept_spans);
    metric_add(&sampler->decided_blocks, 1);
    metric_add(&sampler->kept_spans, decided->kept_spans);
    metric_add(&sampler->dropped_spans, block->span_count - decided->kept_spans);
    metric_add(&sampler->ahead_spans, decided->ahead_spans);
    if (decided->verdict == STORE_WHOLE && !sampling->is_dropped)
        sampler_pass_on(sampler, block);
    if (decided->verdict == STORE_PART && !sampling->is_dropped &&
        sampler->options.next.on_sealed) {
        sampling->failures = 0;
        sampling->due_ns = 0;
        fm_list_append(&sampler->unbuilt, &sampling->link);
    } else {
        sampling_free(sampler, sampling);
    }
}

static void sampler_on_decided(void *self, int rc)
{
    struct sampler *sampler = self;
    struct sampling *sampling = fm_take(sampler->active);
    fm_sm_move(&sampler->sm, SAMPLER_IDLE);
    if (rc == FM_OK) {
        sampler_count_decision(sampler, sampling->decision);
        sampling->decision = store_decision_free(sampling->decision);
        sampler_succeeded(sampler);
        sampler_go_on(sampler, sampling);
    } else {
        const struct fm_why why = {"the decision cannot be written"};
        sampler_put_off(sampler, sampling, &sampler->waiting, rc, &why);
    }
    sampler_step(sampler);
}

static void sampler_decide(struct sampler *sampler)
{
    fm_sm_move(&sampler->sm, SAMPLER_DECIDING);
    store_block_decide(sampler->store, sampler->active->block, sampler->active->decision,
                       sampler_on_decided, sampler);
}

/* SAM-3. */
static int sampler_give_up(struct sampler *sampler, struct sampling *sampling, const char *why)
{
    size_t reason = sampler->count_count - SAMPLER_REASON_COUNT + SAMPLER_UNREADABLE;
    int rc = judge_whole(sampling->block, pf_wall_ns(sampler->platform), &sampling->decision);
    if (rc < 0)
        return rc;
    struct store_policy_count *policy = &sampling->decision->policies[0];
    (void)snprintf(policy->name, sizeof policy->name, "%s", sampler_count_name(sampler, reason));
    policy->kept_traces = sampling->block->meta.trace_count;
    policy->kept_spans = sampling->block->span_count;
    sampling->decision->policy_count = 1;
    log_error("sample.unreadable", "path=%s why=\"%s\" all of it leaves", sampling->block->path,
              why);
    return FM_OK;
}

static void sampler_on_judged(struct pf_job *job)
{
    struct sampler *sampler = FM_CONTAINER(job, struct sampler, judging.job);
    struct judging *judging = &sampler->judging;
    struct sampling *sampling = sampler->active;
    int rc = judging->rc;
    sampler->memory_stats = sample_memory_stats(sampler->memory);
    judging->snapshot = store_snapshot_free(judging->snapshot);
    sampling->decision = fm_take(judging->decision);
    if (rc == FM_OK) {
        metric_add(&sampler->joined_traces, judging->joined_traces);
        metric_observe(&sampler->judge_seconds, pf_boot_ns(sampler->platform) - sampler->begun_ns);
    }
    if (judge_rc_is_damage(rc) ||
        (rc < 0 && rc != FM_ECANCELLED && sampling->failures >= SAMPLER_ATTEMPTS))
        rc = sampler_give_up(sampler, sampling, judging->why.text);
    if (rc == FM_OK) {
        sampler_decide(sampler);
        return;
    }
    sampler->active = NULL;
    fm_sm_move(&sampler->sm, SAMPLER_IDLE);
    if (rc == FM_ECANCELLED)
        fm_list_append(&sampler->waiting, &sampling->link);
    else
        sampler_put_off(sampler, sampling, &sampler->waiting, rc, &judging->why);
    sampler_step(sampler);
}

/* The block is in its tenant's list, or it was deleted, which asks for no decision. */
static int sampler_find(const struct sampler *sampler, struct judging *judging)
{
    const struct store_block *block = sampler->active->block;
    int rc =
        store_snapshot_new(sampler->store, fm_slice_text(block->meta.tenant), &judging->snapshot);
    if (rc < 0)
        return rc;
    size_t count = store_snapshot_block_count(judging->snapshot);
    while (judging->block < count &&
           store_snapshot_block(judging->snapshot, judging->block) != block)
        judging->block++;
    if (judging->block < count)
        return FM_OK;
    judging->snapshot = store_snapshot_free(judging->snapshot);
    return FM_NONE;
}

static void sampler_judge(struct sampler *sampler, struct sampling *sampling)
{
    struct judging *judging = &sampler->judging;
    fm_list_remove(&sampling->link);
    sampler->active = sampling;
    if (sampling->decision) { /* SAM-2 */
        sampler_decide(sampler);
        return;
    }
    *judging = (struct judging){
        .job = {.work = judge_work, .done = sampler_on_judged, .lane = PF_LANE_IDLE},
        .sampler = sampler,
    };
    int rc = sampler_find(sampler, judging);
    if (rc == FM_OK) {
        sampler->begun_ns = pf_boot_ns(sampler->platform);
        fm_sm_move(&sampler->sm, SAMPLER_JUDGING);
        pf_job_submit(sampler->platform, &judging->job);
        return;
    }
    sampler->active = NULL;
    if (rc == FM_NONE)
        sampling_free(sampler, sampling);
    else
        sampler_put_off(sampler, sampling, &sampler->waiting, rc, &judging->why);
}

/* ---- what leaves of a block ---- */

static void sampler_on_marked(void *self, int rc)
{
    (void)self;
    (void)rc; /* not on disk: it is found and built again at the next start, to the same end */
}

static void sampler_on_built(struct store_outgoing *outgoing, int rc)
{
    struct sampler *sampler = FM_CONTAINER(outgoing, struct sampler, build.outgoing);
    struct sampling *sampling = fm_take(sampler->built);
    build_fini(&sampler->build);
    if (rc == FM_OK && sampler->build.lost_traces) {
        metric_add(&sampler->lost_traces, sampler->build.lost_traces);
        log_error("sample.lost", "path=%s traces=%llu why=\"they cannot be read\"",
                  sampling->block->path, (unsigned long long)sampler->build.lost_traces);
    }
    fm_sm_move(&sampler->builder, BUILDER_IDLE);
    if (rc == FM_OK || rc == FM_EEXISTS) {
        if (rc == FM_OK && !outgoing->span_count && !sampler->is_closing)
            store_block_uploaded(sampler->store, sampling->block, sampler_on_marked, sampler);
        sampler_succeeded(sampler);
        sampling_free(sampler, sampling);
    } else if (rc == FM_ECANCELLED) {
        sampling_free(sampler, sampling); /* found again at the next start */
    } else {
        sampler_put_off(sampler, sampling, &sampler->unbuilt, rc, &outgoing->why);
    }
    sampler_step(sampler);
}

static void sampler_build(struct sampler *sampler, struct sampling *sampling)
{
    fm_list_remove(&sampling->link);
    sampler->built = sampling;
    sampler->build.platform = sampler->platform;
    sampler->build.skips_unreadable = sampling->failures >= SAMPLER_BUILDS;
    fm_sm_move(&sampler->builder, BUILDER_BUILDING);
    build_start(&sampler->build, sampler->store, sampling->block, sampler_on_built);
}

/* ---- the steps ---- */

static struct sampling *sampler_next(const struct fm_link *list)
{
    struct sampling *best = NULL;
    for (struct fm_link *link = list->next; link != list; link = link->next) {
        struct sampling *sampling = sampling_of(link);
        if (!best || sampling->due_ns < best->due_ns)
            best = sampling;
    }
    return best;
}

static void sampler_step_builder(struct sampler *sampler, uint64_t now_ns, uint64_t *wake_ns)
{
    struct sampling *next = sampler_next(&sampler->unbuilt);
    if (sampler->builder.state != BUILDER_IDLE || !next)
        return; /* resumed by sampler_on_built */
    if (next->due_ns <= now_ns)
        sampler_build(sampler, next);
    else
        *wake_ns = FM_MIN(*wake_ns, next->due_ns);
}

static void sampler_finish(struct sampler *sampler);

void sampler_step(struct sampler *sampler)
{
    uint64_t now_ns = pf_boot_ns(sampler->platform), wake_ns = UINT64_MAX;
    if (sampler->is_closing) {
        sampler_soon(sampler, 0); /* not from inside a step */
        return;
    }
    sampler_step_builder(sampler, now_ns, &wake_ns);
    switch ((enum sampler_state)sampler->sm.state) {
    case SAMPLER_IDLE: {
        struct sampling *next = sampler_next(&sampler->waiting);
        if (!fm_list_empty(&sampler->recalls))
            sampler_recall(sampler);
        else
            urgent_step(sampler, now_ns, &wake_ns);
        if (sampler->sm.state != SAMPLER_IDLE)
            break;
        if (next && next->due_ns > now_ns) {
            wake_ns = FM_MIN(wake_ns, next->due_ns);
        } else if (next) {
            sampler_judge(sampler, next);
            if (sampler->sm.state == SAMPLER_IDLE)
                wake_ns = now_ns + SAMPLER_RETRY_MIN_NS; /* it could not begin */
        }
        break;
    }
    case SAMPLER_RECALLING: /* resumed by sampler_on_recalled */
    case SAMPLER_JUDGING:   /* by sampler_on_judged */
    case SAMPLER_DECIDING:  /* by sampler_on_decided */
    case SAMPLER_LOOKING:   /* by urgent_on_looked */
    case SAMPLER_SENDING:   /* by urgent_on_sent */
        break;
    }
    if (wake_ns != UINT64_MAX)
        sampler_soon(sampler, wake_ns - FM_MIN(now_ns, wake_ns));
}

static void sampler_on_timer(struct pf_timer *timer)
{
    struct sampler *sampler = FM_CONTAINER(timer, struct sampler, timer);
    if (sampler->is_closing)
        sampler_finish(sampler);
    else
        sampler_step(sampler);
}

/* ---- life ---- */

static struct sampler *sampler_free(struct sampler *sampler)
{
    sampler->judging.decision = store_decision_free(sampler->judging.decision);
    build_fini(&sampler->build);
    urgent_fini(&sampler->urgent);
    free(sampler->judging.ahead);
    leaves_fini(&sampler->leaves);
    sample_memory_free(sampler->memory);
    sample_state_free(sampler->state);
    sample_rules_free(sampler->rules);
    free(sampler->counts);
    free(sampler);
    return NULL;
}

static int sampler_prepare(struct sampler *sampler, struct fm_why *why)
{
    size_t bytes_max = FM_MAX(sampler->options.verdict_bytes_max, SAMPLER_VERDICT_BYTES);
    int rc = sample_state_new(&sampler->state, sampler->rules);
    if (rc == FM_OK)
        rc = sample_memory_new(&sampler->memory, bytes_max, pf_random_u64(sampler->platform));
    if (rc < 0)
        return fm_fail(why, rc, "no memory for verdicts");
    sampler->count_count = sample_rule_count(sampler->rules) + SAMPLER_REASON_COUNT;
    sampler->counts = calloc(sampler->count_count, sizeof *sampler->counts);
    if (!sampler->counts)
        return fm_fail(why, FM_ENOMEM, "no memory for counters");
    rc = leaves_init(&sampler->leaves, sampler->rules, why);
    if (rc == FM_OK)
        rc = urgent_init(sampler, why);
    sampler->memory_stats = sample_memory_stats(sampler->memory);
    return rc;
}

int sampler_new(struct sampler **ret_sampler, struct platform *platform, struct store *store,
                const struct sampler_options *options, struct fm_why *why)
{
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) {
        sample_rules_free(options->rules);
        sample_rules_free(options->urgent_rules);
        return fm_fail(why, FM_ENOMEM, "no memory for a sampler");
    }
    sampler->sm = (struct fm_sm){sampler_rules, SAMPLER_IDLE};
    sampler->builder = (struct fm_sm){builder_rules, BUILDER_IDLE};
    sampler->platform = platform;
    sampler->store = store;
    sampler->options = *options;
    sampler->rules = options->rules;
    sampler->urgent.rules = options->urgent_rules;
    sampler->timer.fire = sampler_on_timer;
    fm_list_init(&sampler->recalls);
    fm_list_init(&sampler->waiting);
    fm_list_init(&sampler->unbuilt);
    int rc = sampler->rules ? sampler_prepare(sampler, why) : FM_OK;
    if (rc < 0) {
        sampler_free(sampler);
        return rc;
    }
    sampler_soon(sampler, 0);
    *ret_sampler = sampler;
    return FM_OK;
}

static void sampler_empty(struct sampler *sampler, bool is_abandoned)
{
    struct fm_link *lists[] = {&sampler->recalls, &sampler->waiting, &sampler->unbuilt};
    for (size_t i = 0; i < FM_COUNT(lists); i++) {
        while (!fm_list_empty(lists[i])) {
            struct sampling *sampling = sampling_of(lists[i]->next);
            sampling->decision = store_decision_free(sampling->decision);
            if (!is_abandoned)
                store_block_unref(sampler->store, sampling->block);
            fm_list_remove(&sampling->link);
            free(sampling);
        }
    }
}

static void sampler_finish(struct sampler *sampler)
{
    void (*done)(void *self) = sampler->done;
    void *self = sampler->self;
    if (sampler->sm.state != SAMPLER_IDLE || sampler->builder.state != BUILDER_IDLE)
        return; /* the last step comes here again */
    sampler_empty(sampler, false);
    pf_timer_stop(sampler->platform, &sampler->timer);
    sampler_free(sampler);
    done(self);
}

void sampler_close(struct sampler *sampler, void (*done)(void *self), void *self)
{
    FM_ASSERT(!sampler->is_closing);
    sampler->is_closing = true;
    sampler->done = done;
    sampler->self = self;
    atomic_store(&sampler->is_cancelled, true);
    if (sampler->builder.state == BUILDER_BUILDING)
        store_outgoing_cancel(sampler->store, &sampler->build.outgoing);
    if (sampler->sm.state == SAMPLER_SENDING)
        store_outgoing_cancel(sampler->store, &sampler->urgent.outgoing);
    sampler_soon(sampler, 0);
}

struct sampler *sampler_abandon(struct sampler *sampler)
{
    if (!sampler)
        return NULL;
    if (sampler->active)
        fm_list_append(&sampler->waiting, &fm_take(sampler->active)->link);
    if (sampler->built)
        fm_list_append(&sampler->waiting, &fm_take(sampler->built)->link);
    sampler_empty(sampler, true);
    return sampler_free(sampler);
}
