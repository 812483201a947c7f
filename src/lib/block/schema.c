/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of vParquet4 as Tempo has it, and the paths of its leaves in both versions. */
#include "schema.h"

#include <stdio.h>

const char *const schema_resource_static_names[SCHEMA_RESOURCE_STATICS] = {
    "cluster",          "namespace",          "pod",          "container",
    "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name",
};
const char *const schema_span_static_names[SCHEMA_SPAN_STATICS] = {
    "http.method",
    "http.url",
    "http.status_code",
};

#define GROUP(name, children)                                                                      \
    {                                                                                              \
        name, children, PQ_REQUIRED, 0, PQ_CONVERTED_NONE                                          \
    }
#define BYTES(name)                                                                                \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_BYTE_ARRAY, PQ_CONVERTED_NONE                                     \
    }
#define TEXT(name)                                                                                 \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_BYTE_ARRAY, PQ_UTF8                                               \
    }
#define TEXT_OPTIONAL(name)                                                                        \
    {                                                                                              \
        name, 0, PQ_OPTIONAL, PQ_BYTE_ARRAY, PQ_UTF8                                               \
    }
#define U64(name)                                                                                  \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_INT64, PQ_UINT_64                                                 \
    }
#define I64(name)                                                                                  \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_INT64, PQ_INT_64                                                  \
    }
#define I64_OPTIONAL(name)                                                                         \
    {                                                                                              \
        name, 0, PQ_OPTIONAL, PQ_INT64, PQ_INT_64                                                  \
    }
#define U32(name)                                                                                  \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_INT32, PQ_UINT_32                                                 \
    }
#define I32(name)                                                                                  \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_INT32, PQ_INT_32                                                  \
    }
#define DOUBLE(name)                                                                               \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_DOUBLE, PQ_CONVERTED_NONE                                         \
    }
#define BOOL(name)                                                                                 \
    {                                                                                              \
        name, 0, PQ_REQUIRED, PQ_BOOLEAN, PQ_CONVERTED_NONE                                        \
    }
#define LIST(name)                                                                                 \
    {name, 1, PQ_REQUIRED, 0, PQ_LIST},                                                            \
    {                                                                                              \
        "list", 1, PQ_REPEATED, 0, PQ_CONVERTED_NONE                                               \
    }
#define LIST_OF_GROUP(name, children) LIST(name), GROUP("element", children)
#define ATTRIBUTES                                                                                 \
    LIST_OF_GROUP("Attrs", 7), TEXT("Key"), BOOL("IsArray"), LIST("Value"), TEXT("element"),       \
        LIST("ValueInt"), I64("element"), LIST("ValueDouble"), DOUBLE("element"),                  \
        LIST("ValueBool"), BOOL("element"), TEXT_OPTIONAL("ValueUnsupported")
#define DEDICATED                                                                                  \
    GROUP("DedicatedAttributes", 10), TEXT_OPTIONAL("String01"), TEXT_OPTIONAL("String02"),        \
        TEXT_OPTIONAL("String03"), TEXT_OPTIONAL("String04"), TEXT_OPTIONAL("String05"),           \
        TEXT_OPTIONAL("String06"), TEXT_OPTIONAL("String07"), TEXT_OPTIONAL("String08"),           \
        TEXT_OPTIONAL("String09"), TEXT_OPTIONAL("String10")

