/* SPDX-License-Identifier: Apache-2.0 */
/* sim_store - the store in the simulated world: appends, flushes, reads, faults, power cuts.
 *
 *   sim_store [--seeds N] [--first SEED] [--sweep]
 *
 * What must hold after every crash and every restart:
 *   SIM-1  a span that was acknowledged is found, in head or block;
 *   SIM-2  no span is found that was never sent;
 *   SIM-3  every block on disk verifies, no half block is visible;
 *   SIM-4  no two blocks of a tenant cover the same position of the log;
 *   SIM-5  a block that was announced is there again, under the same name, and whether it was
 *          uploaded is remembered;
 *   SIM-6  no span is in two blocks;
 *   SIM-7  the ledger adds up, always; and it knows of every span that is here or that left, and of
 *          no other;
 *   SIM-8  whatever happens to the wall clock, no block goes before its time; a block that rots is
 *          found, and is not shown any more; quarantine keeps to its quota.
 * One seed is one run, bit for bit; a failure prints it.  --sweep cuts the power before every
 * single disk operation of one small run instead.
 */
#include "../support/test.h"
#include "spans.h"

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/sim.h"
#include "fermata/store.h"
#include "fermata/store_ledger.h"
#include "fermata/units.h"

#define TENANTS    3u
#define TRACES     40u
#define SPANS_MAX  6000u
#define BLOCKS_MAX 600u
#define DATA_DIR   "/var/lib/fermata"
#define SLACK_NS   (5 * FM_NS_PER_S) /* between a block's time and its announcement */

