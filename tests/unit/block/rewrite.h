/* SPDX-License-Identifier: Apache-2.0 */
/* A vParquet4 block written again column by column: pages that end elsewhere in every column, other
 * page versions and encodings, and entries that are out of step.  Pages are whole and their checks
 * hold, so that what reads columns must notice what is wrong. */
#ifndef TESTS_BLOCK_REWRITE_H
#define TESTS_BLOCK_REWRITE_H

#include "../../../src/lib/block/schema.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"

enum rewrite_change {
    REWRITE_SKIP,     /* the entry is left out */
    REWRITE_REP_LESS, /* its repetition level is one less, that of a row stays */
    REWRITE_REP_MORE,
    REWRITE_DEF_LESS, /* it is null, and of one level less at that */
    REWRITE_REPEAT,   /* it is there twice */
    REWRITE_CHANGES
};
struct rewrite_damage {
    uint8_t leaf, change;
    uint16_t entry;
};
struct rewrite {
    uint64_t seed; /* 0: pages end where they did */
    unsigned page_version;
    bool offset_index;
    bool plain; /* some columns have no dictionary */
    const struct rewrite_damage *damages;
    size_t damage_count;
};

struct rewrite_column {
    const struct rewrite *rewrite;
    const struct pq_leaf *leaf;
    unsigned number;
    struct pq_chunk *chunk;
    const struct fm_slice *dictionary;
    bool indexed;
    uint64_t state;
    uint32_t entry, rows; /* rows: of the open page */
};

static void rewrite_value(struct rewrite_column *column, const struct pq_page *page, unsigned rep,
                          uint32_t value)
{
    struct pq_chunk *chunk = column->chunk;
    switch (column->leaf->type) {
    case PQ_BOOLEAN:
        pq_put_bool(chunk, rep, page->boolean[value]);
        return;
    case PQ_INT32:
        pq_put_i32(chunk, rep, page->i32[value]);
        return;
    case PQ_INT64:
        pq_put_i64(chunk, rep, page->i64[value]);
        return;
    case PQ_DOUBLE:
        pq_put_double(chunk, rep, page->f64[value]);
        return;
    default:
        break;
    }
    if (column->indexed)
        pq_put_index(chunk, rep, page->indexes[value]);
    else
        pq_put_bytes(chunk, rep,
                     page->indexes ? column->dictionary[page->indexes[value]] : page->bytes[value]);
}

static void rewrite_entry(struct rewrite_column *column, const struct pq_page *page, uint32_t i,
                          uint32_t value)
{
    const struct pq_leaf *leaf = column->leaf;
    unsigned rep = page->rep ? page->rep[i] : 0, def = page->def ? page->def[i] : 0, count = 1;
    for (size_t d = 0; d < column->rewrite->damage_count && leaf->rep_max; d++) {
        const struct rewrite_damage *damage = &column->rewrite->damages[d];
        if (damage->leaf != column->number || damage->entry != column->entry)
            continue;
        if (damage->change == REWRITE_SKIP)
            count = rep ? 0 : count;
        else if (damage->change == REWRITE_REP_LESS)
            rep -= rep > 1;
        else if (damage->change == REWRITE_REP_MORE)
            rep += rep && rep < leaf->rep_max;
        else if (damage->change == REWRITE_DEF_LESS)
            def -= def > 0;
        else
            count = rep ? 2 : count;
    }
    for (; count; count--) {
        if (def == leaf->def_max)
            rewrite_value(column, page, rep, value);
        else
            pq_put_null(column->chunk, rep, def);
    }
    column->entry++;
}

static void rewrite_page(struct rewrite_column *column, const struct pq_page *page)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < page->entry_count; i++) {
        bool begins = !page->rep || page->rep[i] == 0;
        if (begins && column->rows && column->rewrite->seed &&
            fm_random_next(&column->state) % 5 == 0) {
            pq_chunk_cut(column->chunk, column->rows);
            column->rows = 0;
        }
        column->rows += begins;
        rewrite_entry(column, page, i, value);
        value += !page->def || page->def[i] == column->leaf->def_max;
    }
    if (column->rewrite->seed == 0) {
        pq_chunk_cut(column->chunk, column->rows);
        column->rows = 0;
    }
}

