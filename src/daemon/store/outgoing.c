/* SPDX-License-Identifier: Apache-2.0 */
/* outgoing - the job that makes a group of the outbox, on the WORK lane: traces that somebody hands
 * over become blocks.
 *
 *   next() -> rows -> blocks/.tmp/<id>/ -> verify -> outbox/.tmp/<group>/<id>  ...  group.json
 *          -> outbox/<tenant>/<group>
 *
 * OUTGOING-1  The rename of the group's directory is the last step, and both ends are synced before
 *             anybody hears of it.
 *
 * OUTGOING-2  Ids follow from node, tenant, lane, name and number: the same group made again has
 *             the same ones.
 */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTGOING_PIECE_BYTES_MAX FM_MIB(256) /* one trace, as OTLP */
#define OUTGOING_LOG_FACTOR      4u          /* OTLP is that much larger than the log's bytes */

struct outgoing_build {
    struct outbox *outbox;
    struct store *store;
    struct store_outgoing *outgoing;
    struct outbox_group *group;
    struct block_options options;
    struct block_builder *builder; /* owned, NULL between blocks */
    struct fm_buf otlp;
    uint64_t part_bytes; /* OTLP in the builder */
    char folder[STORE_PATH_BYTES];
    struct fm_why *why;
};

static void outgoing_make_id(const struct outgoing_build *build, uint32_t number,
                             struct block_id *ret_id)
{
    const struct store_outgoing *outgoing = build->outgoing;
    uint8_t bytes[16 + 16 + 8 + TENANT_LEN_MAX];
    uint64_t hash[2];
    memcpy(bytes, build->store->options.node, 16);
    memcpy(bytes + 16, outgoing->name, 16);
    fm_store_le32(bytes + 32, (uint32_t)outgoing->lane);
    fm_store_le32(bytes + 36, number);
    memcpy(bytes + 40, outgoing->tenant.ptr, outgoing->tenant.len);
    fm_murmur3_128(fm_slice(bytes, 40 + outgoing->tenant.len), hash);
    fm_store_be64(ret_id->bytes, hash[0]);
    fm_store_be64(ret_id->bytes + 8, hash[1]);
    ret_id->bytes[6] = (uint8_t)(0x80 | (ret_id->bytes[6] & 0x0f)); /* RFC 9562: version 8 */
    ret_id->bytes[8] = (uint8_t)(0x80 | (ret_id->bytes[8] & 0x3f));
}

/* ---- one block ---- */

static int outgoing_write_facts(struct making *making, const struct block_entry *entry,
                                struct fm_why *why)
{
    struct local_facts facts = {
        .span_count = entry->block.span_count,
        .sealed_unix_ns = entry->block.sealed_unix_ns,
    };
    struct fm_buf text;
    memcpy(facts.node, making->store->options.node, sizeof facts.node);
    fm_buf_init(&text, FM_KIB(64));
    local_render(&facts, &text);
    int rc =
        text.failed ? FM_ENOMEM : making_write_file(making, "local.json", fm_buf_slice(&text), why);
    fm_buf_fini(&text);
    return rc;
}

static int outgoing_write_block(struct outgoing_build *build, struct making *making,
                                struct block_entry *entry)
{
    struct fm_why *why = build->why;
    char path[STORE_PATH_BYTES], id[37];
    int rc = making_begin(making, &entry->block.meta, why);
    uint64_t now_ns = pf_wall_ns(build->store->platform);
    if (build->store->options.future_tolerance_ns)
        block_builder_bound(build->builder, now_ns,
                            now_ns + build->store->options.future_tolerance_ns);
    if (rc == FM_OK)
        rc = making_write(making, build->builder, why);
    if (rc < 0)
        return rc;
    entry->block.span_count = making->census.span_count;
    rc = outgoing_write_facts(making, entry, why);
    if (rc == FM_OK)
        rc = build->store->platform->ops->sync_dir(build->store->platform, making->folder, why);
    if (rc == FM_OK)
        rc = making_verify(making, why);
    if (rc < 0)
        return rc;
    entry->disk_bytes = making->disk_bytes;
    block_id_print(&entry->block.meta.id, id);
    int len = snprintf(path, sizeof path, "%s/%s", build->folder, id);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    return making_publish(making, path, why);
}

/* What is in the builder becomes the group's next block. */
static int outgoing_finish_block(struct outgoing_build *build)
{
    struct outbox_group *group = build->group;
    struct block_entry *entry;
    struct making making;
    if (!build->builder || block_builder_span_count(build->builder) == 0)
        return FM_OK;
    int rc = outbox_group_add(build->store, group, &entry);
    if (rc < 0)
        return fm_fail(build->why, rc, "no memory for a block");
    outgoing_make_id(build, group->block_count - 1, &entry->block.meta.id);
    entry->block.sealed_unix_ns = group->sealed_unix_ns;
    outbox_name_block(group, entry);
    making_init(&making, build->store);
    rc = outgoing_write_block(build, &making, entry);
    if (rc < 0)
        making_discard(&making, build->why);
    build->outgoing->block_count = group->block_count;
    build->outgoing->trace_count += making.census.trace_count;
    build->outgoing->span_count += making.census.span_count;
    build->outgoing->byte_count += making.disk_bytes;
    making_fini(&making);
    build->builder = block_builder_free(build->builder);
    build->part_bytes = 0;
    return rc;
}

/* ---- traces ---- */

