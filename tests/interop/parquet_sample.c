/* SPDX-License-Identifier: Apache-2.0 */
/* The C half of test_parquet_files.py.
 *
 *   parquet_sample write DIR    one file per page version, codec and set of encodings
 *   parquet_sample values FILE  every value of a file that somebody else wrote, a line each
 */
#include "fermata/parquet.h"
#include "fermata/bytes.h"
#include "fermata/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLE_ROWS       5000 /* per row group */
#define SAMPLE_GROUPS     2
#define SAMPLE_PAGE_ROWS  1700
#define SAMPLE_DICTIONARY 100

enum { ID, NUMBER, REAL, LIST, FLAG, SMALL, ABSENT, COLUMN_COUNT };

static const struct pq_node sample_schema[] = {
    {"root", 7, PQ_REQUIRED, 0, PQ_CONVERTED_NONE},
    {"id", 0, PQ_REQUIRED, PQ_BYTE_ARRAY, PQ_CONVERTED_NONE},
    {"number", 0, PQ_REQUIRED, PQ_INT64, PQ_INT_64},
    {"real", 0, PQ_OPTIONAL, PQ_DOUBLE, PQ_CONVERTED_NONE},
    {"list", 1, PQ_REQUIRED, 0, PQ_LIST},
    {"list", 1, PQ_REPEATED, 0, PQ_CONVERTED_NONE},
    {"element", 0, PQ_OPTIONAL, PQ_BYTE_ARRAY, PQ_UTF8},
    {"flag", 0, PQ_OPTIONAL, PQ_BOOLEAN, PQ_CONVERTED_NONE},
    {"small", 0, PQ_REQUIRED, PQ_INT32, PQ_INT_32},
    {"absent", 0, PQ_OPTIONAL, PQ_BYTE_ARRAY, PQ_UTF8},
};

static const uint8_t sample_encodings[2][COLUMN_COUNT] = {
    {PQ_PLAIN, PQ_PLAIN, PQ_PLAIN, PQ_PLAIN, PQ_PLAIN, PQ_PLAIN, PQ_DELTA_LENGTH_BYTE_ARRAY},
    {PQ_DELTA_LENGTH_BYTE_ARRAY, PQ_DELTA_BINARY_PACKED, PQ_PLAIN, PQ_RLE_DICTIONARY, PQ_PLAIN,
     PQ_DELTA_BINARY_PACKED, PQ_RLE_DICTIONARY},
};

static void sample_require(bool condition, const char *what)
{
    if (condition)
        return;
    (void)fprintf(stderr, "parquet_sample: %s\n", what);
    exit(1);
}

static void sample_put_list(struct pq_chunk *chunk, bool dictionary, int row, uint64_t *seed)
{
    char text[32];
    unsigned count = (unsigned)(fm_random_next(seed) % 6);
    if (row > 2000 && row < 3000)
        count = 1; /* a long run of levels */
    if (count == 0)
        pq_put_null(chunk, 0, 0);
    for (unsigned i = 0; i < count; i++) {
        uint32_t value = (uint32_t)(fm_random_next(seed) % (SAMPLE_DICTIONARY + 1));
        if (value == SAMPLE_DICTIONARY) {
            pq_put_null(chunk, i ? 1 : 0, 1);
        } else if (dictionary) {
            pq_put_index(chunk, i ? 1 : 0, value);
        } else {
            int len = snprintf(text, sizeof text, "value-%u", value);
            pq_put_bytes(chunk, i ? 1 : 0, fm_slice(text, (size_t)len));
        }
    }
}

static void sample_put_row(struct pq_chunk **chunks, int group, int row, bool dictionary,
                           uint64_t *seed)
{
    char text[32];
    int len = snprintf(text, sizeof text, "id-%d-%d", group, row);
    pq_put_bytes(chunks[ID], 0, fm_slice(text, (size_t)len));
    pq_put_i64(chunks[NUMBER], 0, (int64_t)row * 1000003 * (row % 7) + (row % 13 ? 0 : INT64_MIN));
    if (row % 3)
        pq_put_double(chunks[REAL], 0, row * 0.5);
    else
        pq_put_null(chunks[REAL], 0, 0);
    sample_put_list(chunks[LIST], dictionary, row, seed);
    if (row % 5)
        pq_put_bool(chunks[FLAG], 0, row % 2);
    else
        pq_put_null(chunks[FLAG], 0, 0);
    pq_put_i32(chunks[SMALL], 0, (int32_t)((uint32_t)row * UINT32_C(2654435761)));
    pq_put_null(chunks[ABSENT], 0, 0);
}

static void sample_put_group(struct pq_writer *writer, struct pq_chunk **chunks, int group,
                             bool dictionary)
{
    char text[32];
    uint64_t seed = 42 + (uint64_t)group;
    uint32_t rows = 0;
    sample_require(pq_row_group_begin(writer) == FM_OK, "row group");
    for (unsigned i = 0; dictionary && i < SAMPLE_DICTIONARY; i++) {
        int len = snprintf(text, sizeof text, "value-%u", i);
        (void)pq_dictionary_add(chunks[LIST], fm_slice(text, (size_t)len)); /* i again */
    }
    for (int row = 0; row < SAMPLE_ROWS; row++) {
        sample_put_row(chunks, group, row, dictionary, &seed);
        if (++rows < SAMPLE_PAGE_ROWS && row < SAMPLE_ROWS - 1)
            continue;
        for (int i = 0; i < COLUMN_COUNT; i++)
            pq_chunk_cut(chunks[i], rows);
        rows = 0;
    }
    for (int i = 0; i < COLUMN_COUNT; i++)
        sample_require(pq_writer_append(writer, chunks[i]) == FM_OK, "append");
    sample_require(pq_row_group_end(writer, SAMPLE_ROWS) == FM_OK, "row group's end");
}

