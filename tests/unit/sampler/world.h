/* SPDX-License-Identifier: Apache-2.0 */
/* A store and a sampler in the simulated world: spans in, blocks that leave out. */
#ifndef TESTS_UNIT_SAMPLER_WORLD_H
#define TESTS_UNIT_SAMPLER_WORLD_H

#include "../../support/test.h"

#include "fermata/block_traces.h"
#include "fermata/pb.h"
#include "fermata/sampler.h"
#include "fermata/sim.h"
#include "fermata/store_decide.h"
#include "fermata/store_read.h"
#include "fermata/units.h"

#define TENANT    "single-tenant"
#define BASE_S    UINT64_C(1795219920)
#define WAIT_NS   (60 * FM_NS_PER_S)
#define URGENT_NS (10 * FM_NS_PER_S)
#define LEFT_MAX  256u

struct left_trace { /* as it stands in a block that left */
    uint32_t trace, span_count;
};
struct world {
    struct sim *sim;
    struct store *store;
    struct sampler *sampler;
    struct store_options options;
    struct sampler_options sampler_options;
    const struct sample_rule *rules;
    size_t rule_count;
    const char *probability;
    bool has_urgent;    /* the same rules */
    bool holds_uploads; /* blocks that come are kept, not uploaded */
    struct store_block *held[LEFT_MAX];
    uint32_t held_count;
    struct left_trace left[LEFT_MAX];
    uint32_t left_count;
    uint32_t block_count, outgoing_count, express_count;
    uint32_t answered;
    uint32_t span_count;
    int flush_rc;
    bool is_flushed, is_closed;
};

static inline struct trace_id trace_of(uint32_t number)
{
    struct trace_id id = {{0}};
    uint64_t state = number;
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be32(id.bytes + 12, number); /* so that an answer says which */
    return id;
}

struct sent_span {
    uint32_t trace;
    const char *name;
    bool is_error;
    uint64_t duration_ns;
};

static inline void put_span(struct fm_buf *buf, const struct sent_span *sent, uint32_t number)
{
    const struct trace_id id = trace_of(sent->trace);
    uint64_t start_ns = (BASE_S + sent->trace) * FM_NS_PER_S;
    uint8_t span_id[8];
    fm_store_be64(span_id, number);
    size_t resource_spans = pb_begin(buf, 1), scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id.bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, sent->name);
    pb_put_fixed64(buf, 7, start_ns);
    pb_put_fixed64(buf, 8, start_ns + sent->duration_ns);
    if (sent->is_error) {
        size_t status = pb_begin(buf, 15);
        pb_put_u64(buf, 3, 2);
        pb_end(buf, status);
    }
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
}

struct sent {
    struct store_append append;
    struct world *world;
    uint64_t key;
};

static inline void on_stored(struct store_append *append, int rc)
{
    struct sent *sent = FM_CONTAINER(append, struct sent, append);
    assert_ok(rc);
    sent->world->answered++;
    free(sent);
}

/* Durable when this returns. */
static inline void send_span(struct world *world, const struct sent_span *span)
{
    struct sent *sent = calloc(1, sizeof *sent);
    assert_non_null(sent);
    uint32_t before = world->answered;
    const struct trace_id id = trace_of(span->trace);
    sent->world = world;
    sent->key = trace_id_key(id.bytes);
    sent->append = (struct store_append){
        .tenant = FM_SLICE(TENANT),
        .span_count = 1,
        .trace_keys = &sent->key,
        .trace_key_count = 1,
        .start_min_ns = (BASE_S + span->trace) * FM_NS_PER_S,
        .end_max_ns = (BASE_S + span->trace) * FM_NS_PER_S + span->duration_ns,
        .received_unix_ns = pf_wall_ns(sim_platform(world->sim)),
        .done = on_stored,
    };
    fm_buf_init(&sent->append.payload, FM_MIB(1));
    put_span(&sent->append.payload, span, ++world->span_count);
    store_append(world->store, &sent->append);
    while (world->answered == before)
        assert_true(sim_step(world->sim));
}

static inline void send(struct world *world, uint32_t trace, bool is_error)
{
    send_span(world, &(struct sent_span){trace, "operation", is_error, FM_NS_PER_MS});
}

static inline void on_flushed(void *self, int rc)
{
    struct world *world = self;
    world->flush_rc = rc;
    world->is_flushed = true;
}

static inline void flush(struct world *world)
{
    world->is_flushed = false;
    store_flush(world->store, on_flushed, world);
    while (!world->is_flushed)
        assert_true(sim_step(world->sim));
    assert_ok(world->flush_rc);
}

/* ---- who uploads ---- */

static inline uint32_t otlp_span_count(struct fm_slice otlp)
{
    struct pb_field resource, scope, span;
    uint32_t count = 0;
    while (pb_next(&otlp, &resource) == FM_OK) {
        struct fm_slice in_resource = resource.bytes;
        while (resource.number == 1 && pb_next(&in_resource, &scope) == FM_OK) {
            struct fm_slice in_scope = scope.bytes;
            while (scope.number == 2 && pb_next(&in_scope, &span) == FM_OK)
                count += span.number == 2;
        }
    }
    return count;
}

