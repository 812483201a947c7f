/* SPDX-License-Identifier: Apache-2.0 */
/* Reading single rows of a chunk.
 *
 * A column (column.c) decodes pages, which is right for reading many rows.  Who wants one row reads
 * its page at once (its place is known), unpacks the levels, and of the values only those of the
 * row where the encoding allows it.  The dictionary, by far the largest part, is either kept in the
 * guide as the bytes of its page with the place of every 16th value, or decompressed for the call.
 */
#include "file.h"
#include "memo.h"
#include "seek.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define GUIDE_HEADER_MAX FM_MIB(1)
#define GUIDE_STRIDE     16u /* values of a dictionary for one remembered place */

struct guide_dictionary {
    struct fm_buf body;
    uint32_t *offsets; /* owned; of the values 0, 16, 32, ... of a byte array */
    uint8_t *prints;   /* owned; of each of them; NULL: nobody looks for one */
    uint32_t count;
};

struct pq_guide {
    const struct pq_file *file; /* borrowed */
    const struct pq_file_chunk *chunk;
    const struct pq_leaf *leaf;
    uint64_t row_count; /* of the row group */
    struct pq_survey survey;
    struct guide_dictionary dictionary; /* no offsets: not kept */
};

struct pq_scratch {
    struct fm_buf stored, plain;
    struct codec_decoder *zstd; /* owned; made with the first page that needs it */
    struct pq_memo *memo;       /* owned; columns below one list repeat its levels */
    struct fm_buf rep;          /* packed levels that were searched last, and what was found */
    uint32_t rep_count, rep_wanted;
    unsigned rep_width;
    struct pq_seek_row rep_found;
    void *values; /* owned */
    size_t value_cap;
    struct guide_dictionary dictionary; /* of the guide at hand, if it keeps none */
    uint64_t read_bytes;
};

/* A page, checked and plain, and where the row is in it. */
struct guide_page {
    struct pq_page_header header;
    struct fm_slice rep, def, values;
    uint32_t begin, end;            /* entries of the row */
    uint32_t value_at, value_count; /* values of the row */
    uint32_t value_total;           /* of the page; if values are seekable only a bound */
};

int pq_scratch_new(struct pq_scratch **ret_scratch)
{
    struct pq_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch)
        return FM_ENOMEM;
    fm_buf_init(&scratch->stored, SIZE_MAX / 2);
    fm_buf_init(&scratch->plain, SIZE_MAX / 2);
    fm_buf_init(&scratch->dictionary.body, SIZE_MAX / 2);
    fm_buf_init(&scratch->rep, SIZE_MAX / 2);
    int rc = pq_memo_new(&scratch->memo);
    if (rc < 0) {
        (void)pq_scratch_free(scratch);
        return rc;
    }
    *ret_scratch = scratch;
    return FM_OK;
}

static void guide_dictionary_fini(struct guide_dictionary *dictionary)
{
    fm_buf_fini(&dictionary->body);
    free(fm_take(dictionary->offsets));
    free(fm_take(dictionary->prints));
}

struct pq_scratch *pq_scratch_free(struct pq_scratch *scratch)
{
    if (!scratch)
        return NULL;
    fm_buf_fini(&scratch->stored);
    fm_buf_fini(&scratch->plain);
    guide_dictionary_fini(&scratch->dictionary);
    codec_decoder_free(scratch->zstd);
    pq_memo_free(scratch->memo);
    fm_buf_fini(&scratch->rep);
    free(scratch->values);
    free(scratch);
    return NULL;
}

struct pq_column_use pq_scratch_use(const struct pq_scratch *scratch)
{
    return (struct pq_column_use){
        .read_bytes = scratch->read_bytes,
        .memory = sizeof *scratch + scratch->stored.cap + scratch->plain.cap + scratch->rep.cap +
                  scratch->value_cap + scratch->dictionary.body.cap,
    };
}

