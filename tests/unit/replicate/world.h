/* SPDX-License-Identifier: Apache-2.0 */
/* A replicator in the simulated world: a store made of a few lines, a bucket with bad days. */
#ifndef TESTS_UNIT_REPLICATE_WORLD_H
#define TESTS_UNIT_REPLICATE_WORLD_H

#include "../../support/sim_bucket.h"
#include "../../support/test.h"

#include "fermata/replicate.h"
#include "fermata/sim.h"
#include "fermata/units.h"

/* ---- a store that only knows which blocks were marked ---- */

#define BLOCKS_MAX 400

struct mark {
    struct store *store;
    void (*done)(void *self, int rc);
    void *done_self;
    struct pf_timer timer;
};
struct store {
    struct platform *platform;
    struct store_block blocks[BLOCKS_MAX];
    bool uploaded[BLOCKS_MAX];
    uint32_t refs[BLOCKS_MAX];
    uint32_t count;
    int mark_rc; /* what marking answers */
    struct mark marks[BLOCKS_MAX];
};
static struct store *fake; /* store_block_ref has no other way to it */

void store_block_ref(struct store_block *block)
{
    fake->refs[block - fake->blocks]++;
}

void store_block_unref(struct store *store, struct store_block *block)
{
    assert_true(store->refs[block - store->blocks] > 0);
    store->refs[block - store->blocks]--;
}

bool store_block_is_uploaded(const struct store *store, const struct store_block *block)
{
    return store->uploaded[block - store->blocks];
}

void store_get_status(const struct store *store, struct store_status *ret_status)
{
    (void)store;
    *ret_status = (struct store_status){.free_bytes = UINT64_C(1) << 30};
}

uint64_t store_growth(const struct store *store)
{
    (void)store;
    return 1000;
}

static inline void mark_on_timer(struct pf_timer *timer)
{
    struct mark *mark = FM_CONTAINER(timer, struct mark, timer);
    struct store *store = mark->store;
    pf_timer_stop(store->platform, timer);
    if (store->mark_rc == FM_OK)
        store->uploaded[mark - store->marks] = true;
    void (*done)(void *self, int rc) = mark->done;
    mark->done = NULL;
    done(mark->done_self, store->mark_rc);
}

void store_block_uploaded(struct store *store, struct store_block *block,
                          void (*done)(void *self, int rc), void *self)
{
    struct mark *mark = &store->marks[block - store->blocks];
    assert_null(mark->done);
    assert_false(store->uploaded[block - store->blocks]);
    *mark = (struct mark){.store = store, .done = done, .done_self = self};
    mark->timer.fire = mark_on_timer;
    pf_timer_start(store->platform, &mark->timer, FM_NS_PER_MS);
}

/* ---- the world ---- */

struct world {
    struct sim *sim;
    struct platform *platform;
    struct store store;
    struct sim_bucket *bucket;
    struct replicator *replicator;
    bool closed;
    unsigned violations;
};

static inline uint64_t world_random(void *self)
{
    struct world *world = self;
    return sim_random(world->sim);
}

static inline void block_key(const struct store_block *block, const char *name, char key[512])
{
    char id[37];
    block_id_print(&block->meta.id, id);
    (void)snprintf(key, 512, "%s/%s/%s", block->meta.tenant, id, name);
}

static inline void world_on_commit(void *self, const struct sim_bucket_object *object)
{
    struct world *world = self;
    const char *slash = strrchr(object->key, '/');
    assert_int_equal(object->changes, 0); /* nothing is ever replaced by something else */
    if (strcmp(slash, "/meta.json") != 0)
        return;
    for (uint32_t i = 0; i < world->store.count; i++) {
        const struct store_block *block = &world->store.blocks[i];
        char key[512];
        block_key(block, "meta.json", key);
        if (strcmp(key, object->key) != 0)
            continue;
        block_key(block, "data.parquet", key);
        const struct sim_bucket_object *data = sim_bucket_find(world->bucket, key);
        if (!data || data->content.len != block->meta.size_bytes)
            world->violations++;
        for (uint32_t shard = 0; shard < block->meta.bloom_shard_count; shard++) {
            char name[32];
            (void)snprintf(name, sizeof name, "bloom-%u", shard);
            block_key(block, name, key);
            if (!sim_bucket_find(world->bucket, key))
                world->violations++;
        }
    }
}