static uint64_t current_seed;
static uint64_t current_step;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf(                                                                                \
                "sim_store: seed %llu step %llu: %s:%d: %s: ", (unsigned long long)current_seed,   \
                (unsigned long long)current_step, __FILE__, __LINE__, #condition);                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            fflush(stdout);                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum span_state { SPAN_SENT, SPAN_ACKED, SPAN_EXPIRABLE };

struct span_note { /* what the test knows of one span */
    uint8_t tenant, trace, state;
    bool is_durable; /* with interval sync: a sync came after the acknowledgement */
};

struct block_note { /* a block that was announced */
    char path[512];
    uint64_t first_lsn, last_lsn;
    uint8_t tenant;
    bool expirable;
    bool uploaded; /* the store said that it will remember */
    bool seen;     /* since the last start */
    bool is_rotten;
    uint64_t boot_ns; /* when it was announced; 0: it may be older */
};

struct request { /* one append under way */
    struct store_append append;
    struct world *world;
    uint32_t first_span, span_count;
    uint64_t keys[8];
    struct fm_link link;
};

struct world {
    struct sim *sim;
    struct store *store;
    struct store_options options;
    struct span_note spans[SPANS_MAX];
    uint32_t span_count;
    uint8_t in_block[SPANS_MAX];
    struct block_note blocks[BLOCKS_MAX];
    uint32_t block_count;
    struct fm_link requests;
    uint64_t acked, refused, flushes, crashes, opened;
    uint64_t rejected; /* spans that the store was only told of */
    bool is_closed, flush_runs;
    bool is_watched; /* somebody uploads */
    bool is_opening;
    uint64_t suspended_ns; /* at the last time; monotonic */
    uint64_t merged, rotten, mended;
    int flush_rc;
    struct store_block *uploading;
    bool upload_runs;
};

static const char *const tenant_names[TENANTS] = {"single-tenant", "team-a", "z"};

static uint64_t world_chance(struct world *world, uint64_t below)
{
    return sim_random(world->sim) % below;
}

/* ---- spans ---- */

/* One ResourceSpans with some spans of one tenant, and an attribute that makes it larger. */
static void request_fill(struct world *world, struct request *request, uint32_t tenant)
{
    struct fm_buf *buf = &request->append.payload;
    uint8_t ballast[3000];
    size_t ballast_len =
        world_chance(world, 8) ? world_chance(world, 100) : world_chance(world, sizeof ballast);
    for (size_t i = 0; i < ballast_len; i++)
        ballast[i] = (uint8_t)('a' + world_chance(world, 26));
    fm_buf_init(buf, FM_MIB(1));
    size_t resource_spans = pb_begin(buf, 1);
    size_t resource = pb_begin(buf, 1);
    put_text_attribute(buf, 1, "service.name", FM_SLICE("sim"));
    put_text_attribute(buf, 1, "ballast", fm_slice(ballast, ballast_len));
    pb_end(buf, resource);
    size_t scope_spans = pb_begin(buf, 2);
    for (uint32_t i = 0; i < request->span_count; i++) {
        struct span_note *note = &world->spans[request->first_span + i];
        *note = (struct span_note){(uint8_t)tenant, (uint8_t)world_chance(world, TRACES), SPAN_SENT,
                                   false};
        struct trace_id id = trace_of(tenant, note->trace);
        request->keys[i] = trace_id_key(id.bytes);
        put_span(buf, &id, request->first_span + i);
    }
    pb_end(buf, scope_spans);
    pb_end(buf, resource_spans);
    CHECK(!buf->failed, "payload");
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
    struct world *world = request->world;
    CHECK(rc == FM_OK || rc == FM_ENOSPACE || rc == FM_EUNAVAILABLE || rc == FM_EIO ||
              rc == FM_ECLOSED,
          "append answered %s", fm_rc_text(rc));
    for (uint32_t i = 0; rc == FM_OK && i < request->span_count; i++)
        world->spans[request->first_span + i].state = SPAN_ACKED;
    world->acked += rc == FM_OK;
    world->refused += rc != FM_OK;
    request_free(request);
}

static void world_append(struct world *world)
{
    uint32_t count = 1 + (uint32_t)world_chance(world, 5);
    if (world->span_count + count > SPANS_MAX)
        return;
    struct request *request = calloc(1, sizeof *request);
    CHECK(request, "memory");
    uint32_t tenant = (uint32_t)world_chance(world, 4) % TENANTS;
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
    request->append.received_unix_ns =
        sim_platform(world->sim)->ops->wall_ns(sim_platform(world->sim));
    request->append.done = request_done;
    store_append(world->store, &request->append);
}

/* ---- blocks ---- */

static uint64_t world_block_time(const struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    bool is_known = !world->is_opening && pf_now_ns(platform) - world->suspended_ns > SLACK_NS;
    return is_known ? pf_boot_ns(platform) : 0;
}

static void world_on_sealed(void *self, struct store_block *block)
{
    struct world *world = self;
    uint8_t tenant = 0;
    while (strcmp(tenant_names[tenant], block->meta.tenant) != 0)
        tenant++;
    for (uint32_t i = 0; i < world->block_count; i++) {
        struct block_note *note = &world->blocks[i];
        if (strcmp(note->path, block->path) == 0) {
            CHECK(note->first_lsn == block->first_lsn && note->last_lsn == block->last_lsn,
                  "%s covers another range now", block->path);
            CHECK(!note->seen || note->is_rotten, "%s was announced twice", block->path);
            world->mended += note->seen; /* the same block again, from the log */
            note->is_rotten &= !note->seen;
            CHECK(!note->uploaded || store_block_is_uploaded(world->store, block),
                  "%s: its upload is forgotten", block->path);
            note->seen = true;
            return;
        }
    }
    CHECK(world->block_count < BLOCKS_MAX, "too many blocks");
    bool is_uploaded = store_block_is_uploaded(world->store, block);
    for (uint32_t i = 0; is_uploaded && i < world->block_count; i++) { /* what it was merged of */
        const struct block_note *source = &world->blocks[i];
        CHECK(source->expirable || source->tenant != tenant ||
                  source->last_lsn < block->first_lsn || source->first_lsn > block->last_lsn,
              "%s counts as uploaded, %s does not", block->path, source->path);
    }
    struct block_note *note = &world->blocks[world->block_count++];
    *note = (struct block_note){
        .first_lsn = block->first_lsn,
        .last_lsn = block->last_lsn,
        .tenant = tenant,
        .expirable = is_uploaded,
        .seen = true,
        .boot_ns = world_block_time(world),
    };
    memcpy(note->path, block->path, sizeof note->path);
    if (!world->uploading && world_chance(world, 4) == 0) {
        store_block_ref(block);
        world->uploading = block;
    }
}

static int mark_expirable(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct world *world = self;
    struct trace *trace;
    assert_ok(trace_new(&trace, id, FM_MIB(16)));
    assert_ok(trace_add(trace, otlp));
    assert_ok(trace_finish(trace));
    for (size_t i = 0; i < trace_span_count(trace); i++) {
        uint64_t number = fm_load_be64(trace_span_at(trace, i)->span_id) - 1;
        CHECK(number < world->span_count, "span %llu", (unsigned long long)number);
        world->spans[number].state = SPAN_EXPIRABLE;
    }
    trace_free(trace);
    return FM_OK;
}

static void read_whole(struct world *world, const char *folder, const char *name,
                       struct fm_buf *buf)
{
    char path[600];
    struct fm_why why = {""};
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    fm_buf_init(buf, FM_MIB(64));
    int rc = FM_EIO;
    for (unsigned attempt = 0; rc == FM_EIO && attempt < 20; attempt++) /* faults may be on */
        rc = pf_read_file(sim_platform(world->sim), path, buf, &why);
    CHECK(rc == FM_OK, "%s: %s", path, why.text);
}

/* SIM-3 of one block; with a visitor its traces are visited, too. */
static void check_block(struct world *world, const char *folder, block_visit *visit)
{
    static struct block_meta meta;
    struct fm_buf data, text, blooms[8];
    struct fm_slice shards[8];
    struct block_census census;
    struct fm_why why = {""};
    read_whole(world, folder, "data.parquet", &data);
    read_whole(world, folder, "meta.json", &text);
    int rc = block_meta_parse(fm_buf_slice(&text), &meta, &why);
    CHECK(rc == FM_OK && meta.bloom_shard_count <= 8, "%s: %s", folder, why.text);
    world->merged += meta.compaction_level > 0;
    for (uint32_t i = 0; i < meta.bloom_shard_count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bloom-%u", i);
        read_whole(world, folder, name, &blooms[i]);
        shards[i] = fm_buf_slice(&blooms[i]);
    }
    struct fm_slice bytes = fm_buf_slice(&data);
    rc = block_verify(fm_source_memory(&bytes), &meta, shards, &census, &why);
    CHECK(rc == FM_OK, "%s: %s", folder, why.text);
    if (visit) {
        struct block *block;
        assert_ok(block_open(&block, fm_source_memory(&bytes), &meta, &why));
        assert_ok(block_each_trace(block, visit, world, &why));
        block_free(block);
    }
    for (uint32_t i = 0; i < meta.bloom_shard_count; i++)
        fm_buf_fini(&blooms[i]);
    fm_buf_fini(&data);
    fm_buf_fini(&text);
}

static void world_on_uploaded(void *self, int rc)
{
    struct world *world = self;
    for (uint32_t i = 0; rc == FM_OK && i < world->block_count; i++)
        world->blocks[i].uploaded |= strcmp(world->blocks[i].path, world->uploading->path) == 0;
    store_block_unref(world->store, world->uploading);
    world->uploading = NULL;
    world->upload_runs = false;
}

static void world_upload(struct world *world)
{
    struct store_block *block = world->uploading;
    if (!block || world->upload_runs || store_block_is_uploaded(world->store, block))
        return;
    for (uint32_t i = 0; i < world->block_count; i++) {
        if (strcmp(world->blocks[i].path, block->path) != 0)
            continue;
        if (world->blocks[i].expirable)
            return;
        world->blocks[i].expirable = true;
        check_block(world, block->path, mark_expirable);
    }
    world->upload_runs = true;
    store_block_uploaded(world->store, block, world_on_uploaded, world);
}

/* ---- start and end ---- */

static struct store_options world_options(struct world *world)
{
    struct store_options options = {
        .data_dir = DATA_DIR,
        .node = {1, 2, 3, 4},
        .sync = world_chance(world, 5) ? STORE_SYNC_GROUP : STORE_SYNC_INTERVAL,
        .sync_interval_ns = 50 * FM_NS_PER_MS,
        .segment_bytes = FM_KIB(8) << world_chance(world, 4),
        .compress = world_chance(world, 4) != 0,
        .pending_bytes_max = FM_KIB(64),
        .head_bytes_max = FM_KIB(512),
        .block = block_options_default,
        .block_age_ns = (1 + world_chance(world, 60)) * FM_NS_PER_S,
        .block_bytes = FM_KIB(8) << world_chance(world, 5),
        .retention_ns = world_chance(world, 2) ? 5 * FM_NS_PER_S : 3600 * FM_NS_PER_S,
        .quarantine_bytes = FM_KIB(64),
        .quarantine_age_ns = 600 * FM_NS_PER_S,
        .merge_bytes_max = world_chance(world, 2) ? FM_KIB(16) << world_chance(world, 6) : 0,
        .scrub_interval_ns = world_chance(world, 2) ? 15 * FM_NS_PER_S : 0,
        .scrub_bytes_per_s = FM_MIB(2),
    };
    world->is_watched = world_chance(world, 3) != 0;
    if (world_chance(world, 8)) /* a decoder of zstd costs more than the rest of the world */
        options.block.codec = CODEC_SNAPPY;
    return options;
}

/* A quiet while on a log that works: everything acknowledged is synced. */
static void world_note_durable(struct world *world)
{
    struct store_status status;
    store_get_status(world->store, &status);
    for (uint32_t i = 0; !status.is_read_only && i < world->span_count; i++)
        world->spans[i].is_durable = world->spans[i].state == SPAN_ACKED;
}

/* Interval sync acknowledges before the sync: a killed process loses nothing, a power cut may. */
static bool world_keeps_cache(struct world *world)
{
    bool keeps = world_chance(world, 3) == 0;
    for (uint32_t i = 0; !keeps && world->options.sync != STORE_SYNC_GROUP && i < world->span_count;
         i++) {
        if (world->spans[i].state == SPAN_ACKED && !world->spans[i].is_durable)
            world->spans[i].state = SPAN_SENT;
    }
    return keeps;
}

static bool world_open(struct world *world)
{
    struct fm_why why = {""};
    for (uint32_t i = 0; i < world->block_count; i++)
        world->blocks[i].seen = false;
    int rc = store_open(&world->store, sim_platform(world->sim), &world->options, &why);
    if (rc < 0) {
        world->store = NULL;
        return false;
    }
    world->opened++;
    struct store_observer observer = {.on_sealed = world_on_sealed, .self = world};
    world->is_opening = true;
    if (world->is_watched)
        store_set_observer(world->store, &observer);
    world->is_opening = false;
    return true;
}

static void world_faults(struct world *world, bool on)
{
    static const uint32_t rates[SIM_FAULT_COUNT] = {
        [SIM_WRITE_EIO] = 20000,        [SIM_WRITE_ENOSPC] = 20000, [SIM_SYNC_EIO] = 30000,
        [SIM_READ_EIO] = 3000,          [SIM_OPEN_EIO] = 3000,      [SIM_RENAME_EIO] = 20000,
        [SIM_ALLOCATE_ENOSPC] = 100000,
    };
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        bool strikes = on && world_chance(world, 2);
        sim_fault_rate(world->sim, (enum sim_fault)i, strikes ? rates[i] : 0);
        sim_fault_at(world->sim, (enum sim_fault)i, 0, false);
    }
}

