/* SPDX-License-Identifier: Apache-2.0 */
/* property - random queries over random traces: whatever the source, eval says what the oracle
 * says.
 *
 *   property [--first SEED] [--pairs N]
 *
 * A failure prints the seed, the query and the smallest set of spans that still shows it. */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"
#include "sides.h"

#define QUERIES_PER_MODEL 400u
#define QUERY_ARENA       FM_MIB(4)

struct property {
    uint64_t pairs, failed_checks, survivors, errors;
};

/* Whether a side differs from the oracle; report: NULL, or where the difference is told. */
static bool property_differs(const struct model *model, uint64_t seed, uint64_t query_seed,
                             const struct traceql_query *query, struct property *counts,
                             struct fm_buf *report)
{
    struct sides *sides = sides_new(model, seed);
    bool differs =
        sides_differ(sides, query, query_seed, &counts->survivors, &counts->errors, report);
    sides = sides_free(sides);
    return differs;
}

static void property_drop(struct model *model, uint32_t at)
{
    memmove(&model->spans[at], &model->spans[at + 1],
            (model->span_count - at - 1) * sizeof model->spans[0]);
    model->span_count--;
}

static void property_report(const struct model *failing, uint64_t seed, uint64_t query_seed,
                            struct fm_slice text, const struct traceql_query *query)
{
    struct model model = *failing, smaller;
    struct property counts = {0};
    struct fm_buf report;
    for (uint32_t i = 0; i < model.span_count;) {
        smaller = model;
        property_drop(&smaller, i);
        if (smaller.span_count &&
            property_differs(&smaller, seed, query_seed, query, &counts, NULL))
            model = smaller;
        else
            i++;
    }
    fm_buf_init(&report, FM_MIB(1));
    fm_buf_printf(&report, "property: seed %llu, query seed %llu\n  %.*s\n",
                  (unsigned long long)seed, (unsigned long long)query_seed, (int)text.len,
                  text.ptr);
    model_print(&model, &report);
    (void)property_differs(&model, seed, query_seed, query, &counts, &report);
    (void)fwrite(report.ptr, 1, report.len, stderr);
    fm_buf_fini(&report);
}

static bool property_query(const struct model *model, struct sides *sides, uint64_t seed,
                           uint64_t query_seed, struct property *counts)
{
    struct fm_buf text;
    struct fm_arena arena;
    struct fm_why why;
    struct traceql_query *query;
    uint64_t state = query_seed;
    bool differs = false;
    fm_buf_init(&text, FM_KIB(64));
    fm_arena_init(&arena, QUERY_ARENA);
    query_random(&state, &text);
    int rc = traceql_parse(fm_buf_slice(&text), &arena, &query, &why);
    if (rc < 0) {
        fprintf(stderr, "property: %.*s\n  does not parse: %s\n", (int)text.len, text.ptr,
                why.text);
        differs = true;
    } else if (traceql_check(query, &why) == FM_OK) {
        counts->pairs++;
        differs = sides_differ(sides, query, query_seed, &counts->survivors, &counts->errors, NULL);
        if (differs)
            property_report(model, seed, query_seed, fm_buf_slice(&text), query);
    }
    fm_arena_fini(&arena);
    fm_buf_fini(&text);
    return differs;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, pairs = 100000, failures = 0;
    struct property counts = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--first") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--pairs") == 0)
            pairs = strtoull(argv[i + 1], NULL, 10);
        else
            return fprintf(stderr, "usage: property [--first SEED] [--pairs N]\n"), 2;
    }
    for (; counts.pairs < pairs && failures < 5; seed++) {
        struct model model;
        model_random(&model, seed);
        struct sides *sides = sides_new(&model, seed);
        for (uint32_t i = 0; i < QUERIES_PER_MODEL && failures < 5; i++)
            failures += property_query(&model, sides, seed, seed * QUERIES_PER_MODEL + i, &counts);
        sides = sides_free(sides);
    }
    printf("property: %llu pairs, %llu sets found, %llu run-time errors, %llu failures\n",
           (unsigned long long)counts.pairs, (unsigned long long)counts.survivors,
           (unsigned long long)counts.errors, (unsigned long long)failures);
    return failures ? 1 : 0;
}