/* An array of the scratch; bounded as a column's are, because runs unpack to much. */
static int scratch_reserve(void **array, size_t *cap, uint64_t needed, const struct pq_guide *guide,
                           struct fm_why *why)
{
    if (needed <= *cap)
        return FM_OK;
    if (needed > (uint64_t)guide->file->limits.page_bytes_max * 4)
        return fm_fail(why, FM_ELIMIT, "a page that unpacks to %llu bytes",
                       (unsigned long long)needed);
    free(fm_take(*array));
    *cap = 0;
    *array = malloc((size_t)needed);
    if (!*array)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    *cap = (size_t)needed;
    return FM_OK;
}

/* ---- pages ---- */

/* The page at offset that has exactly len bytes: its header, and its body with the checksum
 * verified. */
static int guide_read(const struct pq_guide *guide, uint64_t offset, uint64_t len,
                      struct pq_scratch *scratch, struct pq_page_header *ret_header,
                      struct fm_slice *ret_stored, struct fm_why *why)
{
    size_t page_max = guide->file->limits.page_bytes_max;
    if (len > page_max + GUIDE_HEADER_MAX)
        return fm_fail(why, FM_ELIMIT, "a page of %llu bytes (limit %zu)", (unsigned long long)len,
                       page_max);
    struct fm_source source = guide->file->source;
    fm_buf_reset(&scratch->stored);
    uint8_t *room = fm_buf_room(&scratch->stored, (size_t)len);
    if (!room)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    int rc = source.read_at(source.self, offset, room, (size_t)len);
    if (rc < 0)
        return fm_fail(why, rc, "cannot read %llu bytes at %llu", (unsigned long long)len,
                       (unsigned long long)offset);
    scratch->read_bytes += len;
    struct pq_page_header header;
    rc = pq_page_header_read(fm_slice(room, (size_t)len), &header, why);
    if (rc < 0)
        return rc;
    if ((uint64_t)header.header_bytes + header.stored_bytes != len)
        return fm_fail(why, FM_ECORRUPT, "a page of %u bytes in the place of %llu",
                       header.stored_bytes, (unsigned long long)len);
    if (header.plain_bytes > page_max)
        return fm_fail(why, FM_ELIMIT, "a page of %u bytes (limit %zu)", header.plain_bytes,
                       page_max);
    struct fm_slice stored = fm_slice(room + header.header_bytes, header.stored_bytes);
    if (header.has_crc && codec_crc32(0, stored) != header.crc)
        return fm_fail(why, FM_ECORRUPT, "the checksum does not match");
    *ret_header = header;
    *ret_stored = stored;
    return FM_OK;
}

