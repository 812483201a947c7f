/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of traces that the bucket does not have, one trace after another, in a job. */
#ifndef RECALL_COLLECT_H
#define RECALL_COLLECT_H

#include "fermata/recall.h"
#include "fermata/store_decide.h"
#include "fermata/store_outbox.h"
#include "fermata/store_read.h"

struct collect {
    struct store_snapshot *snapshot; /* borrowed */
    const struct trace_id *ids;      /* borrowed */
    uint32_t id_count, next;
    uint64_t bytes_max, bytes; /* of OTLP */
    /* results */
    uint64_t found_traces;
    bool is_partial;
};
/* For store_outgoing.next; self is a struct collect. */
int collect_next(void *self, struct fm_buf *otlp, struct fm_why *why);

#endif
