/* SPDX-License-Identifier: Apache-2.0 */
/* block - Tempo's block format on top of parquet: build, read, verify.  docs/formats/block.md.
 *
 * Building is two steps, so that memory stays small: spans come in any order as canonical OTLP
 * bytes and are kept as compact rows (strings interned, about 90 bytes a span); finish sorts them
 * by trace, numbers the tree and writes group of columns after group of columns.
 * Same input, same options: same bytes.  One thread per object.
 */
#ifndef FERMATA_BLOCK_H
#define FERMATA_BLOCK_H

#include <stdatomic.h>

#include "fermata/base.h"
#include "fermata/model.h"
#include "fermata/parquet.h"

enum block_version { BLOCK_V4 = 4, BLOCK_V5 = 5 }; /* vParquet4 is written; both are read */

struct block_id {
    uint8_t bytes[16];
};
void block_id_print(const struct block_id *id, char text[37]); /* canonical, lower case */
FM_MUST int block_id_parse(struct fm_slice text, struct block_id *ret_id);

#define BLOCK_DEDICATED_MAX 32
struct block_dedicated { /* a column of one attribute */
    char name[128];
    uint8_t scope; /* 0 span, 1 resource, 2 event */
    uint8_t type;  /* 0 string, 1 int */
};
struct block_meta { /* meta.json; semantics: reference of the format, section 2 */
    enum block_version version;
    struct block_id id;
    char tenant[TENANT_LEN_MAX + 1];
    uint64_t start_ns, end_ns; /* written as whole seconds: floor and ceil, end > start */
    uint64_t trace_count;      /* totalObjects */
    uint64_t size_bytes;       /* of data.parquet */
    uint32_t compaction_level;
    uint32_t row_group_count; /* totalRecords */
    uint32_t bloom_shard_count;
    uint32_t footer_bytes;
    uint32_t replication_factor;
    uint32_t dedicated_count; /* only read; fermata writes none */
    const struct block_dedicated *dedicated; /* borrowed; NULL: they were not asked for */
};
/* Without the names of dedicated columns, 4 KiB a block: one that has some cannot be opened so. */
FM_MUST int block_meta_parse(struct fm_slice json, struct block_meta *ret_meta, struct fm_why *why);
/* With them; room, for BLOCK_DEDICATED_MAX, stays as long as the meta is used. */
FM_MUST int block_meta_parse_all(struct fm_slice json, struct block_meta *ret_meta,
                                 struct block_dedicated *room, struct fm_why *why);
void block_meta_render(const struct block_meta *meta, struct fm_buf *buf);

/* ---- build ---- */

struct block_options {
    uint8_t codec; /* CODEC_ZSTD or CODEC_SNAPPY */
    int8_t codec_level;
    uint32_t page_span_target; /* spans per page; pages of all columns share their row boundaries */
    size_t memory_max;         /* rows and interned strings; block_builder_add says FM_ELIMIT */
    double bloom_false_positive;
    uint32_t row_group_span_max; /* 0: one row group */
};
extern const struct block_options block_options_default;

struct block_census { /* exact counts, of a build or of a verification */
    uint64_t trace_count, span_count, event_count, link_count, attribute_count;
    uint64_t duplicate_count; /* spans dropped as byte-equal repeats (build only) */
    uint64_t start_min_ns, end_max_ns;
    uint64_t range_start_ns, range_end_ns; /* of these, without what is absurd (build only) */
};

struct block_builder;
FM_MUST int block_builder_new(struct block_builder **ret_builder,
                              const struct block_options *options);
struct block_builder *block_builder_free(struct block_builder *builder);
FM_DEFINE_AUTO(block_builder)
/* otlp: as otlp_pb_check passed it.  FM_ELIMIT: memory_max reached, nothing of this call was added:
 * finish the block and start another (of an empty builder: the request does not fit at all).
 * FM_EMALFORMED: not canonical (the caller's store is damaged). */
FM_MUST int block_builder_add(struct block_builder *builder, struct fm_slice otlp,
                              struct fm_why *why);
#define BLOCK_TIME_MIN_NS (UINT64_C(315532800) * 1000000000) /* 1980-01-01 */
/* Times before 1980 and later than latest_ns count as received_ns for the block's range, by which
 * it is searched and deleted; the spans keep them.  Without this call every time counts. */
void block_builder_bound(struct block_builder *builder, uint64_t received_ns, uint64_t latest_ns);
size_t block_builder_memory(const struct block_builder *builder);
uint64_t block_builder_span_count(const struct block_builder *builder);

#define BLOCK_BLOOM_SHARD_MAX 1000
/* Writes data.parquet to data; appends shard after shard to blooms (all of equal size).
 * id and tenant are taken from *meta, all other fields of *meta are set. */
FM_MUST int block_builder_finish(struct block_builder *builder, struct fm_sink data,
                                 struct fm_buf *blooms, struct block_meta *meta,
                                 struct block_census *ret_census, struct fm_why *why);

/* ---- read ---- */

/* Bloom object as Tempo writes it.  shard of an id; whether the shard's bytes may hold the id. */
uint32_t bloom_shard(const struct trace_id *id, uint32_t shard_count);
FM_MUST int bloom_test(struct fm_slice object, const struct trace_id *id, bool *ret_maybe);

struct block; /* an open data.parquet: footer, leaf positions; immutable after open */
FM_MUST int block_open(struct block **ret_block, struct fm_source data,
                       const struct block_meta *meta, struct fm_why *why);
struct block *block_free(struct block *block);
FM_DEFINE_AUTO(block)
/* Without what is charged to a room. */
size_t block_memory(const struct block *block);
/* From now on remembers where pages are and, in up to dictionary_max bytes, decompressed
 * dictionaries, each once it is needed, which makes what comes after several times cheaper. */
void block_prepare(struct block *block, size_t dictionary_max);
/* That memory is charged to *room, borrowed for the block's life and shared with others, and no
 * more dictionaries are kept once it has reached room_max.  After block_prepare. */
void block_share_room(struct block *block, _Atomic uint64_t *room, uint64_t room_max);
/* Appends the trace as canonical OTLP bytes.  FM_OK, or FM_NONE: not in this block.
 * ret_inspected (may be NULL): bytes read from data. */
FM_MUST int block_find_trace(const struct block *block, const struct trace_id *id,
                             struct fm_buf *otlp, uint64_t *ret_inspected, struct fm_why *why);
/* Every trace in row order as canonical OTLP bytes; a non-zero result of visit stops and is
 * returned. */
typedef int block_visit(void *self, const struct trace_id *id, struct fm_slice otlp);
FM_MUST int block_each_trace(const struct block *block, block_visit *visit, void *self,
                             struct fm_why *why);

/* Decodes every page and holds the file against its meta and its blooms: counts, order of ids,
 * levels that agree between siblings, nested set, text ids, service stats.  why says what is wrong
 * where ("row group 0, rs.list.element.ss...Name, page 3: ...").
 * blooms: shard objects, meta->bloom_shard_count of them. */
FM_MUST int block_verify(struct fm_source data, const struct block_meta *meta,
                         const struct fm_slice *blooms, struct block_census *ret_census,
                         struct fm_why *why);
/* Human table of columns: encodings, codec, bytes, bytes per span. */
FM_MUST int block_inspect(struct fm_source data, const struct block_meta *meta, struct fm_buf *text,
                          struct fm_why *why);

#endif
