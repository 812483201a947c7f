/* SPDX-License-Identifier: Apache-2.0 */
/* A store and a query engine in the simulated world: spans in, questions out. */
#ifndef TESTS_UNIT_QUERY_WORLD_H
#define TESTS_UNIT_QUERY_WORLD_H

#include "../../support/test.h"

#include "fermata/pb.h"
#include "fermata/query_ask.h"
#include "fermata/sim.h"
#include "fermata/units.h"

#define TENANT "single-tenant"
#define BASE_S UINT64_C(1795219920)

struct world {
    struct sim *sim;
    struct store *store;
    struct query_engine *engine;
    struct query_options options;
    uint32_t answered;
    int flush_rc;
    bool is_flushed, is_closed;
};

static struct trace_id trace_of(uint32_t number)
{
    struct trace_id id = {{0}};
    uint64_t state = number;
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be32(id.bytes + 12, number); /* so that an answer says which */
    return id;
}

static uint32_t trace_number(const struct trace_id *id)
{
    return fm_load_be32(id->bytes + 12);
}

struct sent_span {
    uint32_t trace, span; /* span 1 is the root, the others are its children */
    const char *name;
    const char *service; /* NULL: "service" */
    uint64_t at_s;       /* from BASE_S; 0: the trace's number */
};

static void put_attribute(struct fm_buf *buf, uint32_t number, const char *key, const char *text)
{
    size_t attribute = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1, text);
    pb_end(buf, value);
    pb_end(buf, attribute);
}

