/* SPDX-License-Identifier: Apache-2.0 */
/* Random traces: trees with orphans, several roots, shared ids, mixed types, arrays. */
#include "model.h"

#include "fermata/pb.h"

static const struct traceql_value trace_texts[] = {
    {.type = TRACEQL_STRING, .text = {(const uint8_t *)"x", 1}},
    {.type = TRACEQL_STRING, .text = {(const uint8_t *)"y", 1}},
    {.type = TRACEQL_STRING, .text = {(const uint8_t *)"xy", 2}},
    {.type = TRACEQL_STRING, .text = {(const uint8_t *)"", 0}},
};
static const struct traceql_value trace_integers[] = {
    {.type = TRACEQL_INT, .integer = 0},
    {.type = TRACEQL_INT, .integer = 1},
    {.type = TRACEQL_INT, .integer = 2},
    {.type = TRACEQL_INT, .integer = -3},
};
static const struct traceql_value trace_numbers[] = {
    {.type = TRACEQL_FLOAT, .number = 0.5},
    {.type = TRACEQL_FLOAT, .number = 1},
    {.type = TRACEQL_FLOAT, .number = -2.25},
};
static const struct traceql_value trace_flags[] = {
    {.type = TRACEQL_BOOL, .flag = true},
    {.type = TRACEQL_BOOL, .flag = false},
};
static const struct traceql_value trace_arrays[] = {
    {.type = TRACEQL_ARRAY, .element_count = 2, .elements = trace_texts},
    {.type = TRACEQL_ARRAY, .element_count = 3, .elements = trace_texts + 1},
    {.type = TRACEQL_ARRAY, .element_count = 2, .elements = trace_integers},
    {.type = TRACEQL_ARRAY, .element_count = 3, .elements = trace_integers + 1},
    {.type = TRACEQL_ARRAY, .element_count = 2, .elements = trace_numbers},
    {.type = TRACEQL_ARRAY, .element_count = 2, .elements = trace_flags},
};
static const struct traceql_value trace_nil = {.type = TRACEQL_NIL};

/* n and f always hold integers and floats, so that sums have one meaning; a and b anything. */
static struct traceql_value trace_value(uint64_t *state, const char *key)
{
    uint32_t draw = model_below(state, 12);
    if (strcmp(key, "n") == 0)
        return trace_integers[model_below(state, FM_COUNT(trace_integers))];
    if (strcmp(key, "f") == 0)
        return trace_numbers[model_below(state, FM_COUNT(trace_numbers))];
    if (strcmp(key, "service.name") == 0 || draw < 4)
        return trace_texts[model_below(state, FM_COUNT(trace_texts))];
    if (draw < 7)
        return trace_integers[model_below(state, FM_COUNT(trace_integers))];
    if (draw < 8)
        return trace_numbers[model_below(state, FM_COUNT(trace_numbers))];
    if (draw < 9)
        return trace_flags[model_below(state, FM_COUNT(trace_flags))];
    if (draw < 11)
        return trace_arrays[model_below(state, FM_COUNT(trace_arrays))];
    return trace_nil;
}

static void trace_list(uint64_t *state, struct model_list *list, const char *const *keys)
{
    list->count = 0;
    for (uint32_t i = 0; keys[i]; i++)
        if (model_below(state, 5) < 3) {
            list->items[list->count] = (struct model_attribute){.key = keys[i]};
            list->items[list->count].value = trace_value(state, keys[i]);
            list->count++;
        }
}

static const char *trace_word(uint64_t *state)
{
    static const char *const words[] = {"x", "y", "xy", "GET x"};
    return words[model_below(state, FM_COUNT(words))];
}

