/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a block's directory for the verbs that look into blocks. */
#include "block_files.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/linux.h"

#define BLOCK_META_MAX   FM_MIB(1)
#define BLOCK_BLOOMS_MAX FM_MIB(256)

static int block_files_read_meta(struct block_files *files, const char *folder, struct fm_why *why)
{
    char path[1024];
    struct fm_buf json;

    (void)snprintf(path, sizeof path, "%s/meta.json", folder);
    fm_buf_init(&json, BLOCK_META_MAX);
    int rc = pf_read_file(linux_platform(), path, &json, why);
    if (rc == FM_OK) {
        rc = block_meta_parse_all(fm_buf_slice(&json), &files->meta, files->dedicated, why);
        if (rc < 0)
            rc = fm_wrap(why, rc, "%s", path);
    }
    fm_buf_fini(&json);
    return rc;
}

static int block_files_read_blooms(struct block_files *files, const char *folder,
                                   struct fm_why *why)
{
    uint32_t count = files->meta.bloom_shard_count;
    char path[1024];

    if (count > BLOCK_BLOOM_SHARD_MAX)
        return fm_fail(why, FM_ECORRUPT, "%s: meta.json speaks of %u blooms", folder, count);
    files->blooms = calloc(count ? count : 1, sizeof *files->blooms);
    size_t *ends = calloc(count ? count : 1, sizeof *ends);
    int rc = files->blooms && ends ? FM_OK : fm_fail(why, FM_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count && rc == FM_OK; i++) {
        (void)snprintf(path, sizeof path, "%s/bloom-%u", folder, i);
        rc = pf_read_file(linux_platform(), path, &files->bloom_bytes, why);
        if (rc == FM_ENOTFOUND)
            rc = fm_fail(why, FM_ECORRUPT, "%s is missing", path);
        if (rc == FM_OK)
            ends[i] = files->bloom_bytes.len;
    }
    for (uint32_t i = 0; i < count && rc == FM_OK; i++) { /* the bytes move no more */
        size_t start = i ? ends[i - 1] : 0;
        files->blooms[i] = fm_slice(files->bloom_bytes.ptr + start, ends[i] - start);
    }
    free(ends);
    return rc;
}

int block_files_open(struct block_files *files, const char *folder, struct fm_why *why)
{
    char path[1024];

    *files = (struct block_files){0};
    fm_buf_init(&files->bloom_bytes, BLOCK_BLOOMS_MAX);
    int rc = block_files_read_meta(files, folder, why);
    if (rc < 0)
        return rc;
    rc = block_files_read_blooms(files, folder, why);
    if (rc < 0)
        return rc;
    (void)snprintf(path, sizeof path, "%s/data.parquet", folder);
    rc = pf_source_open(&files->file, linux_platform(), path, &files->data, why);
    if (rc == FM_ENOTFOUND)
        return fm_fail(why, FM_ECORRUPT, "%s is missing", path);
    return rc;
}

void block_files_close(struct block_files *files)
{
    pf_source_close(&files->file);
    fm_buf_fini(&files->bloom_bytes);
    free(files->blooms);
    files->blooms = NULL;
}