/* stored -> plain, in buf unless the bytes can be used where they are. */
static int guide_inflate(const struct pq_guide *guide, struct pq_scratch *scratch, bool compressed,
                         struct fm_slice stored, size_t plain_len, struct fm_buf *buf,
                         struct fm_slice *ret_plain, struct fm_why *why)
{
    enum codec codec = (enum codec)guide->chunk->codec;
    if (!compressed || codec == CODEC_NONE) {
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
    int rc = FM_OK;
    if (codec != CODEC_ZSTD)
        rc = codec_decode(codec, stored, room, plain_len);
    else if (!scratch->zstd)
        rc = codec_decoder_new(&scratch->zstd, codec);
    if (rc == FM_OK && codec == CODEC_ZSTD)
        rc = pq_memo_inflate(scratch->memo, scratch->zstd, stored, room, plain_len);
    if (rc < 0)
        return fm_fail(why, rc, "%zu bytes of %s do not decode to %zu", stored.len,
                       codec_name(codec), plain_len);
    buf->len = plain_len;
    *ret_plain = fm_slice(room, plain_len);
    return FM_OK;
}

static int guide_body(const struct pq_guide *guide, struct pq_scratch *scratch,
                      struct fm_slice stored, struct guide_page *page, struct fm_why *why)
{
    const struct pq_page_header *header = &page->header;
    const struct pq_leaf *leaf = guide->leaf;
    if (header->type == PQ_PAGE_DATA_V2) {
        uint64_t level_len = (uint64_t)header->rep_bytes + header->def_bytes;
        if (level_len > stored.len || level_len > header->plain_bytes)
            return fm_fail(why, FM_EMALFORMED, "%llu bytes of levels in a page of %zu",
                           (unsigned long long)level_len, stored.len);
        page->rep = fm_slice(stored.ptr, header->rep_bytes);
        page->def = fm_slice(stored.ptr + header->rep_bytes, header->def_bytes);
        stored = fm_slice(stored.ptr + level_len, stored.len - (size_t)level_len);
        return guide_inflate(guide, scratch, header->compressed, stored,
                             header->plain_bytes - (size_t)level_len, &scratch->plain,
                             &page->values, why);
    }
    if ((leaf->rep_max && header->rep_encoding != PQ_RLE) ||
        (leaf->def_max && header->def_encoding != PQ_RLE))
        return fm_fail(why, FM_EUNSUPPORTED, "levels in encodings %u and %u", header->rep_encoding,
                       header->def_encoding);
    int rc = guide_inflate(guide, scratch, true, stored, header->plain_bytes, &scratch->plain,
                           &page->values, why);
    if (rc < 0)
        return rc;
    if (pq_page_take_levels(&page->values, leaf->rep_max, &page->rep) < 0 ||
        pq_page_take_levels(&page->values, leaf->def_max, &page->def) < 0)
        return fm_fail(why, FM_EMALFORMED, "the levels are cut");
    return FM_OK;
}

/* ---- the row in its page ---- */

/* Where the wanted row is.  Siblings have the same levels, and are asked for the same row. */
static int guide_seek(struct pq_scratch *scratch, struct fm_slice rep, unsigned width,
                      uint32_t count, uint32_t wanted, struct pq_seek_row *ret_found)
{
    if (scratch->rep_count == count && scratch->rep_wanted == wanted &&
        scratch->rep_width == width && fm_slice_equal(fm_buf_slice(&scratch->rep), rep)) {
        *ret_found = scratch->rep_found;
        return FM_OK;
    }
    int rc = pq_seek_row(rep, width, count, wanted, ret_found);
    if (rc < 0)
        return rc;
    fm_buf_reset(&scratch->rep);
    fm_buf_put_slice(&scratch->rep, rep);
    scratch->rep_count = count;
    scratch->rep_wanted = wanted;
    scratch->rep_width = width;
    scratch->rep_found = *ret_found;
    return scratch->rep.failed ? FM_ENOMEM : FM_OK;
}

static int guide_rep(const struct pq_guide *guide, struct pq_scratch *scratch,
                     const struct pq_place *place, uint64_t row_end, uint64_t row,
                     struct guide_page *page, struct fm_why *why)
{
    uint32_t count = page->header.entry_count;
    uint32_t wanted = (uint32_t)FM_MIN(row - place->first_row, (uint64_t)count - 1);
    uint8_t rep_max = guide->leaf->rep_max;
    struct pq_seek_row found = {wanted, wanted + 1, count, true};
    int rc = FM_OK;
    if (rep_max)
        rc = guide_seek(scratch, page->rep, pq_bit_width(rep_max), count, wanted, &found);
    if (rc == FM_ENOMEM)
        return fm_fail(why, rc, "out of memory");
    if (rc < 0 || !found.starts_row)
        return fm_fail(why, FM_EMALFORMED, "the repetition levels are malformed");
    if (found.row_count != row_end - place->first_row || found.begin >= found.end)
        return fm_fail(why, FM_ECORRUPT, "a page of %u rows in the place of %llu", found.row_count,
                       (unsigned long long)(row_end - place->first_row));
    page->begin = found.begin;
    page->end = found.end;
    return FM_OK;
}

/* Whether values can be taken out of the middle, without those behind them. */
static bool guide_is_seekable(const struct pq_guide *guide, uint8_t encoding)
{
    return encoding == PQ_RLE_DICTIONARY || encoding == PQ_PLAIN_DICTIONARY ||
           (encoding == PQ_PLAIN && guide->leaf->type != PQ_BYTE_ARRAY);
}

/* The row's share of one kind of levels. */
static int guide_levels(const struct guide_page *page, struct fm_slice input, uint8_t level_max,
                        uint8_t *target, uint32_t *ret_max_count)
{
    bool too_high = false;
    uint32_t count = page->end - page->begin;
    int rc = pq_seek_levels(input, pq_bit_width(level_max), page->header.entry_count, page->begin,
                            page->end, target);
    if (rc < 0)
        return rc;
    *ret_max_count = pq_levels_count(target, count, level_max, level_max, &too_high);
    return too_high ? FM_EMALFORMED : FM_OK;
}

/* Unpacks the row's definition levels; which of the page's values are the row's. */
static int guide_def(const struct pq_guide *guide, struct guide_page *page, uint8_t *target,
                     struct fm_why *why)
{
    uint32_t entry_count = page->header.entry_count;
    uint8_t def_max = guide->leaf->def_max;
    unsigned width = pq_bit_width(def_max);
    page->value_at = page->begin;
    page->value_count = page->end - page->begin;
    page->value_total = entry_count;
    if (!def_max)
        return FM_OK;
    int rc = guide_levels(page, page->def, def_max, target, &page->value_count);
    if (rc == FM_OK)
        rc = pq_seek_count(page->def, width, entry_count, def_max, page->begin, &page->value_at);
    if (rc == FM_OK && !guide_is_seekable(guide, page->header.encoding))
        rc = pq_seek_count(page->def, width, entry_count, def_max, entry_count, &page->value_total);
    return rc < 0 ? fm_fail(why, FM_EMALFORMED, "the definition levels are malformed") : FM_OK;
}

/* ---- dictionary ---- */

/* A byte in which most texts differ.  Those of one kind begin alike. */
static inline uint8_t guide_print(const uint8_t *text, size_t len)
{
    uint32_t last = 0;
    if (len >= 4)
        last = fm_load_le32(text + len - 4);
    else
        for (size_t i = 0; i < len; i++)
            last = last << 8 | text[i];
    return (uint8_t)((last * UINT32_C(0x9e3779b1) + (uint32_t)len * UINT32_C(0x85ebca6b)) >> 24);
}

/* Checks that body holds exactly count byte arrays, and notes the place of every 16th. */
static int guide_dictionary_scan(struct guide_dictionary *dictionary)
{
    const uint8_t *ptr = dictionary->body.ptr;
    size_t at = 0, len = dictionary->body.len;
    for (uint32_t i = 0; i < dictionary->count; i++) {
        if (i % GUIDE_STRIDE == 0)
            dictionary->offsets[i / GUIDE_STRIDE] = (uint32_t)at;
        if (len - at < 4)
            return FM_EMALFORMED;
        uint32_t bytes = fm_load_le32(ptr + at);
        at += 4;
        if (bytes > len - at)
            return FM_EMALFORMED;
        if (dictionary->prints)
            dictionary->prints[i] = guide_print(ptr + at, bytes);
        at += bytes;
    }
    return at == len ? FM_OK : FM_EMALFORMED;
}

static int guide_dictionary_load(const struct pq_guide *guide, struct pq_scratch *scratch,
                                 struct guide_dictionary *dictionary, struct fm_why *why)
{
    const struct pq_page_header *known = &guide->survey.dictionary;
    struct pq_page_header header;
    struct fm_slice stored, plain;
    uint8_t type = guide->leaf->type;
    if (type == PQ_BOOLEAN)
        return fm_fail(why, FM_EMALFORMED, "a dictionary of booleans");
    if (known->encoding != PQ_PLAIN && known->encoding != PQ_PLAIN_DICTIONARY)
        return fm_fail(why, FM_EUNSUPPORTED, "a dictionary in encoding %u", known->encoding);
    int rc =
        guide_read(guide, guide->chunk->start, (uint64_t)known->header_bytes + known->stored_bytes,
                   scratch, &header, &stored, why);
    if (rc < 0)
        return rc;
    if (header.type != PQ_PAGE_DICTIONARY || header.entry_count != known->entry_count)
        return fm_fail(why, FM_ECORRUPT, "the dictionary is not what it was");
    free(fm_take(dictionary->offsets));
    fm_buf_reset(&dictionary->body);
    rc = guide_inflate(guide, scratch, true, stored, header.plain_bytes, &dictionary->body, &plain,
                       why);
    if (rc < 0)
        return rc;
    if (plain.ptr != dictionary->body.ptr)
        fm_buf_put_slice(&dictionary->body, plain);
    size_t fixed = type == PQ_BYTE_ARRAY ? 0 : type == PQ_INT32 ? 4 : 8;
    dictionary->count = header.entry_count;
    if (fixed ? plain.len != header.entry_count * fixed : header.entry_count > plain.len / 4)
        return fm_fail(why, FM_EMALFORMED, "%zu bytes do not hold exactly %u values", plain.len,
                       header.entry_count);
    size_t offset_count = fixed ? 1 : header.entry_count / GUIDE_STRIDE + 1;
    dictionary->offsets = malloc(offset_count * sizeof *dictionary->offsets);
    bool is_kept = dictionary == &guide->dictionary;
    if (is_kept && !fixed)
        dictionary->prints = malloc(header.entry_count);
    if (!dictionary->offsets || dictionary->body.failed ||
        (is_kept && !fixed && !dictionary->prints))
        return fm_fail(why, FM_ENOMEM, "out of memory");
    rc = fixed ? FM_OK : guide_dictionary_scan(dictionary);
    if (rc < 0) {
        free(fm_take(dictionary->offsets));
        return fm_fail(why, rc, "%zu bytes do not hold exactly %u values", plain.len,
                       header.entry_count);
    }
    return FM_OK;
}

bool pq_guide_dictionary(const struct pq_guide *guide, const struct pq_file_chunk *chunk,
                         struct pq_page_header *ret_header, struct fm_slice *ret_body)
{
    if (guide->chunk != chunk || !guide->dictionary.offsets)
        return false;
    *ret_header = guide->survey.dictionary;
    *ret_body = fm_buf_slice(&guide->dictionary.body);
    return true;
}

uint32_t pq_guide_text_count(const struct pq_guide *guide)
{
    return guide->dictionary.count;
}

/* index < count, and the places were checked. */
static struct fm_slice guide_dictionary_value(const struct guide_dictionary *dictionary,
                                              uint32_t index)
{
    const uint8_t *ptr = dictionary->body.ptr + dictionary->offsets[index / GUIDE_STRIDE];
    for (uint32_t i = index % GUIDE_STRIDE; i; i--)
        ptr += 4 + (size_t)fm_load_le32(ptr);
    return fm_slice(ptr + 4, fm_load_le32(ptr));
}

bool pq_guide_has_texts(const struct pq_guide *guide)
{
    return guide->dictionary.offsets && guide->dictionary.prints;
}

int pq_guide_find(const struct pq_guide *guide, struct fm_slice text, uint32_t from,
                  uint32_t *ret_index)
{
    const struct guide_dictionary *dictionary = &guide->dictionary;
    uint8_t print = guide_print(text.ptr, text.len);
    for (; from < dictionary->count; from++) {
        const uint8_t *at = memchr(dictionary->prints + from, print, dictionary->count - from);
        if (!at)
            break;
        from = (uint32_t)(at - dictionary->prints);
        if (!fm_slice_equal(guide_dictionary_value(dictionary, from), text))
            continue;
        *ret_index = from;
        return FM_OK;
    }
    return FM_NONE;
}

/* Numbers of a dictionary, count of them. */
static void guide_dictionary_fixed(const struct guide_dictionary *dictionary, size_t size,
                                   const uint32_t *indexes, uint32_t count, void *target)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *ptr = dictionary->body.ptr + indexes[i] * size;
        if (size == 4)
            ((int32_t *)target)[i] = (int32_t)fm_load_le32(ptr);
        else
            ((int64_t *)target)[i] = (int64_t)fm_load_le64(ptr);
    }
}

