/* SPDX-License-Identifier: Apache-2.0 */
/* Reading one column chunk page by page.
 *
 * Bytes come through a window over the chunk: a read fetches at least 64 KiB, and what the window
 * already holds is not read again.  A page is used only after its CRC, sizes, levels and counts
 * agree with its header; uncompressed bodies are decoded where they lie in the window.
 * Pages passed on the way are remembered (offset and first row), so that seeking walks no page
 * twice; an offset index fills the same table at once.
 */
#include "file.h"
#include "memo.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define COLUMN_READ_MIN     FM_KIB(64)
#define COLUMN_HEADER_GUESS FM_KIB(1)
#define COLUMN_HEADER_MAX   FM_MIB(1) /* statistics may hold long values */
#define COLUMN_UNKNOWN      UINT64_MAX

struct pq_column {
    const struct pq_file *file; /* borrowed */
    const struct pq_file_chunk *chunk;
    const struct pq_leaf *leaf;
    uint64_t row_count; /* of the row group */
    uint64_t end;       /* of the chunk */

    struct fm_buf window; /* the file from window_offset on */
    uint64_t window_offset;

    struct pq_place next;     /* the page that pq_column_next() will decode */
    uint32_t next_number;     /* counted from 0, data pages only */
    struct pq_place frontier; /* the first page that is not in places */
    struct pq_place *places;  /* owned, by page number */
    uint32_t place_count, place_cap;
    bool indexed; /* places came from the offset index and are complete */
    bool started; /* the dictionary was looked for */
    bool surveys; /* values are of no interest: the dictionary is not read */
    size_t read_min;
    uint64_t read_bytes; /* from the source, so far */

    struct pq_page_header dictionary_header; /* if has_dictionary */
    struct fm_buf dictionary_body;
    struct fm_slice *dictionary; /* owned */
    uint32_t dictionary_count;
    bool has_dictionary;

    struct pq_memo *memo;          /* borrowed, or NULL */
    const struct pq_guide *guide;  /* borrowed, or NULL */
    struct codec_decoder *decoder; /* owned; made with the first compressed page */
    struct fm_buf body;            /* the decompressed page at body_offset */
    uint64_t body_offset;          /* 0: none */
    uint8_t *levels;               /* owned; repetition levels, then definition levels */
    size_t level_cap;
    void *values; /* owned */
    size_t values_cap;
};

/* A page whose body is checked and plain, but not decoded. */
struct column_body {
    struct pq_page_header header;
    struct fm_slice rep, def, values;
};

int pq_column_open(struct pq_column **ret_column, const struct pq_file *file, size_t row_group,
                   size_t leaf, struct fm_why *why)
{
    if (row_group >= file->group_count || leaf >= file->leaf_count)
        return fm_fail(why, FM_EUSAGE, "no row group %zu or column %zu", row_group, leaf);
    const struct pq_file_chunk *chunk = &file->groups[row_group].chunks[leaf];
    const struct pq_leaf *described = &file->leaves[leaf];
    if (chunk->codec == PQ_CODEC_UNKNOWN)
        return fm_fail(why, FM_EUNSUPPORTED, "column %s: unknown codec", described->path);
    if (pq_value_size(described->type, PQ_PLAIN) == 0)
        return fm_fail(why, FM_EUNSUPPORTED, "column %s: physical type %u", described->path,
                       described->type);
    FM_AUTO(pq_column) column = calloc(1, sizeof *column);
    if (!column)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    column->file = file;
    column->read_min = COLUMN_READ_MIN;
    column->chunk = chunk;
    column->leaf = described;
    column->row_count = file->groups[row_group].row_count;
    column->end = chunk->start + chunk->bytes;
    column->next = column->frontier = (struct pq_place){.offset = chunk->start};
    fm_buf_init(&column->window, SIZE_MAX / 2);
    fm_buf_init(&column->body, file->limits.page_bytes_max);
    fm_buf_init(&column->dictionary_body, file->limits.page_bytes_max);
    *ret_column = fm_take(column);
    return FM_OK;
}

struct pq_column *pq_column_free(struct pq_column *column)
{
    if (!column)
        return NULL;
    fm_buf_fini(&column->window);
    fm_buf_fini(&column->body);
    fm_buf_fini(&column->dictionary_body);
    codec_decoder_free(column->decoder);
    free(column->places);
    free(column->dictionary);
    free(column->levels);
    free(column->values);
    free(column);
    return NULL;
}

void pq_column_share_memo(struct pq_column *column, struct pq_memo *memo)
{
    column->memo = memo;
}

