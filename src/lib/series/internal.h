/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of series share.
 *
 *   table.c    distinct values as small numbers, pairs of numbers as one
 *   observe.c  a frame's survivors into groups, steps and arrays
 *   compare.c  the same for compare(), which counts every attribute
 *   exemplar.c a few spans that stand for many
 *   finish.c   arrays to rows: units, quantiles; second.c: stages behind that, order
 *
 * Everything that lasts lives in one arena, whose limit is that of the query.
 */
#ifndef SERIES_INTERNAL_H
#define SERIES_INTERNAL_H

#include "fermata/series.h"

#define SERIES_BY_MAX      5
#define SERIES_BUCKETS     64
#define SERIES_NONE        UINT32_MAX
#define SERIES_DROPPED     (UINT32_MAX - 1) /* a group that is one too many */
#define SERIES_PER_BUCKET  2                /* exemplars of one step */
#define SERIES_NIL_ID      0                /* the first value of every table */
#define SERIES_SMALL_MAX   16   /* statuses, kinds: numbers below are looked up by index */
#define SERIES_COLUMNS_MAX 400  /* attributes of a source that compare() looks at */
#define SERIES_CELLS_MAX   1000 /* values of an attribute that compare() counts */

/* Pairs of numbers to one: open addressing, a power of two, at most half full. */
struct series_pairs {
    uint64_t *keys;
    uint32_t *numbers; /* SERIES_NONE: free */
    uint32_t mask, count;
};

/* Distinct values, numbered from 0 as they come. */
struct series_values {
    struct traceql_value *values;
    uint64_t *hashes;
    uint32_t *slots; /* numbers; SERIES_NONE: free */
    uint32_t count, capacity, mask;
};

/* A field of the plan, and what is known about the codes of its vector. */
struct series_column {
    uint32_t field;
    uint64_t serial;  /* of the table that known is about; 0: none */
    uint32_t *known;  /* per code: the number of its value, or SERIES_NONE: not asked yet */
    double *measures; /* per code: as a number, NaN if it is none */
    uint8_t *buckets; /* per code: log2 bucket; 0: none */
    uint32_t known_count;
    uint32_t small[SERIES_SMALL_MAX]; /* numbers of the integers below, of small_type */
    enum traceql_type small_type;
};
/* What a field of the query is read from: an unscoped one from two places, the first that has it.
 */
struct series_lookup {
    struct series_column columns[2];
    uint32_t column_count;
};

struct series_group {
    uint32_t *key;    /* by_count numbers of values */
    double *values;   /* per step: count, sum, least, greatest; NaN: nothing seen */
    double *counts;   /* per step; avg */
    double **buckets; /* SERIES_BUCKETS, each NULL or counts per step */
};

/* compare(): the counts of one value of one attribute in one population. */
struct series_cell {
    uint32_t attribute, value, population;
    double *counts;
    double total;
};
enum { SERIES_BASELINE, SERIES_SELECTION, SERIES_POPULATIONS };
struct series_attribute {
    struct traceql_field field;
    struct fm_slice name; /* as printed */
    uint32_t seen;        /* the last source that has it */
    double *totals[SERIES_POPULATIONS];
    uint32_t value_count[SERIES_POPULATIONS]; /* with a cell */
    bool too_many;
};

struct series_pick { /* an exemplar */
    uint64_t rank;   /* least wins, so that the order of merging does not matter */
    struct trace_id trace_id;
    int64_t start_ns;
    double value;
    uint32_t group, step;
    uint8_t bucket;
    struct series_label *labels;
    uint32_t label_count;
};

/* The survivors of a frame, as long as each other; of a span at most so many bytes. */
#define SERIES_SCRATCH_BYTES 56
struct series_scratch {
    struct fm_arena arena;
    uint32_t capacity;
    uint32_t count;
    uint32_t *spans; /* ascending */
    uint32_t *steps;
    uint32_t *entries;            /* of a vector; SERIES_NONE: no entry */
    uint32_t *ids[SERIES_BY_MAX]; /* of values */
    uint32_t *groups;
    double *measures;
    uint8_t *buckets;
    uint8_t *populations;
};

/* A field that exemplars show. */
struct series_used {
    struct traceql_field field;
    struct fm_slice name;
};

struct series_row {
    struct series_label *labels;
    uint32_t label_count;
    double *values; /* per step; NULL: none at all (an error of compare()) */
    uint32_t group, quantile;
    uint8_t bucket;
    struct series_exemplar *exemplars;
    uint32_t exemplar_count;
};

struct series {
    const struct traceql_query *query; /* borrowed */
    struct eval_limits limits;
    struct series_options options;
    struct fm_why *why; /* of the call that runs; may be NULL */
    struct fm_arena arena;

    uint64_t start_ns, end_ns, step_ns; /* aligned: steps are (start, start + step], ... */
    uint64_t reciprocal;                /* of step_ns, in 2^64ths */
    uint32_t step_count;

    struct eval_plan *plan; /* owned; NULL: compare(), which makes one per source */
    uint32_t start_field;
    struct series_lookup by[SERIES_BY_MAX];
    uint32_t by_count;
    struct series_lookup of;
    bool has_of, is_duration;

    struct series_values values;
    struct series_pairs pairs; /* (group of the fields before, value) to group of one more */
    struct series_group *groups;
    uint32_t group_count, group_capacity;
    uint32_t *group_of; /* one field: by number of value */
    uint32_t group_of_capacity;

