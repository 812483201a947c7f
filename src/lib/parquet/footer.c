/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a file: the footer's way from bytes to leaves and chunks.
 *
 * After this, every chunk lies inside the file and before the footer, belongs to its leaf by
 * position, type and path, and every count is non-negative and agrees with the row groups.
 */
#include "file.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define FOOTER_TAIL           8u         /* length and magic */
#define FOOTER_GUESS          FM_KIB(16) /* read at once when the length is not known */
#define FOOTER_NODES_PER_LEAF 8u         /* groups are few */
#define FOOTER_ROW_GROUPS_MAX 32767u

const struct pq_limits pq_limits_default = {
    .footer_bytes_max = FM_MIB(16),
    .page_bytes_max = FM_MIB(64),
    .leaf_count_max = 4096,
};

struct footer {
    struct pq_file *file;
    struct thrift_reader reader;
    struct fm_why *why;
};

static int footer_int(struct footer *footer, const struct thrift_field *field, int64_t value_max,
                      uint64_t *ret_value)
{
    int64_t value;
    if (field->type != THRIFT_I32 && field->type != THRIFT_I64 && field->type != THRIFT_I16)
        return FM_EMALFORMED;
    int rc = thrift_int(&footer->reader, &value);
    if (rc < 0)
        return rc;
    if (value < 0 || value > value_max)
        return fm_fail(footer->why, FM_EMALFORMED, "field %d has the value %lld", field->id,
                       (long long)value);
    *ret_value = (uint64_t)value;
    return FM_OK;
}

static int footer_list(struct footer *footer, const struct thrift_field *field, uint8_t type,
                       uint32_t *ret_count)
{
    uint8_t element_type;
    uint32_t count;
    if (field->type != THRIFT_LIST)
        return FM_EMALFORMED;
    int rc = thrift_list_begin(&footer->reader, &element_type, &count);
    if (rc < 0)
        return rc;
    if (count && element_type != type)
        return FM_EMALFORMED;
    *ret_count = count;
    return FM_OK;
}

/* ---- schema ---- */

struct footer_element {
    struct fm_slice name;
    uint64_t type, repetition, child_count;
    int8_t converted;
    bool has_type, has_repetition;
};

static int footer_element(struct footer *footer, struct footer_element *element)
{
    *element = (struct footer_element){.converted = PQ_CONVERTED_NONE};
    int rc = thrift_struct_begin(&footer->reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        uint64_t value;
        rc = thrift_field_next(&footer->reader, &field);
        if (rc != FM_OK)
            break;
        switch (field.id) {
        case 1:
            rc = footer_int(footer, &field, 7, &element->type);
            element->has_type = true;
            break;
        case 3:
            rc = footer_int(footer, &field, PQ_REPEATED, &element->repetition);
            element->has_repetition = true;
            break;
        case 4:
            rc = field.type == THRIFT_BINARY ? thrift_binary(&footer->reader, &element->name)
                                             : FM_EMALFORMED;
            break;
        case 5:
            rc = footer_int(footer, &field, INT32_MAX, &element->child_count);
            break;
        case 6:
            rc = footer_int(footer, &field, INT8_MAX, &value);
            if (rc == FM_OK)
                element->converted = (int8_t)value;
            break;
        default:
            rc = thrift_skip(&footer->reader, field.type);
            break;
        }
    }
    return rc == FM_END ? FM_OK : rc;
}

struct footer_walk {
    struct {
        uint64_t left;
        size_t path_len; /* of the group itself */
        uint8_t rep, def;
    } open[PQ_DEPTH_MAX];
    unsigned depth;
    char path[PQ_PATH_MAX];
    size_t path_len;
};

