/* SPDX-License-Identifier: Apache-2.0 */
/* A block's columns as a table for people. */
#include "reader.h"

static void inspect_encodings(uint32_t encodings, struct fm_buf *text)
{
    static const struct {
        unsigned encoding;
        const char *name;
    } names[] = {
        {PQ_RLE_DICTIONARY, "dictionary"},
        {PQ_PLAIN, "plain"},
        {PQ_DELTA_BINARY_PACKED, "delta"},
        {PQ_DELTA_LENGTH_BYTE_ARRAY, "delta-length"},
    };
    /* A dictionary page is itself plain, and levels are always RLE: both say nothing. */
    for (size_t i = 0; i < FM_COUNT(names); i++)
        if (encodings >> names[i].encoding & 1) {
            fm_buf_printf(text, "%-13s", names[i].name);
            return;
        }
    fm_buf_printf(text, "%-13s", "?");
}

struct inspect_total {
    uint64_t entry_count, compressed_bytes, uncompressed_bytes;
};

static void inspect_leaf(const struct block *block, size_t leaf, uint64_t span_count,
                         struct inspect_total *all, struct fm_buf *text)
{
    struct inspect_total total = {0};
    struct pq_chunk_info info = {0};
    for (size_t i = 0; i < pq_file_row_group_count(block->file); i++) {
        info = pq_file_chunk_info(block->file, i, leaf);
        total.entry_count += info.entry_count;
        total.compressed_bytes += info.compressed_bytes;
        total.uncompressed_bytes += info.uncompressed_bytes;
    }
    fm_buf_printf(text, "%4zu  ", leaf);
    inspect_encodings(info.encodings, text);
    fm_buf_printf(text, "%-7s %10llu %11llu %11llu %8.3f  %s\n", codec_name((enum codec)info.codec),
                  (unsigned long long)total.entry_count,
                  (unsigned long long)total.uncompressed_bytes,
                  (unsigned long long)total.compressed_bytes,
                  (double)total.compressed_bytes / (double)FM_MAX(span_count, UINT64_C(1)),
                  pq_file_leaf(block->file, leaf)->path);
    all->compressed_bytes += total.compressed_bytes;
    all->uncompressed_bytes += total.uncompressed_bytes;
}

int block_inspect(struct fm_source data, const struct block_meta *meta, struct fm_buf *text,
                  struct fm_why *why)
{
    FM_AUTO(block) block = NULL;
    int rc = block_open(&block, data, meta, why);
    if (rc < 0)
        return rc;
    struct inspect_total all = {0};
    uint64_t span_count = 0;
    for (size_t i = 0; i < pq_file_row_group_count(block->file); i++)
        span_count +=
            pq_file_chunk_info(block->file, i, block->leaves[LEAF_SPAN_ID].index).entry_count;
    fm_buf_printf(text, "%llu traces, %llu spans, %zu row group%s, footer %u bytes\n",
                  (unsigned long long)pq_file_row_count(block->file),
                  (unsigned long long)span_count, pq_file_row_group_count(block->file),
                  pq_file_row_group_count(block->file) == 1 ? "" : "s",
                  pq_file_footer_size(block->file));
    fm_buf_printf(text, "leaf  %-13s%-7s %10s %11s %11s %8s  %s\n", "encoding", "codec", "entries",
                  "plain B", "packed B", "B/span", "path");
    for (size_t leaf = 0; leaf < pq_file_leaf_count(block->file); leaf++)
        inspect_leaf(block, leaf, span_count, &all, text);
    fm_buf_printf(text, "      %-13s%-7s %10s %11llu %11llu %8.3f\n", "all", "", "",
                  (unsigned long long)all.uncompressed_bytes,
                  (unsigned long long)all.compressed_bytes,
                  (double)all.compressed_bytes / (double)FM_MAX(span_count, UINT64_C(1)));
    return text->failed ? FM_ENOMEM : FM_OK;
}
