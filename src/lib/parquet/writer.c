/* SPDX-License-Identifier: Apache-2.0 */
/* A file: "PAR1", the chunks in schema order, offset indexes if asked for, the footer, its length,
 * "PAR1".  The footer holds what readers need and no more: it is read for every query of a block.
 */
#include "internal.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define WRITER_ROW_GROUPS_MAX 32767u /* RowGroup.ordinal is an i16 */

struct writer_chunk {
    uint64_t offset; /* of the dictionary page, or of the first data page */
    uint64_t data_offset;
    uint64_t stored_bytes, plain_bytes, entry_count;
    struct pq_location *locations; /* owned; NULL without offset index */
    uint32_t location_count;
    uint32_t index_bytes;
    uint64_t index_offset;
    uint8_t encoding, codec;
};

struct writer_group {
    struct writer_chunk *chunks; /* owned; leaf_count */
    uint64_t row_count;
    size_t chunk_count; /* appended so far */
};

struct pq_writer {
    struct pq_writer_options options;
    struct fm_sink sink;
    uint64_t offset;        /* bytes written */
    struct pq_leaf *leaves; /* owned */
    size_t leaf_count;
    struct writer_group *groups; /* owned */
    size_t group_count;
    bool group_open;
};

static int writer_put(struct pq_writer *writer, struct fm_slice bytes)
{
    int rc = writer->sink.write(writer->sink.self, bytes);
    if (rc == FM_OK)
        writer->offset += bytes.len;
    return rc;
}

int pq_writer_new(struct pq_writer **ret_writer, const struct pq_writer_options *options,
                  struct fm_sink sink)
{
    FM_AUTO(pq_writer) writer = calloc(1, sizeof *writer);
    if (!writer)
        return FM_ENOMEM;
    writer->options = *options;
    writer->sink = sink;
    writer->leaf_count = pq_schema_levels(options->schema, options->node_count, NULL, 0);
    if (writer->leaf_count == 0)
        return FM_EUSAGE;
    writer->leaves = calloc(writer->leaf_count, sizeof *writer->leaves);
    if (!writer->leaves)
        return FM_ENOMEM;
    (void)pq_schema_levels(options->schema, options->node_count, writer->leaves,
                           writer->leaf_count); /* the count is known */
    int rc = writer_put(writer, FM_SLICE("PAR1"));
    if (rc < 0)
        return rc;
    *ret_writer = fm_take(writer);
    return FM_OK;
}

struct pq_writer *pq_writer_free(struct pq_writer *writer)
{
    if (!writer)
        return NULL;
    for (size_t g = 0; g < writer->group_count; g++) {
        for (size_t i = 0; i < writer->groups[g].chunk_count; i++)
            free(writer->groups[g].chunks[i].locations);
        free(writer->groups[g].chunks);
    }
    free(writer->groups);
    free(writer->leaves);
    free(writer);
    return NULL;
}

int pq_row_group_begin(struct pq_writer *writer)
{
    if (writer->group_open || writer->group_count == WRITER_ROW_GROUPS_MAX)
        return FM_EUSAGE;
    struct writer_group *groups =
        realloc(writer->groups, (writer->group_count + 1) * sizeof *groups);
    if (!groups)
        return FM_ENOMEM;
    writer->groups = groups;
    struct writer_chunk *chunks = calloc(writer->leaf_count, sizeof *chunks);
    if (!chunks)
        return FM_ENOMEM;
    groups[writer->group_count++] = (struct writer_group){.chunks = chunks};
    writer->group_open = true;
    return FM_OK;
}

/* Is the chunk whole, and the one that the schema has next? */
static int writer_check_chunk(const struct pq_writer *writer, const struct pq_chunk *chunk)
{
    const struct writer_group *group = &writer->groups[writer->group_count - 1];
    if (chunk->rc < 0)
        return chunk->rc;
    if (chunk->level_count || chunk->location_count == 0 ||
        group->chunk_count == writer->leaf_count)
        return FM_EUSAGE;
    const struct pq_leaf *leaf = &writer->leaves[group->chunk_count];
    if (chunk->type != (enum pq_type)leaf->type || chunk->rep_max != leaf->rep_max ||
        chunk->def_max != leaf->def_max)
        return FM_EUSAGE;
    if (group->chunk_count && chunk->row_count != group->row_count)
        return FM_EUSAGE;
    /* Readers take the codec of a column from the first row group. */
    const struct writer_chunk *first = &writer->groups[0].chunks[group->chunk_count];
    if (writer->group_count > 1 && first->codec != chunk->choice.codec)
        return FM_EUSAGE;
    return FM_OK;
}