static void world_crash(struct world *world, bool keep_cache)
{
    world->crashes++;
    sim_crash(world->sim, keep_cache);
    world->store = store_abandon(world->store);
    world->uploading = NULL;
    world->upload_runs = world->flush_runs = false;
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
}

static void world_on_closed(void *self)
{
    struct world *world = self;
    world->store = NULL;
    world->is_closed = true;
}

static void world_close(struct world *world)
{
    if (world->uploading && !world->upload_runs) {
        store_block_unref(world->store, world->uploading);
        world->uploading = NULL;
    }
    world->is_closed = false;
    store_close(world->store, world_on_closed, world);
    for (unsigned i = 0; !world->is_closed && i < 100000 && sim_step(world->sim); i++) {
    }
    CHECK(world->is_closed || sim_crashed(world->sim), "the store does not close");
    if (world->is_closed)
        CHECK(fm_list_empty(&world->requests), "an append was never answered");
    sim_crash(world->sim, true); /* the process ends: locks, handles */
    while (!fm_list_empty(&world->requests))
        request_free(FM_CONTAINER(world->requests.next, struct request, link));
    world->store = store_abandon(world->store);
    world->uploading = NULL;
    world->upload_runs = world->flush_runs = false;
}

/* ---- what must hold ---- */

/* ret: spans that were found, and those that may have left. */
static uint64_t check_trace(struct world *world, struct store_snapshot *snapshot, uint32_t tenant,
                            uint32_t number, bool faults)
{
    struct trace_id id = trace_of(tenant, number);
    struct store_read_stats stats = {0};
    struct fm_why why = {""};
    struct trace *trace;
    static uint8_t found[SPANS_MAX];
    memset(found, 0, world->span_count);
    assert_ok(trace_new(&trace, &id, FM_MIB(16)));
    int rc = store_find_trace(snapshot, &id, trace, &stats, &why);
    CHECK(rc == FM_OK, "find: %s", why.text);
    assert_ok(trace_finish(trace));
    for (size_t i = 0; i < trace_span_count(trace); i++) {
        uint64_t span = fm_load_be64(trace_span_at(trace, i)->span_id) - 1;
        CHECK(span < world->span_count && world->spans[span].tenant == tenant &&
                  world->spans[span].trace == number,
              "span %llu was never sent for this trace", (unsigned long long)span);
        CHECK(!found[span], "span %llu found twice", (unsigned long long)span);
        found[span] = 1;
    }
    trace_free(trace);
    if (faults && stats.blocks_failed)
        return 0;
    CHECK(stats.blocks_failed == 0, "a block failed: %s", why.text);
    uint64_t count = 0;
    for (uint32_t i = 0; i < world->span_count; i++) {
        const struct span_note *note = &world->spans[i];
        if (note->tenant != tenant || note->trace != number)
            continue;
        CHECK(note->state != SPAN_ACKED || found[i], "acknowledged span %u of tenant %u is gone", i,
              tenant);
        count += found[i] || note->state == SPAN_EXPIRABLE;
    }
    return count;
}