static void trace_span(struct model *model, uint64_t *state, uint32_t trace, uint32_t at,
                       uint32_t first)
{
    static const char *const keys[] = {"a", "b", "n", "f", NULL};
    struct model_span *span = &model->spans[at];
    uint32_t draw = model_below(state, 24);
    memset(span, 0, sizeof *span);
    span->trace = trace;
    span->id = (uint8_t)(at - first + 1);
    span->kind = (int)model_below(state, 6);
    if (at == first || draw == 0)
        span->parent = draw == 1 ? 200 : 0; /* sometimes without any root */
    else
        span->parent = draw == 2   ? 200
                       : draw == 3 ? span->id
                                   : (uint8_t)(1 + model_below(state, at - first));
    if (draw == 4 && at - first > 1)
        span->parent = (uint8_t)(1 + model_below(state, 12)); /* perhaps later, perhaps a circle */
    if (draw == 5 && at > first && model->spans[at - 1].kind == 3) {
        span->id = model->spans[at - 1].id; /* client and server share an id */
        span->kind = 2;
    }
    span->status = (int)model_below(state, 3);
    span->name = trace_word(state);
    span->message = model_below(state, 3) ? "" : trace_word(state);
    span->start_ns = MODEL_BASE + model_below(state, 90) * MODEL_SECOND + model_below(state, 9);
    span->duration_ns = model_below(state, 5) * (MODEL_SECOND / 10);
    span->resource = model_below(state, FM_COUNT(model->resources));
    span->scope = model_below(state, FM_COUNT(model->scopes));
    trace_list(state, &span->list, keys);
    span->event_count = model_below(state, 6) < 3 ? 0 : model_below(state, 3);
    for (uint32_t i = 0; i < span->event_count; i++) {
        struct model_event *event = &span->events[i];
        event->name = trace_word(state);
        event->since_start_ns = model_below(state, 3) * (MODEL_SECOND / 10);
        trace_list(state, &event->list, keys);
    }
    span->link_count = model_below(state, 6) < 4 ? 0 : model_below(state, 3);
    for (uint32_t i = 0; i < span->link_count; i++) {
        struct model_link *link = &span->links[i];
        link->trace = (uint8_t)model_below(state, 3);
        link->span = (uint8_t)model_below(state, 3);
        trace_list(state, &link->list, keys);
    }
}

void model_random(struct model *model, uint64_t seed)
{
    static const char *const resource_keys[] = {"service.name", "a", "n", NULL};
    static const char *const scope_keys[] = {"a", "b", NULL};
    uint64_t state = seed;
    memset(model, 0, sizeof *model);
    for (size_t i = 0; i < FM_COUNT(model->resources); i++)
        trace_list(&state, &model->resources[i], resource_keys);
    for (size_t i = 0; i < FM_COUNT(model->scopes); i++) {
        model->scopes[i].name = trace_word(&state);
        model->scopes[i].version = model_below(&state, 2) ? "1" : "";
        trace_list(&state, &model->scopes[i].list, scope_keys);
    }
    model->trace_count = 1 + model_below(&state, MODEL_TRACES);
    for (uint32_t t = 0; t < model->trace_count; t++) {
        uint32_t first = model->span_count, count = 1 + model_below(&state, 10);
        for (uint32_t i = 0; i < count; i++)
            trace_span(model, &state, t, model->span_count++, first);
        /* Of several roots any may be the one that counts: they say the same. */
        uint32_t root = MODEL_SPANS;
        for (uint32_t i = first; i < model->span_count; i++) {
            struct model_span *span = &model->spans[i];
            if (span->parent)
                continue;
            if (root < MODEL_SPANS) {
                span->name = model->spans[root].name;
                span->resource = model->spans[root].resource;
            }
            root = i;
        }
    }
}

/* ---- as OTLP ---- */

void model_trace_id(uint32_t trace, uint8_t id[16])
{
    memset(id, 0, 16);
    if (trace % 2)
        id[0] = 0x70;
    id[15] = (uint8_t)(trace + 1);
}

static void put_id(struct fm_buf *buf, uint32_t field, uint8_t low)
{
    uint8_t id[8] = {0};
    id[7] = low;
    pb_put_bytes(buf, field, fm_slice(id, 8));
}

static void put_value(struct fm_buf *buf, const struct traceql_value *value)
{
    uint64_t bits;
    size_t mark;
    switch (value->type) {
    case TRACEQL_STRING:
        pb_put_bytes(buf, 1, value->text);
        break;
    case TRACEQL_BOOL:
        pb_put_u64(buf, 2, value->flag);
        break;
    case TRACEQL_INT:
        pb_put_u64(buf, 3, (uint64_t)value->integer);
        break;
    case TRACEQL_FLOAT:
        memcpy(&bits, &value->number, sizeof bits);
        pb_put_fixed64(buf, 4, bits);
        break;
    case TRACEQL_ARRAY:
        mark = pb_begin(buf, 5);
        for (uint32_t i = 0; i < value->element_count; i++) {
            size_t element = pb_begin(buf, 1);
            put_value(buf, &value->elements[i]);
            pb_end(buf, element);
        }
        pb_end(buf, mark);
        break;
    default:
        pb_end(buf, pb_begin(buf, 6));
        break;
    }
}