int pq_writer_append(struct pq_writer *writer, struct pq_chunk *chunk)
{
    if (!writer->group_open)
        return FM_EUSAGE;
    int rc = writer_check_chunk(writer, chunk);
    if (rc < 0)
        return rc;
    struct writer_group *group = &writer->groups[writer->group_count - 1];
    struct writer_chunk written = {
        .offset = writer->offset,
        .plain_bytes = chunk->pages_plain_bytes,
        .entry_count = chunk->entry_count,
        .encoding = chunk->choice.encoding,
        .codec = chunk->choice.codec,
    };
    if (written.encoding == PQ_RLE_DICTIONARY) {
        struct fm_buf page;
        fm_buf_init(&page, SIZE_MAX / 2);
        rc = pq_chunk_put_dictionary(chunk, &page, &written.plain_bytes);
        if (rc == FM_OK)
            rc = writer_put(writer, fm_buf_slice(&page));
        fm_buf_fini(&page);
        if (rc < 0)
            return rc;
    }
    written.data_offset = writer->offset;
    rc = writer_put(writer, fm_buf_slice(&chunk->pages));
    if (rc < 0)
        return rc;
    written.stored_bytes = writer->offset - written.offset;
    if (writer->options.offset_index) {
        written.location_count = chunk->location_count;
        written.locations = fm_take(chunk->locations);
        chunk->location_cap = 0;
    }
    group->row_count = chunk->row_count;
    group->chunks[group->chunk_count++] = written;
    pq_chunk_reset(chunk);
    return FM_OK;
}

int pq_row_group_end(struct pq_writer *writer, uint64_t row_count)
{
    struct writer_group *group = &writer->groups[writer->group_count - 1];
    if (!writer->group_open || group->chunk_count != writer->leaf_count ||
        group->row_count != row_count)
        return FM_EUSAGE;
    writer->group_open = false;
    return FM_OK;
}

/* ---- footer ---- */

static void writer_put_schema(struct thrift_writer *thrift, const struct pq_writer *writer)
{
    thrift_put_list(thrift, 2, THRIFT_STRUCT, (uint32_t)writer->options.node_count);
    for (size_t i = 0; i < writer->options.node_count; i++) {
        const struct pq_node *node = &writer->options.schema[i];
        thrift_put_struct_begin(thrift);
        if (node->child_count == 0)
            thrift_put_i32(thrift, 1, node->type);
        if (i > 0)
            thrift_put_i32(thrift, 3, node->repetition);
        thrift_put_binary(thrift, 4, fm_slice_text(node->name));
        if (node->child_count)
            thrift_put_i32(thrift, 5, node->child_count);
        if (node->converted != PQ_CONVERTED_NONE)
            thrift_put_i32(thrift, 6, node->converted);
        thrift_put_struct_end(thrift);
    }
}

/* The schema walked in step with the leaves: the way from the root to the present one. */
struct writer_path {
    const struct pq_writer *writer;
    size_t node; /* next to visit */
    unsigned depth;
    struct {
        const char *name;
        unsigned left;
    } open[PQ_DEPTH_MAX];
};

/* Writes path_in_schema of the next leaf. */
static void writer_put_path(struct thrift_writer *thrift, struct writer_path *path)
{
    const struct pq_node *node;
    for (;;) {
        while (path->depth && path->open[path->depth - 1].left == 0)
            path->depth--;
        node = &path->writer->options.schema[path->node++];
        if (path->depth)
            path->open[path->depth - 1].left--;
        if (node->child_count == 0)
            break;
        FM_ASSERT(path->depth < PQ_DEPTH_MAX);
        path->open[path->depth].name = node->name;
        path->open[path->depth++].left = node->child_count;
    }
    thrift_put_list(thrift, 3, THRIFT_BINARY, path->depth); /* the root is not part of it */
    for (unsigned i = 1; i < path->depth; i++)
        thrift_put_element_binary(thrift, fm_slice_text(path->open[i].name));
    thrift_put_element_binary(thrift, fm_slice_text(node->name));
}

static void writer_put_encodings(struct thrift_writer *thrift, const struct pq_leaf *leaf,
                                 const struct writer_chunk *chunk)
{
    int32_t encodings[3];
    uint32_t count = 0;
    bool dictionary = chunk->encoding == PQ_RLE_DICTIONARY;
    encodings[count++] = dictionary ? PQ_PLAIN : chunk->encoding;
    if (leaf->def_max)
        encodings[count++] = PQ_RLE;
    if (dictionary)
        encodings[count++] = PQ_RLE_DICTIONARY;
    thrift_put_list(thrift, 2, THRIFT_I32, count);
    for (uint32_t i = 0; i < count; i++)
        thrift_put_element_i32(thrift, encodings[i]);
}

static void writer_put_chunk(struct thrift_writer *thrift, const struct pq_leaf *leaf,
                             const struct writer_chunk *chunk, struct writer_path *path)
{
    thrift_put_struct_begin(thrift);
    thrift_put_i64(thrift, 2, (int64_t)chunk->offset);
    thrift_put_struct_field(thrift, 3);
    thrift_put_i32(thrift, 1, leaf->type);
    writer_put_encodings(thrift, leaf, chunk);
    writer_put_path(thrift, path);
    thrift_put_i32(thrift, 4, pq_codec_to_wire((enum codec)chunk->codec));
    thrift_put_i64(thrift, 5, (int64_t)chunk->entry_count);
    thrift_put_i64(thrift, 6, (int64_t)chunk->plain_bytes);
    thrift_put_i64(thrift, 7, (int64_t)chunk->stored_bytes);
    thrift_put_i64(thrift, 9, (int64_t)chunk->data_offset);
    if (chunk->encoding == PQ_RLE_DICTIONARY)
        thrift_put_i64(thrift, 11, (int64_t)chunk->offset);
    thrift_put_struct_end(thrift);
    if (chunk->index_bytes) {
        thrift_put_i64(thrift, 4, (int64_t)chunk->index_offset);
        thrift_put_i32(thrift, 5, (int32_t)chunk->index_bytes);
    }
    thrift_put_struct_end(thrift);
}

