/* SPDX-License-Identifier: Apache-2.0 */
/* sim_export - exporters over a store in the simulated world: upstreams that fail in every way,
 * blocks cut under the cursors, faults, power cuts.
 *
 *   sim_export [--seeds N] [--first SEED]
 *
 * What must hold:
 *   SIM-1  a span that was acknowledged to a client arrives at every exporter's upstream, unless
 *          that refused it;
 *   SIM-2  a span that was never stored never arrives, nor under another tenant;
 *   SIM-3  without crashes and faults no span that an upstream acknowledged arrives again;
 *   SIM-4  after a crash none arrives again that was acknowledged well before it.
 * One seed is one run, bit for bit; a failure prints it.
 */
#include "../support/test.h"

#include "fermata/export.h"
#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sim.h"
#include "fermata/store.h"
#include "fermata/units.h"

#define TENANTS   3u
#define TRACES    40u
#define EXPORTERS 2u
#define SPANS_MAX 4000u
#define DATA_DIR  "/var/lib/fermata"
#define QUIET_NS  (4 * FM_NS_PER_S) /* longer than a place waits to be written */

static uint64_t current_seed, current_step;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf(                                                                                \
                "sim_export: seed %llu step %llu: %s:%d: %s: ", (unsigned long long)current_seed,  \
                (unsigned long long)current_step, __FILE__, __LINE__, #condition);                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct span_note {
    uint8_t tenant;
    bool is_stored; /* acknowledged to the client */
    struct {
        bool has_arrived, is_acked, is_resting, is_settled, is_refused;
    } at[EXPORTERS];
};

struct request { /* one append under way */
    struct store_append append;
    struct world *world;
    uint32_t first_span, span_count;
    uint64_t keys[8];
    struct fm_link link;
};

struct world_exchange { /* a request under way */
    struct world_upstream *up;
    struct export_request *request;
    struct pf_timer timer;
    bool is_cancelled;
};

struct world_upstream {
    struct upstream base;
    struct world *world;
    uint8_t exporter;
    uint32_t request_count;
    struct world_exchange exchanges[EXPORT_REQUESTS_MAX];
};

struct world {
    struct sim *sim;
    struct store *store;
    struct exports *exports;
    struct store_options options;
    struct exporter_options exporter_options[EXPORTERS];
    uint32_t upstream_counts[EXPORTERS];
    char names[EXPORTERS][8];
    struct span_note spans[SPANS_MAX];
    uint32_t span_count;
    struct fm_link requests;
    bool is_dead[EXPORTERS]; /* the upstream takes next to nothing */
    bool is_kind;            /* nothing fails any more */
    bool is_lossy;           /* answers get lost: what arrived may arrive again */
    bool had_faults, may_split, may_overtake, is_closed;
    uint64_t arrived, repeated, crashes, blocks;
    uint32_t most; /* requests at a time */
};

static const char *const tenant_names[TENANTS] = {"single-tenant", "team-a", "z"};

static uint64_t world_chance(struct world *world, uint64_t below)
{
    return sim_random(world->sim) % below;
}

/* ---- clients ---- */

static void put_span(struct fm_buf *buf, uint32_t trace, uint32_t number)
{
    uint8_t id[16] = {1}, span_id[8];
    size_t mark = pb_begin(buf, 2);
    fm_store_be64(id + 8, trace);
    fm_store_be64(span_id, number + 1);
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, "operation");
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + number * FM_NS_PER_MS);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + (number + 1) * FM_NS_PER_MS);
    pb_end(buf, mark);
}

static void request_free(struct request *request)
{
    fm_list_remove(&request->link);
    fm_buf_fini(&request->append.payload);
    free(request);
}

static void request_done(struct store_append *append, int rc)
{
    struct request *request = FM_CONTAINER(append, struct request, append);
    for (uint32_t i = 0; rc == FM_OK && i < request->span_count; i++)
        request->world->spans[request->first_span + i].is_stored = true;
    request_free(request);
}

