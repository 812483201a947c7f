/* SPDX-License-Identifier: Apache-2.0 */
/* parquet - the part of Apache Parquet that Tempo's blocks use; knows nothing of traces.
 *
 * Sources: apache/parquet-format README, Encodings.md, Compression.md, parquet.thrift.
 * Writing: one row group or several, v1 or v2 data pages, CRC-32 in every page header, dictionary
 * pages without fall-back, offset index only if asked.  Reading: whatever Tempo 2.5-3.0 and this
 * writer emit, every page checked against its header before it is used.  One object, one thread. */
#ifndef FERMATA_PARQUET_H
#define FERMATA_PARQUET_H
#include "fermata/base.h"
#include "fermata/codec.h"

enum pq_type { PQ_BOOLEAN = 0, PQ_INT32 = 1, PQ_INT64 = 2, PQ_DOUBLE = 5, PQ_BYTE_ARRAY = 6 };
enum pq_repetition { PQ_REQUIRED = 0, PQ_OPTIONAL = 1, PQ_REPEATED = 2 };
/* ConvertedType of parquet.thrift, or none */
enum pq_converted {
    PQ_CONVERTED_NONE = -1,
    PQ_UTF8 = 0,
    PQ_MAP = 1,
    PQ_LIST = 3,
    PQ_UINT_32 = 13,
    PQ_UINT_64 = 14,
    PQ_INT_32 = 17,
    PQ_INT_64 = 18,
};
enum pq_encoding {
    PQ_PLAIN = 0,
    PQ_RLE = 3,
    PQ_DELTA_BINARY_PACKED = 5,
    PQ_DELTA_LENGTH_BYTE_ARRAY = 6,
    PQ_RLE_DICTIONARY = 8,
};

/* A schema is an array of nodes in depth-first order; node 0 is the root. */
struct pq_node {
    const char *name;
    uint8_t child_count; /* 0: a leaf */
    uint8_t repetition;  /* enum pq_repetition */
    uint8_t type;        /* enum pq_type, leaves only */
    int8_t converted;    /* enum pq_converted */
};
/* How one leaf is written. */
struct pq_choice {
    uint8_t encoding; /* enum pq_encoding */
    uint8_t codec;    /* enum codec: NONE, SNAPPY, ZSTD */
    int8_t level;     /* of the codec */
};

/* ---- writing a column chunk: values in, pages out; chunks are independent of each other ---- */

struct pq_chunk;
/* rep_max, def_max as the schema gives them (pq_schema_levels).  page_version 1 or 2. */
FM_MUST int pq_chunk_new(struct pq_chunk **ret_chunk, enum pq_type type, unsigned rep_max,
                         unsigned def_max, const struct pq_choice *choice, unsigned page_version);
struct pq_chunk *pq_chunk_free(struct pq_chunk *chunk);
FM_DEFINE_AUTO(pq_chunk)
/* Chunks that one thread builds may share a compressor of their codec (a context costs megabytes).
 * Borrowed until the chunk is freed; without one, each page makes and drops its own. */
void pq_chunk_share_encoder(struct pq_chunk *chunk, struct codec_encoder *encoder);
/* Each call is one entry (one pair of levels); errors stick and come out of pq_writer_append.
 * Levels up to 15.  The value's definition level is def_max. */
void pq_put_null(struct pq_chunk *chunk, unsigned rep, unsigned def); /* def < def_max */
void pq_put_i32(struct pq_chunk *chunk, unsigned rep, int32_t value);
void pq_put_i64(struct pq_chunk *chunk, unsigned rep, int64_t value);
void pq_put_double(struct pq_chunk *chunk, unsigned rep, double value);
void pq_put_bool(struct pq_chunk *chunk, unsigned rep, bool value);
void pq_put_bytes(struct pq_chunk *chunk, unsigned rep, struct fm_slice value); /* not dictionary */
/* count equal entries at the cost of one, for the siblings of a list (no-op if count is 0). */
void pq_put_nulls(struct pq_chunk *chunk, unsigned rep, unsigned def, uint32_t count);
void pq_put_bools(struct pq_chunk *chunk, unsigned rep, bool value, uint32_t count);
/* Dictionary columns: the caller interns; add returns the new value's index. */
uint32_t pq_dictionary_add(struct pq_chunk *chunk, struct fm_slice value);
void pq_put_index(struct pq_chunk *chunk, unsigned rep, uint32_t index);
/* Ends the page; only at a row boundary; rows = rows since the last cut (> 0). */
void pq_chunk_cut(struct pq_chunk *chunk, uint32_t rows);
size_t pq_chunk_pending_bytes(const struct pq_chunk *chunk);  /* memory held by the open page */
size_t pq_chunk_finished_bytes(const struct pq_chunk *chunk); /* by finished pages, dictionary */

/* ---- writing a file ---- */

struct pq_writer;
struct pq_writer_options {
    const struct pq_node *schema; /* borrowed for the writer's life */
    size_t node_count;
    const char *created_by;
    bool offset_index;
};
FM_MUST int pq_writer_new(struct pq_writer **ret_writer, const struct pq_writer_options *options,
                          struct fm_sink sink);
struct pq_writer *pq_writer_free(struct pq_writer *writer);
FM_DEFINE_AUTO(pq_writer)
FM_MUST int pq_row_group_begin(struct pq_writer *writer);
/* Writes the finished chunk as the next leaf, in schema order.  The open page is cut by the caller.
 * The chunk is then empty again (its dictionary too) and may be filled for the next row group. */
FM_MUST int pq_writer_append(struct pq_writer *writer, struct pq_chunk *chunk);
FM_MUST int pq_row_group_end(struct pq_writer *writer, uint64_t row_count);
/* Footer and magic.  ret_size: bytes of the whole file; ret_footer: the footer's length field. */
FM_MUST int pq_writer_finish(struct pq_writer *writer, uint64_t *ret_size, uint32_t *ret_footer);

