/* SPDX-License-Identifier: Apache-2.0 */
/* sim_forward - everything that leaves the node, together: store, tail sampling, uploads to a
 * bucket and exporters, in the simulated world with power cuts, disks that fail and fill up, clocks
 * that jump, machines that sleep, and buckets and upstreams that lie.
 *
 *   sim_forward [--seeds N] [--first SEED]
 *
 * What must hold:
 *   FWD-1  the account balances after every step and after every start: received = stored +
 *          rejected, stored = uploaded + sampled out + expired + pending + dropped;
 *   FWD-2  the account never says less is stored than clients were told, nor more than they sent;
 *   FWD-3  in the end, when all faults are over, nothing is pending; as many spans as the account
 *          calls uploaded are on the bucket;
 *   FWD-5  the lanes of what is pending are those of sampler and replicator, span by span;
 *   FWD-4  without sampling every span that a client was told of is on the bucket and at the
 *          exporter's upstream.
 *
 * Then the proof about late data: a node is offline for three days, and everything is found
 * afterwards by a reader that asks the bucket for each trace in the trace's own time only.
 *
 * One seed is one run, bit for bit; a failure prints it.
 */
#include "../support/sim_bucket.h"
#include "../support/test.h"

#include "fermata/codec.h"
#include "fermata/export.h"
#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sampler.h"
#include "fermata/sim.h"
#include "fermata/store_ledger.h"
#include "fermata/store_outbox.h"
#include "fermata/units.h"

#define TENANTS   2u
#define SPANS_MAX 4000u
#define DATA_DIR  "/var/lib/fermata"
#define DAY_NS    (86400 * FM_NS_PER_S)

static uint64_t current_seed, current_step;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf(                                                                                \
                "sim_forward: seed %llu step %llu: %s:%d: %s: ", (unsigned long long)current_seed, \
                (unsigned long long)current_step, __FILE__, __LINE__, #condition);                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct span_note {
    uint32_t trace;
    uint64_t start_ns;
    bool is_error, is_told; /* told: acknowledged to the client */
    bool is_uploaded, is_exported;
};

struct request { /* one append under way: one span */
    struct store_append append;
    struct world *world;
    uint32_t span;
    uint64_t key;
    struct fm_link link;
};

#define REQUESTS_MAX 3u /* to the upstream, at a time */

struct world_exchange {
    struct world *world;
    struct export_request *request; /* NULL: free */
    struct pf_timer timer;
    bool is_cancelled;
};
struct world_upstream {
    struct upstream base;
    struct world *world;
    struct world_exchange exchanges[REQUESTS_MAX];
};

struct world {
    struct sim *sim;
    struct store *store;
    struct replicator *replicator;
    struct sampler *sampler;
    struct exports *exports;
    struct sim_bucket *bucket;
    struct store_options options;
    struct span_note spans[SPANS_MAX];
    uint32_t span_count;
    struct fm_link requests;
    bool has_sampling, has_express, is_kind, is_closed;
    uint64_t disk_bytes; /* of a disk that may fill up; 0: large */
    uint64_t crashes, jumps, checks, express;
};

static const char *const tenant_names[TENANTS] = {"single-tenant", "team-a"};

static uint64_t world_random(void *self)
{
    return sim_random(((struct world *)self)->sim);
}

static uint64_t world_chance(struct world *world, uint64_t below)
{
    return sim_random(world->sim) % below;
}

static struct trace_id world_trace_id(uint32_t trace)
{
    struct trace_id id = {{1}};
    fm_store_be64(id.bytes + 8, trace);
    return id;
}

/* ---- clients ---- */

static void request_free(struct request *request)
{
    fm_list_remove(&request->link);
    fm_buf_fini(&request->append.payload);
    free(request);
}

static void request_done(struct store_append *append, int rc)
{
    struct request *request = FM_CONTAINER(append, struct request, append);
    if (rc == FM_OK)
        request->world->spans[request->span].is_told = true;
    request_free(request);
}

