/* SPDX-License-Identifier: Apache-2.0 */
/* outbox_group - a group of blocks that leave together, and its file group.json. */
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>

#include "fermata/json.h"

#define GROUP_BLOCKS_MAX 4096u

static const char *const lane_names[STORE_LANE_COUNT] = {
    [STORE_LANE_NORMAL] = "normal",
    [STORE_LANE_EXPRESS] = "express",
    [STORE_LANE_RECALL] = "recall",
};

const char *store_lane_name(enum store_lane lane)
{
    return lane_names[lane];
}

void outbox_print_name(const uint8_t name[16], char text[33])
{
    fm_hex_encode(text, fm_slice(name, 16));
    text[32] = '\0';
}

int outbox_group_new(struct outbox *outbox, struct tenant *tenant, enum store_lane lane,
                     const uint8_t name[16], struct outbox_group **ret_group)
{
    struct outbox_group *group = calloc(1, sizeof *group);
    char text[33];
    if (!group)
        return FM_ENOMEM;
    fm_list_init(&group->link);
    fm_list_init(&group->entries);
    group->outbox = outbox;
    group->tenant = tenant;
    group->lane = lane;
    memcpy(group->name, name, sizeof group->name);
    outbox_print_name(name, text);
    int len = snprintf(group->path, sizeof group->path, "%s/outbox/%s/%s", outbox->store->data_dir,
                       tenant->name, text);
    FM_ASSERT(len > 0 && (size_t)len < sizeof group->path); /* open checked the length */
    *ret_group = group;
    return FM_OK;
}

struct outbox_group *outbox_group_free(struct outbox_group *group)
{
    if (!group)
        return NULL;
    while (!fm_list_empty(&group->entries))
        block_entry_free(group->outbox->store,
                         FM_CONTAINER(group->entries.next, struct block_entry, link));
    fm_list_remove(&group->link);
    free(group->sources);
    free(group);
    return NULL;
}

int outbox_group_add(struct store *store, struct outbox_group *group,
                     struct block_entry **ret_entry)
{
    struct block_entry *entry;
    int rc = block_entry_new(store, &entry);
    if (rc < 0)
        return rc;
    entry->group = group;
    entry->tenant = group->tenant;
    entry->block.is_outgoing = true;
    entry->block.lane = group->lane;
    memcpy(entry->block.meta.tenant, group->tenant->name, sizeof group->tenant->name);
    fm_list_append(&group->entries, &entry->link);
    group->block_count++;
    *ret_entry = entry;
    return FM_OK;
}

void outbox_name_block(struct outbox_group *group, struct block_entry *entry)
{
    char id[37];
    block_id_print(&entry->block.meta.id, id);
    int len = snprintf(entry->block.path, sizeof entry->block.path, "%s/%s", group->path, id);
    FM_ASSERT(len > 0 && (size_t)len < sizeof entry->block.path);
}

/* ---- group.json ---- */

void outbox_group_render(const struct outbox_group *group, struct fm_buf *buf)
{
    struct json_writer json;
    json_writer_init(&json, buf);
    json_object_begin(&json);
    json_key(&json, "version");
    json_uint(&json, 1);
    json_key(&json, "lane");
    json_string(&json, fm_slice_text(lane_names[group->lane]));
    json_key(&json, "blocks");
    json_uint(&json, group->block_count);
    json_key(&json, "sealedUnixNano");
    json_uint(&json, group->sealed_unix_ns);
    json_key(&json, "sources");
    json_array_begin(&json);
    for (size_t i = 0; i < group->source_count; i++) {
        char id[37];
        block_id_print(&group->sources[i], id);
        json_string(&json, fm_slice_text(id));
    }
    json_array_end(&json);
    json_object_end(&json);
    fm_buf_puts(buf, "\n");
}

enum group_key {
    GROUP_VERSION = 1,
    GROUP_LANE = 2,
    GROUP_BLOCKS = 4,
    GROUP_SEALED = 8,
    GROUP_SOURCES = 16,
    GROUP_ALL = 31,
};

