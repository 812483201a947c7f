/* SPDX-License-Identifier: Apache-2.0 */
/* schema - vParquet4 as one table, and names for the positions of its leaves.
 *
 * A central Tempo reads columns by position, so the table is law.  The reader uses the same
 * positions as roles and finds the leaf by its path, which differs between v4 and v5 only in the
 * wrappers of lists (docs/formats/block.md).
 */
#ifndef BLOCK_SCHEMA_H
#define BLOCK_SCHEMA_H

#include "fermata/block.h"
#include "fermata/parquet.h"

/* The seven leaves below every Attrs, relative to its first. */
enum schema_attribute {
    ATTRIBUTE_KEY,
    ATTRIBUTE_IS_ARRAY,
    ATTRIBUTE_STRING,
    ATTRIBUTE_INT,
    ATTRIBUTE_DOUBLE,
    ATTRIBUTE_BOOL,
    ATTRIBUTE_UNSUPPORTED,
    ATTRIBUTE_LEAVES
};

#define SCHEMA_RESOURCE_STATICS 8
#define SCHEMA_DEDICATED        10

enum schema_leaf {
    LEAF_TRACE_ID = 0,
    LEAF_TRACE_ID_TEXT,
    LEAF_TRACE_START,
    LEAF_TRACE_END,
    LEAF_TRACE_DURATION,
    LEAF_ROOT_SERVICE,
    LEAF_ROOT_NAME,
    LEAF_STATS_SERVICE,
    LEAF_STATS_SPANS,
    LEAF_STATS_ERRORS,
    LEAF_RESOURCE_ATTRIBUTES,
    LEAF_RESOURCE_DROPPED = LEAF_RESOURCE_ATTRIBUTES + ATTRIBUTE_LEAVES,
    LEAF_RESOURCE_SERVICE,
    LEAF_RESOURCE_STATIC,
    LEAF_RESOURCE_DEDICATED = LEAF_RESOURCE_STATIC + SCHEMA_RESOURCE_STATICS,
    LEAF_SCOPE_NAME = LEAF_RESOURCE_DEDICATED + SCHEMA_DEDICATED,
    LEAF_SCOPE_VERSION,
    LEAF_SCOPE_ATTRIBUTES,
    LEAF_SCOPE_DROPPED = LEAF_SCOPE_ATTRIBUTES + ATTRIBUTE_LEAVES,
    LEAF_SPAN_ID,
    LEAF_SPAN_PARENT,
    LEAF_SPAN_PARENT_LEFT,
    LEAF_SPAN_LEFT,
    LEAF_SPAN_RIGHT,
    LEAF_SPAN_NAME,
    LEAF_SPAN_KIND,
    LEAF_SPAN_STATE,
    LEAF_SPAN_START,
    LEAF_SPAN_DURATION,
    LEAF_SPAN_STATUS,
    LEAF_SPAN_MESSAGE,
    LEAF_SPAN_ATTRIBUTES,
    LEAF_SPAN_DROPPED = LEAF_SPAN_ATTRIBUTES + ATTRIBUTE_LEAVES,
    LEAF_EVENT_TIME,
    LEAF_EVENT_NAME,
    LEAF_EVENT_ATTRIBUTES,
    LEAF_EVENT_DROPPED = LEAF_EVENT_ATTRIBUTES + ATTRIBUTE_LEAVES,
    LEAF_SPAN_EVENTS_DROPPED,
    LEAF_LINK_TRACE,
    LEAF_LINK_SPAN,
    LEAF_LINK_STATE,
    LEAF_LINK_ATTRIBUTES,
    LEAF_LINK_DROPPED = LEAF_LINK_ATTRIBUTES + ATTRIBUTE_LEAVES,
    LEAF_SPAN_LINKS_DROPPED,
    LEAF_SPAN_STATIC,
    LEAF_HTTP_METHOD = LEAF_SPAN_STATIC,
    LEAF_HTTP_URL,
    LEAF_HTTP_STATUS,
    LEAF_SPAN_DEDICATED,
    LEAF_COUNT = LEAF_SPAN_DEDICATED + SCHEMA_DEDICATED
};

/* Names with columns of their own in v4, in the order of their columns. */
#define KNOWN_SERVICE_NAME "service.name"
extern const char *const schema_resource_static_names[SCHEMA_RESOURCE_STATICS];
#define SCHEMA_SPAN_STATICS 3
extern const char *const schema_span_static_names[SCHEMA_SPAN_STATICS];

extern const struct pq_node schema_v4_nodes[];
extern const size_t schema_v4_node_count;
/* Levels and types of the LEAF_COUNT leaves. */
void schema_v4_leaves(struct pq_leaf leaves[LEAF_COUNT]);

/* Path of every leaf as version names it, in storage of the caller. */
#define SCHEMA_PATH_MAX 160
struct schema_paths {
    char text[LEAF_COUNT][SCHEMA_PATH_MAX]; /* empty: the version has no such leaf */
};
void schema_paths_of(enum block_version version, struct schema_paths *paths);
/* Path of the dedicated column: the ordinal-th (from 1) of its scope and type. */
void schema_dedicated_path(enum block_version version, const struct block_dedicated *column,
                           unsigned ordinal, char path[SCHEMA_PATH_MAX]);

/* How this writer encodes a leaf (chosen on measurements, docs/formats/block.md). */
enum pq_encoding schema_v4_encoding(enum schema_leaf leaf);

#endif
