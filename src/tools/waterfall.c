/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as a tree of bars: service, name, start, bar, duration, error.
 *
 * Children follow their parent in order of start.  A span whose parent is not in the trace, or that
 * is its own ancestor, stands at root level with a mark: what was received is shown, always.
 */
#include "waterfall.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/units.h"

#define WATERFALL_NONE       UINT32_MAX
#define WATERFALL_INDENT_MAX 24u

struct waterfall_id { /* for look-up by span id */
    uint64_t id;
    uint32_t index;
};
struct waterfall_node {
    uint32_t parent, first_child, last_child, next; /* indexes of spans */
    bool is_shown, is_orphan;
};
struct waterfall {
    const struct trace *trace;
    const struct terminal *terminal;
    uint32_t count;
    struct waterfall_id *ids;     /* sorted */
    struct waterfall_node *nodes; /* as the trace's spans */
    uint64_t begin_ns, end_ns;
    unsigned service_columns, name_columns, bar_columns;
};

void waterfall_put_duration(struct fm_buf *out, uint64_t ns)
{
    static const struct {
        uint64_t factor;
        const char *unit;
    } units[] = {{3600 * FM_NS_PER_S, "h"}, {60 * FM_NS_PER_S, "min"}, {FM_NS_PER_S, "s"},
                 {FM_NS_PER_MS, "ms"},      {FM_NS_PER_US, "us"},      {1, "ns"}};
    size_t i = 0;

    while (i + 1 < FM_COUNT(units) && ns < units[i].factor)
        i++;
    double value = (double)ns / (double)units[i].factor;
    fm_buf_printf(out, units[i].factor > 1 && value < 99.95 ? "%.1f %s" : "%.0f %s", value,
                  units[i].unit);
}

static int waterfall_compare(const void *a, const void *b)
{
    const struct waterfall_id *left = a, *right = b;

    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

/* The span with this id, or WATERFALL_NONE.  Of several (client and server of one call may share
 * theirs) the server's is the parent of what happens inside. */
static uint32_t waterfall_find(const struct waterfall *fall, uint64_t id, uint32_t child)
{
    size_t low = 0, high = fall->count;
    uint32_t found = WATERFALL_NONE;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fall->ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < fall->count && fall->ids[low].id == id; low++) {
        if (fall->ids[low].index != child)
            found = fall->ids[low].index;
    }
    return found;
}

static void waterfall_adopt(struct waterfall *fall, uint32_t parent, uint32_t child)
{
    struct waterfall_node *node = &fall->nodes[parent];

    fall->nodes[child].parent = parent;
    if (node->first_child == WATERFALL_NONE)
        node->first_child = child;
    else
        fall->nodes[node->last_child].next = child;
    node->last_child = child;
}

static void waterfall_grow(struct waterfall *fall)
{
    for (uint32_t i = 0; i < fall->count; i++) {
        const struct trace_span *span = trace_span_at(fall->trace, i);
        fall->ids[i] = (struct waterfall_id){fm_load_be64(span->span_id), i};
        fall->nodes[i] = (struct waterfall_node){.parent = WATERFALL_NONE,
                                                 .first_child = WATERFALL_NONE,
                                                 .last_child = WATERFALL_NONE,
                                                 .next = WATERFALL_NONE};
        fall->begin_ns = FM_MIN(fall->begin_ns, span->start_ns);
        fall->end_ns = FM_MAX(fall->end_ns, FM_MAX(span->start_ns, span->end_ns));
    }
    qsort(fall->ids, fall->count, sizeof *fall->ids, waterfall_compare);
    for (uint32_t i = 0; i < fall->count; i++) {
        uint64_t parent_id = fm_load_be64(trace_span_at(fall->trace, i)->parent_id);
        uint32_t parent = parent_id ? waterfall_find(fall, parent_id, i) : WATERFALL_NONE;
        fall->nodes[i].is_orphan = parent_id && parent == WATERFALL_NONE;
        if (parent != WATERFALL_NONE)
            waterfall_adopt(fall, parent, i);
    }
}

static void waterfall_put_bar(const struct waterfall *fall, const struct trace_span *span,
                              struct fm_buf *out)
{
    double total = (double)(fall->end_ns - fall->begin_ns);
    double columns = fall->bar_columns;
    double from = total > 0 ? (double)(span->start_ns - fall->begin_ns) / total * columns : 0;
    double to = total > 0 && span->end_ns > span->start_ns
                    ? (double)(span->end_ns - fall->begin_ns) / total * columns
                    : from;
    unsigned first = FM_MIN((unsigned)from, fall->bar_columns - 1);
    unsigned end = FM_MIN((unsigned)(to + 0.5), fall->bar_columns);

    if (end <= first)
        end = first + 1;
    for (unsigned i = 0; i < fall->bar_columns; i++) {
        if (i < first || i >= end)
            fm_buf_puts(out, " ");
        else if (end - first == 1)
            fm_buf_puts(out, "\xe2\x94\x82"); /* vertical line */
        else if (i == first)
            fm_buf_puts(out, "\xe2\x94\x9c"); /* vertical and right */
        else
            fm_buf_puts(out, i + 1 == end ? "\xe2\x94\xa4" : "\xe2\x94\x80");
    }
}

static void waterfall_put_right(struct fm_buf *out, uint64_t ns, unsigned columns)
{
    struct fm_buf text;

    fm_buf_init(&text, 64);
    waterfall_put_duration(&text, ns);
    for (size_t i = text.len; i < columns; i++)
        fm_buf_puts(out, " ");
    fm_buf_put_slice(out, fm_buf_slice(&text));
    fm_buf_fini(&text);
}

