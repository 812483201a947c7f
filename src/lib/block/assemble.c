/* SPDX-License-Identifier: Apache-2.0 */
/* One row of columns back to OTLP ResourceSpans.
 *
 * The cursors run in step: a leaf of a span has one entry per span, a leaf of its attributes one or
 * more.  An element's first entry carries the repetition level of its parent; entries with a
 * smaller definition level stand for an empty list.  Whatever is out of step is refused. */
#include "reader.h"
#include "value.h"

#include "fermata/pb.h"

enum { LEVEL_RESOURCE = 1, LEVEL_SCOPE = 2, LEVEL_SPAN = 3, LEVEL_PIECE = 4 };

/* OTLP field numbers. */
enum { PUT_RESOURCE_SPANS = 1 };

#define ASSEMBLE_TRY(expression)                                                                   \
    do {                                                                                           \
        int try_rc = (expression);                                                                 \
        if (try_rc < 0)                                                                            \
            return try_rc;                                                                         \
    } while (0)

static bool assemble_loaded(const struct reader *reader, unsigned leaf)
{
    return reader->cursors[leaf].loaded;
}

/* Loads the leaf if the file has it; absence is fine. */
static int assemble_load(struct reader *reader, unsigned leaf)
{
    int rc = reader_load(reader, leaf);
    return rc == FM_NONE ? FM_OK : rc;
}

/* The next entry of a loaded leaf, which must have this repetition level.  Called for every leaf of
 * every element: in one piece. */
static inline int assemble_take(struct reader *reader, unsigned leaf, unsigned rep,
                                struct entry *ret_entry)
{
    struct cursor *cursor = &reader->cursors[leaf];
    if (!cursor->loaded) {
        *ret_entry = (struct entry){0};
        return FM_OK;
    }
    uint32_t at = cursor->at;
    if (at >= cursor->end || (cursor->page.rep ? cursor->page.rep[at] : 0) != rep)
        return reader_fail(reader, leaf, "is out of step with its siblings");
    unsigned def = cursor->page.def ? cursor->page.def[at] : 0;
    bool is_set =
        def == reader->block->leaves[leaf].def_max && cursor->value_at < cursor->page.value_count;
    *ret_entry = (struct entry){
        .rep = (uint8_t)rep, .def = (uint8_t)def, .set = is_set, .value = cursor->value_at};
    cursor->value_at += is_set;
    cursor->at = at + 1;
    return FM_OK;
}

static struct fm_slice assemble_bytes(const struct reader *reader, unsigned leaf,
                                      const struct entry *entry)
{
    return entry->set ? cursor_bytes(&reader->cursors[leaf], entry->value) : FM_SLICE("");
}

static int64_t assemble_i64(const struct reader *reader, unsigned leaf, const struct entry *entry)
{
    const struct pq_page *page = &reader->cursors[leaf].page;
    if (!entry->set)
        return 0;
    return reader->block->leaves[leaf].type == PQ_INT32 ? page->i32[entry->value]
                                                        : page->i64[entry->value];
}

/* ---- attributes ---- */

/* How many elements of the row have a first entry with a value. */
static uint64_t assemble_count_first(const struct reader *reader, unsigned leaf, unsigned level,
                                     unsigned def)
{
    const struct cursor *cursor = &reader->cursors[leaf];
    uint64_t count = 0;
    if (!cursor->loaded)
        return 0;
    for (uint32_t i = cursor->at; i < cursor->end; i++)
        count += cursor->page.rep[i] <= level && cursor->page.def[i] >= def;
    return count;
}

/* Likewise, of attributes whose keys are wanted; all leaves have them in the same order. */
static uint64_t assemble_count_wanted(const struct reader *reader, unsigned first, unsigned which,
                                      unsigned level, unsigned def)
{
    const struct cursor *keys = &reader->cursors[first + ATTRIBUTE_KEY];
    const struct cursor *cursor = &reader->cursors[first + which];
    uint64_t count = 0;
    uint32_t at = cursor->at, value = keys->value_at;
    if (!reader->wants || !cursor->loaded)
        return assemble_count_first(reader, first + which, level, def);
    for (uint32_t i = keys->at; i < keys->end; i++, at++) {
        while (at < cursor->end && cursor->page.rep[at] > level)
            at++;
        if (keys->page.def[i] < level || at >= cursor->end)
            continue;
        count += cursor->page.def[at] >= def &&
                 reader->wants(reader->wants_self, cursor_bytes(keys, value));
        value++;
    }
    return count;
}

