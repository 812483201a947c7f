/* SPDX-License-Identifier: Apache-2.0 */
/* nested - the nested set numbers of a trace's spans, and finding repeated span ids.
 *
 * Rules: docs/formats/block.md, "Nested set".  Used by the builder to write the numbers and by the
 * verification to hold a file against them.
 */
#ifndef BLOCK_NESTED_H
#define BLOCK_NESTED_H

#include "fermata/base.h"

#define NESTED_KIND_SERVER 2
#define NESTED_KIND_CLIENT 3

struct nested_span {
    uint64_t id;     /* the 8 bytes as they lie in memory */
    uint64_t parent; /* meaningless if is_root */
    uint8_t kind;    /* OTLP's, 255 for anything odd */
    bool is_root;
    /* out */
    int32_t left, right, parent_left;
    /* scratch */
    uint32_t same_next; /* next span with this id + 1 */
    uint32_t same_last; /* of the first span with this id: the last one */
    uint32_t child_first, child_last, sibling_next, parent_index; /* + 1; 0 none */
};

struct nested {
    struct nested_span *spans; /* owned; the caller fills [0, span_count) */
    uint32_t span_count;
    uint32_t span_cap;
    uint32_t *slots; /* owned; open addressing, span index + 1 */
    uint32_t slot_count;
};
void nested_init(struct nested *nested);
void nested_fini(struct nested *nested);
/* Room for span_count spans; empties the id table. */
FM_MUST int nested_reserve(struct nested *nested, uint32_t span_count);
/* Enters span index's id; returns the first span with the same id, index itself if it is new. */
uint32_t nested_enter(struct nested *nested, uint32_t index);
/* Numbers all span_count spans; they have all been entered in order.  False: the trace has no
 * numbers (no root, or an id three times), everything is 0. */
bool nested_number(struct nested *nested);

#endif
