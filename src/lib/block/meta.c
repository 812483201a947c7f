/* SPDX-License-Identifier: Apache-2.0 */
/* meta.json, the object whose presence makes a block exist, and block ids. */
#include "fermata/block.h"
#include "fermata/json.h"
#include "fermata/units.h"

#include <stdio.h>

#define META_BYTES_MAX     FM_KIB(256)
#define META_LEGACY_SHARDS 10 /* what bloomShards 0 or absent stands for */

void block_id_print(const struct block_id *id, char text[37])
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6};
    const uint8_t *from = id->bytes;
    for (size_t i = 0; i < FM_COUNT(groups); i++) {
        if (i)
            *text++ = '-';
        fm_hex_encode(text, fm_slice(from, groups[i]));
        text += 2 * groups[i];
        from += groups[i];
    }
    *text = '\0';
}

int block_id_parse(struct fm_slice text, struct block_id *ret_id)
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6};
    struct block_id id;
    size_t at = 0, to = 0;
    if (text.len != 36)
        return FM_EMALFORMED;
    for (size_t i = 0; i < FM_COUNT(groups); i++) {
        if (i && text.ptr[at++] != '-')
            return FM_EMALFORMED;
        struct fm_slice digits = fm_slice(text.ptr + at, (size_t)2 * groups[i]);
        if (fm_hex_decode(id.bytes + to, groups[i], digits) < 0)
            return FM_EMALFORMED;
        at += digits.len;
        to += groups[i];
    }
    *ret_id = id;
    return FM_OK;
}

/* ---- reading ---- */

struct meta_reader {
    struct json_reader json;
    struct block_meta meta;
    struct block_dedicated *room; /* borrowed; NULL: columns are counted only */
    uint32_t seen; /* bit per field */
    struct fm_why *why;
};

enum meta_field {
    META_FORMAT,
    META_ID,
    META_TENANT,
    META_START,
    META_END,
    META_TRACES,
    META_SIZE,
    META_LEVEL,
    META_ROW_GROUPS,
    META_SHARDS,
    META_FOOTER,
    META_REPLICATION,
    META_DEDICATED,
    META_FIELD_COUNT
};
static const char *const meta_names[META_FIELD_COUNT] = {
    [META_FORMAT] = "format",
    [META_ID] = "blockid",
    [META_TENANT] = "tenantid",
    [META_START] = "starttime",
    [META_END] = "endtime",
    [META_TRACES] = "totalobjects",
    [META_SIZE] = "size",
    [META_LEVEL] = "compactionlevel",
    [META_ROW_GROUPS] = "totalrecords",
    [META_SHARDS] = "bloomshards",
    [META_FOOTER] = "footersize",
    [META_REPLICATION] = "replicationfactor",
    [META_DEDICATED] = "dedicatedcolumns",
};
#define META_REQUIRED                                                                              \
    (1u << META_FORMAT | 1u << META_ID | 1u << META_TENANT | 1u << META_START | 1u << META_END)

static int meta_next(struct meta_reader *reader, struct json_token *token)
{
    int rc = json_next(&reader->json, token);
    return rc == FM_END ? FM_EMALFORMED : rc;
}

static int meta_number(const struct json_token *token, uint64_t value_max, uint64_t *ret_value)
{
    uint64_t value;
    if (token->kind != JSON_NUMBER)
        return FM_EMALFORMED;
    int rc = json_u64(token, &value);
    if (rc < 0 || value > value_max)
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}

static int meta_u32(const struct json_token *token, uint32_t *ret_value)
{
    uint64_t value;
    int rc = meta_number(token, UINT32_MAX, &value);
    if (rc == FM_OK)
        *ret_value = (uint32_t)value;
    return rc;
}

static int meta_text(const struct json_token *token, char *target, size_t size)
{
    if (token->kind != JSON_STRING || token->text.len >= size ||
        memchr(token->text.ptr, 0, token->text.len))
        return FM_EMALFORMED;
    memcpy(target, token->text.ptr, token->text.len);
    target[token->text.len] = '\0';
    return FM_OK;
}

static int meta_format(struct meta_reader *reader, const struct json_token *token)
{
    if (token->kind != JSON_STRING)
        return FM_EMALFORMED;
    if (fm_slice_equal_text(token->text, "vParquet4"))
        reader->meta.version = BLOCK_V4;
    else if (fm_slice_equal_text(token->text, "vParquet5"))
        reader->meta.version = BLOCK_V5;
    else
        return fm_fail(reader->why, FM_EUNSUPPORTED, "meta.json: format \"%.*s\" is not read",
                       (int)FM_MIN(token->text.len, (size_t)64), (const char *)token->text.ptr);
    return FM_OK;
}

