/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle of a search's answer: which traces, in which order, and what is told of each. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fermata/bytes.h"

struct found_trace {
    uint32_t trace;
    uint64_t start_ns;
    uint8_t id[16];
};

/* Newest first; of those that start at once the least id. */
static int found_order(const void *a, const void *b)
{
    const struct found_trace *x = a, *y = b;
    if (x->start_ns != y->start_ns)
        return x->start_ns > y->start_ns ? -1 : 1;
    return memcmp(x->id, y->id, 16);
}

static void found_put_services(const struct model *model, uint32_t trace, struct fm_buf *out)
{
    char names[MODEL_SPANS][32];
    uint32_t spans[MODEL_SPANS] = {0}, errors[MODEL_SPANS] = {0}, count = 0, at;
    struct fm_buf lines;
    fm_buf_init(&lines, FM_KIB(64));
    for (uint32_t i = 0; i < model->span_count; i++) {
        const struct model_list *list = &model->resources[model->spans[i].resource];
        struct fm_slice name = FM_SLICE("");
        if (model->spans[i].trace != trace)
            continue;
        for (uint32_t k = 0; k < list->count; k++)
            if (strcmp(list->items[k].key, "service.name") == 0)
                name = list->items[k].value.text;
        for (at = 0; at < count && !fm_slice_equal_text(name, names[at]);)
            at++;
        count += at == count;
        (void)snprintf(names[at], sizeof names[0], "%.*s", (int)name.len, name.ptr);
        spans[at]++;
        errors[at] += model->spans[i].status == 2;
    }
    for (at = 0; at < count; at++)
        fm_buf_printf(&lines, " '%s':%u:%u\n", names[at], spans[at], errors[at]);
    oracle_sort_lines(&lines);
    for (size_t i = 0; i < lines.len; i++)
        if (lines.ptr[i] != '\n')
            fm_buf_put_u8(out, lines.ptr[i]);
    fm_buf_fini(&lines);
}

/* Of a set with more than spss spans only how many. */
static void found_put_set(const struct model *model, const struct oracle_set *set, uint32_t spss,
                          struct fm_buf *out)
{
    uint32_t matched = (uint32_t)__builtin_popcountll(set->mask);
    fm_buf_printf(out, "[%s %u/%u", set->labels, FM_MIN(matched, spss), matched);
    for (uint32_t id = 0; id < 256 && matched <= spss; id++)
        for (uint32_t i = 0; i < model->span_count; i++)
            if ((set->mask >> i & 1) && model->spans[i].id == id)
                fm_buf_printf(out, " %u", id);
    fm_buf_puts(out, "]\n");
}

static void found_put(const struct model *model, uint32_t trace, const struct oracle_set *sets,
                      uint32_t count, uint32_t spss, struct fm_buf *out)
{
    struct traceql_value service = oracle_root(model, trace, true);
    const struct model_span *root;
    uint64_t start_ns, end_ns;
    struct fm_buf lines;
    fm_buf_init(&lines, FM_KIB(256));
    oracle_facts(model, trace, &start_ns, &end_ns, &root);
    fm_buf_printf(out, "trace %u +%" PRIu64 " %" PRIu64 " %.*s/%s", trace, start_ns - MODEL_BASE,
                  end_ns - start_ns, (int)service.text.len, (const char *)service.text.ptr,
                  root ? root->name : "");
    found_put_services(model, trace, out);
    for (uint32_t i = 0; i < count; i++)
        found_put_set(model, &sets[i], spss, &lines);
    oracle_sort_lines(&lines);
    for (size_t i = 0; i < lines.len; i++)
        fm_buf_put_u8(out, lines.ptr[i] == '\n' ? ' ' : lines.ptr[i]);
    fm_buf_puts(out, "\n");
    fm_buf_fini(&lines);
}

int oracle_found(const struct model *model, const struct traceql_query *query,
                 const struct model_question *question, struct fm_buf *out)
{
    struct oracle_set *sets = calloc(MODEL_SPANS, sizeof *sets);
    struct found_trace found[MODEL_TRACES];
    uint32_t found_count = 0, count;
    int rc = FM_OK;
    for (uint32_t t = 0; t < model->trace_count && rc == FM_OK; t++) {
        const struct model_span *root;
        uint64_t start_ns, end_ns;
        oracle_facts(model, t, &start_ns, &end_ns, &root);
        rc = oracle_sets_of(model, query, t, sets, &count);
        if (!count ||
            (question->end_ns && (start_ns > question->end_ns || end_ns < question->start_ns)))
            continue;
        found[found_count] = (struct found_trace){.trace = t, .start_ns = start_ns};
        model_trace_id(t, found[found_count++].id);
    }
    qsort(found, found_count, sizeof *found, found_order);
    for (uint32_t i = 0; i < found_count && i < question->limit && rc == FM_OK; i++) {
        rc = oracle_sets_of(model, query, found[i].trace, sets, &count);
        found_put(model, found[i].trace, sets, count, question->spss, out);
    }
    free(sets);
    return rc;
}
