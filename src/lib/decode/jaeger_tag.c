/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: which of them mean something, which repeat, and how they become attributes. */
#include "jaeger_batch.h"
#include "otlp_walk.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"

/* Up to MASK_MAX tags a set of 64 bits says whether a key may have been there before; beyond that
 * a table.  Beyond REPEAT_MAX repeats stay: otlp_pb_check cuts such lists to 1,024 anyway. */
#define JAEGER_MASK_MAX     64
#define JAEGER_REPEAT_MAX   1024
#define JAEGER_REPEAT_SLOTS 4096 /* power of two */

/* Where a key stands in the table of those that mean something: a sum of its length and three of
 * its letters that no two of them share.  Few other keys share it with them. */
#define JAEGER_SLOTS 128u
#define JAEGER_SUM(len, first, middle, last)                                                       \
    (4u * (len) + 29u * (uint8_t)(first) + 7u * (uint8_t)(middle) + 19u * (uint8_t)(last))
#define JAEGER_KEYS(X)                                                                             \
    X(IP, "ip", 'i', 'p', 'p')                                                                     \
    X(ERROR, "error", 'e', 'r', 'r')                                                               \
    X(EVENT, "event", 'e', 'e', 't')                                                               \
    X(HOSTNAME, "hostname", 'h', 'n', 'e')                                                         \
    X(SPAN_KIND, "span.kind", 's', '.', 'd')                                                       \
    X(HOST_NAME, "host.name", 'h', '.', 'e')                                                       \
    X(CLIENT_UUID, "client-uuid", 'c', 't', 'd')                                                   \
    X(SERVICE_NAME, "service.name", 's', 'e', 'e')                                                 \
    X(JAEGER_VERSION, "jaeger.version", 'j', 'v', 'n')                                             \
    X(TRACESTATE, "w3c.tracestate", 'w', 'c', 'e')                                                 \
    X(SCOPE_NAME, "otel.scope.name", 'o', 'o', 'e')                                                \
    X(HTTP_STATUS_CODE, "http.status_code", 'h', 't', 'e')                                         \
    X(STATUS_CODE, "otel.status_code", 'o', 't', 'e')                                              \
    X(LIBRARY_NAME, "otel.library.name", 'o', 'r', 'e')                                            \
    X(SCOPE_VERSION, "otel.scope.version", 'o', 'e', 'n')                                          \
    X(HTTP_STATUS_MESSAGE, "http.status_message", 'h', 'u', 'e')                                   \
    X(LIBRARY_VERSION, "otel.library.version", 'o', 'r', 'n')                                      \
    X(STATUS_DESCRIPTION, "otel.status_description", 'o', '_', 'n')                                \
    X(DROPPED_LINKS, "otel.dropped_links_count", 'o', '_', 't')                                    \
    X(DROPPED_EVENTS, "otel.dropped_events_count", 'o', '_', 't')                                  \
    X(EXPORTER_VERSION, "opencensus.exporterversion", 'o', 'p', 'n')                               \
    X(DROPPED_ATTRIBUTES, "otel.dropped_attributes_count", 'o', 't', 't')

static const struct {
    const char *text;
    uint8_t len;
} jaeger_keys[JAEGER_KEY_COUNT + 1] = {
#define X(index, key, first, middle, last) [JAEGER_KEY_##index] = {key, sizeof(key) - 1},
    JAEGER_KEYS(X)
#undef X
};
static const uint8_t jaeger_slots[JAEGER_SLOTS] = {
#define X(index, key, first, middle, last)                                                         \
    [JAEGER_SUM(sizeof(key) - 1, first, middle, last) % JAEGER_SLOTS] = JAEGER_KEY_##index,
    JAEGER_KEYS(X)
#undef X
};

static inline uint32_t jaeger_key_sum(const struct jaeger_tag *tag)
{
    uint32_t len = tag->key_len;
    return len ? JAEGER_SUM(len, tag->key[0], tag->key[len / 2], tag->key[len - 1]) : 0;
}

/* Nearly all keys that mean something have 8 to 24 bytes: three words that overlap. */
static inline bool jaeger_key_is(const uint8_t *key, const char *text, uint32_t len)
{
    if (len < 8 || len > 24)
        return memcmp(text, key, len) == 0;
    uint32_t middle = FM_MIN(len - 8, 8u), last = len - 8;
    return ((fm_load_le64(key) ^ fm_load_le64(text)) |
            (fm_load_le64(key + middle) ^ fm_load_le64(text + middle)) |
            (fm_load_le64(key + last) ^ fm_load_le64(text + last))) == 0;
}

static inline enum jaeger_key jaeger_key_find(const struct jaeger_tag *tag, uint32_t sum)
{
    unsigned key = jaeger_slots[sum % JAEGER_SLOTS];
    if (FM_LIKELY(!key) || jaeger_keys[key].len != tag->key_len ||
        !jaeger_key_is(tag->key, jaeger_keys[key].text, tag->key_len))
        return JAEGER_KEY_NONE;
    return (enum jaeger_key)key;
}