static int guide_resolve(const struct pq_guide *guide, struct pq_scratch *scratch,
                         const struct guide_page *page, struct fm_arena *arena, void *target,
                         struct fm_why *why)
{
    const uint32_t *indexes = scratch->values;
    const struct guide_dictionary *dictionary = &guide->dictionary;
    bool kept = dictionary->offsets;
    if (!kept) {
        int rc = guide_dictionary_load(guide, scratch, &scratch->dictionary, why);
        if (rc < 0)
            return rc;
        dictionary = &scratch->dictionary;
    }
    size_t size = pq_value_size(guide->leaf->type, PQ_PLAIN);
    if (guide->leaf->type != PQ_BYTE_ARRAY) {
        guide_dictionary_fixed(dictionary, size, indexes, page->value_count, target);
        return FM_OK;
    }
    struct fm_slice *slices = target;
    for (uint32_t i = 0; i < page->value_count; i++) {
        slices[i] = guide_dictionary_value(dictionary, indexes[i]);
        if (!kept)
            slices[i] = fm_slice_dup(arena, slices[i]);
    }
    return FM_OK;
}

static int guide_indexes(const struct pq_guide *guide, struct pq_scratch *scratch,
                         const struct guide_page *page, struct fm_arena *arena, void *target,
                         struct fm_why *why)
{
    uint32_t index_max = 0;
    int rc = scratch_reserve(&scratch->values, &scratch->value_cap,
                             (uint64_t)page->value_count * sizeof(uint32_t), guide, why);
    if (rc < 0)
        return rc;
    uint32_t *indexes = scratch->values;
    if (pq_seek_indexes(page->values, page->value_total, page->value_at,
                        page->value_at + page->value_count, indexes) < 0)
        return fm_fail(why, FM_EMALFORMED, "%zu bytes do not hold %u indexes", page->values.len,
                       page->value_total);
    for (uint32_t i = 0; i < page->value_count; i++)
        index_max = FM_MAX(index_max, indexes[i]);
    if (index_max >= guide->survey.dictionary.entry_count)
        return fm_fail(why, FM_ECORRUPT, "an index is not below the dictionary's %u entries",
                       guide->survey.dictionary.entry_count);
    return guide_resolve(guide, scratch, page, arena, target, why);
}