/* SIM-7. */
static void check_balance(const struct world *world)
{
    struct fm_why why = {""};
    CHECK(store_ledger_check(world->store, &why), "%s", why.text);
}

static uint64_t ledger_tenant_stored(const struct ledger *ledger, const char *tenant)
{
    uint64_t stored = 0;
    for (size_t i = 0; i < ledger->count; i++) {
        for (size_t k = 0;
             strcmp(ledger->tenants[i]->name, tenant) == 0 && k < ledger->tenants[i]->count; k++)
            stored += ledger_stored(&ledger->tenants[i]->rows[k]);
    }
    return stored;
}

static void check_all_traces(struct world *world)
{
    struct ledger ledger;
    assert_ok(store_ledger_read(world->store, &ledger));
    for (uint32_t tenant = 0; tenant < TENANTS; tenant++) {
        struct store_snapshot *snapshot;
        uint64_t spans = 0;
        assert_ok(store_snapshot_new(world->store, fm_slice_text(tenant_names[tenant]), &snapshot));
        for (uint32_t trace = 0; trace < TRACES; trace++)
            spans += check_trace(world, snapshot, tenant, trace, false);
        store_snapshot_free(snapshot);
        uint64_t stored = ledger_tenant_stored(&ledger, tenant_names[tenant]);
        CHECK(stored == spans, "tenant %u: the ledger knows of %llu spans, here or gone are %llu",
              tenant, (unsigned long long)stored, (unsigned long long)spans);
    }
    struct ledger_row total;
    ledger_total(&ledger, &total);
    CHECK(ledger_rejected(&total) <= world->rejected, "more spans are refused than were");
    ledger_fini(&ledger);
}

