/* SPDX-License-Identifier: Apache-2.0 */
/* Random files for the tests of parquet: a seed makes a schema, a choice per column and entries;
 * the same seed makes them again when what was read is compared. */
#ifndef TESTS_UNIT_PARQUET_MODEL_H
#define TESTS_UNIT_PARQUET_MODEL_H

#include "../../support/test.h"

#include "fermata/parquet.h"

#define MODEL_NODES_MAX  24
#define MODEL_DICTIONARY 50u

struct model_entry {
    uint8_t rep, def;
    uint64_t value; /* if def is def_max */
};

struct model_column {
    struct pq_leaf leaf;
    struct pq_choice choice;
    struct model_entry *entries; /* owned; of one row group */
    size_t entry_count;
};

struct model {
    uint64_t seed;
    struct pq_node nodes[MODEL_NODES_MAX];
    size_t node_count;
    struct model_column columns[MODEL_NODES_MAX];
    size_t column_count;
    unsigned page_version;
    unsigned group_count;
    uint32_t row_count; /* per row group */
    uint32_t page_rows_max;
    bool offset_index, share_encoder;
};

static inline uint32_t model_random(struct model *model, uint32_t below)
{
    return (uint32_t)(fm_random_next(&model->seed) >> 33) % below;
}

static inline void model_add_nodes(struct model *model, unsigned children, unsigned depth)
{
    static const char *const names[] = {"a", "list", "element", "Key", "value", "x"};
    static const uint8_t types[] = {PQ_BOOLEAN, PQ_INT32, PQ_INT64, PQ_DOUBLE, PQ_BYTE_ARRAY};
    for (unsigned i = 0; i < children; i++) {
        struct pq_node *node = &model->nodes[model->node_count++];
        bool group =
            depth < 5 && model->node_count + 8 < MODEL_NODES_MAX && model_random(model, 2) == 0;
        *node = (struct pq_node){
            .name = names[model_random(model, FM_COUNT(names))],
            .repetition = (uint8_t)model_random(model, 3),
            .converted = PQ_CONVERTED_NONE,
            .child_count = group ? (uint8_t)(1 + model_random(model, 2)) : 0,
            .type = types[model_random(model, FM_COUNT(types))],
        };
        if (group)
            model_add_nodes(model, node->child_count, depth + 1);
    }
}

static inline uint8_t model_encoding(struct model *model, uint8_t type)
{
    static const uint8_t bytes[] = {PQ_PLAIN, PQ_RLE_DICTIONARY, PQ_DELTA_LENGTH_BYTE_ARRAY};
    bool delta = model_random(model, 2);
    switch (type) {
    case PQ_INT32:
    case PQ_INT64:
        return delta ? PQ_DELTA_BINARY_PACKED : PQ_PLAIN;
    case PQ_BYTE_ARRAY:
        return bytes[model_random(model, 3)];
    default:
        return PQ_PLAIN;
    }
}

static inline void model_add_entries(struct model *model, struct model_column *column)
{
    uint8_t rep_max = column->leaf.rep_max, def_max = column->leaf.def_max;
    uint32_t fan_out = 1 + model_random(model, 6), runs = model_random(model, 3);
    uint64_t last = 0;
    size_t cap = 0;
    for (uint32_t row = 0; row < model->row_count; row++) {
        uint32_t n = rep_max ? 1 + model_random(model, fan_out) : 1;
        for (uint32_t i = 0; i < n; i++) {
            if (column->entry_count == cap) {
                cap = cap * 2 + 64;
                column->entries = realloc(column->entries, cap * sizeof *column->entries);
                assert_non_null(column->entries);
            }
            /* Three tempers: all different, often alike, long runs. */
            bool same = runs && model_random(model, runs == 1 ? 4 : 200) != 0;
            uint64_t value = same ? last : fm_random_next(&model->seed) >> model_random(model, 64);
            column->entries[column->entry_count++] = (struct model_entry){
                .rep = (uint8_t)(i == 0 ? 0 : 1 + (same ? 0 : model_random(model, rep_max))),
                .def = same ? def_max : (uint8_t)model_random(model, def_max + 1u),
                .value = value,
            };
            last = value;
        }
    }
}