/* Loads the leaves of an attribute list, only as far as the row's attributes need them. */
static int assemble_load_attributes(struct reader *reader, unsigned first, unsigned level)
{
    ASSEMBLE_TRY(assemble_load(reader, first + ATTRIBUTE_KEY));
    uint64_t missing = assemble_count_wanted(reader, first, ATTRIBUTE_KEY, level, level);
    if (!missing)
        return FM_OK;
    ASSEMBLE_TRY(assemble_load(reader, first + ATTRIBUTE_IS_ARRAY));
    for (unsigned i = ATTRIBUTE_STRING; i <= ATTRIBUTE_UNSUPPORTED && missing; i++) {
        ASSEMBLE_TRY(assemble_load(reader, first + i));
        uint64_t found = assemble_count_wanted(reader, first, i, level, level + 1);
        missing -= FM_MIN(found, missing);
    }
    return FM_OK;
}

static void assemble_put_scalar(const struct reader *reader, unsigned first, unsigned which,
                                uint32_t value, struct fm_buf *otlp)
{
    const struct cursor *cursor = &reader->cursors[first + which];
    switch (which) {
    case ATTRIBUTE_STRING:
        pb_put_bytes(otlp, VALUE_STRING, cursor_bytes(cursor, value));
        break;
    case ATTRIBUTE_INT:
        pb_put_u64(otlp, VALUE_INT, (uint64_t)cursor->page.i64[value]);
        break;
    case ATTRIBUTE_DOUBLE: {
        uint64_t bits;
        memcpy(&bits, &cursor->page.f64[value], sizeof bits);
        pb_put_fixed64(otlp, VALUE_DOUBLE, bits);
        break;
    }
    default:
        pb_put_u64(otlp, VALUE_BOOL, cursor->page.boolean[value] != 0);
        break;
    }
}

/* The entries of one list of values of the attribute that begins with repetition level rep. */
static int assemble_values(struct reader *reader, unsigned first, unsigned which, unsigned rep,
                           unsigned level, bool is_array, struct fm_buf *otlp, bool *ret_some)
{
    struct cursor *cursor = &reader->cursors[first + which];
    struct entry entry = {0};
    ASSEMBLE_TRY(assemble_take(reader, first + which, rep, &entry));
    if (!entry.set)
        return FM_OK;
    bool wanted = !*ret_some;
    *ret_some = true;
    size_t mark = 0;
    if (wanted && is_array)
        mark = pb_begin(otlp, VALUE_ARRAY);
    for (uint64_t count = 0;; count++) {
        if (wanted && is_array) {
            size_t element = pb_begin(otlp, 1);
            assemble_put_scalar(reader, first, which, entry.value, otlp);
            pb_end(otlp, element);
        } else if (wanted && count == 0) {
            assemble_put_scalar(reader, first, which, entry.value, otlp);
        }
        if (!cursor_has_entry(cursor) || cursor_peek_rep(cursor) <= level)
            break;
        ASSEMBLE_TRY(assemble_take(reader, first + which, level + 1, &entry));
        if (!entry.set)
            return reader_fail(reader, first + which, "a list holds an entry without a value");
    }
    if (wanted && is_array)
        pb_end(otlp, mark);
    return FM_OK;
}

static uint8_t *assemble_store(uint8_t *target, uint32_t number, size_t len)
{
    *target++ = (uint8_t)(number << 3 | PB_BYTES);
    for (; len >= 0x80; len >>= 7)
        *target++ = (uint8_t)(len | 0x80);
    *target++ = (uint8_t)len;
    return target;
}

static inline size_t assemble_size(size_t len) /* of a field of so many bytes, but the content */
{
    return 1 + (FM_LIKELY(len < 0x80) ? 1 : pb_varint_size(len));
}

