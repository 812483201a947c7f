/* SPDX-License-Identifier: Apache-2.0 */
/* Calls between services, counted over traces.
 *
 * A call is a span whose parent is a span of another service.  With remotes, also a client's or a
 * producer's span without such a child that names whom it called, and a span without a parent that
 * names its caller. */
#include <stdlib.h>

#include "fermata/hash.h"
#include "tree.h"

#define CALLS_BUCKETS   1024u
#define CALLS_BYTES_MAX FM_MIB(8) /* of names */

struct call {
    struct fm_slice parent, child;
    uint64_t count, errors;
    uint64_t hash;
    struct call *next;
};

struct view_calls {
    struct fm_arena arena;
    struct call *buckets[CALLS_BUCKETS];
    struct call **order; /* owned; sorted when put */
    uint32_t count;
    bool with_remotes;
};

int view_calls_new(struct view_calls **ret_calls, bool with_remotes)
{
    struct view_calls *calls = calloc(1, sizeof *calls);

    if (!calls)
        return FM_ENOMEM;
    calls->order = calloc(VIEW_CALLS_MAX, sizeof *calls->order);
    if (!calls->order) {
        free(calls);
        return FM_ENOMEM;
    }
    calls->with_remotes = with_remotes;
    fm_arena_init(&calls->arena, CALLS_BYTES_MAX);
    *ret_calls = calls;
    return FM_OK;
}

struct view_calls *view_calls_free(struct view_calls *calls)
{
    if (!calls)
        return NULL;
    fm_arena_fini(&calls->arena);
    free(calls->order);
    free(calls);
    return NULL;
}

static struct call *calls_find(struct view_calls *calls, struct fm_slice parent,
                               struct fm_slice child)
{
    uint64_t hash = fm_hash64(child, fm_hash64(parent, parent.len));
    struct call **bucket = &calls->buckets[hash % CALLS_BUCKETS];

    for (struct call *call = *bucket; call; call = call->next) {
        if (call->hash == hash && fm_slice_equal(call->parent, parent) &&
            fm_slice_equal(call->child, child))
            return call;
    }
    if (calls->count == VIEW_CALLS_MAX)
        return NULL;
    struct call *call = fm_arena_zalloc(&calls->arena, sizeof *call);
    if (!call)
        return NULL;
    call->parent = fm_slice_dup(&calls->arena, parent);
    call->child = fm_slice_dup(&calls->arena, child);
    if (fm_arena_failed(&calls->arena))
        return NULL;
    call->hash = hash;
    call->next = *bucket;
    *bucket = call;
    calls->order[calls->count++] = call;
    return call;
}

static int calls_count(struct view_calls *calls, struct fm_slice parent, struct fm_slice child,
                       bool is_error)
{
    if (!parent.len || !child.len)
        return FM_OK;
    struct call *call = calls_find(calls, parent, child);
    if (!call)
        return FM_ELIMIT;
    call->count++;
    call->errors += is_error;
    return FM_OK;
}

static int calls_add_node(struct view_calls *calls, const struct view_tree *tree,
                          const struct view_node *node)
{
    const struct view_node *parent = view_tree_parent(tree, node);
    bool calls_out = node->kind == VIEW_KIND_CLIENT || node->kind == VIEW_KIND_PRODUCER;
    int rc = FM_OK;

    if (parent && !fm_slice_equal(parent->service, node->service))
        rc = calls_count(calls, parent->service, node->service, node->is_error);
    if (rc < 0 || !calls->with_remotes || !node->remote.len)
        return rc;
    if (calls_out && !node->has_child_elsewhere)
        return calls_count(calls, node->service, node->remote, node->is_error);
    if (!calls_out && !node->parent && !parent)
        return calls_count(calls, node->remote, node->service, node->is_error);
    return FM_OK;
}

int view_calls_add(struct view_calls *calls, struct fm_slice otlp, struct fm_arena *scratch)
{
    struct view_tree tree;
    int rc = view_tree_build(&tree, otlp, scratch);

    for (uint32_t i = 0; rc == FM_OK && i < tree.count; i++)
        rc = calls_add_node(calls, &tree, &tree.nodes[i]);
    return rc;
}

/* ---- answers ---- */

static int call_compare(const void *left, const void *right)
{
    const struct call *a = *(struct call *const *)left, *b = *(struct call *const *)right;
    int order = fm_slice_compare(a->parent, b->parent);
    return order ? order : fm_slice_compare(a->child, b->child);
}

static void calls_put(const struct view_calls *calls, bool with_errors, struct json_writer *writer)
{
    qsort(calls->order, calls->count, sizeof *calls->order, call_compare);
    json_array_begin(writer);
    for (uint32_t i = 0; i < calls->count; i++) {
        const struct call *call = calls->order[i];
        json_object_begin(writer);
        json_key(writer, "parent");
        json_string(writer, call->parent);
        json_key(writer, "child");
        json_string(writer, call->child);
        json_key(writer, "callCount");
        json_uint(writer, call->count);
        if (with_errors && call->errors) {
            json_key(writer, "errorCount");
            json_uint(writer, call->errors);
        }
        json_object_end(writer);
    }
    json_array_end(writer);
}

void view_calls_jaeger(const struct view_calls *calls, struct json_writer *writer)
{
    calls_put(calls, false, writer);
}

void view_calls_zipkin(const struct view_calls *calls, struct json_writer *writer)
{
    calls_put(calls, true, writer);
}
