/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: every page is decoded, and what the columns say together must make sense.
 *
 * Columns are independent streams, so siblings are held against each other by checksums of their
 * levels: the repetition and definition levels of all leaves of one element, cut down to that
 * element, must be the same bytes, wherever the pages end.  The few columns that say something
 * together (ids, nested set, times, services) run in step, trace by trace. */
#include "verify.h"

#include "fermata/bytes.h"
#include "fermata/hash.h"
#include "fermata/units.h"

#include <stdlib.h>

/* Elements of the schema: level of their entries, and the element around them. */
static const struct verify_element {
    uint8_t level;
    uint8_t parent; /* itself: none */
} verify_elements[VERIFY_ELEMENT_COUNT] = {
    [VERIFY_TRACE] = {0, VERIFY_TRACE},    [VERIFY_STATS] = {1, VERIFY_TRACE},
    [VERIFY_RESOURCE] = {1, VERIFY_TRACE}, [VERIFY_RESOURCE_ATTRIBUTE] = {2, VERIFY_RESOURCE},
    [VERIFY_SCOPE] = {2, VERIFY_RESOURCE}, [VERIFY_SCOPE_ATTRIBUTE] = {3, VERIFY_SCOPE},
    [VERIFY_SPAN] = {3, VERIFY_SCOPE},     [VERIFY_SPAN_ATTRIBUTE] = {4, VERIFY_SPAN},
    [VERIFY_EVENT] = {4, VERIFY_SPAN},     [VERIFY_EVENT_ATTRIBUTE] = {5, VERIFY_EVENT},
    [VERIFY_LINK] = {4, VERIFY_SPAN},      [VERIFY_LINK_ATTRIBUTE] = {5, VERIFY_LINK},
};

static const struct {
    uint8_t end; /* first leaf behind the run */
    uint8_t element;
} verify_runs[] = {
    {LEAF_STATS_SERVICE, VERIFY_TRACE},
    {LEAF_RESOURCE_ATTRIBUTES, VERIFY_STATS},
    {LEAF_RESOURCE_DROPPED, VERIFY_RESOURCE_ATTRIBUTE},
    {LEAF_SCOPE_NAME, VERIFY_RESOURCE},
    {LEAF_SCOPE_ATTRIBUTES, VERIFY_SCOPE},
    {LEAF_SCOPE_DROPPED, VERIFY_SCOPE_ATTRIBUTE},
    {LEAF_SPAN_ID, VERIFY_SCOPE},
    {LEAF_SPAN_ATTRIBUTES, VERIFY_SPAN},
    {LEAF_SPAN_DROPPED, VERIFY_SPAN_ATTRIBUTE},
    {LEAF_EVENT_TIME, VERIFY_SPAN},
    {LEAF_EVENT_ATTRIBUTES, VERIFY_EVENT},
    {LEAF_EVENT_DROPPED, VERIFY_EVENT_ATTRIBUTE},
    {LEAF_SPAN_EVENTS_DROPPED, VERIFY_EVENT},
    {LEAF_LINK_TRACE, VERIFY_SPAN},
    {LEAF_LINK_ATTRIBUTES, VERIFY_LINK},
    {LEAF_LINK_DROPPED, VERIFY_LINK_ATTRIBUTE},
    {LEAF_SPAN_LINKS_DROPPED, VERIFY_LINK},
    {LEAF_COUNT, VERIFY_SPAN},
};

static enum verify_element_index verify_element_of(const struct verify *verify, unsigned leaf)
{
    static const uint8_t scopes[] = {VERIFY_SPAN, VERIFY_RESOURCE, VERIFY_EVENT};
    if (leaf >= LEAF_COUNT)
        return scopes[verify->block->dedicated[leaf - LEAF_COUNT].column->scope];
    size_t run = 0;
    while (leaf >= verify_runs[run].end)
        run++;
    return verify_runs[run].element;
}

int verify_fail(struct verify *verify, unsigned leaf, const char *what)
{
    char name[SCHEMA_PATH_MAX];
    const struct verify_column *column = &verify->columns[leaf];
    reader_leaf_name(verify->block, leaf, name);
    return fm_fail(verify->why, FM_ECORRUPT, "row group %zu, %s, page %u: %s", verify->row_group,
                   name, column->page_number ? column->page_number - 1 : 0, what);
}

