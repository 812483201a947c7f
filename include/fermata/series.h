/* SPDX-License-Identifier: Apache-2.0 */
/* series - TraceQL metrics: survivors of a query's pipeline as series over time.  docs/traceql.md
 *
 *   series_new -> series_add for each source -> series_merge -> series_finish
 */
#ifndef FERMATA_SERIES_H
#define FERMATA_SERIES_H

#include "fermata/eval.h"

#define SERIES_STEPS_MAX 10000

struct series_options {
    uint64_t start_ns, end_ns; /* as asked; aligned here */
    uint64_t step_ns;          /* 0: chosen from the range */
    bool instant;              /* one bucket from start to end */
    uint32_t exemplars_max;    /* 0: none; at most 100 */
    uint32_t series_max;       /* more: FM_ELIMIT is not said, the answer is partial */
};
uint64_t series_default_step_ns(uint64_t start_ns, uint64_t end_ns);

struct series_label {
    struct fm_slice name;
    struct traceql_value value;
};
struct series_sample {
    int64_t timestamp_ms;
    double value;
};
struct series_exemplar {
    int64_t timestamp_ms;
    double value;
    struct series_label *labels;
    uint32_t label_count;
};
struct series_line {
    struct series_label *labels;
    uint32_t label_count;
    struct series_sample *samples; /* absent ones are not there */
    uint32_t sample_count;
    struct series_exemplar *exemplars;
    uint32_t exemplar_count;
};
struct series_result {         /* lives as long as the series */
    struct series_line *lines; /* in the order of their labels */
    uint32_t line_count;
    uint64_t step_ns;
    bool partial; /* series_max reached */
};

struct series;
/* query: checked, with a metrics stage (else FM_EMALFORMED "not a metrics query"); borrowed.
 * FM_EMALFORMED also for a range or step that Tempo refuses, in its words. */
FM_MUST int series_new(struct series **ret_series, const struct traceql_query *query,
                       const struct eval_limits *limits, const struct series_options *options,
                       struct fm_why *why);
struct series *series_free(struct series *series);
FM_DEFINE_AUTO(series)
/* The aligned window that sources are to be opened with: wider than asked by the leading step. */
void series_window(const struct series *series, uint64_t *ret_start_ns, uint64_t *ret_end_ns);
/* open: makes a source of the same data for a request; called once or, for compare(), which must
 * know the names of attributes first, twice.  Runs to the end. */
typedef int series_open(void *self, const struct frame_request *request,
                        struct frame_source **ret_source, struct fm_why *why);
FM_MUST int series_add(struct series *series, series_open *open, void *self,
                       struct frame_stats *stats, struct fm_why *why);
FM_MUST int series_merge(struct series *series, const struct series *other);
/* Quantiles, second stages, order; once. */
FM_MUST int series_finish(struct series *series, const struct series_result **ret_result,
                          struct fm_why *why);

#endif