static void waterfall_put_row(const struct waterfall *fall, uint32_t index, unsigned depth,
                              struct fm_buf *out)
{
    const struct trace_span *span = trace_span_at(fall->trace, index);
    bool is_error = span->status_code == 2;
    unsigned indent = FM_MIN(depth, WATERFALL_INDENT_MAX);
    size_t start = out->len;

    terminal_put_text(out, span->service.len ? span->service : FM_SLICE("-"),
                      fall->service_columns);
    for (unsigned i = 0; i <= indent; i++)
        fm_buf_puts(out, " ");
    terminal_put_text(out, span->name, FM_MAX(fall->name_columns - indent, 4u));
    waterfall_put_right(out, span->start_ns - fall->begin_ns, 10);
    fm_buf_puts(out, " ");
    waterfall_put_bar(fall, span, out);
    waterfall_put_right(out, span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0, 10);
    if (is_error) {
        fm_buf_puts(out, " ");
        terminal_put(fall->terminal, out, STYLE_RED, "\xe2\x9c\x96 error");
    }
    if (fall->nodes[index].is_orphan) {
        fm_buf_puts(out, " ");
        terminal_put(fall->terminal, out, STYLE_YELLOW, "(parent missing)");
    }
    while (out->len > start && out->ptr[out->len - 1] == ' ')
        out->len--;
    fm_buf_puts(out, "\n");
}

/* The span, its children, theirs: depth first, without recursion. */
static void waterfall_put_tree(struct waterfall *fall, uint32_t root, struct fm_buf *out)
{
    uint32_t index = root;
    unsigned depth = 0;

    for (;;) {
        struct waterfall_node *node = &fall->nodes[index];
        bool is_new = !node->is_shown;
        if (is_new) {
            node->is_shown = true;
            waterfall_put_row(fall, index, depth, out);
        }
        if (is_new && node->first_child != WATERFALL_NONE) {
            index = node->first_child;
            depth++;
            continue;
        }
        while (index != root && fall->nodes[index].next == WATERFALL_NONE) {
            index = fall->nodes[index].parent;
            depth--;
        }
        if (index == root)
            return;
        index = fall->nodes[index].next;
    }
}

static void waterfall_measure(struct waterfall *fall)
{
    unsigned service = 8, name = 12, fixed = 10 + 1 + 10 + 9; /* times, error mark */

    for (uint32_t i = 0; i < fall->count; i++) {
        const struct trace_span *span = trace_span_at(fall->trace, i);
        service = FM_MAX(service, terminal_columns(span->service));
        name = FM_MAX(name, terminal_columns(span->name) + 4);
    }
    fall->service_columns = FM_MIN(service, fall->terminal->width / 6);
    fall->name_columns = FM_MIN(name, fall->terminal->width / 3);
    unsigned used = fall->service_columns + fall->name_columns + 1 + fixed;
    fall->bar_columns = fall->terminal->width > used + 10 ? fall->terminal->width - used : 10;
}

static unsigned waterfall_count_services(const struct trace *trace, uint32_t span_count)
{
    struct fm_slice seen[64];
    unsigned count = 0;

    for (uint32_t i = 0; i < span_count && count < FM_COUNT(seen); i++) {
        struct fm_slice service = trace_span_at(trace, i)->service;
        unsigned j = 0;
        while (j < count && !fm_slice_equal(seen[j], service))
            j++;
        if (j == count)
            seen[count++] = service;
    }
    return count;
}

static void waterfall_put_head(const struct waterfall *fall, const struct trace_id *id,
                               struct fm_buf *out)
{
    unsigned services = waterfall_count_services(fall->trace, fall->count);
    char text[33];

    trace_id_print(id, text);
    fm_buf_puts(out, "trace ");
    terminal_put(fall->terminal, out, STYLE_BOLD, text);
    fm_buf_puts(out, "  ");
    fm_rfc3339_print(out, fall->begin_ns);
    fm_buf_printf(out, "  %" PRIu32 " span%s, %u%s service%s, ", fall->count,
                  fall->count == 1 ? "" : "s", services, services == 64 ? "+" : "",
                  services == 1 ? "" : "s");
    waterfall_put_duration(out, fall->end_ns - fall->begin_ns);
    fm_buf_puts(out, "\n");
}

int waterfall_put(const struct trace *trace, const struct trace_id *id,
                  const struct terminal *terminal, struct fm_buf *out)
{
    struct waterfall fall = {.trace = trace,
                             .terminal = terminal,
                             .count = (uint32_t)trace_span_count(trace),
                             .begin_ns = UINT64_MAX};

    if (!fall.count)
        return FM_OK;
    fall.ids = calloc(fall.count, sizeof *fall.ids);
    fall.nodes = calloc(fall.count, sizeof *fall.nodes);
    if (!fall.ids || !fall.nodes) {
        free(fall.ids);
        free(fall.nodes);
        return FM_ENOMEM;
    }
    waterfall_grow(&fall);
    waterfall_measure(&fall);
    waterfall_put_head(&fall, id, out);
    for (uint32_t i = 0; i < fall.count; i++) {
        if (fall.nodes[i].parent == WATERFALL_NONE)
            waterfall_put_tree(&fall, i, out);
    }
    for (uint32_t i = 0; i < fall.count; i++) { /* circles hang on no root */
        if (!fall.nodes[i].is_shown) {
            fall.nodes[i].is_orphan = true;
            waterfall_put_tree(&fall, i, out);
        }
    }
    free(fall.ids);
    free(fall.nodes);
    return out->failed ? FM_ENOMEM : FM_OK;
}