static inline void world_read_block(struct world *world, const struct store_block *block)
{
    FM_AUTO(block) opened = NULL;
    FM_AUTO(block_traces) traces = NULL;
    struct pf_source file;
    struct fm_source data;
    struct trace_id id;
    struct fm_buf otlp;
    struct fm_why why;
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.parquet", block->path);
    assert_ok(pf_source_open(&file, sim_platform(world->sim), path, &data, &why));
    assert_ok(block_open(&opened, data, &block->meta, &why));
    assert_ok(block_traces_new(&traces, opened, 0));
    fm_buf_init(&otlp, FM_MIB(1));
    while (block_traces_next(traces, &id, &otlp, &why) == FM_OK) {
        assert_true(world->left_count < LEFT_MAX);
        world->left[world->left_count++] =
            (struct left_trace){fm_load_be32(id.bytes + 12), otlp_span_count(fm_buf_slice(&otlp))};
        fm_buf_reset(&otlp);
    }
    fm_buf_fini(&otlp);
    traces = block_traces_free(traces);
    opened = block_free(opened);
    pf_source_close(&file);
}

static inline void on_uploaded(void *self, int rc)
{
    (void)self;
    assert_ok(rc);
}

static inline void world_on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    if (store_block_is_uploaded(world->store, block))
        return;
    if (world->holds_uploads) {
        assert_true(world->held_count < LEFT_MAX);
        store_block_ref(block);
        world->held[world->held_count++] = block;
        return;
    }
    world_read_block(world, block);
    world->block_count++;
    world->outgoing_count += block->is_outgoing;
    world->express_count += block->lane == STORE_LANE_EXPRESS;
    store_block_uploaded(world->store, block, on_uploaded, world);
}

static inline void world_upload_held(struct world *world)
{
    world->holds_uploads = false;
    for (uint32_t i = 0; i < world->held_count; i++) {
        world_on_sealed(world, world->held[i]);
        store_block_unref(world->store, world->held[i]);
    }
    world->held_count = 0;
}

/* ---- life ---- */

static inline struct sample_rules *world_rules(const struct world *world)
{
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    if (sample_rules_new(&rules, world->rules, world->rule_count, world->probability, &fault) !=
        FM_OK)
        fail_msg("%s: %s", fault.key, fault.why.text);
    return rules;
}

static inline void world_open(struct world *world)
{
    struct fm_why why = {""};
    struct platform *platform = sim_platform(world->sim);
    if (store_open(&world->store, platform, &world->options, &why) < 0)
        fail_msg("open: %s", why.text);
    struct sampler_options options = world->sampler_options;
    options.rules = world->probability ? world_rules(world) : NULL;
    options.urgent_rules = world->has_urgent ? world_rules(world) : NULL;
    options.next = (struct store_observer){.on_sealed = world_on_sealed, .self = world};
    if (sampler_new(&world->sampler, platform, world->store, &options, &why) < 0)
        fail_msg("sampler: %s", why.text);
    const struct store_observer observer = {.on_sealed = sampler_on_sealed,
                                            .on_dropped = sampler_on_dropped,
                                            .lane_of = sampler_lane_of,
                                            .self = world->sampler};
    store_set_observer(world->store, &observer);
}

static inline void on_closed(void *self)
{
    ((struct world *)self)->is_closed = true;
}

static inline void world_wait_closed(struct world *world)
{
    while (!world->is_closed)
        assert_true(sim_step(world->sim));
}

static inline void world_close(struct world *world)
{
    const struct store_observer nobody = {0};
    world->is_closed = false;
    sampler_close(world->sampler, on_closed, world);
    assert_false(world->is_closed);
    world_wait_closed(world);
    world->sampler = NULL;
    for (uint32_t i = 0; i < world->held_count; i++)
        store_block_unref(world->store, world->held[i]);
    world->held_count = 0;
    store_set_observer(world->store, &nobody);
    world->is_closed = false;
    store_close(world->store, on_closed, world);
    world_wait_closed(world);
    world->store = NULL;
    sim_crash(world->sim, true); /* the process ends: its lock goes */
}

static inline void world_restart(struct world *world)
{
    world_close(world);
    world_open(world);
}

static inline void world_crash(struct world *world)
{
    sim_crash(world->sim, false);
    world->sampler = sampler_abandon(world->sampler);
    world->store = store_abandon(world->store);
    world->held_count = 0;
    world_open(world);
}

static inline struct world *world_new(const struct sample_rule *rules, size_t count,
                                      const char *probability)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    assert_ok(sim_new(&world->sim, 7));
    log_setup(getenv("SIM_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0, false, NULL);
    world->options = (struct store_options){
        .data_dir = "/data",
        .node = {9},
        .segment_bytes = FM_KIB(64),
        .pending_bytes_max = FM_KIB(256),
        .head_bytes_max = FM_MIB(1),
        .block = block_options_default,
        .block_age_ns = 3600 * FM_NS_PER_S,
        .block_bytes = FM_MIB(64),
        .retention_ns = 24 * 3600 * FM_NS_PER_S,
        .retention_sampled_out_ns = 24 * 3600 * FM_NS_PER_S,
    };
    world->sampler_options = (struct sampler_options){
        .decision_wait_ns = WAIT_NS,
        .urgent_interval_ns = URGENT_NS,
        .verdict_bytes_max = FM_KIB(64),
        .memory_max = FM_MIB(16),
    };
    world->rules = rules;
    world->rule_count = count;
    world->probability = probability;
    world_open(world);
    return world;
}

static inline void world_free(struct world *world)
{
    if (world->store)
        world_close(world);
    sim_free(world->sim);
    free(world);
}

/* How many spans of a trace left; in one piece if is_whole. */
static inline uint32_t left_spans(const struct world *world, uint32_t trace)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->left_count; i++)
        count += world->left[i].trace == trace ? world->left[i].span_count : 0;
    return count;
}

#endif
