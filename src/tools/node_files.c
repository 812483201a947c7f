/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for a trace in the files of a node: every block of the tenant, then the whole log. */
#include "node_files.h"

#include <stdio.h>

#include "block_files.h"
#include "fermata/linux.h"
#include "fermata/wal.h"

#define NODE_TRACE_BYTES_MAX FM_MIB(256)

struct node_search {
    const char *tenant;
    const struct trace_id *id;
    struct trace *trace;
    struct fm_buf otlp; /* of one find, or one record */
    char folder[1024];  /* being listed */
    uint64_t *damaged;
    struct fm_why *why;
};

static int search_add(struct node_search *search)
{
    int rc = trace_add(search->trace, fm_buf_slice(&search->otlp));
    return rc == FM_ELIMIT ? FM_OK : rc; /* the trace says itself that it is partial */
}

static int search_block(struct node_search *search, const char *path)
{
    FM_AUTO(block) block = NULL;
    struct block_files files;
    bool maybe = true;

    int rc = block_files_open(&files, path, search->why);
    if (rc == FM_OK && files.meta.bloom_shard_count)
        rc = bloom_test(files.blooms[bloom_shard(search->id, files.meta.bloom_shard_count)],
                        search->id, &maybe);
    if (rc == FM_OK && maybe)
        rc = block_open(&block, files.data, &files.meta, search->why);
    fm_buf_reset(&search->otlp);
    if (rc == FM_OK && maybe)
        rc = block_find_trace(block, search->id, &search->otlp, NULL, search->why);
    if (rc == FM_OK && maybe)
        rc = search_add(search);
    block = block_free(block);
    block_files_close(&files);
    return rc == FM_NONE ? FM_OK : rc;
}

static int search_on_block(void *self, const char *name, bool is_directory)
{
    struct node_search *search = self;
    struct block_id id;
    char path[1200];

    if (!is_directory || block_id_parse(fm_slice_text(name), &id) != FM_OK)
        return FM_OK;
    (void)snprintf(path, sizeof path, "%s/%s", search->folder, name);
    int rc = search_block(search, path);
    if (rc == FM_ENOMEM)
        return rc;
    if (rc < 0 && rc != FM_ENOTFOUND) /* without meta.json it is no block */
        ++*search->damaged;
    return FM_OK;
}

static int search_on_record(void *self, const struct wal_segment *segment, uint64_t offset,
                            const struct wal_record *record)
{
    struct node_search *search = self;

    (void)segment;
    (void)offset;
    if (record->type != WAL_SPANS || !fm_slice_equal_text(record->tenant, search->tenant))
        return FM_OK;
    fm_buf_reset(&search->otlp);
    int rc = wal_record_payload(record, &search->otlp);
    return rc < 0 ? rc : search_add(search);
}

static int search_on_hole(void *self, uint64_t offset, uint64_t len)
{
    struct node_search *search = self;

    ++*search->damaged;
    (void)fm_fail(search->why, FM_ECORRUPT, "%s: a hole of %llu bytes at %llu", search->folder,
                  (unsigned long long)len, (unsigned long long)offset);
    return FM_OK;
}

static int search_on_segment(void *self, const char *name, bool is_directory)
{
    struct node_search *search = self;
    const struct wal_visitor visitor = {search, search_on_record, search_on_hole};
    struct wal_replay_result result;
    struct pf_source file;
    struct fm_source source;
    size_t len = strlen(name);
    char path[1200];

    if (is_directory || len < 4 || strcmp(name + len - 4, ".seg") != 0)
        return FM_OK;
    (void)snprintf(path, sizeof path, "%s/%s", search->folder, name);
    int rc = pf_source_open(&file, linux_platform(), path, &source, search->why);
    if (rc == FM_OK) {
        rc = wal_replay(source, &visitor, &result, search->why);
        pf_source_close(&file);
    }
    if (rc == FM_ENOMEM)
        return rc;
    if (rc < 0)
        ++*search->damaged;
    return FM_OK;
}

static int search_folder(struct node_search *search, pf_list_visit *visit, const char *parent,
                         const char *data_dir, const char *name)
{
    struct platform *platform = linux_platform();

    (void)snprintf(search->folder, sizeof search->folder, "%s/%s%s", data_dir, parent, name);
    int rc = platform->ops->list(platform, search->folder, visit, search, search->why);
    return rc == FM_ENOTFOUND ? FM_OK : rc;
}

static int search_on_nothing(void *self, const char *name, bool is_directory)
{
    (void)self;
    (void)name;
    (void)is_directory;
    return FM_OK;
}

int node_files_find(const char *data_dir, const char *tenant, const struct trace_id *id,
                    struct trace *trace, uint64_t *damaged, struct fm_why *why)
{
    struct platform *platform = linux_platform();
    struct node_search search = {
        .tenant = tenant, .id = id, .trace = trace, .damaged = damaged, .why = why};

    *damaged = 0;
    int rc = platform->ops->list(platform, data_dir, search_on_nothing, NULL, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&search.otlp, NODE_TRACE_BYTES_MAX);
    rc = search_folder(&search, search_on_block, "blocks/", data_dir, tenant);
    if (rc == FM_OK)
        rc = search_folder(&search, search_on_segment, "wal", data_dir, "");
    fm_buf_fini(&search.otlp);
    return rc;
}