/* KeyValue of a text, which most attributes are: its sizes are known before. */
static void assemble_put_text(struct fm_buf *otlp, uint32_t number, struct fm_slice key,
                              struct fm_slice text)
{
    size_t value_len = assemble_size(text.len) + text.len;
    size_t pair_len = assemble_size(key.len) + key.len + assemble_size(value_len) + value_len;
    size_t all_len = assemble_size(pair_len) + pair_len;
    uint8_t *target = fm_buf_room(otlp, all_len);
    if (!target)
        return;
    target = assemble_store(target, number, pair_len);
    target = assemble_store(target, 1, key.len);
    if (key.len)
        memcpy(target, key.ptr, key.len);
    target = assemble_store(target + key.len, 2, value_len);
    target = assemble_store(target, VALUE_STRING, text.len);
    if (text.len)
        memcpy(target, text.ptr, text.len);
    otlp->len += all_len;
}

/* The next entry of the leaf has a value. */
static inline bool assemble_peek_set(const struct reader *reader, unsigned leaf)
{
    const struct cursor *cursor = &reader->cursors[leaf];
    return cursor->loaded && cursor->at < cursor->end && cursor->page.def &&
           cursor->page.def[cursor->at] == reader->block->leaves[leaf].def_max;
}

/* Whether the attribute is one text and nothing else. */
static bool assemble_is_text(const struct reader *reader, unsigned first, unsigned level)
{
    const struct cursor *texts = &reader->cursors[first + ATTRIBUTE_STRING];
    const struct cursor *arrays = &reader->cursors[first + ATTRIBUTE_IS_ARRAY];
    if (!assemble_peek_set(reader, first + ATTRIBUTE_STRING) ||
        texts->value_at >= texts->page.value_count ||
        (texts->page.rep && texts->at + 1 < texts->end && texts->page.rep[texts->at + 1] > level))
        return false;
    for (unsigned i = ATTRIBUTE_INT; i <= ATTRIBUTE_BOOL; i++) {
        if (assemble_peek_set(reader, first + i))
            return false;
    }
    return !assemble_peek_set(reader, first + ATTRIBUTE_IS_ARRAY) ||
           (arrays->value_at < arrays->page.value_count && !arrays->page.boolean[arrays->value_at]);
}

static int assemble_text_attribute(struct reader *reader, unsigned first, const struct entry *key,
                                   struct fm_buf *otlp, uint32_t number)
{
    struct entry text = {0}, entry;
    ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_IS_ARRAY, key->rep, &entry));
    ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_STRING, key->rep, &text));
    for (unsigned i = ATTRIBUTE_INT; i <= ATTRIBUTE_UNSUPPORTED; i++)
        ASSEMBLE_TRY(assemble_take(reader, first + i, key->rep, &entry));
    assemble_put_text(otlp, number, assemble_bytes(reader, first + ATTRIBUTE_KEY, key),
                      assemble_bytes(reader, first + ATTRIBUTE_STRING, &text));
    return FM_OK;
}

/* One attribute as KeyValue in field number of otlp. */
static int assemble_attribute(struct reader *reader, unsigned first, unsigned level,
                              const struct entry *key, struct fm_buf *otlp, uint32_t number)
{
    struct entry entry = {0};
    if (assemble_is_text(reader, first, level))
        return assemble_text_attribute(reader, first, key, otlp, number);
    size_t pair = pb_begin(otlp, number);
    pb_put_bytes(otlp, 1, assemble_bytes(reader, first + ATTRIBUTE_KEY, key));
    size_t value = pb_begin(otlp, 2);
    ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_IS_ARRAY, key->rep, &entry));
    bool is_array =
        entry.set && reader->cursors[first + ATTRIBUTE_IS_ARRAY].page.boolean[entry.value];
    bool some = false;
    for (unsigned i = ATTRIBUTE_STRING; i <= ATTRIBUTE_BOOL; i++)
        ASSEMBLE_TRY(assemble_values(reader, first, i, key->rep, level, is_array, otlp, &some));
    ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_UNSUPPORTED, key->rep, &entry));
    if (!some && is_array) {
        pb_end(otlp, pb_begin(otlp, VALUE_ARRAY));
    } else if (!some && entry.set) {
        /* Text that is no value leaves the attribute empty, as in Tempo. */
        int rc =
            value_from_json(assemble_bytes(reader, first + ATTRIBUTE_UNSUPPORTED, &entry), otlp);
        if (rc == FM_ENOMEM)
            return rc;
    }
    pb_end(otlp, value);
    pb_end(otlp, pair);
    return FM_OK;
}

