/* SPDX-License-Identifier: Apache-2.0 */
/* frame - some whole traces of a source as vectors, which is what queries are evaluated over.
 *
 * A source (a block, the spans of the head, one trace put together from several places) is read
 * frame by frame.  A frame's vectors are loaded when they are asked for, so that a column that
 * decides nothing is never read.  Vectors are as long as the thing they describe is many: one entry
 * per resource of the frame, not per span.  One source, one thread.
 */
#ifndef FERMATA_FRAME_H
#define FERMATA_FRAME_H

#include "fermata/model.h"
#include "fermata/traceql_tree.h"

enum frame_domain {
    FRAME_TRACE,
    FRAME_RESOURCE,
    FRAME_SCOPE, /* instrumentation */
    FRAME_SPAN,
    FRAME_EVENT,
    FRAME_LINK,
};
#define FRAME_DOMAINS 6
/* Of an intrinsic or a scoped attribute; every field has one domain.  Not of TRACEQL_ANY_SCOPE. */
enum frame_domain frame_field_domain(const struct traceql_field *field);
bool frame_field_equal(const struct traceql_field *a, const struct traceql_field *b);

/* Distinct values.  Appended to while serial stays the same, never changed; another serial is
 * another table.  Values and what they point to live as long as the source. */
struct frame_values {
    const struct traceql_value *values; /* [0] is nil */
    uint32_t count;
    uint64_t serial; /* not 0; unique within the source */
};
enum frame_shape {
    FRAME_ABSENT,   /* nil for every entry */
    FRAME_CODES,    /* codes[i] is an index into values; 0: nil */
    FRAME_INTEGERS, /* never nil; type says what the numbers are */
};
struct frame_vector { /* borrowed from the source until its next frame */
    enum frame_shape shape;
    enum frame_domain domain;
    enum traceql_type type; /* FRAME_INTEGERS: INT, DURATION, STATUS or KIND */
    uint32_t count;         /* frame->count[domain] */
    const uint32_t *codes;
    const int64_t *integers;
    const struct frame_values *values;
};

/* Order: spans of a resource stand together, resources of a trace, events of a span.  The arrays
 * are borrowed until the next frame. */
struct frame {
    uint32_t count[FRAME_DOMAINS];
    const struct trace_id *trace_ids; /* count[FRAME_TRACE] */
    const uint32_t *trace_spans;      /* count[FRAME_TRACE] + 1: the first span of each, the end */
    const uint32_t *span_resources;   /* count[FRAME_SPAN]: index of its resource */
    const uint32_t *span_scopes;
    const uint32_t *span_events; /* count[FRAME_SPAN] + 1; NULL: no field of an event was wanted */
    const uint32_t *span_links;  /* likewise */
};

struct block_keep;
struct frame_request {                  /* what a source is opened for */
    const struct traceql_field *fields; /* borrowed for the source's life; no TRACEQL_ANY_SCOPE */
    uint32_t field_count;
    const uint8_t *types; /* NULL, or by field the enum traceql_type that will probably be found */
    /* Frames and traces wholly outside may be left out, they need not be.  Unix time, both ends
     * included. */
    uint64_t start_ns, end_ns;
    /* Of a block [row_from, row_to) of its rows alone become frames; 0, 0: all.  Names and values
     * are of all rows. */
    uint64_t row_from, row_to;
    struct block_keep *keep; /* NULL, or of a block: what was decoded before (block_keep.h) */
};
struct frame_stats {
    uint64_t inspected_bytes, inspected_traces, inspected_spans;
};

typedef int frame_visit_name(void *self, struct fm_slice name);
typedef int frame_visit_value(void *self, const struct traceql_value *value);
struct frame_source;
struct frame_source_ops {
    int (*next)(struct frame_source *source, struct frame *ret_frame, struct fm_why *why);
    int (*vector)(struct frame_source *source, uint32_t field, const uint8_t *wanted,
                  struct frame_vector *ret_vector, struct fm_why *why);
    int (*names)(struct frame_source *source, enum traceql_scope scope, frame_visit_name *visit,
                 void *self, struct fm_why *why);
    int (*values)(struct frame_source *source, uint32_t field, frame_visit_value *visit, void *self,
                  struct fm_why *why);
    struct frame_source *(*free)(struct frame_source *source);
};
/* Rows that can hold nothing of interest need not become frames: a source that is about to enter
 * many, and has an index of their values, asks first.  FM_NONE: they are left out. */