/* SIM-6. */
static int mark_in_block(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct world *world = self;
    struct trace *trace;
    assert_ok(trace_new(&trace, id, FM_MIB(16)));
    assert_ok(trace_add(trace, otlp));
    assert_ok(trace_finish(trace));
    for (size_t i = 0; i < trace_span_count(trace); i++) {
        uint64_t number = fm_load_be64(trace_span_at(trace, i)->span_id) - 1;
        CHECK(number < world->span_count && !world->in_block[number], "span %llu is in two blocks",
              (unsigned long long)number);
        world->in_block[number] = 1;
    }
    trace_free(trace);
    return FM_OK;
}

struct folder_check {
    struct world *world;
    const char *parent;
    bool has_meta, has_local;
    uint32_t blocks;
    uint64_t bytes;
};

static int folder_on_file(void *self, const char *name, bool is_directory)
{
    struct folder_check *check = self;
    (void)is_directory;
    check->has_meta |= strcmp(name, "meta.json") == 0;
    check->has_local |= strcmp(name, "local.json") == 0;
    return FM_OK;
}

static int folder_on_block(void *self, const char *name, bool is_directory)
{
    struct folder_check *outer = self, inner = {.world = outer->world};
    char path[600];
    (void)is_directory;
    (void)snprintf(path, sizeof path, "%s/%s", outer->parent, name);
    struct platform *platform = sim_platform(outer->world->sim);
    assert_ok(platform->ops->list(platform, path, folder_on_file, &inner, NULL));
    CHECK(!inner.has_meta || inner.has_local, "%s is half a block", path);
    if (inner.has_meta) {
        check_block(outer->world, path, mark_in_block);
        outer->blocks++;
    }
    return FM_OK;
}

/* SIM-3 to SIM-6. */
static void check_blocks(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    uint64_t now_ns = pf_boot_ns(platform);
    memset(world->in_block, 0, world->span_count);
    for (uint32_t tenant = 0; tenant < TENANTS; tenant++) {
        char path[256];
        (void)snprintf(path, sizeof path, DATA_DIR "/blocks/%s", tenant_names[tenant]);
        struct folder_check check = {.world = world, .parent = path};
        int rc = platform->ops->list(platform, path, folder_on_block, &check, NULL);
        CHECK(rc == FM_OK || rc == FM_ENOTFOUND, "%s cannot be listed", path);
    }
    for (uint32_t i = 0; i < world->block_count; i++) {
        const struct block_note *note = &world->blocks[i];
        CHECK(note->seen || note->expirable, "%s is gone", note->path);
        CHECK(note->seen || note->is_rotten || world->options.merge_bytes_max ||
                  now_ns - note->boot_ns + SLACK_NS >= world->options.retention_ns,
              "%s has gone too early", note->path);
        for (uint32_t k = 0; k < i; k++) {
            const struct block_note *other = &world->blocks[k];
            bool may_be_one = world->options.merge_bytes_max && !(other->seen && note->seen);
            CHECK(may_be_one || other->tenant != note->tenant ||
                      other->last_lsn < note->first_lsn || other->first_lsn > note->last_lsn,
                  "%s [%llu, %llu] and %s [%llu, %llu] overlap", note->path,
                  (unsigned long long)note->first_lsn, (unsigned long long)note->last_lsn,
                  other->path, (unsigned long long)other->first_lsn,
                  (unsigned long long)other->last_lsn);
        }
    }
}

