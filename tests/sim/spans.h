/* SPDX-License-Identifier: Apache-2.0 */
/* Spans for the simulated store: which trace they are of, and their bytes. */
#ifndef SIM_SPANS_H
#define SIM_SPANS_H

#include <stdio.h>

#include "fermata/model.h"
#include "fermata/pb.h"
#include "fermata/units.h"

static inline struct trace_id trace_of(uint32_t tenant, uint32_t trace)
{
    struct trace_id id;
    uint64_t state = tenant * 1000 + trace;
    fm_store_be64(id.bytes, fm_random_next(&state));
    fm_store_be64(id.bytes + 8, fm_random_next(&state));
    return id;
}

static inline void put_span(struct fm_buf *buf, const struct trace_id *id, uint32_t number)
{
    uint8_t span_id[8];
    char name[32];
    size_t mark = pb_begin(buf, 2);
    fm_store_be64(span_id, number + 1);
    (void)snprintf(name, sizeof name, "operation-%u", number % 7);
    pb_put_bytes(buf, 1, fm_slice(id->bytes, 16));
    pb_put_bytes(buf, 2, fm_slice(span_id, 8));
    pb_put_text(buf, 5, name);
    pb_put_u64(buf, 6, 2);
    pb_put_fixed64(buf, 7, UINT64_C(1763690000000000000) + number * FM_NS_PER_MS);
    pb_put_fixed64(buf, 8, UINT64_C(1763690000000000000) + (number + 1) * FM_NS_PER_MS);
    pb_end(buf, mark);
}

static inline void put_text_attribute(struct fm_buf *buf, uint32_t number, const char *key,
                                      struct fm_slice value)
{
    size_t mark = pb_begin(buf, number);
    pb_put_text(buf, 1, key);
    size_t inner = pb_begin(buf, 2);
    pb_put_bytes(buf, 1, value);
    pb_end(buf, inner);
    pb_end(buf, mark);
}

#endif
