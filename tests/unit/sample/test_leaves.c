/* SPDX-License-Identifier: Apache-2.0 */
/* What a leaf finds among random traces is what the policy's own words say, judged the long way. */
#include "../../support/test.h"

#include "fermata/eval.h"
#include "fermata/pb.h"
#include "fermata/sample.h"

enum { TRACES = 40, SPANS = 4, ROUNDS = 400 };

struct value { /* of an attribute */
    enum { NONE, TEXT, NUMBER, FLAG } type;
    const char *text;
    int64_t number;
};
struct span {
    uint32_t status;
    struct value own, resource; /* of the one key that is asked for */
};
struct world {
    const char *key;
    struct span spans[TRACES][SPANS];
    struct frame_rows *rows;
};

static const char *const keys[] = {"http.route",  "a b", "quote\"d",
                                   "back\\slash", "{x}", "\xc3\xa9"};
static const char *const texts[] = {"/cart", "GET /cart/7",       "a\"b\\c",
                                    "",      "\xc3\xa9t\xc3\xa9", "x"};
/* patterns, and which of the texts they are found in */
static const struct {
    const char *pattern;
    unsigned texts; /* bits */
} patterns[] = {{"/cart", 3}, {"^/cart$", 1}, {"cart/\\d", 2}, {"a\"b\\\\c|x", 36}, {"^$", 8}};

static struct value value_random(uint64_t *seed)
{
    uint64_t n = fm_random_next(seed);
    switch (n % 5) {
    case 0:
        return (struct value){.type = NUMBER, .number = (int64_t)(n >> 8 & 15) - 8};
    case 1:
        return (struct value){.type = FLAG, .number = n >> 8 & 1};
    case 2:
        return (struct value){.type = NONE};
    default:
        return (struct value){.type = TEXT, .text = texts[(n >> 8) % FM_COUNT(texts)]};
    }
}

static void put_value(struct fm_buf *otlp, uint32_t number, const char *key,
                      const struct value *value)
{
    if (value->type == NONE)
        return;
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, key);
    size_t inner = pb_begin(otlp, 2);
    if (value->type == TEXT)
        pb_put_text(otlp, 1, value->text);
    else
        pb_put_u64(otlp, value->type == FLAG ? 2 : 3, (uint64_t)value->number);
    pb_end(otlp, inner);
    pb_end(otlp, pair);
}

static void put_span(struct fm_buf *otlp, const char *key, const struct span *span, uint8_t trace,
                     uint8_t index)
{
    uint8_t id[16] = {[0] = 1, [15] = trace}, span_id[8] = {[0] = 1, [7] = index};
    size_t resource_spans = pb_begin(otlp, 1);
    size_t resource = pb_begin(otlp, 1);
    put_value(otlp, 1, key, &span->resource);
    pb_end(otlp, resource);
    size_t scope_spans = pb_begin(otlp, 2);
    size_t body = pb_begin(otlp, 2);
    pb_put_bytes(otlp, 1, fm_slice(id, 16));
    pb_put_bytes(otlp, 2, fm_slice(span_id, 8));
    pb_put_text(otlp, 5, "n");
    pb_put_u64(otlp, 6, 1);
    pb_put_fixed64(otlp, 7, 1000000000 + trace);
    pb_put_fixed64(otlp, 8, 1000000100 + trace);
    put_value(otlp, 9, key, &span->own);
    size_t status = pb_begin(otlp, 15);
    pb_put_u64(otlp, 3, span->status);
    pb_end(otlp, status);
    pb_end(otlp, body);
    pb_end(otlp, scope_spans);
    pb_end(otlp, resource_spans);
}

static void world_init(struct world *world, uint64_t *seed)
{
    struct fm_buf otlp;
    struct fm_why why;
    fm_buf_init(&otlp, FM_MIB(4));
    world->key = keys[fm_random_next(seed) % FM_COUNT(keys)];
    for (unsigned trace = 0; trace < TRACES; trace++) {
        for (unsigned i = 0; i < SPANS; i++) {
            struct span *span = &world->spans[trace][i];
            *span = (struct span){.status = fm_random_next(seed) % 3 & (trace & 3),
                                  .own = value_random(seed),
                                  .resource = value_random(seed)};
            if (trace % 3) /* most have the key seldom, so that some have it nowhere */
                span->own.type = span->resource.type = NONE;
            if (trace % 3 && i == 0 && trace % 2)
                span->own = value_random(seed);
            put_span(&otlp, world->key, span, (uint8_t)trace, (uint8_t)i);
        }
    }
    assert_ok(frame_rows_new(&world->rows, FM_MIB(16)));
    assert_ok(frame_rows_add(world->rows, fm_buf_slice(&otlp), NULL, NULL, &why));
    assert_ok(frame_rows_finish(world->rows));
    fm_buf_fini(&otlp);
}

/* ---- a policy, and what it means ---- */

struct question {
    struct sample_rule rule;
    char text[128], low[16], high[16];
    unsigned statuses, texts; /* bits */
    int64_t min, max;
    bool flag;
};

