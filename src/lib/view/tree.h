/* SPDX-License-Identifier: Apache-2.0 */
/* tree - a trace's spans as rows that find each other by id.  Private to view. */
#ifndef FERMATA_VIEW_TREE_H
#define FERMATA_VIEW_TREE_H

#include "walk.h"

struct view_node {
    uint64_t id, parent; /* parent 0: none */
    struct fm_slice service, name, remote;
    uint64_t start_ns, end_ns;
    uint32_t kind;
    bool is_error;
    bool has_child_elsewhere; /* a child of another service */
};
struct view_tree {
    struct view_node *nodes; /* by id; of a shared id the client's half first */
    uint32_t count;
    uint64_t trace_start_ns, trace_end_ns;
    struct fm_slice trace_id;
};
/* Resets scratch and puts the rows there; slices point into otlp, or scratch.
 * FM_ELIMIT: scratch is full. */
FM_MUST int view_tree_build(struct view_tree *ret_tree, struct fm_slice otlp,
                            struct fm_arena *scratch);
/* NULL: a root, or its parent is not there.  Of a shared id the other half is the parent. */
struct view_node *view_tree_parent(const struct view_tree *tree, const struct view_node *node);

#endif