static void put_list(struct fm_buf *buf, uint32_t field, const struct model_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        size_t pair = pb_begin(buf, field);
        pb_put_text(buf, 1, list->items[i].key);
        size_t value = pb_begin(buf, 2);
        put_value(buf, &list->items[i].value);
        pb_end(buf, value);
        pb_end(buf, pair);
    }
}

static void put_span(struct fm_buf *buf, const struct model_span *span)
{
    uint8_t trace_id[16];
    size_t mark = pb_begin(buf, 2), inner;
    model_trace_id(span->trace, trace_id);
    pb_put_bytes(buf, 1, fm_slice(trace_id, 16));
    put_id(buf, 2, span->id);
    if (span->parent)
        put_id(buf, 4, span->parent);
    pb_put_text(buf, 5, span->name);
    pb_put_u64(buf, 6, (uint64_t)span->kind);
    pb_put_fixed64(buf, 7, span->start_ns);
    pb_put_fixed64(buf, 8, span->start_ns + span->duration_ns);
    put_list(buf, 9, &span->list);
    for (uint32_t i = 0; i < span->event_count; i++) {
        inner = pb_begin(buf, 11);
        pb_put_fixed64(buf, 1, span->start_ns + span->events[i].since_start_ns);
        pb_put_text(buf, 2, span->events[i].name);
        put_list(buf, 3, &span->events[i].list);
        pb_end(buf, inner);
    }
    for (uint32_t i = 0; i < span->link_count; i++) {
        inner = pb_begin(buf, 13);
        model_trace_id(span->links[i].trace, trace_id);
        pb_put_bytes(buf, 1, fm_slice(trace_id, 16));
        put_id(buf, 2, span->links[i].span);
        put_list(buf, 4, &span->links[i].list);
        pb_end(buf, inner);
    }
    inner = pb_begin(buf, 15);
    pb_put_text(buf, 2, span->message);
    pb_put_u64(buf, 3, (uint64_t)span->status);
    pb_end(buf, inner);
    pb_end(buf, mark);
}

void model_put_otlp(const struct model *model, uint64_t mask, struct fm_buf *buf)
{
    for (uint32_t i = 0; i < model->span_count; i++) {
        const struct model_span *span = &model->spans[i];
        const struct model_scope *scope = &model->scopes[span->scope];
        if (!(mask >> i & 1))
            continue;
        size_t resource_spans = pb_begin(buf, 1);
        size_t mark = pb_begin(buf, 1);
        put_list(buf, 1, &model->resources[span->resource]);
        pb_end(buf, mark);
        size_t scope_spans = pb_begin(buf, 2);
        mark = pb_begin(buf, 1);
        pb_put_text(buf, 1, scope->name);
        pb_put_text(buf, 2, scope->version);
        put_list(buf, 3, &scope->list);
        pb_end(buf, mark);
        put_span(buf, span);
        pb_end(buf, scope_spans);
        pb_end(buf, resource_spans);
    }
}

/* ---- for a human ---- */

static void print_list(struct fm_buf *out, const char *scope, const struct model_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        fm_buf_printf(out, " %s%s=", scope, list->items[i].key);
        oracle_put_value(out, &list->items[i].value);
    }
}

void model_print(const struct model *model, struct fm_buf *out)
{
    for (uint32_t i = 0; i < model->span_count; i++) {
        const struct model_span *span = &model->spans[i];
        const struct model_scope *scope = &model->scopes[span->scope];
        fm_buf_printf(out, "trace %u span %u parent %u kind %d status %d name=%s message=%s",
                      span->trace, span->id, span->parent, span->kind, span->status, span->name,
                      span->message);
        fm_buf_printf(out, " start +%gs duration %gs", (double)(span->start_ns - MODEL_BASE) / 1e9,
                      (double)span->duration_ns / 1e9);
        print_list(out, ".", &span->list);
        print_list(out, "resource.", &model->resources[span->resource]);
        fm_buf_printf(out, " scope=%s/%s", scope->name, scope->version);
        print_list(out, "instrumentation.", &scope->list);
        for (uint32_t j = 0; j < span->event_count; j++) {
            fm_buf_printf(out, " event(%s +%gs", span->events[j].name,
                          (double)span->events[j].since_start_ns / 1e9);
            print_list(out, "", &span->events[j].list);
            fm_buf_puts(out, ")");
        }
        for (uint32_t j = 0; j < span->link_count; j++) {
            fm_buf_printf(out, " link(%u/%u", span->links[j].trace, span->links[j].span);
            print_list(out, "", &span->links[j].list);
            fm_buf_puts(out, ")");
        }
        fm_buf_puts(out, "\n");
    }
}
