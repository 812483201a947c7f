/* SPDX-License-Identifier: Apache-2.0 */
/* sim_replicate - store and replicator in the simulated world, against a bucket that has bad days.
 *
 *   sim_replicate [--seeds N] [--first SEED]
 *
 * Spans are appended, cut and uploaded while the disk fails, the power goes, and the bucket stalls,
 * throttles, refuses, loses answers before and after the commit, and commits late.  What must hold:
 *   REP-1  meta.json is never visible before data.parquet and every bloom are whole; the block that
 *          becomes visible verifies;
 *   REP-2  nothing on the bucket is replaced by different content once its meta.json is there;
 *   REP-3  no position of a tenant's log is in two blocks of the bucket, and no span is there
 * twice; REP-4  a block that was announced and is not on the bucket is still on the disk; REP-5
 * when the faults end, the backlog reaches 0 and every acknowledged span is on the bucket; REP-6 no
 * more goes over the wire than the burst and what the rate allows; REP-7  of a day, no more than
 * the quota, however often the power goes (the disk being well). One seed is one run, bit for bit;
 * a failure prints it.
 */
#include "../support/sim_bucket.h"
#include "../support/test.h"

#include "fermata/codec.h"
#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sim.h"
#include "fermata/units.h"

#define TENANTS    2u
#define SPANS_MAX  2000u
#define BLOCKS_MAX 300u
#define DATA_DIR   "/var/lib/fermata"
#define WIRE_SLACK FM_KIB(8) /* what is only known when it has gone */

static uint64_t current_seed;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("sim_replicate: seed %llu: %s:%d: %s: ", (unsigned long long)current_seed,      \
                   __FILE__, __LINE__, #condition);                                                \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct block_note { /* a block that the store announced */
    struct block_id id;
    uint32_t tenant;
    uint64_t first_lsn, last_lsn;
    bool seen; /* since the last start */
    bool committed;
};

struct world {
    struct sim *sim;
    struct store *store;
    struct replicator *replicator;
    struct sim_bucket *bucket;
    struct store_options options;
    bool acked[SPANS_MAX];
    uint8_t found[SPANS_MAX]; /* on the bucket, how often */
    uint32_t span_count;
    struct block_note blocks[BLOCKS_MAX];
    uint32_t block_count;
    struct fm_link requests;
    bool store_closed, replicator_closed;
    uint64_t daily_quota;    /* 0: none */
    bool quota_is_kept;      /* no disk fault could have hit its file */
    uint64_t day, day_bytes; /* over the wire in that day */
    uint64_t rate, burst;    /* of this life; rate 0: none */
    uint64_t life_begin_ns, life_bytes;
};

struct request { /* one append under way */
    struct store_append append;
    struct world *world;
    uint32_t span;
    uint64_t key;
    struct fm_link link;
};

static const char *const tenant_names[TENANTS] = {"single-tenant", "team-a"};

static uint64_t world_random(void *self)
{
    struct world *world = self;
    return sim_random(world->sim);
}

static uint64_t world_chance(struct world *world, uint64_t below)
{
    return sim_random(world->sim) % below;
}

/* ---- spans ---- */

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
        request->world->acked[request->span] = true;
    request_free(request);
}

/* One span; its id is its number plus one, its trace a few spans wide. */
static void request_fill(struct request *request)
{
    struct fm_buf *buf = &request->append.payload;
    uint8_t span_id[8], trace_id[16] = {1};
    fm_store_be64(span_id, request->span + 1);
    fm_store_be64(trace_id + 8, request->span / 3 + 1);
    request->key = trace_id_key(trace_id);
    fm_buf_init(buf, FM_KIB(64));
    size_t resource_spans = pb_begin(buf, 1);
    size_t scope_spans = pb_begin(buf, 2);
    size_t span = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, fm_slice(trace_id, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, "operation");
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + request->span * FM_NS_PER_MS);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + (request->span + 1) * FM_NS_PER_MS);
    pb_end(buf, span);
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
    CHECK(!buf->failed, "payload");
}

