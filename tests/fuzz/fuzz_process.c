/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical bytes through processors: the result is canonical but for limits, a pipeline that
 * matches nothing changes nothing, and a second run of rules that are at rest after one does not
 * either.  The first byte picks the rules. */
#include "fermata/decode.h"
#include "fermata/process.h"
#include "fermata/process_facts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct process_rule fuzz_rules[] = {
    {.kind = PROCESS_ATTRIBUTES,
     .name = "a",
     .attributes = {.action = PROCESS_UPSERT, .key = "k", .value = "v"}},
    {.kind = PROCESS_ATTRIBUTES,
     .name = "b",
     .attributes = {.action = PROCESS_DELETE, .on = PROCESS_ON_EVENT, .key = "?*"}},
    {.kind = PROCESS_REDACTION,
     .name = "c",
     .redaction = {.keys = "p*",
                   .presets = "email card address token",
                   .patterns = "secret",
                   .mask = "#",
                   .names = true}},
    {.kind = PROCESS_FILTER,
     .name = "d",
     .match = {.name = "=~ h.*", .attribute = "n >= 2", .kind = "!= client"}},
    {.kind = PROCESS_RENAME, .name = "e", .rename = {"{a|b} {resource.c}"}},
    {.kind = PROCESS_ATTRIBUTES,
     .name = "f",
     .match = {.service = "!= x"},
     .attributes =
         {.action = PROCESS_INSERT, .on = PROCESS_ON_RESOURCE, .key = "r", .from_attribute = "k"}},
    {.kind = PROCESS_ATTRIBUTES,
     .name = "g",
     .attributes = {.action = PROCESS_UPSERT, .on = PROCESS_ON_SCOPE, .key = "s", .value = ""}},
    {.kind = PROCESS_ATTRIBUTES,
     .name = "h",
     .attributes = {.action = PROCESS_MOVE, .on = PROCESS_ON_LINK, .key = "a", .new_key = "b"}},
};
static const struct process_rule fuzz_nothing[] = {
    {.kind = PROCESS_FILTER, .name = "a", .match = {.service = "no such service"}},
    {.kind = PROCESS_ATTRIBUTES,
     .name = "b",
     .attributes = {.action = PROCESS_DELETE, .key = "no such key"}},
    {.kind = PROCESS_RENAME, .name = "c", .rename = {"{no such key}"}},
};

/* What the rules make of the request; FM_NONE: nothing. */
static int fuzz_run(const struct process_rule *rules, size_t count, struct fm_slice request,
                    struct fm_buf *target)
{
    struct process_fault fault;
    struct process_state *state;
    struct process *process;

    FM_ASSERT(process_new(&process, rules, count, &fault) == FM_OK);
    FM_ASSERT(process_state_new(&state, process) == FM_OK);
    int rc = process_run(state, request, target);
    FM_ASSERT(rc != FM_EMALFORMED && rc != FM_ENOMEM);
    process_state_free(state);
    process_free(process);
    return rc;
}

static void fuzz_checks(struct fm_slice otlp, uint32_t span_count, bool drops)
{
    struct decode_facts facts;
    struct fm_why why;

    decode_facts_init(&facts);
    FM_ASSERT(otlp_pb_check(otlp, &decode_limits_default, &facts, &why) == FM_OK);
    FM_ASSERT(!facts.refused_count);
    FM_ASSERT(drops ? facts.span_count <= span_count : facts.span_count == span_count);
    decode_facts_fini(&facts);
}

static void fuzz_canonical(uint8_t mask, struct fm_slice otlp, uint32_t span_count)
{
    struct process_rule rules[FM_COUNT(fuzz_rules)];
    struct fm_buf target;
    size_t count = 0;

    fm_buf_init(&target, FM_MIB(16));
    FM_ASSERT(fuzz_run(fuzz_nothing, FM_COUNT(fuzz_nothing), otlp, &target) == FM_NONE);
    FM_ASSERT(!target.len);
    for (size_t i = 0; i < FM_COUNT(fuzz_rules); i++) {
        if (mask & (1u << i))
            rules[count++] = fuzz_rules[i];
    }
    int rc = fuzz_run(rules, count, otlp, &target);
    if (rc == FM_OK)
        fuzz_checks(fm_buf_slice(&target), span_count, mask & 8);
    if (rc == FM_OK && (mask & ~1u) == 0) {
        struct fm_buf again;
        fm_buf_init(&again, FM_MIB(16));
        FM_ASSERT(fuzz_run(rules, count, fm_buf_slice(&target), &again) == FM_NONE);
        fm_buf_fini(&again);
    }
    fm_buf_fini(&target);
}

static void fuzz_facts(struct fm_slice text)
{
    struct process_facts facts;

    process_facts_init(&facts);
    process_facts_environment(&facts, text);
    process_facts_os_release(&facts, text);
    process_facts_cgroup(&facts, text, 7);
    process_facts_mountinfo(&facts, text);
    process_facts_labels(&facts, text);
    (void)process_facts_aws(&facts, text);
    (void)process_facts_gcp(&facts, text);
    (void)process_facts_azure(&facts, text);
    process_facts_fini(&facts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decode_facts facts;
    struct fm_buf clean;

    if (!size)
        return 0;
    struct fm_slice request = fm_slice(data + 1, size - 1);
    fuzz_facts(request);
    decode_facts_init(&facts);
    fm_buf_init(&clean, size);
    if (otlp_pb_check(request, &decode_limits_default, &facts, NULL) == FM_OK) {
        if (facts.rewrite) {
            FM_ASSERT(otlp_pb_rewrite(request, &decode_limits_default, &clean) == FM_OK);
            request = fm_buf_slice(&clean);
        }
        fuzz_canonical(data[0], request, facts.span_count);
    }
    fm_buf_fini(&clean);
    decode_facts_fini(&facts);
    return 0;
}