void pq_column_share_guide(struct pq_column *column, const struct pq_guide *guide)
{
    column->guide = guide;
}

struct pq_column_use pq_column_use(const struct pq_column *column)
{
    return (struct pq_column_use){
        .read_bytes = column->read_bytes,
        .memory = sizeof *column + column->window.cap + column->body.cap +
                  column->dictionary_body.cap +
                  column->dictionary_count * sizeof *column->dictionary + column->level_cap +
                  column->values_cap + column->place_cap * sizeof *column->places,
    };
}

void pq_column_retire(struct pq_column *column)
{
    fm_buf_fini(&column->window);
    fm_buf_fini(&column->body);
    column->body_offset = 0;
    column->decoder = codec_decoder_free(column->decoder);
    free(fm_take(column->levels));
    free(fm_take(column->values));
    free(fm_take(column->places));
    column->level_cap = column->values_cap = 0;
    column->place_cap = column->place_count = 0;
    column->next = column->frontier = (struct pq_place){.offset = column->end};
}

/* len bytes of the file at offset, which are inside the chunk (or the offset index). */
static int column_fetch(struct pq_column *column, uint64_t offset, size_t len, uint64_t end,
                        struct fm_slice *ret_bytes, struct fm_why *why)
{
    struct fm_buf *window = &column->window;
    uint64_t window_end = column->window_offset + window->len;
    size_t kept = 0;
    if (offset >= column->window_offset && offset < window_end)
        kept = (size_t)(window_end - offset);
    if (kept < len) {
        size_t wanted = (size_t)FM_MIN(FM_MAX(len, column->read_min), end - offset);
        if (kept)
            memmove(window->ptr, window->ptr + (offset - column->window_offset), kept);
        window->len = kept;
        column->window_offset = offset;
        uint8_t *room = fm_buf_room(window, wanted - kept);
        if (!room) {
            fm_buf_reset(window);
            return fm_fail(why, FM_ENOMEM, "out of memory");
        }
        struct fm_source source = column->file->source;
        int rc = source.read_at(source.self, offset + kept, room, wanted - kept);
        if (rc < 0)
            return fm_fail(why, rc, "cannot read %zu bytes at %llu", wanted - kept,
                           (unsigned long long)(offset + kept));
        column->read_bytes += wanted - kept;
        window->len = wanted;
    }
    *ret_bytes = fm_slice(window->ptr + (offset - column->window_offset), len);
    return FM_OK;
}

/* The header at offset.  Its length is unknown before it is parsed: guess, then guess larger. */
static int column_header(struct pq_column *column, uint64_t offset,
                         struct pq_page_header *ret_header, struct fm_why *why)
{
    struct pq_page_header header = {0};
    uint64_t left = column->end - offset;
    for (size_t guess = COLUMN_HEADER_GUESS;; guess *= 32) {
        struct fm_slice bytes;
        size_t len = (size_t)FM_MIN((uint64_t)guess, left);
        int rc = column_fetch(column, offset, len, column->end, &bytes, why);
        if (rc < 0)
            return rc;
        rc = pq_page_header_read(bytes, &header, why);
        if (rc == FM_OK)
            break;
        if (len == left || guess >= COLUMN_HEADER_MAX)
            return rc;
    }
    size_t page_max = column->file->limits.page_bytes_max;
    if (header.stored_bytes > left - header.header_bytes)
        return fm_fail(why, FM_EMALFORMED, "a page of %u bytes, but the column has %llu left",
                       header.stored_bytes, (unsigned long long)(left - header.header_bytes));
    if (header.plain_bytes > page_max || header.stored_bytes > page_max)
        return fm_fail(why, FM_ELIMIT, "a page of %u bytes (limit %zu)", header.plain_bytes,
                       page_max);
    *ret_header = header;
    return FM_OK;
}

/* The stored body behind the header, its checksum verified. */
static int column_stored(struct pq_column *column, uint64_t offset,
                         const struct pq_page_header *header, struct fm_slice *ret_stored,
                         struct fm_why *why)
{
    struct fm_slice bytes;
    size_t len = (size_t)header->header_bytes + header->stored_bytes;
    int rc = column_fetch(column, offset, len, column->end, &bytes, why);
    if (rc < 0)
        return rc;
    *ret_stored = fm_slice(bytes.ptr + header->header_bytes, header->stored_bytes);
    if (header->has_crc && codec_crc32(0, *ret_stored) != header->crc)
        return fm_fail(why, FM_ECORRUPT, "the checksum does not match");
    return FM_OK;
}