static inline void world_write(struct world *world, const char *folder, const char *name,
                               struct fm_slice content)
{
    char path[700];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(pf_replace_file(world->platform, path, content, NULL));
}

static inline struct store_block *world_add_block(struct world *world, uint32_t shards, size_t size)
{
    uint32_t index = world->store.count++;
    assert_true(index < BLOCKS_MAX);
    struct store_block *block = &world->store.blocks[index];
    *block = (struct store_block){
        .meta = {.version = BLOCK_V4,
                 .tenant = "single-tenant",
                 .start_ns = 1000000000,
                 .end_ns = 2000000000,
                 .trace_count = 3,
                 .size_bytes = size,
                 .row_group_count = 1,
                 .bloom_shard_count = shards,
                 .footer_bytes = 8,
                 .replication_factor = 1},
        .span_count = 10,
        .first_lsn = index,
        .sealed_unix_ns = pf_wall_ns(world->platform) + index,
    };
    block->meta.id.bytes[0] = 0x80;
    block->meta.id.bytes[15] = (uint8_t)(index + 1);
    (void)snprintf(block->path, sizeof block->path, "/blocks/%u", index);
    int rc = pf_make_path(world->platform, block->path, NULL);
    assert_true(rc == FM_OK || rc == FM_EEXISTS);
    uint8_t *data = malloc(size);
    memset(data, (int)index, size);
    world_write(world, block->path, "data.parquet", fm_slice(data, size));
    free(data);
    for (uint32_t shard = 0; shard < shards; shard++) {
        char name[32];
        (void)snprintf(name, sizeof name, "bloom-%u", shard);
        world_write(world, block->path, name, FM_SLICE("bloom"));
    }
    struct fm_buf text;
    fm_buf_init(&text, FM_KIB(64));
    block_meta_render(&block->meta, &text);
    world_write(world, block->path, "meta.json", fm_buf_slice(&text));
    fm_buf_fini(&text);
    return block;
}

static inline void world_begin(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world); /* too large for a compound literal */
    assert_ok(sim_new(&world->sim, seed));
    world->platform = sim_platform(world->sim);
    world->store.platform = world->platform;
    fake = &world->store;
    world->bucket = sim_bucket_new(world_random, world);
    sim_bucket_on_commit(world->bucket, world_on_commit, world);
}

static inline void world_start(struct world *world, const struct replicator_options *options)
{
    assert_ok(replicator_new(&world->replicator, world->platform, &world->store,
                             sim_bucket_attach(world->bucket, world->platform), options));
}

static inline void world_init(struct world *world, uint64_t seed, uint32_t concurrency)
{
    const struct replicator_options options = {.concurrency_max = concurrency,
                                               .retry_cap_ns = 300 * FM_NS_PER_S,
                                               .backlog_percent = 30,
                                               .backlog_age_ns = 3600 * FM_NS_PER_S};
    world_begin(world, seed);
    world_start(world, &options);
}

static inline void world_on_closed(void *self)
{
    ((struct world *)self)->closed = true;
}

static inline void world_close(struct world *world)
{
    replicator_close(world->replicator, world_on_closed, world);
    for (int i = 0; i < 1000 && !world->closed; i++)
        (void)sim_run(world->sim, FM_NS_PER_S);
    assert_true(world->closed);
    for (uint32_t i = 0; i < world->store.count; i++)
        assert_int_equal(world->store.refs[i], 0);
    assert_int_equal(world->violations, 0);
}

static inline void world_fini(struct world *world)
{
    world_close(world);
    sim_bucket_free(world->bucket);
    sim_free(world->sim);
}

static inline bool world_is_drained(struct world *world)
{
    struct replicator_status status;
    replicator_get_status(world->replicator, &status);
    return status.pending_blocks == 0;
}

static inline uint64_t world_drain(struct world *world, uint64_t seconds_max)
{
    for (uint64_t second = 0; second < seconds_max; second++) {
        if (world_is_drained(world))
            return second;
        (void)sim_run(world->sim, FM_NS_PER_S);
    }
    assert_true(world_is_drained(world));
    return seconds_max;
}

#endif