/* Appends the name to the path of the open group. */
static int footer_walk_path(struct footer *footer, struct footer_walk *walk, struct fm_slice name)
{
    size_t len = walk->depth ? walk->open[walk->depth - 1].path_len : 0;
    size_t dot = len ? 1 : 0;
    if (name.len == 0 || name.len > PQ_PATH_MAX - 1 - dot - len || memchr(name.ptr, 0, name.len))
        return fm_fail(footer->why, FM_EMALFORMED, "a column's name is empty or too long");
    if (dot)
        walk->path[len] = '.';
    memcpy(walk->path + len + dot, name.ptr, name.len);
    walk->path_len = len + dot + name.len;
    walk->path[walk->path_len] = 0;
    return FM_OK;
}

static int footer_add_leaf(struct footer *footer, const struct footer_walk *walk,
                           const struct footer_element *element, uint8_t rep, uint8_t def)
{
    struct pq_file *file = footer->file;
    if (!element->has_type)
        return fm_fail(footer->why, FM_EMALFORMED, "column %s has no type", walk->path);
    if (file->leaf_count == file->limits.leaf_count_max)
        return fm_fail(footer->why, FM_ELIMIT, "more than %zu columns", file->leaf_count);
    char *path = fm_arena_dup(&file->arena, walk->path, walk->path_len + 1);
    if (!path)
        return FM_ENOMEM;
    file->leaves[file->leaf_count++] = (struct pq_leaf){
        .path = path,
        .type = (uint8_t)element->type,
        .rep_max = rep,
        .def_max = def,
        .repetition = (uint8_t)element->repetition,
        .converted = element->converted,
    };
    return FM_OK;
}

static int footer_walk_node(struct footer *footer, struct footer_walk *walk, bool root)
{
    struct footer_element element;
    int rc = footer_element(footer, &element);
    if (rc < 0)
        return rc;
    uint8_t rep = 0, def = 0;
    if (!root) {
        if (walk->depth == 0)
            return fm_fail(footer->why, FM_EMALFORMED, "nodes behind the end of the schema");
        if (!element.has_repetition)
            return fm_fail(footer->why, FM_EMALFORMED, "a node has no repetition type");
        rep = walk->open[walk->depth - 1].rep + (element.repetition == PQ_REPEATED);
        def = walk->open[walk->depth - 1].def + (element.repetition != PQ_REQUIRED);
        rc = footer_walk_path(footer, walk, element.name);
        if (rc < 0)
            return rc;
        if (--walk->open[walk->depth - 1].left == 0)
            walk->depth--; /* its last child takes its place */
    }
    if (element.child_count == 0 && !root)
        return footer_add_leaf(footer, walk, &element, rep, def);
    if (element.child_count == 0 || walk->depth == PQ_DEPTH_MAX)
        return fm_fail(footer->why, FM_EMALFORMED, "the schema is empty or too deep");
    walk->open[walk->depth].left = element.child_count;
    walk->open[walk->depth].path_len = root ? 0 : walk->path_len;
    walk->open[walk->depth].rep = rep;
    walk->open[walk->depth++].def = def;
    return FM_OK;
}

static int footer_schema(struct footer *footer, const struct thrift_field *field)
{
    struct pq_file *file = footer->file;
    struct footer_walk walk = {.depth = 0};
    uint32_t node_count;
    int rc = footer_list(footer, field, THRIFT_STRUCT, &node_count);
    if (rc < 0)
        return rc;
    if (file->leaves)
        return FM_EMALFORMED;
    if (node_count > file->limits.leaf_count_max * FOOTER_NODES_PER_LEAF)
        return fm_fail(footer->why, FM_ELIMIT, "%u schema nodes", node_count);
    size_t leaf_max = FM_MIN((size_t)node_count, file->limits.leaf_count_max);
    file->leaves = fm_arena_alloc(&file->arena, leaf_max * sizeof *file->leaves);
    if (!file->leaves)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < node_count; i++) {
        rc = footer_walk_node(footer, &walk, i == 0);
        if (rc < 0)
            return rc;
    }
    if (walk.depth || file->leaf_count == 0)
        return fm_fail(footer->why, FM_EMALFORMED, "the schema ends inside a group");
    return FM_OK;
}

/* ---- row groups ---- */