static int group_parse_sources(struct json_reader *reader, struct outbox_group *group)
{
    struct json_token token;
    int rc = json_next(reader, &token);
    if (rc != FM_OK || token.kind != JSON_ARRAY_BEGIN)
        return rc < 0 ? rc : FM_EMALFORMED;
    for (;;) {
        rc = json_next(reader, &token);
        if (rc != FM_OK)
            return rc < 0 ? rc : FM_EMALFORMED;
        if (token.kind == JSON_ARRAY_END)
            return FM_OK;
        if (token.kind != JSON_STRING || group->source_count == STORE_SOURCES_MAX)
            return FM_EMALFORMED;
        rc = block_id_parse(token.text, &group->sources[group->source_count]);
        if (rc < 0)
            return rc;
        group->source_count++;
    }
}

static int group_parse_lane(struct fm_slice text, enum store_lane *ret_lane)
{
    for (unsigned i = 0; i < STORE_LANE_COUNT; i++) {
        if (fm_slice_equal_text(text, lane_names[i])) {
            *ret_lane = (enum store_lane)i;
            return FM_OK;
        }
    }
    return FM_EMALFORMED;
}

static int group_member(struct json_reader *reader, struct fm_slice key, struct outbox_group *group,
                        uint64_t *ret_blocks, unsigned *seen)
{
    struct json_token token;
    uint64_t version;
    if (fm_slice_equal_text(key, "sources")) {
        if (*seen & GROUP_SOURCES)
            return FM_EMALFORMED;
        *seen |= GROUP_SOURCES;
        return group_parse_sources(reader, group);
    }
    int rc = json_next(reader, &token);
    if (rc != FM_OK)
        return rc < 0 ? rc : FM_EMALFORMED;
    if (fm_slice_equal_text(key, "version")) {
        *seen |= GROUP_VERSION;
        rc = json_u64(&token, &version);
        return rc < 0 || version == 1 ? rc : FM_EUNSUPPORTED;
    }
    if (fm_slice_equal_text(key, "lane")) {
        *seen |= GROUP_LANE;
        return token.kind == JSON_STRING ? group_parse_lane(token.text, &group->lane)
                                         : FM_EMALFORMED;
    }
    if (fm_slice_equal_text(key, "blocks")) {
        *seen |= GROUP_BLOCKS;
        return json_u64(&token, ret_blocks);
    }
    if (fm_slice_equal_text(key, "sealedUnixNano")) {
        *seen |= GROUP_SEALED;
        return json_u64(&token, &group->sealed_unix_ns);
    }
    return json_skip(reader, &token);
}

int outbox_group_parse(struct fm_slice text, struct outbox_group *group, uint32_t *ret_block_count,
                       struct fm_why *why)
{
    struct fm_arena scratch;
    struct json_reader reader;
    struct json_token token;
    uint64_t blocks = 0;
    unsigned seen = 0;
    group->sources = calloc(STORE_SOURCES_MAX, sizeof *group->sources);
    if (!group->sources)
        return fm_fail(why, FM_ENOMEM, "no memory for a group");
    fm_arena_init(&scratch, 65536);
    json_reader_init(&reader, text, &scratch);
    int rc = json_next(&reader, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        rc = FM_EMALFORMED;
    while (rc == FM_OK) {
        rc = json_next(&reader, &token);
        if (rc == FM_OK && token.kind == JSON_OBJECT_END)
            break;
        if (rc == FM_OK)
            rc = group_member(&reader, token.text, group, &blocks, &seen);
    }
    fm_arena_fini(&scratch);
    if (rc != FM_OK || seen != GROUP_ALL || blocks == 0 || blocks > GROUP_BLOCKS_MAX)
        return fm_fail(why, rc < 0 ? rc : FM_EMALFORMED, "group.json is not one");
    *ret_block_count = (uint32_t)blocks;
    return FM_OK;
}
