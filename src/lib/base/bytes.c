/* SPDX-License-Identifier: Apache-2.0 */
/* Hex, base64 (RFC 4648), UTF-8 (RFC 3629). */
#include "fermata/bytes.h"

void fm_hex_encode(char *target, struct fm_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        target[2 * i] = digits[bytes.ptr[i] >> 4];
        target[2 * i + 1] = digits[bytes.ptr[i] & 15];
    }
}

/* By byte: the digit and one bit more, or 0. */
static const uint8_t hex_digits[256] = {
    ['0'] = 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, /* to '9' */
    ['A'] = 26, 27, 28, 29, 30, 31,                 /* to 'F' */
    ['a'] = 26, 27, 28, 29, 30, 31,                 /* to 'f' */
};

int fm_hex_decode(uint8_t *target, size_t len, struct fm_slice text)
{
    if (text.len != 2 * len)
        return FM_EMALFORMED;
    unsigned good = 16;
    for (size_t i = 0; i < len; i++) {
        unsigned high = hex_digits[text.ptr[2 * i]], low = hex_digits[text.ptr[2 * i + 1]];
        good &= high & low;
        target[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return good ? FM_OK : FM_EMALFORMED;
}

void fm_base64_encode(struct fm_buf *buf, struct fm_slice bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *target = fm_buf_room(buf, (bytes.len + 2) / 3 * 4);
    if (!target)
        return;
    buf->len += (bytes.len + 2) / 3 * 4;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t group = (uint32_t)bytes.ptr[i] << 16;
        group |= left > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
        group |= left > 2 ? bytes.ptr[i + 2] : 0u;
        *target++ = (uint8_t)alphabet[group >> 18];
        *target++ = (uint8_t)alphabet[group >> 12 & 63];
        *target++ = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        *target++ = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
    }
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

int fm_base64_decode(uint8_t *target, size_t *ret_len, struct fm_slice text)
{
    size_t padding = 0;
    while (text.len && padding < 2 && text.ptr[text.len - 1] == '=') {
        text.len--;
        padding++;
    }
    if (text.len % 4 == 1 || (padding && (text.len + padding) % 4 != 0))
        return FM_EMALFORMED;
    size_t len = 0;
    uint32_t group = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base64_digit(text.ptr[i]);
        if (digit < 0)
            return FM_EMALFORMED;
        group = group << 6 | (uint32_t)digit;
        if (i % 4 != 0)
            target[len++] = (uint8_t)(group >> (6 - 2 * (i % 4)));
    }
    *ret_len = len;
    return FM_OK;
}

/* Length of the well-formed sequence at ptr, or 0; *ret_bad: length of the maximal invalid
 * subsequence (Unicode 3.9, "substitution of maximal subparts"). */
static size_t utf8_sequence(const uint8_t *ptr, size_t left, size_t *ret_bad)
{
    uint8_t first = ptr[0], low = 0x80, high = 0xbf;
    size_t need;
    *ret_bad = 1;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf) {
        need = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
        need = 2;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first >= 0xf0 && first <= 0xf4) {
        need = 3;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    for (size_t i = 1; i <= need; i++) {
        if (i >= left || ptr[i] < low || ptr[i] > high)
            return 0;
        *ret_bad = i + 1;
        low = 0x80;
        high = 0xbf;
    }
    return need + 1;
}

size_t fm_utf8_valid_len(struct fm_slice text)
{
    size_t i = 0, bad;
    while (i < text.len) {
        if (text.len - i >= 8 && (fm_load_le64(text.ptr + i) & UINT64_C(0x8080808080808080)) == 0) {
            i += 8;
            continue;
        }
        size_t len = utf8_sequence(text.ptr + i, text.len - i, &bad);
        if (!len)
            break;
        i += len;
    }
    return i;
}

void fm_utf8_repair(struct fm_buf *buf, struct fm_slice text)
{
    while (text.len) {
        size_t valid = fm_utf8_valid_len(text);
        fm_buf_put(buf, text.ptr, valid);
        text.ptr += valid;
        text.len -= valid;
        if (!text.len)
            return;
        size_t bad;
        (void)utf8_sequence(text.ptr, text.len, &bad); /* known to be ill-formed: 0 */
        fm_buf_puts(buf, "\xef\xbf\xbd");
        text.ptr += bad;
        text.len -= bad;
    }
}