static void request_fill(struct world *world, struct request *request)
{
    const struct span_note *note = &world->spans[request->span];
    struct fm_buf *buf = &request->append.payload;
    struct trace_id id = world_trace_id(note->trace);
    uint8_t span_id[8];
    fm_store_be64(span_id, request->span + 1);
    request->key = trace_id_key(id.bytes);
    fm_buf_init(buf, FM_KIB(64));
    size_t resource_spans = pb_begin(buf, 1), scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id.bytes, sizeof id.bytes));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, "operation");
    pb_put_fixed64(buf, 7, note->start_ns);
    pb_put_fixed64(buf, 8, note->start_ns + FM_NS_PER_MS);
    if (note->is_error) {
        size_t status = pb_begin(buf, 15);
        pb_put_u64(buf, 3, 2);
        pb_end(buf, status);
    }
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
    CHECK(!buf->failed, "payload");
}

static void world_send(struct world *world, uint32_t trace, bool is_error)
{
    uint64_t now_ns = pf_wall_ns(sim_platform(world->sim));
    if (world->span_count == SPANS_MAX)
        return;
    struct request *request = calloc(1, sizeof *request);
    CHECK(request, "memory");
    request->world = world;
    request->span = world->span_count++;
    world->spans[request->span] =
        (struct span_note){.trace = trace, .start_ns = now_ns, .is_error = is_error};
    fm_list_append(&world->requests, &request->link);
    request_fill(world, request);
    request->append.tenant = fm_slice_text(tenant_names[trace % 5 == 0]);
    request->append.span_count = 1;
    request->append.trace_keys = &request->key;
    request->append.trace_key_count = 1;
    request->append.start_min_ns = now_ns;
    request->append.end_max_ns = now_ns + FM_NS_PER_MS;
    request->append.received_unix_ns = now_ns;
    request->append.done = request_done;
    store_append(world->store, &request->append);
}

/* ---- what arrives ---- */

typedef void span_visit(struct world *world, uint64_t number);

static void otlp_each_span(struct world *world, struct fm_slice otlp, span_visit *visit)
{
    struct pb_field resource, scope, span, field;
    while (pb_next(&otlp, &resource) == FM_OK) {
        struct fm_slice in_resource = resource.bytes;
        while (resource.number == 1 && pb_next(&in_resource, &scope) == FM_OK) {
            struct fm_slice in_scope = scope.bytes;
            while (scope.number == 2 && pb_next(&in_scope, &span) == FM_OK) {
                struct fm_slice in_span = span.bytes;
                while (span.number == 2 && pb_next(&in_span, &field) == FM_OK) {
                    if (field.number == 2 && field.type == PB_BYTES && field.bytes.len == 8)
                        visit(world, fm_load_be64(field.bytes.ptr) - 1);
                }
            }
        }
    }
}

static void span_uploaded(struct world *world, uint64_t number)
{
    CHECK(number < world->span_count, "a span that nobody sent is on the bucket");
    world->spans[number].is_uploaded = true;
}

static void span_exported(struct world *world, uint64_t number)
{
    CHECK(number < world->span_count, "a span that nobody sent was exported");
    world->spans[number].is_exported = true;
}

struct bucket_block { /* of the bucket, opened */
    struct block_meta meta;
    struct block *block; /* owned; reads data */
    struct fm_slice data;
};

static const struct sim_bucket_object *bucket_data(const struct world *world, const char *meta_key)
{
    char key[512];
    int folder = (int)(strrchr(meta_key, '/') - meta_key);
    (void)snprintf(key, sizeof key, "%.*s/data.parquet", folder, meta_key);
    const struct sim_bucket_object *object = sim_bucket_find(world->bucket, key);
    CHECK(object, "%s is visible without its data", meta_key);
    return object;
}

