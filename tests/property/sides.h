/* SPDX-License-Identifier: Apache-2.0 */
/* sides - the same spans in all the places where a query may find them. */
#ifndef TESTS_PROPERTY_SIDES_H
#define TESTS_PROPERTY_SIDES_H

#include "fermata/block_frames.h"

#include "model.h"

struct test_keep;
struct side_block {
    struct fm_buf data;
    struct fm_slice bytes; /* data, for the source */
    struct block *block;   /* owned */
    struct block_meta meta;
};
struct sides {
    const struct model *model;
    struct frame_rows *whole, *left, *right, *joined; /* owned */
    struct side_block all_block, right_block;         /* the latter none if it has no span */
    struct test_keep *keep; /* owned; of blocks; what was decoded for earlier queries */
    struct trace_id shared[MODEL_TRACES]; /* in both halves; sorted */
    uint32_t shared_count;
    uint32_t share_count; /* of the rows of a block, read one by one */
};
/* Borrows model.  seed: how the spans are split. */
struct sides *sides_new(const struct model *model, uint64_t seed);
struct sides *sides_free(struct sides *sides);
/* Whether a side says something else than the oracle; tells it if report is not NULL.  seed: how
 * the query is asked. */
bool sides_differ(struct sides *sides, const struct traceql_query *query, uint64_t seed,
                  uint64_t *survivors, uint64_t *errors, struct fm_buf *report);
/* Of the model's traces, MODEL_TRACES: none. */
uint32_t sides_trace(const struct sides *sides, const struct trace_id *id);

/* ---- asked.c ---- */

bool sides_found_differ(const struct sides *sides, const struct traceql_query *query,
                        const struct model_question *question, struct fm_buf *report);

#endif
