/* SPDX-License-Identifier: Apache-2.0 */
/* A trace's spans by their ids, and what api_v3 says of a trace without its spans. */
#include "tree.h"

#include <stdlib.h>

#include "remote.h"

static uint64_t id_number(struct fm_slice id)
{
    return id.len == 8 ? fm_load_be64(id.ptr) : 0;
}

static bool kind_is_caller(uint32_t kind)
{
    return kind == VIEW_KIND_CLIENT || kind == VIEW_KIND_PRODUCER;
}

static int node_compare(const void *left, const void *right)
{
    const struct view_node *a = left, *b = right;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return (int)kind_is_caller(b->kind) - (int)kind_is_caller(a->kind);
}

static uint32_t span_count(struct fm_slice otlp)
{
    struct view_cursor cursor;
    uint32_t count = 0;

    view_cursor_init(&cursor, otlp);
    while (view_cursor_next(&cursor))
        count++;
    return count;
}

static void node_fill(struct view_node *node, const struct view_cursor *cursor)
{
    const struct view_span *span = &cursor->span;

    *node = (struct view_node){
        .id = id_number(span->span_id),
        .parent = id_number(span->parent_id),
        .name = span->name,
        .remote = view_remote_service(span),
        .start_ns = span->start_ns,
        .end_ns = span->end_ns,
        .kind = span->kind,
        .is_error = span->status == VIEW_STATUS_ERROR,
    };
}

static void tree_fill(struct view_tree *tree, struct fm_slice otlp, struct fm_arena *scratch)
{
    struct view_cursor cursor;
    struct fm_slice service = {0};
    struct fm_buf text;
    uint32_t resource_index = 0;

    fm_buf_init(&text, FM_MIB(1));
    view_cursor_init(&cursor, otlp);
    for (uint32_t i = 0; i < tree->count && view_cursor_next(&cursor); i++) {
        if (cursor.resource_index != resource_index) {
            resource_index = cursor.resource_index;
            service = fm_slice_dup(scratch, view_service(cursor.resource, &text));
        }
        node_fill(&tree->nodes[i], &cursor);
        tree->nodes[i].service = service;
        tree->trace_id = cursor.span.trace_id;
        tree->trace_start_ns = FM_MIN(tree->trace_start_ns, cursor.span.start_ns);
        tree->trace_end_ns = FM_MAX(tree->trace_end_ns, cursor.span.end_ns);
    }
    fm_buf_fini(&text);
}

int view_tree_build(struct view_tree *ret_tree, struct fm_slice otlp, struct fm_arena *scratch)
{
    struct view_tree tree = {.count = span_count(otlp), .trace_start_ns = UINT64_MAX};

    fm_arena_reset(scratch);
    tree.nodes = fm_arena_alloc(scratch, ((size_t)tree.count + 1) * sizeof *tree.nodes);
    if (!tree.nodes)
        return FM_ELIMIT;
    tree_fill(&tree, otlp, scratch);
    if (fm_arena_failed(scratch))
        return FM_ELIMIT;
    if (!tree.count)
        tree.trace_start_ns = 0;
    qsort(tree.nodes, tree.count, sizeof *tree.nodes, node_compare);
    for (uint32_t i = 0; i < tree.count; i++) {
        struct view_node *parent = view_tree_parent(&tree, &tree.nodes[i]);
        if (parent && !fm_slice_equal(parent->service, tree.nodes[i].service))
            parent->has_child_elsewhere = true;
    }
    *ret_tree = tree;
    return FM_OK;
}