/* stored -> plain, in buf unless the bytes can be used where they are. */
static int column_inflate(struct pq_column *column, bool compressed, struct fm_slice stored,
                          size_t plain_len, struct fm_buf *buf, struct fm_slice *ret_plain,
                          struct fm_why *why)
{
    if (!compressed || column->chunk->codec == CODEC_NONE) {
        if (stored.len != plain_len)
            return fm_fail(why, FM_EMALFORMED, "%zu uncompressed bytes, the header says %zu",
                           stored.len, plain_len);
        *ret_plain = stored;
        return FM_OK;
    }
    fm_buf_reset(buf);
    uint8_t *room = fm_buf_room(buf, plain_len);
    if (!room)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    enum codec codec = (enum codec)column->chunk->codec;
    bool shares = column->memo && codec == CODEC_ZSTD;
    struct codec_decoder **decoder = shares ? &column->memo->decoder : &column->decoder;
    int rc = *decoder ? FM_OK : codec_decoder_new(decoder, codec);
    if (rc == FM_OK && shares)
        rc = pq_memo_inflate(column->memo, *decoder, stored, room, plain_len);
    else if (rc == FM_OK)
        rc = codec_decoder_decode(*decoder, stored, room, plain_len);
    if (rc < 0)
        return fm_fail(why, rc, "%zu bytes of %s do not decode to %zu", stored.len,
                       codec_name(codec), plain_len);
    buf->len = plain_len;
    *ret_plain = fm_slice(room, plain_len);
    return FM_OK;
}

/* ---- dictionary ---- */

static int column_dictionary_values(struct pq_column *column, struct fm_slice body, uint32_t count)
{
    size_t fixed = column->leaf->type == PQ_BYTE_ARRAY ? 0 : column->leaf->type == PQ_INT32 ? 4 : 8;
    if (fixed ? body.len != count * fixed : count > body.len / 4)
        return FM_EMALFORMED;
    column->dictionary = malloc(FM_MAX(count, 1u) * sizeof *column->dictionary);
    if (!column->dictionary)
        return FM_ENOMEM;
    column->dictionary_count = count;
    for (uint32_t i = 0; fixed && i < count; i++)
        column->dictionary[i] = fm_slice(body.ptr + i * fixed, fixed);
    return fixed ? FM_OK
                 : pq_values_decode(PQ_BYTE_ARRAY, PQ_PLAIN, body, count, 0, column->dictionary,
                                    NULL);
}

static int column_dictionary_load(struct pq_column *column, const struct pq_page_header *header,
                                  struct fm_why *why)
{
    struct fm_slice stored, plain;
    if (column->leaf->type == PQ_BOOLEAN)
        return fm_fail(why, FM_EMALFORMED, "a dictionary of booleans");
    if (header->encoding != PQ_PLAIN && header->encoding != PQ_PLAIN_DICTIONARY)
        return fm_fail(why, FM_EUNSUPPORTED, "a dictionary in encoding %u", header->encoding);
    int rc = column_stored(column, column->next.offset, header, &stored, why);
    if (rc < 0)
        return rc;
    struct fm_buf *body = &column->dictionary_body;
    rc = column_inflate(column, true, stored, header->plain_bytes, body, &plain, why);
    if (rc < 0)
        return rc;
    if (plain.len && plain.ptr != body->ptr) { /* the window moves on, the dictionary stays */
        fm_buf_reset(body);
        fm_buf_put_slice(body, plain);
        if (body->failed)
            return fm_fail(why, FM_ENOMEM, "out of memory");
        plain = fm_buf_slice(body);
    }
    rc = column_dictionary_values(column, plain, header->entry_count);
    if (rc < 0)
        return fm_fail(why, rc, "%zu bytes do not hold exactly %u values", plain.len,
                       header->entry_count);
    return FM_OK;
}

/* The dictionary as a guide keeps it.  FM_NONE: it does not. */
static int column_start_guided(struct pq_column *column, struct fm_why *why)
{
    struct pq_page_header header;
    struct fm_slice body;
    if (!column->guide || !pq_guide_dictionary(column->guide, column->chunk, &header, &body))
        return FM_NONE;
    int rc = column_dictionary_values(column, body, header.entry_count);
    if (rc < 0) {
        free(fm_take(column->dictionary));
        column->dictionary_count = 0;
        return fm_fail(why, rc, "column %s: no dictionary of %u values", column->leaf->path,
                       header.entry_count);
    }
    column->dictionary_header = header;
    column->has_dictionary = true;
    column->next.offset += header.header_bytes + (uint64_t)header.stored_bytes;
    column->frontier = column->next;
    column->started = true;
    return FM_OK;
}