const struct pq_node schema_v4_nodes[] = {
    GROUP("Trace", 9),
    BYTES("TraceID"),
    TEXT("TraceIDText"),
    U64("StartTimeUnixNano"),
    U64("EndTimeUnixNano"),
    U64("DurationNano"),
    TEXT("RootServiceName"),
    TEXT("RootSpanName"),
    {"ServiceStats", 1, PQ_REQUIRED, 0, PQ_MAP},
    {"key_value", 2, PQ_REPEATED, 0, PQ_CONVERTED_NONE},
    TEXT("key"),
    GROUP("value", 2),
    U32("SpanCount"),
    U32("ErrorCount"),
    LIST_OF_GROUP("rs", 2),
    GROUP("Resource", 12),
    ATTRIBUTES,
    I32("DroppedAttributesCount"),
    TEXT("ServiceName"),
    TEXT_OPTIONAL("Cluster"),
    TEXT_OPTIONAL("Namespace"),
    TEXT_OPTIONAL("Pod"),
    TEXT_OPTIONAL("Container"),
    TEXT_OPTIONAL("K8sClusterName"),
    TEXT_OPTIONAL("K8sNamespaceName"),
    TEXT_OPTIONAL("K8sPodName"),
    TEXT_OPTIONAL("K8sContainerName"),
    DEDICATED,
    LIST_OF_GROUP("ss", 2),
    GROUP("Scope", 4),
    TEXT("Name"),
    TEXT("Version"),
    ATTRIBUTES,
    I32("DroppedAttributesCount"),
    LIST_OF_GROUP("Spans", 22),
    BYTES("SpanID"),
    BYTES("ParentSpanID"),
    I32("ParentID"),
    I32("NestedSetLeft"),
    I32("NestedSetRight"),
    TEXT("Name"),
    I64("Kind"),
    TEXT("TraceState"),
    U64("StartTimeUnixNano"),
    U64("DurationNano"),
    I64("StatusCode"),
    TEXT("StatusMessage"),
    ATTRIBUTES,
    I32("DroppedAttributesCount"),
    LIST_OF_GROUP("Events", 4),
    U64("TimeSinceStartNano"),
    TEXT("Name"),
    ATTRIBUTES,
    I32("DroppedAttributesCount"),
    I32("DroppedEventsCount"),
    LIST_OF_GROUP("Links", 5),
    BYTES("TraceID"),
    BYTES("SpanID"),
    TEXT("TraceState"),
    ATTRIBUTES,
    I32("DroppedAttributesCount"),
    I32("DroppedLinksCount"),
    TEXT_OPTIONAL("HttpMethod"),
    TEXT_OPTIONAL("HttpUrl"),
    I64_OPTIONAL("HttpStatusCode"),
    DEDICATED,
};
const size_t schema_v4_node_count = FM_COUNT(schema_v4_nodes);

void schema_v4_leaves(struct pq_leaf leaves[LEAF_COUNT])
{
    size_t count = pq_schema_levels(schema_v4_nodes, schema_v4_node_count, leaves, LEAF_COUNT);
    FM_ASSERT(count == LEAF_COUNT);
}

/* v5 has bare repeated nodes where v4 has the LIST wrapper, and other names in ServiceStats. */
static void schema_path_to_v5(char *path)
{
    static const char wrapper[] = ".list.element";
    char *found;
    while ((found = strstr(path, wrapper)))
        memmove(found, found + sizeof wrapper - 1, strlen(found + sizeof wrapper - 1) + 1);
    if (strcmp(path, "ServiceStats.key_value.key") == 0)
        (void)strcpy(path, "ServiceStats.ServiceName");
    else if (strcmp(path, "ServiceStats.key_value.value.SpanCount") == 0)
        (void)strcpy(path, "ServiceStats.SpanCount");
    else if (strcmp(path, "ServiceStats.key_value.value.ErrorCount") == 0)
        (void)strcpy(path, "ServiceStats.ErrorCount");
}

static bool schema_is_v4_only(enum schema_leaf leaf)
{
    return (leaf >= LEAF_RESOURCE_STATIC && leaf < LEAF_SCOPE_NAME) || leaf >= LEAF_SPAN_STATIC;
}

void schema_paths_of(enum block_version version, struct schema_paths *paths)
{
    struct {
        size_t path_len;
        unsigned children_left;
    } stack[24];
    unsigned depth = 0;
    char path[SCHEMA_PATH_MAX];
    size_t leaf = 0;

    stack[0].path_len = 0;
    stack[0].children_left = schema_v4_nodes[0].child_count;
    for (size_t i = 1; i < schema_v4_node_count; i++) {
        const struct pq_node *node = &schema_v4_nodes[i];
        while (stack[depth].children_left == 0)
            depth--;
        stack[depth].children_left--;
        size_t start = stack[depth].path_len;
        int len = snprintf(path + start, sizeof path - start, "%s%s", start ? "." : "", node->name);
        FM_ASSERT(len > 0 && start + (size_t)len < sizeof path);
        if (node->child_count) {
            depth++;
            FM_ASSERT(depth < FM_COUNT(stack));
            stack[depth].path_len = start + (size_t)len;
            stack[depth].children_left = node->child_count;
            continue;
        }
        char *target = paths->text[leaf];
        (void)strcpy(target, path);
        if (version == BLOCK_V5)
            schema_path_to_v5(target);
        if (version == BLOCK_V5 && schema_is_v4_only((enum schema_leaf)leaf))
            target[0] = '\0';
        leaf++;
    }
    FM_ASSERT(leaf == LEAF_COUNT);
}