static void request_fill(struct world *world, struct request *request, uint8_t tenant)
{
    struct fm_buf *buf = &request->append.payload;
    fm_buf_init(buf, FM_MIB(1));
    size_t resource_spans = pb_begin(buf, 1);
    size_t resource = pb_begin(buf, 1), attribute = pb_begin(buf, 1);
    pb_put_text(buf, 1, "service.name");
    size_t value = pb_begin(buf, 2);
    pb_put_text(buf, 1, "sim");
    pb_end(buf, value);
    pb_end(buf, attribute);
    pb_end(buf, resource);
    size_t scope_spans = pb_begin(buf, 2);
    for (uint32_t i = 0; i < request->span_count; i++) {
        uint32_t trace = (uint32_t)world_chance(world, TRACES);
        uint8_t id[16] = {1};
        fm_store_be64(id + 8, trace);
        world->spans[request->first_span + i] = (struct span_note){.tenant = tenant};
        request->keys[i] = trace_id_key(id);
        put_span(buf, trace, request->first_span + i);
    }
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
    CHECK(!buf->failed, "payload");
}

static void world_append(struct world *world)
{
    uint32_t count = 1 + (uint32_t)world_chance(world, 8);
    if (world->span_count + count > SPANS_MAX)
        return;
    struct request *request = calloc(1, sizeof *request);
    CHECK(request, "memory");
    uint8_t tenant = (uint8_t)(world_chance(world, 4) % TENANTS);
    request->world = world;
    request->first_span = world->span_count;
    request->span_count = count;
    world->span_count += count;
    fm_list_append(&world->requests, &request->link);
    request_fill(world, request, tenant);
    request->append.tenant = fm_slice_text(tenant_names[tenant]);
    request->append.span_count = count;
    request->append.trace_keys = request->keys;
    request->append.trace_key_count = count;
    request->append.start_min_ns = UINT64_C(1763690000000000000);
    request->append.end_max_ns = UINT64_C(1763690100000000000);
    request->append.received_unix_ns = pf_wall_ns(sim_platform(world->sim));
    request->append.done = request_done;
    store_append(world->store, &request->append);
}

/* ---- upstreams ---- */

static void upstream_take_span(const struct world_exchange *exchange, struct fm_slice span,
                               bool is_acked)
{
    const struct world_upstream *up = exchange->up;
    struct world *world = up->world;
    struct pb_field field;
    uint64_t number = UINT64_MAX;
    while (pb_next(&span, &field) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES && field.bytes.len == 8)
            number = fm_load_be64(field.bytes.ptr) - 1;
    }
    CHECK(number < world->span_count, "a span that nobody sent");
    struct span_note *note = &world->spans[number];
    CHECK(strcmp(exchange->request->tenant, tenant_names[note->tenant]) == 0,
          "span %llu of %s as %s", (unsigned long long)number, tenant_names[note->tenant],
          exchange->request->tenant);
    CHECK(!note->at[up->exporter].is_settled, "span %llu again at %u, settled long ago",
          (unsigned long long)number, up->exporter);
    CHECK(!note->at[up->exporter].is_acked || world->crashes || world->had_faults ||
              world->may_split,
          "span %llu again at %u", (unsigned long long)number, up->exporter);
    world->arrived++;
    world->repeated += note->at[up->exporter].has_arrived;
    note->at[up->exporter].has_arrived = true;
    note->at[up->exporter].is_acked |= is_acked;
}

static void upstream_refuse_span(const struct world_upstream *up, struct fm_slice span)
{
    struct pb_field field;
    while (pb_next(&span, &field) == FM_OK) {
        if (field.number == 2 && field.type == PB_BYTES && field.bytes.len == 8)
            up->world->spans[fm_load_be64(field.bytes.ptr) - 1].at[up->exporter].is_refused = true;
    }
}