static int meta_dedicated_text(struct block_dedicated *column, struct fm_slice key,
                               const struct json_token *token)
{
    static const char *const scopes[] = {"span", "resource", "event"};
    static const char *const types[] = {"string", "int"};
    if (token->kind != JSON_STRING)
        return FM_EMALFORMED;
    if (fm_slice_equal_text(key, "n"))
        return meta_text(token, column->name, sizeof column->name);
    bool is_scope = fm_slice_equal_text(key, "s");
    const char *const *names = is_scope ? scopes : types;
    for (uint8_t i = 0; i < (is_scope ? FM_COUNT(scopes) : FM_COUNT(types)); i++) {
        if (!fm_slice_equal_text(token->text, names[i]))
            continue;
        if (is_scope)
            column->scope = i;
        else
            column->type = i;
        return FM_OK;
    }
    return FM_EMALFORMED;
}

static int meta_dedicated_column(struct meta_reader *reader)
{
    struct block_dedicated column = {.name = ""};
    struct json_token token;
    int rc;
    while ((rc = meta_next(reader, &token)) == FM_OK && token.kind != JSON_OBJECT_END) {
        struct fm_slice key = token.text;
        rc = meta_next(reader, &token);
        if (rc < 0)
            return rc;
        bool known = fm_slice_equal_text(key, "n") || fm_slice_equal_text(key, "s") ||
                     fm_slice_equal_text(key, "t");
        rc = known ? meta_dedicated_text(&column, key, &token) : json_skip(&reader->json, &token);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!column.name[0])
        return FM_EMALFORMED;
    if (reader->meta.dedicated_count == BLOCK_DEDICATED_MAX)
        return fm_fail(reader->why, FM_ELIMIT, "meta.json: more than %d dedicated columns",
                       BLOCK_DEDICATED_MAX);
    if (reader->room)
        reader->room[reader->meta.dedicated_count] = column;
    reader->meta.dedicated_count++;
    return FM_OK;
}

