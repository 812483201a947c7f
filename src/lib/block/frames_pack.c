/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in as few bytes as the widest of them needs. */
#include "frames.h"

static unsigned pack_width(uint64_t range)
{
    return range <= UINT8_MAX ? 1 : range <= UINT16_MAX ? 2 : range <= UINT32_MAX ? 4 : 8;
}

struct frames_pack frames_pack_plan(const int64_t *numbers, uint32_t count)
{
    int64_t low = count ? numbers[0] : 0, high = low;
    for (uint32_t i = 1; i < count; i++) {
        low = FM_MIN(low, numbers[i]);
        high = FM_MAX(high, numbers[i]);
    }
    if (low > 0 && high <= UINT32_MAX)
        low = 0; /* codes are stored as they are */
    return (struct frames_pack){.width = pack_width((uint64_t)high - (uint64_t)low), .base = low};
}

#define PACK_PUT(type)                                                                             \
    for (uint32_t i = 0; i < count; i++)                                                           \
    ((type *)(void *)bytes)[i] = (type)((uint64_t)numbers[i] - base)

void frames_pack_put(struct frames_pack *pack, const int64_t *numbers, uint32_t count,
                     uint8_t *bytes)
{
    uint64_t base = (uint64_t)pack->base;
    pack->bytes = bytes;
    if (pack->width == 1)
        PACK_PUT(uint8_t);
    else if (pack->width == 2)
        PACK_PUT(uint16_t);
    else if (pack->width == 4)
        PACK_PUT(uint32_t);
    else
        PACK_PUT(uint64_t);
}

/* ---- the way back: eight at a time, the last of them perhaps for nothing ---- */

typedef uint8_t pack_bytes __attribute__((vector_size(FRAMES_PACK_LANES)));
typedef uint16_t pack_halves __attribute__((vector_size(FRAMES_PACK_LANES * 2)));
typedef uint32_t pack_words __attribute__((vector_size(FRAMES_PACK_LANES * 4)));
typedef uint64_t pack_longs __attribute__((vector_size(FRAMES_PACK_LANES * 8)));

#define PACK_UNPACK(name, source_type, source_lanes, target_type, target_lanes)                    \
    static void name(const source_type *source, uint32_t count, target_type add,                   \
                     target_type *target)                                                          \
    {                                                                                              \
        for (uint32_t i = 0; i < count; i += FRAMES_PACK_LANES) {                                  \
            source_lanes narrow;                                                                   \
            memcpy(&narrow, source + i, sizeof narrow);                                            \
            target_lanes wide = __builtin_convertvector(narrow, target_lanes) + add;               \
            memcpy(target + i, &wide, sizeof wide);                                                \
        }                                                                                          \
    }
PACK_UNPACK(pack_bytes_to_words, uint8_t, pack_bytes, uint32_t, pack_words)
PACK_UNPACK(pack_halves_to_words, uint16_t, pack_halves, uint32_t, pack_words)
PACK_UNPACK(pack_words_to_words, uint32_t, pack_words, uint32_t, pack_words)
PACK_UNPACK(pack_bytes_to_longs, uint8_t, pack_bytes, uint64_t, pack_longs)
PACK_UNPACK(pack_halves_to_longs, uint16_t, pack_halves, uint64_t, pack_longs)
PACK_UNPACK(pack_words_to_longs, uint32_t, pack_words, uint64_t, pack_longs)
PACK_UNPACK(pack_longs_to_longs, uint64_t, pack_longs, uint64_t, pack_longs)

void frames_unpack(const struct frames_pack *pack, uint32_t from, uint32_t count, int64_t *target)
{
    const void *source = pack->bytes + (size_t)from * pack->width;
    uint64_t add = (uint64_t)pack->base, *longs = (uint64_t *)target;
    switch (pack->width) {
    case 1:
        pack_bytes_to_longs(source, count, add, longs);
        break;
    case 2:
        pack_halves_to_longs(source, count, add, longs);
        break;
    case 4:
        pack_words_to_longs(source, count, add, longs);
        break;
    default:
        pack_longs_to_longs(source, count, add, longs);
        break;
    }
}

void frames_unpack_codes(const struct frames_pack *pack, uint32_t from, uint32_t count,
                         uint32_t add, uint32_t *target)
{
    const void *source = pack->bytes + (size_t)from * pack->width;
    if (pack->width == 1)
        pack_bytes_to_words(source, count, add, target);
    else if (pack->width == 2)
        pack_halves_to_words(source, count, add, target);
    else
        pack_words_to_words(source, count, add, target);
}