static unsigned upstream_each_span(const struct world_exchange *exchange, bool is_taken,
                                   bool is_acked)
{
    struct fm_slice otlp = exchange->request->body;
    struct pb_field resource, scope, span;
    unsigned count = 0;
    while (pb_next(&otlp, &resource) == FM_OK) {
        struct fm_slice in_resource = resource.bytes;
        while (pb_next(&in_resource, &scope) == FM_OK) {
            struct fm_slice in_scope = scope.bytes;
            while (scope.number == 2 && pb_next(&in_scope, &span) == FM_OK) {
                if (span.number != 2)
                    continue;
                count++;
                if (is_taken)
                    upstream_take_span(exchange, span.bytes, is_acked);
                else if (is_acked)
                    upstream_refuse_span(exchange->up, span.bytes);
            }
        }
    }
    return count;
}

static enum export_outcome upstream_decide(struct world_upstream *up)
{
    struct world *world = up->world;
    if (world->is_kind)
        return EXPORT_SENT;
    if (world->is_dead[up->exporter])
        return world_chance(world, 12) == 0 ? EXPORT_SENT
               : world_chance(world, 2)     ? EXPORT_UNREACHABLE
                                            : EXPORT_BUSY;
    uint64_t choice = world_chance(world, 40);
    if (choice == 0)
        return EXPORT_REFUSED;
    if (choice <= 2 && world->may_split)
        return EXPORT_TOO_LARGE;
    return choice < 8 ? EXPORT_UNREACHABLE : choice < 12 ? EXPORT_BUSY : EXPORT_SENT;
}

static void upstream_on_timer(struct pf_timer *timer)
{
    struct world_exchange *exchange = FM_CONTAINER(timer, struct world_exchange, timer);
    struct world_upstream *up = exchange->up;
    struct export_request *request = exchange->request;
    request->outcome = exchange->is_cancelled ? EXPORT_CANCELLED : upstream_decide(up);
    if (request->outcome == EXPORT_TOO_LARGE && upstream_each_span(exchange, false, false) <= 1)
        request->outcome = EXPORT_SENT;
    bool is_taken = request->outcome == EXPORT_SENT;
    if (request->outcome == EXPORT_UNREACHABLE && up->world->is_lossy)
        is_taken = world_chance(up->world, 2);
    (void)upstream_each_span(exchange, is_taken,
                             request->outcome == EXPORT_SENT || request->outcome == EXPORT_REFUSED);
    if (request->outcome == EXPORT_BUSY && world_chance(up->world, 2))
        request->retry_after_ns = FM_NS_PER_S;
    exchange->request = NULL;
    up->request_count--;
    request->done(request);
}

static void world_upstream_send(struct upstream *upstream, struct export_request *request)
{
    struct world_upstream *up = FM_CONTAINER(upstream, struct world_upstream, base);
    uint32_t most = up->world->exporter_options[up->exporter].requests_max, index = 0;
    CHECK(up->request_count < most, "more than %u requests at once", most);
    CHECK(request->codec == CODEC_NONE && request->body.len, "a request without content");
    while (up->exchanges[index].request)
        index++;
    struct world_exchange *exchange = &up->exchanges[index];
    exchange->up = up;
    exchange->request = request;
    exchange->is_cancelled = false;
    exchange->timer.fire = upstream_on_timer;
    up->request_count++;
    up->world->most = FM_MAX(up->world->most, up->request_count);
    pf_timer_start(sim_platform(up->world->sim), &exchange->timer,
                   world_chance(up->world, 30) * FM_NS_PER_MS);
}

static void world_upstream_cancel(struct upstream *upstream, struct export_request *request)
{
    struct world_upstream *up = FM_CONTAINER(upstream, struct world_upstream, base);
    for (size_t i = 0; i < FM_COUNT(up->exchanges); i++) {
        if (up->exchanges[i].request == request)
            up->exchanges[i].is_cancelled = true;
    }
}