/* false: the object is not a meta.json. */
static bool bucket_block_open(struct world *world, const struct sim_bucket_object *object,
                              struct bucket_block *ret_block)
{
    struct fm_why why = {""};
    const char *slash = strrchr(object->key, '/');
    if (!slash || strcmp(slash, "/meta.json") != 0)
        return false;
    int rc = block_meta_parse(fm_buf_slice(&object->content), &ret_block->meta, &why);
    CHECK(rc == FM_OK, "%s: %s", object->key, why.text);
    ret_block->data = fm_buf_slice(&bucket_data(world, object->key)->content);
    rc = block_open(&ret_block->block, fm_source_memory(&ret_block->data), &ret_block->meta, &why);
    CHECK(rc == FM_OK, "%s: %s", object->key, why.text);
    return true;
}

static int bucket_visit(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    (void)id;
    otlp_each_span(self, otlp, span_uploaded);
    return FM_OK;
}

static void world_read_bucket(struct world *world)
{
    static struct bucket_block block;
    struct fm_why why = {""};
    for (size_t i = 0; i < sim_bucket_count(world->bucket); i++) {
        const struct sim_bucket_object *object = sim_bucket_at(world->bucket, i);
        if (!bucket_block_open(world, object, &block))
            continue;
        CHECK(block_each_trace(block.block, bucket_visit, world, &why) == FM_OK, "%s", why.text);
        block.block = block_free(block.block);
    }
}

static void upstream_on_timer(struct pf_timer *timer)
{
    struct world_exchange *exchange = FM_CONTAINER(timer, struct world_exchange, timer);
    struct world *world = exchange->world;
    struct export_request *request = fm_take(exchange->request);
    uint64_t choice = world_chance(world, 10);
    request->outcome = exchange->is_cancelled          ? EXPORT_CANCELLED
                       : world->is_kind || choice >= 3 ? EXPORT_SENT
                       : choice == 0                   ? EXPORT_BUSY
                                                       : EXPORT_UNREACHABLE;
    /* It may have come although the answer was lost. */
    if (request->outcome == EXPORT_SENT || choice == 1)
        otlp_each_span(world, request->body, span_exported);
    request->done(request);
}

static void world_upstream_send(struct upstream *upstream, struct export_request *request)
{
    struct world_upstream *up = FM_CONTAINER(upstream, struct world_upstream, base);
    struct world_exchange *exchange = up->exchanges;
    while (exchange->request)
        exchange++;
    *exchange = (struct world_exchange){up->world, request, {.fire = upstream_on_timer}, false};
    pf_timer_start(sim_platform(up->world->sim), &exchange->timer,
                   world_chance(up->world, 30) * FM_NS_PER_MS);
}

static void world_upstream_cancel(struct upstream *upstream, struct export_request *request)
{
    struct world_upstream *up = FM_CONTAINER(upstream, struct world_upstream, base);
    for (size_t i = 0; i < REQUESTS_MAX; i++)
        up->exchanges[i].is_cancelled |= up->exchanges[i].request == request;
}

static struct upstream *world_upstream_free(struct upstream *upstream)
{
    free(FM_CONTAINER(upstream, struct world_upstream, base));
    return NULL;
}

static struct upstream *world_upstream_new(struct world *world)
{
    static const struct upstream_ops ops = {
        .send = world_upstream_send, .cancel = world_upstream_cancel, .free = world_upstream_free};
    struct world_upstream *up = calloc(1, sizeof *up);
    CHECK(up, "memory");
    up->base.ops = &ops;
    up->world = world;
    return &up->base;
}

/* ---- the account ---- */