static inline void model_init(struct model *model, uint64_t seed, uint32_t rows_max)
{
    static const uint8_t codecs[] = {CODEC_NONE, CODEC_SNAPPY, CODEC_ZSTD};
    *model = (struct model){.seed = seed};
    model->nodes[0] = (struct pq_node){.name = "root", .converted = PQ_CONVERTED_NONE};
    model->node_count = 1;
    model->nodes[0].child_count = (uint8_t)(1 + model_random(model, 3));
    model_add_nodes(model, model->nodes[0].child_count, 0);
    model->page_version = 1 + model_random(model, 2);
    model->group_count = 1 + model_random(model, 2);
    model->row_count = 1 + model_random(model, rows_max);
    model->page_rows_max = 1 + model_random(model, rows_max);
    model->offset_index = model_random(model, 2);
    model->share_encoder = model_random(model, 2);
    struct pq_leaf leaves[MODEL_NODES_MAX];
    model->column_count =
        pq_schema_levels(model->nodes, model->node_count, leaves, MODEL_NODES_MAX);
    for (size_t i = 0; i < model->column_count; i++) {
        struct model_column *column = &model->columns[i];
        column->leaf = leaves[i];
        column->choice = (struct pq_choice){
            .encoding = model_encoding(model, leaves[i].type),
            .codec = codecs[model_random(model, 3)],
            .level = 1,
        };
        model_add_entries(model, column);
    }
}

static inline void model_fini(struct model *model)
{
    for (size_t i = 0; i < model->column_count; i++)
        free(model->columns[i].entries);
}

/* The bytes of a value, 0 to 20 of them. */
static inline struct fm_slice model_bytes(uint64_t value, char target[32])
{
    int len = value % 7 ? snprintf(target, 32, "%llu", (unsigned long long)value) : 0;
    return fm_slice(target, (size_t)len);
}

static inline void model_put(const struct model_column *column, struct pq_chunk *chunk,
                             const struct model_entry *entry)
{
    char text[32];
    double number;
    if (entry->def < column->leaf.def_max) {
        pq_put_null(chunk, entry->rep, entry->def);
        return;
    }
    switch (column->leaf.type) {
    case PQ_BOOLEAN:
        pq_put_bool(chunk, entry->rep, entry->value & 1);
        break;
    case PQ_INT32:
        pq_put_i32(chunk, entry->rep, (int32_t)(uint32_t)entry->value);
        break;
    case PQ_INT64:
        pq_put_i64(chunk, entry->rep, (int64_t)entry->value);
        break;
    case PQ_DOUBLE:
        memcpy(&number, &entry->value, sizeof number);
        pq_put_double(chunk, entry->rep, number);
        break;
    default:
        if (column->choice.encoding == PQ_RLE_DICTIONARY)
            pq_put_index(chunk, entry->rep, (uint32_t)(entry->value % MODEL_DICTIONARY));
        else
            pq_put_bytes(chunk, entry->rep, model_bytes(entry->value, text));
        break;
    }
}

static inline void model_fill(const struct model *model, const struct model_column *column,
                              struct pq_chunk *chunk)
{
    char text[32];
    uint32_t rows = 0;
    for (uint32_t i = 0; column->choice.encoding == PQ_RLE_DICTIONARY && i < MODEL_DICTIONARY; i++)
        (void)pq_dictionary_add(chunk, model_bytes(i, text)); /* i again */
    for (size_t i = 0; i < column->entry_count; i++) {
        if (column->entries[i].rep == 0 && rows++ == model->page_rows_max) {
            pq_chunk_cut(chunk, rows - 1);
            rows = 1;
        }
        model_put(column, chunk, &column->entries[i]);
    }
    pq_chunk_cut(chunk, rows);
}