static struct upstream *world_upstream_free(struct upstream *upstream)
{
    free(FM_CONTAINER(upstream, struct world_upstream, base));
    return NULL;
}

static const struct upstream_ops world_upstream_ops = {
    .send = world_upstream_send, .cancel = world_upstream_cancel, .free = world_upstream_free};

static struct upstream *world_upstream_new(struct world *world, uint8_t exporter)
{
    struct world_upstream *up = calloc(1, sizeof *up);
    CHECK(up, "memory");
    up->base.ops = &world_upstream_ops;
    up->world = world;
    up->exporter = exporter;
    return &up->base;
}

/* ---- start and end ---- */

static struct store_options world_options(struct world *world)
{
    struct store_options options = {
        .data_dir = DATA_DIR,
        .node = {1, 2, 3, 4},
        .sync = STORE_SYNC_GROUP,
        .segment_bytes = FM_KIB(8) << world_chance(world, 4),
        .compress = world_chance(world, 4) != 0,
        .pending_bytes_max = FM_KIB(64),
        .head_bytes_max = FM_KIB(512),
        .block = block_options_default,
        .block_age_ns = (1 + world_chance(world, 30)) * FM_NS_PER_S,
        .block_bytes = FM_KIB(4) << world_chance(world, 5),
        .retention_ns = 3600 * FM_NS_PER_S,
    };
    options.block.codec = CODEC_SNAPPY;
    return options;
}

static void world_set_exporters(struct world *world)
{
    for (uint8_t i = 0; i < EXPORTERS; i++) {
        (void)snprintf(world->names[i], sizeof world->names[i], "out-%u", i);
        world->upstream_counts[i] = 1 + (uint32_t)world_chance(world, 3);
        world->exporter_options[i] = (struct exporter_options){
            .name = world->names[i],
            .protocol = EXPORT_HTTP,
            .codec = CODEC_NONE,
            .balance = world_chance(world, 2) ? EXPORT_FAILOVER : EXPORT_BY_TRACE,
            .requests_max = 1 + (uint32_t)world_chance(world, 6),
            .batch_spans_max = 1 + world_chance(world, 60),
            .batch_bytes_max = FM_KIB(1) << world_chance(world, 6),
            .batch_timeout_ns = world_chance(world, 500) * FM_NS_PER_MS,
            .retry_initial_ns = 100 * FM_NS_PER_MS,
            .retry_max_ns = 2 * FM_NS_PER_S,
            .from_oldest = true,
            .data_dir = DATA_DIR,
        };
        /* Shares and parts of a batch that failed in between are sent again after a crash. */
        world->may_split |= world->exporter_options[i].balance == EXPORT_BY_TRACE;
        /* So is a batch that was taken before one that was read before it. */
        world->may_overtake |= world->exporter_options[i].requests_max > 1;
    }
    world->may_split |= world_chance(world, 2);
    for (uint8_t i = 0; i < EXPORTERS && !world->may_split; i++) { /* records may be joined */
        world->exporter_options[i].batch_spans_max = SPANS_MAX;
        world->exporter_options[i].batch_bytes_max = FM_MIB(1);
    }
}

static bool world_open(struct world *world)
{
    struct upstream *upstreams[EXPORT_UPSTREAMS_MAX];
    struct fm_why why = {""};
    if (store_open(&world->store, sim_platform(world->sim), &world->options, &why) < 0) {
        world->store = NULL;
        return false;
    }
    assert_ok(exports_new(&world->exports, sim_platform(world->sim), world->store));
    for (uint8_t i = 0; i < EXPORTERS; i++) {
        for (uint32_t k = 0; k < world->upstream_counts[i]; k++)
            upstreams[k] = world_upstream_new(world, i);
        if (exports_add(world->exports, &world->exporter_options[i], upstreams,
                        world->upstream_counts[i], &why) < 0) {
            CHECK(sim_crashed(world->sim), "%s", why.text);
            return false;
        }
    }
    return true;
}