/* The attribute list of one parent, whose entries have repetition level rep. */
static int assemble_attributes(struct reader *reader, unsigned first, unsigned rep, unsigned level,
                               struct fm_buf *otlp, uint32_t number)
{
    struct cursor *keys = &reader->cursors[first + ATTRIBUTE_KEY];
    struct entry key = {0};
    if (!keys->loaded)
        return FM_OK;
    ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_KEY, rep, &key));
    if (!key.set) {
        for (unsigned i = ATTRIBUTE_IS_ARRAY; i < ATTRIBUTE_LEAVES; i++)
            ASSEMBLE_TRY(assemble_take(reader, first + i, rep, &key));
        return FM_OK;
    }
    for (;;) {
        ASSEMBLE_TRY(assemble_attribute(reader, first, level, &key, otlp, number));
        if (!cursor_has_entry(keys) || cursor_peek_rep(keys) < level)
            return FM_OK;
        ASSEMBLE_TRY(assemble_take(reader, first + ATTRIBUTE_KEY, level, &key));
        if (!key.set)
            return reader_fail(reader, first + ATTRIBUTE_KEY, "an attribute without a key");
    }
}

/* An attribute from a column of its own (static or dedicated; repeated in v5). */
static int assemble_column(struct reader *reader, unsigned leaf, unsigned rep, const char *name,
                           struct fm_buf *otlp, uint32_t number)
{
    struct cursor *cursor = &reader->cursors[leaf];
    const struct reader_leaf *known = &reader->block->leaves[leaf];
    struct entry entry = {0};
    if (!cursor->loaded)
        return FM_OK;
    ASSEMBLE_TRY(assemble_take(reader, leaf, rep, &entry));
    if (!entry.set)
        return FM_OK;
    /* Repeated in v5, where the list's own level is rep_max. */
    bool repeated = leaf >= LEAF_COUNT && reader->block->meta.version == BLOCK_V5;
    bool more = repeated && cursor_has_entry(cursor) && cursor_peek_rep(cursor) == known->rep_max;
    size_t pair = pb_begin(otlp, number);
    pb_put_text(otlp, 1, name);
    size_t value = pb_begin(otlp, 2);
    size_t array = more ? pb_begin(otlp, VALUE_ARRAY) : 0;
    for (;;) {
        size_t element = more ? pb_begin(otlp, 1) : 0;
        if (known->type == PQ_BYTE_ARRAY)
            pb_put_bytes(otlp, VALUE_STRING, cursor_bytes(cursor, entry.value));
        else
            pb_put_u64(otlp, VALUE_INT, (uint64_t)cursor->page.i64[entry.value]);
        if (more)
            pb_end(otlp, element);
        if (!repeated || !cursor_has_entry(cursor) || cursor_peek_rep(cursor) != known->rep_max)
            break;
        ASSEMBLE_TRY(assemble_take(reader, leaf, known->rep_max, &entry));
        if (!entry.set)
            return reader_fail(reader, leaf, "a list holds an entry without a value");
    }
    if (more)
        pb_end(otlp, array);
    pb_end(otlp, value);
    pb_end(otlp, pair);
    return FM_OK;
}

/* The dedicated columns of a scope: 0 span, 1 resource, 2 event. */
static int assemble_dedicated(struct reader *reader, unsigned scope, unsigned rep,
                              struct fm_buf *otlp, uint32_t number)
{
    const struct block *block = reader->block;
    for (uint32_t i = 0; i < block->dedicated_count; i++)
        if (block->dedicated[i].column->scope == scope)
            ASSEMBLE_TRY(assemble_column(reader, block->dedicated[i].leaf, rep,
                                         block->dedicated[i].column->name, otlp, number));
    return FM_OK;
}