struct frame_gate {
    int (*enter)(struct frame_gate *gate, struct frame_source *source, struct fm_why *why);
    /* Not 0: about so many of the newest traces will do, if they can be had first; of the others
     * those that start before floor_ns are of no interest. */
    uint32_t newest_count;
    uint64_t floor_ns;
};
struct frame_search {       /* for texts in the rows ahead; all borrowed */
    const uint32_t *fields; /* that may have them, or arrays of them */
    unsigned field_count;
    const struct fm_slice *only; /* NULL, or no other text is looked for */
    bool narrows;                /* rows without any are of no interest, and may be left out */
    frame_visit_value *visit;    /* FM_END: is looked for; FM_MORE: any may be; FM_OK */
    void *self;
};
struct frame_source { /* first member of what implements it */
    const struct frame_source_ops *ops;
    struct frame_stats stats;
    struct frame_gate *gate; /* NULL, or asked during frame_next(); borrowed for that time */
    int (*ahead)(struct frame_source *source, const struct frame_search *search,
                 struct fm_why *why); /* NULL: it never asks */
};
/* FM_END after the last frame.  A frame has at least one span. */
FM_MUST static inline int frame_next(struct frame_source *source, struct frame *ret_frame,
                                     struct fm_why *why)
{
    return source->ops->next(source, ret_frame, why);
}
/* The vector of request.fields[field] in the present frame.  wanted: NULL, or per trace of the
 * frame whether its entries matter; of the others the entries are any valid ones.  Asked again with
 * another wanted, it is loaded again. */
FM_MUST static inline int frame_vector(struct frame_source *source, uint32_t field,
                                       const uint8_t *wanted, struct frame_vector *ret_vector,
                                       struct fm_why *why)
{
    return source->ops->vector(source, field, wanted, ret_vector, why);
}
/* Attribute names of a scope anywhere in the source, in any order, perhaps repeated; no pass over
 * spans where a dictionary will do.  A non-zero result of visit ends it and is returned. */
FM_MUST static inline int frame_names(struct frame_source *source, enum traceql_scope scope,
                                      frame_visit_name *visit, void *self, struct fm_why *why)
{
    return source->ops->names(source, scope, visit, self, why);
}
/* Likewise the values of a field (elements of arrays one by one, never nil). */
FM_MUST static inline int frame_values(struct frame_source *source, uint32_t field,
                                       frame_visit_value *visit, void *self, struct fm_why *why)
{
    return source->ops->values(source, field, visit, self, why);
}
/* From within a gate: whether the rows ahead may have a text that is looked for.  FM_OK: they do
 * not; FM_END: perhaps; FM_NONE: their texts cannot be listed. */
FM_MUST static inline int frame_ahead(struct frame_source *source,
                                      const struct frame_search *search, struct fm_why *why)
{
    return source->ahead(source, search, why);
}
static inline struct frame_source *frame_source_free(struct frame_source *source)
{
    return source ? source->ops->free(source) : NULL;
}
FM_DEFINE_AUTO(frame_source)

/* ---- a source over rows: canonical OTLP ---- */

/* Takes spans in any order, from any number of pieces, and makes them into one frame a few thousand
 * spans long each: the source for the head and for traces that lie in several places.
 * Spans with the same id and kind in a trace are one.  Nested set numbers, root, duration are
 * computed over what was added.  Copies what it needs. */
struct frame_rows;
FM_MUST int frame_rows_new(struct frame_rows **ret_rows, size_t memory_max);
struct frame_rows *frame_rows_free(struct frame_rows *rows);
FM_DEFINE_AUTO(frame_rows)
/* only: NULL, or whether a trace is taken.  FM_ELIMIT: memory_max; FM_EMALFORMED: not canonical. */
FM_MUST int frame_rows_add(struct frame_rows *rows, struct fm_slice otlp,
                           bool (*only)(void *self, const struct trace_id *id), void *self,
                           struct fm_why *why);
/* After the last add; groups, sorts, numbers. */
FM_MUST int frame_rows_finish(struct frame_rows *rows);
size_t frame_rows_memory(const struct frame_rows *rows);
/* Immutable after finish: any number of sources at once.  Borrows rows. */
FM_MUST int frame_rows_source(const struct frame_rows *rows, const struct frame_request *request,
                              struct frame_source **ret_source);

#endif