/* 0: it is not there. */
static uint64_t world_file_size(struct world *world, const char *path)
{
    struct platform *platform = sim_platform(world->sim);
    struct pf_file *file;
    uint64_t size = 0;
    if (pf_open(platform, path, PF_READ, &file, NULL) < 0)
        return 0;
    assert_ok(platform->ops->size(file, &size));
    pf_close(platform, file);
    return size;
}

static int quarantine_on_name(void *self, const char *name, bool is_directory)
{
    struct folder_check *check = self;
    struct folder_check below = {.world = check->world};
    struct platform *platform = sim_platform(check->world->sim);
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", check->parent, name);
    below.parent = path;
    if (is_directory)
        assert_ok(platform->ops->list(platform, path, quarantine_on_name, &below, NULL));
    else
        below.bytes = world_file_size(check->world, path);
    check->bytes += below.bytes;
    return FM_OK;
}

static void check_quarantine(struct world *world)
{
    struct platform *platform = sim_platform(world->sim);
    struct folder_check check = {.world = world, .parent = DATA_DIR "/quarantine"};
    int rc = platform->ops->list(platform, check.parent, quarantine_on_name, &check, NULL);
    CHECK(rc == FM_OK || rc == FM_ENOTFOUND, "quarantine cannot be listed");
    CHECK(check.bytes <= world->options.quarantine_bytes, "%llu bytes in quarantine",
          (unsigned long long)check.bytes);
}

/* A healthy machine again: open, look at everything. */
static void world_verify(struct world *world)
{
    world_faults(world, false);
    sim_disk_capacity(world->sim, 0);
    CHECK(world_open(world), "the store does not open on a healthy disk");
    if (world->rotten) /* time for two rounds */
        sim_run(world->sim, 60 * FM_NS_PER_S);
    check_all_traces(world);
    check_blocks(world);
    if (world->rotten)
        check_quarantine(world);
}

/* ---- the workload ---- */

static void world_on_flushed(void *self, int rc)
{
    struct world *world = self;
    world->flush_runs = false;
    world->flush_rc = rc;
    world->flushes += rc == FM_OK;
}

static void world_read_something(struct world *world)
{
    uint32_t tenant = (uint32_t)world_chance(world, TENANTS);
    struct store_snapshot *snapshot;
    assert_ok(store_snapshot_new(world->store, fm_slice_text(tenant_names[tenant]), &snapshot));
    sim_run(world->sim, world_chance(world, 2) * 50 * FM_NS_PER_MS);
    if (!sim_crashed(world->sim)) {
        /* Acknowledged after the snapshot was taken: not in it, so only the past is asked for. */
        struct store_snapshot *now;
        assert_ok(store_snapshot_new(world->store, fm_slice_text(tenant_names[tenant]), &now));
        check_trace(world, now, tenant, (uint32_t)world_chance(world, TRACES), true);
        store_snapshot_free(now);
    }
    store_snapshot_free(snapshot);
}

/* A bit of a page that nobody has read yet. */
static void world_rot(struct world *world)
{
    struct block_note *note =
        world->block_count ? &world->blocks[world_chance(world, world->block_count)] : NULL;
    char path[600];
    if (!note || !note->seen || note->is_rotten || !world->options.scrub_interval_ns ||
        world->options.merge_bytes_max || world->uploading)
        return;
    (void)snprintf(path, sizeof path, "%s/data.parquet", note->path);
    uint64_t size = world_file_size(world, path);
    if (!size)
        return; /* it has expired */
    check_block(world, note->path, mark_expirable);
    note->is_rotten = note->expirable = true;
    world->rotten++;
    sim_disk_flip_bit(world->sim, path, (8 + world_chance(world, size / 2)) * 8);
}