static int rewrite_column(const struct pq_file *file, unsigned number,
                          const struct rewrite *rewrite, struct pq_writer *writer)
{
    struct rewrite_column own = {.rewrite = rewrite,
                                 .leaf = pq_file_leaf(file, number),
                                 .number = number,
                                 .state = rewrite->seed + number};
    FM_AUTO(pq_column) column = NULL;
    FM_AUTO(pq_chunk) chunk = NULL;
    struct pq_page page;
    uint32_t count = 0;
    FM_ASSERT(pq_column_open(&column, file, 0, number, NULL) == FM_OK);
    bool has_dictionary = pq_column_dictionary(column, &own.dictionary, &count, NULL) == FM_OK;
    own.indexed = has_dictionary && !(rewrite->plain && (number + rewrite->seed) % 3 == 0);
    struct pq_choice choice = {.encoding = own.indexed ? PQ_RLE_DICTIONARY : PQ_PLAIN,
                               .codec = number % 2 ? CODEC_SNAPPY : CODEC_NONE};
    FM_ASSERT(pq_chunk_new(&chunk, (enum pq_type)own.leaf->type, own.leaf->rep_max,
                           own.leaf->def_max, &choice, rewrite->page_version) == FM_OK);
    own.chunk = chunk;
    for (uint32_t i = 0; own.indexed && i < count; i++)
        (void)pq_dictionary_add(chunk, own.dictionary[i]);
    while (pq_column_next(column, &page, NULL) == FM_OK)
        rewrite_page(&own, &page);
    if (own.rows)
        pq_chunk_cut(chunk, own.rows);
    return pq_writer_append(writer, chunk);
}

/* FM_OK with the new file, or why it cannot be written. */
__attribute__((unused)) static int rewrite_block(struct fm_slice from,
                                                 const struct rewrite *rewrite, struct fm_buf *to,
                                                 struct block_meta *meta)
{
    FM_AUTO(pq_file) file = NULL;
    FM_AUTO(pq_writer) writer = NULL;
    struct pq_writer_options options = {.schema = schema_v4_nodes,
                                        .node_count = schema_v4_node_count,
                                        .created_by = "test",
                                        .offset_index = rewrite->offset_index};
    FM_ASSERT(pq_file_open(&file, fm_source_memory(&from), 0, &pq_limits_default, NULL) == FM_OK);
    FM_ASSERT(pq_writer_new(&writer, &options, fm_sink_buf(to)) == FM_OK);
    int rc = pq_row_group_begin(writer);
    for (unsigned leaf = 0; leaf < LEAF_COUNT && rc == FM_OK; leaf++)
        rc = rewrite_column(file, leaf, rewrite, writer);
    if (rc == FM_OK)
        rc = pq_row_group_end(writer, pq_file_row_count(file));
    if (rc == FM_OK)
        rc = pq_writer_finish(writer, &meta->size_bytes, &meta->footer_bytes);
    return rc;
}

/* Changes bits from bit on so that a CRC-32 over all of them stays what it was: what is added is a
 * multiple of the sum's polynomial.  Nothing if it does not fit. */
__attribute__((unused)) static void rewrite_flip(struct fm_buf *data, uint64_t bit, uint8_t factor)
{
    const uint64_t polynomial = UINT64_C(0xedb88320) << 1 | 1;
    uint64_t change = 0;
    if (bit / 8 + 8 > data->len)
        return;
    for (unsigned i = 0; i < 8; i++)
        change ^= factor >> i & 1 ? polynomial << i : 0;
    uint8_t *at = data->ptr + bit / 8;
    fm_store_le64(at, fm_load_le64(at) ^ change << bit % 8);
}

#endif