/* ---- repeats ---- */

static bool jaeger_tag_same_key(const struct jaeger_tag *a, const struct jaeger_tag *b)
{
    return a->key_len == b->key_len && (!a->key_len || memcmp(a->key, b->key, a->key_len) == 0);
}

/* The last value goes to the place of the first. */
static void jaeger_tag_replace(struct jaeger_tag *first, struct jaeger_tag *last)
{
    *first = *last;
    last->hidden = true;
}

static void jaeger_tag_find_repeat(struct jaeger_tag *tags, struct jaeger_tag *tag)
{
    for (struct jaeger_tag *first = tags; first < tag; first++) {
        if (!first->hidden && jaeger_tag_same_key(first, tag)) {
            jaeger_tag_replace(first, tag);
            return;
        }
    }
}

static bool jaeger_tags_hash_repeats(struct jaeger_batch *batch, struct jaeger_tag *tags,
                                     uint32_t count)
{
    size_t table_size = JAEGER_REPEAT_SLOTS * sizeof *batch->repeat_slots;
    if (!batch->repeat_slots && !(batch->repeat_slots = jaeger_alloc(batch, table_size)))
        return false;
    memset(batch->repeat_slots, 0, table_size);
    for (uint32_t i = 0; i < count; i++) {
        if (tags[i].hidden)
            continue;
        uint64_t hash = fm_hash64(fm_slice(tags[i].key, tags[i].key_len), 0);
        for (;; hash++) {
            uint16_t *slot = &batch->repeat_slots[hash & (JAEGER_REPEAT_SLOTS - 1)];
            if (*slot == 0) {
                *slot = (uint16_t)(i + 1);
                break;
            }
            if (jaeger_tag_same_key(&tags[*slot - 1], &tags[i])) {
                jaeger_tag_replace(&tags[*slot - 1], &tags[i]);
                break;
            }
        }
    }
    return true;
}

void jaeger_tag_ready(struct jaeger_batch *batch, struct jaeger_tag *tag)
{
    bool has_text = tag->type == JAEGER_STRING;
    tag->hidden = false;
    jaeger_tag_measure(tag);
    if (batch->walk && FM_MAX(tag->key_len, has_text ? tag->text_len : 0) >
                           batch->walk->limits.attribute_bytes_max)
        batch->is_odd = true;
}

int jaeger_tags_settle(struct jaeger_batch *batch, struct jaeger_tag *tags, uint32_t count)
{
    struct jaeger_known *known = &batch->known;
    uint64_t seen = 0;
    known->mask = 0;
    if (batch->walk && count >= batch->walk->limits.attribute_count_max) /* one may be added */
        batch->is_odd = true;
    for (struct jaeger_tag *tag = tags; tag < tags + count; tag++) {
        uint32_t sum = jaeger_key_sum(tag);
        enum jaeger_key key = jaeger_key_find(tag, sum);
        if (key && known->mask >> key & 1) {
            jaeger_tag_replace(known->at[key], tag);
        } else if (key) {
            known->at[key] = tag;
            known->mask |= UINT32_C(1) << key;
        } else if (count <= JAEGER_MASK_MAX) {
            uint64_t bit = UINT64_C(1) << sum % 64;
            if (seen & bit)
                jaeger_tag_find_repeat(tags, tag);
            seen |= bit;
        }
    }
    if (count > JAEGER_MASK_MAX && count <= JAEGER_REPEAT_MAX &&
        !jaeger_tags_hash_repeats(batch, tags, count))
        return batch->rc;
    return FM_OK;
}

/* ---- to attributes ---- */

/* Text in place of a value whose type nobody knows, as Jaeger's own translation has it. */
#define JAEGER_UNKNOWN_TEXT_MAX 48
static size_t jaeger_tag_unknown(const struct jaeger_tag *tag, char text[JAEGER_UNKNOWN_TEXT_MAX])
{
    return (size_t)snprintf(text, JAEGER_UNKNOWN_TEXT_MAX, "<Unknown Jaeger TagType \"%d\">",
                            (int)tag->integer);
}

/* These two are kept apart so that usual values need no buffer on the stack. */
static __attribute__((noinline)) size_t jaeger_unknown_size(const struct jaeger_tag *tag)
{
    char text[JAEGER_UNKNOWN_TEXT_MAX];
    return jaeger_field_size(jaeger_tag_unknown(tag, text));
}

static __attribute__((noinline)) uint8_t *jaeger_unknown_put(uint8_t *target,
                                                             const struct jaeger_tag *tag)
{
    char text[JAEGER_UNKNOWN_TEXT_MAX];
    return jaeger_put_slice(target, 1, fm_slice(text, jaeger_tag_unknown(tag, text)));
}