/* ---- levels ---- */

/* Entries that begin an element, levels cut down to it. */
static uint32_t verify_cut_levels(const struct pq_page *page, unsigned level, uint8_t *rep,
                                  uint8_t *def)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < page->entry_count; i++) {
        rep[count] = page->rep[i];
        def[count] = FM_MIN(page->def[i], (uint8_t)level);
        count += page->rep[i] <= level;
    }
    return count;
}

static int verify_room(struct verify *verify, size_t size)
{
    if (size <= verify->scratch_size)
        return FM_OK;
    uint8_t *grown = realloc(verify->scratch, size * 2);
    if (!grown)
        return FM_ENOMEM;
    verify->scratch = grown;
    verify->scratch_size = size * 2;
    return FM_OK;
}

/* Eight levels (below 128) a step: the top bit of (byte | 128) - most says which are too large. */
static void verify_clamp(const uint8_t *source, uint8_t *target, uint32_t count, uint8_t most)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = 128 * ones, wanted = most * ones;
    uint32_t i = 0;
    for (; count - i >= 8; i += 8) {
        uint64_t word = fm_load_le64(source + i);
        uint64_t over = ((((word | tops) - wanted) & tops) >> 7) * 255;
        fm_store_le64(target + i, (word & ~over) | (wanted & over));
    }
    for (; i < count; i++)
        target[i] = FM_MIN(source[i], most);
}

/* Continues a checksum by levels, at no cost if a sibling has done the same.  level: they are to be
 * cut down to it; UINT8_MAX: they are as they should be. */
static uint32_t verify_sum(struct verify *verify, uint32_t before, const uint8_t *levels,
                           uint32_t count, uint64_t number, uint8_t level)
{
    for (unsigned i = 0; number && i < VERIFY_STEPS; i++) {
        const struct verify_step *known = &verify->steps[i];
        if (known->number == number && known->before == before && known->level == level)
            return known->after;
    }
    if (level != UINT8_MAX) {
        verify_clamp(levels, verify->scratch, count, level);
        levels = verify->scratch;
    }
    uint32_t after = fm_crc32c(before, fm_slice(levels, count));
    if (number)
        verify->steps[verify->step_next++ % VERIFY_STEPS] =
            (struct verify_step){number, before, after, level};
    return after;
}

/* Continues print with the page's entries cut down to level. */
static int verify_print(struct verify *verify, const struct pq_page *page, unsigned level,
                        unsigned rep_max, unsigned def_max, struct verify_print *print)
{
    const uint8_t *rep = page->rep, *def = page->def;
    uint32_t count = page->entry_count;
    int rc = verify_room(verify, (size_t)count * 2);
    if (rc < 0)
        return rc;
    if (level == 0) {
        print->count += page->row_count;
        return FM_OK;
    }
    uint8_t *cut_rep = verify->scratch, *cut_def = verify->scratch + count;
    bool repeats = rep_max > level && memchr(rep, (int)(level + 1), count);
    if (rep_max > level + 1 || repeats) {
        count = verify_cut_levels(page, level, cut_rep, cut_def);
        print->rep = fm_crc32c(print->rep, fm_slice(cut_rep, count));
        print->def = fm_crc32c(print->def, fm_slice(cut_def, count));
    } else {
        print->rep = verify_sum(verify, print->rep, rep, count, page->rep_number, UINT8_MAX);
        print->def = verify_sum(verify, print->def, def, count, page->def_number,
                                def_max > level ? (uint8_t)level : UINT8_MAX);
    }
    print->count += count;
    return FM_OK;
}

/* The first leaf of an element also speaks for the element around it. */
static bool verify_is_speaker(unsigned leaf)
{
    return leaf == LEAF_STATS_SERVICE || leaf == LEAF_RESOURCE_SERVICE ||
           leaf == LEAF_RESOURCE_ATTRIBUTES || leaf == LEAF_SCOPE_NAME ||
           leaf == LEAF_SCOPE_ATTRIBUTES || leaf == LEAF_SPAN_ID || leaf == LEAF_SPAN_ATTRIBUTES ||
           leaf == LEAF_EVENT_TIME || leaf == LEAF_EVENT_ATTRIBUTES || leaf == LEAF_LINK_TRACE ||
           leaf == LEAF_LINK_ATTRIBUTES;
}