static int assemble_dropped(struct reader *reader, unsigned leaf, unsigned rep, struct fm_buf *otlp,
                            uint32_t number)
{
    struct entry entry = {0};
    ASSEMBLE_TRY(assemble_take(reader, leaf, rep, &entry));
    uint32_t dropped = (uint32_t)assemble_i64(reader, leaf, &entry);
    if (dropped)
        pb_put_u64(otlp, number, dropped);
    return FM_OK;
}

static int assemble_text(struct reader *reader, unsigned leaf, unsigned rep, struct fm_buf *otlp,
                         uint32_t number)
{
    struct entry entry = {0};
    ASSEMBLE_TRY(assemble_take(reader, leaf, rep, &entry));
    struct fm_slice text = assemble_bytes(reader, leaf, &entry);
    if (text.len)
        pb_put_bytes(otlp, number, text);
    return FM_OK;
}

/* ---- the parts of a row ---- */

static int assemble_resource(struct reader *reader, unsigned rep, struct fm_buf *otlp)
{
    struct entry entry = {0};
    size_t mark = pb_begin(otlp, 1);
    ASSEMBLE_TRY(
        assemble_attributes(reader, LEAF_RESOURCE_ATTRIBUTES, rep, LEVEL_RESOURCE + 1, otlp, 1));
    ASSEMBLE_TRY(assemble_dedicated(reader, 1, rep, otlp, 1));
    ASSEMBLE_TRY(assemble_take(reader, LEAF_RESOURCE_SERVICE, rep, &entry));
    struct fm_slice service = assemble_bytes(reader, LEAF_RESOURCE_SERVICE, &entry);
    if (service.len) {
        size_t pair = pb_begin(otlp, 1);
        pb_put_text(otlp, 1, KNOWN_SERVICE_NAME);
        size_t value = pb_begin(otlp, 2);
        pb_put_bytes(otlp, VALUE_STRING, service);
        pb_end(otlp, value);
        pb_end(otlp, pair);
    }
    for (unsigned i = 0; i < SCHEMA_RESOURCE_STATICS; i++)
        ASSEMBLE_TRY(assemble_column(reader, LEAF_RESOURCE_STATIC + i, rep,
                                     schema_resource_static_names[i], otlp, 1));
    ASSEMBLE_TRY(assemble_dropped(reader, LEAF_RESOURCE_DROPPED, rep, otlp, 2));
    pb_end(otlp, mark);
    return FM_OK;
}

static int assemble_scope(struct reader *reader, unsigned rep, struct fm_buf *otlp)
{
    size_t mark = pb_begin(otlp, 1);
    ASSEMBLE_TRY(assemble_text(reader, LEAF_SCOPE_NAME, rep, otlp, 1));
    ASSEMBLE_TRY(assemble_text(reader, LEAF_SCOPE_VERSION, rep, otlp, 2));
    ASSEMBLE_TRY(assemble_attributes(reader, LEAF_SCOPE_ATTRIBUTES, rep, LEVEL_SCOPE + 1, otlp, 3));
    ASSEMBLE_TRY(assemble_dropped(reader, LEAF_SCOPE_DROPPED, rep, otlp, 4));
    pb_end(otlp, mark);
    return FM_OK;
}

static int assemble_events(struct reader *reader, unsigned rep, uint64_t start_ns,
                           struct fm_buf *otlp)
{
    struct cursor *times = &reader->cursors[LEAF_EVENT_TIME];
    struct entry entry = {0};
    while (times->loaded) {
        ASSEMBLE_TRY(assemble_take(reader, LEAF_EVENT_TIME, rep, &entry));
        size_t mark = entry.set ? pb_begin(otlp, 11) : 0;
        if (entry.set)
            pb_put_fixed64(otlp, 1,
                           start_ns + (uint64_t)assemble_i64(reader, LEAF_EVENT_TIME, &entry));
        ASSEMBLE_TRY(assemble_text(reader, LEAF_EVENT_NAME, rep, otlp, 2));
        ASSEMBLE_TRY(
            assemble_attributes(reader, LEAF_EVENT_ATTRIBUTES, rep, LEVEL_PIECE + 1, otlp, 3));
        ASSEMBLE_TRY(assemble_dedicated(reader, 2, rep, otlp, 3));
        ASSEMBLE_TRY(assemble_dropped(reader, LEAF_EVENT_DROPPED, rep, otlp, 4));
        if (entry.set)
            pb_end(otlp, mark);
        if (!entry.set || !cursor_has_entry(times) || cursor_peek_rep(times) != LEVEL_PIECE)
            break;
        rep = LEVEL_PIECE;
    }
    return FM_OK;
}