/* Once: loads the dictionary if the chunk starts with one, and stands before the data pages. */
static int column_start(struct pq_column *column, struct fm_why *why)
{
    struct pq_page_header header = {0};
    if (column->started)
        return FM_OK;
    int known = column_start_guided(column, why);
    if (known != FM_NONE)
        return known;
    if (column->chunk->bytes == 0)
        return column->row_count
                   ? fm_fail(why, FM_EMALFORMED, "column %s has no pages", column->leaf->path)
                   : FM_OK;
    int rc = column_header(column, column->next.offset, &header, why);
    if (rc == FM_OK && header.type == PQ_PAGE_DICTIONARY) {
        column->dictionary_header = header;
        column->has_dictionary = true;
        rc = column->surveys ? FM_OK : column_dictionary_load(column, &header, why);
        column->next.offset += header.header_bytes + (uint64_t)header.stored_bytes;
        column->frontier = column->next;
    }
    if (rc < 0) {
        free(fm_take(column->dictionary));
        column->has_dictionary = false;
        column->next.offset = column->frontier.offset = column->chunk->start;
        return fm_wrap(why, rc, "column %s, first page at byte %llu", column->leaf->path,
                       (unsigned long long)column->chunk->start);
    }
    column->started = true;
    return FM_OK;
}

int pq_column_dictionary(struct pq_column *column, const struct fm_slice **ret_values,
                         uint32_t *ret_count, struct fm_why *why)
{
    int rc = column_start(column, why);
    if (rc < 0)
        return rc;
    if (!column->has_dictionary)
        return FM_NONE;
    *ret_values = column->dictionary;
    *ret_count = column->dictionary_count;
    return FM_OK;
}

/* ---- data pages ---- */

int pq_page_take_levels(struct fm_slice *body, unsigned level_max, struct fm_slice *ret_levels)
{
    *ret_levels = fm_slice(NULL, 0);
    if (level_max == 0)
        return FM_OK;
    if (body->len < 4)
        return FM_EMALFORMED;
    uint32_t len = fm_load_le32(body->ptr);
    if (len > body->len - 4)
        return FM_EMALFORMED;
    *ret_levels = fm_slice(body->ptr + 4, len);
    *body = fm_slice(body->ptr + 4 + len, body->len - 4 - len);
    return FM_OK;
}

static int column_body_v1(struct pq_column *column, uint64_t offset, struct fm_slice stored,
                          struct column_body *body, struct fm_why *why)
{
    const struct pq_leaf *leaf = column->leaf;
    const struct pq_page_header *header = &body->header;
    if ((leaf->rep_max && header->rep_encoding != PQ_RLE) ||
        (leaf->def_max && header->def_encoding != PQ_RLE))
        return fm_fail(why, FM_EUNSUPPORTED, "levels in encodings %u and %u", header->rep_encoding,
                       header->def_encoding);
    struct fm_slice plain = fm_buf_slice(&column->body);
    if (column->body_offset != offset) {
        column->body_offset = 0;
        int rc =
            column_inflate(column, true, stored, header->plain_bytes, &column->body, &plain, why);
        if (rc < 0)
            return rc;
        /* Kept for the case that a seek only counted rows and the page is wanted next. */
        if (column->chunk->codec != CODEC_NONE)
            column->body_offset = offset;
    }
    if (pq_page_take_levels(&plain, leaf->rep_max, &body->rep) < 0 ||
        pq_page_take_levels(&plain, leaf->def_max, &body->def) < 0)
        return fm_fail(why, FM_EMALFORMED, "the levels are cut");
    body->values = plain;
    return FM_OK;
}

static int column_body_v2(struct pq_column *column, struct fm_slice stored,
                          struct column_body *body, struct fm_why *why)
{
    const struct pq_page_header *header = &body->header;
    uint64_t level_len = (uint64_t)header->rep_bytes + header->def_bytes;
    if (level_len > stored.len || level_len > header->plain_bytes)
        return fm_fail(why, FM_EMALFORMED, "%llu bytes of levels in a page of %zu",
                       (unsigned long long)level_len, stored.len);
    body->rep = fm_slice(stored.ptr, header->rep_bytes);
    body->def = fm_slice(stored.ptr + header->rep_bytes, header->def_bytes);
    struct fm_slice packed = fm_slice(stored.ptr + level_len, stored.len - (size_t)level_len);
    column->body_offset = 0;
    return column_inflate(column, header->compressed, packed,
                          header->plain_bytes - (size_t)level_len, &column->body, &body->values,
                          why);
}