/* What one ColumnChunk says, before it is checked. */
struct footer_chunk {
    uint64_t type, codec, entry_count, plain_bytes, stored_bytes;
    uint64_t data_offset, dictionary_offset, index_offset, index_bytes;
    uint32_t encodings;
    bool path_matches, elsewhere, has_meta;
    uint32_t seen; /* fields of ColumnMetaData */
};

static int footer_encodings(struct footer *footer, const struct thrift_field *field,
                            uint32_t *ret_encodings)
{
    uint32_t count, encodings = 0;
    int rc = footer_list(footer, field, THRIFT_I32, &count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        int64_t encoding = 0;
        rc = thrift_int(&footer->reader, &encoding);
        if (rc == FM_OK && encoding >= 0 && encoding < 32)
            encodings |= UINT32_C(1) << encoding;
    }
    if (rc == FM_OK)
        *ret_encodings = encodings;
    return rc;
}

/* Is path_in_schema that of the leaf at this position? */
static int footer_chunk_path(struct footer *footer, const struct thrift_field *field,
                             const char *path, bool *ret_matches)
{
    uint32_t count;
    bool matches = true;
    int rc = footer_list(footer, field, THRIFT_BINARY, &count);
    for (uint32_t i = 0; rc == FM_OK && i < count; i++) {
        struct fm_slice name = {0};
        rc = thrift_binary(&footer->reader, &name);
        if (rc < 0 || !matches)
            continue;
        matches = strnlen(path, name.len) == name.len && memcmp(path, name.ptr, name.len) == 0;
        if (!matches)
            continue;
        path += name.len;
        matches = *path == (i + 1 < count ? '.' : 0);
        path += *path == '.';
    }
    if (rc == FM_OK)
        *ret_matches = matches && count > 0;
    return rc;
}

static int footer_chunk_meta(struct footer *footer, const struct pq_leaf *leaf,
                             struct footer_chunk *chunk)
{
    int rc = thrift_struct_begin(&footer->reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(&footer->reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id >= 0 && field.id < 32)
            chunk->seen |= UINT32_C(1) << field.id;
        switch (field.id) {
        case 1:
            rc = footer_int(footer, &field, 7, &chunk->type);
            break;
        case 2:
            rc = footer_encodings(footer, &field, &chunk->encodings);
            break;
        case 3:
            rc = footer_chunk_path(footer, &field, leaf->path, &chunk->path_matches);
            break;
        case 4:
            rc = footer_int(footer, &field, INT32_MAX, &chunk->codec);
            break;
        case 5:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->entry_count);
            break;
        case 6:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->plain_bytes);
            break;
        case 7:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->stored_bytes);
            break;
        case 9:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->data_offset);
            break;
        case 11:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->dictionary_offset);
            break;
        default:
            rc = thrift_skip(&footer->reader, field.type);
            break;
        }
    }
    return rc == FM_END ? FM_OK : rc;
}

static int footer_chunk_read(struct footer *footer, const struct pq_leaf *leaf,
                             struct footer_chunk *chunk)
{
    *chunk = (struct footer_chunk){0};
    int rc = thrift_struct_begin(&footer->reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(&footer->reader, &field);
        if (rc != FM_OK)
            break;
        switch (field.id) {
        case 1:
            chunk->elsewhere = true;
            rc = thrift_skip(&footer->reader, field.type);
            break;
        case 3:
            chunk->has_meta = true;
            rc = field.type == THRIFT_STRUCT ? footer_chunk_meta(footer, leaf, chunk)
                                             : FM_EMALFORMED;
            break;
        case 4:
            rc = footer_int(footer, &field, INT64_MAX, &chunk->index_offset);
            break;
        case 5:
            rc = footer_int(footer, &field, INT32_MAX, &chunk->index_bytes);
            break;
        default:
            rc = thrift_skip(&footer->reader, field.type);
            break;
        }
    }
    return rc == FM_END ? FM_OK : rc;
}

