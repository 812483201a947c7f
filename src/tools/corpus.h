/* SPDX-License-Identifier: Apache-2.0 */
/* corpus - an endless, repeatable stream of realistic spans as OTLP requests.
 *
 * Twenty services call each other over a fixed graph; traces have 1 to 200 spans (log-normal about
 * 12), real trees of SERVER, CLIENT, database, INTERNAL, PRODUCER and CONSUMER spans, Zipf-like
 * routes and statements, ids of high cardinality, 3 % errors with stack traces.  Spans leave in the
 * order of their end, in batches per service instance, as SDKs send them.  About 480 bytes and 10
 * attributes a span.  Same seed and same calls: same bytes.  Memory is bounded by the batches under
 * way and the spans that have not ended.
 */
#ifndef TOOLS_CORPUS_H
#define TOOLS_CORPUS_H

#include "fermata/base.h"
#include "fermata/model.h"

struct corpus;
struct corpus_options {
    uint64_t seed;
    uint32_t spans_per_request;
    double spans_per_s; /* how dense the spans lie in their own time */
};
FM_MUST int corpus_new(struct corpus **ret_corpus, const struct corpus_options *options);
struct corpus *corpus_free(struct corpus *corpus);
FM_DEFINE_AUTO(corpus)
/* Appends the next request.  Time inside the corpus starts at the first now_ns and runs by itself;
 * a later now_ns pulls it forward, never back. */
FM_MUST int corpus_next(struct corpus *corpus, uint64_t now_ns, struct fm_buf *otlp);
/* The remaining, smaller requests; FM_END after the last.  No new traces begin. */
FM_MUST int corpus_drain(struct corpus *corpus, struct fm_buf *otlp);

/* The n-th trace (from 0) that was begun, whether it has left as a whole or not. */
struct trace_id corpus_trace_id(const struct corpus *corpus, uint64_t n);
uint64_t corpus_trace_count(const struct corpus *corpus);
uint64_t corpus_span_count(const struct corpus *corpus); /* that left */

#endif
