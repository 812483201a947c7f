/* SPDX-License-Identifier: Apache-2.0 */
/* sim_sample - tail sampling over a store in the simulated world: restarts at any moment, late
 * spans, faults, power cuts; uploads that take their time, and a cursor that reads what is kept.
 *
 *   sim_sample [--seeds N] [--first SEED]
 *
 * What must hold:
 *   SIM-1  of a trace without an error nothing leaves the node (but in a block that damage made
 *          unreadable, of which there is none without faults);
 *   SIM-2  without faults, of every trace all spans leave or none; of one that had an error before
 *          any of its spans could be judged, all;
 *   SIM-3  no span leaves in two blocks, unless it left ahead in an express one, and none in two
 *          of these, whatever crashes come in between;
 *   SIM-4  in the end nothing waits, and the account says: kept + sampled out = stored;
 *   SIM-5  the cursor reads what is kept: without faults, every span of it, and nothing else.
 * One seed is one run, bit for bit; a failure prints it.
 */
#include "../support/test.h"

#include "fermata/block_traces.h"
#include "fermata/codec.h"
#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sampler.h"
#include "fermata/sim.h"
#include "fermata/store_cursor.h"
#include "fermata/store_decide.h"
#include "fermata/store_ledger.h"
#include "fermata/store_outbox.h"
#include "fermata/units.h"

#define TENANTS   2u
#define TRACES    400u
#define SPANS_MAX 3000u
#define DATA_DIR  "/var/lib/fermata"
#define START_NS  UINT64_C(1763690000000000000)

static uint64_t current_seed, current_step;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf(                                                                                \
                "sim_sample: seed %llu step %llu: %s:%d: %s: ", (unsigned long long)current_seed,  \
                (unsigned long long)current_step, __FILE__, __LINE__, #condition);                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct span_note {
    uint32_t trace;
    bool is_stored, is_error;
    bool has_left, is_read;
    bool went_ahead; /* in an express block: */
    struct block_id ahead_in;
    struct block_id left_in; /* has_left */
};

struct trace_note {
    bool has_error;   /* in any of its spans that were sent */
    bool error_first; /* its first span was one, and stored before the next was sent */
    uint32_t span_count;
};

struct request { /* one append under way: one span */
    struct store_append append;
    struct world *world;
    uint32_t span;
    uint64_t key;
    struct fm_link link;
};

struct upload { /* a block that is on its way */
    struct fm_link link;
    struct world *world;
    struct store_block *block; /* with a reference */
    struct pf_timer timer;
};

struct world {
    struct sim *sim;
    struct store *store;
    struct sampler *sampler;
    struct store_options options;
    struct sampler_options sampler_options;
    struct span_note spans[SPANS_MAX];
    uint32_t span_count;
    struct trace_note traces[TRACES];
    uint32_t trace_count; /* that have begun */
    struct fm_link requests, uploads;
    struct store_cursor *cursor;
    struct store_cursor_read read;
    struct fm_buf read_otlp;
    struct store_place places[TENANTS]; /* as if kept on disk at once */
    bool is_reading, has_express;
    bool had_faults, is_kind, is_closed;
    uint64_t crashes, blocks, outgoing, ahead;
};

static const char *const tenant_names[TENANTS] = {"single-tenant", "team-a"};

static uint64_t world_chance(struct world *world, uint64_t below)
{
    return sim_random(world->sim) % below;
}

static uint32_t trace_tenant(uint32_t trace)
{
    return trace % 5 == 0;
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
        request->world->spans[request->span].is_stored = true;
    request_free(request);
}

static void request_fill(struct world *world, struct request *request)
{
    const struct span_note *note = &world->spans[request->span];
    struct fm_buf *buf = &request->append.payload;
    uint8_t id[16] = {1}, span_id[8];
    fm_store_be64(id + 8, note->trace);
    fm_store_be64(span_id, request->span + 1);
    request->key = trace_id_key(id);
    fm_buf_init(buf, FM_KIB(64));
    size_t resource_spans = pb_begin(buf, 1), scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(id, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, "operation");
    pb_put_fixed64(buf, 7, START_NS + request->span * FM_NS_PER_MS);
    pb_put_fixed64(buf, 8, START_NS + (request->span + 1) * FM_NS_PER_MS);
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
    struct request *request = calloc(1, sizeof *request);
    CHECK(request, "memory");
    request->world = world;
    request->span = world->span_count++;
    world->spans[request->span] = (struct span_note){.trace = trace, .is_error = is_error};
    world->traces[trace].has_error |= is_error;
    world->traces[trace].span_count++;
    fm_list_append(&world->requests, &request->link);
    request_fill(world, request);
    request->append.tenant = fm_slice_text(tenant_names[trace_tenant(trace)]);
    request->append.span_count = 1;
    request->append.trace_keys = &request->key;
    request->append.trace_key_count = 1;
    request->append.start_min_ns = START_NS;
    request->append.end_max_ns = START_NS + SPANS_MAX * FM_NS_PER_MS;
    request->append.received_unix_ns = pf_wall_ns(sim_platform(world->sim));
    request->append.done = request_done;
    store_append(world->store, &request->append);
}