static int footer_chunk_check(struct footer *footer, const struct pq_leaf *leaf,
                              const struct footer_chunk *chunk, struct pq_file_chunk *target)
{
    const uint32_t wanted = 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 7 | 1u << 9;
    uint64_t data_end = footer->file->data_end;
    if (chunk->elsewhere || !chunk->has_meta || (chunk->seen & wanted) != wanted)
        return fm_fail(footer->why, FM_EUNSUPPORTED, "column %s: metadata incomplete or elsewhere",
                       leaf->path);
    if (!chunk->path_matches || chunk->type != leaf->type)
        return fm_fail(footer->why, FM_EMALFORMED, "column %s: the chunk belongs to another column",
                       leaf->path);
    bool dictionary = chunk->dictionary_offset && chunk->dictionary_offset < chunk->data_offset;
    uint64_t start = dictionary ? chunk->dictionary_offset : chunk->data_offset;
    if (start < 4 || start > data_end || chunk->stored_bytes > data_end - start)
        return fm_fail(footer->why, FM_EMALFORMED,
                       "column %s: %llu bytes at %llu are not inside the file", leaf->path,
                       (unsigned long long)chunk->stored_bytes, (unsigned long long)start);
    bool index = chunk->index_offset && chunk->index_bytes;
    if (index &&
        (chunk->index_offset > data_end || chunk->index_bytes > data_end - chunk->index_offset))
        return fm_fail(footer->why, FM_EMALFORMED, "column %s: offset index outside of the file",
                       leaf->path);
    *target = (struct pq_file_chunk){
        .start = start,
        .bytes = chunk->stored_bytes,
        .entry_count = chunk->entry_count,
        .plain_bytes = chunk->plain_bytes,
        .index_offset = index ? chunk->index_offset : 0,
        .index_bytes = index ? (uint32_t)chunk->index_bytes : 0,
        .encodings = chunk->encodings,
        .codec = pq_codec_from_wire((int64_t)chunk->codec),
    };
    return FM_OK;
}

static int footer_chunks(struct footer *footer, const struct thrift_field *field,
                         struct pq_file_group *group)
{
    struct pq_file *file = footer->file;
    uint32_t count;
    int rc = footer_list(footer, field, THRIFT_STRUCT, &count);
    if (rc < 0)
        return rc;
    if (count != file->leaf_count || group->chunks)
        return fm_fail(footer->why, FM_EMALFORMED, "a row group has %u columns, the schema %zu",
                       count, file->leaf_count);
    group->chunks = fm_arena_alloc(&file->arena, count * sizeof *group->chunks);
    if (!group->chunks)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct footer_chunk chunk;
        rc = footer_chunk_read(footer, &file->leaves[i], &chunk);
        if (rc == FM_OK)
            rc = footer_chunk_check(footer, &file->leaves[i], &chunk, &group->chunks[i]);
        if (rc < 0)
            return rc;
    }
    return FM_OK;
}

static int footer_group_check(struct footer *footer, const struct pq_file_group *group)
{
    struct pq_file *file = footer->file;
    for (size_t i = 0; i < file->leaf_count; i++) {
        const struct pq_leaf *leaf = &file->leaves[i];
        uint64_t entries = group->chunks[i].entry_count;
        /* With repetition, only the pages can tell; see pq_column_next(). */
        if (leaf->rep_max == 0 && entries != group->row_count)
            return fm_fail(footer->why, FM_EMALFORMED, "column %s: %llu entries for %llu rows",
                           leaf->path, (unsigned long long)entries,
                           (unsigned long long)group->row_count);
        if (group == file->groups)
            file->leaves[i].codec = group->chunks[i].codec;
        else if (group->chunks[i].codec != leaf->codec)
            return fm_fail(footer->why, FM_EUNSUPPORTED,
                           "column %s: codecs differ between row "
                           "groups",
                           leaf->path);
    }
    return FM_OK;
}

