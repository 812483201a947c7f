/* SPDX-License-Identifier: Apache-2.0 */
/* answer - what queries found, as Tempo's API says it: JSON as HTTP clients read it, protobuf
 * (package tempopb) for gRPC and for Accept: application/protobuf.  docs/formats/api.md */
#ifndef FERMATA_ANSWER_H
#define FERMATA_ANSWER_H

#include "fermata/eval.h"
#include "fermata/series.h"

enum answer_format { ANSWER_JSON, ANSWER_PROTOBUF };

struct answer_stats { /* the metrics member of an answer; what is 0 is left out */
    uint64_t inspected_bytes, inspected_traces, inspected_spans, block_bytes;
    uint32_t block_count, job_count, jobs_done;
};

/* tempopb.SearchResponse.  with_sets false: the form of a search by tags. */
void answer_search(const struct eval_trace *traces, uint32_t count, bool with_sets,
                   const struct answer_stats *stats, enum answer_format format, struct fm_buf *out);

struct answer_scope { /* attribute names of a scope, sorted, distinct */
    const char *name; /* "span", "resource", ..., "intrinsic" */
    const struct fm_slice *tags;
    uint32_t tag_count;
};
/* The names of the intrinsic scope. */
const struct fm_slice *answer_intrinsics(uint32_t *ret_count);
/* SearchTagsResponse: names of all scopes in one; SearchTagsV2Response. */
void answer_tags(const struct answer_scope *scopes, uint32_t count,
                 const struct answer_stats *stats, enum answer_format format, struct fm_buf *out);
void answer_tags_v2(const struct answer_scope *scopes, uint32_t count,
                    const struct answer_stats *stats, enum answer_format format,
                    struct fm_buf *out);
/* SearchTagValuesResponse: texts; SearchTagValuesV2Response: with types. */
void answer_values(const struct traceql_value *values, uint32_t count,
                   const struct answer_stats *stats, enum answer_format format, struct fm_buf *out);
void answer_values_v2(const struct traceql_value *values, uint32_t count,
                      const struct answer_stats *stats, enum answer_format format,
                      struct fm_buf *out);

/* QueryRangeResponse, QueryInstantResponse. */
void answer_range(const struct series_result *result, const struct answer_stats *stats,
                  enum answer_format format, struct fm_buf *out);
void answer_instant(const struct series_result *result, const struct answer_stats *stats,
                    enum answer_format format, struct fm_buf *out);

/* A value as the API shows it in text: 1.5s for a duration, error for a status. */
void answer_put_text(const struct traceql_value *value, struct fm_buf *out);

#endif
