/* SPDX-License-Identifier: Apache-2.0 */
/* The other way round: from a value of a chunk's dictionary to the rows that have it.
 *
 * The indexes of all pages are read once.  Of a value in few rows these are noted, of another one
 * only that they are many: who looks for something rare wants the rows, who looks for something
 * common has to read nearly all of them anyway.  Kept is one piece of bytes: of each value how many
 * rows, then the distances between them, and the place of every 16th value. */
#include "internal.h"

#include <stdlib.h>

#define POSTINGS_STRIDE    16u
#define POSTINGS_PAIRS_MAX (UINT32_C(1) << 20)
#define POSTINGS_MANY      255u

struct pq_postings {
    uint32_t count; /* values; 0: nothing is known of any */
    struct fm_buf bytes;
    uint32_t *offsets; /* owned; of the values 0, 16, 32, ... */
};

/* A pair is a value and one of its rows; all of a row stand together. */
struct postings_scan {
    uint32_t count, row_count;
    uint32_t *last;    /* owned; by value: its last row, counted from 1 */
    uint8_t *rows;     /* owned; by value: in how many, up to PQ_POSTINGS_MAX + 1 */
    uint32_t *pairs;   /* owned; the values */
    uint32_t *firsts;  /* owned; by row, and behind the last: its first pair */
    uint32_t row_next; /* whose first pair is not known yet */
    uint32_t pair_count, pair_cap;
};

static void scan_fini(struct postings_scan *scan)
{
    free(scan->last);
    free(scan->rows);
    free(scan->pairs);
    free(scan->firsts);
}

/* ---- reading ---- */

static int scan_grow(struct postings_scan *scan, uint32_t count)
{
    if (count <= scan->pair_cap - scan->pair_count)
        return FM_OK;
    uint64_t wanted = FM_MAX((uint64_t)scan->pair_cap * 2, (uint64_t)scan->pair_count + count);
    if (scan->pair_count > POSTINGS_PAIRS_MAX)
        return FM_NONE;
    uint32_t *grown = realloc(scan->pairs, wanted * sizeof *grown);
    if (!grown)
        return FM_ENOMEM;
    scan->pairs = grown;
    scan->pair_cap = (uint32_t)wanted;
    return FM_OK;
}

static inline void scan_begin_row(struct postings_scan *scan, uint32_t row)
{
    while (scan->row_next <= row)
        scan->firsts[scan->row_next++] = scan->pair_count;
}

static inline void scan_put(struct postings_scan *scan, uint32_t value, uint32_t row)
{
    if (scan->last[value] == row + 1)
        return;
    scan->last[value] = row + 1;
    if (scan->rows[value] > PQ_POSTINGS_MAX || ++scan->rows[value] > PQ_POSTINGS_MAX)
        return;
    scan_begin_row(scan, row);
    scan->pairs[scan->pair_count++] = value;
}

/* FM_NONE: its values are not in the dictionary. */
static int scan_page(struct postings_scan *scan, const struct pq_page *page, unsigned def_max)
{
    uint32_t row = (uint32_t)page->first_row - (page->rep != NULL), value = 0;
    if (!page->value_count)
        return FM_OK;
    if (!page->indexes || page->first_row + page->row_count > scan->row_count)
        return FM_NONE;
    int rc = scan_grow(scan, page->value_count);
    if (rc != FM_OK)
        return rc;
    for (uint32_t i = 0; i < page->entry_count; i++) {
        row += page->rep ? page->rep[i] == 0 : i != 0;
        if (!page->def || page->def[i] == def_max)
            scan_put(scan, page->indexes[value++], row);
    }
    return FM_OK;
}

static int scan_read(struct postings_scan *scan, struct pq_column *column, unsigned def_max,
                     struct fm_why *why)
{
    const struct fm_slice *dictionary;
    struct pq_page page;
    int rc = pq_column_dictionary(column, &dictionary, &scan->count, why);
    if (rc != FM_OK || !scan->count)
        return rc < 0 ? rc : FM_NONE;
    scan->last = calloc(scan->count, sizeof *scan->last);
    scan->rows = calloc(scan->count, sizeof *scan->rows);
    scan->firsts = malloc(((size_t)scan->row_count + 1) * sizeof *scan->firsts);
    if (!scan->last || !scan->rows || !scan->firsts)
        return FM_ENOMEM;
    while (rc == FM_OK && (rc = pq_column_next(column, &page, why)) == FM_OK)
        rc = scan_page(scan, &page, def_max);
    scan_begin_row(scan, scan->row_count);
    return rc == FM_END ? FM_OK : rc;
}

/* ---- what is kept ---- */

