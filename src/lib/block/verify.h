/* SPDX-License-Identifier: Apache-2.0 */
/* verify - shared by the two files of the verification.  Private. */
#ifndef BLOCK_VERIFY_H
#define BLOCK_VERIFY_H

#include "nested.h"
#include "reader.h"

#include "fermata/parquet_put.h"

enum verify_element_index {
    VERIFY_TRACE,
    VERIFY_STATS,
    VERIFY_RESOURCE,
    VERIFY_RESOURCE_ATTRIBUTE,
    VERIFY_SCOPE,
    VERIFY_SCOPE_ATTRIBUTE,
    VERIFY_SPAN,
    VERIFY_SPAN_ATTRIBUTE,
    VERIFY_EVENT,
    VERIFY_EVENT_ATTRIBUTE,
    VERIFY_LINK,
    VERIFY_LINK_ATTRIBUTE,
    VERIFY_ELEMENT_COUNT
};

/* Checksums of a column's levels, cut down to an element. */
struct verify_print {
    uint32_t rep, def;
    uint64_t count;
};

/* A checksum that was continued by levels of a memo: siblings take the same step. */
struct verify_step {
    uint64_t number; /* of the levels; 0: nothing */
    uint32_t before, after;
    uint8_t level; /* they were cut down to */
};
#define VERIFY_STEPS 16u

struct verify_column {
    struct pq_column *column; /* owned */
    const struct fm_slice *dictionary;
    uint32_t dictionary_count;
    struct pq_page page;
    uint32_t page_number;  /* pages read */
    uint32_t entry, value; /* next in page */
    uint64_t row_count, value_count;
    struct verify_print print, parent_print;
    bool is_text;
    bool some; /* IsArray: some entry is true */
};

/* Spans and errors of a service in the trace at hand. */
struct verify_service {
    struct fm_slice name; /* borrowed from a dictionary or copied to the arena */
    uint64_t span_count, error_count;
};
struct verify_services {
    struct verify_service *rows; /* owned */
    size_t count, cap;
};

struct verify {
    const struct block *block;
    const struct fm_slice *blooms;
    struct block_census *census;
    struct fm_why *why;
    size_t row_group;
    struct verify_column columns[READER_LEAF_MAX];
    struct verify_print prints[VERIFY_ELEMENT_COUNT];
    bool has_print[VERIFY_ELEMENT_COUNT];
    uint8_t *scratch; /* owned */
    size_t scratch_size;
    struct pq_memo *memo; /* owned; shared by all columns */
    struct verify_step steps[VERIFY_STEPS];
    unsigned step_next;
    /* In step: */
    struct nested nested;
    struct trace_id last_id;
    bool has_last_id;
    uint32_t dense_left; /* spans ahead whose columns are plain arrays (step.c) */
    struct verify_services said, found;
    struct fm_arena names;
    bool has_names;
};

FM_MUST int verify_fail(struct verify *verify, unsigned leaf, const char *what);
FM_MUST int verify_open(struct verify *verify, unsigned leaf);
FM_MUST int verify_page(struct verify *verify, unsigned leaf);

/* step.c: the columns that are read together, for one row group. */
FM_MUST int verify_in_step(struct verify *verify);
void verify_step_fini(struct verify *verify);

#endif