static void world_disturb(struct world *world)
{
    const uint64_t ten_years_ns = 3650 * 86400 * FM_NS_PER_S;
    uint64_t wall_ns = pf_wall_ns(sim_platform(world->sim));
    const uint64_t walls[] = {wall_ns + ten_years_ns,
                              wall_ns > ten_years_ns ? wall_ns - ten_years_ns : wall_ns,
                              world_chance(world, 100) * FM_NS_PER_S}; /* no battery */
    uint64_t choice = world_chance(world, 6);
    switch (choice) {
    case 0:
    case 1:
    case 2:
        sim_wall_set(world->sim, walls[choice]);
        break;
    case 3:
        sim_suspend(world->sim, world_chance(world, 3600) * FM_NS_PER_S);
        world->suspended_ns = pf_now_ns(sim_platform(world->sim));
        break;
    case 4:
        world_rot(world);
        break;
    default:
        sim_run(world->sim, (20 + world_chance(world, 600)) * FM_NS_PER_S);
    }
}

/* Enough of them, and the ledger's file is written anew. */
static void world_reject(struct world *world)
{
    for (uint64_t n = world_chance(world, 150); n; n--) {
        char tenant[64];
        (void)snprintf(tenant, sizeof tenant, "refused-with-a-long-name-%llu",
                       (unsigned long long)n);
        store_ledger_reject(world->store, fm_slice_text(tenant), LEDGER_RATE_LIMITED, 1);
        world->rejected++;
    }
}

static void world_one_action(struct world *world)
{
    if (world_chance(world, 12) == 0)
        world_reject(world);
    uint64_t choice = world_chance(world, 100);
    current_step++;
    if (world_chance(world, 20) == 0) {
        world_disturb(world);
        return;
    }
    if (choice < 60) {
        for (uint64_t n = 1 + world_chance(world, 6); n; n--)
            world_append(world);
    } else if (choice < 85) {
        sim_run(world->sim, world_chance(world, 20) * FM_NS_PER_MS);
    } else if (choice < 89) {
        uint64_t factor = world->options.merge_bytes_max ? 20 : 1; /* they wait for each other */
        sim_run(world->sim, (2 + world_chance(world, 15)) * factor * FM_NS_PER_S);
        if (!sim_crashed(world->sim))
            world_note_durable(world);
    } else if (choice < 92 && !world->flush_runs) {
        world->flush_runs = true;
        store_flush(world->store, world_on_flushed, world);
    } else if (choice < 96) {
        world_read_something(world);
    } else {
        world_upload(world);
    }
}

static void world_life(struct world *world)
{
    bool has_faults = world_chance(world, 2);
    world_faults(world, has_faults && world_chance(world, 2));
    sim_disk_capacity(world->sim, world_chance(world, 5) ? 0 : FM_KIB(400));
    if (world_chance(world, 8) == 0)
        sim_crash_at(world->sim, 1 + world_chance(world, 60)); /* while it starts */
    if (!world_open(world)) {
        world_crash(world, world_keeps_cache(world));
        return;
    }
    world_faults(world, has_faults);
    if (world_chance(world, 2))
        sim_crash_at(world->sim, 1 + world_chance(world, 400));
    uint64_t actions = 10 + world_chance(world, 60);
    for (uint64_t i = 0; i < actions && !sim_crashed(world->sim); i++) {
        world_one_action(world);
        check_balance(world);
    }
    if (!sim_crashed(world->sim) && world_chance(world, 3) == 0)
        world_close(world);
    else
        world_crash(world, world_keeps_cache(world));
}

static struct world *world_new(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world, "memory");
    assert_ok(sim_new(&world->sim, seed));
    fm_list_init(&world->requests);
    world->options = world_options(world);
    current_seed = seed;
    current_step = 0;
    return world;
}

static void world_free(struct world *world)
{
    sim_free(world->sim);
    free(world);
}

struct totals {
    uint64_t merged, rotten, mended;
    uint64_t acked, refused, blocks, crashes, opened, flushes, operations;
};

static void totals_add(struct totals *totals, const struct world *world)
{
    totals->merged += world->merged;
    totals->rotten += world->rotten;
    totals->mended += world->mended;
    totals->acked += world->acked;
    totals->refused += world->refused;
    totals->blocks += world->block_count;
    totals->crashes += world->crashes;
    totals->opened += world->opened;
    totals->flushes += world->flushes;
    totals->operations += sim_operation_count(world->sim);
}

static void run_seed(uint64_t seed, struct totals *totals)
{
    struct world *world = world_new(seed);
    uint64_t lives = 1 + world_chance(world, 4);
    for (uint64_t i = 0; i < lives; i++) {
        world_life(world);
        world_verify(world);
        if (world_chance(world, 2))
            world_crash(world, world_keeps_cache(world));
        else
            world_close(world);
    }
    world_verify(world);
    world_close(world);
    totals_add(totals, world);
    world_free(world);
}