static int verify_agree(struct verify *verify, unsigned leaf, unsigned element,
                        const struct verify_print *print)
{
    struct verify_print *known = &verify->prints[element];
    if (!verify->has_print[element]) {
        *known = *print;
        verify->has_print[element] = true;
        return FM_OK;
    }
    if (known->count != print->count)
        return verify_fail(verify, leaf, "has another number of entries than its siblings");
    if (known->rep != print->rep || known->def != print->def)
        return verify_fail(verify, leaf, "its levels differ from those of its siblings");
    return FM_OK;
}

/* ---- pages ---- */

static int verify_texts(struct verify *verify, unsigned leaf, const struct fm_slice *texts,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (fm_utf8_valid_len(texts[i]) != texts[i].len)
            return verify_fail(verify, leaf, "a text is not UTF-8");
    return FM_OK;
}

int verify_open(struct verify *verify, unsigned leaf)
{
    struct verify_column *column = &verify->columns[leaf];
    const struct reader_leaf *known = &verify->block->leaves[leaf];
    *column = (struct verify_column){0};
    int rc = pq_column_open(&column->column, verify->block->file, verify->row_group, known->index,
                            verify->why);
    if (rc == FM_OK) {
        pq_column_share_memo(column->column, verify->memo);
        rc = pq_column_seek(column->column, 0, verify->why); /* reads the offset index, if any: */
        rc = rc == FM_END ? FM_OK : rc;                      /* pages are held against it */
    }
    if (rc == FM_OK)
        rc = pq_column_dictionary(column->column, &column->dictionary, &column->dictionary_count,
                                  verify->why);
    if (rc < 0)
        return rc;
    column->is_text = pq_file_leaf(verify->block->file, known->index)->converted == PQ_UTF8;
    if (rc == FM_OK && column->is_text)
        return verify_texts(verify, leaf, column->dictionary, column->dictionary_count);
    return FM_OK;
}

static int verify_count_page(struct verify *verify, unsigned leaf)
{
    struct verify_column *column = &verify->columns[leaf];
    const struct pq_page *page = &column->page;
    unsigned element = verify_element_of(verify, leaf);
    const struct reader_leaf *known = &verify->block->leaves[leaf];
    if (page->first_row != column->row_count || page->row_count == 0)
        return verify_fail(verify, leaf, "a page does not begin where the last one ended");
    if (page->indexes && known->type != PQ_BYTE_ARRAY)
        return verify_fail(verify, leaf, "numbers in a dictionary");
    column->row_count += page->row_count;
    column->value_count += page->value_count;
    int rc = verify_print(verify, page, verify_elements[element].level, known->rep_max,
                          known->def_max, &column->print);
    if (rc == FM_OK && verify_is_speaker(leaf))
        rc = verify_print(verify, page, verify_elements[verify_elements[element].parent].level,
                          known->rep_max, known->def_max, &column->parent_print);
    return rc;
}

/* The next page; FM_END behind the last, after its totals were held against the siblings'. */
int verify_page(struct verify *verify, unsigned leaf)
{
    struct verify_column *column = &verify->columns[leaf];
    int rc = pq_column_next(column->column, &column->page, verify->why);
    column->entry = column->value = 0;
    if (rc < 0)
        return rc;
    column->page_number++;
    if (rc == FM_OK) {
        rc = verify_count_page(verify, leaf);
        if (rc == FM_OK && column->is_text && !column->page.indexes)
            rc = verify_texts(verify, leaf, column->page.bytes, column->page.value_count);
        return rc;
    }
    column->page.entry_count = 0;
    unsigned element = verify_element_of(verify, leaf);
    if (column->row_count != pq_row_group_row_count(verify->block->file, verify->row_group))
        return verify_fail(verify, leaf, "its pages do not add up to the rows of the row group");
    rc = verify_agree(verify, leaf, element, &column->print);
    if (rc == FM_OK && verify_is_speaker(leaf))
        rc = verify_agree(verify, leaf, verify_elements[element].parent, &column->parent_print);
    return rc < 0 ? rc : FM_END;
}

/* ---- attributes ---- */

