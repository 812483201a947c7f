/* SPDX-License-Identifier: Apache-2.0 */
/* Levels of a schema table, and the numbers of parquet.thrift that differ from ours. */
#include "internal.h"

size_t pq_schema_levels(const struct pq_node *schema, size_t node_count, struct pq_leaf *leaves,
                        size_t leaf_max)
{
    struct {
        unsigned left; /* children still to come */
        uint8_t rep, def;
    } open[PQ_DEPTH_MAX];
    size_t leaf_count = 0;
    unsigned depth = 0;
    for (size_t i = 0; i < node_count; i++) {
        const struct pq_node *node = &schema[i];
        uint8_t rep = depth ? open[depth - 1].rep : 0, def = depth ? open[depth - 1].def : 0;
        if (i > 0) { /* the root has no repetition */
            rep += node->repetition == PQ_REPEATED;
            def += node->repetition != PQ_REQUIRED;
        }
        if (depth && --open[depth - 1].left == 0)
            depth--; /* its last child takes its place */
        if (node->child_count) {
            FM_ASSERT(depth < PQ_DEPTH_MAX);
            open[depth].left = node->child_count;
            open[depth].rep = rep;
            open[depth++].def = def;
            continue;
        }
        if (leaf_count < leaf_max)
            leaves[leaf_count] = (struct pq_leaf){
                .type = node->type,
                .rep_max = rep,
                .def_max = def,
                .repetition = node->repetition,
                .converted = node->converted,
            };
        leaf_count++;
    }
    return leaf_count;
}

static const int8_t codec_wire[] = {
    [CODEC_NONE] = 0, [CODEC_GZIP] = 2,   [CODEC_DEFLATE] = -1,
    [CODEC_ZSTD] = 6, [CODEC_SNAPPY] = 1, [CODEC_LZ4] = 7, /* LZ4_RAW; 5 is another framing */
};

int pq_codec_to_wire(enum codec codec)
{
    return codec_wire[codec];
}

uint8_t pq_codec_from_wire(int64_t wire)
{
    for (uint8_t codec = 0; codec < FM_COUNT(codec_wire); codec++)
        if (codec_wire[codec] == wire && wire >= 0)
            return codec;
    return PQ_CODEC_UNKNOWN;
}