static void world_append(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    if (world->span_count == SPANS_MAX)
        return;
    struct request *request = calloc(1, sizeof *request);
    CHECK(request, "memory");
    request->world = world;
    request->span = world->span_count++;
    fm_list_append(&world->requests, &request->link);
    request_fill(request);
    request->append.tenant = fm_slice_text(tenant_names[request->span % 7 == 0]);
    request->append.span_count = 1;
    request->append.trace_keys = &request->key;
    request->append.trace_key_count = 1;
    request->append.start_min_ns = UINT64_C(1763690000000000000);
    request->append.end_max_ns = UINT64_C(1763690100000000000);
    request->append.received_unix_ns = pf_wall_ns(platform);
    request->append.done = request_done;
    store_append(world->store, &request->append);
}

/* ---- what the bucket shows ---- */

static const struct sim_bucket_object *object_beside(struct world *world, const char *meta_key,
                                                     const char *name)
{
    char key[512];
    int folder = (int)(strrchr(meta_key, '/') - meta_key);
    (void)snprintf(key, sizeof key, "%.*s/%s", folder, meta_key, name);
    const struct sim_bucket_object *object = sim_bucket_find(world->bucket, key);
    CHECK(object, "%s is visible without %s", meta_key, name);
    return object;
}

static int count_spans(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct world *world = self;
    struct trace *trace;
    assert_ok(trace_new(&trace, id, FM_MIB(16)));
    assert_ok(trace_add(trace, otlp));
    assert_ok(trace_finish(trace));
    for (size_t i = 0; i < trace_span_count(trace); i++) {
        uint64_t number = fm_load_be64(trace_span_at(trace, i)->span_id) - 1;
        CHECK(number < world->span_count, "span %llu", (unsigned long long)number);
        CHECK(world->found[number]++ == 0, "span %llu is there twice", (unsigned long long)number);
    }
    trace_free(trace);
    return FM_OK;
}

static struct block_note *note_of(struct world *world, const struct block_id *id)
{
    for (uint32_t i = 0; i < world->block_count; i++)
        if (memcmp(&world->blocks[i].id, id, sizeof *id) == 0)
            return &world->blocks[i];
    return NULL;
}

/* REP-3 */
static void check_ranges(struct world *world, const struct block_note *fresh)
{
    for (uint32_t i = 0; i < world->block_count; i++) {
        const struct block_note *other = &world->blocks[i];
        CHECK(other == fresh || !other->committed || other->tenant != fresh->tenant ||
                  other->last_lsn < fresh->first_lsn || other->first_lsn > fresh->last_lsn,
              "two blocks of the bucket cover the same log");
    }
}

static void check_visible_block(struct world *world, const struct sim_bucket_object *object)
{
    static struct block_meta meta;
    struct fm_why why = {""};
    struct fm_slice blooms[8];
    struct block_census census;
    int rc = block_meta_parse(fm_buf_slice(&object->content), &meta, &why);
    CHECK(rc == FM_OK && meta.bloom_shard_count <= 8, "%s: %s", object->key, why.text);
    const struct sim_bucket_object *data = object_beside(world, object->key, "data.parquet");
    CHECK(data->content.len == meta.size_bytes, "%s is visible without its data", object->key);
    for (uint32_t i = 0; i < meta.bloom_shard_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        blooms[i] = fm_buf_slice(&object_beside(world, object->key, name)->content);
    }
    struct fm_slice bytes = fm_buf_slice(&data->content);
    rc = block_verify(fm_source_memory(&bytes), &meta, blooms, &census, &why);
    CHECK(rc == FM_OK, "%s: %s", object->key, why.text);
    struct block_note *note = note_of(world, &meta.id);
    CHECK(note, "%s was never announced", object->key);
    CHECK(!note->committed, "%s became visible twice", object->key);
    note->committed = true;
    check_ranges(world, note);
    struct block *block;
    assert_ok(block_open(&block, fm_source_memory(&bytes), &meta, &why));
    assert_ok(block_each_trace(block, count_spans, world, &why));
    block_free(block);
}