static void put_span(struct fm_buf *buf, const struct sent_span *sent)
{
    const struct trace_id id = trace_of(sent->trace);
    uint64_t start_ns = (BASE_S + (sent->at_s ? sent->at_s : sent->trace)) * FM_NS_PER_S;
    uint8_t span_id[8], parent_id[8];
    fm_store_be64(span_id, (uint64_t)sent->trace << 16 | sent->span);
    fm_store_be64(parent_id, (uint64_t)sent->trace << 16 | 1);
    size_t resource_spans = pb_begin(buf, 1);
    size_t resource = pb_begin(buf, 1);
    put_attribute(buf, 1, "service.name", sent->service ? sent->service : "service");
    pb_end(buf, resource);
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id.bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    if (sent->span != 1)
        pb_put_bytes(buf, 4, fm_slice(parent_id, 8));
    pb_put_text(buf, 5, sent->name);
    pb_put_fixed64(buf, 7, start_ns + sent->span * FM_NS_PER_MS);
    pb_put_fixed64(buf, 8, start_ns + sent->span * FM_NS_PER_MS + 500 * FM_NS_PER_US);
    put_attribute(buf, 9, "key", sent->name);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

struct sent {
    struct store_append append;
    struct world *world;
    uint64_t key;
};

static void on_stored(struct store_append *append, int rc)
{
    struct sent *sent = FM_CONTAINER(append, struct sent, append);
    assert_ok(rc);
    sent->world->answered++;
    free(sent);
}

/* One request of its own, durable when this returns. */
static void send_span(struct world *world, const struct sent_span *span)
{
    struct sent *sent = calloc(1, sizeof *sent);
    assert_non_null(sent);
    uint32_t before = world->answered;
    uint64_t start_ns = (BASE_S + (span->at_s ? span->at_s : span->trace)) * FM_NS_PER_S;
    const struct trace_id id = trace_of(span->trace);
    sent->world = world;
    sent->key = trace_id_key(id.bytes);
    sent->append = (struct store_append){
        .tenant = FM_SLICE(TENANT),
        .span_count = 1,
        .trace_keys = &sent->key,
        .trace_key_count = 1,
        .start_min_ns = start_ns,
        .end_max_ns = start_ns + 100 * FM_NS_PER_MS,
        .received_unix_ns = pf_wall_ns(sim_platform(world->sim)),
        .done = on_stored,
    };
    fm_buf_init(&sent->append.payload, FM_MIB(1));
    put_span(&sent->append.payload, span);
    store_append(world->store, &sent->append);
    while (world->answered == before)
        assert_true(sim_step(world->sim));
}

static void send(struct world *world, uint32_t trace, uint32_t span, const char *name)
{
    send_span(world, &(struct sent_span){.trace = trace, .span = span, .name = name});
}

static void on_flushed(void *self, int rc)
{
    struct world *world = self;
    world->flush_rc = rc;
    world->is_flushed = true;
}

static void flush(struct world *world)
{
    world->is_flushed = false;
    store_flush(world->store, on_flushed, world);
    while (!world->is_flushed)
        assert_true(sim_step(world->sim));
    assert_ok(world->flush_rc);
}

static void on_closed(void *self)
{
    ((struct world *)self)->is_closed = true;
}

static void world_set_options(struct world *world, const struct query_options *options)
{
    world->engine = query_engine_free(world->engine);
    world->options = *options;
    assert_ok(query_engine_new(&world->engine, sim_platform(world->sim), world->store, options));
    store_set_gone(world->store, query_forget_block, world->engine);
}

static int world_open_paged(void **state, uint32_t page_spans)
{
    struct store_options store = {
        .data_dir = "/data",
        .node = {9},
        .segment_bytes = FM_KIB(64),
        .compress = true,
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = 3600 * FM_NS_PER_S,
        .sync_interval_ns = 200 * FM_NS_PER_MS,
    };
    const struct query_options query = {
        .concurrency_max = 2, .trace_bytes_max = FM_MIB(1), .thread_count = 2};
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    store.block.page_span_target = page_spans;
    assert_ok(sim_new(&world->sim, 11));
    log_setup((enum log_level)0, false, NULL);
    assert_ok(store_open(&world->store, sim_platform(world->sim), &store, NULL));
    world_set_options(world, &query);
    *state = world;
    return 0;
}

static inline int world_open(void **state)
{
    return world_open_paged(state, block_options_default.page_span_target);
}

static int world_close(void **state)
{
    struct world *world = *state;
    store_set_gone(world->store, NULL, NULL);
    world->engine = query_engine_free(world->engine);
    store_close(world->store, on_closed, world);
    while (!world->is_closed)
        assert_true(sim_step(world->sim));
    sim_free(world->sim);
    free(world);
    return 0;
}

/* ---- questions ---- */

struct question {
    struct query_ask ask;
    int rc;
    uint32_t done_count, part_count;
    struct fm_buf last_part;
    struct answer_stats stats;
};

/* What was found, in words that are easily compared: "3:2 1:1" are traces 3 and 1 with two and one
 * spans matched. */
static void on_render(struct query_ask *ask, const struct query_found *found, struct fm_buf *out)
{
    struct question *question = ask->self;
    question->stats = found->stats;
    for (uint32_t i = 0; ask->kind != QUERY_METRICS && i < found->count; i++) {
        fm_buf_puts(out, out->len ? " " : "");
        switch (ask->kind) {
        case QUERY_SEARCH:
            fm_buf_printf(out, "%u", trace_number(&found->traces[i].id));
            for (uint32_t set = 0; set < found->traces[i].set_count; set++)
                fm_buf_printf(out, ":%u", found->traces[i].sets[set].matched);
            break;
        case QUERY_TRACES:
            fm_buf_printf(out, "%zu", trace_span_count(found->wholes[i]));
            break;
        case QUERY_TAG_NAMES:
            fm_buf_printf(out, "%s", found->scopes[i].name);
            for (uint32_t at = 0; at < found->scopes[i].tag_count; at++) {
                if (strcmp(found->scopes[i].name, "intrinsic") == 0)
                    continue;
                fm_buf_puts(out, ",");
                fm_buf_put_slice(out, found->scopes[i].tags[at]);
            }
            break;
        case QUERY_TAG_VALUES:
            answer_put_text(&found->values[i], out);
            break;
        case QUERY_METRICS:
            break;
        }
    }
    if (ask->kind != QUERY_METRICS)
        return;
    double sum = 0;
    for (uint32_t i = 0; i < found->series->line_count; i++) {
        for (uint32_t at = 0; at < found->series->lines[i].sample_count; at++)
            sum += found->series->lines[i].samples[at].value;
    }
    fm_buf_printf(out, "%u lines, sum %g", found->series->line_count, sum);
}

static void on_part(struct query_ask *ask, struct fm_buf *part)
{
    struct question *question = ask->self;
    question->part_count++;
    fm_buf_fini(&question->last_part);
    question->last_part = *part;
    fm_buf_init(part, part->bytes_max);
}

static void on_done(struct query_ask *ask, int rc)
{
    struct question *question = ask->self;
    question->rc = rc;
    question->done_count++;
}

static void question_init(struct question *question, enum query_kind kind, const char *text)
{
    *question = (struct question){
        .ask = {.kind = kind,
                .tenant = TENANT,
                .text = fm_slice_text(text),
                .render = on_render,
                .on_part = on_part,
                .done = on_done},
    };
    fm_buf_init(&question->last_part, FM_MIB(1));
}

static void question_fini(struct question *question)
{
    fm_buf_fini(&question->ask.answer);
    fm_buf_fini(&question->last_part);
}

static void question_start(struct world *world, struct question *question)
{
    question->ask.self = question;
    query_ask_start(world->engine, &question->ask);
    assert_int_equal(question->done_count, 0);
}

static void question_wait(struct world *world, struct question *question)
{
    while (!question->done_count)
        assert_true(sim_step(world->sim));
    assert_int_equal(question->done_count, 1);
}

static int question_ask(struct world *world, struct question *question)
{
    question_start(world, question);
    question_wait(world, question);
    return question->rc;
}

static void assert_answer(const struct question *question, const char *expected)
{
    char text[2000];
    (void)snprintf(text, sizeof text, "%.*s", (int)question->ask.answer.len,
                   question->ask.answer.len ? (const char *)question->ask.answer.ptr : "");
    if (question->rc < 0)
        fail_msg("%s: %s", fm_rc_text(question->rc), question->ask.why.text);
    assert_string_equal(text, expected);
}

static inline void assert_asked(struct world *world, enum query_kind kind, const char *text,
                                const char *expected)
{
    struct question question;
    question_init(&question, kind, text);
    (void)question_ask(world, &question);
    assert_answer(&question, expected);
    question_fini(&question);
}

#endif
