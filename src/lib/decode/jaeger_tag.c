/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: which of them mean something, which repeat, and how they become attributes. */
#include "jaeger_batch.h"

#include <stdio.h>

#include "fermata/bytes.h"
#include "fermata/hash.h"

/* Up to MASK_MAX tags a set of 64 bits says whether a key may have been there before; beyond that
 * a table.  Beyond REPEAT_MAX repeats stay: otlp_pb_check cuts such lists to 1,024 anyway. */
#define JAEGER_MASK_MAX     64
#define JAEGER_REPEAT_MAX   1024
#define JAEGER_REPEAT_SLOTS 4096 /* power of two */

static const struct {
    const char *text;
    uint8_t len;
} jaeger_keys[JAEGER_KEY_COUNT + 1] = {
#define KEY(index, text) [JAEGER_KEY_##index] = {text, sizeof(text) - 1}
    KEY(IP, "ip"),
    KEY(ERROR, "error"),
    KEY(EVENT, "event"),
    KEY(HOSTNAME, "hostname"),
    KEY(SPAN_KIND, "span.kind"),
    KEY(HOST_NAME, "host.name"),
    KEY(CLIENT_UUID, "client-uuid"),
    KEY(SERVICE_NAME, "service.name"),
    KEY(JAEGER_VERSION, "jaeger.version"),
    KEY(TRACESTATE, "w3c.tracestate"),
    KEY(SCOPE_NAME, "otel.scope.name"),
    KEY(HTTP_STATUS_CODE, "http.status_code"),
    KEY(STATUS_CODE, "otel.status_code"),
    KEY(LIBRARY_NAME, "otel.library.name"),
    KEY(SCOPE_VERSION, "otel.scope.version"),
    KEY(HTTP_STATUS_MESSAGE, "http.status_message"),
    KEY(LIBRARY_VERSION, "otel.library.version"),
    KEY(STATUS_DESCRIPTION, "otel.status_description"),
    KEY(DROPPED_LINKS, "otel.dropped_links_count"),
    KEY(DROPPED_EVENTS, "otel.dropped_events_count"),
    KEY(EXPORTER_VERSION, "opencensus.exporterversion"),
    KEY(DROPPED_ATTRIBUTES, "otel.dropped_attributes_count"),
#undef KEY
};

/* The first key of each length; those of the same length follow it. */
static const uint8_t jaeger_key_first[] = {
    [2] = JAEGER_KEY_IP,
    [5] = JAEGER_KEY_ERROR,
    [8] = JAEGER_KEY_HOSTNAME,
    [9] = JAEGER_KEY_SPAN_KIND,
    [11] = JAEGER_KEY_CLIENT_UUID,
    [12] = JAEGER_KEY_SERVICE_NAME,
    [14] = JAEGER_KEY_JAEGER_VERSION,
    [15] = JAEGER_KEY_SCOPE_NAME,
    [16] = JAEGER_KEY_HTTP_STATUS_CODE,
    [17] = JAEGER_KEY_LIBRARY_NAME,
    [18] = JAEGER_KEY_SCOPE_VERSION,
    [19] = JAEGER_KEY_HTTP_STATUS_MESSAGE,
    [20] = JAEGER_KEY_LIBRARY_VERSION,
    [23] = JAEGER_KEY_STATUS_DESCRIPTION,
    [24] = JAEGER_KEY_DROPPED_LINKS,
    [25] = JAEGER_KEY_DROPPED_EVENTS,
    [26] = JAEGER_KEY_EXPORTER_VERSION,
    [29] = JAEGER_KEY_DROPPED_ATTRIBUTES,
};

static enum jaeger_key jaeger_key_find(const uint8_t *text, uint32_t len)
{
    if (len >= FM_COUNT(jaeger_key_first) || !jaeger_key_first[len])
        return JAEGER_KEY_NONE;
    for (unsigned key = jaeger_key_first[len]; jaeger_keys[key].len == len; key++)
        if (jaeger_keys[key].text[len / 2] == text[len / 2] && /* mostly tells already */
            memcmp(jaeger_keys[key].text, text, len) == 0)
            return (enum jaeger_key)key;
    return JAEGER_KEY_NONE;
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

/* A bit for a key: keys of one span rarely share length, middle and end. */
static uint64_t jaeger_key_bit(const struct jaeger_tag *tag)
{
    uint32_t len = tag->key_len;
    uint32_t sum = len ? len * 7u + tag->key[len - 1] * 3u + tag->key[len / 2] : 0;
    return UINT64_C(1) << (sum & 63);
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

int jaeger_tags_settle(struct jaeger_batch *batch, struct jaeger_tag *tags, uint32_t count)
{
    struct jaeger_known *known = &batch->known;
    uint64_t seen = 0;
    known->mask = 0;
    for (struct jaeger_tag *tag = tags; tag < tags + count; tag++) {
        tag->hidden = false;
        jaeger_tag_measure(tag);
        enum jaeger_key key = jaeger_key_find(tag->key, tag->key_len);
        if (key && known->mask >> key & 1) {
            jaeger_tag_replace(known->at[key], tag);
        } else if (key) {
            known->at[key] = tag;
            known->mask |= UINT32_C(1) << key;
        } else if (count <= JAEGER_MASK_MAX) {
            uint64_t bit = jaeger_key_bit(tag);
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