static void world_on_commit(void *self, const struct sim_bucket_object *object)
{
    struct world *world = self;
    char key[512];
    const char *slash = strrchr(object->key, '/');
    if (strcmp(slash, "/meta.json") == 0) {
        CHECK(object->commits == 1, "%s was written twice", object->key);
        check_visible_block(world, object);
        return;
    }
    (void)snprintf(key, sizeof key, "%.*s/meta.json", (int)(slash - object->key), object->key);
    /* A late write of the same bytes does no harm. */
    CHECK(object->changes == 0 || !sim_bucket_find(world->bucket, key),
          "%s was replaced under a visible meta.json", object->key); /* REP-2 */
}

/* REP-6, REP-7 */
static void world_on_wire(void *self, const char *key, uint64_t bytes)
{
    struct world *world = self;
    struct platform *platform = sim_platform(world->sim);
    uint64_t day = pf_wall_ns(platform) / (86400 * FM_NS_PER_S);
    uint64_t life_s = (pf_now_ns(platform) - world->life_begin_ns) / FM_NS_PER_S + 1;
    if (day != world->day)
        world->day_bytes = 0;
    world->day = day;
    world->day_bytes += bytes;
    world->life_bytes += bytes;
    CHECK(!world->daily_quota || !world->quota_is_kept || world->day_bytes <= world->daily_quota,
          "%s: %llu bytes in a day", key, (unsigned long long)world->day_bytes);
    CHECK(!world->rate || world->life_bytes <= world->burst + world->rate * life_s + WIRE_SLACK,
          "%s: %llu bytes in %llu s", key, (unsigned long long)world->life_bytes,
          (unsigned long long)life_s);
}

/* ---- blocks ---- */

static void world_on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    struct block_note *note = note_of(world, &block->meta.id);
    if (!note) {
        CHECK(world->block_count < BLOCKS_MAX, "too many blocks");
        note = &world->blocks[world->block_count++];
        *note = (struct block_note){.id = block->meta.id,
                                    .tenant = strcmp(block->meta.tenant, tenant_names[0]) != 0,
                                    .first_lsn = block->first_lsn,
                                    .last_lsn = block->last_lsn};
    }
    note->seen = true;
    if (world->replicator)
        replicator_on_sealed(world->replicator, block);
}

/* REP-4 */
static void check_nothing_lost(struct world *world)
{
    for (uint32_t i = 0; i < world->block_count; i++) {
        char id[37];
        block_id_print(&world->blocks[i].id, id);
        CHECK(world->blocks[i].seen || world->blocks[i].committed,
              "block %s is neither on the disk nor on the bucket", id);
    }
}

/* ---- lives ---- */

static bool world_open(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    struct fm_why why = {""};
    for (uint32_t i = 0; i < world->block_count; i++)
        world->blocks[i].seen = false;
    if (store_open(&world->store, platform, &world->options, &why) < 0) {
        world->store = NULL;
        return false;
    }
    world->rate = world_chance(world, 2) ? 0 : 2000 + world_chance(world, 50000);
    world->burst = FM_KIB(8) + world_chance(world, FM_KIB(64));
    world->life_begin_ns = pf_now_ns(platform);
    world->life_bytes = 0;
    const struct uplink_options uplink = {.rate = world->rate,
                                          .burst = world->burst,
                                          .daily_quota = world->daily_quota,
                                          .timezone = "UTC",
                                          .state_file = DATA_DIR "/upload-quota"};
    struct replicator_options options = {
        .concurrency_max = 1 + (uint32_t)world_chance(world, 3),
        .retry_cap_ns = 300 * FM_NS_PER_S,
        .backlog_percent = 1 + (uint32_t)world_chance(world, 99),
        .backlog_age_ns = world_chance(world, 100) * FM_NS_PER_S,
    };
    assert_ok(uplink_new(&options.uplink, platform, &uplink, &why));
    assert_ok(replicator_new(&world->replicator, platform, world->store,
                             sim_bucket_attach(world->bucket, platform), &options));
    const struct store_observer observer = {.on_sealed = world_on_sealed, .self = world};
    store_set_observer(world->store, &observer);
    return true;
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
    struct sim_bucket_faults faults = {0};
    if (on) {
        faults.fail_before = (uint32_t)world_chance(world, 400000);
        faults.fail_after = (uint32_t)world_chance(world, 300000);
        faults.commit_late = (uint32_t)world_chance(world, 200000);
        faults.conflict = (uint32_t)world_chance(world, 300000);
        faults.stall = (uint32_t)world_chance(world, 50000);
    }
    sim_bucket_set_faults(world->bucket, &faults);
    static const enum s3_outcome outages[] = {S3_TRANSIENT, S3_AUTH, S3_SLOW_DOWN, S3_NO_BUCKET};
    bool is_out = on && world_chance(world, 4) == 0;
    sim_bucket_set_outage(world->bucket,
                          is_out ? outages[world_chance(world, FM_COUNT(outages))] : S3_DONE);
}