/* Header and plain body of the data page at offset. */
static int column_body(struct pq_column *column, const struct pq_place *place,
                       struct column_body *ret_body, struct fm_why *why)
{
    struct column_body body;
    struct fm_slice stored;
    int rc = column_header(column, place->offset, &body.header, why);
    if (rc < 0)
        return rc;
    if (body.header.type != PQ_PAGE_DATA && body.header.type != PQ_PAGE_DATA_V2)
        return fm_fail(why, FM_EMALFORMED, "not a data page (type %u)", body.header.type);
    uint64_t entries_left = column->chunk->entry_count;
    if (place->entries_before != COLUMN_UNKNOWN)
        entries_left -= place->entries_before;
    if (body.header.entry_count == 0 || body.header.entry_count > entries_left)
        return fm_fail(why, FM_EMALFORMED, "a page of %u values where %llu are left",
                       body.header.entry_count, (unsigned long long)entries_left);
    rc = column_stored(column, place->offset, &body.header, &stored, why);
    if (rc == FM_OK)
        rc = body.header.type == PQ_PAGE_DATA
                 ? column_body_v1(column, place->offset, stored, &body, why)
                 : column_body_v2(column, stored, &body, why);
    if (rc < 0)
        return rc;
    if ((column->leaf->rep_max != 0) != (body.rep.len != 0) ||
        (column->leaf->def_max != 0) != (body.def.len != 0))
        return fm_fail(why, FM_EMALFORMED, "repetition or definition levels missing or unexpected");
    *ret_body = body;
    return FM_OK;
}

/* A page's arrays may together be four times its largest plain size: runs unpack to much more
 * than they take, and memory must stay bounded all the same. */
static int column_reserve(struct pq_column *column, void **array, size_t *cap, uint64_t needed,
                          struct fm_why *why)
{
    if (needed <= *cap)
        return FM_OK;
    if (needed > (uint64_t)column->file->limits.page_bytes_max * 4)
        return fm_fail(why, FM_ELIMIT, "a page that unpacks to %llu bytes",
                       (unsigned long long)needed);
    size_t wanted = (size_t)needed + (*cap ? (size_t)needed / 4 : 0); /* pages differ a little */
    free(fm_take(*array));
    *cap = 0;
    *array = malloc(wanted);
    if (!*array)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    *cap = wanted;
    return FM_OK;
}

/* One kind of levels, checked against their maximum; counts those that are wanted. */
static int column_levels(struct pq_column *column, struct fm_slice input,
                         const struct pq_memo_kind *kind, uint8_t *target,
                         uint32_t *ret_wanted_count, uint64_t *ret_number)
{
    bool too_high;
    struct pq_memo *memo = column->memo;
    if (memo && pq_memo_find_levels(memo, input, kind, target, ret_wanted_count, ret_number))
        return FM_OK;
    int rc = pq_hybrid_levels(input, pq_bit_width(kind->level_max), target, kind->count);
    if (rc < 0)
        return rc;
    *ret_wanted_count =
        pq_levels_count(target, kind->count, kind->wanted, kind->level_max, &too_high);
    if (too_high)
        return FM_EMALFORMED;
    return memo ? pq_memo_keep_levels(memo, input, kind, target, *ret_wanted_count, ret_number)
                : FM_OK;
}

static int column_levels_fail(int rc, struct fm_why *why, const char *kind, size_t len,
                              uint32_t count, unsigned level_max)
{
    if (rc == FM_ENOMEM)
        return fm_fail(why, rc, "out of memory");
    return fm_fail(why, FM_EMALFORMED, "%zu bytes do not hold exactly %u %s levels up to %u", len,
                   count, kind, level_max);
}

static int column_rep(struct pq_column *column, const struct column_body *body,
                      uint32_t *ret_row_count, uint64_t *ret_number, struct fm_why *why)
{
    uint32_t count = body->header.entry_count;
    void *levels = column->levels;
    int rc = column_reserve(column, &levels, &column->level_cap, (uint64_t)count * 2, why);
    column->levels = levels;
    if (rc < 0)
        return rc;
    if (column->leaf->rep_max == 0) {
        *ret_row_count = count;
        return FM_OK;
    }
    uint8_t rep_max = column->leaf->rep_max;
    const struct pq_memo_kind kind = {count, rep_max, 0};
    rc = column_levels(column, body->rep, &kind, column->levels, ret_row_count, ret_number);
    if (rc < 0)
        return column_levels_fail(rc, why, "repetition", body->rep.len, count, rep_max);
    if (column->levels[0] != 0)
        return fm_fail(why, FM_EMALFORMED, "the page starts inside a row");
    return FM_OK;
}