static int footer_group(struct footer *footer, struct pq_file_group *group)
{
    bool has_rows = false;
    int rc = thrift_struct_begin(&footer->reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(&footer->reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id == 1) {
            rc = footer_chunks(footer, &field, group);
        } else if (field.id == 3) {
            rc = footer_int(footer, &field, INT64_MAX, &group->row_count);
            has_rows = true;
        } else {
            rc = thrift_skip(&footer->reader, field.type);
        }
    }
    if (rc < 0)
        return rc;
    if (!group->chunks || !has_rows)
        return fm_fail(footer->why, FM_EMALFORMED, "a row group lacks its columns or row count");
    return footer_group_check(footer, group);
}

static int footer_groups(struct footer *footer, const struct thrift_field *field)
{
    struct pq_file *file = footer->file;
    uint32_t count;
    int rc = footer_list(footer, field, THRIFT_STRUCT, &count);
    if (rc < 0)
        return rc;
    if (!file->leaves || file->groups)
        return fm_fail(footer->why, FM_EMALFORMED, "row groups without or before a schema");
    if (count > FOOTER_ROW_GROUPS_MAX)
        return fm_fail(footer->why, FM_ELIMIT, "%u row groups", count);
    file->groups = fm_arena_zalloc(&file->arena, FM_MAX(count, 1u) * sizeof *file->groups);
    if (!file->groups)
        return FM_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        rc = footer_group(footer, &file->groups[i]);
        if (rc < 0)
            return fm_wrap(footer->why, rc, "row group %u", i);
    }
    file->group_count = count;
    return FM_OK;
}

/* ---- the whole ---- */

static int footer_fields(struct footer *footer)
{
    struct pq_file *file = footer->file;
    bool has_rows = false;
    int rc = thrift_struct_begin(&footer->reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(&footer->reader, &field);
        if (rc != FM_OK)
            break;
        if (field.id == 2) {
            rc = footer_schema(footer, &field);
        } else if (field.id == 3) {
            rc = footer_int(footer, &field, INT64_MAX, &file->row_count);
            has_rows = true;
        } else if (field.id == 4) {
            rc = footer_groups(footer, &field);
        } else {
            rc = thrift_skip(&footer->reader, field.type);
        }
    }
    if (rc < 0)
        return rc;
    if (!file->groups || !has_rows)
        return fm_fail(footer->why, FM_EMALFORMED, "schema, row groups or row count missing");
    uint64_t rows = 0;
    for (size_t g = 0; g < file->group_count; g++)
        if (__builtin_add_overflow(rows, file->groups[g].row_count, &rows))
            return FM_EMALFORMED;
    if (rows != file->row_count)
        return fm_fail(footer->why, FM_EMALFORMED, "%llu rows, but %llu in the row groups",
                       (unsigned long long)file->row_count, (unsigned long long)rows);
    return FM_OK;
}

static int footer_parse(struct pq_file *file, struct fm_slice bytes, struct fm_why *why)
{
    struct footer footer = {.file = file, .why = why};
    thrift_reader_init(&footer.reader, bytes);
    if (why)
        why->text[0] = 0;
    int rc = footer_fields(&footer);
    if (rc < 0 && why && why->text[0] == 0)
        return fm_fail(why, rc, "parquet footer: %s", fm_rc_text(rc));
    return rc < 0 ? fm_wrap(why, rc, "parquet footer") : FM_OK;
}