/* FWD-5.  Of a block that is sampled the account waits until all of its group has left. */
static void world_check_lanes(struct world *world, const struct ledger_row *total)
{
    struct sampler_status sampler;
    struct replicator_status replicator;
    sampler_get_status(world->sampler, &sampler);
    replicator_get_status(world->replicator, &replicator);
    uint64_t known = total->spans[LEDGER_PENDING_FRESH] + total->spans[LEDGER_PENDING_BACKLOG];
    uint64_t queued = replicator.lanes[UPLOAD_FRESH].spans + replicator.lanes[UPLOAD_BACKLOG].spans;
    CHECK(total->spans[LEDGER_PENDING_DECIDING] == sampler.undecided_spans,
          "%llu spans wait for a decision, %llu of them in the account",
          (unsigned long long)sampler.undecided_spans,
          (unsigned long long)total->spans[LEDGER_PENDING_DECIDING]);
    CHECK(world->has_sampling ? queued <= known : queued == known,
          "%llu spans wait for the bucket, %llu of them in the account", (unsigned long long)queued,
          (unsigned long long)known);
    CHECK(total->spans[LEDGER_PENDING_EXPRESS] <= replicator.lanes[UPLOAD_EXPRESS].spans,
          "%llu spans wait in the express lane, %llu of them in the account",
          (unsigned long long)replicator.lanes[UPLOAD_EXPRESS].spans,
          (unsigned long long)total->spans[LEDGER_PENDING_EXPRESS]);
    world->express += total->spans[LEDGER_PENDING_EXPRESS] != 0;
}