static int assemble_links(struct reader *reader, unsigned rep, struct fm_buf *otlp)
{
    struct cursor *traces = &reader->cursors[LEAF_LINK_TRACE];
    struct entry entry = {0};
    while (traces->loaded) {
        ASSEMBLE_TRY(assemble_take(reader, LEAF_LINK_TRACE, rep, &entry));
        size_t mark = entry.set ? pb_begin(otlp, 13) : 0;
        if (entry.set)
            pb_put_bytes(otlp, 1, assemble_bytes(reader, LEAF_LINK_TRACE, &entry));
        ASSEMBLE_TRY(assemble_text(reader, LEAF_LINK_SPAN, rep, otlp, 2));
        ASSEMBLE_TRY(assemble_text(reader, LEAF_LINK_STATE, rep, otlp, 3));
        ASSEMBLE_TRY(
            assemble_attributes(reader, LEAF_LINK_ATTRIBUTES, rep, LEVEL_PIECE + 1, otlp, 4));
        ASSEMBLE_TRY(assemble_dropped(reader, LEAF_LINK_DROPPED, rep, otlp, 5));
        if (entry.set)
            pb_end(otlp, mark);
        if (!entry.set || !cursor_has_entry(traces) || cursor_peek_rep(traces) != LEVEL_PIECE)
            break;
        rep = LEVEL_PIECE;
    }
    return FM_OK;
}

static int assemble_status(struct reader *reader, unsigned rep, struct fm_buf *otlp)
{
    struct entry code = {0}, message = {0};
    ASSEMBLE_TRY(assemble_take(reader, LEAF_SPAN_STATUS, rep, &code));
    ASSEMBLE_TRY(assemble_take(reader, LEAF_SPAN_MESSAGE, rep, &message));
    int64_t number = assemble_i64(reader, LEAF_SPAN_STATUS, &code);
    struct fm_slice text = assemble_bytes(reader, LEAF_SPAN_MESSAGE, &message);
    if (!number && !text.len)
        return FM_OK;
    size_t mark = pb_begin(otlp, 15);
    if (text.len)
        pb_put_bytes(otlp, 2, text);
    if (number)
        pb_put_u64(otlp, 3, (uint64_t)number);
    pb_end(otlp, mark);
    return FM_OK;
}