/* ---- values of the row ---- */

/* Plain numbers and booleans, straight from the row's place. */
static int guide_plain(const struct pq_guide *guide, const struct guide_page *page, void *target,
                       struct fm_why *why)
{
    size_t size = pq_value_size(guide->leaf->type, PQ_PLAIN);
    bool bits = guide->leaf->type == PQ_BOOLEAN;
    size_t end = (size_t)page->value_at + page->value_count;
    if (page->values.len < (bits ? (end + 7) / 8 : end * size))
        return fm_fail(why, FM_EMALFORMED, "%zu bytes do not hold %zu values", page->values.len,
                       end);
    for (uint32_t i = 0; i < page->value_count; i++) {
        size_t at = (size_t)page->value_at + i;
        const uint8_t *ptr = page->values.ptr;
        if (bits)
            ((uint8_t *)target)[i] = ptr[at / 8] >> at % 8 & 1;
        else if (size == 4)
            ((int32_t *)target)[i] = (int32_t)fm_load_le32(ptr + at * size);
        else
            ((int64_t *)target)[i] = (int64_t)fm_load_le64(ptr + at * size);
    }
    return FM_OK;
}

static int guide_values(const struct pq_guide *guide, struct pq_scratch *scratch,
                        const struct guide_page *page, struct fm_arena *arena, void *target,
                        struct fm_why *why)
{
    uint8_t type = guide->leaf->type, encoding = page->header.encoding;
    bool dictionary = encoding == PQ_RLE_DICTIONARY || encoding == PQ_PLAIN_DICTIONARY;
    if (encoding == PQ_PLAIN && type != PQ_BYTE_ARRAY)
        return guide_plain(guide, page, target, why);
    if (dictionary && !guide->survey.has_dictionary)
        return fm_fail(why, FM_EMALFORMED, "dictionary indexes without a dictionary");
    size_t size = pq_value_size(type, encoding);
    if (dictionary)
        return guide_indexes(guide, scratch, page, arena, target, why);
    int rc = scratch_reserve(&scratch->values, &scratch->value_cap,
                             FM_MAX((uint64_t)page->value_total * size, 1u), guide, why);
    if (rc == FM_OK)
        rc = pq_values_decode(type, encoding, page->values, page->value_total, 0, scratch->values,
                              why);
    if (rc < 0)
        return rc;
    memcpy(target, (const uint8_t *)scratch->values + page->value_at * size,
           page->value_count * size);
    struct fm_slice *slices = target;
    for (uint32_t i = 0; type == PQ_BYTE_ARRAY && i < page->value_count; i++)
        slices[i] = fm_slice_dup(arena, slices[i]);
    return FM_OK;
}

