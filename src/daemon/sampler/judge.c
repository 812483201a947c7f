/* SPDX-License-Identifier: Apache-2.0 */
/* judge - the job that decides which traces of a block leave. */
#include <stdlib.h>

#include "internal.h"

bool judge_rc_is_damage(int rc)
{
    return rc == FM_ECORRUPT || rc == FM_EMALFORMED || rc == FM_EUNSUPPORTED ||
           rc == FM_ENOTFOUND || rc == FM_ELIMIT;
}

uint64_t verdict_key(const char *tenant, uint64_t trace_key)
{
    return trace_key ^ fm_hash64(fm_slice_text(tenant), 0);
}

int judge_open_place(const struct survey_place *place, const struct frame_request *request,
                     struct frame_source **ret_source, struct fm_why *why)
{
    return block_frames_new(place->block, request, place->memory_max, ret_source, why);
}

/* ---- what is known before ---- */

static int judge_list(struct judging *judging, struct fm_why *why)
{
    const struct store_block *block = judging_block(judging);
    int rc = ask_ids_of_block(judging->opened.block, judging->sampler->options.memory_max,
                              &judging->ids, why);
    if (rc < 0)
        return rc;
    if (judging->ids->count != block->meta.trace_count)
        return fm_fail(why, FM_ECORRUPT, "it has %zu traces, meta.json says %llu",
                       judging->ids->count, (unsigned long long)block->meta.trace_count);
    rc = store_decision_new(&judging->decision, judging->ids->count);
    if (rc == FM_OK)
        rc = survey_init(&judging->survey, judging->ids->ids, judging->ids->count);
    return rc;
}

static int judge_remember(struct judging *judging)
{
    const struct store_block *block = judging_block(judging);
    judging->verdicts = malloc(judging->ids->count + 1);
    if (!judging->verdicts)
        return FM_ENOMEM;
    for (size_t row = 0; row < judging->ids->count; row++) {
        uint64_t key = verdict_key(block->meta.tenant, trace_id_key(judging->ids->ids[row].bytes));
        enum sample_verdict verdict = sample_memory_find(judging->sampler->memory, key);
        judging->verdicts[row] = (uint8_t)verdict;
        judging->unknown_count += verdict == SAMPLE_UNKNOWN;
    }
    return FM_OK;
}

/* ---- the verdicts ---- */

static void judge_count(struct store_decision *decision, uint32_t *slots, size_t index,
                        const char *name, bool keep, uint64_t spans)
{
    if (!slots[index]) {
        struct store_policy_count *fresh = &decision->policies[decision->policy_count];
        size_t len = strnlen(name, STORE_POLICY_NAME_MAX);
        memcpy(fresh->name, name, len);
        slots[index] = ++decision->policy_count;
    }
    struct store_policy_count *policy = &decision->policies[slots[index] - 1];
    policy->kept_traces += keep;
    policy->kept_spans += keep ? spans : 0;
    policy->dropped_traces += !keep;
    policy->dropped_spans += keep ? 0 : spans;
}

/* Of a trace that has parts elsewhere the whole is asked. */
static const struct survey_trace *judge_facts(const struct judging *judging, size_t row, size_t *at)
{
    const struct trace_id *id = &judging->ids->ids[row];
    const struct survey *shared = &judging->shared;
    while (*at < shared->count && memcmp(&shared->ids[*at], id, sizeof *id) < 0)
        ++*at;
    if (*at < shared->count && trace_id_equal(&shared->ids[*at], id) &&
        shared->traces[*at].span_count)
        return &shared->traces[*at];
    return &judging->survey.traces[row];
}

static struct sample_outcome judge_row(struct judging *judging, size_t row, size_t *at,
                                       size_t *ret_count)
{
    struct sampler *sampler = judging->sampler;
    size_t rule_count = sample_rule_count(sampler->rules);
    enum sample_verdict earlier = judging->verdicts[row];
    if (earlier != SAMPLE_UNKNOWN) {
        *ret_count = rule_count + (earlier == SAMPLE_EXPRESS ? SAMPLER_AHEAD : SAMPLER_LATE);
        return (struct sample_outcome){.keep = earlier != SAMPLE_DROPPED};
    }
    const struct survey_trace *trace = judge_facts(judging, row, at);
    const struct sample_facts facts = {
        .id = judging->ids->ids[row],
        .span_count = trace->span_count,
        .start_ns = trace->start_ns,
        .end_ns = trace->end_ns,
        .leaves = trace->leaves,
        .now_ns = trace->start_ns,
    };
    struct sample_outcome outcome = sample_judge(sampler->state, &facts);
    *ret_count = outcome.rule == SAMPLE_NO_RULE ? rule_count + SAMPLER_DEFAULT : outcome.rule;
    return outcome;
}

static int judge_ahead(struct judging *judging, size_t row, uint64_t key)
{
    struct store_decision *decision = judging->decision;
    uint64_t spans = judging->survey.traces[row].span_count;
    const struct ahead *ahead =
        ahead_find(judging->ahead, judging->ahead_count, key, judging_block(judging), spans);
    if (!ahead)
        return FM_OK;
    store_row_set(decision->ahead, row);
    decision->facts.ahead_traces++;
    decision->facts.ahead_spans += spans;
    return store_decision_add_group(decision, ahead->group, spans);
}

