/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the dictionary of span texts, which, as it comes, is a sixteenth of a block.
 *
 * Texts of one key look alike, and in the order of their bytes each repeats much of the one before:
 * that compresses to three fifths of what the order of arrival does.  Keys with few texts go first,
 * so that what is used most has the smallest indexes.  Texts that are not listed (they came first
 * as something else, or in an array) follow behind these as they are met. The order is a matter of
 * size alone: it need not be complete, only always the same. */
#include "emit.h"

#include "fermata/bytes.h"

#include <stdlib.h>

#define DICTIONARY_FEW   24u /* texts that are sorted by insertion */
#define DICTIONARY_DEPTH 48u /* bytes that are looked at */

struct dictionary_key {
    uint32_t key, count, first;
};

static int dictionary_compare(const void *left, const void *right)
{
    const struct dictionary_key *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return a->first < b->first ? -1 : 1;
}

/* starts: by key, where its texts begin. */
static int dictionary_starts(const struct builder_texts *texts, uint32_t *starts)
{
    uint32_t key_count = 0, found = 0, start = 0;
    for (uint32_t i = 0; i < texts->count; i++)
        key_count += !starts[texts->items[i].key]++;
    struct dictionary_key *keys = malloc(key_count * sizeof *keys);
    if (!keys)
        return FM_ENOMEM;
    for (uint32_t i = 0; found < key_count; i++) {
        uint32_t key = texts->items[i].key;
        if (!starts[key])
            continue;
        keys[found++] = (struct dictionary_key){key, starts[key], i};
        starts[key] = 0;
    }
    qsort(keys, key_count, sizeof *keys, dictionary_compare);
    for (uint32_t i = 0; i < key_count; i++) {
        starts[keys[i].key] = start;
        start += keys[i].count;
    }
    free(keys);
    return FM_OK;
}

/* ---- texts of one key, in the order of their bytes ---- */

struct dictionary_item {
    uint64_t bytes; /* eight of the text, so that greater texts are greater numbers */
    uint32_t string;
};

static uint64_t dictionary_load(const struct intern_entry *entry, uint32_t depth)
{
    uint64_t bytes = 0;
    if (FM_LIKELY(entry->len >= depth + 8))
        return fm_load_be64(entry->ptr + depth);
    for (uint32_t at = depth; at < entry->len; at++)
        bytes |= (uint64_t)entry->ptr[at] << (56 - 8 * (at - depth));
    return bytes;
}

static void dictionary_insert(struct dictionary_item *items, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct dictionary_item item = items[i];
        uint32_t at = i;
        for (; at && items[at - 1].bytes > item.bytes; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* By bytes, and otherwise as they are.  varying: the bits in which they differ. */
static void dictionary_radix(struct dictionary_item *items, struct dictionary_item *scratch,
                             uint32_t count, uint64_t varying)
{
    if (count < DICTIONARY_FEW) {
        dictionary_insert(items, count);
        return;
    }
    struct dictionary_item *from = items, *to = scratch;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint32_t starts[257] = {0};
        if (!(varying >> shift & 255))
            continue;
        for (uint32_t i = 0; i < count; i++)
            starts[(from[i].bytes >> shift & 255) + 1]++;
        for (unsigned i = 0; i < 255; i++)
            starts[i + 1] += starts[i];
        for (uint32_t i = 0; i < count; i++)
            to[starts[from[i].bytes >> shift & 255]++] = from[i];
        struct dictionary_item *other = from;
        from = to;
        to = other;
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}

/* All texts have the same first depth bytes.  Depth is bounded, and the calls within one another
 * with it. */
static void dictionary_sort(const struct intern *strings, struct dictionary_item *items,
                            struct dictionary_item *scratch, uint32_t count, uint32_t depth)
{
    uint64_t varying = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i + EMIT_PREFETCH < count)
            __builtin_prefetch(strings->entries[items[i + EMIT_PREFETCH].string].ptr + depth);
        items[i].bytes = dictionary_load(&strings->entries[items[i].string], depth);
        varying |= items[i].bytes ^ items[0].bytes;
    }
    if (varying)
        dictionary_radix(items, scratch, count, varying);
    if (depth + 8 >= DICTIONARY_DEPTH)
        return;
    for (uint32_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && items[to].bytes == items[from].bytes;)
            to++;
        if (to - from > 1 && items[from].bytes & 255)
            dictionary_sort(strings, items + from, scratch, to - from, depth + 8);
    }
}

/* By key, and within a key by bytes.  items: twice as many as texts. */
static void dictionary_order(const struct block_builder *builder, uint32_t *starts,
                             struct dictionary_item *items)
{
    const struct builder_texts *texts = &builder->texts;
    uint32_t count = texts->count;
    for (uint32_t i = 0; i < count; i++) {
        const struct builder_text *text = &texts->items[i];
        items[starts[text->key]++] = (struct dictionary_item){text->key, text->string};
    }
    for (uint32_t from = 0, to; from < count; from = to) {
        to = starts[items[from].bytes]; /* by now the end of the key's texts */
        dictionary_sort(&builder->strings, items + from, items + count, to - from, 0);
    }
}

int emit_dictionary_arrange(struct emit *emit, struct emit_column *column)
{
    const struct block_builder *builder = emit->builder;
    uint32_t count = builder->texts.count;
    if (!count)
        return FM_OK;
    column->map = calloc(builder->strings.count, sizeof *column->map);
    column->added = malloc(count * sizeof *column->added);
    uint32_t *starts = calloc(builder->strings.count, sizeof *starts);
    struct dictionary_item *items = malloc(2 * (size_t)count * sizeof *items);
    int rc = column->map && column->added && starts && items ? FM_OK : FM_ENOMEM;
    if (rc == FM_OK)
        rc = dictionary_starts(&builder->texts, starts);
    if (rc == FM_OK) {
        dictionary_order(builder, starts, items);
        for (uint32_t i = 0; i < count; i++) {
            column->added[i] = items[i].string;
            column->map[items[i].string] = i + 1;
        }
        column->added_count = column->added_cap = column->dictionary_count = count;
        emit_dictionary_flush(emit, column);
    }
    free(starts);
    free(items);
    return rc;
}
