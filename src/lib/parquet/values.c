/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a page, by type and encoding, into plain arrays.  Input is what is left of the page
 * behind its levels, and must be used up by exactly the values that the levels announce. */
#include "file.h"

#include "fermata/bytes.h"

static bool encoding_is_dictionary(uint8_t encoding)
{
    return encoding == PQ_RLE_DICTIONARY || encoding == PQ_PLAIN_DICTIONARY;
}

size_t pq_value_size(uint8_t type, uint8_t encoding)
{
    if (encoding_is_dictionary(encoding))
        return type == PQ_BOOLEAN ? 0 : sizeof(uint32_t);
    bool plain = encoding == PQ_PLAIN, delta = encoding == PQ_DELTA_BINARY_PACKED;
    switch (type) {
    case PQ_BOOLEAN:
        return plain || encoding == PQ_RLE ? 1 : 0;
    case PQ_INT32:
        return plain || delta ? sizeof(int32_t) : 0;
    case PQ_INT64:
        return plain || delta ? sizeof(int64_t) : 0;
    case PQ_DOUBLE:
        return plain ? sizeof(double) : 0;
    case PQ_BYTE_ARRAY:
        return plain || encoding == PQ_DELTA_LENGTH_BYTE_ARRAY ? sizeof(struct fm_slice) : 0;
    default:
        return 0;
    }
}

static int values_booleans(struct fm_slice input, uint32_t count, uint8_t *target)
{
    if (input.len != ((size_t)count + 7) / 8)
        return FM_EMALFORMED;
    uint32_t i = 0;
    for (; count - i >= 8; i += 8) { /* a bit to the lowest one of each byte */
        uint64_t bits = input.ptr[i / 8] * UINT64_C(0x0101010101010101);
        bits &= UINT64_C(0x8040201008040201);
        fm_store_le64(target + i,
                      (bits + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101));
    }
    for (; i < count; i++)
        target[i] = input.ptr[i / 8] >> i % 8 & 1;
    return FM_OK;
}

static int values_fixed(struct fm_slice input, uint32_t count, size_t size, void *target)
{
    if (input.len != count * size)
        return FM_EMALFORMED;
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
        if (count)
            memcpy(target, input.ptr, input.len);
    } else if (size == 4) {
        for (uint32_t i = 0; i < count; i++)
            ((int32_t *)target)[i] = (int32_t)fm_load_le32(input.ptr + i * size);
    } else {
        for (uint32_t i = 0; i < count; i++)
            ((int64_t *)target)[i] = (int64_t)fm_load_le64(input.ptr + i * size);
    }
    return FM_OK;
}

static int values_plain_bytes(struct fm_slice input, uint32_t count, struct fm_slice *target)
{
    for (uint32_t i = 0; i < count; i++) {
        if (input.len < 4)
            return FM_EMALFORMED;
        uint32_t len = fm_load_le32(input.ptr);
        if (len > input.len - 4)
            return FM_EMALFORMED;
        target[i] = fm_slice(input.ptr + 4, len);
        input.ptr += 4 + (size_t)len;
        input.len -= 4 + (size_t)len;
    }
    return input.len ? FM_EMALFORMED : FM_OK;
}

static int values_delta_length(struct fm_slice input, uint32_t count, struct fm_slice *target)
{
    /* The lengths are unpacked into the last quarter of target: slice i ends at byte 16(i + 1),
     * length i + 1 starts at 12 * count + 4(i + 1), which is not before it. */
    _Static_assert(sizeof(struct fm_slice) >= sizeof(int32_t), "lengths fit behind the slices");
    uint8_t *lengths = (uint8_t *)target + (sizeof *target - sizeof(int32_t)) * count;
    struct fm_slice rest;
    int rc = pq_delta_i32(input, (int32_t *)(void *)lengths, count, &rest);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len;
        memcpy(&len, lengths + i * sizeof len, sizeof len);
        if (len > rest.len) /* negative lengths are huge here */
            return FM_EMALFORMED;
        target[i] = fm_slice(rest.ptr, len);
        rest.ptr += len;
        rest.len -= len;
    }
    return rest.len ? FM_EMALFORMED : FM_OK;
}

static int values_indexes(struct fm_slice input, uint32_t count, uint32_t dictionary_count,
                          uint32_t *target)
{
    if (input.len == 0 || input.ptr[0] > 32)
        return FM_EMALFORMED;
    int rc = pq_hybrid_indexes(fm_slice(input.ptr + 1, input.len - 1), input.ptr[0], target, count);
    if (rc < 0)
        return rc;
    return pq_indexes_below(target, count, dictionary_count) ? FM_OK : FM_ECORRUPT;
}

static int values_delta(uint8_t type, struct fm_slice input, uint32_t count, void *target)
{
    struct fm_slice rest;
    int rc = type == PQ_INT32 ? pq_delta_i32(input, target, count, &rest)
                              : pq_delta_i64(input, target, count, &rest);
    if (rc < 0)
        return rc;
    return rest.len ? FM_EMALFORMED : FM_OK;
}

static int values_boolean_runs(struct fm_slice input, uint32_t count, uint8_t *target)
{
    if (input.len < 4 || fm_load_le32(input.ptr) != input.len - 4)
        return FM_EMALFORMED;
    return pq_hybrid_levels(fm_slice(input.ptr + 4, input.len - 4), 1, target, count);
}

static int values_decode(uint8_t type, uint8_t encoding, struct fm_slice input, uint32_t count,
                         uint32_t dictionary_count, void *target)
{
    if (encoding_is_dictionary(encoding))
        return values_indexes(input, count, dictionary_count, target);
    switch (encoding) {
    case PQ_DELTA_BINARY_PACKED:
        return values_delta(type, input, count, target);
    case PQ_DELTA_LENGTH_BYTE_ARRAY:
        return values_delta_length(input, count, target);
    case PQ_RLE:
        return values_boolean_runs(input, count, target);
    default:
        break;
    }
    if (type == PQ_BOOLEAN)
        return values_booleans(input, count, target);
    if (type == PQ_BYTE_ARRAY)
        return values_plain_bytes(input, count, target);
    return values_fixed(input, count, pq_value_size(type, encoding), target);
}

int pq_values_decode(uint8_t type, uint8_t encoding, struct fm_slice input, uint32_t count,
                     uint32_t dictionary_count, void *target, struct fm_why *why)
{
    if (pq_value_size(type, encoding) == 0)
        return fm_fail(why, FM_EUNSUPPORTED, "encoding %u of type %u is not supported", encoding,
                       type);
    if (count == 0 && input.len == 0)
        return FM_OK; /* all null; some writers leave out the empty encoding's header */
    int rc = values_decode(type, encoding, input, count, dictionary_count, target);
    if (rc == FM_ECORRUPT)
        return fm_fail(why, rc, "an index is not below the dictionary's %u entries",
                       dictionary_count);
    if (rc < 0)
        return fm_fail(why, rc, "%zu bytes (encoding %u) do not hold exactly %u values", input.len,
                       encoding, count);
    return FM_OK;
}