    struct series_attribute *attributes;
    uint32_t attribute_count, attribute_capacity;
    struct series_cell *cells;
    uint32_t cell_count, cell_capacity;
    struct traceql_query *compare_query; /* the pipeline, split by the selection */
    uint32_t source_count;

    struct series_pick *picks; /* pick_buckets * pick_depth */
    uint32_t *pick_counts;
    uint32_t pick_buckets, pick_depth;
    struct series_used *used;
    uint32_t used_count;

    struct series_scratch scratch;
    struct series_row *rows;
    uint32_t row_count, row_capacity;
    struct series_result result;
    bool partial;
};

/* ---- table.c ---- */

/* Bytes that the query may still take. */
size_t series_room(const struct series *series);
/* Zeroed, from the arena.  FM_ELIMIT: the query's memory is used up. */
FM_MUST int series_alloc(struct series *series, size_t size, void *ret_ptr);
/* array grows to hold count + 1 of size each, by doubling. */
FM_MUST int series_grow(struct series *series, void *array, uint32_t count, uint32_t *capacity,
                        size_t size);
FM_MUST int series_steps(struct series *series, double fill, double **ret_values);
FM_MUST int series_value_id(struct series *series, const struct traceql_value *value,
                            uint32_t *ret_id);
/* SERIES_NONE in *ret_number: a new pair, to be numbered by the caller; valid until the next. Pairs
 * of different levels are different. */
FM_MUST int series_pair(struct series *series, unsigned level, uint32_t first, uint32_t second,
                        uint32_t **ret_number);
int series_value_compare(const struct traceql_value *a, const struct traceql_value *b);

/* ---- observe.c ---- */

FM_MUST int series_scratch_reserve(struct series *series, uint32_t count);
/* Survivors of mask within the window: their spans and steps. */
FM_MUST int series_survivors(struct series *series, struct eval_run *run, const struct frame *frame,
                             const uint8_t *mask, struct fm_why *why);
/* Per survivor the entry of a vector of domain that is its own. */
const uint32_t *series_entries(struct series *series, const struct frame *frame,
                               enum frame_domain domain);
void series_column_init(struct series_column *column, uint32_t field);
/* Where a plan has a field; unscoped: span, then resource. */
FM_MUST int series_lookup_init(struct series_lookup *lookup, struct eval_plan *plan,
                               const struct traceql_field *field);
/* Per survivor the number of its value; only those that are nil so far if only_nil. */
FM_MUST int series_column_ids(struct series *series, struct series_column *column,
                              const struct frame_vector *vector, const uint32_t *entries,
                              bool only_nil, uint32_t *ids);
/* The group of a tuple of values; SERIES_DROPPED: series_max are there already. */
FM_MUST int series_group(struct series *series, const uint32_t *key, uint32_t *ret_group);
FM_MUST int series_observe(struct series *series, struct eval_run *run, const struct frame *frame,
                           const uint8_t *mask, struct fm_why *why);
/* An array of steps for a bucket of a group, made when first asked for. */
FM_MUST int series_bucket(struct series *series, struct series_group *group, uint8_t bucket,
                          double **ret_counts);
static inline uint32_t series_step_of(const struct series *series, uint64_t start_ns)
{
    if (series->step_count == 1)
        return 0;
    uint64_t offset = start_ns - series->start_ns - 1;
    uint64_t step = (uint64_t)((unsigned __int128)offset * series->reciprocal >> 64);

    while (offset - step * series->step_ns >= series->step_ns)
        step++; /* the reciprocal was rounded down */
    return (uint32_t)step;
}

/* ---- exemplar.c ---- */

FM_MUST int series_picks_init(struct series *series);
FM_MUST int series_picks_observe(struct series *series, struct eval_run *run,
                                 const struct frame *frame, struct fm_why *why);
/* groups: per group of other the group here. */
FM_MUST int series_picks_merge(struct series *series, const struct series *other,
                               const uint32_t *groups);
/* To the rows whose samples they explain. */
FM_MUST int series_picks_give(struct series *series);

/* ---- compare.c ---- */

FM_MUST int series_compare_init(struct series *series);
FM_MUST int series_compare_add(struct series *series, series_open *open, void *self,
                               struct frame_stats *stats, struct fm_why *why);
FM_MUST int series_compare_merge(struct series *series, const struct series *other);
FM_MUST int series_compare_rows(struct series *series);

/* ---- finish.c ---- */

FM_MUST int series_row_add(struct series *series, uint32_t label_count,
                           struct series_row **ret_row);
FM_MUST int series_field_name(struct series *series, const struct traceql_field *field,
                              struct fm_slice *ret_name);
FM_MUST int series_text_value(struct series *series, struct fm_slice text,
                              struct traceql_value *ret_value);
FM_MUST int series_make_rows(struct series *series);
FM_MUST int series_make_result(struct series *series);
/* Value of a quantile over counts per log2 bucket; bound: that of bucket 0. */
double series_quantile(double quantile, const double counts[SERIES_BUCKETS], double bound);

/* ---- second.c ---- */

FM_MUST int series_second_stages(struct series *series);
void series_sort(struct series *series);
/* Rows without a sample go, unless they have no array of samples at all. */
void series_drop_empty(struct series *series);

#endif
