/* SPDX-License-Identifier: Apache-2.0 */
/* places - the spans of a story where a question may find them: rows, blocks, or both after cuts at
 * random, with the traces that lie in several places put together in rows. */
#ifndef TESTS_UNIT_ASK_PLACES_H
#define TESTS_UNIT_ASK_PLACES_H

#include "story.h"

#include <sys/stat.h>

#include "fermata/ask.h"
#include "fermata/block.h"

#define PLACES_MAX 5u

struct place { /* rows or a block */
    struct frame_rows *rows;
    struct block *block;
    struct block_meta meta;
    struct fm_buf data, blooms;
    struct fm_slice bytes;
};
struct places {
    struct place items[PLACES_MAX];
    uint32_t count;
    bool has_doubles;                     /* a span may be in two places */
    struct trace_id shared[STORY_TRACES]; /* in several places; sorted */
    uint32_t shared_count;
};

static inline uint32_t places_below(uint64_t *state, uint32_t limit)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) >> 32) % limit;
}

static inline void place_make_rows(struct place *place, struct fm_slice otlp)
{
    assert_ok(frame_rows_new(&place->rows, FM_MIB(64)));
    assert_ok(frame_rows_add(place->rows, otlp, NULL, NULL, NULL));
    assert_ok(frame_rows_finish(place->rows));
}

static inline void place_make_block(struct place *place, struct fm_slice otlp, uint32_t page_spans,
                                    uint32_t group_spans)
{
    struct block_options options = block_options_default;
    struct block_builder *builder;
    struct block_census census;
    fm_buf_init(&place->data, FM_MIB(16));
    fm_buf_init(&place->blooms, FM_MIB(16));
    options.codec_level = 1;
    options.page_span_target = page_spans;
    options.row_group_span_max = group_spans;
    assert_ok(block_builder_new(&builder, &options));
    assert_ok(block_builder_add(builder, otlp, NULL));
    assert_ok(block_builder_finish(builder, fm_sink_buf(&place->data), &place->blooms, &place->meta,
                                   &census, NULL));
    builder = block_builder_free(builder);
    place->bytes = fm_buf_slice(&place->data);
    assert_ok(block_open(&place->block, fm_source_memory(&place->bytes), &place->meta, NULL));
    if (page_spans % 2) /* where values are is known, or not */
        block_prepare(place->block, FM_MIB(4));
}

static inline struct places *places_whole(const struct story *story, bool is_block)
{
    struct places *places = calloc(1, sizeof *places);
    struct fm_buf otlp;
    assert_non_null(places);
    fm_buf_init(&otlp, FM_MIB(16));
    for (uint32_t i = 0; i < story->span_count; i++)
        story_put_otlp(story, i, &otlp);
    places->count = 1;
    if (is_block)
        place_make_block(&places->items[0], fm_buf_slice(&otlp), 16, 64);
    else
        place_make_rows(&places->items[0], fm_buf_slice(&otlp));
    fm_buf_fini(&otlp);
    return places;
}

static inline bool places_is_again(const struct story *story, uint32_t i)
{
    return i && fm_slice_equal(fm_buf_slice(&story->spans[i].otlp),
                               fm_buf_slice(&story->spans[i - 1].otlp));
}

/* Where each span lies, as a bit per place: half of the traces keep together; with doubles some
 * spans are in two places. */
static inline void places_scatter(struct places *places, const struct story *story, uint64_t seed,
                                  uint8_t where[STORY_SPANS])
{
    uint64_t state = seed;
    uint8_t of_trace[STORY_TRACES] = {0};
    bool together = false;
    places->count = 2 + places_below(&state, PLACES_MAX - 1);
    for (uint32_t i = 0; i < story->span_count; i++) {
        if (!i || story->spans[i].trace != story->spans[i - 1].trace)
            together = places_below(&state, 2);
        else if (together || places_is_again(story, i)) {
            where[i] = where[i - 1];
            continue;
        }
        where[i] = (uint8_t)(1u << places_below(&state, places->count));
        if (places->has_doubles && !together && places_below(&state, 10) == 0)
            where[i] |= (uint8_t)(1u << places_below(&state, places->count));
    }
    for (uint32_t i = 0; i < story->span_count; i++)
        of_trace[story->spans[i].trace] |= where[i];
    for (uint32_t i = 0; i < story->trace_count; i++)
        if (of_trace[i] & (of_trace[i] - 1))
            places->shared[places->shared_count++] = story->traces[i].id;
    places->shared_count = (uint32_t)ask_ids_sort(places->shared, places->shared_count);
}

static inline struct places *places_cut(const struct story *story, uint64_t seed, bool has_doubles)
{
    struct places *places = calloc(1, sizeof *places);
    uint8_t where[STORY_SPANS] = {0};
    struct fm_buf otlp;
    assert_non_null(places);
    places->has_doubles = has_doubles;
    places_scatter(places, story, seed, where);
    for (uint32_t p = 0; p < places->count; p++) {
        fm_buf_init(&otlp, FM_MIB(16));
        for (uint32_t i = 0; i < story->span_count; i++)
            if (where[i] >> p & 1)
                story_put_otlp(story, i, &otlp);
        if ((p ^ seed) & 1)
            place_make_rows(&places->items[p], fm_buf_slice(&otlp));
        else
            place_make_block(&places->items[p], fm_buf_slice(&otlp), 4 + (uint32_t)(seed % 13), 24);
        fm_buf_fini(&otlp);
    }
    return places;
}

/* The spans of some traces, put together; false if there are none. */
static inline bool place_join(struct place *place, const struct story *story,
                              const struct trace_id *ids, size_t count)
{
    struct fm_buf otlp;
    memset(place, 0, sizeof *place);
    fm_buf_init(&otlp, FM_MIB(16));
    for (uint32_t i = 0; i < story->span_count; i++)
        if (ask_ids_has(ids, count, &story->traces[story->spans[i].trace].id))
            story_put_otlp(story, i, &otlp);
    bool has_spans = otlp.len != 0;
    if (has_spans)
        place_make_rows(place, fm_buf_slice(&otlp));
    fm_buf_fini(&otlp);
    return has_spans;
}

static inline void place_end(struct place *place)
{
    if (place->rows)
        frame_rows_free(place->rows);
    if (place->block) {
        block_free(place->block);
        fm_buf_fini(&place->data);
        fm_buf_fini(&place->blooms);
    }
}

static inline void places_free(struct places *places)
{
    for (uint32_t p = 0; p < places->count; p++)
        place_end(&places->items[p]);
    free(places);
}

static inline void places_write_file(const char *folder, const char *name, struct fm_slice content)
{
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    (void)fclose(file);
}

/* The story as a block, for another program to read. */
static inline void places_write_block(const char *folder)
{
    struct story *story = story_read("golden/ask/traces.txt");
    struct places *places = places_whole(story, true);
    struct place *place = &places->items[0];
    struct fm_buf meta;
    fm_buf_init(&meta, FM_MIB(1));
    (void)mkdir(folder, 0755);
    (void)snprintf(place->meta.tenant, sizeof place->meta.tenant, TENANT_DEFAULT);
    memset(place->meta.id.bytes, 0x47, sizeof place->meta.id.bytes);
    block_meta_render(&place->meta, &meta);
    places_write_file(folder, "data.parquet", fm_buf_slice(&place->data));
    places_write_file(folder, "bloom-0", fm_buf_slice(&place->blooms));
    places_write_file(folder, "meta.json", fm_buf_slice(&meta));
    fm_buf_fini(&meta);
    places_free(places);
    story_free(story);
}

#endif