/* A new trace, or one more span of an old one. */
static void world_append(struct world *world)
{
    bool is_new = world->trace_count < TRACES && world_chance(world, 3) == 0;
    if (world->span_count == SPANS_MAX || (!is_new && !world->trace_count))
        return;
    uint32_t last = world->trace_count, near = FM_MIN(last, 12u);
    if (!is_new) {
        uint32_t back = 1 + (uint32_t)world_chance(world, world_chance(world, 6) ? near : last);
        world_send(world, last - back, world_chance(world, 12) == 0);
        return;
    }
    world->trace_count++;
    bool is_error = world_chance(world, 3) == 0;
    uint32_t number = world->span_count;
    world_send(world, last, is_error);
    if (!is_error)
        return;
    for (unsigned i = 0; i < 200 && !world->spans[number].is_stored && sim_step(world->sim); i++) {
    }
    world->traces[last].error_first = world->spans[number].is_stored;
}

/* ---- what leaves ---- */

static bool span_note_left(struct world *world, const struct store_block *block, uint64_t number)
{
    CHECK(number < world->span_count, "a span that nobody sent");
    struct span_note *note = &world->spans[number];
    const struct trace_note *trace = &world->traces[note->trace];
    CHECK(trace->has_error || world->had_faults, "span %llu of trace %u has left",
          (unsigned long long)number, note->trace);
    if (block->lane == STORE_LANE_EXPRESS) {
        CHECK(!note->went_ahead || world->had_faults ||
                  memcmp(&note->ahead_in, &block->meta.id, sizeof note->ahead_in) == 0,
              "span %llu went ahead twice", (unsigned long long)number);
        world->ahead += !note->went_ahead;
        note->went_ahead = true;
        note->ahead_in = block->meta.id;
        return true;
    }
    CHECK(!note->has_left || memcmp(&note->left_in, &block->meta.id, sizeof note->left_in) == 0,
          "span %llu has left in two blocks", (unsigned long long)number);
    note->has_left = true;
    note->left_in = block->meta.id;
    return true;
}

typedef bool span_visit(struct world *world, const struct store_block *block, uint64_t number);

static void otlp_each_span(struct world *world, const struct store_block *block,
                           struct fm_slice otlp, span_visit *visit)
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
                        visit(world, block, fm_load_be64(field.bytes.ptr) - 1);
                }
            }
        }
    }
}

/* All of it or nothing: a disk that fails is tried again. */
static int block_read(struct world *world, const struct store_block *block, struct fm_buf *otlp)
{
    FM_AUTO(block) opened = NULL;
    FM_AUTO(block_traces) traces = NULL;
    struct pf_source file;
    struct fm_source data;
    struct fm_why why;
    char path[600];
    (void)snprintf(path, sizeof path, "%s/data.parquet", block->path);
    int rc = pf_source_open(&file, sim_platform(world->sim), path, &data, &why);
    if (rc < 0)
        return rc;
    rc = block_open(&opened, data, &block->meta, &why);
    if (rc == FM_OK)
        rc = block_traces_new(&traces, opened, 0);
    while (rc == FM_OK)
        rc = block_traces_next(traces, NULL, otlp, &why);
    traces = block_traces_free(traces);
    opened = block_free(opened);
    pf_source_close(&file);
    return rc == FM_END ? FM_OK : rc;
}

static void upload_free(struct upload *upload)
{
    fm_list_remove(&upload->link);
    free(upload);
}

static void upload_on_marked(void *self, int rc)
{
    struct upload *upload = self;
    struct world *world = upload->world;
    if (rc < 0 && rc != FM_ECLOSED) {
        pf_timer_start(sim_platform(world->sim), &upload->timer, FM_NS_PER_S);
        return;
    }
    store_block_unref(world->store, upload->block);
    upload_free(upload);
}