static int column_values(struct pq_column *column, const struct column_body *body,
                         struct pq_page *page, struct fm_why *why)
{
    uint8_t type = column->leaf->type, encoding = body->header.encoding;
    bool dictionary = encoding == PQ_RLE_DICTIONARY || encoding == PQ_PLAIN_DICTIONARY;
    if (dictionary && !column->has_dictionary)
        return fm_fail(why, FM_EMALFORMED, "dictionary indexes without a dictionary");
    uint64_t needed = (uint64_t)page->value_count * pq_value_size(type, encoding);
    int rc = column_reserve(column, &column->values, &column->values_cap, FM_MAX(needed, 1u), why);
    if (rc < 0)
        return rc;
    rc = pq_values_decode(type, encoding, body->values, page->value_count, column->dictionary_count,
                          column->values, why);
    if (rc < 0)
        return rc;
    page->indexes = dictionary ? column->values : NULL;
    page->i64 = dictionary ? NULL : column->values; /* one pointer, five names */
    return FM_OK;
}

static int column_page(struct pq_column *column, const struct column_body *body,
                       struct pq_page *ret_page, struct fm_why *why)
{
    const struct pq_page_header *header = &body->header;
    const struct pq_leaf *leaf = column->leaf;
    struct pq_page page = {
        .entry_count = header->entry_count,
        .value_count = header->entry_count,
        .first_row = column->next.first_row,
    };
    int rc = column_rep(column, body, &page.row_count, &page.rep_number, why);
    if (rc < 0)
        return rc;
    page.rep = leaf->rep_max ? column->levels : NULL;
    if (leaf->def_max) {
        uint8_t *def = column->levels + page.entry_count;
        const struct pq_memo_kind kind = {page.entry_count, leaf->def_max, leaf->def_max};
        rc = column_levels(column, body->def, &kind, def, &page.value_count, &page.def_number);
        if (rc < 0)
            return column_levels_fail(rc, why, "definition", body->def.len, page.entry_count,
                                      leaf->def_max);
        page.def = def;
    }
    if (header->type == PQ_PAGE_DATA_V2 &&
        (header->row_count != page.row_count ||
         header->null_count != page.entry_count - page.value_count))
        return fm_fail(why, FM_EMALFORMED, "%u rows and %u nulls, the header says %u and %u",
                       page.row_count, page.entry_count - page.value_count, header->row_count,
                       header->null_count);
    if (page.row_count > column->row_count - page.first_row)
        return fm_fail(why, FM_EMALFORMED, "more rows than the row group's %llu",
                       (unsigned long long)column->row_count);
    rc = column_values(column, body, &page, why);
    if (rc == FM_OK)
        *ret_page = page;
    return rc;
}

/* ---- places ---- */

static int column_add_place(struct pq_column *column, struct pq_place place)
{
    if (column->place_count == column->place_cap) {
        uint32_t cap = column->place_cap ? column->place_cap * 2 : 8;
        struct pq_place *grown = realloc(column->places, cap * sizeof *grown);
        if (!grown)
            return FM_ENOMEM;
        column->places = grown;
        column->place_cap = cap;
    }
    column->places[column->place_count++] = place;
    return FM_OK;
}

static struct pq_place column_after(const struct pq_place *place,
                                    const struct pq_page_header *header, uint32_t row_count)
{
    bool known = place->entries_before != COLUMN_UNKNOWN;
    return (struct pq_place){
        .offset = place->offset + header->header_bytes + header->stored_bytes,
        .first_row = place->first_row + row_count,
        .entries_before = known ? place->entries_before + header->entry_count : COLUMN_UNKNOWN,
    };
}

/* The page at next was passed: notes it if it is new, or holds it against what was noted. */
static int column_advance(struct pq_column *column, const struct pq_page_header *header,
                          uint32_t row_count, struct fm_why *why)
{
    struct pq_place after = column_after(&column->next, header, row_count);
    if (after.first_row > column->row_count || (after.entries_before != COLUMN_UNKNOWN &&
                                                after.entries_before > column->chunk->entry_count))
        return fm_fail(why, FM_EMALFORMED, "more rows or values than the row group's %llu rows",
                       (unsigned long long)column->row_count);
    if (column->next_number < column->place_count) {
        const struct pq_place *noted = &column->places[column->next_number];
        if (noted->offset != column->next.offset || noted->first_row != column->next.first_row)
            return fm_fail(why, FM_ECORRUPT, "the offset index does not fit the pages");
    } else if (column->indexed) {
        return fm_fail(why, FM_ECORRUPT, "a page that the offset index does not have");
    } else {
        if (column_add_place(column, column->next) < 0)
            return fm_fail(why, FM_ENOMEM, "out of memory");
        column->frontier = after;
    }
    column->next = after;
    column->next_number++;
    return FM_OK;
}