/* ---- every crash point of one small run ---- */

static void sweep_scenario(struct world *world)
{
    for (unsigned i = 0; i < 12 && !sim_crashed(world->sim); i++) {
        world_append(world);
        sim_run(world->sim, 30 * FM_NS_PER_MS);
    }
    if (!sim_crashed(world->sim)) {
        world->flush_runs = true;
        store_flush(world->store, world_on_flushed, world);
        sim_run(world->sim, FM_NS_PER_S);
    }
    if (!sim_crashed(world->sim))
        world_upload(world);
    for (unsigned i = 0; i < 6 && !sim_crashed(world->sim); i++) {
        world_append(world);
        sim_run(world->sim, 20 * FM_NS_PER_S); /* cut by age, expired, recycled */
    }
    if (!sim_crashed(world->sim))
        world_close(world);
    else
        world_crash(world, false);
}

/* Blocks that are merged and read again. */
static void sweep_upkeep(struct world *world)
{
    for (unsigned i = 0; i < 24 && !sim_crashed(world->sim); i++) {
        world_append(world);
        sim_run(world->sim, 30 * FM_NS_PER_MS);
        if (i % 3 == 2 && !sim_crashed(world->sim)) {
            world->flush_runs = true;
            store_flush(world->store, world_on_flushed, world);
            sim_run(world->sim, FM_NS_PER_S);
        }
    }
    for (unsigned i = 0; i < 6 && !sim_crashed(world->sim); i++)
        sim_run(world->sim, 20 * FM_NS_PER_S);
    if (!sim_crashed(world->sim))
        world_close(world);
    else
        world_crash(world, false);
}

static void sweep_run(struct world *world)
{
    if (world->options.merge_bytes_max)
        sweep_upkeep(world);
    else
        sweep_scenario(world);
}

static struct world *sweep_world(uint64_t seed, bool with_upkeep)
{
    struct world *world = world_new(seed);
    world->is_watched = !with_upkeep;
    world->options.merge_bytes_max = with_upkeep ? FM_MIB(1) : 0;
    world->options.scrub_interval_ns = with_upkeep ? 15 * FM_NS_PER_S : 0;
    world->options.segment_bytes = FM_KIB(8);
    world->options.block_age_ns = 15 * FM_NS_PER_S;
    world->options.retention_ns = (with_upkeep ? 80 : 5) * FM_NS_PER_S;
    world->options.sync = STORE_SYNC_GROUP;
    return world;
}

static void run_sweep(uint64_t seed, bool with_upkeep, struct totals *totals)
{
    struct world *world = sweep_world(seed, with_upkeep);
    CHECK(world_open(world), "open");
    sweep_run(world);
    uint64_t operations = sim_operation_count(world->sim);
    world_free(world);
    printf("sim_store: sweep over %llu operations\n", (unsigned long long)operations);
    for (uint64_t nth = 1; nth <= operations; nth++) {
        world = sweep_world(seed, with_upkeep);
        current_step = nth;
        sim_crash_at(world->sim, nth);
        if (world_open(world))
            sweep_run(world);
        else
            world_crash(world, false);
        /* And again while it recovers, a little further each time. */
        for (uint64_t again = 1; again < 20; again += 6) {
            sim_crash_at(world->sim, again);
            if (world_open(world))
                sim_run(world->sim, FM_NS_PER_S);
            world_crash(world, false);
        }
        world_verify(world);
        world_close(world);
        totals_add(totals, world);
        world_free(world);
    }
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 200;
    bool sweep = false;
    struct totals totals = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--sweep") == 0)
            sweep = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--first") == 0)
            first = strtoull(argv[++i], NULL, 10);
    }
    log_setup(getenv("SIM_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0, false, NULL);
    if (sweep)
        for (unsigned i = 0; i < 2; i++)
            run_sweep(first, i, &totals);
    for (uint64_t seed = first; !sweep && seed < first + count; seed++)
        run_seed(seed, &totals);
    printf("sim_store: %s: %llu appends stored, %llu refused, %llu blocks, %llu flushes, "
           "%llu starts, %llu crashes, %llu disk operations, merged blocks seen %llu times, "
           "%llu rotten, %llu of them made again\n",
           sweep ? "sweep done" : "all seeds hold", (unsigned long long)totals.acked,
           (unsigned long long)totals.refused, (unsigned long long)totals.blocks,
           (unsigned long long)totals.flushes, (unsigned long long)totals.opened,
           (unsigned long long)totals.crashes, (unsigned long long)totals.operations,
           (unsigned long long)totals.merged, (unsigned long long)totals.rotten,
           (unsigned long long)totals.mended);
    return 0;
}