static void world_forget_requests(struct world *world)
{
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
}

static void world_crash(struct world *world, bool keep_cache)
{
    sim_bucket_crash(world->bucket);
    sim_crash(world->sim, keep_cache);
    world->replicator = replicator_abandon(world->replicator);
    world->store = store_abandon(world->store);
    world_forget_requests(world);
}

static void world_on_replicator_closed(void *self)
{
    struct world *world = self;
    world->replicator = NULL;
    world->replicator_closed = true;
}

static void world_on_store_closed(void *self)
{
    struct world *world = self;
    world->store = NULL;
    world->store_closed = true;
}

static void world_close(struct world *world)
{
    world->replicator_closed = world->store_closed = false;
    replicator_close(world->replicator, world_on_replicator_closed, world);
    for (unsigned i = 0; !world->replicator_closed && i < 100000 && sim_step(world->sim); i++) {
    }
    CHECK(world->replicator_closed || sim_crashed(world->sim), "the replicator does not close");
    if (world->replicator_closed) {
        store_close(world->store, world_on_store_closed, world);
        for (unsigned i = 0; !world->store_closed && i < 100000 && sim_step(world->sim); i++) {
        }
        CHECK(world->store_closed || sim_crashed(world->sim), "the store does not close");
    }
    world_crash(world, true); /* the process ends: locks, handles */
}

static void world_on_flushed(void *self, int rc)
{
    (void)self;
    (void)rc; /* what was not cut stays in the log and is asked for at the end */
}

static void world_one_action(struct world *world)
{
    uint64_t choice = world_chance(world, 100);
    if (choice < 50) {
        for (uint64_t n = 1 + world_chance(world, 5); n; n--)
            world_append(world);
    } else if (choice < 70) {
        sim_run(world->sim, world_chance(world, 50) * FM_NS_PER_MS);
    } else if (choice < 82) {
        sim_run(world->sim, world_chance(world, 30) * FM_NS_PER_S);
    } else if (choice < 94) {
        store_flush(world->store, world_on_flushed, world);
        sim_run(world->sim, world_chance(world, 2) * FM_NS_PER_S);
    } else {
        world_bucket_faults(world, world_chance(world, 3) != 0);
    }
}

static void world_life(struct world *world)
{
    bool has_disk_faults = world_chance(world, 3) == 0;
    world->quota_is_kept &= !has_disk_faults;
    world_disk_faults(world, false);
    CHECK(world_open(world), "the store does not open on a healthy disk");
    check_nothing_lost(world);
    world_disk_faults(world, has_disk_faults);
    world_bucket_faults(world, true);
    if (world_chance(world, 3))
        sim_crash_at(world->sim, 1 + world_chance(world, 600));
    uint64_t actions = 10 + world_chance(world, 40);
    for (uint64_t i = 0; i < actions && !sim_crashed(world->sim); i++)
        world_one_action(world);
    if (!sim_crashed(world->sim) && world_chance(world, 3) == 0)
        world_close(world);
    else
        world_crash(world, world_chance(world, 2));
}