static int column_wrap(const struct pq_column *column, int rc, struct fm_why *why)
{
    return fm_wrap(why, rc, "column %s, page %u at byte %llu", column->leaf->path,
                   column->next_number, (unsigned long long)column->next.offset);
}

/* After the last page: does everything add up? */
static int column_finish(const struct pq_column *column, struct fm_why *why)
{
    const struct pq_place *at = &column->next;
    bool entries_ok =
        at->entries_before == COLUMN_UNKNOWN || at->entries_before == column->chunk->entry_count;
    if (at->first_row != column->row_count || !entries_ok)
        return fm_fail(why, FM_EMALFORMED, "column %s: pages end after row %llu of %llu",
                       column->leaf->path, (unsigned long long)at->first_row,
                       (unsigned long long)column->row_count);
    return FM_END;
}

int pq_column_next(struct pq_column *column, struct pq_page *ret_page, struct fm_why *why)
{
    struct column_body body;
    struct pq_page page;
    int rc = column_start(column, why);
    if (rc < 0)
        return rc;
    if (column->next.offset >= column->end)
        return column_finish(column, why);
    rc = column_body(column, &column->next, &body, why);
    if (rc == FM_OK)
        rc = column_page(column, &body, &page, why);
    if (rc == FM_OK)
        rc = column_advance(column, &body.header, page.row_count, why);
    if (rc < 0)
        return column_wrap(column, rc, why);
    *ret_page = page;
    return FM_OK;
}

/* Reads one PageLocation into *place. */
static int column_read_location(struct thrift_reader *reader, struct pq_place *place)
{
    int64_t value;
    unsigned seen = 0;
    int rc = thrift_struct_begin(reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(reader, &field);
        if (rc != FM_OK)
            break;
        if ((field.id == 1 || field.id == 3) && field.type == THRIFT_I64) {
            rc = thrift_int(reader, &value);
            if (rc < 0 || value < 0)
                return FM_EMALFORMED;
            *(field.id == 1 ? &place->offset : &place->first_row) = (uint64_t)value;
            seen |= 1u << field.id;
        } else {
            rc = thrift_skip(reader, field.type);
        }
    }
    return rc == FM_END && seen == 10 ? FM_OK : FM_EMALFORMED;
}

/* OffsetIndex: the list of locations is field 1.  Offsets and rows ascend, inside the chunk. */
static int column_read_index(struct pq_column *column, struct fm_slice bytes)
{
    struct thrift_reader reader;
    struct thrift_field field;
    uint8_t type;
    uint32_t count;
    thrift_reader_init(&reader, bytes);
    if (thrift_struct_begin(&reader) < 0 || thrift_field_next(&reader, &field) != FM_OK ||
        field.id != 1 || field.type != THRIFT_LIST ||
        thrift_list_begin(&reader, &type, &count) < 0 || count == 0 || type != THRIFT_STRUCT)
        return FM_EMALFORMED;
    column->place_count = 0;
    struct pq_place last = {.offset = column->next.offset - 1, .first_row = UINT64_MAX};
    for (uint32_t i = 0; i < count; i++) {
        struct pq_place place = {.entries_before = COLUMN_UNKNOWN};
        if (column_read_location(&reader, &place) < 0)
            return FM_EMALFORMED;
        if (place.offset <= last.offset || place.offset >= column->end ||
            (i == 0 ? place.first_row != 0 : place.first_row <= last.first_row) ||
            place.first_row >= column->row_count)
            return FM_EMALFORMED;
        if (column_add_place(column, place) < 0)
            return FM_ENOMEM;
        last = place;
    }
    return FM_OK;
}

/* Fills places from the offset index, if the chunk has one and was not walked yet. */
static int column_load_index(struct pq_column *column, struct fm_why *why)
{
    struct fm_slice bytes;
    const struct pq_file_chunk *chunk = column->chunk;
    if (chunk->index_offset == 0 || column->indexed || column->place_count)
        return FM_OK;
    if (chunk->index_bytes > column->file->limits.footer_bytes_max)
        return fm_fail(why, FM_ELIMIT, "an offset index of %u bytes", chunk->index_bytes);
    uint64_t end = chunk->index_offset + chunk->index_bytes;
    int rc = column_fetch(column, chunk->index_offset, chunk->index_bytes, end, &bytes, why);
    if (rc < 0)
        return rc;
    rc = column_read_index(column, bytes);
    if (rc < 0) {
        column->place_count = 0;
        return fm_fail(why, rc, "the offset index is malformed");
    }
    column->indexed = true;
    return FM_OK;
}