/* Every attribute has a value in exactly one list; only an empty array has none. */
static int verify_attribute_list(struct verify *verify, unsigned first, bool is_strict)
{
    uint64_t attributes = verify->columns[first + ATTRIBUTE_KEY].value_count;
    uint64_t values = 0;
    for (unsigned i = ATTRIBUTE_STRING; i < ATTRIBUTE_LEAVES; i++)
        values += verify->columns[first + i].value_count;
    if (is_strict && values < attributes && !verify->columns[first + ATTRIBUTE_IS_ARRAY].some)
        return verify_fail(verify, first + ATTRIBUTE_KEY, "attributes without a value");
    uint32_t index = verify->block->leaves[first + ATTRIBUTE_KEY].index;
    struct pq_chunk_info info = pq_file_chunk_info(verify->block->file, verify->row_group, index);
    if (!(info.encodings >> PQ_RLE_DICTIONARY & 1))
        return verify_fail(verify, first + ATTRIBUTE_KEY, "keys must have a dictionary");
    verify->census->attribute_count += attributes;
    return FM_OK;
}

/* ---- the file ---- */

static bool verify_runs_in_step(unsigned leaf)
{
    return leaf <= LEAF_TRACE_DURATION ||
           (leaf >= LEAF_STATS_SERVICE && leaf <= LEAF_STATS_ERRORS) ||
           leaf == LEAF_RESOURCE_SERVICE || (leaf >= LEAF_SPAN_ID && leaf <= LEAF_SPAN_RIGHT) ||
           leaf == LEAF_SPAN_KIND || leaf == LEAF_SPAN_START || leaf == LEAF_SPAN_DURATION ||
           leaf == LEAF_SPAN_STATUS;
}

static bool verify_is_alone(const struct verify *verify, unsigned leaf)
{
    return !verify_runs_in_step(leaf) && verify->block->leaves[leaf].index != READER_ABSENT;
}

/* The next page of a column that is only decoded; behind the last one it is closed. */
static int verify_next(struct verify *verify, unsigned leaf)
{
    struct verify_column *column = &verify->columns[leaf];
    int rc = verify_page(verify, leaf);
    if (rc == FM_END)
        column->column = pq_column_free(column->column);
    const struct pq_page *page = &column->page;
    if (rc == FM_OK &&
        pq_file_leaf(verify->block->file, verify->block->leaves[leaf].index)->type == PQ_BOOLEAN)
        column->some =
            column->some || (page->value_count && memchr(page->boolean, 1, page->value_count));
    return rc;
}

/* Siblings take turns, page by page, so that what they repeat is fresh in the memo. */
static int verify_run(struct verify *verify, unsigned first, unsigned end)
{
    bool more = true;
    for (unsigned leaf = first; leaf < end; leaf++) {
        int rc = verify_is_alone(verify, leaf) ? verify_open(verify, leaf) : FM_OK;
        if (rc < 0)
            return rc;
    }
    while (more) {
        more = false;
        for (unsigned leaf = first; leaf < end; leaf++) {
            if (!verify_is_alone(verify, leaf) || !verify->columns[leaf].column)
                continue;
            int rc = verify_next(verify, leaf);
            if (rc < 0)
                return rc;
            more = true;
        }
    }
    return FM_OK;
}

static bool verify_is_list(unsigned leaf)
{
    return leaf == LEAF_RESOURCE_ATTRIBUTES || leaf == LEAF_SCOPE_ATTRIBUTES ||
           leaf == LEAF_SPAN_ATTRIBUTES || leaf == LEAF_EVENT_ATTRIBUTES ||
           leaf == LEAF_LINK_ATTRIBUTES;
}

static int verify_other_columns(struct verify *verify)
{
    unsigned leaf_count = LEAF_COUNT + verify->block->dedicated_count, first = 0;
    int rc = FM_OK;
    for (size_t run = 0; run <= FM_COUNT(verify_runs) && rc == FM_OK; run++) {
        unsigned end = run < FM_COUNT(verify_runs) ? verify_runs[run].end : leaf_count;
        rc = verify_run(verify, first, end);
        if (rc == FM_OK && verify_is_list(first))
            rc = verify_attribute_list(verify, first, verify->block->meta.version == BLOCK_V4);
        first = end;
    }
    for (unsigned leaf = 0; leaf < leaf_count && rc == FM_OK; leaf++) {
        bool is_static =
            (leaf >= LEAF_RESOURCE_STATIC && leaf < LEAF_SCOPE_NAME) || leaf >= LEAF_SPAN_STATIC;
        if (is_static && verify_is_alone(verify, leaf))
            verify->census->attribute_count += verify->columns[leaf].value_count;
    }
    verify->census->event_count += verify->columns[LEAF_EVENT_TIME].value_count;
    verify->census->link_count += verify->columns[LEAF_LINK_TRACE].value_count;
    return rc;
}