/* ---- the end: faults are over ---- */

static void world_on_last_flush(void *self, int rc)
{
    *(int *)self = rc;
}

static void world_cut_everything(struct world *world)
{
    int rc = FM_EUNAVAILABLE;
    for (unsigned attempt = 0; rc != FM_OK && attempt < 20; attempt++) {
        int result = FM_MORE;
        store_flush(world->store, world_on_last_flush, &result);
        for (unsigned i = 0; result == FM_MORE && i < 600; i++)
            sim_run(world->sim, FM_NS_PER_S);
        CHECK(result != FM_MORE, "a flush is never answered");
        rc = result;
    }
    CHECK(rc == FM_OK, "the log cannot be cut: %s", fm_rc_text(rc));
}

/* REP-5 */
static void world_drain(struct world *world)
{
    struct replicator_status status;
    for (unsigned minutes = 0; minutes < 120; minutes++) {
        replicator_get_status(world->replicator, &status);
        if (status.pending_blocks == 0)
            break;
        sim_run(world->sim, 60 * FM_NS_PER_S);
    }
    replicator_get_status(world->replicator, &status);
    CHECK(status.pending_blocks == 0, "%llu blocks after two hours without faults: %s",
          (unsigned long long)status.pending_blocks, status.problem);
    for (uint32_t i = 0; i < world->span_count; i++)
        CHECK(!world->acked[i] || world->found[i] == 1, "acknowledged span %u is not there", i);
}

static void world_finish(struct world *world)
{
    world->daily_quota = 0; /* all of it has to go today */
    world_disk_faults(world, false);
    world_bucket_faults(world, false);
    CHECK(world_open(world), "the store does not open on a healthy disk");
    check_nothing_lost(world);
    world_cut_everything(world);
    world_drain(world);
    world_close(world);
    CHECK(world_open(world), "the store does not open at the end");
    struct replicator_status status;
    replicator_get_status(world->replicator, &status);
    CHECK(status.pending_blocks == 0, "markers were forgotten");
    world_close(world);
}

struct totals {
    uint64_t spans, blocks, requests, operations;
};

static void run_seed(uint64_t seed, struct totals *totals)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world, "memory");
    current_seed = seed;
    assert_ok(sim_new(&world->sim, seed));
    fm_list_init(&world->requests);
    world->bucket = sim_bucket_new(world_random, world);
    sim_bucket_on_commit(world->bucket, world_on_commit, world);
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
        .retention_ns = world_chance(world, 2) ? 5 * FM_NS_PER_S : 3600 * FM_NS_PER_S,
    };
    world->quota_is_kept = true;
    /* Large enough for a block, small enough to be used up. */
    world->daily_quota = world_chance(world, 2) ? FM_KIB(256) + world_chance(world, FM_MIB(1)) : 0;
    sim_bucket_set_wire(world->bucket, 10000 + world_chance(world, 1000000), world_on_wire, world);
    world->options.block.codec = CODEC_SNAPPY; /* a zstd decoder costs more than the rest */
    for (uint64_t lives = 1 + world_chance(world, 5); lives; lives--)
        world_life(world);
    world_finish(world);
    totals->spans += world->span_count;
    totals->blocks += world->block_count;
    totals->requests += sim_bucket_requests(world->bucket);
    totals->operations += sim_operation_count(world->sim);
    sim_bucket_free(world->bucket);
    sim_free(world->sim);
    free(world);
}

int main(int argc, char **argv)
{
    uint64_t seeds = 50, first = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[i + 1], NULL, 10);
    }
    log_setup((enum log_level)0, false, NULL); /* failures are the point */
    struct totals totals = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run_seed(seed, &totals);
    printf(
        "sim_replicate: %llu seeds, %llu spans, %llu blocks, %llu requests, %llu disk operations\n",
        (unsigned long long)seeds, (unsigned long long)totals.spans,
        (unsigned long long)totals.blocks, (unsigned long long)totals.requests,
        (unsigned long long)totals.operations);
    return 0;
}
