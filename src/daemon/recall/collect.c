/* SPDX-License-Identifier: Apache-2.0 */
/* collect - what a node has of a trace and the bucket has not: spans of the log, and of every block
 * but those that are on the bucket as they are.  Of a block that was sampled also the kept traces
 * are taken; the bucket's readers drop spans that they have twice. */
#include "collect.h"

struct collect_head { /* of one trace */
    uint64_t key;
    struct trace *trace;
};

static bool collect_wants(void *self, const struct store_record *record)
{
    const struct collect_head *head = self;
    for (uint32_t i = 0; i < record->trace_key_count; i++)
        if (record->trace_keys[i] == head->key)
            return true;
    return false;
}

static int collect_add_record(void *self, const struct store_record *record, struct fm_slice otlp)
{
    struct collect_head *head = self;
    (void)record;
    return trace_add(head->trace, otlp);
}

static bool collect_is_there(const struct store_block *block)
{
    const struct store_decided *decided = store_block_decided(block);
    return store_block_is_uploaded(NULL, block) && decided->verdict != STORE_PART &&
           decided->verdict != STORE_NOTHING;
}

static int collect_from_block(const struct collect *collect, size_t index,
                              const struct trace_id *id, struct trace *trace, struct fm_why *why)
{
    struct store_opened opened;
    struct fm_buf otlp;
    int rc = store_opened_init(&opened, collect->snapshot, index, why);
    if (rc < 0)
        return rc;
    fm_buf_init(&otlp, (size_t)collect->bytes_max);
    rc = block_find_trace(opened.block, id, &otlp, NULL, why);
    if (rc == FM_OK)
        rc = trace_add(trace, fm_buf_slice(&otlp));
    fm_buf_fini(&otlp);
    store_opened_fini(&opened, collect->snapshot);
    return rc == FM_NONE ? FM_OK : rc;
}

static int collect_trace(struct collect *collect, const struct trace_id *id, struct trace *trace,
                         struct fm_why *why)
{
    struct collect_head head = {trace_id_key(id->bytes), trace};
    const struct store_head_reading reading = {collect_wants, collect_add_record, &head};
    size_t count = store_snapshot_block_count(collect->snapshot);
    uint64_t failed = 0;
    int rc = store_snapshot_read_head(collect->snapshot, &reading, &failed, why);
    for (size_t i = 0; rc == FM_OK && i < count; i++) {
        if (!collect_is_there(store_snapshot_block(collect->snapshot, i)))
            rc = collect_from_block(collect, i, id, trace, why);
    }
    return rc;
}

int collect_next(void *self, struct fm_buf *otlp, struct fm_why *why)
{
    struct collect *collect = self;
    while (collect->next < collect->id_count) {
        const struct trace_id *id = &collect->ids[collect->next];
        uint64_t left = collect->bytes_max - FM_MIN(collect->bytes, collect->bytes_max);
        FM_AUTO(trace) trace = NULL;
        int rc = trace_new(&trace, id, (size_t)left);
        if (rc == FM_OK)
            rc = collect_trace(collect, id, trace, why);
        if (rc == FM_ELIMIT) { /* what is left of the budget does not hold it */
            collect->is_partial = true;
            return FM_END;
        }
        if (rc == FM_OK)
            rc = trace_finish(trace);
        if (rc < 0)
            return rc;
        collect->next++;
        if (trace_span_count(trace) == 0)
            continue;
        trace_put_otlp(trace, otlp);
        collect->bytes += otlp->len;
        collect->found_traces++;
        return FM_OK;
    }
    return FM_END;
}