static void upload_on_timer(struct pf_timer *timer)
{
    struct upload *upload = FM_CONTAINER(timer, struct upload, timer);
    struct world *world = upload->world;
    struct fm_buf otlp;
    fm_buf_init(&otlp, FM_MIB(16));
    int rc = block_read(world, upload->block, &otlp);
    if (rc == FM_OK) {
        otlp_each_span(world, upload->block, fm_buf_slice(&otlp), span_note_left);
        world->blocks++;
        world->outgoing += upload->block->is_outgoing;
        store_block_uploaded(world->store, upload->block, upload_on_marked, upload);
    } else {
        CHECK(world->had_faults || sim_crashed(world->sim), "%s cannot be read: %s",
              upload->block->path, fm_rc_text(rc));
        pf_timer_start(sim_platform(world->sim), timer, FM_NS_PER_S);
    }
    fm_buf_fini(&otlp);
}

static void world_on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    if (store_block_is_uploaded(world->store, block))
        return;
    struct upload *upload = calloc(1, sizeof *upload);
    CHECK(upload, "memory");
    upload->world = world;
    upload->block = block;
    upload->timer.fire = upload_on_timer;
    store_block_ref(block);
    fm_list_append(&world->uploads, &upload->link);
    pf_timer_start(sim_platform(world->sim), &upload->timer, world_chance(world, 20) * FM_NS_PER_S);
}

/* ---- who reads what is kept ---- */

static bool span_note_read(struct world *world, const struct store_block *block, uint64_t number)
{
    (void)block;
    CHECK(number < world->span_count, "a span that nobody sent");
    struct span_note *note = &world->spans[number];
    CHECK(!note->is_read || world->had_faults || world->crashes, "span %llu is read again",
          (unsigned long long)number);
    CHECK(world->traces[note->trace].has_error || world->had_faults, "span %llu is not kept",
          (unsigned long long)number);
    note->is_read = true;
    return true;
}

static uint32_t tenant_index(const char *name)
{
    return strcmp(name, tenant_names[1]) == 0;
}

static void world_read_next(struct world *world);

static void world_on_read(struct store_cursor_read *read, int rc)
{
    struct world *world = read->self;
    world->is_reading = false;
    if (rc != FM_OK)
        return;
    otlp_each_span(world, NULL, fm_buf_slice(&world->read_otlp), span_note_read);
    store_cursor_advance(world->cursor, read->tenant, &read->end);
    store_cursor_saved(world->cursor, read->tenant, read->end.lsn);
    world->places[tenant_index(store_cursor_tenant(world->cursor, read->tenant))] = read->end;
}

static void world_read_next(struct world *world)
{
    size_t count = store_cursor_tenant_count(world->cursor);
    if (world->is_reading || !count)
        return;
    fm_buf_reset(&world->read_otlp);
    world->read = (struct store_cursor_read){
        .tenant = (size_t)world_chance(world, count),
        .spans_max = 1 + world_chance(world, 50),
        .bytes_max = FM_MIB(1),
        .otlp = &world->read_otlp,
        .done = world_on_read,
        .self = world,
    };
    world->is_reading = true;
    store_cursor_read(world->cursor, &world->read);
}

/* ---- start and end ---- */

static void world_set_options(struct world *world)
{
    world->options = (struct store_options){
        .data_dir = DATA_DIR,
        .node = {1, 2, 3, 4},
        .segment_bytes = FM_KIB(8) << world_chance(world, 4),
        .compress = world_chance(world, 4) != 0,
        .pending_bytes_max = FM_KIB(64),
        .head_bytes_max = FM_KIB(512),
        .block = block_options_default,
        .block_age_ns = (1 + world_chance(world, 30)) * FM_NS_PER_S,
        .block_bytes = FM_KIB(4) << world_chance(world, 5),
        .retention_ns = 24 * 3600 * FM_NS_PER_S,
        .retention_sampled_out_ns = 24 * 3600 * FM_NS_PER_S,
        .merge_bytes_max = world_chance(world, 2) ? FM_KIB(256) : 0,
    };
    world->options.block.codec = CODEC_SNAPPY;
    world->sampler_options = (struct sampler_options){
        .decision_wait_ns = world_chance(world, 60) * FM_NS_PER_S,
        .urgent_interval_ns = (1 + world_chance(world, 10)) * FM_NS_PER_S,
        .verdict_bytes_max = FM_KIB(64),
        .memory_max = FM_MIB(4),
        .next = {.on_sealed = world_on_sealed, .self = world},
    };
    world->has_express = world_chance(world, 2);
}

static struct sample_rules *world_rules(void)
{
    static const struct sample_rule rule = {
        .kind = SAMPLE_STATUS_CODE, .name = "errors", .status_codes = "error"};
    struct sample_rules *rules = NULL;
    struct sample_fault fault;
    CHECK(sample_rules_new(&rules, &rule, 1, "0", &fault) == FM_OK, "%s", fault.why.text);
    return rules;
}

