/* SPDX-License-Identifier: Apache-2.0 */
/* Slices: comparing borrowed bytes. */
#include "fermata/base.h"

struct fm_slice fm_slice_text(const char *text)
{
    return fm_slice(text, text ? strlen(text) : 0);
}

bool fm_slice_equal(struct fm_slice a, struct fm_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool fm_slice_equal_text(struct fm_slice a, const char *text)
{
    return fm_slice_equal(a, fm_slice_text(text));
}

bool fm_slice_equal_nocase(struct fm_slice a, const char *lower)
{
    for (size_t i = 0; i < a.len; i++) {
        uint8_t c = a.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c - 'A' + 'a');
        if (lower[i] == '\0' || c != (uint8_t)lower[i])
            return false;
    }
    return lower[a.len] == '\0';
}

int fm_slice_compare(struct fm_slice a, struct fm_slice b)
{
    size_t common = FM_MIN(a.len, b.len);
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}