/* The place of the page with row, and where page and rows end. */
static const struct pq_place *guide_place(const struct pq_guide *guide, uint64_t row,
                                          uint64_t *ret_end, uint64_t *ret_row_end)
{
    const struct pq_survey *survey = &guide->survey;
    uint32_t low = 0, high = survey->place_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (survey->places[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    bool last = low + 1 == survey->place_count;
    *ret_end = last ? guide->chunk->start + guide->chunk->bytes : survey->places[low + 1].offset;
    *ret_row_end = last ? guide->row_count : survey->places[low + 1].first_row;
    return &survey->places[low];
}

/* Reads the row's page and finds the row in it. */
static int guide_page(const struct pq_guide *guide, uint64_t row, struct pq_scratch *scratch,
                      struct guide_page *page, struct fm_why *why)
{
    const struct pq_leaf *leaf = guide->leaf;
    const struct pq_page_header *header = &page->header;
    uint64_t end, row_end;
    struct fm_slice stored;
    const struct pq_place *place = guide_place(guide, row, &end, &row_end);
    int rc =
        guide_read(guide, place->offset, end - place->offset, scratch, &page->header, &stored, why);
    if (rc < 0)
        return rc;
    if (header->type != PQ_PAGE_DATA && header->type != PQ_PAGE_DATA_V2)
        return fm_fail(why, FM_EMALFORMED, "not a data page (type %u)", header->type);
    if (header->entry_count == 0 || header->entry_count > guide->chunk->entry_count)
        return fm_fail(why, FM_EMALFORMED, "a page of %u values where %llu are left",
                       header->entry_count, (unsigned long long)guide->chunk->entry_count);
    if (pq_value_size(leaf->type, header->encoding) == 0)
        return fm_fail(why, FM_EUNSUPPORTED, "encoding %u of type %u is not supported",
                       header->encoding, leaf->type);
    rc = guide_body(guide, scratch, stored, page, why);
    if (rc < 0)
        return rc;
    if ((leaf->rep_max != 0) != (page->rep.len != 0) ||
        (leaf->def_max != 0) != (page->def.len != 0))
        return fm_fail(why, FM_EMALFORMED, "repetition or definition levels missing or unexpected");
    return guide_rep(guide, scratch, place, row_end, row, page, why);
}

int pq_guide_row(const struct pq_guide *guide, uint64_t row, struct pq_scratch *scratch,
                 struct fm_arena *arena, struct pq_page *ret_page, struct fm_why *why)
{
    const struct pq_leaf *leaf = guide->leaf;
    struct guide_page page = {0};
    if (row >= guide->row_count || guide->survey.place_count == 0)
        return fm_fail(why, FM_EUSAGE, "column %s has no row %llu", leaf->path,
                       (unsigned long long)row);
    if (guide->survey.has_dictionary && guide->survey.dictionary.entry_count == 0)
        return FM_NONE;
    int rc = guide_page(guide, row, scratch, &page, why);
    if (rc < 0)
        return fm_wrap(why, rc, "column %s, row %llu", leaf->path, (unsigned long long)row);
    uint32_t count = page.end - page.begin;
    size_t size = pq_value_size(leaf->type, PQ_PLAIN);
    if ((uint64_t)count * (2 + size) > (uint64_t)guide->file->limits.page_bytes_max * 4)
        return fm_fail(why, FM_ELIMIT, "column %s: a row that unpacks to %u entries", leaf->path,
                       count);
    uint32_t rep_max_count;
    uint8_t *rep = leaf->rep_max ? fm_arena_alloc(arena, count) : NULL;
    uint8_t *def = leaf->def_max ? fm_arena_alloc(arena, count) : NULL;
    if (rep && !fm_arena_failed(arena))
        rc = guide_levels(&page, page.rep, leaf->rep_max, rep, &rep_max_count);
    if (rc < 0)
        rc = fm_fail(why, rc, "the repetition levels are malformed");
    if (rc == FM_OK && !fm_arena_failed(arena))
        rc = guide_def(guide, &page, def, why);
    void *values = rc == FM_OK ? fm_arena_alloc(arena, page.value_count * size) : NULL;
    if (values && page.value_count)
        rc = guide_values(guide, scratch, &page, arena, values, why);
    if (rc == FM_OK && fm_arena_failed(arena))
        rc = fm_fail(why, FM_ENOMEM, "out of memory");
    if (rc < 0)
        return fm_wrap(why, rc, "column %s, row %llu", leaf->path, (unsigned long long)row);
    *ret_page = (struct pq_page){
        .rep = rep,
        .def = def,
        .entry_count = count,
        .value_count = page.value_count,
        .row_count = 1,
        .first_row = row,
        .i64 = values, /* one pointer, five names */
    };
    return FM_OK;
}

/* ---- life ---- */

int pq_guide_new(struct pq_guide **ret_guide, const struct pq_file *file, size_t row_group,
                 size_t leaf, size_t dictionary_max, struct pq_scratch *scratch, struct fm_why *why)
{
    FM_AUTO(pq_column) column = NULL;
    FM_AUTO(pq_guide) guide = NULL;
    int rc = pq_column_open(&column, file, row_group, leaf, why);
    if (rc < 0)
        return rc;
    guide = calloc(1, sizeof *guide);
    if (!guide)
        return fm_fail(why, FM_ENOMEM, "out of memory");
    guide->file = file;
    guide->chunk = &file->groups[row_group].chunks[leaf];
    guide->leaf = &file->leaves[leaf];
    guide->row_count = file->groups[row_group].row_count;
    fm_buf_init(&guide->dictionary.body, file->limits.page_bytes_max);
    rc = pq_column_survey(column, &guide->survey, why);
    const struct pq_page_header *header = &guide->survey.dictionary;
    if (rc == FM_OK && guide->survey.has_dictionary && header->entry_count &&
        header->plain_bytes <= dictionary_max) {
        rc = guide_dictionary_load(guide, scratch, &guide->dictionary, why);
        if (rc < 0)
            return fm_wrap(why, rc, "column %s, dictionary", guide->leaf->path);
    }
    if (rc < 0)
        return rc;
    if (pq_bit_width(FM_MAX(guide->leaf->rep_max, guide->leaf->def_max)) > PQ_SEEK_WIDTH_MAX)
        return fm_fail(why, FM_EUNSUPPORTED, "column %s: levels up to %u and %u", guide->leaf->path,
                       guide->leaf->rep_max, guide->leaf->def_max);
    *ret_guide = fm_take(guide);
    return FM_OK;
}

struct pq_guide *pq_guide_free(struct pq_guide *guide)
{
    if (!guide)
        return NULL;
    guide_dictionary_fini(&guide->dictionary);
    free(guide->survey.places);
    free(guide);
    return NULL;
}

size_t pq_guide_memory(const struct pq_guide *guide)
{
    size_t offsets = guide->dictionary.offsets ? guide->dictionary.count / GUIDE_STRIDE + 1 : 0;
    return sizeof *guide + guide->dictionary.body.cap + offsets * sizeof(uint32_t) +
           (guide->dictionary.prints ? guide->dictionary.count : 0) +
           guide->survey.place_count * sizeof *guide->survey.places;
}