/* ---- schema ---- */

struct pq_leaf {
    char *path;                                 /* names joined by '.', without the root's */
    uint8_t type, rep_max, def_max, repetition; /* repetition: of the leaf itself */
    int8_t converted;
    uint8_t codec; /* enum codec; reading only */
};
/* Number of leaves; fills levels for up to leaf_max leaves of a schema table. */
size_t pq_schema_levels(const struct pq_node *schema, size_t node_count, struct pq_leaf *leaves,
                        size_t leaf_max); /* path stays NULL */

/* ---- reading ---- */

struct pq_limits {
    size_t footer_bytes_max; /* 16 MiB */
    size_t page_bytes_max;   /* one page, decompressed; 64 MiB */
    size_t leaf_count_max;   /* 4096 */
};
extern const struct pq_limits pq_limits_default;

struct pq_file;
/* Reads and checks the footer; source must outlive the file.  footer_hint: its length, 0 if not
 * known: then one read of 16 KiB is tried first.  limits NULL: the defaults. */
FM_MUST int pq_file_open(struct pq_file **ret_file, struct fm_source source, uint32_t footer_hint,
                         const struct pq_limits *limits, struct fm_why *why);
struct pq_file *pq_file_free(struct pq_file *file);
FM_DEFINE_AUTO(pq_file)
uint64_t pq_file_row_count(const struct pq_file *file);
size_t pq_file_row_group_count(const struct pq_file *file);
uint64_t pq_row_group_row_count(const struct pq_file *file, size_t row_group);
size_t pq_file_leaf_count(const struct pq_file *file);
const struct pq_leaf *pq_file_leaf(const struct pq_file *file, size_t index); /* borrowed */
FM_MUST int pq_file_find_leaf(const struct pq_file *file, const char *path, size_t *ret_index);
uint32_t pq_file_footer_size(const struct pq_file *file);
size_t pq_file_memory(const struct pq_file *file); /* bytes held, for caches */

/* One decoded page.  Arrays belong to the column and live until its next call. */
struct pq_page {
    const uint8_t *rep;              /* entry_count levels; NULL if rep_max is 0 */
    const uint8_t *def;              /* NULL if def_max is 0 */
    uint64_t rep_number, def_number; /* of a memo: equal and not 0, the levels are equal */
    uint32_t entry_count;
    uint32_t value_count; /* entries with def == def_max */
    uint32_t row_count;
    uint64_t first_row; /* within the row group */
    union { /* value_count values, by type; with a dictionary: indexes instead, checked */
        const int32_t *i32;
        const int64_t *i64;
        const double *f64;
        const uint8_t *boolean; /* one byte each */
        const struct fm_slice *bytes;
    };
    const uint32_t *indexes; /* NULL unless the page is dictionary encoded */
};

struct pq_column;
FM_MUST int pq_column_open(struct pq_column **ret_column, const struct pq_file *file,
                           size_t row_group, size_t leaf, struct fm_why *why);
struct pq_column *pq_column_free(struct pq_column *column);
FM_DEFINE_AUTO(pq_column)
/* The next page; FM_END after the last.  Checks CRC, sizes, counts, levels and index ranges. */
FM_MUST int pq_column_next(struct pq_column *column, struct pq_page *ret_page, struct fm_why *why);
/* Makes the next page the one that holds row (of the row group); by offset index if the file has
 * one, else by walking headers and, where they do not say, levels.  FM_END: no such row. */
FM_MUST int pq_column_seek(struct pq_column *column, uint64_t row, struct fm_why *why);
/* Dictionary values (FM_NONE: the chunk has no dictionary); valid for the column's life. */
FM_MUST int pq_column_dictionary(struct pq_column *column, const struct fm_slice **ret_values,
                                 uint32_t *ret_count, struct fm_why *why);

/* ---- one row, anywhere: for finding ---- */

/* Memory that reading a row needs and the next one can use again. */
struct pq_scratch;
FM_MUST int pq_scratch_new(struct pq_scratch **ret_scratch);
struct pq_scratch *pq_scratch_free(struct pq_scratch *scratch);
FM_DEFINE_AUTO(pq_scratch)
/* Where a chunk's pages are and, if it decompresses to no more than dictionary_max bytes, its
 * dictionary.  Borrows file.  Immutable once made: any number of threads may read rows by it. */
struct pq_guide;
FM_MUST int pq_guide_new(struct pq_guide **ret_guide, const struct pq_file *file, size_t row_group,
                         size_t leaf, size_t dictionary_max, struct pq_scratch *scratch,
                         struct fm_why *why);
struct pq_guide *pq_guide_free(struct pq_guide *guide);
FM_DEFINE_AUTO(pq_guide)
size_t pq_guide_memory(const struct pq_guide *guide);
/* The entries of one row, values in place of dictionary indexes.  Arrays live in arena (values of
 * a dictionary perhaps in guide); a page's CRC is checked, and what the row needs of its contents.
 * FM_NONE: every entry of the chunk is null (its dictionary is empty). */
FM_MUST int pq_guide_row(const struct pq_guide *guide, uint64_t row, struct pq_scratch *scratch,
                         struct fm_arena *arena, struct pq_page *ret_page, struct fm_why *why);

/* What the chunk's metadata says, for inspection. */
struct pq_chunk_info {
    uint64_t entry_count, compressed_bytes, uncompressed_bytes;
    uint32_t encodings; /* bit set of enum pq_encoding */
    uint8_t codec;
};
struct pq_chunk_info pq_file_chunk_info(const struct pq_file *file, size_t row_group, size_t leaf);

#endif