static void sample_write(const char *directory, unsigned version, enum codec codec, bool dictionary)
{
    const struct pq_writer_options options = {
        .schema = sample_schema,
        .node_count = FM_COUNT(sample_schema),
        .created_by = "fermata",
        .offset_index = dictionary,
    };
    struct pq_chunk *chunks[COLUMN_COUNT] = {0};
    struct pq_leaf leaves[COLUMN_COUNT];
    struct fm_buf buf;
    FM_AUTO(pq_writer) writer = NULL;
    char path[4096];
    uint64_t size;
    uint32_t footer;
    fm_buf_init(&buf, FM_MIB(64));
    sample_require(pq_writer_new(&writer, &options, fm_sink_buf(&buf)) == FM_OK, "writer");
    (void)pq_schema_levels(sample_schema, FM_COUNT(sample_schema), leaves, COLUMN_COUNT);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const struct pq_choice choice = {
            .encoding = sample_encodings[dictionary][i], .codec = (uint8_t)codec, .level = 3};
        sample_require(pq_chunk_new(&chunks[i], (enum pq_type)leaves[i].type, leaves[i].rep_max,
                                    leaves[i].def_max, &choice, version) == FM_OK,
                       "chunk");
    }
    for (int group = 0; group < SAMPLE_GROUPS; group++)
        sample_put_group(writer, chunks, group, dictionary);
    sample_require(pq_writer_finish(writer, &size, &footer) == FM_OK, "finish");
    (void)snprintf(path, sizeof path, "%s/v%u-%s-%d.parquet", directory, version, codec_name(codec),
                   dictionary);
    FILE *file = fopen(path, "wb");
    sample_require(file && fwrite(buf.ptr, 1, buf.len, file) == buf.len && !fclose(file), path);
    for (int i = 0; i < COLUMN_COUNT; i++)
        chunks[i] = pq_chunk_free(chunks[i]);
    fm_buf_fini(&buf);
}

static void sample_print_value(const struct pq_leaf *leaf, const struct pq_page *page, uint32_t at,
                               const struct fm_slice *dictionary)
{
    struct fm_slice bytes = {0};
    int64_t number = 0;
    double real;
    if (page->indexes) {
        bytes = dictionary[page->indexes[at]];
        if (leaf->type == PQ_INT32)
            number = (int32_t)fm_load_le32(bytes.ptr);
        else if (leaf->type != PQ_BYTE_ARRAY)
            number = (int64_t)fm_load_le64(bytes.ptr);
    } else if (leaf->type == PQ_BYTE_ARRAY) {
        bytes = page->bytes[at];
    } else {
        number = leaf->type == PQ_BOOLEAN ? page->boolean[at]
                 : leaf->type == PQ_INT32 ? page->i32[at]
                                          : page->i64[at];
    }
    memcpy(&real, &number, sizeof real);
    if (leaf->type == PQ_BYTE_ARRAY)
        printf("%s\t%.*s\n", leaf->path, (int)bytes.len, (const char *)bytes.ptr);
    else if (leaf->type == PQ_DOUBLE)
        printf("%s\t%.17g\n", leaf->path, real);
    else
        printf("%s\t%" PRId64 "\n", leaf->path, number);
}

static void sample_print_column(const struct pq_file *file, size_t group, size_t index)
{
    const struct pq_leaf *leaf = pq_file_leaf(file, index);
    const struct fm_slice *dictionary = NULL;
    FM_AUTO(pq_column) column = NULL;
    struct fm_why why = {""};
    struct pq_page page;
    uint32_t count;
    int rc = pq_column_open(&column, file, group, index, &why);
    sample_require(rc >= 0, why.text);
    sample_require(pq_column_dictionary(column, &dictionary, &count, &why) >= 0, why.text);
    while ((rc = pq_column_next(column, &page, &why)) == FM_OK)
        for (uint32_t i = 0; i < page.value_count; i++)
            sample_print_value(leaf, &page, i, dictionary);
    sample_require(rc >= 0, why.text);
}

static void sample_print_file(const char *path)
{
    struct fm_buf buf;
    struct fm_why why = {""};
    FM_AUTO(pq_file) file = NULL;
    FILE *stream = fopen(path, "rb");
    sample_require(stream, path);
    fm_buf_init(&buf, FM_MIB(256));
    for (size_t got = 1; got; buf.len += got) {
        uint8_t *room = fm_buf_room(&buf, FM_KIB(64));
        sample_require(room, "out of memory");
        got = fread(room, 1, FM_KIB(64), stream);
    }
    (void)fclose(stream);
    struct fm_slice bytes = fm_buf_slice(&buf);
    sample_require(pq_file_open(&file, fm_source_memory(&bytes), 0, NULL, &why) == FM_OK, why.text);
    for (size_t leaf = 0; leaf < pq_file_leaf_count(file); leaf++)
        for (size_t group = 0; group < pq_file_row_group_count(file); group++)
            sample_print_column(file, group, leaf);
    fm_buf_fini(&buf);
}

int main(int argc, char **argv)
{
    static const enum codec codecs[] = {CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD};
    sample_require(argc == 3, "usage: parquet_sample write DIR | values FILE");
    if (strcmp(argv[1], "values") == 0) {
        sample_print_file(argv[2]);
        return 0;
    }
    for (unsigned version = 1; version <= 2; version++)
        for (size_t c = 0; c < FM_COUNT(codecs); c++)
            for (int dictionary = 0; dictionary < 2; dictionary++)
                sample_write(argv[2], version, codecs[c], dictionary);
    return 0;
}
