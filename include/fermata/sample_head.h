/* SPDX-License-Identifier: Apache-2.0 */
/* sample_head - consistent probability sampling at the door.  Part of sample.
 *
 * OpenTelemetry's rules for tracestate: a span's randomness R is rv of its "ot" entry, else the low
 * 56 bits of the trace id; it is kept if R >= T, the rejection threshold, and a kept span says so
 * in th, unless an earlier sampler's T was larger.  docs/formats/sampling.md.
 */
#ifndef FERMATA_SAMPLE_HEAD_H
#define FERMATA_SAMPLE_HEAD_H

#include <stdatomic.h>

#include "fermata/base.h"

#define SAMPLE_THRESHOLD_NEVER (UINT64_C(1) << 56) /* larger than any R */

/* "0.05", "5%", 0 to 1, to a rejection threshold; exact.  FM_EMALFORMED. */
FM_MUST int sample_probability_parse(struct fm_slice text, uint64_t *ret_threshold);
/* The low 56 bits of a trace id. */
static inline uint64_t sample_randomness(const uint8_t id[16])
{
    uint64_t value = 0;
    for (unsigned i = 9; i < 16; i++)
        value = value << 8 | id[i];
    return value;
}

/* What the "ot" entry of a tracestate says. */
struct sample_tracestate {
    bool has_randomness, has_threshold;
    uint64_t randomness, threshold;
    bool is_malformed;     /* the entry, or a value of the two; that value counts as not there */
    struct fm_slice entry; /* all of it, "ot=...", without blanks around it; empty: none */
};
struct sample_tracestate sample_tracestate_read(struct fm_slice text);
/* The same tracestate with th = threshold, its entry in front; state is what was read from text. */
void sample_tracestate_put(struct fm_slice text, const struct sample_tracestate *state,
                           uint64_t threshold, struct fm_buf *out);

struct sample_head_options {
    uint64_t threshold;            /* 0: keep all */
    uint64_t spans_per_second_max; /* the probability falls as far as it must; 0: no limit */
    bool fail_closed;              /* malformed or contradicting states: dropped, not mended */
};
/* Shared by threads. */
struct sample_head {
    struct sample_head_options options;
    _Atomic uint64_t second, seen, seen_before; /* spans that came in this second, in the last */
};
void sample_head_init(struct sample_head *head, const struct sample_head_options *options);

enum sample_head_reason {
    SAMPLE_HEAD_PROBABILITY,
    SAMPLE_HEAD_RATE,
    SAMPLE_HEAD_TRACESTATE,
    SAMPLE_HEAD_REASON_COUNT
};
struct sample_head_tally {
    uint64_t dropped[SAMPLE_HEAD_REASON_COUNT]; /* spans */
    uint64_t marked;                            /* spans whose th changed */
};
/* T for a request of span_count spans that came now; at least that of the options. */
uint64_t sample_head_threshold(struct sample_head *head, uint64_t now_ns, uint64_t span_count);
/* One walk over canonical OTLP: bytes that otlp_pb_check found nothing to mend in.  FM_NONE: all is
 * kept as it is, target is as it was; FM_OK: target got what is left, which may be no span at all.
 * FM_ELIMIT: target has no room (SAMPLE_HEAD_GROWTH bytes per span are enough) or no memory;
 * FM_EMALFORMED. */
#define SAMPLE_HEAD_GROWTH 64u
FM_MUST int sample_head_run(const struct sample_head *head, uint64_t threshold,
                            struct fm_slice request, struct fm_buf *target,
                            struct sample_head_tally *ret_tally);

#endif