static bool world_open(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    struct sampler_options options = world->sampler_options;
    const struct store_cursor_options cursor = {.decided_only = true};
    struct fm_why why = {""};
    if (store_open(&world->store, platform, &world->options, &why) < 0) {
        world->store = NULL;
        return false;
    }
    options.rules = world_rules();
    options.urgent_rules = world->has_express ? world_rules() : NULL;
    CHECK(sampler_new(&world->sampler, platform, world->store, &options, &why) == FM_OK, "%s",
          why.text);
    const struct store_observer observer = {
        .on_sealed = sampler_on_sealed,
        .on_dropped = sampler_on_dropped,
        .lane_of = sampler_lane_of,
        .self = world->sampler,
    };
    store_set_observer(world->store, &observer);
    assert_ok(store_cursor_open(&world->cursor, world->store, &cursor));
    for (uint32_t i = 0; i < TENANTS; i++)
        store_cursor_restore(world->cursor, tenant_names[i], &world->places[i]);
    return true;
}

static void world_crash(struct world *world, bool keep_cache)
{
    world->crashes++;
    sim_crash(world->sim, keep_cache);
    world->sampler = sampler_abandon(world->sampler);
    world->store = store_abandon(world->store);
    world->cursor = NULL; /* with the store */
    world->is_reading = false;
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
    while (!fm_list_empty(&world->uploads))
        upload_free(FM_CONTAINER(world->uploads.next, struct upload, link));
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
    return world->is_closed;
}

static void world_stop_uploads(struct world *world)
{
    for (struct fm_link *link = world->uploads.next, *next; link != &world->uploads; link = next) {
        next = link->next;
        struct upload *upload = FM_CONTAINER(link, struct upload, link);
        if (!upload->timer.body)
            continue; /* it is being marked */
        pf_timer_stop(sim_platform(world->sim), &upload->timer);
        store_block_unref(world->store, upload->block);
        upload_free(upload);
    }
}

static void world_close(struct world *world)
{
    const struct store_observer nobody = {0};
    uint64_t crashes = world->crashes;
    world->is_closed = false;
    sampler_close(world->sampler, world_on_closed, world);
    bool is_done = world_wait(world);
    if (is_done) {
        world->sampler = NULL;
        store_set_observer(world->store, &nobody);
        world_stop_uploads(world);
        for (unsigned i = 0; world->is_reading && i < 100000 && sim_step(world->sim); i++) {
        }
        if (!world->is_reading)
            world->cursor = store_cursor_close(world->cursor);
        world->is_closed = false;
        store_close(world->store, world_on_closed, world);
        is_done = world_wait(world);
    }
    if (is_done)
        world->store = NULL;
    world_crash(world, is_done); /* the process ends: locks, handles */
    world->crashes = crashes + !is_done;
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
        for (uint64_t n = 1 + world_chance(world, 8); n; n--)
            world_append(world);
    } else if (choice < 75) {
        sim_run(world->sim, world_chance(world, 2000) * FM_NS_PER_MS);
    } else if (choice < 85) {
        sim_run(world->sim, world_chance(world, 90) * FM_NS_PER_S);
    } else if (choice < 90) {
        store_flush(world->store, world_on_flushed, world);
    } else {
        world_read_next(world);
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
    world_faults(world, world_chance(world, 5) == 0);
    if (world_chance(world, 2))
        sim_crash_at(world->sim, 1 + world_chance(world, 700));
    uint64_t actions = 20 + world_chance(world, 80);
    for (uint64_t i = 0; i < actions && !sim_crashed(world->sim); i++)
        world_one_action(world);
    world_faults(world, false);
    if (!sim_crashed(world->sim) && world_chance(world, 2))
        world_close(world);
    else
        world_crash(world, world_chance(world, 2));
}

/* SIM-2, SIM-5. */
static void world_verify_traces(struct world *world)
{
    uint32_t stored[TRACES] = {0}, left[TRACES] = {0};
    for (uint32_t i = 0; i < world->span_count; i++) {
        const struct span_note *note = &world->spans[i];
        bool is_gone = note->has_left || note->went_ahead;
        /* With faults verdicts are forgotten: a trace may be judged twice, and not alike. */
        CHECK(!note->is_stored || is_gone == note->is_read || world->had_faults,
              "span %u: left %d, read %d", i, is_gone, note->is_read);
        stored[note->trace] += note->is_stored;
        left[note->trace] += note->is_stored && is_gone;
    }
    for (uint32_t i = 0; !world->had_faults && i < world->trace_count; i++) {
        CHECK(left[i] == 0 || left[i] == stored[i], "trace %u: %u of %u spans have left", i,
              left[i], stored[i]);
        CHECK(!world->traces[i].error_first || left[i], "trace %u had an error at once", i);
    }
}

