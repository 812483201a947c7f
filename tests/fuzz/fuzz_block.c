/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, from both ends.  The first byte chooses:
 *   'v' 'w'  the rest is a data.parquet of version 4 or 5: verify it and read every trace
 *   'b'      the rest is OTLP: build a block of it, which must verify and read back
 *   'j'      the rest is the JSON of a value */
#include "fermata/block.h"

#include "../../src/lib/block/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By id, once without and once with guides; ids in a hostile file may be anything. */
struct fuzz_finds {
    const struct block *block;
    unsigned count;
};

static int fuzz_find(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    struct fuzz_finds *finds = self;
    struct fm_buf found;
    (void)otlp;
    fm_buf_init(&found, FM_MIB(16));
    (void)!block_find_trace(finds->block, id, &found, NULL, NULL);
    fm_buf_fini(&found);
    return ++finds->count > 8 ? FM_ELIMIT : FM_OK;
}

static int fuzz_visit(void *self, const struct trace_id *id, struct fm_slice otlp)
{
    uint64_t *count = self;
    (void)id;
    (void)otlp;
    return ++*count > 1000 ? FM_ELIMIT : FM_OK;
}

static void fuzz_read(struct fm_slice file, enum block_version version)
{
    static const uint8_t all_ones[32] = {0, 0,  0,   0,   0,   0,   0,   64,  0,   0,  0,
                                         0, 0,  0,   0,   1,   0,   0,   0,   0,   0,  0,
                                         0, 64, 255, 255, 255, 255, 255, 255, 255, 255};
    struct fm_slice shard = fm_slice(all_ones, sizeof all_ones);
    struct fm_why why = {{0}};
    struct block_census census;
    static const struct block_dedicated columns[] = {{.name = "a", .scope = 1},
                                                     {.name = "b", .type = 1}};
    struct block_meta meta = {
        .version = version,
        .end_ns = UINT64_MAX,
        .size_bytes = file.len,
        .trace_count = 30,
        .row_group_count = 1,
        .bloom_shard_count = 1,
        .dedicated_count = 2,
        .dedicated = columns,
    };
    FM_AUTO(block) block = NULL;
    uint64_t count = 0;
    (void)!block_verify(fm_source_memory(&file), &meta, &shard, &census, &why);
    if (block_open(&block, fm_source_memory(&file), &meta, &why) < 0)
        return;
    (void)!block_each_trace(block, fuzz_visit, &count, &why);
    struct fuzz_finds cold = {block, 0}, prepared = {block, 0};
    (void)!block_each_trace(block, fuzz_find, &cold, &why);
    block_prepare(block, FM_MIB(1));
    (void)!block_each_trace(block, fuzz_find, &prepared, &why);
}

static void fuzz_build(struct fm_slice otlp)
{
    FM_AUTO(block_builder) builder = NULL;
    struct block_meta meta = {.tenant = TENANT_DEFAULT};
    struct block_census census, verified;
    struct fm_why why = {{0}};
    struct block_options options = block_options_default;
    struct fm_buf file, blooms;
    fm_buf_init(&file, FM_MIB(64));
    fm_buf_init(&blooms, FM_MIB(1));
    options.page_span_target = 3;
    options.codec_level = 1;
    int rc = block_builder_new(&builder, &options);
    if (rc == FM_OK)
        rc = block_builder_add(builder, otlp, &why);
    if (rc == FM_OK)
        rc = block_builder_finish(builder, fm_sink_buf(&file), &blooms, &meta, &census, &why);
    if (rc == FM_OK) {
        struct fm_slice bytes = fm_buf_slice(&file), shard = fm_buf_slice(&blooms);
        uint64_t count = 0;
        FM_AUTO(block) block = NULL;
        rc = block_verify(fm_source_memory(&bytes), &meta, &shard, &verified, &why);
        FM_ASSERT(rc == FM_OK);
        FM_ASSERT(verified.span_count == census.span_count);
        FM_ASSERT(verified.attribute_count == census.attribute_count);
        rc = block_open(&block, fm_source_memory(&bytes), &meta, &why);
        FM_ASSERT(rc == FM_OK);
        rc = block_each_trace(block, fuzz_visit, &count, &why);
        FM_ASSERT(rc == FM_OK || rc == FM_ELIMIT);
    }
    fm_buf_fini(&file);
    fm_buf_fini(&blooms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct fm_slice rest = fm_slice(data + 1, size - 1);
    struct fm_buf value;
    switch (data[0]) {
    case 'v':
        fuzz_read(rest, BLOCK_V4);
        break;
    case 'w':
        fuzz_read(rest, BLOCK_V5);
        break;
    case 'b':
        fuzz_build(rest);
        break;
    case 'j':
        fm_buf_init(&value, FM_MIB(16));
        (void)!value_from_json(rest, &value);
        fm_buf_fini(&value);
        break;
    default:
        break;
    }
    return 0;
}