static size_t jaeger_value_size(const struct jaeger_tag *tag)
{
    switch (tag->type) {
    case JAEGER_STRING:
    case JAEGER_BINARY:
        return jaeger_field_size(tag->text_len);
    case JAEGER_BOOL:
        return 2;
    case JAEGER_LONG:
        return 1 + jaeger_varint_size((uint64_t)tag->integer);
    case JAEGER_DOUBLE:
        return 9;
    default:
        return jaeger_unknown_size(tag);
    }
}

/* Always at least 4 bytes: a value is there also where it is empty. */
void jaeger_tag_measure(struct jaeger_tag *tag)
{
    size_t size = jaeger_field_size(jaeger_value_size(tag));
    if (tag->key_len)
        size += jaeger_field_size(tag->key_len);
    tag->size = (uint32_t)size; /* see JAEGER_INPUT_MAX */
}

static uint8_t *jaeger_value_put(uint8_t *target, const struct jaeger_tag *tag)
{
    switch (tag->type) {
    case JAEGER_STRING:
        return jaeger_put_slice(target, 1, jaeger_tag_text(tag));
    case JAEGER_BINARY:
        return jaeger_put_slice(target, 7, jaeger_tag_text(tag));
    case JAEGER_BOOL:
        *target++ = 2 << 3;
        *target++ = tag->integer != 0;
        return target;
    case JAEGER_LONG:
        *target++ = 3 << 3;
        return jaeger_put_varint(target, (uint64_t)tag->integer);
    case JAEGER_DOUBLE:
        *target++ = 4 << 3 | 1;
        fm_store_le64(target, tag->bits);
        return target + 8;
    default:
        return jaeger_unknown_put(target, tag);
    }
}

uint8_t *jaeger_tag_put(uint8_t *target, uint32_t number, const struct jaeger_tag *tag)
{
    target = jaeger_put_head(target, number, tag->size);
    if (tag->key_len)
        target = jaeger_put_slice(target, 1, fm_slice(tag->key, tag->key_len));
    target = jaeger_put_head(target, 2, jaeger_value_size(tag));
    return jaeger_value_put(target, tag);
}

/* Up to JAEGER_SLACK bytes, copied without asking how many they are, as nearly all texts are. */
static inline uint8_t *jaeger_put_loose(uint8_t *target, const uint8_t *text, uint32_t len,
                                        const uint8_t *safe)
{
    if (FM_LIKELY(len <= JAEGER_SLACK && text <= safe)) {
        memcpy(target, text, JAEGER_SLACK / 2);
        if (len > JAEGER_SLACK / 2)
            memcpy(target + JAEGER_SLACK / 2, text + JAEGER_SLACK / 2, JAEGER_SLACK / 2);
    } else {
        memcpy(target, text, len);
    }
    return target + len;
}

/* A tag of less than 128 bytes with a key. */
static inline __attribute__((always_inline)) uint8_t *
jaeger_tag_put_loose(uint8_t *target, uint32_t head, const struct jaeger_tag *tag,
                     const uint8_t *safe)
{
    fm_store_le32(target, head | tag->size << 8 | 0x0au << 16 | tag->key_len << 24);
    target = jaeger_put_loose(target + 4, tag->key, tag->key_len, safe);
    if (FM_LIKELY(tag->type == JAEGER_STRING && tag->text_len)) {
        uint32_t len = tag->text_len;
        fm_store_le32(target, 0x12u | (len + 2) << 8 | 0x0au << 16 | len << 24);
        return jaeger_put_loose(target + 4, tag->text, len, safe);
    }
    uint8_t *size = target + 1;
    *target = 0x12;
    if (tag->type == JAEGER_LONG) {
        target[2] = 3 << 3;
        target = jaeger_put_varint(target + 3, (uint64_t)tag->integer);
    } else {
        target = jaeger_value_put(target + 2, tag);
    }
    *size = (uint8_t)(target - size - 1); /* below 128, as the whole is */
    return target;
}

uint8_t *jaeger_tags_put_loose(uint8_t *target, uint32_t number, const struct jaeger_tag *tags,
                               uint32_t count, struct fm_slice input)
{
    if (input.len < JAEGER_SLACK)
        return jaeger_tags_put(target, number, tags, count);
    const uint8_t *safe = input.ptr + (input.len - JAEGER_SLACK);
    for (uint32_t i = 0; i < count; i++) {
        if (tags[i].hidden)
            continue;
        target = FM_LIKELY(tags[i].size < 128 && tags[i].key_len)
                     ? jaeger_tag_put_loose(target, number << 3 | 2, &tags[i], safe)
                     : jaeger_tag_put(target, number, &tags[i]);
    }
    return target;
}

size_t jaeger_tags_size(const struct jaeger_tag *tags, uint32_t count)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!tags[i].hidden)
            size += jaeger_field_size(tags[i].size);
    return size;
}

uint8_t *jaeger_tags_put(uint8_t *target, uint32_t number, const struct jaeger_tag *tags,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!tags[i].hidden)
            target = jaeger_tag_put(target, number, &tags[i]);
    return target;
}