/* Rows of the page at next: from the header where it says, else from the levels. */
static int column_count_rows(struct pq_column *column, struct pq_page_header *ret_header,
                             uint32_t *ret_row_count, struct fm_why *why)
{
    struct column_body body;
    int rc = column_header(column, column->next.offset, &body.header, why);
    if (rc < 0)
        return rc;
    bool v2 = body.header.type == PQ_PAGE_DATA_V2;
    if (body.header.entry_count && (v2 || column->leaf->rep_max == 0)) {
        *ret_header = body.header;
        *ret_row_count = v2 ? body.header.row_count : body.header.entry_count;
        return FM_OK;
    }
    rc = column_body(column, &column->next, &body, why);
    uint64_t number;
    if (rc == FM_OK)
        rc = column_rep(column, &body, ret_row_count, &number, why);
    if (rc == FM_OK)
        *ret_header = body.header;
    return rc;
}

/* Stands on the page with row among the known ones, or on the first unknown one. */
static void column_jump(struct pq_column *column, uint64_t row)
{
    uint32_t low = 0, high = column->place_count; /* the last place with first_row <= row */
    if (!column->indexed && row >= column->frontier.first_row) {
        column->next = column->frontier;
        column->next_number = column->place_count;
        return;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (column->places[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    column->next = column->places[low];
    column->next_number = low;
    if (low + 1 < column->place_count) /* where it ends is known: no byte more is read */
        column->read_min = (size_t)FM_MIN(column->places[low + 1].offset - column->next.offset,
                                          (uint64_t)COLUMN_READ_MIN);
}

int pq_column_seek(struct pq_column *column, uint64_t row, struct fm_why *why)
{
    int rc = column_start(column, why);
    if (rc < 0)
        return rc;
    if (row >= column->row_count)
        return FM_END;
    rc = column_load_index(column, why);
    if (rc < 0)
        return fm_wrap(why, rc, "column %s", column->leaf->path);
    column_jump(column, row);
    while (!column->indexed && column->next_number == column->place_count) {
        struct pq_page_header header = {0};
        uint32_t row_count;
        if (column->next.offset >= column->end) {
            rc = column_finish(column, why);
            return rc < 0 ? rc
                          : fm_fail(why, FM_EMALFORMED, "column %s: row %llu is in no page",
                                    column->leaf->path, (unsigned long long)row);
        }
        rc = column_count_rows(column, &header, &row_count, why);
        if (rc < 0)
            return column_wrap(column, rc, why);
        struct pq_place at = column->next;
        rc = column_advance(column, &header, row_count, why);
        if (rc < 0)
            return column_wrap(column, rc, why);
        if (row < column->next.first_row) {
            column->next = at;
            column->next_number--;
            break;
        }
    }
    return FM_OK;
}

int pq_column_survey(struct pq_column *column, struct pq_survey *ret_survey, struct fm_why *why)
{
    column->surveys = true;
    column->read_min = COLUMN_HEADER_GUESS;
    int rc = column_start(column, why);
    if (rc == FM_OK && column->row_count)
        rc = pq_column_seek(column, column->row_count - 1, why);
    if (rc < 0)
        return rc;
    *ret_survey = (struct pq_survey){
        .places = fm_take(column->places),
        .place_count = column->place_count,
        .has_dictionary = column->has_dictionary,
        .dictionary = column->dictionary_header,
    };
    column->place_count = column->place_cap = 0;
    return FM_OK;
}

int pq_page_begin(const struct pq_file *file, size_t row_group, size_t leaf, uint64_t row,
                  uint64_t *ret_first_row, struct fm_why *why)
{
    FM_AUTO(pq_column) column = NULL;
    int rc = pq_column_open(&column, file, row_group, leaf, why);
    if (rc < 0)
        return rc;
    column->surveys = true;
    column->read_min = COLUMN_HEADER_GUESS;
    rc = pq_column_seek(column, row, why);
    if (rc == FM_END)
        return fm_fail(why, FM_EUSAGE, "column %s has no row %llu", column->leaf->path,
                       (unsigned long long)row);
    if (rc == FM_OK)
        *ret_first_row = column->next.first_row;
    return rc;
}
