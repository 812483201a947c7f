/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows of a row group may hold, before any is read: texts by the dictionaries, and for a
 * text in few rows which these are.
 *
 * Finding out the latter costs about as much as reading the column, once for an open block.  It is
 * not done for what is probably everywhere: in the first part of a dictionary stands what came
 * first, or what there are few of. */
#include "frames.h"

#define AHEAD_FOUND_MAX 16u /* texts of interest that are looked for */
#define AHEAD_SHARE     64u /* the part of a dictionary that is common */

struct ahead {
    struct block_frames *frames;
    const struct frame_search *search;
    bool narrows; /* where the texts that are looked for are is known so far */
    bool is_marked;
    uint32_t found[AHEAD_FOUND_MAX]; /* of the dictionary at hand */
    uint32_t found_count, text_count;
};

/* ---- texts ---- */

/* FM_END: that is enough. */
static int ahead_found(struct ahead *ahead, uint32_t index, bool is_known)
{
    ahead->narrows &= is_known && ahead->found_count < AHEAD_FOUND_MAX;
    if (ahead->narrows)
        ahead->found[ahead->found_count++] = index;
    return ahead->narrows ? FM_OK : FM_END;
}

static int ahead_all(struct ahead *ahead, const struct frames_column *column)
{
    const struct frame_search *search = ahead->search;
    int rc = FM_OK;
    for (uint32_t i = 0; i < column->dictionary_count && rc == FM_OK; i++) {
        struct traceql_value value = {.type = TRACEQL_STRING, .text = column->dictionary[i]};
        bool is_other = search->only && !fm_slice_equal(*search->only, value.text);
        rc = is_other ? FM_OK : search->visit(search->self, &value);
        if (rc == FM_END || rc == FM_MORE)
            rc = ahead_found(ahead, i, rc == FM_END);
    }
    return rc;
}

static int ahead_one(struct ahead *ahead, const struct pq_guide *guide)
{
    uint32_t from = 0;
    int rc = FM_OK;
    while (rc == FM_OK && pq_guide_find(guide, *ahead->search->only, from, &from) == FM_OK)
        rc = ahead_found(ahead, from++, true);
    return rc;
}

/* FM_NONE: not all texts are in a dictionary; FM_END: one that is looked for is there. */
static int ahead_texts(struct ahead *ahead, unsigned leaf)
{
    struct block_frames *frames = ahead->frames;
    const struct frames_column *column = &frames->columns[leaf];
    const struct pq_guide *guide =
        ahead->search->only && !column->column
            ? block_guide(frames->block, frames->group, leaf, frames->scratch)
            : NULL;
    int rc = FM_OK;
    ahead->found_count = 0;
    if (guide && pq_guide_has_texts(guide)) {
        ahead->text_count = pq_guide_text_count(guide);
        rc = ahead_one(ahead, guide);
    } else {
        rc = frames_open(frames, leaf);
        if (rc != FM_OK)
            return rc < 0 ? rc : FM_OK; /* nothing is where there is no column */
        if (!column->dictionary || frames->block->leaves[leaf].type != PQ_BYTE_ARRAY)
            return FM_NONE;
        ahead->text_count = column->dictionary_count;
        rc = ahead_all(ahead, column);
    }
    if (rc < 0)
        return rc;
    return rc == FM_END || ahead->found_count ? FM_END : FM_OK;
}

/* ---- rows ---- */

static bool ahead_is_rare(const struct ahead *ahead)
{
    return ahead->text_count >= ahead->frames->group_rows / 8 &&
           ahead->found[0] >= ahead->text_count / AHEAD_SHARE;
}

/* Marks the rows of what was found last. */
static int ahead_mark(struct ahead *ahead, unsigned leaf)
{
    struct block_frames *frames = ahead->frames;
    const struct pq_postings *postings = NULL;
    uint32_t rows[PQ_POSTINGS_MAX], count;
    size_t row_count = (size_t)frames->group_rows;
    if (ahead_is_rare(ahead))
        postings = block_postings(frames->block, frames->group, leaf, ahead->text_count);
    ahead->narrows = postings != NULL;
    if (!postings)
        return FM_OK;
    int rc = FRAMES_RESERVE(frames, frames->marks, frames->mark_cap, row_count);
    if (rc < 0)
        return rc;
    if (!ahead->is_marked)
        memset(frames->marks, 0, row_count);
    ahead->is_marked = true;
    for (uint32_t i = 0; i < ahead->found_count && ahead->narrows; i++) {
        ahead->narrows = pq_postings_rows(postings, ahead->found[i], rows, &count) == FM_OK;
        for (uint32_t j = 0; ahead->narrows && j < count; j++)
            frames->marks[rows[j]] = 1;
    }
    return FM_OK;
}

/* Leaves out what is not marked. */
static int ahead_narrow(struct block_frames *frames)
{
    size_t count = (size_t)frames->group_rows;
    int rc = FRAMES_RESERVE(frames, frames->rows_wanted, frames->row_wanted_cap, count);
    if (rc < 0)
        return rc;
    if (!frames->is_narrowed)
        memset(frames->rows_wanted, 1, count);
    for (size_t i = 0; i < count; i++)
        frames->rows_wanted[i] &= frames->marks[i];
    frames->is_narrowed = true;
    return FM_OK;
}

/* ---- a field ---- */

/* FM_END: something that is looked for may be there. */
static int ahead_part(struct ahead *ahead, const struct frames_part *part)
{
    unsigned leaf = part->leaf + (part->kind == FRAMES_ATTRIBUTE ? ATTRIBUTE_STRING : 0);
    if (!part->is_active || part->kind == FRAMES_NUMBER)
        return FM_OK;
    int rc = ahead_texts(ahead, leaf);
    if (rc != FM_END || !ahead->narrows)
        return rc;
    rc = ahead_mark(ahead, leaf);
    return rc < 0 ? rc : FM_END;
}

static int ahead_field(struct ahead *ahead, struct frames_field *own)
{
    bool is_found = false;
    if (own->is_absent)
        return FM_OK;
    if (!own->part_count)
        return FM_NONE;
    int rc = frames_field_resolve(ahead->frames, own);
    for (unsigned i = 0; i < own->part_count && rc == FM_OK; i++) {
        rc = ahead_part(ahead, &own->parts[i]);
        is_found |= rc == FM_END;
        if (rc == FM_END && ahead->narrows)
            rc = FM_OK;
    }
    return rc == FM_OK && is_found ? FM_END : rc;
}

int frames_look_ahead(struct block_frames *frames, const struct frame_search *search)
{
    struct ahead ahead = {.frames = frames, .search = search, .narrows = search->narrows};
    bool is_found = false;
    int rc = FM_OK;
    for (unsigned i = 0; i < search->field_count && rc == FM_OK; i++) {
        rc = ahead_field(&ahead, &frames->fields[search->fields[i]]);
        is_found |= rc == FM_END;
        if (rc == FM_END && ahead.narrows)
            rc = FM_OK;
    }
    if (rc < 0 || rc == FM_NONE || !is_found)
        return rc;
    if (ahead.narrows)
        rc = ahead_narrow(frames);
    return rc < 0 ? rc : FM_END;
}