/* The last node with that id: of a shared id the half that was called. */
static struct view_node *tree_find(const struct view_tree *tree, uint64_t id)
{
    uint32_t low = 0, high = tree->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (tree->nodes[middle].id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low && tree->nodes[low - 1].id == id ? &tree->nodes[low - 1] : NULL;
}

struct view_node *view_tree_parent(const struct view_tree *tree, const struct view_node *node)
{
    if (node > tree->nodes && node[-1].id == node->id && kind_is_caller(node[-1].kind) &&
        !kind_is_caller(node->kind))
        return (struct view_node *)&node[-1];
    return node->parent && node->parent != node->id ? tree_find(tree, node->parent) : NULL;
}

/* ---- summary ---- */

struct service_count {
    struct fm_slice name;
    uint32_t spans, errors;
};

static int node_compare_service(const void *left, const void *right)
{
    const struct view_node *a = *(struct view_node *const *)left;
    const struct view_node *b = *(struct view_node *const *)right;
    return fm_slice_compare(a->service, b->service);
}

static void service_put(struct json_writer *writer, const struct service_count *service)
{
    json_object_begin(writer);
    json_key(writer, "name");
    json_string(writer, service->name);
    json_key(writer, "spanCount");
    json_uint(writer, service->spans);
    json_key(writer, "errorSpanCount");
    json_uint(writer, service->errors);
    json_object_end(writer);
}

static bool services_put(struct json_writer *writer, const struct view_tree *tree,
                         struct fm_arena *scratch)
{
    struct view_node **order = fm_arena_alloc(scratch, (size_t)(tree->count + 1) * sizeof *order);
    struct service_count now = {0};

    if (!order)
        return false;
    for (uint32_t i = 0; i < tree->count; i++)
        order[i] = &tree->nodes[i];
    qsort(order, tree->count, sizeof *order, node_compare_service);
    json_key(writer, "services");
    json_array_begin(writer);
    for (uint32_t i = 0; i < tree->count; i++) {
        if (now.spans && !fm_slice_equal(now.name, order[i]->service)) {
            service_put(writer, &now);
            now = (struct service_count){0};
        }
        now.name = order[i]->service;
        now.spans++;
        now.errors += order[i]->is_error;
    }
    if (now.spans)
        service_put(writer, &now);
    json_array_end(writer);
    return true;
}

/* The first span without a parent; if none has come, the first of those whose parent is missing. */
static const struct view_node *tree_root(const struct view_tree *tree)
{
    const struct view_node *root = NULL;

    for (uint32_t i = 0; i < tree->count; i++) {
        const struct view_node *node = &tree->nodes[i];
        if (view_tree_parent(tree, node))
            continue;
        bool is_better = !root || (!node->parent && root->parent) ||
                         (!node->parent == !root->parent && node->start_ns < root->start_ns);
        if (is_better)
            root = node;
    }
    return root;
}

static void counts_put(struct json_writer *writer, const struct view_tree *tree)
{
    uint32_t errors = 0, orphans = 0;

    for (uint32_t i = 0; i < tree->count; i++) {
        errors += tree->nodes[i].is_error;
        orphans += tree->nodes[i].parent && !view_tree_parent(tree, &tree->nodes[i]);
    }
    json_key(writer, "spanCount");
    json_uint(writer, tree->count);
    json_key(writer, "errorSpanCount");
    json_uint(writer, errors);
    json_key(writer, "orphanSpanCount");
    json_uint(writer, orphans);
}

void view_summary(struct fm_slice otlp, struct fm_arena *scratch, struct json_writer *writer)
{
    struct view_tree tree;

    if (view_tree_build(&tree, otlp, scratch) < 0) {
        writer->buf->failed = true;
        return;
    }
    const struct view_node *root = tree_root(&tree);
    json_object_begin(writer);
    json_key(writer, "traceId");
    json_hex(writer, tree.trace_id);
    json_key(writer, "rootServiceName");
    json_string(writer, root ? root->service : fm_slice(NULL, 0));
    json_key(writer, "rootOperationName");
    json_string(writer, root ? root->name : fm_slice(NULL, 0));
    json_key(writer, "minStartTimeUnixNano");
    json_uint_text(writer, tree.trace_start_ns);
    json_key(writer, "maxEndTimeUnixNano");
    json_uint_text(writer, tree.trace_end_ns);
    counts_put(writer, &tree);
    if (!services_put(writer, &tree, scratch))
        writer->buf->failed = true;
    json_object_end(writer);
}
