/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks under tests/golden/blocks, and blocks built in memory. */
#ifndef TESTS_BLOCK_FILES_H
#define TESTS_BLOCK_FILES_H

#include "../../support/test.h"

#include "fermata/block.h"

struct block_files {
    struct fm_buf data, blooms;
    struct fm_slice data_slice; /* what a memory source borrows */
    struct fm_slice shards[BLOCK_BLOOM_SHARD_MAX];
    struct block_meta meta;
    struct block_dedicated dedicated[BLOCK_DEDICATED_MAX]; /* meta's */
    struct block_census census;
};

#define GOLDEN_V4         "golden/blocks/v4-by-tempo/a939d3c7-e506-42db-ba21-26584d3ec9e8"
#define GOLDEN_V4_MINIMAL "golden/blocks/v4-minimal/6f7dc00d-7211-4a27-b4d1-8b7fa5a318ad"
#define GOLDEN_V5         "golden/blocks/v5-by-tempo/8b119329-92da-4e57-8523-673f07b1447b"
#define GOLDEN_V5_MINIMAL "golden/blocks/v5-minimal/7a2bd80b-62a5-4d3b-bbf2-399ffedd98ad"
#define GOLDEN_MALFORMED  "golden/blocks/malformed/5e586dcf-06be-49a1-85a2-5e8b9b64145a"

__attribute__((unused)) static void files_fini(struct block_files *files)
{
    fm_buf_fini(&files->data);
    fm_buf_fini(&files->blooms);
}

__attribute__((unused)) static void files_share(struct block_files *files)
{
    files->data_slice = fm_buf_slice(&files->data);
    size_t size = files->blooms.len / files->meta.bloom_shard_count;
    for (uint32_t i = 0; i < files->meta.bloom_shard_count; i++)
        files->shards[i] = fm_slice(files->blooms.ptr + i * size, size);
}

__attribute__((unused)) static void files_read(struct block_files *files, const char *folder)
{
    char path[256];
    struct fm_why why = {{0}};
    (void)snprintf(path, sizeof path, "%s/data.parquet", folder);
    files->data = test_read_file(path);
    (void)snprintf(path, sizeof path, "%s/bloom-0", folder);
    files->blooms = test_read_file(path);
    (void)snprintf(path, sizeof path, "%s/meta.json", folder);
    struct fm_buf json = test_read_file(path);
    if (block_meta_parse_all(fm_buf_slice(&json), &files->meta, files->dedicated, &why) != FM_OK)
        fail_msg("%s: %s", path, why.text);
    fm_buf_fini(&json);
    files_share(files);
}

/* Builds requests[0..count) into one block. */
__attribute__((unused)) static void files_build(struct block_files *files,
                                                const struct fm_buf *requests, size_t count,
                                                const struct block_options *options)
{
    FM_AUTO(block_builder) builder = NULL;
    struct fm_why why = {{0}};
    *files = (struct block_files){.meta.tenant = TENANT_DEFAULT};
    fm_buf_init(&files->data, FM_MIB(512));
    fm_buf_init(&files->blooms, FM_MIB(64));
    for (size_t i = 0; i < 16; i++)
        files->meta.id.bytes[i] = (uint8_t)(i * 17 + 3);
    assert_ok(block_builder_new(&builder, options));
    for (size_t i = 0; i < count; i++)
        if (block_builder_add(builder, fm_buf_slice(&requests[i]), &why) != FM_OK)
            fail_msg("add: %s", why.text);
    if (block_builder_finish(builder, fm_sink_buf(&files->data), &files->blooms, &files->meta,
                             &files->census, &why) != FM_OK)
        fail_msg("finish: %s", why.text);
    files_share(files);
}

__attribute__((unused)) static struct fm_source files_source(struct block_files *files)
{
    return fm_source_memory(&files->data_slice);
}

#endif