static void question_random(struct question *q, const struct world *world, uint64_t *seed)
{
    static const char *const names[] = {"unset", "OK", "error"};
    uint64_t n = fm_random_next(seed);
    *q = (struct question){.rule = {.name = "p", .key = world->key}};
    if (n % 4 == 0) {
        q->rule.kind = SAMPLE_STATUS_CODE;
        q->rule.key = NULL;
        q->statuses = 1 + (unsigned)(n >> 8) % 7;
        for (unsigned i = 0; i < 3; i++) {
            if (q->statuses & 1u << i)
                strcat(strcat(q->text, names[i]), " ");
        }
        q->rule.status_codes = q->text;
    } else if (n % 4 == 1) {
        q->rule.kind = SAMPLE_NUMERIC_ATTRIBUTE;
        q->min = (int64_t)(n >> 8) % 16 - 8;
        q->max = q->min + (int64_t)(n >> 16) % 4;
        (void)snprintf(q->low, sizeof q->low, "%lld", (long long)q->min);
        (void)snprintf(q->high, sizeof q->high, "%lld", (long long)q->max);
        q->rule.min_value = q->low;
        q->rule.max_value = q->high;
    } else if (n % 4 == 2) {
        q->rule.kind = SAMPLE_BOOLEAN_ATTRIBUTE;
        q->flag = n >> 8 & 1;
        q->rule.values = q->flag ? "true" : "false";
    } else {
        q->rule.kind = SAMPLE_STRING_ATTRIBUTE;
        q->rule.regex = n >> 8 & 1;
        for (unsigned i = 0; i < 1 + (n >> 9) % 2; i++) {
            size_t pick = (n >> (16 + 8 * i)) % FM_COUNT(patterns);
            size_t text = pick == 3 ? 5 : pick; /* none is empty */
            q->texts |= q->rule.regex ? patterns[pick].texts : 1u << text;
            strcat(strcat(q->text, i ? "\n" : ""),
                   q->rule.regex ? patterns[pick].pattern : texts[text]);
        }
        q->rule.values = q->text;
    }
}

static bool value_is_wanted(const struct question *q, const struct value *value)
{
    if (q->rule.kind == SAMPLE_NUMERIC_ATTRIBUTE)
        return value->type == NUMBER && value->number >= q->min && value->number <= q->max;
    if (q->rule.kind == SAMPLE_BOOLEAN_ATTRIBUTE)
        return value->type == FLAG && value->number == q->flag;
    for (unsigned i = 0; value->type == TEXT && i < FM_COUNT(texts); i++) {
        if (value->text == texts[i])
            return q->texts >> i & 1;
    }
    return false;
}

static bool trace_is_wanted(const struct question *q, const struct span *spans)
{
    for (unsigned i = 0; i < SPANS; i++) {
        bool hit = q->rule.kind == SAMPLE_STATUS_CODE ? q->statuses >> spans[i].status & 1
                                                      : value_is_wanted(q, &spans[i].own) ||
                                                            value_is_wanted(q, &spans[i].resource);
        if (hit)
            return true;
    }
    return false;
}

/* ---- the leaf's answer ---- */

static void leaf_ask(struct fm_slice text, const struct world *world, bool *found)
{
    const struct eval_limits limits = {.end_ns = UINT64_MAX, .memory_max = FM_MIB(16)};
    FM_AUTO(eval_plan) plan = NULL;
    FM_AUTO(eval_run) run = NULL;
    FM_AUTO(frame_source) source = NULL;
    struct frame_request request = {.end_ns = UINT64_MAX};
    struct traceql_query *query;
    const struct frame *frame;
    const struct eval_set *sets;
    const uint8_t *mask;
    struct fm_arena arena;
    struct fm_why why;
    uint32_t count;
    int rc;
    fm_arena_init(&arena, FM_MIB(4));
    assert_ok(traceql_parse(text, &arena, &query, &why));
    assert_ok(traceql_check(query, &why));
    assert_ok(eval_plan_new(&plan, query, &why));
    request.fields = eval_plan_fields(plan, &request.field_count);
    assert_ok(frame_rows_source(world->rows, &request, &source));
    assert_ok(eval_run_new(&run, plan, source, &limits));
    while ((rc = eval_run_next(run, &frame, &mask, &why)) == FM_OK) {
        assert_ok(eval_run_sets(run, &sets, &count, &why));
        for (uint32_t i = 0; i < count; i++)
            found[frame->trace_ids[sets[i].trace].bytes[15]] = true;
    }
    assert_int_equal(rc, FM_END);
    fm_arena_fini(&arena);
}

static void test_leaves_mean_what_policies_say(void **state)
{
    (void)state;
    uint64_t seed = 20261121;
    unsigned wanted_count = 0, unwanted_count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct sample_rules *rules = NULL;
        struct sample_fault fault;
        struct question question;
        struct world world;
        bool found[256] = {false};
        world_init(&world, &seed);
        question_random(&question, &world, &seed);
        if (sample_rules_new(&rules, &question.rule, 1, "0", &fault) != FM_OK)
            fail_msg("%s: %s", fault.key, fault.why.text);
        assert_int_equal(sample_leaf_count(rules), 1);
        assert_true(sample_leaf_is_local(rules, 0));
        leaf_ask(sample_leaf_text(rules, 0), &world, found);
        for (unsigned trace = 0; trace < TRACES; trace++) {
            bool wanted = trace_is_wanted(&question, world.spans[trace]);
            if (wanted != found[trace])
                fail_msg("round %u trace %u: %.*s", round, trace,
                         (int)sample_leaf_text(rules, 0).len,
                         (const char *)sample_leaf_text(rules, 0).ptr);
            wanted_count += wanted;
            unwanted_count += !wanted;
        }
        sample_rules_free(rules);
        frame_rows_free(world.rows);
    }
    assert_true(wanted_count > 1000 && unwanted_count > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves_mean_what_policies_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
