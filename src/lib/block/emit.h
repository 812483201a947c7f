/* SPDX-License-Identifier: Apache-2.0 */
/* emit - shared by the two files that write columns.  Private. */
#ifndef BLOCK_EMIT_H
#define BLOCK_EMIT_H

#include "builder.h"

struct emit_column {
    struct pq_chunk *chunk; /* owned */
    uint32_t *map; /* owned; number of a string -> index in the dictionary + 1; NULL: none */
};

struct emit_service {
    uint32_t service; /* number of the string */
    uint32_t span_count, error_count;
};

/* Whose attributes: resources and spans have columns of their own for some. */
enum emit_owner { OWNER_OTHER, OWNER_RESOURCE, OWNER_SPAN, OWNER_COUNT };

/* What a shape's attributes need, for an owner. */
struct emit_shape {
    uint32_t count;  /* without those that have columns of their own */
    uint8_t kinds;   /* bit per enum row_kind of these */
    bool has_odd;    /* some are arrays or unsupported */
    bool has_static; /* some have columns of their own */
};

struct emit {
    const struct block_builder *builder;
    const struct sorted *sorted;
    struct nested *nested;
    struct block_census *census;
    struct pq_leaf leaves[LEAF_COUNT];
    struct emit_column columns[LEAF_COUNT];
    struct emit_shape *shapes[OWNER_COUNT]; /* owned; by number of a shape */
    struct codec_encoder *encoder;          /* owned; shared by all chunks */
    int rc;
    /* Facts of traces: */
    uint32_t *resource_service; /* owned; by number of a resource: its service.name */
    uint32_t *service_slot;     /* owned; by number of a string: place in services + 1 */
    struct emit_service *services; /* owned; of the trace at hand */
    uint32_t service_count, service_cap;
};

uint32_t emit_dictionary_index(struct emit *emit, struct emit_column *column, uint32_t string);

struct emit_link {
    struct fm_slice trace, span;
    uint32_t state, dropped, shape;
};
/* The link count of a row, NULL if it has no links; then link after link (the values follow). */
const uint8_t *emit_links_of(const struct emit *emit, const struct row *row);
const uint8_t *emit_read_link(const uint8_t *ptr, struct emit_link *ret_link);

/* facts.c: the columns of the trace itself. */
FM_MUST int emit_facts_init(struct emit *emit);
void emit_facts_fini(struct emit *emit);
void emit_trace_group(struct emit *emit, const struct sorted_trace *trace);

#endif