/* A central Tempo reads by position: the leaves must be the format's, in its order. */
static int verify_schema(struct verify *verify)
{
    const struct block *block = verify->block;
    if (block->meta.version != BLOCK_V4)
        return FM_OK;
    for (unsigned leaf = 0; leaf < LEAF_COUNT; leaf++)
        if (block->leaves[leaf].index != leaf)
            return verify_fail(verify, leaf, "the column is not in its place");
    return FM_OK;
}

static int verify_meta(struct verify *verify, struct fm_source data)
{
    const struct block_meta *meta = &verify->block->meta;
    const struct block_census *census = verify->census;
    struct fm_why *why = verify->why;
    const struct {
        const char *name;
        unsigned long long said, found;
    } figures[] = {
        {"size", meta->size_bytes, data.size},
        {"totalObjects", meta->trace_count, census->trace_count},
        {"totalRecords", meta->row_group_count, pq_file_row_group_count(verify->block->file)},
        {"footerSize", meta->footer_bytes,
         meta->footer_bytes ? pq_file_footer_size(verify->block->file) : 0},
    };
    for (size_t i = 0; i < FM_COUNT(figures); i++)
        if (figures[i].said != figures[i].found)
            return fm_fail(why, FM_ECORRUPT, "meta.json: %s is %llu, the block has %llu",
                           figures[i].name, figures[i].said, figures[i].found);
    /* Whole seconds, and Tempo itself rounds the end down.  A range may leave out what is absurd,
     * and a future is only absurd to whoever knows the present. */
    if (census->range_start_ns != UINT64_MAX && meta->start_ns > census->range_start_ns)
        return fm_fail(why, FM_ECORRUPT, "meta.json: its times do not cover the spans");
    if (meta->end_ns <= meta->start_ns)
        return fm_fail(why, FM_ECORRUPT, "meta.json: endTime is not behind startTime");
    return FM_OK;
}

static void verify_fini(struct verify *verify)
{
    for (size_t i = 0; i < FM_COUNT(verify->columns); i++)
        pq_column_free(verify->columns[i].column);
    verify_step_fini(verify);
    nested_fini(&verify->nested);
    free(verify->scratch);
    pq_memo_free(verify->memo);
    free(verify);
}

static int verify_row_group(struct verify *verify, size_t row_group)
{
    verify->row_group = row_group;
    memset(verify->has_print, 0, sizeof verify->has_print);
    int rc = verify_in_step(verify);
    return rc < 0 ? rc : verify_other_columns(verify);
}

int block_verify(struct fm_source data, const struct block_meta *meta,
                 const struct fm_slice *blooms, struct block_census *ret_census, struct fm_why *why)
{
    struct block_census census = {.start_min_ns = UINT64_MAX, .range_start_ns = UINT64_MAX};
    FM_AUTO(block) block = NULL;
    if (!meta->bloom_shard_count || meta->bloom_shard_count > BLOCK_BLOOM_SHARD_MAX)
        return fm_fail(why, FM_ECORRUPT, "meta.json: %u bloom shards", meta->bloom_shard_count);
    int rc = block_open(&block, data, meta, why);
    if (rc < 0)
        return rc;
    struct verify *verify = calloc(1, sizeof *verify);
    if (!verify)
        return FM_ENOMEM;
    verify->block = block;
    verify->blooms = blooms;
    verify->census = &census;
    verify->why = why;
    nested_init(&verify->nested);
    rc = pq_memo_new(&verify->memo);
    if (rc == FM_OK)
        rc = verify_schema(verify);
    for (size_t i = 0; rc == FM_OK && i < pq_file_row_group_count(block->file); i++)
        rc = verify_row_group(verify, i);
    if (rc == FM_OK)
        rc = verify_meta(verify, data);
    verify_fini(verify);
    if (rc == FM_OK && ret_census)
        *ret_census = census;
    return rc;
}