/* SIM-4. */
static void world_verify_account(struct world *world)
{
    struct sampler_status sampler;
    struct store_outbox_status outbox;
    struct ledger ledger;
    struct ledger_row total;
    struct fm_why why = {""};
    sampler_get_status(world->sampler, &sampler);
    store_outbox_get_status(world->store, &outbox);
    CHECK(!sampler.undecided_blocks && !sampler.unbuilt_blocks, "%llu undecided, %llu unbuilt: %s",
          (unsigned long long)sampler.undecided_blocks, (unsigned long long)sampler.unbuilt_blocks,
          sampler.problem);
    for (unsigned i = 0; i < STORE_LANE_COUNT; i++)
        CHECK(!outbox.groups[i], "%llu groups wait", (unsigned long long)outbox.groups[i]);
    CHECK(store_ledger_check(world->store, &why), "%s", why.text);
    assert_ok(store_ledger_read(world->store, &ledger));
    ledger_total(&ledger, &total);
    ledger_fini(&ledger);
    uint64_t gone = 0;
    for (uint32_t i = 0; i < world->span_count; i++)
        gone += world->spans[i].has_left || world->spans[i].went_ahead;
    CHECK(!ledger_pending(&total), "%llu spans wait in the log, %llu in blocks",
          (unsigned long long)total.spans[LEDGER_PENDING_LOG],
          (unsigned long long)(ledger_pending(&total) - total.spans[LEDGER_PENDING_LOG]));
    CHECK(total.spans[LEDGER_UPLOADED] == gone || world->had_faults,
          "%llu uploaded, %llu have left", (unsigned long long)total.spans[LEDGER_UPLOADED],
          (unsigned long long)gone);
}

static void world_verify(struct world *world)
{
    sim_crash_at(world->sim, 0);
    CHECK(world_open(world), "open");
    for (unsigned i = 0; i < 40; i++)
        sim_run(world->sim, 5 * FM_NS_PER_S);
    store_flush(world->store, world_on_flushed, world);
    for (unsigned i = 0; i < 120; i++) {
        world_read_next(world);
        sim_run(world->sim, 5 * FM_NS_PER_S);
    }
    for (unsigned i = 0; i < 4000; i++) {
        struct store_pending pending = {0};
        uint64_t waiting = 0;
        for (size_t t = 0; t < store_cursor_tenant_count(world->cursor); t++) {
            store_cursor_look(world->cursor, t, UINT64_MAX, UINT64_MAX, &pending);
            waiting += pending.spans;
        }
        if (!waiting && !world->is_reading)
            break;
        world_read_next(world);
        sim_run(world->sim, 100 * FM_NS_PER_MS);
    }
    world_verify_traces(world);
    world_verify_account(world);
    world_close(world);
}

struct totals {
    uint64_t spans, kept, ahead, blocks, outgoing, crashes, operations;
};

static void run_seed(uint64_t seed, struct totals *totals)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world, "memory");
    assert_ok(sim_new(&world->sim, seed));
    fm_list_init(&world->requests);
    fm_list_init(&world->uploads);
    fm_buf_init(&world->read_otlp, FM_MIB(16));
    current_seed = seed;
    current_step = 0;
    world_set_options(world);
    for (uint64_t lives = 1 + world_chance(world, 4); lives; lives--)
        world_life(world);
    world_verify(world);
    totals->spans += world->span_count;
    for (uint32_t i = 0; i < world->span_count; i++)
        totals->kept += world->spans[i].has_left;
    totals->ahead += world->ahead;
    totals->blocks += world->blocks;
    totals->outgoing += world->outgoing;
    totals->crashes += world->crashes;
    totals->operations += sim_operation_count(world->sim);
    fm_buf_fini(&world->read_otlp);
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
    printf("sim_sample: all seeds hold: %llu spans, %llu kept, %llu ahead, %llu blocks have left, "
           "%llu of them outgoing, %llu crashes, %llu disk operations\n",
           (unsigned long long)totals.spans, (unsigned long long)totals.kept,
           (unsigned long long)totals.ahead, (unsigned long long)totals.blocks,
           (unsigned long long)totals.outgoing, (unsigned long long)totals.crashes,
           (unsigned long long)totals.operations);
    return 0;
}