static int assemble_span(struct reader *reader, struct fm_slice trace_id, const struct entry *id,
                         struct fm_buf *otlp)
{
    unsigned rep = id->rep;
    struct entry kind = {0}, start = {0}, duration = {0};
    size_t mark = pb_begin(otlp, 2);
    pb_put_bytes(otlp, 1, trace_id);
    pb_put_bytes(otlp, 2, assemble_bytes(reader, LEAF_SPAN_ID, id));
    ASSEMBLE_TRY(assemble_text(reader, LEAF_SPAN_STATE, rep, otlp, 3));
    ASSEMBLE_TRY(assemble_text(reader, LEAF_SPAN_PARENT, rep, otlp, 4));
    ASSEMBLE_TRY(assemble_text(reader, LEAF_SPAN_NAME, rep, otlp, 5));
    ASSEMBLE_TRY(assemble_take(reader, LEAF_SPAN_KIND, rep, &kind));
    ASSEMBLE_TRY(assemble_take(reader, LEAF_SPAN_START, rep, &start));
    ASSEMBLE_TRY(assemble_take(reader, LEAF_SPAN_DURATION, rep, &duration));
    int64_t kind_number = assemble_i64(reader, LEAF_SPAN_KIND, &kind);
    uint64_t start_ns = (uint64_t)assemble_i64(reader, LEAF_SPAN_START, &start);
    uint64_t duration_ns = (uint64_t)assemble_i64(reader, LEAF_SPAN_DURATION, &duration);
    if (kind_number)
        pb_put_u64(otlp, 6, (uint64_t)kind_number);
    pb_put_fixed64(otlp, 7, start_ns);
    pb_put_fixed64(otlp, 8, start_ns + duration_ns);
    ASSEMBLE_TRY(assemble_attributes(reader, LEAF_SPAN_ATTRIBUTES, rep, LEVEL_SPAN + 1, otlp, 9));
    ASSEMBLE_TRY(assemble_dedicated(reader, 0, rep, otlp, 9));
    for (unsigned i = 0; i < SCHEMA_SPAN_STATICS; i++)
        ASSEMBLE_TRY(assemble_column(reader, LEAF_SPAN_STATIC + i, rep, schema_span_static_names[i],
                                     otlp, 9));
    ASSEMBLE_TRY(assemble_dropped(reader, LEAF_SPAN_DROPPED, rep, otlp, 10));
    ASSEMBLE_TRY(assemble_events(reader, rep, start_ns, otlp));
    ASSEMBLE_TRY(assemble_dropped(reader, LEAF_SPAN_EVENTS_DROPPED, rep, otlp, 12));
    ASSEMBLE_TRY(assemble_links(reader, rep, otlp));
    ASSEMBLE_TRY(assemble_dropped(reader, LEAF_SPAN_LINKS_DROPPED, rep, otlp, 14));
    ASSEMBLE_TRY(assemble_status(reader, rep, otlp));
    pb_end(otlp, mark);
    return FM_OK;
}

/* ---- a whole row ---- */

static int assemble_load_range(struct reader *reader, unsigned first, unsigned last)
{
    for (unsigned leaf = first; leaf <= last; leaf++)
        ASSEMBLE_TRY(assemble_load(reader, leaf));
    return FM_OK;
}

static int assemble_load_pieces(struct reader *reader, unsigned first, unsigned attributes,
                                unsigned dropped, unsigned scope)
{
    const struct block *block = reader->block;
    ASSEMBLE_TRY(assemble_load(reader, first));
    if (!assemble_count_first(reader, first, LEVEL_PIECE, LEVEL_PIECE)) {
        reader->cursors[first].loaded = false; /* no span of the row has any */
        return FM_OK;
    }
    ASSEMBLE_TRY(assemble_load_range(reader, first + 1, attributes - 1));
    ASSEMBLE_TRY(assemble_load_attributes(reader, attributes, LEVEL_PIECE + 1));
    ASSEMBLE_TRY(assemble_load(reader, dropped));
    for (uint32_t i = 0; i < block->dedicated_count; i++)
        if (block->dedicated[i].column->scope == scope)
            ASSEMBLE_TRY(assemble_load(reader, block->dedicated[i].leaf));
    return FM_OK;
}

static int assemble_load_dedicated(struct reader *reader, unsigned scope)
{
    const struct block *block = reader->block;
    for (uint32_t i = 0; i < block->dedicated_count; i++)
        if (block->dedicated[i].column->scope == scope)
            ASSEMBLE_TRY(assemble_load(reader, block->dedicated[i].leaf));
    return FM_OK;
}

static int assemble_load_resource(struct reader *reader)
{
    if (!(reader->parts & BLOCK_TRACES_RESOURCE_ATTRIBUTES))
        return assemble_load(reader, LEAF_RESOURCE_SERVICE);
    ASSEMBLE_TRY(assemble_load_attributes(reader, LEAF_RESOURCE_ATTRIBUTES, LEVEL_RESOURCE + 1));
    ASSEMBLE_TRY(assemble_load_range(reader, LEAF_RESOURCE_DROPPED, LEAF_RESOURCE_DEDICATED - 1));
    return assemble_load_dedicated(reader, 1);
}

static int assemble_load_scope(struct reader *reader)
{
    ASSEMBLE_TRY(assemble_load_range(reader, LEAF_SCOPE_NAME, LEAF_SCOPE_VERSION));
    if (!(reader->parts & BLOCK_TRACES_SCOPE_ATTRIBUTES))
        return FM_OK;
    ASSEMBLE_TRY(assemble_load_attributes(reader, LEAF_SCOPE_ATTRIBUTES, LEVEL_SCOPE + 1));
    return assemble_load(reader, LEAF_SCOPE_DROPPED);
}