static int judge_rows(struct judging *judging)
{
    struct sampler *sampler = judging->sampler;
    struct store_decision *decision = judging->decision;
    const char *tenant = judging_block(judging)->meta.tenant;
    uint32_t slots[SAMPLE_RULES_MAX + SAMPLER_REASON_COUNT] = {0};
    size_t at = 0, index;
    decision->policy_of = malloc(judging->ids->count + 1);
    if (!decision->policy_of)
        return FM_ENOMEM;
    for (size_t row = 0; row < judging->ids->count; row++) {
        uint64_t spans = judging->survey.traces[row].span_count;
        const struct sample_outcome outcome = judge_row(judging, row, &at, &index);
        enum sample_verdict verdict = judging->verdicts[row];
        if (verdict == SAMPLE_UNKNOWN)
            verdict = outcome.keep ? SAMPLE_KEPT : SAMPLE_DROPPED;
        judge_count(decision, slots, index, sampler_count_name(sampler, index), outcome.keep,
                    spans);
        decision->policy_of[row] = (uint8_t)FM_MIN(slots[index] - 1, STORE_POLICY_BEYOND);
        decision->span_count += spans;
        if (outcome.keep) {
            store_row_set(decision->kept, row);
            decision->facts.kept_traces++;
            decision->facts.kept_spans += spans;
        }
        uint64_t key = verdict_key(tenant, trace_id_key(judging->ids->ids[row].bytes));
        int rc = verdict == SAMPLE_EXPRESS ? judge_ahead(judging, row, key) : FM_OK;
        if (rc < 0)
            return rc;
        sample_memory_put(sampler->memory, key, verdict);
    }
    return FM_OK;
}

/* ---- the job ---- */

static int judge_survey(struct judging *judging, struct fm_why *why)
{
    struct sampler *sampler = judging->sampler;
    const struct survey_place place = {
        .open = judge_open_place,
        .block = judging->opened.block,
        .memory_max = sampler->options.memory_max,
        .cancelled = &sampler->is_cancelled,
    };
    return survey_run(&judging->survey, &place, judging->unknown_count ? &sampler->leaves : NULL,
                      why);
}

static int judge_list_ahead(struct judging *judging)
{
    const struct urgent *urgent = &judging->sampler->urgent;
    size_t bytes = urgent->ring_count * sizeof *judging->ahead;
    if (!bytes)
        return FM_OK;
    judging->ahead = malloc(bytes);
    if (!judging->ahead)
        return FM_ENOMEM;
    memcpy(judging->ahead, urgent->ring, bytes);
    judging->ahead_count = urgent->ring_count;
    qsort(judging->ahead, judging->ahead_count, sizeof *judging->ahead, ahead_compare);
    return FM_OK;
}

static int judge(struct judging *judging, struct fm_why *why)
{
    const struct store_block *block = judging_block(judging);
    int rc = store_opened_init(&judging->opened, judging->snapshot, judging->block, why);
    if (rc < 0)
        return rc;
    rc = judge_list(judging, why);
    if (rc == FM_OK)
        rc = judge_remember(judging);
    if (rc == FM_OK)
        rc = judge_list_ahead(judging);
    if (rc == FM_OK)
        rc = judge_survey(judging, why);
    if (rc == FM_OK && judging->unknown_count)
        rc = judge_join(judging, why);
    uint64_t span_count = 0;
    for (size_t row = 0; rc == FM_OK && row < judging->ids->count; row++)
        span_count += judging->survey.traces[row].span_count;
    if (rc == FM_OK && span_count != block->span_count)
        rc = fm_fail(why, FM_ECORRUPT, "it has %llu spans, local.json says %llu",
                     (unsigned long long)span_count, (unsigned long long)block->span_count);
    if (rc == FM_OK)
        rc = judge_rows(judging);
    store_opened_fini(&judging->opened, judging->snapshot);
    return rc;
}

void judge_work(struct pf_job *job)
{
    struct judging *judging = FM_CONTAINER(job, struct judging, job);
    struct sampler *sampler = judging->sampler;
    judging->rc = judge(judging, &judging->why);
    if (judging->rc == FM_OK) {
        judging->decision->facts.unix_ns = pf_wall_ns(sampler->platform);
        store_decision_conclude(judging->decision);
    } else {
        judging->decision = store_decision_free(judging->decision);
    }
    survey_fini(&judging->survey);
    survey_fini(&judging->shared);
    free(fm_take(judging->shared_ids));
    free(fm_take(judging->ahead));
    free(fm_take(judging->verdicts));
    free(fm_take(judging->ids));
}

int judge_whole(const struct store_block *block, uint64_t unix_ns,
                struct store_decision **ret_decision)
{
    FM_AUTO(store_decision) decision = NULL;
    int rc = store_decision_new(&decision, block->meta.trace_count);
    if (rc < 0)
        return rc;
    decision->span_count = decision->facts.kept_spans = block->span_count;
    decision->facts.kept_traces = block->meta.trace_count;
    decision->facts.unix_ns = unix_ns;
    store_decision_conclude(decision);
    *ret_decision = fm_take(decision);
    return FM_OK;
}