/* Pairs by value; of those that are in many rows none. */
static uint32_t *scan_sort(const struct postings_scan *scan)
{
    uint32_t *starts = scan->last, next = 0; /* no longer needed */
    uint32_t *rows = malloc(((size_t)scan->pair_count + 1) * sizeof *rows);
    if (!rows)
        return NULL;
    for (uint32_t i = 0; i < scan->count; i++) {
        starts[i] = next;
        next += scan->rows[i] > PQ_POSTINGS_MAX ? 0 : scan->rows[i];
    }
    for (uint32_t row = 0; row < scan->row_count; row++) {
        for (uint32_t i = scan->firsts[row]; i < scan->firsts[row + 1]; i++) {
            uint32_t value = scan->pairs[i];
            if (scan->rows[value] <= PQ_POSTINGS_MAX)
                rows[starts[value]++] = row;
        }
    }
    return rows;
}

static void postings_put(struct pq_postings *postings, const uint32_t *rows, uint32_t count)
{
    uint8_t bytes[1 + 5 * PQ_POSTINGS_MAX], *at = bytes;
    uint32_t last = 0;
    *at++ = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t step = rows[i] - last;
        for (; step > 127; step >>= 7)
            *at++ = (uint8_t)(step | 128);
        *at++ = (uint8_t)step;
        last = rows[i];
    }
    fm_buf_put(&postings->bytes, bytes, (size_t)(at - bytes));
}

static int postings_keep(struct pq_postings *postings, const struct postings_scan *scan)
{
    static const uint8_t many = POSTINGS_MANY;
    uint32_t *rows = scan_sort(scan);
    uint32_t at = 0;
    postings->offsets = malloc((scan->count / POSTINGS_STRIDE + 1) * sizeof *postings->offsets);
    for (uint32_t i = 0; i < scan->count && rows && postings->offsets; i++) {
        if (i % POSTINGS_STRIDE == 0)
            postings->offsets[i / POSTINGS_STRIDE] = (uint32_t)postings->bytes.len;
        if (scan->rows[i] > PQ_POSTINGS_MAX) {
            fm_buf_put(&postings->bytes, &many, 1);
            continue;
        }
        postings_put(postings, rows + at, scan->rows[i]);
        at += scan->rows[i];
    }
    bool is_whole = rows && postings->offsets && !postings->bytes.failed;
    free(rows);
    postings->count = scan->count;
    return is_whole ? FM_OK : FM_ENOMEM;
}

int pq_postings_new(struct pq_postings **ret_postings, const struct pq_file *file, size_t row_group,
                    size_t leaf, const struct pq_guide *guide, struct fm_why *why)
{
    FM_AUTO(pq_postings) postings = calloc(1, sizeof *postings);
    FM_AUTO(pq_column) column = NULL;
    struct postings_scan scan = {0};
    if (!postings)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    fm_buf_init(&postings->bytes, UINT32_MAX);
    if (pq_row_group_row_count(file, row_group) >= UINT32_MAX)
        return fm_fail(why, FM_EUNSUPPORTED, "too many rows");
    scan.row_count = (uint32_t)pq_row_group_row_count(file, row_group);
    int rc = pq_column_open(&column, file, row_group, leaf, why);
    if (rc < 0)
        return rc;
    if (guide)
        pq_column_share_guide(column, guide);
    rc = scan_read(&scan, column, pq_file_leaf(file, leaf)->def_max, why);
    if (rc == FM_OK)
        rc = postings_keep(postings, &scan);
    scan_fini(&scan);
    if (rc < 0)
        return rc == FM_ENOMEM ? fm_fail(why, rc, "out of memory") : rc;
    *ret_postings = fm_take(postings);
    return FM_OK;
}

struct pq_postings *pq_postings_free(struct pq_postings *postings)
{
    if (!postings)
        return NULL;
    fm_buf_fini(&postings->bytes);
    free(postings->offsets);
    free(postings);
    return NULL;
}

size_t pq_postings_memory(const struct pq_postings *postings)
{
    return sizeof *postings + postings->bytes.cap +
           (postings->offsets ? postings->count / POSTINGS_STRIDE + 1 : 0) * sizeof(uint32_t);
}

/* ---- asking ---- */

/* The rows of the value that begins at ptr; returns where the next one does. */
static const uint8_t *postings_take(const uint8_t *ptr, uint32_t *rows)
{
    uint32_t count = *ptr++, row = 0;
    for (uint32_t i = 0; i < count && count != POSTINGS_MANY; i++) {
        uint32_t step = *ptr & 127;
        for (unsigned shift = 7; *ptr++ & 128; shift += 7)
            step |= (uint32_t)(*ptr & 127) << shift;
        rows[i] = row += step;
    }
    return ptr;
}

int pq_postings_rows(const struct pq_postings *postings, uint32_t value,
                     uint32_t rows[PQ_POSTINGS_MAX], uint32_t *ret_count)
{
    if (value >= postings->count)
        return FM_NONE;
    const uint8_t *ptr = postings->bytes.ptr + postings->offsets[value / POSTINGS_STRIDE];
    for (uint32_t i = value % POSTINGS_STRIDE; i; i--)
        ptr = postings_take(ptr, rows);
    if (*ptr == POSTINGS_MANY)
        return FM_NONE;
    *ret_count = *ptr;
    (void)postings_take(ptr, rows);
    return FM_OK;
}