/* Reads the last bytes of the file into buf, so that they hold the whole footer. */
static int footer_load(struct pq_file *file, uint32_t hint, struct fm_buf *buf, struct fm_why *why)
{
    uint64_t size = file->source.size;
    if (size < 4 + FOOTER_TAIL)
        return fm_fail(why, FM_EMALFORMED, "%llu bytes are too few for a parquet file",
                       (unsigned long long)size);
    size_t footer_max = file->limits.footer_bytes_max;
    uint64_t wanted = hint && hint <= footer_max ? (uint64_t)hint + FOOTER_TAIL : FOOTER_GUESS;
    for (;;) {
        size_t len = (size_t)FM_MIN(wanted, size);
        fm_buf_reset(buf);
        uint8_t *room = fm_buf_room(buf, len);
        if (!room)
            return FM_ENOMEM;
        int rc = file->source.read_at(file->source.self, size - len, room, len);
        if (rc < 0)
            return fm_fail(why, rc, "cannot read the last %zu bytes", len);
        buf->len = len;
        if (memcmp(buf->ptr + len - 4, "PAR1", 4) != 0)
            return fm_fail(why, FM_EMALFORMED, "no PAR1 at the end: not a parquet file, or cut");
        uint32_t footer_len = fm_load_le32(buf->ptr + len - FOOTER_TAIL);
        if (footer_len > footer_max)
            return fm_fail(why, FM_ELIMIT, "a footer of %u bytes", footer_len);
        if (footer_len > size - 4 - FOOTER_TAIL)
            return fm_fail(why, FM_EMALFORMED, "footer length %u is past the file's start",
                           footer_len);
        file->footer_bytes = footer_len;
        file->data_end = size - FOOTER_TAIL - footer_len;
        if (footer_len + FOOTER_TAIL <= len)
            return FM_OK;
        wanted = (uint64_t)footer_len + FOOTER_TAIL;
    }
}

int pq_file_open(struct pq_file **ret_file, struct fm_source source, uint32_t footer_hint,
                 const struct pq_limits *limits, struct fm_why *why)
{
    FM_AUTO(pq_file) file = calloc(1, sizeof *file);
    if (!file)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    file->source = source;
    file->limits = limits ? *limits : pq_limits_default;
    fm_arena_init(&file->arena, file->limits.footer_bytes_max * 8 + FM_MIB(1));
    struct fm_buf buf;
    fm_buf_init(&buf, file->limits.footer_bytes_max + FOOTER_GUESS + FOOTER_TAIL);
    int rc = footer_load(file, footer_hint, &buf, why);
    if (rc == FM_OK) {
        size_t end = buf.len - FOOTER_TAIL;
        rc = footer_parse(file, fm_slice(buf.ptr + end - file->footer_bytes, file->footer_bytes),
                          why);
    }
    fm_buf_fini(&buf);
    if (rc < 0)
        return rc;
    *ret_file = fm_take(file);
    return FM_OK;
}

struct pq_file *pq_file_free(struct pq_file *file)
{
    if (!file)
        return NULL;
    fm_arena_fini(&file->arena);
    free(file);
    return NULL;
}

uint64_t pq_file_row_count(const struct pq_file *file)
{
    return file->row_count;
}

size_t pq_file_row_group_count(const struct pq_file *file)
{
    return file->group_count;
}

uint64_t pq_row_group_row_count(const struct pq_file *file, size_t row_group)
{
    return row_group < file->group_count ? file->groups[row_group].row_count : 0;
}

size_t pq_file_leaf_count(const struct pq_file *file)
{
    return file->leaf_count;
}

const struct pq_leaf *pq_file_leaf(const struct pq_file *file, size_t index)
{
    return index < file->leaf_count ? &file->leaves[index] : NULL;
}

int pq_file_find_leaf(const struct pq_file *file, const char *path, size_t *ret_index)
{
    for (size_t i = 0; i < file->leaf_count; i++) {
        if (strcmp(file->leaves[i].path, path) == 0) {
            *ret_index = i;
            return FM_OK;
        }
    }
    return FM_NONE;
}

uint32_t pq_file_footer_size(const struct pq_file *file)
{
    return file->footer_bytes;
}

size_t pq_file_memory(const struct pq_file *file)
{
    return sizeof *file + file->arena.used_bytes;
}

struct pq_chunk_info pq_file_chunk_info(const struct pq_file *file, size_t row_group, size_t leaf)
{
    if (row_group >= file->group_count || leaf >= file->leaf_count)
        return (struct pq_chunk_info){0};
    const struct pq_file_chunk *chunk = &file->groups[row_group].chunks[leaf];
    return (struct pq_chunk_info){
        .entry_count = chunk->entry_count,
        .compressed_bytes = chunk->bytes,
        .uncompressed_bytes = chunk->plain_bytes,
        .encodings = chunk->encodings,
        .codec = chunk->codec,
    };
}
