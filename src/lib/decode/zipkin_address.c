/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: text in whatever form to bytes, bytes to the canonical text (RFC 5952). */
#include "zipkin_batch.h"

/* ret_is_canonical: as we would print it. */
static bool parse_ipv4(struct fm_slice text, uint8_t bytes[4], bool *ret_is_canonical)
{
    size_t at = 0;
    *ret_is_canonical = true;
    for (unsigned part = 0; part < 4; part++) {
        unsigned value = 0, digits = 0;
        bool begins_with_zero = at < text.len && text.ptr[at] == '0';
        for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9' && digits < 4; digits++)
            value = value * 10 + (text.ptr[at++] - '0');
        if (digits == 0 || digits > 3 || value > 255 ||
            (part < 3 && (at == text.len || text.ptr[at++] != '.')))
            return false;
        bytes[part] = (uint8_t)value;
        *ret_is_canonical &= digits == 1 || !begins_with_zero;
    }
    return at == text.len;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Groups up to a double colon or the end; returns how many, or -1. */
static int parse_groups(struct fm_slice text, size_t *at, uint8_t *bytes, int room)
{
    int count = 0;
    while (*at < text.len) {
        size_t begin = *at;
        unsigned value = 0;
        while (*at < text.len && hex_digit(text.ptr[*at]) >= 0 && *at - begin < 5)
            value = value * 16 + (unsigned)hex_digit(text.ptr[(*at)++]);
        if (*at < text.len && text.ptr[*at] == '.') { /* the tail of a mapped address */
            struct fm_slice tail = fm_slice(text.ptr + begin, text.len - begin);
            bool is_canonical;
            if (count + 2 > room || !parse_ipv4(tail, bytes + 2 * count, &is_canonical))
                return -1;
            *at = text.len;
            return count + 2;
        }
        if (*at == begin || *at - begin > 4 || count == room)
            return -1;
        bytes[2 * count] = (uint8_t)(value >> 8);
        bytes[2 * count++ + 1] = (uint8_t)value;
        if (*at == text.len)
            break;
        if (text.ptr[*at] != ':')
            return -1;
        (*at)++;
        if (*at < text.len && text.ptr[*at] == ':')
            break;
        if (*at == text.len)
            return -1; /* one colon at the end */
    }
    return count;
}

static bool parse_ipv6(struct fm_slice text, uint8_t bytes[16])
{
    uint8_t tail[16];
    size_t at = 0;
    int front = 0, back = 0;
    memset(bytes, 0, 16);
    bool is_elided = text.len >= 2 && text.ptr[0] == ':' && text.ptr[1] == ':';
    if (!is_elided) {
        front = parse_groups(text, &at, bytes, 8);
        if (front < 0)
            return false;
        is_elided = at < text.len; /* stands on the second colon */
        at -= is_elided;
    }
    if (!is_elided || front == 8)
        return !is_elided && front == 8;
    at += 2;
    back = parse_groups(text, &at, tail, 7 - front);
    if (back < 0 || at < text.len)
        return false;
    memcpy(bytes + 16 - 2 * back, tail, 2 * (size_t)back);
    return true;
}

static struct fm_slice print_ipv4(const uint8_t bytes[4], struct fm_arena *scratch)
{
    char text[ZIPKIN_IP_TEXT], *end = text;
    for (unsigned i = 0; i < 4; i++) {
        unsigned value = bytes[i];
        if (i)
            *end++ = '.';
        if (value >= 100)
            *end++ = (char)('0' + value / 100);
        if (value >= 10)
            *end++ = (char)('0' + value / 10 % 10);
        *end++ = (char)('0' + value % 10);
    }
    return fm_slice_dup(scratch, fm_slice(text, (size_t)(end - text)));
}

/* The longest run of zero groups, two at least; length 0: none. */
static void find_zeros(const uint8_t bytes[16], int *ret_first, int *ret_len)
{
    *ret_first = -1;
    *ret_len = 0;
    for (int i = 0; i < 8; i++) {
        int len = 0;
        while (i + len < 8 && bytes[2 * (i + len)] == 0 && bytes[2 * (i + len) + 1] == 0)
            len++;
        if (len >= 2 && len > *ret_len) {
            *ret_first = i;
            *ret_len = len;
        }
    }
}

static struct fm_slice print_ipv6(const uint8_t bytes[16], struct fm_arena *scratch)
{
    char text[ZIPKIN_IP_TEXT], *end = text;
    int first, zeros;
    find_zeros(bytes, &first, &zeros);
    for (int i = 0; i < 8; i++) {
        if (i == first) {
            *end++ = ':';
            *end++ = ':';
            i += zeros - 1;
            continue;
        }
        unsigned group = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
        if (i > 0 && i != first + zeros)
            *end++ = ':';
        for (int shift = group > 0xfff  ? 12
                         : group > 0xff ? 8
                         : group > 15   ? 4
                                        : 0;
             shift >= 0; shift -= 4)
            *end++ = "0123456789abcdef"[group >> shift & 15];
    }
    return fm_slice_dup(scratch, fm_slice(text, (size_t)(end - text)));
}

void zipkin_set_ip_bytes(struct zipkin_endpoint *endpoint, struct fm_slice bytes,
                         struct fm_arena *scratch)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const uint8_t zero[16];
    if (bytes.len == 16 && memcmp(bytes.ptr, mapped, sizeof mapped) == 0)
        bytes = fm_slice(bytes.ptr + 12, 4);
    if ((bytes.len != 4 && bytes.len != 16) || memcmp(bytes.ptr, zero, bytes.len) == 0)
        return;
    if (bytes.len == 4)
        endpoint->ipv4 = print_ipv4(bytes.ptr, scratch);
    else
        endpoint->ipv6 = print_ipv6(bytes.ptr, scratch);
}

void zipkin_set_ip_text(struct zipkin_endpoint *endpoint, struct fm_slice text,
                        struct fm_arena *scratch)
{
    uint8_t bytes[16];
    bool is_canonical;
    if (parse_ipv4(text, bytes, &is_canonical)) {
        if (is_canonical && (bytes[0] | bytes[1] | bytes[2] | bytes[3]))
            endpoint->ipv4 = text;
        else
            zipkin_set_ip_bytes(endpoint, fm_slice(bytes, 4), scratch);
    } else if (parse_ipv6(text, bytes))
        zipkin_set_ip_bytes(endpoint, fm_slice(bytes, 16), scratch);
}