static int outgoing_add(struct outgoing_build *build)
{
    struct fm_slice otlp = fm_buf_slice(&build->otlp);
    uint64_t bytes_max = build->store->options.block_bytes * OUTGOING_LOG_FACTOR;
    int rc = FM_OK;
    if (build->builder && build->part_bytes + otlp.len > bytes_max)
        rc = outgoing_finish_block(build);
    if (rc == FM_OK && build->builder) {
        rc = block_builder_add(build->builder, otlp, build->why);
        if (rc == FM_ELIMIT && (rc = outgoing_finish_block(build)) == FM_OK)
            rc = making_add_first(&build->builder, &build->options, otlp, build->why);
    } else if (rc == FM_OK) {
        rc = making_add_first(&build->builder, &build->options, otlp, build->why);
    }
    build->part_bytes += otlp.len;
    return rc;
}

static int outgoing_collect(struct outgoing_build *build)
{
    struct store_outgoing *outgoing = build->outgoing;
    int rc = FM_OK;
    while (rc == FM_OK) {
        if (build->outbox->is_cancelled)
            return FM_ECANCELLED;
        fm_buf_reset(&build->otlp);
        rc = outgoing->next(outgoing->self, &build->otlp, build->why);
        if (rc == FM_OK && build->otlp.failed)
            rc = fm_fail(build->why, FM_ELIMIT, "a trace has more than %llu bytes",
                         (unsigned long long)OUTGOING_PIECE_BYTES_MAX);
        if (rc == FM_OK)
            rc = outgoing_add(build);
    }
    return rc == FM_END ? outgoing_finish_block(build) : rc;
}

/* ---- the group ---- */

static int outgoing_write_file(struct outgoing_build *build, const char *name,
                               const struct fm_buf *content)
{
    char path[STORE_PATH_BYTES];
    int len = snprintf(path, sizeof path, "%s/%s", build->folder, name);
    FM_ASSERT(len > 0 && (size_t)len < sizeof path);
    return content->failed
               ? FM_ENOMEM
               : pf_replace_file(build->store->platform, path, fm_buf_slice(content), build->why);
}

static int outgoing_write_group(struct outgoing_build *build)
{
    struct platform *platform = build->store->platform;
    const struct store_ahead *ahead = build->outgoing->ahead;
    struct fm_buf file;
    fm_buf_init(&file, SIZE_MAX / 4);
    outbox_group_render(build->group, &file);
    int rc = outgoing_write_file(build, "group.json", &file);
    fm_buf_reset(&file);
    if (ahead)
        store_ahead_render(ahead, &file);
    if (rc == FM_OK && ahead) /* AHEAD-1 */
        rc = outgoing_write_file(build, "ahead", &file);
    fm_buf_fini(&file);
    return rc < 0 ? rc : platform->ops->sync_dir(platform, build->folder, build->why);
}

/* OUTGOING-1. */
static int outgoing_publish(struct outgoing_build *build)
{
    struct platform *platform = build->store->platform;
    const struct platform_ops *ops = platform->ops;
    char folder[STORE_PATH_BYTES];
    store_path(build->store, folder, "outbox/%s", build->group->tenant->name);
    int rc = pf_make_path(platform, folder, build->why);
    if (rc == FM_OK)
        rc = ops->rename(platform, build->folder, build->group->path, build->why);
    if (rc == FM_EEXISTS) { /* of an attempt whose directory sync failed */
        rc = pf_remove_tree(platform, build->group->path, build->why);
        if (rc == FM_OK)
            rc = ops->rename(platform, build->folder, build->group->path, build->why);
    }
    if (rc < 0)
        return rc;
    rc = ops->sync_dir(platform, folder, build->why);
    if (rc < 0) /* not known to last: take it back */
        (void)ops->rename(platform, build->group->path, build->folder, NULL);
    return rc;
}

static int outgoing_run(struct outgoing_build *build)
{
    struct platform *platform = build->store->platform;
    int rc = pf_remove_tree(platform, build->folder, build->why);
    if (rc == FM_OK)
        rc = pf_make_path(platform, build->folder, build->why);
    if (rc == FM_OK)
        rc = outgoing_collect(build);
    if (rc == FM_OK && build->group->block_count) {
        rc = outgoing_write_group(build);
        if (rc == FM_OK)
            rc = outgoing_publish(build);
    }
    if (rc < 0 || build->group->block_count == 0)
        store_ignore(pf_remove_tree(platform, build->folder, NULL)); /* or at start */
    return rc;
}

void outgoing_work(struct pf_job *job)
{
    struct outbox *outbox = FM_CONTAINER(job, struct outbox, job);
    struct store *store = outbox->store;
    struct store_outgoing *outgoing = outbox->building;
    struct outgoing_build build = {
        .outbox = outbox,
        .store = store,
        .outgoing = outgoing,
        .group = outbox->made,
        .options = store->options.block,
        .why = &outgoing->why,
    };
    char name[33];
    outgoing->why.text[0] = '\0';
    outgoing->trace_count = outgoing->span_count = outgoing->byte_count = 0;
    outgoing->block_count = 0;
    outbox_print_name(outgoing->name, name);
    store_path(store, build.folder, "outbox/.tmp/%s", name);
    fm_buf_init(&build.otlp, OUTGOING_PIECE_BYTES_MAX);
    outbox->rc = outgoing_run(&build);
    block_builder_free(build.builder);
    fm_buf_fini(&build.otlp);
}