/* FWD-1, FWD-2. */
static void world_check_account(struct world *world)
{
    struct ledger ledger;
    struct ledger_row total;
    struct fm_why why = {""};
    uint64_t told = 0;
    if (!world->store || sim_crashed(world->sim))
        return;
    CHECK(store_ledger_check(world->store, &why), "%s", why.text);
    assert_ok(store_ledger_read(world->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    for (uint32_t i = 0; i < world->span_count; i++)
        told += world->spans[i].is_told;
    world_check_lanes(world, &total);
    CHECK(ledger_stored(&total) <= world->span_count, "%llu stored of %u that were sent",
          (unsigned long long)ledger_stored(&total), world->span_count);
    CHECK(ledger_stored(&total) >= told, "%llu stored, clients were told of %llu",
          (unsigned long long)ledger_stored(&total), (unsigned long long)told);
    world->checks++;
}

/* ---- lives ---- */

static struct sample_rules *world_rules(void)
{
    static const struct sample_rule rule = {
        .kind = SAMPLE_STATUS_CODE, .name = "errors", .status_codes = "error"};
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    CHECK(sample_rules_new(&rules, &rule, 1, "0", &fault) == FM_OK, "%s", fault.why.text);
    return rules;
}

static void world_open_exports(struct world *world)
{
    struct upstream *upstreams[1] = {world_upstream_new(world)};
    const struct exporter_options options = {
        .name = "out",
        .protocol = EXPORT_HTTP,
        .codec = CODEC_NONE,
        .requests_max = REQUESTS_MAX,
        .batch_spans_max = 50,
        .batch_bytes_max = FM_MIB(1),
        .batch_timeout_ns = 100 * FM_NS_PER_MS,
        .retry_initial_ns = 100 * FM_NS_PER_MS,
        .retry_max_ns = 2 * FM_NS_PER_S,
        .from_oldest = true,
        .sampled_only = world->has_sampling,
        .data_dir = DATA_DIR,
    };
    struct fm_why why = {""};
    assert_ok(exports_new(&world->exports, sim_platform(world->sim), world->store));
    int rc = exports_add(world->exports, &options, upstreams, 1, &why);
    CHECK(rc == FM_OK || sim_crashed(world->sim), "%s", why.text);
}

static bool world_open(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    const struct replicator_options replicator = {.concurrency_max = 2,
                                                  .retry_cap_ns = 300 * FM_NS_PER_S};
    struct sampler_options sampler = {
        .decision_wait_ns = 10 * FM_NS_PER_S,
        .urgent_interval_ns = 5 * FM_NS_PER_S,
        .verdict_bytes_max = FM_KIB(64),
        .memory_max = FM_MIB(4),
    };
    struct fm_why why = {""};
    if (store_open(&world->store, platform, &world->options, &why) < 0) {
        world->store = NULL;
        return false;
    }
    assert_ok(replicator_new(&world->replicator, platform, world->store,
                             sim_bucket_attach(world->bucket, platform), &replicator));
    sampler.next = (struct store_observer){.on_sealed = replicator_on_sealed,
                                           .on_dropped = replicator_on_dropped,
                                           .lane_of = replicator_lane_of,
                                           .self = world->replicator};
    sampler.rules = world->has_sampling ? world_rules() : NULL;
    sampler.urgent_rules = world->has_express ? world_rules() : NULL;
    CHECK(sampler_new(&world->sampler, platform, world->store, &sampler, &why) == FM_OK, "%s",
          why.text);
    const struct store_observer observer = {.on_sealed = sampler_on_sealed,
                                            .on_dropped = sampler_on_dropped,
                                            .lane_of = sampler_lane_of,
                                            .self = world->sampler};
    store_set_observer(world->store, &observer);
    world_open_exports(world);
    return true;
}

static void world_crash(struct world *world, bool keep_cache)
{
    world->crashes++;
    sim_bucket_crash(world->bucket);
    sim_crash(world->sim, keep_cache);
    world->exports = exports_abandon(world->exports);
    world->sampler = sampler_abandon(world->sampler);
    world->replicator = replicator_abandon(world->replicator);
    world->store = store_abandon(world->store);
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
}

static void world_on_closed(void *self)
{
    ((struct world *)self)->is_closed = true;
}

static bool world_wait(struct world *world)
{
    for (unsigned i = 0; !world->is_closed && i < 100000 && sim_step(world->sim); i++) {
    }
    CHECK(world->is_closed || sim_crashed(world->sim), "close does not come to an end");
    bool is_closed = world->is_closed;
    world->is_closed = false;
    return is_closed;
}

/* In the order of the daemon; a power cut may come in between. */
static void world_close(struct world *world)
{
    const struct store_observer nobody = {0};
    world->is_closed = false;
    exports_close(world->exports, world_on_closed, world);
    if (!world_wait(world)) {
        world_crash(world, false);
        return;
    }
    world->exports = NULL;
    sampler_close(world->sampler, world_on_closed, world);
    if (!world_wait(world)) {
        world_crash(world, false);
        return;
    }
    world->sampler = NULL;
    store_set_observer(world->store, &nobody);
    replicator_close(world->replicator, world_on_closed, world);
    if (!world_wait(world)) {
        world_crash(world, false);
        return;
    }
    world->replicator = NULL;
    store_close(world->store, world_on_closed, world);
    bool is_done = world_wait(world);
    if (is_done)
        world->store = NULL;
    world_crash(world, is_done); /* the process ends: locks, handles */
}

static void world_disk_faults(struct world *world, bool on)
{
    static const uint32_t rates[SIM_FAULT_COUNT] = {
        [SIM_WRITE_EIO] = 10000, [SIM_WRITE_ENOSPC] = 10000, [SIM_SYNC_EIO] = 10000,
        [SIM_READ_EIO] = 3000,   [SIM_OPEN_EIO] = 3000,      [SIM_RENAME_EIO] = 10000,
    };
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
        sim_fault_rate(world->sim, (enum sim_fault)i, on && world_chance(world, 2) ? rates[i] : 0);
}

static void world_bucket_faults(struct world *world, bool on)
{
    static const enum s3_outcome outages[] = {S3_TRANSIENT, S3_AUTH, S3_SLOW_DOWN, S3_NO_BUCKET};
    struct sim_bucket_faults faults = {0};
    bool is_out = on && world_chance(world, 4) == 0;
    if (on) {
        faults.fail_before = (uint32_t)world_chance(world, 400000);
        faults.fail_after = (uint32_t)world_chance(world, 300000);
        faults.commit_late = (uint32_t)world_chance(world, 200000);
        faults.conflict = (uint32_t)world_chance(world, 300000);
        faults.stall = (uint32_t)world_chance(world, 50000);
    }
    sim_bucket_set_faults(world->bucket, &faults);
    sim_bucket_set_outage(world->bucket,
                          is_out ? outages[world_chance(world, FM_COUNT(outages))] : S3_DONE);
}

static void world_jump(struct world *world)
{
    static const int64_t jumps_s[] = {-3600, -5, 7, 4000, 10 * 365 * 86400, -10 * 365 * 86400};
    uint64_t wall_ns = pf_wall_ns(sim_platform(world->sim));
    int64_t jump_s = jumps_s[world_chance(world, FM_COUNT(jumps_s))];
    world->jumps++;
    if (world_chance(world, 3) == 0)
        sim_suspend(world->sim, world_chance(world, 86400) * FM_NS_PER_S);
    else
        sim_wall_set(world->sim, (uint64_t)((int64_t)wall_ns + jump_s * (int64_t)FM_NS_PER_S));
}

static void world_on_flushed(void *self, int rc)
{
    (void)self;
    (void)rc; /* what was not cut stays in the log and is asked for at the end */
}

static void world_one_action(struct world *world)
{
    uint64_t choice = world_chance(world, 100);
    current_step++;
    if (choice < 50) {
        for (uint64_t n = 1 + world_chance(world, 8); n; n--)
            world_send(world, world->span_count / 6 + (uint32_t)world_chance(world, 4),
                       world_chance(world, 10) == 0);
    } else if (choice < 72) {
        sim_run(world->sim, world_chance(world, 2000) * FM_NS_PER_MS);
    } else if (choice < 84) {
        sim_run(world->sim, world_chance(world, 60) * FM_NS_PER_S);
    } else if (choice < 92) {
        store_flush(world->store, world_on_flushed, world);
    } else if (choice < 97) {
        world_bucket_faults(world, world_chance(world, 3) != 0);
    } else {
        world_jump(world);
    }
    world_check_account(world);
}

static void world_life(struct world *world)
{
    bool has_disk_faults = world_chance(world, 3) == 0;
    world_disk_faults(world, false);
    sim_disk_capacity(world->sim, 0);
    if (!world_open(world)) {
        world_crash(world, false);
        return;
    }
    world_check_account(world);
    world_disk_faults(world, has_disk_faults);
    world_bucket_faults(world, true);
    sim_disk_capacity(world->sim, world->disk_bytes);
    if (world_chance(world, 3))
        sim_crash_at(world->sim, 1 + world_chance(world, 900));
    uint64_t actions = 20 + world_chance(world, 60);
    for (uint64_t i = 0; i < actions && !sim_crashed(world->sim); i++)
        world_one_action(world);
    if (!sim_crashed(world->sim) && world_chance(world, 3) == 0)
        world_close(world);
    else
        world_crash(world, world_chance(world, 2));
}

/* ---- the end: faults are over ---- */

static uint64_t world_pending(const struct world *world)
{
    struct ledger ledger;
    struct ledger_row total;
    struct exporter_status exporter = {0};
    assert_ok(store_ledger_read(world->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    CHECK(exports_status(world->exports, 0, &exporter), "no exporter");
    return ledger_pending(&total) + exporter.lag_spans;
}

static void world_drain(struct world *world)
{
    for (unsigned minutes = 0; minutes < 180 && (minutes < 2 || world_pending(world)); minutes++) {
        store_flush(world->store, world_on_flushed, world);
        sim_run(world->sim, 60 * FM_NS_PER_S);
        world_check_account(world);
    }
    struct replicator_status status;
    replicator_get_status(world->replicator, &status);
    struct exporter_status exporter = {0};
    CHECK(exports_status(world->exports, 0, &exporter), "no exporter");
    CHECK(!world_pending(world),
          "%llu spans wait after three hours without faults, %llu of them for the exporter: %s%s",
          (unsigned long long)world_pending(world), (unsigned long long)exporter.lag_spans,
          status.problem, exporter.problem);
}

/* FWD-3, FWD-4. */
static void world_verify(struct world *world)
{
    struct ledger ledger;
    struct ledger_row total;
    uint64_t uploaded = 0;
    world_read_bucket(world);
    assert_ok(store_ledger_read(world->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    for (uint32_t i = 0; i < world->span_count; i++) {
        const struct span_note *note = &world->spans[i];
        uploaded += note->is_uploaded;
        if (world->has_sampling)
            continue;
        CHECK(!note->is_told || note->is_uploaded, "span %u is not on the bucket", i);
        CHECK(!note->is_told || note->is_exported, "span %u was not exported", i);
    }
    CHECK(total.spans[LEDGER_UPLOADED] == uploaded, "%llu uploaded, %llu are on the bucket",
          (unsigned long long)total.spans[LEDGER_UPLOADED], (unsigned long long)uploaded);
    CHECK(world->has_sampling || total.spans[LEDGER_SAMPLED_OUT] == 0, "sampled out");
}

static void world_finish(struct world *world)
{
    world_disk_faults(world, false);
    world_bucket_faults(world, false);
    sim_disk_capacity(world->sim, 0);
    sim_crash_at(world->sim, 0);
    world->is_kind = true;
    CHECK(world_open(world), "the store does not open on a healthy disk");
    world_drain(world);
    world_verify(world);
    world_close(world);
}

struct totals {
    uint64_t spans, uploaded, checks, express, crashes, jumps, requests, operations;
};

static struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world, "memory");
    current_seed = seed;
    current_step = 0;
    assert_ok(sim_new(&world->sim, seed));
    fm_list_init(&world->requests);
    world->bucket = sim_bucket_new(world_random, world);
    world->options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {1, 2, 3, 4},
        .sync = STORE_SYNC_GROUP,
        .segment_bytes = FM_KIB(16),
        .compress = true,
        .pending_bytes_max = FM_KIB(64),
        .head_bytes_max = FM_KIB(512),
        .block = block_options_default,
        .block_age_ns = (10 + world_chance(world, 60)) * FM_NS_PER_S,
        .block_bytes = FM_KIB(16),
        .retention_ns = 30 * DAY_NS,
        .retention_sampled_out_ns = 30 * DAY_NS,
    };
    world->options.block.codec = CODEC_SNAPPY; /* a zstd decoder costs more than the rest */
    return world;
}

static void world_free(struct world *world, struct totals *totals)
{
    totals->spans += world->span_count;
    for (uint32_t i = 0; i < world->span_count; i++)
        totals->uploaded += world->spans[i].is_uploaded;
    totals->checks += world->checks;
    totals->express += world->express;
    totals->crashes += world->crashes;
    totals->jumps += world->jumps;
    totals->requests += sim_bucket_requests(world->bucket);
    totals->operations += sim_operation_count(world->sim);
    sim_bucket_free(world->bucket);
    sim_free(world->sim);
    free(world);
}

static void run_seed(uint64_t seed, struct totals *totals)
{
    struct world *world = world_new(seed);
    world->has_sampling = world_chance(world, 2);
    world->has_express = world->has_sampling && world_chance(world, 2);
    world->disk_bytes = world_chance(world, 4) ? 0 : FM_KIB(300 + world_chance(world, 700));
    if (world_chance(world, 2))
        world->options.merge_bytes_max = FM_KIB(256);
    for (uint64_t lives = 1 + world_chance(world, 4); lives; lives--)
        world_life(world);
    world_finish(world);
    world_free(world, totals);
}

/* ---- late data ---- */

#define LATE_BLOCKS_MAX 512u

struct late_reader { /* of the whole bucket */
    struct bucket_block blocks[LATE_BLOCKS_MAX];
    size_t count;
};

/* Compaction and retention go by a block's end: it must be of the hour of its data. */
static void late_open(struct world *world, struct late_reader *reader)
{
    for (size_t i = 0; i < sim_bucket_count(world->bucket); i++) {
        CHECK(reader->count < LATE_BLOCKS_MAX, "too many blocks");
        struct bucket_block *block = &reader->blocks[reader->count];
        if (!bucket_block_open(world, sim_bucket_at(world->bucket, i), block))
            continue;
        uint64_t range_ns = block->meta.end_ns - block->meta.start_ns;
        CHECK(range_ns <= 2 * 3600 * FM_NS_PER_S, "a block of %llu seconds",
              (unsigned long long)(range_ns / FM_NS_PER_S));
        reader->count++;
    }
}

/* As a reader does it that is given the trace's time: only blocks whose range meets it. */
static bool late_find(const struct late_reader *reader, const struct span_note *note)
{
    struct trace_id id = world_trace_id(note->trace);
    bool is_found = false;
    for (size_t i = 0; i < reader->count && !is_found; i++) {
        const struct bucket_block *block = &reader->blocks[i];
        struct fm_why why = {""};
        struct fm_buf otlp;
        if (block->meta.start_ns > note->start_ns + FM_NS_PER_MS ||
            block->meta.end_ns < note->start_ns)
            continue;
        fm_buf_init(&otlp, FM_MIB(1));
        int rc = block_find_trace(block->block, &id, &otlp, NULL, &why);
        CHECK(rc >= 0, "%s", why.text);
        is_found = rc == FM_OK;
        fm_buf_fini(&otlp);
    }
    return is_found;
}

static void late_data_proof(struct totals *totals)
{
    struct world *world = world_new(1);
    struct late_reader *reader = calloc(1, sizeof *reader);
    struct replicator_status status;
    CHECK(reader, "memory");
    world->is_kind = true;
    world->options.block_age_ns = 900 * FM_NS_PER_S;
    world->options.block_bytes = FM_MIB(16);
    world->options.block_align_ns = 3600 * FM_NS_PER_S;
    CHECK(world_open(world), "open");
    sim_bucket_set_outage(world->bucket, S3_TRANSIENT);
    uint64_t begin_ns = pf_now_ns(sim_platform(world->sim));
    for (uint32_t trace = 0; trace < 1000; trace++) { /* every 4.3 minutes two spans */
        world_send(world, trace, false);
        world_send(world, trace, false);
        sim_run(world->sim, 3 * DAY_NS / 1000);
        if (trace % 211 == 210) { /* and restarts */
            world_crash(world, false);
            CHECK(world_open(world), "open");
        }
        world_check_account(world);
    }
    uint64_t offline_ns = pf_now_ns(sim_platform(world->sim)) - begin_ns;
    CHECK(offline_ns >= 3 * DAY_NS, "not three days");
    CHECK(sim_bucket_count(world->bucket) == 0, "something was uploaded meanwhile");
    replicator_get_status(world->replicator, &status);
    CHECK(status.pending_blocks >= 72, "%llu blocks wait",
          (unsigned long long)status.pending_blocks);
    sim_bucket_set_outage(world->bucket, S3_DONE);
    world_drain(world);
    world_verify(world);
    late_open(world, reader);
    for (uint32_t i = 0; i < world->span_count; i++) {
        CHECK(world->spans[i].is_told, "span %u was refused", i);
        CHECK(late_find(reader, &world->spans[i]), "trace %u is not found in its own time",
              world->spans[i].trace);
    }
    for (size_t i = 0; i < reader->count; i++)
        (void)block_free(reader->blocks[i].block);
    free(reader);
    world_close(world);
    world_free(world, totals);
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 200;
    struct totals totals = {0}, late = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[i + 1], NULL, 10);
    }
    log_setup(getenv("SIM_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0, false, NULL);
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, &totals);
    late_data_proof(&late);
    printf("sim_forward: all seeds hold: %llu spans, %llu on the bucket, %llu times the account "
           "balanced, %llu of them with something in the express lane, %llu crashes, %llu jumps of "
           "the clock, %llu requests, %llu disk operations; "
           "three days offline: %llu spans, all found in their own time\n",
           (unsigned long long)totals.spans, (unsigned long long)totals.uploaded,
           (unsigned long long)totals.checks, (unsigned long long)totals.express,
           (unsigned long long)totals.crashes, (unsigned long long)totals.jumps,
           (unsigned long long)totals.requests, (unsigned long long)totals.operations,
           (unsigned long long)late.spans);
    return 0;
}