static int assemble_load_span(struct reader *reader)
{
    ASSEMBLE_TRY(assemble_load_range(reader, LEAF_SPAN_ID, LEAF_SPAN_PARENT));
    ASSEMBLE_TRY(assemble_load_range(reader, LEAF_SPAN_NAME, LEAF_SPAN_MESSAGE));
    if (!(reader->parts & BLOCK_TRACES_SPAN_ATTRIBUTES))
        return FM_OK;
    ASSEMBLE_TRY(assemble_load_attributes(reader, LEAF_SPAN_ATTRIBUTES, LEVEL_SPAN + 1));
    ASSEMBLE_TRY(assemble_load(reader, LEAF_SPAN_DROPPED));
    ASSEMBLE_TRY(
        assemble_load_range(reader, LEAF_SPAN_STATIC, LEAF_SPAN_STATIC + SCHEMA_SPAN_STATICS - 1));
    return assemble_load_dedicated(reader, 0);
}

static int assemble_load_row(struct reader *reader)
{
    ASSEMBLE_TRY(assemble_load(reader, LEAF_TRACE_ID));
    ASSEMBLE_TRY(assemble_load_resource(reader));
    ASSEMBLE_TRY(assemble_load_scope(reader));
    ASSEMBLE_TRY(assemble_load_span(reader));
    if (reader->parts & BLOCK_TRACES_EVENTS) {
        ASSEMBLE_TRY(assemble_load_pieces(reader, LEAF_EVENT_TIME, LEAF_EVENT_ATTRIBUTES,
                                          LEAF_EVENT_DROPPED, 2));
        ASSEMBLE_TRY(assemble_load(reader, LEAF_SPAN_EVENTS_DROPPED));
    }
    if (reader->parts & BLOCK_TRACES_LINKS) {
        ASSEMBLE_TRY(assemble_load_pieces(reader, LEAF_LINK_TRACE, LEAF_LINK_ATTRIBUTES,
                                          LEAF_LINK_DROPPED, UINT8_MAX));
        ASSEMBLE_TRY(assemble_load(reader, LEAF_SPAN_LINKS_DROPPED));
    }
    if (!assemble_loaded(reader, LEAF_SPAN_ID))
        return reader_fail(reader, LEAF_SPAN_ID, "the row has no spans");
    return FM_OK;
}

int reader_put_trace(struct reader *reader, struct fm_buf *otlp)
{
    ASSEMBLE_TRY(assemble_load_row(reader));
    struct cursor *ids = &reader->cursors[LEAF_SPAN_ID];
    struct cursor *traces = &reader->cursors[LEAF_TRACE_ID];
    struct fm_slice trace_id = cursor_bytes(traces, traces->value_at);
    size_t resource_mark = 0, scope_mark = 0;
    bool first = true;
    while (cursor_has_entry(ids)) {
        struct entry id = cursor_take(ids, LEVEL_SPAN);
        if (!id.set)
            return reader_fail(reader, LEAF_SPAN_ID, "an empty list of spans");
        if (!first && id.rep <= LEVEL_SCOPE)
            pb_end(otlp, scope_mark);
        if (!first && id.rep <= LEVEL_RESOURCE)
            pb_end(otlp, resource_mark);
        if (id.rep <= LEVEL_RESOURCE) {
            resource_mark = pb_begin(otlp, PUT_RESOURCE_SPANS);
            ASSEMBLE_TRY(assemble_resource(reader, id.rep, otlp));
        }
        if (id.rep <= LEVEL_SCOPE) {
            scope_mark = pb_begin(otlp, 2);
            ASSEMBLE_TRY(assemble_scope(reader, id.rep, otlp));
        }
        ASSEMBLE_TRY(assemble_span(reader, trace_id, &id, otlp));
        first = false;
    }
    if (!first) {
        pb_end(otlp, scope_mark);
        pb_end(otlp, resource_mark);
    }
    return otlp->failed ? FM_ELIMIT : FM_OK;
}