static int meta_dedicated(struct meta_reader *reader, const struct json_token *first)
{
    struct json_token token;
    int rc;
    if (first->kind == JSON_NULL)
        return FM_OK;
    if (first->kind != JSON_ARRAY_BEGIN)
        return FM_EMALFORMED;
    reader->meta.dedicated_count = 0;
    while ((rc = meta_next(reader, &token)) == FM_OK && token.kind != JSON_ARRAY_END) {
        rc = token.kind == JSON_OBJECT_BEGIN ? meta_dedicated_column(reader) : FM_EMALFORMED;
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int meta_value(struct meta_reader *reader, enum meta_field field,
                      const struct json_token *token)
{
    struct block_meta *meta = &reader->meta;
    bool text = token->kind == JSON_STRING;
    switch (field) {
    case META_FORMAT:
        return meta_format(reader, token);
    case META_ID:
        return text ? block_id_parse(token->text, &meta->id) : FM_EMALFORMED;
    case META_TENANT:
        return meta_text(token, meta->tenant, sizeof meta->tenant);
    case META_START:
        return text ? fm_rfc3339_parse(token->text, &meta->start_ns) : FM_EMALFORMED;
    case META_END:
        return text ? fm_rfc3339_parse(token->text, &meta->end_ns) : FM_EMALFORMED;
    case META_TRACES:
        return meta_number(token, INT64_MAX, &meta->trace_count);
    case META_SIZE:
        return meta_number(token, INT64_MAX, &meta->size_bytes);
    case META_LEVEL:
        return meta_u32(token, &meta->compaction_level);
    case META_ROW_GROUPS:
        return meta_u32(token, &meta->row_group_count);
    case META_SHARDS:
        return meta_u32(token, &meta->bloom_shard_count);
    case META_FOOTER:
        return meta_u32(token, &meta->footer_bytes);
    case META_REPLICATION:
        return meta_u32(token, &meta->replication_factor);
    case META_DEDICATED:
        return meta_dedicated(reader, token);
    case META_FIELD_COUNT:
        break;
    }
    return FM_EMALFORMED;
}

static int meta_member(struct meta_reader *reader, struct fm_slice key)
{
    struct json_token token;
    unsigned field = 0;
    while (field < META_FIELD_COUNT && !fm_slice_equal_nocase(key, meta_names[field]))
        field++;
    if (reader->why)
        reader->why->text[0] = '\0';
    int rc = meta_next(reader, &token);
    if (rc < 0)
        return rc;
    if (field == META_FIELD_COUNT)
        return json_skip(&reader->json, &token);
    reader->seen |= 1u << field;
    rc = meta_value(reader, (enum meta_field)field, &token);
    if (rc < 0 && reader->why && !reader->why->text[0])
        return fm_fail(reader->why, rc, "meta.json: bad value of %s near byte %zu",
                       meta_names[field], reader->json.position);
    return rc;
}

static int meta_document(struct meta_reader *reader)
{
    struct json_token token;
    int rc = meta_next(reader, &token);
    if (rc == FM_OK && token.kind != JSON_OBJECT_BEGIN)
        rc = FM_EMALFORMED;
    while (rc == FM_OK && (rc = meta_next(reader, &token)) == FM_OK &&
           token.kind != JSON_OBJECT_END)
        rc = meta_member(reader, token.text);
    if (rc == FM_OK)
        rc = json_next(&reader->json, &token) == FM_END ? FM_OK : FM_EMALFORMED;
    return rc;
}

int block_meta_parse(struct fm_slice json, struct block_meta *ret_meta, struct fm_why *why)
{
    return block_meta_parse_all(json, ret_meta, NULL, why);
}

int block_meta_parse_all(struct fm_slice json, struct block_meta *ret_meta,
                         struct block_dedicated *room, struct fm_why *why)
{
    struct fm_why own = {{0}};
    struct meta_reader reader = {.why = &own, .room = room, .meta.dedicated = room};
    struct fm_arena scratch;
    if (json.len > META_BYTES_MAX)
        return fm_fail(why, FM_ELIMIT, "meta.json: %zu bytes", json.len);
    fm_arena_init(&scratch, META_BYTES_MAX * 4);
    json_reader_init(&reader.json, json, &scratch);
    int rc = meta_document(&reader);
    fm_arena_fini(&scratch);
    if (rc < 0 && own.text[0])
        return fm_fail(why, rc, "%s", own.text);
    if (rc < 0)
        return fm_fail(why, rc, "meta.json: %s near byte %zu",
                       reader.json.error ? reader.json.error : "malformed", reader.json.position);
    for (unsigned i = 0; i < META_FIELD_COUNT; i++)
        if ((META_REQUIRED & ~reader.seen) >> i & 1)
            return fm_fail(why, FM_EMALFORMED, "meta.json: %s is missing", meta_names[i]);
    if (!tenant_is_valid(fm_slice_text(reader.meta.tenant)))
        return fm_fail(why, FM_EMALFORMED, "meta.json: bad tenant");
    if (reader.meta.end_ns < reader.meta.start_ns)
        return fm_fail(why, FM_EMALFORMED, "meta.json: endTime before startTime");
    if (!reader.meta.bloom_shard_count)
        reader.meta.bloom_shard_count = META_LEGACY_SHARDS;
    if (reader.meta.bloom_shard_count > BLOCK_BLOOM_SHARD_MAX)
        return fm_fail(why, FM_EMALFORMED, "meta.json: %u bloom shards",
                       reader.meta.bloom_shard_count);
    *ret_meta = reader.meta;
    return FM_OK;
}

/* ---- writing ---- */

static void meta_put_time(struct json_writer *writer, const char *key, uint64_t unix_ns)
{
    struct fm_buf text;
    fm_buf_init(&text, 64);
    fm_rfc3339_print(&text, unix_ns);
    json_key(writer, key);
    json_string(writer, fm_buf_slice(&text));
    if (text.failed)
        writer->buf->failed = true;
    fm_buf_fini(&text);
}

static void meta_put_dedicated(struct json_writer *writer, const struct block_meta *meta)
{
    static const char *const scopes[] = {NULL, "resource", "event"};
    if (!meta->dedicated_count || !meta->dedicated)
        return;
    json_key(writer, "dedicatedColumns");
    json_array_begin(writer);
    for (uint32_t i = 0; i < meta->dedicated_count; i++) {
        const struct block_dedicated *column = &meta->dedicated[i];
        json_object_begin(writer);
        if (column->scope) {
            json_key(writer, "s");
            json_text(writer, scopes[column->scope]);
        }
        json_key(writer, "n");
        json_text(writer, column->name);
        if (column->type) {
            json_key(writer, "t");
            json_text(writer, "int");
        }
        json_object_end(writer);
    }
    json_array_end(writer);
}

static void meta_put_uint(struct json_writer *writer, const char *key, uint64_t value)
{
    json_key(writer, key);
    json_uint(writer, value);
}

void block_meta_render(const struct block_meta *meta, struct fm_buf *buf)
{
    struct json_writer writer;
    char id[37];
    uint64_t start_s = meta->start_ns / FM_NS_PER_S;
    uint64_t end_s = meta->end_ns / FM_NS_PER_S + (meta->end_ns % FM_NS_PER_S != 0);
    end_s = FM_MIN(FM_MAX(end_s, start_s + 1), UINT64_MAX / FM_NS_PER_S);
    block_id_print(&meta->id, id);
    json_writer_init(&writer, buf);
    json_object_begin(&writer);
    json_key(&writer, "format");
    json_text(&writer, meta->version == BLOCK_V5 ? "vParquet5" : "vParquet4");
    json_key(&writer, "blockID");
    json_text(&writer, id);
    json_key(&writer, "tenantID");
    json_text(&writer, meta->tenant);
    meta_put_time(&writer, "startTime", start_s * FM_NS_PER_S);
    meta_put_time(&writer, "endTime", end_s * FM_NS_PER_S);
    meta_put_uint(&writer, "totalObjects", meta->trace_count);
    meta_put_uint(&writer, "size", meta->size_bytes);
    meta_put_uint(&writer, "compactionLevel", meta->compaction_level);
    meta_put_uint(&writer, "indexPageSize", 0);
    meta_put_uint(&writer, "totalRecords", meta->row_group_count);
    meta_put_uint(&writer, "bloomShards", meta->bloom_shard_count);
    meta_put_uint(&writer, "footerSize", meta->footer_bytes);
    meta_put_dedicated(&writer, meta);
    meta_put_uint(&writer, "replicationFactor", meta->replication_factor);
    json_object_end(&writer);
}