static void world_crash(struct world *world, bool keep_cache)
{
    world->crashes++;
    sim_crash(world->sim, keep_cache);
    world->exports = exports_abandon(world->exports);
    world->store = store_abandon(world->store);
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
    for (uint32_t i = 0; i < world->span_count; i++) { /* what was not settled may come again */
        for (uint8_t k = 0; k < EXPORTERS; k++)
            world->spans[i].at[k].is_acked = world->spans[i].at[k].is_settled;
    }
}

static void world_on_store_closed(void *self)
{
    struct world *world = self;
    world->store = NULL;
    world->is_closed = true;
}

static void world_on_exports_closed(void *self)
{
    struct world *world = self;
    world->exports = NULL;
    store_close(world->store, world_on_store_closed, world);
}

static void world_close(struct world *world)
{
    struct exporter_status status;
    uint64_t crashes = world->crashes;
    bool is_even[EXPORTERS];
    world->is_closed = false;
    for (uint8_t k = 0; k < EXPORTERS; k++)
        is_even[k] = exports_status(world->exports, k, &status) && !status.lag_spans;
    exports_close(world->exports, world_on_exports_closed, world);
    for (unsigned i = 0; !world->is_closed && i < 100000 && sim_step(world->sim); i++) {
    }
    CHECK(world->is_closed || sim_crashed(world->sim), "close does not come to an end");
    bool is_cut = sim_crashed(world->sim);
    for (uint32_t i = 0;
         !is_cut && !world->had_faults && !world->may_split && i < world->span_count; i++) {
        for (uint8_t k = 0; k < EXPORTERS; k++)
            world->spans[i].at[k].is_settled |=
                world->spans[i].at[k].is_acked && (is_even[k] || !world->may_overtake);
    }
    world_crash(world, !is_cut); /* the process ends: locks, handles */
    world->crashes = crashes + is_cut;
}

static void world_faults(struct world *world, bool on)
{
    static const uint32_t rates[SIM_FAULT_COUNT] = {
        [SIM_WRITE_EIO] = 20000,        [SIM_WRITE_ENOSPC] = 20000, [SIM_SYNC_EIO] = 30000,
        [SIM_READ_EIO] = 20000,         [SIM_OPEN_EIO] = 20000,     [SIM_RENAME_EIO] = 20000,
        [SIM_ALLOCATE_ENOSPC] = 100000,
    };
    world->had_faults |= on;
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
        sim_fault_rate(world->sim, (enum sim_fault)i, on && world_chance(world, 2) ? rates[i] : 0);
}

/* ---- running ---- */

/* Time passes and nothing fails: places of what was acknowledged before are on disk then.  A batch
 * of which only a part was acknowledged, or that overtook another one, has moved none. */
static void world_rest(struct world *world)
{
    struct exporter_status status;
    for (uint8_t k = 0; k < EXPORTERS; k++) {
        bool is_even = exports_status(world->exports, k, &status) && !status.lag_spans;
        for (uint32_t i = 0; i < world->span_count; i++)
            world->spans[i].at[k].is_resting =
                world->spans[i].at[k].is_acked &&
                (is_even || !(world->may_split || world->may_overtake));
    }
    sim_run(world->sim, QUIET_NS + world_chance(world, 15) * FM_NS_PER_S);
    for (uint32_t i = 0; !sim_crashed(world->sim) && !world->had_faults && i < world->span_count;
         i++) {
        for (uint8_t k = 0; k < EXPORTERS; k++)
            world->spans[i].at[k].is_settled |= world->spans[i].at[k].is_resting;
    }
}

static void world_on_flushed(void *self, int rc)
{
    (void)self;
    (void)rc;
}