static void writer_put_groups(struct thrift_writer *thrift, const struct pq_writer *writer)
{
    uint64_t row_count = 0;
    for (size_t g = 0; g < writer->group_count; g++)
        row_count += writer->groups[g].row_count;
    thrift_put_i64(thrift, 3, (int64_t)row_count);
    thrift_put_list(thrift, 4, THRIFT_STRUCT, (uint32_t)writer->group_count);
    for (size_t g = 0; g < writer->group_count; g++) {
        const struct writer_group *group = &writer->groups[g];
        struct writer_path path = {.writer = writer};
        uint64_t plain_bytes = 0;
        thrift_put_struct_begin(thrift);
        thrift_put_list(thrift, 1, THRIFT_STRUCT, (uint32_t)group->chunk_count);
        for (size_t i = 0; i < group->chunk_count; i++) {
            writer_put_chunk(thrift, &writer->leaves[i], &group->chunks[i], &path);
            plain_bytes += group->chunks[i].plain_bytes;
        }
        thrift_put_i64(thrift, 2, (int64_t)plain_bytes);
        thrift_put_i64(thrift, 3, (int64_t)group->row_count);
        thrift_put_i16(thrift, 7, (int16_t)g);
        thrift_put_struct_end(thrift);
    }
}

static void writer_put_offset_index(struct fm_buf *buf, const struct writer_chunk *chunk)
{
    struct thrift_writer thrift;
    thrift_writer_init(&thrift, buf);
    thrift_put_struct_begin(&thrift);
    thrift_put_list(&thrift, 1, THRIFT_STRUCT, chunk->location_count);
    for (uint32_t i = 0; i < chunk->location_count; i++) {
        const struct pq_location *location = &chunk->locations[i];
        thrift_put_struct_begin(&thrift);
        thrift_put_i64(&thrift, 1, (int64_t)(chunk->data_offset + location->offset));
        thrift_put_i32(&thrift, 2, (int32_t)location->bytes);
        thrift_put_i64(&thrift, 3, (int64_t)location->first_row);
        thrift_put_struct_end(&thrift);
    }
    thrift_put_struct_end(&thrift);
}

/* All offset indexes, side by side, before the footer. */
static int writer_put_offset_indexes(struct pq_writer *writer, struct fm_buf *buf)
{
    for (size_t g = 0; g < writer->group_count; g++) {
        for (size_t i = 0; i < writer->groups[g].chunk_count; i++) {
            struct writer_chunk *chunk = &writer->groups[g].chunks[i];
            size_t start = buf->len;
            writer_put_offset_index(buf, chunk);
            chunk->index_offset = writer->offset + start;
            chunk->index_bytes = (uint32_t)(buf->len - start);
        }
    }
    if (buf->failed)
        return FM_ENOMEM;
    int rc = writer_put(writer, fm_buf_slice(buf));
    fm_buf_reset(buf);
    return rc;
}

static int writer_put_footer(struct pq_writer *writer, struct fm_buf *buf, uint32_t *ret_footer)
{
    struct thrift_writer thrift;
    thrift_writer_init(&thrift, buf);
    thrift_put_struct_begin(&thrift);
    thrift_put_i32(&thrift, 1, 2);
    writer_put_schema(&thrift, writer);
    writer_put_groups(&thrift, writer);
    if (writer->options.created_by)
        thrift_put_binary(&thrift, 6, fm_slice_text(writer->options.created_by));
    thrift_put_struct_end(&thrift);
    if (buf->failed)
        return FM_ENOMEM;
    if (buf->len > INT32_MAX)
        return FM_ELIMIT;
    uint8_t tail[8] = {0, 0, 0, 0, 'P', 'A', 'R', '1'};
    uint32_t footer_len = (uint32_t)buf->len;
    fm_store_le32(tail, footer_len);
    int rc = writer_put(writer, fm_buf_slice(buf));
    if (rc == FM_OK)
        rc = writer_put(writer, fm_slice(tail, sizeof tail));
    if (rc == FM_OK)
        *ret_footer = footer_len;
    return rc;
}

int pq_writer_finish(struct pq_writer *writer, uint64_t *ret_size, uint32_t *ret_footer)
{
    if (writer->group_open)
        return FM_EUSAGE;
    struct fm_buf buf;
    fm_buf_init(&buf, SIZE_MAX / 2);
    int rc = FM_OK;
    if (writer->options.offset_index)
        rc = writer_put_offset_indexes(writer, &buf);
    if (rc == FM_OK)
        rc = writer_put_footer(writer, &buf, ret_footer);
    fm_buf_fini(&buf);
    if (rc == FM_OK)
        *ret_size = writer->offset;
    return rc;
}