void schema_dedicated_path(enum block_version version, const struct block_dedicated *column,
                           unsigned ordinal, char path[SCHEMA_PATH_MAX])
{
    static const char *const parents[2][3] = {
        {"rs.list.element.ss.list.element.Spans.list.element", "rs.list.element.Resource",
         "rs.list.element.ss.list.element.Spans.list.element.Events.list.element"},
        {"rs.ss.Spans", "rs.Resource", "rs.ss.Spans.Events"},
    };
    int len = snprintf(path, SCHEMA_PATH_MAX, "%s.DedicatedAttributes.%s%02u",
                       parents[version == BLOCK_V5][column->scope], column->type ? "Int" : "String",
                       ordinal);
    FM_ASSERT(len > 0 && len < SCHEMA_PATH_MAX);
}

static enum pq_encoding schema_attribute_encoding(unsigned attribute)
{
    switch (attribute) {
    case ATTRIBUTE_KEY:
        return PQ_RLE_DICTIONARY;
    case ATTRIBUTE_STRING:
        return PQ_RLE_DICTIONARY;
    case ATTRIBUTE_UNSUPPORTED:
        return PQ_RLE_DICTIONARY; /* a page stays small if it repeats */
    default:
        return PQ_PLAIN;
    }
}

enum pq_encoding schema_v4_encoding(enum schema_leaf leaf)
{
    static const enum schema_leaf lists[] = {LEAF_RESOURCE_ATTRIBUTES, LEAF_SCOPE_ATTRIBUTES,
                                             LEAF_SPAN_ATTRIBUTES, LEAF_EVENT_ATTRIBUTES,
                                             LEAF_LINK_ATTRIBUTES};
    for (size_t i = 0; i < FM_COUNT(lists); i++)
        if (leaf >= lists[i] && leaf < lists[i] + ATTRIBUTE_LEAVES)
            return schema_attribute_encoding(leaf - lists[i]);
    switch (leaf) {
    case LEAF_TRACE_ID:
    case LEAF_TRACE_ID_TEXT:
    case LEAF_SPAN_ID:
    case LEAF_SPAN_PARENT:
    case LEAF_LINK_TRACE:
    case LEAF_LINK_SPAN:
        return PQ_DELTA_LENGTH_BYTE_ARRAY;
    case LEAF_TRACE_START:
    case LEAF_TRACE_END:
    case LEAF_TRACE_DURATION:
    case LEAF_SPAN_START:
    case LEAF_SPAN_DURATION:
    case LEAF_SPAN_KIND:
    case LEAF_SPAN_PARENT_LEFT:
    case LEAF_SPAN_LEFT:
    case LEAF_SPAN_RIGHT:
    case LEAF_EVENT_TIME:
        return PQ_DELTA_BINARY_PACKED;
    case LEAF_STATS_SPANS:
    case LEAF_STATS_ERRORS:
    case LEAF_RESOURCE_DROPPED:
    case LEAF_SCOPE_DROPPED:
    case LEAF_SPAN_STATUS:
    case LEAF_SPAN_DROPPED:
    case LEAF_EVENT_DROPPED:
    case LEAF_SPAN_EVENTS_DROPPED:
    case LEAF_LINK_DROPPED:
    case LEAF_SPAN_LINKS_DROPPED:
    case LEAF_HTTP_STATUS:
        return PQ_PLAIN;
    default:
        return PQ_RLE_DICTIONARY; /* every other text */
    }
}