static inline int model_write_group(const struct model *model, struct pq_writer *writer,
                                    struct codec_encoder *const *encoders)
{
    int rc = pq_row_group_begin(writer);
    for (size_t i = 0; rc == FM_OK && i < model->column_count; i++) {
        const struct model_column *column = &model->columns[i];
        FM_AUTO(pq_chunk) chunk = NULL;
        rc = pq_chunk_new(&chunk, (enum pq_type)column->leaf.type, column->leaf.rep_max,
                          column->leaf.def_max, &column->choice, model->page_version);
        if (rc < 0)
            return rc;
        if (model->share_encoder)
            pq_chunk_share_encoder(chunk, encoders[column->choice.codec]);
        model_fill(model, column, chunk);
        rc = pq_writer_append(writer, chunk);
    }
    return rc < 0 ? rc : pq_row_group_end(writer, model->row_count);
}

/* The file, appended to target. */
static inline int model_write(const struct model *model, struct fm_buf *target)
{
    FM_AUTO(codec_encoder) zstd = NULL;
    FM_AUTO(codec_encoder) snappy = NULL;
    FM_AUTO(codec_encoder) none = NULL;
    FM_AUTO(pq_writer) writer = NULL;
    const struct pq_writer_options options = {
        .schema = model->nodes,
        .node_count = model->node_count,
        .created_by = "fermata test",
        .offset_index = model->offset_index,
    };
    uint64_t size;
    uint32_t footer;
    int rc = codec_encoder_new(&zstd, CODEC_ZSTD, 1);
    if (rc == FM_OK)
        rc = codec_encoder_new(&snappy, CODEC_SNAPPY, 0);
    if (rc == FM_OK)
        rc = codec_encoder_new(&none, CODEC_NONE, 0);
    struct codec_encoder *const encoders[] = {
        [CODEC_NONE] = none, [CODEC_ZSTD] = zstd, [CODEC_SNAPPY] = snappy};
    if (rc == FM_OK)
        rc = pq_writer_new(&writer, &options, fm_sink_buf(target));
    for (unsigned g = 0; rc == FM_OK && g < model->group_count; g++)
        rc = model_write_group(model, writer, encoders);
    if (rc == FM_OK)
        rc = pq_writer_finish(writer, &size, &footer);
    if (rc == FM_OK)
        assert_int_equal(size, target->len);
    return rc;
}

static inline void model_check_value(const struct model_column *column,
                                     const struct model_entry *entry, const struct pq_page *page,
                                     uint32_t at)
{
    char text[32];
    switch (column->leaf.type) {
    case PQ_BOOLEAN:
        assert_int_equal(page->boolean[at], entry->value & 1);
        break;
    case PQ_INT32:
        assert_int_equal(page->i32[at], (int32_t)(uint32_t)entry->value);
        break;
    case PQ_INT64:
        assert_true(page->i64[at] == (int64_t)entry->value);
        break;
    case PQ_DOUBLE:
        assert_memory_equal(&page->f64[at], &entry->value, 8); /* NaN too */
        break;
    default:
        if (page->indexes)
            assert_int_equal(page->indexes[at], entry->value % MODEL_DICTIONARY);
        else
            assert_true(fm_slice_equal(page->bytes[at], model_bytes(entry->value, text)));
        break;
    }
}

/* Holds a page against the entries from *at on, and moves *at behind it. */
static inline void model_check_page(const struct model_column *column, const struct pq_page *page,
                                    size_t *at)
{
    uint32_t value = 0, rows = 0;
    assert_true(*at + page->entry_count <= column->entry_count);
    for (uint32_t i = 0; i < page->entry_count; i++) {
        const struct model_entry *entry = &column->entries[*at + i];
        rows += entry->rep == 0;
        assert_int_equal(page->rep ? page->rep[i] : 0, entry->rep);
        assert_int_equal(page->def ? page->def[i] : column->leaf.def_max, entry->def);
        if (entry->def == column->leaf.def_max)
            model_check_value(column, entry, page, value++);
    }
    assert_int_equal(page->value_count, value);
    assert_int_equal(page->row_count, rows);
    *at += page->entry_count;
}

#endif