static void world_one_action(struct world *world)
{
    uint64_t choice = world_chance(world, 100);
    current_step++;
    if (choice < 50) {
        for (uint64_t n = 1 + world_chance(world, 6); n; n--)
            world_append(world);
    } else if (choice < 80) {
        sim_run(world->sim, world_chance(world, 200) * FM_NS_PER_MS);
    } else if (choice < 90) {
        world_rest(world);
    } else if (choice < 93) {
        store_flush(world->store, world_on_flushed, world);
    } else {
        uint8_t which = (uint8_t)world_chance(world, EXPORTERS);
        world->is_dead[which] = !world->is_dead[which];
    }
}

static void world_life(struct world *world)
{
    if (world_chance(world, 8) == 0)
        sim_crash_at(world->sim, 1 + world_chance(world, 60));
    if (!world_open(world)) {
        world_crash(world, false);
        return;
    }
    world_faults(world, world_chance(world, 3) == 0);
    if (world_chance(world, 2))
        sim_crash_at(world->sim, 1 + world_chance(world, 500));
    uint64_t actions = 20 + world_chance(world, 60);
    for (uint64_t i = 0; i < actions && !sim_crashed(world->sim); i++)
        world_one_action(world);
    world_faults(world, false);
    if (!sim_crashed(world->sim) && world_chance(world, 2))
        world_close(world);
    else
        world_crash(world, world_chance(world, 2));
}

/* SIM-1: everything works, and time passes. */
static void world_verify(struct world *world)
{
    struct exporter_status status;
    sim_crash_at(world->sim, 0);
    world->is_kind = true;
    CHECK(world_open(world), "open");
    for (unsigned i = 0; i < 60; i++)
        sim_run(world->sim, 5 * FM_NS_PER_S);
    for (uint8_t k = 0; k < EXPORTERS; k++) {
        CHECK(exports_status(world->exports, k, &status), "exporter %u", k);
        CHECK(!status.lag_spans, "exporter %u lags by %llu spans: %s", k,
              (unsigned long long)status.lag_spans, status.problem);
        for (uint32_t i = 0; i < world->span_count; i++)
            CHECK(!world->spans[i].is_stored || world->spans[i].at[k].has_arrived ||
                      world->spans[i].at[k].is_refused,
                  "span %u of %s never came to %u", i, tenant_names[world->spans[i].tenant], k);
    }
    struct store_status store;
    store_get_status(world->store, &store);
    world->blocks = store.blocks_sealed;
    world_close(world);
}

struct totals {
    uint64_t spans, arrived, repeated, blocks, crashes, operations;
    uint32_t most;
};

static void run_seed(uint64_t seed, struct totals *totals)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world, "memory");
    assert_ok(sim_new(&world->sim, seed));
    fm_list_init(&world->requests);
    world->options = world_options(world);
    world_set_exporters(world);
    world->is_lossy = world_chance(world, 2);
    current_seed = seed;
    current_step = 0;
    for (uint64_t lives = 1 + world_chance(world, 4); lives; lives--)
        world_life(world);
    world_verify(world);
    totals->spans += world->span_count;
    totals->arrived += world->arrived;
    totals->repeated += world->repeated;
    totals->blocks += world->blocks;
    totals->most = FM_MAX(totals->most, world->most);
    totals->crashes += world->crashes;
    totals->operations += sim_operation_count(world->sim);
    sim_free(world->sim);
    free(world);
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 200;
    struct totals totals = {0};
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[++i], NULL, 10);
    }
    log_setup(getenv("SIM_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0, false, NULL);
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, &totals);
    printf(
        "sim_export: all seeds hold: %llu spans, %llu arrivals, %llu of them again, %llu blocks, "
        "%llu crashes, %llu disk operations, %u requests at a time\n",
        (unsigned long long)totals.spans, (unsigned long long)totals.arrived,
        (unsigned long long)totals.repeated, (unsigned long long)totals.blocks,
        (unsigned long long)totals.crashes, (unsigned long long)totals.operations, totals.most);
    return 0;
}
